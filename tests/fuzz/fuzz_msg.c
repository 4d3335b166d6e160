/*
 * Any bytes as a STUN message: parse it, read everything in it in every way there is, print it.
 */
#include "fuzz/check.h"
#include "stun/base/error.h"
#include "stun/codec/algs.h"
#include "stun/codec/dump.h"
#include "stun/codec/fingerprint.h"
#include "stun/codec/integrity.h"
#include "stun/codec/msg.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_by_index(const struct ph_msg *m)
{
    for (unsigned i = 0; i < PH_ATTR_COUNT; i++) {
        enum ph_attr_index ix = (enum ph_attr_index)i;
        struct ph_attr_value v;
        char text[128];
        int err = ph_msg_get(m, ix, &v);
        CHECK((err == PH_E_MISSING) == !ph_msg_has(m, ix));
        if (!err)
            CHECK(ph_attr_print(&ph_attr_table[i], &v, text, sizeof text) >= 0);
    }
}

/* What iteration shows must lie in the frame, and its first of a kind be what the index has. */
static void read_in_order(const struct ph_msg *m)
{
    bool seen[PH_ATTR_COUNT] = {false};
    struct ph_msg_it it = {0};
    unsigned unknown = 0;
    while (ph_msg_next(m, &it)) {
        const struct ph_attr_desc *d = ph_attr_find(it.type);
        CHECK(it.value.p >= m->p + 24 && it.value.p + it.value.n <= m->p + m->len);
        if (!d) {
            unknown += ph_attr_required(it.type);
            continue;
        }
        size_t ix = (size_t)(d - ph_attr_table);
        CHECK(seen[ix] || it.value.p == m->p + m->at[ix] * 4u + 4);
        seen[ix] = true;
    }
    for (unsigned ix = 0; ix < PH_ATTR_COUNT; ix++)
        CHECK(seen[ix] == (m->at[ix] != 0));
    uint16_t types[8];
    CHECK((unknown > 0) == m->has_unknown);
    CHECK((ph_msg_unknown(m, types, 8) > 0) == m->has_unknown);
}

static void read_lists(const struct ph_msg *m)
{
    struct ph_slice s, params;
    struct ph_addr a;
    uint16_t code = 0, number;
    uint64_t u;
    unsigned features;
    if (ph_msg_bytes(m, PH_IX_PASSWORD_ALGORITHMS, &s) == 0) {
        ph_algs_choose(s);
        while (ph_algs_next(&s, &number, &params) == 1)
            CHECK(params.p + params.n <= m->p + m->len);
    }
    if (ph_msg_bytes(m, PH_IX_NONCE, &s) == 0)
        ph_nonce_cookie_read(s, &features);
    if (ph_msg_error(m, &code, &s) == 0)
        CHECK(code >= 300 && code <= 699);
    ph_msg_addr(m, PH_IX_XOR_PEER_ADDRESS, &a);
    ph_msg_uint(m, PH_IX_LIFETIME, &u);
}

static void print(const uint8_t *data, size_t size, bool mask)
{
    static char whole[1 << 16];
    char part[64];
    int want = ph_msg_dump(data, size, mask, whole, sizeof whole);
    CHECK(want > 0);
    CHECK((size_t)want >= sizeof whole || strlen(whole) == (size_t)want);
    CHECK(ph_msg_dump(data, size, mask, part, sizeof part) == want);
    CHECK(memcmp(whole, part, strlen(part)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ph_msg m;
    struct ph_slice key = ph_str("VOkJxbRl1RmTxUk/WvJxBt");
    int err = ph_msg_parse(&m, data, size);
    print(data, size, false);
    print(data, size, true);
    if (err) {
        CHECK(err == PH_E_SHORT || err == PH_E_FORMAT);
        return 0;
    }
    CHECK(ph_msg_is_stun(data, size));
    read_by_index(&m);
    read_in_order(&m);
    read_lists(&m);
    ph_msg_check_integrity(&m, key);
    ph_msg_check_integrity_sha256(&m, key);
    ph_msg_check_fingerprint(&m);
    return 0;
}
