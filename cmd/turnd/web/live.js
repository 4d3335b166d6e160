// The live view: how the server is, what it relays, and its sessions, asked for every two seconds while it is looked at.
import { call, get } from './api.js';
import { $, ask, bits, bytes, make, moment, span, visible } from './dom.js';

const PERIOD_MS = 2000;
const POINTS = 60;
const PAGE = 50;
const TRANSPORTS = [['udp', 'UDP'], ['tcp', 'TCP'], ['tls', 'TLS'], ['dtls', 'DTLS'], ['tcp_relay', 'TCP to peers']];

let last = null; // counters of the poll before
const history = { up: [], down: [] };
const page = { after: null, next: null };
let seen = new Map(); // of each session on the page: bytes, and when they were read
let visit = 0; // rises when the list is asked for anew: an older answer is then not shown

// --- the server -----------------------------------------------------------------------------------

function sparkline(svg, values) {
  const top = Math.max(...values, 1);
  const line = document.createElementNS('http://www.w3.org/2000/svg', 'polyline');
  const x = (i) => ((POINTS - values.length + i) * 120 / (POINTS - 1)).toFixed(1);
  line.setAttribute('points', values.map((v, i) => `${x(i)},${(31 - v / top * 30).toFixed(1)}`).join(' '));
  svg.replaceChildren(line);
}

function showRate(name, value) {
  history[name].push(value);
  if (history[name].length > POINTS) history[name].shift();
  $(`rate-${name}`).textContent = bits(value);
  sparkline($(`spark-${name}`), history[name]);
}

function showThroughput(status) {
  const now = performance.now();
  const counters = { at: now, up: status.to_peer_bytes, down: status.to_client_bytes };
  if (last && now > last.at) {
    for (const name of ['up', 'down']) {
      const rate = (counters[name] - last[name]) * 8000 / (now - last.at);
      showRate(name, Math.max(0, rate)); // a restarted server begins at 0
    }
  }
  last = counters;
}

function showFacts(status) {
  const now = Date.now() / 1000;
  const facts = [['Realm', visible(status.realm || '–')], ['Workers', String(status.workers)]];
  for (const l of status.listeners ?? []) {
    facts.push(['Listener', `${l.protocol} ${l.address}${l.external ? ` (known as ${l.external})` : ''}`]);
  }
  for (const c of status.certificates ?? []) {
    const left = c.not_after - now;
    facts.push(['Certificate', `${visible(c.names)}, ${left > 0
      ? `good for ${span(left)} more` : `ended on ${moment(c.not_after)}`}`]);
  }
  $('facts').replaceChildren(...facts.flatMap(([key, value]) => [make('dt', {}, key), make('dd', {}, value)]));
}

function showState(status) {
  const badge = $('state');
  if (badge.textContent !== status.state) badge.textContent = status.state;
  badge.dataset.state = status.state;
  $('version').textContent = status.version;
  $('uptime').textContent = `up ${span(status.uptime_s)}`;
  const draining = status.state === 'draining';
  $('drain').hidden = draining;
  $('undrain').hidden = !draining;
}

function showStatus(status) {
  const { total, ...by } = status.allocations;
  showState(status);
  $('allocations').textContent = total;
  $('by-transport').replaceChildren(...TRANSPORTS.filter(([key]) => by[key] || key === 'udp').map(
    ([key, name]) => make('div', {}, make('dt', {}, name), make('dd', {}, String(by[key] ?? 0)))));
  showThroughput(status);
  showFacts(status);
}

// --- sessions -------------------------------------------------------------------------------------

const isAddress = (text) => /^[\d.]+(:\d+)?$/.test(text) || /^\[?[\da-f]*:[\da-f:.]*\]?(:\d+)?$/i.test(text);

function query() {
  const text = $('filter-text').value.trim();
  return {
    limit: PAGE, after: page.after, transport: $('filter-transport').value,
    [isAddress(text) ? 'client' : 'user']: text,
  };
}

function rate(session, now) {
  const before = seen.get(session.session);
  const total = session.to_peer_bytes + session.to_client_bytes;
  if (!before || now <= before.at) return '–';
  return bits((total - before.total) * 8000 / (now - before.at));
}

async function end(session) {
  const yes = await ask({
    title: 'End this session?', yes: 'End it',
    text: `The allocation of ${visible(session.user || 'an anonymous user')} from ${session.client} is deleted. `
      + 'A client that is still there may make another.',
  });
  if (!yes) return;
  try {
    await call('DELETE', `/v1/sessions/${encodeURIComponent(session.session)}`);
    say('The session has ended.');
  } catch (error) {
    say(error.status === 404 ? 'The session had ended already.' : error.message);
  }
  await refresh();
}

const COLUMNS = [
  ['User', '', (s) => visible(s.user || '(anonymous)')],
  ['Client', '', (s) => s.client ?? ''],
  ['Transport', '', (s) => s.transport.toUpperCase()],
  ['Relay', '', (s) => (s.relay ?? []).join(', ')],
  ['Age', 'n', (s) => span(s.age_s)],
  ['To peers', 'n', (s) => bytes(s.to_peer_bytes)],
  ['To client', 'n', (s) => bytes(s.to_client_bytes)],
  ['Rate', 'n', rate],
];

function makeRow(session) {
  const button = make('button', { type: 'button', className: 'small' }, 'End');
  button.setAttribute('aria-label', `End the session of ${visible(session.user || session.client)}`);
  button.onclick = () => end(session);
  return make('tr', { data: { session: session.session } },
    ...COLUMNS.map(([label, className]) => make('td', { className, data: { label } }, make('bdi'))),
    make('td', { className: 'n' }, button));
}

// Rows that stay are kept, so that what is selected or has the focus stays as well.
function showRows(sessions, now) {
  const body = document.querySelector('#sessions tbody');
  const old = new Map([...body.rows].map((row) => [row.dataset.session, row]));
  const rows = sessions.map((session) => old.get(session.session) ?? makeRow(session));
  sessions.forEach((session, i) => COLUMNS.forEach(([, , text], k) => {
    const cell = rows[i].cells[k].firstChild, value = text(session, now);
    if (cell.textContent !== value) cell.textContent = value;
  }));
  if (rows.length !== body.rows.length || rows.some((row, i) => row !== body.rows[i])) body.replaceChildren(...rows);
}

function showSessions(list) {
  const now = performance.now();
  showRows(list.sessions, now);
  seen = new Map(list.sessions.map((s) => [s.session, { at: now, total: s.to_peer_bytes + s.to_client_bytes }]));
  page.next = list.next;
  $('next').disabled = !list.next;
  $('first').disabled = page.after === null;
  $('none').hidden = list.sessions.length > 0;
  $('matched').textContent = list.matched > list.sessions.length
    ? `${list.sessions.length} of ${list.matched}${page.after === null ? '' : ' left'}` : '';
}

// --- all of it ------------------------------------------------------------------------------------

function say(text) {
  $('done').textContent = text;
}

export async function refresh() {
  const mine = ++visit;
  const [status, list] = await Promise.all([get('/v1/status'), get('/v1/sessions', query())]);
  if (mine !== visit) return;
  showStatus(status);
  showSessions(list);
}

// Asks again and again while active() says so; what came of it goes to report(error or null).
export async function watch(active, report) {
  for (;;) {
    if (active() && !document.hidden) {
      try {
        await refresh();
        report(null);
      } catch (error) {
        last = null;
        report(error);
      }
    }
    await new Promise((resolve) => setTimeout(resolve, PERIOD_MS));
  }
}

async function operate(work, done) {
  say('…');
  try {
    const reply = await work();
    say(done(reply));
    await refresh();
  } catch (error) {
    say(error.message);
  }
}

async function drain() {
  const answer = await ask({
    title: 'Drain this server?', yes: 'Drain', field: 'Wait at most (seconds, empty: without end)',
    text: 'Newcomers are sent away. The server ends by itself when the last allocation has.',
  });
  if (answer) {
    await operate(() => call('POST', '/v1/drain', answer.value ? { deadline: answer.value } : {}),
      () => 'Draining.');
  }
}

function turnTo(after) {
  page.after = after;
  seen = new Map();
  refresh().catch((error) => say(error.message));
}

export function start() {
  $('drain').onclick = drain;
  $('undrain').onclick = () => operate(() => call('DELETE', '/v1/drain'), () => 'Serving again.');
  $('reload').onclick = () => operate(() => call('POST', '/v1/reload', {}), (reply) => visible(reply.text || 'Reloaded.'));
  $('filter').onsubmit = (event) => {
    event.preventDefault();
    turnTo(null);
  };
  $('filter-transport').onchange = () => turnTo(null);
  $('first').onclick = () => turnTo(null);
  $('next').onclick = () => turnTo(page.next);
}
