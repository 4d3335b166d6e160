#!/usr/bin/env python3
"""One of two peers that call each other, each behind a NAT of its own: directly if that works, and through a TURN server.

    call.py               the call, by the variables ME, PEER, TURN (HOST:PORT), SECRET_FILE and MEET
    call.py --healthy     status 0: something was heard from the peer in the last 5 seconds

MEET is a folder that both peers see. It stands for what a WebRTC application does with a server of its own: telling each
other addresses. Everything else goes over the network.
"""
import base64
import hashlib
import hmac
import json
import os
import signal
import sys
import time

from turnclient import LIFETIME, REFRESH, Client, TurnError, attr

HEARD = "/tmp/heard"
FIRST_CHANNEL = 0x4000
DIRECT_SECONDS = 3
REFRESH_SECONDS = 120


def credentials(secret, name):
    """A time-limited user, as the web application would make it that has the secret (TURN REST API)."""
    user = f"{int(time.time()) + 86400}:{name}"
    mac = hmac.new(secret.encode(), user.encode(), hashlib.sha1).digest()
    return user, base64.b64encode(mac).decode()


class Direct:
    """The wire of a Client, that also takes what a peer sends to our address without the server."""

    def __init__(self, wire):
        self.wire, self.sock, self.came_from = wire, wire.sock, None

    def send(self, packet, to):
        self.wire.send(packet, to)

    def receive(self, timeout):
        got = self.wire.receive(timeout)
        if got and got[0].startswith(b"direct"):
            self.came_from = got[1]
            return None
        return got


class Call:
    def __init__(self, me, peer, server, secret, meet):
        self.me, self.peer, self.meet = me, peer, meet
        self.client = Client(server, *credentials(secret, me))
        self.client.wire = Direct(self.client.wire)
        self.numbers, self.channel = 0, FIRST_CHANNEL

    def say(self, text):
        print(f"{self.me}: {text}", flush=True)

    # ---- what a signalling server is for ----

    def tell(self, addresses):
        path = os.path.join(self.meet, self.me)
        with open(path + ".new", "w", encoding="ascii") as f:
            json.dump(addresses, f)
        os.rename(path + ".new", path)

    def told(self):
        """What the peer has told last, or None."""
        try:
            with open(os.path.join(self.meet, self.peer), encoding="ascii") as f:
                return {kind: tuple(address) for kind, address in json.load(f).items()}
        except FileNotFoundError:
            return None

    def wait_for_peer(self):
        while (addresses := self.told()) is None:
            time.sleep(0.1)
        return addresses

    # ---- the call ----

    def try_directly(self, address):
        """Both send to where the other is seen, at once, which opens NATs that can be opened."""
        end = time.monotonic() + DIRECT_SECONDS
        while time.monotonic() < end and not self.client.wire.came_from:
            self.client.wire.send(b"direct", address)
            self.listen(0.2)
        if self.client.wire.came_from:
            self.say(f"{self.peer} can be reached directly at {address[0]}:{address[1]}")
        else:
            self.say(f"no direct way to {self.peer} at {address[0]}:{address[1]}: the NATs let nothing through")

    def listen(self, seconds):
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.client.receive(left)
            for _, payload, _ in self.client.inbox:
                self.hear(json.loads(payload))
            self.client.inbox.clear()

    def hear(self, message):
        with open(HEARD, "w", encoding="ascii"):
            pass
        self.numbers += 1
        if self.numbers <= 3 or self.numbers % 10 == 0:
            ms = (time.time() - message["at"]) * 1000
            self.say(f"heard message {message['number']} from {message['from']} through the relay after {ms:.1f} ms")

    def relay_to(self, address):
        """Lets the peer's relayed address through to us, and us to it, for the next ten minutes. A channel belongs to an
        address for good, so another address takes another one."""
        if self.client.channels.get(self.channel) != address:
            self.client.channels.clear()
            self.channel += 1
        self.client.bind_channel(self.channel, address)

    def run(self):
        relayed, mapped = self.client.allocate()
        self.say(f"the NAT makes {mapped[0]}:{mapped[1]} of {self.client.sock.getsockname()[1]}, "
                 f"and the relay of turnd is {relayed[0]}:{relayed[1]}")
        self.tell({"mapped": mapped, "relayed": relayed})
        other, number, refreshed = None, 0, time.monotonic()
        while True:
            now = self.wait_for_peer()
            if now != other:  # the first time, or the peer has started anew
                other = now
                self.relay_to(other["relayed"])
                self.try_directly(other["mapped"])
            if time.monotonic() - refreshed > REFRESH_SECONDS:
                self.client.request(REFRESH, attr(LIFETIME, (600).to_bytes(4, "big")))
                self.relay_to(other["relayed"])
                refreshed = time.monotonic()
            number += 1
            text = json.dumps({"from": self.me, "number": number, "at": time.time()})
            self.client.send(other["relayed"], text.encode())
            self.listen(1)


def read_secret(path):
    """The first line of the file, which the server makes when it starts for the first time."""
    for _ in range(300):
        try:
            with open(path, encoding="ascii") as f:
                return f.readline().strip()
        except FileNotFoundError:
            time.sleep(0.1)
    raise TurnError(f"{path} is not there")


def healthy():
    try:
        return time.time() - os.stat(HEARD).st_mtime < 5
    except FileNotFoundError:
        return False


def main():
    if sys.argv[1:] == ["--healthy"]:
        return 0 if healthy() else 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    host, _, port = os.environ["TURN"].partition(":")
    me, peer = os.environ["ME"], os.environ["PEER"]
    try:
        secret = read_secret(os.environ["SECRET_FILE"])
        Call(me, peer, (host, int(port or 3478)), secret, os.environ["MEET"]).run()
    except TurnError as e:
        print(f"{me}: {e}", flush=True)
        return 1


if __name__ == "__main__":
    sys.exit(main())
