/*
 * Whether what another node has signed is news: who can write to Redis, but has no fleet-key, can still show again what a node
 * wrote before, or hold it back.
 *
 * Nodes stamp what they write with their clock, ever later.  Here is kept what each wrote last; what is not later than that is
 * old, and so is what is far from our own clock, for what came before we started is not known.
 *
 * Plain data, without I/O.
 */
#ifndef PH_TURND_FRESH_H
#define PH_TURND_FRESH_H

#include "stun/base/slice.h"
#include "turn/fleet.h"

#include <stdint.h>

enum {
    PH_TFRESH_S = 120,                   /* so far clocks of nodes may be apart */
    PH_TFRESH_NODES = PH_FLEET_NODES + 1 /* whose last words are kept: with our own */
};

/* What of a node: each has stamps of its own. */
enum ph_tfresh_what { PH_TFRESH_ENTRY, PH_TFRESH_NOTE };

enum ph_tfresh_verdict {
    PH_TFRESH_NEWS,
    PH_TFRESH_KNOWN, /* what it wrote last, again */
    PH_TFRESH_OLD,   /* before that */
    PH_TFRESH_CLOCK  /* its clock and ours are apart, or it is older than that */
};

/* Zero: nothing has been heard. */
struct ph_tfresh {
    struct {
        char node[PH_FLEET_NAME];
        int64_t at_ms[2];
    } seen[PH_TFRESH_NODES];
};

/* Judges what a node (of a name that fits) has signed, and remembers it if it is news.  at_ms: its stamp, now_ms: our clock, both
 * unix time.  With too many nodes the one that has been silent for longest is forgotten. */
enum ph_tfresh_verdict ph_tfresh(struct ph_tfresh *t, struct ph_slice node,
                                 enum ph_tfresh_what what, int64_t at_ms, int64_t now_ms);

/* The next stamp of our own: now, or just after the last one, whatever the clock did.  *last is set to it. */
int64_t ph_tfresh_stamp(int64_t *last, int64_t now_ms);

#endif
