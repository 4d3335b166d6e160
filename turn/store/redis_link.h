/*
 * The link to a server in two halves: how it comes about and ends (redis_link.c), and the bytes on it (redis_wire.c).
 */
#ifndef PH_TURN_STORE_REDIS_LINK_H
#define PH_TURN_STORE_REDIS_LINK_H

#include "turn/store/redis_conn.h"

#include <netdb.h>

/* A descriptor being watched.  It is freed when its handle is closed, by when the link may watch the next. */
struct ph__watch {
    uv_poll_t poll;
    struct ph__link *l;
    int fd;
};

struct ph__link {
    struct ph__link_conf c;
    uv_getaddrinfo_t dns;
    uv_idle_t soon;               /* something is to be sent, or has failed at once */
    struct addrinfo *list, *next; /* addresses; those not tried yet */
    struct ph__watch *w;          /* NULL: none at the moment */
    struct ph__rtls *tls;
    bool resolving, connected, up, blocked, over, closed;
    unsigned open; /* handles and requests that are not finished */
    int err;       /* of the last address tried */
    char *out;     /* to be sent: out[at] up to out[n] */
    size_t out_at, out_n, out_cap;
};

/* The connection is over: tells down, once. */
void ph__link_end(struct ph__link *l, const char *why, bool tls);

/* The same for an error number.  0: the server closed it; otherwise -errno, PH_E_..., or UV_EAI_... */
void ph__link_fail(struct ph__link *l, int err);

/* Has ph__wire_transmit called in the loop's next turn. */
void ph__link_soon(struct ph__link *l);

/* Watches the socket for UV_READABLE, UV_WRITABLE or both.  0 or -errno. */
int ph__link_watch(struct ph__link *l, int events);

/* The socket is connected: unless it is to be encrypted, the link is up. */
void ph__wire_begin(struct ph__link *l);

/* Reads what is there.  False: the connection is over, and down has been told, or it was closed meanwhile. */
bool ph__wire_receive(struct ph__link *l);

/* Writes what there is to be sent, as far as the socket takes it. */
void ph__wire_transmit(struct ph__link *l);

#endif
