/*
 * The TURN cores as programs of the simulator: a server with its relay sockets, clients, and an
 * echo peer.
 */
#ifndef PH_TESTS_TURN_SIM_TURN_H
#define PH_TESTS_TURN_SIM_TURN_H

#include "stun/base/error.h"
#include "stun/codec/algs.h"
#include "tests/sim/sim.h"
#include "turn/client.h"
#include "turn/server.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- server ------------------------------------------------------------------------------- */

enum { SIMD_SOCKS = 256, SIMD_LISTENERS = 2 };

struct simd {
    struct sim *s;
    struct sim_host *host;
    struct ph_turnd_conf c;
    struct ph_turnd *d;
    struct ph_acl *acl;
    struct ph_auth *auth;
    struct ph_ports *ports[2];
    struct ph_reserve *reserve;
    struct ph_stund stun;
    ph_ns start;
    uint32_t node;
    struct {
        uint32_t core, sim; /* socket numbers of both worlds; sim 0: free */
    } sock[SIMD_SOCKS];
    uint8_t buf[PH_HEADROOM + 2048];
    unsigned ups, downs;
};

static inline uint32_t simd_core(const struct simd *t, uint32_t sim)
{
    for (unsigned i = 0; i < SIMD_SOCKS; i++)
        if (t->sock[i].sim == sim)
            return t->sock[i].core;
    return UINT32_MAX;
}

static inline uint32_t *simd_sim(struct simd *t, uint32_t core)
{
    for (unsigned i = 0; i < SIMD_SOCKS; i++)
        if (t->sock[i].sim && t->sock[i].core == core)
            return &t->sock[i].sim;
    return NULL;
}

static inline void simd_add(struct simd *t, uint32_t core, uint32_t sim)
{
    for (unsigned i = 0; i < SIMD_SOCKS; i++) {
        if (t->sock[i].sim)
            continue;
        t->sock[i].core = core;
        t->sock[i].sim = sim;
        return;
    }
    cr_assert_fail("too many sockets");
}

static inline void simd_clock(struct simd *t, ph_ns now)
{
    ph_turnd_wall_clock(t->d, 1800000000 + (now - t->start) / PH_SEC(1), now);
}

static inline int simd_input(void *ctx, struct ph_pkt *p, ph_ns now)
{
    struct simd *t = ctx;
    simd_clock(t, now);
    p->sock = simd_core(t, p->sock);
    int verdict = ph_turnd_input(t->d, p, now);
    if (verdict == PH_SEND) {
        uint32_t *sim = simd_sim(t, p->sock);
        p->sock = sim ? *sim : 0;
        p->src = (struct ph_addr){0};
    }
    return verdict;
}

static inline void simd_tick(void *ctx, ph_ns now)
{
    struct simd *t = ctx;
    simd_clock(t, now);
    ph_turnd_tick(t->d, now);
}

static inline ph_ns simd_deadline(void *ctx)
{
    return ph_turnd_deadline(((struct simd *)ctx)->d);
}

static inline bool simd_output(void *ctx, struct ph_pkt *out, ph_ns now)
{
    struct simd *t = ctx;
    if (!ph_turnd_output(t->d, out, now))
        return false;
    uint32_t *sim = simd_sim(t, out->sock);
    out->sock = sim ? *sim : 0;
    out->src = (struct ph_addr){0};
    return true;
}

static inline bool simd_event(void *ctx, ph_ns now)
{
    struct simd *t = ctx;
    struct ph_turnd_ev ev;
    bool any = false;
    while (ph_turnd_event(t->d, &ev)) {
        any = true;
        uint32_t sim, *old;
        switch (ev.type) {
        case PH_TURND_RELAY_OPEN:
            sim = sim_bind(t->host, ev.at);
            if (sim)
                simd_add(t, ev.sock, sim);
            ph_turnd_relay_opened(t->d, ev.sock, sim ? 0 : -EADDRINUSE, now);
            break;
        case PH_TURND_RELAY_CLOSE:
            if ((old = simd_sim(t, ev.sock))) {
                sim_close(t->s, *old);
                *old = 0;
            }
            break;
        case PH_TURND_ALLOC_UP:
            t->ups++;
            break;
        case PH_TURND_ALLOC_DOWN:
            t->downs++;
            break;
        default: /* of TCP relays, which the simulator does not have */
            break;
        }
    }
    return any;
}

static inline void simd_icmp(void *ctx, const struct sim_icmp *e, ph_ns now)
{
    struct simd *t = ctx;
    struct ph_pkt out = {.b = {t->buf, sizeof t->buf, PH_HEADROOM, 0}};
    uint32_t core = simd_core(t, e->sock);
    if (ph_turnd_icmp(t->d, core, &e->remote, e->type, e->code, e->mtu, &out, now) != PH_SEND)
        return;
    uint32_t *sim = simd_sim(t, out.sock);
    out.sock = sim ? *sim : 0;
    out.src = (struct ph_addr){0};
    sim_send_pkt(t->s, &out);
}

/* A server on 198.51.100.1 and 2001:db8:1::1, port 3478, with alice and bob; change t->c, then
 * simd_start. */
static inline struct simd *simd_new(struct sim *s, struct sim_net *net, const char *ip4,
                                    const char *ip6)
{
    struct simd *t = calloc(1, sizeof *t);
    char at[64];
    t->s = s;
    t->start = sim_now(s);
    t->host = sim_host_new(s, ip4);
    struct sim_iface *iface = sim_attach(t->host, net, ip4, NULL);
    sim_iface_add_ip(iface, ip6);
    t->acl = ph_acl_new();
    t->auth = ph_auth_new("example.org", sim_env(s));
    ph_auth_add_user(t->auth, ph_str("alice"), ph_str("secret"));
    t->reserve = ph_reserve_new();
    t->ports[0] = ph_ports_new(50000, 50999);
    t->ports[1] = ph_ports_new(50000, 50999);
    t->c = (struct ph_turnd_conf){
        .n_listeners = SIMD_LISTENERS,
        .relay = {{.at = sim_addr(ip4), .ports = t->ports[0]},
                  {.at = sim_addr(ip6), .ports = t->ports[1]}},
        .n_relays = 2,
        .live.acl = t->acl,
        .live.auth = t->auth,
        .reserve = t->reserve,
        .nonce = {.key = "0123456789abcdef0123456789abcde", .ttl_s = 600},
    };
    for (unsigned i = 0; i < SIMD_LISTENERS; i++) {
        snprintf(at, sizeof at, i ? "[%s]:3478" : "%s:3478", i ? ip6 : ip4);
        t->c.listener[i].at = sim_addr(at);
        t->c.listener[i].stun = &t->stun;
        uint32_t sock = sim_bind(t->host, t->c.listener[i].at);
        cr_assert_neq(sock, 0);
        simd_add(t, i, sock);
    }
    struct ph_stund_conf sc = {.at = {t->c.listener[0].at}};
    ph_stund_init(&t->stun, &sc);
    return t;
}

static inline void simd_start(struct simd *t)
{
    t->d = ph_turnd_new(&t->c, sim_host_env(t->host), sim_now(t->s));
    cr_assert_not_null(t->d);
    simd_clock(t, sim_now(t->s));
    t->node = sim_host_run(t->host, &(struct sim_node){.ctx = t,
                                                       .input = simd_input,
                                                       .tick = simd_tick,
                                                       .deadline = simd_deadline,
                                                       .output = simd_output,
                                                       .event = simd_event,
                                                       .icmp = simd_icmp});
}

/* Forgets everything, as a restart does: the ports are free, the listeners stay. */
static inline void simd_restart(struct simd *t)
{
    ph_turnd_free(t->d);
    for (unsigned i = 0; i < SIMD_SOCKS; i++) {
        if (t->sock[i].sim && t->sock[i].core >= PH_SOCK_RELAY) {
            sim_close(t->s, t->sock[i].sim);
            t->sock[i].sim = 0;
        }
    }
    t->d = ph_turnd_new(&t->c, sim_host_env(t->host), sim_now(t->s));
    cr_assert_not_null(t->d);
    simd_clock(t, sim_now(t->s));
}

static inline void simd_free(struct simd *t)
{
    ph_turnd_free(t->d);
    ph_ports_free(t->ports[0]);
    ph_ports_free(t->ports[1]);
    ph_acl_free(t->acl);
    ph_auth_free(t->auth);
    ph_reserve_free(t->reserve);
    free(t);
}

/* --- client ------------------------------------------------------------------------------- */

struct simc {
    struct sim *s;
    uint32_t sock;
    struct ph_turnc_conf c;
    struct ph_turnc *t;
    unsigned events[PH_TURNC_ICMP + 1]; /* how often each came */
    struct ph_turnc_ev last[PH_TURNC_ICMP + 1];
    unsigned payloads, bad; /* that arrived; whose content is not what simc_say sends */
    struct ph_addr from;    /* of the last */
    uint8_t buf[PH_HEADROOM + 2048 + PH_TAILROOM];
};

enum { SIMC_PAYLOAD = 101 };

static inline uint8_t simc_byte(unsigned i)
{
    return (uint8_t)(i * 7 + 1);
}

static inline int simc_input(void *ctx, struct ph_pkt *p, ph_ns now)
{
    struct simc *c = ctx;
    int verdict = ph_turnc_input(c->t, p, now);
    if (verdict != PH_DATA)
        return verdict;
    c->payloads++;
    c->from = p->src;
    bool good = p->b.len == SIMC_PAYLOAD;
    for (unsigned i = 0; good && i < SIMC_PAYLOAD; i++)
        good = ph_buf_data(&p->b)[i] == simc_byte(i);
    c->bad += !good;
    return PH_CONSUMED;
}

static inline void simc_tick(void *ctx, ph_ns now)
{
    ph_turnc_tick(((struct simc *)ctx)->t, now);
}

static inline ph_ns simc_deadline(void *ctx)
{
    return ph_turnc_deadline(((struct simc *)ctx)->t);
}

static inline bool simc_output(void *ctx, struct ph_pkt *out, ph_ns now)
{
    return ph_turnc_output(((struct simc *)ctx)->t, out, now);
}

static inline bool simc_event(void *ctx, ph_ns now)
{
    struct simc *c = ctx;
    struct ph_turnc_ev ev;
    bool any = false;
    (void)now;
    for (; ph_turnc_event(c->t, &ev); any = true) {
        c->events[ev.type]++;
        c->last[ev.type] = ev;
    }
    return any;
}

/* A client on a host, with alice's credentials; change c->c, then simc_start. */
static inline struct simc *simc_new(struct sim *s, struct sim_host *h, const char *local,
                                    const char *server)
{
    struct simc *c = calloc(1, sizeof *c);
    c->s = s;
    c->sock = sim_bind(h, sim_addr(local));
    cr_assert_neq(c->sock, 0);
    c->c = (struct ph_turnc_conf){.server = sim_addr(server),
                                  .sock = c->sock,
                                  .user = ph_str("alice"),
                                  .password = ph_str("secret")};
    return c;
}

static inline void simc_start(struct simc *c, struct sim_host *h)
{
    c->t = ph_turnc_new(&c->c, sim_host_env(h));
    cr_assert_not_null(c->t);
    uint32_t node = sim_host_run(h, &(struct sim_node){.ctx = c,
                                                       .input = simc_input,
                                                       .tick = simc_tick,
                                                       .deadline = simc_deadline,
                                                       .output = simc_output,
                                                       .event = simc_event});
    sim_sock_owner(c->s, c->sock, node);
    cr_assert_eq(ph_turnc_allocate(c->t, sim_now(c->s)), 0);
}

static inline void simc_free(struct simc *c)
{
    if (c)
        ph_turnc_free(c->t);
    free(c);
}

/* Sends the usual payload to a peer.  Returns what wrapping says. */
static inline int simc_say(struct simc *c, struct ph_addr peer)
{
    struct ph_pkt p = {.b = {c->buf, sizeof c->buf, PH_HEADROOM, SIMC_PAYLOAD}};
    for (unsigned i = 0; i < SIMC_PAYLOAD; i++)
        ph_buf_data(&p.b)[i] = simc_byte(i);
    int verdict = ph_turnc_wrap(c->t, &p, &peer);
    if (verdict == PH_SEND)
        sim_send_pkt(c->s, &p);
    return verdict;
}

/* --- echo peer ---------------------------------------------------------------------------- */

static inline int sim_echo_input(void *ctx, struct ph_pkt *p, ph_ns now)
{
    struct ph_addr back = p->src;
    (void)ctx;
    (void)now;
    p->src = p->dst;
    p->dst = back;
    return PH_SEND;
}

#endif
