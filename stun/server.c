/*
 * The Binding server.
 *
 * An answer is written over its request, so all that the request asks for is taken out of it first (struct
 * ask).  Errors always go back the way the request came: only a success response honours CHANGE-REQUEST
 * and RESPONSE-PORT.
 *
 * Deviation: RFC 5780 6.1 wants PADDING of the size of the MTU; we give no more than the request brought.
 */
#include "stun/server.h"

#include "stun/codec/fingerprint.h"
#include "stun/priv.h"

/* A packet that came by none of the four sockets: it is served without RFC 5780. */
enum { NO_SOCKET = -1 };

/* FINGERPRINT and header of an attribute, bytes. */
enum { FINGERPRINT_LEN = 8, ATTR_HEADER = 4 };

/* RFC 8489 14.14: fewer than 128 characters; we count bytes. */
enum { SOFTWARE_MAX = 127 };

/* Comprehension-required attributes that this server understands in a request.  For the rest, TURN's and ICE's
 * among them, RFC 8489 6.3.1 asks for a 420. */
enum rule { REFUSED, UNDERSTOOD, DISCOVERY };

static const uint8_t rules[PH_ATTR_COUNT] = {
    [PH_IX_USERNAME] = UNDERSTOOD,
    [PH_IX_USERHASH] = UNDERSTOOD,
    [PH_IX_REALM] = UNDERSTOOD,
    [PH_IX_NONCE] = UNDERSTOOD,
    [PH_IX_PASSWORD_ALGORITHM] = UNDERSTOOD,
    [PH_IX_MESSAGE_INTEGRITY] = UNDERSTOOD,
    [PH_IX_MESSAGE_INTEGRITY_SHA256] = UNDERSTOOD,
    [PH_IX_MAPPED_ADDRESS] = UNDERSTOOD,
    [PH_IX_XOR_MAPPED_ADDRESS] = UNDERSTOOD,
    [PH_IX_ERROR_CODE] = UNDERSTOOD,
    [PH_IX_UNKNOWN_ATTRIBUTES] = UNDERSTOOD,
    [PH_IX_CHANGE_REQUEST] = DISCOVERY,
    [PH_IX_RESPONSE_PORT] = DISCOVERY,
    [PH_IX_PADDING] = DISCOVERY,
};

/* Types listed in a 420 answer: all of the table, and some that nobody knows. */
enum { UNKNOWN_MAX = PH_ATTR_COUNT + 16 };

/* What a request wants, taken out before the answer overwrites it. */
struct ask {
    uint32_t len;       /* bytes of the request */
    int from;           /* which of the four sockets it came by, or NO_SOCKET */
    int to;             /* which one answers */
    uint16_t port;      /* RESPONSE-PORT, 0: none */
    uint16_t padding_n; /* bytes of its PADDING */
    bool padding, fingerprint;
    unsigned unknown_n;
    uint16_t unknown[UNKNOWN_MAX];
};

/* Two addresses with two ports each, all of one family, on four sockets. */
static bool fits_rfc5780(const struct ph_stund_conf *c)
{
    const struct ph_addr *a = c->at;
    for (unsigned i = 0; i < PH_STUND_SOCKETS; i++) {
        const struct ph_addr *same_port = &a[i & PH_STUND_ALT_PORT];
        const struct ph_addr *same_ip = &a[i & PH_STUND_ALT_IP];
        if (ph_addr_ip_len(&a[i]) == 0 || a[i].port == 0 || a[i].port != same_port->port ||
            !ph_addr_eq_ip(&a[i], same_ip))
            return false;
        for (unsigned k = 0; k < i; k++)
            if (c->sock[k] == c->sock[i])
                return false;
    }
    return a[0].family == a[PH_STUND_ALT_IP].family && !ph_addr_eq_ip(&a[0], &a[PH_STUND_ALT_IP]) &&
           a[0].port != a[PH_STUND_ALT_PORT].port;
}

/* Whether the text can be sent at all: its length and its encoding. */
static bool fits_software(const char *software)
{
    uint8_t scratch[SOFTWARE_MAX];
    struct ph_attr_value v = {.bytes = ph_str(software)};
    return ph_attr_encode(&ph_attr_table[PH_IX_SOFTWARE], &v, NULL, scratch, sizeof scratch) >= 0;
}

int ph_stund_init(struct ph_stund *s, const struct ph_stund_conf *c)
{
    if ((c->rfc5780 && !fits_rfc5780(c)) || (c->software && !fits_software(c->software)))
        return PH_E_ARG;
    *s = (struct ph_stund){.c = *c};
    return 0;
}

static int which_socket(const struct ph_stund *s, uint32_t sock)
{
    for (int i = 0; s->c.rfc5780 && i < PH_STUND_SOCKETS; i++)
        if (s->c.sock[i] == sock)
            return i;
    return NO_SOCKET;
}

/* Reads RFC 5780's attributes.  Returns 0 or the code of the error response. */
static uint16_t read_discovery(struct ask *a, const struct ph_msg *m)
{
    uint64_t u;
    struct ph_slice padding;
    if (ph_msg_uint(m, PH_IX_CHANGE_REQUEST, &u) == 0)
        a->to ^= (u & PH__CHANGE_IP ? PH_STUND_ALT_IP : 0) |
                 (u & PH__CHANGE_PORT ? PH_STUND_ALT_PORT : 0);
    if (ph_msg_uint(m, PH_IX_RESPONSE_PORT, &u) == 0) {
        if (u == 0) /* nobody can be sent to */
            return 400;
        a->port = (uint16_t)u;
    }
    if (ph_msg_bytes(m, PH_IX_PADDING, &padding) == 0) {
        a->padding = true;
        a->padding_n = (uint16_t)padding.n;
    }
    /* RFC 5780 6.1, 7.5: both together MUST be answered with a 400. */
    return a->padding && a->port ? 400 : 0;
}

/* Reads the attributes of a request.  Returns 0 or the code of the error response. */
static uint16_t read_attrs(struct ask *a, const struct ph_msg *m)
{
    uint8_t wanted = a->from == NO_SOCKET ? UNDERSTOOD : DISCOVERY;
    struct ph_attr_value v;
    bool malformed = false;
    for (unsigned ix = 0; ix < PH_ATTR_COUNT; ix++) {
        uint16_t type = ph_attr_table[ix].type;
        if (!ph_msg_has(m, ix) || !ph_attr_required(type))
            continue;
        if (rules[ix] == REFUSED || rules[ix] > wanted)
            a->unknown[a->unknown_n++] = type;
        else if (ph_msg_get(m, ix, &v) != 0)
            malformed = true;
    }
    a->unknown_n += ph_msg_unknown(m, a->unknown + a->unknown_n, UNKNOWN_MAX - a->unknown_n);
    if (a->unknown_n)
        return 420;
    if (malformed)
        return 400;
    return a->from == NO_SOCKET ? 0 : read_discovery(a, m);
}

/* Whether n more bytes leave the answer at no more than 1.6 times its request: what a Binding answer over
 * IPv4 has anyway, so nobody can draw more from us by what is not asked for. */
static bool affordable(const struct ph_msgw *w, const struct ask *a, size_t n)
{
    size_t total = w->len + n + (a->fingerprint ? FINGERPRINT_LEN : 0);
    return total * 5 <= (size_t)a->len * 8;
}

/* RFC 5780 6.1: PADDING MUST be in the answer when it was in the request.  As much as makes the answer as long as
 * the request. */
static void put_padding(struct ph_msgw *w, const struct ask *a)
{
    uint32_t without = w->len + ATTR_HEADER + (a->fingerprint ? FINGERPRINT_LEN : 0);
    uint32_t n = a->len > without ? a->len - without : 0;
    ph__msgw_padding(w, (n < a->padding_n ? n : a->padding_n) & ~3U);
}

static void put_success(struct ph_msgw *w, const struct ph_stund_conf *c, const struct ask *a,
                        const struct ph_addr *src)
{
    ph_msgw_addr(w, PH_ATTR_XOR_MAPPED_ADDRESS, src);
    /* RFC 5780 6.1: the server MUST include both.  (The difference shows a NAT that rewrites payloads.) */
    if (c->always_mapped || a->from != NO_SOCKET)
        ph_msgw_addr(w, PH_ATTR_MAPPED_ADDRESS, src);
    if (a->from != NO_SOCKET) {
        int other = a->from ^ (PH_STUND_ALT_IP | PH_STUND_ALT_PORT);
        ph_msgw_addr(w, PH_ATTR_RESPONSE_ORIGIN, &c->at[a->to]);
        ph_msgw_addr(w, PH_ATTR_OTHER_ADDRESS, &c->at[other]);
    }
    struct ph_slice software = ph_str(c->software);
    if (software.n && affordable(w, a, ATTR_HEADER + ((software.n + 3) & ~(size_t)3)))
        ph_msgw_bytes(w, PH_ATTR_SOFTWARE, software);
    if (a->padding)
        put_padding(w, a);
}

static void put_error(struct ph_msgw *w, const struct ask *a, uint16_t code)
{
    uint8_t list[2 * UNKNOWN_MAX];
    ph_msgw_error(w, code, ""); /* no phrase: it would be longer than the request */
    if (code != 420)
        return;
    for (unsigned i = 0; i < a->unknown_n; i++) {
        list[2 * i] = (uint8_t)(a->unknown[i] >> 8);
        list[2 * i + 1] = (uint8_t)a->unknown[i];
    }
    ph_msgw_bytes(w, PH_ATTR_UNKNOWN_ATTRIBUTES, (struct ph_slice){list, 2 * a->unknown_n});
}

/* Writes the answer into cap bytes at dst.  Returns its length or an error. */
static int build(const struct ph_stund_conf *c, const struct ask *a, uint16_t code,
                 const struct ph_pkt *p, uint8_t *dst, size_t cap)
{
    struct ph_msgw w;
    ph_msgw_begin(&w, dst, cap, PH_BINDING, code ? PH_ERROR : PH_SUCCESS, ph_buf_data(&p->b) + 8);
    if (code)
        put_error(&w, a, code);
    else
        put_success(&w, c, a, &p->src);
    if (a->fingerprint)
        ph_msgw_fingerprint(&w);
    return ph_msgw_end(&w);
}

/* Makes the packet carry the answer: over the request, or in p->head where a neighbour leaves no room behind the
 * request.  Returns the bytes on the wire or an error. */
static int write_answer(const struct ph_stund *s, const struct ask *a, uint16_t code,
                        struct ph_pkt *p)
{
    int n = build(&s->c, a, code, p, ph_buf_data(&p->b), p->b.cap - p->b.off);
    if (n >= 0) {
        p->b.len = (uint32_t)n;
    } else if (n == PH_E_NOSPACE && p->head) {
        n = build(&s->c, a, code, p, p->head, PH_HEADROOM);
        if (n >= 0) {
            p->head_len = (uint8_t)n;
            p->b.len = 0;
        }
    }
    return n;
}

/* Turns the packet around. */
static void address_answer(const struct ph_stund *s, const struct ask *a, uint16_t code,
                           struct ph_pkt *p)
{
    struct ph_addr client = p->src;
    p->src = p->dst;
    p->dst = client;
    if (code)
        return;
    if (a->port)
        p->dst.port = a->port;
    if (a->to != a->from) {
        p->src = s->c.at[a->to];
        p->sock = s->c.sock[a->to];
    }
}

int ph_stund_answer(struct ph_stund *s, const struct ph_msg *m, struct ph_pkt *p, ph_ns now)
{
    if (m->method != PH_BINDING || m->cls != PH_REQUEST) {
        s->stats.ignored++;
        return PH_DROP;
    }
    struct ask a;
    a.len = m->len;
    a.from = a.to = which_socket(s, p->sock);
    a.port = a.padding_n = 0;
    a.padding = false;
    a.unknown_n = 0;
    a.fingerprint = s->c.always_fingerprint || ph_msg_has(m, PH_IX_FINGERPRINT);
    if (p->src.port == 0 || ph_msg_check_fingerprint(m) == PH_E_FORMAT) {
        s->stats.malformed++;
        return PH_DROP;
    }
    s->stats.requests++;
    uint16_t code = m->len > PH_STUN_HEADER ? read_attrs(&a, m) : 0;
    int n = write_answer(s, &a, code, p);
    if (n < 0)
        return PH_DROP;
    /* An answer that is no longer than its request (PADDING) gains a forger nothing: only their number is
     * limited. */
    uint32_t cost = (uint32_t)n > a.len ? (uint32_t)n : PH_STUN_HEADER;
    if (!ph_budget_take(s->c.budget, &p->src, cost, now)) {
        s->stats.over_budget++;
        return PH_DROP;
    }
    address_answer(s, &a, code, p);
    if (code)
        s->stats.errors++;
    else
        s->stats.answers++;
    return PH_SEND;
}

int ph_stund_input(struct ph_stund *s, struct ph_pkt *p, ph_ns now)
{
    struct ph_msg m;
    if (ph_msg_parse(&m, ph_buf_data(&p->b), p->b.len) != 0) {
        s->stats.malformed++;
        return PH_DROP;
    }
    return ph_stund_answer(s, &m, p, now);
}
