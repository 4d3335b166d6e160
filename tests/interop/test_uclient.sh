#!/bin/bash
# coturn's own load tool, turnutils_uclient, against our server: every way of relaying that it knows
# but SCTP.
#
# The tool exits 0 even when every packet was lost, so a scenario counts as passed only by its
# printed totals, and the scenarios at the end, which must fail, prove that this verdict can tell
# the difference. A scenario takes 3 to 15 s, most of it the tool's own start-up and drain timers,
# so all of them run at once.
. "$(dirname "$0")/lib.sh"
isolate 100 "$@"
need turnutils_uclient turnutils_peer
! has tls || need openssl

readonly S4=198.51.100.1 S6=2001:db8:1::1 PEER4=203.0.113.9 PEER6=2001:db8:1::9

set_up() {
    step "servers and echo peer start"
    local more=()
    has mobility && more+=(mobility)
    if has tls; then
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=turn.example.org \
            -keyout "$T/key.pem" -out "$T/cert.pem" 2>/dev/null
        more+=(dtls "cert=$T/cert.pem" "pkey=$T/key.pem")
    fi
    # Each server has ports of its own: a reserved one is not bound until its token comes, and another
    # server's relay might take it.
    wire srv "$S4/24 $S6/64" cli "198.51.100.2/24 2001:db8:1::2/64 $PEER4/32 $PEER6/64"
    in_ns srv ip route add "$PEER4" dev to-cli
    serve static srv <<CONF
listening-ip=$S4
listening-ip=$S6
relay-ip=$S4
relay-ip=$S6
max-port=59999
lt-cred-mech
user=alice:secret
$(printf '%s\n' "${more[@]}")
CONF
    serve rest srv <<CONF
listening-ip=$S4
listening-port=3488
relay-ip=$S4
min-port=60000
max-port=61999
use-auth-secret
static-auth-secret=north
CONF
    # The keys that the tool has built in, base64 of 32 or 16 digits.
    serve tokens srv <<CONF
listening-ip=$S4
listening-port=3498
relay-ip=$S4
min-port=62000
max-port=63999
lt-cred-mech
oauth
server-name=blackdow.carleon.gov
oauth-key=north:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=
oauth-key=union:MTIzNDU2Nzg5MDEyMzQ1Ng==:A128GCM
oauth-key=oldempire:MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=
CONF
    start peer in_ns cli turnutils_peer -L "$PEER4" -L "$PEER6"
    wait_for 10 "the peer" udp_bound cli "$PEER4" 3480
    ok
}

# passed LOG MESSAGES: does the tool say that it sent MESSAGES, got as many back and lost none?
# Error answers alone do not fail a run: on a busy machine the tool's own impatience earns it a 437
# now and then, which it recovers from.
passed() {
    [ "$(totals "$1")" = "$2 $2" ] &&
        grep -q 'Total lost packets 0 (0.000000%), total send dropped 0 (0.000000%)' "$1"
}

# totals LOG: "SENT RECEIVED"
totals() {
    sed -n 's/.*tot_send_msgs=\([0-9]*\), tot_recv_msgs=\([0-9]*\)$/\1 \2/p' "$1" | tail -1
}

# why LOG: what a run that has not passed died of.
why() {
    grep -m1 -o 'ERROR.*\|error [0-9]\{3\}.*' "$1" && return
    grep -o 'Total lost packets.*' "$1" || echo "no totals printed"
}

NAMES=()
declare -A WANT=() MUST_FAIL=()

# run NAME MESSAGES OPTIONS...: start one client; the default user is alice, and later options win.
run() {
    local name=$1
    NAMES+=("$name")
    WANT[$name]=$2
    shift 2
    in_ns cli timeout 60 turnutils_uclient -u alice -w secret "$@" >"$T/$name.out" 2>&1 &
    PID[$name]=$!
}

# run_bad: the same, for one that must not succeed, with a word on what it must die of.
run_bad() {
    MUST_FAIL[$1]=$2
    local name=$1
    shift 2
    run "$name" "$@"
}

judge() {
    local name=$1 log=$T/$1.out bad=${MUST_FAIL[$1]:-}
    step "$name"
    wait "${PID[$name]}" || true
    if passed "$log" "${WANT[$name]}"; then
        [ -z "$bad" ] || fail "passed, though it must fail with '$bad'"
        ok "$(totals "$log")"
    elif [ -n "$bad" ] && grep -qF -- "$bad" "$log"; then
        ok "fails as it must: $bad"
    else
        tail -n 15 "$log"
        fail "$(why "$log"); sent and received '$(totals "$log")', expected ${WANT[$name]}"
    fi
}

set_up
run channels             500 -m 10 -n 50 -e $PEER4 $S4
run channels-1200-bytes  500 -m 10 -n 50 -l 1200 -e $PEER4 $S4
run channels-padded      100 -m 2 -n 50 -l 101 -D -e $PEER4 $S4
run channels-fast       1000 -m 2 -n 500 -z 2 -c -e $PEER4 $S4
run many-clients         600 -m 30 -n 20 -e $PEER4 $S4
run send                 500 -m 10 -n 50 -s -e $PEER4 $S4
run send-1200-bytes      500 -m 10 -n 50 -s -l 1200 -e $PEER4 $S4
run pair-channels        200 -m 4 -n 50 -y $S4
run pair-send            200 -m 4 -n 50 -y -s -c $S4
run ipv6-relay            40 -m 2 -n 20 -x -e $PEER6 $S4
run ipv6-relay-pair       80 -m 4 -n 20 -x -y $S6
run ipv6-client           40 -m 2 -n 20 -X -e $PEER4 $S6
run ipv6-send-df-1100     40 -m 2 -n 20 -x -g -s -l 1100 -e $PEER6 $S6
run dual-allocation       20 -n 20 -Z -v -e $PEER6 $S4
run dont-fragment         40 -m 2 -n 20 -g -e $PEER4 $S4
run origin                40 -m 2 -n 20 -o https://example.org -e $PEER4 $S4
run rest-secret          100 -m 2 -n 50 -W north -p 3488 -e $PEER4 $S4
run oauth                40 -m 2 -n 20 -J -p 3498 -e $PEER4 $S4
! has mobility || run mobility 40 -m 2 -n 20 -M -e $PEER4 $S4
if has tcp; then
    run tcp-client       100 -m 2 -n 50 -t -e $PEER4 $S4
    run tcp-relay         40 -m 2 -n 20 -T -e $PEER4 $S4
    run tcp-relay-pair    40 -m 2 -n 20 -T -y $S4
    run tcp-rest-secret   40 -m 2 -n 20 -t -W north -p 3488 -e $PEER4 $S4
    run oauth-tcp-relay   40 -m 2 -n 20 -J -t -T -p 3498 -e $PEER4 $S4
fi
! has tls  || run tls-client  100 -m 2 -n 50 -t -S -p 5349 -e $PEER4 $S4
! has dtls || run dtls-client 100 -m 2 -n 50 -S -p 5349 -e $PEER4 $S4
run_bad wrong-password  'Cannot complete Allocation' 10 -m 2 -n 5 -w wrong -e $PEER4 $S4
run_bad oauth-without-token 'Cannot complete Allocation' 10 -m 2 -n 5 -p 3498 -e $PEER4 $S4
run_bad wrong-rest-secret 'Cannot complete Allocation' 10 -m 2 -n 5 -W south -p 3488 -e $PEER4 $S4
run_bad loopback-peer   'error 403' 10 -m 2 -n 5 -e 127.0.0.1 $S4
run_bad silent-peer     'lost packets 10 (100.000000%)' 10 -m 2 -n 5 -e $PEER4 -r 9 $S4
for name in "${NAMES[@]}"; do judge "$name"; done

step "dual allocation got both families"
for family in IPv4 IPv6; do
    grep -q "$family. Received relay addr" "$T/dual-allocation.out" ||
        fail "no $family relay address"
done
ok
step "servers stop cleanly"
stop_cleanly static
stop_cleanly rest
stop_cleanly tokens
ok
