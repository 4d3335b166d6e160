/*
 * Hosts: source address selection, delivery to sockets, ICMP port unreachable.
 */
#include "tests/sim/priv.h"

#include "stun/base/error.h"

#include <string.h>

struct sim_host *sim_host_new(struct sim *s, const char *name)
{
    struct sim_host *h = sim__zalloc(sizeof *h);
    h->sim = s;
    sim__name(&h->place, name);
    sim__rng_init(&h->rng, s);
    h->env = (struct ph_env){.rand = sim__rng_fill, .ctx = &h->rng, .log = &s->log};
    h->next_port = 49152;
    h->next = s->hosts;
    s->hosts = h;
    return h;
}

struct sim_iface *sim_attach(struct sim_host *h, struct sim_net *n, const char *ip,
                             const struct sim_link_conf *conf)
{
    struct sim_iface *i = sim__iface_new(h->sim, n, SIM_ROLE_HOST, h->place.name, conf);
    i->host = h;
    struct sim_iface **at = &h->ifaces;
    while (*at)
        at = &(*at)->peer;
    *at = i;
    sim_iface_add_ip(i, ip);
    return i;
}

void sim_host_pause(struct sim_host *h, bool paused)
{
    h->paused = paused;
}

void sim_host_silent(struct sim_host *h, bool silent)
{
    h->silent = silent;
}

void sim_host_coalesced(struct sim_host *h, bool on)
{
    h->coalesced = on;
}

const struct ph_env *sim_host_env(struct sim_host *h)
{
    return &h->env;
}

const char *sim_host_name(const struct sim_host *h)
{
    return h->place.name;
}

uint64_t sim_host_count(const struct sim_host *h, enum sim_how how)
{
    return h->place.n[how];
}

bool sim__host_has(const struct sim_host *h, const struct ph_addr *a)
{
    for (const struct sim_iface *i = h->ifaces; i; i = i->peer)
        if (sim__iface_has(i, a))
            return true;
    return false;
}

/* ---- Sending ---- */

/* Where packets to dst leave: the attachment whose net has dst, else the first with an address. */
static struct sim_iface *egress(struct sim_host *h, const struct ph_addr *dst)
{
    struct sim_iface *def = NULL;
    for (struct sim_iface *i = h->ifaces; i; i = i->peer) {
        if (!i->is_up || !sim__iface_ip(i, dst->family))
            continue;
        if (sim__net_find(i->net, dst))
            return i;
        if (!def)
            def = i;
    }
    return def;
}

static struct sim_iface *iface_of(struct sim_host *h, const struct ph_addr *src)
{
    struct sim_iface *i = h->ifaces;
    while (i && !sim__iface_has(i, src))
        i = i->peer;
    return i;
}

/* Chooses the source address: the socket's, else what the packet asks for, else by route. */
static struct sim_iface *choose(struct sim_host *h, const struct sim_sock *k,
                                const struct ph_pkt *p, struct ph_addr *src)
{
    *src = k->addr;
    if (!ph_addr_is_any(src))
        return iface_of(h, src);
    if (p->src.family == p->dst.family && sim__host_has(h, &p->src)) {
        memcpy(src->ip, p->src.ip, sizeof src->ip);
        return iface_of(h, src);
    }
    struct sim_iface *i = egress(h, &p->dst);
    if (i)
        memcpy(src->ip, sim__iface_ip(i, src->family)->ip, sizeof src->ip);
    return i;
}

int sim__host_send(struct sim_host *h, const struct ph_pkt *p)
{
    struct sim *s = h->sim;
    const struct sim_sock *k = sim__sock(s, p->sock);
    if (!k || k->host != h || k->addr.family != p->dst.family) {
        h->place.n[SIM_BAD_SOCK]++;
        s->place.n[SIM_BAD_SOCK]++;
        sim_note(s, "%s: sends on socket %x, which it cannot", h->place.name, p->sock);
        return PH_E_STATE;
    }
    if (s->flight >= SIM_MAX_FLIGHT || ph_pkt_wire_len(p) > SIM_MAX_DATA) {
        h->place.n[SIM_OVERFLOW]++;
        s->place.n[SIM_OVERFLOW]++;
        return PH_E_LIMIT;
    }
    struct ph_addr src, dst = p->dst;
    dst.proto = k->addr.proto;
    struct sim_iface *i = choose(h, k, p, &src);
    struct sim_pkt *q = sim__pkt_new(s, &src, &dst, ph_pkt_wire_len(p));
    q->df = p->dont_fragment;
    if (p->head_len)
        memcpy(q->data, p->head, p->head_len);
    if (p->b.len)
        memcpy(q->data + p->head_len, ph_buf_data(&p->b), p->b.len);
    sim__step(s, SIM_SENT, &h->place, q);
    if (!sim__tapped(s, SIM_AT_SEND, &h->place, &q))
        return 0;
    if (sim__host_has(h, &q->dst))
        sim__post(s, (struct sim_event){.at = s->now, .pkt = q, .host = h});
    else if (!i)
        sim__drop(s, SIM_NO_ROUTE, &h->place, q);
    else
        sim__link_push(&i->up, q);
    return 0;
}

int sim_send_pkt(struct sim *s, const struct ph_pkt *p)
{
    const struct sim_sock *k = sim__sock(s, p->sock);
    return k ? sim__host_send(k->host, p) : PH_E_STATE;
}

int sim_send(struct sim *s, uint32_t sock, struct ph_addr to, const void *data, size_t len)
{
    if (len > SIM_MAX_DATA)
        return PH_E_LIMIT;
    struct ph_pkt p = {.dst = to, .sock = sock};
    /* sim_send_pkt only reads, but a ph_buf cannot say so */
    p.b = (struct ph_buf){
        .base = (uint8_t *)(uintptr_t)data, .cap = (uint32_t)len, .len = (uint32_t)len};
    return sim_send_pkt(s, &p);
}

/* ---- Receiving ---- */

static void icmp_input(struct sim_host *h, struct sim_pkt *p)
{
    struct sim *s = h->sim;
    struct sim_sock *k = sim__sock_at(h, &p->dst);
    if (!k) {
        sim__drop(s, SIM_NO_SOCKET, &h->place, p);
        return;
    }
    struct sim_icmp e = {.sock = k->id};
    sim__icmp_fill(p, &e);
    sim__step(s, SIM_ICMP_DELIVERED, &h->place, p);
    sim__pkt_free(s, p);
    if (k->owner) {
        sim__node_icmp(s, k->owner, &e);
        return;
    }
    k->icmp[(k->icmp_first + k->icmp_n) % SIM_ICMPQ] = e;
    if (k->icmp_n < SIM_ICMPQ)
        k->icmp_n++;
    else
        k->icmp_first = (k->icmp_first + 1) % SIM_ICMPQ;
}

static void no_socket(struct sim_host *h, struct sim_pkt *p)
{
    struct sim *s = h->sim;
    struct sim_iface *i = iface_of(h, &p->dst);
    struct sim_pkt *e = h->silent ? NULL : sim__pkt_error(s, p, SIM_ERR_PORT, &p->dst);
    sim__drop(s, SIM_NO_SOCKET, &h->place, p);
    if (!e)
        return;
    sim__step(s, SIM_ICMP_SENT, &h->place, e);
    if (!i || sim__host_has(h, &e->dst))
        sim__post(s, (struct sim_event){.at = s->now, .pkt = e, .host = h});
    else
        sim__link_push(&i->up, e);
}

static void enqueue(struct sim *s, struct sim_sock *k, struct sim_pkt *p)
{
    p->at = s->now;
    if (k->tail)
        k->tail->next = p;
    else
        k->head = p;
    k->tail = p;
    k->queued++;
}

void sim__host_input(struct sim_host *h, struct sim_pkt *p)
{
    struct sim *s = h->sim;
    if (h->paused) {
        sim__drop(s, SIM_PAUSED, &h->place, p);
        return;
    }
    if (p->error) {
        icmp_input(h, p);
        return;
    }
    if (!sim__tapped(s, SIM_AT_DELIVER, &h->place, &p))
        return;
    struct sim_sock *k = sim__sock_at(h, &p->dst);
    if (!k) {
        no_socket(h, p);
    } else if (k->owner) {
        sim__step(s, SIM_DELIVERED, &h->place, p);
        sim__node_input(s, k->owner, k->id, p);
    } else if (k->queued >= SIM_RXQ) {
        sim__drop(s, SIM_OVERFLOW, &h->place, p);
    } else {
        sim__step(s, SIM_DELIVERED, &h->place, p);
        enqueue(s, k, p);
    }
}

bool sim_recv(struct sim *s, uint32_t sock, struct sim_msg *m)
{
    struct sim_sock *k = sim__sock(s, sock);
    if (!k || !k->head)
        return false;
    if (k->last)
        sim__pkt_free(s, k->last);
    struct sim_pkt *p = k->last = k->head;
    k->head = p->next;
    if (!k->head)
        k->tail = NULL;
    k->queued--;
    *m =
        (struct sim_msg){.src = p->src, .dst = p->dst, .at = p->at, .data = p->data, .len = p->len};
    return true;
}

bool sim_recv_icmp(struct sim *s, uint32_t sock, struct sim_icmp *e)
{
    struct sim_sock *k = sim__sock(s, sock);
    if (!k || k->icmp_n == 0)
        return false;
    *e = k->icmp[k->icmp_first];
    k->icmp_first = (k->icmp_first + 1) % SIM_ICMPQ;
    k->icmp_n--;
    return true;
}
