/*
 * Clusters that are made up: nodes that refer to each other, to nowhere and in circles, maps that are wrong, and
 * endings at every moment.
 */
#ifdef PH_HAVE_REDIS
#include "uv/redis_kit.h"

static char told[16]; /* 'u', 'd' */
static char map[1024], seen[512];
static const char *say[RKIT_FAKES]; /* what a node says to commands; NULL: it says which it is */

static unsigned index_of(const struct fake *f)
{
    unsigned i = 0;

    while (fake_ith(i) != f)
        i++;
    return i;
}

static void node(struct fake *f, char **arg, unsigned n)
{
    const unsigned i = index_of(f);
    char text[128];

    (void)n;
    if (fake_greets(f, arg))
        return;
    if (strcmp(arg[0], "CLUSTER") == 0) {
        fake_say(f, map);
        return;
    }
    snprintf(seen + strlen(seen), sizeof seen - strlen(seen), "%u%s ", i, arg[0]);
    if (strcmp(arg[0], "ASKING") == 0 || !say[i])
        snprintf(text, sizeof text, "+%u\r\n", i);
    else
        snprintf(text, sizeof text, "%s\r\n", say[i]);
    fake_say(f, text);
}

static void silent(struct fake *f, char **arg, unsigned n)
{
    (void)f, (void)arg, (void)n;
}

/* A map: slots up to 8191 are of fake a, the others of fake b. */
static void map_is(unsigned a, unsigned b)
{
    snprintf(map, sizeof map,
             "*2\r\n*3\r\n:0\r\n:8191\r\n*2\r\n$9\r\n127.0.0.1\r\n:%u\r\n"
             "*3\r\n:8192\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:%u\r\n",
             fake_ith(a)->port, fake_ith(b)->port);
}

/* Keys of the one and the other. */
#define LOW  "bar" /* 5061 */
#define HIGH "foo" /* 12182 */

static struct ph_redis_conf conf;

static void setup(void)
{
    rkit_setup();
    for (unsigned i = 0; i < RKIT_FAKES; i++)
        fake_listen_ith(i, node);
    map_is(0, 1);
    conf = rkit_parse("redis+cluster://127.0.0.1:%u", fake.port);
    conf.connect_timeout_ms = conf.command_timeout_ms = 200;
}

TestSuite(uv_redis_cluster_faults, .init = setup, .fini = rkit_teardown, .timeout = 60);

static void on_state(void *ctx, bool up)
{
    (void)ctx;
    strcat(told, up ? "u" : "d");
}

static struct ph_redis *connect_it(void)
{
    struct ph_redis *r = rkit_connect(&conf);

    ph_redis_watch(r, on_state, NULL);
    return r;
}

/* "-MOVED 12182 127.0.0.1:port", of a fake. */
static const char *refer(char text[static 64], const char *how, unsigned to)
{
    snprintf(text, 64, "-%s 12182 127.0.0.1:%u", how, fake_ith(to)->port);
    return text;
}

/* --- references ------------------------------------------------------------------------------------ */

Test(uv_redis_cluster_faults, commands_go_by_the_map)
{
    struct ph_redis *r = connect_it();

    cr_expect_str_eq(rkit_ask(r, "GET " LOW), "0");
    cr_expect_str_eq(rkit_ask(r, "GET " HIGH), "1");
    cr_expect_str_eq(rkit_ask(r, "PUBLISH " HIGH " x"), "0", "no key: any, always the same");
    cr_expect_eq(ph_redis_stats(r)->commands, 3);
    cr_expect_eq(ph_redis_stats(r)->connects, 2);
    rkit_close(r);
}

Test(uv_redis_cluster_faults, moved_to_a_node_that_is_new)
{
    char text[64];
    struct ph_redis *r = connect_it();

    say[1] = refer(text, "MOVED", 2);
    map_is(0, 2);
    cr_expect_str_eq(rkit_ask(r, "GET " HIGH), "2");
    cr_expect_str_eq(seen, "1GET 2GET ");
    cr_expect_str_eq(rkit_ask(r, "GET " HIGH), "2");
    cr_expect_str_eq(seen, "1GET 2GET 2GET ", "remembered");
    cr_expect_eq(ph_redis_stats(r)->errors, 0);
    const struct fake *old = fake_ith(1);
    RUN_UNTIL(old->conn[0].fd == 0 &&
              old->conn[1].fd == 0); /* the map has been asked for: it is left */
    cr_expect_str_eq(told, "");
    rkit_close(r);
}

Test(uv_redis_cluster_faults, asked_to_go_elsewhere_once)
{
    char text[64];
    struct ph_redis *r = connect_it();

    say[1] = refer(text, "ASK", 2);
    cr_expect_str_eq(rkit_ask(r, "GET " HIGH), "2");
    cr_expect_str_eq(rkit_ask(r, "GET " HIGH), "2");
    cr_expect_str_eq(seen, "1GET 2ASKING 2GET 1GET 2ASKING 2GET ", "not remembered");
    cr_expect_eq(ph_redis_stats(r)->errors, 0);
    rkit_close(r);
}

Test(uv_redis_cluster_faults, sent_round_in_circles)
{
    char there[64], back[64];
    struct ph_redis *r = connect_it();

    say[1] = refer(there, "MOVED", 0);
    say[0] = refer(back, "MOVED", 1);
    const char *got = rkit_ask(r, "GET " HIGH);
    cr_expect(strstr(got, "!MOVED 12182"), "%s", got);
    cr_expect_str_eq(seen, "1GET 0GET 1GET 0GET ", "three times, no more");
    cr_expect_eq(ph_redis_stats(r)->errors, 1);
    rkit_close(r);
}

Test(uv_redis_cluster_faults, moved_to_where_nobody_is)
{
    char text[64];
    struct ph_redis *r = connect_it();

    fake_stop(fake_ith(2));
    say[1] = refer(text, "MOVED", 2);
    cr_expect_str_eq(rkit_ask(r, "GET " HIGH), "nothing", "after a while");
    cr_expect_str_eq(rkit_ask(r, "GET " LOW), "0");
    say[1] = NULL;
    rkit_run_ms(500); /* the map is asked for, and is as before */
    cr_expect_str_eq(rkit_ask(r, "GET " HIGH), "1");
    rkit_close(r);
}

Test(uv_redis_cluster_faults, a_node_that_refers_to_itself_without_a_name)
{
    char text[64];
    struct ph_redis *r = connect_it();

    snprintf(text, sizeof text, "-MOVED 12182 :%u", fake_ith(2)->port);
    say[1] = text;
    cr_expect_str_eq(rkit_ask(r, "GET " HIGH), "2");
    rkit_close(r);
}

Test(uv_redis_cluster_faults, references_that_are_none)
{
    static const char *const what[] = {"-MOVED",     "-MOVED 99999 127.0.0.1:1", "-ASK 1 nowhere",
                                       "-MOVED x y", "-TRYAGAIN later",          "-CROSSSLOT no"};
    struct ph_redis *r = connect_it();

    for (size_t i = 0; i < sizeof what / sizeof *what; i++) {
        say[1] = what[i];
        const char *got = rkit_ask(r, "GET " HIGH);
        cr_expect_str_eq(got + 1, what[i] + 1);
    }
    cr_expect_str_eq(rkit_ask(r, "GET " LOW), "0");
    rkit_close(r);
}

/* --- maps ------------------------------------------------------------------------------------------ */

static void expect_no_map(const char *text, const char *says)
{
    snprintf(map, sizeof map, "%s", text);
    rkit_log[0] = '\0';
    struct ph_redis *r = rkit_open(&conf);
    RUN_UNTIL(ph_redis_stats(r)->failures == 1);
    cr_expect(strstr(rkit_log, says), "not \"%s\" but\n%s", says, rkit_log);
    struct answer a = {0};
    cr_expect_eq(rkit_send(r, "GET x", &a), PH_E_STATE);
    map_is(0, 1);
    RUN_UNTIL(ph_redis_stats(r)->up);
    cr_expect_str_eq(rkit_ask(r, "GET " LOW), "0");
    rkit_close(r);
}

Test(uv_redis_cluster_faults, maps_that_are_none)
{
    expect_no_map("-ERR This instance has cluster support disabled\r\n",
                  "it is no node of a cluster, or does not serve us (ERR This instance has cluster "
                  "support disabled)");
    expect_no_map("*0\r\n", "the cluster has no slots yet");
    expect_no_map("+OK\r\n", "its map of the cluster makes no sense");
    expect_no_map("*1\r\n*3\r\n:0\r\n:99999\r\n*2\r\n$1\r\na\r\n:1\r\n", "makes no sense");
    expect_no_map("HTTP/1.1 200 OK\r\n\r\n", "does not speak Redis' protocol");
}

Test(uv_redis_cluster_faults, a_map_with_a_hole)
{
    struct answer a = {0};

    snprintf(map, sizeof map, "*1\r\n*3\r\n:0\r\n:8191\r\n*2\r\n$-1\r\n:%u\r\n", fake.port);
    struct ph_redis *r = connect_it();
    cr_expect_str_eq(rkit_ask(r, "GET " LOW), "0");
    cr_expect_eq(rkit_send(r, "GET " HIGH, &a), PH_E_STATE);
    map_is(0, 1);
    rkit_run_ms(100);
    for (int i = 0; i < 100 && rkit_send(r, "GET " HIGH, &a) != 0; i++)
        rkit_run_ms(50); /* it is asked for again */
    RUN_UNTIL(a.calls == 1);
    cr_expect_str_eq(a.text, "1");
    rkit_close(r);
}

Test(uv_redis_cluster_faults, the_first_that_answers_will_do)
{
    const uint16_t nobody = rkit_port();

    fake_stop(fake_ith(3));
    fake_listen_ith(3, silent);
    conf = rkit_parse("redis+cluster://127.0.0.1:%u,127.0.0.1:%u,127.0.0.1:%u?timeout=1", nobody,
                      fake_ith(3)->port, fake_ith(2)->port);
    conf.connect_timeout_ms = 200;
    struct ph_redis *r = connect_it();
    cr_expect_eq(fake_ith(2)->connections, 1);
    cr_expect_eq(fake_ith(3)->connections, 1);
    rkit_close(r);
}

Test(uv_redis_cluster_faults, nobody_is_there)
{
    for (unsigned i = 0; i < RKIT_FAKES; i++)
        fake_stop(fake_ith(i));
    struct ph_redis *r = rkit_open(&conf);
    RUN_UNTIL(ph_redis_stats(r)->failures == 3);
    const char *first = strstr(rkit_log, "1 redis cluster (127.0.0.1:");
    cr_assert(first && strstr(first, "cannot connect: connection refused"), "%s", rkit_log);
    cr_expect_null(strstr(first + 1, "\n1 "), "one outage is one warning:\n%s", rkit_log);
    fake_listen_ith(0, node);
    fake_listen_ith(1, node);
    RUN_UNTIL(ph_redis_stats(r)->up);
    rkit_close(r);
}

/* --- losses ---------------------------------------------------------------------------------------- */

Test(uv_redis_cluster_faults, a_master_that_is_lost_and_replaced)
{
    struct answer a = {0};
    struct ph_redis *r = connect_it();

    fake_stop(fake_ith(1));
    RUN_UNTIL(told[0] == 'd');
    cr_expect_eq(rkit_send(r, "GET " HIGH, &a), PH_E_STATE);
    cr_expect_str_eq(rkit_ask(r, "GET " LOW), "0", "the others serve");
    rkit_run_ms(400);
    map_is(0, 2);
    RUN_UNTIL(told[1] == 'u');
    cr_expect_str_eq(rkit_ask(r, "GET " HIGH), "2");
    cr_expect_str_eq(told, "du");
    rkit_close(r);
}

Test(uv_redis_cluster_faults, a_cluster_that_is_down_for_a_while)
{
    struct ph_redis *r = connect_it();
    const unsigned before = fake.connections + fake_ith(1)->connections;

    say[1] = "-CLUSTERDOWN The cluster is down";
    cr_expect(strstr(rkit_ask(r, "GET " HIGH), "!CLUSTERDOWN"));
    RUN_UNTIL(fake.connections + fake_ith(1)->connections > before); /* the map is asked for */
    cr_expect_str_eq(told, "");
    rkit_close(r);
}

/* --- endings --------------------------------------------------------------------------------------- */

Test(uv_redis_cluster_faults, commands_are_bounded)
{
    static struct answer a[PH_REDIS_PENDING + 1];
    static const struct ph_slice none[1];
    unsigned sent = 0;
    struct ph_redis *r = connect_it();

    cr_expect_eq(ph_redis_command(r, none, 0, on_answer, a), PH_E_ARG);
    while (sent <= PH_REDIS_PENDING &&
           rkit_send(r, sent % 2 ? "GET " LOW : "GET " HIGH, &a[sent]) == 0)
        sent++;
    cr_expect_eq(sent, PH_REDIS_PENDING);
    cr_expect_eq(rkit_send(r, "GET x", &a[sent]), PH_E_LIMIT);
    ph_redis_free(r);
    for (unsigned i = 0; i < sent; i++)
        cr_assert_eq(a[i].calls, 1);
    rkit_close(NULL);
}

static struct ph_redis *doomed;
static unsigned ends;

static void end_it(void *ctx, const redisReply *reply)
{
    const struct ph_slice get[] = {ph_str("GET"), ph_str(LOW)};

    (void)ctx;
    (void)reply;
    ends++;
    ph_redis_free(doomed);
    cr_expect_eq(ph_redis_command(doomed, get, 2, end_it, NULL), PH_E_STATE);
}

static void send_ends(unsigned n)
{
    const struct ph_slice low[] = {ph_str("GET"), ph_str(LOW)}, high[] = {low[0], ph_str(HIGH)};

    for (unsigned i = 0; i < n; i++)
        cr_assert_eq(ph_redis_command(doomed, i % 2 ? low : high, 2, end_it, NULL), 0);
}

Test(uv_redis_cluster_faults, may_be_freed_from_an_answer)
{
    doomed = connect_it();
    send_ends(6);
    RUN_UNTIL(!uv_loop_alive(&loop));
    cr_expect_eq(ends, 6);
}

/* Those that wait for a node which is not there are answered too, by the time that runs out or by the end of it all. */
Test(uv_redis_cluster_faults, may_be_freed_while_commands_are_held)
{
    char text[64];

    fake_stop(fake_ith(2));
    say[0] = say[1] = refer(text, "MOVED", 2);
    doomed = connect_it();
    send_ends(6);
    RUN_UNTIL(!uv_loop_alive(&loop));
    cr_expect_eq(ends, 6, "late");
    doomed = connect_it();
    send_ends(2);
    RUN_UNTIL(strstr(seen, "GET 1GET ") || strstr(seen, "GET 0GET "));
    rkit_run_ms(20);
    rkit_close(doomed);
    cr_expect_eq(ends, 8);
}

static void end_when_down(void *ctx, bool up)
{
    (void)ctx;
    if (!up)
        ph_redis_free(doomed);
}

Test(uv_redis_cluster_faults, may_be_freed_by_the_watcher)
{
    doomed = connect_it();
    ph_redis_watch(doomed, end_when_down, NULL);
    fake_stop(fake_ith(1));
    RUN_UNTIL(!uv_loop_alive(&loop));
}

Test(uv_redis_cluster_faults, may_be_freed_at_any_moment)
{
    rkit_close(rkit_open(&conf)); /* before it began */
    struct ph_redis *r = rkit_open(&conf);
    RUN_UNTIL(fake.connections == 1);
    rkit_close(r); /* while the map is asked for */
    fake_stop(fake_ith(1));
    fake_listen_ith(1, silent);
    r = rkit_open(&conf);
    RUN_UNTIL(fake_ith(1)->connections == 1);
    rkit_close(r); /* while a node is greeted */
    fake_stop(&fake);
    r = rkit_open(&conf);
    RUN_UNTIL(ph_redis_stats(r)->failures == 1);
    rkit_close(r); /* while it waits */
}
#else
#include <criterion/criterion.h>

Test(uv_redis_cluster_faults, needs_hiredis)
{
    cr_skip_test("built without hiredis");
}
#endif
