/* Payloads of a TURN client, wrapped and unwrapped in place (RFC 8656 11, 12). */
#include "stun/base/error.h"
#include "turn/client_priv.h"

#include <string.h>

enum {
    ATTR_HEADER = 4,
    SEND_HEAD_V4 = PH_STUN_HEADER + ATTR_HEADER + 8 + ATTR_HEADER,
    SEND_HEAD_V6 = PH_STUN_HEADER + ATTR_HEADER + 20 + ATTR_HEADER
};

/* Zero bytes behind the data up to a multiple of 4.  False: no room. */
static bool room_for_padding(const struct ph_pkt *p, uint32_t pad)
{
    return p->b.off + p->b.len + pad <= p->b.cap;
}

static void add_padding(struct ph_pkt *p, uint32_t pad)
{
    memset(ph_buf_data(&p->b) + p->b.len, 0, pad);
    p->b.len += pad;
}

static int wrap_channel(struct ph_turnc *t, struct ph_pkt *p, const struct ph__tc_chan *ch)
{
    uint32_t len = p->b.len, pad = t->c.reliable ? -len & 3 : 0;
    if (len > UINT16_MAX)
        return PH_E_ARG;
    if (!room_for_padding(p, pad))
        return PH_E_NOSPACE;
    uint8_t *head = NULL;
    add_padding(p, pad);
    if (!(head = ph_pkt_push(p, PH_CHANNEL_HEADER))) {
        p->b.len = len;
        return PH_E_NOSPACE;
    }
    ph_chandata_write(head, ph__tc_chan_number(t, ch), (uint16_t)len);
    return PH_SEND;
}

/* An indication has no answer, so its id need not be unpredictable: random once, then counted
 * up. */
void ph__tc_next_id(struct ph_turnc *t, uint8_t id[static PH_TXID_LEN])
{
    memcpy(id, t->next_id, PH_TXID_LEN);
    ph_put64(t->next_id + 4, ph_get64(t->next_id + 4) + 1);
}

static void write_send(struct ph_turnc *t, uint8_t *head, const struct ph_addr *peer, bool df,
                       uint32_t len)
{
    uint8_t *id = head + 8, *a = head + PH_STUN_HEADER;
    uint16_t addr_len = peer->family == PH_AF_INET6 ? 20 : 8;
    uint32_t body = (df ? 3U : 2U) * ATTR_HEADER + addr_len + ((len + 3) & ~3U);
    struct ph_attr_value v = {.addr = *peer};

    ph_put16(head, ph_stun_type(PH_SEND_METHOD, PH_INDICATION));
    ph_put16(head + 2, (uint16_t)body);
    ph_put32(head + 4, PH_STUN_COOKIE);
    ph__tc_next_id(t, id);
    ph_put16(a, PH_ATTR_XOR_PEER_ADDRESS);
    ph_put16(a + 2, addr_len);
    ph_attr_encode(&ph_attr_table[PH_IX_XOR_PEER_ADDRESS], &v, id, a + ATTR_HEADER, addr_len);
    a += ATTR_HEADER + addr_len;
    if (df) {
        ph_put16(a, PH_ATTR_DONT_FRAGMENT);
        ph_put16(a + 2, 0);
        a += ATTR_HEADER;
    }
    ph_put16(a, PH_ATTR_DATA);
    ph_put16(a + 2, (uint16_t)len);
}

static int wrap_send(struct ph_turnc *t, struct ph_pkt *p, const struct ph_addr *peer)
{
    uint32_t len = p->b.len, pad = -len & 3;
    uint32_t n = peer->family == PH_AF_INET6 ? SEND_HEAD_V6 : SEND_HEAD_V4;
    if (p->dont_fragment)
        n += ATTR_HEADER;
    if (len > PH_STUN_MAX - SEND_HEAD_V6 - ATTR_HEADER)
        return PH_E_ARG;
    if (!room_for_padding(p, pad))
        return PH_E_NOSPACE;
    add_padding(p, pad);
    uint8_t *head = ph_pkt_push(p, n);
    if (!head) {
        p->b.len = len;
        return PH_E_NOSPACE;
    }
    write_send(t, head, peer, p->dont_fragment, len);
    p->dont_fragment = false;
    return PH_SEND;
}

int ph_turnc_wrap(struct ph_turnc *t, struct ph_pkt *p, const struct ph_addr *peer)
{
    if (t->info.state != PH_TURNC_UP)
        return PH_E_STATE;
    uint32_t len = p->b.len;
    int verdict = PH_E_FORBIDDEN;
    const struct ph__tc_chan *ch = p->dont_fragment ? NULL : ph__tc_chan_find(t, peer);
    if (ch && ch->state == PH__TC_CHAN_BOUND)
        verdict = wrap_channel(t, p, ch);
    else if (ph__tc_perm_find(t, peer))
        verdict = wrap_send(t, p, peer);
    if (verdict == PH_SEND) {
        p->dst = t->info.server;
        p->sock = t->c.sock;
        t->sent = true;
        t->stats.to_peer_packets++;
        t->stats.to_peer_bytes += len;
    }
    return verdict;
}

/* --- from the server ---------------------------------------------------------------------- */

static int deliver(struct ph_turnc *t, struct ph_pkt *p, const struct ph_addr *peer)
{
    p->src = *peer;
    t->stats.from_peer_packets++;
    t->stats.from_peer_bytes += p->b.len;
    return PH_DATA;
}

int ph__tc_data_channel(struct ph_turnc *t, struct ph_pkt *p)
{
    uint16_t len;
    uint16_t number = ph_chandata_parse(ph_buf_data(&p->b), p->b.len, &len);
    const struct ph__tc_chan *ch = number ? ph__tc_chan_by_number(t, number) : NULL;
    if (!ch) {
        if (number)
            t->stats.no_channel++;
        else
            t->stats.malformed++;
        return PH_DROP;
    }
    ph_buf_pull(&p->b, PH_CHANNEL_HEADER);
    p->b.len = len;
    return deliver(t, p, &ch->peer);
}

static int take_icmp(struct ph_turnc *t, const struct ph_msg *m, const struct ph_addr *peer)
{
    struct ph_attr_value v;
    if (ph_msg_get(m, PH_IX_ICMP, &v) < 0) {
        t->stats.malformed++;
        return PH_DROP;
    }
    t->stats.icmp++;
    if (t->n_icmp_ev < PH__TC_ICMP)
        t->icmp_ev[t->n_icmp_ev++] =
            (struct ph__tc_icmp_ev){*peer, v.icmp.type, v.icmp.code, v.icmp.data};
    return PH_CONSUMED;
}

int ph__tc_data_indication(struct ph_turnc *t, struct ph_pkt *p, const struct ph_msg *m)
{
    struct ph_addr peer;
    struct ph_slice data;
    if (m->has_unknown || ph_msg_addr(m, PH_IX_XOR_PEER_ADDRESS, &peer) < 0) {
        t->stats.malformed++;
        return PH_DROP;
    }
    peer.proto = PH_UDP;
    if (!ph__tc_perm_find(t, &peer)) { /* RFC 8656 11.4 */
        t->stats.no_permission++;
        return PH_DROP;
    }
    if (ph_msg_bytes(m, PH_IX_DATA, &data) < 0)
        return take_icmp(t, m, &peer);
    p->b.off = (uint32_t)(data.p - p->b.base);
    p->b.len = (uint32_t)data.n;
    return deliver(t, p, &peer);
}
