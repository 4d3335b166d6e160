/*
 * The pooled CSPRNG: nothing is given out twice, not in another thread and not after a fork.
 */
#include "stun/uv/env.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N = 4000, LEN = 12 };

static int by_bytes(const void *a, const void *b)
{
    return memcmp(a, b, LEN);
}

Test(uv_env, never_repeats)
{
    static uint8_t id[N][LEN];
    const struct ph_env e = ph_env_system(NULL);

    for (int i = 0; i < N; i++)
        e.rand(e.ctx, id[i], LEN);
    qsort(id, N, LEN, by_bytes);
    for (int i = 1; i < N; i++)
        cr_assert_neq(memcmp(id[i - 1], id[i], LEN), 0);
}

Test(uv_env, fills_every_byte_of_any_length)
{
    uint8_t a[600], seen[600] = {0};

    for (size_t n = 1; n <= sizeof a; n += 37) {
        memset(seen, 0, sizeof seen);
        for (int round = 0; round < 6; round++) { /* a byte stays 0 with probability 2^-48 */
            memset(a, 0, sizeof a);
            ph_env_rand(NULL, a, n);
            for (size_t i = 0; i < n; i++)
                seen[i] |= a[i];
            for (size_t i = n; i < sizeof a; i++)
                cr_assert_eq(a[i], 0, "wrote past the end");
        }
        for (size_t i = 0; i < n; i++)
            cr_assert_neq(seen[i], 0, "byte %zu of %zu is never set", i, n);
    }
}

static void *take(void *dst)
{
    ph_env_rand(NULL, dst, 32);
    return NULL;
}

Test(uv_env, threads_have_pools_of_their_own)
{
    uint8_t mine[32], theirs[32];
    pthread_t t;

    ph_env_rand(NULL, mine, sizeof mine);
    cr_assert_eq(pthread_create(&t, NULL, take, theirs), 0);
    pthread_join(t, NULL);
    ph_env_rand(NULL, mine, sizeof mine);
    cr_expect_neq(memcmp(mine, theirs, sizeof mine), 0);
}

Test(uv_env, a_fork_does_not_repeat_its_parent)
{
    uint8_t mine[16], theirs[16];
    int fd[2];

    cr_assert_eq(pipe(fd), 0);
    ph_env_rand(NULL, mine, sizeof mine); /* now the pool is full */
    const pid_t pid = fork();
    if (pid == 0) {
        ph_env_rand(NULL, theirs, sizeof theirs);
        _exit(write(fd[1], theirs, sizeof theirs) != sizeof theirs);
    }
    ph_env_rand(NULL, mine, sizeof mine);
    cr_assert_eq(read(fd[0], theirs, sizeof theirs), sizeof theirs);
    waitpid(pid, NULL, 0);
    cr_expect_neq(memcmp(mine, theirs, sizeof mine), 0);
}
