/* An allocation's way to the server: a socket in the batch over UDP, a link over anything else. */
#include "cmd/turnload/worker_priv.h"
#include "stun/base/bytes.h"

#include <sys/epoll.h>

enum { SOCKET_BUFFER = 1 << 20 };

bool ph_load_way_put(struct ph_load *l, struct ph_load_conn *c, const struct ph_pkt *p)
{
    if (!ph_load_by_link(l)) {
        ph_batch_send(l->batch, &c->sock, p);
        return true;
    }
    if (!c->dirty) {
        c->dirty = true;
        l->dirty[l->n_dirty++] = ph_load_conn_index(l, c);
    }
    return ph_load_link_put(&c->link, p);
}

void ph_load_way_watch(struct ph_load *l, struct ph_load_conn *c)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.u32 = ph_load_conn_index(l, c)};
    if (c->link.state == PH_LOAD_LINK_CLOSED || c->link.want_out == c->watched_out)
        return;
    c->watched_out = c->link.want_out;
    ev.events |= c->watched_out ? EPOLLOUT : 0U;
    epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, c->link.fd, &ev);
}

void ph_load_ways_flush(struct ph_load *l)
{
    ph_batch_flush(l->batch);
    for (uint32_t i = 0; i < l->n_dirty; i++) {
        struct ph_load_conn *c = &l->conn[l->dirty[i]];
        c->dirty = false;
        ph_load_link_flush(&c->link); /* an error shows when it is read */
        ph_load_way_watch(l, c);
    }
    l->n_dirty = 0;
}

void ph_load_way_close(struct ph_load *l, struct ph_load_conn *c)
{
    ph_batch_flush(l->batch); /* what is queued points to the socket */
    ph_udp_close(&c->sock);
    ph_load_link_flush(&c->link);
    ph_load_link_close(&c->link);
}

/* The local address of a connection: one of --sources, from --bind on. */
static struct ph_addr source_of(const struct ph_load *l, const struct ph_load_conn *c)
{
    const struct ph_load_args *a = l->a;
    const uint8_t family = l->w->run->server.family;
    struct ph_addr at = {.family = family, .proto = PH_UDP};
    if (a->bind.family != family)
        return at;
    at = a->bind;
    uint8_t *low = at.ip + ph_addr_ip_len(&at) - 4;
    ph_put32(low, ph_get32(low) + (l->w->first + ph_load_conn_index(l, c)) % a->sources);
    return at;
}

int ph_load_way_open(struct ph_load *l, struct ph_load_conn *c)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.u32 = ph_load_conn_index(l, c)};
    struct ph_addr at = source_of(l, c);
    int err;
    if (!ph_load_by_link(l)) {
        struct ph_udp_opts o = {.rcvbuf = SOCKET_BUFFER, .sndbuf = SOCKET_BUFFER, .recverr = true};
        err = ph_udp_open(&c->sock, &at, &o);
    } else {
        if (l->a->bind.family != at.family)
            at.family = PH_AF_NONE;
        err = ph_load_link_open(&c->link, &l->w->run->server, &at, l->w->run->tls);
        ev.events |= EPOLLOUT;
        c->watched_out = true;
    }
    if (err < 0)
        return err;
    epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, ph_load_by_link(l) ? c->link.fd : c->sock.fd, &ev);
    return 0;
}
