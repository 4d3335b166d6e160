/*
 * Inside the DTLS sessions: the table of them (dtls_table.c), what OpenSSL reads and writes (dtls_bio.c), the way in for
 * new clients (dtls_hello.c), and the rest (dtls.c).
 */
#ifndef PH_UV_DTLS_PRIV_H
#define PH_UV_DTLS_PRIV_H

#include "stun/base/heap.h"
#include "stun/uv/dtls.h"
#include "stun/uv/source_priv.h"

enum {
    PH__DTLS_PLAIN_MAX = 1 << 14, /* bytes of a message: one record (RFC 6347 4.1) */
    PH__DTLS_RECORD = 13,         /* bytes of a record's header */
    PH__DTLS_REPLY = 512,         /* room for a HelloVerifyRequest: at most 283 bytes */
    PH__DTLS_WARM = 256           /* sessions that have their record buffers, at 34 kB */
};

struct ph__dtls_session {
    SSL *ssl;              /* NULL: the slot is free */
    ph_ns since_at;        /* when the handshake began; once it is done: the last message */
    struct ph_addr client; /* with PH_DTLS */
    struct ph_addr local;  /* by which address it came */
    uint32_t sock;         /* the listener */
    uint32_t conn;         /* PH_DTLS_CONN, generation, slot */
    uint32_t hash;         /* of client and listener */
    uint32_t next_free;    /* slot + 1 */
    uint32_t source;       /* where it is counted */
    uint16_t warm_at;      /* place in ph_dtls.warm + 1; 0: it has no buffers */
    bool used;             /* since the hand of the clock passed */
    bool open;             /* the handshake is done */
    bool keep;
};

struct ph_dtls {
    struct ph_dtls_conf c;
    struct ph_dtls_stats stats;
    ph_ns now;

    struct ph__dtls_session *s;
    uint32_t n, cap;                /* slots that have been used, and that there is memory for */
    uint32_t free_first, free_last; /* slot + 1: first out is who has been free longest */
    uint32_t slot_mask;
    struct ph_map by_client;
    struct ph_hash_key key;
    struct ph_heap due; /* one entry for each session */
    struct ph__sources sources;
    uint32_t warm[PH__DTLS_WARM];
    uint32_t warm_hand;

    BIO_METHOD *bio;
    BIO_ADDR *nobody; /* for DTLSv1_listen, which wants to fill in a peer */
    SSL *spare;       /* listens for the next client; NULL: none yet */
    uint32_t paid;    /* bytes of the last HelloVerifyRequest */

    /* What the BIO of the session at hand reads: a datagram, once.  And where its writes go: into `out`, or by
     * c.send to the addresses of `to`. */
    const uint8_t *in;
    uint32_t in_len;
    struct ph_pkt *out;
    bool out_full;
    struct ph_pkt to;

    uint32_t reading; /* the session whose datagram may hold more; 0: none */
    bool late;        /* and messages that had overtaken its handshake */

    uint8_t reply[PH__DTLS_REPLY];
    uint8_t room[PH_HEADROOM + PH__DTLS_PLAIN_MAX + PH_TAILROOM]; /* for ph_dtls_next */
    uint8_t joined[PH_HEADROOM + PH__DTLS_PLAIN_MAX];             /* head and data of one message */
};

/* ---- dtls_table.c ---- */

/* The session of a client at a listener, or NULL. */
struct ph__dtls_session *ph__dtls_find(struct ph_dtls *d, uint32_t sock,
                                       const struct ph_addr *client);
struct ph__dtls_session *ph__dtls_by_conn(const struct ph_dtls *d, uint32_t conn);

/* Makes a session for p->src, counted at `source`, out of ssl; it then owns both.  NULL: no memory (they are the caller's
 * still). */
struct ph__dtls_session *ph__dtls_add(struct ph_dtls *d, SSL *ssl, uint32_t source,
                                      const struct ph_pkt *p, ph_ns now);
/* Takes a session out and frees it; no callback. */
void ph__dtls_remove(struct ph_dtls *d, struct ph__dtls_session *s);

/* Sees to it that a session has its record buffers; the one that was longest without use loses its own.  False: no
 * memory. */
bool ph__dtls_warm(struct ph_dtls *d, struct ph__dtls_session *s);
/* Gives the record buffers of a session back. */
void ph__dtls_cool(struct ph_dtls *d, struct ph__dtls_session *s);

void ph__dtls_table_fini(struct ph_dtls *d);

/* ---- dtls_bio.c ---- */

/* The method of the BIOs of all sessions, or NULL. */
BIO_METHOD *ph__dtls_bio_method(void);

/* An SSL object with its BIO, ready to listen, or NULL. */
SSL *ph__dtls_ssl_new(struct ph_dtls *d);

/* From now on this datagram is read, and what is written goes back where it came from. */
void ph__dtls_feed(struct ph_dtls *d, const struct ph_pkt *p);
/* Nothing is to be read; what is written goes to this session's client. */
void ph__dtls_aim(struct ph_dtls *d, const struct ph__dtls_session *s);

/* ---- dtls_hello.c ---- */

/* Is this datagram a ClientHello of the first epoch, other than those of the handshake that s (may be NULL) is about?
 * Those are retransmissions and left to OpenSSL. */
bool ph__dtls_is_hello(const struct ph__dtls_session *s, const struct ph_pkt *p);

/* The cookie exchange.  s: the session that the client has already, or NULL. */
int ph__dtls_hello(struct ph_dtls *d, struct ph__dtls_session *s, const struct ph_pkt *p,
                   ph_ns now);

/* ---- dtls.c ---- */

/* One step of the handshake; the session may be gone after it. */
void ph__dtls_handshake(struct ph_dtls *d, struct ph__dtls_session *s, ph_ns now);

/* Removes a session and tells the owner, if it has heard of it. */
void ph__dtls_end(struct ph_dtls *d, struct ph__dtls_session *s, ph_ns now);

#endif
