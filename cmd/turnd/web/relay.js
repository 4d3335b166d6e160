// One way into the server, tried: two connections of this page that may use relayed candidates only gather them over one
// URL, find each other through the server, echo a few messages and then send as fast as they can.

const GATHER_MS = 12_000; // a client gives up on a UDP server after 9.5 s (RFC 8489 6.2.1 with 7 tries)
const CONNECT_MS = 12_000;
const PINGS = 10;
const BULK_MS = 1500;
const CHUNK = new Uint8Array(16_384);
const HIGH_WATER = 1 << 20;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function deadline(promise, ms, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(what)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// Both connections with their events noted in run.
function connect(run) {
  const configuration = { iceServers: [run.server], iceTransportPolicy: 'relay' };
  const pair = [new RTCPeerConnection(configuration), new RTCPeerConnection(configuration)];
  pair.forEach((peer, i) => {
    const other = pair[1 - i];
    peer.onicecandidate = ({ candidate }) => {
      if (!candidate?.candidate) return;
      run.note(`candidate: ${candidate.candidate}`);
      run.candidates[i]++;
      run.gatherMs ??= performance.now() - run.began;
      run.gathered(true);
      other.addIceCandidate(candidate).catch((error) => run.note(`not taken: ${error.message}`));
    };
    peer.onicecandidateerror = ({ errorCode, errorText, url }) => {
      run.errors.push({ code: errorCode, text: errorText });
      run.note(`error ${errorCode} ${errorText} (${url})`);
    };
    peer.onicegatheringstatechange = () => {
      run.note(`gathering of ${i ? 'the second' : 'the first'}: ${peer.iceGatheringState}`);
      if (peer.iceGatheringState === 'complete' && run.candidates[i] === 0) run.gathered(false);
    };
    peer.oniceconnectionstatechange = () => run.note(`connection: ${peer.iceConnectionState}`);
    peer.onconnectionstatechange = () => {
      if (peer.connectionState === 'failed') run.broken(new Error('the connection failed'));
    };
  });
  return pair;
}

async function negotiate([one, other]) {
  await one.setLocalDescription();
  await other.setRemoteDescription(one.localDescription);
  await other.setLocalDescription();
  await one.setRemoteDescription(other.localDescription);
}

async function measureRoundTrip(channel) {
  const times = [];
  for (let i = 0; i < PINGS; i++) {
    const back = new Promise((resolve) => {
      channel.onmessage = ({ data }) => { if (data === `ping ${i}`) resolve(); };
    });
    const sent = performance.now();
    channel.send(`ping ${i}`);
    await deadline(back, CONNECT_MS, 'the echo did not come back');
    times.push(performance.now() - sent);
  }
  return times.sort((a, b) => a - b)[PINGS >> 1];
}

// Bits a second that arrive at the other end.
async function measureThroughput(channel, run) {
  const until = performance.now() + BULK_MS;
  channel.bufferedAmountLowThreshold = HIGH_WATER / 2;
  run.received = 0;
  const began = performance.now();
  while (performance.now() < until) {
    channel.send(CHUNK);
    if (channel.bufferedAmount > HIGH_WATER) {
      const room = new Promise((resolve) => { channel.onbufferedamountlow = resolve; });
      await Promise.race([room, sleep(Math.max(0, until - performance.now()))]);
    }
  }
  return run.received * 8000 / (performance.now() - began);
}

async function isRelayed(peer) {
  const stats = [...(await peer.getStats()).values()];
  const find = (id) => stats.find((entry) => entry.id === id);
  const chosen = find(stats.find((e) => e.type === 'transport')?.selectedCandidatePairId)
    ?? stats.find((e) => e.type === 'candidate-pair' && (e.selected || (e.nominated && e.state === 'succeeded')));
  return find(chosen?.localCandidateId)?.candidateType === 'relay';
}

async function converse(pair, run, steps) {
  const [one, other] = pair;
  other.ondatachannel = ({ channel }) => {
    channel.binaryType = 'arraybuffer';
    channel.onmessage = ({ data }) => {
      if (channel.label === 'echo') channel.send(data);
      else run.received += data.byteLength;
    };
  };
  const echo = one.createDataChannel('echo'), bulk = one.createDataChannel('bulk');
  const opened = Promise.all([echo, bulk].map((c) => new Promise((resolve) => { c.onopen = resolve; })));
  steps.at = 'gather';
  await negotiate(pair);
  if (!await deadline(run.gathering, GATHER_MS, 'no relay address in time')) throw new Error('no relay address');
  steps.at = 'connect';
  await deadline(Promise.race([opened, run.breaking]), CONNECT_MS, 'no connection in time');
  run.setupMs = performance.now() - run.began;
  steps.at = 'echo';
  run.rttMs = await measureRoundTrip(echo);
  run.bps = await measureThroughput(bulk, run);
  if (!await isRelayed(one)) throw new Error('the connection did not use the relay');
}

// Tries one server entry (one URL). note(text) gets what happens. Resolves with { ok, failedAt: 'gather' | 'connect' |
// 'echo', message, errors: [{ code, text }], gatherMs, setupMs, rttMs, bps }; never rejects.
export async function tryWay(server, note) {
  const run = { server, note, errors: [], candidates: [0, 0], began: performance.now() };
  const steps = { at: 'gather' };
  run.gathering = new Promise((resolve) => { run.gathered = resolve; });
  run.breaking = new Promise((_, reject) => { run.broken = reject; });
  run.breaking.catch(() => {}); // it may break when nobody waits any more
  let pair = [];
  try {
    pair = connect(run);
    await converse(pair, run, steps);
    run.ok = true;
  } catch (error) {
    run.ok = false;
    run.failedAt = steps.at;
    run.message = error.message;
    note(`failed: ${error.message}`);
  }
  for (const peer of pair) peer.close();
  const { ok, failedAt, message, errors, gatherMs, setupMs, rttMs, bps } = run;
  return { ok, failedAt, message, errors, gatherMs, setupMs, rttMs, bps };
}
