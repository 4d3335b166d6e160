#!/bin/bash
# Every attack of attacks.py against turnd as it comes, with the default policy: what it does to a
# server is seen from outside, by a client that shares no code with it.
. "$(dirname "$0")/lib.sh"
isolate 120 "$@"
need python3 openssl

readonly S=198.51.100.1 ME=198.51.100.2 ME_TOO=198.51.100.3

step "server starts"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
    -subj /CN=turn.example.org -keyout "$T/key.pem" -out "$T/cert.pem" 2>/dev/null
wire srv "$S/24 2001:db8:1::1/64" cli "$ME/24 $ME_TOO/24 2001:db8:1::2/64 203.0.113.9/32"
in_ns srv ip route add 203.0.113.0/24 dev to-cli
printf 'carol:secret user-quota=1\n' >"$T/users"
serve turnd srv <<CONF
listening-ip=$S
listening-ip=2001:db8:1::1
min-port=50000
max-port=50199
realm=test
user=alice:secret
user=bob:secret
users-file=$T/users
mobility
cert=$T/cert.pem
pkey=$T/key.pem
http-listen=$S:9641
respond-http-unsupported
CONF
# What the relay must not reach: a socket on the server's own loopback, and on all its addresses.
start victim in_ns srv python3 -c '
import select, socket
v6 = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
v6.bind(("::", 9999))
while True:
    print("REACHED", v6.recvfrom(2048), flush=True)'
ok

rss() { awk '/^VmRSS/ { print $2 }' "/proc/$(cat "$T/turnd.pid")/status"; }

step "attacks"
before=$(rss)
in_ns cli python3 "$INTEROP/attacks.py" "$S" "$ME_TOO" || fail "see above"
ok "VmRSS $before kB before, $(rss) kB after"

step "nothing arrived on the server's loopback"
[ ! -s "$T/victim.log" ] || { cat "$T/victim.log"; fail "it did"; }
ok

step "the log shows hostile names escaped"
! LC_ALL=C grep -q $'[\001-\010\013-\037]' "$T/turnd.log" || fail "control bytes in the log"
grep -q '%s%s%n%x' "$T/turnd.log" || fail "the name is not in the log"
! grep -q 'secret"\|password=' "$T/turnd.log" || fail "a secret is in the log"
ok

step "server stops cleanly"
stop_cleanly turnd
ok
