/*
 * Permissions (RFC 8656 9) and channels (RFC 8656 12) of one allocation.
 *
 * Both are short arrays searched from the front: an allocation talks to a handful of peers, and a compare of 16
 * bytes is cheaper than a hash.  Expired entries are overwritten; nothing needs a timer.
 */
#include "turn/server_priv.h"

#include "stun/base/error.h"

#include <stdlib.h>
#include <string.h>

static bool is_ip(const struct ph__perm *p, const struct ph_addr *peer)
{
    return memcmp(p->ip, peer->ip, sizeof p->ip) == 0 && p->family == peer->family;
}

struct ph__perm *ph__perm_find(const struct ph__alloc *a, const struct ph_addr *peer, ph_ns now)
{
    for (unsigned i = 0; i < a->n_perm; i++)
        if (is_ip(&a->perm[i], peer))
            return now < a->perm[i].expires_at ? &a->perm[i] : NULL;
    return NULL;
}

/* The next size of an array that is full: it starts at 1, as most allocations have one peer. */
static uint16_t grown(uint16_t cap, uint16_t max)
{
    unsigned next = cap ? cap * 2u : 1;
    return next > max ? max : (uint16_t)next;
}

/* An entry for a new permission: an expired one, or one more. */
static struct ph__perm *perm_place(struct ph_turnd *d, struct ph__alloc *a, ph_ns now, int *err)
{
    for (unsigned i = 0; i < a->n_perm; i++)
        if (now >= a->perm[i].expires_at)
            return &a->perm[i];
    *err = PH_E_LIMIT;
    if (a->n_perm == d->c.max_permissions)
        return NULL;
    if (a->n_perm == a->cap_perm) {
        uint16_t cap = grown(a->cap_perm, d->c.max_permissions);
        struct ph__perm *v = realloc(a->perm, cap * sizeof *v);
        *err = PH_E_NOMEM;
        if (!v)
            return NULL;
        a->perm = v;
        a->cap_perm = cap;
    }
    return &a->perm[a->n_perm++];
}

int ph__perm_set(struct ph_turnd *d, struct ph__alloc *a, const struct ph_addr *peer, ph_ns now)
{
    struct ph__perm fresh = {.expires_at = now + PH_SEC(d->c.permission_lifetime_s)}, *p = NULL;
    int err = ph__peer_check(d, a->realm, peer, &fresh);

    if (err)
        return err;
    for (unsigned i = 0; i < a->n_perm && !p; i++)
        if (is_ip(&a->perm[i], peer))
            p = &a->perm[i];
    if (!p)
        p = perm_place(d, a, now, &err);
    if (!p)
        return err;
    *p = fresh;
    return ph__pool_permit(d, a, p, now);
}

bool ph__perm_room(const struct ph_turnd *d, struct ph__alloc *a, const struct ph_addr *peers,
                   unsigned n, ph_ns now)
{
    unsigned live = 0, fresh = 0;

    for (unsigned i = 0; i < a->n_perm; i++)
        live += now < a->perm[i].expires_at;
    for (unsigned i = 0; i < n; i++) {
        bool seen = ph__perm_find(a, &peers[i], now) != NULL;
        for (unsigned k = 0; k < i && !seen; k++)
            seen = ph_addr_eq_ip(&peers[k], &peers[i]);
        fresh += !seen;
    }
    return live + fresh <= d->c.max_permissions;
}

struct ph__chan *ph__chan_by_number(const struct ph__alloc *a, uint16_t number, ph_ns now)
{
    for (unsigned i = 0; i < a->n_chan; i++)
        if (a->chan[i].number == number)
            return now < a->chan[i].expires_at ? &a->chan[i] : NULL;
    return NULL;
}

struct ph__chan *ph__chan_by_peer(const struct ph__alloc *a, const struct ph_addr *peer, ph_ns now)
{
    for (unsigned i = 0; i < a->n_chan; i++)
        if (ph_addr_eq_endpoint(&a->chan[i].peer, peer) && now < a->chan[i].expires_at)
            return &a->chan[i];
    return NULL;
}

/* The entry of a number, live or not; an expired one; or one more. */
static struct ph__chan *chan_place(struct ph_turnd *d, struct ph__alloc *a, uint16_t number,
                                   ph_ns now)
{
    struct ph__chan *old = NULL;

    for (unsigned i = 0; i < a->n_chan; i++) {
        if (a->chan[i].number == number)
            return &a->chan[i];
        if (now >= a->chan[i].expires_at)
            old = &a->chan[i];
    }
    if (old || a->n_chan == d->c.max_channels)
        return old;
    if (a->n_chan == a->cap_chan) {
        uint16_t cap = grown(a->cap_chan, d->c.max_channels);
        struct ph__chan *v = realloc(a->chan, cap * sizeof *v);
        if (!v)
            return NULL;
        a->chan = v;
        a->cap_chan = cap;
    }
    a->chan[a->n_chan] = (struct ph__chan){.expires_at = now};
    return &a->chan[a->n_chan++];
}

int ph__chan_set(struct ph_turnd *d, struct ph__alloc *a, uint16_t number,
                 const struct ph_addr *peer, ph_ns now)
{
    if (!ph__perm_room(d, a, peer, 1, now))
        return PH_E_LIMIT;
    struct ph__chan *c = chan_place(d, a, number, now);
    if (!c)
        return PH_E_LIMIT;
    /* RFC 8656 12: binding a channel also installs or refreshes the permission. */
    int err = ph__perm_set(d, a, peer, now);
    if (!err)
        *c = (struct ph__chan){
            .number = number, .peer = *peer, .expires_at = now + PH_SEC(d->c.channel_lifetime_s)};
    return err;
}
