/*
 * Random numbers: splitmix64 (Steele, Lea, Flood 2014).  Every link, host and NAT has its own stream, so that
 * dice thrown in one place do not shift those of another.
 */
#include "tests/sim/priv.h"

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void sim__rng_init(struct sim_rng *r, struct sim *s)
{
    r->s = mix(s->seed ^ mix(++s->streams * 0x9e3779b97f4a7c15u));
}

uint64_t sim__rng_next(struct sim_rng *r)
{
    return mix(r->s += 0x9e3779b97f4a7c15u);
}

/* The bias of the modulus is below 2^-32 for the bounds used here. */
uint64_t sim__rng_below(struct sim_rng *r, uint64_t bound)
{
    return bound ? sim__rng_next(r) % bound : 0;
}

bool sim__rng_chance(struct sim_rng *r, double share)
{
    if (share <= 0)
        return false;
    return (double)(sim__rng_next(r) >> 11) * 0x1p-53 < share;
}

void sim__rng_fill(void *rng, void *dst, size_t n)
{
    uint8_t *p = dst;
    for (size_t i = 0; i < n; i += 8) {
        uint64_t v = sim__rng_next(rng);
        for (size_t k = i; k < n && k < i + 8; k++, v >>= 8)
            p[k] = (uint8_t)v;
    }
}
