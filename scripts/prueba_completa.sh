#!/usr/bin/env bash
# Recorre todas las prácticas con el programa de verdad y con curl, enseña lo que hace y comprueba cada
# resultado.
#
# Arranca un maestro, tres nodos, tres backends y el balanceador en puertos libres, con carpetas
# temporales: no toca «compartidos» ni molesta a otros nodos. Al terminar cierra y borra lo suyo.
# Sale con 1 si algo no fue como debía.
#
#   scripts/prueba_completa.sh            compila y prueba
#   NODO=ruta scripts/prueba_completa.sh  prueba ese ejecutable
set -uo pipefail

nodo=${NODO-}
if [[ -n $nodo && $nodo != /* ]]; then nodo=$PWD/$nodo; fi
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
unset RUST_LOG

fallos=()
pids=()
lugar=$(mktemp -d "${TMPDIR:-/tmp}/prueba-completa.XXXXXX") || exit 1

# ----- Enseñar y comprobar -----

titulo() { printf '\n== %s\n' "$*"; }

apuntar_fallo() {
    fallos+=("$*")
    printf '  MAL  %s\n' "$*"
}

# comprobar DESCRIPCIÓN ORDEN…: bien si la orden sale con 0.
comprobar() {
    local que=$1
    shift
    if "$@"; then printf '  bien %s\n' "$que"; else apuntar_fallo "$que"; fi
}

# Hace una orden enseñándola; deja lo que dijo en $dicho y su código en $codigo.
hacer() {
    printf '  $ %s\n' "${*//$lugar\//}" | sed "s|$nodo|nodo|"
    codigo=0
    dicho=$("${limite[@]+"${limite[@]}"}" "$@" 2>&1) || codigo=$?
    [[ -z $dicho ]] || printf '%s\n' "$dicho" |
        sed -e "s|$lugar/||g" -e 's/^/    /' -e '15,$d' | cut -c 1-180
}

salio_con() { [[ $codigo == "$1" ]]; }
dijo() { [[ $dicho == *"$1"* ]]; }
dijo_patron() { [[ $dicho =~ $1 ]]; }
no() { ! "$@"; }

# Espera hasta 20 s a que se cumpla una condición.
esperar() {
    local vuelta
    for ((vuelta = 0; vuelta < 200; vuelta++)); do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.1
    done
    return 1
}

# ----- Arrancar y parar -----

abortar() {
    apuntar_fallo "$*"
    exit 1
}

# arrancar NOMBRE ARGUMENTOS…: deja el puerto en $puerto y el proceso en $pid; lo que diga, en
# NOMBRE.txt.
arrancar() {
    local nombre=$1
    shift
    printf '  $ nodo %s &\n' "${*//$lugar\//}"
    : >"$lugar/$nombre.txt"
    "$nodo" "$@" </dev/null >"$lugar/$nombre.txt" 2>&1 &
    pid=$!
    pids+=("$pid")
    esperar dice_su_puerto "$lugar/$nombre.txt" ||
        abortar "$nombre no arrancó: $(cat "$lugar/$nombre.txt")"
}

# Cuando escucha, lo primero que dice es una línea que acaba en el puerto.
dice_su_puerto() {
    puerto=$(sed -n '1s/.*[^0-9]\([0-9][0-9]*\)$/\1/p' "$1")
    [[ -n $puerto && $(wc -l <"$1") -gt 0 ]]
}

# parar SEÑAL PID: la manda y espera; deja el código de salida en $codigo.
parar() {
    codigo=0
    kill "-$1" "$2" 2>/dev/null
    { wait "$2"; } 2>/dev/null || codigo=$?
}

limpiar() {
    local fin=$? pid vivos
    for pid in ${pids[@]+"${pids[@]}"}; do kill -TERM "$pid" 2>/dev/null; done
    for ((vivos = 0; vivos < 80; vivos++)); do
        kill -0 ${pids[@]+"${pids[@]}"} 2>/dev/null || break
        sleep 0.1
    done
    for pid in ${pids[@]+"${pids[@]}"}; do kill -KILL "$pid" 2>/dev/null; done
    { wait; } 2>/dev/null
    if ((${#fallos[@]} > 0)); then
        printf '\nNo todo fue bien:\n'
        printf '  - %s\n' "${fallos[@]}"
        fin=1
    elif ((fin == 0)); then
        printf '\nTodo bien.\n'
    fi
    rm -rf "$lugar"
    exit "$fin"
}
trap limpiar EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# ----- Lo que hace falta -----

preparar() {
    command -v curl >/dev/null ||
        abortar "hace falta curl (en Debian y Ubuntu: apt-get install curl)"
    limite=()
    if command -v timeout >/dev/null; then limite=(timeout 60); fi
    if [[ -z $nodo ]]; then
        command -v cargo >/dev/null ||
            abortar "no encuentro cargo: instala Rust desde https://rustup.rs"
        cargo build --locked --bin nodo || abortar "no compiló"
        nodo=${CARGO_TARGET_DIR:-target}/debug/nodo
    fi
    [[ -x $nodo ]] || abortar "no se puede ejecutar «$nodo»"
    local n
    for n in 1 2 3; do cp -R "compartidos/nodo$n" "$lugar/nodo$n"; done
    # Lo que ya se bajó en una práctica no debe cambiar lo que aquí se comprueba.
    rm -f "$lugar/nodo1/glosario.txt"
    # Seis bloques, para que haya algo que repartir y que reanudar.
    head -c 25000000 /dev/urandom >"$lugar/nodo2/grande.bin"
    cp "$lugar/nodo2/grande.bin" "$lugar/nodo3/grande.bin"
}

arrancar_nodo() {
    local n=$1 peers=() p
    for p in 1 2 3; do [[ $p == "$n" ]] || peers+=(--peer "127.0.0.1:${puertos[p]}"); done
    arrancar "nodo$n" servir --nombre "nodo$n" --carpeta "$lugar/nodo$n" --puerto "${puertos[n]}" \
        --maestro "$maestro" "${peers[@]}"
    nodos[n]=$pid
}

arrancar_todos() {
    titulo "Un maestro y tres nodos"
    arrancar maestro maestro --puerto 0
    puerto_maestro=$puerto pid_maestro=$pid maestro=http://127.0.0.1:$puerto
    # Cada nodo necesita los puertos de los otros: se piden tres libres, se sueltan y se vuelven a
    # abrir.
    puertos=(0 0 0 0) nodos=(0 0 0 0)
    local n
    for n in 1 2 3; do
        arrancar "nodo$n" servir --carpeta "$lugar/nodo$n" --puerto 0 --peer 127.0.0.1:1
        puertos[n]=$puerto nodos[n]=$pid
    done
    for n in 1 2 3; do
        parar TERM "${nodos[n]}"
        comprobar "el nodo $n sale con 130 al recibir SIGTERM" salio_con 130
    done
    for n in 1 2 3; do arrancar_nodo "$n"; done
    printf '  bien los puertos quedaron libres al instante\n'
    red=()
    for n in 1 2 3; do red+=(--peer "127.0.0.1:${puertos[n]}"); done
}

# ----- Las prácticas -----

# Lo que haría nc: manda unos bytes y guarda todo lo que contesten.
a_mano() {
    printf '  $ printf %q | nc 127.0.0.1 %s\n' "$2" "$1"
    exec 3<>"/dev/tcp/127.0.0.1/$1" && printf '%s' "$2" >&3 && cat <&3 >"$lugar/respuesta"
    exec 3>&- 3<&-
}
respondieron() { [[ $(cat "$lugar/respuesta") == "$1" ]]; }

palabras_de_la_guia() {
    titulo "Las palabras de la guía, a mano"
    a_mano "${puertos[3]}" BUSCAR:haiku.txt
    comprobar "BUSCAR contesta SI" respondieron SI
    a_mano "${puertos[3]}" BUSCAR:no-esta.txt
    comprobar "BUSCAR de lo que no está contesta NO" respondieron NO
    a_mano "${puertos[3]}" BUSCAR:../nodo2/glosario.txt
    comprobar "BUSCAR fuera de la carpeta contesta NO" respondieron NO
    a_mano "${puertos[3]}" DESCARGAR:haiku.txt
    { printf OK && cat "$lugar/nodo3/haiku.txt"; } >"$lugar/esperado"
    comprobar "DESCARGAR contesta OK y los bytes" cmp -s "$lugar/esperado" "$lugar/respuesta"
    a_mano "${puertos[3]}" DESCARGAR:no-esta.txt
    comprobar "DESCARGAR de lo que no está contesta NOFILE" respondieron NOFILE
}

buscar_y_descargar() {
    titulo "Buscar y descargar"
    hacer "$nodo" estado "${red[@]}"
    comprobar "los tres responden con su nombre" \
        test "$(grep -c 'responde: nodo[123] ' <<<"$dicho")" = 3
    hacer "$nodo" listar --red "${red[@]}"
    comprobar "se ve un archivo de una subcarpeta" \
        dijo "127.0.0.1:${puertos[1]} apuntes/hilos-y-conexiones.txt"
    hacer "$nodo" buscar glosario.txt "${red[@]}"
    comprobar "lo tienen el nodo 2 y el 3" dijo ":${puertos[2]}"
    comprobar "y no el nodo 1" no dijo ":${puertos[1]}"
    hacer "$nodo" buscar no-esta.txt "${red[@]}"
    comprobar "buscar lo que nadie tiene sale con 1" salio_con 1
    hacer "$nodo" descargar anillo.png --carpeta "$lugar/bajados" "${red[@]}"
    comprobar "la imagen llega igual" cmp -s "$lugar/bajados/anillo.png" "$lugar/nodo2/anillo.png"
    hacer "$nodo" descargar anillo.png --carpeta "$lugar/bajados" "${red[@]}"
    comprobar "pedirla otra vez no guarda nada y sale con 0" dijo "[YA LO TIENES]"
    printf 'otro contenido\n' >"$lugar/bajados/haiku.txt"
    hacer "$nodo" descargar haiku.txt --carpeta "$lugar/bajados" "${red[@]}"
    comprobar "lo que ya había no se pisa" grep -qx 'otro contenido' "$lugar/bajados/haiku.txt"
    comprobar "lo nuevo queda con un (1)" \
        cmp -s "$lugar/bajados/haiku (1).txt" "$lugar/nodo3/haiku.txt"
}

transferencias() {
    titulo "Comprobar, repartir y reanudar"
    local original=$lugar/nodo2/grande.bin huella
    hacer "$nodo" huella "$original"
    huella=${dicho%% *}
    comprobar "la huella tiene 64 cifras hexadecimales" dijo_patron '^[0-9a-f]{64} '
    if command -v b3sum >/dev/null; then
        comprobar "es la misma línea que imprime b3sum" dijo "$(b3sum "$original")"
    fi
    hacer "$nodo" descargar grande.bin --carpeta "$lugar/bajados" "${red[@]}"
    comprobar "de dos fuentes llega con esa huella" dijo "$huella"
    comprobar "y sale de las dos" dijo "2 fuentes"
    comprobar "y es igual byte a byte" cmp -s "$original" "$lugar/bajados/grande.bin"

    rm "$lugar/bajados/grande.bin"
    # Los tres primeros bloques (de 4 MiB), con un byte cambiado en el segundo.
    head -c 12582912 "$original" >"$lugar/bajados/.grande.bin.part"
    printf 'X' | dd of="$lugar/bajados/.grande.bin.part" bs=1 seek=5000000 conv=notrunc 2>/dev/null
    hacer "$nodo" descargar grande.bin --carpeta "$lugar/bajados" "${red[@]}" --de 127.0.0.1:1 \
        --de "127.0.0.1:${puertos[2]}"
    comprobar "con medio archivo, reanuda" dijo "[REANUDANDO]"
    comprobar "una fuente caída no lo estropea" dijo "127.0.0.1:1"
    comprobar "el byte cambiado se descubre y el archivo queda bien" \
        cmp -s "$original" "$lugar/bajados/grande.bin"
    comprobar "no queda nada a medias" no test -e "$lugar/bajados/.grande.bin.part"
}

envios_y_mensajes() {
    titulo "Enviar un archivo y mandar un mensaje"
    printf 'tarea de prueba\n' >"$lugar/tarea.txt"
    hacer "$nodo" enviar "$lugar/tarea.txt" --a "127.0.0.1:${puertos[1]}"
    comprobar "el envío sale con 0" salio_con 0
    comprobar "el nodo 1 lo guardó" cmp -s "$lugar/tarea.txt" "$lugar/nodo1/tarea.txt"
    hacer "$nodo" enviar "$lugar/tarea.txt" --a 127.0.0.1:1
    comprobar "a quien no está, sale con 1" salio_con 1
    hacer "$nodo" mensaje 'hola a todos' --nombre ana "${red[@]}"
    comprobar "lo recibió el nodo 3" dijo "127.0.0.1:${puertos[3]} lo recibió"
    comprobar "y lo enseña con el nombre de quien lo manda" \
        esperar grep -q 'ana.*hola a todos' "$lugar/nodo3.txt"
}

chat() {
    titulo "Chat"
    mkfifo "$lugar/teclado1" "$lugar/teclado2"
    exec 5<>"$lugar/teclado1" 6<>"$lugar/teclado2"
    printf '  $ nodo chat --servidor 127.0.0.1:0 &\n'
    "$nodo" chat --servidor 127.0.0.1:0 <"$lugar/teclado1" >"$lugar/chat1.txt" 2>&1 &
    local servidor=$! cliente puerto
    pids+=("$servidor")
    esperar dice_su_puerto "$lugar/chat1.txt" ||
        abortar "el chat no arrancó: $(cat "$lugar/chat1.txt")"
    printf '  $ nodo chat --conectar 127.0.0.1:%s &\n' "$puerto"
    "$nodo" chat --conectar "127.0.0.1:$puerto" <"$lugar/teclado2" >"$lugar/chat2.txt" 2>&1 &
    cliente=$!
    pids+=("$cliente")
    comprobar "los dos dicen que están conectados" esperar grep -q 'CONEXIÓN' "$lugar/chat2.txt"
    echo 'hola, ¿me lees?' >&6
    comprobar "lo que escribe el cliente llega al servidor" \
        esperar grep -q 'hola, ¿me lees?' "$lugar/chat1.txt"
    echo 'te leo' >&5
    comprobar "y al revés" esperar grep -q 'te leo' "$lugar/chat2.txt"
    echo exit >&6
    { wait "$cliente"; } 2>/dev/null
    comprobar "con exit el cliente sale con 0" test $? = 0
    comprobar "el servidor dice que la conexión se rompió" \
        esperar grep -qi 'conexión rota' "$lugar/chat1.txt"
    echo exit >&5
    { wait "$servidor"; } 2>/dev/null
    comprobar "con exit el servidor sale con 0" test $? = 0
    exec 5>&- 6>&-
}

# ¿Contestó cada «Server» las veces que toca? reparto A B C
reparto() {
    local n
    for n in 1 2 3; do
        [[ $(grep -c "^Response from Server $n" <<<"$dicho") == "${!n}" ]] || return 1
    done
}

balanceador() {
    titulo "Balanceador"
    local n backends=(0 0 0 0) procesos=(0 0 0 0) entrada
    for n in 1 2 3; do
        arrancar "backend$n" backend --puerto 0 --nombre "Server $n"
        backends[n]=$puerto procesos[n]=$pid
    done
    # El cuarto no existe (nadie escucha en el puerto 1): se reparte entre los vivos.
    arrancar balanceador balanceador --puerto 0 --backend "127.0.0.1:${backends[1]}" \
        --backend "127.0.0.1:${backends[2]}" --backend "127.0.0.1:${backends[3]}" --backend 127.0.0.1:1
    entrada=127.0.0.1:$puerto puerto_balanceador=$puerto puerto_backend=${backends[1]}
    hacer "$nodo" solicitar --a "$entrada" --veces 3
    comprobar "las tres primeras tienen respuesta" salio_con 0
    hacer "$nodo" solicitar --a "$entrada" --veces 9
    comprobar "con 3 de 4 vivos, a cada uno un tercio" reparto 3 3 3
    titulo "Balanceador: se cae un backend"
    printf '  $ kill -9 (Server 2)\n'
    parar KILL "${procesos[2]}"
    hacer "$nodo" solicitar --a "$entrada" --veces 10
    comprobar "no se pierde ninguna" salio_con 0
    comprobar "los otros dos se lo reparten" reparto 5 0 5
    comprobar "el balanceador lo dice" esperar grep -q CAÍDO "$lugar/balanceador.txt"
    arrancar backend2 backend --puerto "${backends[2]}" --nombre 'Server 2'
    comprobar "cuando vuelve, también lo dice" esperar grep -q VUELVE "$lugar/balanceador.txt"
    hacer "$nodo" solicitar --a "$entrada" --veces 9
    comprobar "y se reparte otra vez entre los tres" reparto 3 3 3
}

# pedir RUTA [OPCIONES DE CURL]: al nodo 1.
pedir() {
    local ruta=$1
    shift
    hacer curl -sS --max-time 10 "$@" "http://127.0.0.1:${puertos[1]}$ruta"
}
responde_con() { [[ $(curl -s -o /dev/null -w '%{http_code}' --max-time 10 "${@:2}") == "$1" ]]; }

rest() {
    titulo "REST en el puerto del nodo"
    local url=http://127.0.0.1:${puertos[1]} imagen=$lugar/nodo1/hilos.png
    pedir /
    comprobar "GET / dice que está activo" dijo '"status":"activo"'
    pedir / -H 'Accept: text/html' -o "$lugar/pagina.html"
    comprobar "a un navegador le da una página" grep -q '<html' "$lugar/pagina.html"
    pedir /files
    comprobar "GET /files lista las subcarpetas" dijo '"apuntes/hilos-y-conexiones.txt"'
    pedir '/search?file=hilos.png'
    comprobar "GET /search" dijo '"exists":true'
    pedir /info
    comprobar "GET /info: sin gRPC" dijo '"grpc_port":0'
    pedir '/locate?file=haiku.txt'
    comprobar "GET /locate encuentra a otro nodo" dijo ":${puertos[3]}"
    pedir /refresh -X POST
    comprobar "POST /refresh" dijo '"status":"refreshed"'
    pedir /files/hilos.png -o "$lugar/hilos.png"
    comprobar "GET /files/NOMBRE da el archivo" cmp -s "$lugar/hilos.png" "$imagen"
    pedir /files/hilos.png -r 100-199 -o "$lugar/trozo"
    tail -c +101 "$imagen" | head -c 100 >"$lugar/esperado"
    comprobar "un rango da esos bytes" cmp -s "$lugar/trozo" "$lugar/esperado"
    comprobar "con el código 206" responde_con 206 -r 100-199 "$url/files/hilos.png"
    head -c 5000 "$imagen" >"$lugar/hilos.png"
    pedir /files/hilos.png -C - -o "$lugar/hilos.png"
    comprobar "curl -C - reanuda" cmp -s "$lugar/hilos.png" "$imagen"
    pedir /files/hilos.png -I
    comprobar "HEAD da la huella en ETag" dijo "$("$nodo" huella "$imagen" | cut -d ' ' -f 1)"
    comprobar "fuera de rango: 416" responde_con 416 -r 999999- "$url/files/hilos.png"
    comprobar "lo que no está: 404" responde_con 404 "$url/files/no-esta.txt"
    comprobar "lo que no se puede: 405" responde_con 405 -X DELETE "$url/files/hilos.png"
    comprobar "salir de la carpeta: 404" \
        responde_con 404 --path-as-is "$url/files/%2e%2e/nodo2/glosario.txt"
    comprobar "con el nombre de otro sitio: 403" responde_con 403 -H 'Host: ejemplo.com' "$url/"
}

registrados() { [[ $(curl -sS --max-time 5 "$maestro/") == *"\"peers_registrados\":$1"* ]]; }

maestro_y_nodos() {
    titulo "Maestro"
    comprobar "los tres nodos se registraron" esperar registrados 3
    hacer curl -sS "$maestro/locate?file=glosario.txt"
    comprobar "GET /locate: el nodo 2" dijo ":${puertos[2]}"
    comprobar "y el nodo 3" dijo ":${puertos[3]}"
    hacer curl -sS "$maestro/directory"
    comprobar "GET /directory" dijo '"turnos.png"'
    hacer "$nodo" localizar haiku.txt --maestro "$maestro"
    comprobar "nodo localizar pregunta al maestro" dijo "127.0.0.1:${puertos[3]}"
    hacer "$nodo" localizar haiku.txt --por "http://127.0.0.1:${puertos[1]}"
    comprobar "y a un nodo" dijo "127.0.0.1:${puertos[3]}"
    hacer "$nodo" descargar turnos.png --carpeta "$lugar/bajados" --peer 127.0.0.1:1 \
        --maestro "$maestro"
    comprobar "sin conocer a nadie, lo baja de donde dice el maestro" \
        cmp -s "$lugar/bajados/turnos.png" "$lugar/nodo3/turnos.png"
    printf 'recién llegado\n' >"$lugar/nodo2/nuevo.txt"
    comprobar "un archivo nuevo aparece solo en el directorio" esperar en_el_directorio nuevo.txt

    titulo "Maestro: uno se despide, otro se cae y el maestro se reinicia"
    printf '  $ kill -TERM (nodo 3)\n'
    parar TERM "${nodos[3]}"
    comprobar "el que se despide desaparece al momento" registrados 2
    printf '  $ kill -9 (nodo 2)\n'
    parar KILL "${nodos[2]}"
    comprobar "el que se cae desaparece al no renovar" esperar registrados 1
    printf '  $ kill -9 (maestro)\n'
    parar KILL "$pid_maestro"
    arrancar maestro maestro --puerto "$puerto_maestro"
    comprobar "tras reiniciarlo, el nodo 1 vuelve solo" esperar registrados 1
}
en_el_directorio() { [[ $(curl -sS --max-time 5 "$maestro/directory") == *"\"$1\""* ]]; }

verificar() {
    titulo "Qué está en marcha"
    NODO=$nodo hacer scripts/verificar_sistema.sh "nodo:${puertos[1]}" "maestro:$puerto_maestro" \
        "balanceador:$puerto_balanceador" "backend:$puerto_backend" nodo:1
    comprobar "reconoce al nodo" dijo_patron "${puertos[1]} .*nodo1"
    comprobar "al maestro" dijo_patron "$puerto_maestro .*activo"
    comprobar "al balanceador" dijo_patron "$puerto_balanceador .*Response from"
    comprobar "al backend" dijo_patron "$puerto_backend .*Response from Server 1"
    comprobar "y lo que no está" dijo_patron '1 .*nadie'
}

preparar
arrancar_todos
palabras_de_la_guia
buscar_y_descargar
transferencias
envios_y_mensajes
rest
chat
balanceador
verificar
maestro_y_nodos
