/*
 * What Redis gives us to read.  'C' first: any bytes as the address of a server; what is accepted keeps within its
 * bounds, and a message never shows a password.  'R' first: any bytes as what a server says, taken by hiredis' reader
 * as ph_redis does, its replies then as a user, a list, a number, an OAuth key, the map of a cluster and a reference to
 * another node; and their texts as a command to be routed.
 */
#include "fuzz/check.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#ifdef PH_HAVE_REDIS
#include "turn/store/redis_priv.h"
#include "turn/store/users_priv.h"

#include <stdlib.h>
#include <string.h>

#define ENDS(field) CHECK(memchr(field, 0, sizeof(field)))

static void check_more(const struct ph_redis_conf *c)
{
    ENDS(c->master);
    ENDS(c->sentinel_user);
    ENDS(c->sentinel_password);
    ENDS(c->ca);
    ENDS(c->capath);
    ENDS(c->cert);
    ENDS(c->key);
    ENDS(c->sni);
    CHECK(c->n_more < PH_REDIS_HOSTS && (!c->n_more || c->mode != PH_REDIS_ONE));
    for (unsigned i = 0; i < c->n_more; i++) {
        ENDS(c->more[i].host);
        CHECK(c->more[i].host[0] && c->more[i].port);
    }
    CHECK(!c->master[0] == (c->mode != PH_REDIS_SENTINEL));
    CHECK(!c->path[0] || (c->mode == PH_REDIS_ONE && !c->tls));
    CHECK(c->mode != PH_REDIS_CLUSTER || !c->db);
    CHECK(!c->key[0] || c->cert[0]);
}

static void check_address(const char *text)
{
    struct ph_redis_conf c = {.db = 12345678};
    char why[PH_REDIS_WHY];

    memset(why, 'x', sizeof why);
    if (ph_redis_parse(&c, text, why)) {
        CHECK(c.db == 12345678 && memchr(why, 0, sizeof why) && *why);
        for (const char *p = why; *p; p++)
            CHECK((unsigned char)*p >= 0x20 && (unsigned char)*p < 0x7F);
        return;
    }
    CHECK(!*why);
    CHECK(memchr(c.host, 0, sizeof c.host) && memchr(c.path, 0, sizeof c.path));
    CHECK(memchr(c.user, 0, sizeof c.user) && memchr(c.password, 0, sizeof c.password));
    CHECK(!c.host[0] != !c.path[0]);
    check_more(&c);
    CHECK(strlen(c.path) < 108 && (!c.path[0] || c.path[0] == '/'));
    CHECK(c.port > 0 && c.connect_timeout_ms > 0 && c.command_timeout_ms > 0);
}

/* The same address with a password put behind it: no message has it. */
static void check_secrecy(const char *text, size_t n)
{
    static const char secret[] = " password=hunter2 hunter2 hunter2=1";
    struct ph_redis_conf c;
    char why[PH_REDIS_WHY], *both = malloc(n + sizeof secret);

    memcpy(both, text, n);
    memcpy(both + n, secret, sizeof secret);
    if (ph_redis_parse(&c, both, why))
        CHECK(!strstr(why, "hunter2") || strstr(text, "hunter2"));
    free(both);
}

static void check_map(const redisReply *reply)
{
    static struct ph__slots s;

    if (ph__route_slots(reply, "asked", &s) == 0)
        for (unsigned i = 0; i < PH__REDIS_SLOTS; i++)
            CHECK(s.of[i] == 255 || (s.of[i] < s.n_hosts && s.host[s.of[i]].port));
    CHECK(s.n_hosts <= PH__REDIS_NODES);
    for (unsigned i = 0; i < s.n_hosts; i++)
        ENDS(s.host[i].host);
}

static void check_route(const redisReply *reply)
{
    struct ph_slice args[8];
    struct ph__redirect to;
    unsigned n = 0;

    if (reply->type == REDIS_REPLY_ERROR && ph__route_redirect(reply->str, &to)) {
        ENDS(to.at.host);
        CHECK(to.slot < PH__REDIS_SLOTS && to.at.port);
    }
    if (reply->type != REDIS_REPLY_ARRAY)
        return;
    for (; n < reply->elements && n < 8 && reply->element[n]->type == REDIS_REPLY_STRING; n++)
        args[n] =
            (struct ph_slice){(const uint8_t *)reply->element[n]->str, reply->element[n]->len};
    const int slot = ph__route_of(args, n);
    CHECK(slot >= PH__REDIS_ANY && slot < PH__REDIS_SLOTS);
}

static void check_reply(const redisReply *first, const redisReply *reply)
{
    struct ph_userdb_user u = {.max_bps = 99};
    struct ph_oauth_key k;
    const char *why;
    char **v = NULL;
    unsigned n = 0, skipped;
    uint64_t number;

    const enum ph_userdb_result result = ph__users_convert(first, reply, &u, &why);
    CHECK(result == PH_USERDB_FOUND ? !why && u.expires_s > 0 : u.max_bps == 99);
    CHECK(!why || result == PH_USERDB_NONE);
    if (ph__reply_number(reply, 1000, &number))
        CHECK(number <= 1000);
    if (ph__reply_texts(reply, &v, &n, &skipped) == 0) {
        for (unsigned i = 0; i < n; i++)
            CHECK(*v[i] && strlen(v[i]) <= PH__USERS_TEXT && (!i || strcmp(v[i - 1], v[i]) < 0));
        ph__texts_free(v, n);
    }
    if (!ph__oauth_convert("kid", reply, &k))
        CHECK((k.key_len == 16 || k.key_len == 32) && k.not_before_s >= 0 && k.not_after_s >= 0);
}

/* The array is made only if it is small: what ph_redis does in its reader. */
static void *(*make_array)(const redisReadTask *, int);
static void *bounded_array(const redisReadTask *t, int n)
{
    return n > PH_REDIS_ELEMENTS ? NULL : make_array(t, n);
}

static void check_replies(const uint8_t *data, size_t size)
{
    redisReader *r = redisReaderCreate();
    redisReplyObjectFunctions fn = *r->fn;
    redisReply *reply, *last = NULL;

    make_array = fn.createArray;
    fn.createArray = bounded_array;
    r->fn = &fn;
    if (redisReaderFeed(r, (const char *)data, size) == REDIS_OK)
        while (redisReaderGetReply(r, (void **)&reply) == REDIS_OK && reply) {
            check_reply(last, reply);
            check_reply(reply, last);
            check_map(reply);
            check_route(reply);
            if (last)
                freeReplyObject(last);
            last = reply;
        }
    if (last)
        freeReplyObject(last);
    redisReaderFree(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (*data == 'R') {
        check_replies(data + 1, size - 1);
        return 0;
    }
    char *text = malloc(size);
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    check_address(text);
    check_secrecy(text, strlen(text));
    free(text);
    return 0;
}
#else
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    (void)data;
    (void)size;
    return 0;
}
#endif
