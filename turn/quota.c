/*
 * The user table: windows of 16 words found by hash.  A word is {48 bits of hash, 16 bits of count}; it is
 * changed by compare-and-swap alone.  Count 0 means free, so there is nothing to clean up.
 *
 * Two workers may insert one new user at the same moment in two words of its window.  Whoever sees a second word
 * with its hash adds both counts, so the sum is what is compared with the limit.
 */
#include "turn/quota.h"

#include "stun/base/error.h"
#include "stun/base/hash.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

enum { WINDOW = 16, DEFAULT_USERS = 65536, COUNT_BITS = 16, COUNT_MASK = 0xFFFF };

struct ph_quota {
    uint32_t total, per_user;
    _Atomic uint32_t used;
    struct ph_hash_key key;
    uint32_t windows;
    _Atomic uint64_t word[];
};

struct ph_quota *ph_quota_new(uint32_t total, uint32_t per_user, uint32_t users,
                              const struct ph_env *env)
{
    uint32_t windows = per_user ? ((users ? users : DEFAULT_USERS) + WINDOW - 1) / WINDOW : 0;
    struct ph_quota *q = calloc(1, sizeof *q + (size_t)windows * WINDOW * sizeof q->word[0]);

    if (!q)
        return NULL;
    q->total = total;
    q->per_user = per_user > COUNT_MASK ? COUNT_MASK : per_user;
    q->windows = windows;
    env->rand(env->ctx, &q->key, sizeof q->key);
    return q;
}

void ph_quota_free(struct ph_quota *q)
{
    free(q);
}

/* The window of a user, and the tag its words carry in their upper 48 bits. */
static _Atomic uint64_t *window_of(struct ph_quota *q, struct ph_slice user, uint64_t *tag)
{
    uint64_t h = ph_hash(&q->key, user.p, user.n);
    *tag = h & ~(uint64_t)COUNT_MASK;
    return &q->word[(size_t)((uint32_t)(h >> 16) % q->windows) * WINDOW];
}

/* Allocations of a tag in its window, and a word to count the next one in (NULL: the window is full). */
static uint32_t count(_Atomic uint64_t *w, uint64_t tag, _Atomic uint64_t **place)
{
    uint32_t sum = 0;
    _Atomic uint64_t *own = NULL, *empty = NULL;

    for (int i = 0; i < WINDOW; i++) {
        uint64_t v = atomic_load(&w[i]);
        if ((v & COUNT_MASK) == 0) {
            empty = empty ? empty : &w[i];
        } else if ((v & ~(uint64_t)COUNT_MASK) == tag) {
            own = own ? own : &w[i];
            sum += (uint32_t)(v & COUNT_MASK);
        }
    }
    *place = own ? own : empty;
    return sum;
}

/* Adds one to a word of the tag (or a free one).  False: it changed hands meanwhile, look again. */
static bool add_one(_Atomic uint64_t *place, uint64_t tag)
{
    uint64_t v = atomic_load(place);
    do {
        uint64_t n = v & COUNT_MASK;
        if ((n && (v & ~(uint64_t)COUNT_MASK) != tag) || n == COUNT_MASK)
            return false;
    } while (!atomic_compare_exchange_weak(place, &v, tag | ((v & COUNT_MASK) + 1)));
    return true;
}

static bool sub_one(_Atomic uint64_t *w, uint64_t tag)
{
    for (int i = 0; i < WINDOW; i++) {
        uint64_t v = atomic_load(&w[i]);
        while ((v & COUNT_MASK) && (v & ~(uint64_t)COUNT_MASK) == tag)
            if (atomic_compare_exchange_weak(&w[i], &v, v - 1))
                return true;
    }
    return false;
}

static int take_user(struct ph_quota *q, struct ph_slice user)
{
    uint64_t tag;
    _Atomic uint64_t *w = window_of(q, user, &tag), *place;

    for (;;) {
        if (count(w, tag, &place) >= q->per_user || !place)
            return PH_E_LIMIT;
        if (add_one(place, tag))
            break;
    }
    /* Another worker may have added at the same moment: if together they passed the limit, step back. */
    if (count(w, tag, &place) > q->per_user) {
        sub_one(w, tag);
        return PH_E_LIMIT;
    }
    return 0;
}

int ph_quota_take(struct ph_quota *q, struct ph_slice user)
{
    uint32_t before = atomic_fetch_add(&q->used, 1);
    int err = q->total && before >= q->total ? PH_E_LIMIT : 0;

    if (!err && q->windows)
        err = take_user(q, user);
    if (err)
        atomic_fetch_sub(&q->used, 1);
    return err;
}

void ph_quota_release(struct ph_quota *q, struct ph_slice user)
{
    atomic_fetch_sub(&q->used, 1);
    if (q->windows) {
        uint64_t tag;
        _Atomic uint64_t *w = window_of(q, user, &tag);
        sub_one(w, tag);
    }
}

uint32_t ph_quota_used(const struct ph_quota *q)
{
    return atomic_load_explicit(&q->used, memory_order_relaxed);
}
