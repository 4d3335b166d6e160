/*
 * Time as every core sees it: a count of nanoseconds on a monotonic clock that the caller owns.
 *
 * No core reads a clock.  The shell (or a test) reads it once per batch and hands it in, always as
 * the last argument.  Names tell instants (`..._at`) from spans (`..._ttl`, `..._timeout`).
 */
#ifndef PH_BASE_TIME_H
#define PH_BASE_TIME_H

#include <stdint.h>

/* Nanoseconds: an instant on the caller's monotonic clock, or a span.  Signed: differences are
 * safe. */
typedef int64_t ph_ns;

/* "No deadline": later than every instant. */
#define PH_NEVER INT64_MAX

#define PH_US(x)  ((ph_ns)(x)*1000)
#define PH_MS(x)  ((ph_ns)(x)*1000000)
#define PH_SEC(x) ((ph_ns)(x)*1000000000)

/* The earlier of two instants; PH_NEVER counts as later than all. */
static inline ph_ns ph_min_ns(ph_ns a, ph_ns b)
{
    return a < b ? a : b;
}

#endif
