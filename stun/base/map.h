/*
 * An index from keyed hash to slot number: open addressing, linear probing, no tombstones.
 *
 * The map stores {low 32 bits of hash, slot} and never sees a key: the caller compares its own
 * object when a hash matches.  8 bytes an entry at a load of at most 3/4.  Deletion shifts back, so
 * long-lived tables do not decay.
 *
 *     struct ph_map_it it = ph_map_find(m, h);
 *     for (; it.slot != PH_MAP_NONE; it = ph_map_next(m, it))
 *         if (same(&table[it.slot], key)) ...
 */
#ifndef PH_BASE_MAP_H
#define PH_BASE_MAP_H

#include <stdint.h>

#define PH_MAP_NONE UINT32_MAX

struct ph_map_cell {
    uint32_t hash;
    uint32_t slot; /* PH_MAP_NONE: the cell is free */
};

struct ph_map {
    struct ph_map_cell *cell;
    uint32_t mask; /* cells - 1; 0 while there is no memory */
    uint32_t n;
};

struct ph_map_it {
    uint32_t at, hash, slot;
};

/* Starts empty; takes no memory until the first insertion. */
void ph_map_init(struct ph_map *m);

/* Frees what the map owns. */
void ph_map_fini(struct ph_map *m);

/* Adds an entry (duplicates of a hash are allowed).  Returns 0 or PH_E_NOMEM (unchanged). */
int ph_map_add(struct ph_map *m, uint64_t hash, uint32_t slot);

/* Removes the entry with this hash and slot; does nothing when there is none.  Entries move:
 * iterators die. */
void ph_map_del(struct ph_map *m, uint64_t hash, uint32_t slot);

/* The next entry after `it` with the same hash. */
static inline struct ph_map_it ph_map_next(const struct ph_map *m, struct ph_map_it it)
{
    for (;;) {
        it.at = (it.at + 1) & m->mask;
        it.slot = m->cell[it.at].slot;
        if (it.slot == PH_MAP_NONE || m->cell[it.at].hash == it.hash)
            return it;
    }
}

/* The first entry with this hash; it.slot is PH_MAP_NONE when there is none. */
static inline struct ph_map_it ph_map_find(const struct ph_map *m, uint64_t hash)
{
    struct ph_map_it it = {((uint32_t)hash & m->mask) - 1, (uint32_t)hash, PH_MAP_NONE};
    return m->mask ? ph_map_next(m, it) : it;
}

#endif
