/*
 * What the files of the TURN shell share.  Not installed.
 *
 *   server.c    the public face: start, stop
 *   ask.c       the public face: questions to the workers, and what they are told
 *   state.c     the public face: state that outlives the process
 *   worker.c    one worker: its loop, UDP, what its core asks for
 *   life.c      one worker: its listeners, its core, its end
 *   clients.c   clients over TCP, TLS and DTLS
 *   tcprelay.c  TCP relays (RFC 6062)
 *   here.c      what a worker tells on its own thread
 *   park.c      packets that wait for a look-up or for another worker
 *   move.c      allocations and connections that go from worker to worker
 *   relays.c    the table of relay sockets
 *   pool.c      the relay sockets that allocations share
 *   save.c      one worker: what it keeps in the store
 *   restore.c   allocations from records
 *   inherit.c   sockets of the process before
 *   leave.c     everything for the next process
 */
#ifndef PH_TURN_UV_PRIV_H
#define PH_TURN_UV_PRIV_H

#include "stun/base/map.h"
#include "stun/uv/loop.h"
#include "stun/uv/worker.h"
#include "turn/uv/relays.h"
#include "turn/uv/server.h"

#include <pthread.h>
#include <stdatomic.h>

/* --- parts of a worker ----------------------------------------------------------------------------- */

enum {
    PH__PARK_PACKETS = 256,      /* that wait, of one worker */
    PH__PARK_BYTES = 512 * 1024, /* of these packets */
    PH__PARK_SOURCE = 64         /* of one address (IPv6: /64) */
};

struct ph__parked;

struct ph__park {
    struct ph__parked *v[PH__PARK_PACKETS]; /* in no order */
    unsigned n;
    uint32_t bytes;
    uint32_t last_id;
    ph_ns due;               /* not later than the first of them */
    ph_ns until;             /* of the packet being handed in; 0: none is */
    struct ph__parked *list; /* that follow it */
    uint64_t full;
};

struct ph__tcprelay_listener;
struct ph__tcprelay_pair;

/* See tcprelay.c. */
struct ph__tcprelay {
    struct ph_map by_listener, by_pair; /* by each of the numbers they have */
    struct ph__tcprelay_listener *listener;
    struct ph__tcprelay_pair *pair;
    uint32_t listeners, pairs; /* places, used and free */
    uint32_t free_listener, free_pair;
    uint32_t waiting; /* first pair that waits for bandwidth */
    ph_ns retry_at;
};

/* See save.c. */
struct ph__save {
    struct ph_store *store; /* NULL: nothing is kept */
    bool claimed;           /* it is being written to ... */
    bool kicked;            /* ... and will ask for what has changed */
    char token[PH_STORE_TOKEN];
    uint8_t *record; /* room for one */
    uint64_t *gone;  /* sessions that have ended and whose records are to be removed: a ring */
    uint32_t first, n, cap;
};

/* Sessions that are up on any worker. */
struct ph__sessions {
    pthread_mutex_t lock;
    struct ph_map map;
    bool partial; /* there was no memory for all */
};

/* Sockets of the process before, sorted by address and worker; fd -1: taken. */
struct ph__inherit {
    struct ph_turn_uv_socket *v;
    unsigned n;
};

/* --- a worker -------------------------------------------------------------------------------------- */

enum {
    PH__BUFFER =
        4 << 20 /* bytes of buffers of a socket that many clients share, unless configured */
};

struct ph__turn_worker {
    struct ph_turn_uv *owner;
    unsigned index;
    struct ph_worker *w;

    struct ph_turnd *core;
    struct ph_batch *batch;
    struct ph_alarm alarm;
    struct ph_relays relays;
    unsigned vlen; /* datagrams to ask a relay socket for: follows the traffic */
    ph_ns wall_at; /* when the core was last told the wall clock */
    struct ph_udp listener[PH_TURND_LISTENERS]; /* fd -1: a stream's */
    bool inherited[PH_TURND_LISTENERS];
    bool deaf[PH_TURND_LISTENERS]; /* until all workers have theirs */
    uint8_t accept[PH_TURND_LISTENERS];
    struct ph_budget *budget;
    struct ph_stund stun[PH_TURND_LISTENERS];
    uint64_t relay_opened, relay_open_failed, icmp_errors, not_dtls;

    struct ph_streams *streams; /* NULL: no TCP listener */
    struct ph_dtls *dtls;       /* NULL: no listener takes DTLS */
    struct ph_userdb *userdb;   /* NULL: none */
    struct ph__tcprelay tcp;
    struct ph__park park;
    uint64_t moved_in, moved_out;
    struct ph__save save;
    int relay_error; /* of the last relay that could not be opened */
    bool told;       /* conf.on_loop of the start */
    bool called;     /* by the streams since the core was last drained */
    bool alone;      /* the server is ending: nothing goes to other workers any more */
    bool leaving;    /* another process goes on: nothing is heard, no errand is begun */
};

struct ph_turn_uv {
    struct ph_turn_uv_conf c;
    struct ph_stund_conf stun;
    struct ph_userdb_conf userdb;
    struct ph_env env;
    struct ph_addr at[PH_TURND_LISTENERS]; /* bound; settled by the first worker */
    struct ph_addr failed;                 /* what could not be bound */
    struct ph__inherit inherit;            /* while starting */
    struct ph__sessions sessions;
    struct ph_strays *strays; /* if it is ours */
    struct ph_turnd_keys keys;
    bool inherited_keys;
    bool held;            /* no client is heard yet */
    unsigned n;           /* workers running */
    atomic_bool complete; /* all workers run: v may be read by them, and n is what it stays */
    struct ph__turn_worker *v[];
};

/* --- life.c ---------------------------------------------------------------------------------------- */

/* Adds and starts the next worker of t.  0 or a negative error. */
int ph__turn_worker_add(struct ph_turn_uv *t);

/* What a listener takes: PH_ACCEPT_..., never 0. */
uint8_t ph__turn_accept(const struct ph_turn_uv_conf *c, unsigned i);

/* Takes the socket of a listener out of a worker, ready for another process.  Its descriptor, or -1: there is none. */
int ph__turn_listener_give(struct ph__turn_worker *w, unsigned i);

/* Hears the clients of a server that was held. */
void ph__turn_listeners_go(struct ph__turn_worker *w);

/* All workers have their listeners: packets reach ours from now on. */
void ph__turn_listeners_hear(struct ph__turn_worker *w);

/* --- pool.c ---------------------------------------------------------------------------------------- */

/* Opens the sockets of the pool, if there is one.  0, or a negative error: none was opened, and the owner's `failed` says which
 * could not be. */
int ph__turn_pool_open(struct ph__turn_worker *w);

/* Hears the peers of a server that was held. */
void ph__turn_pool_go(struct ph__turn_worker *w);

/* --- worker.c -------------------------------------------------------------------------------------- */

/* Sockets are ready, or it is time for something. */
void ph__turn_worker_ready(struct ph_mux *m, const struct epoll_event *ev, unsigned n);
void ph__turn_worker_alarm(struct ph_alarm *a);

/* Tells the core the time of day if the last time was a while ago. */
void ph__turn_worker_clock(struct ph__turn_worker *w, ph_ns now);

/* Acts on what the core has to say after a call: answers to send, sockets to open and close. */
void ph__turn_worker_drain(struct ph__turn_worker *w, ph_ns now);

/* Ends a stretch of work: sends what is queued and sets the alarm. */
void ph__turn_worker_done(struct ph__turn_worker *w, ph_ns now);

/* Sends a packet on the socket or connection the core named. */
void ph__turn_send(struct ph__turn_worker *w, struct ph_pkt *p);

/* Hands a packet to the core; one that needs more room than its neighbours leave is moved. */
int ph__turn_input(struct ph__turn_worker *w, struct ph_pkt *p, ph_ns now);

/* The same for a packet that shall not wait any more. */
int ph__turn_input_final(struct ph__turn_worker *w, struct ph_pkt *p, ph_ns now);

/* Does what a verdict on a packet asks for. */
void ph__turn_act(struct ph__turn_worker *w, struct ph_pkt *p, int verdict, ph_ns now);

/* Opens a relay socket, or takes the one of the process before.  0 or -errno. */
int ph__turn_relay_open(struct ph__turn_worker *w, uint32_t sock, const struct ph_addr *at);

/* Watches an open UDP relay socket.  0 or -errno. */
int ph__turn_relay_watch(struct ph__turn_worker *w, uint32_t sock, const struct ph_udp *u);

/* --- clients.c ------------------------------------------------------------------------------------- */

/* Makes the streams and DTLS sessions that the listeners need.  0 or a negative error. */
int ph__clients_init(struct ph__turn_worker *w);
void ph__clients_fini(struct ph__turn_worker *w);

/* Sends a packet to a client's connection. */
void ph__client_send(struct ph__turn_worker *w, struct ph_pkt *p);

/* A packet from a client's connection: a message of a stream, or what was inside a datagram. */
void ph__client_input(struct ph__turn_worker *w, struct ph_pkt *p, bool final, ph_ns now);

/* A datagram that looks like DTLS. */
void ph__client_dtls(struct ph__turn_worker *w, struct ph_pkt *p, ph_ns now);

/* A connection has, or no longer has, an allocation.  0: nothing. */
void ph__client_keep(struct ph__turn_worker *w, uint32_t conn, bool keep);

/* --- tcprelay.c ------------------------------------------------------------------------------------ */

void ph__tcprelay_init(struct ph__tcprelay *t);
void ph__tcprelay_fini(struct ph__tcprelay *t);

/* What the core asks for (RELAY_OPEN with PH_TCP: 0 or -errno; RELAY_CLOSE: false when it is none of ours). */
int ph__tcprelay_open(struct ph__turn_worker *w, uint32_t sock, const struct ph_addr *at);
bool ph__tcprelay_close(struct ph__turn_worker *w, uint32_t sock);
void ph__tcprelay_connect(struct ph__turn_worker *w, const struct ph_turnd_ev *ev, ph_ns now);
void ph__tcprelay_splice(struct ph__turn_worker *w, uint32_t id, uint32_t client, ph_ns now);
void ph__tcprelay_end(struct ph__turn_worker *w, uint32_t id);

/* Takes the socket of a relay out of our tables.  Its descriptor, or -1: it is none of ours. */
int ph__tcprelay_give(struct ph__turn_worker *w, uint32_t sock);

/* Where a relay listens; false when it is none of ours. */
bool ph__tcprelay_local(const struct ph__turn_worker *w, uint32_t sock, struct ph_addr *at);

/* Calls of the streams.  ended: false when the connection is none of ours. */
size_t ph__tcprelay_bytes(struct ph__turn_worker *w, uint32_t conn, const uint8_t *p, size_t n,
                          ph_ns now);
void ph__tcprelay_writable(struct ph__turn_worker *w, uint32_t conn);
void ph__tcprelay_connected(struct ph__turn_worker *w, uint32_t conn, int err, ph_ns now);
bool ph__tcprelay_accepted(struct ph__turn_worker *w, uint32_t listener, uint32_t conn,
                           const struct ph_addr *peer, ph_ns now);
bool ph__tcprelay_ended(struct ph__turn_worker *w, uint32_t conn, ph_ns now);

/* Tries again those that had to wait for bandwidth. */
void ph__tcprelay_tick(struct ph__turn_worker *w, ph_ns now);

/* --- here.c ---------------------------------------------------------------------------------------- */

/* Tells conf.on_loop that the worker starts, and that it stops. */
void ph__here_begin(struct ph__turn_worker *w);
void ph__here_end(struct ph__turn_worker *w);

/* --- park.c ---------------------------------------------------------------------------------------- */

void ph__park_init(struct ph__park *k);
void ph__park_fini(struct ph__park *k);

/* A packet whose user is being looked up waits, unless it is there already or there is no place. */
void ph__park_lookup(struct ph__turn_worker *w, const struct ph_pkt *p, ph_ns now);

/* A packet whose allocation is being fetched waits.  Returns its number, 0: it does not. */
uint32_t ph__park_fetch(struct ph__turn_worker *w, const struct ph_pkt *p, ph_ns now);

/* The allocation for packet `id` has come (final: will not come). */
void ph__park_fetched(struct ph__turn_worker *w, uint32_t id, bool final, ph_ns now);

/* A look-up of a user was answered (final: without success), or all of them may have been (ph_userdb_tick). */
void ph__park_answered(struct ph__turn_worker *w, struct ph_slice realm, struct ph_slice name,
                       bool final, ph_ns now);
void ph__park_try_all(struct ph__turn_worker *w, ph_ns now);

/* A connection is gone: so is what waits for answers to it. */
void ph__park_forget(struct ph__turn_worker *w, uint32_t conn);

/* Hands in for good what has waited too long. */
void ph__park_tick(struct ph__turn_worker *w, ph_ns now);

/* --- move.c ---------------------------------------------------------------------------------------- */

/* The core said PH_ELSEWHERE to this packet. */
void ph__move(struct ph__turn_worker *w, struct ph_pkt *p, ph_ns now);

/* --- save.c ---------------------------------------------------------------------------------------- */

void ph__sessions_init(struct ph__sessions *s);
void ph__sessions_fini(struct ph__sessions *s);

/* Gets the worker's handle on the store, if there is to be one.  0 or PH_E_NOMEM. */
int ph__save_init(struct ph__turn_worker *w);
/* Writes nothing more.  The loop has its handles to close. */
void ph__save_fini(struct ph__turn_worker *w);

/* An allocation came up or ended.  Only with a store. */
void ph__save_event(struct ph__turn_worker *w, const struct ph_turnd_ev *ev);

/* The node was claimed: writes from now on. */
void ph__save_claimed(struct ph__turn_worker *w, const char *token);

/* Records are sealed with other keys. */
void ph__save_keys(struct ph__turn_worker *w, const struct ph_fleet_keys *keys);

/* A stretch of work is over: tells the store if anything has changed.  Only with a store. */
void ph__save_done(struct ph__turn_worker *w);

/* --- inherit.c ------------------------------------------------------------------------------------- */

/* Learns what there is.  0 or PH_E_NOMEM. */
int ph__inherit_init(struct ph__inherit *h, const struct ph_turn_uv_handover *from);
/* Closes what nobody has taken, or with close = false forgets all: it is the caller's. */
void ph__inherit_fini(struct ph__inherit *h, bool and_close);

/* The socket of a worker's listener, or of a relay (whosever it was); whoever takes it sets its fd to -1.  NULL: there is
 * none. */
struct ph_turn_uv_socket *ph__inherit_find(const struct ph__inherit *h, const struct ph_addr *at,
                                           bool relay, unsigned worker);

/* --- restore.c ------------------------------------------------------------------------------------- */

/* Restores what the process before had, each allocation where its socket is. */
void ph__restore_inherited(struct ph_turn_uv *t, const struct ph_turn_uv_handover *from);

#endif
