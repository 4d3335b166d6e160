#!/usr/bin/env python3
"""One side of a conversation between two clients that meet only at their relayed addresses.

    relay_pair.py mapped SERVER...
        Print how a fresh socket looks to each server, one address per line.
    relay_pair.py talk --me a --peer b --meet DIR ...
        Allocate, meet the other process in DIR, exchange --count messages.

Both sides send at once, at most WINDOW messages ahead of what they have received, so that nothing
is lost to a full socket buffer, and every message that is missing at the end was lost on the way.
Exit status 0: all arrived, unchanged.
"""
import argparse
import hashlib
import os
import sys
import time

from turnclient import Client, TurnError

WINDOW = 16
CHANNEL = 0x4001


def endpoint(text, port=3478):
    host, _, given = text.partition(":")
    return host, int(given or port)


def payload(sender, number):
    """Message `number` of a sender: its name, the number and 0 to 1100 bytes of filler."""
    head = f"{sender} {number} ".encode()
    filler = hashlib.sha256(head).digest() * 35
    return head + filler[:number * 97 % 1101]


class Meeting:
    """A folder where two processes leave each other word."""

    def __init__(self, folder, me, peer, deadline):
        self.folder, self.me, self.peer, self.deadline = folder, me, peer, deadline

    def tell(self, what, text=""):
        path = os.path.join(self.folder, f"{self.me}.{what}")
        with open(path + ".new", "w", encoding="ascii") as f:
            f.write(text)
        os.rename(path + ".new", path)

    def heard(self, what):
        return os.path.exists(os.path.join(self.folder, f"{self.peer}.{what}"))

    def hear(self, what):
        while not self.heard(what):
            if time.monotonic() > self.deadline:
                raise TurnError(f"{self.peer} never got as far as '{what}'")
            time.sleep(0.01)
        with open(os.path.join(self.folder, f"{self.peer}.{what}"), encoding="ascii") as f:
            return f.read()


def exchange(client, args, relay, deadline):
    """Send and receive until all of the peer's messages are here; returns how many came twice."""
    sent, seen, doubles = 0, set(), 0
    while len(seen) < args.count or sent < args.count:
        if time.monotonic() > deadline:
            missing = sorted(set(range(args.count)) - seen)
            raise TurnError(f"sent {sent}, got {len(seen)} of {args.count}; missing {missing[:10]}")
        while sent < args.count and sent < len(seen) + WINDOW:
            client.send(relay, payload(args.me, sent))
            sent += 1
        client.receive(0.2)
        for peer, data, on_channel in client.inbox:
            number = int(data.split(b" ", 2)[1])
            if peer != relay or data != payload(args.peer, number):
                raise TurnError(f"message {number} came changed, or from {peer} instead of {relay}")
            if on_channel != (args.mode == "channel"):
                raise TurnError(f"message {number} came as ChannelData: {on_channel}")
            doubles += number in seen
            seen.add(number)
        client.inbox.clear()
    return doubles


def talk(args):
    started = time.monotonic()
    deadline = started + args.timeout
    meeting = Meeting(args.meet, args.me, args.peer, deadline)
    client = Client(endpoint(args.server), args.user, args.password)
    relay, seen_at = client.allocate()
    meeting.tell("relay", f"{relay[0]}:{relay[1]}")
    other = endpoint(meeting.hear("relay"))
    client.permit(other)
    if args.mode == "channel":
        client.bind_channel(CHANNEL, other)
    meeting.tell("ready")
    meeting.hear("ready")
    talking = time.monotonic()
    doubles = exchange(client, args, other, deadline)
    done = time.monotonic()
    meeting.tell("done")
    meeting.hear("done")
    client.release()
    print(f"{args.me}: {args.count} of {args.count} received, {doubles} twice, by {args.mode}; "
          f"mapped {seen_at[0]}:{seen_at[1]}, relayed {relay[0]}:{relay[1]}; "
          f"set up {1000 * (talking - started):.0f} ms, exchanged {1000 * (done - talking):.0f} ms")


def mapped(args):
    client = Client(endpoint(args.servers[0]))
    for server in args.servers:
        print("%s:%d" % client.binding(endpoint(server)))


def main():
    parser = argparse.ArgumentParser()
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("mapped")
    verb.set_defaults(run=mapped)
    verb.add_argument("servers", nargs="+")
    verb = verbs.add_parser("talk")
    verb.set_defaults(run=talk)
    for name in ("--me", "--peer", "--meet", "--server", "--user", "--password"):
        verb.add_argument(name, required=True)
    verb.add_argument("--mode", choices=("channel", "send"), default="channel")
    verb.add_argument("--count", type=int, default=1000)
    verb.add_argument("--timeout", type=float, default=30)
    args = parser.parse_args()
    try:
        args.run(args)
    except TurnError as error:
        sys.exit(f"{getattr(args, 'me', 'mapped')}: {error}")


if __name__ == "__main__":
    main()
