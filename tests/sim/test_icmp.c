/* ICMP errors: who reports what, and that they find their socket through NATs. */
#include "tests/sim/testkit.h"

static struct sim *s;
static struct sim_net *inet;
static struct sim_host *srv;
static struct sim_iface *srv_if;

static void setup(void)
{
    s = sim_new(3);
    inet = sim_net_new(s, "internet", NULL);
    srv = sim_host_new(s, "srv");
    srv_if = sim_attach(srv, inet, "198.51.100.1", NULL);
    sim_iface_add_ip(srv_if, "2001:db8:5::1");
}

static void teardown(void)
{
    sim_free(s);
}

TestSuite(sim_icmp, .init = setup, .fini = teardown);

static struct sim_home home(struct sim_nat_conf c)
{
    return sim_home_new(s, "alice", inet, &c, "192.168.1.2");
}

static void send_sized(uint32_t sock, const char *to, size_t n, bool df)
{
    static uint8_t data[4096];
    struct ph_pkt p = {.sock = sock, .dst = sim_addr(to), .dont_fragment = df};
    p.b = (struct ph_buf){.base = data, .cap = sizeof data, .len = (uint32_t)n};
    cr_assert_eq(sim_send_pkt(s, &p), 0);
    sim_run_until_idle(s, PH_SEC(5));
}

static void expect_icmp(uint32_t sock, struct sim_icmp want, const char *remote)
{
    struct sim_icmp e;
    char text[PH_ADDR_TEXT];
    cr_assert(sim_recv_icmp(s, sock, &e), "no error came back");
    cr_assert(e.type == want.type && e.code == want.code, "%u/%u", e.type, e.code);
    cr_assert_eq(e.mtu, want.mtu, "mtu %u", e.mtu);
    cr_assert_eq(e.sock, sock);
    cr_assert_str_eq(ph_addr_text(&e.remote, text), remote);
    cr_assert_not(sim_recv_icmp(s, sock, &e), "one error is enough");
}

Test(sim_icmp, port_unreachable_comes_back)
{
    struct sim_host *bob = sim_host_new(s, "bob");
    struct sim_iface *i = sim_attach(bob, inet, "192.0.2.2", NULL);
    sim_iface_add_ip(i, "2001:db8::2");
    uint32_t v4 = open_at(bob, "0.0.0.0:5000"), v6 = open_at(bob, "[::]:5000");
    send_sized(v4, "198.51.100.1:9", 4, false);
    expect_icmp(v4, (struct sim_icmp){.type = 3, .code = 3}, "198.51.100.1:9");
    send_sized(v6, "[2001:db8:5::1]:9", 4, false);
    expect_icmp(v6, (struct sim_icmp){.type = 1, .code = 4}, "[2001:db8:5::1]:9");
    sim_host_silent(srv, true);
    send_sized(v4, "198.51.100.1:9", 4, false);
    struct sim_icmp e;
    cr_assert_not(sim_recv_icmp(s, v4, &e));
}

Test(sim_icmp, passes_nats_both_ways)
{
    struct sim_home h = home(sim_nat_kind(SIM_PORT_RESTRICTED, "203.0.113.1"));
    uint32_t a = open_at(h.host, "0.0.0.0:5000"), p = open_at(srv, "0.0.0.0:3478");
    send_sized(a, "198.51.100.1:9", 4, false);
    expect_icmp(a, (struct sim_icmp){.type = 3, .code = 3}, "198.51.100.1:9");
    send_sized(a, "198.51.100.1:3478", 4, false);
    sim_close(s, a);
    send_sized(p, "203.0.113.1:5000", 4, false);
    expect_icmp(p, (struct sim_icmp){.type = 3, .code = 3}, "203.0.113.1:5000");
}

Test(sim_icmp, passes_two_nats)
{
    struct sim_nat_conf outer = sim_nat_kind(SIM_SYMMETRIC, "203.0.113.1");
    struct sim_nat_conf inner = sim_nat_kind(SIM_SYMMETRIC, "100.64.0.2");
    struct sim_net *cg = sim_net_new(s, "cg", NULL);
    sim_nat_new(s, "cgn", cg, inet, &outer);
    struct sim_home h = sim_home_new(s, "alice", cg, &inner, "192.168.1.2");
    uint32_t a = open_at(h.host, "0.0.0.0:5000");
    send_sized(a, "198.51.100.1:9", 4, false);
    expect_icmp(a, (struct sim_icmp){.type = 3, .code = 3}, "198.51.100.1:9");
}

Test(sim_icmp, can_be_dropped_by_the_nat)
{
    struct sim_nat_conf c = sim_nat_kind(SIM_FULL_CONE, "203.0.113.1");
    c.drop_icmp = true;
    struct sim_home h = home(c);
    uint32_t a = open_at(h.host, "0.0.0.0:5000");
    struct sim_icmp e;
    send_sized(a, "198.51.100.1:9", 4, false);
    cr_assert_not(sim_recv_icmp(s, a, &e));
    cr_assert_eq(sim_nat_count(h.nat, SIM_BLOCKED), 1);
}

Test(sim_icmp, a_rejecting_nat_answers_strangers)
{
    struct sim_nat_conf c = sim_nat_kind(SIM_PORT_RESTRICTED, "203.0.113.1");
    c.reject = true;
    home(c);
    uint32_t p = open_at(srv, "0.0.0.0:3478");
    send_sized(p, "203.0.113.1:5000", 4, false);
    expect_icmp(p, (struct sim_icmp){.type = 3, .code = 3}, "203.0.113.1:5000");
}

Test(sim_icmp, host_unreachable_if_the_net_says_so)
{
    struct sim_home h = home(sim_nat_kind(SIM_SYMMETRIC, "203.0.113.1"));
    uint32_t a = open_at(h.host, "0.0.0.0:5000");
    struct sim_icmp e;
    send_sized(a, "198.51.100.77:9", 4, false);
    cr_assert_not(sim_recv_icmp(s, a, &e));
    sim_net_unreachables(inet, true);
    send_sized(a, "198.51.100.77:9", 4, false);
    expect_icmp(a, (struct sim_icmp){.type = 3, .code = 1}, "198.51.100.77:9");
}

Test(sim_icmp, too_big_with_df_names_the_mtu)
{
    struct sim_home h = home(sim_nat_kind(SIM_PORT_RESTRICTED, "203.0.113.1"));
    struct sim_link_conf dsl = {.mtu = 1280};
    sim_link_set(sim_iface_up(sim_nat_outside(h.nat)), &dsl);
    uint32_t a = open_at(h.host, "0.0.0.0:5000"), p = open_at(srv, "0.0.0.0:3478");
    struct sim_msg m;
    send_sized(a, "198.51.100.1:3478", 1252, true);
    cr_assert(sim_recv(s, p, &m), "1280 bytes fit");
    send_sized(a, "198.51.100.1:3478", 1253, true);
    cr_assert_not(sim_recv(s, p, &m));
    expect_icmp(a, (struct sim_icmp){.type = 3, .code = 4, .mtu = 1280}, "198.51.100.1:3478");
    send_sized(a, "198.51.100.1:3478", 1253, false);
    cr_assert(sim_recv(s, p, &m) && m.len == 1253, "fragmented without DF");
    cr_assert_eq(sim_count(s, SIM_FRAGMENTED), 1);
}

Test(sim_icmp, too_big_on_the_way_in_goes_back_out)
{
    struct sim_home h = home(sim_nat_kind(SIM_PORT_RESTRICTED, "203.0.113.1"));
    uint32_t a = open_at(h.host, "0.0.0.0:5000"), p = open_at(srv, "0.0.0.0:3478");
    send_sized(a, "198.51.100.1:3478", 4, false);
    struct sim_link_conf narrow = {.mtu = 576};
    sim_link_set(sim_iface_down(h.iface), &narrow);
    send_sized(p, "203.0.113.1:5000", 1000, true);
    expect_icmp(p, (struct sim_icmp){.type = 3, .code = 4, .mtu = 576}, "203.0.113.1:5000");
}

Test(sim_icmp, a_black_hole_tells_nobody)
{
    struct sim_home h = home(sim_nat_kind(SIM_FULL_CONE, "203.0.113.1"));
    struct sim_link_conf hole = {.mtu = 1280, .no_icmp = true};
    sim_link_set(sim_iface_up(sim_nat_outside(h.nat)), &hole);
    uint32_t a = open_at(h.host, "0.0.0.0:5000");
    struct sim_icmp e;
    send_sized(a, "198.51.100.1:3478", 1400, true);
    cr_assert_not(sim_recv_icmp(s, a, &e));
    cr_assert_eq(sim_count(s, SIM_TOO_BIG), 1);
}

Test(sim_icmp, ipv6_routers_never_fragment)
{
    struct sim_nat_conf c = sim_nat_kind(SIM_FULL_CONE, "203.0.113.1");
    struct sim_home h = home(c);
    sim_iface_add_ip(h.iface, "2001:db8:a::2");
    uint32_t a = open_at(h.host, "[::]:5000"), p = open_at(srv, "[::]:3478");
    struct sim_link_conf tunnel = {.mtu = 1280};
    sim_link_set(sim_iface_up(sim_nat_outside(h.nat)), &tunnel);
    struct sim_msg m;
    send_sized(a, "[2001:db8:5::1]:3478", 1232, false);
    cr_assert(sim_recv(s, p, &m), "1280 bytes fit");
    send_sized(a, "[2001:db8:5::1]:3478", 1233, false);
    cr_assert_not(sim_recv(s, p, &m));
    expect_icmp(a, (struct sim_icmp){.type = 2, .mtu = 1280}, "[2001:db8:5::1]:3478");
    sim_link_set(sim_iface_up(h.iface), &tunnel); /* now the sender knows */
    send_sized(a, "[2001:db8:5::1]:3478", 1233, false);
    cr_assert(sim_recv(s, p, &m), "the sender fragments");
}

static void on_icmp(void *ctx, const struct sim_icmp *e, ph_ns now)
{
    (void)now;
    *(struct sim_icmp *)ctx = *e;
}

Test(sim_icmp, reaches_programs)
{
    struct sim_home h = home(sim_nat_kind(SIM_SYMMETRIC, "203.0.113.1"));
    struct sim_icmp e = {0};
    sim_host_run(h.host, &(struct sim_node){.ctx = &e, .icmp = on_icmp});
    uint32_t a = open_at(h.host, "192.168.1.2:5000");
    send_sized(a, "198.51.100.1:9", 4, false);
    cr_assert(e.sock == a && e.type == 3 && e.code == 3);
    char text[PH_ADDR_TEXT];
    cr_assert_str_eq(ph_addr_text(&e.local, text), "192.168.1.2:5000", "translated back");
    cr_assert_str_eq(ph_addr_ip_text(&e.from, text), "198.51.100.1");
}

Test(sim_icmp, keeps_the_last_sixteen)
{
    uint32_t p = open_at(srv, "0.0.0.0:3478");
    for (uint16_t i = 1; i <= 20; i++) {
        struct ph_addr to = sim_addr("198.51.100.1");
        to.port = i;
        send_text(s, p, to, "x");
    }
    sim_run_until_idle(s, PH_SEC(1));
    struct sim_icmp e;
    for (uint16_t i = 5; i <= 20; i++)
        cr_assert(sim_recv_icmp(s, p, &e) && e.remote.port == i, "port %u", e.remote.port);
    cr_assert_not(sim_recv_icmp(s, p, &e));
}
