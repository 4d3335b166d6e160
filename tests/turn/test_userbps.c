/*
 * The bound of a user's sessions together: a table on a virtual clock, and two of them that share a bound as two nodes would.
 */
#include "turn/userbps.h"

#include "stun/base/error.h"
#include "support/oom.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BOUND = 100000, PACKET = 1000 };

static void constant(void *ctx, void *dst, size_t n)
{
    (void)ctx;
    memset(dst, 7, n);
}

static const struct ph_env env = {.rand = constant};
static ph_ns now = PH_SEC(5000);

static struct ph_userbps_session join(struct ph_userbps *u, const char *realm, const char *user)
{
    struct ph_userbps_session s = {0};
    cr_assert_eq(ph_userbps_join(u, &s, ph_str(realm), ph_str(user), now), 0);
    cr_assert_not_null(s.user);
    return s;
}

/* Sends every so often for so long; returns the bytes that passed. */
static uint64_t send_for(struct ph_userbps_session **s, unsigned n, enum ph_bps_way way,
                         ph_ns every, ph_ns span)
{
    uint64_t passed = 0;
    for (ph_ns until = now + span; now < until; now += every)
        for (unsigned i = 0; i < n; i++)
            if (ph_userbps_take(s[i], way, PACKET, now))
                passed += PACKET;
    return passed;
}

static uint64_t alone(struct ph_userbps_session *s, enum ph_bps_way way, ph_ns every, ph_ns span)
{
    return send_for(&s, 1, way, every, span);
}

/* --- the bound ------------------------------------------------------------------------------------- */

Test(turn_userbps, sessions_of_a_user_have_the_bound_together)
{
    struct ph_userbps *u = ph_userbps_new(BOUND, 0, &env);
    struct ph_userbps_session a = join(u, "r", "alice"), b = join(u, "r", "alice");
    struct ph_userbps_session c = join(u, "r", "alice"), *all[] = {&a, &b, &c};

    /* Ten seconds' worth, and the one that the bucket held. */
    const uint64_t passed = send_for(all, 3, PH_BPS_FROM_CLIENT, PH_MS(1), PH_SEC(10));
    cr_expect(passed >= 11 * BOUND - PACKET && passed <= 11 * BOUND, "%lu", (unsigned long)passed);
    ph_userbps_leave(&a);
    ph_userbps_leave(&b);
    ph_userbps_leave(&c);
    cr_expect_null(c.user);
    ph_userbps_leave(&c);
    ph_userbps_free(u);
}

Test(turn_userbps, others_and_the_other_direction_are_not_held_back)
{
    struct ph_userbps *u = ph_userbps_new(BOUND, 0, &env);
    struct ph_userbps_session s[] = {join(u, "r", "alice"), join(u, "r", "bob"),
                                     join(u, "s", "alice"), join(u, "ra", "lice")};

    alone(&s[0], PH_BPS_FROM_CLIENT, PH_MS(1), PH_SEC(2));
    cr_assert_not(ph_userbps_take(&s[0], PH_BPS_FROM_CLIENT, 10 * PACKET, now));
    cr_expect(ph_userbps_take(&s[0], PH_BPS_TO_CLIENT, BOUND, now));
    for (unsigned i = 1; i < 4; i++)
        cr_expect(ph_userbps_take(&s[i], PH_BPS_FROM_CLIENT, BOUND, now), "%u", i);
    for (unsigned i = 0; i < 4; i++)
        ph_userbps_leave(&s[i]);
    ph_userbps_free(u);
}

Test(turn_userbps, what_is_within_the_bound_passes_whole)
{
    static const uint64_t bounds[] = {1, 1000, 125000, 1000000, 1250000000, 9999999999};

    for (unsigned i = 0; i < sizeof bounds / sizeof *bounds; i++) {
        struct ph_userbps *u = ph_userbps_new(bounds[i], 0, &env);
        struct ph_userbps_session s = join(u, "r", "alice");
        const uint32_t n = bounds[i] > 100000 ? 1000 : bounds[i] > 100 ? 10 : 1;
        const ph_ns every = (ph_ns)((PH_SEC(1) * n + (ph_ns)bounds[i] - 1) / (ph_ns)bounds[i]) + 1;
        for (unsigned k = 0; k < 20000; k++, now += every)
            cr_assert(ph_userbps_take(&s, PH_BPS_TO_CLIENT, n, now), "%lu, packet %u",
                      (unsigned long)bounds[i], k);
        ph_userbps_leave(&s);
        ph_userbps_free(u);
    }
}

Test(turn_userbps, a_packet_larger_than_the_bucket_passes_when_that_is_full)
{
    struct ph_userbps *u = ph_userbps_new(100, 0, &env);
    struct ph_userbps_session s = join(u, "r", "alice");

    cr_expect(ph_userbps_take(&s, PH_BPS_TO_CLIENT, 1000, now));
    now += PH_SEC(9);
    cr_expect_not(ph_userbps_take(&s, PH_BPS_TO_CLIENT, 1000, now));
    cr_expect_not(ph_userbps_take(&s, PH_BPS_TO_CLIENT, 1, now), "it left a debt");
    now += PH_SEC(1);
    cr_expect(ph_userbps_take(&s, PH_BPS_TO_CLIENT, 1000, now));
    ph_userbps_leave(&s);
    ph_userbps_free(u);
}

Test(turn_userbps, what_did_not_pass_after_all_is_given_back)
{
    struct ph_userbps *u = ph_userbps_new(BOUND, 0, &env);
    struct ph_userbps_session s = join(u, "r", "alice");

    for (unsigned i = 0; i < 1000; i++) {
        cr_assert(ph_userbps_take(&s, PH_BPS_FROM_CLIENT, BOUND, now));
        ph_userbps_untake(&s, PH_BPS_FROM_CLIENT, BOUND);
    }
    cr_expect(ph_userbps_take(&s, PH_BPS_FROM_CLIENT, BOUND, now));
    cr_expect_not(ph_userbps_take(&s, PH_BPS_FROM_CLIENT, 1, now));
    ph_userbps_leave(&s);
    ph_userbps_free(u);
}

Test(turn_userbps, the_bound_can_change)
{
    struct ph_userbps *u = ph_userbps_new(0, 0, &env);
    struct ph_userbps_session s = join(u, "r", "alice");

    for (unsigned i = 0; i < 1000; i++)
        cr_assert(ph_userbps_take(&s, PH_BPS_FROM_CLIENT, UINT32_MAX, now), "no bound");
    ph_userbps_set_bound(u, BOUND);
    cr_expect_eq(ph_userbps_bound(u), BOUND);
    uint64_t passed = alone(&s, PH_BPS_FROM_CLIENT, PH_MS(1), PH_SEC(4));
    cr_expect(passed > 5 * BOUND - 2 * PACKET && passed <= 5 * BOUND, "%lu", (unsigned long)passed);
    ph_userbps_set_bound(u, 2 * BOUND);
    passed = alone(&s, PH_BPS_FROM_CLIENT, PH_MS(1), PH_SEC(4));
    cr_expect(passed > 8 * BOUND - PACKET && passed < 9 * BOUND, "%lu", (unsigned long)passed);
    ph_userbps_set_bound(u, UINT64_MAX);
    now += PH_SEC(2);
    for (unsigned i = 0; i < 1000; i++)
        cr_assert(ph_userbps_take(&s, PH_BPS_FROM_CLIENT, 65535, now));
    ph_userbps_set_bound(u, 0);
    cr_expect(ph_userbps_take(&s, PH_BPS_FROM_CLIENT, UINT32_MAX, now));
    ph_userbps_leave(&s);
    ph_userbps_free(u);
}

Test(turn_userbps, workers_whose_clocks_differ_a_little_gain_nothing)
{
    struct ph_userbps *u = ph_userbps_new(BOUND, 0, &env);
    struct ph_userbps_session a = join(u, "r", "alice"), b = join(u, "r", "alice");
    uint64_t passed = 0;

    for (unsigned i = 0; i < 10000; i++, now += PH_MS(1)) {
        passed += ph_userbps_take(&a, PH_BPS_FROM_CLIENT, PACKET, now) ? PACKET : 0;
        passed += ph_userbps_take(&b, PH_BPS_FROM_CLIENT, PACKET, now - PH_US(700)) ? PACKET : 0;
    }
    cr_expect(passed >= 11 * BOUND - 2 * PACKET && passed <= 11 * BOUND, "%lu",
              (unsigned long)passed);
    ph_userbps_leave(&a);
    ph_userbps_leave(&b);
    ph_userbps_free(u);
}

/* --- users ----------------------------------------------------------------------------------------- */

Test(turn_userbps, who_comes_back_has_what_he_had_left)
{
    struct ph_userbps *u = ph_userbps_new(BOUND, 0, &env);
    uint64_t passed = 0;

    for (unsigned i = 0; i < 1000; i++) {
        struct ph_userbps_session s = join(u, "r", "alice");
        passed += alone(&s, PH_BPS_FROM_CLIENT, PH_US(100), PH_MS(10));
        ph_userbps_leave(&s);
    }
    cr_expect(passed <= 11 * BOUND, "%lu in 10 s", (unsigned long)passed);
    ph_userbps_free(u);
}

Test(turn_userbps, records_of_those_who_have_gone_are_used_for_others)
{
    enum { USERS = 100 };
    struct ph_userbps *u = ph_userbps_new(BOUND, USERS, &env);
    struct ph_userbps_session s[USERS], more = {0};
    char name[32];

    for (unsigned round = 0; round < 50; round++) {
        for (unsigned i = 0; i < USERS; i++) {
            snprintf(name, sizeof name, "user %u.%u", round, i);
            s[i] = join(u, "r", name);
            cr_assert(ph_userbps_take(&s[i], PH_BPS_FROM_CLIENT, BOUND, now));
        }
        cr_expect_eq(ph_userbps_join(u, &more, ph_str("r"), ph_str("one more"), now), PH_E_LIMIT);
        cr_expect_null(more.user);
        struct ph_userbps_session known = join(u, "r", name);
        ph_userbps_leave(&known);
        for (unsigned i = 0; i < USERS; i++)
            ph_userbps_leave(&s[i]);
        cr_expect_eq(ph_userbps_join(u, &more, ph_str("r"), ph_str("one more"), now), PH_E_LIMIT,
                     "their buckets are not full yet");
        now += PH_SEC(1);
    }
    ph_userbps_free(u);
}

Test(turn_userbps, names_have_a_length)
{
    struct ph_userbps *u = ph_userbps_new(BOUND, 0, &env);
    struct ph_userbps_session s = {0};
    static const uint8_t long_name[PH_USERBPS_REALM + 1];
    const struct ph_slice r = ph_str("r"), nothing = {NULL, 0};

    cr_expect_eq(ph_userbps_join(u, &s, r, (struct ph_slice){long_name, PH_USERBPS_NAME + 1}, now),
                 PH_E_LIMIT);
    cr_expect_eq(ph_userbps_join(u, &s, (struct ph_slice){long_name, PH_USERBPS_REALM + 1}, r, now),
                 PH_E_LIMIT);
    cr_expect_eq(ph_userbps_join(u, &s, nothing, nothing, now), PH_E_LIMIT);
    cr_expect_eq(ph_userbps_join(u, &s, (struct ph_slice){long_name, PH_USERBPS_REALM},
                                 (struct ph_slice){long_name, PH_USERBPS_NAME}, now),
                 0);
    ph_userbps_leave(&s);
    ph_userbps_free(u);
}

Test(turn_userbps, without_memory_nothing_has_happened)
{
    struct ph_userbps_session s = {0};

    oom_fail_at(1);
    cr_expect_null(ph_userbps_new(BOUND, 0, &env));
    cr_assert(oom_disarm());
    struct ph_userbps *u = ph_userbps_new(BOUND, 0, &env);
    oom_fail_at(1);
    cr_expect_eq(ph_userbps_join(u, &s, ph_str("r"), ph_str("alice"), now), PH_E_NOMEM);
    cr_assert(oom_disarm());
    cr_expect_null(s.user);
    s = join(u, "r", "alice");
    struct ph_userbps_session again = {0};
    oom_fail_at(1);
    cr_expect_eq(ph_userbps_join(u, &again, ph_str("r"), ph_str("alice"), now), 0,
                 "a user who is there needs none");
    oom_disarm();
    ph_userbps_leave(&again);
    ph_userbps_leave(&s);
    ph_userbps_free(u);
}

/* --- demand ---------------------------------------------------------------------------------------- */

static unsigned look(struct ph_userbps *u, struct ph_userbps_demand *last)
{
    uint32_t at = 0;
    unsigned n = 0;
    while (ph_userbps_each(u, &at, last, now))
        n++;
    return n;
}

Test(turn_userbps, demand_is_what_passed_and_what_the_bound_refused)
{
    struct ph_userbps *u = ph_userbps_new(BOUND, 0, &env);
    struct ph_userbps_session a = join(u, "realm", "alice"), b = join(u, "realm", "bob"),
                              *s[] = {&a};
    struct ph_userbps_demand d;

    cr_expect_eq(look(u, &d), 0, "nobody has wanted anything");
    send_for(s, 1, PH_BPS_FROM_CLIENT, PH_MS(2), PH_SEC(1)); /* five times the bound */
    cr_expect_eq(look(u, &d), 1);
    cr_expect_eq(d.realm_n, 5);
    cr_expect_eq(d.user_n, 5);
    cr_expect_eq(memcmp(d.realm, "realm", 5), 0);
    cr_expect_eq(memcmp(d.user, "alice", 5), 0);
    cr_expect(d.wanted[PH_BPS_FROM_CLIENT] > 460000 && d.wanted[PH_BPS_FROM_CLIENT] <= 500000,
              "%lu", (unsigned long)d.wanted[PH_BPS_FROM_CLIENT]);
    cr_expect_eq(d.wanted[PH_BPS_TO_CLIENT], 0);
    now += PH_SEC(1);
    cr_expect_eq(look(u, &d), 1, "that he is silent is told once");
    cr_expect_eq(d.wanted[PH_BPS_FROM_CLIENT], 0);
    now += PH_SEC(1);
    cr_expect_eq(look(u, &d), 0);
    ph_userbps_leave(&a);
    ph_userbps_leave(&b);
    ph_userbps_free(u);
}

Test(turn_userbps, what_another_bound_refused_is_no_demand)
{
    struct ph_userbps *u = ph_userbps_new(BOUND, 0, &env);
    struct ph_userbps_session s = join(u, "r", "alice");
    struct ph_userbps_demand d;

    for (ph_ns until = now + PH_SEC(2); now < until; now += PH_MS(1)) {
        cr_assert(ph_userbps_take(&s, PH_BPS_TO_CLIENT, 50, now));
        cr_assert(ph_userbps_take(&s, PH_BPS_TO_CLIENT, 500, now));
        ph_userbps_untake(&s, PH_BPS_TO_CLIENT, 500);
    }
    cr_expect_eq(look(u, &d), 1);
    cr_expect(d.wanted[1] > 45000 && d.wanted[1] <= 50000, "%lu", (unsigned long)d.wanted[1]);
    ph_userbps_leave(&s);
    ph_userbps_free(u);
}

Test(turn_userbps, every_user_is_looked_at_once)
{
    enum { USERS = 1000 };
    struct ph_userbps *u = ph_userbps_new(BOUND, USERS, &env);
    static struct ph_userbps_session s[USERS];
    bool seen[USERS] = {false};
    struct ph_userbps_demand d;
    char name[16];

    for (unsigned i = 0; i < USERS; i++) {
        snprintf(name, sizeof name, "%u", i);
        s[i] = join(u, "r", name);
        ph_userbps_take(&s[i], PH_BPS_FROM_CLIENT, 1 + i, now);
    }
    now += PH_SEC(1);
    for (uint32_t at = 0; ph_userbps_each(u, &at, &d, now);) {
        memcpy(name, d.user, d.user_n);
        name[d.user_n] = '\0';
        const int i = atoi(name);
        cr_assert_not(seen[i]);
        seen[i] = true;
        cr_expect_eq(d.wanted[0], (uint64_t)i + 1);
    }
    for (unsigned i = 0; i < USERS; i++) {
        cr_expect(seen[i], "%u", i);
        ph_userbps_leave(&s[i]);
    }
    ph_userbps_free(u);
}

/* --- shares ---------------------------------------------------------------------------------------- */

Test(turn_userbps, a_share_is_all_that_a_node_gives)
{
    struct ph_userbps *u = ph_userbps_new(BOUND, 0, &env);
    struct ph_userbps_session s = join(u, "r", "alice"), other = join(u, "r", "bob");
    const struct ph_slice r = ph_str("r"), alice = ph_str("alice");

    cr_expect_eq(ph_userbps_set_share(u, r, alice, PH_BPS_FROM_CLIENT, BOUND / 4), 0);
    uint64_t passed = alone(&s, PH_BPS_FROM_CLIENT, PH_MS(1), PH_SEC(20));
    cr_expect(passed > 5 * BOUND && passed <= 21 * BOUND / 4, "%lu", (unsigned long)passed);
    cr_expect(ph_userbps_take(&s, PH_BPS_TO_CLIENT, BOUND, now), "the other direction");
    cr_expect(ph_userbps_take(&other, PH_BPS_FROM_CLIENT, BOUND, now), "another user");
    ph_userbps_set_share(u, r, alice, PH_BPS_FROM_CLIENT, 10 * BOUND);
    passed = alone(&s, PH_BPS_FROM_CLIENT, PH_MS(1), PH_SEC(20));
    cr_expect(passed <= 21 * BOUND, "never more than the bound: %lu", (unsigned long)passed);
    ph_userbps_set_share(u, r, alice, PH_BPS_FROM_CLIENT, 0);
    passed = alone(&s, PH_BPS_FROM_CLIENT, PH_MS(1), PH_SEC(10));
    cr_expect(passed > 10 * BOUND - 2 * PACKET, "all of it: %lu", (unsigned long)passed);
    cr_expect_eq(ph_userbps_set_share(u, r, ph_str("carol"), PH_BPS_FROM_CLIENT, 1), PH_E_MISSING);
    cr_expect_eq(ph_userbps_set_share(u, r, (struct ph_slice){NULL, 0}, PH_BPS_FROM_CLIENT, 1),
                 PH_E_MISSING);
    ph_userbps_leave(&s);
    ph_userbps_leave(&other);
    ph_userbps_free(u);
}

Test(turn_userbps, the_fair_share)
{
    cr_expect_eq(ph_userbps_fair(3200, 0, 0), 3200);
    cr_expect_eq(ph_userbps_fair(3200, 5, 0), 3200);
    cr_expect_eq(ph_userbps_fair(3200, 1, 3), 800);
    cr_expect_eq(ph_userbps_fair(3200, 0, 1), 100);
    cr_expect_eq(ph_userbps_fair(3200, 1, 1000000), 100);
    cr_expect_eq(ph_userbps_fair(1, 0, 1), 1);
    cr_expect_eq(ph_userbps_fair(10, 0, 1), 1, "never nothing, which would mean all");
    cr_expect(ph_userbps_fair(UINT64_MAX / 2, UINT64_MAX, UINT64_MAX) > UINT64_MAX / 5);
}

/* Nodes tell each other once a second, and hear it a second later. */
struct node {
    struct ph_userbps *u;
    struct ph_userbps_session s;
    uint64_t here, told;
    ph_ns every;
    uint64_t passed;
};

static void second_of(struct node *v, unsigned n)
{
    for (unsigned ms = 0; ms < 1000; ms++, now += PH_MS(1))
        for (unsigned i = 0; i < n; i++)
            if (v[i].every && now % v[i].every == 0 &&
                ph_userbps_take(&v[i].s, PH_BPS_FROM_CLIENT, PACKET, now))
                v[i].passed += PACKET;
    for (unsigned i = 0; i < n; i++) {
        struct ph_userbps_demand d;
        v[i].told = v[i].here;
        if (look(v[i].u, &d))
            v[i].here = d.wanted[PH_BPS_FROM_CLIENT];
    }
    for (unsigned i = 0; i < n; i++) {
        uint64_t elsewhere = 0;
        for (unsigned k = 0; k < n; k++)
            elsewhere += k == i ? 0 : v[k].told;
        ph_userbps_set_share(v[i].u, ph_str("r"), ph_str("alice"), PH_BPS_FROM_CLIENT,
                             ph_userbps_fair(BOUND, v[i].here, elsewhere));
    }
}

static uint64_t seconds_of(struct node *v, unsigned n, unsigned seconds)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < n; i++)
        v[i].passed = 0;
    for (unsigned i = 0; i < seconds; i++)
        second_of(v, n);
    for (unsigned i = 0; i < n; i++)
        sum += v[i].passed;
    return sum;
}

Test(turn_userbps, nodes_share_a_bound_by_what_is_wanted_on_them)
{
    enum { NODES = 3 };
    struct node v[NODES] = {{.every = PH_MS(2)}, {.every = PH_MS(4)}, {0}};

    for (unsigned i = 0; i < NODES; i++) {
        v[i].u = ph_userbps_new(BOUND, 0, &env);
        v[i].s = join(v[i].u, "r", "alice");
    }
    seconds_of(v, NODES, 4); /* until they know of each other */
    uint64_t sum = seconds_of(v, NODES, 20);
    cr_expect(sum > 19 * BOUND && sum < 21 * BOUND, "%lu", (unsigned long)sum);
    cr_expect(v[0].passed > v[1].passed * 17 / 10 && v[0].passed < v[1].passed * 23 / 10,
              "%lu and %lu, not two to one", (unsigned long)v[0].passed,
              (unsigned long)v[1].passed);

    /* One falls silent, another begins: there is nothing for him to wait for. */
    v[0].every = 0;
    v[2].every = PH_MS(2);
    sum = seconds_of(v, NODES, 1);
    cr_expect_geq(v[2].passed, BOUND / PH_USERBPS_LEAST);
    seconds_of(v, NODES, 4);
    sum = seconds_of(v, NODES, 20);
    cr_expect(sum > 19 * BOUND && sum < 21 * BOUND, "%lu", (unsigned long)sum);
    cr_expect_eq(v[0].passed, 0);
    cr_expect(v[2].passed > v[1].passed * 17 / 10, "%lu and %lu", (unsigned long)v[2].passed,
              (unsigned long)v[1].passed);
    for (unsigned i = 0; i < NODES; i++) {
        ph_userbps_leave(&v[i].s);
        ph_userbps_free(v[i].u);
    }
}
