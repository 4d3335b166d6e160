/*
 * Relays that share ports (turn/pool.h): what the core does with the pool.
 *
 * A relay is a member of the pool under the number that its own socket would have, so once it is known whose a packet is
 * it goes on as if it had come to that.  Permissions are told to the pool as they change (perm.c, live.c); the ports are
 * taken and live as long as the core.
 *
 * What one client sends to another one's relay does not leave: over the wire it would come back from an address that many
 * have, and nobody could tell from whom.
 */
#include "turn/server_priv.h"

#include "stun/base/bytes.h"
#include "stun/base/error.h"
#include "turn/chandata.h"

#include <string.h>

enum {
    DATA_HEAD = 32 /* bytes in front of a payload in a Data indication, without the peer's IP */
};

/* ---- life ---- */

static void give_back(struct ph_turnd *d, unsigned relay, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        ph_ports_release(d->c.relay[relay].ports, (uint16_t)(d->c.pool_first + i));
}

/* 0, or PH_E_LIMIT: not all of them are free; then none is taken. */
static int take_ports(struct ph_turnd *d, unsigned relay)
{
    struct ph_ports *ports = d->c.relay[relay].ports;

    for (unsigned i = 0; i < d->c.pool_ports; i++) {
        const uint16_t port = (uint16_t)(d->c.pool_first + i);
        if (!ph_ports_take_exact(ports, port)) {
            give_back(d, relay, i);
            return PH_E_LIMIT;
        }
        ph_ports_set_live(ports, port);
    }
    return 0;
}

int ph__pool_init(struct ph_turnd *d)
{
    const struct ph_turnd_conf *c = &d->c;
    int err = 0;

    if (!c->pool_ports)
        return 0;
    for (unsigned i = 0; i < c->n_relays && !err; i++) {
        err = take_ports(d, i);
        while (err && i-- > 0)
            give_back(d, i, c->pool_ports);
    }
    if (err)
        return err;
    d->pool = ph_pool_new(c->n_relays * c->pool_ports, c->max_permissions,
                          (unsigned)c->max_permissions + c->max_channels, &d->env);
    for (unsigned i = 0; i < c->n_relays && !d->pool; i++)
        give_back(d, i, c->pool_ports);
    return d->pool ? 0 : PH_E_NOMEM;
}

void ph__pool_fini(struct ph_turnd *d)
{
    for (unsigned i = 0; i < d->c.n_relays && d->pool; i++)
        give_back(d, i, d->c.pool_ports);
    ph_pool_free(d->pool);
}

bool ph_turnd_pool(const struct ph_turnd *d, uint32_t *i, uint32_t *sock, struct ph_addr *at)
{
    if (!d->pool || *i >= d->c.n_relays * d->c.pool_ports)
        return false;
    *sock = PH_SOCK_RELAY | PH_SOCK_POOL | *i;
    *at = d->c.relay[*i / d->c.pool_ports].at;
    at->port = (uint16_t)(d->c.pool_first + *i % d->c.pool_ports);
    at->proto = PH_UDP;
    (*i)++;
    return true;
}

/* ---- relays ---- */

bool ph__pool_has(const struct ph_turnd *d, const struct ph_addr *at)
{
    return d->pool && at->proto == PH_UDP && at->port >= d->c.pool_first &&
           at->port - d->c.pool_first < d->c.pool_ports;
}

/* The number in the pool of a relay address's port, which is one of it. */
static unsigned port_number(const struct ph_turnd *d, unsigned relay, uint16_t port)
{
    return relay * d->c.pool_ports + (unsigned)(port - d->c.pool_first);
}

static uint32_t member_of(const struct ph__leg *leg)
{
    return leg->pool & ~PH_SOCK_RELAY;
}

static unsigned port_of(const struct ph_turnd *d, const struct ph__leg *leg)
{
    return port_number(d, leg->relay, leg->at.port);
}

int ph__pool_join(struct ph_turnd *d, uint32_t slot, unsigned i)
{
    struct ph__leg *leg = &ph__alloc_at(d, slot)->leg[i];
    const uint32_t sock = ph__relay_sock(slot, i);
    int err = ph_pool_join(d->pool, sock & ~PH_SOCK_RELAY, port_of(d, leg));

    if (!err) {
        leg->pool = sock;
        leg->state = PH__LEG_UP;
    }
    return err;
}

int ph__pool_open(struct ph_turnd *d, uint32_t slot, unsigned i, unsigned relay, bool even)
{
    struct ph__leg *leg = &ph__alloc_at(d, slot)->leg[i];
    const unsigned n = d->c.pool_ports, first = relay * n;
    const unsigned skip = even ? d->c.pool_first % 2u : 0;
    int port = ph_pool_pick(d->pool, first + skip, first + n, even ? 2 : 1);

    if (port < 0)
        return port;
    leg->at = d->c.relay[relay].at;
    leg->at.port = (uint16_t)(d->c.pool_first + (unsigned)port - first);
    leg->at.proto = PH_UDP;
    leg->relay = (uint8_t)relay;
    return ph__pool_join(d, slot, i);
}

void ph__pool_leave(struct ph_turnd *d, const struct ph__leg *leg)
{
    if (leg->pool)
        ph_pool_leave(d->pool, member_of(leg));
}

/* ---- permissions and channels ---- */

int ph__pool_permit(struct ph_turnd *d, const struct ph__alloc *a, const struct ph__perm *perm,
                    ph_ns now)
{
    const struct ph__leg *leg = &a->leg[perm->family == PH_AF_INET6];
    struct ph_addr ip = {.family = perm->family};

    if (!leg->pool)
        return 0;
    memcpy(ip.ip, perm->ip, sizeof ip.ip);
    return ph_pool_permit(d->pool, member_of(leg), &ip, perm->expires_at, now);
}

/* The port of the pool that a peer is, or PH_E_MISSING: it is somewhere else. */
static int inside(const struct ph_turnd *d, const struct ph_addr *peer)
{
    for (unsigned i = 0; i < d->c.n_relays && ph__pool_has(d, peer); i++) {
        const struct ph_turnd_relay *r = &d->c.relay[i];
        if (ph_addr_eq_ip(&r->at, peer) ||
            (r->external.family && ph_addr_eq_ip(&r->external, peer)))
            return (int)port_number(d, i, peer->port);
    }
    return PH_E_MISSING;
}

bool ph__pool_is_taken(const struct ph_turnd *d, const struct ph__alloc *a,
                       const struct ph_addr *peer, ph_ns now)
{
    const struct ph__leg *leg = &a->leg[peer->family == PH_AF_INET6];
    return leg->pool && inside(d, peer) < 0 && ph_pool_is_taken(d->pool, member_of(leg), peer, now);
}

int ph__pool_bind(struct ph_turnd *d, const struct ph__alloc *a, const struct ph_addr *peer,
                  ph_ns now)
{
    const struct ph__leg *leg = &a->leg[peer->family == PH_AF_INET6];
    return leg->pool && inside(d, peer) < 0 ? ph_pool_claim(d->pool, member_of(leg), peer, now) : 0;
}

void ph__pool_restored(struct ph_turnd *d, const struct ph__alloc *a, ph_ns now)
{
    for (unsigned i = 0; i < a->n_perm && d->pool; i++)
        (void)ph__pool_permit(d, a, &a->perm[i], now);
    for (unsigned i = 0; i < a->n_chan && d->pool; i++)
        if (now < a->chan[i].expires_at) /* a conflict is told to who sends by it */
            (void)ph__pool_bind(d, a, &a->chan[i].peer, now);
}

/* ---- ICE ---- */

/* The user name fragments in a check (RFC 8445 7.2.2: the receiver's, a colon, the sender's), empty: it is none. */
struct names {
    struct ph_slice of_receiver, of_sender;
};

static struct names names_in(const struct ph_pkt *p)
{
    const uint8_t *b = ph_buf_data(&p->b);
    struct names n = {{NULL, 0}, {NULL, 0}};
    struct ph_slice user;
    struct ph_msg m;

    if (p->b.len < PH_STUN_HEADER || ph_get16(b) != ph_stun_type(PH_BINDING, PH_REQUEST) ||
        ph_msg_parse(&m, b, p->b.len) || ph_msg_bytes(&m, PH_IX_USERNAME, &user))
        return n;
    const uint8_t *colon = user.n ? memchr(user.p, ':', user.n) : NULL;
    if (colon) {
        n.of_receiver = (struct ph_slice){user.p, (size_t)(colon - user.p)};
        n.of_sender = (struct ph_slice){colon + 1, user.n - n.of_receiver.n - 1};
    }
    return n;
}

/* ---- packets ---- */

/* The counter for a packet that is nobody's. */
static uint64_t *counter(struct ph_turnd *d, uint32_t who)
{
    return who == PH_POOL_NOBODY  ? &d->stats.no_permission
           : who == PH_POOL_TAKEN ? &d->stats.pool_conflicts
                                  : &d->stats.pool_ambiguous;
}

/* Bandwidth and counters of a payload for a peer.  False: it is dropped. */
static bool may_go(struct ph_turnd *d, uint32_t slot, uint32_t n, ph_ns now)
{
    struct ph__alloc *a = ph__alloc_at(d, slot);

    if (a->bound && !ph__bound_packet(d, a, PH_BPS_FROM_CLIENT, n, now)) {
        ph__usage_in(d, slot, n + PH_CHANNEL_HEADER);
        return false;
    }
    d->stats.to_peer_packets++;
    d->stats.to_peer_bytes += n;
    a->to_peer_packets++;
    a->to_peer_bytes += n;
    if ((a->usage_left -= 2) <= 0)
        ph__usage_relayed(d, slot, PH_BPS_FROM_CLIENT, n);
    return true;
}

/* Makes room for wrapping a client's payload for another client, if need be by moving it over what it came wrapped in: a
 * Send indication leaves enough.  False: ChannelData that has to become a Data indication may not. */
static bool make_room(struct ph_buf *b, bool has_head, uint32_t front, uint32_t behind)
{
    const uint32_t room = b->cap - b->off - b->len;
    uint32_t to = b->off;

    if (room < behind && b->off >= behind + (has_head ? 0 : front))
        to = b->off - behind;
    else if (room < behind || (b->off < front && !has_head))
        to = front;
    if (to + b->len + behind > b->cap)
        return false;
    memmove(b->base + to, ph_buf_data(b), b->len);
    b->off = to;
    return true;
}

/* Hands a packet that a client sends to a port of the pool to who is behind it. */
static int hop(struct ph_turnd *d, uint32_t slot, struct ph_pkt *p, const struct ph_pool_hop *h,
               ph_ns now)
{
    const struct ph__leg *leg = &ph__alloc_at(d, slot)->leg[h->peer.family == PH_AF_INET6];
    const uint32_t who = ph_pool_across(d->pool, h, now);

    if (PH_POOL_NO_ONE(who))
        return ph__drop_from_client(d, slot, p->b.len + PH_CHANNEL_HEADER, counter(d, who));
    const struct ph__alloc *to = ph__alloc_at(d, who >> 1);
    const bool channel = ph__chan_by_peer(to, &h->from, now);
    const uint32_t front =
        channel ? PH_CHANNEL_HEADER : DATA_HEAD + (uint32_t)ph_addr_ip_len(&h->from);
    if (!make_room(&p->b, p->head, front, channel ? 0 : -p->b.len & 3)) {
        p->b.off -= PH_CHANNEL_HEADER; /* as it came, but for padding */
        p->b.len += PH_CHANNEL_HEADER;
        return PH_E_NOSPACE;
    }
    if (!may_go(d, slot, p->b.len, now))
        return PH_DROP;
    p->src = leg->at;
    p->sock = PH_SOCK_RELAY | who;
    const int verdict = ph__on_peer(d, p, now);
    p->src = d->c.listener[to->listener].at;
    return verdict;
}

int ph__pool_to_peer(struct ph_turnd *d, uint32_t slot, struct ph_pkt *p,
                     const struct ph_addr *peer, ph_ns now)
{
    const struct ph__leg *leg = &ph__alloc_at(d, slot)->leg[peer->family == PH_AF_INET6];
    const uint32_t member = member_of(leg);
    const struct names names = names_in(p);
    const int to = inside(d, peer);

    ph_pool_learn(d->pool, member, names.of_sender);
    if (to >= 0) {
        struct ph_pool_hop h = {.member = member,
                                .to = (unsigned)to,
                                .peer = *peer,
                                .from = leg->at,
                                .name = names.of_receiver};
        if (d->has_external) { /* by what clients know them: each has one name */
            ph__peer_to_public(d, &h.peer);
            ph__peer_to_public(d, &h.from);
        }
        return hop(d, slot, p, &h, now);
    }
    const int err = ph_pool_claim(d->pool, member, peer, now);
    if (err)
        return ph__drop_from_client(d, slot, p->b.len + PH_CHANNEL_HEADER,
                                    err == PH_E_STATE ? &d->stats.pool_conflicts
                                                      : &d->stats.no_permission);
    p->sock = PH_SOCK_RELAY | PH_SOCK_POOL | port_of(d, leg);
    p->conn = 0;
    return may_go(d, slot, p->b.len, now) ? PH_SEND : PH_DROP;
}

int ph__pool_on_peer(struct ph_turnd *d, struct ph_pkt *p, ph_ns now)
{
    const uint32_t sock = p->sock, port = sock & ~(PH_SOCK_RELAY | PH_SOCK_POOL);
    struct ph_addr from = p->src;

    if (!d->pool || port >= d->c.n_relays * d->c.pool_ports) {
        d->stats.no_allocation++;
        return PH_DROP;
    }
    if (d->has_external)
        ph__peer_to_public(d, &from);
    uint32_t who = ph_pool_receiver(d->pool, port, &from, now);
    if (who == PH_POOL_SEVERAL) {
        const struct names names = names_in(p);
        uint32_t named = names.of_receiver.n
                             ? ph_pool_named(d->pool, port, &from, names.of_receiver, now)
                             : PH_POOL_SEVERAL;
        who = named == PH_POOL_NOBODY ? PH_POOL_SEVERAL : named;
    }
    if (PH_POOL_NO_ONE(who)) {
        *counter(d, who) += 1;
        return PH_DROP;
    }
    p->sock = PH_SOCK_RELAY | who;
    const int verdict = ph__on_peer(d, p, now);
    if (verdict < 0)
        p->sock = sock;
    return verdict;
}

uint32_t ph__pool_sock(const struct ph_turnd *d, uint32_t sock, const struct ph_addr *peer,
                       ph_ns now)
{
    const uint32_t port = sock & ~(PH_SOCK_RELAY | PH_SOCK_POOL);

    if (!d->pool || port >= d->c.n_relays * d->c.pool_ports)
        return sock;
    uint32_t who = ph_pool_holder(d->pool, port, peer, now);
    return who == PH_POOL_NOBODY ? sock : PH_SOCK_RELAY | who;
}
