#!/bin/bash
# What the image's entrypoint makes of arguments and variables, with a turnd that only tells what it was given: coturn's
# conventions hold, no text is ever evaluated, and addresses are found. No container is needed.
. "$(dirname "$0")/../interop/lib.sh"
isolate 60 "$@"
DOCKER=$PINHOLE_ROOT/deploy/docker
mkdir -p "$T/bin" "$T/secrets"
cp "$DOCKER/detect-external-ip.sh" "$T/bin/detect-external-ip"
cp "$DOCKER/make-secrets.sh" "$T/bin/make-secrets"
cat >"$T/bin/turnd" <<'SH'
#!/bin/bash
[ $# -eq 0 ] || printf '[%s]' "$@"
for name in TURND_EXTERNAL_IP TURND_RELAY_IP TURND_API_SOCKET; do
    [ -z "${!name-}" ] || printf ' %s=%s' "$name" "${!name//$'\n'/+}"
done
SH
chmod 755 "$T"/bin/*
PATH=$T/bin:$PATH

# runs EXPECTED [VARIABLE=VALUE...] -- ARGUMENT...
runs() {
    local expected=$1 variables=() got
    shift
    while [ "$1" != -- ]; do variables+=("$1"); shift; done
    shift
    got=$(env "${variables[@]}" bash "$DOCKER/entrypoint.sh" "$@" 2>"$T/err") || fail "$*: $(cat "$T/err")"
    [ "$got" = "$expected" ] || fail "$*: $got, and not $expected"
}

step "which program it is"
runs '' --
runs '[-n][--realm=x y]' -- -n '--realm=x y'
runs '[-n]' -- turnd -n
runs '[-n]' -- turnserver -n
runs 'hello world' -- echo hello world
runs '$(detect-external-ip)' -- echo '$(detect-external-ip)'
ok

step "no argument is evaluated"
# shellcheck disable=SC2016
for text in '$(touch '"$T"'/evil)' '`touch '"$T"'/evil`' '${HOME}' '$HOME' '; touch '"$T/evil" '*' '~' '&&' "'" '"' \
    '\n' '%s' ' two  blanks ' '$(detect-external-ip) $(touch '"$T"'/evil)' '$(detect-external-ip;id)' '' '&'; do
    shown=${text//'$(detect-external-ip)'/198.51.100.7}
    runs "[-r][$shown] TURND_EXTERNAL_IP=198.51.100.7" REAL_EXTERNAL_IP=198.51.100.7 -- -r "$text"
    runs "[--user=$shown] TURND_EXTERNAL_IP=198.51.100.7" REAL_EXTERNAL_IP=198.51.100.7 -- "--user=$text"
done
[ ! -e "$T/evil" ] || fail "something was executed"
ok

step "coturn's \$(detect-external-ip) and REAL_EXTERNAL_IP"
ip link add out type veth peer name other
ip link set other up
ip addr add 198.51.100.20/24 dev out
ip addr add 2001:db8:20::1/64 dev out nodad
ip link set out up
ip route add default dev out
ip -6 route add default dev out
runs '[--external-ip=198.51.100.20]' -- '--external-ip=$(detect-external-ip)'
runs '[--external-ip=198.51.100.20/198.51.100.20][-n]' -- \
    '--external-ip=$(detect-external-ip)/$(detect-external-ip --ipv4)' -n
runs '[-X][2001:db8:20:0:0:0:0:1]' -- -X '$(detect-external-ip --ipv6)'
runs '[--external-ip=203.0.113.9]' REAL_EXTERNAL_IP=203.0.113.9 -- '--external-ip=$(detect-external-ip)'
runs '[-n] TURND_EXTERNAL_IP=203.0.113.9' REAL_EXTERNAL_IP=203.0.113.9 -- -n
runs '[-n] TURND_EXTERNAL_IP=192.0.2.1' REAL_EXTERNAL_IP=203.0.113.9 TURND_EXTERNAL_IP=192.0.2.1 -- -n
runs '[-n] TURND_EXTERNAL_IP=203.0.113.9' REAL_EXTERNAL_IP=203.0.113.9 TURND_EXTERNAL_IP= -- -n
ok

step "its DETECT_ variables"
runs ' TURND_EXTERNAL_IP=198.51.100.20' DETECT_EXTERNAL_IP=yes --
runs ' TURND_EXTERNAL_IP=198.51.100.20+2001:db8:20:0:0:0:0:1 TURND_RELAY_IP=198.51.100.20' \
    DETECT_EXTERNAL_IP=1 DETECT_EXTERNAL_IPV6=true DETECT_RELAY_IP=Yes --
runs ' TURND_EXTERNAL_IP=203.0.113.9 TURND_RELAY_IP=198.51.100.20+2001:db8:20:0:0:0:0:1' \
    REAL_EXTERNAL_IP=203.0.113.9 DETECT_EXTERNAL_IP=yes DETECT_RELAY_IP=yes DETECT_RELAY_IPV6=yes --
runs '' DETECT_EXTERNAL_IP=no DETECT_RELAY_IP= --
ok

step "asking a STUN server"
[ -x "$STUND" ] || fail "no stund"
start stund "$STUND" -L 127.0.0.1 -L ::1 -p 13478 --no-rfc5780
wait_for 10 "stund to be ready" grep -q 'is ready' "$T/stund.log"
for service in "127.0.0.1 13478" 127.0.0.1:13478 "localhost 13478"; do
    STUN_SERVICE=$service runs '[--external-ip=127.0.0.1]' -- '--external-ip=$(detect-external-ip)'
done
STUN_SERVICE='[::1]:13478' runs '[-X][0:0:0:0:0:0:0:1]' -- -X '$(detect-external-ip --ipv6)'
# Often, since the transaction ID is random, and no byte of it may end a line: there are two in a hundred.
for ((i = 0; i < 50; i++)); do
    [ "$(STUN_SERVICE=127.0.0.1:13478 detect-external-ip)" = 127.0.0.1 ] || fail "attempt $i"
done
STUN_SERVICE=false runs '[-X][198.51.100.20]' -- -X '$(detect-external-ip)'
ok

step "no server there, no route"
STUN_SERVICE=127.0.0.1:9 runs '[-X][198.51.100.20]' -- -X '$(detect-external-ip)'
grep -q 'no answer from the STUN server 127.0.0.1, port 9' "$T/err" || fail "$(cat "$T/err")"
ip addr flush dev out
ip addr add 10.1.2.3/24 dev out
ip route add default dev out
runs '[-X][10.1.2.3]' -- -X '$(detect-external-ip)'
grep -q '10.1.2.3 is private.*set REAL_EXTERNAL_IP' "$T/err" || fail "$(cat "$T/err")"
ip link set out down
! bash "$DOCKER/entrypoint.sh" -X '$(detect-external-ip)' >"$T/out" 2>"$T/err" || fail "it started without an address"
grep -q 'no route to the outside for IPv4' "$T/err" || fail "$(cat "$T/err")"
ok

step "secrets are made once, for one reader"
for ((i = 0; i < 8; i++)); do
    SECRETS=$T/secrets HOSTNAME=node-$i MAKE_SECRETS="one two" bash "$DOCKER/entrypoint.sh" >/dev/null 2>&1 &
    makers[i]=$!
done
for pid in "${makers[@]}"; do wait "$pid" || fail "a node did not start"; done
[ "$(ls "$T/secrets")" = $'one\ntwo' ] || fail "$(ls "$T/secrets")"
[[ "$(cat "$T/secrets/one")" =~ ^[0-9a-f]{64}$ ]] || fail "$(cat "$T/secrets/one")"
! cmp -s "$T/secrets/one" "$T/secrets/two" || fail "they are the same"
[ "$(stat -c %a "$T/secrets/one")" = 600 ] || fail "others can read it"
cp "$T/secrets/one" "$T/before"
SECRETS=$T/secrets HOSTNAME=later MAKE_SECRETS="one three" bash "$DOCKER/entrypoint.sh" >/dev/null 2>&1
cmp -s "$T/before" "$T/secrets/one" || fail "a restart made another one"
[ -s "$T/secrets/three" ] || fail "a new one was not made"
ok
