/*
 * Which external address and port a mapping gets (RFC 4787 4.1, 4.2).
 */
#include "tests/sim/natkit.h"

TestSuite(sim_nat_ports, .init = setup, .fini = teardown);

Test(sim_nat_ports, preserves_ports_until_they_collide)
{
    struct two t = neighbours((struct sim_nat_conf){.port_lo = 20000});
    cr_assert_eq(seen_by(t.a, S1P1, s1p1).port, 5000);
    cr_assert_eq(seen_by(t.b, S1P1, s1p1).port, 20000);
    cr_assert_eq(seen_by(t.b, S2P2, s2p2).port, 20000);
}

Test(sim_nat_ports, keeps_parity)
{
    struct sim_home h =
        home((struct sim_nat_conf){.ports = SIM_PORT_RANDOM, .parity = true, .mapping = SIM_APD});
    uint32_t even = open_at(h.host, "0.0.0.0:5000"), odd = open_at(h.host, "0.0.0.0:5001");
    for (uint16_t port = 1; port <= 50; port++) {
        struct ph_addr to = S1P1;
        to.port = port;
        sim_send(s, even, to, "x", 1);
        sim_send(s, odd, to, "x", 1);
        sim_run(s, PH_MS(100));
        struct ph_addr e = sim_nat_lookup(h.nat, sim_addr("192.168.1.2:5000"), to);
        struct ph_addr o = sim_nat_lookup(h.nat, sim_addr("192.168.1.2:5001"), to);
        cr_assert(e.port % 2 == 0 && o.port % 2 == 1);
    }
}

Test(sim_nat_ports, sequential_and_random_ports_stay_in_range)
{
    struct sim_nat_conf c = {.mapping = SIM_APD, .port_lo = 40000, .port_hi = 40009};
    for (int k = 0; k < 2; k++) {
        teardown();
        setup();
        c.ports = k ? SIM_PORT_RANDOM : SIM_PORT_SEQUENTIAL;
        struct sim_home h = home(c);
        uint32_t a = open_at(h.host, "0.0.0.0:5000");
        bool seen[10] = {false}, in_order = true;
        for (uint16_t i = 0; i < 10; i++) {
            struct ph_addr to = S1P1;
            to.port = (uint16_t)(i + 1);
            sim_send(s, a, to, "x", 1);
            sim_run(s, PH_MS(100));
            struct ph_addr m = sim_nat_lookup(h.nat, sim_addr("192.168.1.2:5000"), to);
            cr_assert(m.port >= 40000 && m.port <= 40009 && !seen[m.port - 40000]);
            seen[m.port - 40000] = true;
            in_order = in_order && m.port == 40000 + i;
        }
        cr_assert_eq(in_order, k == 0);
        sim_send(s, a, S2P2, "x", 1);
        sim_run(s, PH_MS(100));
        cr_assert_eq(sim_nat_count(h.nat, SIM_TABLE_FULL), 1, "all ten are taken");
    }
}

Test(sim_nat_ports, overloading_shares_a_port_by_remote)
{
    struct two t = neighbours((struct sim_nat_conf){
        .mapping = SIM_APD, .filtering = SIM_APD, .ports = SIM_PORT_OVERLOAD});
    struct ph_addr m = seen_by(t.a, S1P1, s1p1);
    cr_assert_eq(m.port, 5000);
    cr_assert(same(seen_by(t.b, S1P2, s1p2), m), "another remote: the same port");
    cr_assert(reaches(s, s1p1, m, t.a, NULL));
    cr_assert(reaches(s, s1p2, m, t.b, NULL));
    cr_assert_neq(seen_by(t.b, S1P1, s1p1).port, 5000, "the same remote: a full clash");
    cr_assert(same(seen_by(t.a, S2P2, s2p2), m), "looks endpoint-independent meanwhile");
}

Test(sim_nat_ports, overloading_compares_what_the_mapping_depends_on)
{
    struct two t = neighbours(
        (struct sim_nat_conf){.mapping = SIM_AD, .ports = SIM_PORT_OVERLOAD, .port_lo = 20000});
    cr_assert_eq(seen_by(t.a, S1P1, s1p1).port, 5000);
    cr_assert_eq(seen_by(t.b, S1P2, s1p2).port, 20000, "the same IP cannot be told apart");
    cr_assert_eq(seen_by(t.b, S2P1, s2p1).port, 5000);
    cr_assert(reaches(s, s1p1, sim_addr("203.0.113.1:5000"), t.a, NULL), "the exact session wins");
    cr_assert(reaches(s, s1p2, sim_addr("203.0.113.1:5000"), t.a, NULL), "then the same IP");
    cr_assert(reaches(s, s2p2, sim_addr("203.0.113.1:5000"), t.b, NULL));
}

Test(sim_nat_ports, never_gives_out_a_forwarded_port_but_one_whose_mapping_died)
{
    struct two t = neighbours((struct sim_nat_conf){.port_lo = 20000, .ttl = PH_SEC(30)});
    sim_nat_forward(t.h.nat, sim_addr("203.0.113.1:5000"), sim_addr("192.168.1.9:1"), PH_SEC(60));
    cr_assert_eq(seen_by(t.a, S1P1, s1p1).port, 20000);
    sim_run(s, PH_SEC(60));
    cr_assert_eq(seen_by(t.a, S1P1, s1p1).port, 5000);
    sim_run(s, PH_SEC(30));
    cr_assert_eq(seen_by(t.b, S1P1, s1p1).port, 5000);
}

Test(sim_nat_ports, overloading_with_ei_mapping_sends_to_whom_spoke_last)
{
    struct two t = neighbours((struct sim_nat_conf){.ports = SIM_PORT_OVERLOAD});
    struct ph_addr m = seen_by(t.a, S1P1, s1p1);
    cr_assert(same(seen_by(t.b, S1P1, s1p1), m));
    cr_assert_not(reaches(s, s1p1, m, t.a, NULL), "this is why RFC 4787 REQ-3 forbids it");
    cr_assert(reaches(s, s1p1, m, t.b, NULL));
    cr_assert(reaches(s, t.a, S1P1, s1p1, NULL));
    cr_assert(reaches(s, s1p1, m, t.a, NULL));
}

Test(sim_nat_ports, linux_loses_its_port_to_an_early_packet)
{
    struct sim_home h = home(sim_nat_kind(SIM_LINUX, "203.0.113.1"));
    uint32_t a = open_at(h.host, "0.0.0.0:5000");
    struct ph_addr m = seen_by(a, S1P1, s1p1);
    cr_assert_not(reaches(s, s2p2, m, a, NULL), "nobody sent there yet");
    cr_assert_neq(seen_by(a, S2P2, s2p2).port, 5000, "its 5-tuple is taken");
    cr_assert_eq(seen_by(a, S2P1, s2p1).port, 5000, "others are not");
    cr_assert_eq(sim_nat_mappings(h.nat), 3, "the box's own entry is not a mapping");
    sim_run(s, PH_SEC(200));
    cr_assert_eq(seen_by(a, S2P2, s2p2).port, 5000, "it does not last");
    cr_assert_eq(sim_nat_mappings(h.nat), 1);
}

Test(sim_nat_ports, linux_keeps_one_entry_for_one_stranger)
{
    struct sim_nat_conf c = sim_nat_kind(SIM_LINUX, "203.0.113.1");
    c.max_mappings = 5;
    struct sim_home h = home(c);
    uint32_t a = open_at(h.host, "0.0.0.0:5000");
    for (int i = 0; i < 20; i++)
        cr_assert_not(reaches(s, s2p2, sim_addr("203.0.113.1:5000"), a, NULL));
    sim_run(s, PH_SEC(15));
    cr_assert_neq(seen_by(a, S2P2, s2p2).port, 5000, "refreshed by each packet");
}

Test(sim_nat_ports, pools_pair_or_not)
{
    struct sim_nat_conf c = {.external = {"203.0.113.1", "203.0.113.2", "203.0.113.3"},
                             .mapping = SIM_APD};
    for (enum sim_pool pool = SIM_POOL_PAIRED; pool <= SIM_POOL_ARBITRARY; pool++) {
        teardown();
        setup();
        c.pool = pool;
        struct sim_home h = home(c);
        uint32_t a = open_at(h.host, "0.0.0.0:5000");
        unsigned ips = 0;
        for (uint16_t port = 1; port <= 40; port++) {
            struct ph_addr to = S1P1;
            to.port = port;
            sim_send(s, a, to, "x", 1);
            sim_run(s, PH_MS(100));
            ips |= 1u << sim_nat_lookup(h.nat, sim_addr("192.168.1.2:5000"), to).ip[3];
        }
        unsigned n = (ips >> 1 & 1) + (ips >> 2 & 1) + (ips >> 3 & 1);
        cr_assert_eq(n, pool == SIM_POOL_PAIRED ? 1 : 3);
    }
}

Test(sim_nat_ports, pools_spread_the_hosts)
{
    struct sim_nat_conf c = {.external = {"203.0.113.1", "203.0.113.2", "203.0.113.3"}};
    struct sim_home h = home(c);
    unsigned ips = 0;
    for (int i = 10; i < 40; i++) {
        char ip[PH_ADDR_TEXT];
        snprintf(ip, sizeof ip, "192.168.1.%d", i);
        struct sim_host *x = sim_host_new(s, ip);
        sim_attach(x, h.lan, ip, NULL);
        struct ph_addr one = seen_by(open_at(x, "0.0.0.0"), S1P1, s1p1);
        struct ph_addr two = seen_by(open_at(x, "0.0.0.0"), S2P2, s2p2);
        cr_assert(ph_addr_eq_ip(&one, &two), "each keeps its own");
        ips |= 1u << one.ip[3];
    }
    cr_assert_eq(ips, 2 | 4 | 8);
}
