/*
 * Demand that is told, and shares that are set.
 */
#include "turn/fleet_bps.h"

void ph_fleet_bps(struct ph_fleet *f, struct ph_userbps *u, const struct ph_userbps_demand *d,
                  ph_ns now)
{
    const struct ph_slice realm = {d->realm, d->realm_n}, user = {d->user, d->user_n};
    const uint64_t bound = ph_userbps_bound(u);
    uint64_t others[2];

    if (!bound)
        return;
    if (d->wanted[0] >= bound / PH_FLEET_BPS_TOLD || d->wanted[1] >= bound / PH_FLEET_BPS_TOLD)
        (void)ph_fleet_rate(f, realm, user, d->wanted[0], d->wanted[1]);
    ph_fleet_wanted(f, realm, user, others, now);
    for (unsigned way = 0; way < 2; way++)
        (void)ph_userbps_set_share(u, realm, user, way,
                                   others[way] ? ph_userbps_fair(bound, d->wanted[way], others[way])
                                               : 0);
}

void ph_fleet_bps_heard(struct ph_userbps *u, const struct ph_fleet_ev *ev)
{
    if (!ev->from_client)
        (void)ph_userbps_set_share(u, ev->realm, ev->user, PH_BPS_FROM_CLIENT, 0);
    if (!ev->to_client)
        (void)ph_userbps_set_share(u, ev->realm, ev->user, PH_BPS_TO_CLIENT, 0);
}
