/*
 * Nets and attachments: who has which address, and where a packet goes next.
 *
 * A net hands a packet to whoever has its address; else to a NAT box on it that routes (does not translate)
 * the family and leads to the address; else to its gateway, the box whose inside it is.
 */
#include "tests/sim/priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ph_addr sim__ip(const char *text)
{
    struct ph_addr a = sim_addr(text);
    if (a.port)
        sim__die("an IP without port is wanted, not \"%s\"", text);
    a.proto = PH_PROTO_NONE;
    return a;
}

struct sim_net *sim_net_new(struct sim *s, const char *name, const char *prefix)
{
    struct sim_net *n = sim__zalloc(sizeof *n);
    n->sim = s;
    sim__name(&n->place, name);
    if (prefix) {
        char ip[PH_ADDR_TEXT];
        const char *slash = strchr(prefix, '/');
        if (!slash || (size_t)(slash - prefix) >= sizeof ip)
            sim__die("bad prefix \"%s\"", prefix);
        memcpy(ip, prefix, (size_t)(slash - prefix));
        ip[slash - prefix] = '\0';
        n->prefix = sim__ip(ip);
        n->prefix_len = (unsigned)strtoul(slash + 1, NULL, 10);
        if (n->prefix_len > ph_addr_ip_len(&n->prefix) * 8)
            sim__die("bad prefix \"%s\"", prefix);
    }
    n->next = s->nets;
    s->nets = n;
    return n;
}

void sim_net_unreachables(struct sim_net *n, bool on)
{
    n->unreachables = on;
}

struct sim_iface *sim__iface_new(struct sim *s, struct sim_net *n, enum sim_role role,
                                 const char *name, const struct sim_link_conf *c)
{
    struct sim_iface *i = sim__zalloc(sizeof *i);
    i->net = n;
    i->role = role;
    i->is_up = true;
    sim__link_init(&i->up, i, true, c);
    sim__link_init(&i->down, i, false, c);
    char text[2 * SIM_NAME + 2];
    snprintf(text, sizeof text, "%s>%s", name, n->place.name);
    sim__name(&i->up.place, text);
    snprintf(text, sizeof text, "%s>%s", n->place.name, name);
    sim__name(&i->down.place, text);
    i->next = s->ifaces;
    s->ifaces = i;
    return i;
}

void sim__iface_add(struct sim_iface *i, const struct ph_addr *a)
{
    struct sim_ip *ip = i->ip;
    while (ip < i->ip + SIM_IFACE_IPS && ip->used)
        ip++;
    if (ip == i->ip + SIM_IFACE_IPS)
        sim__die("%s: more than %d addresses", i->up.place.name, SIM_IFACE_IPS);
    if (sim__net_find(i->net, a))
        sim__die("%s: the address is taken", i->up.place.name);
    struct sim_ip **bucket = &i->net->ips[sim__hash_ip(a)];
    *ip = (struct sim_ip){.a = *a, .iface = i, .next = *bucket, .used = true};
    *bucket = ip;
}

void sim__iface_del(struct sim_iface *i, const struct ph_addr *a)
{
    struct sim_ip **at = &i->net->ips[sim__hash_ip(a)];
    while (*at && !((*at)->iface == i && ph_addr_eq_ip(&(*at)->a, a)))
        at = &(*at)->next;
    if (!*at)
        sim__die("%s: no such address to remove", i->up.place.name);
    (*at)->used = false;
    *at = (*at)->next;
}

void sim_iface_add_ip(struct sim_iface *i, const char *ip)
{
    struct ph_addr a = sim__ip(ip);
    sim__iface_add(i, &a);
}

void sim_iface_del_ip(struct sim_iface *i, const char *ip)
{
    struct ph_addr a = sim__ip(ip);
    sim__iface_del(i, &a);
}

void sim_iface_set(struct sim_iface *i, bool up)
{
    i->is_up = up;
}

struct sim_link *sim_iface_up(struct sim_iface *i)
{
    return &i->up;
}

struct sim_link *sim_iface_down(struct sim_iface *i)
{
    return &i->down;
}

bool sim__iface_has(const struct sim_iface *i, const struct ph_addr *a)
{
    for (const struct sim_ip *ip = i->ip; ip < i->ip + SIM_IFACE_IPS; ip++)
        if (ip->used && ph_addr_eq_ip(&ip->a, a))
            return true;
    return false;
}

const struct ph_addr *sim__iface_ip(const struct sim_iface *i, uint8_t family)
{
    for (const struct sim_ip *ip = i->ip; ip < i->ip + SIM_IFACE_IPS; ip++)
        if (ip->used && ip->a.family == family)
            return &ip->a;
    return NULL;
}

void sim__iface_receive(struct sim_iface *i, struct sim_pkt *p)
{
    if (i->role == SIM_ROLE_HOST)
        sim__host_input(i->host, p);
    else if (i->role == SIM_ROLE_INSIDE)
        sim__nat_out(i->nat, p);
    else
        sim__nat_in(i->nat, p);
}

struct sim_ip *sim__net_find(const struct sim_net *n, const struct ph_addr *a)
{
    struct sim_ip *ip = n->ips[sim__hash_ip(a)];
    while (ip && !ph_addr_eq_ip(&ip->a, a))
        ip = ip->next;
    return ip;
}

/* The box on n behind which an untranslated address lies, at most `depth` boxes deep (nets may form a
 * ring), or NULL. */
static struct sim_nat *downstream(const struct sim_net *n, const struct ph_addr *a, int depth)
{
    if (depth == 0)
        return NULL;
    for (struct sim_nat *t = n->sim->nats; t; t = t->next) {
        enum sim_mode m = sim__nat_mode(t, a->family);
        if (t->outside->net != n || m == SIM_MODE_TRANSLATE || m == SIM_MODE_BLOCK)
            continue;
        if (sim__net_find(t->inside->net, a) || downstream(t->inside->net, a, depth - 1))
            return t;
    }
    return NULL;
}

static bool in_prefix(const struct sim_net *n, const struct ph_addr *a)
{
    if (n->prefix.family != a->family)
        return false;
    unsigned whole = n->prefix_len / 8, rest = n->prefix_len % 8;
    if (memcmp(n->prefix.ip, a->ip, whole) != 0)
        return false;
    return rest == 0 || (n->prefix.ip[whole] ^ a->ip[whole]) >> (8 - rest) == 0;
}

static void unreachable(struct sim_net *n, enum sim_how how, struct sim_pkt *p)
{
    struct sim_pkt *e = NULL;
    if (n->unreachables)
        e = sim__pkt_error(n->sim, p, SIM_ERR_HOST, NULL);
    sim__drop(n->sim, how, &n->place, p);
    if (!e)
        return;
    sim__step(n->sim, SIM_ICMP_SENT, &n->place, e);
    sim__net_route(n, NULL, e);
}

void sim__net_route(struct sim_net *n, const struct sim_iface *from, struct sim_pkt *p)
{
    struct sim_ip *ip = sim__net_find(n, &p->dst);
    struct sim_nat *t = ip ? NULL : downstream(n, &p->dst, 8);
    if (++p->hops > SIM_HOP_LIMIT)
        sim__drop(n->sim, SIM_HOPS, &n->place, p);
    else if (ip)
        sim__link_push(&ip->iface->down, p);
    else if (t)
        sim__link_push(&t->outside->down, p);
    else if (in_prefix(n, &p->dst))
        unreachable(n, SIM_NO_HOST, p);
    else if (!n->gateway || n->gateway->inside == from)
        unreachable(n, SIM_NO_ROUTE, p);
    else
        sim__link_push(&n->gateway->inside->down, p);
}

void sim_net_inject(struct sim_net *n, struct ph_addr src, struct ph_addr dst, const void *data,
                    size_t len)
{
    if (len > SIM_MAX_DATA || src.family != dst.family)
        sim__die("cannot inject this packet");
    struct sim_pkt *p = sim__pkt_new(n->sim, &src, &dst, (uint32_t)len);
    if (len)
        memcpy(p->data, data, len);
    sim__step(n->sim, SIM_SENT, &n->place, p);
    sim__net_route(n, NULL, p);
}
