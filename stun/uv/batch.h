/*
 * Datagrams by the batch: many in with one system call, many out with one.
 *
 *     recvmmsg -> slots -> ph_batch_next -> a core rewrites in place -> ph_batch_send -> flush: sendmmsg
 *
 * Slots are wired once.  Each keeps PH_HEADROOM in front of the data and holds a whole coalesced buffer
 * (UDP GRO: up to 64 kB, one sender, datagrams of equal size); ph_batch_next takes it apart.  The output
 * queue puts runs of equal packets on one socket to one destination together again (UDP GSO) and never
 * copies a payload: it points into the slots, so they stay occupied until ph_batch_flush.
 *
 * One owner thread.  Nothing here is fatal: packets that the kernel does not take are dropped and counted.
 */
#ifndef PH_UV_BATCH_H
#define PH_UV_BATCH_H

#include "stun/base/buf.h"
#include "stun/uv/udp.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    PH_BATCH_VLEN = 64,           /* datagrams of one receive call */
    PH_BATCH_SLOTS = 128,         /* received and not flushed yet */
    PH_BATCH_ROOM = 65536,        /* bytes of a slot, besides head- and tailroom */
    PH_BATCH_SCRATCH = 64,        /* buffers for packets that are built, not received */
    PH_BATCH_SCRATCH_ROOM = 2048, /* bytes of each, besides head- and tailroom */
    PH_BATCH_SEGMENTS = 64,    /* packets of one GSO message (UDP_MAX_SEGMENTS of older kernels) */
    PH_BATCH_GSO_BYTES = 65000 /* bytes of one GSO message */
};

/* Counters: X(name, what it counts). */
#define PH_BATCH_COUNTERS(X)                                                                       \
    X(rx_packets, "datagrams received")                                                            \
    X(rx_bytes, "bytes received")                                                                  \
    X(rx_calls, "receive calls")                                                                   \
    X(rx_coalesced, "receive buffers that held more than one datagram")                            \
    X(rx_truncated, "datagrams dropped because they were cut")                                     \
    X(tx_packets, "datagrams sent")                                                                \
    X(tx_bytes, "bytes sent")                                                                      \
    X(tx_calls, "send calls")                                                                      \
    X(tx_gso, "messages that held more than one datagram")                                         \
    X(tx_gso_refused, "such messages that had to be sent one by one")                              \
    X(drop_full, "not sent: buffers full (EAGAIN, ENOBUFS, ENOMEM)")                               \
    X(drop_too_big, "not sent: larger than the path allows (EMSGSIZE)")                            \
    X(drop_unreachable, "not sent: no route, host or port unreachable")                            \
    X(drop_denied, "not sent: a local firewall says no (EPERM, EACCES)")                           \
    X(drop_other, "not sent: any other error")

struct ph_batch_stats {
#define PH_X(name, text) uint64_t name;
    PH_BATCH_COUNTERS(PH_X)
#undef PH_X
};

/* Adds the counters of one batch to a sum. */
void ph_batch_stats_add(struct ph_batch_stats *sum, const struct ph_batch_stats *one);

struct msghdr;
struct mmsghdr;

/* What sends.  Results are those of the system calls, but errors come as -errno.  Tests put their own. */
struct ph_batch_io {
    void *ctx;
    int (*send)(void *ctx, int fd, const struct msghdr *m);
    int (*sendm)(void *ctx, int fd, struct mmsghdr *m, unsigned n);
};

struct ph_batch;

/* Creates a batch.  io: NULL for the system's calls, else copied.  NULL when out of memory.  Takes 8 MB of
 * address space of which only what packets have touched is resident. */
struct ph_batch *ph_batch_new(const struct ph_batch_io *io);

/* Frees it; what is queued is not sent. */
void ph_batch_free(struct ph_batch *b);

/* Receives up to vlen datagrams (at most PH_BATCH_VLEN) with one call; step through them with ph_batch_next.
 * Flushes first if there are not enough free slots.  Returns how many receive buffers were filled (if
 * that equals vlen there may be more), 0 when there was nothing, or -errno. */
int ph_batch_recv(struct ph_batch *b, const struct ph_udp *s, unsigned vlen);

/* The next datagram of the last ph_batch_recv: sets b, src, head, head_len and dont_fragment of *p, and the IP of dst
 * if the socket has PH_UDP_PKTINFO.  sock and the rest of dst are the caller's to set.  False at the end.
 *
 * A datagram taken from a coalesced buffer has no room to grow; for one that needs it (a STUN message to be
 * answered, a payload to be padded) there is ph_batch_own. */
bool ph_batch_next(struct ph_batch *b, struct ph_pkt *p);

/* Gives a packet of a coalesced buffer memory of its own, a scratch buffer; others are left as they are.  False when
 * it is longer than PH_BATCH_SCRATCH_ROOM: it is unchanged. */
bool ph_batch_own(struct ph_batch *b, struct ph_pkt *p);

/* Makes *p an empty packet of PH_BATCH_SCRATCH_ROOM bytes, for what a core builds.  Unless it has been queued by
 * then, the next ph_batch_scratch or ph_batch_own takes its memory again. */
void ph_batch_scratch(struct ph_batch *b, struct ph_pkt *p);

/* Queues a packet (data, head, dst, dont_fragment) to be sent on s.  If the socket has PH_UDP_PKTINFO it leaves
 * from src, or from what the route says if that is PH_AF_NONE.  Data and *s must stay until the flush. */
void ph_batch_send(struct ph_batch *b, struct ph_udp *s, const struct ph_pkt *p);

/* Sends what is queued and frees what it occupied: to be called when the work at hand is done, and before a socket
 * that may have packets in the queue is closed.  Not between ph_batch_next and ph_batch_send of a packet. */
void ph_batch_flush(struct ph_batch *b);

/* Packets queued. */
bool ph_batch_pending(const struct ph_batch *b);

/* The counters, live. */
const struct ph_batch_stats *ph_batch_stats(const struct ph_batch *b);

#endif
