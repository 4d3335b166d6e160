/*
 * Attribute values as text, per kind.
 */
#include "stun/base/bytes.h"
#include "stun/codec/algs.h"
#include "stun/codec/attr.h"
#include "stun/codec/integrity.h"
#include "stun/codec/priv.h"

typedef void printer(struct ph__text *t, const struct ph_attr_desc *d,
                     const struct ph_attr_value *v);

static void print_addr(struct ph__text *t, const struct ph_attr_desc *d,
                       const struct ph_attr_value *v)
{
    char text[PH_ADDR_TEXT];
    (void)d;
    ph__text_str(t, ph_addr_text(&v->addr, text));
}

/* Numbers that people know as names or in hex. */
static void print_uint(struct ph__text *t, const struct ph_attr_desc *d,
                       const struct ph_attr_value *v)
{
    unsigned long long u = v->u;
    switch (d->type) {
    case PH_ATTR_LIFETIME:
    case PH_ATTR_CACHE_TIMEOUT:
        ph__text_fmt(t, "%llu s", u);
        return;
    case PH_ATTR_RESPONSE_PORT:
    case PH_ATTR_PRIORITY:
        ph__text_fmt(t, "%llu", u);
        return;
    case PH_ATTR_REQUESTED_TRANSPORT:
        ph__text_fmt(t, "%llu%s", u, u == PH_UDP ? " (UDP)" : u == PH_TCP ? " (TCP)" : "");
        return;
    case PH_ATTR_REQUESTED_ADDRESS_FAMILY:
    case PH_ATTR_ADDITIONAL_ADDRESS_FAMILY:
    case PH_ATTR_DRAFT_ADDITIONAL_FAMILY:
        ph__text_fmt(t, "%llu%s", u,
                     u == PH_AF_INET    ? " (IPv4)"
                     : u == PH_AF_INET6 ? " (IPv6)"
                                        : "");
        return;
    case PH_ATTR_EVEN_PORT:
        ph__text_str(t, u & 0x80 ? "reserve the next port" : "alone");
        return;
    case PH_ATTR_CHANGE_REQUEST: /* RFC 5780 7.2: bit 2 IP, bit 1 port */
        ph__text_str(t, u & 4 ? (u & 2 ? "IP and port" : "IP") : u & 2 ? "port" : "nothing");
        return;
    default:
        ph__text_fmt(t, "0x%0*llx",
                     d->kind == PH_KIND_U64   ? 16
                     : d->kind == PH_KIND_U32 ? 8
                                              : 4,
                     u);
    }
}

static void print_flag(struct ph__text *t, const struct ph_attr_desc *d,
                       const struct ph_attr_value *v)
{
    (void)d, (void)v;
    ph__text_str(t, "yes");
}

static void print_text(struct ph__text *t, const struct ph_attr_desc *d,
                       const struct ph_attr_value *v)
{
    (void)d;
    ph__text_quoted(t, v->bytes);
}

/* Hex of at most 64 bytes, and how many there are beyond. */
static void print_bytes(struct ph__text *t, const struct ph_attr_desc *d,
                        const struct ph_attr_value *v)
{
    enum { SHOWN = 64 };
    size_t n = v->bytes.n;
    (void)d;
    ph__text_hex(t, v->bytes.p, n < SHOWN ? n : SHOWN);
    if (n > SHOWN)
        ph__text_fmt(t, "... (%zu bytes)", n);
    else if (n == 0)
        ph__text_str(t, "(empty)");
}

static void print_error(struct ph__text *t, const struct ph_attr_desc *d,
                        const struct ph_attr_value *v)
{
    if (d->kind == PH_KIND_ADDR_ERRCODE)
        ph__text_fmt(t, "%s ",
                     v->error.family == PH_AF_INET    ? "IPv4"
                     : v->error.family == PH_AF_INET6 ? "IPv6"
                                                      : "unknown family");
    ph__text_fmt(t, "%u", v->error.code);
    if (v->error.reason.n) {
        ph__text_char(t, ' ');
        ph__text_quoted(t, v->error.reason);
    }
}

static void print_types(struct ph__text *t, const struct ph_attr_desc *d,
                        const struct ph_attr_value *v)
{
    (void)d;
    for (size_t i = 0; i + 2 <= v->bytes.n; i += 2) {
        uint16_t type = ph_get16(v->bytes.p + i);
        const struct ph_attr_desc *known = ph_attr_find(type);
        if (i)
            ph__text_str(t, ", ");
        ph__text_fmt(t, "0x%04x", type);
        if (known)
            ph__text_fmt(t, " (%s)", known->name);
    }
}

static void print_one_algorithm(struct ph__text *t, uint16_t number, struct ph_slice params)
{
    if (number == PH_ALG_MD5)
        ph__text_str(t, "MD5");
    else if (number == PH_ALG_SHA256)
        ph__text_str(t, "SHA-256");
    else
        ph__text_fmt(t, "0x%04x", number);
    if (params.n) {
        ph__text_char(t, '/');
        ph__text_hex(t, params.p, params.n);
    }
}

static void print_algorithm(struct ph__text *t, const struct ph_attr_desc *d,
                            const struct ph_attr_value *v)
{
    (void)d;
    print_one_algorithm(t, v->alg.number, v->alg.params);
}

static void print_algorithms(struct ph__text *t, const struct ph_attr_desc *d,
                             const struct ph_attr_value *v)
{
    struct ph_slice list = v->bytes, params;
    uint16_t number;
    int r;
    (void)d;
    for (bool first = true; (r = ph_algs_next(&list, &number, &params)) == 1; first = false) {
        if (!first)
            ph__text_str(t, ", ");
        print_one_algorithm(t, number, params);
    }
    if (r < 0)
        ph__text_str(t, " (broken list)");
}

static void print_icmp(struct ph__text *t, const struct ph_attr_desc *d,
                       const struct ph_attr_value *v)
{
    (void)d;
    ph__text_fmt(t, "type %u code %u data 0x%08x", v->icmp.type, v->icmp.code, v->icmp.data);
}

static void print_counter(struct ph__text *t, const struct ph_attr_desc *d,
                          const struct ph_attr_value *v)
{
    (void)d;
    ph__text_fmt(t, "request %u response %u", v->counter.req, v->counter.resp);
}

static printer *const PRINTERS[] = {
    [PH_KIND_ADDR] = print_addr,
    [PH_KIND_XADDR] = print_addr,
    [PH_KIND_U8] = print_uint,
    [PH_KIND_U8_PAD] = print_uint,
    [PH_KIND_U16_PAD] = print_uint,
    [PH_KIND_U32] = print_uint,
    [PH_KIND_U64] = print_uint,
    [PH_KIND_FLAG] = print_flag,
    [PH_KIND_TEXT] = print_text,
    [PH_KIND_BYTES] = print_bytes,
    [PH_KIND_MAC] = print_bytes,
    [PH_KIND_MAC256] = print_bytes,
    [PH_KIND_HASH] = print_bytes,
    [PH_KIND_ERRCODE] = print_error,
    [PH_KIND_ADDR_ERRCODE] = print_error,
    [PH_KIND_TYPES] = print_types,
    [PH_KIND_ALGORITHM] = print_algorithm,
    [PH_KIND_ALGORITHMS] = print_algorithms,
    [PH_KIND_ICMP] = print_icmp,
    [PH_KIND_COUNTER] = print_counter,
};

void ph__attr_print(struct ph__text *t, const struct ph_attr_desc *d, const struct ph_attr_value *v)
{
    PRINTERS[d->kind](t, d, v);
}

int ph_attr_print(const struct ph_attr_desc *d, const struct ph_attr_value *v, char *dst,
                  size_t cap)
{
    struct ph__text t;
    ph__text_begin(&t, dst, cap);
    ph__attr_print(&t, d, v);
    return ph__text_end(&t);
}
