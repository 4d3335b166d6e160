/*
 * ph_redis: what is the same for one server, sentinels and a cluster.
 */
#include "turn/store/redis.h"
#include "stun/base/error.h"
#include "turn/store/redis_priv.h"

#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>

enum { BACKOFF_MIN_MS = 100 };

const struct ph_env *ph__redis_env(const struct ph_redis *r)
{
    return &r->env;
}

const char *ph__redis_name(const struct ph_redis *r)
{
    return r->name;
}

bool ph__redis_is_cluster(const struct ph_redis *r)
{
    return r->cluster != NULL;
}

struct ph_redis *ph__redis_master(struct ph_redis *r, unsigned i)
{
    return r->cluster ? ph__cluster_master(r->cluster, i) : i ? NULL : r;
}

unsigned ph__redis_epoch(const struct ph_redis *r)
{
    return r->cluster ? ph__cluster_epoch(r->cluster) : 0;
}

/* --- the timer ------------------------------------------------------------------------------------- */

static void pay(struct ph_redis *r)
{
    struct ph__redis_owed *o = r->owed, *next;

    r->owed = NULL;
    r->owed_tail = &r->owed;
    for (; o; o = next) {
        next = o->next;
        o->fn(o->ctx, NULL);
    }
}

static void on_timer(uv_timer_t *t)
{
    struct ph_redis *r = t->data;

    pay(r);
    if (r->state == PH__WAITING && !r->cluster && uv_now(r->loop) >= r->due_at)
        ph__one_due(r);
    ph__redis_arm(r);
}

void ph__redis_arm(struct ph_redis *r)
{
    const uint64_t now = uv_now(r->loop);

    if (r->state == PH__ENDED)
        return;
    if (r->owed)
        uv_timer_start(&r->timer, on_timer, 0, 0);
    else if (r->state == PH__WAITING && !r->cluster)
        uv_timer_start(&r->timer, on_timer, r->due_at > now ? r->due_at - now : 0, 0);
    else
        uv_timer_stop(&r->timer);
}

/* --- what its parts need --------------------------------------------------------------------------- */

static struct ph_redis *root(struct ph_redis *r)
{
    return r->parent ? r->parent : r;
}

bool ph__redis_tls(struct ph_redis *r, SSL_CTX **ctx, char why[static PH__REDIS_WHY])
{
    struct ph_redis *const top = root(r);

    if (top->c.tls && !top->tls)
        top->tls = ph__rtls_load(&top->c, why);
    *ctx = top->tls;
    return !top->c.tls || top->tls;
}

void ph__redis_tls_drop(struct ph_redis *r)
{
    struct ph_redis *const top = root(r);

    SSL_CTX_free(top->tls); /* sessions keep it */
    top->tls = NULL;
}

uint32_t ph__redis_backoff(struct ph_redis *r, uint32_t *last, uint32_t max)
{
    *last = *last ? *last * 2 : BACKOFF_MIN_MS;
    if (*last > max)
        *last = max;
    return *last / 2 + ph_env_below(&r->env, *last / 2 + 1);
}

void ph__redis_failed(struct ph_redis *r, const char *why)
{
    const bool first = !r->complained;

    r->complained = true;
    r->stats.failures++;
    if (r->parent)
        r->parent->stats.failures++;
    ph_logf(&r->env, first ? PH_LOG_WARN : PH_LOG_DEBUG, "%s: %s; trying again%s", r->name, why,
            first ? " until it works" : "");
}

void ph__redis_tell(struct ph_redis *r, bool up)
{
    if (r->state != PH__ENDED && r->watch)
        r->watch(r->watch_ctx, up);
}

/* --- commands -------------------------------------------------------------------------------------- */

int ph_redis_command(struct ph_redis *r, const struct ph_slice *args, unsigned n,
                     void (*fn)(void *ctx, const struct redisReply *reply), void *ctx)
{
    int err = PH_E_STATE;

    if (r->state == PH__ENDED)
        return err;
    if (r->cluster)
        err = ph__cluster_command(r->cluster, args, n, fn, ctx);
    else if (r->state == PH__UP)
        err = ph__conn_send(r->conn, args, n, fn, ctx);
    if (!err)
        r->stats.commands++;
    return err;
}

void ph__redis_later(struct ph_redis *r, struct ph__redis_owed *o)
{
    o->next = NULL;
    *r->owed_tail = o;
    r->owed_tail = &o->next;
    ph__redis_arm(r);
}

void ph__redis_ask(struct ph_redis *r, struct ph__redis_owed *o, const struct ph_slice *args,
                   unsigned n, ph__redis_fn *fn, void *ctx)
{
    o->fn = fn;
    o->ctx = ctx;
    if (ph_redis_command(r, args, n, fn, ctx))
        ph__redis_later(r, o);
}

/* --- birth and death ------------------------------------------------------------------------------- */

static void set_name(struct ph_redis *r)
{
    const struct ph_redis_conf *const c = &r->c;
    char at[PH__REDIS_ADDRESS];

    ph__redis_address(at, c->host, c->port);
    if (c->path[0])
        snprintf(r->name, sizeof r->name, "redis %s", c->path);
    else if (c->mode == PH_REDIS_SENTINEL)
        snprintf(r->name, sizeof r->name, "redis %.40s (sentinels %.200s%s)", c->master, at,
                 c->n_more ? ", ..." : "");
    else if (c->mode == PH_REDIS_CLUSTER && !r->parent)
        snprintf(r->name, sizeof r->name, "redis cluster (%.240s%s)", at, c->n_more ? ", ..." : "");
    else
        snprintf(r->name, sizeof r->name, "redis %s", at);
}

static void set_conf(struct ph_redis *r, const struct ph_redis_conf *c)
{
    r->c = *c;
    if (!c->port)
        r->c.port = c->mode == PH_REDIS_SENTINEL ? 26379 : 6379;
    if (!c->connect_timeout_ms)
        r->c.connect_timeout_ms = 3000;
    if (!c->command_timeout_ms)
        r->c.command_timeout_ms = 3000;
    r->to = r->c;
}

static struct ph_redis *make(uv_loop_t *loop, const struct ph_redis_conf *c,
                             const struct ph_env *env, struct ph_redis *parent)
{
    struct ph_redis *r = calloc(1, sizeof *r);

    if (!r)
        return NULL;
    r->loop = loop;
    r->env = *env;
    r->parent = parent;
    set_conf(r, c);
    set_name(r);
    r->owed_tail = &r->owed;
    if (c->mode == PH_REDIS_CLUSTER && !parent) {
        r->cluster = ph__cluster_new(r);
        if (!r->cluster) {
            free(r);
            return NULL;
        }
    }
    r->open++;
    uv_timer_init(loop, &r->timer);
    r->timer.data = r;
    r->state = PH__WAITING; /* due at once, but from the loop */
    ph__redis_arm(r);
    return r;
}

struct ph_redis *ph_redis_new(uv_loop_t *loop, const struct ph_redis_conf *c,
                              const struct ph_env *env)
{
    return make(loop, c, env, NULL);
}

struct ph_redis *ph__redis_node(struct ph_redis *parent, const struct ph_redis_conf *c)
{
    return make(parent->loop, c, &parent->env, parent);
}

void ph__redis_closed(struct ph_redis *r)
{
    if (--r->open)
        return;
    explicit_bzero(&r->c, sizeof r->c);
    explicit_bzero(&r->to, sizeof r->to);
    SSL_CTX_free(r->tls);
    free(r);
}

static void on_timer_closed(uv_handle_t *h)
{
    ph__redis_closed(h->data);
}

void ph_redis_free(struct ph_redis *r)
{
    if (!r || r->state == PH__ENDED)
        return;
    r->state = PH__ENDED;
    r->stats.up = false;
    uv_close((uv_handle_t *)&r->timer, on_timer_closed);
    if (r->cluster)
        ph__cluster_close(r->cluster);
    else
        ph__one_free(r);
    while (r->owed)
        pay(r);
}

void ph_redis_watch(struct ph_redis *r, void (*fn)(void *ctx, bool up), void *ctx)
{
    r->watch = fn;
    r->watch_ctx = ctx;
}

const struct ph_redis_stats *ph_redis_stats(const struct ph_redis *r)
{
    return &r->stats;
}
