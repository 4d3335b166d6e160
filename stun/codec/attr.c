/*
 * The attribute table and, per kind of value, how it is decoded and encoded.
 *
 * Sizes are checked once against the row (min_n, max_n); the decoders below may rely on it and add
 * only what a range cannot say.  Encoders are called with a value whose size is not known yet: each
 * checks cap before it writes.
 */
#include "stun/codec/attr.h"

#include "stun/base/bytes.h"
#include "stun/base/error.h"
#include "stun/codec/priv.h"
#include "stun/codec/proto.h"

#include <string.h>

enum {
    VALUE_MAX = 65528, /* bytes: what fits behind an attribute header in the longest frame */
    PHRASE_MAX = 763   /* RFC 8489 14.8-14.10, 14.14: fewer than 128 characters when decoding */
};

/* The fewest and the most bytes a value of each kind may have. */
#define SIZE_ADDR(type)         8, 20
#define SIZE_XADDR(type)        8, 20
#define SIZE_U8(type)           1, 1
#define SIZE_U8_PAD(type)       4, 4
#define SIZE_U16_PAD(type)      (type) == PH_ATTR_RESPONSE_PORT ? 2 : 4, 4
#define SIZE_U32(type)          4, 4
#define SIZE_U64(type)          8, 8
#define SIZE_FLAG(type)         0, 0
#define SIZE_TEXT(type)         0, TEXT_MAX(type)
#define SIZE_BYTES(type)        0, VALUE_MAX
#define SIZE_MAC(type)          20, 20
#define SIZE_MAC256(type)       16, 32
#define SIZE_HASH(type)         32, 32
#define SIZE_ERRCODE(type)      4, 4 + PHRASE_MAX
#define SIZE_ADDR_ERRCODE(type) 4, 4 + PHRASE_MAX
#define SIZE_TYPES(type)        0, VALUE_MAX
#define SIZE_ALGORITHM(type)    4, VALUE_MAX
#define SIZE_ALGORITHMS(type)   0, VALUE_MAX
#define SIZE_ICMP(type)         8, 8
#define SIZE_COUNTER(type)      4, 4

/* RFC 8489 14.3: USERNAME has fewer than 509 bytes; 14.16: ALTERNATE-DOMAIN has at most 255.
 * RESPONSE-PORT above: RFC 5780 7.5 does not say whether its padding is part of the length. */
#define TEXT_MAX(type)                                                                             \
    ((type) == PH_ATTR_USERNAME ? 508 : (type) == PH_ATTR_ALTERNATE_DOMAIN ? 255 : PHRASE_MAX)

const struct ph_attr_desc ph_attr_table[PH_ATTR_COUNT] = {
#define PH_X(id, type, name, kind, rfc)                                                            \
    [PH_IX_##id] = {(type), PH_KIND_##kind, (rfc), SIZE_##kind(type), (name)},
    PH_ATTRS(PH_X)
#undef PH_X
};

const uint8_t ph__attr_lut[512] = {
#define PH_X(id, type, name, kind, rfc) [((type) >> 7 & 0x100) | ((type)&0xFF)] = PH_IX_##id + 1,
    PH_ATTRS(PH_X)
#undef PH_X
};

#define PH_X(id, type, name, kind, rfc)                                                            \
    _Static_assert(((type)&0x7F00) == 0, "outside of ph__attr_lut: " #id);
PH_ATTRS(PH_X)
#undef PH_X

const struct ph_attr_desc *ph_attr_find(uint16_t type)
{
    int ix = ph__attr_index(type);
    return ix < 0 ? NULL : &ph_attr_table[ix];
}

/* ---- addresses (RFC 8489 14.1, 14.2) ---- */

static int decode_addr(const uint8_t *p, size_t n, const uint8_t *txid, struct ph_attr_value *out)
{
    struct ph_addr a = {.family = p[1], .port = ph_get16(p + 2)};
    (void)txid;
    if (a.family != PH_AF_INET && a.family != PH_AF_INET6)
        return PH_E_FAMILY;
    if (n != 4 + ph_addr_ip_len(&a))
        return PH_E_LENGTH;
    memcpy(a.ip, p + 4, n - 4);
    out->addr = a;
    return 0;
}

static int encode_addr(const struct ph_attr_value *v, const uint8_t *txid, uint8_t *p, size_t cap)
{
    struct ph_addr a = v->addr; /* a copy: the value may lie where we write */
    size_t n = ph_addr_ip_len(&a);
    (void)txid;
    if (n == 0)
        return PH_E_ARG;
    if (cap < 4 + n)
        return PH_E_NOSPACE;
    p[0] = 0;
    p[1] = a.family;
    ph_put16(p + 2, a.port);
    memcpy(p + 4, a.ip, n);
    return (int)(4 + n);
}

/* XORs port and IP with the cookie and, behind its four bytes, the transaction id. */
static void xor_addr(struct ph_addr *a, const uint8_t *txid)
{
    uint8_t mask[16];
    ph_put32(mask, PH_STUN_COOKIE);
    memcpy(mask + 4, txid, PH_TXID_LEN);
    a->port ^= PH_STUN_COOKIE >> 16;
    for (size_t i = 0, n = ph_addr_ip_len(a); i < n; i++)
        a->ip[i] ^= mask[i];
}

static int decode_xaddr(const uint8_t *p, size_t n, const uint8_t *txid, struct ph_attr_value *out)
{
    int err = decode_addr(p, n, txid, out);
    if (!err)
        xor_addr(&out->addr, txid);
    return err;
}

static int encode_xaddr(const struct ph_attr_value *v, const uint8_t *txid, uint8_t *p, size_t cap)
{
    struct ph_attr_value x = {.addr = v->addr};
    xor_addr(&x.addr, txid);
    return encode_addr(&x, txid, p, cap);
}

/* ---- numbers: `size` bytes of value, reserved zeros up to `n` ---- */

static int put_uint(const struct ph_attr_value *v, uint8_t *p, size_t cap, size_t size, size_t n)
{
    uint64_t u = v->u;
    if (size < 8 && u >> (8 * size))
        return PH_E_ARG;
    if (cap < n)
        return PH_E_NOSPACE;
    memset(p, 0, n);
    for (size_t i = 0; i < size; i++)
        p[i] = (uint8_t)(u >> (8 * (size - 1 - i)));
    return (int)n;
}

#define DECODER(name, expression)                                                                  \
    static int name(const uint8_t *p, size_t n, const uint8_t *txid, struct ph_attr_value *out)    \
    {                                                                                              \
        (void)n, (void)txid;                                                                       \
        out->u = (expression);                                                                     \
        return 0;                                                                                  \
    }
DECODER(decode_u8, p[0])
DECODER(decode_u16, ph_get16(p))
DECODER(decode_u32, ph_get32(p))
DECODER(decode_u64, ph_get64(p))
DECODER(decode_flag, ((void)p, 1))
#undef DECODER

#define ENCODER(name, size, total)                                                                 \
    static int name(const struct ph_attr_value *v, const uint8_t *txid, uint8_t *p, size_t cap)    \
    {                                                                                              \
        (void)txid;                                                                                \
        return put_uint(v, p, cap, (size), (total));                                               \
    }
ENCODER(encode_u8, 1, 1)
ENCODER(encode_u8_pad, 1, 4)
ENCODER(encode_u16_pad, 2, 4)
ENCODER(encode_u32, 4, 4)
ENCODER(encode_u64, 8, 8)
#undef ENCODER

static int encode_flag(const struct ph_attr_value *v, const uint8_t *txid, uint8_t *p, size_t cap)
{
    (void)v, (void)txid, (void)p, (void)cap;
    return 0;
}

/* ---- bytes ---- */

static int decode_bytes(const uint8_t *p, size_t n, const uint8_t *txid, struct ph_attr_value *out)
{
    (void)txid;
    out->bytes = (struct ph_slice){p, n};
    return 0;
}

static int encode_bytes(const struct ph_attr_value *v, const uint8_t *txid, uint8_t *p, size_t cap)
{
    (void)txid;
    if (v->bytes.n > VALUE_MAX)
        return PH_E_ARG;
    if (v->bytes.n > cap)
        return PH_E_NOSPACE;
    if (v->bytes.n)
        memmove(p, v->bytes.p, v->bytes.n);
    return (int)v->bytes.n;
}

static int decode_mac256(const uint8_t *p, size_t n, const uint8_t *txid, struct ph_attr_value *out)
{
    return n % 4 ? PH_E_LENGTH : decode_bytes(p, n, txid, out);
}

static int encode_mac256(const struct ph_attr_value *v, const uint8_t *txid, uint8_t *p, size_t cap)
{
    return v->bytes.n % 4 ? PH_E_ARG : encode_bytes(v, txid, p, cap);
}

static int decode_types(const uint8_t *p, size_t n, const uint8_t *txid, struct ph_attr_value *out)
{
    return n % 2 ? PH_E_LENGTH : decode_bytes(p, n, txid, out);
}

static int encode_types(const struct ph_attr_value *v, const uint8_t *txid, uint8_t *p, size_t cap)
{
    return v->bytes.n % 2 ? PH_E_ARG : encode_bytes(v, txid, p, cap);
}

/* ---- ERROR-CODE (RFC 8489 14.8) and ADDRESS-ERROR-CODE (RFC 8656 18.12) ---- */

static int decode_addr_errcode(const uint8_t *p, size_t n, const uint8_t *txid,
                               struct ph_attr_value *out)
{
    unsigned hundreds = p[2] & 7, rest = p[3];
    (void)txid;
    if (hundreds < 3 || hundreds > 6 || rest > 99)
        return PH_E_FORMAT;
    n -= 4;
    while (n && p[4 + n - 1] == 0) /* coturn up to 4.7 counts its padding as part of the phrase */
        n--;
    out->error.code = (uint16_t)(hundreds * 100 + rest);
    out->error.family = p[0];
    out->error.reason = (struct ph_slice){p + 4, n};
    return 0;
}

static int decode_errcode(const uint8_t *p, size_t n, const uint8_t *txid,
                          struct ph_attr_value *out)
{
    int err = decode_addr_errcode(p, n, txid, out);
    if (!err)
        out->error.family = PH_AF_NONE;
    return err;
}

static int put_errcode(const struct ph_attr_value *v, uint8_t family, uint8_t *p, size_t cap)
{
    uint16_t code = v->error.code;
    struct ph_slice reason = v->error.reason;
    if (code < 300 || code > 699 || reason.n > PHRASE_MAX)
        return PH_E_ARG;
    if (cap < 4 + reason.n)
        return PH_E_NOSPACE;
    if (reason.n)
        memmove(p + 4, reason.p, reason.n);
    p[0] = family;
    p[1] = 0;
    p[2] = (uint8_t)(code / 100);
    p[3] = (uint8_t)(code % 100);
    return (int)(4 + reason.n);
}

static int encode_addr_errcode(const struct ph_attr_value *v, const uint8_t *txid, uint8_t *p,
                               size_t cap)
{
    (void)txid;
    return put_errcode(v, v->error.family, p, cap);
}

static int encode_errcode(const struct ph_attr_value *v, const uint8_t *txid, uint8_t *p,
                          size_t cap)
{
    (void)txid;
    return put_errcode(v, 0, p, cap);
}

/* ---- PASSWORD-ALGORITHM (RFC 8489 14.12) and its list (14.11) ---- */

static int decode_algorithm(const uint8_t *p, size_t n, const uint8_t *txid,
                            struct ph_attr_value *out)
{
    uint32_t params = ph_get16(p + 2);
    (void)txid;
    if (n != 4 + params && n != 4 + params + ph__pad(params))
        return PH_E_LENGTH;
    out->alg.number = ph_get16(p);
    out->alg.params = (struct ph_slice){p + 4, params};
    return 0;
}

static int encode_algorithm(const struct ph_attr_value *v, const uint8_t *txid, uint8_t *p,
                            size_t cap)
{
    uint16_t number = v->alg.number;
    struct ph_slice params = v->alg.params;
    (void)txid;
    if (params.n > VALUE_MAX - 4)
        return PH_E_ARG;
    uint32_t pad = ph__pad((uint32_t)params.n);
    if (cap < 4 + params.n + pad)
        return PH_E_NOSPACE;
    if (params.n)
        memmove(p + 4, params.p, params.n);
    memset(p + 4 + params.n, 0, pad);
    ph_put16(p, number);
    ph_put16(p + 2, (uint16_t)params.n);
    return (int)(4 + params.n + pad);
}

/* ---- ICMP (RFC 8656 18.13): 16 bits reserved, 7 of type, 9 of code, 32 of data ---- */

static int decode_icmp(const uint8_t *p, size_t n, const uint8_t *txid, struct ph_attr_value *out)
{
    unsigned w = ph_get16(p + 2);
    (void)n, (void)txid;
    out->icmp.type = (uint8_t)(w >> 9);
    out->icmp.code = w & 0x1FF;
    out->icmp.data = ph_get32(p + 4);
    return 0;
}

static int encode_icmp(const struct ph_attr_value *v, const uint8_t *txid, uint8_t *p, size_t cap)
{
    uint32_t data = v->icmp.data;
    (void)txid;
    if (v->icmp.type > 0x7F || v->icmp.code > 0x1FF)
        return PH_E_ARG;
    if (cap < 8)
        return PH_E_NOSPACE;
    ph_put32(p, (uint32_t)v->icmp.type << 9 | v->icmp.code);
    ph_put32(p + 4, data);
    return 8;
}

/* ---- TRANSACTION-TRANSMIT-COUNTER (RFC 7982 3.1): 16 bits reserved, Req, Resp ---- */

static int decode_counter(const uint8_t *p, size_t n, const uint8_t *txid,
                          struct ph_attr_value *out)
{
    (void)n, (void)txid;
    out->counter.req = p[2];
    out->counter.resp = p[3];
    return 0;
}

static int encode_counter(const struct ph_attr_value *v, const uint8_t *txid, uint8_t *p,
                          size_t cap)
{
    (void)txid;
    if (cap < 4)
        return PH_E_NOSPACE;
    ph_put32(p, (uint32_t)v->counter.req << 8 | v->counter.resp);
    return 4;
}

/* ---- the kinds ---- */

struct kind {
    int (*decode)(const uint8_t *p, size_t n, const uint8_t *txid, struct ph_attr_value *out);
    int (*encode)(const struct ph_attr_value *v, const uint8_t *txid, uint8_t *p, size_t cap);
};

static const struct kind KINDS[] = {
    [PH_KIND_ADDR] = {decode_addr, encode_addr},
    [PH_KIND_XADDR] = {decode_xaddr, encode_xaddr},
    [PH_KIND_U8] = {decode_u8, encode_u8},
    [PH_KIND_U8_PAD] = {decode_u8, encode_u8_pad},
    [PH_KIND_U16_PAD] = {decode_u16, encode_u16_pad},
    [PH_KIND_U32] = {decode_u32, encode_u32},
    [PH_KIND_U64] = {decode_u64, encode_u64},
    [PH_KIND_FLAG] = {decode_flag, encode_flag},
    [PH_KIND_TEXT] = {decode_bytes, encode_bytes},
    [PH_KIND_BYTES] = {decode_bytes, encode_bytes},
    [PH_KIND_MAC] = {decode_bytes, encode_bytes},
    [PH_KIND_MAC256] = {decode_mac256, encode_mac256},
    [PH_KIND_HASH] = {decode_bytes, encode_bytes},
    [PH_KIND_ERRCODE] = {decode_errcode, encode_errcode},
    [PH_KIND_ADDR_ERRCODE] = {decode_addr_errcode, encode_addr_errcode},
    [PH_KIND_TYPES] = {decode_types, encode_types},
    [PH_KIND_ALGORITHM] = {decode_algorithm, encode_algorithm},
    [PH_KIND_ALGORITHMS] = {decode_bytes, encode_bytes},
    [PH_KIND_ICMP] = {decode_icmp, encode_icmp},
    [PH_KIND_COUNTER] = {decode_counter, encode_counter},
};

/* True for the kinds whose value is given as v->bytes. */
static bool is_bytes(uint8_t kind)
{
    return KINDS[kind].encode == encode_bytes || kind == PH_KIND_MAC256 || kind == PH_KIND_TYPES;
}

int ph_attr_decode(const struct ph_attr_desc *d, const uint8_t *p, size_t n, const uint8_t *txid,
                   struct ph_attr_value *out)
{
    if (n < d->min_n || n > d->max_n)
        return PH_E_LENGTH;
    return KINDS[d->kind].decode(p, n, txid, out);
}

int ph_attr_encode(const struct ph_attr_desc *d, const struct ph_attr_value *v, const uint8_t *txid,
                   uint8_t *p, size_t cap)
{
    if (is_bytes(d->kind) && (v->bytes.n < d->min_n || v->bytes.n > d->max_n))
        return PH_E_ARG;
    return KINDS[d->kind].encode(v, txid, p, cap);
}
