/*
 * Allocate (RFC 8656 7.2), and what comes of the relay sockets it asks for.
 *
 * The request is checked in the RFC's order, then for each wanted family a port is taken and a RELAY_OPEN event
 * goes out.  When the last of them is answered the response is queued.  A retransmission meanwhile is absorbed;
 * one afterwards gets the same answer again.
 */
#include "turn/server_priv.h"

#include "stun/base/error.h"

#include <string.h>

enum {
    EVEN_PORT_R = 0x80, /* RFC 8656 18.6: reserve the next port too */
    OPEN_TRIES = 64     /* ports tried when others hold them, before 508 */
};

/* What an Allocate asks for. */
struct wish {
    bool family[2]; /* [0] IPv4, [1] IPv6 */
    bool both, draft, has_token;
    bool tcp;    /* RFC 6062 */
    bool mobile; /* RFC 8016 */
    uint64_t token;
    enum ph_port_want port;
};

static uint16_t read_families(const struct ph__req *r, struct wish *w)
{
    uint64_t one = 0, add = 0;
    bool has_one = ph_msg_has(&r->m, PH_IX_REQUESTED_ADDRESS_FAMILY);
    w->draft = ph_msg_has(&r->m, PH_IX_DRAFT_ADDITIONAL_FAMILY);
    w->both = w->draft || ph_msg_has(&r->m, PH_IX_ADDITIONAL_ADDRESS_FAMILY);

    if (w->has_token && (has_one || w->both))
        return 400;
    if (has_one && w->both)
        return 400;
    if (w->both) {
        enum ph_attr_index ix =
            w->draft ? PH_IX_DRAFT_ADDITIONAL_FAMILY : PH_IX_ADDITIONAL_ADDRESS_FAMILY;
        if (ph_msg_uint(&r->m, ix, &add) || add != PH_AF_INET6)
            return 400;
        w->family[0] = w->family[1] = true;
    } else if (has_one) {
        if (ph_msg_uint(&r->m, PH_IX_REQUESTED_ADDRESS_FAMILY, &one))
            return 400;
        if (one != PH_AF_INET && one != PH_AF_INET6)
            return 440;
        w->family[one == PH_AF_INET6] = true;
    } else {
        enum ph_turnd_family f = r->d->c.default_family;
        bool six =
            f == PH_FAMILY_IPV6 || (f == PH_FAMILY_CLIENT && r->p->src.family == PH_AF_INET6);
        w->family[six] = true;
    }
    return 0;
}

/* REQUESTED-TRANSPORT.  RFC 6062 5.1: a TCP relay is for clients on TCP or TLS, without the attributes that speak of
 * UDP ports. */
static uint16_t read_transport(const struct ph__req *r, struct wish *w)
{
    uint64_t transport;

    if (ph_msg_uint(&r->m, PH_IX_REQUESTED_TRANSPORT, &transport))
        return 400;
    if (transport == PH_UDP)
        return r->d->c.no_udp_relay ? 442 : 0;
    if (transport != PH_TCP || r->d->c.no_tcp_relay)
        return 442;
    w->tcp = true;
    if ((r->p->src.proto != PH_TCP && r->p->src.proto != PH_TLS) ||
        ph_msg_has(&r->m, PH_IX_EVEN_PORT) || ph_msg_has(&r->m, PH_IX_DONT_FRAGMENT) ||
        ph_msg_has(&r->m, PH_IX_RESERVATION_TOKEN))
        return 400;
    return 0;
}

/* MOBILITY-TICKET.  RFC 8016 3.1: empty, it asks for a ticket. */
static uint16_t read_mobility(const struct ph__req *r, struct wish *w)
{
    struct ph_slice ticket;

    if (!ph_msg_has(&r->m, PH_IX_MOBILITY_TICKET))
        return 0;
    if (!r->d->c.mobility)
        return 405;
    w->mobile = true;
    return ph_msg_bytes(&r->m, PH_IX_MOBILITY_TICKET, &ticket) || ticket.n ? 400 : 0;
}

/* Reads the wish.  Returns 0 or the STUN error code. */
static uint16_t read_wish(const struct ph__req *r, struct wish *w)
{
    uint64_t even;

    *w = (struct wish){.port = PH_PORT_ANY};
    uint16_t code = read_transport(r, w);
    if (!code)
        code = read_mobility(r, w);
    if (code)
        return code;
    w->has_token = ph_msg_has(&r->m, PH_IX_RESERVATION_TOKEN);
    if (w->has_token && ph_msg_uint(&r->m, PH_IX_RESERVATION_TOKEN, &w->token))
        return 400;
    if (ph_msg_has(&r->m, PH_IX_EVEN_PORT)) {
        if (w->has_token || ph_msg_uint(&r->m, PH_IX_EVEN_PORT, &even))
            return 400;
        w->port = even & EVEN_PORT_R ? PH_PORT_EVEN_PAIR : PH_PORT_EVEN;
    }
    code = read_families(r, w);
    if (!code && w->both && w->port == PH_PORT_EVEN_PAIR)
        return 400; /* RFC 8656 7.2: one token cannot name two families */
    return code;
}

uint32_t ph__lifetime(const struct ph_turnd *d, const struct ph_msg *m)
{
    uint64_t asked;

    if (ph_msg_uint(m, PH_IX_LIFETIME, &asked))
        return d->c.default_lifetime_s;
    if (asked == 0)
        return 0;
    if (asked > d->c.max_lifetime_s)
        return d->c.max_lifetime_s;
    return asked < d->c.default_lifetime_s ? d->c.default_lifetime_s : (uint32_t)asked;
}

/* The nth relay address of a family, counted so that the one with the listener's own IP comes first.  Returns its
 * index, or PH__NONE. */
static uint32_t relay_for(const struct ph_turnd *d, const struct ph__alloc *a, uint8_t family,
                          unsigned nth)
{
    const struct ph_addr *here = &d->c.listener[a->listener].at;
    uint32_t n = d->c.n_relays, first = d->rotate % (n ? n : 1);

    for (uint32_t i = 0; i < n; i++)
        if (ph_addr_eq_ip(&d->c.relay[i].at, here))
            first = i;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t k = (first + i) % n;
        if (d->c.relay[k].at.family == family && nth-- == 0)
            return k;
    }
    return PH__NONE;
}

static void ask_to_open(struct ph_turnd *d, uint32_t slot, unsigned i, uint32_t relay,
                        uint16_t port)
{
    struct ph__alloc *a = ph__alloc_at(d, slot);
    struct ph__leg *leg = &a->leg[i];

    leg->at = d->c.relay[relay].at;
    leg->at.port = port;
    leg->at.proto = a->tcp ? PH_TCP : PH_UDP;
    leg->relay = (uint8_t)relay;
    leg->state = PH__LEG_OPENING;
    ph__alloc_event(d, slot, (uint8_t)(PH__EV_OPEN << i));
}

/* Takes a port on some relay address of the leg's family and asks for its socket, or marks the leg as failed. */
static void open_leg(struct ph_turnd *d, uint32_t slot, unsigned i)
{
    struct ph__alloc *a = ph__alloc_at(d, slot);
    uint8_t family = i ? PH_AF_INET6 : PH_AF_INET;
    uint32_t relay;

    a->leg[i].state = PH__LEG_FAILED;
    a->leg[i].code = 440;
    for (unsigned nth = 0; (relay = relay_for(d, a, family, nth)) != PH__NONE; nth++) {
        a->leg[i].code = 508;
        if (d->pool && !a->tcp) {
            if (!ph__pool_open(d, slot, i, relay, a->want == PH_PORT_EVEN))
                return;
            continue;
        }
        int port = ph_ports_take(d->c.relay[relay].ports, (enum ph_port_want)a->want, 0, &d->env);
        if (port > 0) {
            ask_to_open(d, slot, i, relay, (uint16_t)port);
            return;
        }
    }
}

/* Asks for the port that a token reserves. */
static void open_reserved(struct ph_turnd *d, uint32_t slot, uint64_t token, ph_ns now)
{
    struct ph__alloc *a = ph__alloc_at(d, slot);
    uint32_t relay;
    uint16_t port;

    if (!d->c.reserve || ph_reserve_claim(d->c.reserve, token, now, &relay, &port)) {
        a->leg[0].state = PH__LEG_FAILED;
        a->leg[0].code = 508;
        return;
    }
    unsigned i = d->c.relay[relay].at.family == PH_AF_INET6;
    a->leg[i].tries = OPEN_TRIES; /* this port or none */
    ask_to_open(d, slot, i, relay, port);
}

/* When a new allocation ends unless refreshed; cuts its lifetime where its user's credential ends before. */
static int start_life(struct ph_turnd *d, uint32_t slot, ph_ns now)
{
    struct ph__alloc *a = ph__alloc_at(d, slot);
    ph_ns at = ph__bound_expiry(d, a->user, now + PH_SEC(a->lifetime_s), now);

    a->lifetime_s = (uint32_t)((at - now + PH_SEC(1) - 1) / PH_SEC(1));
    return ph__alloc_expire_at(d, slot, at);
}

/* All legs have been answered: queue the response. */
static void finish(struct ph_turnd *d, uint32_t slot, ph_ns now)
{
    struct ph__alloc *a = ph__alloc_at(d, slot);
    bool up = a->leg[0].state == PH__LEG_UP || a->leg[1].state == PH__LEG_UP;

    if (!a->code && !up)
        a->code = a->leg[0].state == PH__LEG_FAILED ? a->leg[0].code : a->leg[1].code;
    if (!a->code && start_life(d, slot, now))
        a->code = 508;
    if (a->code) {
        a->state = PH__FAILED;
        ph__alloc_output(d, slot);
        return;
    }
    a->state = PH__UP;
    a->was_up = true;
    a->created_at = now;
    a->reachable = true;
    d->stats.allocations++;
    ph__alloc_event(d, slot, PH__EV_UP);
    ph__changed(d, slot);
    if (a->away) /* the connection went while the relay was being opened: no ticket was given */
        ph__alloc_end(d, slot, PH_END_CLOSED);
    else
        ph__alloc_output(d, slot);
}

/* What an allocation has besides relays: bounds, connections, tickets.  0 or PH_E_NOMEM. */
static int equip(struct ph_turnd *d, uint32_t slot, const struct wish *w, ph_ns now)
{
    struct ph__alloc *a = ph__alloc_at(d, slot);
    int err = ph__bound_init(d, a, now);

    if (!err)
        err = ph__usage_begin(d, a, now);
    if (!err && w->tcp)
        err = ph__tcp_init(a);
    if (!err && w->mobile)
        err = ph__mobile_init(d, slot);
    return err;
}

/* Makes the allocation, its quota being taken.  PH__NONE: it cannot be had. */
static uint32_t make(struct ph__req *r, const struct wish *w)
{
    struct ph_turnd *d = r->d;
    struct ph__user *u = d->c.live.auth ? ph__user_get(d, r) : NULL;
    uint32_t slot =
        d->c.live.auth && !u ? PH__NONE : ph__alloc_new(d, &r->p->src, r->p->sock, r->now);

    if (slot == PH__NONE) {
        ph__user_put(d, u);
        return PH__NONE;
    }
    struct ph__alloc *a = ph__alloc_at(d, slot);
    a->user = u;
    a->realm = r->realm;
    a->auth_epoch = d->auth_epoch;
    a->conn = r->p->conn;
    memcpy(a->txid, ph_msg_txid(&r->m), PH_TXID_LEN);
    a->sha256 = r->sha256;
    a->fingerprint = r->fingerprint;
    a->draft = w->draft;
    a->both = w->both;
    a->want = (uint8_t)w->port;
    a->lifetime_s = ph__lifetime(d, &r->m);
    if (!a->lifetime_s) /* RFC 8656 7.2: zero makes no sense here, the default does */
        a->lifetime_s = d->c.default_lifetime_s;
    if (equip(d, slot, w, r->now)) {
        ph__alloc_free(d, slot);
        return PH__NONE;
    }
    return slot;
}

/* Makes the allocation and starts opening; 0 or a STUN error code. */
static uint16_t create(struct ph__req *r, const struct wish *w, uint32_t *slot)
{
    struct ph_turnd *d = r->d;
    struct ph_quota *quota = ph__realm_quota(d, r->realm);

    if (quota && ph_quota_take_of(quota, r->id, r->max_allocations)) {
        d->stats.quota++;
        return 486;
    }
    *slot = make(r, w);
    if (*slot == PH__NONE) {
        if (quota)
            ph_quota_release(quota, r->id);
        return 508;
    }
    ph__alloc_at(d, *slot)->counted = quota != NULL;
    if (w->has_token)
        open_reserved(d, *slot, w->token, r->now);
    for (unsigned i = 0; i < 2 && !w->has_token; i++)
        if (w->family[i])
            open_leg(d, *slot, i);
    d->rotate++;
    return 0;
}

static int on_existing(struct ph__req *r)
{
    if (memcmp(r->a->txid, ph_msg_txid(&r->m), PH_TXID_LEN) != 0)
        return ph__reply_error(r, 437);
    return r->a->state == PH__UP ? ph__allocate_answer(r->d, r->slot, r->p) : PH_CONSUMED;
}

/* The next alternate server that fits a client; NULL: none does. */
static const struct ph_addr *alternate_for(struct ph_turnd *d, const struct ph_addr *client)
{
    const unsigned n = d->c.live.n_alternates;

    for (unsigned i = 0; i < n; i++) {
        const struct ph_addr *at = &d->c.live.alternate[d->alternate_at++ % n];
        if (at->family == client->family &&
            (at->proto == PH_PROTO_NONE || at->proto == client->proto))
            return at;
    }
    return NULL;
}

int ph__reply_alternate(struct ph__req *r, const struct ph_addr *to)
{
    struct ph_buf *b = &r->p->b;
    struct ph_msgw w;

    ph_msgw_begin(&w, ph_buf_data(b), b->cap - b->off, r->m.method, PH_ERROR, ph_msg_txid(&r->m));
    ph_msgw_error(&w, 300, NULL);
    ph_msgw_addr(&w, PH_ATTR_ALTERNATE_SERVER, to);
    r->d->stats.errors++;
    return ph__reply_end(r, &w);
}

int ph__on_allocate(struct ph__req *r)
{
    struct ph_turnd *d = r->d;
    struct wish w;
    uint32_t slot;

    if (r->a)
        return on_existing(r);
    const struct ph_addr *other = alternate_for(d, &r->p->src);
    if (other) {
        d->stats.redirected++;
        return ph__reply_alternate(r, other);
    }
    if (d->c.live.draining) {
        d->stats.drained++;
        return ph__reply_error(r, 508);
    }
    uint16_t code = read_wish(r, &w);
    if (!code && w.port == PH_PORT_EVEN_PAIR && (!d->c.reserve || d->pool))
        code = 508;
    if (!code)
        code = create(r, &w, &slot);
    if (code)
        return ph__reply_error(r, code);
    struct ph__alloc *a = ph__alloc_at(d, slot);
    if (a->leg[0].state != PH__LEG_OPENING && a->leg[1].state != PH__LEG_OPENING)
        finish(d, slot, r->now);
    return PH_CONSUMED;
}

/* The port cannot be bound: gives it back and asks for the next one, or gives up. */
static void try_next(struct ph_turnd *d, uint32_t slot, unsigned i)
{
    struct ph__alloc *a = ph__alloc_at(d, slot);
    struct ph__leg *leg = &a->leg[i];
    struct ph_ports *ports = d->c.relay[leg->relay].ports;
    uint16_t port = leg->at.port;
    int next = PH_E_LIMIT;

    if (leg->tries++ < OPEN_TRIES)
        next = ph_ports_take(ports, (enum ph_port_want)a->want, port, &d->env);
    ph_ports_release(ports, port);
    if (a->want == PH_PORT_EVEN_PAIR)
        ph_ports_release(ports, (uint16_t)(port + 1));
    if (next > 0) {
        ask_to_open(d, slot, i, leg->relay, (uint16_t)next);
    } else {
        leg->state = PH__LEG_FAILED;
        leg->code = 508;
    }
}

void ph_turnd_relay_opened(struct ph_turnd *d, uint32_t sock, int err, ph_ns now)
{
    uint32_t slot = (sock & ~PH_SOCK_RELAY) >> 1;
    unsigned i = sock & 1;
    struct ph__alloc *a = slot < d->chunks * PH__CHUNK ? ph__alloc_at(d, slot) : NULL;

    if (!a || a->state != PH__OPENING || a->leg[i].state != PH__LEG_OPENING)
        return;
    if (err && a->restored) {
        ph__leg_release(d, &a->leg[i]);
        a->code = 508; /* never another port: peers know this one */
    } else if (err) {
        try_next(d, slot, i);
    } else {
        struct ph__leg *leg = &a->leg[i];
        leg->state = PH__LEG_UP;
        if (!a->tcp)
            ph_ports_set_live(d->c.relay[leg->relay].ports, leg->at.port);
        if (a->want == PH_PORT_EVEN_PAIR &&
            ph_reserve_hold(d->c.reserve, d->c.relay[leg->relay].ports, leg->relay,
                            (uint16_t)(leg->at.port + 1), &d->env, now, &a->token)) {
            ph_ports_release(d->c.relay[leg->relay].ports, (uint16_t)(leg->at.port + 1));
            a->code = 508;
        }
    }
    if (a->leg[0].state != PH__LEG_OPENING && a->leg[1].state != PH__LEG_OPENING)
        (a->restored ? ph__restore_finish : finish)(d, slot, now);
}

/* The addresses of a success response, and for a family that could not be had the reason. */
static void put_legs(struct ph_turnd *d, uint32_t slot, struct ph_msgw *w,
                     const struct ph_turnd_info *info)
{
    const struct ph__alloc *a = ph__alloc_at(d, slot);

    for (unsigned i = 0; i < 2; i++)
        if (info->relay[i].family)
            ph_msgw_addr(w, PH_ATTR_XOR_RELAYED_ADDRESS, &info->relay[i]);
    ph_msgw_addr(w, PH_ATTR_XOR_MAPPED_ADDRESS, &a->client);
    ph_msgw_uint(w, PH_ATTR_LIFETIME, a->lifetime_s);
    if (a->token)
        ph_msgw_uint(w, PH_ATTR_RESERVATION_TOKEN, a->token);
    ph__mobile_put(d, slot, w);
    for (unsigned i = 0; i < 2; i++) {
        struct ph_attr_value v = {0};
        if (!a->both || a->leg[i].state != PH__LEG_FAILED)
            continue;
        v.error.family = i ? PH_AF_INET6 : PH_AF_INET;
        v.error.code = a->leg[i].code;
        v.error.reason = ph_str(ph_stun_reason(a->leg[i].code));
        ph_msgw_attr(w, a->draft ? PH_ATTR_DRAFT_ADDRESS_ERROR_CODE : PH_ATTR_ADDRESS_ERROR_CODE,
                     &v);
    }
}

int ph__allocate_answer(struct ph_turnd *d, uint32_t slot, struct ph_pkt *out)
{
    static const struct ph_key none = {.n = 0};
    struct ph__alloc *a = ph__alloc_at(d, slot);
    struct ph_turnd_info info;
    struct ph_msgw w;

    ph__alloc_info(d, slot, &info);
    ph_msgw_begin(&w, ph_buf_data(&out->b), out->b.cap - out->b.off, PH_ALLOCATE,
                  a->code ? PH_ERROR : PH_SUCCESS, a->txid);
    if (a->code)
        ph_msgw_error(&w, a->code, NULL);
    else
        put_legs(d, slot, &w, &info);
    int n = ph__reply_seal(d, &w, a->user ? &a->user->key : &none, a->sha256, a->fingerprint);
    if (n < 0)
        return n;
    out->b.len = (uint32_t)n;
    out->src = d->c.listener[a->listener].at;
    out->dst = a->client;
    out->sock = a->listener;
    out->conn = a->conn;
    *(a->code ? &d->stats.errors : &d->stats.responses) += 1;
    return PH_SEND;
}
