"""A TURN client over UDP, written from RFC 8489 and RFC 8656 with nothing but Python's own library.

It shares no code with what it tests, so a mistake that our server and our client agree on does not
pass here. It checks more than it needs: the integrity of every authenticated answer, and the
fingerprint where there is one; and it tells in which form data came.
Not here: TCP, TLS, IPv6 relays, SHA-256 integrity.
"""
import hashlib
import hmac
import os
import select
import socket
import struct
import time
import zlib

COOKIE = 0x2112A442
BINDING, ALLOCATE, REFRESH, SEND, DATA, CREATE_PERMISSION, CHANNEL_BIND = 1, 3, 4, 6, 7, 8, 9
REQUEST, INDICATION, SUCCESS, ERROR = 0x000, 0x010, 0x100, 0x110
USERNAME, INTEGRITY, ERROR_CODE, CHANNEL_NUMBER, LIFETIME = 0x06, 0x08, 0x09, 0x0C, 0x0D
XOR_PEER, DATA_ATTR, REALM, NONCE, XOR_RELAYED = 0x12, 0x13, 0x14, 0x15, 0x16
REQUESTED_TRANSPORT, XOR_MAPPED, FINGERPRINT = 0x19, 0x20, 0x8028
FINGERPRINT_XOR = 0x5354554E


class TurnError(Exception):
    """An error answer (code is STUN's) or an answer that breaks the protocol (code 0)."""

    def __init__(self, text, code=0):
        super().__init__(text)
        self.code = code


def attr(kind, value):
    return struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)


def xor_address(host, port):
    ip = int.from_bytes(socket.inet_aton(host), "big") ^ COOKIE
    return struct.pack("!BBHI", 0, 1, port ^ (COOKIE >> 16), ip)


def unxor_address(value):
    _, family, port = struct.unpack_from("!BBH", value)
    if family != 1:
        raise TurnError(f"an address of family {family}, expected IPv4")
    ip = int.from_bytes(value[4:8], "big") ^ COOKIE
    return socket.inet_ntoa(ip.to_bytes(4, "big")), port ^ (COOKIE >> 16)


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


class Client:
    """One socket, one server, at most one allocation.

    Data waits in `inbox` as (peer, payload, came as ChannelData).
    """

    def __init__(self, server, user="", password="", local=("0.0.0.0", 0)):
        self.server, self.user, self.password = server, user, password
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.sock.bind(local)
        self.key, self.realm, self.nonce = None, b"", b""
        self.channels, self.inbox = {}, []

    def transact(self, server, method, attrs, key):
        """Send a request, and again until it is answered; returns the answer, good or bad."""
        tid = os.urandom(12)
        request = build(method | REQUEST, tid, attrs, key)
        wait = 0.25
        for _ in range(7):
            self.sock.sendto(request, server)
            end = time.monotonic() + wait
            while (left := end - time.monotonic()) > 0:
                message = self.receive(left)
                if message and message.tid == tid and message.kind & 0x0EEF == method:
                    return message
            wait = min(2 * wait, 4)
        raise TurnError(f"no answer from {server[0]}:{server[1]} to method {method}")

    def receive(self, timeout):
        """Take one packet in. Data goes to the inbox, an answer is returned; else None."""
        if not select.select([self.sock], [], [], max(0, timeout))[0]:
            return None
        try:
            packet, source = self.sock.recvfrom(65536)
        except ConnectionRefusedError:
            return None
        if len(packet) >= 4 and packet[0] >> 6 == 1:
            number, size = struct.unpack_from("!HH", packet)
            if source != self.server or number not in self.channels or size > len(packet) - 4:
                raise TurnError(f"bad ChannelData: channel {number:#x}, length {size}")
            self.inbox.append((self.channels[number], packet[4:4 + size], True))
            return None
        message = Message(packet)
        if message.kind == DATA | INDICATION:
            peer = unxor_address(message.attrs[XOR_PEER])
            self.inbox.append((peer, message.attrs[DATA_ATTR], False))
            return None
        return message

    def binding(self, server=None):
        """The address the server sees us at."""
        answer = self.transact(server or self.server, BINDING, b"", None)
        if answer.kind != BINDING | SUCCESS:
            raise TurnError(f"Binding refused: {answer.code()}", answer.code())
        return unxor_address(answer.attrs[XOR_MAPPED])

    def request(self, method, attrs):
        """An authenticated request: takes up the 401 challenge, and a new nonce once (438)."""
        for _ in range(3):
            auth = attrs
            if self.key:
                auth += attr(USERNAME, self.user.encode())
                auth += attr(REALM, self.realm) + attr(NONCE, self.nonce)
            answer = self.transact(self.server, method, auth, self.key)
            if answer.kind == method | SUCCESS:
                if not self.key or not answer.authentic(self.key):
                    raise TurnError("an answer without valid integrity")
                return answer
            code = answer.code()
            if code != 438 and (code != 401 or self.key):
                raise TurnError(f"method {method} refused: {code}", code)
            self.realm, self.nonce = answer.attrs[REALM], answer.attrs[NONCE]
            text = f"{self.user}:{self.realm.decode()}:{self.password}"
            self.key = hashlib.md5(text.encode()).digest()
        raise TurnError("stale nonce again and again", 438)

    def allocate(self):
        """Returns (relayed address, mapped address)."""
        answer = self.request(ALLOCATE, attr(REQUESTED_TRANSPORT, bytes((17, 0, 0, 0))))
        if int.from_bytes(answer.attrs[LIFETIME], "big") < 60:
            raise TurnError("an allocation of less than a minute")
        return unxor_address(answer.attrs[XOR_RELAYED]), unxor_address(answer.attrs[XOR_MAPPED])

    def permit(self, peer):
        self.request(CREATE_PERMISSION, attr(XOR_PEER, xor_address(*peer)))

    def bind_channel(self, number, peer):
        self.channels[number] = peer
        value = struct.pack("!HH", number, 0)
        self.request(CHANNEL_BIND, attr(CHANNEL_NUMBER, value) + attr(XOR_PEER, xor_address(*peer)))

    def release(self):
        self.request(REFRESH, attr(LIFETIME, bytes(4)))

    def send(self, peer, payload):
        """Relay a payload, over the peer's channel if it has one."""
        for number, bound in self.channels.items():
            if bound == peer:
                self.sock.sendto(struct.pack("!HH", number, len(payload)) + payload, self.server)
                return
        attrs = attr(XOR_PEER, xor_address(*peer)) + attr(DATA_ATTR, payload)
        self.sock.sendto(build(SEND | INDICATION, os.urandom(12), attrs), self.server)
