/*
 * The public face of the TURN shell: starting, stopping, and asking the workers.
 */
#include "turn/uv/server.h"

#include "stun/base/error.h"
#include "stun/uv/env.h"
#include "turn/uv/priv.h"

#include <stdlib.h>

/* --- life ------------------------------------------------------------------------------------------ */

static bool is_complete(const struct ph_turn_uv_conf *c)
{
    if (!c->core.n_listeners || c->core.n_listeners > PH_TURND_LISTENERS ||
        c->n_quads > PH_TURN_UV_QUADS || (!c->workers && !c->loop))
        return false;
    for (unsigned q = 0; q < c->n_quads; q++)
        for (unsigned k = 0; k < PH_STUND_SOCKETS; k++)
            if (c->quad[q].listener[k] >= c->core.n_listeners)
                return false;
    return true;
}

int ph_turn_uv_new(struct ph_turn_uv **out, const struct ph_turn_uv_conf *c, struct ph_addr *failed)
{
    const unsigned n = c->workers ? c->workers : 1;
    int err = 0;

    if (!is_complete(c))
        return PH_E_ARG;
    struct ph_turn_uv *t = calloc(1, sizeof *t + n * sizeof(struct ph__turn_worker *));
    if (!t)
        return PH_E_NOMEM;
    t->c = *c;
    if (c->stun) {
        t->stun = *c->stun;
        t->c.stun = &t->stun;
    }
    t->env = c->env ? *c->env : ph_env_system(NULL);
    while (t->n < n && !err)
        err = ph__turn_worker_add(t);
    if (err) {
        if (failed)
            *failed = t->failed;
        ph_turn_uv_free(t);
        return err;
    }
    *out = t;
    return 0;
}

void ph_turn_uv_free(struct ph_turn_uv *t)
{
    if (!t)
        return;
    for (unsigned i = 0; i < t->n; i++)
        ph_worker_free(t->v[i]->w);
    free(t);
}

int ph_turn_uv_local(const struct ph_turn_uv *t, unsigned i, struct ph_addr *at)
{
    if (i >= t->c.core.n_listeners)
        return PH_E_ARG;
    *at = t->at[i];
    return 0;
}

unsigned ph_turn_uv_workers(const struct ph_turn_uv *t)
{
    return t->n;
}

/* --- questions ------------------------------------------------------------------------------------- */

struct stats_ask {
    struct ph__turn_worker *w;
    struct ph_turn_uv_stats *out;
};

/* On the worker's thread, while the one who asks waits; so do all that follow. */
static void add_stats(void *ctx)
{
    const struct stats_ask *a = ctx;
    const struct ph_turnd_stats *x = ph_turnd_stats(a->w->core);
    struct ph_turn_uv_stats *sum = a->out;

#define PH_X(name, text) sum->turn.name += x->name;
    PH_TURND_COUNTERS(PH_X)
#undef PH_X
    ph_batch_stats_add(&sum->io, ph_batch_stats(a->w->batch));
    for (unsigned i = 0; i < PH_TURND_LISTENERS; i++)
        ph_stund_stats_add(&sum->stun, &a->w->stun[i].stats);
    sum->allocations_now += ph_turnd_count(a->w->core);
    sum->relay_opened += a->w->relay_opened;
    sum->relay_open_failed += a->w->relay_open_failed;
    sum->icmp_errors += a->w->icmp_errors;
}

void ph_turn_uv_stats(struct ph_turn_uv *t, uint32_t worker, struct ph_turn_uv_stats *out)
{
    *out = (struct ph_turn_uv_stats){0};
    for (uint32_t i = 0; i < t->n; i++)
        if (worker == UINT32_MAX || worker == i)
            ph_worker_call(t->v[i]->w, add_stats, &(struct stats_ask){t->v[i], out});
}

struct list_ask {
    struct ph__turn_worker *w;
    bool (*fn)(void *ctx, unsigned worker, const struct ph_turnd_info *info);
    void *ctx;
    uint32_t id;
    bool more, stop;
};

static void list_some(void *ctx)
{
    enum { AT_A_TIME = 256 }; /* then packets get their turn */
    struct list_ask *a = ctx;
    struct ph_turnd_info info;

    a->more = true;
    for (unsigned i = 0; i < AT_A_TIME && a->more; i++) {
        a->more = ph_turnd_list(a->w->core, &a->id, &info);
        if (a->more && !a->fn(a->ctx, a->w->index, &info)) {
            a->stop = true;
            return;
        }
    }
}

void ph_turn_uv_list(struct ph_turn_uv *t,
                     bool (*fn)(void *ctx, unsigned worker, const struct ph_turnd_info *info),
                     void *ctx)
{
    struct list_ask a = {.fn = fn, .ctx = ctx};

    for (unsigned i = 0; i < t->n && !a.stop; i++) {
        a.w = t->v[i];
        a.id = 0;
        do
            ph_worker_call(a.w->w, list_some, &a);
        while (a.more && !a.stop);
    }
}

struct end_ask {
    struct ph__turn_worker *w;
    uint32_t id;
    bool found;
};

static void end_one(void *ctx)
{
    struct end_ask *a = ctx;
    const ph_ns now = ph_now();

    a->found = ph_turnd_end(a->w->core, a->id, now);
    ph__turn_worker_drain(a->w, now);
    ph__turn_worker_done(a->w);
}

bool ph_turn_uv_end(struct ph_turn_uv *t, uint32_t worker, uint32_t id)
{
    struct end_ask a = {.id = id};

    if (worker >= t->n)
        return false;
    a.w = t->v[worker];
    ph_worker_call(a.w->w, end_one, &a);
    return a.found;
}
