/*
 * An authorization server for tests: seals tokens as RFC 7635 6.2 says.
 */
#ifndef PH_TESTS_TURN_TOKEN_H
#define PH_TESTS_TURN_TOKEN_H

#include "stun/base/bytes.h"
#include "stun/codec/aead.h"
#include "turn/oauth.h"

#include <string.h>

struct token {
    uint8_t b[256];
    size_t n;
};

/* What is in a token. */
struct grant {
    uint8_t key[64];
    uint16_t key_n;
    uint64_t timestamp; /* 48 bits of seconds, 16 of fractions */
    uint32_t lifetime_s;
};

static inline struct token token_seal(const struct ph_oauth_key *k, const char *server,
                                      const struct grant *g)
{
    uint8_t inner[128];
    struct token t = {.n = 2 + PH_AEAD_NONCE_LEN};

    ph_put16(t.b, PH_AEAD_NONCE_LEN);
    memset(t.b + 2, 0x77, PH_AEAD_NONCE_LEN);
    ph_put16(inner, g->key_n);
    memcpy(inner + 2, g->key, g->key_n);
    ph_put64(inner + 2 + g->key_n, g->timestamp);
    ph_put32(inner + 10 + g->key_n, g->lifetime_s);
    int n = ph_aead_seal(t.b + t.n, (struct ph_slice){k->key, k->key_len}, t.b + 2, ph_str(server),
                         (struct ph_slice){inner, 14u + g->key_n});
    t.n += n > 0 ? (size_t)n : 0;
    return t;
}

static inline struct ph_slice token_slice(const struct token *t)
{
    return (struct ph_slice){t->b, t->n};
}

#endif
