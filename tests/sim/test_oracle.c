/*
 * Which NATs let two peers connect?  Theory against the simulator.
 *
 * Two small peers learn their server-reflexive addresses from a reflector, exchange them, and ping each other
 * and whatever sources they see, as ICE does with checks and triggered checks.  A path counts when an answer
 * comes from the very address that was pinged (RFC 8445 7.2.5.2.1).  No relays, no host candidates.
 *
 * The theory, worked out by hand.  A and B have mappings mA, mB and filters fA, fB.  A path is a pair of
 * external endpoints (a, b) with "A sends to b from a" and "B sends to a from b".
 *   - Both mappings EI: (a, b) are the reflexive addresses; both have sent, so every filter admits: always.
 *   - mA EI, mB not: b is the mapping B opens towards a.  A knows only B's reflexive address, so B's packet
 *     from b must pass fA, to which A has opened B's IP but not b's port: unless fA is APD.
 *   - Neither EI: the first packet hits a mapping that has only talked to the reflector: one filter must be EI;
 *     the answer comes from a new port: the other must not be APD.  When both mappings are APD each answer
 *     opens yet another port and no pair is ever symmetric.
 */
#include "tests/sim/testkit.h"

#include <stdio.h>

enum { REMOTES = 12, PINGS = 40 };

/* ---- A reflector and a hole-punching peer ---- */

static int reflect(void *ctx, struct ph_pkt *p, ph_ns now)
{
    struct ph_addr src = p->src;
    (void)ctx;
    (void)now;
    p->b.len = 1 + sizeof src;
    ph_buf_data(&p->b)[0] = 'R';
    memcpy(ph_buf_data(&p->b) + 1, &src, sizeof src);
    p->dst = src;
    return PH_SEND;
}

struct peer {
    uint32_t sock;
    struct ph_addr reflector, mine, remote[REMOTES], via;
    unsigned n_remote, pings, due;
    ph_ns next_at;
    bool connected;
};

static void learn(struct peer *p, struct ph_addr a)
{
    for (unsigned i = 0; i < p->n_remote; i++)
        if (ph_addr_eq(&p->remote[i], &a))
            return;
    if (p->n_remote < REMOTES)
        p->remote[p->n_remote++] = a;
}

static int peer_input(void *ctx, struct ph_pkt *k, ph_ns now)
{
    struct peer *p = ctx;
    uint8_t *d = ph_buf_data(&k->b);
    (void)now;
    if (d[0] == 'R') {
        memcpy(&p->mine, d + 1, sizeof p->mine);
    } else if (d[0] == 'P') { /* answer: who pinged whom */
        learn(p, k->src);
        d[0] = 'A';
        k->dst = k->src;
        return PH_SEND;
    } else if (memcmp(d + 1, &k->src, sizeof k->src) == 0) {
        p->connected = true;
        p->via = k->src;
    }
    return PH_CONSUMED;
}

static void peer_tick(void *ctx, ph_ns now)
{
    struct peer *p = ctx;
    p->due = p->n_remote ? p->n_remote : 1;
    p->next_at = ++p->pings < PINGS ? now + PH_MS(50) : PH_NEVER;
}

static ph_ns peer_deadline(void *ctx)
{
    return ((struct peer *)ctx)->next_at;
}

static bool peer_output(void *ctx, struct ph_pkt *out, ph_ns now)
{
    struct peer *p = ctx;
    (void)now;
    if (p->due == 0)
        return false;
    p->due--;
    out->sock = p->sock;
    out->dst = p->n_remote ? p->remote[p->due] : p->reflector;
    uint8_t *d = ph_buf_data(&out->b);
    d[0] = p->n_remote ? 'P' : 'Q';
    memcpy(d + 1, &out->dst, sizeof out->dst);
    out->b.len = 1 + sizeof out->dst;
    return true;
}

static void start_peer(struct sim *s, struct sim_host *h, struct peer *p)
{
    p->sock = open_at(h, "0.0.0.0:5000");
    p->reflector = sim_addr("198.51.100.1:3478");
    p->next_at = sim_now(s);
    sim_host_run(h, &(struct sim_node){.ctx = p,
                                       .input = peer_input,
                                       .tick = peer_tick,
                                       .deadline = peer_deadline,
                                       .output = peer_output});
}

/* Gathers, signals, punches, b `late` after a.  Returns whether both sides have a path. */
static bool punch(struct sim *s, struct sim_host *ha, struct sim_host *hb, ph_ns late)
{
    struct peer a = {0}, b = {0};
    start_peer(s, ha, &a);
    start_peer(s, hb, &b);
    cr_assert_neq(sim_run_until_idle(s, PH_SEC(20)), SIM_LIVELOCK);
    if (a.mine.family && b.mine.family) {
        learn(&a, b.mine);
        learn(&b, a.mine);
        a.pings = b.pings = 0;
        a.next_at = sim_now(s);
        b.next_at = a.next_at + late;
        cr_assert_eq(sim_run_until_idle(s, PH_SEC(20)), SIM_IDLE);
    }
    cr_assert_eq(a.connected, b.connected, "a path has two ends");
    return a.connected;
}

static struct sim *world(uint64_t seed, double loss, struct sim_net **inet)
{
    static const struct sim_node reflector = {.input = reflect};
    struct sim *s = sim_new(seed);
    struct sim_link_conf link = {.delay = PH_MS(15), .jitter = PH_MS(10), .loss = loss};
    sim_default_link(s, &link);
    *inet = sim_net_new(s, "internet", NULL);
    struct sim_host *srv = sim_host_new(s, "reflector");
    sim_attach(srv, *inet, "198.51.100.1", NULL);
    open_at(srv, "0.0.0.0:3478");
    sim_host_run(srv, &reflector);
    return s;
}

static bool connects_late(uint64_t seed, double loss, struct sim_nat_conf a, struct sim_nat_conf b,
                          ph_ns late)
{
    struct sim_net *inet;
    struct sim *s = world(seed, loss, &inet);
    a.external[0] = "203.0.113.1";
    b.external[0] = "203.0.113.2";
    struct sim_home ha = sim_home_new(s, "alice", inet, &a, "192.168.1.2");
    struct sim_home hb = sim_home_new(s, "bob", inet, &b, "192.168.1.2");
    bool ok = punch(s, ha.host, hb.host, late);
    sim_free(s);
    return ok;
}

static bool connects(uint64_t seed, double loss, struct sim_nat_conf a, struct sim_nat_conf b)
{
    return connects_late(seed, loss, a, b, 0);
}

/* ---- The theory ---- */

static bool in_theory(const struct sim_nat_conf *a, const struct sim_nat_conf *b)
{
    if (a->mapping == SIM_EI && b->mapping == SIM_EI)
        return true;
    if (a->mapping == SIM_EI)
        return a->filtering != SIM_APD;
    if (b->mapping == SIM_EI)
        return b->filtering != SIM_APD;
    if (a->mapping == SIM_APD && b->mapping == SIM_APD)
        return false;
    return (a->filtering == SIM_EI && b->filtering != SIM_APD) ||
           (b->filtering == SIM_EI && a->filtering != SIM_APD);
}

static struct sim_nat_conf cell(int i, enum sim_ports ports)
{
    return (struct sim_nat_conf){
        .mapping = (enum sim_scope)(i / 3), .filtering = (enum sim_scope)(i % 3), .ports = ports};
}

static void compare(enum sim_ports ports, double loss, uint64_t seeds)
{
    static const char *const scope[] = {"EI", "AD", "APD"};
    for (int i = 0; i < 9; i++) {
        for (int k = 0; k < 9; k++) {
            struct sim_nat_conf a = cell(i, ports), b = cell(k, ports);
            for (uint64_t seed = 1; seed <= seeds; seed++)
                cr_expect_eq(connects(seed, loss, a, b), in_theory(&a, &b),
                             "%s/%s with %s/%s, seed %llu", scope[i / 3], scope[i % 3],
                             scope[k / 3], scope[k % 3], (unsigned long long)seed);
        }
    }
}

Test(sim_oracle, nine_by_nine_as_in_theory)
{
    compare(SIM_PORT_RANDOM, 0, 2);
}

Test(sim_oracle, the_order_of_ports_does_not_matter)
{
    compare(SIM_PORT_SEQUENTIAL, 0, 1);
}

Test(sim_oracle, moderate_loss_does_not_matter)
{
    compare(SIM_PORT_RANDOM, 0.05, 3);
}

/* The table everybody quotes, in the old names. */
Test(sim_oracle, the_classic_table)
{
    enum { KINDS = 7 };
    static const enum sim_kind kind[KINDS] = {SIM_FULL_CONE,  SIM_RESTRICTED, SIM_PORT_RESTRICTED,
                                              SIM_SYMMETRIC,  SIM_LINUX,      SIM_CGNAT,
                                              SIM_UDP_BLOCKED};
    static const char *const want[KINDS] = {
        /* fc r pr sym linux cgnat blocked */
        "yyyyyy-", "yyyyyy-", "yyy-yy-", "yy---y-", "yyy-yy-", "yyyyyy-", "-------",
    };
    for (int i = 0; i < KINDS; i++) {
        for (int k = 0; k < KINDS; k++) {
            bool ok = connects(9, 0, sim_nat_kind(kind[i], NULL), sim_nat_kind(kind[k], NULL));
            cr_expect_eq(ok, want[i][k] == 'y', "%s with %s: %d", sim_kind_name(kind[i]),
                         sim_kind_name(kind[k]), ok);
        }
    }
}

/* The first packet of an early peer takes the 5-tuple that the late peer's answer would need. */
Test(sim_oracle, linux_boxes_want_both_to_start_together)
{
    struct sim_nat_conf box = sim_nat_kind(SIM_LINUX, NULL), drops = box;
    struct sim_nat_conf strict = sim_nat_kind(SIM_PORT_RESTRICTED, NULL);
    drops.conntrack = false; /* INPUT drops instead of accepting */
    cr_expect(connects_late(1, 0, strict, box, PH_MS(20)), "both are under way");
    cr_expect_not(connects_late(1, 0, strict, box, PH_MS(300)));
    cr_expect_not(connects_late(1, 0, box, box, PH_MS(300)));
    cr_expect(connects_late(1, 0, strict, drops, PH_MS(300)));
    cr_expect(connects_late(1, 0, strict, strict, PH_MS(300)));
}

Test(sim_oracle, behind_one_nat_it_takes_hairpinning)
{
    for (int i = 0; i < 9; i++) {
        for (enum sim_hairpin pin = SIM_HAIRPIN_NONE; pin <= SIM_HAIRPIN_EXTERNAL; pin++) {
            struct sim_net *inet;
            struct sim *s = world(4, 0, &inet);
            struct sim_nat_conf c = cell(i, SIM_PORT_RANDOM);
            c.external[0] = "203.0.113.1";
            c.hairpin = pin;
            struct sim_home h = sim_home_new(s, "alice", inet, &c, "192.168.1.2");
            struct sim_host *bob = sim_host_new(s, "bob");
            sim_attach(bob, h.lan, "192.168.1.3", NULL);
            bool want = pin != SIM_HAIRPIN_NONE && in_theory(&c, &c);
            if (pin == SIM_HAIRPIN_INTERNAL && c.mapping != SIM_EI)
                want = c.filtering == SIM_EI; /* one packet through, then the LAN */
            cr_expect_eq(punch(s, h.host, bob, 0), want, "cell %d hairpin %d", i, pin);
            sim_free(s);
        }
    }
}

/* Two boxes in a row behave as the stricter of both. */
Test(sim_oracle, double_nat_is_as_bad_as_its_worse_half)
{
    static const enum sim_kind kind[] = {SIM_FULL_CONE, SIM_PORT_RESTRICTED, SIM_SYMMETRIC};
    for (int inner = 0; inner < 3; inner++) {
        for (int outer = 0; outer < 3; outer++) {
            for (int other = 0; other < 3; other++) {
                struct sim_net *inet;
                struct sim *s = world(6, 0, &inet);
                struct sim_net *cg = sim_net_new(s, "cg", NULL);
                struct sim_nat_conf o = sim_nat_kind(kind[outer], "203.0.113.1");
                struct sim_nat_conf i = sim_nat_kind(kind[inner], "100.64.0.2");
                struct sim_nat_conf b = sim_nat_kind(kind[other], "203.0.113.2");
                struct sim_nat_conf worse = sim_nat_kind(kind[inner > outer ? inner : outer], NULL);
                sim_nat_new(s, "cgn", cg, inet, &o);
                struct sim_home ha = sim_home_new(s, "alice", cg, &i, "192.168.1.2");
                struct sim_home hb = sim_home_new(s, "bob", inet, &b, "192.168.1.2");
                cr_expect_eq(punch(s, ha.host, hb.host, 0), in_theory(&worse, &b),
                             "%s in %s with %s", sim_kind_name(kind[inner]),
                             sim_kind_name(kind[outer]), sim_kind_name(kind[other]));
                sim_free(s);
            }
        }
    }
}
