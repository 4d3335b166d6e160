#!/bin/bash
# Two turnd with one address between them: when it moves (as keepalived moves it), its sessions go on at the other node, and
# come back with it.
#
#     clients (c) ---- net ---- a     198.51.100.10 moves between a and b; .11 and .12 are their own
#                       |
#                       +------ b     Redis is on net, 198.51.100.1
. "$(dirname "$0")/../natlab/lib.sh"
isolate 150 "$@"
need python3 redis-server redis-cli
TURNCTL=$PINHOLE_BUILD/bin/turnctl
TURNLOAD=$PINHOLE_BUILD/bin/turnload
[ -x "$TURNCTL" ] || skip "turnctl was left out of this build (no jansson)"
N=20 RATE=20 OUT=$T/out FLOATING=198.51.100.10

ctl() { local n=$1; shift; in_ns "$n" "$TURNCTL" -s "$T/$n.sock" "$@"; }
total() { ctl "$1" --json status | sed -n 's/.*"allocations":{"total":\([0-9]*\).*/\1/p'; }

# node NAME ADDRESS OTHER: start a turnd.
node() {
    cat >"$T/$1.conf" <<CONF
listening-ip=$FLOATING
listening-ip=$2
free-bind
realm=example.org
user=alice:secret
api-socket=$T/$1.sock
unauthorized-ratelimit=no
redis-statedb=redis://198.51.100.1:6379/0
fleet-key=a secret of the fleet
node-id=$1
adopt-from=$3
relay-threads=2
CONF
    start "$1" in_ns "$1" "$TURND" -c "$T/$1.conf"
    wait_for 15 "$1 to serve" ctl "$1" status
}

# move FROM TO: the address goes over, and the neighbours are told.
move() {
    in_ns "$1" ip addr del "$FLOATING/24" dev eth0 2>/dev/null || true
    in_ns "$2" ip addr add "$FLOATING/24" dev eth0
    in_ns c ip neigh flush all
    in_ns peer ip neigh flush all
}

# load SECONDS; loaded LOST: at most so many seconds of packets.
load() {
    in_ns c "$TURNLOAD" -q -n $N -r $RATE -t "$1" -u alice -w secret --max-loss 100 --peer 198.51.100.3:7000 \
        $FLOATING:3478 >"$T/load.out" 2>&1 &
    PID[load]=$!
    wait_for 15 "the sessions" sh -c "grep -c 'allocation made' '$T/$2.log' | grep -qx '$N'"
    sleep 1
}
loaded() {
    wait "${PID[load]}" || { cat "$T/load.out"; fail "the load"; }
    local lost
    lost=$(sed -n 's/^lost *\([0-9]*\) .*/\1/p' "$T/load.out")
    grep -q "^allocations *$N ready, 0 failed, 0 lost" "$T/load.out" || { cat "$T/load.out"; fail "sessions were lost"; }
    awk "BEGIN { exit !($lost <= $1 * $N * $RATE) }" || { cat "$T/load.out"; fail "$lost packets were lost"; }
    LOST=$lost
}

step "a network, Redis, and two nodes"
new_ns net c peer a b
in_ns net ip link add segment type bridge || skip "no bridge devices in this kernel"
address net segment 198.51.100.1/24
for pair in c:198.51.100.2 peer:198.51.100.3 a:198.51.100.11 b:198.51.100.12; do
    veth "${pair%%:*}" eth0 net "to-${pair%%:*}"
    in_ns net ip link set "to-${pair%%:*}" master segment up
    address "${pair%%:*}" eth0 "${pair#*:}/24"
done
start redis in_ns net redis-server --bind 198.51.100.1 --protected-mode no --save '' --appendonly no --dir "$T"
wait_for 10 "Redis" in_ns net redis-cli -h 198.51.100.1 ping
start echo in_ns peer python3 -c '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("198.51.100.3", 7000))
while True:
    data, source = s.recvfrom(2048)
    s.sendto(data, source)'
in_ns a ip addr add "$FLOATING/24" dev eth0
node a 198.51.100.11 b
node b 198.51.100.12 a
ok

step "the address moves while its node lives: sessions go with it"
load 12 a
move a b
wait_for 10 "the adoption" grep -q "took over $N allocations of node a" "$T/b.log"
grep -q "$FLOATING is on this machine now" "$T/b.log" || fail "no word about the address"
# Something changes on each worker of a: else it looks every ten seconds.
in_ns c "$TURNLOAD" -q -n 12 -r 10 -t 0.2 -u alice -w secret --max-loss 100 --peer 198.51.100.3:7000 198.51.100.11:3478 \
    >"$OUT" 2>&1 || { cat "$OUT"; fail "a does not serve at its own address"; }
wait_for 15 "a to let go" sh -c "[ \$(grep -c 'allocation ended.*reason=adopted' '$T/a.log') = $N ]"
[ "$(total a)" = 0 ] && [ "$(total b)" = $N ] || fail "a has $(total a), b has $(total b)"
ctl b status >"$OUT"
grep -q "^adopted  *$N from node a" "$OUT" || { cat "$OUT"; fail "the status"; }
loaded 2
ms=$(sed -n "s/.*took over $N allocations of node a in \([0-9]*\) ms.*/\1/p" "$T/b.log")
ok "took over in $ms ms, $LOST packets of $((N * RATE)) a second lost"

step "and come back with it"
in_ns c "$TURNLOAD" -q -n $N -r $RATE -t 8 -u alice -w secret --max-loss 100 --peer 198.51.100.3:7000 \
    $FLOATING:3478 >"$T/load.out" 2>&1 &
PID[load]=$!
wait_for 15 "the sessions" sh -c "grep -c 'allocation made' '$T/b.log' | grep -qx '$N'"
sleep 1
move b a
wait_for 10 "the adoption" grep -q "took over $N allocations of node b" "$T/a.log"
loaded 2
ok "$LOST packets lost"

step "its node dies: the other one goes on"
: >"$T/a.log"
load 9 a
kill -KILL "${PID[a]}"
wait "${PID[a]}" 2>/dev/null || true
adopted=$(grep -c 'took over' "$T/b.log")
move a b
wait_for 10 "the adoption" sh -c "[ \$(grep -c 'took over $N allocations of node a' '$T/b.log') -gt $((adopted - 1)) ] && [ \"\$(ip netns exec b '$TURNCTL' -s '$T/b.sock' --json status | sed -n 's/.*\"allocations\":{\"total\":\([0-9]*\).*/\1/p')\" = $N ]"
loaded 3
ok "$LOST packets lost"

step "a node that comes back takes only what is its own"
node a 198.51.100.11 b
[ "$(total a)" = 0 ] || fail "it has $(total a)"
in_ns c "$TURNLOAD" -q -n $N -r $RATE -t 6 -u alice -w secret --max-loss 100 --peer 198.51.100.3:7000 \
    $FLOATING:3478 >"$T/load.out" 2>&1 &
PID[load]=$!
wait_for 15 "the sessions" sh -c "[ \"\$(ip netns exec b '$TURNCTL' -s '$T/b.sock' --json status | sed -n 's/.*\"allocations\":{\"total\":\([0-9]*\).*/\1/p')\" = $N ]"
ctl a adopt b >"$OUT" || { cat "$OUT"; fail "the order"; }
grep -q "took over 0 sessions; $N do not fit here" "$OUT" || { cat "$OUT"; fail "what it says"; }
[ "$(total b)" = $N ] || fail "b has lost some"
! ctl a adopt a >"$OUT" 2>&1 || fail "adopts itself"
grep -q "this node itself" "$OUT" || { cat "$OUT"; fail "what it says"; }
! ctl a adopt 'no name' >"$OUT" 2>&1 || fail "adopts nobody"
loaded 0
ok

step "Redis is away when the address comes: taken over when it is back"
in_ns c "$TURNLOAD" -q -n $N -r $RATE -t 14 -u alice -w secret --max-loss 100 --peer 198.51.100.3:7000 \
    $FLOATING:3478 >"$T/load.out" 2>&1 &
PID[load]=$!
wait_for 15 "the sessions" sh -c "[ \"\$(ip netns exec b '$TURNCTL' -s '$T/b.sock' --json status | sed -n 's/.*\"allocations\":{\"total\":\([0-9]*\).*/\1/p')\" = $N ]"
sleep 1
before=$(grep -c "took over $N allocations of node b" "$T/a.log" || true)
kill -STOP "${PID[redis]}"
move b a
sleep 1
kill -CONT "${PID[redis]}"
wait_for 15 "the adoption" sh -c "[ \$(grep -c 'took over $N allocations of node b' '$T/a.log') -gt $before ]"
loaded 8
ok "$LOST packets lost"

step "both stop cleanly"
stop_cleanly a
stop_cleanly b
ok
