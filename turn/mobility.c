/*
 * Mobility (RFC 8016): a client that comes back from another address, listener or connection keeps its allocation.
 *
 *     Refresh from the old five-tuple or a new one, with the ticket of the last answer
 *     -> a new ticket, and from now on the allocation is the new five-tuple's
 *
 * A ticket is known by its serial, wherever it was made: the last one given out, or the one before it, as an answer
 * may have been lost.  A Refresh with the last one is answered with a fresh ticket; one with the one before it gets
 * the last again, so that whichever answer arrives holds a good ticket.
 *
 * Packets from the five-tuple that was left are taken for 10 s more, or until the client has sent by the new one.
 * Deviation: RFC 8016 3.2.2 would also go on sending to the old one until then.  We send to the new one at once: it
 * is known to work, and of the old one a client that has moved may hear nothing.
 *
 * A ticket of another worker: the allocation is to come here (PH_ELSEWHERE, then moved.c).  The relay sockets come with it;
 * the five-tuple that was left does not.  A ticket of another server: the client is sent there (300).  Which server and worker
 * a ticket names is where its allocation was; when it has been restored, it may be anywhere, so its serial is looked for first.
 */
#include "turn/server_priv.h"

#include "stun/base/error.h"

#include <stdlib.h>
#include <string.h>

static const ph_ns former_ttl = PH_SEC(10);

static uint64_t new_serial(const struct ph_turnd *d)
{
    uint64_t serial;
    d->env.rand(d->env.ctx, &serial, sizeof serial);
    return serial ? serial : 1;
}

uint32_t ph__mobile_find(const struct ph_turnd *d, uint64_t serial)
{
    struct ph_map_it it = ph_map_find(&d->by_serial, serial);
    for (; it.slot != PH_MAP_NONE; it = ph_map_next(&d->by_serial, it)) {
        const struct ph__mobile *m = ph__alloc_at(d, it.slot)->mobile;
        if (m->serial == serial || (m->before && m->before == serial))
            return it.slot;
    }
    return PH__NONE;
}

int ph__mobile_init(struct ph_turnd *d, uint32_t slot)
{
    struct ph__mobile *m = calloc(1, sizeof *m);
    if (!m)
        return PH_E_NOMEM;
    m->serial = new_serial(d);
    if (ph_map_add(&d->by_serial, m->serial, slot)) {
        free(m);
        return PH_E_NOMEM;
    }
    ph__alloc_at(d, slot)->mobile = m;
    return 0;
}

int ph__mobile_link(struct ph_turnd *d, const struct ph__mobile *m, uint32_t slot)
{
    if (ph_map_add(&d->by_serial, m->serial, slot))
        return PH_E_NOMEM;
    if (m->before && ph_map_add(&d->by_serial, m->before, slot)) {
        ph_map_del(&d->by_serial, m->serial, slot);
        return PH_E_NOMEM;
    }
    return 0;
}

void ph__mobile_free(struct ph__alloc *a)
{
    free(a->mobile);
    a->mobile = NULL;
}

void ph__mobile_settle(struct ph_turnd *d, uint32_t slot)
{
    struct ph__alloc *a = ph__alloc_at(d, slot);
    struct ph__mobile *m = a->mobile;

    if (!m || !m->until)
        return;
    m->until = 0;
    d->moving--;
    ph__tuple_del(d, &m->client, m->listener, slot);
    ph__alloc_expire_at(d, slot, a->expires_at);
}

void ph__mobile_unlink(struct ph_turnd *d, uint32_t slot)
{
    struct ph__mobile *m = ph__alloc_at(d, slot)->mobile;

    ph__mobile_settle(d, slot);
    ph_map_del(&d->by_serial, m->serial, slot);
    if (m->before)
        ph_map_del(&d->by_serial, m->before, slot);
}

void ph__mobile_heard(const struct ph__req *r)
{
    if (r->a && r->a->mobile && r->m.method != PH_REFRESH &&
        ph__alloc_is_at(r->a, &r->p->src, r->p->sock))
        ph__mobile_settle(r->d, r->slot);
}

/* The next ticket, unless the one before the last was shown: then the last is good still. */
static void renew(struct ph_turnd *d, uint32_t slot, uint64_t shown)
{
    struct ph__mobile *m = ph__alloc_at(d, slot)->mobile;
    uint64_t serial = new_serial(d);

    if (shown != m->serial || ph_map_add(&d->by_serial, serial, slot))
        return;
    if (m->before)
        ph_map_del(&d->by_serial, m->before, slot);
    m->before = m->serial;
    m->serial = serial;
}

void ph__mobile_put(const struct ph_turnd *d, uint32_t slot, struct ph_msgw *w)
{
    const struct ph__alloc *a = ph__alloc_at(d, slot);
    uint8_t ticket[PH_TICKET_LEN];

    if (!a->mobile)
        return;
    const struct ph_ticket t = {
        .worker = d->c.worker, .node = d->c.node, .slot = slot, .serial = a->mobile->serial};
    /* With OAuth a name is that of a key, which many have: there the token is the user. */
    const bool oauth = a->user && a->user->oauth;
    ph_ticket_make(ticket, d->ticket_key[0], &t,
                   oauth ? ph__user_id(a->user) : ph__user_name(a->user), ph__user_realm(a->user));
    ph_msgw_bytes(w, PH_ATTR_MOBILITY_TICKET, (struct ph_slice){ticket, sizeof ticket});
}

/* Gives an allocation the five-tuple of a request.  0 or PH_E_NOMEM. */
static int move_here(struct ph__req *r, uint32_t slot)
{
    struct ph_turnd *d = r->d;
    struct ph__alloc *a = ph__alloc_at(d, slot);
    struct ph__mobile *m = a->mobile;
    const struct ph_addr left = a->client;
    const uint32_t listener = a->listener;

    ph__mobile_settle(d, slot);
    if (ph__tuple_add(d, &r->p->src, r->p->sock, slot))
        return PH_E_NOMEM;
    ph__stray_del(d, a);
    d->left = a->conn;
    a->client = r->p->src;
    a->listener = r->p->sock;
    a->conn = r->p->conn;
    if (!a->away) { /* it was reachable there up to now */
        m->client = left;
        m->listener = listener;
        m->until = r->now + former_ttl;
        m->sent = a->to_peer_packets;
        d->moving++;
        ph__alloc_expire_at(d, slot, a->expires_at);
    }
    a->away = false;
    a->reachable = true;
    a->usage_left = 0; /* streams are counted otherwise */
    d->stats.moved++;
    return 0;
}

/* An address of the server with this number that a client can use; NULL: it has none, or is not there. */
static const struct ph_addr *address_of_node(const struct ph_turnd *d, uint32_t number,
                                             const struct ph_addr *client)
{
    for (unsigned i = 0; i < d->c.live.n_nodes; i++) {
        const struct ph_turnd_node *node = &d->c.live.node[i];
        if (node->number != number)
            continue;
        for (unsigned k = 0; k < sizeof node->at / sizeof *node->at && node->at[k].family; k++)
            if (node->at[k].family == client->family &&
                (node->at[k].proto == client->proto || node->at[k].proto == PH_PROTO_NONE))
                return &node->at[k];
    }
    return NULL;
}

/* The ticket of another server. */
static int not_ours(struct ph__req *r, const struct ph_ticket *t)
{
    const struct ph_addr *at = address_of_node(r->d, t->node, &r->p->src);

    if (!at)
        return ph__reply_error(r, 437);
    r->d->stats.redirected_tickets++;
    return ph__reply_alternate(r, at);
}

/* Whether this very packet has been elsewhere already, or must go there. */
static int not_here(struct ph__req *r, const struct ph_ticket *t)
{
    if (r->a)
        return ph__reply_error(r, 437);
    if (ph__stray_ticket_elsewhere(r->d, t->serial, r->now))
        return PH_ELSEWHERE;
    if (t->node && t->node != r->d->c.node) /* 0: made before we had a number */
        return not_ours(r, t);
    if (r->final || t->worker == r->d->c.worker)
        return ph__reply_error(r, 437);
    r->d->elsewhere = (struct ph_turnd_where){
        .fetch = true, .worker = t->worker, .slot = t->slot, .serial = t->serial};
    return PH_ELSEWHERE;
}

/* A realm's name as tickets hold it: none without authentication. */
static struct ph_slice realm_of_request(const struct ph__req *r)
{
    const struct ph_auth *auth = ph__realm_auth(r->d, r->realm);
    return auth && r->name.n ? ph_auth_realm(auth) : (struct ph_slice){NULL, 0};
}

int ph__mobile_refresh(struct ph__req *r)
{
    struct ph_turnd *d = r->d;
    struct ph_slice bytes;
    struct ph_ticket t;

    if (!d->c.mobility)
        return ph__reply_error(r, 405);
    if (ph_msg_bytes(&r->m, PH_IX_MOBILITY_TICKET, &bytes) || bytes.n != PH_TICKET_LEN)
        return ph__reply_error(r, 400);
    if (ph_ticket_read(&t, (const uint8_t *)d->ticket_key, d->n_ticket_keys, bytes,
                       r->oauth ? r->id : r->name, realm_of_request(r))) {
        /* A new token has come with the ticket of the old one, where the allocation is: there it needs none. */
        if (r->oauth && r->a && r->a->mobile)
            return PH_CONSUMED;
        /* Made up, or another user's: the two are not told apart. */
        return ph__reply_error(r, 441);
    }
    uint32_t slot = ph__mobile_find(d, t.serial);
    if (slot == PH__NONE)
        return not_here(r, &t);
    struct ph__alloc *a = ph__alloc_at(d, slot);
    if (a->state != PH__UP || (r->a && r->slot != slot))
        return ph__reply_error(r, 437);
    bool releases = !ph__lifetime(d, &r->m) && !ph_msg_has(&r->m, PH_IX_REQUESTED_ADDRESS_FAMILY);
    bool here = !a->away && ph__alloc_is_at(a, &r->p->src, r->p->sock);
    if (!here && !releases && move_here(r, slot))
        return ph__reply_error(r, 500);
    renew(d, slot, t.serial);
    ph__changed(d, slot);
    r->slot = slot;
    r->a = a;
    return PH_CONSUMED;
}

uint32_t ph_turnd_left(struct ph_turnd *d)
{
    uint32_t conn = d->left;

    d->left = 0;
    return conn;
}
