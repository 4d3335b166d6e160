// What the web page makes of what it sees: cmd/turnd/web/diagnose.js has no page in it, so it can be asked here.
//
//     node web_diagnose.mjs diagnose.js
import assert from 'node:assert/strict';
import { pathToFileURL } from 'node:url';

const { way, explain, sum } = await import(pathToFileURL(process.argv[2]));

// URIs (RFC 7065)
assert.deepEqual(way('turn:example.org'), { kind: 'udp', host: 'example.org' });
assert.deepEqual(way('turn:example.org:3478?transport=tcp'), { kind: 'tcp', host: 'example.org' });
assert.deepEqual(way('turns:[2001:db8::1]:5349?transport=tcp'), { kind: 'tls', host: '2001:db8::1' });
assert.deepEqual(way('turns:example.org'), { kind: 'tls', host: 'example.org' });
for (const none of ['turns:h?transport=udp', 'stun:h', 'turn:h?transport=sctp', 'http://h', 'turn:', '']) {
  assert.equal(way(none), null, none);
}

const [udp, tcp, tls] = ['turn:h', 'turn:h?transport=tcp', 'turns:turn.example.org'].map(way);
const gather = (...codes) => ({ failedAt: 'gather', errors: codes.map((code) => ({ code, text: 'text' })) });
const certificate = (names, days = 9) => [{ names, not_after: Date.now() / 1000 + days * 86400 }];
const says = (text, pattern) => assert.match(text, pattern);

says(explain(udp, gather(701), {}), /UDP does not get through/);
says(explain(tcp, gather(701), {}), /No TCP connection/);
says(explain(udp, gather(701, 401), {}), /401: the server does not accept the user/);
says(explain(tls, gather(486), {}), /486/);
says(explain(udp, gather(442), {}), /Error 442: .*\(text\)/);
says(explain(udp, gather(), { before: { drained: 1 }, after: { drained: 2 } }), /draining/);
says(explain(tls, gather(701), { certificates: certificate('turn.example.org') }), /^No TLS .*does not trust/);
says(explain(tls, gather(701), { certificates: certificate('*.example.org, x.y') }), /^No TLS/);
says(explain(tls, gather(701), { certificates: certificate('a.example.net, 192.0.2.1') }),
  /is for a\.example\.net, 192\.0\.2\.1, not for turn\.example\.org/);
says(explain(tls, gather(701), { certificates: certificate('turn.example.org', -1) }), /expired/);
says(explain(tls, gather(701), {}), /has no certificate/);
const connect = { failedAt: 'connect', errors: [] };
says(explain(udp, connect, { before: { forbidden_peer: 5 }, after: { forbidden_peer: 6 } }), /403.*allowed-peer-ip/);
says(explain(udp, connect, { before: { forbidden_peer: 5 }, after: { forbidden_peer: 5 } }), /external-ip/);
says(explain(udp, connect, { before: null, after: null }), /external-ip/);
says(explain(udp, { failedAt: 'echo', errors: [], message: 'the echo did not come back' }, {}), /echo did not/);

const good = (kind) => ({ kind, url: kind, ok: true, setupMs: 81.4, rttMs: 2.04 });
const bad = (kind, why, url = kind) => ({ kind, url, ok: false, why });
assert.deepEqual(sum([good('udp'), good('tcp'), good('tls')]),
  { state: 'ok', text: 'Works over UDP, TCP and TLS. Set up in 81 ms, round trip 2.0 ms.' });
says(sum([good('udp')]).text, /^Works over UDP\. .*TLS is not offered/);
assert.deepEqual(sum([good('udp'), bad('tls', 'No.')]),
  { state: 'partial', text: 'Works over UDP. It does not work over TLS. TLS: No.' });
assert.deepEqual(sum([good('udp'), bad('udp', 'Blocked.', 'turn:[::1]')]),
  { state: 'partial', text: 'Works over UDP. Not at every address. turn:[::1]: Blocked.' });
assert.deepEqual(sum([bad('udp', 'A.'), bad('udp', 'A.'), bad('tcp', 'B.')]),
  { state: 'failed', text: 'Does not work. UDP: A. TCP: B.' });
assert.equal(sum([]).state, 'failed');
console.log('ok');
