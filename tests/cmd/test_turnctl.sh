#!/bin/bash
# turnctl: each command against a real turnd, what it shows of hostile names and hostile servers, its exit status.
. "$(dirname "$0")/../interop/lib.sh"
isolate 90 "$@"
need python3
TURNCTL=$PINHOLE_BUILD/bin/turnctl
[ -x "$TURNCTL" ] || skip "turnctl was left out of this build (no jansson)"
export INTEROP T PYTHONPATH=$PINHOLE_ROOT/tests/cmd
export TURNCTL_SOCKET=$T/api.sock
OUT=$T/out

# ctl STATUS ARGUMENTS...: run turnctl; what it prints goes to $OUT.
ctl() {
    local want=$1 got=0
    shift
    timeout 20 "$TURNCTL" "$@" >"$OUT" 2>&1 || got=$?
    [ $got -eq "$want" ] || { cat "$OUT"; fail "status $got, not $want: turnctl $*"; }
}

# says TEXT...: each must be in the output of the last run. says_not: none may be.
says() {
    local t
    for t; do grep -qF -- "$t" "$OUT" || { cat "$OUT"; fail "does not say: $t"; }; done
}
says_not() {
    local t
    for t; do ! grep -qF -- "$t" "$OUT" || { cat "$OUT"; fail "says: $t"; }; done
}

# up: start turnd.
up() {
    cat >"$T/t.conf" <<CONF
listening-ip=127.0.0.1
listening-port=13478
relay-ip=127.0.0.1
no-tls
no-dtls
realm=example.org
static-auth-secret=hunter2
allow-loopback-peers
relay-threads=2
api-socket=$T/api.sock
api-listen=127.0.0.1:8081
api-token=sesame
CONF
    start turnd "$TURND" -c "$T/t.conf"
    wait_for 10 "turnd to be ready" grep -qE 'is ready|built without HTTP' "$T/turnd.log"
    ! grep -q 'built without HTTP' "$T/turnd.log" || skip "built without libmicrohttpd or jansson"
}

step "version, help and mistakes"
ctl 0 --version
says "turnctl (Pinhole)"
ctl 0 --help
says "SYNOPSIS" "--token-file FILE" "EXIT STATUS"
bad() { # TEXT ARGUMENTS...
    local text=$1
    shift
    ctl 2 "$@"
    says "turnctl: " "$text"
}
bad "which command?"
bad '"frobnicate" is no command' frobnicate
bad "give the number of a session" session
bad "give a user name" revoke
bad "one word too many" status now
bad "unrecognized option" --frobnicate status
bad "filters do not go with it" status --user alice
bad "--deadline does not go with it" stop --deadline 5
bad '"x" is not a whole number' drain --deadline x
bad '"ftp://x" is not http://IP:PORT' --url ftp://x status
bad "is not IP:PORT" --url http://127.0.0.1 status
bad "cannot read $T/none: No such file" --token-file "$T/none" status
ok

step "nobody there"
ctl 3 status
says "cannot reach turnd at $T/api.sock: No such file or directory" "is turnd running"
ctl 3 -s /nowhere/x drain
says "/nowhere/x"
ctl 3 --url http://127.0.0.1:9 status
says "cannot reach turnd at 127.0.0.1:9: Connection refused" "api-listen"
ctl 3 -s "/$(printf 'x%.0s' {1..200})" status
says "File name too long"
ok

step "each command"
up
python3 - >"$T/clients.out" 2>&1 <<'PY' &
from admin_kit import *
server = "127.0.0.1", 13478
clients = [client(server, b"hunter2", n) for n in (b"alice", b"bob", b"bob", b"\x1b]0;evil\x07\xc2\x9b31m\n", "\u202egpj".encode())]
for i, c in enumerate(clients):
    c.allocate()
    c.permit((f"127.0.0.{20 + i}", 7))
    c.bind_channel(0x4001, (f"127.0.0.{20 + i}", 7))
print("up", flush=True)
time.sleep(60)
PY
clients=$!
wait_for 10 "the clients" grep -q up "$T/clients.out"
ctl 0 status
says "state         serving" "allocations   5 (udp 5," "listening     udp 127.0.0.1:13478" "realm         example.org"
ctl 0 sessions
says "SESSION" "alice" "bob" '\x1b]0;evil\x07\u{9b}31m\x0a' '\u{202e}gpj'
[ "$(wc -l <"$OUT")" -eq 6 ] || fail "not one line for each"
LC_ALL=C grep -qP '[^\x20-\x7e]' "$OUT" && fail "bytes that a terminal should not get"
COLUMNS=80 ctl 0 sessions
[ "$(awk '{ print length }' "$OUT" | sort -n | tail -1)" -le 80 ] || { cat "$OUT"; fail "wider than 80"; }
ctl 0 sessions --limit 2
says "and 3 more: --limit 0 shows all"
ctl 0 --json sessions --limit 0 --user bob
python3 - "$OUT" <<'PY' || fail "no good JSON"
import json, sys
text = open(sys.argv[1], "rb").read()
assert text.isascii() and len(json.loads(text)["sessions"]) == 2 and b"\x1b" not in text
PY
ctl 0 sessions --realm x
[ "$(wc -l <"$OUT")" -eq 1 ] || fail "sessions of another realm"
ctl 0 --json sessions --peer 127.0.0.20
id=$(grep -o '"session":"[0-9]*"' "$OUT" | tr -dc 0-9)
ctl 0 session "$id"
says "session       $id" "alice" "peers         127.0.0.20" "transport     udp"
ctl 1 sessions --peer nonsense
says "turnctl: peer: give an IP address"
ctl 1 session 99
says "turnctl: there is no session with this number"
ctl 0 end "$id"
says "ended session $id of user"
ctl 1 end "$id"
ctl 0 revoke bob --realm elsewhere
says "ended 0 sessions"
ctl 0 revoke bob
says "ended 2 sessions"
ctl 0 revoke "$(printf '\033]0;evil\007\302\23331m\n.')" && says "ended 0 sessions"
ctl 0 counters
says "5  turn.allocations"
says_not "turn.quota"
ctl 0 counters --all
says "0  turn.quota"
ctl 0 metrics
says "# TYPE turnd_build_info gauge" 'turnd_active_allocations{transport="udp"} 2'
ctl 0 log-level
says info
ctl 0 log-level debug
says debug
ctl 1 log-level loud
says "level: give error, warning, info or debug"
ctl 0 reload
echo 'max-bps=x' >>"$T/t.conf"
ctl 1 reload
says "max-bps"
ok

step "over TCP, with the token"
echo sesame >"$T/token"
echo wrong >"$T/wrong"
ctl 1 --url http://127.0.0.1:8081 status
says "turnctl: the token is missing or wrong"
ctl 1 --url http://127.0.0.1:8081 --token-file "$T/wrong" status
ctl 0 --url http://localhost:8081/ --token-file "$T/token" status
says "serving"
TURNCTL_TOKEN=sesame ctl 0 --url http://127.0.0.1:8081 status
ok

step "drain, undrain, and waiting for the end"
ctl 0 drain --deadline 600
says "turnd is draining"
ctl 0 status
says "state         draining" "drained by    20"
ctl 0 undrain
says "turnd is serving"
timeout 30 "$TURNCTL" drain --wait >"$T/wait.out" 2>&1 &
waiter=$!
wait_for 10 "the waiting turnctl" grep -q '2 allocations' "$T/wait.out"
ctl 0 undrain
status=0
wait $waiter || status=$?
[ $status -eq 1 ] || fail "status $status when it was called off"
grep -q 'somebody has told the server to go on' "$T/wait.out" || fail "no word of it"
timeout 30 "$TURNCTL" drain --wait >"$T/wait.out" 2>&1 &
waiter=$!
wait_for 10 "the waiting turnctl" grep -q '2 allocations' "$T/wait.out"
for id in $("$TURNCTL" --json sessions | grep -o '"session":"[0-9]*"' | tr -dc '0-9\n'); do ctl 0 end "$id"; done
wait $waiter || fail "drain --wait ends with $?: $(cat "$T/wait.out")"
wait "${PID[turnd]}" || fail "turnd ends with $?"
unset "PID[turnd]"
kill $clients
up
ctl 0 stop --grace 30 --wait
says "turnd is stopping"
wait "${PID[turnd]}" || fail "turnd ends with $?"
unset "PID[turnd]"
ok

step "servers that are not what they should be"
python3 - "$T/fake.sock" >"$T/fake.out" 2>&1 <<'PY' &
import socket, sys
HEAD = b"HTTP/1.1 200 OK\r\n"
evil = b'{"state":"\\u001b[2J\\u009b31m\\u202e","realm":7,"allocations":[],"listeners":{},"certificates":[{"names":"\\u0007"}]}'
answers = [
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"",
    HEAD + b"Content-Length: 100\r\n\r\n{}",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    HEAD + b"Content-Length: 99999999999\r\n\r\n",
    HEAD + b"\r\nnot JSON",
    HEAD + b"\r\n[1]",
    b'HTTP/1.1 500 Oops\r\n\r\n{"error":"\\u001b]0;x\\u0007"}',
    b"HTTP/1.1 500 Oops\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(b"%x\r\n%s\r\n" % (len(evil[i:i + 7]), evil[i:i + 7])
                                                            for i in range(0, len(evil), 7)) + b"0\r\n\r\n",
    HEAD + b"\r\n" + b'{"sessions":[{"session":null,"user":"a\\u001bb","relay":[7,"\\u001b"]},3,{}],"matched":"x"}',
]
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen()
for a in answers:
    c, _ = s.accept()
    c.recv(4096)
    c.sendall(a)
    c.close()
PY
wait_for 10 "the fake server" test -S "$T/fake.sock"
export TURNCTL_SOCKET=$T/fake.sock
for what in "what answers there is not turnd" "Connection reset" "is not turnd" "is not turnd" "is not turnd"; do
    ctl 3 status
    says "$what"
done
ctl 1 status
says "the server answers with status 200"
ctl 1 status
ctl 1 status
says 'turnctl: \x1b]0;x\x07'
ctl 1 status
says "the server answers with status 500"
ctl 0 status
says '\x1b[2J\u{9b}31m\u{202e}' 'realm         -' 'certificate   \x07'
ctl 0 sessions
says 'a\x1bb'
ok
