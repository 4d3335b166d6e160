#!/bin/bash
# turnd in coturn's place: Debian's turnserver and turnd are started with the same configuration files and asked the
# same questions (differential.py). What clients see must be the same, or be a difference that is listed there
# with its reason.
#
# Each server has a network of its own, with the same addresses.
. "$(dirname "$0")/lib.sh"
isolate 120 "$@"
need turnserver turnutils_uclient turnutils_stunclient turnutils_peer python3 openssl

readonly S4=198.51.100.1 PEER4=203.0.113.9
ASK=$INTEROP/differential.py
declare -A PROGRAM=([theirs]=$(command -v turnserver) [ours]=$TURND)

SLOTS=4 # configurations that are looked at side by side

set_up() {
    local who slot
    step "networks"
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=turn.example.org \
        -keyout "$T/key.pem" -out "$T/cert.pem" 2>/dev/null
    for ((slot = 0; slot < SLOTS; slot++)); do
        for who in theirs ours; do
            wire "srv-$who-$slot" "$S4/24" "cli-$who-$slot" "198.51.100.2/24 $PEER4/32 203.0.113.10/32"
            in_ns "srv-$who-$slot" ip route add 203.0.113.0/24 dev "to-cli-$who-$slot"
        done
    done
    ok
}

# Both servers with one file, until they listen.
both_up() {
    local who
    for who in theirs ours; do
        start "$who" in_ns "srv-$who-$SLOT" "${PROGRAM[$who]}" -c "$T/$who.conf"
    done
    for who in theirs ours; do
        wait_for 20 "$who to listen" udp_bound "srv-$who-$SLOT" $S4 3478
    done
}

both_down() {
    local who status
    for who in theirs ours; do
        status=0
        kill -TERM "${PID[$who]}" || fail "$who had died"
        wait "${PID[$who]}" || status=$?
        [ $status = 0 ] || [ $who = theirs ] || fail "turnd ended with status $status"
    done
}

# both COMMAND...: the same command in both clients' networks at once; its output goes to $T/WHO.out.
both() {
    local who
    for who in theirs ours; do
        in_ns "cli-$who-$SLOT" timeout 40 "$@" >"$T/$who.out" 2>&1 &
        PID[run-$who]=$!
    done
    for who in theirs ours; do
        wait "${PID[run-$who]}" || { cat "$T/$who.out"; fail "$1 fails with $who"; }
    done
}

# compare_tools CONFIGURATION: what Debian's own clients say.
totals() { sed -n 's/.*tot_send_msgs=\([0-9]*\), tot_recv_msgs=\([0-9]*\)$/\1 \2/p' "$1" | tail -1; }
compare_tools() {
    local options who
    case $1 in
    static) options="-u alice -w secret" ;;
    rest) options="-W north" ;;
    tls) options="-u alice -w secret -t -S" ;;
    *) return 0 ;;
    esac
    for who in theirs ours; do
        start "peer-$who" in_ns "cli-$who-$SLOT" turnutils_peer -L $PEER4
        wait_for 10 "the peer" udp_bound "cli-$who-$SLOT" $PEER4 3480
    done
    # shellcheck disable=SC2086
    both turnutils_uclient $options -m 1 -n 5 -c -e $PEER4 $S4
    for who in theirs ours; do
        [ "$(totals "$T/$who.out")" = "5 5" ] || { tail "$T/$who.out"; fail "uclient lost something with $who"; }
        stop "peer-$who"
    done
    both turnutils_stunclient $S4
    for who in theirs ours; do
        grep -q 'UDP reflexive addr: 198.51.100.2' "$T/$who.out" || fail "stunclient with $who: $(cat "$T/$who.out")"
    done
}

# compare CONFIGURATION SLOT: the two answer alike, or it fails. To be run in a subshell.
compare() {
    local who name=$1 all=$T status=0
    SLOT=$2 T=$T/$1
    mkdir -p "$T"
    step "$name"
    for who in theirs ours; do
        python3 "$ASK" config "$name" "$all" >"$T/$who.conf"
        echo "pidfile=$T/$who.pid" >>"$T/$who.conf"
    done
    both_up
    both python3 "$ASK" probe "$name"
    for who in theirs ours; do mv "$T/$who.out" "$T/$who.answers"; done
    compare_tools "$name"
    both_down
    python3 "$ASK" compare "$name" "$T/theirs.answers" "$T/ours.answers" || fail "answers differ"
    ok
}

# One after another in a slot; every configuration has its say, whatever the others do.
run_slot() {
    local slot=$1 name
    shift
    for name; do
        (compare "$name" "$slot") >"$T/$name.result" 2>&1 || touch "$T/$name.failed"
        cat "$T/$name.result"
    done
}

set_up
mapfile -t NAMES < <([ $# -gt 0 ] && printf '%s\n' "$@" || python3 "$ASK" names)
for ((slot = 0; slot < SLOTS; slot++)); do
    mine=()
    for ((i = slot; i < ${#NAMES[@]}; i += SLOTS)); do mine+=("${NAMES[i]}"); done
    run_slot $slot "${mine[@]}" &
    PID[slot-$slot]=$!
done
for ((slot = 0; slot < SLOTS; slot++)); do wait "${PID[slot-$slot]}"; done

step "all configurations"
LOGS=()
bad=("$T"/*.failed)
if [ -e "${bad[0]}" ]; then
    for i in "${bad[@]}"; do
        name=$(basename "$i" .failed)
        tail -n 10 "$T/$name/ours.log" "$T/$name/theirs.log" 2>/dev/null | cut -c1-200
    done
    fail "$(basename -a -s .failed "${bad[@]}" | tr '\n' ' ')"
fi
ok "${#NAMES[@]} of them"
