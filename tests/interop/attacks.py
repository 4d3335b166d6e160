#!/usr/bin/env python3
"""Attacks on a TURN server from outside, one function each; every one has hit a real server.

    attacks.py SERVER OTHER_LOCAL_ADDRESS [NAME...]

The server (198.51.100.1 in test_attacks.sh) has the users alice, bob and carol, carol's user-quota being one, and the
default peer policy. What each attack is about stands in SECURITY.md, which a test holds to this list.
"""
import os
import socket
import struct
import sys
import time

from turnclient import (ALLOCATE, BINDING, CONNECTION_ID,
                        CONNECTION_BIND, EVEN_PORT, LIFETIME, NONCE, REALM, REFRESH,
                        REQUESTED_TRANSPORT, REQUEST, RESERVATION_TOKEN, TCP_RELAY, TICKET,
                        USERNAME, XOR_PEER, XOR_RELAYED, Client, TurnError, attr, build, header, unxor_address,
                        xor_address)

SERVER, OTHER = (sys.argv[1], 3478), sys.argv[2]
IPV4, IPV6 = 1, 2
UDP = attr(REQUESTED_TRANSPORT, bytes((17, 0, 0, 0)))

FORBIDDEN = """
0.0.0.0 0.1.2.3 127.0.0.1 127.0.0.8 127.255.255.254 10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255
192.168.0.1 192.168.255.255 100.64.0.1 100.127.255.255 169.254.169.254 192.0.0.1 198.18.0.1 198.19.255.255
224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
:: ::1 ::ffff:127.0.0.1 ::ffff:0.0.0.0 ::127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 2002:7f00:1::
2002:a00:1:: 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b:1::1 2001::1 fe80::1 fc00::1 fd00:ec2::254
fec0::1 ff02::1
""".split()


def refusal(act, *args):
    """The STUN code that an act is refused with; an assertion fails when it is not."""
    try:
        act(*args)
    except TurnError as error:
        assert error.code, error
        return error.code
    raise AssertionError(f"{act.__name__}{args} was not refused")


def relay(user="alice", **how):
    client = Client(SERVER, user, "secret", **how)
    client.allocate()
    return client


def still_serves():
    Client(SERVER).binding()


def ssrf_over_every_way():
    """CreatePermission, ChannelBind, Connect and Send to what the server alone may reach."""
    for family in (IPV4, IPV6):
        client = Client(SERVER, "alice", "secret")
        client.allocate(family=family)
        stream = Client(SERVER, "bob", "secret", transport="tcp")
        stream.allocate(TCP_RELAY, family=family)
        number = 0x4000
        for host in FORBIDDEN:
            if (":" in host) != (family == IPV6):
                continue
            peer = (host, 9999)
            number += 1
            assert refusal(client.permit, peer) == 403, host
            assert refusal(client.bind_channel, number, peer) == 403, host
            assert refusal(stream.connect, peer) == 403, host
            assert refusal(stream.permit, peer) == 403, host
            client.channels.clear()
            client.send(peer, b"must not arrive")
        client.release()
        stream.release()
    time.sleep(0.2)  # test_attacks.sh looks for the datagrams on the server's loopback


def own_endpoints():
    """The server's own listeners (TURN, metrics) by their public address."""
    client, stream = relay("alice"), Client(SERVER, "bob", "secret", transport="tcp")
    stream.allocate(TCP_RELAY)
    for port in (3478, 5349, 9641):
        assert refusal(client.bind_channel, 0x4001, (SERVER[0], port)) == 403, port
        assert refusal(stream.connect, (SERVER[0], port)) == 403, port
    client.release()
    stream.release()


def relay_to_relay():
    """Two clients of one server meet, whatever its address."""
    one, other = relay("alice"), relay("bob")
    ends = [unxor_address(c.allocated.attrs[XOR_RELAYED]) for c in (one, other)]
    one.permit(ends[1])
    other.permit(ends[0])
    one.send(ends[1], b"hello")
    other.receive(2)
    assert other.inbox == [(ends[0], b"hello", False)], other.inbox
    one.release()
    other.release()


def relay_loop():
    """An allocation whose peer is its own relay must not keep the server busy."""
    client = relay()
    me = unxor_address(client.allocated.attrs[XOR_RELAYED])
    client.permit(me)
    client.send(me, b"round and round")
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        client.receive(0.1)
    assert len(client.inbox) <= 1, f"{len(client.inbox)} copies"
    client.release()


def http_on_the_turn_port():
    """HTTP, short and odd: closed, nothing echoed, no redirect."""
    for text in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"POST /login HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
                 b"GET /.well-known/acme-challenge/" + b"A" * 4000 + b" HTTP/1.1\r\n\r\n",
                 b"HEAD  HTTP/9.9\n\n", b"G" * 5, b"OPTIONS * HTTP/1.0\r\n"):
        with socket.create_connection(SERVER, 5) as sock:
            sock.sendall(text)
            sock.settimeout(5)
            answer = b""
            try:
                while more := sock.recv(4096):
                    answer += more
            except ConnectionResetError:
                pass
            assert not answer or answer.startswith(b"HTTP/1.1 400 "), answer[:80]
            assert b"Location" not in answer and b"AAAA" not in answer
    still_serves()


def garbage_on_tcp():
    """Bytes that are no message end the connection; the ports go on."""
    for port in (3478, 5349):
        for text in (b"\xff" * 64, b"\x00\x01\x00\x03" + bytes(60), os.urandom(999), b"\x16\x03\x01\xff\xff" + bytes(999),
                     b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n"):
            with socket.create_connection((SERVER[0], port), 5) as sock:
                sock.settimeout(15)
                try:
                    sock.sendall(text)
                    sock.shutdown(socket.SHUT_WR)
                    while sock.recv(4096):
                        pass
                except ConnectionError:
                    pass
    still_serves()


def lengths_near_65535():
    """Messages whose lengths overflow 16 bits when a header is added."""
    client = Client(SERVER, "alice", "secret", transport="tcp")
    client.allocate()
    for size in (65535, 65533, 65532, 65511):
        client.wire.send(struct.pack("!HH", 0x4001, size) + bytes(size), SERVER)
    assert client.binding()
    tid = os.urandom(12)
    client.wire.send(header(BINDING, 65532, tid) + attr(0x8022, bytes(65524)) + bytes(4), SERVER)
    client.receive(1)
    still_serves()
    for size in (0, 1, 3, 19, 65507):
        Client(SERVER).wire.send((b"\x00\x01" + size.to_bytes(2, "big") + b"\x21\x12\xa4\x42" + bytes(65507))[:size], SERVER)
    still_serves()


def hostile_names():
    """Names that are format strings, paths, globs, quotes, controls, or long: 401, and only that."""
    time.sleep(1.1)  # the log takes ten refusals a second, and test_attacks.sh looks for these
    for name in (b"%s%s%n%x", b"../../etc/passwd", b"turn/realm/*/user/*", b"'; DROP TABLE users;--", b"\x00\x01\x1b[2J",
                 b"\r\nSET x y\r\n", b"\xff\xfe\xc0\x80", b"<img src=x onerror=alert(1)>", b"a" * 508, b"b" * 4000):
        client = Client(SERVER, name, "secret")
        code = refusal(client.allocate)
        assert code == (400 if len(name) > 508 else 401) or code == 401, (name[:20], code)
    still_serves()


def attributes_behind_integrity():
    """What follows MESSAGE-INTEGRITY is not signed, so it must not be obeyed (RFC 8489 14.5)."""
    client = relay()
    tid = os.urandom(12)
    auth = attr(USERNAME, client.name()) + attr(REALM, client.realm) + attr(NONCE, client.nonce)
    whole = build(REFRESH | REQUEST, tid, attr(LIFETIME, struct.pack("!I", 900)) + auth, client.key)
    more = attr(LIFETIME, bytes(4)) + attr(XOR_PEER, xor_address("203.0.113.9", 1))
    packet = header(REFRESH | REQUEST, len(whole) - 20 + len(more), tid) + whole[20:] + more
    client.wire.send(packet, SERVER)
    answer = client.receive(2)
    assert answer and answer.kind == REFRESH | 0x100, "no success"
    assert int.from_bytes(answer.attrs[LIFETIME], "big") == 900
    client.release()


def reflection():
    """What a spoofed request draws, in bytes for a byte."""
    client = Client(SERVER)
    for request, most in ((build(BINDING, os.urandom(12)), 1.6), (build(ALLOCATE, os.urandom(12), UDP), 5.0)):
        client.wire.send(request, SERVER)
        got = client.wire.receive(2)
        ratio = len(got[0]) / len(request)
        assert ratio <= most, f"{len(request)} bytes drew {len(got[0])}: {ratio:.2f}"
    # And the sum of what one source draws is bounded, whatever it asks. Its own socket buffer is not the limit.
    sent = drawn = 0
    for _ in range(2000):
        packet = build(ALLOCATE, os.urandom(12), UDP)
        client.wire.send(packet, SERVER)
        sent += len(packet)
        while got := client.wire.receive(0):
            drawn += len(got[0])
    assert drawn < sent / 4, f"{sent} bytes drew {drawn}"


def nonce_of_another_address():
    """A nonce is worth nothing from elsewhere."""
    client = relay()
    thief = Client(SERVER, "alice", "secret", local=(OTHER, 0))
    thief.key, thief.realm, thief.nonce = client.key, client.realm, client.nonce
    auth = attr(USERNAME, thief.name()) + attr(REALM, thief.realm) + attr(NONCE, thief.nonce)
    answer = thief.transact(SERVER, ALLOCATE, UDP + auth, thief.key)
    assert answer.code() == 438, answer.code()
    client.release()


def unknown_user_and_wrong_password():
    """Nobody learns which names exist."""
    codes = {refusal(Client(SERVER, user, "wrong").allocate) for user in ("alice", "nobody")}
    assert codes == {401}, codes


def connection_bind_over_udp():
    """A request that makes sense on TCP alone, over UDP."""
    client = Client(SERVER, "alice", "secret")
    try:
        code = refusal(client.request, CONNECTION_BIND, attr(CONNECTION_ID, bytes(4)))
        assert code in (400, 437), code
    except AssertionError as error:
        assert "no answer" in str(error), error
    still_serves()


def refresh_without_anything():
    """A Refresh, and one with a made-up ticket, from nowhere."""
    assert refusal(Client(SERVER, "alice", "secret").release) == 437
    for ticket in (b"", b"x", bytes(30), os.urandom(30), os.urandom(500)):
        code = refusal(Client(SERVER, "alice", "secret").request, REFRESH, attr(TICKET, ticket))
        assert code in (400, 437, 441), code


def mobile(user, **how):
    client = Client(SERVER, user, "secret", **how)
    client.allocate(more=attr(TICKET, b""))
    return client, client.allocated.attrs[TICKET]


def resume(user, ticket, lifetime=600, **how):
    client = Client(SERVER, user, "secret", **how)
    answer = client.request(REFRESH, attr(LIFETIME, struct.pack("!I", lifetime)) + attr(TICKET, ticket))
    return client, answer.attrs.get(TICKET)


def ticket_of_another_user():
    """A stolen ticket needs its owner's password."""
    client, ticket = mobile("alice")
    assert refusal(resume, "bob", ticket) in (400, 437, 441)
    client, ticket = resume("alice", ticket)
    client.release()


def resume_flood():
    """Chained moves leave one allocation, counted once."""
    _, ticket = mobile("carol")
    for i in range(100):
        client, ticket = resume("carol", ticket, transport=("udp", "tcp")[i % 2])
    assert refusal(Client(SERVER, "carol", "secret").allocate) == 486
    client.release()
    relay("carol").release()


def quota_outlives_a_lost_connection():
    """With a ticket an allocation survives its TCP connection, and so does its place in the quota."""
    client, ticket = mobile("carol", transport="tcp")
    client.sock.close()
    time.sleep(0.2)
    assert refusal(Client(SERVER, "carol", "secret").allocate) == 486
    client, _ = resume("carol", ticket, transport="tcp")
    client.release()
    relay("carol").release()


def even_ports_do_not_leak():
    """EVEN-PORT without reservation must give the odd port back: more rounds than there are ports."""
    for _ in range(300):
        client = Client(SERVER, "alice", "secret")
        client.allocate(more=attr(EVEN_PORT, b"\x00"))
        client.release()
        client.sock.close()


def hoarded_reservations():
    """Reservations that nobody redeems are bounded and leave others their ports."""
    clients = []
    for _ in range(40):
        client = Client(SERVER, "alice", "secret")
        try:
            client.allocate(more=attr(EVEN_PORT, b"\x80"))
            assert len(client.allocated.attrs[RESERVATION_TOKEN]) == 8
            clients.append(client)
        except TurnError as error:
            assert error.code in (486, 508), error
            break
    relay("bob").release()
    for client in clients:
        client.release()


def channel_data_without_allocation():
    """Draws nothing and keeps nothing."""
    client = Client(SERVER)
    for number in range(0x4000, 0x4400):
        client.wire.send(struct.pack("!HH", number, 4) + b"data", SERVER)
    assert client.wire.receive(0.2) is None
    still_serves()


def connect_scan():
    """Connect as a port scanner: pending connections of an allocation are bounded."""
    client = Client(SERVER, "alice", "secret", transport="tcp")
    client.allocate(TCP_RELAY)
    codes = {}
    for port in range(1, 120):
        tid = os.urandom(12)
        auth = attr(USERNAME, client.name()) + attr(REALM, client.realm) + attr(NONCE, client.nonce)
        body = attr(XOR_PEER, xor_address("203.0.113.77", port, tid)) + auth
        client.wire.send(build(0x0A, tid, body, client.key), SERVER)
    end = time.monotonic() + 2
    while time.monotonic() < end:
        answer = client.receive(0.2)
        if answer:
            code = answer.code() if answer.kind == 0x11A else 200
            codes[code] = codes.get(code, 0) + 1
    assert codes.get(486, 0) >= 119 - 40, codes
    client.release()


def slow_and_half_open_connections():
    """Hundreds of connections that say nothing, or half a message, keep nobody out."""
    held = []
    for i in range(400):
        sock = socket.create_connection(SERVER, 5)
        sock.sendall(b"\x00\x01\x00\x08\x21\x12\xa4\x42"[:i % 9])
        held.append(sock)
    relay("bob", transport="tcp").release()
    for sock in held:
        sock.close()


def split_to_single_bytes():
    """A request that comes byte by byte is a request."""
    client = Client(SERVER, transport="tcp")
    tid = os.urandom(12)
    for byte in build(BINDING, tid):
        client.sock.sendall(bytes((byte,)))
    answer = client.receive(3)
    assert answer and answer.tid == tid


def spoofed_client_hellos():
    """DTLS keeps nothing before the cookie has come back; the answer is no larger than the hello."""
    random, cookie = os.urandom(32), b"\x00"
    body = b"\xfe\xfd" + random + b"\x00" + cookie + b"\x00\x02\xc0\x2b\x01\x00"
    hand = b"\x01" + len(body).to_bytes(3, "big") + b"\x00\x00" + bytes(3) + len(body).to_bytes(3, "big") + body
    record = b"\x16\xfe\xfd" + bytes(8) + len(hand).to_bytes(2, "big") + hand
    for i in range(3000):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(record, SERVER)
            if i == 0:
                sock.settimeout(2)
                answer = sock.recv(4096)
                assert answer[13] == 3, "no HelloVerifyRequest"
                assert len(answer) <= len(record), (len(answer), len(record))
    still_serves()


ATTACKS = [value for value in list(globals().values())
           if callable(value) and getattr(value, "__module__", "") == "__main__" and value.__doc__
           and value.__name__ not in ("refusal",)]


def main():
    wanted = sys.argv[3:]
    failed = 0
    for attack in ATTACKS:
        if wanted and attack.__name__ not in wanted:
            continue
        started = time.monotonic()
        try:
            attack()
            print(f"ok     {attack.__name__:34} {1000 * (time.monotonic() - started):6.0f} ms", flush=True)
        except Exception as error:  # pylint: disable=broad-except
            failed += 1
            print(f"FAILED {attack.__name__:34} {type(error).__name__}: {error}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
