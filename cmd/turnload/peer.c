/* The echo peer of a worker. */
#include "cmd/turnload/net.h"
#include "cmd/turnload/worker_priv.h"
#include "stun/base/bytes.h"
#include "stun/base/error.h"

#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

enum { PEER_BUFFER = 4 << 20, BINDING_WAIT_MS = 1000 };

static bool wants(const struct ph_load_args *a, uint8_t family)
{
    if (a->pairs || a->peer.family || a->idle)
        return false;
    switch (a->family) {
    case PH_TURNC_BOTH:
        return true;
    case PH_TURNC_IPV6:
        return family == PH_AF_INET6;
    default:
        return family == PH_AF_INET;
    }
}

static bool fail(struct ph_load *l, uint8_t family, const char *what)
{
    snprintf(l->w->error, sizeof l->w->error, "echo peer for IPv%c: %s",
             family == PH_AF_INET6 ? '6' : '4', what);
    return false;
}

/* Behind a NAT the peer is reached at the address that the server sees, which only a server that
 * answers Binding can tell. */
static void find_mapped(struct ph_load *l, struct ph_load_peer *p)
{
    struct ph_addr mapped;
    if (p->at.family == l->w->run->server.family && !ph_addr_is_loopback(&p->at) &&
        ph_load_net_mapped(&p->sock, &l->w->run->server, &l->w->run->env, BINDING_WAIT_MS,
                           &mapped) &&
        !ph_addr_eq_endpoint(&mapped, &p->at)) {
        p->at = mapped;
        p->behind_nat = true;
    }
}

static bool open_one(struct ph_load *l, unsigned i)
{
    uint8_t family = i ? PH_AF_INET6 : PH_AF_INET;
    struct ph_load_peer *p = &l->peer[i];
    struct ph_udp_opts o = {.rcvbuf = PEER_BUFFER, .sndbuf = PEER_BUFFER, .gro = true};
    struct ph_addr at =
        l->a->bind.family == family ? l->a->bind : ph_load_net_peer_ip(&l->w->run->server, family);
    if (at.family == PH_AF_NONE)
        return fail(l, family, "this machine has no address of that family");
    int err = ph_udp_open(&p->sock, &at, &o);
    if (err < 0)
        return fail(l, family, ph_strerror(err));
    ph_udp_local(&p->sock, &p->at);
    find_mapped(l, p);
    struct epoll_event ev = {.events = EPOLLIN, .data.u32 = PH_LOAD_PEER_SOCK | i};
    epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, p->sock.fd, &ev);
    return true;
}

bool ph_load_peers_open(struct ph_load *l)
{
    l->peer[0].sock.fd = l->peer[1].sock.fd = -1;
    for (unsigned i = 0; i < 2; i++)
        if (wants(l->a, i ? PH_AF_INET6 : PH_AF_INET) && !open_one(l, i))
            return false;
    return true;
}

void ph_load_peers_close(struct ph_load *l)
{
    ph_udp_close(&l->peer[0].sock);
    ph_udp_close(&l->peer[1].sock);
}

void ph_load_peer_readable(struct ph_load *l, struct ph_load_peer *p)
{
    struct ph_pkt pkt;
    int n;
    do {
        n = ph_batch_recv(l->batch, &p->sock, PH_BATCH_VLEN);
        while (n > 0 && ph_batch_next(l->batch, &pkt)) {
            if (!ph_load_flow_is_ours(l->w->run->id, ph_buf_data(&pkt.b), pkt.b.len))
                continue; /* never an answer to strangers */
            pkt.dst = pkt.src;
            pkt.src = (struct ph_addr){0};
            ph_batch_send(l->batch, &p->sock, &pkt);
            l->s->echoed++;
        }
    } while (n == PH_BATCH_VLEN);
}

void ph_load_peer_punch(struct ph_load *l, const struct ph_addr *relay)
{
    static _Thread_local uint8_t tag[4];
    struct ph_load_peer *p = &l->peer[relay->family == PH_AF_INET6];
    if (!p->behind_nat)
        return;
    ph_put32(tag, l->w->run->id);
    struct ph_pkt pkt = {.b = {tag, sizeof tag, 0, sizeof tag}, .dst = *relay};
    ph_batch_send(l->batch, &p->sock, &pkt);
}

struct ph_addr ph_load_peer_of_flow(const struct ph_load *l, unsigned i)
{
    if (l->a->peer.family)
        return i == 0 ? l->a->peer : (struct ph_addr){0};
    if (l->a->family == PH_TURNC_BOTH)
        return l->peer[i].at;
    return l->peer[l->a->family == PH_TURNC_IPV6].at;
}
