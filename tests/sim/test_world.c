/* The clock, sockets, programs, taps and traces of the simulator. */
#include "stun/base/error.h"
#include "tests/sim/testkit.h"

static const struct sim_link_conf ms10 = {.delay = PH_MS(5)}; /* 10 ms from host to host */

static struct sim *s;
static struct sim_net *inet;
static struct sim_host *alice, *bob;

static void setup(void)
{
    s = sim_new(1);
    inet = sim_net_new(s, "internet", NULL);
    alice = sim_host_new(s, "alice");
    bob = sim_host_new(s, "bob");
    sim_attach(alice, inet, "192.0.2.1", &ms10);
    sim_attach(bob, inet, "192.0.2.2", &ms10);
}

static void teardown(void)
{
    sim_free(s);
}

TestSuite(sim_world, .init = setup, .fini = teardown);

Test(sim_world, carries_a_packet_and_its_addresses)
{
    uint32_t a = open_at(alice, "192.0.2.1:5000"), b = open_at(bob, "0.0.0.0:7000");
    ph_ns start = sim_now(s);
    send_text(s, a, sim_addr("192.0.2.2:7000"), "hello");
    cr_assert_eq(sim_in_flight(s), 1);
    cr_assert_eq(sim_run_until_idle(s, PH_SEC(1)), SIM_IDLE);
    struct sim_msg m;
    cr_assert(sim_recv(s, b, &m));
    cr_assert(m.len == 5 && memcmp(m.data, "hello", 5) == 0);
    struct ph_addr src = sim_addr("192.0.2.1:5000"), dst = sim_addr("192.0.2.2:7000");
    cr_assert(ph_addr_eq(&m.src, &src) && ph_addr_eq(&m.dst, &dst));
    cr_assert_eq(m.at - start, PH_MS(10));
    cr_assert_eq(sim_now(s), m.at, "the clock stands where the last thing happened");
    cr_assert_not(sim_recv(s, b, &m));
    cr_assert_eq(sim_count(s, SIM_SENT), 1);
    cr_assert_eq(sim_host_count(bob, SIM_DELIVERED), 1);
}

Test(sim_world, carries_empty_and_largest_packets)
{
    static uint8_t big[65535 - 28];
    memset(big, 7, sizeof big);
    uint32_t a = open_at(alice, "0.0.0.0"), b = open_at(bob, "0.0.0.0:7000");
    cr_assert_eq(sim_send(s, a, sim_addr("192.0.2.2:7000"), NULL, 0), 0);
    cr_assert_eq(sim_send(s, a, sim_addr("192.0.2.2:7000"), big, sizeof big), 0);
    cr_assert_eq(sim_send(s, a, sim_addr("192.0.2.2:7000"), big, 65536), PH_E_LIMIT);
    sim_run_until_idle(s, PH_SEC(1));
    struct sim_msg m;
    cr_assert(sim_recv(s, b, &m) && m.len == 0);
    cr_assert(sim_recv(s, b, &m) && m.len == sizeof big && m.data[sizeof big - 1] == 7);
}

Test(sim_world, binds_only_what_is_free_and_its_own)
{
    uint32_t any = open_at(alice, "0.0.0.0:5000");
    cr_assert_eq(sim_bind(alice, sim_addr("192.0.2.1:5000")), 0);
    cr_assert_eq(sim_bind(alice, sim_addr("192.0.2.9:5001")), 0);
    cr_assert_neq(sim_bind(alice, sim_addr("[::]:5000")), 0, "the other family is free");
    sim_close(s, any);
    cr_assert_eq(sim_sock_addr(s, any).family, PH_AF_NONE);
    cr_assert_eq(sim_send(s, any, sim_addr("192.0.2.2:1"), "x", 1), PH_E_STATE);
    uint32_t again = open_at(alice, "192.0.2.1:5000");
    cr_assert_neq(again, any, "ids are not used again");
    sim_close(s, any);
    cr_assert_eq(sim_sock_addr(s, again).port, 5000, "an old id closes nothing");
    uint32_t e1 = open_at(alice, "0.0.0.0"), e2 = open_at(alice, "0.0.0.0");
    cr_assert_eq(sim_sock_addr(s, e1).port, 49152);
    cr_assert_eq(sim_sock_addr(s, e2).port, 49153);
}

Test(sim_world, chooses_the_source_by_route_or_as_told)
{
    struct sim_net *lan = sim_net_new(s, "lan", "10.0.0.0/8");
    struct sim_host *nas = sim_host_new(s, "nas");
    sim_attach(nas, lan, "10.0.0.9", NULL);
    struct sim_iface *wifi = sim_attach(alice, lan, "10.0.0.1", NULL);
    uint32_t a = open_at(alice, "0.0.0.0:5000"), n = open_at(nas, "0.0.0.0:7000");
    uint32_t b = open_at(bob, "0.0.0.0:7000");
    struct ph_addr src;
    cr_assert(reaches(s, a, sim_addr("10.0.0.9:7000"), n, &src));
    cr_assert_eq(src.ip[0], 10);
    cr_assert(reaches(s, a, sim_addr("192.0.2.2:7000"), b, &src));
    cr_assert_eq(src.ip[0], 192);
    sim_iface_set(wifi, false);
    cr_assert_not(reaches(s, a, sim_addr("10.0.0.9:7000"), n, &src), "the cable is pulled");
    sim_iface_set(wifi, true);
    sim_iface_add_ip(wifi, "10.0.0.7");
    struct ph_pkt p = {.sock = a, .dst = sim_addr("10.0.0.9:7000"), .src = sim_addr("10.0.0.7")};
    cr_assert_eq(sim_send_pkt(s, &p), 0);
    sim_run_until_idle(s, PH_SEC(1));
    char t[PH_ADDR_TEXT];
    cr_assert_str_eq(from(s, n, t), "10.0.0.7:5000");
    sim_iface_del_ip(wifi, "10.0.0.7");
    uint32_t back = open_at(nas, "0.0.0.0:7001");
    cr_assert_not(reaches(s, back, sim_addr("10.0.0.7:5000"), a, NULL), "the address is gone");
    cr_assert_eq(sim_count(s, SIM_NO_HOST), 1);
}

static void stamp(void *ctx, ph_ns now)
{
    ph_ns **at = ctx;
    *(*at)++ = now;
}

Test(sim_world, calls_back_at_the_instant_and_in_order)
{
    ph_ns got[4] = {0}, *at = got, t0 = sim_now(s);
    sim_at(s, t0 + PH_SEC(2), stamp, &at);
    sim_at(s, t0 + PH_SEC(1), stamp, &at);
    sim_at(s, t0 + PH_SEC(1), stamp, &at);
    cr_assert_eq(sim_run_until_idle(s, PH_MS(1500)), SIM_TIMEOUT);
    cr_assert_eq(sim_now(s), t0 + PH_MS(1500));
    cr_assert(got[0] == t0 + PH_SEC(1) && got[1] == t0 + PH_SEC(1) && got[2] == 0);
    sim_skip(s, PH_SEC(5));
    cr_assert_eq(sim_run_until_idle(s, PH_SEC(1)), SIM_IDLE);
    cr_assert_eq(got[2], t0 + PH_MS(6500), "overslept: comes late, not never");
}

/* ---- Programs ---- */

struct ticker {
    struct sim *s;
    uint32_t sock;
    struct ph_addr to;
    ph_ns next_at, period;
    unsigned ticks, left, due, events, answered;
};

static int ticker_input(void *ctx, struct ph_pkt *p, ph_ns now)
{
    struct ticker *t = ctx;
    (void)now;
    if (ph_buf_data(&p->b)[0] != '?')
        return PH_DROP;
    t->answered++;
    static const uint8_t echo[4] = {'e', 'c', 'h', 'o'};
    memcpy(ph_pkt_push(p, 4), echo, 4); /* as a relay does: wrap in place, send back */
    struct ph_addr src = p->src;
    p->src = p->dst;
    p->dst = src;
    return PH_SEND;
}

static void ticker_tick(void *ctx, ph_ns now)
{
    struct ticker *t = ctx;
    cr_assert_eq(now, t->next_at, "ticked exactly when due");
    t->ticks++;
    t->due++;
    t->next_at = --t->left ? now + t->period : PH_NEVER;
}

static ph_ns ticker_deadline(void *ctx)
{
    return ((struct ticker *)ctx)->next_at;
}

static bool ticker_output(void *ctx, struct ph_pkt *out, ph_ns now)
{
    struct ticker *t = ctx;
    (void)now;
    if (t->due == 0)
        return false;
    t->due--;
    t->events++;
    cr_assert_eq(out->b.off, PH_HEADROOM);
    cr_assert_geq(out->b.cap, PH_HEADROOM + 65535);
    ph_buf_data(&out->b)[0] = '?';
    out->b.len = 1;
    out->sock = t->sock;
    out->dst = t->to;
    return true;
}

static bool ticker_event(void *ctx, ph_ns now)
{
    struct ticker *t = ctx;
    (void)now;
    if (t->events == 0)
        return false;
    t->events--;
    return true;
}

static const struct sim_node ticker = {.input = ticker_input,
                                       .tick = ticker_tick,
                                       .deadline = ticker_deadline,
                                       .output = ticker_output,
                                       .event = ticker_event};

static uint32_t run(struct sim_host *h, struct ticker *t)
{
    struct sim_node n = ticker;
    n.ctx = t;
    t->s = s;
    return sim_host_run(h, &n);
}

static void expect_echo(uint32_t sock, unsigned times)
{
    struct sim_msg m;
    for (unsigned i = 0; i < times; i++) {
        cr_assert(sim_recv(s, sock, &m), "echo %u", i);
        cr_assert(m.len == 5 && memcmp(m.data, "echo?", 5) == 0);
    }
    cr_assert_not(sim_recv(s, sock, &m));
}

Test(sim_world, drives_the_five_verbs)
{
    struct ticker a = {.next_at = sim_now(s) + PH_MS(100), .period = PH_MS(50), .left = 3};
    struct ticker b = {.next_at = PH_NEVER};
    a.sock = open_at(alice, "0.0.0.0:5000");
    a.to = sim_addr("192.0.2.2:7000");
    b.sock = open_at(bob, "0.0.0.0:7000");
    run(alice, &a);
    run(bob, &b);
    ph_ns t0 = sim_now(s);
    cr_assert_eq(sim_run_until_idle(s, PH_SEC(10)), SIM_IDLE);
    cr_assert(a.ticks == 3 && b.answered == 3 && a.due == 0 && a.events == 0);
    cr_assert_eq(sim_host_count(alice, SIM_DELIVERED), 3);
    cr_assert_eq(sim_now(s) - t0, PH_MS(200 + 20));
}

Test(sim_world, hands_packets_over_with_headroom_or_coalesced)
{
    struct ticker b = {.next_at = PH_NEVER};
    b.sock = open_at(bob, "0.0.0.0:7000");
    run(bob, &b);
    uint32_t a = open_at(alice, "0.0.0.0:5000");
    send_text(s, a, sim_addr("192.0.2.2:7000"), "?");
    sim_run_until_idle(s, PH_SEC(1));
    sim_host_coalesced(bob, true);
    send_text(s, a, sim_addr("192.0.2.2:7000"), "?");
    sim_run_until_idle(s, PH_SEC(1));
    expect_echo(a, 2);
}

Test(sim_world, gives_sockets_to_programs)
{
    struct ticker one = {.next_at = PH_NEVER}, two = {.next_at = PH_NEVER};
    uint32_t early = open_at(bob, "0.0.0.0:7000"), free_one = open_at(bob, "0.0.0.0:7003");
    sim_sock_owner(s, free_one, 0);
    uint32_t n1 = run(bob, &one), n2 = run(bob, &two);
    uint32_t late = open_at(bob, "0.0.0.0:7001"), own = open_at(bob, "0.0.0.0:7002");
    sim_sock_owner(s, late, n2);
    sim_sock_owner(s, own, 0);
    uint32_t a = open_at(alice, "0.0.0.0:5000");
    for (uint16_t port = 7000; port <= 7003; port++) {
        struct ph_addr to = sim_addr("192.0.2.2");
        to.port = port;
        send_text(s, a, to, "?");
    }
    sim_run_until_idle(s, PH_SEC(1));
    struct sim_msg m;
    cr_assert(one.answered == 1 && two.answered == 1);
    cr_assert(sim_recv(s, own, &m) && sim_recv(s, free_one, &m));
    sim_node_stop(s, n1);
    send_text(s, a, sim_addr("192.0.2.2:7000"), "?");
    sim_run_until_idle(s, PH_SEC(1));
    cr_assert(one.answered == 1 && sim_recv(s, early, &m), "nobody's socket after the end");
}

Test(sim_world, a_paused_host_sleeps)
{
    struct ticker a = {.next_at = sim_now(s) + PH_MS(100), .left = 1};
    a.sock = open_at(alice, "0.0.0.0:5000");
    a.to = sim_addr("192.0.2.2:7000");
    run(alice, &a);
    uint32_t b = open_at(bob, "0.0.0.0:7000");
    sim_host_pause(alice, true);
    send_text(s, b, sim_addr("192.0.2.1:5000"), "?");
    cr_assert_eq(sim_run_until_idle(s, PH_SEC(1)), SIM_IDLE);
    cr_assert(a.ticks == 0 && a.answered == 0 && sim_count(s, SIM_PAUSED) == 1);
}

Test(sim_world, refuses_a_socket_of_another_host)
{
    struct ticker a = {.next_at = sim_now(s), .left = 1, .to = sim_addr("192.0.2.2:7000")};
    a.sock = open_at(bob, "0.0.0.0:7000");
    run(alice, &a);
    sim_run_until_idle(s, PH_SEC(1));
    cr_assert_eq(sim_host_count(alice, SIM_BAD_SOCK), 1);
    cr_assert_eq(sim_count(s, SIM_SENT), 0);
}

static ph_ns always(void *ctx)
{
    (void)ctx;
    return 0;
}

static bool chatter(void *ctx, struct ph_pkt *out, ph_ns now)
{
    (void)now;
    out->sock = *(uint32_t *)ctx;
    out->dst = sim_addr("192.0.2.2:7000");
    return true;
}

Test(sim_world, catches_a_deadline_that_never_moves)
{
    sim_host_run(alice, &(struct sim_node){.deadline = always});
    cr_assert_eq(sim_run_until_idle(s, PH_SEC(1)), SIM_LIVELOCK);
    cr_assert_eq(sim_run(s, PH_SEC(1)), SIM_LIVELOCK);
}

Test(sim_world, catches_an_output_that_never_ends)
{
    uint32_t a = open_at(alice, "0.0.0.0:5000");
    sim_host_run(alice, &(struct sim_node){.ctx = &a, .output = chatter});
    cr_assert_eq(sim_run_until_idle(s, PH_SEC(1)), SIM_LIVELOCK);
}

static bool two_arrived(void *ctx)
{
    (void)ctx;
    return sim_count(s, SIM_DELIVERED) >= 2;
}

Test(sim_world, runs_until_a_condition_holds)
{
    uint32_t a = open_at(alice, "0.0.0.0:5000");
    open_at(bob, "0.0.0.0:7000");
    send_text(s, a, sim_addr("192.0.2.2:7000"), "1");
    cr_assert_eq(sim_run_until(s, two_arrived, NULL, PH_SEC(1)), SIM_IDLE);
    send_text(s, a, sim_addr("192.0.2.2:7000"), "2");
    cr_assert_eq(sim_run_until(s, two_arrived, NULL, PH_MS(9)), SIM_TIMEOUT);
    cr_assert_eq(sim_run_until(s, two_arrived, NULL, PH_SEC(1)), SIM_DONE);
}

/* ---- Routing errors ---- */

Test(sim_world, drops_what_has_no_way)
{
    struct sim_net *lan = sim_net_new(s, "lan", "10.0.0.0/24");
    sim_attach(alice, lan, "10.0.0.1", NULL);
    uint32_t a = open_at(alice, "10.0.0.1:5000");
    send_text(s, a, sim_addr("10.0.0.77:1"), "in the prefix, but nobody");
    send_text(s, a, sim_addr("192.0.2.2:1"), "no gateway");
    sim_run_until_idle(s, PH_SEC(1));
    cr_assert_eq(sim_count(s, SIM_NO_HOST), 1);
    cr_assert_eq(sim_count(s, SIM_NO_ROUTE), 1);
}

Test(sim_world, delivers_to_itself)
{
    uint32_t a = open_at(alice, "0.0.0.0:5000"), b = open_at(alice, "0.0.0.0:5001");
    struct ph_addr src;
    cr_assert(reaches(s, a, sim_addr("192.0.2.1:5001"), b, &src));
    cr_assert_eq(src.port, 5000);
    struct sim_msg m;
    ph_ns t0 = sim_now(s);
    send_text(s, a, sim_addr("192.0.2.1:5001"), "me");
    sim_run_until_idle(s, PH_SEC(1));
    cr_assert(sim_recv(s, b, &m) && m.at == t0, "not over the wire");
}

Test(sim_world, stops_routing_loops)
{
    struct sim_net *one = sim_net_new(s, "one", NULL), *two = sim_net_new(s, "two", NULL);
    struct sim_nat_conf router = {.v4 = SIM_MODE_ROUTE};
    sim_nat_new(s, "r1", one, two, &router);
    sim_nat_new(s, "r2", two, one, &router);
    sim_attach(alice, one, "10.0.0.1", NULL);
    uint32_t a = open_at(alice, "10.0.0.1:5000");
    send_text(s, a, sim_addr("10.9.9.9:1"), "round and round");
    cr_assert_eq(sim_run_until_idle(s, PH_SEC(1)), SIM_IDLE);
    cr_assert_eq(sim_count(s, SIM_HOPS), 1);
}
