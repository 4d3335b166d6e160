/*
 * Telling coturn's statistics.
 *
 * A worker's place is its own while it runs; counters are read by others.  All of it is gone before the server is: the place
 * is emptied on the worker's loop, when what it had to say is stored or a moment has passed.
 */
#include "cmd/turnd/statsdb.h"

#ifdef PH_HAVE_REDIS

#include "cmd/turnd/state.h"
#include "stun/uv/loop.h"
#include "stun/uv/sockaddr.h"
#include "turn/store/stats.h"

#include <netdb.h>
#include <stdlib.h>
#include <string.h>

enum { WORKERS = 256, LAST_MS = 500 };

struct place {
    struct ph_tstatsdb *owner;
    uv_loop_t *loop;
    struct ph_turn_uv_here *here;
    struct ph_redis *redis;
    struct ph_statsdb *_Atomic stats; /* NULL: the worker does not run */
};

struct ph_tstatsdb {
    struct ph_trun *run;
    const char *realm; /* of sessions without one */
    struct place place[WORKERS];
    _Atomic bool ending;

    struct ph_addr at[PH_REDIS_HOSTS];
    unsigned n_at;
    uv_getaddrinfo_t resolve;
    bool stopped;
};

/* ---- sessions ---- */

/* What the core does not know of a session. */
static void describe(const struct place *p, struct ph_statsdb_session *s)
{
    const struct ph_tplan *plan = &p->owner->run->plan;

    if (s->info.listener < plan->n_listeners)
        s->local = plan->listener[s->info.listener];
    if (!ph_turn_uv_here_tls(p->here, s->info.conn, &s->tls, &s->cipher))
        s->tls = s->cipher = NULL;
}

static bool next_session(void *ctx, uint32_t *at, struct ph_statsdb_session *out)
{
    const struct place *p = ctx;

    if (!ph_turn_uv_here_next(p->here, at, &out->info))
        return false;
    describe(p, out);
    return true;
}

static void tell(struct place *p, const struct ph_turnd_ev *ev)
{
    struct ph_statsdb_session s = {.info = ev->info};

    describe(p, &s);
    ph_statsdb_event(p->stats, ev, &s, ph_now());
}

/* What is left to be told of sessions when the server ends. */
static void tell_rest(struct place *p)
{
    struct ph_turnd_ev ev = {0};

    for (uint32_t at = 0; ph_turn_uv_here_next(p->here, &at, &ev.info);) {
        const bool kept = !p->owner->ending || ph_tstate_keeps(p->owner->run->state, &ev.info);
        ev.type = kept ? PH_TURND_ALLOC_TRAFFIC : PH_TURND_ALLOC_DOWN;
        ev.reason = PH_END_ADMIN;
        ev.traffic = ev.info.untold;
        tell(p, &ev);
    }
}

/* ---- workers ---- */

/* The connections of the others fail and come back as the first one's does. */
static struct ph_env env_of(const struct ph_tstatsdb *s, unsigned worker)
{
    struct ph_env env = s->run->env;

    if (worker)
        env.log = NULL;
    return env;
}

static void open_place(struct place *p, unsigned worker)
{
    const struct ph_env env = env_of(p->owner, worker);
    const struct ph_redis_stats_conf c = {.realm = p->owner->realm, .next = next_session, .ctx = p};

    p->redis = ph_redis_new(p->loop, &p->owner->run->conf->stats_redis, &env);
    p->stats = p->redis ? ph_statsdb_new(p->redis, &c, &p->owner->run->env) : NULL;
    if (p->stats)
        return;
    ph_redis_free(p->redis);
    ph_logf(&p->owner->run->env, PH_LOG_ERROR, "redis-statsdb: out of memory: worker %u is silent",
            worker);
}

/* On the worker's loop. */
static void on_done(void *ctx)
{
    struct place *p = ctx;
    struct ph_statsdb *stats = p->stats;

    p->stats = NULL;
    ph_redis_free(p->redis);
    ph_statsdb_free(stats);
}

void ph_tstatsdb_loop(struct ph_tstatsdb *s, unsigned worker, uv_loop_t *loop,
                      struct ph_turn_uv_here *here)
{
    struct place *p = &s->place[worker];

    if (loop) {
        *p = (struct place){.owner = s, .loop = loop, .here = here};
        open_place(p, worker);
    } else if (p->stats) {
        tell_rest(p);
        ph_statsdb_finish(p->stats, p->loop, LAST_MS, on_done, p);
    }
}

void ph_tstatsdb_event(struct ph_tstatsdb *s, unsigned worker, const struct ph_turnd_ev *ev)
{
    if (s->place[worker].stats)
        tell(&s->place[worker], ev);
}

void ph_tstatsdb_end(struct ph_tstatsdb *s)
{
    if (s)
        s->ending = true;
}

void ph_tstatsdb_look(const struct ph_tstatsdb *s, struct ph_tstatsdb_view *v)
{
    *v = (struct ph_tstatsdb_view){0};
    for (unsigned i = 0; i < WORKERS; i++) {
        const struct ph_statsdb *stats = s->place[i].stats;
        struct ph_statsdb_stats x;
        if (!stats)
            continue;
        ph_statsdb_stats(stats, &x);
        v->sent += x.sent;
        v->dropped += x.dropped;
        v->failed += x.failed;
        v->queued += x.queued;
        v->connected += x.up;
    }
}

void ph_tstatsdb_flush(struct ph_tstatsdb *s, uint32_t timeout_ms)
{
    const ph_ns until = ph_now() + PH_MS(timeout_ms);
    struct ph_tstatsdb_view v;

    for (;;) {
        ph_tstatsdb_look(s, &v);
        if (!v.queued || !v.connected || ph_now() >= until)
            return;
        uv_sleep(2);
    }
}

/* ---- where it is ---- */

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *list)
{
    struct ph_tstatsdb *s = req->data;
    const unsigned before = s->n_at;

    for (const struct addrinfo *i = status == 0 ? list : NULL; i && s->n_at < PH_REDIS_HOSTS;
         i = i->ai_next)
        s->at[s->n_at++] = ph_sockaddr_read(i->ai_addr, PH_PROTO_NONE);
    uv_freeaddrinfo(list);
    if (s->n_at > before && !s->stopped)
        ph_trun_tell(s->run, NULL);
}

static bool add_address(struct ph_tstatsdb *s, const char *host, uint16_t port)
{
    struct ph_addr at;

    if (s->n_at >= PH_REDIS_HOSTS || ph_addr_parse(&at, host, strlen(host), port) != 0)
        return false;
    s->at[s->n_at++] = at;
    return true;
}

static void find_addresses(struct ph_tstatsdb *s, uv_loop_t *loop)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    const struct ph_redis_conf *c = &s->run->conf->stats_redis;
    char port[8];

    for (unsigned i = 0; i < c->n_more; i++)
        add_address(s, c->more[i].host, c->more[i].port);
    snprintf(port, sizeof port, "%u", (unsigned)c->port);
    s->resolve.data = s;
    if (*c->host && !add_address(s, c->host, c->port))
        uv_getaddrinfo(loop, &s->resolve, on_resolved, c->host, port, &hints);
}

unsigned ph_tstatsdb_endpoints(const struct ph_tstatsdb *s, struct ph_addr *v, unsigned max)
{
    const unsigned n = s->n_at < max ? s->n_at : max;

    memcpy(v, s->at, n * sizeof *v);
    return n;
}

/* ---- life ---- */

struct ph_tstatsdb *ph_tstatsdb_new(uv_loop_t *loop, struct ph_trun *run)
{
    struct ph_tstatsdb *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    s->run = run;
    /* coturn's keys are without a realm when there is none in its file; a name of ours would be news to a consumer. */
    s->realm = ph_opts_last(run->conf->opts, "realm") ? run->conf->realm : NULL;
    find_addresses(s, loop);
    return s;
}

void ph_tstatsdb_stop(struct ph_tstatsdb *s)
{
    if (!s)
        return;
    s->stopped = true;
    uv_cancel((uv_req_t *)&s->resolve);
}

void ph_tstatsdb_free(struct ph_tstatsdb *s)
{
    free(s);
}

#else /* without Redis; a configuration that wants it has been refused (conf_operation.c) */

struct ph_tstatsdb *ph_tstatsdb_new(uv_loop_t *loop, struct ph_trun *run)
{
    (void)loop, (void)run;
    return NULL;
}

void ph_tstatsdb_loop(struct ph_tstatsdb *s, unsigned worker, uv_loop_t *loop,
                      struct ph_turn_uv_here *here)
{
    (void)s, (void)worker, (void)loop, (void)here;
}

void ph_tstatsdb_event(struct ph_tstatsdb *s, unsigned worker, const struct ph_turnd_ev *ev)
{
    (void)s, (void)worker, (void)ev;
}

void ph_tstatsdb_end(struct ph_tstatsdb *s)
{
    (void)s;
}

void ph_tstatsdb_flush(struct ph_tstatsdb *s, uint32_t timeout_ms)
{
    (void)s, (void)timeout_ms;
}

void ph_tstatsdb_stop(struct ph_tstatsdb *s)
{
    (void)s;
}

void ph_tstatsdb_free(struct ph_tstatsdb *s)
{
    (void)s;
}

unsigned ph_tstatsdb_endpoints(const struct ph_tstatsdb *s, struct ph_addr *v, unsigned max)
{
    (void)s, (void)v, (void)max;
    return 0;
}

void ph_tstatsdb_look(const struct ph_tstatsdb *s, struct ph_tstatsdb_view *v)
{
    (void)s;
    *v = (struct ph_tstatsdb_view){0};
}

#endif
