#include "stun/base/error.h"
#include "stun/codec/fingerprint.h"
#include "support/vectors.h"

#include <criterion/criterion.h>

static uint32_t slow_crc(const uint8_t *p, size_t n)
{
    uint32_t c = 0xFFFFFFFF;
    while (n--) {
        c ^= *p++;
        for (int i = 0; i < 8; i++)
            c = c >> 1 ^ (c & 1 ? 0xEDB88320 : 0);
    }
    return ~c;
}

Test(codec_fingerprint, is_crc_32_xor_stun)
{
    /* The check value of the CRC catalogue. */
    cr_assert_eq(ph_fingerprint((const uint8_t *)"123456789", 9) ^ 0x5354554E, 0xCBF43926);
    cr_assert_eq(ph_fingerprint(NULL, 0), 0x5354554E);
}

Test(codec_fingerprint, agrees_with_the_bitwise_definition)
{
    uint8_t p[300];
    uint64_t state = 9;
    for (size_t i = 0; i < sizeof p; i++)
        p[i] = (uint8_t)test_random(&state);
    for (size_t n = 0; n <= sizeof p; n++) {
        uint8_t *exact = exact_copy(p, n);
        cr_assert_eq(ph_fingerprint(exact, n), slow_crc(p, n) ^ 0x5354554E, "%zu bytes", n);
        free(exact);
    }
}

Test(codec_fingerprint, fails_for_every_flipped_bit)
{
    struct vector v = vector_load(VECTORS[0].file);
    struct ph_msg m;
    cr_assert_eq(ph_msg_parse(&m, v.b, v.n), 0);
    cr_assert_eq(ph_msg_check_fingerprint(&m), 0);
    for (size_t bit = 0; bit < 8 * v.n; bit++) {
        v.b[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (ph_msg_parse(&m, v.b, v.n) == 0)
            cr_assert_neq(ph_msg_check_fingerprint(&m), 0, "bit %zu", bit);
        v.b[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

Test(codec_fingerprint, may_be_missing)
{
    struct vector v = vector_load("rfc5769-2.4-long-term.hex");
    struct ph_msg m;
    cr_assert_eq(ph_msg_parse(&m, v.b, v.n), 0);
    cr_assert_eq(ph_msg_check_fingerprint(&m), PH_E_MISSING);
}
