/*
 * HTTP/1.1 as far as turnd's API needs it: one request on a connection of its own, to a UNIX socket or an address.
 *
 * Everything is bounded: the time of a request, the size of an answer.  An answer that is cut short or malformed is
 * an error, never half a result.
 */
#ifndef PH_CMD_TURNCTL_HTTP_H
#define PH_CMD_TURNCTL_HTTP_H

#include "stun/base/addr.h"

#include <stddef.h>

enum {
    PH_CTL_WHY = 512,
    PH_CTL_ANSWER = 64 << 20, /* bytes of an answer */
    PH_CTL_TIMEOUT_MS = 30000,
    PH_CTL_TOKEN = 512
};

/* Where the API is. */
struct ph_ctl_server {
    const char *socket;       /* path; NULL: at */
    struct ph_addr at;        /* IP and port */
    char token[PH_CTL_TOKEN]; /* "": none */
};

/* An answer.  Free body. */
struct ph_ctl_answer {
    unsigned status;
    char *body; /* n bytes and a terminator */
    size_t n;
};

/* Sends a request and waits for the answer.  target: path and query, ready encoded; body: JSON, or NULL for none.  Returns 0
 * and *a, or -errno (-EPROTO: what came is no HTTP) and a message in why. */
int ph_ctl_request(const struct ph_ctl_server *s, const char *method, const char *target,
                   const char *body, struct ph_ctl_answer *a, char why[static PH_CTL_WHY]);

/* Reads all that came on a connection (n bytes) as an answer.  0 and *a, or -EPROTO, -ENOMEM.  For ph_ctl_request and
 * tests. */
int ph_ctl_parse(const char *p, size_t n, struct ph_ctl_answer *a);

/* Percent-encodes a text for a path or a query.  dst must hold 3 * strlen(s) + 1 bytes.  Returns dst. */
char *ph_ctl_encode(char *dst, const char *s);

#endif
