/*
 * The connection to Redis under load and in trouble: many commands at once, a proxy between that delays, stalls, cuts,
 * resets and garbles, and what the watcher is told of it all.
 */
#ifdef PH_HAVE_REDIS
#include "support/redis_proxy.h"
#include "uv/redis_kit.h"

#include <sys/syscall.h>

TestSuite(uv_redis_faults, .init = rkit_setup, .fini = rkit_teardown, .timeout = 60);

/* In the place of the C library's: counts what this process sends.  (The servers are others.) */
static unsigned sends;

ssize_t send(int fd, const void *p, size_t n, int flags)
{
    sends++;
    return syscall(SYS_sendto, fd, p, n, flags, NULL, 0);
}

/* --- the watcher ----------------------------------------------------------------------------------- */

static struct ph_redis *watched;
static char told[64]; /* 'u', 'd' */
static struct answer asked;
static bool free_at_up, free_at_down;

static void on_state(void *ctx, bool up)
{
    cr_expect_eq(ctx, &told);
    cr_expect_eq(ph_redis_stats(watched)->up, up);
    strcat(told, up ? "u" : "d");
    if (up)
        cr_expect_eq(rkit_send(watched, "ECHO now", &asked), 0, "serves already");
    else
        cr_expect_eq(rkit_send(watched, "ECHO now", &asked), PH_E_STATE);
    if (up ? free_at_up : free_at_down)
        ph_redis_free(watched);
}

static void watch(const struct ph_redis_conf *c)
{
    told[0] = '\0';
    watched = rkit_open(c);
    ph_redis_watch(watched, on_state, &told);
}

Test(uv_redis_faults, the_watcher_is_told_by_turns)
{
    const struct ph_redis_conf c = rkit_conf();
    struct answer blocked = {0};

    watch(&c);
    RUN_UNTIL(ph_redis_stats(watched)->failures == 2);
    cr_expect_str_eq(told, "", "what never was up is not lost");
    rkit_server(NULL, NULL);
    RUN_UNTIL(asked.calls == 1);
    cr_expect_str_eq(told, "u");
    cr_expect_str_eq(asked.text, "now");
    cr_assert_eq(rkit_send(watched, "BLPOP nothing 0", &blocked), 0);
    rkit_run_ms(20);
    rkit_kill();
    RUN_UNTIL(told[1]);
    cr_expect_str_eq(told, "ud");
    cr_expect_eq(blocked.calls, 1, "answered before");
    rkit_server(NULL, NULL);
    RUN_UNTIL(asked.calls == 2);
    cr_expect_str_eq(told, "udu");
    ph_redis_watch(watched, NULL, NULL);
    rkit_close(watched);
    cr_expect_str_eq(told, "udu", "an end of our own is not told");
}

Test(uv_redis_faults, the_watcher_may_end_it)
{
    const struct ph_redis_conf c = rkit_conf();

    rkit_server(NULL, NULL);
    free_at_up = true;
    watch(&c);
    RUN_UNTIL(!uv_loop_alive(&loop));
    cr_expect_str_eq(told, "u");
    cr_expect_eq(asked.calls, 1, "answered with nothing");
    cr_expect_str_eq(asked.text, "nothing");
    free_at_up = false;
    free_at_down = true;
    watch(&c);
    RUN_UNTIL(asked.calls == 2);
    rkit_kill();
    RUN_UNTIL(!uv_loop_alive(&loop));
    cr_expect_str_eq(told, "ud");
}

/* --- much ------------------------------------------------------------------------------------------ */

static unsigned done, wrong;

static void on_done(void *ctx, const redisReply *reply)
{
    const long long *want = ctx;

    done++;
    wrong += !reply || reply->type != REDIS_REPLY_INTEGER || reply->integer != *want;
}

Test(uv_redis_faults, a_turns_commands_leave_with_one_write)
{
    static const long long none = 0;
    const struct ph_slice publish[] = {ph_str("PUBLISH"), ph_str("turn/realm/x/user/y/status"),
                                       ph_str("new lifetime=600")};

    rkit_server(NULL, NULL);
    const struct ph_redis_conf c = rkit_conf();
    struct ph_redis *r = rkit_connect(&c);
    for (unsigned turn = 1; turn <= 20; turn++) {
        sends = 0;
        for (unsigned i = 0; i < 200; i++)
            cr_assert_eq(ph_redis_command(r, publish, 3, on_done, (void *)&none), 0);
        cr_expect_eq(sends, 0);
        RUN_UNTIL(done == 200 * turn);
        cr_expect_eq(sends, 1, "%u writes", sends);
    }
    cr_expect_eq(wrong, 0);
    rkit_close(r);
}

/* As the store writes: 64 records of 300 bytes in a script's arguments, eight such commands under way. */
Test(uv_redis_faults, scripts_with_many_records)
{
    enum { RECORDS = 64, N = 3 + 1 + 2 * RECORDS, ROUNDS = 50 };
    static const long long all = RECORDS;
    static char value[300];
    struct ph_slice args[N] = {
        ph_str("EVAL"),
        ph_str("for i = 1, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end "
               "return redis.call('HLEN', KEYS[1])"),
        ph_str("1"), ph_str("{node}:alloc")};
    static char field[RECORDS][8];

    memset(value, 'v', sizeof value);
    for (unsigned i = 0; i < RECORDS; i++) {
        snprintf(field[i], sizeof field[i], "%u", i);
        args[4 + 2 * i] = ph_str(field[i]);
        args[5 + 2 * i] = (struct ph_slice){(const uint8_t *)value, sizeof value};
    }
    rkit_server(NULL, NULL);
    const struct ph_redis_conf c = rkit_conf();
    struct ph_redis *r = rkit_connect(&c);
    for (unsigned sent = 0; done < ROUNDS; rkit_turn())
        for (; sent < ROUNDS && sent - done < 8; sent++)
            cr_assert_eq(ph_redis_command(r, args, N, on_done, (void *)&all), 0);
    cr_expect_eq(wrong, 0);
    rkit_close(r);
}

Test(uv_redis_faults, arguments_and_bytes_are_bounded)
{
    static uint8_t big[PH_REDIS_OUT];
    static struct ph_slice args[PH_REDIS_ARGS + 1];
    struct answer a = {0};

    rkit_server(NULL, NULL);
    const struct ph_redis_conf c = rkit_conf();
    struct ph_redis *r = rkit_connect(&c);
    args[0] = ph_str("DEL");
    for (unsigned i = 1; i <= PH_REDIS_ARGS; i++)
        args[i] = ph_str("x");
    cr_expect_eq(ph_redis_command(r, args, PH_REDIS_ARGS + 1, on_answer, &a), PH_E_ARG);
    cr_assert_eq(ph_redis_command(r, args, PH_REDIS_ARGS, on_answer, &a), 0);
    RUN_UNTIL(a.calls == 1);
    cr_expect_str_eq(a.text, "0");
    memset(big, 'b', sizeof big);
    args[0] = ph_str("STRLEN");
    args[1] = (struct ph_slice){big, sizeof big};
    cr_expect_eq(ph_redis_command(r, args, 2, on_answer, &a), PH_E_LIMIT);
    args[1].n -= 64;
    cr_assert_eq(ph_redis_command(r, args, 2, on_answer, &a), 0);
    cr_expect_eq(
        rkit_send(r, "ECHO a-hundred-bytes-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", &a),
        PH_E_LIMIT);
    RUN_UNTIL(a.calls == 2);
    cr_expect_str_eq(rkit_ask(r, "ECHO again"), "again");
    rkit_close(r);
}

/* --- the proxy ------------------------------------------------------------------------------------- */

static struct proxy proxy;
static struct ph_redis_conf through;

/* A connection through the proxy with rather short times. */
static void by_proxy(void)
{
    char front[128];

    rkit_server(NULL, NULL);
    snprintf(front, sizeof front, "%s/front", rkit_dir);
    proxy = proxy_start(front, rkit_path);
    through = rkit_parse("unix:%s", front);
    through.connect_timeout_ms = through.command_timeout_ms = 500; /* a busy machine is no fault */
    watch(&through);
    RUN_UNTIL(asked.calls == 1);
}

static void end_proxy(void)
{
    rkit_close(watched);
    proxy_stop(&proxy);
}

Test(uv_redis_faults, slow_is_not_broken)
{
    by_proxy();
    proxy_say(&proxy, "delay 40");
    const uint64_t began = uv_hrtime();
    for (int i = 0; i < 3; i++)
        cr_expect_str_eq(rkit_ask(watched, "ECHO slow"), "slow");
    cr_expect_geq(uv_hrtime() - began, 3 * 80 * UINT64_C(1000000));
    cr_expect_str_eq(told, "u");
    end_proxy();
}

Test(uv_redis_faults, stalled_is_left_and_found_again)
{
    struct answer a = {0};

    by_proxy();
    proxy_say(&proxy, "stall");
    cr_assert_eq(rkit_send(watched, "SET k v", &a), 0);
    RUN_UNTIL(a.calls == 1);
    cr_expect_str_eq(a.text, "nothing");
    cr_expect_str_eq(told, "u", "one late answer is not the end");
    RUN_UNTIL(told[1]);
    cr_expect(strstr(rkit_log, "connected but does not answer"), "%s", rkit_log);
    rkit_run_ms(200);
    proxy_say(&proxy, "pass");
    RUN_UNTIL(told[2]);
    cr_expect_str_eq(told, "udu");
    end_proxy();
}

Test(uv_redis_faults, replies_that_never_come)
{
    struct answer a = {0};

    by_proxy();
    proxy_say(&proxy, "mute");
    cr_assert_eq(rkit_send(watched, "SET k v", &a), 0);
    RUN_UNTIL(told[1]);
    cr_expect_str_eq(a.text, "nothing");
    proxy_say(&proxy, "pass");
    RUN_UNTIL(told[2]);
    cr_expect_str_eq(rkit_ask(watched, "GET k"), "v", "yet it was done");
    end_proxy();
}

/* A hundred commands are under way when it happens: each is answered once, by its own reply or by nothing. */
static void while_busy(const char *command)
{
    static struct answer a[100];
    unsigned answered = 0;

    by_proxy();
    memset(a, 0, sizeof a);
    for (unsigned i = 0; i < 100; i++)
        cr_assert_eq(rkit_send(watched, "ECHO 0123456789", &a[i]), 0);
    proxy_say(&proxy, command);
    RUN_UNTIL(told[1]);
    for (unsigned i = 0; i < 100; i++) {
        cr_assert_eq(a[i].calls, 1, "%s", command);
        answered += strcmp(a[i].text, "0123456789") == 0;
        cr_expect(strcmp(a[i].text, "nothing") == 0 || strcmp(a[i].text, "0123456789") == 0);
    }
    cr_expect_leq(answered, 99);
    proxy_say(&proxy, "pass");
    RUN_UNTIL(told[2]);
    cr_expect_str_eq(told, "udu");
    cr_expect_str_eq(rkit_ask(watched, "ECHO fine"), "fine");
    end_proxy();
}

Test(uv_redis_faults, cut_within_a_reply)
{
    while_busy("cut 500");
}

Test(uv_redis_faults, reset)
{
    while_busy("reset");
}

Test(uv_redis_faults, garbage)
{
    while_busy("garbage");
}

Test(uv_redis_faults, nobody_listens_for_a_while)
{
    by_proxy();
    proxy_say(&proxy, "refuse");
    RUN_UNTIL(ph_redis_stats(watched)->failures >= 3);
    cr_expect_str_eq(told, "ud");
    proxy_say(&proxy, "pass");
    RUN_UNTIL(told[2]);
    cr_expect_str_eq(rkit_ask(watched, "ECHO fine"), "fine");
    end_proxy();
}

/* More than a socket holds waits to be sent; then it is all sent, and answered in order. */
Test(uv_redis_faults, a_socket_that_is_full)
{
    enum { N = 60 };
    static char value[32768];
    static const long long size = sizeof value;
    const struct ph_slice args[] = {
        ph_str("APPEND"), ph_str("k"), {(const uint8_t *)value, sizeof value}};
    const struct ph_slice length[] = {
        ph_str("SETRANGE"), ph_str("k2"), ph_str("0"), {(const uint8_t *)value, sizeof value}};

    memset(value, 'v', sizeof value);
    by_proxy();
    ph_redis_free(watched);
    through.command_timeout_ms = 3000;
    watch(&through);
    RUN_UNTIL(asked.calls == 2);
    proxy_say(&proxy, "stall");
    for (unsigned i = 0; i < N; i++)
        cr_assert_eq(ph_redis_command(watched, length, 4, on_done, (void *)&size), 0);
    rkit_run_ms(30);
    struct answer a = {0};
    cr_assert_eq(ph_redis_command(watched, args, 3, on_answer, &a), 0);
    rkit_run_ms(30);
    cr_expect_eq(done, 0);
    proxy_say(&proxy, "pass");
    RUN_UNTIL(a.calls == 1);
    cr_expect_eq(done, N);
    cr_expect_eq(wrong, 0);
    cr_expect_str_eq(a.text, "32768");
    end_proxy();
}
#else
#include <criterion/criterion.h>

Test(uv_redis_faults, needs_hiredis)
{
    cr_skip_test("built without hiredis");
}
#endif
