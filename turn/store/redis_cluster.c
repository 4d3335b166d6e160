/*
 * A cluster: each command goes to the master of its key.
 *
 * A node that does not have a slot (any more) says who has it: for good (MOVED), or while it is handed over (ASK).
 * The command is sent there, after a wait for the connection if that node is new; so each is kept with its
 * arguments until it is answered.
 */
#include "turn/store/redis_cluster.h"
#include "stun/base/error.h"

#include <stdio.h>
#include <stdlib.h>

enum { UNKNOWN_MS = 1000, HOPS_MAX = 3 };

/* --- the timer ------------------------------------------------------------------------------------- */

static void on_timer(uv_timer_t *t);

void ph__cluster_arm(struct ph__cluster *k)
{
    uint64_t due = k->asker ? UINT64_MAX : k->refresh_at;

    if (k->closed)
        return;
    if (k->tidy_at < due)
        due = k->tidy_at;
    if (k->held && k->held->due_at < due) /* the first is due first: all wait as long */
        due = k->held->due_at;
    if (due == UINT64_MAX)
        uv_timer_stop(&k->timer);
    else
        uv_timer_start(&k->timer, on_timer, due > ph__cluster_now(k) ? due - ph__cluster_now(k) : 0,
                       0);
}

/* --- commands -------------------------------------------------------------------------------------- */

/* Answers a command.  The caller may end everything by it. */
static void finish(struct ph__req *q, const redisReply *reply)
{
    struct ph__cluster *k = q->k;
    ph__redis_fn *const fn = q->fn;
    void *const ctx = q->ctx;

    k->n_reqs--;
    q->node->busy--;
    if (!reply || reply->type == REDIS_REPLY_ERROR)
        k->r->stats.errors++;
    free(q);
    fn(ctx, reply);
}

static void on_reply(void *ctx, const redisReply *reply);

static void on_asking(void *ctx, const redisReply *reply)
{
    (void)ctx;
    (void)reply;
}

static int send_to(struct ph__req *q)
{
    const struct ph_slice asking = ph_str("ASKING");
    int err = q->ask ? ph_redis_command(q->node->redis, &asking, 1, on_asking, NULL) : 0;

    if (!err)
        err = ph_redis_command(q->node->redis, q->args, q->n, on_reply, q);
    return err;
}

/* Sends a command that has been referred to another node, or holds it until that one is connected. */
static void pass_on(struct ph__req *q, struct ph__node *to)
{
    struct ph__cluster *k = q->k;

    q->node->busy--;
    q->node = to;
    to->busy++;
    to->used_at = ph__cluster_now(k);
    if (ph__node_up(to)) {
        if (send_to(q))
            finish(q, NULL);
        return;
    }
    q->due_at = ph__cluster_now(k) + k->r->c.command_timeout_ms;
    q->next = NULL;
    *k->held_tail = q;
    k->held_tail = &q->next;
    ph__cluster_arm(k);
}

/* Takes the first out of what is held that is of a node, or (NULL) has waited long enough. */
static struct ph__req *take_held(struct ph__cluster *k, const struct ph__node *n)
{
    struct ph__req **p = &k->held;

    while (*p && (n ? (*p)->node != n : (*p)->due_at > ph__cluster_now(k)))
        p = &(*p)->next;
    struct ph__req *q = *p;
    if (!q)
        return NULL;
    *p = q->next;
    if (k->held_tail == &q->next)
        k->held_tail = p;
    return q;
}

void ph__cluster_resume(struct ph__cluster *k, struct ph__node *n)
{
    for (struct ph__req *q; (q = take_held(k, n)) != NULL;)
        if (send_to(q))
            finish(q, NULL);
}

static struct ph__req *make_req(struct ph__cluster *k, const struct ph_slice *args, unsigned n)
{
    size_t bytes = 0;

    for (unsigned i = 0; i < n; i++)
        bytes += args[i].n;
    struct ph__req *q = malloc(sizeof *q + n * sizeof *args + bytes);
    if (!q)
        return NULL;
    *q = (struct ph__req){.k = k, .n = n};
    uint8_t *p = (uint8_t *)(q->args + n);
    for (unsigned i = 0; i < n; i++) {
        q->args[i] = (struct ph_slice){p, args[i].n};
        if (args[i].n)
            memcpy(p, args[i].p, args[i].n);
        p += args[i].n;
    }
    return q;
}

/* Whose a command is.  NULL: nobody's who is connected. */
static struct ph__node *pick(const struct ph__cluster *k, int slot)
{
    if (slot != PH__REDIS_ANY) {
        struct ph__node *n = k->of[slot] == PH__NOBODY ? NULL : k->node[k->of[slot]];
        return ph__node_up(n) ? n : NULL;
    }
    for (unsigned i = 0; i < PH__NODES; i++)
        if (ph__node_up(k->node[i]) && k->node[i]->mapped)
            return k->node[i];
    return NULL;
}

int ph__cluster_command(struct ph__cluster *k, const struct ph_slice *args, unsigned n,
                        ph__redis_fn *fn, void *ctx)
{
    if (n == 0 || n > PH_REDIS_ARGS)
        return PH_E_ARG;
    const int slot = ph__route_of(args, n);
    struct ph__node *const to = k->known ? pick(k, slot) : NULL;
    if (!to) {
        if (slot != PH__REDIS_ANY && k->known && k->of[slot] == PH__NOBODY)
            ph__map_refresh(k, UNKNOWN_MS);
        return PH_E_STATE;
    }
    if (k->n_reqs >= PH_REDIS_PENDING)
        return PH_E_LIMIT;
    struct ph__req *q = make_req(k, args, n);
    if (!q)
        return PH_E_NOMEM;
    q->fn = fn;
    q->ctx = ctx;
    q->node = to;
    const int err = send_to(q);
    if (err) {
        free(q);
        return err;
    }
    to->busy++;
    k->n_reqs++;
    return 0;
}

/* --- replies --------------------------------------------------------------------------------------- */

/* Sends a command where its node says that it belongs.  False: that cannot be done. */
static bool follow(struct ph__req *q, struct ph__redirect *to)
{
    struct ph__cluster *k = q->k;

    if (!to->at.host[0])
        snprintf(to->at.host, sizeof to->at.host, "%s", q->node->at.host);
    const uint8_t i = ph__map_node(k, &to->at);
    if (i == PH__NOBODY)
        return false;
    if (!to->ask) {
        k->of[to->slot] = i;
        ph__map_refresh(k, 0);
    }
    if (!k->node[i]->mapped && k->tidy_at == UINT64_MAX)
        k->tidy_at = ph__cluster_now(k) + PH__TIDY_MS;
    q->ask = to->ask;
    q->hops++;
    pass_on(q, k->node[i]);
    return true;
}

static void on_reply(void *ctx, const redisReply *reply)
{
    struct ph__req *q = ctx;
    struct ph__cluster *k = q->k;
    const char *error = reply && reply->type == REDIS_REPLY_ERROR ? reply->str : NULL;
    struct ph__redirect to;

    if (error && !k->closed) {
        if (ph__route_redirect(error, &to) && q->hops < HOPS_MAX && follow(q, &to))
            return;
        if (strncmp(error, "CLUSTERDOWN", 11) == 0 || strncmp(error, "MOVED ", 6) == 0)
            ph__map_refresh(k, 0);
    }
    finish(q, reply);
}

static void on_timer(uv_timer_t *t)
{
    struct ph__cluster *k = t->data;

    for (struct ph__req *late; (late = take_held(k, NULL)) != NULL;)
        finish(late, NULL);
    if (k->closed)
        return;
    ph__map_due(k);
    ph__cluster_arm(k);
}

/* --- life ------------------------------------------------------------------------------------------ */

struct ph__cluster *ph__cluster_new(struct ph_redis *r)
{
    struct ph__cluster *k = calloc(1, sizeof *k);

    if (!k)
        return NULL;
    k->r = r;
    k->held_tail = &k->held;
    memset(k->of, PH__NOBODY, sizeof k->of);
    k->tidy_at = UINT64_MAX;
    k->open = 1;
    r->open++;
    uv_timer_init(r->loop, &k->timer);
    k->timer.data = k;
    ph__cluster_arm(k); /* refresh_at is 0 */
    return k;
}

static void on_timer_closed(uv_handle_t *h)
{
    ph__map_closed(h->data);
}

void ph__cluster_close(struct ph__cluster *k)
{
    struct ph__req *q, *next;

    k->closed = true;
    uv_close((uv_handle_t *)&k->timer, on_timer_closed);
    ph__map_close(k);
    q = k->held;
    k->held = NULL;
    for (; q; q = next) {
        next = q->next;
        finish(q, NULL);
    }
    ph__map_free(k);
}

struct ph_redis *ph__cluster_master(const struct ph__cluster *k, unsigned i)
{
    for (unsigned at = 0; at < PH__NODES; at++)
        if (k->node[at] && k->node[at]->mapped && i-- == 0)
            return k->node[at]->redis;
    return NULL;
}

unsigned ph__cluster_epoch(const struct ph__cluster *k)
{
    return k->epoch;
}
