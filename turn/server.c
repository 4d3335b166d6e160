/*
 * The server core: life, dispatch, events and deadlines.  What is done with a message is in the files that
 * server_priv.h lists.
 */
#include "turn/server.h"

#include "stun/base/error.h"
#include "stun/codec/algs.h"
#include "stun/codec/demux.h"
#include "stun/codec/fingerprint.h"
#include "turn/server_priv.h"

#include <stdlib.h>
#include <string.h>

static void fill_defaults(struct ph_turnd_conf *c)
{
#define PH_DEFAULT(field, value)                                                                   \
    if (!c->field)                                                                                 \
    c->field = (value)
    PH_DEFAULT(max_allocations, 65536);
    PH_DEFAULT(max_permissions, 128);
    PH_DEFAULT(max_channels, 128);
    PH_DEFAULT(default_lifetime_s, 600);
    PH_DEFAULT(max_lifetime_s, 3600);
    PH_DEFAULT(permission_lifetime_s, 300);
    PH_DEFAULT(channel_lifetime_s, 600);
    PH_DEFAULT(max_connections, 32);
#undef PH_DEFAULT
    if (c->max_lifetime_s < c->default_lifetime_s)
        c->default_lifetime_s = c->max_lifetime_s;
    c->nonce.features = ph__features(c);
}

static bool is_complete(const struct ph_turnd_conf *c)
{
    if (!c->n_listeners || c->n_listeners > PH_TURND_LISTENERS || c->n_relays > PH_TURND_RELAYS ||
        !ph__live_is_complete(&c->live))
        return false;
    for (unsigned i = 0; i < c->n_relays; i++)
        if (!c->relay[i].ports)
            return false;
    return c->pool_ports <= PH_POOL_PORTS_MAX && c->pool_first + c->pool_ports <= 65536 &&
           (c->pool_first || !c->pool_ports);
}

struct ph_turnd *ph_turnd_new(const struct ph_turnd_conf *c, const struct ph_env *env, ph_ns now)
{
    struct ph_turnd *d = is_complete(c) ? calloc(1, sizeof *d) : NULL;

    if (!d)
        return NULL;
    d->c = *c;
    d->env = *env;
    fill_defaults(&d->c);
    ph_map_init(&d->by_client);
    ph_map_init(&d->by_session);
    ph_map_init(&d->by_user);
    ph_map_init(&d->by_serial);
    ph_heap_init(&d->expiry);
    ph_heap_init(&d->conn_expiry);
    env->rand(env->ctx, &d->hash_key, sizeof d->hash_key);
    d->free_head = d->memo = d->ended = d->conn_free = PH__NONE;
    d->events.head = d->output.head = d->changed.head = PH__NONE;
    d->conn_events.head = d->conn_output.head = PH__NONE;
    d->wall_at = now;
    memcpy(d->ticket_key[0], c->ticket_key, PH_TICKET_KEY_LEN);
    d->n_ticket_keys = 1;
    for (unsigned i = 0; i < c->n_relays; i++)
        d->has_external |= c->relay[i].external.family != PH_AF_NONE;
    if (ph__pool_init(d) || ph__usage_init(d)) {
        ph_turnd_free(d);
        return NULL;
    }
    return d;
}

void ph_turnd_free(struct ph_turnd *d)
{
    if (!d)
        return;
    ph__alloc_fini(d);
    ph__pool_fini(d);
    ph_map_fini(&d->by_user);
    free(d->user);
    free(d->before);
    ph_wipe(&d->c.nonce, sizeof d->c.nonce);
    ph_wipe(d->c.ticket_key, sizeof d->c.ticket_key);
    ph_wipe(d->ticket_key, sizeof d->ticket_key);
    free(d);
}

void ph_turnd_wall_clock(struct ph_turnd *d, int64_t unix_s, ph_ns now)
{
    /* Session ids count on from the time of start: no earlier run has used them, unless it made more than 100,000
     * allocations a second all its life.  Those of a fleet start far apart, lest two that start in the same second give out
     * the same ids: who takes over from another one could not have both. */
    enum { A_SECOND = 100000, PLACES = 800000 };
    const uint64_t apart = 10000 * (uint64_t)A_SECOND; /* so many seconds */
    if (!d->wall_s)
        d->sessions += (uint64_t)unix_s * A_SECOND + d->c.node % PLACES * apart;
    d->wall_s = unix_s;
    d->wall_at = now;
}

void ph_turnd_set_keys(struct ph_turnd *d, const struct ph_turnd_keys *k)
{
    const unsigned n = k->n_tickets < PH_TURND_TICKET_KEYS ? k->n_tickets : PH_TURND_TICKET_KEYS;

    memcpy(d->c.nonce.key, k->nonce, PH_NONCE_KEY_LEN);
    memcpy(d->c.nonce.old_key, k->old_nonce, PH_NONCE_KEY_LEN);
    d->c.nonce.has_old_key = k->has_old_nonce;
    if (!n)
        return;
    ph_wipe(d->ticket_key, sizeof d->ticket_key);
    memcpy(d->ticket_key, k->ticket, n * sizeof *k->ticket);
    d->n_ticket_keys = n;
}

/* A request that a TURN server takes. */
static int on_turn_request(struct ph__req *r, int (*handler)(struct ph__req *))
{
    r->slot = ph__alloc_find(r->d, &r->p->src, r->p->sock);
    r->a = r->slot == PH__NONE ? NULL : ph__alloc_at(r->d, r->slot);
    if (!r->a && ph__stray_elsewhere(r->d, &r->p->src, r->p->sock, r->now))
        return PH_ELSEWHERE;
    if (r->a && r->a->restored && r->a->state == PH__OPENING)
        return PH_DROP; /* not yet: it will be asked again, as "there is none" would be the end of it */
    int verdict = ph__authenticate(r);
    if (verdict != PH_CONSUMED)
        return verdict;
    ph__mobile_heard(r);
    /* Who proves himself gets back what his challenge cost: it came with the first request of a five-tuple. */
    if (r->d->c.live.auth && !r->p->conn &&
        (r->m.method == PH_ALLOCATE || ph_msg_has(&r->m, PH_IX_MOBILITY_TICKET)))
        ph_budget_refund(r->d->c.budget, &r->p->src, r->d->cost_401, r->now);
    /* RFC 8489 6.3: unknown attributes are looked at after authentication. */
    return r->m.has_unknown ? ph__reply_unknown(r) : handler(r);
}

static int on_request(struct ph__req *r)
{
    static const struct {
        uint16_t method;
        int (*handler)(struct ph__req *);
    } table[] = {
        {PH_ALLOCATE, ph__on_allocate},
        {PH_REFRESH, ph__on_refresh},
        {PH_CREATE_PERMISSION, ph__on_create_permission},
        {PH_CHANNEL_BIND, ph__on_channel_bind},
        {PH_CONNECT, ph__on_connect},
        {PH_CONNECTION_BIND, ph__on_connection_bind},
    };
    struct ph_turnd *d = r->d;
    struct ph_stund *stun = d->c.listener[r->p->sock].stun;

    if (r->m.method == PH_BINDING && stun)
        return ph_stund_answer(stun, &r->m, r->p, r->now);
    for (unsigned i = 0; i < sizeof table / sizeof *table && d->c.n_relays; i++)
        if (table[i].method == r->m.method)
            return on_turn_request(r, table[i].handler);
    d->stats.unexpected++;
    return PH_DROP;
}

static int on_message(struct ph_turnd *d, struct ph_pkt *p, bool final, ph_ns now)
{
    struct ph_msg m;

    if (ph_msg_parse(&m, ph_buf_data(&p->b), p->b.len) ||
        (ph_msg_has(&m, PH_IX_FINGERPRINT) && ph_msg_check_fingerprint(&m)))
        return ph__drop_message(d, p, &d->stats.malformed, now);
    if (m.cls == PH_INDICATION && m.method == PH_SEND_METHOD)
        return ph__on_send(d, p, &m, now);
    if (m.cls == PH_INDICATION && m.method == PH_BINDING)
        return ph__drop_message(d, p, NULL, now); /* keeps a NAT mapping open (RFC 8489 6.3.2) */
    if (m.cls != PH_REQUEST)
        return ph__drop_message(d, p, &d->stats.unexpected, now);
    if (p->b.cap - p->b.off < PH__REPLY_ROOM)
        return PH_E_NOSPACE;
    struct ph__req r = {.d = d,
                        .p = p,
                        .m = m,
                        .now = now,
                        .slot = PH__NONE,
                        .fingerprint = ph_msg_has(&m, PH_IX_FINGERPRINT),
                        .final = final};
    struct ph__heard heard = {p->src, p->sock, p->b.len, PH__NONE};
    int verdict = on_request(&r);
    bool again = verdict == PH_LATER || verdict == PH_ELSEWHERE; /* it will be handed in again */
    d->stats.lookups += verdict == PH_LATER;
    d->stats.requests += !again;
    heard.slot = r.slot;
    if (d->before && !again && verdict >= 0)
        ph__usage_heard(d, &heard, verdict == PH_SEND ? p->b.len : 0, now);
    return verdict;
}

static inline int input(struct ph_turnd *d, struct ph_pkt *p, bool final, ph_ns now)
{
    p->head_len = 0;
    p->dont_fragment = false;
    if (p->sock & PH_SOCK_RELAY)
        return ph__on_peer(d, p, now);
    if (p->sock >= d->c.n_listeners)
        return PH_E_ARG;
    switch (ph_demux(ph_buf_data(&p->b), p->b.len)) {
    case PH_DEMUX_STUN:
        return on_message(d, p, final, now);
    case PH_DEMUX_CHANNEL:
        return ph__on_channel_data(d, p, now);
    case PH_DEMUX_QUIC: /* 0x50..0x7F: RFC 5766's channel numbers, when they are allowed */
        if (d->c.channels_5766)
            return ph__on_channel_data(d, p, now);
        break;
    default:
        break;
    }
    return ph__drop_message(d, p, &d->stats.malformed, now);
}

int ph_turnd_input(struct ph_turnd *d, struct ph_pkt *p, ph_ns now)
{
    return input(d, p, false, now);
}

int ph_turnd_input_final(struct ph_turnd *d, struct ph_pkt *p, ph_ns now)
{
    d->final = true;
    int verdict = input(d, p, true, now);
    d->final = false;
    return verdict;
}

void ph_turnd_tick(struct ph_turnd *d, ph_ns now)
{
    uint32_t slot;
    while ((slot = ph_heap_pop_due(&d->expiry, now)) != UINT32_MAX) {
        const struct ph__alloc *a = ph__alloc_at(d, slot);
        if (now < a->expires_at)
            ph__mobile_settle(d, slot);
        else
            ph__alloc_end(d, slot, ph__bound_reason(d, a, now));
    }
    ph__tcp_tick(d, now);
    if (d->c.reserve)
        ph_reserve_tick(d->c.reserve, now);
}

ph_ns ph_turnd_deadline(const struct ph_turnd *d)
{
    ph_ns at = ph_min_ns(ph_heap_next(&d->expiry), ph_heap_next(&d->conn_expiry));
    return d->c.reserve ? ph_min_ns(at, ph_reserve_deadline(d->c.reserve)) : at;
}

bool ph_turnd_output(struct ph_turnd *d, struct ph_pkt *out, ph_ns now)
{
    uint32_t slot;

    (void)now;
    out->head_len = 0;
    out->dont_fragment = false;
    while ((slot = ph__list_pop(d, &d->output)) != PH__NONE) {
        struct ph__alloc *a = ph__alloc_at(d, slot);
        if (a->state != PH__UP && a->state != PH__FAILED)
            continue; /* ended before its answer was asked for */
        int verdict = a->away ? PH_DROP : ph__allocate_answer(d, slot, out);
        if (verdict == PH_SEND)
            ph__usage_out(d, slot, out->b.len);
        if (a->state == PH__FAILED)
            ph__alloc_end(d, slot, PH_END_RELEASED);
        if (verdict == PH_SEND)
            return true;
    }
    return ph__tcp_output(d, out);
}

/* Turns the next waiting bit of an allocation into an event.  False: it was only bookkeeping. */
static bool take_event(struct ph_turnd *d, uint32_t slot, struct ph_turnd_ev *ev)
{
    static const uint8_t order[] = {PH__EV_OPEN,      PH__EV_OPEN << 1,  PH__EV_UP,
                                    PH__EV_CLOSE,     PH__EV_CLOSE << 1, PH__EV_TRAFFIC,
                                    PH__EV_REFRESHED, PH__EV_DOWN};
    struct ph__alloc *a = ph__alloc_at(d, slot);
    unsigned i = 0;

    while (!(a->events & order[i]))
        i++;
    a->events = (uint8_t)(a->events & ~order[i]);
    unsigned leg = i == 1 || i == 4;
    *ev = (struct ph_turnd_ev){.sock = ph__relay_sock(slot, leg), .at = a->leg[leg].at};
    switch (order[i]) {
    case PH__EV_UP:
        ev->type = PH_TURND_ALLOC_UP;
        ev->lifetime_s = a->lifetime_s;
        break;
    case PH__EV_TRAFFIC:
        ev->type = PH_TURND_ALLOC_TRAFFIC;
        ph__usage_tell(a, false, &ev->traffic);
        break;
    case PH__EV_REFRESHED:
        ev->type = PH_TURND_ALLOC_REFRESHED;
        ev->lifetime_s = a->refreshed_s;
        break;
    case PH__EV_DOWN:
        ev->type = PH_TURND_ALLOC_DOWN;
        ev->reason = (enum ph_turnd_reason)a->reason;
        ph__usage_tell(a, true, &ev->traffic);
        d->ended = slot;
        break;
    default:
        ev->type = i < 2 ? PH_TURND_RELAY_OPEN : PH_TURND_RELAY_CLOSE;
        return true;
    }
    ph__alloc_info(d, slot, &ev->info);
    return a->was_up;
}

bool ph_turnd_event(struct ph_turnd *d, struct ph_turnd_ev *ev)
{
    for (;;) {
        if (d->ended != PH__NONE) { /* its info was given out by the last call */
            ph__alloc_free(d, d->ended);
            d->ended = PH__NONE;
        }
        if (ph__tcp_event(d, ev)) /* the end of connections before that of their allocation */
            return true;
        uint32_t slot = d->events.head;
        if (slot == PH__NONE)
            return false;
        bool tell = take_event(d, slot, ev);
        if (!ph__alloc_at(d, slot)->events)
            ph__list_pop(d, &d->events);
        if (tell)
            return true;
    }
}

bool ph_turnd_end(struct ph_turnd *d, uint32_t id, ph_ns now)
{
    (void)now;
    if (id >= d->chunks * PH__CHUNK || ph__alloc_at(d, id)->state != PH__UP)
        return false;
    ph__alloc_end(d, id, PH_END_ADMIN);
    return true;
}

void ph_turnd_conn_closed(struct ph_turnd *d, uint32_t listener, const struct ph_addr *client,
                          ph_ns now)
{
    (void)now;
    uint32_t slot = client->proto == PH_UDP ? PH__NONE : ph__alloc_find(d, client, listener);
    if (slot == PH__NONE)
        return;
    const struct ph__alloc *a = ph__alloc_at(d, slot);
    if (!ph__alloc_is_at(a, client, listener))
        ph__mobile_settle(d, slot); /* its client has left it for another one */
    else if (a->state == PH__OPENING || (a->state == PH__UP && a->mobile))
        ph__alloc_lose(d, slot); /* what is being opened ends when the shell has answered */
    else if (a->state == PH__UP)
        ph__alloc_end(d, slot, PH_END_CLOSED);
}

bool ph_turnd_list(const struct ph_turnd *d, uint32_t *id, struct ph_turnd_info *out)
{
    for (; *id < d->chunks * PH__CHUNK; (*id)++)
        if (ph__alloc_at(d, *id)->state == PH__UP) {
            ph__alloc_info(d, (*id)++, out);
            return true;
        }
    return false;
}

uint32_t ph_turnd_count(const struct ph_turnd *d)
{
    return d->count;
}

const struct ph_turnd_stats *ph_turnd_stats(const struct ph_turnd *d)
{
    return &d->stats;
}
