#!/bin/bash
# turnd with redis-statedb: allocations go on after the process was killed or stopped, whatever Redis does meanwhile; and
# nobody gets what is not his.
#
# STATE_ALLOCATIONS makes the load larger (5000 for the figures in the notes).
. "$(dirname "$0")/../interop/lib.sh"
isolate 280 "$@"
need python3 redis-server redis-cli
"$TURND" -n -L 127.0.0.1 --redis-statedb=redis://127.0.0.1 --fleet-key=0123456789abcdef --node-id=a --check-config |
    grep -q 'built without Redis' && skip "turnd was built without Redis"
: "${STATE_ALLOCATIONS:=500}"
N=$STATE_ALLOCATIONS
TURNCTL=$PINHOLE_BUILD/bin/turnctl
TURNLOAD=$PINHOLE_BUILD/bin/turnload
[ -x "$TURNCTL" ] || skip "turnctl was left out of this build (no jansson)"
export TURNCTL_SOCKET=$T/turnd.sock PYTHONPATH=$INTEROP
PORT=13478 REDIS=16379 OUT=$T/out KEY="fleet-key=a secret of the fleet" RATE=10
ulimit -n "$(ulimit -Hn)"

redis() { redis-cli -p $REDIS "$@"; }
redis_up() {
    start redis redis-server --port $REDIS --bind 127.0.0.1 --save '' --appendonly no --dir "$T"
    wait_for 10 "Redis" redis-cli -p $REDIS ping
}
stored() { redis hlen "{pinhole:${1:-one}}:alloc"; }

# up LINE...: start turnd with these lines besides, and wait until it serves.
up() {
    cat >"$T/t.conf" <<CONF
listening-ip=127.0.0.1
listening-port=$PORT
http-listen=127.0.0.1:19641
realm=example.org
user=alice:secret
allow-loopback-peers
api-socket=$TURNCTL_SOCKET
unauthorized-ratelimit=no
redis-statedb=redis://127.0.0.1:$REDIS/0
node-id=one
relay-threads=2
CONF
    printf '%s\n' "${@:-$KEY}" >>"$T/t.conf"
    start turnd "$TURND" -c "$T/t.conf"
    wait_for 20 "turnd to serve" "$TURNCTL" status
}
down() { # by force
    kill -KILL "${PID[turnd]}"
    wait "${PID[turnd]}" 2>/dev/null || true
}
said() { grep -qE -- "$1" "$T/turnd.log" || fail "the log does not say: $1"; }
total() { "$TURNCTL" --json status | sed -n 's/.*"allocations":{"total":\([0-9]*\).*/\1/p'; }

# load SECONDS: in the background, until all is up and stored.  loaded SECONDS: no session was lost, and packets only for so
# long.
load() {
    "$TURNLOAD" -q -n "$N" -r $RATE -t "$1" -u alice -w secret --setup-rate 2000 --max-loss 100 \
        "127.0.0.1:$PORT" >"$T/load.out" 2>&1 &
    PID[load]=$!
    wait_for 60 "the sessions" sh -c "[ \"\$('$TURNCTL' --json status | sed -n 's/.*\"allocations\":{\"total\":\([0-9]*\).*/\1/p')\" = $N ]"
    wait_for 10 "them to be stored" sh -c "[ \"\$(redis-cli -p $REDIS hlen '{pinhole:one}:alloc')\" = $((N + 1)) ]"
}
loaded() {
    wait "${PID[load]}" || { cat "$T/load.out"; fail "the load"; }
    grep -q "^allocations *$N ready, 0 failed, 0 lost" "$T/load.out" || { cat "$T/load.out"; fail "sessions were lost"; }
    local lost
    lost=$(sed -n 's/^lost *\([0-9]*\) .*/\1/p' "$T/load.out")
    [ "$lost" -le $(($1 * N * RATE)) ] || { cat "$T/load.out"; fail "$lost packets were lost"; }
    LOST=$lost
}

# touch_it [PORT]: something changes on each worker, so that the store is looked at; else that is every ten seconds.
touch_it() {
    "$TURNLOAD" -q -n 12 -r 10 -t 0.2 -u alice -w secret --max-loss 100 "127.0.0.1:${1:-$PORT}" >"$OUT" 2>&1 ||
        { cat "$OUT"; fail "a newcomer is not served"; }
}

step "a killed server goes on where it was"
redis_up
up
load 10
down
at=${EPOCHREALTIME/[.,]/}
start turnd "$TURND" -c "$T/t.conf"
wait_for 20 "turnd to be ready" grep -q 'is ready' "$T/turnd.log"
ms=$(((${EPOCHREALTIME/[.,]/} - at) / 1000))
said "restored $N allocations of node one in [0-9]+ ms"
[ "$(grep -c 'allocation restored' "$T/turnd.log")" = "$N" ] || fail "audit lines"
wait_for 5 "the count" sh -c "[ '$(total)' = $N ]"
"$TURNCTL" status >"$OUT"
grep -q "^store  *node one, ours, up" "$OUT" || { cat "$OUT"; fail "the status"; }
grep -q "^restored  *$N at the start" "$OUT" || { cat "$OUT"; fail "the status"; }
python3 - >"$OUT" <<'PY'
import urllib.request
print(urllib.request.urlopen("http://127.0.0.1:19641/metrics", timeout=5).read().decode())
PY
for line in "turnd_restored_total $N" "turnd_store_up 1" "turnd_store_owned 1" "turnd_store_unsealed_total 0"; do
    grep -qx "$line" "$OUT" || { grep -E 'store|restored' "$OUT"; fail "metrics: no $line"; }
done
loaded 2
wait_for 10 "Redis to be empty" sh -c "[ \"\$(redis-cli -p $REDIS hlen '{pinhole:one}:alloc')\" -le 1 ]"
ok "$N sessions, ready after $ms ms, $LOST packets lost"

step "so does one that was stopped"
load 8
stop_cleanly turnd
[ "$(grep -c 'allocation kept for a restart.* node=one' "$T/turnd.log")" = "$N" ] || fail "audit lines"
! grep -q 'allocation ended.*reason=shutdown' "$T/turnd.log" || fail "says that they have ended"
up
said "restored $N allocations"
loaded 3
ok "$LOST packets lost"

step "an upgrade keeps the claim"
load 7
owner=$(redis get '{pinhole:one}:owner')
"$TURNCTL" upgrade >"$OUT" || { cat "$OUT"; fail "the upgrade"; }
wait_for 5 "the store" sh -c "'$TURNCTL' status | grep -q '^store  *node one, ours, up'"
[ "$(redis get '{pinhole:one}:owner')" = "$owner" ] || fail "claimed again"
down
up
said "restored $N allocations"
loaded 3
ok "$LOST packets lost"

step "Redis wiped, and gone for a while: nothing ends, and all is stored again"
load 12
redis flushall >/dev/null
touch_it
wait_for 20 "everything to be written again" sh -c "[ \"\$(redis-cli -p $REDIS hlen '{pinhole:one}:alloc')\" = $((N + 1)) ]"
stop redis
sleep 1
[ "$(total)" = "$N" ] || fail "$(total) sessions are left"
redis_up
wait_for 20 "everything to be written again" sh -c "[ \"\$(redis-cli -p $REDIS hlen '{pinhole:one}:alloc')\" = $((N + 1)) ]"
! grep -q 'reason=adopted' "$T/turnd.log" || fail "sessions have been given up"
loaded 0
stop_cleanly turnd
ok

step "Redis silent at the start: clients are served, and sessions restored when it answers"
up
load 14
down
kill -STOP "${PID[redis]}"
up "$KEY" state-wait=300
said "redis-statedb has not answered within 300 ms"
kill -CONT "${PID[redis]}"
wait_for 15 "the sessions" grep -q "restored $N allocations" "$T/turnd.log"
loaded 8
stop_cleanly turnd
ok "$LOST packets lost"

step "with another secret nothing is read, and nothing touched"
N=20
up
load 5
down
up "fleet-key=quite another secret"
said "read 0 records and left $N alone: $N do not open"
[ "$(total)" = 0 ] || fail "$(total) sessions"
[ "$(grep -c 'WARN .*pinhole:one' "$T/turnd.log")" = 1 ] || fail "more than one line"
down
wait "${PID[load]}" 2>/dev/null || true
up
said "restored $N allocations"
stop_cleanly turnd
redis flushall >/dev/null
ok

step "secrets are changed without losing anything"
up
load 12
down
up "fleet-key=the next secret of it" "$KEY"
said "restored $N allocations"
wait_for 5 "the store" sh -c "'$TURNCTL' status | grep -q '^store  *node one, ours, up'"
sleep 0.5
down
up "fleet-key=the next secret of it"
said "restored $N allocations"
# While it runs, too: what is stored is sealed with the new one from then on.
sed -i 's/^fleet-key=.*/fleet-key=and another secret/' "$T/t.conf"
echo "fleet-key=the next secret of it" >>"$T/t.conf"
"$TURNCTL" reload >"$OUT" || { cat "$OUT"; fail "the reload"; }
grep -q 'taken: fleet-key' "$OUT" || { cat "$OUT"; fail "the reload"; }
sleep 1
down
up "fleet-key=and another secret"
said "restored $N allocations"
loaded 8
stop_cleanly turnd
ok

step "two of one name: one of them gives up storing, and says so"
up
load 20
sed "s/$PORT/13480/; s/19641/19642/; s/turnd.sock/other.sock/" "$T/t.conf" >"$T/other.conf"
start other "$TURND" -c "$T/other.conf"
wait_for 10 "the other one" grep -q 'is ready' "$T/other.log"
given_up() {
    touch_it
    touch_it 13480
    grep -q 'claims it again and again' "$T/turnd.log" "$T/other.log"
}
wait_for 30 "somebody to give up" given_up
[ "$(grep -h 'claims it again and again' "$T/turnd.log" "$T/other.log" | wc -l)" = 1 ] || fail "both, or twice"
[ "$(total)" -ge "$N" ] || fail "$(total) sessions are left"
stop_cleanly other
loaded 0
stop_cleanly turnd
redis flushall >/dev/null
ok

step "Redis is no peer"
up
python3 - $PORT $REDIS <<'PY' || fail "it is"
import sys
from turnclient import Client, TurnError
c = Client(("127.0.0.1", int(sys.argv[1])), "alice", "secret")
c.allocate()
c.bind_channel(0x4001, ("127.0.0.1", int(sys.argv[2]) + 1))
try:
    c.bind_channel(0x4002, ("127.0.0.1", int(sys.argv[2])))
    sys.exit("was allowed")
except TurnError as e:
    assert e.code == 403, e
c.release()
PY
stop_cleanly turnd
ok

step "rubbish in its place is stepped over"
up
load 10
down
key='{pinhole:one}:alloc'
redis hset "$key" 5 rubbish notanumber x 18446744073709551615 "$(head -c 100000 /dev/zero | tr '\0' x)" >/dev/null
some=$(redis hkeys "$key" | grep -E '^[0-9]{15,}' | grep -v 18446744073709551615 | head -1)
redis hset "$key" "$some" "$(redis hget "$key" "$some" | head -c 40)" >/dev/null
up
said "restored $((N - 1)) allocations"
said "WARN .*left [0-9]+ alone"
alive turnd || fail "turnd has died"
kill "${PID[load]}"
wait "${PID[load]}" || true
stop_cleanly turnd
redis del "$key" >/dev/null
redis set "$key" text >/dev/null
up
said "redis"
"$TURNLOAD" -q -n 1 -r 10 -t 0.3 -u alice -w secret "127.0.0.1:$PORT" >"$OUT" 2>&1 || fail "does not serve"
stop_cleanly turnd
ok
