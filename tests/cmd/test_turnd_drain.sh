#!/bin/bash
# turnd draining and stopping: it is not ready any more, newcomers are sent away, and the end comes with the last
# allocation, the deadline, or a second signal.
#
# DRAIN_ALLOCATIONS makes the load of the last step larger (5000 for the figures in the notes).
. "$(dirname "$0")/../interop/lib.sh"
isolate 120 "$@"
need python3

: "${DRAIN_ALLOCATIONS:=100}"
TURNLOAD=$PINHOLE_BUILD/bin/turnload
export PYTHONPATH=$INTEROP
PORT=13478 HTTP=19641

# up LINE...: start turnd with these lines.
up() {
    cat >"$T/t.conf" <<CONF
listening-ip=127.0.0.1
listening-port=$PORT
http-listen=127.0.0.1:$HTTP
realm=example.org
user=alice:secret
allow-loopback-peers
log-file=stdout
api-socket=none
unauthorized-ratelimit=no
CONF
    printf '%s\n' "$@" >>"$T/t.conf"
    start turnd "$TURND" -c "$T/t.conf"
    wait_for 10 "turnd to be ready" grep -q 'is ready' "$T/turnd.log"
}

# ended SECONDS: it must end by itself within that time, with status 0.
ended() {
    local status=0
    wait_for "$1" "the end" sh -c "! kill -0 ${PID[turnd]}"
    wait "${PID[turnd]}" || status=$?
    [ $status -eq 0 ] || fail "status $status"
}

# http PATH: its status.
http() {
    python3 - "http://127.0.0.1:$HTTP$1" <<'PY'
import sys, urllib.error, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=5).status)
except urllib.error.HTTPError as e:
    print(e.code)
PY
}

# hold NAME: a client with an allocation, which keeps it until "$T/NAME.go" is there; says "up", then "gone".
hold() {
    rm -f "$T/$1.go"
    : >"$T/$1.out" # here, not in the background: nobody must read the last one's word
    python3 - "$PORT" "$T/$1.go" >"$T/$1.out" 2>&1 <<'PY' &
import os, socket, sys, time
from turnclient import Client
c = Client(("127.0.0.1", int(sys.argv[1])), "alice", "secret")
relay, _ = c.allocate()
peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
peer.bind(("127.0.0.1", 0))
peer.settimeout(5)
c.permit(peer.getsockname())
print("up", flush=True)
end = time.monotonic() + 30
while not os.path.exists(sys.argv[2]) and time.monotonic() < end:
    time.sleep(0.02)
# It still relays, both ways.
c.send(peer.getsockname(), b"there")
data, source = peer.recvfrom(100)
assert data == b"there" and source == relay, (data, source)
peer.sendto(b"back", relay)
while not c.inbox and time.monotonic() < end:
    c.receive(1)
assert c.inbox[0][1] == b"back"
c.release()
print("gone", flush=True)
PY
    PID[$1]=$!
    wait_for 10 "$1 to have an allocation" grep -q up "$T/$1.out"
}

# let_go NAME: and it must have worked to the end.
let_go() {
    touch "$T/$1.go"
    wait "${PID[$1]}" || { cat "$T/$1.out"; fail "$1 could not go on"; }
}

# refused CODE [ALTERNATE]: what a newcomer gets.
refused() {
    python3 - "$PORT" "$@" <<'PY' || fail "the newcomer"
import sys
from turnclient import (ALLOCATE, ALTERNATE, NONCE, REALM, REQUESTED_TRANSPORT, USERNAME, Client,
                        TurnError, attr)
port, code, alternate = int(sys.argv[1]), int(sys.argv[2]), (sys.argv[3:] or [""])[0]
c = Client(("127.0.0.1", port), "alice", "secret")
try:
    c.allocate()
    sys.exit("got an allocation")
except TurnError as e:
    if e.code != code:
        sys.exit(f"got {e} instead of {code}")
if alternate:
    attrs = attr(REQUESTED_TRANSPORT, bytes((17, 0, 0, 0))) + attr(USERNAME, c.name()) + \
        attr(REALM, c.realm) + attr(NONCE, c.nonce)
    answer = c.transact(c.server, ALLOCATE, attrs, c.key)
    value = answer.attrs.get(ALTERNATE)
    got = value and ".".join(str(b) for b in value[4:8]) + f":{int.from_bytes(value[2:4], 'big')}"
    if got != alternate:
        sys.exit(f"is sent to {got} instead of {alternate}")
PY
}

step "SIGUSR1 drains: not ready, no newcomers, the end with the last allocation"
up
[ "$(http /readyz) $(http /healthz)" = "200 200" ] || fail "not ready at first"
hold one
hold two
kill -USR1 "${PID[turnd]}"
wait_for 5 "the word" grep -q 'draining: no new allocations; the end comes with the last of 2' "$T/turnd.log"
[ "$(http /readyz) $(http /healthz)" = "503 200" ] || fail "ready: $(http /readyz), alive: $(http /healthz)"
refused 508
let_go one
alive turnd || fail "ended with an allocation left"
kill -HUP "${PID[turnd]}"
wait_for 5 "the reload" grep -q 'reload: taken' "$T/turnd.log"
refused 508
let_go two
ended 5
grep -q 'drained: 0 allocations are left' "$T/turnd.log" || fail "no word about the end"
ok

step "newcomers are told where to go"
up drain-alternate-server=192.0.2.7:3479
hold one
kill -USR1 "${PID[turnd]}"
wait_for 5 "the word" grep -q 'draining:' "$T/turnd.log"
refused 300 192.0.2.7:3479
let_go one
ended 5
ok

step "drain-timeout ends it by force"
up drain-timeout=1
hold one
kill -USR1 "${PID[turnd]}"
ended 5
grep -q 'the time for draining is over: 1 allocations end now' "$T/turnd.log" || fail "no word about it"
grep -q 'allocation ended .*reason=shutdown' "$T/turnd.log" || fail "no audit line"
kill "${PID[one]}"
ok

step "drain-min-allocations is enough"
up drain-min-allocations=1
hold one
hold two
kill -USR1 "${PID[turnd]}"
wait_for 5 "the word" grep -q 'draining:' "$T/turnd.log"
alive turnd || fail "ended with two left"
let_go one
ended 5
grep -q 'drained: 1 allocation is left' "$T/turnd.log" || fail "no word about it"
kill "${PID[two]}"
ok

step "SIGTERM ends at once without a grace"
up
hold one
kill -TERM "${PID[turnd]}"
ended 3
kill "${PID[one]}"
ok

step "with one it waits for the last allocation"
up grace=30
hold one
kill -TERM "${PID[turnd]}"
wait_for 5 "the word" grep -q 'stopping, in 30 s at the latest' "$T/turnd.log"
[ "$(http /readyz)" = 503 ] || fail "still ready"
refused 508
let_go one
ended 5
ok

step "a second SIGTERM ends at once"
up grace=30
hold one
kill -TERM "${PID[turnd]}"
wait_for 5 "the word" grep -q 'stopping, in 30 s' "$T/turnd.log"
sleep 0.2
alive turnd || fail "did not wait"
kill -TERM "${PID[turnd]}"
ended 3
kill "${PID[one]}"
ok

step "a drain of many ends with the last"
up
"$TURNLOAD" -q --idle "$DRAIN_ALLOCATIONS" --hold 2 -u alice -w secret "127.0.0.1:$PORT" >"$T/load.out" 2>&1 &
PID[load]=$!
wait_for 30 "the allocations" sh -c "[ \$(grep -c 'allocation made' '$T/turnd.log') -ge $DRAIN_ALLOCATIONS ]"
kill -USR1 "${PID[turnd]}"
wait_for 5 "the word" grep -q "the last of $DRAIN_ALLOCATIONS" "$T/turnd.log"
wait "${PID[load]}" || { cat "$T/load.out"; fail "the load was disturbed"; }
ended 5
downs=$(grep -c 'reason=released' "$T/turnd.log")
[ "$downs" -eq "$DRAIN_ALLOCATIONS" ] || fail "$downs of $DRAIN_ALLOCATIONS were released by their clients"
ok "$DRAIN_ALLOCATIONS allocations"
