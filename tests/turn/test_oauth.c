/*
 * Tokens of RFC 7635: what opens, what does not, and that lengths come first.
 */
#include "stun/base/error.h"
#include "turn/token.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { NOW = 1700000000 };
#define SERVER "turn.example.org"

static const struct ph_oauth_key KEY = {
    .kid = "north", .key = "01234567890123456789012345678901", .key_len = 32};

static struct grant grant(void)
{
    return (struct grant){.key = "twenty bytes of key.",
                          .key_n = 20,
                          .timestamp = (uint64_t)NOW << 16,
                          .lifetime_s = 600};
}

static int open_at(struct ph_oauth_token *out, const struct grant *g, int64_t unix_s)
{
    struct token t = token_seal(&KEY, SERVER, g);
    return ph_oauth_open(out, &KEY, ph_str(SERVER), token_slice(&t), unix_s);
}

Test(turn_oauth, opens_a_token)
{
    struct grant g = grant();
    struct ph_oauth_token t;

    g.timestamp |= 0xFFFF; /* fractions do not matter */
    cr_assert_eq(open_at(&t, &g, NOW + 10), 0);
    cr_expect_eq(t.mac_key.n, 20);
    cr_expect_eq(t.mac_key.alg, PH_ALG_NONE);
    cr_expect_eq(memcmp(t.mac_key.b, "twenty bytes of key.", 20), 0);
    cr_expect_eq(t.issued_s, NOW);
    cr_expect_eq(t.expires_s, NOW + 600);
}

Test(turn_oauth, takes_keys_of_sha1_and_sha256_with_both_ciphers)
{
    struct ph_oauth_key k = KEY;
    struct ph_oauth_token out;

    for (k.key_len = 16; k.key_len <= 32; k.key_len = (uint8_t)(k.key_len + 16))
        for (uint16_t n = 0; n <= 64; n++) {
            struct grant g = grant();
            g.key_n = n;
            struct token t = token_seal(&k, SERVER, &g);
            cr_expect_eq(ph_oauth_open(&out, &k, ph_str(SERVER), token_slice(&t), NOW),
                         n == 20 || n == 32 ? 0 : PH_E_FORMAT, "%u bytes", n);
        }
}

/* Made by another program, with the layout of RFC 7635 6.2: python3-cryptography's AESGCM. */
Test(turn_oauth, opens_what_another_program_sealed)
{
    static const uint8_t token[] = {
        0x00, 0x0c, 0x6e, 0x6f, 0x6e, 0x63, 0x65, 0x2d, 0x6f, 0x66, 0x2d, 0x31, 0x32,
        0x62, 0x4a, 0x34, 0x9e, 0x47, 0xf8, 0xfe, 0x0b, 0x8d, 0x0b, 0xb3, 0x43, 0x68,
        0xa0, 0x81, 0x12, 0x7f, 0x6d, 0x9f, 0xc8, 0x5c, 0x92, 0xbb, 0x63, 0xa5, 0xf2,
        0x7c, 0x84, 0x22, 0x37, 0x43, 0x04, 0x92, 0xd9, 0xa4, 0x31, 0xab, 0xbc, 0x67,
        0x53, 0x33, 0x07, 0x6a, 0x0b, 0xbd, 0x11, 0x22, 0x1f, 0xfa, 0x97, 0xbd,
    };
    struct ph_oauth_token t;

    cr_assert_eq(
        ph_oauth_open(&t, &KEY, ph_str(SERVER), (struct ph_slice){token, sizeof token}, NOW + 1),
        0);
    cr_expect_eq(memcmp(t.mac_key.b, "abcdefghijklmnopqrst", 20), 0);
    cr_expect_eq(t.issued_s, NOW);
    cr_expect_eq(t.expires_s, NOW + 3600);
}

Test(turn_oauth, ends_with_its_lifetime)
{
    struct grant g = grant();
    struct ph_oauth_token t = {.issued_s = -7};

    cr_expect_eq(open_at(&t, &g, NOW + 600), PH_E_TIMEOUT);
    cr_expect_eq(t.issued_s, -7, "untouched");
    cr_expect_eq(open_at(&t, &g, NOW + 599), 0);
    cr_expect_eq(open_at(&t, &g, NOW - 5), 0, "the clocks may differ a little");
    cr_expect_eq(open_at(&t, &g, NOW - 6), PH_E_TIMEOUT);
    g.lifetime_s = 0;
    cr_expect_eq(open_at(&t, &g, NOW), PH_E_TIMEOUT);
    g.lifetime_s = UINT32_MAX;
    cr_expect_eq(open_at(&t, &g, NOW + UINT32_MAX - 1ll), 0);
    g.timestamp = UINT64_MAX;
    cr_expect_eq(open_at(&t, &g, NOW), PH_E_TIMEOUT, "the end of time");
    g.timestamp = 0;
    cr_expect_eq(open_at(&t, &g, NOW), 0, "4294967295 s from 1970");
}

Test(turn_oauth, needs_the_right_key_and_server_name)
{
    static const char *const NAMES[] = {"", "turn.example.or", "turn.example.org.",
                                        "Turn.example.org"};
    struct grant g = grant();
    struct token sealed = token_seal(&KEY, SERVER, &g);
    struct ph_oauth_key k = KEY;
    struct ph_oauth_token t;

    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
        cr_expect_eq(ph_oauth_open(&t, &KEY, ph_str(NAMES[i]), token_slice(&sealed), NOW),
                     PH_E_AUTH);
    k.key[31] ^= 1;
    cr_expect_eq(ph_oauth_open(&t, &k, ph_str(SERVER), token_slice(&sealed), NOW), PH_E_AUTH);
    k = KEY;
    k.key_len = 16;
    cr_expect_eq(ph_oauth_open(&t, &k, ph_str(SERVER), token_slice(&sealed), NOW), PH_E_AUTH);
    k.key_len = 200; /* a broken configuration must not read past the key */
    cr_expect_eq(ph_oauth_open(&t, &k, ph_str(SERVER), token_slice(&sealed), NOW), PH_E_FORMAT);
}

Test(turn_oauth, keys_have_their_time)
{
    struct grant g = grant();
    struct token sealed = token_seal(&KEY, SERVER, &g);
    struct ph_oauth_key k = KEY;
    struct ph_oauth_token t;

    k.not_before_s = NOW + 1;
    cr_expect_eq(ph_oauth_open(&t, &k, ph_str(SERVER), token_slice(&sealed), NOW), PH_E_AUTH);
    cr_expect_eq(ph_oauth_open(&t, &k, ph_str(SERVER), token_slice(&sealed), NOW + 1), 0);
    k.not_after_s = NOW + 5;
    cr_expect_eq(ph_oauth_open(&t, &k, ph_str(SERVER), token_slice(&sealed), NOW + 5), 0);
    cr_expect_eq(ph_oauth_open(&t, &k, ph_str(SERVER), token_slice(&sealed), NOW + 6), PH_E_AUTH);
}

/* CVE-2026-43994: the length of the nonce was believed.  Each token lies at the end of its memory, for the
 * sanitizer. */
Test(turn_oauth, believes_no_length)
{
    struct grant g = grant();
    struct token sealed = token_seal(&KEY, SERVER, &g);
    struct ph_oauth_token t;

    for (unsigned n = 0; n <= 0xFFFF; n++) {
        ph_put16(sealed.b, (uint16_t)n);
        cr_expect_eq(ph_oauth_open(&t, &KEY, ph_str(SERVER), token_slice(&sealed), NOW),
                     n == 12 ? 0 : PH_E_FORMAT, "nonce of %u", n);
    }
    ph_put16(sealed.b, 12);
    for (size_t n = 0; n < 600; n++) {
        uint8_t *p = calloc(1, n ? n : 1);
        memcpy(p, sealed.b, n < sealed.n ? n : sealed.n);
        int err = ph_oauth_open(&t, &KEY, ph_str(SERVER), (struct ph_slice){p, n}, NOW);
        cr_expect(n == sealed.n ? err == 0 : err == PH_E_FORMAT || err == PH_E_AUTH, "%zu", n);
        free(p);
    }
}

Test(turn_oauth, no_changed_bit_passes)
{
    struct grant g = grant();
    struct token t = token_seal(&KEY, SERVER, &g);
    struct ph_oauth_token out;

    for (size_t bit = 0; bit < t.n * 8; bit++) {
        t.b[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_expect_lt(ph_oauth_open(&out, &KEY, ph_str(SERVER), token_slice(&t), NOW), 0, "%zu",
                     bit);
        t.b[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}
