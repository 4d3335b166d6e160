/*
 * One worker of the TURN server: packets between its sockets and its core.
 *
 * The path of a packet: epoll says which sockets have something; recvmmsg fills slots; the core rewrites each
 * packet where it lies; the batch sends them when all that was ready has been taken.  Relay sockets are read
 * once per readiness, and for as many datagrams as they lately had.  Clients on connections are in clients.c.
 */
#include "turn/uv/priv.h"

#include "stun/base/error.h"

#include <errno.h>
#include <time.h>

enum {
    ICMP_MAX = 16,    /* errors taken from a socket at a time */
    FLUSH_ROUNDS = 4, /* of streams, at the end of a stretch of work */
    DTLS_FROM = 20,   /* first bytes of DTLS records (RFC 7983); those of STUN messages are below */
    DTLS_BELOW = 64   /* and those of ChannelData not */
};

/* --- packets --------------------------------------------------------------------------------------- */

void ph__turn_send(struct ph__turn_worker *w, struct ph_pkt *p)
{
    if (p->sock & PH_SOCK_RELAY) {
        struct ph_udp *s = ph_relays_find(&w->relays, p->sock);
        if (s)
            ph_batch_send(w->batch, s, p);
    } else if (!p->conn) {
        ph_batch_send(w->batch, &w->listener[p->sock], p);
    } else {
        ph__client_send(w, p);
    }
}

int ph__turn_input(struct ph__turn_worker *w, struct ph_pkt *p, ph_ns now)
{
    int verdict = ph_turnd_input(w->core, p, now);

    if (verdict == PH_E_NOSPACE && ph_batch_own(w->batch, p))
        verdict = ph_turnd_input(w->core, p, now);
    return verdict;
}

int ph__turn_input_final(struct ph__turn_worker *w, struct ph_pkt *p, ph_ns now)
{
    int verdict = ph_turnd_input_final(w->core, p, now);

    if (verdict == PH_E_NOSPACE && ph_batch_own(w->batch, p))
        verdict = ph_turnd_input_final(w->core, p, now);
    return verdict;
}

void ph__turn_act(struct ph__turn_worker *w, struct ph_pkt *p, int verdict, ph_ns now)
{
    switch (verdict) {
    case PH_SEND:
        ph__turn_send(w, p);
        break;
    case PH_CONSUMED: /* an allocation waits for its relay; the rest can wait */
        ph__turn_worker_drain(w, now);
        break;
    case PH_LATER:
        ph__park_lookup(w, p, now);
        break;
    case PH_ELSEWHERE:
        ph__move(w, p, now);
        break;
    default: /* dropped */
        break;
    }
}

/* What is neither ChannelData nor data, but STUN or DTLS: where it came to matters for the answer. */
static void from_client(struct ph__turn_worker *w, struct ph_pkt *p, ph_ns now)
{
    const struct ph_addr *at = &w->owner->at[p->sock];
    const uint8_t accept = w->accept[p->sock];

    if (!(w->listener[p->sock].flags & PH_UDP_PKTINFO))
        p->dst = *at;
    p->dst.port = at->port;
    if (accept & PH_ACCEPT_TLS && *ph_buf_data(&p->b) >= DTLS_FROM) {
        ph__client_dtls(w, p, now);
    } else if (accept & PH_ACCEPT_PLAIN) {
        ph__turn_act(w, p, ph__turn_input(w, p, now), now);
        ph__client_keep(w, ph_turnd_left(w->core), false);
    } else {
        w->not_dtls++;
    }
}

static void channel_data(struct ph__turn_worker *w, struct ph_pkt *p, ph_ns now)
{
    const int verdict = ph__turn_input(w, p, now);

    if (verdict == PH_SEND)
        ph__turn_send(w, p);
    else if (verdict == PH_ELSEWHERE) /* its allocation was restored on another worker */
        ph__move(w, p, now);
}

static void from_clients(struct ph__turn_worker *w, uint32_t id, ph_ns now)
{
    struct ph_pkt p;

    ph_batch_recv(w->batch, &w->listener[id], PH_BATCH_VLEN);
    for (p.dst = w->owner->at[id]; ph_batch_next(w->batch, &p);) {
        p.sock = id;
        p.conn = 0;
        if (p.b.len > 0 && *ph_buf_data(&p.b) < DTLS_BELOW)
            from_client(w, &p, now);
        else
            channel_data(w, &p, now);
    }
}

static void from_peers(struct ph__turn_worker *w, const struct ph_udp *s, uint32_t sock, ph_ns now)
{
    const unsigned vlen = w->vlen;
    const int k = ph_batch_recv(w->batch, s, vlen);
    struct ph_pkt p;

    if (k == (int)vlen && vlen < PH_BATCH_VLEN)
        w->vlen++;
    else if (k < (int)vlen - 1 && vlen > 1) /* k is negative after an error */
        w->vlen--;
    while (ph_batch_next(w->batch, &p)) {
        p.sock = sock;
        p.conn = 0;
        if (ph__turn_input(w, &p, now) != PH_SEND)
            continue;
        if (!(p.sock & PH_SOCK_RELAY) && w->listener[p.sock].flags & PH_UDP_PKTINFO)
            p.src.family = PH_AF_NONE; /* it is the peer's; the route will tell ours */
        ph__turn_send(w, &p);
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
            ph__turn_send(w, &p);
    }
}

/* --- what the core asks for ------------------------------------------------------------------------ */

int ph__turn_relay_watch(struct ph__turn_worker *w, uint32_t sock, const struct ph_udp *u)
{
    struct ph_udp *s = ph_relays_make(&w->relays, sock);
    int err = s ? ph_worker_watch(w->w, u->fd, sock) : -ENOMEM;

    if (!err)
        *s = *u;
    return err;
}

/* The socket that the process before had there, or a fresh one. */
static int relay_socket(const struct ph__turn_worker *w, const struct ph_addr *at,
                        const struct ph_udp_opts *o, struct ph_udp *u)
{
    struct ph_turn_uv_socket *before = ph__inherit_find(&w->owner->inherit, at, true, 0);

    if (!before || ph_udp_adopt(u, before->fd, o))
        return ph_udp_open(u, at, o);
    before->fd = -1;
    return 0;
}

int ph__turn_relay_open(struct ph__turn_worker *w, uint32_t sock, const struct ph_addr *at)
{
    const struct ph_turn_uv_conf *c = &w->owner->c;
    const uint32_t usual = sock & PH_SOCK_POOL ? PH__BUFFER : 0; /* many relays' traffic */
    const struct ph_udp_opts o = {.rcvbuf = c->relay_rcvbuf ? c->relay_rcvbuf : usual,
                                  .sndbuf = c->relay_sndbuf ? c->relay_sndbuf : usual,
                                  .device = c->relay_device,
                                  .gro = !c->no_gro,
                                  .recverr = !c->no_icmp,
                                  .free_bind = c->free_bind};
    struct ph_udp u;
    int err;

    if (at->proto == PH_TCP) {
        err = ph__tcprelay_open(w, sock, at);
    } else {
        err = relay_socket(w, at, &o, &u);
        if (!err) {
            err = ph__turn_relay_watch(w, sock, &u);
            if (err)
                ph_udp_close(&u);
        }
    }
    *(err ? &w->relay_open_failed : &w->relay_opened) += 1;
    if (err)
        w->relay_error = err;
    return err;
}

static void close_relay(struct ph__turn_worker *w, uint32_t sock)
{
    struct ph_udp *s = ph_relays_find(&w->relays, sock);

    if (!s) {
        ph__tcprelay_close(w, sock);
        return;
    }
    ph_batch_flush(w->batch);
    ph_udp_close(s);
}

static void on_event(struct ph__turn_worker *w, const struct ph_turnd_ev *ev, ph_ns now)
{
    const struct ph_turn_uv_conf *c = &w->owner->c;

    switch (ev->type) {
    case PH_TURND_RELAY_OPEN:
        ph_turnd_relay_opened(w->core, ev->sock, ph__turn_relay_open(w, ev->sock, &ev->at), now);
        break;
    case PH_TURND_RELAY_CLOSE:
        close_relay(w, ev->sock);
        break;
    case PH_TURND_ALLOC_UP:
    case PH_TURND_ALLOC_DOWN:
        ph__client_keep(w, ev->info.conn, ev->type == PH_TURND_ALLOC_UP);
        if (w->save.store)
            ph__save_event(w, ev);
        if (c->on_event)
            c->on_event(c->ctx, w->index, ev);
        break;
    case PH_TURND_ALLOC_REFRESHED:
    case PH_TURND_ALLOC_TRAFFIC:
        if (c->on_event)
            c->on_event(c->ctx, w->index, ev);
        break;
    case PH_TURND_PEER_CONNECT:
        ph__tcprelay_connect(w, ev, now);
        break;
    case PH_TURND_PEER_SPLICE:
        ph__tcprelay_splice(w, ev->peer, ev->conn, now);
        break;
    case PH_TURND_PEER_CLOSE:
        ph__tcprelay_end(w, ev->peer);
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
            ph__turn_send(w, &p);
        }
        for (more = false; ph_turnd_event(w->core, &ev); more = true)
            on_event(w, &ev, now);
    } while (more);
}

/* --- the loop -------------------------------------------------------------------------------------- */

/* Nonces and credentials need the time of day, to a second; idle workers are not woken for it. */
void ph__turn_worker_clock(struct ph__turn_worker *w, ph_ns now)
{
    struct timespec t;

    if (now - w->wall_at < PH_MS(500))
        return;
    w->wall_at = now;
    clock_gettime(CLOCK_REALTIME, &t);
    ph_turnd_wall_clock(w->core, (int64_t)t.tv_sec, now);
}

/* Passes on the look-ups that packets wait for. */
static void look_up(struct ph__turn_worker *w, ph_ns now)
{
    const struct ph_turn_uv_conf *c = &w->owner->c;
    struct ph_userdb_ask ask;

    while (w->userdb && ph_userdb_ask(w->userdb, &ask, now))
        c->on_lookup(c->ctx, w->index, &ask);
}

/* Writing to streams may tell of ends and of readers that have caught up, which gives more to write. */
static bool flush_streams(struct ph__turn_worker *w, ph_ns now)
{
    for (unsigned i = 0; i < FLUSH_ROUNDS; i++) {
        w->called = false;
        ph_streams_flush(w->streams, now);
        if (!w->called)
            return true;
        ph__turn_worker_drain(w, now);
        ph_batch_flush(w->batch);
    }
    return false;
}

static ph_ns deadline(const struct ph__turn_worker *w)
{
    ph_ns at = ph_min_ns(ph_turnd_deadline(w->core), w->park.due);

    if (w->streams)
        at = ph_min_ns(at, ph_min_ns(ph_streams_deadline(w->streams), w->tcp.retry_at));
    if (w->dtls)
        at = ph_min_ns(at, ph_dtls_deadline(w->dtls));
    return w->userdb ? ph_min_ns(at, ph_userdb_deadline(w->userdb)) : at;
}

void ph__turn_worker_done(struct ph__turn_worker *w, ph_ns now)
{
    ph_batch_flush(w->batch);
    const bool all = !w->streams || flush_streams(w, now);
    look_up(w, now);
    if (w->save.store)
        ph__save_done(w);
    ph_alarm_set(&w->alarm, all ? deadline(w) : now);
}

void ph__turn_worker_ready(struct ph_mux *m, const struct epoll_event *ev, unsigned n)
{
    struct ph__turn_worker *w = m->ctx;
    const ph_ns now = ph_now();

    if (w->leaving) /* it is for the next process to take */
        return;
    ph__turn_worker_clock(w, now);
    for (unsigned i = 0; i < n; i++) {
        const uint32_t sock = ev[i].data.u32;
        if (!(sock & PH_SOCK_RELAY)) {
            if (sock < PH_TURND_LISTENERS)
                from_clients(w, sock, now);
            else
                ph_streams_ready(w->streams, sock, ev[i].events, now);
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
    ph__turn_worker_done(w, now);
}

void ph__turn_worker_alarm(struct ph_alarm *a)
{
    struct ph__turn_worker *w = a->ctx;
    const ph_ns now = ph_now();

    if (w->leaving)
        return;
    ph__turn_worker_clock(w, now);
    ph_turnd_tick(w->core, now);
    if (w->userdb && ph_userdb_tick(w->userdb, now))
        ph__park_try_all(w, now);
    ph__park_tick(w, now);
    if (w->streams) {
        ph_streams_tick(w->streams, now);
        ph__tcprelay_tick(w, now);
    }
    if (w->dtls)
        ph_dtls_tick(w->dtls, now);
    ph__turn_worker_drain(w, now);
    ph__turn_worker_done(w, now);
}
