/*
 * The plan: what is told to clients, relays, workers.
 */
#include "cmd/turnd/plan_priv.h"

#include <string.h>

enum { MAX_WORKERS = 128 };

/* ---- external-ip ---- */

/* What clients are told instead of an address; PH_AF_NONE: nothing.  A mapping of this very address goes first. */
struct ph_addr ph__tplan_external(const struct ph_tconf *c, const struct ph_addr *ip)
{
    struct ph_addr found = {0};
    for (unsigned i = 0; i < c->n_external; i++) {
        const struct ph_tconf_external *x = &c->external[i];
        if (x->priv.family && ph_addr_eq_ip(&x->priv, ip))
            return x->pub;
        if (!x->priv.family && x->pub.family == ip->family)
            found = x->pub;
    }
    return found;
}

static bool is_used(const struct ph_tplan *p, const struct ph_addr *priv)
{
    for (unsigned i = 0; i < p->n_listeners; i++)
        if (ph_addr_eq_ip(&p->listener[i], priv))
            return true;
    for (unsigned i = 0; i < p->n_relays; i++)
        if (ph_addr_eq_ip(&p->relay[i], priv))
            return true;
    return false;
}

static void warn_of_unused(const struct ph_tplan *p, struct ph_tconf *c)
{
    char text[PH_ADDR_TEXT];
    for (unsigned i = 0; i < c->n_external; i++) {
        const struct ph_addr *priv = &c->external[i].priv;
        if (priv->family && !is_used(p, priv))
            ph_opts_say(c->opts, PH_LOG_WARN, NULL,
                        "external-ip: nothing listens on or relays from %s: without effect",
                        ph_addr_ip_text(priv, text));
    }
}

/* ---- relays ---- */

static bool add_relay(struct ph_tplan *p, const struct ph_tconf *c, const struct ph_addr *ip)
{
    for (unsigned i = 0; i < p->n_relays; i++)
        if (ph_addr_eq_ip(&p->relay[i], ip))
            return true;
    if (p->n_relays == PH_TURND_RELAYS)
        return false;
    p->relay[p->n_relays] = *ip;
    p->relay[p->n_relays].port = 0;
    p->relay[p->n_relays].proto = PH_UDP;
    p->relay_external[p->n_relays] = ph__tplan_external(c, ip);
    p->n_relays++;
    return true;
}

/* Adds those of a list that are no wildcards: the loopback ones, or the others.  A wildcard stands for the addresses
 * of the machine. */
static bool add_relays_of(struct ph_tplan *p, const struct ph_tconf *c, struct ips ips,
                          struct ips machine, uint8_t family, bool loopback)
{
    bool fits = true;
    for (unsigned i = 0; i < ips.n; i++) {
        const struct ph_addr *ip = &ips.v[i];
        if (ip->family != family)
            continue;
        if (ph_addr_is_any(ip) && machine.n)
            fits &= add_relays_of(p, c, machine, (struct ips){NULL, 0}, family, loopback);
        else if (!ph_addr_is_any(ip) && ph_addr_is_loopback(ip) == loopback)
            fits &= add_relay(p, c, ip);
    }
    return fits;
}

/* Relays from the listening addresses. */
static void derive_relays(struct ph_tplan *p, struct ph_tconf *c, struct ips ips,
                          struct ips machine)
{
    bool fits = true;
    static const uint8_t FAMILIES[] = {PH_AF_INET, PH_AF_INET6};
    for (int i = 0; i < 2; i++) {
        unsigned before = p->n_relays;
        fits &= add_relays_of(p, c, ips, machine, FAMILIES[i], false);
        if (p->n_relays == before)
            fits &= add_relays_of(p, c, ips, machine, FAMILIES[i], true);
    }
    if (!fits)
        ph_opts_say(c->opts, PH_LOG_WARN, NULL,
                    "relays use the first %d addresses only: choose with relay-ip",
                    PH_TURND_RELAYS);
}

static void plan_relays(struct ph_tplan *p, struct ph_tconf *c, struct ips ips, struct ips machine)
{
    char text[PH_ADDR_TEXT];
    for (unsigned i = 0; i < c->n_relay; i++)
        add_relay(p, c, &c->relay[i]);
    if (!c->n_relay)
        derive_relays(p, c, ips, machine);
    for (unsigned i = 0; i < p->n_relays; i++)
        if (ph_addr_is_any(&p->relay[i]) && !p->relay_external[i].family)
            ph_opts_say(c->opts, PH_LOG_ERROR, ph_opts_last(c->opts, "relay-ip"),
                        "clients cannot be told %s: give an address, or external-ip for its family",
                        ph_addr_ip_text(&p->relay[i], text));
    if (!p->n_relays)
        ph_opts_say(c->opts, PH_LOG_ERROR, NULL, "no address to relay from: give relay-ip");
}

/* ---- the plan ---- */

/* The listening addresses.  A wildcard stands for the machine's addresses of its family, each with a socket of its
 * own: what is relayed to a client must leave from the very address that the client sends to. */
static struct ips expand(const struct ph_tconf *c, struct ips machine, struct ph_addr *room)
{
    struct ips out = {room, 0};
    for (unsigned i = 0; i < c->n_listen; i++) {
        const struct ph_addr *ip = &c->listen[i];
        unsigned before = out.n;
        for (unsigned k = 0; ph_addr_is_any(ip) && k < machine.n; k++)
            if (machine.v[k].family == ip->family && out.n < PH_TURND_LISTENERS)
                room[out.n++] = machine.v[k];
        if (out.n == before && out.n < PH_TURND_LISTENERS)
            room[out.n++] = *ip;
    }
    return out;
}

void ph_tplan_make(struct ph_tplan *p, struct ph_tconf *c, const struct ph_addr *machine,
                   unsigned n)
{
    struct ips all = {machine, n < PH_TURND_LISTENERS ? n : PH_TURND_LISTENERS};
    struct ph_addr room[PH_TURND_LISTENERS];
    struct ips ips = c->n_listen ? expand(c, all, room) : all;
    unsigned cpus = c->cpus ? c->cpus : ph_tplan_cpus();
    *p = (struct ph_tplan){0};
    p->pool_ports = c->stun_only || c->no_udp_relay ? 0 : (uint16_t)c->port_pool;
    p->workers = c->threads != PH_TCONF_UNSET ? c->threads
                 : p->pool_ports              ? 1
                 : cpus < MAX_WORKERS         ? cpus
                                              : MAX_WORKERS;
    if (!ips.n)
        ph_opts_say(c->opts, PH_LOG_ERROR, NULL,
                    "this machine has no address to listen on: give listening-ip");
    ph__tplan_listeners(p, c, ips, ips.n != c->n_listen);
    if (!c->stun_only)
        plan_relays(p, c, ips, all);
    warn_of_unused(p, c);
}

const char *ph_tplan_speaks(const struct ph_tplan *p, unsigned listener)
{
    static const char *const UDP[] = {"udp", "udp", "dtls", "udp and dtls"};
    static const char *const TCP[] = {"tcp", "tcp", "tls", "tcp and tls"};
    static const char *const PROXY[] = {"PROXY protocol", "tcp behind PROXY protocol",
                                        "tls behind PROXY protocol",
                                        "tcp and tls behind PROXY protocol"};
    unsigned k = p->accept[listener] & (PH_ACCEPT_PLAIN | PH_ACCEPT_TLS);
    return p->listener[listener].proto == PH_UDP   ? UDP[k]
           : p->accept[listener] & PH_ACCEPT_PROXY ? PROXY[k]
                                                   : TCP[k];
}
