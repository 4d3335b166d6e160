#include "stun/base/error.h"
#include "stun/codec/attr.h"
#include "stun/codec/msg.h"
#include "stun/codec/msgw.h"
#include "support/vectors.h"

#include <criterion/criterion.h>

static const uint8_t TXID[PH_TXID_LEN] = {0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34,
                                          0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae};

/* What a row of the table is tried with: values at the edges and in the middle of its kind. */
struct samples {
    struct ph_attr_value v[8];
    unsigned n;
};

static uint8_t stuff[65536];

static void add(struct samples *s, struct ph_attr_value v)
{
    cr_assert_lt(s->n, 8);
    s->v[s->n++] = v;
}

static void add_bytes(struct samples *s, size_t n)
{
    add(s, (struct ph_attr_value){.bytes = {stuff, n}});
}

static void add_addrs(struct samples *s)
{
    uint8_t ip[16];
    memset(ip, 0xFF, sizeof ip);
    add(s, (struct ph_attr_value){.addr = ph_addr_v4(ip, 65535, 0)});
    add(s, (struct ph_attr_value){.addr = ph_addr_v6(ip, 65535, 0)});
    memset(ip, 0, sizeof ip);
    add(s, (struct ph_attr_value){.addr = ph_addr_v4(ip, 0, 0)});
    add(s, (struct ph_attr_value){.addr = ph_addr_v6(ip, 0, 0)});
    add(s, (struct ph_attr_value){.addr = ph_addr_v4((uint8_t[]){192, 0, 2, 1}, 32853, 0)});
    add(s, (struct ph_attr_value){.addr = ph_addr_v6(stuff, 3478, 0)});
}

static void add_errors(struct samples *s, uint8_t family)
{
    struct ph_slice longest = {stuff, 763}, shorter = ph_str("Stale Nonce"), none = {0};
    add(s, (struct ph_attr_value){.error = {300, family, none}});
    add(s, (struct ph_attr_value){.error = {438, family, shorter}});
    add(s, (struct ph_attr_value){.error = {699, family, longest}});
}

/* Values that the attribute can carry. */
static struct samples good_values(const struct ph_attr_desc *d)
{
    struct samples s = {.n = 0};
    switch ((enum ph_attr_kind)d->kind) {
    case PH_KIND_ADDR:
    case PH_KIND_XADDR:
        add_addrs(&s);
        break;
    case PH_KIND_U64:
        add(&s, (struct ph_attr_value){.u = UINT64_MAX});
        add(&s, (struct ph_attr_value){.u = 0x932ff9b151263b36});
        /* fall through */
    case PH_KIND_U32:
        add(&s, (struct ph_attr_value){.u = UINT32_MAX});
        /* fall through */
    case PH_KIND_U16_PAD:
        add(&s, (struct ph_attr_value){.u = UINT16_MAX});
        /* fall through */
    case PH_KIND_U8:
    case PH_KIND_U8_PAD:
        add(&s, (struct ph_attr_value){.u = UINT8_MAX});
        add(&s, (struct ph_attr_value){.u = 0});
        add(&s, (struct ph_attr_value){.u = 0x80});
        break;
    case PH_KIND_FLAG:
        add(&s, (struct ph_attr_value){.u = 1});
        break;
    case PH_KIND_ERRCODE:
        add_errors(&s, 0);
        break;
    case PH_KIND_ADDR_ERRCODE:
        add_errors(&s, PH_AF_INET6);
        break;
    case PH_KIND_ALGORITHM:
        add(&s, (struct ph_attr_value){.alg = {2, {NULL, 0}}});
        add(&s, (struct ph_attr_value){.alg = {0xFFFF, {stuff, 1}}});
        add(&s, (struct ph_attr_value){.alg = {1, {stuff, 4}}});
        add(&s, (struct ph_attr_value){.alg = {1, {stuff, 65524}}});
        break;
    case PH_KIND_ICMP:
        add(&s, (struct ph_attr_value){.icmp = {3, 4, 1400}});
        add(&s, (struct ph_attr_value){.icmp = {0x7F, 0x1FF, UINT32_MAX}});
        add(&s, (struct ph_attr_value){.icmp = {0, 0, 0}});
        break;
    case PH_KIND_COUNTER:
        add(&s, (struct ph_attr_value){.counter = {1, 255}});
        add(&s, (struct ph_attr_value){.counter = {0, 0}});
        break;
    case PH_KIND_TEXT:
    case PH_KIND_BYTES:
    case PH_KIND_ALGORITHMS:
        add_bytes(&s, 1);
        add_bytes(&s, 3);
        /* fall through */
    case PH_KIND_MAC:
    case PH_KIND_MAC256:
    case PH_KIND_HASH:
    case PH_KIND_TYPES:
        add_bytes(&s, d->min_n);
        add_bytes(&s, d->max_n);
        add_bytes(&s, (d->min_n + d->max_n) / 2U & ~3U);
        break;
    }
    return s;
}

static bool same(const struct ph_attr_desc *d, const struct ph_attr_value *a,
                 const struct ph_attr_value *b)
{
    switch ((enum ph_attr_kind)d->kind) {
    case PH_KIND_ADDR:
    case PH_KIND_XADDR:
        return ph_addr_eq(&a->addr, &b->addr);
    case PH_KIND_U8:
    case PH_KIND_U8_PAD:
    case PH_KIND_U16_PAD:
    case PH_KIND_U32:
    case PH_KIND_U64:
        return a->u == b->u;
    case PH_KIND_FLAG:
        return true;
    case PH_KIND_ERRCODE:
    case PH_KIND_ADDR_ERRCODE:
        return a->error.code == b->error.code && a->error.family == b->error.family &&
               ph_slice_eq(a->error.reason, b->error.reason);
    case PH_KIND_ALGORITHM:
        return a->alg.number == b->alg.number && ph_slice_eq(a->alg.params, b->alg.params);
    case PH_KIND_ICMP:
        return a->icmp.type == b->icmp.type && a->icmp.code == b->icmp.code &&
               a->icmp.data == b->icmp.data;
    case PH_KIND_COUNTER:
        return a->counter.req == b->counter.req && a->counter.resp == b->counter.resp;
    default:
        return ph_slice_eq(a->bytes, b->bytes);
    }
}

static void fill_stuff(void)
{
    uint64_t state = 7;
    for (size_t i = 0; i < sizeof stuff; i++)
        stuff[i] = (uint8_t)(test_random(&state) | 1); /* no zeros: phrases drop them at the end */
}

TestSuite(codec_attr, .init = fill_stuff);

Test(codec_attr, finds_every_row_and_nothing_else)
{
    unsigned found = 0;
    for (unsigned type = 0; type < 0x10000; type++) {
        const struct ph_attr_desc *d = ph_attr_find((uint16_t)type);
        cr_assert(!d || d->type == type);
        found += d != NULL;
    }
    cr_assert_eq(found, PH_ATTR_COUNT);
    cr_assert_eq(ph_attr_find(PH_ATTR_USERNAME), &ph_attr_table[PH_IX_USERNAME]);
    cr_assert(ph_attr_required(0x7FFF) && !ph_attr_required(0x8000));
}

Test(codec_attr, round_trips_every_attribute)
{
    for (unsigned ix = 0; ix < PH_ATTR_COUNT; ix++) {
        const struct ph_attr_desc *d = &ph_attr_table[ix];
        struct samples s = good_values(d);
        cr_assert_gt(s.n, 0, "%s", d->name);
        for (unsigned i = 0; i < s.n; i++) {
            struct ph_attr_value back;
            uint8_t *p = exact_copy(stuff, 65528);
            int n = ph_attr_encode(d, &s.v[i], TXID, p, 65528);
            cr_assert(n >= d->min_n && n <= d->max_n, "%s sample %u: %d", d->name, i, n);
            uint8_t *exact = exact_copy(p, (size_t)n);
            cr_assert_eq(ph_attr_decode(d, exact, (size_t)n, TXID, &back), 0, "%s sample %u",
                         d->name, i);
            cr_assert(same(d, &s.v[i], &back), "%s sample %u", d->name, i);
            free(exact);
            free(p);
        }
    }
}

Test(codec_attr, encodes_into_exactly_enough_room)
{
    for (unsigned ix = 0; ix < PH_ATTR_COUNT; ix++) {
        const struct ph_attr_desc *d = &ph_attr_table[ix];
        struct samples s = good_values(d);
        uint8_t whole[65536];
        int n = ph_attr_encode(d, &s.v[0], TXID, whole, sizeof whole);
        for (size_t cap = 0; cap < (size_t)n; cap += 1 + cap / 16) {
            uint8_t *p = exact_copy(stuff, cap); /* a sanitizer sees what is written behind it */
            cr_assert_eq(ph_attr_encode(d, &s.v[0], TXID, p, cap), PH_E_NOSPACE, "%s", d->name);
            cr_assert_eq(memcmp(p, stuff, cap), 0, "%s writes before it checks", d->name);
            free(p);
        }
        uint8_t *p = exact_copy(stuff, (size_t)n);
        cr_assert_eq(ph_attr_encode(d, &s.v[0], TXID, p, (size_t)n), n);
        cr_assert_eq(memcmp(p, whole, (size_t)n), 0);
        free(p);
    }
}

Test(codec_attr, refuses_wrong_sizes)
{
    struct ph_attr_value v;
    for (unsigned ix = 0; ix < PH_ATTR_COUNT; ix++) {
        const struct ph_attr_desc *d = &ph_attr_table[ix];
        if (d->min_n > 0)
            cr_assert_eq(ph_attr_decode(d, stuff, d->min_n - 1U, TXID, &v), PH_E_LENGTH, "%s",
                         d->name);
        cr_assert_eq(ph_attr_decode(d, stuff, d->max_n + 1U, TXID, &v), PH_E_LENGTH, "%s", d->name);
    }
    cr_assert_eq(ph_attr_decode(ph_attr_find(PH_ATTR_UNKNOWN_ATTRIBUTES), stuff, 3, TXID, &v),
                 PH_E_LENGTH);
    cr_assert_eq(
        ph_attr_decode(ph_attr_find(PH_ATTR_MESSAGE_INTEGRITY_SHA256), stuff, 18, TXID, &v),
        PH_E_LENGTH);
}

/* Every content of every size up to 24 bytes: a defined result and no read outside. */
Test(codec_attr, decodes_any_bytes_safely)
{
    uint64_t state = 8;
    for (unsigned ix = 0; ix < PH_ATTR_COUNT; ix++)
        for (size_t n = 0; n <= 24; n++)
            for (unsigned k = 0; k < 20; k++) {
                uint8_t bytes[24];
                char text[256];
                struct ph_attr_value v;
                for (size_t i = 0; i < n; i++)
                    bytes[i] = (uint8_t)(test_random(&state) & (k % 2 ? 0xFF : 0x07));
                uint8_t *p = exact_copy(bytes, n);
                int err = ph_attr_decode(&ph_attr_table[ix], p, n, TXID, &v);
                cr_assert(err == 0 || err == PH_E_LENGTH || err == PH_E_FAMILY ||
                          err == PH_E_FORMAT);
                if (!err)
                    cr_assert_geq(ph_attr_print(&ph_attr_table[ix], &v, text, sizeof text), 0);
                free(p);
            }
}

static int encode(uint16_t type, struct ph_attr_value v)
{
    uint8_t p[1024];
    return ph_attr_encode(ph_attr_find(type), &v, TXID, p, sizeof p);
}

Test(codec_attr, refuses_values_it_cannot_carry)
{
    struct ph_addr none = {.port = 1}, alien = {.family = 3};
    cr_assert_eq(encode(PH_ATTR_MAPPED_ADDRESS, (struct ph_attr_value){.addr = none}), PH_E_ARG);
    cr_assert_eq(encode(PH_ATTR_XOR_MAPPED_ADDRESS, (struct ph_attr_value){.addr = alien}),
                 PH_E_ARG);
    cr_assert_eq(encode(PH_ATTR_EVEN_PORT, (struct ph_attr_value){.u = 0x100}), PH_E_ARG);
    cr_assert_eq(encode(PH_ATTR_CHANNEL_NUMBER, (struct ph_attr_value){.u = 0x10000}), PH_E_ARG);
    cr_assert_eq(encode(PH_ATTR_LIFETIME, (struct ph_attr_value){.u = 0x100000000}), PH_E_ARG);
    cr_assert_eq(encode(PH_ATTR_ERROR_CODE, (struct ph_attr_value){.error = {.code = 299}}),
                 PH_E_ARG);
    cr_assert_eq(encode(PH_ATTR_ERROR_CODE, (struct ph_attr_value){.error = {.code = 700}}),
                 PH_E_ARG);
    cr_assert_eq(
        encode(PH_ATTR_ERROR_CODE, (struct ph_attr_value){.error = {400, 0, {stuff, 764}}}),
        PH_E_ARG);
    cr_assert_eq(encode(PH_ATTR_ICMP, (struct ph_attr_value){.icmp = {.type = 0x80}}), PH_E_ARG);
    cr_assert_eq(encode(PH_ATTR_ICMP, (struct ph_attr_value){.icmp = {.code = 0x200}}), PH_E_ARG);
    cr_assert_eq(
        encode(PH_ATTR_PASSWORD_ALGORITHM, (struct ph_attr_value){.alg = {1, {stuff, 65525}}}),
        PH_E_ARG);
    static const struct {
        uint16_t type;
        size_t n;
    } BYTES[] = {
        {PH_ATTR_USERNAME, 509},
        {PH_ATTR_REALM, 764},
        {PH_ATTR_ALTERNATE_DOMAIN, 256},
        {PH_ATTR_MESSAGE_INTEGRITY, 19},
        {PH_ATTR_MESSAGE_INTEGRITY, 21},
        {PH_ATTR_MESSAGE_INTEGRITY_SHA256, 12},
        {PH_ATTR_MESSAGE_INTEGRITY_SHA256, 17},
        {PH_ATTR_MESSAGE_INTEGRITY_SHA256, 36},
        {PH_ATTR_USERHASH, 31},
        {PH_ATTR_UNKNOWN_ATTRIBUTES, 3},
        {PH_ATTR_DATA, 65529},
    };
    for (size_t i = 0; i < sizeof BYTES / sizeof *BYTES; i++)
        cr_assert_eq(encode(BYTES[i].type, (struct ph_attr_value){.bytes = {stuff, BYTES[i].n}}),
                     PH_E_ARG, "0x%04x with %zu bytes", BYTES[i].type, BYTES[i].n);
}

static int decode(uint16_t type, const char *bytes, size_t n, struct ph_attr_value *v)
{
    return ph_attr_decode(ph_attr_find(type), (const uint8_t *)bytes, n, TXID, v);
}

Test(codec_attr, decodes_layouts_of_the_rfcs)
{
    struct ph_attr_value v;
    /* RFC 8489 14.8: 21 reserved bits, 3 of class, 8 of number. */
    cr_assert_eq(decode(PH_ATTR_ERROR_CODE, "\xFF\xFF\xFC\x26Stale", 9, &v), 0);
    cr_assert_eq(v.error.code, 438);
    cr_assert_eq(v.error.family, 0);
    cr_assert(ph_slice_eq(v.error.reason, ph_str("Stale")));
    cr_assert_eq(decode(PH_ATTR_ERROR_CODE, "\0\0\2\0", 4, &v), PH_E_FORMAT);
    cr_assert_eq(decode(PH_ATTR_ERROR_CODE, "\0\0\7\0", 4, &v), PH_E_FORMAT);
    cr_assert_eq(decode(PH_ATTR_ERROR_CODE, "\0\0\4\144", 4, &v), PH_E_FORMAT);
    /* RFC 8656 18.12: the family first. */
    cr_assert_eq(decode(PH_ATTR_ADDRESS_ERROR_CODE, "\2\0\4\50", 4, &v), 0);
    cr_assert_eq(v.error.code, 440);
    cr_assert_eq(v.error.family, PH_AF_INET6);
    /* RFC 8656 18.13: 16 reserved bits, 7 of type, 9 of code. */
    cr_assert_eq(decode(PH_ATTR_ICMP, "\xFF\xFF\x06\x04\0\0\5\xDC", 8, &v), 0);
    cr_assert(v.icmp.type == 3 && v.icmp.code == 4 && v.icmp.data == 1500);
    cr_assert_eq(decode(PH_ATTR_ICMP, "\0\0\xFF\x00\0\0\0\0", 8, &v), 0);
    cr_assert(v.icmp.type == 127 && v.icmp.code == 256 && v.icmp.data == 0);
    /* RFC 7982 3.1. */
    cr_assert_eq(decode(PH_ATTR_TRANSACTION_TRANSMIT_COUNTER, "\xFF\xFF\3\2", 4, &v), 0);
    cr_assert(v.counter.req == 3 && v.counter.resp == 2);
    /* RFC 8656 18.1: two bytes, two reserved. */
    cr_assert_eq(decode(PH_ATTR_CHANNEL_NUMBER, "\x40\x01\xFF\xFF", 4, &v), 0);
    cr_assert_eq(v.u, 0x4001);
    /* RFC 8656 18.8: one byte, three reserved. */
    cr_assert_eq(decode(PH_ATTR_REQUESTED_TRANSPORT, "\x11\1\1\1", 4, &v), 0);
    cr_assert_eq(v.u, PH_UDP);
    /* RFC 5780 7.5 leaves open whether the padding is counted. */
    cr_assert_eq(decode(PH_ATTR_RESPONSE_PORT, "\x0d\x96", 2, &v), 0);
    cr_assert_eq(v.u, 3478);
    /* RFC 8489 14.1: the first byte is ignored. */
    cr_assert_eq(decode(PH_ATTR_MAPPED_ADDRESS, "\xFF\1\0\7\300\0\2\1", 8, &v), 0);
    cr_assert(v.addr.port == 7 && v.addr.family == PH_AF_INET && v.addr.ip[0] == 192);
}

Test(codec_attr, refuses_addresses_of_wrong_family_or_size)
{
    struct ph_attr_value v;
    cr_assert_eq(decode(PH_ATTR_MAPPED_ADDRESS, "\0\0\0\7\300\0\2\1", 8, &v), PH_E_FAMILY);
    cr_assert_eq(decode(PH_ATTR_XOR_MAPPED_ADDRESS, "\0\3\0\7\300\0\2\1", 8, &v), PH_E_FAMILY);
    cr_assert_eq(decode(PH_ATTR_MAPPED_ADDRESS, "\0\2\0\7\300\0\2\1", 8, &v), PH_E_LENGTH);
    cr_assert_eq(
        decode(PH_ATTR_MAPPED_ADDRESS, "\0\1\0\7\300\0\2\1\0\0\0\0\0\0\0\0\0\0\0\0", 20, &v),
        PH_E_LENGTH);
}

Test(codec_attr, drops_counted_padding_of_phrases)
{
    struct ph_attr_value v;
    cr_assert_eq(decode(PH_ATTR_ERROR_CODE, "\0\0\4\1No\0\0", 8, &v), 0);
    cr_assert(ph_slice_eq(v.error.reason, ph_str("No")));
    cr_assert_eq(decode(PH_ATTR_ERROR_CODE, "\0\0\4\1\0\0\0\0", 8, &v), 0);
    cr_assert_eq(v.error.reason.n, 0);
}

Test(codec_attr, accepts_algorithm_parameters_with_and_without_padding)
{
    struct ph_attr_value v;
    cr_assert_eq(decode(PH_ATTR_PASSWORD_ALGORITHM, "\0\2\0\0", 4, &v), 0);
    cr_assert(v.alg.number == 2 && v.alg.params.n == 0);
    cr_assert_eq(decode(PH_ATTR_PASSWORD_ALGORITHM, "\0\3\0\2ab", 6, &v), 0);
    cr_assert(v.alg.number == 3 && ph_slice_eq(v.alg.params, ph_str("ab")));
    cr_assert_eq(decode(PH_ATTR_PASSWORD_ALGORITHM, "\0\3\0\2abXX", 8, &v), 0);
    cr_assert(ph_slice_eq(v.alg.params, ph_str("ab")));
    cr_assert_eq(decode(PH_ATTR_PASSWORD_ALGORITHM, "\0\3\0\2abX", 7, &v), PH_E_LENGTH);
    cr_assert_eq(decode(PH_ATTR_PASSWORD_ALGORITHM, "\0\3\0\5abcd", 8, &v), PH_E_LENGTH);
}

static const char *print(uint16_t type, struct ph_attr_value v)
{
    static char text[512];
    int n = ph_attr_print(ph_attr_find(type), &v, text, sizeof text);
    cr_assert_eq((size_t)n, strlen(text));
    return text;
}

Test(codec_attr, prints_for_people)
{
    struct ph_addr a = ph_addr_v4((uint8_t[]){192, 0, 2, 1}, 3478, 0);
    cr_assert_str_eq(print(PH_ATTR_XOR_PEER_ADDRESS, (struct ph_attr_value){.addr = a}),
                     "192.0.2.1:3478");
    cr_assert_str_eq(print(PH_ATTR_LIFETIME, (struct ph_attr_value){.u = 600}), "600 s");
    cr_assert_str_eq(print(PH_ATTR_REQUESTED_TRANSPORT, (struct ph_attr_value){.u = 17}),
                     "17 (UDP)");
    cr_assert_str_eq(print(PH_ATTR_REQUESTED_ADDRESS_FAMILY, (struct ph_attr_value){.u = 2}),
                     "2 (IPv6)");
    cr_assert_str_eq(print(PH_ATTR_CHANNEL_NUMBER, (struct ph_attr_value){.u = 0x4001}), "0x4001");
    cr_assert_str_eq(print(PH_ATTR_EVEN_PORT, (struct ph_attr_value){.u = 0x80}),
                     "reserve the next port");
    cr_assert_str_eq(print(PH_ATTR_CHANGE_REQUEST, (struct ph_attr_value){.u = 6}), "IP and port");
    cr_assert_str_eq(print(PH_ATTR_CHANGE_REQUEST, (struct ph_attr_value){.u = 4}), "IP");
    cr_assert_str_eq(print(PH_ATTR_CHANGE_REQUEST, (struct ph_attr_value){.u = 2}), "port");
    cr_assert_str_eq(print(PH_ATTR_DONT_FRAGMENT, (struct ph_attr_value){.u = 1}), "yes");
    cr_assert_str_eq(
        print(PH_ATTR_ERROR_CODE, (struct ph_attr_value){.error = {438, 0, ph_str("Stale Nonce")}}),
        "438 \"Stale Nonce\"");
    cr_assert_str_eq(
        print(PH_ATTR_ADDRESS_ERROR_CODE, (struct ph_attr_value){.error = {440, 2, {0}}}),
        "IPv6 440");
    cr_assert_str_eq(print(PH_ATTR_ICMP, (struct ph_attr_value){.icmp = {3, 4, 1400}}),
                     "type 3 code 4 data 0x00000578");
    cr_assert_str_eq(print(PH_ATTR_UNKNOWN_ATTRIBUTES,
                           (struct ph_attr_value){.bytes = ph_str("\x7f\x01\x7f\x02")}),
                     "0x7f01, 0x7f02");
    cr_assert_str_eq(
        print(PH_ATTR_PASSWORD_ALGORITHMS,
              (struct ph_attr_value){.bytes = {(const uint8_t *)"\0\2\0\0\0\1\0\0", 8}}),
        "SHA-256, MD5");
    cr_assert_str_eq(print(PH_ATTR_DATA, (struct ph_attr_value){.bytes = {NULL, 0}}), "(empty)");
    cr_assert_str_eq(print(PH_ATTR_DATA, (struct ph_attr_value){.bytes = ph_str("\x01\xAB")}),
                     "01ab");
}

Test(codec_attr, prints_hostile_text_on_one_line)
{
    static const struct {
        const char *text, *printed;
    } CASES[] = {
        {"a\"b\\c", "\"a\\\"b\\\\c\""},
        {"line\nfeed\r\t\x1b[2J\x7f", "\"line\\x0afeed\\x0d\\x09\\x1b[2J\\x7f\""},
        {"\u30DE", "\"\u30DE\""},
        {"\xc0\xaf", "\"\\xc0\\xaf\""},                   /* overlong */
        {"\xed\xa0\x80", "\"\\xed\\xa0\\x80\""},          /* a surrogate */
        {"\xc2\x9b", "\"\\xc2\\x9b\""},                   /* a C1 control */
        {"\xe2\x80\xae", "\"\\xe2\\x80\\xae\""},          /* right-to-left override */
        {"\xf4\x90\x80\x80", "\"\\xf4\\x90\\x80\\x80\""}, /* beyond U+10FFFF */
        {"\xe3\x83", "\"\\xe3\\x83\""},                   /* cut */
        {"\U0001F600", "\"\U0001F600\""},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++)
        cr_assert_str_eq(
            print(PH_ATTR_USERNAME, (struct ph_attr_value){.bytes = ph_str(CASES[i].text)}),
            CASES[i].printed);
}

Test(codec_attr, cuts_printed_text_like_snprintf)
{
    struct ph_attr_value v = {.bytes = ph_str("0123456789")};
    for (size_t cap = 0; cap < 20; cap++) {
        char *dst = (char *)exact_copy("xxxxxxxxxxxxxxxxxxxx", cap);
        cr_assert_eq(ph_attr_print(ph_attr_find(PH_ATTR_REALM), &v, dst, cap), 12);
        if (cap) {
            cr_assert_eq(strlen(dst), cap > 12 ? 12 : cap - 1);
            cr_assert_eq(memcmp(dst, "\"0123456789\"", strlen(dst)), 0);
        }
        free(dst);
    }
}
