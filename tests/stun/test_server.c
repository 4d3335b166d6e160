/* The Binding server: what it answers, how long the answers are, and what it stays silent at. */
#include "stun/codec/integrity.h"
#include "support/vectors.h"
#include "tests/stun/stund_kit.h"

#include <stdio.h>

/* ---- plain Binding ---- */

Test(stun_server, answers_with_xor_mapped_address_alone)
{
    struct trial *t = trial(NULL);
    expect(t, PH_SUCCESS);
    expect_addr(t, PH_IX_XOR_MAPPED_ADDRESS, CLIENT);
    cr_assert_eq(attributes(t), 1);
    cr_assert_eq(t->p.b.len, 32);
    cr_assert_eq(t->p.sock, 10);
    struct ph_addr at = addr(FOUR[0]);
    cr_assert(ph_addr_eq(&t->p.src, &at), "sent from where the request came to");
    cr_assert_eq(t->s.stats.requests, 1);
    cr_assert_eq(t->s.stats.answers, 1);
    free(t);
}

Test(stun_server, answers_ipv6)
{
    struct trial *t = trial(NULL);
    t->p.src = addr(CLIENT6);
    t->p.dst = addr("[2001:db8::1]:3478");
    expect(t, PH_SUCCESS);
    expect_addr(t, PH_IX_XOR_MAPPED_ADDRESS, CLIENT6);
    cr_assert_eq(t->p.b.len, 44);
    free(t);
}

Test(stun_server, answers_the_rfc5769_request_without_asking_for_its_credentials)
{
    struct trial *t = trial(NULL);
    struct vector v = vector_load("rfc5769-2.1-request.hex");
    memcpy(t->room + PH_HEADROOM, v.b, v.n);
    t->p.b = (struct ph_buf){t->room, sizeof t->room, PH_HEADROOM, (uint32_t)v.n};
    /* It is an ICE check: PRIORITY is not for a STUN server. */
    cr_assert_eq(ph_stund_input(&t->s, &t->p, NOW), PH_SEND);
    cr_assert_eq(ph_msg_parse(&t->m, ph_buf_data(&t->p.b), t->p.b.len), 0);
    struct ph_slice types;
    cr_assert_eq(ph_msg_bytes(&t->m, PH_IX_UNKNOWN_ATTRIBUTES, &types), 0);
    cr_assert_eq(types.n, 2);
    cr_assert_eq(types.p[1], PH_ATTR_PRIORITY);
    cr_assert_eq(ph_msg_check_fingerprint(&t->m), 0);
    free(t);

    t = trial(NULL);
    ph_msgw_bytes(&t->w, PH_ATTR_USERNAME, ph_str("user"));
    ph_msgw_bytes(&t->w, PH_ATTR_REALM, ph_str("realm"));
    ph_msgw_bytes(&t->w, PH_ATTR_NONCE, ph_str("nonce"));
    ph_msgw_integrity(&t->w, ph_str("any key"));
    ph_msgw_integrity_sha256(&t->w, ph_str("any key"), 32);
    expect(t, PH_SUCCESS);
    expect_addr(t, PH_IX_XOR_MAPPED_ADDRESS, CLIENT);
    cr_assert_eq(attributes(t), 1);
    free(t);
}

Test(stun_server, adds_mapped_address_when_configured)
{
    struct trial *t = trial(&(struct ph_stund_conf){.always_mapped = true});
    expect(t, PH_SUCCESS);
    expect_addr(t, PH_IX_MAPPED_ADDRESS, CLIENT);
    expect_addr(t, PH_IX_XOR_MAPPED_ADDRESS, CLIENT);
    free(t);
}

Test(stun_server, answers_a_fingerprint_with_a_fingerprint)
{
    struct trial *t = trial(NULL);
    ph_msgw_fingerprint(&t->w);
    expect(t, PH_SUCCESS);
    cr_assert_eq(ph_msg_check_fingerprint(&t->m), 0);
    free(t);

    t = trial(NULL);
    expect(t, PH_SUCCESS);
    cr_assert_eq(ph_msg_check_fingerprint(&t->m), PH_E_MISSING);
    free(t);

    t = trial(&(struct ph_stund_conf){.always_fingerprint = true});
    expect(t, PH_SUCCESS);
    cr_assert_eq(ph_msg_check_fingerprint(&t->m), 0);
    free(t);
}

Test(stun_server, adds_software_only_where_it_costs_nothing)
{
    const struct ph_stund_conf c = {.software = "Pinhole"};
    struct trial *t = trial(&c);
    expect(t, PH_SUCCESS);
    cr_assert_not(ph_msg_has(&t->m, PH_IX_SOFTWARE), "44 bytes for 20 would be too many");
    free(t);

    t = trial(&c);
    ph_msgw_bytes(&t->w, PH_ATTR_SOFTWARE, ph_str("a client"));
    expect(t, PH_SUCCESS);
    struct ph_slice s;
    cr_assert_eq(ph_msg_bytes(&t->m, PH_IX_SOFTWARE, &s), 0);
    cr_assert(ph_slice_eq(s, ph_str("Pinhole")));
    free(t);
}

/* ---- errors ---- */

Test(stun_server, refuses_what_it_does_not_understand)
{
    static const uint8_t four[4];
    const struct ph_slice value = {four, sizeof four};
    /* Unknown to all, TURN's, ICE's, and RFC 5780's where that is off. */
    static const uint16_t types[] = {0x0002,
                                     0x7FFF,
                                     PH_ATTR_LIFETIME,
                                     PH_ATTR_REQUESTED_TRANSPORT,
                                     PH_ATTR_PRIORITY,
                                     PH_ATTR_CHANGE_REQUEST,
                                     PH_ATTR_RESPONSE_PORT,
                                     PH_ATTR_PADDING};
    for (size_t i = 0; i < COUNT(types); i++) {
        struct trial *t = trial(NULL);
        struct ph_slice list;
        ph_msgw_raw(&t->w, types[i], value);
        expect_error(t, 420);
        cr_assert_eq(ph_msg_bytes(&t->m, PH_IX_UNKNOWN_ATTRIBUTES, &list), 0);
        cr_assert_eq(list.n, 2);
        cr_assert_eq(list.p[0] << 8 | list.p[1], types[i]);
        cr_assert_not(ph_msg_has(&t->m, PH_IX_XOR_MAPPED_ADDRESS));
        cr_assert_eq(t->s.stats.errors, 1);
        free(t);
    }
}

Test(stun_server, lists_every_unknown_attribute_once)
{
    struct trial *t = trial(NULL);
    struct ph_slice list;
    ph_msgw_raw(&t->w, 0x7001, (struct ph_slice){0});
    ph_msgw_raw(&t->w, 0x7002, (struct ph_slice){0});
    ph_msgw_raw(&t->w, 0x7001, (struct ph_slice){0});
    ph_msgw_raw(&t->w, PH_ATTR_LIFETIME, (struct ph_slice){0});
    ph_msgw_raw(&t->w, 0xF001, (struct ph_slice){0}); /* comprehension-optional */
    expect_error(t, 420);
    cr_assert_eq(ph_msg_bytes(&t->m, PH_IX_UNKNOWN_ATTRIBUTES, &list), 0);
    cr_assert_eq(list.n, 6);
    free(t);
}

Test(stun_server, lists_no_more_unknown_attributes_than_fit_the_request)
{
    struct trial *t = trial(NULL);
    for (uint16_t i = 0; i < 200; i++)
        ph_msgw_raw(&t->w, (uint16_t)(0x7000 + i), (struct ph_slice){0});
    expect_error(t, 420);
    cr_assert_lt(t->p.b.len, t->asked);
    free(t);
}

Test(stun_server, ignores_optional_attributes_and_those_behind_integrity)
{
    struct trial *t = trial(NULL);
    ph_msgw_raw(&t->w, 0x8FFF, ph_str("whatever"));
    ph_msgw_raw(&t->w, PH_ATTR_OTHER_ADDRESS, ph_str("not an address"));
    ph_msgw_integrity(&t->w, ph_str("key"));
    ph_msgw_raw(&t->w, 0x7FFF, ph_str("invisible"));
    expect(t, PH_SUCCESS);
    free(t);
}

Test(stun_server, calls_malformed_attributes_a_bad_request)
{
    static const struct {
        uint16_t type;
        const char *value;
    } rows[] = {
        {PH_ATTR_CHANGE_REQUEST, "12345"}, {PH_ATTR_CHANGE_REQUEST, ""},
        {PH_ATTR_RESPONSE_PORT, "1"},      {PH_ATTR_RESPONSE_PORT, "1234567"},
        {PH_ATTR_MAPPED_ADDRESS, "xxxx"},  {PH_ATTR_USERHASH, "short"},
        {PH_ATTR_PASSWORD_ALGORITHM, "x"},
    };
    struct ph_stund_conf c = discovery_conf();
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct trial *t = trial(&c);
        ph_msgw_raw(&t->w, rows[i].type, ph_str(rows[i].value));
        expect_error(t, 400);
        free(t);
    }
}

/* ---- silence ---- */

Test(stun_server, ignores_all_that_is_no_binding_request)
{
    static const struct {
        uint16_t method;
        enum ph_class cls;
    } rows[] = {
        {PH_BINDING, PH_INDICATION}, {PH_BINDING, PH_SUCCESS},        {PH_BINDING, PH_ERROR},
        {PH_ALLOCATE, PH_REQUEST},   {PH_REFRESH, PH_REQUEST},        {0x000, PH_REQUEST},
        {0x002, PH_REQUEST},         {PH_SEND_METHOD, PH_INDICATION}, {0xFFF, PH_ERROR},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct trial *t = trial(NULL);
        ph_msgw_begin(&t->w, t->room + PH_HEADROOM, ROOM - PH_HEADROOM, rows[i].method, rows[i].cls,
                      ID);
        cr_assert_eq(ask(t), PH_DROP, "row %zu", i);
        cr_assert_eq(t->s.stats.ignored, 1);
        cr_assert_eq(t->s.stats.requests, 0);
        free(t);
    }
}

Test(stun_server, never_answers_its_own_answers)
{
    struct ph_stund_conf c = discovery_conf();
    struct trial *t = trial(&c);
    expect(t, PH_SUCCESS);
    cr_assert_eq(ph_stund_input(&t->s, &t->p, NOW), PH_DROP);
    free(t);

    t = trial(&c);
    ph_msgw_raw(&t->w, 0x7FFF, (struct ph_slice){0});
    expect_error(t, 420);
    cr_assert_eq(ph_stund_input(&t->s, &t->p, NOW), PH_DROP);
    free(t);
}

Test(stun_server, drops_a_bad_fingerprint_and_bad_frames)
{
    for (unsigned byte = 0; byte < 28; byte++) {
        if (byte == 20 || byte == 21)
            continue; /* then it is another attribute, which may well be ignored */
        struct trial *t = trial(NULL);
        ph_msgw_fingerprint(&t->w);
        t->room[PH_HEADROOM + byte] ^= 0x10;
        cr_assert_eq(ask(t), PH_DROP, "byte %u", byte);
        cr_assert_eq(t->s.stats.malformed + t->s.stats.ignored, 1);
        free(t);
    }
    for (uint32_t n = 0; n < 20; n++) {
        struct trial *t = trial(NULL);
        t->p.b = (struct ph_buf){t->room, sizeof t->room, PH_HEADROOM, n};
        cr_assert_eq(ph_stund_input(&t->s, &t->p, NOW), PH_DROP);
        cr_assert_eq(t->s.stats.malformed, 1);
        free(t);
    }
}

Test(stun_server, drops_requests_that_cannot_be_answered)
{
    struct trial *t = trial(NULL);
    t->p.src.port = 0;
    cr_assert_eq(ask(t), PH_DROP);
    free(t);

    t = trial(NULL);
    t->p.src = (struct ph_addr){.port = 7};
    cr_assert_eq(ask(t), PH_DROP);
    free(t);
}

/* ---- budget ---- */

static void zeros(void *ctx, void *dst, size_t n)
{
    (void)ctx;
    memset(dst, 0, n);
}

Test(stun_server, pays_every_answer_from_the_budget_of_its_source)
{
    static const struct ph_env env = {.rand = zeros};
    struct ph_budget *b = ph_budget_new(&(struct ph_budget_conf){.addr_burst = 100}, &env);
    struct ph_stund_conf c = {.budget = b};
    for (unsigned i = 0; i < 4; i++) {
        struct trial *t = trial(&c);
        if (i == 2) /* 20 + 8 + 8 bytes of 420 no longer fit, nor would a fourth answer */
            ph_msgw_raw(&t->w, 0x7FFF, (struct ph_slice){0});
        cr_assert_eq(ask(t), i < 2 ? PH_SEND : i == 2 ? PH_SEND : PH_DROP, "answer %u", i);
        cr_assert_eq(t->s.stats.over_budget, i == 3);
        free(t);
    }
    struct trial *t = trial(&c);
    t->p.src = addr("203.0.113.1:9");
    cr_assert_eq(ask(t), PH_SEND, "somebody else");
    free(t);
    ph_budget_free(b);
}

/* Whoever forges a source must send as much as the victim gets; only the number of such answers is limited. */
Test(stun_server, answers_no_longer_than_their_requests_cost_little)
{
    static const struct ph_env env = {.rand = zeros};
    static uint8_t padding[1500];
    struct ph_budget *b = ph_budget_new(&(struct ph_budget_conf){.addr_burst = 100}, &env);
    struct ph_stund_conf c = discovery_conf();
    c.budget = b;
    for (unsigned i = 0; i < 6; i++) {
        struct trial *t = trial(&c);
        ph_msgw_bytes(&t->w, PH_ATTR_PADDING, (struct ph_slice){padding, sizeof padding});
        cr_assert_eq(ask(t), i < 5 ? PH_SEND : PH_DROP, "answer %u", i);
        free(t);
    }
    ph_budget_free(b);
}

/* ---- amplification ---- */

/* What a request of each kind draws, as bytes of UDP payload.  Over IPv4 nothing that is on by
 * default may answer with more than 1.6 times the request; an IPv6 address alone is 24 bytes, so
 * there a bare request gets 2.2. */
Test(stun_server, answers_are_hardly_longer_than_requests)
{
    enum {
        FP = 1,
        SW = 2,
        USER = 4,
        UNKNOWN = 8,
        MALFORMED = 16,
        IPV6 = 32,
        OURS = 64,
        D = 128,
        PAD = 256
    };
    static const struct {
        const char *what;
        int with;
        uint32_t asked, answered;
    } rows[] = {
        {"Binding, IPv4", 0, 20, 32},
        {"Binding, IPv4, FINGERPRINT", FP, 28, 40},
        {"Binding, IPv4, server has SOFTWARE", OURS, 20, 32},
        {"Binding, IPv4, both have SOFTWARE", OURS | SW, 32, 44},
        {"Binding, IPv4, USERNAME, SOFTWARE", OURS | USER, 64, 44},
        {"420, IPv4", UNKNOWN, 24, 36},
        {"420, IPv4, FINGERPRINT", UNKNOWN | FP, 32, 44},
        {"400, IPv4", MALFORMED, 24, 28},
        {"Binding, IPv6", IPV6, 20, 44},
        {"Binding, IPv6, server has SOFTWARE", IPV6 | OURS, 20, 44},
        {"420, IPv6", IPV6 | UNKNOWN, 24, 36},
        {"RFC 5780 Binding, IPv4", D, 20, 68},
        {"RFC 5780 PADDING of 1500", D | PAD, 1524, 1524},
    };
    static uint8_t padding[1500];
    for (size_t i = 0; i < COUNT(rows); i++) {
        int with = rows[i].with;
        struct ph_stund_conf c = with & D ? discovery_conf() : (struct ph_stund_conf){0};
        c.software = with & OURS ? "Pinhole" : NULL;
        struct trial *t = trial(&c);
        if (with & IPV6)
            t->p.src = addr(CLIENT6);
        if (with & SW)
            ph_msgw_bytes(&t->w, PH_ATTR_SOFTWARE, ph_str("client"));
        if (with & USER)
            ph_msgw_bytes(&t->w, PH_ATTR_USERNAME,
                          ph_str("somebody with a name as long as this ..."));
        if (with & UNKNOWN)
            ph_msgw_raw(&t->w, 0x7FFF, (struct ph_slice){0});
        if (with & MALFORMED)
            ph_msgw_raw(&t->w, PH_ATTR_USERHASH, (struct ph_slice){0});
        if (with & PAD)
            ph_msgw_bytes(&t->w, PH_ATTR_PADDING, (struct ph_slice){padding, sizeof padding});
        if (with & FP)
            ph_msgw_fingerprint(&t->w);
        cr_assert_eq(ask(t), PH_SEND, "%s", rows[i].what);
        fprintf(stderr, "%-36s %4u -> %4u bytes, %.2f times\n", rows[i].what, t->asked, t->p.b.len,
                (double)t->p.b.len / (double)t->asked);
        cr_assert_eq(t->asked, rows[i].asked, "%s", rows[i].what);
        cr_assert_eq(t->p.b.len, rows[i].answered, "%s: %u", rows[i].what, t->p.b.len);
        if (!(with & (IPV6 | D)))
            cr_assert_leq(t->p.b.len * 5, t->asked * 8, "%s", rows[i].what);
        free(t);
    }
}

/* ---- the packet's memory ---- */

Test(stun_server, writes_nothing_outside_of_the_packet)
{
    for (uint32_t cap = 20; cap < 60; cap++) {
        struct trial *t = trial(NULL);
        uint8_t mem[64];
        memset(mem, 0x5A, sizeof mem);
        memcpy(mem, t->room + PH_HEADROOM, 20);
        t->p.b = (struct ph_buf){mem, cap, 0, 20};
        cr_assert_eq(ph_stund_input(&t->s, &t->p, NOW), cap < 32 ? PH_DROP : PH_SEND);
        for (uint32_t i = cap; i < sizeof mem; i++)
            cr_assert_eq(mem[i], 0x5A, "byte %u of %u", i, cap);
        free(t);
    }
}

/* A datagram inside a coalesced buffer has a neighbour behind it: the answer goes into the scratch
 * in front. */
Test(stun_server, answers_in_front_of_a_packet_without_room)
{
    struct ph_stund_conf c = {.software = "Pinhole"};
    struct trial *t = trial(&c);
    uint8_t mem[40], head[PH_HEADROOM];
    memset(mem, 0x5A, sizeof mem);
    memcpy(mem, t->room + PH_HEADROOM, 20);
    t->p.b = (struct ph_buf){mem, 20, 0, 20};
    t->p.head = head;
    cr_assert_eq(ph_stund_input(&t->s, &t->p, NOW), PH_SEND);
    cr_assert_eq(t->p.b.len, 0);
    cr_assert_eq(t->p.head_len, 32);
    cr_assert_eq(ph_pkt_wire_len(&t->p), 32);
    cr_assert_eq(ph_msg_parse(&t->m, head, 32), 0);
    expect_addr(t, PH_IX_XOR_MAPPED_ADDRESS, CLIENT);
    for (unsigned i = 20; i < sizeof mem; i++)
        cr_assert_eq(mem[i], 0x5A, "the neighbour is untouched");
    free(t);
}
