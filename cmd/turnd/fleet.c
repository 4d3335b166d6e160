/*
 * The life of turnd's part in a fleet, and what comes of what the others say.
 */
#include "cmd/turnd/fleet_priv.h"

#ifdef PH_HAVE_REDIS

#include "stun/base/error.h"
#include "turn/fleet_bps.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- other servers ---- */

static unsigned find_alternates(struct ph_tfleet *f, struct ph_addr *v)
{
    const struct ph_tconf *c = f->run->conf;

    if (f->run->draining)
        return c->n_drain_alternates || c->fleet_redirect == PH_TCONF_REDIRECT_NEVER
                   ? 0
                   : ph_fleet_alternates(f->core, f->self.load, false, v, PH_TURND_ALTERNATES);
    return c->n_alternates || c->fleet_redirect != PH_TCONF_REDIRECT_LOAD
               ? 0
               : ph_fleet_alternates(f->core, f->self.load, true, v, PH_TURND_ALTERNATES);
}

/* The configuration's own other servers go before what the fleet says. */
static void add_configured(const struct ph_tfleet *f, struct ph_addr *v, unsigned *n)
{
    const struct ph_tconf *c = f->run->conf;
    const bool drain = f->run->draining && c->n_drain_alternates;

    if (*n == 0) {
        *n = drain ? c->n_drain_alternates : f->run->live->live.n_alternates;
        memcpy(v, drain ? c->drain_alternate : f->run->live->live.alternate, *n * sizeof *v);
    }
}

static unsigned list_nodes(struct ph_tfleet *f, struct ph_turnd_node *v)
{
    const struct ph_fleet_node_info *n;
    unsigned count = 0;

    for (unsigned i = 0; (n = ph_fleet_each(f->core, &i)) != NULL && count < PH_TURND_NODES;) {
        v[count] = (struct ph_turnd_node){.number = ph_fleet_node(ph_str(n->name))};
        memcpy(v[count++].at, n->at, sizeof v->at);
    }
    return count;
}

/* Tells the workers if what they should know is not what they do know. */
static void tell_workers(struct ph_tfleet *f)
{
    struct ph_addr alternate[PH_TURND_ALTERNATES] = {{.family = PH_AF_NONE}};
    struct ph_turnd_node *node = calloc(PH_TURND_NODES, sizeof *node);

    if (!node)
        return;
    pthread_mutex_lock(&f->lock);
    unsigned n = find_alternates(f, alternate);
    const unsigned n_nodes = list_nodes(f, node);
    pthread_mutex_unlock(&f->lock);
    add_configured(f, alternate, &n);
    if (!f->run->server || (n == f->n_alternates && n_nodes == f->n_nodes &&
                            memcmp(alternate, f->alternate, n * sizeof *alternate) == 0 &&
                            (n_nodes == 0 || memcmp(node, f->node, n_nodes * sizeof *node) == 0))) {
        free(node);
        return;
    }
    memcpy(f->alternate, alternate, sizeof alternate);
    f->n_alternates = n;
    f->n_nodes = n_nodes;
    ph_turn_uv_set_fleet(f->run->server, f->alternate, n, node, n_nodes);
    free(f->node); /* nobody uses it any more */
    f->node = node;
}

void ph_tfleet_fill(struct ph_tfleet *f, struct ph_turnd_live *live)
{
    if (!f)
        return;
    pthread_mutex_lock(&f->lock);
    struct ph_addr v[PH_TURND_ALTERNATES] = {{.family = PH_AF_NONE}};
    unsigned n = find_alternates(f, v);
    pthread_mutex_unlock(&f->lock);
    add_configured(f, v, &n);
    memcpy(f->alternate, v, sizeof v);
    f->n_alternates = n;
    live->n_alternates = n;
    memcpy(live->alternate, v, sizeof v);
    live->node = f->node;
    live->n_nodes = f->n_nodes;
}

/* ---- users and orders ---- */

static struct ph_quota *quota_of(const struct ph_trun *r, struct ph_slice realm)
{
    for (unsigned i = 0; i < r->quotas.n; i++)
        if (ph_slice_eq(ph_str(r->quotas.v[i].realm), realm))
            return r->quotas.v[i].quota;
    return r->quota;
}

struct search {
    uint64_t session;
    uint32_t worker, id;
    bool found;
};

static bool is_session(void *ctx, unsigned worker, const struct ph_turnd_info *info)
{
    struct search *s = ctx;

    if (info->session != s->session)
        return true;
    *s = (struct search){s->session, worker, info->id, true};
    return false;
}

static void carry_out(struct ph_tfleet *f, const struct ph_fleet_order *o)
{
    struct ph_trun *r = f->run;

    if (!r->server)
        return;
    if (o->type == PH_FLEET_REVOKE) {
        const unsigned n = ph_turn_uv_revoke(r->server, o->realm, o->user);
        ph_logf(&f->env, PH_LOG_INFO, "fleet: an operator revoked a user: %u sessions ended", n);
        return;
    }
    struct search s = {.session = o->session};
    ph_turn_uv_list(r->server, is_session, &s);
    if (s.found)
        ph_turn_uv_end(r->server, s.worker, s.id);
    ph_logf(&f->env, PH_LOG_INFO, "fleet: an operator ended session %018" PRIu64 "%s", o->session,
            s.found ? "" : ", which is not here");
}

void ph__tfleet_share(struct ph_tfleet *f)
{
    struct ph_userbps *u = f->run->userbps;
    struct ph_userbps_demand d;
    uint32_t at = 0;

    if (!u || !ph_userbps_bound(u))
        return;
    while (ph_userbps_each(u, &at, &d, ph_now())) {
        pthread_mutex_lock(&f->lock); /* for each one: workers count in it as well */
        ph_fleet_bps(f->core, u, &d, ph_now());
        pthread_mutex_unlock(&f->lock);
    }
}

/* Takes one event of the core; those of users are dealt with under the lock, orders outside of it: they end allocations, and
 * the workers count those. */
static bool next_event(struct ph_tfleet *f, struct ph_fleet_ev *ev)
{
    bool more = false, order = false;

    pthread_mutex_lock(&f->lock);
    while (!order && (more = ph_fleet_event(f->core, ev))) {
        switch (ev->type) {
        case PH_FLEET_JOINED:
            ph_logf(&f->env, PH_LOG_INFO, "fleet: node %s is there", ev->name);
            if (f->synced)
                ph__tfleet_post(f, ev->name, "hello");
            break;
        case PH_FLEET_GREETED:
            ph_fleet_tell_all(f->core);
            break;
        case PH_FLEET_ELSEWHERE:
            (void)ph_quota_set_elsewhere(quota_of(f->run, ev->realm), ev->user, ev->n);
            break;
        case PH_FLEET_RATES:
            if (f->run->userbps)
                ph_fleet_bps_heard(f->run->userbps, ev);
            break;
        case PH_FLEET_ORDERED:
            order = true;
            break;
        }
    }
    pthread_mutex_unlock(&f->lock);
    return more;
}

void ph__tfleet_settle(struct ph_tfleet *f)
{
    struct ph_fleet_ev ev;

    if (f->ended)
        return;
    pthread_mutex_lock(&f->lock);
    const uint64_t died = ph_fleet_stats(f->core)->died;
    (void)ph_fleet_tick(f->core, ph_now());
    const unsigned lost = (unsigned)(ph_fleet_stats(f->core)->died - died);
    pthread_mutex_unlock(&f->lock);
    if (lost)
        ph_logf(&f->env, PH_LOG_WARN, "fleet: %u %s not been heard of for 5 s", lost,
                lost == 1 ? "node has" : "nodes have");
    while (next_event(f, &ev)) /* an order, whose names live until the next call */
        carry_out(f, &ev.order);
    tell_workers(f);
}

void ph_tfleet_event(struct ph_tfleet *f, const struct ph_turnd_ev *ev)
{
    if (ev->type != PH_TURND_ALLOC_UP && ev->type != PH_TURND_ALLOC_DOWN)
        return;
    pthread_mutex_lock(&f->lock);
    if (ev->info.user_id.n)
        (void)ph_fleet_count(f->core, ev->info.realm, ev->info.user_id,
                             ev->type == PH_TURND_ALLOC_UP ? 1 : -1);
    pthread_mutex_unlock(&f->lock);
}

bool ph_tfleet_send(struct ph_tfleet *f, const char *node, const struct ph_fleet_order *o)
{
    char text[PH_FLEET_TEXT];

    return ph_tfleet_up(f) && ph_fleet_order(o, text) > 0 && ph__tfleet_post(f, node, text);
}

/* ---- questions ---- */

unsigned ph_tfleet_nodes(struct ph_tfleet *f, struct ph_fleet_node_info *v, unsigned max)
{
    const struct ph_fleet_node_info *n;
    unsigned count = 0;

    pthread_mutex_lock(&f->lock);
    for (unsigned i = 0; count < max && (n = ph_fleet_each(f->core, &i)) != NULL;)
        v[count++] = *n;
    pthread_mutex_unlock(&f->lock);
    return count;
}

void ph_tfleet_self(struct ph_tfleet *f, struct ph_fleet_node_info *n)
{
    *n = f->self;
}

bool ph_tfleet_up(const struct ph_tfleet *f)
{
    return f->synced && ph_redis_stats(f->redis)->up && !f->refused[PH__TFLEET_BEAT] &&
           !f->refused[PH__TFLEET_POST];
}

void ph_tfleet_look(struct ph_tfleet *f, struct ph_tfleet_view *v)
{
    pthread_mutex_lock(&f->lock);
    v->stats = *ph_fleet_stats(f->core);
    pthread_mutex_unlock(&f->lock);
    v->unsealed = f->unsealed;
    v->replayed = f->replayed;
    v->up = ph_tfleet_up(f);
}

/* ---- life ---- */

static void on_closed(uv_handle_t *h)
{
    struct ph_tfleet *f = h->data;
    f->closing--;
}

struct ph_tfleet *ph_tfleet_new(uv_loop_t *loop, const struct ph_env *env, struct ph_trun *run)
{
    static const char PREFIX[] = "pinhole";
    struct ph_fleet_conf c = {0};
    struct ph_tfleet *f = calloc(1, sizeof *f);

    if (!f)
        return NULL;
    memcpy(c.node, run->conf->node, sizeof c.node);
    f->run = run;
    f->env = *env;
    f->loop = loop;
    f->core = ph_fleet_new(&c, env);
    f->redis = f->core ? ph_redis_new(loop, &run->conf->state_redis, env) : NULL;
    if (!f->redis) {
        ph_fleet_free(f->core);
        free(f);
        return NULL;
    }
    snprintf(f->nodes_key, sizeof f->nodes_key, "{%s:fleet}:nodes", PREFIX);
    snprintf(f->notes_key, sizeof f->notes_key, "{%s:fleet}:notes", PREFIX);
    pthread_mutex_init(&f->lock, NULL);
    ph_redis_watch(f->redis, ph__tfleet_connected, f);
    uv_timer_init(loop, &f->beat);
    uv_timer_init(loop, &f->poll);
    f->beat.data = f->poll.data = f;
    f->closing = 2;
    ph__tfleet_look(f);
    uv_timer_start(&f->beat, ph__tfleet_on_beat, PH__TFLEET_BEAT_MS, PH__TFLEET_BEAT_MS);
    uv_timer_start(&f->poll, ph__tfleet_on_poll, PH__TFLEET_POLL_MS, PH__TFLEET_POLL_MS);
    return f;
}

void ph_tfleet_stop(struct ph_tfleet *f)
{
    if (!f || f->ended)
        return;
    f->ended = true;
    uv_close((uv_handle_t *)&f->beat, on_closed);
    uv_close((uv_handle_t *)&f->poll, on_closed);
    ph_store_free(f->store);
    ph_redis_free(f->redis);
}

void ph_tfleet_free(struct ph_tfleet *f)
{
    if (!f)
        return;
    ph_fleet_free(f->core);
    pthread_mutex_destroy(&f->lock);
    free(f->node);
    free(f);
}

#else

#include "stun/base/error.h"

struct ph_tfleet *ph_tfleet_new(uv_loop_t *loop, const struct ph_env *env, struct ph_trun *run)
{
    (void)loop, (void)env, (void)run;
    return NULL;
}

void ph_tfleet_stop(struct ph_tfleet *f)
{
    (void)f;
}

void ph_tfleet_free(struct ph_tfleet *f)
{
    (void)f;
}

void ph_tfleet_event(struct ph_tfleet *f, const struct ph_turnd_ev *ev)
{
    (void)f, (void)ev;
}

void ph_tfleet_fill(struct ph_tfleet *f, struct ph_turnd_live *live)
{
    (void)f, (void)live;
}

bool ph_tfleet_send(struct ph_tfleet *f, const char *node, const struct ph_fleet_order *o)
{
    (void)f, (void)node, (void)o;
    return false;
}

unsigned ph_tfleet_nodes(struct ph_tfleet *f, struct ph_fleet_node_info *v, unsigned max)
{
    (void)f, (void)v, (void)max;
    return 0;
}

void ph_tfleet_self(struct ph_tfleet *f, struct ph_fleet_node_info *n)
{
    (void)f;
    *n = (struct ph_fleet_node_info){0};
}

int ph_tfleet_list(struct ph_tfleet *f, ph_tfleet_record *each, void (*done)(void *ctx, int err),
                   void *ctx)
{
    (void)f, (void)each, (void)done, (void)ctx;
    return PH_E_UNSUPPORTED;
}

bool ph_tfleet_up(const struct ph_tfleet *f)
{
    (void)f;
    return false;
}

void ph_tfleet_look(struct ph_tfleet *f, struct ph_tfleet_view *v)
{
    (void)f;
    *v = (struct ph_tfleet_view){0};
}

#endif
