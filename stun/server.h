/*
 * The Binding server: RFC 8489 and, when asked for, RFC 5780's behaviour discovery.
 *
 * Stateless: one request in, at most one answer out, built over the request.  Small and embeddable: turnd
 * has one per listening address, stund is nothing but this.  What anybody can draw by it is kept small:
 *
 *     XOR-MAPPED-ADDRESS alone      32 bytes for a request of 20: 1.6 times (IPv6: 44, 2.2 times)
 *     SOFTWARE                      only where the answer stays within 1.6 times its request
 *     errors                        without a reason phrase
 *     RFC 5780                      adds MAPPED-ADDRESS, RESPONSE-ORIGIN and OTHER-ADDRESS, which its clients
 *                                   expect in every answer: 68 bytes; only where it is configured
 *     PADDING                       never makes an answer longer than its request
 *
 * and every answer is paid from the source's budget (one that is no longer than its request: with 20
 * bytes).  No credentials are asked for or checked.
 *
 * RFC 5780 needs two addresses with two ports each.  The four sockets are numbered by two bits:
 * PH_STUND_ALT_PORT and PH_STUND_ALT_IP; at[0] is the primary one.
 */
#ifndef PH_STUN_SERVER_H
#define PH_STUN_SERVER_H

#include "stun/base/buf.h"
#include "stun/base/time.h"
#include "stun/budget.h"
#include "stun/codec/msg.h"

#include <stdbool.h>
#include <stdint.h>

enum { PH_STUND_ALT_PORT = 1, PH_STUND_ALT_IP = 2, PH_STUND_SOCKETS = 4 };

struct ph_stund_conf {
    struct ph_addr at[PH_STUND_SOCKETS]; /* as clients see them; family PH_AF_NONE: not there */
    uint32_t sock[PH_STUND_SOCKETS];     /* ids of the sockets, for ph_pkt.sock */
    bool rfc5780;       /* CHANGE-REQUEST, RESPONSE-PORT, PADDING (else: 420); needs all four */
    bool always_mapped; /* add MAPPED-ADDRESS for RFC 3489 clients */
    bool always_fingerprint;  /* else FINGERPRINT only if the request had one */
    const char *software;     /* SOFTWARE, at most 127 bytes, NULL: none; must outlive the server */
    struct ph_budget *budget; /* NULL: no limit; not owned */
};

/* Counters: X(name, what it counts). */
#define PH_STUND_COUNTERS(X)                                                                       \
    X(requests, "Binding requests that parsed")                                                    \
    X(answers, "success responses")                                                                \
    X(errors, "error responses (400, 420)")                                                        \
    X(over_budget, "requests dropped for their source's budget")                                   \
    X(malformed, "packets that are not STUN, broken, with a wrong FINGERPRINT or source port 0")   \
    X(ignored, "indications, responses, other methods")

/* Counted since creation. */
struct ph_stund_stats {
#define PH_X(name, text) uint64_t name;
    PH_STUND_COUNTERS(PH_X)
#undef PH_X
};

/* Adds the counters of one server to a sum. */
static inline void ph_stund_stats_add(struct ph_stund_stats *sum, const struct ph_stund_stats *one)
{
#define PH_X(name, text) sum->name += one->name;
    PH_STUND_COUNTERS(PH_X)
#undef PH_X
}

struct ph_stund {
    struct ph_stund_conf c;
    struct ph_stund_stats stats;
};

/* Copies the configuration.  Returns 0, or PH_E_ARG for an unfit `software`, or when rfc5780 is set without four
 * addresses of one family whose bits fit (two IPs, two ports) on four sockets. */
int ph_stund_init(struct ph_stund *s, const struct ph_stund_conf *c);

/* Takes one datagram.  Returns PH_SEND with the packet rewritten (data, dst, src, sock), or PH_DROP.  A packet that
 * came by none of the four sockets (a stream, say) is served as if rfc5780 were off. */
int ph_stund_input(struct ph_stund *s, struct ph_pkt *p, ph_ns now);

/* The same for a message that the caller has parsed already (m views p's data): a Binding request. */
int ph_stund_answer(struct ph_stund *s, const struct ph_msg *m, struct ph_pkt *p, ph_ns now);

#endif
