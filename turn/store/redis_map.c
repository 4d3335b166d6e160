/*
 * The map of a cluster: which node has which slots, and a connection (a ph_redis) to each master.
 *
 * It is asked for (CLUSTER SLOTS) at the start, when a node is lost, and when one says that a slot is elsewhere
 * (MOVED); until all masters are connected again and again.
 */
#include "stun/base/error.h"
#include "turn/store/redis_cluster.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    REFRESH_GAP_MS = 200, /* at least, between two questions */
    SETTLE_MS = 300,      /* for connecting to what the map has named */
    BACKOFF_MAX_MS = 2000,
    KEEP_MS = 30000, /* a node that is not in the map but was referred to (ASK) */
    OPEN_MAX = 3,    /* the timer, and questions that are being closed */
};

/* --- nodes ----------------------------------------------------------------------------------------- */

/* The cluster has come up or is not whole any more.  Whoever is told may end everything. */
static void check(struct ph__cluster *k)
{
    unsigned masters = 0;
    bool up = k->known;

    for (unsigned i = 0; i < PH__NODES; i++)
        if (k->node[i] && k->node[i]->mapped) {
            masters++;
            up = up && ph__node_up(k->node[i]);
        }
    up = up && masters;
    if (up == k->r->stats.up)
        return;
    k->r->stats.up = up;
    k->backoff_ms = 0;
    if (up) {
        k->r->complained = false;
        ph_logf(&k->r->env, PH_LOG_INFO, "%s: connected to all %u masters", k->r->name, masters);
    }
    ph__redis_tell(k->r, up);
}

static void on_watch(void *ctx, bool up)
{
    const struct ph__node *n = ctx;
    struct ph__cluster *k = n->k;

    if (up)
        ph__cluster_resume(k, ctx);
    if (k->closed)
        return;
    if (!up)
        ph__map_refresh(k, 0);
    check(k);
}

/* A node in a place that is free. */
static uint8_t add_node(struct ph__cluster *k, const struct ph_redis_host *at, uint8_t i)
{
    struct ph__node *n = calloc(1, sizeof *n);
    struct ph_redis_conf c = k->r->c;

    if (!n)
        return PH__NOBODY;
    snprintf(c.host, sizeof c.host, "%s", at->host);
    c.port = at->port;
    n->k = k;
    n->at = *at;
    n->redis = ph__redis_node(k->r, &c);
    explicit_bzero(&c, sizeof c);
    if (!n->redis) {
        free(n);
        return PH__NOBODY;
    }
    ph_redis_watch(n->redis, on_watch, n);
    k->node[i] = n;
    return i;
}

uint8_t ph__map_node(struct ph__cluster *k, const struct ph_redis_host *at)
{
    uint8_t free_at = PH__NOBODY;

    for (unsigned i = 0; i < PH__NODES; i++) {
        const struct ph__node *n = k->node[i];
        if (n && n->at.port == at->port && strcmp(n->at.host, at->host) == 0)
            return (uint8_t)i;
        if (!n && free_at == PH__NOBODY)
            free_at = (uint8_t)i;
    }
    return free_at == PH__NOBODY ? free_at : add_node(k, at, free_at);
}

/* Those that have no slots any more, and nothing to do. */
static void tidy(struct ph__cluster *k)
{
    k->tidy_at = UINT64_MAX;
    for (unsigned i = 0; i < PH__NODES; i++) {
        struct ph__node *n = k->node[i];
        if (!n || n->mapped)
            continue;
        if (n->busy || (n->used_at && ph__cluster_now(k) - n->used_at < KEEP_MS)) {
            k->tidy_at = ph__cluster_now(k) + PH__TIDY_MS;
            continue;
        }
        k->node[i] = NULL;
        for (unsigned s = 0; s < PH__REDIS_SLOTS; s++)
            if (k->of[s] == i)
                k->of[s] = PH__NOBODY;
        ph_redis_free(n->redis);
        free(n);
    }
}

void ph__map_refresh(struct ph__cluster *k, uint64_t ms)
{
    const uint64_t at = ph__cluster_now(k) + ms;
    const uint64_t soonest = k->refreshed_at ? k->refreshed_at + REFRESH_GAP_MS : 0;
    const uint64_t due = at > soonest ? at : soonest;

    if (due < k->refresh_at)
        k->refresh_at = due;
    k->again = k->asker != NULL;
    ph__cluster_arm(k);
}

/* --- the map --------------------------------------------------------------------------------------- */

void ph__map_closed(void *ctx)
{
    struct ph__cluster *k = ctx;
    struct ph_redis *r = k->r;

    if (--k->open == 0 && k->closed) {
        free(k->fresh);
        free(k);
    }
    ph__redis_closed(r);
}

static void stop_asking(struct ph__cluster *k)
{
    struct ph__asker *asker = k->asker;

    k->asker = NULL;
    if (asker)
        ph__asker_close(asker);
}

static bool on_slots(void *ctx, unsigned host, const redisReply *reply,
                     char why[static PH__REDIS_WHY])
{
    struct ph__cluster *k = ctx;

    if (reply->type == REDIS_REPLY_ERROR) {
        const int n = (int)strcspn(reply->str, "\r\n");
        snprintf(why, PH__REDIS_WHY, "it is no node of a cluster, or does not serve us (%.*s)",
                 n < 60 ? n : 60, reply->str);
        return false;
    }
    const int err = ph__route_slots(reply, k->host[host].host, k->fresh);
    if (!err && k->fresh->n_hosts)
        return true;
    snprintf(why, PH__REDIS_WHY, "%s",
             err == PH_E_LIMIT ? "the cluster has more than 64 masters"
             : err             ? "its map of the cluster makes no sense"
                               : "the cluster has no slots yet");
    return false;
}

/* The new map is in force. */
static void apply(struct ph__cluster *k)
{
    uint8_t index[PH__NODES];
    bool was[PH__NODES], changed = !k->known;

    for (unsigned i = 0; i < PH__NODES; i++) {
        was[i] = k->node[i] && k->node[i]->mapped;
        if (k->node[i])
            k->node[i]->mapped = false;
    }
    for (unsigned i = 0; i < k->fresh->n_hosts; i++) {
        index[i] = ph__map_node(k, &k->fresh->host[i]);
        if (index[i] == PH__NOBODY) {
            k->again = true;
            continue;
        }
        k->node[index[i]]->mapped = true;
        changed = changed || !was[index[i]];
        was[index[i]] = false;
    }
    for (unsigned i = 0; i < PH__NODES; i++)
        changed = changed || was[i];
    for (unsigned s = 0; s < PH__REDIS_SLOTS; s++)
        k->of[s] = k->fresh->of[s] == PH__NOBODY ? PH__NOBODY : index[k->fresh->of[s]];
    k->known = true;
    k->epoch += changed;
}

/* The next question: because of what happened while this one was asked, or until all masters are connected. */
static void ask_again(struct ph__cluster *k, bool failed)
{
    if (k->again)
        ph__map_refresh(k, REFRESH_GAP_MS);
    if (failed || !k->r->stats.up) {
        const uint32_t wait = ph__redis_backoff(k->r, &k->backoff_ms, BACKOFF_MAX_MS);
        ph__map_refresh(k, failed || wait > SETTLE_MS ? wait : SETTLE_MS);
    }
    k->again = false;
    ph__cluster_arm(k);
}

static void on_done(void *ctx, const char *why, bool tls)
{
    struct ph__cluster *k = ctx;
    char text[PH__REDIS_WHY];

    if (why)
        snprintf(text, sizeof text, "%s", why); /* it is the asker's */
    stop_asking(k);
    k->refreshed_at = ph__cluster_now(k);
    k->refresh_at = UINT64_MAX;
    if (why && tls)
        ph__redis_tls_drop(k->r);
    if (why)
        ph__redis_failed(k->r, text);
    else
        apply(k);
    tidy(k);
    check(k);
    if (!k->closed)
        ask_again(k, why != NULL);
}

/* Whom to ask: nodes that are connected, in no particular order, then the others, then those of the configuration. */
static unsigned list_hosts(struct ph__cluster *k, unsigned *connected)
{
    const struct ph_redis_conf *const c = &k->r->c;
    unsigned n = 0;

    for (unsigned i = 0; i < PH__NODES; i++)
        if (ph__node_up(k->node[i]))
            k->host[n++] = k->node[i]->at;
    *connected = n;
    for (unsigned i = 0; i < PH__NODES; i++)
        if (k->node[i] && !ph__node_up(k->node[i]))
            k->host[n++] = k->node[i]->at;
    snprintf(k->host[n].host, sizeof k->host[n].host, "%s", c->host);
    k->host[n++].port = c->port;
    for (unsigned i = 0; i < c->n_more; i++)
        k->host[n++] = c->more[i];
    return n;
}

static void refresh(struct ph__cluster *k)
{
    char why[PH__REDIS_WHY] = "out of memory";
    unsigned connected;
    struct ph__asker_conf c = {
        .loop = k->r->loop,
        .env = &k->r->env,
        .name = k->r->name,
        .to = &k->r->c,
        .host = k->host,
        .n_hosts = list_hosts(k, &connected),
        .question = {"CLUSTER", "SLOTS"},
        .take = on_slots,
        .done = on_done,
        .gone = ph__map_closed,
        .ctx = k,
    };

    c.first = connected ? ph_env_below(&k->r->env, connected) : 0;
    if (!k->fresh)
        k->fresh = malloc(sizeof *k->fresh);
    if (k->open > OPEN_MAX)
        snprintf(why, sizeof why, "the nodes' names cannot be looked up");
    else if (k->fresh && ph__redis_tls(k->r, &c.tls, why))
        k->asker = ph__asker_new(&c);
    if (!k->asker) {
        on_done(k, why, false);
        return;
    }
    k->open++;
    k->r->open++;
}

void ph__map_due(struct ph__cluster *k)
{
    if (ph__cluster_now(k) >= k->tidy_at)
        tidy(k);
    if (!k->asker && ph__cluster_now(k) >= k->refresh_at)
        refresh(k);
}

void ph__map_close(struct ph__cluster *k)
{
    stop_asking(k);
    for (unsigned i = 0; i < PH__NODES; i++)
        if (k->node[i])
            ph_redis_free(k->node[i]->redis);
}

void ph__map_free(struct ph__cluster *k)
{
    for (unsigned i = 0; i < PH__NODES; i++) {
        free(k->node[i]);
        k->node[i] = NULL;
    }
}
