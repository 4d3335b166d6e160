/*
 * Sentinels: real ones that promote a replica, and made-up ones that know nothing, the wrong thing, or lag behind.
 */
#ifdef PH_HAVE_REDIS
#include "uv/redis_kit.h"

TestSuite(uv_redis_sentinel, .init = rkit_setup, .fini = rkit_teardown, .timeout = 90);

/* --- the real ones --------------------------------------------------------------------------------- */

enum { MASTER, REPLICA, SENTINEL };

static uint16_t port[3];

static void start_redis(unsigned i, const char *more)
{
    char words[400];

    snprintf(words, sizeof words,
             "--bind 127.0.0.1 --port %u --save  --dir %s --repl-diskless-sync-delay 0 "
             "--requirepass pw --masterauth pw %s",
             port[i], rkit_dir, more);
    rkit_start(i, port[i], words);
}

static void start_sentinel(void)
{
    char path[128], words[200];

    snprintf(path, sizeof path, "%s/sentinel.conf", rkit_dir);
    FILE *f = fopen(path, "w");
    fprintf(f,
            "port %u\nbind 127.0.0.1\ndir %s\nrequirepass sentinels\n"
            "sentinel monitor main 127.0.0.1 %u 1\nsentinel auth-pass main pw\n"
            "sentinel down-after-milliseconds main 300\nsentinel failover-timeout main 3000\n",
            port[SENTINEL], rkit_dir, port[MASTER]);
    fclose(f);
    snprintf(words, sizeof words, "%s --sentinel", path);
    rkit_start(SENTINEL, port[SENTINEL], words);
}

/* Waits until a server says of itself what is wanted. */
static void wait_for_info(uint16_t at, const char *says)
{
    const struct ph_redis_conf c = rkit_parse("redis://:pw@127.0.0.1:%u", at);
    struct ph_redis *r = rkit_connect(&c);
    static struct answer a;
    bool found = false;

    for (int i = 0; i < 400 && !found; i++) {
        a.calls = 0;
        cr_assert_eq(rkit_send(r, "INFO replication", &a), 0);
        RUN_UNTIL(a.calls == 1);
        found = strstr(a.text, says) != NULL;
        rkit_run_ms(10);
    }
    cr_assert(found, "%s:\n%s", says, a.text);
    rkit_close(r);
}

static void start_all(void)
{
    char more[64];

    for (unsigned i = 0; i < 3; i++)
        port[i] = rkit_port();
    start_redis(MASTER, "");
    snprintf(more, sizeof more, "--replicaof 127.0.0.1 %u", port[MASTER]);
    start_redis(REPLICA, more);
    wait_for_info(port[REPLICA], "master_link_status:up");
    start_sentinel();
}

#define OURS "redis+sentinel://:pw@127.0.0.1:%u,127.0.0.1:%u/%s?sentinel-password=sentinels"

Test(uv_redis_sentinel, a_failover)
{
    char connected[64];

    start_all();
    const struct ph_redis_conf c = rkit_parse(OURS, rkit_port(), port[SENTINEL], "main");
    struct ph_redis *r = rkit_connect(&c); /* the first sentinel is not there */
    cr_expect_str_eq(rkit_ask(r, "SET k v"), "OK");
    snprintf(connected, sizeof connected, "connected to 127.0.0.1:%u", port[MASTER]);
    cr_expect(strstr(rkit_log, connected), "%s", rkit_log);

    cr_expect_str_eq(rkit_ask(r, "WAIT 1 1000"), "1", "the replica has it too");
    rkit_end(&rkit_pids[MASTER]);
    for (int ms = 0; ms < 30000 && ph_redis_stats(r)->connects < 2; ms += 50)
        rkit_run_ms(50); /* some 2 s; but a machine under load */
    RUN_UNTIL(ph_redis_stats(r)->connects == 2);
    snprintf(connected, sizeof connected, "connected to 127.0.0.1:%u", port[REPLICA]);
    cr_expect(strstr(rkit_log, connected), "%s", rkit_log);
    cr_expect_str_eq(rkit_ask(r, "GET k"), "v");
    cr_expect_str_eq(rkit_ask(r, "SET k w"), "OK", "and may be written");
    rkit_close(r);
}

Test(uv_redis_sentinel, what_a_real_sentinel_refuses)
{
    port[MASTER] = rkit_port();
    port[SENTINEL] = rkit_port();
    start_redis(MASTER, "");
    start_sentinel();
    struct ph_redis_conf c = rkit_parse(OURS, port[SENTINEL], port[SENTINEL], "other");
    struct ph_redis *r = rkit_open(&c);
    RUN_UNTIL(ph_redis_stats(r)->failures == 1);
    cr_expect(strstr(rkit_log, "the sentinel knows no master of the name other"), "%s", rkit_log);
    rkit_close(r);
    c = rkit_parse(OURS, port[SENTINEL], port[SENTINEL], "main");
    snprintf(c.sentinel_password, sizeof c.sentinel_password, "hunter2");
    r = rkit_open(&c);
    RUN_UNTIL(ph_redis_stats(r)->failures == 1);
    cr_expect(strstr(rkit_log, "the user or password is refused (WRONGPASS)"), "%s", rkit_log);
    rkit_close(r);
    c = rkit_parse("redis+sentinel://:pw@127.0.0.1:%u/main?sentinel-password=pw", port[MASTER]);
    r = rkit_open(&c);
    RUN_UNTIL(ph_redis_stats(r)->failures == 1);
    cr_expect(strstr(rkit_log, "it is no sentinel, or does not serve us (ERR)"), "%s", rkit_log);
    rkit_close(r);
    cr_expect(!strstr(rkit_log, "hunter2"), "%s", rkit_log);
}

/* --- made-up ones ---------------------------------------------------------------------------------- */

static char master_is[128]; /* what the sentinel says */

static void sentinel(struct fake *f, char **arg, unsigned n)
{
    if (fake_greets(f, arg))
        return;
    cr_expect(n == 3 && strcmp(arg[0], "SENTINEL") == 0 &&
              strcmp(arg[1], "get-master-addr-by-name") == 0 && strcmp(arg[2], "main") == 0);
    fake_say(f, master_is);
}

static void say_master(uint16_t at)
{
    snprintf(master_is, sizeof master_is, "*2\r\n$9\r\n127.0.0.1\r\n$5\r\n%05u\r\n", at);
}

static void silent(struct fake *f, char **arg, unsigned n)
{
    (void)f, (void)arg, (void)n;
}

static const char *role = "master", *refusal;

static void server(struct fake *f, char **arg, unsigned n)
{
    char text[256];

    (void)n;
    if (strcmp(arg[0], "ROLE") == 0) {
        snprintf(text, sizeof text, "*3\r\n$%zu\r\n%s\r\n:0\r\n*0\r\n", strlen(role), role);
        fake_say(f, *role == '-' ? role : text);
    } else if (!fake_greets(f, arg)) {
        snprintf(text, sizeof text, "%s\r\n", refusal ? refusal : "+fine");
        fake_say(f, text);
    }
}

/* fake 0 is a sentinel; 1 and 2 are servers. */
static struct ph_redis_conf make_up(void)
{
    fake_listen_ith(0, sentinel);
    fake_listen_ith(1, server);
    fake_listen_ith(2, server);
    say_master(fake_ith(1)->port);
    return rkit_parse("redis+sentinel://127.0.0.1:%u/main/2", fake.port);
}

Test(uv_redis_sentinel, a_server_that_is_no_master_yet)
{
    const struct ph_redis_conf c = make_up();

    role = "slave";
    struct ph_redis *r = rkit_open(&c);
    RUN_UNTIL(ph_redis_stats(r)->failures == 3);
    cr_expect(strstr(rkit_log, "it is not the master yet, or not any more (role slave)"), "%s",
              rkit_log);
    cr_expect_eq(fake.connections, 3, "asked again each time");
    role = "master";
    RUN_UNTIL(ph_redis_stats(r)->up);
    cr_expect_str_eq(rkit_ask(r, "GET k"), "fine");
    rkit_close(r);
}

Test(uv_redis_sentinel, a_user_who_may_not_ask_for_the_role)
{
    const struct ph_redis_conf c = make_up();

    role = "-NOPERM this user has no permissions to run the 'role' command\r\n";
    struct ph_redis *r = rkit_connect(&c);
    cr_expect_str_eq(rkit_ask(r, "GET k"), "fine");
    rkit_close(r);
}

Test(uv_redis_sentinel, a_master_that_is_none_any_more)
{
    const struct ph_redis_conf c = make_up();

    struct ph_redis *r = rkit_connect(&c);
    refusal = "-READONLY You can't write against a read only replica.";
    say_master(fake_ith(2)->port);
    cr_expect(strstr(rkit_ask(r, "SET k v"), "!READONLY"));
    refusal = NULL;
    RUN_UNTIL(ph_redis_stats(r)->up);
    cr_expect_eq(fake_ith(2)->connections, 1, "asked where to, and gone there");
    cr_expect_eq(fake_ith(1)->connections, 1);
    cr_expect_str_eq(rkit_ask(r, "SET k v"), "fine");
    rkit_close(r);
}

Test(uv_redis_sentinel, sentinels_that_are_of_no_use_are_passed_over)
{
    struct ph_redis_conf c = make_up();

    fake_stop(fake_ith(2));
    fake_listen_ith(2, silent);
    fake_listen_ith(3, sentinel);
    const uint16_t nobody = rkit_port();
    c = rkit_parse("redis+sentinel://no-such-host.invalid,127.0.0.1:%u,127.0.0.1:%u,127.0.0.1:%u/"
                   "main?timeout=1",
                   nobody, fake_ith(2)->port, fake_ith(3)->port);
    c.connect_timeout_ms = 200;
    struct ph_redis *r = rkit_connect(&c);
    cr_expect_eq(fake_ith(3)->connections, 1);
    fake_hang_up(fake_ith(1));
    RUN_UNTIL(ph_redis_stats(r)->connects == 2);
    cr_expect_eq(fake_ith(3)->connections, 2, "the one that was of use is asked first");
    cr_expect_eq(fake_ith(2)->connections, 1);
    rkit_close(r);
}

Test(uv_redis_sentinel, answers_that_are_none)
{
    static const char *const what[] = {
        "*-1\r\n",
        "*0\r\n",
        "+OK\r\n",
        ":1\r\n",
        "*2\r\n$1\r\na\r\n$1\r\n0\r\n",
        "*2\r\n$1\r\na\r\n$5\r\n65536\r\n",
        "*2\r\n$1\r\na\r\n$2\r\n-1\r\n",
        "*2\r\n$1\r\na\r\n$1\r\nx\r\n",
        "*2\r\n$0\r\n\r\n$1\r\n1\r\n",
        "*2\r\n:1\r\n:1\r\n",
        "-IDONTKNOW\r\n",
        "HTTP/1.1 400\r\n\r\n",
    };
    const struct ph_redis_conf c = make_up();

    for (size_t i = 0; i < sizeof what / sizeof *what; i++) {
        memcpy(master_is, what[i], strlen(what[i]) + 1);
        struct ph_redis *r = rkit_open(&c);
        RUN_UNTIL(ph_redis_stats(r)->failures == 1);
        cr_expect_eq(fake_ith(1)->connections, 0, "%s", what[i]);
        say_master(fake_ith(1)->port);
        RUN_UNTIL(ph_redis_stats(r)->up);
        rkit_close(r);
        fake_ith(1)->connections = 0;
    }
}

Test(uv_redis_sentinel, may_be_freed_at_any_moment)
{
    struct ph_redis_conf c = make_up();

    rkit_close(rkit_open(&c)); /* before it began */
    struct ph_redis *r = rkit_open(&c);
    RUN_UNTIL(fake.connections == 1);
    rkit_close(r); /* while the sentinel is asked */
    fake_stop(fake_ith(1));
    fake_listen_ith(1, silent);
    r = rkit_open(&c);
    RUN_UNTIL(fake_ith(1)->connections == 1);
    rkit_close(r); /* while the master is greeted */
    fake_stop(&fake);
    r = rkit_open(&c);
    RUN_UNTIL(ph_redis_stats(r)->failures == 1);
    rkit_close(r); /* while it waits */
}
#else
#include <criterion/criterion.h>

Test(uv_redis_sentinel, needs_hiredis)
{
    cr_skip_test("built without hiredis");
}
#endif
