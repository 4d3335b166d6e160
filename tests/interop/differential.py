#!/usr/bin/env python3
"""The same configuration file, the same questions: do Debian's turnserver and our turnd give the same answers?

    differential.py names                     the configurations, one a line
    differential.py config NAME FOLDER        the file that both are started with
    differential.py probe NAME FOLDER         ask all questions of this configuration; one line for each answer
    differential.py compare NAME THEIRS OURS  compare two such outputs

An answer is what a client can tell: success or error code, which attributes it has, and their values where both servers
could give the same. What differs must be listed in DIFFERENCES, with both answers and the reason; a difference that is
listed but not there is a failure as well. The answers of turnserver are those of Debian's 4.6.1.
"""
import base64
import hashlib
import hmac
import re
import select
import socket
import struct
import sys
import time

from turnclient import (ALLOCATE, ALTERNATE, BINDING, CHANNEL_BIND, CHANNEL_NUMBER, CONNECT,
                        CREATE_PERMISSION, ERROR_CODE, EVEN_PORT, FINGERPRINT, INTEGRITY, LIFETIME,
                        NONCE, REALM, REFRESH, REQUESTED_FAMILY, REQUESTED_TRANSPORT,
                        RESERVATION_TOKEN, TICKET, USERNAME, XOR_MAPPED, XOR_PEER, XOR_RELAYED,
                        Client, TurnError, attr, unxor_address, xor_address)

SERVER, PORT, TLS_PORT = "198.51.100.1", 3478, 5349
PEER, OTHER_PEER = "203.0.113.9", "203.0.113.10"
UNKNOWN_ATTRIBUTES, SOFTWARE, MAPPED, RESPONSE_ORIGIN, OTHER_ADDRESS = 0x0A, 0x8022, 1, 0x802B, 0x802C
DONT_FRAGMENT, TICKET_REQUEST = 0x1A, struct.pack("!HH", TICKET, 0)
NAMES = {
    ALTERNATE: "ALTERNATE-SERVER", CHANNEL_NUMBER: "CHANNEL-NUMBER", ERROR_CODE: "ERROR-CODE",
    FINGERPRINT: "FINGERPRINT", INTEGRITY: "MESSAGE-INTEGRITY", LIFETIME: "LIFETIME", NONCE: "NONCE",
    REALM: "REALM", RESERVATION_TOKEN: "RESERVATION-TOKEN", TICKET: "MOBILITY-TICKET",
    USERNAME: "USERNAME", XOR_MAPPED: "XOR-MAPPED-ADDRESS", XOR_RELAYED: "XOR-RELAYED-ADDRESS",
    UNKNOWN_ATTRIBUTES: "UNKNOWN-ATTRIBUTES", SOFTWARE: "SOFTWARE", MAPPED: "MAPPED-ADDRESS",
    RESPONSE_ORIGIN: "RESPONSE-ORIGIN", OTHER_ADDRESS: "OTHER-ADDRESS", 0x8002: "PASSWORD-ALGORITHMS",
}

# ---- configurations ----

# What every file has: old defaults that both servers would choose differently, and the ways of the test. A line
# that one of them does not know is only warned of.
COMMON = f"""listening-ip={SERVER}
relay-ip={SERVER}
no-cli
log-file=stdout
simple-log
no-software-attribute
no-rfc5780
no-stun-backward-compatibility
response-origin-only-with-rfc5780
unauthorized-ratelimit=no
"""
# Debian's /etc/turnserver.conf has these four keys and comments.
STOCK = f"""listening-ip={SERVER}
relay-ip={SERVER}
no-cli
syslog
no-rfc5780
no-stun-backward-compatibility
response-origin-only-with-rfc5780
"""
USERS = "realm=example.org\nlt-cred-mech\nuser=alice:secret\nuser=bob:builder\n"
KEY = hashlib.md5(b"alice:example.org:secret").hexdigest()


def rest(secret, name):
    return base64.b64encode(hmac.new(secret.encode(), name.encode(), hashlib.sha1).digest()).decode()


LATER, BEFORE = int(time.time()) + 3600, int(time.time()) - 3600

# ---- asking ----


def attr_names(message):
    return ",".join(sorted(NAMES.get(a, f"{a:#06x}") for a in message.attrs if a != ERROR_CODE))


def describe(message):
    """An answer as one line, without what cannot be the same twice."""
    words = [str(message.code()) if ERROR_CODE in message.attrs else "success"]
    words.append(attr_names(message))
    if REALM in message.attrs:
        words.append("realm=" + message.attrs[REALM].decode())
    if LIFETIME in message.attrs:
        words.append(f"lifetime={int.from_bytes(message.attrs[LIFETIME], 'big')}")
    if UNKNOWN_ATTRIBUTES in message.attrs:
        words.append("unknown=" + message.attrs[UNKNOWN_ATTRIBUTES][:2].hex())
    if ALTERNATE in message.attrs:
        value = message.attrs[ALTERNATE]
        words.append("alternate=" + socket.inet_ntoa(value[4:8]) +
                     f":{int.from_bytes(value[2:4], 'big')}")
    if XOR_RELAYED in message.attrs:
        words.append("relay=" + unxor_address(message.attrs[XOR_RELAYED], message.tid)[0])
    return " ".join(words)


class Asker(Client):
    """A client that returns answers instead of raising errors."""

    def __init__(self, user="", password="", transport="udp", port=None):
        port = port or (TLS_PORT if transport == "tls" else PORT)
        super().__init__((SERVER, port), user, password, transport=transport)

    def challenge(self, method=ALLOCATE, attrs=attr(REQUESTED_TRANSPORT, bytes((17, 0, 0, 0)))):
        answer = self.transact(self.server, method, attrs, None)
        if NONCE in answer.attrs:
            self.realm, self.nonce = answer.attrs[REALM], answer.attrs[NONCE]
            text = self.name() + b":" + self.realm + b":" + self.password.encode()
            self.key = hashlib.md5(text).digest()
        return answer

    def ask(self, method, attrs, nonce=None):
        """An authenticated request (after a challenge), answered with whatever comes; 438 is not followed."""
        if self.user and not self.key:
            first = self.challenge(method, attrs(bytes(12)) if callable(attrs) else attrs)
            if not self.key:
                return first
        auth = b""
        if self.key:
            auth = attr(USERNAME, self.name()) + attr(REALM, self.realm) + \
                attr(NONCE, nonce or self.nonce)

        def whole(tid):
            return (attrs(tid) if callable(attrs) else attrs) + auth
        return self.transact(self.server, method, whole, self.key)

    def up(self, relay=17, more=b""):
        return self.ask(ALLOCATE, attr(REQUESTED_TRANSPORT, bytes((relay, 0, 0, 0))) + more)

    def permit_ip(self, ip, port=5000):
        return self.ask(CREATE_PERMISSION, lambda tid: attr(XOR_PEER, xor_address(ip, port, tid)))

    def channel(self, number, ip=PEER, port=5000):
        return self.ask(CHANNEL_BIND, lambda tid: attr(CHANNEL_NUMBER, struct.pack("!HH", number, 0)) +
                        attr(XOR_PEER, xor_address(ip, port, tid)))


def echo(asker, rounds=5):
    """Relays data to a peer of ours and back; how many of each got through."""
    relay = unxor_address(asker.last.attrs[XOR_RELAYED], asker.last.tid)
    peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.bind((PEER, 0))
    at = peer.getsockname()
    asker.permit_ip(*at)
    there = back = 0
    for i in range(rounds):
        asker.send(at, b"there %d" % i)
        if select.select([peer], [], [], 2)[0]:
            data, source = peer.recvfrom(2000)
            there += data == b"there %d" % i and source == relay
            peer.sendto(b"back %d" % i, relay)
            end = time.monotonic() + 2
            while len(asker.inbox) <= back and time.monotonic() < end:
                asker.receive(0.2)
            back = len(asker.inbox)
    peer.close()
    return f"{there} there, {back} back"

# ---- questions ----


def q_binding():
    return describe(Asker().transact((SERVER, PORT), BINDING, b"", None))


def q_binding_unknown_attribute():
    return describe(Asker().transact((SERVER, PORT), BINDING, attr(0x7777, b"what"), None))


def q_binding_optional_attribute():
    return describe(Asker().transact((SERVER, PORT), BINDING, attr(0xF777, b"what"), None))


def q_binding_tcp():
    return describe(Asker(transport="tcp").transact((SERVER, PORT), BINDING, b"", None))


def q_challenge():
    return describe(Asker("alice").challenge())


def q_refresh_without_allocation():
    return describe(Asker("alice", "secret").ask(REFRESH, b""))


def allocate(user="alice", password="secret", **how):
    def ask():
        more = how.get("more", b"")
        a = Asker(user, password, how.get("transport", "udp"), how.get("port"))
        return describe(a.up(how.get("relay", 17), more))
    return ask


def q_allocate_again():
    a = Asker("alice", "secret")
    a.up()
    return describe(a.up())


def q_allocate_without_transport():
    return describe(Asker("alice", "secret").ask(ALLOCATE, b""))


def q_release():
    a = Asker("alice", "secret")
    a.up()
    first = describe(a.ask(REFRESH, attr(LIFETIME, bytes(4))))
    return first + ", then " + describe(a.ask(REFRESH, b""))


def q_other_user():
    a = Asker("alice", "secret")
    a.up()
    a.user, a.password, a.key = "bob", "builder", None
    return describe(a.ask(REFRESH, b""))


def q_wrong_nonce():
    a = Asker("alice", "secret")
    a.challenge()
    return describe(a.ask(ALLOCATE, attr(REQUESTED_TRANSPORT, bytes((17, 0, 0, 0))), b"made up"))


def q_nonce_after_its_time():
    a = Asker("alice", "secret")
    a.up()
    time.sleep(2.2)
    return describe(a.ask(REFRESH, b""))


def q_even_port():
    a = Asker("alice", "secret")
    answer = a.up(more=attr(EVEN_PORT, b"\x80"))
    if XOR_RELAYED not in answer.attrs:
        return describe(answer)
    port = unxor_address(answer.attrs[XOR_RELAYED], answer.tid)[1]
    b = Asker("alice", "secret")
    second = b.up(more=attr(RESERVATION_TOKEN, answer.attrs[RESERVATION_TOKEN]))
    other = unxor_address(second.attrs[XOR_RELAYED], second.tid)[1] if XOR_RELAYED in second.attrs \
        else 0
    return f"{describe(answer)} {'even' if port % 2 == 0 else 'odd'}, next is " + \
        ("the neighbour" if other == port + 1 else describe(second))


def q_permissions():
    a = Asker("alice", "secret")
    a.up()
    return describe(a.permit_ip(PEER)) + ", without address " + describe(a.ask(CREATE_PERMISSION, b""))


def permission(ip):
    def ask():
        a = Asker("alice", "secret")
        a.up()
        return describe(a.permit_ip(ip))
    return ask


def q_channels():
    a = Asker("alice", "secret")
    a.up()
    return ", ".join(describe(x) for x in (
        a.channel(0x4001), a.channel(0x4001), a.channel(0x4001, OTHER_PEER), a.channel(0x4002)))


def channel(number):
    def ask():
        a = Asker("alice", "secret")
        a.up()
        return describe(a.channel(number))
    return ask


def relayed(mode, **how):
    def ask():
        a = Asker(how.get("user", "alice"), how.get("password", "secret"), how.get("transport", "udp"))
        a.last = a.up()
        if XOR_RELAYED not in a.last.attrs:
            return describe(a.last)
        return echo(a)
    return ask


def q_channel_relay():
    a = Asker("alice", "secret")
    a.last = a.up()
    peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.bind((PEER, 0))
    peer.settimeout(2)
    at = peer.getsockname()
    a.channel(0x4001, *at)
    a.channels[0x4001] = at
    a.send(at, b"there")
    data, source = peer.recvfrom(100)
    peer.sendto(b"back", source)
    end = time.monotonic() + 2
    while not a.inbox and time.monotonic() < end:
        a.receive(0.2)
    return f"{data.decode()}, " + " ".join(
        f"{d.decode()} {'on the channel' if c else 'as indication'}" for _, d, c in a.inbox)


def many(n, user="alice", password="secret"):
    def ask():
        codes, keep = [], []
        for _ in range(n):
            a = Asker(user, password)
            answer = a.up()
            codes.append(str(answer.code()) if ERROR_CODE in answer.attrs else "success")
            keep.append(a)
        for a in keep:
            a.ask(REFRESH, attr(LIFETIME, bytes(4)))
        return " ".join(codes)
    return ask


def q_total_quota():
    """Three allocations in all, whoever has them."""
    codes, keep = [], []
    for user, password in (("alice", "secret"), ("bob", "builder")) * 2:
        a = Asker(user, password)
        answer = a.up()
        codes.append(str(answer.code()) if ERROR_CODE in answer.attrs else "success")
        keep.append(a)
    return " ".join(codes)


def q_ports():
    """Ports of relays keep within the range, and when there is none left it is said."""
    ports, codes, keep = [], [], []
    for _ in range(6):
        a = Asker("alice", "secret")
        answer = a.up()
        keep.append(a)
        if XOR_RELAYED in answer.attrs:
            ports.append(unxor_address(answer.attrs[XOR_RELAYED], answer.tid)[1])
        else:
            codes.append(str(answer.code()))
    for a in keep:
        a.ask(REFRESH, attr(LIFETIME, bytes(4)))
    return f"ports {' '.join(map(str, sorted(ports)))}, then {' '.join(codes)}"


def lifetime(seconds):
    return allocate(more=attr(LIFETIME, struct.pack("!I", seconds)))


def q_tcp_relay():
    a = Asker("alice", "secret", "tcp")
    first = a.up(relay=6)
    if XOR_RELAYED not in first.attrs:
        return describe(first)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind((PEER, 0))
    listener.listen()
    at = listener.getsockname()
    a.permit_ip(*at)
    answer = a.ask(CONNECT, lambda tid: attr(XOR_PEER, xor_address(*at, tid)))
    return f"{describe(first)}, Connect {describe(answer)}"


def q_garbage_on_tcp():
    """What a stream that is no STUN gets: an end, or silence."""
    s = socket.create_connection((SERVER, PORT), 5)
    s.sendall(b"\xff" * 64)
    s.settimeout(1)
    try:
        return "closed" if s.recv(100) == b"" else "answered"
    except TimeoutError:
        return "silence"
    except ConnectionError:
        return "closed"
    finally:
        s.close()


BASIC = {
    "binding": q_binding,
    "unknown attribute": q_binding_unknown_attribute,
    "optional attribute": q_binding_optional_attribute,
    "challenge": q_challenge,
    "allocate": allocate(),
    "wrong password": allocate(password="wrong"),
    "unknown user": allocate("mallory", "secret"),
}
FULL = BASIC | {
    "binding over tcp": q_binding_tcp,
    "no allocation": q_refresh_without_allocation,
    "allocate again": q_allocate_again,
    "no transport": q_allocate_without_transport,
    "unknown transport": allocate(relay=99),
    "ipv6 relay": allocate(more=attr(REQUESTED_FAMILY, b"\x02\0\0\0")),
    "unknown family": allocate(more=attr(REQUESTED_FAMILY, b"\x07\0\0\0")),
    "release": q_release,
    "other user": q_other_user,
    "wrong nonce": q_wrong_nonce,
    "even port": q_even_port,
    "permissions": q_permissions,
    "private peer": permission("10.0.0.1"),
    "loopback peer": permission("127.0.0.1"),
    "unspecified peer": permission("0.0.0.0"),
    "channels": q_channels,
    "channel 0x3fff": channel(0x3FFF),
    "channel 0x4fff": channel(0x4FFF),
    "channel 0x7ffe": channel(0x7FFE),
    "channel 0x8000": channel(0x8000),
    "relay": relayed("send"),
    "relay on a channel": q_channel_relay,
    "relay over tcp": relayed("send", transport="tcp"),
    "tcp relay": q_tcp_relay,
    "garbage on tcp": q_garbage_on_tcp,
}

CONFIGS = {
    "static": (COMMON + USERS, FULL),
    "key": (COMMON + f"realm=example.org\nlt-cred-mech\nuser=alice:0x{KEY}\n", BASIC),
    "rest": (COMMON + "realm=example.org\nuse-auth-secret\nstatic-auth-secret=north\n", {
        "time:name": allocate(f"{LATER}:alice", rest("north", f"{LATER}:alice")),
        "name:time": allocate(f"alice:{LATER}", rest("north", f"alice:{LATER}")),
        "time alone": allocate(f"{LATER}", rest("north", f"{LATER}")),
        "expired": allocate(f"{BEFORE}:alice", rest("north", f"{BEFORE}:alice")),
        "wrong secret": allocate(f"{LATER}:alice", rest("south", f"{LATER}:alice")),
        "no time": allocate("alice", rest("north", "alice")),
        "relay": relayed("send", user=f"{LATER}:alice", password=rest("north", f"{LATER}:alice")),
    }),
    "secrets": (COMMON + "realm=example.org\nuse-auth-secret\nstatic-auth-secret=north\n"
                "static-auth-secret=south\nrest-api-separator=|\n", {
                    "first": allocate(f"{LATER}|a", rest("north", f"{LATER}|a")),
                    "second": allocate(f"{LATER}|a", rest("south", f"{LATER}|a")),
                    "third": allocate(f"{LATER}|a", rest("east", f"{LATER}|a")),
                }),
    "realm": (COMMON + USERS.replace("example.org", "other.example"), {
        "challenge": q_challenge, "allocate": allocate()}),
    "user quota": (COMMON + USERS + "user-quota=2\n", {
        "of a user": many(3), "of another": many(3, "bob", "builder")}),
    "total quota": (COMMON + USERS + "total-quota=3\n", {"of all": q_total_quota}),
    "peers": (COMMON + USERS + "denied-peer-ip=203.0.113.0-203.0.113.255\n"
              f"allowed-peer-ip={PEER}\ndenied-peer-ip=192.0.2.1\n", {
                  "allowed": permission(PEER), "denied": permission(OTHER_PEER),
                  "first of the range": permission("203.0.113.0"),
                  "last of the range": permission("203.0.113.255"),
                  "behind it": permission("203.0.114.0"), "single": permission("192.0.2.1"),
                  "beside it": permission("192.0.2.2"), "relay": relayed("send")}),
    "loopback": (COMMON + USERS + "allow-loopback-peers\nno-multicast-peers\n", {
        "loopback": permission("127.0.0.1"), "multicast": permission("224.0.0.1")}),
    "no-auth": (COMMON + "realm=example.org\nno-auth\n", {
        "allocate": allocate("", ""), "relay": relayed("send", user="", password="")}),
    "stun-only": (COMMON + USERS + "stun-only\n", {"binding": q_binding}),
    "no-stun": (COMMON + USERS + "no-stun\n", {"allocate": allocate()}),
    "ports": (COMMON + USERS + "min-port=50000\nmax-port=50003\n", {"range": q_ports}),
    "lifetimes": (COMMON + USERS + "max-allocate-lifetime=700\n", {
        "default": allocate(), "shorter": lifetime(100), "longer": lifetime(3600),
        "in between": lifetime(650), "release": q_release}),
    "stale-nonce": (COMMON + USERS + "stale-nonce=1\n", {"too late": q_nonce_after_its_time}),
    "alternate": (COMMON + USERS + "alternate-server=192.0.2.7:3479\n", {
        "allocate": allocate(), "over tcp": allocate(transport="tcp"), "binding": q_binding}),
    "mobility": (COMMON + USERS + "mobility\n", {
        "without": allocate(), "with a ticket": allocate(more=TICKET_REQUEST)}),
    "no mobility": (COMMON + USERS, {"with a ticket": allocate(more=TICKET_REQUEST)}),
    "fingerprint": (COMMON + USERS + "fingerprint\n", BASIC),
    "no udp relay": (COMMON + USERS + "no-udp-relay\n", {
        "udp": allocate(), "tcp": allocate(relay=6, transport="tcp")}),
    "no tcp relay": (COMMON + USERS + "no-tcp-relay\n", {
        "udp": allocate(), "tcp": allocate(relay=6, transport="tcp")}),
    "tls": (COMMON + USERS + "cert={folder}/cert.pem\npkey={folder}/key.pem\n", {
        "tcp": allocate(transport="tcp"), "tls": allocate(transport="tls"),
        "tls on the plain port": allocate(transport="tls", port=PORT),
        "tcp on the tls port": allocate(transport="tcp", port=TLS_PORT),
        "relay over tls": relayed("send", transport="tls")}),
    "stock": (STOCK, {"binding": q_binding, "binding over tcp": q_binding_tcp}),
}

# ---- what may differ ----

# In every answer of ours: (what to take out before comparing, why).
EVERYWHERE = (
    (r"^(4(?:01|38) .*)PASSWORD-ALGORITHMS,", r"\1",
     "401 and 438 offer SHA-256 (RFC 8489 14.11), where every user can use it"),
)

# (configuration, question): (turnserver, turnd, why).
AUTHENTIC = "an authenticated request is answered with integrity, errors too (RFC 8489 9.2.4)"
GONE = "an allocation that was released is gone at once (RFC 8656 7.2)"
QUIET = "no SOFTWARE unless software-attribute, which is the default of coturn 4.17 as well"
DIFFERENCES = {
    ("static", "allocate again"): ("437 ", "437 MESSAGE-INTEGRITY", AUTHENTIC),
    ("static", "other user"): ("441 ", "441 MESSAGE-INTEGRITY", AUTHENTIC),
    ("static", "unknown transport"): (
        "400 MESSAGE-INTEGRITY", "442 MESSAGE-INTEGRITY",
        "a transport that is not supported is 442, not 400 (RFC 8656 7.2)"),
    ("static", "private peer"): (
        "success MESSAGE-INTEGRITY", "403 MESSAGE-INTEGRITY",
        "private peers are denied unless allowed"),
    ("static", "garbage on tcp"): (
        "silence", "closed", "a stream that is no STUN is hung up on"),
    ("static", "release"): (
        "success LIFETIME,MESSAGE-INTEGRITY lifetime=0, then "
        "success LIFETIME,MESSAGE-INTEGRITY lifetime=600",
        "success LIFETIME,MESSAGE-INTEGRITY lifetime=0, then 437 MESSAGE-INTEGRITY", GONE),
    ("lifetimes", "release"): (
        "success LIFETIME,MESSAGE-INTEGRITY lifetime=0, then "
        "success LIFETIME,MESSAGE-INTEGRITY lifetime=600",
        "success LIFETIME,MESSAGE-INTEGRITY lifetime=0, then 437 MESSAGE-INTEGRITY", GONE),
    ("stock", "binding"): (
        "success SOFTWARE,XOR-MAPPED-ADDRESS", "success XOR-MAPPED-ADDRESS", QUIET),
    ("stock", "binding over tcp"): (
        "success SOFTWARE,XOR-MAPPED-ADDRESS", "success XOR-MAPPED-ADDRESS", QUIET),
    ("alternate", "allocate"): (
        "300 ALTERNATE-SERVER alternate=192.0.2.7:3479",
        "300 ALTERNATE-SERVER,MESSAGE-INTEGRITY alternate=192.0.2.7:3479", AUTHENTIC),
    ("alternate", "over tcp"): (
        "300 ALTERNATE-SERVER alternate=192.0.2.7:3479",
        "300 ALTERNATE-SERVER,MESSAGE-INTEGRITY alternate=192.0.2.7:3479", AUTHENTIC),
}


def probe(name):
    for question, ask in CONFIGS[name][1].items():
        try:
            answer = ask()
        except (TurnError, OSError) as error:
            answer = f"{type(error).__name__}: {error}"
        print(f"{question}: {answer}", flush=True)


def read(path):
    with open(path, encoding="utf-8") as f:
        return dict(line.rstrip("\n").split(": ", 1) for line in f if ": " in line)


def compare(name, theirs_path, ours_path):
    theirs, ours, bad, listed = read(theirs_path), read(ours_path), 0, 0
    for question in CONFIGS[name][1]:
        a, b = theirs.get(question, "(no answer)"), ours.get(question, "(no answer)")
        for pattern, to, _ in EVERYWHERE:
            b = re.sub(pattern, to, b)
        known = DIFFERENCES.get((name, question))
        if known and (a, b) == known[:2]:
            listed += 1
            print(f"   {name}/{question}: {known[2]}")
        elif known or a != b:
            bad += 1
            print(f"   DIFFERS {name}/{question}:\n      turnserver: {a}\n      turnd:      {b}")
            if known:
                print(f"      listed:     {known[0]}\n                  {known[1]}")
    print(f"   {len(CONFIGS[name][1])} answers, {listed} listed differences, {bad} others")
    return bad == 0


def main():
    verb, *args = sys.argv[1:]
    if verb == "names":
        print("\n".join(n.replace(" ", "_") for n in CONFIGS))
        return
    name = args[0].replace("_", " ")
    if verb == "config":
        print(CONFIGS[name][0].replace("{folder}", args[1]), end="")
    elif verb == "probe":
        probe(name)
    elif not compare(name, args[1], args[2]):
        sys.exit(1)


if __name__ == "__main__":
    main()
