/*
 * Who the master is: asked of the sentinels, one after another, at each connecting.  What they say may be out of
 * date for some seconds after a failover; then the server says by its ROLE that it is not the master, and they are
 * asked again.
 */
#include "turn/store/redis_priv.h"

#include <stdio.h>

enum { OPEN_MAX = 4 }; /* the timer, a connection and questions that are being closed */

static bool is_text(const redisReply *e, size_t max)
{
    return e->type == REDIS_REPLY_STRING && e->len > 0 && e->len <= max &&
           !memchr(e->str, 0, e->len);
}

static bool read_port(const char *text, uint16_t *port)
{
    unsigned long v = 0;

    for (const char *p = text; *p; p++) {
        if (*p < '0' || *p > '9' || v > UINT16_MAX)
            return false;
        v = v * 10 + (unsigned long)(*p - '0');
    }
    if (v == 0 || v > UINT16_MAX)
        return false;
    *port = (uint16_t)v;
    return true;
}

/* ["10.0.0.1", "6379"], or nil: no such master. */
static bool on_answer(void *ctx, unsigned host, const redisReply *reply,
                      char why[static PH__REDIS_WHY])
{
    struct ph_redis *r = ctx;
    uint16_t port;

    if (reply->type == REDIS_REPLY_NIL) {
        snprintf(why, PH__REDIS_WHY, "the sentinel knows no master of the name %.100s",
                 r->c.master);
        return false;
    }
    if (reply->type == REDIS_REPLY_ERROR) {
        const int n = (int)strcspn(reply->str, " \r\n");
        snprintf(why, PH__REDIS_WHY, "it is no sentinel, or does not serve us (%.*s)",
                 n < 32 ? n : 32, reply->str);
        return false;
    }
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 ||
        !is_text(reply->element[0], sizeof r->to.host - 1) || !is_text(reply->element[1], 5) ||
        !read_port(reply->element[1]->str, &port)) {
        snprintf(why, PH__REDIS_WHY, "the sentinel's answer is no address");
        return false;
    }
    snprintf(r->to.host, sizeof r->to.host, "%s", reply->element[0]->str);
    r->to.port = port;
    r->sentinel = host;
    return true;
}

static void on_gone(void *ctx)
{
    ph__redis_closed(ctx);
}

void ph__sentinel_stop(struct ph_redis *r)
{
    struct ph__asker *asker = r->asker;

    r->asker = NULL;
    if (asker)
        ph__asker_close(asker);
}

static void on_done(void *ctx, const char *why, bool tls)
{
    struct ph_redis *r = ctx;
    char text[PH__REDIS_WHY];

    if (why)
        snprintf(text, sizeof text, "%s", why); /* it is the asker's */
    ph__sentinel_stop(r);
    if (why)
        ph__one_drop(r, text, tls);
    else
        ph__one_connect(r);
}

/* What a sentinel is told: its own user and password, and no database. */
static void for_sentinels(struct ph_redis_conf *to, const struct ph_redis_conf *c)
{
    *to = *c;
    to->db = 0;
    memcpy(to->user, c->sentinel_user, sizeof to->user);
    memcpy(to->password, c->sentinel_password, sizeof to->password);
}

void ph__sentinel_ask(struct ph_redis *r)
{
    struct ph_redis_host host[PH_REDIS_HOSTS];
    char why[PH__REDIS_WHY] = "out of memory";
    struct ph_redis_conf to;
    struct ph__asker_conf c = {
        .loop = r->loop,
        .env = &r->env,
        .name = r->name,
        .to = &to,
        .host = host,
        .n_hosts = 1 + r->c.n_more,
        .first = r->sentinel,
        .question = {"SENTINEL", "get-master-addr-by-name", r->c.master},
        .take = on_answer,
        .done = on_done,
        .gone = on_gone,
        .ctx = r,
    };

    r->state = PH__RESOLVING;
    snprintf(host[0].host, sizeof host[0].host, "%s", r->c.host);
    host[0].port = r->c.port;
    memcpy(host + 1, r->c.more, sizeof r->c.more);
    for_sentinels(&to, &r->c);
    if (r->open > OPEN_MAX)
        snprintf(why, sizeof why, "the sentinels' names cannot be looked up");
    else if (ph__redis_tls(r, &c.tls, why))
        r->asker = ph__asker_new(&c);
    explicit_bzero(&to, sizeof to);
    if (r->asker)
        r->open++;
    else
        ph__one_drop(r, why, false);
}
