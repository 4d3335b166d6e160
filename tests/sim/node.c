/*
 * Programs on hosts: hands packets, errors and time to their nodes and drains them after each call, in the order
 * every shell of Pinhole keeps: input or tick, output until false, events until false.
 *
 * A node may open and close sockets, start and stop programs in any callback, so nothing that can move is
 * held across one.
 */
#include "tests/sim/priv.h"

#include <stdlib.h>
#include <string.h>

enum {
    SLOT = 2048,        /* a receive slot holds at least this much data */
    DRAIN_LIMIT = 20000 /* packets and events after one call; more is a livelock */
};

static struct sim_prog *prog(const struct sim *s, uint32_t n)
{
    return n >= 1 && n <= s->n_prog && s->prog[n - 1]->live ? s->prog[n - 1] : NULL;
}

uint32_t sim_host_run(struct sim_host *h, const struct sim_node *node)
{
    struct sim *s = h->sim;
    struct sim_prog **v = realloc(s->prog, (s->n_prog + 1) * sizeof(struct sim_prog *));
    if (!v)
        sim__die("out of memory");
    s->prog = v;
    struct sim_prog *p = sim__zalloc(sizeof *p);
    *p = (struct sim_prog){.node = *node, .host = h, .live = true};
    v[s->n_prog++] = p;
    if (h->first_prog)
        return s->n_prog;
    h->first_prog = s->n_prog;
    for (uint32_t i = 1; i < s->n_sock; i++)
        if (s->sock[i].id && s->sock[i].host == h && !s->sock[i].chosen)
            s->sock[i].owner = s->n_prog;
    return s->n_prog;
}

void sim_sock_owner(struct sim *s, uint32_t sock, uint32_t node)
{
    struct sim_sock *k = sim__sock(s, sock);
    if (!k || (node && !(prog(s, node) && prog(s, node)->host == k->host)))
        sim__die("a socket goes to a program of its host");
    k->owner = node;
    k->chosen = true;
}

void sim_node_stop(struct sim *s, uint32_t node)
{
    struct sim_prog *g = prog(s, node);
    if (!g)
        return;
    g->live = false;
    if (g->host->first_prog == node)
        g->host->first_prog = 0;
    for (uint32_t i = 1; i < s->n_sock; i++)
        if (s->sock[i].owner == node)
            s->sock[i].owner = 0;
}

static bool output(struct sim *s, struct sim_prog *g)
{
    if (!g->live || !g->node.output)
        return false;
    struct ph_pkt out = {.b = {.base = s->slot,
                               .cap = PH_HEADROOM + SIM_MAX_DATA + PH_TAILROOM,
                               .off = PH_HEADROOM}};
    if (!g->node.output(g->node.ctx, &out, s->now))
        return false;
    sim__host_send(g->host, &out);
    return true;
}

static bool event(struct sim *s, struct sim_prog *g)
{
    return g->live && g->node.event && g->node.event(g->node.ctx, s->now);
}

/* Returns whether there was anything. */
static bool drain(struct sim *s, struct sim_prog *g)
{
    int n = 0;
    while (output(s, g) || event(s, g))
        if (++n == DRAIN_LIMIT) {
            s->stuck = true;
            break;
        }
    return n > 0;
}

/* A receive slot like those of a shell, exact in size so that ASan sees a core that writes beyond. */
static struct ph_pkt receive_slot(const struct sim_pkt *p, bool coalesced)
{
    struct ph_pkt k = {.src = p->src, .dst = p->dst};
    k.b.len = p->len;
    k.b.off = coalesced ? 0 : PH_HEADROOM;
    k.b.cap = coalesced ? p->len : PH_HEADROOM + (p->len < SLOT ? SLOT : p->len) + PH_TAILROOM;
    k.b.base = sim__zalloc(k.b.cap ? k.b.cap : 1);
    k.head = coalesced ? sim__zalloc(PH_HEADROOM) : NULL;
    memcpy(k.b.base + k.b.off, p->data, p->len);
    return k;
}

void sim__node_input(struct sim *s, uint32_t n, uint32_t sock, struct sim_pkt *p)
{
    struct sim_prog *g = prog(s, n);
    if (!g || !g->node.input) {
        sim__pkt_free(s, p);
        return;
    }
    struct ph_pkt k = receive_slot(p, g->host->coalesced);
    uint8_t *base = k.b.base, *head = k.head;
    k.sock = sock;
    sim__pkt_free(s, p);
    if (g->node.input(g->node.ctx, &k, s->now) == PH_SEND)
        sim__host_send(g->host, &k);
    free(base);
    free(head);
    drain(s, g);
}

void sim__node_icmp(struct sim *s, uint32_t n, const struct sim_icmp *e)
{
    struct sim_prog *g = prog(s, n);
    if (!g || !g->node.icmp)
        return;
    g->node.icmp(g->node.ctx, e, s->now);
    drain(s, g);
}

static ph_ns deadline(const struct sim_prog *g)
{
    if (!g->live || g->host->paused || !g->node.deadline)
        return PH_NEVER;
    return g->node.deadline(g->node.ctx);
}

bool sim__nodes_poll(struct sim *s)
{
    bool any = false;
    for (uint32_t i = 0; i < s->n_prog; i++) {
        struct sim_prog *g = s->prog[i];
        if (g->host->paused)
            continue;
        if (drain(s, g))
            any = true;
        if (deadline(g) > s->now)
            continue;
        if (g->node.tick)
            g->node.tick(g->node.ctx, s->now);
        drain(s, g);
        any = true;
    }
    return any;
}

ph_ns sim__nodes_deadline(const struct sim *s)
{
    ph_ns at = PH_NEVER;
    for (uint32_t i = 0; i < s->n_prog; i++)
        at = ph_min_ns(at, deadline(s->prog[i]));
    return at;
}
