/*
 * Standard base64 (RFC 4648 4): REST passwords, nonces, tickets, keys in configurations.
 */
#ifndef PH_CODEC_BASE64_H
#define PH_CODEC_BASE64_H

#include "stun/base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Writes n bytes with padding.  cap must be at least 4 * ((n + 2) / 3) + 1.  Returns the length, without the terminator it
 * writes. */
size_t ph_base64(char *dst, size_t cap, const uint8_t *p, size_t n);

/* Reads text with padding or without; nothing else may be in it, and bits that no byte takes must be zero.  Returns the
 * number of bytes, PH_E_FORMAT, or PH_E_NOSPACE when they are more than cap. */
int ph_base64_read(uint8_t *dst, size_t cap, struct ph_slice text);

#endif
