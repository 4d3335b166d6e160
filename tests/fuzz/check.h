/*
 * What fuzz targets share: an assertion that is never compiled out, and input taken in small
 * pieces.
 */
#ifndef PH_FUZZ_CHECK_H
#define PH_FUZZ_CHECK_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* The input as a source of numbers; zeros when it is used up. */
struct fuzz_in {
    const uint8_t *p;
    size_t n;
};

static inline void fuzz_bytes(struct fuzz_in *in, void *dst, size_t n)
{
    size_t k = n < in->n ? n : in->n;
    if (k)
        memcpy(dst, in->p, k);
    memset((uint8_t *)dst + k, 0, n - k);
    in->p += k;
    in->n -= k;
}

static inline uint8_t fuzz_u8(struct fuzz_in *in)
{
    uint8_t b;
    fuzz_bytes(in, &b, 1);
    return b;
}

static inline uint16_t fuzz_u16(struct fuzz_in *in)
{
    uint16_t hi = fuzz_u8(in);
    return (uint16_t)(hi << 8 | fuzz_u8(in));
}

static inline uint64_t fuzz_u64(struct fuzz_in *in)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < 8; i++)
        v = v << 8 | fuzz_u8(in);
    return v;
}

#endif
