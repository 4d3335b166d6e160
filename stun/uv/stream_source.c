/*
 * The table behind source_priv.h: places found by a keyed hash, free ones in a list.
 */
#include "stun/uv/source_priv.h"

#include <stdlib.h>
#include <string.h>

void ph__sources_init(struct ph__sources *t, const struct ph_env *env)
{
    *t = (struct ph__sources){.free = PH__SOURCE_NONE};
    ph_map_init(&t->map);
    env->rand(env->ctx, &t->key, sizeof t->key);
}

void ph__sources_fini(struct ph__sources *t)
{
    ph_map_fini(&t->map);
    free(t->v);
}

static struct ph_addr key_of(const struct ph_addr *a)
{
    struct ph_addr k = {.family = a->family};

    memcpy(k.ip, a->ip, a->family == PH_AF_INET6 ? 8 : 4);
    return k;
}

/* A free place, or PH__SOURCE_NONE. */
static uint32_t place(struct ph__sources *t)
{
    const uint32_t at = t->free;

    if (at != PH__SOURCE_NONE) {
        t->free = t->v[at].next;
        return at;
    }
    if (t->n == t->cap) {
        const uint32_t cap = t->cap ? 2 * t->cap : 16;
        struct ph__source *v = realloc(t->v, cap * sizeof *v);
        if (!v)
            return PH__SOURCE_NONE;
        t->v = v;
        t->cap = cap;
    }
    return t->n++;
}

static void give_back(struct ph__sources *t, uint32_t at)
{
    t->v[at].next = t->free;
    t->free = at;
}

uint32_t ph__sources_take(struct ph__sources *t, const struct ph_addr *a, uint32_t max)
{
    const struct ph_addr key = key_of(a);
    const uint64_t h = ph_hash(&t->key, &key, sizeof key);
    struct ph_map_it it = ph_map_find(&t->map, h);

    for (; it.slot != PH_MAP_NONE; it = ph_map_next(&t->map, it))
        if (ph_addr_eq(&t->v[it.slot].key, &key)) {
            if (t->v[it.slot].n >= max)
                return PH__SOURCE_NONE;
            t->v[it.slot].n++;
            return it.slot;
        }
    const uint32_t at = place(t);
    if (at == PH__SOURCE_NONE)
        return at;
    if (ph_map_add(&t->map, h, at)) {
        give_back(t, at);
        return PH__SOURCE_NONE;
    }
    t->v[at] = (struct ph__source){.key = key, .n = 1};
    return at;
}

void ph__sources_release(struct ph__sources *t, uint32_t at)
{
    if (at == PH__SOURCE_NONE || --t->v[at].n)
        return;
    ph_map_del(&t->map, ph_hash(&t->key, &t->v[at].key, sizeof t->v[at].key), at);
    give_back(t, at);
}
