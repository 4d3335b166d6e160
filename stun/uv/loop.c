/*
 * The epoll set behind ph_mux, and deadlines on a uv_timer.
 */
#include "stun/uv/loop.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* The number of the loop's own descriptor in the set. */
static const uint32_t loop_id = UINT32_MAX;

int ph_mux_init(struct ph_mux *m, uv_loop_t *loop, ph_mux_fn *fn, void *ctx)
{
    int fd = epoll_create1(EPOLL_CLOEXEC);

    if (fd < 0)
        return -errno;
    *m = (struct ph_mux){.loop = loop, .epoll_fd = fd, .fn = fn, .ctx = ctx};
    return 0;
}

int ph_mux_add(struct ph_mux *m, int fd, uint32_t id)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.u32 = id};

    return epoll_ctl(m->epoll_fd, EPOLL_CTL_ADD, fd, &ev) ? -errno : 0;
}

/* --- inside a loop --------------------------------------------------------------------------------- */

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct ph_mux *m = poll->data;
    struct epoll_event ev[PH_MUX_EVENTS];

    (void)status;
    (void)events;
    int n = epoll_wait(m->epoll_fd, ev, PH_MUX_EVENTS, 0);
    if (n > 0)
        m->fn(m, ev, (unsigned)n);
}

int ph_mux_nest(struct ph_mux *m)
{
    int err = uv_poll_init(m->loop, &m->poll, m->epoll_fd);

    if (err)
        return err;
    m->nested = true;
    m->poll.data = m;
    return uv_poll_start(&m->poll, UV_READABLE, on_readable);
}

static void on_closed(uv_handle_t *h)
{
    struct ph_mux *m = h->data;

    close(m->epoll_fd);
    m->epoll_fd = -1;
}

void ph_mux_close(struct ph_mux *m)
{
    if (m->nested) {
        uv_close((uv_handle_t *)&m->poll, on_closed);
        return;
    }
    close(m->epoll_fd);
    m->epoll_fd = -1;
}

/* --- around a loop --------------------------------------------------------------------------------- */

/* libuv tells the kernel which descriptors to watch at the start of its next turn; until then they wait in a queue,
 * which uv_backend_timeout does not consider.  Embedding a loop therefore needs to look at that queue.  It is an
 * empty ring when its first pointer points to itself: so in all of libuv 1.x, whose loop is part of its ABI. */
static bool has_unregistered(const uv_loop_t *loop)
{
    const void *ring = &loop->watcher_queue, *first;

    memcpy(&first, ring, sizeof first);
    return first != ring;
}

/* Waits for datagrams, or for libuv to have something to do: then returns true. */
static bool turn(struct ph_mux *m)
{
    struct epoll_event ev[PH_MUX_EVENTS];

    uv_update_time(m->loop);
    const int timeout = uv_backend_timeout(m->loop);
    const int n = epoll_wait(m->epoll_fd, ev, PH_MUX_EVENTS, timeout);
    bool due = timeout == 0 || n <= 0;
    int k = 0;
    for (int i = 0; i < n; i++) {
        if (ev[i].data.u32 == loop_id)
            due = true;
        else
            ev[k++] = ev[i];
    }
    if (k)
        m->fn(m, ev, (unsigned)k);
    return due;
}

int ph_mux_wrap(struct ph_mux *m)
{
    return ph_mux_add(m, uv_backend_fd(m->loop), loop_id);
}

void ph_mux_run(struct ph_mux *m)
{
    while (m->epoll_fd >= 0) {
        uv_run(m->loop, UV_RUN_NOWAIT);
        while (m->epoll_fd >= 0 && !has_unregistered(m->loop) && !turn(m))
            ;
    }
    uv_run(m->loop, UV_RUN_DEFAULT);
}

/* --- deadlines ------------------------------------------------------------------------------------- */

static void on_timer(uv_timer_t *timer)
{
    struct ph_alarm *a = timer->data;

    a->at = PH_NEVER;
    a->fn(a);
}

void ph_alarm_init(struct ph_alarm *a, uv_loop_t *loop, void (*fn)(struct ph_alarm *a), void *ctx)
{
    *a = (struct ph_alarm){.at = PH_NEVER, .fn = fn, .ctx = ctx};
    uv_timer_init(loop, &a->timer);
    uv_unref((uv_handle_t *)&a->timer);
    a->timer.data = a;
}

void ph_alarm_set(struct ph_alarm *a, ph_ns at)
{
    if (at >= a->at)
        return;
    a->at = at;
    /* The loop's clock is the same monotonic one in ms, as of the last turn; the timer is due when that
     * clock has reached the deadline. */
    uint64_t now = uv_now(a->timer.loop), due = at > 0 ? ((uint64_t)at + 999999) / 1000000 : 0;
    uv_timer_start(&a->timer, on_timer, due > now ? due - now : 0, 0);
}

void ph_alarm_close(struct ph_alarm *a)
{
    uv_close((uv_handle_t *)&a->timer, NULL);
}
