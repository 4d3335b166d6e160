/*
 * A client's way to the server: a socket that speaks UDP, TCP, TLS or DTLS, and whole messages on it.
 *
 *     ph_load_link_open -> ph_load_link_step until it is up
 *     ph_load_link_put ... ph_load_link_put -> ph_load_link_flush      (one write for all of them)
 *     ph_load_link_read -> ph_load_link_next until false               (one read for all of them)
 *
 * Never blocks.  `want_out` says that writability is waited for.  What a thread reads lies in one room of its own, shared
 * by its links, until it reads again; a link keeps only what is left of half a message, so an idle one holds
 * nothing.
 */
#ifndef PH_CMD_TURNLOAD_LINK_H
#define PH_CMD_TURNLOAD_LINK_H

#include "stun/base/buf.h"
#include "stun/base/time.h"

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

enum { PH_LOAD_LINK_WHY = 160 };

/* ---- TLS settings, shared by all links (link_tls.c) ---- */

struct ph_load_tls;

/* For TLS or DTLS to a host (a name or an address).  ca: PEM file of those who may vouch for it, NULL: its certificate
 * is not verified.  NULL and a message on failure. */
struct ph_load_tls *ph_load_tls_new(uint8_t proto, const char *host, const char *ca,
                                    char why[static PH_LOAD_LINK_WHY]);
void ph_load_tls_free(struct ph_load_tls *t); /* after its links; NULL: nothing */

/* A session of a socket, or NULL. */
SSL *ph_load_tls_session(struct ph_load_tls *t, int fd);

/* ---- links (link.c) ---- */

enum ph_load_link_state {
    PH_LOAD_LINK_CLOSED, /* there is no socket */
    PH_LOAD_LINK_CONNECTING,
    PH_LOAD_LINK_SHAKING, /* hands, of TLS and DTLS */
    PH_LOAD_LINK_UP
};

struct ph_load_link {
    int fd;
    uint8_t proto; /* PH_UDP, PH_TCP, PH_TLS, PH_DTLS */
    uint8_t state; /* enum ph_load_link_state */
    bool want_out;
    bool bad; /* the stream makes no sense */
    struct ph_addr server;
    SSL *ssl;
    uint8_t *kept; /* the beginning of a message */
    uint32_t kept_n;
    uint8_t *out; /* messages that wait to be written: out_at to out_n */
    uint32_t out_at, out_n, out_cap;
};

/* TCP and TLS: nothing is lost, and messages are padded. */
static inline bool ph_load_is_stream(uint8_t proto)
{
    return proto == PH_TCP || proto == PH_TLS;
}

/* Begins to connect: to `server` by its proto, from the IP of `local` (PH_AF_NONE: any).  t: for TLS and DTLS.  0 or a
 * negative error; then there is nothing to close. */
int ph_load_link_open(struct ph_load_link *l, const struct ph_addr *server,
                      const struct ph_addr *local, struct ph_load_tls *t);

/* Closes in any state (with close_notify); one that is all zeros is fine. */
void ph_load_link_close(struct ph_load_link *l);

/* Goes on connecting.  1: up; 0: not yet; negative: in vain. */
int ph_load_link_step(struct ph_load_link *l);

/* How long until DTLS must send its flight again, which ph_load_link_step does; PH_NEVER. */
ph_ns ph_load_link_wait(const struct ph_load_link *l);

/* Takes a message (head and data).  Datagrams leave at once; false: dropped, because the queue or the socket's buffer
 * is full or the link is not up. */
bool ph_load_link_put(struct ph_load_link *l, const struct ph_pkt *p);

/* Writes what is queued, as far as it goes.  0, or a negative error: the link is gone. */
int ph_load_link_flush(struct ph_load_link *l);

/* Reads what there is.  Positive: take the messages, and if it is 2, read again; 0: there is nothing; negative: the
 * link is gone (PH_E_STATE: closed by the server). */
int ph_load_link_read(struct ph_load_link *l);

/* The next message of what was read last, without padding, p->src the server.  False: no more; PH_E_FORMAT will be what
 * ph_load_link_read says if the stream makes no sense. */
bool ph_load_link_next(struct ph_load_link *l, struct ph_pkt *p);

/* For those who wait: until something can be read, at most timeout_ms; queued messages leave meanwhile.  */
bool ph_load_link_poll(struct ph_load_link *l, int timeout_ms);

/* The address it leaves from. */
struct ph_addr ph_load_link_local(const struct ph_load_link *l);

/* What TLS said last in this thread ("certificate verify failed"), "" if nothing; cleared by asking. */
const char *ph_load_link_why(void);

#endif
