/* The Binding client.  Input: a datagram; its transaction id is made to fit, so that the rest is looked at. */
#include "fuzz/check.h"
#include "stun/client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void sevens(void *ctx, void *dst, size_t n)
{
    (void)ctx;
    memset(dst, 7, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ph_stunc c;
    struct ph_stunc_ev ev;
    uint8_t out[64];
    if (size > 65536)
        return 0;
    uint8_t *buf = malloc(size ? size : 1);
    CHECK(buf != NULL);
    if (size)
        memcpy(buf, data, size);
    if (size >= PH_STUN_HEADER)
        memset(buf + 8, 7, PH_TXID_LEN);

    ph_stunc_init(&c, &(struct ph_env){.rand = sevens});
    ph_stunc_start(&c, &(struct ph_stunc_ask){.server = {.family = PH_AF_INET, .port = 3478}}, 0);
    struct ph_pkt p = {.b = {out, sizeof out, 0, 0}};
    CHECK(ph_stunc_output(&c, &p, 0));
    p = (struct ph_pkt){.b = {buf, (uint32_t)size, 0, (uint32_t)size}};
    bool taken = ph_stunc_input(&c, &p, 1) == PH_CONSUMED;
    CHECK(ph_stunc_event(&c, &ev) == taken);
    if (taken) {
        CHECK(ev.result == PH_STUNC_MAPPED || ev.result == PH_STUNC_ERROR);
        CHECK((ev.result == PH_STUNC_MAPPED) == (ev.mapped.family != PH_AF_NONE));
        CHECK(memchr(ev.software, 0, sizeof ev.software) != NULL);
    }
    free(buf);
    return 0;
}
