/*
 * Finding keys by their prefix: SCAN in steps, which a server answers between other work, unlike KEYS.  In a cluster all
 * masters are walked, one after another; when they change meanwhile, keys may have been missed, and the scan has failed.
 */
#include "stun/base/error.h"
#include "turn/store/users_priv.h"

#include <stdio.h>
#include <stdlib.h>

enum { ROUNDS_MAX = 20000, CURSOR = 24 };

struct scan {
    struct ph_redis *r;
    struct ph__redis_owed owed;
    char prefix[64], cursor[CURSOR];
    unsigned rounds, master, epoch;
    char **v;
    unsigned n;
    void (*fn)(void *ctx, char **v, unsigned n, bool ok);
    void *ctx;
};

static void on_keys(void *ctx, const redisReply *reply);

static void finish(struct scan *s, bool ok)
{
    if (ok) {
        ph__texts_sort(s->v, &s->n); /* SCAN may name a key twice */
    } else {
        ph__texts_free(s->v, s->n);
        s->v = NULL;
        s->n = 0;
    }
    s->fn(s->ctx, s->v, s->n, ok);
    free(s);
}

/* r: the master whose turn it is. */
static void step(struct scan *s, struct ph_redis *r)
{
    char pattern[sizeof s->prefix + 1];

    snprintf(pattern, sizeof pattern, "%s*", s->prefix);
    const struct ph_slice args[] = {ph_str("SCAN"),  ph_str(s->cursor), ph_str("MATCH"),
                                    ph_str(pattern), ph_str("COUNT"),   ph_str("1000")};
    ph__redis_ask(r, &s->owed, args, 6, on_keys, s);
}

/* The keys of one step.  0 or a negative error. */
static int collect(struct scan *s, const redisReply *keys)
{
    const size_t prefix = strlen(s->prefix);
    int err = keys->type == REDIS_REPLY_ARRAY ? 0 : PH_E_FORMAT;

    for (size_t i = 0; !err && i < keys->elements; i++) {
        const redisReply *k = keys->element[i];
        if (k->type != REDIS_REPLY_STRING || k->len < prefix ||
            memcmp(k->str, s->prefix, prefix) != 0)
            err = PH_E_FORMAT;
        else if (k->len > prefix && k->len - prefix <= PH__USERS_TEXT && !memchr(k->str, 0, k->len))
            err = ph__texts_add(&s->v, &s->n, k->str + prefix, k->len - prefix);
    }
    return err;
}

static bool read_cursor(struct scan *s, const redisReply *c)
{
    if (c->type != REDIS_REPLY_STRING || c->len == 0 || c->len >= sizeof s->cursor ||
        strspn(c->str, "0123456789") != c->len)
        return false;
    memcpy(s->cursor, c->str, c->len + 1);
    return true;
}

static void on_keys(void *ctx, const redisReply *reply)
{
    struct scan *s = ctx;

    if (!reply || reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
        !read_cursor(s, reply->element[0]) || collect(s, reply->element[1])) {
        finish(s, false);
        return;
    }
    s->master += strcmp(s->cursor, "0") == 0;
    struct ph_redis *const r = ph__redis_master(s->r, s->master);
    if (++s->rounds == ROUNDS_MAX || ph__redis_epoch(s->r) != s->epoch)
        finish(s, false);
    else if (r)
        step(s, r);
    else
        finish(s, true);
}

void ph__redis_scan(struct ph_redis *r, const char *prefix,
                    void (*fn)(void *ctx, char **v, unsigned n, bool ok), void *ctx)
{
    struct scan *s = calloc(1, sizeof *s);

    if (!s) {
        fn(ctx, NULL, 0, false);
        return;
    }
    s->r = r;
    s->fn = fn;
    s->ctx = ctx;
    snprintf(s->prefix, sizeof s->prefix, "%s", prefix);
    memcpy(s->cursor, "0", 2);
    s->epoch = ph__redis_epoch(r);
    struct ph_redis *const first = ph__redis_master(r, 0);
    if (first)
        step(s, first);
    else
        ph__redis_ask(r, &s->owed, NULL, 0, on_keys, s); /* there is nobody to ask: later */
}
