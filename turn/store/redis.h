/*
 * A connection to Redis on a libuv loop (hiredis), that stays up: it reconnects, and says when it cannot.
 *
 * Addresses: redis://[[user]:password@]host[:port][/db], unix:PATH, both with ?name=value&... after them if need be, or
 * coturn's connection string of key=value pairs ("ip=127.0.0.1 dbname=2 password=... port=6379 connect_timeout=5").
 * The names are coturn's everywhere; of ours are command_timeout and path.  TLS is refused: hiredis 0.14 has none.  Commands are always sent with counted
 * arguments: nothing a client says can become part of a command.
 *
 * One owner thread: that of the loop.
 */
#ifndef PH_TURN_STORE_REDIS_H
#define PH_TURN_STORE_REDIS_H

#include "stun/base/env.h"
#include "stun/base/slice.h"
#include "stun/base/time.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

enum { PH_REDIS_WHY = 256, PH_REDIS_ARGS = 16 };

struct ph_redis_conf {
    char host[256]; /* name or address; "" with path */
    char path[256]; /* of a UNIX socket; "" with host */
    uint16_t port;  /* 6379 */
    uint32_t db;
    char user[128], password[256]; /* "" : none */
    uint32_t connect_timeout_ms;   /* 3000 */
    uint32_t command_timeout_ms;   /* 3000 */
};

/* Reads an address.  0, or PH_E_FORMAT and a message in why that says what would be right (never a password). */
int ph_redis_parse(struct ph_redis_conf *c, const char *text, char why[static PH_REDIS_WHY]);

struct redisReply;
struct ph_redis;

#define PH_REDIS_COUNTERS(X)                                                                       \
    X(connects, "connections made")                                                                \
    X(failures, "connections that failed or broke")                                                \
    X(commands, "commands sent")                                                                   \
    X(errors, "commands answered with an error, or not at all")

struct ph_redis_stats {
#define PH_X(name, text) uint64_t name;
    PH_REDIS_COUNTERS(PH_X)
#undef PH_X
    bool up;
};

/* Begins to connect; never fails for an unreachable server.  NULL when out of memory.  conf is copied. */
struct ph_redis *ph_redis_new(uv_loop_t *loop, const struct ph_redis_conf *c,
                              const struct ph_env *env);
/* Ends it: commands under way are answered with NULL, before this returns; after it, nothing of it calls anybody.  Run
 * the loop on until its handles are closed.  May be called from an answer.  NULL: nothing. */
void ph_redis_free(struct ph_redis *r);

/* Sends a command of n (at most PH_REDIS_ARGS) arguments.  fn gets the reply, or NULL when there is none (connection lost,
 * timeout); it is always called, later, never from within.  Returns 0; or, and then fn is not called, PH_E_STATE: not
 * connected, PH_E_LIMIT: too many are under way, PH_E_NOMEM, or PH_E_ARG. */
int ph_redis_command(struct ph_redis *r, const struct ph_slice *args, unsigned n,
                     void (*fn)(void *ctx, const struct redisReply *reply), void *ctx);

const struct ph_redis_stats *ph_redis_stats(const struct ph_redis *r);

#endif
