/*
 * Workers: a thread with a loop of its own, or the caller's loop in the same clothes.
 *
 * A worker has one owner object, made in `start` and destroyed in `stop`, both on the worker's own thread;
 * everything else that other threads want from it goes through its queue (ph_worker_post, ph_worker_call).
 * The queue's mutex is the only lock, and no packet passes it.
 */
#ifndef PH_UV_WORKER_H
#define PH_UV_WORKER_H

#include "stun/uv/loop.h"

struct ph_worker;

/* How to run.  The callbacks get the worker, or what is watched, and ctx. */
struct ph_worker_conf {
    uv_loop_t *loop; /* run on this loop of the caller; NULL: a thread */
    int (*start)(struct ph_worker *w,
                 void *ctx); /* 0, or a negative error, with all handles closing */
    ph_mux_fn *ready;        /* sockets of ph_worker_watch are ready; ctx is m->ctx */
    void (*stop)(struct ph_worker *w,
                 void *ctx); /* close every handle and socket that start opened */
    void (*gone)(void *ctx); /* last: all handles are closed; free ctx.  May be NULL */
    void *ctx;
};

/* Starts a worker and waits until `start` has returned.  Returns 0 and *w, or the negative error of start or of
 * the system; then `stop` is not called but `gone` is. */
int ph_worker_new(struct ph_worker **w, const struct ph_worker_conf *c);

/* Stops a worker and frees it.  A thread is joined: never call it from the worker itself.  On the caller's
 * loop the handles close in the loop's next two turns: run it until nothing is left before uv_loop_close.  No
 * other thread may be using the worker any more. */
void ph_worker_free(struct ph_worker *w);

/* The worker's loop; only for its own thread. */
uv_loop_t *ph_worker_loop(struct ph_worker *w);

/* Watches a socket under a number of the caller's until it is closed.  Only on the worker's own
 * thread.  0 or -errno. */
int ph_worker_watch(struct ph_worker *w, int fd, uint32_t id);

/* Says what to watch a socket for from now on: EPOLLIN, EPOLLOUT, both or 0 (errors only).  The same thread.  0 or
 * -errno. */
int ph_worker_watch_for(struct ph_worker *w, int fd, uint32_t id, uint32_t events);

/* Watches no more, for a socket that goes to another worker.  The same thread. */
void ph_worker_unwatch(struct ph_worker *w, int fd);

/* Has fn(ctx) run on the worker's thread, soon.  Any thread.  0, PH_E_NOMEM, or PH_E_STATE when the worker
 * is ending.  What is queued when a worker ends is still run, before `stop`. */
int ph_worker_post(struct ph_worker *w, void (*fn)(void *ctx), void *ctx);

/* The same, but waits until fn has returned.  On the worker's own thread fn is called directly.  Two workers must
 * not call each other this way. */
int ph_worker_call(struct ph_worker *w, void (*fn)(void *ctx), void *ctx);

#endif
