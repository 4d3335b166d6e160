/*
 * The store: what holds in memory and in Redis alike.
 */
#include "uv/store_kit.h"

TestSuite(uv_store_memory, .init = skit_setup, .fini = skit_teardown, .timeout = 60);
TestSuite(uv_store_redis, .init = skit_setup, .fini = skit_teardown, .timeout = 60);

static struct book one, two;
static char token[PH_STORE_TOKEN], other[PH_STORE_TOKEN];

/* --- writing and reading --------------------------------------------------------------------------- */

BOTH(what_is_written_is_read)
{
    skit_begin(&one, "a", 10, token);
    EXPECT_STORED(one.s, "a", &one);
    skit_change(&one, 3);
    skit_change(&one, 11);
    skit_end(&one, 5);
    ph_store_kick(one.s);
    cr_expect_eq(skit_flush(one.s, 30000), 0);
    EXPECT_STORED(one.s, "a", &one);
    cr_expect_eq(ph_store_stats(one.s)->written, 12);
    cr_expect_eq(ph_store_stats(one.s)->removed, 1);
    cr_expect_eq(ph_store_stats(one.s)->resyncs, 0);
    cr_expect_eq(ph_store_stats(one.s)->failed, 0);
    cr_expect_eq(one.alls, 1);
    skit_close(&one);
}

BOTH(a_kick_is_enough)
{
    skit_begin(&one, "a", 0, token);
    skit_change(&one, 1);
    SKIT_UNTIL(ph_store_stats(one.s)->written == 1);
    EXPECT_STORED(one.s, "a", &one);
    skit_close(&one);
}

BOTH(there_may_be_nothing)
{
    struct ph_store *s = skit_open("a", NULL);
    struct found f = skit_load(s, "nobody");

    cr_expect_eq(f.a.err, 0);
    cr_expect_eq(f.n, 0);
    skit_found_fini(&f);
    ph_store_free(s);
}

BOTH(many_changes_of_a_record_are_one_write)
{
    skit_begin(&one, "a", 3, token);
    const struct ph_store_stats before = *ph_store_stats(one.s);
    for (unsigned i = 0; i < 1000; i++)
        skit_change(&one, 2);
    cr_expect_eq(skit_flush(one.s, 30000), 0);
    cr_expect_eq(ph_store_stats(one.s)->written, before.written + 1);
    cr_expect_eq(ph_store_stats(one.s)->commands, before.commands + 1);
    EXPECT_STORED(one.s, "a", &one);
    skit_close(&one);
}

BOTH(records_share_commands)
{
    skit_begin(&one, "a", 5000, token);
    const struct ph_store_stats before = *ph_store_stats(one.s);
    for (uint64_t id = 1; id <= 5000; id++)
        skit_change(&one, id);
    cr_expect_eq(skit_flush(one.s, 30000), 0);
    cr_expect_eq(ph_store_stats(one.s)->written, before.written + 5000);
    cr_expect_eq(ph_store_stats(one.s)->commands, before.commands + 79, "64 in each");
    EXPECT_STORED(one.s, "a", &one);
    skit_close(&one);
}

BOTH(a_kick_is_gathered_with_those_that_follow)
{
    struct ph_store_conf c = skit_conf("a", &one);

    c.gather_ms = 500;
    one.s = skit_open_as(&c);
    skit_begin(&one, "a", 0, token);
    const uint64_t commands = ph_store_stats(one.s)->commands;
    skit_change(&one, 1);
    cr_expect(ph_store_stats(one.s)->behind);
    rkit_run_ms(20);
    skit_change(&one, 2);
    cr_expect_eq(ph_store_stats(one.s)->written, 0);
    cr_expect_geq(ph_store_stats(one.s)->lag_ms, 15, "since the first kick");
    SKIT_UNTIL(ph_store_stats(one.s)->written == 2);
    cr_expect_eq(ph_store_stats(one.s)->commands, commands + 1);
    cr_expect(!ph_store_stats(one.s)->behind);
    cr_expect_eq(ph_store_stats(one.s)->lag_ms, 0);
    skit_close(&one);
}

BOTH(kicks_without_end_do_not_put_off_a_write)
{
    struct ph_store_conf c = skit_conf("a", &one);

    c.gather_ms = 50;
    one.s = skit_open_as(&c);
    skit_begin(&one, "a", 0, token);
    for (unsigned i = 0; i < 2000 && !ph_store_stats(one.s)->written; i++) {
        skit_change(&one, 1);
        rkit_turn();
    }
    cr_expect_gt(ph_store_stats(one.s)->written, 0);
    skit_close(&one);
}

BOTH(large_records_go_in_small_commands)
{
    one.size = 60000;
    skit_begin(&one, "a", 40, token);
    EXPECT_STORED(one.s, "a", &one);
    one.size = PH_STORE_VALUE - PH_FLEET_SEAL_ROOM; /* the longest there is */
    for (uint64_t id = 1; id <= 40; id++)
        skit_change(&one, id);
    cr_expect_eq(skit_flush(one.s, 30000), 0);
    EXPECT_STORED(one.s, "a", &one);
    cr_expect_eq(ph_store_stats(one.s)->too_long, 0);
    cr_expect_eq(ph_store_stats(one.s)->resyncs, 0);
    skit_close(&one);
}

BOTH(a_record_that_is_too_long_is_left_out)
{
    skit_begin(&one, "a", 2, token);
    one.size = PH_STORE_VALUE - PH_FLEET_SEAL_ROOM + 1;
    skit_change(&one, 1);
    skit_change(&one, 2);
    cr_expect_eq(skit_flush(one.s, 30000), 0, "nobody waits for them");
    cr_expect_eq(ph_store_stats(one.s)->too_long, 2);
    cr_expect_eq(skit_lines("too long"), 1, "said once:\n%s", rkit_log);
    one.size = 0;
    skit_change(&one, 3);
    cr_expect_eq(skit_flush(one.s, 30000), 0);
    struct found f = skit_load(one.s, "a");
    cr_expect_eq(f.n, 3);
    cr_expect_eq(f.version[1], 1, "as it was");
    cr_expect_eq(f.version[3], 1);
    skit_found_fini(&f);
    skit_close(&one);
}

BOTH(a_hundred_thousand_records_are_read)
{
    enum { N = 100000 };
    struct ph_store_conf c = skit_conf("a", &one);

    c.batch = 120;
    c.flight = 16;
    one.size = 64;
    one.s = skit_open_as(&c);
    skit_begin(&one, "a", N, token);
    const uint64_t commands = ph_store_stats(one.s)->commands;
    struct found f = skit_load(one.s, "a");
    cr_expect_eq(f.a.err, 0);
    cr_expect_eq(f.n - f.twice, N);
    cr_expect_eq(ph_store_stats(one.s)->loaded, f.n);
    cr_expect_gt(ph_store_stats(one.s)->commands, commands + 100, "in pages");
    skit_found_fini(&f);
    skit_close(&one);
}

BOTH(nodes_and_kinds_are_apart)
{
    const struct ph_store_source from = skit_source(&two);

    skit_begin(&one, "a", 5, token);
    skit_open("b", &two);
    skit_claim(two.s, "b", other);
    skit_put(&two, 3);
    cr_assert_eq(ph_store_write(two.s, "alloc", other, &from), 0);
    cr_expect_eq(skit_flush(two.s, 30000), 0);
    EXPECT_STORED(two.s, "a", &one);
    EXPECT_STORED(one.s, "b", &two);
    cr_assert_eq(ph_store_write(two.s, "bind", other, &from), 0);
    skit_end(&two, 3);
    cr_expect_eq(skit_flush(two.s, 30000), 0);
    struct found f = skit_load(one.s, "b");
    cr_expect_eq(f.n, 1, "it ended as another kind");
    skit_found_fini(&f);
    skit_close(&one);
    skit_close(&two);
}

BOTH(several_handles_write_one_node)
{
    const struct ph_store_source from = skit_source(&two);

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
    skit_change(&one, 50);
    skit_end(&two, 150);
    ph_store_kick(two.s);
    cr_expect_eq(skit_flush(one.s, 30000), 0);
    cr_expect_eq(skit_flush(two.s, 30000), 0);
    struct found f = skit_load(one.s, "a");
    cr_expect_eq(f.n, 199, "neither removed what is the other's");
    cr_expect_eq(f.version[50], 2);
    cr_expect_eq(f.version[150], 0);
    skit_found_fini(&f);
    cr_expect_eq(one.fences + two.fences, 0);
    skit_close(&one);
    skit_close(&two);
}

/* A worker: its own thread, loop and handle, and a part of the records. */
struct worker {
    uv_thread_t thread;
    uv_loop_t loop;
    uint64_t first;
    int err;
    bool done;
};

static void on_stored(void *ctx, int err)
{
    struct worker *w = ctx;

    w->err = err;
    w->done = true;
    uv_stop(&w->loop);
}

static void work(void *arg)
{
    struct worker *w = arg;
    struct book b = {.first = w->first, .last = w->first + 999, .sparse = true};
    const struct ph_store_conf c = skit_conf("a", &b);
    const struct ph_store_source from = skit_source(&b);

    uv_loop_init(&w->loop);
    b.s = ph_store_memory_new(&w->loop, space, &c, &rkit_env);
    for (uint64_t id = w->first; id < w->first + 1000; id++)
        skit_put(&b, id);
    w->err = ph_store_write(b.s, "alloc", token, &from);
    for (unsigned round = 0; round < 3 && !w->err; round++) {
        for (uint64_t id = w->first; id < w->first + 1000; id++)
            skit_change(&b, id);
        w->done = false;
        ph_store_flush(b.s, 5000, on_stored, w);
        while (!w->done)
            uv_run(&w->loop, UV_RUN_DEFAULT);
    }
    skit_close(&b);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    w->err = w->err ? w->err : uv_loop_close(&w->loop);
}

Test(uv_store_memory, handles_of_several_threads)
{
    static struct worker w[4];
    struct ph_store *s = skit_open("a", NULL);

    skit_claim(s, "a", token);
    for (unsigned i = 0; i < 4; i++) {
        w[i].first = i * 1000 + 1;
        cr_assert_eq(uv_thread_create(&w[i].thread, work, &w[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        uv_thread_join(&w[i].thread);
        cr_expect_eq(w[i].err, 0, "%u: %s", i, ph_strerror(w[i].err));
    }
    struct found f = skit_load(s, "a");
    cr_expect_eq(f.n, 4000);
    cr_expect_eq(f.version[1], 4);
    cr_expect_eq(f.version[4000], 4);
    skit_found_fini(&f);
    ph_store_free(s);
}

/* --- claims ---------------------------------------------------------------------------------------- */

BOTH(a_claim_fences_whoever_had_the_node)
{
    skit_begin(&one, "a", 3, token);
    struct ph_store *s = skit_open("b", NULL);
    skit_claim(s, "a", other);
    cr_expect_str_neq(token, other);
    skit_change(&one, 1);
    skit_change(&one, 4);
    SKIT_UNTIL(one.fences == 1);
    const struct ph_store_stats *of = ph_store_stats(one.s);
    cr_expect(!of->up && !of->behind);
    cr_expect_eq(of->fenced, 1);
    cr_expect_eq(one.downs, 1);
    const uint64_t commands = of->commands;
    skit_change(&one, 5);
    cr_expect_eq(skit_flush(one.s, 30000), PH_E_FORBIDDEN);
    rkit_run_ms(20);
    cr_expect_eq(of->commands, commands, "not even tried");
    cr_expect_eq(one.fences, 1, "told once");
    struct found f = skit_load(s, "a");
    cr_expect_eq(f.n, 3);
    cr_expect_eq(f.version[1], 1);
    skit_found_fini(&f);
    ph_store_free(s);
    skit_close(&one);
}

BOTH(a_flush_under_way_is_told_of_the_fence)
{
    struct skit_answer a = {0};

    skit_begin(&one, "a", 3, token);
    struct ph_store *s = skit_open("b", NULL);
    skit_claim(s, "a", other);
    skit_change(&one, 1);
    ph_store_flush(one.s, 5000, skit_on_done, &a);
    SKIT_UNTIL(a.calls == 1);
    cr_expect_eq(a.err, PH_E_FORBIDDEN);
    ph_store_free(s);
    skit_close(&one);
}

BOTH(a_new_claim_writes_again)
{
    const struct ph_store_source from = skit_source(&one);

    skit_begin(&one, "a", 3, token);
    struct ph_store *s = skit_open("b", NULL);
    skit_claim(s, "a", other);
    skit_change(&one, 1);
    SKIT_UNTIL(one.fences == 1);
    skit_claim(one.s, "a", other);
    cr_assert_eq(ph_store_write(one.s, "alloc", other, &from), 0);
    cr_expect_eq(skit_flush(one.s, 30000), 0);
    EXPECT_STORED(s, "a", &one);
    cr_expect_eq(one.ups, 2);
    cr_expect_eq(ph_store_stats(one.s)->resyncs, 1);
    ph_store_free(s);
    skit_close(&one);
}

BOTH(an_old_token_writes_nothing)
{
    const struct ph_store_source from = skit_source(&two);

    skit_begin(&one, "a", 3, token);
    skit_claim(one.s, "a", other);
    skit_open("a", &two);
    skit_put(&two, 77);
    cr_assert_eq(ph_store_write(two.s, "alloc", token, &from), 0);
    SKIT_UNTIL(two.fences == 1);
    cr_expect_eq(two.alls, 0, "nobody is asked for what cannot be written");
    EXPECT_STORED(one.s, "a", &one);
    skit_close(&one);
    skit_close(&two);
}

BOTH(a_node_that_starts_anew_sweeps_what_has_ended)
{
    const struct ph_store_source from = skit_source(&two);

    skit_begin(&one, "a", 1000, token);
    skit_open("a", &two);
    skit_claim(two.s, "a", other);
    for (uint64_t id = 1; id <= 300; id++)
        skit_put(&two, id);
    cr_assert_eq(ph_store_write(two.s, "alloc", other, &from), 0);
    cr_expect_eq(skit_flush(two.s, 30000), 0);
    EXPECT_STORED(two.s, "a", &two);
    cr_expect_eq(ph_store_stats(two.s)->removed, 700);
    cr_expect(strstr(rkit_log, "removed 700 records"), "%s", rkit_log);
    skit_close(&one);
    skit_close(&two);
}

BOTH(who_cannot_tell_sweeps_nothing)
{
    struct ph_store_source from = skit_source(&two);

    from.has = NULL;
    skit_begin(&one, "a", 10, token);
    skit_open("a", &two);
    skit_claim(two.s, "a", other);
    skit_put(&two, 11);
    cr_assert_eq(ph_store_write(two.s, "alloc", other, &from), 0);
    cr_expect_eq(skit_flush(two.s, 30000), 0);
    struct found f = skit_load(two.s, "a");
    cr_expect_eq(f.n, 11);
    skit_found_fini(&f);
    skit_close(&one);
    skit_close(&two);
}

/* --- removing -------------------------------------------------------------------------------------- */

BOTH(what_was_adopted_is_removed)
{
    uint64_t id[260];

    skit_begin(&one, "a", 300, token);
    struct ph_store *s = skit_open("b", NULL);
    skit_claim(s, "a", other);
    for (unsigned i = 0; i < 260; i++)
        id[i] = i < 250 ? i + 1 : 5000 + i;
    cr_expect_eq(skit_remove(s, "a", other, id, 260), 0);
    cr_expect_eq(ph_store_stats(s)->removed, 250, "what is not there does no harm");
    struct found f = skit_load(s, "a");
    cr_expect_eq(f.n, 50);
    cr_expect_eq(f.version[250], 0);
    cr_expect_neq(f.version[251], 0);
    skit_found_fini(&f);
    cr_expect_eq(skit_remove(s, "a", other, NULL, 0), 0);
    cr_expect_eq(skit_remove(s, "unheard-of", other, id, 3), 0);
    ph_store_free(s);
    skit_close(&one);
}

BOTH(only_the_last_claim_removes)
{
    const uint64_t id[] = {1, 2};

    skit_begin(&one, "a", 3, token);
    struct ph_store *s = skit_open("b", NULL);
    skit_claim(s, "a", other);
    cr_expect_eq(skit_remove(one.s, "a", token, id, 2), PH_E_FORBIDDEN);
    EXPECT_STORED(s, "a", &one);
    ph_store_remove(s, "a", "alloc", other, id, 2, NULL, NULL);
    SKIT_UNTIL(ph_store_stats(s)->removed == 2);
    ph_store_free(s);
    skit_close(&one);
}

/* --- flushing -------------------------------------------------------------------------------------- */

BOTH(a_flush_waits_for_what_has_changed)
{
    struct skit_answer a = {0};
    struct ph_store_conf c = skit_conf("a", &one);

    c.gather_ms = 60000;
    one.s = skit_open_as(&c);
    cr_expect_eq(skit_flush(one.s, 30000), PH_E_STATE, "nobody writes");
    skit_begin(&one, "a", 3, token);
    skit_change(&one, 1);
    ph_store_flush(one.s, 5000, skit_on_done, &a);
    SKIT_UNTIL(a.calls == 1);
    cr_expect_eq(a.err, 0, "and not for the time of gathering");
    cr_expect_eq(ph_store_stats(one.s)->written, 4);
    skit_put(&one, 9); /* without a kick */
    cr_expect_eq(skit_flush(one.s, 30000), 0);
    EXPECT_STORED(one.s, "a", &one);
    skit_close(&one);
}

BOTH(flushes_do_not_wait_for_what_comes_later)
{
    struct skit_answer a = {0};

    skit_begin(&one, "a", 100, token);
    skit_change(&one, 1);
    ph_store_flush(one.s, 3000, skit_on_done, &a);
    for (unsigned i = 0; i < 20000 && !a.calls; i++) { /* there is always something new */
        skit_change(&one, i % 100 + 1);
        rkit_turn();
    }
    cr_expect_eq(a.calls, 1);
    cr_expect_eq(a.err, 0);
    skit_close(&one);
}

/* --- what is asked wrongly ------------------------------------------------------------------------- */

BOTH(names_are_checked)
{
    struct skit_answer a = {0};
    const uint64_t id = 1;
    const struct ph_store_source from = skit_source(&one);
    struct ph_store_conf c = skit_conf("a}:b", NULL);

    for (unsigned i = 0; i < 4; i++) {
        static const char *const bad[] = {"a}:b", "", "a b", "a\nb"};
        snprintf(c.node, sizeof c.node, "%s", bad[i]);
#ifdef PH_HAVE_REDIS
        const struct ph_redis_conf to = rkit_conf();
        cr_expect_null(ph_store_redis_new(&loop, &to, &c, &rkit_env));
#endif
        cr_expect_null(ph_store_memory_new(&loop, space, &c, &rkit_env));
    }
    c = skit_conf("a", NULL);
    snprintf(c.prefix, sizeof c.prefix, "{x}");
    cr_expect_null(ph_store_memory_new(&loop, space, &c, &rkit_env));

    struct ph_store *s = skit_open("A.b-c_9", &one);
    ph_store_claim(s, "a/b", skit_on_claim, &a);
    SKIT_UNTIL(a.calls == 1);
    cr_expect_eq(a.err, PH_E_ARG);
    cr_expect_str_empty(a.token);
    ph_store_load(s, "a", "owner", skit_on_each, skit_on_done, &a);
    SKIT_UNTIL(a.calls == 2);
    cr_expect_eq(a.err, PH_E_ARG);
    cr_expect_eq(skit_remove(s, "a", "no token", &id, 1), PH_E_ARG);
    cr_expect_eq(ph_store_write(s, "alloc", "", &from), PH_E_ARG);
    cr_expect_eq(ph_store_write(s, "alloc", "1-x y", &from), PH_E_ARG);
    cr_expect_eq(ph_store_write(s, "owner", "1-ab", &from), PH_E_ARG);
    cr_expect_eq(ph_store_write(s, "seventeen-letters", "1-ab", &from), PH_E_ARG);
    ph_store_kick(s);
    cr_expect_eq(skit_flush(s, 100), PH_E_STATE);
    cr_expect_eq(ph_store_stats(s)->commands, 0);
    skit_close(&one);
}

/* --- endings --------------------------------------------------------------------------------------- */

BOTH(what_is_under_way_ends_with_the_handle)
{
    struct skit_answer a[4] = {0};
    struct found f = {.version = calloc(SKIT_IDS, sizeof *f.version)};
    const uint64_t id = 1;

    skit_begin(&one, "a", 3, token);
    skit_change(&one, 1);
    ph_store_claim(one.s, "b", skit_on_claim, &a[0]);
    ph_store_load(one.s, "a", "alloc", skit_on_each, skit_on_done, &f);
    ph_store_remove(one.s, "a", "alloc", token, &id, 1, skit_on_done, &a[1]);
    ph_store_flush(one.s, 5000, skit_on_done, &a[2]);
    cr_expect_eq(a[0].calls + a[1].calls + a[2].calls + f.a.calls, 0);
    ph_store_free(one.s);
    one.freed = true;
    for (unsigned i = 0; i < 3; i++) {
        cr_expect_eq(a[i].calls, 1, "%u", i);
        cr_expect_eq(a[i].err, PH_E_STATE, "%u", i);
    }
    cr_expect_eq(f.a.calls, 1);
    cr_expect_eq(f.a.err, PH_E_STATE);
    rkit_run_ms(30);
    cr_expect_eq(a[0].calls + a[1].calls + a[2].calls + f.a.calls, 4, "and no more");
    ph_store_free(NULL);
    skit_found_fini(&f);
    skit_close(&one);
}

BOTH(may_be_freed_while_it_reads)
{
    struct found f = {.version = calloc(SKIT_IDS, sizeof *f.version), .free_in_each = true};

    skit_begin(&one, "a", 600, token);
    f.s = one.s;
    ph_store_load(one.s, "a", "alloc", skit_on_each, skit_on_done, &f);
    SKIT_UNTIL(f.a.calls == 1);
    one.freed = true;
    cr_expect_eq(f.n, 1);
    cr_expect_eq(f.a.err, PH_E_STATE);
    skit_found_fini(&f);
    skit_close(&one);
}

static void end_claim(void *ctx, int err, const char *text)
{
    (void)err;
    (void)text;
    ph_store_free(*(struct ph_store **)ctx);
    *(struct ph_store **)ctx = NULL;
}

static void end_done(void *ctx, int err)
{
    end_claim(ctx, err, NULL);
}

static void never(void *ctx, uint64_t id, struct ph_slice value)
{
    (void)ctx;
    (void)id;
    (void)value;
}

BOTH(may_be_freed_from_any_answer)
{
    const uint64_t id = 1;

    for (unsigned i = 0; i < 4; i++) {
        struct book b = {0};
        skit_begin(&b, "a", 3, token);
        if (i == 0)
            ph_store_claim(b.s, "a", end_claim, &b.s);
        else if (i == 1)
            ph_store_load(b.s, "a", "alloc", never, end_done, &b.s);
        else if (i == 2)
            ph_store_remove(b.s, "a", "alloc", token, &id, 1, end_done, &b.s);
        else
            ph_store_flush(b.s, 5000, end_done, &b.s);
        SKIT_UNTIL(!b.s);
        skit_close(&b);
    }
}

static void end_book(struct book *b)
{
    b->told = NULL;
    b->freed = true;
    ph_store_free(b->s);
}

BOTH(may_be_freed_when_told_of_the_state)
{
    const struct ph_store_source from = skit_source(&one);

    skit_open("a", &one);
    skit_claim(one.s, "a", token);
    skit_put(&one, 1);
    one.told = end_book;
    cr_assert_eq(ph_store_write(one.s, "alloc", token, &from), 0);
    SKIT_UNTIL(one.freed);
    cr_expect_eq(one.ups, 1);
    skit_close(&one);
}

BOTH(may_be_freed_when_told_of_a_fence)
{
    skit_begin(&one, "a", 3, token);
    skit_claim(one.s, "a", other);
    one.told = end_book;
    skit_change(&one, 1);
    SKIT_UNTIL(one.freed);
    skit_close(&one);
}

BOTH(may_be_freed_at_any_moment)
{
    for (unsigned i = 0; i < 60; i++) {
        const struct ph_store_source from = skit_source(&two);
        struct ph_store *s = skit_open("a", &two);
        skit_claim(s, "a", token);
        for (uint64_t id = 1; id <= 2000; id++)
            skit_put(&two, id);
        cr_assert_eq(ph_store_write(s, "alloc", token, &from), 0);
        for (unsigned k = 0; k < i; k++)
            uv_run(&loop, UV_RUN_NOWAIT);
        skit_close(&two);
    }
}

BOTH(states_are_told_by_turns)
{
    skit_begin(&one, "a", 3, token);
    cr_expect_eq(one.ups, 1);
    cr_expect_eq(one.downs, 0);
    cr_expect(ph_store_stats(one.s)->up);
    skit_change(&one, 2);
    cr_expect_eq(skit_flush(one.s, 30000), 0);
    cr_expect_eq(one.ups, 1);
    skit_close(&one);
}
