/*
 * The public face of the TURN shell: starting and stopping.
 */
#include "turn/uv/server.h"

#include "stun/base/error.h"
#include "stun/codec/integrity.h"
#include "stun/uv/env.h"
#include "turn/uv/priv.h"

#include <stdlib.h>
#include <string.h>

/* --- life ------------------------------------------------------------------------------------------ */

enum {
    WORKERS_MAX = 256, /* tickets and connection ids have a byte for them */
    STRAYS = 65536,    /* restored allocations that may wait for their clients, at most ... */
    WAYS = 3           /* ... each found by its client's address and two tickets */
};

static bool is_complete(const struct ph_turn_uv_conf *c)
{
    if (!c->core.n_listeners || c->core.n_listeners > PH_TURND_LISTENERS ||
        c->n_quads > PH_TURN_UV_QUADS || (!c->workers && !c->loop) || c->workers > WORKERS_MAX ||
        (c->userdb && !c->on_lookup) || (c->core.pool_ports && c->workers > 1))
        return false;
    for (unsigned q = 0; q < c->n_quads; q++)
        for (unsigned k = 0; k < PH_STUND_SOCKETS; k++)
            if (c->quad[q].listener[k] >= c->core.n_listeners ||
                c->core.listener[c->quad[q].listener[k]].at.proto != PH_UDP)
                return false;
    return true;
}

/* What outlives the process, or has. */
static int prepare_state(struct ph_turn_uv *t)
{
    const struct ph_turn_uv_conf *c = &t->c;
    const struct ph_turnd_keys *keys = c->inherit ? &c->inherit->keys : NULL;
    const uint64_t most =
        (uint64_t)c->workers * (c->core.max_allocations ? c->core.max_allocations : STRAYS);

    t->held = c->hold || c->inherit;
    t->inherited_keys = keys && keys->n_tickets;
    if (t->inherited_keys) {
        t->keys = *keys;
    } else {
        memcpy(t->keys.nonce, c->core.nonce.key, sizeof t->keys.nonce);
        memcpy(t->keys.old_nonce, c->core.nonce.old_key, sizeof t->keys.old_nonce);
        t->keys.has_old_nonce = c->core.nonce.has_old_key;
        memcpy(t->keys.ticket[0], c->core.ticket_key, sizeof t->keys.ticket[0]);
        t->keys.n_tickets = 1;
    }
    if (c->workers > 1 && (c->store || c->inherit) && !c->core.strays) {
        t->strays = ph_strays_new(WAYS * (most < STRAYS ? (uint32_t)most : STRAYS), &t->env);
        if (!t->strays)
            return PH_E_NOMEM;
    }
    return c->inherit ? ph__inherit_init(&t->inherit, c->inherit) : 0;
}

/* On the worker's thread. */
static void hear(void *ctx)
{
    ph__turn_listeners_hear(ctx);
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
    ph__sessions_init(&t->sessions);
    err = prepare_state(t);
    while (t->n < n && !err)
        err = ph__turn_worker_add(t);
    if (err) {
        if (failed)
            *failed = t->failed;
        ph__inherit_fini(&t->inherit, false);
        ph_turn_uv_free(t);
        return err;
    }
    atomic_store(&t->complete, true);
    for (unsigned i = 0; i < t->n; i++)
        ph_worker_call(t->v[i]->w, hear, t->v[i]);
    if (c->inherit) {
        ph__restore_inherited(t, c->inherit);
        ph__inherit_fini(&t->inherit, true);
        t->c.inherit = NULL;
    }
    if (t->held && !c->hold)
        ph_turn_uv_go(t);
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
    ph_strays_free(t->strays);
    ph__sessions_fini(&t->sessions);
    ph_wipe(&t->keys, sizeof t->keys);
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
