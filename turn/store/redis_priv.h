/*
 * What the files of this box share: the connection below ph_redis, and answering later.
 *
 * hiredis is used for the protocol alone (redisFormatCommandArgv, redisReader).  Its asynchronous layer is not: it
 * looks names up while the loop waits, writes without MSG_NOSIGNAL, has no timeouts, and ends the process by an
 * assertion when a server says something that nobody asked for.
 */
#ifndef PH_TURN_STORE_REDIS_PRIV_H
#define PH_TURN_STORE_REDIS_PRIV_H

#include "turn/store/redis.h"

#include <hiredis/hiredis.h>
#include <stddef.h>

enum {
    PH__REDIS_PENDING = 1024,      /* commands under way; a power of two */
    PH__REDIS_OUT_MAX = 1 << 20,   /* bytes not yet sent */
    PH__REDIS_REPLY_MAX = 8 << 20, /* bytes of one reply */
    PH__REDIS_ARRAY_MAX = 1 << 16, /* elements of one */
};

/* --- a connection (redis_link.c) ------------------------------------------------------------------- */

/* Callbacks come from the loop, never from within a call, and none but gone after ph__link_close. */
struct ph__link_conf {
    uv_loop_t *loop;
    const struct ph_redis_conf *to; /* must stay */
    void (*up)(void *ctx);
    void (*data)(void *ctx, const char *p, size_t n);
    void (*down)(void *ctx, int err); /* 0: the server closed it; -errno or UV_EAI_...; close it */
    void (*gone)(void *ctx); /* last: all of it is closed and freed; from close at the earliest */
    void *ctx;
};

struct ph__link;

/* Begins to connect.  0 and *l, or a negative error: then nothing is left and gone does not come. */
int ph__link_new(struct ph__link **l, const struct ph__link_conf *c);
void ph__link_close(struct ph__link *l);

/* Sends, in the loop's next turn.  0, PH_E_LIMIT when too much waits to be sent, or PH_E_NOMEM. */
int ph__link_send(struct ph__link *l, const void *bytes, size_t n);

/* Reads now what may have come in while the loop was busy elsewhere.  Calls data and down. */
void ph__link_poll(struct ph__link *l);

/* --- ph_redis (redis.c) ---------------------------------------------------------------------------- */

typedef void ph__redis_fn(void *ctx, const struct redisReply *reply);

/* An answer that is owed; part of the caller's own record. */
struct ph__redis_owed {
    struct ph__redis_owed *next;
    ph__redis_fn *fn;
    void *ctx;
};

/* Has o->fn(o->ctx, NULL) called later. */
void ph__redis_later(struct ph_redis *r, struct ph__redis_owed *o);

/* ph_redis_command, but what cannot be sent is answered with NULL later, by means of o. */
void ph__redis_ask(struct ph_redis *r, struct ph__redis_owed *o, const struct ph_slice *args,
                   unsigned n, ph__redis_fn *fn, void *ctx);

/* Its environment, and what its log lines call it ("redis 127.0.0.1:6379"). */
const struct ph_env *ph__redis_env(const struct ph_redis *r);
const char *ph__redis_name(const struct ph_redis *r);

/* The value of a hexadecimal digit, or -1 (convert.c). */
int ph__hex(char c);

#endif
