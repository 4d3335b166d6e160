/*
 * The data path (RFC 8656 11, 12), and packets that are not what they seem.
 */
#include "stun/base/bytes.h"
#include "turn/rig.h"

static const char client_text[] = "203.0.113.9:40000";
static const char peer_text[] = "192.0.2.5:9000";

static struct rig *connected(struct ph_addr *c)
{
    struct rig *r = rig_default();
    *c = rig_addr(client_text);
    cr_assert_eq(rig_allocate_with(r, c, PH_ATTR_ADDITIONAL_ADDRESS_FAMILY, PH_AF_INET6), 0);
    cr_assert_eq(rig_permit(r, c, peer_text), 0);
    cr_assert_eq(rig_permit(r, c, "[2001:db8:5::5]:9000"), 0);
    return r;
}

Test(turn_data, send_indication_leaves_the_payload_where_it_was)
{
    struct ph_addr c, peer = rig_addr(peer_text);
    struct rig *r = connected(&c);

    cr_assert_eq(rig_indicate(r, &c, peer_text, "payload", 7), PH_SEND);
    cr_expect_eq(r->pkt.b.len, 7);
    cr_expect_eq(r->pkt.b.off, PH_HEADROOM + 36);
    cr_expect_eq(memcmp(ph_buf_data(&r->pkt.b), "payload", 7), 0);
    cr_expect(ph_addr_eq_endpoint(&r->pkt.dst, &peer));
    cr_expect_not(r->pkt.dont_fragment);
    rig_free(r);
}

Test(turn_data, data_indication_of_every_length_and_family_is_a_good_message)
{
    static const char *const peers[] = {"192.0.2.5:9000", "[2001:db8:5::5]:9000"};
    struct ph_addr c, from;
    struct rig *r = connected(&c);
    struct ph_slice data;
    uint8_t payload[9];

    memset(payload, 0xEE, sizeof payload);
    for (int f = 0; f < 2; f++)
        for (size_t n = 0; n <= sizeof payload; n++) {
            struct ph_addr peer = rig_addr(peers[f]);
            memset(r->buf, 0xAA, sizeof r->buf); /* stale bytes must not leak as padding */
            cr_assert_eq(rig_peer(r, peers[f], payload, n), PH_SEND);
            cr_assert(r->has_out);
            cr_expect_eq(r->out.method, PH_DATA_METHOD);
            cr_expect_eq(r->out.cls, PH_INDICATION);
            cr_assert_eq(ph_msg_addr(&r->out, PH_IX_XOR_PEER_ADDRESS, &from), 0);
            cr_expect(ph_addr_eq_endpoint(&from, &peer));
            cr_assert_eq(ph_msg_bytes(&r->out, PH_IX_DATA, &data), 0);
            cr_expect_eq(data.n, n);
            cr_expect_eq(memcmp(data.p, payload, n), 0);
            for (size_t k = n; k % 4; k++)
                cr_expect_eq(data.p[k], 0, "padding");
        }
    rig_free(r);
}

Test(turn_data, dont_fragment_is_passed_on)
{
    struct ph_addr c, peer = rig_addr(peer_text);
    struct rig *r = connected(&c);

    rig_begin(r, PH_SEND_METHOD);
    ph_msgw_addr(&r->w, PH_ATTR_XOR_PEER_ADDRESS, &peer);
    ph_msgw_flag(&r->w, PH_ATTR_DONT_FRAGMENT);
    ph_msgw_bytes(&r->w, PH_ATTR_DATA, ph_str("x"));
    cr_assert_eq(rig_send(r, &c), PH_SEND);
    cr_expect(r->pkt.dont_fragment);
    rig_free(r);
}

Test(turn_data, empty_payloads_pass)
{
    struct ph_addr c;
    struct rig *r = connected(&c);

    cr_assert_eq(rig_bind(r, &c, 0x4000, peer_text), 0);
    cr_expect_eq(rig_channel(r, &c, 0x4000, "", 0), PH_SEND);
    cr_expect_eq(r->pkt.b.len, 0);
    cr_expect_eq(rig_indicate(r, &c, peer_text, "", 0), PH_SEND);
    cr_expect_eq(r->pkt.b.len, 0);
    cr_expect_eq(rig_peer(r, peer_text, "", 0), PH_SEND);
    cr_expect_eq(r->pkt.b.len, 4);
    rig_free(r);
}

/* A segment of a coalesced receive buffer has no room in front: the header goes to the scratch area. */
Test(turn_data, without_headroom_the_header_is_an_iovec_of_its_own)
{
    struct ph_addr c, peer = rig_addr(peer_text);
    struct rig *r = connected(&c);
    uint8_t seg[] = "....segment", head[PH_HEADROOM];

    cr_assert_eq(rig_bind(r, &c, 0x4000, peer_text), 0);
    struct ph_pkt p = {
        .b = {seg + 4, 7, 0, 7}, .src = peer, .sock = r->opened_sock[0], .head = head};
    cr_assert_eq(ph_turnd_input(r->d, &p, r->now), PH_SEND);
    cr_expect_eq(p.head_len, 4);
    cr_expect_eq(memcmp(head, "\x40\x00\x00\x07", 4), 0);
    cr_expect_eq(p.b.len, 7);
    cr_expect_eq(memcmp(seg, "....segment", 11), 0, "neither neighbour was touched");
    rig_free(r);
}

Test(turn_data, too_little_room_is_told_before_anything_happened)
{
    struct ph_addr c, peer = rig_addr(peer_text);
    struct rig *r = connected(&c);
    uint8_t seg[] = "segment", head[PH_HEADROOM], bind[20];

    /* A Data indication needs a byte of padding behind these seven. */
    struct ph_pkt p = {.b = {seg, 7, 0, 7}, .src = peer, .sock = r->opened_sock[0], .head = head};
    cr_expect_eq(ph_turnd_input(r->d, &p, r->now), PH_E_NOSPACE);
    cr_expect_eq(p.b.len, 7);
    cr_expect_eq(p.head_len, 0);
    cr_expect_eq(ph_turnd_stats(r->d)->to_client_packets, 0);
    /* The answer to a Binding request is longer than the request. */
    struct ph_msgw w;
    ph_msgw_begin(&w, bind, sizeof bind, PH_BINDING, PH_REQUEST, (const uint8_t *)"123456789012");
    struct ph_pkt q = {.b = {bind, 20, 0, 20}, .src = c, .sock = 0, .head = head};
    cr_expect_eq(ph_turnd_input(r->d, &q, r->now), PH_E_NOSPACE);
    rig_free(r);
}

Test(turn_data, broken_channel_data_is_dropped)
{
    struct ph_addr c, stranger = rig_addr("203.0.113.99:1");
    struct rig *r = connected(&c);

    cr_assert_eq(rig_bind(r, &c, 0x4000, peer_text), 0);
    cr_expect_eq(rig_input(r, 0, &c, "\x40\x00\x00\x05xxxx", 8), PH_DROP, "longer than the packet");
    cr_expect_eq(rig_input(r, 0, &c, "\x40\x00\x00", 3), PH_DROP);
    cr_expect_eq(rig_input(r, 0, &c, "\x40\x00\x00\x03xxx\0", 8), PH_SEND, "padding is allowed");
    cr_expect_eq(r->pkt.b.len, 3);
    cr_expect_eq(rig_input(r, 0, &c, "\x40\x01\x00\x01x", 5), PH_DROP);
    cr_expect_eq(rig_input(r, 0, &stranger, "\x40\x00\x00\x01x", 5), PH_DROP);
    const struct ph_turnd_stats *s = ph_turnd_stats(r->d);
    cr_expect_eq(s->malformed, 2);
    cr_expect_eq(s->no_channel, 1);
    cr_expect_eq(s->no_allocation, 1);
    rig_free(r);
}

Test(turn_data, incomplete_send_indications_are_dropped)
{
    struct ph_addr c, peer = rig_addr(peer_text);
    struct rig *r = connected(&c);

    rig_begin(r, PH_SEND_METHOD);
    ph_msgw_addr(&r->w, PH_ATTR_XOR_PEER_ADDRESS, &peer);
    cr_expect_eq(rig_send(r, &c), PH_DROP);
    rig_begin(r, PH_SEND_METHOD);
    ph_msgw_bytes(&r->w, PH_ATTR_DATA, ph_str("x"));
    cr_expect_eq(rig_send(r, &c), PH_DROP);
    rig_begin(r, PH_SEND_METHOD);
    ph_msgw_addr(&r->w, PH_ATTR_XOR_PEER_ADDRESS, &peer);
    ph_msgw_raw(&r->w, 0x7777, ph_str("required"));
    ph_msgw_bytes(&r->w, PH_ATTR_DATA, ph_str("x"));
    cr_expect_eq(rig_send(r, &c), PH_DROP);
    rig_free(r);
}

Test(turn_data, icmp_errors_are_told)
{
    struct ph_addr c, peer = rig_addr(peer_text), other = rig_addr("192.0.2.99:1");
    struct rig *r = connected(&c);
    struct ph_attr_value v;
    uint8_t buf[256];
    struct ph_pkt out = {.b = {buf, sizeof buf, PH_HEADROOM, 0}};
    uint32_t sock = r->opened_sock[0];

    cr_assert_eq(ph_turnd_icmp(r->d, sock, &peer, 3, 4, 1400, &out, r->now), PH_SEND);
    cr_assert_eq(ph_msg_parse(&r->out, ph_buf_data(&out.b), out.b.len), 0);
    cr_expect_eq(r->out.method, PH_DATA_METHOD);
    cr_expect_not(ph_msg_has(&r->out, PH_IX_DATA));
    cr_assert_eq(ph_msg_get(&r->out, PH_IX_ICMP, &v), 0);
    cr_expect_eq(v.icmp.type, 3);
    cr_expect_eq(v.icmp.code, 4);
    cr_expect_eq(v.icmp.data, 1400);
    cr_expect(ph_addr_eq(&out.dst, &c));
    cr_expect_eq(ph_turnd_icmp(r->d, sock, &other, 3, 3, 0, &out, r->now), PH_DROP,
                 "no permission");
    cr_expect_eq(ph_turnd_icmp(r->d, sock, &peer, 8, 0, 0, &out, r->now), PH_DROP, "echo");
    cr_expect_eq(ph_turnd_icmp(r->d, sock + 2, &peer, 3, 3, 0, &out, r->now), PH_DROP,
                 "no such relay");
    cr_expect_eq(ph_turnd_count(r->d), 1, "an unreachable peer ends nothing");
    rig_free(r);
}

Test(turn_data, binding_is_answered_on_the_same_port)
{
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr(client_text), mapped;

    rig_begin(r, PH_BINDING);
    cr_assert_eq(rig_send(r, &c), PH_SEND);
    cr_assert_eq(ph_msg_addr(&r->out, PH_IX_XOR_MAPPED_ADDRESS, &mapped), 0);
    cr_expect(ph_addr_eq_endpoint(&mapped, &c));
    rig_free(r);
}

Test(turn_data, wrong_fingerprint_is_dropped)
{
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr(client_text);

    rig_begin(r, PH_BINDING);
    ph_msgw_fingerprint(&r->w);
    cr_expect_eq(rig_send(r, &c), PH_SEND);
    rig_begin(r, PH_BINDING);
    ph_msgw_fingerprint(&r->w);
    r->req[r->w.len - 1] ^= 1;
    cr_expect_eq(rig_send(r, &c), PH_DROP);
    rig_free(r);
}

Test(turn_data, foreign_packets_are_counted)
{
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr(client_text);

    cr_expect_eq(rig_input(r, 0, &c, "GET / HTTP/1.1\r\n\r\n", 18), PH_DROP);
    cr_expect_eq(rig_input(r, 0, &c, "\x16\xfe\xfd", 3), PH_DROP);
    cr_expect_eq(rig_input(r, 0, &c, "", 0), PH_DROP);
    cr_expect_eq(ph_turnd_stats(r->d)->malformed, 2);
    cr_expect_eq(ph_turnd_stats(r->d)->no_allocation, 1, "'G' looks like a channel");
    rig_free(r);
}

Test(turn_data, peers_of_ended_allocations_reach_nobody)
{
    struct ph_addr c;
    struct rig *r = connected(&c);

    cr_assert_eq(rig_refresh(r, &c, 0), 0);
    cr_expect_eq(rig_peer(r, peer_text, "late", 4), PH_DROP);
    /* The slot goes to somebody else, who has not permitted that peer. */
    c.port++;
    cr_assert_eq(rig_allocate(r, &c), 0);
    cr_expect_eq(rig_peer(r, peer_text, "late", 4), PH_DROP);
    rig_free(r);
}

Test(turn_data, counters_and_list_tell_what_happened)
{
    struct ph_addr c;
    struct rig *r = connected(&c);
    struct ph_turnd_info info;
    uint32_t id = 0;

    rig_indicate(r, &c, peer_text, "four", 4);
    rig_indicate(r, &c, peer_text, "five!", 5);
    rig_peer(r, peer_text, "abc", 3);
    cr_assert(ph_turnd_list(r->d, &id, &info));
    cr_expect_eq(info.to_peer_packets, 2);
    cr_expect_eq(info.to_peer_bytes, 9);
    cr_expect_eq(info.to_client_packets, 1);
    cr_expect_eq(info.to_client_bytes, 3);
    cr_expect_eq(info.permissions, 2);
    cr_expect(ph_slice_eq(info.user, ph_str("alice")));
    cr_expect(ph_addr_eq(&info.client, &c));
    uint32_t first = info.id;
    cr_expect_not(ph_turnd_list(r->d, &id, &info));
    cr_expect(ph_turnd_end(r->d, first, r->now));
    rig_drain(r);
    cr_expect_eq(r->reason, PH_END_ADMIN);
    cr_expect_not(ph_turnd_end(r->d, first, r->now));
    rig_free(r);
}
