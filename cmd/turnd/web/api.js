// The JSON API of turnd (cmd/turnd/admin.h), with the token if the server wants one. What this page reads of it:
//
//     GET    /v1/status       state, version, uptime_s, realm, workers, allocations {total, udp, tcp, tls, dtls,
//                             tcp_relay}, to_peer_bytes, to_client_bytes, drain_until, listeners [{protocol, address,
//                             external}], certificates [{names, not_after}]
//     GET    /v1/sessions     ?user= &client= &transport= &limit= &after=   sessions [{session, user, client, transport,
//                             relay [], age_s, to_peer_bytes, to_client_bytes}], matched, next
//     DELETE /v1/sessions/ID  ends one
//     GET    /v1/counters     turn {forbidden_peer, quota, drained, redirected}
//     GET    /v1/credentials  ?ttl=   iceServers [{urls [], username, credential}]
//     POST   /v1/drain        {deadline}            DELETE /v1/drain
//     POST   /v1/reload       {} -> text
//
// Errors are {error} with a status.

const KEY = 'turnd-token';
const PATIENCE_MS = 10_000;
let token = sessionStorage.getItem(KEY);
let wanted = () => {};

// Calls fn when the server wants a token, or another one.
export const onTokenWanted = (fn) => { wanted = fn; };
export const hasToken = () => token !== null;

export function setToken(value) {
  token = value;
  if (value === null) sessionStorage.removeItem(KEY);
  else sessionStorage.setItem(KEY, value);
}

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status; // 0: no answer
  }
}

export async function call(method, path, body) {
  const headers = {}, shown = token;
  if (token !== null) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  let response, reply;
  try {
    response = await fetch(path, {
      method, headers, body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(PATIENCE_MS), cache: 'no-store',
    });
    reply = await response.json();
  } catch {
    throw new ApiError(response?.status ?? 0, response ? `HTTP status ${response.status}` : 'The server does not answer.');
  }
  if (response.ok) return reply;
  if (response.status === 401 && shown === token) wanted();
  throw new ApiError(response.status, reply.error ?? `HTTP status ${response.status}`);
}

export const get = (path, query = {}) => {
  const given = Object.entries(query).filter(([, value]) => value !== '' && value !== null);
  const text = given.map(([key, value]) => `${key}=${encodeURIComponent(value)}`).join('&');
  return call('GET', text ? `${path}?${text}` : path);
};
