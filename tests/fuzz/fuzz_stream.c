/*
 * Stream framing: every cut of the input gives the same answers, and an answer, once given, does not change with more
 * bytes.  The input is a stream: frames are taken off it until one is bad or incomplete.
 */
#include "fuzz/check.h"
#include "stun/base/error.h"
#include "stun/codec/stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CUTS = 64 };

/* A copy that ends where its bytes do: there the sanitizer sees a read too far. */
static uint8_t *exactly(const uint8_t *p, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    CHECK(copy);
    if (n)
        memcpy(copy, p, n);
    return copy;
}

static int frame(const uint8_t *p, size_t n, uint32_t *bare)
{
    uint8_t *copy = exactly(p, n);
    int r = ph_stream_frame(copy, n, bare);
    free(copy);
    return r;
}

/* The first bytes of a connection. */
static void check_sniff(const uint8_t *data, size_t size)
{
    enum ph_stream_kind last = PH_STREAM_UNKNOWN;
    for (size_t n = 0; n <= size && n <= 2 * PH_STREAM_SNIFF; n++) {
        uint8_t *copy = exactly(data, n);
        enum ph_stream_kind kind = ph_stream_sniff(copy, n);
        free(copy);
        CHECK(last == PH_STREAM_UNKNOWN || kind == last);
        CHECK(n < PH_STREAM_SNIFF || kind != PH_STREAM_UNKNOWN);
        last = kind;
    }
}

/* One frame: what n bytes tell is what all of them tell, or nothing. */
static int check_frame(const uint8_t *p, size_t n)
{
    uint32_t whole_bare = 0;
    int whole = frame(p, n, &whole_bare), last = 0;
    for (size_t k = 0; k <= n && k < CUTS; k++) {
        uint32_t bare = 0;
        int r = frame(p, k, &bare);
        CHECK(last == 0 || r == last);
        CHECK(r == 0 || (r == whole && (r < 0 || bare == whole_bare)));
        last = r;
    }
    if (whole > 0) {
        CHECK(whole % 4 == 0 && whole >= 4 && whole <= PH_STREAM_MAX);
        CHECK(whole_bare <= (uint32_t)whole && (uint32_t)whole - whole_bare < 4);
    }
    CHECK(whole >= 0 || whole == PH_E_FORMAT);
    CHECK(whole != 0 || n < 8);
    return whole;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_sniff(data, size);
    for (size_t at = 0; at <= size;) {
        int n = check_frame(data + at, size - at);
        if (n <= 0 || (size_t)n > size - at)
            break;
        at += (size_t)n;
    }
    return 0;
}
