/*
 * The requests on a standing allocation: Refresh (RFC 8656 8, with a ticket RFC 8016 3.2), CreatePermission (10),
 * ChannelBind (12).
 */
#include "turn/server_priv.h"

#include "stun/base/error.h"
#include "turn/chandata.h"

static int lifetime_answer(struct ph__req *r, uint32_t lifetime_s)
{
    struct ph_msgw w;
    ph__reply_begin(r, &w);
    ph_msgw_uint(&w, PH_ATTR_LIFETIME, lifetime_s);
    if (lifetime_s)
        ph__mobile_put(r->d, r->slot, &w);
    return ph__reply_end(r, &w);
}

/* Drops one family of a dual allocation. */
static void drop_leg(struct ph__req *r, unsigned i)
{
    ph__leg_release(r->d, &r->a->leg[i]);
    ph__changed(r->d, r->slot);
    if (!r->a->leg[i].pool)
        ph__alloc_event(r->d, r->slot, (uint8_t)(PH__EV_CLOSE << i));
}

static int release(struct ph__req *r, uint64_t family)
{
    unsigned i = family == PH_AF_INET6;

    ph__tomb_add(r->d, r);
    ph__usage_refreshed(r->d, r->slot, 0);
    if (family && r->a->leg[!i].state == PH__LEG_UP)
        drop_leg(r, i);
    else
        ph__alloc_end(r->d, r->slot, PH_END_RELEASED);
    return lifetime_answer(r, 0);
}

int ph__on_refresh(struct ph__req *r)
{
    uint64_t family = 0;
    uint32_t lifetime_s = ph__lifetime(r->d, &r->m);

    if (!lifetime_s && ph__tomb_find(r->d, r))
        return lifetime_answer(r, 0); /* the same request again: its answer was lost */
    if (ph_msg_has(&r->m, PH_IX_MOBILITY_TICKET)) {
        int verdict = ph__mobile_refresh(r);
        if (verdict != PH_CONSUMED)
            return verdict;
    }
    if (!r->a || r->a->state != PH__UP)
        return ph__reply_error(r, 437);
    if (ph_msg_has(&r->m, PH_IX_REQUESTED_ADDRESS_FAMILY)) {
        if (ph_msg_uint(&r->m, PH_IX_REQUESTED_ADDRESS_FAMILY, &family))
            return ph__reply_error(r, 400);
        if ((family != PH_AF_INET && family != PH_AF_INET6) ||
            r->a->leg[family == PH_AF_INET6].state != PH__LEG_UP)
            return ph__reply_error(r, 443);
    }
    if (!lifetime_s)
        return release(r, family);
    ph_ns at = ph__bound_expiry(r->d, r->a->user, r->now + PH_SEC(lifetime_s), r->now);
    if (ph__alloc_expire_at(r->d, r->slot, at))
        return ph__reply_error(r, 500);
    ph__changed(r->d, r->slot);
    lifetime_s = (uint32_t)((at - r->now + PH_SEC(1) - 1) / PH_SEC(1));
    ph__usage_refreshed(r->d, r->slot, lifetime_s);
    return lifetime_answer(r, lifetime_s);
}

uint16_t ph__peer_code(const struct ph__req *r, const struct ph_addr *peer)
{
    struct ph__perm perm;

    if (!ph__leg_for(r->a, peer))
        return 443;
    if (ph__peer_check(r->d, r->a->realm, peer, &perm)) {
        char text[PH_ADDR_TEXT];
        const char *why = ph_acl_check(ph__realm_acl(r->d, r->a->realm), peer);
        r->d->stats.forbidden_peer++;
        if (ph__refusal_is_logged(r->d, r->now))
            ph_logf(&r->d->env, PH_LOG_INFO, "403 peer %s: %s", ph_addr_text(peer, text),
                    why ? why : "a listener of this server");
        return 403;
    }
    return 0;
}

/* Collects XOR-PEER-ADDRESS attributes, at most max.  Returns their number, or PH_E_FORMAT. */
static int collect_peers(const struct ph__req *r, struct ph_addr *peers, unsigned max)
{
    const struct ph_attr_desc *desc = ph_attr_find(PH_ATTR_XOR_PEER_ADDRESS);
    struct ph_msg_it it = {0};
    struct ph_attr_value v;
    unsigned n = 0;

    while (ph_msg_next(&r->m, &it)) {
        if (it.type != PH_ATTR_XOR_PEER_ADDRESS)
            continue;
        if (ph_attr_decode(desc, it.value.p, it.value.n, ph_msg_txid(&r->m), &v))
            return PH_E_FORMAT;
        if (n == max)
            return PH_E_LIMIT;
        peers[n] = v.addr;
        peers[n++].proto = PH_UDP;
    }
    return n ? (int)n : PH_E_FORMAT;
}

/* Peers without a permission yet, the same one counted once. */
static unsigned new_peers(const struct ph__req *r, const struct ph_addr *peers, unsigned n)
{
    unsigned fresh = 0;

    for (unsigned i = 0; i < n; i++) {
        bool seen = ph__perm_find(r->a, &peers[i], r->now) != NULL;
        for (unsigned k = 0; k < i && !seen; k++)
            seen = ph_addr_eq_ip(&peers[k], &peers[i]);
        fresh += !seen;
    }
    return fresh;
}

int ph__on_create_permission(struct ph__req *r)
{
    enum { MAX_PEERS = 64 };
    struct ph_addr peers[MAX_PEERS];
    struct ph_msgw w;

    if (!r->a || r->a->state != PH__UP)
        return ph__reply_error(r, 437);
    int n = collect_peers(r, peers, MAX_PEERS);
    if (n < 0)
        return ph__reply_error(r, n == PH_E_LIMIT ? 508 : 400);
    for (int i = 0; i < n; i++) {
        uint16_t code = ph__peer_code(r, &peers[i]);
        if (code)
            return ph__reply_error(r, code);
    }
    if (!ph__perm_room(r->d, r->a, peers, (unsigned)n, r->now) ||
        !ph__bound_peers(r->d, r->a, new_peers(r, peers, (unsigned)n), r->now))
        return ph__reply_error(r, 508);
    for (int i = 0; i < n; i++)
        if (ph__perm_set(r->d, r->a, &peers[i], r->now))
            return ph__reply_error(r, 508);
    ph__changed(r->d, r->slot);
    ph__reply_begin(r, &w);
    return ph__reply_end(r, &w);
}

/* RFC 8656 12.2: the number is in range, and number and peer are free or bound to each other. */
static bool binding_fits(const struct ph__req *r, uint64_t number, const struct ph_addr *peer)
{
    uint16_t max = r->d->c.channels_5766 ? PH_CHANNEL_MAX_5766 : PH_CHANNEL_MAX;
    if (number < PH_CHANNEL_MIN || number > max)
        return false;
    const struct ph__chan *by_number = ph__chan_by_number(r->a, (uint16_t)number, r->now);
    const struct ph__chan *by_peer = ph__chan_by_peer(r->a, peer, r->now);
    return by_number == by_peer;
}

int ph__on_channel_bind(struct ph__req *r)
{
    uint64_t number;
    struct ph_addr peer;
    struct ph_msgw w;

    if (!r->a || r->a->state != PH__UP)
        return ph__reply_error(r, 437);
    if (r->a->tcp) /* RFC 6062 3: there are no channels to TCP peers */
        return ph__reply_error(r, 403);
    if (ph_msg_uint(&r->m, PH_IX_CHANNEL_NUMBER, &number) ||
        ph_msg_addr(&r->m, PH_IX_XOR_PEER_ADDRESS, &peer) || !binding_fits(r, number, &peer))
        return ph__reply_error(r, 400);
    peer.proto = PH_UDP;
    uint16_t code = ph__peer_code(r, &peer);
    if (code)
        return ph__reply_error(r, code);
    if (ph__pool_is_taken(r->d, r->a, &peer, r->now)) {
        r->d->stats.pool_conflicts++;
        return ph__reply_why(r, 508, "Another client of this relay port talks to this peer");
    }
    if (!ph__bound_peers(r->d, r->a, new_peers(r, &peer, 1), r->now))
        return ph__reply_error(r, 508);
    if (ph__chan_set(r->d, r->a, (uint16_t)number, &peer, r->now) ||
        ph__pool_bind(r->d, r->a, &peer, r->now))
        return ph__reply_error(r, 508);
    ph__changed(r->d, r->slot);
    ph__reply_begin(r, &w);
    return ph__reply_end(r, &w);
}
