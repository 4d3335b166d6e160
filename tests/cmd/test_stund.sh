#!/usr/bin/env bash
# stund as people run it: foreign clients on loopback, signals, logs, background, privileges, and what it
# says to wrong options.
. "$(dirname "${BASH_SOURCE[0]}")/../interop/lib.sh"

isolate 120 "$@"
need turnutils_stunclient turnutils_natdiscovery python3
[ -x "$STUND" ] || fail "no server to test at $STUND"

ready() { grep -q "is ready" "$T/$1.log"; }

# stund NAME OPTIONS...: start it and wait until it serves.
stund() {
    local name=$1
    shift
    start "$name" "$STUND" "$@"
    wait_for 10 "$name to start" ready "$name"
}

# expect TEXT FILE: some line of the file has the text.
expect() { grep -qF -- "$1" "$2" || fail "no \"$1\" in $2: $(tail -n 20 "$2")"; }

# ---- foreign clients ----

step "plain server: IPv4 and IPv6 by default"
stund plain -p 3478
turnutils_stunclient 127.0.0.1 >"$T/out" 2>&1
expect "UDP reflexive addr: 127.0.0.1:" "$T/out"
turnutils_stunclient ::1 >"$T/out" 2>&1
expect "UDP reflexive addr: ::1:" "$T/out"
stop_cleanly plain
ok

step "a plain server refuses CHANGE-REQUEST"
stund single -L 127.0.0.1
python3 - <<'PY' || fail "no 420"
import socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(5)
s.sendto(struct.pack(">HHI12sHHI", 1, 8, 0x2112A442, b"0123456789ab", 3, 4, 6), ("127.0.0.1", 3478))
answer = s.recv(100)
assert answer[:2] == b"\x01\x11", answer
assert answer[20:28] == b"\x00\x09\x00\x04\x00\x00\x04\x14", answer
assert answer[28:34] == b"\x00\x0a\x00\x02\x00\x03", answer
PY
stop_cleanly single
ok

step "RFC 5780 on two addresses, two workers"
stund two -L 127.0.0.1 -L 127.0.0.2 --workers 2 --log-level debug
expect "RFC 5780 is on for IPv4" "$T/two.log"
timeout 20 turnutils_stunclient -f 127.0.0.1 >"$T/out" 2>&1
expect "Response origin: : 127.0.0.1:3478" "$T/out"
expect "Other addr: : 127.0.0.2:3479" "$T/out"
expect "Response origin: : 127.0.0.2:3479" "$T/out"
timeout 20 turnutils_natdiscovery -m -f 127.0.0.1 >"$T/out" 2>&1
expect "NAT with Endpoint Independent Mapping!" "$T/out"
expect "NAT with Endpoint Independent Filtering!" "$T/out"
ok

step "SIGUSR1 writes the counters, SIGTERM ends with 0"
kill -USR1 "${PID[two]}"
wait_for 5 "the counters" grep -q "counters: requests=[1-9]" "$T/two.log"
stop_cleanly two
ok

step "RFC 5780 can be turned off"
stund off -L 127.0.0.1 -L 127.0.0.2 --no-rfc5780
turnutils_stunclient 127.0.0.2 >"$T/out" 2>&1
expect "UDP reflexive addr: 127.0.0." "$T/out"
! grep -q "Other addr" "$T/out" || fail "OTHER-ADDRESS without RFC 5780"
stop_cleanly off
ok

step "behind a 1:1 NAT clients are told the public addresses"
stund nat -L 127.0.0.1 -L 127.0.0.2 --port 4000 --alt-port 5000 \
    --external-ip 203.0.113.1/127.0.0.1 --external-ip 203.0.113.2/127.0.0.2
turnutils_stunclient -p 4000 127.0.0.1 >"$T/out" 2>&1
expect "Response origin: : 203.0.113.1:4000" "$T/out"
expect "Other addr: : 203.0.113.2:5000" "$T/out"
stop_cleanly nat
ok

# ---- logs ----

step "JSON lines, a log file, and opening it anew"
start json "$STUND" -L 127.0.0.1 --log-format json --log-file "$T/stund.json"
wait_for 5 "the log" grep -q "is ready" "$T/stund.json"
mv "$T/stund.json" "$T/stund.json.1"
kill -HUP "${PID[json]}"
wait_for 5 "a new log" test -e "$T/stund.json"
stop_cleanly json
python3 - "$T/stund.json.1" "$T/stund.json" <<'PY' || fail "not JSON"
import json, sys
lines = [json.loads(line) for name in sys.argv[1:] for line in open(name)]
assert any("is ready" in line["message"] for line in lines)
assert all({"time", "level", "program", "message"} == set(line) for line in lines)
assert lines[-1]["message"].startswith("counters:"), lines[-1]
PY
ok

step "tells systemd"
python3 - "$T/notify" >"$T/notified" <<'PY' &
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
s.settimeout(10)
for _ in range(2):
    print(s.recv(1000).decode(), flush=True)
PY
listener=$!
wait_for 5 "the socket" test -S "$T/notify"
NOTIFY_SOCKET=$T/notify start notify "$STUND" -L 127.0.0.1
wait_for 5 "READY=1" grep -q "READY=1" "$T/notified"
expect "MAINPID=${PID[notify]}" "$T/notified"
stop_cleanly notify
wait "$listener"
expect "STOPPING=1" "$T/notified"
ok

# ---- processes ----

step "in the background, with a pidfile and as another user"
user=()
[ "$(id -u)" != 0 ] || ! getent passwd nobody >/dev/null || user=(--proc-user nobody)
# In a user namespace there may be nobody else to become.
[ "$(wc -l </proc/self/uid_map)" = 1 ] && grep -q 4294967295 /proc/self/uid_map || user=()
"$STUND" -L 127.0.0.1 --daemon --pidfile "$T/stund.pid" --log-file "$T/daemon.log" "${user[@]}"
pid=$(cat "$T/stund.pid")
expect "is ready" "$T/daemon.log" # the command has returned: it must be serving already
[ ${#user[@]} = 0 ] || [ "$(stat -c %U "/proc/$pid")" = nobody ] || fail "it is not nobody's"
turnutils_stunclient 127.0.0.1 >"$T/out" 2>&1
expect "UDP reflexive addr: 127.0.0.1:" "$T/out"
status=0
"$STUND" -L 127.0.0.2 --pidfile "$T/stund.pid" >"$T/out" 2>&1 || status=$?
[ $status = 1 ] || fail "status $status with a pidfile in use"
expect "belongs to process $pid, which is running" "$T/out"
kill "$pid"
wait_for 5 "its end" test ! -e "/proc/$pid"
[ ! -s "$T/stund.pid" ] || fail "the pidfile stays behind"
ok

step "a port in use is an error, in the background too"
stund first -L 127.0.0.1
for how in "" --daemon; do
    status=0
    "$STUND" -L 127.0.0.1 $how --log-file stderr >"$T/out" 2>&1 || status=$?
    [ $status = 1 ] || fail "status $status"
    expect "cannot listen on udp:127.0.0.1:3478: Address already in use" "$T/out"
done
stop_cleanly first
ok

# ---- wrong options: status 2 and one line that names the option and what would be right ----

# wrong TEXT OPTIONS...
wrong() {
    local text=$1 status=0
    shift
    timeout 5 "$STUND" "$@" >"$T/out" 2>&1 || status=$?
    [ $status = 2 ] || fail "status $status, not 2, for: $*: $(cat "$T/out")"
    [ "$(wc -l <"$T/out")" = 1 ] || fail "not one line for: $*: $(cat "$T/out")"
    expect "$text" "$T/out"
}

step "wrong options"
wrong '--prot: unknown option: did you mean --port?' --prot=1
wrong 'port: "http" is not a number: give a whole number from 0 to 65535' --port http
wrong 'port: "65536" is out of range' -p 65536
wrong '--port: needs a value' --port
wrong 'listening-ip: "localhost" is not an address: give a numeric one' -L localhost
wrong 'listening-ip: "127.0.0.1:80" is not an address' -L 127.0.0.1:80
wrong 'listening-ip: "::1" is given twice' -L ::1 -L ::1
wrong 'rfc5780: needs two addresses: give --listening-ip twice' --rfc5780
wrong 'rfc5780: needs two addresses' -L 127.0.0.1 -L ::1 --rfc5780
wrong 'listening-ip: RFC 5780 takes two addresses of a family' -L 127.0.0.1 -L 127.0.0.2 -L 127.0.0.3
wrong 'listening-ip: RFC 5780 needs two addresses, not a wildcard' -L 0.0.0.0 -L 127.0.0.2
wrong 'alt-port: RFC 5780 needs a second port' -L 127.0.0.1 -L 127.0.0.2 --alt-port 3478
wrong 'alt-port: RFC 5780 needs a second port' -L 127.0.0.1 -L 127.0.0.2 -p 65535
wrong 'port: 0 leaves the choice to the system' -L 127.0.0.1 -L 127.0.0.2 -p 0
wrong 'external-ip: "203.0.113.1" does not say for which listening-ip' \
    -L 127.0.0.1 -L 127.0.0.2 -X 203.0.113.1
wrong 'external-ip: "203.0.113.1/127.0.0.9" has a private address that is no listening-ip' \
    -L 127.0.0.1 -X 203.0.113.1/127.0.0.9
wrong 'external-ip: "203.0.113.1/::1" is not PUBLIC or PUBLIC/PRIVATE' -L ::1 -X 203.0.113.1/::1
wrong 'log-format: "xml" is not known: give one of text|json' --log-format xml
wrong 'log-level: "loud" is not known: give one of error|warning|info|debug' --log-level loud
wrong 'log-file: cannot open /nowhere/stund.log: No such file or directory' \
    --log-file /nowhere/stund.log
wrong 'syslog-facility: "mars" is no facility' --log-file syslog --syslog-facility mars
wrong 'proc-user: there is no user "martian"' --proc-user martian
wrong 'proc-group: there is no group "martian"' --proc-group martian
wrong 'budget-prefix6: "65" is out of range' --budget-prefix6 65
wrong 'belongs to no option' 127.0.0.1
ok

step "--help and --version"
"$STUND" --help >"$T/out" && expect "--listening-ip IP" "$T/out"
"$STUND" --version >"$T/out" && expect "stund (Pinhole)" "$T/out"
ok
