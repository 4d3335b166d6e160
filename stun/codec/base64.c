#include "stun/codec/base64.h"

#include "stun/base/error.h"

#include <assert.h>

size_t ph_base64(char *dst, size_t cap, const uint8_t *p, size_t n)
{
    static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t len = 0;
    assert(cap >= 4 * ((n + 2) / 3) + 1);
    (void)cap;
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)p[i] << 16;
        v |= i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0;
        v |= i + 2 < n ? p[i + 2] : 0;
        dst[len++] = DIGITS[v >> 18];
        dst[len++] = DIGITS[v >> 12 & 63];
        dst[len++] = i + 1 < n ? DIGITS[v >> 6 & 63] : '=';
        dst[len++] = i + 2 < n ? DIGITS[v & 63] : '=';
    }
    dst[len] = '\0';
    return len;
}

/* The value of a digit, or -1. */
static int sextet(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* The digits alone: as many as say whole bytes, with the right padding or none.  False if that cannot be. */
static bool strip_padding(struct ph_slice *text)
{
    size_t pad = 0;
    while (pad < text->n && text->p[text->n - 1 - pad] == '=')
        pad++;
    if (pad && (pad > 2 || text->n % 4 != 0))
        return false;
    text->n -= pad;
    return text->n % 4 != 1;
}

int ph_base64_read(uint8_t *dst, size_t cap, struct ph_slice text)
{
    uint32_t bits = 0;
    unsigned have = 0;
    size_t len = 0;

    if (!strip_padding(&text))
        return PH_E_FORMAT;
    for (size_t i = 0; i < text.n; i++) {
        int v = sextet(text.p[i]);
        if (v < 0)
            return PH_E_FORMAT;
        bits = bits << 6 | (uint32_t)v;
        have += 6;
        if (have < 8)
            continue;
        have -= 8;
        if (len == cap)
            return PH_E_NOSPACE;
        dst[len++] = (uint8_t)(bits >> have);
        bits &= (1u << have) - 1;
    }
    return bits ? PH_E_FORMAT : (int)len;
}
