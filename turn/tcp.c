/*
 * TCP relays (RFC 6062): connections to peers that the client asks for, and from peers it has permitted.
 *
 *     Connect -----------> CONNECTING --opened--> WAITING --ConnectionBind--> BOUND
 *     a peer connects -----------------------------^            |
 *                              |                   | 30 s       | an end closes, or the allocation ends
 *                              +-------------------+------------+----> GONE, and free once that has been told
 *
 * The bytes never come here: the shell ties the two connections together and asks how many may pass.
 */
#include "turn/server_priv.h"

#include "stun/base/error.h"
#include "turn/chandata.h"

#include <string.h>

/* RFC 6062 5.2: at least 30 s for a connection to open; at most 30 s until it is bound. */
static const ph_ns open_timeout = PH_SEC(30), bind_timeout = PH_SEC(30);

/* --- requests -------------------------------------------------------------------------------------- */

static int id_answer(struct ph__req *r, uint32_t slot)
{
    struct ph_msgw w;
    ph__reply_begin(r, &w);
    ph_msgw_uint(&w, PH_ATTR_CONNECTION_ID, ph__conn_id(r->d, slot));
    return ph__reply_end(r, &w);
}

/* May this peer be connected to?  0 or the STUN error code. */
static uint16_t connect_code(struct ph__req *r, const struct ph_addr *peer)
{
    struct ph__perm perm = {0};
    uint16_t code = ph__peer_code(r, peer);

    if (code)
        return code;
    if (ph__peer_check(r->d, r->a->realm, peer, &perm) ||
        (perm.own && !ph__peer_port_ok(r->d, r->a->realm, &perm, peer))) {
        r->d->stats.forbidden_peer++;
        return 403;
    }
    if (!ph__perm_find(r->a, peer, r->now) && !ph__bound_peers(r->d, r->a, 1, r->now))
        return 508;
    return 0;
}

/* There is a connection with this peer.  RFC 6062 5.2: 446, unless this is the very request that made it. */
static int connect_again(struct ph__req *r, uint32_t slot)
{
    const struct ph__conn *c = &r->d->conn[slot];

    if (memcmp(c->txid, ph_msg_txid(&r->m), PH_TXID_LEN) != 0)
        return ph__reply_error(r, 446);
    return c->state == PH__CONN_CONNECTING ? PH_CONSUMED : id_answer(r, slot);
}

int ph__on_connect(struct ph__req *r)
{
    struct ph_turnd *d = r->d;
    struct ph_addr peer;
    uint32_t slot;

    if (!r->a || r->a->state != PH__UP)
        return ph__reply_error(r, 437);
    if (!r->a->tcp)
        return ph__reply_error(r, 403);
    if (ph_msg_addr(&r->m, PH_IX_XOR_PEER_ADDRESS, &peer) || !peer.port)
        return ph__reply_error(r, 400);
    peer.proto = PH_TCP;
    slot = ph__conn_find(d, r->a, &peer);
    if (slot != PH__NONE)
        return connect_again(r, slot);
    uint16_t code = r->a->tcp->n >= d->c.max_connections ? 486 : connect_code(r, &peer);
    if (!code && ph__conn_add(d, r->slot, &peer, PH__CONN_CONNECTING, r->now + open_timeout, &slot))
        code = 508;
    if (code)
        return ph__reply_error(r, code);
    struct ph__conn *c = &d->conn[slot];
    memcpy(c->txid, ph_msg_txid(&r->m), PH_TXID_LEN);
    c->sha256 = r->sha256;
    c->fingerprint = r->fingerprint;
    ph__tcp_keep_peer(r->a->tcp, &peer);
    ph__conn_event(d, slot, PH__CONN_EV_CONNECT);
    return PH_CONSUMED;
}

/* RFC 6062 5.4: who binds a connection must be who has the allocation.  Ids are easy to guess; and the name in a token
 * is that of a key, which many have, so there the key counts. */
static bool is_owner(const struct ph__req *r, const struct ph__alloc *a)
{
    const struct ph__user *u = a->user;

    if (a->realm != r->realm || !ph_slice_eq(ph__user_name(u), r->name))
        return false;
    return !u || !u->oauth || (u->key.n == r->key.n && ph_equal_ct(u->key.b, r->key.b, r->key.n));
}

int ph__on_connection_bind(struct ph__req *r)
{
    struct ph_turnd *d = r->d;
    uint64_t id;

    if ((r->p->src.proto != PH_TCP && r->p->src.proto != PH_TLS) || !r->p->conn ||
        ph_msg_uint(&r->m, PH_IX_CONNECTION_ID, &id))
        return ph__reply_error(r, 400);
    if (r->a)
        return ph__reply_error(r, 437);
    if (id >> 24 != d->c.worker && !r->final) {
        d->elsewhere = (struct ph_turnd_where){.worker = (uint8_t)(id >> 24), .slot = (uint32_t)id};
        return PH_ELSEWHERE;
    }
    uint32_t slot = ph__conn_slot(d, (uint32_t)id);
    if (slot == PH__NONE || d->conn[slot].state != PH__CONN_WAITING)
        return ph__reply_error(r, 400);
    struct ph__conn *c = &d->conn[slot];
    if (!is_owner(r, ph__alloc_at(d, c->alloc)))
        return ph__reply_error(r, 441);
    c->state = PH__CONN_BOUND;
    c->client = r->p->conn;
    ph_heap_set(&d->conn_expiry, slot, PH_NEVER);
    ph__conn_event(d, slot, PH__CONN_EV_SPLICE);
    d->stats.connection_binds++;
    return id_answer(r, slot);
}

/* --- what the shell says --------------------------------------------------------------------------- */

static void connect_failed(struct ph_turnd *d, uint32_t slot, bool ask)
{
    d->stats.connect_failed++;
    d->conn[slot].code = 447;
    ph__conn_tell(d, slot, PH__TELL_ANSWER);
    ph__conn_end(d, slot, ask);
}

void ph_turnd_peer_connected(struct ph_turnd *d, uint32_t peer, int err, ph_ns now)
{
    uint32_t slot = ph__conn_slot(d, peer);

    if (slot == PH__NONE || d->conn[slot].state != PH__CONN_CONNECTING ||
        d->conn[slot].events & PH__CONN_EV_CONNECT)
        return;
    if (!err && !ph_heap_set(&d->conn_expiry, slot, now + bind_timeout)) {
        d->conn[slot].state = PH__CONN_WAITING;
        d->stats.connects++;
        ph__conn_tell(d, slot, PH__TELL_ANSWER);
    } else {
        connect_failed(d, slot, !err);
    }
}

/* The TCP allocation whose relay socket this is, if its client can be told of a peer; else PH__NONE. */
static uint32_t by_relay(const struct ph_turnd *d, uint32_t sock)
{
    uint32_t slot = (sock & ~PH_SOCK_RELAY) >> 1;
    const struct ph__alloc *a = slot < d->chunks * PH__CHUNK ? ph__alloc_at(d, slot) : NULL;
    bool fits = a && a->reachable && a->tcp && a->leg[sock & 1].state == PH__LEG_UP;
    return fits ? slot : PH__NONE;
}

int ph_turnd_peer_accepted(struct ph_turnd *d, uint32_t sock, const struct ph_addr *from,
                           uint32_t *peer, ph_ns now)
{
    uint32_t alloc = by_relay(d, sock), slot;
    struct ph_addr shown = *from;

    if (alloc == PH__NONE)
        return PH_E_MISSING;
    struct ph__alloc *a = ph__alloc_at(d, alloc);
    shown.proto = PH_TCP;
    if (d->has_external)
        ph__peer_to_public(d, &shown);
    const struct ph__perm *perm = ph__perm_find(a, &shown, now);
    if (!perm || (perm->own && !ph__peer_port_ok(d, a->realm, perm, &shown))) {
        *(perm ? &d->stats.forbidden_peer : &d->stats.no_permission) += 1;
        a->dropped++;
        return PH_E_FORBIDDEN;
    }
    int err = ph__conn_add(d, alloc, &shown, PH__CONN_WAITING, now + bind_timeout, &slot);
    if (err) {
        a->dropped++;
        return err;
    }
    ph__tcp_keep_peer(a->tcp, &shown);
    ph__conn_tell(d, slot, PH__TELL_ATTEMPT);
    d->stats.connection_attempts++;
    *peer = ph__conn_id(d, slot);
    return 0;
}

void ph_turnd_peer_closed(struct ph_turnd *d, uint32_t peer, ph_ns now)
{
    uint32_t slot = ph__conn_slot(d, peer);
    (void)now;

    if (slot == PH__NONE)
        return;
    if (d->conn[slot].state == PH__CONN_CONNECTING)
        connect_failed(d, slot, false);
    else
        ph__conn_end(d, slot, false);
}

/* How many of n bytes the bounds let pass now. */
static uint32_t passing(struct ph_turnd *d, struct ph__bound *b, enum ph_bps_way way, uint32_t n,
                        ph_ns now)
{
    while (n && !ph__bound_take(d, b, way, n, now))
        n /= 2;
    return n;
}

uint32_t ph_turnd_peer_bytes(struct ph_turnd *d, uint32_t peer, enum ph_bps_way way, uint32_t n,
                             ph_ns now)
{
    uint32_t slot = ph__conn_slot(d, peer);

    if (slot == PH__NONE || d->conn[slot].state != PH__CONN_BOUND)
        return 0;
    struct ph__alloc *a = ph__alloc_at(d, d->conn[slot].alloc);
    if (a->bound)
        n = passing(d, a->bound, way, n, now);
    if (!n)
        return 0;
    bool out = way == PH_BPS_FROM_CLIENT;
    *(out ? &a->to_peer_packets : &a->to_client_packets) += 1;
    *(out ? &a->to_peer_bytes : &a->to_client_bytes) += n;
    *(out ? &d->stats.to_peer_packets : &d->stats.to_client_packets) += 1;
    *(out ? &d->stats.to_peer_bytes : &d->stats.to_client_bytes) += n;
    *(out ? &a->in_bytes : &a->out_bytes) -= PH_CHANNEL_HEADER; /* there is none */
    if ((a->usage_left -= 2) <= 0)
        ph__usage_relayed(d, d->conn[slot].alloc, way, n);
    return n;
}

/* --- the core's verbs ------------------------------------------------------------------------------ */

void ph__tcp_tick(struct ph_turnd *d, ph_ns now)
{
    uint32_t slot;

    while ((slot = ph_heap_pop_due(&d->conn_expiry, now)) != UINT32_MAX) {
        if (d->conn[slot].state == PH__CONN_CONNECTING)
            connect_failed(d, slot, true);
        else
            ph__conn_end(d, slot, true);
    }
}

static int write_attempt(struct ph_turnd *d, uint32_t slot, struct ph_msgw *w, struct ph_pkt *out)
{
    static const struct ph_key none = {.n = 0};
    const struct ph__conn *c = &d->conn[slot];
    uint8_t txid[PH_TXID_LEN];

    d->env.rand(d->env.ctx, txid, sizeof txid);
    ph_msgw_begin(w, ph_buf_data(&out->b), out->b.cap - out->b.off, PH_CONNECTION_ATTEMPT,
                  PH_INDICATION, txid);
    ph_msgw_addr(w, PH_ATTR_XOR_PEER_ADDRESS, &c->peer);
    ph_msgw_uint(w, PH_ATTR_CONNECTION_ID, ph__conn_id(d, slot));
    return ph__reply_seal(d, w, &none, false, ph__alloc_at(d, c->alloc)->fingerprint);
}

static int write_answer(struct ph_turnd *d, uint32_t slot, struct ph_msgw *w, struct ph_pkt *out)
{
    static const struct ph_key none = {.n = 0};
    const struct ph__conn *c = &d->conn[slot];
    const struct ph__user *u = ph__alloc_at(d, c->alloc)->user;

    ph_msgw_begin(w, ph_buf_data(&out->b), out->b.cap - out->b.off, PH_CONNECT,
                  c->code ? PH_ERROR : PH_SUCCESS, c->txid);
    if (c->code)
        ph_msgw_error(w, c->code, NULL);
    else
        ph_msgw_uint(w, PH_ATTR_CONNECTION_ID, ph__conn_id(d, slot));
    *(c->code ? &d->stats.errors : &d->stats.responses) += 1;
    return ph__reply_seal(d, w, u ? &u->key : &none, c->sha256, c->fingerprint);
}

/* Writes what the client is to be told of a connection.  False: nothing, or it cannot be reached. */
static bool write_telling(struct ph_turnd *d, uint32_t slot, struct ph_pkt *out)
{
    struct ph__conn *c = &d->conn[slot];
    uint8_t what = c->telling;
    struct ph_msgw w;

    c->telling = PH__TELL_NOTHING;
    if (what == PH__TELL_NOTHING || !ph__alloc_at(d, c->alloc)->reachable)
        return false;
    const struct ph__alloc *a = ph__alloc_at(d, c->alloc);
    int n =
        what == PH__TELL_ATTEMPT ? write_attempt(d, slot, &w, out) : write_answer(d, slot, &w, out);
    if (n < 0)
        return false;
    out->b.len = (uint32_t)n;
    out->src = d->c.listener[a->listener].at;
    out->dst = a->client;
    out->sock = a->listener;
    out->conn = a->conn;
    ph__usage_out(d, c->alloc, out->b.len);
    return true;
}

bool ph__tcp_output(struct ph_turnd *d, struct ph_pkt *out)
{
    uint32_t slot;

    while ((slot = d->conn_output.head) != PH__NONE) {
        d->conn_output.head = d->conn[slot].output_next;
        d->conn[slot].queued_output = false;
        bool told = write_telling(d, slot, out);
        ph__conn_settle(d, slot);
        if (told)
            return true;
    }
    return false;
}

/* Takes the next event of a connection.  False: it was only bookkeeping. */
static bool take_event(struct ph_turnd *d, uint32_t slot, struct ph_turnd_ev *ev)
{
    struct ph__conn *c = &d->conn[slot];

    *ev = (struct ph_turnd_ev){.peer = ph__conn_id(d, slot)};
    if (c->events & PH__CONN_EV_CONNECT) {
        bool begun = c->state == PH__CONN_CONNECTING;
        c->events = 0; /* with a close there is nothing to do at all */
        if (!begun)
            return false;
        ev->type = PH_TURND_PEER_CONNECT;
        ev->sock = ph__relay_sock(c->alloc, c->peer.family == PH_AF_INET6);
        ev->at = c->peer;
        if (d->has_external)
            ph__peer_to_local(d, &ev->at);
    } else if (c->events & PH__CONN_EV_SPLICE) {
        c->events &= (uint8_t)~PH__CONN_EV_SPLICE;
        ev->type = PH_TURND_PEER_SPLICE;
        ev->conn = c->client;
    } else {
        c->events = 0;
        ev->type = PH_TURND_PEER_CLOSE;
    }
    return true;
}

bool ph__tcp_event(struct ph_turnd *d, struct ph_turnd_ev *ev)
{
    uint32_t slot;

    while ((slot = d->conn_events.head) != PH__NONE) {
        bool told = take_event(d, slot, ev);
        if (!d->conn[slot].events) {
            d->conn_events.head = d->conn[slot].event_next;
            d->conn[slot].queued_event = false;
            ph__conn_settle(d, slot);
        }
        if (told)
            return true;
    }
    return false;
}
