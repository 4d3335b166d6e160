// Two RTCPeerConnections in a headless Chromium that may use relayed candidates only send each
// other a megabyte.
//
//     node relay.mjs NODE_MODULES SERVER USER PASSWORD udp|tcp|tls
//
// Prints one line of JSON: milliseconds until connected, MB/s, the types of the selected candidates
// on both sides and the errors of gathering. Exit status 0: the megabyte came unchanged, over a
// pair of two relayed candidates.
import { launch } from './browser.mjs';

const [modules, server, username, credential, transport] = process.argv.slice(2);
const uri = transport === 'tls' ? `turns:${server}?transport=tcp` : `turn:${server}?transport=${transport}`;
const browser = await launch(modules);

// Runs in the page, so it can use nothing from around it.
async function converse({ iceServer, size, patience }) {
  const config = { iceServers: [iceServer], iceTransportPolicy: 'relay' };
  const [caller, callee] = [new RTCPeerConnection(config), new RTCPeerConnection(config)];
  const result = { errors: [], candidates: [] };
  const started = performance.now();

  for (const [one, other] of [[caller, callee], [callee, caller]]) {
    one.onicecandidate = ({ candidate }) => {
      if (candidate?.candidate) {
        result.candidates.push(`${candidate.type} ${candidate.address}:${candidate.port}`);
        other.addIceCandidate(candidate).catch((error) => result.errors.push(String(error)));
      }
    };
    one.onicecandidateerror = ({ errorCode, errorText }) => {
      result.errors.push(`${errorCode} ${errorText}`);
    };
  }

  // The byte at any place differs from its neighbours and from those one chunk away.
  const pattern = (at) => (Math.imul(at + 1, 2654435761) >>> 13) & 0xff;
  const chunkSize = 16384;
  const timedOut = new Promise((_, reject) => {
    setTimeout(() => reject(new Error('timed out')), patience);
  });

  const channel = caller.createDataChannel('megabyte');
  const opened = new Promise((resolve) => { channel.onopen = resolve; });
  const received = new Promise((resolve, reject) => {
    let at = 0;
    callee.ondatachannel = (event) => {
      event.channel.binaryType = 'arraybuffer';
      event.channel.onmessage = ({ data }) => {
        for (const byte of new Uint8Array(data)) {
          if (byte !== pattern(at)) return reject(new Error(`byte ${at} came changed`));
          at++;
        }
        if (at >= size) resolve(at);
      };
    };
  });

  async function send() {
    channel.bufferedAmountLowThreshold = 4 * chunkSize;
    for (let at = 0; at < size; at += chunkSize) {
      const length = Math.min(chunkSize, size - at);
      channel.send(Uint8Array.from({ length }, (_, i) => pattern(at + i)));
      if (channel.bufferedAmount > 16 * chunkSize) {
        await new Promise((resolve) => { channel.onbufferedamountlow = resolve; });
      }
    }
  }

  async function selected(peer) {
    const stats = [...(await peer.getStats()).values()];
    const find = (id) => stats.find((entry) => entry.id === id);
    const pair = find(stats.find((entry) => entry.type === 'transport').selectedCandidatePairId);
    return [pair.localCandidateId, pair.remoteCandidateId].map((id) => find(id).candidateType);
  }

  async function connectAndSend() {
    await caller.setLocalDescription();
    await callee.setRemoteDescription(caller.localDescription);
    await callee.setLocalDescription();
    await caller.setRemoteDescription(callee.localDescription);
    await opened;
    result.connectMs = Math.round(performance.now() - started);
    const sending = performance.now();
    await send();
    result.bytes = await received;
    result.mbPerSecond = +(size / 1000 / (performance.now() - sending)).toFixed(1);
    result.selected = [...await selected(caller), ...await selected(callee)];
  }

  try {
    await Promise.race([connectAndSend(), timedOut]);
  } catch (error) {
    result.failed = error.message;
  }
  caller.close();
  callee.close();
  return result;
}

const size = 1 << 20;
const page = await browser.newPage();
const result = await page.evaluate(converse, {
  iceServer: { urls: uri, username, credential },
  size,
  patience: +(process.env.PATIENCE_MS ?? 20_000),
});
await browser.close();
console.log(JSON.stringify(result));
const relayed = result.selected?.length === 4 && result.selected.every((type) => type === 'relay');
process.exitCode = !result.failed && result.bytes === size && relayed ? 0 : 1;
