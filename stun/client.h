/*
 * A Binding client: asks one server for the reflexive address (RFC 8489 7.2.1, RFC 5780 4).
 *
 * Sans-I/O: ph_stunc_start, then drain _output, feed _input, call _tick at _deadline, until an event says
 * how it ended.  One request at a time; it can be started again (keep-alive, behaviour discovery).
 */
#ifndef PH_STUN_CLIENT_H
#define PH_STUN_CLIENT_H

#include "stun/base/buf.h"
#include "stun/base/env.h"
#include "stun/txn.h"

#include <stdbool.h>
#include <stdint.h>

/* What to ask; zero asks for a plain Binding. */
struct ph_stunc_ask {
    struct ph_addr server; /* where to send */
    uint32_t sock;         /* socket to send from, passed through to ph_pkt.sock */
    struct ph_txn_conf txn;
    bool change_ip, change_port; /* CHANGE-REQUEST */
    uint16_t response_port;      /* RESPONSE-PORT, 0: none */
    uint16_t padding;            /* bytes of PADDING, 0: none */
    bool fingerprint;
};

enum ph_stunc_result { PH_STUNC_MAPPED, PH_STUNC_ERROR, PH_STUNC_TIMEOUT };

/* How a request ended. */
struct ph_stunc_ev {
    enum ph_stunc_result result;
    struct ph_addr mapped;        /* PH_STUNC_MAPPED: the reflexive address */
    struct ph_addr from;          /* where the answer came from */
    struct ph_addr origin, other; /* RESPONSE-ORIGIN, OTHER-ADDRESS; PH_AF_NONE: absent */
    struct ph_addr alternate;     /* ALTERNATE-SERVER of a 300 */
    uint16_t code;                /* PH_STUNC_ERROR: the error code, 0: unusable answer */
    ph_ns rtt;                    /* -1: not known (the request was sent again) */
    char software[128];           /* SOFTWARE, cut, without controls; "" when absent */
};

struct ph_stunc {
    struct ph_env env;
    struct ph_stunc_ask ask;
    struct ph_txn txn;
    bool send_due, event_due;
    struct ph_stunc_ev ev;
};

/* Prepares a client; env is copied. */
void ph_stunc_init(struct ph_stunc *c, const struct ph_env *env);

/* Starts a request with a fresh transaction id; one that is running is forgotten. */
void ph_stunc_start(struct ph_stunc *c, const struct ph_stunc_ask *ask, ph_ns now);

/* Takes a datagram from whatever address or socket (RFC 5780 answers come from elsewhere).  PH_CONSUMED if it
 * answered the request, else PH_DROP: not for this client. */
int ph_stunc_input(struct ph_stunc *c, struct ph_pkt *p, ph_ns now);

/* Moves time on. */
void ph_stunc_tick(struct ph_stunc *c, ph_ns now);

/* When ph_stunc_tick is due. */
ph_ns ph_stunc_deadline(const struct ph_stunc *c);

/* Writes the next packet to send into out->b (at off, within cap).  False when there is none. */
bool ph_stunc_output(struct ph_stunc *c, struct ph_pkt *out, ph_ns now);

/* Takes the result.  False when there is none. */
bool ph_stunc_event(struct ph_stunc *c, struct ph_stunc_ev *ev);

#endif
