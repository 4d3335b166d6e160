#include "stun/base/error.h"
#include "stun/base/map.h"
#include "support/oom.h"
#include "support/vectors.h"

#include <criterion/criterion.h>

/* The slots of a hash, as a set of bits (the tests use slots below 64 for this). */
static uint64_t slots_of(const struct ph_map *m, uint64_t hash)
{
    uint64_t set = 0;
    for (struct ph_map_it it = ph_map_find(m, hash); it.slot != PH_MAP_NONE;
         it = ph_map_next(m, it)) {
        cr_assert_eq(set >> it.slot & 1, 0, "slot %u found twice", it.slot);
        set |= (uint64_t)1 << it.slot;
    }
    return set;
}

Test(base_map, finds_nothing_while_empty)
{
    struct ph_map m;
    ph_map_init(&m);
    cr_assert_eq(slots_of(&m, 42), 0);
    ph_map_del(&m, 42, 1);
    cr_assert_eq(m.n, 0);
    cr_assert_null(m.cell);
    ph_map_fini(&m);
}

Test(base_map, keeps_entries_with_one_hash_apart)
{
    struct ph_map m;
    ph_map_init(&m);
    for (uint32_t slot = 0; slot < 40; slot++)
        cr_assert_eq(ph_map_add(&m, 0xFFFFFFFF, slot), 0);
    cr_assert_eq(slots_of(&m, 0xFFFFFFFF), ((uint64_t)1 << 40) - 1);
    ph_map_del(&m, 0xFFFFFFFF, 17);
    ph_map_del(&m, 0xFFFFFFFF, 17);
    cr_assert_eq(slots_of(&m, 0xFFFFFFFF), (((uint64_t)1 << 40) - 1) & ~((uint64_t)1 << 17));
    cr_assert_eq(m.n, 39);
    cr_assert_eq(slots_of(&m, 0), 0);
    ph_map_fini(&m);
}

Test(base_map, agrees_with_a_naive_model)
{
    enum { HASHES = 97, SLOTS = 64, STEPS = 300000 };
    static bool model[HASHES][SLOTS];
    uint64_t state = 3, hash[HASHES];
    unsigned n = 0;
    struct ph_map m;
    ph_map_init(&m);
    /* Hashes that crowd a few homes, wrap around the end and differ in the upper bits only. */
    for (unsigned i = 0; i < HASHES; i++)
        hash[i] = (uint64_t)test_random(&state) << 20 | (i % 3 ? i % 8 : 0xFFFF0U + i % 16);
    for (unsigned step = 0; step < STEPS; step++) {
        unsigned h = test_random(&state) % HASHES, slot = test_random(&state) % SLOTS;
        bool filling = step / 10000 % 2 == 0;
        if (!model[h][slot] && (filling || test_random(&state) % 4 == 0)) {
            cr_assert_eq(ph_map_add(&m, hash[h], slot), 0);
            model[h][slot] = true;
            n++;
        } else {
            ph_map_del(&m, hash[h], slot); /* also entries that are not there */
            n -= model[h][slot];
            model[h][slot] = false;
        }
        cr_assert_eq(m.n, n);
        if (step % 64)
            continue;
        uint64_t want = 0;
        for (unsigned i = 0; i < SLOTS; i++)
            want |= (uint64_t)model[h][i] << i;
        cr_assert_eq(slots_of(&m, hash[h]), want, "step %u", step);
    }
    ph_map_fini(&m);
}

Test(base_map, grows_to_many_entries_and_back)
{
    enum { N = 200000 };
    struct ph_map m;
    ph_map_init(&m);
    for (uint32_t i = 0; i < N; i++)
        cr_assert_eq(ph_map_add(&m, i * 2654435761u, i), 0);
    cr_assert_leq((uint64_t)m.n * 4, ((uint64_t)m.mask + 1) * 3);
    for (uint32_t i = 0; i < N; i++)
        cr_assert_eq(ph_map_find(&m, i * 2654435761u).slot, i);
    for (uint32_t i = 0; i < N; i++)
        ph_map_del(&m, i * 2654435761u, i);
    cr_assert_eq(m.n, 0);
    for (uint32_t i = 0; i <= m.mask; i++)
        cr_assert_eq(m.cell[i].slot, PH_MAP_NONE, "a dead cell is left");
    ph_map_fini(&m);
}

Test(base_map, stays_whole_when_memory_runs_out)
{
    struct ph_map m;
    if (!oom_works())
        cr_skip_test("allocations of the libraries are out of reach");
    ph_map_init(&m);
    for (uint32_t i = 0; i < 1000; i++) {
        oom_fail_at(1);
        int err = ph_map_add(&m, i, i);
        if (oom_disarm()) {
            cr_assert_eq(err, PH_E_NOMEM);
            cr_assert_eq(m.n, i);
            cr_assert_eq(ph_map_add(&m, i, i), 0);
        }
        for (uint32_t k = 0; k <= i; k++)
            cr_assert_eq(ph_map_find(&m, k).slot, k);
    }
    ph_map_fini(&m);
}
