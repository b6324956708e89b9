#!/usr/bin/env bash
# Vuelve a hacer la imagen del README: arranca de verdad los nodos (con tres_nodos.sh, en paneles de
# tmux), escribe en ellos lo que escribiría una persona y dibuja lo que se ve.
#
#   scripts/imagen.sh [ARCHIVO]     sin nada, scripts/tres_nodos.svg
#
# Hacen falta tmux, git y libres los puertos de PEERS. Usa una copia de los archivos de muestra: lo que
# se baja no queda en «compartidos». Al terminar cierra lo que arrancó.
set -euo pipefail

raiz=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
destino=${1:-$raiz/scripts/tres_nodos.svg}
columnas=108
filas=34

fallar() {
    printf 'imagen: %s\n' "$*" >&2
    exit 1
}

for programa in tmux git cargo; do
    command -v "$programa" >/dev/null || fallar "hace falta $programa"
done

lugar=$(mktemp -d "${TMPDIR:-/tmp}/nodo-imagen.XXXXXX")
# Un tmux propio, sin la configuración ni las sesiones de quien llama.
unset TMUX
en_tmux() { LC_ALL=C.UTF-8 tmux -L "nodo-imagen-$$" -f /dev/null "$@"; }
limpiar() {
    en_tmux kill-server 2>/dev/null || true
    rm -rf "$lugar"
}
trap limpiar EXIT
trap 'exit 130' INT TERM

# ----- Los nodos -----

# Una copia de los archivos de muestra, y lo demás que tres_nodos.sh mira. Como ya está compilado, el
# «cargo» que encuentra no hace nada.
preparar() {
    (cd "$raiz" && cargo build --locked --bin nodo)
    git -C "$raiz" archive HEAD compartidos | tar -x -C "$lugar"
    ln -s "$raiz/scripts" "$raiz/src" "$lugar"
    mkdir "$lugar/bin"
    printf '#!/bin/sh\n' >"$lugar/bin/cargo"
    chmod +x "$lugar/bin/cargo"
}

arrancar() {
    local compilado=${CARGO_TARGET_DIR:-$raiz/target}
    cd "$lugar"
    PATH=$lugar/bin:$PATH CARGO_TARGET_DIR=$compilado en_tmux new-session -d -s imagen \
        -x "$columnas" -y "$filas" 'tmux set -g status off; scripts/tres_nodos.sh'
    # Sin sesión es que tres_nodos.sh no pudo: los puertos están ocupados.
    esperar hay_panel 3 || fallar "no arrancaron: ¿están libres los puertos de PEERS?"
    local n
    for n in 1 2 3; do ver "$n" 'opción'; done
}

# Espera hasta 15 s a que se cumpla una condición.
esperar() {
    local vuelta
    for ((vuelta = 0; vuelta < 150; vuelta++)); do
        "$@" && return 0
        sleep 0.1
    done
    return 1
}

# El panel del nodo N: los títulos son «nodoN:PUERTO».
panel() {
    en_tmux list-panes -s -t imagen -F '#{pane_id} #{pane_title}' 2>/dev/null |
        awk -v de="nodo$1:" 'index($2, de) == 1 { print $1 }'
}
hay_panel() { [[ -n $(panel "$1") ]]; }

dice() { en_tmux capture-pane -p -t "$(panel "$1")" | grep -qF -- "$2"; }
ver() { esperar dice "$1" "$2" || fallar "el nodo $1 no dice «$2»"; }

# escribir N LÍNEA…: como en su teclado, y cada una cuando ya se ha leído la de antes.
escribir() {
    local n=$1 linea
    shift
    for linea in "$@"; do
        en_tmux send-keys -t "$(panel "$n")" -l "$linea"
        ver "$n" "$linea"
        en_tmux send-keys -t "$(panel "$n")" Enter
        sleep 0.3
    done
}

# Lo que se ve en la imagen.
conversar() {
    escribir 2 6 'tengo un glosario'
    ver 1 'tengo un glosario'
    escribir 1 2 glosario.txt 0
    ver 1 'comprobado'
    escribir 3 1
    ver 3 'turnos.png'
    sleep 0.5
}

# ----- El dibujo -----

# Los paneles, uno por línea: dónde está, cuánto mide y quién es; y debajo, lo que se ve en él, con sus
# colores, cada línea tras una barra.
capturar() {
    local id donde
    en_tmux list-panes -t imagen \
        -F '#{pane_id} #{pane_left} #{pane_top} #{pane_width} #{pane_height} #{pane_title}' |
        while read -r id donde; do
            printf 'panel %s\n' "$donde"
            en_tmux capture-pane -p -e -t "$id" | sed 's/^/|/'
        done
}

# De lo capturado a SVG. En bytes (LC_ALL=C), para que cualquier awk cuente igual las letras con tilde.
dibujar() {
    LC_ALL=C awk -v columnas="$columnas" -v filas="$filas" -f <(
        cat <<'AWK'
BEGIN {
    ancho = 8.4; alto = 18; margen = 16
    split("#6e7681 #ff7b72 #7ee787 #e3b341 #79c0ff #d2a8ff #76e3ea #e6edf3", color, " ")
    w = columnas * ancho + 2 * margen
    h = filas * alto + 2 * margen
    printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.1f %.1f\"", w, h
    printf " width=\"%.0f\" height=\"%.0f\" role=\"img\">\n", w, h
    print "<title>Tres nodos, cada uno en su panel</title>"
    print "<style>"
    print "text { fill: #e6edf3; white-space: pre; font: 14px ui-monospace, SFMono-Regular,"
    print "       Menlo, Consolas, 'DejaVu Sans Mono', monospace; }"
    print ".t { font-weight: bold; fill: #7ee787; }"
    print "</style>"
    printf "<rect x=\".5\" y=\".5\" width=\"%.1f\" height=\"%.1f\" rx=\"8\"", w - 1, h - 1
    print " fill=\"#161b22\" stroke=\"#57606a\"/>"
}
function x(columna) { return margen + columna * ancho }
function y(fila) { return margen + fila * alto }
# Columnas que ocupa un texto: los bytes que no continúan una letra.
function letras(texto) { gsub(/[\200-\277]/, "", texto); return length(texto) }
function escrito(texto) {
    gsub(/&/, "\\&amp;", texto); gsub(/</, "\\&lt;", texto); gsub(/>/, "\\&gt;", texto)
    return texto
}
function recta(x1, y1, x2, y2) {
    printf "<path d=\"M%.1f %.1fL%.1f %.1f\" stroke=\"#57606a\"/>\n", x1, y1, x2, y2
}
function poner(columna, texto, clase,    lleva) {
    match(texto, /^ */)
    columna += RLENGTH; texto = substr(texto, RLENGTH + 1)
    sub(/ +$/, "", texto)
    if (texto == "") return
    lleva = letras(texto)
    printf "<text x=\"%.1f\" y=\"%.1f\" textLength=\"%.1f\"%s>%s</text>\n", \
        x(izquierda + columna), y(arriba + fila) + alto * .72, lleva * ancho, clase, escrito(texto)
}
# El estilo tras una secuencia «ESC [ … m».
function aplicar(numeros,    n, i, partes) {
    n = split(numeros, partes, ";")
    if (n == 0) { negrita = 0; tinta = "" }
    for (i = 1; i <= n; i++) {
        if (partes[i] + 0 == 0) { negrita = 0; tinta = "" }
        else if (partes[i] == 1) negrita = 1
        else if (partes[i] == 22) negrita = 0
        else if (partes[i] == 39) tinta = ""
        else if (partes[i] >= 30 && partes[i] <= 37) tinta = color[partes[i] - 29]
        else if (partes[i] >= 90 && partes[i] <= 97) tinta = color[partes[i] - 89]
        else if (partes[i] == 38 || partes[i] == 48) { i += partes[i + 1] == 5 ? 2 : 4 }
    }
}
function estilo() {
    return (negrita ? " font-weight=\"bold\"" : "") (tinta == "" ? "" : " style=\"fill:" tinta "\"")
}
/^panel / {
    izquierda = $2; arriba = $3; anchura = $4; altura = $5
    fila = -1; negrita = 0; tinta = ""
    # La línea de arriba es la del título; la de la izquierda, si no es el borde, separa de otro panel.
    recta(x(izquierda - (izquierda > 0)), y(arriba - .5), x(izquierda) - 4 + ancho, y(arriba - .5))
    poner(2, $6, " class=\"t\"")
    recta(x(letras($6) + izquierda + 2.6), y(arriba - .5), x(izquierda + anchura), y(arriba - .5))
    if (izquierda > 0) recta(x(izquierda - .5), y(arriba - .5), x(izquierda - .5), y(arriba + altura))
    fila = 0
    next
}
{
    resto = substr($0, 2); columna = 0
    while (match(resto, /\033\[[0-9;]*m/)) {
        antes = substr(resto, 1, RSTART - 1)
        poner(columna, antes, estilo()); columna += letras(antes)
        aplicar(substr(resto, RSTART + 2, RLENGTH - 3))
        resto = substr(resto, RSTART + RLENGTH)
    }
    poner(columna, resto, estilo())
    fila++
}
END { print "</svg>" }
AWK
    )
}

preparar
arrancar
conversar
capturar | dibujar >"$lugar/imagen.svg"
mv "$lugar/imagen.svg" "$destino"
printf 'La imagen: %s\n' "$destino"
