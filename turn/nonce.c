#include "turn/nonce.h"

#include "stun/base/bytes.h"
#include "stun/codec/algs.h"
#include "stun/codec/base64.h"
#include "stun/codec/integrity.h"

#include <string.h>

enum {
    TIME_LEN = 4,
    MAC_LEN = 10,
    RAW_LEN = TIME_LEN + MAC_LEN,
    TEXT_LEN = 19, /* 14 bytes in base64 without padding */
    SKEW_S = 60    /* another node's clock may run ahead of ours by this much */
};

/* MAC over what must not be changed: the cookie's features, the time, the client's IP, the realm. */
static void mac(uint8_t out[static MAC_LEN], const uint8_t *key, unsigned features, uint32_t time,
                const struct ph_addr *client, struct ph_slice realm)
{
    uint8_t head[8], full[PH_SHA256_LEN];
    ph_put32(head, time);
    ph_put32(head + 4, features);
    const struct ph_slice parts[] = {
        {head, sizeof head}, {client->ip, sizeof client->ip}, {realm.p, realm.n}};

    ph_hmac_sha256(full, (struct ph_slice){key, PH_NONCE_KEY_LEN}, parts, 3);
    memcpy(out, full, MAC_LEN);
}

static size_t encode(char *dst, const uint8_t raw[static RAW_LEN])
{
    char text[4 * ((RAW_LEN + 2) / 3) + 1];
    ph_base64(text, sizeof text, raw, RAW_LEN);
    memcpy(dst, text, TEXT_LEN); /* the padding says nothing */
    return TEXT_LEN;
}

static bool decode(uint8_t raw[static RAW_LEN], const uint8_t *text)
{
    return ph_base64_read(raw, RAW_LEN, (struct ph_slice){text, TEXT_LEN}) == RAW_LEN;
}

size_t ph_nonce_make(const struct ph_nonce_conf *c, char dst[static PH_NONCE_MAX],
                     const struct ph_addr *client, struct ph_slice realm, int64_t unix_s)
{
    uint8_t raw[RAW_LEN];
    size_t n = c->features ? PH_NONCE_COOKIE_LEN : 0;

    if (c->features)
        ph_nonce_cookie_write(dst, c->features);
    ph_put32(raw, (uint32_t)unix_s);
    mac(raw + TIME_LEN, c->key, c->features, (uint32_t)unix_s, client, realm);
    return n + encode(dst + n, raw);
}

static bool mac_fits(const uint8_t raw[static RAW_LEN], const uint8_t *key, unsigned features,
                     const struct ph_addr *client, struct ph_slice realm)
{
    uint8_t want[MAC_LEN];
    mac(want, key, features, ph_get32(raw), client, realm);
    return ph_equal_ct(want, raw + TIME_LEN, MAC_LEN);
}

unsigned ph_nonce_features(struct ph_slice nonce)
{
    unsigned features;
    return nonce.n == PH_NONCE_COOKIE_LEN + TEXT_LEN && ph_nonce_cookie_read(nonce, &features)
               ? features
               : 0;
}

/* Takes the cookie off a nonce, if it is spelled as we spell it.  False: it can be none of ours. */
static bool take_cookie(struct ph_slice *nonce, unsigned *features)
{
    char cookie[PH_NONCE_COOKIE_LEN];

    *features = ph_nonce_features(*nonce);
    if (*features) {
        ph_nonce_cookie_write(cookie, *features);
        if (memcmp(cookie, nonce->p, sizeof cookie) != 0)
            return false;
        nonce->p += sizeof cookie;
        nonce->n -= sizeof cookie;
    }
    return nonce->n == TEXT_LEN;
}

bool ph_nonce_check(const struct ph_nonce_conf *c, struct ph_slice nonce,
                    const struct ph_addr *client, struct ph_slice realm, int64_t unix_s)
{
    uint8_t raw[RAW_LEN];
    unsigned features;

    if (!take_cookie(&nonce, &features) || !decode(raw, nonce.p))
        return false;
    /* 32 bits of time, compared modulo 2^32: right until the distance is 68 years. */
    int32_t age = (int32_t)((uint32_t)unix_s - ph_get32(raw));
    if (age < -SKEW_S || (c->ttl_s && age >= 0 && (uint32_t)age >= c->ttl_s))
        return false;
    return mac_fits(raw, c->key, features, client, realm) ||
           (c->has_old_key && mac_fits(raw, c->old_key, features, client, realm));
}
