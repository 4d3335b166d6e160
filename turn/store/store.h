/*
 * State that outlives the process: records, written behind.
 *
 * A record is known by its node, its kind ("alloc"; sipalg will have "bind" and "call") and a number, and is opaque here.  Each
 * has one writer, who keeps the truth in memory; a store is a copy of it that may lag, break or vanish without anybody
 * waiting for it:
 *
 *     writer changes a record -> ph_store_kick -> soon: source.next .. next .. next -> one command with all of them
 *     connection lost, store wiped, failed over -> source.all once it is back: everything is written again
 *
 * Nothing is queued but the fact that something has changed (by the source, in the records themselves), so memory is bounded and
 * many changes of one record are one write.
 *
 * Owners.  A node's records belong to whoever has claimed the node last (ph_store_claim: a restarted process, or another node
 * that takes over); the claim is a token that every write shows.  A writer whose token is not the last one any more is told
 * (on_fenced) and writes nothing.
 *
 * Records are sealed with the fleet's keys.  What cannot be opened, is of another version or no record at all is left
 * alone, counted, and said in one line.
 *
 * A handle belongs to the thread of its loop: each worker has one for writing, the main thread one for claiming and loading.
 * Two implementations: Redis, and memory (struct ph_store_space: shared by handles of one process; nothing is sealed).
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
    PH_STORE_NAME = 64,       /* bytes of a node's name: letters, digits, '.', '-', '_' */
    PH_STORE_KIND = 16,
    PH_STORE_TOKEN = 40,      /* bytes of a claim, terminator included */
    PH_STORE_VALUE = 160 * 1024 /* bytes of a record, sealed */
};

/* What a writer knows of a record. */
struct ph_store_change {
    uint64_t id;
    struct ph_slice value; /* n = 0: it is gone.  Borrowed until the next call of the source */
};

/* Where records come from.  Called on the loop's thread. */
struct ph_store_source {
    /* The next record that has changed since it was taken last.  False: none. */
    bool (*next)(void *ctx, struct ph_store_change *c);
    /* All records are to be given once more; nobody knows what is stored. */
    void (*all)(void *ctx);
    void *ctx;
};

/* Zero means the default given. */
struct ph_store_conf {
    char node[PH_STORE_NAME]; /* of this process */
    char prefix[32];          /* of all keys, "pinhole" */
    struct ph_fleet_keys keys;
    uint32_t gather_ms; /* how long changes are gathered, 20 */
    uint32_t batch;     /* records in a command, 64 */
    uint32_t flight;    /* commands under way, 8 */
    uint32_t keep_s;    /* after so many seconds without a write a node's records vanish, 7200 */
    /* Our claim is not the last one any more.  Once for each claim; on the loop's thread. */
    void (*on_fenced)(void *ctx);
    /* Records reach the store (again), or do not any more. */
    void (*on_state)(void *ctx, bool up);
    void *ctx;
};

#define PH_STORE_COUNTERS(X)                                                                       \
    X(written, "records written")                                                                  \
    X(removed, "records removed")                                                                  \
    X(commands, "commands sent")                                                                   \
    X(failed, "commands that failed")                                                              \
    X(resyncs, "times everything was written again")                                               \
    X(fenced, "writes refused: another process has claimed the node")                              \
    X(loaded, "records read")                                                                      \
    X(unsealed, "records left alone: sealed with another key, or changed")                         \
    X(foreign, "records left alone: not a record, or of another version")

struct ph_store_stats {
#define PH_X(name, text) uint64_t name;
    PH_STORE_COUNTERS(PH_X)
#undef PH_X
    bool up;        /* connected, and the last write was taken */
    bool behind;    /* something is not written yet */
    int64_t lag_ms; /* how long the oldest of it has waited, about; 0: nothing */
};

struct ph_store;
struct ph_store_space;
struct ph_redis_conf;

/* Never fails for an unreachable server.  NULL when out of memory, for a bad name of the node, or in a build without
 * Redis. */
struct ph_store *ph_store_redis_new(uv_loop_t *loop, const struct ph_redis_conf *redis,
                                    const struct ph_store_conf *c, const struct ph_env *env);

/* The same in memory. */
struct ph_store_space *ph_store_space_new(void);
void ph_store_space_free(struct ph_store_space *s); /* after its handles */
struct ph_store *ph_store_memory_new(uv_loop_t *loop, struct ph_store_space *space,
                                     const struct ph_store_conf *c, const struct ph_env *env);

/* Ends it at once, writing nothing more; callbacks under way get PH_E_STATE, before this returns.  Run the loop on until its
 * handles are closed.  NULL: nothing. */
void ph_store_free(struct ph_store *s);

/* Claims a node (our own, or one to take over): whoever had it is fenced from then on.  fn is always called, later:
 * err 0 and the token. */
void ph_store_claim(struct ph_store *s, const char *node,
                    void (*fn)(void *ctx, int err, const char *token), void *ctx);

/* Reads all records of a node and kind: each for every record that opens, done last (err 0, or why not all were read).
 * Values live until each returns. */
void ph_store_load(struct ph_store *s, const char *node, const char *kind,
                   void (*each)(void *ctx, uint64_t id, struct ph_slice value),
                   void (*done)(void *ctx, int err), void *ctx);

/* Removes records of a node that was claimed with this token: they have been adopted, or are rubbish.  fn (may be NULL)
 * as for claim. */
void ph_store_remove(struct ph_store *s, const char *node, const char *kind, const char *token,
                     const uint64_t *id, unsigned n, void (*fn)(void *ctx, int err), void *ctx);

/* From now on writes records of our node, showing this token (of a claim that another handle may have made).  Calls
 * source->all first.  *source is copied.  Again with another token after a new claim. */
void ph_store_write(struct ph_store *s, const char *kind, const char *token,
                    const struct ph_store_source *source);

/* Something has changed.  Cheap: does nothing while a write is due anyway. */
void ph_store_kick(struct ph_store *s);

/* Calls fn once all that has changed up to now is stored, or after timeout_ms with PH_E_TIMEOUT. */
void ph_store_flush(struct ph_store *s, uint32_t timeout_ms, void (*fn)(void *ctx, int err),
                    void *ctx);

const struct ph_store_stats *ph_store_stats(const struct ph_store *s);

#endif
