#!/bin/bash
# The image's way to ports below 1024 without root: a capability of the file that is permitted alone (setcap ...=p), which
# turnd takes into use by itself, and without which it still starts.
. "$(dirname "$0")/../interop/lib.sh"
[ "$(id -u)" = 0 ] || skip "giving a file capabilities takes root"
isolate 60 "$@"
command -v setcap >/dev/null || skip "setcap is not installed (Debian: libcap2-bin)"
NOBODY=(setpriv --reuid=65534 --regid=65534 --clear-groups)
sysctl -qw net.ipv4.ip_unprivileged_port_start=1024
mkdir -m 755 "$T/bin"
chmod 755 /run "$T"
cp "$TURND" "$T/bin/turnd"
setcap cap_net_bind_service=p "$T/bin/turnd" 2>/dev/null || skip "files have no capabilities here"
# The leak detector cannot look into a process that has gained privileges.
export ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0"

# listen NAME PORT COMMAND...: turnd on that port, as the command runs it.
listen() {
    local name=$1 port=$2
    shift 2
    start "$name" "$@" "$T/bin/turnd" -n -L 127.0.0.1 -p "$port" --no-tcp --static-auth-secret=hunter2 --min-port=50000 \
        --max-port=50100
}

step "port 443 as nobody"
listen low 443 "${NOBODY[@]}"
wait_for 10 "turnd to be ready" grep -q 'is ready' "$T/low.log"
[ "$(awk '/^Uid:/ { print $3 }' "/proc/${PID[low]}/status")" = 65534 ] || fail "it is not nobody"
stop_cleanly low
ok

step "without the capability there is an error"
listen none 443 "${NOBODY[@]}" --bounding-set=-net_bind_service
! wait "${PID[none]}" || fail "it ended well"
grep -q 'cannot listen on udp 127.0.0.1:443: Permission denied' "$T/none.log" || fail "no such line"
ok

step "without the capability, a port above 1023 is fine"
listen high 3478 "${NOBODY[@]}" --bounding-set=-net_bind_service --no-new-privs
wait_for 10 "turnd to be ready" grep -q 'is ready' "$T/high.log"
stop_cleanly high
ok
