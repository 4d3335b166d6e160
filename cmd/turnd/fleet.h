/*
 * The fleet that a running server belongs to (redis-statedb): what the nodes tell each other through Redis, and what comes
 * of it here.
 *
 *     {PREFIX:fleet}:nodes   hash: node -> "TIME STAMP ENTRY MAC", once a second; TIME is Redis's own, by which nodes die,
 *                            STAMP the node's, by which what is shown again is known (fresh.h)
 *     {PREFIX:fleet}:notes   stream of {n: who, t: to whom or "*", v: sealed "STAMP NOTE"}, looked at four times a
 *                            second
 *
 * Quotas count what users have on other nodes, and the bound on a user's bandwidth is shared with them; clients are sent to the least busy node while this one drains (or, with
 * fleet-redirect=load, when it is much busier); who comes with another node's ticket is sent there; operators' orders reach
 * any node.  While Redis is away everything goes on with what is known; nodes that are not heard of count as dead.
 *
 * Everything here belongs to the main thread, but ph_tfleet_event.
 */
#ifndef PH_TURND_FLEET_H
#define PH_TURND_FLEET_H

#include "cmd/turnd/run.h"
#include "turn/fleet.h"
#include "turn/record.h"

struct ph_tfleet;

/* Begins to take part.  NULL when out of memory, or in a build without Redis. */
struct ph_tfleet *ph_tfleet_new(uv_loop_t *loop, const struct ph_env *env, struct ph_trun *run);

/* Ends it: while the loop can still run.  The others notice by our silence.  NULL: nothing. */
void ph_tfleet_stop(struct ph_tfleet *f);

/* When the loop is closed.  NULL: nothing. */
void ph_tfleet_free(struct ph_tfleet *f);

/* An allocation was made or has ended.  Any thread. */
void ph_tfleet_event(struct ph_tfleet *f, const struct ph_turnd_ev *ev);

/* Puts the other servers into a set that is about to be loaded. */
void ph_tfleet_fill(struct ph_tfleet *f, struct ph_turnd_live *live);

/* Sends an order to a node, or with "*" to all; it is carried out there within a second.  False: it could not be sent. */
bool ph_tfleet_send(struct ph_tfleet *f, const char *node, const struct ph_fleet_order *o);

/* The other nodes that are alive, at most max of them, copied.  Returns how many. */
unsigned ph_tfleet_nodes(struct ph_tfleet *f, struct ph_fleet_node_info *v, unsigned max);

/* What we say of ourselves, as of the last second. */
void ph_tfleet_self(struct ph_tfleet *f, struct ph_fleet_node_info *n);

/* Told of one session of a node; both live until it returns. */
typedef void ph_tfleet_record(void *ctx, const char *node, const struct ph_record *record);

/* Reads what the other nodes that are alive have written down of their sessions: each for every one of them, done last (err:
 * why not all could be read).  0, or PH_E_NOMEM: neither is called. */
int ph_tfleet_list(struct ph_tfleet *f, ph_tfleet_record *each, void (*done)(void *ctx, int err),
                   void *ctx);

/* Whether others hear us. */
bool ph_tfleet_up(const struct ph_tfleet *f);

struct ph_tfleet_view {
    struct ph_fleet_stats stats;
    uint64_t unsealed; /* entries and notes that are not signed with our key */
    uint64_t replayed; /* that were shown before, or are stamped by a clock that is far from ours */
    bool up;
};
void ph_tfleet_look(struct ph_tfleet *f, struct ph_tfleet_view *v);

#endif
