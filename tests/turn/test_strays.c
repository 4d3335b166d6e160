/*
 * Strays: who is found, who is forgotten, and that several threads may add, find and remove at once.
 */
#include "stun/base/error.h"
#include "turn/strays.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>

static uint64_t seed = 42;

static void some_rand(void *ctx, void *dst, size_t n)
{
    uint8_t *p = dst;
    (void)ctx;
    for (size_t i = 0; i < n; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        p[i] = (uint8_t)(seed >> 56);
    }
}

static const struct ph_env env = {.rand = some_rand};
static const ph_ns now = PH_SEC(1000);

static struct ph_addr client(uint32_t n)
{
    const uint8_t ip[4] = {203, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};
    return ph_addr_v4(ip, (uint16_t)(1 + n % 65535), PH_UDP);
}

static int add(struct ph_strays *s, uint32_t n, ph_ns until)
{
    const struct ph_addr c = client(n);
    const struct ph_stray at = {.worker = (uint8_t)n, .slot = n, .session = 1000 + n};
    return ph_strays_add(s, &c, n % 3, &at, until);
}

/* True if the nth is there, and what is found is right. */
static bool finds(const struct ph_strays *s, uint32_t n, ph_ns when)
{
    const struct ph_addr c = client(n);
    struct ph_stray at = {.slot = UINT32_MAX};

    if (!ph_strays_find(s, &c, n % 3, &at, when)) {
        cr_expect_eq(at.slot, UINT32_MAX, "nothing is written");
        return false;
    }
    cr_expect_eq(at.worker, (uint8_t)n);
    cr_expect_eq(at.slot, n);
    cr_expect_eq(at.session, 1000 + n);
    return true;
}

Test(turn_strays, are_found_by_the_whole_five_tuple)
{
    struct ph_strays *s = ph_strays_new(100, &env);
    struct ph_addr c = client(7);
    struct ph_stray at;

    cr_expect_not(finds(s, 7, now));
    cr_expect_eq(ph_strays_count(s), 0);
    cr_assert_eq(add(s, 7, now + PH_SEC(600)), 0);
    cr_expect_eq(ph_strays_count(s), 1);
    cr_expect(finds(s, 7, now));
    cr_expect_not(ph_strays_find(s, &c, 0, &at, now), "another listener");
    c.port++;
    cr_expect_not(ph_strays_find(s, &c, 1, &at, now));
    c.port--;
    c.proto = PH_TCP;
    cr_expect_not(ph_strays_find(s, &c, 1, &at, now));
    c.proto = PH_UDP;
    ph_strays_del(s, &c, 0);
    cr_expect(finds(s, 7, now), "that was another one");
    ph_strays_del(s, &c, 1);
    cr_expect_not(finds(s, 7, now));
    cr_expect_eq(ph_strays_count(s), 0);
    ph_strays_del(s, &c, 1);
    cr_expect_eq(ph_strays_count(s), 0);
    ph_strays_free(s);
}

Test(turn_strays, are_forgotten_when_they_have_expired)
{
    struct ph_strays *s = ph_strays_new(100, &env);

    cr_assert_eq(add(s, 7, now + PH_SEC(600)), 0);
    cr_expect(finds(s, 7, now + PH_SEC(599)));
    cr_expect_not(finds(s, 7, now + PH_SEC(600)));
    cr_assert_eq(add(s, 10, now + PH_MS(500)), 0);
    cr_expect(finds(s, 10, now + PH_MS(300)), "not before its time");
    cr_assert_eq(add(s, 8, 0), 0);
    cr_expect_not(finds(s, 8, 0));
    cr_assert_eq(add(s, 9, PH_NEVER), 0);
    cr_expect(finds(s, 9, PH_SEC(4000000000)));
    ph_strays_free(s);
}

Test(turn_strays, last_place_counts)
{
    struct ph_strays *s = ph_strays_new(100, &env);
    const struct ph_addr c = client(7);
    const struct ph_stray there = {.worker = 255, .slot = 0xFFFFFF, .session = UINT64_MAX};
    struct ph_stray at;

    cr_assert_eq(add(s, 7, now + PH_SEC(600)), 0);
    cr_assert_eq(ph_strays_add(s, &c, 1, &there, now + PH_SEC(600)), 0);
    cr_expect_eq(ph_strays_count(s), 1);
    cr_assert(ph_strays_find(s, &c, 1, &at, now));
    cr_expect_eq(at.worker, 255);
    cr_expect_eq(at.slot, 0xFFFFFF);
    cr_expect_eq(at.session, UINT64_MAX);
    const struct ph_stray beyond = {.slot = 0x1000000};
    cr_expect_eq(ph_strays_add(s, &c, 1, &beyond, now), PH_E_LIMIT);
    ph_strays_free(s);
}

Test(turn_strays, tickets_are_no_clients)
{
    struct ph_strays *s = ph_strays_new(100, &env);
    const struct ph_addr a = ph_stray_ticket(1), b = ph_stray_ticket(UINT64_C(1) << 56);
    const struct ph_stray at = {.worker = 3, .slot = 4, .session = 5};
    struct ph_stray out;

    cr_assert_eq(ph_strays_add(s, &a, 0, &at, now + PH_SEC(1)), 0);
    cr_expect(ph_strays_find(s, &a, 0, &out, now));
    cr_expect_not(ph_strays_find(s, &b, 0, &out, now));
    ph_strays_free(s);
}

/* As many as there is room for always fit, whatever their hashes; twice as many never do, and do no harm. */
Test(turn_strays, room_is_what_was_promised)
{
    static const uint32_t rooms[] = {1, 15, 16, 100, 1000, 65536};

    for (unsigned i = 0; i < sizeof rooms / sizeof *rooms; i++) {
        struct ph_strays *s = ph_strays_new(rooms[i], &env);
        uint32_t fitted = 0;
        for (uint32_t n = 0; n < rooms[i]; n++)
            cr_assert_eq(add(s, n, now + PH_SEC(600)), 0, "%u of %u", n, rooms[i]);
        cr_expect_eq(ph_strays_count(s), rooms[i]);
        for (uint32_t n = rooms[i]; n < 2 * rooms[i] + 32; n++)
            fitted += add(s, n, now + PH_SEC(600)) == 0;
        cr_expect_lt(fitted, rooms[i] + 32, "it is bounded");
        for (uint32_t n = 0; n < rooms[i]; n++)
            cr_assert(finds(s, n, now));
        ph_strays_free(s);
    }
}

/* --- several threads ------------------------------------------------------------------------------- */

enum { THREADS = 4, EACH = 500, ROUNDS = 20 };

struct job {
    struct ph_strays *s;
    uint32_t first;
    unsigned wrong;
};

static void *run(void *arg)
{
    struct job *j = arg;

    for (int round = 0; round < ROUNDS; round++) {
        for (uint32_t n = j->first; n < j->first + EACH; n++)
            j->wrong += add(j->s, n, now + PH_SEC(600)) != 0;
        for (uint32_t n = j->first; n < j->first + EACH; n++) {
            struct ph_addr c = client(n);
            struct ph_stray at;
            j->wrong += !ph_strays_find(j->s, &c, n % 3, &at, now) || at.session != 1000 + n ||
                        at.slot != n;
            c = client((n + EACH) % (THREADS * EACH)); /* of another thread: may be there or not */
            (void)ph_strays_find(j->s, &c, n % 3, &at, now);
        }
        for (uint32_t n = j->first; n < j->first + EACH; n++) {
            const struct ph_addr c = client(n);
            ph_strays_del(j->s, &c, n % 3);
        }
    }
    return NULL;
}

Test(turn_strays, several_threads)
{
    struct ph_strays *s = ph_strays_new(THREADS * EACH, &env);
    struct job job[THREADS];
    pthread_t thread[THREADS];

    for (uint32_t i = 0; i < THREADS; i++) {
        job[i] = (struct job){.s = s, .first = i * EACH};
        cr_assert_eq(pthread_create(&thread[i], NULL, run, &job[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
        cr_expect_eq(job[i].wrong, 0);
    }
    cr_expect_eq(ph_strays_count(s), 0);
    ph_strays_free(s);
}
