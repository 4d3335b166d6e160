/*
 * One connection to a Redis server: the name is looked up, its addresses are tried in turn, bytes go both ways.
 *
 * It is the small adapter that hiredis has for libuv in adapters/libuv.h, done again: that one stops watching on an
 * error without telling anybody, so that a broken connection is never noticed, and leaks when it cannot start.
 */
#include "stun/base/error.h"
#include "turn/store/redis_priv.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { READ = 16384, READS = 16, OUT_MIN = 4096 };

/* A descriptor being watched.  It is freed when its handle is closed, by when the link may watch the next. */
struct watch {
    uv_poll_t poll;
    struct ph__link *l;
    int fd;
};

struct ph__link {
    struct ph__link_conf c;
    uv_getaddrinfo_t dns;
    struct addrinfo *list, *next; /* addresses; those not tried yet */
    struct watch *w;              /* NULL: none at the moment */
    bool resolving, connected, closed;
    unsigned open; /* handles and requests that are not finished */
    int err;       /* of the last address tried */
    char *out;     /* to be sent: out[at] up to out[n] */
    size_t out_at, out_n, out_cap;
};

static void release(struct ph__link *l)
{
    if (!l->closed || l->open)
        return;
    void (*const gone)(void *) = l->c.gone;
    void *const ctx = l->c.ctx;
    uv_freeaddrinfo(l->list);
    free(l->out);
    free(l);
    gone(ctx);
}

static void on_watch_closed(uv_handle_t *h)
{
    struct watch *w = h->data;
    struct ph__link *l = w->l;

    free(w);
    l->open--;
    release(l);
}

static void unwatch(struct ph__link *l)
{
    struct watch *w = l->w;

    if (!w)
        return;
    l->w = NULL;
    uv_poll_stop(&w->poll);
    close(w->fd);
    uv_close((uv_handle_t *)&w->poll, on_watch_closed);
}

static void on_ready(uv_poll_t *h, int status, int events);

static int watch_for(struct watch *w, int events)
{
    return uv_poll_start(&w->poll, events, on_ready);
}

/* --- connecting ------------------------------------------------------------------------------------ */

/* Watches a new socket that connects to an address.  0 or -errno. */
static int try_address(struct ph__link *l, const struct sockaddr *sa, socklen_t len)
{
    struct watch *w = malloc(sizeof *w);
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
        l->c.down(l->c.ctx, l->err);
}

static int start_tcp(struct ph__link *l)
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

static int start_unix(struct ph__link *l)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    const size_t n = strnlen(l->c.to->path, sizeof sa.sun_path);

    if (n == sizeof sa.sun_path)
        return -ENAMETOOLONG;
    memcpy(sa.sun_path, l->c.to->path, n);
    return try_address(l, (struct sockaddr *)&sa, sizeof sa);
}

int ph__link_new(struct ph__link **out, const struct ph__link_conf *c)
{
    struct ph__link *l = calloc(1, sizeof *l);

    if (!l)
        return PH_E_NOMEM;
    l->c = *c;
    const int err = c->to->path[0] ? start_unix(l) : start_tcp(l);
    if (err && !l->open) {
        free(l);
        return err;
    }
    *out = l;
    return 0;
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
        l->c.up(l->c.ctx);
        return;
    }
    unwatch(l);
    l->err = -err;
    if (!try_next(l))
        l->c.down(l->c.ctx, l->err);
}

/* --- bytes ----------------------------------------------------------------------------------------- */

static bool would_block(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

/* Reads what is there.  False: the connection is over, and down has been told, or it was closed meanwhile. */
static bool receive(struct ph__link *l)
{
    char buf[READ];

    for (unsigned i = 0; i < READS; i++) {
        const ssize_t n = recv(l->w->fd, buf, sizeof buf, 0);
        if (n < 0 && would_block())
            return true;
        if (n <= 0) {
            l->c.down(l->c.ctx, n ? -errno : 0);
            return false;
        }
        l->c.data(l->c.ctx, buf, (size_t)n);
        if (l->closed)
            return false;
    }
    return true;
}

static void transmit(struct ph__link *l)
{
    while (l->out_at < l->out_n) {
        const ssize_t n = send(l->w->fd, l->out + l->out_at, l->out_n - l->out_at, MSG_NOSIGNAL);
        if (n < 0 && would_block())
            return;
        if (n < 0) {
            l->c.down(l->c.ctx, -errno);
            return;
        }
        l->out_at += (size_t)n;
    }
    l->out_at = l->out_n = 0;
    watch_for(l->w, UV_READABLE);
}

static void on_ready(uv_poll_t *h, int status, int events)
{
    struct watch *w = h->data;
    struct ph__link *l = w->l;

    if (l->w != w)
        return;
    if (!l->connected) {
        settle(l);
        return;
    }
    /* libuv tells of an error by a status without saying which; reading does. */
    if ((status || (events & UV_READABLE)) && !receive(l))
        return;
    if (status)
        l->c.down(l->c.ctx, -EIO);
    else if (events & UV_WRITABLE)
        transmit(l);
}

void ph__link_poll(struct ph__link *l)
{
    if (l->w && l->connected)
        receive(l);
}

/* Room for n more bytes. */
static int grow(struct ph__link *l, size_t n)
{
    if (l->out_at) {
        memmove(l->out, l->out + l->out_at, l->out_n - l->out_at);
        l->out_n -= l->out_at;
        l->out_at = 0;
    }
    if (l->out_n + n > PH__REDIS_OUT_MAX)
        return PH_E_LIMIT;
    size_t cap = l->out_cap ? l->out_cap : OUT_MIN;
    while (cap < l->out_n + n)
        cap *= 2;
    if (cap == l->out_cap)
        return 0;
    char *out = realloc(l->out, cap);
    if (!out)
        return PH_E_NOMEM;
    l->out = out;
    l->out_cap = cap;
    return 0;
}

int ph__link_send(struct ph__link *l, const void *bytes, size_t n)
{
    if (!l->w || !l->connected)
        return PH_E_STATE;
    const int err = n > l->out_cap - l->out_n ? grow(l, n) : 0;
    if (err)
        return err;
    memcpy(l->out + l->out_n, bytes, n);
    l->out_n += n;
    watch_for(l->w, UV_READABLE | UV_WRITABLE);
    return 0;
}

void ph__link_close(struct ph__link *l)
{
    l->closed = true;
    unwatch(l);
    if (l->resolving)
        uv_cancel(
            (uv_req_t *)&l->dns); /* of use while it waits for a thread; we wait for it anyway */
    if (l->out)
        explicit_bzero(l->out, l->out_cap); /* it may have held a password */
    release(l);
}
