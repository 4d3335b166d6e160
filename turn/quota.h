/*
 * Quotas that all workers share: allocations in all and for each user.
 *
 * Fixed memory, atomic words, no locks.  A user is known by 48 bits of a keyed hash; the word beside it is the
 * count, so a count that falls to zero frees its place.  What other servers of a fleet have counts too, for who asks for one
 * more.
 */
#ifndef PH_TURN_QUOTA_H
#define PH_TURN_QUOTA_H

#include "stun/base/env.h"
#include "stun/base/slice.h"

#include <stdint.h>

struct ph_quota;

/* total, per_user: allocations allowed, 0: no limit.  users: how many different users can hold allocations at
 * once (16 bytes each; 0: 65536).  NULL when out of memory. */
struct ph_quota *ph_quota_new(uint32_t total, uint32_t per_user, uint32_t users,
                              const struct ph_env *env);
void ph_quota_free(struct ph_quota *q);

/* Counts one more allocation of a user.  Returns 0, or PH_E_LIMIT and counts nothing (STUN error 486). */
int ph_quota_take(struct ph_quota *q, struct ph_slice user);

/* The same with a bound of this user's own, in place of per_user (0: that one). */
int ph_quota_take_of(struct ph_quota *q, struct ph_slice user, uint32_t own);

/* Counts an allocation that stands already and comes from elsewhere (another quota, another name), whatever the
 * bounds. */
void ph_quota_carry(struct ph_quota *q, struct ph_slice user);

/* Other bounds, from now on; allocations that stand are not touched.  Users are counted from the start, whether there is a
 * bound or not. */
void ph_quota_set(struct ph_quota *q, uint32_t total, uint32_t per_user);

/* Undoes one ph_quota_take. */
void ph_quota_release(struct ph_quota *q, struct ph_slice user);

/* Allocations now, of all users. */
uint32_t ph_quota_used(const struct ph_quota *q);

/* Other servers of the fleet have n allocations of this user; they count for his bound from now on.  0: forget it.  One
 * thread (that of the fleet); at most `users` of them are known, the rest is not counted (PH_E_LIMIT). */
int ph_quota_set_elsewhere(struct ph_quota *q, struct ph_slice user, uint32_t n);

/* The same for all users together, for the total. */
void ph_quota_set_total_elsewhere(struct ph_quota *q, uint32_t n);

#endif
