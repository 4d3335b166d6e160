#!/bin/bash
# coturn's statistics in Redis (redis-statsdb): the same sessions with Debian's turnserver and with turnd, each with a Redis of
# its own, and a consumer as coturn's documentation has it. What it hears must be the same, byte for byte, but for what
# statsdb.py says must differ.
#
# Left alone: sessions that never had an allocation (coturn tells of their traffic, for every Binding request that anybody
# sends; turnd does not), and what coturn says to its database but not to consumers (its "__XXX__" to see whether it lives).
. "$(dirname "$0")/lib.sh"
isolate 200 "$@"
need turnserver redis-server redis-cli python3 openssl turnutils_uclient turnutils_peer
[[ $TURND != */turnserver ]] || skip "this compares turnd with turnserver"
"$TURND" -n -L 127.0.0.1 --redis-statsdb=ip=127.0.0.1 --check-config | grep -q 'built without Redis' &&
    skip "turnd was built without Redis"
export PYTHONPATH=$INTEROP
readonly PORT=3478 TLS_PORT=5349
declare -A PROGRAM=([theirs]=$(command -v turnserver) [ours]=$TURND) REDIS=([theirs]=16379 [ours]=16380)

set_up() {
    local who
    step "Redis and its consumers start"
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=turn.example.org \
        -keyout "$T/key.pem" -out "$T/cert.pem" 2>/dev/null
    for who in theirs ours; do
        start "redis-$who" redis-server --port "${REDIS[$who]}" --bind 127.0.0.1 --save '' \
            --appendonly no --dir "$T"
    done
    for who in theirs ours; do
        wait_for 10 "Redis" redis-cli -p "${REDIS[$who]}" ping
        start "consumer-$who" python3 "$INTEROP/statsdb.py" record "${REDIS[$who]}" "$T/$who.told"
        wait_for 10 "the consumer" grep -qs '^ready' "$T/$who.told"
    done
    ok
}

# play NAME SERVER PORT: the session with whoever is up. dtls is coturn's own client, whose packets are not counted on.
play() {
    if [ "$1" != dtls ]; then
        python3 "$INTEROP/statsdb.py" session "$@" "$T/$who.told"
        return
    fi
    local before
    before=$(grep -c total_traffic/peer "$T/$who.told" || true)
    turnutils_uclient -S -i "$T/cert.pem" -k "$T/key.pem" -e 127.0.0.1 -r 3480 -u alice -w secret -n 1 -m 1 -c \
        -p "$3" "$2" >"$T/uclient.log" 2>&1 || fail "turnutils_uclient"
    wait_for 10 "the end of its session" sh -c \
        "[ \$(grep -c total_traffic/peer '$T/$who.told') -gt $before ]"
    awk -F/ '/ = new .*type=DTLS/ { dtls[$7] } $7 in dtls && $8 ~ /^status/' "$T/$who.told" |
        sed -E 's,/[0-9]{18}/,/ID/,; s/(remote=[^,]*:)[0-9]+/\1PORT/'
}

# compare NAME...: sessions, each a name of statsdb.py, with the lines of configuration that are read from stdin.
compare() {
    local who name conf at port
    conf=$(cat)
    for who in theirs ours; do
        cat >"$T/$who.conf" - "$INTEROP/common.conf" <<CONF
listening-ip=127.0.0.1
listening-ip=::1
relay-ip=127.0.0.1
relay-ip=::1
listening-port=$PORT
tls-listening-port=$TLS_PORT
cert=$T/cert.pem
pkey=$T/key.pem
cipher-list=ECDHE-RSA-AES256-GCM-SHA384
dtls
allow-loopback-peers
redis-statsdb="ip=127.0.0.1 dbname=0 port=${REDIS[$who]} connect_timeout=5"
pidfile=$T/$who.pid
$conf
CONF
        [ -z "${NO_REALM:-}" ] || sed -i '/^realm=/d' "$T/$who.conf"
        if [ $who = ours ]; then
            printf 'unauthorized-ratelimit=no\napi-socket=none\nkeep-address-family\n' >>"$T/$who.conf"
        else
            printf 'keep-address-family\nuserdb=%s\n' "$T/none.db" >>"$T/$who.conf"
        fi
        : >"$T/$who.told" # turnserver numbers its sessions from 1 each time
        start "$who" "${PROGRAM[$who]}" -c "$T/$who.conf"
        wait_for 20 "$who to listen" sh -c "ss -Hnlt | grep -q '\[::1\]:$TLS_PORT '"
        sleep 0.3 # turnserver says nothing when it is connected to Redis
        for name; do
            at=127.0.0.1 port=$PORT
            [ "$name" != tls ] && [ "$name" != dtls ] || port=$TLS_PORT
            [ "$name" != udp6 ] || at=::1
            play "$name" $at $port >"$T/$who.$name" || fail "the session $name with $who"
        done
        kill "${PID[$who]}"
        wait "${PID[$who]}" || true
    done
    for name; do
        [ -s "$T/ours.$name" ] || fail "$name: nothing was told"
        if ! diff -u "$T/theirs.$name" "$T/ours.$name" >"$T/diff"; then
            head -40 "$T/diff"
            fail "$name: turnd and turnserver differ"
        fi
        # The same lines could be the same mistake of ours: so much must be there.
        grep -q 'status = new lifetime=' "$T/ours.$name" || fail "$name: no new"
        grep -q 'status = deleted' "$T/ours.$name" || fail "$name: no deleted"
        printf '   %-8s %3d messages\n' "$name" "$(wc -l <"$T/ours.$name")"
    done
}

set_up
step "sessions over every transport"
start peer turnutils_peer -L 127.0.0.1
compare udp tcp tls dtls udp6 odd hang-up <<CONF
lt-cred-mech
user=alice:secret
CONF
for name in udp tcp tls; do
    [ "$(grep -c '/traffic = ' "$T/ours.$name")" -ge 3 ] || fail "$name: traffic was told at the end only"
    grep -q 'refreshed lifetime=700' "$T/ours.$name" || fail "$name: no refresh"
done
grep -q 'type=TLS/TCP, .*ssl=TLSv1.2, cipher=ECDHE-RSA-AES256-GCM-SHA384' "$T/ours.tls" || fail "no TLS"
grep -q 'type=DTLS, .*ssl=DTLSv1.2, cipher=ECDHE-RSA-AES256-GCM-SHA384' "$T/ours.dtls" || fail "no DTLS"
grep -q 'local=\[::1\]:3478, remote=\[::1\]:PORT' "$T/ours.udp6" || fail "no IPv6"
ok

step "names of the REST API"
compare rest <<CONF
use-auth-secret
static-auth-secret=north
CONF
ok

step "without credentials"
compare nobody <<<no-auth
grep -q '^turn/realm/example.org/user//allocation/ID/status = new' "$T/ours.nobody" || fail "another key"
ok

step "without a realm"
NO_REALM=1 compare nobody <<<no-auth
grep -q '^turn/user//allocation/ID/status = new' "$T/ours.nobody" || fail "another key"
ok

step "turnd says nothing else to Redis"
redis-cli -p "${REDIS[ours]}" info commandstats | sed -n 's/^cmdstat_\([a-z|_]*\):.*/\1/p' | sort >"$T/said"
grep -vxE 'set|del|publish|ping|select|psubscribe|info' "$T/said" && fail "it says other things"
[ "$(redis-cli -p "${REDIS[ours]}" dbsize)" = 0 ] || fail "keys are left"
ok
