#!/usr/bin/env python3
"""What somebody may try who can write to a fleet's Redis, but has no fleet-key.

    fleet_evil.py PORT forge | move | again | garbage | types | clear | keep NODE | hold NODE

"keep" writes down a node's entry, "hold" shows it again with ever new times until it is ended.
"""

import os
import socket
import sys
import time

NODES, NOTES = b"{pinhole:fleet}:nodes", b"{pinhole:fleet}:notes"
KEPT = "/run/pinhole-test/entry"
ENTRY = b" 1 state=serving load=0 sessions=0 up=1 version=1 udp=127.0.0.66:3478 "


class Redis:
    def __init__(self, port):
        self.s = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.f = self.s.makefile("rb")
        self("SELECT", "1")

    def __call__(self, *args):
        args = [a if isinstance(a, bytes) else str(a).encode() for a in args]
        self.s.sendall(b"*%d\r\n" % len(args) + b"".join(b"$%d\r\n%b\r\n" % (len(a), a) for a in args))
        return self.reply()

    def reply(self):
        line = self.f.readline()[:-2]
        kind, rest = line[:1], line[1:]
        if kind == b"-":
            raise SystemExit(rest.decode())
        if kind in b"+:":
            return rest
        n = int(rest)
        if n < 0:
            return None
        return self.f.read(n + 2)[:-2] if kind == b"$" else [self.reply() for _ in range(n)]

    def hash(self):
        v = self("HGETALL", NODES)
        return dict(zip(v[::2], v[1::2]))

    def notes(self):
        return [dict(zip(fields[::2], fields[1::2])) for _, fields in self("XRANGE", NOTES, "-", "+")]

    def note(self, **fields):
        self("XADD", NOTES, "*", *(x for pair in fields.items() for x in pair))


def stamp():
    return b"%d %d" % (time.time(), time.time() * 1000)


def forge(r):
    """Entries that would draw clients, and orders, in every spelling but a signed one."""
    good = r.hash()[b"xx"]
    for mac in b"0" * 32, b"", b"z" * 32, good[-32:]:
        r("HSET", NODES, "mallory", stamp() + ENTRY + mac)
    for v in b"revoke example.org bob", b"%d revoke example.org bob" % (time.time() * 1000), b"", b"\0" * 64:
        r.note(n="x", t="*", v=v)
        r.note(n="mallory", t="xx", v=v)
    sealed = r.notes()[0][b"v"]
    for i in range(len(sealed)):
        r.note(n="x", t="*", v=sealed[:i] + bytes([sealed[i] ^ 1]) + sealed[i + 1:])


def move(r):
    """What is genuine, under other names: of nodes, and for nodes."""
    entry = r.hash()[b"xx"]
    for name in b"mallory", b"xx\0evil", b"xx ", b"XX", b"xx/":
        r("HSET", NODES, name, entry)
    for note in r.notes():
        for n, t in (b"xx", b"*"), (b"x", b"xx"), (b"xx", b"x"), (b"x\0evil", b"*"), (b"x/*", b""), (b"mallory", b"*"):
            if (n, t) != (note[b"n"], note[b"t"]):
                r.note(n=n, t=t, v=note[b"v"])


def again(r):
    """All notes once more, as they were."""
    for note in r.notes():
        r.note(n=note[b"n"], t=note[b"t"], v=note[b"v"])


def garbage(r):
    """Bytes, and many of them."""
    for i in range(2000):
        r("HSET", NODES, b"n%d" % i, os.urandom(20))
    for value in b"x" * 1000000, b"9" * 1000, stamp() + b" " + b"=" * 20000, b" ", b"\xff\n\0":
        r("HSET", NODES, b"a" + value[:8], value)
    r("HSET", NODES, b"n" * 100000, b"")
    r("HSET", NODES, b"", b"")
    for n in b"", b"x" * 100000, b"x\n", b"%n%s", b"xx":
        for t in b"*", b"", b"x" * 100000:
            r.note(n=n, t=t, v=b"y" * 100000)
    r("XADD", NOTES, "*", "only", "this")
    r("XADD", NOTES, "*", *(["n", "xx", "t", "*"] * 500))
    for _ in range(1000):
        r.note(n="xx", t="*", v=os.urandom(50))


def types(r):
    """Keys that are something else."""
    for key in NODES, NOTES:
        r("SET", key, "nothing of yours")


def clear(r):
    r("DEL", NODES, NOTES)


def keep(r, node):
    with open(KEPT, "wb") as f:
        f.write(r.hash()[node.encode()])


def hold(r, node):
    with open(KEPT, "rb") as f:
        signed = f.read().split(b" ", 1)[1]
    while True:
        for at in 0, 1000000:
            r("HSET", NODES, node, b"%d %b" % (time.time() + at, signed))
            time.sleep(0.1)


if __name__ == "__main__":
    globals()[sys.argv[2]](Redis(int(sys.argv[1])), *sys.argv[3:])
