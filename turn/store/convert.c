/*
 * Replies of Redis as users, limits, lists and OAuth keys.  Whatever a database holds, and whatever calls itself one
 * says, ends as a record that is whole or as no record.
 */
#include "stun/base/error.h"
#include "stun/codec/base64.h"
#include "stun/codec/integrity.h"
#include "turn/store/users_priv.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool is_string(const redisReply *r)
{
    return r && r->type == REDIS_REPLY_STRING;
}

static bool is_error(const redisReply *r)
{
    return r && r->type == REDIS_REPLY_ERROR;
}

/* --- numbers --------------------------------------------------------------------------------------- */

bool ph__reply_number(const redisReply *reply, uint64_t max, uint64_t *out)
{
    uint64_t v = 0;
    size_t i = 0, n;

    if (!is_string(reply))
        return false;
    n = reply->len;
    while (n > i && strchr(" \t\r\n", reply->str[n - 1]))
        n--;
    while (i < n && reply->str[i] == ' ')
        i++;
    if (i == n)
        return false;
    for (; i < n; i++) {
        const unsigned d = (unsigned)(reply->str[i] - '0');
        if (d > 9 || v > (max - d) / 10)
            return false;
        v = v * 10 + d;
    }
    *out = v;
    return true;
}

/* --- users ----------------------------------------------------------------------------------------- */

bool ph__users_name_ok(struct ph_slice name)
{
    if (name.n == 0 || name.n > PH_USERDB_NAME_MAX)
        return false;
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] < 0x20 || name.p[i] == 0x7F || name.p[i] == '/')
            return false;
    return true;
}

int ph__hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* As coturn does, the first 32 digits count and what follows them does not. */
static bool read_key(const redisReply *reply, uint8_t key[static 16])
{
    if (reply->len < 32)
        return false;
    for (size_t i = 0; i < 16; i++) {
        const int high = ph__hex(reply->str[2 * i]), low = ph__hex(reply->str[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        key[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

/* One field of limits; what is not there keeps what is in *out. */
static bool limit(const redisReply *limits, size_t i, uint64_t max, uint64_t *out)
{
    const redisReply *field = limits->element[i];

    return field->type == REDIS_REPLY_NIL || ph__reply_number(field, max, out);
}

/* Errors that are about the key; all others are about the server, or what we may do there. */
static bool about_key(const redisReply *r)
{
    return is_error(r) && strncmp(r->str, "WRONGTYPE", 9) == 0;
}

enum ph_userdb_result ph__users_convert(const redisReply *key, const redisReply *limits,
                                        struct ph_userdb_user *out, const char **why)
{
    struct ph_userdb_user u = {0};
    uint64_t bps = 0, quota = 0, expires = INT64_MAX;

    *why = NULL;
    if (!key || !limits || (is_error(key) && !about_key(key)) ||
        (is_error(limits) && !about_key(limits)))
        return PH_USERDB_FAILED;
    if (key->type == REDIS_REPLY_NIL)
        return PH_USERDB_NONE;
    if (!is_string(key))
        *why = "its key is not a string";
    else if (!read_key(key, u.key))
        *why = "its key is not 32 hexadecimal digits";
    else if (limits->type != REDIS_REPLY_ARRAY || limits->elements != 3)
        *why = "its limits are not a hash";
    else if (!limit(limits, 0, UINT64_MAX, &bps))
        *why = "its max-bps is not a number";
    else if (!limit(limits, 1, UINT32_MAX, &quota))
        *why = "its user-quota is not a number";
    else if (!limit(limits, 2, INT64_MAX, &expires))
        *why = "its expires is not a unix time";
    if (*why)
        return PH_USERDB_NONE;
    u.max_bps = bps;
    u.max_allocations = (uint32_t)quota;
    u.expires_s = expires == 0 ? INT64_MAX : (int64_t)expires;
    *out = u;
    return PH_USERDB_FOUND;
}

/* --- lists of text --------------------------------------------------------------------------------- */

void ph__texts_free(char **v, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        explicit_bzero(v[i], strlen(v[i]));
        free(v[i]);
    }
    free(v);
}

int ph__texts_add(char ***v, unsigned *n, const char *p, size_t len)
{
    if (*n >= PH__USERS_ITEMS)
        return PH_E_LIMIT;
    if ((*n & (*n - 1)) == 0) { /* 0, 1, 2, 4 ...: full */
        char **more = realloc(*v, (*n ? 2 * (size_t)*n : 1) * sizeof *more);
        if (!more)
            return PH_E_NOMEM;
        *v = more;
    }
    char *text = malloc(len + 1);
    if (!text)
        return PH_E_NOMEM;
    memcpy(text, p, len);
    text[len] = '\0';
    (*v)[(*n)++] = text;
    return 0;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void ph__texts_sort(char **v, unsigned *n)
{
    unsigned kept = 0;

    if (*n)
        qsort(v, *n, sizeof *v, by_text);
    for (unsigned i = 0; i < *n; i++) {
        if (kept && strcmp(v[kept - 1], v[i]) == 0)
            free(v[i]);
        else
            v[kept++] = v[i];
    }
    *n = kept;
}

int ph__reply_texts(const redisReply *reply, char ***v, unsigned *n, unsigned *skipped)
{
    char **got = NULL;
    unsigned n_got = 0;
    int err = 0;

    *skipped = 0;
    if (!reply || reply->type != REDIS_REPLY_ARRAY)
        return PH_E_FORMAT;
    for (size_t i = 0; i < reply->elements && !err; i++) {
        const redisReply *e = reply->element[i];
        if (!is_string(e))
            err = PH_E_FORMAT;
        else if (e->len == 0 || e->len > PH__USERS_TEXT || memchr(e->str, 0, e->len))
            (*skipped)++;
        else
            err = ph__texts_add(&got, &n_got, e->str, e->len);
    }
    if (err) {
        ph__texts_free(got, n_got);
        return err;
    }
    ph__texts_sort(got, &n_got);
    *v = got;
    *n = n_got;
    return 0;
}

/* --- OAuth keys ------------------------------------------------------------------------------------ */

/* The first `len` bytes of a key in base64, which may be longer and end with a newline, as coturn writes it.  False: it is
 * none, or shorter. */
static bool read_ikm(uint8_t *dst, size_t len, const char *p, size_t n)
{
    uint8_t raw[PH__USERS_TEXT];

    while (n && p[n - 1] == '\n')
        n--;
    int got = ph_base64_read(raw, sizeof raw, (struct ph_slice){(const uint8_t *)p, n});
    bool ok = got >= 0 && (size_t)got >= len;
    if (ok)
        memcpy(dst, raw, len);
    ph_wipe(raw, sizeof raw);
    return ok;
}

/* 16 or 32, by the algorithm's name; A256GCM when none is given, as in coturn.  0: another one. */
static uint8_t key_length(const redisReply *alg)
{
    static const struct {
        const char *name;
        uint8_t n;
    } known[] = {{"A256GCM", 32}, {"A128GCM", 16}};

    if (alg->type == REDIS_REPLY_NIL || (is_string(alg) && alg->len == 0))
        return 32;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (is_string(alg) && alg->len == strlen(known[i].name) &&
            strcasecmp(alg->str, known[i].name) == 0)
            return known[i].n;
    return 0;
}

const char *ph__oauth_convert(const char *kid, const redisReply *reply, struct ph_oauth_key *out)
{
    struct ph_oauth_key k = {0};
    uint64_t from = 0, lifetime = 0;

    if (!reply || reply->type != REDIS_REPLY_ARRAY || reply->elements != 4)
        return "it is not a hash";
    redisReply *const *f = reply->element;
    if (!*kid || strlen(kid) >= sizeof k.kid)
        return "its name is empty or too long";
    k.key_len = key_length(f[3]);
    if (!k.key_len)
        return "its as_rs_alg is neither A256GCM nor A128GCM";
    if (!is_string(f[0]) || !read_ikm(k.key, k.key_len, f[0]->str, f[0]->len))
        return "its ikm_key is not base64 of at least as many bytes as as_rs_alg wants";
    if ((f[1]->type != REDIS_REPLY_NIL && !ph__reply_number(f[1], INT64_MAX / 2, &from)) ||
        (f[2]->type != REDIS_REPLY_NIL && !ph__reply_number(f[2], INT64_MAX / 2, &lifetime)))
        return "its timestamp or lifetime is not a number";
    memcpy(k.kid, kid, strlen(kid));
    k.not_before_s = (int64_t)from;
    /* coturn counts a lifetime without a timestamp from "now": it never ends. */
    k.not_after_s = from && lifetime ? (int64_t)(from + lifetime) : 0;
    *out = k;
    explicit_bzero(&k, sizeof k);
    return NULL;
}
