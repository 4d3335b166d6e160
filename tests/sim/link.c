/*
 * One direction of an attachment: MTU, loss, rate, delay, jitter, reordering, duplication, in this order.
 */
#include "tests/sim/priv.h"

#include <stdio.h>
#include <string.h>

static const ph_ns default_queue = PH_MS(200);
static const ph_ns default_reorder_by = PH_MS(20);

void sim__link_init(struct sim_link *l, struct sim_iface *i, bool up, const struct sim_link_conf *c)
{
    l->sim = i->net->sim;
    l->iface = i;
    l->up = up;
    l->conf = c ? *c : l->sim->link;
    sim__rng_init(&l->rng, l->sim);
}

/* Too big: an error goes back the way the packet came. */
static void too_big(struct sim_link *l, struct sim_pkt *p)
{
    struct sim *s = l->sim;
    const struct ph_addr *from = sim__iface_ip(l->iface, p->src.family);
    struct sim_pkt *e = NULL;
    if (!l->conf.no_icmp)
        e = sim__pkt_error(s, p, SIM_ERR_TOO_BIG, from);
    sim__drop(s, SIM_TOO_BIG, &l->place, p);
    if (!e)
        return;
    e->mtu = l->conf.mtu;
    sim__step(s, SIM_ICMP_SENT, &l->place, e);
    if (l->up)
        sim__iface_receive(l->iface, e);
    else
        sim__net_route(l->iface->net, NULL, e);
}

/* Fits p to the MTU.  IPv4 routers fragment unless DF is set; with IPv6 only the sender does. */
static bool fits(struct sim_link *l, struct sim_pkt *p)
{
    uint32_t mtu = l->conf.mtu;
    if (mtu == 0 || p->size <= mtu)
        return true;
    if (p->df || (p->src.family == PH_AF_INET6 && p->forwarded)) {
        too_big(l, p);
        return false;
    }
    p->size = mtu;
    p->fragmented = true;
    sim__step(l->sim, SIM_FRAGMENTED, &l->place, p);
    return true;
}

/* The two-state model of Gilbert: everything is lost in the bad state, whose mean length is `burst`
 * packets; the share of time spent there is `loss`. */
static bool lost(struct sim_link *l)
{
    const struct sim_link_conf *c = &l->conf;
    if (c->burst <= 1 || c->loss >= 1)
        return sim__rng_chance(&l->rng, c->loss);
    double leave = 1 / c->burst;
    if (l->bad)
        l->bad = !sim__rng_chance(&l->rng, leave);
    else
        l->bad = sim__rng_chance(&l->rng, leave * c->loss / (1 - c->loss));
    return l->bad;
}

/* When the last bit of p is on the wire, or PH_NEVER when the queue is full. */
static ph_ns departure(struct sim_link *l, const struct sim_pkt *p)
{
    const struct sim_link_conf *c = &l->conf;
    if (c->rate == 0)
        return l->sim->now;
    ph_ns start = l->busy_until > l->sim->now ? l->busy_until : l->sim->now;
    if (start - l->sim->now > (c->queue ? c->queue : default_queue))
        return PH_NEVER;
    uint32_t headers = p->src.family == PH_AF_INET ? 28 : 48;
    l->busy_until = start + (ph_ns)((p->len + headers) * 8 * UINT64_C(1000000000) / c->rate);
    return l->busy_until;
}

static void propagate(struct sim_link *l, struct sim_pkt *p, ph_ns at)
{
    const struct sim_link_conf *c = &l->conf;
    at += c->delay + (ph_ns)sim__rng_below(&l->rng, c->jitter ? (uint64_t)c->jitter + 1 : 0);
    if (sim__rng_chance(&l->rng, c->reorder)) {
        at += c->reorder_by ? c->reorder_by : default_reorder_by;
        sim__step(l->sim, SIM_REORDERED, &l->place, p);
    } else {
        at = at > l->last_at ? at : l->last_at;
        l->last_at = at;
    }
    sim__post(l->sim, (struct sim_event){.at = at, .pkt = p, .link = l});
}

void sim__link_push(struct sim_link *l, struct sim_pkt *p)
{
    struct sim *s = l->sim;
    if (l->conf.down || !l->iface->is_up) {
        sim__drop(s, SIM_DOWN, &l->place, p);
        return;
    }
    if (!fits(l, p))
        return;
    if (lost(l)) {
        sim__drop(s, SIM_LOST, &l->place, p);
        return;
    }
    ph_ns at = departure(l, p);
    if (at == PH_NEVER) {
        sim__drop(s, SIM_QUEUE_FULL, &l->place, p);
        return;
    }
    struct sim_pkt *twin = NULL;
    if (sim__rng_chance(&l->rng, l->conf.duplicate) && s->flight < SIM_MAX_FLIGHT) {
        twin = sim__pkt_copy(s, p);
        sim__step(s, SIM_DUPLICATED, &l->place, twin);
    }
    propagate(l, p, at);
    if (twin)
        propagate(l, twin, at);
}

void sim__link_arrive(struct sim_link *l, struct sim_pkt *p)
{
    if (!l->iface->is_up)
        sim__drop(l->sim, SIM_DOWN, &l->place, p);
    else if (l->up)
        sim__net_route(l->iface->net, l->iface, p);
    else
        sim__iface_receive(l->iface, p);
}

void sim_link_set(struct sim_link *l, const struct sim_link_conf *c)
{
    l->conf = *c;
    l->bad = false;
    l->busy_until = 0;
}

struct sim_link_conf sim_link_get(const struct sim_link *l)
{
    return l->conf;
}

uint64_t sim_link_count(const struct sim_link *l, enum sim_how how)
{
    return l->place.n[how];
}
