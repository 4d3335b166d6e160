/* What turnload counts: histograms, and packets that are lost, late, twice, or not what was sent. */
#include "cmd/turnload/flow.h"
#include "cmd/turnload/stats.h"
#include "stun/base/bytes.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { RUN = 0x12345678, SIZE = 200 };

static struct ph_load_stats *s;
static struct ph_load_flow *f;

static void setup(void)
{
    s = calloc(1, sizeof *s);
    f = calloc(1, sizeof *f);
    f->id = 7;
}

static void teardown(void)
{
    free(s);
    free(f);
}

TestSuite(turnload, .init = setup, .fini = teardown);

Test(turnload, percentiles_are_within_three_percent)
{
    static const ph_ns scales[] = {1, 1000, 123457, PH_SEC(3)};
    for (unsigned k = 0; k < 4; k++) {
        struct ph_load_hist *h = &s->delay;
        memset(h, 0, sizeof *h);
        for (ph_ns v = 1; v <= 10000; v++)
            ph_load_hist_add(h, v * scales[k]);
        static const double ps[] = {0.01, 0.5, 0.9, 0.99, 0.999};
        for (unsigned i = 0; i < 5; i++) {
            double want = ps[i] * 10000 * (double)scales[k],
                   got = (double)ph_load_hist_at(h, ps[i]);
            cr_expect_lt(fabs(got - want) / want, 0.035, "p%g: %g instead of %g", ps[i], got, want);
        }
        cr_assert_eq(h->min, scales[k]);
        cr_assert_eq(h->max, 10000 * scales[k]);
        cr_assert_eq(ph_load_hist_at(h, 1), h->max);
        cr_assert_lt(fabs((double)ph_load_hist_mean(h) / (5000.5 * (double)scales[k]) - 1), 0.001);
    }
}

Test(turnload, histograms_take_every_span)
{
    struct ph_load_hist *h = &s->delay;
    static const ph_ns spans[] = {-5, 0, 1, 31, 32, 33, 63, 64, INT64_MAX};
    cr_assert_eq(ph_load_hist_at(h, 0.5), 0);
    cr_assert_eq(ph_load_hist_mean(h), 0);
    for (unsigned i = 0; i < sizeof spans / sizeof *spans; i++) {
        memset(h, 0, sizeof *h);
        ph_load_hist_add(h, spans[i]);
        cr_assert_eq(ph_load_hist_at(h, 0.5), spans[i] < 0 ? 0 : spans[i]);
    }
}

Test(turnload, merged_stats_are_those_of_all)
{
    struct ph_load_stats *a = calloc(1, sizeof *a), *b = calloc(1, sizeof *b);
    for (ph_ns v = 1; v <= 1000; v++) {
        ph_load_hist_add(v % 2 ? &a->delay : &b->delay, v);
        ph_load_hist_add(&s->delay, v);
    }
    ph_load_stats_error(a, 1, "allocate: %d", 401);
    ph_load_stats_error(b, 2, "allocate: %d", 401);
    ph_load_stats_error(b, 1, "other");
    a->sent = 3;
    b->sent = 4;
    a->run = 5;
    b->run = 4;
    ph_load_stats_merge(a, b);
    cr_assert_eq(memcmp(&a->delay, &s->delay, sizeof s->delay), 0);
    cr_assert_eq(a->sent, 7);
    cr_assert_eq(a->run, 5);
    cr_assert_str_eq(a->error[0].text, "allocate: 401");
    cr_assert_eq(a->error[0].n, 3);
    cr_assert_eq(a->error[1].n, 1);
    for (int i = 0; i < 100; i++)
        ph_load_stats_error(a, 1, "number %d", i);
    cr_assert_str_eq(a->error[PH_LOAD_STATS_ERRORS - 1].text, "other failures");
    free(a);
    free(b);
}

/* --- flows ------------------------------------------------------------------------------------- */

static void make(uint8_t *p, ph_ns now)
{
    ph_load_flow_write(f, RUN, p, SIZE, now);
}

static void take(const uint8_t *p, uint32_t n, ph_ns now)
{
    ph_load_flow_read(f, p, n, SIZE, s, now);
}

Test(turnload, packets_are_recognised)
{
    uint8_t p[SIZE];
    make(p, 1);
    cr_assert(ph_load_flow_is_ours(RUN, p, SIZE));
    cr_assert_not(ph_load_flow_is_ours(RUN + 1, p, SIZE));
    cr_assert_not(ph_load_flow_is_ours(RUN, p, PH_LOAD_FLOW_HEADER - 1));
    cr_assert_eq(ph_load_flow_id(p), 7);
    take(p, SIZE, PH_MS(2));
    cr_assert_eq(s->received, 1);
    cr_assert_eq(s->received_bytes, SIZE);
    cr_assert_eq(s->delay.max, PH_MS(2) - 1);
}

Test(turnload, every_changed_byte_is_corruption)
{
    uint8_t p[SIZE], broken[SIZE];
    make(p, 1);
    for (unsigned i = 4; i < SIZE; i++) {
        memcpy(broken, p, SIZE);
        broken[i] ^= 0x40;
        take(broken, SIZE, 2);
    }
    cr_assert_eq(s->corrupted, SIZE - 4);
    take(p, SIZE - 1, 2);
    cr_assert_eq(s->corrupted, SIZE - 3, "a cut one, too");
    cr_assert_eq(s->received, 0);
    f->next = 0;
    take(p, SIZE, 2);
    cr_assert_eq(s->corrupted, SIZE - 2, "and one that was never sent");
}

Test(turnload, duplicates_and_reordering_are_told_apart)
{
    uint8_t p[10][SIZE];
    static const unsigned order[] = {0, 1, 3, 2, 2, 5, 4, 9, 9, 0, 8};
    for (unsigned i = 0; i < 10; i++)
        make(p[i], i);
    for (unsigned i = 0; i < sizeof order / sizeof *order; i++)
        take(p[order[i]], SIZE, 100);
    cr_assert_eq(s->received, 8);
    cr_assert_eq(s->reordered, 3);
    cr_assert_eq(s->duplicated, 3);
    s->sent = 10;
    cr_assert_eq(ph_load_stats_lost(s), 2);
    cr_assert_float_eq(ph_load_stats_loss(s), 20, 1e-9);
}

Test(turnload, the_window_moves_over_long_gaps)
{
    uint8_t p[SIZE], old[SIZE];
    make(old, 1);
    take(old, SIZE, 2);
    f->next = 3 * PH_LOAD_FLOW_WINDOW + 5;
    make(p, 1);
    take(p, SIZE, 2);
    take(p, SIZE, 2);
    cr_assert_eq(s->received, 2);
    cr_assert_eq(s->duplicated, 1);
    take(old, SIZE, 2);
    cr_assert_eq(s->duplicated, 2, "too old to tell: never counted as received twice");
    for (uint32_t i = 1; i < PH_LOAD_FLOW_WINDOW; i++) {
        f->next = 3 * PH_LOAD_FLOW_WINDOW + 5 - i;
        make(p, 1);
        f->next = 4 * PH_LOAD_FLOW_WINDOW;
        take(p, SIZE, 2);
    }
    cr_assert_eq(s->received, PH_LOAD_FLOW_WINDOW + 1);
    cr_assert_eq(s->reordered, PH_LOAD_FLOW_WINDOW - 1);
}

/* RFC 3550 6.4.1: constant delay has none; alternating by 16 ms it goes towards 16 ms. */
Test(turnload, jitter_is_that_of_rfc_3550)
{
    uint8_t p[SIZE];
    for (int i = 0; i < 50; i++) {
        make(p, PH_MS(20 * i));
        take(p, SIZE, PH_MS(20 * i + 30));
    }
    cr_assert_float_eq(f->jitter, 0, 1);
    for (int i = 50; i < 250; i++) {
        make(p, PH_MS(20 * i));
        take(p, SIZE, PH_MS(20 * i + 30 + i % 2 * 16));
    }
    ph_load_flow_finish(f, s);
    cr_assert_lt(fabs(s->jitter_sum / (double)PH_MS(16) - 1), 0.01);
    cr_assert_eq(s->jitter_n, 1);
}
