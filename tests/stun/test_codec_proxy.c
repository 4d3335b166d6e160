#include "stun/base/bytes.h"
#include "stun/base/error.h"
#include "stun/codec/proxy.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct ph_proxy got;

/* Parses exactly n bytes: memory ends there, so that a sanitizer sees a read too far. */
static int parse(const void *p, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    cr_assert_not_null(copy);
    memcpy(copy, p, n);
    memset(&got, 0xEE, sizeof got);
    int r = ph_proxy_parse(&got, copy, n);
    free(copy);
    return r;
}

/* Every shorter piece of it needs more; the whole, with something behind, is taken. */
static void accepts(const void *p, size_t n)
{
    uint8_t more[PH_PROXY_V2_MAX + 4] = {0};
    for (size_t k = 0; k < n; k++)
        cr_assert_eq(parse(p, k), 0, "%zu of %zu bytes", k, n);
    cr_assert_eq(parse(p, n), (int)n);
    memcpy(more, p, n);
    cr_assert_eq(parse(more, n + 4), (int)n);
}

static void is(const struct ph_addr *a, const char *want)
{
    char text[PH_ADDR_TEXT];
    cr_assert_str_eq(ph_addr_text(a, text), want);
    cr_assert_eq(a->proto, PH_TCP);
}

/* ---- version 1 ----------------------------------------------------------------------------------- */

Test(codec_proxy, v1_names_both_ends)
{
    static const char v4[] = "PROXY TCP4 192.0.2.1 198.51.100.1 56324 3478\r\n";
    static const char v6[] = "PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n";
    accepts(v4, strlen(v4));
    cr_assert_not(got.local);
    is(&got.src, "192.0.2.1:56324");
    is(&got.dst, "198.51.100.1:3478");
    accepts(v6, strlen(v6));
    is(&got.src, "[2001:db8::1]:1");
    is(&got.dst, "[2001:db8::2]:65535");
}

Test(codec_proxy, v1_unknown_is_the_balancer_itself)
{
    static const char *const lines[] = {"PROXY UNKNOWN\r\n", "PROXY UNKNOWN what ever 1 2 3\r\n",
                                        "PROXY UNKNOWN ffff:f... a b\r\n"};
    for (size_t i = 0; i < 3; i++) {
        accepts(lines[i], strlen(lines[i]));
        cr_assert(got.local);
        cr_assert_eq(got.src.family, PH_AF_NONE);
        cr_assert_eq(got.dst.family, PH_AF_NONE);
    }
}

Test(codec_proxy, v1_takes_the_longest_line_and_no_longer)
{
    char line[PH_PROXY_V1_MAX + 2];
    memset(line, 'x', sizeof line);
    memcpy(line, "PROXY UNKNOWN ", 14);
    memcpy(line + PH_PROXY_V1_MAX - 2, "\r\n", 2);
    accepts(line, PH_PROXY_V1_MAX);
    memset(line, 'x', sizeof line);
    memcpy(line, "PROXY UNKNOWN ", 14);
    memcpy(line + PH_PROXY_V1_MAX - 1, "\r\n", 2);
    cr_assert_eq(parse(line, PH_PROXY_V1_MAX - 1), 0);
    cr_assert_eq(parse(line, PH_PROXY_V1_MAX), PH_E_FORMAT);
    cr_assert_eq(parse(line, PH_PROXY_V1_MAX + 1), PH_E_FORMAT);
}

Test(codec_proxy, v1_is_strict)
{
    static const char *const bad[] = {
        "PROXY \r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 56324 \r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 56324 3478 \r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 56324 3478 1\r\n",
        "PROXY TCP4  192.0.2.1 198.51.100.1 56324 3478\r\n",
        "PROXY  TCP4 192.0.2.1 198.51.100.1 56324 3478\r\n",
        "PROXY tcp4 192.0.2.1 198.51.100.1 56324 3478\r\n",
        "PROXY TCP5 192.0.2.1 198.51.100.1 56324 3478\r\n",
        "PROXY UDP4 192.0.2.1 198.51.100.1 56324 3478\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 65536 3478\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 056 3478\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 -1 3478\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 +1 3478\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 99999999999 3478\r\n",
        "PROXY TCP4 192.0.2.1:80 198.51.100.1 1 2\r\n",
        "PROXY TCP4 192.0.2.256 198.51.100.1 1 2\r\n",
        "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.1 1 2\r\n",
        "PROXY TCP6 [2001:db8::1] 2001:db8::2 1 2\r\n",
        "PROXY TCP6 [2001:db8::1]:9 2001:db8::2 1 2\r\n",
        "PROXY TCP6 2001:db8::1%lo 2001:db8::2 1 2\r\n",
        "PROXY\tTCP4 192.0.2.1 198.51.100.1 56324 3478\r\n",
        "proxy TCP4 192.0.2.1 198.51.100.1 56324 3478\r\n",
        "GET / HTTP/1.1\r\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert_eq(parse(bad[i], strlen(bad[i])), PH_E_FORMAT, "%s", bad[i]);
    cr_assert_eq(parse("PROXY TCP4 192.0.2.1 198.51.100.1 1 2\n", 38), 0, "a line ends with CR LF");
    cr_assert_eq(parse("PROXX", 5), PH_E_FORMAT, "bad at the first wrong byte");
}

/* ---- version 2 ----------------------------------------------------------------------------------- */

/* A header with `len` bytes behind the sixteen; the TCP4 addresses 192.0.2.1:56324 -> 198.51.100.1:3478 are there. */
static size_t v2(uint8_t *p, uint8_t command, uint8_t family, size_t len)
{
    memset(p, 0, 16 + len);
    memcpy(p, "\r\n\r\n\0\r\nQUIT\n", 12);
    p[12] = command;
    p[13] = family;
    ph_put16(p + 14, (uint16_t)len);
    if (len >= 12)
        memcpy(p + 16, (uint8_t[]){192, 0, 2, 1, 198, 51, 100, 1, 0xDC, 0x04, 0x0D, 0x96}, 12);
    return 16 + len;
}

Test(codec_proxy, v2_names_both_ends)
{
    uint8_t p[64];
    accepts(p, v2(p, 0x21, 0x11, 12));
    cr_assert_not(got.local);
    is(&got.src, "192.0.2.1:56324");
    is(&got.dst, "198.51.100.1:3478");

    size_t n = v2(p, 0x21, 0x21, 36);
    memcpy(p + 16, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 16);
    memcpy(p + 32, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\2\0\1\xFF\xFF", 20);
    accepts(p, n);
    is(&got.src, "[2001:db8::1]:1");
    is(&got.dst, "[2001:db8::2]:65535");
}

Test(codec_proxy, v2_local_and_unspecified_are_the_balancer_itself)
{
    uint8_t p[64];
    accepts(p, v2(p, 0x20, 0x00, 0));
    cr_assert(got.local);
    accepts(p, v2(p, 0x20, 0x11, 12));
    cr_assert(got.local);
    cr_assert_eq(got.src.family, PH_AF_NONE, "the addresses of LOCAL are to be ignored");
    accepts(p, v2(p, 0x20, 0x77, 5));
    cr_assert(got.local);
    accepts(p, v2(p, 0x21, 0x00, 7));
    cr_assert(got.local);
}

Test(codec_proxy, v2_refuses_what_is_not_tcp_or_not_known)
{
    static const uint8_t families[] = {0x01, 0x10, 0x12, 0x13, 0x20, 0x22, 0x31, 0x32, 0x41, 0xFF};
    uint8_t p[300];
    for (size_t i = 0; i < sizeof families; i++)
        cr_assert_eq(parse(p, v2(p, 0x21, families[i], 216)), PH_E_FORMAT, "%#x", families[i]);
    static const uint8_t commands[] = {0x11, 0x31, 0x01, 0x22, 0x2F, 0x00};
    for (size_t i = 0; i < sizeof commands; i++)
        cr_assert_eq(parse(p, v2(p, commands[i], 0x11, 12)), PH_E_FORMAT, "%#x", commands[i]);
    cr_assert_eq(parse(p, v2(p, 0x21, 0x11, 11)), PH_E_FORMAT, "the addresses do not fit");
    cr_assert_eq(parse(p, v2(p, 0x21, 0x21, 35)), PH_E_FORMAT);
    v2(p, 0x21, 0x11, 12);
    p[11] = '\r';
    cr_assert_eq(parse(p, 11), 0);
    cr_assert_eq(parse(p, 12), PH_E_FORMAT, "bad at the first wrong byte");
}

Test(codec_proxy, v2_is_bounded_in_length)
{
    static uint8_t p[PH_PROXY_V2_MAX + 1];
    size_t n = v2(p, 0x21, 0x11, 4096);
    p[28] = 0x04; /* PP2_TYPE_NOOP fills the rest */
    ph_put16(p + 29, 4096 - 12 - 3);
    cr_assert_eq(parse(p, n - 1), 0);
    cr_assert_eq(parse(p, n), (int)n);
    ph_put16(p + 14, 4097);
    cr_assert_eq(parse(p, 15), 0);
    cr_assert_eq(parse(p, 16), PH_E_FORMAT, "said before its bytes are waited for");
}

Test(codec_proxy, v2_tlvs_must_be_whole)
{
    uint8_t p[64];
    size_t n = v2(p, 0x21, 0x11, 12 + 7);
    memcpy(p + 28, "\x02\0\4turn", 7); /* PP2_TYPE_AUTHORITY */
    accepts(p, n);
    p[30] = 5;
    cr_assert_eq(parse(p, n), PH_E_FORMAT, "it runs out of the header");
    p[30] = 2;
    cr_assert_eq(parse(p, n), PH_E_FORMAT, "two bytes are left over");
    p[30] = 1;
    cr_assert_eq(parse(p, n), PH_E_FORMAT, "a TLV that begins in the last three bytes");
}

/* The checksum of RFC 3720 B.4's kind, computed here a second way: by division, the bits reversed at both ends. */
static uint32_t slow_crc32c(const uint8_t *p, size_t n)
{
    uint64_t rest = 0xFFFFFFFF;
    for (size_t i = 0; i < n * 8; i++) {
        uint64_t in = p[i / 8] >> (i % 8) & 1, top = rest >> 31 & 1;
        rest = (rest << 1) & 0xFFFFFFFF;
        if (in ^ top)
            rest ^= 0x1EDC6F41;
    }
    uint32_t out = 0;
    for (unsigned i = 0; i < 32; i++)
        out |= (uint32_t)(rest >> i & 1) << (31 - i);
    return ~out;
}

Test(codec_proxy, v2_checks_the_checksum_if_there_is_one)
{
    uint8_t p[80];
    cr_assert_eq(slow_crc32c((const uint8_t *)"123456789", 9), 0xE3069283, "the known answer");
    size_t n = v2(p, 0x21, 0x11, 12 + 7 + 7);
    memcpy(p + 28, "\x02\0\4turn\x03\0\4\0\0\0\0", 14);
    ph_put32(p + 38, slow_crc32c(p, n));
    accepts(p, n);
    for (size_t i = 16; i < n; i++) {
        if (i >= 28 && i < 38)
            continue; /* types and lengths: another error */
        p[i] ^= 0x10;
        cr_assert_eq(parse(p, n), PH_E_FORMAT, "byte %zu is wrong", i);
        p[i] ^= 0x10;
    }
    n = v2(p, 0x21, 0x11, 12 + 6);
    memcpy(p + 28, "\x03\0\3\0\0\0", 6);
    cr_assert_eq(parse(p, n), PH_E_FORMAT, "a checksum has four bytes");
    n = v2(p, 0x21, 0x11, 12 + 14);
    memcpy(p + 28, "\x03\0\4\0\0\0\0\x03\0\4\0\0\0\0", 14);
    cr_assert_eq(parse(p, n), PH_E_FORMAT, "and there is one of it");
}

Test(codec_proxy, leaves_the_result_alone_without_one)
{
    struct ph_proxy before;
    memset(&before, 0xEE, sizeof before);
    parse("PROXY TC", 8);
    cr_assert_eq(memcmp(&got, &before, sizeof got), 0);
    parse("PROXY TCP4 1.2.3.4 5 6 7\r\n", 26);
    cr_assert_eq(memcmp(&got, &before, sizeof got), 0);
    cr_assert_eq(parse("", 0), 0);
}
