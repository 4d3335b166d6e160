/*
 * One connection to a Redis server: the name is looked up, its addresses are tried in turn, TLS is agreed upon if it is
 * wanted, bytes go both ways.
 *
 * What is given to be sent in a turn of the loop leaves with one write in the next.  That is the work of an idle
 * handle, not of waiting until the socket is writable, which it nearly always is; and a loop that waits by itself
 * (ph_mux_run) knows by it that there is something to do.
 *
 * It is the small adapter that hiredis has for libuv in adapters/libuv.h, done again: that one stops watching on an
 * error without telling anybody, so that a broken connection is never noticed, and leaks when it cannot start.
 */
#include "turn/store/redis_link.h"
#include "stun/base/error.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void release(struct ph__link *l)
{
    if (!l->closed || l->open)
        return;
    void (*const gone)(void *) = l->c.gone;
    void *const ctx = l->c.ctx;
    uv_freeaddrinfo(l->list);
    ph__rtls_free(l->tls);
    SSL_CTX_free(l->c.tls);
    free(l->out);
    free(l);
    gone(ctx);
}

static void on_watch_closed(uv_handle_t *h)
{
    struct ph__watch *w = h->data;
    struct ph__link *l = w->l;

    free(w);
    l->open--;
    release(l);
}

static void unwatch(struct ph__link *l)
{
    struct ph__watch *w = l->w;

    if (!w)
        return;
    l->w = NULL;
    uv_poll_stop(&w->poll);
    close(w->fd);
    uv_close((uv_handle_t *)&w->poll, on_watch_closed);
}

static void on_ready(uv_poll_t *h, int status, int events);

static int watch_for(struct ph__watch *w, int events)
{
    return uv_poll_start(&w->poll, events, on_ready);
}

int ph__link_watch(struct ph__link *l, int events)
{
    return watch_for(l->w, events);
}

/* --- trouble --------------------------------------------------------------------------------------- */

void ph__link_end(struct ph__link *l, const char *why, bool tls)
{
    if (l->over || l->closed)
        return;
    l->over = true;
    uv_idle_stop(&l->soon);
    l->c.down(l->c.ctx, why, tls);
}

void ph__link_fail(struct ph__link *l, int err)
{
    ph__link_end(l,
                 err == 0                      ? "closed by the server"
                 : err <= -1000 && err > -2000 ? ph_strerror(err)
                                               : uv_strerror(err),
                 false);
}

static void on_soon(uv_idle_t *h)
{
    struct ph__link *l = h->data;

    uv_idle_stop(h);
    if (!l->w)
        ph__link_fail(l, l->err);
    else if (!l->blocked)
        ph__wire_transmit(l);
}

void ph__link_soon(struct ph__link *l)
{
    uv_idle_start(&l->soon, on_soon);
}

/* --- connecting ------------------------------------------------------------------------------------ */

/* Watches a new socket that connects to an address.  0 or -errno. */
static int try_address(struct ph__link *l, const struct sockaddr *sa, socklen_t len)
{
    struct ph__watch *w = malloc(sizeof *w);
    const int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int err = !w ? PH_E_NOMEM : fd < 0 ? -errno : 0;

    if (!err && sa->sa_family != AF_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (!err && connect(fd, sa, len) != 0 && errno != EINPROGRESS)
        err = -errno;
    if (!err)
        err = uv_poll_init(l->c.loop, &w->poll, fd);
    if (err) {
        if (fd >= 0)
            close(fd);
        free(w);
        return err;
    }
    w->poll.data = w;
    w->l = l;
    w->fd = fd;
    l->w = w;
    l->open++;
    err = watch_for(w, UV_WRITABLE);
    if (err)
        unwatch(l);
    return err;
}

/* The next address that a connection can at least be begun to; false: there is none, and l->err says why. */
static bool try_next(struct ph__link *l)
{
    while (l->next) {
        const struct addrinfo *a = l->next;
        l->next = a->ai_next;
        l->err = try_address(l, a->ai_addr, a->ai_addrlen);
        if (!l->err)
            return true;
    }
    return false;
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *list)
{
    struct ph__link *l = req->data;

    l->open--;
    l->resolving = false;
    l->list = l->next = list;
    if (l->closed) {
        release(l);
        return;
    }
    l->err = status ? status : -ENOENT;
    if (status || !try_next(l))
        ph__link_fail(l, l->err);
}

static int look_up(struct ph__link *l)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    char port[8];

    snprintf(port, sizeof port, "%u", (unsigned)l->c.to->port);
    l->dns.data = l;
    const int err = uv_getaddrinfo(l->c.loop, &l->dns, on_resolved, l->c.to->host, port, &hints);
    if (!err) {
        l->open++;
        l->resolving = true;
    }
    return err;
}

/* An address needs no thread, of which there may be none left for the time that other look-ups hang. */
static int start_tcp(struct ph__link *l)
{
    const uint16_t port = htons(l->c.to->port);
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = port};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = port};

    if (inet_pton(AF_INET, l->c.to->host, &v4.sin_addr) == 1)
        return try_address(l, (struct sockaddr *)&v4, sizeof v4);
    if (inet_pton(AF_INET6, l->c.to->host, &v6.sin6_addr) == 1)
        return try_address(l, (struct sockaddr *)&v6, sizeof v6);
    return look_up(l);
}

static int start_unix(struct ph__link *l)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    const size_t n = strnlen(l->c.to->path, sizeof sa.sun_path);

    if (n == sizeof sa.sun_path)
        return -ENAMETOOLONG;
    memcpy(sa.sun_path, l->c.to->path, n);
    return try_address(l, (struct sockaddr *)&sa, sizeof sa);
}

struct ph__link *ph__link_new(const struct ph__link_conf *c)
{
    struct ph__link *l = calloc(1, sizeof *l);

    if (!l)
        return NULL;
    l->c = *c;
    if (c->tls)
        SSL_CTX_up_ref(c->tls);
    uv_idle_init(c->loop, &l->soon);
    l->soon.data = l;
    l->open = 1;
    l->err = c->to->path[0] ? start_unix(l) : start_tcp(l);
    if (l->err)
        ph__link_soon(l);
    return l;
}

/* The socket is connected, or never will be. */
static void settle(struct ph__link *l)
{
    int err = 0;
    socklen_t len = sizeof err;

    if (getsockopt(l->w->fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0)
        err = errno;
    if (err == EINPROGRESS)
        return;
    if (!err) {
        err = -watch_for(l->w, UV_READABLE);
        l->connected = err == 0;
    }
    if (!err) {
        ph__wire_begin(l);
        return;
    }
    unwatch(l);
    l->err = -err;
    if (!try_next(l))
        ph__link_fail(l, l->err);
}

static void on_ready(uv_poll_t *h, int status, int events)
{
    struct ph__watch *w = h->data;
    struct ph__link *l = w->l;

    if (l->w != w || l->over)
        return;
    if (!l->connected) {
        settle(l);
        return;
    }
    /* libuv tells of an error by a status without saying which; reading does. */
    if ((status || (events & UV_READABLE)) && !ph__wire_receive(l))
        return;
    if (status)
        ph__link_fail(l, -EIO);
    else if (events & UV_WRITABLE)
        ph__wire_transmit(l);
}

void ph__link_poll(struct ph__link *l)
{
    if (l->w && l->connected && !l->over)
        ph__wire_receive(l);
}

bool ph__link_shaking(const struct ph__link *l)
{
    return l->tls && !l->up;
}

static void on_soon_closed(uv_handle_t *h)
{
    struct ph__link *l = h->data;

    l->open--;
    release(l);
}

void ph__link_close(struct ph__link *l)
{
    l->closed = true;
    uv_close((uv_handle_t *)&l->soon, on_soon_closed);
    unwatch(l);
    if (l->resolving)
        uv_cancel((uv_req_t *)&l->dns); /* of use while it waits for a thread; we wait anyway */
    if (l->out)
        explicit_bzero(l->out, l->out_cap); /* it may have held a password */
}
