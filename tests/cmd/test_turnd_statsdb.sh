#!/bin/bash
# turnd telling coturn's statistics in Redis (redis-statsdb): whose keys it touches and for how long they live, what happens
# when Redis goes and comes back, and what is told at the end. That the messages are coturn's is for
# ../interop/test_statsdb.sh to say.
. "$(dirname "$0")/../interop/lib.sh"
isolate 120 "$@"
need python3 redis-server redis-cli
"$TURND" -n -L 127.0.0.1 --redis-statsdb=ip=127.0.0.1 --check-config | grep -q 'built without Redis' &&
    skip "turnd was built without Redis"
export PYTHONPATH=$INTEROP
PORT=13478 REDIS=16379 METRICS=19641
THEIRS=turn/realm/example.org/user/other/allocation/009000000000000001/status

redis() { redis-cli -p $REDIS "$@"; }
redis_up() {
    start redis redis-server --port $REDIS --bind 127.0.0.1 --save '' --appendonly no --dir "$T"
    wait_for 10 "Redis" redis ping
    start consumer python3 "$INTEROP/statsdb.py" record $REDIS "$T/told"
    wait_for 10 "the consumer" sh -c "tail -n 1 '$T/told' | grep -q '^ready'"
}
turnd_up() {
    start turnd "$TURND" -c "$T/t.conf"
    wait_for 10 "turnd to be ready" grep -q 'is ready' "$T/turnd.log"
    wait_for 10 "its workers to be connected" metric turnd_redis_stats_up 1
}
# metric NAME VALUE: is it so?
metric() { python3 "$INTEROP/get.py" "http://127.0.0.1:$METRICS/metrics" | grep -qx "$1 $2"; }

# A process that plays clients, one command a line; `client` starts it, `ask COMMAND...` has it do something.
client() {
    mkfifo "$T/ask"
    cat >"$T/client.py" <<'PY'
import socket, sys
from turnclient import *
at = ("127.0.0.1", int(sys.argv[1]))
peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
peer.bind(("127.0.0.1", 23456))
peer.settimeout(5)
clients = {}
for line in open(sys.argv[2]):
    what, name, *more = line.split()
    try:
        if what == "allocate":
            clients[name] = Client(at, more[0], "secret", transport=more[1] if len(more) > 1 else "udp")
            clients[name].allocate()
        elif what == "send":
            clients[name].permit(peer.getsockname())
            for _ in range(int(more[0])):
                clients[name].send(peer.getsockname(), b"ten bytes!")
                peer.recv(100)
        elif what == "bind":
            clients[name].bind_channel(0x4000, (more[0], int(more[1])))
        elif what == "release":
            clients[name].release()
        print("done", *line.split())
    except TurnError as e:
        print("refused", e.code, *line.split())
PY
    start client python3 -u "$T/client.py" "$PORT" "$T/ask"
    exec 7<>"$T/ask"
}
ask() {
    echo "$*" >&7
    wait_for 10 "the client to $*" grep -qF " $*" "$T/client.log"
    grep -F " $*" "$T/client.log" | tail -1 | grep -q "^${WANT:-done} " || fail "$*: $(tail -1 "$T/client.log")"
}
# key_of USER: its status key; one allocation each.
key_of() { redis --scan --pattern "turn/realm/example.org/user/$1/allocation/*/status"; }
# told PATTERN: has the consumer heard that?
told() { grep -qE "$1" "$T/told"; }

step "a wrong address is told"
"$TURND" -n -L 127.0.0.1 --redis-statsdb='port=x password=hunter2' --check-config >"$T/out" 2>&1 &&
    fail "it was taken"
grep -q 'redis-statsdb: ' "$T/out" || fail "it is not told"
! grep -q hunter2 "$T/out" || fail "the password is shown"
ok

step "turnd and Redis start"
redis_up
redis set "$THEIRS" "new lifetime=600" >/dev/null
cat >"$T/t.conf" <<CONF
listening-ip=127.0.0.1
listening-port=$PORT
http-listen=127.0.0.1:$METRICS
realm=example.org
user=alice:secret
user=bob:secret
user=we/i*d:secret
redis-statsdb="ip=127.0.0.1 dbname=0 port=$REDIS connect_timeout=2"
allow-loopback-peers
log-file=stdout
api-socket=$T/turnd.sock
api-socket-mode=666
relay-threads=2
CONF
turnd_up
client
ok

step "keys that live as long as the allocation"
ask allocate a alice
wait_for 5 "the key" sh -c "[ -n \"\$(redis-cli -p $REDIS --scan --pattern '*alice*')\" ]"
KEY=$(key_of alice)
redis get "$KEY" | grep -q '^new lifetime=600, type=UDP, local=127.0.0.1:13478, ' || fail "$(redis get "$KEY")"
ttl=$(redis ttl "$KEY")
[ "$ttl" -gt 590 ] && [ "$ttl" -le 600 ] || fail "it lives for $ttl s"
ask allocate w 'we/i*d'
wait_for 5 "a strange name" sh -c \
    "redis-cli -p $REDIS --scan --pattern 'turn/realm/example.org/user/we%2Fi%2Ad/allocation/*/status' | grep -q ."
ask release w
wait_for 5 "its end" told 'user/we%2Fi%2Ad/allocation/[0-9]{18}/status = deleted'
[ -z "$(redis --scan --pattern '*we%2F*')" ] || fail "its key is left"
ok

step "this Redis is no peer, whatever the policy says"
WANT="refused 403" ask bind a 127.0.0.1 $REDIS
ok

step "Redis dies, and service goes on"
stop consumer
kill -KILL "${PID[redis]}"
wait "${PID[redis]}" 2>/dev/null || true
wait_for 10 "turnd to notice" metric turnd_redis_stats_up 0
ask send a 3000
ask allocate b bob
python3 "$INTEROP/get.py" "http://127.0.0.1:$METRICS/metrics" | grep -E '^turnd_redis_stats_queued [1-9]' >/dev/null ||
    fail "nothing waits"
ok

step "and is back, empty: the rest is told, and keys are set again"
: >"$T/told"
redis_up
wait_for 20 "the key of before" sh -c "[ \"\$(redis-cli -p $REDIS exists '$KEY')\" = 1 ]"
redis get "$KEY" | grep -qE '^refreshed lifetime=(5[5-9]|60)[0-9], type=UDP, ' || fail "$(redis get "$KEY")"
[ "$(redis ttl "$KEY")" -gt 500 ] || fail "without an end"
wait_for 5 "what came meanwhile" sh -c "[ -n \"\$(redis-cli -p $REDIS --scan --pattern '*bob*')\" ]"
redis get "$(key_of bob)" | grep -q 'lifetime=' || fail "no status"
! told "$KEY = refreshed" || fail "what was set again was published"
wait_for 5 "the queue to empty" metric turnd_redis_stats_queued 0
metric turnd_redis_stats_dropped_total 0 || fail "messages were dropped"
ok

step "an upgrade in place is no end, and loses no count"
TURNCTL=$PINHOLE_BUILD/bin/turnctl
if [ -x "$TURNCTL" ]; then
    ask allocate u alice
    ask send u 100
    : >"$T/told"
    timeout 60 "$TURNCTL" -s "$T/turnd.sock" upgrade >"$T/out" 2>&1 || fail "$(cat "$T/out")"
    wait_for 10 "the workers to be connected again" metric turnd_redis_stats_up 1
    ask send u 50
    ask release u
    wait_for 5 "its end" told 'total_traffic/peer = .*, sentp=150, sentb=1500$'
    id=$(sed -nE 's,.*/allocation/([0-9]{18})/total_traffic/peer = .*sentp=150.*,\1,p' "$T/told")
    [ "$(grep -cE "$id/status = refreshed lifetime=[56]" "$T/told")" = 1 ] || fail "it is not told as refreshed"
    sum=$(($(sed -nE "s,.*$id/traffic/peer = .*sentp=([0-9]+)\,.*,\1,p" "$T/told" | paste -sd+)))
    [ "$sum" = 150 ] || fail "the traffic that was told is $sum, not 150"
fi
ok

step "what turnd ends with is told"
redis set "$THEIRS" "new lifetime=600" >/dev/null
stop_cleanly turnd
for user in alice bob; do
    wait_for 5 "the end of $user" told "user/$user/allocation/[0-9]{18}/status = deleted"
    wait_for 5 "the sum of $user" told "user/$user/allocation/[0-9]{18}/total_traffic/peer = "
done
told 'user/alice/allocation/[0-9]{18}/total_traffic/peer = rcvp=0, rcvb=0, sentp=3000, sentb=30000$' ||
    fail "another sum"
[ "$(redis keys '*')" = "$THEIRS" ] || fail "keys: $(redis keys '*')"
[ "$(redis get "$THEIRS")" = "new lifetime=600" ] || fail "theirs was touched"
ok

step "killed, it leaves keys that end by themselves; started again, it touches no key"
turnd_up
ask allocate k alice
wait_for 5 "the key" sh -c "redis-cli -p $REDIS --scan --pattern '*alice*' | grep -q ."
LEFT=$(key_of alice)
kill -KILL "${PID[turnd]}"
wait "${PID[turnd]}" 2>/dev/null || true
turnd_up
[ "$(redis keys '*' | sort)" = "$(printf '%s\n%s' "$LEFT" "$THEIRS" | sort)" ] || fail "keys: $(redis keys '*')"
[ "$(redis ttl "$LEFT")" -gt 500 ] || fail "without an end"
stop_cleanly turnd
ok

step "a Redis that never answers holds nothing up"
stop consumer
stop redis
start turnd "$TURND" -c "$T/t.conf"
wait_for 10 "turnd to be ready" grep -q 'is ready' "$T/turnd.log"
ask allocate c alice
stop_cleanly turnd
ok
