/*
 * How many connections or sessions each client address has.  An IPv6 client has a whole /64 to call from, so these count as
 * one.  Not installed.
 */
#ifndef PH_UV_SOURCE_PRIV_H
#define PH_UV_SOURCE_PRIV_H

#include "stun/base/addr.h"
#include "stun/base/env.h"
#include "stun/base/hash.h"
#include "stun/base/map.h"

#define PH__SOURCE_NONE UINT32_MAX

/* A client's address, or /64, and its connections. */
struct ph__source {
    struct ph_addr key;
    uint32_t n;
    uint32_t next; /* free ones: the next free one */
};

struct ph__sources {
    struct ph_map map;
    struct ph_hash_key key;
    struct ph__source *v;
    uint32_t n, cap, free;
};

void ph__sources_init(struct ph__sources *t, const struct ph_env *env);
void ph__sources_fini(struct ph__sources *t);
/* Counts a connection from an address.  Its place, or PH__SOURCE_NONE: there are max already, or no memory. */
uint32_t ph__sources_take(struct ph__sources *t, const struct ph_addr *a, uint32_t max);
/* Of PH__SOURCE_NONE: does nothing. */
void ph__sources_release(struct ph__sources *t, uint32_t at);

#endif
