/*
 * The PROXY protocol as HAProxy's proxy-protocol.txt has it (versions 1 and 2, sections 2.1 and 2.2).
 *
 *     v1   PROXY TCP4 192.0.2.1 198.51.100.1 56324 3478\r\n       (TCP6; UNKNOWN and anything up to \r\n)
 *     v2   | signature (12) | 2, command (4+4 bits) | family, transport | length (16) | addresses | TLVs |
 */
#include "stun/codec/proxy.h"

#include "stun/base/bytes.h"
#include "stun/base/error.h"
#include "stun/base/slice.h"

#include <string.h>

enum {
    SIGNATURE = 12,
    HEADER = 16,
    LOCAL = 0x20,
    PROXIED = 0x21,
    UNSPEC = 0x00, /* family and transport: byte 13 */
    TCP4 = 0x11,
    TCP6 = 0x21,
    TLV_HEADER = 3,
    TLV_CRC32C = 0x03
};

static const uint8_t MAGIC[SIGNATURE] = {0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D,
                                         0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A};

/* The next word of a line and the single space behind it; empty when there is none. */
static struct ph_slice word(struct ph_slice *line)
{
    const uint8_t *space = line->n ? memchr(line->p, ' ', line->n) : NULL;
    struct ph_slice w = {line->p, space ? (size_t)(space - line->p) : line->n};
    size_t used = w.n + (space ? 1 : 0);
    line->p += used;
    line->n -= used;
    /* A line may not end with a space: then a word is missing. */
    if (space && line->n == 0)
        w.n = 0;
    return w;
}

/* An address of the family that the header named, without port and brackets. */
static bool text_ip(struct ph_addr *a, struct ph_slice w, uint8_t family)
{
    if (w.n == 0 || w.p[0] == '[' || (family == PH_AF_INET && memchr(w.p, ':', w.n)))
        return false;
    return ph_addr_parse(a, (const char *)w.p, w.n, 0) == 0 && a->family == family;
}

/* 0..65535 in decimal without leading zeros. */
static bool text_port(uint16_t *port, struct ph_slice w)
{
    uint32_t v = 0;
    if (w.n == 0 || w.n > 5 || (w.n > 1 && w.p[0] == '0'))
        return false;
    for (size_t i = 0; i < w.n; i++) {
        if (w.p[i] < '0' || w.p[i] > '9')
            return false;
        v = v * 10 + (uint32_t)(w.p[i] - '0');
    }
    *port = (uint16_t)v;
    return v <= UINT16_MAX;
}

/* What stands between "PROXY " and the end of the line. */
static bool parse_line(struct ph_proxy *out, struct ph_slice line)
{
    struct ph_slice kind = word(&line);
    struct ph_proxy h = {0};

    if (ph_slice_eq(kind, ph_str("UNKNOWN"))) {
        *out = (struct ph_proxy){.local = true}; /* the rest of the line is to be ignored */
        return true;
    }
    bool v6 = ph_slice_eq(kind, ph_str("TCP6"));
    if (!v6 && !ph_slice_eq(kind, ph_str("TCP4")))
        return false;
    uint8_t family = v6 ? PH_AF_INET6 : PH_AF_INET;
    if (!text_ip(&h.src, word(&line), family) || !text_ip(&h.dst, word(&line), family) ||
        !text_port(&h.src.port, word(&line)) || !text_port(&h.dst.port, word(&line)) || line.n)
        return false;
    h.src.proto = h.dst.proto = PH_TCP;
    *out = h;
    return true;
}

/* The end of the line ("\r\n") within n bytes, or NULL. */
static const uint8_t *line_end(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i + 1 < n; i++)
        if (p[i] == '\r' && p[i + 1] == '\n')
            return p + i;
    return NULL;
}

static int parse_v1(struct ph_proxy *out, const uint8_t *p, size_t n)
{
    static const char open[] = "PROXY ";
    const size_t len = sizeof open - 1;

    if (memcmp(p, open, n < len ? n : len) != 0)
        return PH_E_FORMAT;
    const uint8_t *end = line_end(p, n < PH_PROXY_V1_MAX ? n : PH_PROXY_V1_MAX);
    if (!end)
        return n < PH_PROXY_V1_MAX ? 0 : PH_E_FORMAT;
    if (!parse_line(out, (struct ph_slice){p + len, (size_t)(end - p) - len}))
        return PH_E_FORMAT;
    return (int)(end - p) + 2;
}

/* CRC32c (RFC 4960 appendix B) of n bytes, continued from crc. */
static uint32_t crc32c(uint32_t crc, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (unsigned bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0x82F63B78 & (0u - (crc & 1)));
    }
    return crc;
}

/* The checksum at `at` covers the whole header, with itself counted as zeros. */
static bool checksum_ok(const uint8_t *p, size_t n, size_t at)
{
    static const uint8_t zeros[4];
    uint32_t crc = crc32c(UINT32_MAX, p, at);
    crc = crc32c(crc, zeros, sizeof zeros);
    return ~crc32c(crc, p + at + 4, n - at - 4) == ph_get32(p + at);
}

/* Walks the TLVs from `at` to the end: whole, and with at most one checksum, which must be right.  (One: or a header
 * full of them would be summed hundreds of times.) */
static bool tlvs_ok(const uint8_t *p, size_t n, size_t at)
{
    size_t crc_at = 0;
    while (at < n) {
        if (n - at < TLV_HEADER || n - at - TLV_HEADER < ph_get16(p + at + 1))
            return false;
        size_t len = ph_get16(p + at + 1);
        if (p[at] == TLV_CRC32C) {
            if (crc_at || len != 4)
                return false;
            crc_at = at + TLV_HEADER;
        }
        at += TLV_HEADER + len;
    }
    return !crc_at || checksum_ok(p, n, crc_at);
}

/* Bytes of the two addresses and ports, 0 for a family that is not for us. */
static size_t address_block(uint8_t family)
{
    return family == TCP4 ? 2 * (4 + 2) : family == TCP6 ? 2 * (16 + 2) : 0;
}

static void read_addresses(struct ph_proxy *out, const uint8_t *p, uint8_t family)
{
    *out = (struct ph_proxy){0};
    if (family == TCP4) {
        out->src = ph_addr_v4(p, ph_get16(p + 8), PH_TCP);
        out->dst = ph_addr_v4(p + 4, ph_get16(p + 10), PH_TCP);
    } else {
        out->src = ph_addr_v6(p, ph_get16(p + 32), PH_TCP);
        out->dst = ph_addr_v6(p + 16, ph_get16(p + 34), PH_TCP);
    }
}

/* Can a header with these 16 bytes be for us?  (2.2: unknown versions, commands and families are refused.) */
static bool header_ok(const uint8_t *p)
{
    size_t len = ph_get16(p + 14);
    if (HEADER + len > PH_PROXY_V2_MAX)
        return false;
    if (p[12] == LOCAL || (p[12] == PROXIED && p[13] == UNSPEC))
        return true;
    size_t block = address_block(p[13]);
    return p[12] == PROXIED && block && len >= block;
}

static int parse_v2(struct ph_proxy *out, const uint8_t *p, size_t n)
{
    if (memcmp(p, MAGIC, n < SIGNATURE ? n : SIGNATURE) != 0)
        return PH_E_FORMAT;
    if (n < HEADER)
        return 0;
    if (!header_ok(p))
        return PH_E_FORMAT;
    size_t total = HEADER + (size_t)ph_get16(p + 14);
    if (n < total)
        return 0;
    if (p[12] == LOCAL || p[13] == UNSPEC) {
        *out = (struct ph_proxy){.local = true}; /* 2.2: whatever follows is skipped */
        return (int)total;
    }
    if (!tlvs_ok(p, total, HEADER + address_block(p[13])))
        return PH_E_FORMAT;
    read_addresses(out, p + HEADER, p[13]);
    return (int)total;
}

int ph_proxy_parse(struct ph_proxy *out, const uint8_t *p, size_t n)
{
    if (n == 0)
        return 0;
    return p[0] == MAGIC[0] ? parse_v2(out, p, n) : parse_v1(out, p, n);
}
