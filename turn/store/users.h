/*
 * coturn's user database in Redis (redis-userdb), byte for byte:
 *
 *     turn/realm/<realm>/user/<user>/key        hex of MD5("user:realm:password")
 *     turn/realm/<realm>/secret                 set of REST secrets
 *     turn/realm/<realm>/allowed-peer-ip, denied-peer-ip   sets of ranges
 *     turn/realm/<realm>/max-bps, user-quota, total-quota
 *     turn/origin/<origin>                      realm
 *     turn/oauth/kid/<kid>                      hash: ikm_key, timestamp, lifetime, as_rs_alg, realm
 *
 * and, of ours, turn/realm/<realm>/user/<user>/limits: hash of max-bps, user-quota, expires (unix time).
 * Users are looked up one by one when they come; the rest is small and polled.  A user name that could reach another
 * key ('/', control bytes) is not looked up: there is no such user.
 */
#ifndef PH_TURN_STORE_USERS_H
#define PH_TURN_STORE_USERS_H

#include "turn/oauth.h"
#include "turn/store/redis.h"
#include "turn/userdb.h"

/* Looks a user up; fn is always called, later (at once only when memory is out).  Loop thread.  A record that is there but
 * makes no sense is no user (and a line in the log): a database that does not answer is told apart from it. */
void ph_redis_user(struct ph_redis *r, const char *realm, struct ph_slice name,
                   void (*fn)(void *ctx, enum ph_userdb_result result,
                              const struct ph_userdb_user *user),
                   void *ctx);

/* What is polled, of one realm.  Text is owned by the struct. */
struct ph_redis_realm {
    char **secret, **allowed, **denied;
    unsigned n_secrets, n_allowed, n_denied;
    uint64_t max_bps; /* 0: not there */
    uint32_t user_quota, total_quota;
    char **origin; /* origins that lead to this realm */
    unsigned n_origins;
};

/* Frees what it holds, wiping secrets. */
void ph_redis_realm_fini(struct ph_redis_realm *x);

/* Whether both say the same. */
bool ph_redis_realm_eq(const struct ph_redis_realm *a, const struct ph_redis_realm *b);

/* Reads it; fn is always called, later, with NULL when it could not be had: the server is silent, or a part of it is not
 * what it should be.  What *x holds belongs to fn from then on (ph_redis_realm_fini), x itself does not.  The lists are
 * sorted. */
void ph_redis_realm(struct ph_redis *r, const char *realm,
                    void (*fn)(void *ctx, struct ph_redis_realm *x), void *ctx);

/* Reads all OAuth keys; the same.  keys is fn's to wipe and free.  Keys that make no sense are left out, with a line in
 * the log.  Their "realm" is not looked at. */
void ph_redis_oauth(struct ph_redis *r,
                    void (*fn)(void *ctx, struct ph_oauth_key *keys, unsigned n, bool ok),
                    void *ctx);

#endif
