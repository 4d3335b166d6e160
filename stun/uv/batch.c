/*
 * Receive slots, and taking coalesced buffers apart; see batch.h.  Sending is in sendq.c.
 *
 * The slots' stride is an odd number of cache lines, 21 more than 64 kB: were it a power of two, the heads of all
 * packets of a batch would compete for the same few cache sets.
 */
#include "stun/uv/batch.h"
#include "stun/uv/sendq.h"
#include "stun/uv/sockaddr.h"

#include <errno.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <sys/mman.h>

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

enum {
    LINE = 64,
    STRIDE = PH_BATCH_ROOM + 21 * LINE,
    SCRATCH_STRIDE = PH_HEADROOM + PH_BATCH_SCRATCH_ROOM + LINE,
    SLOTS_BYTES = PH_BATCH_SLOTS * STRIDE,
    SCRATCH_BYTES = PH_BATCH_SCRATCH * SCRATCH_STRIDE,
    HEADS = 16384 /* bytes for what is put in front of packets of coalesced buffers */
};

_Static_assert(STRIDE >= PH_HEADROOM + PH_BATCH_ROOM + PH_TAILROOM,
               "a slot does not fit its stride");
_Static_assert(STRIDE / LINE % 2 == 1, "an even stride leaves cache sets unused");

/* What comes with a datagram besides its data: segment size and local address. */
struct control {
    _Alignas(
        struct cmsghdr) char room[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

/* The receive buffer that ph_batch_next is taking apart. */
struct current {
    uint32_t i;            /* its slot */
    uint32_t end;          /* slots received, all in all */
    uint32_t at, len, seg; /* next datagram, end of data, bytes of each datagram */
    struct ph_addr src, dst;
};

struct ph_batch {
    struct ph_batch_stats stats;
    struct ph_sendq *q;
    uint8_t *slots, *scratch, *heads;
    unsigned used, scratch_used;
    uint32_t heads_used;
    uint8_t flags; /* of the socket received from */
    struct current c;
    struct mmsghdr mm[PH_BATCH_SLOTS];
    struct iovec iov[PH_BATCH_SLOTS];
    union ph_sockaddr from[PH_BATCH_SLOTS];
    struct control control[PH_BATCH_SLOTS];
};

static uint8_t *slot(const struct ph_batch *b, unsigned i)
{
    return b->slots + (size_t)i * STRIDE;
}

static void wire(struct ph_batch *b)
{
    for (unsigned i = 0; i < PH_BATCH_SLOTS; i++) {
        b->iov[i] = (struct iovec){slot(b, i) + PH_HEADROOM, PH_BATCH_ROOM};
        b->mm[i].msg_hdr = (struct msghdr){.msg_name = &b->from[i],
                                           .msg_iov = &b->iov[i],
                                           .msg_iovlen = 1,
                                           .msg_control = &b->control[i]};
    }
}

struct ph_batch *ph_batch_new(const struct ph_batch_io *io)
{
    struct ph_batch *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    b->q = ph_sendq_new(io, &b->stats);
    b->slots = mmap(NULL, SLOTS_BYTES + SCRATCH_BYTES + HEADS, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (b->slots == MAP_FAILED)
        b->slots = NULL;
    if (!b->q || !b->slots) {
        ph_batch_free(b);
        return NULL;
    }
    b->scratch = b->slots + SLOTS_BYTES;
    b->heads = b->scratch + SCRATCH_BYTES;
    wire(b);
    return b;
}

void ph_batch_free(struct ph_batch *b)
{
    if (!b)
        return;
    if (b->slots)
        munmap(b->slots, SLOTS_BYTES + SCRATCH_BYTES + HEADS);
    ph_sendq_free(b->q);
    free(b);
}

int ph_batch_recv(struct ph_batch *b, const struct ph_udp *s, unsigned vlen)
{
    if (vlen > PH_BATCH_VLEN)
        vlen = PH_BATCH_VLEN;
    if (b->used + vlen > PH_BATCH_SLOTS)
        ph_batch_flush(b);
    const unsigned first = b->used;
    const size_t control = s->flags & (PH_UDP_GRO | PH_UDP_PKTINFO) ? sizeof(struct control) : 0;
    for (unsigned i = first; i < first + vlen; i++) {
        b->mm[i].msg_hdr.msg_namelen = sizeof b->from[i];
        b->mm[i].msg_hdr.msg_controllen = control;
    }
    b->c = (struct current){.i = first, .end = first};
    b->flags = s->flags;
    b->stats.rx_calls++;
    int k = recvmmsg(s->fd, b->mm + first, vlen, MSG_DONTWAIT, NULL);
    if (k < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    b->used = b->c.end = first + (unsigned)k;
    return k;
}

/* Segment size and local address of the current buffer. */
static void read_control(struct ph_batch *b, struct msghdr *h)
{
    struct current *c = &b->c;

    for (struct cmsghdr *m = CMSG_FIRSTHDR(h); m; m = CMSG_NXTHDR(h, m)) {
        if (m->cmsg_level == IPPROTO_UDP && m->cmsg_type == UDP_GRO) {
            int v;
            memcpy(&v, CMSG_DATA(m), sizeof v);
            c->seg = (uint32_t)v;
        } else if (m->cmsg_level == IPPROTO_IP && m->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo v;
            memcpy(&v, CMSG_DATA(m), sizeof v);
            c->dst = ph_addr_v4((const uint8_t *)&v.ipi_addr, 0, PH_UDP);
        } else if (m->cmsg_level == IPPROTO_IPV6 && m->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo v;
            memcpy(&v, CMSG_DATA(m), sizeof v);
            c->dst = ph_addr_v6((const uint8_t *)&v.ipi6_addr, 0, PH_UDP);
        }
    }
}

/* Moves on to the next receive buffer.  False when there is none. */
static bool open_buffer(struct ph_batch *b)
{
    struct current *c = &b->c;

    for (; c->i < c->end; c->i++) {
        struct msghdr *h = &b->mm[c->i].msg_hdr;
        if (h->msg_flags & MSG_TRUNC) {
            b->stats.rx_truncated++;
            continue;
        }
        c->at = 0;
        c->len = c->seg = b->mm[c->i].msg_len;
        if (h->msg_controllen)
            read_control(b, h);
        if (c->seg == 0 || c->seg > c->len)
            c->seg = c->len;
        b->stats.rx_coalesced += c->seg < c->len;
        b->stats.rx_bytes += c->len;
        ph_sockaddr_get(&c->src, &b->from[c->i], PH_UDP);
        return true;
    }
    return false;
}

/* A piece of a coalesced buffer: the first has headroom, the others a scratch area, and none may grow. */
static void take_piece(struct ph_batch *b, struct ph_pkt *p)
{
    struct current *c = &b->c;
    uint8_t *base = slot(b, c->i);
    const uint32_t len = c->len - c->at < c->seg ? c->len - c->at : c->seg;

    if (c->at == 0) {
        p->b = (struct ph_buf){base, PH_HEADROOM + len, PH_HEADROOM, len};
        p->head = NULL;
        return;
    }
    if (b->heads_used + PH_HEADROOM > HEADS) {
        ph_sendq_flush(b->q);
        b->heads_used = 0;
    }
    p->b = (struct ph_buf){base + PH_HEADROOM + c->at, len, 0, len};
    p->head = b->heads + b->heads_used;
}

bool ph_batch_next(struct ph_batch *b, struct ph_pkt *p)
{
    struct current *c = &b->c;

    if (c->at == 0 && !open_buffer(b))
        return false;
    p->src = c->src;
    if (b->flags & PH_UDP_PKTINFO)
        p->dst = c->dst;
    p->head_len = 0;
    p->dont_fragment = false;
    b->stats.rx_packets++;
    if (c->seg == c->len) {
        p->b = (struct ph_buf){slot(b, c->i), STRIDE, PH_HEADROOM, c->len};
        p->head = NULL;
        c->i++;
        return true;
    }
    take_piece(b, p);
    c->at += c->seg;
    if (c->at >= c->len) {
        c->at = 0;
        c->i++;
    }
    return true;
}

static uint8_t *next_scratch(const struct ph_batch *b)
{
    return b->scratch + (size_t)b->scratch_used * SCRATCH_STRIDE;
}

void ph_batch_scratch(struct ph_batch *b, struct ph_pkt *p)
{
    if (b->scratch_used == PH_BATCH_SCRATCH) {
        ph_sendq_flush(b->q);
        b->scratch_used = 0;
    }
    *p = (struct ph_pkt){.b = {.base = next_scratch(b),
                               .cap = PH_HEADROOM + PH_BATCH_SCRATCH_ROOM + PH_TAILROOM,
                               .off = PH_HEADROOM}};
}

bool ph_batch_own(struct ph_batch *b, struct ph_pkt *p)
{
    struct ph_pkt own;

    if (p->b.cap == STRIDE)
        return true;
    if (p->b.len > PH_BATCH_SCRATCH_ROOM)
        return false;
    ph_batch_scratch(b, &own);
    memcpy(ph_buf_data(&own.b), ph_buf_data(&p->b), p->b.len);
    own.b.len = p->b.len;
    p->b = own.b;
    p->head = NULL;
    return true;
}

void ph_batch_send(struct ph_batch *b, struct ph_udp *s, const struct ph_pkt *p)
{
    if (p->head_len)
        b->heads_used += (p->head_len + 7u) & ~7u;
    else if (p->b.base == next_scratch(b))
        b->scratch_used++;
    ph_sendq_push(b->q, s, p);
}

void ph_batch_flush(struct ph_batch *b)
{
    ph_sendq_flush(b->q);
    b->scratch_used = 0;
    b->heads_used = 0;
    if (b->c.i >= b->c.end) /* else the rest of the last receive is still to be taken */
        b->used = 0;
}

bool ph_batch_pending(const struct ph_batch *b)
{
    return ph_sendq_messages(b->q) > 0;
}

const struct ph_batch_stats *ph_batch_stats(const struct ph_batch *b)
{
    return &b->stats;
}

void ph_batch_stats_add(struct ph_batch_stats *sum, const struct ph_batch_stats *one)
{
#define PH_X(name, text) sum->name += one->name;
    PH_BATCH_COUNTERS(PH_X)
#undef PH_X
}
