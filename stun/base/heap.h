/*
 * A min-heap of deadlines: which of many objects is due first.
 *
 * Objects are known by a small index (their slot in a table).  The heap holds {deadline, slot}
 * pairs and tells each object where it sits through a caller's array, so an entry can be moved or
 * removed in O(log n).  PH_NEVER entries are not kept.  Memory: 16 bytes an entry and 4 bytes per
 * slot.
 */
#ifndef PH_BASE_HEAP_H
#define PH_BASE_HEAP_H

#include "stun/base/time.h"

#include <stdint.h>

struct ph_heap_entry {
    ph_ns at;
    uint32_t slot;
};

struct ph_heap {
    struct ph_heap_entry *v; /* v[0] is the earliest */
    uint32_t *pos;           /* pos[slot] = index in v plus 1, or 0 */
    uint32_t n, cap, slots;
};

/* Starts empty; takes no memory until the first ph_heap_set. */
void ph_heap_init(struct ph_heap *h);

/* Frees what the heap owns. */
void ph_heap_fini(struct ph_heap *h);

/* Sets, moves or (PH_NEVER) removes the deadline of a slot.  Returns 0, or PH_E_NOMEM (nothing has
 * changed). */
int ph_heap_set(struct ph_heap *h, uint32_t slot, ph_ns at);

/* The earliest deadline, PH_NEVER when empty. */
static inline ph_ns ph_heap_next(const struct ph_heap *h)
{
    return h->n ? h->v[0].at : PH_NEVER;
}

/* Takes the earliest slot if its deadline is at or before now, else returns UINT32_MAX. */
uint32_t ph_heap_pop_due(struct ph_heap *h, ph_ns now);

#endif
