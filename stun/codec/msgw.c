/*
 * The writer: every append checks the room first, then writes header, value and zero padding.
 */
#include "stun/codec/msgw.h"

#include "stun/base/bytes.h"
#include "stun/base/error.h"
#include "stun/codec/fingerprint.h"
#include "stun/codec/integrity.h"
#include "stun/codec/priv.h"

#include <string.h>

/* Remembers the first error.  Returns true while there is none. */
static bool check(struct ph_msgw *w, int err)
{
    if (!w->err)
        w->err = err;
    return !w->err;
}

static void put_length(struct ph_msgw *w, uint32_t frame_len)
{
    ph_put16(w->p + 2, (uint16_t)(frame_len - PH_STUN_HEADER));
}

void ph_msgw_begin(struct ph_msgw *w, uint8_t *buf, size_t cap, uint16_t method, enum ph_class cls,
                   const uint8_t txid[static PH_TXID_LEN])
{
    *w = (struct ph_msgw){.p = buf, .cap = cap < PH_STUN_MAX ? (uint32_t)cap : PH_STUN_MAX};
    if (!check(w, cap < PH_STUN_HEADER ? PH_E_NOSPACE : method > 0xFFF ? PH_E_ARG : 0))
        return;
    memmove(buf + 8, txid, PH_TXID_LEN);
    ph_put16(buf, ph_stun_type(method, cls));
    ph_put32(buf + 4, PH_STUN_COOKIE);
    w->len = PH_STUN_HEADER;
    put_length(w, w->len);
}

/* Where the next value goes, with the room for it in *room; NULL when not even a header fits. */
static uint8_t *value_at(struct ph_msgw *w, uint32_t *room)
{
    uint32_t left = w->cap - w->len;
    if (w->err || !check(w, left < PH__ATTR_HEADER ? PH_E_NOSPACE : 0))
        return NULL;
    *room = (left - PH__ATTR_HEADER) & ~3U; /* so that the padding fits, too */
    return w->p + w->len + PH__ATTR_HEADER;
}

/* Completes an attribute whose n value bytes are written. */
static void finish(struct ph_msgw *w, uint16_t type, uint32_t n)
{
    uint8_t *h = w->p + w->len;
    ph_put16(h, type);
    ph_put16(h + 2, (uint16_t)n);
    memset(h + PH__ATTR_HEADER + n, 0, ph__pad(n));
    w->len += PH__ATTR_HEADER + n + ph__pad(n);
    put_length(w, w->len);
}

void ph_msgw_attr(struct ph_msgw *w, uint16_t type, const struct ph_attr_value *v)
{
    const struct ph_attr_desc *d = ph_attr_find(type);
    uint32_t room;
    uint8_t *p = value_at(w, &room);
    if (!p || !check(w, d ? 0 : PH_E_ARG))
        return;
    int n = ph_attr_encode(d, v, w->p + 8, p, room);
    if (check(w, n < 0 ? n : 0))
        finish(w, type, (uint32_t)n);
}

/* Bit sets of kinds, for the shorthands. */
#define K(kind) (1U << PH_KIND_##kind)
static const uint32_t ADDR_KINDS = K(ADDR) | K(XADDR);
static const uint32_t UINT_KINDS = K(U8) | K(U8_PAD) | K(U16_PAD) | K(U32) | K(U64);
static const uint32_t BYTES_KINDS =
    K(TEXT) | K(BYTES) | K(MAC) | K(MAC256) | K(HASH) | K(TYPES) | K(ALGORITHMS);
static const uint32_t FLAG_KINDS = K(FLAG);
static const uint32_t ERROR_KINDS = K(ERRCODE);
#undef K

static void put_kind(struct ph_msgw *w, uint16_t type, uint32_t kinds,
                     const struct ph_attr_value *v)
{
    const struct ph_attr_desc *d = ph_attr_find(type);
    if (check(w, d && kinds >> d->kind & 1 ? 0 : PH_E_ARG))
        ph_msgw_attr(w, type, v);
}

void ph_msgw_addr(struct ph_msgw *w, uint16_t type, const struct ph_addr *a)
{
    put_kind(w, type, ADDR_KINDS, &(struct ph_attr_value){.addr = *a});
}

void ph_msgw_uint(struct ph_msgw *w, uint16_t type, uint64_t u)
{
    put_kind(w, type, UINT_KINDS, &(struct ph_attr_value){.u = u});
}

void ph_msgw_bytes(struct ph_msgw *w, uint16_t type, struct ph_slice s)
{
    put_kind(w, type, BYTES_KINDS, &(struct ph_attr_value){.bytes = s});
}

void ph_msgw_flag(struct ph_msgw *w, uint16_t type)
{
    put_kind(w, type, FLAG_KINDS, &(struct ph_attr_value){.u = 1});
}

void ph_msgw_error(struct ph_msgw *w, uint16_t code, const char *reason)
{
    struct ph_attr_value v = {.error = {.code = code}};
    v.error.reason = ph_str(reason ? reason : ph_stun_reason(code));
    put_kind(w, PH_ATTR_ERROR_CODE, ERROR_KINDS, &v);
}

void ph_msgw_raw(struct ph_msgw *w, uint16_t type, struct ph_slice value)
{
    uint32_t room;
    uint8_t *p = value_at(w, &room);
    if (!p || !check(w, value.n > room ? PH_E_NOSPACE : 0))
        return;
    if (value.n)
        memmove(p, value.p, value.n);
    finish(w, type, (uint32_t)value.n);
}

void ph_msgw_integrity(struct ph_msgw *w, struct ph_slice key)
{
    uint32_t room;
    uint8_t *p = value_at(w, &room);
    if (!p || !check(w, room < PH_SHA1_LEN ? PH_E_NOSPACE : 0))
        return;
    /* RFC 8489 14.5: the header length already counts this attribute. */
    put_length(w, w->len + PH__ATTR_HEADER + PH_SHA1_LEN);
    ph_hmac_sha1(p, key, &(struct ph_slice){w->p, w->len}, 1);
    finish(w, PH_ATTR_MESSAGE_INTEGRITY, PH_SHA1_LEN);
}

void ph_msgw_integrity_sha256(struct ph_msgw *w, struct ph_slice key, size_t n)
{
    uint8_t mac[PH_SHA256_LEN];
    uint32_t room;
    uint8_t *p = value_at(w, &room);
    if (!p || !check(w, n < 16 || n > PH_SHA256_LEN || n % 4 ? PH_E_ARG : 0) ||
        !check(w, room < n ? PH_E_NOSPACE : 0))
        return;
    put_length(w, w->len + PH__ATTR_HEADER + (uint32_t)n);
    ph_hmac_sha256(mac, key, &(struct ph_slice){w->p, w->len}, 1);
    memcpy(p, mac, n);
    finish(w, PH_ATTR_MESSAGE_INTEGRITY_SHA256, (uint32_t)n);
}

void ph_msgw_fingerprint(struct ph_msgw *w)
{
    uint32_t room;
    uint8_t *p = value_at(w, &room);
    if (!p || !check(w, room < 4 ? PH_E_NOSPACE : 0))
        return;
    put_length(w, w->len + PH__ATTR_HEADER + 4);
    ph_put32(p, ph_fingerprint(w->p, w->len));
    finish(w, PH_ATTR_FINGERPRINT, 4);
    w->cap = w->len; /* nothing fits behind it any more */
}

int ph_msgw_end(struct ph_msgw *w)
{
    return w->err ? w->err : (int)w->len;
}
