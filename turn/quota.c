/*
 * The user table: windows of 16 words found by hash.  A word is {48 bits of hash, 16 bits of count}; it is
 * changed by compare-and-swap alone.  Count 0 means free, so there is nothing to clean up.
 *
 * Two workers may insert one new user at the same moment in two words of its window.  Whoever sees a second word
 * with its hash adds both counts, so the sum is what is compared with the limit.
 *
 * A second table of the same shape, written by one thread, has what users hold on other servers.
 */
#include "turn/quota.h"

#include "stun/base/error.h"
#include "stun/base/hash.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

enum { WINDOW = 16, DEFAULT_USERS = 65536, COUNT_BITS = 16, COUNT_MASK = 0xFFFF };

struct ph_quota {
    _Atomic uint32_t total, per_user, used;
    _Atomic uint32_t used_elsewhere, users_elsewhere; /* allocations; words in use */
    struct ph_hash_key key;
    uint32_t windows;
    _Atomic uint64_t word[]; /* `windows` of them for here, then as many for elsewhere */
};

struct ph_quota *ph_quota_new(uint32_t total, uint32_t per_user, uint32_t users,
                              const struct ph_env *env)
{
    /* Users are counted even without a bound: one may come later, or be a user's own. */
    uint32_t windows = ((users ? users : DEFAULT_USERS) - 1) / WINDOW + 1;
    struct ph_quota *q = calloc(1, sizeof *q + (size_t)windows * 2 * WINDOW * sizeof q->word[0]);

    if (!q)
        return NULL;
    ph_quota_set(q, total, per_user);
    q->windows = windows;
    env->rand(env->ctx, &q->key, sizeof q->key);
    return q;
}

void ph_quota_set(struct ph_quota *q, uint32_t total, uint32_t per_user)
{
    atomic_store_explicit(&q->total, total, memory_order_relaxed);
    atomic_store_explicit(&q->per_user, per_user, memory_order_relaxed);
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
            if ((v & COUNT_MASK) < COUNT_MASK)
                own = &w[i]; /* a word that is full is continued in another one */
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

/* The same window in the table of what is elsewhere. */
static _Atomic uint64_t *elsewhere(const struct ph_quota *q, _Atomic uint64_t *window)
{
    return window + (size_t)q->windows * WINDOW;
}

/* How many a user may have here, if other servers have some of his. */
static uint32_t left_here(const struct ph_quota *q, _Atomic uint64_t *w, uint64_t tag,
                          uint32_t most)
{
    _Atomic uint64_t *unused;

    if (most == UINT32_MAX || !atomic_load_explicit(&q->users_elsewhere, memory_order_relaxed))
        return most;
    const uint32_t there = count(elsewhere(q, w), tag, &unused);
    return there < most ? most - there : 0;
}

/* Counts one more allocation of a user, unless he has `most` already. */
static int take_user(struct ph_quota *q, struct ph_slice user, uint32_t most)
{
    uint64_t tag;
    _Atomic uint64_t *w = window_of(q, user, &tag), *place;

    most = left_here(q, w, tag, most);
    for (;;) {
        if (count(w, tag, &place) >= most)
            return PH_E_LIMIT;
        if (!place) /* a full window: only who has a bound must be known */
            return most == UINT32_MAX ? 0 : PH_E_LIMIT;
        if (add_one(place, tag))
            break;
    }
    /* Another worker may have added at the same moment: if together they passed the limit, step back. */
    if (count(w, tag, &place) > most) {
        sub_one(w, tag);
        return PH_E_LIMIT;
    }
    return 0;
}

static int take(struct ph_quota *q, struct ph_slice user, uint32_t total, uint32_t most)
{
    uint64_t before = atomic_fetch_add(&q->used, 1);
    before += atomic_load_explicit(&q->used_elsewhere, memory_order_relaxed);
    int err = total && before >= total ? PH_E_LIMIT : take_user(q, user, most ? most : UINT32_MAX);

    if (err)
        atomic_fetch_sub(&q->used, 1);
    return err;
}

int ph_quota_take_of(struct ph_quota *q, struct ph_slice user, uint32_t own)
{
    uint32_t total = atomic_load_explicit(&q->total, memory_order_relaxed);
    uint32_t per_user = atomic_load_explicit(&q->per_user, memory_order_relaxed);
    return take(q, user, total, own ? own : per_user);
}

int ph_quota_take(struct ph_quota *q, struct ph_slice user)
{
    return ph_quota_take_of(q, user, 0);
}

void ph_quota_carry(struct ph_quota *q, struct ph_slice user)
{
    (void)take(q, user, 0, 0);
}

void ph_quota_release(struct ph_quota *q, struct ph_slice user)
{
    uint64_t tag;
    _Atomic uint64_t *w = window_of(q, user, &tag);

    atomic_fetch_sub(&q->used, 1);
    sub_one(w, tag);
}

uint32_t ph_quota_used(const struct ph_quota *q)
{
    return atomic_load_explicit(&q->used, memory_order_relaxed);
}

int ph_quota_set_elsewhere(struct ph_quota *q, struct ph_slice user, uint32_t n)
{
    uint64_t tag;
    _Atomic uint64_t *w = elsewhere(q, window_of(q, user, &tag)), *free_word = NULL;
    const uint64_t known = n < COUNT_MASK ? n : COUNT_MASK;

    for (int i = 0; i < WINDOW; i++) {
        const uint64_t v = atomic_load(&w[i]);
        if ((v & COUNT_MASK) == 0) {
            free_word = free_word ? free_word : &w[i];
        } else if ((v & ~(uint64_t)COUNT_MASK) == tag) {
            atomic_store(&w[i], tag | known);
            atomic_fetch_sub(&q->users_elsewhere, known == 0);
            return 0;
        }
    }
    if (!known)
        return 0;
    if (!free_word)
        return PH_E_LIMIT;
    atomic_store(free_word, tag | known);
    atomic_fetch_add(&q->users_elsewhere, 1);
    return 0;
}

void ph_quota_set_total_elsewhere(struct ph_quota *q, uint32_t n)
{
    atomic_store_explicit(&q->used_elsewhere, n, memory_order_relaxed);
}
