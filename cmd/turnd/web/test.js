// The view that tests the server from this browser. The verdict is in #verdict: data-state is idle, running, ok, partial or
// failed. Each way in is a row of #results with data-url, data-transport and data-state.
import { get } from './api.js';
import { $, bits, make, millis, visible } from './dom.js';
import { explain, sum, title, way } from './diagnose.js';
import { tryWay } from './relay.js';

const WAYS_MAX = 16;
const TTL_S = 300;

function verdict(state, text) {
  $('verdict').dataset.state = state;
  $('verdict').textContent = text;
}

// A browser wants a user in any case, also for a server that asks for none.
const serverOf = (url, { username = 'anybody', credential = 'anything' }) => ({ urls: [url], username, credential });

// The ways in that a browser can take, each with its credentials.
function waysOf(reply) {
  const ways = [];
  for (const server of reply.iceServers ?? []) {
    for (const url of [server.urls].flat()) {
      const where = way(url);
      if (where) ways.push({ ...where, url, server: serverOf(url, server) });
    }
  }
  return ways.slice(0, WAYS_MAX);
}

function addRow(where) {
  const cell = (label, className = 'n') => make('td', { className, data: { label } }, '–');
  const cells = {
    says: cell('Verdict', 'says'), gather: cell('Relay address after'), setup: cell('Connected after'),
    rtt: cell('Round trip'), speed: cell('Throughput'),
  };
  const row = make('tr', { data: { url: where.url, transport: where.kind, state: 'waiting' } },
    make('td', { data: { label: 'Way in' } }, make('strong', {}, title(where.kind)), ' ', make('code', {}, visible(where.url))),
    ...Object.values(cells));
  document.querySelector('#results tbody').append(row);
  return { row, cells };
}

function fill({ row, cells }, result) {
  row.dataset.state = result.ok ? 'ok' : 'failed';
  cells.says.textContent = result.ok ? 'works' : result.why;
  if (result.gatherMs !== undefined) cells.gather.textContent = millis(result.gatherMs);
  if (result.setupMs !== undefined) cells.setup.textContent = millis(result.setupMs);
  if (result.rttMs !== undefined) cells.rtt.textContent = millis(result.rttMs);
  if (result.bps !== undefined) cells.speed.textContent = bits(result.bps);
}

// What helps to explain a failure; a test is none the worse without.
const counters = () => get('/v1/counters').then((c) => c.turn ?? {}, () => null);

async function runAll(note) {
  const [credentials, status] = await Promise.all([get('/v1/credentials', { ttl: TTL_S }), get('/v1/status')]);
  const ways = waysOf(credentials), results = [];
  const rows = ways.map(addRow);
  $('results').hidden = ways.length === 0;
  for (const [i, where] of ways.entries()) {
    verdict('running', `Testing ${title(where.kind)} (${i + 1} of ${ways.length}) …`);
    rows[i].row.dataset.state = 'running';
    rows[i].cells.says.textContent = 'testing …';
    note(`--- ${where.url}`);
    const before = await counters();
    const result = { kind: where.kind, url: where.url, ...await tryWay(where.server, note) };
    if (!result.ok) {
      result.why = explain(where, result, { certificates: status.certificates, before, after: await counters() });
    }
    fill(rows[i], result);
    results.push(result);
  }
  return sum(results);
}

async function run() {
  const began = performance.now();
  const note = (text) => {
    $('log').textContent += `${Math.round(performance.now() - began).toString().padStart(6)} ms  ${visible(text)}\n`;
  };
  $('run-test').disabled = true;
  $('log').textContent = '';
  $('log-box').hidden = false;
  document.querySelector('#results tbody').replaceChildren();
  verdict('running', 'Asking the server for a user to test with …');
  try {
    if (!window.RTCPeerConnection) throw new Error('This browser has no WebRTC, or it is switched off.');
    const { state, text } = await runAll(note);
    verdict(state, text);
  } catch (error) {
    verdict('failed', error.status === 401 ? 'Log in first.' : `The test could not be made: ${visible(error.message)}`);
  }
  $('run-test').disabled = false;
}

export function start() {
  $('run-test').onclick = run;
}
