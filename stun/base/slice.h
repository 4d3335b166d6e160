/*
 * A slice: bytes that somebody else owns.
 *
 * Slices that the codec returns point into the packet that was parsed and die with it.
 */
#ifndef PH_BASE_SLICE_H
#define PH_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct ph_slice {
    const uint8_t *p; /* may be NULL when n is 0 */
    size_t n;         /* bytes */
};

/* The bytes of a C string, without its terminator.  Borrows; NULL gives the empty slice. */
static inline struct ph_slice ph_str(const char *s)
{
    return (struct ph_slice){(const uint8_t *)s, s ? strlen(s) : 0};
}

/* True when both hold the same bytes.  Not constant-time: never for secrets (ph_equal_ct). */
static inline bool ph_slice_eq(struct ph_slice a, struct ph_slice b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

#endif
