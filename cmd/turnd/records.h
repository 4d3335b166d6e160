/*
 * Records of allocations that were read from a store, and which of them can be restored here.
 */
#ifndef PH_TURND_RECORDS_H
#define PH_TURND_RECORDS_H

#include "cmd/turnd/plan.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    PH_TRECORDS_MAX = 1 << 20,
    PH_TRECORDS_BYTES = 1 << 30 /* of all together: more than any relay has ports for */
};

enum ph_trecord_fit {
    PH_TRECORD_FITS,
    PH_TRECORD_EXPIRED,
    PH_TRECORD_ELSEWHERE, /* its listener or relay address is not ours, or not on this machine now */
    PH_TRECORD_BROKEN,    /* or of another version */
    PH_TRECORD_FITS_N
};

struct ph_trecord {
    uint64_t id;
    struct ph_slice bytes; /* malloc'ed */
    unsigned place;        /* in the order they came */
    enum ph_trecord_fit fit;
};

struct ph_trecords {
    struct ph_trecord *v;
    unsigned n, room;
    size_t bytes;
};

/* Adds a copy.  0, PH_E_LIMIT or PH_E_NOMEM. */
int ph_trecords_add(struct ph_trecords *r, uint64_t id, struct ph_slice bytes);

/* Drops all but the last of those with the same id: a store may give a record twice. */
void ph_trecords_unique(struct ph_trecords *r);

/* Wipes and frees all; the set is empty then. */
void ph_trecords_free(struct ph_trecords *r);

/* Where this server listens and relays, and which of it is on this machine now. */
struct ph_tplace {
    const struct ph_tplan *plan;
    bool (*local)(void *ctx, const struct ph_addr *ip); /* NULL: all is */
    void *ctx;
};

/* Whether a record can be restored here, at unix_ms. */
enum ph_trecord_fit ph_trecord_look(struct ph_slice bytes, const struct ph_tplace *place,
                                    int64_t unix_ms);

/* Looks at all: those that fit come first.  count[] says how many there are of each kind. */
void ph_trecords_sort(struct ph_trecords *r, const struct ph_tplace *place, int64_t unix_ms,
                      unsigned count[static PH_TRECORD_FITS_N]);

#endif
