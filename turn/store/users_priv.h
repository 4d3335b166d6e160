/*
 * From replies to what they mean: no connection, no memory of their own but the text they return.
 */
#ifndef PH_TURN_STORE_USERS_PRIV_H
#define PH_TURN_STORE_USERS_PRIV_H

#include "turn/store/redis_priv.h"
#include "turn/store/users.h"

enum {
    PH__USERS_ITEMS = 4096, /* members of a set, keys of a scan */
    PH__USERS_TEXT = 1023,  /* bytes of one */
};

/* A user, from GET .../key and HMGET .../limits max-bps user-quota expires.  FAILED: the server could not say (no reply,
 * or an error that is about the server); NONE: there is none, or, with *why set, what is there is no user. */
enum ph_userdb_result ph__users_convert(const struct redisReply *key,
                                        const struct redisReply *limits, struct ph_userdb_user *out,
                                        const char **why);

/* True when a name may become a part of a key: not empty or too long, no '/', no control bytes. */
bool ph__users_name_ok(struct ph_slice name);

/* A decimal number up to max, with blanks around it at most.  False for anything else. */
bool ph__reply_number(const struct redisReply *reply, uint64_t max, uint64_t *out);

/* The strings of an array, sorted and each once; those that are no text are left out and counted in *skipped.  0,
 * PH_E_FORMAT (no array of strings), PH_E_LIMIT (too many) or PH_E_NOMEM.  Free with ph__texts_free. */
int ph__reply_texts(const struct redisReply *reply, char ***v, unsigned *n, unsigned *skipped);

/* Adds a copy of a text to a list.  0, PH_E_LIMIT or PH_E_NOMEM. */
int ph__texts_add(char ***v, unsigned *n, const char *p, size_t len);
void ph__texts_sort(char **v, unsigned *n);
void ph__texts_free(char **v, unsigned n); /* and wipes */

/* An OAuth key, from HMGET ... ikm_key timestamp lifetime as_rs_alg.  NULL, or what is wrong with it. */
const char *ph__oauth_convert(const char *kid, const struct redisReply *reply,
                              struct ph_oauth_key *out);

/* Scans for the keys with a prefix (whose bytes are plain), never with KEYS.  fn gets the part after it of each, sorted,
 * which is its to free; or ok = false. */
void ph__redis_scan(struct ph_redis *r, const char *prefix,
                    void (*fn)(void *ctx, char **v, unsigned n, bool ok), void *ctx);

#endif
