/*
 * The output queue of a batch: packets become as few messages and system calls as possible.
 *
 *     packet ...  ->  message (runs of equal packets, one socket, one destination: GSO)  ->  sendmmsg
 *
 * A run grows while packets for the same socket and destination follow each other and are as long as its
 * first; a shorter one closes it (UDP_SEGMENT allows that for the last).  Order is kept on every socket.
 * If the kernel refuses a run (a segment larger than the MTU, a device without checksums), its packets go out one
 * by one.  Part of stun/uv/batch; not for others.
 */
#ifndef PH_UV_SENDQ_H
#define PH_UV_SENDQ_H

#include "stun/uv/batch.h"

struct ph_sendq;

/* io: NULL for the system's calls, else copied.  stats are counted into and must outlive the queue. */
struct ph_sendq *ph_sendq_new(const struct ph_batch_io *io, struct ph_batch_stats *stats);
void ph_sendq_free(struct ph_sendq *q);

/* Queues a packet; flushes before when there is no room. */
void ph_sendq_push(struct ph_sendq *q, struct ph_udp *s, const struct ph_pkt *p);

/* Sends everything. */
void ph_sendq_flush(struct ph_sendq *q);

/* Messages queued: runs count once. */
unsigned ph_sendq_messages(const struct ph_sendq *q);

#endif
