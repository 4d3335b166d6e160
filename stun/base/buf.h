/*
 * Packets and the room in front of them.
 *
 *      base          base+off                base+off+len        base+cap
 *      |<- headroom ->|<------ data -------->|<---- tailroom ---->|
 *
 * Every receive slot keeps PH_HEADROOM bytes in front of the data and PH_TAILROOM behind it, so
 * that relaying wraps a payload in place: ChannelData needs 4 bytes in front (and up to 3 of
 * padding behind on streams), a Send or Data indication 36 (IPv4 peer) or 48 (IPv6 peer).
 *
 * A datagram inside a coalesced receive buffer (UDP GRO) has its neighbour in front of it instead
 * of headroom.  Then `off` is 0 and `head` offers a separate scratch area: what would have been
 * written in front goes there and is sent as an iovec of its own, so that no payload is ever moved.
 */
#ifndef PH_BASE_BUF_H
#define PH_BASE_BUF_H

#include "stun/base/addr.h"

#include <stdbool.h>
#include <stdint.h>

enum { PH_HEADROOM = 64, PH_TAILROOM = 4 };

struct ph_buf {
    uint8_t *base; /* not owned */
    uint32_t cap;  /* bytes from base */
    uint32_t off;  /* data begins at base + off */
    uint32_t len;  /* bytes of data */
};

/* A packet on its way through a core.  The shell owns the memory; a core rewrites it in place. */
struct ph_pkt {
    struct ph_buf b;
    struct ph_addr src, dst; /* in: remote and local; out: local (if it matters) and remote */
    uint32_t sock;           /* in: the socket it came from; out: the socket to send it on */
    uint32_t conn;           /* the connection (TCP, TLS, DTLS) it came or goes by, a number of the
                                shell's; 0: none (UDP) */
    uint8_t *head;           /* PH_HEADROOM bytes of scratch when b.off is 0, or NULL */
    uint8_t head_len;        /* bytes at head that go out in front of the data */
    bool dont_fragment;      /* out: send with the DF bit set (RFC 8656 14, 18.9) */
};

/* The data of a buffer. */
static inline uint8_t *ph_buf_data(const struct ph_buf *b)
{
    return b->base + b->off;
}

/* Drops n bytes from the front.  n must not exceed b->len. */
static inline void ph_buf_pull(struct ph_buf *b, uint32_t n)
{
    b->off += n;
    b->len -= n;
}

/* Makes n bytes (at most PH_HEADROOM) in front of the data part of the packet and returns where to
 * write them: in place where there is headroom, else in p->head.  NULL when there is neither. */
static inline uint8_t *ph_pkt_push(struct ph_pkt *p, uint32_t n)
{
    if (p->b.off >= n) {
        p->b.off -= n;
        p->b.len += n;
        return p->b.base + p->b.off;
    }
    if (!p->head || n > PH_HEADROOM)
        return NULL;
    p->head_len = (uint8_t)n;
    return p->head;
}

/* Bytes on the wire: the data and what waits in p->head. */
static inline uint32_t ph_pkt_wire_len(const struct ph_pkt *p)
{
    return p->b.len + p->head_len;
}

/* What a core's _input did with a packet.  Negative values are PH_E_... errors. */
enum ph_verdict {
    PH_DROP,     /* dropped and counted; nothing to send */
    PH_CONSUMED, /* taken; drain _output and _event */
    PH_SEND,     /* the packet now holds what to send, with sock and dst set */
    PH_DATA,     /* the packet now views a peer's payload; src is the peer */
    PH_LATER, /* nothing has happened: something must be looked up first; hand it in again then */
    PH_ELSEWHERE /* nothing has happened: it is for another worker */
};

#endif
