/*
 * One worker of the TURN server: packets between its sockets and its core.
 *
 * The path of a packet: epoll says which sockets have something; recvmmsg fills slots; the core rewrites each
 * packet where it lies; the batch sends them when all that was ready has been taken.  Relay sockets are read
 * once per readiness, and for as many datagrams as they lately had.
 */
#include "turn/uv/priv.h"

#include "stun/base/error.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

enum {
    BUFFER = 4 << 20, /* bytes of a listener's buffers, unless configured */
    ICMP_MAX = 16     /* errors taken from a socket at a time */
};

/* --- packets --------------------------------------------------------------------------------------- */

/* Sends a packet on the socket the core named. */
static void send_packet(struct ph__turn_worker *w, struct ph_pkt *p)
{
    if (p->sock & PH_SOCK_RELAY) {
        struct ph_udp *s = ph_relays_find(&w->relays, p->sock);
        if (s)
            ph_batch_send(w->batch, s, p);
    } else {
        ph_batch_send(w->batch, &w->listener[p->sock], p);
    }
}

/* Hands a packet to the core; one that needs more room than its neighbours leave is moved. */
static int input(struct ph__turn_worker *w, struct ph_pkt *p, ph_ns now)
{
    int verdict = ph_turnd_input(w->core, p, now);

    if (verdict == PH_E_NOSPACE && ph_batch_own(w->batch, p))
        verdict = ph_turnd_input(w->core, p, now);
    return verdict;
}

static void from_clients(struct ph__turn_worker *w, uint32_t id, ph_ns now)
{
    enum { STUN_BELOW = 4 }; /* first bytes of STUN messages (RFC 7983) */
    const struct ph_addr *at = &w->owner->at[id];
    struct ph_pkt p;

    ph_batch_recv(w->batch, &w->listener[id], PH_BATCH_VLEN);
    for (p.dst = *at; ph_batch_next(w->batch, &p);) {
        const bool stun = p.b.len > 0 && *ph_buf_data(&p.b) < STUN_BELOW;
        if (stun) { /* only answers care by which address it came */
            if (!(w->listener[id].flags & PH_UDP_PKTINFO))
                p.dst = *at;
            p.dst.port = at->port;
        }
        p.sock = id;
        const int verdict = input(w, &p, now);
        if (verdict == PH_SEND)
            send_packet(w, &p);
        else if (verdict == PH_CONSUMED) /* an allocation waits for its relay; the rest can wait */
            ph__turn_worker_drain(w, now);
    }
}

static void from_peers(struct ph__turn_worker *w, const struct ph_udp *s, uint32_t sock, ph_ns now)
{
    const unsigned vlen = w->vlen;
    const int k = ph_batch_recv(w->batch, s, vlen);
    struct ph_pkt p;

    if (k == (int)vlen && vlen < PH_BATCH_VLEN)
        w->vlen++;
    else if (k < (int)vlen - 1)
        w->vlen--;
    while (ph_batch_next(w->batch, &p)) {
        p.sock = sock;
        if (input(w, &p, now) != PH_SEND)
            continue;
        if (!(p.sock & PH_SOCK_RELAY) && w->listener[p.sock].flags & PH_UDP_PKTINFO)
            p.src.family = PH_AF_NONE; /* it is the peer's; the route will tell ours */
        send_packet(w, &p);
    }
}

/* ICMP errors for packets that went to peers. */
static void errors_of(struct ph__turn_worker *w, const struct ph_udp *s, uint32_t sock, ph_ns now)
{
    struct ph_udp_error e;
    struct ph_pkt p;

    for (int i = 0; i < ICMP_MAX && ph_udp_error(s, &e); i++) {
        w->icmp_errors++;
        ph_batch_scratch(w->batch, &p);
        if (!w->owner->c.no_icmp &&
            ph_turnd_icmp(w->core, sock, &e.peer, e.type, e.code, e.mtu, &p, now) == PH_SEND)
            send_packet(w, &p);
    }
}

/* --- what the core asks for ------------------------------------------------------------------------ */

static int open_relay(struct ph__turn_worker *w, uint32_t sock, const struct ph_addr *at)
{
    const struct ph_turn_uv_conf *c = &w->owner->c;
    const struct ph_udp_opts o = {.rcvbuf = c->relay_rcvbuf,
                                  .sndbuf = c->relay_sndbuf,
                                  .device = c->relay_device,
                                  .gro = !c->no_gro,
                                  .recverr = !c->no_icmp};
    struct ph_udp *s = ph_relays_make(&w->relays, sock);
    int err = s ? ph_udp_open(s, at, &o) : -ENOMEM;

    if (!err) {
        err = ph_worker_watch(w->w, s->fd, sock);
        if (err)
            ph_udp_close(s);
    }
    *(err ? &w->relay_open_failed : &w->relay_opened) += 1;
    return err;
}

static void on_event(struct ph__turn_worker *w, const struct ph_turnd_ev *ev, ph_ns now)
{
    const struct ph_turn_uv_conf *c = &w->owner->c;
    struct ph_udp *s;

    switch (ev->type) {
    case PH_TURND_RELAY_OPEN:
        ph_turnd_relay_opened(w->core, ev->sock, open_relay(w, ev->sock, &ev->at), now);
        break;
    case PH_TURND_RELAY_CLOSE:
        ph_batch_flush(w->batch);
        s = ph_relays_find(&w->relays, ev->sock);
        if (s)
            ph_udp_close(s);
        break;
    case PH_TURND_ALLOC_UP:
    case PH_TURND_ALLOC_DOWN:
        if (c->on_event)
            c->on_event(c->ctx, w->index, ev);
        break;
    }
}

void ph__turn_worker_drain(struct ph__turn_worker *w, ph_ns now)
{
    struct ph_turnd_ev ev;
    struct ph_pkt p;
    bool more;

    do {
        for (;;) {
            ph_batch_scratch(w->batch, &p);
            if (!ph_turnd_output(w->core, &p, now))
                break;
            send_packet(w, &p);
        }
        for (more = false; ph_turnd_event(w->core, &ev); more = true)
            on_event(w, &ev, now);
    } while (more);
}

/* --- the loop -------------------------------------------------------------------------------------- */

/* Nonces and credentials need the time of day, to a second; idle workers are not woken for it. */
static void tell_wall_clock(struct ph__turn_worker *w, ph_ns now)
{
    struct timespec t;

    if (now - w->wall_at < PH_MS(500))
        return;
    w->wall_at = now;
    clock_gettime(CLOCK_REALTIME, &t);
    ph_turnd_wall_clock(w->core, (int64_t)t.tv_sec, now);
}

void ph__turn_worker_done(struct ph__turn_worker *w)
{
    ph_batch_flush(w->batch);
    ph_alarm_set(&w->alarm, ph_turnd_deadline(w->core));
}

static void on_ready(struct ph_mux *m, const struct epoll_event *ev, unsigned n)
{
    struct ph__turn_worker *w = m->ctx;
    const ph_ns now = ph_now();

    tell_wall_clock(w, now);
    for (unsigned i = 0; i < n; i++) {
        const uint32_t sock = ev[i].data.u32;
        if (!(sock & PH_SOCK_RELAY)) {
            from_clients(w, sock, now);
            continue;
        }
        const struct ph_udp *s = ph_relays_find(&w->relays, sock);
        if (!s) /* closed since */
            continue;
        if (ev[i].events & EPOLLERR)
            errors_of(w, s, sock, now);
        from_peers(w, s, sock, now);
    }
    ph__turn_worker_drain(w, now);
    ph__turn_worker_done(w);
}

static void on_alarm(struct ph_alarm *a)
{
    struct ph__turn_worker *w = a->ctx;
    const ph_ns now = ph_now();

    tell_wall_clock(w, now);
    ph_turnd_tick(w->core, now);
    ph__turn_worker_drain(w, now);
    ph__turn_worker_done(w);
}

/* --- life ------------------------------------------------------------------------------------------ */

static int open_listener(struct ph__turn_worker *w, unsigned i)
{
    struct ph_turn_uv *t = w->owner;
    const struct ph_turn_uv_conf *c = &t->c;
    const struct ph_addr *at = t->at[i].family ? &t->at[i] : &c->core.listener[i].at;
    const struct ph_udp_opts o = {.rcvbuf = c->rcvbuf ? c->rcvbuf : BUFFER,
                                  .sndbuf = c->sndbuf ? c->sndbuf : BUFFER,
                                  .device = c->device,
                                  .reuseport = c->workers > 1,
                                  .pktinfo = true,
                                  .gro = !c->no_gro};
    struct ph_udp u;
    int err = at->proto == PH_UDP ? ph_udp_open(&u, at, &o) : PH_E_UNSUPPORTED;

    if (!err) {
        if (!t->at[i].family) /* the first worker settles it; later it is being read */
            err = ph_udp_local(&u, &t->at[i]);
        if (!err)
            err = ph_worker_watch(w->w, u.fd, i);
        if (err)
            ph_udp_close(&u);
    }
    if (err) {
        t->failed = *at;
        return err;
    }
    w->listener[i] = u;
    return 0;
}

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

    core.budget = w->budget;
    for (unsigned i = 0; i < core.n_listeners; i++)
        core.listener[i] = (struct ph_turnd_listener){.at = t->at[i]};
    int err = t->c.stun ? make_stun(w, &core) : 0;
    if (err)
        return err;
    w->core = ph_turnd_new(&core, &t->env, now);
    if (!w->core)
        return PH_E_NOMEM;
    w->wall_at = now - PH_SEC(1);
    tell_wall_clock(w, now);
    return 0;
}

static void stop(struct ph_worker *pw, void *ctx)
{
    struct ph__turn_worker *w = ctx;

    (void)pw;
    ph_alarm_close(&w->alarm);
    ph_relays_fini(&w->relays);
    for (unsigned i = 0; i < PH_TURND_LISTENERS; i++)
        ph_udp_close(&w->listener[i]);
    ph_turnd_free(w->core); /* not later: what its configuration points to may go after us */
    w->core = NULL;
}

static int start(struct ph_worker *pw, void *ctx)
{
    struct ph__turn_worker *w = ctx;
    struct ph_turn_uv *t = w->owner;

    w->w = pw;
    w->batch = ph_batch_new(NULL);
    w->budget = ph_budget_new(&t->c.budget, &t->env);
    if (!w->batch || !w->budget)
        return PH_E_NOMEM;
    int err = 0;
    ph_alarm_init(&w->alarm, ph_worker_loop(pw), on_alarm, w);
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
    const struct ph_worker_conf c = {.loop = t->c.workers ? NULL : t->c.loop,
                                     .start = start,
                                     .ready = on_ready,
                                     .stop = stop,
                                     .gone = gone,
                                     .ctx = w};
    int err = ph_worker_new(&pw, &c);
    if (!err)
        t->v[t->n++] = w;
    return err;
}
