/*
 * getrandom() with a pool per thread.
 */
#include "stun/uv/env.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { POOL = 256 }; /* bytes; getrandom() gives up to 256 without being interrupted */

static _Thread_local struct {
    size_t left; /* unused bytes at the end of b */
    uint8_t b[POOL];
} pool;

static void system_rand(uint8_t *dst, size_t n)
{
    while (n) {
        ssize_t got = getrandom(dst, n, 0);
        if (got < 0 && errno != EINTR)
            abort();
        if (got > 0) {
            dst += got;
            n -= (size_t)got;
        }
    }
}

/* In the child of a fork, on its only thread: the parent will use these bytes. */
static void forget(void)
{
    explicit_bzero(&pool, sizeof pool);
}

static void forget_on_fork(void)
{
    if (pthread_atfork(NULL, NULL, forget))
        abort();
}

void ph_env_rand(void *ctx, void *dst, size_t n)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)ctx;
    if (n > POOL / 4) {
        system_rand(dst, n);
        return;
    }
    if (pool.left < n) {
        pthread_once(&once, forget_on_fork);
        system_rand(pool.b, POOL);
        pool.left = POOL;
    }
    uint8_t *from = pool.b + POOL - pool.left;
    memcpy(dst, from, n);
    explicit_bzero(from, n);
    pool.left -= n;
}

struct ph_env ph_env_system(struct ph_log *log)
{
    return (struct ph_env){.rand = ph_env_rand, .log = log};
}
