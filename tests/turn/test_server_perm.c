/*
 * Permissions, channels and the peer policy (RFC 8656 9, 10, 12).
 */
#include "turn/rig.h"

#include <stdio.h>

static const char client_text[] = "203.0.113.9:40000";

static struct rig *allocated(struct ph_addr *c)
{
    struct rig *r = rig_default();
    *c = rig_addr(client_text);
    cr_assert_eq(rig_allocate_with(r, c, PH_ATTR_ADDITIONAL_ADDRESS_FAMILY, PH_AF_INET6), 0);
    return r;
}

Test(turn_perm, expires_after_300_s)
{
    struct ph_addr c;
    struct rig *r = allocated(&c);

    cr_assert_eq(rig_permit(r, &c, "192.0.2.5:9"), 0);
    r->now += PH_SEC(300) - 1;
    cr_expect_eq(rig_indicate(r, &c, "192.0.2.5:7", "x", 1), PH_SEND);
    cr_expect_eq(rig_peer(r, "192.0.2.5:1234", "y", 1), PH_SEND, "any port of the IP");
    r->now += 1;
    cr_expect_eq(rig_indicate(r, &c, "192.0.2.5:7", "x", 1), PH_DROP);
    cr_expect_eq(rig_peer(r, "192.0.2.5:1234", "y", 1), PH_DROP);
    cr_expect_eq(ph_turnd_stats(r->d)->no_permission, 2);
    rig_free(r);
}

Test(turn_perm, request_refreshes_it)
{
    struct ph_addr c;
    struct rig *r = allocated(&c);

    cr_assert_eq(rig_permit(r, &c, "192.0.2.5:9"), 0);
    r->now += PH_SEC(200);
    cr_assert_eq(rig_permit(r, &c, "192.0.2.5:0"), 0);
    r->now += PH_SEC(299);
    cr_expect_eq(rig_indicate(r, &c, "192.0.2.5:7", "x", 1), PH_SEND);
    rig_free(r);
}

Test(turn_perm, needs_an_address_and_an_allocation)
{
    struct ph_addr c;
    struct rig *r = allocated(&c);

    rig_begin(r, PH_CREATE_PERMISSION);
    rig_send_signed(r, &c);
    cr_expect_eq(rig_code(r), 400);
    c.port++;
    cr_expect_eq(rig_permit(r, &c, "192.0.2.5:9"), 437);
    rig_free(r);
}

Test(turn_perm, several_peers_are_all_or_nothing)
{
    struct ph_addr c, good = rig_addr("192.0.2.5:9"), bad = rig_addr("127.0.0.1:9");
    struct rig *r = allocated(&c);

    rig_begin(r, PH_CREATE_PERMISSION);
    ph_msgw_addr(&r->w, PH_ATTR_XOR_PEER_ADDRESS, &good);
    ph_msgw_addr(&r->w, PH_ATTR_XOR_PEER_ADDRESS, &bad);
    rig_send_signed(r, &c);
    cr_expect_eq(rig_code(r), 403);
    cr_expect_eq(rig_indicate(r, &c, "192.0.2.5:9", "x", 1), PH_DROP);
    bad = rig_addr("[2001:db8:7::7]:9");
    rig_begin(r, PH_CREATE_PERMISSION);
    ph_msgw_addr(&r->w, PH_ATTR_XOR_PEER_ADDRESS, &good);
    ph_msgw_addr(&r->w, PH_ATTR_XOR_PEER_ADDRESS, &bad);
    rig_send_signed(r, &c);
    cr_expect_eq(rig_code(r), 0);
    cr_expect_eq(rig_indicate(r, &c, "192.0.2.5:9", "x", 1), PH_SEND);
    cr_expect_eq(rig_indicate(r, &c, "[2001:db8:7::7]:9", "x", 1), PH_SEND);
    rig_free(r);
}

Test(turn_perm, their_number_is_limited)
{
    struct rig *r = rig_new();
    struct ph_addr c = rig_addr(client_text);
    char peer[32];

    r->c.max_permissions = 5;
    rig_start(r);
    cr_assert_eq(rig_allocate(r, &c), 0);
    for (int i = 0; i < 7; i++) {
        snprintf(peer, sizeof peer, "192.0.2.%d:9", i + 1);
        cr_expect_eq(rig_permit(r, &c, peer), i < 5 ? 0 : 508);
    }
    cr_expect_eq(rig_permit(r, &c, "192.0.2.3:9"), 0, "refreshing is always possible");
    r->now += PH_SEC(301);
    rig_challenge(r, &c);
    cr_expect_eq(rig_permit(r, &c, "192.0.2.99:9"), 0, "expired ones make room");
    rig_free(r);
}

Test(turn_chan, carries_data_both_ways)
{
    struct ph_addr c;
    struct rig *r = allocated(&c);
    const uint8_t *p = r->buf;

    cr_assert_eq(rig_bind(r, &c, 0x4001, "192.0.2.5:9"), 0);
    cr_assert_eq(rig_channel(r, &c, 0x4001, "hello", 5), PH_SEND);
    cr_expect_eq(r->pkt.b.len, 5);
    cr_expect_eq(memcmp(ph_buf_data(&r->pkt.b), "hello", 5), 0);
    struct ph_addr peer = rig_addr("192.0.2.5:9");
    cr_expect(ph_addr_eq_endpoint(&r->pkt.dst, &peer));
    cr_expect_eq(r->pkt.sock, r->opened_sock[0]);
    cr_expect_eq(ph_buf_data(&r->pkt.b), p + PH_HEADROOM + 4, "no payload was moved");

    cr_assert_eq(rig_peer(r, "192.0.2.5:9", "world!", 6), PH_SEND);
    p = ph_buf_data(&r->pkt.b);
    cr_expect_eq(r->pkt.b.len, 10);
    cr_expect_eq(memcmp(p, "\x40\x01\x00\x06world!", 10), 0);
    cr_expect(ph_addr_eq(&r->pkt.dst, &c));
    rig_free(r);
}

Test(turn_chan, expires_after_600_s_and_its_permission_after_300)
{
    struct ph_addr c;
    struct rig *r = allocated(&c);

    cr_assert_eq(rig_bind(r, &c, 0x4001, "192.0.2.5:9"), 0);
    r->now += PH_SEC(300) - 1;
    cr_expect_eq(rig_channel(r, &c, 0x4001, "x", 1), PH_SEND);
    r->now += 1;
    cr_expect_eq(rig_channel(r, &c, 0x4001, "x", 1), PH_DROP);
    cr_expect_eq(ph_turnd_stats(r->d)->no_permission, 1);
    cr_assert_eq(rig_permit(r, &c, "192.0.2.5:1"), 0);
    cr_expect_eq(rig_channel(r, &c, 0x4001, "x", 1), PH_SEND);
    r->now += PH_SEC(299);
    cr_expect_eq(rig_channel(r, &c, 0x4001, "x", 1), PH_SEND);
    rig_challenge(r, &c);
    cr_assert_eq(rig_permit(r, &c, "192.0.2.5:1"), 0);
    r->now += PH_SEC(1);
    cr_expect_eq(rig_channel(r, &c, 0x4001, "x", 1), PH_DROP);
    cr_expect_eq(ph_turnd_stats(r->d)->no_channel, 1);
    /* What comes in is a Data indication again. */
    cr_assert_eq(rig_peer(r, "192.0.2.5:9", "abc", 3), PH_SEND);
    cr_expect(r->has_out && r->out.method == PH_DATA_METHOD);
    rig_free(r);
}

Test(turn_chan, number_and_peer_belong_together)
{
    struct ph_addr c;
    struct rig *r = allocated(&c);

    cr_assert_eq(rig_bind(r, &c, 0x4001, "192.0.2.5:9"), 0);
    cr_expect_eq(rig_bind(r, &c, 0x4001, "192.0.2.5:10"), 400);
    cr_expect_eq(rig_bind(r, &c, 0x4002, "192.0.2.5:9"), 400);
    cr_expect_eq(rig_bind(r, &c, 0x4001, "192.0.2.5:9"), 0, "refresh");
    cr_expect_eq(rig_bind(r, &c, 0x4002, "192.0.2.5:10"), 0);
    r->now += PH_SEC(600);
    ph_turnd_tick(r->d, r->now - 1);
    rig_free(r);
}

Test(turn_chan, number_is_free_again_after_it_expired)
{
    struct rig *r = rig_new();
    struct ph_addr c = rig_addr(client_text);

    r->c.max_channels = 1;
    rig_start(r);
    cr_assert_eq(rig_allocate_with(r, &c, PH_ATTR_LIFETIME, 3600), 0);
    cr_assert_eq(rig_bind(r, &c, 0x4001, "192.0.2.5:9"), 0);
    cr_expect_eq(rig_bind(r, &c, 0x4002, "192.0.2.6:9"), 508);
    r->now += PH_SEC(600);
    cr_expect_eq(rig_bind(r, &c, 0x4001, "192.0.2.6:9"), 438);
    rig_take_nonce(r);
    cr_expect_eq(rig_bind(r, &c, 0x4001, "192.0.2.6:9"), 0);
    cr_expect_eq(rig_channel(r, &c, 0x4001, "x", 1), PH_SEND);
    rig_free(r);
}

Test(turn_chan, range)
{
    struct ph_addr c;
    struct rig *r = allocated(&c);
    static const struct {
        uint16_t number;
        int code;
    } table[] = {{0, 400},      {0x3FFF, 400}, {0x4000, 0},  {0x4FFF, 0},
                 {0x5000, 400}, {0x7FFF, 400}, {0xFFFF, 400}};
    char peer[32];

    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        snprintf(peer, sizeof peer, "192.0.2.%zu:9", i + 1);
        cr_expect_eq(rig_bind(r, &c, table[i].number, peer), table[i].code, "%x", table[i].number);
    }
    rig_free(r);
}

Test(turn_chan, old_range_when_allowed)
{
    struct rig *r = rig_new();
    struct ph_addr c = rig_addr(client_text);

    r->c.channels_5766 = true;
    rig_start(r);
    cr_assert_eq(rig_allocate(r, &c), 0);
    cr_expect_eq(rig_bind(r, &c, 0x7FFF, "192.0.2.5:9"), 0);
    cr_expect_eq(rig_channel(r, &c, 0x7FFF, "x", 1), PH_SEND);
    rig_free(r);
}

Test(turn_chan, family_without_relay_is_443)
{
    struct rig *r = rig_default();
    struct ph_addr c = rig_addr(client_text);

    cr_assert_eq(rig_allocate(r, &c), 0);
    cr_expect_eq(rig_bind(r, &c, 0x4000, "[2001:db8:9::1]:9"), 443);
    cr_expect_eq(rig_permit(r, &c, "[2001:db8:9::1]:9"), 443);
    rig_free(r);
}

/* The spellings by which people have reached what they should not (field notes: SSRF table). */
static const char *const forbidden[] = {
    "0.0.0.0:9",
    "0.1.2.3:9",
    "127.0.0.1:9",
    "127.0.0.8:9",
    "127.255.255.254:9",
    "10.1.2.3:9",
    "172.16.0.1:9",
    "172.31.255.255:9",
    "192.168.1.1:9",
    "100.64.0.1:9",
    "169.254.169.254:80",
    "198.18.0.1:9",
    "224.0.0.1:9",
    "240.0.0.1:9",
    "255.255.255.255:9",
    "[::]:9",
    "[::1]:9",
    "[::ffff:127.0.0.1]:9",
    "[::ffff:0.0.0.0]:9",
    "[::127.0.0.1]:9",
    "[::ffff:10.0.0.1]:9",
    "[2002:7f00:1::]:9",
    "[64:ff9b::7f00:1]:9",
    "[64:ff9b:1::1]:9",
    "[2001:0:1:2:3:4:80ff:fffe]:9",
    "[fe80::1]:9",
    "[fc00::1]:9",
    "[fd00:ec2::254]:80",
    "[fec0::1]:9",
    "[ff02::1]:9",
    "198.51.100.1:3478",
    "[2001:db8::1]:3478",
    "[::ffff:198.51.100.1]:3478",
    "192.0.0.1:9",
    "168.63.129.16:80",
    "[::ffff:0:127.0.0.1]:9",
    "[::0.0.0.2]:9",
    "[2002:a9fe:a9fe::1]:80",
    "[64:ff9b::a00:1]:9",
    "[2001:0:7f00:1:2:3:3fff:fdd2]:9",
    "[2001:db8:7::5efe:a00:1]:9",
    "[100::1]:9",
    "[5f00::1]:9",
    "[2001:2::1]:9",
    "198.51.100.1:5349",
    "192.0.2.200:6379",
    "[::ffff:192.0.2.200]:6379",
    "198.51.100.1:9641",
    "[2001:db8::1]:9641",
};

Test(turn_peer, forbidden_addresses_are_403_in_every_request)
{
    struct rig *r = rig_new();
    struct ph_addr c = rig_addr(client_text);

    r->c.live.forbidden[0] = rig_addr("192.0.2.200:6379"); /* Redis */
    r->c.live.forbidden[1] = rig_addr("0.0.0.0:9641");     /* metrics, on all addresses */
    r->c.live.n_forbidden = 2;
    rig_start(r);
    cr_assert_eq(rig_allocate_with(r, &c, PH_ATTR_ADDITIONAL_ADDRESS_FAMILY, PH_AF_INET6), 0);
    for (size_t i = 0; i < sizeof forbidden / sizeof *forbidden; i++) {
        cr_expect_eq(rig_permit(r, &c, forbidden[i]), 403, "permission %s", forbidden[i]);
        cr_expect_eq(rig_bind(r, &c, 0x4001, forbidden[i]), 403, "channel %s", forbidden[i]);
        cr_expect_eq(rig_indicate(r, &c, forbidden[i], "x", 1), PH_DROP, "send %s", forbidden[i]);
        cr_expect_eq(rig_peer(r, forbidden[i], "x", 1), PH_DROP, "inbound %s", forbidden[i]);
    }
    cr_expect_eq(rig_permit(r, &c, "203.0.113.50:9"), 0, "documentation ranges are for labs");
    rig_free(r);
}

/* A permission is for an IP; the listeners on that IP are still out of reach. */
Test(turn_peer, own_listener_cannot_be_reached_through_a_permission_for_its_ip)
{
    struct ph_addr c;
    struct rig *r = allocated(&c);

    cr_assert_eq(rig_permit(r, &c, "198.51.100.1:5000"), 0);
    cr_expect_eq(rig_indicate(r, &c, "198.51.100.1:5000", "x", 1), PH_SEND);
    cr_expect_eq(rig_indicate(r, &c, "198.51.100.1:3478", "x", 1), PH_DROP);
    cr_expect_eq(ph_turnd_stats(r->d)->forbidden_peer, 1);
    rig_free(r);
}

/* coturn #584: relays on a denied address must still reach each other. */
Test(turn_peer, live_relay_is_allowed_where_its_address_is_denied)
{
    struct rig *r = rig_new();
    struct ph_addr a = rig_addr(client_text), b = rig_addr("203.0.113.10:40000"), relay_a, relay_b;
    char peer[PH_ADDR_TEXT], other[PH_ADDR_TEXT];

    r->c.listener[0].at = rig_addr("10.0.0.1:3478");
    r->c.relay[0].at = rig_addr("10.0.0.1");
    rig_start(r);
    cr_assert_eq(rig_allocate(r, &a), 0);
    ph_msg_addr(&r->out, PH_IX_XOR_RELAYED_ADDRESS, &relay_a);
    cr_assert_eq(rig_allocate(r, &b), 0);
    ph_msg_addr(&r->out, PH_IX_XOR_RELAYED_ADDRESS, &relay_b);
    ph_addr_text(&relay_b, peer);
    rig_challenge(r, &a);
    cr_expect_eq(rig_permit(r, &a, peer), 0);
    cr_expect_eq(rig_indicate(r, &a, peer, "x", 1), PH_SEND);
    relay_b.port ^= 1;
    cr_expect_eq(rig_indicate(r, &a, ph_addr_text(&relay_b, other), "x", 1), PH_DROP,
                 "a port that is no relay stays denied");
    cr_expect_eq(rig_permit(r, &a, "10.0.0.1:1"), 403);
    cr_expect_eq(rig_permit(r, &a, "10.0.0.2:1"), 403);
    rig_challenge(r, &b);
    cr_expect_eq(rig_permit(r, &b, "10.0.0.2"), 403);
    cr_expect_eq(rig_permit(r, &b, "10.0.0.1"), 0, "without a port: any relay there");
    cr_expect_eq(rig_indicate(r, &b, ph_addr_text(&relay_a, other), "x", 1), PH_SEND);
    cr_expect_eq(rig_indicate(r, &b, "10.0.0.1:1", "x", 1), PH_DROP);
    cr_expect_eq(rig_indicate(r, &b, "10.0.0.1:3478", "x", 1), PH_DROP, "a listener");
    rig_free(r);
}

/* Live means bound, over UDP: a port that is only reserved, or a TCP relay's, may be another program's. */
Test(turn_peer, ports_that_are_not_bound_over_udp_are_no_relays)
{
    struct rig *r = rig_new();
    struct ph_addr a = rig_addr(client_text), t = rig_addr_on("203.0.113.10:40000", PH_TCP), relay;
    char peer[PH_ADDR_TEXT];

    r->c.listener[0].at = rig_addr("10.0.0.1:3478");
    r->c.listener[2].at = rig_addr_on("10.0.0.1:3478", PH_TCP);
    r->c.relay[0].at = rig_addr("10.0.0.1");
    rig_start(r);
    cr_assert_eq(rig_allocate_with(r, &a, PH_ATTR_EVEN_PORT, 0x80), 0);
    ph_msg_addr(&r->out, PH_IX_XOR_RELAYED_ADDRESS, &relay);
    cr_expect_eq(rig_permit(r, &a, ph_addr_text(&relay, peer)), 0);
    relay.port++;
    cr_expect(ph_ports_taken(r->ports[0], relay.port));
    cr_expect_eq(rig_permit(r, &a, ph_addr_text(&relay, peer)), 403, "reserved");
    cr_expect_eq(rig_indicate(r, &a, peer, "x", 1), PH_DROP);
    rig_challenge(r, &t);
    rig_begin(r, PH_ALLOCATE);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_TCP);
    rig_send_signed(r, &t);
    cr_assert_eq(rig_code(r), 0);
    ph_msg_addr(&r->out, PH_IX_XOR_RELAYED_ADDRESS, &relay);
    rig_challenge(r, &a);
    cr_expect_eq(rig_permit(r, &a, ph_addr_text(&relay, peer)), 403, "a TCP relay");
    cr_expect_eq(rig_indicate(r, &a, peer, "x", 1), PH_DROP);
    /* And over TCP a UDP relay's port is none. */
    a.port++;
    cr_assert_eq(rig_allocate(r, &a), 0);
    ph_msg_addr(&r->out, PH_IX_XOR_RELAYED_ADDRESS, &relay);
    rig_challenge(r, &t);
    rig_begin(r, PH_CONNECT);
    ph_msgw_addr(&r->w, PH_ATTR_XOR_PEER_ADDRESS, &relay);
    rig_send_signed(r, &t);
    cr_expect_eq(rig_code(r), 403);
    rig_free(r);
}

Test(turn_peer, relays_behind_one_external_address_meet_inside)
{
    struct rig *r = rig_new();
    struct ph_addr a = rig_addr(client_text), b = rig_addr("203.0.113.10:40000"), relay_a, relay_b;
    char peer[PH_ADDR_TEXT];
    uint32_t sock_a;

    r->c.listener[0].at = rig_addr("10.0.0.1:3478");
    r->c.relay[0].at = rig_addr("10.0.0.1");
    r->c.relay[0].external = rig_addr("192.0.2.1");
    rig_start(r);
    cr_assert_eq(rig_allocate(r, &a), 0);
    ph_msg_addr(&r->out, PH_IX_XOR_RELAYED_ADDRESS, &relay_a);
    sock_a = r->opened_sock[0];
    cr_assert_eq(rig_allocate(r, &b), 0);
    ph_msg_addr(&r->out, PH_IX_XOR_RELAYED_ADDRESS, &relay_b);
    rig_challenge(r, &a);
    ph_addr_text(&relay_b, peer);
    cr_assert_eq(rig_permit(r, &a, peer), 0);
    cr_assert_eq(rig_indicate(r, &a, peer, "x", 1), PH_SEND);
    cr_expect(ph_addr_eq_ip(&r->pkt.dst, &r->c.relay[0].at), "sent to the bound address");
    cr_expect_eq(r->pkt.dst.port, relay_b.port);
    /* And what comes back from the bound address is shown under the external one. */
    struct ph_addr from = r->c.relay[0].at, shown;
    from.port = relay_b.port;
    cr_assert_eq(rig_input(r, sock_a, &from, "y", 1), PH_SEND);
    cr_assert_eq(ph_msg_addr(&r->out, PH_IX_XOR_PEER_ADDRESS, &shown), 0);
    cr_expect(ph_addr_eq_endpoint(&shown, &relay_b));
    rig_free(r);
}

Test(turn_peer, explicit_rules_win)
{
    struct rig *r = rig_new();
    struct ph_addr c = rig_addr(client_text);

    ph_acl_add(r->acl, true, "10.0.0.0/8", 10);
    ph_acl_add(r->acl, false, "192.0.2.0-192.0.2.255", 21);
    rig_start(r);
    cr_assert_eq(rig_allocate(r, &c), 0);
    cr_expect_eq(rig_permit(r, &c, "10.2.3.4:9"), 0);
    cr_expect_eq(rig_permit(r, &c, "192.0.2.77:9"), 403);
    rig_free(r);
}

/* The same by packet: a permission for another port of the address opens no way to it. */
Test(turn_peer, own_services_cannot_be_reached_through_a_permission_for_their_ip)
{
    struct rig *r = rig_new();
    struct ph_addr c = rig_addr(client_text);
    static const char *const services[] = {"192.0.2.200:6379", "198.51.100.1:9641",
                                           "198.51.100.77:9641", "[::ffff:192.0.2.200]:6379"};

    r->c.relay[0].external = rig_addr("198.51.100.77");
    r->c.live.forbidden[0] = rig_addr("[::ffff:192.0.2.200]:6379"); /* however it is written */
    r->c.live.forbidden[1] = rig_addr("[::]:9641");
    r->c.live.n_forbidden = 2;
    rig_start(r);
    cr_assert_eq(rig_allocate_with(r, &c, PH_ATTR_ADDITIONAL_ADDRESS_FAMILY, PH_AF_INET6), 0);
    for (size_t i = 0; i < sizeof services / sizeof *services; i++) {
        struct ph_addr a = rig_addr(services[i]);
        char other[PH_ADDR_TEXT];
        cr_expect_eq(rig_permit(r, &c, services[i]), 403, "%s", services[i]);
        cr_expect_eq(rig_bind(r, &c, 0x4000, services[i]), 403, "%s", services[i]);
        a.port = 5000;
        ph_addr_text(&a, other);
        cr_assert_eq(rig_permit(r, &c, other), 0, "%s", other);
        cr_expect_eq(rig_indicate(r, &c, other, "x", 1), PH_SEND, "%s", other);
        cr_expect_eq(rig_indicate(r, &c, services[i], "x", 1), PH_DROP, "%s", services[i]);
        cr_expect_eq(rig_peer(r, services[i], "x", 1), PH_DROP, "%s", services[i]);
    }
    cr_expect_eq(ph_turnd_stats(r->d)->forbidden_peer, 4 * 4);
    rig_free(r);
}

/* Where loopback is allowed, what of ours listens there is not. */
Test(turn_peer, own_services_on_loopback_stay_closed)
{
    struct rig *r = rig_new();
    struct ph_addr c = rig_addr(client_text);

    ph_acl_allow_loopback(r->acl);
    r->c.listener[0].at = rig_addr("0.0.0.0:3478");
    r->c.live.forbidden[0] = rig_addr("127.0.0.1:5766");
    r->c.live.forbidden[1] = rig_addr("0.0.0.0:9641");
    r->c.live.n_forbidden = 2;
    rig_start(r);
    cr_assert_eq(rig_allocate(r, &c), 0);
    cr_assert_eq(rig_permit(r, &c, "127.0.0.1:8000"), 0);
    cr_expect_eq(rig_indicate(r, &c, "127.0.0.1:8000", "x", 1), PH_SEND);
    cr_expect_eq(rig_indicate(r, &c, "127.0.0.1:5766", "x", 1), PH_DROP);
    cr_expect_eq(rig_indicate(r, &c, "127.0.0.1:9641", "x", 1), PH_DROP);
    cr_expect_eq(rig_indicate(r, &c, "127.0.0.1:3478", "x", 1), PH_DROP);
    cr_assert_eq(rig_permit(r, &c, "127.0.0.2:8000"), 0);
    cr_expect_eq(rig_indicate(r, &c, "127.0.0.2:5766", "x", 1), PH_SEND, "another address");
    cr_expect_eq(rig_indicate(r, &c, "127.0.0.2:9641", "x", 1), PH_DROP);
    rig_free(r);
}

/* A permission is for an IP, rules with ports are about packets. */
Test(turn_peer, port_rules_hold_packet_by_packet)
{
    struct rig *r = rig_new();
    struct ph_addr c = rig_addr(client_text);

    ph_acl_add(r->acl, false, "*:1-1023", 8);
    ph_acl_add(r->acl, true, "10.0.0.5:7000", 13);
    rig_start(r);
    cr_assert_eq(rig_allocate(r, &c), 0);
    cr_expect_eq(rig_permit(r, &c, "192.0.2.5:25"), 403, "that is what it wants");
    cr_expect_eq(rig_permit(r, &c, "192.0.2.5:0"), 0);
    cr_expect_eq(rig_indicate(r, &c, "192.0.2.5:1024", "x", 1), PH_SEND);
    cr_expect_eq(rig_peer(r, "192.0.2.5:1024", "x", 1), PH_SEND);
    cr_expect_eq(rig_indicate(r, &c, "192.0.2.5:1023", "x", 1), PH_DROP);
    cr_expect_eq(rig_peer(r, "192.0.2.5:1023", "x", 1), PH_DROP);
    cr_expect_eq(rig_indicate(r, &c, "192.0.2.5:0", "x", 1), PH_DROP);
    cr_expect_eq(rig_bind(r, &c, 0x4000, "192.0.2.5:53"), 403);
    cr_expect_eq(rig_permit(r, &c, "10.0.0.5:0"), 0, "one port of it is allowed");
    cr_expect_eq(rig_indicate(r, &c, "10.0.0.5:7000", "x", 1), PH_SEND);
    cr_expect_eq(rig_indicate(r, &c, "10.0.0.5:7001", "x", 1), PH_DROP);
    cr_expect_eq(rig_permit(r, &c, "10.0.0.5:7001"), 403);
    cr_expect_eq(rig_permit(r, &c, "10.0.0.6:7000"), 403);
    cr_expect_eq(ph_turnd_stats(r->d)->forbidden_peer, 4 + 4);
    rig_free(r);
}
