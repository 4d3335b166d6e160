#include "turn/oauth.h"

#include "stun/base/bytes.h"
#include "stun/base/error.h"
#include "stun/codec/aead.h"

enum {
    HEAD = 2 + PH_AEAD_NONCE_LEN, /* nonce_length and nonce */
    TAIL = 8 + 4,                 /* timestamp and lifetime, behind the MAC key */
    INNER_MAX = 2 + PH_KEY_MAX + TAIL,
    INNER_MIN = 2 + PH_SHA1_LEN + TAIL,
    SKEW_S = 5 /* between clocks: what RFC 7635 recommends for Delta */
};

/* The clear text, whose tag was right: it comes from somebody who has the key, but may still be nonsense. */
static int read_inner(struct ph_oauth_token *t, const uint8_t *p, size_t n)
{
    size_t key_n = ph_get16(p);

    if ((key_n != PH_SHA1_LEN && key_n != PH_SHA256_LEN) || n != 2 + key_n + TAIL)
        return PH_E_FORMAT;
    t->mac_key.n = (uint8_t)key_n;
    t->mac_key.alg = PH_ALG_NONE;
    memcpy(t->mac_key.b, p + 2, key_n);
    /* 48 bits of seconds, 16 of fractions. */
    t->issued_s = (int64_t)(ph_get64(p + 2 + key_n) >> 16);
    t->expires_s = t->issued_s + ph_get32(p + 2 + key_n + 8);
    return 0;
}

static bool key_is_good(const struct ph_oauth_key *k, int64_t unix_s)
{
    return (k->not_before_s == 0 || unix_s >= k->not_before_s) &&
           (k->not_after_s == 0 || unix_s <= k->not_after_s);
}

int ph_oauth_open(struct ph_oauth_token *out, const struct ph_oauth_key *key,
                  struct ph_slice server_name, struct ph_slice token, int64_t unix_s)
{
    uint8_t inner[INNER_MAX];
    struct ph_oauth_token t = {0};

    /* Every length before anything is read or copied (CVE-2026-43994 was a copy of nonce_length bytes). */
    if (token.n < HEAD + INNER_MIN + PH_AEAD_TAG_LEN ||
        token.n > HEAD + INNER_MAX + PH_AEAD_TAG_LEN || ph_get16(token.p) != PH_AEAD_NONCE_LEN ||
        key->key_len > sizeof key->key)
        return PH_E_FORMAT;
    if (!key_is_good(key, unix_s))
        return PH_E_AUTH;
    int n = ph_aead_open(inner, (struct ph_slice){key->key, key->key_len}, token.p + 2, server_name,
                         (struct ph_slice){token.p + HEAD, token.n - HEAD});
    if (n < 0)
        return PH_E_AUTH;
    int err = read_inner(&t, inner, (size_t)n);
    if (!err && (unix_s >= t.expires_s || t.issued_s > unix_s + SKEW_S))
        err = PH_E_TIMEOUT;
    if (!err)
        *out = t;
    ph_wipe(inner, sizeof inner);
    ph_wipe(&t, sizeof t);
    return err;
}
