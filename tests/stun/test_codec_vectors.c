/*
 * The messages of RFC 5769 2.1-2.4 and RFC 8489 B.1: read, checked, and written again byte by byte.
 */
#include "stun/base/bytes.h"
#include "stun/base/error.h"
#include "stun/codec/algs.h"
#include "stun/codec/fingerprint.h"
#include "stun/codec/integrity.h"
#include "stun/codec/msg.h"
#include "stun/codec/msgw.h"
#include "support/vectors.h"

#include <criterion/criterion.h>

static struct ph_key key_of(enum vector_key which)
{
    struct ph_key k = {.n = 0};
    cr_assert_eq(ph_key_long_term(&k, which == KEY_MD5 ? PH_ALG_MD5 : PH_ALG_SHA256,
                                  ph_str(VECTOR_USER), ph_str(VECTOR_REALM),
                                  ph_str(VECTOR_PASSWORD)),
                 0);
    return k;
}

static void check_text(const struct ph_msg *m, enum ph_attr_index ix, const char *want)
{
    struct ph_slice s;
    cr_assert_eq(ph_msg_bytes(m, ix, &s), 0);
    cr_assert(ph_slice_eq(s, ph_str(want)), "%.*s", (int)s.n, (const char *)s.p);
}

Test(codec_vectors, have_good_integrity_and_fingerprints)
{
    for (unsigned i = 0; i < VECTOR_COUNT; i++) {
        struct vector v = vector_load(VECTORS[i].file);
        struct ph_key k = key_of(VECTORS[i].key);
        struct ph_slice key =
            VECTORS[i].key == KEY_SHORT ? ph_str(VECTOR_SHORT_KEY) : ph_key_slice(&k);
        bool sha256 = VECTORS[i].key == KEY_SHA256;
        uint8_t *p = exact_copy(v.b, v.n);
        struct ph_msg m;
        cr_assert_eq(ph_msg_parse(&m, p, v.n), 0, "%s", VECTORS[i].file);
        cr_assert_eq(m.has_unknown, 0);
        cr_assert_eq(ph_msg_check_integrity(&m, key), sha256 ? PH_E_MISSING : 0);
        cr_assert_eq(ph_msg_check_integrity_sha256(&m, key), sha256 ? 0 : PH_E_MISSING);
        cr_assert_eq(ph_msg_check_integrity(&m, ph_str("wrong")),
                     sha256 ? PH_E_MISSING : PH_E_AUTH);
        cr_assert_eq(ph_msg_check_fingerprint(&m), VECTORS[i].key == KEY_SHORT ? 0 : PH_E_MISSING);
        free(p);
    }
}

Test(codec_vectors, request_2_1)
{
    struct vector v = vector_load("rfc5769-2.1-request.hex");
    struct ph_msg m;
    uint64_t u;
    cr_assert_eq(ph_msg_parse(&m, v.b, v.n), 0);
    cr_assert(m.method == PH_BINDING && m.cls == PH_REQUEST);
    check_text(&m, PH_IX_SOFTWARE, "STUN test client");
    check_text(&m, PH_IX_USERNAME, "evtj:h6vY");
    cr_assert(ph_msg_uint(&m, PH_IX_PRIORITY, &u) == 0 && u == 0x6e0001ff);
    cr_assert(ph_msg_uint(&m, PH_IX_ICE_CONTROLLED, &u) == 0 && u == 0x932ff9b151263b36);
}

Test(codec_vectors, responses_2_2_and_2_3)
{
    static const char *const WANT[] = {"192.0.2.1:32853",
                                       "[2001:db8:1234:5678:11:2233:4455:6677]:32853"};
    for (unsigned i = 0; i < 2; i++) {
        struct vector v = vector_load(VECTORS[1 + i].file);
        char text[PH_ADDR_TEXT];
        struct ph_addr a;
        struct ph_msg m;
        cr_assert_eq(ph_msg_parse(&m, v.b, v.n), 0);
        cr_assert(m.method == PH_BINDING && m.cls == PH_SUCCESS);
        check_text(&m, PH_IX_SOFTWARE, "test vector");
        cr_assert_eq(ph_msg_addr(&m, PH_IX_XOR_MAPPED_ADDRESS, &a), 0);
        cr_assert_str_eq(ph_addr_text(&a, text), WANT[i]);
    }
}

Test(codec_vectors, long_term_request_2_4)
{
    struct vector v = vector_load("rfc5769-2.4-long-term.hex");
    struct ph_msg m;
    cr_assert_eq(ph_msg_parse(&m, v.b, v.n), 0);
    check_text(&m, PH_IX_USERNAME, VECTOR_USER);
    check_text(&m, PH_IX_NONCE, "f//499k954d6OL34oL9FSTvy64sA");
    check_text(&m, PH_IX_REALM, VECTOR_REALM);
}

Test(codec_vectors, sha256_request_b_1)
{
    struct vector v = vector_load("rfc8489-b.1-sha256.hex");
    struct ph_attr_value alg;
    struct ph_slice s;
    struct ph_msg m;
    uint8_t userhash[32];
    unsigned features;
    cr_assert_eq(ph_msg_parse(&m, v.b, v.n), 0);
    ph_userhash(userhash, ph_str(VECTOR_USER), ph_str(VECTOR_REALM));
    cr_assert_eq(ph_msg_bytes(&m, PH_IX_USERHASH, &s), 0);
    cr_assert(s.n == 32 && memcmp(s.p, userhash, 32) == 0);
    cr_assert_eq(ph_msg_bytes(&m, PH_IX_NONCE, &s), 0);
    cr_assert(ph_nonce_cookie_read(s, &features));
    cr_assert_eq(features, PH_FEATURE_USERNAME_ANONYMITY);
    cr_assert_eq(ph_msg_get(&m, PH_IX_PASSWORD_ALGORITHM, &alg), 0);
    cr_assert_eq(alg.alg.number, PH_ALG_SHA256);
}

/* Copies the attributes of a vector through the writer.  Padding is zero then, as RFC 8489 asks;
 * the vectors of RFC 5769 have 0x20, so theirs is put in before integrity is computed. */
static int rewrite(const struct vector *v, struct ph_slice key, uint8_t *dst, size_t cap)
{
    struct ph_msgw w;
    struct ph_msg m;
    struct ph_msg_it it = {0};
    cr_assert_eq(ph_msg_parse(&m, v->b, v->n), 0);
    ph_msgw_begin(&w, dst, cap, m.method, (enum ph_class)m.cls, ph_msg_txid(&m));
    while (ph_msg_next(&m, &it)) {
        struct ph_attr_value value;
        const struct ph_attr_desc *d = ph_attr_find(it.type);
        if (it.type == PH_ATTR_MESSAGE_INTEGRITY) {
            ph_msgw_integrity(&w, key);
        } else if (it.type == PH_ATTR_MESSAGE_INTEGRITY_SHA256) {
            ph_msgw_integrity_sha256(&w, key, it.value.n);
        } else if (it.type == PH_ATTR_FINGERPRINT) {
            ph_msgw_fingerprint(&w);
        } else {
            cr_assert_eq(ph_attr_decode(d, it.value.p, it.value.n, ph_msg_txid(&m), &value), 0);
            ph_msgw_attr(&w, it.type, &value);
            for (uint32_t i = w.len - (uint32_t)(-it.value.n & 3); i < w.len; i++) {
                cr_assert_eq(dst[i], 0);
                dst[i] = v->b[i];
            }
        }
    }
    return ph_msgw_end(&w);
}

Test(codec_vectors, can_be_written_byte_by_byte)
{
    for (unsigned i = 0; i < VECTOR_COUNT; i++) {
        struct vector v = vector_load(VECTORS[i].file);
        struct ph_key k = key_of(VECTORS[i].key);
        struct ph_slice key =
            VECTORS[i].key == KEY_SHORT ? ph_str(VECTOR_SHORT_KEY) : ph_key_slice(&k);
        uint8_t p[VECTOR_MAX];
        cr_assert_eq(rewrite(&v, key, p, sizeof p), (int)v.n, "%s", VECTORS[i].file);
        cr_assert_eq(memcmp(p, v.b, v.n), 0, "%s", VECTORS[i].file);
    }
}
