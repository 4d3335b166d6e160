#!/bin/bash
# Foreign STUN clients on a network without NATs, where the truth is known to the last bit: coturn's
# turnutils_stunclient and turnutils_natdiscovery, Debian's `stun` (RFC 3489) and aioice, against
# turnd and stund. What the same tools say about NATs is tested in ../natlab/test_nat_discovery.sh.
. "$(dirname "$0")/lib.sh"
isolate 60 "$@"
need turnutils_stunclient turnutils_natdiscovery
! has rfc3489 || need stun
! has tls || need openssl
/usr/bin/python3 -c 'import aioice' || fail "python3-aioice is not installed"

readonly A=198.51.100.1 B=198.51.100.2 A6=2001:db8:1::1 B6=2001:db8:1::2
readonly AIOICE=(/usr/bin/python3 "$INTEROP/aioice_client.py")
readonly ME=198.51.100.9 ME_TOO=198.51.100.10 ME6=2001:db8:1::9

client() { in_ns cli timeout 30 "$@" >"$T/out" 2>&1; }

# said REGEX: is there a line like this in what the client said?
said() { grep -q -- "$1" "$T/out" || { cat "$T/out"; fail "the client did not say '$1'"; }; }
never_said() { ! grep -q -- "$1" "$T/out" || { cat "$T/out"; fail "the client said '$1'"; }; }

# discovery PORT A B MY_ADDRESS: the three answers turnutils_stunclient draws, from the right
# places, about one socket.
discovery() {
    local port=$1 a=$2 b=$3 me=$4 alt=$(($1 + 1)) seen
    client turnutils_stunclient -p "$port" -f "$a" || fail "it gave up"
    said "Response origin: : $a:$port\$"
    said "Response origin: : $b:$alt\$"
    said "Other addr: : $b:$alt\$"
    said 'RFC 5780 response 3'
    # It asks twice from one socket, then once from another.
    mapfile -t seen < <(sed -n 's/.*UDP reflexive addr: //p' "$T/out")
    [[ ${#seen[@]} = 3 && ${seen[0]} = "$me:"* && ${seen[1]} = "${seen[0]}" &&
        ${seen[2]} = "$me:"* ]] ||
        fail "its reflexive addresses are ${seen[*]}"
    ok
}

# natdiscovery PORT OPTIONS...
natdiscovery() {
    local port=$1
    shift
    client turnutils_natdiscovery -p "$port" -L "$ME" "$@" "$A" || fail "it gave up"
    never_said 'STUN receive timeout'
}

all_clients() {
    local server=$1 port=$2
    step "$server: stunclient, RFC 5780, IPv4"
    discovery "$port" "$A" "$B" "$ME"
    step "$server: stunclient, RFC 5780, IPv6"
    discovery "$port" "$A6" "$B6" "$ME6"
    for padding in '' -P; do
        step "$server: natdiscovery -m -f $padding"
        # shellcheck disable=SC2086
        natdiscovery "$port" -m -f $padding
        said 'No NAT!'
        said 'NAT with Endpoint Independent Filtering!'
        ok
    done
    step "$server: natdiscovery, collision"
    natdiscovery "$port" -c -l 5000 -A "$ME_TOO"
    said "UDP reflexive addr: $ME:5000"
    said "UDP reflexive addr: $ME_TOO:5000"
    ok
    # The second answer must come to the first socket (RESPONSE-PORT).
    step "$server: natdiscovery, mapping lifetime"
    natdiscovery "$port" -t -T 1
    said 'RFC 5780 response 2'
    ok
    step "$server: aioice, reflexive candidate"
    client "${AIOICE[@]}" reflexive "$A" "$port" || { cat "$T/out"; fail "no answer"; }
    [ "$(awk '$1 == "local" && $2 == $4 { n++ } END { print n, NR }' "$T/out")" = "2 2" ] || {
        cat "$T/out"
        fail "the reflexive candidates are not our own two addresses"
    }
    ok "$(wc -l <"$T/out") candidates"
}

step "servers start"
if has tls; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
        -subj /CN=turn.example.org -addext "subjectAltName=IP:$A" \
        -keyout "$T/key.pem" -out "$T/cert.pem" 2>/dev/null
fi
wire srv "$A/24 $B/24 $A6/64 $B6/64" cli "$ME/24 $ME_TOO/24 $ME6/64"
serve turnd srv <<CONF
listening-ip=$A
listening-ip=$B
listening-ip=$A6
listening-ip=$B6
rfc5780
$(! has rfc3489 || echo rfc3489-compatibility)
stun-backward-compatibility
lt-cred-mech
user=alice:secret
$(! has tls || printf 'cert=%s\npkey=%s\n' "$T/cert.pem" "$T/key.pem")
CONF
serve plain srv <<CONF
listening-ip=$A
listening-port=3678
no-auth
CONF
serve_stun stund srv 3578 "$A" "$B" "$A6" "$B6"
ok

all_clients turnd 3478
all_clients stund 3578

if has rfc3489; then
    step "turnd: stun, RFC 3489"
    client stun "$A" || true # its status is its verdict
    said 'Primary: Open'
    ok
fi

step "turnd without RFC 5780"
client turnutils_stunclient -p 3678 "$A" || fail "no answer"
said "UDP reflexive addr: $ME:[0-9]*\$"
never_said 'Other addr'
never_said 'RFC 5780 response 2'
ok

for transport in udp tcp tls; do
    has $transport || continue
    step "turnd: aioice relays over $transport"
    client env SSL_CERT_FILE="$T/cert.pem" "${AIOICE[@]}" relay "$A" 3478 alice secret "$transport" || {
        tail -5 "$T/out"
        fail "no relayed connection"
    }
    said 'messages each way'
    ok "$(cat "$T/out")"
done
step "turnd: aioice with a wrong password"
! client "${AIOICE[@]}" relay "$A" 3478 alice wrong udp || fail "got a relay"
said '401'
ok

step "servers stop cleanly"
for name in turnd plain stund; do stop_cleanly "$name"; done
ok
