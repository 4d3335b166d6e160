"""A TURN client over UDP, TCP or TLS, written from RFC 8489 and RFC 8656 with nothing but Python's own library.

It shares no code with what it tests, so a mistake that our server and our client agree on does not
pass here. It checks more than it needs: the integrity of every authenticated answer, and the
fingerprint where there is one; and it tells in which form data came.
Not here: DTLS, SHA-256 integrity.
"""
import hashlib
import hmac
import os
import select
import socket
import ssl
import struct
import time
import zlib

COOKIE = 0x2112A442
BINDING, ALLOCATE, REFRESH, SEND, DATA, CREATE_PERMISSION, CHANNEL_BIND = 1, 3, 4, 6, 7, 8, 9
CONNECT, CONNECTION_BIND, CONNECTION_ATTEMPT = 0x0A, 0x0B, 0x0C
REQUEST, INDICATION, SUCCESS, ERROR = 0x000, 0x010, 0x100, 0x110
USERNAME, INTEGRITY, ERROR_CODE, CHANNEL_NUMBER, LIFETIME = 0x06, 0x08, 0x09, 0x0C, 0x0D
XOR_PEER, DATA_ATTR, REALM, NONCE, XOR_RELAYED = 0x12, 0x13, 0x14, 0x15, 0x16
REQUESTED_FAMILY, REQUESTED_TRANSPORT, XOR_MAPPED, FINGERPRINT = 0x17, 0x19, 0x20, 0x8028
EVEN_PORT, RESERVATION_TOKEN, CONNECTION_ID, TICKET, ALTERNATE = 0x18, 0x22, 0x2A, 0x8030, 0x8023
UDP_RELAY, TCP_RELAY = 17, 6
FINGERPRINT_XOR = 0x5354554E


class TurnError(Exception):
    """An error answer (code is STUN's) or an answer that breaks the protocol (code 0)."""

    def __init__(self, text, code=0):
        super().__init__(text)
        self.code = code


def attr(kind, value):
    return struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)


def xor_address(host, port, tid=bytes(12)):
    """The value of an XOR-...-ADDRESS; an IPv6 one depends on the transaction id."""
    head = struct.pack("!BBH", 0, 2 if ":" in host else 1, port ^ (COOKIE >> 16))
    raw = socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    return head + bytes(x ^ y for x, y in zip(raw, struct.pack("!I", COOKIE) + tid))


def unxor_address(value, tid=bytes(12)):
    _, family, port = struct.unpack_from("!BBH", value)
    if (family, len(value)) not in ((1, 8), (2, 20)):
        raise TurnError(f"an address of family {family} in {len(value)} bytes")
    raw = bytes(x ^ y for x, y in zip(value[4:], struct.pack("!I", COOKIE) + tid))
    return socket.inet_ntop(socket.AF_INET6 if family == 2 else socket.AF_INET, raw), \
        port ^ (COOKIE >> 16)


def header(kind, length, tid):
    return struct.pack("!HHI", kind, length, COOKIE) + tid


def build(kind, tid, attrs=b"", key=None):
    if key is not None:  # RFC 8489 14.5: the length covers the attribute, the HMAC stops before it
        mac = hmac.new(key, header(kind, len(attrs) + 24, tid) + attrs, hashlib.sha1)
        attrs += attr(INTEGRITY, mac.digest())
    return header(kind, len(attrs), tid) + attrs


class Message:
    """A decoded message: attrs has the first of each attribute, integrity_at is where that is."""

    def __init__(self, packet):
        if len(packet) < 20:
            raise TurnError("shorter than a STUN header")
        self.kind, length, cookie = struct.unpack_from("!HHI", packet)
        if cookie != COOKIE or length + 20 != len(packet) or length % 4:
            raise TurnError("not a STUN message")
        self.packet, self.tid, self.attrs, self.integrity_at = packet, packet[8:20], {}, None
        at = 20
        while at < len(packet):
            kind, size = struct.unpack_from("!HH", packet, at)
            value = packet[at + 4:at + 4 + size]
            if len(value) != size:
                raise TurnError("an attribute runs over the end")
            if kind == INTEGRITY and self.integrity_at is None:
                self.integrity_at = at
            if kind == FINGERPRINT:
                if int.from_bytes(value, "big") != zlib.crc32(packet[:at]) ^ FINGERPRINT_XOR:
                    raise TurnError("wrong fingerprint")
            self.attrs.setdefault(kind, value)
            at += 4 + size + -size % 4

    def code(self):
        _, cls, number = struct.unpack_from("!HBB", self.attrs[ERROR_CODE])
        return (cls & 7) * 100 + number

    def authentic(self, key):
        if self.integrity_at is None:
            return False
        at = self.integrity_at
        covered = header(self.kind, at + 24 - 20, self.tid) + self.packet[20:at]
        mac = hmac.new(key, covered, hashlib.sha1).digest()
        return hmac.compare_digest(mac, self.attrs[INTEGRITY])


class Datagrams:
    """Messages over UDP."""

    def __init__(self, server, local):
        family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        if local:
            self.sock.bind(local)

    def send(self, packet, server):
        self.sock.sendto(packet, server)

    def receive(self, timeout):
        """(packet, source), or None when nothing came in time."""
        if not select.select([self.sock], [], [], max(0, timeout))[0]:
            return None
        try:
            packet, source = self.sock.recvfrom(65536)
        except ConnectionRefusedError:
            return None
        return packet, source[:2]


class Stream:
    """Messages over TCP or TLS (not verified). `closed` tells that the server has hung up."""

    def __init__(self, server, local, tls):
        self.server, self.closed, self.waiting = server, False, b""
        self.sock = socket.create_connection(server, 10, local)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.set_alpn_protocols(["stun.turn"])
            self.sock = context.wrap_socket(self.sock, server_hostname="turn.example.org")

    def send(self, packet, _server):
        self.sock.sendall(packet + bytes(-len(packet) % 4))

    def frame(self):
        """Takes the first whole message off what has come, or returns None."""
        if len(self.waiting) < 4:
            return None
        size = int.from_bytes(self.waiting[2:4], "big")
        size += 4 if self.waiting[0] >> 6 else 20
        padded = size + -size % 4
        if len(self.waiting) < padded:
            return None
        packet, self.waiting = self.waiting[:size], self.waiting[padded:]
        return packet

    def receive(self, timeout):
        end = time.monotonic() + timeout
        while (packet := self.frame()) is None:
            if self.closed:
                return None
            self.sock.settimeout(max(0.001, end - time.monotonic()))
            try:
                more = self.sock.recv(65536)
            except (TimeoutError, ssl.SSLWantReadError):
                return None
            except ConnectionError:
                more = b""
            self.closed = not more
            self.waiting += more
        return packet, self.server


class Client:
    """One socket, one server, at most one allocation.

    Data waits in `inbox` as (peer, payload, came as ChannelData).
    """

    def __init__(self, server, user="", password="", local=None, transport="udp"):
        self.server, self.user, self.password = server, user, password
        self.wire = Datagrams(server, local) if transport == "udp" else \
            Stream(server, local, transport == "tls")
        self.sock, self.reliable = self.wire.sock, transport != "udp"
        self.key, self.realm, self.nonce = None, b"", b""
        self.channels, self.inbox, self.attempts = {}, [], []

    def transact(self, server, method, attrs, key):
        """Send a request, and again until it is answered; returns the answer, good or bad."""
        tid = os.urandom(12)
        request = build(method | REQUEST, tid, attrs(tid) if callable(attrs) else attrs, key)
        wait = 8 if self.reliable else 0.25
        for _ in range(1 if self.reliable else 7):
            self.wire.send(request, server)
            end = time.monotonic() + wait
            while (left := end - time.monotonic()) > 0 and not getattr(self.wire, "closed", False):
                message = self.receive(left)
                if message and message.tid == tid and message.kind & 0x0EEF == method:
                    return message
            wait = min(2 * wait, 4)
        raise TurnError(f"no answer from {server[0]}:{server[1]} to method {method}")

    def receive(self, timeout):
        """Take one message in. Data goes to the inbox, an answer is returned; else None."""
        got = self.wire.receive(timeout)
        if got is None:
            return None
        packet, source = got
        if len(packet) >= 4 and packet[0] >> 6 == 1:
            number, size = struct.unpack_from("!HH", packet)
            if source != self.server or number not in self.channels or size > len(packet) - 4:
                raise TurnError(f"bad ChannelData: channel {number:#x}, length {size}")
            self.inbox.append((self.channels[number], packet[4:4 + size], True))
            return None
        message = Message(packet)
        if message.kind == DATA | INDICATION:
            peer = unxor_address(message.attrs[XOR_PEER], message.tid)
            self.inbox.append((peer, message.attrs.get(DATA_ATTR), False))
            return None
        if message.kind == CONNECTION_ATTEMPT | INDICATION:
            self.attempts.append((unxor_address(message.attrs[XOR_PEER], message.tid),
                                  message.attrs[CONNECTION_ID]))
            return None
        return message

    def binding(self, server=None):
        """The address the server sees us at."""
        answer = self.transact(server or self.server, BINDING, b"", None)
        if answer.kind != BINDING | SUCCESS:
            raise TurnError(f"Binding refused: {answer.code()}", answer.code())
        return unxor_address(answer.attrs[XOR_MAPPED], answer.tid)

    def request(self, method, attrs):
        """An authenticated request: takes up the 401 challenge, and a new nonce once (438). `attrs` may be a function of
        the transaction id."""
        for _ in range(3):
            auth = b""
            if self.key:
                auth = attr(USERNAME, self.name()) + attr(REALM, self.realm) + \
                    attr(NONCE, self.nonce)

            def whole(tid, auth=auth):
                return (attrs(tid) if callable(attrs) else attrs) + auth
            answer = self.transact(self.server, method, whole, self.key)
            if answer.kind == method | SUCCESS:
                if not self.key or not answer.authentic(self.key):
                    raise TurnError("an answer without valid integrity")
                return answer
            code = answer.code()
            if code != 438 and (code != 401 or self.key):
                raise TurnError(f"method {method} refused: {code}", code)
            self.realm, self.nonce = answer.attrs[REALM], answer.attrs[NONCE]
            text = self.name() + b":" + self.realm + b":" + self.password.encode()
            self.key = hashlib.md5(text).digest()
        raise TurnError("stale nonce again and again", 438)

    def name(self):
        return self.user if isinstance(self.user, bytes) else self.user.encode()

    def allocate(self, relay=UDP_RELAY, family=None, more=b""):
        """Returns (relayed address, mapped address); the whole answer is in `allocated`."""
        attrs = attr(REQUESTED_TRANSPORT, bytes((relay, 0, 0, 0))) + more
        if family:
            attrs += attr(REQUESTED_FAMILY, bytes((family, 0, 0, 0)))
        answer = self.allocated = self.request(ALLOCATE, attrs)
        if int.from_bytes(answer.attrs[LIFETIME], "big") < 60:
            raise TurnError("an allocation of less than a minute")
        return tuple(unxor_address(answer.attrs[a], answer.tid) for a in (XOR_RELAYED, XOR_MAPPED))

    def permit(self, peer):
        self.request(CREATE_PERMISSION, lambda tid: attr(XOR_PEER, xor_address(*peer, tid)))

    def connect(self, peer):
        """RFC 6062: asks for a TCP connection to a peer; returns its id."""
        answer = self.request(CONNECT, lambda tid: attr(XOR_PEER, xor_address(*peer, tid)))
        return answer.attrs[CONNECTION_ID]

    def bind_connection(self, connection_id, control=None):
        """Makes this connection the client's end of a TCP connection to a peer. With the control connection's client
        its nonce is used, which saves a round trip."""
        if control:
            self.key, self.realm, self.nonce = control.key, control.realm, control.nonce
        self.request(CONNECTION_BIND, attr(CONNECTION_ID, connection_id))

    def bind_channel(self, number, peer):
        self.channels[number] = peer
        value = attr(CHANNEL_NUMBER, struct.pack("!HH", number, 0))
        self.request(CHANNEL_BIND, lambda tid: value + attr(XOR_PEER, xor_address(*peer, tid)))

    def release(self):
        self.request(REFRESH, attr(LIFETIME, bytes(4)))

    def send(self, peer, payload):
        """Relay a payload, over the peer's channel if it has one."""
        for number, bound in self.channels.items():
            if bound == peer:
                self.wire.send(struct.pack("!HH", number, len(payload)) + payload, self.server)
                return
        tid = os.urandom(12)
        attrs = attr(XOR_PEER, xor_address(*peer, tid)) + attr(DATA_ATTR, payload)
        self.wire.send(build(SEND | INDICATION, tid, attrs), self.server)
