/*
 * Token buckets of 8 bytes each.
 *
 * A bucket stores one number: the instant at which it will be full again.  What lies between now and then,
 * times the rate, has been drawn; a bucket that nobody uses needs no upkeep.  (The scheduler people call this
 * the virtual scheduling form of the leaky bucket.)  A draw of n bytes moves the instant n / rate further;
 * it may not get further away than a whole burst takes to earn.
 *
 * All spans are unsigned and at most 2^32 * 10^9 < 2^62 ns, so sums of two cannot overflow.  A clock that jumps
 * ahead finds full buckets; one that jumps back finds empty ones, which fill from there on.
 */
#include "stun/budget.h"

#include "stun/base/bytes.h"
#include "stun/base/hash.h"

#include <stdlib.h>
#include <string.h>

enum {
    ADDR_BURST = 4096,
    ADDR_RATE = 2048,
    PREFIX_BURST = 32768,
    PREFIX_RATE = 16384,
    PREFIX4 = 24,
    PREFIX6 = 48,
    BUCKETS = 16384,
    BUCKETS_MAX = 1 << 24,
    RATE_MAX = 1000000000, /* bytes a second: one takes no less than the nanosecond we count in */
    ADDR6 = 64             /* bits of an IPv6 source that one host or site cannot choose */
};

/* One size of bucket, and all buckets of that size. */
struct table {
    ph_ns *full_at;
    uint64_t burst; /* ns that an empty bucket takes to fill */
    uint32_t rate;  /* bytes a second */
};

struct ph_budget {
    struct table addr, prefix;
    struct ph_hash_key key;
    uint64_t prefix4_mask, prefix6_mask;
    uint32_t mask; /* buckets of a table - 1 */
    bool unlimited, count_loopback;
};

/* The two buckets of a source. */
struct pair {
    ph_ns *addr, *prefix;
};

static uint32_t or_default(uint32_t v, uint32_t fallback)
{
    return v ? v : fallback;
}

/* ns that it takes to earn n bytes, rounded up: rounding never gives anything away. */
static uint64_t earn(uint32_t n, uint32_t rate)
{
    return ((uint64_t)n * 1000000000 + rate - 1) / rate;
}

static void table_init(struct table *t, ph_ns *full_at, uint32_t buckets, uint32_t burst,
                       uint32_t rate)
{
    rate = rate < RATE_MAX ? rate : RATE_MAX;
    *t = (struct table){full_at, earn(burst, rate), rate};
    for (uint32_t i = 0; i < buckets; i++)
        full_at[i] = INT64_MIN;
}

/* The `bits` highest of 64. */
static uint64_t high_bits(unsigned bits)
{
    return bits == 0 ? 0 : bits >= 64 ? UINT64_MAX : UINT64_MAX << (64 - bits);
}

struct ph_budget *ph_budget_new(const struct ph_budget_conf *c, const struct ph_env *env)
{
    uint32_t want = or_default(c->buckets, BUCKETS), buckets = 1;
    while (buckets < want && buckets < BUCKETS_MAX)
        buckets *= 2;
    struct ph_budget *b = calloc(1, sizeof *b);
    ph_ns *cells = malloc(2 * sizeof *cells * buckets);
    if (!b || !cells) {
        free(b);
        free(cells);
        return NULL;
    }
    table_init(&b->addr, cells, buckets, or_default(c->addr_burst, ADDR_BURST),
               or_default(c->addr_rate, ADDR_RATE));
    table_init(&b->prefix, cells + buckets, buckets, or_default(c->prefix_burst, PREFIX_BURST),
               or_default(c->prefix_rate, PREFIX_RATE));
    uint32_t bits4 = or_default(c->prefix4, PREFIX4);
    b->prefix4_mask = high_bits(32 + (bits4 < 32 ? bits4 : 32));
    b->prefix6_mask = high_bits(or_default(c->prefix6, PREFIX6));
    b->mask = buckets - 1;
    b->unlimited = c->unlimited;
    b->count_loopback = c->count_loopback;
    env->rand(env->ctx, &b->key, sizeof b->key);
    return b;
}

void ph_budget_free(struct ph_budget *b)
{
    if (!b)
        return;
    free(b->addr.full_at); /* one block holds both tables */
    free(b);
}

/* True for an IPv4 source in IPv6 clothes: what dual-stack sockets (::ffff:0:0/96) and translators
 * (64:ff9b::/96) show.  Taken as they are, all of IPv4 would share one /64. */
static bool holds_ipv4(const uint8_t *ip)
{
    static const uint8_t mapped[12] = {[10] = 0xFF, [11] = 0xFF};
    static const uint8_t nat64[12] = {0x00, 0x64, 0xFF, 0x9B};
    return memcmp(ip, mapped, sizeof mapped) == 0 || memcmp(ip, nat64, sizeof nat64) == 0;
}

/* The 64 bits that name a source: its /64, or an IPv4 address behind what is no unicast /32. */
static uint64_t source(const struct ph_budget *b, const struct ph_addr *src, uint64_t *prefix_mask)
{
    const uint8_t *ip4 = src->ip;
    if (src->family != PH_AF_INET) {
        if (!holds_ipv4(src->ip)) {
            *prefix_mask = b->prefix6_mask;
            return ph_get64(src->ip) & high_bits(ADDR6);
        }
        ip4 = src->ip + 12;
    }
    *prefix_mask = b->prefix4_mask;
    return (uint64_t)UINT32_MAX << 32 | ph_get32(ip4);
}

static struct pair find(const struct ph_budget *b, const struct ph_addr *src)
{
    uint64_t mask, who = source(b, src, &mask), where = who & mask;
    return (struct pair){b->addr.full_at + (ph_hash(&b->key, &who, sizeof who) & b->mask),
                         b->prefix.full_at + (ph_hash(&b->key, &where, sizeof where) & b->mask)};
}

/* ns of a bucket that are drawn: 0 when full, the burst when empty. */
static uint64_t drawn(const struct table *t, ph_ns full_at, ph_ns now)
{
    if (full_at <= now)
        return 0;
    uint64_t d = (uint64_t)full_at - (uint64_t)now;
    return d < t->burst ? d : t->burst;
}

/* The instant `span` from now, at most the end of time. */
static ph_ns after(ph_ns now, uint64_t span)
{
    uint64_t left = (uint64_t)INT64_MAX - (uint64_t)now;
    return span < left ? (ph_ns)((uint64_t)now + span) : INT64_MAX;
}

static bool exempt(const struct ph_budget *b, const struct ph_addr *src)
{
    return !b || b->unlimited || (!b->count_loopback && ph_addr_is_loopback(src));
}

bool ph_budget_take(struct ph_budget *b, const struct ph_addr *src, uint32_t bytes, ph_ns now)
{
    if (exempt(b, src))
        return true;
    struct pair p = find(b, src);
    uint64_t addr = drawn(&b->addr, *p.addr, now);
    uint64_t prefix = drawn(&b->prefix, *p.prefix, now);
    uint64_t addr_want = addr + earn(bytes, b->addr.rate);
    uint64_t prefix_want = prefix + earn(bytes, b->prefix.rate);
    bool pays = addr_want <= b->addr.burst && prefix_want <= b->prefix.burst;
    /* Stored also when refused: it is what heals a bucket after the clock has jumped back. */
    *p.addr = after(now, pays ? addr_want : addr);
    *p.prefix = after(now, pays ? prefix_want : prefix);
    return pays;
}

/* Gives back to one bucket. */
static void put_back(const struct table *t, ph_ns *full_at, uint32_t bytes, ph_ns now)
{
    uint64_t d = drawn(t, *full_at, now), back = earn(bytes, t->rate);
    *full_at = after(now, d > back ? d - back : 0);
}

void ph_budget_refund(struct ph_budget *b, const struct ph_addr *src, uint32_t bytes, ph_ns now)
{
    if (exempt(b, src))
        return;
    struct pair p = find(b, src);
    put_back(&b->addr, p.addr, bytes, now);
    put_back(&b->prefix, p.prefix, bytes, now);
}
