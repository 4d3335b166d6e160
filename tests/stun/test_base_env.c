#include "stun/base/env.h"
#include "support/vectors.h"

#include <criterion/criterion.h>

static void seeded(void *ctx, void *dst, size_t n)
{
    for (uint8_t *p = dst; n--; p++)
        *p = (uint8_t)test_random(ctx);
}

static void constant(void *ctx, void *dst, size_t n)
{
    memset(dst, *(int *)ctx, n);
}

Test(base_env, draws_below_the_bound)
{
    static const uint32_t BOUNDS[] = {1, 2, 3, 7, 1000, 16384, 65535, 0x80000001, UINT32_MAX};
    uint64_t state = 1;
    struct ph_env e = {.rand = seeded, .ctx = &state};
    for (size_t i = 0; i < sizeof BOUNDS / sizeof *BOUNDS; i++)
        for (int k = 0; k < 1000; k++)
            cr_assert_lt(ph_env_below(&e, BOUNDS[i]), BOUNDS[i]);
    cr_assert_eq(ph_env_below(&e, 0), 0);
}

Test(base_env, draws_every_number_about_as_often)
{
    enum { BOUND = 6, DRAWS = 60000 };
    unsigned count[BOUND] = {0};
    uint64_t state = 2;
    struct ph_env e = {.rand = seeded, .ctx = &state};
    for (int i = 0; i < DRAWS; i++)
        count[ph_env_below(&e, BOUND)]++;
    for (int i = 0; i < BOUND; i++)
        cr_assert(count[i] > 9500 && count[i] < 10500, "%d drawn %u times", i, count[i]);
}

Test(base_env, ends_with_a_generator_that_repeats_itself)
{
    int zero = 0, ones = 0xFF;
    struct ph_env e = {.rand = constant, .ctx = &zero};
    cr_assert_eq(ph_env_below(&e, 3), 0);
    e.ctx = &ones;
    cr_assert_eq(ph_env_below(&e, 3), 2);
}

struct sink {
    char line[2000];
    unsigned lines;
    enum ph_log_level level;
};

static void to_sink(void *ctx, enum ph_log_level level, const char *line)
{
    struct sink *s = ctx;
    s->lines++;
    s->level = level;
    snprintf(s->line, sizeof s->line, "%s", line);
}

Test(base_env, logs_only_wanted_levels)
{
    struct sink s = {.lines = 0};
    struct ph_log log = {to_sink, &s, PH_LOG_INFO};
    struct ph_env e = {.log = &log};
    ph_logf(&e, PH_LOG_DEBUG, "%s", "unwanted");
    cr_assert_eq(s.lines, 0);
    ph_logf(&e, PH_LOG_WARN, "port %d", 3478);
    cr_assert_eq(s.lines, 1);
    cr_assert_eq(s.level, PH_LOG_WARN);
    cr_assert_str_eq(s.line, "port 3478");
    ph_logf(&e, PH_LOG_INFO, "x");
    cr_assert_eq(s.lines, 2);
    ph_logf(&(struct ph_env){.log = NULL}, PH_LOG_ERROR, "nobody listens");
}

Test(base_env, cuts_long_lines)
{
    struct sink s = {.lines = 0};
    struct ph_log log = {to_sink, &s, PH_LOG_DEBUG};
    struct ph_env e = {.log = &log};
    ph_logf(&e, PH_LOG_ERROR, "%5000d", 1);
    cr_assert_eq(strlen(s.line), 1023);
}
