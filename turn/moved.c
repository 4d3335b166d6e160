/*
 * Allocations between two cores of one server: taken out of one (detach), put into the other (attach).
 *
 *     by its ticket    its client has come to the other worker from a new five-tuple (RFC 8016): the old one is forgotten
 *     by its session   it was restored, and its client's packets come to the other worker: the five-tuple comes with it
 *
 * Other workers find a restored one (ph_strays) until it has arrived: packets that come while it is on its way are sent
 * after it, not dropped.
 */
#include "turn/server_priv.h"

#include "stun/base/error.h"

#include <stdlib.h>
#include <string.h>

uint8_t ph_turnd_elsewhere(const struct ph_turnd *d, struct ph_turnd_where *out)
{
    *out = d->elsewhere;
    return out->worker;
}

/* ---- who is found by other workers ---- */

bool ph__stray_elsewhere(struct ph_turnd *d, const struct ph_addr *client, uint32_t listener,
                         ph_ns now)
{
    struct ph_stray at;

    if (!d->c.strays || d->final || !ph_strays_count(d->c.strays) ||
        !ph_strays_find(d->c.strays, client, listener, &at, now) || at.worker == d->c.worker)
        return false;
    d->elsewhere = (struct ph_turnd_where){
        .fetch = true, .worker = at.worker, .slot = at.slot, .session = at.session};
    return true;
}

bool ph__stray_ticket_elsewhere(struct ph_turnd *d, uint64_t serial, ph_ns now)
{
    const struct ph_addr ticket = ph_stray_ticket(serial);
    return ph__stray_elsewhere(d, &ticket, 0, now);
}

int ph__no_allocation(struct ph_turnd *d, const struct ph_pkt *p, ph_ns now)
{
    if (ph__stray_elsewhere(d, &p->src, p->sock, now))
        return PH_ELSEWHERE;
    return ph__drop_message(d, p, &d->stats.no_allocation, now);
}

void ph__stray_add(struct ph_turnd *d, uint32_t slot)
{
    struct ph__alloc *a = ph__alloc_at(d, slot);
    struct ph__mobile *m = a->mobile;
    const struct ph_stray at = {.worker = d->c.worker, .slot = slot, .session = a->session};

    if (!d->c.strays)
        return;
    a->stray =
        !a->away && ph_strays_add(d->c.strays, &a->client, a->listener, &at, a->expires_at) == 0;
    for (unsigned i = 0; m && i < 2; i++) {
        const uint64_t serial = i ? m->before : m->serial;
        const struct ph_addr ticket = ph_stray_ticket(serial);
        if (!serial || ph_strays_add(d->c.strays, &ticket, 0, &at, a->expires_at))
            continue;
        m->stray[i] = serial;
        a->stray = true;
    }
}

bool ph__stray_del(struct ph_turnd *d, struct ph__alloc *a)
{
    struct ph__mobile *m = a->mobile;

    if (!a->stray)
        return false;
    a->stray = false;
    ph_strays_del(d->c.strays, &a->client, a->listener);
    for (unsigned i = 0; m && i < 2; i++) {
        const struct ph_addr ticket = ph_stray_ticket(m->stray[i]);
        if (m->stray[i])
            ph_strays_del(d->c.strays, &ticket, 0);
    }
    return true;
}

/* ---- on the way ---- */

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

/* The slot that is meant, if what is meant is there; else PH__NONE. */
static uint32_t meant(const struct ph_turnd *d, const struct ph_turnd_where *what)
{
    const uint32_t slot = what->slot;

    if (what->serial)
        return ph__mobile_find(d, what->serial) == slot ? slot : PH__NONE;
    return what->session && ph__session_find(d, what->session) == slot ? slot : PH__NONE;
}

struct ph_turnd_moved *ph_turnd_detach(struct ph_turnd *d, const struct ph_turnd_where *what,
                                       uint32_t sock[static 2], ph_ns now)
{
    const uint32_t slot = meant(d, what);

    (void)now;
    if (slot == PH__NONE)
        return NULL;
    struct ph__alloc *a = ph__alloc_at(d, slot);
    if (a->state != PH__UP || a->queued_event || a->queued_output || ph__tcp_busy(a) ||
        a->leg[0].pool || a->leg[1].pool) /* their ports stay here */
        return NULL;
    struct ph_turnd_moved *m = moved_new(d, a);
    if (!m)
        return NULL;
    /* Its client has left for another five-tuple, unless it is fetched just for being in the wrong place. */
    m->a.away = a->away || !what->session;
    m->a.reachable = !m->a.away;
    m->a.conn = 0;
    m->a.changed = false;
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

int ph_turnd_attach(struct ph_turnd *d, struct ph_turnd_moved *m, uint32_t sock[static 2],
                    ph_ns now)
{
    uint32_t slot;
    uint8_t realm;

    if (moved_realm(d, m, &realm))
        return PH_E_LIMIT; /* a reload has taken its realm away */
    if (!m->a.away && ph__tuple_find(d, &m->a.client, m->a.listener) != PH__NONE)
        return PH_E_LIMIT; /* its client has made another one meanwhile */
    struct ph__user *u = m->has_user ? moved_user(d, m, realm) : NULL;
    int err = m->has_user && !u ? PH_E_NOMEM : ph__alloc_adopt(d, &m->a, &slot);
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
    d->stats.strays += ph__stray_del(d, a);
    ph__changed(d, slot);
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
    ph__stray_del(d, &m->a);
    for (unsigned i = 0; i < 2; i++)
        ph__leg_release(d, &m->a.leg[i]);
    free(m->a.perm);
    free(m->a.chan);
    free(m->a.usage);
    ph__bound_free(&m->a);
    ph__tcp_free(&m->a);
    ph__mobile_free(&m->a);
    moved_done(m);
}
