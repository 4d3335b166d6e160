/*
 * Self-contained OAuth tokens (RFC 7635 6.2): a key for the message integrity, given by an authorization server.
 *
 *     nonce_length(2) nonce | AEAD( key_length(2) mac_key  timestamp(8)  lifetime(4) )
 *
 * sealed with AES-GCM under a key that authorization server and TURN server share (found by its kid, which the client
 * sends as USERNAME); the server's name is the associated data.  The timestamp has 48 bits of seconds and 16 of fractions;
 * the nonce 12 bytes, as AES-GCM wants it (RFC 7635 6.2).  Every length is checked before anything is
 * copied, and nothing of a token is believed before its tag has been verified.
 */
#ifndef PH_TURN_OAUTH_H
#define PH_TURN_OAUTH_H

#include "stun/base/slice.h"
#include "stun/codec/integrity.h"

#include <stdint.h>

enum { PH_OAUTH_TOKEN_MAX = 512, PH_OAUTH_KID_MAX = 128 };

/* A shared key. */
struct ph_oauth_key {
    char kid[PH_OAUTH_KID_MAX]; /* its name */
    uint8_t key[32];
    uint8_t key_len;      /* 16: AES-128-GCM, 32: AES-256-GCM */
    int64_t not_before_s; /* unix time from which on it is good; 0: always */
    int64_t not_after_s;  /* ... and until; 0: always */
};

struct ph_oauth_token {
    struct ph_key mac_key; /* alg PH_ALG_NONE: the bytes are used as they are, 20 or 32 */
    int64_t issued_s;      /* unix time */
    int64_t expires_s;     /* unix time */
};

/* Opens a token.  Returns 0; PH_E_FORMAT (a length that cannot be), PH_E_AUTH (tag, wrong key or server name, or a key that
 * is not good at unix_s), PH_E_TIMEOUT (expired at unix_s, or issued in the future beyond 5 s). */
int ph_oauth_open(struct ph_oauth_token *out, const struct ph_oauth_key *key,
                  struct ph_slice server_name, struct ph_slice token, int64_t unix_s);

#endif
