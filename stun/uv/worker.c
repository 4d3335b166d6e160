/*
 * A thread, its loop, and the queue of what others want done there.
 */
#include "stun/uv/worker.h"
#include "stun/base/error.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>

/* Something to do; on the heap for posts, on the caller's stack for calls. */
struct job {
    struct job *next;
    void (*fn)(void *ctx);
    void *ctx;
    uv_sem_t *done; /* calls */
};

struct ph_worker {
    struct ph_worker_conf c;
    bool threaded;
    pthread_t thread; /* to join */
    pthread_t self;   /* the worker's, or that of the caller's loop */
    uv_loop_t own, *loop;
    struct ph_mux mux;
    bool watching; /* mux is open */
    uv_async_t async;
    uv_idle_t last; /* on the caller's loop: tells when all else is closed */
    uv_sem_t started;
    int err; /* of start */

    pthread_mutex_t lock; /* guards the rest */
    struct job *first, **tail;
    bool ending;
};

/* --- the queue ------------------------------------------------------------------------------------- */

static int enqueue(struct ph_worker *w, struct job *j)
{
    pthread_mutex_lock(&w->lock);
    const bool ending = w->ending;
    if (!ending) {
        *w->tail = j;
        w->tail = &j->next;
        uv_async_send(&w->async);
    }
    pthread_mutex_unlock(&w->lock);
    return ending ? PH_E_STATE : 0;
}

static void run_jobs(struct ph_worker *w)
{
    pthread_mutex_lock(&w->lock);
    struct job *j = w->first;
    w->first = NULL;
    w->tail = &w->first;
    pthread_mutex_unlock(&w->lock);

    while (j) {
        struct job *next = j->next;
        j->fn(j->ctx);
        if (j->done)
            uv_sem_post(j->done);
        else
            free(j);
        j = next;
    }
}

int ph_worker_post(struct ph_worker *w, void (*fn)(void *ctx), void *ctx)
{
    struct job *j = malloc(sizeof *j);
    if (!j)
        return PH_E_NOMEM;
    *j = (struct job){.fn = fn, .ctx = ctx};
    int err = enqueue(w, j);
    if (err)
        free(j);
    return err;
}

int ph_worker_call(struct ph_worker *w, void (*fn)(void *ctx), void *ctx)
{
    uv_sem_t done;
    struct job j = {.fn = fn, .ctx = ctx, .done = &done};

    if (pthread_equal(w->self, pthread_self())) {
        fn(ctx);
        return 0;
    }
    int err = uv_sem_init(&done, 0);
    if (err)
        return err;
    err = enqueue(w, &j);
    if (!err)
        uv_sem_wait(&done);
    uv_sem_destroy(&done);
    return err;
}

/* --- life ------------------------------------------------------------------------------------------ */

static void release(struct ph_worker *w)
{
    uv_sem_destroy(&w->started);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

/* All handles of a worker on the caller's loop are closed. */
static void on_gone(uv_handle_t *h)
{
    struct ph_worker *w = h->data;

    if (w->c.gone)
        w->c.gone(w->c.ctx);
    release(w);
}

/* In which order handles close within a turn of the loop is libuv's business; the next turn is after them all. */
static void on_inline_closed(uv_handle_t *h)
{
    struct ph_worker *w = h->data;

    uv_idle_init(w->loop, &w->last);
    w->last.data = w;
    uv_close((uv_handle_t *)&w->last, on_gone);
}

static void end(struct ph_worker *w)
{
    run_jobs(w);
    if (!w->err)
        w->c.stop(w, w->c.ctx);
    if (w->watching)
        ph_mux_close(&w->mux);
    uv_close((uv_handle_t *)&w->async, w->threaded ? NULL : on_inline_closed);
}

/* On the worker's own thread. */
static void begin(struct ph_worker *w)
{
    w->self = pthread_self();
    w->err = ph_mux_init(&w->mux, w->loop, w->c.ready, w->c.ctx);
    w->watching = !w->err;
    if (!w->err)
        w->err = w->c.start(w, w->c.ctx);
    if (w->err)
        end(w);
}

static void on_async(uv_async_t *async)
{
    struct ph_worker *w = async->data;

    pthread_mutex_lock(&w->lock);
    const bool ending = w->ending;
    pthread_mutex_unlock(&w->lock);
    if (ending)
        end(w);
    else
        run_jobs(w);
}

/* Signals are for the main thread. */
static void block_signals(void)
{
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
}

static void *thread_main(void *arg)
{
    struct ph_worker *w = arg;

    block_signals();
    begin(w);
    uv_sem_post(&w->started);
    if (w->watching)
        ph_mux_run(&w->mux);
    else
        uv_run(w->loop, UV_RUN_DEFAULT);
    if (w->c.gone)
        w->c.gone(w->c.ctx);
    uv_loop_close(w->loop);
    return NULL;
}

static int start_thread(struct ph_worker *w)
{
    int err = pthread_create(&w->thread, NULL, thread_main, w);

    if (err) { /* then the loop ends here */
        w->err = -err;
        end(w);
        uv_run(w->loop, UV_RUN_DEFAULT);
        if (w->c.gone)
            w->c.gone(w->c.ctx);
        uv_loop_close(w->loop);
        release(w);
        return -err;
    }
    uv_sem_wait(&w->started);
    err = w->err;
    if (err) {
        pthread_join(w->thread, NULL);
        release(w);
    }
    return err;
}

/* A worker that has not started; 0 and *out, or the system's error. */
static int create(struct ph_worker **out, const struct ph_worker_conf *c)
{
    struct ph_worker *w = calloc(1, sizeof *w);

    if (!w)
        return PH_E_NOMEM;
    w->c = *c;
    w->threaded = !c->loop;
    w->loop = c->loop ? c->loop : &w->own;
    w->tail = &w->first;
    w->async.data = w;
    pthread_mutex_init(&w->lock, NULL);
    uv_sem_init(&w->started, 0);
    int err = w->threaded ? uv_loop_init(&w->own) : 0;
    if (!err) {
        err = uv_async_init(w->loop, &w->async, on_async);
        if (err && w->threaded)
            uv_loop_close(&w->own);
    }
    if (err)
        release(w);
    else
        *out = w;
    return err;
}

int ph_worker_new(struct ph_worker **out, const struct ph_worker_conf *c)
{
    struct ph_worker *w;
    int err = create(&w, c);

    if (err) {
        if (c->gone)
            c->gone(c->ctx);
        return err;
    }
    if (w->threaded) {
        err = start_thread(w);
    } else {
        begin(w);
        err = w->err;
    }
    if (!err)
        *out = w;
    return err;
}

void ph_worker_free(struct ph_worker *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->ending = true;
    if (w->threaded) /* under the lock: who sees `ending` closes the handle */
        uv_async_send(&w->async);
    pthread_mutex_unlock(&w->lock);
    if (!w->threaded) {
        end(w);
        return;
    }
    pthread_join(w->thread, NULL);
    release(w);
}

uv_loop_t *ph_worker_loop(struct ph_worker *w)
{
    return w->loop;
}

int ph_worker_watch(struct ph_worker *w, int fd, uint32_t id)
{
    return ph_mux_add(&w->mux, fd, id);
}

int ph_worker_watch_for(struct ph_worker *w, int fd, uint32_t id, uint32_t events)
{
    return ph_mux_mod(&w->mux, fd, id, events);
}

void ph_worker_unwatch(struct ph_worker *w, int fd)
{
    ph_mux_del(&w->mux, fd);
}
