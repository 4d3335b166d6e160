#include "stun/codec/dump.h"
#include "stun/codec/msgw.h"
#include "support/vectors.h"

#include <criterion/criterion.h>

static char text[4096];

static const char *dump(const void *p, size_t n, bool mask)
{
    uint8_t *exact = exact_copy(p, n);
    int want = ph_msg_dump(exact, n, mask, text, sizeof text);
    cr_assert_eq((size_t)want, strlen(text));
    cr_assert(want > 0 && text[want - 1] == '\n');
    free(exact);
    return text;
}

Test(codec_dump, shows_a_message)
{
    struct vector v = vector_load("rfc5769-2.1-request.hex");
    cr_assert_str_eq(dump(v.b, v.n, false),
                     "Binding request, 108 bytes, id b7e7a701bc34d686fa87dfae\n"
                     "  SOFTWARE                 \"STUN test client\"\n"
                     "  PRIORITY                 1845494271\n"
                     "  ICE-CONTROLLED           0x932ff9b151263b36\n"
                     "  USERNAME                 \"evtj:h6vY\"\n"
                     "  MESSAGE-INTEGRITY        9aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2\n"
                     "  FINGERPRINT              0xe57a3bcf (good)\n");
    v.b[30] ^= 1;
    cr_assert(strstr(dump(v.b, v.n, false), "0xe57a3bcf (bad)"));
}

Test(codec_dump, hides_credentials_when_asked)
{
    struct vector v = vector_load("rfc5769-2.4-long-term.hex");
    dump(v.b, v.n, true);
    cr_assert_str_eq(text, "Binding request, 116 bytes, id 78ad3433c6ad72c029da412e\n"
                           "  USERNAME                 (18 bytes)\n"
                           "  NONCE                    (28 bytes)\n"
                           "  REALM                    \"example.org\"\n"
                           "  MESSAGE-INTEGRITY        (20 bytes)\n");
    v = vector_load("rfc8489-b.1-sha256.hex");
    cr_assert(strstr(dump(v.b, v.n, true), "MESSAGE-INTEGRITY-SHA256 (32 bytes)\n"));
    /* Neither in a frame that does not parse. */
    v = vector_load("rfc5769-2.1-request.hex");
    for (size_t n = 0; n < v.n; n++)
        cr_assert(!strstr(dump(v.b, n, true), "h6vY") && !strstr(text, "683676"), "cut at %zu", n);
    cr_assert_str_eq(dump("GET / HTTP/1.1 secret", 21, true),
                     "not STUN, 21 bytes: 47455420... (21 bytes)\n");
}

Test(codec_dump, marks_what_a_receiver_ignores)
{
    uint8_t p[128];
    struct ph_msgw w;
    ph_msgw_begin(&w, p, sizeof p, PH_REFRESH, PH_REQUEST, (const uint8_t *)"0123456789ab");
    ph_msgw_integrity(&w, ph_str("k"));
    ph_msgw_uint(&w, PH_ATTR_LIFETIME, 600);
    ph_msgw_raw(&w, 0x7FFE, ph_str("?"));
    ph_msgw_fingerprint(&w);
    dump(p, (size_t)ph_msgw_end(&w), true);
    cr_assert(strstr(text, "  LIFETIME                 600 s (ignored)\n"), "%s", text);
    cr_assert(strstr(text, "  0x7ffe                   3f (ignored)\n"), "%s", text);
    cr_assert(strstr(text, "(good)\n"), "%s", text);
    cr_assert(strstr(text, "(20 bytes)\n"), "%s", text);
}

Test(codec_dump, describes_what_cannot_be_read)
{
    struct vector v = vector_load("rfc5769-2.2-response-ipv4.hex");
    cr_assert_str_eq(dump("\x40\x01\x00\x04", 4, false), "not STUN, 4 bytes: 40010004\n");
    cr_assert_str_eq(dump("", 0, false), "not STUN, 0 bytes: (empty)\n");
    cr_assert(strstr(dump(v.b, 38, false), "  broken: message is truncated\n"), "%s", text);
    cr_assert(strstr(text, "  rest                     "), "%s", text);
    v.b[41] = 9; /* an address family that does not exist */
    cr_assert(strstr(dump(v.b, v.n, false), "0009a147e112a643 (address family is unknown)"), "%s",
              text);
    v.b[0] = 0x3F;
    cr_assert_eq(strncmp(dump(v.b, v.n, false), "Method 0x", 9), 0);
}

Test(codec_dump, is_cut_like_snprintf)
{
    struct vector v = vector_load("rfc5769-2.1-request.hex");
    char whole[1024];
    int want = ph_msg_dump(v.b, v.n, false, whole, sizeof whole);
    for (size_t cap = 0; cap <= (size_t)want + 2; cap++) {
        char *dst = (char *)exact_copy(whole, cap);
        cr_assert_eq(ph_msg_dump(v.b, v.n, false, dst, cap), want);
        if (cap) {
            cr_assert_eq(strlen(dst), cap > (size_t)want ? (size_t)want : cap - 1);
            cr_assert_eq(memcmp(dst, whole, strlen(dst)), 0);
        }
        free(dst);
    }
}

Test(codec_dump, survives_any_bytes)
{
    uint64_t state = 10;
    for (unsigned i = 0; i < 200; i++) {
        struct vector v = vector_load(VECTORS[i % VECTOR_COUNT].file);
        for (unsigned round = 0; round < 100; round++) {
            for (unsigned k = test_random(&state) % 8; k; k--)
                v.b[test_random(&state) % v.n] = (uint8_t)test_random(&state);
            size_t n = test_random(&state) % 4 ? v.n : test_random(&state) % v.n;
            dump(v.b, n, round % 2);
            for (const char *c = text; *c; c++)
                cr_assert(*c == '\n' || (uint8_t)*c >= 0x20, "a control character");
        }
    }
}
