/*
 * The table of allocations.
 *
 * Slots live in blocks of 64 that are never moved, so a pointer is good while its slot is.  Free slots form a
 * list through event_next.  A slot's way: FREE -> OPENING -> UP -> DEAD -> FREE, or OPENING -> FAILED -> FREE.
 *
 * A slot is found by its client's five-tuple.  With mobility (RFC 8016) there may be a second one, that the client has
 * just left, or none at all: its connection is lost, and it waits for a ticket.
 */
#include "turn/server_priv.h"

#include "stun/base/error.h"

#include <stdlib.h>
#include <string.h>

/* How long a retransmission of the last request may still come (RFC 8489 6.2.1: the client gives up after
 * 39.5 s). */
static const ph_ns tombstone_ttl = PH_SEC(40);

struct tuple {
    struct ph_addr client;
    uint32_t listener;
};

static uint64_t tuple_hash(const struct ph_turnd *d, const struct ph_addr *client,
                           uint32_t listener)
{
    struct tuple t = {*client, listener};
    return ph_hash(&d->hash_key, &t, sizeof t);
}

bool ph__alloc_is_at(const struct ph__alloc *a, const struct ph_addr *client, uint32_t listener)
{
    return a->listener == listener && ph_addr_eq(&a->client, client);
}

static bool was_at(const struct ph__alloc *a, const struct ph_addr *client, uint32_t listener)
{
    const struct ph__mobile *m = a->mobile;
    return m && m->until && m->listener == listener && ph_addr_eq(&m->client, client);
}

/* A packet from a five-tuple that its client has left: good until one comes from the new five-tuple.  Those are not
 * looked for as they come, which would cost every packet of every allocation; but they have been counted. */
static uint32_t find_former(struct ph_turnd *d, const struct ph_addr *client, uint32_t listener)
{
    struct ph_map_it it = ph_map_find(&d->by_client, tuple_hash(d, client, listener));
    while (it.slot != PH_MAP_NONE && !was_at(ph__alloc_at(d, it.slot), client, listener))
        it = ph_map_next(&d->by_client, it);
    if (it.slot == PH_MAP_NONE)
        return PH__NONE;
    struct ph__alloc *a = ph__alloc_at(d, it.slot);
    if (a->to_peer_packets > a->mobile->sent) {
        ph__mobile_settle(d, it.slot);
        return PH__NONE;
    }
    a->mobile->sent = a->to_peer_packets + 1; /* this packet */
    return it.slot;
}

uint32_t ph__tuple_find(const struct ph_turnd *d, const struct ph_addr *client, uint32_t listener)
{
    struct ph_map_it it = ph_map_find(&d->by_client, tuple_hash(d, client, listener));
    while (it.slot != PH_MAP_NONE && !ph__alloc_is_at(ph__alloc_at(d, it.slot), client, listener))
        it = ph_map_next(&d->by_client, it);
    return it.slot;
}

uint32_t ph__alloc_find(struct ph_turnd *d, const struct ph_addr *client, uint32_t listener)
{
    if (d->memo != PH__NONE && ph__alloc_is_at(ph__alloc_at(d, d->memo), client, listener))
        return d->memo;
    uint32_t slot = ph__tuple_find(d, client, listener);
    if (slot != PH__NONE)
        return d->memo = slot;
    return d->moving ? find_former(d, client, listener) : PH__NONE;
}

int ph__tuple_add(struct ph_turnd *d, const struct ph_addr *client, uint32_t listener,
                  uint32_t slot)
{
    return ph_map_add(&d->by_client, tuple_hash(d, client, listener), slot);
}

void ph__tuple_del(struct ph_turnd *d, const struct ph_addr *client, uint32_t listener,
                   uint32_t slot)
{
    ph_map_del(&d->by_client, tuple_hash(d, client, listener), slot);
    if (d->memo == slot)
        d->memo = PH__NONE;
}

bool ph_turnd_conn_needed(const struct ph_turnd *d, uint32_t listener, const struct ph_addr *client)
{
    return ph__tuple_find(d, client, listener) != PH__NONE;
}

static uint64_t session_hash(const struct ph_turnd *d, uint64_t session)
{
    return ph_hash(&d->hash_key, &session, sizeof session);
}

uint32_t ph__session_find(const struct ph_turnd *d, uint64_t session)
{
    struct ph_map_it it = ph_map_find(&d->by_session, session_hash(d, session));
    while (it.slot != PH_MAP_NONE && ph__alloc_at(d, it.slot)->session != session)
        it = ph_map_next(&d->by_session, it);
    return it.slot;
}

/* Sessions of a worker.  18 digits hold the largest: 255 and 15 more. */
static const uint64_t of_a_worker = 1000000000000000u;

void ph__session_seen(struct ph_turnd *d, uint64_t session)
{
    static const uint64_t years =
        100000u * 86400u * UINT64_C(3650); /* of clock: more is nonsense */
    const uint64_t n = session % of_a_worker;

    if (session / of_a_worker == d->c.worker && n > d->sessions && n - d->sessions < years)
        d->sessions = n;
}

/* A number that no allocation has, restored ones included. */
static uint64_t new_session(struct ph_turnd *d)
{
    uint64_t session;

    do
        session = d->c.worker * of_a_worker + ++d->sessions % of_a_worker;
    while (ph__session_find(d, session) != PH__NONE);
    return session;
}

/* Adds a block of free slots. */
static int grow(struct ph_turnd *d)
{
    uint32_t first = d->chunks * PH__CHUNK;
    if (first >= d->c.max_allocations)
        return PH_E_LIMIT;
    struct ph__alloc **chunk = realloc(d->chunk, (d->chunks + 1) * sizeof(struct ph__alloc *));
    if (!chunk)
        return PH_E_NOMEM;
    d->chunk = chunk;
    chunk[d->chunks] = calloc(PH__CHUNK, sizeof(struct ph__alloc));
    if (!chunk[d->chunks])
        return PH_E_NOMEM;
    for (uint32_t i = PH__CHUNK; i-- > 0;) {
        chunk[d->chunks][i].event_next = d->free_head;
        d->free_head = first + i;
    }
    d->chunks++;
    return 0;
}

/* A free slot, still in the list.  0, PH_E_LIMIT or PH_E_NOMEM. */
static int free_slot(struct ph_turnd *d, uint32_t *slot)
{
    int err = d->count >= d->c.max_allocations ? PH_E_LIMIT : 0;
    if (!err && d->free_head == PH__NONE)
        err = grow(d);
    *slot = d->free_head;
    return err;
}

static struct ph__alloc *take_slot(struct ph_turnd *d, uint32_t slot)
{
    struct ph__alloc *a = ph__alloc_at(d, slot);
    d->free_head = a->event_next;
    d->count++;
    return a;
}

uint32_t ph__alloc_new(struct ph_turnd *d, const struct ph_addr *client, uint32_t listener,
                       ph_ns now)
{
    const uint64_t session = new_session(d);
    uint32_t slot;

    if (free_slot(d, &slot) || ph__tuple_add(d, client, listener, slot))
        return PH__NONE;
    if (ph_map_add(&d->by_session, session_hash(d, session), slot)) {
        ph__tuple_del(d, client, listener, slot);
        return PH__NONE;
    }
    *take_slot(d, slot) = (struct ph__alloc){.client = *client,
                                             .listener = listener,
                                             .session = session,
                                             .created_at = now,
                                             .expires_at = PH_NEVER,
                                             .state = PH__OPENING};
    return slot;
}

int ph__alloc_adopt(struct ph_turnd *d, const struct ph__alloc *from, uint32_t *slot)
{
    int err = free_slot(d, slot);
    if (err)
        return err;
    err = ph_map_add(&d->by_session, session_hash(d, from->session), *slot);
    if (!err && from->state == PH__UP)
        err = ph_heap_set(&d->expiry, *slot, from->expires_at);
    if (!err && !from->away)
        err = ph__tuple_add(d, &from->client, from->listener, *slot);
    if (!err && from->mobile)
        err = ph__mobile_link(d, from->mobile, *slot);
    if (err) {
        ph_map_del(&d->by_session, session_hash(d, from->session), *slot);
        ph_heap_set(&d->expiry, *slot, PH_NEVER);
        if (!from->away)
            ph__tuple_del(d, &from->client, from->listener, *slot);
        return err;
    }
    *take_slot(d, *slot) = *from;
    return 0;
}

void ph__alloc_lose(struct ph_turnd *d, uint32_t slot)
{
    struct ph__alloc *a = ph__alloc_at(d, slot);
    ph__tuple_del(d, &a->client, a->listener, slot);
    a->conn = 0;
    a->away = true;
    a->reachable = false;
}

int ph__alloc_expire_at(struct ph_turnd *d, uint32_t slot, ph_ns at)
{
    struct ph__alloc *a = ph__alloc_at(d, slot);
    ph_ns next = a->mobile && a->mobile->until ? ph_min_ns(at, a->mobile->until) : at;
    int err = ph_heap_set(&d->expiry, slot, next);
    if (!err)
        a->expires_at = at;
    return err;
}

void ph__leg_release(struct ph_turnd *d, struct ph__leg *leg)
{
    if (ph__pool_has(d, &leg->at))
        ph__pool_leave(d, leg);
    else if (leg->state == PH__LEG_OPENING || leg->state == PH__LEG_UP)
        ph_ports_release(d->c.relay[leg->relay].ports, leg->at.port);
    leg->state = PH__LEG_NONE;
}

void ph__alloc_unlink(struct ph_turnd *d, uint32_t slot)
{
    struct ph__alloc *a = ph__alloc_at(d, slot);
    if (!a->away)
        ph__tuple_del(d, &a->client, a->listener, slot);
    if (a->mobile)
        ph__mobile_unlink(d, slot);
    ph__unchanged(d, slot);
    ph_map_del(&d->by_session, session_hash(d, a->session), slot);
    ph_heap_set(&d->expiry, slot, PH_NEVER);
    if (a->counted)
        ph_quota_release(ph__realm_quota(d, a->realm), ph__user_id(a->user));
    a->counted = a->reachable = false;
    d->count--;
}

void ph__alloc_end(struct ph_turnd *d, uint32_t slot, enum ph_turnd_reason reason)
{
    struct ph__alloc *a = ph__alloc_at(d, slot);
    uint8_t bits = PH__EV_DOWN;

    ph__stray_del(d, a);
    ph__alloc_unlink(d, slot);
    ph__tcp_end(d, slot);
    for (unsigned i = 0; i < 2; i++) {
        if (a->leg[i].state == PH__LEG_UP && !a->leg[i].pool)
            bits = (uint8_t)(bits | PH__EV_CLOSE << i);
        ph__pool_leave(d, &a->leg[i]);
    }
    a->state = PH__DEAD;
    a->reason = (uint8_t)reason;
    ph__alloc_event(d, slot, bits);
}

static void append(struct ph_turnd *d, struct ph__list *l, uint32_t slot)
{
    bool events = l == &d->events;
    struct ph__alloc *a = ph__alloc_at(d, slot);

    *(events ? &a->event_next : &a->output_next) = PH__NONE;
    *(events ? &a->queued_event : &a->queued_output) = true;
    if (l->head == PH__NONE) {
        l->head = slot;
    } else {
        struct ph__alloc *last = ph__alloc_at(d, l->tail);
        *(events ? &last->event_next : &last->output_next) = slot;
    }
    l->tail = slot;
}

/* Takes a slot out of the middle of the output list: it ended before its answer was asked for. */
static void drop_output(struct ph_turnd *d, uint32_t slot)
{
    uint32_t first = d->output.head, s;

    d->output.head = PH__NONE;
    for (uint32_t next; (s = first) != PH__NONE; first = next) {
        next = ph__alloc_at(d, s)->output_next;
        if (s != slot)
            append(d, &d->output, s);
    }
}

void ph__alloc_free(struct ph_turnd *d, uint32_t slot)
{
    struct ph__alloc *a = ph__alloc_at(d, slot);

    if (a->state != PH__DEAD) {
        ph__stray_del(d, a);
        ph__alloc_unlink(d, slot);
    }
    if (a->queued_output)
        drop_output(d, slot);
    for (unsigned i = 0; i < 2; i++)
        ph__leg_release(d, &a->leg[i]);
    free(a->perm);
    free(a->chan);
    free(a->usage);
    ph__bound_free(a);
    ph__tcp_free(a);
    ph__mobile_free(a);
    ph__user_put(d, a->user);
    ph__alloc_forget(d, slot);
}

void ph__alloc_forget(struct ph_turnd *d, uint32_t slot)
{
    *ph__alloc_at(d, slot) = (struct ph__alloc){.event_next = d->free_head};
    d->free_head = slot;
}

uint32_t ph__list_pop(struct ph_turnd *d, struct ph__list *l)
{
    bool events = l == &d->events;
    uint32_t slot = l->head;
    if (slot == PH__NONE)
        return PH__NONE;
    struct ph__alloc *a = ph__alloc_at(d, slot);
    l->head = events ? a->event_next : a->output_next;
    *(events ? &a->queued_event : &a->queued_output) = false;
    return slot;
}

void ph__alloc_event(struct ph_turnd *d, uint32_t slot, uint8_t bits)
{
    struct ph__alloc *a = ph__alloc_at(d, slot);
    a->events |= bits;
    if (!a->queued_event)
        append(d, &d->events, slot);
}

void ph__alloc_output(struct ph_turnd *d, uint32_t slot)
{
    if (!ph__alloc_at(d, slot)->queued_output)
        append(d, &d->output, slot);
}

/* A relayed address as the client is told. */
static struct ph_addr shown(const struct ph_turnd *d, const struct ph__leg *leg)
{
    struct ph_addr at = leg->at;
    const struct ph_addr *ext = &d->c.relay[leg->relay].external;
    if (leg->state != PH__LEG_UP)
        return (struct ph_addr){.family = PH_AF_NONE};
    if (ext->family)
        memcpy(at.ip, ext->ip, sizeof at.ip);
    return at;
}

void ph__alloc_info(const struct ph_turnd *d, uint32_t slot, struct ph_turnd_info *out)
{
    const struct ph__alloc *a = ph__alloc_at(d, slot);
    *out = (struct ph_turnd_info){
        .id = slot,
        .session = a->session,
        .client = a->client,
        .listener = a->listener,
        .conn = a->conn,
        .tcp = a->tcp != NULL,
        .mobile = a->mobile != NULL,
        .restored = a->restored,
        .dropped = a->dropped,
        .relay = {shown(d, &a->leg[0]), shown(d, &a->leg[1])},
        .user = ph__user_name(a->user),
        .user_id = a->user ? ph__user_id(a->user) : (struct ph_slice){NULL, 0},
        .realm = ph__user_realm(a->user),
        .created_at = a->created_at,
        .expires_at = a->expires_at,
        .to_peer_packets = a->to_peer_packets,
        .to_peer_bytes = a->to_peer_bytes,
        .to_client_packets = a->to_client_packets,
        .to_client_bytes = a->to_client_bytes,
        .permissions = a->n_perm,
        .channels = a->n_chan,
    };
    ph__usage_info(a, out);
}

unsigned ph_turnd_peers(const struct ph_turnd *d, uint32_t id, struct ph_addr *v, unsigned max)
{
    const struct ph__alloc *a = id < d->chunks * PH__CHUNK ? ph__alloc_at(d, id) : NULL;
    unsigned n = 0;

    if (!a || (a->state != PH__UP && a->state != PH__DEAD))
        return 0;
    for (unsigned i = 0; i < a->n_perm && n < max; i++) {
        v[n] = (struct ph_addr){.family = a->perm[i].family};
        memcpy(v[n++].ip, a->perm[i].ip, sizeof v->ip);
    }
    for (unsigned i = 0; i < a->n_chan && n < max; i++)
        v[n++] = a->chan[i].peer;
    return n + ph__tcp_peers(a, v + n, max - n);
}

void ph__tomb_add(struct ph_turnd *d, const struct ph__req *r)
{
    struct ph__tombstone *t = &d->tomb[d->tomb_at++ % PH__TOMBSTONES];
    t->client = r->p->src;
    t->listener = r->p->sock;
    memcpy(t->txid, ph_msg_txid(&r->m), PH_TXID_LEN);
    t->until = r->now + tombstone_ttl;
}

bool ph__tomb_find(const struct ph_turnd *d, const struct ph__req *r)
{
    for (unsigned i = 0; i < PH__TOMBSTONES; i++) {
        const struct ph__tombstone *t = &d->tomb[i];
        if (t->listener == r->p->sock && r->now < t->until &&
            memcmp(t->txid, ph_msg_txid(&r->m), PH_TXID_LEN) == 0 &&
            ph_addr_eq(&t->client, &r->p->src))
            return true;
    }
    return false;
}

void ph__alloc_fini(struct ph_turnd *d)
{
    for (uint32_t slot = 0; slot < d->chunks * PH__CHUNK; slot++)
        if (ph__alloc_at(d, slot)->state != PH__FREE)
            ph__alloc_free(d, slot);
    for (uint32_t i = 0; i < d->chunks; i++)
        free(d->chunk[i]);
    free(d->chunk);
    ph__tcp_fini(d);
    ph_map_fini(&d->by_serial);
    ph_map_fini(&d->by_client);
    ph_map_fini(&d->by_session);
    ph_heap_fini(&d->expiry);
}
