/*
 * A slot is claimed by swapping its token for 0, so exactly one worker gets the port.  Whoever puts a
 * reservation in writes the other fields first and publishes the token last.
 */
#include "turn/reserve.h"

#include "stun/base/error.h"

#include <stdatomic.h>
#include <stdlib.h>

/* RFC 8656 7.2: the server "SHOULD" hold the reservation for at least 30 seconds. */
static const ph_ns hold_ttl = PH_SEC(30);

static const uint64_t busy = UINT64_MAX; /* the slot is being filled or emptied */

struct slot {
    _Atomic uint64_t token; /* 0: free */
    _Atomic int64_t expires_at;
    struct ph_ports *ports;
    uint32_t relay;
    uint16_t port;
};

struct ph_reserve {
    _Atomic uint32_t held;
    _Atomic int64_t next_at; /* not after the earliest expiry */
    struct slot slot[PH_RESERVE_SLOTS];
};

struct ph_reserve *ph_reserve_new(void)
{
    struct ph_reserve *r = calloc(1, sizeof *r);
    if (r)
        atomic_store(&r->next_at, PH_NEVER);
    return r;
}

void ph_reserve_free(struct ph_reserve *r)
{
    free(r);
}

static uint64_t new_token(const struct ph_env *env)
{
    uint64_t t = 0;
    while (t == 0 || t == busy)
        env->rand(env->ctx, &t, sizeof t);
    return t;
}

int ph_reserve_hold(struct ph_reserve *r, struct ph_ports *ports, uint32_t relay, uint16_t port,
                    const struct ph_env *env, ph_ns now, uint64_t *token)
{
    uint32_t first = ph_env_below(env, PH_RESERVE_SLOTS);

    for (uint32_t i = 0; i < PH_RESERVE_SLOTS; i++) {
        struct slot *s = &r->slot[(first + i) % PH_RESERVE_SLOTS];
        uint64_t free_ = 0;
        if (!atomic_compare_exchange_strong(&s->token, &free_, busy))
            continue;
        atomic_store(&s->expires_at, now + hold_ttl);
        s->ports = ports;
        s->relay = relay;
        s->port = port;
        *token = new_token(env);
        atomic_store(&s->token, *token);
        atomic_fetch_add(&r->held, 1);
        int64_t next = atomic_load(&r->next_at);
        while (now + hold_ttl < next &&
               !atomic_compare_exchange_weak(&r->next_at, &next, now + hold_ttl))
            ;
        return 0;
    }
    return PH_E_LIMIT;
}

/* Takes a slot away from everybody else; its fields may be read then, until it is set free. */
static bool seize(struct slot *s, uint64_t token)
{
    return atomic_compare_exchange_strong(&s->token, &token, busy);
}

static void set_free(struct ph_reserve *r, struct slot *s)
{
    atomic_store(&s->token, 0);
    atomic_fetch_sub(&r->held, 1);
}

int ph_reserve_claim(struct ph_reserve *r, uint64_t token, ph_ns now, uint32_t *relay,
                     uint16_t *port)
{
    if (token == 0 || token == busy)
        return PH_E_MISSING;
    for (uint32_t i = 0; i < PH_RESERVE_SLOTS; i++) {
        struct slot *s = &r->slot[i];
        if (atomic_load_explicit(&s->token, memory_order_relaxed) != token || !seize(s, token))
            continue;
        bool live = now < atomic_load(&s->expires_at);
        *relay = s->relay;
        *port = s->port;
        if (!live)
            ph_ports_release(s->ports, s->port);
        set_free(r, s);
        return live ? 0 : PH_E_MISSING;
    }
    return PH_E_MISSING;
}

void ph_reserve_tick(struct ph_reserve *r, ph_ns now)
{
    if (now < atomic_load(&r->next_at))
        return;
    atomic_store(&r->next_at, PH_NEVER); /* a hold from here on lowers it again */
    ph_ns next = PH_NEVER;
    for (uint32_t i = 0; i < PH_RESERVE_SLOTS; i++) {
        struct slot *s = &r->slot[i];
        uint64_t token = atomic_load(&s->token);
        ph_ns expires_at = atomic_load(&s->expires_at);
        if (token == 0 || token == busy)
            continue;
        if (now < expires_at) {
            next = ph_min_ns(next, expires_at);
        } else if (seize(s, token)) {
            ph_ports_release(s->ports, s->port);
            set_free(r, s);
        }
    }
    int64_t cur = atomic_load(&r->next_at);
    while (next < cur && !atomic_compare_exchange_weak(&r->next_at, &cur, next))
        ;
}

ph_ns ph_reserve_deadline(const struct ph_reserve *r)
{
    return atomic_load(&r->next_at);
}
