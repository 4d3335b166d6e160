#!/bin/bash
# A node is lost, and another one gets its address: the allocations go on there. Two clients behind real NATs talk through the
# floating address while it moves from node to node (as keepalived moves it); they notice nothing but the gap. A node that was only
# cut off gives up what is not its own any more.
#
#              redis (192.0.2.9)
#              /              \        back network 192.0.2.0/24
#    node-a (.1)              node-b (.2)
#              \              /        public segment; 198.51.100.5 floats
#          c1 -- nat1         nat2 -- c2
. "$(dirname "$0")/lib.sh"
isolate 110 "$@"
need python3 redis-server redis-cli
"$TURND" -n -L 127.0.0.1 --redis-userdb=ip=127.0.0.1 --check-config | grep -q 'built without Redis' &&
    skip "turnd was built without Redis"
export PYTHONPATH=$INTEROP
readonly FLOATING=198.51.100.5

# node NAME: a turnd that serves the floating address when it has it.
node() {
    local name=$1
    cat >"$T/$name.conf" - "$INTEROP/common.conf" <<CONF
listening-ip=$FLOATING
relay-ip=$FLOATING
free-bind
lt-cred-mech
mobility
user=alice:secret
user=bob:hidden
no-tls
no-dtls
redis-statedb=redis://192.0.2.9:6379
fleet-key=a key for the tests of taking over
node-id=$name
adopt-from=$([ "$name" = a ] && echo b || echo a)
api-socket=$T/$name.sock
log-file=stdout
verbose
CONF
    start "$name" in_ns "node-$name" "$TURND" -c "$T/$name.conf"
    wait_for 10 "$name to be ready" grep -q 'is ready' "$T/$name.log"
}

# float FROM TO: moves the address, and tells the segment (as keepalived does).
float() {
    [ -z "$1" ] || in_ns "node-$1" ip addr del "$FLOATING/24" dev wan 2>/dev/null || true
    in_ns "node-$2" ip addr add "$FLOATING/24" dev wan
    # A gratuitous ARP would tell them; this kernel tool may be missing, so the neighbours forget instead.
    for ns in nat1 nat2 "node-$2"; do in_ns "$ns" ip neigh flush all 2>/dev/null || true; done
}

step "two nodes, Redis and two NATs"
new_ns net
in_ns net ip link add segment type bridge || skip "no bridge devices in this kernel"
in_ns net ip link set segment up
new_ns back redis
in_ns back ip link add segment type bridge
in_ns back ip link set segment up
plug_back() {
    veth "$1" back back "to-$1"
    in_ns back ip link set "to-$1" master segment up
    address "$1" back "$2/24"
}
plug_back redis 192.0.2.9
for n in 1 2; do
    name=$([ $n = 1 ] && echo a || echo b)
    new_ns "node-$name"
    plug "node-$name" "198.51.100.1$n/24"
    plug_back "node-$name" "192.0.2.$n"
done
start redis in_ns redis redis-server --bind 192.0.2.9 --protected-mode no --save '' --appendonly no --dir "$T"
wait_for 10 "Redis" in_ns redis redis-cli -h 192.0.2.9 ping
float "" a
node a
node b
lab_nat 1 cone
lab_nat 2 symmetric
ok

# The clients, in their own words: each sends a numbered packet every 20 ms, and says in the end which of the other's it missed.
cat >"$T/talker.py" <<'PY'
import json, pathlib, struct, sys, time
from turnclient import *
me, other, user, password, mode, room = sys.argv[1:7]
room = pathlib.Path(room)
c = Client(("198.51.100.5", 3478), user, password)
relay, mapped = c.allocate()
(room / f"{me}.tmp").write_text(json.dumps(relay))
(room / f"{me}.tmp").rename(room / f"{me}.relay")
until = time.monotonic() + 20
while not (room / f"{other}.relay").exists():
    assert time.monotonic() < until, "the other one did not come"
    time.sleep(0.05)
peer = tuple(json.loads((room / f"{other}.relay").read_text()))
if mode == "channel":
    c.bind_channel(0x4000, peer)
else:
    c.permit(peer)
(room / f"{me}.ready").touch()
while not (room / f"{other}.ready").exists():
    time.sleep(0.05)
got, sent = set(), 0


def take(seconds):
    c.receive(seconds)
    for source, data, _ in c.inbox:
        assert source == peer, source
        got.add(struct.unpack_from("!I", data)[0])
    if c.inbox:
        (room / f"{me}.new").write_text(str(len(got)))
        (room / f"{me}.new").rename(room / f"{me}.got")
    c.inbox.clear()


next_at = time.monotonic()
while not (room / "stop").exists() and sent < 4000:
    now = time.monotonic()
    if now >= next_at:
        data = struct.pack("!Id", sent, now) + bytes(100)
        c.send(peer, data)
        sent += 1
        next_at += 0.02
    take(max(0, next_at - time.monotonic()))
(room / f"{me}.sent").write_text(str(sent))
while not (room / f"{other}.sent").exists():
    time.sleep(0.05)
end = time.monotonic() + 0.5
while time.monotonic() < end:
    take(0.1)
theirs = int((room / f"{other}.sent").read_text())
missing = [n for n in range(theirs) if n not in got]
runs = 0 if not missing else 1 + sum(b != a + 1 for a, b in zip(missing, missing[1:]))
left = struct.unpack("!I", c.request(REFRESH, attr(LIFETIME, struct.pack("!I", 600))).attrs[LIFETIME])[0]
c.release()
print(json.dumps({"got": len(got), "of": theirs, "missing": len(missing), "gaps": runs, "refreshed": left}))
PY

# talk ROOM: both begin. begun ROOM N: both have got N packets.
talk() {
    mkdir "$1"
    start c1 in_ns c1 timeout 90 python3 "$T/talker.py" a b alice secret channel "$1"
    start c2 in_ns c2 timeout 90 python3 "$T/talker.py" b a bob hidden send "$1"
}
begun() { [ "$(cat "$1/a.got" 2>/dev/null || echo 0)" -ge "$2" ] && [ "$(cat "$1/b.got" 2>/dev/null || echo 0)" -ge "$2" ]; }
# finish ROOM MOST: they stop; each missed one run of packets (that of the gap) of at most so many.
finish() {
    local n
    touch "$1/stop"
    for n in c1 c2; do
        wait "${PID[$n]}" || fail "$n: $(tail -n 1 "$T/$n.log")"
        python3 - "$2" "$(tail -n 1 "$T/$n.log")" <<'PY' || fail "$n: $(tail -n 1 "$T/$n.log")"
import json, sys
r = json.loads(sys.argv[2])
assert r["missing"] <= int(sys.argv[1]) and r["gaps"] <= 2 and r["refreshed"] == 600, r
PY
        RESULT+=" $(tail -n 1 "$T/$n.log")"
    done
}

step "node a is killed, node b gets the address"
RESULT=
talk "$T/room1"
wait_for 20 "the clients to talk" begun "$T/room1" 100
kill -KILL "${PID[a]}"
wait "${PID[a]}" 2>/dev/null || true
float a b
wait_for 5 "node b to adopt" grep -q 'took over 2 allocations' "$T/b.log"
before=$(cat "$T/room1/a.got")
wait_for 10 "packets over node b" begun "$T/room1" $((before + 100))
finish "$T/room1" 250
ok "$RESULT"

step "node a comes back, and the address with it while b lives"
node a
RESULT=
talk "$T/room2"
wait_for 20 "the clients to talk" begun "$T/room2" 100
float b a
wait_for 5 "node a to adopt" grep -q 'took over 2 allocations' "$T/a.log"
before=$(cat "$T/room2/a.got")
wait_for 10 "packets over node a" begun "$T/room2" $((before + 100))
finish "$T/room2" 250
# It sees so when it writes next, which is within 10 s.
wait_for 15 "node b to give up what it has not any more" sh -c "
    ip netns exec node-b '$PINHOLE_BUILD/bin/turnctl' -s '$T/b.sock' --json sessions |
        python3 -c 'import json, sys; sys.exit(len(json.load(sys.stdin)[\"sessions\"]) != 0)'"
ok "$RESULT"

step "both end cleanly"
stop_cleanly a
stop_cleanly b
ok
