/*
 * Long-term credentials: who may allocate, and with which key.
 *
 * Two sources, both at once if wanted: static users (a password, or the MD5 key alone) and REST secrets, with
 * which anybody who knows the secret makes users that expire: the name is "unix-time:id" (or "id:unix-time"),
 * the password base64(HMAC-SHA1(secret, name)), or with HMAC-SHA256 in its place.  Several secrets may be valid, for
 * roll-over.  The id of a REST name may carry limits, which the secret vouches for:
 * "1735689600:alice;max-bps=125000;user-quota=2".  Who counts for quotas is "alice" then; parameters of other names, and
 * what is no number, are ignored.
 *
 * Filled once, then only read: workers may share it.
 */
#ifndef PH_TURN_AUTH_H
#define PH_TURN_AUTH_H

#include "stun/base/env.h"
#include "stun/base/slice.h"
#include "stun/codec/integrity.h"

#include <stdbool.h>
#include <stdint.h>

struct ph_auth;

/* An empty set for a realm (copied).  NULL when out of memory. */
struct ph_auth *ph_auth_new(const char *realm, const struct ph_env *env);
void ph_auth_free(struct ph_auth *a);

/* Adds a user with a password; an equal name is replaced.  Returns 0, PH_E_ARG (empty or longer than 508
 * bytes) or PH_E_NOMEM.  Keys are computed here, the password is not kept. */
int ph_auth_add_user(struct ph_auth *a, struct ph_slice name, struct ph_slice password);

/* Adds a user by the 16-byte MD5 key of "user:realm:password" (coturn's name:0xKEY).  SHA-256 cannot be
 * offered to clients while such users exist. */
int ph_auth_add_user_key(struct ph_auth *a, struct ph_slice name, const uint8_t key[static 16]);

/* Limits of one user.  Zero: the server's. */
struct ph_auth_limits {
    uint32_t max_allocations;
    uint64_t max_bps;       /* bytes a second and direction */
    int64_t expires_unix_s; /* 0: never */
};

/* Sets the limits of a user that was added.  0, or PH_E_MISSING. */
int ph_auth_limit_user(struct ph_auth *a, struct ph_slice name, const struct ph_auth_limits *l);

/* Users and secrets at the moment. */
unsigned ph_auth_users(const struct ph_auth *a);
unsigned ph_auth_secrets(const struct ph_auth *a);

/* Adds a REST secret.  Tried in the order added. */
int ph_auth_add_secret(struct ph_auth *a, struct ph_slice secret);

/* The character between time and id of REST names; ':' unless set. */
void ph_auth_rest_separator(struct ph_auth *a, char separator);

/* The realm. */
struct ph_slice ph_auth_realm(const struct ph_auth *a);

/* Algorithms that every user can use: both, or MD5 alone. */
bool ph_auth_has_sha256(const struct ph_auth *a);

/* True when USERHASH can be resolved: no REST secrets, whose names are not known beforehand. */
bool ph_auth_has_userhash(const struct ph_auth *a);

/* One possible answer. */
struct ph_auth_match {
    struct ph_key key;
    struct ph_slice
        id; /* who counts for quotas: the name, or the id part of a REST name; points into
                               the name given (or the user's, for a hash) */
    struct ph_slice name;     /* the whole user name */
    int64_t expires_unix_s;   /* when the credential ends; INT64_MAX: never */
    uint32_t max_allocations; /* of this user, 0: the server's */
    uint64_t max_bps;         /* of each of his sessions, 0: the server's */
};

/* Looks up the nth key (0, 1, ...) that `name` may have for an algorithm (PH_ALG_...) at wall time unix_s; the
 * caller tries each against the message: a static user's, then for each secret the one by HMAC-SHA1, then for each
 * that by HMAC-SHA256.  Returns 0, PH_E_MISSING when there are no more (or no user), or
 * PH_E_AUTH when the name is a REST name, or a user, that has expired. */
int ph_auth_find(const struct ph_auth *a, struct ph_slice name, uint16_t alg, int64_t unix_s,
                 unsigned nth, struct ph_auth_match *out);

/* The user name behind a USERHASH.  Returns 0 or PH_E_MISSING.  The name lives as long as the set. */
int ph_auth_unhash(const struct ph_auth *a, const uint8_t hash[static PH_SHA256_LEN],
                   struct ph_slice *name);

#endif
