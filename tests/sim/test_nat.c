/*
 * NAT boxes: mapping and filtering in all nine combinations, found out by packets as RFC 5780 4 does, and
 * each further trait of RFC 4787.
 *
 * The observers are two servers with two ports each, so that address and port can vary on their own.
 */
#include "tests/sim/testkit.h"

static struct sim *s;
static struct sim_net *inet;
static struct sim_host *srv1, *srv2;
static uint32_t s1p1, s1p2, s2p1, s2p2;

#define S1P1 sim_addr("198.51.100.1:3478")
#define S1P2 sim_addr("198.51.100.1:3479")
#define S2P1 sim_addr("198.51.100.2:3478")
#define S2P2 sim_addr("198.51.100.2:3479")

static void setup(void)
{
    s = sim_new(5);
    inet = sim_net_new(s, "internet", NULL);
    srv1 = sim_host_new(s, "srv1");
    srv2 = sim_host_new(s, "srv2");
    sim_attach(srv1, inet, "198.51.100.1", &(struct sim_link_conf){.delay = PH_MS(10)});
    sim_attach(srv2, inet, "198.51.100.2", &(struct sim_link_conf){.delay = PH_MS(15)});
    s1p1 = open_at(srv1, "0.0.0.0:3478");
    s1p2 = open_at(srv1, "0.0.0.0:3479");
    s2p1 = open_at(srv2, "0.0.0.0:3478");
    s2p2 = open_at(srv2, "0.0.0.0:3479");
}

static void teardown(void)
{
    sim_free(s);
}

TestSuite(sim_nat, .init = setup, .fini = teardown);

static struct sim_home home(struct sim_nat_conf c)
{
    if (!c.external[0])
        c.external[0] = "203.0.113.1";
    return sim_home_new(s, "alice", inet, &c, "192.168.1.2");
}

/* The reflexive address of a socket as a server socket sees it. */
static struct ph_addr seen_by(uint32_t sock, struct ph_addr server, uint32_t server_sock)
{
    struct ph_addr src = {0};
    cr_assert(reaches(s, sock, server, server_sock, &src));
    return src;
}

static bool same(struct ph_addr a, struct ph_addr b)
{
    return ph_addr_eq(&a, &b);
}

/* ---- Mapping x filtering ---- */

static enum sim_scope mapping_of(uint32_t a)
{
    struct ph_addr m11 = seen_by(a, S1P1, s1p1), m21 = seen_by(a, S2P1, s2p1);
    struct ph_addr m22 = seen_by(a, S2P2, s2p2);
    if (same(m11, m21)) {
        cr_assert(same(m21, m22));
        return SIM_EI;
    }
    return same(m21, m22) ? SIM_AD : SIM_APD;
}

/* Only srv1 port 1 was sent to; who else can answer? */
static enum sim_scope filtering_of(uint32_t a)
{
    struct ph_addr m = seen_by(a, S1P1, s1p1);
    cr_assert(reaches(s, s1p1, m, a, NULL), "who was asked may answer");
    bool other_port = reaches(s, s1p2, m, a, NULL), other_ip = reaches(s, s2p1, m, a, NULL);
    cr_assert(other_port || !other_ip);
    return other_ip ? SIM_EI : other_port ? SIM_AD : SIM_APD;
}

Test(sim_nat, mapping_and_filtering_are_independent)
{
    for (enum sim_scope map = SIM_EI; map <= SIM_APD; map++) {
        for (enum sim_scope filter = SIM_EI; filter <= SIM_APD; filter++) {
            for (enum sim_ports ports = SIM_PORT_PRESERVE; ports <= SIM_PORT_RANDOM; ports++) {
                if (ports == SIM_PORT_OVERLOAD)
                    continue; /* looks endpoint-independent, see below */
                teardown();
                setup();
                struct sim_home h = home(
                    (struct sim_nat_conf){.mapping = map, .filtering = filter, .ports = ports});
                uint32_t probe = open_at(h.host, "0.0.0.0:5000");
                cr_expect_eq(filtering_of(probe), filter, "map %d filter %d", map, filter);
                uint32_t fresh = open_at(h.host, "0.0.0.0:5001");
                cr_expect_eq(mapping_of(fresh), map, "map %d filter %d", map, filter);
                cr_expect_eq(sim_nat_mappings(h.nat), 1u + (1u + map), "map %d", map);
            }
        }
    }
}

Test(sim_nat, filter_opens_for_whom_the_inside_sends_to)
{
    struct sim_home h = home((struct sim_nat_conf){.filtering = SIM_APD});
    uint32_t a = open_at(h.host, "0.0.0.0:5000");
    struct ph_addr m = seen_by(a, S1P1, s1p1);
    cr_assert_not(reaches(s, s2p2, m, a, NULL));
    cr_assert_eq(sim_nat_count(h.nat, SIM_FILTERED), 1);
    cr_assert(same(seen_by(a, S2P2, s2p2), m));
    cr_assert(reaches(s, s2p2, m, a, NULL));
    cr_assert_not(reaches(s, s2p1, m, a, NULL));
}

Test(sim_nat, strangers_find_no_mapping)
{
    struct sim_home h = home((struct sim_nat_conf){0});
    uint32_t a = open_at(h.host, "0.0.0.0:5000");
    cr_assert_not(reaches(s, s1p1, sim_addr("203.0.113.1:5000"), a, NULL));
    cr_assert_eq(sim_nat_count(h.nat, SIM_NO_MAPPING), 1);
}

Test(sim_nat, lookup_tells_without_touching)
{
    struct sim_home h = home((struct sim_nat_conf){.mapping = SIM_APD, .ports = SIM_PORT_RANDOM});
    uint32_t a = open_at(h.host, "0.0.0.0:5000");
    struct ph_addr in = sim_addr("192.168.1.2:5000");
    cr_assert_eq(sim_nat_lookup(h.nat, in, S1P1).family, PH_AF_NONE);
    struct ph_addr m = seen_by(a, S1P1, s1p1);
    cr_assert(same(sim_nat_lookup(h.nat, in, S1P1), m));
    cr_assert_eq(sim_nat_lookup(h.nat, in, S1P2).family, PH_AF_NONE);
    cr_assert_eq(sim_nat_mappings(h.nat), 1);
}

/* ---- Lifetime ---- */

Test(sim_nat, a_mapping_dies_after_its_ttl)
{
    struct sim_home h =
        home((struct sim_nat_conf){.ttl = PH_SEC(30), .ports = SIM_PORT_SEQUENTIAL});
    uint32_t a = open_at(h.host, "0.0.0.0:5000");
    struct ph_addr m = seen_by(a, S1P1, s1p1); /* takes 1 s */
    sim_run(s, PH_SEC(28));
    cr_assert(reaches(s, s1p1, m, a, NULL), "still there after 29 s");
    cr_assert_not(reaches(s, s1p1, m, a, NULL), "inbound does not refresh");
    cr_assert_eq(sim_nat_mappings(h.nat), 0);
    cr_assert_not(same(seen_by(a, S1P1, s1p1), m), "a new mapping has a new port");
}

Test(sim_nat, outbound_refreshes_always_inbound_if_told)
{
    struct sim_home h =
        home((struct sim_nat_conf){.ttl = PH_SEC(30), .ports = SIM_PORT_SEQUENTIAL});
    uint32_t a = open_at(h.host, "0.0.0.0:5000");
    struct ph_addr m = seen_by(a, S1P1, s1p1);
    for (int i = 0; i < 5; i++) {
        sim_run(s, PH_SEC(25));
        cr_assert(same(seen_by(a, S1P1, s1p1), m));
    }
    teardown();
    setup();
    h = home((struct sim_nat_conf){.ttl = PH_SEC(30), .refresh_inbound = true});
    a = open_at(h.host, "0.0.0.0:5000");
    m = seen_by(a, S1P1, s1p1);
    for (int i = 0; i < 5; i++) {
        sim_run(s, PH_SEC(25));
        cr_assert(reaches(s, s2p2, m, a, NULL), "a stranger keeps it alive too");
    }
}

Test(sim_nat, sessions_end_one_by_one)
{
    struct sim_home h = home((struct sim_nat_conf){.ttl = PH_SEC(30), .filtering = SIM_APD});
    uint32_t a = open_at(h.host, "0.0.0.0:5000");
    struct ph_addr m = seen_by(a, S1P1, s1p1);
    cr_assert(reaches(s, a, S2P2, s2p2, NULL));
    sim_run(s, PH_SEC(20));
    cr_assert(reaches(s, a, S1P1, s1p1, NULL), "keepalive to one of them");
    sim_run(s, PH_SEC(15));
    cr_assert(reaches(s, s1p1, m, a, NULL));
    cr_assert_not(reaches(s, s2p2, m, a, NULL), "the other's hole has closed");
    cr_assert_eq(sim_nat_count(h.nat, SIM_FILTERED), 1);
}

Test(sim_nat, inbound_refreshes_its_own_session)
{
    struct sim_home h = home(
        (struct sim_nat_conf){.ttl = PH_SEC(30), .filtering = SIM_APD, .refresh_inbound = true});
    uint32_t a = open_at(h.host, "0.0.0.0:5000");
    struct ph_addr m = seen_by(a, S1P1, s1p1);
    sim_run(s, PH_SEC(5));
    cr_assert(reaches(s, a, S2P2, s2p2, NULL));
    for (int i = 0; i < 4; i++) {
        sim_run(s, PH_SEC(20));
        cr_assert(reaches(s, s1p1, m, a, NULL));
    }
    cr_assert_not(reaches(s, s2p2, m, a, NULL));
}

Test(sim_nat, reboot_forgets_and_readdress_moves)
{
    struct sim_home h = home((struct sim_nat_conf){.ports = SIM_PORT_SEQUENTIAL});
    uint32_t a = open_at(h.host, "0.0.0.0:5000");
    struct ph_addr m = seen_by(a, S1P1, s1p1);
    sim_nat_reboot(h.nat);
    cr_assert_not(reaches(s, s1p1, m, a, NULL));
    struct ph_addr m2 = seen_by(a, S1P1, s1p1);
    cr_assert(!same(m, m2) && ph_addr_eq_ip(&m, &m2));
    sim_nat_readdress(h.nat, "203.0.113.77");
    struct ph_addr m3 = seen_by(a, S1P1, s1p1);
    cr_assert_eq(m3.ip[3], 77);
    cr_assert_not(reaches(s, s1p1, m2, a, NULL));
    cr_assert_eq(sim_count(s, SIM_NO_ROUTE), 1, "the old address is nobody's");
}

Test(sim_nat, the_table_is_limited)
{
    struct sim_home h = home((struct sim_nat_conf){.max_mappings = 10, .ttl = PH_SEC(60)});
    uint32_t k[11];
    for (int i = 0; i < 11; i++) {
        k[i] = open_at(h.host, "0.0.0.0");
        sim_send(s, k[i], S1P1, "x", 1);
    }
    sim_run(s, PH_SEC(1));
    cr_assert(sim_nat_mappings(h.nat) == 10 && sim_nat_count(h.nat, SIM_TABLE_FULL) == 1);
    cr_assert(reaches(s, k[0], S1P1, s1p1, NULL), "old flows go on");
    sim_run(s, PH_SEC(60));
    cr_assert(reaches(s, k[10], S1P1, s1p1, NULL), "the dead make room");
}

/* ---- Ports and pools ---- */

struct two {
    struct sim_home h;
    uint32_t a, b; /* port 5000 of two hosts behind one NAT */
};

static struct two neighbours(struct sim_nat_conf c)
{
    struct two t = {.h = home(c)};
    struct sim_host *bob = sim_host_new(s, "bob");
    sim_attach(bob, t.h.lan, "192.168.1.3", NULL);
    t.a = open_at(t.h.host, "0.0.0.0:5000");
    t.b = open_at(bob, "0.0.0.0:5000");
    return t;
}

Test(sim_nat, preserves_ports_until_they_collide)
{
    struct two t = neighbours((struct sim_nat_conf){.port_lo = 20000});
    cr_assert_eq(seen_by(t.a, S1P1, s1p1).port, 5000);
    cr_assert_eq(seen_by(t.b, S1P1, s1p1).port, 20000);
    cr_assert_eq(seen_by(t.b, S2P2, s2p2).port, 20000);
}

Test(sim_nat, keeps_parity)
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

Test(sim_nat, sequential_and_random_ports_stay_in_range)
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

Test(sim_nat, overloading_shares_a_port_by_remote)
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

Test(sim_nat, overloading_compares_what_the_mapping_depends_on)
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

Test(sim_nat, never_gives_out_a_forwarded_port_but_one_whose_mapping_died)
{
    struct two t = neighbours((struct sim_nat_conf){.port_lo = 20000, .ttl = PH_SEC(30)});
    sim_nat_forward(t.h.nat, sim_addr("203.0.113.1:5000"), sim_addr("192.168.1.9:1"), PH_SEC(60));
    cr_assert_eq(seen_by(t.a, S1P1, s1p1).port, 20000);
    sim_run(s, PH_SEC(60));
    cr_assert_eq(seen_by(t.a, S1P1, s1p1).port, 5000);
    sim_run(s, PH_SEC(30));
    cr_assert_eq(seen_by(t.b, S1P1, s1p1).port, 5000);
}

Test(sim_nat, overloading_with_ei_mapping_sends_to_whom_spoke_last)
{
    struct two t = neighbours((struct sim_nat_conf){.ports = SIM_PORT_OVERLOAD});
    struct ph_addr m = seen_by(t.a, S1P1, s1p1);
    cr_assert(same(seen_by(t.b, S1P1, s1p1), m));
    cr_assert_not(reaches(s, s1p1, m, t.a, NULL), "this is why RFC 4787 REQ-3 forbids it");
    cr_assert(reaches(s, s1p1, m, t.b, NULL));
    cr_assert(reaches(s, t.a, S1P1, s1p1, NULL));
    cr_assert(reaches(s, s1p1, m, t.a, NULL));
}

Test(sim_nat, linux_loses_its_port_to_an_early_packet)
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

Test(sim_nat, linux_keeps_one_entry_for_one_stranger)
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

Test(sim_nat, pools_pair_or_not)
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

Test(sim_nat, pools_spread_the_hosts)
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

/* ---- Hairpinning (RFC 4787 6) ---- */

Test(sim_nat, hairpins_not_or_with_either_source)
{
    static const char *const want[] = {"-", "192.168.1.2:5000", "203.0.113.1:5000"};
    for (enum sim_hairpin pin = SIM_HAIRPIN_NONE; pin <= SIM_HAIRPIN_EXTERNAL; pin++) {
        teardown();
        setup();
        struct two t = neighbours((struct sim_nat_conf){.hairpin = pin, .port_lo = 20000});
        seen_by(t.a, S1P1, s1p1);
        struct ph_addr mb = seen_by(t.b, S1P1, s1p1), src;
        bool got = reaches(s, t.a, mb, t.b, &src);
        char text[PH_ADDR_TEXT];
        cr_assert_str_eq(got ? ph_addr_text(&src, text) : "-", want[pin]);
        cr_assert_eq(sim_nat_count(t.h.nat, SIM_NO_HAIRPIN), pin == SIM_HAIRPIN_NONE);
    }
}

Test(sim_nat, hairpins_pass_the_filter)
{
    struct two t = neighbours((struct sim_nat_conf){
        .hairpin = SIM_HAIRPIN_EXTERNAL, .filtering = SIM_APD, .port_lo = 20000});
    struct ph_addr ma = seen_by(t.a, S1P1, s1p1), mb = seen_by(t.b, S1P1, s1p1);
    cr_assert_not(reaches(s, t.a, mb, t.b, NULL), "b has not sent to a yet");
    cr_assert(reaches(s, t.b, ma, t.a, NULL), "a has sent to b");
    cr_assert(reaches(s, t.a, mb, t.b, NULL));
}

Test(sim_nat, hairpins_to_oneself)
{
    struct sim_home h = home((struct sim_nat_conf){.hairpin = SIM_HAIRPIN_EXTERNAL});
    uint32_t a = open_at(h.host, "0.0.0.0:5000");
    struct ph_addr m = seen_by(a, S1P1, s1p1), src;
    cr_assert(reaches(s, a, m, a, &src));
    cr_assert(same(src, m), "as RFC 5780 4.3's hairpin test expects");
}

/* ---- Topologies ---- */

Test(sim_nat, two_in_a_row)
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

Test(sim_nat, forwards_ports_and_maps_one_to_one)
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

Test(sim_nat, forwards_to_nobody_end_there)
{
    struct sim_home h = home((struct sim_nat_conf){0});
    uint32_t a = open_at(h.host, "0.0.0.0:5000");
    sim_nat_forward(h.nat, sim_addr("203.0.113.1:80"), sim_addr("192.168.1.99:80"), PH_NEVER);
    cr_assert_not(reaches(s, s2p2, sim_addr("203.0.113.1:80"), a, NULL));
    cr_assert(sim_count(s, SIM_NO_ROUTE) == 1 && sim_nat_mappings(h.nat) == 0);
}

Test(sim_nat, blocks_udp_and_fragments)
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

Test(sim_nat, ipv6_is_routed_firewalled_or_blocked)
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

Test(sim_nat, ipv6_prefixes_are_found_behind_two_boxes)
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

Test(sim_nat, nat64_carries_ipv6_only_hosts_to_ipv4)
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

Test(sim_nat, nat64_reckons_with_the_smaller_header)
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

Test(sim_nat, a_firewall_without_translation)
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
