/*
 * Mapping and filtering in all nine combinations, found out by packets, hairpinning, and how long it all lasts
 * (RFC 4787 4 to 6).
 */
#include "tests/sim/natkit.h"

TestSuite(sim_nat, .init = setup, .fini = teardown);

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
