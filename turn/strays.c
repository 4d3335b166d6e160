/*
 * Two choices: a five-tuple has two buckets of 16 entries, by two halves of its hash, and goes into the emptier one; so with
 * half as many entries again as there is room for, none of them is ever full in practice.
 *
 * An entry is three words: the tag (64 bits of a keyed hash; 0: free, 1: being written), the session, and where it is. Who
 * adds takes a free entry by compare-and-swap of its tag, writes the rest and then the tag.  Who reads sees, at worst, the
 * session of one and the place of another if the entry changes hands just then; there nobody has that session at that place.
 */
#include "turn/strays.h"

#include "stun/base/error.h"
#include "stun/base/hash.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { BUCKET = 16, FREE = 0, BUSY = 1, MAX_SLOT = 0xFFFFFF };

struct entry {
    _Atomic uint64_t tag, session;
    _Atomic uint64_t at; /* worker(8) slot(24) until(32, seconds) */
};

struct ph_strays {
    struct ph_hash_key key;
    uint32_t buckets;
    _Atomic uint32_t n;
    struct entry entry[];
};

struct ph_strays *ph_strays_new(uint32_t room, const struct ph_env *env)
{
    const uint64_t buckets = ((uint64_t)room * 3 / 2) / BUCKET + 1;
    struct ph_strays *s = calloc(1, sizeof *s + (size_t)buckets * BUCKET * sizeof(struct entry));

    if (!s)
        return NULL;
    s->buckets = (uint32_t)buckets;
    env->rand(env->ctx, &s->key, sizeof s->key);
    return s;
}

void ph_strays_free(struct ph_strays *s)
{
    free(s);
}

/* Where a five-tuple may be. */
struct spot {
    struct entry *bucket[2];
    uint64_t tag;
};

static struct spot spot_of(const struct ph_strays *s, const struct ph_addr *client,
                           uint32_t listener)
{
    const struct {
        struct ph_addr client;
        uint32_t listener;
    } t = {*client, listener};
    const uint64_t h = ph_hash(&s->key, &t, sizeof t);
    const uint32_t a = (uint32_t)h % s->buckets, b = (uint32_t)(h >> 32) % s->buckets;
    /* An array of atomics in what is const to whoever only looks. */
    struct entry *v = (struct entry *)(uintptr_t)s->entry;

    return (struct spot){.bucket = {v + (size_t)a * BUCKET, v + (size_t)b * BUCKET},
                         .tag = h > BUSY ? h : h + 2};
}

/* Whole seconds. */
static uint32_t seconds(ph_ns at)
{
    const ph_ns s = at <= 0 ? 0 : at / PH_SEC(1);
    return s < UINT32_MAX ? (uint32_t)s : UINT32_MAX;
}

static uint64_t pack(const struct ph_stray *at, ph_ns until)
{
    /* The last second is a whole one: too late does no harm. */
    const ph_ns end = until > PH_NEVER - PH_SEC(1) ? until : until + PH_SEC(1) - 1;
    return (uint64_t)at->worker << 56 | (uint64_t)at->slot << 32 | seconds(end);
}

/* A free entry of a bucket, NULL: none; *used counts the others. */
static struct entry *free_entry(struct entry *bucket, unsigned *used)
{
    struct entry *e = NULL;

    *used = 0;
    for (unsigned i = 0; i < BUCKET; i++) {
        if (atomic_load(&bucket[i].tag) == FREE)
            e = e ? e : &bucket[i];
        else
            ++*used;
    }
    return e;
}

/* A free entry in the emptier bucket, taken.  NULL: none. */
static struct entry *seize(const struct spot *at)
{
    for (;;) {
        unsigned used[2];
        struct entry *e[2] = {free_entry(at->bucket[0], &used[0]),
                              free_entry(at->bucket[1], &used[1])};
        struct entry *place = e[used[1] < used[0]];
        uint64_t none = FREE;
        if (!place)
            return NULL;
        if (atomic_compare_exchange_strong(&place->tag, &none, BUSY))
            return place;
    }
}

int ph_strays_add(struct ph_strays *s, const struct ph_addr *client, uint32_t listener,
                  const struct ph_stray *at, ph_ns until)
{
    const struct spot spot = spot_of(s, client, listener);

    if (at->slot > MAX_SLOT)
        return PH_E_LIMIT;
    ph_strays_del(s, client, listener); /* where it was before */
    struct entry *e = seize(&spot);
    if (!e)
        return PH_E_LIMIT;
    atomic_store(&e->session, at->session);
    atomic_store(&e->at, pack(at, until));
    atomic_store(&e->tag, spot.tag);
    atomic_fetch_add(&s->n, 1);
    return 0;
}

bool ph_strays_find(const struct ph_strays *s, const struct ph_addr *client, uint32_t listener,
                    struct ph_stray *at, ph_ns now)
{
    const struct spot spot = spot_of(s, client, listener);

    for (unsigned i = 0; i < 2 * BUCKET; i++) {
        struct entry *e = &spot.bucket[i / BUCKET][i % BUCKET];
        if (atomic_load(&e->tag) != spot.tag)
            continue;
        const uint64_t session = atomic_load(&e->session), where = atomic_load(&e->at);
        if (seconds(now) >= (uint32_t)where)
            continue;
        *at = (struct ph_stray){.worker = (uint8_t)(where >> 56),
                                .slot = (uint32_t)(where >> 32) & MAX_SLOT,
                                .session = session};
        return true;
    }
    return false;
}

void ph_strays_del(struct ph_strays *s, const struct ph_addr *client, uint32_t listener)
{
    const struct spot spot = spot_of(s, client, listener);

    for (unsigned i = 0; i < 2 * BUCKET; i++) {
        uint64_t tag = spot.tag;
        if (atomic_compare_exchange_strong(&spot.bucket[i / BUCKET][i % BUCKET].tag, &tag, FREE))
            atomic_fetch_sub(&s->n, 1);
    }
}

uint32_t ph_strays_count(const struct ph_strays *s)
{
    return atomic_load_explicit(&s->n, memory_order_relaxed);
}
