/* Addresses before a run. */
#include "cmd/turnload/net.h"

#include "stun/client.h"
#include "stun/uv/loop.h"
#include "stun/uv/sockaddr.h"

#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

int ph_load_net_resolve(const char *host, uint16_t port, uint8_t family, struct ph_addr *out)
{
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICSERV}, *list;
    char service[8];
    hints.ai_family = family == PH_AF_INET ? AF_INET : family == PH_AF_INET6 ? AF_INET6 : AF_UNSPEC;
    snprintf(service, sizeof service, "%u", port);
    int err = getaddrinfo(host, service, &hints, &list);
    if (err)
        return err;
    *out = ph_sockaddr_read(list->ai_addr, PH_UDP);
    freeaddrinfo(list);
    return out->family == PH_AF_NONE ? EAI_FAMILY : 0;
}

struct ph_addr ph_load_net_source(const struct ph_addr *to)
{
    struct ph_addr a = {0};
    union ph_sockaddr s = {0};
    socklen_t n = ph_sockaddr_set(&s, to);
    int fd = socket(s.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return a;
    if (connect(fd, &s.sa, n) == 0) {
        n = sizeof s;
        if (getsockname(fd, &s.sa, &n) == 0)
            ph_sockaddr_get(&a, &s, PH_UDP);
        a.port = 0;
    }
    close(fd);
    return a;
}

struct ph_addr ph_load_net_peer_ip(const struct ph_addr *server, uint8_t family)
{
    /* To these nothing is sent: only the route is looked up. */
    static const uint8_t far4[4] = {192, 0, 2, 1};
    static const uint8_t far6[16] = {0x20, 0x01, 0x0D, 0xB8, [15] = 1};
    static const uint8_t loop4[4] = {127, 0, 0, 1}, loop6[16] = {[15] = 1};
    struct ph_addr to = *server;
    if (ph_addr_is_loopback(server))
        to = family == PH_AF_INET ? ph_addr_v4(loop4, 9, PH_UDP) : ph_addr_v6(loop6, 9, PH_UDP);
    else if (server->family != family)
        to = family == PH_AF_INET ? ph_addr_v4(far4, 9, PH_UDP) : ph_addr_v6(far6, 9, PH_UDP);
    return ph_load_net_source(&to);
}

bool ph_load_net_wait(int fd, int timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, timeout_ms < 0 ? 0 : timeout_ms) > 0;
}

static void send_due(struct ph_stunc *c, const struct ph_udp *s)
{
    uint8_t buf[512];
    struct ph_pkt p = {.b = {buf, sizeof buf, 0, 0}};
    while (ph_stunc_output(c, &p, ph_now())) {
        union ph_sockaddr to;
        socklen_t n = ph_sockaddr_set(&to, &p.dst);
        sendto(s->fd, ph_buf_data(&p.b), p.b.len, 0, &to.sa, n);
    }
}

bool ph_load_net_mapped(const struct ph_udp *s, const struct ph_addr *server,
                        const struct ph_env *env, int timeout_ms, struct ph_addr *mapped)
{
    struct ph_stunc c;
    struct ph_stunc_ev ev;
    struct ph_stunc_ask ask = {.server = *server, .txn = {.rto = PH_MS(200)}};
    ph_ns end = ph_now() + PH_MS(timeout_ms);
    ph_stunc_init(&c, env);
    ph_stunc_start(&c, &ask, ph_now());
    for (;;) {
        uint8_t buf[1500];
        union ph_sockaddr from;
        socklen_t from_n = sizeof from;
        send_due(&c, s);
        ph_ns now = ph_now();
        if (now >= end)
            return false;
        ph_ns until = ph_min_ns(end, ph_stunc_deadline(&c));
        ph_load_net_wait(s->fd, (int)((until - now) / PH_MS(1)) + 1);
        ssize_t n = recvfrom(s->fd, buf, sizeof buf, MSG_DONTWAIT, &from.sa, &from_n);
        if (n > 0) {
            struct ph_pkt p = {.b = {buf, sizeof buf, 0, (uint32_t)n}};
            ph_sockaddr_get(&p.src, &from, PH_UDP);
            ph_stunc_input(&c, &p, ph_now());
        }
        ph_stunc_tick(&c, ph_now());
        if (ph_stunc_event(&c, &ev)) {
            *mapped = ev.mapped;
            mapped->proto = PH_UDP;
            return ev.result == PH_STUNC_MAPPED;
        }
    }
}
