/*
 * Queueing and sending; see sendq.h.
 *
 * The message headers that sendmmsg() wants are kept wired: a push writes an address, one or two iovecs and
 * little else.  A message that is alone on its socket (packets to peers always are) goes out with sendto(),
 * which has less to copy in than sendmsg().
 */
#include "stun/uv/sendq.h"
#include "stun/uv/sockaddr.h"

#include <errno.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <sys/uio.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

enum { MESSAGES = 256, IOVS = 1024 };

/* What goes with a message besides its data. */
struct control {
    _Alignas(struct cmsghdr) char room[CMSG_SPACE(sizeof(uint16_t)) +
                                       CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

/* A queued message: one packet or a run. */
struct message {
    struct ph_udp *s;
    struct ph_addr dst, src; /* src: only on wildcard sockets */
    uint32_t bytes;
    uint16_t segment; /* bytes of each packet, the last may have less */
    uint8_t packets;
    bool closed; /* takes no more */
    bool df;
};

struct ph_sendq {
    struct ph_batch_io io;
    struct ph_batch_stats *stats;
    unsigned n, n_iov;
    struct message v[MESSAGES];
    struct mmsghdr mm[MESSAGES];
    union ph_sockaddr to[MESSAGES];
    struct control control[MESSAGES];
    struct iovec iov[IOVS];
};

/* --- the system's calls ---------------------------------------------------------------------------- */

static int system_send(void *ctx, int fd, const struct msghdr *m)
{
    (void)ctx;
    ssize_t n =
        m->msg_iovlen == 1 && !m->msg_controllen
            ? sendto(fd, m->msg_iov->iov_base, m->msg_iov->iov_len, 0, m->msg_name, m->msg_namelen)
            : sendmsg(fd, m, 0);
    return n < 0 ? -errno : (int)n;
}

static int system_sendm(void *ctx, int fd, struct mmsghdr *m, unsigned n)
{
    (void)ctx;
    int sent = sendmmsg(fd, m, n, 0);
    return sent < 0 ? -errno : sent;
}

/* --- life ------------------------------------------------------------------------------------------ */

struct ph_sendq *ph_sendq_new(const struct ph_batch_io *io, struct ph_batch_stats *stats)
{
    struct ph_sendq *q = calloc(1, sizeof *q);
    if (!q)
        return NULL;
    q->io = io ? *io : (struct ph_batch_io){.send = system_send, .sendm = system_sendm};
    q->stats = stats;
    for (unsigned i = 0; i < MESSAGES; i++)
        q->mm[i].msg_hdr.msg_name = &q->to[i];
    return q;
}

void ph_sendq_free(struct ph_sendq *q)
{
    free(q);
}

unsigned ph_sendq_messages(const struct ph_sendq *q)
{
    return q->n;
}

/* --- queueing -------------------------------------------------------------------------------------- */

static bool joins(const struct message *m, const struct ph_udp *s, const struct ph_pkt *p,
                  uint32_t len)
{
    return !m->closed && m->s == s && len > 0 && len <= m->segment &&
           ph_addr_eq_endpoint(&m->dst, &p->dst) && m->bytes + len <= PH_BATCH_GSO_BYTES &&
           m->df == p->dont_fragment &&
           (!(s->flags & PH_UDP_PKTINFO) || ph_addr_eq_ip(&m->src, &p->src));
}

static struct message *open_message(struct ph_sendq *q, struct ph_udp *s, const struct ph_pkt *p,
                                    uint32_t len)
{
    struct message *m = &q->v[q->n];
    struct msghdr *h = &q->mm[q->n].msg_hdr;

    *m = (struct message){.s = s,
                          .dst = p->dst,
                          .segment = (uint16_t)len,
                          .df = p->dont_fragment,
                          .closed = s->flags & PH_UDP_NO_GSO};
    if (s->flags & PH_UDP_PKTINFO)
        m->src = p->src;
    h->msg_namelen = ph_sockaddr_set(&q->to[q->n], &p->dst);
    h->msg_iov = &q->iov[q->n_iov];
    h->msg_iovlen = 0;
    h->msg_controllen = 0;
    q->n++;
    return m;
}

static void add_iov(struct ph_sendq *q, void *base, size_t len)
{
    struct msghdr *h = &q->mm[q->n - 1].msg_hdr;

    if (len == 0 && h->msg_iovlen)
        return;
    q->iov[q->n_iov++] = (struct iovec){base, len};
    h->msg_iovlen++;
}

void ph_sendq_push(struct ph_sendq *q, struct ph_udp *s, const struct ph_pkt *p)
{
    const uint32_t len = ph_pkt_wire_len(p);

    if (q->n == MESSAGES || q->n_iov + 2 > IOVS)
        ph_sendq_flush(q);
    struct message *m = q->n ? &q->v[q->n - 1] : NULL;
    if (!m || !joins(m, s, p, len))
        m = open_message(q, s, p, len);
    if (p->head_len)
        add_iov(q, p->head, p->head_len);
    add_iov(q, ph_buf_data(&p->b), p->b.len);
    m->bytes += len;
    m->packets++;
    if (len < m->segment || len == 0 || m->packets == PH_BATCH_SEGMENTS)
        m->closed = true;
}

/* --- sending --------------------------------------------------------------------------------------- */

static void add_control(struct msghdr *h, struct control *room, int level, int type, const void *v,
                        size_t n)
{
    struct cmsghdr *c = (struct cmsghdr *)(void *)(room->room + h->msg_controllen);

    *c = (struct cmsghdr){.cmsg_len = CMSG_LEN(n), .cmsg_level = level, .cmsg_type = type};
    memcpy(CMSG_DATA(c), v, n);
    h->msg_control = room;
    h->msg_controllen += CMSG_SPACE(n);
}

/* The source address, for sockets bound to a wildcard. */
static void add_source(struct msghdr *h, struct control *room, const struct ph_addr *src)
{
    if (src->family == PH_AF_INET) {
        struct in_pktinfo v = {0};
        memcpy(&v.ipi_spec_dst, src->ip, 4);
        add_control(h, room, IPPROTO_IP, IP_PKTINFO, &v, sizeof v);
    } else if (src->family == PH_AF_INET6) {
        struct in6_pktinfo v = {0};
        memcpy(&v.ipi6_addr, src->ip, 16);
        add_control(h, room, IPPROTO_IPV6, IPV6_PKTINFO, &v, sizeof v);
    }
}

static void add_controls(struct ph_sendq *q, unsigned i)
{
    const struct message *m = &q->v[i];
    struct msghdr *h = &q->mm[i].msg_hdr;

    if (m->packets > 1)
        add_control(h, &q->control[i], IPPROTO_UDP, UDP_SEGMENT, &m->segment, sizeof m->segment);
    if (m->s->flags & PH_UDP_PKTINFO)
        add_source(h, &q->control[i], &m->src);
}

static void count_drop(struct ph_batch_stats *st, int err, unsigned packets)
{
    switch (-err) {
    case EAGAIN:
    case ENOBUFS:
    case ENOMEM:
        st->drop_full += packets;
        break;
    case EMSGSIZE:
        st->drop_too_big += packets;
        break;
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ECONNREFUSED:
    case ENETDOWN:
    case EADDRNOTAVAIL:
        st->drop_unreachable += packets;
        break;
    case EPERM:
    case EACCES:
        st->drop_denied += packets;
        break;
    default:
        st->drop_other += packets;
    }
}

static void count_sent(struct ph_batch_stats *st, const struct message *m)
{
    st->tx_packets += m->packets;
    st->tx_bytes += m->bytes;
    st->tx_gso += m->packets > 1;
}

/* An ICMP error that came for an earlier packet is reported by, and instead of, the next send.  Errors of this
 * send itself come again. */
static bool may_be_old(int err)
{
    switch (-err) {
    case EAGAIN:
    case ENOBUFS:
    case ENOMEM:
    case EINVAL:
    case EIO:
    case EPERM:
        return false;
    default:
        return true;
    }
}

static int send_once(struct ph_sendq *q, int fd, const struct msghdr *h)
{
    q->stats->tx_calls++;
    return q->io.send(q->io.ctx, fd, h);
}

/* Sends a message that was refused as a run packet by packet. */
static void send_apart(struct ph_sendq *q, unsigned i)
{
    const struct message *m = &q->v[i];
    struct msghdr h = q->mm[i].msg_hdr;
    const struct iovec *end = h.msg_iov + h.msg_iovlen;
    uint32_t left = m->bytes;

    h.msg_controllen = 0;
    if (m->s->flags & PH_UDP_PKTINFO)
        add_source(&h, &q->control[i], &m->src);
    for (struct iovec *v = h.msg_iov; v < end; v += h.msg_iovlen) {
        uint32_t want = left < m->segment ? left : m->segment, n = 0;
        h.msg_iov = v;
        for (h.msg_iovlen = 0; n < want; h.msg_iovlen++)
            n += (uint32_t)v[h.msg_iovlen].iov_len;
        left -= n;
        int r = send_once(q, m->s->fd, &h);
        if (r < 0 && may_be_old(r))
            r = send_once(q, m->s->fd, &h);
        if (r < 0) {
            count_drop(q->stats, r, 1);
        } else {
            q->stats->tx_packets++;
            q->stats->tx_bytes += n;
        }
    }
}

/* Message i failed.  Tries what may help and gives up otherwise.  Returns false when the socket's buffer is full,
 * so that trying the next is a waste. */
static bool send_again(struct ph_sendq *q, unsigned i, int err)
{
    struct message *m = &q->v[i];

    if (may_be_old(err))
        err = send_once(q, m->s->fd, &q->mm[i].msg_hdr);
    if (err >= 0) {
        count_sent(q->stats, m);
        return true;
    }
    if (m->packets > 1 && (err == -EINVAL || err == -EIO || err == -EMSGSIZE)) {
        q->stats->tx_gso_refused++;
        if (err == -EIO)
            m->s->flags |= PH_UDP_NO_GSO;
        send_apart(q, i);
        return true;
    }
    count_drop(q->stats, err, m->packets);
    return err != -EAGAIN && err != -ENOBUFS;
}

/* Sends messages [i, end), all on one socket. */
static void send_run(struct ph_sendq *q, unsigned i, unsigned end)
{
    const int fd = q->v[i].s->fd;

    while (i < end) {
        int r;
        if (end - i == 1) {
            r = send_once(q, fd, &q->mm[i].msg_hdr);
            r = r < 0 ? r : 1;
        } else {
            q->stats->tx_calls++;
            r = q->io.sendm(q->io.ctx, fd, &q->mm[i], end - i);
        }
        for (; r > 0; r--)
            count_sent(q->stats, &q->v[i++]);
        if (r < 0 && !send_again(q, i++, r))
            break;
    }
    for (; i < end; i++)
        q->stats->drop_full += q->v[i].packets;
}

void ph_sendq_flush(struct ph_sendq *q)
{
    for (unsigned i = 0, end; i < q->n; i = end) {
        const struct message *m = &q->v[i];
        for (end = i; end < q->n && q->v[end].s == m->s && q->v[end].df == m->df; end++)
            if (q->v[end].packets > 1 || m->s->flags & PH_UDP_PKTINFO)
                add_controls(q, end);
        if (m->df != !!(m->s->flags & PH_UDP_DF))
            ph_udp_set_df(m->s, m->df);
        send_run(q, i, end);
    }
    q->n = q->n_iov = 0;
}
