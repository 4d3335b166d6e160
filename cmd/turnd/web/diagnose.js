// From what a browser and the server saw to a sentence: what works, what does not, and what it usually is.

const NAMES = { udp: 'UDP', tcp: 'TCP', tls: 'TLS' };

// { kind: 'udp' | 'tcp' | 'tls', host } of a TURN URI (RFC 7065) that browsers take, or null.
export function way(url) {
  const parts = /^(turns?):(\[[^\]]+\]|[^:?]+)(?::(\d+))?(?:\?transport=(udp|tcp))?$/i.exec(url);
  if (!parts) return null;
  const secure = parts[1].toLowerCase() === 'turns';
  const transport = (parts[4] ?? (secure ? 'tcp' : 'udp')).toLowerCase();
  if (secure && transport === 'udp') return null; // DTLS: no browser does it
  return { kind: secure ? 'tls' : transport, host: parts[2].replace(/^\[|\]$/g, '') };
}

export const title = (kind) => NAMES[kind];

const covers = (name, host) => {
  const [a, b] = [name.toLowerCase(), host.toLowerCase()];
  return a === b || (a.startsWith('*.') && b.split('.').slice(1).join('.') === a.slice(2));
};

// What is wrong with the server's certificates for a host, as far as the server tells; '' when nothing is.
function certificateTrouble(host, certificates) {
  const names = certificates.flatMap((c) => c.names.split(/,\s*/).map((n) => n.replace(/^(DNS|IP( Address)?):/i, '')));
  if (!certificates.length) return 'The server says it has no certificate. ';
  if (certificates.every((c) => c.not_after * 1000 < Date.now())) return 'The certificate has expired. ';
  if (!names.some((n) => covers(n, host))) return `The certificate is for ${names.join(', ')}, not for ${host}. `;
  return '';
}

const BLOCKED = {
  udp: 'UDP does not get through: usually a firewall, here or there, that lets no UDP pass, or the port is not open.',
  tcp: 'No TCP connection is made: usually a firewall, or the port is not open.',
};

function gatherTrouble({ kind, host }, result, certificates) {
  const codes = new Set(result.errors.map((e) => e.code));
  if (codes.has(401)) return 'Error 401: the server does not accept the user or password. Usual cause: the clocks differ, '
    + 'or the shared secret is another one.';
  if (codes.has(486)) return 'Error 486: the user has as many allocations as he may have.';
  if (codes.has(508)) return 'Error 508: the server has no relay port left, or is draining.';
  if (codes.has(300)) return 'Error 300: the server sends newcomers to another one.';
  const other = [...codes].find((code) => code >= 300 && code < 700);
  if (other) return `Error ${other}: the server refuses to relay (${result.errors.find((e) => e.code === other).text}).`;
  if (kind !== 'tls') return BLOCKED[kind];
  return `${certificateTrouble(host, certificates)}No TLS connection is made: usually this browser does not trust the `
    + 'certificate (self-signed, or the chain is not complete; for TURN there is no warning to click away), or the port is '
    + 'not open.';
}

// What is wrong with one way in. before and after are the server's counters.turn, or null.
export function explain(where, result, { certificates = [], before, after }) {
  const rose = (name) => (after?.[name] ?? 0) > (before?.[name] ?? 0);
  if (result.failedAt === 'gather') {
    if (!result.errors.length && rose('quota')) return 'Error 486: a quota of the server is used up.';
    if (!result.errors.length && rose('drained')) return 'The server is draining and takes no newcomers.';
    return gatherTrouble(where, result, certificates);
  }
  if (result.failedAt === 'connect') {
    if (rose('forbidden_peer')) return 'Error 403: the server gives relay addresses but denies their addresses as peers. '
      + 'Usual cause: the relay address is private; allow it with allowed-peer-ip, or set external-ip.';
    return 'There are relay addresses, but nothing passes between them: usually the relay ports are closed by a firewall, '
      + 'or the server does not know its public address (external-ip).';
  }
  return `It connected, but then ${result.message}.`;
}

const list = (words) => (words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`);

const each = (results, name) => [...new Set(results.map((r) => `${name(r)}: ${r.why}`))].join(' ');

// The sentence over all ways, each a result with kind, url and, if it failed, why.
// { state: 'ok' | 'partial' | 'failed', text }
export function sum(results) {
  const kinds = Object.keys(NAMES);
  const works = kinds.filter((k) => results.some((r) => r.kind === k && r.ok));
  const failed = results.filter((r) => !r.ok);
  if (!results.length) return { state: 'failed', text: 'The server offers no way in that a browser can use.' };
  if (!works.length) return { state: 'failed', text: `Does not work. ${each(failed, (r) => title(r.kind))}` };
  let text = `Works over ${list(works.map(title))}.`;
  if (failed.length) {
    const never = failed.filter((r) => !works.includes(r.kind)), partly = failed.filter((r) => works.includes(r.kind));
    if (never.length) text += ` It does not work over ${list([...new Set(never.map((r) => title(r.kind)))])}. ${each(never, (r) => title(r.kind))}`;
    if (partly.length) text += ` Not at every address. ${each(partly, (r) => r.url)}`;
    return { state: 'partial', text };
  }
  const best = [...results].sort((a, b) => a.rttMs - b.rttMs)[0];
  text += ` Set up in ${Math.round(best.setupMs)} ms, round trip ${best.rttMs.toFixed(1)} ms.`;
  if (!works.includes('tls')) text += ' TLS is not offered: networks that let only HTTPS pass will keep clients out.';
  return { state: 'ok', text };
}
