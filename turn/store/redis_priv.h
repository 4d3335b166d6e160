/*
 * What the files of this box share: ph_redis itself, and answering later.
 *
 *     redis.c           what is the same for one server, sentinels and a cluster
 *     redis_one.c       one server, or the master that sentinels name: connect, serve, break, wait, again
 *     redis_sentinel.c  who the master is
 *     redis_cluster.c   a cluster: its map, and a ph_redis for each master
 *     redis_route.c     a command's key, a key's slot, where MOVED and ASK lead
 */
#ifndef PH_TURN_STORE_REDIS_PRIV_H
#define PH_TURN_STORE_REDIS_PRIV_H

#include "turn/store/redis_conn.h"

enum { PH__REDIS_SLOTS = 16384, PH__REDIS_NODES = 64, PH__REDIS_ANY = -1 };

/* An answer that is owed; part of the caller's own record. */
struct ph__redis_owed {
    struct ph__redis_owed *next;
    ph__redis_fn *fn;
    void *ctx;
};

enum ph__redis_state { PH__WAITING, PH__RESOLVING, PH__CONNECTING, PH__UP, PH__ENDED };

struct ph__cluster;

struct ph_redis {
    uv_loop_t *loop;
    struct ph_redis_conf c;
    struct ph_env env;
    struct ph_redis_stats stats;
    struct ph_redis *parent; /* the cluster that it is a node of; NULL: none */
    char name[PH__REDIS_NAME];
    enum ph__redis_state state;
    uv_timer_t timer;
    unsigned open; /* what is not closed: the timer, connections, questions */
    SSL_CTX *tls;  /* a node has its parent's */

    struct ph_redis_conf to; /* the server: c, or what the sentinels said */
    struct ph__conn *conn;
    unsigned conns; /* this one and those still closing */
    struct ph__asker *asker;
    unsigned sentinel; /* that was of help the last time */
    uint64_t due_at;   /* WAITING: connect */
    uint64_t up_at;
    uint32_t backoff_ms;
    bool complained; /* of this outage */

    struct ph__cluster *cluster;
    void (*watch)(void *ctx, bool up);
    void *watch_ctx;
    struct ph__redis_owed *owed, **owed_tail;
};

/* --- redis.c --------------------------------------------------------------------------------------- */

/* ph_redis_new for a node of a cluster. */
struct ph_redis *ph__redis_node(struct ph_redis *parent, const struct ph_redis_conf *c);

/* Has o->fn(o->ctx, NULL) called later. */
void ph__redis_later(struct ph_redis *r, struct ph__redis_owed *o);

/* ph_redis_command, but what cannot be sent is answered with NULL later, by means of o. */
void ph__redis_ask(struct ph_redis *r, struct ph__redis_owed *o, const struct ph_slice *args,
                   unsigned n, ph__redis_fn *fn, void *ctx);

/* Its environment, and what its log lines call it ("redis 127.0.0.1:6379"). */
const struct ph_env *ph__redis_env(const struct ph_redis *r);
const char *ph__redis_name(const struct ph_redis *r);

/* The servers that have keys, for what must be said to each: r itself, or the masters of a cluster.  NULL: there is
 * no ith. They are the same as long as the epoch is; what is sent to one that vanishes is answered with NULL. */
struct ph_redis *ph__redis_master(struct ph_redis *r, unsigned i);
unsigned ph__redis_epoch(const struct ph_redis *r);
bool ph__redis_is_cluster(const struct ph_redis *r);

/* Sets the timer for what is due next. */
void ph__redis_arm(struct ph_redis *r);

/* Something of r is closed (r->open counts). */
void ph__redis_closed(struct ph_redis *r);

/* What TLS needs.  True, and *ctx may be NULL (none is wanted); false: why not. */
bool ph__redis_tls(struct ph_redis *r, SSL_CTX **ctx, char why[static PH__REDIS_WHY]);
void ph__redis_tls_drop(struct ph_redis *r); /* it failed: to be loaded anew */

/* A connection or a look-up has failed: counted, and said once for each outage. */
void ph__redis_failed(struct ph_redis *r, const char *why);

/* Up or down, as the watcher is told. */
void ph__redis_tell(struct ph_redis *r, bool up);

/* The next wait after a failure, in ms: ever longer, half of it left to chance, so that a fleet does not come back
 * all at once. */
uint32_t ph__redis_backoff(struct ph_redis *r, uint32_t *last, uint32_t max);

/* --- one server (redis_one.c, redis_sentinel.c) ---------------------------------------------------- */

void ph__one_due(struct ph_redis *r);
void ph__one_free(struct ph_redis *r);

/* r->to is known (mode PH_REDIS_SENTINEL: asked of the sentinels first): goes on to connect, or has failed. */
void ph__one_connect(struct ph_redis *r);
void ph__one_drop(struct ph_redis *r, const char *why, bool tls);
void ph__sentinel_ask(struct ph_redis *r);
void ph__sentinel_stop(struct ph_redis *r);

/* --- a cluster (redis_cluster.c) ------------------------------------------------------------------- */

struct ph__cluster *ph__cluster_new(struct ph_redis *r);
void ph__cluster_close(struct ph__cluster *k);
int ph__cluster_command(struct ph__cluster *k, const struct ph_slice *args, unsigned n,
                        ph__redis_fn *fn, void *ctx);
struct ph_redis *ph__cluster_master(const struct ph__cluster *k, unsigned i);
unsigned ph__cluster_epoch(const struct ph__cluster *k);

/* --- routes (redis_route.c) ------------------------------------------------------------------------ */

/* The slot of a key: CRC16 of it, or of what is between the first '{' and the next '}', when that is something. */
unsigned ph__route_slot(struct ph_slice key);

/* The slot of a command's first key, or PH__REDIS_ANY: it has none. */
int ph__route_of(const struct ph_slice *args, unsigned n);

/* "MOVED 3999 127.0.0.1:6381", "ASK ..." */
struct ph__redirect {
    bool ask;
    unsigned slot;
    struct ph_redis_host at; /* host "": the one that said so */
};
bool ph__route_redirect(const char *error, struct ph__redirect *out);

/* CLUSTER SLOTS: whose each slot is, as an index into host; 255: nobody's. */
struct ph__slots {
    uint8_t of[PH__REDIS_SLOTS];
    struct ph_redis_host host[PH__REDIS_NODES];
    unsigned n_hosts;
};
/* asked: who has said so, for entries without a host.  0, PH_E_FORMAT, or PH_E_LIMIT: too many masters. */
int ph__route_slots(const struct redisReply *reply, const char *asked, struct ph__slots *out);

/* The value of a hexadecimal digit, or -1 (convert.c). */
int ph__hex(char c);

#endif
