/*
 * Reading a STUN message (RFC 8489 5, 14; also every TURN and ICE message, which are STUN
 * messages).
 *
 * ph_msg_parse validates the whole frame once: header, lengths, padding, order of the integrity
 * attributes, and leaves an index of where each known attribute lies.  Reading afterwards allocates
 * nothing, cannot run over the end, and decodes only what is asked for.
 *
 * What the index holds is what the RFC lets a receiver see: attributes behind MESSAGE-INTEGRITY are
 * ignored except MESSAGE-INTEGRITY-SHA256 and FINGERPRINT, those behind MESSAGE-INTEGRITY-SHA256
 * except FINGERPRINT (RFC 8489 14.5, 14.6); of a repeated attribute only the first counts (14).
 */
#ifndef PH_CODEC_MSG_H
#define PH_CODEC_MSG_H

#include "stun/base/slice.h"
#include "stun/codec/attr.h"
#include "stun/codec/proto.h"

#include <stdbool.h>
#include <stdint.h>

/* A parsed message: a view, valid as long as the packet it was parsed from is unchanged. */
struct ph_msg {
    const uint8_t *p; /* the frame, not owned */
    uint32_t len;     /* bytes of the frame, header included */
    uint32_t seen;    /* offset where the visible attributes end (see above) */
    uint16_t method;
    uint8_t cls;                /* enum ph_class */
    uint8_t has_unknown;        /* 1: a visible comprehension-required attribute is unknown */
    uint16_t at[PH_ATTR_COUNT]; /* offset of the attribute header / 4; 0: absent */
};

/* True if the first n bytes can be the start of a STUN message: two zero bits, the cookie, a length
 * that is a multiple of 4.  Needs 20 bytes; cheap enough for every packet. */
bool ph_msg_is_stun(const uint8_t *p, size_t n);

/* Validates a frame of exactly n bytes.  Returns 0; PH_E_SHORT when n is less than the header or
 * its length says; PH_E_FORMAT for anything else that is wrong (bits, cookie, length, an attribute
 * that runs over the end, anything behind FINGERPRINT, a wrong size of an integrity attribute or
 * FINGERPRINT). Values of other attributes are checked when they are read.  After an error *m means
 * nothing. */
int ph_msg_parse(struct ph_msg *m, const uint8_t *p, size_t n);

/* The 12 bytes of transaction id. */
static inline const uint8_t *ph_msg_txid(const struct ph_msg *m)
{
    return m->p + 8;
}

/* True when the attribute is present and visible.  ix is PH_IX_... */
static inline bool ph_msg_has(const struct ph_msg *m, enum ph_attr_index ix)
{
    return m->at[ix] != 0;
}

/* Decodes a visible attribute.  Returns 0, PH_E_MISSING, or what ph_attr_decode returns. */
int ph_msg_get(const struct ph_msg *m, enum ph_attr_index ix, struct ph_attr_value *out);

/* The same for one kind of value; *out is written only on success.  The kind of ix must fit. */
int ph_msg_addr(const struct ph_msg *m, enum ph_attr_index ix, struct ph_addr *out);
int ph_msg_uint(const struct ph_msg *m, enum ph_attr_index ix, uint64_t *out);
int ph_msg_bytes(const struct ph_msg *m, enum ph_attr_index ix, struct ph_slice *out);

/* ERROR-CODE of an error response: sets *code (300..699) and, unless NULL, *reason.  Returns as
 * above. */
int ph_msg_error(const struct ph_msg *m, uint16_t *code, struct ph_slice *reason);

/* One attribute during iteration. */
struct ph_msg_it {
    uint32_t at;           /* offset of the next attribute header; start with {0} */
    uint16_t type;         /* of the current one */
    struct ph_slice value; /* of the current one, without padding */
};

/* Steps through the visible attributes in wire order, known or not, repeated ones included (several
 * XOR-PEER-ADDRESS of a CreatePermission).  Returns false at the end. */
bool ph_msg_next(const struct ph_msg *m, struct ph_msg_it *it);

/* Collects visible comprehension-required attributes that Pinhole does not know, each type once, at
 * most max (a small number: the cost is max per attribute).  Returns their number: the content of
 * UNKNOWN-ATTRIBUTES in a 420 answer (RFC 8489 6.3.1). */
unsigned ph_msg_unknown(const struct ph_msg *m, uint16_t *types, unsigned max);

#endif
