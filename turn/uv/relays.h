/*
 * The relay sockets of a worker, found by the number the core gave them.
 *
 * Numbers are dense (slot * 2 + IPv6), so this is an array in blocks: a block never moves, because queued packets
 * point at their sockets.  8 bytes per socket.  Not for others than turn/uv.
 */
#ifndef PH_TURN_UV_RELAYS_H
#define PH_TURN_UV_RELAYS_H

#include "stun/uv/udp.h"
#include "turn/server.h"

#include <stdint.h>

enum { PH_RELAYS_BLOCK = 512 };

struct ph_relays {
    struct ph_udp **block;
    uint32_t blocks;
};

/* Starts empty, without memory. */
void ph_relays_init(struct ph_relays *r);

/* Closes all sockets and frees the blocks. */
void ph_relays_fini(struct ph_relays *r);

/* The place of a socket (PH_SOCK_RELAY | index), made if need be; its fd is -1 when it is free.  NULL when out of
 * memory. */
struct ph_udp *ph_relays_make(struct ph_relays *r, uint32_t sock);

/* The open socket of this number, or NULL. */
static inline struct ph_udp *ph_relays_find(const struct ph_relays *r, uint32_t sock)
{
    const uint32_t i = sock & ~PH_SOCK_RELAY;

    if (i / PH_RELAYS_BLOCK >= r->blocks || !r->block[i / PH_RELAYS_BLOCK])
        return NULL;
    struct ph_udp *u = &r->block[i / PH_RELAYS_BLOCK][i % PH_RELAYS_BLOCK];
    return u->fd >= 0 ? u : NULL;
}

#endif
