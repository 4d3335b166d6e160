/*
 * The TURN server core (RFC 8656): many clients, one core per worker thread, no I/O.
 *
 * Packets go in through ph_turnd_input and come out of the same buffer: a reply, a relayed packet, or
 * nothing.  The one thing it needs from outside, a bound relay socket, it asks for with an event:
 *
 *     ph_turnd_input   -> PH_CONSUMED, event RELAY_OPEN {sock, at}
 *     (the shell binds `at`)
 *     ph_turnd_relay_opened(sock, 0) -> ph_turnd_output gives the Allocate response
 *
 * After every call drain ph_turnd_output, then ph_turnd_event, then arm ph_turnd_deadline.
 *
 * Sockets are numbers.  The shell numbers its listeners 0, 1, ... as in conf.listener; relay sockets are
 * numbered by the core (PH_SOCK_RELAY | slot * 2 | IPv6), so a packet from a peer finds its allocation by index.
 *
 * Memory is bounded by the limits in the configuration; nothing is stored for a client that has not
 * authenticated.  Not thread-safe; what workers share (ports, quota, reservations) is atomic.
 */
#ifndef PH_TURN_SERVER_H
#define PH_TURN_SERVER_H

#include "stun/base/buf.h"
#include "stun/base/env.h"
#include "stun/base/time.h"
#include "stun/budget.h"
#include "stun/server.h"
#include "turn/acl.h"
#include "turn/auth.h"
#include "turn/nonce.h"
#include "turn/ports.h"
#include "turn/quota.h"
#include "turn/reserve.h"

#include <stdbool.h>
#include <stdint.h>

#define PH_SOCK_RELAY 0x80000000u

enum { PH_TURND_LISTENERS = 64, PH_TURND_RELAYS = 16 };

/* A listening socket. */
struct ph_turnd_listener {
    struct ph_addr at; /* bound address; proto says which transport */
    struct ph_stund
        *stun; /* answers Binding here; NULL: Binding is dropped (coturn's no-stun).  Not owned */
};

/* An address that relays are bound to. */
struct ph_turnd_relay {
    struct ph_addr at;       /* IP; the port is ignored */
    struct ph_addr external; /* IP that clients are told (external-ip); PH_AF_NONE: the same */
    struct ph_ports *ports;  /* shared by the workers, not owned */
};

/* Which family an Allocate without REQUESTED-ADDRESS-FAMILY gets. */
enum ph_turnd_family { PH_FAMILY_IPV4 /* RFC 8656 */, PH_FAMILY_IPV6, PH_FAMILY_CLIENT };

/* Zero means the default given. */
struct ph_turnd_conf {
    struct ph_turnd_listener listener[PH_TURND_LISTENERS];
    unsigned n_listeners;
    struct ph_turnd_relay relay[PH_TURND_RELAYS];
    unsigned n_relays;

    const struct ph_auth *auth; /* NULL: anybody may allocate (coturn's no-auth) */
    struct ph_nonce_conf nonce;
    const struct ph_acl *acl;   /* required */
    struct ph_quota *quota;     /* NULL: no limit */
    struct ph_reserve *reserve; /* NULL: EVEN-PORT with R = 1 is refused with 508 */
    struct ph_budget *budget;   /* NULL: no limit on unauthenticated answers */
    const char *software;       /* SOFTWARE in answers, NULL: none */
    struct ph_addr alternate;   /* redirect every Allocate (300); PH_AF_NONE: don't */

    uint32_t max_allocations;                           /* of this worker, 65536 */
    uint16_t max_permissions;                           /* of an allocation, 128 */
    uint16_t max_channels;                              /* of an allocation, 128 */
    uint32_t default_lifetime_s, max_lifetime_s;        /* 600, 3600 */
    uint32_t permission_lifetime_s, channel_lifetime_s; /* 300, 600 */
    enum ph_turnd_family default_family;
    bool channels_5766; /* accept channel numbers up to 0x7FFF */
    bool no_udp_relay;  /* refuse UDP relays with 442 */
    bool always_fingerprint;
    bool long_reasons; /* reason phrases in 401 and 438 too */
};

/* Counters: X(name, what it counts). */
#define PH_TURND_COUNTERS(X)                                                                       \
    X(requests, "requests that parsed")                                                            \
    X(responses, "success responses")                                                              \
    X(errors, "error responses other than 401 and 438")                                            \
    X(unauthenticated, "401 responses")                                                            \
    X(stale_nonce, "438 responses")                                                                \
    X(over_budget, "requests dropped for their source's budget")                                   \
    X(malformed, "packets that are neither STUN nor ChannelData, or broken")                       \
    X(unexpected, "responses, unknown indications and other messages a server does not take")      \
    X(no_allocation, "ChannelData and Send indications from a client without allocation")          \
    X(no_channel, "ChannelData on a channel that is not bound")                                    \
    X(no_permission, "packets to or from a peer without permission")                               \
    X(forbidden_peer, "packets and requests refused by the peer policy")                           \
    X(allocations, "allocations made")                                                             \
    X(to_peer_packets, "packets relayed to peers")                                                 \
    X(to_peer_bytes, "payload bytes relayed to peers")                                             \
    X(to_client_packets, "packets relayed to clients")                                             \
    X(to_client_bytes, "payload bytes relayed to clients")                                         \
    X(icmp, "ICMP errors told to clients")

struct ph_turnd_stats {
#define PH_X(name, text) uint64_t name;
    PH_TURND_COUNTERS(PH_X)
#undef PH_X
};

/* Why an allocation ended. */
enum ph_turnd_reason {
    PH_END_EXPIRED,  /* not refreshed in time */
    PH_END_RELEASED, /* Refresh with lifetime 0 */
    PH_END_ADMIN,    /* ph_turnd_end */
    PH_END_CLOSED    /* its client's connection went away */
};

/* What an allocation is, for logs and lists.  Slices and pointers live until the next call. */
struct ph_turnd_info {
    uint32_t id;             /* slot, see events */
    struct ph_addr client;   /* five-tuple: client and ... */
    uint32_t listener;       /* ... listener number */
    struct ph_addr relay[2]; /* as told to the client; PH_AF_NONE when absent; [0] IPv4, [1] IPv6 */
    struct ph_slice user;    /* user name; empty with no-auth */
    ph_ns created_at, expires_at;
    uint64_t to_peer_packets, to_peer_bytes, to_client_packets, to_client_bytes;
    unsigned permissions, channels; /* live or not yet swept */
};

enum ph_turnd_ev_type {
    PH_TURND_RELAY_OPEN, /* bind a UDP socket to `at`, then call ph_turnd_relay_opened(sock, err) */
    PH_TURND_RELAY_CLOSE, /* close the socket `sock` */
    PH_TURND_ALLOC_UP,    /* info: an allocation was made */
    PH_TURND_ALLOC_DOWN   /* info, reason: an allocation ended */
};

struct ph_turnd_ev {
    enum ph_turnd_ev_type type;
    uint32_t sock;
    struct ph_addr at;
    enum ph_turnd_reason reason;
    struct ph_turnd_info info;
};

struct ph_turnd;

/* Creates a core; configuration and env are copied, what they point to must outlive it.  Returns NULL when out
 * of memory or when the configuration lacks what is required. */
struct ph_turnd *ph_turnd_new(const struct ph_turnd_conf *c, const struct ph_env *env, ph_ns now);

/* Frees the core with all its allocations; ports and quotas are given back, no events are made. */
void ph_turnd_free(struct ph_turnd *d);

/* Tells the wall clock (seconds since 1970): for nonces and REST credentials.  Call it about once a second. */
void ph_turnd_wall_clock(struct ph_turnd *d, int64_t unix_s, ph_ns now);

/* One datagram, from a client (p->sock is a listener) or from a peer (p->sock is a relay).  The packet is
 * rewritten in place.  PH_SEND: it holds what to send, with dst and sock set; PH_CONSUMED, PH_DROP: nothing.
 * PH_E_NOSPACE: the buffer is too small for what would go out (a segment inside a coalesced receive buffer,
 * whose neighbours must not be overwritten); nothing has happened: copy the packet to a buffer with
 * b.cap - b.off of at least 1500 and 4 bytes more than it is long, and call again. */
int ph_turnd_input(struct ph_turnd *d, struct ph_pkt *p, ph_ns now);

/* An ICMP error came for a packet that relay socket `sock` had sent to `peer`: makes a Data indication with the
 * ICMP attribute in out (RFC 8656 11.5).  data: the MTU for "fragmentation needed" and "packet too big", else
 * 0.  PH_SEND, or PH_DROP when the client is not to be told. */
int ph_turnd_icmp(struct ph_turnd *d, uint32_t sock, const struct ph_addr *peer, uint8_t type,
                  uint8_t code, uint32_t data, struct ph_pkt *out, ph_ns now);

/* Ends what has expired. */
void ph_turnd_tick(struct ph_turnd *d, ph_ns now);

/* When ph_turnd_tick is due.  O(1). */
ph_ns ph_turnd_deadline(const struct ph_turnd *d);

/* Writes the next waiting answer into out->b (room as for ph_turnd_input).  False when there is none. */
bool ph_turnd_output(struct ph_turnd *d, struct ph_pkt *out, ph_ns now);

/* Takes the next event.  False when there is none. */
bool ph_turnd_event(struct ph_turnd *d, struct ph_turnd_ev *ev);

/* Answers RELAY_OPEN: err 0, or -errno.  On -EADDRINUSE and the like the core asks for another port with a new
 * event, a bounded number of times; then it answers the client 508. */
void ph_turnd_relay_opened(struct ph_turnd *d, uint32_t sock, int err, ph_ns now);

/* Ends an allocation; false when there is none with this id. */
bool ph_turnd_end(struct ph_turnd *d, uint32_t id, ph_ns now);

/* A client's connection (listener number and client address) is gone; no effect on UDP clients. */
void ph_turnd_conn_closed(struct ph_turnd *d, uint32_t listener, const struct ph_addr *client,
                          ph_ns now);

/* Steps through the allocations: *id starts at 0 and is moved past the one returned.  False at the end. */
bool ph_turnd_list(const struct ph_turnd *d, uint32_t *id, struct ph_turnd_info *out);

/* Allocations now. */
uint32_t ph_turnd_count(const struct ph_turnd *d);

/* The counters, live. */
const struct ph_turnd_stats *ph_turnd_stats(const struct ph_turnd *d);

#endif
