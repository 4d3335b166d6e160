/* The loop of a worker: what is due, what came in, and the phases of a run. */
#include "cmd/turnload/worker_priv.h"
#include "stun/base/error.h"
#include "stun/uv/loop.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define POLL_AT_MOST    PH_MS(10)  /* how soon a stop is noticed */
#define DRAIN_AT_MOST   PH_SEC(2)  /* how long late packets are waited for */
#define RELEASE_AT_MOST PH_SEC(3)  /* how long releases are */
#define BEHIND          PH_MS(200) /* packets later than this are given up */

enum { EVENTS = 128, BURST = 64 };

/* --- phases ------------------------------------------------------------------------------- */

static void enter(struct ph_load *l, enum ph_load_phase phase, ph_ns now)
{
    l->phase = phase;
    l->phase_at = now;
    atomic_store(&l->w->progress.sending, phase == PH_LOAD_SENDING);
}

static void start_sending(struct ph_load *l, ph_ns now)
{
    enter(l, PH_LOAD_SENDING, now);
    for (uint32_t i = 0; i < l->n_flows; i++) {
        struct ph_load_flow *f = &l->flow[i];
        if (ph_load_conn_of(l, f)->state != PH_LOAD_CONN_READY || f->peer.family == PH_AF_NONE)
            continue; /* and idle ones have no peer */
        /* Spread over the interval, so that flows do not send in step. */
        uint32_t ppm = ph_env_below(&l->w->run->env, 1000000);
        f->next_at = now + (ph_ns)((double)l->interval * l->a->burst * ppm / 1e6);
        ph_heap_set(&l->sends, i, f->next_at);
    }
}

static void stop_sending(struct ph_load *l, ph_ns now)
{
    l->s->run = now - l->phase_at;
    for (uint32_t i = 0; i < l->n_flows; i++)
        ph_heap_set(&l->sends, i, PH_NEVER);
    enter(l, PH_LOAD_DRAINING, now);
}

static void start_releasing(struct ph_load *l, ph_ns now)
{
    enter(l, PH_LOAD_RELEASING, now);
    for (uint32_t i = 0; i < l->n; i++)
        ph_load_conn_release(l, &l->conn[i], now);
}

static void step(struct ph_load *l, ph_ns now)
{
    struct ph_load_run *run = l->w->run;
    bool stop = atomic_load(&run->stop);
    switch (l->phase) {
    case PH_LOAD_SETTING_UP:
        if (l->settled < l->n && !stop)
            break;
        atomic_fetch_sub(&run->setting_up, 1);
        enter(l, PH_LOAD_WAITING, now);
        break;
    case PH_LOAD_WAITING:
        if (stop)
            start_releasing(l, now);
        else if (atomic_load(&run->setting_up) == 0)
            start_sending(l, now);
        break;
    case PH_LOAD_SENDING:
        if (stop || now - l->phase_at >= (ph_ns)(l->a->duration_s * 1e9) || l->s->up == 0)
            stop_sending(l, now);
        break;
    case PH_LOAD_DRAINING:
        if (l->s->received == l->s->sent || now - l->phase_at >= DRAIN_AT_MOST)
            start_releasing(l, now);
        break;
    case PH_LOAD_RELEASING:
        if (l->over == l->n || now - l->phase_at >= RELEASE_AT_MOST)
            enter(l, PH_LOAD_DONE, now);
        break;
    case PH_LOAD_DONE:
        break;
    }
}

/* --- what is due -------------------------------------------------------------------------- */

static ph_ns start_more(struct ph_load *l, ph_ns now)
{
    double rate = (double)l->a->setup_rate / l->a->threads;
    while (l->phase == PH_LOAD_SETTING_UP && l->started < l->n) {
        ph_ns at = l->setup_at + (ph_ns)(l->started / rate * 1e9);
        if (at > now)
            return at;
        ph_load_conn_start(l, &l->conn[l->started++], now);
    }
    return PH_NEVER;
}

static void tick(struct ph_load *l, ph_ns now)
{
    for (uint32_t i; (i = ph_heap_pop_due(&l->timers, now)) != UINT32_MAX;)
        ph_load_conn_tick(l, &l->conn[i], now);
}

static void send_flow(struct ph_load *l, uint32_t i, ph_ns now)
{
    struct ph_load_flow *f = &l->flow[i];
    if (now - f->next_at > BEHIND) {
        uint64_t missed = (uint64_t)((now - f->next_at) / l->interval);
        l->s->behind += missed;
        f->next_at += (ph_ns)missed * l->interval;
    }
    for (unsigned n = 0; n < BURST && f->next_at <= now; n += l->a->burst) {
        for (unsigned k = 0; k < l->a->burst; k++)
            ph_load_conn_send(l, ph_load_conn_of(l, f), f, now);
        f->next_at += l->interval * l->a->burst;
    }
    ph_heap_set(&l->sends, i, f->next_at);
}

/* At most so many flows that receiving is not held up for long. */
static void send_due(struct ph_load *l, ph_ns now)
{
    uint32_t i;
    for (unsigned n = 0; n < 256 && (i = ph_heap_pop_due(&l->sends, now)) != UINT32_MAX; n++)
        send_flow(l, i, now);
}

/* --- what comes in ------------------------------------------------------------------------ */

static void receive(struct ph_load *l, ph_ns wait)
{
    struct epoll_event ev[EVENTS];
    struct timespec ts = {.tv_sec = 0, .tv_nsec = wait > 0 && !l->a->spin ? (long)wait : 0};
    int n = epoll_pwait2(l->epoll_fd, ev, EVENTS, &ts, NULL);
    for (int i = 0; i < n; i++) {
        uint32_t id = ev[i].data.u32;
        if (id & PH_LOAD_PEER_SOCK)
            ph_load_peer_readable(l, &l->peer[id & 1]);
        else
            ph_load_conn_readable(l, &l->conn[id], ev[i].events);
    }
    ph_load_ways_flush(l);
}

static void publish(struct ph_load *l)
{
    struct ph_load_progress *p = &l->w->progress;
    atomic_store_explicit(&p->up, l->s->up, memory_order_relaxed);
    atomic_store_explicit(&p->failed, l->s->failed + l->s->lost, memory_order_relaxed);
    atomic_store_explicit(&p->sent, l->s->sent, memory_order_relaxed);
    atomic_store_explicit(&p->received, l->s->received, memory_order_relaxed);
    /* On its way each packet comes out of the server twice: at the peer and at the client. */
    bool own = !l->a->pairs && !l->a->peer.family;
    atomic_store_explicit(&p->relayed, l->s->received + (own ? l->s->echoed : l->s->received),
                          memory_order_relaxed);
}

static void loop(struct ph_load *l)
{
    for (;;) {
        ph_ns now = ph_now();
        ph_ns next = start_more(l, now);
        tick(l, now);
        step(l, now);
        if (l->phase == PH_LOAD_DONE)
            break;
        if (l->phase == PH_LOAD_SENDING)
            send_due(l, now);
        ph_load_ways_flush(l);
        publish(l);
        next = ph_min_ns(next, ph_min_ns(ph_heap_next(&l->timers), ph_heap_next(&l->sends)));
        receive(l, ph_min_ns(next - ph_now(), POLL_AT_MOST));
    }
    publish(l);
}

/* --- from start to end -------------------------------------------------------------------- */

static bool open_load(struct ph_load *l)
{
    l->n = l->w->n;
    l->flows_each = l->a->family == PH_TURNC_BOTH && !l->a->peer.family ? 2 : 1;
    l->n_flows = l->n * l->flows_each;
    l->interval = (ph_ns)(1e9 / l->a->rate);
    l->conn = calloc(l->n, sizeof *l->conn);
    l->flow = calloc(l->n_flows, sizeof *l->flow);
    l->dirty = calloc(l->n, sizeof *l->dirty);
    l->batch = ph_batch_new(NULL);
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    ph_heap_init(&l->timers);
    ph_heap_init(&l->sends);
    if (!l->conn || !l->flow || !l->dirty || !l->batch || l->epoll_fd < 0) {
        snprintf(l->w->error, sizeof l->w->error, "cannot start a thread: %s",
                 l->epoll_fd < 0 ? strerror(errno) : "out of memory");
        return false;
    }
    for (uint32_t i = 0; i < l->n_flows; i++)
        l->flow[i].id = l->w->first * l->flows_each + i;
    for (uint32_t i = 0; i < l->n; i++)
        l->conn[i] = (struct ph_load_conn){.sock.fd = -1, .flow = i * l->flows_each};
    return ph_load_peers_open(l);
}

static void close_load(struct ph_load *l)
{
    for (uint32_t i = 0; l->conn && i < l->n; i++)
        if (l->conn[i].state != PH_LOAD_CONN_OVER)
            ph_load_conn_close(l, &l->conn[i]);
    for (uint32_t i = 0; l->flow && i < l->n_flows; i++)
        ph_load_flow_finish(&l->flow[i], l->s);
    ph_load_peers_close(l);
    if (l->batch)
        ph_batch_stats_add(&l->s->io, ph_batch_stats(l->batch));
    ph_batch_free(l->batch);
    ph_heap_fini(&l->timers);
    ph_heap_fini(&l->sends);
    free(l->conn);
    free(l->flow);
    free(l->dirty);
    if (l->epoll_fd >= 0)
        close(l->epoll_fd);
}

void ph_load_worker_main(struct ph_load_worker *w)
{
    struct ph_load l = {.w = w, .a = w->run->args, .s = &w->stats};
    if (open_load(&l)) {
        l.setup_at = l.phase_at = ph_now();
        loop(&l);
    } else {
        atomic_fetch_sub(&w->run->setting_up, 1);
        atomic_store(&w->run->stop, true);
    }
    close_load(&l);
    atomic_store(&w->progress.done, 1);
}
