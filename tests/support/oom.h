/*
 * Allocation that fails at the nth call (after libre's OOM mode).
 *
 *     for (unsigned n = 1;; n++) {
 *         oom_fail_at(n);
 *         err = thing_under_test();
 *         if (!oom_disarm())
 *             break;                       // it needs fewer than n allocations: done
 *         cr_assert_eq(err, PH_E_NOMEM);   // and whatever it owned is freed (LeakSanitizer)
 *     }
 *
 * Include it in one file of a test program: tests/CMakeLists.txt links programs whose source names
 * this header with --wrap=malloc, calloc and realloc.  Only code that is linked statically sees
 * failures; the C library, OpenSSL and Criterion do not.  Works under the sanitizers, whose
 * allocator stays underneath.
 */
#ifndef PH_TESTS_OOM_H
#define PH_TESTS_OOM_H

#include "stun/base/map.h"

#include <stdbool.h>
#include <stddef.h>

/* The linker's names for the wrapped functions.  Weak, so that the program links without --wrap. */
void *__real_malloc(size_t n) __attribute__((weak));
void *__real_calloc(size_t k, size_t n) __attribute__((weak));
void *__real_realloc(void *p, size_t n) __attribute__((weak));
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t k, size_t n);
void *__wrap_realloc(void *p, size_t n);

static unsigned oom_countdown; /* 0: nothing fails */
static bool oom_fired;

/* Lets the nth allocation from now on fail (1: the next one), and only that one. */
static inline void oom_fail_at(unsigned n)
{
    oom_countdown = n;
    oom_fired = false;
}

/* Back to normal.  Returns true if an allocation has failed since oom_fail_at. */
static inline bool oom_disarm(void)
{
    oom_countdown = 0;
    return oom_fired;
}

static bool oom_now(void)
{
    if (oom_countdown && --oom_countdown == 0)
        oom_fired = true;
    else
        return false;
    return true;
}

void *__wrap_malloc(size_t n)
{
    return oom_now() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t k, size_t n)
{
    return oom_now() ? NULL : __real_calloc(k, n);
}

void *__wrap_realloc(void *p, size_t n)
{
    return oom_now() ? NULL : __real_realloc(p, n);
}

/* True when the code under test is reached; false in a build with shared libraries: skip the test
 * then. */
static inline bool oom_works(void)
{
    struct ph_map m;
    ph_map_init(&m);
    oom_fail_at(1);
    ph_map_add(&m, 1, 1);
    ph_map_fini(&m);
    return oom_disarm();
}

#endif
