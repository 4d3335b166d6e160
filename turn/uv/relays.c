/*
 * The table of relay sockets; see relays.h.
 */
#include "turn/uv/relays.h"

#include <stdlib.h>
#include <string.h>

void ph_relays_init(struct ph_relays *r)
{
    *r = (struct ph_relays){0};
}

static void close_all(struct ph_udp **block, uint32_t blocks)
{
    for (uint32_t b = 0; b < blocks; b++) {
        for (unsigned i = 0; block[b] && i < PH_RELAYS_BLOCK; i++)
            ph_udp_close(&block[b][i]);
        free(block[b]);
    }
    free(block);
}

void ph_relays_fini(struct ph_relays *r)
{
    close_all(r->block, r->blocks);
    close_all(r->pool, r->pools);
    ph_relays_init(r);
}

/* Makes room for block number b.  False when out of memory. */
static bool grow(struct ph_udp ***v, uint32_t *blocks, uint32_t b)
{
    if (b < *blocks)
        return true;
    struct ph_udp **block = realloc(*v, (b + 1) * sizeof(struct ph_udp *));
    if (!block)
        return false;
    memset(block + *blocks, 0, (b + 1 - *blocks) * sizeof(struct ph_udp *));
    *v = block;
    *blocks = b + 1;
    return true;
}

/* The place with index i of an array. */
static struct ph_udp *place(struct ph_udp ***v, uint32_t *blocks, uint32_t i)
{
    const uint32_t b = i / PH_RELAYS_BLOCK;

    if (!grow(v, blocks, b))
        return NULL;
    if (!(*v)[b]) {
        (*v)[b] = calloc(PH_RELAYS_BLOCK, sizeof ***v);
        if (!(*v)[b])
            return NULL;
        for (unsigned k = 0; k < PH_RELAYS_BLOCK; k++)
            (*v)[b][k].fd = -1;
    }
    return &(*v)[b][i % PH_RELAYS_BLOCK];
}

struct ph_udp *ph_relays_make(struct ph_relays *r, uint32_t sock)
{
    const uint32_t i = sock & ~(PH_SOCK_RELAY | PH_SOCK_POOL);

    return sock & PH_SOCK_POOL ? place(&r->pool, &r->pools, i) : place(&r->block, &r->blocks, i);
}

struct ph_udp *ph_relays_find_pool(const struct ph_relays *r, uint32_t sock)
{
    const uint32_t i = sock & ~(PH_SOCK_RELAY | PH_SOCK_POOL), b = i / PH_RELAYS_BLOCK;

    if (!(sock & PH_SOCK_POOL) || b >= r->pools || !r->pool[b])
        return NULL;
    struct ph_udp *u = &r->pool[b][i % PH_RELAYS_BLOCK];
    return u->fd >= 0 ? u : NULL;
}
