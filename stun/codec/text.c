/*
 * Bounded text in pieces, for the printers of attributes and messages.
 */
#include "stun/codec/priv.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

void ph__text_begin(struct ph__text *t, char *dst, size_t cap)
{
    *t = (struct ph__text){dst, cap, 0};
    if (cap)
        dst[0] = '\0';
}

static void append(struct ph__text *t, const char *s, size_t n)
{
    if (t->len + 1 < t->cap) {
        size_t room = t->cap - 1 - t->len;
        size_t k = n < room ? n : room;
        memcpy(t->dst + t->len, s, k);
        t->dst[t->len + k] = '\0';
    }
    t->len += n;
}

void ph__text_char(struct ph__text *t, char c)
{
    append(t, &c, 1);
}

void ph__text_str(struct ph__text *t, const char *s)
{
    append(t, s, strlen(s));
}

void ph__text_fmt(struct ph__text *t, const char *fmt, ...)
{
    char piece[160]; /* every format of the codec is shorter */
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(piece, sizeof piece, fmt, ap);
    va_end(ap);
    ph__text_str(t, piece);
}

void ph__text_hex(struct ph__text *t, const uint8_t *p, size_t n)
{
    static const char HEX[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        char two[2] = {HEX[p[i] >> 4], HEX[p[i] & 15]};
        append(t, two, 2);
    }
}

/* Bytes of the printable character at p: 1 for ASCII, 2 to 4 for well-formed UTF-8 (RFC 3629: no
 * overlong forms, surrogates or C1 controls), 0 for anything else. */
static size_t printable(const uint8_t *p, size_t n)
{
    if (p[0] >= 0x20 && p[0] < 0x7F)
        return 1;
    size_t k = p[0] < 0xC2 ? 0 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : p[0] < 0xF5 ? 4 : 0;
    if (k == 0 || k > n)
        return 0;
    uint32_t c = p[0] & (0x7FU >> k);
    for (size_t i = 1; i < k; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3F);
    }
    static const uint32_t LEAST[] = {0, 0, 0xA0, 0x800, 0x10000};
    bool surrogate = c >= 0xD800 && c < 0xE000;
    bool bidi_or_break = (c >= 0x2028 && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069);
    return c < LEAST[k] || c > 0x10FFFF || surrogate || bidi_or_break ? 0 : k;
}

void ph__text_quoted(struct ph__text *t, struct ph_slice s)
{
    ph__text_char(t, '"');
    for (size_t i = 0, k; i < s.n; i += k ? k : 1) {
        k = printable(s.p + i, s.n - i);
        if (k == 0) {
            ph__text_str(t, "\\x");
            ph__text_hex(t, s.p + i, 1);
            continue;
        }
        if (s.p[i] == '"' || s.p[i] == '\\')
            ph__text_char(t, '\\');
        append(t, (const char *)s.p + i, k);
    }
    ph__text_char(t, '"');
}

int ph__text_end(const struct ph__text *t)
{
    return t->len > INT_MAX ? INT_MAX : (int)t->len;
}
