#!/bin/bash
# turnd with coturn's user database in Redis: users, secrets, rules and limits from there, beside those of the file; and what
# happens when it goes away and comes back.
. "$(dirname "$0")/../interop/lib.sh"
isolate 120 "$@"
need python3 redis-server redis-cli
"$TURND" -n -L 127.0.0.1 --redis-userdb=ip=127.0.0.1 --check-config | grep -q 'built without Redis' &&
    skip "turnd was built without Redis"
export PYTHONPATH=$INTEROP
PORT=13478 REDIS=16379

redis() { redis-cli -p $REDIS "$@" >/dev/null; }
redis_up() {
    start redis redis-server --port $REDIS --bind 127.0.0.1 --save '' --appendonly no --dir "$T"
    wait_for 10 "Redis" redis-cli -p $REDIS ping
}
# hash USER REALM PASSWORD: the key as coturn keeps it.
hash() { printf '%s:%s:%s' "$1" "$2" "$3" | md5sum | cut -d' ' -f1; }

# answers WANT CODE...: run Python with `a`, an Asker-like client class; it must print WANT.
answers() {
    local want=$1 got
    got=$(python3 - "$PORT" <<PY
import base64, hashlib, hmac, struct, sys, time
from turnclient import *
at = ("127.0.0.1", int(sys.argv[1]))
def rest(secret, name):
    return base64.b64encode(hmac.new(secret.encode(), name.encode(), hashlib.sha1).digest()).decode()
later = str(int(time.time()) + 600)
def code(fn, *args, **how):
    try:
        fn(*args, **how)
        return 0
    except TurnError as e:
        return e.code
def allocate(user, password):
    c = Client(at, user, password)
    got = code(c.allocate)
    if got == 0:
        c.release()
    return got
$2
PY
    ) || fail "the client"
    [ "$got" = "$want" ] || fail "got '$got' instead of '$want'"
}

step "turnd and Redis start"
redis_up
redis set turn/realm/example.org/user/rita/key "$(hash rita example.org lovely)"
redis set turn/realm/north/user/nick/key "$(hash nick north pole)"
redis sadd turn/realm/example.org/secret first
redis sadd turn/realm/example.org/denied-peer-ip 127.0.0.90-127.0.0.99
redis hset turn/realm/example.org/user/rita/limits user-quota 2
redis set turn/origin/https://north.example north
cat >"$T/t.conf" <<CONF
listening-ip=127.0.0.1
listening-port=$PORT
realm=example.org
user=alice:secret
realm-user=north nora:x
redis-userdb="ip=127.0.0.1 dbname=0 port=$REDIS connect_timeout=2"
allow-loopback-peers
log-file=stdout
api-socket=none
unauthorized-ratelimit=no
CONF
start turnd "$TURND" -c "$T/t.conf"
wait_for 10 "turnd to be ready" grep -q 'is ready' "$T/turnd.log"
wait_for 5 "what Redis says of realms" grep -q 'what it says of realms has changed' "$T/turnd.log"
ok

step "users of both sources, secrets, limits and rules"
answers "0 0 401 401" "print(allocate('rita', 'lovely'), allocate('alice', 'secret'),
      allocate('rita', 'wrong'), allocate('nobody', 'x'))"
answers "0 401" "name = later + ':x'
print(allocate(name, rest('first', name)), allocate(name, rest('second', name)))"
answers "0 0 486" "keep = [Client(at, 'rita', 'lovely') for _ in range(3)]
print(*(code(c.allocate) for c in keep))
for c in keep[:2]: c.release()"
answers "0 403" "c = Client(at, 'alice', 'secret')
c.allocate()
print(code(c.permit, ('127.0.0.80', 1)), code(c.permit, ('127.0.0.95', 1)))
c.release()"
ok

step "the database is no peer, whatever the policy says"
answers "0 403" "c = Client(at, 'alice', 'secret')
c.allocate()
print(code(c.bind_channel, 0x4001, ('127.0.0.1', $REDIS + 1)), code(c.bind_channel, 0x4002, ('127.0.0.1', $REDIS)))
c.release()"
ok

step "names that would reach other keys are nobody's"
redis set "turn/realm/example.org/user/a/b/key" "$(hash a/b example.org x)"
answers "401 401 401" "print(allocate('a/b', 'x'), allocate('*', 'x'), allocate('%s%n', 'x'))"
ok

step "its origins choose realms"
answers "north example.org" "def realm(more):
    c = Client(at, 'x', 'x')
    attrs = attr(REQUESTED_TRANSPORT, bytes((17, 0, 0, 0))) + more
    return c.transact(at, ALLOCATE, attrs, None).attrs[REALM].decode()
print(realm(attr(0x802F, b'https://north.example')), realm(b''))"
ok

step "what changes there is in force within seconds"
redis sadd turn/realm/example.org/secret second
redis srem turn/realm/example.org/secret first
changes() { grep -c 'what it says of realms has changed' "$T/turnd.log"; }
before=$(changes)
wait_for 15 "the poll" sh -c "[ \$(grep -c 'what it says of realms has changed' '$T/turnd.log') -gt $before ]"
answers "401 0" "name = later + ':x'
print(allocate(name, rest('first', name)), allocate(name, rest('second', name)))"
ok

step "a reload keeps what it says"
kill -HUP "${PID[turnd]}"
wait_for 5 "the reload" grep -q 'reload: taken' "$T/turnd.log"
answers "0 0 0" "name = later + ':x'
print(allocate(name, rest('second', name)), allocate('rita', 'lovely'), allocate('alice', 'secret'))"
ok

step "without it, who is known goes on"
redis set turn/realm/example.org/user/late/key "$(hash late example.org x)"
stop redis
answers "0 0 0" "name = later + ':x'
print(allocate(name, rest('second', name)), allocate('rita', 'lovely'), allocate('alice', 'secret'))"
answers "True" "print(allocate('late', 'x') != 0)"
alive turnd || fail "turnd has died"
kill -HUP "${PID[turnd]}"
wait_for 5 "a reload without it" sh -c "[ \$(grep -c 'reload: taken' '$T/turnd.log') = 2 ]"
answers "0 0" "name = later + ':x'
print(allocate(name, rest('second', name)), allocate('rita', 'lovely'))"
ok

step "and when it is back, so are its users"
redis_up
redis set turn/realm/example.org/user/late/key "$(hash late example.org x)"
late() { answers 0 "print(allocate('late', 'x'))"; }
wait_for 20 "the new user" bash -c "$(declare -f answers fail late); T=$T PORT=$PORT STEP=x; late"
ok

step "turnd stops cleanly"
stop_cleanly turnd
ok
