/*
 * The data path: one look-up, a few compares, and the packet leaves the buffer it came in.
 *
 *     client --ChannelData--> relay --payload--> peer      4 bytes taken off
 *     client --Send---------> relay --payload--> peer      the DATA value is what goes out
 *     client <--ChannelData-- relay <--payload-- peer      4 bytes put in front
 *     client <--Data--------- relay <--payload-- peer      36 or 48 put in front, up to 3 of padding behind
 */
#include "turn/server_priv.h"

#include "stun/base/bytes.h"
#include "stun/base/error.h"
#include "turn/chandata.h"

#include <string.h>

/* Addresses a payload to its peer, if the permission still stands. */
static int to_peer(struct ph_turnd *d, uint32_t slot, struct ph_pkt *p, const struct ph_addr *peer,
                   ph_ns now)
{
    struct ph__alloc *a = ph__alloc_at(d, slot);
    const struct ph__perm *perm = ph__perm_find(a, peer, now);
    unsigned i = peer->family == PH_AF_INET6;

    if (!perm || a->leg[i].state != PH__LEG_UP)
        return ph__drop_from_client(d, slot, p->b.len + PH_CHANNEL_HEADER, &d->stats.no_permission);
    p->dst = *peer;
    if (perm->own) {
        if (!ph__peer_port_ok(d, a->realm, perm, peer))
            return ph__drop_from_client(d, slot, p->b.len + PH_CHANNEL_HEADER,
                                        &d->stats.forbidden_peer);
        if (d->has_external)
            ph__peer_to_local(d, &p->dst);
    }
    if (a->leg[i].pool)
        return ph__pool_to_peer(d, slot, p, peer, now);
    if (a->bound && !ph__bound_packet(d, a, PH_BPS_FROM_CLIENT, p->b.len, now)) {
        ph__usage_in(d, slot, p->b.len + PH_CHANNEL_HEADER);
        return PH_DROP;
    }
    p->sock = ph__relay_sock(slot, i);
    p->conn = 0;
    d->stats.to_peer_packets++;
    d->stats.to_peer_bytes += p->b.len;
    a->to_peer_packets++;
    a->to_peer_bytes += p->b.len;
    if ((a->usage_left -= 2) <= 0)
        ph__usage_relayed(d, slot, PH_BPS_FROM_CLIENT, p->b.len);
    return PH_SEND;
}

int ph__on_channel_data(struct ph_turnd *d, struct ph_pkt *p, ph_ns now)
{
    uint16_t len, number = ph_chandata_parse(ph_buf_data(&p->b), p->b.len, &len);
    uint32_t slot = ph__alloc_find(d, &p->src, p->sock);

    if (slot == PH__NONE)
        return ph__no_allocation(d, p, now);
    if (!number)
        return ph__drop_from_client(d, slot, p->b.len, &d->stats.malformed);
    const struct ph__chan *c = ph__chan_by_number(ph__alloc_at(d, slot), number, now);
    if (!c)
        return ph__drop_from_client(d, slot, p->b.len, &d->stats.no_channel);
    if (p->b.len != PH_CHANNEL_HEADER + (uint32_t)len) /* padding is seldom, but not forbidden */
        ph__alloc_at(d, slot)->in_bytes += p->b.len - PH_CHANNEL_HEADER - len;
    ph_buf_pull(&p->b, PH_CHANNEL_HEADER);
    p->b.len = len;
    return to_peer(d, slot, p, &c->peer, now);
}

int ph__on_send(struct ph_turnd *d, struct ph_pkt *p, const struct ph_msg *m, ph_ns now)
{
    struct ph_addr peer;
    struct ph_slice data;
    uint32_t slot = ph__alloc_find(d, &p->src, p->sock);

    if (slot == PH__NONE)
        return ph__no_allocation(d, p, now);
    if (m->has_unknown || ph_msg_addr(m, PH_IX_XOR_PEER_ADDRESS, &peer) ||
        ph_msg_bytes(m, PH_IX_DATA, &data))
        return ph__drop_from_client(d, slot, p->b.len, &d->stats.malformed);
    struct ph__alloc *a = ph__alloc_at(d, slot);
    if (a->tcp) /* RFC 6062 3: there are no indications to TCP peers */
        return ph__drop_from_client(d, slot, p->b.len, &d->stats.unexpected);
    peer.proto = PH_UDP;
    p->dont_fragment = ph_msg_has(m, PH_IX_DONT_FRAGMENT);
    a->in_bytes += p->b.len - (uint32_t)data.n - PH_CHANNEL_HEADER;
    ph_buf_pull(&p->b, (uint32_t)(data.p - ph_buf_data(&p->b)));
    p->b.len = (uint32_t)data.n;
    return to_peer(d, slot, p, &peer, now);
}

/* Writes header, XOR-PEER-ADDRESS and the head of DATA in front of the payload.  By hand, since the writer fills
 * buffers from the front and here the payload lies ready. */
static void write_indication(struct ph_turnd *d, uint8_t *h, const struct ph_addr *peer,
                             uint32_t len, uint32_t pad)
{
    uint32_t ip = (uint32_t)ph_addr_ip_len(peer);
    uint64_t n = ++d->indication;
    uint64_t id = ph_hash(&d->hash_key, &n, sizeof n);

    ph_put16(h, ph_stun_type(PH_DATA_METHOD, PH_INDICATION));
    ph_put16(h + 2, (uint16_t)(8 + ip + 4 + len + pad));
    ph_put32(h + 4, PH_STUN_COOKIE);
    ph_put32(h + 8, (uint32_t)n);
    memcpy(h + 12, &id, sizeof id);
    ph_put16(h + 20, PH_ATTR_XOR_PEER_ADDRESS);
    ph_put16(h + 22, (uint16_t)(4 + ip));
    h[24] = 0;
    h[25] = peer->family;
    ph_put16(h + 26, peer->port ^ (PH_STUN_COOKIE >> 16));
    for (uint32_t i = 0; i < ip; i++) /* XORed with cookie and transaction id, which lie in a row */
        h[28 + i] = peer->ip[i] ^ h[4 + i];
    ph_put16(h + 28 + ip, PH_ATTR_DATA);
    ph_put16(h + 30 + ip, (uint16_t)len);
}

/* Wraps a payload into a Data indication.  0 or PH_E_NOSPACE. */
static int wrap_indication(struct ph_turnd *d, struct ph_pkt *p, const struct ph_addr *peer)
{
    struct ph_buf *b = &p->b;
    uint32_t len = b->len, pad = -len & 3, head = 32 + (uint32_t)ph_addr_ip_len(peer);

    if (b->cap - b->off - len < pad)
        return PH_E_NOSPACE;
    memset(ph_buf_data(b) + len, 0, pad);
    uint8_t *h = ph_pkt_push(p, head);
    if (!h)
        return PH_E_NOSPACE;
    b->len += pad;
    write_indication(d, h, peer, len, pad);
    return 0;
}

static uint32_t slot_of(uint32_t sock)
{
    return (sock & ~PH_SOCK_RELAY) >> 1;
}

static int to_client(struct ph_turnd *d, struct ph__alloc *a, struct ph_pkt *p,
                     const struct ph_addr *peer, ph_ns now)
{
    uint32_t len = p->b.len;
    const struct ph__chan *c = ph__chan_by_peer(a, peer, now);

    if (c) {
        uint8_t *h = ph_pkt_push(p, PH_CHANNEL_HEADER);
        if (!h)
            return PH_E_NOSPACE;
        ph_chandata_write(h, c->number, (uint16_t)len);
    } else {
        int err = wrap_indication(d, p, peer);
        if (err)
            return err;
        a->out_bytes += p->head_len + p->b.len - len - PH_CHANNEL_HEADER;
    }
    if (a->bound && !ph__bound_packet(d, a, PH_BPS_TO_CLIENT, len, now)) {
        a->out_bytes -= p->head_len + p->b.len - len - PH_CHANNEL_HEADER;
        ph__usage_peer(d, slot_of(p->sock), len);
        return PH_DROP;
    }
    d->stats.to_client_packets++;
    d->stats.to_client_bytes += len;
    a->to_client_packets++;
    a->to_client_bytes += len;
    if ((a->usage_left -= 2) <= 0)
        ph__usage_relayed(d, slot_of(p->sock), PH_BPS_TO_CLIENT, p->head_len + p->b.len);
    p->dst = a->client;
    p->sock = a->listener;
    p->conn = a->conn;
    return PH_SEND;
}

/* The allocation whose relay socket this is, if it is up and its client can be reached. */
static inline struct ph__alloc *by_relay(const struct ph_turnd *d, uint32_t sock)
{
    uint32_t slot = (sock & ~PH_SOCK_RELAY) >> 1;
    struct ph__alloc *a = slot < d->chunks * PH__CHUNK ? ph__alloc_at(d, slot) : NULL;
    return a && a->reachable && a->leg[sock & 1].state == PH__LEG_UP ? a : NULL;
}

/* A packet for nobody, or for a client that is away. */
static int drop_unreachable(struct ph_turnd *d, uint32_t sock)
{
    uint32_t slot = (sock & ~PH_SOCK_RELAY) >> 1;
    if (slot < d->chunks * PH__CHUNK && ph__alloc_at(d, slot)->away)
        ph__alloc_at(d, slot)->dropped++;
    d->stats.no_allocation++;
    return PH_DROP;
}

int ph__on_peer(struct ph_turnd *d, struct ph_pkt *p, ph_ns now)
{
    enum {
        MAX_WRAPPED = 65535 - 20 - 24 - 8
    }; /* what a Data indication from an IPv6 peer can carry */
    struct ph__alloc *a = by_relay(d, p->sock);
    struct ph_addr peer = p->src;

    if (!a)
        return p->sock & PH_SOCK_POOL ? ph__pool_on_peer(d, p, now) : drop_unreachable(d, p->sock);
    if (p->b.len > MAX_WRAPPED)
        return ph__drop_from_peer(d, p->sock, p->b.len, &d->stats.malformed);
    if (d->has_external)
        ph__peer_to_public(d, &peer);
    const struct ph__perm *perm = ph__perm_find(a, &peer, now);
    if (!perm)
        return ph__drop_from_peer(d, p->sock, p->b.len, &d->stats.no_permission);
    if (perm->own && !ph__peer_port_ok(d, a->realm, perm, &peer))
        return ph__drop_from_peer(d, p->sock, p->b.len, &d->stats.forbidden_peer);
    return to_client(d, a, p, &peer, now);
}

/* RFC 8656 11.5: which ICMP messages a client is told of. */
static bool icmp_is_told(const struct ph_addr *peer, uint8_t type)
{
    enum {
        V4_UNREACHABLE = 3,
        V4_TIME_EXCEEDED = 11,
        V6_UNREACHABLE = 1,
        V6_TOO_BIG = 2,
        V6_TIME = 3
    };
    if (peer->family == PH_AF_INET)
        return type == V4_UNREACHABLE || type == V4_TIME_EXCEEDED;
    return type == V6_UNREACHABLE || type == V6_TOO_BIG || type == V6_TIME;
}

int ph_turnd_icmp(struct ph_turnd *d, uint32_t sock, const struct ph_addr *peer, uint8_t type,
                  uint8_t code, uint32_t data, struct ph_pkt *out, ph_ns now)
{
    struct ph_addr shown = *peer;
    struct ph_attr_value v = {0};
    uint8_t txid[PH_TXID_LEN];
    struct ph_msgw w;

    if (d->has_external)
        ph__peer_to_public(d, &shown);
    if (sock & PH_SOCK_POOL)
        sock = ph__pool_sock(d, sock, &shown, now);
    struct ph__alloc *a = by_relay(d, sock);
    if (!a || !icmp_is_told(peer, type) || !ph__perm_find(a, &shown, now))
        return PH_DROP;
    d->env.rand(d->env.ctx, txid, sizeof txid);
    ph_msgw_begin(&w, ph_buf_data(&out->b), out->b.cap - out->b.off, PH_DATA_METHOD, PH_INDICATION,
                  txid);
    ph_msgw_addr(&w, PH_ATTR_XOR_PEER_ADDRESS, &shown);
    v.icmp.type = type;
    v.icmp.code = code;
    v.icmp.data = data;
    ph_msgw_attr(&w, PH_ATTR_ICMP, &v);
    int n = ph_msgw_end(&w);
    if (n < 0)
        return n;
    out->b.len = (uint32_t)n;
    out->dst = a->client;
    out->src = d->c.listener[a->listener].at;
    out->sock = a->listener;
    out->conn = a->conn;
    ph__usage_out(d, slot_of(sock), out->b.len);
    d->stats.icmp++;
    return PH_SEND;
}
