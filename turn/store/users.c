/*
 * Users of Redis, one by one.
 */
#include "turn/store/users.h"
#include "turn/store/users_priv.h"

#include <stdio.h>
#include <stdlib.h>

enum { KEY = PH_USERDB_REALM_MAX + PH_USERDB_NAME_MAX + 64 };

/* One look-up: two commands sent together. */
struct look {
    struct ph_redis *r;
    struct ph__redis_owed owed[2];
    unsigned left; /* replies to come */
    redisReply
        key; /* what is needed of the first, which dies before the second comes; type 0: none came */
    char text[64]; /* of key */
    enum ph_userdb_result result;
    struct ph_userdb_user user;
    void (*fn)(void *ctx, enum ph_userdb_result result, const struct ph_userdb_user *user);
    void *ctx;
};

static void finish(struct look *k)
{
    k->fn(k->ctx, k->result, k->result == PH_USERDB_FOUND ? &k->user : NULL);
    explicit_bzero(k, sizeof *k);
    free(k);
}

static void on_key(void *ctx, const redisReply *reply)
{
    struct look *k = ctx;

    if (reply) {
        k->key.type = reply->type;
        k->key.str = k->text;
    }
    if (reply && reply->str) {
        k->key.len = reply->len < sizeof k->text ? reply->len : sizeof k->text - 1;
        memcpy(k->text, reply->str, k->key.len);
    }
    if (--k->left == 0)
        finish(k);
}

/* Comes after the key, unless one of the two could not be sent: then there is no reply to one, and no result. */
static void on_limits(void *ctx, const redisReply *reply)
{
    struct look *k = ctx;
    const char *why;

    k->result = ph__users_convert(k->key.type ? &k->key : NULL, reply, &k->user, &why);
    if (why)
        ph_logf(ph__redis_env(k->r), PH_LOG_WARN, "%s: a user that was asked for is not usable: %s",
                ph__redis_name(k->r), why);
    if (--k->left == 0)
        finish(k);
}

static void on_no_lookup(void *ctx, const redisReply *reply)
{
    (void)reply;
    finish(ctx);
}

static size_t put(char *dst, size_t at, const void *p, size_t n)
{
    memcpy(dst + at, p, n);
    return at + n;
}

/* turn/realm/<realm>/user/<user>/<what> */
static struct ph_slice make_key(char key[static KEY], const char *realm, struct ph_slice name,
                                const char *what)
{
    size_t n = put(key, 0, "turn/realm/", 11);

    n = put(key, n, realm, strlen(realm));
    n = put(key, n, "/user/", 6);
    n = put(key, n, name.p, name.n);
    n = put(key, n, what, strlen(what));
    return (struct ph_slice){(const uint8_t *)key, n};
}

static void send_both(struct look *k, const char *realm, struct ph_slice name)
{
    char key[KEY];

    k->left = 2;
    const struct ph_slice get[] = {ph_str("GET"), make_key(key, realm, name, "/key")};

    ph__redis_ask(k->r, &k->owed[0], get, 2, on_key, k);
    const struct ph_slice limits[] = {ph_str("HMGET"), make_key(key, realm, name, "/limits"),
                                      ph_str("max-bps"), ph_str("user-quota"), ph_str("expires")};
    ph__redis_ask(k->r, &k->owed[1], limits, 5, on_limits, k);
}

void ph_redis_user(struct ph_redis *r, const char *realm, struct ph_slice name,
                   void (*fn)(void *ctx, enum ph_userdb_result result,
                              const struct ph_userdb_user *user),
                   void *ctx)
{
    struct look *k = calloc(1, sizeof *k);

    if (!k) {
        fn(ctx, PH_USERDB_FAILED, NULL);
        return;
    }
    k->r = r;
    k->result = PH_USERDB_FAILED;
    k->fn = fn;
    k->ctx = ctx;
    if (ph__users_name_ok(name) && strlen(realm) < PH_USERDB_REALM_MAX) {
        send_both(k, realm, name);
        return;
    }
    k->result = PH_USERDB_NONE;
    k->owed[0].fn = on_no_lookup;
    k->owed[0].ctx = k;
    ph__redis_later(r, &k->owed[0]);
}
