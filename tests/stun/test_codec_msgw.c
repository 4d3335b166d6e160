#include "stun/base/bytes.h"
#include "stun/base/error.h"
#include "stun/codec/fingerprint.h"
#include "stun/codec/integrity.h"
#include "stun/codec/msg.h"
#include "stun/codec/msgw.h"
#include "support/vectors.h"

#include <criterion/criterion.h>

static const uint8_t TXID[PH_TXID_LEN] = "0123456789ab";

/* Writes a bit of everything. */
static int write_all(struct ph_msgw *w, uint8_t *p, size_t cap)
{
    struct ph_addr a = ph_addr_v4((uint8_t[]){192, 0, 2, 1}, 3478, PH_UDP);
    struct ph_attr_value icmp = {.icmp = {3, 4, 1400}};
    ph_msgw_begin(w, p, cap, PH_ALLOCATE, PH_ERROR, TXID);
    ph_msgw_addr(w, PH_ATTR_XOR_MAPPED_ADDRESS, &a);
    ph_msgw_uint(w, PH_ATTR_LIFETIME, 600);
    ph_msgw_uint(w, PH_ATTR_EVEN_PORT, 0x80);
    ph_msgw_bytes(w, PH_ATTR_USERNAME, ph_str("alice"));
    ph_msgw_flag(w, PH_ATTR_DONT_FRAGMENT);
    ph_msgw_error(w, 438, NULL);
    ph_msgw_attr(w, PH_ATTR_ICMP, &icmp);
    ph_msgw_raw(w, 0xBEEF, ph_str("odd"));
    ph_msgw_integrity(w, ph_str("key"));
    ph_msgw_integrity_sha256(w, ph_str("key"), 20);
    ph_msgw_fingerprint(w);
    return ph_msgw_end(w);
}

Test(codec_msgw, writes_what_the_reader_reads)
{
    uint8_t p[512];
    struct ph_msgw w;
    struct ph_msg m;
    struct ph_addr a;
    struct ph_slice s;
    uint16_t code;
    uint64_t u;
    int n = write_all(&w, p, sizeof p);
    cr_assert_gt(n, 0);
    cr_assert_eq(n % 4, 0);
    cr_assert_eq(ph_msg_parse(&m, p, (size_t)n), 0);
    cr_assert(m.method == PH_ALLOCATE && m.cls == PH_ERROR);
    cr_assert_eq(memcmp(ph_msg_txid(&m), TXID, PH_TXID_LEN), 0);
    cr_assert_eq(ph_msg_addr(&m, PH_IX_XOR_MAPPED_ADDRESS, &a), 0);
    cr_assert(a.port == 3478 && a.ip[0] == 192 && a.proto == PH_PROTO_NONE);
    cr_assert(ph_msg_uint(&m, PH_IX_LIFETIME, &u) == 0 && u == 600);
    cr_assert(ph_msg_uint(&m, PH_IX_EVEN_PORT, &u) == 0 && u == 0x80);
    cr_assert(ph_msg_bytes(&m, PH_IX_USERNAME, &s) == 0 && ph_slice_eq(s, ph_str("alice")));
    cr_assert(ph_msg_has(&m, PH_IX_DONT_FRAGMENT) && ph_msg_has(&m, PH_IX_ICMP));
    cr_assert(ph_msg_error(&m, &code, &s) == 0 && code == 438);
    cr_assert(ph_slice_eq(s, ph_str("Stale Nonce")));
    cr_assert_eq(ph_msg_check_integrity(&m, ph_str("key")), 0);
    cr_assert_eq(ph_msg_check_integrity_sha256(&m, ph_str("key")), 0);
    cr_assert_eq(ph_msg_check_fingerprint(&m), 0);
}

Test(codec_msgw, never_writes_outside_the_buffer)
{
    enum { GUARD = 64 };
    uint8_t whole[512], p[GUARD + 512 + GUARD];
    struct ph_msgw w;
    int n = write_all(&w, whole, sizeof whole);
    for (size_t cap = 0; cap <= (size_t)n + 8; cap++) {
        memset(p, 0xA5, sizeof p);
        int r = write_all(&w, p + GUARD, cap);
        cr_assert_eq(r, cap < (size_t)n ? PH_E_NOSPACE : n, "cap %zu", cap);
        for (size_t i = 0; i < GUARD; i++)
            cr_assert(p[i] == 0xA5 && p[GUARD + cap + i] == 0xA5, "cap %zu", cap);
        cr_assert(r < 0 || memcmp(p + GUARD, whole, (size_t)n) == 0);
    }
}

Test(codec_msgw, keeps_the_first_error)
{
    uint8_t p[64];
    struct ph_msgw w;
    ph_msgw_begin(&w, p, sizeof p, PH_BINDING, PH_SUCCESS, TXID);
    ph_msgw_uint(&w, PH_ATTR_LIFETIME, (uint64_t)1 << 40); /* too big */
    uint32_t len = w.len;
    ph_msgw_bytes(&w, PH_ATTR_DATA, (struct ph_slice){p, 64}); /* no room */
    ph_msgw_flag(&w, PH_ATTR_DONT_FRAGMENT);
    ph_msgw_integrity(&w, ph_str("k"));
    ph_msgw_integrity_sha256(&w, ph_str("k"), 32);
    ph_msgw_fingerprint(&w);
    ph_msgw_raw(&w, 1, ph_str("x"));
    cr_assert_eq(w.len, len, "written after an error");
    cr_assert_eq(ph_msgw_end(&w), PH_E_ARG);
}

Test(codec_msgw, refuses_wrong_uses)
{
    struct ph_addr a = ph_addr_v4((uint8_t[]){192, 0, 2, 1}, 1, 0), none = {0};
    uint8_t p[256];
    struct ph_msgw w;
    for (unsigned i = 0; i < 14; i++) {
        ph_msgw_begin(&w, p, sizeof p, PH_BINDING, PH_SUCCESS, TXID);
        switch (i) {
        case 0:
            ph_msgw_addr(&w, PH_ATTR_LIFETIME, &a);
            break;
        case 1:
            ph_msgw_addr(&w, PH_ATTR_XOR_MAPPED_ADDRESS, &none);
            break;
        case 2:
            ph_msgw_uint(&w, PH_ATTR_USERNAME, 1);
            break;
        case 3:
            ph_msgw_bytes(&w, PH_ATTR_LIFETIME, ph_str("abcd"));
            break;
        case 4:
            ph_msgw_bytes(&w, PH_ATTR_ERROR_CODE, ph_str("abcd"));
            break;
        case 5:
            ph_msgw_flag(&w, PH_ATTR_LIFETIME);
            break;
        case 6:
            ph_msgw_uint(&w, 0x7777, 1);
            break;
        case 7:
            ph_msgw_error(&w, 200, NULL);
            break;
        case 8:
            ph_msgw_integrity_sha256(&w, ph_str("k"), 12);
            break;
        case 9:
            ph_msgw_integrity_sha256(&w, ph_str("k"), 18);
            break;
        case 10:
            ph_msgw_integrity_sha256(&w, ph_str("k"), 36);
            break;
        case 11:
            ph_msgw_attr(&w, 0x7777, &(struct ph_attr_value){.u = 1});
            break;
        case 12:
            ph_msgw_bytes(&w, PH_ATTR_USERHASH, ph_str("short"));
            break;
        default:
            ph_msgw_begin(&w, p, sizeof p, 0x1000, PH_SUCCESS, TXID);
            break;
        }
        cr_assert_eq(ph_msgw_end(&w), PH_E_ARG, "use %u", i);
    }
}

Test(codec_msgw, pads_with_zeros)
{
    for (size_t n = 0; n < 12; n++) {
        uint8_t p[64];
        struct ph_msgw w;
        memset(p, 0xFF, sizeof p);
        ph_msgw_begin(&w, p, sizeof p, PH_BINDING, PH_SUCCESS, TXID);
        ph_msgw_bytes(&w, PH_ATTR_SOFTWARE, (struct ph_slice){(const uint8_t *)"xxxxxxxxxxxx", n});
        size_t len = (size_t)ph_msgw_end(&w);
        cr_assert_eq(len, 24 + (n + 3) / 4 * 4);
        cr_assert_eq(ph_get16(p + 22), n, "the length is without padding");
        for (size_t i = 24 + n; i < len; i++)
            cr_assert_eq(p[i], 0);
        cr_assert(p[len] == 0xFF);
    }
    /* Reserved bytes of values are zeros as well. */
    uint8_t p[64];
    struct ph_msgw w;
    memset(p, 0xFF, sizeof p);
    ph_msgw_begin(&w, p, sizeof p, PH_BINDING, PH_REQUEST, TXID);
    ph_msgw_uint(&w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
    ph_msgw_uint(&w, PH_ATTR_CHANNEL_NUMBER, 0x4000);
    ph_msgw_uint(&w, PH_ATTR_EVEN_PORT, 0);
    cr_assert_eq(ph_msgw_end(&w), 20 + 24);
    cr_assert_eq(memcmp(p + 24, "\x11\0\0\0", 4), 0);
    cr_assert_eq(memcmp(p + 32, "\x40\0\0\0", 4), 0);
    cr_assert_eq(memcmp(p + 40, "\0\0\0\0", 4), 0);
}

Test(codec_msgw, closes_the_frame_with_fingerprint)
{
    uint8_t p[256];
    struct ph_msgw w;
    ph_msgw_begin(&w, p, sizeof p, PH_BINDING, PH_SUCCESS, TXID);
    ph_msgw_fingerprint(&w);
    cr_assert_eq(ph_msgw_end(&w), 28);
    ph_msgw_flag(&w, PH_ATTR_DONT_FRAGMENT);
    cr_assert_eq(ph_msgw_end(&w), PH_E_NOSPACE);
}

Test(codec_msgw, builds_an_answer_over_the_request)
{
    struct vector v = vector_load("rfc5769-2.1-request.hex");
    struct ph_addr a = ph_addr_v4((uint8_t[]){192, 0, 2, 1}, 32853, PH_UDP);
    uint8_t id[PH_TXID_LEN];
    struct ph_msgw w;
    struct ph_msg m;
    cr_assert_eq(ph_msg_parse(&m, v.b, v.n), 0);
    memcpy(id, ph_msg_txid(&m), sizeof id);
    ph_msgw_begin(&w, v.b, sizeof v.b, m.method, PH_SUCCESS, ph_msg_txid(&m));
    ph_msgw_addr(&w, PH_ATTR_XOR_MAPPED_ADDRESS, &a);
    int n = ph_msgw_end(&w);
    cr_assert_eq(ph_msg_parse(&m, v.b, (size_t)n), 0);
    cr_assert_eq(memcmp(ph_msg_txid(&m), id, sizeof id), 0);
    cr_assert_eq(ph_msg_addr(&m, PH_IX_XOR_MAPPED_ADDRESS, &a), 0);
    cr_assert(a.port == 32853 && a.ip[3] == 1);
    /* The id may also come from anywhere else in the buffer. */
    memcpy(v.b, "another id..", 12);
    ph_msgw_begin(&w, v.b, sizeof v.b, PH_BINDING, PH_SUCCESS, v.b);
    cr_assert_eq(memcmp(v.b + 8, "another id..", 12), 0);
}

Test(codec_msgw, writes_reason_phrases)
{
    static const struct {
        uint16_t code;
        const char *reason, *want;
    } CASES[] = {{401, NULL, "Unauthenticated"},
                 {401, "", ""},
                 {400, "No FINGERPRINT", "No FINGERPRINT"},
                 {599, NULL, "Error"}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        uint8_t p[128];
        struct ph_msgw w;
        struct ph_msg m;
        struct ph_slice reason;
        uint16_t code;
        ph_msgw_begin(&w, p, sizeof p, PH_BINDING, PH_ERROR, TXID);
        ph_msgw_error(&w, CASES[i].code, CASES[i].reason);
        cr_assert_eq(ph_msg_parse(&m, p, (size_t)ph_msgw_end(&w)), 0);
        cr_assert_eq(ph_msg_error(&m, &code, &reason), 0);
        cr_assert_eq(code, CASES[i].code);
        cr_assert(ph_slice_eq(reason, ph_str(CASES[i].want)));
    }
}

Test(codec_msgw, stops_at_the_longest_frame)
{
    static uint8_t p[PH_STUN_MAX + 100], data[65536];
    struct ph_msgw w;
    ph_msgw_begin(&w, p, sizeof p, PH_DATA_METHOD, PH_INDICATION, TXID);
    ph_msgw_bytes(&w, PH_ATTR_DATA, (struct ph_slice){data, 65528});
    cr_assert_eq(ph_msgw_end(&w), PH_STUN_MAX);
    ph_msgw_flag(&w, PH_ATTR_DONT_FRAGMENT);
    cr_assert_eq(ph_msgw_end(&w), PH_E_NOSPACE);
    ph_msgw_begin(&w, p, sizeof p, PH_DATA_METHOD, PH_INDICATION, TXID);
    ph_msgw_raw(&w, 0xBEEF, (struct ph_slice){data, 65529});
    cr_assert_eq(ph_msgw_end(&w), PH_E_NOSPACE);
}
