/*
 * What the codec's files share among themselves.
 */
#ifndef PH_CODEC_PRIV_H
#define PH_CODEC_PRIV_H

#include "stun/base/bytes.h"
#include "stun/codec/attr.h"
#include "stun/codec/msg.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PH__ATTR_HEADER = 4, /* bytes: type and length */
    PH__FINGERPRINT_XOR = 0x5354554E
};

/* Position in the table plus one, or 0, for types 0x0000-0x00FF and then 0x8000-0x80FF. */
extern const uint8_t ph__attr_lut[512];

/* The table index of a type number, or -1. */
static inline int ph__attr_index(uint16_t type)
{
    return type & 0x7F00 ? -1 : ph__attr_lut[(type >> 7 & 0x100) | (type & 0xFF)] - 1;
}

/* Bytes of padding behind a value of n bytes (RFC 8489 14). */
static inline uint32_t ph__pad(uint32_t n)
{
    return -n & 3;
}

/* Offset in the frame of a visible attribute's header, 0: absent. */
static inline uint32_t ph__msg_at(const struct ph_msg *m, enum ph_attr_index ix)
{
    return (uint32_t)m->at[ix] * 4;
}

/* Text that is cut at the end of its buffer, but counts on: snprintf in pieces. */
struct ph__text {
    char *dst; /* NULL when cap is 0 */
    size_t cap;
    size_t len; /* wanted so far */
};

/* Starts a text; it is always terminated if cap is not 0. */
void ph__text_begin(struct ph__text *t, char *dst, size_t cap);

void ph__text_char(struct ph__text *t, char c);
void ph__text_str(struct ph__text *t, const char *s);
void ph__text_fmt(struct ph__text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Lower-case hex, two digits a byte. */
void ph__text_hex(struct ph__text *t, const uint8_t *p, size_t n);

/* "text" in quotes; what is not printable ASCII or well-formed UTF-8 becomes \xNN, so that a log
 * line stays one line and a terminal is left alone. */
void ph__text_quoted(struct ph__text *t, struct ph_slice s);

/* The wanted length as an int, like snprintf. */
int ph__text_end(const struct ph__text *t);

/* ph_attr_print into a text. */
void ph__attr_print(struct ph__text *t, const struct ph_attr_desc *d,
                    const struct ph_attr_value *v);

#endif
