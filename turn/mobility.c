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
 * A ticket of another worker: the allocation is to come here (PH_ELSEWHERE, then detach there and attach here).  The
 * relay sockets come with it; the five-tuple that was left does not.
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

/* The slot of a ticket's allocation, or PH__NONE. */
static uint32_t find(const struct ph_turnd *d, uint64_t serial)
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
    const struct ph_ticket t = {.worker = d->c.worker, .slot = slot, .serial = a->mobile->serial};
    /* With OAuth a name is that of a key, which many have: there the token is the user. */
    const bool oauth = a->user && a->user->oauth;
    ph_ticket_make(ticket, d->c.ticket_key, &t,
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
    d->stats.moved++;
    return 0;
}

/* Whether this very packet has been elsewhere already, or must go there. */
static int not_here(struct ph__req *r, const struct ph_ticket *t)
{
    if (r->a || r->final || t->worker == r->d->c.worker)
        return ph__reply_error(r, 437);
    r->d->elsewhere.worker = t->worker;
    r->d->elsewhere.fetch = true;
    r->d->elsewhere.slot = t->slot;
    r->d->elsewhere.serial = t->serial;
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
    if (ph_ticket_read(&t, d->c.ticket_key, bytes, r->oauth ? r->id : r->name,
                       realm_of_request(r))) {
        /* A new token has come with the ticket of the old one, where the allocation is: there it needs none. */
        if (r->oauth && r->a && r->a->mobile)
            return PH_CONSUMED;
        /* Made up, or another user's: the two are not told apart. */
        return ph__reply_error(r, 441);
    }
    uint32_t slot = find(d, t.serial);
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
    r->slot = slot;
    r->a = a;
    return PH_CONSUMED;
}

uint8_t ph_turnd_elsewhere(const struct ph_turnd *d, bool *fetch, uint32_t *slot, uint64_t *serial)
{
    *fetch = d->elsewhere.fetch;
    *slot = d->elsewhere.slot;
    *serial = d->elsewhere.serial;
    return d->elsewhere.worker;
}

uint32_t ph_turnd_left(struct ph_turnd *d)
{
    uint32_t conn = d->left;

    d->left = 0;
    return conn;
}

/* An allocation between two cores.  The user record stays with the core; what is needed for another is here. */
struct ph_turnd_moved {
    struct ph__alloc a;   /* owns its permissions, channels, bounds, tickets, ports and quota */
    bool of_server;       /* it counts in the server's quota, not in one of its realm */
    bool has_user, oauth; /* what follows is as in ph__user */
    uint32_t max_allocations;
    uint64_t max_bps;
    int64_t expires_s;
    struct ph_key key;
    uint16_t id_at, id_n, name_n, realm_n;
    uint8_t text[]; /* user name, then the realm's */
};

/* Who quotas count, as ph__user_id has it. */
static struct ph_slice moved_id(const struct ph_turnd_moved *m)
{
    return m->oauth ? ph__key_id(&m->key) : (struct ph_slice){m->text + m->id_at, m->id_n};
}

static struct ph_turnd_moved *moved_new(const struct ph_turnd *d, const struct ph__alloc *a)
{
    struct ph_slice name = ph__user_name(a->user), realm = ph__user_realm(a->user);
    struct ph_turnd_moved *m = malloc(sizeof *m + name.n + realm.n);

    if (!m)
        return NULL;
    *m = (struct ph_turnd_moved){.a = *a, .has_user = a->user != NULL};
    m->a.user = NULL;
    m->of_server = ph__realm_quota(d, a->realm) == d->c.quota;
    if (a->user) {
        const struct ph__user *u = a->user;
        m->oauth = u->oauth;
        m->max_allocations = u->max_allocations;
        m->max_bps = u->max_bps;
        m->expires_s = u->expires_s;
        m->key = u->key;
        m->id_at = u->id_at;
        m->id_n = u->id_n;
        m->name_n = u->n;
        m->realm_n = (uint16_t)realm.n;
        memcpy(m->text, name.p, name.n);
        if (realm.n)
            memcpy(m->text + name.n, realm.p, realm.n);
    }
    return m;
}

/* Frees the box, its contents being taken care of. */
static void moved_done(struct ph_turnd_moved *m)
{
    ph_wipe(&m->key, sizeof m->key);
    free(m);
}

struct ph_turnd_moved *ph_turnd_detach(struct ph_turnd *d, uint32_t slot, uint64_t serial,
                                       uint32_t sock[static 2], ph_ns now)
{
    (void)now;
    if (find(d, serial) != slot || slot == PH__NONE)
        return NULL;
    struct ph__alloc *a = ph__alloc_at(d, slot);
    if (a->state != PH__UP || a->queued_event || a->queued_output || ph__tcp_busy(a))
        return NULL;
    struct ph_turnd_moved *m = moved_new(d, a);
    if (!m)
        return NULL;
    for (unsigned i = 0; i < 2; i++)
        sock[i] = a->leg[i].state == PH__LEG_UP ? ph__relay_sock(slot, i) : 0;
    a->counted = false; /* the quota goes with it */
    ph__alloc_unlink(d, slot);
    ph__user_put(d, a->user);
    ph__alloc_forget(d, slot);
    return m;
}

/* The realm in this core that has the name of m's.  0 or PH_E_MISSING. */
static int moved_realm(const struct ph_turnd *d, const struct ph_turnd_moved *m, uint8_t *realm)
{
    const struct ph_slice name = {m->text + m->name_n, m->realm_n};

    *realm = m->a.realm;
    return m->has_user ? ph__realm_named(d, name, realm) : 0;
}

static struct ph__user *moved_user(struct ph_turnd *d, const struct ph_turnd_moved *m,
                                   uint8_t realm)
{
    const struct ph__req r = {
        .d = d,
        .name = {m->text, m->name_n},
        .id = moved_id(m),
        .key = m->key,
        .realm = realm,
        .max_allocations = m->max_allocations,
        .max_bps = m->max_bps,
        .expires_s = m->expires_s,
        .oauth = m->oauth,
    };
    return ph__user_get(d, &r);
}

/* Its place in the quota, which a reload on the way may have made another one. */
static void move_quota(const struct ph_turnd *d, const struct ph_turnd_moved *m,
                       struct ph__alloc *a)
{
    struct ph_quota *quota = ph__realm_quota(d, a->realm);

    if (!a->counted || m->of_server == (quota == d->c.quota))
        return;
    if (m->of_server)
        ph_quota_release(d->c.quota, moved_id(m));
    if (quota)
        ph_quota_carry(quota, moved_id(m));
    a->counted = quota != NULL;
}

/* Lets its tickets lead to a slot.  0 or PH_E_NOMEM. */
static int link_serials(struct ph_turnd *d, const struct ph__mobile *m, uint32_t slot)
{
    if (ph_map_add(&d->by_serial, m->serial, slot))
        return PH_E_NOMEM;
    if (m->before && ph_map_add(&d->by_serial, m->before, slot)) {
        ph_map_del(&d->by_serial, m->serial, slot);
        return PH_E_NOMEM;
    }
    return 0;
}

int ph_turnd_attach(struct ph_turnd *d, struct ph_turnd_moved *m, uint32_t sock[static 2],
                    ph_ns now)
{
    uint32_t slot;
    uint8_t realm;

    if (moved_realm(d, m, &realm))
        return PH_E_LIMIT; /* a reload has taken its realm away */
    struct ph__user *u = m->has_user ? moved_user(d, m, realm) : NULL;
    int err = m->has_user && !u ? PH_E_NOMEM : ph__alloc_adopt(d, &m->a, &slot);
    if (!err && (err = link_serials(d, m->a.mobile, slot)) != 0) {
        ph_heap_set(&d->expiry, slot, PH_NEVER);
        ph__alloc_forget(d, slot);
        d->count--;
    }
    if (err) {
        ph__user_put(d, u);
        return err;
    }
    struct ph__alloc *a = ph__alloc_at(d, slot);
    a->user = u;
    a->realm = realm;
    a->auth_epoch = d->auth_epoch - 1; /* reloads are counted otherwise here */
    move_quota(d, m, a);
    ph__live_take_over(d, slot, now);
    for (unsigned i = 0; i < 2; i++)
        sock[i] = a->leg[i].state == PH__LEG_UP ? ph__relay_sock(slot, i) : 0;
    moved_done(m);
    return 0;
}

void ph_turnd_moved_free(struct ph_turnd *d, struct ph_turnd_moved *m)
{
    uint8_t realm = 0;

    if (!m)
        return;
    bool known = m->of_server || moved_realm(d, m, &realm) == 0;
    struct ph_quota *quota = m->of_server ? d->c.quota : ph__realm_quota(d, realm);
    if (m->a.counted && known && quota)
        ph_quota_release(quota, moved_id(m));
    for (unsigned i = 0; i < 2; i++)
        ph__leg_release(d, &m->a.leg[i]);
    free(m->a.perm);
    free(m->a.chan);
    ph__bound_free(&m->a);
    ph__tcp_free(&m->a);
    ph__mobile_free(&m->a);
    moved_done(m);
}
