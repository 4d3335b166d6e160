/*
 * CRC-32 (ISO 3309, as in zip and PNG), eight bytes a step ("slicing by 8").
 *
 * The tables are linear over XOR: an entry is the XOR of the entries of its bits.  So eight
 * constants make a table, and the compiler spells it out.
 */
#include "stun/codec/fingerprint.h"

#include "stun/base/bytes.h"
#include "stun/base/error.h"
#include "stun/codec/priv.h"

#define BIT(i, b, v) ((i) >> (b)&1 ? (v) : 0U)
#define ENTRY(i, a, b, c, d, e, f, g, h)                                                           \
    (BIT(i, 0, a) ^ BIT(i, 1, b) ^ BIT(i, 2, c) ^ BIT(i, 3, d) ^ BIT(i, 4, e) ^ BIT(i, 5, f) ^     \
     BIT(i, 6, g) ^ BIT(i, 7, h))
#define FOUR(i, ...)                                                                               \
    ENTRY(i, __VA_ARGS__), ENTRY((i) + 1, __VA_ARGS__), ENTRY((i) + 2, __VA_ARGS__),               \
        ENTRY((i) + 3, __VA_ARGS__)
#define SIXTEEN(i, ...)                                                                            \
    FOUR(i, __VA_ARGS__), FOUR((i) + 4, __VA_ARGS__), FOUR((i) + 8, __VA_ARGS__),                  \
        FOUR((i) + 12, __VA_ARGS__)
#define SIXTY_FOUR(i, ...)                                                                         \
    SIXTEEN(i, __VA_ARGS__), SIXTEEN((i) + 16, __VA_ARGS__), SIXTEEN((i) + 32, __VA_ARGS__),       \
        SIXTEEN((i) + 48, __VA_ARGS__)
#define TABLE(...)                                                                                 \
    SIXTY_FOUR(0, __VA_ARGS__), SIXTY_FOUR(64, __VA_ARGS__), SIXTY_FOUR(128, __VA_ARGS__),         \
        SIXTY_FOUR(192, __VA_ARGS__)

/* CRC[k][b]: what byte b contributes when k bytes follow it.  Given for b = 1, 2, 4 ... 128. */
static const uint32_t CRC[8][256] = {
    {TABLE(0x77073096, 0xee0e612c, 0x076dc419, 0x0edb8832, 0x1db71064, 0x3b6e20c8, 0x76dc4190,
           0xedb88320)},
    {TABLE(0x191b3141, 0x32366282, 0x646cc504, 0xc8d98a08, 0x4ac21251, 0x958424a2, 0xf0794f05,
           0x3b83984b)},
    {TABLE(0x01c26a37, 0x0384d46e, 0x0709a8dc, 0x0e1351b8, 0x1c26a370, 0x384d46e0, 0x709a8dc0,
           0xe1351b80)},
    {TABLE(0xb8bc6765, 0xaa09c88b, 0x8f629757, 0xc5b428ef, 0x5019579f, 0xa032af3e, 0x9b14583d,
           0xed59b63b)},
    {TABLE(0x3d6029b0, 0x7ac05360, 0xf580a6c0, 0x30704bc1, 0x60e09782, 0xc1c12f04, 0x58f35849,
           0xb1e6b092)},
    {TABLE(0xcb5cd3a5, 0x4dc8a10b, 0x9b914216, 0xec53826d, 0x03d6029b, 0x07ac0536, 0x0f580a6c,
           0x1eb014d8)},
    {TABLE(0xa6770bb4, 0x979f1129, 0xf44f2413, 0x33ef4e67, 0x67de9cce, 0xcfbd399c, 0x440b7579,
           0x8816eaf2)},
    {TABLE(0xccaa009e, 0x4225077d, 0x844a0efa, 0xd3e51bb5, 0x7cbb312b, 0xf9766256, 0x299dc2ed,
           0x533b85da)},
};

static uint32_t get32le(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint32_t crc32(const uint8_t *p, size_t n)
{
    uint32_t c = 0xFFFFFFFF;
    for (; n >= 8; n -= 8, p += 8) {
        uint32_t a = c ^ get32le(p), b = get32le(p + 4);
        c = CRC[7][a & 0xFF] ^ CRC[6][a >> 8 & 0xFF] ^ CRC[5][a >> 16 & 0xFF] ^ CRC[4][a >> 24] ^
            CRC[3][b & 0xFF] ^ CRC[2][b >> 8 & 0xFF] ^ CRC[1][b >> 16 & 0xFF] ^ CRC[0][b >> 24];
    }
    for (; n; n--)
        c = c >> 8 ^ CRC[0][(c ^ *p++) & 0xFF];
    return ~c;
}

uint32_t ph_fingerprint(const uint8_t *p, size_t n)
{
    return crc32(p, n) ^ PH__FINGERPRINT_XOR;
}

int ph_msg_check_fingerprint(const struct ph_msg *m)
{
    uint32_t at = ph__msg_at(m, PH_IX_FINGERPRINT);
    if (!at)
        return PH_E_MISSING;
    return ph_get32(m->p + at + PH__ATTR_HEADER) == ph_fingerprint(m->p, at) ? 0 : PH_E_FORMAT;
}
