/*
 * Writing a STUN message: a bounded writer with a sticky error.
 *
 *     struct ph_msgw w;
 *     ph_msgw_begin(&w, buf, sizeof buf, PH_BINDING, PH_REQUEST, txid);
 *     ph_msgw_text(&w, PH_ATTR_SOFTWARE, ph_str("pinhole"));
 *     ph_msgw_integrity(&w, key);
 *     ph_msgw_fingerprint(&w);
 *     int n = ph_msgw_end(&w);          // bytes, or the first error
 *
 * After the first error every call does nothing, so only ph_msgw_end needs a check.  Padding is
 * written as zeros, reserved bits too; nothing outside [buf, buf + cap) is touched.
 */
#ifndef PH_CODEC_MSGW_H
#define PH_CODEC_MSGW_H

#include "stun/base/addr.h"
#include "stun/base/slice.h"
#include "stun/codec/attr.h"
#include "stun/codec/proto.h"

#include <stdint.h>

struct ph_msgw {
    uint8_t *p;   /* the frame, caller's memory */
    uint32_t cap; /* bytes */
    uint32_t len; /* bytes written */
    int err;      /* 0 or the first PH_E_... */
};

/* Starts a message.  txid is copied into the frame; it may lie in buf itself (building an answer
 * over the request), as may everything that is copied before it is overwritten. */
void ph_msgw_begin(struct ph_msgw *w, uint8_t *buf, size_t cap, uint16_t method, enum ph_class cls,
                   const uint8_t txid[static PH_TXID_LEN]);

/* Appends any attribute of the table.  Errors: PH_E_NOSPACE, or PH_E_ARG for an unknown type or a
 * value that it cannot carry. */
void ph_msgw_attr(struct ph_msgw *w, uint16_t type, const struct ph_attr_value *v);

/* Shorthands: the type must be of the fitting kind. */
void ph_msgw_addr(struct ph_msgw *w, uint16_t type, const struct ph_addr *a);
void ph_msgw_uint(struct ph_msgw *w, uint16_t type, uint64_t u);
void ph_msgw_bytes(struct ph_msgw *w, uint16_t type, struct ph_slice s);
void ph_msgw_flag(struct ph_msgw *w, uint16_t type);

/* Appends ERROR-CODE.  reason NULL: the default phrase; "": none, for the shortest answer. */
void ph_msgw_error(struct ph_msgw *w, uint16_t code, const char *reason);

/* Appends an attribute as raw bytes, for types outside the table (tests, forwarding). */
void ph_msgw_raw(struct ph_msgw *w, uint16_t type, struct ph_slice value);

/* Appends MESSAGE-INTEGRITY (HMAC-SHA1, 20 bytes) over all before it (RFC 8489 14.5). */
void ph_msgw_integrity(struct ph_msgw *w, struct ph_slice key);

/* Appends MESSAGE-INTEGRITY-SHA256, n bytes of it: 16 to 32, a multiple of 4 (RFC 8489 14.6). */
void ph_msgw_integrity_sha256(struct ph_msgw *w, struct ph_slice key, size_t n);

/* Appends FINGERPRINT and closes the frame: what is appended after it fails with PH_E_NOSPACE (RFC
 * 8489 14.7). */
void ph_msgw_fingerprint(struct ph_msgw *w);

/* Ends the message.  Returns its length in bytes (a multiple of 4), or the first error. */
int ph_msgw_end(struct ph_msgw *w);

#endif
