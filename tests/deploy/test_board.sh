#!/bin/bash
# The Grafana board and Prometheus' rules: they read numbers that turnd has, and promtool understands them.
. "$(dirname "$0")/../interop/lib.sh"
isolate 60 "$@"
need python3 openssl
DEPLOY=$PINHOLE_ROOT/deploy
board() { python3 "$PINHOLE_ROOT/tests/deploy/board.py" "$@"; }

step "turnd's numbers"
openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=turn.example.org \
    -keyout "$T/key.pem" -out "$T/cert.pem" 2>/dev/null
start turnd "$TURND" -n -L 127.0.0.1 -p 13478 --static-auth-secret=hunter2 --realm=example.org \
    --cert="$T/cert.pem" --pkey="$T/key.pem" --http-listen=127.0.0.1:9641 --node-id=a --fleet-key=0123456789abcdef \
    --redis-statedb=redis://127.0.0.1:9 --redis-statsdb=redis://127.0.0.1:9 --state-wait=10
wait_for 10 "turnd to be ready" grep -qE 'is ready|built without' "$T/turnd.log"
! grep -q 'built without HTTP' "$T/turnd.log" || skip "built without libmicrohttpd or jansson"
! grep -q 'built without Redis' "$T/turnd.log" || skip "built without hiredis"
python3 -c 'import sys, urllib.request; sys.stdout.write(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())' \
    http://127.0.0.1:9641/metrics >"$T/metrics"
stop_cleanly turnd
ok "$(grep -c '^# TYPE' "$T/metrics") families"

step "board and rules read what there is"
text=$(board "$T/metrics" "$DEPLOY" "$T/board.rules.yml") || fail "$text"
ok "$text"

step "what there is not is noticed"
grep -v turnd_quota_total "$T/metrics" >"$T/fewer"
! text=$(board "$T/fewer" "$DEPLOY" "$T/x.yml") || fail "a number that turnd does not have passed"
[[ $text == *"turnd has no turnd_quota_total"* ]] || fail "$text"
cp -r "$DEPLOY" "$T/deploy"
python3 - "$T/deploy/grafana/boards/turnd.json" <<'PY'
import json, sys
board = json.load(open(sys.argv[1]))
board["panels"][2]["gridPos"] = dict(board["panels"][1]["gridPos"])
board["panels"][3]["targets"][0]["expr"] = "rate(turnd_requests_total[$interval])"
json.dump(board, open(sys.argv[1], "w"))
PY
! text=$(board "$T/metrics" "$T/deploy" "$T/x.yml") || fail "a spoilt board passed"
[[ $text == *"lies over"* && $text == *"unknown variables"* ]] || fail "$text"
ok

step "promtool understands it all"
if ! command -v promtool >/dev/null; then
    ok "not tried: promtool is not installed (Debian: prometheus)"
    exit 0
fi
promtool check config "$DEPLOY/prometheus/prometheus.yml" >"$T/out" 2>&1 || fail "$(cat "$T/out")"
promtool check rules "$T/board.rules.yml" >"$T/out" 2>&1 || fail "$(cat "$T/out")"
sed 's/rate(/rat(/' "$T/board.rules.yml" >"$T/bad.rules.yml"
! promtool check rules "$T/bad.rules.yml" >/dev/null 2>&1 || fail "a mistake passed"
ok

step "alerts come when they should"
promtool test rules "$PINHOLE_ROOT/tests/deploy/alerts.yml" >"$T/out" 2>&1 || fail "$(cat "$T/out")"
ok "$(grep -c 'alertname:' "$PINHOLE_ROOT/tests/deploy/alerts.yml") alerts"
