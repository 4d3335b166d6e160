/*
 * The keys of nonces and mobility tickets: of the fleet, where there is a fleet-key, else this server's own.
 *
 * Those of a fleet follow from its secrets and the day, so every node has the same without a word: a nonce or ticket that one
 * of them gave out is good at the others.  What the others may still use is accepted as well: yesterday's key, and those of the other
 * secrets while they are being changed.
 */
#ifndef PH_TURND_KEYS_H
#define PH_TURND_KEYS_H

#include "cmd/turnd/conf.h"

/* Makes the keys for a time (seconds since 1970).  `was`: those until now, of which a server without fleet-key keeps what it
 * has made up; n_tickets = 0: it has none yet. */
void ph_tkeys_make(struct ph_turnd_keys *k, const struct ph_tconf *c,
                   const struct ph_turnd_keys *was, const struct ph_env *env, int64_t unix_s);

#endif
