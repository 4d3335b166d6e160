/*
 * coturn's statistics on their way to Redis: a real one, and one that is made up and is slow, refuses, breaks and comes back.
 */
#ifdef PH_HAVE_REDIS
#include "uv/redis_kit.h"

#include "turn/store/stats.h"

TestSuite(uv_statsdb, .init = rkit_setup, .fini = rkit_teardown, .timeout = 60);

#define KEY   "turn/realm/example.org/user/alice/allocation/000000000000000007/"
#define WHERE ", type=UDP, local=192.0.2.1:3478, remote=198.51.100.2:5000, ssl=NONE, cipher=NONE"

static struct ph_redis *redis;
static struct ph_statsdb *stats;
static struct ph_statsdb_session session; /* 7, of alice */
static unsigned sessions_up;

static struct ph_addr address(const char *text)
{
    struct ph_addr a;

    cr_assert_eq(ph_addr_parse(&a, text, strlen(text), 0), 0);
    a.proto = PH_UDP;
    return a;
}

static bool next(void *ctx, uint32_t *at, struct ph_statsdb_session *out)
{
    (void)ctx;
    if (*at >= sessions_up)
        return false;
    *out = session;
    out->info.session = 7 + (*at)++;
    out->info.expires_at = (ph_ns)uv_hrtime() + PH_SEC(90);
    return true;
}

static void open_stats(uint32_t queue)
{
    const struct ph_redis_conf rc = rkit_conf();
    const struct ph_redis_stats_conf c = {.queue = queue, .next = next};

    session = (struct ph_statsdb_session){
        .info = {.session = 7,
                 .user = ph_str("alice"),
                 .realm = ph_str("example.org"),
                 .client = address("198.51.100.2:5000"),
                 .usage = {11, 12, 13, 14, 15, 16, 17, 18}},
        .local = address("192.0.2.1:3478"),
    };
    redis = rkit_open(&rc);
    stats = ph_statsdb_new(redis, &c, &rkit_env);
    cr_assert_not_null(stats);
}

static void close_stats(void)
{
    rkit_close(redis);
    ph_statsdb_free(stats);
}

static struct ph_statsdb_stats counters(void)
{
    struct ph_statsdb_stats s;

    ph_statsdb_stats(stats, &s);
    return s;
}

static void tell(enum ph_turnd_ev_type type, uint32_t lifetime_s)
{
    const struct ph_turnd_ev ev = {.type = type,
                                   .lifetime_s = lifetime_s,
                                   .reason = PH_END_EXPIRED,
                                   .traffic = {1, 2, 3, 4, 5, 6, 7, 8},
                                   .info = session.info};
    ph_statsdb_event(stats, &ev, &session, (ph_ns)uv_hrtime());
}

/* --- what is said ---------------------------------------------------------------------------------- */

static char heard[65536];
static bool mute, refuse;

/* Keeps what came as lines, and says OK. */
static void listener(struct fake *f, char **arg, unsigned n)
{
    if (fake_greets(f, arg))
        return;
    for (unsigned i = 0; i < n; i++) {
        const size_t at = strlen(heard);
        snprintf(heard + at, sizeof heard - at, "%s%s", arg[i], i + 1 < n ? " " : "\n");
    }
    if (!mute)
        fake_say(f, refuse ? "-OOM command not allowed\r\n" : ":1\r\n");
}

static void expect_heard(const char *want)
{
    cr_expect_str_eq(heard, want, "heard\n%snot\n%s", heard, want);
    heard[0] = '\0';
}

static void start_with_fake(uint32_t queue)
{
    fake_listen_unix(listener);
    open_stats(queue);
    RUN_UNTIL(counters().up);
    expect_heard("");
}

Test(uv_statsdb, a_session_is_told_as_coturn_tells_it)
{
    start_with_fake(0);
    tell(PH_TURND_ALLOC_UP, 600);
    RUN_UNTIL(counters().sent == 2 && strstr(heard, "PUBLISH"));
    expect_heard("SET " KEY "status new lifetime=600" WHERE " EX 600\n"
                 "PUBLISH " KEY "status new lifetime=600" WHERE "\n");
    tell(PH_TURND_ALLOC_REFRESHED, 700);
    tell(PH_TURND_ALLOC_TRAFFIC, 0);
    tell(PH_TURND_ALLOC_REFRESHED, 0);
    tell(PH_TURND_ALLOC_DOWN, 0);
    RUN_UNTIL(strstr(heard, "total_traffic/peer"));
    expect_heard("SET " KEY "status refreshed lifetime=700" WHERE " EX 700\n"
                 "PUBLISH " KEY "status refreshed lifetime=700" WHERE "\n"
                 "PUBLISH " KEY "traffic rcvp=1, rcvb=2, sentp=3, sentb=4\n"
                 "PUBLISH " KEY "traffic/peer rcvp=5, rcvb=6, sentp=7, sentb=8\n"
                 "SET " KEY "status refreshed lifetime=0" WHERE " EX 1\n"
                 "PUBLISH " KEY "status refreshed lifetime=0" WHERE "\n"
                 "PUBLISH " KEY "traffic rcvp=1, rcvb=2, sentp=3, sentb=4\n"
                 "PUBLISH " KEY "traffic/peer rcvp=5, rcvb=6, sentp=7, sentb=8\n"
                 "DEL " KEY "status\n"
                 "PUBLISH " KEY "status deleted\n"
                 "PUBLISH " KEY "total_traffic rcvp=11, rcvb=12, sentp=13, sentb=14\n"
                 "PUBLISH " KEY "total_traffic/peer rcvp=15, rcvb=16, sentp=17, sentb=18\n");
    RUN_UNTIL(counters().queued == 0);
    cr_expect_eq(counters().sent, 14);
    cr_expect_eq(counters().failed + counters().dropped, 0);
    tell(PH_TURND_RELAY_CLOSE, 0);
    tell(PH_TURND_PEER_CLOSE, 0);
    rkit_run_ms(5);
    expect_heard("");
    close_stats();
}

Test(uv_statsdb, a_restored_session_is_refreshed_and_an_adopted_one_goes_on_elsewhere)
{
    struct ph_turnd_ev ev = {.type = PH_TURND_ALLOC_UP, .lifetime_s = 600};

    start_with_fake(0);
    ev.info = session.info;
    ev.info.restored = true;
    ev.info.expires_at = PH_SEC(1099) + 1;
    ph_statsdb_event(stats, &ev, &session, PH_SEC(1000));
    RUN_UNTIL(strstr(heard, "PUBLISH"));
    expect_heard("SET " KEY "status refreshed lifetime=100" WHERE " EX 100\n"
                 "PUBLISH " KEY "status refreshed lifetime=100" WHERE "\n");
    ev.type = PH_TURND_ALLOC_DOWN;
    ev.reason = PH_END_ADOPTED;
    ph_statsdb_event(stats, &ev, &session, PH_SEC(1000));
    RUN_UNTIL(strstr(heard, "traffic/peer"));
    rkit_run_ms(5);
    expect_heard("PUBLISH " KEY "traffic rcvp=0, rcvb=0, sentp=0, sentb=0\n"
                 "PUBLISH " KEY "traffic/peer rcvp=0, rcvb=0, sentp=0, sentb=0\n");
    close_stats();
}

Test(uv_statsdb, sessions_without_realm_get_the_one_that_is_configured)
{
    const struct ph_redis_stats_conf c = {.realm = "north", .prefix = "pre"};

    fake_listen_unix(listener);
    open_stats(0);
    ph_statsdb_free(stats);
    stats = ph_statsdb_new(redis, &c, &rkit_env);
    session.info.realm = session.info.user = (struct ph_slice){NULL, 0};
    tell(PH_TURND_ALLOC_TRAFFIC, 0);
    RUN_UNTIL(strstr(heard, "peer"));
    cr_expect_eq(strncmp(heard,
                         "PUBLISH pre/realm/north/user//allocation/000000000000000007/traffic ",
                         strlen("PUBLISH pre/realm/north/user//allocation/")),
                 0, "%s", heard);
    close_stats();
}

/* --- the real server ------------------------------------------------------------------------------- */

Test(uv_statsdb, the_key_lives_as_long_as_the_allocation)
{
    rkit_server(NULL, NULL);
    const struct ph_redis_conf rc = rkit_conf();
    struct ph_redis *other = rkit_connect(&rc);
    cr_expect_str_eq(rkit_ask(other, "SET turn/realm/x/user/y/allocation/1/status theirs"), "OK");
    open_stats(0);
    tell(PH_TURND_ALLOC_UP, 600);
    RUN_UNTIL(counters().sent == 2 && counters().queued == 0);
    cr_expect_str_eq(rkit_ask(other, "GET " KEY "status"), "new lifetime=600" WHERE);
    const int ttl = atoi(rkit_ask(other, "TTL " KEY "status"));
    cr_expect(ttl > 590 && ttl <= 600, "%d", ttl);
    tell(PH_TURND_ALLOC_REFRESHED, 0);
    RUN_UNTIL(counters().sent == 4 && counters().queued == 0);
    cr_expect_leq(atoi(rkit_ask(other, "PTTL " KEY "status")), 1000);
    tell(PH_TURND_ALLOC_DOWN, 0);
    RUN_UNTIL(counters().sent == 10 && counters().queued == 0);
    cr_expect_str_eq(rkit_ask(other, "KEYS *"), "turn/realm/x/user/y/allocation/1/status");
    cr_expect_str_eq(rkit_ask(other, "TTL turn/realm/x/user/y/allocation/1/status"), "-1");
    ph_redis_free(other);
    close_stats();
}

/* --- Redis is away --------------------------------------------------------------------------------- */

Test(uv_statsdb, what_is_told_before_redis_is_there_waits_for_it)
{
    open_stats(0);
    tell(PH_TURND_ALLOC_UP, 600);
    sessions_up = 1;
    rkit_run_ms(20);
    cr_expect_eq(counters().queued, 2);
    fake_listen_unix(listener);
    RUN_UNTIL(strstr(heard, "PUBLISH"));
    rkit_run_ms(5);
    expect_heard("SET " KEY "status new lifetime=600" WHERE " EX 600\n"
                 "PUBLISH " KEY "status new lifetime=600" WHERE "\n");
    close_stats();
}

Test(uv_statsdb, when_it_comes_back_the_rest_is_told_and_keys_are_set_again_silently)
{
    start_with_fake(0);
    mute = true;
    tell(PH_TURND_ALLOC_UP, 600);
    RUN_UNTIL(strstr(heard, "PUBLISH"));
    heard[0] = '\0';
    fake_hang_up(&fake); /* with two under way */
    RUN_UNTIL(!counters().up);
    cr_expect_eq(counters().failed, 2);
    mute = false;
    sessions_up = 3;
    tell(PH_TURND_ALLOC_TRAFFIC, 0);
    RUN_UNTIL(counters().up && strstr(heard, "000009"));
    rkit_run_ms(5);
    expect_heard("PUBLISH " KEY "traffic rcvp=1, rcvb=2, sentp=3, sentb=4\n"
                 "PUBLISH " KEY "traffic/peer rcvp=5, rcvb=6, sentp=7, sentb=8\n"
                 "SET " KEY "status refreshed lifetime=90" WHERE " EX 90\n"
                 "SET turn/realm/example.org/user/alice/allocation/000000000000000008/status "
                 "refreshed lifetime=90" WHERE " EX 90\n"
                 "SET turn/realm/example.org/user/alice/allocation/000000000000000009/status "
                 "refreshed lifetime=90" WHERE " EX 90\n");
    close_stats();
}

Test(uv_statsdb, the_queue_is_bounded_and_the_newest_go)
{
    open_stats(5);
    for (uint32_t i = 0; i < 3; i++)
        tell(PH_TURND_ALLOC_REFRESHED, 601 + i);
    cr_expect_eq(counters().queued, 5);
    cr_expect_eq(counters().dropped, 1);
    for (uint32_t i = 0; i < 1000; i++)
        tell(PH_TURND_ALLOC_TRAFFIC, 0);
    cr_expect_eq(counters().queued, 5);
    cr_expect_eq(counters().dropped, 2001);
    const char *line = strstr(rkit_log, "messages are dropped");
    cr_assert_not_null(line);
    cr_expect_null(strstr(line + 1, "messages are dropped"), "said once");
    sessions_up = 1;
    fake_listen_unix(listener);
    RUN_UNTIL(strstr(heard, "lifetime=90"));
    rkit_run_ms(5);
    expect_heard("SET " KEY "status refreshed lifetime=601" WHERE " EX 601\n"
                 "PUBLISH " KEY "status refreshed lifetime=601" WHERE "\n"
                 "SET " KEY "status refreshed lifetime=602" WHERE " EX 602\n"
                 "PUBLISH " KEY "status refreshed lifetime=602" WHERE "\n"
                 "SET " KEY "status refreshed lifetime=603" WHERE " EX 603\n"
                 "SET " KEY "status refreshed lifetime=90" WHERE " EX 90\n");
    close_stats();
}

Test(uv_statsdb, more_sessions_than_may_wait_are_all_set_again)
{
    enum { MANY = 3000 };

    rkit_server(NULL, NULL);
    open_stats(4);
    RUN_UNTIL(counters().up);
    rkit_kill();
    RUN_UNTIL(!counters().up);
    sessions_up = MANY;
    rkit_server(NULL, NULL);
    RUN_UNTIL(counters().sent == MANY && !counters().queued);
    cr_expect_eq(counters().dropped + counters().failed, 0);
    const struct ph_redis_conf rc = rkit_conf();
    struct ph_redis *other = rkit_connect(&rc);
    cr_expect_eq(atoi(rkit_ask(other, "DBSIZE")), MANY);
    ph_redis_free(other);
    rkit_run_ms(10);
    cr_expect_eq(counters().sent, MANY, "each once");
    close_stats();
}

Test(uv_statsdb, what_redis_refuses_is_counted_and_does_not_stop_the_rest)
{
    start_with_fake(0);
    refuse = true;
    tell(PH_TURND_ALLOC_UP, 600);
    RUN_UNTIL(counters().failed == 2);
    refuse = false;
    heard[0] = '\0';
    tell(PH_TURND_ALLOC_TRAFFIC, 0);
    RUN_UNTIL(strstr(heard, "peer"));
    cr_expect_eq(counters().failed, 2);
    close_stats();
}

Test(uv_statsdb, a_slow_redis_gets_no_more_than_some_hundred_at_a_time)
{
    start_with_fake(0);
    mute = true;
    for (unsigned i = 0; i < 1000; i++)
        tell(PH_TURND_ALLOC_TRAFFIC, 0);
    rkit_run_ms(20);
    cr_expect_eq(counters().sent, 512);
    cr_expect_eq(counters().queued, 2000);
    close_stats();
}

/* --- the end --------------------------------------------------------------------------------------- */

static unsigned finished;

static void on_done(void *ctx)
{
    cr_expect_eq(ctx, &finished);
    finished++;
    ph_redis_free(redis);
    ph_statsdb_free(stats);
}

static void wait_for_the_end(void)
{
    for (int i = 0; i < 20000 && uv_loop_alive(&loop); i++)
        rkit_turn();
    cr_assert(!uv_loop_alive(&loop));
    cr_expect_eq(finished, 1);
}

Test(uv_statsdb, the_end_waits_for_what_is_under_way)
{
    start_with_fake(0);
    tell(PH_TURND_ALLOC_DOWN, 0);
    ph_statsdb_finish(stats, &loop, 5000, on_done, &finished);
    cr_expect_eq(finished, 0, "called from within");
    tell(PH_TURND_ALLOC_UP, 600); /* nothing more */
    wait_for_the_end();
    cr_expect(strstr(heard, "total_traffic/peer"), "%s", heard);
    cr_expect_null(strstr(heard, "new"), "%s", heard);
}

Test(uv_statsdb, the_end_does_not_wait_for_a_redis_that_is_away_or_silent)
{
    uint64_t begun = uv_hrtime();

    open_stats(0);
    tell(PH_TURND_ALLOC_DOWN, 0);
    ph_statsdb_finish(stats, &loop, 5000, on_done, &finished);
    wait_for_the_end();
    cr_expect_lt(uv_hrtime() - begun, UINT64_C(1000000000), "away");

    finished = 0;
    start_with_fake(0);
    mute = true;
    tell(PH_TURND_ALLOC_DOWN, 0);
    begun = uv_hrtime();
    ph_statsdb_finish(stats, &loop, 50, on_done, &finished);
    wait_for_the_end();
    cr_expect_lt(uv_hrtime() - begun, UINT64_C(1000000000), "silent");
}
#endif
