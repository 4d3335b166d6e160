/*
 * Messages printed in RFCs, from tests/vectors/, and small helpers for messages in tests.
 */
#ifndef PH_TESTS_VECTORS_H
#define PH_TESTS_VECTORS_H

#include "stun/base/slice.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef PH_TESTS_DIR
#define PH_TESTS_DIR "tests"
#endif

enum { VECTOR_MAX = 512 };

struct vector {
    uint8_t b[VECTOR_MAX];
    size_t n;
};

enum vector_key { KEY_SHORT, KEY_MD5, KEY_SHA256 };

static const struct {
    const char *file;
    enum vector_key key;
} VECTORS[] = {
    {"rfc5769-2.1-request.hex", KEY_SHORT},       {"rfc5769-2.2-response-ipv4.hex", KEY_SHORT},
    {"rfc5769-2.3-response-ipv6.hex", KEY_SHORT}, {"rfc5769-2.4-long-term.hex", KEY_MD5},
    {"rfc8489-b.1-sha256.hex", KEY_SHA256},
};
enum { VECTOR_COUNT = sizeof VECTORS / sizeof *VECTORS };

#define VECTOR_SHORT_KEY "VOkJxbRl1RmTxUk/WvJxBt"
#define VECTOR_USER      "\u30DE\u30C8\u30EA\u30C3\u30AF\u30B9"
#define VECTOR_PASSWORD  "TheMatrIX"
#define VECTOR_REALM     "example.org"

/* Reads a file of hex digits.  Ends the test when it cannot. */
static inline struct vector vector_load(const char *file)
{
    struct vector v = {.n = 0};
    const char *root = getenv("PINHOLE_ROOT");
    char path[4096];
    unsigned byte;
    snprintf(path, sizeof path, "%s%s/vectors/%s", root ? root : PH_TESTS_DIR, root ? "/tests" : "",
             file);
    FILE *f = fopen(path, "r");
    if (!f) {
        fprintf(stderr, "cannot open %s\n", path);
        abort();
    }
    while (v.n < VECTOR_MAX && fscanf(f, "%2x", &byte) == 1)
        v.b[v.n++] = (uint8_t)byte;
    fclose(f);
    return v;
}

/* A copy on the heap of exactly n bytes, so that a sanitizer sees a read behind it.  Free it. */
static inline uint8_t *exact_copy(const void *p, size_t n)
{
    uint8_t *q = malloc(n ? n : 1);
    if (!q)
        abort();
    if (n)
        memcpy(q, p, n);
    return q;
}

/* Random numbers that are the same in every run. */
static inline uint32_t test_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33) ^ (uint32_t)(*state >> 11);
}

#endif
