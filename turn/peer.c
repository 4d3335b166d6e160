/*
 * Which peers a relay may talk to, beyond what the ACL says of their IP.
 *
 * This server's own addresses need care.  Its listeners, and what else of it listens (admin, metrics, Redis), are never
 * peers.  Its live relay ports always are, even where policy denies the address (a private network behind an
 * external address): two clients of one server must be able to meet.  That holds for UDP alone, and for ports that
 * are bound: one that a UDP relay has may be some other service's over TCP, one that a TCP relay has or that is only
 * reserved some other's over UDP.  There peers get no more than the policy allows.
 *
 * A permission is for an IP and all its ports, so for own addresses, and where the policy speaks of ports, the port
 * is looked at packet by packet.
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

static bool is_own_ip(const struct ph_turnd *d, const struct ph_addr *ip)
{
    return own_relay(d, ip) || is_listener_ip(d, ip) || ph_addr_is_loopback(ip);
}

/* True when the port at one of our own IPs is a listening port (external and bound form alike). */
static bool is_listener(const struct ph_turnd *d, const struct ph_addr *peer)
{
    const struct ph_turnd_relay *r = own_relay(d, peer);

    for (unsigned i = 0; i < d->c.n_listeners; i++) {
        const struct ph_addr *at = &d->c.listener[i].at;
        if (at->port != peer->port)
            continue;
        if (ph_addr_eq_ip(at, peer) || (r && (ph_addr_eq_ip(at, &r->at) || ph_addr_is_any(at))) ||
            (ph_addr_is_any(at) && ph_addr_is_loopback(peer)))
            return true;
    }
    return false;
}

static bool is_at(const struct ph_turnd *d, const struct ph_addr *at, const struct ph_addr *ip)
{
    struct ph_addr own = ph_acl_canonical(at);
    const struct ph_turnd_relay *r = own_relay(d, ip);

    return ph_addr_is_any(&own) ? is_own_ip(d, ip)
                                : ph_addr_eq_ip(&own, ip) || (r && ph_addr_eq_ip(&own, &r->at));
}

/* What else of this server listens.  A permission (any_port) is for the whole IP. */
static bool is_forbidden(const struct ph_turnd *d, const struct ph_addr *peer, bool any_port)
{
    for (unsigned i = 0; i < d->c.live.n_forbidden; i++) {
        const struct ph_addr *at = &d->c.live.forbidden[i];
        if ((any_port || at->port == peer->port) && is_at(d, at, peer))
            return true;
    }
    return false;
}

static bool is_live_relay(const struct ph_turnd *d, const struct ph_addr *peer)
{
    const struct ph_turnd_relay *r = peer->proto == PH_TCP ? NULL : own_relay(d, peer);
    return r && ph_ports_live(r->ports, peer->port);
}

/* A relay's port, to be told to clients by its external address. */
static bool is_relay_port(const struct ph_turnd_relay *r, const struct ph_addr *peer)
{
    return peer->proto == PH_TCP ? ph_ports_taken(r->ports, peer->port)
                                 : ph_ports_live(r->ports, peer->port);
}

int ph__peer_check(const struct ph_turnd *d, uint8_t realm, const struct ph_addr *peer,
                   struct ph__perm *perm)
{
    const struct ph_acl *acl = ph__realm_acl(d, realm);
    struct ph_addr ip = ph_acl_canonical(peer);
    const char *why = ph_acl_check(acl, peer);

    memcpy(perm->ip, peer->ip, sizeof perm->ip);
    perm->family = peer->family;
    perm->own = ph_acl_has_ports(acl) || is_own_ip(d, &ip) || is_forbidden(d, &ip, true);
    perm->live_only = why != NULL;
    if (!perm->own)
        return why ? PH_E_FORBIDDEN : 0;
    if (is_forbidden(d, &ip, false))
        return PH_E_FORBIDDEN;
    /* RFC 8656 10.1: the port of a permission says nothing, and clients that leave it out mean whichever relay is there;
     * each packet is looked at. */
    bool live = is_live_relay(d, &ip) || (!ip.port && ip.proto != PH_TCP && own_relay(d, &ip));
    return live || (!why && !is_listener(d, &ip)) ? 0 : PH_E_FORBIDDEN;
}

bool ph__peer_port_ok(const struct ph_turnd *d, uint8_t realm, const struct ph__perm *perm,
                      const struct ph_addr *peer)
{
    const struct ph_acl *acl = ph__realm_acl(d, realm);
    struct ph_addr ip = ph_acl_canonical(peer);

    if (is_forbidden(d, &ip, false))
        return false;
    if (is_live_relay(d, &ip))
        return true;
    if (is_listener(d, &ip))
        return false;
    /* Where the policy speaks of ports, what it said of the permission was not about this one. */
    return ph_acl_has_ports(acl) ? peer->port && !ph_acl_check(acl, peer) : !perm->live_only;
}

bool ph__peer_is_relay(const struct ph_turnd *d, const struct ph_addr *peer)
{
    struct ph_addr ip = ph_acl_canonical(peer);
    return own_relay(d, &ip) != NULL;
}

void ph__peer_to_local(const struct ph_turnd *d, struct ph_addr *peer)
{
    const struct ph_turnd_relay *r = own_relay(d, peer);
    if (r && r->external.family && !ph_addr_is_any(&r->at) && ph_addr_eq_ip(&r->external, peer) &&
        is_relay_port(r, peer))
        memcpy(peer->ip, r->at.ip, sizeof peer->ip);
}

void ph__peer_to_public(const struct ph_turnd *d, struct ph_addr *peer)
{
    const struct ph_turnd_relay *r = own_relay(d, peer);
    if (r && r->external.family && ph_addr_eq_ip(&r->at, peer) && is_relay_port(r, peer))
        memcpy(peer->ip, r->external.ip, sizeof peer->ip);
}
