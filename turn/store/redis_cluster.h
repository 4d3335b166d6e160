/*
 * A cluster in two halves: commands on their way (redis_cluster.c), and the map of nodes (redis_map.c).
 */
#ifndef PH_TURN_STORE_REDIS_CLUSTER_H
#define PH_TURN_STORE_REDIS_CLUSTER_H

#include "turn/store/redis_priv.h"

enum {
    PH__NODES = PH__REDIS_NODES + 32, /* masters, and what was referred to or is leaving */
    PH__NOBODY = 255,
    PH__TIDY_MS = 1000 /* how often nodes are looked for that are not needed any more */
};

struct ph__node {
    struct ph__cluster *k;
    struct ph_redis *redis;
    struct ph_redis_host at;
    bool mapped;      /* has slots */
    unsigned busy;    /* commands that are its */
    uint64_t used_at; /* was referred to */
};

/* A command.  The bytes of its arguments follow it. */
struct ph__req {
    struct ph__req *next; /* held */
    struct ph__cluster *k;
    struct ph__node *node;
    ph__redis_fn *fn;
    void *ctx;
    bool ask;
    uint8_t hops;
    uint64_t due_at; /* held until then */
    unsigned n;
    struct ph_slice args[];
};

struct ph__cluster {
    struct ph_redis *r;
    struct ph__node *node[PH__NODES];
    uint8_t of[PH__REDIS_SLOTS]; /* an index of node, or PH__NOBODY */
    bool known, closed, again;   /* again: ask once more when this answer is there */
    unsigned epoch, open;
    struct ph__asker *asker;
    struct ph__slots *fresh;                               /* what it was told */
    struct ph_redis_host host[PH__NODES + PH_REDIS_HOSTS]; /* whom it asks */
    uv_timer_t timer;
    uint64_t refresh_at, refreshed_at, tidy_at;
    uint32_t backoff_ms;
    struct ph__req *held, **held_tail; /* their node is not connected yet */
    unsigned n_reqs;
};

static inline uint64_t ph__cluster_now(const struct ph__cluster *k)
{
    return uv_now(k->r->loop);
}

static inline bool ph__node_up(const struct ph__node *n)
{
    return n && ph_redis_stats(n->redis)->up;
}

/* --- redis_cluster.c ------------------------------------------------------------------------------- */

/* Sets the timer for what is due next. */
void ph__cluster_arm(struct ph__cluster *k);

/* Sends what has been held for a node that is connected now. */
void ph__cluster_resume(struct ph__cluster *k, struct ph__node *n);

/* --- redis_map.c ----------------------------------------------------------------------------------- */

/* The index of a node, which may be new.  PH__NOBODY: there are too many, or no memory. */
uint8_t ph__map_node(struct ph__cluster *k, const struct ph_redis_host *at);

/* Asks for the map in so many ms, but not too often. */
void ph__map_refresh(struct ph__cluster *k, uint64_t ms);

/* What is due: asks now, frees nodes that are not needed any more. */
void ph__map_due(struct ph__cluster *k);

/* Closes the nodes; what they owe is answered with NULL.  Then frees them. */
void ph__map_close(struct ph__cluster *k);
void ph__map_free(struct ph__cluster *k);

/* Something of it is closed (k->open counts). */
void ph__map_closed(void *k);

#endif
