/*
 * From replies to what they mean for the store: no connection, no memory of their own.
 */
#ifndef PH_TURN_STORE_STORE_REDIS_PRIV_H
#define PH_TURN_STORE_STORE_REDIS_PRIV_H

#include "turn/store/store_priv.h"

struct redisReply;

/* The answer of the script that writes: 0 and the hash's life; PH_E_FORBIDDEN: another process has claimed the node; or
 * why not, in words, with PH_E_REFUSED (an error) or PH_E_FORMAT (no answer of that script). */
int ph__store_reply_life(const struct redisReply *reply, char life[static PH__STORE_LIFE],
                         char why[static PH__STORE_WHY]);

/* That of the script that claims. */
int ph__store_reply_token(const struct redisReply *reply, char token[static PH_STORE_TOKEN],
                          char why[static PH__STORE_WHY]);

/* That of the script that removes: how many there were. */
int ph__store_reply_count(const struct redisReply *reply, unsigned *count,
                          char why[static PH__STORE_WHY]);

/* That of the script that reads: entry is called for each field and value, as long as it returns true; the cursor for the
 * next page is in place by then. */
int ph__store_reply_page(const struct redisReply *reply, char cursor[static PH__STORE_LIFE],
                         bool (*entry)(void *ctx, struct ph_slice field, struct ph_slice value),
                         void *ctx, char why[static PH__STORE_WHY]);

#endif
