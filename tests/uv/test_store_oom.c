/*
 * The store with allocations that fail one after the other: what was asked for ends with an error, and writing goes on.
 */
#include "uv/store_kit.h"

#include "support/oom.h"

TestSuite(uv_store_memory, .init = skit_setup, .fini = skit_teardown, .timeout = 60);
TestSuite(uv_store_redis, .init = skit_setup, .fini = skit_teardown, .timeout = 60);

/* No allocation of the test's own may be the one that fails. */
static struct skit_answer a;
static unsigned seen;

static void count(void *ctx, uint64_t id, struct ph_slice value)
{
    (void)ctx;
    (void)id;
    (void)value;
    seen++;
}

static void ask(struct ph_store *s, unsigned what, const char *token)
{
    const uint64_t id[] = {1, 2};

    a.calls = 0;
    seen = 0;
    if (what == 0)
        ph_store_claim(s, "b", skit_on_claim, &a);
    else if (what == 1)
        ph_store_load(s, "a", "alloc", count, skit_on_done, &a);
    else if (what == 2)
        ph_store_remove(s, "a", "alloc", token, id, 2, skit_on_done, &a);
    else
        ph_store_flush(s, 4000, skit_on_done, &a);
}

BOTH(what_is_asked_for_ends_with_an_error)
{
    static struct book b;
    char token[PH_STORE_TOKEN];

    if (!oom_works())
        cr_skip_test("--wrap does not reach the code");
    skit_begin(&b, "a", 50, token);
    for (unsigned what = 0; what < 4; what++) {
        for (unsigned n = 1; n < 200; n++) {
            SKIT_UNTIL(ph_store_stats(b.s)->up); /* our own connection may have suffered */
            oom_fail_at(n);
            ask(b.s, what, token);
            for (int i = 0; i < 4000 && !a.calls; i++)
                rkit_turn();
            const bool failed = oom_disarm();
            cr_assert_eq(a.calls, 1, "asked for %u, failing %u", what, n);
            if (!failed && !a.err)
                break;
            cr_assert_lt(n, 199);
        }
        cr_expect_eq(a.err, 0, "%u", what);
        if (what == 1)
            cr_expect_eq(seen, 50);
    }
    skit_close(&b);
}

BOTH(writing_goes_on)
{
    static struct book b;
    char token[PH_STORE_TOKEN];

    if (!oom_works())
        cr_skip_test("--wrap does not reach the code");
    b.size = 3000;
    skit_begin(&b, "a", 30, token);
    for (uint64_t id = 31; id < 400; id++)
        skit_put(&b, id);
    cr_expect_eq(skit_flush(b.s, 30000), 0);
    for (unsigned n = 1; n < 40; n++) {
        b.size = 3000 + 50 * n; /* needs new room now and then */
        for (uint64_t id = 1; id < 400; id++)
            skit_put(&b, id);
        uint8_t *text = realloc(b.text, b.size);
        b.text = text;
        b.text_cap = b.size;
        ph_store_kick(b.s);
        oom_fail_at(n);
        rkit_run_ms(3);
        oom_disarm();
    }
    cr_expect_eq(skit_flush(b.s, 30000), 0, "%s", rkit_log);
    cr_expect_gt(ph_store_stats(b.s)->resyncs, 0, "something has failed");
    EXPECT_STORED(b.s, "a", &b);
    skit_close(&b);
}

Test(uv_store_memory, is_made_whole_or_not_at_all)
{
    const struct ph_store_conf c = skit_conf("a", NULL);

    if (!oom_works())
        cr_skip_test("--wrap does not reach the code");
    for (unsigned n = 1; n < 100; n++) {
        oom_fail_at(n);
        struct ph_store_space *s = ph_store_space_new();
        struct ph_store *h = s ? ph_store_memory_new(&loop, s, &c, &rkit_env) : NULL;
        const bool failed = oom_disarm();
        cr_expect(failed ? !h : !!h);
        ph_store_free(h);
        ph_store_space_free(s);
        if (!failed)
            return;
    }
    cr_expect(false);
}

#ifdef PH_HAVE_REDIS
Test(uv_store_redis, is_made_whole_or_not_at_all)
{
    const struct ph_store_conf c = skit_conf("a", NULL);
    const struct ph_redis_conf to = rkit_conf();

    if (!oom_works())
        cr_skip_test("--wrap does not reach the code");
    for (unsigned n = 1; n < 100; n++) {
        oom_fail_at(n);
        struct ph_store *h = ph_store_redis_new(&loop, &to, &c, &rkit_env);
        const bool failed = oom_disarm();
        cr_expect(failed || h);
        ph_store_free(h);
        for (int i = 0; i < 1000 && uv_loop_alive(&loop); i++)
            rkit_turn();
        if (!failed)
            return;
    }
    cr_expect(false);
}
#endif
