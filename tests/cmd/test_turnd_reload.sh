#!/bin/bash
# turnd reloading: under load without losing a packet, users and certificates anew, mistakes that change nothing.
#
# RELOAD_ALLOCATIONS, RELOAD_RATE and RELOAD_SECONDS make the load larger (5000, 5 and 20 for the figures in the notes).
. "$(dirname "$0")/../interop/lib.sh"
isolate 200 "$@"
need python3 openssl

: "${RELOAD_ALLOCATIONS:=200}" "${RELOAD_RATE:=20}" "${RELOAD_SECONDS:=5}"
TURNLOAD=$PINHOLE_BUILD/bin/turnload
CONF=$T/t.conf
export PYTHONPATH=$INTEROP
PORT=13478 HTTP=19641

# certificate NAME: a new one and its key, in the place of the last.
certificate() {
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=$1" -addext "subjectAltName=DNS:$1" \
        -keyout "$T/key.new" -out "$T/cert.new" 2>/dev/null
    mv "$T/key.new" "$T/key.pem"
    mv "$T/cert.new" "$T/cert.pem"
}

# conf LINE...: the configuration that all steps begin with, and these lines.
conf() {
    cat >"$CONF" <<CONF
listening-ip=127.0.0.1
listening-port=$PORT
tls-listening-port=$((PORT + 1))
realm=example.org
user=alice:secret
users-file=$T/users
allow-loopback-peers
cert=$T/cert.pem
pkey=$T/key.pem
log-file=stdout
api-socket=none
http-listen=127.0.0.1:$HTTP
# The load comes from one address.
unauthorized-ratelimit=no
CONF
    printf '%s\n' "$@" >>"$CONF"
}

# reloads: how many good ones there have been. reload: ask for one and wait for it.
reloads() { grep -c 'reload: taken' "$T/turnd.log" || true; }
reload() {
    local before
    before=$(grep -cE 'reload: (taken|nothing)' "$T/turnd.log" || true)
    kill -HUP "${PID[turnd]}"
    wait_for 20 "the reload" sh -c "[ \$(grep -cE 'reload: (taken|nothing)' '$T/turnd.log') -gt $before ]"
}
says() { tail -n 6 "$T/turnd.log" | grep -qF -- "$1" || fail "the log does not say: $1"; }

# works USER PASSWORD: can this user allocate?
works() {
    python3 - "$@" "$PORT" <<'PY'
import sys
from turnclient import Client, TurnError
user, password, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
try:
    c = Client(("127.0.0.1", port), user, password)
    c.allocate()
    c.release()
except TurnError as e:
    sys.exit(f"{user}: {e}")
PY
}

step "turnd starts"
certificate one.example
echo 'bob:builder' >"$T/users"
conf
start turnd "$TURND" -c "$CONF"
wait_for 10 "turnd to be ready" grep -q 'is ready' "$T/turnd.log"
works alice secret && works bob builder || fail "a user cannot allocate"
grep -q 'certificate for one.example' "$T/turnd.log" || fail "no word about the certificate"
ok

step "our own HTTP is no peer, whatever the policy says"
python3 - $PORT $HTTP <<'PY' || fail "it is"
import sys
from turnclient import Client, TurnError
port, http = int(sys.argv[1]), int(sys.argv[2])
c = Client(("127.0.0.1", port), "alice", "secret")
c.allocate()
c.bind_channel(0x4001, ("127.0.0.1", http + 1))
try:
    c.bind_channel(0x4002, ("127.0.0.1", http))
    sys.exit("a channel to it was bound")
except TurnError as e:
    if e.code != 403:
        raise
c.release()
PY
ok

step "reloads and certificates under load lose nothing"
load() { # NAME TRANSPORT PORT ALLOCATIONS
    "$TURNLOAD" --json -q --transport "$2" -n "$4" -r "$RELOAD_RATE" -t "$RELOAD_SECONDS" --max-loss 0 \
        -u alice -w secret "127.0.0.1:$3" >"$T/$1.json" 2>"$T/$1.err" &
    PID[$1]=$!
}
load udp udp $PORT "$RELOAD_ALLOCATIONS"
load tcp tcp $PORT 10
load tls tls $((PORT + 1)) 10
load dtls dtls $((PORT + 1)) 10
sleep 1
n=0
while kill -0 "${PID[udp]}" 2>/dev/null && [ $n -lt 40 ]; do
    n=$((n + 1))
    # Something else each time: users, quotas, peers, bounds.
    conf "user=user$n:x" "user-quota=$((100000 + n))" "denied-peer-ip=203.0.113.$n" \
        "max-bps=$((10000000 + n))" "static-auth-secret=s$n" "realm-user=r$((n % 3)) a:b"
    [ $((n % 3)) -ne 0 ] || certificate "load$n.example"
    kill -HUP "${PID[turnd]}"
    [ $((n % 2)) -ne 0 ] || kill -USR2 "${PID[turnd]}"
    sleep 0.3
done
for name in udp tcp tls dtls; do
    wait "${PID[$name]}" || { cat "$T/$name.json" "$T/$name.err"; fail "the $name load lost something"; }
done
[ "$(reloads)" -ge 5 ] || fail "only $(reloads) reloads while there was load"
! grep -q 'reload: nothing has changed' "$T/turnd.log" || fail "a reload has failed"
sent() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["packets"]["sent"])' "$T/$1.json"; }
ok "$(reloads) reloads, $RELOAD_ALLOCATIONS allocations, $(sent udp) packets"

step "what has changed is told, and what needs a restart"
conf
reload
conf user-quota=7 mobility
reload
says 'reload: taken: user-quota; users-file was read; certificates were loaded; needs a restart: mobility'
conf
reload
says 'reload: taken: user-quota;'
! tail -n 1 "$T/turnd.log" | grep -q restart || fail "mobility is as it was"
ok

step "certificates that are gone from the file stay until a restart"
conf
sed -i '/^cert=/d; /^pkey=/d' "$CONF"
reload
says 'reload: taken: cert, pkey; users-file was read; the old certificates stay until a restart'
openssl s_client -connect 127.0.0.1:$((PORT + 1)) </dev/null 2>/dev/null | grep -q 'BEGIN CERTIFICATE' ||
    fail "TLS is gone"
conf
reload
ok

step "users come and go with their file"
echo 'carol:singer user-quota=1' >"$T/users"
works bob builder || fail "bob is gone before the reload"
reload
works carol singer || fail "carol is not there"
! works bob builder 2>/dev/null || fail "bob is still there"
works alice secret || fail "alice is gone"
ok

step "mistakes change nothing"
conf user=dora:x denied-peer-ip=nonsense
reload
says "reload: nothing has changed: $CONF:16: denied-peer-ip: \"nonsense\" is no address"
! works dora x 2>/dev/null || fail "half of a bad file was taken"
conf user=dora:x
echo 'broken' >"$T/users"
reload
says "reload: nothing has changed: $T/users:1: the \":\" is missing"
works carol singer || fail "carol is gone"
echo 'carol:singer' >"$T/users"
conf listening-port=x
reload
says "listening-port: \"x\" is not a number"
mv "$CONF" "$CONF.away"
reload
says "$CONF: cannot be read: No such file or directory"
conf
reload
says 'reload: taken:'
ok

step "a new certificate is for new connections, the old ones go on"
certificate roll-a.example
kill -USR2 "${PID[turnd]}"
wait_for 5 "the certificates" sh -c "tail -n 2 '$T/turnd.log' | grep -q 'certificates: loaded anew'"
shown() { # the name in the certificate that a new connection gets
    openssl s_client -connect 127.0.0.1:$((PORT + 1)) "$@" </dev/null 2>/dev/null |
        openssl x509 -noout -subject | sed 's/.*CN = //'
}
[ "$(shown)" = roll-a.example ] || fail "it shows $(shown)"
python3 - $((PORT + 1)) "$T" <<'PY' >"$T/session.out" 2>&1 &
import os, sys, time
from turnclient import Client
port, folder = int(sys.argv[1]), sys.argv[2]
c = Client(("127.0.0.1", port), "alice", "secret", transport="tls")
before = c.sock.getpeercert(True)
c.allocate()
print("ready", flush=True)
end = time.monotonic() + 20
while not os.path.exists(f"{folder}/rolled") and time.monotonic() < end:
    time.sleep(0.05)
c.permit(("127.0.0.1", 5000))
new = Client(("127.0.0.1", port), "alice", "secret", transport="tls")
assert before != new.sock.getpeercert(True), "the new connection has the old certificate"
c.release()
print("done", flush=True)
PY
PID[session]=$!
wait_for 10 "the session" grep -q ready "$T/session.out"
certificate roll-b.example
kill -USR2 "${PID[turnd]}"
wait_for 5 "the new certificate" sh -c "openssl s_client -connect 127.0.0.1:$((PORT + 1)) </dev/null 2>/dev/null | grep -q roll-b.example"
[ "$(shown -dtls1_2)" = roll-b.example ] || fail "DTLS shows $(shown -dtls1_2)"
touch "$T/rolled"
wait "${PID[session]}" || { cat "$T/session.out"; fail "the old session did not go on"; }
ok

step "a certificate that cannot be used changes nothing"
echo broken >"$T/cert.pem"
kill -USR2 "${PID[turnd]}"
wait_for 5 "the complaint" grep -q 'certificates: the old ones stay: .*t.conf:.*cert: ' "$T/turnd.log"
[ "$(shown)" = roll-b.example ] || fail "it shows $(shown)"
reload
says 'reload: nothing has changed:'
certificate last.example
reload
[ "$(shown)" = last.example ] || fail "it shows $(shown)"
ok

step "the log level follows"
conf log-level=error
reload_at=$(wc -l <"$T/turnd.log")
kill -HUP "${PID[turnd]}" # which is the last that is heard of it
sleep 0.3
works alice secret
conf
kill -HUP "${PID[turnd]}"
wait_for 5 "the level to be back" sh -c "tail -n +$((reload_at + 1)) '$T/turnd.log' | grep -c 'reload: taken: log-level' | grep -qx 1"
! tail -n +$((reload_at + 1)) "$T/turnd.log" | grep -q 'allocation made' || fail "allocations were logged"
ok

step "turnd stops cleanly"
stop_cleanly turnd
ok
