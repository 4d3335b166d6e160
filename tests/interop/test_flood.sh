#!/bin/bash
# A million Binding and Allocate requests from forged addresses all over the internet: the server's
# memory must stay flat, a real client must be served meanwhile, and a flood from one prefix must
# not be answered with more bytes than it brings.
#
#   flood 203.0.113.2 ---- 203.0.113.1 srv 198.51.100.1 ---- 198.51.100.2 cli
#
# All answers to forged addresses leave by the default route, which is the cable to `flood`, so that
# cable's counters see the flood and what it draws, and nothing else. FLOOD_COUNT makes it smaller
# or bigger.
. "$(dirname "$0")/lib.sh"
# Freed memory must not be kept back for the sanitizer's sake where memory is what we measure.
export ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}quarantine_size_mb=0"
isolate 90 "$@"
need cc python3

readonly COUNT=${FLOOD_COUNT:-1000000} WARM_UP=20000 PREFIX_COUNT=100000
readonly MAX_GROWTH_KB=1024 RUNAWAY_KB=300000
FLOOD=$PINHOLE_BUILD/tests/interop/flood
BAD=0
QUIET_SERVER=1 # a line for each forged packet would measure the log

# Measured is measured: a verdict that fails does not keep the rest from being looked at.
verdict() {
    local text=$1
    shift
    if "$@"; then ok "$text"; else
        echo "NOT OK: $STEP: $text"
        BAD=1
    fi
}

rss_kb() { awk '$1 == "VmRSS:" { print $2 }' "/proc/${PID[turnd]}/status"; }

# counter rx|tx: bytes the server took in from the flood's cable, or sent back.
counter() { in_ns srv cat "/sys/class/net/to-flood/statistics/$1_bytes"; }

# flood NAME OPTIONS...: start one; its line ends up in $T/NAME.log.
flood() {
    local name=$1
    shift
    start "$name" in_ns flood "$FLOOD" -w "/proc/${PID[turnd]}/net/snmp" "$@" 198.51.100.1 3478
}

# finish NAME: wait for a flood and read its line into SENT and LOST.
finish() {
    wait "${PID[$1]}" || fail "the flood broke off"
    read -r _ SENT _ _ _ LOST _ MS <"$T/$1.log"
    [ "$SENT" -gt 0 ] || fail "nothing was sent"
}

# talk NAME: two real clients relay 100 messages to each other; false if they cannot.
talk() {
    local room=$T/$1 me peer mode status=0
    mkdir "$room"
    while read -r me peer mode; do
        start "$1-$me" in_ns cli timeout 40 python3 "$INTEROP/relay_pair.py" talk \
            --me "$me" --peer "$peer" --mode "$mode" --meet "$room" --count 100 \
            --server 198.51.100.1 --user alice --password secret
    done <<<$'a b channel\nb a send'
    wait "${PID[$1-a]}" || status=1
    wait "${PID[$1-b]}" || status=1
    return $status
}

step "flood tool is built"
mkdir -p "$(dirname "$FLOOD")"
if [ ! "$FLOOD" -nt "$INTEROP/flood.c" ]; then
    cc -O2 -Wall -Wextra -o "$T/flood" "$INTEROP/flood.c" || fail "cc failed"
    install "$T/flood" "$FLOOD"
fi
ok

step "server starts"
new_ns srv flood cli
veth srv to-flood flood to-srv
veth srv to-cli cli to-srv
address srv to-flood 203.0.113.1/24
address flood to-srv 203.0.113.2/24
address srv to-cli 198.51.100.1/24
address cli to-srv 198.51.100.2/24
for dev in all default to-flood; do # accept sources that no route leads back to
    in_ns srv sysctl -qw "net.ipv4.conf.$dev.rp_filter=0"
done
in_ns srv ip route add default via 203.0.113.2
in_ns flood ip route add 198.51.100.0/24 via 203.0.113.1
in_ns flood sysctl -qw net.ipv4.ip_forward=0
serve turnd srv <<CONF
listening-ip=198.51.100.1
relay-ip=198.51.100.1
lt-cred-mech
user=alice:secret
CONF
ok

step "warm-up"
flood warm-up -n $WARM_UP -s 7
finish warm-up
talk warm || { cat "$T"/warm-?.log; fail "two clients could not talk"; }
[ "$(counter tx)" -gt 0 ] || fail "not one forged request was answered: does the flood arrive?"
BEFORE=$(rss_kb)
RX=$(counter rx) TX=$(counter tx)
ok "$SENT packets, then two clients; VmRSS $BEFORE kB"

step "real clients in the flood"
flood wide -n "$COUNT" -s 11
served=0
if talk meanwhile; then served=1; fi
alive wide && during="flood still running" || during="flood over by then: raise FLOOD_COUNT"
cat "$T"/meanwhile-?.log
verdict "$during" [ "$served$during" = "1flood still running" ]

step "memory under the flood"
PEAK=$BEFORE
while alive wide; do
    NOW=$(rss_kb)
    [ "$NOW" -le "$PEAK" ] || PEAK=$NOW
    [ $((NOW - BEFORE)) -le $RUNAWAY_KB ] ||
        fail "grew by $((NOW - BEFORE)) kB, stopped before the machine suffers"
    sleep 0.2
done
finish wide
AFTER=$(rss_kb)
[ "$AFTER" -le "$PEAK" ] || PEAK=$AFTER
verdict "VmRSS $BEFORE kB before, $AFTER after, $PEAK at its peak; may grow by $MAX_GROWTH_KB" \
    [ $((PEAK - BEFORE)) -le $MAX_GROWTH_KB ]

step "the flood arrived"
RX=$(($(counter rx) - RX)) TX=$(($(counter tx) - TX))
verdict "$SENT packets in $MS ms, $LOST lost, $RX bytes in, $TX out ($((100 * TX / RX)) %)" \
    [ $((LOST * 100)) -le "$COUNT" ]

step "a flood from one prefix draws less than it brings"
RX=$(counter rx) TX=$(counter tx)
flood prefix -n $PREFIX_COUNT -s 13 -p 192.0.2.0
finish prefix
RX=$(($(counter rx) - RX)) TX=$(($(counter tx) - TX))
verdict "$SENT packets in $MS ms, $RX bytes in, $TX out ($((100 * TX / RX)) %)" \
    [ $((TX < RX && RX > 0)) = 1 ]

step "real clients afterwards"
if talk afterwards; then ok; else
    cat "$T"/afterwards-?.log
    fail "two clients could not talk"
fi
step "server stops cleanly"
stop_cleanly turnd
ok
step "verdicts above"
[ $BAD = 0 ] || fail "not all were good"
