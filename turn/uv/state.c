/*
 * The public face of the TURN shell: what the workers are told of state that outlives the process.  The rest of that is in
 * restore.c and leave.c.
 */
#include "turn/uv/server.h"

#include "stun/base/error.h"
#include "turn/uv/priv.h"

#include <stdlib.h>

/* --- hold and claim -------------------------------------------------------------------------------- */

static void go(void *ctx)
{
    struct ph__turn_worker *w = ctx;
    const ph_ns now = ph_now();

    ph__turn_listeners_go(w);
    ph__turn_worker_done(w, now);
}

void ph_turn_uv_go(struct ph_turn_uv *t)
{
    for (unsigned i = 0; i < t->n && t->held; i++)
        ph_worker_call(t->v[i]->w, go, t->v[i]);
    t->held = false;
}

struct claim {
    struct ph__turn_worker *w;
    const char *token;
};

static void claimed(void *ctx)
{
    const struct claim *a = ctx;

    ph__save_claimed(a->w, a->token);
}

void ph_turn_uv_claimed(struct ph_turn_uv *t, const char *token)
{
    for (unsigned i = 0; i < t->n; i++)
        ph_worker_call(t->v[i]->w, claimed, &(struct claim){t->v[i], token});
}

struct store_keys {
    struct ph__turn_worker *w;
    const struct ph_fleet_keys *keys;
};

static void set_store_keys(void *ctx)
{
    const struct store_keys *a = ctx;

    ph__save_keys(a->w, a->keys);
}

void ph_turn_uv_set_store_keys(struct ph_turn_uv *t, const struct ph_fleet_keys *keys)
{
    for (unsigned i = 0; i < t->n; i++)
        ph_worker_call(t->v[i]->w, set_store_keys, &(struct store_keys){t->v[i], keys});
}

/* --- flush ----------------------------------------------------------------------------------------- */

struct flush {
    struct ph__turn_worker *w;
    uint32_t timeout_ms;
    uv_sem_t over;
    atomic_bool is_over;
    int err;
};

static void flushed(void *ctx, int err)
{
    struct flush *f = ctx;

    f->err = err;
    atomic_store(&f->is_over, true);
    uv_sem_post(&f->over);
}

static void flush(void *ctx)
{
    struct flush *f = ctx;

    if (f->w->save.claimed)
        ph_store_flush(f->w->save.store, f->timeout_ms, flushed, f);
    else
        flushed(f, 0);
}

/* Begins on a worker.  False: no memory. */
static bool flush_begin(struct flush *f, struct ph__turn_worker *w, uint32_t timeout_ms)
{
    f->w = w;
    f->timeout_ms = timeout_ms;
    if (uv_sem_init(&f->over, 0))
        return false;
    ph_worker_call(w->w, flush, f);
    return true;
}

static int flush_end(struct flush *f, const struct ph_turn_uv *t)
{
    while (!t->c.workers && !atomic_load(&f->is_over)) {
        uv_run(t->c.loop, UV_RUN_NOWAIT); /* "once" may wait for something else after it is over */
        uv_sleep(1);
    }
    uv_sem_wait(&f->over);
    uv_sem_destroy(&f->over);
    return f->err;
}

int ph_turn_uv_flush(struct ph_turn_uv *t, uint32_t timeout_ms)
{
    struct flush *f = t->c.store ? calloc(t->n, sizeof *f) : NULL;
    unsigned begun = 0;

    if (!f)
        return t->c.store ? PH_E_TIMEOUT : 0;
    while (begun < t->n && flush_begin(&f[begun], t->v[begun], timeout_ms))
        begun++;
    int err = begun < t->n ? PH_E_TIMEOUT : 0;
    for (unsigned i = 0; i < begun; i++) {
        const int one = flush_end(&f[i], t);
        err = one ? one : err;
    }
    free(f);
    return err;
}

/* --- ends, keys ------------------------------------------------------------------------------------ */

struct disown_ask {
    struct ph__turn_worker *w;
    const uint64_t *session;
    unsigned n, ended;
};

static void disown(void *ctx)
{
    struct disown_ask *a = ctx;
    const ph_ns now = ph_now();

    a->ended += ph_turnd_disown(a->w->core, a->session, a->n, now);
    ph__turn_worker_drain(a->w, now);
    ph__turn_worker_done(a->w, now);
}

unsigned ph_turn_uv_disown(struct ph_turn_uv *t, const uint64_t *session, unsigned n)
{
    struct disown_ask a = {.session = session, .n = n};

    for (unsigned i = 0; i < t->n; i++) {
        a.w = t->v[i];
        ph_worker_call(a.w->w, disown, &a);
    }
    return a.ended;
}

struct end_all_ask {
    struct ph__turn_worker *w;
    uint32_t id;
    unsigned ended;
    bool more;
};

static void end_some(void *ctx)
{
    enum { AT_A_TIME = 256 };
    struct end_all_ask *a = ctx;
    const ph_ns now = ph_now();
    struct ph_turnd_info info;

    a->more = true;
    for (unsigned i = 0; i < AT_A_TIME && a->more; i++) {
        a->more = ph_turnd_list(a->w->core, &a->id, &info);
        a->ended += a->more && ph_turnd_end(a->w->core, info.id, now);
    }
    ph__turn_worker_drain(a->w, now);
    ph__turn_worker_done(a->w, now);
}

unsigned ph_turn_uv_end_all(struct ph_turn_uv *t)
{
    struct end_all_ask a = {0};

    for (unsigned i = 0; i < t->n; i++) {
        a.w = t->v[i];
        a.id = 0;
        do
            ph_worker_call(a.w->w, end_some, &a);
        while (a.more);
    }
    return a.ended;
}

struct keys_ask {
    struct ph__turn_worker *w;
    const struct ph_turnd_keys *keys;
};

static void set_keys(void *ctx)
{
    const struct keys_ask *a = ctx;

    ph_turnd_set_keys(a->w->core, a->keys);
}

void ph_turn_uv_set_keys(struct ph_turn_uv *t, const struct ph_turnd_keys *k)
{
    t->keys = *k;
    for (unsigned i = 0; i < t->n; i++)
        ph_worker_call(t->v[i]->w, set_keys, &(struct keys_ask){t->v[i], k});
}
