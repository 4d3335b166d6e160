/*
 * What is polled of a realm: secrets, peer rules, limits, and the origins that lead to it.  One command after the other; a
 * part that cannot be had makes the whole fail, so that a rule is never lost to a bad moment.
 */
#include "stun/base/error.h"
#include "turn/store/users_priv.h"

#include <stdio.h>
#include <stdlib.h>

enum { KEY = PH_USERDB_REALM_MAX + 64, ORIGIN = PH__USERS_TEXT + 16, ORIGINS = 15 };

struct poll {
    struct ph_redis *r;
    struct ph__redis_owed owed;
    char realm[PH_USERDB_REALM_MAX];
    unsigned step;
    struct ph_redis_realm x;
    char **found; /* origins of all realms */
    unsigned n_found, asked;
    void (*fn)(void *ctx, struct ph_redis_realm *x);
    void *ctx;
};

static const struct {
    const char *command, *what;
} steps[] = {
    {"SMEMBERS", "secret"}, {"SMEMBERS", "allowed-peer-ip"}, {"SMEMBERS", "denied-peer-ip"},
    {"GET", "max-bps"},     {"GET", "user-quota"},           {"GET", "total-quota"},
};
enum { STEPS = sizeof steps / sizeof *steps };

void ph_redis_realm_fini(struct ph_redis_realm *x)
{
    ph__texts_free(x->secret, x->n_secrets);
    ph__texts_free(x->allowed, x->n_allowed);
    ph__texts_free(x->denied, x->n_denied);
    ph__texts_free(x->origin, x->n_origins);
    *x = (struct ph_redis_realm){0};
}

static bool same(char *const *a, unsigned n_a, char *const *b, unsigned n_b)
{
    if (n_a != n_b)
        return false;
    for (unsigned i = 0; i < n_a; i++)
        if (strcmp(a[i], b[i]) != 0)
            return false;
    return true;
}

bool ph_redis_realm_eq(const struct ph_redis_realm *a, const struct ph_redis_realm *b)
{
    return same(a->secret, a->n_secrets, b->secret, b->n_secrets) &&
           same(a->allowed, a->n_allowed, b->allowed, b->n_allowed) &&
           same(a->denied, a->n_denied, b->denied, b->n_denied) &&
           same(a->origin, a->n_origins, b->origin, b->n_origins) && a->max_bps == b->max_bps &&
           a->user_quota == b->user_quota && a->total_quota == b->total_quota;
}

static void finish(struct poll *q, bool ok)
{
    if (!ok)
        ph_redis_realm_fini(&q->x);
    ph__texts_free(q->found, q->n_found);
    q->fn(q->ctx, ok ? &q->x : NULL);
    free(q);
}

static void complain(const struct poll *q, const char *what, const char *why)
{
    ph_logf(ph__redis_env(q->r), PH_LOG_WARN, "%s: turn/realm/%s/%s: %s", ph__redis_name(q->r),
            q->realm, what, why);
}

/* --- origins --------------------------------------------------------------------------------------- */

static void ask_origins(struct poll *q);

/* How many are asked for at once: in a cluster, keys of several slots cannot be. */
static unsigned batch(const struct poll *q)
{
    const unsigned left = q->n_found - q->asked, most = ph__redis_is_cluster(q->r) ? 1 : ORIGINS;

    return left < most ? left : most;
}

/* The realms of the last origins asked for. */
static void on_realms(void *ctx, const redisReply *reply)
{
    struct poll *q = ctx;
    const unsigned first = q->asked, n = batch(q);

    if (!reply || reply->type != REDIS_REPLY_ARRAY || reply->elements != n) {
        finish(q, false);
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        const redisReply *e = reply->element[i];
        const char *origin = q->found[first + i];
        if (e->type != REDIS_REPLY_STRING || e->len != strlen(q->realm) ||
            memcmp(e->str, q->realm, e->len) != 0)
            continue;
        if (ph__texts_add(&q->x.origin, &q->x.n_origins, origin, strlen(origin))) {
            finish(q, false);
            return;
        }
    }
    q->asked += n;
    ask_origins(q);
}

static void ask_origins(struct poll *q)
{
    struct ph_slice args[1 + ORIGINS] = {ph_str("MGET")};
    char key[ORIGINS][ORIGIN];
    const unsigned n = batch(q);

    for (unsigned i = 0; i < n; i++) {
        snprintf(key[i], sizeof key[i], "turn/origin/%s", q->found[q->asked + i]);
        args[i + 1] = ph_str(key[i]);
    }
    if (n)
        ph__redis_ask(q->r, &q->owed, args, n + 1, on_realms, q);
    else
        finish(q, true);
}

static void on_origins(void *ctx, char **v, unsigned n, bool ok)
{
    struct poll *q = ctx;

    q->found = v;
    q->n_found = n;
    if (ok)
        ask_origins(q);
    else
        finish(q, false);
}

/* --- the realm's own keys -------------------------------------------------------------------------- */

static void ask(struct poll *q);

static bool take_texts(struct poll *q, const char *what, const redisReply *reply, char ***v,
                       unsigned *n)
{
    unsigned skipped;
    const int err = ph__reply_texts(reply, v, n, &skipped);

    if (err)
        complain(q, what, err == PH_E_LIMIT ? "has too many members" : "is not a set of text");
    else if (skipped)
        complain(q, what, "has members that are empty, too long or not text; they are left out");
    return !err;
}

static bool take_number(struct poll *q, const char *what, const redisReply *reply, uint64_t max,
                        uint64_t *out)
{
    if (reply->type == REDIS_REPLY_NIL)
        return true;
    if (ph__reply_number(reply, max, out))
        return true;
    complain(q, what, "is not a number");
    return false;
}

static bool take(struct poll *q, const redisReply *reply)
{
    struct ph_redis_realm *x = &q->x;
    const char *what = steps[q->step].what;
    uint64_t v = 0;
    bool ok;

    switch (q->step) {
    case 0:
        return take_texts(q, what, reply, &x->secret, &x->n_secrets);
    case 1:
        return take_texts(q, what, reply, &x->allowed, &x->n_allowed);
    case 2:
        return take_texts(q, what, reply, &x->denied, &x->n_denied);
    case 3:
        return take_number(q, what, reply, UINT64_MAX, &x->max_bps);
    default:
        ok = take_number(q, what, reply, UINT32_MAX, &v);
        *(q->step == 4 ? &x->user_quota : &x->total_quota) = (uint32_t)v;
        return ok;
    }
}

static void on_part(void *ctx, const redisReply *reply)
{
    struct poll *q = ctx;

    if (!reply || !take(q, reply)) {
        finish(q, false);
        return;
    }
    if (++q->step < STEPS)
        ask(q);
    else
        ph__redis_scan(q->r, "turn/origin/", on_origins, q);
}

static void ask(struct poll *q)
{
    char key[KEY];

    snprintf(key, sizeof key, "turn/realm/%s/%s", q->realm, steps[q->step].what);
    const struct ph_slice args[] = {ph_str(steps[q->step].command), ph_str(key)};
    ph__redis_ask(q->r, &q->owed, args, 2, on_part, q);
}

void ph_redis_realm(struct ph_redis *r, const char *realm,
                    void (*fn)(void *ctx, struct ph_redis_realm *x), void *ctx)
{
    struct poll *q = strlen(realm) < PH_USERDB_REALM_MAX ? calloc(1, sizeof *q) : NULL;

    if (!q) {
        fn(ctx, NULL);
        return;
    }
    q->r = r;
    q->fn = fn;
    q->ctx = ctx;
    memcpy(q->realm, realm, strlen(realm));
    ask(q);
}
