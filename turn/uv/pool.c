/*
 * The sockets of the port pool (turn/pool.h): bound as the worker starts, all of them or it does not, and kept to the end.
 *
 * Those of the process before stay in its list until all are open: if they cannot be, that process goes on with them.
 * A server that is held (until its allocations are restored) leaves alone what waits in them.
 */
#include "turn/uv/priv.h"

/* Where the socket was inherited from, NULL: it was not. */
static struct ph_turn_uv_socket *origin(const struct ph__turn_worker *w, const struct ph_addr *at,
                                        const struct ph_udp *s)
{
    struct ph_turn_uv_socket *before = ph__inherit_find(&w->owner->inherit, at, true, 0);
    return before && s && before->fd == s->fd ? before : NULL;
}

/* Opens one; if it is inherited it stays in the list. */
static int open_one(struct ph__turn_worker *w, uint32_t sock, const struct ph_addr *at)
{
    struct ph_turn_uv_socket *before = ph__inherit_find(&w->owner->inherit, at, true, 0);
    const int fd = before ? before->fd : -1;
    int err = ph__turn_relay_open(w, sock, at);

    if (!err && w->owner->held) /* what comes before the allocations are restored waits */
        err = ph_worker_watch_for(w->w, ph_relays_find(&w->relays, sock)->fd, sock, 0);
    if (before)
        before->fd = fd;
    return err;
}

/* Gives the inherited ones back. */
static void give_back(struct ph__turn_worker *w)
{
    struct ph_addr at;
    uint32_t sock;

    for (uint32_t i = 0; ph_turnd_pool(w->core, &i, &sock, &at);) {
        struct ph_udp *s = ph_relays_find(&w->relays, sock);
        if (!origin(w, &at, s))
            continue;
        ph_worker_unwatch(w->w, s->fd);
        s->fd = -1;
    }
}

void ph__turn_pool_go(struct ph__turn_worker *w)
{
    struct ph_addr at;
    uint32_t sock;

    for (uint32_t i = 0; ph_turnd_pool(w->core, &i, &sock, &at);)
        ph_worker_watch_for(w->w, ph_relays_find(&w->relays, sock)->fd, sock, EPOLLIN);
}

int ph__turn_pool_open(struct ph__turn_worker *w)
{
    struct ph_addr at;
    uint32_t sock;
    int err = 0;

    for (uint32_t i = 0; !err && ph_turnd_pool(w->core, &i, &sock, &at);) {
        err = open_one(w, sock, &at);
        if (err)
            w->owner->failed = at;
    }
    if (err) {
        give_back(w);
        return err;
    }
    for (uint32_t i = 0; ph_turnd_pool(w->core, &i, &sock, &at);) {
        struct ph_turn_uv_socket *before = origin(w, &at, ph_relays_find(&w->relays, sock));
        if (before)
            before->fd = -1; /* ours now */
    }
    return 0;
}
