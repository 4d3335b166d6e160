/*
 * Long-term credentials: static users, REST names in all their forms, and names meant to hurt.
 */
#include "stun/base/error.h"
#include "stun/codec/base64.h"
#include "support/oom.h"
#include "turn/auth.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define REALM "pinhole.example"

enum { NOW = 1700000000 };

static void fixed_rand(void *ctx, void *dst, size_t n)
{
    (void)ctx;
    memset(dst, 0x5A, n);
}

static const struct ph_env ENV = {.rand = fixed_rand};

static struct ph_auth *auth_new(void)
{
    struct ph_auth *a = ph_auth_new(REALM, &ENV);
    cr_assert_not_null(a);
    return a;
}

static void add_user(struct ph_auth *a, const char *name, const char *password)
{
    cr_assert_eq(ph_auth_add_user(a, ph_str(name), ph_str(password)), 0);
}

static void add_secret(struct ph_auth *a, const char *secret)
{
    cr_assert_eq(ph_auth_add_secret(a, ph_str(secret)), 0);
}

static int find(const struct ph_auth *a, const char *name, uint16_t alg, unsigned nth,
                struct ph_auth_match *out)
{
    return ph_auth_find(a, ph_str(name), alg, NOW, nth, out);
}

static struct ph_key key_of(uint16_t alg, struct ph_slice name, const char *password)
{
    struct ph_key k;
    cr_assert_eq(ph_key_long_term(&k, alg, name, ph_str(REALM), ph_str(password)), 0);
    return k;
}

static void expect_key(const struct ph_key *got, struct ph_key want)
{
    cr_expect_eq(got->alg, want.alg);
    cr_expect_eq(got->n, want.n);
    cr_expect_eq(memcmp(got->b, want.b, want.n), 0, "another key");
}

static void expect_slice(struct ph_slice got, const char *want)
{
    cr_expect(ph_slice_eq(got, ph_str(want)), "\"%.*s\", not \"%s\"", (int)got.n,
              (const char *)got.p, want);
}

/* What an application server computes for a REST name. */
static void rest_password(char out[29], const char *secret, struct ph_slice name)
{
    uint8_t mac[PH_SHA1_LEN];
    ph_hmac_sha1(mac, ph_str(secret), &name, 1);
    ph_base64(out, 29, mac, sizeof mac);
}

static void expect_rest(const struct ph_auth *a, const char *name, const char *secret, unsigned nth,
                        const char *id, int64_t expires)
{
    struct ph_auth_match m;
    char password[29];
    cr_assert_eq(find(a, name, PH_ALG_MD5, nth, &m), 0, "%s", name);
    rest_password(password, secret, ph_str(name));
    expect_key(&m.key, key_of(PH_ALG_MD5, ph_str(name), password));
    expect_slice(m.id, id);
    expect_slice(m.name, name);
    cr_expect_eq(m.expires_unix_s, expires);
}

Test(turn_auth, finds_static_users_by_name)
{
    struct ph_auth *a = auth_new();
    struct ph_auth_match m;
    expect_slice(ph_auth_realm(a), REALM);
    add_user(a, "alice", "secret");
    add_user(a, "bob", "");
    cr_assert_eq(find(a, "alice", PH_ALG_MD5, 0, &m), 0);
    expect_key(&m.key, key_of(PH_ALG_MD5, ph_str("alice"), "secret"));
    expect_slice(m.id, "alice");
    expect_slice(m.name, "alice");
    cr_expect_eq(m.expires_unix_s, INT64_MAX);
    cr_assert_eq(find(a, "alice", PH_ALG_SHA256, 0, &m), 0);
    expect_key(&m.key, key_of(PH_ALG_SHA256, ph_str("alice"), "secret"));
    cr_expect_eq(find(a, "alice", PH_ALG_MD5, 1, &m), PH_E_MISSING);
    cr_expect_eq(find(a, "bob", PH_ALG_MD5, 0, &m), 0);
    cr_expect_eq(find(a, "Alice", PH_ALG_MD5, 0, &m), PH_E_MISSING);
    cr_expect_eq(find(a, "carol", PH_ALG_MD5, 0, &m), PH_E_MISSING);
    cr_expect_eq(find(a, "alice", PH_ALG_NONE, 0, &m), PH_E_MISSING);
    cr_expect_eq(find(a, "alice", 3, 0, &m), PH_E_MISSING);
    ph_auth_free(a);
}

/* RFC 8489 9.2.2: the key of user "user", realm "realm" and password "pass". */
Test(turn_auth, computes_the_long_term_key)
{
    static const uint8_t KEY[16] = {0x84, 0x93, 0xFB, 0xC5, 0x3B, 0xA5, 0x82, 0xFB,
                                    0x4C, 0x04, 0x4C, 0x45, 0x6B, 0xDC, 0x40, 0xEB};
    struct ph_auth *a = ph_auth_new("realm", &ENV);
    struct ph_auth_match m;
    cr_assert_eq(ph_auth_add_user(a, ph_str("user"), ph_str("pass")), 0);
    cr_assert_eq(ph_auth_find(a, ph_str("user"), PH_ALG_MD5, NOW, 0, &m), 0);
    cr_expect_eq(memcmp(m.key.b, KEY, sizeof KEY), 0);
    ph_auth_free(a);
}

Test(turn_auth, takes_a_ready_key_for_md5_alone)
{
    struct ph_auth *a = auth_new();
    struct ph_auth_match m;
    struct ph_key k = key_of(PH_ALG_MD5, ph_str("alice"), "secret");
    cr_expect(ph_auth_has_sha256(a));
    cr_assert_eq(ph_auth_add_user_key(a, ph_str("alice"), k.b), 0);
    cr_expect_not(ph_auth_has_sha256(a));
    cr_assert_eq(find(a, "alice", PH_ALG_MD5, 0, &m), 0);
    expect_key(&m.key, k);
    cr_expect_eq(find(a, "alice", PH_ALG_SHA256, 0, &m), PH_E_MISSING);
    ph_auth_free(a);
}

Test(turn_auth, replaces_a_user_of_the_same_name)
{
    struct ph_auth *a = auth_new();
    struct ph_auth_match m;
    struct ph_key k = key_of(PH_ALG_MD5, ph_str("alice"), "third");
    add_user(a, "alice", "first");
    add_user(a, "alice", "second");
    cr_assert_eq(find(a, "alice", PH_ALG_MD5, 0, &m), 0);
    expect_key(&m.key, key_of(PH_ALG_MD5, ph_str("alice"), "second"));
    cr_expect_eq(find(a, "alice", PH_ALG_MD5, 1, &m), PH_E_MISSING);
    cr_assert_eq(ph_auth_add_user_key(a, ph_str("alice"), k.b), 0);
    cr_assert_eq(ph_auth_add_user_key(a, ph_str("alice"), k.b), 0);
    cr_expect_not(ph_auth_has_sha256(a));
    cr_expect_eq(find(a, "alice", PH_ALG_SHA256, 0, &m), PH_E_MISSING);
    add_user(a, "alice", "fourth");
    cr_expect(ph_auth_has_sha256(a));
    cr_assert_eq(find(a, "alice", PH_ALG_SHA256, 0, &m), 0);
    expect_key(&m.key, key_of(PH_ALG_SHA256, ph_str("alice"), "fourth"));
    ph_auth_free(a);
}

Test(turn_auth, finds_each_of_many_users)
{
    struct ph_auth *a = auth_new();
    for (int i = 0; i < 2000; i++) {
        char name[16];
        snprintf(name, sizeof name, "user%d", i);
        add_user(a, name, name);
    }
    for (int i = 0; i < 2000; i += 37) {
        char name[16];
        struct ph_auth_match m;
        uint8_t hash[PH_SHA256_LEN];
        struct ph_slice found;
        snprintf(name, sizeof name, "user%d", i);
        cr_assert_eq(find(a, name, PH_ALG_MD5, 0, &m), 0, "%s", name);
        expect_key(&m.key, key_of(PH_ALG_MD5, ph_str(name), name));
        ph_userhash(hash, ph_str(name), ph_str(REALM));
        cr_assert_eq(ph_auth_unhash(a, hash, &found), 0, "%s", name);
        expect_slice(found, name);
    }
    ph_auth_free(a);
}

Test(turn_auth, resolves_userhashes)
{
    struct ph_auth *a = auth_new();
    uint8_t hash[PH_SHA256_LEN];
    struct ph_slice name = {0};
    ph_userhash(hash, ph_str("alice"), ph_str(REALM));
    cr_expect_eq(ph_auth_unhash(a, hash, &name), PH_E_MISSING);
    add_user(a, "alice", "secret");
    cr_expect(ph_auth_has_userhash(a));
    cr_assert_eq(ph_auth_unhash(a, hash, &name), 0);
    expect_slice(name, "alice");
    hash[31] ^= 1;
    cr_expect_eq(ph_auth_unhash(a, hash, &name), PH_E_MISSING);
    ph_userhash(hash, ph_str("alice"), ph_str("elsewhere"));
    cr_expect_eq(ph_auth_unhash(a, hash, &name), PH_E_MISSING);
    add_secret(a, "s");
    cr_expect_not(ph_auth_has_userhash(a), "REST names have no hash that is known beforehand");
    ph_auth_free(a);
}

/* Two passwords computed outside of this program:
 *   printf '1700000000:alice' | openssl dgst -sha1 -hmac logen -binary | base64, and with -sha256 */
Test(turn_auth, takes_the_passwords_other_programs_make)
{
    struct ph_auth *a = auth_new();
    struct ph_auth_match m;
    char password[29];
    rest_password(password, "logen", ph_str("1700000000:alice"));
    cr_expect_str_eq(password, "EK6/0aI40ZEFo+JCn7vjJ3DBlbY=");
    add_secret(a, "logen");
    cr_assert_eq(find(a, "1700000000:alice", PH_ALG_MD5, 0, &m), 0);
    expect_key(&m.key, key_of(PH_ALG_MD5, ph_str("1700000000:alice"), password));
    cr_assert_eq(find(a, "1700000000:alice", PH_ALG_MD5, 1, &m), 0);
    expect_key(&m.key, key_of(PH_ALG_MD5, ph_str("1700000000:alice"),
                              "7C1yJqOipepqD95AE31ZnLkYb7ppYYPmRDxz4S5XwsY="));
    cr_expect_eq(find(a, "1700000000:alice", PH_ALG_MD5, 2, &m), PH_E_MISSING);
    ph_auth_free(a);
}

/* Roll-over and the two digests at once: all of the old way first, as it is what nearly all use. */
Test(turn_auth, tries_both_digests_of_every_secret)
{
    struct ph_auth *a = auth_new();
    struct ph_auth_match m[5];
    add_secret(a, "new");
    add_secret(a, "old");
    for (unsigned i = 0; i < 4; i++) {
        cr_assert_eq(find(a, "1700000600:alice", PH_ALG_SHA256, i, &m[i]), 0);
        for (unsigned k = 0; k < i; k++)
            cr_expect_neq(memcmp(m[i].key.b, m[k].key.b, 32), 0, "%u and %u", i, k);
        expect_slice(m[i].id, "alice");
    }
    cr_expect_eq(find(a, "1700000600:alice", PH_ALG_SHA256, 4, &m[4]), PH_E_MISSING);
    ph_auth_free(a);
}

Test(turn_auth, reads_limits_in_rest_names)
{
    static const struct {
        const char *name, *id;
        uint64_t bps;
        uint32_t quota;
    } TABLE[] = {
        {"1700000600:alice;max-bps=125000;user-quota=2", "alice", 125000, 2},
        {"1700000600:alice;user-quota=2;max-bps=125000", "alice", 125000, 2},
        {"alice;max-bps=1;user-quota=3:1700000600", "alice", 1, 3},
        {"1700000600:alice", "alice", 0, 0},
        {"1700000600:alice;", "alice", 0, 0},
        {"1700000600:alice;;;max-bps=5;;", "alice", 5, 0},
        {"1700000600:;max-bps=5", "", 5, 0},
        {"1700000600:a;room=7;max-bps=5;x", "a", 5, 0}, /* others' parameters */
        {"1700000600:a;max-bps=", "a", 0, 0},
        {"1700000600:a;max-bps", "a", 0, 0},
        {"1700000600:a;max-bps=-5", "a", 0, 0},
        {"1700000600:a;max-bps=5x", "a", 0, 0},
        {"1700000600:a;max-bps= 5", "a", 0, 0},
        {"1700000600:a;MAX-BPS=5", "a", 0, 0},
        {"1700000600:a;max-bps=5;max-bps=6", "a", 6, 0},
        {"1700000600:a;max-bps=18446744073709551615", "a", 0, 0}, /* nobody means that */
        {"1700000600:a;max-bps=1844674407370955160", "a", 1844674407370955160u, 0},
        {"1700000600:a;max-bps=99999999999999999999999999", "a", 0, 0},
        {"1700000600:a;user-quota=4294967296", "a", 0, UINT32_MAX},
        {"1700000600:a;user-quota=4294967295", "a", 0, UINT32_MAX},
    };
    struct ph_auth *a = auth_new();
    struct ph_auth_match m;
    add_secret(a, "logen");
    for (size_t i = 0; i < sizeof TABLE / sizeof *TABLE; i++) {
        cr_assert_eq(find(a, TABLE[i].name, PH_ALG_MD5, 0, &m), 0, "%s", TABLE[i].name);
        expect_slice(m.id, TABLE[i].id);
        expect_slice(m.name, TABLE[i].name);
        cr_expect_eq(m.max_bps, TABLE[i].bps, "%s: %lu", TABLE[i].name, (unsigned long)m.max_bps);
        cr_expect_eq(m.max_allocations, TABLE[i].quota, "%s", TABLE[i].name);
    }
    /* The secret vouches for the limits: the password is of the whole name. */
    expect_rest(a, "1700000600:alice;max-bps=9", "logen", 0, "alice", 1700000600);
    /* Where the semicolon separates time and id there is nothing left to mark parameters with. */
    ph_auth_rest_separator(a, ';');
    cr_assert_eq(find(a, "1700000600;alice;max-bps=9", PH_ALG_MD5, 0, &m), 0);
    expect_slice(m.id, "alice;max-bps=9");
    cr_expect_eq(m.max_bps, 0);
    ph_auth_free(a);
}

Test(turn_auth, limits_static_users)
{
    struct ph_auth *a = auth_new();
    struct ph_auth_match m;
    const struct ph_auth_limits l = {3, 1000, 1700000005}, none = {0};
    add_user(a, "alice", "secret");
    add_user(a, "semi;max-bps=7", "secret");
    cr_expect_eq(ph_auth_limit_user(a, ph_str("bob"), &l), PH_E_MISSING);
    cr_assert_eq(ph_auth_limit_user(a, ph_str("alice"), &l), 0);
    cr_assert_eq(find(a, "alice", PH_ALG_MD5, 0, &m), 0);
    cr_expect_eq(m.max_allocations, 3);
    cr_expect_eq(m.max_bps, 1000);
    cr_expect_eq(m.expires_unix_s, 1700000005);
    cr_expect_eq(ph_auth_find(a, ph_str("alice"), PH_ALG_MD5, 1700000005, 0, &m), 0);
    cr_expect_eq(ph_auth_find(a, ph_str("alice"), PH_ALG_MD5, 1700000006, 0, &m), PH_E_AUTH);
    add_user(a, "alice", "another"); /* a new password does not lift them */
    cr_assert_eq(find(a, "alice", PH_ALG_MD5, 0, &m), 0);
    cr_expect_eq(m.max_bps, 1000);
    cr_assert_eq(ph_auth_limit_user(a, ph_str("alice"), &none), 0);
    cr_assert_eq(find(a, "alice", PH_ALG_MD5, 0, &m), 0);
    cr_expect_eq(m.expires_unix_s, INT64_MAX);
    cr_assert_eq(find(a, "semi;max-bps=7", PH_ALG_MD5, 0, &m), 0);
    expect_slice(m.id, "semi;max-bps=7");
    cr_expect_eq(m.max_bps, 0, "what a static user may is said elsewhere");
    ph_auth_free(a);
}

Test(turn_auth, counts_users_and_secrets)
{
    struct ph_auth *a = auth_new();
    cr_expect_eq(ph_auth_users(a), 0);
    cr_expect_eq(ph_auth_secrets(a), 0);
    add_user(a, "alice", "1");
    add_user(a, "alice", "2");
    add_user(a, "bob", "1");
    add_secret(a, "x");
    add_secret(a, "x");
    cr_expect_eq(ph_auth_users(a), 2);
    cr_expect_eq(ph_auth_secrets(a), 1);
    ph_auth_free(a);
}

/* Whatever a REST name holds: it is bytes to be hashed, and its parameters end where it does. */
Test(turn_auth, takes_hostile_rest_names)
{
    static uint8_t name[508];
    static const char *const BYTES[] = {"%s%n", "/", "*?[", "\r\n\x1b", ";", "=", ":", "\xff\xfe"};
    struct ph_auth *a = auth_new();
    add_secret(a, "logen");
    for (size_t i = 0; i < sizeof BYTES / sizeof *BYTES; i++) {
        struct ph_auth_match m;
        size_t k = strlen(BYTES[i]);
        for (size_t at = 0; at < sizeof name; at++)
            name[at] = (uint8_t)BYTES[i][at % k];
        memcpy(name, "1700000600:", 11);
        struct ph_slice s = {name, sizeof name};
        cr_assert_eq(ph_auth_find(a, s, PH_ALG_MD5, NOW, 0, &m), 0, "%zu", i);
        char password[29];
        rest_password(password, "logen", s);
        expect_key(&m.key, key_of(PH_ALG_MD5, s, password));
        cr_expect(m.id.p == name + 11 && m.id.n <= sizeof name - 11);
    }
    ph_auth_free(a);
}

Test(turn_auth, takes_rest_names_in_all_forms)
{
    struct ph_auth *a = auth_new();
    add_secret(a, "logen");
    expect_rest(a, "1700000600:alice", "logen", 0, "alice", 1700000600);
    expect_rest(a, "alice:1700000600", "logen", 0, "alice", 1700000600);
    expect_rest(a, "1700000600", "logen", 0, "1700000600", 1700000600);
    expect_rest(a, "1700000600:", "logen", 0, "", 1700000600);
    expect_rest(a, ":1700000600", "logen", 0, "", 1700000600);
    expect_rest(a, "1700000600:a:b", "logen", 0, "a:b", 1700000600);
    expect_rest(a, "a:b:1700000600", "logen", 0, "a:b", 1700000600);
    expect_rest(a, "1700000600:1800000000", "logen", 0, "1800000000", 1700000600);
    expect_rest(a, "@alice:example.org:1700000600", "logen", 0, "@alice:example.org", 1700000600);
    ph_auth_free(a);
}

Test(turn_auth, gives_rest_users_sha256_too)
{
    struct ph_auth *a = auth_new();
    struct ph_auth_match m;
    char password[29];
    add_secret(a, "logen");
    cr_expect(ph_auth_has_sha256(a));
    cr_assert_eq(find(a, "1700000600:alice", PH_ALG_SHA256, 0, &m), 0);
    rest_password(password, "logen", ph_str("1700000600:alice"));
    expect_key(&m.key, key_of(PH_ALG_SHA256, ph_str("1700000600:alice"), password));
    ph_auth_free(a);
}

Test(turn_auth, tries_several_secrets_in_order)
{
    struct ph_auth *a = auth_new();
    struct ph_auth_match m;
    add_secret(a, "new");
    add_secret(a, "old");
    add_secret(a, "new"); /* known already */
    expect_rest(a, "1700000600:alice", "new", 0, "alice", 1700000600);
    expect_rest(a, "1700000600:alice", "old", 1, "alice", 1700000600);
    cr_expect_eq(find(a, "1700000600:alice", PH_ALG_MD5, 4, &m), PH_E_MISSING);
    cr_expect_eq(find(a, "1700000600:alice", PH_ALG_MD5, 4000000000u, &m), PH_E_MISSING);
    cr_expect_eq(ph_auth_add_secret(a, ph_str("")), PH_E_ARG);
    ph_auth_free(a);
}

Test(turn_auth, ends_rest_names_at_their_second)
{
    struct ph_auth *a = auth_new();
    struct ph_auth_match m;
    struct ph_slice name = ph_str("1700000600:alice");
    add_secret(a, "logen");
    cr_expect_eq(ph_auth_find(a, name, PH_ALG_MD5, 1700000599, 0, &m), 0);
    cr_expect_eq(ph_auth_find(a, name, PH_ALG_MD5, 1700000600, 0, &m), 0);
    cr_expect_eq(ph_auth_find(a, name, PH_ALG_MD5, 1700000601, 0, &m), PH_E_AUTH);
    cr_expect_eq(find(a, "0:alice", PH_ALG_MD5, 0, &m), PH_E_AUTH);
    cr_expect_eq(find(a, "00000000000000000000000001:alice", PH_ALG_MD5, 0, &m), PH_E_AUTH);
    ph_auth_free(a);
}

Test(turn_auth, survives_times_beyond_64_bits)
{
    struct ph_auth *a = auth_new();
    struct ph_auth_match m;
    add_secret(a, "logen");
    cr_expect_eq(find(a, "9223372036854775807:a", PH_ALG_MD5, 0, &m), 0);
    cr_expect_geq(m.expires_unix_s, INT64_MAX - 9);
    cr_expect_eq(find(a, "9223372036854775808:a", PH_ALG_MD5, 0, &m), 0);
    cr_expect_geq(m.expires_unix_s, INT64_MAX - 9);
    cr_expect_eq(find(a, "99999999999999999999999999999999999999:a", PH_ALG_MD5, 0, &m), 0);
    cr_expect_geq(m.expires_unix_s, INT64_MAX - 9);
    cr_expect_eq(find(a, "18446744073709551617:a", PH_ALG_MD5, 0, &m), 0, "must not wrap to 1");
    ph_auth_free(a);
}

Test(turn_auth, knows_what_is_no_rest_name)
{
    static const char *const NOT[] = {
        "alice",         ":",        "::",          ":alice",       "alice:",
        "alice:bob",     "-1:alice", "+1:alice",    "1.5:alice",    "0x70000000:alice",
        " 1700000600:a", "alice:-1", "1700000600 ", "1700000600;a", "a:1700000600x",
    };
    struct ph_auth *a = auth_new();
    struct ph_auth_match m;
    add_secret(a, "logen");
    for (size_t i = 0; i < sizeof NOT / sizeof *NOT; i++)
        cr_expect_eq(find(a, NOT[i], PH_ALG_MD5, 0, &m), PH_E_MISSING, "\"%s\"", NOT[i]);
    ph_auth_free(a);
}

Test(turn_auth, takes_another_separator)
{
    struct ph_auth *a = auth_new();
    struct ph_auth_match m;
    add_secret(a, "logen");
    ph_auth_rest_separator(a, '|');
    expect_rest(a, "1700000600|alice", "logen", 0, "alice", 1700000600);
    expect_rest(a, "al:ice|1700000600", "logen", 0, "al:ice", 1700000600);
    cr_expect_eq(find(a, "1700000600:alice", PH_ALG_MD5, 0, &m), PH_E_MISSING);
    ph_auth_free(a);
}

Test(turn_auth, serves_static_and_rest_users_together)
{
    struct ph_auth *a = auth_new();
    struct ph_auth_match m;
    add_user(a, "alice", "secret");
    add_secret(a, "one");
    add_secret(a, "two");
    cr_expect_eq(find(a, "alice", PH_ALG_MD5, 0, &m), 0);
    cr_expect_eq(find(a, "alice", PH_ALG_MD5, 1, &m), PH_E_MISSING);
    expect_rest(a, "1700000600:alice", "two", 1, "alice", 1700000600);
    /* A static user may look like a REST name: its own key is tried first. */
    add_user(a, "1700000600:bob", "x");
    cr_assert_eq(find(a, "1700000600:bob", PH_ALG_MD5, 0, &m), 0);
    expect_key(&m.key, key_of(PH_ALG_MD5, ph_str("1700000600:bob"), "x"));
    expect_rest(a, "1700000600:bob", "one", 1, "bob", 1700000600);
    expect_rest(a, "1700000600:bob", "two", 2, "bob", 1700000600);
    cr_expect_eq(find(a, "1700000600:bob", PH_ALG_MD5, 5, &m), PH_E_MISSING);
    add_user(a, "1600000000:carl", "x");
    cr_expect_eq(find(a, "1600000000:carl", PH_ALG_MD5, 0, &m), 0);
    cr_expect_eq(find(a, "1600000000:carl", PH_ALG_MD5, 1, &m), PH_E_MISSING);
    ph_auth_free(a);
}

/* Names are bytes, never formats or C strings. */
Test(turn_auth, takes_hostile_names)
{
    static const uint8_t NUL[] = {'a', 0, 'b'}, BARE_NUL[] = {0}, HIGH[] = {0xFF, 0xC0, 0x80};
    const struct ph_slice hostile[] = {
        ph_str("%s%n%d%x"), ph_str("../../etc/passwd"), ph_str("a b\r\nc"), ph_str("*?[a-z]"),
        ph_str("a/b"),      {NUL, sizeof NUL},          {BARE_NUL, 1},      {HIGH, sizeof HIGH},
    };
    enum { N = sizeof hostile / sizeof *hostile };
    struct ph_auth *a = auth_new();
    struct ph_auth_match m;
    for (size_t i = 0; i < N; i++)
        cr_assert_eq(ph_auth_add_user(a, hostile[i], ph_str("pw")), 0);
    for (size_t i = 0; i < N; i++) {
        cr_assert_eq(ph_auth_find(a, hostile[i], PH_ALG_MD5, NOW, 0, &m), 0, "name %zu", i);
        expect_key(&m.key, key_of(PH_ALG_MD5, hostile[i], "pw"));
        cr_expect(ph_slice_eq(m.id, hostile[i]));
    }
    cr_expect_eq(find(a, "a", PH_ALG_MD5, 0, &m), PH_E_MISSING, "cut at the NUL");
    ph_auth_free(a);
}

Test(turn_auth, bounds_the_length_of_names)
{
    static uint8_t name[600];
    struct ph_auth *a = auth_new();
    struct ph_auth_match m;
    memset(name, '7', sizeof name);
    add_secret(a, "logen");
    cr_expect_eq(ph_auth_add_user(a, (struct ph_slice){name, 0}, ph_str("pw")), PH_E_ARG);
    cr_expect_eq(ph_auth_add_user(a, (struct ph_slice){NULL, 0}, ph_str("pw")), PH_E_ARG);
    cr_expect_eq(ph_auth_add_user(a, (struct ph_slice){name, 509}, ph_str("pw")), PH_E_ARG);
    cr_expect_eq(ph_auth_add_user(a, (struct ph_slice){name, 508}, ph_str("pw")), 0);
    cr_expect_eq(ph_auth_add_user_key(a, (struct ph_slice){name, 509}, name), PH_E_ARG);
    cr_expect_eq(ph_auth_find(a, (struct ph_slice){name, 508}, PH_ALG_MD5, NOW, 0, &m), 0);
    cr_expect_eq(ph_auth_find(a, (struct ph_slice){name, 508}, PH_ALG_MD5, NOW, 1, &m), 0);
    cr_expect_eq(ph_auth_find(a, (struct ph_slice){name, 509}, PH_ALG_MD5, NOW, 0, &m),
                 PH_E_MISSING);
    cr_expect_eq(ph_auth_find(a, (struct ph_slice){name, 0}, PH_ALG_MD5, NOW, 0, &m), PH_E_MISSING);
    cr_expect_eq(ph_auth_find(a, (struct ph_slice){NULL, 0}, PH_ALG_MD5, NOW, 0, &m), PH_E_MISSING);
    ph_auth_free(a);
    ph_auth_free(NULL);
}

Test(turn_auth, survives_want_of_memory)
{
    for (unsigned n = 1;; n++) {
        oom_fail_at(n);
        struct ph_auth *a = ph_auth_new(REALM, &ENV);
        int err = a ? 0 : PH_E_NOMEM;
        for (unsigned i = 0; i < 40 && !err; i++) {
            char text[16];
            struct ph_auth_match m;
            snprintf(text, sizeof text, "name%u", i);
            err = i % 4 ? ph_auth_add_user(a, ph_str(text), ph_str("pw"))
                        : ph_auth_add_secret(a, ph_str(text));
            if (!err && i % 4)
                cr_assert_eq(find(a, text, PH_ALG_MD5, 0, &m), 0);
            else if (i % 4)
                cr_assert_eq(find(a, text, PH_ALG_MD5, 0, &m), PH_E_MISSING, "half added");
        }
        bool failed = oom_disarm();
        cr_assert_eq(err, failed ? PH_E_NOMEM : 0);
        ph_auth_free(a);
        if (!failed)
            break;
    }
}
