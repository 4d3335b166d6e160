#include "stun/base/error.h"
#include "stun/base/heap.h"
#include "support/oom.h"
#include "support/vectors.h"

#include <criterion/criterion.h>

Test(base_heap, is_never_due_while_empty)
{
    struct ph_heap h;
    ph_heap_init(&h);
    cr_assert_eq(ph_heap_next(&h), PH_NEVER);
    cr_assert_eq(ph_heap_pop_due(&h, PH_NEVER), UINT32_MAX);
    cr_assert_eq(ph_heap_set(&h, 1000, PH_NEVER), 0);
    cr_assert_null(h.v);
    ph_heap_fini(&h);
}

Test(base_heap, gives_slots_in_order_of_deadlines)
{
    struct ph_heap h;
    ph_heap_init(&h);
    cr_assert_eq(ph_heap_set(&h, 5, PH_MS(30)), 0);
    cr_assert_eq(ph_heap_set(&h, 6, PH_MS(10)), 0);
    cr_assert_eq(ph_heap_set(&h, 7, PH_MS(20)), 0);
    cr_assert_eq(ph_heap_next(&h), PH_MS(10));
    cr_assert_eq(ph_heap_pop_due(&h, PH_MS(10) - 1), UINT32_MAX);
    cr_assert_eq(ph_heap_pop_due(&h, PH_MS(10)), 6);
    cr_assert_eq(ph_heap_set(&h, 7, PH_MS(40)), 0); /* moved back */
    cr_assert_eq(ph_heap_set(&h, 5, PH_NEVER), 0);  /* removed */
    cr_assert_eq(ph_heap_pop_due(&h, PH_MS(39)), UINT32_MAX);
    cr_assert_eq(ph_heap_pop_due(&h, PH_MS(50)), 7);
    cr_assert_eq(ph_heap_next(&h), PH_NEVER);
    ph_heap_fini(&h);
}

Test(base_heap, agrees_with_a_naive_model)
{
    enum { SLOTS = 300, STEPS = 100000 };
    static ph_ns model[SLOTS];
    uint64_t state = 4;
    struct ph_heap h;
    ph_heap_init(&h);
    for (unsigned i = 0; i < SLOTS; i++)
        model[i] = PH_NEVER;
    for (unsigned step = 0; step < STEPS; step++) {
        ph_ns least = PH_NEVER, now = test_random(&state) % 1000 - 500;
        uint32_t slot = test_random(&state) % SLOTS, due;
        ph_ns at = test_random(&state) % 5 ? (ph_ns)(test_random(&state) % 1000) - 500 : PH_NEVER;
        model[slot] = at;
        cr_assert_eq(ph_heap_set(&h, slot, at), 0);
        for (unsigned i = 0; i < SLOTS; i++)
            least = ph_min_ns(least, model[i]);
        cr_assert_eq(ph_heap_next(&h), least, "step %u", step);
        if (step % 7)
            continue;
        due = ph_heap_pop_due(&h, now);
        cr_assert_eq(due == UINT32_MAX, least > now);
        if (due != UINT32_MAX) {
            cr_assert_eq(model[due], least);
            model[due] = PH_NEVER;
        }
    }
    ph_heap_fini(&h);
}

Test(base_heap, stays_whole_when_memory_runs_out)
{
    struct ph_heap h;
    unsigned failures = 0;
    if (!oom_works())
        cr_skip_test("allocations of the libraries are out of reach");
    ph_heap_init(&h);
    for (uint32_t slot = 0; slot < 1000; slot++) {
        for (unsigned n = 1;; n++) {
            oom_fail_at(n);
            int err = ph_heap_set(&h, slot, 1000 - (ph_ns)slot);
            if (!oom_disarm())
                break;
            failures++;
            cr_assert_eq(err, PH_E_NOMEM);
            cr_assert_eq(h.n, slot);
        }
        cr_assert_eq(ph_heap_next(&h), 1000 - (ph_ns)slot);
    }
    cr_assert_gt(failures, 10);
    for (uint32_t slot = 1000; slot-- > 0;)
        cr_assert_eq(ph_heap_pop_due(&h, 1000), slot);
    ph_heap_fini(&h);
}
