/*
 * The claim of our node: made at the start, lost when somebody else makes it, made again.
 */
#include "cmd/turnd/state_priv.h"

#include "stun/base/error.h"
#include "stun/codec/integrity.h"
#include "stun/uv/loop.h"
#include "stun/uv/sockaddr.h"

#include <inttypes.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#define SAY(s, level, ...) ph_logf(&(s)->run->env, PH_LOG_##level, __VA_ARGS__)

enum {
    RETRY_MS = 250,   /* until Redis answers */
    FENCED_MS = 5000, /* whoever has claimed our node takes what he wants meanwhile */
    SAME_NAME_S =
        60, /* two that claim one node again and again, and take nothing, have the same name */
    SAY_MS = 60000, /* how often that is said */
    FLUSH_MS = 2000
};

static void on_claimed(void *ctx, int err, const char *token);
static void on_timer(uv_timer_t *timer);

/* ---- the claim ---- */

static void set_step(struct ph_tstate *s, enum ph__tstate_step step)
{
    static const char *const WORDS[] = {
        [PH__STATE_CLAIMING] = "claiming", [PH__STATE_LOADING] = "loading",
        [PH__STATE_HELD] = "loading",      [PH__STATE_OURS] = "ours",
        [PH__STATE_FENCED] = "fenced",     [PH__STATE_OUT] = "given up",
    };
    s->step = step;
    s->view.word = WORDS[step];
}

static void claim(struct ph_tstate *s)
{
    set_step(s, PH__STATE_CLAIMING);
    s->asked = true;
    ph_store_claim(s->store, s->run->conf->node, on_claimed, s);
}

void ph__tstate_reclaim(struct ph_tstate *s)
{
    s->again = s->asked || s->adoption.busy;
    if (!s->again && s->step != PH__STATE_OUT && !s->ended)
        claim(s);
}

static void retry(struct ph_tstate *s)
{
    set_step(s, PH__STATE_CLAIMING);
    uv_timer_start(&s->timer, on_timer, RETRY_MS, 0);
}

static void on_record(void *ctx, uint64_t id, struct ph_slice value)
{
    struct ph_tstate *s = ctx;
    int err = ph_trecords_add(&s->records, id, value);
    s->load_err = s->load_err ? s->load_err : err;
}

static void on_loaded(void *ctx, int err)
{
    struct ph_tstate *s = ctx;
    s->asked = false;
    if (s->ended)
        return;
    if (err) {
        retry(s);
        return;
    }
    ph_trecords_unique(&s->records);
    if (s->load_err)
        SAY(s, ERROR, "redis-statedb: not all records of node %s could be read: %s",
            s->run->conf->node, ph_strerror(s->load_err));
    if (s->serving)
        ph__tstate_take(s);
    set_step(s, s->serving ? PH__STATE_OURS : PH__STATE_HELD);
    if (s->again)
        ph__tstate_reclaim(s);
    else if (s->serving)
        ph__tadopt_next(s);
}

static void load(struct ph_tstate *s)
{
    ph_trecords_free(&s->records);
    s->load_err = 0;
    set_step(s, PH__STATE_LOADING);
    s->asked = true;
    ph_store_load(s->store, s->run->conf->node, PH_TURN_UV_RECORDS, on_record, on_loaded, s);
}

static void on_claimed(void *ctx, int err, const char *token)
{
    struct ph_tstate *s = ctx;
    s->asked = false;
    if (s->ended)
        return;
    if (err) {
        retry(s);
        return;
    }
    snprintf(s->token, sizeof s->token, "%s", token);
    load(s);
}

/* ---- being fenced ---- */

/* On a worker's thread. */
static void on_fenced(void *ctx)
{
    struct ph_tstate *s = ctx;
    atomic_store(&s->fence, true);
    uv_async_send(&s->wake);
}

static void give_up(struct ph_tstate *s)
{
    SAY(s, ERROR,
        "another turnd is running as node %s and claims it again and again: this one stores "
        "nothing any more.  Give one of them a node-id of its own and restart it",
        s->run->conf->node);
    uv_timer_start(&s->timer, on_timer, SAY_MS, 0);
    set_step(s, PH__STATE_OUT);
}

static void on_wake(uv_async_t *h)
{
    struct ph_tstate *s = h->data;
    if (!atomic_exchange(&s->fence, false) || s->step != PH__STATE_OURS || s->ended)
        return;
    if (s->idle_fence_at && ph_now() - s->idle_fence_at < PH_SEC(SAME_NAME_S)) {
        give_up(s);
        return;
    }
    SAY(s, WARN, "another turnd has claimed node %s: what it has taken over ends here",
        s->run->conf->node);
    s->fenced = true;
    set_step(s, PH__STATE_FENCED);
    uv_timer_start(&s->timer, on_timer, FENCED_MS, 0);
}

static void on_timer(uv_timer_t *timer)
{
    struct ph_tstate *s = timer->data;
    if (s->ended || s->asked)
        return;
    if (s->step == PH__STATE_OUT)
        give_up(s);
    else if (s->step == PH__STATE_CLAIMING || s->step == PH__STATE_FENCED)
        ph__tstate_reclaim(s);
}

/* ---- the workers' handles ---- */

struct ph_store *ph_tstate_store(void *ctx, unsigned worker, uv_loop_t *loop)
{
    struct ph_tstate *s = ctx;
    struct ph_store_conf c = s->conf;
    c.on_fenced = on_fenced;
    c.ctx = s;
    struct ph_store *store =
        ph_store_redis_new(loop, &s->run->conf->state_redis, &c, worker ? &s->quiet : &s->run->env);
    ph_wipe(&c.keys, sizeof c.keys);
    return store;
}

/* ---- where it is ---- */

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *list)
{
    struct ph_tstate *s = req->data;
    const unsigned max = sizeof s->at / sizeof *s->at;
    for (const struct addrinfo *i = status == 0 ? list : NULL; i && s->n_at < max; i = i->ai_next)
        s->at[s->n_at++] = ph_sockaddr_read(i->ai_addr, PH_PROTO_NONE);
    uv_freeaddrinfo(list);
    if (s->n_at && !s->ended)
        ph_trun_tell(s->run, NULL);
}

static void find_address(struct ph_tstate *s)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    const struct ph_redis_conf *c = &s->run->conf->state_redis;
    char port[8];
    snprintf(port, sizeof port, "%u", (unsigned)c->port);
    const unsigned max = sizeof s->at / sizeof *s->at - 1;
    for (unsigned i = 0; i < c->n_more && s->n_at < max; i++)
        if (ph_addr_parse(&s->at[s->n_at], c->more[i].host, strlen(c->more[i].host),
                          c->more[i].port) == 0)
            s->n_at++;
    s->resolve.data = s;
    if (ph_addr_parse(&s->at[s->n_at], c->host, strlen(c->host), c->port) == 0)
        s->n_at++;
    else if (*c->host)
        uv_getaddrinfo(s->loop, &s->resolve, on_resolved, c->host, port, &hints);
}

unsigned ph_tstate_endpoints(const struct ph_tstate *s, struct ph_addr *v, unsigned max)
{
    unsigned n = s->n_at < max ? s->n_at : max;
    memcpy(v, s->at, n * sizeof *v);
    return n;
}

/* ---- life ---- */

static void set_logs(struct ph_tstate *s)
{
    s->env = s->quiet = s->run->env;
    s->quiet.log = NULL;
    if (!s->env.log)
        return;
    s->log.fn = s->env.log->fn;
    s->log.ctx = s->env.log->ctx;
    s->log.level = s->env.log->level;
    s->env.log = &s->log;
}

struct ph_tstate *ph_tstate_new(uv_loop_t *loop, struct ph_trun *run, const char *token)
{
    const struct ph_tconf *c = run->conf;
    struct ph_tstate *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->run = run;
    s->loop = loop;
    s->began = ph_now();
    set_logs(s);
    snprintf(s->conf.node, sizeof s->conf.node, "%s", c->node);
    s->conf.keys = c->fleet;
    s->store = ph_store_redis_new(loop, &c->state_redis, &s->conf, &s->env);
    if (!s->store) {
        free(s);
        return NULL;
    }
    uv_timer_init(loop, &s->timer);
    s->timer.data = s;
    uv_async_init(loop, &s->wake, on_wake);
    s->wake.data = s;
    ph__tadopt_init(s);
    find_address(s);
    snprintf(s->token, sizeof s->token, "%s", token);
    s->taken = *token;
    if (*token)
        load(s);
    else
        claim(s);
    return s;
}

static void on_limit(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

void ph_tstate_wait(struct ph_tstate *s, const bool *enough)
{
    static uv_timer_t limit; /* closed with the loop */
    static bool over;
    over = false;
    uv_timer_init(s->loop, &limit);
    limit.data = &over;
    uv_timer_start(&limit, on_limit, s->run->conf->state_wait_ms, 0);
    while (s->step != PH__STATE_HELD && !over && !*enough)
        uv_run(s->loop, UV_RUN_ONCE);
    uv_timer_stop(&limit);
    if (s->step != PH__STATE_HELD && !*enough)
        SAY(s, WARN,
            "redis-statedb has not answered within %" PRIu32
            " ms: starting without; allocations are restored when it does",
            s->run->conf->state_wait_ms);
}

void ph_tstate_serve(struct ph_tstate *s)
{
    s->serving = true;
    if (s->env.log)
        s->log.level = PH_LOG_ERROR; /* the first worker's handle says it from now on */
    if (s->step != PH__STATE_HELD)
        return;
    ph__tstate_take(s);
    set_step(s, PH__STATE_OURS);
    ph__tadopt_all(s); /* addresses may have come before us */
}

void ph_tstate_rekey(struct ph_tstate *s)
{
    const struct ph_fleet_keys *keys = &s->run->conf->fleet;
    if (memcmp(keys, &s->conf.keys, sizeof *keys) == 0)
        return;
    s->conf.keys = *keys;
    ph_store_set_keys(s->store, keys);
    ph_turn_uv_set_store_keys(s->run->server, keys);
}

void ph_tstate_end(struct ph_tstate *s, bool flush)
{
    s->ended = true;
    ph_tlocal_stop(s->local);
    ph__tadopt_stop(s);
    uv_timer_stop(&s->timer);
    if (!flush || s->step != PH__STATE_OURS)
        return;
    ph_turn_uv_claimed(s->run->server, s->token); /* all of it, with the traffic until now */
    if (ph_turn_uv_flush(s->run->server, FLUSH_MS) != 0)
        SAY(s, WARN, "redis-statedb was not given all changes: what it has is a little older");
}

void ph_tstate_stop(struct ph_tstate *s)
{
    if (!s)
        return;
    s->ended = true;
    uv_cancel((uv_req_t *)&s->resolve);
    ph_tlocal_stop(s->local);
    ph__tadopt_stop(s);
    ph_store_free(s->store);
    s->store = NULL;
}

void ph_tstate_free(struct ph_tstate *s)
{
    if (!s)
        return;
    ph_store_free(s->store);
    ph_trecords_free(&s->records);
    ph_trecords_free(&s->adoption.records);
    ph_tlocal_free(s->local);
    free(s->adoption.ids);
    free(s->left);
    ph_wipe(&s->conf.keys, sizeof s->conf.keys);
    free(s);
}

/* ---- questions ---- */

bool ph_tstate_keeps(const struct ph_tstate *s, const struct ph_turnd_info *i)
{
    return s && s->step == PH__STATE_OURS && ph_trun_can_carry(i);
}

const char *ph_tstate_token(const struct ph_tstate *s)
{
    return s && s->step == PH__STATE_OURS ? s->token : "";
}

void ph_tstate_look(struct ph_tstate *s, struct ph_tstate_view *v)
{
    *v = s->view;
    v->main = *ph_store_stats(s->store);
}
