/*
 * Validating a frame and finding attributes in it: one pass, no allocation.
 */
#include "stun/codec/msg.h"

#include "stun/base/bytes.h"
#include "stun/base/error.h"
#include "stun/codec/priv.h"

#include <string.h>

bool ph_msg_is_stun(const uint8_t *p, size_t n)
{
    return n >= PH_STUN_HEADER && p[0] < 0x40 && (p[3] & 3) == 0 &&
           ph_get32(p + 4) == PH_STUN_COOKIE;
}

/* Sizes that parsing itself depends on.  Returns false for a wrong one. */
static bool mac_size_ok(int ix, uint32_t n)
{
    switch (ix) {
    case PH_IX_MESSAGE_INTEGRITY:
        return n == 20;
    case PH_IX_MESSAGE_INTEGRITY_SHA256:
        return n >= 16 && n <= 32 && n % 4 == 0;
    default: /* FINGERPRINT */
        return n == 4;
    }
}

static inline bool is_mac(int ix)
{
    return ix == PH_IX_MESSAGE_INTEGRITY || ix == PH_IX_MESSAGE_INTEGRITY_SHA256 ||
           ix == PH_IX_FINGERPRINT;
}

/* Behind an integrity attribute little is visible: MESSAGE-INTEGRITY-SHA256 if it is the first one
 * and FINGERPRINT, which must be the last attribute.  m->seen is already set. */
static int scan_tail(struct ph_msg *m, uint32_t at)
{
    for (uint32_t n; at < m->len; at += PH__ATTR_HEADER + n + ph__pad(n)) {
        int ix = ph__attr_index(ph_get16(m->p + at));
        n = ph_get16(m->p + at + 2);
        if (n > m->len - at - PH__ATTR_HEADER)
            return PH_E_FORMAT;
        bool first256 = ix == PH_IX_MESSAGE_INTEGRITY_SHA256 && !m->at[ix];
        if (!first256 && ix != PH_IX_FINGERPRINT)
            continue;
        if (!mac_size_ok(ix, n))
            return PH_E_FORMAT;
        m->at[ix] = (uint16_t)(at / 4);
        if (ix == PH_IX_FINGERPRINT)
            return at + PH__ATTR_HEADER + n == m->len ? 0 : PH_E_FORMAT;
    }
    return 0;
}

static int scan(struct ph_msg *m)
{
    const uint8_t *p = m->p;
    uint32_t at = PH_STUN_HEADER, len = m->len;
    /* Length and offsets are multiples of 4, so a header never straddles the end. */
    while (at < len) {
        uint16_t type = ph_get16(p + at);
        uint32_t n = ph_get16(p + at + 2);
        int ix = ph__attr_index(type);
        if (n > len - at - PH__ATTR_HEADER)
            return PH_E_FORMAT;
        if (ix < 0)
            m->has_unknown |= ph_attr_required(type);
        else if (!m->at[ix])
            m->at[ix] = (uint16_t)(at / 4);
        uint32_t next = at + PH__ATTR_HEADER + n + ph__pad(n);
        if (ix >= 0 && is_mac(ix)) {
            if (!mac_size_ok(ix, n))
                return PH_E_FORMAT;
            m->seen = next;
            return ix != PH_IX_FINGERPRINT ? scan_tail(m, next) : next == len ? 0 : PH_E_FORMAT;
        }
        at = next;
    }
    m->seen = len;
    return 0;
}

int ph_msg_parse(struct ph_msg *m, const uint8_t *p, size_t n)
{
    if (n < PH_STUN_HEADER)
        return PH_E_SHORT;
    uint32_t len = PH_STUN_HEADER + (uint32_t)ph_get16(p + 2);
    if (!ph_msg_is_stun(p, n))
        return PH_E_FORMAT;
    if (n != len)
        return n < len ? PH_E_SHORT : PH_E_FORMAT;
    uint16_t type = ph_get16(p);
    *m = (struct ph_msg){.p = p, .len = len};
    m->method = ph_stun_method(type);
    m->cls = (uint8_t)ph_stun_class(type);
    return scan(m);
}

int ph_msg_get(const struct ph_msg *m, enum ph_attr_index ix, struct ph_attr_value *out)
{
    uint32_t at = ph__msg_at(m, ix);
    if (!at)
        return PH_E_MISSING;
    return ph_attr_decode(&ph_attr_table[ix], m->p + at + PH__ATTR_HEADER, ph_get16(m->p + at + 2),
                          ph_msg_txid(m), out);
}

int ph_msg_addr(const struct ph_msg *m, enum ph_attr_index ix, struct ph_addr *out)
{
    struct ph_attr_value v;
    int err = ph_msg_get(m, ix, &v);
    if (!err)
        *out = v.addr;
    return err;
}

int ph_msg_uint(const struct ph_msg *m, enum ph_attr_index ix, uint64_t *out)
{
    struct ph_attr_value v;
    int err = ph_msg_get(m, ix, &v);
    if (!err)
        *out = v.u;
    return err;
}

int ph_msg_bytes(const struct ph_msg *m, enum ph_attr_index ix, struct ph_slice *out)
{
    struct ph_attr_value v;
    int err = ph_msg_get(m, ix, &v);
    if (!err)
        *out = v.bytes;
    return err;
}

int ph_msg_error(const struct ph_msg *m, uint16_t *code, struct ph_slice *reason)
{
    struct ph_attr_value v;
    int err = ph_msg_get(m, PH_IX_ERROR_CODE, &v);
    if (err)
        return err;
    *code = v.error.code;
    if (reason)
        *reason = v.error.reason;
    return 0;
}

bool ph_msg_next(const struct ph_msg *m, struct ph_msg_it *it)
{
    uint32_t at = it->at ? it->at : PH_STUN_HEADER;
    while (at < m->len) {
        uint32_t n = ph_get16(m->p + at + 2);
        uint32_t next = at + PH__ATTR_HEADER + n + ph__pad(n);
        if (at < m->seen || at == ph__msg_at(m, PH_IX_MESSAGE_INTEGRITY_SHA256) ||
            at == ph__msg_at(m, PH_IX_FINGERPRINT)) {
            it->at = next;
            it->type = ph_get16(m->p + at);
            it->value = (struct ph_slice){m->p + at + PH__ATTR_HEADER, n};
            return true;
        }
        at = next;
    }
    it->at = m->len;
    return false;
}

unsigned ph_msg_unknown(const struct ph_msg *m, uint16_t *types, unsigned max)
{
    unsigned n = 0;
    struct ph_msg_it it = {0};
    while (m->has_unknown && n < max && ph_msg_next(m, &it)) {
        bool fresh = ph_attr_required(it.type) && ph__attr_index(it.type) < 0;
        for (unsigned i = 0; i < n && fresh; i++)
            fresh = types[i] != it.type;
        if (fresh)
            types[n++] = it.type;
    }
    return n;
}
