/*
 * AES-GCM against published vectors, and that nothing but the right input opens.
 */
#include "stun/base/error.h"
#include "stun/codec/aead.h"

#include <criterion/criterion.h>
#include <stdio.h>

static size_t hex(uint8_t *dst, const char *text)
{
    size_t n = strlen(text) / 2;
    for (size_t i = 0; i < n; i++) {
        unsigned v;
        cr_assert_eq(sscanf(text + 2 * i, "%2x", &v), 1);
        dst[i] = (uint8_t)v;
    }
    return n;
}

/* The examples of the GCM specification (McGrew, Viega, appendix B; also in NIST's CAVS), with 96 bits of IV. */
static const struct {
    const char *key, *nonce, *aad, *plain, *sealed;
} VECTORS[] = {
    {"00000000000000000000000000000000", "000000000000000000000000", "", "",
     "58e2fccefa7e3061367f1d57a4e7455a"},
    {"00000000000000000000000000000000", "000000000000000000000000", "",
     "00000000000000000000000000000000",
     "0388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf"},
    {"feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
     "feedfacedeadbeeffeedfacedeadbeefabaddad2",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
     "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
     "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
     "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091"
     "5bc94fbc3221a5db94fae95ae7121a47"},
    {"feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
     "feedfacedeadbeeffeedfacedeadbeefabaddad2",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
     "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
     "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
     "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
     "76fc6ece0f4e1768cddf8853bb2d551b"},
};

struct sample {
    uint8_t key[32], nonce[12], aad[32], plain[64], sealed[80], out[80];
    size_t key_n, aad_n, plain_n, sealed_n;
};

static struct sample sample(size_t i)
{
    struct sample s = {0};
    s.key_n = hex(s.key, VECTORS[i].key);
    cr_assert_eq(hex(s.nonce, VECTORS[i].nonce), 12);
    s.aad_n = hex(s.aad, VECTORS[i].aad);
    s.plain_n = hex(s.plain, VECTORS[i].plain);
    s.sealed_n = hex(s.sealed, VECTORS[i].sealed);
    return s;
}

static int open_it(struct sample *s)
{
    return ph_aead_open(s->out, (struct ph_slice){s->key, s->key_n}, s->nonce,
                        (struct ph_slice){s->aad, s->aad_n},
                        (struct ph_slice){s->sealed, s->sealed_n});
}

Test(codec_aead, seals_and_opens_the_vectors)
{
    for (size_t i = 0; i < sizeof VECTORS / sizeof *VECTORS; i++) {
        struct sample s = sample(i);
        int n =
            ph_aead_seal(s.out, (struct ph_slice){s.key, s.key_n}, s.nonce,
                         (struct ph_slice){s.aad, s.aad_n}, (struct ph_slice){s.plain, s.plain_n});
        cr_assert_eq(n, (int)s.sealed_n, "vector %zu", i);
        cr_expect_eq(memcmp(s.out, s.sealed, s.sealed_n), 0, "vector %zu", i);
        cr_assert_eq(open_it(&s), (int)s.plain_n, "vector %zu", i);
        cr_expect_eq(memcmp(s.out, s.plain, s.plain_n), 0, "vector %zu", i);
    }
}

/* Every bit of key, nonce, associated data, text and tag counts; what did not fit leaves no clear text. */
Test(codec_aead, opens_nothing_that_was_changed)
{
    static const uint8_t ZERO[80];
    struct sample s = sample(2);
    const struct {
        uint8_t *p;
        size_t n;
    } part[] = {{s.key, s.key_n}, {s.nonce, 12}, {s.aad, s.aad_n}, {s.sealed, s.sealed_n}};

    for (size_t k = 0; k < 4; k++)
        for (size_t bit = 0; bit < part[k].n * 8; bit++) {
            part[k].p[bit / 8] ^= (uint8_t)(1 << bit % 8);
            cr_expect_eq(open_it(&s), PH_E_AUTH, "part %zu bit %zu", k, bit);
            cr_expect_eq(memcmp(s.out, ZERO, s.plain_n), 0, "clear text of a forgery");
            part[k].p[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    s.aad_n--;
    cr_expect_eq(open_it(&s), PH_E_AUTH);
    s.aad_n++;
    cr_expect_eq(open_it(&s), (int)s.plain_n);
}

Test(codec_aead, checks_lengths_first)
{
    struct sample s = sample(2);

    for (size_t n = 0; n < PH_AEAD_TAG_LEN; n++) {
        s.sealed_n = n;
        cr_expect_eq(open_it(&s), PH_E_SHORT);
    }
    s = sample(2);
    s.sealed_n--;
    cr_expect_eq(open_it(&s), PH_E_AUTH);
    s.sealed_n++;
    for (s.key_n = 0; s.key_n <= sizeof s.key; s.key_n++)
        if (s.key_n != 16 && s.key_n != 32)
            cr_expect_eq(open_it(&s), PH_E_ARG, "%zu", s.key_n);
    s.key_n = 24;
    cr_expect_eq(ph_aead_seal(s.out, (struct ph_slice){s.key, s.key_n}, s.nonce,
                              (struct ph_slice){NULL, 0}, (struct ph_slice){s.plain, 1}),
                 PH_E_ARG);
}
