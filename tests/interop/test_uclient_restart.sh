#!/bin/bash
# coturn's own load tool goes on through a kill -9 of our server and its restart: what it loses is what it sent in the gap, and
# not more. Redis keeps the state. Then the same through a planned restart (turnctl upgrade), where nothing may be lost.
#
# RESTART_CLIENTS and RESTART_MESSAGES make it larger.
. "$(dirname "$0")/lib.sh"
isolate 110 "$@"
need turnutils_uclient turnutils_peer redis-server redis-cli
"$TURND" -n -L 127.0.0.1 --redis-userdb=ip=127.0.0.1 --check-config | grep -q 'built without Redis' &&
    skip "turnd was built without Redis"

: "${RESTART_CLIENTS:=5}" "${RESTART_MESSAGES:=250}"
readonly S=198.51.100.1 PEER=203.0.113.9 EVERY_MS=20 REDIS=$T/redis.sock
TURNCTL=$PINHOLE_BUILD/bin/turnctl

up() { serve turnd srv <"$T/lines"; wait_for 10 "turnd to be ready" grep -q 'is ready' "$T/turnd.log"; }

# load: the tool, in the background.
load() {
    start load in_ns cli turnutils_uclient -u alice -w secret -e "$PEER" -n "$RESTART_MESSAGES" \
        -m "$RESTART_CLIENTS" -c -z $EVERY_MS -l 160 "$@" "$S"
}

# count [EXPRESSION of s]: the sessions for which it holds. The tool makes two for each client, and relays through one.
count() {
    in_ns srv "$TURNCTL" -s "$T/api.sock" --json sessions --limit 0 2>/dev/null |
        python3 -c "import json, sys; print(sum(bool(${1:-s}) for s in json.load(sys.stdin)['sessions']))"
}
relaying() { [ "$(count 's["to_peer_packets"] > 20')" = "$1" ]; }

# lost LOG: how many of what the tool sent did not come back.
lost() {
    local sent got
    read -r sent got < <(sed -n 's/.*tot_send_msgs=\([0-9]*\), tot_recv_msgs=\([0-9]*\)$/\1 \2/p' "$1" | tail -1)
    [ -n "${got:-}" ] || fail "the tool did not come to its end: $(tail -n 2 "$1" | tr '\n' ' ')"
    [ "$sent" = $((RESTART_CLIENTS * RESTART_MESSAGES)) ] || fail "the tool gave up: it sent $sent"
    echo $((sent - got))
}

step "turnd, Redis and the peer start"
wire srv "$S/24" cli "198.51.100.2/24 $PEER/32"
in_ns srv ip route add "$PEER" dev to-cli
start redis redis-server --port 0 --unixsocket "$REDIS" --save '' --appendonly no --dir "$T"
wait_for 10 "Redis" redis-cli -s "$REDIS" ping
cat >"$T/lines" <<CONF
listening-ip=$S
relay-ip=$S
lt-cred-mech
user=alice:secret
redis-statedb=unix:$REDIS
fleet-key=a key for the tests of restarts
node-id=one
api-socket=$T/api.sock
log-file=stdout
CONF
up
start peer in_ns cli turnutils_peer -L "$PEER"
wait_for 10 "the peer" udp_bound cli "$PEER" 3480
ok

for way in "" send; do
    step "kill -9 and restart${way:+ with Send indications}"
    load ${way:+-s}
    wait_for 20 "all clients to relay" relaying "$RESTART_CLIENTS"
    sessions=$(count)
    at=${EPOCHREALTIME/[.,]/}
    kill -KILL "${PID[turnd]}"
    wait "${PID[turnd]}" 2>/dev/null || true
    up
    gap=$(((${EPOCHREALTIME/[.,]/} - at) / 1000))
    restored=$(sed -n 's/.*restored \([0-9]*\) allocations.*/\1/p' "$T/turnd.log")
    [ "${restored:-0}" = "$sessions" ] || fail "restored ${restored:-nothing} of $sessions"
    wait "${PID[load]}" || true
    n=$(lost "$T/load.log")
    # What was on its way at either end counts too, and the clock of this script is coarse.
    most=$(((gap + 300) * RESTART_CLIENTS / EVERY_MS))
    [ "$n" -gt 0 ] || fail "nothing was lost: was it killed at all?"
    [ "$n" -le "$most" ] || fail "lost $n in a gap of $gap ms, in which at most $most were sent"
    ok "$n of $((RESTART_CLIENTS * RESTART_MESSAGES)) lost in a gap of $gap ms"
done

step "a planned upgrade loses nothing"
load
wait_for 20 "all clients to relay" relaying "$RESTART_CLIENTS"
in_ns srv "$TURNCTL" -s "$T/api.sock" upgrade >"$T/upgrade.txt" || fail "$(cat "$T/upgrade.txt")"
wait "${PID[load]}" || true
n=$(lost "$T/load.log")
[ "$n" = 0 ] || fail "lost $n; $(cat "$T/upgrade.txt")"
ok "$(tail -n 1 "$T/upgrade.txt")"

step "turnd ends cleanly"
stop_cleanly turnd
ok
