/*
 * Watching for addresses.
 */
#include "cmd/turnd/local.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LOOK_MS = 1000, ADDRS = PH_TURND_LISTENERS + PH_TURND_RELAYS };

struct ph_tlocal {
    struct {
        struct ph_addr ip;
        bool here;
    } v[ADDRS];
    unsigned n;
    void (*come)(void *ctx, const struct ph_addr *ip);
    void *ctx;
    int fd; /* netlink, -1: none */
    uv_poll_t poll;
    uv_timer_t timer;
    bool away, ended;
};

/* ---- the addresses ---- */

static void add(struct ph_tlocal *l, const struct ph_addr *ip)
{
    if (ph_addr_is_any(ip))
        return;
    for (unsigned i = 0; i < l->n; i++)
        if (ph_addr_eq_ip(&l->v[i].ip, ip))
            return;
    l->v[l->n].ip = *ip;
    l->v[l->n].here = ph_tplan_is_local(ip);
    l->away = l->away || !l->v[l->n++].here;
}

static void look(struct ph_tlocal *l)
{
    for (unsigned i = 0; i < l->n && !l->ended; i++) {
        bool was = l->v[i].here;
        l->v[i].here = ph_tplan_is_local(&l->v[i].ip);
        l->away = l->away || !l->v[i].here;
        if (l->v[i].here && !was)
            l->come(l->ctx, &l->v[i].ip);
    }
}

static void on_timer(uv_timer_t *timer)
{
    look(timer->data);
}

/* ---- what the kernel tells ---- */

/* What it says does not matter: something has changed. */
static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct ph_tlocal *l = poll->data;
    char bytes[8192];
    ssize_t n = 0;
    (void)events;
    for (int i = 0; i < 64 && status == 0 && n >= 0; i++)
        n = recv(l->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (status < 0 || (n < 0 && errno != EAGAIN && errno != EINTR && errno != ENOBUFS))
        uv_poll_stop(poll); /* the timer goes on */
    look(l);
}

static int open_netlink(void)
{
    struct sockaddr_nl at = {.nl_family = AF_NETLINK,
                             .nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR};
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof at) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

bool ph_tlocal_was_away(struct ph_tlocal *l)
{
    bool was = l->away;
    l->away = false;
    for (unsigned i = 0; i < l->n; i++)
        l->away = l->away || !l->v[i].here;
    return was || l->away;
}

/* ---- life ---- */

struct ph_tlocal *ph_tlocal_new(uv_loop_t *loop, const struct ph_tplan *plan,
                                void (*come)(void *ctx, const struct ph_addr *ip), void *ctx)
{
    struct ph_tlocal *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    l->come = come;
    l->ctx = ctx;
    l->fd = open_netlink();
    for (unsigned i = 0; i < plan->n_listeners; i++)
        add(l, &plan->listener[i]);
    for (unsigned i = 0; i < plan->n_relays; i++)
        add(l, &plan->relay[i]);
    if (l->fd >= 0 && uv_poll_init(loop, &l->poll, l->fd) == 0) {
        l->poll.data = l;
        uv_poll_start(&l->poll, UV_READABLE, on_readable);
    } else if (l->fd >= 0) {
        close(l->fd);
        l->fd = -1;
    }
    uv_timer_init(loop, &l->timer);
    l->timer.data = l;
    uv_timer_start(&l->timer, on_timer, LOOK_MS, LOOK_MS);
    return l;
}

void ph_tlocal_stop(struct ph_tlocal *l)
{
    if (!l || l->ended)
        return;
    l->ended = true;
    uv_timer_stop(&l->timer);
    if (l->fd >= 0)
        uv_poll_stop(&l->poll);
}

void ph_tlocal_free(struct ph_tlocal *l)
{
    if (!l)
        return;
    if (l->fd >= 0)
        close(l->fd);
    free(l);
}
