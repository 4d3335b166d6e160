/*
 * Growing, adding and deleting in ph_map.
 *
 * Deletion closes the gap: entries behind it that may stand in it (whose home is not after the gap)
 * move forward, so a probe never needs to step over dead cells.
 */
#include "stun/base/map.h"

#include "stun/base/error.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_CELLS = 16 };

void ph_map_init(struct ph_map *m)
{
    *m = (struct ph_map){0};
}

void ph_map_fini(struct ph_map *m)
{
    free(m->cell);
    ph_map_init(m);
}

/* Puts an entry into the first free cell from its home on.  There is one: the load is bounded. */
static void put(struct ph_map_cell *cell, uint32_t mask, struct ph_map_cell e)
{
    uint32_t i = e.hash & mask;
    while (cell[i].slot != PH_MAP_NONE)
        i = (i + 1) & mask;
    cell[i] = e;
}

static int grow(struct ph_map *m)
{
    uint64_t cells = m->mask ? ((uint64_t)m->mask + 1) * 2 : FIRST_CELLS;
    if (cells > (uint64_t)1 << 31)
        return PH_E_NOMEM;
    struct ph_map_cell *cell = malloc(cells * sizeof *cell);
    if (!cell)
        return PH_E_NOMEM;
    memset(cell, 0xFF, cells * sizeof *cell); /* every slot PH_MAP_NONE */
    uint32_t mask = (uint32_t)cells - 1;
    for (uint32_t i = 0; m->mask && i <= m->mask; i++)
        if (m->cell[i].slot != PH_MAP_NONE)
            put(cell, mask, m->cell[i]);
    free(m->cell);
    m->cell = cell;
    m->mask = mask;
    return 0;
}

int ph_map_add(struct ph_map *m, uint64_t hash, uint32_t slot)
{
    if ((uint64_t)(m->n + 1) * 4 > ((uint64_t)m->mask + 1) * 3) {
        int err = grow(m);
        if (err)
            return err;
    }
    put(m->cell, m->mask, (struct ph_map_cell){(uint32_t)hash, slot});
    m->n++;
    return 0;
}

/* Frees cell `gap` and closes the gap. */
static void close_gap(struct ph_map *m, uint32_t gap)
{
    for (uint32_t i = (gap + 1) & m->mask; m->cell[i].slot != PH_MAP_NONE; i = (i + 1) & m->mask) {
        uint32_t home = m->cell[i].hash & m->mask;
        if (((i - home) & m->mask) < ((i - gap) & m->mask))
            continue; /* its home lies behind the gap: it must stay */
        m->cell[gap] = m->cell[i];
        gap = i;
    }
    m->cell[gap].slot = PH_MAP_NONE;
}

void ph_map_del(struct ph_map *m, uint64_t hash, uint32_t slot)
{
    for (struct ph_map_it it = ph_map_find(m, hash); it.slot != PH_MAP_NONE;
         it = ph_map_next(m, it)) {
        if (it.slot != slot)
            continue;
        close_gap(m, it.at);
        m->n--;
        return;
    }
}
