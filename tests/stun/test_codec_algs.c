#include "stun/base/error.h"
#include "stun/codec/algs.h"
#include "stun/codec/integrity.h"
#include "support/vectors.h"

#include <criterion/criterion.h>

static unsigned features_of(const char *nonce)
{
    unsigned features = 0xFF;
    return ph_nonce_cookie_read(ph_str(nonce), &features) ? features : 0xFF;
}

Test(codec_algs, writes_the_cookie_as_the_vector_has_it)
{
    char cookie[PH_NONCE_COOKIE_LEN + 1] = {0};
    ph_nonce_cookie_write(cookie, PH_FEATURE_USERNAME_ANONYMITY);
    cr_assert_str_eq(cookie, "obMatJos2AAAC"); /* RFC 8489 B.1 */
    ph_nonce_cookie_write(cookie, PH_FEATURE_PASSWORD_ALGORITHMS);
    cr_assert_str_eq(cookie, "obMatJos2AAAB");
    ph_nonce_cookie_write(cookie, 3);
    cr_assert_str_eq(cookie, "obMatJos2AAAD");
    ph_nonce_cookie_write(cookie, 0);
    cr_assert_str_eq(cookie, "obMatJos2AAAA");
}

Test(codec_algs, reads_both_orders_of_bits)
{
    cr_assert_eq(features_of("obMatJos2AAAB..."), PH_FEATURE_PASSWORD_ALGORITHMS);
    cr_assert_eq(features_of("obMatJos2AAAC..."), PH_FEATURE_USERNAME_ANONYMITY);
    cr_assert_eq(features_of("obMatJos2AAAD"), 3);
    cr_assert_eq(features_of("obMatJos2AAAA"), 0);
    /* RFC 8489 18.1 by the word: bit 0 is the leftmost. */
    cr_assert_eq(features_of("obMatJos2gAAA..."), PH_FEATURE_PASSWORD_ALGORITHMS);
    cr_assert_eq(features_of("obMatJos2QAAA..."), PH_FEATURE_USERNAME_ANONYMITY);
    cr_assert_eq(features_of("obMatJos2wAAA..."), 3);
    /* Features we do not know. */
    cr_assert_eq(features_of("obMatJos2AEAA"), 0);
    cr_assert_eq(features_of("obMatJos2////"), 3);
}

Test(codec_algs, does_not_see_a_cookie_in_other_nonces)
{
    static const char *const OTHERS[] = {
        "",
        "obMatJos2",
        "obMatJos2AAA",
        "obmatjos2AAAB",
        "xobMatJos2AAAB",
        "obMatJos2AA=A",
        "obMatJos2AA A",
        "f//499k954d6OL34oL9FSTvy64sA",
    };
    for (size_t i = 0; i < sizeof OTHERS / sizeof *OTHERS; i++) {
        unsigned features = 7;
        cr_assert(!ph_nonce_cookie_read(ph_str(OTHERS[i]), &features), "%s", OTHERS[i]);
        cr_assert_eq(features, 7);
    }
}

Test(codec_algs, writes_and_reads_a_list)
{
    const uint16_t numbers[] = {PH_ALG_SHA256, PH_ALG_MD5, 0xFFFF};
    uint8_t list[12];
    cr_assert_eq(ph_algs_write(list, sizeof list, numbers, 3), 12);
    cr_assert_eq(memcmp(list, "\0\2\0\0\0\1\0\0\xff\xff\0\0", 12), 0);
    cr_assert_eq(ph_algs_write(list, 11, numbers, 3), PH_E_NOSPACE);
    cr_assert_eq(ph_algs_write(list, 0, numbers, 0), 0);
    struct ph_slice rest = {list, 12}, params;
    for (unsigned i = 0; i < 3; i++) {
        uint16_t number;
        cr_assert_eq(ph_algs_next(&rest, &number, &params), 1);
        cr_assert_eq(number, numbers[i]);
        cr_assert_eq(params.n, 0);
    }
    cr_assert_eq(ph_algs_next(&rest, &(uint16_t){0}, &params), 0);
}

/* A list's bytes, and what choosing from it gives; steps is how many entries there are before the
 * end or the error. */
static const struct {
    const char *list;
    size_t n;
    unsigned steps;
    int end;
    uint16_t choice;
} LISTS[] = {
    {"", 0, 0, 0, PH_ALG_NONE},
    {"\0\1\0\0", 4, 1, 0, PH_ALG_MD5},
    {"\0\2\0\0\0\1\0\0", 8, 2, 0, PH_ALG_SHA256},
    {"\0\1\0\0\0\2\0\0", 8, 2, 0, PH_ALG_SHA256},
    {"\0\3\0\0\0\1\0\0", 8, 2, 0, PH_ALG_MD5},
    {"\0\0\0\0\0\3\0\0", 8, 2, 0, PH_ALG_NONE},
    {"\0\7\0\5abcdeXXX\0\2\0\0", 16, 2, 0, PH_ALG_SHA256},
    {"\0\2\0\0\0\7\0\5abcde", 13, 2, 0, PH_ALG_SHA256}, /* the last padding is the attribute's */
    {"\0\1\0", 3, 0, PH_E_FORMAT, PH_ALG_NONE},
    {"\0\1\0\1", 4, 0, PH_E_FORMAT, PH_ALG_NONE},
    {"\0\1\0\0\0", 5, 1, PH_E_FORMAT, PH_ALG_NONE},
    {"\0\1\xff\xff"
     "abcd",
     8, 0, PH_E_FORMAT, PH_ALG_NONE},
};

Test(codec_algs, walks_lists_and_chooses_the_strongest)
{
    for (size_t i = 0; i < sizeof LISTS / sizeof *LISTS; i++) {
        uint8_t *exact = exact_copy(LISTS[i].list, LISTS[i].n);
        struct ph_slice rest = {exact, LISTS[i].n}, params;
        uint16_t number;
        unsigned steps = 0;
        int r;
        cr_assert_eq(ph_algs_choose(rest), LISTS[i].choice, "list %zu", i);
        while ((r = ph_algs_next(&rest, &number, &params)) == 1)
            steps++;
        cr_assert_eq(r, LISTS[i].end, "list %zu", i);
        cr_assert_eq(steps, LISTS[i].steps, "list %zu", i);
        free(exact);
    }
}
