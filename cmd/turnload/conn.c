/* An allocation of a worker: its socket, its TURN client, its packets. */
#include "cmd/turnload/worker_priv.h"
#include "stun/base/bytes.h"
#include "stun/base/error.h"
#include "stun/codec/proto.h"
#include "stun/uv/loop.h"

#include <stdio.h>
#include <sys/epoll.h>

/* Five sends within 7.5 s, given up after 9.5 s: a test need not wait as long as a phone call. */
static const struct ph_txn_conf timing = {.rto = PH_MS(500), .rc = 5, .rm = 4, .ti = PH_MS(9500)};

enum { MAX_PORTS = 5 };

#define CONNECT_AT_MOST PH_SEC(20) /* to a server that is busy with the handshakes of others */

#define PARTNER_FAILED "the other allocation of the pair failed"

static struct ph_load_conn *partner(struct ph_load *l, struct ph_load_conn *c)
{
    return &l->conn[ph_load_conn_index(l, c) ^ 1];
}

void ph_load_conn_close(struct ph_load *l, struct ph_load_conn *c)
{
    const struct ph_turnc_stats *one = c->t ? ph_turnc_stats(c->t) : NULL;
    if (one) {
#define PH_X(name, text) l->s->turn.name += one->name;
        PH_TURNC_COUNTERS(PH_X)
#undef PH_X
    }
    ph_turnc_free(c->t);
    c->t = NULL;
    ph_heap_set(&l->timers, ph_load_conn_index(l, c), PH_NEVER);
    for (unsigned i = 0; i < l->flows_each; i++)
        ph_heap_set(&l->sends, c->flow + i, PH_NEVER);
    ph_load_way_close(l, c);
    if (c->state != PH_LOAD_CONN_OVER)
        l->over++;
    c->state = PH_LOAD_CONN_OVER;
}

static void failed_locally(struct ph_load *l, struct ph_load_conn *c, const char *what, int err);

/* --- failures ----------------------------------------------------------------------------- */

static void failed(struct ph_load *l, struct ph_load_conn *c, const char *what,
                   const struct ph_turnc_ev *ev)
{
    char why[PH_LOAD_STATS_ERROR_LEN];
    if (ev->err == PH_E_REFUSED || ev->code)
        snprintf(why, sizeof why, "%s: %u %.60s", what, ev->code,
                 *ev->reason ? ev->reason : ph_stun_reason(ev->code));
    else
        snprintf(why, sizeof why, "%s: %.60s", what,
                 *ev->reason ? ev->reason : ph_strerror(ev->err));
    ph_load_stats_error(l->s, 1, "%s", why);
    if (l->a->verbose)
        fprintf(stderr, "turnload: allocation %u: %s\n", l->w->first + ph_load_conn_index(l, c),
                why);
    bool settled = c->state == PH_LOAD_CONN_READY || c->state == PH_LOAD_CONN_RELEASING;
    if (settled) {
        l->s->lost++;
        l->s->up--;
    } else {
        l->s->failed++;
        l->settled++;
    }
    ph_load_conn_close(l, c);
    if (l->a->pairs && !settled && partner(l, c)->state == PH_LOAD_CONN_PREPARING)
        failed_locally(l, partner(l, c), PARTNER_FAILED, PH_E_STATE);
}

static void failed_locally(struct ph_load *l, struct ph_load_conn *c, const char *what, int err)
{
    struct ph_turnc_ev ev = {.err = err, .reason = ""};
    failed(l, c, what, &ev);
}

/* --- set-up ------------------------------------------------------------------------------- */

/* The way is there: asks for the allocation. */
static void allocate(struct ph_load *l, struct ph_load_conn *c, ph_ns now)
{
    const struct ph_load_args *a = l->a;
    struct ph_turnc_conf conf = {.server = l->w->run->server,
                                 .sock = ph_load_conn_index(l, c),
                                 .reliable = ph_load_is_stream(a->proto),
                                 .user = ph_str(a->user),
                                 .password = ph_str(a->pass),
                                 .family = a->family,
                                 .txn = timing,
                                 .max_permissions = 4,
                                 .max_channels = 4};
    c->t = ph_turnc_new(&conf, &l->w->run->env);
    if (!c->t) {
        failed_locally(l, c, "make a client", PH_E_NOMEM);
        return;
    }
    ph_turnc_allocate(c->t, now);
    ph_load_conn_drain(l, c, now);
}

static void link_failed(struct ph_load *l, struct ph_load_conn *c, int err)
{
    struct ph_turnc_ev ev = {.err = err, .reason = ph_load_link_why()};
    if (c->state == PH_LOAD_CONN_RELEASING) {
        l->s->release_failed++; /* closed instead of answered */
        ph_load_conn_close(l, c);
        return;
    }
    if (err == PH_E_STATE)
        ev.reason = "closed by the server";
    failed(l, c, c->t ? "connection" : "connect", &ev);
}

/* Goes on connecting.  True: the way is there. */
static bool connect_on(struct ph_load *l, struct ph_load_conn *c, ph_ns now)
{
    int r = ph_load_link_step(&c->link);
    if (r > 0 && c->link.ssl && !l->s->tls[0])
        snprintf(l->s->tls, sizeof l->s->tls, "%s %s", SSL_get_version(c->link.ssl),
                 SSL_get_cipher_name(c->link.ssl));
    if (r > 0)
        return true;
    if (r == 0 && now - c->started_at >= CONNECT_AT_MOST)
        r = PH_E_TIMEOUT;
    if (r < 0) {
        link_failed(l, c, r);
        return false;
    }
    ph_ns wait = ph_load_link_wait(&c->link), end = c->started_at + CONNECT_AT_MOST;
    ph_heap_set(&l->timers, ph_load_conn_index(l, c), wait < end - now ? now + wait : end);
    ph_load_way_watch(l, c);
    return false;
}

void ph_load_conn_start(struct ph_load *l, struct ph_load_conn *c, ph_ns now)
{
    c->state = PH_LOAD_CONN_ALLOCATING;
    c->started_at = now;
    int err = ph_load_way_open(l, c);
    if (err < 0)
        failed_locally(l, c, "open a socket", err);
    else if (!ph_load_by_link(l) || connect_on(l, c, now))
        allocate(l, c, now);
}

/* Asks for what lets the flows through. */
static void prepare(struct ph_load *l, struct ph_load_conn *c, ph_ns now)
{
    c->state = PH_LOAD_CONN_PREPARING;
    for (unsigned i = 0; i < c->n_flows; i++) {
        const struct ph_addr *peer = &l->flow[c->flow + i].peer;
        int err =
            l->a->channels ? ph_turnc_bind(c->t, peer, now) : ph_turnc_permit(c->t, peer, now);
        if (err < 0) {
            failed_locally(l, c,
                           err == PH_E_FAMILY ? "the relay address has not the peer's family"
                                              : "prepare",
                           err);
            return;
        }
    }
}

static void add_flow(struct ph_load *l, struct ph_load_conn *c, struct ph_addr peer)
{
    if (peer.family != PH_AF_NONE)
        l->flow[c->flow + c->n_flows++].peer = peer;
}

static void ready(struct ph_load *l, struct ph_load_conn *c, ph_ns now)
{
    c->state = PH_LOAD_CONN_READY;
    ph_load_hist_add(&l->s->ready, now - c->started_at);
    l->s->up++;
    l->settled++;
}

static void allocated(struct ph_load *l, struct ph_load_conn *c, ph_ns now)
{
    const struct ph_addr *relay = ph_turnc_info(c->t)->relay;
    ph_load_hist_add(&l->s->allocate, now - c->started_at);
    for (unsigned i = 0; i < 2; i++)
        if (relay[i].family)
            ph_load_peer_punch(l, &relay[i]);
    c->state = PH_LOAD_CONN_PREPARING;
    if (l->a->idle) {
        ready(l, c, now);
        return;
    }
    if (!l->a->pairs) {
        for (unsigned i = 0; i < l->flows_each; i++)
            add_flow(l, c, ph_load_peer_of_flow(l, i));
        prepare(l, c, now);
        return;
    }
    struct ph_load_conn *other = partner(l, c);
    if (other->state == PH_LOAD_CONN_OVER)
        failed_locally(l, c, PARTNER_FAILED, PH_E_STATE);
    if (other->state != PH_LOAD_CONN_PREPARING)
        return;
    const struct ph_addr *theirs = ph_turnc_info(other->t)->relay;
    for (unsigned i = 0; i < 2; i++) {
        if (!relay[i].family || !theirs[i].family || c->n_flows == l->flows_each)
            continue;
        add_flow(l, c, theirs[i]);
        add_flow(l, other, relay[i]);
    }
    prepare(l, other, now);
    ph_load_conn_drain(l, other, now);
    prepare(l, c, now);
}

static void flow_ready(struct ph_load *l, struct ph_load_conn *c, ph_ns now)
{
    if (c->state == PH_LOAD_CONN_PREPARING && ++c->n_ready >= c->n_flows)
        ready(l, c, now);
}

/* The server still knows an old allocation of this port: take another one (RFC 8656 7.4). */
static bool take_other_port(struct ph_load *l, struct ph_load_conn *c, const struct ph_turnc_ev *ev,
                            ph_ns now)
{
    if (ev->code != 437 || c->ports++ >= MAX_PORTS)
        return false;
    ph_turnc_free(c->t);
    c->t = NULL;
    ph_load_way_close(l, c);
    ph_load_conn_start(l, c, now);
    return true;
}

/* --- events ------------------------------------------------------------------------------- */

static void handle_event(struct ph_load *l, struct ph_load_conn *c, const struct ph_turnc_ev *ev,
                         ph_ns now)
{
    switch (ev->type) {
    case PH_TURNC_ALLOCATED:
        allocated(l, c, now);
        break;
    case PH_TURNC_FAILED:
    case PH_TURNC_REDIRECT:
        if (!take_other_port(l, c, ev, now))
            failed(l, c, "allocate", ev);
        break;
    case PH_TURNC_LOST:
        failed(l, c, "allocation lost", ev);
        break;
    case PH_TURNC_PERMITTED:
    case PH_TURNC_BOUND:
        flow_ready(l, c, now);
        break;
    case PH_TURNC_PERMIT_FAILED:
        failed(l, c, "permission", ev);
        break;
    case PH_TURNC_BIND_FAILED:
        failed(l, c, "channel bind", ev);
        break;
    case PH_TURNC_RELEASED:
        if (ev->err)
            l->s->release_failed++;
        ph_load_conn_close(l, c);
        break;
    case PH_TURNC_REFRESH_FAILED:
        ph_load_stats_error(l->s, 1, "refresh: %s",
                            ev->code ? ph_stun_reason(ev->code) : ph_strerror(ev->err));
        break;
    case PH_TURNC_REFRESHED:
    case PH_TURNC_ICMP:
        break;
    }
}

void ph_load_conn_drain(struct ph_load *l, struct ph_load_conn *c, ph_ns now)
{
    struct ph_turnc_ev ev;
    struct ph_pkt p;
    bool more = true;
    while (more && c->t) {
        for (;;) {
            ph_batch_scratch(l->batch, &p);
            if (!ph_turnc_output(c->t, &p, now))
                break;
            ph_load_way_put(l, c, &p);
        }
        if ((more = ph_turnc_event(c->t, &ev)))
            handle_event(l, c, &ev, now);
    }
    if (c->t)
        ph_heap_set(&l->timers, ph_load_conn_index(l, c), ph_turnc_deadline(c->t));
}

void ph_load_conn_tick(struct ph_load *l, struct ph_load_conn *c, ph_ns now)
{
    if (!c->t) {
        if (c->state == PH_LOAD_CONN_ALLOCATING && ph_load_by_link(l) && connect_on(l, c, now))
            allocate(l, c, now);
        return;
    }
    ph_turnc_tick(c->t, now);
    ph_load_conn_drain(l, c, now);
}

void ph_load_conn_release(struct ph_load *l, struct ph_load_conn *c, ph_ns now)
{
    if (c->state == PH_LOAD_CONN_OVER)
        return;
    if (!c->t || ph_turnc_release(c->t, now) < 0) {
        ph_load_conn_close(l, c);
        return;
    }
    c->state = PH_LOAD_CONN_RELEASING;
    ph_load_conn_drain(l, c, now);
}

/* --- packets ------------------------------------------------------------------------------ */

void ph_load_conn_send(struct ph_load *l, struct ph_load_conn *c, struct ph_load_flow *f, ph_ns now)
{
    struct ph_pkt p;
    ph_batch_scratch(l->batch, &p);
    p.b.len = l->a->payload;
    ph_load_flow_write(f, l->w->run->id, ph_buf_data(&p.b), p.b.len, now);
    if (ph_turnc_wrap(c->t, &p, &f->peer) != PH_SEND) {
        f->next--;
        ph_load_stats_error(l->s, 1, "send: the allocation is not usable");
        return;
    }
    if (!ph_load_way_put(l, c, &p))
        l->s->unqueued++;
    l->s->sent++;
    l->s->sent_bytes += l->a->payload;
}

static void take_data(struct ph_load *l, const struct ph_pkt *p, ph_ns now)
{
    const uint8_t *data = ph_buf_data(&p->b);
    if (!ph_load_flow_is_ours(l->w->run->id, data, p->b.len)) {
        if (p->b.len != 4 || ph_get32(data) != l->w->run->id) /* see ph_load_peer_punch */
            l->s->strange++;
        return;
    }
    /* Flow ids count from the worker's first one; an echo to the wrong allocation is corruption,
     * too. */
    uint32_t i = ph_load_flow_id(data) - l->flow[0].id;
    if (i < l->n_flows)
        ph_load_flow_read(&l->flow[i], data, p->b.len, l->a->payload, l->s, now);
    else
        l->s->corrupted++;
}

/* Nobody listens there, or there is no way: no need to wait for the time-out. */
static void take_errors(struct ph_load *l, struct ph_load_conn *c)
{
    struct ph_udp_error e;
    int err = 0;
    while (ph_udp_error(&c->sock, &e))
        err = err ? err : e.err;
    if (err && c->state == PH_LOAD_CONN_ALLOCATING)
        failed_locally(l, c, "allocate", -err);
}

/* A connection of any kind has something to read, or can be written. */
static void link_ready(struct ph_load *l, struct ph_load_conn *c)
{
    struct ph_pkt p;
    ph_ns now = ph_now();
    bool consumed = false;
    int more;
    if (!c->t) {
        if (connect_on(l, c, now))
            allocate(l, c, now);
        return;
    }
    do {
        more = ph_load_link_read(&c->link);
        now = ph_now();
        while (more > 0 && ph_load_link_next(&c->link, &p)) {
            int verdict = ph_turnc_input(c->t, &p, now);
            if (verdict == PH_DATA)
                take_data(l, &p, now);
            consumed |= verdict == PH_CONSUMED;
        }
    } while (more > 1);
    if (consumed)
        ph_load_conn_drain(l, c, now);
    if (more < 0 && c->state != PH_LOAD_CONN_OVER)
        link_failed(l, c, more);
    if (c->state != PH_LOAD_CONN_OVER && c->link.want_out)
        ph_load_link_flush(&c->link);
    ph_load_way_watch(l, c);
}

void ph_load_conn_readable(struct ph_load *l, struct ph_load_conn *c, uint32_t events)
{
    struct ph_pkt p;
    int n;
    if (c->state == PH_LOAD_CONN_OVER)
        return;
    if (ph_load_by_link(l)) {
        link_ready(l, c);
        return;
    }
    if (events & EPOLLERR)
        take_errors(l, c);
    bool consumed = false;
    ph_ns now = ph_now();
    while (c->t && (n = ph_batch_recv(l->batch, &c->sock, PH_BATCH_VLEN)) > 0) {
        now = ph_now();
        while (ph_batch_next(l->batch, &p)) {
            int verdict = ph_turnc_input(c->t, &p, now);
            if (verdict == PH_DATA)
                take_data(l, &p, now);
            consumed |= verdict == PH_CONSUMED;
        }
        if (n < PH_BATCH_VLEN)
            break;
    }
    if (consumed)
        ph_load_conn_drain(l, c, now);
}
