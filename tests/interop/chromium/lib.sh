# shellcheck shell=bash
#
# Shared by the tests with a browser, after ../lib.sh. Chromium refuses loopback addresses, so it has a namespace of its own,
# with a default route, a cable away from the server's. The one thing from the network at large, playwright-core, is fetched
# into the build folder, once.
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

# in_browser NAME SECONDS SCRIPT ARGUMENT...: run a script of chromium/; what it prints is in $T/NAME.json.
in_browser() {
    local name=$1 seconds=$2 script=$3
    shift 3
    in_ns web env HOME="$T" TMPDIR="$T" timeout "$seconds" \
        node "$INTEROP/chromium/$script" "$MODULES" "$@" >"$T/$name.json" 2>"$T/$name.err"
}

report() { cat "$T/$1.json"; tail -n 20 "$T/$1.err"; }

# from_json NAME EXPRESSION: of what a script printed (r); an expression that throws fails.
from_json() {
    node -p "const r = JSON.parse(require('fs').readFileSync('$T/$1.json')); $2"
}

# certificate NAMES: an authority of our own, and by it $T/server.pem with server.key for these subjectAltNames.
certificate() {
    local ec=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
    {
        openssl req -x509 "${ec[@]}" -days 2 -keyout "$T/ca.key" -out "$T/ca.pem" \
            -subj "/CN=Pinhole's test authority" -addext keyUsage=critical,keyCertSign &&
            openssl req "${ec[@]}" -keyout "$T/server.key" -out "$T/server.csr" -subj "/CN=turnd" &&
            openssl x509 -req -in "$T/server.csr" -CA "$T/ca.pem" -CAkey "$T/ca.key" -days 2 \
                -out "$T/server.pem" -extfile <(echo "subjectAltName=$1")
    } 2>"$T/openssl.log" || { cat "$T/openssl.log"; fail "openssl made no certificate"; }
}

# trust_authority: from now on Chromium takes certificates of our authority, for TURN as for pages, and checks them as any
# other. A policy of the machine says so, on which this test's own /etc/chromium is mounted; nothing needs be switched off
# (--ignore-certificate-errors would do, too, but then nothing is checked), nor is certutil.
trust_authority() {
    [ -d /etc/chromium ] || fail "there is no /etc/chromium to mount a policy on"
    mount -t tmpfs none /etc/chromium
    mkdir -p /etc/chromium/policies/managed
    printf '{"CACertificates": ["%s"]}\n' "$(openssl x509 -in "$T/ca.pem" -outform der | base64 -w0)" \
        >/etc/chromium/policies/managed/pinhole-test.json
}
