/*
 * Listeners, RFC 5780 quads and relays, from what is configured and what the machine has.
 */
#include "cmd/turnd/plan.h"

#include <string.h>

enum { MAX_WORKERS = 128 };

struct ips {
    const struct ph_addr *v;
    unsigned n;
};

/* ---- external-ip ---- */

/* What clients are told instead of an address; PH_AF_NONE: nothing.  A mapping of this very address goes first. */
static struct ph_addr external_of(const struct ph_tconf *c, const struct ph_addr *ip)
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

/* ---- listeners ---- */

/* Adds a listener once.  Returns its number, or PH_TURND_LISTENERS when the plan is full. */
static unsigned listen_at(struct ph_tplan *p, const struct ph_tconf *c, const struct ph_addr *ip,
                          uint32_t port)
{
    struct ph_addr at = *ip;
    at.port = (uint16_t)port;
    at.proto = PH_UDP;
    for (unsigned i = 0; i < p->n_listeners; i++)
        if (ph_addr_eq(&p->listener[i], &at))
            return i;
    if (p->n_listeners == PH_TURND_LISTENERS)
        return PH_TURND_LISTENERS;
    struct ph_addr external = external_of(c, ip);
    if (external.family) {
        external.port = at.port;
        external.proto = PH_UDP;
    }
    p->listener[p->n_listeners] = at;
    p->listener_external[p->n_listeners] = external;
    return p->n_listeners++;
}

/* Whether two addresses can answer for each other in RFC 5780: clients must see two. */
static bool can_pair(const struct ph_tconf *c, const struct ph_addr *a, const struct ph_addr *b)
{
    struct ph_addr xa = external_of(c, a), xb = external_of(c, b);
    if (a->family != b->family || ph_addr_is_any(a) || ph_addr_is_any(b))
        return false;
    if (ph_addr_is_loopback(a) != ph_addr_is_loopback(b))
        return false;
    return !xa.family || !xb.family || !ph_addr_eq_ip(&xa, &xb);
}

static bool add_quad(struct ph_tplan *p, const struct ph_tconf *c, const struct ph_addr *a,
                     const struct ph_addr *b)
{
    uint32_t alt = c->alt_port ? c->alt_port : c->port + 1;
    unsigned number[PH_STUND_SOCKETS] = {
        [0] = listen_at(p, c, a, c->port),
        [PH_STUND_ALT_PORT] = listen_at(p, c, a, alt),
        [PH_STUND_ALT_IP] = listen_at(p, c, b, c->port),
        [PH_STUND_ALT_IP | PH_STUND_ALT_PORT] = listen_at(p, c, b, alt),
    };
    for (int i = 0; i < PH_STUND_SOCKETS; i++) {
        if (number[i] == PH_TURND_LISTENERS || p->n_quads == PH_TURN_UV_QUADS)
            return false;
        p->quad[p->n_quads].listener[i] = (uint8_t)number[i];
    }
    p->n_quads++;
    return true;
}

/* Pairs each address with the next free one of its family. */
static bool add_quads(struct ph_tplan *p, struct ph_tconf *c, struct ips ips)
{
    bool taken[PH_TURND_LISTENERS] = {false};
    for (unsigned i = 0; i < ips.n; i++) {
        for (unsigned j = i + 1; j < ips.n && !taken[i]; j++) {
            if (taken[j] || !can_pair(c, &ips.v[i], &ips.v[j]))
                continue;
            if (!add_quad(p, c, &ips.v[i], &ips.v[j]))
                return false;
            taken[i] = taken[j] = true;
        }
    }
    if (!p->n_quads)
        ph_opts_say(c->opts, PH_LOG_WARN, ph_opts_last(c->opts, "rfc5780"),
                    "off: it needs two listening-ip of one family that clients see as two");
    return true;
}

static void plan_listeners(struct ph_tplan *p, struct ph_tconf *c, struct ips ips)
{
    bool fits = true;
    if (c->rfc5780 && !c->no_stun)
        fits = add_quads(p, c, ips);
    for (unsigned i = 0; i < ips.n && fits; i++)
        fits = listen_at(p, c, &ips.v[i], c->port) < PH_TURND_LISTENERS;
    for (unsigned i = 0; i < c->n_aux && fits; i++)
        fits = listen_at(p, c, &c->aux[i], c->aux[i].port) < PH_TURND_LISTENERS;
    if (!fits)
        ph_opts_say(c->opts, PH_LOG_ERROR, NULL,
                    "too many listeners: %d addresses with port are the most; give fewer "
                    "listening-ip or aux-server",
                    PH_TURND_LISTENERS);
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
    p->relay_external[p->n_relays] = external_of(c, ip);
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
    p->workers = c->threads != PH_TCONF_UNSET ? c->threads
                 : cpus < MAX_WORKERS         ? cpus
                                              : MAX_WORKERS;
    if (!ips.n)
        ph_opts_say(c->opts, PH_LOG_ERROR, NULL,
                    "this machine has no address to listen on: give listening-ip");
    plan_listeners(p, c, ips);
    if (!c->stun_only)
        plan_relays(p, c, ips, all);
    warn_of_unused(p, c);
}
