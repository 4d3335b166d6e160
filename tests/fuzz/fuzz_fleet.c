/*
 * What other nodes say: entries, notes and orders.  The first byte says how the rest is to be cut; sums must stay what
 * notes have said, and what is asked for must be readable again.
 */
#include "tests/fuzz/check.h"

#include "stun/base/error.h"
#include "turn/fleet.h"

#include <string.h>

static void fill(void *ctx, void *dst, size_t n)
{
    (void)ctx;
    memset(dst, 7, n);
}

static void drain(struct ph_fleet *f)
{
    struct ph_fleet_ev ev;
    char text[PH_FLEET_TEXT];

    while (ph_fleet_event(f, &ev)) {
        if (ev.type == PH_FLEET_ORDERED)
            CHECK(ph_fleet_order(&ev.order, text) > 0);
        if (ev.type == PH_FLEET_ELSEWHERE)
            (void)ph_fleet_count(f, ev.realm, ev.user, (int)(ev.n & 3) - 1);
    }
    for (size_t n; (n = ph_fleet_note(f, text)) > 0;) {
        CHECK(n == strlen(text));
        CHECK(ph_fleet_take(f, ph_str("c"), (struct ph_slice){(uint8_t *)text, n}, 0) !=
              PH_E_FORMAT);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct ph_env env = {.rand = fill};
    const struct ph_fleet_conf c = {.node = "a", .users = 16};
    struct ph_fleet *f = ph_fleet_new(&c, &env);
    char text[PH_FLEET_TEXT];
    ph_ns now = 0;

    CHECK(f);
    (void)ph_fleet_heard(f, ph_str("b"), ph_str("1 load=1"), 0, now);
    (void)ph_fleet_heard(f, ph_str("c"), ph_str("1 load=1"), 0, now);
    while (size > 0) {
        const uint8_t *end = memchr(data, '\n', size);
        const struct ph_slice line = {data, end ? (size_t)(end - data) : size};
        const bool entry = line.n > 0 && *line.p >= '0' && *line.p <= '9';
        if (entry && ph_fleet_heard(f, ph_str("b"), line, 0, now) == 0) {
            unsigned i = 0;
            const struct ph_fleet_node_info *n = ph_fleet_each(f, &i);
            const size_t len = ph_fleet_entry(n, text);
            CHECK(ph_fleet_heard(f, ph_str("b"), (struct ph_slice){(uint8_t *)text, len}, 0, now) ==
                  0);
        } else if (!entry) {
            (void)ph_fleet_take(f, ph_str("b"), line, now);
        }
        data += line.n + (end != NULL);
        size -= line.n + (end != NULL);
        now += PH_SEC(1);
        drain(f);
    }
    ph_fleet_tick(f, now + PH_SEC(10));
    CHECK(ph_fleet_stats(f)->users == 0);
    drain(f);
    ph_fleet_free(f);
    return 0;
}
