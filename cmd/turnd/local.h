/*
 * Addresses that come to this machine while the server runs: those of other nodes, when these are gone (keepalived and
 * its like).
 *
 * The kernel tells of them (netlink).  Where it may not, and lest a message be missed, they are looked at every second.
 */
#ifndef PH_TURND_LOCAL_H
#define PH_TURND_LOCAL_H

#include "cmd/turnd/plan.h"

#include <uv.h>

struct ph_tlocal;

/* Begins to watch the addresses that a plan listens on and relays from.  come(ctx, ip) is called on the loop for each that
 * was not there before.  NULL when out of memory. */
struct ph_tlocal *ph_tlocal_new(uv_loop_t *loop, const struct ph_tplan *plan,
                                void (*come)(void *ctx, const struct ph_addr *ip), void *ctx);

/* Whether one of them is away, or was since the last call. */
bool ph_tlocal_was_away(struct ph_tlocal *l);

/* No more calls.  To be called while the loop can still run.  NULL: nothing. */
void ph_tlocal_stop(struct ph_tlocal *l);

/* When the loop is closed.  NULL: nothing. */
void ph_tlocal_free(struct ph_tlocal *l);

#endif
