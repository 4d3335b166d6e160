/*
 * What goes from worker to worker: allocations that follow their clients (RFC 8016), and connections that belong to an
 * allocation elsewhere (RFC 6062 ConnectionBind).
 *
 *     here                                    there
 *     packet waits; "have you got it?"  --->  takes it out of its core, with its sockets
 *     puts it in, hands the packet in   <---  here it is, or: no
 *
 *     takes the connection away         --->  puts it in, and its message is read again
 *
 * Only posts, never calls: two workers that wait for each other would wait for ever.  When the server ends, all workers
 * stop sending errands before the first of them goes; what is still in a queue is run by its worker at its end.  When
 * another process goes on (leave.c), errands under way are let come to their end.
 */
#include "turn/uv/priv.h"

#include <stdlib.h>

/* One way and back. */
struct errand {
    struct ph_turn_uv *t;
    uint8_t from, to;
    uint32_t parked;              /* the packet that waits */
    struct ph_turnd_where where;  /* the allocation, as its ticket or the table of strays says */
    struct ph_turnd_moved *m;     /* NULL: there was none */
    struct ph_udp relay[2];       /* its sockets; fd -1: none */
    struct ph_addr tcp[2];        /* or where it listens; PH_AF_NONE: nowhere */
    struct ph_stream_moved *conn; /* or the connection */
};

static bool send_errand(struct ph__turn_worker *w, uint8_t to, void (*fn)(void *ctx),
                        struct errand *e)
{
    return !w->alone && ph_worker_post(w->owner->v[to]->w, fn, e) == 0;
}

/* --- allocations ----------------------------------------------------------------------------------- */

static void close_sockets(struct errand *e)
{
    for (unsigned i = 0; i < 2; i++)
        ph_udp_close(&e->relay[i]);
}

/* Takes the relay sockets of an allocation out of our tables. */
static void take_sockets(struct ph__turn_worker *w, struct errand *e, const uint32_t sock[static 2])
{
    for (unsigned i = 0; i < 2; i++) {
        struct ph_udp *s = sock[i] ? ph_relays_find(&w->relays, sock[i]) : NULL;
        if (s) {
            ph_worker_unwatch(w->w, s->fd);
            e->relay[i] = *s;
            s->fd = -1;
        } else if (sock[i] && ph__tcprelay_local(w, sock[i], &e->tcp[i])) {
            ph__tcprelay_close(w, sock[i]); /* nobody is connected: it listens again over there */
        }
    }
}

/* The connection that an allocation has here, 0: none. */
static uint32_t conn_of(const struct ph__turn_worker *w, uint32_t slot)
{
    struct ph_turnd_info info;
    uint32_t id = slot;

    return ph_turnd_list(w->core, &id, &info) && info.id == slot ? info.conn : 0;
}

/* Puts an allocation that has come into our core.  False: it is still the errand's, or it is lost (m is NULL). */
static bool put_in(struct ph__turn_worker *w, struct errand *e, ph_ns now)
{
    uint32_t sock[2] = {0, 0};
    bool whole = true;

    if (!e->m || ph_turnd_attach(w->core, e->m, sock, now))
        return false;
    e->m = NULL;
    for (unsigned i = 0; i < 2; i++) {
        if (e->relay[i].fd >= 0 && ph__turn_relay_watch(w, sock[i], &e->relay[i])) {
            ph_udp_close(&e->relay[i]);
            whole = false;
        }
        e->relay[i].fd = -1; /* ours now */
        if (e->tcp[i].family && ph__tcprelay_open(w, sock[i], &e->tcp[i]))
            whole = false;
    }
    if (!whole)
        ph_turnd_end(w->core, ((sock[0] ? sock[0] : sock[1]) & ~PH_SOCK_RELAY) >> 1, now);
    return whole;
}

/* Nobody wants it. */
static void discard(struct ph__turn_worker *w, struct errand *e)
{
    if (e->m)
        ph_turnd_moved_free(w->core, e->m);
    close_sockets(e);
    free(e);
}

/* The other worker has no room for it: here there was. */
static void take_back(void *ctx)
{
    struct errand *e = ctx;
    struct ph__turn_worker *w = e->t->v[e->to];
    const ph_ns now = ph_now();

    if (put_in(w, e, now)) {
        w->moved_out--;
        free(e);
    } else {
        discard(w, e);
    }
    ph__turn_worker_drain(w, now);
    ph__turn_worker_done(w, now);
}

static void arrive(void *ctx)
{
    struct errand *e = ctx;
    struct ph__turn_worker *w = e->t->v[e->from];
    const ph_ns now = ph_now();
    const uint32_t parked = e->parked;
    const bool here = put_in(w, e, now);

    w->moved_in += here;
    if (!e->m)
        free(e);
    else if (!send_errand(w, e->to, take_back, e))
        discard(w, e);
    ph__park_fetched(w, parked, !here, now);
    ph__turn_worker_drain(w, now);
    ph__turn_worker_done(w, now);
}

static void give(void *ctx)
{
    struct errand *e = ctx;
    struct ph__turn_worker *w = e->t->v[e->to];
    const ph_ns now = ph_now();
    uint32_t sock[2] = {0, 0};

    if (w->alone) { /* the one who asks is, too */
        free(e);
        return;
    }
    /* Every stretch of work ends with nothing in the queues: no packet points at the sockets, no event waits. */
    const uint32_t conn = conn_of(w, e->where.slot);
    e->m = ph_turnd_detach(w->core, &e->where, sock, now);
    if (e->m) {
        take_sockets(w, e, sock);
        ph__client_keep(w, conn, false);
        w->moved_out++;
    }
    if (!send_errand(w, e->from, arrive, e))
        discard(w, e);
    ph__turn_worker_drain(w, now);
    ph__turn_worker_done(w, now);
}

/* Asks for the allocation of a packet, which waits.  False when that cannot be asked. */
static bool fetch(struct ph__turn_worker *w, const struct ph_pkt *p, const struct errand *what,
                  ph_ns now)
{
    struct errand *e = malloc(sizeof *e);

    if (!e)
        return false;
    *e = *what;
    e->relay[0].fd = e->relay[1].fd = -1;
    e->parked = ph__park_fetch(w, p, now);
    if (!e->parked) {
        free(e);
        return true;
    }
    const uint32_t parked = e->parked;
    if (!send_errand(w, e->to, give, e)) {
        free(e);
        ph__park_fetched(w, parked, true, now);
    }
    return true;
}

/* --- connections ----------------------------------------------------------------------------------- */

static void welcome(void *ctx)
{
    struct errand *e = ctx;
    struct ph__turn_worker *w = e->t->v[e->to];
    const ph_ns now = ph_now();

    if (ph_streams_attach(w->streams, e->conn, now))
        w->moved_in++;
    free(e);
    ph__turn_worker_done(w, now);
}

/* Gives the connection away that a packet came by.  False when it stays. */
static bool give_away(struct ph__turn_worker *w, const struct ph_pkt *p, const struct errand *what)
{
    struct errand *e;

    if (!p->conn || p->conn & PH_DTLS_CONN || !(e = malloc(sizeof *e)))
        return false;
    *e = *what;
    e->conn = ph_streams_detach(w->streams, p->conn, ph_buf_data(&p->b), p->b.len);
    if (!e->conn) {
        free(e);
        return false;
    }
    ph__park_forget(w, p->conn);
    w->moved_out++;
    if (!send_errand(w, e->to, welcome, e)) {
        ph_stream_moved_free(e->conn);
        free(e);
    }
    return true;
}

/* --- both ------------------------------------------------------------------------------------------ */

void ph__move(struct ph__turn_worker *w, struct ph_pkt *p, ph_ns now)
{
    struct errand e = {.t = w->owner, .from = (uint8_t)w->index};

    e.to = ph_turnd_elsewhere(w->core, &e.where);
    /* While the server starts or ends there is nobody to ask. */
    const bool known = !w->alone && !w->leaving && atomic_load(&w->owner->complete) &&
                       e.to < w->owner->n && e.to != w->index;
    if (known && (e.where.fetch ? fetch(w, p, &e, now) : give_away(w, p, &e)))
        return;
    if (p->conn)
        ph__client_input(w, p, true, now);
    else
        ph__turn_act(w, p, ph__turn_input_final(w, p, now), now);
}
