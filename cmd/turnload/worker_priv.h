/*
 * The inside of a worker, for worker.c (the loop), conn.c (allocations), way.c (their way to the server)
 * and peer.c (the echo peer).
 */
#ifndef PH_CMD_TURNLOAD_WORKER_PRIV_H
#define PH_CMD_TURNLOAD_WORKER_PRIV_H

#include "cmd/turnload/flow.h"
#include "cmd/turnload/worker.h"
#include "stun/base/heap.h"
#include "stun/uv/batch.h"

/* Numbers of the peer's sockets in the epoll set; those of allocations count from 0. */
#define PH_LOAD_PEER_SOCK 0x80000000u

enum ph_load_conn_state {
    PH_LOAD_CONN_WAITING,
    PH_LOAD_CONN_ALLOCATING,
    PH_LOAD_CONN_PREPARING,
    PH_LOAD_CONN_READY,
    PH_LOAD_CONN_RELEASING,
    PH_LOAD_CONN_OVER
};

/* An allocation. */
struct ph_load_conn {
    struct ph_udp sock;       /* over UDP: shared batches of datagrams */
    struct ph_load_link link; /* over anything else */
    bool dirty;               /* in ph_load.dirty */
    bool watched_out;         /* its writability */
    struct ph_turnc *t;
    uint8_t state; /* enum ph_load_conn_state */
    uint8_t n_flows, n_ready;
    uint8_t ports; /* tried besides the first */
    uint32_t flow; /* its first one */
    ph_ns started_at;
};

/* The echo peer, of one family. */
struct ph_load_peer {
    struct ph_udp sock;
    struct ph_addr at; /* as the server can reach it; PH_AF_NONE: there is none */
    bool behind_nat;   /* it must open its NAT towards each relay address */
};

enum ph_load_phase {
    PH_LOAD_SETTING_UP,
    PH_LOAD_WAITING,
    PH_LOAD_SENDING,
    PH_LOAD_DRAINING,
    PH_LOAD_RELEASING,
    PH_LOAD_DONE
};

struct ph_load {
    struct ph_load_worker *w;
    const struct ph_load_args *a;
    struct ph_load_stats *s;
    struct ph_batch *batch;
    int epoll_fd;
    struct ph_load_conn *conn;
    struct ph_load_flow *flow;
    uint32_t *dirty; /* connections with something to write */
    uint32_t n_dirty;
    uint32_t n, n_flows, flows_each;
    struct ph_heap timers, sends; /* of allocations, of flows */
    struct ph_load_peer peer[2];  /* IPv4, IPv6 */
    uint32_t started;             /* allocations begun */
    uint32_t settled;             /* ready or failed */
    uint32_t over;                /* released or failed */
    enum ph_load_phase phase;
    ph_ns phase_at, setup_at;
    ph_ns interval; /* between packets of a flow */
};

/* --- conn.c ------------------------------------------------------------------------------- */

/* Starts an allocation. */
void ph_load_conn_start(struct ph_load *l, struct ph_load_conn *c, ph_ns now);

/* Takes all packets and ICMP errors that wait on its socket. */
void ph_load_conn_readable(struct ph_load *l, struct ph_load_conn *c, uint32_t events);

/* Moves its time on. */
void ph_load_conn_tick(struct ph_load *l, struct ph_load_conn *c, ph_ns now);

/* Starts the release. */
void ph_load_conn_release(struct ph_load *l, struct ph_load_conn *c, ph_ns now);
void ph_load_conn_close(struct ph_load *l, struct ph_load_conn *c);

/* Sends the flow's next packet. */
void ph_load_conn_send(struct ph_load *l, struct ph_load_conn *c, struct ph_load_flow *f,
                       ph_ns now);

/* Drains requests and events, and sets the timer. */
void ph_load_conn_drain(struct ph_load *l, struct ph_load_conn *c, ph_ns now);

static inline struct ph_load_conn *ph_load_conn_of(struct ph_load *l, const struct ph_load_flow *f)
{
    return &l->conn[(uint32_t)(f - l->flow) / l->flows_each];
}

static inline uint32_t ph_load_conn_index(const struct ph_load *l, const struct ph_load_conn *c)
{
    return (uint32_t)(c - l->conn);
}

/* --- way.c -------------------------------------------------------------------------------- */

/* Over anything but UDP each allocation has a connection of its own. */
static inline bool ph_load_by_link(const struct ph_load *l)
{
    return l->a->proto != PH_UDP;
}

/* Opens a socket, or begins to connect, and watches it.  0 or a negative error. */
int ph_load_way_open(struct ph_load *l, struct ph_load_conn *c);
void ph_load_way_close(struct ph_load *l, struct ph_load_conn *c);

/* Sends a message; on connections it waits for the others of this turn.  False: dropped. */
bool ph_load_way_put(struct ph_load *l, struct ph_load_conn *c, const struct ph_pkt *p);

/* Sends what is queued, of datagrams and on connections. */
void ph_load_ways_flush(struct ph_load *l);

/* Watches for what its link waits for. */
void ph_load_way_watch(struct ph_load *l, struct ph_load_conn *c);

/* --- peer.c ------------------------------------------------------------------------------- */

/* Opens the peer's sockets.  False: there is a message in w->error. */
bool ph_load_peers_open(struct ph_load *l);
void ph_load_peers_close(struct ph_load *l);

/* Sends every packet of this run back where it came from. */
void ph_load_peer_readable(struct ph_load *l, struct ph_load_peer *p);

/* Opens the peer's NAT for a relay address. */
void ph_load_peer_punch(struct ph_load *l, const struct ph_addr *relay);

/* The address that an allocation's flow number i (0 or 1) sends to, without --pairs; PH_AF_NONE:
 * none. */
struct ph_addr ph_load_peer_of_flow(const struct ph_load *l, unsigned i);

#endif
