#include "stun/base/error.h"
#include "stun/codec/integrity.h"
#include "stun/codec/msgw.h"
#include "support/vectors.h"

#include <criterion/criterion.h>
#include <pthread.h>

static struct ph_slice bytes(const void *p, size_t n)
{
    return (struct ph_slice){p, n};
}

/* Compares with hex digits. */
static bool is_hex(const uint8_t *p, size_t n, const char *hex)
{
    char text[2 * 64 + 1];
    for (size_t i = 0; i < n; i++)
        snprintf(text + 2 * i, 3, "%02x", p[i]);
    return strcmp(text, hex) == 0;
}

Test(codec_integrity, digests_known_answers)
{
    uint8_t out[32];
    struct ph_slice abc[] = {ph_str("a"), {NULL, 0}, ph_str("bc")};
    ph_md5(out, abc, 3);
    cr_assert(is_hex(out, 16, "900150983cd24fb0d6963f7d28e17f72")); /* RFC 1321 A.5 */
    ph_sha256(out, abc, 3);                                         /* FIPS 180-4 */
    cr_assert(is_hex(out, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
    ph_md5(out, NULL, 0);
    cr_assert(is_hex(out, 16, "d41d8cd98f00b204e9800998ecf8427e"));
}

/* RFC 2202 3 and RFC 4231 4; the last two have keys longer than a block. */
static const struct {
    size_t key_n;
    uint8_t key_byte; /* 0: the key is text */
    const char *key, *data, *sha1, *sha256;
} HMACS[] = {
    {20, 0x0b, NULL, "Hi There", "b617318655057264e28bc0b6fb378c8ef146be00",
     "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
    {4, 0, "Jefe", "what do ya want for nothing?", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
     "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
    {80, 0xaa, NULL, "Test Using Larger Than Block-Size Key - Hash Key First",
     "aa4ae5e15272d00e95705637ce8a3b55ed402112", NULL},
    {131, 0xaa, NULL, "Test Using Larger Than Block-Size Key - Hash Key First", NULL,
     "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
};

Test(codec_integrity, computes_hmacs_of_the_rfcs)
{
    for (size_t i = 0; i < sizeof HMACS / sizeof *HMACS; i++) {
        uint8_t key[256], out[32];
        size_t n = strlen(HMACS[i].data);
        if (HMACS[i].key)
            memcpy(key, HMACS[i].key, HMACS[i].key_n);
        else
            memset(key, HMACS[i].key_byte, HMACS[i].key_n);
        /* Whatever the parts, the sum counts. */
        for (size_t cut = 0; cut <= n; cut++) {
            struct ph_slice parts[] = {bytes(HMACS[i].data, cut),
                                       bytes(HMACS[i].data + cut, n - cut)};
            ph_hmac_sha1(out, bytes(key, HMACS[i].key_n), parts, 2);
            cr_assert(!HMACS[i].sha1 || is_hex(out, 20, HMACS[i].sha1), "case %zu", i);
            ph_hmac_sha256(out, bytes(key, HMACS[i].key_n), parts, 2);
            cr_assert(!HMACS[i].sha256 || is_hex(out, 32, HMACS[i].sha256), "case %zu", i);
        }
    }
}

Test(codec_integrity, handles_keys_around_the_block_size)
{
    /* HMAC of a key longer than 64 bytes is that of its hash; 64 bytes are taken as they are. */
    uint8_t key[80], hash[32], a[32], b[32];
    struct ph_slice data = ph_str("data");
    memset(key, 'k', sizeof key);
    for (size_t n = 63; n <= 66; n++) {
        struct ph_slice k = bytes(key, n);
        ph_hmac_sha256(a, k, &data, 1);
        ph_sha256(hash, &k, 1);
        ph_hmac_sha256(b, bytes(hash, 32), &data, 1);
        cr_assert_eq(ph_equal_ct(a, b, 32), n > 64, "%zu bytes", n);
    }
    /* An empty key is one of zeros. */
    ph_hmac_sha1(a, bytes(NULL, 0), &data, 1);
    memset(key, 0, sizeof key);
    ph_hmac_sha1(b, bytes(key, 64), &data, 1);
    cr_assert(ph_equal_ct(a, b, 20));
}

Test(codec_integrity, derives_long_term_keys)
{
    /* RFC 8489 9.2.2's example: user "user", realm "realm", password "pass". */
    struct ph_key k = {.n = 9};
    cr_assert_eq(ph_key_long_term(&k, PH_ALG_MD5, ph_str("user"), ph_str("realm"), ph_str("pass")),
                 0);
    cr_assert(k.n == 16 && k.alg == PH_ALG_MD5);
    cr_assert(is_hex(k.b, 16, "8493fbc53ba582fb4c044c456bdc40eb"));
    cr_assert_eq(
        ph_key_long_term(&k, PH_ALG_SHA256, ph_str("user"), ph_str("realm"), ph_str("pass")), 0);
    cr_assert(k.n == 32 && k.alg == PH_ALG_SHA256);
    struct ph_slice whole = ph_str("user:realm:pass");
    uint8_t hash[32];
    ph_sha256(hash, &whole, 1);
    cr_assert(ph_equal_ct(k.b, hash, 32));
    cr_assert_eq(ph_key_long_term(&k, PH_ALG_NONE, whole, whole, whole), PH_E_ARG);
    cr_assert_eq(ph_key_long_term(&k, 3, whole, whole, whole), PH_E_ARG);
    cr_assert_eq(k.n, 32, "written although refused");
}

/* A request with MESSAGE-INTEGRITY and MESSAGE-INTEGRITY-SHA256 (n bytes of it, 0: none) and
 * FINGERPRINT. */
static size_t build(uint8_t *p, size_t cap, struct ph_slice key, bool sha1, size_t sha256)
{
    struct ph_msgw w;
    ph_msgw_begin(&w, p, cap, PH_ALLOCATE, PH_REQUEST, (const uint8_t *)"0123456789ab");
    ph_msgw_bytes(&w, PH_ATTR_USERNAME, ph_str("alice"));
    if (sha1)
        ph_msgw_integrity(&w, key);
    if (sha256)
        ph_msgw_integrity_sha256(&w, key, sha256);
    ph_msgw_fingerprint(&w);
    int n = ph_msgw_end(&w);
    cr_assert_gt(n, 0);
    return (size_t)n;
}

Test(codec_integrity, accepts_every_truncation_of_sha256)
{
    struct ph_slice key = ph_str("secret");
    for (size_t n = 16; n <= 32; n += 4) {
        uint8_t p[256];
        struct ph_msg m;
        cr_assert_eq(ph_msg_parse(&m, p, build(p, sizeof p, key, false, n)), 0);
        cr_assert_eq(ph_msg_check_integrity_sha256(&m, key), 0, "%zu bytes", n);
        cr_assert_eq(ph_msg_check_integrity_sha256(&m, ph_str("Secret")), PH_E_AUTH);
        cr_assert_eq(ph_msg_check_integrity(&m, key), PH_E_MISSING);
        /* The length in the header is covered: a shorter one is another value. */
        struct ph_slice mac;
        cr_assert_eq(ph_msg_bytes(&m, PH_IX_MESSAGE_INTEGRITY_SHA256, &mac), 0);
        cr_assert_eq(mac.n, n);
    }
}

Test(codec_integrity, checks_both_kinds_in_one_message)
{
    struct ph_slice key = ph_str("secret");
    uint8_t p[256];
    struct ph_msg m;
    cr_assert_eq(ph_msg_parse(&m, p, build(p, sizeof p, key, true, 32)), 0);
    cr_assert_eq(ph_msg_check_integrity(&m, key), 0);
    cr_assert_eq(ph_msg_check_integrity_sha256(&m, key), 0);
    p[m.len - 9] ^= 1; /* the last byte of MESSAGE-INTEGRITY-SHA256, in front of FINGERPRINT */
    cr_assert_eq(ph_msg_check_integrity(&m, key), 0);
    cr_assert_eq(ph_msg_check_integrity_sha256(&m, key), PH_E_AUTH);
}

Test(codec_integrity, ignores_what_follows_when_computing)
{
    struct ph_slice key = ph_str("secret");
    struct ph_msgw w;
    struct ph_msg m;
    uint8_t p[256];
    ph_msgw_begin(&w, p, sizeof p, PH_BINDING, PH_REQUEST, (const uint8_t *)"0123456789ab");
    ph_msgw_integrity(&w, key);
    ph_msgw_bytes(&w, PH_ATTR_SOFTWARE, ph_str("a stranger's addition"));
    cr_assert_eq(ph_msg_parse(&m, p, (size_t)ph_msgw_end(&w)), 0);
    cr_assert_eq(ph_msg_check_integrity(&m, key), 0);
    cr_assert(!ph_msg_has(&m, PH_IX_SOFTWARE));
}

/* Every bit of every vector: a flipped covered bit must make the check fail or the frame
 * unreadable. */
static void flip_sweep(const char *file, struct ph_slice key, bool sha256)
{
    struct vector v = vector_load(file);
    struct ph_msg m;
    cr_assert_eq(ph_msg_parse(&m, v.b, v.n), 0);
    int ix = sha256 ? PH_IX_MESSAGE_INTEGRITY_SHA256 : PH_IX_MESSAGE_INTEGRITY;
    size_t covered = m.at[ix] * 4u + 4 + (sha256 ? 32 : 20);
    for (size_t bit = 0; bit < 8 * covered; bit++) {
        v.b[bit / 8] ^= (uint8_t)(1 << bit % 8);
        int err = ph_msg_parse(&m, v.b, v.n);
        if (!err)
            err = sha256 ? ph_msg_check_integrity_sha256(&m, key) : ph_msg_check_integrity(&m, key);
        cr_assert_neq(err, 0, "%s: bit %zu is not protected", file, bit);
        v.b[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

Test(codec_integrity, fails_for_every_flipped_bit)
{
    struct ph_key key;
    for (unsigned i = 0; i < 3; i++)
        flip_sweep(VECTORS[i].file, ph_str(VECTOR_SHORT_KEY), false);
    ph_key_long_term(&key, PH_ALG_MD5, ph_str(VECTOR_USER), ph_str(VECTOR_REALM),
                     ph_str(VECTOR_PASSWORD));
    flip_sweep("rfc5769-2.4-long-term.hex", ph_key_slice(&key), false);
    ph_key_long_term(&key, PH_ALG_SHA256, ph_str(VECTOR_USER), ph_str(VECTOR_REALM),
                     ph_str(VECTOR_PASSWORD));
    flip_sweep("rfc8489-b.1-sha256.hex", ph_key_slice(&key), true);
}

Test(codec_integrity, compares_and_wipes)
{
    uint8_t a[4] = {1, 2, 3, 4}, b[4] = {1, 2, 3, 5};
    cr_assert(ph_equal_ct(a, b, 3) && !ph_equal_ct(a, b, 4) && ph_equal_ct(a, b, 0));
    ph_wipe(a, sizeof a);
    cr_assert_eq(memcmp(a, "\0\0\0\0", 4), 0);
}

static void *hash_a_lot(void *arg)
{
    uint8_t want[32], got[32];
    struct ph_slice data = bytes(arg, 1);
    ph_hmac_sha256(want, ph_str("key"), &data, 1);
    for (int i = 0; i < 3000; i++) {
        ph_hmac_sha256(got, ph_str("key"), &data, 1);
        if (memcmp(want, got, 32) != 0)
            return arg;
        ph_md5(got, &data, 1);
    }
    return NULL;
}

Test(codec_integrity, works_from_many_threads)
{
    enum { THREADS = 12 }; /* more than contexts are kept */
    pthread_t t[THREADS];
    uint8_t seed[THREADS];
    for (uint8_t i = 0; i < THREADS; i++) {
        seed[i] = i;
        cr_assert_eq(pthread_create(&t[i], NULL, hash_a_lot, &seed[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        void *wrong;
        pthread_join(t[i], &wrong);
        cr_assert_null(wrong);
    }
}
