/*
 * What a core takes from outside besides packets and time: randomness and a log.
 *
 * Tests inject a seeded generator; programs inject the system's CSPRNG (stun/uv/env.h).  Nonces,
 * ports, transaction ids and tokens all come from here.
 */
#ifndef PH_BASE_ENV_H
#define PH_BASE_ENV_H

#include <stddef.h>
#include <stdint.h>

enum ph_log_level { PH_LOG_ERROR, PH_LOG_WARN, PH_LOG_INFO, PH_LOG_DEBUG };

/* Where log lines go.  fn gets a complete line without newline; it must escape what it prints. */
struct ph_log {
    void (*fn)(void *ctx, enum ph_log_level level, const char *line);
    void *ctx;
    _Atomic enum ph_log_level
        level; /* lines above this level are not even formatted; may change while others log */
};

struct ph_env {
    void (*rand)(void *ctx, void *dst, size_t n); /* must not fail; never NULL */
    void *ctx;                                    /* first argument of rand */
    struct ph_log *log;                           /* may be NULL: nothing is logged */
};

/* A uniformly random number in [0, bound); 0 when bound is 0. */
uint32_t ph_env_below(const struct ph_env *e, uint32_t bound);

/* Formats a line and hands it to the log of e if its level is wanted.  Cut at 1023 bytes. */
void ph_logf(const struct ph_env *e, enum ph_log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
