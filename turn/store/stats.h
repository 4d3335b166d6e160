/*
 * coturn's statistics in Redis (redis-statsdb), byte for byte: status keys and messages.
 *
 *     SET + PUBLISH turn/realm/<realm>/user/<user>/allocation/<id>/status
 *         new lifetime=N, type=T, local=A:P, remote=A:P, ssl=M, cipher=C       then: refreshed lifetime=...
 *     PUBLISH .../traffic, .../traffic/peer              rcvp=N, rcvb=N, sentp=N, sentb=N   since the last one
 *     at the end: these two, the key is deleted, "deleted" is published on it, and
 *     PUBLISH .../total_traffic, .../total_traffic/peer  the same, in all
 *
 * A release is told as "refreshed lifetime=0" first.  What an allocation is that another process has made is told as
 * "refreshed", too; one that another server has taken over (PH_END_ADOPTED) has not ended, and its key is that one's now.
 *
 * Unlike coturn's: keys end by themselves with the allocation's lifetime (EX), nobody else's keys are touched at the start,
 * KEYS is never said, sessions that never had an allocation are not told of, and a name that could be read as another key
 * ('/', '%', space, glob characters, control bytes) is written with these bytes as %XX.
 *
 * Messages wait in a bounded queue while Redis is slow or away, then the newest are dropped and counted; those that were under
 * way when it went are not sent twice.  When it is back, the status keys of what is up are set again (as "refreshed", with
 * what is left of the lifetime) without being published.
 *
 * One for each worker, on its loop; but for the counters, which any thread may read.
 */
#ifndef PH_TURN_STORE_STATS_H
#define PH_TURN_STORE_STATS_H

#include "turn/server.h"
#include "turn/store/redis.h"

/* A session as it is told; what it points to lives until the call it is for returns. */
struct ph_statsdb_session {
    struct ph_turnd_info info;
    struct ph_addr local;     /* of ours, that its client talks to */
    const char *tls, *cipher; /* "TLSv1.3" and so on; NULL: none */
};

/* Zero means the default given. */
struct ph_redis_stats_conf {
    const char *prefix; /* "turn"; copied */
    const char *realm;  /* of sessions without one (no-auth); copied; NULL: their keys have none */
    uint32_t queue;     /* messages that may wait, 8192 */
    /* The next session that is up: *at starts at 0 and is moved on.  False: there are no more.  NULL: keys are not set
     * again. */
    bool (*next)(void *ctx, uint32_t *at, struct ph_statsdb_session *out);
    void *ctx;
};

#define PH_STATSDB_COUNTERS(X)                                                                     \
    X(sent, "messages sent")                                                                       \
    X(dropped, "messages dropped: too many waited")                                                \
    X(failed, "messages that Redis refused, or that were under way when it went")

struct ph_statsdb_stats {
#define PH_X(name, text) uint64_t name;
    PH_STATSDB_COUNTERS(PH_X)
#undef PH_X
    uint64_t queued; /* messages that wait, or are under way */
    bool up;
};

struct ph_statsdb;

/* redis stays the caller's; we are its watcher.  NULL when out of memory. */
struct ph_statsdb *ph_statsdb_new(struct ph_redis *redis, const struct ph_redis_stats_conf *c,
                                  const struct ph_env *env);

/* Frees it, after redis (ph_redis_free, which answers what is under way).  NULL: nothing. */
void ph_statsdb_free(struct ph_statsdb *s);

/* Tells of an event; others than the four about allocations are none of ours.  Of `session` info is not looked at: ev has
 * it. */
void ph_statsdb_event(struct ph_statsdb *s, const struct ph_turnd_ev *ev,
                      const struct ph_statsdb_session *session, ph_ns now);

/* Calls done, once, from the loop, when all that waits was sent and answered, Redis is away, or so long has passed; from then
 * on nothing more is to be told.  To be followed by ph_redis_free and ph_statsdb_free, which done may do. */
void ph_statsdb_finish(struct ph_statsdb *s, uv_loop_t *loop, uint32_t timeout_ms,
                       void (*done)(void *ctx), void *ctx);

/* Any thread. */
void ph_statsdb_stats(const struct ph_statsdb *s, struct ph_statsdb_stats *out);

#endif
