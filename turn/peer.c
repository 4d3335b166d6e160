/*
 * Which peers a relay may talk to, beyond what the ACL says of their IP.
 *
 * This server's own addresses need care.  Its listeners are never peers.  Its live relay ports always are, even
 * where policy denies the address (a private network behind an external address): two clients of one server
 * must be able to meet.  A permission is for an IP and all its ports, so for own addresses the port is looked at
 * packet by packet.
 *
 * Behind a one-to-one NAT (external-ip) such peers are named by the external address; the packets are sent
 * straight to the bound one, as few NATs would turn them around.
 */
#include "turn/server_priv.h"

#include "stun/base/error.h"

#include <string.h>

static bool is_listener_ip(const struct ph_turnd *d, const struct ph_addr *ip)
{
    for (unsigned i = 0; i < d->c.n_listeners; i++)
        if (ph_addr_eq_ip(&d->c.listener[i].at, ip))
            return true;
    return false;
}

/* The relay address an IP belongs to, by its external or its bound form; NULL: not ours. */
static const struct ph_turnd_relay *own_relay(const struct ph_turnd *d, const struct ph_addr *ip)
{
    for (unsigned i = 0; i < d->c.n_relays; i++) {
        const struct ph_turnd_relay *r = &d->c.relay[i];
        if (ph_addr_eq_ip(&r->at, ip) || (r->external.family && ph_addr_eq_ip(&r->external, ip)))
            return r;
    }
    return NULL;
}

/* True when the port at one of our own IPs is a listening port (external and bound form alike). */
static bool is_listener(const struct ph_turnd *d, const struct ph_addr *peer)
{
    const struct ph_turnd_relay *r = own_relay(d, peer);

    for (unsigned i = 0; i < d->c.n_listeners; i++) {
        const struct ph_addr *at = &d->c.listener[i].at;
        if (at->port != peer->port)
            continue;
        if (ph_addr_eq_ip(at, peer) || (r && (ph_addr_eq_ip(at, &r->at) || ph_addr_is_any(at))))
            return true;
    }
    return false;
}

static bool is_live_relay(const struct ph_turnd *d, const struct ph_addr *peer)
{
    const struct ph_turnd_relay *r = own_relay(d, peer);
    return r && ph_ports_taken(r->ports, peer->port);
}

int ph__peer_check(const struct ph_turnd *d, const struct ph_addr *peer, struct ph__perm *perm)
{
    struct ph_addr ip = ph_acl_canonical(peer);
    const char *why = ph_acl_check(d->c.acl, peer);

    memcpy(perm->ip, peer->ip, sizeof perm->ip);
    perm->family = peer->family;
    perm->own = own_relay(d, &ip) || is_listener_ip(d, &ip);
    perm->live_only = why != NULL;
    if (perm->own && is_listener(d, &ip) && !is_live_relay(d, &ip))
        return PH_E_FORBIDDEN;
    return !why || is_live_relay(d, &ip) ? 0 : PH_E_FORBIDDEN;
}

bool ph__peer_port_ok(const struct ph_turnd *d, const struct ph__perm *perm,
                      const struct ph_addr *peer)
{
    struct ph_addr ip = ph_acl_canonical(peer);
    if (is_live_relay(d, &ip))
        return true;
    return !perm->live_only && !is_listener(d, &ip);
}

void ph__peer_to_local(const struct ph_turnd *d, struct ph_addr *peer)
{
    const struct ph_turnd_relay *r = own_relay(d, peer);
    if (r && r->external.family && !ph_addr_is_any(&r->at) && ph_addr_eq_ip(&r->external, peer) &&
        ph_ports_taken(r->ports, peer->port))
        memcpy(peer->ip, r->at.ip, sizeof peer->ip);
}

void ph__peer_to_public(const struct ph_turnd *d, struct ph_addr *peer)
{
    const struct ph_turnd_relay *r = own_relay(d, peer);
    if (r && r->external.family && ph_addr_eq_ip(&r->at, peer) &&
        ph_ports_taken(r->ports, peer->port))
        memcpy(peer->ip, r->external.ip, sizeof peer->ip);
}
