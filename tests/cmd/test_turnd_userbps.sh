#!/bin/bash
# user-max-bps: what a user's sessions may relay together, whatever workers they are on; and that a reload changes it.
. "$(dirname "$0")/../interop/lib.sh"
isolate 60 "$@"
need python3
export PYTHONPATH=$INTEROP
PORT=13478

conf() {
    cat >"$T/t.conf" <<CONF
listening-ip=127.0.0.1
listening-port=$PORT
realm=example.org
user=alice:secret
user=bob:secret
allow-loopback-peers
log-file=stdout
api-socket=none
unauthorized-ratelimit=no
relay-threads=2
$1
CONF
}
# passed N: of 60 packets of 1000 bytes that each of N sessions of alice and one of bob send at once, how many arrive.
passed() {
    python3 - "$PORT" "$1" <<'PY'
import socket, sys, time
from turnclient import *
at = ("127.0.0.1", int(sys.argv[1]))
peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
peer.bind(("127.0.0.1", 0))
peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
peer.settimeout(0.5)
clients = [Client(at, "alice", "secret") for _ in range(int(sys.argv[2]))] + [Client(at, "bob", "secret")]
owner = {}
for c in clients:
    owner[c.allocate()[0]] = c.user
    c.bind_channel(0x4001, peer.getsockname())
for _ in range(60):
    for c in clients:
        c.send(peer.getsockname(), bytes(1000))
count = {"alice": 0, "bob": 0}
try:
    while True:
        count[owner[peer.recvfrom(2000)[1]]] += 1
except TimeoutError:
    pass
for c in clients:
    c.release()
print(count["alice"], count["bob"])
PY
}
# between LOW HIGH N
between() { [ "$3" -ge "$1" ] && [ "$3" -le "$2" ]; }

step "a user's sessions share his bound, and others have theirs"
conf user-max-bps=20000
start turnd "$TURND" -c "$T/t.conf"
wait_for 10 "turnd to be ready" grep -q 'is ready' "$T/turnd.log"
read -r alice bob <<<"$(passed 8)"
between 20 40 "$alice" || fail "$alice of alice's 480 packets passed, not about 20"
between 20 40 "$bob" || fail "$bob of bob's 60 packets passed, not about 20"
ok "$alice $bob"

step "a reload lifts it"
conf ''
kill -HUP "${PID[turnd]}"
wait_for 5 "the reload" grep -q 'reload: taken' "$T/turnd.log"
read -r alice bob <<<"$(passed 2)"
[ "$alice $bob" = "120 60" ] || fail "$alice and $bob packets passed, not all"
ok

step "turnd stops cleanly"
stop_cleanly turnd
ok
