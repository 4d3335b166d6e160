/*
 * Workers: on a thread and on the caller's loop.
 */
#include "stun/base/error.h"
#include "stun/uv/worker.h"
#include "uv/kit.h"

#include <pthread.h>
#include <stdatomic.h>

/* What a worker owns in these tests. */
struct owner {
    struct ph_worker *w;
    uv_timer_t timer;
    struct ph_udp sock;
    int fail;
    pthread_t thread;
    atomic_int started, stopped, gone, ready, jobs;
    bool order_ok;
};

static void on_timer(uv_timer_t *t)
{
    (void)t;
}

static int start(struct ph_worker *w, void *ctx)
{
    struct owner *o = ctx;

    o->thread = pthread_self();
    o->started++;
    if (o->fail)
        return o->fail;
    o->sock = kit_open("127.0.0.1:0", NULL);
    uv_timer_init(ph_worker_loop(w), &o->timer); /* would keep the loop for an hour */
    uv_timer_start(&o->timer, on_timer, 3600000, 0);
    return ph_worker_watch(w, o->sock.fd, 42);
}

static void on_ready(struct ph_mux *m, const struct epoll_event *ev, unsigned n)
{
    struct owner *o = m->ctx;
    char b[16];

    cr_assert_eq(n, 1);
    cr_assert_eq(ev->data.u32, 42);
    cr_assert_geq(recv(o->sock.fd, b, sizeof b, 0), 0);
    o->ready++;
}

static void stop(struct ph_worker *w, void *ctx)
{
    struct owner *o = ctx;

    (void)w;
    cr_assert(pthread_equal(o->thread, pthread_self()));
    o->stopped++;
    ph_udp_close(&o->sock);
    uv_close((uv_handle_t *)&o->timer, NULL);
}

static void gone(void *ctx)
{
    struct owner *o = ctx;

    o->order_ok = o->stopped == 1 || o->fail;
    o->gone++;
}

static int open_worker(struct owner *o, uv_loop_t *loop)
{
    const struct ph_worker_conf c = {
        .loop = loop, .start = start, .ready = on_ready, .stop = stop, .gone = gone, .ctx = o};

    return ph_worker_new(&o->w, &c);
}

static void count(void *ctx)
{
    struct owner *o = ctx;

    cr_assert(pthread_equal(o->thread, pthread_self()));
    o->jobs++;
}

Test(uv_worker, lives_on_its_own_thread)
{
    struct owner o = {0};

    cr_assert_eq(open_worker(&o, NULL), 0);
    cr_expect_eq(o.started, 1);
    cr_expect_not(pthread_equal(o.thread, pthread_self()));
    ph_worker_free(o.w);
    cr_expect_eq(o.stopped, 1);
    cr_expect_eq(o.gone, 1);
    cr_expect(o.order_ok);
    ph_worker_free(NULL);
}

Test(uv_worker, reads_its_sockets)
{
    struct owner o = {0};

    cr_assert_eq(open_worker(&o, NULL), 0);
    const struct ph_addr at = kit_local(&o.sock);
    struct ph_udp s = kit_open("127.0.0.1:0", NULL);
    kit_send(&s, "x", 1, &at);
    for (int i = 0; i < KIT_WAIT_MS && !o.ready; i++)
        usleep(1000);
    cr_expect_eq(o.ready, 1);
    ph_worker_free(o.w);
}

Test(uv_worker, a_call_waits_for_its_answer)
{
    struct owner o = {0};

    cr_assert_eq(open_worker(&o, NULL), 0);
    for (int i = 1; i <= 100; i++) {
        cr_assert_eq(ph_worker_call(o.w, count, &o), 0);
        cr_assert_eq(o.jobs, i);
    }
    ph_worker_free(o.w);
}

Test(uv_worker, posts_run_in_order_and_before_the_end)
{
    struct owner o = {0};

    cr_assert_eq(open_worker(&o, NULL), 0);
    for (int i = 0; i < 1000; i++)
        cr_assert_eq(ph_worker_post(o.w, count, &o), 0);
    ph_worker_free(o.w);
    cr_expect_eq(o.jobs, 1000);
}

static void *post_many(void *ctx)
{
    struct owner *o = ctx;

    for (int i = 0; i < 2000; i++)
        if (i % 10)
            ph_worker_post(o->w, count, o);
        else
            ph_worker_call(o->w, count, o);
    return NULL;
}

Test(uv_worker, many_threads_may_ask)
{
    struct owner o = {0};
    pthread_t t[4];

    cr_assert_eq(open_worker(&o, NULL), 0);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&t[i], NULL, post_many, &o), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    ph_worker_free(o.w);
    cr_expect_eq(o.jobs, 8000);
}

static void call_itself(void *ctx)
{
    struct owner *o = ctx;

    ph_worker_call(o->w, count, o);
}

Test(uv_worker, a_worker_may_call_itself)
{
    struct owner o = {0};

    cr_assert_eq(open_worker(&o, NULL), 0);
    cr_assert_eq(ph_worker_call(o.w, call_itself, &o), 0);
    cr_expect_eq(o.jobs, 1);
    ph_worker_free(o.w);
}

Test(uv_worker, a_start_that_fails_leaves_nothing)
{
    struct owner o = {.fail = -EADDRINUSE};

    cr_expect_eq(open_worker(&o, NULL), -EADDRINUSE);
    cr_expect_eq(o.stopped, 0);
    cr_expect_eq(o.gone, 1);
    cr_expect_null(o.w);
}

Test(uv_worker, on_the_callers_loop)
{
    struct owner o = {0};
    uv_loop_t loop;

    uv_loop_init(&loop);
    cr_assert_eq(open_worker(&o, &loop), 0);
    cr_expect(pthread_equal(o.thread, pthread_self()));
    const struct ph_addr at = kit_local(&o.sock);
    kit_send(&o.sock, "x", 1, &at);
    uv_run(&loop, UV_RUN_ONCE);
    cr_expect_eq(o.ready, 1);
    cr_expect_eq(ph_worker_call(o.w, count, &o), 0);
    cr_expect_eq(o.jobs, 1, "called directly");
    cr_expect_eq(ph_worker_post(o.w, count, &o), 0);
    cr_expect_eq(o.jobs, 1);
    uv_run(&loop, UV_RUN_ONCE);
    cr_expect_eq(o.jobs, 2);
    ph_worker_free(o.w);
    cr_expect_eq(o.stopped, 1);
    cr_expect_eq(o.gone, 0, "its handles are still closing");
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_expect_eq(o.gone, 1);
    cr_expect_eq(uv_loop_close(&loop), 0);
}

Test(uv_worker, a_start_that_fails_on_the_callers_loop)
{
    struct owner o = {.fail = PH_E_ARG};
    uv_loop_t loop;

    uv_loop_init(&loop);
    cr_expect_eq(open_worker(&o, &loop), PH_E_ARG);
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_expect_eq(o.gone, 1);
    cr_expect_eq(uv_loop_close(&loop), 0);
}
