/*
 * A budget for what anybody can draw from us without credentials.
 *
 * A datagram's source may be forged, and then our answer hits a victim.  So answers to unauthenticated
 * requests (Binding, 401, 438, 420 ...) are paid in bytes from a token bucket of the source's address, and
 * from a larger one of its prefix; when either is empty the request is dropped in silence.  A source that
 * then proves who it is gets its cost back, so a large site behind one NAT is not held up.
 *
 * IPv4 inside IPv6 (::ffff:0:0/96, 64:ff9b::/96) counts as the IPv4 address.  Any clock will do: one that
 * jumps ahead fills the buckets, one that jumps back leaves them no emptier than empty.
 *
 * Memory is fixed at creation: buckets live in a table indexed by a keyed hash; two sources that fall into
 * one bucket share it (they can only lose by it what a retransmission recovers).  Loopback is exempt.
 */
#ifndef PH_STUN_BUDGET_H
#define PH_STUN_BUDGET_H

#include "stun/base/addr.h"
#include "stun/base/env.h"
#include "stun/base/time.h"

#include <stdbool.h>
#include <stdint.h>

/* Zero means the default given.  Rates above 10^9 count as 10^9. */
struct ph_budget_conf {
    uint32_t addr_burst;   /* bytes a fresh address (IPv6: /64) may draw at once, 4096 */
    uint32_t addr_rate;    /* bytes a second it earns, 2048 */
    uint32_t prefix_burst; /* the same for its prefix, 32768 */
    uint32_t prefix_rate;  /* 16384 */
    uint8_t prefix4;       /* bits of an IPv4 prefix, 24 */
    uint8_t prefix6;       /* bits of an IPv6 prefix, 48; at most 64 */
    uint32_t buckets;      /* per table, rounded up to a power of two, 16384 (256 kB in all) */
    bool unlimited;        /* never refuse anything (coturn's habit) */
    bool count_loopback;   /* do not exempt loopback (tests) */
};

struct ph_budget;

/* Creates a budget; env is copied.  Returns NULL when out of memory.  One owner thread. */
struct ph_budget *ph_budget_new(const struct ph_budget_conf *c, const struct ph_env *env);
void ph_budget_free(struct ph_budget *b);

/* Pays for an answer of `bytes` to src.  False: over budget, nothing was taken, drop the request.  b NULL: true. */
bool ph_budget_take(struct ph_budget *b, const struct ph_addr *src, uint32_t bytes, ph_ns now);

/* Gives bytes back to a source that authenticated, at most up to a full bucket.  b NULL: nothing. */
void ph_budget_refund(struct ph_budget *b, const struct ph_addr *src, uint32_t bytes, ph_ns now);

#endif
