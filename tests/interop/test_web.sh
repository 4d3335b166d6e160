#!/bin/bash
# turnd's web page in Chromium: it asks for the token, shows a session (whose user's name is an attack), ends it, operates
# the server, and its test of the server from the browser comes to the right verdict, with a certificate that the browser
# trusts and with one that it does not.
. "$(dirname "$0")/lib.sh"
. "$INTEROP/chromium/lib.sh"
need node npm chromium openssl python3
[ "${PINHOLE_ISOLATED:-}" = 1 ] || install_playwright
isolate 240 "$@"
readonly PAGE=http://198.51.100.1:8080/ TOKEN=open-sesame
readonly USER='<img src=x onerror=alert(1)>'

# look_at NAME STEP...: in the browser; see chromium/webpage.mjs.
look_at() {
    local name=$1
    shift
    in_browser "$name" 150 webpage.mjs "$PAGE" "$TOKEN" "$USER" "$@" || {
        report "$name"
        fail "the page did not do it"
    }
}

# expect NAME EXPRESSION: of what the browser reported (r).
expect() {
    [ "$(from_json "$1" "$2")" = true ] || {
        report "$1"
        fail "not so: $2"
    }
}

hold() {
    rm -f "$T/held"
    start hold in_ns web python3 "$INTEROP/hold.py" 198.51.100.1 3478 "$USER" secret "$T"
    wait_for 10 "an allocation" test -e "$T/held"
}

step "server starts"
wire srv 198.51.100.1/24 web 198.51.100.2/24
in_ns web ip route add default via 198.51.100.1
certificate IP:198.51.100.1
serve turnd srv <<CONF
listening-ip=198.51.100.1
relay-ip=198.51.100.1
lt-cred-mech
user=$USER:secret
static-auth-secret=a-secret-for-tests
cert=$T/server.pem
pkey=$T/server.key
web=198.51.100.1:8080
api-token=$TOKEN
CONF
ok

step "a session is shown, as text, and ended"
hold
look_at sessions look end
expect sessions "r.row[0] === '$USER'"
expect sessions "/^198\.51\.100\.2:\d+$/.test(r.row[1]) && r.row[2] === 'UDP'"
expect sessions "/^198\.51\.100\.1:\d+$/.test(r.row[3])"
wait "${PID[hold]}" || fail "the client does not find its session ended"
unset "PID[hold]"
ok "$(from_json sessions 'r.row.join(", ")')"

step "drain, serve again, reload"
hold
look_at operate look operate
ok "reload says: $(from_json operate 'r.reload')"

step "test from the browser, which does not know the certificate"
look_at untrusted look test
expect untrusted "r.verdict.state === 'partial'"
expect untrusted "/^Works over UDP and TCP\. It does not work over TLS\. .*does not trust the certificate/.test(r.verdict.text)"
ok "$(from_json untrusted 'r.verdict.text')"

step "test from the browser, which trusts it"
trust_authority
look_at trusted look test
expect trusted "r.verdict.state === 'ok'"
expect trusted "/^Works over UDP, TCP and TLS\./.test(r.verdict.text)"
for transport in udp tcp tls; do
    expect trusted "r.ways.some((w) => w.transport === '$transport' && w.state === 'ok')"
done
expect trusted "r.ways.every((w) => w.state === 'ok' && w.cells.every((c) => c !== '–'))"
ok "$(from_json trusted 'r.verdict.text')"

step "server stops cleanly"
kill "${PID[hold]}" 2>/dev/null || true
stop_cleanly turnd
ok
