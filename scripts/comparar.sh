#!/usr/bin/env bash
# Mide nodo al lado de otros programas y escribe proporciones: todo en una misma corrida, por turnos y
# con medianas.
#
#   scripts/comparar.sh                 todo
#   scripts/comparar.sh transferencias  sólo eso (o: clave, chicos, carpeta, varias, enjambre,
#                                       peticiones, ociosas, buscar)
#
# No instala nada: lo que no esté (nginx, curl, python3, el nodo de la guía) se salta y se dice. El nodo
# de la guía se toma de la variable GUIA (ruta de nodo_p2p.py). RONDAS=5 y MIB=1024 se pueden cambiar.
# Trabaja en memoria (/dev/shm) si la hay, en una carpeta temporal que borra al salir.
set -euo pipefail
export LC_ALL=C

raiz=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
rondas=${RONDAS:-5}
mib=${MIB:-1024}
guia=${GUIA:-}
base=/dev/shm
[ -w "$base" ] || base=${TMPDIR:-/tmp}
trabajo=$(mktemp -d "$base/nodo-comparar.XXXXXX")
# nginx sirve con otro usuario: tiene que poder entrar.
chmod 755 "$trabajo"
procesos=()
# Una entrada que nunca dice nada ni se cierra, para los programas que leen la suya.
mkfifo "$trabajo/callada"
exec 9<>"$trabajo/callada"

limpiar() {
    local p
    for p in "${procesos[@]}"; do kill "$p" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$trabajo"
}
trap limpiar EXIT
trap 'exit 130' INT TERM

decir() { printf '%s\n' "$@"; }
pausa() { read -r -t "$1" <> <(:) || true; }
hay() { command -v "$1" >/dev/null 2>&1; }
hay_guia() { [ -n "$guia" ] && [ -f "$guia" ] && hay python3; }

# La mediana de los números que llegan por la entrada, uno por línea.
mediana() {
    sort -g | awk '{ n[NR] = $1 } END { if (NR) print n[int((NR + 1) / 2)]; else print "nan" }'
}
entre() { awk -v a="$1" -v b="$2" 'BEGIN { if (b + 0 > 0) printf "%.2f", a / b; else printf "—" }'; }

# La primera columna de un archivo de medidas, en su mediana.
mediana_de() { awk '{ print $1 }' "$1" | mediana; }

compilar() {
    decir "Compilando…"
    (cd "$raiz" && cargo build --release --quiet && cargo bench --no-run --quiet)
    nodo=$raiz/target/release/nodo
    conexiones=$(programa_de_medir conexiones)
    descarga=$(programa_de_medir descarga)
}

programa_de_medir() {
    (cd "$raiz" && cargo bench --no-run --bench "$1" 2>&1) |
        sed -n 's/.*(\(.*\)).*/\1/p' | sed "s|^target|$raiz/target|" | tail -1
}

# Arranca un nodo con la carpeta dicha y deja su puerto en $puerto y su proceso en $proceso.
arrancar_nodo() {
    local carpeta=$1 salida
    shift
    salida=$(mktemp "$trabajo/salida.XXXXXX")
    "$nodo" servir --puerto 0 --carpeta "$carpeta" --peer 127.0.0.1:9 "$@" \
        >"$salida" 2>/dev/null </dev/null &
    proceso=$!
    procesos+=("$proceso")
    puerto=""
    for _ in $(seq 100); do
        puerto=$(sed -n 's/.*Nodo activo en puerto \([0-9]*\).*/\1/p' "$salida")
        [ -n "$puerto" ] && return
        pausa 0.05
    done
    decir "no arrancó un nodo con $carpeta" >&2
    exit 1
}

puerto_libre() {
    python3 -c '
import socket
s = socket.socket()
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])'
}

arrancar_guia() {
    puerto_guia=$(puerto_libre)
    NODO_IP=127.0.0.1 NODO_PUERTO=$puerto_guia NODO_CARPETA=$trabajo/a \
        python3 "$guia" <&9 >/dev/null 2>&1 &
    proceso_guia=$!
    procesos+=("$proceso_guia")
    pausa 1
}

arrancar_nginx() {
    puerto_nginx=$(puerto_libre)
    cat >"$trabajo/nginx.conf" <<FIN
worker_processes 2;
daemon off;
pid $trabajo/nginx.pid;
error_log $trabajo/nginx.log;
events { worker_connections 8192; }
http {
    access_log off; sendfile on; keepalive_timeout ${1:-0}; client_body_temp_path $trabajo/ng;
    server {
        listen 127.0.0.1:$puerto_nginx backlog=1024;
        root $trabajo/a;
        location = /si { return 200 "SI"; }
    }
}
FIN
    nginx -c "$trabajo/nginx.conf" -e "$trabajo/nginx.log" &
    procesos+=("$!")
    pausa 1
}

arrancar_http_server() {
    puerto_http=$(puerto_libre)
    python3 -m http.server --bind 127.0.0.1 --directory "$trabajo/a" "$puerto_http" \
        >/dev/null 2>&1 &
    proceso_http=$!
    procesos+=("$proceso_http")
    pausa 1
}

# Segundos de procesador gastados por unos procesos (y sus hijos vivos).
procesador() {
    local p total=0
    for p in "$@"; do
        [ -r "/proc/$p/stat" ] || continue
        total=$((total + $(awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$p/stat")))
    done
    awk -v t="$total" -v hz="$(getconf CLK_TCK)" 'BEGIN { printf "%.2f", t / hz }'
}

memoria_maxima() {
    awk '/VmHWM/ { printf "%.1f", $2 / 1024 }' "/proc/$1/status" 2>/dev/null || echo nan
}

# Hace una orden, comprueba lo bajado y apunta «segundos procesador» en el archivo dicho.
medir() {
    local apunte=$1 sirven=$2 antes despues tiempo
    shift 2
    rm -rf "$trabajo/destino" && mkdir "$trabajo/destino"
    # shellcheck disable=SC2086 # son varios números de proceso
    antes=$(procesador $sirven)
    TIMEFORMAT='%R %U %S'
    { time "$@" >/dev/null 2>&1; } 2>"$trabajo/tiempo"
    # shellcheck disable=SC2086
    despues=$(procesador $sirven)
    tiempo=$(cat "$trabajo/tiempo")
    if ! cmp -s "$trabajo/a/grande" "$trabajo/destino/grande"; then
        decir "¡$apunte no bajó bien!"
        exit 1
    fi
    awk -v t="$tiempo" -v a="$antes" -v d="$despues" \
        'BEGIN { split(t, x); print x[1], x[2] + x[3] + d - a }' >>"$trabajo/$apunte.datos"
}

cliente_de_la_guia='
import socket, sys
c = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
c.send(b"DESCARGAR:grande")
f = open(sys.argv[2], "wb")
d = c.recv(1024)
assert d[:2] == b"OK"
f.write(d[2:])
while True:
    d = c.recv(1024)
    if not d:
        break
    f.write(d)
'

linea_de_transferencia() {
    local nombre=$1 apunte=$2 segundos cpu
    [ -s "$trabajo/$apunte.datos" ] || { printf '  %-34s no está\n' "$nombre"; return; }
    segundos=$(mediana_de "$trabajo/$apunte.datos")
    cpu=$(awk '{ print $2 }' "$trabajo/$apunte.datos" | mediana)
    printf '  %-34s %8.3f s   procesador %6.2f s   nodo va a %s veces\n' \
        "$nombre" "$segundos" "$cpu" "$(entre "$segundos" "$de_nodo")"
}

transferencias() {
    decir "" "== Un archivo de $mib MiB, con destino en $base, mediana de $rondas =="
    mkdir -p "$trabajo/a" "$trabajo/b" "$trabajo/c"
    head -c "$((mib * 1048576))" /dev/urandom >"$trabajo/a/grande"
    ln "$trabajo/a/grande" "$trabajo/b/grande" && ln "$trabajo/a/grande" "$trabajo/c/grande"
    arrancar_nodo "$trabajo/a"; local p1=$puerto n1=$proceso
    arrancar_nodo "$trabajo/b"; local p2=$puerto n2=$proceso
    arrancar_nodo "$trabajo/c"; local p3=$puerto n3=$proceso
    if hay nginx && hay curl; then arrancar_nginx; fi
    if hay python3 && hay curl; then arrancar_http_server; fi
    if hay_guia; then arrancar_guia; fi
    # Una vez sin medir: calienta la caché y deja calculadas las huellas.
    for p in "$p1" "$p2" "$p3"; do
        "$nodo" descargar grande --carpeta "$trabajo/destino" --de "127.0.0.1:$p" >/dev/null
        rm -rf "$trabajo/destino"
    done
    local bajar=("$nodo" descargar grande --carpeta "$trabajo/destino")
    local destino=$trabajo/destino/grande
    for _ in $(seq "$rondas"); do
        medir una "$n1" "${bajar[@]}" --de "127.0.0.1:$p1"
        medir tres "$n1 $n2 $n3" "${bajar[@]}" \
            --de "127.0.0.1:$p1" --de "127.0.0.1:$p2" --de "127.0.0.1:$p3"
        if hay nginx && hay curl; then
            medir nginx "$(pgrep -d' ' -P "$(cat "$trabajo/nginx.pid")")" \
                curl -s -o "$destino" "http://127.0.0.1:$puerto_nginx/grande"
        fi
        if hay python3 && hay curl; then
            medir http "$proceso_http" curl -s -o "$destino" "http://127.0.0.1:$puerto_http/grande"
        fi
        if hay_guia; then
            medir guia "$proceso_guia" \
                python3 -c "$cliente_de_la_guia" "$puerto_guia" "$destino"
        fi
        medir cp "" cp "$trabajo/a/grande" "$destino"
    done
    de_nodo=$(mediana_de "$trabajo/una.datos")
    linea_de_transferencia "nodo, de una fuente (comprobado)" una
    linea_de_transferencia "nodo, de tres fuentes" tres
    linea_de_transferencia "nginx (sendfile) + curl" nginx
    linea_de_transferencia "python3 -m http.server + curl" http
    linea_de_transferencia "nodo de la guía" guia
    linea_de_transferencia "cp" cp
    memoria_de_una_descarga "$p1" "$n1"
}

memoria_de_una_descarga() {
    local cliente maxima=0 ahora
    rm -rf "$trabajo/destino"
    "$nodo" descargar grande --carpeta "$trabajo/destino" --de "127.0.0.1:$1" >/dev/null 2>&1 &
    cliente=$!
    while kill -0 "$cliente" 2>/dev/null; do
        ahora=$(memoria_maxima "$cliente")
        [ "$ahora" != nan ] && [ -n "$ahora" ] && maxima=$ahora
    done
    decir "  memoria máxima: quien baja $maxima MiB, quien sirve $(memoria_maxima "$2") MiB"
}

# Por parejas: cada descarga cifrada, justo después de la misma en claro.
clave() {
    local frase p1 n1 p2 n2 claro cifrado
    frase=$("$nodo" clave 2>/dev/null)
    decir "" "== Cifrar: un archivo de $mib MiB con clave y sin ella, mediana de $rondas parejas =="
    mkdir -p "$trabajo/a"
    [ -f "$trabajo/a/grande" ] || head -c "$((mib * 1048576))" /dev/urandom >"$trabajo/a/grande"
    arrancar_nodo "$trabajo/a"; p1=$puerto n1=$proceso
    arrancar_nodo "$trabajo/a" --clave "$frase"; p2=$puerto n2=$proceso
    local bajar=("$nodo" descargar grande --carpeta "$trabajo/destino")
    "${bajar[@]}" --de "127.0.0.1:$p1" >/dev/null
    rm -rf "$trabajo/destino"
    "${bajar[@]}" --de "127.0.0.1:$p2" --clave "$frase" >/dev/null
    for _ in $(seq "$rondas"); do
        medir claro "$n1" "${bajar[@]}" --de "127.0.0.1:$p1"
        medir cifrado "$n2" "${bajar[@]}" --de "127.0.0.1:$p2" --clave "$frase"
    done
    claro=$(awk '{ print $2 }' "$trabajo/claro.datos" | mediana)
    cifrado=$(awk '{ print $2 }' "$trabajo/cifrado.datos" | mediana)
    decir "  cifrada va a $(paste "$trabajo/claro.datos" "$trabajo/cifrado.datos" |
        awk '{ print $1 / $3 }' | mediana) de la misma en claro" \
        "  procesador por GiB, entre los dos lados: en claro $(por_gib "$claro") s," \
        "  cifrada $(por_gib "$cifrado") s"
}

por_gib() { awk -v s="$1" -v m="$mib" 'BEGIN { printf "%.2f", s * 1024 / m }'; }

chicos() {
    decir "" "== 1000 archivos de 4 KiB, mediana de $rondas =="
    mkdir -p "$trabajo/a" "$trabajo/destino"
    local n
    for n in $(seq 0 999); do head -c 4096 /dev/urandom >"$trabajo/a/chico-$n"; done
    arrancar_nodo "$trabajo/a"; local p=$puerto
    if hay_guia; then arrancar_guia; fi
    "$descarga" chicos "127.0.0.1:$p" "$trabajo/destino" 1000 >/dev/null
    for _ in $(seq "$rondas"); do
        "$descarga" chicos "127.0.0.1:$p" "$trabajo/destino" 1000 >>"$trabajo/chicos.nodo"
        if hay_guia; then
            "$descarga" chicos-guia "127.0.0.1:$puerto_guia" "$trabajo/destino" 1000 \
                >>"$trabajo/chicos.guia"
        fi
    done
    local nuestro suyo
    nuestro=$(mediana <"$trabajo/chicos.nodo")
    decir "  nodo, por una conexión y comprobados: $nuestro s"
    if hay_guia; then
        suyo=$(mediana <"$trabajo/chicos.guia")
        decir "  nodo de la guía: $suyo s; nodo va a $(entre "$suyo" "$nuestro") veces"
    else
        decir "  nodo de la guía: no está (GUIA=ruta de nodo_p2p.py)"
    fi
}

# La orden entera contra la orden entera: lo que espera quien la escribe.
carpeta() {
    decir "" "== descargar carpeta/ de 1000 archivos de 4 KiB, mediana de $rondas, con destino en $base =="
    if ! hay nginx || ! hay curl; then decir "  nginx o curl: no está"; return; fi
    mkdir -p "$trabajo/a/carpeta"
    local n
    for n in $(seq 0 999); do head -c 4096 /dev/urandom >"$trabajo/a/carpeta/$n"; done
    arrancar_nodo "$trabajo/a"; local p=$puerto
    # Con conexiones que se reutilizan, como viene: si no, curl abriría mil.
    arrancar_nginx 65
    local destino=$trabajo/d-carpeta
    TIMEFORMAT=%R
    # La primera no cuenta: calienta la caché y deja calculadas las huellas.
    for n in $(seq 0 "$rondas"); do
        rm -rf "$destino"
        { time "$nodo" descargar carpeta/ --carpeta "$destino" --de "127.0.0.1:$p" >/dev/null; } \
            2>>"$trabajo/carpeta.nodo"
        diff -rq "$trabajo/a/carpeta" "$destino/carpeta" || { decir "¡no bajó bien!"; exit 1; }
        rm -rf "$destino"; mkdir "$destino"
        { time curl -s -Z -o "$destino/#1" "http://127.0.0.1:$puerto_nginx/carpeta/[0-999]" \
            >/dev/null 2>&1; } 2>>"$trabajo/carpeta.curl"
    done
    local nuestro suyo
    nuestro=$(tail -n +2 "$trabajo/carpeta.nodo" | mediana)
    suyo=$(tail -n +2 "$trabajo/carpeta.curl" | mediana)
    decir "  nodo, comprobados y asegurados en el disco: $nuestro s"
    decir "  curl -Z contra nginx: $suyo s; nodo va a $(entre "$suyo" "$nuestro") veces"
}

varias() {
    decir "" "== Tres fuentes de 20 MB/s cada una frente a una, 256 MiB, mediana de 3 =="
    mkdir -p "$trabajo/m"
    head -c 268435456 /dev/urandom >"$trabajo/m/medio"
    arrancar_nodo "$trabajo/m"; local p=$puerto pasos=() n
    for n in 1 2 3; do
        "$descarga" limitado "127.0.0.1:$p" 20 <&9 >"$trabajo/paso-$n" &
        procesos+=("$!")
    done
    pausa 1
    for n in 1 2 3; do pasos+=(--de "127.0.0.1:$(cat "$trabajo/paso-$n")"); done
    local bajar=("$nodo" descargar medio --carpeta "$trabajo/destino")
    TIMEFORMAT=%R
    for _ in 1 2 3; do
        rm -rf "$trabajo/destino"
        { time "${bajar[@]}" "${pasos[@]:0:2}" >/dev/null; } 2>>"$trabajo/varias.una"
        rm -rf "$trabajo/destino"
        { time "${bajar[@]}" "${pasos[@]}" >/dev/null; } 2>>"$trabajo/varias.tres"
    done
    local una tres
    una=$(mediana <"$trabajo/varias.una"); tres=$(mediana <"$trabajo/varias.tres")
    decir "  de una $una s, de tres $tres s: $(entre "$una" "$tres") veces"
}

# El menú de un nodo que baja, en 127.0.0.N. Lee de una tubería suya: el descriptor por el que se le
# escribe se añade a la lista que se diga.
arrancar_menu() {
    local n=$1 descriptores=$2
    shift 2
    mkdir -p "$trabajo/e$n" && mkfifo "$trabajo/e$n.teclas"
    exec {descriptor}<>"$trabajo/e$n.teclas"
    "$nodo" --ip "127.0.0.$n" --puerto "$puerto" --carpeta "$trabajo/e$n" "$@" \
        <"$trabajo/e$n.teclas" >"$trabajo/e$n.dice" 2>&1 &
    procesos+=("$!")
    eval "$descriptores+=($descriptor)"
}

enjambre() {
    local doce=({2..13}) n teclas=() peers=() empezo ultimo ideal solo
    decir "" "== Doce que piden a la vez 64 MiB a uno que sube a 50 Mbit/s; los demás, a 200 =="
    mkdir -p "$trabajo/e"
    head -c 67108864 /dev/urandom >"$trabajo/e/imagen"
    arrancar_nodo "$trabajo/e" --ip 127.0.0.1 --ritmo 6250KB
    # Toda 127.x.x.x es esta máquina: cada nodo en la suya, con el mismo puerto.
    for n in 1 "${doce[@]}"; do peers+=(--peer "127.0.0.$n:$puerto"); done
    "$nodo" buscar imagen "${peers[0]}" "${peers[1]}" >/dev/null
    for n in "${doce[@]}"; do arrancar_menu "$n" teclas --ritmo 25MB "${peers[@]}"; done
    for n in "${doce[@]}"; do
        until grep -q "Nodo activo" "$trabajo/e$n.dice"; do pausa 0.05; done
    done
    empezo=$EPOCHREALTIME
    for n in "${teclas[@]}"; do printf '2\nimagen\n1\n' >&"$n"; done
    for n in "${doce[@]}"; do
        until [ -f "$trabajo/e$n/imagen" ] || grep -q "ERROR AL" "$trabajo/e$n.dice"; do
            pausa 0.05
        done
        cmp -s "$trabajo/e/imagen" "$trabajo/e$n/imagen" ||
            { decir "¡al $n no le llegó bien!"; cat "$trabajo/e$n.dice"; exit 1; }
    done
    ultimo=$(entre_dos "$empezo" "$EPOCHREALTIME")
    ideal=$(entre 67.108864 6.25)
    solo=$(awk -v i="$ideal" 'BEGIN { print 12 * i }')
    decir "  el último acaba en $ultimo s:" \
        "  $(entre "$solo" "$ultimo") veces antes que todos sólo de la semilla ($solo s)" \
        "  $(entre "$ultimo" "$ideal") veces el ideal: lo que tarda ella en mandarlo una vez ($ideal s)"
    decir "  memoria máxima de uno que baja y reparte: $(memoria_maxima "${procesos[-1]}") MiB"
    for n in "${teclas[@]}"; do printf '3\n' >&"$n"; exec {n}>&-; done
}

# Los segundos entre dos momentos.
entre_dos() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.1f", b - a }'; }

peticiones() {
    decir "" "== BUSCAR por conexiones nuevas: peticiones por segundo, mediana de $rondas de 2 s =="
    mkdir -p "$trabajo/a"; echo hola >"$trabajo/a/hola.txt"
    arrancar_nodo "$trabajo/a"; local p=$puerto c
    if hay nginx; then arrancar_nginx; fi
    if hay_guia; then arrancar_guia; fi
    for c in 1 16 64 256; do
        for _ in $(seq "$rondas"); do
            "$conexiones" carga "127.0.0.1:$p" BUSCAR:hola.txt SI "$c" 2 \
                >>"$trabajo/peticiones.nodo.$c"
            if hay nginx; then
                "$conexiones" carga "127.0.0.1:$puerto_nginx" \
                    'GET /si HTTP/1.0\r\n\r\n' HTTP/1.1 "$c" 2 >>"$trabajo/peticiones.nginx.$c"
            fi
        done
        # El de la guía tarda mucho en reponerse de cada vez: una basta.
        if hay_guia; then
            "$conexiones" carga "127.0.0.1:$puerto_guia" BUSCAR:hola.txt SI "$c" 2 \
                >>"$trabajo/peticiones.guia.$c"
        fi
        linea_de_peticiones "$c"
    done
}

linea_de_peticiones() {
    local c=$1 nuestro errores peor frase
    nuestro=$(mediana_de "$trabajo/peticiones.nodo.$c")
    errores=$(awk '{ e += $2 } END { print e }' "$trabajo/peticiones.nodo.$c")
    peor=$(awk '$5 > m { m = $5 } END { print m }' "$trabajo/peticiones.nodo.$c")
    frase="  $c clientes: nodo $nuestro/s ($errores errores, la peor $peor ms)"
    if hay nginx; then
        frase+="; $(entre "$nuestro" "$(mediana_de "$trabajo/peticiones.nginx.$c")") de nginx"
    fi
    if hay_guia; then
        frase+="; $(entre "$nuestro" "$(mediana_de "$trabajo/peticiones.guia.$c")") veces el de la guía"
    fi
    decir "$frase"
}

ociosas() {
    decir "" "== 5000 conexiones ociosas =="
    mkdir -p "$trabajo/a"; echo hola >"$trabajo/a/hola.txt"
    arrancar_nodo "$trabajo/a" --max-conexiones 6000
    local p=$puerto n=$proceso antes durante libre ocupado abiertas cada_una
    libre=$("$conexiones" carga "127.0.0.1:$p" BUSCAR:hola.txt SI 16 2 | awk '{ print $1 }')
    antes=$(awk '/VmRSS/ { print $2 }' "/proc/$n/status")
    "$conexiones" ociosas "127.0.0.1:$p" 5000 <&9 >"$trabajo/abiertas" &
    procesos+=("$!")
    # Dice cuántas abrió cuando están todas.
    until [ -s "$trabajo/abiertas" ]; do pausa 0.1; done
    abiertas=$(cat "$trabajo/abiertas")
    durante=$(awk '/VmRSS/ { print $2 }' "/proc/$n/status")
    ocupado=$("$conexiones" carga "127.0.0.1:$p" BUSCAR:hola.txt SI 16 2 | awk '{ print $1 }')
    cada_una=$(entre "$((durante - antes))" "$abiertas")
    decir "  $abiertas abiertas: $cada_una KiB residentes cada una; nuevas peticiones a" \
        "  $(entre "$ocupado" "$libre") de lo que iban sin ellas"
}

buscar() {
    decir "" "== Buscar en 100 peers, 50 de ellos mudos, con 2 s de espera =="
    hay python3 || { decir "  python3: no está"; return; }
    mkdir -p "$trabajo/a"; echo hola >"$trabajo/a/hola.txt"
    # Escucha en todas las IP: cada 127.0.0.N es, para quien busca, otro nodo.
    arrancar_nodo "$trabajo/a" --ip 0.0.0.0; local p=$puerto peers=() n
    python3 -c '
import socket, sys
mudos = [socket.create_server(("127.0.0.1", 0)) for _ in range(50)]
print(*(m.getsockname()[1] for m in mudos), sep=chr(10), flush=True)
sys.stdin.read()' <&9 >"$trabajo/mudos" &
    procesos+=("$!")
    pausa 1
    while read -r n; do peers+=(--peer "127.0.0.1:$n"); done <"$trabajo/mudos"
    for n in $(seq 2 51); do peers+=(--peer "127.0.0.$n:$p"); done
    TIMEFORMAT=%R
    { time "$nodo" buscar hola.txt "${peers[@]}" >/dev/null 2>&1 || true; } 2>"$trabajo/buscar"
    decir "  $(cat "$trabajo/buscar") s: $(entre "$(cat "$trabajo/buscar")" 2) veces una espera"
}

compilar
hay nginx || decir "nginx: no está; se salta"
hay curl || decir "curl: no está; se salta"
hay_guia || decir "el nodo de la guía: no está (GUIA=ruta de nodo_p2p.py); se salta"
if [ $# -eq 0 ]; then
    set -- transferencias clave chicos carpeta varias enjambre peticiones ociosas buscar
fi
for parte in "$@"; do
    case $parte in
        transferencias | clave | chicos | carpeta | varias) "$parte" ;;
        enjambre | peticiones | ociosas | buscar) "$parte" ;;
        *) decir "no sé medir «$parte»" >&2; exit 2 ;;
    esac
done
