/*
 * Choosing the external endpoint of a new mapping: IP pooling (RFC 4787 4.1), port preservation, overloading,
 * order and parity (4.2).
 */
#include "tests/sim/priv.h"

#include <string.h>

/* The external IP for an internal endpoint; NULL when the box has none of the family. */
static const struct ph_addr *any_ip(struct sim_nat *t, uint8_t family)
{
    const struct ph_addr *fit[SIM_NAT_IPS];
    unsigned n = 0;
    for (unsigned i = 0; i < t->n_ext; i++)
        if (t->ext[i].family == family)
            fit[n++] = &t->ext[i];
    if (n == 0)
        return NULL;
    return fit[n == 1 ? 0 : sim__rng_below(&t->rng, n)];
}

static const struct ph_addr *pool_ip(struct sim_nat *t, const struct ph_addr *in, uint8_t family)
{
    if (t->conf.pool == SIM_POOL_ARBITRARY)
        return any_ip(t, family);
    for (unsigned i = 0; i < t->n_pair; i++)
        if (ph_addr_eq_ip(&t->pair[i].in, in) && t->pair[i].ext.family == family)
            return &t->pair[i].ext;
    const struct ph_addr *ip = any_ip(t, family);
    if (ip && t->n_pair < SIM_BUCKETS) {
        t->pair[t->n_pair].in = *in;
        t->pair[t->n_pair++].ext = *ip;
    }
    return ip;
}

static bool forwarded(const struct sim_nat *t, const struct ph_addr *ext)
{
    for (const struct sim_fwd *f = t->fwd; f; f = f->next)
        if (f->ends_at > t->sim->now && ph_addr_eq_ip(&f->ext, ext) &&
            (f->ext.port == 0 || f->ext.port == ext->port))
            return true;
    return false;
}

/* Two mappings can share an external endpoint only if some remote tells them apart.  An endpoint-independent
 * mapping on an overloading box does not care (RFC 4787 4.2.1 on "port overloading"). */
static bool clash(const struct sim_nat *t, const struct sim_map *m, const struct ph_addr *remote)
{
    if (t->conf.ports != SIM_PORT_OVERLOAD)
        return true;
    if (t->conf.mapping == SIM_EI && m->in.family != PH_AF_NONE)
        return false;
    enum sim_scope scope = t->conf.mapping == SIM_AD ? SIM_AD : SIM_APD;
    for (const struct sim_sess *e = m->sess; e; e = e->next)
        if (e->ends_at > t->sim->now && sim__scope_match(scope, &e->remote, remote))
            return true;
    return false;
}

static bool is_free(const struct sim_nat *t, const struct ph_addr *ext,
                    const struct ph_addr *remote)
{
    if (forwarded(t, ext))
        return false;
    struct sim_map *m = t->by_ext[sim__hash_endpoint(ext)];
    for (; m; m = m->next_ext)
        if (ph_addr_eq(&m->ext, ext) && sim__map_live(t, m) && clash(t, m, remote))
            return false;
    return true;
}

/* Tries the whole range once, from a start that depends on the kind. */
static bool scan(struct sim_nat *t, const struct ph_addr *in, const struct ph_addr *remote,
                 struct ph_addr *ext)
{
    const struct sim_nat_conf *c = &t->conf;
    uint32_t range = (uint32_t)c->port_hi - c->port_lo + 1u;
    uint32_t start = t->next_port - c->port_lo;
    if (c->ports == SIM_PORT_RANDOM)
        start = (uint32_t)sim__rng_below(&t->rng, range);
    for (uint32_t i = 0; i < range; i++) {
        uint32_t port = c->port_lo + (start + i) % range;
        if (c->parity && (port & 1) != (in->port & 1))
            continue;
        ext->port = (uint16_t)port;
        if (!is_free(t, ext, remote))
            continue;
        if (c->ports != SIM_PORT_RANDOM)
            t->next_port = port == c->port_hi ? c->port_lo : port + 1;
        return true;
    }
    return false;
}

bool sim__nat_choose(struct sim_nat *t, const struct ph_addr *in, const struct ph_addr *remote,
                     struct ph_addr *ext)
{
    const struct ph_addr *ip = pool_ip(t, in, remote->family);
    if (!ip)
        return false;
    *ext = *ip;
    ext->proto = in->proto;
    ext->port = in->port;
    bool keeps = t->conf.ports == SIM_PORT_PRESERVE || t->conf.ports == SIM_PORT_OVERLOAD;
    if (keeps && is_free(t, ext, remote))
        return true;
    return scan(t, in, remote, ext);
}
