/*
 * NATs in a row, forwards, firewalls, IPv6 and NAT64.
 */
#include "tests/sim/natkit.h"

TestSuite(sim_nat_shapes, .init = setup, .fini = teardown);

Test(sim_nat_shapes, two_in_a_row)
{
    struct sim_net *cg = sim_net_new(s, "cg", "100.64.0.0/10");
    struct sim_nat_conf outer = sim_nat_kind(SIM_CGNAT, "203.0.113.1");
    struct sim_nat_conf inner = sim_nat_kind(SIM_PORT_RESTRICTED, "100.64.0.2");
    struct sim_nat *cgn = sim_nat_new(s, "cgn", cg, inet, &outer);
    struct sim_home h = sim_home_new(s, "alice", cg, &inner, "192.168.1.2");
    inner.external[0] = "100.64.0.3";
    struct sim_home o = sim_home_new(s, "other", cg, &inner, "192.168.1.2");
    uint32_t a = open_at(h.host, "0.0.0.0:5000"), b = open_at(o.host, "0.0.0.0:5000");
    struct ph_addr ma = seen_by(a, S1P1, s1p1), mb = seen_by(b, S1P1, s1p1);
    cr_assert(ma.ip[3] == 1 && mb.ip[3] == 1 && ma.port != mb.port);
    cr_assert_eq(sim_nat_mappings(cgn), 2);
    cr_assert(reaches(s, s1p1, ma, a, NULL));
    cr_assert_not(reaches(s, s2p1, ma, a, NULL), "the inner box filters, the outer does not");
    cr_assert(sim_nat_count(h.nat, SIM_FILTERED) == 1 && sim_nat_count(cgn, SIM_FILTERED) == 0);
    cr_assert_not(reaches(s, a, mb, b, NULL), "hairpinned by the outer one, b has no hole yet");
    cr_assert(reaches(s, b, ma, a, NULL));
    cr_assert(reaches(s, a, mb, b, NULL));
    cr_assert_eq(sim_nat_count(cgn, SIM_HAIRPIN), 3);
}

Test(sim_nat_shapes, forwards_ports_and_maps_one_to_one)
{
    struct sim_home h = home((struct sim_nat_conf){.filtering = SIM_APD});
    uint32_t a = open_at(h.host, "0.0.0.0:5000");
    sim_nat_forward(h.nat, sim_addr("203.0.113.1:80"), sim_addr("192.168.1.2:5000"), PH_SEC(60));
    cr_assert(reaches(s, s2p2, sim_addr("203.0.113.1:80"), a, NULL));
    cr_assert_eq(seen_by(a, S1P1, s1p1).port, 80, "and answers leave from there");
    cr_assert_eq(sim_nat_mappings(h.nat), 0);
    sim_run(s, PH_SEC(60));
    cr_assert_not(reaches(s, s2p2, sim_addr("203.0.113.1:80"), a, NULL));
    sim_nat_forward(h.nat, sim_addr("203.0.113.1"), sim_addr("192.168.1.2"), PH_NEVER);
    cr_assert(reaches(s, s2p2, sim_addr("203.0.113.1:5000"), a, NULL));
    cr_assert_eq(seen_by(a, S1P1, s1p1).port, 5000);
    sim_nat_reboot(h.nat);
    cr_assert(reaches(s, s2p2, sim_addr("203.0.113.1:5000"), a, NULL), "survives a reboot");
    sim_nat_forward(h.nat, sim_addr("203.0.113.1"), sim_addr("192.168.1.2"), 0);
    cr_assert_not(reaches(s, s2p2, sim_addr("203.0.113.1:5000"), a, NULL));
}

Test(sim_nat_shapes, forwards_to_nobody_end_there)
{
    struct sim_home h = home((struct sim_nat_conf){0});
    uint32_t a = open_at(h.host, "0.0.0.0:5000");
    sim_nat_forward(h.nat, sim_addr("203.0.113.1:80"), sim_addr("192.168.1.99:80"), PH_NEVER);
    cr_assert_not(reaches(s, s2p2, sim_addr("203.0.113.1:80"), a, NULL));
    cr_assert(sim_count(s, SIM_NO_ROUTE) == 1 && sim_nat_mappings(h.nat) == 0);
}

Test(sim_nat_shapes, blocks_udp_and_fragments)
{
    struct sim_home h = home(sim_nat_kind(SIM_UDP_BLOCKED, "203.0.113.1"));
    uint32_t a = open_at(h.host, "0.0.0.0:5000");
    cr_assert_not(reaches(s, a, S1P1, s1p1, NULL));
    struct sim_icmp e;
    cr_assert_not(sim_recv_icmp(s, a, &e));
    teardown();
    setup();
    h = home((struct sim_nat_conf){.block_udp = true, .reject = true});
    a = open_at(h.host, "0.0.0.0:5000");
    cr_assert_not(reaches(s, a, S1P1, s1p1, NULL));
    cr_assert(sim_recv_icmp(s, a, &e) && e.type == 3 && e.code == 13,
              "administratively prohibited");
    teardown();
    setup();
    h = home((struct sim_nat_conf){.drop_fragments = true});
    a = open_at(h.host, "0.0.0.0:5000");
    sim_link_set(sim_iface_up(h.iface), &(struct sim_link_conf){.mtu = 1500});
    uint8_t data[1473] = {0};
    struct sim_msg m;
    sim_send(s, a, S1P1, data, sizeof data - 1);
    sim_run(s, PH_SEC(1));
    cr_assert(sim_recv(s, s1p1, &m));
    sim_send(s, a, S1P1, data, sizeof data);
    sim_run(s, PH_SEC(1));
    cr_assert(!sim_recv(s, s1p1, &m) && sim_nat_count(h.nat, SIM_BLOCKED) == 1);
}

/* ---- IPv6 ---- */

Test(sim_nat_shapes, ipv6_is_routed_firewalled_or_blocked)
{
    static const enum sim_mode modes[] = {SIM_MODE_DEFAULT, SIM_MODE_FIREWALL, SIM_MODE_BLOCK};
    for (size_t i = 0; i < 3; i++) {
        teardown();
        setup();
        struct sim_home h = home((struct sim_nat_conf){.v6 = modes[i], .filtering = SIM_APD});
        sim_iface_add_ip(h.iface, "2001:db8:a::2");
        struct sim_host *bob = sim_host_new(s, "bob");
        sim_attach(bob, inet, "2001:db8:b::2", NULL);
        uint32_t a = open_at(h.host, "[::]:5000"), b = open_at(bob, "[::]:7000");
        uint32_t b2 = open_at(bob, "[::]:7001");
        struct ph_addr at_a = sim_addr("[2001:db8:a::2]:5000"), src;
        bool first = reaches(s, b, at_a, a, NULL);
        cr_assert_eq(first, modes[i] == SIM_MODE_DEFAULT);
        bool out = reaches(s, a, sim_addr("[2001:db8:b::2]:7000"), b, &src);
        cr_assert_eq(out, modes[i] != SIM_MODE_BLOCK);
        if (!out)
            continue;
        cr_assert(same(src, at_a), "untranslated");
        cr_assert(reaches(s, b, at_a, a, NULL), "the answer passes");
        cr_assert_eq(reaches(s, b2, at_a, a, NULL), modes[i] == SIM_MODE_DEFAULT);
    }
}

Test(sim_nat_shapes, ipv6_prefixes_are_found_behind_two_boxes)
{
    struct sim_net *mid = sim_net_new(s, "mid", NULL);
    struct sim_nat_conf outer = sim_nat_kind(SIM_FULL_CONE, "203.0.113.1");
    struct sim_nat_conf inner = sim_nat_kind(SIM_FULL_CONE, "100.64.0.2");
    sim_nat_new(s, "outer", mid, inet, &outer);
    struct sim_home h = sim_home_new(s, "alice", mid, &inner, "192.168.1.2");
    sim_iface_add_ip(h.iface, "2001:db8:a::2");
    struct sim_host *bob = sim_host_new(s, "bob");
    sim_attach(bob, inet, "2001:db8:b::2", NULL);
    uint32_t a = open_at(h.host, "[::]:5000"), b = open_at(bob, "[::]:7000");
    cr_assert(reaches(s, b, sim_addr("[2001:db8:a::2]:5000"), a, NULL));
    cr_assert(reaches(s, a, sim_addr("[2001:db8:b::2]:7000"), b, NULL));
    cr_assert_not(reaches(s, b, sim_addr("[2001:db8:c::2]:5000"), a, NULL));
}

Test(sim_nat_shapes, nat64_carries_ipv6_only_hosts_to_ipv4)
{
    struct sim_home h = home((struct sim_nat_conf){.nat64 = "64:ff9b::", .filtering = SIM_APD});
    struct sim_host *six = sim_host_new(s, "six");
    sim_attach(six, h.lan, "2001:db8:a::6", NULL);
    uint32_t a = open_at(six, "[::]:5000");
    struct ph_addr m, src;
    cr_assert(reaches(s, a, sim_addr("[64:ff9b::198.51.100.1]:3478"), s1p1, &m));
    cr_assert(m.family == PH_AF_INET && m.ip[0] == 203);
    cr_assert(reaches(s, s1p1, m, a, &src));
    cr_assert(same(src, sim_addr("[64:ff9b::198.51.100.1]:3478")));
    cr_assert_not(reaches(s, s2p1, m, a, NULL));
    send_text(s, a, sim_addr("[64:ff9b::198.51.100.1]:9"), "x");
    sim_run(s, PH_SEC(1));
    struct sim_icmp e;
    cr_assert(sim_recv_icmp(s, a, &e) && e.type == 1 && e.code == 4, "ICMPv6 port unreachable");
    cr_assert(same(e.remote, sim_addr("[64:ff9b::198.51.100.1]:9")));
}

Test(sim_nat_shapes, nat64_reckons_with_the_smaller_header)
{
    static uint8_t data[1253];
    struct sim_link_conf narrow = {.mtu = 1280};
    struct sim_home h = home((struct sim_nat_conf){.nat64 = "64:ff9b::", .outside = &narrow});
    struct sim_host *six = sim_host_new(s, "six");
    struct sim_iface *i = sim_attach(six, h.lan, "2001:db8:a::6", NULL);
    uint32_t a = open_at(six, "[::]:5000");
    struct ph_pkt p = {.sock = a, .dst = sim_addr("[64:ff9b::198.51.100.1]:3478")};
    p.b = (struct ph_buf){.base = data, .cap = sizeof data, .len = 1252};
    p.dont_fragment = true;
    sim_send_pkt(s, &p);
    sim_run(s, PH_SEC(1));
    struct sim_msg m;
    struct sim_icmp e;
    cr_assert(sim_recv(s, s1p1, &m), "1280 bytes of IPv4");
    p.b.len = 1253;
    sim_send_pkt(s, &p);
    sim_run(s, PH_SEC(1));
    cr_assert_not(sim_recv(s, s1p1, &m));
    cr_assert(sim_recv_icmp(s, a, &e) && e.type == 2 && e.mtu == 1300);
    sim_link_set(sim_iface_down(i), &narrow);
    cr_assert_eq(sim_send(s, s1p1, sim_addr("203.0.113.1:5000"), data, 1232), 0);
    sim_run(s, PH_SEC(1));
    cr_assert(sim_recv(s, a, &m));
    cr_assert_eq(sim_send(s, s1p1, sim_addr("203.0.113.1:5000"), data, 1233), 0);
    sim_run(s, PH_SEC(1));
    cr_assert_not(sim_recv(s, a, &m), "1281 bytes of IPv6");
}

Test(sim_nat_shapes, a_firewall_without_translation)
{
    struct sim_home h = home(
        (struct sim_nat_conf){.v4 = SIM_MODE_FIREWALL, .filtering = SIM_AD, .ttl = PH_SEC(30)});
    uint32_t a = open_at(h.host, "0.0.0.0:5000");
    struct ph_addr at_a = sim_addr("192.168.1.2:5000");
    cr_assert_not(reaches(s, s1p1, at_a, a, NULL));
    cr_assert(same(seen_by(a, S1P1, s1p1), at_a));
    cr_assert(reaches(s, s1p2, at_a, a, NULL));
    cr_assert_not(reaches(s, s2p1, at_a, a, NULL));
    sim_run(s, PH_SEC(30));
    cr_assert_not(reaches(s, s1p1, at_a, a, NULL));
}
