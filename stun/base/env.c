/*
 * Uniform random numbers and log lines on top of the injected environment.
 */
#include "stun/base/env.h"

#include <stdarg.h>
#include <stdio.h>

/* A test's generator may repeat one number for ever: rather a slight bias than a hang. */
enum { TRIES = 32, LINE = 1024 };

uint32_t ph_env_below(const struct ph_env *e, uint32_t bound)
{
    /* Lemire's multiplication: the high half is the number, the low half tells whether it would be
     * biased; that happens with a probability of bound / 2^32. */
    uint32_t r;
    uint64_t m = 0;
    if (bound == 0)
        return 0;
    uint32_t reject_below = (0U - bound) % bound;
    for (unsigned i = 0; i < TRIES; i++) {
        e->rand(e->ctx, &r, sizeof r);
        m = (uint64_t)r * bound;
        if ((uint32_t)m >= reject_below)
            break;
    }
    return (uint32_t)(m >> 32);
}

void ph_logf(const struct ph_env *e, enum ph_log_level level, const char *fmt, ...)
{
    char line[LINE];
    va_list ap;
    if (!e->log || level > e->log->level)
        return;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (n >= 0)
        e->log->fn(e->log->ctx, level, line);
}
