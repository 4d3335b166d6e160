/*
 * What the shells share on a libuv loop: watching many sockets, and a deadline.
 *
 * ph_mux watches any number of sockets through an epoll set of its own, which libuv sees as one readable
 * descriptor.  Against a uv_poll_t each that saves 160 bytes and five system calls per socket, the socket's number
 * comes with the event, and ICMP errors (EPOLLERR) do not stop the watching, as they do in libuv.  On a loop of somebody
 * else's the price is a second epoll_wait per turn, whatever the number of sockets; ph_mux_run turns the nesting
 * around, so that a packet costs one.
 */
#ifndef PH_UV_LOOP_H
#define PH_UV_LOOP_H

#include "stun/base/time.h"

#include <stdint.h>
#include <sys/epoll.h>
#include <uv.h>

enum { PH_MUX_EVENTS = 128 };

struct ph_mux;

/* Called with all sockets that are ready (data.u32 is the socket's number, events has EPOLLIN, EPOLLERR), at most
 * PH_MUX_EVENTS.  A socket may have been closed since, by the handling of an event before it. */
typedef void ph_mux_fn(struct ph_mux *m, const struct epoll_event *ev, unsigned n);

struct ph_mux {
    uv_poll_t poll;
    int epoll_fd;
    ph_mux_fn *fn;
    void *ctx; /* the caller's */
};

/* Starts watching an empty set.  0 or -errno; then there is nothing to close. */
int ph_mux_init(struct ph_mux *m, uv_loop_t *loop, ph_mux_fn *fn, void *ctx);

/* Adds a socket under a number of the caller's; level-triggered.  Closing the socket removes it.  0 or -errno. */
int ph_mux_add(struct ph_mux *m, int fd, uint32_t id);

/* Says what to watch a socket of the set for from now on: EPOLLIN, EPOLLOUT, both or 0 (errors only).  0 or -errno. */
int ph_mux_mod(struct ph_mux *m, int fd, uint32_t id, uint32_t events);

/* Takes a socket out of the set without closing it. */
void ph_mux_del(struct ph_mux *m, int fd);

/* Stops watching.  m may be freed when the handle is closed. */
void ph_mux_close(struct ph_mux *m);

/* Runs the loop until nothing is left to do, as uv_run(loop, UV_RUN_DEFAULT) would, but waits in the set itself, of which
 * libuv's own descriptor becomes a member: sockets are served without a turn of libuv's loop.  The number UINT32_MAX is
 * then not for sockets. */
void ph_mux_run(struct ph_mux *m);

/* Monotonic time, as every core gets it. */
static inline ph_ns ph_now(void)
{
    return (ph_ns)uv_hrtime();
}

/* A uv_timer that follows a core's deadline.  It never fires early: the deadline is rounded up to a
 * millisecond. */
struct ph_alarm {
    uv_timer_t timer;
    ph_ns at; /* armed for, PH_NEVER: not armed */
    void (*fn)(struct ph_alarm *a);
    void *ctx;
};

/* Prepares an alarm that calls fn.  An alarm does not keep the loop alive. */
void ph_alarm_init(struct ph_alarm *a, uv_loop_t *loop, void (*fn)(struct ph_alarm *a), void *ctx);

/* Arms it.  A deadline that only moved away is left to the old timer: fn is then called before the
 * deadline, finds nothing due and arms it again. */
void ph_alarm_set(struct ph_alarm *a, ph_ns at);

/* Closes the timer.  a may be freed when the handle is closed. */
void ph_alarm_close(struct ph_alarm *a);

#endif
