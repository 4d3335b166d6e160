/*
 * A connection to one Redis server, from the socket up:
 *
 *     ph__link    the name is looked up, its addresses are tried, bytes go both ways       redis_link.c, redis_wire.c
 *     ph__rtls    TLS between the link and its socket                                      redis_tls.c
 *     ph__conn    the greeting, commands and their replies, their time limits              redis_conn.c
 *     ph__asker   one question, put to one server after another                            redis_asker.c
 *
 * None of them tries twice: that is for ph_redis.  Callbacks come from the loop, never from within a call (but those of
 * ph__conn_close), and after close none but `gone`.
 *
 * hiredis is used for the protocol alone (redisFormatCommandArgv, redisReader).  Its asynchronous layer is not: it
 * looks names up while the loop waits, writes without MSG_NOSIGNAL, has no timeouts, and ends the process by an
 * assertion when a server says something that nobody asked for.
 */
#ifndef PH_TURN_STORE_REDIS_CONN_H
#define PH_TURN_STORE_REDIS_CONN_H

#include "turn/store/redis.h"

#include <hiredis/hiredis.h>
#include <openssl/types.h>
#include <stddef.h>

enum {
    PH__REDIS_WHY = 256,     /* why a connection could not be made, or broke */
    PH__REDIS_NAME = 320,    /* what log lines call a server */
    PH__REDIS_ADDRESS = 272, /* "[host]:port" */
};

typedef void ph__redis_fn(void *ctx, const struct redisReply *reply);

/* --- TLS (redis_tls.c) ----------------------------------------------------------------------------- */

struct ph__rtls;

/* Loads what a configuration names.  NULL, and in why which file it is and what is wrong with it. */
SSL_CTX *ph__rtls_load(const struct ph_redis_conf *c, char why[static PH__REDIS_WHY]);

/* A session with the server of a configuration.  NULL when out of memory. */
struct ph__rtls *ph__rtls_new(SSL_CTX *ctx, const struct ph_redis_conf *to);
void ph__rtls_free(struct ph__rtls *t); /* NULL: nothing */

/* Takes what came from the socket.  False: out of memory. */
bool ph__rtls_feed(struct ph__rtls *t, const char *p, size_t n);

/* Goes on with the handshake: 1 it is done, 0 more must come, -1 it failed, and why. */
int ph__rtls_shake(struct ph__rtls *t, char why[static PH__REDIS_WHY]);

/* Decrypts.  The number of bytes, 0: more must come, -1: the session is over, and why. */
int ph__rtls_read(struct ph__rtls *t, char *to, size_t cap, char why[static PH__REDIS_WHY]);

/* Encrypts n bytes.  False: the session is over, and why. */
bool ph__rtls_write(struct ph__rtls *t, const char *p, size_t n, char why[static PH__REDIS_WHY]);

/* What is to be put on the socket, and that n bytes of it have been. */
size_t ph__rtls_out(const struct ph__rtls *t, const char **p);
void ph__rtls_sent(struct ph__rtls *t, size_t n);

/* --- the link (redis_link.c) ----------------------------------------------------------------------- */

struct ph__link;

struct ph__link_conf {
    uv_loop_t *loop;
    const struct ph_redis_conf *to; /* must stay */
    SSL_CTX *tls;                   /* NULL: none; kept by a reference */
    void (*up)(void *ctx);
    void (*data)(void *ctx, const char *p, size_t n);
    void (*down)(void *ctx, const char *why, bool tls); /* tls: that is what failed; close it */
    void (*gone)(void *ctx);                            /* last: all of it is closed and freed */
    void *ctx;
};

/* Begins to connect.  NULL when out of memory. */
struct ph__link *ph__link_new(const struct ph__link_conf *c);
void ph__link_close(struct ph__link *l);

/* Sends, in the loop's next turn.  0, PH_E_LIMIT when too much waits to be sent, PH_E_STATE or PH_E_NOMEM. */
int ph__link_send(struct ph__link *l, const void *bytes, size_t n);

/* Reads now what may have come in while the loop was busy elsewhere.  Calls data and down. */
void ph__link_poll(struct ph__link *l);

/* True while TLS is being agreed upon. */
bool ph__link_shaking(const struct ph__link *l);

/* --- the greeting (redis_greet.c) ------------------------------------------------------------------ */

struct ph__conn;

struct ph__greet {
    struct ph__conn *conn;
    const struct ph_redis_conf *to;
    const struct ph_env *env;
    const char *name;
    bool master;                              /* it must be one */
    void (*done)(void *ctx, const char *why); /* NULL: it serves us */
    void *ctx;
    char why[PH__REDIS_WHY];
};

/* AUTH, SELECT, ROLE as far as they are needed, and PING.  0 or a negative error. */
int ph__greet(struct ph__greet *g);

/* What a server says that is not the master (any more), or not ready to be one: "READONLY" and its kin; else NULL. */
const char *ph__greet_no_master(const char *error);

/* --- the connection (redis_conn.c) ----------------------------------------------------------------- */

struct ph__conn_conf {
    uv_loop_t *loop;
    const struct ph_env *env;
    const char *name;               /* for log lines */
    const struct ph_redis_conf *to; /* all of these must stay */
    SSL_CTX *tls;                   /* as for the link */
    bool master;                    /* it must be one */
    struct ph_redis_stats *stats;   /* errors are counted here; NULL: nowhere */
    void (*up)(void *ctx);
    void (*down)(void *ctx, const char *why, bool tls); /* close it */
    void (*gone)(void *ctx);
    void *ctx;
};

/* Begins to connect.  NULL when out of memory. */
struct ph__conn *ph__conn_new(const struct ph__conn_conf *c);

/* Ends it: what is under way is answered with NULL. */
void ph__conn_close(struct ph__conn *c);

/* As ph_redis_command, once it is up. */
int ph__conn_send(struct ph__conn *c, const struct ph_slice *args, unsigned n, ph__redis_fn *fn,
                  void *ctx);

/* --- a question (redis_asker.c) -------------------------------------------------------------------- */

struct ph__asker;

struct ph__asker_conf {
    uv_loop_t *loop;
    const struct ph_env *env; /* this and the next two must stay */
    const char *name;
    SSL_CTX *tls;
    const struct ph_redis_conf *to; /* credentials, times; copied, like the next two */
    const struct ph_redis_host *host;
    unsigned n_hosts, first; /* to be asked in a ring, beginning with this */
    const char *question[3]; /* up to the first NULL; must stay */
    /* An answer.  False: it will not do, and why; the next server is asked. */
    bool (*take)(void *ctx, unsigned host, const struct redisReply *reply,
                 char why[static PH__REDIS_WHY]);
    /* NULL: an answer was taken; else why not: what the last server's trouble was.  Close it. */
    void (*done)(void *ctx, const char *why, bool tls);
    void (*gone)(void *ctx);
    void *ctx;
};

/* Begins to ask.  NULL when out of memory. */
struct ph__asker *ph__asker_new(const struct ph__asker_conf *c);
void ph__asker_close(struct ph__asker *a);

/* "host:port" or "[host]:port". */
void ph__redis_address(char out[static PH__REDIS_ADDRESS], const char *host, uint16_t port);

#endif
