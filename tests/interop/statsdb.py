#!/usr/bin/env python3
"""A consumer of coturn's statistics in Redis, and sessions to be told of.

    statsdb.py record REDIS_PORT FILE           write every message on turn/* to a file, until killed
    statsdb.py session NAME SERVER PORT FILE    play a session, wait until FILE has its end, and print its messages

What is printed is what came but for what must differ: the session's id, ports that the system gave, and, in the bytes of the
client's leg, those of control messages, which each server makes as long as it likes (SOFTWARE, the nonce): they are counted
here, as they went over the wire, and must be in the server's count. So a server that counts none or too much prints another
number.
"""
import base64
import hashlib
import hmac
import re
import socket
import ssl
import sys
import time

from turnclient import (ALLOCATE, BINDING, DATA_ATTR, INDICATION, LIFETIME, REFRESH, REQUESTED_TRANSPORT, SUCCESS,
                        XOR_PEER, XOR_RELAYED, Client, Message, TurnError, attr, build, unxor_address)

PEER_PORT, BULK = 23456, 5000
SECRET = b"north"


# --- the consumer ----------------------------------------------------------------------------------

def record(port, path):
    """A subscriber as coturn's documentation has it: psubscribe."""
    redis = socket.create_connection(("127.0.0.1", port))
    redis.sendall(b"*2\r\n$10\r\nPSUBSCRIBE\r\n$6\r\nturn/*\r\n")
    stream = redis.makefile("rb")

    def reply():
        line = stream.readline().rstrip(b"\r\n")
        kind, rest = line[:1], line[1:]
        if kind == b"*":
            return [reply() for _ in range(int(rest))]
        if kind == b"$":
            return stream.read(int(rest) + 2)[:-2]
        return rest

    with open(path, "ab", buffering=0) as out:
        while True:
            kind, *rest = reply()
            if kind == b"psubscribe":
                out.write(b"ready\n")
            else:
                out.write(rest[1] + b" = " + rest[2] + b"\n")


# --- sessions --------------------------------------------------------------------------------------

def beyond_data(packet):
    """Bytes of a Data indication besides the peer and the data (turnserver adds its name)."""
    attrs = Message(packet).attrs
    return len(packet) - 20 - 4 - len(attrs[XOR_PEER]) - len(attr(DATA_ATTR, attrs[DATA_ATTR]))


class Counted(Client):
    """A client that counts the bytes of what is no relayed data, as they go over the wire: [sent, received]. Messages
    after `part` was set to 1 are those of the end."""

    def __init__(self, *args, **how):
        super().__init__(*args, **how)
        if not self.reliable:  # a datagram socket has a port once it is asked for one
            self.sock.bind(("::" if ":" in self.server[0] else "0.0.0.0", 0))
        self.port = self.sock.getsockname()[1]
        self.control, self.part = [[0, 0], [0, 0]], 0
        send, receive = self.wire.send, self.wire.receive

        def counting_send(packet, server):
            if packet[:2] not in (b"\x00\x16", b"\x40\x01"):
                self.control[self.part][0] += len(packet)
            send(packet, server)

        def counting_receive(timeout):
            got = receive(timeout)
            if got and got[0][:2] == b"\x00\x17":
                self.control[self.part][1] += beyond_data(got[0])
            elif got and got[0][:2] != b"\x40\x01":
                self.control[self.part][1] += len(got[0])
            return got

        self.wire.send, self.wire.receive = counting_send, counting_receive


class Peer:
    def __init__(self, host):
        self.at = (host, PEER_PORT)
        self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(self.at)
        self.sock.settimeout(5)

    def take(self):
        return self.sock.recvfrom(65536)


def echo(client, peer, size):
    client.send(peer.at, b"x" * size)
    data, relay = peer.take()
    peer.sock.sendto(data, relay)
    back(client)


def back(client):
    end = time.monotonic() + 5
    while not client.inbox:
        if time.monotonic() > end:
            raise TurnError("nothing came back")
        client.receive(0.5)
    client.inbox.clear()


def talk(client, peer, bulk):
    """Everything a client can do, with answers to wait for, so that the order of counts is the same every time."""
    client.allocate(more=attr(LIFETIME, (900).to_bytes(4, "big")))
    client.permit(peer.at)
    for size in range(8):
        echo(client, peer, size)
    client.bind_channel(0x4001, peer.at)
    for size in range(8):
        echo(client, peer, size)
    answer = client.allocated
    relay = unxor_address(answer.attrs[XOR_RELAYED], answer.tid)
    for _ in range(3):
        stranger = socket.socket(peer.sock.family, socket.SOCK_DGRAM)
        stranger.bind(("::1" if ":" in peer.at[0] else "127.0.0.2", 0))
        stranger.sendto(b"unpermitted" if ":" not in peer.at[0] else b"permitted by its IP", relay)
    if ":" in peer.at[0]:
        for _ in range(3):
            back(client)
    for i in range(bulk):
        client.send(peer.at, b"y" * (i % 50))
        data, relay = peer.take()
        if i % 3 == 0:
            peer.sock.sendto(data, relay)
            back(client)
    client.part = 1
    client.binding()
    try:
        client.bind_channel(0x1234, peer.at)
    except TurnError as refused:
        if refused.code != 400:
            raise
    client.request(REFRESH, attr(LIFETIME, (700).to_bytes(4, "big")))


def plain(at, transport, bulk=BULK, **how):
    client = Counted(at, "alice", "secret", transport=transport, **how)
    talk(client, Peer("::1" if ":" in at[0] else "127.0.0.1"), bulk)
    client.release()
    return client


def tls(at):
    """turnserver 4.6.1 speaks no TLS 1.3."""
    make = ssl.create_default_context

    def old():
        context = make()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        return context
    ssl.create_default_context = old
    return plain(at, "tls")


def odd(at):
    """Packets that lead nowhere, before and after there is an allocation."""
    client = Counted(at, "alice", "secret")
    for _ in range(2):
        client.binding()
        client.wire.send(b"\x55 garbage", at)
        client.wire.send(build(BINDING | INDICATION, bytes(12)), at)
        if not client.key:
            client.allocate()
        client.wire.send(b"\x40\x02\x00\x04none", at)
    client.part = 1
    client.release()
    return client


def hang_up(at):
    client = Counted(at, "alice", "secret", transport="tcp")
    client.allocate()
    client.sock.close()
    return client


def nobody(at):
    """no-auth"""
    client = Counted(at)
    wanted = attr(REQUESTED_TRANSPORT, bytes((17, 0, 0, 0)))
    for method, attrs in ((ALLOCATE, wanted), (REFRESH, attr(LIFETIME, bytes(4)))):
        if client.transact(at, method, attrs, None).kind != method | SUCCESS:
            raise TurnError("refused")
    return client


def rest(at):
    user = f"{int(time.time()) + 3600}:bob"
    password = base64.b64encode(hmac.new(SECRET, user.encode(), hashlib.sha1).digest()).decode()
    client = Counted(at, user, password)
    client.allocate()
    client.release()
    return client


SESSIONS = {
    "udp": lambda at: plain(at, "udp"),
    "tcp": lambda at: plain(at, "tcp"),
    "tls": tls,
    "udp6": lambda at: plain(at, "udp", 100),
    "odd": odd,
    "hang-up": hang_up,
    "nobody": nobody,
    "rest": rest,
}


# --- what was told ---------------------------------------------------------------------------------

def told(path, port):
    """The messages of the session whose client has this port, when the last of them is there."""
    end = time.monotonic() + 15
    while time.monotonic() < end:
        with open(path, encoding="utf-8") as f:
            lines = f.read().splitlines()
        ids = [re.search(r"/allocation/(\d{18})/status = new ", line) for line in lines
               if re.search(rf" = new .*remote=\S*:{port},", line)]
        mine = [line for line in lines if ids and f"/allocation/{ids[-1][1]}/" in line]
        if mine and "/total_traffic/peer = " in mine[-1]:
            return mine
        time.sleep(0.05)
    raise TurnError(f"no end of the session: {lines[-12:]}")


def without_control(line, control):
    """Takes the bytes of control messages off the client's leg."""
    match = re.fullmatch(r"(.*traffic = rcvp=\d+, rcvb=)(\d+)(, sentp=\d+, sentb=)(\d+)", line)
    if not match:
        return line
    return f"{match[1]}{int(match[2]) - control[0]}{match[3]}{int(match[4]) - control[1]}"


def show(lines, client):
    first, last = client.control
    both = [first[0] + last[0], first[1] + last[1]]
    periods = [i for i, line in enumerate(lines) if "/traffic = " in line]
    for i, line in enumerate(lines):
        control = [0, 0]
        if "/total_traffic = " in line or len(periods) == 1:
            control = both
        elif i in (periods[0], periods[-1]):
            control = first if i == periods[0] else last
        line = without_control(line, control)
        line = re.sub(r"/allocation/\d{18}/", "/allocation/ID/", line)
        line = re.sub(rf"(remote=\S*:){client.port},", r"\1PORT,", line)
        print(re.sub(r"/user/\d+:bob/", "/user/LATER:bob/", line))


def main(argv):
    if argv[0] == "record":
        record(int(argv[1]), argv[2])
    else:
        name, host, port, path = argv[1:]
        client = SESSIONS[name]((host, int(port)))
        show(told(path, client.port), client)


if __name__ == "__main__":
    main(sys.argv[1:])
