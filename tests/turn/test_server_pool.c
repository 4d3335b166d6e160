/*
 * Allocations that share relay ports: which port they get, and whose a packet is.
 */
#include "support/oom.h"
#include "turn/pool_kit.h"
#include "turn/restore_kit.h"

static const char sfu[] = "192.0.2.5:9000";
static const char other[] = "192.0.2.5:9001"; /* the same IP */

/* --- ports --------------------------------------------------------------------------------------- */

Test(turn_pooled, sockets_are_there_from_the_start_and_stay)
{
    struct rig *r = pool_start(3);
    struct ph_addr at;
    uint32_t sock, i = 0;
    unsigned n = 0;

    for (; ph_turnd_pool(r->d, &i, &sock, &at); n++) {
        cr_expect_eq(sock, PH_SOCK_RELAY | PH_SOCK_POOL | n);
        cr_expect_eq(at.port, POOL_FIRST + n % 3);
        cr_expect_eq(at.family, n < 3 ? PH_AF_INET : PH_AF_INET6);
        cr_expect_eq(at.proto, PH_UDP);
        cr_expect(ph_ports_live(r->ports[n / 3], at.port));
    }
    cr_expect_eq(n, 6);
    cr_expect_eq(ph_ports_used(r->ports[0]), 3);
    struct guest a = guest(r, 1);
    cr_expect_neq(a.sock, 0);
    cr_expect_eq(rig_refresh(r, &a.at, 0), 0);
    rig_take(r);
    cr_expect_eq(r->ups, 1);
    cr_expect_eq(r->downs, 1);
    cr_expect(ph_addr_eq_endpoint(&r->down.relay[0], &a.relay), "its end tells where it was");
    cr_expect_eq(r->opens + r->closes, 0, "nothing was opened or closed for it");
    cr_expect_eq(ph_ports_used(r->ports[0]), 3);
    ph_turnd_free(r->d);
    r->core[0] = NULL;
    cr_expect_eq(ph_ports_used(r->ports[0]) + ph_ports_used(r->ports[1]), 0);
    cr_expect_not(ph_ports_live(r->ports[0], POOL_FIRST));
    rig_free(r);
}

Test(turn_pooled, a_port_that_is_taken_is_an_error_and_none_is_kept)
{
    struct rig *r = pool_rig(3);

    cr_assert(ph_ports_take_exact(r->ports[1], POOL_FIRST + 2));
    cr_expect_null(ph_turnd_new(&r->c, &r->env, r->now));
    cr_expect_eq(ph_ports_used(r->ports[0]), 0);
    cr_expect_eq(ph_ports_used(r->ports[1]), 1);
    r->c.pool_first = 50999;
    r->c.pool_ports = 2;
    cr_expect_null(ph_turnd_new(&r->c, &r->env, r->now), "beyond the range");
    r->c.pool_first = 65535;
    cr_expect_null(ph_turnd_new(&r->c, &r->env, r->now));
    r->c.pool_first = 0;
    cr_expect_null(ph_turnd_new(&r->c, &r->env, r->now));
    r->c.pool_first = POOL_FIRST;
    r->c.pool_ports = PH_POOL_PORTS_MAX + 1;
    cr_expect_null(ph_turnd_new(&r->c, &r->env, r->now));
    r->c.pool_ports = 0;
    rig_start(r);
    uint32_t i = 0, sock;
    struct ph_addr at;
    cr_expect_not(ph_turnd_pool(r->d, &i, &sock, &at), "there is none");
    rig_free(r);
}

Test(turn_pooled, clients_share_ports_evenly)
{
    struct rig *r = pool_start(4);
    unsigned n[4] = {0};

    for (unsigned i = 0; i < 40; i++) {
        struct guest g = guest(r, i);
        n[g.relay.port - POOL_FIRST]++;
        for (unsigned k = 0; k < 4; k++)
            cr_assert_leq(n[k], i / 4 + 1, "client %u got a port that more had than another", i);
    }
    cr_expect_eq(ph_turnd_count(r->d), 40);
    rig_free(r);
}

Test(turn_pooled, both_families)
{
    struct rig *r = pool_start(2);
    struct ph_addr c = rig_addr("203.0.113.9:40000"), six;

    cr_assert_eq(rig_allocate_with(r, &c, PH_ATTR_ADDITIONAL_ADDRESS_FAMILY, PH_AF_INET6), 0);
    struct ph_turnd_info info;
    uint32_t id = 0;
    cr_assert(ph_turnd_list(r->d, &id, &info));
    six = info.relay[1];
    cr_expect_neq(pool_sock(r, &info.relay[0]), 0);
    cr_expect_neq(pool_sock(r, &six), 0);
    cr_assert_eq(rig_permit(r, &c, "[2001:db8:5::5]:9000"), 0);
    struct ph_addr peer = rig_addr("[2001:db8:5::5]:9000");
    cr_expect_eq(rig_input(r, pool_sock(r, &six), &peer, "six", 3), PH_SEND);
    cr_expect_eq(rig_input(r, pool_sock(r, &info.relay[0]), &peer, "six", 3), PH_DROP);
    /* One family is given up: its port has no member any more. */
    rig_begin(r, PH_REFRESH);
    ph_msgw_uint(&r->w, PH_ATTR_LIFETIME, 0);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_ADDRESS_FAMILY, PH_AF_INET6);
    rig_send_signed(r, &c);
    cr_assert_eq(rig_code(r), 0);
    cr_expect_eq(rig_input(r, pool_sock(r, &six), &peer, "six", 3), PH_DROP);
    cr_expect_eq(r->closes, 0);
    cr_assert_eq(rig_permit(r, &c, sfu), 0);
    peer = rig_addr(sfu);
    cr_expect_eq(rig_input(r, pool_sock(r, &info.relay[0]), &peer, "four", 4), PH_SEND);
    rig_free(r);
}

Test(turn_pooled, even_ports)
{
    struct rig *r = pool_start(3); /* 50000 to 50002 */
    struct ph_addr c = rig_addr("203.0.113.9:40000"), relay;

    for (uint16_t i = 0; i < 8; i++, c.port++) {
        cr_assert_eq(rig_allocate_with(r, &c, PH_ATTR_EVEN_PORT, 0), 0);
        cr_assert_eq(ph_msg_addr(&r->out, PH_IX_XOR_RELAYED_ADDRESS, &relay), 0);
        cr_expect_eq(relay.port % 2, 0);
    }
    cr_expect_eq(rig_allocate_with(r, &c, PH_ATTR_EVEN_PORT, 0x80), 508, "no pairs");
    rig_free(r);

    r = pool_rig(1);
    r->c.pool_first = 50001;
    rig_start(r);
    cr_expect_eq(rig_allocate_with(r, &c, PH_ATTR_EVEN_PORT, 0), 508, "none is even");
    cr_expect_eq(rig_allocate(r, &c), 0);
    rig_free(r);
}

static int allocate_tcp(struct rig *r, const struct ph_addr *c)
{
    rig_begin(r, PH_ALLOCATE);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_TCP);
    rig_send(r, c);
    return rig_code(r);
}

Test(turn_pooled, tcp_relays_have_ports_of_their_own)
{
    struct rig *r = pool_rig(3);
    struct ph_addr c = rig_addr_on("203.0.113.9:40000", PH_TCP), relay;

    ph_ports_free(r->ports[0]);
    r->c.relay[0].ports = r->ports[0] = ph_ports_new(50000, 50003);
    rig_start(r);
    cr_assert_eq(allocate_tcp(r, &c), 0);
    cr_assert_eq(ph_msg_addr(&r->out, PH_IX_XOR_RELAYED_ADDRESS, &relay), 0);
    cr_expect_eq(relay.port, 50003);
    cr_expect_eq(r->opens, 1);
    c.port++;
    cr_expect_eq(allocate_tcp(r, &c), 508, "no port is left for it");
    cr_expect_neq(guest(r, 9).sock, 0, "but for those who share there is");
    rig_free(r);
}

/* --- flows --------------------------------------------------------------------------------------- */

Test(turn_pooled, two_clients_talk_to_one_server)
{
    struct rig *r = pool_start(2);
    struct guest a = guest(r, 1), b = guest(r, 2);

    cr_assert_neq(a.relay.port, b.relay.port);
    cr_assert_eq(rig_bind(r, &a.at, 0x4000, sfu), 0);
    cr_assert_eq(rig_bind(r, &b.at, 0x4000, sfu), 0);
    cr_assert_eq(rig_channel(r, &a.at, 0x4000, "from a", 6), PH_SEND);
    cr_expect(left(r, &a, sfu));
    cr_assert_eq(rig_channel(r, &b.at, 0x4000, "from b", 6), PH_SEND);
    cr_expect(left(r, &b, sfu));
    peer_sends(r, &a, sfu, "to a");
    cr_expect(heard(r, &a, sfu, "to a"));
    peer_sends(r, &b, sfu, "to b");
    cr_expect(heard(r, &b, sfu, "to b"));
    cr_expect_eq(POOL_COUNT(r, to_peer_packets), 2);
    cr_expect_eq(POOL_COUNT(r, to_client_bytes), 8);
    cr_expect_eq(POOL_COUNT(r, pool_conflicts), 0);
    rig_free(r);
}

Test(turn_pooled, a_third_one_is_told_why_not)
{
    struct rig *r = pool_rig(1);
    struct ph_slice reason;
    uint16_t code;

    r->c.long_reasons = true;
    rig_start(r);
    struct guest a = guest(r, 1), b = guest(r, 2);
    cr_assert_eq(rig_bind(r, &a.at, 0x4000, sfu), 0);
    cr_assert_eq(rig_bind(r, &b.at, 0x4000, sfu), 508);
    cr_assert_eq(ph_msg_error(&r->out, &code, &reason), 0);
    cr_expect(ph_slice_eq(reason, ph_str("Another client of this relay port talks to this peer")));
    cr_expect_eq(POOL_COUNT(r, pool_conflicts), 1);
    peer_sends(r, &b, other, "x");
    cr_expect(heard(r, &a, other, "x"), "what was refused has left no permission behind");
    cr_expect_eq(rig_permit(r, &b.at, sfu), 0, "a permission is for an IP, which many may talk to");
    cr_expect_eq(rig_bind(r, &b.at, 0x4001, "192.0.2.5:9002"), 0);
    cr_expect_eq(guest_sends(r, &b, sfu, "x"), PH_DROP);
    cr_expect_eq(POOL_COUNT(r, pool_conflicts), 2);
    struct ph_turnd_info info;
    uint32_t id = 1;
    cr_assert(ph_turnd_list(r->d, &id, &info));
    cr_expect_eq(info.dropped, 1);
    peer_sends(r, &a, sfu, "y");
    cr_expect(heard(r, &a, sfu, "y"));
    rig_free(r);
}

Test(turn_pooled, without_long_reasons_it_is_the_usual_one)
{
    struct rig *r = pool_start(1);
    struct guest a = guest(r, 1), b = guest(r, 2);
    struct ph_slice reason;
    uint16_t code;

    cr_assert_eq(rig_bind(r, &a.at, 0x4000, sfu), 0);
    cr_assert_eq(rig_bind(r, &b.at, 0x4000, sfu), 508);
    cr_assert_eq(ph_msg_error(&r->out, &code, &reason), 0);
    cr_expect(ph_slice_eq(reason, ph_str(ph_stun_reason(508))));
    rig_free(r);
}

Test(turn_pooled, a_flow_is_taken_over_when_the_permission_has_ended)
{
    struct rig *r = pool_start(1);
    struct guest a = guest(r, 1), b = guest(r, 2);

    cr_assert_eq(rig_bind(r, &a.at, 0x4000, sfu), 0); /* 600 s, its permission 300 s */
    cr_assert_eq(rig_channel(r, &a.at, 0x4000, "x", 1), PH_SEND);
    rig_sleep(r, PH_SEC(299));
    cr_expect_eq(rig_bind(r, &b.at, 0x4000, sfu), 508);
    rig_sleep(r, PH_SEC(1));
    cr_expect_eq(rig_bind(r, &b.at, 0x4000, sfu), 0);
    peer_sends(r, &b, sfu, "x");
    cr_expect(heard(r, &b, sfu, "x"));
    cr_assert_eq(rig_permit(r, &a.at, sfu), 0);
    cr_expect_eq(rig_channel(r, &a.at, 0x4000, "x", 1), PH_DROP, "too late");
    cr_expect_eq(rig_bind(r, &a.at, 0x4000, sfu), 508);
    rig_free(r);
}

Test(turn_pooled, a_flow_is_free_when_its_client_is_gone)
{
    struct rig *r = pool_start(1);
    struct guest a = guest(r, 1), b = guest(r, 2);

    cr_assert_eq(rig_permit(r, &a.at, sfu), 0);
    cr_assert_eq(guest_sends(r, &a, sfu, "x"), PH_SEND);
    cr_assert_eq(rig_permit(r, &b.at, sfu), 0);
    cr_assert_eq(guest_sends(r, &b, sfu, "x"), PH_DROP);
    cr_assert_eq(rig_refresh(r, &a.at, 0), 0);
    cr_expect_eq(guest_sends(r, &b, sfu, "x"), PH_SEND, "at once, whoever is told of the end when");
    peer_sends(r, &b, sfu, "x");
    cr_expect(heard(r, &b, sfu, "x"));
    rig_free(r);
}

Test(turn_pooled, a_packet_for_one_of_several_is_dropped_unless_it_says_for_whom)
{
    struct rig *r = pool_start(1);
    struct guest a = guest(r, 1), b = guest(r, 2);

    cr_assert_eq(rig_permit(r, &a.at, sfu), 0);
    peer_sends(r, &a, sfu, "one");
    cr_expect(heard(r, &a, sfu, "one"), "there is only one it can be for");
    cr_assert_eq(rig_permit(r, &b.at, sfu), 0);
    cr_expect_eq(peer_sends(r, &a, other, "two"), PH_DROP);
    cr_expect_eq(POOL_COUNT(r, pool_ambiguous), 1);
    peer_sends(r, &a, sfu, "three");
    cr_expect(heard(r, &a, sfu, "three"), "it was his flow");
    /* ICE: b's own check to somewhere else has told his name. */
    cr_assert_eq(guest_checks(r, &b, "192.0.2.5:9009", "peer", "bbbb"), PH_SEND);
    cr_expect_eq(peer_checks(r, a.sock, other, "cccc", "peer"), PH_DROP);
    cr_expect_eq(POOL_COUNT(r, pool_ambiguous), 2);
    cr_assert_eq(peer_checks(r, a.sock, other, "bbbb", "peer"), PH_SEND);
    cr_expect(ph_addr_eq(&r->pkt.dst, &b.at));
    peer_sends(r, &a, other, "four");
    cr_expect(heard(r, &b, other, "four"), "and now the flow is his");
    cr_expect_eq(rig_bind(r, &a.at, 0x4000, other), 508);
    rig_free(r);
}

Test(turn_pooled, checks_that_are_none_tell_nothing)
{
    static const char *const users[] = {"bbbb", "", ":", "bbbb:", ":bbbb"};
    struct rig *r = pool_start(1);
    struct guest a = guest(r, 1), b = guest(r, 2);
    const struct ph_addr peer = rig_addr(other);
    uint8_t p[256];
    struct ph_msgw w;

    cr_assert_eq(rig_permit(r, &a.at, sfu), 0);
    cr_assert_eq(rig_permit(r, &b.at, sfu), 0);
    for (unsigned i = 0; i < sizeof users / sizeof *users; i++) {
        ph_msgw_begin(&w, p, sizeof p, PH_BINDING, PH_REQUEST, p);
        ph_msgw_bytes(&w, PH_ATTR_USERNAME, ph_str(users[i]));
        const size_t n = (size_t)ph_msgw_end(&w);
        rig_indicate(r, &b.at, "192.0.2.5:9009", p, n);
        rig_indicate(r, &a.at, "192.0.2.5:9008", p, n);
        cr_expect_eq(rig_input(r, a.sock, &peer, p, n), PH_DROP, "\"%s\"", users[i]);
        cr_expect_eq(rig_input(r, a.sock, &peer, p, 19), PH_DROP);
        cr_expect_eq(rig_input(r, a.sock, &peer, p, n - 1), PH_DROP);
    }
    rig_free(r);
}

Test(turn_pooled, peers_without_a_permission_reach_nobody_and_leave_no_state)
{
    struct rig *r = pool_start(2);
    struct guest a = guest(r, 1);
    struct ph_addr peer = rig_addr("192.0.2.77:1");

    if (!oom_works())
        cr_skip("allocations cannot be watched in this build");
    cr_assert_eq(rig_permit(r, &a.at, sfu), 0);
    oom_fail_at(1);
    for (unsigned i = 0; i < 1000; i++) {
        peer.port = (uint16_t)(1 + i);
        peer.ip[3] = (uint8_t)(100 + i % 100);
        cr_assert_eq(rig_input(r, a.sock, &peer, "x", 1), PH_DROP);
    }
    peer = rig_addr(sfu);
    cr_expect_eq(rig_input(r, a.sock ^ 1, &peer, "x", 1), PH_DROP, "not at his port");
    cr_expect_eq(rig_input(r, PH_SOCK_RELAY | PH_SOCK_POOL | 4, &peer, "x", 1), PH_DROP);
    cr_expect_eq(rig_input(r, UINT32_MAX, &peer, "x", 1), PH_DROP, "no such socket");
    cr_expect_not(oom_disarm(), "memory was asked for");
    cr_expect_eq(POOL_COUNT(r, no_permission), 1001);
    cr_expect_eq(POOL_COUNT(r, no_allocation), 2);
    rig_sleep(r, PH_SEC(300));
    cr_expect_eq(rig_input(r, a.sock, &peer, "x", 1), PH_DROP, "it has ended");
    cr_expect_eq(POOL_COUNT(r, no_permission), 1002);
    rig_free(r);
}

/* --- the rest of what relays do -------------------------------------------------------------------- */

Test(turn_pooled, policy_holds)
{
    struct rig *r = pool_rig(1);

    r->c.live.forbidden[0] = rig_addr("192.0.2.200:6379");
    r->c.live.n_forbidden = 1;
    rig_start(r);
    struct guest a = guest(r, 1);
    cr_expect_eq(rig_permit(r, &a.at, "10.0.0.1:80"), 403);
    cr_expect_eq(rig_bind(r, &a.at, 0x4000, "127.0.0.1:80"), 403);
    cr_expect_eq(guest_sends(r, &a, sfu, "x"), PH_DROP);
    cr_expect_eq(POOL_COUNT(r, no_permission), 1);
    cr_assert_eq(rig_permit(r, &a.at, "192.0.2.200:1"), 0);
    cr_expect_eq(guest_sends(r, &a, "192.0.2.200:6379", "x"), PH_DROP);
    cr_expect_eq(peer_sends(r, &a, "192.0.2.200:6379", "x"), PH_DROP);
    cr_expect_eq(POOL_COUNT(r, forbidden_peer), 4);
    cr_expect_eq(guest_sends(r, &a, "198.51.100.1:3478", "x"), PH_DROP, "no listener of ours");
    rig_free(r);
}

Test(turn_pooled, a_peer_that_a_reload_forbids_is_free_for_nobody_and_its_flow_for_others)
{
    struct rig *r = pool_start(1);
    struct guest a = guest(r, 1), b = guest(r, 2);
    struct ph_acl *strict = ph_acl_new(), *mild = r->acl;
    struct ph_turnd_live live = r->c.live;

    cr_assert_eq(rig_bind(r, &a.at, 0x4000, sfu), 0);
    cr_assert_eq(ph_acl_add(strict, false, "192.0.2.0/24", 12), 0);
    live.acl = strict;
    ph_turnd_reload(r->d, &live, r->now);
    cr_expect_eq(peer_sends(r, &a, sfu, "x"), PH_DROP);
    cr_expect_eq(rig_channel(r, &a.at, 0x4000, "x", 1), PH_DROP);
    live.acl = mild;
    ph_turnd_reload(r->d, &live, r->now);
    cr_expect_eq(peer_sends(r, &a, sfu, "x"), PH_DROP, "what has ended stays so");
    cr_expect_eq(rig_bind(r, &b.at, 0x4000, sfu), 0);
    peer_sends(r, &b, sfu, "x");
    cr_expect(heard(r, &b, sfu, "x"));
    rig_free(r);
    ph_acl_free(strict);
}

Test(turn_pooled, icmp_errors_are_told_to_whose_flow_it_is)
{
    enum { UNREACHABLE = 3, PORT = 3 };
    struct rig *r = pool_start(1);
    struct guest a = guest(r, 1), b = guest(r, 2);
    const struct ph_addr peer = rig_addr(sfu), unknown = rig_addr(other);
    struct ph_pkt out = {.b = {r->buf, sizeof r->buf, PH_HEADROOM, 0}};

    cr_assert_eq(rig_permit(r, &a.at, sfu), 0);
    cr_assert_eq(rig_permit(r, &b.at, sfu), 0);
    cr_assert_eq(guest_sends(r, &b, sfu, "x"), PH_SEND);
    cr_assert_eq(ph_turnd_icmp(r->d, a.sock, &peer, UNREACHABLE, PORT, 0, &out, r->now), PH_SEND);
    cr_expect(ph_addr_eq(&out.dst, &b.at));
    cr_expect_eq(ph_turnd_icmp(r->d, a.sock, &unknown, UNREACHABLE, PORT, 0, &out, r->now), PH_DROP,
                 "nobody has sent there");
    cr_expect_eq(ph_turnd_icmp(r->d, UINT32_MAX, &peer, UNREACHABLE, PORT, 0, &out, r->now),
                 PH_DROP);
    rig_sleep(r, PH_SEC(300));
    cr_expect_eq(ph_turnd_icmp(r->d, a.sock, &peer, UNREACHABLE, PORT, 0, &out, r->now), PH_DROP);
    rig_free(r);
}

Test(turn_pooled, bandwidth_is_each_clients_own)
{
    struct rig *r = pool_rig(1);
    char big[1000];

    r->c.live.max_bps = 1000;
    rig_start(r);
    memset(big, 'x', sizeof big);
    struct guest a = guest(r, 1), b = guest(r, 2);
    cr_assert_eq(rig_bind(r, &a.at, 0x4000, sfu), 0);
    cr_assert_eq(rig_bind(r, &b.at, 0x4000, other), 0);
    while (rig_channel(r, &a.at, 0x4000, big, sizeof big) == PH_SEND)
        cr_assert_lt(POOL_COUNT(r, to_peer_packets), 100);
    cr_expect_gt(POOL_COUNT(r, over_bps), 0);
    cr_expect_eq(rig_channel(r, &b.at, 0x4000, big, sizeof big), PH_SEND);
    rig_free(r);
}

Test(turn_pooled, a_client_that_moves_keeps_its_flows)
{
    struct rig *r = pool_rig(1);
    struct ph_addr from = rig_addr("203.0.113.9:40000"), to = rig_addr("203.0.113.77:50000");
    struct ph_slice ticket;
    uint8_t kept[PH_TICKET_LEN];
    uint32_t sock[2];

    r->c.mobility = true;
    rig_start(r);
    rig_begin(r, PH_ALLOCATE);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
    ph_msgw_bytes(&r->w, PH_ATTR_MOBILITY_TICKET, (struct ph_slice){NULL, 0});
    rig_send(r, &from);
    cr_assert_eq(rig_code(r), 0);
    struct guest a = {.at = to};
    guest_takes(r, &a);
    cr_assert_eq(ph_msg_bytes(&r->out, PH_IX_MOBILITY_TICKET, &ticket), 0);
    memcpy(kept, ticket.p, sizeof kept);
    cr_assert_eq(rig_bind(r, &from, 0x4000, sfu), 0);
    rig_begin(r, PH_REFRESH);
    ph_msgw_bytes(&r->w, PH_ATTR_MOBILITY_TICKET, (struct ph_slice){kept, sizeof kept});
    rig_send(r, &to);
    cr_assert_eq(rig_code(r), 0);
    peer_sends(r, &a, sfu, "x");
    cr_expect(heard(r, &a, sfu, "x"));
    struct ph_turnd_info info;
    uint32_t id = 0;
    cr_assert(ph_turnd_list(r->d, &id, &info));
    const struct ph_turnd_where what = {.slot = info.id, .session = info.session};
    cr_expect_null(ph_turnd_detach(r->d, &what, sock, r->now), "its port cannot come along");
    rig_free(r);
}

/* --- the next process ------------------------------------------------------------------------------ */

Test(turn_pooled, restored_allocations_share_their_ports_again)
{
    struct rig *r = pool_start(1);
    struct guest a = guest(r, 1), b = guest(r, 2);

    cr_assert_eq(rig_bind(r, &a.at, 0x4000, sfu), 0);
    cr_assert_eq(rig_bind(r, &b.at, 0x4000, other), 0);
    cr_assert_eq(rig_permit(r, &a.at, "192.0.2.6:1"), 0);
    kit_restart(r);
    cr_expect_eq(r->opens, 0);
    cr_expect_eq(ph_turnd_count(r->d), 2);
    cr_expect_eq(POOL_COUNT(r, restored), 2);
    peer_sends(r, &a, sfu, "to a");
    cr_expect(heard(r, &a, sfu, "to a"));
    peer_sends(r, &b, other, "to b");
    cr_expect(heard(r, &b, other, "to b"));
    peer_sends(r, &a, "192.0.2.6:9", "to a");
    cr_expect(heard(r, &a, "192.0.2.6:9", "to a"));
    cr_assert_eq(rig_channel(r, &b.at, 0x4000, "x", 1), PH_SEND);
    cr_expect(left(r, &b, other));
    cr_expect_eq(rig_bind(r, &b.at, 0x4001, sfu), 508);
    rig_free(r);
}

Test(turn_pooled, a_port_that_was_in_the_pool_is_a_relays_own_without_one)
{
    struct rig *r = pool_start(1);
    struct guest a = guest(r, 1);

    cr_assert_eq(rig_bind(r, &a.at, 0x4000, sfu), 0);
    guest(r, 2);
    kit.n = 0;
    cr_assert_eq(kit_keep(r), 2);
    r->c.pool_ports = 0;
    kit_boot(r, PH_SEC(3), PH_SEC(20));
    cr_expect_eq(kit_restore(r, 0), 0);
    cr_expect_eq(r->opens, 1);
    cr_expect_eq(kit_restore(r, 1), PH_E_STATE, "only one can have it");
    cr_expect_eq(rig_peer(r, sfu, "x", 1), PH_SEND);
    rig_free(r);
}

Test(turn_pooled, a_tcp_relay_cannot_be_restored_at_a_shared_port)
{
    struct rig *r = pool_rig(1);
    struct ph_addr c = rig_addr_on("203.0.113.9:40000", PH_TCP);

    r->c.mobility = true;
    r->c.pool_ports = 0;
    ph_ports_free(r->ports[0]);
    r->c.relay[0].ports = r->ports[0] = ph_ports_new(POOL_FIRST, POOL_FIRST);
    rig_start(r);
    rig_begin(r, PH_ALLOCATE);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_TCP);
    ph_msgw_bytes(&r->w, PH_ATTR_MOBILITY_TICKET, (struct ph_slice){NULL, 0});
    rig_send(r, &c);
    cr_assert_eq(rig_code(r), 0);
    kit.n = 0;
    cr_assert_eq(kit_keep(r), 1);
    r->c.pool_ports = 1;
    kit_boot(r, PH_SEC(3), PH_SEC(20));
    cr_expect_eq(kit_restore(r, 0), PH_E_STATE);
    cr_expect(ph_ports_taken(r->ports[0], POOL_FIRST), "it is the pool's still");
    rig_free(r);
}
