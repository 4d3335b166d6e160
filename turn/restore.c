/*
 * Allocations from records.
 *
 *     record -> checked against the configuration of now -> OPENING, restored -> RELAY_OPEN ... -> UP, or nothing
 *
 * A record is no better than any other input: whoever can write the store, or an older version of this program, may have
 * made it.  What it claims is held to what a request could have got: lifetimes to their maxima, lists to their bounds, peers to
 * the policy of now.  It can take a relay port that is free, and a five-tuple that is free, but nothing from anybody.
 */
#include "turn/server_priv.h"

#include "stun/base/error.h"
#include "turn/chandata.h"

#include <stdlib.h>
#include <string.h>

/* ---- where it belongs ---- */

static bool is_stream(uint8_t proto)
{
    return proto == PH_TCP || proto == PH_TLS;
}

/* How well a listener fits an address, 0: not at all.  One on a wildcard has all addresses of its family. */
static unsigned fit(const struct ph_addr *own, const struct ph_addr *at)
{
    if (own->port != at->port || own->family != at->family ||
        is_stream(own->proto) != is_stream(at->proto))
        return 0;
    return ph_addr_eq(own, at) ? 3 : ph_addr_eq_ip(own, at) ? 2 : ph_addr_is_any(own) ? 1 : 0;
}

/* The listener that is at an address, or PH__NONE. */
static uint32_t listener_at(const struct ph_turnd *d, const struct ph_addr *at)
{
    uint32_t found = PH__NONE;
    unsigned best = 0;

    for (uint32_t i = 0; i < d->c.n_listeners; i++) {
        const unsigned now = fit(&d->c.listener[i].at, at);
        if (now > best) {
            best = now;
            found = i;
        }
    }
    return found;
}

static uint32_t relay_at(const struct ph_turnd *d, const struct ph_addr *at)
{
    for (uint32_t i = 0; i < d->c.n_relays; i++)
        if (ph_addr_eq_ip(&d->c.relay[i].at, at))
            return i;
    return PH__NONE;
}

/* Fills in what of the record depends on the configuration.  0, PH_E_MISSING or PH_E_STATE. */
static int find_place(struct ph_turnd *d, const struct ph_record *r, struct ph__alloc *a)
{
    a->listener = listener_at(d, &r->listener);
    if (a->listener == PH__NONE || (r->tcp ? d->c.no_tcp_relay : d->c.no_udp_relay) ||
        (r->away && !d->c.mobility) || r->has_user != (d->c.live.auth != NULL) ||
        (r->has_user && ph__realm_named(d, r->realm, &a->realm)))
        return PH_E_MISSING;
    if (ph__session_find(d, r->session) != PH__NONE ||
        (!r->away && ph__tuple_find(d, &r->client, a->listener) != PH__NONE) ||
        (r->serial && ph__mobile_find(d, r->serial) != PH__NONE))
        return PH_E_STATE;
    return 0;
}

/* Takes the port of a relay.  0, PH_E_MISSING or PH_E_STATE. */
static int take_leg(struct ph_turnd *d, const struct ph_addr *at, struct ph__leg *leg)
{
    const uint32_t relay = relay_at(d, at);

    if (relay == PH__NONE)
        return PH_E_MISSING;
    struct ph_ports *ports = d->c.relay[relay].ports;
    if (!ph__pool_has(d, at) && !ph_ports_take_exact(ports, at->port))
        return ph_ports_taken(ports, at->port) ? PH_E_STATE : PH_E_MISSING;
    leg->at = *at;
    leg->relay = (uint8_t)relay;
    leg->state = PH__LEG_OPENING;
    return 0;
}

static int take_legs(struct ph_turnd *d, const struct ph_record *r, struct ph__alloc *a)
{
    int err = 0;

    for (unsigned i = 0; i < 2 && !err; i++) {
        if (r->relay[i].family)
            err = take_leg(d, &r->relay[i], &a->leg[i]);
        else if (r->code[i])
            a->leg[i] = (struct ph__leg){.state = PH__LEG_FAILED, .code = r->code[i]};
    }
    return err;
}

/* ---- what it has ---- */

static struct ph__user *user_of(struct ph_turnd *d, const struct ph_record *r, uint8_t realm)
{
    const struct ph__req q = {
        .d = d,
        .name = r->name,
        .id = r->oauth ? ph__key_id(&r->key) : r->id,
        .key = r->key,
        .realm = realm,
        .max_allocations = r->max_allocations,
        .max_bps = r->max_bps,
        .expires_s = r->cred_expires_s,
        .oauth = r->oauth,
    };
    return ph__user_get(d, &q);
}

/* When something ends, which has `most` left. */
static ph_ns end_of(const struct ph_turnd *d, int64_t unix_ms, uint32_t most_s, ph_ns now)
{
    return ph_min_ns(ph__instant(d, unix_ms), now + PH_SEC(most_s));
}

/* Whether they may have them is looked at when it is up. */
static int take_perms(const struct ph_turnd *d, const struct ph_record *r, struct ph__alloc *a,
                      ph_ns now)
{
    const unsigned most = r->n_perm < d->c.max_permissions ? r->n_perm : d->c.max_permissions;

    if (!most)
        return 0;
    a->perm = calloc(most, sizeof *a->perm);
    if (!a->perm)
        return PH_E_NOMEM;
    a->cap_perm = (uint16_t)most;
    for (unsigned i = 0; i < r->n_perm && a->n_perm < most; i++) {
        const struct ph_record_perm *from = &r->perm[i];
        struct ph__perm *p = &a->perm[a->n_perm];
        p->expires_at = end_of(d, from->expires_ms, d->c.permission_lifetime_s, now);
        memcpy(p->ip, from->ip, sizeof p->ip);
        p->family = from->family;
        if (now < p->expires_at)
            a->n_perm++;
    }
    return 0;
}

static int take_chans(const struct ph_turnd *d, const struct ph_record *r, struct ph__alloc *a,
                      ph_ns now)
{
    const uint16_t max = d->c.channels_5766 ? PH_CHANNEL_MAX_5766 : PH_CHANNEL_MAX;
    const unsigned most = r->n_chan < d->c.max_channels ? r->n_chan : d->c.max_channels;

    if (!most || r->tcp)
        return 0;
    a->chan = calloc(most, sizeof *a->chan);
    if (!a->chan)
        return PH_E_NOMEM;
    a->cap_chan = (uint16_t)most;
    for (unsigned i = 0; i < r->n_chan && a->n_chan < most; i++) {
        const struct ph_record_chan *from = &r->chan[i];
        struct ph__chan *c = &a->chan[a->n_chan];
        c->expires_at = end_of(d, from->expires_ms, d->c.channel_lifetime_s, now);
        c->number = from->number;
        c->peer = from->peer;
        if (now < c->expires_at && c->number <= max)
            a->n_chan++;
    }
    return 0;
}

static int take_tickets(const struct ph_turnd *d, const struct ph_record *r, struct ph__alloc *a)
{
    if (!r->serial || !d->c.mobility)
        return 0;
    a->mobile = calloc(1, sizeof *a->mobile);
    if (!a->mobile)
        return PH_E_NOMEM;
    a->mobile->serial = r->serial;
    a->mobile->before = r->serial_before;
    return 0;
}

/* Counts on from where the last process was; what that has not told of it is not told again. */
static int take_usage(struct ph_turnd *d, const struct ph_record *r, struct ph__alloc *a, ph_ns now)
{
    struct ph_turnd_usage told;
    int err = ph__usage_begin(d, a, now);

    if (!a->usage)
        return err;
    a->usage->in_packets += r->in_packets;
    a->in_bytes += r->in_bytes;
    a->usage->out_packets += r->out_packets;
    a->out_bytes += r->out_bytes;
    a->usage->peer_packets += r->peer_packets;
    a->usage->peer_bytes += r->peer_bytes;
    ph__usage_tell(a, true, &told);
    return 0;
}

/* Everything an allocation has but its place in the tables.  On an error some of it is there. */
static int equip(struct ph_turnd *d, const struct ph_record *r, struct ph__alloc *a, ph_ns now)
{
    a->user = r->has_user ? user_of(d, r, a->realm) : NULL;
    if (r->has_user && !a->user)
        return PH_E_NOMEM;
    a->expires_at =
        ph__bound_expiry(d, a->user, end_of(d, r->expires_ms, d->c.max_lifetime_s, now), now);
    if (a->expires_at <= now)
        return PH_E_TIMEOUT;
    int err = ph__bound_init(d, a, now);
    if (!err && r->tcp)
        err = ph__tcp_init(a);
    if (!err)
        err = take_perms(d, r, a, now);
    if (!err)
        err = take_chans(d, r, a, now);
    if (!err)
        err = take_tickets(d, r, a);
    if (!err)
        err = take_usage(d, r, a, now);
    return err ? err : take_legs(d, r, a);
}

static void unequip(struct ph_turnd *d, struct ph__alloc *a)
{
    for (unsigned i = 0; i < 2; i++)
        ph__leg_release(d, &a->leg[i]);
    free(a->perm);
    free(a->chan);
    free(a->usage);
    ph__bound_free(a);
    ph__tcp_free(a);
    ph__mobile_free(a);
    ph__user_put(d, a->user);
}

/* ---- the whole ---- */

static int restore(struct ph_turnd *d, const struct ph_record *r, uint32_t *slot, ph_ns now)
{
    struct ph__alloc a = {
        .client = r->client,
        .session = r->session,
        .away = r->away,
        .sha256 = r->sha256,
        .fingerprint = r->fingerprint,
        .draft = r->draft,
        .both = r->both,
        .lifetime_s = r->lifetime_s,
        .created_at = ph_min_ns(ph__instant(d, r->created_ms), now),
        .to_peer_packets = r->to_peer_packets,
        .to_peer_bytes = r->to_peer_bytes,
        .to_client_packets = r->to_client_packets,
        .to_client_bytes = r->to_client_bytes,
        .dropped = r->dropped,
        .auth_epoch = d->auth_epoch - 1, /* its key is looked up again */
        .state = PH__OPENING,
        .restored = true,
    };

    memcpy(a.txid, r->txid, sizeof a.txid);
    int err = find_place(d, r, &a);
    if (err)
        return err;
    err = equip(d, r, &a, now);
    if (!err)
        err = ph__alloc_adopt(d, &a, slot);
    if (err)
        unequip(d, &a);
    return err;
}

/* Asks for the socket of a leg; a port of the pool is open already. */
static void open_leg(struct ph_turnd *d, uint32_t slot, unsigned i)
{
    struct ph__alloc *a = ph__alloc_at(d, slot);

    if (!ph__pool_has(d, &a->leg[i].at)) {
        ph__alloc_event(d, slot, (uint8_t)(PH__EV_OPEN << i));
    } else if (ph__pool_join(d, slot, i)) {
        ph__leg_release(d, &a->leg[i]);
        a->code = 508;
    }
}

/* Counts it, and asks for its sockets. */
static void begin(struct ph_turnd *d, uint32_t slot, ph_ns now)
{
    struct ph__alloc *a = ph__alloc_at(d, slot);
    struct ph_quota *quota = ph__realm_quota(d, a->realm);

    ph__session_seen(d, a->session);
    if (quota)
        ph_quota_carry(quota, ph__user_id(a->user));
    a->counted = quota != NULL;
    for (unsigned i = 0; i < 2; i++)
        if (a->leg[i].state == PH__LEG_OPENING)
            open_leg(d, slot, i);
    if (a->leg[0].state != PH__LEG_OPENING && a->leg[1].state != PH__LEG_OPENING)
        ph__restore_finish(d, slot, now);
}

int ph_turnd_restore(struct ph_turnd *d, struct ph_slice record, uint32_t *id, ph_ns now)
{
    struct ph_record_room room;
    struct ph_record r;
    uint32_t slot;

    int err = ph_record_read(&r, &room, record);
    if (!err) {
        err = restore(d, &r, &slot, now);
        ph_wipe(&r.key, sizeof r.key);
    }
    if (err) {
        d->stats.not_restored++;
        return err;
    }
    begin(d, slot, now);
    *id = slot;
    return 0;
}

void ph__restore_finish(struct ph_turnd *d, uint32_t slot, ph_ns now)
{
    struct ph__alloc *a = ph__alloc_at(d, slot);

    if (a->code || ph__alloc_expire_at(d, slot, a->expires_at)) {
        d->stats.not_restored++;
        ph__alloc_end(d, slot, PH_END_LOST); /* it has not been up: no event */
        return;
    }
    a->state = PH__UP;
    a->was_up = true;
    a->reachable = !a->away;
    d->stats.restored++;
    ph__alloc_event(d, slot, PH__EV_UP);
    ph__live_take_over(d, slot, now);
    ph__pool_restored(d, a, now);
    ph__stray_add(d, slot);
    ph__changed(d, slot);
}
