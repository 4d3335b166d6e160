# shellcheck shell=bash
#
# Shared by the tests here and in ../natlab: a private world to run in, processes with logs, and
# conditions to wait for.
#
# `isolate` puts the script into its own network, mount and PID namespaces with a private /run. All
# that a test leaves behind (namespaces, files in $T, processes) dies with the script's first
# process, whichever way that ends, and any number of tests may run side by side, since no name of
# theirs is visible to the others. Without root it takes a user namespace as well.
#
# Environment: PINHOLE_BUILD (build folder), PINHOLE_ROOT (source folder); TURND and STUND (the
# servers under test) may name others that take the same options.
set -euo pipefail

: "${PINHOLE_ROOT:=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}"
: "${PINHOLE_BUILD:=$PINHOLE_ROOT/build}"
: "${TURND:=$PINHOLE_BUILD/bin/turnd}"
: "${STUND:=$PINHOLE_BUILD/bin/stund}"
# What turnd serves; coturn's server, when it stands in for ours, has rfc3489 too.
: "${TURND_HAS:=udp tcp tls dtls mobility}"
export PINHOLE_ROOT PINHOLE_BUILD TURND STUND # not TURND_HAS, which turnd would take for a key
export PYTHONDONTWRITEBYTECODE=1
INTEROP=$PINHOLE_ROOT/tests/interop
T=/run/pinhole-test
PATH=$PATH:/usr/sbin:/sbin # where Debian keeps ip and iptables, off other users' paths
STEP=set-up
declare -A PID=()
LOGS=()

# isolate SECONDS "$@": re-execute the script in namespaces of its own, stopping it after SECONDS.
isolate() {
    local limit=$1 wrap=(unshare --net --mount --pid --fork --kill-child --mount-proc)
    shift
    if [ "${PINHOLE_ISOLATED:-}" != 1 ]; then
        [ "$(id -u)" = 0 ] || wrap+=(--map-root-user)
        "${wrap[@]}" mount -t tmpfs none /run ||
            skip "no permission to make network namespaces here"
        PINHOLE_ISOLATED=1 exec timeout --kill-after=5 "$limit" \
            setpriv --pdeathsig KILL "${wrap[@]}" bash "$0" "$@"
    fi
    unset PINHOLE_ISOLATED
    mount -t tmpfs none /run
    mkdir -p "$T" /run/netns
    ip link set lo up
    ip link add probe type veth && ip link del probe || skip "this kernel has no veth devices"
    trap on_exit EXIT
    trap 'fail "stopped after at most '"$limit"' s"' TERM INT
}

on_exit() {
    local status=$? log
    [ $status -ne 0 ] && [ $status -ne 77 ] || return 0
    for log in "${LOGS[@]}"; do
        echo "--- last lines of $log"
        tail -n "${LOG_LINES:-30}" "$T/$log.log" | cut -c1-300
    done
    echo "FAILED at: $STEP"
}

fail() { echo "FAIL: $STEP: $*"; exit 1; }
skip() { echo "SKIP: $*"; exit 77; }

# has FEATURE: is it among TURND_HAS?
has() { [[ " $TURND_HAS " == *" $1 "* ]]; }

# need COMMAND...: what ./dev test should have installed is missing: that is a failure, not a skip.
need() {
    local c
    for c; do command -v "$c" >/dev/null || fail "$c is not installed"; done
}

# step NAME: what follows is reported under this name. ok [TEXT]: it passed.
step() { STEP=$1; STEP_AT=${EPOCHREALTIME/[.,]/}; }
ok() {
    local ms=$(((${EPOCHREALTIME/[.,]/} - STEP_AT) / 1000))
    printf 'ok %-44s %6d ms  %s\n' "$STEP" $ms "$*"
}

# in_ns NAMESPACE COMMAND...: the process that runs the command is the command's own (exec), so $!
# is its id.
in_ns() { local ns=$1; shift; ip netns exec "$ns" "$@"; }

# start NAME COMMAND...: run in the background; output goes to $T/NAME.log, the process id to
# PID[NAME].
start() {
    local name=$1
    shift
    [ "$1" != in_ns ] || { local ns=$2; shift 2; set -- ip netns exec "$ns" "$@"; }
    : >"$T/$name.log" # here, not in the background: nobody must read the last run's lines
    "$@" >"$T/$name.log" 2>&1 &
    PID[$name]=$!
    [[ " ${LOGS[*]} " == *" $name "* ]] || LOGS+=("$name")
}

# stop NAME: ask a started process to end and wait until it has.
stop() {
    kill "${PID[$1]}" 2>/dev/null || true
    wait "${PID[$1]}" 2>/dev/null || true
    unset "PID[$1]"
}

# stop_cleanly NAME: it must still be there, end on SIGTERM and report success (under sanitizers: no
# leak either). coturn's own server, when it stands in for ours, just dies of the signal.
stop_cleanly() {
    local status=0
    kill -TERM "${PID[$1]}" || fail "$1 had died"
    wait "${PID[$1]}" || status=$?
    unset "PID[$1]"
    [ $status = 0 ] || [[ $status = 143 && $TURND = */turnserver ]] ||
        fail "$1 ended with status $status"
}

# wait_for SECONDS WHAT COMMAND...: poll until the command succeeds.
wait_for() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -le $end ] || fail "waited in vain for $what"
        sleep 0.05
    done
}

# udp_bound NAMESPACE ADDRESS PORT: does a UDP socket listen there?
udp_bound() {
    local want=$2:$3
    [[ $2 != *:* ]] || want="[$2]:$3"
    in_ns "$1" ss -Hnul | awk -v want="$want" '$4 == want { found = 1 } END { exit !found }'
}

# serve NAME NAMESPACE: start the server under test in a namespace with $T/NAME.conf, a
# turnserver.conf written from stdin on top of what every test wants, and wait for its first
# listening-ip. The port is 3478 unless the file says so; TLS and DTLS are off unless the file names
# a certificate. QUIET_SERVER=1 keeps the server's log short.
serve() {
    local name=$1 ns=$2 conf=$T/$1.conf ip port
    [ -x "$TURND" ] || fail "no server to test at $TURND"
    cat >"$conf" - "$INTEROP/common.conf"
    echo "pidfile=$T/$name.pid" >>"$conf"
    [ -n "${QUIET_SERVER:-}" ] || echo verbose >>"$conf"
    grep -q '^cert=' "$conf" || printf 'no-tls\nno-dtls\n' >>"$conf"
    ip=$(sed -n 's/^listening-ip=//p' "$conf" | head -1)
    port=$(sed -n 's/^listening-port=//p' "$conf")
    start "$name" in_ns "$ns" "$TURND" -c "$conf"
    wait_for 10 "$name to listen on $ip" udp_bound "$ns" "$ip" "${port:-3478}"
}

# serve_stun NAME NAMESPACE PORT ADDRESS1 ADDRESS2...: start stund on all addresses, alternate port
# PORT + 1.
serve_stun() {
    local name=$1 ns=$2 port=$3 ip listen=()
    shift 3
    [ -x "$STUND" ] || fail "no server to test at $STUND"
    for ip; do listen+=(-L "$ip"); done
    start "$name" in_ns "$ns" "$STUND" "${listen[@]}" -p "$port" --alt-port $((port + 1))
    wait_for 10 "$name to listen on $1:$port" udp_bound "$ns" "$1" "$port"
}

# alive NAME: is a started process still running?
alive() { kill -0 "${PID[$1]}" 2>/dev/null; }

# address NAMESPACE DEVICE CIDR...: give the device these addresses and bring it up.
address() {
    local ns=$1 dev=$2 ip nodad
    shift 2
    for ip; do
        case $ip in *:*) nodad=nodad ;; *) nodad= ;; esac
        in_ns "$ns" ip addr add "$ip" dev "$dev" $nodad
    done
    in_ns "$ns" ip link set "$dev" up
}

# veth NS1 DEVICE1 NS2 DEVICE2
veth() {
    ip link add "$2" netns "$1" type veth peer name "$4" netns "$3"
}

# new_ns NAME...
new_ns() {
    local ns
    for ns; do
        ip netns add "$ns"
        in_ns "$ns" ip link set lo up
    done
}

# wire NS1 ADDRESSES NS2 ADDRESSES: two new namespaces joined by a veth pair; addresses are lists of
# CIDRs. shellcheck disable=SC2086
wire() {
    new_ns "$1" "$3"
    veth "$1" "to-$3" "$3" "to-$1"
    address "$1" "to-$3" $2
    address "$3" "to-$1" $4
}
