#!/usr/bin/env python3
"""Clients of a server that publishes two relay ports, from the outside.

    port_pool.py SERVER-IP PEER-IP

Every relayed address must be one of SERVER-IP's ports 50000 and 50001. The peers are sockets on PEER-IP.
"""
import socket
import sys
import time

from turnclient import Client, TurnError

PORTS = (50000, 50001)
CLIENTS = 20
ROUNDS = 25


class Peer:
    """A peer that sends back what it gets, with its own name in front."""

    def __init__(self, ip, name):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((ip, 0))
        self.sock.settimeout(3)
        self.at, self.name = self.sock.getsockname(), name

    def answer(self):
        """Returns where the packet came from."""
        data, source = self.sock.recvfrom(2048)
        self.sock.sendto(self.name + data, source)
        return source


def check(what, good):
    if not good:
        sys.exit(f"FAIL: {what}")


def heard(client, timeout=2):
    """The next (peer, payload) that comes, None when nothing does."""
    end = time.monotonic() + timeout
    while not client.inbox and (left := end - time.monotonic()) > 0:
        client.receive(left)
    return client.inbox.pop(0)[:2] if client.inbox else None


def code_of(action, *arguments):
    try:
        action(*arguments)
    except TurnError as error:
        return error.code
    return 0


def join(server):
    client = Client((server, 3478), "alice", "secret")
    client.relay, _ = client.allocate()
    check(f"relayed at {client.relay}", client.relay[0] == server and client.relay[1] in PORTS)
    return client


def join_at(server, port):
    """A client with this very port: the others that had to be made on the way leave again."""
    others = []
    while (client := join(server)).relay[1] != port:
        others.append(client)
        check("a port is never picked", len(others) < 8)
    for other in others:
        other.release()
    return client


def echo(client, peer, text):
    client.send(peer.at, text)
    source = peer.answer()
    check(f"{text} left by {source}, not by {client.relay}", source == client.relay)
    got = heard(client)
    check(f"{text} came back as {got}", got == (peer.at, peer.name + text))


def many_clients_have_peers_of_their_own(server, ip):
    clients = [join(server) for _ in range(CLIENTS)]
    used = [sum(c.relay[1] == p for c in clients) for p in PORTS]
    check(f"ports are used {used} times", used == [CLIENTS // 2] * 2)
    peers = [Peer(ip, b"peer %d: " % i) for i in range(CLIENTS)]
    for number, (client, peer) in enumerate(zip(clients, peers)):
        if number % 2:
            client.bind_channel(0x4000, peer.at)
        else:
            client.permit(peer.at)
    for turn in range(ROUNDS):
        for client, peer in zip(clients, peers):
            client.send(peer.at, b"round %d" % turn)
        for client, peer in zip(clients, peers):
            check("a packet left by another's port", peer.answer() == client.relay)
        for client, peer in zip(clients, peers):
            check("a packet was lost or came to another client",
                  heard(client) == (peer.at, peer.name + b"round %d" % turn))
    return clients


def two_talk_to_one_server_and_a_third_is_refused(server, ip):
    sfu = Peer(ip, b"sfu: ")
    a, b = join_at(server, PORTS[0]), join_at(server, PORTS[1])
    a.bind_channel(0x4000, sfu.at)
    b.bind_channel(0x4000, sfu.at)
    for turn in range(ROUNDS):
        echo(a, sfu, b"a %d" % turn)
        echo(b, sfu, b"b %d" % turn)
    for port, first in ((PORTS[0], a), (PORTS[1], b)):
        third = join_at(server, port)
        check("a third one was not refused", code_of(third.bind_channel, 0x4001, sfu.at) == 508)
        third.channels.clear()
        third.permit(sfu.at)
        third.send(sfu.at, b"not for you")
        echo(first, sfu, b"goes on")
        check("the third one heard something", heard(third, 0.1) is None)
        first.release()
        third.bind_channel(0x4001, sfu.at)
        echo(third, sfu, b"my turn")
    stray = Peer(ip, b"")
    c, d = join_at(server, PORTS[0]), join_at(server, PORTS[0])
    c.permit(stray.at)
    d.permit(stray.at)
    stray.sock.sendto(b"whose?", ("%s" % server, PORTS[0]))
    check("a packet for nobody in particular was delivered",
          heard(c, 0.1) is None and heard(d, 0.1) is None)


def clients_meet_at_their_relays(server, _ip):
    for ports in ((PORTS[0], PORTS[1]), (PORTS[1], PORTS[1])):
        a, b = join_at(server, ports[0]), join_at(server, ports[1])
        a.bind_channel(0x4000, b.relay)
        b.permit(a.relay)
        for turn in range(ROUNDS):
            a.send(b.relay, b"to b %d" % turn)
            check("a to b", heard(b) == (a.relay, b"to b %d" % turn))
            b.send(a.relay, b"to a %d" % turn)
            check("b to a", heard(a) == (b.relay, b"to a %d" % turn))
        a.release()
        b.release()


def main():
    server, ip = sys.argv[1:]
    clients = many_clients_have_peers_of_their_own(server, ip)
    two_talk_to_one_server_and_a_third_is_refused(server, ip)
    clients_meet_at_their_relays(server, ip)
    for client in clients:
        client.release()
    print(f"{CLIENTS} clients with peers of their own, then 2 and a third with one, then 2 pairs of relays")


if __name__ == "__main__":
    main()
