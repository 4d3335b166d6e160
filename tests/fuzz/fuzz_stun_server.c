/* The Binding server.  Input: one byte of set-up, then a datagram.
 *
 *     bits 0..2  by which socket it came (4 to 7: none of the four)
 *     bit 3      RFC 5780 is on
 *     bit 4      the source is IPv6
 *     bit 5      no room behind the request, scratch in front
 *     bit 6      SOFTWARE and FINGERPRINT in all answers
 */
#include "fuzz/check.h"
#include "stun/base/error.h"
#include "stun/codec/fingerprint.h"
#include "stun/server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROOM = 512 };

static struct ph_stund_conf conf(uint8_t setup)
{
    struct ph_stund_conf c = {.rfc5780 = setup & 8, .sock = {10, 11, 12, 13}};
    for (uint8_t i = 0; i < PH_STUND_SOCKETS; i++)
        c.at[i] = ph_addr_v4((const uint8_t[]){198, 51, 100, (uint8_t)(1 + (i >> 1))},
                             (uint16_t)(3478 + (i & 1)), PH_UDP);
    if (setup & 64) {
        c.software = "Pinhole";
        c.always_fingerprint = true;
    }
    return c;
}

/* What must hold for every answer. */
static void check_answer(const uint8_t *p, size_t n, const uint8_t *txid, size_t asked,
                         uint8_t setup)
{
    struct ph_msg m;
    struct ph_addr a;
    CHECK(ph_msg_parse(&m, p, n) == 0);
    CHECK(m.method == PH_BINDING && (m.cls == PH_SUCCESS || m.cls == PH_ERROR));
    CHECK(memcmp(ph_msg_txid(&m), txid, PH_TXID_LEN) == 0);
    CHECK(ph_msg_check_fingerprint(&m) != PH_E_FORMAT);
    CHECK(!m.has_unknown);
    CHECK((ph_msg_addr(&m, PH_IX_XOR_MAPPED_ADDRESS, &a) == 0) == (m.cls == PH_SUCCESS));
    if (!(setup & (8 | 16 | 64))) /* what is on by default, over IPv4 */
        CHECK(n * 5 <= asked * 8);
    CHECK(n <= 192 || n <= asked);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ph_stund s;
    uint8_t txid[PH_TXID_LEN] = {0}, head[PH_HEADROOM];
    if (size < 1 || size > 65536)
        return 0;
    uint8_t setup = *data++;
    struct ph_stund_conf c = conf(setup);
    CHECK(ph_stund_init(&s, &c) == 0);

    size_t asked = size - 1, room = setup & 32 ? 0 : ROOM;
    uint8_t *buf = malloc(asked + room ? asked + room : 1);
    CHECK(buf != NULL);
    memcpy(buf, data, asked);
    if (asked >= PH_STUN_HEADER)
        memcpy(txid, buf + 8, PH_TXID_LEN);
    struct ph_pkt p = {.b = {buf, (uint32_t)(asked + room), 0, (uint32_t)asked},
                       .src = {.family = setup & 16 ? PH_AF_INET6 : PH_AF_INET, .port = 5000},
                       .sock = 10U + (setup & 7),
                       .head = setup & 32 ? head : NULL};
    struct ph_addr client = p.src;
    if (ph_stund_input(&s, &p, 0) == PH_SEND) {
        bool in_head = p.head_len > 0;
        CHECK(!in_head || p.b.len == 0);
        check_answer(in_head ? head : ph_buf_data(&p.b), ph_pkt_wire_len(&p), txid, asked, setup);
        CHECK(ph_addr_eq_ip(&p.dst, &client) && p.dst.port != 0);
        CHECK(p.sock - 10 < 8);
    }
    free(buf);
    return 0;
}
