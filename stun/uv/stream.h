/*
 * TCP and TLS connections of one worker: framed messages in, framed messages out.
 *
 *     listener --accept--> [PROXY header] -> sniff -> [TLS handshake] -> frames -> on_message
 *     ph_streams_send -> queue of whole messages -> one write or TLS record for many -> socket
 *
 * Everything is bounded: connections in all and of one address, the time to a finished handshake and to a first
 * message, the time a connection may stay that nobody keeps (ph_streams_keep), the bytes that wait for a slow
 * reader.  When the latter are reached, whole messages go, the oldest first, but never answers (STUN responses);
 * the connection stays: a video key frame is a burst, not an attack.
 *
 * An idle connection holds no buffers: reading is done into a few buffers of the worker, and what is left of half a
 * message is kept exactly.  Messages for one connection that are sent between two flushes leave together.
 *
 * Connections are numbered 1, 2, ... (a slot with a generation: a number does not come again soon).  Raw connections (RFC
 * 6062 data connections: client's or peer's) have no frames: bytes in, bytes out, with back pressure.
 * One owner thread.  Callbacks are made from ph_streams_ready, _tick and _flush only; they may call all functions
 * but _ready, _tick and _free.
 */
#ifndef PH_UV_STREAM_H
#define PH_UV_STREAM_H

#include "stun/base/buf.h"
#include "stun/base/env.h"
#include "stun/base/time.h"
#include "stun/uv/tls.h"
#include "stun/uv/worker.h"

/* Ids under which sockets are watched (ph_worker_watch): theirs begin with these bits, nobody else's do. */
#define PH_STREAM_ID_CONN     0x40000000u
#define PH_STREAM_ID_LISTENER 0x20000000u

enum { PH_STREAM_LISTENERS = 64 };

/* Why a connection ended. */
enum ph_stream_end {
    PH_STREAM_CLOSED,    /* by the other side */
    PH_STREAM_RESET,     /* by an error of the socket */
    PH_STREAM_BY_US,     /* ph_streams_close */
    PH_STREAM_TIMEOUT,   /* handshake, first message, or nobody kept it */
    PH_STREAM_BAD_FRAME, /* what came is no STUN or ChannelData */
    PH_STREAM_BAD_PROXY, /* the PROXY header is missing or broken */
    PH_STREAM_IS_HTTP,   /* HTTP on a STUN port: answered 400, if asked for, and closed */
    PH_STREAM_BAD_TLS    /* the handshake or a record failed */
};

/* Counters: X(name, what it counts). */
#define PH_STREAM_COUNTERS(X)                                                                      \
    X(accepted, "connections accepted")                                                            \
    X(refused_full, "connections refused: too many in all")                                        \
    X(refused_source, "connections refused: too many of one address")                              \
    X(accept_failed, "accept failed (no file descriptors)")                                        \
    X(tls_handshakes, "TLS handshakes done")                                                       \
    X(tls_failed, "TLS handshakes and records that failed")                                        \
    X(closed, "connections closed by the other side")                                              \
    X(reset, "connections that ended with an error")                                               \
    X(timed_out, "connections closed: handshake, first message or idle")                           \
    X(bad_frame, "connections closed: neither STUN nor ChannelData")                               \
    X(bad_proxy, "connections closed: PROXY header missing or broken")                             \
    X(http, "connections closed: HTTP")                                                            \
    X(rx_messages, "messages received")                                                            \
    X(rx_bytes, "bytes received, as they were on the wire or in TLS")                              \
    X(rx_calls, "read calls")                                                                      \
    X(tx_messages, "messages sent")                                                                \
    X(tx_bytes, "bytes sent")                                                                      \
    X(tx_calls, "write calls")                                                                     \
    X(dropped_slow, "messages dropped for a reader that is too slow")

struct ph_stream_stats {
#define PH_X(name, text) uint64_t name;
    PH_STREAM_COUNTERS(PH_X)
#undef PH_X
    uint64_t now;     /* connections at the moment */
    uint64_t tls_now; /* of them with TLS */
};

/* A listening socket. */
struct ph_stream_listener {
    struct ph_addr at;  /* port 0: the system picks */
    uint32_t sock;      /* the caller's number for it, given back in ph_pkt.sock */
    bool plain, tls;    /* what may speak here; both: told apart by the first bytes */
    bool proxy;         /* a PROXY header must come first */
    bool reuseport;     /* share the address among workers */
    const char *device; /* SO_BINDTODEVICE, NULL: any */
    bool inherited;     /* fd is its socket, of the process before: listening; at is ignored */
    int fd;
};

/* Who calls whom.  ctx comes first. */
struct ph_stream_calls {
    /* A whole message: p->b (padding excluded; neither head- nor tailroom), src (proto PH_TCP or PH_TLS), dst, sock, conn.
     * Its memory stays until `flush` was called or the messages of this ready call are over, whichever is later. */
    void (*message)(void *ctx, struct ph_pkt *p, ph_ns now);
    /* n bytes of a raw connection.  Returns how many were taken; less than n pauses reading (ph_streams_resume). */
    size_t (*bytes)(void *ctx, uint32_t conn, const uint8_t *p, size_t n, ph_ns now);
    /* A raw connection's queue has drained below half after it had been full. */
    void (*writable)(void *ctx, uint32_t conn, ph_ns now);
    /* An outgoing connection is there (err 0) or could not be made (-errno; it is gone then, without `ended`). */
    void (*connected)(void *ctx, uint32_t conn, int err, ph_ns now);
    /* A raw listener (ph_streams_listen_raw) has a connection from `peer`.  Returns false to have it closed. */
    bool (*accepted)(void *ctx, uint32_t listener, uint32_t conn, const struct ph_addr *peer,
                     ph_ns now);
    /* A connection is gone; not called for ph_streams_close and _detach.  sock is the listener's number (of a raw one that
     * of ph_streams_listen_raw; outgoing: UINT32_MAX). */
    void (*ended)(void *ctx, uint32_t conn, uint32_t sock, const struct ph_addr *peer,
                  enum ph_stream_end why, ph_ns now);
    /* The read buffers are about to be used again: send what points into them.  From ph_streams_flush too. */
    void (*flush)(void *ctx);
};

/* Zero means the default given. */
struct ph_streams_conf {
    struct ph_worker *worker;
    const struct ph_env *env;
    struct ph_stream_calls calls;
    void *ctx;
    struct ph_tls *tls;      /* a reference is taken; NULL: no TLS */
    uint32_t max_conns;      /* in all, 65536 */
    uint32_t max_per_addr;   /* of one client address (IPv6: /64), 4096 */
    ph_ns handshake_timeout; /* accept to the end of PROXY and TLS, 10 s */
    ph_ns idle_timeout;      /* without a message, unless kept, 60 s */
    /* That may wait for one connection, counted with 32 for each message, 1 MB.  For one that nobody keeps it is 16 kB:
     * then its answers are not read, and it is not read either. */
    uint32_t queue_bytes;
    bool http_400;  /* answer HTTP with 400 before closing */
    bool free_bind; /* listeners may be bound to addresses that are not ours (yet) */
};

struct ph_streams;

/* Starts without listeners and connections.  The configuration is copied, references are taken.  NULL when out of memory. */
struct ph_streams *ph_streams_new(const struct ph_streams_conf *c);
/* Closes every socket; no callbacks. */
void ph_streams_free(struct ph_streams *s);

/* Opens a listener, or takes over one that is inherited.  Returns 0 and *at as bound, or -errno (-EINVAL: what is inherited is
 * no listening socket of this device; it is still the caller's). */
int ph_streams_listen(struct ph_streams *s, const struct ph_stream_listener *l, struct ph_addr *at);

/* Gives the socket of the listener with this number away, still listening: connections wait in it for whoever has it next.
 * Its descriptor, or -1: there is none. */
int ph_streams_unlisten(struct ph_streams *s, uint32_t sock);

/* Accepts nothing, until told to go on; those that listen for raw connections go on. */
void ph_streams_hold(struct ph_streams *s, bool on);

/* Opens a listener for raw connections (an RFC 6062 relay), whose address may also be connected from.  Returns its
 * number >= 0 through *id, or -errno. */
int ph_streams_listen_raw(struct ph_streams *s, const struct ph_addr *at, const char *device,
                          uint32_t *id);
void ph_streams_unlisten_raw(struct ph_streams *s, uint32_t id);

/* The same with a socket of the process before that ph_streams_give_raw has given away (-EINVAL: it is none; it is still the
 * caller's).  To give away: its descriptor, or -1. */
int ph_streams_adopt_raw(struct ph_streams *s, int fd, const char *device, uint32_t *id);
int ph_streams_give_raw(struct ph_streams *s, uint32_t id);

/* Begins an outgoing raw connection from `local` (bound with address reuse) to `peer`.  Returns 0 and *conn, or -errno
 * (-EMFILE: max_conns; -EADDRNOTAVAIL: there is one to this peer).  After 30 s without an answer `connected` says
 * -ETIMEDOUT. */
int ph_streams_connect(struct ph_streams *s, const struct ph_addr *local,
                       const struct ph_addr *peer, const char *device, uint32_t *conn, ph_ns now);

/* Sockets with these ids are ready (from the worker's ph_mux_fn; ids of others are not for us). */
void ph_streams_ready(struct ph_streams *s, uint32_t id, uint32_t events, ph_ns now);

/* Queues a message for p->conn: head and data, padded to four bytes.  False when the connection is gone or raw, or the
 * message was dropped. */
bool ph_streams_send(struct ph_streams *s, const struct ph_pkt *p);

/* Queues bytes for a raw connection; returns how many were taken (0 to n). */
size_t ph_streams_write(struct ph_streams *s, uint32_t conn, const uint8_t *p, size_t n);

/* Writes what is queued.  To be called at the end of each stretch of work. */
void ph_streams_flush(struct ph_streams *s, ph_ns now);

/* Timeouts.  To be followed by ph_streams_flush.  The deadline is over already when there is something to do that can
 * not be done where it came up, so it is to be asked after each stretch of work. */
void ph_streams_tick(struct ph_streams *s, ph_ns now);
ph_ns ph_streams_deadline(const struct ph_streams *s);

/* Somebody needs this connection (an allocation): the idle timeout is off, or on again.  A message that has begun must
 * still end within it. */
void ph_streams_keep(struct ph_streams *s, uint32_t conn, bool keep);

/* No frames from now on: what is read goes to `bytes`, beginning with what follows the last message taken. */
void ph_streams_make_raw(struct ph_streams *s, uint32_t conn);

/* Reads a paused raw connection again. */
void ph_streams_resume(struct ph_streams *s, uint32_t conn);

/* Sends what is queued and closes.  A slow reader is waited for as long as he takes some of it every 10 s, and all of it at
 * 8 kB a second. */
void ph_streams_close(struct ph_streams *s, uint32_t conn);

/* Takes a connection away from this worker, with all that belongs to it, and gives it to another: its number changes.
 * `unread` bytes (at most a message) are put in front of what is read next.  Neither calls back.  NULL: there is no such
 * connection, or no memory. */
struct ph_stream_moved;
struct ph_stream_moved *ph_streams_detach(struct ph_streams *s, uint32_t conn,
                                          const uint8_t *unread, size_t n);
/* Takes it over; m is gone.  Returns its number here, or 0: no memory, it was closed. */
uint32_t ph_streams_attach(struct ph_streams *s, struct ph_stream_moved *m, ph_ns now);
/* Closes a connection that nobody takes over. */
void ph_stream_moved_free(struct ph_stream_moved *m);

/* Another set of certificates for new connections.  A reference is taken. */
void ph_streams_set_tls(struct ph_streams *s, struct ph_tls *tls);

/* TLS session of a connection, or NULL. */
SSL *ph_streams_ssl(const struct ph_streams *s, uint32_t conn);

/* The counters, live; they are s's. */
const struct ph_stream_stats *ph_streams_stats(const struct ph_streams *s);

#endif
