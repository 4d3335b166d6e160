/*
 * Names in a store: keys, numbers, tokens and the names that values are sealed under.  No store here.
 */
#include "stun/base/error.h"
#include "stun/uv/env.h"
#include "turn/store/store_priv.h"

#include <criterion/criterion.h>
#include <inttypes.h>

Test(uv_store_name, names_of_nodes)
{
    static const char *const good[] = {"a", "turn-1.example.org", "A_b-9.", "-"};
    static const char *const bad[] = {"",    "a b",      "a/b", "a:b", "{a}",
                                      "a\n", "\xC3\xA4", "a*",  "a%",  "a\\"};
    char name[PH_STORE_NAME + 1];

    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        cr_expect(ph_store_name_ok(good[i]), "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect(!ph_store_name_ok(bad[i]), "%s", bad[i]);
    cr_expect(!ph_store_name_ok(NULL));
    memset(name, 'n', sizeof name);
    name[63] = '\0';
    cr_expect(ph_store_name_ok(name));
    name[63] = 'n';
    name[64] = '\0';
    cr_expect(!ph_store_name_ok(name), "64 letters");
}

Test(uv_store_name, names_of_kinds_and_prefixes)
{
    cr_expect(ph__store_kind_ok("alloc"));
    cr_expect(ph__store_kind_ok("fifteen-letters"));
    cr_expect(!ph__store_kind_ok("sixteen--letters"));
    cr_expect(!ph__store_kind_ok("owner"), "which is a key of another kind");
    cr_expect(!ph__store_kind_ok("al}loc"));
    cr_expect(!ph__store_kind_ok(""));
    cr_expect(!ph__store_kind_ok(NULL));
    cr_expect(ph__store_prefix_ok("pinhole"));
    cr_expect(ph__store_prefix_ok("acme:turn"));
    cr_expect(!ph__store_prefix_ok(""));
    cr_expect(!ph__store_prefix_ok("a}b"));
    cr_expect(!ph__store_prefix_ok("thirty-two letters is one too many"));
}

Test(uv_store_name, the_longest_key_has_room)
{
    char prefix[32], node[PH_STORE_NAME], kind[PH_STORE_KIND], key[PH__STORE_KEY];

    memset(prefix, 'p', sizeof prefix);
    memset(node, 'n', sizeof node);
    memset(kind, 'k', sizeof kind);
    prefix[31] = node[63] = kind[15] = '\0';
    ph__store_key(key, prefix, node, kind);
    cr_expect_eq(strlen(key), 1 + 31 + 1 + 63 + 2 + 15);
    cr_expect_str_eq(key + strlen(key) - 4, "kkkk");
    cr_expect_eq(ph__store_place(key, node, kind, UINT64_MAX), 63 + 1 + 15 + 1 + 20);
    ph__store_key(key, "pinhole", "a", "alloc");
    cr_expect_str_eq(key, "{pinhole:a}:alloc");
}

Test(uv_store_name, numbers)
{
    static const uint64_t good[] = {0, 1, 9, 10, 3000000000000001, UINT64_MAX - 1, UINT64_MAX};
    static const char *const bad[] = {"",
                                      "01",
                                      "00",
                                      "+1",
                                      "-1",
                                      " 1",
                                      "1 ",
                                      "0x1",
                                      "1a",
                                      "18446744073709551616",
                                      "99999999999999999999",
                                      "100000000000000000000"};
    uint64_t v = 77;

    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        char text[PH__STORE_ID];
        const size_t n = ph__store_id_write(text, good[i]);
        cr_expect_eq(n, strlen(text));
        cr_expect(ph__store_id_read(ph_str(text), &v));
        cr_expect_eq(v, good[i]);
    }
    v = 77;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect(!ph__store_id_read(ph_str(bad[i]), &v), "%s", bad[i]);
    cr_expect_eq(v, 77, "not touched");
    cr_expect(!ph__store_id_read((struct ph_slice){(const uint8_t *)"1\0", 2}, &v));
}

static bool older(const char *a, const char *b)
{
    return ph__store_token_older(ph_str(a), ph_str(b));
}

Test(uv_store_name, tokens)
{
    cr_expect(ph__store_token_ok(ph_str("1795000000000-00112233445566778899aa")));
    cr_expect(ph__store_token_ok(ph_str("999999999999999-00112233445566778899aa")));
    cr_expect(!ph__store_token_ok(ph_str("")));
    cr_expect(!ph__store_token_ok(ph_str("abc")));
    cr_expect(!ph__store_token_ok(ph_str("-abc")));
    cr_expect(!ph__store_token_ok(ph_str("1000000000000000-ab")), "16 digits");
    cr_expect(!ph__store_token_ok(ph_str("1-AB")));
    cr_expect(!ph__store_token_ok(ph_str("1-a b")));
    cr_expect(!ph__store_token_ok(ph_str("1-0123456789012345678901234567890123456789")));
    cr_expect(older("1-ff", "2-00"));
    cr_expect(older("9-ff", "10-00"));
    cr_expect(!older("2-00", "1-ff"));
    cr_expect(!older("1-00", "1-ff"), "another one of the same moment is not older");
    cr_expect(!older("what", "1-ff"));
    cr_expect(!older("1-ff", "what"));
    cr_expect(!older("", ""));
}

/* --- entries --------------------------------------------------------------------------------------- */

static struct ph_fleet_keys keys;
static struct ph_env env;
static uint8_t sealed[256], room[256];

static size_t seal(const char *node, const char *kind, uint64_t id, const char *text)
{
    char place[PH__STORE_KEY];
    const size_t n = ph__store_place(place, node, kind, id);

    env = ph_env_system(NULL);
    keys.n = 1;
    memset(keys.secret[0], 7, sizeof keys.secret[0]);
    const int len = ph_fleet_seal(&keys, sealed, (struct ph_slice){(const uint8_t *)place, n},
                                  ph_str(text), &env);
    cr_assert_gt(len, 0);
    return (size_t)len;
}

static int read_entry(const char *field, size_t n)
{
    uint64_t id;

    return ph__store_entry(&keys, "a", "alloc", ph_str(field), (struct ph_slice){sealed, n}, &id,
                           room);
}

Test(uv_store_name, an_entry_opens_where_it_belongs)
{
    const size_t n = seal("a", "alloc", 12, "twelve");
    uint64_t id = 0;

    const int len =
        ph__store_entry(&keys, "a", "alloc", ph_str("12"), (struct ph_slice){sealed, n}, &id, room);
    cr_expect_eq(len, 6);
    cr_expect_eq(id, 12);
    cr_expect_arr_eq(room, "twelve", 6);
    cr_expect_eq(read_entry("13", n), PH_E_AUTH);
    cr_expect_eq(
        ph__store_entry(&keys, "b", "alloc", ph_str("12"), (struct ph_slice){sealed, n}, &id, room),
        PH_E_AUTH);
    cr_expect_eq(
        ph__store_entry(&keys, "a", "bind", ph_str("12"), (struct ph_slice){sealed, n}, &id, room),
        PH_E_AUTH);
    cr_expect_eq(read_entry("012", n), PH_E_FORMAT);
    cr_expect_eq(read_entry("life", n), PH_E_FORMAT);
}

Test(uv_store_name, an_entry_is_not_read_halves)
{
    const size_t n = seal("a", "alloc", 12, "twelve");

    for (size_t i = 0; i < n; i++)
        cr_expect_lt(read_entry("12", i), 0, "%zu bytes of %zu", i, n);
    for (size_t i = 0; i < n; i++) {
        sealed[i] ^= 0x10;
        const int err = read_entry("12", n);
        cr_expect(err == PH_E_AUTH || err == PH_E_FORMAT, "byte %zu", i);
        sealed[i] ^= 0x10;
    }
    sealed[n] = 0;
    cr_expect_lt(read_entry("12", n + 1), 0);
    cr_expect_eq(read_entry("12", n), 6, "and whole it opens");
    uint64_t id;
    static uint8_t much[PH_STORE_VALUE + 1];
    cr_expect_eq(ph__store_entry(NULL, "a", "alloc", ph_str("1"),
                                 (struct ph_slice){much, sizeof much}, &id, NULL),
                 PH_E_FORMAT, "too long");
}
