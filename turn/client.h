/*
 * The TURN client core (RFC 8656): one allocation on one server, no I/O.
 *
 * Life of a client, in the calls an owner makes:
 *
 *     t = ph_turnc_new(&conf, &env);
 *     ph_turnc_allocate(t, now);         event ALLOCATED: ph_turnc_info(t)->relay is the address
 *     ph_turnc_permit(t, &peer, now);    event PERMITTED: this peer's packets are let through
 *     ph_turnc_bind(t, &peer, now);      event BOUND: 4 bytes of overhead instead of 36
 *     ph_turnc_wrap(t, &pkt, &peer);     pkt now goes to the server
 *     ph_turnc_input(t, &pkt, now);      PH_DATA: pkt is a peer's payload
 *     ph_turnc_release(t, now);          event RELEASED
 *     ph_turnc_free(t);
 *
 * After any call with a `now`, drain ph_turnc_output, then ph_turnc_event, then arm
 * ph_turnc_deadline.  The core refreshes the allocation, permissions and channels by itself,
 * answers 401 and 438, and sends nothing that nobody asked for.  Nothing is queued as bytes: a
 * request is built when ph_turnc_output asks for it.
 *
 * One owner thread.  Memory is bounded by max_permissions and max_channels.  Sockets, connections
 * and TLS are the owner's: the core only needs to know whether the transport is reliable.  On a
 * stream the owner frames: whole messages go in and come out.
 */
#ifndef PH_TURN_CLIENT_H
#define PH_TURN_CLIENT_H

#include "stun/base/buf.h"
#include "stun/base/env.h"
#include "stun/base/slice.h"
#include "stun/base/time.h"
#include "stun/txn.h"

#include <stdbool.h>
#include <stdint.h>

/* Bytes behind out->b.off that are enough for every request.  With user, realm and nonce of
 * ordinary length 1200 are; a request that does not fit fails with PH_E_NOSPACE. */
enum { PH_TURNC_OUTPUT = 4096 };

/* Relayed addresses to ask for. */
enum ph_turnc_family {
    PH_TURNC_ANY,  /* what the server gives: IPv4 by RFC 8656 */
    PH_TURNC_IPV4, /* the same, said aloud */
    PH_TURNC_IPV6,
    PH_TURNC_BOTH /* IPv4, and IPv6 if the server can (ADDITIONAL-ADDRESS-FAMILY) */
};

/* EVEN-PORT (RFC 8656 18.7). */
enum ph_turnc_even {
    PH_TURNC_ANY_PORT,
    PH_TURNC_EVEN_PORT,   /* an even port */
    PH_TURNC_RESERVE_NEXT /* an even port; the next one is held for 30 s against info.token */
};

/* What a server has told about authentication: hand it from one client to the next one for the same
 * server and user, and that one saves the round trip of the 401.  Slices are copied by
 * ph_turnc_new. */
struct ph_turnc_login {
    struct ph_slice realm, nonce;
    struct ph_slice algorithms; /* PASSWORD-ALGORITHMS as sent, empty when there was none */
};

/* Zero means the default given. */
struct ph_turnc_conf {
    struct ph_addr server; /* required */
    uint32_t sock;         /* passed through to ph_pkt.sock */
    bool reliable;         /* TCP or TLS: no retransmission, ChannelData is padded to 4 bytes */

    struct ph_slice user, password; /* both copied; an empty user: anonymous, a 401 is final */
    struct ph_turnc_login login;    /* empty: learned from the first 401 */

    enum ph_turnc_family family;
    enum ph_turnc_even even;
    bool has_token;      /* redeem a RESERVATION-TOKEN; excludes family and even */
    uint64_t token;      /* of another client's info */
    bool dont_fragment;  /* ask for DF support; a server that cannot answers 420 */
    uint32_t lifetime_s; /* LIFETIME to ask for, 0: none (servers give 600 s) */

    bool follow_redirects; /* on 300, go on with the server named; UDP and same family only */
    bool fingerprint; /* add FINGERPRINT: wanted when the port is shared with other protocols */
    bool transmit_counter; /* add TRANSACTION-TRANSMIT-COUNTER (RFC 7982): RTT in spite of loss */
    const char *software;  /* SOFTWARE, NULL: none; must outlive the client */

    /* While up and silent for so long (at the latest after twice as long) a Binding indication goes
     * out, which keeps NATs open.  0: none, as for an owner that keeps alive itself. */
    ph_ns keepalive;
    struct ph_txn_conf txn;   /* timing of requests; .reliable is set from above */
    uint16_t max_permissions; /* peer IPs at a time, 64 */
    uint16_t max_channels;    /* 64, at most 4096; ended ones count for 5 minutes more (rest) */
};

enum ph_turnc_state {
    PH_TURNC_IDLE,       /* nothing is allocated; ph_turnc_allocate may be called */
    PH_TURNC_ALLOCATING, /* Allocate is under way */
    PH_TURNC_UP,         /* the relayed address is usable */
    PH_TURNC_RELEASING   /* Refresh with lifetime 0 is under way */
};

/* What is known now.  Addresses have PH_UDP as transport, or family PH_AF_NONE when absent. */
struct ph_turnc_info {
    enum ph_turnc_state state;
    struct ph_addr server;   /* the one in use, after redirects */
    struct ph_addr relay[2]; /* [0] IPv4, [1] IPv6 */
    struct ph_addr mapped;   /* the client as the server sees it */
    uint16_t family_code;    /* PH_TURNC_BOTH: why a family is missing (ADDRESS-ERROR-CODE), or 0 */
    bool has_token;          /* a port is reserved: token */
    uint64_t token;
    uint32_t lifetime_s;  /* as granted last */
    ph_ns expires_at;     /* of the allocation unless refreshed; PH_NEVER while idle */
    uint16_t algorithm;   /* PH_ALG_... of the key in use, PH_ALG_NONE before authentication */
    bool userhash;        /* the user name goes out hashed */
    ph_ns rtt;            /* last round trip measured, -1 before the first */
    ph_ns srtt;           /* smoothed (RFC 6298: 1/8 of the new one), -1 before the first */
    uint16_t permissions; /* peer IPs permitted or asked for */
    uint16_t channels;    /* channels bound or asked for, without resting ones */
};

/* Counters: X(name, what it counts). */
#define PH_TURNC_COUNTERS(X)                                                                       \
    X(requests, "requests sent, retransmissions not counted")                                      \
    X(retransmissions, "requests sent again")                                                      \
    X(responses, "responses that ended a request")                                                 \
    X(timeouts, "requests that got no acceptable answer")                                          \
    X(bad_integrity, "responses dropped: integrity missing or wrong")                              \
    X(malformed, "packets from the server that are broken")                                        \
    X(unexpected, "messages that answer nothing asked")                                            \
    X(no_channel, "ChannelData on a channel that is not bound")                                    \
    X(no_permission, "Data indications from a peer without permission")                            \
    X(to_peer_packets, "payloads wrapped")                                                         \
    X(to_peer_bytes, "bytes of them")                                                              \
    X(from_peer_packets, "payloads unwrapped")                                                     \
    X(from_peer_bytes, "bytes of them")                                                            \
    X(icmp, "ICMP errors told by the server")

struct ph_turnc_stats {
#define PH_X(name, text) uint64_t name;
    PH_TURNC_COUNTERS(PH_X)
#undef PH_X
};

enum ph_turnc_ev_type {
    PH_TURNC_ALLOCATED,      /* ph_turnc_info has the addresses */
    PH_TURNC_FAILED,         /* Allocate failed (err, code): idle again */
    PH_TURNC_REDIRECT,       /* 300: the server names another one, `alternate`: idle again */
    PH_TURNC_REFRESHED,      /* the lifetime was extended */
    PH_TURNC_REFRESH_FAILED, /* err, code; tried again until the allocation expires */
    PH_TURNC_LOST,           /* the allocation is gone with all that hung on it (err, code): idle */
    PH_TURNC_RELEASED,       /* idle again; err when the server did not confirm */
    PH_TURNC_PERMITTED,      /* peer; only the first time, not for refreshes */
    PH_TURNC_PERMIT_FAILED,  /* peer, err, code: no permission any more */
    PH_TURNC_BOUND,          /* peer, channel; only the first time */
    PH_TURNC_BIND_FAILED,    /* peer, channel, err, code: not bound any more */
    PH_TURNC_ICMP            /* peer, icmp_*: what was sent there met an error (RFC 8656 11.6) */
};

/* err says why: PH_E_REFUSED (see code), PH_E_TIMEOUT, PH_E_AUTH (no answer with good integrity, or
 * an attempt to downgrade; code is that of an answer that was dropped for it, if any), PH_E_FORMAT
 * (an answer without what it must have), PH_E_UNSUPPORTED (an answer that needs what we do not
 * know), PH_E_FAMILY (a relayed address of another family than asked for), PH_E_REDIRECT (redirected
 * in a circle), PH_E_NOMEM, PH_E_NOSPACE.
 *
 * After REDIRECT the owner makes a new client for `alternate`, with a new connection if the transport
 * is one, and counts how often. */
struct ph_turnc_ev {
    enum ph_turnc_ev_type type;
    int err;             /* 0 or PH_E_... */
    uint16_t code;       /* STUN error code, 0: none */
    const char *reason;  /* the server's phrase, printable, "" when none; until the next call */
    struct ph_addr peer; /* PERMIT...: IP, port 0; BOUND, BIND_FAILED: with port; ICMP: with port */
    uint16_t channel;
    uint8_t icmp_type;
    uint16_t icmp_code;
    uint32_t icmp_data;       /* the MTU of "packet too big", else 0 */
    struct ph_addr alternate; /* REDIRECT; its transport is that of the server in use */
    const char *domain;       /* REDIRECT: ALTERNATE-DOMAIN, "" when none; until the next call */
};

struct ph_turnc;

/* Creates an idle client; configuration, slices and env are copied.  NULL when out of memory, or
 * when the configuration has no server or contradicts itself. */
struct ph_turnc *ph_turnc_new(const struct ph_turnc_conf *c, const struct ph_env *env);

/* Frees a client in any state, without a word to the server; secrets are wiped.  NULL is fine. */
void ph_turnc_free(struct ph_turnc *t);

/* Asks for an allocation.  Ends in ALLOCATED, FAILED or REDIRECT.  FAILED with code 437 means that
 * the server still knows an allocation of this socket's address: try again from another port
 * (RFC 8656 7.4).  Returns 0, or PH_E_STATE unless idle. */
int ph_turnc_allocate(struct ph_turnc *t, ph_ns now);

/* Refreshes now instead of when due (after a network change, to measure the RTT).  lifetime_s 0: as
 * configured.  Ends in REFRESHED, REFRESH_FAILED or LOST.  Returns 0, or PH_E_STATE when not up or
 * one is under way. */
int ph_turnc_refresh(struct ph_turnc *t, uint32_t lifetime_s, ph_ns now);

/* Gives the allocation back (lifetime 0).  Ends in RELEASED, also when Allocate was still under
 * way.  An owner in a hurry drains ph_turnc_output once and frees.  Returns 0, or PH_E_STATE when
 * idle or releasing. */
int ph_turnc_release(struct ph_turnc *t, ph_ns now);

/* Asks for a permission for the peer's IP (the port is ignored) and keeps it refreshed.
 * Permissions asked for before ph_turnc_output is drained share one request; if the server refuses
 * it for one of them they are asked for one by one.  Payloads may be wrapped at once.  Ends in
 * PERMITTED or PERMIT_FAILED; nothing happens if the IP is permitted already.  Returns 0,
 * PH_E_STATE when not up, PH_E_FAMILY when no relayed address has the peer's family, PH_E_LIMIT
 * (max_permissions) or PH_E_NOMEM. */
int ph_turnc_permit(struct ph_turnc *t, const struct ph_addr *peer, ph_ns now);

/* Binds a channel to the peer, which also permits its IP, and keeps both refreshed.  Until it is
 * bound payloads go as Send indications.  Ends in BOUND or BIND_FAILED; nothing happens if it is
 * bound already.  Returns as ph_turnc_permit; PH_E_LIMIT also for max_channels, resting numbers
 * included. */
int ph_turnc_bind(struct ph_turnc *t, const struct ph_addr *peer, ph_ns now);

/* Stops refreshing: the channel to this peer (with its port), if there is one; the permission of
 * its IP too, unless another channel needs it.  Both lapse on the server by themselves; payloads
 * can no longer be wrapped, and no more events come. */
void ph_turnc_forget(struct ph_turnc *t, const struct ph_addr *peer, ph_ns now);

/* Wraps a payload for a peer in place: as ChannelData if its channel is bound, else as Send
 * indication, and sets p->dst and p->sock.  Needs headroom or p->head (ph_pkt_push), and for the
 * padding up to 3 bytes behind the data, within b.cap.  With p->dont_fragment the server is asked
 * to set DF (RFC 8656 14), which only a Send indication can say; the flag is then cleared, as it is
 * not for our packet to the server.  Returns PH_SEND; or PH_E_STATE when not up, PH_E_FORBIDDEN
 * without a permission asked for, PH_E_NOSPACE without room, PH_E_ARG when the payload is too long
 * for a message: p is unchanged then. */
int ph_turnc_wrap(struct ph_turnc *t, struct ph_pkt *p, const struct ph_addr *peer);

/* Takes a packet.  PH_DATA: p->b now views the payload and p->src is the peer (transport PH_UDP).
 * PH_CONSUMED: it was for this client.  PH_DROP: it was not (or was broken, unexpected, forged); p
 * is unchanged, so an owner that shares the socket may offer it elsewhere. */
int ph_turnc_input(struct ph_turnc *t, struct ph_pkt *p, ph_ns now);

/* Moves time on: retransmissions, refreshes, expiry. */
void ph_turnc_tick(struct ph_turnc *t, ph_ns now);

/* When ph_turnc_tick is due; PH_NEVER while idle. */
ph_ns ph_turnc_deadline(const struct ph_turnc *t);

/* Writes the next request into out->b, behind b.off (see PH_TURNC_OUTPUT), and sets dst and sock.
 * False when there is none. */
bool ph_turnc_output(struct ph_turnc *t, struct ph_pkt *out, ph_ns now);

/* Takes the next event.  False when there is none. */
bool ph_turnc_event(struct ph_turnc *t, struct ph_turnc_ev *ev);

/* What is known now, live. */
const struct ph_turnc_info *ph_turnc_info(const struct ph_turnc *t);

/* The counters, live. */
const struct ph_turnc_stats *ph_turnc_stats(const struct ph_turnc *t);

/* What the server has told about authentication; empty before the first 401.  Lives until the next
 * call. */
struct ph_turnc_login ph_turnc_login(const struct ph_turnc *t);

/* The channel bound to a peer, 0 when none is confirmed. */
uint16_t ph_turnc_channel(const struct ph_turnc *t, const struct ph_addr *peer);

#endif
