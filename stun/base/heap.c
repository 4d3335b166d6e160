/*
 * The binary heap behind ph_heap: every move of an entry also updates where its slot is found.
 */
#include "stun/base/heap.h"

#include "stun/base/error.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_CAP = 16 };

void ph_heap_init(struct ph_heap *h)
{
    *h = (struct ph_heap){0};
}

void ph_heap_fini(struct ph_heap *h)
{
    free(h->v);
    free(h->pos);
    ph_heap_init(h);
}

/* The next capacity that holds n entries: doubling, so that growth is amortised. */
static uint32_t grown(uint32_t cap, uint32_t n)
{
    uint64_t c = cap ? cap : FIRST_CAP;
    while (c < n)
        c *= 2;
    return c > UINT32_MAX ? UINT32_MAX : (uint32_t)c;
}

static int reserve_slot(struct ph_heap *h, uint32_t slot)
{
    if (slot < h->slots)
        return 0;
    uint32_t slots = grown(h->slots, slot + 1);
    uint32_t *pos = realloc(h->pos, slots * sizeof *pos);
    if (!pos)
        return PH_E_NOMEM;
    memset(pos + h->slots, 0, (slots - h->slots) * sizeof *pos);
    h->pos = pos;
    h->slots = slots;
    return 0;
}

static int reserve_entry(struct ph_heap *h)
{
    if (h->n < h->cap)
        return 0;
    uint32_t cap = grown(h->cap, h->n + 1);
    struct ph_heap_entry *v = realloc(h->v, cap * sizeof *v);
    if (!v)
        return PH_E_NOMEM;
    h->v = v;
    h->cap = cap;
    return 0;
}

static void place(struct ph_heap *h, uint32_t i, struct ph_heap_entry e)
{
    h->v[i] = e;
    h->pos[e.slot] = i + 1;
}

/* Puts e where the hole at i must go: first towards the root, else towards the leaves. */
static void settle(struct ph_heap *h, uint32_t i, struct ph_heap_entry e)
{
    while (i > 0 && e.at < h->v[(i - 1) / 2].at) {
        place(h, i, h->v[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    for (uint32_t child; (child = 2 * i + 1) < h->n; i = child) {
        if (child + 1 < h->n && h->v[child + 1].at < h->v[child].at)
            child++;
        if (e.at <= h->v[child].at)
            break;
        place(h, i, h->v[child]);
    }
    place(h, i, e);
}

static void remove_at(struct ph_heap *h, uint32_t i)
{
    h->pos[h->v[i].slot] = 0;
    h->n--;
    if (i < h->n)
        settle(h, i, h->v[h->n]);
}

int ph_heap_set(struct ph_heap *h, uint32_t slot, ph_ns at)
{
    uint32_t where = slot < h->slots ? h->pos[slot] : 0;
    if (at == PH_NEVER) {
        if (where)
            remove_at(h, where - 1);
        return 0;
    }
    if (!where) {
        int err = slot == UINT32_MAX ? PH_E_NOMEM : reserve_slot(h, slot);
        if (!err)
            err = reserve_entry(h);
        if (err)
            return err;
        where = ++h->n;
    }
    settle(h, where - 1, (struct ph_heap_entry){at, slot});
    return 0;
}

uint32_t ph_heap_pop_due(struct ph_heap *h, ph_ns now)
{
    if (h->n == 0 || h->v[0].at > now)
        return UINT32_MAX;
    uint32_t slot = h->v[0].slot;
    remove_at(h, 0);
    return slot;
}
