/*
 * Bandwidth: one session's bound, and the capacity shared by many over several workers.
 */
#include "support/oom.h"
#include "turn/bps.h"

#include <criterion/criterion.h>
#include <string.h>

enum { PACKET = 1200 };

/* Offers packets of n bytes at `rate` bytes a second for `span`; returns what passed. */
static uint64_t offer(struct ph_bps *b, struct ph_bps_session *s, uint64_t own, uint32_t n,
                      uint64_t rate, ph_ns *now, ph_ns span)
{
    uint64_t passed = 0;
    ph_ns end = *now + span, step = (ph_ns)((uint64_t)n * (uint64_t)PH_SEC(1) / rate);

    for (; *now < end; *now += step)
        passed += ph_bps_take(b, s, PH_BPS_FROM_CLIENT, own, n, *now) ? n : 0;
    return passed;
}

Test(turn_bps, bound_of_a_session_holds)
{
    struct ph_bps_session s = {0};
    ph_ns now = PH_SEC(5);
    uint64_t first = offer(NULL, &s, 125000, PACKET, 1000000, &now, PH_SEC(1));
    uint64_t then = offer(NULL, &s, 125000, PACKET, 1000000, &now, PH_SEC(10));

    cr_expect_leq(first, 250000 + PACKET, "a second's worth at once, and one that came in");
    cr_expect_geq(first, 250000 - 2 * PACKET);
    cr_expect_leq(then, 1250000 + PACKET);
    cr_expect_geq(then, 1250000 - PACKET);
}

Test(turn_bps, no_bound_is_none)
{
    struct ph_bps_session s = {0};
    struct ph_bps *b = ph_bps_new(0);
    ph_ns now = PH_SEC(5);

    for (int i = 0; i < 100000; i++)
        cr_assert(ph_bps_take(i % 2 ? b : NULL, &s, PH_BPS_TO_CLIENT, 0, 65535, now));
    cr_expect_eq(ph_bps_share(b, PH_BPS_TO_CLIENT), UINT64_MAX);
    ph_bps_free(b);
    ph_bps_free(NULL);
}

Test(turn_bps, directions_are_counted_apart)
{
    struct ph_bps_session s = {0};
    ph_ns now = PH_SEC(5);

    while (ph_bps_take(NULL, &s, PH_BPS_FROM_CLIENT, 10000, 100, now))
        ;
    cr_expect(ph_bps_take(NULL, &s, PH_BPS_TO_CLIENT, 10000, 100, now));
}

/* Whatever the bound, the largest packet passes in the end, and the rate is kept over time. */
Test(turn_bps, large_packets_pass_in_the_end)
{
    static const uint64_t own[] = {1, 10, 1000, 65534, 65535, 1000000};

    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        struct ph_bps_session s = {0};
        ph_ns now = PH_SEC(5), end = now + PH_SEC(1) * (ph_ns)(700000 / own[i] + 10);
        uint64_t passed = 0, seconds = (uint64_t)((end - now) / PH_SEC(1));
        for (; now < end; now += PH_SEC(1) / 7)
            passed += ph_bps_take(NULL, &s, PH_BPS_FROM_CLIENT, own[i], 65535, now) ? 65535 : 0;
        cr_expect_geq(passed, 2 * 65535, "%lu bytes a second", (unsigned long)own[i]);
        cr_expect_leq(passed, own[i] * (seconds + 1) + 65535, "%lu bytes a second",
                      (unsigned long)own[i]);
    }
}

/* Small packets at short intervals: the fraction of a byte that each earns must not get lost. */
Test(turn_bps, fractions_of_bytes_count)
{
    struct ph_bps_session s = {0};
    ph_ns now = PH_SEC(5);
    uint64_t passed = 0;

    for (int i = 0; i < 1000000; i++, now += PH_US(100))
        passed += ph_bps_take(NULL, &s, PH_BPS_FROM_CLIENT, 300, 1, now);
    cr_expect_geq(passed, 30298);
    cr_expect_leq(passed, 30301);
}

Test(turn_bps, clocks_may_jump)
{
    struct ph_bps_session s = {0};
    struct ph_bps *b = ph_bps_new(1000000);

    for (int i = 0; i < 10000; i++) {
        ph_ns now = (ph_ns)i * PH_SEC(100000) % PH_SEC(7000001) + 1;
        ph_bps_take(b, &s, PH_BPS_FROM_CLIENT, UINT64_MAX, 65535, now);
        ph_bps_take(b, &s, PH_BPS_TO_CLIENT, 1, 65535, now);
    }
    ph_bps_free(b);
}

/* --- many sessions ------------------------------------------------------------------------------- */

enum { SESSIONS = 64, WORKERS = 4 };

/* Sessions that want a steady rate each, on workers that read the clock once per batch. */
struct crowd {
    struct ph_bps *b;
    struct ph_bps_session s[SESSIONS];
    uint64_t want[SESSIONS]; /* bytes a second; 0: silent */
    ph_ns next[SESSIONS];
    uint64_t passed[SESSIONS], total;
    ph_ns now;
};

static struct crowd *crowd_new(uint64_t capacity)
{
    struct crowd *c = calloc(1, sizeof *c);
    c->b = ph_bps_new(capacity);
    c->now = PH_SEC(100);
    return c;
}

static void crowd_free(struct crowd *c)
{
    ph_bps_free(c->b);
    free(c);
}

static void crowd_run(struct crowd *c, ph_ns span)
{
    ph_ns end = c->now + span;

    memset(c->passed, 0, sizeof c->passed);
    c->total = 0;
    for (; c->now < end; c->now += PH_US(500))
        for (unsigned i = 0; i < SESSIONS; i++) {
            ph_ns lag = PH_MS(2) * (ph_ns)(i % WORKERS); /* its batch began a little ago */
            if (c->next[i] < c->now - PH_SEC(1))
                c->next[i] = c->now;
            for (; c->want[i] && c->next[i] <= c->now;
                 c->next[i] += (ph_ns)(PACKET * (uint64_t)PH_SEC(1) / c->want[i]))
                if (ph_bps_take(c->b, &c->s[i], PH_BPS_TO_CLIENT, 0, PACKET, c->now - lag))
                    c->passed[i] += PACKET;
        }
    for (unsigned i = 0; i < SESSIONS; i++)
        c->total += c->passed[i];
}

/* The max-min fair share of a capacity, by filling up the least first. */
static uint64_t fair(const struct crowd *c, uint64_t capacity)
{
    bool done[SESSIONS] = {false};
    uint64_t left = capacity, n = 0;

    for (unsigned i = 0; i < SESSIONS; i++)
        n += c->want[i] != 0;
    for (bool more = true; more && n;) {
        more = false;
        uint64_t share = left / n;
        for (unsigned i = 0; i < SESSIONS; i++)
            if (c->want[i] && !done[i] && c->want[i] <= share) {
                done[i] = more = true;
                left -= c->want[i];
                n--;
            }
    }
    return n ? left / n : UINT64_MAX;
}

/* All have what max-min gives them within 10 %, and together the capacity within 5 %, over `span`. */
static void expect_fair(struct crowd *c, uint64_t capacity, ph_ns span)
{
    uint64_t share = fair(c, capacity), seconds = (uint64_t)(span / PH_SEC(1)), wanted = 0;

    crowd_run(c, span);
    for (unsigned i = 0; i < SESSIONS; i++) {
        uint64_t due = (c->want[i] < share ? c->want[i] : share) * seconds;
        cr_expect(c->passed[i] * 10 >= due * 9 && c->passed[i] * 10 <= due * 11 + 10 * PACKET,
                  "session %u has %lu of %lu", i, (unsigned long)c->passed[i], (unsigned long)due);
        wanted += c->want[i];
    }
    uint64_t due = (wanted < capacity ? wanted : capacity) * seconds;
    cr_expect(c->total * 20 <= due * 21 && c->total * 20 >= due * 19, "%lu of %lu",
              (unsigned long)c->total, (unsigned long)due);
}

static void wants(struct crowd *c, unsigned first, unsigned n, uint64_t rate)
{
    for (unsigned i = first; i < first + n; i++)
        c->want[i] = rate;
}

Test(turn_bps, heavy_sessions_share_what_light_ones_leave)
{
    struct crowd *c = crowd_new(10000000);

    wants(c, 0, 10, 3000000);
    wants(c, 10, 10, 100000);
    crowd_run(c, PH_SEC(1));
    expect_fair(c, 10000000, PH_SEC(10));
    crowd_free(c);
}

Test(turn_bps, many_levels_of_demand)
{
    struct crowd *c = crowd_new(20000000);

    for (unsigned i = 0; i < 40; i++)
        c->want[i] = 20000 + 50000 * (uint64_t)i;
    crowd_run(c, PH_SEC(1));
    expect_fair(c, 20000000, PH_SEC(10));
    crowd_free(c);
}

Test(turn_bps, nobody_is_held_back_while_there_is_enough)
{
    struct crowd *c = crowd_new(10000000);

    wants(c, 0, 1, 7000000);
    wants(c, 1, 20, 100000);
    crowd_run(c, PH_SEC(20));
    cr_expect_geq(c->passed[0], 7000000 * 20ull - 4 * PACKET, "%lu", (unsigned long)c->passed[0]);
    for (unsigned i = 1; i <= 20; i++)
        cr_expect_geq(c->passed[i], 100000 * 20ull - PACKET);
    cr_expect_eq(ph_bps_share(c->b, PH_BPS_TO_CLIENT), UINT64_MAX);
    crowd_free(c);
}

Test(turn_bps, sessions_come_and_go)
{
    struct crowd *c = crowd_new(10000000);

    wants(c, 0, 4, 8000000);
    crowd_run(c, PH_SEC(1));
    expect_fair(c, 10000000, PH_SEC(5));
    wants(c, 4, 16, 8000000);
    crowd_run(c, PH_SEC(1));
    expect_fair(c, 10000000, PH_SEC(5));
    wants(c, 2, 18, 0);
    crowd_run(c, PH_SEC(1));
    expect_fair(c, 10000000, PH_SEC(5));
    wants(c, 1, 1, 0); /* the last one may have nearly all */
    crowd_run(c, PH_SEC(1));
    expect_fair(c, 10000000, PH_SEC(5));
    wants(c, 0, 1, 0);
    crowd_run(c, PH_SEC(5)); /* silence */
    wants(c, 30, 30, 1000000);
    crowd_run(c, PH_SEC(1));
    expect_fair(c, 10000000, PH_SEC(5));
    crowd_free(c);
}

Test(turn_bps, capacity_can_change)
{
    struct crowd *c = crowd_new(10000000);

    wants(c, 0, 10, 3000000);
    wants(c, 10, 10, 50000);
    crowd_run(c, PH_SEC(1));
    expect_fair(c, 10000000, PH_SEC(5));
    ph_bps_set_capacity(c->b, 2000000);
    crowd_run(c, PH_SEC(1));
    expect_fair(c, 2000000, PH_SEC(5));
    ph_bps_set_capacity(c->b, 20000000);
    crowd_run(c, PH_SEC(1));
    expect_fair(c, 20000000, PH_SEC(5));
    ph_bps_set_capacity(c->b, 0);
    crowd_run(c, PH_SEC(2));
    cr_expect_geq(c->total, 2 * (30000000ull + 500000) - 20 * PACKET, "no bound again");
    crowd_free(c);
}

/* Less than a packet a window for each: all get some. */
Test(turn_bps, nobody_starves)
{
    struct crowd *c = crowd_new(100000);

    wants(c, 0, SESSIONS, 1000000);
    crowd_run(c, PH_SEC(5));
    crowd_run(c, PH_SEC(60));
    for (unsigned i = 0; i < SESSIONS; i++)
        cr_expect(c->passed[i] >= 60 * 1562 / 2 && c->passed[i] <= 60 * 1562 * 2,
                  "session %u has %lu", i, (unsigned long)c->passed[i]);
    cr_expect_leq(c->total, 100000 * 60 * 21ull / 20);
    cr_expect_geq(c->total, 100000 * 60 * 19ull / 20);
    crowd_free(c);
}

/* The two directions have the capacity each. */
Test(turn_bps, capacity_is_for_each_direction)
{
    struct ph_bps *b = ph_bps_new(1000000);
    struct ph_bps_session s[2] = {0};
    uint64_t passed[2] = {0};

    for (ph_ns now = PH_SEC(9); now < PH_SEC(20); now += PH_US(300))
        for (int w = 0; w < 2; w++)
            for (int i = 0; i < 2; i++)
                if (ph_bps_take(b, &s[i], (enum ph_bps_way)w, 0, PACKET, now) && now >= PH_SEC(10))
                    passed[w] += PACKET;
    for (int w = 0; w < 2; w++)
        cr_expect(passed[w] >= 9500000 && passed[w] <= 10500000, "%lu", (unsigned long)passed[w]);
    ph_bps_free(b);
}

/* What a session's own bound refuses is no demand: it must not make it a heavy one. */
Test(turn_bps, own_bound_goes_before_the_share)
{
    struct ph_bps *b = ph_bps_new(10000000);
    struct ph_bps_session slow = {0}, fast = {0};
    uint64_t passed[2] = {0};

    for (ph_ns now = PH_SEC(9); now < PH_SEC(20); now += PH_US(120)) {
        bool in = now >= PH_SEC(10);
        if (ph_bps_take(b, &slow, PH_BPS_TO_CLIENT, 1000000, PACKET, now) && in)
            passed[0] += PACKET;
        if (ph_bps_take(b, &fast, PH_BPS_TO_CLIENT, 0, PACKET, now) && in)
            passed[1] += PACKET;
    }
    cr_expect(passed[0] >= 9500000 && passed[0] <= 11000000, "%lu", (unsigned long)passed[0]);
    cr_expect(passed[1] >= 85000000 && passed[1] <= 94500000, "%lu", (unsigned long)passed[1]);
    ph_bps_free(b);
}

Test(turn_bps, survives_want_of_memory)
{
    oom_fail_at(1);
    struct ph_bps *b = ph_bps_new(5);
    if (oom_disarm())
        cr_expect_null(b);
    ph_bps_free(b);
}
