#!/bin/bash
# turnctl upgrade: another program goes on in the same process, with its sockets and sessions and without a packet lost; one
# that cannot is found out before, or gives everything back.
#
# UPGRADE_ALLOCATIONS makes the load larger (5000 for the figures in the notes).
. "$(dirname "$0")/../interop/lib.sh"
isolate 240 "$@"
need python3
: "${UPGRADE_ALLOCATIONS:=100}"
TURNCTL=$PINHOLE_BUILD/bin/turnctl
TURNLOAD=$PINHOLE_BUILD/bin/turnload
[ -x "$TURNCTL" ] || skip "turnctl was left out of this build (no jansson)"
"$TURND" -n -L 127.0.0.1 --api-socket=none --check-config >/dev/null || fail "no turnd"
export TURNCTL_SOCKET=$T/turnd.sock PYTHONPATH=$INTEROP
PORT=13478 OUT=$T/out BIN=$T/bin
mkdir "$BIN"

# up [OPTION...]: start turnd, as a link to the program, and wait until it serves.
up() {
    cat >"$T/t.conf" <<CONF
listening-ip=127.0.0.1
listening-port=$PORT
http-listen=127.0.0.1:19641
realm=example.org
user=alice:secret
allow-loopback-peers
api-socket=$TURNCTL_SOCKET
api-socket-mode=666
unauthorized-ratelimit=no
relay-threads=2
CONF
    ln -sf "$TURND" "$BIN/turnd"
    start turnd "$BIN/turnd" -c "$T/t.conf" "$@"
    wait_for 10 "turnd to serve" "$TURNCTL" status
}

# program NAME: a script in the place of a new turnd; what it does with real options is read from stdin.  ok: it passes the
# checks.
program() {
    {
        echo '#!/bin/sh'
        echo 'case "$1" in'
        echo "--state-version|--check-config) exec $TURND \"\$@\" ;;"
        echo 'esac'
        cat
    } >"$BIN/$1"
    chmod 755 "$BIN/$1"
}

# upgrade STATUS [PROGRAM]: what it says goes to $OUT.
upgrade() {
    local want=$1 got=0
    shift
    timeout 60 "$TURNCTL" upgrade "$@" >"$OUT" 2>&1 || got=$?
    [ $got -eq "$want" ] || { cat "$OUT"; fail "status $got, not $want"; }
}
says() {
    local t
    for t; do grep -qF -- "$t" "$OUT" || { cat "$OUT"; fail "does not say: $t"; }; done
}

# load SECONDS: in the background; loaded: it must have lost nothing.
load() {
    "$TURNLOAD" -q -n "$UPGRADE_ALLOCATIONS" -r 20 -t "$1" -u alice -w secret --setup-rate 1000 \
        --max-loss 0 "127.0.0.1:$PORT" >"$T/load.out" 2>&1 &
    PID[load]=$!
    wait_for 30 "the sessions" sh -c \
        "'$TURNCTL' --json status | grep -q '\"allocations\":{\"total\":$UPGRADE_ALLOCATIONS,'"
    sleep 0.5
}
loaded() {
    wait "${PID[load]}" || { cat "$T/load.out"; fail "the load has lost something"; }
    grep -q '^lost  *0 ' "$T/load.out" || { cat "$T/load.out"; fail "packets were lost"; }
}

# works: a newcomer gets an allocation and talks through it.
works() {
    "$TURNLOAD" -q -n 1 -r 50 -t 0.3 -u alice -w secret "127.0.0.1:$PORT" >"$OUT" 2>&1 || {
        cat "$OUT"
        fail "newcomers are not served"
    }
}

step "the same program again: nothing is lost"
up
load 6
before=${PID[turnd]}
upgrade 0
says "$BIN/turnd is to go on with $UPGRADE_ALLOCATIONS sessions" "$UPGRADE_ALLOCATIONS sessions carried, 0 lost"
gap=$(sed -n 's/.* \([0-9]*\) ms$/\1/p' "$OUT")
"$TURNCTL" status >"$OUT"
says "process       $before," "upgraded      from"
works
loaded
ok "$UPGRADE_ALLOCATIONS sessions, $gap ms"

step "a newer one, where the link leads by now"
load 4
cp "$TURND" "$BIN/turnd-2"
ln -sfn turnd-2 "$BIN/turnd"
upgrade 0
[ "$(readlink "/proc/${PID[turnd]}/exe")" = "$BIN/turnd-2" ] || fail "runs $(readlink "/proc/${PID[turnd]}/exe")"
works
loaded
alive turnd || fail "the process has gone"
ok

step "programs that do not pass the check change nothing"
load 5
printf '#!/bin/sh\n[ "$1" = --state-version ] && exec %s "$@"\necho "  error: t.conf:1: no such key"\nexit 2\n' "$TURND" >"$BIN/refuses"
printf '#!/bin/sh\necho turnd state: hand-over 99, records 1\n' >"$BIN/other-state"
printf '#!/bin/sh\nexit 0\n' >"$BIN/no-turnd"
printf '#!/bin/sh\nkill -SEGV $$\n' >"$BIN/dies"
printf 'no program at all\n' >"$BIN/text"
chmod 755 "$BIN"/*
upgrade 1 "$BIN/refuses"
says "refuses the configuration: t.conf:1: no such key"
upgrade 1 "$BIN/other-state"
says "does not take over this program's state"
upgrade 1 "$BIN/no-turnd"
says "does not take over this program's state"
upgrade 1 "$BIN/dies"
says "died of signal 11"
upgrade 1 "$BIN/text"
says "does not take over this program's state"
upgrade 1 "$BIN/missing"
says "No such file"
upgrade 1 relative/turnd
says "whole path"
mv "$T/t.conf" "$T/t.conf.away"
upgrade 1
says "refuses the configuration" "no such file"
mv "$T/t.conf.away" "$T/t.conf"
alive turnd || fail "turnd has died"
works
loaded
ok

step "one that cannot start gives everything back"
load 6
program cannot <<SH
exec $TURND "\$@" --pidfile=$T/nowhere/turnd.pid
SH
upgrade 1 "$BIN/cannot"
says "the upgrade has failed" "it could not start"
grep -q "pidfile: cannot open" "$T/turnd.log" || fail "the reason is not in the log"
works
program mistaken <<SH
exec $TURND "\$@" --max-port=1
SH
upgrade 1 "$BIN/mistaken"
says "min-port 49152 is above max-port 1"
works
program taken <<SH
exec $TURND "\$@" --aux-server=127.0.0.1:19641
SH
upgrade 1 "$BIN/taken"
says "it could not start"
works
loaded
"$TURNCTL" status >"$OUT"
says "upgrade       failed" "process       ${PID[turnd]},"
ok

step "so does one that cannot be executed"
load 4
cat >"$BIN/vanishes" <<SH
#!/bin/sh
[ "\$1" = --check-config ] && rm "\$0"
exec $TURND "\$@"
SH
chmod 755 "$BIN/vanishes"
upgrade 1 "$BIN/vanishes"
says "cannot execute $BIN/vanishes: No such file"
works
upgrade 0 "$TURND"
loaded
ok

step "sessions that cannot be carried are told of before"
"$TURNLOAD" -q --idle 3 --hold 30 --transport tcp -u alice -w secret "127.0.0.1:$PORT" >"$T/tcp.out" 2>&1 &
PID[tcp]=$!
wait_for 10 "TCP sessions" sh -c "'$TURNCTL' status | grep -q 'tcp 3, '"
upgrade 0
says "3 sessions over TCP, TLS or DTLS have no mobility ticket: they end" "0 sessions carried, 3 lost"
[ "$(grep -c 'allocation ended .*transport=tcp .*reason=upgrade' "$T/turnd.log")" = 3 ] || fail "no audit lines"
kill "${PID[tcp]}" 2>/dev/null || true
wait "${PID[tcp]}" || true
works
stop_cleanly turnd
ok

step "arguments, environment and folder are those of the start; secrets stay out of sight"
mkdir "$T/folder"
ln -sfn "$TURND" "$BIN/turnd"
cat >"$T/folder/rel.conf" <<CONF
listening-ip=127.0.0.1
realm=example.org
allow-loopback-peers
api-socket=$TURNCTL_SOCKET
CONF
(cd "$T/folder" && TURND_LISTENING_PORT=$PORT exec ../bin/turnd -c ./rel.conf -u alice:secret --relay-threads=0) >"$T/turnd.log" 2>&1 &
PID[turnd]=$!
wait_for 10 "turnd to serve" "$TURNCTL" status
for round in 1 2; do
    works
    upgrade 0
    ! tr '\0' ' ' <"/proc/${PID[turnd]}/cmdline" | grep -q secret || fail "a secret can be seen"
done
works
stop_cleanly turnd
ok

step "as another user, with a pidfile and a log file of root's making"
if id nobody >/dev/null 2>&1 && [ "$(id -u)" = 0 ] && setpriv --reuid=nobody --clear-groups true 2>/dev/null &&
    setpriv --reuid=nobody --clear-groups "$TURND" --version >/dev/null 2>&1; then
    mkdir -m 755 "$T/root"
    up --proc-user=nobody --pidfile="$T/root/turnd.pid" --log-file="$T/root/turnd.log" --no-stdout-log
    load 5
    upgrade 0
    upgrade 0
    [ "$(cat "$T/root/turnd.pid")" = "${PID[turnd]}" ] || fail "the pidfile"
    ! flock -n "$T/root/turnd.pid" true || fail "the pidfile is not locked"
    [ "$(stat -c %U "/proc/${PID[turnd]}")" != root ] || fail "it is root again"
    [ "$(grep -c 'upgraded: from' "$T/root/turnd.log")" = 2 ] || fail "the log file is not written any more"
    works
    program cannot <<SH
exec $TURND "\$@" --pidfile=$T/nowhere/turnd.pid
SH
    upgrade 1 "$BIN/cannot"
    works
    loaded
    stop_cleanly turnd
    [ ! -s "$T/root/turnd.pid" ] || fail "the pidfile is still there"
    ok
else
    ok "(skipped: cannot become another user here)"
fi

step "as process 1, and in the background"
ln -sfn "$TURND" "$BIN/turnd"
up >/dev/null # writes the configuration
stop_cleanly turnd
start turnd unshare --pid --fork --kill-child --mount-proc "$BIN/turnd" -c "$T/t.conf"
wait_for 10 "turnd to serve" "$TURNCTL" status
upgrade 0
"$TURNCTL" status >"$OUT"
says "process       1,"
works
"$TURNCTL" stop >"$OUT"
status=0
wait "${PID[turnd]}" || status=$?
[ $status = 0 ] || fail "status $status"
"$BIN/turnd" -c "$T/t.conf" --daemon --pidfile="$T/d.pid" --log-file="$T/d.log" || fail "the start"
pid=$(cat "$T/d.pid")
upgrade 0
works
[ "$(cat "$T/d.pid")" = "$pid" ] || fail "another process"
kill "$pid"
wait_for 5 "the end" sh -c "! kill -0 $pid"
[ ! -e "$T/d.pid" ] || fail "the pidfile is still there"
ok

step "systemd is told"
python3 - "$T/notify" >"$T/notify.out" <<'PY' &
import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
s.settimeout(30)
while True:
    print(s.recv(4096).decode().split("\n")[0], flush=True)
PY
PID[notify]=$!
wait_for 5 "the listener" test -S "$T/notify"
export NOTIFY_SOCKET=$T/notify
up
unset NOTIFY_SOCKET
upgrade 0
wait_for 5 "the words" grep -q RELOADING=1 "$T/notify.out"
[ "$(tr '\n' ' ' <"$T/notify.out")" = "READY=1 RELOADING=1 READY=1 " ] || { cat "$T/notify.out"; fail "other words"; }
kill "${PID[notify]}"
ok

step "signals that come while programs change places are not lost"
"$TURNCTL" upgrade >"$OUT" 2>&1 &
PID[ctl]=$!
wait_for 10 "the moment" grep -q 'goes on with' "$T/turnd.log"
kill -TERM "${PID[turnd]}"
status=0
wait "${PID[turnd]}" || status=$?
[ $status = 0 ] || fail "status $status"
wait "${PID[ctl]}" || true
ok

step "what is no hand-over is not taken"
export PINHOLE_HANDOVER=77
up
grep -q 'PINHOLE_HANDOVER names nothing that can be taken over' "$T/turnd.log" || fail "no word about it"
unset PINHOLE_HANDOVER
works
stop_cleanly turnd
ok
