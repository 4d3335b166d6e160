/*
 * The TURN server on libuv: sockets, clocks and threads around ph_turnd cores.
 *
 * Each worker is a thread with a loop, a core, listening sockets of its own on the shared addresses
 * (SO_REUSEPORT: the kernel spreads clients over the workers, and one client always meets the same) and the relay
 * sockets of its allocations.  Workers share only what the configuration points to: credentials and peer
 * policy (read-only), ports, quota and reservations (atomic).
 *
 *     struct ph_turn_uv_conf c = {.core = ..., .workers = 2};
 *     err = ph_turn_uv_new(&t, &c, &failed);    ...    ph_turn_uv_free(t);
 *
 * Clients come over UDP, DTLS (on the same sockets), TCP and TLS (told apart by their first bytes, or one alone).  A
 * listener's proto says which socket it is (PH_UDP or PH_TCP, PH_TLS: TCP that should speak TLS), `accept` what it
 * takes.  A connection that turns out to belong to another worker (ConnectionBind), or an allocation that follows
 * its client to this one (mobility), is moved between workers.
 *
 * A listener on a wildcard address answers from the address it was asked at, but relays from whatever address
 * the route to the client has: on a host with several, list them.
 */
#ifndef PH_TURN_UV_SERVER_H
#define PH_TURN_UV_SERVER_H

#include "stun/base/env.h"
#include "stun/uv/batch.h"
#include "stun/uv/dtls.h"
#include "stun/uv/stream.h"
#include "turn/server.h"
#include "turn/store/store.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

/* Four listeners (numbers in core.listener) that together do RFC 5780, numbered as in ph_stund_conf. */
struct ph_turn_uv_quad {
    uint8_t listener[PH_STUND_SOCKETS];
};

enum { PH_TURN_UV_QUADS = PH_TURND_LISTENERS / PH_STUND_SOCKETS };

#define PH_TURN_UV_RECORDS "alloc" /* the kind of our records in the store */

/* A worker, for what it does on its own thread (see conf.on_loop). */
struct ph_turn_uv_here;

/* What a listener takes besides plain STUN over its socket. */
enum {
    PH_ACCEPT_PLAIN = 1, /* UDP; TCP without TLS */
    PH_ACCEPT_TLS = 2,   /* DTLS; TLS */
    PH_ACCEPT_PROXY = 4  /* TCP: a PROXY protocol header must come first */
};

/* A socket that goes from one process to the next. */
struct ph_turn_uv_socket {
    struct ph_addr at; /* as bound; proto: PH_UDP, or PH_TCP (it listens) */
    uint8_t worker;
    bool relay; /* of an allocation; else a listener's */
    int fd;     /* not close-on-exec */
};

/* An allocation, as in record.h. */
struct ph_turn_uv_record {
    uint8_t *p;
    size_t n;
};

/* What the next process needs to go on where this one ends.  All of it is malloc'ed, and the caller's. */
struct ph_turn_uv_handover {
    struct ph_turn_uv_socket *socket;
    unsigned n_sockets;
    struct ph_turn_uv_record *record; /* each for the worker that has its relay socket */
    unsigned n_records;
    unsigned workers;
    unsigned lost; /* that cannot be carried: of clients on connections without a ticket */
    struct ph_turnd_keys keys;
};

/* Zero means the default given. */
struct ph_turn_uv_conf {
    struct ph_turnd_conf
        core; /* listener[].stun and budget are filled in, max_allocations is of each worker */
    unsigned workers; /* threads; 0: run on `loop` */
    uv_loop_t *loop;  /* the caller's, with workers = 0 */
    const struct ph_env
        *env; /* copied; NULL: the system's randomness, no log.  Used by all workers */

    const struct ph_stund_conf
        *stun; /* how to answer Binding (at, sock, budget are filled in); NULL: not at all */
    struct ph_addr external
        [PH_TURND_LISTENERS]; /* a listener's address as clients see it; PH_AF_NONE: as bound */
    struct ph_turn_uv_quad quad[PH_TURN_UV_QUADS];
    unsigned n_quads;
    uint8_t accept[PH_TURND_LISTENERS]; /* PH_ACCEPT_...; neither PLAIN nor TLS: PLAIN, or
                                           TLS if its proto is PH_TLS */
    struct ph_tls *tls;                 /* for TLS and DTLS; a reference is taken; NULL: neither */
    uint32_t max_conns; /* of each worker: TCP and TLS clients with TCP peers, and as many DTLS
                           clients, 65536 */
    uint32_t max_conns_per_addr;           /* of one address (IPv6: /64) and worker, 4096 */
    ph_ns handshake_timeout, idle_timeout; /* of connections: 10 s, 60 s without allocation */
    uint32_t stream_queue;                 /* bytes that may wait for a slow TCP reader, 1 MB */
    bool http_400;                         /* answer HTTP on TCP listeners with 400 */
    struct ph_userdb_conf
        *userdb; /* users kept elsewhere (each worker has a cache of them); NULL: none */
    struct ph_budget_conf budget; /* of each worker */

    /* Of the process before: its records are restored and its keys used before a client is heard, then its sockets are
     * ours (those that nobody wanted are closed) and its memory still the caller's.  If we cannot start, its sockets are
     * the caller's as they were, packets that wait in them included.  NULL: nothing. */
    const struct ph_turn_uv_handover *inherit;
    /* Listeners are open, but no client is heard until ph_turn_uv_go: what comes waits, for allocations to be restored. */
    bool hold;
    /* Listeners and relays may be bound to addresses that are not ours yet (a floating address). */
    bool free_bind;
    /* A handle for writing the records of a worker (ph_store_write is called when there is a claim, see
     * ph_turn_uv_claimed): on the worker's thread and loop, as it starts; the worker frees it.  When it returns NULL we
     * cannot start (PH_E_NOMEM).  NULL: nothing is kept.  Implies core.save. */
    struct ph_store *(*store)(void *ctx, unsigned worker, uv_loop_t *loop);
    uint32_t rcvbuf, sndbuf; /* bytes of a listener's buffers; 4 MB each, cut to what is allowed */
    uint32_t relay_rcvbuf, relay_sndbuf; /* of a relay socket's; 0: the system's default */
    const char *device, *relay_device;   /* SO_BINDTODEVICE, NULL: any */
    bool no_gro;                         /* do not coalesce on the way in */
    bool no_icmp;                        /* do not tell clients of ICMP errors (RFC 8656 11.5) */

    /* Told of ALLOC_UP and ALLOC_DOWN (with core.stats also of REFRESHED and TRAFFIC), on the worker's thread; ev and what
     * it points to live until it returns.  It must be quick and must not call ph_turn_uv_... functions, but for ph_turn_uv_peers of this
     * worker.  An allocation that has moved ends on another worker than it began on; its session stays.  NULL:
     * nobody. */
    void (*on_event)(void *ctx, unsigned worker, const struct ph_turnd_ev *ev);
    /* Told of the worker's loop, on its thread: as it starts, before any event, and with loop NULL as it stops, its allocations
     * still there.  Handles may be put on the loop; they must begin to close then, and it runs until all of them have. */
    void (*on_loop)(void *ctx, unsigned worker, uv_loop_t *loop, struct ph_turn_uv_here *here);
    /* A user is to be looked up: answer with ph_turn_uv_answer, from any thread.  On the worker's thread; quick.
     * Required with userdb. */
    void (*on_lookup)(void *ctx, unsigned worker, const struct ph_userdb_ask *ask);
    void *ctx;
};

/* Counters of a worker, or summed. */
struct ph_turn_uv_stats {
    struct ph_turnd_stats turn;
    struct ph_stund_stats stun;
    struct ph_batch_stats io;
    uint64_t allocations_now;
    uint64_t relay_opened;      /* relay sockets bound */
    uint64_t relay_open_failed; /* attempts to bind that failed */
    uint64_t icmp_errors;       /* read from relay sockets */
    uint64_t not_dtls;          /* datagrams dropped: plain STUN where only DTLS is taken */
    struct ph_stream_stats stream;
    struct ph_dtls_stats dtls;
    struct ph_userdb_stats userdb;
    uint64_t allocations_by
        [5]; /* now, by the client's transport: UDP, TCP, TLS, DTLS, and [4] those with TCP relays */
    uint64_t parked;              /* packets that wait for a look-up or another worker, now:
                                     at most 256 and 512 kB of a worker, 64 of an address */
    uint64_t park_full;           /* packets dropped because too many waited */
    uint64_t moved_in, moved_out; /* allocations and connections that changed the worker */
    struct ph_store_stats store;  /* summed; up: all are; behind: one is; lag_ms: the longest */
};

struct ph_turn_uv;

/* Binds and starts.  The configuration is copied; what it points to must live on.  Returns 0 and *t, or a negative
 * error: -errno of the first listener or port of the pool that could not be bound (*failed, unless NULL, says which),
 * PH_E_UNSUPPORTED for TLS without certificates, PH_E_ARG (also for a pool with more than one worker), PH_E_NOMEM; then
 * nothing is left running. */
int ph_turn_uv_new(struct ph_turn_uv **t, const struct ph_turn_uv_conf *c, struct ph_addr *failed);

/* Stops all workers and frees, at once: nobody is told of an end, and records of allocations stay in the store, for the next
 * process to restore them (but see ph_turn_uv_end_all).  With workers = 0 run the loop until nothing is left before
 * closing it. */
void ph_turn_uv_free(struct ph_turn_uv *t);

/* The address listener i is bound to: for port 0.  0 or PH_E_ARG. */
int ph_turn_uv_local(const struct ph_turn_uv *t, unsigned i, struct ph_addr *at);

/* Workers in all (at least 1). */
unsigned ph_turn_uv_workers(const struct ph_turn_uv *t);

/* The functions below ask the workers and wait for their answers.  Any thread that is not a worker. */

/* Counters of one worker, or of all with worker = UINT32_MAX. */
void ph_turn_uv_stats(struct ph_turn_uv *t, uint32_t worker, struct ph_turn_uv_stats *out);

/* Calls fn for every allocation of every worker; stops when fn returns false.  fn runs on the worker's thread
 * while the caller waits, so it needs no locks but must be quick; relaying goes on between every few hundred.
 * info and its slices live until fn returns. */
void ph_turn_uv_list(struct ph_turn_uv *t,
                     bool (*fn)(void *ctx, unsigned worker, const struct ph_turnd_info *info),
                     void *ctx);

/* Takes other users, policies and limits (ph_turnd_reload), and with tls not NULL other certificates for new
 * sessions, on every worker.  When it returns nobody uses the old ones any more (sessions hold their own reference to
 * a set of certificates). */
void ph_turn_uv_reload(struct ph_turn_uv *t, const struct ph_turnd_live *live, struct ph_tls *tls);

/* Ends every allocation of a user on every worker (ph_turnd_revoke), and forgets what the caches know of him.  Returns
 * how many. */
unsigned ph_turn_uv_revoke(struct ph_turn_uv *t, struct ph_slice realm, struct ph_slice user);

/* The peers of an allocation (ph_turnd_peers). */
unsigned ph_turn_uv_peers(struct ph_turn_uv *t, uint32_t worker, uint32_t id, struct ph_addr *v,
                          unsigned max);

/* Answers on_lookup.  user may be NULL unless FOUND; all is copied.  Any thread; does not wait. */
void ph_turn_uv_answer(struct ph_turn_uv *t, unsigned worker, struct ph_slice realm,
                       struct ph_slice name, enum ph_userdb_result result,
                       const struct ph_userdb_user *user);

/* Forgets what the caches know of a user (name.n = 0: of all). */
void ph_turn_uv_forget(struct ph_turn_uv *t, struct ph_slice realm, struct ph_slice name);

/* Other servers from now on (ph_turnd_set_fleet).  When it returns nobody uses the old ones any more. */
void ph_turn_uv_set_fleet(struct ph_turn_uv *t, const struct ph_addr *alternate, unsigned n,
                          const struct ph_turnd_node *node, unsigned n_nodes);

/* Has on_event told of all traffic until now (ph_turnd_tell_traffic), before it returns. */
void ph_turn_uv_tell_traffic(struct ph_turn_uv *t);

/* --- on a worker's own thread (conf.on_loop) -------------------------------------------------------- */

/* Steps through the allocations of the worker (ph_turnd_list). */
bool ph_turn_uv_here_next(struct ph_turn_uv_here *here, uint32_t *id, struct ph_turnd_info *out);

/* TLS version and cipher of a client's connection: "TLSv1.3", "TLS_AES_256_GCM_SHA384".  False: it is without, or is gone. */
bool ph_turn_uv_here_tls(struct ph_turn_uv_here *here, uint32_t conn, const char **version,
                         const char **cipher);

/* --- state that outlives the process --------------------------------------------------------------- */

/* Clients are heard from now on (conf.hold). */
void ph_turn_uv_go(struct ph_turn_uv *t);

/* The node was claimed with this token: workers write their records from now on, beginning with all of them, and remove what
 * the store has and they have not.  So it comes after ph_turn_uv_restore. */
void ph_turn_uv_claimed(struct ph_turn_uv *t, const char *token);

/* Records of these sessions stay in the store although no worker has them: their address is not here, and may come.  To be
 * called before ph_turn_uv_claimed. */
void ph_turn_uv_spare(struct ph_turn_uv *t, const uint64_t *session, unsigned n);

/* Restores records: each on the worker its session names if there is one with that number, else on any; where its client's
 * packets come to another one, it follows them.  err[i] (unless NULL) is 0, or what ph_turnd_restore or the socket said.
 * Relaying goes on meanwhile.  Returns how many were restored. */
unsigned ph_turn_uv_restore(struct ph_turn_uv *t, const struct ph_slice *record, unsigned n,
                            int *err);

/* Ends what has been adopted by others (ph_turnd_disown) on all workers: all that was stored but these, sorted.  Their
 * records are left alone. */
unsigned ph_turn_uv_disown(struct ph_turn_uv *t, const uint64_t *session, unsigned n);

/* Ends every allocation (PH_END_ADMIN), for a stop that nobody shall go on from: flush and free are to follow.  Returns how
 * many. */
unsigned ph_turn_uv_end_all(struct ph_turn_uv *t);

/* Records are sealed with other keys from now on, and all of them are written again. */
void ph_turn_uv_set_store_keys(struct ph_turn_uv *t, const struct ph_fleet_keys *keys);

/* Waits until what has changed is stored, for so long at most.  0 (also when nothing is kept, or no node was claimed),
 * PH_E_TIMEOUT, or PH_E_FORBIDDEN: somebody else has claimed the node.  With workers = 0 it runs the loop, so it must not be
 * called from there. */
int ph_turn_uv_flush(struct ph_turn_uv *t, uint32_t timeout_ms);

/* Other keys from now on (ph_turnd_set_keys). */
void ph_turn_uv_set_keys(struct ph_turn_uv *t, const struct ph_turnd_keys *k);

/* Stops all workers without ending their allocations: no event, nothing removed from the store, UDP sockets stay open (and may
 * fill) and are in *h with everything the next process needs.  TCP listeners are handed over too, connections are closed.
 * Afterwards only ph_turn_uv_free may be called.  0, or PH_E_NOMEM: nothing has happened.  Before, it waits up to 200 ms for
 * the store, still relaying. */
int ph_turn_uv_leave(struct ph_turn_uv *t, struct ph_turn_uv_handover *h);

/* Frees the memory, which held keys; with sockets closes them too. */
void ph_turn_uv_handover_free(struct ph_turn_uv_handover *h, bool sockets);

/* Ends an allocation of a worker (ph_turnd_end).  False when there is none with this id. */
bool ph_turn_uv_end(struct ph_turn_uv *t, uint32_t worker, uint32_t id);

#endif
