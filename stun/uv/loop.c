/*
 * The epoll set behind ph_mux, and deadlines on a uv_timer.
 */
#include "stun/uv/loop.h"

#include <errno.h>
#include <unistd.h>

#define LOOP UINT32_MAX /* the number of libuv's own descriptor */

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

int ph_mux_init(struct ph_mux *m, uv_loop_t *loop, ph_mux_fn *fn, void *ctx)
{
    int fd = epoll_create1(EPOLL_CLOEXEC);

    if (fd < 0)
        return -errno;
    *m = (struct ph_mux){.epoll_fd = fd, .fn = fn, .ctx = ctx};
    int err = uv_poll_init(loop, &m->poll, fd);
    if (err) {
        close(fd);
        return err;
    }
    m->poll.data = m;
    return uv_poll_start(&m->poll, UV_READABLE, on_readable); /* always 0 for a fresh handle */
}

int ph_mux_add(struct ph_mux *m, int fd, uint32_t id)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.u32 = id};

    return epoll_ctl(m->epoll_fd, EPOLL_CTL_ADD, fd, &ev) ? -errno : 0;
}

int ph_mux_mod(struct ph_mux *m, int fd, uint32_t id, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.u32 = id};

    return epoll_ctl(m->epoll_fd, EPOLL_CTL_MOD, fd, &ev) ? -errno : 0;
}

void ph_mux_del(struct ph_mux *m, int fd)
{
    epoll_ctl(m->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

static void on_closed(uv_handle_t *h)
{
    struct ph_mux *m = h->data;

    close(m->epoll_fd);
    m->epoll_fd = -1;
}

void ph_mux_close(struct ph_mux *m)
{
    uv_close((uv_handle_t *)&m->poll, on_closed);
}

/* Takes the events of libuv's descriptor out of n; returns how many are left. */
static int without_loop(struct epoll_event *ev, int n)
{
    for (int i = 0; i < n; i++)
        if (ev[i].data.u32 == LOOP)
            ev[i--] = ev[--n];
    return n;
}

void ph_mux_run(struct ph_mux *m)
{
    struct epoll_event ev[PH_MUX_EVENTS];
    uv_loop_t *loop = m->poll.loop;

    if (!uv_is_closing((uv_handle_t *)&m->poll)) {
        uv_poll_stop(&m->poll); /* each cannot be in the other */
        if (ph_mux_add(m, uv_backend_fd(loop), LOOP))
            uv_poll_start(&m->poll, UV_READABLE, on_readable);
    }
    while (!uv_is_active((uv_handle_t *)&m->poll) && m->epoll_fd >= 0 && uv_loop_alive(loop)) {
        uv_update_time(loop); /* what timers are counted from */
        const int timeout = uv_backend_timeout(loop);
        const int all = epoll_wait(m->epoll_fd, ev, PH_MUX_EVENTS, timeout);
        const int n = without_loop(ev, all);
        if (n > 0)
            m->fn(m, ev, (unsigned)n);
        if (n != all || n <= 0 || timeout == 0)
            uv_run(loop, UV_RUN_NOWAIT);
    }
    uv_run(loop, UV_RUN_DEFAULT);
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
