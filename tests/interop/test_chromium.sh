#!/bin/bash
# A real browser: two RTCPeerConnections in Chromium, allowed relayed candidates only, send a megabyte through turnd, over
# every transport that browsers know.
. "$(dirname "$0")/lib.sh"
. "$INTEROP/chromium/lib.sh"
need node npm chromium openssl
[ "${PINHOLE_ISOLATED:-}" = 1 ] || install_playwright
isolate 180 "$@"

# browse NAME PASSWORD TRANSPORT PATIENCE_MS: what the browser reports is in $T/NAME.json.
browse() {
    local port=3478
    [ "$3" != tls ] || port=5349
    PATIENCE_MS=$4 in_browser "$1" 50 relay.mjs "198.51.100.1:$port" alice "$2" "$3"
}

step "server starts"
wire srv 198.51.100.1/24 web 198.51.100.2/24
in_ns web ip route add default via 198.51.100.1
tls=
if has tls; then
    certificate IP:198.51.100.1
    tls=$(printf 'cert=%s\npkey=%s' "$T/server.pem" "$T/server.key")
fi
serve turnd srv <<CONF
listening-ip=198.51.100.1
relay-ip=198.51.100.1
lt-cred-mech
user=alice:secret
$tls
CONF
ok

if has tls; then
    step "turns: of an authority that the browser does not know"
    ! browse untrusted secret tls 4000 || { report untrusted; fail "it connected"; }
    grep -q '"701 ' "$T/untrusted.json" || { report untrusted; fail "the browser does not report error 701"; }
    ok
    trust_authority
fi

for transport in udp tcp tls; do
    has $transport || continue
    step "a megabyte between browsers, TURN over $transport"
    browse "$transport" secret "$transport" 20000 || {
        report "$transport"
        fail "it did not arrive"
    }
    # shellcheck disable=SC2016
    ok "$(from_json $transport \
        '`connected in ${r.connectMs} ms, ${r.mbPerSecond} MB/s, ${r.selected.join("/")}`')"
done

step "with a wrong password nothing arrives"
! browse wrong wrong udp 3000 || { report wrong; fail "it arrived"; }
grep -q '"401 ' "$T/wrong.json" || { report wrong; fail "the browser does not report error 401"; }
ok

step "server stops cleanly"
stop_cleanly turnd
ok
