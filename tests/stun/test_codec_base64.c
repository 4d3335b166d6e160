/*
 * Base64 (RFC 4648 4).
 */
#include "stun/base/error.h"
#include "stun/codec/base64.h"

#include <criterion/criterion.h>
#include <string.h>

/* RFC 4648 10, and the two digits that are not letters. */
static const char *const CASES[][2] = {
    {"", ""},
    {"f", "Zg=="},
    {"fo", "Zm8="},
    {"foo", "Zm9v"},
    {"foob", "Zm9vYg=="},
    {"fooba", "Zm9vYmE="},
    {"foobar", "Zm9vYmFy"},
    {"\xfb\xff\xbf", "+/+/"},
};

Test(codec_base64, writes)
{
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        size_t n = strlen(CASES[i][0]), cap = 4 * ((n + 2) / 3) + 1;
        char *dst = malloc(cap); /* so that a byte too many is seen */
        cr_assert_eq(ph_base64(dst, cap, (const uint8_t *)CASES[i][0], n), strlen(CASES[i][1]));
        cr_assert_str_eq(dst, CASES[i][1]);
        free(dst);
    }
}

Test(codec_base64, reads_with_padding_and_without)
{
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        size_t n = strlen(CASES[i][0]);
        struct ph_slice text = ph_str(CASES[i][1]);
        uint8_t *dst = malloc(n ? n : 1);
        cr_assert_eq(ph_base64_read(dst, n, text), (int)n, "%s", CASES[i][1]);
        cr_expect_eq(memcmp(dst, CASES[i][0], n), 0);
        while (text.n && text.p[text.n - 1] == '=')
            text.n--;
        cr_expect_eq(ph_base64_read(dst, n, text), (int)n);
        if (n)
            cr_expect_eq(ph_base64_read(dst, n - 1, text), PH_E_NOSPACE);
        free(dst);
    }
}

Test(codec_base64, refuses_what_is_none)
{
    static const char *const BAD[] = {
        "Z", "Zg=", "Zg===", "=", "====", "Zg==Zg==", "Zm 9", "Zm-_", "Zh==", "Zm9=", "Zm9vZ"};
    uint8_t dst[16];
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++)
        cr_expect_eq(ph_base64_read(dst, sizeof dst, ph_str(BAD[i])), PH_E_FORMAT, "%s", BAD[i]);
    cr_expect_eq(ph_base64_read(dst, sizeof dst, (struct ph_slice){(const uint8_t *)"Zg\0=", 4}),
                 PH_E_FORMAT);
}
