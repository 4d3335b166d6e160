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
 * A client on a connection (TCP, TLS, DTLS) comes with p->conn, the shell's number of it, and is answered by it.
 * With conf.pool_ports relays share a few sockets (pool.h, ph_turnd_pool), and no RELAY_OPEN comes for them.
 *
 * TCP relays (RFC 6062): the relay socket listens; connections to and from peers have ids of the core's:
 *
 *     Connect request  -> event PEER_CONNECT {sock, id, at} -> ph_turnd_peer_connected(id, err)
 *     a peer connects  -> ph_turnd_peer_accepted -> id, or refused; the client is told (ConnectionAttempt)
 *     ConnectionBind   -> PH_SEND the answer, event PEER_SPLICE {id, conn}: bytes flow between the two from now on
 *     an end of either -> ph_turnd_peer_closed(id)         the core wants it closed -> event PEER_CLOSE {id}
 *
 * A packet may also need something from outside: PH_LATER (its user is being looked up, see conf.userdb) and
 * PH_ELSEWHERE (ph_turnd_elsewhere: its allocation lives on another worker) leave it untouched, to be handed in again.
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
#include "turn/bps.h"
#include "turn/nonce.h"
#include "turn/oauth.h"
#include "turn/pool.h"
#include "turn/ports.h"
#include "turn/quota.h"
#include "turn/record.h"
#include "turn/reserve.h"
#include "turn/strays.h"
#include "turn/ticket.h"
#include "turn/userbps.h"
#include "turn/userdb.h"

#include <stdbool.h>
#include <stdint.h>

#define PH_SOCK_RELAY 0x80000000u
#define PH_SOCK_POOL  0x40000000u /* with PH_SOCK_RELAY: one that relays share */

enum {
    PH_TURND_LISTENERS = 64,
    PH_TURND_RELAYS = 16,
    PH_TURND_REALMS = 64,
    PH_TURND_ALTERNATES = 16,
    PH_TURND_FORBIDDEN = 16,
    PH_TURND_OAUTH_KEYS = 32,
    PH_TURND_NODES = 64,
    PH_TURND_TICKET_KEYS = 32 /* that still open tickets */
};

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

/* A realm besides the default one: its users, its peers, its limits. */
struct ph_turnd_realm {
    const struct ph_auth *auth; /* names the realm */
    const struct ph_acl *acl;   /* NULL: the default realm's */
    struct ph_quota *quota;     /* NULL: the default realm's */
    uint64_t max_bps;           /* of a session, besides live.max_bps; 0: that one alone */
    const char *origin;         /* clients with this ORIGIN are asked for this realm; NULL: none */
};

/* Another server of the fleet that is alive: whoever comes with a ticket of its own is sent there. */
struct ph_turnd_node {
    uint32_t number;      /* as in tickets (ph_fleet_node) */
    struct ph_addr at[8]; /* where clients reach it, by proto and family; PH_AF_NONE: the end */
};

/* Keys that are shared and change by themselves (ph_turnd_set_keys). */
struct ph_turnd_keys {
    uint8_t nonce[PH_NONCE_KEY_LEN], old_nonce[PH_NONCE_KEY_LEN];
    bool has_old_nonce;
    uint8_t ticket[PH_TURND_TICKET_KEYS][PH_TICKET_KEY_LEN]; /* [0] makes them, all read them */
    unsigned n_tickets;
};

/* What may change while a server runs (ph_turnd_reload).  Pointers are not owned and must outlive the core or the next
 * reload. */
struct ph_turnd_live {
    const struct ph_auth
        *auth;                /* the default realm; NULL: anybody may allocate (coturn's no-auth) */
    const struct ph_acl *acl; /* required */
    struct ph_addr
        forbidden[PH_TURND_FORBIDDEN]; /* IP and port of what else of ours listens (admin, metrics,
                                          Redis): never a peer, whatever the policy says, over UDP
                                          or TCP.  A wildcard IP means each of our own IPs */
    unsigned n_forbidden;
    struct ph_turnd_realm realm[PH_TURND_REALMS];
    unsigned n_realms;
    const struct ph_oauth_key *oauth; /* n_oauth keys; NULL: no OAuth */
    unsigned n_oauth;
    uint64_t
        max_bps; /* bytes a second of a session and direction; 0: no bound.  A user's own bound goes
                         before it; else the smaller one of realm and server holds */
    uint32_t new_peers_burst,
        new_peers_rate; /* new permissions of an allocation: at once (0: no bound), and a second */
    struct ph_addr alternate
        [PH_TURND_ALTERNATES]; /* redirect Allocate requests there (300), in turn: one whose proto is
                                                      the client's or PH_PROTO_NONE, and whose family is */
    unsigned n_alternates;
    const struct ph_turnd_node *node; /* n_nodes of them */
    unsigned n_nodes;
    bool
        draining; /* no new allocations: 300 if there is an alternate, else 508; those that stand go on */
    bool
        strict_expiry; /* a session ends with its credential (PH_END_CREDENTIAL).  Else a credential is
                           looked at when an allocation is made; tokens (OAuth) always end theirs */
};

/* Zero means the default given. */
struct ph_turnd_conf {
    uint8_t worker; /* the number of this core among its like: in tickets and connection ids */
    struct ph_turnd_listener listener[PH_TURND_LISTENERS];
    unsigned n_listeners;
    struct ph_turnd_relay relay[PH_TURND_RELAYS];
    unsigned n_relays;
    /* UDP ports that relays share, of each relay address: so many from the first on, PH_POOL_PORTS_MAX at most; 0: every
     * relay has one of its own.  For a server with one worker. */
    uint16_t pool_first, pool_ports;

    struct ph_turnd_live live;
    struct ph_nonce_conf nonce;
    struct ph_userdb
        *userdb; /* users kept elsewhere, asked after live.auth; NULL: none.  Of this worker */
    struct ph_bps *bps;         /* the server's capacity; NULL: no bound */
    struct ph_userbps *userbps; /* a bound for each user's sessions together; NULL: none */
    const char
        *oauth_server; /* our name in OAuth tokens and THIRD-PARTY-AUTHORIZATION; NULL: no OAuth */
    struct ph_quota *quota;                /* NULL: no limit */
    struct ph_reserve *reserve;            /* NULL: EVEN-PORT with R = 1 is refused with 508 */
    struct ph_budget *budget;              /* NULL: no limit on unauthenticated answers */
    const char *software;                  /* SOFTWARE in answers, NULL: none */
    uint8_t ticket_key[PH_TICKET_KEY_LEN]; /* of mobility tickets; shared by the workers */
    uint32_t node;                         /* this server's number in tickets, 0: it is alone */
    struct ph_strays
        *strays; /* allocations that were restored, for other workers to find; NULL: none are */
    bool save;   /* keep track of what has changed, for ph_turnd_changed */
    bool stats;  /* count what coturn's statistics want (struct ph_turnd_usage), and tell it */

    uint32_t max_allocations;                           /* of this worker, 65536 */
    uint16_t max_permissions;                           /* of an allocation, 128 */
    uint16_t max_channels;                              /* of an allocation, 128 */
    uint32_t default_lifetime_s, max_lifetime_s;        /* 600, 3600 */
    uint32_t permission_lifetime_s, channel_lifetime_s; /* 300, 600 */
    enum ph_turnd_family default_family;
    bool channels_5766;       /* accept channel numbers up to 0x7FFF */
    bool no_udp_relay;        /* refuse UDP relays with 442 */
    bool no_tcp_relay;        /* refuse TCP relays (RFC 6062) with 442 */
    bool mobility;            /* RFC 8016; else 405 */
    uint16_t max_connections; /* TCP connections to and from peers of an allocation, 32 */
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
    X(icmp, "ICMP errors told to clients")                                                         \
    X(over_bps, "packets dropped for a bandwidth bound")                                           \
    X(over_peers, "permissions refused: too many new peers at once")                               \
    X(redirected, "Allocate requests sent to another server (300)")                                \
    X(drained, "Allocate requests refused while draining")                                         \
    X(quota, "Allocate requests refused for a quota (486)")                                        \
    X(moved, "allocations that followed their client to a new address (RFC 8016)")                 \
    X(connects, "TCP connections to peers made")                                                   \
    X(connect_failed, "TCP connections to peers that could not be made (447)")                     \
    X(connection_attempts, "TCP connections from peers announced")                                 \
    X(connection_binds, "TCP connections bound to a client's")                                     \
    X(lookups, "requests that had to wait for a look-up of their user")                            \
    X(restored, "allocations restored from records")                                               \
    X(not_restored, "records that could not be restored: expired, or their address is not ours")   \
    X(strays, "packets whose allocation was fetched from the worker it had been restored on")      \
    X(redirected_tickets, "mobility tickets of another server, sent there (300)")                  \
    X(pool_conflicts, "requests and packets to a peer that another client of a shared port has")   \
    X(pool_ambiguous, "packets to a shared port that may be for several clients")

struct ph_turnd_stats {
#define PH_X(name, text) uint64_t name;
    PH_TURND_COUNTERS(PH_X)
#undef PH_X
};

/* Why an allocation ended. */
enum ph_turnd_reason {
    PH_END_EXPIRED,    /* not refreshed in time */
    PH_END_RELEASED,   /* Refresh with lifetime 0 */
    PH_END_ADMIN,      /* ph_turnd_end */
    PH_END_CLOSED,     /* its client's connection went away */
    PH_END_REVOKED,    /* its user was revoked */
    PH_END_CREDENTIAL, /* its credential has ended (strict_expiry) */
    PH_END_LOST,       /* it was restored, but its relay address could not be had */
    PH_END_ADOPTED     /* another server has taken it over (ph_turnd_disown) */
};

/* What coturn's statistics count of a session, from its first packet on: packets as they came and went, with all headers
 * (on streams padding counts for what is sent, not for what is received); the client's leg with all messages of STUN and
 * TURN, dropped ones too.  Peers' bytes are payload. */
struct ph_turnd_usage {
    /* From and to the client. */
    uint64_t received_packets, received_bytes, sent_packets, sent_bytes;
    uint64_t peer_received_packets, peer_received_bytes, peer_sent_packets, peer_sent_bytes;
};

/* What an allocation is, for logs and lists.  Slices and pointers live until the next call. */
struct ph_turnd_info {
    uint32_t id;      /* slot, see events */
    uint64_t session; /* never used twice by this server: worker * 10^15 and a count, 18 digits */
    struct ph_addr client; /* five-tuple: client (proto: its transport) and ... */
    uint32_t listener;     /* ... listener number */
    uint32_t conn;         /* its connection, 0: none */
    struct ph_slice realm; /* empty with no-auth */
    bool tcp;              /* a TCP relay */
    bool mobile;           /* it has a mobility ticket */
    bool restored;         /* it was made by another process, or server */
    uint64_t dropped;      /* packets of it that were not relayed: bandwidth, policy, permission */
    struct ph_addr relay[2]; /* as told to the client; PH_AF_NONE when absent; [0] IPv4, [1] IPv6 */
    struct ph_slice user;    /* user name; empty with no-auth */
    struct ph_slice user_id; /* the part of it that quotas count */
    ph_ns created_at, expires_at;
    uint64_t to_peer_packets, to_peer_bytes, to_client_packets, to_client_bytes;
    unsigned permissions, channels; /* live or not yet swept */
    struct ph_turnd_usage usage;    /* with conf.stats; else all zero */
    struct ph_turnd_usage untold;   /* of it: since the last event that told it */
};

enum ph_turnd_ev_type {
    PH_TURND_RELAY_OPEN,      /* bind a socket to `at` (proto PH_UDP, or PH_TCP: listen), then call
                            ph_turnd_relay_opened(sock, err) */
    PH_TURND_RELAY_CLOSE,     /* close the socket `sock` */
    PH_TURND_ALLOC_UP,        /* info: an allocation was made */
    PH_TURND_ALLOC_DOWN,      /* info, reason: an allocation ended; with conf.stats traffic */
    PH_TURND_ALLOC_REFRESHED, /* with conf.stats.  info, lifetime_s; 0: it was asked to end */
    PH_TURND_ALLOC_TRAFFIC,   /* with conf.stats, every 4096 packets.  info, traffic */
    PH_TURND_PEER_CONNECT, /* connect from relay `sock` to `at`, then call ph_turnd_peer_connected(peer, err) */
    PH_TURND_PEER_SPLICE, /* tie connection `conn` of a client to peer connection `peer`: no more messages on it */
    PH_TURND_PEER_CLOSE /* close peer connection `peer` and what is tied to it */
};

struct ph_turnd_ev {
    enum ph_turnd_ev_type type;
    uint32_t sock;
    struct ph_addr at;
    uint32_t peer; /* id of a TCP connection to or from a peer */
    uint32_t conn;
    enum ph_turnd_reason reason;
    uint32_t lifetime_s;           /* granted: REFRESHED, and ALLOC_UP unless it is restored */
    struct ph_turnd_usage traffic; /* since the last event that told it: TRAFFIC, ALLOC_DOWN */
    struct ph_turnd_info info;
};

struct ph_turnd;

/* Creates a core; configuration and env are copied, what they point to must outlive it.  Returns NULL when out
 * of memory, when the configuration lacks what is required, or when a port of the pool is taken. */
struct ph_turnd *ph_turnd_new(const struct ph_turnd_conf *c, const struct ph_env *env, ph_ns now);

/* Steps through the sockets of the pool, which are to be bound before anything else and stay open: *i starts at 0.  False
 * at the end. */
bool ph_turnd_pool(const struct ph_turnd *d, uint32_t *i, uint32_t *sock, struct ph_addr *at);

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

/* Where what a packet needs is. */
struct ph_turnd_where {
    bool fetch; /* the allocation is to come here; else the client's connection is to go there */
    uint8_t worker;   /* where it is */
    uint32_t slot;    /* the allocation there, which is known ... */
    uint64_t serial;  /* ... by a ticket, 0: it is not, but ... */
    uint64_t session; /* ... by its session (restored: struct ph_strays), 0: it is not */
};

/* Which worker the packet of the last PH_ELSEWHERE belongs to, and what for: the allocation is to come here
 * (ph_turnd_detach there, ph_turnd_attach here), or with fetch = false the client's connection is to go there
 * (ConnectionBind).  When that cannot be had, hand the packet in with ph_turnd_input_final: it is answered with an
 * error, or dropped.  Returns out->worker. */
uint8_t ph_turnd_elsewhere(const struct ph_turnd *d, struct ph_turnd_where *out);

/* ph_turnd_input for a packet that has been elsewhere: no PH_LATER and no PH_ELSEWHERE. */
int ph_turnd_input_final(struct ph_turnd *d, struct ph_pkt *p, ph_ns now);

/* Takes an allocation out of a core to give it to another one: what it is, and the relay sockets it has, by the
 * numbers of the old core (sock[]: 0 when absent).  No events.  NULL: there is none with this ticket or session, or it
 * cannot move now (it is being opened, or has TCP connections). */
struct ph_turnd_moved;
struct ph_turnd_moved *ph_turnd_detach(struct ph_turnd *d, const struct ph_turnd_where *what,
                                       uint32_t sock[static 2], ph_ns now);
/* Puts it into this core; sock[] are the numbers its sockets have from now on.  0, or PH_E_LIMIT or PH_E_NOMEM: it is
 * still the caller's. */
int ph_turnd_attach(struct ph_turnd *d, struct ph_turnd_moved *m, uint32_t sock[static 2],
                    ph_ns now);
/* Ends one that nobody takes: ports and quota are given back.  Any core of the same server will do. */
void ph_turnd_moved_free(struct ph_turnd *d, struct ph_turnd_moved *m);

/* Answers PEER_CONNECT: err 0, or -errno (the client gets 447; -ETIMEDOUT, -EHOSTUNREACH and the like too).  After 30 s
 * without an answer the core gives up by itself: 447 and PEER_CLOSE. */
void ph_turnd_peer_connected(struct ph_turnd *d, uint32_t peer, int err, ph_ns now);

/* A peer has connected to TCP relay `sock`.  Returns 0 and its id, or a negative error: close it. */
int ph_turnd_peer_accepted(struct ph_turnd *d, uint32_t sock, const struct ph_addr *from,
                           uint32_t *peer, ph_ns now);

/* A peer connection, or the client's that is tied to it, is gone. */
void ph_turnd_peer_closed(struct ph_turnd *d, uint32_t peer, ph_ns now);

/* May n bytes pass a tied connection?  Counts them; returns how many (bandwidth bounds), 0: try again in 10 ms. */
uint32_t ph_turnd_peer_bytes(struct ph_turnd *d, uint32_t peer, enum ph_bps_way way, uint32_t n,
                             ph_ns now);

/* Takes other users, policies and limits.  Realms are found again by their names; allocations of one that is gone end
 * (PH_END_REVOKED).  Permissions and channels that the new policy forbids end at once; a session's credential is looked up again
 * at its next request.  An incomplete configuration changes nothing. */
void ph_turnd_reload(struct ph_turnd *d, const struct ph_turnd_live *live, ph_ns now);

/* Ends every allocation of a user: the whole name, or the id part of REST names; in one realm, or with realm.n = 0 in all.
 * Who is still in the configuration or the database may come again.  Returns how many. */
unsigned ph_turnd_revoke(struct ph_turnd *d, struct ph_slice realm, struct ph_slice user,
                         ph_ns now);

/* The peers an allocation has had: addresses of permissions (port 0) and channels, at most max.  Returns how many.  To be
 * called for an allocation that is up, or while its ALLOC_DOWN event is being handled. */
unsigned ph_turnd_peers(const struct ph_turnd *d, uint32_t id, struct ph_addr *v, unsigned max);

/* Ends an allocation; false when there is none with this id. */
bool ph_turnd_end(struct ph_turnd *d, uint32_t id, ph_ns now);

/* A client's connection (listener number and client address) is gone; no effect on UDP clients.  Its allocation ends,
 * unless it has a mobility ticket: then it waits for its client until it expires. */
void ph_turnd_conn_closed(struct ph_turnd *d, uint32_t listener, const struct ph_addr *client,
                          ph_ns now);

/* Whether a connection carries an allocation, so that it must not be closed for being idle. */
bool ph_turnd_conn_needed(const struct ph_turnd *d, uint32_t listener,
                          const struct ph_addr *client);

/* The connection that an allocation has left with the last packet (RFC 8016), 0: none has.  It carries none now. */
uint32_t ph_turnd_left(struct ph_turnd *d);

/* Other servers from now on, in place of live.alternate and live.node; n_nodes of them, not owned.  Cheap: unlike a reload. */
void ph_turnd_set_fleet(struct ph_turnd *d, const struct ph_addr *alternate, unsigned n,
                        const struct ph_turnd_node *node, unsigned n_nodes);

/* Tells (ALLOC_TRAFFIC) what there is untold of every allocation, before a period is over: they are about to be handed over.
 * With conf.stats. */
void ph_turnd_tell_traffic(struct ph_turnd *d);

/* --- state that outlives the core ------------------------------------------------------------------ */

/* The next allocation that is up and has changed (made, refreshed, permissions, channels, address, ticket) since it was
 * last given out here; with conf.save.  Traffic alone is no change.  Ended ones are told by ALLOC_DOWN.  False: none. */
bool ph_turnd_changed(struct ph_turnd *d, uint32_t *id, uint64_t *session);

/* Whether there is one.  Cheap. */
bool ph_turnd_has_changed(const struct ph_turnd *d);

/* All that are up count as changed. */
void ph_turnd_change_all(struct ph_turnd *d);

/* Writes an allocation as a record (record.h) into dst.  Returns its length, 0 when it cannot be carried: there is none, its
 * client is on a connection and has no ticket, or it is a TCP relay without one.  A client on a connection is written as away. */
size_t ph_turnd_save(const struct ph_turnd *d, uint32_t id, uint8_t *dst, size_t cap, ph_ns now);

/* Makes an allocation of a record: RELAY_OPEN events for its addresses, then ALLOC_UP (info.restored), or nothing: if a socket
 * cannot be had it is dropped without ALLOC_DOWN.  Nobody is answered.  It is counted in its quota, whatever the bounds, and held to
 * the configuration of now.  0 and *id; PH_E_TIMEOUT: it has expired; PH_E_MISSING: its listener, relay address or realm is
 * none of ours; PH_E_STATE: its five-tuple, port or session is in use; PH_E_LIMIT, PH_E_NOMEM; PH_E_FORMAT, PH_E_SHORT,
 * PH_E_UNSUPPORTED: no record. */
int ph_turnd_restore(struct ph_turnd *d, struct ph_slice record, uint32_t *id, ph_ns now);

/* Ends (PH_END_ADOPTED) every allocation that was given out by ph_turnd_changed and whose session is not among n, which are
 * sorted.  Returns how many. */
unsigned ph_turnd_disown(struct ph_turnd *d, const uint64_t *session, unsigned n, ph_ns now);

/* The slot of a session, UINT32_MAX: none.  Slow. */
uint32_t ph_turnd_find(const struct ph_turnd *d, uint64_t session);

/* Other keys from now on; with n_tickets = 0 those of tickets stay as they are. */
void ph_turnd_set_keys(struct ph_turnd *d, const struct ph_turnd_keys *k);

/* Steps through the allocations: *id starts at 0 and is moved past the one returned.  False at the end. */
bool ph_turnd_list(const struct ph_turnd *d, uint32_t *id, struct ph_turnd_info *out);

/* Allocations now. */
uint32_t ph_turnd_count(const struct ph_turnd *d);

/* The counters, live. */
const struct ph_turnd_stats *ph_turnd_stats(const struct ph_turnd *d);

#endif
