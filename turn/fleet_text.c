/*
 * Words of the fleet's lines: separated by one space, names with %XX for what would break them.
 */
#include "turn/fleet_priv.h"

#include <string.h>

static void put(struct ph__line *l, char c)
{
    if (l->n < l->cap)
        l->p[l->n] = c;
    l->n++;
}

void ph__line_text(struct ph__line *l, const char *text)
{
    for (; *text; text++)
        put(l, *text);
}

void ph__line_u64(struct ph__line *l, uint64_t v)
{
    char digits[20];
    unsigned n = 0;

    do
        digits[n++] = (char)('0' + v % 10);
    while ((v /= 10) > 0);
    while (n > 0)
        put(l, digits[--n]);
}

void ph__line_word(struct ph__line *l, struct ph_slice s)
{
    static const char HEX[] = "0123456789ABCDEF";

    if (s.n == 0) /* a word must have a byte, and no name is written so */
        put(l, '%');
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] > ' ' && s.p[i] < 0x7F && s.p[i] != '%') {
            put(l, (char)s.p[i]);
        } else {
            put(l, '%');
            put(l, HEX[s.p[i] >> 4]);
            put(l, HEX[s.p[i] & 15]);
        }
    }
}

bool ph__word(struct ph_slice *rest, struct ph_slice *word)
{
    size_t n = 0;

    while (rest->n > 0 && *rest->p == ' ') {
        rest->p++;
        rest->n--;
    }
    while (n < rest->n && rest->p[n] != ' ')
        n++;
    *word = (struct ph_slice){rest->p, n};
    rest->p += n;
    rest->n -= n;
    return n > 0;
}

bool ph__word_u64(struct ph_slice word, uint64_t max, uint64_t *v)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < word.n; i++) {
        const unsigned digit = (unsigned)word.p[i] - '0';
        if (digit > 9 || sum > (max - digit) / 10)
            return false;
        sum = sum * 10 + digit;
    }
    *v = sum;
    return word.n > 0 && sum <= max;
}

static int hex(uint8_t c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool ph__word_bytes(struct ph_slice word, uint8_t *dst, size_t cap, size_t *n)
{
    *n = 0;
    if (word.n == 1 && *word.p == '%')
        return true;
    for (size_t i = 0; i < word.n; i++) {
        int byte = word.p[i];
        if (byte == '%') {
            if (word.n - i < 3 || hex(word.p[i + 1]) < 0 || hex(word.p[i + 2]) < 0)
                return false;
            byte = hex(word.p[i + 1]) << 4 | hex(word.p[i + 2]);
            i += 2;
        }
        if (*n == cap)
            return false;
        dst[(*n)++] = (uint8_t)byte;
    }
    return word.n > 0;
}
