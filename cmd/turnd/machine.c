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

int ph_tplan_try(const struct ph_addr *ip)
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
    int err = bind(fd, &s.sa, n) == 0 ? 0 : -errno;
    close(fd);
    return err;
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
        if (ph_addr_is_loopback(&a) == loopback && !has(v, n, &a) && ph_tplan_try(&a) == 0)
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
