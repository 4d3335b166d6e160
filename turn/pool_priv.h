/*
 * What the files of the port pool share.  Not installed.
 *
 *   pool.c       life, ports, members, permissions
 *   pool_flow.c  flows to and from peers
 *   pool_hop.c   names of ICE, flows inside the pool
 *
 * Records are found by index, since tables move when they grow: a pointer is good until the next one is taken.
 */
#ifndef PH_TURN_POOL_PRIV_H
#define PH_TURN_POOL_PRIV_H

#include "stun/base/hash.h"
#include "stun/base/map.h"
#include "turn/pool.h"

#define PH__POOL_NONE UINT32_MAX

/* Where a flow or a permission is: a port (or for flows inside the pool PH__POOL_INSIDE and its member) and a peer, the
 * port of which is 0 for permissions.  Hashed as it lies. */
struct ph__pool_key {
    uint32_t port;
    struct ph_addr at;
};
#define PH__POOL_INSIDE 0x80000000u

/* What can join. */
struct ph__pool_member {
    uint32_t port;    /* PH__POOL_NONE: it has not joined */
    uint32_t joining; /* number of its joining: a later member with its number is another one */
    uint32_t first;   /* its permissions, through grant.next */
    uint16_t grants, flows;
    uint32_t name[2]; /* hashes of the names it has, the later one first; 0: none */
};

/* The permission of a member for an IP. */
struct ph__pool_grant {
    uint32_t next; /* of its member */
    uint32_t member;
    uint32_t site;
    uint32_t before, after; /* at the site */
    uint32_t flow;          /* the first of its flows, through flow.next */
    ph_ns until;
};

/* A port and an IP that somebody has a permission for: all of these, the longest lasting first. */
struct ph__pool_site {
    struct ph__pool_key key;
    uint32_t first, last;
};

struct ph__pool_flow {
    uint32_t next; /* of its grant */
    uint32_t grant;
    struct ph__pool_key key;
    bool sent;              /* its client has sent by it; else only the peer has */
    ph_ns sent_at;          /* when he last did */
    uint32_t other;         /* inside the pool: who is behind it, PH__POOL_NONE: nobody yet, ... */
    uint32_t other_joining; /* ... and which joining */
};

/* Records of one size; the free ones form a list through their first four bytes. */
struct ph__pool_table {
    uint8_t *v;
    uint32_t size, cap, used, free;
};

struct ph_pool {
    struct ph_env env;
    struct ph_hash_key hash_key;
    unsigned ports, max_grants, max_flows;
    uint32_t joinings;
    uint32_t *members; /* of each port */
    struct ph__pool_member *member;
    uint32_t member_cap;
    struct ph__pool_table grant, site, flow;
    struct ph_map by_site, by_flow, by_name;
};

static inline struct ph__pool_grant *ph__grant_at(const struct ph_pool *p, uint32_t i)
{
    return (struct ph__pool_grant *)(void *)(p->grant.v +
                                             (size_t)i * sizeof(struct ph__pool_grant));
}

static inline struct ph__pool_flow *ph__flow_at(const struct ph_pool *p, uint32_t i)
{
    return (struct ph__pool_flow *)(void *)(p->flow.v + (size_t)i * sizeof(struct ph__pool_flow));
}

static inline struct ph__pool_site *ph__site_at(const struct ph_pool *p, uint32_t i)
{
    return (struct ph__pool_site *)(void *)(p->site.v + (size_t)i * sizeof(struct ph__pool_site));
}

/* The member with this number if it has joined, else NULL. */
static inline struct ph__pool_member *ph__member_at(const struct ph_pool *p, uint32_t i)
{
    return i < p->member_cap && p->member[i].port != PH__POOL_NONE ? &p->member[i] : NULL;
}

/* --- pool.c -------------------------------------------------------------------------------------- */
/* A zeroed record of a table, or PH__POOL_NONE when out of memory; and back. */
uint32_t ph__pool_take(struct ph__pool_table *t);
void ph__pool_put(struct ph__pool_table *t, uint32_t i);
uint64_t ph__pool_hash(const struct ph_pool *p, const struct ph__pool_key *k);
/* The key of a flow. */
struct ph__pool_key ph__pool_key(uint32_t port, const struct ph_addr *peer);
/* The permissions for an IP at a port, PH__POOL_NONE: nobody has one. */
uint32_t ph__site_find(const struct ph_pool *p, uint32_t port, const struct ph_addr *ip);
/* The permission of a member, whether or not it lasts, or PH__POOL_NONE. */
uint32_t ph__grant_find(const struct ph_pool *p, uint32_t member, const struct ph_addr *ip);
/* The same if it lasts. */
uint32_t ph__grant_live(const struct ph_pool *p, uint32_t member, const struct ph_addr *ip,
                        ph_ns now);

/* --- pool_flow.c --------------------------------------------------------------------------------- */
uint32_t ph__flow_find(const struct ph_pool *p, const struct ph__pool_key *k);
/* A new flow of a permission, given up by nobody: the member has room for it.  PH__POOL_NONE: no memory. */
uint32_t ph__flow_new(struct ph_pool *p, uint32_t grant, const struct ph__pool_key *k);
bool ph__flow_room(const struct ph_pool *p, uint32_t member);
/* Gives up the flow of a member that he can best do without. */
void ph__flow_evict(struct ph_pool *p, uint32_t member);
/* Ends all flows of a permission. */
void ph__flow_end_all(struct ph_pool *p, uint32_t grant);
/* Makes what a peer sends to this port the flow of a permission, if there is room for it. */
void ph__flow_pin(struct ph_pool *p, uint32_t grant, const struct ph_addr *from);

/* --- pool_hop.c ---------------------------------------------------------------------------------- */
void ph__pool_forget_names(struct ph_pool *p, uint32_t member);

#endif
