/*
 * PROXY headers: nothing is read behind the n bytes given, an answer does not change with more bytes, and what a header
 * says is a TCP address of one family at both ends or nothing at all.
 */
#include "fuzz/check.h"
#include "stun/base/error.h"
#include "stun/codec/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int parse(struct ph_proxy *out, const uint8_t *data, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1); /* it ends where its bytes do: for the sanitizer */
    CHECK(copy);
    if (n)
        memcpy(copy, data, n);
    int r = ph_proxy_parse(out, copy, n);
    free(copy);
    return r;
}

static void check_result(const struct ph_proxy *h)
{
    CHECK(h->src.family == h->dst.family);
    CHECK(h->local == (h->src.family == PH_AF_NONE));
    CHECK(h->local || (h->src.proto == PH_TCP && h->dst.proto == PH_TCP));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ph_proxy whole = {0}, h;
    int r = parse(&whole, data, size), last = 0;

    CHECK(r == PH_E_FORMAT || (r >= 0 && (size_t)r <= size && r <= PH_PROXY_V2_MAX));
    CHECK(r != 0 || size < PH_PROXY_V2_MAX);
    if (r > 0)
        check_result(&whole);
    /* All short cuts, and of longer ones those where something may change. */
    for (size_t n = 0; n <= size;
         n +=
         n < 160 || n + 2 >= size || (r > 0 && n + 2 >= (size_t)r && n < (size_t)r + 2) ? 1 : 61) {
        memset(&h, 0, sizeof h);
        int got = parse(&h, data, n);
        CHECK(last == 0 || got == last);
        CHECK(got == 0 || got == r);
        CHECK(got <= 0 || (size_t)got <= n);
        CHECK(got <= 0 || memcmp(&h.src, &whole.src, sizeof h.src) == 0);
        last = got;
    }
    return 0;
}
