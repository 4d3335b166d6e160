/*
 * coturn's statistics in Redis (redis-statsdb), byte for byte: status keys and messages.
 *
 *     SET + PUBLISH turn/realm/<realm>/user/<user>/allocation/<id>/status
 *         new lifetime=N, type=T, local=A:P, remote=A:P, ssl=M, cipher=C       then: refreshed lifetime=...
 *         at the end: the key is deleted, "deleted" is published
 *     PUBLISH .../traffic, .../traffic/peer              rcvp=N, rcvb=N, sentp=N, sentb=N   since the last one
 *     PUBLISH .../total_traffic, .../total_traffic/peer  the same, in all, at the end
 *
 * Unlike coturn's: keys end by themselves with the allocation's lifetime (EX), nobody else's keys are touched at the start,
 * KEYS is never said, and a name that could be read as another key ('/', space, glob characters, control bytes) is written
 * with these bytes as %XX.
 *
 * Messages wait in a bounded queue while Redis is slow or away, then the newest are dropped and counted; when it comes back,
 * status keys of what is up are set again (ph_redis_stats_again) without being published.
 *
 * One for each worker, on its loop.
 */
#ifndef PH_TURN_STORE_STATS_H
#define PH_TURN_STORE_STATS_H

#include "turn/server.h"
#include "turn/store/redis.h"

struct ph_redis_stats_conf {
    const char *prefix; /* "turn"; copied */
    uint32_t queue;     /* messages that may wait, 8192 */
};

struct ph_statsdb;

/* redis stays the caller's, and must outlive it.  NULL when out of memory. */
struct ph_statsdb *ph_statsdb_new(struct ph_redis *redis, const struct ph_redis_stats_conf *c,
                                  const struct ph_env *env);
void ph_statsdb_free(struct ph_statsdb *s);

#endif
