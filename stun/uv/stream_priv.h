/*
 * What the files of the stream shell share.  Not installed.
 *
 *   stream.c          the table of connections, what is done when, the public face
 *   stream_end.c      what a connection waits for, and how it ends
 *   stream_listen.c   sockets that listen
 *   stream_accept.c   accepting, and outgoing connections
 *   stream_source.c   how many connections an address has (source_priv.h)
 *   stream_io.c       reading: bytes to messages
 *   stream_queue.c    the queue of messages to write, and writing it
 *   stream_tls.c      TLS between these two and the socket
 *   stream_move.c     from one worker to another
 *
 * A number is a slot of the table (low bits) and the slot's generation.  Work that cannot be done where it comes up
 * (callbacks are made from ready, tick and flush only) waits in two lists: `dirty`, something to write, and
 * `again`, something else to see to.
 */
#ifndef PH_UV_STREAM_PRIV_H
#define PH_UV_STREAM_PRIV_H

#include "stun/base/heap.h"
#include "stun/codec/proxy.h"
#include "stun/codec/stream.h"
#include "stun/uv/source_priv.h"
#include "stun/uv/stream.h"

#include <stddef.h>

enum {
    PH__STREAM_SLOT_BITS = 18,
    PH__STREAM_SLOTS = 1 << PH__STREAM_SLOT_BITS,
    PH__STREAM_GENERATIONS = 1 << (30 - PH__STREAM_SLOT_BITS),

    PH__STREAM_READ = 64 << 10, /* bytes asked of a socket at once */
    PH__STREAM_READS = 4,       /* reads of one connection before the next has its turn */
    PH__STREAM_IN = 6 * PH__STREAM_READ,
    PH__STREAM_CIPHER = PH__STREAM_READ + PH_PROXY_V2_MAX + PH_STREAM_SNIFF,
    PH__STREAM_ARENA = 512 << 10,
    PH__STREAM_OUT = 128 << 10,
    PH__STREAM_RECORD = 16 << 10, /* RFC 8446 5.1 */
    PH__STREAM_WARM = 256,        /* TLS sessions that may keep their buffers */

    /* Whom nobody keeps has shown no credentials: he has little room for answers he does not read, and all
     * of them together for halves of messages. */
    PH__STREAM_STRANGER = 16 << 10,
    PH__STREAM_HALVES = 64 << 20
};

#define PH__STREAM_NONE UINT32_MAX

/* --- lists ----------------------------------------------------------------------------------------- */

struct ph__link {
    struct ph__link *prev, *next; /* NULL: in no list */
};

static inline void ph__list_init(struct ph__link *head)
{
    head->prev = head->next = head;
}

static inline void ph__list_del(struct ph__link *l)
{
    if (!l->next)
        return;
    l->prev->next = l->next;
    l->next->prev = l->prev;
    l->prev = l->next = NULL;
}

/* Appends, unless it is in a list already. */
static inline void ph__list_add(struct ph__link *head, struct ph__link *l)
{
    if (l->next)
        return;
    l->prev = head->prev;
    l->next = head;
    head->prev->next = l;
    head->prev = l;
}

static inline bool ph__list_empty(const struct ph__link *head)
{
    return head->next == head;
}

/* --- connections ----------------------------------------------------------------------------------- */

/* Something to write. */
enum ph__msg_kind {
    PH__MSG_ANSWER, /* must arrive */
    PH__MSG_DATA,   /* may be dropped when the reader is slow */
    PH__MSG_BYTES   /* no message: of a raw connection, or HTTP */
};

struct ph__msg {
    struct ph__msg *next, *prev;
    uint32_t len;
    uint8_t kind;
    bool heap; /* else in the arena, until the next flush */
    uint8_t data[];
};

/* Bytes on the heap. */
struct ph__bytes {
    uint8_t *p;
    uint32_t n;
};

enum ph__stream_phase {
    PH__STREAM_CONNECTING,
    PH__STREAM_PROXY,     /* wants a PROXY header */
    PH__STREAM_SNIFF,     /* wants the first bytes, inside TLS too */
    PH__STREAM_HANDSHAKE, /* of TLS */
    PH__STREAM_OPEN,
    PH__STREAM_FLUSHING, /* ours no more: what is queued goes out */
    PH__STREAM_LINGERING /* ours no more: all is out, the other side has not closed yet */
};

struct ph__conn {
    uint32_t num;
    int fd;
    uint8_t phase;
    bool raw, keep;
    bool may_plain, may_tls; /* its listener's */
    bool paused;             /* raw: the reader had enough */
    bool held;               /* its answers are not read: nor are its requests */
    bool full;               /* raw: the writer was refused something */
    bool blocked;            /* the socket takes no more at the moment */
    bool eof;                /* the other side has closed */
    bool shut;               /* close_notify and FIN are on their way */
    bool counted;            /* between two workers: it counts for its address */
    int broken;              /* the socket's error, to be told */
    uint32_t watching;       /* events asked of the worker */

    struct ph__link dirty, again, warm;
    SSL *ssl;
    struct ph__bytes in;     /* read, but not yet taken */
    struct ph__bytes cipher; /* TLS: read, but not yet decrypted */
    struct ph__bytes wire;   /* TLS: encrypted, but not yet written */
    uint32_t wire_off;

    struct ph__msg *first, *last;
    struct ph__msg *drop; /* the oldest that may be dropped */
    uint32_t head_off;    /* bytes of the first that are written */
    uint32_t queued;      /* bytes of memory */

    struct ph_addr src, dst;
    uint32_t sock;   /* of its listener */
    uint32_t source; /* where it is counted, or PH__SOURCE_NONE */
    ph_ns since;     /* accepted or begun */
    ph_ns last_at;   /* the last whole message, or the end of the handshake */
    ph_ns begun_at;  /* half a message is waiting since; 0: none is */
    ph_ns close_at; /* when it is closed whatever is left, unless some of it is taken by then ... */
    ph_ns flush_by; /* ... and when in any case */
    uint32_t left;  /* bytes that were to be written when close_at was set */
    ph_ns armed_at; /* as the heap has it */
};

static inline struct ph__conn *ph__conn_of(struct ph__link *l, size_t offset)
{
    return (struct ph__conn *)(void *)((char *)l - offset);
}

static inline uint32_t ph__stream_slot(uint32_t num)
{
    return num & (PH__STREAM_SLOTS - 1);
}

struct ph__stream_listener {
    int fd; /* -1: free */
    uint32_t sock;
    bool plain, tls, proxy, raw;
    bool any;          /* bound to a wildcard: ask each connection for its address */
    bool stopped;      /* no descriptors: for a while it accepts nothing */
    struct ph_addr at; /* as bound */
};

/* What is being read at the moment. */
struct ph__stream_cur {
    struct ph__conn *c; /* NULL: none, or it is gone */
    uint8_t *p;         /* not yet taken, in the buffer */
    uint32_t n;
    unsigned reads;      /* that it may still do */
    const uint8_t *feed; /* TLS: not yet decrypted */
    uint32_t feed_n;
    bool eof;
    int err;
};

struct ph_streams {
    struct ph_streams_conf c; /* with the defaults filled in */
    struct ph_tls *tls;
    struct ph_stream_stats st;
    ph_ns now; /* as last heard */
    bool busy; /* the callee may not have everything done */

    struct ph__conn **v; /* by slot; slot 0 is never used */
    uint16_t *gen;
    uint32_t *next_free;
    uint32_t slots, first_free, last_free;
    uint32_t n; /* connections, those that are closing included */
    struct ph_heap timers;
    struct ph__link dirty, again, warm;
    uint32_t n_warm;

    struct ph__stream_listener *listener;
    uint32_t n_listeners, n_served;
    ph_ns accept_at; /* when the stopped listeners go on */
    bool held;       /* ... but those of clients not */
    struct ph__sources sources;

    uint8_t *in; /* PH__STREAM_IN: where messages lie */
    uint32_t in_off;
    bool handed;   /* something in it has been handed out */
    size_t stored; /* bytes that connections have read and not taken */
    struct ph__stream_cur cur;
    uint8_t *cipher; /* PH__STREAM_CIPHER */

    uint8_t *arena;
    uint32_t arena_n;
    uint8_t *out; /* PH__STREAM_OUT: records of the connection at hand */
    uint32_t out_n;
    uint8_t *gather; /* PH__STREAM_RECORD */
};

/* stream.c */

/* A connection for a socket, watched for nothing yet.  NULL when there is no memory; the socket is still the caller's. */
struct ph__conn *ph__stream_add(struct ph_streams *s, int fd, ph_ns now);
/* The same for one that is made: it comes from another worker. */
bool ph__stream_insert(struct ph_streams *s, struct ph__conn *c, ph_ns now);
/* Forgets a connection whose socket and queue have gone elsewhere, or frees all of it. */
void ph__stream_forget(struct ph_streams *s, struct ph__conn *c);
void ph__stream_release(struct ph__conn *c);
void ph__stream_destroy(struct ph_streams *s, struct ph__conn *c);
/* A connection by its number; NULL when it is gone.  _open: that has been opened and not closed. */
struct ph__conn *ph__stream_find(const struct ph_streams *s, uint32_t num);
struct ph__conn *ph__stream_open(const struct ph_streams *s, uint32_t num);
/* Nobody points into the read buffer any more. */
void ph__stream_handed(struct ph_streams *s);

/* stream_end.c */

/* Ends a connection and tells. */
void ph__stream_end(struct ph_streams *s, struct ph__conn *c, enum ph_stream_end why, ph_ns now);
/* It is the caller's no more: not counted, not read.  No news if it was not before. */
void ph__stream_leave(struct ph_streams *s, struct ph__conn *c);
/* An outgoing connection is there or not. */
void ph__stream_connected(struct ph_streams *s, struct ph__conn *c, int err, ph_ns now);
/* Sees to a connection that is ours no more: flushes, shuts, waits, closes. */
void ph__stream_closing(struct ph_streams *s, struct ph__conn *c, ph_ns now);
/* The socket has failed.  To be told later, from a place that may call back: by _lost. */
void ph__stream_broken(struct ph_streams *s, struct ph__conn *c, int err);
void ph__stream_lost(struct ph_streams *s, struct ph__conn *c, ph_ns now);
/* When its time is over, PH_NEVER: never; and what happens then. */
ph_ns ph__stream_due(const struct ph_streams *s, const struct ph__conn *c);
void ph__stream_expire(struct ph_streams *s, struct ph__conn *c, ph_ns now);
/* Whether it is read at the moment. */
bool ph__stream_reads(const struct ph__conn *c);
/* Follows a change of what a connection waits for: its deadline, and the events it wants. */
void ph__stream_arm(struct ph_streams *s, struct ph__conn *c);
void ph__stream_watch(struct ph_streams *s, struct ph__conn *c);

/* stream_listen.c */
/* A socket bound to an address.  Its descriptor or -errno. */
int ph__stream_bound(const struct ph_addr *at, bool free_bind, bool reuseport, const char *device);
struct ph_addr ph__stream_local(int fd);
void ph__stream_unlisten(struct ph_streams *s, uint32_t listener);

/* stream_accept.c */
void ph__stream_accept(struct ph_streams *s, uint32_t listener, ph_ns now);
void ph__stream_accept_again(struct ph_streams *s, ph_ns now);

/* stream_io.c */
void ph__stream_read(struct ph_streams *s, struct ph__conn *c, ph_ns now);
/* Keeps what the connection that is being read has not taken, and ends its turn.  False: no memory. */
bool ph__stream_keep_rest(struct ph_streams *s, struct ph__conn *c);
/* Reads what a connection that ends has still to say, and throws it away.  False when there will be no more. */
bool ph__stream_discard(struct ph_streams *s, struct ph__conn *c);

/* stream_queue.c */
/* Queues head and data of a packet, padded.  False: dropped. */
bool ph__stream_queue(struct ph_streams *s, struct ph__conn *c, enum ph__msg_kind kind,
                      const struct ph_pkt *p);
/* Bytes that a queue may still take. */
uint32_t ph__stream_room(const struct ph_streams *s, const struct ph__conn *c);
/* Writes what the socket takes. */
void ph__stream_write(struct ph_streams *s, struct ph__conn *c);
/* Writes for all that have something; then the arena is empty. */
void ph__stream_write_all(struct ph_streams *s);
void ph__stream_purge(struct ph__conn *c);
/* The queue's messages that are in the arena move to the heap, the oldest are dropped if there are too many. */
void ph__stream_settle(struct ph_streams *s, struct ph__conn *c);
/* Bytes of the queue were written. */
void ph__stream_sent(struct ph_streams *s, struct ph__conn *c, size_t n);

/* stream_tls.c */
enum { PH__GOT_NOTHING = 0, PH__GOT_EOF = -1, PH__GOT_RESET = -2, PH__GOT_BAD = -3 };
bool ph__tls_begin(struct ph_streams *s, struct ph__conn *c);
void ph__tls_bind(struct ph_streams *s, struct ph__conn *c);
/* Decrypted bytes, or PH__GOT_....  Does the handshake first. */
int ph__tls_get(struct ph_streams *s, struct ph__conn *c, uint8_t *to, uint32_t n, ph_ns now);
void ph__tls_write(struct ph_streams *s, struct ph__conn *c);
void ph__tls_shut(struct ph_streams *s, struct ph__conn *c);
void ph__tls_cool(struct ph_streams *s, struct ph__conn *c);

#endif
