/*
 * Who holds allocations.  A name and its key are kept once, however many allocations a user has; requests on
 * a standing allocation are checked with the key kept here, without another look-up.
 *
 * The record ends with the bytes of the name and behind them those of the realm: what a log says of an allocation is
 * right even after its realm has gone.
 */
#include "turn/server_priv.h"

#include <stdlib.h>
#include <string.h>

static bool same(const struct ph__user *u, const struct ph__req *r)
{
    return u->realm == r->realm && u->oauth == r->oauth && u->key.n == r->key.n &&
           u->key.alg == r->key.alg && ph_slice_eq(ph__user_name(u), r->name) &&
           ph_equal_ct(u->key.b, r->key.b, r->key.n);
}

/* A free place in the table of records, or PH__NONE. */
static uint32_t place(struct ph_turnd *d)
{
    for (uint32_t i = d->user_free; i < d->users; i++)
        if (!d->user[i])
            return i;
    if (d->users == d->users_cap) {
        uint32_t cap = d->users_cap ? d->users_cap * 2 : 16;
        struct ph__user **v = realloc(d->user, cap * sizeof(struct ph__user *));
        if (!v)
            return PH__NONE;
        d->user = v;
        d->users_cap = cap;
    }
    d->user[d->users] = NULL;
    return d->users++;
}

static void copy_text(struct ph__user *u, const struct ph__req *r, struct ph_slice realm)
{
    const uint8_t *id = r->id.p, *name = r->name.p;

    if (r->name.n)
        memcpy(u->name, name, r->name.n);
    if (realm.n)
        memcpy(u->name + r->name.n, realm.p, realm.n);
    if (r->id.n && !r->oauth) {
        u->id_at = (uint16_t)(id - name);
        u->id_n = (uint16_t)r->id.n;
    }
}

static struct ph__user *add(struct ph_turnd *d, const struct ph__req *r, uint64_t hash)
{
    const struct ph_auth *auth = ph__realm_auth(d, r->realm);
    struct ph_slice realm = auth ? ph_auth_realm(auth) : (struct ph_slice){NULL, 0};
    uint32_t slot = realm.n > UINT16_MAX ? PH__NONE : place(d);
    struct ph__user *u = slot == PH__NONE ? NULL : malloc(sizeof *u + r->name.n + realm.n);

    if (!u)
        return NULL;
    *u = (struct ph__user){.slot = slot,
                           .realm = r->realm,
                           .oauth = r->oauth,
                           .hash = hash,
                           .key = r->key,
                           .n = (uint16_t)r->name.n,
                           .realm_n = (uint16_t)realm.n};
    copy_text(u, r, realm);
    if (ph_map_add(&d->by_user, hash, slot)) {
        free(u);
        return NULL;
    }
    d->user[slot] = u;
    d->user_free = slot + 1;
    return u;
}

struct ph__user *ph__user_get(struct ph_turnd *d, const struct ph__req *r)
{
    /* All clients of one authorization server have the same name: its key's. */
    struct ph_slice who = r->oauth ? r->id : r->name;
    uint64_t hash = ph_hash(&d->hash_key, who.p, who.n);
    struct ph__user *u = NULL;

    struct ph_map_it it = ph_map_find(&d->by_user, hash);
    for (; it.slot != PH_MAP_NONE && !u; it = ph_map_next(&d->by_user, it))
        if (same(d->user[it.slot], r))
            u = d->user[it.slot];
    if (!u)
        u = add(d, r, hash);
    if (!u)
        return NULL;
    u->refs++;
    u->max_allocations = r->max_allocations; /* what was said of him last */
    u->max_bps = r->max_bps;
    u->expires_s = r->expires_s;
    return u;
}

void ph__user_put(struct ph_turnd *d, struct ph__user *u)
{
    if (!u || --u->refs)
        return;
    ph_map_del(&d->by_user, u->hash, u->slot);
    d->user[u->slot] = NULL;
    if (u->slot < d->user_free)
        d->user_free = u->slot;
    ph_wipe(&u->key, sizeof u->key);
    free(u);
}

struct ph_slice ph__user_name(const struct ph__user *u)
{
    return u ? (struct ph_slice){u->name, u->n} : (struct ph_slice){NULL, 0};
}

struct ph_slice ph__user_realm(const struct ph__user *u)
{
    return u ? (struct ph_slice){u->name + u->n, u->realm_n} : (struct ph_slice){NULL, 0};
}

struct ph_slice ph__user_id(const struct ph__user *u)
{
    if (!u)
        return (struct ph_slice){NULL, 0};
    /* All clients of an authorization server have one name, its kid: what tells them apart is the token. */
    if (u->oauth)
        return ph__key_id(&u->key);
    return (struct ph_slice){u->name + u->id_at, u->id_n};
}
