#!/bin/bash
# A real browser: two RTCPeerConnections in Chromium, allowed relayed candidates only, send a
# megabyte through turnd. Chromium refuses loopback addresses, so it has a namespace of its own,
# with a default route, a cable away from the server's. The one thing from the network at large,
# playwright-core, is fetched into the build folder, once.
. "$(dirname "$0")/lib.sh"
need node npm chromium
readonly MODULES=$PINHOLE_BUILD/tests/interop/chromium

install_playwright() {
    local stamp=$MODULES/installed-from.json lock=$INTEROP/chromium/package-lock.json
    cmp -s "$lock" "$stamp" && return
    mkdir -p "$MODULES"
    cp "$INTEROP/chromium/package.json" "$lock" "$INTEROP/chromium/.npmrc" "$MODULES/"
    (cd "$MODULES" && timeout 120 npm ci --omit=dev --omit=optional --ignore-scripts) ||
        fail "npm could not install playwright-core"
    cp "$lock" "$stamp"
}

[ "${PINHOLE_ISOLATED:-}" = 1 ] || install_playwright
isolate 120 "$@"

# browse NAME PASSWORD TRANSPORT PATIENCE_MS: what the browser reports is in $T/NAME.json.
browse() {
    in_ns web env HOME="$T" TMPDIR="$T" PATIENCE_MS="$4" timeout 50 \
        node "$INTEROP/chromium/relay.mjs" "$MODULES" 198.51.100.1:3478 alice "$2" "$3" \
        >"$T/$1.json" 2>"$T/$1.err"
}

report() { cat "$T/$1.json"; tail -n 20 "$T/$1.err"; }

step "server starts"
wire srv 198.51.100.1/24 web 198.51.100.2/24
in_ns web ip route add default via 198.51.100.1
serve turnd srv <<CONF
listening-ip=198.51.100.1
relay-ip=198.51.100.1
lt-cred-mech
user=alice:secret
CONF
ok

for transport in udp tcp; do
    has $transport || continue
    step "a megabyte between browsers, TURN over $transport"
    browse "$transport" secret "$transport" 20000 || {
        report "$transport"
        fail "it did not arrive"
    }
    # shellcheck disable=SC2016
    ok "$(node -p 'const r = JSON.parse(require("fs").readFileSync(0));
        `connected in ${r.connectMs} ms, ${r.mbPerSecond} MB/s, ${r.selected.join("/")}`' \
        <"$T/$transport.json")"
done

step "with a wrong password nothing arrives"
! browse wrong wrong udp 3000 || { report wrong; fail "it arrived"; }
grep -q '"401 ' "$T/wrong.json" || { report wrong; fail "the browser does not report error 401"; }
ok

step "server stops cleanly"
stop_cleanly turnd
ok
