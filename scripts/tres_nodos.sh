#!/usr/bin/env bash
# Compila y arranca los nodos de la práctica: uno por cada fila de PEERS (src/config.rs).
#
# Con tmux y una terminal, cada nodo tiene su panel y su menú. Si no hay tmux, el primero muestra su
# menú aquí y los demás corren detrás. Al terminar cierra lo que arrancó y nada más. Vale desde
# cualquier carpeta. Compila sin optimizar, que tarda segundos; con --release, como para medir.
#
# Con --diario cada nodo apunta sus mensajes en compartidos/nodoN.jsonl.
#
#   scripts/tres_nodos.sh [--sin-tmux] [--release] [--diario]
set -euo pipefail

raiz=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Los nodos comparten «compartidos/nodoN», que está aquí.
cd "$raiz"

decir() { printf '%s\n' "$*" >&2; }

fallar() {
    decir "tres_nodos: $*"
    exit 1
}

# ----- Qué nodos, y el programa -----

nombres=()
puertos=()

# Las filas de PEERS, una por línea: «    ("nodo1", "127.0.0.1", 6001),».
leer_peers() {
    local nombre puerto fila='^ *("\([^"]*\)", *"[^"]*", *\([0-9_]*\)).*'
    while read -r puerto nombre; do
        nombres+=("$nombre")
        puertos+=("${puerto//_/}")
    done < <(sed -n "/^pub const PEERS/,/^];/s/$fila/\\2 \\1/p" src/config.rs)
    ((${#puertos[@]} > 0)) ||
        fallar "no encuentro en src/config.rs las filas de PEERS, como («nodo1», IP, puerto)."
}

compilar() {
    command -v cargo >/dev/null ||
        fallar "no encuentro cargo. Instala Rust desde https://rustup.rs y abre otra terminal."
    decir "Compilando (la primera vez tarda más)…"
    cargo build ${release:+--release} --locked --bin nodo ||
        fallar "no compiló; el motivo está arriba."
    nodo=${CARGO_TARGET_DIR:-target}/${release:-debug}/nodo
    [[ -x $nodo ]] || fallar "compiló, pero no encuentro $nodo."
}

# ¿Escucha alguien en ese puerto de esta máquina?
ocupado() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

comprobar_puertos() {
    local puerto
    for puerto in "${puertos[@]}"; do
        ! ocupado "$puerto" ||
            fallar "el puerto $puerto ya está en uso. Cierra a quien lo tiene (¿otros nodos?)."
    done
}

puertos_libres() {
    local puerto
    for puerto in "${puertos[@]}"; do
        ! ocupado "$puerto" || return 1
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

# La opción del nodo N, si se pidieron diarios.
con_diario() { printf '%s' "${diario:+ --diario=compartidos/${nombres[$1 - 1]}.jsonl}"; }

# La orden de un panel. Si el nodo falla, el panel espera para que se pueda leer por qué.
orden_del_panel() {
    local aviso="El nodo $1 se cerró. Entrar cierra este panel. " orden
    orden=$(printf '%q --nodo %d%s || { echo; read -r -p %q _; }' \
        "$nodo" "$1" "$(con_diario "$1")" "$aviso")
    printf 'bash -c %q' "$orden"
}

# El título de un panel dice quién es: «nodo1:6001».
titular() { tmux select-pane -t "$1" -T "${nombres[$2]}:${puertos[$2]}"; }

# Reparte los nodos en la ventana cuyo primer panel se acaba de crear. Los paneles se abren vacíos y
# cada nodo arranca cuando el suyo ya tiene su tamaño: así escribe a lo ancho que es.
repartir_paneles() {
    local ventana=$1 n panel alto paneles=()
    paneles[1]=$(tmux display-message -p -t "$ventana" '#{pane_id}')
    tmux set-option -w -t "$ventana" pane-border-status top
    tmux set-option -w -t "$ventana" pane-border-format '#{?pane_active,#[bold],} #{pane_title} '
    titular "$ventana" 0
    # Cada uno se abre bajo el primero: del último al segundo, quedan en orden.
    for ((n = ${#puertos[@]}; n > 1; n--)); do
        panel=$(tmux split-window -d -t "$ventana" -P -F '#{pane_id}' cat)
        paneles[n]=$panel
        titular "$panel" $((n - 1))
        # Sin repartir cada vez, al cuarto ya no le queda sitio.
        tmux select-layout -t "$ventana" tiled >/dev/null
    done
    alto=$(tmux display-message -p -t "$ventana" '#{window_height}')
    tmux set-option -w -t "$ventana" main-pane-height $((alto / 2))
    tmux select-layout -t "$ventana" "$(disposicion "$alto")" >/dev/null
    for n in "${!paneles[@]}"; do
        tmux respawn-pane -k -t "${paneles[n]}" -c "$raiz" "$(orden_del_panel "$n")"
    done
}

# Un panel pide 12 líneas: el título, las 10 del menú y la pregunta. Si no caben uno sobre otro, con
# tres el primero ocupa todo el ancho de arriba (en 80×24, con su menú entero); con más, cuadrícula.
disposicion() {
    if (($1 >= 12 * ${#puertos[@]})); then
        echo even-vertical
    elif ((${#puertos[@]} <= 3)); then
        echo main-horizontal
    else
        echo tiled
    fi
}

# Fuera de tmux: una sesión propia. Al salir de ella, como sea, se cierra.
con_sesion_propia() {
    local sesion=nodo-$$ filas columnas
    read -r filas columnas < <(stty size 2>/dev/null || echo 24 80)
    trap 'tmux kill-session -t "='"$sesion"'" 2>/dev/null || true; esperar puertos_libres' EXIT
    tmux new-session -d -s "$sesion" -c "$raiz" -x "$columnas" -y "$filas" cat
    repartir_paneles "$sesion:"
    tmux set-option -t "$sesion" mouse on >/dev/null
    tmux set-option -t "$sesion" status-left '' >/dev/null
    tmux set-option -t "$sesion" status-right-length 80 >/dev/null
    tmux set-option -t "$sesion" status-right \
        'cambiar de nodo: Ctrl-b o · cerrarlos: Ctrl-b d ' >/dev/null
    tmux attach-session -t "=$sesion" || true
}

# Dentro de tmux no conviene meter otro: una ventana nueva en la sesión de quien llama.
con_ventana_nueva() {
    local ventana
    ventana=$(tmux new-window -P -F '#{window_id}' -n nodos -c "$raiz" cat)
    # shellcheck disable=SC2064 # el identificador de la ventana ya se conoce
    trap "tmux kill-window -t '$ventana' 2>/dev/null || true; esperar puertos_libres" EXIT
    repartir_paneles "$ventana"
    decir "Los nodos están en la ventana «nodos». Ctrl-C aquí los cierra todos."
    while tmux list-panes -t "$ventana" >/dev/null 2>&1; do
        sleep 0.5
    done
}

# ----- Sin tmux: el menú del nodo 1 aquí, los demás detrás -----

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

# Cuando escucha, lo primero que dice acaba en el puerto.
empezo() { grep -q " $1\$" "$2" || ! kill -0 "$3" 2>/dev/null; }

servir_detras() {
    local n=$1 pantalla=$pantallas/nodo$1.txt
    # Se crea antes de arrancar: quien espera la lee enseguida.
    : >"$pantalla"
    # Con «set -m» el nodo tiene su propio grupo: un Ctrl-C para el nodo 1 no le llega.
    set -m
    # shellcheck disable=SC2046 # una opción o ninguna
    "$nodo" servir --nodo "$n" $(con_diario "$n") </dev/null >"$pantalla" 2>&1 &
    servidores+=($!)
    set +m
    if ! esperar empezo "${puertos[n - 1]}" "$pantalla" $! || ! kill -0 $! 2>/dev/null; then
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
    local n fin=0
    for ((n = 2; n <= ${#puertos[@]}; n++)); do
        servir_detras "$n"
    done
    # shellcheck disable=SC2046 # una opción o ninguna
    "$nodo" --nodo 1 $(con_diario 1) <&0 &
    menu=$!
    while kill -0 "$menu" 2>/dev/null; do
        fin=0
        wait "$menu" || fin=$?
    done
    exit "$fin"
}

# ----- Lo que se pide -----

release=
diario=
con_tmux=si
for opcion in "$@"; do
    case $opcion in
        --sin-tmux) con_tmux= ;;
        --release) release=release ;;
        --diario) diario=si ;;
        *)
            decir "uso: scripts/tres_nodos.sh [--sin-tmux] [--release] [--diario]"
            exit 2
            ;;
    esac
done

leer_peers
compilar
comprobar_puertos
if [[ -z $con_tmux || ! -t 0 || ! -t 1 ]] || ! command -v tmux >/dev/null; then
    sin_tmux
elif [[ -n ${TMUX-} ]]; then
    con_ventana_nueva
else
    con_sesion_propia
fi
