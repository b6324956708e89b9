#!/usr/bin/env bash
# Compila y arranca los tres nodos de la práctica (puertos 6001, 6002 y 6003).
#
# Con tmux y una terminal, cada nodo tiene su panel y su menú. Si no hay tmux, el nodo 1 muestra su menú aquí y los
# otros dos corren detrás. Al terminar cierra lo que arrancó y nada más. Vale desde cualquier carpeta.
#
#   scripts/tres_nodos.sh [--sin-tmux]
set -euo pipefail

readonly PUERTOS=(6001 6002 6003)

raiz=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Los nodos comparten «compartidos/nodoN», que está aquí.
cd "$raiz"

decir() { printf '%s\n' "$*" >&2; }

fallar() {
    decir "tres_nodos: $*"
    exit 1
}

compilar() {
    command -v cargo >/dev/null ||
        fallar "no encuentro cargo. Instala Rust desde https://rustup.rs, abre otra terminal y vuelve a probar."
    decir "Compilando (la primera vez tarda más)…"
    cargo build --release --locked --bin nodo || fallar "no compiló; el motivo está arriba."
    nodo=${CARGO_TARGET_DIR:-target}/release/nodo
    [[ -x $nodo ]] || fallar "compiló, pero no encuentro $nodo."
}

# ¿Escucha alguien en ese puerto de esta máquina?
ocupado() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

comprobar_puertos() {
    local puerto
    for puerto in "${PUERTOS[@]}"; do
        if ocupado "$puerto"; then
            fallar "el puerto $puerto ya está en uso. Cierra el programa que lo tiene (¿otros tres nodos?) y vuelve a probar."
        fi
    done
}

# Espera hasta 8 s a que se cumpla una condición. Un nodo tarda 5 s como mucho en despedirse.
esperar() {
    local vuelta
    for ((vuelta = 0; vuelta < 80; vuelta++)); do
        "$@" && return 0
        sleep 0.1
    done
    return 1
}

# ----- Con tmux: un panel por nodo -----

puertos_libres() {
    local puerto
    for puerto in "${PUERTOS[@]}"; do
        ! ocupado "$puerto" || return 1
    done
}

# La orden de un panel. Si el nodo falla, el panel espera para que se pueda leer por qué.
orden_del_panel() {
    printf '%q --nodo %d || { printf "\\nEl nodo %d se cerró. Entrar cierra este panel. "; read -r _; }' \
        "$nodo" "$1" "$1"
}

# Reparte los tres nodos en la ventana cuyo primer panel se acaba de crear.
repartir_paneles() {
    local ventana=$1
    tmux split-window -d -t "$ventana" -c "$raiz" "bash -c $(printf '%q' "$(orden_del_panel 3)")"
    tmux split-window -d -t "$ventana" -c "$raiz" "bash -c $(printf '%q' "$(orden_del_panel 2)")"
    # El menú tiene 10 líneas: uno sobre otro sólo caben en una terminal alta.
    local disposicion=even-vertical
    (($(tmux display-message -p -t "$ventana" '#{window_height}') >= 42)) || disposicion=tiled
    tmux select-layout -t "$ventana" "$disposicion" >/dev/null
}

# Fuera de tmux: una sesión propia. Al salir de ella, como sea, se cierra.
con_sesion_propia() {
    local sesion=nodo-$$ filas columnas
    read -r filas columnas < <(stty size 2>/dev/null || echo 24 80)
    trap 'tmux kill-session -t "='"$sesion"'" 2>/dev/null || true; esperar puertos_libres' EXIT
    tmux new-session -d -s "$sesion" -c "$raiz" -x "$columnas" -y "$filas" \
        "bash -c $(printf '%q' "$(orden_del_panel 1)")"
    repartir_paneles "$sesion:"
    tmux set-option -t "$sesion" mouse on >/dev/null
    tmux set-option -t "$sesion" status-left '' >/dev/null
    tmux set-option -t "$sesion" status-right-length 80 >/dev/null
    tmux set-option -t "$sesion" status-right 'cambiar de nodo: Ctrl-b o · cerrar los tres: Ctrl-b d ' >/dev/null
    tmux attach-session -t "=$sesion" || true
}

# Dentro de tmux no conviene meter otro: una ventana nueva en la sesión de quien llama.
con_ventana_nueva() {
    local ventana
    ventana=$(tmux new-window -P -F '#{window_id}' -n nodos -c "$raiz" \
        "bash -c $(printf '%q' "$(orden_del_panel 1)")")
    # shellcheck disable=SC2064 # el identificador de la ventana ya se conoce
    trap "tmux kill-window -t '$ventana' 2>/dev/null || true; esperar puertos_libres" EXIT
    repartir_paneles "$ventana"
    decir "Los tres nodos están en la ventana «nodos» de tmux. Ctrl-C aquí los cierra; Salir (3) en cada uno, también."
    while tmux list-panes -t "$ventana" >/dev/null 2>&1; do
        sleep 0.5
    done
}

# ----- Sin tmux: el menú del nodo 1 aquí, los otros dos detrás -----

servidores=()
menu=

cerrar_servidores() {
    local pid
    for pid in $menu ${servidores[@]+"${servidores[@]}"}; do
        kill -TERM "$pid" 2>/dev/null || true
    done
    for pid in $menu ${servidores[@]+"${servidores[@]}"}; do
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$pantallas"
}

empezo() { grep -q ESCUCHANDO "$1" || ! kill -0 "$2" 2>/dev/null; }

servir_detras() {
    local n=$1 pantalla=$pantallas/nodo$1.txt
    # Con «set -m» el nodo tiene su propio grupo: un Ctrl-C para el nodo 1 no le llega.
    set -m
    "$nodo" servir --nodo "$n" </dev/null >"$pantalla" 2>&1 &
    servidores+=($!)
    set +m
    if ! esperar empezo "$pantalla" $! || ! kill -0 $! 2>/dev/null; then
        fallar "el nodo $n no arrancó: $(cat "$pantalla")"
    fi
    decir "nodo $n en marcha; lo que dice: tail -f $pantalla"
}

sin_tmux() {
    pantallas=$(mktemp -d "${TMPDIR:-/tmp}/tres-nodos.XXXXXX")
    trap cerrar_servidores EXIT
    trap 'exit 143' TERM
    trap 'exit 129' HUP
    # El Ctrl-C es para el nodo 1, que sabe qué hacer con él; este script espera a que acabe.
    trap : INT
    servir_detras 2
    servir_detras 3
    local fin=0
    "$nodo" --nodo 1 <&0 &
    menu=$!
    while kill -0 "$menu" 2>/dev/null; do
        fin=0
        wait "$menu" || fin=$?
    done
    exit "$fin"
}

compilar
comprobar_puertos
if [[ ${1-} == --sin-tmux ]] || [[ ! -t 0 || ! -t 1 ]] || ! command -v tmux >/dev/null; then
    sin_tmux
elif [[ -n ${TMUX-} ]]; then
    con_ventana_nueva
else
    con_sesion_propia
fi
