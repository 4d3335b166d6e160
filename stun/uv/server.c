/*
 * Sockets and workers around ph_stund; see server.h.
 *
 * A socket's number is server * PH_STUND_SOCKETS + which.  The first worker settles the ports (they may have been
 * given as 0), the others follow it.
 */
#include "stun/uv/server.h"
#include "stun/base/error.h"
#include "stun/uv/env.h"
#include "stun/uv/worker.h"

#include <stdlib.h>
#include <string.h>

enum {
    SOCKETS = PH_STUN_UV_SERVERS * PH_STUND_SOCKETS,
    BUFFER = 4 << 20 /* bytes of a socket's buffers, unless configured */
};

struct worker {
    struct ph_stun_uv *owner;
    struct ph_worker *w;
    struct ph_batch *batch;
    struct ph_budget *budget;
    struct ph_udp sock[SOCKETS];
    struct ph_stund core[PH_STUN_UV_SERVERS];
};

struct ph_stun_uv {
    struct ph_stun_uv_conf c;
    struct ph_env env;
    struct ph_addr at[SOCKETS]; /* bound; PH_AF_NONE: no such socket */
    struct ph_addr failed;
    unsigned n; /* workers running */
    struct worker *v[];
};

/* --- packets --------------------------------------------------------------------------------------- */

static void serve(struct worker *w, uint32_t id, ph_ns now)
{
    const struct ph_addr *at = &w->owner->at[id];
    struct ph_stund *core = &w->core[id / PH_STUND_SOCKETS];
    struct ph_pkt p;

    ph_batch_recv(w->batch, &w->sock[id], PH_BATCH_VLEN);
    for (p.dst = *at; ph_batch_next(w->batch, &p); p.dst = *at) {
        p.dst.port = at->port;
        p.sock = id;
        if (ph_batch_own(w->batch, &p) && ph_stund_input(core, &p, now) == PH_SEND)
            ph_batch_send(w->batch, &w->sock[p.sock], &p);
    }
}

static void on_ready(struct ph_mux *m, const struct epoll_event *ev, unsigned n)
{
    struct worker *w = m->ctx;
    const ph_ns now = ph_now();

    for (unsigned i = 0; i < n; i++)
        serve(w, ev[i].data.u32, now);
    ph_batch_flush(w->batch);
}

/* --- life of a worker ------------------------------------------------------------------------------ */

/* Opens and watches a socket. */
static int open_socket(struct worker *w, struct ph_worker *pw, uint32_t id,
                       const struct ph_addr *at)
{
    struct ph_stun_uv *s = w->owner;
    const struct ph_udp_opts o = {.rcvbuf = s->c.rcvbuf ? s->c.rcvbuf : BUFFER,
                                  .sndbuf = s->c.sndbuf ? s->c.sndbuf : BUFFER,
                                  .device = s->c.device,
                                  .reuseport = s->c.workers > 1,
                                  .pktinfo = true,
                                  .gro = true};
    struct ph_udp u;
    int err = ph_udp_open(&u, at, &o);

    if (!err) {
        if (!s->at[id].family) /* the first worker settles it; later it is being read */
            err = ph_udp_local(&u, &s->at[id]);
        if (!err)
            err = ph_worker_watch(pw, u.fd, id);
        if (err)
            ph_udp_close(&u);
    }
    if (err) {
        s->failed = *at;
        return err;
    }
    w->sock[id] = u;
    return 0;
}

/* Opens the sockets of one server and makes its core. */
static int open_server(struct worker *w, struct ph_worker *pw, unsigned n)
{
    struct ph_stun_uv *s = w->owner;
    const struct ph_stun_uv_one *one = &s->c.server[n];
    struct ph_stund_conf stund = one->stund;

    stund.budget = w->budget;
    for (unsigned i = 0; i < PH_STUND_SOCKETS; i++) {
        const uint32_t id = n * PH_STUND_SOCKETS + i;
        const struct ph_addr *at = s->at[id].family      ? &s->at[id]
                                   : one->bind[i].family ? &one->bind[i]
                                                         : &one->stund.at[i];
        stund.sock[i] = id;
        int err = at->family ? open_socket(w, pw, id, at) : 0;
        if (err)
            return err;
        if (one->bind[i].family == PH_AF_NONE)
            stund.at[i] = s->at[id];
    }
    return ph_stund_init(&w->core[n], &stund);
}

static void stop(struct ph_worker *pw, void *ctx)
{
    struct worker *w = ctx;

    (void)pw;
    for (unsigned i = 0; i < SOCKETS; i++)
        ph_udp_close(&w->sock[i]);
}

static int start(struct ph_worker *pw, void *ctx)
{
    struct worker *w = ctx;
    const struct ph_stun_uv *s = w->owner;

    w->batch = ph_batch_new(NULL);
    w->budget = ph_budget_new(&s->c.budget, &s->env);
    int err = w->batch && w->budget ? 0 : PH_E_NOMEM;
    for (unsigned i = 0; i < s->c.n_servers && !err; i++)
        err = open_server(w, pw, i);
    if (err)
        stop(pw, w);
    return err;
}

static void gone(void *ctx)
{
    struct worker *w = ctx;

    ph_batch_free(w->batch);
    ph_budget_free(w->budget);
    free(w);
}

static int add_worker(struct ph_stun_uv *s)
{
    struct worker *w = calloc(1, sizeof *w);

    if (!w)
        return PH_E_NOMEM;
    w->owner = s;
    for (unsigned i = 0; i < SOCKETS; i++)
        w->sock[i].fd = -1;
    struct ph_worker_conf c = {.loop = s->c.workers ? NULL : s->c.loop,
                               .start = start,
                               .ready = on_ready,
                               .stop = stop,
                               .gone = gone,
                               .ctx = w};
    struct ph_worker *pw;
    int err = ph_worker_new(&pw, &c);
    if (!err) {
        w->w = pw;
        s->v[s->n++] = w;
    }
    return err;
}

/* --- life of the server ---------------------------------------------------------------------------- */

int ph_stun_uv_new(struct ph_stun_uv **out, const struct ph_stun_uv_conf *c, struct ph_addr *failed)
{
    const unsigned n = c->workers ? c->workers : 1;
    int err = 0;

    if (!c->n_servers || c->n_servers > PH_STUN_UV_SERVERS || (!c->workers && !c->loop))
        return PH_E_ARG;
    struct ph_stun_uv *s = calloc(1, sizeof *s + n * sizeof(struct worker *));
    if (!s)
        return PH_E_NOMEM;
    s->c = *c;
    s->env = c->env ? *c->env : ph_env_system(NULL);
    while (s->n < n && !err)
        err = add_worker(s);
    if (err) {
        if (failed)
            *failed = s->failed;
        ph_stun_uv_free(s);
        return err;
    }
    *out = s;
    return 0;
}

void ph_stun_uv_free(struct ph_stun_uv *s)
{
    if (!s)
        return;
    for (unsigned i = 0; i < s->n; i++)
        ph_worker_free(s->v[i]->w);
    free(s);
}

int ph_stun_uv_local(const struct ph_stun_uv *s, unsigned n, unsigned which, struct ph_addr *at)
{
    if (n >= PH_STUN_UV_SERVERS || which >= PH_STUND_SOCKETS ||
        s->at[n * PH_STUND_SOCKETS + which].family == PH_AF_NONE)
        return PH_E_ARG;
    *at = s->at[n * PH_STUND_SOCKETS + which];
    return 0;
}

/* --- counters -------------------------------------------------------------------------------------- */

struct ask {
    struct worker *w;
    struct ph_stun_uv_stats *out;
};

/* On the worker's thread, while the asking one waits. */
static void add_stats(void *ctx)
{
    const struct ask *a = ctx;

    ph_batch_stats_add(&a->out->io, ph_batch_stats(a->w->batch));
    for (unsigned i = 0; i < a->w->owner->c.n_servers; i++)
        ph_stund_stats_add(&a->out->stun, &a->w->core[i].stats);
}

void ph_stun_uv_stats(struct ph_stun_uv *s, struct ph_stun_uv_stats *out)
{
    *out = (struct ph_stun_uv_stats){0};
    for (unsigned i = 0; i < s->n; i++)
        ph_worker_call(s->v[i]->w, add_stats, &(struct ask){s->v[i], out});
}
