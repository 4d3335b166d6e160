/*
 * The table is an array of chains, found by keyed hash.  A record lives as long as sessions refer to it, and until somebody
 * who joins finds it spent: each looks through some chains.
 *
 * A bucket is kept as the instant when it will be full again: at most a second from now.  To take n bytes is to move it on by
 * the time in which they are earned.  So there is nothing to fill, and one word is all there is to agree on.
 */
#include "turn/userbps.h"

#include "stun/base/error.h"
#include "stun/base/hash.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { USERS = 65536, MOST_CHAINS = 1 << 23 };

static const ph_ns depth = PH_SEC(1); /* of a bucket */
static const ph_ns tell_after =
    PH_MS(50); /* sessions keep what they wanted to themselves for so long */

/* Beyond this a bound is none, as in bps.c. */
static const uint64_t most = 10000000000u;

struct way {
    _Atomic int64_t full_at;
    _Atomic uint64_t wanted; /* bytes, ever */
    _Atomic uint64_t share;  /* 0: the whole bound */
    uint64_t seen;           /* wanted when it was last looked at */
    bool busy;               /* something was wanted then */
};

struct ph_userbps_user {
    struct ph_userbps_user *next;
    struct ph_userbps *table;
    uint32_t sessions;
    struct way way[2];
    ph_ns seen_at;
    uint16_t realm_n, user_n;
    uint8_t text[]; /* realm, user */
};

struct ph_userbps {
    _Atomic uint64_t bound;
    struct ph_hash_key key;
    atomic_flag lock; /* guards chains, sessions, and what is seen */
    uint32_t mask, max, n;
    uint32_t hand; /* the next chain to look for records that nobody needs */
    struct ph_userbps_user *chain[];
};

static void lock(struct ph_userbps *u)
{
    while (atomic_flag_test_and_set_explicit(&u->lock, memory_order_acquire))
        continue;
}

static void unlock(struct ph_userbps *u)
{
    atomic_flag_clear_explicit(&u->lock, memory_order_release);
}

/* --- life ------------------------------------------------------------------------------------------ */

struct ph_userbps *ph_userbps_new(uint64_t bound, uint32_t users, const struct ph_env *env)
{
    const uint32_t max = users ? users : USERS;
    uint32_t chains = 64;

    while (chains < max && chains < MOST_CHAINS)
        chains *= 2;
    struct ph_userbps *u = calloc(1, sizeof *u + chains * sizeof u->chain[0]);
    if (!u)
        return NULL;
    u->mask = chains - 1;
    u->max = max;
    atomic_flag_clear(&u->lock);
    ph_userbps_set_bound(u, bound);
    env->rand(env->ctx, &u->key, sizeof u->key);
    return u;
}

static void free_all(struct ph_userbps_user *x)
{
    while (x) {
        struct ph_userbps_user *next = x->next;
        free(x);
        x = next;
    }
}

void ph_userbps_free(struct ph_userbps *u)
{
    for (uint32_t i = 0; u && i <= u->mask; i++)
        free_all(u->chain[i]);
    free(u);
}

void ph_userbps_set_bound(struct ph_userbps *u, uint64_t bound)
{
    atomic_store_explicit(&u->bound, bound < most ? bound : most, memory_order_relaxed);
}

uint64_t ph_userbps_bound(const struct ph_userbps *u)
{
    return atomic_load_explicit(&u->bound, memory_order_relaxed);
}

/* --- users ----------------------------------------------------------------------------------------- */

static struct ph_userbps_user **chain_of(struct ph_userbps *u, struct ph_slice realm,
                                         struct ph_slice user)
{
    uint8_t text[PH_USERBPS_REALM + 1 + PH_USERBPS_NAME];

    memcpy(text, realm.p, realm.n);
    text[realm.n] = 0; /* no realm has one */
    memcpy(text + realm.n + 1, user.p, user.n);
    return &u->chain[ph_hash(&u->key, text, realm.n + 1 + user.n) & u->mask];
}

static bool is_user(const struct ph_userbps_user *x, struct ph_slice realm, struct ph_slice user)
{
    return x->realm_n == realm.n && x->user_n == user.n && memcmp(x->text, realm.p, realm.n) == 0 &&
           memcmp(x->text + realm.n, user.p, user.n) == 0;
}

/* With the lock held. */
static struct ph_userbps_user *find(struct ph_userbps_user *x, struct ph_slice realm,
                                    struct ph_slice user)
{
    while (x && !is_user(x, realm, user))
        x = x->next;
    return x;
}

static struct ph_userbps_user *user_new(struct ph_userbps *u, struct ph_slice realm,
                                        struct ph_slice user)
{
    struct ph_userbps_user *x = calloc(1, sizeof *x + realm.n + user.n);

    if (!x)
        return NULL;
    x->table = u;
    x->realm_n = (uint16_t)realm.n;
    x->user_n = (uint16_t)user.n;
    memcpy(x->text, realm.p, realm.n);
    memcpy(x->text + realm.n, user.p, user.n);
    return x;
}

static bool fits(struct ph_slice realm, struct ph_slice user)
{
    return realm.p && user.p && realm.n <= PH_USERBPS_REALM && user.n <= PH_USERBPS_NAME;
}

static bool is_spent(const struct ph_userbps_user *x, ph_ns now)
{
    return !x->sessions && atomic_load_explicit(&x->way[0].full_at, memory_order_relaxed) <= now &&
           atomic_load_explicit(&x->way[1].full_at, memory_order_relaxed) <= now;
}

/* Takes the records out of a chain that nobody needs any more, and puts them before `spent`. */
static struct ph_userbps_user *reap(struct ph_userbps *u, struct ph_userbps_user **at,
                                    struct ph_userbps_user *spent, ph_ns now)
{
    while (*at) {
        struct ph_userbps_user *x = *at;
        if (!is_spent(x, now)) {
            at = &x->next;
            continue;
        }
        *at = x->next;
        x->next = spent;
        spent = x;
        u->n--;
    }
    return spent;
}

/* Looks for such records in the next chains; in all of them if there is no room. */
static struct ph_userbps_user *reap_some(struct ph_userbps *u, ph_ns now)
{
    enum { AT_A_TIME = 8 };
    struct ph_userbps_user *spent = NULL;

    for (uint32_t i = 0; i <= u->mask && (i < AT_A_TIME || u->n >= u->max); i++) {
        spent = reap(u, &u->chain[u->hand], spent, now);
        u->hand = (u->hand + 1) & u->mask;
    }
    return spent;
}

int ph_userbps_join(struct ph_userbps *u, struct ph_userbps_session *s, struct ph_slice realm,
                    struct ph_slice user, ph_ns now)
{
    if (!fits(realm, user))
        return PH_E_LIMIT;
    struct ph_userbps_user **chain = chain_of(u, realm, user);
    struct ph_userbps_user *fresh = user_new(u, realm, user); /* not under the lock */

    lock(u);
    struct ph_userbps_user *spent = reap_some(u, now), *x = find(*chain, realm, user);
    const bool full = u->n >= u->max;
    if (!x && fresh && !full) {
        x = fresh;
        fresh = NULL;
        x->seen_at = now;
        x->next = *chain;
        *chain = x;
        u->n++;
    }
    if (x)
        x->sessions++;
    unlock(u);
    free(fresh);
    free_all(spent);
    *s = (struct ph_userbps_session){.user = x};
    return x ? 0 : full ? PH_E_LIMIT : PH_E_NOMEM;
}

static void tell(struct ph_userbps_session *s)
{
    for (unsigned i = 0; i < 2; i++) {
        atomic_fetch_add_explicit(&s->user->way[i].wanted, s->wanted[i], memory_order_relaxed);
        s->wanted[i] = 0;
    }
}

void ph_userbps_leave(struct ph_userbps_session *s)
{
    struct ph_userbps_user *x = s->user;

    if (!x)
        return;
    tell(s);
    lock(x->table);
    x->sessions--; /* join frees what nobody needs any more */
    unlock(x->table);
    s->user = NULL;
}

/* --- packets --------------------------------------------------------------------------------------- */

/* What a user may have here, 0: all he wants. */
static uint64_t rate_of(const struct ph_userbps_user *x, enum ph_bps_way way)
{
    const uint64_t bound = ph_userbps_bound(x->table);
    const uint64_t share = atomic_load_explicit(&x->way[way].share, memory_order_relaxed);

    return share && share < bound ? share : bound;
}

/* How long it takes to earn n bytes. */
static int64_t span_of(uint32_t n, uint64_t rate)
{
    return (int64_t)(((uint64_t)n * PH_SEC(1) + rate / 2) / rate);
}

bool ph_userbps_take(struct ph_userbps_session *s, enum ph_bps_way way, uint32_t n, ph_ns now)
{
    struct way *y = &s->user->way[way];
    const uint64_t rate = rate_of(s->user, way);

    if (!rate)
        return true;
    s->wanted[way] += n;
    if (now - s->told_at >= tell_after) {
        s->told_at = now;
        tell(s);
    }
    const int64_t span = span_of(n, rate);
    int64_t was = atomic_load_explicit(&y->full_at, memory_order_relaxed), from;
    do {
        from = was > now ? was : now;
        if (from > now && from - now + span > depth)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&y->full_at, &was, from + span,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

void ph_userbps_untake(struct ph_userbps_session *s, enum ph_bps_way way, uint32_t n)
{
    const uint64_t rate = rate_of(s->user, way);

    if (!rate)
        return;
    s->wanted[way] -= n; /* it may have been told: then it is told less the next time */
    atomic_fetch_sub_explicit(&s->user->way[way].full_at, span_of(n, rate), memory_order_relaxed);
}

/* --- sharing --------------------------------------------------------------------------------------- */

/* What has been wanted since the last look.  False: nothing, and nothing then. */
static bool look(struct ph_userbps_user *x, uint64_t rate[static 2], ph_ns now)
{
    const ph_ns span = now > x->seen_at ? now - x->seen_at : 1;
    bool any = false;

    for (unsigned i = 0; i < 2; i++) {
        struct way *y = &x->way[i];
        const uint64_t wanted = atomic_load_explicit(&y->wanted, memory_order_relaxed);
        const uint64_t more = (int64_t)(wanted - y->seen) > 0 ? wanted - y->seen : 0;
        rate[i] = (uint64_t)((double)more * (double)PH_SEC(1) / (double)span);
        any = any || more || y->busy;
        y->busy = more > 0;
        y->seen = wanted;
    }
    x->seen_at = now;
    return any;
}

static void describe(const struct ph_userbps_user *x, const uint64_t rate[static 2],
                     struct ph_userbps_demand *out)
{
    out->realm_n = x->realm_n;
    out->user_n = x->user_n;
    memcpy(out->realm, x->text, x->realm_n);
    memcpy(out->user, x->text + x->realm_n, x->user_n);
    memcpy(out->wanted, rate, sizeof out->wanted);
}

/* Where a walk through the table is: a chain, and how many of it have been given. */
enum { CHAIN_BITS = 24, CHAIN_MASK = (1 << CHAIN_BITS) - 1, DEEP = UINT8_MAX };

/* The user there, NULL: the chain is at its end. */
static struct ph_userbps_user *user_at(const struct ph_userbps *u, uint32_t at)
{
    struct ph_userbps_user *x = u->chain[at & CHAIN_MASK];

    for (uint32_t n = at >> CHAIN_BITS; x && n > 0; n--)
        x = x->next;
    return at >> CHAIN_BITS < DEEP ? x : NULL;
}

/* Looks on through some chains, with the lock held. */
static bool look_on(const struct ph_userbps *u, uint32_t *at, struct ph_userbps_demand *out,
                    ph_ns now)
{
    enum { AT_A_TIME = 256 };
    uint64_t rate[2];

    for (unsigned i = 0; i < AT_A_TIME && (*at & CHAIN_MASK) <= u->mask; i++) {
        struct ph_userbps_user *x = user_at(u, *at);
        *at = x ? *at + (1 << CHAIN_BITS) : (*at & CHAIN_MASK) + 1;
        if (x && look(x, rate, now)) {
            describe(x, rate, out);
            return true;
        }
    }
    return false;
}

bool ph_userbps_each(struct ph_userbps *u, uint32_t *at, struct ph_userbps_demand *out, ph_ns now)
{
    bool found = false;

    while (!found && (*at & CHAIN_MASK) <= u->mask) {
        lock(u);
        found = look_on(u, at, out, now);
        unlock(u);
    }
    return found;
}

int ph_userbps_set_share(struct ph_userbps *u, struct ph_slice realm, struct ph_slice user,
                         enum ph_bps_way way, uint64_t share)
{
    if (!fits(realm, user))
        return PH_E_MISSING;
    struct ph_userbps_user **chain = chain_of(u, realm, user);

    lock(u);
    struct ph_userbps_user *x = find(*chain, realm, user);
    if (x)
        atomic_store_explicit(&x->way[way].share, share, memory_order_relaxed);
    unlock(u);
    return x ? 0 : PH_E_MISSING;
}

uint64_t ph_userbps_fair(uint64_t bound, uint64_t here, uint64_t elsewhere)
{
    const uint64_t least = (bound + PH_USERBPS_LEAST - 1) / PH_USERBPS_LEAST;

    if (!elsewhere)
        return bound;
    const uint64_t fair =
        (uint64_t)((double)bound * ((double)here / ((double)here + (double)elsewhere)));
    return fair > least ? fair : least;
}
