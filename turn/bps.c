/*
 * The controller.  Time is cut into windows of a tenth of a second.  In each, sessions that were refused something by
 * their share count as heavy, the others as light, with the bytes they wanted.  When a window is over, whoever sends
 * the first packet of the next one computes the share anew:
 *
 *     share = (capacity - what the light ones wanted) / number of heavy ones,  but at least capacity / all
 *
 * Starting from capacity / all this climbs to the max-min fair share in as many windows as there are levels of demand, and
 * stays there.  With nobody heavy the share doubles until there is none.
 *
 * All that is shared are atomic words.  The tally of a window may miss a packet that is counted while it ends; that is
 * less than what the estimate is good for.
 */
#include "turn/bps.h"

#include <stdatomic.h>
#include <stdlib.h>

enum {
    TALLIES = 4,
    PER_SECOND = 10,    /* windows */
    FORGET = PER_SECOND /* windows of silence after which nothing is known */
};

static const ph_ns window_span = PH_SEC(1) / PER_SECOND;

/* Beyond this a bound is none: it keeps products of bytes and nanoseconds within 64 bits. */
static const uint64_t most = 10000000000u;

struct tally {
    _Atomic uint64_t light; /* bytes that light sessions wanted */
    _Atomic uint32_t active, heavy;
};

struct way {
    _Atomic uint64_t share; /* bytes a second, UINT64_MAX: no bound */
    _Atomic uint64_t clock; /* window(32) | count of tallies begun(32) */
    struct tally tally[TALLIES];
};

struct ph_bps {
    _Atomic uint64_t capacity;
    struct way way[2];
};

struct ph_bps *ph_bps_new(uint64_t capacity)
{
    struct ph_bps *b = calloc(1, sizeof *b);

    if (!b)
        return NULL;
    for (unsigned i = 0; i < 2; i++)
        atomic_init(&b->way[i].share, UINT64_MAX);
    ph_bps_set_capacity(b, capacity);
    return b;
}

void ph_bps_free(struct ph_bps *b)
{
    free(b);
}

void ph_bps_set_capacity(struct ph_bps *b, uint64_t capacity)
{
    atomic_store_explicit(&b->capacity, capacity < most ? capacity : most, memory_order_relaxed);
}

uint64_t ph_bps_share(const struct ph_bps *b, enum ph_bps_way way)
{
    if (!atomic_load_explicit(&b->capacity, memory_order_relaxed))
        return UINT64_MAX;
    return atomic_load_explicit(&b->way[way].share, memory_order_relaxed);
}

/* ---- a bucket ---- */

struct bucket {
    int64_t *tokens;
    ph_ns *at;
};

/* Earns what has come in since the last time, up to `depth` bytes. */
static void fill(struct bucket k, uint64_t rate, int64_t depth, ph_ns now)
{
    uint64_t need = *k.tokens < depth ? (uint64_t)(depth - *k.tokens) : 0;
    uint64_t span = now > *k.at ? (uint64_t)(now - *k.at) : 0;

    if (span >= need * PH_SEC(1) / rate) {
        *k.tokens = depth;
        *k.at = now;
        return;
    }
    uint64_t earned = span * rate; /* in bytes of 10^-9 */
    *k.tokens += (int64_t)(earned / PH_SEC(1));
    *k.at = now - (ph_ns)(earned % PH_SEC(1) / rate); /* the rest of a byte is not lost */
}

/* A packet larger than the bucket passes when that is full, and leaves a debt: everything passes in the end. */
static bool affords(const int64_t *tokens, int64_t depth, uint32_t n)
{
    return *tokens >= (n < depth ? n : depth);
}

/* ---- the controller ---- */

static uint64_t share_of(uint64_t share, uint64_t capacity, const struct tally *t)
{
    uint64_t per_window = capacity / PER_SECOND;
    uint64_t light = atomic_load_explicit(&t->light, memory_order_relaxed);
    uint32_t heavy = atomic_load_explicit(&t->heavy, memory_order_relaxed);
    uint32_t active = atomic_load_explicit(&t->active, memory_order_relaxed);
    uint64_t even = capacity / (active ? active : 1), next;

    if (heavy) {
        next = light < per_window ? (per_window - light) * PER_SECOND / heavy : 0;
        /* Light sessions come in bursts: half of the way at once evens that out. */
        next = share == UINT64_MAX ? next : share / 2 + next / 2;
    } else if (light <= per_window) {
        return share >= capacity / 2 ? UINT64_MAX : share * 2;
    } else {
        next = share == UINT64_MAX ? even
                                   : (uint64_t)((double)share * (double)per_window / (double)light);
    }
    next = next > even ? next : even;
    return next ? next : 1;
}

static void begin_window(struct ph_bps *b, struct way *y, uint64_t was, uint32_t window)
{
    uint64_t capacity = atomic_load_explicit(&b->capacity, memory_order_relaxed);
    uint64_t share = atomic_load_explicit(&y->share, memory_order_relaxed);
    uint32_t seq = (uint32_t)was;
    bool known = was && window - (uint32_t)(was >> 32) < FORGET;

    share = known ? share_of(share, capacity, &y->tally[seq % TALLIES]) : UINT64_MAX;
    atomic_store_explicit(&y->share, share, memory_order_relaxed);
    /* The next window counts in seq + 1; this is for the one behind it. */
    struct tally *t = &y->tally[(seq + 2) % TALLIES];
    atomic_store_explicit(&t->light, 0, memory_order_relaxed);
    atomic_store_explicit(&t->active, 0, memory_order_relaxed);
    atomic_store_explicit(&t->heavy, 0, memory_order_relaxed);
}

/* The tally to count in: begins a new window if it is time.  A worker whose clock is a little behind goes along. */
static uint32_t current(struct ph_bps *b, struct way *y, ph_ns now)
{
    uint32_t window = (uint32_t)(now / window_span) + 1;
    uint64_t clock = atomic_load_explicit(&y->clock, memory_order_relaxed);

    while ((int32_t)(window - (uint32_t)(clock >> 32)) > 0) {
        uint64_t next = (uint64_t)window << 32 | (uint32_t)((uint32_t)clock + 1);
        if (atomic_compare_exchange_weak(&y->clock, &clock, next)) {
            begin_window(b, y, clock, window);
            return (uint32_t)next;
        }
    }
    return (uint32_t)clock;
}

/* What a session may have of the capacity.  Counts what it wants. */
static bool take_share(struct ph_bps *b, struct ph_bps_session *s, enum ph_bps_way way, uint32_t n,
                       ph_ns now)
{
    struct way *y = &b->way[way];
    uint32_t seq = current(b, y, now);
    struct tally *t = &y->tally[seq % TALLIES];
    uint64_t share = atomic_load_explicit(&y->share, memory_order_relaxed);
    struct bucket k = {&s->share[way], &s->share_at[way]};
    bool ok = true;

    if (s->window[way] != seq) {
        s->window[way] = seq;
        s->wanted[way] = 0;
        s->heavy[way] = false;
        atomic_fetch_add_explicit(&t->active, 1, memory_order_relaxed);
    }
    if (share == UINT64_MAX) {
        s->share[way] = 0;
        s->share_at[way] = now;
    } else {
        int64_t depth = (int64_t)(share / 2) + 1; /* bursts of half a second */
        if (!s->share_at[way]) {
            s->share[way] = (int64_t)(share / PER_SECOND);
            s->share_at[way] = now;
        }
        fill(k, share, depth, now);
        ok = affords(k.tokens, depth, n);
        s->share[way] -= ok ? n : 0;
    }
    if (!ok && !s->heavy[way]) {
        s->heavy[way] = true;
        atomic_fetch_add_explicit(&t->heavy, 1, memory_order_relaxed);
        atomic_fetch_sub_explicit(&t->light, s->wanted[way], memory_order_relaxed);
    } else if (!s->heavy[way]) {
        s->wanted[way] += n;
        atomic_fetch_add_explicit(&t->light, n, memory_order_relaxed);
    }
    return ok;
}

bool ph_bps_take(struct ph_bps *b, struct ph_bps_session *s, enum ph_bps_way way, uint64_t own,
                 uint32_t n, ph_ns now)
{
    uint64_t rate = own < most ? own : most;
    int64_t depth = (int64_t)rate; /* a second's worth */
    struct bucket k = {&s->tokens[way], &s->at[way]};

    if (rate) {
        if (!s->at[way]) {
            s->tokens[way] = depth;
            s->at[way] = now;
        }
        fill(k, rate, depth, now);
        if (!affords(k.tokens, depth, n))
            return false; /* what its own bound refuses is not wanted of the capacity */
    }
    if (b && atomic_load_explicit(&b->capacity, memory_order_relaxed) &&
        !take_share(b, s, way, n, now))
        return false;
    s->tokens[way] -= rate ? n : 0;
    return true;
}
