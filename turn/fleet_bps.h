/*
 * The bandwidth of a user who is on several nodes: what fleet.h and userbps.h have to do with each other.
 *
 * About once a second, for each user of whom ph_userbps_each tells: his demand here goes out with the next notes if it is at
 * least a quarter of his bound (who wants less leaves it to the others without a word), and this node's share of the bound is
 * set by what the others said.  No I/O.
 */
#ifndef PH_TURN_FLEET_BPS_H
#define PH_TURN_FLEET_BPS_H

#include "turn/fleet.h"
#include "turn/userbps.h"

enum {
    PH_FLEET_BPS_TOLD = 4
}; /* the part of a bound from which on demand is told: one of so many */

/* What comes of a user's demand here. */
void ph_fleet_bps(struct ph_fleet *f, struct ph_userbps *u, const struct ph_userbps_demand *d,
                  ph_ns now);

/* What comes of a PH_FLEET_RATES: where the others want nothing any more, all of the bound is ours again. */
void ph_fleet_bps_heard(struct ph_userbps *u, const struct ph_fleet_ev *ev);

#endif
