/* The TURN client against the real server core, over simulated nets: NATs, loss, time, and
 * mishaps. */
#include "tests/turn/sim_turn.h"

static struct sim *s;
static struct sim_net *inet;
static struct simd *d;
static struct sim_host *peer_host;
static struct ph_addr peer;

static void setup(void)
{
    s = sim_new(11);
    inet = sim_net_new(s, "internet", NULL);
    d = simd_new(s, inet, "198.51.100.1", "2001:db8:1::1");
    peer_host = sim_host_new(s, "peer");
    sim_iface_add_ip(sim_attach(peer_host, inet, "198.51.100.9", NULL), "2001:db8:1::9");
    peer = sim_addr("198.51.100.9:7000");
    cr_assert_neq(sim_bind(peer_host, peer), 0);
    cr_assert_neq(sim_bind(peer_host, sim_addr("[2001:db8:1::9]:7000")), 0);
    sim_host_run(peer_host, &(struct sim_node){.input = sim_echo_input});
}

static void teardown(void)
{
    simd_free(d);
    sim_free(s);
}

TestSuite(turn_client_sim, .init = setup, .fini = teardown);

static struct sim_home home(enum sim_kind kind, const struct sim_link_conf *link)
{
    struct sim_nat_conf nat = sim_nat_kind(kind, "203.0.113.1");
    nat.outside = link;
    return sim_home_new(s, "alice", inet, &nat, "192.168.1.2");
}

static struct simc *client(struct sim_host *h)
{
    return simc_new(s, h, "0.0.0.0:5000", "198.51.100.1:3478");
}

static bool is_up(void *ctx)
{
    return ((struct simc *)ctx)->events[PH_TURNC_ALLOCATED] > 0;
}

static bool is_bound(void *ctx)
{
    return ((struct simc *)ctx)->events[PH_TURNC_BOUND] > 0;
}

static bool is_permitted(void *ctx)
{
    return ((struct simc *)ctx)->events[PH_TURNC_PERMITTED] > 0;
}

static bool is_lost(void *ctx)
{
    return ((struct simc *)ctx)->events[PH_TURNC_LOST] > 0;
}

static void until(struct simc *c, bool (*cond)(void *ctx))
{
    enum sim_end end = sim_run_until(s, cond, c, PH_SEC(60));
    if (end != SIM_DONE)
        sim_dump(s, stderr);
    cr_assert_eq(end, SIM_DONE, "ended with %d", end);
}

/* A client with a bound channel, behind a NAT of port-restricted kind. */
static struct simc *bound(struct sim_home *h)
{
    struct simc *c = client(h->host);
    c->c.keepalive = PH_SEC(15);
    simc_start(c, h->host);
    until(c, is_up);
    cr_assert_eq(ph_turnc_bind(c->t, &peer, sim_now(s)), 0);
    until(c, is_bound);
    return c;
}

/* Says n things, one each `gap`. */
static void say(struct simc *c, unsigned n, ph_ns gap)
{
    for (unsigned i = 0; i < n; i++) {
        cr_assert_eq(simc_say(c, peer), PH_SEND);
        sim_run(s, gap);
    }
    sim_run(s, PH_SEC(1));
}

Test(turn_client_sim, works_behind_every_kind_of_nat_with_loss_and_reordering)
{
    struct sim_link_conf link = {
        .delay = PH_MS(20), .jitter = PH_MS(5), .loss = 0.1, .reorder = 0.2, .duplicate = 0.05};
    for (enum sim_kind k = 0; k < SIM_KIND_COUNT; k++) {
        if (k == SIM_UDP_BLOCKED)
            continue;
        simd_start(d);
        struct sim_home h = home(k, &link);
        struct simc *c = client(h.host);
        simc_start(c, h.host);
        until(c, is_up);
        cr_assert_eq(ph_turnc_permit(c->t, &peer, sim_now(s)), 0);
        until(c, is_permitted);
        say(c, 100, PH_MS(20));
        unsigned by_indication = c->payloads;
        cr_expect_gt(by_indication, 60, "%s: %u of 100", sim_kind_name(k), by_indication);
        cr_assert_eq(ph_turnc_bind(c->t, &peer, sim_now(s)), 0);
        until(c, is_bound);
        say(c, 100, PH_MS(20));
        cr_expect_gt(c->payloads - by_indication, 60, "%s", sim_kind_name(k));
        cr_expect_eq(c->bad, 0, "%s", sim_kind_name(k));
        cr_expect(ph_addr_eq(&c->from, &peer));
        cr_expect_eq(ph_turnc_info(c->t)->mapped.ip[0], 203);
        simc_free(c);
        teardown();
        setup();
    }
}

Test(turn_client_sim, udp_that_is_blocked_times_out)
{
    simd_start(d);
    struct sim_home h = home(SIM_UDP_BLOCKED, NULL);
    struct simc *c = client(h.host);
    simc_start(c, h.host);
    sim_run(s, PH_SEC(60));
    cr_assert_eq(c->events[PH_TURNC_FAILED], 1);
    cr_assert_eq(c->last[PH_TURNC_FAILED].err, PH_E_TIMEOUT);
    simc_free(c);
}

Test(turn_client_sim, lives_for_two_hours_while_nonces_go_stale)
{
    simd_start(d);
    struct sim_link_conf link = {.delay = PH_MS(20), .loss = 0.05};
    struct sim_home h = home(SIM_PORT_RESTRICTED, &link);
    struct simc *c = bound(&h);
    sim_run(s, PH_SEC(7200));
    cr_assert_eq(c->events[PH_TURNC_LOST], 0);
    cr_assert_eq(c->events[PH_TURNC_BIND_FAILED], 0);
    cr_assert_gt(c->events[PH_TURNC_REFRESHED], 12);
    cr_assert_gt(ph_turnd_stats(d->d)->stale_nonce, 5);
    c->payloads = 0;
    say(c, 50, PH_MS(20));
    cr_assert_gt(c->payloads, 35);
    cr_assert_eq(ph_turnd_count(d->d), 1);
    simc_free(c);
}

Test(turn_client_sim, without_keepalive_the_nat_forgets_it)
{
    simd_start(d);
    struct sim_home h = home(SIM_PORT_RESTRICTED, NULL);
    struct simc *c = client(h.host);
    simc_start(c, h.host);
    until(c, is_up);
    sim_nat_reboot(h.nat);
    /* Another flow takes the old external port, as happens in a busy NAT. */
    uint32_t other = sim_bind(h.host, sim_addr("0.0.0.0:6000"));
    sim_nat_forward(h.nat, sim_addr("203.0.113.1:5000"), sim_sock_addr(s, other), PH_NEVER);
    sim_run(s, PH_SEC(700));
    cr_assert_eq(c->events[PH_TURNC_LOST], 1);
    cr_assert_eq(c->last[PH_TURNC_LOST].code, 437);
    simc_free(c);
}

Test(turn_client_sim, finds_out_that_the_server_has_restarted)
{
    simd_start(d);
    struct sim_home h = home(SIM_PORT_RESTRICTED, NULL);
    struct simc *c = bound(&h);
    simd_restart(d);
    enum sim_end end = sim_run_until(s, is_lost, c, PH_SEC(600));
    cr_assert_eq(end, SIM_DONE);
    cr_assert_eq(c->last[PH_TURNC_LOST].code, 437);
    cr_assert_eq(ph_turnc_allocate(c->t, sim_now(s)), 0);
    sim_run(s, PH_SEC(5));
    cr_assert_eq(c->events[PH_TURNC_ALLOCATED], 2);
    simc_free(c);
}

Test(turn_client_sim, releases_what_it_has)
{
    simd_start(d);
    struct sim_link_conf link = {.delay = PH_MS(20), .loss = 0.3};
    struct sim_home h = home(SIM_PORT_RESTRICTED, &link);
    struct simc *c = bound(&h);
    cr_assert_eq(ph_turnd_count(d->d), 1);
    cr_assert_eq(ph_turnc_release(c->t, sim_now(s)), 0);
    sim_run(s, PH_SEC(40));
    cr_assert_eq(c->events[PH_TURNC_RELEASED], 1);
    cr_assert_eq(c->last[PH_TURNC_RELEASED].err, 0);
    cr_assert_eq(ph_turnd_count(d->d), 0);
    simc_free(c);
}

Test(turn_client_sim, gets_both_families)
{
    simd_start(d);
    struct sim_home h = home(SIM_CGNAT, NULL);
    struct simc *c = client(h.host);
    struct ph_addr peer6 = sim_addr("[2001:db8:1::9]:7000");
    c->c.family = PH_TURNC_BOTH;
    simc_start(c, h.host);
    until(c, is_up);
    cr_assert_neq(ph_turnc_info(c->t)->relay[0].family, PH_AF_NONE);
    cr_assert_neq(ph_turnc_info(c->t)->relay[1].family, PH_AF_NONE);
    cr_assert_eq(ph_turnc_bind(c->t, &peer6, sim_now(s)), 0);
    until(c, is_bound);
    cr_assert_eq(simc_say(c, peer6), PH_SEND);
    sim_run(s, PH_SEC(1));
    cr_assert_eq(c->payloads, 1);
    cr_assert(ph_addr_eq(&c->from, &peer6));
    simc_free(c);
}

Test(turn_client_sim, reserves_the_next_port_for_a_second_client)
{
    simd_start(d);
    struct sim_home h = home(SIM_CGNAT, NULL);
    struct simc *c = client(h.host);
    c->c.even = PH_TURNC_RESERVE_NEXT;
    simc_start(c, h.host);
    until(c, is_up);
    const struct ph_turnc_info *i = ph_turnc_info(c->t);
    cr_assert(i->has_token);
    cr_assert_eq(i->relay[0].port % 2, 0);
    struct simc *second = simc_new(s, h.host, "0.0.0.0:5002", "198.51.100.1:3478");
    second->c.has_token = true;
    second->c.token = i->token;
    simc_start(second, h.host);
    until(second, is_up);
    cr_assert_eq(ph_turnc_info(second->t)->relay[0].port, i->relay[0].port + 1);
    simc_free(second);
    simc_free(c);
}

Test(turn_client_sim, authenticates_by_sha256_and_hides_the_user)
{
    d->c.nonce.features = PH_FEATURE_PASSWORD_ALGORITHMS | PH_FEATURE_USERNAME_ANONYMITY;
    simd_start(d);
    struct sim_home h = home(SIM_CGNAT, NULL);
    struct simc *c = bound(&h);
    cr_assert_eq(ph_turnc_info(c->t)->algorithm, PH_ALG_SHA256);
    cr_assert(ph_turnc_info(c->t)->userhash);
    sim_run(s, PH_SEC(3000));
    cr_assert_eq(c->events[PH_TURNC_LOST], 0);
    cr_assert_gt(ph_turnd_stats(d->d)->stale_nonce, 0);
    simc_free(c);
}

Test(turn_client_sim, wrong_password_is_told)
{
    simd_start(d);
    struct sim_home h = home(SIM_CGNAT, NULL);
    struct simc *c = client(h.host);
    c->c.password = ph_str("wrong");
    simc_start(c, h.host);
    sim_run(s, PH_SEC(2));
    cr_assert_eq(c->events[PH_TURNC_FAILED], 1);
    cr_assert_eq(c->last[PH_TURNC_FAILED].code, 401);
    simc_free(c);
}

Test(turn_client_sim, forbidden_peers_are_told_one_by_one)
{
    simd_start(d);
    struct sim_home h = home(SIM_CGNAT, NULL);
    struct simc *c = client(h.host);
    struct ph_addr bad = sim_addr("127.0.0.1:80");
    simc_start(c, h.host);
    until(c, is_up);
    cr_assert_eq(ph_turnc_permit(c->t, &peer, sim_now(s)), 0);
    cr_assert_eq(ph_turnc_permit(c->t, &bad, sim_now(s)), 0);
    sim_run(s, PH_SEC(2));
    cr_assert_eq(c->events[PH_TURNC_PERMITTED], 1);
    cr_assert_eq(c->events[PH_TURNC_PERMIT_FAILED], 1);
    cr_assert_eq(c->last[PH_TURNC_PERMIT_FAILED].code, 403);
    cr_assert(ph_addr_eq_ip(&c->last[PH_TURNC_PERMIT_FAILED].peer, &bad));
    simc_free(c);
}

Test(turn_client_sim, icmp_errors_come_through)
{
    simd_start(d);
    struct sim_home h = home(SIM_CGNAT, NULL);
    struct simc *c = client(h.host);
    struct ph_addr closed = sim_addr("198.51.100.9:7999");
    simc_start(c, h.host);
    until(c, is_up);
    cr_assert_eq(ph_turnc_permit(c->t, &closed, sim_now(s)), 0);
    until(c, is_permitted);
    cr_assert_eq(simc_say(c, closed), PH_SEND);
    sim_run(s, PH_SEC(1));
    cr_assert_eq(c->events[PH_TURNC_ICMP], 1);
    cr_assert_eq(c->last[PH_TURNC_ICMP].icmp_type, 3);
    cr_assert_eq(c->last[PH_TURNC_ICMP].icmp_code, 3);
    cr_assert(ph_addr_eq(&c->last[PH_TURNC_ICMP].peer, &closed));
    simc_free(c);
}

Test(turn_client_sim, follows_the_server_to_another_one)
{
    struct simd *second = simd_new(s, inet, "198.51.100.2", "2001:db8:1::2");
    simd_start(second);
    d->c.live.n_alternates = 1;
    d->c.live.alternate[0] = sim_addr("198.51.100.2:3478");
    simd_start(d);
    struct sim_home h = home(SIM_CGNAT, NULL);
    struct simc *c = client(h.host);
    c->c.follow_redirects = true;
    simc_start(c, h.host);
    until(c, is_up);
    cr_assert_eq(ph_turnc_info(c->t)->relay[0].ip[3], 2);
    cr_assert_eq(ph_turnd_count(d->d), 0);
    cr_assert_eq(ph_turnd_count(second->d), 1);
    simc_free(c);
    simd_free(second);
}
