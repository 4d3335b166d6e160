#!/bin/bash
# turnload against a foreign server (coturn's turnserver, if it is installed) and against turnd (if it is built): loads of
# every kind, the functional checks, and what it says to wrong options.
set -euo pipefail

: "${PINHOLE_BUILD:?}" "${PINHOLE_ROOT:?}"
TURNLOAD=$PINHOLE_BUILD/bin/turnload
T=$(mktemp -d)
PIDS=()
STEP=set-up

[ -x "$TURNLOAD" ] || { echo "SKIP: turnload is not built"; exit 77; }
unset TURNLOAD_PASS TURNLOAD_SECRET

clean_up() {
    local status=$? pid
    for pid in "${PIDS[@]}"; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    [ $status -eq 0 ] || { tail -n 20 "$T"/*.out 2>/dev/null; echo "FAILED at: $STEP"; }
    rm -rf "$T"
}
trap clean_up EXIT

fail() { echo "FAIL: $STEP: $*"; exit 1; }
step() { STEP=$*; }
ok() { echo "ok $STEP"; }

# free_port: a UDP port that nobody has, with its neighbour.
free_port() {
    local port
    for _ in $(seq 100); do
        port=$((20000 + RANDOM % 20000))
        ss -Hlun | grep -q ":$port \|:$((port + 1)) " || { echo "$port"; return; }
    done
    fail "no free port"
}

# serve SERVER OPTIONS...: start a server on a free port of loopback; PORT is where, PORT + 1 with TLS if it has that.
serve() {
    local server=$1
    shift
    PORT=$(free_port)
    "$server" -n -L 127.0.0.1 -L ::1 -p "$PORT" -r example.org --allow-loopback-peers --tls-listening-port=$((PORT + 1)) \
        --no-cli --log-file=stdout --pidfile="$T/$PORT.pid" "$@" >"$T/server-$PORT.out" 2>&1 &
    SERVER=$!
    PIDS+=("$SERVER")
    for _ in $(seq 100); do
        ! ss -Hlun | grep -q "127.0.0.1:$PORT " || return 0
        sleep 0.05
    done
    fail "$server does not listen"
}

# stop_server PROGRAM: ours must end well (under sanitizers: without a leak); coturn's dies of the signal.
stop_server() {
    local status=0
    kill "$SERVER"
    wait "$SERVER" 2>/dev/null || status=$?
    [ $status = 0 ] || [[ $status = 143 && $1 = turnserver ]] || fail "$1 ended with status $status"
}

# run STATUS OPTIONS...: the output goes to $T/run.out, errors to $T/run.err.
run() {
    local want=$1 got=0
    shift
    timeout 60 "$TURNLOAD" "$@" >"$T/run.out" 2>"$T/run.err" || got=$?
    [ "$got" = "$want" ] || { cat "$T/run.err"; fail "exit status $got instead of $want: turnload $*"; }
}

has() { grep -q -- "$1" "$T/run.out" "$T/run.err" || fail "no \"$1\" in the output"; }
has_not() { ! grep -q -- "$1" "$T/run.out" "$T/run.err" || fail "\"$1\" in the output"; }

# number KEY: a number of the JSON report, by its path.
number() {
    python3 -c 'import json, sys
v = json.load(open(sys.argv[1]))
for k in sys.argv[2].split("."): v = v[k]
print(v)' "$T/run.out" "$1"
}

# is KEY VALUE...: what the JSON report says of each.
is() {
    python3 -c 'import json, sys
report = json.load(open(sys.argv[1]))
for key, want in zip(sys.argv[2::2], sys.argv[3::2]):
    v = report
    for k in key.split("."): v = v[k]
    if str(v) != want: sys.exit(f"{key} is {v} instead of {want}")' "$T/run.out" "$@" 2>"$T/is.err" || fail "$(cat "$T/is.err")"
}

# wrong MESSAGE OPTIONS...: status 2 and one line that says it.
wrong() {
    local message=$1
    shift
    run 2 "$@"
    has "$message"
    [ "$(wc -l <"$T/run.err")" = 1 ] || fail "more than a line: $(cat "$T/run.err")"
    [ ! -s "$T/run.out" ] || fail "output besides the error"
}

test_options() {
    step "wrong options"
    wrong "no TARGET"
    wrong "only one TARGET" a b
    wrong "--foo: unknown option" --foo 127.0.0.1
    wrong "-x: unknown option" -x 127.0.0.1
    wrong "--rate: needs a value" 127.0.0.1 --rate
    wrong "--json: takes no value" --json=1 127.0.0.1
    wrong '--rate: "fast" is not a number from 0.001 to 1e+06' --rate fast 127.0.0.1
    wrong '--allocations: "0" is not a whole number from 1 to' -n 0 127.0.0.1
    wrong '--allocations: "1x" is not' -n 1x 127.0.0.1
    wrong '--payload: "23" is not a whole number from 24 to 1900' -l 23 127.0.0.1
    wrong '--duration: "nan" is not' -t nan 127.0.0.1
    wrong '--peer: "192.0.2.1" has no port' --peer 192.0.2.1 127.0.0.1
    wrong '--peer: "x" is not an IP address' --peer x 127.0.0.1
    wrong '--bind: "127.0.0.1:1" has a port' --bind 127.0.0.1:1 127.0.0.1
    wrong '--pairs: needs an even number' --pairs -n 3 127.0.0.1
    wrong '--user: needs --pass' -u alice 127.0.0.1
    wrong '--pass: needs --user' -w secret 127.0.0.1
    wrong '--pass: cannot read' -u alice -w "@$T/none" 127.0.0.1
    wrong '--transport: "sctp" is none of udp, tcp, tls, dtls' --transport sctp 127.0.0.1
    wrong 'not "?transport=udp" or "?transport=tcp"' turn:127.0.0.1?transport=sctp
    wrong 'another transport than --transport' --transport udp turn:127.0.0.1?transport=tcp
    wrong 'another transport than --transport' --transport tcp turns:127.0.0.1
    wrong '--ca: there are no certificates' --ca "$T/x" turn:127.0.0.1?transport=tcp
    wrong '--sources: needs --bind' --sources 2 127.0.0.1
    wrong '--idle: nothing is sent' --idle 2 --pairs 127.0.0.1
    wrong '--burst: "65" is not a whole number from 1 to 64' --burst 65 127.0.0.1
    run 1 --ca "$T/none" turns:127.0.0.1
    has "$T/none: "
    run 1 --server-pid 2147483647 127.0.0.1
    has "there is no process 2147483647"
    wrong 'the port is not a number' turn:127.0.0.1:99999
    wrong 'not HOST' turn:
    run 0 --help
    has "EXIT STATUS"
    run 0 --version
    has "^turnload "
    run 1 -n 1 no-such-host.invalid
    has "no-such-host.invalid: "
    ok
}

test_loads() {
    local user=(-u user -w pass -q -t 0.6)
    for how in "" --indications --pairs "--pairs --indications" -6 --dual "--dual --pairs" "--threads 2" "-l 1900" "-l 24"; do
        step "$1: load ${how:-by channels}"
        # shellcheck disable=SC2086
        run 0 "${user[@]}" -n 6 --json $how "127.0.0.1:$PORT"
        is passed True allocations.ready 6 packets.lost 0 packets.corrupted 0 packets.duplicated 0 packets.strange 0
        [ "$(number packets.sent)" -gt 150 ] || fail "only $(number packets.sent) packets were sent"
        [ "$(number packets.received)" = "$(number delay_ms.count)" ] || fail "delays do not add up"
        ok
    done
    step "$1: load over IPv6"
    run 0 "${user[@]}" -n 2 -6 "turn:[::1]:$PORT"
    has "^passed"
    ok
    step "$1: load on an echo peer elsewhere"
    python3 -c 'import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1], flush=True)
while True:
    data, at = s.recvfrom(2048)
    s.sendto(data, at)' >"$T/echo.port" &
    PIDS+=("$!")
    for _ in $(seq 100); do [ -s "$T/echo.port" ] && break; sleep 0.05; done
    run 0 "${user[@]}" -n 2 --peer "127.0.0.1:$(cat "$T/echo.port")" "127.0.0.1:$PORT"
    has "^passed"
    ok
    step "$1: 300 allocations"
    run 0 "${user[@]}" -n 300 -r 10 --json "127.0.0.1:$PORT"
    is allocations.ready 300
    ok
}

# test_transports NAME: over TCP, TLS and DTLS.  The certificate is for 127.0.0.1.
test_transports() {
    local transport port user=(-u user -w pass -q)
    for transport in tcp tls dtls; do
        port=$PORT
        [ $transport = tcp ] || port=$((PORT + 1))
        for how in "" --indications --pairs "--threads 2" "-l 1001" "--burst 16 -r 800"; do
            step "$1: load over $transport ${how:-by channels}"
            # shellcheck disable=SC2086
            run 0 "${user[@]}" -t 0.6 -n 6 --json $how --transport $transport "127.0.0.1:$port"
            is passed True load.transport $transport allocations.ready 6 packets.lost 0 packets.corrupted 0
            [ "$(number packets.sent)" -gt 150 ] || fail "only $(number packets.sent) packets were sent"
            ok
        done
        step "$1: $transport clients that stay idle, from several addresses"
        run 0 "${user[@]}" --idle 60 --hold 0.5 --bind 127.0.0.2 --sources 3 --server-pid "$SERVER" --json \
            --transport $transport "127.0.0.1:$port"
        is allocations.ready 60 packets.sent 0
        [ "$(number cost.memory)" -gt 1000000 ] || fail "the server's memory is $(number cost.memory)"
        ok
    done
    step "$1: what a packet costs the server"
    run 0 "${user[@]}" -n 4 -r 500 -t 1 --server-pid "$SERVER" --json "turn:127.0.0.1:$PORT?transport=tcp"
    python3 -c 'import json, sys
c = json.load(open(sys.argv[1]))["cost"]
assert 3000 < c["packets"] < 4100, c
assert 0 < c["cpu_us_per_packet"] < 1000, c
assert abs(c["user_us_per_packet"] + c["system_us_per_packet"] - c["cpu_us_per_packet"]) < 0.01, c' "$T/run.out" ||
        fail "cost"
    ok
    step "$1: certificates are verified if asked for"
    run 0 "${user[@]}" -t 0.3 --ca "$T/server.crt" "turns:127.0.0.1:$((PORT + 1))"
    has "over tls, TLSv1"
    run 0 "${user[@]}" -t 0.3 --ca "$T/server.crt" "turns:127.0.0.1:$((PORT + 1))?transport=udp"
    has "over dtls, DTLSv1.2"
    run 1 "${user[@]}" -t 0.3 --ca "$T/other.crt" "turns:127.0.0.1:$((PORT + 1))"
    has "connect: certificate verify failed"
    run 1 "${user[@]}" -t 0.3 --ca "$T/server.crt" -6 "turns:[::1]:$((PORT + 1))"
    has "connect: certificate verify failed"
    ok
    for transport in tcp tls dtls; do
        port=$PORT
        [ $transport = tcp ] || port=$((PORT + 1))
        test_checks_of "$1" "$2" --transport $transport "127.0.0.1:$port"
    done
}

test_failures() {
    step "$1: a wrong password fails every allocation"
    run 1 -u user -w wrong -n 2 -t 1 -q "127.0.0.1:$PORT"
    has "2 x allocate: 401"
    has "^FAILED *allocations failed"
    ok
    step "$1: nobody there is told at once"
    local start=$SECONDS
    run 1 -u user -w pass -t 1 -q "127.0.0.1:$(free_port)"
    has "Connection refused"
    [ $((SECONDS - start)) -le 3 ] || fail "it took $((SECONDS - start)) s"
    ok
    step "$1: a peer that does not echo is loss"
    run 1 -u user -w pass -t 0.5 -q --peer 127.0.0.1:9 "127.0.0.1:$PORT"
    has "more loss than allowed"
    run 0 -u user -w pass -t 0.5 -q --max-loss 100 --peer 127.0.0.1:9 "127.0.0.1:$PORT"
    ok
}

test_interrupt() {
    step "$1: Ctrl-C ends with the report"
    "$TURNLOAD" -u user -w pass -n 2 -t 60 "127.0.0.1:$PORT" >"$T/run.out" 2>"$T/run.err" &
    local pid=$! got=0
    sleep 0.7
    # The password must not be seen by others.
    ! tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q pass || fail "the password shows in the process list"
    kill -INT "$pid"
    wait "$pid" || got=$?
    [ $got = 0 ] || fail "exit status $got"
    has "(stopped)"
    has "^passed"
    ok
}

# test_checks_of NAME KNOWN OPTIONS...: all checks pass, except those of the list; the exit status says so.
test_checks_of() {
    local who=$1 known=$2 name status=0
    shift 2
    [ -z "$known" ] || status=1
    step "$who: checks $*"
    run $status --check -u user -w pass "$@"
    while read -r name; do
        [[ " $known " == *" $name "* ]] || { cat "$T/run.out"; fail "check $name"; }
    done < <(sed -n 's/^FAILED *\([a-z0-9-]*\).*/\1/p' "$T/run.out")
    for name in binding challenge wrong-password allocate permission indication channel no-permission refresh; do
        grep -q "^ok  *$name " "$T/run.out" || { cat "$T/run.out"; fail "check $name is not ok"; }
    done
    sed -n '/^FAILED\|^skipped/p' "$T/run.out"
    ok
}

# test_checks NAME KNOWN
test_checks() {
    local status=0
    [ -z "$2" ] || status=1
    test_checks_of "$1" "$2" "127.0.0.1:$PORT"
    step "$1: checks as JSON"
    run $status --check --json -u user -w pass "127.0.0.1:$PORT"
    [ "$(number ok)" -ge 20 ] || fail "only $(number ok) are ok"
    ok
    step "$1: checks without credentials, and of nobody"
    run 1 --check -u user -w wrong "127.0.0.1:$PORT"
    has "^FAILED *allocate"
    has "^skipped *channel .*no allocation"
    run 0 --check "127.0.0.1:$PORT"
    has "^skipped *allocate .*needs --user"
    has_not "^FAILED"
    ok
}

test_rest() {
    step "$1: shared secret"
    echo north >"$T/secret"
    run 0 -s north -n 2 -t 0.5 -q "127.0.0.1:$PORT"
    run 0 -s "@$T/secret" -u joe -n 2 -t 0.5 -q "127.0.0.1:$PORT"
    TURNLOAD_SECRET=north run 0 -n 2 -t 0.5 -q "127.0.0.1:$PORT"
    run 1 -s south -n 2 -t 0.5 -q "127.0.0.1:$PORT"
    has "401"
    ok
}

# test_server NAME PROGRAM KNOWN
test_server() {
    serve "$2" --lt-cred-mech -u user:pass --cert="$T/server.crt" --pkey="$T/server.key"
    test_loads "$1"
    test_failures "$1"
    test_interrupt "$1"
    test_checks "$1" "$3"
    test_transports "$1" "$3"
    stop_server "$2"
    serve "$2" --no-tls --no-dtls --use-auth-secret --static-auth-secret=north
    test_rest "$1"
    stop_server "$2"
}

# certificate NAME: a key and a certificate for 127.0.0.1 that vouches for itself.
certificate() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$1" \
        -addext subjectAltName=IP:127.0.0.1 -keyout "$T/$1.key" -out "$T/$1.crt" 2>/dev/null || fail "openssl"
}

test_options
certificate server
certificate other
tested=0
if command -v turnserver >/dev/null; then
    # What coturn 4.6 answers otherwise than RFC 8656 says, or lets through.
    test_server coturn turnserver "forbidden-peers transport release"
    tested=1
fi
if [ -x "$PINHOLE_BUILD/bin/turnd" ]; then
    test_server turnd "$PINHOLE_BUILD/bin/turnd" ""
    tested=1
fi
[ $tested = 1 ] || { echo "SKIP: no server to test against"; exit 77; }
