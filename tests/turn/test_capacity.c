/*
 * What workers share: ports, quotas, reservations; also from several threads at once.
 */
#include "turn/rig.h"

#include <pthread.h>
#include <stdio.h>

static uint64_t seed = 7;
static const struct ph_env env = {.rand = rig_rand, .ctx = &seed};

Test(turn_ports, every_port_is_given_once_in_no_guessable_order)
{
    struct ph_ports *p = ph_ports_new(50001, 50100);
    bool seen[101] = {false};
    unsigned in_order = 0;
    int last = 0;

    for (int i = 0; i < 100; i++) {
        int port = ph_ports_take(p, PH_PORT_ANY, 0, &env);
        cr_assert(port >= 50001 && port <= 50100 && !seen[port - 50000]);
        seen[port - 50000] = true;
        in_order += port == last + 1;
        last = port;
    }
    cr_expect_lt(in_order, 40);
    cr_expect_eq(ph_ports_take(p, PH_PORT_ANY, 0, &env), PH_E_LIMIT);
    cr_expect_eq(ph_ports_used(p), 100);
    ph_ports_free(p);
}

Test(turn_ports, even_ports_and_pairs)
{
    struct ph_ports *p = ph_ports_new(50001, 50008);
    int pairs = 0, port;

    while ((port = ph_ports_take(p, PH_PORT_EVEN_PAIR, 0, &env)) > 0) {
        cr_expect_eq(port % 2, 0);
        cr_expect(ph_ports_taken(p, (uint16_t)(port + 1)));
        pairs++;
    }
    cr_expect_eq(pairs, 3, "50002, 4 and 6; 50009 is out of range");
    cr_expect_eq(ph_ports_take(p, PH_PORT_EVEN, 0, &env), 50008);
    cr_expect_eq(ph_ports_take(p, PH_PORT_EVEN, 0, &env), PH_E_LIMIT);
    cr_expect_eq(ph_ports_take(p, PH_PORT_ANY, 0, &env), 50001);
    cr_expect_eq(ph_ports_used(p), 8);
    ph_ports_free(p);
}

Test(turn_ports, next_one_after_a_failure_and_exact_ones)
{
    struct ph_ports *p = ph_ports_new(65530, 65535);

    cr_expect(ph_ports_take_exact(p, 65531));
    cr_expect_not(ph_ports_take_exact(p, 65531));
    cr_expect_not(ph_ports_take_exact(p, 65529));
    cr_expect_eq(ph_ports_take(p, PH_PORT_ANY, 65530, &env), 65532);
    cr_expect_eq(ph_ports_take(p, PH_PORT_ANY, 65535, &env), 65530, "wraps");
    ph_ports_release(p, 65531);
    ph_ports_release(p, 65531);
    cr_expect_eq(ph_ports_used(p), 2, "a second release changes nothing");
    cr_expect_null(ph_ports_new(10, 9));
    ph_ports_free(p);
}

enum { THREADS = 4, ROUNDS = 20000 };

struct job {
    struct ph_ports *ports;
    struct ph_quota *quota;
    uint64_t seed;
    unsigned wins;
};

static void *take_and_give(void *ctx)
{
    struct job *j = ctx;
    struct ph_env e = {.rand = rig_rand, .ctx = &j->seed};
    static const char *const users[] = {"a", "b", "c"};

    for (int i = 0; i < ROUNDS; i++) {
        struct ph_slice u = ph_str(users[i % 3]);
        int port = ph_ports_take(j->ports, (enum ph_port_want)(i % 3), 0, &e);
        int err = ph_quota_take(j->quota, u);
        j->wins += err == 0;
        if (err == 0)
            ph_quota_release(j->quota, u);
        if (port <= 0)
            continue;
        ph_ports_release(j->ports, (uint16_t)port);
        if (i % 3 == PH_PORT_EVEN_PAIR)
            ph_ports_release(j->ports, (uint16_t)(port + 1));
    }
    return NULL;
}

Test(turn_capacity, threads_lose_and_gain_nothing)
{
    struct job j[THREADS];
    pthread_t t[THREADS];
    struct ph_ports *ports = ph_ports_new(50000, 50015);
    struct ph_quota *quota = ph_quota_new(3, 1, 16, &env);
    unsigned wins = 0;

    for (unsigned i = 0; i < THREADS; i++) {
        j[i] = (struct job){ports, quota, i, 0};
        pthread_create(&t[i], NULL, take_and_give, &j[i]);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(t[i], NULL);
        wins += j[i].wins;
    }
    cr_expect_eq(ph_ports_used(ports), 0);
    cr_expect_eq(ph_quota_used(quota), 0);
    cr_expect_gt(wins, 0);
    cr_expect_eq(ph_quota_take(quota, ph_str("a")), 0);
    cr_expect_eq(ph_quota_take(quota, ph_str("a")), PH_E_LIMIT);
    ph_ports_free(ports);
    ph_quota_free(quota);
}

Test(turn_quota, many_users_each_have_their_own)
{
    struct ph_quota *q = ph_quota_new(0, 3, 4096, &env);
    char name[16];

    for (int round = 0; round < 4; round++)
        for (int i = 0; i < 1000; i++) {
            int n = snprintf(name, sizeof name, "user%d", i);
            struct ph_slice u = {(uint8_t *)name, (size_t)n};
            cr_assert_eq(ph_quota_take(q, u), round < 3 ? 0 : PH_E_LIMIT, "%s round %d", name,
                         round);
        }
    cr_expect_eq(ph_quota_used(q), 3000);
    ph_quota_free(q);
}

Test(turn_quota, own_bound_stands_in_for_the_general_one)
{
    struct ph_quota *q = ph_quota_new(0, 2, 0, &env);

    cr_expect_eq(ph_quota_take_of(q, ph_str("a"), 1), 0);
    cr_expect_eq(ph_quota_take_of(q, ph_str("a"), 1), PH_E_LIMIT);
    cr_expect_eq(ph_quota_take_of(q, ph_str("a"), 0), 0);
    cr_expect_eq(ph_quota_take_of(q, ph_str("a"), 0), PH_E_LIMIT);
    for (int i = 0; i < 3; i++)
        cr_expect_eq(ph_quota_take_of(q, ph_str("a"), 5), 0);
    cr_expect_eq(ph_quota_take_of(q, ph_str("a"), 5), PH_E_LIMIT);
    cr_expect_eq(ph_quota_take(q, ph_str("b")), 0);
    cr_expect_eq(ph_quota_used(q), 6);
    ph_quota_free(q);
}

/* Users are counted before there is a bound, so one that comes later holds at once. */
Test(turn_quota, bounds_can_change)
{
    struct ph_quota *q = ph_quota_new(0, 0, 0, &env);

    for (int i = 0; i < 5; i++)
        cr_assert_eq(ph_quota_take(q, ph_str("a")), 0);
    ph_quota_set(q, 0, 5);
    cr_expect_eq(ph_quota_take(q, ph_str("a")), PH_E_LIMIT);
    ph_quota_set(q, 6, 7);
    cr_expect_eq(ph_quota_take(q, ph_str("a")), 0);
    cr_expect_eq(ph_quota_take(q, ph_str("b")), PH_E_LIMIT, "the total");
    ph_quota_carry(q, ph_str("b"));
    cr_expect_eq(ph_quota_used(q), 7, "what stands is counted, whatever the bound");
    ph_quota_set(q, 0, 0);
    cr_expect_eq(ph_quota_take(q, ph_str("b")), 0);
    for (int i = 0; i < 6; i++)
        ph_quota_release(q, ph_str("a"));
    ph_quota_release(q, ph_str("b"));
    ph_quota_release(q, ph_str("b"));
    cr_expect_eq(ph_quota_used(q), 0);
    ph_quota_free(q);
}

/* A word counts to 65535: without names (no-auth) all allocations are one user's. */
/* What other servers have counts for who asks for one more. */
Test(turn_quota, what_is_elsewhere_counts)
{
    struct ph_quota *q = ph_quota_new(0, 3, 0, &env);

    cr_assert_eq(ph_quota_set_elsewhere(q, ph_str("a"), 2), 0);
    cr_expect_eq(ph_quota_used(q), 0, "not here");
    cr_expect_eq(ph_quota_take(q, ph_str("a")), 0);
    cr_expect_eq(ph_quota_take(q, ph_str("a")), PH_E_LIMIT);
    cr_expect_eq(ph_quota_take(q, ph_str("b")), 0, "another one");
    cr_expect_eq(ph_quota_take_of(q, ph_str("a"), 4), 0, "a bound of his own");
    cr_expect_eq(ph_quota_take_of(q, ph_str("a"), 4), PH_E_LIMIT);
    cr_assert_eq(ph_quota_set_elsewhere(q, ph_str("a"), 65536), 0);
    cr_expect_eq(ph_quota_take_of(q, ph_str("a"), 100), PH_E_LIMIT);
    ph_quota_carry(q, ph_str("a"));
    cr_expect_eq(ph_quota_used(q), 4, "what stands is carried anyway");
    cr_assert_eq(ph_quota_set_elsewhere(q, ph_str("a"), 0), 0);
    cr_expect_eq(ph_quota_take(q, ph_str("a")), PH_E_LIMIT, "three are here by now");
    ph_quota_release(q, ph_str("a"));
    cr_expect_eq(ph_quota_take(q, ph_str("a")), 0);
    cr_expect_eq(ph_quota_set_elsewhere(q, ph_str("never heard of"), 0), 0);
    ph_quota_set_total_elsewhere(q, 100);
    cr_expect_eq(ph_quota_take(q, ph_str("c")), 0, "there is no bound");
    ph_quota_set(q, 106, 3);
    cr_expect_eq(ph_quota_take(q, ph_str("c")), 0);
    cr_expect_eq(ph_quota_take(q, ph_str("c")), PH_E_LIMIT);
    ph_quota_set_total_elsewhere(q, UINT32_MAX);
    ph_quota_set(q, UINT32_MAX, 3);
    cr_expect_eq(ph_quota_take(q, ph_str("c")), PH_E_LIMIT);
    ph_quota_set_total_elsewhere(q, 0);
    cr_expect_eq(ph_quota_take(q, ph_str("c")), 0);
    ph_quota_free(q);
}

/* Who is nowhere else any more leaves his place to others. */
Test(turn_quota, users_elsewhere_are_bounded_and_forgotten)
{
    struct ph_quota *q = ph_quota_new(0, 1, 64, &env);
    unsigned known = 0;
    char name[16];

    for (int round = 0; round < 3; round++) {
        unsigned fitted = 0;
        for (int i = 0; i < 200; i++) {
            int n = snprintf(name, sizeof name, "user%d", round * 1000 + i);
            int err = ph_quota_set_elsewhere(q, (struct ph_slice){(uint8_t *)name, (size_t)n}, 1);
            cr_assert(err == 0 || err == PH_E_LIMIT);
            fitted += err == 0;
        }
        cr_expect_leq(fitted, 64);
        cr_expect_geq(fitted, 48, "%u", fitted);
        for (int i = 0; i < 200; i++) {
            int n = snprintf(name, sizeof name, "user%d", round * 1000 + i);
            const struct ph_slice u = {(uint8_t *)name, (size_t)n};
            if (ph_quota_take(q, u))
                known++;
            else
                ph_quota_release(q, u);
            cr_expect_eq(ph_quota_set_elsewhere(q, u, 0), 0);
        }
    }
    cr_expect_geq(known, 3 * 48);
    cr_expect_eq(ph_quota_used(q), 0);
    ph_quota_free(q);
}

Test(turn_quota, counts_on_where_a_word_is_full)
{
    struct ph_quota *q = ph_quota_new(0, 0, 16, &env);
    const struct ph_slice nobody = {0};

    for (int i = 0; i < 140000; i++)
        cr_assert_eq(ph_quota_take(q, nobody), 0);
    ph_quota_set(q, 0, 140000);
    cr_expect_eq(ph_quota_take(q, nobody), PH_E_LIMIT);
    for (int i = 0; i < 140000; i++)
        ph_quota_release(q, nobody);
    ph_quota_set(q, 0, 1);
    cr_expect_eq(ph_quota_take(q, nobody), 0);
    cr_expect_eq(ph_quota_used(q), 1);
    ph_quota_free(q);
}

Test(turn_reserve, token_is_good_once_and_for_30_s)
{
    struct ph_ports *p = ph_ports_new(50000, 50100);
    struct ph_reserve *r = ph_reserve_new();
    uint64_t one, two;
    uint32_t relay;
    uint16_t port;

    ph_ports_take_exact(p, 50001);
    ph_ports_take_exact(p, 50003);
    cr_assert_eq(ph_reserve_hold(r, p, 3, 50001, &env, 100, &one), 0);
    cr_assert_eq(ph_reserve_hold(r, p, 4, 50003, &env, 200, &two), 0);
    cr_expect_eq(ph_reserve_deadline(r), 100 + PH_SEC(30));
    cr_expect_eq(ph_reserve_claim(r, one + 1, 300, &relay, &port), PH_E_MISSING);
    cr_expect_eq(ph_reserve_claim(r, one, 300, &relay, &port), 0);
    cr_expect_eq(relay, 3);
    cr_expect_eq(port, 50001);
    cr_expect_eq(ph_reserve_claim(r, one, 300, &relay, &port), PH_E_MISSING);
    cr_expect(ph_ports_taken(p, 50001), "the claimer's now");
    ph_reserve_tick(r, 100 + PH_SEC(30));
    cr_expect_eq(ph_reserve_deadline(r), 200 + PH_SEC(30));
    ph_reserve_tick(r, 200 + PH_SEC(30));
    cr_expect_not(ph_ports_taken(p, 50003));
    cr_expect_eq(ph_reserve_deadline(r), PH_NEVER);
    cr_expect_eq(ph_reserve_claim(r, two, 300, &relay, &port), PH_E_MISSING);
    ph_reserve_free(r);
    ph_ports_free(p);
}

Test(turn_reserve, table_is_bounded)
{
    struct ph_ports *p = ph_ports_new(1, 65535);
    struct ph_reserve *r = ph_reserve_new();
    uint64_t token;

    for (int i = 0; i < PH_RESERVE_SLOTS; i++)
        cr_assert_eq(ph_reserve_hold(r, p, 0, (uint16_t)(i + 1), &env, 0, &token), 0);
    cr_expect_eq(ph_reserve_hold(r, p, 0, 5000, &env, 0, &token), PH_E_LIMIT);
    ph_reserve_free(r);
    ph_ports_free(p);
}
