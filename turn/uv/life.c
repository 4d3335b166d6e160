/*
 * The life of a worker: what it opens at the start and closes at the end.
 */
#include "turn/uv/priv.h"

#include "stun/base/error.h"

#include <stdlib.h>

enum { BUFFER = 4 << 20 /* bytes of a listener's buffers, unless configured */ };

/* --- listeners ------------------------------------------------------------------------------------- */

uint8_t ph__turn_accept(const struct ph_turn_uv_conf *c, unsigned i)
{
    const uint8_t accept = c->accept[i];

    if (accept & (PH_ACCEPT_PLAIN | PH_ACCEPT_TLS))
        return accept;
    return accept | (c->core.listener[i].at.proto == PH_TLS ? PH_ACCEPT_TLS : PH_ACCEPT_PLAIN);
}

static int open_udp(struct ph__turn_worker *w, unsigned i, const struct ph_addr *at,
                    struct ph_addr *bound)
{
    const struct ph_turn_uv_conf *c = &w->owner->c;
    const struct ph_udp_opts o = {.rcvbuf = c->rcvbuf ? c->rcvbuf : BUFFER,
                                  .sndbuf = c->sndbuf ? c->sndbuf : BUFFER,
                                  .device = c->device,
                                  .reuseport = c->workers > 1,
                                  .pktinfo = true,
                                  .gro = !c->no_gro};
    struct ph_udp u;
    int err = ph_udp_open(&u, at, &o);

    if (err)
        return err;
    err = ph_udp_local(&u, bound);
    if (!err)
        err = ph_worker_watch(w->w, u.fd, i);
    if (err)
        ph_udp_close(&u);
    else
        w->listener[i] = u;
    return err;
}

static int open_stream(struct ph__turn_worker *w, unsigned i, const struct ph_addr *at,
                       struct ph_addr *bound)
{
    const struct ph_turn_uv_conf *c = &w->owner->c;
    const struct ph_stream_listener l = {.at = *at,
                                         .sock = i,
                                         .plain = w->accept[i] & PH_ACCEPT_PLAIN,
                                         .tls = w->accept[i] & PH_ACCEPT_TLS,
                                         .proxy = w->accept[i] & PH_ACCEPT_PROXY,
                                         .reuseport = c->workers > 1,
                                         .device = c->device};

    return ph_streams_listen(w->streams, &l, bound);
}

static int open_listener(struct ph__turn_worker *w, unsigned i)
{
    struct ph_turn_uv *t = w->owner;
    const uint8_t proto = t->c.core.listener[i].at.proto;
    const struct ph_addr *at = t->at[i].family ? &t->at[i] : &t->c.core.listener[i].at;
    struct ph_addr bound;
    int err;

    w->accept[i] = ph__turn_accept(&t->c, i);
    if ((proto != PH_UDP && proto != PH_TCP && proto != PH_TLS) ||
        (w->accept[i] & PH_ACCEPT_TLS && !t->c.tls))
        err = PH_E_UNSUPPORTED;
    else if (proto == PH_UDP)
        err = open_udp(w, i, at, &bound);
    else
        err = open_stream(w, i, at, &bound);
    if (err) {
        t->failed = *at;
    } else if (!t->at[i].family) { /* the first worker settles it; later it is being read */
        t->at[i] = bound;
        t->at[i].proto = proto;
    }
    return err;
}

/* --- the core -------------------------------------------------------------------------------------- */

/* The address of a listener as clients see it. */
static struct ph_addr seen(const struct ph_turn_uv *t, unsigned i)
{
    return t->c.external[i].family ? t->c.external[i] : t->at[i];
}

/* Makes the Binding servers: one for each quad of RFC 5780, one for each listener that is in none. */
static int make_stun(struct ph__turn_worker *w, struct ph_turnd_conf *core)
{
    const struct ph_turn_uv *t = w->owner;
    struct ph_stund_conf s = t->stun;
    int err = 0;

    s.budget = w->budget;
    for (unsigned q = 0; q < t->c.n_quads && !err; q++) {
        struct ph_stund *stund = &w->stun[t->c.quad[q].listener[0]];
        s.rfc5780 = true;
        for (unsigned k = 0; k < PH_STUND_SOCKETS; k++) {
            const unsigned i = t->c.quad[q].listener[k];
            s.sock[k] = i;
            s.at[k] = seen(t, i);
            core->listener[i].stun = stund;
        }
        err = ph_stund_init(stund, &s);
    }
    s.rfc5780 = false;
    for (unsigned i = 0; i < core->n_listeners && !err; i++) {
        if (core->listener[i].stun)
            continue;
        /* Whoever has a connection is who it says it is: nothing to amplify. */
        s.budget = t->at[i].proto == PH_UDP ? w->budget : NULL;
        s.sock[0] = i;
        s.at[0] = seen(t, i);
        core->listener[i].stun = &w->stun[i];
        err = ph_stund_init(&w->stun[i], &s);
    }
    return err;
}

static int make_core(struct ph__turn_worker *w)
{
    struct ph_turn_uv *t = w->owner;
    struct ph_turnd_conf core = t->c.core;
    const ph_ns now = ph_now();

    core.worker = (uint8_t)w->index;
    core.budget = w->budget;
    core.userdb = w->userdb;
    for (unsigned i = 0; i < core.n_listeners; i++)
        core.listener[i] = (struct ph_turnd_listener){.at = t->at[i]};
    int err = t->c.stun ? make_stun(w, &core) : 0;
    if (err)
        return err;
    w->core = ph_turnd_new(&core, &t->env, now);
    if (!w->core)
        return PH_E_NOMEM;
    w->wall_at = now - PH_SEC(1);
    ph__turn_worker_clock(w, now);
    return 0;
}

/* --- start and stop -------------------------------------------------------------------------------- */

static void stop(struct ph_worker *pw, void *ctx)
{
    struct ph__turn_worker *w = ctx;

    (void)pw;
    ph_alarm_close(&w->alarm);
    ph__clients_fini(w);
    ph__tcprelay_fini(&w->tcp);
    ph_relays_fini(&w->relays);
    for (unsigned i = 0; i < PH_TURND_LISTENERS; i++)
        ph_udp_close(&w->listener[i]);
    ph__park_fini(&w->park);
    ph_turnd_free(w->core); /* not later: what its configuration points to may go after us */
    w->core = NULL;
    ph_userdb_free(w->userdb);
    w->userdb = NULL;
}

static int start(struct ph_worker *pw, void *ctx)
{
    struct ph__turn_worker *w = ctx;
    struct ph_turn_uv *t = w->owner;

    w->w = pw;
    w->batch = ph_batch_new(NULL);
    w->budget = ph_budget_new(&t->c.budget, &t->env);
    if (t->c.userdb)
        w->userdb = ph_userdb_new(&t->userdb, &t->env);
    int err = w->batch && w->budget && (w->userdb || !t->c.userdb) ? 0 : PH_E_NOMEM;
    ph_alarm_init(&w->alarm, ph_worker_loop(pw), ph__turn_worker_alarm, w);
    if (!err)
        err = ph__clients_init(w);
    for (unsigned i = 0; i < t->c.core.n_listeners && !err; i++)
        err = open_listener(w, i);
    if (!err)
        err = make_core(w);
    if (err)
        stop(pw, w);
    return err;
}

static void gone(void *ctx)
{
    struct ph__turn_worker *w = ctx;

    ph_budget_free(w->budget);
    ph_batch_free(w->batch);
    free(w);
}

int ph__turn_worker_add(struct ph_turn_uv *t)
{
    struct ph__turn_worker *w = calloc(1, sizeof *w);
    struct ph_worker *pw;

    if (!w)
        return PH_E_NOMEM;
    w->owner = t;
    w->index = t->n;
    w->vlen = 1;
    for (unsigned i = 0; i < PH_TURND_LISTENERS; i++)
        w->listener[i].fd = -1;
    ph_relays_init(&w->relays);
    ph__tcprelay_init(&w->tcp);
    ph__park_init(&w->park);
    const struct ph_worker_conf c = {.loop = t->c.workers ? NULL : t->c.loop,
                                     .start = start,
                                     .ready = ph__turn_worker_ready,
                                     .stop = stop,
                                     .gone = gone,
                                     .ctx = w};
    int err = ph_worker_new(&pw, &c);
    if (!err)
        t->v[t->n++] = w;
    return err;
}
