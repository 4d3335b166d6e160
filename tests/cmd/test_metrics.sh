#!/bin/bash
# turnd's metrics: every line of them by a strict reader, live counters, coturn's names, labels of users, TLS.
. "$(dirname "$0")/../interop/lib.sh"
isolate 60 "$@"
need python3 openssl
export INTEROP T PYTHONPATH=$PINHOLE_ROOT/tests/cmd
check() { python3 "$PINHOLE_ROOT/tests/cmd/prometheus.py" "$@" || fail "the text is not as it should be"; }

# up: start turnd, with more configuration from stdin.
up() {
    cat >"$T/more.conf"
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
http-listen=127.0.0.1:9641
CONF
    cat "$T/more.conf" >>"$T/t.conf"
    start turnd "$TURND" -c "$T/t.conf"
    wait_for 10 "turnd to be ready" grep -qE 'is ready|built without HTTP' "$T/turnd.log"
    ! grep -q 'built without HTTP' "$T/turnd.log" || skip "built without libmicrohttpd or jansson"
}

step "the reader finds planted mistakes"
check --self-test
ok

step "every line is right, and live"
up </dev/null
python3 - <<'PY'
from admin_kit import *
import socket
t = os.environ["T"]
d = Door(("127.0.0.1", 9641))

def scrape(name):
    status, _, text = d.ask("GET", "/metrics")
    assert status == 200
    with open(f"{t}/{name}", "wb") as f:
        f.write(text)
    return dict(line.rsplit(" ", 1) for line in text.decode().splitlines() if line[0] != "#")
before = scrape("before")
assert before['turnd_state{state="serving"}'] == "1" and before['turnd_state{state="draining"}'] == "0"
assert before["turnd_workers"] == "2" and float(before["turnd_start_time_seconds"]) > 1e9
assert not any(name.startswith(("turn_", "stun_")) for name in before), "coturn's names"
echo = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
echo.bind(("127.0.0.1", 0))
echo.settimeout(5)
clients = [client(("127.0.0.1", 13478), b"hunter2", b"u%d" % i, "tcp" if i else "udp") for i in range(2)]
for c in clients:
    c.allocate()
    c.permit(echo.getsockname())
    c.send(echo.getsockname(), b"x" * 100)
    echo.recvfrom(2000)
live = scrape("live")
assert live['turnd_active_allocations{transport="udp"}'] == "1", live
assert live['turnd_active_allocations{transport="tcp"}'] == "1"
assert live['turnd_connections{transport="tcp"}'] == "1"
assert live["turnd_to_peer_packets_total"] == "2" and live["turnd_to_peer_bytes_total"] == "200"
assert live["turnd_allocations_total"] == "2" and live["turnd_allocation_duration_seconds_count"] == "0"
assert live['turnd_allocation_lifetime_seconds_bucket{le="600"}'] == "2"
for c in clients:
    c.release()
after = scrape("after")
assert after['turnd_allocations_ended_total{reason="released"}'] == "2"
assert after["turnd_allocation_duration_seconds_count"] == "2" and after["turnd_allocation_bytes_sum"] == "200"
PY
check "$T/before"
check "$T/live" "$T/before"
check "$T/after" "$T/live"
ok
step "each counter of the tables is there"
python3 - <<'PY'
import os, re
root, names = os.environ["PINHOLE_ROOT"], set(re.findall(r"^(\w+)", open(os.environ["T"] + "/after").read(), re.M))
for path, table, prefix in ("turn/server.h", "TURND", "turnd_"), ("stun/server.h", "STUND", "turnd_stun_"), \
        ("stun/uv/batch.h", "BATCH", "turnd_udp_"), ("stun/uv/stream.h", "STREAM", "turnd_stream_"), \
        ("stun/uv/dtls.h", "DTLS", "turnd_dtls_"), ("turn/userdb.h", "USERDB", "turnd_userdb_"):
    text = open(f"{root}/{path}").read()
    table = re.search(rf"#define PH_{table}_COUNTERS\(X\)((?:.*\\\n)*.*)", text)[1]
    found = re.findall(r"X\((\w+),", table)
    assert len(found) > 3
    for name in found:
        assert f"{prefix}{name}_total" in names, name
PY
stop_cleanly turnd
ok

step "coturn's names and users"
up <<'CONF'
prometheus
prometheus-username-labels
CONF
python3 - <<'PY'
from admin_kit import *
import socket
t = os.environ["T"]
d = Door(("127.0.0.1", 9641))
echo = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
echo.bind(("127.0.0.1", 0))
echo.settimeout(5)

def scrape(name):
    text = d.ask("GET", "/metrics")[2]
    with open(f"{t}/{name}", "wb") as f:
        f.write(text)
    return dict(line.rsplit(" ", 1) for line in text.decode().splitlines() if line[0] != "#")
names = [b"alice", b'evil"\n\x1b\\', b"\xff"]
clients = [client(("127.0.0.1", 13478), b"hunter2", n) for n in names]
for c in clients:
    c.allocate()
    c.permit(echo.getsockname())
    c.send(echo.getsockname(), b"x" * 100)
    _, back = echo.recvfrom(2000)
    echo.sendto(b"y" * 30, back)
    while not c.inbox:
        c.receive(5)
live = scrape("live")
label = '{realm="example.org",user="alice"}'
assert live["turn_traffic_rcvp" + label] == "1" and live["turn_traffic_rcvb" + label] == "100", "while it lasts"
assert live["turn_traffic_sentb" + label] == "30" and live["turn_traffic_peer_rcvb" + label] == "30"
assert live["turn_traffic_peer_sentb" + label] == "100"
assert live['turn_total_allocations{type="UDP"}'] == "3" and live["turn_total_traffic_rcvp"] == "3"
assert live['turnd_user_bytes_total{realm="example.org",user="alice",direction="to_client"}'] == "30"
assert 'turn_traffic_rcvp{realm="example.org",user="evil\\"\\\\x0a\\\\x1b\\\\"}' in live, live
assert 'turn_traffic_rcvp{realm="example.org",user="\\\\xff"}' in live
for c in clients:
    c.release()
after = scrape("after")
assert after["turn_traffic_rcvb" + label] == "100" and after['turn_total_allocations{type="UDP"}'] == "0"
again = client(("127.0.0.1", 13478), b"hunter2", b"alice")
again.allocate()
again.permit(echo.getsockname())
again.send(echo.getsockname(), b"x" * 7)
echo.recvfrom(2000)
assert scrape("again")["turn_traffic_rcvb" + label] == "107", "a user is one, whatever time his name carries"
names = {x.split("{")[0] for x in after}
for name in """turn_traffic_rcvp turn_traffic_rcvb turn_traffic_sentp turn_traffic_sentb turn_traffic_peer_rcvp
    turn_traffic_peer_rcvb turn_traffic_peer_sentp turn_traffic_peer_sentb turn_total_traffic_rcvp turn_total_traffic_rcvb
    turn_total_traffic_sentp turn_total_traffic_sentb turn_total_traffic_peer_rcvp turn_total_traffic_peer_rcvb
    turn_total_traffic_peer_sentp turn_total_traffic_peer_sentb turn_total_allocations stun_binding_request
    stun_binding_response stun_binding_error turn_unauthenticated_401_requests turn_unauthenticated_401_responses
    turn_unauthenticated_401_dropped_responses turn_packet_processed turn_packet_dropped turn_udp_recvmmsg_calls
    turn_udp_recvmmsg_packets turn_udp_sendmmsg_flushes turn_udp_sendmmsg_datagrams
    turn_udp_sendmmsg_gso_datagrams""".split():
    assert name in names, name
PY
check "$T/live"
check "$T/after" "$T/live"
check "$T/again" "$T/after"
stop_cleanly turnd
ok

step "another path, over TLS"
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$T/key.pem" -out "$T/cert.pem" -days 2 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost 2>/dev/null
up <<CONF
prometheus
prometheus-path=/numbers
prometheus-tls
prometheus-cert=$T/cert.pem
prometheus-key=$T/key.pem
CONF
python3 - <<'PY'
import http.client, os, ssl
context = ssl.create_default_context(cafile=os.environ["T"] + "/cert.pem")
c = http.client.HTTPSConnection("127.0.0.1", 9641, timeout=10, context=context)
context.check_hostname = False
for target, want in ("/numbers", 200), ("/metrics", 404), ("/healthz", 200):
    c.request("GET", target)
    r = c.getresponse()
    text = r.read()
    assert r.status == want, (target, r.status)
PY
stop_cleanly turnd
ok
