/*
 * The table of TCP connections to and from peers (RFC 6062), and which of them are whose.
 *
 * A connection is known to clients and shell by worker(8) generation(8) slot(16), so that an old id does not lead
 * to a new connection.  Its slot is free again when it is gone and both client and shell have been told what they
 * are to know.
 */
#include "turn/server_priv.h"

#include "stun/base/error.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_CONNS = 65536 /* of a worker */ };

/* --- the table ------------------------------------------------------------------------------------- */

uint32_t ph__conn_id(const struct ph_turnd *d, uint32_t slot)
{
    return (uint32_t)d->c.worker << 24 | (uint32_t)d->conn[slot].generation << 16 | slot;
}

/* The slot of an id, or PH__NONE. */
uint32_t ph__conn_slot(const struct ph_turnd *d, uint32_t id)
{
    uint32_t slot = id & 0xFFFF;
    bool fits = id >> 24 == d->c.worker && slot < d->conns &&
                d->conn[slot].state != PH__CONN_FREE &&
                d->conn[slot].generation == (id >> 16 & 0xFF);
    return fits ? slot : PH__NONE;
}

static int grow(struct ph_turnd *d)
{
    uint32_t n = d->conns ? d->conns * 2 : 16;
    struct ph__conn *v = n > MAX_CONNS ? NULL : realloc(d->conn, n * sizeof *v);

    if (!v)
        return n > MAX_CONNS ? PH_E_LIMIT : PH_E_NOMEM;
    memset(v + d->conns, 0, (n - d->conns) * sizeof *v);
    for (uint32_t i = n; i-- > d->conns;) {
        v[i].next = d->conn_free;
        d->conn_free = i;
    }
    d->conn = v;
    d->conns = n;
    return 0;
}

static void append(struct ph_turnd *d, struct ph__list *l, uint32_t slot)
{
    bool events = l == &d->conn_events;
    struct ph__conn *c = &d->conn[slot], *last = &d->conn[l->tail];

    if (events ? c->queued_event : c->queued_output)
        return;
    *(events ? &c->queued_event : &c->queued_output) = true;
    *(events ? &c->event_next : &c->output_next) = PH__NONE;
    if (l->head == PH__NONE)
        l->head = slot;
    else
        *(events ? &last->event_next : &last->output_next) = slot;
    l->tail = slot;
}

void ph__conn_event(struct ph_turnd *d, uint32_t slot, uint8_t bit)
{
    d->conn[slot].events |= bit;
    append(d, &d->conn_events, slot);
}

void ph__conn_tell(struct ph_turnd *d, uint32_t slot, enum ph__telling what)
{
    d->conn[slot].telling = (uint8_t)what;
    append(d, &d->conn_output, slot);
}

/* A new connection of an allocation.  0, PH_E_LIMIT or PH_E_NOMEM. */
int ph__conn_add(struct ph_turnd *d, uint32_t alloc, const struct ph_addr *peer,
                 enum ph__conn_state state, ph_ns until, uint32_t *slot)
{
    struct ph__tcp *t = ph__alloc_at(d, alloc)->tcp;
    int err = t->n >= d->c.max_connections ? PH_E_LIMIT : 0;

    if (!err && d->conn_free == PH__NONE)
        err = grow(d);
    if (!err)
        err = ph_heap_set(&d->conn_expiry, d->conn_free, until);
    if (err)
        return err;
    *slot = d->conn_free;
    struct ph__conn *c = &d->conn[*slot];
    d->conn_free = c->next;
    *c = (struct ph__conn){.peer = *peer,
                           .alloc = alloc,
                           .next = t->first,
                           .state = (uint8_t)state,
                           .generation = (uint8_t)(c->generation % 255 + 1)};
    t->first = *slot;
    t->n++;
    return 0;
}

/* Remembers a peer for the audit. */
void ph__tcp_keep_peer(struct ph__tcp *t, const struct ph_addr *peer)
{
    for (unsigned i = 0; i < t->peers; i++)
        if (ph_addr_eq(&t->peer[i], peer))
            return;
    if (t->peers < PH__PEERS_KEPT)
        t->peer[t->peers++] = *peer;
}

/* Frees the slot of a connection that is gone, once all is told. */
void ph__conn_settle(struct ph_turnd *d, uint32_t slot)
{
    struct ph__conn *c = &d->conn[slot];

    if (c->state != PH__CONN_GONE || c->queued_event || c->queued_output)
        return;
    if (c->alloc != PH__NONE) {
        struct ph__tcp *t = ph__alloc_at(d, c->alloc)->tcp;
        uint32_t *at = &t->first;
        while (*at != slot)
            at = &d->conn[*at].next;
        *at = c->next;
        t->n--;
    }
    c->state = PH__CONN_FREE;
    c->next = d->conn_free;
    d->conn_free = slot;
}

/* Ends a connection; with `ask` the shell is asked to close it. */
void ph__conn_end(struct ph_turnd *d, uint32_t slot, bool ask)
{
    struct ph__conn *c = &d->conn[slot];

    if (c->state == PH__CONN_GONE)
        return;
    c->state = PH__CONN_GONE;
    ph_heap_set(&d->conn_expiry, slot, PH_NEVER);
    if (ask)
        ph__conn_event(d, slot, PH__CONN_EV_CLOSE);
    ph__conn_settle(d, slot);
}

uint32_t ph__conn_find(const struct ph_turnd *d, const struct ph__alloc *a,
                       const struct ph_addr *peer)
{
    uint32_t i = a->tcp->first;
    while (i != PH__NONE &&
           (d->conn[i].state == PH__CONN_GONE || !ph_addr_eq_endpoint(&d->conn[i].peer, peer)))
        i = d->conn[i].next;
    return i;
}

/* --- allocations ----------------------------------------------------------------------------------- */

int ph__tcp_init(struct ph__alloc *a)
{
    a->tcp = calloc(1, sizeof *a->tcp);
    if (!a->tcp)
        return PH_E_NOMEM;
    a->tcp->first = PH__NONE;
    return 0;
}

void ph__tcp_free(struct ph__alloc *a)
{
    free(a->tcp);
    a->tcp = NULL;
}

bool ph__tcp_busy(const struct ph__alloc *a)
{
    return a->tcp && a->tcp->n;
}

unsigned ph__tcp_peers(const struct ph__alloc *a, struct ph_addr *v, unsigned max)
{
    unsigned n = a->tcp ? a->tcp->peers : 0;
    n = n < max ? n : max;
    if (n)
        memcpy(v, a->tcp->peer, n * sizeof *v);
    return n;
}

void ph__tcp_end(struct ph_turnd *d, uint32_t slot)
{
    struct ph__tcp *t = ph__alloc_at(d, slot)->tcp;

    for (uint32_t i = t ? t->first : PH__NONE, next; i != PH__NONE; i = next) {
        next = d->conn[i].next;
        d->conn[i].alloc = PH__NONE;
        d->conn[i].telling = PH__TELL_NOTHING;
        ph__conn_end(d, i, true);
    }
    if (t) {
        t->first = PH__NONE;
        t->n = 0;
    }
}

void ph__tcp_sweep(struct ph_turnd *d, uint32_t slot)
{
    const struct ph__alloc *a = ph__alloc_at(d, slot);

    for (uint32_t i = a->tcp ? a->tcp->first : PH__NONE, next; i != PH__NONE; i = next) {
        const struct ph_addr peer = d->conn[i].peer;
        struct ph__perm perm = {0};
        next = d->conn[i].next;
        if (ph__peer_check(d, a->realm, &peer, &perm) ||
            (perm.own && !ph__peer_port_ok(d, a->realm, &perm, &peer)))
            ph__conn_end(d, i, true);
    }
}

void ph__tcp_fini(struct ph_turnd *d)
{
    free(d->conn);
    ph_heap_fini(&d->conn_expiry);
}
