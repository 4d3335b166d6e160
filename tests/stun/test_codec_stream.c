#include "stun/base/bytes.h"
#include "stun/base/error.h"
#include "stun/codec/msg.h"
#include "stun/codec/stream.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* A STUN header that claims `len` bytes of attributes. */
static void stun_header(uint8_t p[static PH_STUN_HEADER], uint16_t type, uint16_t len)
{
    memset(p, 0x55, PH_STUN_HEADER);
    ph_put16(p, type);
    ph_put16(p + 2, len);
    ph_put32(p + 4, PH_STUN_COOKIE);
}

/* The frame at the start of exactly n bytes: memory ends there, so that a sanitizer sees more. */
static int frame(const void *p, size_t n, uint32_t *bare)
{
    uint8_t *copy = malloc(n ? n : 1);
    cr_assert_not_null(copy);
    memcpy(copy, p, n);
    int r = ph_stream_frame(copy, n, bare);
    free(copy);
    return r;
}

static enum ph_stream_kind sniff(const char *p, size_t n)
{
    char *copy = malloc(n ? n : 1);
    cr_assert_not_null(copy);
    memcpy(copy, p, n);
    enum ph_stream_kind kind = ph_stream_sniff((const uint8_t *)copy, n);
    free(copy);
    return kind;
}

Test(codec_stream, frames_a_stun_message)
{
    uint8_t p[PH_STUN_HEADER];
    uint32_t bare = 0;
    stun_header(p, 0x0003, 36);
    for (size_t n = 0; n < 8; n++)
        cr_assert_eq(frame(p, n, &bare), 0, "%zu bytes tell nothing yet", n);
    for (size_t n = 8; n <= sizeof p; n++) {
        cr_assert_eq(frame(p, n, &bare), 56);
        cr_assert_eq(bare, 56);
    }
    stun_header(p, 0x0001, 0);
    cr_assert_eq(frame(p, sizeof p, &bare), 20);
    cr_assert_eq(bare, 20);
}

Test(codec_stream, frames_channel_data_with_its_padding)
{
    uint32_t bare = 0;
    for (uint32_t len = 0; len <= UINT16_MAX; len++) {
        uint8_t p[4] = {0x40, 0x01, (uint8_t)(len >> 8), (uint8_t)len};
        cr_assert_eq(frame(p, 4, &bare), (int)((len + 4 + 3) / 4 * 4));
        cr_assert_eq(bare, len + 4);
    }
    cr_assert_eq(frame("\x7F\xFF\0\5", 4, &bare), 12, "RFC 5766 had channels up to 0x7FFF");
    for (size_t n = 0; n < 4; n++)
        cr_assert_eq(frame("\x40\x00\x00\x04", n, &bare), 0);
}

Test(codec_stream, the_longest_frames_fit_the_stated_maximum)
{
    uint8_t p[PH_STUN_HEADER];
    uint32_t bare = 0;
    stun_header(p, 0x0001, 65532);
    cr_assert_eq(frame(p, sizeof p, &bare), 65552);
    cr_assert_leq(frame(p, sizeof p, &bare), PH_STREAM_MAX);
    cr_assert_eq(frame("\x4F\xFF\xFF\xFF", 4, &bare), 65540);
    cr_assert_eq(bare, 65539);
}

Test(codec_stream, bad_bytes_are_bad_at_once)
{
    uint8_t p[PH_STUN_HEADER];
    uint32_t bare = 77;
    stun_header(p, 0x0001, 2);
    cr_assert_eq(frame(p, 3, &bare), 0);
    cr_assert_eq(frame(p, 4, &bare), PH_E_FORMAT, "the length is no multiple of four");
    stun_header(p, 0x0001, 8);
    p[5] = 0;
    cr_assert_eq(frame(p, 5, &bare), 0);
    cr_assert_eq(frame(p, 6, &bare), PH_E_FORMAT, "the cookie is wrong");
    for (unsigned first = 0x80; first < 0x100; first++)
        cr_assert_eq(frame((uint8_t[]){(uint8_t)first}, 1, &bare), PH_E_FORMAT);
    cr_assert_eq(bare, 77, "set only with a result");
}

Test(codec_stream, sniffs_what_a_stream_opens_with)
{
    static const struct {
        const char *p;
        size_t n;
        enum ph_stream_kind kind;
    } cases[] = {
        {"\x00\x03\x00\x24\x21\x12\xA4\x42", 8, PH_STREAM_PLAIN},
        {"\x16\x03\x01\x02\x00\x01", 6, PH_STREAM_TLS},
        {"\x16\x03\x03\x00\x05\x01", 6, PH_STREAM_TLS},
        {"PROXY TCP4 ", 6, PH_STREAM_PROXY},
        {"\r\n\r\n\0\r\nQUIT\n", 12, PH_STREAM_PROXY},
        {"GET / HTTP/1.1\r\n", 4, PH_STREAM_HTTP},
        {"POST /", 5, PH_STREAM_HTTP},
        {"PUT /", 4, PH_STREAM_HTTP},
        {"PATCH /", 6, PH_STREAM_HTTP},
        {"HEAD /", 5, PH_STREAM_HTTP},
        {"OPTIONS *", 8, PH_STREAM_HTTP},
        {"CONNECT a:443", 8, PH_STREAM_HTTP},
        {"DELETE /", 7, PH_STREAM_HTTP},
        {"TRACE /", 6, PH_STREAM_HTTP},
        {"PRI * HTTP/2.0\r\n", 12, PH_STREAM_HTTP},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t n = 0; n < cases[i].n; n++)
            cr_assert_eq(sniff(cases[i].p, n), PH_STREAM_UNKNOWN, "case %zu, %zu bytes", i, n);
        cr_assert_eq(sniff(cases[i].p, cases[i].n), cases[i].kind, "case %zu", i);
    }
}

Test(codec_stream, sniffs_garbage_at_the_first_wrong_byte)
{
    static const struct {
        const char *p;
        size_t n;
    } cases[] = {
        {"SSH-2.0-", 1},
        {"\x40\x00\x00\x04", 1}, /* ChannelData before there can be a channel */
        {"\xFF", 1},
        {"PROXX", 5},
        {"get ", 1},
        {"\r\n\r\n\0\r\nQUIT\r", 12},
        {"\x00\x03\x00\x25", 4},                 /* no multiple of four */
        {"\x00\x01\x00\x08\x21\x12\xA4\x43", 8}, /* RFC 3489: no cookie */
        {"\x04\x00\x00\x00\x21\x12\xA4\x42", 1},
        {"\x16\x02", 2},                 /* SSL 2 */
        {"\x16\x03\x05", 3},             /* no version of TLS */
        {"\x16\x03\x01\x00\x00", 5},     /* an empty record */
        {"\x16\x03\x01\x40\x01", 5},     /* one that is too long */
        {"\x16\x03\x01\x00\x20\x02", 6}, /* a ServerHello */
        {"\x17\x03\x03\x00\x20\x01", 1}, /* application data */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (cases[i].n > 1)
            cr_assert_eq(sniff(cases[i].p, cases[i].n - 1), PH_STREAM_UNKNOWN, "case %zu", i);
        cr_assert_eq(sniff(cases[i].p, cases[i].n), PH_STREAM_GARBAGE, "case %zu", i);
    }
}

Test(codec_stream, sniffing_always_ends)
{
    uint8_t p[PH_STREAM_SNIFF];
    /* Whatever follows, PH_STREAM_SNIFF bytes are enough: random tails behind every opening. */
    static const char *const open[] = {"\x16\x03", "PROXY",       "\r\n\r\n",
                                       "OPTION",   "PRI * HTTP/", ""};
    uint32_t seed = 1;
    for (unsigned round = 0; round < 6000; round++) {
        for (size_t i = 0; i < sizeof p; i++)
            p[i] = (uint8_t)((seed = seed * 1664525 + 1013904223) >> 24);
        const char *o = open[round % 6];
        memcpy(p, o, strlen(o));
        cr_assert_neq(ph_stream_sniff(p, sizeof p), PH_STREAM_UNKNOWN);
    }
}
