/*
 * Client and server against each other through simulated NATs: mapped addresses, RFC 5780's probes, binding
 * lifetimes, loss.
 *
 * The server has two addresses with two ports each; alice is at home behind the NAT under test.
 */
#include "stun/client.h"
#include "stun/server.h"
#include "tests/sim/sim.h"

#include <criterion/criterion.h>
#include <string.h>

#define INSIDE   "192.168.1.2:5000"
#define EXTERNAL "203.0.113.1"

static const char *const FOUR[] = {"198.51.100.1:3478", "198.51.100.1:3479", "198.51.100.2:3478",
                                   "198.51.100.2:3479"};

static struct sim *s;
static struct sim_net *inet;
static struct sim_host *server;
static struct ph_stund stund;
static struct sim_home home;
static uint32_t sock;

/* ---- adapters ---- */

static int server_input(void *ctx, struct ph_pkt *p, ph_ns now)
{
    return ph_stund_input(ctx, p, now);
}

struct client {
    struct ph_stunc c;
    struct ph_stunc_ev ev;
    bool ended;
};

static int client_input(void *ctx, struct ph_pkt *p, ph_ns now)
{
    return ph_stunc_input(&((struct client *)ctx)->c, p, now);
}

static void client_tick(void *ctx, ph_ns now)
{
    ph_stunc_tick(&((struct client *)ctx)->c, now);
}

static ph_ns client_deadline(void *ctx)
{
    return ph_stunc_deadline(&((struct client *)ctx)->c);
}

static bool client_output(void *ctx, struct ph_pkt *out, ph_ns now)
{
    return ph_stunc_output(&((struct client *)ctx)->c, out, now);
}

static bool client_event(void *ctx, ph_ns now)
{
    struct client *k = ctx;
    (void)now;
    if (!ph_stunc_event(&k->c, &k->ev))
        return false;
    k->ended = true;
    return true;
}

static struct client alice;

/* ---- the scene ---- */

static void setup(void)
{
    struct ph_stund_conf c = {.rfc5780 = true};
    const struct sim_link_conf link = {.delay = PH_MS(10)};
    s = sim_new(11);
    inet = sim_net_new(s, "internet", NULL);
    server = sim_host_new(s, "server");
    sim_iface_add_ip(sim_attach(server, inet, "198.51.100.1", &link), "198.51.100.2");
    for (unsigned i = 0; i < 4; i++) {
        c.at[i] = sim_addr(FOUR[i]);
        c.sock[i] = sim_bind(server, c.at[i]);
        cr_assert_neq(c.sock[i], 0);
    }
    cr_assert_eq(ph_stund_init(&stund, &c), 0);
    sim_host_run(server, &(struct sim_node){.ctx = &stund, .input = server_input});
}

static void teardown(void)
{
    sim_free(s);
}

TestSuite(stun_client_nat, .init = setup, .fini = teardown);

static void move_in(const struct sim_nat_conf *nat)
{
    home = sim_home_new(s, "alice", inet, nat, "192.168.1.2");
    sock = sim_bind(home.host, sim_addr(INSIDE));
    cr_assert_neq(sock, 0);
    ph_stunc_init(&alice.c, sim_host_env(home.host));
    sim_host_run(home.host, &(struct sim_node){.ctx = &alice,
                                               .input = client_input,
                                               .tick = client_tick,
                                               .deadline = client_deadline,
                                               .output = client_output,
                                               .event = client_event});
}

static void move_in_behind(enum sim_kind kind)
{
    struct sim_nat_conf c = sim_nat_kind(kind, EXTERNAL);
    move_in(&c);
}

/* Asks one of the four and waits for the end.  Returns whether the mapped address was learnt. */
static bool asks(unsigned which, struct ph_stunc_ask ask)
{
    ask.server = sim_addr(FOUR[which]);
    if (!ask.sock)
        ask.sock = sock;
    alice.ended = false;
    ph_stunc_start(&alice.c, &ask, sim_now(s));
    cr_assert_eq(sim_run_until_idle(s, PH_SEC(60)), SIM_IDLE);
    cr_assert(alice.ended);
    return alice.ev.result == PH_STUNC_MAPPED;
}

static struct ph_addr mapped_by(unsigned which)
{
    cr_assert(asks(which, (struct ph_stunc_ask){0}));
    return alice.ev.mapped;
}

static bool same(struct ph_addr a, struct ph_addr b)
{
    return ph_addr_eq_endpoint(&a, &b);
}

/* ---- mapped addresses ---- */

Test(stun_client_nat, learns_its_mapping_behind_every_kind_of_nat)
{
    for (int kind = 0; kind < SIM_KIND_COUNT; kind++) {
        if (kind) {
            teardown();
            setup();
        }
        move_in_behind((enum sim_kind)kind);
        bool open = asks(0, (struct ph_stunc_ask){0});
        cr_assert_eq(open, kind != SIM_UDP_BLOCKED, "%s", sim_kind_name((enum sim_kind)kind));
        if (!open) {
            cr_assert_eq(alice.ev.result, PH_STUNC_TIMEOUT);
            continue;
        }
        struct ph_addr want = sim_nat_lookup(home.nat, sim_addr(INSIDE), sim_addr(FOUR[0]));
        cr_assert(same(alice.ev.mapped, want), "%s", sim_kind_name((enum sim_kind)kind));
        cr_assert_eq(alice.ev.rtt, PH_MS(20));
        cr_assert(same(alice.ev.from, sim_addr(FOUR[0])));
    }
}

Test(stun_client_nat, sees_its_own_address_without_a_nat)
{
    struct sim_host *h = sim_host_new(s, "bob");
    sim_attach(h, inet, "192.0.2.5", NULL);
    home.host = h;
    sock = sim_bind(h, sim_addr("192.0.2.5:5000"));
    ph_stunc_init(&alice.c, sim_host_env(h));
    sim_host_run(h, &(struct sim_node){.ctx = &alice,
                                       .input = client_input,
                                       .tick = client_tick,
                                       .deadline = client_deadline,
                                       .output = client_output,
                                       .event = client_event});
    cr_assert(same(mapped_by(0), sim_addr("192.0.2.5:5000")));
}

Test(stun_client_nat, is_answered_by_a_server_that_receives_coalesced_packets)
{
    sim_host_coalesced(server, true);
    move_in_behind(SIM_FULL_CONE);
    /* 68 bytes do not fit into the scratch of 64, so this server is one without RFC 5780. */
    stund.c.rfc5780 = false;
    cr_assert(same(mapped_by(0), sim_addr(EXTERNAL ":5000")));
}

/* ---- RFC 5780, by hand ---- */

/* RFC 5780 4.3. */
static enum sim_scope mapping(void)
{
    struct ph_addr first = mapped_by(0);
    cr_assert(same(alice.ev.other, sim_addr(FOUR[3])));
    cr_assert(same(alice.ev.origin, sim_addr(FOUR[0])));
    struct ph_addr second = mapped_by(2);
    if (same(first, second))
        return SIM_EI;
    return same(second, mapped_by(3)) ? SIM_AD : SIM_APD;
}

/* RFC 5780 4.4, from a port that has not been used yet. */
static enum sim_scope filtering(void)
{
    sock = sim_bind(home.host, sim_addr("192.168.1.2:6000"));
    mapped_by(0);
    if (asks(0, (struct ph_stunc_ask){.change_ip = true, .change_port = true})) {
        cr_assert(same(alice.ev.from, sim_addr(FOUR[3])));
        cr_assert(same(alice.ev.origin, sim_addr(FOUR[3])));
        return SIM_EI;
    }
    return asks(0, (struct ph_stunc_ask){.change_port = true}) ? SIM_AD : SIM_APD;
}

Test(stun_client_nat, finds_out_how_the_nat_maps_and_filters)
{
    for (int m = SIM_EI; m <= SIM_APD; m++)
        for (int f = SIM_EI; f <= SIM_APD; f++) {
            const struct sim_nat_conf c = {.external = {EXTERNAL},
                                           .mapping = (enum sim_scope)m,
                                           .filtering = (enum sim_scope)f,
                                           .ports = SIM_PORT_RANDOM,
                                           .ttl = PH_SEC(600)};
            move_in(&c);
            cr_assert_eq((int)mapping(), m, "mapping %d, filtering %d", m, f);
            cr_assert_eq((int)filtering(), f, "mapping %d, filtering %d", m, f);
            teardown();
            setup();
        }
}

/* RFC 5780 4.6: an answer to X's mapping, asked for from Y. */
static bool still_mapped_after(ph_ns span)
{
    uint32_t x = sock, y = sim_bind(home.host, sim_addr("192.168.1.2:0"));
    struct sim_msg m;
    struct ph_addr mapping_of_x = mapped_by(0);
    sim_sock_owner(s, x, 0); /* from here on X only listens */
    cr_assert_eq(sim_run(s, span), SIM_TIMEOUT);
    struct ph_stunc_ask ask = {.sock = y, .response_port = mapping_of_x.port, .txn.rc = 1};
    cr_assert_not(asks(0, ask), "the answer does not go to Y");
    return sim_recv(s, x, &m);
}

Test(stun_client_nat, finds_out_how_long_a_mapping_lives)
{
    static const struct {
        int seconds;
        bool alive;
    } rows[] = {{20, true}, {59, true}, {61, false}, {300, false}};
    for (size_t i = 0; i < 4; i++) {
        const struct sim_nat_conf c = {.external = {EXTERNAL}, .ttl = PH_SEC(60)};
        move_in(&c);
        cr_assert_eq(still_mapped_after(PH_SEC(rows[i].seconds)), rows[i].alive, "%d s",
                     rows[i].seconds);
        teardown();
        setup();
    }
}

/* ---- loss ---- */

static bool lose_first_three(void *ctx, struct sim_hop *h)
{
    unsigned *n = ctx;
    return h->at != SIM_AT_SEND || ++*n > 3;
}

Test(stun_client_nat, recovers_from_loss_on_the_schedule)
{
    unsigned n = 0;
    move_in_behind(SIM_PORT_RESTRICTED);
    ph_ns before = sim_now(s);
    sim_tap(s, lose_first_three, &n);
    cr_assert(asks(0, (struct ph_stunc_ask){0}));
    cr_assert_eq(sim_now(s) - before, PH_MS(3500 + 20), "the fourth request gets through");
    cr_assert_eq(alice.ev.rtt, -1, "which of the four was answered is not known");
}

Test(stun_client_nat, recovers_from_heavy_random_loss)
{
    const struct sim_link_conf lossy = {.delay = PH_MS(40), .loss = 0.3, .duplicate = 0.1};
    struct sim_nat_conf c = sim_nat_kind(SIM_SYMMETRIC, EXTERNAL);
    unsigned ok = 0;
    c.outside = &lossy;
    move_in(&c);
    for (unsigned i = 0; i < 200; i++)
        ok += asks(0, (struct ph_stunc_ask){0});
    /* Half of the tries get there and back: of seven, one in 128 requests loses all. */
    cr_assert_geq(ok, 190, "%u of 200", ok);
}
