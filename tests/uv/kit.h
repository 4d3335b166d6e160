/*
 * What the tests of the shells share: loopback sockets with blocking reads that give up.
 */
#ifndef PH_TESTS_UV_KIT_H
#define PH_TESTS_UV_KIT_H

#include "stun/base/addr.h"
#include "stun/uv/sockaddr.h"
#include "stun/uv/udp.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/udp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

enum { KIT_WAIT_MS = 5000, KIT_QUIET_MS = 100 };

/* "127.0.0.1:3478", as a UDP address. */
static inline struct ph_addr kit_addr(const char *text)
{
    struct ph_addr a;

    cr_assert_eq(ph_addr_parse(&a, text, strlen(text), 0), 0, "bad address %s", text);
    a.proto = PH_UDP;
    return a;
}

/* A socket on this address; its port may be 0. */
static inline struct ph_udp kit_open(const char *text, const struct ph_udp_opts *o)
{
    struct ph_addr a = kit_addr(text);
    struct ph_udp s;
    const int err = ph_udp_open(&s, &a, o ? o : &(struct ph_udp_opts){0});

    cr_assert_eq(err, 0, "cannot open %s: %s", text, strerror(-err));
    return s;
}

static inline struct ph_addr kit_local(const struct ph_udp *s)
{
    struct ph_addr a;

    cr_assert_eq(ph_udp_local(s, &a), 0);
    return a;
}

static inline bool kit_readable(const struct ph_udp *s, int ms)
{
    struct pollfd p = {.fd = s->fd, .events = POLLIN};

    return poll(&p, 1, ms) == 1;
}

/* One datagram, or -1 if none comes. */
static inline int kit_recv(const struct ph_udp *s, void *buf, size_t n, struct ph_addr *from)
{
    union ph_sockaddr sa;
    socklen_t len = sizeof sa;

    if (!kit_readable(s, KIT_WAIT_MS))
        return -1;
    const ssize_t got = recvfrom(s->fd, buf, n, 0, &sa.sa, &len);
    if (got >= 0 && from)
        ph_sockaddr_get(from, &sa, PH_UDP);
    return (int)got;
}

static inline void kit_send(const struct ph_udp *s, const void *buf, size_t n,
                            const struct ph_addr *to)
{
    union ph_sockaddr sa;
    const socklen_t len = ph_sockaddr_set(&sa, to);
    const ssize_t sent = sendto(s->fd, buf, n, 0, &sa.sa, len);

    cr_assert_eq(sent, (ssize_t)n, "cannot send: %s", strerror(errno));
}

/* n bytes as one coalesced run of datagrams of `segment` bytes: received as one by a socket with GRO. */
static inline void kit_send_gso(const struct ph_udp *s, void *buf, size_t n, uint16_t segment,
                                const struct ph_addr *to)
{
    union ph_sockaddr sa;
    struct iovec v = {buf, n};
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof segment)] = {0};
    struct msghdr m = {.msg_name = &sa,
                       .msg_namelen = ph_sockaddr_set(&sa, to),
                       .msg_iov = &v,
                       .msg_iovlen = 1,
                       .msg_control = control,
                       .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);

    c->cmsg_level = IPPROTO_UDP;
    c->cmsg_type = UDP_SEGMENT;
    c->cmsg_len = CMSG_LEN(sizeof segment);
    memcpy(CMSG_DATA(c), &segment, sizeof segment);
    cr_assert_eq(sendmsg(s->fd, &m, 0), (ssize_t)n, "cannot send: %s", strerror(errno));
}

#endif
