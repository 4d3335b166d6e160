/*
 * The relay sockets of a worker, found by the number the core gave them.
 *
 * Numbers are dense (slot * 2 + IPv6), so this is an array in blocks: a block never moves, because queued packets
 * point at their sockets.  8 bytes per socket.  Those that relays share (PH_SOCK_POOL) are numbered from 0 again, so
 * they have another array.  Not for others than turn/uv.
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
    struct ph_udp **pool; /* the same for shared sockets */
    uint32_t pools;
};

/* Starts empty, without memory. */
void ph_relays_init(struct ph_relays *r);

/* Closes all sockets and frees the blocks. */
void ph_relays_fini(struct ph_relays *r);

/* The place of a socket (PH_SOCK_RELAY | index, perhaps with PH_SOCK_POOL), made if need be; its fd is -1 when it is
 * free.  NULL when out of memory. */
struct ph_udp *ph_relays_make(struct ph_relays *r, uint32_t sock);

/* ph_relays_find for a number that is none of an allocation's own socket. */
struct ph_udp *ph_relays_find_pool(const struct ph_relays *r, uint32_t sock);

/* The open socket of this number, or NULL. */
static inline struct ph_udp *ph_relays_find(const struct ph_relays *r, uint32_t sock)
{
    const uint32_t i = sock & ~PH_SOCK_RELAY;

    if (i / PH_RELAYS_BLOCK >= r->blocks || !r->block[i / PH_RELAYS_BLOCK])
        return ph_relays_find_pool(r, sock);
    struct ph_udp *u = &r->block[i / PH_RELAYS_BLOCK][i % PH_RELAYS_BLOCK];
    return u->fd >= 0 ? u : NULL;
}

#endif
