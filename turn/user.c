/*
 * Who holds allocations.  A name and its key are kept once, however many allocations a user has; requests on
 * a standing allocation are checked with the key kept here, without another look-up.
 */
#include "turn/server_priv.h"

#include <stdlib.h>
#include <string.h>

static bool same(const struct ph__user *u, struct ph_slice name, const struct ph_key *key)
{
    return u->n == name.n && memcmp(u->name, name.p, name.n) == 0 && u->key.n == key->n &&
           u->key.alg == key->alg && ph_equal_ct(u->key.b, key->b, key->n);
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

static struct ph__user *add(struct ph_turnd *d, struct ph_slice name, struct ph_slice id,
                            const struct ph_key *key, uint64_t hash)
{
    uint32_t slot = place(d);
    struct ph__user *u = slot == PH__NONE ? NULL : malloc(sizeof *u + name.n);
    if (!u)
        return NULL;
    *u = (struct ph__user){.slot = slot, .hash = hash, .key = *key, .n = (uint16_t)name.n};
    if (name.n)
        memcpy(u->name, name.p, name.n);
    u->id_at = id.n ? (uint16_t)(id.p - name.p) : 0;
    u->id_n = (uint16_t)id.n;
    if (ph_map_add(&d->by_user, hash, slot)) {
        free(u);
        return NULL;
    }
    d->user[slot] = u;
    d->user_free = slot + 1;
    return u;
}

struct ph__user *ph__user_get(struct ph_turnd *d, struct ph_slice name, struct ph_slice id,
                              const struct ph_key *key)
{
    uint64_t hash = ph_hash(&d->hash_key, name.p, name.n);
    struct ph__user *u = NULL;

    struct ph_map_it it = ph_map_find(&d->by_user, hash);
    for (; it.slot != PH_MAP_NONE && !u; it = ph_map_next(&d->by_user, it))
        if (same(d->user[it.slot], name, key))
            u = d->user[it.slot];
    if (!u)
        u = add(d, name, id, key, hash);
    if (u)
        u->refs++;
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

struct ph_slice ph__user_id(const struct ph__user *u)
{
    return u ? (struct ph_slice){u->name + u->id_at, u->id_n} : (struct ph_slice){NULL, 0};
}
