#!/bin/bash
# Three turnd that share a Redis are a fleet: they know each other, a user's quota holds over all of them, one that drains sends
# newcomers to the least busy, tickets lead to their node, and an operator sees and ends sessions anywhere. When Redis goes away
# all goes on.
. "$(dirname "$0")/../interop/lib.sh"
isolate 120 "$@"
. "$(dirname "$0")/fleet_kit.sh"

step "three nodes find each other"
redis_up
node x
node xx
node xxx
wait_for 10 "x to know them" knows x "xx xxx"
wait_for 10 "xxx to know them" knows xxx "x xx"
ok "$(ctl x nodes | tail -n 3 | tr -s ' \n' ' ')"

step "a user's quota holds over all nodes"
client one "${IP[1]}" alice secret
says one 'up .*'
client two "${IP[2]}" alice secret
says two 'up .*'
sleep 1
client three "${IP[3]}" alice secret
says three 486
client other "${IP[3]}" bob hidden
says other 'up .*'
leave one
sleep 1
client three "${IP[3]}" alice secret
says three 'up .*'
ok

step "a user's bandwidth holds over all nodes"
python3 - "$PORT" "${IP[1]}" "${IP[2]}" >"$T/out" <<'PY' || fail "$(cat "$T/out")"
import socket, sys, time
from turnclient import *
BOUND, WARM, SECONDS = 100000, 3, 4  # user-max-bps; until the nodes know of each other; to be measured
nodes = []
for ip in sys.argv[2:]:
    peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.bind(("127.0.0.1", 0))
    peer.setblocking(False)
    c = Client((ip, int(sys.argv[1])), "carol", "other")
    c.allocate()
    c.permit(peer.getsockname())
    nodes.append((c, peer))
passed, start = [0, 0], time.monotonic()
while (t := time.monotonic() - start) < WARM + SECONDS:
    for i, (c, peer) in enumerate(nodes):
        for _ in range(3):  # 150 kB/s
            c.send(peer.getsockname(), bytes(1000))
        try:
            while True:
                passed[i] += len(peer.recv(2000)) * (t >= WARM)
        except BlockingIOError:
            pass
    time.sleep(0.02)
for c, _ in nodes:
    c.release()
passed = [n // SECONDS for n in passed]
print(*passed, "bytes a second")
assert sum(passed) < 1.4 * BOUND, "more than one node's"
assert min(passed) > 0.25 * BOUND, "one of them got little"
PY
ok "$(cat "$T/out")"

step "sessions of all nodes are listed, and ended from any of them"
sleep 1 # for what is written behind
ctl xx --all --json sessions >"$T/all.json"
python3 - "$T/all.json" <<'PY' || fail "$(cat "$T/all.json")"
import json, sys
s = json.load(open(sys.argv[1]))["sessions"]
assert sorted((x["node"], x["user"]) for x in s) == [("xx", "alice"), ("xxx", "alice"), ("xxx", "bob")], s
PY
bobs=$(python3 -c 'import json, sys
print(next(x["node"] + "/" + str(x["session"]) for x in json.load(open(sys.argv[1]))["sessions"] if x["user"] == "bob"))' "$T/all.json")
ctl x end "$bobs" >"$T/end.txt" || fail "$(cat "$T/end.txt")"
wait_for 5 "the session to end" grep -q "an operator ended session ${bobs#*/}" "$T/xxx.log"
ctl x --all revoke alice >"$T/end.txt" || fail "$(cat "$T/end.txt")"
wait_for 5 "no session to be left" sh -c "
    '$TURNCTL' -s '$T/x.sock' --all --json sessions | python3 -c 'import json, sys; sys.exit(len(json.load(sys.stdin)[\"sessions\"]) != 0)'"
for c in two three other; do leave $c; done
ok

step "who comes with a ticket of another node is sent there"
client one "${IP[1]}" carol other
ticket=$(cut -d' ' -f2 "$T/one.out")
python3 - "${IP[2]}" "$PORT" "$ticket" "${IP[1]}" <<'PY' || fail "the ticket"
import sys
from turnclient import *
c = Client((sys.argv[1], int(sys.argv[2])), "carol", "other")
try:
    c.request(REFRESH, attr(TICKET, sys.argv[3].encode()))
except TurnError as e:
    assert e.code == 300, e
else:
    raise SystemExit("it was taken")
c = Client((sys.argv[4], int(sys.argv[2])), "carol", "other")
c.request(REFRESH, attr(TICKET, sys.argv[3].encode()))
PY
leave one
ok

step "a node that drains sends newcomers to the least busy one"
client busy "${IP[2]}" bob hidden # 1 of 1000 ports there, none at the third
client stays "${IP[1]}" alice secret # or it would end at once
sleep 1.5
ctl x drain >/dev/null
wait_for 5 "the others to hear of it" sh -c "'$TURNCTL' -s '$T/xx.sock' nodes | grep -q draining"
python3 - "${IP[1]}" "$PORT" "${IP[2]}" "${IP[3]}" <<'PY' || fail "the redirection"
import sys
from turnclient import *
c = Client((sys.argv[1], int(sys.argv[2])), "carol", "other")
a = c.transact(c.server, ALLOCATE, attr(REQUESTED_TRANSPORT, bytes((17, 0, 0, 0))), None)
c.realm, c.nonce = a.attrs[REALM], a.attrs[NONCE]
c.key = hashlib.md5(b"carol:" + c.realm + b":other").digest()
auth = attr(USERNAME, b"carol") + attr(REALM, c.realm) + attr(NONCE, c.nonce)
a = c.transact(c.server, ALLOCATE, attr(REQUESTED_TRANSPORT, bytes((17, 0, 0, 0))) + auth, c.key)
assert a.kind == ALLOCATE | ERROR and a.code() == 300, (a.kind, a.attrs)
host = ".".join(str(b) for b in a.attrs[ALTERNATE][4:8])
assert host in sys.argv[3:], host
PY
ctl x undrain >/dev/null
leave busy
leave stays
ok

step "Redis goes away: everybody is served; it comes back, and they find each other again"
client one "${IP[1]}" alice secret
kill "${PID[redis]}"
wait "${PID[redis]}" || true
wait_for 15 "x to count the others as dead" knows x ""
client two "${IP[1]}" alice secret
says two 'up .*'
redis_up
wait_for 20 "x to know them again" knows x "xx xxx"
wait_for 10 "the quota to hold again" refused_at "${IP[2]}"
leave one
leave two
ok

step "the metrics tell of it"
[ "$(met x turnd_fleet_up) $(met x turnd_fleet_nodes)" = "1 2" ] || fail "$(ctl x metrics | grep fleet)"
[ "$(met x turnd_fleet_died_total)" = 2 ] || fail "$(ctl x metrics | grep fleet)"
[ "$(met x turnd_fleet_unsealed_total) $(met x turnd_fleet_replayed_total)" = "0 0" ] || fail "$(ctl x metrics | grep fleet)"
ctl x metrics >"$T/metrics"
for name in $(grep -oE '^    X\([a-z]+' "$PINHOLE_ROOT/turn/fleet.h" | cut -d'(' -f2); do
    grep -q "^turnd_fleet_${name}_total [0-9]" "$T/metrics" || fail "no turnd_fleet_${name}_total"
done
python3 "$PINHOLE_ROOT/tests/cmd/prometheus.py" "$T/metrics" || fail "the text is not as it should be"
ok

step "a node dies, and all end cleanly"
kill -KILL "${PID[xx]}"
wait "${PID[xx]}" 2>/dev/null || true
wait_for 15 "x to miss it" knows x "xxx"
stop_cleanly x
stop_cleanly xxx
ok
