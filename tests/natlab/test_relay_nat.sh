#!/bin/bash
# Two clients, each behind a real NAT of its own, talk through our server: 1000 messages each way,
# none lost, whatever the two NATs do to ports. The clients are an independent implementation
# (../interop/turnclient.py); one uses a channel, the other Send and Data indications.
. "$(dirname "$0")/lib.sh"
isolate 100 "$@"
need python3

# talk ROOM PASSWORD_OF_2 [SECONDS]: both clients; false if either fails.
talk() {
    local room=$T/$1 n status=0
    local common=(--meet "$room" --server "$SERVER" --timeout "${3:-30}")
    mkdir "$room"
    start c1 in_ns c1 timeout 40 python3 "$INTEROP/relay_pair.py" talk "${common[@]}" \
        --me a --peer b --user alice --password secret --mode channel
    start c2 in_ns c2 timeout 40 python3 "$INTEROP/relay_pair.py" talk "${common[@]}" \
        --me b --peer a --user bob --password "$2" --mode send
    for n in c1 c2; do
        wait "${PID[$n]}" || status=1
        cat "$T/$n.log"
    done
    return $status
}

step "server starts"
lab_up
serve turnd srv <<CONF
listening-ip=$SERVER
listening-ip=$SERVER2
relay-ip=$SERVER
lt-cred-mech
user=alice:secret
user=bob:hidden
CONF
ok

for kinds in "cone cone" "symmetric symmetric" "cone symmetric" "full-cone symmetric"; do
    read -r one two <<<"$kinds"
    step "$one NAT and $two NAT"
    lab_nat 1 "$one"
    lab_nat 2 "$two"
    check_nat 1 "${one#full-}"
    check_nat 2 "$two"
    talk "$one-$two" hidden || fail "messages were lost"
    ok
    lab_down 1 2
done

step "without the right password nobody talks"
lab_nat 1 cone
lab_nat 2 cone
! talk wrong-password wrong 3 || fail "a client with a wrong password got through"
grep -q 'method 3 refused: 401' "$T/c2.log" || fail "c2 was not told 401"
ok

step "a lost packet would be noticed"
in_ns nat1 iptables -A FORWARD -i lan -p udp -m length --length 1000:65535 \
    -m limit --limit 1/min --limit-burst 1 -j DROP
! talk lossy hidden 3 || fail "a packet was dropped on purpose, and both clients were content"
grep -q 'got 999 of 1000; missing' "$T/c2.log" || fail "c2 did not say what it misses"
ok

step "server stops cleanly"
stop_cleanly turnd
ok
