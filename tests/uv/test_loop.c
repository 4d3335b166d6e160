/*
 * Sockets under one handle, and deadlines.
 */
#include "stun/uv/loop.h"
#include "uv/kit.h"

static uv_loop_t loop;
static struct ph_mux mux;
static struct ph_mux_event {
    uint32_t id, events;
} seen[16];
static unsigned n_seen, calls;

static void on_ready(struct ph_mux *m, const struct epoll_event *ev, unsigned n)
{
    cr_assert_eq(m, &mux);
    cr_assert_eq(m->ctx, &calls);
    calls++;
    for (unsigned i = 0; i < n && n_seen < 16; i++)
        seen[n_seen++] = (struct ph_mux_event){ev[i].data.u32, ev[i].events};
}

static void setup(void)
{
    uv_loop_init(&loop);
    cr_assert_eq(ph_mux_init(&mux, &loop, on_ready, &calls), 0);
}

static void teardown(void)
{
    ph_mux_close(&mux);
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_expect_eq(uv_loop_close(&loop), 0);
}

TestSuite(uv_loop, .init = setup, .fini = teardown);

Test(uv_loop, all_ready_sockets_come_in_one_call)
{
    struct ph_udp s[3];

    for (uint32_t i = 0; i < 3; i++) {
        s[i] = kit_open("127.0.0.1:0", NULL);
        cr_assert_eq(ph_mux_add(&mux, s[i].fd, 0x80000000u + i), 0);
    }
    for (int i = 0; i < 3; i += 2) {
        const struct ph_addr at = kit_local(&s[i]);
        kit_send(&s[1], "x", 1, &at);
    }
    uv_run(&loop, UV_RUN_ONCE);
    cr_assert_eq(calls, 1);
    cr_assert_eq(n_seen, 2);
    cr_expect_eq(seen[0].id ^ seen[1].id, 2);
    cr_expect_eq(seen[0].events, EPOLLIN);
}

Test(uv_loop, what_is_not_read_is_told_again)
{
    struct ph_udp s = kit_open("127.0.0.1:0", NULL);
    const struct ph_addr at = kit_local(&s);

    ph_mux_add(&mux, s.fd, 1);
    kit_send(&s, "x", 1, &at);
    uv_run(&loop, UV_RUN_ONCE);
    uv_run(&loop, UV_RUN_ONCE);
    cr_expect_eq(calls, 2);
}

Test(uv_loop, a_closed_socket_is_forgotten)
{
    struct ph_udp s = kit_open("127.0.0.1:0", NULL);
    const struct ph_addr at = kit_local(&s);

    ph_mux_add(&mux, s.fd, 1);
    kit_send(&s, "x", 1, &at);
    ph_udp_close(&s);
    uv_run(&loop, UV_RUN_NOWAIT);
    cr_expect_eq(calls, 0);
}

/* libuv's own poll handle would stop at the first of these. */
Test(uv_loop, icmp_errors_do_not_end_the_watching)
{
    struct ph_udp s = kit_open("127.0.0.1:0", &(struct ph_udp_opts){.recverr = true});
    struct ph_udp dead = kit_open("127.0.0.1:0", NULL);
    const struct ph_addr at = kit_local(&s), dead_at = kit_local(&dead);
    struct ph_udp_error e;
    char back[8];

    ph_udp_close(&dead);
    ph_mux_add(&mux, s.fd, 7);
    for (int round = 0; round < 3; round++) {
        n_seen = 0;
        kit_send(&s, "x", 1, &dead_at);
        uv_run(&loop, UV_RUN_ONCE);
        cr_assert_eq(n_seen, 1);
        cr_expect_eq(seen[0].id, 7);
        cr_expect(seen[0].events & EPOLLERR);
        cr_expect(ph_udp_error(&s, &e));
        cr_expect_not(ph_udp_error(&s, &e));
        n_seen = 0;
        kit_send(&s, "y", 1, &at);
        uv_run(&loop, UV_RUN_ONCE);
        cr_assert_eq(n_seen, 1);
        cr_expect_eq(seen[0].events, EPOLLIN);
        cr_expect_eq(kit_recv(&s, back, sizeof back, NULL), 1);
    }
}

Test(uv_loop, an_error_and_a_packet_together)
{
    struct ph_udp s = kit_open("127.0.0.1:0", &(struct ph_udp_opts){.recverr = true});
    struct ph_udp dead = kit_open("127.0.0.1:0", NULL);
    const struct ph_addr at = kit_local(&s), dead_at = kit_local(&dead);

    ph_udp_close(&dead);
    ph_mux_add(&mux, s.fd, 7);
    kit_send(&s, "y", 1, &at);
    kit_send(&s, "x", 1, &dead_at);
    uv_run(&loop, UV_RUN_ONCE);
    cr_assert_eq(n_seen, 1);
    cr_expect(seen[0].events & EPOLLIN);
    cr_expect(seen[0].events & EPOLLERR);
}

/* --- deadlines ------------------------------------------------------------------------------------- */

static ph_ns fired_at[8];
static unsigned fired;
static ph_ns rearm;

static void on_alarm(struct ph_alarm *a)
{
    fired_at[fired++ % 8] = ph_now();
    if (rearm) {
        ph_alarm_set(a, rearm);
        rearm = 0;
    }
}

/* Runs the loop until the alarm has fired n times. */
static void run_until(unsigned n)
{
    while (fired < n) {
        uv_run(&loop, UV_RUN_NOWAIT);
        usleep(100);
    }
}

Test(uv_loop, an_alarm_is_never_early)
{
    static struct ph_alarm a; /* until its handle is closed */

    ph_alarm_init(&a, &loop, on_alarm, NULL);
    for (unsigned i = 1; i <= 20; i++) {
        const ph_ns at = ph_now() + PH_MS(2) + i * 137 * 1000;
        ph_alarm_set(&a, at);
        run_until(i);
        cr_expect_geq(fired_at[(i - 1) % 8], at);
    }
    ph_alarm_close(&a);
}

Test(uv_loop, an_alarm_for_the_past_fires_at_once)
{
    static struct ph_alarm a; /* until its handle is closed */

    ph_alarm_init(&a, &loop, on_alarm, NULL);
    ph_alarm_set(&a, 0);
    run_until(1);
    ph_alarm_set(&a, -5);
    run_until(2);
    ph_alarm_close(&a);
}

Test(uv_loop, an_earlier_deadline_moves_the_alarm_a_later_one_does_not)
{
    static struct ph_alarm a; /* until its handle is closed */
    const ph_ns now = ph_now();

    ph_alarm_init(&a, &loop, on_alarm, NULL);
    ph_alarm_set(&a, now + PH_SEC(100));
    ph_alarm_set(&a, now + PH_MS(30));
    ph_alarm_set(&a, now + PH_SEC(50));
    rearm = now + PH_MS(60); /* the owner looks at its deadline and arms again */
    run_until(1);
    cr_expect_geq(fired_at[0], now + PH_MS(30));
    cr_expect_lt(fired_at[0], now + PH_SEC(40));
    run_until(2);
    cr_expect_geq(fired_at[1], now + PH_MS(60));
    ph_alarm_close(&a);
}

Test(uv_loop, no_deadline_no_alarm)
{
    static struct ph_alarm a; /* until its handle is closed */

    ph_alarm_init(&a, &loop, on_alarm, NULL);
    ph_alarm_set(&a, PH_NEVER);
    cr_expect_eq(uv_is_active((uv_handle_t *)&a.timer), 0);
    ph_alarm_close(&a);
}
