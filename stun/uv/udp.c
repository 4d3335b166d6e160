/*
 * Opening UDP sockets, taking them over, and reading their error queues.
 *
 * RFC 8656 14 wants DF off on relayed packets unless the client asks for it; Linux turns it on for path MTU
 * discovery, hence IP_PMTUDISC_DONT.  IPv6 has no such bit: a router never fragments, the sender may.
 */
#include "stun/uv/udp.h"
#include "stun/uv/sockaddr.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/errqueue.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <netinet/udp.h>
#include <unistd.h>

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

static int set_int(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value) ? -errno : 0;
}

/* A buffer size, past the system's limit if we are allowed to. */
static void set_buffer(int fd, int force, int option, uint32_t bytes)
{
    if (bytes && set_int(fd, SOL_SOCKET, force, (int)bytes) < 0)
        set_int(fd, SOL_SOCKET, option, (int)bytes);
}

/* What must be set before it is bound. */
static int before_bind(int fd, bool v6, const struct ph_udp_opts *o)
{
    int err = v6 ? set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1) : 0;

    if (!err && o->free_bind)
        err = v6 ? set_int(fd, IPPROTO_IPV6, IPV6_FREEBIND, 1)
                 : set_int(fd, IPPROTO_IP, IP_FREEBIND, 1);
    if (!err && o->device &&
        setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, o->device, (socklen_t)strlen(o->device)))
        err = -errno;
    return err;
}

/* What makes a socket wrong if it cannot be had. */
static int require(int fd, bool v6, const struct ph_udp_opts *o, bool pktinfo)
{
    int err = v6 ? 0 : set_int(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT);

    if (!err && o->reuseport)
        err = set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (!err && pktinfo)
        err = v6 ? set_int(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
                 : set_int(fd, IPPROTO_IP, IP_PKTINFO, 1);
    return err;
}

/* What it can do without. */
static uint8_t prefer(int fd, bool v6, const struct ph_udp_opts *o)
{
    if (o->recverr) {
        if (v6)
            set_int(fd, IPPROTO_IPV6, IPV6_RECVERR, 1);
        else
            set_int(fd, IPPROTO_IP, IP_RECVERR, 1);
    }
    set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, o->rcvbuf);
    set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, o->sndbuf);
    return o->gro && set_int(fd, IPPROTO_UDP, UDP_GRO, 1) == 0 ? PH_UDP_GRO : 0;
}

int ph_udp_open(struct ph_udp *s, const struct ph_addr *at, const struct ph_udp_opts *o)
{
    const bool v6 = at->family == PH_AF_INET6, pktinfo = o->pktinfo && ph_addr_is_any(at);
    union ph_sockaddr sa;
    socklen_t len = ph_sockaddr_set(&sa, at);

    if (!len)
        return -EAFNOSUPPORT;
    int fd = socket(sa.sa.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int err = before_bind(fd, v6, o);
    if (!err)
        err = require(fd, v6, o, pktinfo);
    uint8_t flags = pktinfo ? PH_UDP_PKTINFO : 0;
    if (!err && bind(fd, &sa.sa, len))
        err = -errno;
    if (err) {
        close(fd);
        return err;
    }
    flags |= prefer(fd, v6, o);
    *s = (struct ph_udp){.fd = fd, .family = at->family, .flags = flags};
    return 0;
}

bool ph_udp_is_on(int fd, const char *device)
{
    char name[IF_NAMESIZE] = "";
    socklen_t n = sizeof name;

    return getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, &n) == 0 &&
           strcmp(n ? name : "", device ? device : "") == 0;
}

/* --- taking over ----------------------------------------------------------------------------------- */

static int get_int(int fd, int level, int option)
{
    int v = 0;
    socklen_t n = sizeof v;

    return getsockopt(fd, level, option, &v, &n) ? -1 : v;
}

/* Whether it is one that ph_udp_open might have made, and where. */
static bool is_ours(int fd, struct ph_addr *at)
{
    const struct ph_udp s = {.fd = fd};

    return get_int(fd, SOL_SOCKET, SO_TYPE) == SOCK_DGRAM &&
           get_int(fd, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_UDP && ph_udp_local(&s, at) == 0 &&
           at->port && (at->family != PH_AF_INET6 || get_int(fd, IPPROTO_IPV6, IPV6_V6ONLY) == 1);
}

/* Turns off what is not wanted: the one before may have wanted it. */
static void undo(int fd, bool v6, const struct ph_udp_opts *o, bool pktinfo)
{
    const int level = v6 ? IPPROTO_IPV6 : IPPROTO_IP;

    if (v6)
        set_int(fd, level, IPV6_DONTFRAG, 0);
    if (!pktinfo)
        set_int(fd, level, v6 ? IPV6_RECVPKTINFO : IP_PKTINFO, 0);
    if (!o->recverr)
        set_int(fd, level, v6 ? IPV6_RECVERR : IP_RECVERR, 0);
    if (!o->gro)
        set_int(fd, IPPROTO_UDP, UDP_GRO, 0);
}

int ph_udp_adopt(struct ph_udp *s, int fd, const struct ph_udp_opts *o)
{
    struct ph_addr at;

    if (!is_ours(fd, &at) || !ph_udp_is_on(fd, o->device))
        return -EINVAL;
    const bool v6 = at.family == PH_AF_INET6, pktinfo = o->pktinfo && ph_addr_is_any(&at);
    int err = fcntl(fd, F_SETFL, O_NONBLOCK) ? -errno : 0;
    undo(fd, v6, o, pktinfo);
    if (!err)
        err = require(fd, v6, o, pktinfo);
    if (err)
        return err;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    const uint8_t flags = (uint8_t)(prefer(fd, v6, o) | (pktinfo ? PH_UDP_PKTINFO : 0));
    *s = (struct ph_udp){.fd = fd, .family = at.family, .flags = flags};
    return 0;
}

void ph_udp_close(struct ph_udp *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

int ph_udp_local(const struct ph_udp *s, struct ph_addr *at)
{
    union ph_sockaddr sa = {.in6 = {0}};
    socklen_t len = sizeof sa;

    if (getsockname(s->fd, &sa.sa, &len))
        return -errno;
    ph_sockaddr_get(at, &sa, PH_UDP);
    return 0;
}

int ph_udp_set_df(struct ph_udp *s, bool on)
{
    int err;

    if (on == !!(s->flags & PH_UDP_DF))
        return 0;
    if (s->family == PH_AF_INET6)
        err = set_int(s->fd, IPPROTO_IPV6, IPV6_DONTFRAG, on);
    else
        err = set_int(s->fd, IPPROTO_IP, IP_MTU_DISCOVER, on ? IP_PMTUDISC_DO : IP_PMTUDISC_DONT);
    if (!err)
        s->flags ^= PH_UDP_DF;
    return err;
}

/* The packet was too big for our own interface: as if a router had said so. */
static void local_error(struct ph_udp_error *e, bool v6)
{
    if (e->err != EMSGSIZE)
        return;
    e->type = v6 ? ICMP6_PACKET_TOO_BIG : ICMP_DEST_UNREACH;
    e->code = v6 ? 0 : ICMP_FRAG_NEEDED;
}

/* Reads an extended error.  False if it is not one of those we tell of. */
static bool read_error(struct ph_udp_error *e, const struct cmsghdr *c)
{
    struct {
        struct sock_extended_err ee;
        union ph_sockaddr offender;
    } x;

    memset(&x, 0, sizeof x);
    memcpy(&x, CMSG_DATA(c),
           c->cmsg_len - CMSG_LEN(0) < sizeof x ? c->cmsg_len - CMSG_LEN(0) : sizeof x);
    e->err = (int)x.ee.ee_errno;
    e->type = x.ee.ee_type;
    e->code = x.ee.ee_code;
    e->mtu = x.ee.ee_errno == EMSGSIZE ? x.ee.ee_info : 0;
    if (x.ee.ee_origin == SO_EE_ORIGIN_LOCAL)
        local_error(e, c->cmsg_level == IPPROTO_IPV6);
    else if (x.ee.ee_origin == SO_EE_ORIGIN_ICMP || x.ee.ee_origin == SO_EE_ORIGIN_ICMP6)
        ph_sockaddr_get(&e->from, &x.offender, PH_PROTO_NONE);
    else
        return false;
    return true;
}

bool ph_udp_error(const struct ph_udp *s, struct ph_udp_error *e)
{
    union ph_sockaddr to;
    _Alignas(struct cmsghdr) char control[256];

    for (;;) {
        struct msghdr m = {.msg_name = &to,
                           .msg_namelen = sizeof to,
                           .msg_control = control,
                           .msg_controllen = sizeof control};
        if (recvmsg(s->fd, &m, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
            return false;
        *e = (struct ph_udp_error){0};
        if (m.msg_namelen)
            ph_sockaddr_get(&e->peer, &to, PH_UDP);
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
            if (((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) ||
                 (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR)) &&
                read_error(e, c))
                return true;
    }
}
