/*
 * Peer policy: canonical forms, the operator's rules and the default denials.
 *
 * A rule is a family and two addresses as 16 bytes each; an address is inside when it lies between them
 * byte by byte from the left, so ranges need not be prefixes and IPv6 is no special case.
 *
 * Which spelling a rule speaks of: the operator's rules are compared with the canonical address, and a
 * rule written in an embedding form ("::ffff:10.0.0.0/104") is turned into its IPv4 rule.  One thing is
 * kept as written: a denial that covers a whole form.  Lists of "denied-peer-ip" in circulation hold
 * "::ffff:0.0.0.0-::ffff:255.255.255.255", by which people mean the spelling and not all of IPv4; so
 * denials are compared with the address as it came too.
 *
 * A rule may be bound to ports.  It is then about packets; for a permission, which is for all ports of an address,
 * see matches_port.
 */
#include "turn/acl.h"

#include "stun/base/error.h"

#include <stdlib.h>
#include <string.h>

struct range {
    uint8_t family; /* PH_AF_NONE: every address ("*") */
    uint8_t lo[16], hi[16];
    uint16_t first, last; /* ports; 0 to 65535 is a rule without ports */
};

struct rules {
    struct range *v;
    size_t n, cap;
};

struct ph_acl {
    struct rules allow, deny;
    bool loopback, private; /* no longer denied by default */
    bool has_ports;
};

/* ---- IPv6 forms that carry an IPv4 address ---- */

struct form {
    uint8_t prefix[16];
    uint8_t bits;   /* of the prefix */
    uint8_t at;     /* byte where the IPv4 address begins */
    bool inverted;  /* its bits are stored inverted */
    uint8_t second; /* byte of one more IPv4 address, 0: none */
};

static const struct form FORMS[] = {
    {{[10] = 0xFF, [11] = 0xFF}, 96, 12, false, 0}, /* mapped, RFC 4291 2.5.5.2 */
    {{[8] = 0xFF, [9] = 0xFF}, 96, 12, false, 0},   /* translated, RFC 2765 2.1 */
    {{0x20, 0x02}, 16, 2, false, 0},                /* 6to4, RFC 3056 2 */
    {{0x20, 0x01, 0x00, 0x00}, 32, 12, true, 4},    /* Teredo, RFC 4380 4: client, server */
    {{0x00, 0x64, 0xFF, 0x9B}, 96, 12, false, 0},   /* NAT64, RFC 6052 2.1 */
    {{0}, 96, 12, false, 0},                        /* compatible, RFC 4291 2.5.5.1 */
};

static bool has_prefix(const uint8_t ip[static 16], const uint8_t *prefix, unsigned bits)
{
    unsigned bytes = bits / 8, rest = bits % 8;
    if (memcmp(ip, prefix, bytes) != 0)
        return false;
    return rest == 0 || (ip[bytes] ^ prefix[bytes]) >> (8 - rest) == 0;
}

/* "::" and "::1" have the compatible form's prefix but are addresses of their own. */
static bool is_zero_or_one(const uint8_t ip[static 16])
{
    static const uint8_t ZERO[15];
    return memcmp(ip, ZERO, sizeof ZERO) == 0 && ip[15] <= 1;
}

static const struct form *form_of(const struct ph_addr *a)
{
    if (a->family != PH_AF_INET6 || is_zero_or_one(a->ip))
        return NULL;
    for (size_t i = 0; i < sizeof FORMS / sizeof FORMS[0]; i++)
        if (has_prefix(a->ip, FORMS[i].prefix, FORMS[i].bits))
            return &FORMS[i];
    return NULL;
}

static struct ph_addr embedded(const struct ph_addr *a, const struct form *f)
{
    uint8_t ip[4];
    for (int i = 0; i < 4; i++)
        ip[i] = (uint8_t)(a->ip[f->at + i] ^ (f->inverted ? 0xFF : 0));
    return ph_addr_v4(ip, a->port, a->proto);
}

struct ph_addr ph_acl_canonical(const struct ph_addr *a)
{
    const struct form *f = form_of(a);
    return f ? embedded(a, f) : *a;
}

/* ---- the defaults ---- */

enum class { ALWAYS, LOOPBACK, PRIVATE };

static const struct {
    uint8_t family, bits;
    uint8_t class; /* enum class: which switch lifts the denial */
    uint8_t prefix[16];
    const char *why;
} DEFAULTS[] = {
    /* Where clouds keep the secrets of their machines, also outside of the ranges below. */
    {PH_AF_INET, 32, ALWAYS, {169, 254, 169, 254}, "cloud metadata address"},
    {PH_AF_INET, 32, ALWAYS, {168, 63, 129, 16}, "cloud metadata address"},
    {PH_AF_INET, 32, ALWAYS, {100, 100, 100, 200}, "cloud metadata address"},
    {PH_AF_INET, 32, ALWAYS, {192, 0, 0, 192}, "cloud metadata address"},
    {PH_AF_INET6,
     128,
     ALWAYS,
     {0xFD, 0, 0x0E, 0xC2, [14] = 2, [15] = 0x54},
     "cloud metadata address"},
    {PH_AF_INET6,
     128,
     ALWAYS,
     {0xFD, 0x20, 0, 0xCE, [14] = 2, [15] = 0x54},
     "cloud metadata address"},
    {PH_AF_INET, 8, ALWAYS, {0}, "unspecified address"},
    {PH_AF_INET, 8, LOOPBACK, {127}, "loopback address"},
    {PH_AF_INET, 16, ALWAYS, {169, 254}, "link-local address"},
    {PH_AF_INET, 4, ALWAYS, {224}, "multicast address"},
    {PH_AF_INET, 32, ALWAYS, {255, 255, 255, 255}, "broadcast address"},
    {PH_AF_INET, 8, PRIVATE, {10}, "private address"},
    {PH_AF_INET, 12, PRIVATE, {172, 16}, "private address"},
    {PH_AF_INET, 16, PRIVATE, {192, 168}, "private address"},
    {PH_AF_INET, 10, PRIVATE, {100, 64}, "carrier NAT address"},
    {PH_AF_INET, 15, PRIVATE, {198, 18}, "benchmarking address"},
    {PH_AF_INET, 24, PRIVATE, {192, 0, 0}, "reserved address"},
    {PH_AF_INET, 4, PRIVATE, {240}, "reserved address"},
    {PH_AF_INET6, 128, ALWAYS, {0}, "unspecified address"},
    {PH_AF_INET6, 128, LOOPBACK, {[15] = 1}, "loopback address"},
    {PH_AF_INET6, 10, ALWAYS, {0xFE, 0x80}, "link-local address"},
    {PH_AF_INET6, 8, ALWAYS, {0xFF}, "multicast address"},
    {PH_AF_INET6, 7, PRIVATE, {0xFC}, "private address"},
    {PH_AF_INET6, 10, PRIVATE, {0xFE, 0xC0}, "private address"}, /* site-local, RFC 3879 */
    {PH_AF_INET6, 48, PRIVATE, {0x20, 0x01, 0, 2}, "benchmarking address"},
    {PH_AF_INET6, 64, PRIVATE, {0x01}, "reserved address"}, /* discard-only, RFC 6666 */
    {PH_AF_INET6, 16, PRIVATE, {0x5F}, "reserved address"}, /* segment routing, RFC 9602 */
    /* RFC 8215: the IPv4 address inside may stand in one of five places; only the network that uses the
     * prefix knows which. */
    {PH_AF_INET6, 48, ALWAYS, {0x00, 0x64, 0xFF, 0x9B, 0, 1}, "local NAT64 address"},
};

static const char *default_denial(const struct ph_acl *acl, const struct ph_addr *a)
{
    for (size_t i = 0; i < sizeof DEFAULTS / sizeof DEFAULTS[0]; i++) {
        if (a->family != DEFAULTS[i].family ||
            !has_prefix(a->ip, DEFAULTS[i].prefix, DEFAULTS[i].bits))
            continue;
        bool lifted = (DEFAULTS[i].class == LOOPBACK && acl->loopback) ||
                      (DEFAULTS[i].class == PRIVATE && acl->private);
        if (!lifted)
            return DEFAULTS[i].why;
    }
    return NULL;
}

/* ---- the operator's rules ---- */

static bool has_all_ports(const struct range *x)
{
    return x->first == 0 && x->last == UINT16_MAX;
}

/* Port 0 stands for all ports: a permission.  What allows one of them lets it through, to be looked at packet by packet;
 * what denies only some does not stop it. */
static bool matches_port(const struct range *x, uint16_t port, bool allow)
{
    if (port == 0)
        return allow || has_all_ports(x);
    return port >= x->first && port <= x->last;
}

static bool matches_ip(const struct range *x, const struct ph_addr *a)
{
    return x->family == a->family && memcmp(a->ip, x->lo, 16) >= 0 && memcmp(a->ip, x->hi, 16) <= 0;
}

/* Does a rule speak of this address, or (every) a rule of every address? */
static bool matches(const struct rules *r, const struct ph_addr *a, bool allow, bool every)
{
    for (size_t i = 0; i < r->n; i++) {
        const struct range *x = &r->v[i];
        if ((every ? x->family == PH_AF_NONE : matches_ip(x, a)) && matches_port(x, a->port, allow))
            return true;
    }
    return false;
}

static int append(struct rules *r, const struct range *x)
{
    if (r->n == r->cap) {
        size_t cap = r->cap ? r->cap * 2 : 16;
        struct range *v = realloc(r->v, cap * sizeof *v);
        if (!v)
            return PH_E_NOMEM;
        r->v = v;
        r->cap = cap;
    }
    r->v[r->n++] = *x;
    return 0;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

static void trim(const char **text, size_t *n)
{
    while (*n && is_space((*text)[0])) {
        (*text)++;
        (*n)--;
    }
    while (*n && is_space((*text)[*n - 1]))
        (*n)--;
}

/* An IP address without port or brackets, blanks around it allowed. */
static bool parse_ip(struct ph_addr *a, const char *text, size_t n)
{
    trim(&text, &n);
    if (n == 0 || text[0] == '[' || ph_addr_parse(a, text, n, 0) != 0)
        return false;
    return a->family == PH_AF_INET6 || !memchr(text, ':', n);
}

/* A number: at most `digits` of them and nothing else, 0 to max. */
static bool parse_number(unsigned *out, const char *text, size_t n, size_t digits, unsigned max)
{
    unsigned v = 0;
    if (n == 0 || n > digits)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        v = v * 10 + (unsigned)(text[i] - '0');
    }
    *out = v;
    return v <= max;
}

/* The first and the last address of a prefix; host bits that are set are ignored. */
static void prefix_bounds(struct ph_addr *lo, struct ph_addr *hi, unsigned bits)
{
    *hi = *lo;
    for (unsigned i = bits; i < ph_addr_ip_len(lo) * 8; i++) {
        lo->ip[i / 8] &= (uint8_t) ~(0x80U >> i % 8);
        hi->ip[i / 8] |= (uint8_t)(0x80U >> i % 8);
    }
}

static bool parse_addresses(struct ph_addr *lo, struct ph_addr *hi, const char *text, size_t n)
{
    const char *dash = n ? memchr(text, '-', n) : NULL, *slash = n ? memchr(text, '/', n) : NULL;
    if (slash) {
        unsigned bits;
        if (!parse_ip(lo, text, (size_t)(slash - text)) ||
            !parse_number(&bits, slash + 1, (size_t)(text + n - slash - 1), 3,
                          (unsigned)ph_addr_ip_len(lo) * 8))
            return false;
        prefix_bounds(lo, hi, bits);
        return true;
    }
    if (!parse_ip(lo, text, dash ? (size_t)(dash - text) : n))
        return false;
    *hi = *lo;
    if (dash && !parse_ip(hi, dash + 1, (size_t)(text + n - dash - 1)))
        return false;
    return lo->family == hi->family && memcmp(lo->ip, hi->ip, 16) <= 0;
}

/* True if lo..hi is all of a form, or no part of one: then the rule speaks of the spelling. */
static bool speaks_of_spelling(const struct ph_addr *lo, const struct ph_addr *hi)
{
    const struct form *f = form_of(lo);
    if (!f || f != form_of(hi))
        return true;
    bool one = memcmp(lo->ip, hi->ip, 16) == 0;
    if (f->inverted && !one) /* order is not kept: no range of IPv4 addresses */
        return true;
    struct ph_addr first = *lo, last = *hi;
    prefix_bounds(&first, &last, f->bits);
    return memcmp(first.ip, lo->ip, 16) == 0 && memcmp(last.ip, hi->ip, 16) == 0;
}

/* "443" or "5000-5999". */
static bool parse_ports(struct range *x, const char *text, size_t n)
{
    const char *dash = n ? memchr(text, '-', n) : NULL;
    unsigned first, last;

    if (!parse_number(&first, text, dash ? (size_t)(dash - text) : n, 5, UINT16_MAX))
        return false;
    last = first;
    if (dash && !parse_number(&last, dash + 1, (size_t)(text + n - dash - 1), 5, UINT16_MAX))
        return false;
    x->first = (uint16_t)first;
    x->last = (uint16_t)last;
    return first > 0 && first <= last;
}

/* Takes the ports off the end of a rule: what follows the colon of an IPv4 address or "*", or the bracket of an IPv6 address.
 * *n is what is left of the text, without brackets then. */
static bool take_ports(struct range *x, const char **text, size_t *n)
{
    const char *t = *text, *end = t + *n, *colon;

    x->first = 0;
    x->last = UINT16_MAX;
    if (*n && t[0] == '[') {
        const char *close = memchr(t, ']', *n);
        if (!close || close + 1 == end || close[1] != ':')
            return false;
        *text = t + 1;
        *n = (size_t)(close - t - 1);
        return parse_ports(x, close + 2, (size_t)(end - close - 2));
    }
    colon = *n ? memchr(t, ':', *n) : NULL;
    if (!colon || memchr(colon + 1, ':', (size_t)(end - colon - 1)))
        return true; /* none, or IPv6 */
    *n = (size_t)(colon - t);
    return parse_ports(x, colon + 1, (size_t)(end - colon - 1));
}

int ph_acl_add(struct ph_acl *a, bool allow, const char *text, size_t n)
{
    struct ph_addr lo = {0}, hi = {0};
    struct range x = {0};

    trim(&text, &n);
    bool brackets = n && text[0] == '[';
    if (!take_ports(&x, &text, &n))
        return PH_E_FORMAT;
    bool every = n == 1 && text[0] == '*' && !has_all_ports(&x) && !brackets;
    if (!every && !parse_addresses(&lo, &hi, text, n))
        return PH_E_FORMAT;
    if (brackets && lo.family != PH_AF_INET6)
        return PH_E_FORMAT;
    if (!every && !speaks_of_spelling(&lo, &hi)) {
        lo = ph_acl_canonical(&lo);
        hi = ph_acl_canonical(&hi);
    }
    x.family = lo.family;
    memcpy(x.lo, lo.ip, 16);
    memcpy(x.hi, hi.ip, 16);
    int err = append(allow ? &a->allow : &a->deny, &x);
    a->has_ports |= !err && !has_all_ports(&x);
    return err;
}

/* ---- the set ---- */

struct ph_acl *ph_acl_new(void)
{
    return calloc(1, sizeof(struct ph_acl));
}

void ph_acl_free(struct ph_acl *a)
{
    if (!a)
        return;
    free(a->allow.v);
    free(a->deny.v);
    free(a);
}

void ph_acl_allow_loopback(struct ph_acl *a)
{
    a->loopback = true;
}

void ph_acl_allow_private(struct ph_acl *a)
{
    a->private = true;
}

bool ph_acl_has_ports(const struct ph_acl *a)
{
    return a->has_ports;
}

/* One address: as the rules see it, and as it came.  "*" is about ports: to allow one takes back a denial by rule, but does
 * not open addresses that are denied by default. */
static const char *judge(const struct ph_acl *acl, const struct ph_addr *a,
                         const struct ph_addr *spelled)
{
    if (matches(&acl->allow, a, true, false))
        return NULL;
    if ((matches(&acl->deny, a, false, false) || matches(&acl->deny, spelled, false, false) ||
         matches(&acl->deny, a, false, true)) &&
        !matches(&acl->allow, a, true, true))
        return "denied by configuration";
    return default_denial(acl, a);
}

/* ISATAP (RFC 5214 6.1) has the IPv4 address behind any prefix: such an address is judged as it is, and by what it holds. */
static bool is_isatap(const struct ph_addr *a)
{
    static const uint8_t ID[4] = {0, 0, 0x5E, 0xFE};
    return a->family == PH_AF_INET6 && (a->ip[8] & ~2U) == ID[0] &&
           memcmp(a->ip + 9, ID + 1, 3) == 0;
}

const char *ph_acl_check(const struct ph_acl *a, const struct ph_addr *peer)
{
    const struct form *f = form_of(peer);
    struct ph_addr c = f ? embedded(peer, f) : *peer;
    if (ph_addr_ip_len(&c) == 0)
        return "no address";
    uint8_t at = f ? f->second : is_isatap(peer) ? 12 : 0;
    const char *why = judge(a, &c, peer);
    if (why || !at)
        return why;
    struct ph_addr second = ph_addr_v4(peer->ip + at, peer->port, peer->proto);
    return judge(a, &second, peer);
}
