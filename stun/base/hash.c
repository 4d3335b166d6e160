/*
 * SipHash-1-3: one round for each 8-byte word, three at the end (Aumasson and Bernstein, 2012).
 *
 * The variant with fewer rounds is the one that hash tables use (Rust, Python, Ruby): nobody sees
 * the hashes, so only collisions chosen without the key matter.
 */
#include "stun/base/hash.h"

static inline uint64_t rotl(uint64_t x, unsigned b)
{
    return x << b | x >> (64 - b);
}

static inline uint64_t get64le(const uint8_t *p)
{
    return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24 |
           (uint64_t)p[4] << 32 | (uint64_t)p[5] << 40 | (uint64_t)p[6] << 48 |
           (uint64_t)p[7] << 56;
}

struct sip {
    uint64_t v0, v1, v2, v3;
};

static inline void round1(struct sip *s)
{
    s->v0 += s->v1;
    s->v2 += s->v3;
    s->v1 = rotl(s->v1, 13) ^ s->v0;
    s->v3 = rotl(s->v3, 16) ^ s->v2;
    s->v0 = rotl(s->v0, 32);
    s->v2 += s->v1;
    s->v0 += s->v3;
    s->v1 = rotl(s->v1, 17) ^ s->v2;
    s->v3 = rotl(s->v3, 21) ^ s->v0;
    s->v2 = rotl(s->v2, 32);
}

static inline void absorb(struct sip *s, uint64_t word)
{
    s->v3 ^= word;
    round1(s);
    s->v0 ^= word;
}

uint64_t ph_hash(const struct ph_hash_key *k, const void *p, size_t n)
{
    const uint8_t *b = p;
    struct sip s = {k->k0 ^ 0x736f6d6570736575, k->k1 ^ 0x646f72616e646f6d,
                    k->k0 ^ 0x6c7967656e657261, k->k1 ^ 0x7465646279746573};
    uint64_t last = (uint64_t)n << 56;
    for (; n >= 8; n -= 8, b += 8)
        absorb(&s, get64le(b));
    for (size_t i = 0; i < n; i++)
        last |= (uint64_t)b[i] << (8 * i);
    absorb(&s, last);
    s.v2 ^= 0xff;
    round1(&s);
    round1(&s);
    round1(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
