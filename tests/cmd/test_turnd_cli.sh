#!/bin/bash
# turnd as people start it: --check-config, mistakes and their exit status, secrets, log, signals, background.
. "$(dirname "$0")/../interop/lib.sh"
isolate 120 "$@"
PATH=$PATH:/usr/sbin

OUT=$T/out

# run STATUS ARGUMENTS...: run turnd to its end; its output goes to $OUT.
run() {
    local want=$1 got=0
    shift
    timeout 10 "$TURND" "$@" >"$OUT" 2>&1 || got=$?
    [ $got -eq "$want" ] || { cat "$OUT"; fail "status $got, not $want: turnd $*"; }
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

# conf: a configuration file from stdin.
conf() { cat >"$T/t.conf"; }

# up ARGUMENTS...: start turnd and wait until it is ready.
up() {
    start turnd "$TURND" "$@"
    wait_for 10 "turnd to be ready" grep -q 'is ready' "$T/turnd.log"
}

# down SIGNAL: end it; the status must be 0.
down() {
    local status=0
    kill "-$1" "${PID[turnd]}"
    wait "${PID[turnd]}" || status=$?
    [ $status -eq 0 ] || fail "status $status after SIG$1"
}

step "version and help"
run 0 --version
says "turnd (Pinhole)"
run 0 --help
says "-L, --listening-ip IP" "--check-config" "Peers:"
run 0 -h
ok

step "the file that Debian installs"
conf <<'CONF'
# Coturn TURN SERVER configuration file
#listening-port=3478
syslog
no-rfc5780
no-stun-backward-compatibility
response-origin-only-with-rfc5780
CONF
run 0 --check-config -c "$T/t.conf"
says "honoured    $T/t.conf:3: syslog" "honoured    $T/t.conf:4: no-rfc5780" \
    "ignored     $T/t.conf:6: response-origin-only-with-rfc5780  (always so)" "No errors"
if [ -r /etc/turnserver.conf ]; then
    run 0 --check-config -c /etc/turnserver.conf
fi
ok

step "our sample file, and what is commented out in it"
run 0 --check-config -c "$PINHOLE_ROOT/deploy/config/turnserver.conf"
says "No errors"
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=turn.example.org \
    -keyout "$T/key.pem" -out "$T/cert.pem" 2>/dev/null
echo 'alice:hunter2 user-quota=1' >"$T/users"
echo 'hunter3' >"$T/token"
sed -E 's/^#([a-z0-9-]+(=[^ ]*)?)$/\1/; /^(listening|relay)-ip=/d; /^external-ip=[^/]*$/d; /^proc-user/d' \
    "$PINHOLE_ROOT/deploy/config/turnserver.conf" | sed "s,=/etc/turnd/,=$T/," >"$T/t.conf"
run 0 --check-config -c "$T/t.conf"
says "static-auth-secret=***" "user=example:***" "budget-rate=2048"
says_not "unknown key" "ignored  " "refused  " hunter
ok "$(grep -c '^honoured' "$OUT") keys"

step "a file with every key"
while read -r key; do
    case $key in
    \#*) ;;
    listening-ip | relay-ip) echo "$key=127.0.0.1" ;;
    prometheus-address | web-admin-ip) echo "$key=127.0.0.1" ;;
    external-ip) echo "$key=203.0.113.1" ;;
    aux-server) echo "$key=127.0.0.1:5000" ;;
    allowed-peer-ip | denied-peer-ip) echo "$key=192.0.2.1-192.0.2.9" ;;
    *alternate-server) echo "$key=192.0.2.1:3478" ;;
    user) echo "$key=alice:hunter2" ;;
    use-auth-secret) echo "$key" ;;
    userdb) echo "$key=/var/lib/turn/turndb" ;;
    redis-userdb | redis-statsdb) echo "$key=ip=127.0.0.1 password=hunter2" ;;
    *secret | *password | pkey-pwd | *userdb) echo "$key=hunter2" ;;
    rest-api-separator) echo "$key=:" ;;
    allocation-default-address-family) echo "$key=keep" ;;
    listening-device | relay-device) echo "$key=lo" ;;
    log-min-level) echo "$key=debug" ;;
    syslog-facility) echo "$key=local3" ;;
    proc-user | proc-group) echo "$key=root" ;;
    alt-listening-port | alt-tls-listening-port) echo "$key=50001" ;;
    tcp-proxy-port) echo "$key=50002" ;;
    prometheus-port) echo "$key=50003" ;;
    web-admin-port) echo "$key=50004" ;;
    *-port) echo "$key=50000" ;;
    cert | prometheus-cert) echo "$key=$T/cert.pem" ;;
    pkey | prometheus-key) echo "$key=$T/key.pem" ;;
    CA-file) echo "$key=$T/cert.pem" ;;
    cipher-list) echo "$key=ECDHE+AESGCM" ;;
    ec-curve-name) echo "$key=prime256v1" ;;
    dh-file) ;; # making one takes too long
    prometheus-path) echo "$key=/metrics" ;;
    log-file | new-log-timestamp-format | server-name) echo "$key=x" ;;
    realm | pidfile) echo "$key=x" ;;
    no-auth | no-udp) echo "$key=no" ;;
    no-stun) echo "$key=0" ;;
    relay-threads | cpus) echo "$key=2" ;;
    *quota | *lifetime | *rps | sock-buf-size | stale-nonce) echo "$key=1000" ;;
    *bps | bps-capacity | drain-min-allocations) echo "$key=1000" ;;
    *) echo "$key" ;;
    esac
done <"$PINHOLE_ROOT/tests/vectors/coturn_keys.txt" >"$T/t.conf"
run 2 --check-config -c "$T/t.conf"
says_not hunter2 "unknown key"
keys=$(grep -cvE '^#' "$PINHOLE_ROOT/tests/vectors/coturn_keys.txt")
lines=$(grep -cE "^(honoured|ignored|refused|overridden) +$T/t.conf:[0-9]+: " "$OUT")
[ "$lines" -ge $((keys - 2)) ] || fail "$lines lines for $keys keys" # version, dh-file
says "psql-userdb=***  (no SQL databases here" "user=alice:***" "static-auth-secret=***" \
    "error: $T/t.conf" "mongo-userdb: refused: no MongoDB here" \
    "This cannot work"
! grep -E '^refused' "$OUT" | grep -vE 'sql-userdb|mongo-userdb' ||
    fail "refuses more than it must"
ok "$lines keys"

step "and without those that must be refused it works"
sed -E '/^(psql|sql|mysql|mongo)-userdb|^no-d?tls$|^no-tcp$/d' "$T/t.conf" >"$T/u.conf"
run 0 --check-config -c "$T/u.conf"
says "No errors" "certificate  turn.example.org" "Values in force:" "tcp and tls 127.0.0.1:50000"
says_not hunter2
ok

step "values in force, and a sample that can be read back"
printf 'realm=x.example\nno-rfc5780\nuser=alice:hunter2\n' >"$T/t.conf"
run 0 --check-config -c "$T/t.conf" --max-bps=5
says "realm=x.example" "($T/t.conf:1)" "($T/t.conf:2, as no-rfc5780)" "user=alice:***" \
    "(command line)" "listening-port=3478"
says_not hunter2
run 0 --print-config
says "# ---- Listening ----" "#listening-port=3478" "#new-peer-rate=10/128"
cp "$OUT" "$T/t.conf"
run 0 --check-config -c "$T/t.conf"
says "No errors"
says_not "unknown key" "ignored "
ok

step "mistakes end with status 2 and one line that says it all"
bad() { # LINE MESSAGE
    printf 'listening-ip=127.0.0.1\n%s\n' "$1" >"$T/t.conf"
    run 2 -c "$T/t.conf"
    says "turnd: $T/t.conf:2: $2"
    [ "$(wc -l <"$OUT")" -eq 1 ] || { cat "$OUT"; fail "more than one line for $1"; }
}
bad min-port=x 'min-port: "x" is not a number: give a whole number from 1 to 65535'
bad listening-ip=localhost 'listening-ip: "localhost" is not an address'
bad denied-peer-ip=10.0.0.0/64 'denied-peer-ip: "10.0.0.0/64" is no address, range or network'
bad user=alice 'user: the ":" is missing'
bad proc-user=nobody-of-this-name 'proc-user: '
bad listening-device=nosuch0 'listening-device: there is no device "nosuch0"'
bad syslog-facility=x 'syslog-facility: "x" is no syslog facility'
bad mysql-userdb=host=db 'mysql-userdb: refused: no SQL databases here'
bad cert=/nonexistent/cert.pem 'cert: '
bad users-file=/nonexistent/users 'users-file: cannot read /nonexistent/users: No such file'
bad api-listen=127.0.0.1:80 'api-listen: needs a token: give api-token-file or api-token'
bad max-bps=1k 'max-bps: "1k" is not a number: give a whole number from 0 to'
bad 'realm-user=north' 'realm-user: is incomplete: give REALM NAME:PASSWORD'
bad log-file=/nonexistent/x 'log-file: cannot open /nonexistent/x: No such file'
run 2 -c /nonexistent/turnserver.conf
says "turnd: /nonexistent/turnserver.conf: no such file"
run 2 -n --lisening-ip=127.0.0.1
says "command line: --lisening-ip: unknown option: did you mean --listening-ip?"
run 2 -n stray
says '"stray" belongs to no option'
ok

step "addresses that cannot be bound end with status 1"
printf 'listening-ip=192.0.2.1\n' >"$T/t.conf"
run 1 -c "$T/t.conf"
says "$T/t.conf:1: listening-ip: cannot" "192.0.2.1" "Cannot assign requested address"
run 1 -n -L 127.0.0.1 -E 192.0.2.9
says "command line: --relay-ip: cannot relay from 192.0.2.9: Cannot assign requested address"
ok

step "secrets are gone from the process list and the log"
up -n -L 127.0.0.1 -p 13478 -r example.org -u alice:hunter2 --static-auth-secret=hunter3 \
    --stateless-nonce-secret hunter4 -uhunter5:hunter6
tr '\0' '\n' <"/proc/${PID[turnd]}/cmdline" >"$OUT"
says_not hunter alice
cp "$T/turnd.log" "$OUT"
says "listening on udp 127.0.0.1:13478" "listening on tcp 127.0.0.1:13478" "relaying from 127.0.0.1, ports 49152 to 65535"
says_not hunter
down TERM
cp "$T/turnd.log" "$OUT"
says "stopping" "turnd has stopped"
ok

step "a port in use is an error"
need python3
python3 - <<'PY' &
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 13500))
time.sleep(20)
PY
holder=$!
wait_for 5 "the port to be taken" sh -c "ss -Hnul | grep -q 127.0.0.1:13500"
run 1 -n -L 127.0.0.1 -p 13500
says "command line: --listening-ip: cannot listen on udp 127.0.0.1:13500: Address already in use"
kill $holder
up -n -L 127.0.0.1 -p 13478 -m 2
run 1 -n -L 127.0.0.1 -p 13478 -m 2
says "cannot listen on udp 127.0.0.1:13478: Address already in use"
down TERM
ok

step "readiness is told to systemd"
python3 - "$T/notify" >"$T/notify.out" <<'PY' &
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
s.settimeout(20)
for _ in range(4):
    print(s.recv(4096).decode(), flush=True)
PY
wait_for 5 "the notify socket" test -S "$T/notify"
NOTIFY_SOCKET=$T/notify up -n -L 127.0.0.1 -p 13478
wait_for 5 "READY=1" grep -q READY=1 "$T/notify.out"
kill -HUP "${PID[turnd]}"
wait_for 5 "RELOADING=1" grep -q RELOADING=1 "$T/notify.out"
grep -Eq '^MONOTONIC_USEC=[0-9]+$' "$T/notify.out" || fail "no time of the reload"
wait_for 5 "READY=1 again" sh -c "[ \$(grep -c READY=1 '$T/notify.out') = 2 ]"
down TERM
wait_for 5 "STOPPING=1" grep -q STOPPING=1 "$T/notify.out"
ok

step "log files, JSON and SIGHUP"
up -n -L 127.0.0.1 -p 13478 -l "$T/file.log" --log-format=json --pidfile "$T/pid" --userdb /x
[ "$(cat "$T/pid")" = "${PID[turnd]}" ] || fail "the pidfile is wrong"
grep -q '"level":"info".*listening on udp 127.0.0.1:13478' "$T/file.log" || fail "no JSON in the log"
grep -q '"level":"warning".*--userdb: ignored' "$T/file.log" || fail "no word about userdb"
mv "$T/file.log" "$T/file.log.1"
kill -HUP "${PID[turnd]}"
wait_for 5 "a new log file" grep -q 'open anew' "$T/file.log"
wait_for 5 "the reload" grep -q 'reload: taken: no key has changed' "$T/file.log"
kill -USR2 "${PID[turnd]}"
wait_for 5 "a word about SIGUSR2" grep -q 'certificates: there are no certificates' "$T/file.log"
kill -USR1 "${PID[turnd]}"
wait "${PID[turnd]}" || fail "a drain with nothing to wait for ends with status $?"
grep -q 'counters: requests=0' "$T/file.log" || fail "no counters"
grep -q 'drained: 0 allocations are left' "$T/file.log" || fail "no word about the drain"
[ ! -e "$T/pid" ] || fail "the pidfile is still there"
ok

step "the copy on standard error can be turned off"
start turnd "$TURND" -n -L 127.0.0.1 -p 13478 -l "$T/alone.log" --no-stdout-log
wait_for 10 "turnd to be ready" grep -q 'is ready' "$T/alone.log"
[ ! -s "$T/turnd.log" ] || fail "there is something on standard error"
down INT
ok

step "the background"
run 0 -n --daemon -L 127.0.0.1 -p 13478 --pidfile "$T/pid" -l "$T/daemon.log"
grep -q 'is ready' "$T/daemon.log" || fail "the parent did not wait"
pid=$(cat "$T/pid")
grep -qx 'turnd' "/proc/$pid/comm" || fail "no turnd at $pid"
run 1 -n --daemon -L 127.0.0.1 -p 13479 --pidfile "$T/pid" -l "$T/daemon2.log"
kill -TERM "$pid"
wait_for 5 "the background process to end" sh -c "! kill -0 $pid"
run 1 -n --daemon -L 192.0.2.1 -l "$T/daemon.log"
ok

step "another user"
if [ "$(id -u)" = 0 ] &&
    grep -q '^ *0 *0 *4294967295' /proc/self/uid_map; then
    up -n -L 127.0.0.1 -p 13478 --proc-user nobody -l "$T/nobody.log"
    [ "$(stat -c %U "/proc/${PID[turnd]}")" = nobody ] || fail "still $(stat -c %U "/proc/${PID[turnd]}")"
    grep -q '^NoNewPrivs:[[:space:]]*1' "/proc/${PID[turnd]}/status" || fail "may gain privileges"
    kill -HUP "${PID[turnd]}"
    wait_for 5 "the log" grep -q 'open anew' "$T/nobody.log"
    down TERM
    ok
else
    ok "left out: not the real root"
fi
