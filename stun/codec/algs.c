/*
 * PASSWORD-ALGORITHMS lists and the feature bits in a nonce.
 */
#include "stun/codec/algs.h"

#include "stun/base/bytes.h"
#include "stun/base/error.h"
#include "stun/codec/base64.h"
#include "stun/codec/integrity.h"
#include "stun/codec/priv.h"

static const char COOKIE[] = "obMatJos2";
enum { COOKIE_TEXT = sizeof COOKIE - 1 };

/* The same bits counted from the other end.  The vector in RFC 8489 B.1 has "AAAC", which is the
 * value 2, for feature 1 (username anonymity); by the text of 18.1 it would be the second bit from
 * the left. */
static uint32_t mirrored(uint32_t bits)
{
    uint32_t r = 0;
    for (unsigned i = 0; i < 24; i++)
        r |= (bits >> i & 1) << (23 - i);
    return r;
}

void ph_nonce_cookie_write(char dst[static PH_NONCE_COOKIE_LEN], unsigned features)
{
    uint8_t bits[3] = {(uint8_t)(features >> 16), (uint8_t)(features >> 8), (uint8_t)features};
    char four[5];
    memcpy(dst, COOKIE, COOKIE_TEXT);
    ph_base64(four, sizeof four, bits, sizeof bits);
    memcpy(dst + COOKIE_TEXT, four, 4);
}

bool ph_nonce_cookie_read(struct ph_slice nonce, unsigned *features)
{
    uint8_t raw[3];
    if (nonce.n < PH_NONCE_COOKIE_LEN || memcmp(nonce.p, COOKIE, COOKIE_TEXT) != 0)
        return false;
    if (ph_base64_read(
            raw, sizeof raw,
            (struct ph_slice){nonce.p + COOKIE_TEXT, PH_NONCE_COOKIE_LEN - COOKIE_TEXT}) != 3)
        return false;
    uint32_t bits = (uint32_t)raw[0] << 16 | (uint32_t)raw[1] << 8 | raw[2];
    *features =
        (bits | mirrored(bits)) & (PH_FEATURE_PASSWORD_ALGORITHMS | PH_FEATURE_USERNAME_ANONYMITY);
    return true;
}

int ph_algs_next(struct ph_slice *list, uint16_t *number, struct ph_slice *params)
{
    if (list->n == 0)
        return 0;
    if (list->n < 4)
        return PH_E_FORMAT;
    uint32_t n = ph_get16(list->p + 2);
    if (n > list->n - 4)
        return PH_E_FORMAT;
    *number = ph_get16(list->p);
    *params = (struct ph_slice){list->p + 4, n};
    /* The padding of the last entry may be left to the padding of the attribute. */
    size_t step = 4 + n + ph__pad(n);
    if (step > list->n)
        step = list->n;
    list->p += step;
    list->n -= step;
    return 1;
}

int ph_algs_write(uint8_t *dst, size_t cap, const uint16_t *numbers, unsigned n)
{
    if (cap / 4 < n)
        return PH_E_NOSPACE;
    for (unsigned i = 0; i < n; i++)
        ph_put32(dst + 4 * (size_t)i, (uint32_t)numbers[i] << 16);
    return (int)(4 * n);
}

uint16_t ph_algs_choose(struct ph_slice list)
{
    uint16_t best = PH_ALG_NONE, number;
    struct ph_slice params;
    int r;
    while ((r = ph_algs_next(&list, &number, &params)) == 1)
        if ((number == PH_ALG_MD5 || number == PH_ALG_SHA256) && number > best)
            best = number;
    return r < 0 ? PH_ALG_NONE : best;
}
