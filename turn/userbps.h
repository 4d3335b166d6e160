/*
 * Bandwidth of a user: a bound for all his sessions together, on all workers (user-max-bps), beside what bounds each session
 * (bps.h).
 *
 * Bytes are payload as relayed, each direction on its own.  A user is a realm and the part of a name that quotas count.  He has
 * a token bucket for each direction that holds a second's worth; a packet larger than that passes when it is full.  The
 * bucket is one atomic word, so a packet costs one atomic operation, and nothing while there is no bound.
 *
 * On several nodes a user has a bucket on each, and the nodes share his bound by what he wants on them.  About once a second
 * each node asks for the demand (ph_userbps_each), tells it to the others, and sets the part of the bound that it may give him
 * (ph_userbps_set_share) to
 *
 *     bound * demand here / demand everywhere,  but at least bound / 32                        (ph_userbps_fair)
 *
 * The least lets him begin on a node where he has been silent; with N nodes he gets at most 1 + N/32 times his bound, and as
 * soon as the others know, his bound.  Demand is what he would send if he were not bound as a user: what passed, and what this
 * bound refused.  A node that hears nothing of the others gives him all of it.
 *
 * A user's record stays for a while when his last session has ended, at least until his buckets are full again: who comes
 * back at once has what he had left.
 *
 * Shared by the workers: users are added and removed under a lock that is held for some instructions, everything else is
 * atomic words.  Memory is a fixed index, and a record for each user.
 */
#ifndef PH_TURN_USERBPS_H
#define PH_TURN_USERBPS_H

#include "stun/base/env.h"
#include "stun/base/slice.h"
#include "stun/base/time.h"
#include "turn/bps.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    PH_USERBPS_REALM =
        763, /* bytes of a realm (RFC 8489 14.9), and of a user's name (14.3), at most */
    PH_USERBPS_NAME = 513,
    PH_USERBPS_LEAST = 32 /* of the bound: what a node may always give */
};

struct ph_userbps;
struct ph_userbps_user;

/* bound: bytes a second of a user in each direction, 0: none.  users: how many may have sessions at a time (0: 65536; 8
 * bytes each, and some 150 of those that have or had).  NULL when out of memory. */
struct ph_userbps *ph_userbps_new(uint64_t bound, uint32_t users, const struct ph_env *env);
/* When no session is in it any more. */
void ph_userbps_free(struct ph_userbps *u);

/* Another bound, from now on. */
void ph_userbps_set_bound(struct ph_userbps *u, uint64_t bound);
uint64_t ph_userbps_bound(const struct ph_userbps *u);

/* A session's own part: embed it, zeroed.  One thread at a time. */
struct ph_userbps_session {
    struct ph_userbps_user *user; /* NULL: not bounded this way */
    uint64_t wanted[2];           /* bytes that the user's record does not know of yet */
    ph_ns told_at;
};

/* A session of a user begins, which has been in no table.  0; PH_E_LIMIT: there are too many users, or the name is too long;
 * PH_E_NOMEM. */
int ph_userbps_join(struct ph_userbps *u, struct ph_userbps_session *s, struct ph_slice realm,
                    struct ph_slice user, ph_ns now);
/* It ends; nothing if it is in no table. */
void ph_userbps_leave(struct ph_userbps_session *s);

/* May a session that is in a table pass n bytes? */
bool ph_userbps_take(struct ph_userbps_session *s, enum ph_bps_way way, uint32_t n, ph_ns now);
/* They did not pass after all, for another reason. */
void ph_userbps_untake(struct ph_userbps_session *s, enum ph_bps_way way, uint32_t n);

/* --- sharing a bound among nodes -------------------------------------------------------------------- */

struct ph_userbps_demand {
    uint8_t realm[PH_USERBPS_REALM], user[PH_USERBPS_NAME];
    size_t realm_n, user_n;
    uint64_t wanted[2]; /* bytes a second, by way, since this user was last looked at */
};

/* Steps through the users that have wanted something since they were last looked at, or the time before (so that a user who
 * falls silent is told of once, with 0): *at starts at 0.  False at the end.  One thread; beginning again within 100 ms gives
 * rough numbers.  Users that come or go meanwhile may be missed. */
bool ph_userbps_each(struct ph_userbps *u, uint32_t *at, struct ph_userbps_demand *out, ph_ns now);

/* What this node may give a user, bytes a second; 0, or more than the bound: all of it.  Holds as long as
 * the user's record.  0, or PH_E_MISSING: there is none.  Any thread. */
int ph_userbps_set_share(struct ph_userbps *u, struct ph_slice realm, struct ph_slice user,
                         enum ph_bps_way way, uint64_t share);

/* The share by the rule above, of what is wanted here and on all other nodes. */
uint64_t ph_userbps_fair(uint64_t bound, uint64_t here, uint64_t elsewhere);

#endif
