#!/bin/bash
# The image and the compose file with a real Docker: by hand, as root, for some minutes.
#
#     tests/deploy/docker.sh [WHAT...]      image turnd host demo fleet full package; all of them unless named
#
# Starts a Docker daemon of its own (or takes the one of DOCKER_HOST), makes the base image by debootstrap where there is
# none, and those of Redis and Prometheus from Debian's packages under the names that compose.yaml has. Clients are on
# "another machine": a network namespace that reaches this one over a wire. Nothing stays behind but $WORK
# (/tmp/pinhole-docker), whose images make the next run quicker; stop a run with Ctrl-C and it cleans up as well.
#
# Needs Debian's docker.io, docker-compose, debootstrap, iproute2, iptables, conntrack and procps.
. "$(dirname "$0")/../interop/lib.sh"

: "${WORK:=/tmp/pinhole-docker}"
T=$WORK
PROJECT=pinhole-test
OUTSIDE=198.51.100.2 HOST=198.51.100.1
COMPOSE_FILE=$PINHOLE_ROOT/deploy/compose.yaml
export COMPOSE_FILE COMPOSE_PROJECT_NAME=$PROJECT EXTERNAL_IP=$HOST USER_QUOTA=100 # of turnload's only user
export DOCKER_BUILDKIT=0 COMPOSE_DOCKER_CLI_BUILD=0 # Debian's Docker has no buildx
PROFILES=(--profile turnd --profile host --profile full --profile fleet --profile demo)

[ "$(id -u)" = 0 ] || skip "this needs root"
for command in dockerd docker-compose debootstrap iptables-save conntrack ip; do
    command -v $command >/dev/null || skip "$command is not installed"
done
DOCKER=$(command -v /usr/bin/docker || command -v docker) || skip "docker is not installed"
[ -n "${DOCKER_HOST:-}" ] || ! pgrep -x dockerd >/dev/null ||
    skip "a Docker daemon is running: name it in DOCKER_HOST, or stop it"
docker() { "$DOCKER" "$@"; }
compose() { docker-compose "${PROFILES[@]}" "$@"; }

# ---- a Docker ----

cleanup() {
    local status=$?
    set +e
    if [ $status -ne 0 ]; then
        compose logs --no-color --tail=20 2>/dev/null | cut -c1-250
        echo "FAILED at: $STEP"
    fi
    compose down --volumes --timeout 3 >/dev/null 2>&1
    docker ps -aq --filter "name=$PROJECT" | while read -r id; do docker rm -f "$id" >/dev/null; done
    ip link del to-outside 2>/dev/null
    if [ -n "${PID[dockerd]:-}" ]; then
        kill "${PID[dockerd]}" && wait "${PID[dockerd]}"
        umount "$T/exec/netns/default" 2>/dev/null
        restore_firewall
        for bridge in $(ip -o link show type bridge | sed -n 's/^[0-9]*: \(docker0\|br-[0-9a-f]*\):.*/\1/p'); do
            grep -qx "$bridge" "$T/bridges" || ip link del "$bridge"
        done
    fi
    exit $status
}

# A table that was not in use is not in what was saved, and has to be emptied.
restore_firewall() {
    local program
    for program in iptables ip6tables; do
        {
            cat "$T/$program"
            grep -q '^\*filter' "$T/$program" || printf '*filter\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\nCOMMIT\n'
            grep -q '^\*nat' "$T/$program" || printf '*nat\n:PREROUTING ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT\nCOMMIT\n'
        } | $program-restore
    done
    cat "$T/ip_forward" >/proc/sys/net/ipv4/ip_forward
}

start_docker() {
    [ -z "${DOCKER_HOST:-}" ] || return 0
    iptables-save >"$T/iptables"
    ip6tables-save >"$T/ip6tables"
    cat /proc/sys/net/ipv4/ip_forward >"$T/ip_forward"
    ip -o link show type bridge | sed -n 's/^[0-9]*: \([^:@]*\).*/\1/p' >"$T/bridges"
    export DOCKER_HOST=unix://$T/docker.sock
    start dockerd dockerd --data-root "$T/data" --exec-root "$T/exec" --pidfile "$T/dockerd.pid" -H "$DOCKER_HOST"
    wait_for 30 "dockerd" docker info
}

# has_image NAME
has_image() { docker image inspect "$1" >/dev/null 2>&1; }

# make_image NAME PACKAGE... : Debian's packages, with the Dockerfile's last lines from stdin.
make_image() {
    local name=$1 folder=$T/image
    shift
    ! has_image "$name" || return 0
    mkdir -p "$folder"
    {
        echo "FROM debian:bookworm-slim"
        echo "RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $*"
        cat
    } >"$folder/Dockerfile"
    docker build -t "$name" "$folder" >"$T/$1.build.log" 2>&1 || fail "$(tail -n 5 "$T/$1.build.log")"
}

make_base() {
    ! has_image debian:bookworm-slim || return 0
    rm -rf "$T/root"
    debootstrap --variant=minbase bookworm "$T/root" >"$T/debootstrap.log" || fail "$(tail -n 3 "$T/debootstrap.log")"
    printf 'deb %s\n' "$(sed -n 's/^deb //p' "$T/root/etc/apt/sources.list" | head -1)" >"$T/root/etc/apt/sources.list"
    tar -C "$T/root" -c . | docker import - debian:bookworm-slim >/dev/null
    rm -rf "$T/root"
}

# ---- containers ----

# status SERVICE: of its container: "running healthy".
status() {
    docker inspect -f '{{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{end}}' "$(id_of "$1")"
}
id_of() { compose ps -q "$1"; }
is_healthy() { [ "$(status "$1")" = "running healthy" ]; }
logs_say() { says "$2" compose logs --no-color "$1"; }

# says PATTERN COMMAND...: does it print that? (What it prints is read to its end, or it would die of the pipe.)
says() {
    local pattern=$1
    shift
    "$@" >"$T/said" 2>&1 || true
    grep -q -- "$pattern" "$T/said"
}

# up PROFILE SERVICE...: brings a profile up and waits until the services are healthy (compose v2: --wait).
up() {
    local profile=$1 service
    shift
    docker-compose --profile "$profile" up -d >"$T/up.log" 2>&1 || fail "$(tail -n 5 "$T/up.log")"
    for service; do wait_for 60 "$service to be healthy" is_healthy "$service"; done
}

down() { compose down --volumes --timeout 5 >"$T/down.log" 2>&1 || fail "$(tail -n 5 "$T/down.log")"; }

# run ARGUMENT...: a container of the image that ends by itself.
run() { docker run --rm --name "$PROJECT-once" --network none "$@"; }

# serve NAME ARGUMENT...: one that stays, whose API has to answer.
serve() {
    local name=$PROJECT-$1
    shift
    docker run -d --name "$name" "$@" >/dev/null
    wait_for 10 "$name to serve" docker exec "$name" turnctl status
}

# ---- another machine ----

# A container without a network gets one end of a wire, this machine the other.
make_outside() {
    docker run -d --name "$PROJECT-outside" --network none pinhole-demo sleep 3600 >/dev/null
    local pid
    pid=$(docker inspect -f '{{.State.Pid}}' "$PROJECT-outside")
    ip link add to-outside type veth peer name eth0 netns "$pid"
    ip addr add $HOST/24 dev to-outside
    ip link set to-outside up
    nsenter -t "$pid" -n ip addr add $OUTSIDE/24 dev eth0
    nsenter -t "$pid" -n ip link set eth0 up
    nsenter -t "$pid" -n ip route add default via $HOST
}

outside() { docker exec "$PROJECT-outside" "$@"; }

# secret_of SERVICE: puts the secret where the other machine's clients read it.
take_secret() {
    docker exec "$(id_of "$1")" cat /var/lib/turnd/static-auth-secret >"$T/secret"
    docker cp "$T/secret" "$PROJECT-outside:/secret" >/dev/null
}

# echo_through PORT [OPTION...]: relays packets to a peer on the other machine and back. Sets $received.
echo_through() {
    local port=$1
    shift
    outside turnload --secret @/secret -t 3 -q "$@" "turn:$HOST:$port" >"$T/load.log" 2>&1 || fail "$(tail -n 12 "$T/load.log")"
    received=$(sed -n 's/^received  *//p' "$T/load.log")
}

# ---- the checks ----

check_image() {
    step "image: nobody's root, and small"
    [ "$(run --entrypoint id pinhole -u)" = 3478 ] || fail "the user is $(run --entrypoint id pinhole)"
    local base full
    base=$(docker image inspect -f '{{.Size}}' debian:bookworm-slim) full=$(docker image inspect -f '{{.Size}}' pinhole)
    [ $((full - base)) -lt 20000000 ] || fail "$((full - base)) bytes more than its base"
    ok "$(((full - base) / 1000000)) MB on top of its base"

    step "image: coturn's conventions"
    says '^turnd (Pinhole)' run pinhole turnserver --version || fail "turnserver is not turnd"
    says '^stund (Pinhole)' run pinhole stund --version || fail "stund is not there"
    says 'external-ip=198.51.100.7 ' run -e REAL_EXTERNAL_IP=198.51.100.7 pinhole -n \
        '--external-ip=$(detect-external-ip)' --check-config || fail "REAL_EXTERNAL_IP is not taken"
    says 'realm=$(id)`id`${HOME} ' run pinhole -n '--realm=$(id)`id`${HOME}' --check-config ||
        fail "an argument was changed"
    printf 'realm=mounted.example.org\n' >"$T/turnserver.conf"
    says 'turnserver.conf:1: realm=mounted.example.org' \
        run -v "$T/turnserver.conf:/etc/coturn/turnserver.conf:ro" pinhole --check-config || fail "the mounted file is not read"
    ok

    step "image: secrets come from files, and no process list has them"
    printf 'topsecret-0123456789\n' >"$T/topsecret"
    chmod 644 "$T/topsecret"
    serve secret --network none -v "$T/topsecret:/run/secrets/s:ro" -e TURND_STATIC_AUTH_SECRET_FILE=/run/secrets/s \
        -e ETURNAL_SECRET=topsecret-9876543210 pinhole
    says ' turnd$' docker top "$PROJECT-secret" -eo pid,args || fail "no turnd: $(cat "$T/said")"
    ! grep -q topsecret "$T/said" || fail "ps shows it"
    ! says topsecret docker logs "$PROJECT-secret" || fail "the log shows it"
    says '^ok *allocate' docker exec "$PROJECT-secret" turnload --check -s topsecret-0123456789 127.0.0.1 ||
        fail "the secret is not in force: $(cat "$T/said")"
    docker kill -s HUP "$PROJECT-secret" >/dev/null
    wait_for 5 "SIGHUP to reach turnd" says reload docker logs "$PROJECT-secret"
    docker stop -t 10 "$PROJECT-secret" >/dev/null
    [ "$(docker inspect -f '{{.State.ExitCode}}' "$PROJECT-secret")" = 0 ] || fail "SIGTERM is not a clean end"
    docker rm "$PROJECT-secret" >/dev/null
    ok

    step "image: port 443 without root"
    serve low --sysctl net.ipv4.ip_unprivileged_port_start=1024 -e TURND_LISTENING_PORT=443 pinhole
    docker rm -f "$PROJECT-low" >/dev/null
    ok

    step "image: starts with nothing at all"
    serve bare --network none --cap-drop ALL --security-opt no-new-privileges --read-only \
        --tmpfs /run/turnd:uid=3478,mode=0750 pinhole
    docker rm -f "$PROJECT-bare" >/dev/null
    serve user --network none --user 12345:0 --cap-drop ALL pinhole
    docker rm -f "$PROJECT-user" >/dev/null
    ok "no capability, read-only, and as user 12345"

    step "image: a mistake ends it with status 2 and a line"
    local code=0
    run -e TURND_LISTENING_PORT=turn pinhole >"$T/out" 2>&1 || code=$?
    [ $code = 2 ] || fail "status $code"
    grep -q 'TURND_LISTENING_PORT: "turn" is not a number' "$T/out" || fail "$(cat "$T/out")"
    ok
}

check_turnd() {
    step "turnd: up and healthy"
    up turnd turnd
    ok
    take_secret turnd

    step "turnd: relayed echo through the published ports"
    echo_through 3478
    ok "$received"
    says 'allocation made' compose logs --no-color turnd || fail "no allocation"
    grep 'allocation made' "$T/said" >"$T/made"
    ! grep -vE 'relay=[0-9.]+:491(6[0-9]|7[0-5])( |$)' "$T/made" || fail "a relay outside of the published ports"
    echo_through "3478?transport=tcp"

    step "turnd: more clients than published ports"
    # Each has a peer of its own; to one and the same only as many can talk as there are ports.
    outside sh -c 'for i in $(seq 40); do turnload -s @/secret -r 10 -t 3 -q "$0" & done; wait' \
        "turn:$HOST:3478" >"$T/load.log" 2>&1 || fail "$(cat "$T/load.log")"
    [ "$(grep -c '^lost  *0 ' "$T/load.log")" = 40 ] || fail "$(cat "$T/load.log")"
    ok "40 of them, nothing lost"

    step "turnd: clients that relay to each other"
    echo_through 3478 --pairs -n 16 -r 10
    ok "$received"

    step "turnd: all functional checks"
    outside turnload --check -s @/secret "turn:$HOST:3478" >"$T/check.log" 2>&1 || fail "$(grep FAILED "$T/check.log")"
    ok "$(tail -n 1 "$T/check.log")"

    step "turnd: the secret stays over a new container"
    docker-compose --profile turnd up -d --force-recreate >"$T/up.log" 2>&1 || fail "$(cat "$T/up.log")"
    wait_for 60 "turnd to be healthy" is_healthy turnd
    echo_through 3478
    ok
    down
}

check_host() {
    step "host: in the network of the machine"
    export TURN_PORT=13478 EXTERNAL_IP=
    up host turnd-host
    take_secret turnd-host
    echo_through 13478 -n 8
    export EXTERNAL_IP=$HOST
    unset TURN_PORT
    ok "$received"
    down
}

check_demo() {
    step "demo: two peers behind NATs talk to each other"
    up demo turnd-demo alice bob
    logs_say alice 'no direct way to bob' || fail "alice's NAT is none"
    logs_say bob 'no direct way to alice' || fail "bob's NAT is none"
    logs_say alice 'heard message 3 from bob through the relay' || fail "alice heard nothing"
    logs_say bob 'heard message 3 from alice through the relay' || fail "bob heard nothing"
    docker exec "$(id_of turnd-demo)" turnctl sessions --json >"$T/sessions"
    [ "$(grep -o '"session":' "$T/sessions" | wc -l)" = 2 ] || fail "$(cat "$T/sessions")"
    ok

    step "demo: a peer that comes back is heard again"
    docker restart -t 1 "$(id_of bob)" >/dev/null
    wait_for 30 "bob to be healthy" is_healthy bob
    sleep 6
    is_healthy alice || fail "alice is not well"
    ok
    down
}

check_fleet() {
    local n
    step "fleet: three servers and one Redis are healthy"
    make_image redis:7.2-bookworm redis-server <<'DOCKERFILE'
CMD ["redis-server"]
DOCKERFILE
    up fleet redis turn-1 turn-2 turn-3
    ok
    take_secret turn-1

    step "fleet: relayed echo through each of them"
    for n in 1 2 3; do echo_through 348$n -n 4 -r 10; done
    ok

    step "fleet: calls survive the death of a server"
    outside turnload --secret @/secret -n 8 -r 20 -t 20 --max-loss 70 -q "turn:$HOST:3482" >"$T/death.log" 2>&1 &
    PID[call]=$!
    sleep 4
    docker kill -s KILL "$(id_of turn-2)" >/dev/null
    docker start "$(id_of turn-2)" >/dev/null
    # While there was no container the kernel has learnt to take these flows for its own. Docker 23 and later forget them.
    conntrack -D -p udp --dport 3482 >/dev/null 2>&1
    wait "${PID[call]}" || fail "$(tail -n 12 "$T/death.log")"
    docker exec "$(id_of turn-2)" turnctl counters >"$T/counters"
    grep -qE '^ *8  turn.restored$' "$T/counters" || fail "$(cat "$T/counters")"
    ok "$(sed -n 's/^lost  */lost /p' "$T/death.log"), of 20 s"
    down
}

check_full() {
    step "full: its file is one"
    docker-compose --profile full config >/dev/null || fail "config"
    ok

    step "full: turnd, Redis and Prometheus are healthy"
    make_image redis:7.2-bookworm redis-server <<'DOCKERFILE'
CMD ["redis-server"]
DOCKERFILE
    make_image prom/prometheus:v2.53.4 prometheus wget <<'DOCKERFILE'
ENTRYPOINT ["prometheus"]
DOCKERFILE
    # Debian has no Grafana: its board is checked by test_board.sh.
    docker-compose --profile full up -d turnd-full redis prometheus >"$T/up.log" 2>&1 || fail "$(tail -n 5 "$T/up.log")"
    for service in redis turnd-full prometheus; do wait_for 60 "$service to be healthy" is_healthy "$service"; done
    take_secret turnd-full
    echo_through 3478
    ok

    step "full: Prometheus has turnd's numbers and the rules"
    prometheus=$(id_of prometheus)
    ask() { docker exec "$prometheus" wget -q -O - "http://127.0.0.1:9090/api/v1/$1"; }
    wait_for 40 "a scrape" says serving ask "query?query=turnd_state"
    says TurndNobodySignsIn ask rules || fail "no rules"
    says '"health":"up"' ask targets || fail "$(cat "$T/said")"
    ok
    down
}

# in_systemd COMMAND...
in_systemd() { docker exec "$PROJECT-systemd" "$@"; }
unit_is() { [ "$(in_systemd systemctl is-active turnd)" = "$1" ]; }
unit_pid() { in_systemd systemctl show -P MainPID turnd; }

check_package() {
    local deb pid files
    step "package: builds, and lintian finds no error"
    cmake -S "$PINHOLE_ROOT" -B "$T/package" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX=/usr \
        -DPINHOLE_TESTS=OFF >"$T/package.log" 2>&1 || fail "$(tail -n 5 "$T/package.log")"
    rm -f "$T"/package/*.deb
    (cd "$T/package" && ninja && cpack -G DEB) >"$T/package.log" 2>&1 || fail "$(tail -n 5 "$T/package.log")"
    deb=$(echo "$T"/package/pinhole_*.deb)
    if command -v lintian >/dev/null; then
        lintian --allow-root --fail-on error "$T"/package/*.deb >"$T/lintian.log" 2>&1 || fail "$(cat "$T/lintian.log")"
    fi
    ok "$(cd "$T/package" && echo *.deb)"

    step "package: installs on a clean Debian, and the service runs"
    make_image pinhole-systemd systemd systemd-sysv dbus procps <<'DOCKERFILE'
CMD ["/sbin/init"]
DOCKERFILE
    docker run -d --name "$PROJECT-systemd" --cgroupns host --cap-add SYS_ADMIN --security-opt seccomp=unconfined \
        --security-opt apparmor=unconfined --tmpfs /run --tmpfs /run/lock -v /sys/fs/cgroup:/sys/fs/cgroup:rw \
        -e container=docker pinhole-systemd >/dev/null
    wait_for 30 "systemd" in_systemd systemctl is-system-running
    docker cp "$deb" "$PROJECT-systemd:/pinhole.deb" >/dev/null
    files=$(ulimit -Hn)
    if [ "$files" != unlimited ] && [ "$files" -lt 1048576 ]; then # a machine that gives no more
        in_systemd mkdir -p /etc/systemd/system/turnd.service.d
        printf '[Service]\nLimitNOFILE=%d\n' "$files" >"$T/files.conf"
        docker cp "$T/files.conf" "$PROJECT-systemd:/etc/systemd/system/turnd.service.d/files.conf" >/dev/null
    fi
    in_systemd sh -c 'apt-get update && apt-get install -y --no-install-recommends /pinhole.deb' >"$T/install.log" 2>&1 ||
        fail "$(tail -n 5 "$T/install.log")"
    wait_for 10 "turnd.service to be active" unit_is active
    [ "$(in_systemd stat -c '%U:%G %a' /etc/turnd/turnserver.conf)" = "root:turnd 640" ] || fail "others can read the file"
    in_systemd systemd-analyze verify --man=no turnd.service stund.service >"$T/out" 2>&1 || fail "$(cat "$T/out")"
    in_systemd systemd-analyze security --threshold=29 --no-pager turnd.service >"$T/out" || fail "$(tail -n 1 "$T/out")"
    ok "$(sed -n 's/.*\(exposure level.*\) OK.*/\1/p' "$T/out")"

    step "package: port 443, a reload that works and one that must not"
    printf 'listening-port=443\nuser=a:b\nallow-loopback-peers\nno-rfc5780\nmobility\n' >"$T/more.conf"
    docker cp "$T/more.conf" "$PROJECT-systemd:/more.conf" >/dev/null
    in_systemd sh -c 'cat /more.conf >>/etc/turnd/turnserver.conf; systemctl restart turnd'
    in_systemd turnload --check -u a -w b 127.0.0.1:443 >"$T/check.log" 2>&1 || fail "$(grep FAILED "$T/check.log")"
    in_systemd systemctl reload turnd || fail "reload"
    in_systemd sh -c 'echo user-quota=oops >>/etc/turnd/turnserver.conf'
    ! in_systemd systemctl reload turnd 2>/dev/null || fail "a mistake was taken"
    in_systemd sed -i /oops/d /etc/turnd/turnserver.conf
    unit_is active || fail "it has died of a reload"
    ok "$(tail -n 1 "$T/check.log")"

    step "package: an upgrade loses no packet"
    pid=$(unit_pid)
    in_systemd turnload -u a -w b -n 10 -r 50 -t 8 -q --max-loss 0 127.0.0.1:443 >"$T/upgrade.log" 2>&1 &
    PID[call]=$!
    sleep 2
    in_systemd dpkg -i /pinhole.deb >"$T/install.log" 2>&1 || fail "$(cat "$T/install.log")"
    wait "${PID[call]}" || fail "$(cat "$T/upgrade.log" "$T/install.log")"
    unit_is active || fail "it has died of the upgrade"
    [ "$(unit_pid)" = "$pid" ] || fail "it is another process"
    in_systemd turnctl status >"$T/out" || fail "turnctl status"
    ok "$(sed -n 's/^lost  */lost /p' "$T/upgrade.log") of $(sed -n 's/^sent  *\([0-9]*\).*/\1/p' "$T/upgrade.log")"

    step "package: removal and purge"
    in_systemd apt-get remove -y pinhole >"$T/install.log" 2>&1 || fail "$(tail -n 5 "$T/install.log")"
    unit_is inactive || fail "it still runs"
    in_systemd test -e /etc/turnd/turnserver.conf || fail "the configuration is gone"
    in_systemd dpkg -P pinhole >"$T/install.log" 2>&1 || fail "$(tail -n 5 "$T/install.log")"
    ! in_systemd test -e /etc/turnd || fail "the configuration is left"
    in_systemd sh -c '! ls /etc/systemd/system/*/turnd.service 2>/dev/null' || fail "a link to the unit is left"
    docker rm -f "$PROJECT-systemd" >/dev/null
    ok
}

mkdir -p "$T"
trap cleanup EXIT
trap 'exit 130' INT TERM
step "a Docker, and the images"
start_docker
make_base
compose down --volumes --timeout 3 >/dev/null 2>&1 || true
compose build >"$T/build.log" 2>&1 || fail "$(tail -n 20 "$T/build.log")"
make_outside
ok "$(docker version -f '{{.Server.Version}}'), docker-compose $(docker-compose version --short)"
[ $# -gt 0 ] || set -- image turnd host demo fleet full package
for what; do
    declare -F "check_$what" >/dev/null || fail "there is no $what"
    "check_$what"
done
