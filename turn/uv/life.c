/*
 * The life of a worker: what it opens at the start and closes at the end.
 */
#include "turn/uv/priv.h"

#include "stun/base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* --- listeners ------------------------------------------------------------------------------------- */

uint8_t ph__turn_accept(const struct ph_turn_uv_conf *c, unsigned i)
{
    const uint8_t accept = c->accept[i];

    if (accept & (PH_ACCEPT_PLAIN | PH_ACCEPT_TLS))
        return accept;
    return accept | (c->core.listener[i].at.proto == PH_TLS ? PH_ACCEPT_TLS : PH_ACCEPT_PLAIN);
}

/* Which worker's socket a client's packets come to changes with every one that is opened.  What came before the last of them is
 * there would be on the wrong worker, and move its allocation there for good, so it is dropped, as it was a moment before. */
static int deafen(struct ph__turn_worker *w, unsigned i)
{
    enum { WAITING = 4096 }; /* packets that may have come before the filter */
    struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
    const struct sock_fprog filter = {.len = 1, .filter = &nothing};
    const int fd = w->listener[i].fd;
    char byte;

    if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) != 0)
        return -errno;
    w->deaf[i] = true;
    for (unsigned n = 0; n < WAITING && recv(fd, &byte, 1, MSG_DONTWAIT | MSG_TRUNC) >= 0; n++)
        ;
    return 0;
}

void ph__turn_listeners_hear(struct ph__turn_worker *w)
{
    const int none = 0;

    for (unsigned i = 0; i < w->owner->c.core.n_listeners; i++)
        if (w->deaf[i] && w->listener[i].fd >= 0)
            setsockopt(w->listener[i].fd, SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof none);
    memset(w->deaf, 0, sizeof w->deaf);
}

static int open_udp(struct ph__turn_worker *w, unsigned i, const struct ph_addr *at,
                    struct ph_addr *bound)
{
    const struct ph_turn_uv_conf *c = &w->owner->c;
    struct ph_turn_uv_socket *before = ph__inherit_find(&w->owner->inherit, at, false, w->index);
    const struct ph_udp_opts o = {.rcvbuf = c->rcvbuf ? c->rcvbuf : PH__BUFFER,
                                  .sndbuf = c->sndbuf ? c->sndbuf : PH__BUFFER,
                                  .device = c->device,
                                  .reuseport = c->workers > 1,
                                  .pktinfo = true,
                                  .gro = !c->no_gro,
                                  .free_bind = c->free_bind};
    struct ph_udp *u = &w->listener[i];

    w->inherited[i] = before && ph_udp_adopt(u, before->fd, &o) == 0;
    if (w->inherited[i])
        before->fd = -1;
    int err = w->inherited[i] ? 0 : ph_udp_open(u, at, &o);
    if (!err && !w->inherited[i] && c->workers > 1)
        err = deafen(w, i);
    if (!err)
        err = ph_udp_local(u, bound);
    if (!err)
        err = ph_worker_watch(w->w, u->fd, i);
    if (!err && w->owner->held)
        err = ph_worker_watch_for(w->w, u->fd, i, 0);
    return err;
}

static int open_stream(struct ph__turn_worker *w, unsigned i, const struct ph_addr *at,
                       struct ph_addr *bound)
{
    const struct ph_turn_uv_conf *c = &w->owner->c;
    struct ph_turn_uv_socket *before = ph__inherit_find(&w->owner->inherit, at, false, w->index);
    struct ph_stream_listener l = {.at = *at,
                                   .sock = i,
                                   .plain = w->accept[i] & PH_ACCEPT_PLAIN,
                                   .tls = w->accept[i] & PH_ACCEPT_TLS,
                                   .proxy = w->accept[i] & PH_ACCEPT_PROXY,
                                   .reuseport = c->workers > 1,
                                   .device = c->device,
                                   .inherited = before,
                                   .fd = before ? before->fd : -1};

    w->inherited[i] = before && ph_streams_listen(w->streams, &l, bound) == 0;
    if (w->inherited[i]) {
        before->fd = -1;
        return 0;
    }
    l.inherited = false;
    return ph_streams_listen(w->streams, &l, bound);
}

int ph__turn_listener_give(struct ph__turn_worker *w, unsigned i)
{
    int fd;

    if (w->owner->c.core.listener[i].at.proto == PH_UDP) {
        fd = w->listener[i].fd;
        w->listener[i].fd = -1;
        if (fd >= 0)
            ph_worker_unwatch(w->w, fd);
    } else {
        fd = w->streams ? ph_streams_unlisten(w->streams, i) : -1;
    }
    if (fd >= 0)
        fcntl(fd, F_SETFD, 0);
    return fd;
}

void ph__turn_listeners_go(struct ph__turn_worker *w)
{
    for (unsigned i = 0; i < w->owner->c.core.n_listeners; i++)
        if (w->listener[i].fd >= 0)
            ph_worker_watch_for(w->w, w->listener[i].fd, i, EPOLLIN);
    ph__turn_pool_go(w);
    if (w->streams)
        ph_streams_hold(w->streams, false);
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
    core.save = core.save || w->save.store;
    core.strays = core.strays ? core.strays : t->strays;
    for (unsigned i = 0; i < core.n_listeners; i++)
        core.listener[i] = (struct ph_turnd_listener){.at = t->at[i]};
    int err = t->c.stun ? make_stun(w, &core) : 0;
    if (err)
        return err;
    w->core = ph_turnd_new(&core, &t->env, now);
    if (!w->core)
        return PH_E_NOMEM;
    if (t->inherited_keys)
        ph_turnd_set_keys(w->core, &t->keys);
    w->wall_at = now - PH_SEC(1);
    ph__turn_worker_clock(w, now);
    return 0;
}

/* --- start and stop -------------------------------------------------------------------------------- */

static void stop(struct ph_worker *pw, void *ctx)
{
    struct ph__turn_worker *w = ctx;

    (void)pw;
    ph__here_end(w);
    ph_alarm_close(&w->alarm);
    if (!atomic_load(&w->owner->complete)) /* it does not start: back to whom they are from */
        for (unsigned i = 0; i < PH_TURND_LISTENERS; i++)
            if (w->inherited[i])
                ph__turn_listener_give(w, i);
    ph__save_fini(w);
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
        err = ph__save_init(w);
    if (!err)
        err = ph__clients_init(w);
    if (!err && t->held && w->streams)
        ph_streams_hold(w->streams, true);
    for (unsigned i = 0; i < t->c.core.n_listeners && !err; i++)
        err = open_listener(w, i);
    if (!err)
        err = make_core(w);
    if (!err)
        err = ph__turn_pool_open(w);
    if (!err)
        ph__here_begin(w);
    else
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
