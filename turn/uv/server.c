/*
 * The public face of the TURN shell: starting and stopping.
 */
#include "turn/uv/server.h"

#include "stun/base/error.h"
#include "stun/uv/env.h"
#include "turn/uv/priv.h"

#include <stdlib.h>

/* --- life ------------------------------------------------------------------------------------------ */

enum { WORKERS_MAX = 256 /* tickets and connection ids have a byte for them */ };

static bool is_complete(const struct ph_turn_uv_conf *c)
{
    if (!c->core.n_listeners || c->core.n_listeners > PH_TURND_LISTENERS ||
        c->n_quads > PH_TURN_UV_QUADS || (!c->workers && !c->loop) || c->workers > WORKERS_MAX ||
        (c->userdb && !c->on_lookup))
        return false;
    for (unsigned q = 0; q < c->n_quads; q++)
        for (unsigned k = 0; k < PH_STUND_SOCKETS; k++)
            if (c->quad[q].listener[k] >= c->core.n_listeners ||
                c->core.listener[c->quad[q].listener[k]].at.proto != PH_UDP)
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
    if (c->userdb) {
        t->userdb = *c->userdb;
        t->c.userdb = &t->userdb;
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
    atomic_store(&t->complete, true);
    *out = t;
    return 0;
}

/* On the worker's thread. */
static void leave_alone(void *ctx)
{
    struct ph__turn_worker *w = ctx;

    w->alone = true;
}

void ph_turn_uv_free(struct ph_turn_uv *t)
{
    if (!t)
        return;
    for (unsigned i = 0; i < t->n;
         i++) /* from then on no worker speaks to another, so they may go */
        ph_worker_call(t->v[i]->w, leave_alone, t->v[i]);
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
