#!/usr/bin/env bash
# Mira qué está en marcha en esta máquina: en qué puerto, quién contesta y en cuánto. No arranca ni
# cambia nada.
#
# Primero se ve en qué puertos escucha alguien, y sólo a esos se les pregunta. Ellos lo notan como una
# conexión más: al balanceador le gasta un turno. Al chat no se le pregunta nada, porque para él una
# conexión es alguien que llega.
#
#   scripts/verificar_sistema.sh                      los puertos de las prácticas
#   scripts/verificar_sistema.sh nodo:6001 maestro:9000 backend:8001…    estos
set -uo pipefail

raiz=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Los de las filas de PEERS, «    ("nodo1", "127.0.0.1", 6001),», y los de las demás prácticas.
de_las_practicas() {
    sed -n '/^pub const PEERS/,/^];/s/^ *("[^"]*", *"[^"]*", *\([0-9_]*\)).*/nodo:\1/p' \
        "$raiz/src/config.rs" | tr -d _
    printf '%s\n' maestro:9000 balanceador:8000 backend:8001 backend:8002 backend:8003 chat:5000
}

if (($# == 0)); then
    # shellcheck disable=SC2046 # son varios
    set -- $(de_las_practicas)
fi

# El programa: el que se diga en NODO, o el último que se compiló, o el instalado.
buscar_nodo() {
    local compilados=${CARGO_TARGET_DIR:-$raiz/target} candidato
    local candidatos=("${NODO-}" "$compilados/debug/nodo" "$compilados/release/nodo")
    if [[ "$compilados/release/nodo" -nt "$compilados/debug/nodo" ]]; then
        candidatos=("${NODO-}" "$compilados/release/nodo")
    fi
    for candidato in "${candidatos[@]}"; do
        if [[ -n $candidato && -x $candidato ]]; then
            printf '%s' "$candidato"
            return
        fi
    done
    command -v nodo
}

# ¿Escucha alguien en el puerto $1? Se mira en las tablas del sistema: conectarse ya sería hacerse
# notar.
escucha_alguien() {
    if [[ -r /proc/net/tcp ]]; then
        # En Linux la segunda columna acaba en el puerto en hexadecimal, y la cuarta es 0A si está
        # escuchando.
        grep -Eiq "^ *[0-9]+: [0-9A-F]+:$(printf '%04X' "$1") [0-9A-F:]+ 0A " \
            /proc/net/tcp /proc/net/tcp6 2>/dev/null
    elif command -v netstat >/dev/null; then
        netstat -an | grep -Eq "[.:]$1[[:space:]].*LISTEN"
    else
        (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
    fi
}

# GET /: el código, el tiempo y el principio de la respuesta.
por_http() {
    command -v curl >/dev/null || { printf 'HTTP: sin curl no se puede preguntar' && return; }
    local respuesta codigo segundos
    local pedir=(curl -sS --max-time 5 -w '\n%{http_code} %{time_total}' "http://127.0.0.1:$1/")
    if respuesta=$("${pedir[@]}" 2>/dev/null); then
        read -r codigo segundos <<<"${respuesta##*$'\n'}"
        segundos=${segundos/./,}
        printf 'HTTP %s en %s s: %s' "$codigo" "${segundos:0:6}" \
            "$(head -n 1 <<<"$respuesta" | cut -c 1-100)"
    else
        printf 'HTTP: no contesta'
    fi
}

# HOLA: quién es y en cuánto, con el propio programa.
por_hola() {
    [[ -n $nodo ]] || { printf 'HOLA: compila antes el programa (cargo build)' && return; }
    local respuesta
    respuesta=$("$nodo" estado --peer "127.0.0.1:$1" 2>&1)
    respuesta=${respuesta#"127.0.0.1:$1 "}
    printf 'HOLA: %s' "${respuesta#responde: }"
}

# Una solicitud, como haría el cliente del balanceador.
por_solicitud() {
    [[ -n $nodo ]] || { printf 'escucha; para preguntarle, compila antes el programa' && return; }
    local respuesta
    if respuesta=$("$nodo" solicitar --a "127.0.0.1:$1" --texto "¿quién contesta?" 2>/dev/null); then
        printf 'contesta: %s' "$(head -n 1 <<<"$respuesta")"
    else
        printf 'escucha, pero no contesta'
    fi
}

preguntar() {
    case $1 in
        nodo) printf '%s · %s' "$(por_hola "$2")" "$(por_http "$2")" ;;
        maestro) por_http "$2" ;;
        balanceador | backend) por_solicitud "$2" ;;
        *) printf 'escucha' ;;
    esac
}

nodo=$(buscar_nodo)
printf '%-7s %-12s %s\n' PUERTO SISTEMA 'QUIÉN CONTESTA'
for cual in "$@"; do
    que=${cual%%:*} puerto=${cual##*:}
    if [[ ! $puerto =~ ^[0-9]+$ || $que == "$cual" ]]; then
        printf 'verificar_sistema: «%s» no es QUÉ:PUERTO, por ejemplo nodo:6001\n' "$cual" >&2
        exit 2
    fi
    if escucha_alguien "$puerto"; then
        printf '%-7s %-12s %s\n' "$puerto" "$que" "$(preguntar "$que" "$puerto")"
    else
        printf '%-7s %-12s %s\n' "$puerto" "$que" 'nadie escucha'
    fi
done
