# shellcheck shell=bash
#
# A fleet of turnd on one Redis, for the tests of it. Sourced after `isolate`, with ../interop/lib.sh.
#
need python3 redis-server redis-cli
"$TURND" -n -L 127.0.0.1 --redis-userdb=ip=127.0.0.1 --check-config | grep -q 'built without Redis' &&
    skip "turnd was built without Redis"
export PYTHONPATH=$INTEROP
TURNCTL=$PINHOLE_BUILD/bin/turnctl
PORT=13478 REDIS=16379

redis_up() {
    start redis redis-server --port $REDIS --bind 127.0.0.1 --save '' --appendonly no --dir "$T"
    wait_for 10 "Redis" redis-cli -p $REDIS ping
}

# node NAME LINE...: one of the fleet, on an address of its own.
node() {
    local name=$1 ip
    shift
    ip=127.0.0.$((${#name} + 10))
    cat >"$T/$name.conf" <<CONF
listening-ip=$ip
relay-ip=$ip
listening-port=$PORT
min-port=30000
max-port=30999
realm=example.org
user=alice:secret
user=bob:hidden
user=carol:other
user-quota=2
user-max-bps=100000
mobility
allow-loopback-peers
redis-statedb=redis://127.0.0.1:$REDIS/1
fleet-key=${FLEET_KEY:-a key for the tests of fleets}
node-id=$name
log-file=stdout
api-socket=$T/$name.sock
unauthorized-ratelimit=no
CONF
    printf '%s\n' "$@" >>"$T/$name.conf"
    start "$name" "$TURND" -c "$T/$name.conf"
    wait_for 10 "$name to be ready" grep -q 'is ready' "$T/$name.log"
}
IP=([1]=127.0.0.11 [2]=127.0.0.12 [3]=127.0.0.13) # of nodes x, xx, xxx

ctl() { "$TURNCTL" -s "$T/$1.sock" "${@:2}"; }
# nodes NAME: the others that it knows, by name.
nodes() {
    ctl "$1" --json nodes | python3 -c 'import json, sys
print(*sorted(n["node"] for n in json.load(sys.stdin)["nodes"] if not n["self"]))'
}
knows() { [ "$(nodes "$1")" = "$2" ]; }

# client NAME WHERE USER PASSWORD: holds an allocation until told to go; says "up TICKET", or the code of a refusal.
client() {
    rm -f "$T/$1.go"
    : >"$T/$1.out"
    python3 - "$2" "$PORT" "$3" "$4" "$T/$1.go" >"$T/$1.out" 2>&1 <<'PY' &
import os, sys, time
from turnclient import *
c = Client((sys.argv[1], int(sys.argv[2])), sys.argv[3], sys.argv[4])
try:
    relay, _ = c.allocate(more=attr(TICKET, b""))
except TurnError as e:
    print(e.code, flush=True)
    sys.exit()
print("up", c.allocated.attrs[TICKET].decode(), flush=True)
while not os.path.exists(sys.argv[5]):
    time.sleep(0.05)
c.release()
print("gone", flush=True)
PY
    PID[client-$1]=$!
    wait_for 10 "client $1" grep -q . "$T/$1.out"
}
says() { grep -qx "$2" "$T/$1.out" || fail "client $1 says '$(cat "$T/$1.out")' instead of '$2'"; }
leave() {
    touch "$T/$1.go"
    wait "${PID[client-$1]}" || true
}

# met NAME METRIC: the value of a metric of a node.
met() { ctl "$1" metrics | awk -v m="$2" '$1 == m { print $2 }'; }
# refused_at IP: alice gets 486 there.
refused_at() {
    python3 - "$1" "$PORT" <<'PY'
import sys
from turnclient import *
c = Client((sys.argv[1], int(sys.argv[2])), "alice", "secret")
try:
    c.allocate()
    c.release()
    raise SystemExit(1)
except TurnError as e:
    raise SystemExit(e.code != 486)
PY
}
