/* The Binding server's RFC 5780 side: from where it answers, to where, and how much it pads. */
#include "support/vectors.h"
#include "tests/stun/stund_kit.h"

/* RFC 5780 6.1, table 1, on each of the four sockets. */
Test(stun_server_discovery, picks_the_socket_that_change_request_names)
{
    struct ph_stund_conf c = discovery_conf();
    for (unsigned from = 0; from < 4; from++)
        for (unsigned flags = 0; flags < 4; flags++) {
            unsigned to = from ^ flags;
            struct trial *t = trial(&c);
            t->p.sock = 10 + from;
            t->p.dst = addr(FOUR[from]);
            /* Bit 1 is "change port", bit 2 "change IP"; other bits have no meaning. */
            ph_msgw_uint(&t->w, PH_ATTR_CHANGE_REQUEST, flags << 1 | 0xFFFFFFF9);
            expect(t, PH_SUCCESS);
            struct ph_addr at = addr(FOUR[to]);
            cr_assert_eq(t->p.sock, 10 + to);
            cr_assert(ph_addr_eq(&t->p.src, &at));
            expect_addr(t, PH_IX_RESPONSE_ORIGIN, FOUR[to]);
            expect_addr(t, PH_IX_OTHER_ADDRESS, FOUR[from ^ 3]);
            expect_addr(t, PH_IX_XOR_MAPPED_ADDRESS, CLIENT);
            expect_addr(t, PH_IX_MAPPED_ADDRESS, CLIENT);
            free(t);
        }
}

Test(stun_server_discovery, names_both_addresses_in_plain_answers)
{
    struct ph_stund_conf c = discovery_conf();
    struct trial *t = trial(&c);
    expect(t, PH_SUCCESS);
    expect_addr(t, PH_IX_RESPONSE_ORIGIN, FOUR[0]);
    expect_addr(t, PH_IX_OTHER_ADDRESS, FOUR[3]);
    cr_assert_eq(t->p.sock, 10);
    free(t);
}

Test(stun_server_discovery, sends_to_the_response_port)
{
    struct ph_stund_conf c = discovery_conf();
    struct trial *t = trial(&c);
    ph_msgw_uint(&t->w, PH_ATTR_RESPONSE_PORT, 6000);
    expect(t, PH_SUCCESS);
    cr_assert_eq(t->p.dst.port, 6000);
    expect_addr(t, PH_IX_XOR_MAPPED_ADDRESS, CLIENT);
    free(t);

    t = trial(&c);
    ph_msgw_uint(&t->w, PH_ATTR_RESPONSE_PORT, 0);
    expect_error(t, 400);
    free(t);
}

Test(stun_server_discovery, refuses_padding_with_response_port)
{
    struct ph_stund_conf c = discovery_conf();
    struct trial *t = trial(&c);
    ph_msgw_uint(&t->w, PH_ATTR_RESPONSE_PORT, 6000);
    ph_msgw_bytes(&t->w, PH_ATTR_PADDING, ph_str("padding"));
    expect_error(t, 400);
    free(t);
}

Test(stun_server_discovery, errors_do_not_go_astray)
{
    struct ph_stund_conf c = discovery_conf();
    struct trial *t = trial(&c);
    ph_msgw_uint(&t->w, PH_ATTR_CHANGE_REQUEST, 6);
    ph_msgw_uint(&t->w, PH_ATTR_RESPONSE_PORT, 6000);
    ph_msgw_raw(&t->w, 0x7FFF, (struct ph_slice){0});
    expect_error(t, 420);
    free(t);
}

Test(stun_server_discovery, pads_no_further_than_the_request)
{
    static uint8_t junk[3000];
    memset(junk, 0xAA, sizeof junk);
    struct ph_stund_conf c = discovery_conf();
    for (uint32_t n = 0; n <= sizeof junk; n += n < 200 ? 1 : 97)
        for (int fingerprint = 0; fingerprint < 2; fingerprint++) {
            struct trial *t = trial(&c);
            struct ph_slice padding;
            ph_msgw_bytes(&t->w, PH_ATTR_PADDING, (struct ph_slice){junk, n});
            if (fingerprint)
                ph_msgw_fingerprint(&t->w);
            expect(t, PH_SUCCESS);
            cr_assert_eq(ph_msg_bytes(&t->m, PH_IX_PADDING, &padding), 0, "PADDING of %u", n);
            cr_assert_leq(padding.n, n);
            for (size_t i = 0; i < padding.n; i++)
                cr_assert_eq(padding.p[i], 0, "padding is zeros");
            uint32_t least = 68 + 4 + (fingerprint ? 8 : 0);
            cr_assert_leq(t->p.b.len, t->asked > least ? t->asked : least);
            if (n > 200)
                cr_assert_eq(t->p.b.len, t->asked);
            free(t);
        }
}

Test(stun_server_discovery, is_not_for_packets_of_other_sockets)
{
    struct ph_stund_conf c = discovery_conf();
    struct trial *t = trial(&c);
    t->p.sock = 99;
    expect(t, PH_SUCCESS);
    cr_assert_eq(t->p.b.len, 32, "a plain answer");
    free(t);

    t = trial(&c);
    t->p.sock = 99;
    ph_msgw_uint(&t->w, PH_ATTR_CHANGE_REQUEST, 0);
    expect_error(t, 420);
    free(t);
}

Test(stun_server_discovery, uses_the_first_of_repeated_attributes)
{
    struct ph_stund_conf c = discovery_conf();
    struct trial *t = trial(&c);
    ph_msgw_uint(&t->w, PH_ATTR_CHANGE_REQUEST, 2);
    ph_msgw_uint(&t->w, PH_ATTR_CHANGE_REQUEST, 4);
    ph_msgw_raw(&t->w, PH_ATTR_CHANGE_REQUEST, (struct ph_slice){0});
    expect(t, PH_SUCCESS);
    cr_assert_eq(t->p.sock, 11);
    free(t);
}

Test(stun_server_discovery, refuses_unfit_configurations)
{
    struct ph_stund s;
    struct ph_stund_conf good = discovery_conf(), c = good;
    cr_assert_eq(ph_stund_init(&s, &c), 0);
    for (unsigned i = 0; i < 4; i++) {
        c = good;
        c.at[i] = (struct ph_addr){0};
        cr_assert_eq(ph_stund_init(&s, &c), PH_E_ARG, "address %u is missing", i);
        c = good;
        c.at[i].port = 5;
        cr_assert_eq(ph_stund_init(&s, &c), PH_E_ARG, "port %u differs", i);
        c = good;
        c.at[i] = addr("[2001:db8::1]:3478");
        cr_assert_eq(ph_stund_init(&s, &c), PH_E_ARG, "family %u differs", i);
        c = good;
        c.sock[i] = c.sock[(i + 1) % 4];
        cr_assert_eq(ph_stund_init(&s, &c), PH_E_ARG, "socket %u twice", i);
    }
    c = good;
    c.at[2] = c.at[0];
    c.at[3] = c.at[1];
    cr_assert_eq(ph_stund_init(&s, &c), PH_E_ARG, "one IP");
    c = good;
    c.at[1] = c.at[0];
    c.at[3] = c.at[2];
    cr_assert_eq(ph_stund_init(&s, &c), PH_E_ARG, "one port");

    char software[129];
    memset(software, 'x', sizeof software);
    software[128] = '\0';
    cr_assert_eq(ph_stund_init(&s, &(struct ph_stund_conf){.software = software}), PH_E_ARG);
    cr_assert_eq(ph_stund_init(&s, &(struct ph_stund_conf){.software = software + 1}), 0);
}

/* Any bytes, on any socket: the sanitizers and the checks of the answer stay quiet. */
Test(stun_server_discovery, survives_mutated_requests)
{
    struct ph_stund_conf c = discovery_conf();
    uint64_t seed = 7;
    for (unsigned round = 0; round < 20000; round++) {
        struct trial *t = trial(&c);
        ph_msgw_uint(&t->w, PH_ATTR_CHANGE_REQUEST, test_random(&seed));
        if (round & 1)
            ph_msgw_uint(&t->w, PH_ATTR_RESPONSE_PORT, test_random(&seed) & 0xFFFF);
        if (round & 2)
            ph_msgw_bytes(&t->w, PH_ATTR_PADDING, (struct ph_slice){t->room, round % 300});
        if (round & 4)
            ph_msgw_raw(&t->w, (uint16_t)test_random(&seed), (struct ph_slice){t->room, 8});
        for (unsigned k = round % 4; k; k--)
            t->room[PH_HEADROOM + 20 + test_random(&seed) % (t->w.len - 20)] ^=
                (uint8_t)(1 << test_random(&seed) % 8);
        t->p.sock = 10 + test_random(&seed) % 5;
        if (ask(t) == PH_SEND) {
            cr_assert_eq(ph_msg_parse(&t->m, ph_buf_data(&t->p.b), t->p.b.len), 0);
            cr_assert(t->m.cls == PH_SUCCESS || t->m.cls == PH_ERROR);
        }
        free(t);
    }
}
