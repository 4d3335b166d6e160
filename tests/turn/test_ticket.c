/*
 * Mobility tickets (RFC 8016 4.1): addresses that nobody can make up.
 */
#include "stun/base/error.h"
#include "turn/ticket.h"

#include <criterion/criterion.h>

static const uint8_t key[PH_TICKET_KEY_LEN] = "0123456789abcdef0123456789abcde";

static void make(uint8_t dst[PH_TICKET_LEN], const char *user, const char *realm)
{
    const struct ph_ticket t = {
        .worker = 7, .node = 0xA1B2C3D4, .slot = 0x01020304, .serial = 0x1122334455667788};
    ph_ticket_make(dst, key, &t, ph_str(user), ph_str(realm));
}

static int read_as(const uint8_t *p, size_t n, const char *user, const char *realm)
{
    struct ph_ticket t;
    return ph_ticket_read(&t, key, 1, (struct ph_slice){p, n}, ph_str(user), ph_str(realm));
}

Test(turn_ticket, brings_back_what_was_put_in)
{
    uint8_t b[PH_TICKET_LEN];
    struct ph_ticket t;

    make(b, "alice", "example.org");
    cr_assert_eq(ph_ticket_read(&t, key, 1, (struct ph_slice){b, sizeof b}, ph_str("alice"),
                                ph_str("example.org")),
                 0);
    cr_expect_eq(t.worker, 7);
    cr_expect_eq(t.node, 0xA1B2C3D4);
    cr_expect_eq(t.slot, 0x01020304);
    cr_expect_eq(t.serial, 0x1122334455667788);
}

Test(turn_ticket, is_of_one_user_in_one_realm)
{
    uint8_t b[PH_TICKET_LEN];

    make(b, "alice", "example.org");
    cr_expect_eq(read_as(b, sizeof b, "bob", "example.org"), PH_E_AUTH);
    cr_expect_eq(read_as(b, sizeof b, "alice", "example.net"), PH_E_AUTH);
    cr_expect_eq(read_as(b, sizeof b, "", ""), PH_E_AUTH);
}

/* Name and realm lie side by side in what is hashed. */
Test(turn_ticket, tells_where_a_name_ends)
{
    uint8_t b[PH_TICKET_LEN];

    make(b, "ab", "cd");
    cr_expect_eq(read_as(b, sizeof b, "abc", "d"), PH_E_AUTH);
    cr_expect_eq(read_as(b, sizeof b, "a", "bcd"), PH_E_AUTH);
    cr_expect_eq(read_as(b, sizeof b, "ab", "cd"), 0);
}

Test(turn_ticket, any_changed_bit_is_seen)
{
    uint8_t b[PH_TICKET_LEN];

    make(b, "alice", "example.org");
    for (unsigned i = 0; i < 8 * PH_TICKET_LEN; i++) {
        b[i / 8] = (uint8_t)(b[i / 8] ^ 1u << i % 8);
        cr_expect_eq(read_as(b, sizeof b, "alice", "example.org"), PH_E_AUTH, "bit %u", i);
        b[i / 8] = (uint8_t)(b[i / 8] ^ 1u << i % 8);
    }
    cr_expect_eq(read_as(b, sizeof b, "alice", "example.org"), 0);
}

Test(turn_ticket, other_keys_and_lengths_are_refused)
{
    static const uint8_t other[PH_TICKET_KEY_LEN] = "0123456789abcdef0123456789abcdX";
    uint8_t b[PH_TICKET_LEN + 1] = {0};
    struct ph_ticket t = {.slot = 99};

    make(b, "alice", "example.org");
    cr_expect_eq(ph_ticket_read(&t, other, 1, (struct ph_slice){b, PH_TICKET_LEN}, ph_str("alice"),
                                ph_str("example.org")),
                 PH_E_AUTH);
    cr_expect_eq(t.slot, 99, "nothing is written on failure");
    for (size_t n = 0; n <= sizeof b; n++)
        if (n != PH_TICKET_LEN)
            cr_expect_eq(read_as(b, n, "alice", "example.org"), PH_E_AUTH, "%zu bytes", n);
}

/* Keys change: the newest makes tickets, the others still read them. */
Test(turn_ticket, any_of_several_keys_reads_it)
{
    uint8_t b[PH_TICKET_LEN], keys[3][PH_TICKET_KEY_LEN] = {{1}, {2}, {3}};
    struct ph_ticket t = {.slot = 99};

    make(b, "alice", "example.org");
    const struct ph_slice ticket = {b, sizeof b};
    for (unsigned at = 0; at < 3; at++) {
        uint8_t with[3][PH_TICKET_KEY_LEN];
        memcpy(with, keys, sizeof with);
        memcpy(with[at], key, sizeof key);
        for (unsigned n = 0; n <= 3; n++)
            cr_expect_eq(ph_ticket_read(&t, (const uint8_t *)with, n, ticket, ph_str("alice"),
                                        ph_str("example.org")),
                         at < n ? 0 : PH_E_AUTH, "key %u of %u", at, n);
    }
    cr_expect_eq(ph_ticket_read(&t, (const uint8_t *)keys, 3, ticket, ph_str("alice"),
                                ph_str("example.org")),
                 PH_E_AUTH);
}
