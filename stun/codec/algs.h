/*
 * PASSWORD-ALGORITHMS and the nonce cookie: RFC 8489's bid-down protection (9.2, 14.11, 18.1).
 *
 * A server that speaks more than MD5 starts its nonce with "obMatJos2" and four base64 characters,
 * which carry 24 feature bits.  Since the nonce comes back under the integrity of the request, an
 * attacker who strips PASSWORD-ALGORITHMS from a 401 is found out.
 *
 * The order of the bits: RFC 8489 18.1 counts from the left, its own test vector (appendix B.1) and
 * libjuice count from the right.  We write what the vector has and accept both.
 */
#ifndef PH_CODEC_ALGS_H
#define PH_CODEC_ALGS_H

#include "stun/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

enum { PH_NONCE_COOKIE_LEN = 13 }; /* "obMatJos2" and four characters */

/* Features, as a set. */
enum { PH_FEATURE_PASSWORD_ALGORITHMS = 1, PH_FEATURE_USERNAME_ANONYMITY = 2 };

/* Writes the 13 characters. */
void ph_nonce_cookie_write(char dst[static PH_NONCE_COOKIE_LEN], unsigned features);

/* Reads the features of a nonce.  Returns true and sets *features if it starts with the cookie. */
bool ph_nonce_cookie_read(struct ph_slice nonce, unsigned *features);

/* Steps through a PASSWORD-ALGORITHMS value: takes the first entry off *list.  Returns 1 and sets
 * *number, 0 at the end, PH_E_FORMAT for a broken list. */
int ph_algs_next(struct ph_slice *list, uint16_t *number, struct ph_slice *params);

/* Writes a PASSWORD-ALGORITHMS value without parameters.  Returns the bytes, or PH_E_NOSPACE. */
int ph_algs_write(uint8_t *dst, size_t cap, const uint16_t *numbers, unsigned n);

/* The strongest algorithm of a list that we speak: PH_ALG_SHA256 before PH_ALG_MD5, else
 * PH_ALG_NONE. */
uint16_t ph_algs_choose(struct ph_slice list);

#endif
