#!/bin/bash
# Who can write to the fleet's Redis, but has no fleet-key, gets nothing done but what taking Redis away would do: forged and
# moved entries and notes are left alone, what is shown again is known, and keys of another type are said and survived.
. "$(dirname "$0")/../interop/lib.sh"
isolate 120 "$@"
. "$(dirname "$0")/fleet_kit.sh"
evil() { python3 "$PINHOLE_ROOT/tests/cmd/fleet_evil.py" $REDIS "$@" || fail "fleet_evil.py $1"; }
said() { grep -c "$2" "$T/$1.log" || true; }
# sessions NAME: users that have some there.
sessions() { ctl "$1" --json sessions | python3 -c 'import json, sys; print(*sorted(s["user"] for s in json.load(sys.stdin)["sessions"]))'; }
has_sessions() { [ "$(sessions "$1")" = "$2" ]; }

step "a fleet of two"
redis_up
node x
node xx
wait_for 10 "x to know xx" knows x xx
wait_for 10 "xx to know x" knows xx x
ok

step "forged entries and notes are left alone"
evil forge
FLEET_KEY="quite another key, for a stranger" node xxxx
client one "${IP[2]}" bob hidden
for n in x xx; do
    wait_for 10 "$n to complain" grep -q 'not signed with our fleet-key' "$T/$n.log"
done
sleep 1.5
knows x xx || fail "x knows '$(nodes x)'"
has_sessions xx bob || fail "xx has '$(sessions xx)'"
[ "$(said x 'not signed with our fleet-key')" = 1 ] || fail "it says so again and again"
[ "$(met x turnd_fleet_unsealed_total)" -ge 2 ] || fail "$(ctl x metrics | grep fleet)"
[ "$(met xx turnd_fleet_bad_total)" = 0 ] || fail "some of it was read: $(ctl xx metrics | grep fleet)"
leave one
stop_cleanly xxxx
redis-cli -p $REDIS -n 1 hdel '{pinhole:fleet}:nodes' mallory xxxx >/dev/null
ok

step "entries and notes that were moved are left alone"
ctl x --all revoke carol >"$T/out"
before=$(met x turnd_fleet_unsealed_total)
evil move
sleep 1.5
knows x xx || fail "x knows '$(nodes x)'"
knows xx x || fail "xx knows '$(nodes xx)'"
[ "$(met x turnd_fleet_unsealed_total)" -gt "$before" ] || fail "$(ctl x metrics | grep fleet)"
redis-cli -p $REDIS -n 1 del '{pinhole:fleet}:nodes' >/dev/null
ok

step "orders that are shown again are not carried out"
client one "${IP[2]}" bob hidden
ctl x --all revoke bob >"$T/out"
wait_for 5 "the session to end" has_sessions xx ""
leave one
before=$(met xx turnd_fleet_notes_total)
client one "${IP[2]}" bob hidden
evil again
wait_for 5 "xx to have read it" sh -c "'$TURNCTL' -s '$T/xx.sock' metrics | grep -qE '^turnd_fleet_replayed_total [1-9]'"
sleep 1
has_sessions xx bob || fail "xx has '$(sessions xx)'"
leave one
ok "$(met xx turnd_fleet_replayed_total) shown again, $(($(met xx turnd_fleet_notes_total) - before)) new"

step "garbage is survived"
evil garbage
sleep 1.5
client one "${IP[1]}" bob hidden
says one 'up .*'
leave one
wait_for 5 "x to know xx" knows x xx
evil clear
ok

step "keys of another type: everybody is served, it is said once, and they find each other again"
busy() { awk '{ print $14 + $15 }' "/proc/${PID[x]}/stat"; }
evil types
for key in nodes notes; do
    wait_for 10 "x to say it" grep -q "Redis refuses what is to be done with {pinhole:fleet}:$key: .*WRONGTYPE" "$T/x.log"
done
client one "${IP[1]}" alice secret
client two "${IP[1]}" alice secret
says two 'up .*'
t=$(busy)
wait_for 15 "x to count xx as dead" knows x ""
[ $(($(busy) - t)) -lt 400 ] || fail "x keeps itself busy: $(($(busy) - t)) ticks"
[ "$(met x turnd_fleet_up)" = 0 ] || fail "$(ctl x metrics | grep fleet)"
[ "$(said x 'Redis refuses')" = 2 ] || fail "it says so again and again"
evil clear
wait_for 10 "x to know xx again" knows x xx
wait_for 10 "the quota to hold again" refused_at "${IP[2]}"
[ "$(met x turnd_fleet_up)" = 1 ] || fail "$(ctl x metrics | grep fleet)"
leave one
leave two
ok

step "a dead node's last entry, shown again, does not bring it back"
evil keep xx
kill -KILL "${PID[xx]}"
wait "${PID[xx]}" 2>/dev/null || true
start evil python3 "$PINHOLE_ROOT/tests/cmd/fleet_evil.py" $REDIS hold xx
wait_for 15 "x to miss it" knows x ""
sleep 2
knows x "" || fail "x knows '$(nodes x)'"
kill "${PID[evil]}"
wait "${PID[evil]}" 2>/dev/null || true
stop_cleanly x
ok
