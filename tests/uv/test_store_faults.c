/*
 * The store behind a proxy that makes trouble, and in a cluster whose slots move.
 */
#ifdef PH_HAVE_REDIS
#include "support/redis_proxy.h"
#include "uv/store_kit.h"

static void setup(void)
{
    skit_setup();
    in_redis = true;
}

TestSuite(uv_store_faults, .init = setup, .fini = skit_teardown, .timeout = 60);

static struct proxy proxy;
static struct book one;
static struct ph_store *reader; /* past the proxy */
static char token[PH_STORE_TOKEN];

/* A book that writes through the proxy. */
static void begin_with(uint64_t n, uint32_t timeout_ms)
{
    const struct ph_store_conf c = skit_conf("a", &one);
    char front[128];

    rkit_server(NULL, NULL);
    snprintf(front, sizeof front, "%s/front", rkit_dir);
    proxy = proxy_start(front, rkit_path);
    struct ph_redis_conf to = rkit_parse("unix:%s", front);
    to.connect_timeout_ms = to.command_timeout_ms = timeout_ms;
    one.s = ph_store_redis_new(&loop, &to, &c, &rkit_env);
    cr_assert_not_null(one.s);
    skit_begin(&one, "a", n, token);
    reader = skit_open("reader", NULL);
}

static void begin(uint64_t n)
{
    begin_with(n, 300);
}

static void expect_all(void)
{
    cr_expect_eq(skit_flush(one.s, 30000), 0, "%s", rkit_log);
    EXPECT_STORED(reader, "a", &one);
    cr_expect_eq(one.fences, 0);
}

static void end(void)
{
    skit_close(&one);
    ph_store_free(reader);
    for (int i = 0; i < 1000 && uv_loop_alive(&loop); i++)
        rkit_turn();
    proxy_stop(&proxy);
}

/* Records change, come and end. */
static void live(unsigned round)
{
    for (uint64_t id = 1 + round; id <= 1000; id += 5)
        if (one.rec[id - 1].version)
            skit_change(&one, id);
    for (unsigned i = 0; i < 20; i++)
        skit_change(&one, 1001 + 20 * round + i);
    for (unsigned i = 0; i < 10; i++)
        skit_end(&one, 1 + 10 * round + i);
    ph_store_kick(one.s);
}

Test(uv_store_faults, a_slow_server_is_no_trouble)
{
    begin_with(1000, 3000);
    proxy_say(&proxy, "delay 30");
    const struct ph_store_stats before = *ph_store_stats(one.s);
    for (unsigned i = 0; i < 2000; i++)
        skit_change(&one, i % 1000 + 1);
    cr_expect(ph_store_stats(one.s)->behind);
    expect_all();
    const struct ph_store_stats *now = ph_store_stats(one.s);
    cr_expect_eq(now->failed, 0);
    cr_expect_eq(now->resyncs, 0);
    cr_expect_eq(now->written - before.written, 1000);
    cr_expect_eq(now->commands - before.commands, 16, "all of them in two flights");
    end();
}

Test(uv_store_faults, changes_that_never_end_leave_nobody_waiting)
{
    struct skit_answer a = {0};
    int64_t lag = 0;
    unsigned turns = 0;

    begin_with(1000, 3000);
    proxy_say(&proxy, "delay 30"); /* there is always a command under way, and something new */
    const uint64_t end_at = uv_hrtime() + 600 * UINT64_C(1000000);
    ph_store_flush(one.s, 30000, skit_on_done, &a);
    for (; uv_hrtime() < end_at || turns < 100; turns++) {
        skit_change(&one, turns % 1000 + 1);
        rkit_turn();
        lag = ph_store_stats(one.s)->lag_ms;
    }
    cr_expect_eq(a.calls, 1);
    cr_expect_eq(a.err, 0);
    cr_expect_gt(lag, 0);
    cr_expect_lt(lag, 400, "%d ms: of the oldest change, not the first", (int)lag);
    proxy_say(&proxy, "pass");
    end();
}

Test(uv_store_faults, a_flush_waits_for_the_sweep)
{
    begin_with(1000, 3000);
    proxy_say(&proxy, "reset");
    SKIT_UNTIL(one.downs == 1);
    for (uint64_t id = 1; id <= 1000; id += 2)
        skit_end_unseen(&one, id);
    proxy_say(&proxy, "delay 30");
    cr_expect_eq(skit_flush(one.s, 30000), 0);
    cr_expect_eq(ph_store_stats(one.s)->removed, 500);
    EXPECT_STORED(reader, "a", &one);
    end();
}

Test(uv_store_faults, nothing_waits_for_a_server_that_stalls)
{
    begin(1000);
    proxy_say(&proxy, "stall");
    live(0);
    for (unsigned i = 0; i < 100; i++) { /* almost a second */
        const uint64_t before = uv_hrtime();
        skit_change(&one, 500 + i);
        uv_run(&loop, UV_RUN_NOWAIT);
        cr_expect_lt(uv_hrtime() - before, 2000 * UINT64_C(1000000));
        usleep(8000);
    }
    cr_expect_geq(ph_store_stats(one.s)->lag_ms, 700);
    cr_expect_eq(one.downs, 1);
    proxy_say(&proxy, "pass");
    expect_all();
    end();
}

Test(uv_store_faults, writes_whose_answers_are_lost)
{
    begin(1000);
    for (unsigned round = 0; round < 2; round++) {
        proxy_say(&proxy, "mute");
        live(round);
        SKIT_UNTIL(one.downs == round + 1);
        proxy_say(&proxy, "pass");
        SKIT_UNTIL(one.ups == round + 2);
        expect_all();
    }
    end();
}

Test(uv_store_faults, garbage)
{
    begin(1000);
    proxy_say(&proxy, "garbage");
    live(0);
    SKIT_UNTIL(one.downs == 1);
    live(1);
    rkit_run_ms(100);
    proxy_say(&proxy, "pass");
    expect_all();
    end();
}

/* The connection is made anew and cut again after so many bytes from the server. */
static void cut_after(unsigned bytes)
{
    char command[32];

    begin_with(1000, 3000);
    const unsigned connections = proxy_connections(&proxy);
    live(0);
    proxy_say(&proxy, "reset");
    snprintf(command, sizeof command, "cut %u", bytes);
    proxy_say(&proxy, command);
    SKIT_UNTIL(proxy_connections(&proxy) >= connections + 2);
    live(1);
    expect_all();
    end();
    rkit_kill();
}

Test(uv_store_faults, cut_anywhere)
{
    cut_after(3);     /* in the greeting */
    cut_after(20);    /* the first answer */
    cut_after(300);   /* among many */
    cut_after(2000);  /* a page of the sweep */
    cut_after(50000); /* far into it */
    cr_expect_eq(skit_lines("no answer"), 0, "the connection says it already:\n%s", rkit_log);
}

Test(uv_store_faults, refused_for_a_while)
{
    begin_with(1000, 3000);
    proxy_say(&proxy, "refuse");
    SKIT_UNTIL(one.downs == 1);
    live(0);
    rkit_run_ms(200);
    live(1);
    cr_expect_eq(skit_flush(one.s, 20), PH_E_TIMEOUT);
    proxy_say(&proxy, "pass");
    expect_all();
    cr_expect_eq(ph_store_stats(one.s)->resyncs, 1);
    end();
}

/* --- a cluster ------------------------------------------------------------------------------------- */

static uint16_t port[2];
static struct ph_redis *node[2];

static const char *say(unsigned i, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static const char *say(unsigned i, const char *fmt, ...)
{
    char command[256];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(command, sizeof command, fmt, ap);
    va_end(ap);
    return rkit_ask(node[i], command);
}

/* Two masters; the first has all the slots. */
static void start_cluster(void)
{
    for (unsigned i = 0; i < 2; i++) {
        char words[300];
        do
            port[i] = rkit_port();
        while (port[i] > 55000); /* the bus is 10000 above */
        snprintf(words, sizeof words,
                 "--bind 127.0.0.1 --port %u --save  --dir %s --cluster-enabled yes "
                 "--cluster-config-file nodes-%u.conf --cluster-allow-replica-migration no",
                 port[i], rkit_dir, i);
        rkit_start(i, port[i], words);
        const struct ph_redis_conf c = rkit_parse("redis://127.0.0.1:%u", port[i]);
        node[i] = rkit_connect(&c);
    }
    cr_assert_str_eq(say(0, "CLUSTER ADDSLOTSRANGE 0 16383"), "OK");
    cr_assert_str_eq(say(0, "CLUSTER MEET 127.0.0.1 %u", port[1]), "OK");
    SKIT_UNTIL(strstr(say(1, "CLUSTER INFO"), "cluster_state:ok") &&
               strstr(say(1, "CLUSTER INFO"), "cluster_slots_assigned:16384"));
    SKIT_UNTIL(strstr(say(0, "CLUSTER INFO"), "cluster_known_nodes:2"));
}

/* Hands a slot and what is in it from one node to the other, as an operator's tool does. */
static void move_slot(unsigned from, unsigned to, int slot, unsigned pause_ms)
{
    char of_from[48], of_to[48];

    snprintf(of_from, sizeof of_from, "%s", say(from, "CLUSTER MYID"));
    snprintf(of_to, sizeof of_to, "%s", say(to, "CLUSTER MYID"));
    cr_assert_str_eq(say(to, "CLUSTER SETSLOT %d IMPORTING %s", slot, of_from), "OK");
    cr_assert_str_eq(say(from, "CLUSTER SETSLOT %d MIGRATING %s", slot, of_to), "OK");
    rkit_run_ms(pause_ms);
    static const char *const kinds[] = {"owner", "alloc"};
    for (unsigned i = 0; i < 2; i++) {
        say(from, "MIGRATE 127.0.0.1 %u {pinhole:a}:%s 0 1000 REPLACE", port[to], kinds[i]);
        rkit_run_ms(pause_ms);
    }
    cr_assert_str_eq(say(to, "CLUSTER SETSLOT %d NODE %s", slot, of_to), "OK");
    cr_assert_str_eq(say(from, "CLUSTER SETSLOT %d NODE %s", slot, of_to), "OK");
}

Test(uv_store_faults, a_cluster_whose_slots_move)
{
    const struct ph_store_conf c = skit_conf("a", &one);

    start_cluster();
    struct ph_redis_conf to = rkit_parse("redis+cluster://127.0.0.1:%u", port[0]);
    to.connect_timeout_ms = to.command_timeout_ms = 1000;
    one.s = ph_store_redis_new(&loop, &to, &c, &rkit_env);
    cr_assert_not_null(one.s);
    skit_begin(&one, "a", 1000, token);
    EXPECT_STORED(one.s, "a", &one);
    const int slot = atoi(say(0, "CLUSTER KEYSLOT {pinhole:a}:alloc"));
    for (unsigned round = 0; round < 2; round++) {
        live(2 * round);
        move_slot(round, 1 - round, slot, 10);
        live(2 * round + 1);
        cr_expect_eq(skit_flush(one.s, 30000), 0, "%s", rkit_log);
        EXPECT_STORED(one.s, "a", &one);
        cr_expect_str_eq(say(1 - round, "GET {pinhole:a}:owner"), token, "it has moved");
    }
    cr_expect_eq(one.fences, 0);
    skit_close(&one);
    ph_redis_free(node[0]);
    rkit_close(node[1]);
}
#else
#include <criterion/criterion.h>

Test(uv_store_faults, needs_hiredis)
{
    cr_skip_test("built without hiredis");
}
#endif
