/*
 * The connection to Redis: against the real server, and against one that misbehaves in every way a network allows.
 */
#ifdef PH_HAVE_REDIS
#include "uv/redis_kit.h"

TestSuite(uv_redis, .init = rkit_setup, .fini = rkit_teardown, .timeout = 60);

/* --- the real server ------------------------------------------------------------------------------- */

Test(uv_redis, bytes_come_back_as_they_went)
{
    const char bytes[] = "%s%n\r\n*1\r\n$8\r\nFLUSHALL\r\n\0 \xFF\"'";
    const struct ph_slice value = {(const uint8_t *)bytes, sizeof bytes - 1};
    struct answer a = {0};

    rkit_server(NULL, NULL);
    const struct ph_redis_conf c = rkit_conf();
    struct ph_redis *r = rkit_connect(&c);
    cr_assert_eq(
        ph_redis_command(r, (struct ph_slice[]){ph_str("SET"), value, value}, 3, on_answer, &a), 0);
    RUN_UNTIL(a.calls == 1);
    cr_expect_str_eq(a.text, "OK");
    cr_expect_str_eq(rkit_ask(r, "DBSIZE"), "1");
    cr_assert_eq(
        ph_redis_command(r, (struct ph_slice[]){ph_str("STRLEN"), value}, 2, on_answer, &a), 0);
    RUN_UNTIL(a.calls == 2);
    cr_expect_eq(atoi(a.text), (int)value.n);
    cr_expect_eq(ph_redis_command(r, (struct ph_slice[]){ph_str("ECHO"), {0}}, 2, on_answer, &a),
                 0);
    RUN_UNTIL(a.calls == 3);
    cr_expect_str_eq(a.text, "", "an empty argument is an argument");
    cr_expect_eq(ph_redis_stats(r)->commands, 4);
    cr_expect_eq(ph_redis_stats(r)->errors, 0);
    rkit_close(r);
}

Test(uv_redis, the_database_is_selected)
{
    rkit_server(NULL, NULL);
    struct ph_redis_conf c = rkit_conf();
    struct ph_redis *zero = rkit_connect(&c);
    c.db = 5;
    struct ph_redis *five = rkit_connect(&c);
    cr_expect_str_eq(rkit_ask(five, "SET k five"), "OK");
    cr_expect_str_eq(rkit_ask(zero, "GET k"), "nil");
    ph_redis_free(zero);
    rkit_close(five);
}

Test(uv_redis, a_database_that_is_not_there_is_named_as_the_cause)
{
    rkit_server(NULL, NULL);
    struct ph_redis_conf c = rkit_conf();
    c.db = 99;
    struct ph_redis *r = rkit_open(&c);
    RUN_UNTIL(ph_redis_stats(r)->failures > 0);
    cr_expect(strstr(rkit_log, "database"), "%s", rkit_log);
    cr_expect(!ph_redis_stats(r)->up);
    rkit_close(r);
}

Test(uv_redis, passwords_and_users)
{
    rkit_server("--requirepass", "p%40 ss");
    struct ph_redis_conf c = rkit_conf();
    snprintf(c.password, sizeof c.password, "p%%40 ss");
    struct ph_redis *r = rkit_connect(&c);
    cr_expect_str_eq(rkit_ask(r, "ACL SETUSER turn on >secret ~turn/* +@all"), "OK");
    snprintf(c.user, sizeof c.user, "turn");
    snprintf(c.password, sizeof c.password, "secret");
    struct ph_redis *as_user = rkit_connect(&c);
    cr_expect_str_eq(rkit_ask(as_user, "ACL WHOAMI"), "turn");
    cr_expect(strstr(rkit_ask(as_user, "GET elsewhere"), "!NOPERM"));
    cr_expect(ph_redis_stats(as_user)->up, "an error is an answer like others");
    cr_expect_eq(ph_redis_stats(as_user)->errors, 1);
    ph_redis_free(r);
    rkit_close(as_user);
}

Test(uv_redis, a_wrong_password_is_told_without_showing_it)
{
    rkit_server("--requirepass", "right");
    struct ph_redis_conf c = rkit_conf();
    struct ph_redis *none = rkit_open(&c);
    RUN_UNTIL(ph_redis_stats(none)->failures > 0);
    cr_expect(strstr(rkit_log, "without a password (NOAUTH)"), "%s", rkit_log);
    snprintf(c.password, sizeof c.password, "hunter2");
    struct ph_redis *wrong = rkit_open(&c);
    RUN_UNTIL(ph_redis_stats(wrong)->failures > 0);
    cr_expect(strstr(rkit_log, "refused (WRONGPASS)"), "%s", rkit_log);
    cr_expect(!strstr(rkit_log, "hunter2"), "%s", rkit_log);
    cr_expect(!ph_redis_stats(wrong)->up && !ph_redis_stats(none)->up);
    ph_redis_free(none);
    rkit_close(wrong);
}

Test(uv_redis, a_password_that_nobody_wants_does_no_harm)
{
    rkit_server(NULL, NULL);
    struct ph_redis_conf c = rkit_conf();
    snprintf(c.password, sizeof c.password, "unused");
    struct ph_redis *r = rkit_connect(&c);
    cr_expect(strstr(rkit_log, "no password set"), "%s", rkit_log);
    rkit_close(r);
}

Test(uv_redis, comes_back_when_the_server_does)
{
    struct answer a = {0};

    rkit_server(NULL, NULL);
    const struct ph_redis_conf c = rkit_conf();
    struct ph_redis *r = rkit_connect(&c);
    cr_assert_eq(rkit_send(r, "BLPOP nothing 0", &a), 0);
    rkit_run_ms(20);
    rkit_kill();
    RUN_UNTIL(a.calls == 1);
    cr_expect_str_eq(a.text, "nothing");
    cr_expect(!ph_redis_stats(r)->up);
    cr_expect_eq(rkit_send(r, "PING", &a), PH_E_STATE);
    rkit_run_ms(300);
    rkit_server(NULL, NULL);
    RUN_UNTIL(ph_redis_stats(r)->up);
    cr_expect_str_eq(rkit_ask(r, "ECHO again"), "again");
    cr_expect_eq(ph_redis_stats(r)->connects, 2);
    cr_expect_geq(ph_redis_stats(r)->failures, 2);
    cr_expect_eq(a.calls, 1, "answered once");
    rkit_close(r);
}

/* --- not there ------------------------------------------------------------------------------------- */

static void half_rand(void *ctx, void *dst, size_t n)
{
    (void)ctx;
    memset(dst, 0, n);
}

Test(uv_redis, tries_again_ever_more_slowly)
{
    const struct ph_redis_conf c = rkit_conf();
    rkit_env.rand = half_rand; /* the shortest waits: 50, 100, 200, 400 ms */
    struct ph_redis *r = rkit_open(&c);
    rkit_run_ms(700);
    cr_expect_geq(ph_redis_stats(r)->failures, 3);
    cr_expect_leq(ph_redis_stats(r)->failures, 4);
    const char *first = strstr(rkit_log, "1 redis /tmp/"); /* PH_LOG_WARN */
    cr_assert(first && strstr(rkit_log, "cannot connect"), "%s", rkit_log);
    cr_expect_null(strstr(first + 1, "\n1 "), "one outage is one warning:\n%s", rkit_log);
    rkit_close(r);
}

static void healthy(struct fake *f, char **arg, unsigned n)
{
    (void)n;
    if (!fake_greets(f, arg))
        fake_say(f, "+fine\r\n");
}

Test(uv_redis, a_name_is_looked_up_and_all_its_addresses_are_tried)
{
    struct ph_redis_conf c = rkit_conf();
    c.path[0] = '\0';
    snprintf(c.host, sizeof c.host, "localhost"); /* ::1 as well, where nobody listens */
    c.port = fake_listen_tcp(healthy);
    struct ph_redis *r = rkit_connect(&c);
    cr_expect_str_eq(rkit_ask(r, "GET x"), "fine");
    rkit_close(r);
}

Test(uv_redis, a_name_that_does_not_exist_is_told)
{
    struct ph_redis_conf c = rkit_conf();
    c.path[0] = '\0';
    snprintf(c.host, sizeof c.host, "no-such-host.invalid");
    struct ph_redis *r = rkit_open(&c);
    RUN_UNTIL(ph_redis_stats(r)->failures > 0);
    cr_expect(strstr(rkit_log, "redis no-such-host.invalid:6379: cannot connect"), "%s", rkit_log);
    rkit_close(r);
}

/* --- misbehaviour ---------------------------------------------------------------------------------- */

static struct ph_redis_conf impatient(void)
{
    struct ph_redis_conf c = rkit_conf();

    c.connect_timeout_ms = 80;
    c.command_timeout_ms = 80;
    return c;
}

static void silent(struct fake *f, char **arg, unsigned n)
{
    (void)f;
    (void)arg;
    (void)n;
}

Test(uv_redis, a_server_that_accepts_and_says_nothing)
{
    const struct ph_redis_conf c = impatient();
    fake_listen_unix(silent);
    struct ph_redis *r = rkit_open(&c);
    RUN_UNTIL(fake.connections == 2);
    cr_expect_geq(ph_redis_stats(r)->failures, 1);
    cr_expect(!ph_redis_stats(r)->up);
    cr_expect(strstr(rkit_log, "connected but does not answer"), "%s", rkit_log);
    rkit_close(r);
}

static bool answering;

static void sleepy(struct fake *f, char **arg, unsigned n)
{
    if (!fake_greets(f, arg) && answering && n > 1) {
        fake_say(f, "+");
        fake_say(f, arg[1]);
        fake_say(f, "\r\n");
    }
}

Test(uv_redis, a_late_reply_is_nobodys)
{
    struct answer a = {0};
    const struct ph_redis_conf c = impatient();

    answering = false;
    fake_listen_unix(sleepy);
    struct ph_redis *r = rkit_connect(&c);
    cr_assert_eq(rkit_send(r, "GET one", &a), 0);
    RUN_UNTIL(a.calls == 1);
    cr_expect_str_eq(a.text, "nothing");
    cr_expect(ph_redis_stats(r)->up);
    answering = true;
    fake_say(&fake, "+one\r\n");
    cr_expect_str_eq(rkit_ask(r, "GET two"), "two", "not the late one's");
    cr_expect_eq(a.calls, 1);
    cr_expect_eq(ph_redis_stats(r)->errors, 1);
    cr_expect_eq(fake.connections, 1, "and the connection stays");
    rkit_close(r);
}

Test(uv_redis, a_server_that_falls_silent_is_left)
{
    struct answer a[3] = {0};
    const struct ph_redis_conf c = impatient();

    answering = false;
    fake_listen_unix(sleepy);
    struct ph_redis *r = rkit_connect(&c);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(rkit_send(r, "GET x", &a[i]), 0);
    RUN_UNTIL(fake.connections == 2);
    for (int i = 0; i < 3; i++) {
        cr_expect_eq(a[i].calls, 1);
        cr_expect_str_eq(a[i].text, "nothing");
    }
    RUN_UNTIL(ph_redis_stats(r)->up);
    answering = true;
    cr_expect_str_eq(rkit_ask(r, "GET y"), "y");
    rkit_close(r);
}

static const char *rubbish;
static bool loading;

static void rude(struct fake *f, char **arg, unsigned n)
{
    (void)n;
    if (loading)
        fake_say(f, "-LOADING Redis is loading the dataset in memory\r\n");
    else if (!fake_greets(f, arg))
        fake_say(f, rubbish);
}

Test(uv_redis, garbage_is_no_reply)
{
    static const char *const what[] = {
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "*2147483647\r\n",
        "*99999999999999999999\r\n",
        "$-5\r\n",
        "$-99999999999999999999\r\n",
        ":notanumber\r\n",
        "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n",
    };
    const struct ph_redis_conf c = impatient();

    fake_listen_unix(rude);
    for (size_t i = 0; i < sizeof what / sizeof *what; i++) {
        struct ph_redis *r = rkit_connect(&c);
        rubbish = what[i];
        cr_expect_str_eq(rkit_ask(r, "GET x"), "nothing", "%s", what[i]);
        RUN_UNTIL(ph_redis_stats(r)->up);
        rubbish = "$-1\r\n";
        cr_expect_str_eq(rkit_ask(r, "GET x"), "nil", "after %s", what[i]);
        cr_expect_eq(ph_redis_stats(r)->failures, 1, "%s", what[i]);
        rkit_close(r);
    }
}

Test(uv_redis, what_nobody_asked_for_breaks_the_connection_and_no_more)
{
    const struct ph_redis_conf c = impatient();

    fake_listen_unix(rude);
    struct ph_redis *r = rkit_connect(&c);
    rubbish = "+one\r\n+two\r\n";
    cr_expect_str_eq(rkit_ask(r, "GET x"), "one");
    RUN_UNTIL(fake.connections == 2 && ph_redis_stats(r)->up);
    cr_expect(strstr(rkit_log, "nobody asked for"), "%s", rkit_log);
    fake_say(&fake, "-ERR max number of clients reached\r\n");
    RUN_UNTIL(fake.connections == 3 && ph_redis_stats(r)->up);
    rkit_close(r);
}

Test(uv_redis, an_endless_reply_is_not_kept)
{
    static char much[1 << 16];
    const struct ph_redis_conf c = rkit_conf();
    struct answer a = {0};

    fake_listen_unix(rude);
    rubbish = "$1000000000\r\n";
    struct ph_redis *r = rkit_connect(&c);
    memset(much, 'x', sizeof much);
    cr_assert_eq(rkit_send(r, "GET x", &a), 0);
    RUN_UNTIL(fake.commands == 2);
    size_t sent = 0;
    for (int i = 0; i < 20000 && !a.calls; i++) {
        const ssize_t n = fake.fd <= 0 ? 0 : send(fake.fd, much, sizeof much, MSG_NOSIGNAL);
        sent += n > 0 ? (size_t)n : 0;
        rkit_turn();
    }
    cr_expect_eq(a.calls, 1);
    cr_expect_leq(sent, 32 << 20);
    cr_expect(strstr(rkit_log, "too long"), "%s", rkit_log);
    rkit_close(r);
}

static void breaker(struct fake *f, char **arg, unsigned n)
{
    if (n > 1 && strcmp(arg[0], "GET") == 0) {
        fake_say(f, "*2\r\n$3\r\none\r\n$3\r\ntw");
        fake_hang_up(f);
        return;
    }
    healthy(f, arg, n);
}

Test(uv_redis, a_connection_that_breaks_within_a_reply)
{
    const struct ph_redis_conf c = impatient();

    fake_listen_unix(breaker);
    struct ph_redis *r = rkit_connect(&c);
    for (unsigned i = 2; i < 5; i++) {
        cr_expect_str_eq(rkit_ask(r, "GET x"), "nothing");
        RUN_UNTIL(fake.connections == i && ph_redis_stats(r)->up);
        cr_expect_str_eq(rkit_ask(r, "ECHO x"), "fine");
    }
    rkit_close(r);
}

static const char *refusal;

static void read_only(struct fake *f, char **arg, unsigned n)
{
    char text[256];

    snprintf(text, sizeof text, "-%s\r\n", refusal);
    if (strcmp(arg[0], "SET") == 0)
        fake_say(f, text);
    else
        healthy(f, arg, n);
}

/* How Redis 6 begins. */
#define OLD_SCRIPT "ERR Error running script (call to f_5f): @user_script:1: @user_script: 1: "

Test(uv_redis, a_server_that_is_not_the_master_is_left)
{
    static const char *const what[] = {
        "READONLY You can't write against a read only replica.",
        "READONLY You can't write against a read only replica. script: 5f, on @user_script:1.",
        OLD_SCRIPT "-READONLY You can't write",
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        "LOADING Redis is loading the dataset in memory",
    };
    const struct ph_redis_conf c = impatient();

    fake_listen_unix(read_only);
    for (size_t i = 0; i < sizeof what / sizeof *what; i++) {
        struct ph_redis *r = rkit_connect(&c);
        const unsigned before = fake.connections;
        refusal = what[i];
        cr_expect(strstr(rkit_ask(r, "SET k v"), what[i]), "the command gets the error");
        RUN_UNTIL(fake.connections == before + 1 && ph_redis_stats(r)->up);
        cr_expect_eq(ph_redis_stats(r)->errors, 1);
        cr_expect_eq(ph_redis_stats(r)->failures, 1);
        cr_expect(strstr(rkit_log, "not the master, or not ready"), "%s", rkit_log);
        rkit_close(r);
    }
}

Test(uv_redis, an_error_is_no_reason_to_leave)
{
    static const char *const what[] = {
        "ERR unknown command 'READONLY ', with args beginning with: -READONLY ",
        "READONLYX",
        "MISCONF Redis is configured to save",
        "WRONGTYPE Operation",
        "NOREPLICAS x",
        "BUSY Redis is busy",
        "MOVED 5 127.0.0.1:1",
        "MOVED 6 127.0.0.1:1"};
    const struct ph_redis_conf c = impatient();

    fake_listen_unix(read_only);
    struct ph_redis *r = rkit_connect(&c);
    for (size_t i = 0; i < sizeof what / sizeof *what; i++) {
        refusal = what[i];
        cr_expect(strstr(rkit_ask(r, "SET k v"), what[i]));
    }
    cr_expect_str_eq(rkit_ask(r, "GET k"), "fine");
    cr_expect_eq(fake.connections, 1);
    const char *hint = strstr(rkit_log, "is part of a cluster");
    cr_assert(hint, "%s", rkit_log);
    cr_expect_null(strstr(hint + 1, "is part of a cluster"), "said once");
    rkit_close(r);
}

Test(uv_redis, a_real_replica_is_left)
{
    char words[200];
    const uint16_t master = rkit_port(), replica = rkit_port();

    snprintf(words, sizeof words, "--bind 127.0.0.1 --port %u --save  --dir %s", master, rkit_dir);
    rkit_start(0, master, words);
    snprintf(words, sizeof words,
             "--bind 127.0.0.1 --port %u --save  --dir %s --replicaof 127.0.0.1 %u", replica,
             rkit_dir, master);
    rkit_start(1, replica, words);
    const struct ph_redis_conf c = rkit_parse("redis://127.0.0.1:%u", replica);
    struct ph_redis *r = rkit_connect(&c);
    const char *const script = rkit_ask(r, "EVAL return(redis.call('set',KEYS[1],'v')) 1 k");
    cr_expect(strstr(script, "READONLY") || strstr(script, "MASTERDOWN"), "%s", script);
    RUN_UNTIL(ph_redis_stats(r)->connects == 2);
    rkit_close(r);
}

Test(uv_redis, a_server_that_loads_is_waited_for)
{
    const struct ph_redis_conf c = impatient();

    fake_listen_unix(rude);
    loading = true;
    struct ph_redis *r = rkit_open(&c);
    RUN_UNTIL(ph_redis_stats(r)->failures == 2);
    cr_expect(strstr(rkit_log, "still loading its data"), "%s", rkit_log);
    loading = false;
    RUN_UNTIL(ph_redis_stats(r)->up);
    rkit_close(r);
}

/* --- endings --------------------------------------------------------------------------------------- */

Test(uv_redis, commands_are_bounded)
{
    static struct answer a[PH_REDIS_PENDING + 10];
    const struct ph_redis_conf c = rkit_conf();
    unsigned sent = 0;

    answering = false;
    fake_listen_unix(sleepy);
    struct ph_redis *r = rkit_open(&c);
    cr_expect_eq(rkit_send(r, "GET early", &a[0]), PH_E_STATE);
    RUN_UNTIL(ph_redis_stats(r)->up);
    cr_expect_eq(ph_redis_command(r, NULL, 0, on_answer, a), PH_E_ARG);
    while (sent < PH_REDIS_PENDING + 5 && rkit_send(r, "GET x", &a[sent]) == 0)
        sent++;
    cr_expect_eq(sent, PH_REDIS_PENDING);
    cr_expect_eq(rkit_send(r, "GET x", &a[sent]), PH_E_LIMIT);
    ph_redis_free(r);
    for (unsigned i = 0; i < sent; i++)
        cr_assert_eq(a[i].calls, 1);
    cr_expect_eq(a[sent].calls, 0);
    rkit_close(NULL);
}

static struct ph_redis *doomed;
static unsigned ends;

static void end_it(void *ctx, const redisReply *reply)
{
    (void)ctx;
    (void)reply;
    ends++;
    ph_redis_free(doomed);
}

static void send_ends(unsigned n)
{
    const struct ph_slice get[] = {ph_str("GET"), ph_str("x")};

    ends = 0;
    for (unsigned i = 0; i < n; i++)
        cr_assert_eq(ph_redis_command(doomed, get, 2, end_it, NULL), 0);
}

Test(uv_redis, may_be_freed_from_an_answer)
{
    const struct ph_redis_conf c = rkit_conf();

    fake_listen_unix(healthy);
    doomed = rkit_connect(&c);
    send_ends(3); /* all three replies come in one piece */
    RUN_UNTIL(!uv_loop_alive(&loop));
    cr_expect_eq(ends, 3);
}

Test(uv_redis, may_be_freed_from_the_answer_of_a_broken_connection)
{
    const struct ph_redis_conf c = rkit_conf();

    fake_listen_unix(breaker);
    doomed = rkit_connect(&c);
    send_ends(3);
    RUN_UNTIL(!uv_loop_alive(&loop));
    cr_expect_eq(ends, 3);
}

static void ask_again(void *ctx, const redisReply *reply)
{
    const struct ph_slice get[] = {ph_str("GET"), ph_str("x")};
    const int err = ph_redis_command(doomed, get, 2, ask_again, ctx);

    if (reply)
        ends++;
    if (!reply)
        cr_expect_eq(err, PH_E_STATE);
}

Test(uv_redis, answers_may_ask)
{
    const struct ph_redis_conf c = rkit_conf();

    fake_listen_unix(healthy);
    ends = 0;
    doomed = rkit_connect(&c);
    ask_again(NULL, &(redisReply){0});
    RUN_UNTIL(ends == 50);
    rkit_close(doomed);
}

Test(uv_redis, may_be_freed_at_any_moment)
{
    struct ph_redis_conf c = impatient();

    fake_listen_unix(silent);
    rkit_close(rkit_open(&c)); /* before it began */
    struct ph_redis *r = rkit_open(&c);
    RUN_UNTIL(fake.connections == 1);
    rkit_close(r); /* while it greets */
    c.path[0] = '\0';
    snprintf(c.host, sizeof c.host, "localhost");
    c.port = 1;
    r = rkit_open(&c);
    uv_run(&loop, UV_RUN_NOWAIT);
    rkit_close(r); /* while the name is looked up */
    r = rkit_open(&c);
    RUN_UNTIL(ph_redis_stats(r)->failures == 1);
    rkit_close(r); /* while it waits */
}
#else
#include <criterion/criterion.h>

Test(uv_redis, needs_hiredis)
{
    cr_skip_test("built without hiredis");
}
#endif
