/*
 * A NAT under test between alice at home and two servers with two ports each, so that address and port can vary
 * on their own, as RFC 5780 4 does it.
 */
#ifndef PH_TESTS_SIM_NATKIT_H
#define PH_TESTS_SIM_NATKIT_H

#include "tests/sim/testkit.h"

static struct sim *s;
static struct sim_net *inet;
static struct sim_host *srv1, *srv2;
static uint32_t s1p1, s1p2, s2p1, s2p2;

#define S1P1 sim_addr("198.51.100.1:3478")
#define S1P2 sim_addr("198.51.100.1:3479")
#define S2P1 sim_addr("198.51.100.2:3478")
#define S2P2 sim_addr("198.51.100.2:3479")

static inline void setup(void)
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

static inline void teardown(void)
{
    sim_free(s);
}

static inline struct sim_home home(struct sim_nat_conf c)
{
    if (!c.external[0])
        c.external[0] = "203.0.113.1";
    return sim_home_new(s, "alice", inet, &c, "192.168.1.2");
}

/* The reflexive address of a socket as a server socket sees it. */
static inline struct ph_addr seen_by(uint32_t sock, struct ph_addr server, uint32_t server_sock)
{
    struct ph_addr src = {0};
    cr_assert(reaches(s, sock, server, server_sock, &src));
    return src;
}

static inline bool same(struct ph_addr a, struct ph_addr b)
{
    return ph_addr_eq(&a, &b);
}

struct two {
    struct sim_home h;
    uint32_t a, b; /* port 5000 of two hosts behind one NAT */
};

static inline struct two neighbours(struct sim_nat_conf c)
{
    struct two t = {.h = home(c)};
    struct sim_host *bob = sim_host_new(s, "bob");
    sim_attach(bob, t.h.lan, "192.168.1.3", NULL);
    t.a = open_at(t.h.host, "0.0.0.0:5000");
    t.b = open_at(bob, "0.0.0.0:5000");
    return t;
}

#endif
