/*
 * Stateless nonces (RFC 8489 9.2, 5.4 of its security considerations): nothing is stored before a client has
 * authenticated, so a flood of spoofed requests costs no memory.
 *
 *     [obMatJos2xxxx] time(4) mac(10)  ->  the time and MAC as 19 characters of base64
 *
 * The MAC is HMAC-SHA256(key, time | features of the cookie | client IP | realm), cut to 80 bits: made up by nobody, bound to the
 * address it was given to, and checked by every server that has the same key (a fleet).  The time is
 * wall time, so that it means the same on each of them.
 */
#ifndef PH_TURN_NONCE_H
#define PH_TURN_NONCE_H

#include "stun/base/addr.h"
#include "stun/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

enum { PH_NONCE_KEY_LEN = 32, PH_NONCE_MAX = 40 };

struct ph_nonce_conf {
    uint8_t key[PH_NONCE_KEY_LEN];
    uint8_t old_key[PH_NONCE_KEY_LEN]; /* still accepted while keys are rotated */
    bool has_old_key;
    uint32_t ttl_s;    /* seconds a nonce is good for; 0: for ever */
    unsigned features; /* PH_FEATURE_... for the cookie of new nonces; 0: no cookie */
};

/* Writes a nonce for a client.  Returns its length (at most PH_NONCE_MAX). */
size_t ph_nonce_make(const struct ph_nonce_conf *c, char dst[static PH_NONCE_MAX],
                     const struct ph_addr *client, struct ph_slice realm, int64_t unix_s);

/* True if the nonce was made by us (or the fleet) for this client and has not expired.  Its cookie may be another one than
 * ours is by now, after a reload: what it promised is under the MAC (ph_nonce_features). */
bool ph_nonce_check(const struct ph_nonce_conf *c, struct ph_slice nonce,
                    const struct ph_addr *client, struct ph_slice realm, int64_t unix_s);

/* What the cookie of a nonce that was checked says. */
unsigned ph_nonce_features(struct ph_slice nonce);

#endif
