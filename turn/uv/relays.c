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

void ph_relays_fini(struct ph_relays *r)
{
    for (uint32_t b = 0; b < r->blocks; b++) {
        for (unsigned i = 0; r->block[b] && i < PH_RELAYS_BLOCK; i++)
            ph_udp_close(&r->block[b][i]);
        free(r->block[b]);
    }
    free(r->block);
    ph_relays_init(r);
}

/* Makes room for block number b.  False when out of memory. */
static bool grow(struct ph_relays *r, uint32_t b)
{
    if (b < r->blocks)
        return true;
    struct ph_udp **block = realloc(r->block, (b + 1) * sizeof(struct ph_udp *));
    if (!block)
        return false;
    memset(block + r->blocks, 0, (b + 1 - r->blocks) * sizeof(struct ph_udp *));
    r->block = block;
    r->blocks = b + 1;
    return true;
}

struct ph_udp *ph_relays_make(struct ph_relays *r, uint32_t sock)
{
    const uint32_t i = sock & ~PH_SOCK_RELAY, b = i / PH_RELAYS_BLOCK;

    if (!grow(r, b))
        return NULL;
    if (!r->block[b]) {
        r->block[b] = calloc(PH_RELAYS_BLOCK, sizeof **r->block);
        if (!r->block[b])
            return NULL;
        for (unsigned k = 0; k < PH_RELAYS_BLOCK; k++)
            r->block[b][k].fd = -1;
    }
    return &r->block[b][i % PH_RELAYS_BLOCK];
}
