/*
 * The output queue against a recorder in place of the kernel: which packets become one message, which messages
 * one call, and what is done when the kernel refuses.
 */
#include "stun/uv/sendq.h"
#include "uv/kit.h"

#include <stdlib.h>
#include <sys/uio.h>

enum { MAX = 600 };

/* What reached the "kernel". */
struct sent {
    int fd;
    uint16_t port;    /* of the destination */
    uint16_t segment; /* 0: no UDP_SEGMENT */
    size_t iovs, bytes;
    uint8_t data[256];     /* the first bytes */
    struct ph_addr source; /* from a pktinfo */
};

static struct sent sent[MAX];
static unsigned n_sent, n_calls;
static int fail[MAX]; /* result of the nth message offered, 0: taken */
static unsigned offered;

static void read_controls(struct sent *s, const struct msghdr *m)
{
    struct msghdr copy = *m;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(&copy); c; c = CMSG_NXTHDR(&copy, c)) {
        if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_SEGMENT) {
            memcpy(&s->segment, CMSG_DATA(c), sizeof s->segment);
        } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo v;
            memcpy(&v, CMSG_DATA(c), sizeof v);
            s->source = ph_addr_v4((const uint8_t *)&v.ipi_spec_dst, 0, PH_UDP);
        } else {
            cr_assert_fail("unexpected control message");
        }
    }
}

static int take(int fd, const struct msghdr *m)
{
    struct ph_addr to;

    cr_assert_lt(offered, MAX);
    if (fail[offered])
        return fail[offered++];
    offered++;
    struct sent *s = &sent[n_sent++];
    *s = (struct sent){.fd = fd, .iovs = m->msg_iovlen};
    ph_sockaddr_get(&to, m->msg_name, PH_UDP);
    s->port = to.port;
    for (size_t i = 0; i < m->msg_iovlen; i++) {
        const struct iovec *v = &m->msg_iov[i];
        if (s->bytes + v->iov_len <= sizeof s->data)
            memcpy(s->data + s->bytes, v->iov_base, v->iov_len);
        s->bytes += v->iov_len;
    }
    if (m->msg_controllen)
        read_controls(s, m);
    return (int)s->bytes;
}

static int fake_send(void *ctx, int fd, const struct msghdr *m)
{
    (void)ctx;
    n_calls++;
    return take(fd, m);
}

static int fake_sendm(void *ctx, int fd, struct mmsghdr *m, unsigned n)
{
    (void)ctx;
    n_calls++;
    for (unsigned i = 0; i < n; i++) {
        const int r = take(fd, &m[i].msg_hdr);
        if (r <
            0) { /* as the kernel: an error is told only if nothing was sent, else it comes with the next call */
            offered -= i > 0;
            return i ? (int)i : r;
        }
        m[i].msg_len = (unsigned)r;
    }
    return (int)n;
}

static struct ph_batch_stats stats;
static struct ph_sendq *q;
static struct ph_udp a = {.fd = 10, .family = PH_AF_INET}, b = {.fd = 11, .family = PH_AF_INET};
static uint8_t memory[65536];

static void setup(void)
{
    const struct ph_batch_io io = {.send = fake_send, .sendm = fake_sendm};

    q = ph_sendq_new(&io, &stats);
    for (size_t i = 0; i < sizeof memory; i++)
        memory[i] = (uint8_t)(i * 7);
}

static void teardown(void)
{
    ph_sendq_free(q);
}

TestSuite(uv_sendq, .init = setup, .fini = teardown);

/* A packet of len bytes for 127.0.0.1:port, from offset `at` of memory. */
static struct ph_pkt packet(uint16_t port, uint32_t at, uint32_t len)
{
    struct ph_pkt p = {.b = {.base = memory, .cap = sizeof memory, .off = at, .len = len}};

    p.dst = kit_addr("127.0.0.1");
    p.dst.port = port;
    return p;
}

static void push(struct ph_udp *s, uint16_t port, uint32_t len)
{
    const struct ph_pkt p = packet(port, 0, len);

    ph_sendq_push(q, s, &p);
}

static void expect_sent(unsigned i, int fd, uint16_t port, uint16_t segment, size_t bytes)
{
    cr_assert_lt(i, n_sent);
    cr_expect_eq(sent[i].fd, fd);
    cr_expect_eq(sent[i].port, port);
    cr_expect_eq(sent[i].segment, segment, "segment %u", sent[i].segment);
    cr_expect_eq(sent[i].bytes, bytes, "%zu bytes", sent[i].bytes);
}

Test(uv_sendq, nothing_is_sent_before_the_flush)
{
    push(&a, 1, 100);
    cr_expect_eq(n_calls, 0);
    cr_expect_eq(ph_sendq_messages(q), 1);
    ph_sendq_flush(q);
    cr_expect_eq(n_calls, 1);
    expect_sent(0, 10, 1, 0, 100);
    cr_expect_eq(ph_sendq_messages(q), 0);
    ph_sendq_flush(q);
    cr_expect_eq(n_calls, 1);
}

Test(uv_sendq, equal_packets_for_one_destination_are_one_message)
{
    for (int i = 0; i < 5; i++)
        push(&a, 1, 100);
    ph_sendq_flush(q);
    cr_assert_eq(n_sent, 1);
    expect_sent(0, 10, 1, 100, 500);
    cr_expect_eq(stats.tx_packets, 5);
    cr_expect_eq(stats.tx_bytes, 500);
    cr_expect_eq(stats.tx_gso, 1);
    cr_expect_eq(stats.tx_calls, 1);
}

Test(uv_sendq, a_shorter_packet_ends_a_run)
{
    push(&a, 1, 100);
    push(&a, 1, 100);
    push(&a, 1, 40);
    push(&a, 1, 40); /* begins another */
    push(&a, 1, 100);
    ph_sendq_flush(q);
    cr_assert_eq(n_sent, 3);
    expect_sent(0, 10, 1, 100, 240);
    expect_sent(1, 10, 1, 0, 40);
    expect_sent(2, 10, 1, 0, 100);
    cr_expect_eq(n_calls, 1, "three messages on one socket are one call");
}

Test(uv_sendq, a_longer_packet_starts_a_message)
{
    push(&a, 1, 100);
    push(&a, 1, 101);
    push(&a, 1, 101);
    ph_sendq_flush(q);
    cr_assert_eq(n_sent, 2);
    expect_sent(0, 10, 1, 0, 100);
    expect_sent(1, 10, 1, 101, 202);
}

Test(uv_sendq, other_destination_other_message)
{
    push(&a, 1, 100);
    push(&a, 2, 100);
    push(&a, 1, 100);
    ph_sendq_flush(q);
    cr_assert_eq(n_sent, 3);
    cr_expect_eq(n_calls, 1);
}

Test(uv_sendq, other_socket_other_call)
{
    push(&a, 1, 100);
    push(&b, 1, 100);
    push(&b, 2, 100);
    push(&a, 1, 100);
    ph_sendq_flush(q);
    cr_assert_eq(n_sent, 4);
    cr_expect_eq(n_calls, 3);
    expect_sent(1, 11, 1, 0, 100);
}

Test(uv_sendq, empty_packets_stand_alone)
{
    push(&a, 1, 0);
    push(&a, 1, 0);
    push(&a, 1, 10);
    push(&a, 1, 0);
    ph_sendq_flush(q);
    cr_assert_eq(n_sent, 4);
    for (unsigned i = 0; i < 4; i++)
        expect_sent(i, 10, 1, 0, i == 2 ? 10 : 0);
}

Test(uv_sendq, runs_are_bounded_in_packets_and_bytes)
{
    for (int i = 0; i < PH_BATCH_SEGMENTS + 1; i++)
        push(&a, 1, 100);
    for (int i = 0; i < 55; i++)
        push(&a, 2, 1200);
    ph_sendq_flush(q);
    cr_assert_eq(n_sent, 4);
    expect_sent(0, 10, 1, 100, PH_BATCH_SEGMENTS * 100);
    expect_sent(1, 10, 1, 0, 100);
    expect_sent(2, 10, 2, 1200, 54 * 1200); /* 54: the most that fit 65000 */
    expect_sent(3, 10, 2, 0, 1200);
}

Test(uv_sendq, what_is_in_front_goes_out_first)
{
    uint8_t head[2][PH_HEADROOM] = {"AAAA", "BBBB"};

    for (int i = 0; i < 2; i++) {
        struct ph_pkt p = packet(1, 8, 20);
        p.head = head[i];
        p.head_len = 4;
        ph_sendq_push(q, &a, &p);
    }
    ph_sendq_flush(q);
    cr_assert_eq(n_sent, 1);
    expect_sent(0, 10, 1, 24, 48);
    cr_expect_eq(sent[0].iovs, 4);
    cr_expect_eq(memcmp(sent[0].data, "AAAA", 4), 0);
    cr_expect_eq(memcmp(sent[0].data + 4, memory + 8, 20), 0);
    cr_expect_eq(memcmp(sent[0].data + 24, "BBBB", 4), 0);
}

Test(uv_sendq, an_answer_in_head_alone)
{
    uint8_t head[PH_HEADROOM] = "head";
    struct ph_pkt p = packet(1, 8, 0);

    p.head = head;
    p.head_len = 4;
    ph_sendq_push(q, &a, &p);
    ph_sendq_flush(q);
    expect_sent(0, 10, 1, 0, 4);
    cr_expect_eq(sent[0].iovs, 1);
}

Test(uv_sendq, flushes_itself_when_full)
{
    for (uint16_t i = 0; i < 300; i++)
        push(&a, (uint16_t)(i + 1), 10);
    cr_expect_gt(n_sent, 0);
    ph_sendq_flush(q);
    cr_assert_eq(n_sent, 300);
    for (uint16_t i = 0; i < 300; i++)
        expect_sent(i, 10, (uint16_t)(i + 1), 0, 10);
}

Test(uv_sendq, source_address_on_wildcard_sockets)
{
    struct ph_udp w = {.fd = 12, .family = PH_AF_INET, .flags = PH_UDP_PKTINFO};
    struct ph_pkt p = packet(1, 0, 10);

    p.src = kit_addr("127.0.0.5");
    ph_sendq_push(q, &w, &p);
    ph_sendq_push(q, &w, &p);
    p.src = kit_addr("127.0.0.6");
    ph_sendq_push(q, &w, &p);
    p.src.family = PH_AF_NONE;
    ph_sendq_push(q, &w, &p);
    ph_sendq_flush(q);
    cr_assert_eq(n_sent, 3);
    expect_sent(0, 12, 1, 10, 20);
    cr_expect_eq(sent[0].source.ip[3], 5);
    cr_expect_eq(sent[1].source.ip[3], 6);
    cr_expect_eq(sent[2].source.family, PH_AF_NONE);
}

Test(uv_sendq, a_refused_run_goes_out_packet_by_packet)
{
    const int errs[] = {-EINVAL, -EMSGSIZE};

    for (unsigned e = 0; e < 2; e++) {
        n_sent = n_calls = offered = 0;
        memset(fail, 0, sizeof fail);
        fail[0] = errs[e];
        fail[1] =
            errs[e] == -EMSGSIZE ? -EMSGSIZE : 0; /* it may be an old ICMP error: tried again */
        uint8_t head[PH_HEADROOM] = "head";
        struct ph_pkt p = packet(1, 0, 100);
        ph_sendq_push(q, &a, &p);
        p.head = head;
        p.head_len = 4;
        p.b.len = 96;
        ph_sendq_push(q, &a, &p);
        p.head_len = 0;
        p.b.len = 30;
        ph_sendq_push(q, &a, &p);
        ph_sendq_flush(q);
        cr_assert_eq(n_sent, 3);
        expect_sent(0, 10, 1, 0, 100);
        expect_sent(1, 10, 1, 0, 100);
        expect_sent(2, 10, 1, 0, 30);
        cr_expect_eq(sent[1].iovs, 2);
        cr_expect_eq(stats.tx_gso_refused, e + 1);
        cr_expect_eq(stats.tx_packets, 3 * (e + 1));
    }
}

Test(uv_sendq, a_device_without_gso_is_remembered)
{
    struct ph_udp s = {.fd = 13, .family = PH_AF_INET};

    fail[0] = -EIO;
    for (int i = 0; i < 4; i++)
        push(&s, 1, 100);
    ph_sendq_flush(q);
    cr_expect_eq(n_sent, 4);
    cr_expect(s.flags & PH_UDP_NO_GSO);
    for (int i = 0; i < 4; i++)
        push(&s, 1, 100);
    ph_sendq_flush(q);
    cr_expect_eq(n_sent, 8);
    for (unsigned i = 0; i < 8; i++)
        expect_sent(i, 13, 1, 0, 100);
    cr_expect_eq(stats.tx_gso_refused, 1);
}

Test(uv_sendq, an_old_icmp_error_costs_no_packet)
{
    fail[0] = -ECONNREFUSED;
    push(&a, 1, 100);
    ph_sendq_flush(q);
    expect_sent(0, 10, 1, 0, 100);
    cr_expect_eq(stats.drop_unreachable, 0);
    cr_expect_eq(stats.tx_packets, 1);
}

Test(uv_sendq, an_old_icmp_error_in_the_middle_of_a_call)
{
    fail[2] = -ECONNREFUSED;
    for (uint16_t i = 1; i <= 4; i++)
        push(&a, i, 100);
    ph_sendq_flush(q);
    cr_assert_eq(n_sent, 4);
    for (uint16_t i = 0; i < 4; i++)
        expect_sent(i, 10, (uint16_t)(i + 1), 0, 100);
}

Test(uv_sendq, failures_are_counted_by_kind_and_the_rest_goes_out)
{
    static const struct {
        int err, times; /* times: how often it has to fail to be believed */
    } kinds[] = {{-ENETUNREACH, 2}, {-EMSGSIZE, 2}, {-EPERM, 1}, {-EBADF, 2}};

    for (unsigned k = 0; k < 4; k++) {
        n_sent = offered = 0;
        memset(fail, 0, sizeof fail);
        for (int i = 0; i < kinds[k].times; i++)
            fail[i] = kinds[k].err;
        push(&a, 1, 100);
        push(&a, 2, 100);
        ph_sendq_flush(q);
        cr_assert_eq(n_sent, 1, "%s", strerror(-kinds[k].err));
        cr_expect_eq(sent[0].port, 2);
    }
    cr_expect_eq(stats.drop_unreachable, 1);
    cr_expect_eq(stats.drop_too_big, 1);
    cr_expect_eq(stats.drop_denied, 1);
    cr_expect_eq(stats.drop_other, 1);
}

Test(uv_sendq, a_full_socket_drops_the_rest_of_its_call)
{
    fail[1] = -EAGAIN;
    for (uint16_t i = 1; i <= 5; i++)
        push(&a, i, 100);
    push(&b, 9, 100);
    ph_sendq_flush(q);
    cr_assert_eq(n_sent, 2);
    expect_sent(0, 10, 1, 0, 100);
    expect_sent(1, 11, 9, 0, 100);
    cr_expect_eq(stats.drop_full, 4);
    cr_expect_eq(stats.tx_packets, 2);
}
