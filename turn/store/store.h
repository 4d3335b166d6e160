/*
 * State that outlives the process: records, written behind.
 *
 * A record is known by its node, its kind ("alloc"; sipalg will have "bind" and "call") and a number, and is opaque here.  Each
 * has one writer, who keeps the truth in memory; a store is a copy of it that may lag, break or vanish without anybody
 * waiting for it:
 *
 *     writer changes a record -> ph_store_kick -> soon: source.next .. next .. next -> one command with all of them
 *     connection lost, store wiped, failed over -> source.all once it is back: everything is written again
 *     ... and then source.has about what else is stored: what has ended meanwhile is removed
 *
 * Nothing is queued but the fact that something has changed (by the source, in the records themselves), so memory is bounded and
 * many changes of one record are one write.
 *
 * Owners.  A node's records belong to whoever has claimed the node last (ph_store_claim: a restarted process, or another node
 * that takes over); the claim is a token that every write shows.  A writer whose token is not the last one any more is told
 * (on_fenced) and writes nothing.  It is asked for every 10 s even when nothing changes, so that an idle writer learns of it
 * too, and of a store that was wiped.
 *
 * Records are sealed with the fleet's keys.  What cannot be opened, is of another version or no record at all is left
 * alone, counted, and said in one line.
 *
 * A handle belongs to the thread of its loop: each worker has one for writing, the main thread one for claiming and loading.
 * It writes one kind of records.  Several may write records of one node and kind (showing the same token), each its own.
 * Two implementations: Redis, and memory (struct ph_store_space: shared by handles of one process; nothing is sealed, and
 * nothing vanishes by itself).
 *
 * In Redis (5 or newer), with prefix "pinhole" and node "a" (the braces put both keys into one slot of a cluster):
 *
 *     {pinhole:a}:owner   string: the token of the last claim, "MILLISECONDS-RANDOM": claims have an order, so that a server
 *                         that comes back with older data does not fence the last owner
 *     {pinhole:a}:alloc   hash: the record's number in decimal -> the record, sealed for that place; and "life": set when the
 *                         hash is made, by which every writer notices that what it wrote is gone
 *
 * Both vanish keep_s after the last write.  A user of Redis' ACL for it: ~{pinhole:*}:* +eval +get +set +time +hget +hset
 * +hdel +hscan +pexpire, and what a connection needs.
 */
#ifndef PH_TURN_STORE_STORE_H
#define PH_TURN_STORE_STORE_H

#include "stun/base/env.h"
#include "stun/base/slice.h"
#include "turn/fleetkey.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

enum {
    PH_STORE_NAME = 64,         /* a node's name and a terminator: letters, digits, '.', '-', '_' */
    PH_STORE_KIND = 16,         /* a kind's, the same; not "owner" */
    PH_STORE_TOKEN = 40,        /* bytes of a claim, terminator included */
    PH_STORE_VALUE = 160 * 1024 /* bytes of a record, sealed */
};

/* What a writer knows of a record. */
struct ph_store_change {
    uint64_t id;
    struct ph_slice
        value; /* n = 0: it is gone, and never comes back.  Borrowed until the next call of the source */
};

/* Where records come from.  Called on the loop's thread; must not call ph_store_free or ph_store_write. */
struct ph_store_source {
    /* The next record that has changed since it was taken last.  False: none. */
    bool (*next)(void *ctx, struct ph_store_change *c);
    /* All records are to be given once more; nobody knows what is stored. */
    void (*all)(void *ctx);
    /* False: this record has ended, for sure, and what the store still has of it is rubbish (it ended while the store was
     * away).  True: it is there, or coming (restored, but not up yet), or another writer of the node has it or may have
     * it.  Asked after all, about everything that is stored, so be quick.  NULL: rubbish stays. */
    bool (*has)(void *ctx, uint64_t id);
    void *ctx;
};

/* Zero means the default given. */
struct ph_store_conf {
    char node[PH_STORE_NAME];  /* of this process */
    char prefix[32];           /* of all keys, "pinhole"; as a node's name, or with ':' */
    struct ph_fleet_keys keys; /* Redis needs them */
    uint32_t gather_ms;        /* how long changes are gathered, 20 */
    uint32_t batch;            /* records in a command, 64; at most 120 */
    uint32_t flight;           /* commands under way, 8; at most 64, in a cluster 1 */
    uint32_t
        keep_s; /* after so many seconds without a write a node's records vanish, 7200; at least 2 */
    /* Our claim is not the last one any more.  Once for each claim (each ph_store_write); on the loop's thread. */
    void (*on_fenced)(void *ctx);
    /* Records reach the store (again: all of them have been written), or do not any more.  Begins with up, or with not up
     * when the store cannot be had at first; then by turns. */
    void (*on_state)(void *ctx, bool up);
    void *ctx; /* both may call anything, ph_store_free too */
};

#define PH_STORE_COUNTERS(X)                                                                       \
    X(written, "records written")                                                                  \
    X(removed, "records removed")                                                                  \
    X(commands, "commands sent")                                                                   \
    X(failed, "commands that failed")                                                              \
    X(resyncs, "times everything was written again")                                               \
    X(fenced, "writes refused: another process has claimed the node")                              \
    X(too_long, "records not written: too long")                                                   \
    X(loaded, "records read")                                                                      \
    X(unsealed, "records left alone: sealed with another key, or changed")                         \
    X(foreign, "records left alone: not a record, or of another version")

struct ph_store_stats {
#define PH_X(name, text) uint64_t name;
    PH_STORE_COUNTERS(PH_X)
#undef PH_X
    bool up;        /* records reach the store: see on_state */
    bool behind;    /* something is not written yet */
    int64_t lag_ms; /* how long the oldest of it has waited, about; 0: nothing */
};

struct ph_store;
struct ph_store_space;
struct ph_redis_conf;

/* Never fails for an unreachable server.  NULL when out of memory, for a bad name of the node or prefix, without keys, or in a
 * build without Redis. */
struct ph_store *ph_store_redis_new(uv_loop_t *loop, const struct ph_redis_conf *redis,
                                    const struct ph_store_conf *c, const struct ph_env *env);

/* The same in memory. */
struct ph_store_space *ph_store_space_new(void);    /* NULL: out of memory */
void ph_store_space_free(struct ph_store_space *s); /* after its handles */
struct ph_store *ph_store_memory_new(uv_loop_t *loop, struct ph_store_space *space,
                                     const struct ph_store_conf *c, const struct ph_env *env);

/* Whether this may be the name of a node. */
bool ph_store_name_ok(const char *node);

/* Ends it at once, writing nothing more; callbacks under way get PH_E_STATE, before this returns.  Run the loop on until its
 * handles are closed.  May be called from its callbacks, but not from the source's.  NULL: nothing. */
void ph_store_free(struct ph_store *s);

/* The next three wait for the store when it is not connected (yet), for the connect timeout of its configuration (3 s) at
 * most.  Their last callback is always called once, never from within (but with PH_E_NOMEM), with err:
 *     0                 done
 *     PH_E_TIMEOUT      the store cannot be reached, or did not answer: try again later
 *     PH_E_REFUSED      it answered with an error (a replica, out of memory, no permission, a key of the wrong type: the log
 *                       says what)
 *     PH_E_FORBIDDEN    remove: the node is claimed by somebody else
 *     PH_E_FORMAT       it said what makes no sense
 *     PH_E_LIMIT        too much is under way; load: there is no end of it
 *     PH_E_ARG, PH_E_NOMEM, PH_E_STATE (freed) */

/* Claims a node (our own, or one to take over): whoever had it is fenced from then on.  The token lives until fn returns;
 * with an error it is "". */
void ph_store_claim(struct ph_store *s, const char *node,
                    void (*fn)(void *ctx, int err, const char *token), void *ctx);

/* Reads all records of a node and kind: each for every record that opens, done last (err 0, or why not all were read).  Values
 * live until each returns, which runs on the loop and should be quick: up to some hundred are handed out in a row.  A record
 * may come twice, and while others write it need not be the newest. */
void ph_store_load(struct ph_store *s, const char *node, const char *kind,
                   void (*each)(void *ctx, uint64_t id, struct ph_slice value),
                   void (*done)(void *ctx, int err), void *ctx);

/* Removes records of a node that was claimed with this token: they have been adopted, or are rubbish.  Those that are not
 * there do no harm.  id is copied, fn may be NULL. */
void ph_store_remove(struct ph_store *s, const char *node, const char *kind, const char *token,
                     const uint64_t *id, unsigned n, void (*fn)(void *ctx, int err), void *ctx);

/* From now on writes records of our node, showing this token (of a claim that another handle may have made).  Calls
 * source->all first, when the store can be reached, and asks source->has about what is stored already.  *source is copied.
 * Again with another token after a new claim.  0; PH_E_ARG: a bad kind or token, nothing is written. */
int ph_store_write(struct ph_store *s, const char *kind, const char *token,
                   const struct ph_store_source *source);

/* Other keys from now on: the first seals, any of them opens.  What is stored stays as it is until it is written again. */
void ph_store_set_keys(struct ph_store *s, const struct ph_fleet_keys *keys);

/* Something has changed.  Cheap: does nothing while a write is due anyway. */
void ph_store_kick(struct ph_store *s);

/* Calls fn, later, once all that has changed up to now is stored, or after timeout_ms with PH_E_TIMEOUT.  PH_E_STATE: nothing
 * is being written (no ph_store_write yet), PH_E_FORBIDDEN: we are fenced.  (Whoever waits for it in uv_run: call uv_stop from
 * fn.  It is called by a timer, after which UV_RUN_ONCE may wait for something else.) */
void ph_store_flush(struct ph_store *s, uint32_t timeout_ms, void (*fn)(void *ctx, int err),
                    void *ctx);

/* Counters and state, as of now; lives as long as s. */
const struct ph_store_stats *ph_store_stats(struct ph_store *s);

#endif
