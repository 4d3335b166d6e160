/*
 * Socket addresses from libuv and the resolver, which come as sockaddr of unknown size.
 */
#include "stun/uv/sockaddr.h"

struct ph_addr ph_sockaddr_read(const struct sockaddr *s, uint8_t proto)
{
    union ph_sockaddr u;
    struct ph_addr a;

    memset(&u, 0, sizeof u);
    if (s->sa_family == AF_INET)
        memcpy(&u.in, s, sizeof u.in);
    else if (s->sa_family == AF_INET6)
        memcpy(&u.in6, s, sizeof u.in6);
    ph_sockaddr_get(&a, &u, proto);
    return a;
}
