/*
 * Addresses before a run: the server's, our own, and how the server sees us.
 */
#ifndef PH_CMD_TURNLOAD_NET_H
#define PH_CMD_TURNLOAD_NET_H

#include "stun/base/addr.h"
#include "stun/base/env.h"
#include "stun/uv/udp.h"

#include <stdbool.h>
#include <stdint.h>

/* Looks a host up; family PH_AF_... or PH_AF_NONE for any.  0, or a getaddrinfo() error for
 * gai_strerror(). */
int ph_load_net_resolve(const char *host, uint16_t port, uint8_t family, struct ph_addr *out);

/* The local IP (port 0) from which packets to `to` leave; PH_AF_NONE when there is no route. */
struct ph_addr ph_load_net_source(const struct ph_addr *to);

/* A local IP of a family for a peer that the server shall reach: loopback if the server is on
 * loopback.  PH_AF_NONE when there is none. */
struct ph_addr ph_load_net_peer_ip(const struct ph_addr *server, uint8_t family);

/* Asks the server by Binding how it sees a socket.  Waits up to timeout_ms.  True and *mapped if it
 * answered. */
bool ph_load_net_mapped(const struct ph_udp *s, const struct ph_addr *server,
                        const struct ph_env *env, int timeout_ms, struct ph_addr *mapped);

/* Waits until a socket has something to read, at most timeout_ms. */
bool ph_load_net_wait(int fd, int timeout_ms);

#endif
