/*
 * The table of sockets: binding, closing, finding.
 *
 * A socket id is {generation, index}; ids of closed sockets stay invalid until the generation wraps.
 */
#include "tests/sim/priv.h"

#include <stdlib.h>
#include <string.h>

enum { INDEX_BITS = 20, GEN_MASK = (1 << (32 - INDEX_BITS)) - 1 };

struct sim_sock *sim__sock(const struct sim *s, uint32_t id)
{
    uint32_t i = id & ((1u << INDEX_BITS) - 1);
    return id && i < s->n_sock && s->sock[i].id == id ? &s->sock[i] : NULL;
}

static uint32_t *bucket(struct sim_host *h, uint16_t port)
{
    return &h->socks[port & (SIM_BUCKETS - 1)];
}

/* The socket that gets packets for a local address: the one bound to it before one bound to any. */
struct sim_sock *sim__sock_at(struct sim_host *h, const struct ph_addr *local)
{
    struct sim_sock *any = NULL;
    for (uint32_t i = *bucket(h, local->port); i; i = h->sim->sock[i].next) {
        struct sim_sock *k = &h->sim->sock[i];
        if (ph_addr_eq(&k->addr, local))
            return k;
        if (k->addr.port == local->port && k->addr.family == local->family &&
            k->addr.proto == local->proto && ph_addr_is_any(&k->addr))
            any = k;
    }
    return any;
}

static bool in_use(struct sim_host *h, const struct ph_addr *at)
{
    for (uint32_t i = *bucket(h, at->port); i; i = h->sim->sock[i].next) {
        const struct ph_addr *a = &h->sim->sock[i].addr;
        if (a->port == at->port && a->family == at->family && a->proto == at->proto &&
            (ph_addr_eq_ip(a, at) || ph_addr_is_any(a) || ph_addr_is_any(at)))
            return true;
    }
    return false;
}

static bool pick_port(struct sim_host *h, struct ph_addr *at)
{
    for (int tries = 0; tries < 65536 - 49152; tries++) {
        at->port = h->next_port;
        h->next_port = h->next_port == 65535 ? 49152 : (uint16_t)(h->next_port + 1);
        if (!in_use(h, at))
            return true;
    }
    return false;
}

/* The index of a free entry of the table, which may move it. */
static uint32_t take_entry(struct sim *s)
{
    uint32_t i = s->free_sock;
    if (i) {
        s->free_sock = s->sock[i].next;
        return i;
    }
    if (s->n_sock == s->cap_sock) {
        uint32_t cap = s->cap_sock ? s->cap_sock * 2 : 16;
        struct sim_sock *v = realloc(s->sock, cap * sizeof *v);
        if (!v || cap > 1u << INDEX_BITS)
            sim__die("too many sockets");
        memset(v + s->cap_sock, 0, (cap - s->cap_sock) * sizeof *v);
        s->sock = v;
        s->cap_sock = cap;
    }
    if (s->n_sock == 0)
        s->n_sock = 1;
    return s->n_sock++;
}

uint32_t sim_bind(struct sim_host *h, struct ph_addr at)
{
    struct sim *s = h->sim;
    if (!ph_addr_is_any(&at) && !sim__host_has(h, &at))
        return 0;
    if (at.port == 0 ? !pick_port(h, &at) : in_use(h, &at))
        return 0;
    uint32_t i = take_entry(s);
    struct sim_sock *k = &s->sock[i];
    uint16_t gen = (uint16_t)(k->gen % GEN_MASK + 1);
    *k = (struct sim_sock){.id = (uint32_t)gen << INDEX_BITS | i,
                           .gen = gen,
                           .next = *bucket(h, at.port),
                           .host = h,
                           .addr = at,
                           .owner = h->first_prog};
    *bucket(h, at.port) = i;
    return k->id;
}

static void free_queue(struct sim *s, struct sim_sock *k)
{
    for (struct sim_pkt *p = k->head, *next; p; p = next) {
        next = p->next;
        sim__pkt_free(s, p);
    }
    if (k->last)
        sim__pkt_free(s, k->last);
    k->head = k->tail = k->last = NULL;
}

void sim_close(struct sim *s, uint32_t sock)
{
    struct sim_sock *k = sim__sock(s, sock);
    if (!k)
        return;
    uint32_t index = (uint32_t)(k - s->sock);
    uint32_t *at = bucket(k->host, k->addr.port);
    while (*at != index)
        at = &s->sock[*at].next;
    *at = k->next;
    free_queue(s, k);
    k->id = 0;
    k->next = s->free_sock;
    s->free_sock = index;
}

void sim__socks_free(struct sim *s)
{
    for (uint32_t i = 1; i < s->n_sock; i++)
        if (s->sock[i].id)
            free_queue(s, &s->sock[i]);
    free(s->sock);
}

struct ph_addr sim_sock_addr(const struct sim *s, uint32_t sock)
{
    const struct sim_sock *k = sim__sock(s, sock);
    return k ? k->addr : (struct ph_addr){0};
}
