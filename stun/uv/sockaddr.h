/*
 * Conversion between ph_addr and the system's socket addresses.
 *
 * Both are on the path of every packet, hence inline.  Sockets here are never dual-stack (IPV6_V6ONLY), so
 * IPv4-mapped addresses do not come in; one that does stays what it is.  The scope of a link-local
 * IPv6 address is not kept: ph_addr has no room for it.
 */
#ifndef PH_UV_SOCKADDR_H
#define PH_UV_SOCKADDR_H

#include "stun/base/addr.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

/* Room for either family: 28 bytes instead of sockaddr_storage's 128. */
union ph_sockaddr {
    struct sockaddr sa;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
};

/* Writes the socket address of a.  Returns its length for bind() and sendto(), 0 for PH_AF_NONE. */
static inline socklen_t ph_sockaddr_set(union ph_sockaddr *s, const struct ph_addr *a)
{
    if (a->family == PH_AF_INET) {
        s->in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(a->port)};
        memcpy(&s->in.sin_addr, a->ip, 4);
        return sizeof s->in;
    }
    if (a->family == PH_AF_INET6) {
        s->in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(a->port)};
        memcpy(&s->in6.sin6_addr, a->ip, 16);
        return sizeof s->in6;
    }
    return 0;
}

/* Reads an IPv4 or IPv6 socket address; any other family gives PH_AF_NONE and zeros. */
static inline void ph_sockaddr_get(struct ph_addr *a, const union ph_sockaddr *s, uint8_t proto)
{
    *a = (struct ph_addr){.proto = proto};
    if (s->sa.sa_family == AF_INET) {
        memcpy(a->ip, &s->in.sin_addr, 4);
        a->port = ntohs(s->in.sin_port);
        a->family = PH_AF_INET;
    } else if (s->sa.sa_family == AF_INET6) {
        memcpy(a->ip, &s->in6.sin6_addr, 16);
        a->port = ntohs(s->in6.sin6_port);
        a->family = PH_AF_INET6;
    }
}

/* The same from what libuv and getaddrinfo() hand out. */
struct ph_addr ph_sockaddr_read(const struct sockaddr *s, uint8_t proto);

#endif
