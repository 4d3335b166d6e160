/*
 * The store in Redis: what others put there, and everything that a server can do to us.
 */
#ifdef PH_HAVE_REDIS
#include "uv/store_kit.h"

static struct ph_redis *ctl; /* the operator's own connection */

static void setup(void)
{
    skit_setup();
    in_redis = true;
}

TestSuite(uv_store_server, .init = setup, .fini = skit_teardown, .timeout = 60);

static struct book one, two;
static char token[PH_STORE_TOKEN], other[PH_STORE_TOKEN];

/* A server, and our connection to it. */
static void serve(void)
{
    rkit_server(NULL, NULL);
    const struct ph_redis_conf c = rkit_conf();
    ctl = rkit_connect(&c);
}

static void serve_again(void)
{
    rkit_server(NULL, NULL);
    SKIT_UNTIL(ph_redis_stats(ctl)->up);
}

/* Ends everything; ctl is the last. */
static void finish(void)
{
    if (one.s)
        skit_close(&one);
    if (two.s)
        skit_close(&two);
    rkit_close(ctl);
}

static long long number(const char *command)
{
    return atoll(rkit_ask(ctl, command));
}

/* Writes a field of node a's hash. */
static void plant(const char *field, const void *value, size_t n)
{
    const struct ph_slice args[] = {
        ph_str("HSET"), ph_str("{pinhole:a}:alloc"), ph_str(field), {value, n}};
    struct answer a = {0};

    cr_assert_eq(ph_redis_command(ctl, args, 4, on_answer, &a), 0);
    SKIT_UNTIL(a.calls == 1);
    cr_assert_neq(a.text[0], '!', "%s", a.text);
}

struct bytes {
    uint8_t p[4096];
    size_t n;
    bool here;
};

static void on_bytes(void *ctx, const redisReply *reply)
{
    struct bytes *b = ctx;

    b->here = true;
    cr_assert(reply && reply->type == REDIS_REPLY_STRING && reply->len <= sizeof b->p);
    memcpy(b->p, reply->str, reply->len);
    b->n = reply->len;
}

/* What is stored of a record of node a. */
static struct bytes stored(const char *hash, const char *field)
{
    const struct ph_slice args[] = {ph_str("HGET"), ph_str(hash), ph_str(field)};
    struct bytes b = {0};

    cr_assert_eq(ph_redis_command(ctl, args, 3, on_bytes, &b), 0);
    SKIT_UNTIL(b.here);
    return b;
}

/* --- what it looks like in there ------------------------------------------------------------------- */

Test(uv_store_server, keys_are_as_documented)
{
    serve();
    skit_begin(&one, "a", 3, token);
    cr_expect_eq(number("DBSIZE"), 2);
    cr_expect_str_eq(rkit_ask(ctl, "GET {pinhole:a}:owner"), token);
    cr_expect_eq(number("HLEN {pinhole:a}:alloc"), 4);
    cr_expect_eq(number("HEXISTS {pinhole:a}:alloc 2"), 1);
    cr_expect_eq(number("HEXISTS {pinhole:a}:alloc life"), 1);
    cr_expect_eq(number("CLUSTER KEYSLOT {pinhole:a}:owner"),
                 number("CLUSTER KEYSLOT {pinhole:a}:alloc"));
    const int64_t now_ms = (int64_t)time(NULL) * 1000;
    cr_expect_leq(llabs(atoll(token) - now_ms), 60000, "%s: milliseconds of the server's clock",
                  token);

    const struct bytes b = stored("{pinhole:a}:alloc", "2");
    cr_expect_leq(b.n, 200 + PH_FLEET_SEAL_ROOM);
    cr_expect_null(memmem(b.p, b.n, "record", 6), "nothing is in clear");
    finish();
}

Test(uv_store_server, another_prefix)
{
    struct ph_store_conf c = skit_conf("a", &one);

    serve();
    snprintf(c.prefix, sizeof c.prefix, "test:fleet-1");
    one.s = skit_open_as(&c);
    skit_begin(&one, "a", 3, token);
    cr_expect_eq(number("HLEN {test:fleet-1:a}:alloc"), 4);
    cr_expect_eq(number("DBSIZE"), 2);
    finish();
}

Test(uv_store_server, a_record_takes_little_memory)
{
    enum { N = 5000 };
    char answer[32];

    serve();
    for (uint64_t id = 1; id <= N; id++) /* numbers as long as real ones */
        skit_put(&one, UINT64_C(3000000000000000) + id);
    skit_begin(&one, "a", 0, token);
    snprintf(answer, sizeof answer, "%s",
             rkit_ask(ctl, "MEMORY USAGE {pinhole:a}:alloc SAMPLES 0"));
    const long long each = atoll(answer) / N;
    cr_log_info("%lld bytes for a record of 200", each);
    cr_expect_lt(each, 500);
    cr_expect_gt(each, 200);
    finish();
}

Test(uv_store_server, everything_vanishes_after_a_while)
{
    struct ph_store_conf c = skit_conf("a", &one);

    serve();
    c.keep_s = 2;
    one.s = skit_open_as(&c);
    skit_begin(&one, "a", 3, token);
    rkit_run_ms(1200);
    cr_expect_gt(number("PTTL {pinhole:a}:alloc"), 900, "renewed, although nothing changed");
    cr_expect_gt(number("PTTL {pinhole:a}:owner"), 900);
    skit_close(&one);
    SKIT_UNTIL(number("DBSIZE") == 0);
    finish();
}

Test(uv_store_server, the_rights_that_are_documented_are_enough)
{
    struct ph_redis_conf to;
    const struct ph_store_conf c = skit_conf("a", &one);
    const uint64_t id = 2;

    serve();
    cr_assert_str_eq(rkit_ask(ctl,
                              "ACL SETUSER turn on >secret ~{pinhole:*}:* +eval +get +set +time "
                              "+hget +hset +hdel +hscan +pexpire +ping +select"),
                     "OK");
    to = rkit_conf();
    snprintf(to.user, sizeof to.user, "turn");
    snprintf(to.password, sizeof to.password, "secret");
    one.s = ph_store_redis_new(&loop, &to, &c, &rkit_env);
    skit_begin(&one, "a", 3, token);
    cr_expect_eq(skit_remove(one.s, "a", token, &id, 1), 0);
    struct found f = skit_load(one.s, "a");
    cr_expect_eq(f.n, 2);
    skit_found_fini(&f);
    cr_assert_str_eq(rkit_ask(ctl, "ACL SETUSER turn -hset"), "OK");
    skit_change(&one, 1);
    SKIT_UNTIL(one.downs == 1);
    cr_expect(strstr(rkit_log, "its user may not do this"), "%s", rkit_log);
    cr_expect_eq(skit_flush(one.s, 60), PH_E_TIMEOUT);
    cr_assert_str_eq(rkit_ask(ctl, "ACL SETUSER turn -eval"), "OK");
    cr_expect_eq(skit_try_claim(one.s, "a", other), PH_E_REFUSED);
    cr_assert_str_eq(rkit_ask(ctl, "ACL SETUSER turn +eval +hset"), "OK");
    SKIT_UNTIL(one.ups == 2);
    EXPECT_STORED(one.s, "a", &one);
    finish();
}

/* --- what others put there ------------------------------------------------------------------------- */

Test(uv_store_server, what_is_no_record_is_left_alone)
{
    serve();
    skit_begin(&one, "a", 10, token);
    skit_close(&one);
    struct bytes b = stored("{pinhole:a}:alloc", "1");
    plant("2", b.p, b.n);     /* another record's */
    plant("3", b.p, 5);       /* cut */
    plant("4", b.p, b.n - 1); /* ... */
    plant("5", "", 0);
    b.p[b.n / 2] ^= 1;
    plant("6", b.p, b.n); /* edited */
    b.p[0]++;
    plant("7", b.p, b.n);       /* of another version */
    plant("hello", "world", 5); /* no number */
    plant("007", b.p, b.n);     /* not as we write it */
    plant("-8", b.p, b.n);      /* ... */
    plant("18446744073709551616", b.p, b.n);

    struct ph_store *s = skit_open("a", NULL);
    struct found f = skit_load(s, "a");
    cr_expect_eq(f.a.err, 0);
    cr_expect_eq(f.n, 4, "1, 8, 9 and 10");
    cr_expect_eq(f.sum, 28);
    skit_found_fini(&f);
    const struct ph_store_stats *of = ph_store_stats(s);
    cr_expect_eq(of->loaded, 4);
    cr_expect_eq(of->unsealed + of->foreign, 10);
    cr_expect_geq(of->unsealed, 2);
    cr_expect_geq(of->foreign, 6);
    cr_expect_eq(skit_lines("{pinhole:a}:alloc: read 4 records and left 10 alone"), 1, "%s",
                 rkit_log);
    ph_store_free(s);
    finish();
}

Test(uv_store_server, a_record_is_of_its_node)
{
    const struct ph_store_conf mine = skit_conf("b", &two);

    serve();
    skit_begin(&one, "a", 1, token);
    two.s = skit_open_as(&mine);
    skit_begin(&two, "b", 2, other);
    const struct bytes b = stored("{pinhole:b}:alloc", "1");
    plant("1", b.p, b.n);
    struct found f = skit_load(one.s, "a");
    cr_expect_eq(f.n, 0);
    cr_expect_eq(ph_store_stats(one.s)->unsealed, 1);
    skit_found_fini(&f);
    finish();
}

Test(uv_store_server, another_fleet_key_opens_nothing_and_removes_nothing)
{
    struct ph_store_conf c = skit_conf("a", &two);
    const struct ph_store_source from = skit_source(&two);

    serve();
    skit_begin(&one, "a", 20, token);
    skit_close(&one);
    c.keys.secret[0][0] ^= 1;
    two.s = skit_open_as(&c);
    struct found f = skit_load(two.s, "a");
    cr_expect_eq(f.a.err, 0);
    cr_expect_eq(f.n, 0);
    skit_found_fini(&f);
    cr_expect_eq(ph_store_stats(two.s)->unsealed, 20);
    cr_expect_eq(skit_lines("sealed with another fleet-key"), 1, "%s", rkit_log);
    skit_claim(two.s, "a", other);
    skit_put(&two, 21);
    cr_assert_eq(ph_store_write(two.s, "alloc", other, &from), 0);
    cr_expect_eq(skit_flush(two.s, 30000), 0);
    cr_expect_eq(number("HLEN {pinhole:a}:alloc"), 22,
                 "they may be opened when the mistake is mended");
    c = skit_conf("a", NULL);
    c.keys.n = 2; /* the new one first, the old one second */
    memcpy(c.keys.secret[1], c.keys.secret[0], PH_FLEET_KEY_LEN);
    c.keys.secret[0][0] ^= 1;
    struct ph_store *s = skit_open_as(&c);
    f = skit_load(s, "a");
    cr_expect_eq(f.n, 21, "both");
    skit_found_fini(&f);
    ph_store_free(s);
    finish();
}

Test(uv_store_server, needs_keys)
{
    struct ph_store_conf c = skit_conf("a", NULL);
    const struct ph_redis_conf to = rkit_conf();

    c.keys.n = 0;
    cr_expect_null(ph_store_redis_new(&loop, &to, &c, &rkit_env));
}

Test(uv_store_server, a_huge_hash_is_read_in_bearable_pieces)
{
    static char much[PH_STORE_VALUE];

    serve();
    skit_begin(&one, "a", 10, token);
    memset(much, 'x', sizeof much);
    for (unsigned i = 0; i < 120; i++) { /* 19 MB, more than a reply may have */
        char field[16];
        snprintf(field, sizeof field, "%u", 1000 + i);
        plant(field, much, sizeof much - i);
    }
    cr_assert_eq(number("SETRANGE big 17000000 x"), 17000001);
    cr_assert(strstr(
        rkit_ask(ctl, "EVAL redis.call('HSET','{pinhole:a}:alloc','big',redis.call('GET','big'))"
                      " 0"),
        "nil"));
    struct found f = skit_load(one.s, "a");
    cr_expect_eq(f.a.err, 0, "%s", rkit_log);
    cr_expect_eq(f.n, 10);
    cr_expect_eq(ph_store_stats(one.s)->unsealed + ph_store_stats(one.s)->foreign, 121);
    skit_found_fini(&f);
    cr_expect(ph_store_stats(one.s)->up);
    finish();
}

/* --- keys of another type -------------------------------------------------------------------------- */

Test(uv_store_server, a_hash_that_is_something_else_is_not_touched)
{
    const struct ph_store_source from = skit_source(&one);

    serve();
    cr_assert_str_eq(rkit_ask(ctl, "SET {pinhole:a}:alloc precious"), "OK");
    skit_open("a", &one);
    skit_claim(one.s, "a", token);
    struct found f = skit_load(one.s, "a");
    cr_expect_eq(f.a.err, PH_E_REFUSED);
    cr_expect(strstr(rkit_log, "reading {pinhole:a}:alloc failed"), "%s", rkit_log);
    skit_found_fini(&f);
    skit_put(&one, 1);
    cr_assert_eq(ph_store_write(one.s, "alloc", token, &from), 0);
    SKIT_UNTIL(ph_store_stats(one.s)->failed > 3);
    cr_expect_eq(skit_lines("1 redis"), 2, "one line for reading, one for writing:\n%s", rkit_log);
    cr_expect(strstr(rkit_log, "if it is no hash"), "%s", rkit_log);
    cr_expect_eq(one.downs, 1);
    cr_expect_eq(one.alls, 0);
    cr_expect(ph_store_stats(one.s)->behind && !ph_store_stats(one.s)->up);
    const uint64_t id = 1;
    cr_expect_eq(skit_remove(one.s, "a", token, &id, 1), PH_E_REFUSED);
    cr_expect_str_eq(rkit_ask(ctl, "GET {pinhole:a}:alloc"), "precious");
    rkit_ask(ctl, "DEL {pinhole:a}:alloc");
    SKIT_UNTIL(one.ups == 1);
    cr_expect_eq(skit_flush(one.s, 30000), 0);
    EXPECT_STORED(one.s, "a", &one);
    cr_expect(strstr(rkit_log, "records are stored again"), "%s", rkit_log);
    finish();
}

Test(uv_store_server, an_owner_that_is_something_else_is_not_touched)
{
    serve();
    cr_assert_eq(number("LPUSH {pinhole:a}:owner x"), 1);
    skit_open("a", &one);
    cr_expect_eq(skit_try_claim(one.s, "a", token), PH_E_REFUSED);
    cr_expect_str_eq(rkit_ask(ctl, "TYPE {pinhole:a}:owner"), "list");
    cr_expect(strstr(rkit_log, "if it is no string"), "%s", rkit_log);
    rkit_ask(ctl, "DEL {pinhole:a}:owner");
    skit_begin(&one, "a", 3, token);
    rkit_ask(ctl, "DEL {pinhole:a}:owner");
    cr_assert_eq(number("LPUSH {pinhole:a}:owner x"), 1);
    skit_change(&one, 1);
    SKIT_UNTIL(one.downs == 1);
    cr_expect_eq(one.fences, 0);
    rkit_ask(ctl, "DEL {pinhole:a}:owner");
    SKIT_UNTIL(one.ups == 2);
    EXPECT_STORED(one.s, "a", &one);
    finish();
}

Test(uv_store_server, an_owner_that_is_no_token_fences)
{
    serve();
    skit_begin(&one, "a", 3, token);
    cr_assert_str_eq(rkit_ask(ctl, "SET {pinhole:a}:owner somebody"), "OK");
    skit_change(&one, 1);
    SKIT_UNTIL(one.fences == 1);
    skit_claim(one.s, "a", other);
    cr_expect_lt(llabs(atoll(other) - atoll(token)), 60000, "nothing is learned from it");
    cr_assert_str_eq(rkit_ask(ctl, "SET {pinhole:a}:owner 99999999999999999999999-ab"), "OK");
    skit_claim(one.s, "a", other);
    finish();
}

Test(uv_store_server, claims_have_an_order_whatever_the_clock_says)
{
    serve();
    skit_open("a", &one);
    cr_assert_str_eq(rkit_ask(ctl, "SET {pinhole:a}:owner 900000000000000-ab"), "OK");
    skit_claim(one.s, "a", token);
    cr_expect_eq(atoll(token), 900000000000001);
    skit_claim(one.s, "a", other);
    cr_expect_eq(atoll(other), 900000000000002);
    finish();
}

/* --- wiped, rolled back ---------------------------------------------------------------------------- */

Test(uv_store_server, all_writers_notice_that_everything_was_wiped)
{
    const struct ph_store_source from = skit_source(&two);

    serve();
    one.first = 1;
    one.last = 100;
    two.first = 101;
    two.last = 200;
    skit_begin(&one, "a", 100, token);
    skit_open("a", &two);
    for (uint64_t id = 101; id <= 200; id++)
        skit_put(&two, id);
    cr_assert_eq(ph_store_write(two.s, "alloc", token, &from), 0);
    cr_expect_eq(skit_flush(two.s, 30000), 0);
    cr_assert_str_eq(rkit_ask(ctl, "FLUSHALL"), "OK");
    skit_change(&one, 1);
    SKIT_UNTIL(one.alls == 2);
    skit_change(&two, 101); /* the owner and the hash are there again by now */
    SKIT_UNTIL(two.alls == 2);
    cr_expect_eq(skit_flush(one.s, 30000), 0);
    cr_expect_eq(skit_flush(two.s, 30000), 0);
    struct found f = skit_load(one.s, "a");
    cr_expect_eq(f.n, 200);
    skit_found_fini(&f);
    cr_expect_str_eq(rkit_ask(ctl, "GET {pinhole:a}:owner"), token, "put back");
    cr_expect_eq(one.fences + two.fences, 0);
    cr_expect_eq(ph_store_stats(one.s)->resyncs + ph_store_stats(two.s)->resyncs, 2);
    cr_expect_eq(skit_lines("what was stored is gone"), 2, "%s", rkit_log);
    finish();
}

Test(uv_store_server, a_hash_that_is_gone_is_written_again)
{
    serve();
    skit_begin(&one, "a", 100, token);
    cr_assert_eq(number("DEL {pinhole:a}:alloc"), 1); /* or evicted */
    skit_change(&one, 1);
    cr_expect_eq(skit_flush(one.s, 30000), 0);
    EXPECT_STORED(one.s, "a", &one);
    cr_assert_eq(number("DEL {pinhole:a}:owner"), 1);
    skit_change(&one, 2);
    cr_expect_eq(skit_flush(one.s, 30000), 0);
    cr_expect_str_eq(rkit_ask(ctl, "GET {pinhole:a}:owner"), token);
    EXPECT_STORED(one.s, "a", &one);
    finish();
}

Test(uv_store_server, an_idle_writer_notices_too)
{
    struct ph_store_conf c = skit_conf("a", &one);

    serve();
    c.keep_s = 2; /* it looks every half second, then */
    one.s = skit_open_as(&c);
    skit_begin(&one, "a", 10, token);
    cr_assert_str_eq(rkit_ask(ctl, "FLUSHALL"), "OK");
    SKIT_UNTIL(one.alls == 2);
    cr_expect_eq(skit_flush(one.s, 30000), 0);
    EXPECT_STORED(one.s, "a", &one);
    two.s = skit_open("a", NULL);
    skit_claim(two.s, "a", other);
    SKIT_UNTIL(one.fences == 1);
    finish();
}

Test(uv_store_server, a_server_with_older_data_does_not_fence_the_last_owner)
{
    char command[128];

    serve();
    skit_begin(&one, "a", 10, token);
    snprintf(command, sizeof command, "SET {pinhole:a}:owner %lld-00ff", atoll(token) - 1);
    cr_assert_str_eq(rkit_ask(ctl, command), "OK");
    skit_change(&one, 1);
    cr_expect_eq(skit_flush(one.s, 30000), 0);
    cr_expect_eq(one.fences, 0);
    cr_expect_str_eq(rkit_ask(ctl, "GET {pinhole:a}:owner"), token);
    finish();
}

Test(uv_store_server, a_server_that_forgets_all_the_time_is_not_flooded)
{
    serve();
    skit_begin(&one, "a", 10, token);
    const uint64_t commands = ph_store_stats(one.s)->commands;
    const uint64_t end = uv_hrtime() + 600 * UINT64_C(1000000);
    while (uv_hrtime() < end) {
        cr_assert_str_eq(rkit_ask(ctl, "FLUSHALL"), "OK");
        skit_change(&one, 1);
    }
    cr_expect_geq(one.alls, 2);
    cr_expect_leq(one.alls, 15);
    cr_expect_leq(ph_store_stats(one.s)->commands - commands, 300);
    cr_expect_eq(skit_flush(one.s, 30000), 0);
    EXPECT_STORED(one.s, "a", &one);
    finish();
}

/* --- away and back --------------------------------------------------------------------------------- */

Test(uv_store_server, a_server_that_was_killed_gets_everything_again)
{
    serve();
    skit_begin(&one, "a", 2000, token);
    for (unsigned round = 0; round < 3; round++) {
        for (uint64_t id = 1; id <= 2000; id += 3)
            skit_change(&one, id);
        for (unsigned i = 0; i <= round; i++)
            uv_run(&loop, UV_RUN_NOWAIT);
        rkit_kill(); /* while it is writing */
        SKIT_UNTIL(one.downs == round + 1);
        skit_change(&one, 2001 + round);
        skit_end(&one, 10 + round);
        ph_store_kick(one.s);
        rkit_run_ms(50);
        cr_expect(ph_store_stats(one.s)->behind);
        cr_expect_geq(ph_store_stats(one.s)->lag_ms, 40);
        serve_again();
        SKIT_UNTIL(one.ups == round + 2);
        cr_expect_eq(skit_flush(one.s, 30000), 0);
        EXPECT_STORED(one.s, "a", &one);
        cr_expect(!ph_store_stats(one.s)->behind);
    }
    cr_expect_eq(ph_store_stats(one.s)->resyncs, 3);
    cr_expect_eq(one.fences, 0);
    finish();
}

/* All connections of others are cut, the data stays. */
static void cut(void)
{
    cr_assert_geq(number("CLIENT KILL TYPE normal SKIPME yes"), 1);
}

Test(uv_store_server, what_ended_while_the_server_was_away_is_swept)
{
    serve();
    skit_begin(&one, "a", 1500, token);
    plant("70000", "not ours", 8);
    cut();
    SKIT_UNTIL(one.downs == 1);
    for (uint64_t id = 500; id <= 1400; id++)
        skit_end_unseen(&one, id);
    SKIT_UNTIL(one.ups == 2);
    cr_expect_eq(skit_flush(one.s, 30000), 0, "which waits for the sweep");
    struct found f = skit_load(one.s, "a");
    cr_expect_eq(f.n, 599);
    skit_found_fini(&f);
    cr_expect_eq(number("HEXISTS {pinhole:a}:alloc 70000"), 1, "what is not ours stays");
    cr_expect_eq(ph_store_stats(one.s)->removed, 901);
    finish();
}

Test(uv_store_server, changes_go_on_while_it_sweeps)
{
    serve();
    one.size = 1000;
    skit_begin(&one, "a", 8000, token);
    cut();
    SKIT_UNTIL(one.downs == 1);
    for (uint64_t id = 1; id <= 8000; id += 2)
        skit_end_unseen(&one, id);
    SKIT_UNTIL(one.ups == 2);
    for (unsigned i = 0; i < 200; i++) {
        skit_change(&one, 8001 + i);
        skit_change(&one, 2 + 2 * i);
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    cr_expect_eq(skit_flush(one.s, 30000), 0);
    EXPECT_STORED(one.s, "a", &one);
    finish();
}

Test(uv_store_server, a_connection_that_is_cut_again_and_again)
{
    serve();
    skit_begin(&one, "a", 3000, token);
    for (unsigned i = 0; i < 4; i++) {
        for (uint64_t id = 1 + i; id <= 3000; id += 7)
            skit_change(&one, id);
        skit_end_unseen(&one, 100 + i);
        cut();
        SKIT_UNTIL(ph_store_stats(one.s)->resyncs > i);
        rkit_run_ms(i * 2);
    }
    cr_expect_eq(skit_flush(one.s, 30000), 0);
    EXPECT_STORED(one.s, "a", &one);
    finish();
}

Test(uv_store_server, a_server_that_stalls)
{
    skit_patience_ms = 400;
    serve();
    skit_begin(&one, "a", 500, token);
    kill(rkit_pid, SIGSTOP);
    for (uint64_t id = 1; id <= 500; id++)
        skit_change(&one, id);
    SKIT_UNTIL(one.downs == 1);
    skit_end_unseen(&one, 7);
    skit_change(&one, 501);
    cr_expect_eq(skit_flush(one.s, 100), PH_E_TIMEOUT);
    cr_expect_eq(skit_try_claim(one.s, "b", other), PH_E_TIMEOUT);
    kill(rkit_pid, SIGCONT);
    SKIT_UNTIL(one.ups == 2);
    cr_expect_eq(skit_flush(one.s, 30000), 0);
    EXPECT_STORED(one.s, "a", &one);
    finish();
}

Test(uv_store_server, a_server_that_is_not_there)
{
    const struct ph_store_source from = skit_source(&one);
    const uint64_t before = uv_hrtime();

    skit_patience_ms = 400;
    skit_open("a", &one);
    cr_expect_eq(skit_try_claim(one.s, "a", token), PH_E_TIMEOUT);
    cr_expect_geq(uv_hrtime() - before, 300 * UINT64_C(1000000), "it waits for the connection");
    struct found f = skit_load(one.s, "a");
    cr_expect_eq(f.a.err, PH_E_TIMEOUT);
    skit_found_fini(&f);
    cr_assert_eq(ph_store_write(one.s, "alloc", "1-ab", &from), 0);
    for (uint64_t id = 1; id <= 1000; id++)
        skit_change(&one, id);
    SKIT_UNTIL(one.downs == 1);
    cr_expect_eq(one.alls, 0);
    cr_expect_eq(skit_flush(one.s, 50), PH_E_TIMEOUT);
    unsigned busy = 0;
    for (unsigned i = 0; i < 100; i++) {
        busy += uv_backend_timeout(&loop) <= 1;
        rkit_turn();
    }
    cr_expect_lt(busy, 50, "it waits");
    serve();
    SKIT_UNTIL(one.ups == 1);
    cr_expect_eq(skit_flush(one.s, 30000), 0);
    EXPECT_STORED(one.s, "a", &one);
    cr_expect_eq(ph_store_stats(one.s)->resyncs, 0, "not again");
    finish();
}

Test(uv_store_server, a_claim_waits_for_a_server_that_comes)
{
    struct skit_answer a = {0};

    skit_open("a", &one);
    ph_store_claim(one.s, "a", skit_on_claim, &a);
    rkit_run_ms(20);
    cr_expect_eq(a.calls, 0);
    serve();
    SKIT_UNTIL(a.calls == 1);
    cr_expect_eq(a.err, 0);
    finish();
}

/* --- refusals -------------------------------------------------------------------------------------- */

Test(uv_store_server, a_replica_is_not_written_to)
{
    serve();
    skit_begin(&one, "a", 100, token);
    cr_assert_str_eq(rkit_ask(ctl, "REPLICAOF 127.0.0.1 1"), "OK");
    skit_change(&one, 1);
    SKIT_UNTIL(one.downs == 1);
    cr_expect(strstr(rkit_log, "replica"), "%s", rkit_log);
    skit_change(&one, 101);
    rkit_run_ms(300);
    cr_expect_eq(one.alls, 1, "nobody is asked for what cannot be written");
    cr_expect_leq(ph_store_stats(one.s)->failed, 20, "and it is not flooded");
    cr_assert_str_eq(rkit_ask(ctl, "REPLICAOF NO ONE"), "OK");
    SKIT_UNTIL(one.ups == 2);
    cr_expect_eq(skit_flush(one.s, 30000), 0);
    EXPECT_STORED(one.s, "a", &one);
    finish();
}

Test(uv_store_server, a_server_without_memory)
{
    serve();
    skit_begin(&one, "a", 100, token);
    cr_assert_str_eq(rkit_ask(ctl, "CONFIG SET maxmemory 1"), "OK");
    skit_change(&one, 1);
    skit_change(&one, 102);
    SKIT_UNTIL(one.downs == 1);
    SKIT_UNTIL(ph_store_stats(one.s)->failed >= 3);
    cr_expect_eq(skit_lines("maxmemory"), 1 + (unsigned)ph_store_stats(one.s)->failed - 1, "%s",
                 rkit_log);
    cr_expect_eq(skit_lines("1 redis"), 1, "one outage is one warning:\n%s", rkit_log);
    cr_expect_eq(skit_try_claim(one.s, "b", other), PH_E_REFUSED);
    struct found f = skit_load(one.s, "a");
    cr_expect_eq(f.a.err, 0, "it can be read");
    cr_expect_eq(f.n, 100);
    skit_found_fini(&f);
    cr_assert_str_eq(rkit_ask(ctl, "CONFIG SET maxmemory 0"), "OK");
    SKIT_UNTIL(one.ups == 2);
    cr_expect_eq(skit_flush(one.s, 30000), 0);
    EXPECT_STORED(one.s, "a", &one);
    cr_expect_eq(skit_lines("records are stored again"), 1, "%s", rkit_log);
    cr_assert_str_eq(rkit_ask(ctl, "CONFIG SET maxmemory 1"), "OK");
    skit_change(&one, 1);
    SKIT_UNTIL(one.downs == 2);
    cr_expect_eq(skit_lines("1 redis"), 3, "the next has its own, as the claim had:\n%s", rkit_log);
    finish();
}

Test(uv_store_server, a_fence_in_the_middle_of_much_writing)
{
    char was[256];

    serve();
    skit_begin(&one, "a", 5000, token);
    two.s = skit_open("a", NULL);
    for (uint64_t id = 1; id <= 5000; id++)
        skit_change(&one, id);
    ph_store_flush(one.s, 5000, skit_on_done, &(struct skit_answer){0});
    while (ph_store_stats(one.s)->written < 5500)
        rkit_turn();
    skit_claim(two.s, "a", other);
    snprintf(was, sizeof was, "%s", rkit_ask(ctl, "DEBUG DIGEST-VALUE {pinhole:a}:alloc"));
    for (uint64_t id = 1; id <= 5000; id++)
        skit_change(&one, id);
    SKIT_UNTIL(one.fences == 1);
    rkit_run_ms(30);
    cr_expect_str_eq(rkit_ask(ctl, "DEBUG DIGEST-VALUE {pinhole:a}:alloc"), was,
                     "not a byte after the claim");
    cr_expect_str_eq(rkit_ask(ctl, "GET {pinhole:a}:owner"), other);
    finish();
}

/* --- nonsense -------------------------------------------------------------------------------------- */

static const char *rubbish;

static void rude(struct fake *f, char **arg, unsigned n)
{
    (void)n;
    if (!fake_greets(f, arg))
        fake_say(f, rubbish);
}

static const char *const nonsense[] = {
    "+OK\r\n",
    "$-1\r\n",
    "*-1\r\n",
    ":-1\r\n",
    ":101\r\n",
    "*0\r\n",
    "*1\r\n:1\r\n",
    "*2\r\n$1\r\n0\r\n:1\r\n",
    "*2\r\n$1\r\n0\r\n*1\r\n$1\r\n1\r\n",
    "*2\r\n$1\r\n0\r\n*2\r\n$1\r\n1\r\n:1\r\n",
    "*2\r\n$1\r\nx\r\n*0\r\n",
    "*2\r\n$0\r\n\r\n*0\r\n",
    "*2\r\n$30\r\n000000000000000000000000000000\r\n*0\r\n",
    "*2\r\n*0\r\n*0\r\n",
    "$0\r\n\r\n",
    "$40\r\n0000000000000000000000000000000000000000\r\n",
    "$5\r\na\0b-c\r\n",
    "-\r\n",
    "-ERR \x01\x02 what you said was $ecret\r\n",
};

Test(uv_store_server, nonsense_is_an_error)
{
    const uint64_t id = 1;

    skit_patience_ms = 200;
    fake_listen_unix(rude);
    for (size_t i = 0; i < sizeof nonsense / sizeof *nonsense; i++) {
        const struct ph_store_source from = skit_source(&one);
        rubbish = nonsense[i];
        skit_open("a", &one);
        int err = skit_try_claim(one.s, "a", token);
        cr_expect(err == PH_E_FORMAT || err == PH_E_REFUSED || err == PH_E_TIMEOUT, "%zu: %d", i,
                  err);
        struct found f = skit_load(one.s, "a");
        cr_expect(f.a.err == PH_E_FORMAT || f.a.err == PH_E_REFUSED || f.a.err == PH_E_TIMEOUT,
                  "%zu: %d", i, f.a.err);
        cr_expect_eq(f.n, 0);
        skit_found_fini(&f);
        err = skit_remove(one.s, "a", "1-ab", &id, 1);
        cr_expect(err == PH_E_FORMAT || err == PH_E_REFUSED || err == PH_E_TIMEOUT, "%zu: %d", i,
                  err);
        skit_put(&one, 1);
        cr_assert_eq(ph_store_write(one.s, "alloc", "1-ab", &from), 0);
        rkit_run_ms(20);
        cr_expect_leq(ph_store_stats(one.s)->commands, 12, "%zu", i);
        cr_expect(ph_store_stats(one.s)->behind || strcmp(rubbish, "+OK\r\n") == 0, "%zu", i);
        skit_close(&one);
    }
    cr_expect_null(strstr(rkit_log, "$ecret"), "only an error's first word is shown");
}

static void never_ending(struct fake *f, char **arg, unsigned n)
{
    (void)n;
    if (!fake_greets(f, arg))
        fake_say(f, "*2\r\n$1\r\n7\r\n*0\r\n");
}

Test(uv_store_server, a_scan_without_end_is_given_up)
{
    struct found f = {.version = calloc(SKIT_IDS, sizeof *f.version)};

    fake_listen_unix(never_ending);
    skit_open("a", &one);
    ph_store_load(one.s, "a", "alloc", skit_on_each, skit_on_done, &f);
    for (unsigned i = 0; i < 100000 && !f.a.calls; i++) {
        uv_run(&loop, UV_RUN_NOWAIT);
        fake_step(&fake);
    }
    cr_expect_eq(f.a.calls, 1);
    cr_expect_eq(f.a.err, PH_E_LIMIT);
    skit_found_fini(&f);
    skit_close(&one);
}
#else
#include <criterion/criterion.h>

Test(uv_store_server, needs_hiredis)
{
    cr_skip_test("built without hiredis");
}
#endif
