/* Links: delay, jitter, loss, duplication, reordering, rate, MTU, each measured. */
#include "tests/sim/testkit.h"

#include "stun/base/bytes.h"

enum { MANY = 20000 };

static struct sim *s;
static struct sim_iface *ia, *ib;
static uint32_t a, b;

static void setup(void)
{
    s = sim_new(42);
    struct sim_net *n = sim_net_new(s, "internet", NULL);
    struct sim_host *alice = sim_host_new(s, "alice"), *bob = sim_host_new(s, "bob");
    ia = sim_attach(alice, n, "192.0.2.1", NULL);
    ib = sim_attach(bob, n, "192.0.2.2", NULL);
    sim_iface_add_ip(ia, "2001:db8::1");
    sim_iface_add_ip(ib, "2001:db8::2");
    a = open_at(alice, "0.0.0.0:5000");
    b = open_at(bob, "0.0.0.0:7000");
}

static void teardown(void)
{
    sim_free(s);
}

TestSuite(sim_link, .init = setup, .fini = teardown);

static void link_is(struct sim_link_conf c)
{
    sim_link_set(sim_iface_up(ia), &c);
}

static void send_number(uint32_t i)
{
    uint8_t p[4];
    ph_put32(p, i);
    cr_assert_eq(sim_send(s, a, sim_addr("192.0.2.2:7000"), p, sizeof p), 0);
}

/* What arrived when numbers 0 .. n-1 were sent, one each ms. */
struct tally {
    unsigned got, twice, overtaken, longest_gap, gaps;
    ph_ns least, most, sum;
};

static struct tally measure(unsigned n)
{
    struct tally t = {.least = PH_NEVER};
    static uint8_t seen[MANY];
    memset(seen, 0, sizeof seen);
    ph_ns t0 = sim_now(s);
    uint32_t last = 0;
    for (unsigned i = 0; i < n + 1000; i++) {
        if (i < n)
            send_number(i);
        sim_run(s, PH_MS(1));
        for (struct sim_msg m; sim_recv(s, b, &m);) {
            uint32_t k = ph_get32(m.data);
            ph_ns took = m.at - (t0 + PH_MS(1) * k);
            if (seen[k]++)
                t.twice++;
            if (k < last)
                t.overtaken++;
            last = k > last ? k : last;
            t.got++;
            t.sum += took;
            t.least = ph_min_ns(t.least, took);
            t.most = took > t.most ? took : t.most;
        }
    }
    for (unsigned i = 0, gap = 0; i < n; i++) {
        gap = seen[i] ? 0 : gap + 1;
        t.gaps += gap == 1;
        t.longest_gap = gap > t.longest_gap ? gap : t.longest_gap;
    }
    return t;
}

Test(sim_link, an_ideal_wire_changes_nothing)
{
    struct tally t = measure(1000);
    cr_assert(t.got == 1000 && t.twice == 0 && t.overtaken == 0 && t.most == 0);
}

Test(sim_link, delays_exactly_and_each_way_on_its_own)
{
    link_is((struct sim_link_conf){.delay = PH_MS(35)});
    struct tally t = measure(100);
    cr_assert(t.got == 100 && t.least == PH_MS(35) && t.most == PH_MS(35));
    ph_ns t0 = sim_now(s);
    struct sim_msg m;
    send_text(s, b, sim_addr("192.0.2.1:5000"), "back");
    sim_run_until_idle(s, PH_SEC(1));
    cr_assert(sim_recv(s, a, &m) && m.at == t0, "the way back is still ideal");
}

Test(sim_link, jitter_spreads_without_overtaking)
{
    link_is((struct sim_link_conf){.delay = PH_MS(10), .jitter = PH_MS(40)});
    struct tally t = measure(5000);
    cr_assert(t.got == 5000 && t.overtaken == 0);
    cr_assert(t.least >= PH_MS(10) && t.most <= PH_MS(50) && t.most > PH_MS(45));
}

Test(sim_link, loses_the_share_it_was_told)
{
    static const double share[] = {0.01, 0.05, 0.25, 0.5};
    for (size_t i = 0; i < sizeof share / sizeof *share; i++) {
        link_is((struct sim_link_conf){.loss = share[i]});
        double lost = 1 - (double)measure(MANY).got / MANY;
        cr_assert(lost > share[i] * 0.85 && lost < share[i] * 1.15, "%g: %g", share[i], lost);
    }
    link_is((struct sim_link_conf){.loss = 1});
    cr_assert_eq(measure(100).got, 0);
}

Test(sim_link, loses_in_bursts)
{
    link_is((struct sim_link_conf){.loss = 0.1});
    struct tally alone = measure(MANY);
    link_is((struct sim_link_conf){.loss = 0.1, .burst = 8});
    struct tally burst = measure(MANY);
    double mean_alone = (double)(MANY - alone.got) / alone.gaps;
    double mean_burst = (double)(MANY - burst.got) / burst.gaps;
    double lost = 1 - (double)burst.got / MANY;
    cr_assert(lost > 0.08 && lost < 0.12, "lost %g", lost);
    cr_assert(mean_alone > 1.0 && mean_alone < 1.25, "mean gap %g", mean_alone);
    cr_assert(mean_burst > 6.8 && mean_burst < 9.2, "mean gap %g", mean_burst);
    cr_assert_gt(burst.longest_gap, 20);
}

Test(sim_link, duplicates)
{
    link_is((struct sim_link_conf){.duplicate = 0.2, .delay = PH_MS(5), .jitter = PH_MS(3)});
    struct tally t = measure(5000);
    cr_assert(t.got - t.twice == 5000 && t.twice > 900 && t.twice < 1100, "%u", t.twice);
    cr_assert_eq(sim_link_count(sim_iface_up(ia), SIM_DUPLICATED), t.twice);
}

Test(sim_link, reorders)
{
    link_is((struct sim_link_conf){.delay = PH_MS(5), .reorder = 0.1, .reorder_by = PH_MS(7)});
    struct tally t = measure(5000);
    cr_assert(t.got == 5000 && t.overtaken > 400 && t.overtaken < 600, "%u", t.overtaken);
    cr_assert(t.least == PH_MS(5) && t.most == PH_MS(12));
}

Test(sim_link, serialises_at_its_rate_and_drops_when_the_queue_is_full)
{
    link_is((struct sim_link_conf){.rate = 1000000, .queue = PH_MS(50), .delay = PH_MS(3)});
    uint8_t p[1222] = {0}; /* 1250 bytes with headers: 10 ms each */
    ph_ns t0 = sim_now(s);
    for (int i = 0; i < 20; i++)
        sim_send(s, a, sim_addr("192.0.2.2:7000"), p, sizeof p);
    sim_run_until_idle(s, PH_SEC(5));
    struct sim_msg m;
    int n = 0;
    while (sim_recv(s, b, &m))
        cr_assert_eq(m.at - t0, PH_MS(10) * ++n + PH_MS(3));
    cr_assert_eq(n, 6, "one on the wire and five waiting, not %d", n);
    cr_assert_eq(sim_link_count(sim_iface_up(ia), SIM_QUEUE_FULL), 14);
}

Test(sim_link, an_outage_is_one_way)
{
    link_is((struct sim_link_conf){.down = true});
    cr_assert_eq(measure(10).got, 0);
    struct sim_msg m;
    send_text(s, b, sim_addr("192.0.2.1:5000"), "back");
    sim_run_until_idle(s, PH_SEC(1));
    cr_assert(sim_recv(s, a, &m));
    link_is((struct sim_link_conf){0});
    cr_assert_eq(measure(10).got, 10);
}

Test(sim_link, dice_of_one_link_do_not_shift_those_of_another)
{
    link_is((struct sim_link_conf){.loss = 0.3});
    unsigned before = measure(1000).got;
    teardown();
    setup();
    link_is((struct sim_link_conf){.loss = 0.3});
    sim_link_set(sim_iface_down(ia), &(struct sim_link_conf){.loss = 0.5});
    for (int i = 0; i < 100; i++)
        send_text(s, b, sim_addr("192.0.2.1:5000"), "noise");
    cr_assert_eq(measure(1000).got, before);
}
