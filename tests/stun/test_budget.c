/* What a source can draw from the budget, at which pace, and what floods and clocks can do to it.
 * */
#include "stun/budget.h"
#include "support/oom.h"
#include "support/vectors.h"

#include <criterion/criterion.h>
#include <string.h>

/* A plain Binding: the request of a flood and the answer to it. */
enum { REQUEST = 20, ANSWER = 32 };

static const ph_ns START = PH_SEC(1000);

static uint64_t seed = 1;

static void seeded(void *ctx, void *dst, size_t n)
{
    (void)ctx;
    for (uint8_t *p = dst; n; n--)
        *p++ = (uint8_t)test_random(&seed);
}

static const struct ph_env env = {.rand = seeded};

static struct ph_budget *budget(const struct ph_budget_conf *c)
{
    struct ph_budget *b = ph_budget_new(c, &env);
    cr_assert_not_null(b);
    return b;
}

static struct ph_addr addr(const char *text)
{
    struct ph_addr a;
    cr_assert_eq(ph_addr_parse(&a, text, strlen(text), 5000), 0, "%s", text);
    a.proto = PH_UDP;
    return a;
}

/* How many answers of n bytes a source gets at one instant. */
static unsigned draw(struct ph_budget *b, const char *src, uint32_t n, ph_ns now)
{
    struct ph_addr a = addr(src);
    unsigned k = 0;
    while (k < 1000000 && ph_budget_take(b, &a, n, now))
        k++;
    return k;
}

Test(stun_budget, gives_a_burst_and_then_the_rate)
{
    struct ph_budget *b = budget(&(struct ph_budget_conf){0});
    cr_assert_eq(draw(b, "192.0.2.1", ANSWER, START), 4096 / ANSWER);
    cr_assert_eq(draw(b, "192.0.2.1", ANSWER, START), 0);
    cr_assert_eq(draw(b, "192.0.2.1", ANSWER, START + PH_SEC(1)), 2048 / ANSWER);
    cr_assert_eq(draw(b, "192.0.2.1", ANSWER, START + PH_SEC(3600)), 4096 / ANSWER,
                 "no more than a full bucket");
    ph_budget_free(b);
}

Test(stun_budget, earns_byte_by_byte_without_losing_the_remainder)
{
    struct ph_budget *b = budget(&(struct ph_budget_conf){.addr_burst = 100, .addr_rate = 3});
    struct ph_addr a = addr("192.0.2.1");
    cr_assert(ph_budget_take(b, &a, 100, START));
    /* 3 bytes a second: the first byte after a third of a second (rounded up), not before. */
    cr_assert_not(ph_budget_take(b, &a, 1, START + 333333333));
    unsigned got = 0;
    for (ph_ns now = START; now <= START + PH_SEC(10); now += PH_MS(1))
        got += ph_budget_take(b, &a, 1, now);
    cr_assert(got == 29 || got == 30, "%u bytes in 10 s", got);
    ph_budget_free(b);
}

Test(stun_budget, never_pays_more_than_a_burst_at_once)
{
    struct ph_budget *b = budget(&(struct ph_budget_conf){0});
    struct ph_addr a = addr("192.0.2.1");
    cr_assert_not(ph_budget_take(b, &a, 4097, START));
    cr_assert_not(ph_budget_take(b, &a, UINT32_MAX, START));
    cr_assert(ph_budget_take(b, &a, 4096, START), "a refused draw takes nothing");
    ph_budget_free(b);
}

Test(stun_budget, charges_all_addresses_of_a_prefix_together)
{
    struct ph_budget *b = budget(&(struct ph_budget_conf){0});
    char src[32];
    unsigned total = 0;
    for (unsigned i = 0; i < 256; i++) {
        snprintf(src, sizeof src, "192.0.2.%u", i);
        total += draw(b, src, ANSWER, START) * ANSWER;
    }
    cr_assert_leq(total, 32768);
    cr_assert_geq(total, 32768 - 256 * ANSWER);
    cr_assert_eq(draw(b, "192.0.3.1", ANSWER, START), 4096 / ANSWER, "the next /24 is free");
    ph_budget_free(b);
}

Test(stun_budget, takes_nothing_from_an_address_whose_prefix_is_empty)
{
    struct ph_budget *b =
        budget(&(struct ph_budget_conf){.prefix_burst = 4096, .prefix_rate = 4096});
    cr_assert_eq(draw(b, "192.0.2.1", ANSWER, START), 4096 / ANSWER);
    cr_assert_eq(draw(b, "192.0.2.2", ANSWER, START), 0);
    cr_assert_eq(draw(b, "192.0.2.2", ANSWER, START + PH_SEC(1)), 4096 / ANSWER,
                 "its own bucket was still full");
    ph_budget_free(b);
}

Test(stun_budget, knows_sources_by_ip_not_by_port)
{
    struct ph_budget *b = budget(&(struct ph_budget_conf){0});
    cr_assert_eq(draw(b, "192.0.2.1:1000", ANSWER, START), 4096 / ANSWER);
    cr_assert_eq(draw(b, "192.0.2.1:2000", ANSWER, START), 0);
    ph_budget_free(b);
}

/* For each pair: whether the second source draws from the first one's address bucket. */
Test(stun_budget, groups_ipv6_by_64_and_ipv4_in_ipv6_by_address)
{
    static const struct {
        const char *a, *b;
        bool shared;
    } rows[] = {
        {"2001:db8:1:1::1", "2001:db8:1:1:ffff:ffff:ffff:ffff", true},
        {"2001:db8:1:1::1", "2001:db8:1:2::1", false},
        {"::ffff:192.0.2.1", "192.0.2.1", true},
        {"64:ff9b::192.0.2.1", "192.0.2.1", true},
        {"::ffff:192.0.2.1", "::ffff:192.0.2.2", false},
        {"64:ff9b::192.0.2.1", "64:ff9b::192.0.2.2", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct ph_budget *b = budget(&(struct ph_budget_conf){0});
        cr_assert_eq(draw(b, rows[i].a, ANSWER, START), 4096 / ANSWER);
        cr_assert_eq(draw(b, rows[i].b, ANSWER, START), rows[i].shared ? 0 : 4096 / ANSWER,
                     "%s and %s", rows[i].a, rows[i].b);
        ph_budget_free(b);
    }
}

Test(stun_budget, takes_prefix_lengths_from_the_configuration)
{
    static const struct {
        uint8_t prefix4, prefix6;
        const char *a, *b;
        bool shared;
    } rows[] = {
        {0, 0, "192.0.2.1", "192.0.3.1", false},
        {16, 0, "192.0.2.1", "192.0.3.1", true},
        {32, 0, "192.0.2.1", "192.0.2.2", false},
        {99, 0, "192.0.2.1", "192.0.2.2", false},
        {0, 0, "2001:db8:1::", "2001:db8:1:1::", true},
        {0, 0, "2001:db8:1::", "2001:db8:2::", false},
        {0, 56, "2001:db8:1::", "2001:db8:1:100::", false},
        {0, 32, "2001:db8:1::", "2001:db8:2::", true},
        {0, 200, "2001:db8::", "2001:db8:0:1::", false},
        {1, 1, "2001:db8::", "192.0.2.1", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct ph_budget *b = budget(&(struct ph_budget_conf){.prefix4 = rows[i].prefix4,
                                                              .prefix6 = rows[i].prefix6,
                                                              .prefix_burst = 4096,
                                                              .prefix_rate = 1});
        cr_assert_eq(draw(b, rows[i].a, ANSWER, START), 4096 / ANSWER);
        cr_assert_eq(draw(b, rows[i].b, ANSWER, START), rows[i].shared ? 0 : 4096 / ANSWER,
                     "row %zu", i);
        ph_budget_free(b);
    }
}

Test(stun_budget, refunds_what_an_authenticated_source_has_paid)
{
    struct ph_budget *b = budget(&(struct ph_budget_conf){0});
    struct ph_addr a = addr("192.0.2.1");
    for (unsigned i = 0; i < 100000; i++) {
        cr_assert(ph_budget_take(b, &a, 100, START), "round %u", i);
        ph_budget_refund(b, &a, 100, START);
    }
    ph_budget_refund(b, &a, UINT32_MAX, START);
    cr_assert_eq(draw(b, "192.0.2.1", ANSWER, START), 4096 / ANSWER, "no fuller than full");
    ph_budget_refund(b, &a, ANSWER, START);
    cr_assert_eq(draw(b, "192.0.2.1", ANSWER, START), 1);
    ph_budget_free(b);
}

Test(stun_budget, exempts_loopback_unless_told_otherwise)
{
    static const char *const loopback[] = {"127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"};
    for (size_t i = 0; i < 4; i++) {
        struct ph_addr a = addr(loopback[i]);
        struct ph_budget *b = budget(&(struct ph_budget_conf){0});
        cr_assert_eq(draw(b, loopback[i], 65535, START), 1000000, "%s", loopback[i]);
        ph_budget_refund(b, &a, 1, START);
        ph_budget_free(b);
        b = budget(&(struct ph_budget_conf){.count_loopback = true});
        cr_assert_eq(draw(b, loopback[i], 65535, START), 0, "%s", loopback[i]);
        ph_budget_free(b);
    }
}

Test(stun_budget, can_be_unlimited_or_absent)
{
    struct ph_addr a = addr("192.0.2.1");
    struct ph_budget *b = budget(&(struct ph_budget_conf){.unlimited = true});
    cr_assert_eq(draw(b, "192.0.2.1", 65535, START), 1000000);
    ph_budget_free(b);
    cr_assert_eq(draw(NULL, "192.0.2.1", 65535, START), 1000000);
    ph_budget_refund(NULL, &a, 1, START);
    ph_budget_free(NULL);
}

/* ---- floods with a forged source ---- */

/* One flood: pps requests a second for `seconds`, each from what `pick` makes of its number. */
struct flood {
    uint64_t sent, drawn; /* bytes */
};

static struct flood flood(struct ph_budget *b, unsigned pps, unsigned seconds,
                          struct ph_addr (*pick)(unsigned i))
{
    struct flood f = {0};
    for (unsigned i = 0; i < pps * seconds; i++) {
        struct ph_addr src = pick(i);
        f.sent += REQUEST;
        if (ph_budget_take(b, &src, ANSWER, START + PH_SEC(i) / pps))
            f.drawn += ANSWER;
    }
    return f;
}

static struct ph_addr one_source(unsigned i)
{
    return ph_addr_v4((const uint8_t[]){198, 51, 100, 7}, (uint16_t)(1024 + i % 60000), PH_UDP);
}

static struct ph_addr one_prefix(unsigned i)
{
    return ph_addr_v4((const uint8_t[]){198, 51, 100, (uint8_t)(i * 7)},
                      (uint16_t)(1024 + i % 60000), PH_UDP);
}

static struct ph_addr one_ipv6_site(unsigned i)
{
    uint8_t ip[16] = {
        0x20, 0x01, 0x0d, 0xb8, 0, 1, (uint8_t)(i >> 8), (uint8_t)i, [15] = (uint8_t)i};
    return ph_addr_v6(ip, 5000, PH_UDP);
}

Test(stun_budget, spoofed_floods_draw_less_than_they_send_and_leave_others_alone)
{
    static const struct {
        const char *what;
        struct ph_addr (*pick)(unsigned i);
        uint32_t burst, rate;
    } rows[] = {
        {"one source", one_source, 4096, 2048},
        {"one /24", one_prefix, 32768, 16384},
        {"one IPv6 /48", one_ipv6_site, 32768, 16384},
    };
    enum { PPS = 5000, SECONDS = 20, OTHERS = 1000 };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct ph_budget *b = budget(&(struct ph_budget_conf){0});
        struct flood f = flood(b, PPS, SECONDS, rows[i].pick);
        cr_log_info("%s: %.2f bytes drawn for each byte sent\n", rows[i].what,
                    (double)f.drawn / (double)f.sent);
        cr_assert_leq(f.drawn, rows[i].burst + (uint64_t)rows[i].rate * SECONDS, "%s",
                      rows[i].what);
        cr_assert_lt(f.drawn, f.sent, "%s", rows[i].what);

        /* Everybody else has one try with a plain request.  The few who share the flood's bucket
         * lose. */
        unsigned refused = 0;
        for (unsigned k = 0; k < OTHERS; k++) {
            struct ph_addr other =
                ph_addr_v4((const uint8_t[]){203, (uint8_t)(k >> 8), (uint8_t)k, 9}, 5000, PH_UDP);
            refused += !ph_budget_take(b, &other, ANSWER, START + PH_SEC(SECONDS));
        }
        cr_assert_leq(refused, OTHERS / 50, "%s: %u others refused", rows[i].what, refused);
        ph_budget_free(b);
    }
}

Test(stun_budget, a_flood_of_all_sources_takes_no_memory)
{
    if (!oom_works())
        cr_skip_test("allocations cannot be watched in this build");
    struct ph_budget *b = budget(&(struct ph_budget_conf){0});
    oom_fail_at(1);
    for (unsigned i = 0; i < 300000; i++) {
        struct ph_addr src = {.family = i & 1 ? PH_AF_INET : PH_AF_INET6, .port = 5000};
        seeded(NULL, src.ip, ph_addr_ip_len(&src));
        (void)ph_budget_take(b, &src, ANSWER, START);
    }
    cr_assert_not(oom_disarm(), "nothing may be allocated after creation");
    ph_budget_free(b);
}

Test(stun_budget, reports_that_it_cannot_be_created)
{
    if (!oom_works())
        cr_skip_test("allocations cannot be watched in this build");
    for (unsigned n = 1;; n++) {
        oom_fail_at(n);
        struct ph_budget *b = ph_budget_new(&(struct ph_budget_conf){0}, &env);
        bool failed = oom_disarm();
        cr_assert_eq(b == NULL, failed);
        ph_budget_free(b);
        if (!failed)
            break;
    }
}

Test(stun_budget, works_with_few_buckets)
{
    for (uint32_t buckets = 1; buckets <= 5; buckets++) {
        struct ph_budget *b = budget(&(struct ph_budget_conf){.buckets = buckets});
        unsigned got = 0;
        for (unsigned i = 0; i < 64; i++) {
            char src[32];
            snprintf(src, sizeof src, "192.0.%u.1", i);
            got += draw(b, src, ANSWER, START);
        }
        cr_assert_geq(got, 4096 / ANSWER);
        cr_assert_leq(got, 8 * 4096 / ANSWER, "five are rounded up to eight");
        ph_budget_free(b);
    }
}

/* ---- clocks ---- */

Test(stun_budget, a_clock_that_jumps_back_leaves_buckets_no_emptier_than_empty)
{
    struct ph_budget *b = budget(&(struct ph_budget_conf){0});
    cr_assert_eq(draw(b, "192.0.2.1", ANSWER, START), 4096 / ANSWER);
    ph_ns back = START - PH_SEC(500);
    cr_assert_eq(draw(b, "192.0.2.1", ANSWER, back), 0);
    cr_assert_eq(draw(b, "192.0.2.1", ANSWER, back + PH_SEC(2)), 4096 / ANSWER);
    ph_budget_free(b);
}

Test(stun_budget, starts_full_whatever_the_clock_says)
{
    static const ph_ns clocks[] = {INT64_MIN, INT64_MIN + 1, -1, 0, 1, INT64_MAX - 1, INT64_MAX};
    for (size_t i = 0; i < sizeof clocks / sizeof *clocks; i++) {
        struct ph_budget *b = budget(&(struct ph_budget_conf){0});
        unsigned want = 4096 / ANSWER;
        unsigned got = draw(b, "192.0.2.1", ANSWER, clocks[i]);
        /* At the very end of time buckets cannot say when they will be full: there the limit ends,
         * too. */
        if (clocks[i] < INT64_MAX - 1)
            cr_assert_eq(got, want, "clock %zu", i);
        else
            cr_assert_geq(got, want, "clock %zu", i);
        ph_budget_free(b);
    }
}

/* Absurd settings and clocks: the sanitizers must stay quiet and a burst must stay the limit of an
 * instant. */
Test(stun_budget, does_not_overflow_with_absurd_values)
{
    static const uint32_t values[] = {1, 2, 1000, UINT32_MAX - 1, UINT32_MAX};
    static const ph_ns clocks[] = {INT64_MIN, -1, 0, INT64_MAX - 1, INT64_MAX, 1, INT64_MIN + 7};
    struct ph_addr a = addr("192.0.2.1");
    for (size_t i = 0; i < 5; i++)
        for (size_t k = 0; k < 5; k++) {
            struct ph_budget *b = budget(&(struct ph_budget_conf){.addr_burst = values[i],
                                                                  .addr_rate = values[k],
                                                                  .prefix_burst = values[i],
                                                                  .prefix_rate = values[k]});
            for (unsigned n = 0; n < 2000; n++) {
                ph_ns now = clocks[test_random(&seed) % 7];
                uint32_t bytes = values[test_random(&seed) % 5];
                bool took = ph_budget_take(b, &a, bytes, now);
                cr_assert(!took || bytes <= values[i], "more than a burst at once");
                if (n % 3 == 0)
                    ph_budget_refund(b, &a, values[test_random(&seed) % 5], now);
            }
            ph_budget_free(b);
        }
}

/* Against a bucket that counts tokens: in any span no more than burst + rate x span is drawn, and
 * no less either when somebody asks all the time (up to rounding). */
Test(stun_budget, keeps_to_the_rate_over_random_histories)
{
    for (unsigned round = 0; round < 50; round++) {
        uint32_t burst = 500 + test_random(&seed) % 5000, rate = 1 + test_random(&seed) % 5000;
        struct ph_budget *b = budget(&(struct ph_budget_conf){.addr_burst = burst,
                                                              .addr_rate = rate,
                                                              .prefix_burst = UINT32_MAX,
                                                              .prefix_rate = UINT32_MAX});
        struct ph_addr a = addr("192.0.2.1");
        double tokens = burst;
        ph_ns now = START;
        for (unsigned n = 0; n < 5000; n++) {
            ph_ns step = (ph_ns)(test_random(&seed) % 200000000);
            uint32_t bytes = 1 + test_random(&seed) % 400;
            now += step;
            tokens += (double)rate * (double)step / 1e9;
            tokens = tokens < burst ? tokens : burst;
            bool took = ph_budget_take(b, &a, bytes, now);
            if (tokens > bytes + 0.5)
                cr_assert(took, "round %u: %f tokens, %u asked", round, tokens, bytes);
            else if (tokens < bytes - 0.5)
                cr_assert_not(took, "round %u: %f tokens, %u asked", round, tokens, bytes);
            if (took)
                tokens -= bytes;
        }
        ph_budget_free(b);
    }
}
