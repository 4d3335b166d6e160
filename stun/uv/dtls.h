/*
 * DTLS sessions of one worker, on the UDP sockets it has anyway (RFC 7350, RFC 6347).
 *
 * Nothing is kept for a client that has not returned the cookie: a flood of spoofed hellos costs no memory and is
 * answered with no more bytes than it brought (and paid from the source's budget).  Sessions are bounded in number (in all and
 * of one address), in time to finish the handshake and in idle time unless kept.  A client that begins anew from the address of a session (it was
 * restarted) has to return the cookie before the old session ends (RFC 6347 4.2.8).
 *
 *     datagram (first byte 20..63) -> ph_dtls_input -> PH_DATA: p is a message of the client
 *     message for p->conn          -> ph_dtls_seal  -> p is the datagram
 *     handshake flights go out through `send`
 *
 * Session numbers have PH_DTLS_CONN set and do not come again soon.  A session belongs to the five-tuple (listener,
 * client address).  One owner thread.
 */
#ifndef PH_UV_DTLS_H
#define PH_UV_DTLS_H

#include "stun/base/buf.h"
#include "stun/base/env.h"
#include "stun/base/time.h"
#include "stun/budget.h"
#include "stun/uv/tls.h"

#define PH_DTLS_CONN 0x80000000u

enum { PH_DTLS_OVERHEAD = 64 }; /* bytes at most that sealing adds */

#define PH_DTLS_COUNTERS(X)                                                                        \
    X(hellos, "client hellos without a valid cookie")                                              \
    X(over_budget, "hellos dropped for their source's budget")                                     \
    X(handshakes, "handshakes done")                                                               \
    X(failed, "handshakes that failed")                                                            \
    X(refused_full, "clients refused: too many sessions")                                          \
    X(refused_source, "clients refused: too many sessions of one address")                         \
    X(timed_out, "sessions ended: handshake or idle")                                              \
    X(closed, "sessions closed by the client")                                                     \
    X(bad_record, "datagrams that no session could open")                                          \
    X(rx_messages, "messages received")                                                            \
    X(tx_messages, "messages sent")

struct ph_dtls_stats {
#define PH_X(name, text) uint64_t name;
    PH_DTLS_COUNTERS(PH_X)
#undef PH_X
    uint64_t now;
};

/* Zero means the default given. */
struct ph_dtls_conf {
    const struct ph_env *env;
    struct ph_tls *tls;       /* a reference is taken */
    struct ph_budget *budget; /* NULL: no limit; not owned */
    uint32_t max_sessions;    /* 65536 */
    uint32_t max_per_addr;    /* of one client address (IPv6: /64), 4096 */
    ph_ns handshake_timeout;  /* 15 s */
    ph_ns idle_timeout;       /* 60 s */
    ph_ns retransmit; /* a lost flight is sent again after, then doubled: 1 s (RFC 6347 4.2.4.1) */
    uint32_t mtu;     /* bytes of a datagram in a handshake, 1200 */
    /* Sends a datagram of the handshake: p->b, dst, src and sock are set; it is taken before send returns. */
    void (*send)(void *ctx, struct ph_pkt *p);
    /* A session with its handshake done is gone; not called for ph_dtls_close. */
    void (*ended)(void *ctx, uint32_t conn, uint32_t sock, const struct ph_addr *client, ph_ns now);
    void *ctx;
};

struct ph_dtls;

/* NULL when out of memory. */
/* Starts without sessions.  The configuration is copied, a reference to the certificates taken.  NULL when out of memory. */
struct ph_dtls *ph_dtls_new(const struct ph_dtls_conf *c);
/* Ends all sessions without a word to the clients; no callbacks. */
void ph_dtls_free(struct ph_dtls *d);

/* A datagram from p->src to listener p->sock.  PH_DATA: p->b is the message, src.proto PH_DTLS, conn set; call
 * ph_dtls_next for more.  It lies where the datagram was, with more room in front than that had, and lives as
 * long; only what came along with the end of a handshake lies where ph_dtls_next puts things (p->b.base then is
 * another).  PH_CONSUMED: part of a handshake.  PH_DROP: not for us. */
int ph_dtls_input(struct ph_dtls *d, struct ph_pkt *p, ph_ns now);
/* The next message of the same datagram, to be called until there is none (false).  It is in memory of d's, with
 * PH_HEADROOM in front and PH_TAILROOM behind, good until the next call of this or ph_dtls_input. */
bool ph_dtls_next(struct ph_dtls *d, struct ph_pkt *p);

/* Encrypts the message in p (head and data) for p->conn into out, an empty packet with room for PH_DTLS_OVERHEAD more
 * behind its offset, which may be the memory that p is in; sets out's len, dst, src and sock.  PH_SEND, or PH_DROP (no
 * such session, too big: the room, or 2^14 bytes). */
int ph_dtls_seal(struct ph_dtls *d, const struct ph_pkt *p, struct ph_pkt *out);

/* Timeouts: retransmissions, handshakes that do not end, idle sessions.  OpenSSL reads a clock of its own (the time of
 * day) to tell whether a retransmission is due: `now` only says when to ask. */
void ph_dtls_tick(struct ph_dtls *d, ph_ns now);
/* When ph_dtls_tick is due, PH_NEVER when not at all. */
ph_ns ph_dtls_deadline(const struct ph_dtls *d);
/* Somebody needs this session (an allocation): no idle timeout; or it counts again (and ends the session one to two
 * timeouts after its last message). */
void ph_dtls_keep(struct ph_dtls *d, uint32_t conn, bool keep);
/* Ends a session, telling its client (close_notify); `ended` is not called. */
void ph_dtls_close(struct ph_dtls *d, uint32_t conn);
/* Another set of certificates for new sessions; those there are go on with theirs.  A reference is taken. */
void ph_dtls_set_tls(struct ph_dtls *d, struct ph_tls *tls);
/* The TLS session, to describe it; NULL: there is none. */
SSL *ph_dtls_ssl(const struct ph_dtls *d, uint32_t conn);
/* The counters, live; they are d's. */
const struct ph_dtls_stats *ph_dtls_stats(const struct ph_dtls *d);

#endif
