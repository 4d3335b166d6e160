/*
 * Authenticated encryption: AES-GCM with 12 bytes of nonce and 16 of tag (NIST SP 800-38D; RFC 5116 5.1, 5.2).
 *
 * Used for the tokens of RFC 7635.  With integrity.c the only code of the pure libraries that knows OpenSSL.
 * Everything may be called from any thread.
 */
#ifndef PH_CODEC_AEAD_H
#define PH_CODEC_AEAD_H

#include "stun/base/slice.h"

#include <stdint.h>

enum { PH_AEAD_NONCE_LEN = 12, PH_AEAD_TAG_LEN = 16 };

/* Encrypts plain into dst, which has room for plain.n + PH_AEAD_TAG_LEN bytes: the tag comes last.  key: 16 or 32
 * bytes; aad: what is authenticated but not sent.  A nonce must never be used twice with one key.  dst and plain do not
 * overlap.  Returns the number of bytes, PH_E_ARG for another size of key, or PH_E_NOMEM. */
int ph_aead_seal(uint8_t *dst, struct ph_slice key, const uint8_t nonce[static PH_AEAD_NONCE_LEN],
                 struct ph_slice aad, struct ph_slice plain);

/* Decrypts sealed (tag last) into dst, which has room for sealed.n - PH_AEAD_TAG_LEN bytes.  Returns the number of bytes;
 * PH_E_AUTH when anything does not fit, and dst is wiped then; PH_E_SHORT when sealed has no room for a tag; PH_E_ARG
 * for another size of key; PH_E_NOMEM. */
int ph_aead_open(uint8_t *dst, struct ph_slice key, const uint8_t nonce[static PH_AEAD_NONCE_LEN],
                 struct ph_slice aad, struct ph_slice sealed);

#endif
