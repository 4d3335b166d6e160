/* What the files of the plan share; for nobody else. */
#ifndef PH_TURND_PLAN_PRIV_H
#define PH_TURND_PLAN_PRIV_H

#include "cmd/turnd/plan.h"

struct ips {
    const struct ph_addr *v;
    unsigned n;
};

/* What clients are told instead of an address; PH_AF_NONE: nothing. */
struct ph_addr ph__tplan_external(const struct ph_tconf *c, const struct ph_addr *ip);

/* Plans the listeners at these addresses, UDP first.  found: the addresses were found on the machine, so that those
 * that are too many may be left out. */
void ph__tplan_listeners(struct ph_tplan *p, struct ph_tconf *c, struct ips ips, bool found);

#endif
