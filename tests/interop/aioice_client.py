#!/usr/bin/python3
"""aioice (Debian's python3-aioice, hence Debian's Python) as a foreign client.

    aioice_client.py reflexive HOST PORT
        Print the server-reflexive candidates that it makes of the server's answers.
    aioice_client.py relay HOST PORT USER PASSWORD udp|tcp|tls [COUNT]
        Two ICE agents with relayed candidates only send each other COUNT messages. The server's
        certificate is checked (SSL_CERT_FILE says what to trust).
"""
import asyncio
import hashlib
import sys

import aioice
from aioice.ice import TransportPolicy, server_reflexive_candidate


async def reflexive(host, port):
    agent = aioice.Connection(ice_controlling=True, use_ipv6=False)
    await agent.gather_candidates()
    for protocol in agent._protocols:
        candidate = await server_reflexive_candidate(protocol, (host, int(port)))
        local = protocol.local_candidate
        print(f"local {local.host}:{local.port} reflexive {candidate.host}:{candidate.port}")
    await agent.close()


async def relay(host, port, user, password, transport, count="100"):
    agents = [
        aioice.Connection(ice_controlling=controlling, turn_server=(host, int(port)),
                          turn_username=user, turn_password=password,
                          turn_transport="udp" if transport == "udp" else "tcp",
                          turn_ssl=transport == "tls", use_ipv6=False, transport_policy=TransportPolicy.RELAY)
        for controlling in (True, False)]
    await asyncio.gather(*(agent.gather_candidates() for agent in agents))
    for one, other in (agents, reversed(agents)):
        for candidate in one.local_candidates:
            await other.add_remote_candidate(candidate)
        await other.add_remote_candidate(None)
        other.remote_username, other.remote_password = one.local_username, one.local_password
    kinds = {candidate.type for agent in agents for candidate in agent.local_candidates}
    await asyncio.gather(*(agent.connect() for agent in agents))
    for number in range(int(count)):
        data = hashlib.sha256(b"%d" % number).digest() * (1 + number % 30)
        for one, other in (agents, reversed(agents)):
            await one.send(data)
            assert await other.recv() == data, f"message {number} came changed"
    print(f"{count} messages each way over {kinds}")
    assert kinds == {"relay"}
    await asyncio.gather(*(agent.close() for agent in agents))


asyncio.run(asyncio.wait_for(globals()[sys.argv[1]](*sys.argv[2:]), 25))
