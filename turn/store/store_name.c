/*
 * Names in a store: keys, numbers, tokens, and the names that values are sealed under.  Pure.
 */
#include "stun/base/error.h"
#include "turn/store/store_priv.h"

#include <inttypes.h>
#include <stdio.h>

static bool plain(const char *text, size_t max, const char *more)
{
    const size_t n = strnlen(text, max);

    for (size_t i = 0; i < n; i++) {
        const char c = text[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              strchr(more, c)))
            return false;
    }
    return n > 0 && n < max;
}

bool ph_store_name_ok(const char *node)
{
    return node && plain(node, PH_STORE_NAME, ".-_");
}

bool ph__store_prefix_ok(const char *prefix)
{
    return plain(prefix, sizeof((struct ph_store_conf *)0)->prefix, ".-_:");
}

bool ph__store_kind_ok(const char *kind)
{
    return kind && plain(kind, PH_STORE_KIND, ".-_") && strcmp(kind, "owner") != 0;
}

void ph__store_key(char dst[static PH__STORE_KEY], const char *prefix, const char *node,
                   const char *kind)
{
    snprintf(dst, PH__STORE_KEY, "{%s:%s}:%s", prefix, node, kind);
}

/* --- numbers --------------------------------------------------------------------------------------- */

size_t ph__store_id_write(char dst[static PH__STORE_ID], uint64_t id)
{
    return (size_t)snprintf(dst, PH__STORE_ID, "%" PRIu64, id);
}

/* Digits, at most so many. */
static bool digits(const uint8_t *p, size_t n, uint64_t *out)
{
    uint64_t v = 0;

    for (size_t i = 0; i < n; i++) {
        const unsigned d = (unsigned)(p[i] - '0');
        if (d > 9 || v > (UINT64_MAX - d) / 10)
            return false;
        v = v * 10 + d;
    }
    if (n)
        *out = v;
    return n > 0;
}

bool ph__store_id_read(struct ph_slice text, uint64_t *id)
{
    if (text.n > 1 && text.p[0] == '0') /* one record, one field */
        return false;
    return digits(text.p, text.n, id);
}

/* --- tokens ---------------------------------------------------------------------------------------- */

enum { EPOCH = 15 }; /* digits: a double holds them, which is what numbers are in Redis' scripts */

static bool epoch(struct ph_slice token, uint64_t *out)
{
    const uint8_t *dash = token.n ? memchr(token.p, '-', token.n) : NULL;
    const size_t n = dash ? (size_t)(dash - token.p) : 0;

    return n > 0 && n <= EPOCH && digits(token.p, n, out);
}

bool ph__store_token_ok(struct ph_slice token)
{
    uint64_t v;

    if (token.n >= PH_STORE_TOKEN || !epoch(token, &v))
        return false;
    for (size_t i = 0; i < token.n; i++)
        if (token.p[i] != '-' && !memchr("0123456789abcdef", token.p[i], 16))
            return false;
    return true;
}

bool ph__store_token_older(struct ph_slice a, struct ph_slice b)
{
    uint64_t of_a, of_b;

    return epoch(a, &of_a) && epoch(b, &of_b) && of_a < of_b;
}

/* --- values ---------------------------------------------------------------------------------------- */

size_t ph__store_place(char dst[static PH__STORE_KEY], const char *node, const char *kind,
                       uint64_t id)
{
    return (size_t)snprintf(dst, PH__STORE_KEY, "%s/%s/%" PRIu64, node, kind, id);
}

int ph__store_entry(const struct ph_fleet_keys *k, const char *node, const char *kind,
                    struct ph_slice field, struct ph_slice value, uint64_t *id, uint8_t *room)
{
    char place[PH__STORE_KEY];

    if (!ph__store_id_read(field, id) || value.n == 0 || value.n > PH_STORE_VALUE)
        return PH_E_FORMAT;
    if (!k)
        return (int)value.n;
    const size_t n = ph__store_place(place, node, kind, *id);
    const int len = ph_fleet_open(k, room, (struct ph_slice){(const uint8_t *)place, n}, value);
    if (len > 0)
        return len;
    return len == PH_E_AUTH ? PH_E_AUTH : PH_E_FORMAT;
}
