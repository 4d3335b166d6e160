/*
 * FINGERPRINT: CRC-32 of the message, XORed with 0x5354554e (RFC 8489 14.7).
 */
#ifndef PH_CODEC_FINGERPRINT_H
#define PH_CODEC_FINGERPRINT_H

#include "stun/codec/msg.h"

#include <stdint.h>

/* The value for a message whose first n bytes stand in front of the FINGERPRINT attribute, and
 * whose header length already counts it. */
uint32_t ph_fingerprint(const uint8_t *p, size_t n);

/* Checks a parsed message.  Returns 0, PH_E_MISSING, or PH_E_FORMAT when it does not match. */
int ph_msg_check_fingerprint(const struct ph_msg *m);

#endif
