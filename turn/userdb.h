/*
 * Users that are kept elsewhere (a database): a cache with a circuit breaker in front of slow look-ups.
 *
 * The server core asks for a name; what is not in the cache is put on a list for the shell to look up, and the core
 * says PH_LATER to the packet.  Answers are kept for a while, also "there is no such user" (for a shorter one), and an
 * old answer is used on when the database does not reply.  Look-ups are bounded in number, in all and of one source
 * prefix (a flood of made-up names must not fill the database's queue), and when several in a row fail or time
 * out the breaker opens: for some seconds nobody is asked, then one look-up tries again.
 *
 * A core of its own: no I/O, time is given.  One for each worker.
 */
#ifndef PH_TURN_USERDB_H
#define PH_TURN_USERDB_H

#include "stun/base/addr.h"
#include "stun/base/env.h"
#include "stun/base/slice.h"
#include "stun/base/time.h"

#include <stdbool.h>
#include <stdint.h>

enum { PH_USERDB_NAME_MAX = 508, PH_USERDB_REALM_MAX = 128 };

/* Zero means the default given. */
struct ph_userdb_conf {
    uint32_t max_entries;        /* in the cache, 16384; the least recently used goes */
    uint32_t max_pending;        /* look-ups under way, 256 */
    uint32_t max_pending_source; /* of one /24 or /48, 16 */
    ph_ns ttl;                   /* of an answer, 60 s */
    ph_ns negative_ttl;          /* of "no such user", 5 s */
    ph_ns stale_ttl; /* how long an answer is used on while the database is silent, 600 s */
    ph_ns timeout;   /* of a look-up, 3 s */
    uint32_t breaker_failures; /* in a row, 5 */
    ph_ns breaker_pause;       /* 5 s */
};

/* What a database says of a user. */
struct ph_userdb_user {
    uint8_t key[16];          /* MD5("user:realm:password") */
    uint32_t max_allocations; /* 0: the server's user-quota */
    uint64_t max_bps;         /* bytes a second, 0: the server's */
    int64_t expires_s;        /* unix time the credential ends; INT64_MAX: never */
};

enum ph_userdb_result { PH_USERDB_FOUND, PH_USERDB_NONE, PH_USERDB_FAILED };

/* A look-up to be made. */
struct ph_userdb_ask {
    char name[PH_USERDB_NAME_MAX + 1]; /* bytes, may hold anything but is terminated; */
    uint16_t name_n;
    char realm[PH_USERDB_REALM_MAX];
};

#define PH_USERDB_COUNTERS(X)                                                                      \
    X(hits, "found in the cache")                                                                  \
    X(misses, "not in the cache")                                                                  \
    X(asked, "look-ups asked for")                                                                 \
    X(found, "look-ups that found a user")                                                         \
    X(none, "look-ups that found none")                                                            \
    X(failed, "look-ups that failed or timed out")                                                 \
    X(stale, "old answers used while the database was silent")                                     \
    X(refused, "look-ups not made: too many, or the breaker is open")                              \
    X(breaker_opened, "times the breaker opened")

struct ph_userdb_stats {
#define PH_X(name, text) uint64_t name;
    PH_USERDB_COUNTERS(PH_X)
#undef PH_X
};

struct ph_userdb;

struct ph_userdb *ph_userdb_new(const struct ph_userdb_conf *c, const struct ph_env *env);
void ph_userdb_free(struct ph_userdb *u);

/* Looks a user up for a client.  Returns 0 and *out; PH_E_MISSING: there is none, or the name or realm is too long;
 * PH_LATER (positive): being asked for; PH_E_LIMIT: cannot be asked now (answer 500). */
int ph_userdb_find(struct ph_userdb *u, struct ph_slice realm, struct ph_slice name,
                   const struct ph_addr *client, struct ph_userdb_user *out, ph_ns now);

/* The next look-up to make; false: none. */
bool ph_userdb_ask(struct ph_userdb *u, struct ph_userdb_ask *out, ph_ns now);

/* The answer to one, in any order.  user is NULL unless FOUND.  Answers to what was not asked (any more) are ignored.  Drain
 * ph_userdb_ask after it. */
void ph_userdb_answer(struct ph_userdb *u, struct ph_slice realm, struct ph_slice name,
                      enum ph_userdb_result result, const struct ph_userdb_user *user, ph_ns now);

/* Forgets what it knows of a user (it was revoked or changed), or of all with name.n = 0; with realm.n = 0 in every realm.  A
 * look-up under way is made once more when its answer has come. */
void ph_userdb_forget(struct ph_userdb *u, struct ph_slice realm, struct ph_slice name);

/* Look-ups that time out; call at the deadline.  True when one ended: packets that wait may be handed in again. */
bool ph_userdb_tick(struct ph_userdb *u, ph_ns now);
ph_ns ph_userdb_deadline(const struct ph_userdb *u);

const struct ph_userdb_stats *ph_userdb_stats(const struct ph_userdb *u);

#endif
