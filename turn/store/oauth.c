/*
 * The OAuth keys of Redis, all of them: found by a scan, then read one by one.
 */
#include "turn/store/users_priv.h"

#include <stdio.h>
#include <stdlib.h>

enum { KEY = PH__USERS_TEXT + 32, KEYS_MAX = 1024 };

struct fetch {
    struct ph_redis *r;
    struct ph__redis_owed owed;
    char **kid;
    unsigned n_kids, asked;
    struct ph_oauth_key *keys;
    unsigned n;
    void (*fn)(void *ctx, struct ph_oauth_key *keys, unsigned n, bool ok);
    void *ctx;
};

static void finish(struct fetch *f, bool ok)
{
    if (!ok && f->keys) {
        explicit_bzero(f->keys, f->n_kids * sizeof *f->keys);
        free(f->keys);
        f->keys = NULL;
    }
    ph__texts_free(f->kid, f->n_kids);
    f->fn(f->ctx, f->keys, ok ? f->n : 0, ok);
    free(f);
}

static void on_key(void *ctx, const redisReply *reply);

static void ask(struct fetch *f)
{
    char key[KEY];

    if (f->asked == f->n_kids) {
        finish(f, true);
        return;
    }
    snprintf(key, sizeof key, "turn/oauth/kid/%s", f->kid[f->asked]);
    const struct ph_slice args[] = {ph_str("HMGET"),     ph_str(key),        ph_str("ikm_key"),
                                    ph_str("timestamp"), ph_str("lifetime"), ph_str("as_rs_alg")};
    ph__redis_ask(f->r, &f->owed, args, 6, on_key, f);
}

/* Something else under that name is left out; a server that does not answer, or not properly, ends it all. */
static bool hopeless(const redisReply *reply)
{
    return !reply || (reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "WRONGTYPE", 9) != 0);
}

static void on_key(void *ctx, const redisReply *reply)
{
    struct fetch *f = ctx;

    if (hopeless(reply)) {
        finish(f, false);
        return;
    }
    const char *why = ph__oauth_convert(f->kid[f->asked], reply, &f->keys[f->n]);
    if (why)
        ph_logf(ph__redis_env(f->r), PH_LOG_WARN, "%s: turn/oauth/kid/%s is left out: %s",
                ph__redis_name(f->r), f->kid[f->asked], why);
    else
        f->n++;
    f->asked++;
    ask(f);
}

static void on_kids(void *ctx, char **v, unsigned n, bool ok)
{
    struct fetch *f = ctx;

    f->kid = v;
    f->n_kids = n;
    if (ok && n <= KEYS_MAX && n)
        f->keys = calloc(n, sizeof *f->keys);
    if (!ok || n > KEYS_MAX || (n && !f->keys))
        finish(f, false);
    else
        ask(f);
}

void ph_redis_oauth(struct ph_redis *r,
                    void (*fn)(void *ctx, struct ph_oauth_key *keys, unsigned n, bool ok),
                    void *ctx)
{
    struct fetch *f = calloc(1, sizeof *f);

    if (!f) {
        fn(ctx, NULL, 0, false);
        return;
    }
    f->r = r;
    f->fn = fn;
    f->ctx = ctx;
    ph__redis_scan(r, "turn/oauth/kid/", on_kids, f);
}
