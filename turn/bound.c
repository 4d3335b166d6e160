/*
 * What bounds one allocation: bandwidth, new peers, and the end of its user's credential.
 *
 * Which bandwidth holds: the user's own (his record, or the parameters of his REST name) if he has one, else the
 * smaller of the realm's and the server's.  Besides it the server's capacity is shared by all (turn/bps.h), and what a
 * user's sessions have together is bounded (turn/userbps.h).
 *
 * New peers are paid from a token bucket, so that a relay is no port scanner: `new_peers_burst` at once, then
 * `new_peers_rate` a second.  A peer that has a permission already costs nothing.
 */
#include "turn/server_priv.h"

#include "stun/base/error.h"

#include <stdlib.h>

enum { MILLI = 1000 };

static uint64_t full_of_peers(const struct ph_turnd *d)
{
    return (uint64_t)d->c.live.new_peers_burst * MILLI;
}

/* Whether it is bounded together with its user's other sessions. */
static bool is_shared(const struct ph_turnd *d, const struct ph__alloc *a)
{
    return d->c.userbps && a->user && ph_userbps_bound(d->c.userbps);
}

static int init_shared(struct ph_turnd *d, struct ph__alloc *a, ph_ns now)
{
    struct ph_userbps_session *s = &a->bound->user;

    if (!is_shared(d, a)) {
        ph_userbps_leave(s);
        return 0;
    }
    return s->user ? 0
                   : ph_userbps_join(d->c.userbps, s, ph__user_realm(a->user), ph__user_id(a->user),
                                     now);
}

int ph__bound_init(struct ph_turnd *d, struct ph__alloc *a, ph_ns now)
{
    uint64_t own = a->user ? a->user->max_bps : 0;
    uint64_t max_bps = own ? own : ph__realm_max_bps(d, a->realm);

    if (!a->bound) {
        if (!max_bps && !d->c.bps && !d->c.live.new_peers_burst && !is_shared(d, a))
            return 0;
        a->bound = calloc(1, sizeof *a->bound);
        if (!a->bound)
            return PH_E_NOMEM;
        a->bound->peers_at = now;
        a->bound->new_peers = full_of_peers(d);
    }
    a->bound->max_bps = max_bps;
    return init_shared(d, a, now);
}

void ph__bound_free(struct ph__alloc *a)
{
    if (a->bound)
        ph_userbps_leave(&a->bound->user);
    free(a->bound);
    a->bound = NULL;
}

bool ph__bound_take(struct ph_turnd *d, struct ph__bound *b, enum ph_bps_way way, uint32_t n,
                    ph_ns now)
{
    if (b->user.user && !ph_userbps_take(&b->user, way, n, now))
        return false;
    if (ph_bps_take(d->c.bps, &b->bps, way, b->max_bps, n, now))
        return true;
    if (b->user.user)
        ph_userbps_untake(&b->user, way, n);
    return false;
}

bool ph__bound_packet(struct ph_turnd *d, struct ph__alloc *a, enum ph_bps_way way, uint32_t n,
                      ph_ns now)
{
    if (ph__bound_take(d, a->bound, way, n, now))
        return true;
    d->stats.over_bps++;
    a->dropped++;
    return false;
}

/* Thousandths of a peer since the last time, in steps of a microsecond and of an hour at most: no overflow.  What is
 * less than a thousandth is left for the next time. */
static uint64_t earn_peers(struct ph__bound *b, uint32_t rate, ph_ns now)
{
    ph_ns span = ph_min_ns(now - b->peers_at, PH_SEC(3600));
    uint64_t earned = span > 0 ? (uint64_t)(span / PH_US(1)) * rate / MILLI : 0;

    if (span < 0)
        b->peers_at = now;
    if (earned)
        b->peers_at += PH_US((earned * MILLI + rate - 1) / rate);
    return earned;
}

bool ph__bound_peers(struct ph_turnd *d, struct ph__alloc *a, unsigned n, ph_ns now)
{
    struct ph__bound *b = a->bound;
    uint64_t full = full_of_peers(d);

    if (!b || !full || !n)
        return true;
    b->new_peers += earn_peers(b, d->c.live.new_peers_rate, now);
    if (b->new_peers > full)
        b->new_peers = full;
    if (b->new_peers < (uint64_t)n * MILLI) {
        d->stats.over_peers++;
        return false;
    }
    b->new_peers -= (uint64_t)n * MILLI;
    return true;
}

static bool ends_with_credential(const struct ph_turnd *d, const struct ph__user *u)
{
    return u && u->expires_s != INT64_MAX && (u->oauth || d->c.live.strict_expiry);
}

ph_ns ph__bound_expiry(const struct ph_turnd *d, const struct ph__user *u, ph_ns at, ph_ns now)
{
    if (!ends_with_credential(d, u))
        return at;
    int64_t left = u->expires_s - ph__wall(d, now);
    if (left <= 0)
        return ph_min_ns(at, now);
    /* Seconds of the wall clock begin at wall_at. */
    return left > (at - now) / PH_SEC(1) + 1
               ? at
               : ph_min_ns(at, now + PH_SEC(left) - (now - d->wall_at) % PH_SEC(1));
}

enum ph_turnd_reason ph__bound_reason(const struct ph_turnd *d, const struct ph__alloc *a,
                                      ph_ns now)
{
    return ends_with_credential(d, a->user) && a->user->expires_s <= ph__wall(d, now)
               ? PH_END_CREDENTIAL
               : PH_END_EXPIRED;
}
