/*
 * Addresses and their text: IPv4 dotted quads, IPv6 by RFC 4291 2.2 (reading) and RFC 5952
 * (writing).
 *
 * Written out instead of using inet_pton(), which lives in the socket headers.  Strict on purpose:
 * no octal octets, no zone ids, no names, nothing behind the address.  IPv4 inside IPv6 is written
 * with a dotted tail where the prefix says so (::ffff:0:0/96, ::/96), as RFC 5952 5 recommends.
 */
#include "stun/base/addr.h"

#include "stun/base/error.h"

enum { GROUPS = 8 };

struct ph_addr ph_addr_v4(const uint8_t ip[static 4], uint16_t port, uint8_t proto)
{
    struct ph_addr a = {.port = port, .family = PH_AF_INET, .proto = proto};
    memcpy(a.ip, ip, 4);
    return a;
}

struct ph_addr ph_addr_v6(const uint8_t ip[static 16], uint16_t port, uint8_t proto)
{
    struct ph_addr a = {.port = port, .family = PH_AF_INET6, .proto = proto};
    memcpy(a.ip, ip, 16);
    return a;
}

static const uint8_t MAPPED[12] = {[10] = 0xFF, [11] = 0xFF};

bool ph_addr_is_loopback(const struct ph_addr *a)
{
    static const uint8_t ONE[16] = {[15] = 1};
    if (a->family == PH_AF_INET)
        return a->ip[0] == 127;
    if (a->family != PH_AF_INET6)
        return false;
    return memcmp(a->ip, ONE, 16) == 0 || (memcmp(a->ip, MAPPED, 12) == 0 && a->ip[12] == 127);
}

bool ph_addr_is_any(const struct ph_addr *a)
{
    static const uint8_t ZERO[16];
    return a->family != PH_AF_NONE && memcmp(a->ip, ZERO, sizeof ZERO) == 0;
}

/* ---- reading: a cursor over the text; each reader returns false for what does not fit ---- */

struct cursor {
    const char *p, *end;
};

static bool take(struct cursor *c, char want)
{
    if (c->p == c->end || *c->p != want)
        return false;
    c->p++;
    return true;
}

/* A decimal number of at most max, without leading zeros. */
static bool read_decimal(struct cursor *c, unsigned max, unsigned *out)
{
    const char *start = c->p;
    unsigned v = 0;
    for (; c->p < c->end && *c->p >= '0' && *c->p <= '9'; c->p++) {
        v = v * 10 + (unsigned)(*c->p - '0');
        if (v > max)
            return false;
    }
    *out = v;
    return c->p > start && (*start != '0' || c->p == start + 1);
}

static bool read_v4(struct cursor *c, uint8_t ip[static 4])
{
    for (unsigned i = 0, v; i < 4; i++) {
        if ((i && !take(c, '.')) || !read_decimal(c, 255, &v))
            return false;
        ip[i] = (uint8_t)v;
    }
    return true;
}

static int hex_value(char ch)
{
    if (ch >= '0' && ch <= '9')
        return ch - '0';
    ch = (char)(ch | 0x20);
    return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

/* One to four hexadecimal digits. */
static bool read_group(struct cursor *c, uint8_t *dst)
{
    unsigned v = 0, digits = 0;
    for (int h; c->p < c->end && (h = hex_value(*c->p)) >= 0; c->p++, digits++) {
        if (digits == 4)
            return false;
        v = v << 4 | (unsigned)h;
    }
    dst[0] = (uint8_t)(v >> 8);
    dst[1] = (uint8_t)v;
    return digits > 0;
}

/* True if the text up to the next non-hex character is the first octet of a dotted quad. */
static bool at_dotted(const struct cursor *c)
{
    const char *p = c->p;
    while (p < c->end && hex_value(*p) >= 0)
        p++;
    return p < c->end && *p == '.';
}

/* Reads groups up to the end of the address.  *gap is the byte where "::" stands, or -1. */
static bool read_groups(struct cursor *c, uint8_t ip[static 16], int *n, int *gap)
{
    if (take(c, ':')) {
        if (!take(c, ':'))
            return false;
        *gap = 0;
        if (c->p == c->end || hex_value(*c->p) < 0)
            return true;
    }
    for (;;) {
        if (at_dotted(c)) {
            *n += 4;
            return *n <= 16 && read_v4(c, ip + *n - 4);
        }
        if (*n == 16 || !read_group(c, ip + *n))
            return false;
        *n += 2;
        if (!take(c, ':'))
            return true;
        if (!take(c, ':'))
            continue;
        if (*gap >= 0)
            return false;
        *gap = *n;
        if (c->p == c->end || hex_value(*c->p) < 0)
            return true;
    }
}

static bool read_v6(struct cursor *c, uint8_t ip[static 16])
{
    int n = 0, gap = -1;
    memset(ip, 0, 16);
    if (!read_groups(c, ip, &n, &gap))
        return false;
    if (gap < 0)
        return n == 16;
    if (n > 14) /* "::" stands for at least one group */
        return false;
    memmove(ip + 16 - (n - gap), ip + gap, (size_t)(n - gap));
    memset(ip + gap, 0, (size_t)(16 - n));
    return true;
}

int ph_addr_parse(struct ph_addr *a, const char *text, size_t n, uint16_t default_port)
{
    struct cursor c = {text, text + n};
    struct ph_addr r = {.port = default_port};
    const char *colon = n ? memchr(text, ':', n) : NULL;
    bool bracket = take(&c, '[');
    bool v6 = bracket || (colon && memchr(colon + 1, ':', (size_t)(c.end - colon - 1)));
    r.family = v6 ? PH_AF_INET6 : PH_AF_INET;
    if (v6 ? !read_v6(&c, r.ip) : !read_v4(&c, r.ip))
        return PH_E_FORMAT;
    if (bracket && !take(&c, ']'))
        return PH_E_FORMAT;
    if (c.p < c.end && (bracket || !v6)) {
        unsigned port;
        if (!take(&c, ':') || !read_decimal(&c, 65535, &port))
            return PH_E_FORMAT;
        r.port = (uint16_t)port;
    }
    if (c.p != c.end)
        return PH_E_FORMAT;
    *a = r;
    return 0;
}

/* ---- writing: each writer returns the end of what it wrote ---- */

static char *write_decimal(char *p, unsigned v)
{
    char digits[5];
    unsigned n = 0;
    do
        digits[n++] = (char)('0' + v % 10);
    while ((v /= 10) != 0);
    while (n)
        *p++ = digits[--n];
    return p;
}

static char *write_v4(char *p, const uint8_t *ip)
{
    for (int i = 0; i < 4; i++) {
        if (i)
            *p++ = '.';
        p = write_decimal(p, ip[i]);
    }
    return p;
}

static char *write_group(char *p, const uint8_t *g)
{
    unsigned v = (unsigned)g[0] << 8 | g[1];
    for (int shift = 12; shift >= 0; shift -= 4)
        if (v >> shift || shift == 0)
            *p++ = "0123456789abcdef"[v >> shift & 15];
    return p;
}

/* The longest run of at least two zero groups, the first of equals (RFC 5952 4.2). */
static void find_zeros(const uint8_t *ip, int *from, int *count)
{
    *from = -1;
    *count = 1;
    for (int i = 0; i < GROUPS; i++) {
        int n = 0;
        while (i + n < GROUPS && ip[2 * (i + n)] == 0 && ip[2 * (i + n) + 1] == 0)
            n++;
        if (n > *count) {
            *from = i;
            *count = n;
        }
        i += n;
    }
}

static char *write_v6(char *p, const uint8_t *ip)
{
    int from, count;
    find_zeros(ip, &from, &count);
    bool dotted = from == 0 && (count == 6 || memcmp(ip, MAPPED, sizeof MAPPED) == 0);
    int last = dotted ? GROUPS - 2 : GROUPS;
    for (int i = 0; i < last; i++) {
        if (i == from) {
            *p++ = ':';
            *p++ = ':';
            i += count - 1;
            continue;
        }
        p = write_group(p, ip + 2 * i);
        if (i + 1 < GROUPS && i + 1 != from)
            *p++ = ':';
    }
    return dotted ? write_v4(p, ip + 12) : p;
}

static char *write_ip(char *p, const struct ph_addr *a)
{
    if (a->family == PH_AF_INET)
        return write_v4(p, a->ip);
    if (a->family == PH_AF_INET6)
        return write_v6(p, a->ip);
    *p++ = '-';
    return p;
}

const char *ph_addr_ip_text(const struct ph_addr *a, char dst[static PH_ADDR_TEXT])
{
    *write_ip(dst, a) = '\0';
    return dst;
}

const char *ph_addr_text(const struct ph_addr *a, char dst[static PH_ADDR_TEXT])
{
    bool with_port = a->port && ph_addr_ip_len(a);
    bool bracket = with_port && a->family == PH_AF_INET6;
    char *p = dst;
    if (bracket)
        *p++ = '[';
    p = write_ip(p, a);
    if (bracket)
        *p++ = ']';
    if (with_port) {
        *p++ = ':';
        p = write_decimal(p, a->port);
    }
    *p = '\0';
    return dst;
}
