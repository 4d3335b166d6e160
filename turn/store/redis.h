/*
 * A connection to Redis on a libuv loop (hiredis), that stays up: it reconnects, and says when it cannot.
 *
 *     redis://[[user]:password@]host[:port][/db]          one server
 *     unix:PATH                                           one server, by its socket file
 *     redis+sentinel://[[user]:password@]host[:port][,host[:port]...]/MASTER[/db]
 *                                                         the master of that name, asked of the sentinels (port 26379)
 *     redis+cluster://[[user]:password@]host[:port][,host[:port]...]
 *                                                         a cluster; the hosts are some of its nodes
 *     rediss://, rediss+sentinel://, rediss+cluster://    the same over TLS
 *     ip=127.0.0.1 dbname=2 password=... port=6379        coturn's connection string: one server
 *
 * ?name=value&... may follow an address.  The names are coturn's everywhere: tls (ssl), ca (cacert, tls-ca),
 * capath, cert (tls-cert), clientkey (key, tls-key), sni (servername, tls-sni), verify=peer|none, connect_timeout,
 * and so on; of ours are command_timeout, path, sentinel-user and sentinel-password.
 *
 * TLS: the server's certificate must lead to an authority of ca or capath (else the system's) and be for the host
 * (for sni, if that is given: sentinels and clusters mostly name their servers by address).  Files are read at the
 * first connection, and again after one that failed for TLS.
 *
 * A server that says that it is not the master (READONLY, MASTERDOWN) or loads its data (LOADING) is left: the
 * command gets the error, then the connection is made anew, in case the name leads elsewhere by now, the sentinels
 * know better, or the cluster's map has changed.
 *
 * In a cluster a command goes to the master of its first key (args[1]; the first key after numkeys of EVAL and its
 * kin; the first after STREAMS of XREAD), one without a key (PUBLISH, PING, SCAN ...) to any: SCAN sees that node's
 * keys only.  All keys of a command must be in one slot: give them a common {tag}.
 *
 * Commands are always sent with counted arguments: nothing a client says can become part of a command.  Those given
 * within a turn of the loop leave with one write.
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

enum { PH_REDIS_WHY = 256, PH_REDIS_ARGS = 256, PH_REDIS_HOSTS = 8 };

enum ph_redis_mode { PH_REDIS_ONE, PH_REDIS_SENTINEL, PH_REDIS_CLUSTER };

struct ph_redis_host {
    char host[256]; /* name or address */
    uint16_t port;
};

/* Plain data, to be wiped when it is not needed any more (ph_wipe). */
struct ph_redis_conf {
    enum ph_redis_mode mode;
    char host
        [256]; /* name or address; "" with path.  With sentinels or a cluster the first of them */
    char path[256];                                /* of a UNIX socket; "" with host */
    uint16_t port;                                 /* 6379; of sentinels 26379 */
    struct ph_redis_host more[PH_REDIS_HOSTS - 1]; /* the other sentinels or nodes */
    unsigned n_more;
    char master[128]; /* what the sentinels call it */
    uint32_t db;
    char user[128], password[256];                   /* "" : none */
    char sentinel_user[128], sentinel_password[256]; /* for the sentinels themselves */
    uint32_t connect_timeout_ms;                     /* 3000 */
    uint32_t command_timeout_ms;                     /* 3000 */
    bool tls, no_verify;                             /* no_verify: any certificate will do */
    char ca[256], capath[256];                       /* authorities: a PEM file, a directory */
    char cert[256], key[256];                        /* ours: PEM files; key "": in cert */
    char sni[256];                                   /* the server's name, when it is not host */
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
    bool up; /* serves; a cluster: its map is known, and all its masters are connected */
};

/* Begins to connect; never fails for an unreachable server.  NULL when out of memory.  conf is copied. */
struct ph_redis *ph_redis_new(uv_loop_t *loop, const struct ph_redis_conf *c,
                              const struct ph_env *env);
/* Ends it: commands under way are answered with NULL, before this returns; after it, nothing of it calls anybody.  Run
 * the loop on until its handles are closed.  May be called from an answer.  NULL: nothing. */
void ph_redis_free(struct ph_redis *r);

enum {
    PH_REDIS_PENDING = 4096,     /* commands under way */
    PH_REDIS_OUT = 4 << 20,      /* bytes of commands not sent yet, to one server */
    PH_REDIS_REPLY = 16 << 20,   /* bytes of one reply: more, and the connection is ended */
    PH_REDIS_ELEMENTS = 1 << 16, /* of an array in it */
};

/* Sends a command of n (at most PH_REDIS_ARGS) arguments.  fn gets the reply, or NULL when there is none
 * (connection lost, timeout); it is always called, later, never from within.  Returns 0; or, and then fn is not
 * called, PH_E_STATE: not connected (in a cluster: to the node that has the key), PH_E_LIMIT: too many are under
 * way (PH_REDIS_PENDING) or too much waits to be sent (PH_REDIS_OUT), PH_E_NOMEM, or PH_E_ARG. */
int ph_redis_command(struct ph_redis *r, const struct ph_slice *args, unsigned n,
                     void (*fn)(void *ctx, const struct redisReply *reply), void *ctx);

/* Has fn told when the connection begins to serve (up: after the greeting, so that commands may be sent from
 * within) and when it does not any more (after the commands under way were answered with NULL; in a cluster, those
 * to the node that was lost): by turns, beginning with up, always from the loop.  When it serves already, nothing
 * is told until that ends; see ph_redis_stats.  One watcher, the last that was set; fn NULL: none.  fn may call
 * anything, ph_redis_free too. */
void ph_redis_watch(struct ph_redis *r, void (*fn)(void *ctx, bool up), void *ctx);

const struct ph_redis_stats *ph_redis_stats(const struct ph_redis *r);

#endif
