#include "turn/nonce.h"

#include "stun/base/bytes.h"
#include "stun/codec/algs.h"
#include "stun/codec/integrity.h"

#include <string.h>

enum {
    TIME_LEN = 4,
    MAC_LEN = 10,
    RAW_LEN = TIME_LEN + MAC_LEN,
    TEXT_LEN = 19, /* 14 bytes in base64 without padding */
    SKEW_S = 60    /* another node's clock may run ahead of ours by this much */
};

static size_t prefix_len(const struct ph_nonce_conf *c)
{
    return c->features ? PH_NONCE_COOKIE_LEN : 0;
}

/* MAC over what must not be changed: the cookie's features, the time, the client's IP, the realm. */
static void mac(uint8_t out[static MAC_LEN], const struct ph_nonce_conf *c, const uint8_t *key,
                uint32_t time, const struct ph_addr *client, struct ph_slice realm)
{
    uint8_t head[8], full[PH_SHA256_LEN];
    ph_put32(head, time);
    ph_put32(head + 4, c->features);
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

static int base64_digit(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static bool decode(uint8_t raw[static RAW_LEN], const uint8_t *text)
{
    uint32_t bits = 0;
    unsigned have = 0, at = 0;

    for (unsigned i = 0; i < TEXT_LEN; i++) {
        int v = base64_digit(text[i]);
        if (v < 0)
            return false;
        bits = bits << 6 | (uint32_t)v;
        have += 6;
        if (have >= 8) {
            have -= 8;
            raw[at++] = (uint8_t)(bits >> have);
        }
    }
    return (bits & ((1u << have) - 1)) == 0; /* one spelling for one nonce */
}

size_t ph_nonce_make(const struct ph_nonce_conf *c, char dst[static PH_NONCE_MAX],
                     const struct ph_addr *client, struct ph_slice realm, int64_t unix_s)
{
    uint8_t raw[RAW_LEN];
    size_t n = prefix_len(c);

    if (c->features)
        ph_nonce_cookie_write(dst, c->features);
    ph_put32(raw, (uint32_t)unix_s);
    mac(raw + TIME_LEN, c, c->key, (uint32_t)unix_s, client, realm);
    return n + encode(dst + n, raw);
}

static bool mac_fits(const struct ph_nonce_conf *c, const uint8_t raw[static RAW_LEN],
                     const uint8_t *key, const struct ph_addr *client, struct ph_slice realm)
{
    uint8_t want[MAC_LEN];
    mac(want, c, key, ph_get32(raw), client, realm);
    return ph_equal_ct(want, raw + TIME_LEN, MAC_LEN);
}

bool ph_nonce_check(const struct ph_nonce_conf *c, struct ph_slice nonce,
                    const struct ph_addr *client, struct ph_slice realm, int64_t unix_s)
{
    uint8_t raw[RAW_LEN];
    char cookie[PH_NONCE_COOKIE_LEN];
    size_t n = prefix_len(c);

    if (nonce.n != n + TEXT_LEN || !decode(raw, nonce.p + n))
        return false;
    if (c->features) {
        ph_nonce_cookie_write(cookie, c->features);
        if (memcmp(cookie, nonce.p, sizeof cookie) != 0)
            return false;
    }
    /* 32 bits of time, compared modulo 2^32: right until the distance is 68 years. */
    int32_t age = (int32_t)((uint32_t)unix_s - ph_get32(raw));
    if (age < -SKEW_S || (c->ttl_s && age >= 0 && (uint32_t)age >= c->ttl_s))
        return false;
    return mac_fits(c, raw, c->key, client, realm) ||
           (c->has_old_key && mac_fits(c, raw, c->old_key, client, realm));
}
