/*
 * Allocate, Refresh and the life of an allocation (RFC 8656 7, 8).
 */
#include "turn/rig.h"

static const char client_text[] = "203.0.113.9:40000";

Test(turn_allocate, gives_a_relay_address_in_the_port_range)
{
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr(client_text), relay, mapped;
    uint64_t lifetime;

    cr_assert_eq(rig_allocate(r, &c), 0);
    cr_assert_eq(ph_msg_addr(&r->out, PH_IX_XOR_RELAYED_ADDRESS, &relay), 0);
    cr_assert_eq(ph_msg_addr(&r->out, PH_IX_XOR_MAPPED_ADDRESS, &mapped), 0);
    cr_assert_eq(ph_msg_uint(&r->out, PH_IX_LIFETIME, &lifetime), 0);
    cr_expect(ph_addr_eq_endpoint(&mapped, &c));
    cr_expect(ph_addr_eq_ip(&relay, &r->c.relay[0].at));
    cr_expect(relay.port >= 50000 && relay.port <= 50999);
    cr_expect_eq(lifetime, 600);
    cr_expect_eq(ph_msg_check_integrity(&r->out, ph_key_slice(&r->key)), 0);
    cr_expect(ph_addr_eq(&r->pkt.dst, &c));
    cr_expect_eq(r->pkt.sock, 0);
    cr_expect_eq(r->ups, 1);
    rig_free(r);
}

Test(turn_allocate, retransmission_gets_the_same_answer_and_no_second_relay)
{
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr(client_text), first, again;

    cr_assert_eq(rig_allocate(r, &c), 0);
    ph_msg_addr(&r->out, PH_IX_XOR_RELAYED_ADDRESS, &first);
    int n = ph_msgw_end(&r->w);
    for (int i = 0; i < 3; i++) {
        rig_input(r, 0, &c, r->req, (size_t)n);
        cr_assert_eq(rig_code(r), 0);
        ph_msg_addr(&r->out, PH_IX_XOR_RELAYED_ADDRESS, &again);
        cr_expect(ph_addr_eq(&first, &again));
    }
    cr_expect_eq(r->opens, 1);
    cr_expect_eq(ph_turnd_count(r->d), 1);
    rig_free(r);
}

Test(turn_allocate, retransmission_while_the_relay_opens_is_absorbed)
{
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr(client_text);

    rig_challenge(r, &c);
    r->hold_opens = true;
    rig_begin(r, PH_ALLOCATE);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
    cr_assert_eq(rig_send_signed(r, &c), PH_CONSUMED);
    int n = ph_msgw_end(&r->w);
    cr_assert_eq(rig_input(r, 0, &c, r->req, (size_t)n), PH_CONSUMED);
    cr_assert_not(r->has_out);
    ph_turnd_relay_opened(r->d, r->held_sock, 0, r->now);
    rig_drain(r);
    rig_result(r);
    cr_expect_eq(rig_code(r), 0);
    cr_expect_eq(r->opens, 1);
    rig_free(r);
}

Test(turn_allocate, second_request_on_a_five_tuple_is_437)
{
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr(client_text);

    cr_assert_eq(rig_allocate(r, &c), 0);
    rig_begin(r, PH_ALLOCATE);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
    rig_send_signed(r, &c);
    cr_expect_eq(rig_code(r), 437);
    rig_free(r);
}

Test(turn_allocate, transport_is_required_and_must_be_known)
{
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr(client_text);

    rig_challenge(r, &c);
    rig_begin(r, PH_ALLOCATE);
    rig_send_signed(r, &c);
    cr_expect_eq(rig_code(r), 400);
    rig_begin(r, PH_ALLOCATE);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, 132); /* SCTP */
    rig_send_signed(r, &c);
    cr_expect_eq(rig_code(r), 442);
    cr_expect_eq(ph_turnd_count(r->d), 0);
    rig_free(r);
}

Test(turn_allocate, unknown_required_attribute_is_420_with_its_number)
{
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr(client_text);
    struct ph_slice list;

    rig_challenge(r, &c);
    rig_begin(r, PH_ALLOCATE);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
    ph_msgw_raw(&r->w, 0x7ABC, ph_str("what"));
    ph_msgw_raw(&r->w, 0xC0DE, ph_str("optional")); /* may be ignored */
    rig_send_signed(r, &c);
    cr_assert_eq(rig_code(r), 420);
    cr_assert_eq(ph_msg_bytes(&r->out, PH_IX_UNKNOWN_ATTRIBUTES, &list), 0);
    cr_expect_eq(list.n, 2);
    cr_expect_eq(memcmp(list.p, "\x7A\xBC", 2), 0);
    rig_free(r);
}

Test(turn_allocate, families)
{
    static const struct {
        uint16_t attr;
        uint64_t value;
        int code;
        bool four, six;
    } table[] = {
        {0, 0, 0, true, false},
        {PH_ATTR_REQUESTED_ADDRESS_FAMILY, PH_AF_INET, 0, true, false},
        {PH_ATTR_REQUESTED_ADDRESS_FAMILY, PH_AF_INET6, 0, false, true},
        {PH_ATTR_REQUESTED_ADDRESS_FAMILY, 7, 440, false, false},
        {PH_ATTR_ADDITIONAL_ADDRESS_FAMILY, PH_AF_INET6, 0, true, true},
        {PH_ATTR_ADDITIONAL_ADDRESS_FAMILY, PH_AF_INET, 400, false, false},
        {PH_ATTR_DRAFT_ADDITIONAL_FAMILY, PH_AF_INET6, 0, true, true},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct rig *r = rig_default();
        struct ph_addr c = rig_addr(client_text), a;
        struct ph_msg_it it = {0};
        struct ph_attr_value v;
        bool four = false, six = false;

        cr_assert_eq(rig_allocate_with(r, &c, table[i].attr, table[i].value), table[i].code,
                     "row %zu", i);
        while (ph_msg_next(&r->out, &it))
            if (it.type == PH_ATTR_XOR_RELAYED_ADDRESS) {
                ph_attr_decode(ph_attr_find(it.type), it.value.p, it.value.n, ph_msg_txid(&r->out),
                               &v);
                a = v.addr;
                *(a.family == PH_AF_INET ? &four : &six) = true;
            }
        cr_expect_eq(four, table[i].four, "row %zu", i);
        cr_expect_eq(six, table[i].six, "row %zu", i);
        rig_free(r);
    }
}

/* RFC 8656 7.2 and 18.12: one family is there, the other is explained. */
Test(turn_allocate, missing_family_of_a_dual_request_gets_address_error_code)
{
    static const struct {
        uint16_t ask;
        enum ph_attr_index answer;
    } both[] = {{PH_ATTR_ADDITIONAL_ADDRESS_FAMILY, PH_IX_ADDRESS_ERROR_CODE},
                {PH_ATTR_DRAFT_ADDITIONAL_FAMILY, PH_IX_DRAFT_ADDRESS_ERROR_CODE}};
    for (int i = 0; i < 2; i++) {
        struct rig *r = rig_new();
        struct ph_addr c = rig_addr(client_text), relay;
        struct ph_attr_value v;

        r->c.n_relays = 1; /* IPv4 alone */
        rig_start(r);
        cr_assert_eq(rig_allocate_with(r, &c, both[i].ask, PH_AF_INET6), 0);
        cr_expect_eq(ph_msg_addr(&r->out, PH_IX_XOR_RELAYED_ADDRESS, &relay), 0);
        cr_assert_eq(ph_msg_get(&r->out, both[i].answer, &v), 0);
        cr_expect_eq(v.error.family, PH_AF_INET6);
        cr_expect_eq(v.error.code, 440);
        rig_free(r);
    }
}

Test(turn_allocate, family_that_is_not_there_is_440)
{
    struct rig *r = rig_new();
    struct ph_addr c = rig_addr(client_text);

    r->c.n_relays = 1;
    rig_start(r);
    cr_expect_eq(rig_allocate_with(r, &c, PH_ATTR_REQUESTED_ADDRESS_FAMILY, PH_AF_INET6), 440);
    cr_expect_eq(ph_turnd_count(r->d), 0);
    rig_free(r);
}

Test(turn_allocate, contradictions_are_400)
{
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr(client_text);
    static const struct {
        uint16_t a;
        uint64_t av;
        uint16_t b;
        uint64_t bv;
    } table[] = {
        {PH_ATTR_REQUESTED_ADDRESS_FAMILY, 1, PH_ATTR_ADDITIONAL_ADDRESS_FAMILY, 2},
        {PH_ATTR_RESERVATION_TOKEN, 5, PH_ATTR_EVEN_PORT, 0},
        {PH_ATTR_RESERVATION_TOKEN, 5, PH_ATTR_REQUESTED_ADDRESS_FAMILY, 1},
        {PH_ATTR_RESERVATION_TOKEN, 5, PH_ATTR_ADDITIONAL_ADDRESS_FAMILY, 2},
        {PH_ATTR_EVEN_PORT, 0x80, PH_ATTR_ADDITIONAL_ADDRESS_FAMILY, 2},
    };
    rig_challenge(r, &c);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        rig_begin(r, PH_ALLOCATE);
        ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
        ph_msgw_uint(&r->w, table[i].a, table[i].av);
        ph_msgw_uint(&r->w, table[i].b, table[i].bv);
        rig_send_signed(r, &c);
        cr_expect_eq(rig_code(r), 400, "row %zu: %d", i, rig_code(r));
    }
    cr_expect_eq(ph_turnd_count(r->d), 0);
    rig_free(r);
}

Test(turn_allocate, even_port_with_reservation_gives_the_port_above)
{
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr(client_text), other = rig_addr("203.0.113.9:40001"), one, two;
    uint64_t token;

    cr_assert_eq(rig_allocate_with(r, &c, PH_ATTR_EVEN_PORT, 0x80), 0);
    ph_msg_addr(&r->out, PH_IX_XOR_RELAYED_ADDRESS, &one);
    cr_assert_eq(ph_msg_uint(&r->out, PH_IX_RESERVATION_TOKEN, &token), 0);
    cr_expect_eq(one.port % 2, 0);
    cr_assert_eq(rig_allocate_with(r, &other, PH_ATTR_RESERVATION_TOKEN, token), 0);
    ph_msg_addr(&r->out, PH_IX_XOR_RELAYED_ADDRESS, &two);
    cr_expect_eq(two.port, one.port + 1);
    /* A token is good once. */
    other.port++;
    cr_expect_eq(rig_allocate_with(r, &other, PH_ATTR_RESERVATION_TOKEN, token), 508);
    rig_free(r);
}

Test(turn_allocate, reservation_expires_after_30_s_and_frees_its_port)
{
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr(client_text), other = rig_addr("203.0.113.9:40001");
    uint64_t token;

    cr_assert_eq(rig_allocate_with(r, &c, PH_ATTR_EVEN_PORT, 0x80), 0);
    ph_msg_uint(&r->out, PH_IX_RESERVATION_TOKEN, &token);
    cr_expect_eq(ph_ports_used(r->ports[0]), 2);
    cr_expect_eq(ph_turnd_deadline(r->d), r->now + PH_SEC(30));
    rig_sleep(r, PH_SEC(30));
    cr_expect_eq(ph_ports_used(r->ports[0]), 1);
    cr_expect_eq(rig_allocate_with(r, &other, PH_ATTR_RESERVATION_TOKEN, token), 508);
    rig_free(r);
}

/* coturn 4adbd82e: EVEN-PORT without R leaked the odd sibling until every request was 508. */
Test(turn_allocate, twenty_thousand_even_ports_leak_none)
{
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr(client_text);

    for (int i = 0; i < 20000; i++) {
        cr_assert_eq(rig_allocate_with(r, &c, PH_ATTR_EVEN_PORT, i % 2 ? 0x80 : 0), 0, "%d", i);
        cr_assert_eq(rig_refresh(r, &c, 0), 0);
        if (i % 100 == 99)
            rig_sleep(r, PH_SEC(31));
    }
    rig_sleep(r, PH_SEC(31));
    cr_expect_eq(ph_ports_used(r->ports[0]), 0);
    rig_free(r);
}

Test(turn_allocate, port_in_use_elsewhere_is_replaced)
{
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr(client_text);

    r->fail_opens = 5;
    cr_assert_eq(rig_allocate(r, &c), 0);
    cr_expect_eq(r->opens, 6);
    cr_expect_eq(ph_ports_used(r->ports[0]), 1);
    rig_free(r);
}

Test(turn_allocate, no_port_to_be_had_is_508_and_leaves_nothing)
{
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr(client_text);

    r->open_err = -EADDRINUSE;
    cr_expect_eq(rig_allocate(r, &c), 508);
    cr_expect_eq(ph_ports_used(r->ports[0]), 0);
    cr_expect_eq(ph_turnd_count(r->d), 0);
    cr_expect_eq(r->ups + r->downs, 0, "an allocation that never was is no event");
    r->open_err = 0;
    cr_expect_eq(rig_allocate(r, &c), 0, "and the client may try again");
    rig_free(r);
}

Test(turn_allocate, full_port_range_is_508)
{
    struct rig *r = rig_new();
    struct ph_addr c = rig_addr(client_text);

    r->c.relay[0].ports = r->ports[2];
    for (unsigned p = 50000; p <= 50999; p++)
        ph_ports_take_exact(r->ports[2], (uint16_t)p);
    rig_start(r);
    cr_expect_eq(rig_allocate(r, &c), 508);
    ph_ports_release(r->ports[2], 50500);
    cr_expect_eq(rig_allocate(r, &c), 0);
    cr_expect_eq(r->opened_at.port, 50500);
    rig_free(r);
}

Test(turn_allocate, lifetime_is_kept_between_the_default_and_the_maximum)
{
    static const struct {
        uint32_t asked, granted;
    } table[] = {{1, 600},     {599, 600},   {600, 600},        {777, 777},
                 {3600, 3600}, {4000, 3600}, {UINT32_MAX, 3600}};
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr(client_text);
    uint64_t lifetime;

    for (size_t i = 0; i < sizeof table / sizeof *table; i++, c.port++) {
        cr_assert_eq(rig_allocate_with(r, &c, PH_ATTR_LIFETIME, table[i].asked), 0);
        ph_msg_uint(&r->out, PH_IX_LIFETIME, &lifetime);
        cr_expect_eq(lifetime, table[i].granted);
    }
    rig_free(r);
}

Test(turn_allocate, expires_exactly_when_its_lifetime_ends)
{
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr(client_text);

    cr_assert_eq(rig_allocate(r, &c), 0);
    cr_expect_eq(ph_turnd_deadline(r->d), r->now + PH_SEC(600));
    rig_sleep(r, PH_SEC(600) - 1);
    cr_expect_eq(ph_turnd_count(r->d), 1);
    rig_sleep(r, 1);
    cr_expect_eq(ph_turnd_count(r->d), 0);
    cr_expect_eq(r->closes, 1);
    cr_expect_eq(r->downs, 1);
    cr_expect_eq(r->reason, PH_END_EXPIRED);
    cr_expect_eq(ph_ports_used(r->ports[0]), 0);
    cr_expect_eq(ph_turnd_deadline(r->d), PH_NEVER);
    rig_free(r);
}

Test(turn_allocate, quotas)
{
    struct rig *r = rig_new();
    struct ph_addr c = rig_addr(client_text);

    r->quota = ph_quota_new(3, 2, 0, &r->env);
    rig_start(r);
    cr_expect_eq(rig_allocate(r, &c), 0);
    c.port++;
    cr_expect_eq(rig_allocate(r, &c), 0);
    c.port++;
    cr_expect_eq(rig_allocate(r, &c), 486, "alice has two");
    r->user = "bob";
    r->pass = "hidden";
    cr_expect_eq(rig_allocate(r, &c), 0);
    struct ph_addr bobs = c;
    c.port++;
    cr_expect_eq(rig_allocate(r, &c), 486, "three in all");
    cr_expect_eq(rig_refresh(r, &bobs, 0), 0);
    cr_expect_eq(rig_allocate(r, &c), 0);
    rig_free(r);
}

Test(turn_allocate, table_limit_is_508)
{
    struct rig *r = rig_new();
    struct ph_addr c = rig_addr(client_text);

    r->c.max_allocations = 2;
    rig_start(r);
    cr_expect_eq(rig_allocate(r, &c), 0);
    c.port++;
    cr_expect_eq(rig_allocate(r, &c), 0);
    c.port++;
    cr_expect_eq(rig_allocate(r, &c), 508);
    rig_free(r);
}

Test(turn_allocate, redirects_when_told_to)
{
    struct rig *r = rig_new();
    struct ph_addr c = rig_addr(client_text), to;

    r->c.live.n_alternates = 1;
    r->c.live.alternate[0] = rig_addr("198.51.100.7:3478");
    rig_start(r);
    cr_assert_eq(rig_allocate(r, &c), 300);
    cr_assert_eq(ph_msg_addr(&r->out, PH_IX_ALTERNATE_SERVER, &to), 0);
    cr_expect(ph_addr_eq_endpoint(&to, &r->c.live.alternate[0]));
    cr_expect_eq(ph_msg_check_integrity(&r->out, ph_key_slice(&r->key)), 0);
    rig_free(r);
}

Test(turn_allocate, external_address_is_what_clients_are_told)
{
    struct rig *r = rig_new();
    struct ph_addr c = rig_addr(client_text), relay;

    r->c.relay[0].external = rig_addr("192.0.2.200");
    rig_start(r);
    cr_assert_eq(rig_allocate(r, &c), 0);
    ph_msg_addr(&r->out, PH_IX_XOR_RELAYED_ADDRESS, &relay);
    cr_expect(ph_addr_eq_ip(&relay, &r->c.relay[0].external));
    cr_expect_eq(relay.port, r->opened_at.port);
    cr_expect(ph_addr_eq_ip(&r->opened_at, &r->c.relay[0].at));
    rig_free(r);
}

Test(turn_refresh, extends_and_ends)
{
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr(client_text);

    cr_assert_eq(rig_allocate(r, &c), 0);
    rig_sleep(r, PH_SEC(500));
    cr_assert_eq(rig_refresh(r, &c, 700), 0);
    cr_expect_eq(ph_turnd_deadline(r->d), r->now + PH_SEC(700));
    cr_assert_eq(rig_refresh(r, &c, 0), 0);
    cr_expect_eq(r->closes, 1);
    cr_expect_eq(r->reason, PH_END_RELEASED);
    /* The answer was lost: the same request again gets the same answer, a new one 437. */
    int n = ph_msgw_end(&r->w);
    rig_input(r, 0, &c, r->req, (size_t)n);
    cr_expect_eq(rig_code(r), 0);
    cr_expect_eq(rig_refresh(r, &c, 0), 437);
    cr_expect_eq(rig_refresh(r, &c, 600), 437);
    rig_free(r);
}

Test(turn_refresh, one_family_of_two_can_be_given_up)
{
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr(client_text);

    cr_assert_eq(rig_allocate_with(r, &c, PH_ATTR_ADDITIONAL_ADDRESS_FAMILY, 2), 0);
    cr_assert_eq(rig_permit(r, &c, "192.0.2.5:9"), 0);
    rig_begin(r, PH_REFRESH);
    ph_msgw_uint(&r->w, PH_ATTR_LIFETIME, 0);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_ADDRESS_FAMILY, PH_AF_INET);
    rig_send_signed(r, &c);
    cr_assert_eq(rig_code(r), 0);
    cr_expect_eq(r->closes, 1);
    cr_expect_eq(ph_turnd_count(r->d), 1);
    cr_expect_eq(rig_permit(r, &c, "192.0.2.5:9"), 443);
    cr_expect_eq(rig_permit(r, &c, "[2001:db8:5::1]:9"), 0);
    cr_expect_eq(rig_refresh(r, &c, 0), 0);
    cr_expect_eq(r->closes, 2);
    cr_expect_eq(r->downs, 1);
    rig_free(r);
}

Test(turn_refresh, wrong_family_is_443_and_no_allocation_437)
{
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr(client_text);

    rig_challenge(r, &c);
    cr_expect_eq(rig_refresh(r, &c, 600), 437);
    cr_assert_eq(rig_allocate(r, &c), 0);
    rig_begin(r, PH_REFRESH);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_ADDRESS_FAMILY, PH_AF_INET6);
    rig_send_signed(r, &c);
    cr_expect_eq(rig_code(r), 443);
    rig_free(r);
}
