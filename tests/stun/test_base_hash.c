#include "stun/base/hash.h"

#include <criterion/criterion.h>

/* From an independent SipHash in Python, which was checked with the paper's vector of SipHash-2-4.
 * Key and message are 00 01 02 ... */
static const struct {
    size_t n;
    uint64_t hash;
} KNOWN[] = {
    {0, 0xabac0158050fc4dc},  {1, 0xc9f49bf37d57ca93},  {7, 0xd3927d989bb11140},
    {8, 0x369095118d299a8e},  {15, 0xd320d86d2a519956}, {16, 0xcc4fdd1a7d908b66},
    {20, 0xc0dc2f46a6cce040}, {63, 0x9d199062b7bbb3a8}, {64, 0xf17997ec4b4a6065},
};

static const struct ph_hash_key KEY = {0x0706050403020100, 0x0f0e0d0c0b0a0908};

Test(base_hash, is_siphash_1_3)
{
    uint8_t m[64];
    for (uint8_t i = 0; i < 64; i++)
        m[i] = i;
    for (size_t i = 0; i < sizeof KNOWN / sizeof *KNOWN; i++)
        cr_assert_eq(ph_hash(&KEY, m, KNOWN[i].n), KNOWN[i].hash, "%zu bytes", KNOWN[i].n);
}

Test(base_hash, depends_on_the_key)
{
    struct ph_hash_key other = KEY;
    other.k1 ^= 1;
    cr_assert_neq(ph_hash(&KEY, "x", 1), ph_hash(&other, "x", 1));
}
