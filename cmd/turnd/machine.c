/*
 * What this machine has: addresses and CPUs.
 */
#include "cmd/turnd/plan.h"
#include "stun/uv/sockaddr.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <sched.h>
#include <unistd.h>

/* 169.254.0.0/16 and fe80::/10 are of no use to clients behind a router, and the latter need a scope. */
static bool is_link_local(const struct ph_addr *a)
{
    if (a->family == PH_AF_INET)
        return a->ip[0] == 169 && a->ip[1] == 254;
    return a->ip[0] == 0xFE && (a->ip[1] & 0xC0) == 0x80;
}

int ph_tplan_try(const struct ph_addr *ip, bool free_bind)
{
    union ph_sockaddr s = {0};
    socklen_t n = ph_sockaddr_set(&s, ip);
    const bool stream = ip->proto == PH_TCP || ip->proto == PH_TLS;
    int fd = socket(s.sa.sa_family, (stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    /* Connections of an earlier run that have not yet gone are no reason to wait; a listener still is. */
    if (stream)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (free_bind && ip->family == PH_AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &(int){1}, sizeof(int));
    else if (free_bind)
        setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &(int){1}, sizeof(int));
    int err = bind(fd, &s.sa, n) == 0 ? 0 : -errno;
    close(fd);
    return err;
}

/* 127.0.0.0/8 is ours as a whole, though only one address of it is listed. */
static bool is_listed(const struct ph_addr *ip)
{
    struct ifaddrs *list;
    bool found = ip->family == PH_AF_INET && ph_addr_is_loopback(ip);
    if (found || getifaddrs(&list) != 0)
        return found;
    for (const struct ifaddrs *i = list; i && !found; i = i->ifa_next) {
        struct ph_addr a = {0};
        if (!i->ifa_addr ||
            (i->ifa_addr->sa_family != AF_INET && i->ifa_addr->sa_family != AF_INET6))
            continue;
        ph_sockaddr_get(&a, (const union ph_sockaddr *)(const void *)i->ifa_addr, PH_PROTO_NONE);
        found = ph_addr_eq_ip(&a, ip);
    }
    freeifaddrs(list);
    return found;
}

/* A packet to an address that is routed here has that very address as its source, unless another one of its network goes before
 * it (a floating one is the second).  Whether it can be bound says nothing where net.ipv4.ip_nonlocal_bind is on. */
bool ph_tplan_is_local(const struct ph_addr *ip)
{
    struct ph_addr to = *ip, from = {0};
    union ph_sockaddr s = {0};
    if (is_listed(ip))
        return true;
    to.port = 9; /* nothing is sent */
    socklen_t n = ph_sockaddr_set(&s, &to);
    int fd = socket(s.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    if (connect(fd, &s.sa, n) == 0 && (n = sizeof s, getsockname(fd, &s.sa, &n)) == 0)
        ph_sockaddr_get(&from, &s, PH_PROTO_NONE);
    close(fd);
    return ph_addr_eq_ip(&from, ip);
}

static bool has(const struct ph_addr *v, unsigned n, const struct ph_addr *a)
{
    for (unsigned i = 0; i < n; i++)
        if (ph_addr_eq(&v[i], a))
            return true;
    return false;
}

static unsigned take(struct ph_addr *v, unsigned n, unsigned max, const struct ifaddrs *list,
                     bool loopback)
{
    for (const struct ifaddrs *i = list; i && n < max; i = i->ifa_next) {
        if (!i->ifa_addr || !(i->ifa_flags & IFF_UP))
            continue;
        struct ph_addr a = ph_sockaddr_read(i->ifa_addr, PH_PROTO_NONE);
        a.port = 0;
        if (!a.family || ph_addr_is_any(&a) || is_link_local(&a))
            continue;
        /* An IPv6 address that is still being checked for duplicates cannot be bound. */
        if (ph_addr_is_loopback(&a) == loopback && !has(v, n, &a) && ph_tplan_try(&a, false) == 0)
            v[n++] = a;
    }
    return n;
}

int ph_tplan_machine(struct ph_addr *v, unsigned max)
{
    struct ifaddrs *list;
    if (getifaddrs(&list) != 0)
        return -errno;
    unsigned n = take(v, 0, max, list, false);
    n = take(v, n, max, list, true);
    freeifaddrs(list);
    return (int)n;
}

unsigned ph_tplan_cpus(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return (unsigned)CPU_COUNT(&set);
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (unsigned)n : 1;
}
