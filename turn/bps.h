/*
 * Bandwidth: a bound for each session (max-bps) and one for the server that sessions share fairly (bps-capacity).
 *
 * Bytes are payload as relayed, counted for each direction (from the client, to the client) on its own.  A session has a
 * token bucket per direction that holds a second's worth; a packet larger than that passes when it is full.  The capacity
 * is shared: while there is enough, nobody is held back; when there is not, every session gets the same share, and what
 * light sessions leave goes to the heavy ones (max-min).  The share is found by a controller that looks at what was wanted
 * and what was let through in the last tenth of a second, over all workers; it costs a few atomic words and no lock.
 *
 * Packets beyond the bound are dropped and counted, on streams too: a connection is never stalled or ended for it.
 */
#ifndef PH_TURN_BPS_H
#define PH_TURN_BPS_H

#include "stun/base/time.h"

#include <stdbool.h>
#include <stdint.h>

enum ph_bps_way { PH_BPS_FROM_CLIENT, PH_BPS_TO_CLIENT };

/* Shared by the workers. */
struct ph_bps;

/* capacity: bytes a second of the server in each direction, 0: no bound.  NULL when out of memory. */
struct ph_bps *ph_bps_new(uint64_t capacity);
void ph_bps_free(struct ph_bps *b);
/* Another capacity, from now on. */
void ph_bps_set_capacity(struct ph_bps *b, uint64_t capacity);
/* What a session may have at the moment, bytes a second; UINT64_MAX: as much as it wants.  For metrics. */
uint64_t ph_bps_share(const struct ph_bps *b, enum ph_bps_way way);

/* A session's own part: embed it, zeroed. */
struct ph_bps_session {
    int64_t tokens[2];  /* bytes of its own bound */
    ph_ns at[2];        /* when they were counted */
    int64_t share[2];   /* bytes of its share of the capacity */
    ph_ns share_at[2];  /* when they were counted */
    uint64_t wanted[2]; /* bytes in this window */
    uint32_t window[2]; /* the last window it was counted as active in */
    bool heavy[2];      /* refused something in that window */
};

/* May a session pass n bytes?  own: its own bound in bytes a second (0: none).  b may be NULL. */
bool ph_bps_take(struct ph_bps *b, struct ph_bps_session *s, enum ph_bps_way way, uint64_t own,
                 uint32_t n, ph_ns now);

#endif
