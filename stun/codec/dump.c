/*
 * The dump walks the frame itself, not through ph_msg_next, so that it also shows what a receiver
 * ignores and frames that do not parse.
 */
#include "stun/codec/dump.h"

#include "stun/base/bytes.h"
#include "stun/base/error.h"
#include "stun/codec/fingerprint.h"
#include "stun/codec/priv.h"

enum { NAME_COLUMN = 24 };

static void dump_header(struct ph__text *t, const uint8_t *p, size_t n)
{
    static const char *const CLASSES[] = {"request", "indication", "success", "error"};
    uint16_t type = ph_get16(p), method = ph_stun_method(type);
    const char *name = ph_method_name(method);
    if (name)
        ph__text_str(t, name);
    else
        ph__text_fmt(t, "Method 0x%03x", method);
    ph__text_fmt(t, " %s, %zu bytes, id ", CLASSES[ph_stun_class(type)], n);
    ph__text_hex(t, p + 8, PH_TXID_LEN);
    ph__text_char(t, '\n');
}

static bool is_secret(uint16_t type)
{
    switch (type) {
    case PH_ATTR_USERNAME:
    case PH_ATTR_USERHASH:
    case PH_ATTR_NONCE:
    case PH_ATTR_ACCESS_TOKEN:
    case PH_ATTR_MOBILITY_TICKET:
    case PH_ATTR_RESERVATION_TOKEN:
    case PH_ATTR_MESSAGE_INTEGRITY:
    case PH_ATTR_MESSAGE_INTEGRITY_SHA256:
        return true;
    default:
        return false;
    }
}

static void dump_raw(struct ph__text *t, const uint8_t *p, size_t n)
{
    static const struct ph_attr_desc RAW = {.kind = PH_KIND_BYTES};
    ph__attr_print(t, &RAW, &(struct ph_attr_value){.bytes = {p, n}});
}

/* Bytes of unknown meaning: they may hold anything, so with mask only the first four are shown. */
static void dump_opaque(struct ph__text *t, const uint8_t *p, size_t n, bool mask)
{
    if (!mask || n <= 4) {
        dump_raw(t, p, n);
        return;
    }
    ph__text_hex(t, p, 4);
    ph__text_fmt(t, "... (%zu bytes)", n);
}

static void dump_value(struct ph__text *t, const struct ph_attr_desc *d, const uint8_t *p, size_t n,
                       const uint8_t *txid)
{
    struct ph_attr_value v;
    int err = d ? ph_attr_decode(d, p, n, txid, &v) : 0;
    if (!d || err)
        dump_raw(t, p, n);
    else
        ph__attr_print(t, d, &v);
    if (err)
        ph__text_fmt(t, " (%s)", ph_strerror(err));
}

/* One attribute: its header at p + at, n bytes of value. */
static void dump_attr(struct ph__text *t, const uint8_t *p, uint32_t at, uint32_t n, bool mask)
{
    uint16_t type = ph_get16(p + at);
    const struct ph_attr_desc *d = ph_attr_find(type);
    if (d)
        ph__text_fmt(t, "  %-*s ", NAME_COLUMN, d->name);
    else
        ph__text_fmt(t, "  0x%04x%-*s ", type, NAME_COLUMN - 6, "");
    if (mask && is_secret(type))
        ph__text_fmt(t, "(%u bytes)", n);
    else
        dump_value(t, d, p + at + PH__ATTR_HEADER, n, p + 8);
    if (type == PH_ATTR_FINGERPRINT && n == 4) {
        bool good = ph_get32(p + at + PH__ATTR_HEADER) == ph_fingerprint(p, at);
        ph__text_str(t, good ? " (good)" : " (bad)");
    }
}

/* Attributes of a frame whose header is right, as far as they can be told apart. */
static void dump_attrs(struct ph__text *t, const uint8_t *p, uint32_t len, const struct ph_msg *m,
                       bool mask)
{
    struct ph_msg_it it = {0};
    bool more = m && ph_msg_next(m, &it);
    uint32_t at = PH_STUN_HEADER, n;
    for (; len - at >= PH__ATTR_HEADER; at += PH__ATTR_HEADER + n + ph__pad(n)) {
        n = ph_get16(p + at + 2);
        if (n > len - at - PH__ATTR_HEADER)
            break;
        dump_attr(t, p, at, n, mask);
        if (more && it.value.p == p + at + PH__ATTR_HEADER)
            more = ph_msg_next(m, &it);
        else if (m)
            ph__text_str(t, " (ignored)");
        ph__text_char(t, '\n');
        if (ph__pad(n) > len - at - PH__ATTR_HEADER - n)
            return;
    }
    if (at < len) {
        ph__text_fmt(t, "  %-*s ", NAME_COLUMN, "rest");
        dump_opaque(t, p + at, len - at, mask);
        ph__text_char(t, '\n');
    }
}

int ph_msg_dump(const uint8_t *p, size_t n, bool mask, char *dst, size_t cap)
{
    struct ph__text t;
    struct ph_msg m;
    int err = ph_msg_parse(&m, p, n);
    ph__text_begin(&t, dst, cap);
    if (!ph_msg_is_stun(p, n) || n > PH_STUN_MAX) {
        ph__text_fmt(&t, "not STUN, %zu bytes: ", n);
        dump_opaque(&t, p, n, mask);
        ph__text_char(&t, '\n');
        return ph__text_end(&t);
    }
    dump_header(&t, p, n);
    if (err)
        ph__text_fmt(&t, "  broken: %s\n", ph_strerror(err));
    dump_attrs(&t, p, (uint32_t)n, err ? NULL : &m, mask);
    return ph__text_end(&t);
}
