/*
 * The connection to Redis when memory runs out at any one moment: it may fail to begin, then it comes about all the
 * same, a little later, and nothing is lost or answered twice.
 */
#ifdef PH_HAVE_REDIS
#include "support/oom.h"
#include "uv/redis_kit.h"

static char slots[512], master[64];

static void server(struct fake *f, char **arg, unsigned n)
{
    (void)n;
    if (fake_greets(f, arg))
        return;
    if (strcmp(arg[0], "CLUSTER") == 0)
        fake_say(f, slots);
    else if (strcmp(arg[0], "SENTINEL") == 0)
        fake_say(f, master);
    else if (strcmp(arg[0], "ROLE") == 0)
        fake_say(f, "*1\r\n$6\r\nmaster\r\n");
    else
        fake_say(f, "+fine\r\n");
}

static void shortest(void *ctx, void *dst, size_t n)
{
    (void)ctx;
    memset(dst, 0, n);
}

static void setup(void)
{
    rkit_setup();
    rkit_env.rand = shortest; /* waits */
    fake_listen_ith(0, server);
    fake_listen_ith(1, server);
    snprintf(master, sizeof master, "*2\r\n$9\r\n127.0.0.1\r\n$5\r\n%05u\r\n", fake_ith(1)->port);
    snprintf(slots, sizeof slots,
             "*2\r\n*3\r\n:0\r\n:8191\r\n*2\r\n$9\r\n127.0.0.1\r\n:%u\r\n"
             "*3\r\n:8192\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:%u\r\n",
             fake.port, fake_ith(1)->port);
}

TestSuite(uv_redis_oom, .init = setup, .fini = rkit_teardown, .timeout = 60);

/* Sends until it is taken, and is answered. */
static void command(struct ph_redis *r, const char *text)
{
    struct answer a = {0};
    int err = PH_E_STATE;

    for (int i = 0; i < 20000 && (err = rkit_send(r, text, &a)) != 0; i++)
        rkit_turn();
    cr_assert_eq(err, 0, "%s", ph_strerror(err));
    RUN_UNTIL(a.calls == 1);
    cr_expect_str_eq(a.text, "fine");
}

/* False: no allocation has failed. */
static bool live(const struct ph_redis_conf *c)
{
    struct ph_redis *r = ph_redis_new(&loop, c, &rkit_env);

    if (r) {
        RUN_UNTIL(ph_redis_stats(r)->up);
        command(r, "GET foo");
        command(r, "GET bar");
    }
    const bool fired = oom_disarm();
    cr_expect(r || fired);
    rkit_close(r);
    return fired;
}

static void live_through_all(const struct ph_redis_conf *c)
{
    unsigned n = 1;

    if (!oom_works())
        cr_skip_test("allocation cannot be made to fail here");
    for (; n < 200; n++) {
        oom_fail_at(n);
        if (!live(c))
            break;
    }
    cr_expect(n > 4 && n < 200, "%u allocations", n);
}

Test(uv_redis_oom, one_server)
{
    const struct ph_redis_conf c = rkit_parse("redis://:pw@127.0.0.1:%u/1", fake.port);

    live_through_all(&c);
}

Test(uv_redis_oom, sentinels)
{
    const struct ph_redis_conf c = rkit_parse("redis+sentinel://127.0.0.1:%u/main", fake.port);

    live_through_all(&c);
}

Test(uv_redis_oom, a_cluster)
{
    const struct ph_redis_conf c = rkit_parse("redis+cluster://127.0.0.1:%u", fake.port);

    live_through_all(&c);
}

/* Without a server: TLS is wanted, so that its session is made as well. */
Test(uv_redis_oom, tls)
{
    const struct ph_redis_conf c = rkit_parse("rediss://127.0.0.1:%u?verify=none", fake.port);
    bool fired = true;

    for (unsigned n = 1; n < 50 && fired; n++) {
        oom_fail_at(n);
        struct ph_redis *r = ph_redis_new(&loop, &c, &rkit_env);
        for (int i = 0; i < 200 && r && !ph_redis_stats(r)->failures && !fake.conn[0].n; i++)
            rkit_turn();
        fired = oom_disarm();
        rkit_close(r);
    }
    cr_expect(!fired);
}
#else
#include <criterion/criterion.h>

Test(uv_redis_oom, needs_hiredis)
{
    cr_skip_test("built without hiredis");
}
#endif
