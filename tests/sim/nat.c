/*
 * A NAT box: what it does with a packet from inside, from outside, and from inside to itself.
 *
 *      inside                            outside
 *      src in:port  -> dst remote        src ext:port -> dst remote       sim__nat_out
 *      src remote   -> dst in:port       src remote   -> dst ext:port     sim__nat_in
 *
 * A firewall is the same machine with ext = in.  NAT64 writes the IPv4 remote as prefix::a.b.c.d inside.
 */
#include "tests/sim/priv.h"

#include <stdlib.h>
#include <string.h>

static const ph_ns default_ttl = PH_SEC(120);
static const ph_ns conntrack_ttl = PH_SEC(30);

/* ---- Configuration ---- */

static void add_external(struct sim_nat *t, const char *text)
{
    struct ph_addr a = sim__ip(text);
    sim__iface_add(t->outside, &a);
    t->ext[t->n_ext++] = a;
}

static void apply_conf(struct sim_nat *t, const struct sim_nat_conf *c)
{
    t->conf = *c;
    t->conf.inside = t->conf.outside = NULL;
    t->conf.ttl = c->ttl ? c->ttl : default_ttl;
    t->conf.port_lo = c->port_lo ? c->port_lo : 1024;
    t->conf.port_hi = c->port_hi ? c->port_hi : 65535;
    t->conf.max_mappings = c->max_mappings ? c->max_mappings : 4096;
    t->conf.v4 = c->v4 ? c->v4 : SIM_MODE_TRANSLATE;
    t->conf.v6 = c->v6 ? c->v6 : SIM_MODE_ROUTE;
    if (t->conf.port_lo > t->conf.port_hi)
        sim__die("%s: port_lo is above port_hi", t->place.name);
    t->next_port = t->conf.port_lo;
    if (c->nat64)
        t->prefix64 = sim__ip(c->nat64);
    t->conf.nat64 = NULL;
    for (unsigned i = 0; i < SIM_NAT_IPS && c->external[i]; i++) {
        add_external(t, c->external[i]);
        t->conf.external[i] = NULL; /* the texts are the caller's */
    }
}

struct sim_nat *sim_nat_new(struct sim *s, const char *name, struct sim_net *inside,
                            struct sim_net *outside, const struct sim_nat_conf *conf)
{
    struct sim_nat *t = sim__zalloc(sizeof *t);
    t->sim = s;
    sim__name(&t->place, name);
    sim__rng_init(&t->rng, s);
    t->inside = sim__iface_new(s, inside, SIM_ROLE_INSIDE, name, conf->inside);
    t->outside = sim__iface_new(s, outside, SIM_ROLE_OUTSIDE, name, conf->outside);
    t->inside->nat = t->outside->nat = t;
    apply_conf(t, conf);
    inside->gateway = t;
    t->next = s->nats;
    s->nats = t;
    return t;
}

void sim_nat_reboot(struct sim_nat *t)
{
    sim__maps_purge(t, true);
    t->n_pair = 0;
    sim_note(t->sim, "%s: reboots", t->place.name);
}

void sim_nat_readdress(struct sim_nat *t, const char *external)
{
    struct ph_addr a = sim__ip(external);
    unsigned kept = 0;
    for (unsigned i = 0; i < t->n_ext; i++) {
        if (t->ext[i].family == a.family)
            sim__iface_del(t->outside, &t->ext[i]);
        else
            t->ext[kept++] = t->ext[i];
    }
    t->n_ext = kept;
    add_external(t, external);
    sim_nat_reboot(t);
}

void sim_nat_forward(struct sim_nat *t, struct ph_addr external, struct ph_addr internal, ph_ns ttl)
{
    struct sim_fwd **at = &t->fwd;
    while (*at && !ph_addr_eq(&(*at)->ext, &external))
        at = &(*at)->next;
    if (ttl == 0) {
        struct sim_fwd *gone = *at;
        if (gone) {
            *at = gone->next;
            free(gone);
        }
        return;
    }
    if (!*at)
        *at = sim__zalloc(sizeof **at);
    (*at)->ext = external;
    (*at)->in = internal;
    (*at)->ends_at = ttl == PH_NEVER ? PH_NEVER : t->sim->now + ttl;
}

size_t sim_nat_mappings(const struct sim_nat *t)
{
    size_t n = 0;
    for (const struct sim_map *m = t->all; m; m = m->next)
        n += m->in.family != PH_AF_NONE && sim__map_live(t, m);
    return n;
}

struct ph_addr sim_nat_lookup(const struct sim_nat *t, struct ph_addr internal,
                              struct ph_addr remote)
{
    const struct sim_map *m = sim__map_out(t, &internal, &remote);
    return m ? m->ext : (struct ph_addr){0};
}

uint64_t sim_nat_count(const struct sim_nat *t, enum sim_how how)
{
    return t->place.n[how];
}

struct sim_iface *sim_nat_inside(struct sim_nat *t)
{
    return t->inside;
}

struct sim_iface *sim_nat_outside(struct sim_nat *t)
{
    return t->outside;
}

enum sim_mode sim__nat_mode(const struct sim_nat *t, uint8_t family)
{
    return family == PH_AF_INET ? t->conf.v4 : t->conf.v6;
}

/* ---- NAT64 addresses (RFC 6052 2.1, /96 prefixes) ---- */

static bool is_nat64(const struct sim_nat *t, const struct ph_addr *a)
{
    return t->prefix64.family && a->family == PH_AF_INET6 && memcmp(a->ip, t->prefix64.ip, 12) == 0;
}

static void to_v4(struct ph_addr *a)
{
    memmove(a->ip, a->ip + 12, 4);
    memset(a->ip + 4, 0, 12);
    a->family = PH_AF_INET;
}

static void to_nat64(const struct sim_nat *t, struct ph_addr *a)
{
    memcpy(a->ip + 12, a->ip, 4);
    memcpy(a->ip, t->prefix64.ip, 12);
    a->family = PH_AF_INET6;
}

/* ---- Static mappings ---- */

static bool port_fits(const struct ph_addr *rule, const struct ph_addr *a)
{
    return ph_addr_eq_ip(rule, a) && (rule->port == 0 || rule->port == a->port);
}

/* The static mapping for an internal (by_in) or external endpoint. */
static const struct sim_fwd *forward(const struct sim_nat *t, const struct ph_addr *a, bool by_in)
{
    for (const struct sim_fwd *f = t->fwd; f; f = f->next)
        if (f->ends_at > t->sim->now && port_fits(by_in ? &f->in : &f->ext, a))
            return f;
    return NULL;
}

static void set_endpoint(struct ph_addr *a, const struct ph_addr *to)
{
    memcpy(a->ip, to->ip, sizeof a->ip);
    a->family = to->family;
    if (to->port)
        a->port = to->port;
}

/* ---- Rules ---- */

static bool blocked(const struct sim_nat *t, const struct sim_pkt *p)
{
    const struct sim_nat_conf *c = &t->conf;
    if (p->error)
        return c->drop_icmp;
    bool udp = p->src.proto == PH_UDP || p->src.proto == PH_DTLS;
    return (c->block_udp && udp) || (c->drop_fragments && p->fragmented);
}

/* Drops p; answers it with an ICMP error through the attachment it came from if the box does so. */
static void refuse(struct sim_nat *t, enum sim_how how, struct sim_iface *came, struct sim_pkt *p)
{
    struct sim *s = t->sim;
    struct sim_pkt *e = NULL;
    if (t->conf.reject)
        e = sim__pkt_error(s, p, how == SIM_BLOCKED ? SIM_ERR_ADMIN : SIM_ERR_PORT,
                           came == t->outside ? &p->dst : NULL);
    sim__drop(s, how, &t->place, p);
    if (!e)
        return;
    sim__step(s, SIM_ICMP_SENT, &t->place, e);
    sim__link_push(&came->up, e);
}

static void pass(struct sim_nat *t, enum sim_how how, struct sim_iface *to, struct sim_pkt *p)
{
    p->forwarded = true;
    sim__step(t->sim, how, &t->place, p);
    sim__link_push(&to->up, p);
}

/* ---- Out ---- */

static struct sim_map *open_mapping(struct sim_nat *t, const struct ph_addr *in,
                                    const struct ph_addr *remote, enum sim_mode mode)
{
    struct ph_addr ext = *in;
    if (mode == SIM_MODE_FIREWALL)
        return sim__map_new(t, in, &ext, remote, SIM_EI);
    if (!sim__nat_choose(t, in, remote, &ext))
        return NULL;
    return sim__map_new(t, in, &ext, remote, t->conf.mapping);
}

/* Makes the source of p external, opening or refreshing its mapping.  False: the table is full. */
static bool translate_source(struct sim_nat *t, struct sim_pkt *p, enum sim_mode mode)
{
    const struct sim_fwd *f = forward(t, &p->src, true);
    if (f && mode == SIM_MODE_TRANSLATE) {
        set_endpoint(&p->src, &f->ext);
        return true;
    }
    struct sim_map *m = sim__map_out(t, &p->src, &p->dst);
    if (!m)
        m = open_mapping(t, &p->src, &p->dst, mode);
    if (!m || !sim__map_touch(t, m, &p->dst, t->conf.ttl))
        return false;
    p->src = m->ext;
    return true;
}

/* An ICMP error from inside about a packet that came in: what it quotes becomes external again. */
static bool error_out(struct sim_nat *t, struct sim_pkt *p)
{
    const struct sim_fwd *f = forward(t, &p->about, true);
    if (f) {
        set_endpoint(&p->about, &f->ext);
    } else {
        const struct sim_map *m = sim__map_out(t, &p->about, &p->dst);
        if (!m)
            return false;
        p->about = m->ext;
    }
    p->src = p->about;
    p->src.port = 0;
    p->src.proto = PH_PROTO_NONE;
    return true;
}

/* From inside to one of our own addresses: out and in again (RFC 4787 REQ-9). */
static void hairpin(struct sim_nat *t, struct sim_pkt *p)
{
    struct ph_addr internal = p->src;
    if (t->conf.hairpin == SIM_HAIRPIN_NONE) {
        refuse(t, SIM_NO_HAIRPIN, t->inside, p);
        return;
    }
    if (!(p->error ? error_out(t, p) : translate_source(t, p, SIM_MODE_TRANSLATE))) {
        sim__drop(t->sim, SIM_TABLE_FULL, &t->place, p);
        return;
    }
    sim__step(t->sim, SIM_HAIRPIN, &t->place, p);
    if (t->conf.hairpin == SIM_HAIRPIN_EXTERNAL || p->error) {
        sim__nat_in(t, p);
        return;
    }
    bool admitted = true;
    const struct sim_fwd *f = forward(t, &p->dst, false);
    const struct sim_map *m = f ? NULL : sim__map_in(t, &p->dst, &p->src, &admitted);
    if (!f && (!m || !admitted)) {
        refuse(t, m ? SIM_FILTERED : SIM_NO_MAPPING, t->inside, p);
        return;
    }
    set_endpoint(&p->dst, f ? &f->in : &m->in);
    p->src = internal;
    pass(t, SIM_NAT_IN, t->inside, p);
}

static bool is_own(const struct sim_nat *t, const struct ph_addr *a)
{
    for (unsigned i = 0; i < t->n_ext; i++)
        if (ph_addr_eq_ip(&t->ext[i], a))
            return true;
    return false;
}

void sim__nat_out(struct sim_nat *t, struct sim_pkt *p)
{
    if (!sim__tapped(t->sim, SIM_AT_NAT_OUT, &t->place, &p))
        return;
    bool nat64 = is_nat64(t, &p->dst);
    enum sim_mode mode = nat64 ? SIM_MODE_TRANSLATE : sim__nat_mode(t, p->dst.family);
    if (mode == SIM_MODE_BLOCK || blocked(t, p)) {
        refuse(t, SIM_BLOCKED, t->inside, p);
        return;
    }
    if (mode == SIM_MODE_ROUTE) {
        pass(t, SIM_ROUTED, t->outside, p);
        return;
    }
    if (nat64) {
        to_v4(&p->dst);
        if (p->size > 20 && !p->error)
            p->size -= 20;
    }
    if (mode == SIM_MODE_TRANSLATE && is_own(t, &p->dst)) {
        hairpin(t, p);
        return;
    }
    if (p->error ? error_out(t, p) : translate_source(t, p, mode))
        pass(t, SIM_NAT_OUT, t->outside, p);
    else
        refuse(t, p->error ? SIM_NO_MAPPING : SIM_TABLE_FULL, t->inside, p);
}

/* ---- In ---- */

/* Linux: with nobody to forward to, the packet belongs to the box itself, and so does its 5-tuple.  m is the
 * entry of an earlier packet, if any. */
static void occupy(struct sim_nat *t, struct sim_map *m, const struct sim_pkt *p)
{
    struct ph_addr nobody = {0};
    if (!m)
        m = sim__map_new(t, &nobody, &p->dst, &p->src, SIM_APD);
    if (m)
        sim__map_touch(t, m, &p->src, conntrack_ttl);
}

/* Finds who a packet (or the error about one) from outside is for.  NULL when it was refused. */
static const struct ph_addr *recipient(struct sim_nat *t, struct sim_pkt *p)
{
    const struct sim_fwd *f = forward(t, &p->dst, false);
    if (f)
        return &f->in;
    bool admitted;
    struct sim_map *m = sim__map_in(t, &p->dst, p->error ? &p->about : &p->src, &admitted);
    if (m && admitted && m->in.family != PH_AF_NONE) {
        if (t->conf.refresh_inbound && !p->error)
            sim__map_refresh(t, m, &p->src);
        return &m->in;
    }
    if (t->conf.conntrack && !p->error)
        occupy(t, m && admitted ? m : NULL, p);
    refuse(t, m && m->in.family != PH_AF_NONE ? SIM_FILTERED : SIM_NO_MAPPING, t->outside, p);
    return NULL;
}

void sim__nat_in(struct sim_nat *t, struct sim_pkt *p)
{
    if (!sim__tapped(t->sim, SIM_AT_NAT_IN, &t->place, &p))
        return;
    enum sim_mode mode = sim__nat_mode(t, p->dst.family);
    if (t->prefix64.family && p->dst.family == PH_AF_INET)
        mode = SIM_MODE_TRANSLATE;
    if (mode == SIM_MODE_BLOCK || blocked(t, p)) {
        refuse(t, SIM_BLOCKED, t->outside, p);
        return;
    }
    if (mode == SIM_MODE_ROUTE) {
        pass(t, SIM_ROUTED, t->inside, p);
        return;
    }
    const struct ph_addr *in = recipient(t, p);
    if (!in)
        return;
    uint8_t from = p->dst.family;
    set_endpoint(&p->dst, in);
    if (p->dst.family != from) { /* NAT64: the remote gets a name inside */
        to_nat64(t, &p->src);
        if (p->error)
            to_nat64(t, &p->about);
        else
            p->size += 20;
        if (p->mtu)
            p->mtu += 20; /* RFC 7915 4.2 */
    }
    pass(t, SIM_NAT_IN, t->inside, p);
}
