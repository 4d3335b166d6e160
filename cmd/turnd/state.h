/*
 * State that outlives the process (redis-statedb): what the workers keep there, and what becomes of it.
 *
 *     start        claim our node, read its records; the workers restore them before they read a packet
 *     Redis late   the server starts without; when it answers: the same, as far as it still fits
 *     running      each worker writes its allocations behind (turn/store/store.h)
 *     fenced       somebody else has claimed our node: what he has taken ends here (PH_END_ADOPTED), the rest is ours again
 *     adoption     an address of another node has come to this machine: its allocations are restored here and taken away there
 *
 * While Redis is silent the server goes on, and writes everything when it is back.  All of it belongs to the main thread, but
 * ph_tstate_store.
 */
#ifndef PH_TURND_STATE_H
#define PH_TURND_STATE_H

#include "cmd/turnd/run.h"

struct ph_tstate;

/* Begins to claim our node; or to read it with the token that the program before had, whose allocations have been handed
 * over ("": it had none).  NULL when out of memory, or in a build without Redis. */
struct ph_tstate *ph_tstate_new(uv_loop_t *loop, struct ph_trun *run, const char *token);

/* Runs the loop until the records are there, state-wait is over or *enough becomes true. */
void ph_tstate_wait(struct ph_tstate *s, const bool *enough);

/* A handle for the records of a worker (struct ph_turn_uv_conf.store; ctx is the ph_tstate). */
struct ph_store *ph_tstate_store(void *ctx, unsigned worker, uv_loop_t *loop);

/* The server runs, but does not hear clients yet: restores what there is, and has the workers write. */
void ph_tstate_serve(struct ph_tstate *s);

/* The configuration may have other secrets by now. */
void ph_tstate_rekey(struct ph_tstate *s);

/* The server is about to end, or to be handed over: nothing is claimed or adopted any more.  With flush waits a little until what
 * has changed is stored. */
void ph_tstate_end(struct ph_tstate *s, bool flush);

/* While the loop can still run, when no worker is left.  NULL: nothing. */
void ph_tstate_stop(struct ph_tstate *s);

/* When the loop is closed.  NULL: nothing. */
void ph_tstate_free(struct ph_tstate *s);

/* Takes over the allocations of another node whose addresses are on this machine now.  False: we are at it, or have no claim
 * of our own yet. */
bool ph_tstate_adopt(struct ph_tstate *s, const char *node);

/* Whether an allocation goes on after a restart: it is stored, or will be. */
bool ph_tstate_keeps(const struct ph_tstate *s, const struct ph_turnd_info *i);

/* The token of our claim, "" without. */
const char *ph_tstate_token(const struct ph_tstate *s);

/* Where the store is, so that it is no peer: at most max addresses.  Returns how many are known. */
unsigned ph_tstate_endpoints(const struct ph_tstate *s, struct ph_addr *v, unsigned max);

struct ph_tstate_view {
    const char *word;           /* "claiming", "loading", "ours", "fenced", "given up" */
    struct ph_store_stats main; /* of the main thread: loaded, unsealed, foreign */
    unsigned restored, expired, elsewhere, failed; /* when the node was claimed */
    int64_t restored_ms;                           /* how long it took, from the start */
    unsigned adopted_total;                        /* from other nodes */
    struct {
        char node[PH_STORE_NAME]; /* "": never */
        bool busy;
        unsigned restored, left; /* left there: they do not fit */
        int64_t at_s, ms;
        char error[128]; /* "": none */
    } adoption;          /* the last one */
};

/* How it stands with it.  The main thread. */
void ph_tstate_look(struct ph_tstate *s, struct ph_tstate_view *v);

#endif
