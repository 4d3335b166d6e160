/*
 * Relays that share ports, and clients that meet at them: from relay to relay nothing leaves the server.
 */
#include "turn/pool_kit.h"

static void permit(struct rig *r, const struct guest *g, const struct guest *peer)
{
    cr_assert_eq(rig_permit(r, &g->at, peer->relay_text), 0);
}

/* Two clients that permit each other's relay. */
static void acquaint(struct rig *r, const struct guest *a, const struct guest *b)
{
    permit(r, a, b);
    permit(r, b, a);
}

static bool hears(struct rig *r, const struct guest *from, const struct guest *to, const char *text)
{
    guest_sends(r, from, to->relay_text, text);
    return heard(r, to, from->relay_text, text);
}

/* --- who gets it ----------------------------------------------------------------------------------- */

Test(turn_pooled, two_clients_meet_at_their_relays)
{
    for (uint16_t ports = 1; ports <= 2; ports++) { /* at two ports, and at one */
        struct rig *r = pool_start(ports);
        struct guest a = guest(r, 1), b = guest(r, 2);

        cr_assert_eq(a.relay.port == b.relay.port, ports == 1);
        acquaint(r, &a, &b);
        cr_expect(hears(r, &a, &b, "to b"));
        cr_expect(hears(r, &b, &a, "to a"));
        cr_assert_eq(rig_bind(r, &a.at, 0x4001, b.relay_text), 0);
        cr_assert_eq(rig_bind(r, &b.at, 0x4002, a.relay_text), 0);
        cr_assert_eq(rig_channel(r, &a.at, 0x4001, "hello", 5), PH_SEND);
        cr_expect(heard(r, &b, a.relay_text, "hello"));
        cr_expect_eq(ph_get16(ph_buf_data(&r->pkt.b)), 0x4002);
        cr_assert_eq(rig_channel(r, &b.at, 0x4002, "", 0), PH_SEND);
        cr_expect(heard(r, &a, b.relay_text, ""));
        cr_expect_eq(POOL_COUNT(r, to_peer_packets), 4);
        cr_expect_eq(POOL_COUNT(r, to_client_packets), 4);
        cr_expect_eq(POOL_COUNT(r, to_peer_bytes), 13);
        cr_expect_eq(POOL_COUNT(r, to_client_bytes), 13);
        rig_free(r);
    }
}

Test(turn_pooled, many_pairs_meet_at_the_same_two_ports)
{
    enum { PAIRS = 5 };
    struct rig *r = pool_start(2);
    struct guest a[PAIRS], b[PAIRS];

    for (unsigned i = 0; i < PAIRS; i++) {
        a[i] = guest(r, 2 * i);
        b[i] = guest(r, 2 * i + 1);
        acquaint(r, &a[i], &b[i]);
        cr_assert(hears(r, &a[i], &b[i], "hello"), "pair %u", i);
        cr_assert(hears(r, &b[i], &a[i], "hello"), "pair %u", i);
    }
    for (unsigned i = 0; i < 3 * PAIRS; i++) {
        cr_expect(hears(r, &a[i % PAIRS], &b[i % PAIRS], "on"));
        cr_expect(hears(r, &b[i % PAIRS], &a[i % PAIRS], "and on"));
    }
    cr_expect_eq(POOL_COUNT(r, pool_conflicts) + POOL_COUNT(r, pool_ambiguous), 0);
    rig_free(r);
}

/* All permissions first, then ICE: what nobody can tell apart is dropped, and found out by names. */
Test(turn_pooled, ice_finds_the_right_one_among_many)
{
    enum { PAIRS = 4 };
    struct rig *r = pool_start(1);
    struct guest a[PAIRS], b[PAIRS];
    char of_a[8], of_b[8];

    for (unsigned i = 0; i < PAIRS; i++) {
        a[i] = guest(r, 2 * i);
        b[i] = guest(r, 2 * i + 1);
        acquaint(r, &a[i], &b[i]);
    }
    cr_expect_eq(guest_sends(r, &a[0], b[0].relay_text, "x"), PH_DROP);
    cr_expect_eq(POOL_COUNT(r, pool_ambiguous), 1);
    for (unsigned i = 0; i < PAIRS; i++) {
        snprintf(of_a, sizeof of_a, "aaa%u", i);
        snprintf(of_b, sizeof of_b, "bbb%u", i);
        guest_checks(r, &a[i], b[i].relay_text, of_b, of_a);
        cr_assert_eq(guest_checks(r, &b[i], a[i].relay_text, of_a, of_b), PH_SEND);
        cr_expect(ph_addr_eq(&r->pkt.dst, &a[i].at), "pair %u", i);
        cr_assert(hears(r, &a[i], &b[i], "the answer"), "pair %u", i);
    }
    for (unsigned i = 0; i < PAIRS; i++) {
        cr_expect(hears(r, &a[i], &b[i], "media"));
        cr_expect(hears(r, &b[i], &a[i], "media"));
    }
    rig_free(r);
}

Test(turn_pooled, a_client_that_is_its_own_peer_hears_itself_once)
{
    struct rig *r = pool_start(1);
    struct guest a = guest(r, 1);

    cr_expect_eq(guest_sends(r, &a, a.relay_text, "round"), PH_DROP, "not without a permission");
    permit(r, &a, &a);
    cr_expect(hears(r, &a, &a, "round"));
    cr_expect_eq(POOL_COUNT(r, to_peer_packets), 1);
    cr_expect_eq(POOL_COUNT(r, to_client_packets), 1);
    rig_free(r);
}

Test(turn_pooled, permissions_hold_on_both_sides)
{
    struct rig *r = pool_start(2);
    struct guest a = guest(r, 1), b = guest(r, 2);

    cr_expect_eq(guest_sends(r, &a, b.relay_text, "x"), PH_DROP);
    permit(r, &a, &b);
    cr_expect_eq(guest_sends(r, &a, b.relay_text, "x"), PH_DROP, "b has not permitted it");
    cr_expect_eq(POOL_COUNT(r, no_permission), 2);
    permit(r, &b, &a);
    cr_expect(hears(r, &a, &b, "x"));
    rig_sleep(r, PH_SEC(150));
    permit(r, &a, &b);
    rig_sleep(r, PH_SEC(150));
    cr_expect_eq(guest_sends(r, &a, b.relay_text, "x"), PH_DROP, "it has ended");
    cr_expect_eq(guest_sends(r, &b, a.relay_text, "x"), PH_DROP);
    rig_free(r);
}

/* Relays of this server may always be talked to, also where policy denies its addresses. */
Test(turn_pooled, behind_an_external_address_where_policy_denies_the_bound_one)
{
    struct rig *r = pool_rig(2);
    struct ph_addr public = rig_addr("192.0.2.1");

    r->c.relay[0].at = rig_addr("10.0.0.1");
    r->c.relay[0].external = public;
    rig_start(r);
    struct guest a = guest(r, 1), b = guest(r, 2);
    cr_assert(ph_addr_eq_ip(&a.relay, &public));
    acquaint(r, &a, &b);
    cr_expect(hears(r, &a, &b, "to b"));
    cr_expect(hears(r, &b, &a, "to a"));
    cr_expect_eq(rig_bind(r, &a.at, 0x4000, "10.0.0.1:4000"), 403, "nothing else there");
    rig_free(r);
}

Test(turn_pooled, bandwidth_and_ends_are_minded)
{
    struct rig *r = pool_rig(2);
    char big[1000];

    memset(big, 'x', sizeof big);
    r->c.live.max_bps = 1000;
    rig_start(r);
    struct guest a = guest(r, 1), b = guest(r, 2), c = guest(r, 3);
    acquaint(r, &a, &b);
    cr_assert_eq(rig_bind(r, &a.at, 0x4000, b.relay_text), 0);
    while (rig_channel(r, &a.at, 0x4000, big, sizeof big) == PH_SEND)
        cr_assert_lt(POOL_COUNT(r, to_peer_packets), 100);
    cr_expect_gt(POOL_COUNT(r, over_bps), 0);
    cr_expect_eq(POOL_COUNT(r, to_peer_packets), POOL_COUNT(r, to_client_packets));
    rig_sleep(r, PH_SEC(10));
    cr_assert_eq(rig_refresh(r, &b.at, 0), 0);
    cr_expect_eq(rig_channel(r, &a.at, 0x4000, "x", 1), PH_DROP, "nobody is there");
    (void)c;
    rig_free(r);
}

/* --- transports and buffers ------------------------------------------------------------------------ */

Test(turn_pooled, from_any_transport_to_any)
{
    static const uint8_t protos[] = {PH_UDP, PH_TCP, PH_TLS, PH_DTLS};

    for (unsigned i = 0; i < 16; i++) {
        struct rig *r = pool_start(1 + i % 2);
        struct guest a = guest_on(r, 1, protos[i / 4]), b = guest_on(r, 2, protos[i % 4]);
        acquaint(r, &a, &b);
        cr_expect(hears(r, &a, &b, "hello"), "%u to %u", protos[i / 4], protos[i % 4]);
        cr_expect(ph_addr_eq(&r->pkt.src, &r->c.listener[rig_listener(&b.at)].at));
        rig_free(r);
    }
}

/* Hands a client's packet in that fills its buffer, with or without a place for a header elsewhere; then, if that is what
 * the core asks for, once more with room. */
static bool tight(struct rig *r, const struct guest *from, const struct guest *to,
                  const uint8_t *msg, size_t n, bool has_head, const char *text, bool *again)
{
    uint8_t head[PH_HEADROOM], *seg = malloc(n), copy[2048];
    struct ph_pkt p = {.b = {seg, (uint32_t)n, 0, (uint32_t)n},
                       .src = from->at,
                       .sock = rig_listener(&from->at),
                       .conn = rig_conn(&from->at),
                       .head = has_head ? head : NULL};

    memcpy(seg, msg, n);
    r->verdict = ph_turnd_input(r->d, &p, r->now);
    *again = r->verdict == PH_E_NOSPACE;
    if (*again) {
        cr_assert_eq(p.b.off, 0);
        cr_assert(p.b.len <= n && memcmp(seg, msg, p.b.len) == 0, "nothing has happened");
        cr_assert_eq(rig_input(r, p.sock, &from->at, seg, p.b.len), PH_SEND);
    } else {
        cr_assert_eq(r->verdict, PH_SEND);
        memcpy(copy, head, p.head_len);
        memcpy(copy + p.head_len, ph_buf_data(&p.b), p.b.len);
        r->pkt = p;
        memcpy(r->buf, copy, p.head_len + p.b.len);
        r->pkt.b = (struct ph_buf){r->buf, sizeof r->buf, 0, p.head_len + p.b.len};
        rig_result(r);
    }
    const bool good = heard(r, to, from->relay_text, text);
    free(seg);
    return good;
}

Test(turn_pooled, buffers_without_room)
{
    static const char text[] = "0123456789";
    struct ph_addr peer;
    struct ph_msgw w;
    uint8_t msg[256];
    bool again;

    for (unsigned i = 0; i < 4; i++) {
        struct rig *r = pool_start(2);
        struct guest a = guest_on(r, 1, i & 2 ? PH_TCP : PH_UDP), b = guest(r, 2);
        const bool has_head = i & 1;
        uint64_t sent = 0;

        acquaint(r, &a, &b);
        peer = b.relay;
        cr_assert_eq(rig_bind(r, &a.at, 0x4001, b.relay_text), 0);
        for (unsigned channel = 0; channel < 2; channel++) {
            if (channel)
                cr_assert_eq(rig_bind(r, &b.at, 0x4002, a.relay_text), 0);
            for (uint16_t n = 0; n <= 10; n++) {
                char part[16] = {0};
                memcpy(part, text, n);
                ph_chandata_write(msg, 0x4001, n);
                memcpy(msg + 4, text, n);
                cr_expect(tight(r, &a, &b, msg, n + 4u, has_head, part, &again), "ChannelData %u",
                          n);
                cr_expect_eq(again, !has_head && !channel,
                             "a Data indication is longer than what it was made of");
                for (unsigned first = 0; first < 2;
                     first++) { /* DATA behind the address, or first */
                    ph_msgw_begin(&w, msg, sizeof msg, PH_SEND_METHOD, PH_INDICATION, msg);
                    if (first)
                        ph_msgw_bytes(&w, PH_ATTR_DATA, ph_str(part));
                    ph_msgw_addr(&w, PH_ATTR_XOR_PEER_ADDRESS, &peer);
                    if (!first)
                        ph_msgw_bytes(&w, PH_ATTR_DATA, ph_str(part));
                    const size_t len = (size_t)ph_msgw_end(&w);
                    cr_expect(tight(r, &a, &b, msg, len, has_head, part, &again), "Send %u", n);
                    cr_expect_not(again, "what it came in is room enough");
                }
                sent += 3;
            }
        }
        cr_expect_eq(POOL_COUNT(r, to_peer_packets), sent, "each was counted once");
        cr_expect_eq(POOL_COUNT(r, to_client_packets), sent);
        rig_free(r);
    }
}

/* --- who wants what is not his ----------------------------------------------------------------------- */

/* Everything that a client can do who has the same port, and permissions for the same IPs, as two others that talk to a
 * server, or to each other: none of it is heard by anybody in his place, and what they hear is not touched. */
Test(turn_pooled, anothers_flow_can_be_neither_stolen_nor_read)
{
    static const char sfu[] = "192.0.2.5:9000";
    struct rig *r = pool_start(1);
    struct guest a = guest(r, 1), b = guest(r, 2), thief = guest(r, 66);

    cr_assert_eq(rig_bind(r, &a.at, 0x4000, sfu), 0);
    cr_assert_eq(guest_checks(r, &a, sfu, "sfu", "aaaa"), PH_SEND);
    acquaint(r, &a, &b);
    guest_checks(r, &a, b.relay_text, "bbbb", "aaaa");
    cr_assert_eq(guest_checks(r, &b, a.relay_text, "aaaa", "bbbb"), PH_SEND);
    cr_assert(hears(r, &a, &b, "hello"));

    cr_assert_eq(rig_permit(r, &thief.at, sfu), 0);
    permit(r, &thief, &a);
    for (unsigned i = 0; i < 3; i++) {
        cr_expect_eq(rig_bind(r, &thief.at, 0x4000, sfu), 508);
        cr_expect_eq(guest_sends(r, &thief, sfu, "mine"), PH_DROP);
        cr_expect_eq(guest_checks(r, &thief, sfu, "sfu", "aaaa"), PH_DROP, "under his name");
        cr_expect_eq(guest_checks(r, &thief, a.relay_text, "aaaa", "bbbb"), PH_DROP);
        cr_expect_eq(guest_checks(r, &thief, a.relay_text, "bbbb", "aaaa"), PH_DROP);
        cr_expect_eq(guest_sends(r, &thief, a.relay_text, "mine"), PH_DROP);
        cr_assert_eq(rig_bind(r, &thief.at, 0x4001, a.relay_text), 0, "a name for many");
        cr_expect_eq(rig_channel(r, &thief.at, 0x4001, "mine", 4), PH_DROP);
        peer_sends(r, &a, sfu, "to a");
        cr_expect(heard(r, &a, sfu, "to a"));
        peer_checks(r, a.sock, sfu, "aaaa", "sfu");
        cr_expect(ph_addr_eq(&r->pkt.dst, &a.at));
        cr_expect(hears(r, &a, &b, "to b"));
        cr_expect(hears(r, &b, &a, "to a"));
        guest_checks(r, &b, a.relay_text, "aaaa", "bbbb");
        cr_expect(ph_addr_eq(&r->pkt.dst, &a.at));
        /* Those two renew in time, the thief lets go and comes back. */
        rig_sleep(r, PH_SEC(200));
        cr_assert_eq(rig_refresh(r, &a.at, 600), 0);
        cr_assert_eq(rig_refresh(r, &b.at, 600), 0);
        cr_assert_eq(rig_permit(r, &a.at, sfu), 0);
        acquaint(r, &a, &b);
        cr_assert_eq(rig_refresh(r, &thief.at, 0), 0);
        rig_take(r);
        thief = guest(r, 66);
        cr_assert_eq(rig_permit(r, &thief.at, sfu), 0);
        permit(r, &thief, &a);
    }
    cr_expect_gt(POOL_COUNT(r, pool_conflicts), 10);
    rig_free(r);
}

/* He cannot take all flows there are: each client has so many, and those he has are given up for new ones. */
Test(turn_pooled, flows_of_a_client_are_bounded)
{
    struct rig *r = pool_rig(1);
    char peer[PH_ADDR_TEXT];

    r->c.max_permissions = 4;
    r->c.max_channels = 4;
    rig_start(r);
    struct guest a = guest(r, 1), thief = guest(r, 66);
    cr_assert_eq(rig_permit(r, &thief.at, "192.0.2.5"), 0);
    for (unsigned i = 0; i < 5000; i++) {
        snprintf(peer, sizeof peer, "192.0.2.5:%u", 1000 + i);
        cr_assert_eq(guest_sends(r, &thief, peer, "mine"), PH_SEND);
        r->now++;
    }
    cr_assert_eq(rig_permit(r, &a.at, "192.0.2.5"), 0);
    unsigned taken = 0;
    for (unsigned i = 0; i < 5000; i++) {
        snprintf(peer, sizeof peer, "192.0.2.5:%u", 1000 + i);
        taken += guest_sends(r, &a, peer, "mine too") != PH_SEND;
    }
    cr_expect_eq(taken, 8);
    rig_free(r);
}
