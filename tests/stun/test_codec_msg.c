#include "stun/base/bytes.h"
#include "stun/base/error.h"
#include "stun/codec/msg.h"
#include "stun/codec/msgw.h"
#include "support/vectors.h"

#include <criterion/criterion.h>

/* A frame from raw attributes, byte for byte, with the right header. */
struct frame {
    uint8_t b[512];
    size_t n;
};

static struct frame frame(const char *attrs, size_t n)
{
    struct frame f = {.n = PH_STUN_HEADER + n};
    ph_put16(f.b, ph_stun_type(PH_BINDING, PH_REQUEST));
    ph_put16(f.b + 2, (uint16_t)n);
    ph_put32(f.b + 4, PH_STUN_COOKIE);
    memcpy(f.b + 8, "0123456789ab", 12);
    memcpy(f.b + 20, attrs, n);
    return f;
}

/* Parses a copy of exactly the frame's size, so that a sanitizer sees any read behind it. */
static int parse(const struct frame *f)
{
    uint8_t *p = exact_copy(f->b, f->n);
    struct ph_msg m;
    int err = ph_msg_parse(&m, p, f->n);
    free(p);
    return err;
}

#define ATTRS(text) frame((text), sizeof(text) - 1)
#define MI                                                                                         \
    "\x00\x08\x00\x14"                                                                             \
    "01234567890123456789"
#define MI256                                                                                      \
    "\x00\x1c\x00\x10"                                                                             \
    "0123456789012345"
#define FP                                                                                         \
    "\x80\x28\x00\x04"                                                                             \
    "0123"
#define SOFTWARE(c) "\x80\x22\x00\x01" c "\0\0\0"

Test(codec_msg, reads_the_header)
{
    struct frame f = ATTRS("");
    struct ph_msg m;
    cr_assert_eq(ph_msg_parse(&m, f.b, f.n), 0);
    cr_assert(m.method == PH_BINDING && m.cls == PH_REQUEST && m.len == 20 && m.seen == 20);
    cr_assert_eq(memcmp(ph_msg_txid(&m), "0123456789ab", 12), 0);
    for (unsigned ix = 0; ix < PH_ATTR_COUNT; ix++)
        cr_assert(!ph_msg_has(&m, (enum ph_attr_index)ix));
    struct ph_msg_it it = {0};
    cr_assert(!ph_msg_next(&m, &it));
    ph_put16(f.b, ph_stun_type(PH_CHANNEL_BIND, PH_ERROR));
    cr_assert_eq(ph_msg_parse(&m, f.b, f.n), 0);
    cr_assert(m.method == PH_CHANNEL_BIND && m.cls == PH_ERROR);
}

Test(codec_msg, refuses_wrong_headers)
{
    struct frame good = ATTRS(FP), f;
    cr_assert_eq(parse(&good), 0);
    f = good, f.b[0] |= 0x80;
    cr_assert_eq(parse(&f), PH_E_FORMAT);
    f = good, f.b[0] |= 0x40;
    cr_assert_eq(parse(&f), PH_E_FORMAT);
    f = good, f.b[4] ^= 1;
    cr_assert_eq(parse(&f), PH_E_FORMAT);
    f = good, f.b[7] ^= 1;
    cr_assert_eq(parse(&f), PH_E_FORMAT);
    f = good, f.b[3] |= 1;
    cr_assert_eq(parse(&f), PH_E_FORMAT);
    f = good, f.b[3] |= 2;
    cr_assert_eq(parse(&f), PH_E_FORMAT);
    f = good, f.n += 4; /* bytes behind the frame */
    cr_assert_eq(parse(&f), PH_E_FORMAT);
    f = good, f.n -= 1;
    cr_assert_eq(parse(&f), PH_E_SHORT);
}

Test(codec_msg, knows_stun_by_its_first_bytes)
{
    struct frame f = ATTRS(FP);
    cr_assert(ph_msg_is_stun(f.b, f.n));
    cr_assert(ph_msg_is_stun(f.b, 20), "the attributes need not be there yet");
    for (size_t n = 0; n < 20; n++) {
        uint8_t *p = exact_copy(f.b, n);
        cr_assert(!ph_msg_is_stun(p, n));
        free(p);
    }
    f.b[3] = 9;
    cr_assert(!ph_msg_is_stun(f.b, f.n));
}

Test(codec_msg, finds_vectors_truncated_at_every_length)
{
    for (unsigned i = 0; i < VECTOR_COUNT; i++) {
        struct vector v = vector_load(VECTORS[i].file);
        for (size_t n = 0; n < v.n; n++) {
            uint8_t *p = exact_copy(v.b, n);
            struct ph_msg m;
            cr_assert_eq(ph_msg_parse(&m, p, n), PH_E_SHORT, "%s at %zu", VECTORS[i].file, n);
            free(p);
        }
    }
}

/* Cut with a header that fits: either the cut falls between attributes or the frame is malformed.
 * */
Test(codec_msg, survives_cuts_with_a_matching_header)
{
    for (unsigned i = 0; i < VECTOR_COUNT; i++) {
        struct vector v = vector_load(VECTORS[i].file);
        for (size_t n = 20; n < v.n; n += 4) {
            uint8_t *p = exact_copy(v.b, n);
            struct ph_msg m;
            struct ph_msg_it it = {0};
            ph_put16(p + 2, (uint16_t)(n - 20));
            int err = ph_msg_parse(&m, p, n);
            cr_assert(err == 0 || err == PH_E_FORMAT);
            while (!err && ph_msg_next(&m, &it))
                cr_assert(it.value.p + it.value.n <= p + n);
            free(p);
        }
    }
}

Test(codec_msg, refuses_attributes_that_run_over_the_end)
{
    struct frame f;
    f = ATTRS("\x80\x22\x00\x05"
              "abcd");
    cr_assert_eq(parse(&f), PH_E_FORMAT);
    f = ATTRS("\x80\x22\xff\xff"
              "abcd");
    cr_assert_eq(parse(&f), PH_E_FORMAT);
    f = ATTRS("\x80\x22\x00\x01");
    cr_assert_eq(parse(&f), PH_E_FORMAT);
    f = ATTRS(MI "\x80\x22\x00\x05"
                 "abcd"); /* an ignored one, too */
    cr_assert_eq(parse(&f), PH_E_FORMAT);
    f = ATTRS("\x80\x22\x00\x00");
    cr_assert_eq(parse(&f), 0);
}

Test(codec_msg, refuses_wrong_sizes_of_integrity_and_fingerprint)
{
    struct frame f;
    f = ATTRS("\x00\x08\x00\x10"
              "0123456789012345");
    cr_assert_eq(parse(&f), PH_E_FORMAT);
    f = ATTRS("\x00\x08\x00\x13"
              "01234567890123456789");
    cr_assert_eq(parse(&f), PH_E_FORMAT);
    f = ATTRS("\x00\x1c\x00\x0c"
              "012345678901");
    cr_assert_eq(parse(&f), PH_E_FORMAT);
    f = ATTRS("\x00\x1c\x00\x12"
              "01234567890123456789");
    cr_assert_eq(parse(&f), PH_E_FORMAT);
    f = ATTRS("\x00\x1c\x00\x24"
              "012345678901234567890123456789012345");
    cr_assert_eq(parse(&f), PH_E_FORMAT);
    f = ATTRS("\x80\x28\x00\x03"
              "0123");
    cr_assert_eq(parse(&f), PH_E_FORMAT);
    f = ATTRS("\x80\x28\x00\x08"
              "01234567");
    cr_assert_eq(parse(&f), PH_E_FORMAT);
    f = ATTRS(MI "\x80\x28\x00\x08"
                 "01234567");
    cr_assert_eq(parse(&f), PH_E_FORMAT);
    f = ATTRS(MI "\x00\x1c\x00\x08"
                 "01234567");
    cr_assert_eq(parse(&f), PH_E_FORMAT);
}

Test(codec_msg, refuses_anything_behind_fingerprint)
{
    struct frame f;
    f = ATTRS(FP);
    cr_assert_eq(parse(&f), 0);
    f = ATTRS(FP SOFTWARE("a"));
    cr_assert_eq(parse(&f), PH_E_FORMAT);
    f = ATTRS(FP FP);
    cr_assert_eq(parse(&f), PH_E_FORMAT);
    f = ATTRS(FP MI);
    cr_assert_eq(parse(&f), PH_E_FORMAT);
    f = ATTRS(MI MI256 FP "\x80\x22\x00\x00");
    cr_assert_eq(parse(&f), PH_E_FORMAT);
}

/* The visible attributes of a frame as text: 'u' USERNAME, 's' SOFTWARE, 'm' 'M' the integrity
 * ones, 'f' FINGERPRINT, '?' others. */
static const char *visible(const struct frame *f)
{
    static char seen[32];
    struct ph_msg m;
    struct ph_msg_it it = {0};
    unsigned n = 0;
    cr_assert_eq(ph_msg_parse(&m, f->b, f->n), 0);
    while (ph_msg_next(&m, &it) && n < sizeof seen - 1)
        seen[n++] = it.type == PH_ATTR_USERNAME                   ? 'u'
                    : it.type == PH_ATTR_SOFTWARE                 ? 's'
                    : it.type == PH_ATTR_MESSAGE_INTEGRITY        ? 'm'
                    : it.type == PH_ATTR_MESSAGE_INTEGRITY_SHA256 ? 'M'
                    : it.type == PH_ATTR_FINGERPRINT              ? 'f'
                                                                  : '?';
    seen[n] = '\0';
    cr_assert(!ph_msg_next(&m, &it), "the end is not the end");
    return seen;
}

Test(codec_msg, ignores_attributes_after_integrity)
{
    struct frame f;
    f = ATTRS(SOFTWARE("a") MI SOFTWARE("b") "\x00\x06\x00\x01"
                                             "u\0\0\0"
                                             "\x7f\xff\x00\x00" FP);
    cr_assert_str_eq(visible(&f), "smf");
    struct ph_msg m;
    struct ph_slice s;
    cr_assert_eq(ph_msg_parse(&m, f.b, f.n), 0);
    cr_assert(!ph_msg_has(&m, PH_IX_USERNAME), "not covered, so not there");
    cr_assert_eq(m.has_unknown, 0);
    cr_assert_eq(ph_msg_bytes(&m, PH_IX_SOFTWARE, &s), 0);
    cr_assert_eq(s.p[0], 'a');
    f = ATTRS(MI MI256 FP);
    cr_assert_str_eq(visible(&f), "mMf");
    f = ATTRS(MI SOFTWARE("b") MI256 SOFTWARE("c") FP);
    cr_assert_str_eq(visible(&f), "mMf");
    f = ATTRS(MI256 SOFTWARE("b") FP);
    cr_assert_str_eq(visible(&f), "Mf");
    f = ATTRS(MI256 MI FP); /* MESSAGE-INTEGRITY in the wrong place */
    cr_assert_str_eq(visible(&f), "Mf");
    f = ATTRS(MI MI MI256 MI256);
    cr_assert_str_eq(visible(&f), "mM");
    f = ATTRS(MI256 "\x00\x1c\x00\x10"
                    "the second one.." FP);
    cr_assert_str_eq(visible(&f), "Mf");
}

Test(codec_msg, takes_the_first_of_repeated_attributes)
{
    struct frame f = ATTRS(SOFTWARE("1") SOFTWARE("2") "\x00\x06\x00\x01"
                                                       "u\0\0\0" SOFTWARE("3"));
    struct ph_msg m;
    struct ph_slice s;
    cr_assert_eq(ph_msg_parse(&m, f.b, f.n), 0);
    cr_assert_eq(ph_msg_bytes(&m, PH_IX_SOFTWARE, &s), 0);
    cr_assert_eq(s.p[0], '1');
    cr_assert_str_eq(visible(&f), "ssus");
}

Test(codec_msg, ignores_what_padding_holds)
{
    struct frame f = ATTRS("\x80\x22\x00\x05"
                           "helloXYZ" SOFTWARE("x"));
    struct ph_msg m;
    struct ph_slice s;
    cr_assert_eq(ph_msg_parse(&m, f.b, f.n), 0);
    cr_assert_eq(ph_msg_bytes(&m, PH_IX_SOFTWARE, &s), 0);
    cr_assert(ph_slice_eq(s, ph_str("hello")));
}

Test(codec_msg, reports_unknown_required_attributes)
{
    struct frame f = ATTRS("\x00\x02\x00\x00"
                           "\x7f\xff\x00\x01"
                           "a\0\0\0"
                           "\xff\xff\x00\x00"
                           "\x00\x02\x00\x00"
                           "\x01\x06\x00\x00" MI "\x00\x03\x00\x00");
    struct ph_msg m;
    uint16_t types[4] = {0};
    cr_assert_eq(ph_msg_parse(&m, f.b, f.n), 0);
    cr_assert_eq(m.has_unknown, 1);
    cr_assert_eq(ph_msg_unknown(&m, types, 4), 3);
    cr_assert(types[0] == 0x0002 && types[1] == 0x7fff && types[2] == 0x0106 && types[3] == 0);
    memset(types, 0, sizeof types);
    cr_assert_eq(ph_msg_unknown(&m, types, 2), 2);
    cr_assert_eq(types[2], 0);
    cr_assert_eq(ph_msg_unknown(&m, types, 0), 0);
    f = ATTRS("\x80\x7f\x00\x00"
              "\xc0\x57\x00\x04"
              "abcd" SOFTWARE("x"));
    cr_assert_eq(ph_msg_parse(&m, f.b, f.n), 0);
    cr_assert_eq(m.has_unknown, 0);
    cr_assert_eq(ph_msg_unknown(&m, types, 4), 0);
}

Test(codec_msg, reads_values_by_kind)
{
    struct vector v = vector_load("rfc5769-2.1-request.hex");
    struct ph_msg m;
    struct ph_slice s = {0};
    struct ph_addr a = {.port = 1};
    uint64_t u = 1;
    uint16_t code = 1;
    cr_assert_eq(ph_msg_parse(&m, v.b, v.n), 0);
    cr_assert_eq(ph_msg_uint(&m, PH_IX_PRIORITY, &u), 0);
    cr_assert_eq(u, 0x6e0001ff);
    cr_assert_eq(ph_msg_uint(&m, PH_IX_LIFETIME, &u), PH_E_MISSING);
    cr_assert_eq(u, 0x6e0001ff, "written without success");
    cr_assert_eq(ph_msg_addr(&m, PH_IX_XOR_MAPPED_ADDRESS, &a), PH_E_MISSING);
    cr_assert_eq(a.port, 1);
    cr_assert_eq(ph_msg_bytes(&m, PH_IX_REALM, &s), PH_E_MISSING);
    cr_assert_null(s.p);
    cr_assert_eq(ph_msg_error(&m, &code, &s), PH_E_MISSING);
    cr_assert_eq(code, 1);
    struct frame f = ATTRS("\x00\x09\x00\x0c"
                           "\0\0\4\1Unauthen"
                           "\x00\x0d\x00\x02"
                           "ab\0\0");
    cr_assert_eq(ph_msg_parse(&m, f.b, f.n), 0);
    cr_assert_eq(ph_msg_error(&m, &code, &s), 0);
    cr_assert(code == 401 && ph_slice_eq(s, ph_str("Unauthen")));
    cr_assert_eq(ph_msg_error(&m, &code, NULL), 0);
    cr_assert_eq(ph_msg_uint(&m, PH_IX_LIFETIME, &u), PH_E_LENGTH);
}

Test(codec_msg, reads_the_longest_frame)
{
    static uint8_t p[PH_STUN_MAX], big[65536];
    struct ph_msgw w;
    struct ph_msg m;
    struct ph_slice s;
    ph_msgw_begin(&w, p, sizeof p, PH_DATA_METHOD, PH_INDICATION, (const uint8_t *)"0123456789ab");
    ph_msgw_bytes(&w, PH_ATTR_DATA, (struct ph_slice){big, 65532 - 4 - 8});
    ph_msgw_uint(&w, PH_ATTR_LIFETIME, 77); /* its offset does not fit 16 bits */
    cr_assert_eq(ph_msgw_end(&w), PH_STUN_MAX);
    cr_assert_eq(ph_msg_parse(&m, p, sizeof p), 0);
    cr_assert_eq(ph_msg_bytes(&m, PH_IX_DATA, &s), 0);
    cr_assert_eq(s.n, 65520);
    uint64_t u = 0;
    cr_assert_eq(ph_msg_uint(&m, PH_IX_LIFETIME, &u), 0);
    cr_assert_eq(u, 77);
}
