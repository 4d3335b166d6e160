/*
 * What changes while a server runs: other users, policies and limits, and users that are thrown out.
 *
 * A reload drops no session that the new configuration lets stand.  Each allocation is taken over in the same
 * order: its realm is found again by name (or it ends), its place in the quota moves if the quota has, permissions and
 * channels that are forbidden by now end, bounds are set anew.  Its key is looked up at its next request (authn.c).
 */
#include "turn/server_priv.h"

#include "stun/base/error.h"
#include "stun/codec/algs.h"

enum { GONE = 0xFF };

/* Only what every user of every realm can use may be offered, or clients would pick a way that fails: users in a
 * database have MD5 keys alone, and neither theirs nor a token's kid is known beforehand by its hash. */
unsigned ph__features(const struct ph_turnd_conf *c)
{
    bool sha256 = c->live.auth && !c->userdb && ph_auth_has_sha256(c->live.auth);
    bool userhash =
        sha256 && ph_auth_has_userhash(c->live.auth) && !(c->oauth_server && c->live.n_oauth);

    for (unsigned i = 0; i < c->live.n_realms; i++) {
        sha256 = sha256 && ph_auth_has_sha256(c->live.realm[i].auth);
        userhash = userhash && ph_auth_has_userhash(c->live.realm[i].auth);
    }
    return !sha256    ? 0
           : userhash ? PH_FEATURE_PASSWORD_ALGORITHMS | PH_FEATURE_USERNAME_ANONYMITY
                      : PH_FEATURE_PASSWORD_ALGORITHMS;
}

bool ph__live_is_complete(const struct ph_turnd_live *live)
{
    if (!live->acl || live->n_realms > PH_TURND_REALMS || live->n_forbidden > PH_TURND_FORBIDDEN ||
        live->n_alternates > PH_TURND_ALTERNATES || (live->n_realms && !live->auth) ||
        (live->n_oauth && !live->oauth) || (live->n_nodes && !live->node))
        return false;
    for (unsigned i = 0; i < live->n_realms; i++)
        if (!live->realm[i].auth)
            return false;
    return true;
}

/* ---- reload ---- */

/* The number that a user's realm has by now, or GONE. */
static uint8_t realm_now(const struct ph_turnd *d, const struct ph__user *u)
{
    uint8_t realm;

    if (!d->c.live.auth || !u)
        return 0;
    return ph__realm_named(d, ph__user_realm(u), &realm) ? GONE : realm;
}

static void map_users(struct ph_turnd *d)
{
    for (uint32_t i = 0; i < d->users; i++)
        if (d->user[i])
            d->user[i]->realm = realm_now(d, d->user[i]);
}

static void move_quota(struct ph__alloc *a, struct ph_quota *was, struct ph_quota *is)
{
    if (was == is || !a->counted)
        return;
    ph_quota_release(was, ph__user_id(a->user));
    if (is)
        ph_quota_carry(is, ph__user_id(a->user));
    a->counted = is != NULL;
}

/* Is this permission still good?  One for an own relay address is, as live relays always may be talked to; packets to
 * other ports of the address are looked at one by one. */
static bool still_permitted(const struct ph_turnd *d, const struct ph__alloc *a, struct ph__perm *p)
{
    struct ph__perm fresh = {.expires_at = p->expires_at};
    struct ph_addr peer = {.family = p->family, .proto = PH_UDP};

    memcpy(peer.ip, p->ip, sizeof peer.ip);
    int err = ph__peer_check(d, a->realm, &peer, &fresh);
    *p = fresh;
    return !err || ph__peer_is_relay(d, &peer);
}

/* Lets permissions, channels and TCP connections end that would not be given any more.  A channel to an own relay address
 * stays even if no relay is there: it may be one that is about to be restored, and each packet is looked at anyway. */
static void recheck_peers(struct ph_turnd *d, uint32_t slot, ph_ns now)
{
    struct ph__alloc *a = ph__alloc_at(d, slot);

    for (unsigned i = 0; i < a->n_perm; i++) {
        if (still_permitted(d, a, &a->perm[i]))
            continue;
        a->perm[i].expires_at = ph_min_ns(a->perm[i].expires_at, now);
        (void)ph__pool_permit(d, a, &a->perm[i], now); /* to end one needs no memory */
    }
    for (unsigned i = 0; i < a->n_chan; i++) {
        struct ph__perm unused = {0};
        if (ph__peer_check(d, a->realm, &a->chan[i].peer, &unused) &&
            !ph__peer_is_relay(d, &a->chan[i].peer))
            a->chan[i].expires_at = ph_min_ns(a->chan[i].expires_at, now);
    }
    ph__tcp_sweep(d, slot);
}

void ph__live_take_over(struct ph_turnd *d, uint32_t slot, ph_ns now)
{
    struct ph__alloc *a = ph__alloc_at(d, slot);

    recheck_peers(d, slot, now);
    (void)ph__bound_init(d, a, now); /* out of memory: it stays as free as it was */
    ph_ns at = ph__bound_expiry(d, a->user, a->expires_at, now);
    if (a->state == PH__UP && at < a->expires_at)
        (void)ph__alloc_expire_at(d, slot, at); /* it has its place in the heap: this cannot fail */
}

/* Ends an allocation, or lets one that is being opened fail. */
static void throw_out(struct ph_turnd *d, uint32_t slot)
{
    struct ph__alloc *a = ph__alloc_at(d, slot);

    if (a->state == PH__UP)
        ph__alloc_end(d, slot, PH_END_REVOKED);
    else if (a->state == PH__OPENING)
        a->code = 500;
}

/* The quota of each realm, as numbered by the old configuration. */
struct quotas {
    struct ph_quota *of[PH_TURND_REALMS + 1];
};

static void remember_quotas(const struct ph_turnd *d, struct quotas *q)
{
    for (unsigned i = 0; i <= PH_TURND_REALMS; i++)
        q->of[i] = ph__realm_quota(d, (uint8_t)i);
}

void ph_turnd_reload(struct ph_turnd *d, const struct ph_turnd_live *live, ph_ns now)
{
    struct quotas old;

    if (!ph__live_is_complete(live)) {
        ph_logf(&d->env, PH_LOG_ERROR, "a configuration that is not complete was not loaded");
        return;
    }
    remember_quotas(d, &old);
    d->c.live = *live;
    d->c.nonce.features = ph__features(&d->c);
    d->auth_epoch++;
    memset(d->auth_nth, 0, sizeof d->auth_nth);
    map_users(d);
    for (uint32_t slot = 0; slot < d->chunks * PH__CHUNK; slot++) {
        struct ph__alloc *a = ph__alloc_at(d, slot);
        if (a->state == PH__FREE)
            continue;
        uint8_t realm = a->user ? a->user->realm : 0;
        struct ph_quota *was = old.of[a->realm];
        a->realm = realm == GONE ? 0 : realm;
        move_quota(a, was, ph__realm_quota(d, a->realm));
        if (realm == GONE)
            throw_out(d, slot);
        else if (a->state != PH__DEAD)
            ph__live_take_over(d, slot, now);
    }
}

void ph_turnd_set_fleet(struct ph_turnd *d, const struct ph_addr *alternate, unsigned n,
                        const struct ph_turnd_node *node, unsigned n_nodes)
{
    struct ph_turnd_live *live = &d->c.live;

    live->n_alternates = n < PH_TURND_ALTERNATES ? n : PH_TURND_ALTERNATES;
    for (unsigned i = 0; i < live->n_alternates; i++)
        live->alternate[i] = alternate[i];
    live->node = node;
    live->n_nodes = n_nodes;
}

/* ---- revoke ---- */

static bool is_user(const struct ph__user *u, struct ph_slice realm, struct ph_slice name)
{
    return u && (realm.n == 0 || ph_slice_eq(ph__user_realm(u), realm)) &&
           (ph_slice_eq(ph__user_name(u), name) ||
            (!u->oauth && ph_slice_eq(ph__user_id(u), name)));
}

unsigned ph_turnd_revoke(struct ph_turnd *d, struct ph_slice realm, struct ph_slice user, ph_ns now)
{
    unsigned n = 0;

    (void)now;
    if (d->c.userdb && user.n)
        ph_userdb_forget(d->c.userdb, realm, user);
    for (uint32_t slot = 0; slot < d->chunks * PH__CHUNK; slot++) {
        struct ph__alloc *a = ph__alloc_at(d, slot);
        if ((a->state != PH__UP && a->state != PH__OPENING) || !is_user(a->user, realm, user))
            continue;
        throw_out(d, slot);
        n++;
    }
    return n;
}
