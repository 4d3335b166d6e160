/*
 * The keys of a fleet: sealing, keys of a day, signed notes.
 */
#include "stun/base/error.h"
#include "stun/codec/integrity.h"
#include "turn/fleetkey.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static uint64_t seed = 42;

static void some_rand(void *ctx, void *dst, size_t n)
{
    uint8_t *p = dst;
    (void)ctx;
    for (size_t i = 0; i < n; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        p[i] = (uint8_t)(seed >> 56);
    }
}

static const struct ph_env env = {.rand = some_rand};

static struct ph_fleet_keys keys_of(const char *first, const char *second)
{
    struct ph_fleet_keys k = {.n = second ? 2 : 1};
    cr_assert_eq(ph_fleet_secret(k.secret[0], ph_str(first)), 0);
    if (second)
        cr_assert_eq(ph_fleet_secret(k.secret[1], ph_str(second)), 0);
    return k;
}

static const char old_text[] = "the old secret of the fleet",
                  new_text[] = "the new secret, of today";

static int open_as(const struct ph_fleet_keys *k, const char *name, const uint8_t *p, size_t n)
{
    uint8_t *dst = malloc(n + 1);
    int got = ph_fleet_open(k, dst, ph_str(name), (struct ph_slice){p, n});
    if (got >= 0)
        cr_expect_eq(memcmp(dst, "the record", 10), 0);
    free(dst);
    return got;
}

Test(turn_fleetkey, secrets_are_hex_or_text)
{
    static const char hex[] = "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F";
    uint8_t a[PH_FLEET_KEY_LEN], b[PH_FLEET_KEY_LEN];

    cr_assert_eq(ph_fleet_secret(a, ph_str(hex)), 0);
    for (uint8_t i = 0; i < PH_FLEET_KEY_LEN; i++)
        cr_expect_eq(a[i], i);
    cr_assert_eq(ph_fleet_secret(a, (struct ph_slice){(const uint8_t *)hex, 62}), 0);
    cr_assert_eq(ph_fleet_secret(b, (struct ph_slice){(const uint8_t *)hex, 63}), 0);
    cr_expect_neq(memcmp(a, b, sizeof a), 0, "text of any length");
    cr_expect_neq(a[5], 5);
    cr_assert_eq(ph_fleet_secret(a, ph_str("0123456789abcdef")), 0);
    cr_assert_eq(ph_fleet_secret(b, ph_str("0123456789abcdef")), 0);
    cr_expect_eq(memcmp(a, b, sizeof a), 0);
    cr_expect_eq(ph_fleet_secret(a, ph_str("0123456789abcde")), PH_E_SHORT);
    cr_expect_eq(ph_fleet_secret(a, ph_str("")), PH_E_SHORT);
}

Test(turn_fleetkey, seals_and_opens)
{
    struct ph_fleet_keys k = keys_of(old_text, NULL);
    uint8_t sealed[100], again[100];
    const struct ph_slice plain = ph_str("the record");
    int n = ph_fleet_seal(&k, sealed, ph_str("node/alloc/7"), plain, &env);

    cr_assert_gt(n, (int)plain.n);
    cr_expect_leq(n, (int)plain.n + PH_FLEET_SEAL_ROOM);
    cr_expect_null(memmem(sealed, (size_t)n, "record", 6));
    cr_expect_eq(open_as(&k, "node/alloc/7", sealed, (size_t)n), 10);
    cr_assert_eq(ph_fleet_seal(&k, again, ph_str("node/alloc/7"), plain, &env), n);
    cr_expect_neq(memcmp(again + 14, sealed + 14, 10), 0, "never twice the same");
    cr_assert_eq(ph_fleet_seal(&k, again, ph_str("x"), (struct ph_slice){NULL, 0}, &env), n - 10);
    cr_expect_eq(ph_fleet_open(&k, sealed, ph_str("x"), (struct ph_slice){again, (size_t)n - 10}),
                 0, "nothing at all");
}

Test(turn_fleetkey, opens_nothing_that_was_changed_or_moved)
{
    struct ph_fleet_keys k = keys_of(old_text, NULL), other = keys_of(new_text, NULL);
    uint8_t sealed[100];
    int n = ph_fleet_seal(&k, sealed, ph_str("a/7"), ph_str("the record"), &env);

    cr_expect_eq(open_as(&k, "a/8", sealed, (size_t)n), PH_E_AUTH);
    cr_expect_eq(open_as(&k, "", sealed, (size_t)n), PH_E_AUTH);
    cr_expect_eq(open_as(&other, "a/7", sealed, (size_t)n), PH_E_AUTH);
    for (int bit = 8; bit < 8 * n; bit++) {
        sealed[bit / 8] = (uint8_t)(sealed[bit / 8] ^ 1u << bit % 8);
        cr_expect_eq(open_as(&k, "a/7", sealed, (size_t)n), PH_E_AUTH, "bit %d", bit);
        sealed[bit / 8] = (uint8_t)(sealed[bit / 8] ^ 1u << bit % 8);
    }
    for (int cut = 0; cut < n; cut++)
        cr_expect_eq(open_as(&k, "a/7", sealed, (size_t)cut), cut < 30 ? PH_E_SHORT : PH_E_AUTH);
    sealed[0] = 2;
    cr_expect_eq(open_as(&k, "a/7", sealed, (size_t)n), PH_E_UNSUPPORTED);
}

/* A new secret comes first and the old one stays second, until everybody has both. */
Test(turn_fleetkey, secrets_are_rolled_over)
{
    struct ph_fleet_keys before = keys_of(old_text, NULL), both = keys_of(new_text, old_text),
                         after = keys_of(new_text, NULL), none = {.n = 0};
    uint8_t a[100], b[100], mac[PH_FLEET_MAC_LEN];
    int n = ph_fleet_seal(&before, a, ph_str("a"), ph_str("the record"), &env);

    cr_assert_eq(ph_fleet_seal(&both, b, ph_str("a"), ph_str("the record"), &env), n);
    cr_expect_eq(open_as(&both, "a", a, (size_t)n), 10);
    cr_expect_eq(open_as(&both, "a", b, (size_t)n), 10);
    cr_expect_eq(open_as(&after, "a", a, (size_t)n), PH_E_AUTH);
    cr_expect_eq(open_as(&after, "a", b, (size_t)n), 10);
    cr_expect_eq(open_as(&before, "a", b, (size_t)n), PH_E_AUTH);
    cr_expect_eq(open_as(&none, "a", b, (size_t)n), PH_E_AUTH);
    cr_expect_eq(ph_fleet_seal(&none, b, ph_str("a"), ph_str("x"), &env), PH_E_ARG);
    ph_fleet_sign(&before, mac, ph_str("a"), ph_str("note"));
    cr_expect(ph_fleet_signed(&both, mac, ph_str("a"), ph_str("note")));
    cr_expect_not(ph_fleet_signed(&after, mac, ph_str("a"), ph_str("note")));
    cr_expect_not(ph_fleet_signed(&none, mac, ph_str("a"), ph_str("note")));
}

/* Of 256 pairs of secrets about one has the same hint: then both must be tried. */
Test(turn_fleetkey, equal_hints_do_no_harm)
{
    struct ph_fleet_keys k = keys_of(new_text, old_text);
    uint8_t sealed[100], other[100];
    const struct ph_slice name = ph_str("a"), plain = ph_str("the record");
    int n = ph_fleet_seal(&k, sealed, name, plain, &env);
    unsigned tries = 0;

    do {
        cr_assert_lt(tries, 10000);
        memcpy(k.secret[1], &(unsigned){++tries}, sizeof tries);
        struct ph_fleet_keys second = {.n = 1};
        memcpy(second.secret[0], k.secret[1], PH_FLEET_KEY_LEN);
        cr_assert_eq(ph_fleet_seal(&second, other, name, plain, &env), n);
    } while (other[1] != sealed[1]);
    cr_expect_eq(open_as(&k, "a", sealed, (size_t)n), 10);
    cr_expect_eq(open_as(&k, "a", other, (size_t)n), 10);
    sealed[20] ^= 1;
    cr_expect_eq(open_as(&k, "a", sealed, (size_t)n), PH_E_AUTH);
}

Test(turn_fleetkey, days)
{
    struct ph_fleet_keys k = keys_of(old_text, new_text);
    uint8_t v[6][PH_FLEET_KEY_LEN], again[PH_FLEET_KEY_LEN];

    cr_expect_eq(ph_fleet_day(0), 0);
    cr_expect_eq(ph_fleet_day(86399), 0);
    cr_expect_eq(ph_fleet_day(86400), 1);
    cr_expect_eq(ph_fleet_day(1800000000), 20833);
    cr_expect_eq(ph_fleet_day(-1), 0);
    ph_fleet_day_key(&k, 0, "nonce", 20833, v[0]);
    ph_fleet_day_key(&k, 0, "nonce", 20834, v[1]);
    ph_fleet_day_key(&k, 0, "ticket", 20833, v[2]);
    ph_fleet_day_key(&k, 1, "nonce", 20833, v[3]);
    memcpy(v[4], k.secret[0], PH_FLEET_KEY_LEN);
    ph_fleet_day_key(&k, 0, "", 20833, v[5]);
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < i; j++)
            cr_expect_neq(memcmp(v[i], v[j], PH_FLEET_KEY_LEN), 0, "%d and %d", i, j);
    ph_fleet_day_key(&k, 0, "nonce", 20833, again);
    cr_expect_eq(memcmp(v[0], again, sizeof again), 0, "every node makes the same");
}

Test(turn_fleetkey, notes_are_signed_under_their_name)
{
    struct ph_fleet_keys k = keys_of(old_text, NULL);
    uint8_t mac[PH_FLEET_MAC_LEN];

    ph_fleet_sign(&k, mac, ph_str("node-a"), ph_str("end 42"));
    cr_expect(ph_fleet_signed(&k, mac, ph_str("node-a"), ph_str("end 42")));
    cr_expect_not(ph_fleet_signed(&k, mac, ph_str("node-b"), ph_str("end 42")));
    cr_expect_not(ph_fleet_signed(&k, mac, ph_str("node-a"), ph_str("end 43")));
    cr_expect_not(ph_fleet_signed(&k, mac, ph_str("node-"), ph_str("aend 42")));
    for (unsigned i = 0; i < 8 * sizeof mac; i++) {
        mac[i / 8] = (uint8_t)(mac[i / 8] ^ 1u << i % 8);
        cr_expect_not(ph_fleet_signed(&k, mac, ph_str("node-a"), ph_str("end 42")));
        mac[i / 8] = (uint8_t)(mac[i / 8] ^ 1u << i % 8);
    }
}

Test(turn_fleetkey, users_and_nodes_have_numbers)
{
    struct ph_fleet_keys k = keys_of(old_text, NULL), other = keys_of(new_text, NULL);
    const uint64_t alice = ph_fleet_user(&k, ph_str("r"), ph_str("alice"));

    cr_expect_eq(alice, ph_fleet_user(&k, ph_str("r"), ph_str("alice")));
    cr_expect_neq(alice, ph_fleet_user(&k, ph_str("r"), ph_str("bob")));
    cr_expect_neq(alice, ph_fleet_user(&k, ph_str("ra"), ph_str("lice")));
    cr_expect_neq(alice, ph_fleet_user(&other, ph_str("r"), ph_str("alice")));
    cr_expect_eq(ph_fleet_node(ph_str("a")), ph_fleet_node(ph_str("a")));
    cr_expect_neq(ph_fleet_node(ph_str("a")), ph_fleet_node(ph_str("b")));
    cr_expect_neq(ph_fleet_node(ph_str("")), 0);
}
