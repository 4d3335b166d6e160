#!/bin/bash
# systemd's opinion of the units: they are well formed, and exposed less than 3 of 10.
. "$(dirname "$0")/../interop/lib.sh"
UNITS=$PINHOLE_ROOT/deploy/systemd
command -v systemd-analyze >/dev/null || skip "systemd is not installed"
[ "$(systemctl --version | sed -n 's/^systemd \([0-9]*\).*/\1/p')" -ge 250 ] || skip "systemd is older than 250"
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT

for unit in turnd stund; do
    step "$unit.service: form"
    # The programs and pages need not be installed here.
    sed 's|/usr/local/bin/[a-z]*|/bin/true|; /^Documentation=/d' "$UNITS/$unit.service" >"$WORK/$unit.service"
    systemd-analyze verify "$WORK/$unit.service" >"$WORK/out" 2>&1 || fail "$(cat "$WORK/out")"
    ! grep "$unit.service" "$WORK/out" || fail "see above"
    ok

    step "$unit.service: exposure"
    systemd-analyze security --offline=true --no-pager "$UNITS/$unit.service" >"$WORK/out" 2>&1 || fail "$(cat "$WORK/out")"
    level=$(sed -n 's/.*exposure level for .*: \([0-9.]*\) .*/\1/p' "$WORK/out")
    [[ $level =~ ^[0-2]\.[0-9]+$ ]] || fail "exposure ${level:-unknown}: $(grep '✗' "$WORK/out" || true)"
    systemd-analyze security --offline=true --threshold=29 --no-pager "$UNITS/$unit.service" >/dev/null ||
        fail "above the threshold"
    ok "$level of 10"
done

step "a mistake would be noticed"
sed 's/^NoNewPrivileges=yes/NoNewPrivilege=yes/' "$WORK/turnd.service" >"$WORK/bad.service"
systemd-analyze verify "$WORK/bad.service" >"$WORK/out" 2>&1 || true
grep -q "bad.service.*Unknown key" "$WORK/out" || fail "$(cat "$WORK/out")"
ok

step "what the program needs is let through"
# Its own upgrade executes the program anew, and hands the state over in a memfd; limits are raised as it starts.
denied=$(systemd-analyze syscall-filter @privileged @resources 2>/dev/null)
allowed=$(systemd-analyze syscall-filter @system-service @default @ipc @process @network-io 2>/dev/null)
for call in execve memfd_create prlimit64 sendmsg; do
    grep -qx " *$call" <<<"$allowed" || fail "$call is not in @system-service"
    ! grep -qx " *$call" <<<"$denied" || fail "$call is denied"
done
ok
