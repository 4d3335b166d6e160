#!/bin/bash
# turnd's HTTP: health, the JSON API through each of its doors, the page, the audit log, and what hostile callers get.
. "$(dirname "$0")/../interop/lib.sh"
isolate 150 "$@"
need python3
export INTEROP T PYTHONPATH=$PINHOLE_ROOT/tests/cmd

# conf: a configuration file of $T/more.conf, on top of what every server here has.
conf() {
    cat >"$T/t.conf" <<'CONF'
listening-ip=127.0.0.1
listening-port=13478
relay-ip=127.0.0.1
no-tls
no-dtls
realm=example.org
static-auth-secret=hunter2
allow-loopback-peers
relay-threads=2
log-format=json
CONF
    cat "$T/more.conf" >>"$T/t.conf"
}

# up: start turnd, with more configuration from stdin, and wait until it is ready. down: end it; the
# status must be 0.
up() {
    cat >"$T/more.conf"
    conf
    start turnd "$TURND" -c "$T/t.conf"
    wait_for 10 "turnd to be ready" grep -qE 'is ready|built without HTTP' "$T/turnd.log"
    ! grep -q 'built without HTTP' "$T/turnd.log" || skip "built without libmicrohttpd or jansson"
}
down() { stop_cleanly turnd; }

# refused TEXT: turnd must not start with the configuration from stdin, and say this.
refused() {
    local status=0
    cat >"$T/more.conf"
    conf
    timeout 10 "$TURND" -c "$T/t.conf" >"$T/out" 2>&1 || status=$?
    [ $status -eq 1 ] || { cat "$T/out"; fail "status $status, not 1"; }
    grep -qF -- "$1" "$T/out" || { cat "$T/out"; fail "does not say: $1"; }
}

up <<CONF
http-listen=127.0.0.1:9641
api-listen=127.0.0.1:8081
api-token=sesame
web=127.0.0.1:8080
api-socket=$T/api.sock
CONF

step "one who sends a byte now and then, in the background"
python3 - >"$T/slow.out" 2>&1 <<'PY' &
import socket, time
s = socket.create_connection(("127.0.0.1", 8081), 5)
s.settimeout(0.5)
begin = time.monotonic()
s.sendall(b"GET /v1/status HTTP/1.1\r\nHost: x\r\nX-Slow: ")
while time.monotonic() - begin < 20:
    try:
        s.sendall(b"x")
        if not s.recv(4096):
            break
    except TimeoutError:
        continue
    except OSError:
        break
print(f"{time.monotonic() - begin:.1f}")
PY
slow=$!
ok

step "health, and nothing else, for anybody"
python3 - <<'PY'
from admin_kit import *
d = Door(("127.0.0.1", 9641))
assert d.ask("GET", "/healthz")[::2] == (200, b"ok\n")
assert d.ask("GET", "/readyz")[::2] == (200, b"ready\n")
assert d.ask("GET", "/")[0] == 200
assert d.ask("HEAD", "/healthz")[::2] == (200, b"")
status, headers, text = d.ask("GET", "/metrics")
assert status == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4")
assert b"turnd_build_info{" in text and b"turn_total_" not in text
for target in "/v1/status", "/v1/sessions", "/v1/credentials", "/index.html", "/x":
    assert "error" in d.json("GET", target, status=404)
status, headers, _ = d.ask("POST", "/healthz")
assert status == 405 and headers["Allow"] == "GET, HEAD"
PY
ok

step "the token"
python3 - <<'PY'
from admin_kit import *
d = Door(("127.0.0.1", 8081))
for shown in None, "Bearer", "Bearer sesam", "Bearer sesame2", "Basic c2VzYW1l":
    status, headers, text = d.ask("GET", "/v1/status", headers={"Authorization": shown} if shown else {})
    assert status == 401 and headers["WWW-Authenticate"].startswith("Bearer"), (shown, status)
    assert b"sesame" not in text
assert Door(d.at, "sesame").json("GET", "/v1/status")["state"] == "serving"
assert d.ask("DELETE", "/v1/users/alice")[0] == 401
PY
[ "$(grep -c 'wrong token' "$T/turnd.log")" -eq 1 ] || fail "wrong tokens are not logged once"
! grep -q 'sesam' "$T/turnd.log" || fail "a token is in the log"
ok

step "the page"
python3 - <<'PY'
from admin_kit import *
import re
d = Door(("127.0.0.1", 8080))
status, headers, page = d.ask("GET", "/")
assert status == 200 and headers["Content-Type"] == "text/html; charset=utf-8"
csp = headers["Content-Security-Policy"]
assert "default-src 'self'" in csp and "frame-ancestors 'none'" in csp, csp
assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "no-referrer"
assert not re.search(rb'(src|href)="(https?:)?//', page), "something from elsewhere"
for name, kind in ("/app.js", "text/javascript"), ("/style.css", "text/css"), ("/icon.svg", "image/svg+xml"):
    status, headers, text = d.ask("GET", name)
    assert status == 200 and headers["Content-Type"].startswith(kind) and text, name
status, _, text = d.ask("GET", name, headers={"If-None-Match": headers["ETag"]})
assert (status, text) == (304, b"")
for name in "/../admin.c", "/%2e%2e/admin.c", "/nothing", "//", "/app.js/":
    assert d.ask("GET", name)[0] == 404, name
assert d.ask("GET", "/", headers={"Host": "evil.example:8080"})[0] == 403
assert d.ask("GET", "/v1/status", headers={"Host": "evil.example:8080"})[0] == 403
assert d.ask("GET", "/v1/status", headers={"Origin": "http://evil.example"})[0] == 403
assert d.ask("POST", "/v1/drain", "{}", {"Content-Type": "text/plain"})[0] == 415
assert d.ask("OPTIONS", "/v1/drain", headers={"Origin": "http://evil.example"})[0] == 403
assert d.json("GET", "/v1/status")["state"] == "serving"
PY
ok

step "credentials to test with work"
python3 - <<'PY'
from admin_kit import *
got = Door(os.environ["T"] + "/api.sock").json("GET", "/v1/credentials?ttl=60")
server = got["iceServers"][0]
assert server["urls"] == ["turn:127.0.0.1:13478?transport=udp", "turn:127.0.0.1:13478?transport=tcp"], server
assert got["ttl"] == 60 and 0 < got["expires"] - time.time() <= 61
for transport in "udp", "tcp":
    c = turnclient.Client(("127.0.0.1", 13478), server["username"], server["credential"], transport=transport)
    c.allocate()
    c.release()
PY
ok

step "hostile names change nothing but their line"
python3 - <<'PY'
from admin_kit import *
t = os.environ["T"]
d = Door(t + "/api.sock")
names = [b"%s%n%x", b"a\nb\r\x1b[2J", b'"},"level":"error","x":"', b"\\x41\\", b"../*?[a]", b"\xff\xfe\xed\xa0\x80",
         "grüß €".encode(), b"x" * 490, "\u202eevil".encode(), b"\x7f\xc2\x9b"]
clients = [client(("127.0.0.1", 13478), b"hunter2", n) for n in names]
for c in clients:
    c.allocate()
found = d.json("GET", "/v1/sessions")
assert found["matched"] == len(names) and found["next"] is None
by_name = {}
for s in found["sessions"]:
    exact = bytes.fromhex(s["user_hex"]) if "user_hex" in s else s["user"].encode()
    by_name[exact.split(b":", 1)[1]] = s
assert set(by_name) == set(names), by_name
assert [n for n in names if "user_hex" in by_name[n]] == [b"\xff\xfe\xed\xa0\x80"]
raw = d.ask("GET", "/v1/sessions")[2]
assert all(32 <= b < 127 or b == 10 for b in raw.replace(b"\x7f", b"")), "not plain ASCII"
for name in names:
    s = by_name[name]
    quoted = "".join(f"%{b:02X}" for b in name)
    assert [x["session"] for x in d.json("GET", f"/v1/sessions?user={quoted}")["sessions"]] == [s["session"]]
    assert d.json("DELETE", f"/v1/users/{quoted}")["ended"] == 1, name
assert d.json("GET", "/v1/sessions")["matched"] == 0
lines = log_lines(t + "/turnd.log")
made = {x["session"]: x for x in lines if x["message"] == "allocation made"}
ended = {x["session"]: x for x in lines if x["message"] == "allocation ended"}
for s in by_name.values():
    x, y = made[s["session"]], ended[s["session"]]
    assert x["session"] == y["session"] == s["session"] and len(x["session"]) == 18, (x, s)
    assert y["reason"] == "revoked" and x["level"] == "info"
    if "user_hex" not in s:
        assert x["user"] == s["user"], (x, s)
    else:
        assert "\ufffd" in x["user"]
PY
ok

step "filters, pages, one session, its end"
python3 - <<'PY'
from admin_kit import *
import socket
t = os.environ["T"]
d = Door(t + "/api.sock")
server = "127.0.0.1", 13478
clients = [client(server, b"hunter2", b"user%d" % (i % 3), "tcp" if i % 4 == 3 else "udp") for i in range(12)]
relays = [c.allocate() for c in clients]
clients[5].permit(("127.0.0.7", 7))
clients[5].bind_channel(0x4001, ("127.0.0.8", 8))

def numbers(query):
    return [s["session"] for s in d.json("GET", "/v1/sessions" + query)["sessions"]]
everyone = numbers("")
assert len(everyone) == 12 and everyone == sorted(everyone)
pages, after = [], "0"
while after:
    page = d.json("GET", f"/v1/sessions?limit=5&after={after}")
    pages += [s["session"] for s in page["sessions"]]
    after = page["next"]
assert pages == everyone
by_client = {f"{m[0]}:{m[1]}": i for i, (_, m) in enumerate(relays)}
at = {by_client[s["client"]]: s for s in d.json("GET", "/v1/sessions")["sessions"]}
assert numbers("?user=user1") == sorted(at[i]["session"] for i in (1, 4, 7, 10))
assert numbers("?user=user1&transport=tcp") == [at[7]["session"]]
assert numbers("?realm=example.org&limit=1") == everyone[:1] and numbers("?realm=x") == []
mapped = relays[5][1]
assert numbers(f"?client={mapped[0]}:{mapped[1]}") == [at[5]["session"]]
assert numbers("?client=127.0.0.2") == [] and len(numbers("?client=127.0.0.1")) == 12
assert numbers("?peer=127.0.0.7") == [at[5]["session"]] == numbers("?peer=127.0.0.8:8")
assert numbers("?peer=127.0.0.9") == []

echo = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
echo.bind(("127.0.0.1", 0))
clients[5].permit(echo.getsockname())
for _ in range(3):
    clients[5].send(echo.getsockname(), b"x" * 100)
    echo.settimeout(5)
    _, back = echo.recvfrom(2000)
    echo.sendto(b"y" * 50, back)
    while not clients[5].inbox:
        clients[5].receive(5)
    clients[5].inbox.clear()
one = d.json("GET", f"/v1/sessions/{at[5]['session']}")
assert one["relay"] == ["%s:%d" % relays[5][0]] and one["server"] == "127.0.0.1:13478", one
assert (one["to_peer_packets"], one["to_peer_bytes"], one["to_client_packets"], one["to_client_bytes"]) == \
    (3, 300, 3, 150), one
assert {"127.0.0.7", "127.0.0.8:8"} <= set(one["peers"]), one
assert 0 <= one["age_s"] < 60 and 500 < one["expires_in_s"] <= 600 and one["permissions"] >= 2

assert d.json("DELETE", f"/v1/sessions/{at[5]['session']}")["ended"] is True
for method in "GET", "DELETE":
    assert "error" in d.json(method, f"/v1/sessions/{at[5]['session']}", status=404)
try:
    clients[5].permit(("127.0.0.1", 9))
    assert False, "the client does not know"
except turnclient.TurnError as e:
    assert e.code == 437, e.code
assert len(numbers("")) == 11
x = next(x for x in log_lines(t + "/turnd.log") if x["message"] == "allocation ended" and x["session"] == at[5]["session"])
assert x["reason"] == "ended" and x["realm"] == "example.org", x
assert (x["to_peer_packets"], x["to_peer_bytes"], x["to_client_bytes"], x["dropped"]) == (3, 300, 150, 0), x
assert {"127.0.0.7", "127.0.0.8:8"} <= set(x["peers"]) and 0 <= x["duration"] < 60, x
assert x["client"] == "%s:%d" % mapped and x["relay"] == ["%s:%d" % relays[5][0]], x
assert x["transport"] == "udp" and x["server"] == "127.0.0.1:13478"
clients[3].sock.close()  # a connection that goes takes its allocation along
end = time.monotonic() + 10
while time.monotonic() < end:
    x = [x for x in log_lines(t + "/turnd.log") if x["message"] == "allocation ended"][-1]
    if x["session"] == at[3]["session"]:
        break
    time.sleep(0.05)
assert x["reason"] == "closed" and x["transport"] == "tcp", x
assert len(numbers("")) == 10
for i in set(range(12)) - {3, 5}:
    clients[i].release()
PY
ok

step "many peers are told as a number"
python3 - <<'PY'
from admin_kit import *
t = os.environ["T"]
c = client(("127.0.0.1", 13478), b"hunter2", b"many")
c.allocate()
for i in range(40):
    c.permit((f"127.0.1.{i}", 7))
c.release()
x = ended(t + "/turnd.log", "many")
assert len(x["peers"]) == 33 and x["peers"][-1] == "+8", x["peers"]
assert x["reason"] == "released"
PY
ok

step "requests that are too much"
python3 - <<'PY'
from admin_kit import *
import socket
t = os.environ["T"]
d = Door(t + "/api.sock")
assert d.ask("PUT", "/v1/log", " " * 65537, {"Content-Type": "application/json"})[0] == 413
assert d.ask("PUT", "/v1/log", '{"level":"info"}' + " " * 65000, {"Content-Type": "application/json"})[0] == 200
assert d.ask("GET", "/v1/sessions?user=" + "a" * 9000)[0] in (400, 414)
assert d.ask("GET", "/v1/status", headers={"X-Big": "x" * 60000})[0] in (400, 413, 431)
for target in "/v1/sessions?limit=x", "/v1/sessions?colour=red", "/v1/sessions/x", "/v1/users/%00":
    assert "error" in d.json("DELETE" if "users" in target else "GET", target, status=400), target
for body in "x", "[]", '{"deadline":-1}', '{"deadline":1,"deadline":2}', "[" * 60000:
    assert d.ask("POST", "/v1/drain", body, {"Content-Type": "application/json"})[0] == 400, body[:30]
s = socket.socket(socket.AF_UNIX)  # chunks without end
s.settimeout(10)
s.connect(t + "/api.sock")
try:
    s.sendall(b"PUT /v1/log HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + (b"1000\r\n" + b" " * 4096 + b"\r\n") * 20 + b"0\r\n\r\n")
except OSError:
    pass
assert b" 413 " in s.recv(4096)
for garbage in b"\x16\x03\x01\x02\x00\x01", b"GET\r\n\r\n", b"\x00\x01\x00\x00!\x12\xa4B" + bytes(12), b"GET / HTTP/9.9\r\n\r\n":
    s = socket.create_connection(("127.0.0.1", 8081), 5)
    s.sendall(garbage)
    s.close()
held = [socket.create_connection(("127.0.0.1", 8081), 5) for _ in range(100)]  # do not keep others out
assert Door(("127.0.0.1", 9641)).ask("GET", "/healthz")[0] == 200
assert d.json("GET", "/v1/status")["state"] == "serving"
PY
wait $slow
awk '{ exit !($1 > 8 && $1 < 15) }' "$T/slow.out" || fail "the slow one was there for $(cat "$T/slow.out") s"
ok "slow one out after $(cat "$T/slow.out") s"

step "log level, reload, drain"
python3 - <<'PY'
from admin_kit import *
t = os.environ["T"]
d, probe = Door(t + "/api.sock"), Door(("127.0.0.1", 9641))
assert d.json("GET", "/v1/log")["level"] == "info"
assert d.json("PUT", "/v1/log", {"level": "debug"})["level"] == "debug"
assert d.json("PUT", "/v1/log", {"level": "info"})["level"] == "info"
d.json("PUT", "/v1/log", {"level": "loud"}, status=400)
c = client(("127.0.0.1", 13478), b"hunter2", b"one")
c.allocate()
assert "text" in d.json("POST", "/v1/reload")
with open(t + "/t.conf", "a") as f:
    f.write("max-bps=x\n")
problem = d.json("POST", "/v1/reload", status=422)["error"]
assert "max-bps" in problem and "t.conf:" in problem, problem
status = d.json("GET", "/v1/status")
assert status["reloads"] == 1 and status["reload_failures"] == 1 and status["allocations"]["udp"] == 1, status
got = d.json("POST", "/v1/drain", {"deadline": 3600})
assert got["state"] == "draining" and 3590 < got["drain_until"] - time.time() < 3610
assert probe.ask("GET", "/readyz")[::2] == (503, b"draining\n") and probe.ask("GET", "/healthz")[0] == 200
try:
    client(("127.0.0.1", 13478), b"hunter2", b"two").allocate()
    assert False, "a new allocation while draining"
except turnclient.TurnError as e:
    assert e.code in (300, 508), e.code
c.permit(("127.0.0.1", 7))
assert d.json("DELETE", "/v1/drain")["state"] == "serving" and probe.ask("GET", "/readyz")[0] == 200
c2 = client(("127.0.0.1", 13478), b"hunter2", b"two")
c2.allocate()
assert d.json("POST", "/v1/stop", status=202)["state"] == "stopping"
PY
status=0
wait "${PID[turnd]}" || status=$?
unset "PID[turnd]"
[ $status -eq 0 ] || fail "status $status"
[ ! -e "$T/api.sock" ] || fail "the socket is still there"
[ "$(grep -c '"reason":"shutdown"' "$T/turnd.log")" -eq 2 ] || fail "the last sessions are not in the audit"
grep -q '"message":"admin request","door":"socket","method":"POST","target":"/v1/stop","status":202,"uid":' "$T/turnd.log" ||
    fail "the request is not on record"
ok

step "the socket: mode, stale, in use, no socket"
up <<CONF
api-socket=$T/api.sock
api-socket-mode=600
CONF
[ "$(stat -c %a "$T/api.sock")" = 600 ] || fail "mode $(stat -c %a "$T/api.sock")"
sed -i 's/13478/13479/' "$T/t.conf"
status=0
timeout 10 "$TURND" -c "$T/t.conf" >"$T/out" 2>&1 || status=$?
[ $status -eq 1 ] || fail "a second server on the same socket: status $status"
grep -q "cannot serve the API at $T/api.sock: Address already in use" "$T/out" || { cat "$T/out"; fail "no reason"; }
[ -S "$T/api.sock" ] || fail "the second one has removed the socket of the first"
kill -KILL "${PID[turnd]}"
status=0
wait "${PID[turnd]}" 2>/dev/null || status=$?
[ $status -eq 137 ] || fail "it ended with status $status before it could be killed"
[ -S "$T/api.sock" ] || fail "no stale socket to test with"
up <<CONF
api-socket=$T/api.sock
CONF
[ "$(stat -c %a "$T/api.sock")" = 660 ] || fail "mode $(stat -c %a "$T/api.sock")"
down
[ ! -e "$T/api.sock" ] || fail "the socket is still there"
echo precious >"$T/file"
refused "there is a file that is no socket" <<<"api-socket=$T/file"
grep -q precious "$T/file" || fail "the file is gone"
refused "No such file or directory" <<<"api-socket=$T/nowhere/api.sock"
ok

step "one worker on the main thread"
up <<CONF
relay-threads=0
api-socket=$T/api.sock
CONF
python3 - <<'PY'
from admin_kit import *
d = Door(os.environ["T"] + "/api.sock")
c = client(("127.0.0.1", 13478), b"hunter2", b"one")
c.allocate()
found = d.json("GET", "/v1/sessions?peer=127.0.0.9")["sessions"]
assert found == []
one = d.json("GET", "/v1/sessions")["sessions"][0]
assert d.json("DELETE", f"/v1/sessions/{one['session']}")["ended"]
assert d.ask("GET", "/metrics")[0] == 200
assert d.json("POST", "/v1/stop", status=202)["state"] == "stopping"
PY
status=0
wait "${PID[turnd]}" || status=$?
unset "PID[turnd]"
[ $status -eq 0 ] || fail "status $status"
ok
