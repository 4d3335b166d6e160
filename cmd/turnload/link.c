/* A client's way to the server. */
#include "cmd/turnload/link.h"

#include "stun/base/error.h"
#include "stun/codec/stream.h"
#include "stun/uv/sockaddr.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum {
    ROOM = 256 << 10,      /* bytes read at a time */
    RECORD = 16 << 10,     /* of TLS */
    QUEUE_MAX = 4 << 20,   /* bytes that wait to be written */
    QUEUE_FIRST = 1 << 10, /* what an idle link gets along with */
    QUEUE_KEEP = 64 << 10, /* a larger queue is freed when it is empty */
    SOCKET_BUFFER = 1 << 20
};

/* What was read last in this thread. */
static _Thread_local struct {
    uint8_t b[ROOM];
    uint32_t at, n;
} room;

static _Thread_local char why[PH_LOAD_LINK_WHY];

const char *ph_load_link_why(void)
{
    static _Thread_local char last[PH_LOAD_LINK_WHY];

    memcpy(last, why, sizeof last);
    why[0] = '\0';
    return last;
}

/* ---- opening ------------------------------------------------------------------------------------- */

static int socket_of(const struct ph_addr *server, const struct ph_addr *local, bool stream)
{
    union ph_sockaddr to = {0}, from;
    socklen_t to_n = ph_sockaddr_set(&to, server), from_n;
    const int on = 1, size = SOCKET_BUFFER;
    int fd = socket(to.sa.sa_family,
                    (stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    if (stream) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        /* Ports are shared by connections to different servers, and picked when connecting. */
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    } else {
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    }
    int err = 0;
    if (local->family == server->family) {
        from_n = ph_sockaddr_set(&from, local);
        err = bind(fd, &from.sa, from_n) < 0 ? -errno : 0;
    }
    if (!err && connect(fd, &to.sa, to_n) < 0 && errno != EINPROGRESS)
        err = -errno;
    if (err)
        close(fd);
    return err ? err : fd;
}

int ph_load_link_open(struct ph_load_link *l, const struct ph_addr *server,
                      const struct ph_addr *local, struct ph_load_tls *t)
{
    int fd = socket_of(server, local, ph_load_is_stream(server->proto));

    *l = (struct ph_load_link){.fd = -1, .proto = server->proto, .server = *server};
    if (fd < 0)
        return fd;
    if (t)
        l->ssl = ph_load_tls_session(t, fd);
    if (t && !l->ssl) {
        close(fd);
        return PH_E_NOMEM;
    }
    l->fd = fd;
    l->state = PH_LOAD_LINK_CONNECTING;
    l->want_out = true;
    return 0;
}

void ph_load_link_close(struct ph_load_link *l)
{
    if (l->state == PH_LOAD_LINK_CLOSED)
        return;
    if (l->ssl && l->state == PH_LOAD_LINK_UP)
        SSL_shutdown(l->ssl);
    ERR_clear_error();
    SSL_free(l->ssl);
    close(l->fd);
    free(l->kept);
    free(l->out);
    *l = (struct ph_load_link){.fd = -1};
}

/* ---- connecting ---------------------------------------------------------------------------------- */

/* What a call of OpenSSL has come to: 0 to be tried again, else an error. */
static int verdict(struct ph_load_link *l, int r)
{
    int err = SSL_get_error(l->ssl, r), system = errno;
    unsigned long e = ERR_peek_last_error();
    const char *reason = e ? ERR_reason_error_string(e) : NULL;

    if (err == SSL_ERROR_WANT_READ || err == SSL_ERROR_WANT_WRITE) {
        l->want_out = err == SSL_ERROR_WANT_WRITE;
        return 0;
    }
    if (reason)
        snprintf(why, sizeof why, "%s", reason);
    ERR_clear_error();
    if (err == SSL_ERROR_ZERO_RETURN)
        return PH_E_STATE;
    return err == SSL_ERROR_SYSCALL && !e && system ? -system : PH_E_AUTH;
}

/* Is the connection there? */
static int connected(struct ph_load_link *l)
{
    struct pollfd p = {.fd = l->fd, .events = POLLOUT};
    int err = 0;
    socklen_t n = sizeof err;

    if (poll(&p, 1, 0) <= 0)
        return 0;
    if (getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &err, &n) < 0 || err)
        return err ? -err : -errno;
    l->state = l->ssl ? PH_LOAD_LINK_SHAKING : PH_LOAD_LINK_UP;
    l->want_out = false;
    return 1;
}

int ph_load_link_step(struct ph_load_link *l)
{
    if (l->state == PH_LOAD_LINK_CONNECTING) {
        int r = connected(l);
        if (r <= 0)
            return r;
    }
    if (l->state == PH_LOAD_LINK_SHAKING) {
        errno = 0;
        if (l->proto == PH_DTLS)
            DTLSv1_handle_timeout(l->ssl);
        ERR_clear_error();
        int r = SSL_do_handshake(l->ssl);
        if (r != 1)
            return verdict(l, r);
        l->state = PH_LOAD_LINK_UP;
        l->want_out = false;
    }
    return l->state == PH_LOAD_LINK_UP ? 1 : PH_E_STATE;
}

ph_ns ph_load_link_wait(const struct ph_load_link *l)
{
    struct timeval left;

    if (l->state != PH_LOAD_LINK_SHAKING || l->proto != PH_DTLS ||
        !DTLSv1_get_timeout(l->ssl, &left))
        return PH_NEVER;
    return PH_SEC(left.tv_sec) + PH_US(left.tv_usec) + PH_MS(1);
}

/* ---- out ----------------------------------------------------------------------------------------- */

/* A datagram, as it is. */
static bool put_datagram(struct ph_load_link *l, const struct ph_pkt *p)
{
    uint8_t whole[PH_HEADROOM + 4096];
    const uint8_t *b = ph_buf_data(&p->b);
    uint32_t n = ph_pkt_wire_len(p);

    if (l->state != PH_LOAD_LINK_UP || n > sizeof whole)
        return false;
    if (p->head_len) {
        memcpy(whole, p->head, p->head_len);
        memcpy(whole + p->head_len, b, p->b.len);
        b = whole;
    }
    if (!l->ssl)
        return send(l->fd, b, n, MSG_NOSIGNAL) == (ssize_t)n;
    bool sent = SSL_write(l->ssl, b, (int)n) == (int)n;
    ERR_clear_error();
    return sent;
}

/* Room for n bytes more at the end of the queue. */
static bool reserve(struct ph_load_link *l, uint32_t n)
{
    if (l->out_n + n <= l->out_cap)
        return true;
    if (l->out_at) {
        memmove(l->out, l->out + l->out_at, l->out_n - l->out_at);
        l->out_n -= l->out_at;
        l->out_at = 0;
    }
    uint32_t cap = l->out_cap ? l->out_cap : QUEUE_FIRST;
    while (cap < l->out_n + n)
        cap *= 2;
    if (cap > QUEUE_MAX)
        return false;
    uint8_t *out = cap == l->out_cap ? l->out : realloc(l->out, cap);
    if (!out)
        return false;
    l->out = out;
    l->out_cap = cap;
    return true;
}

bool ph_load_link_put(struct ph_load_link *l, const struct ph_pkt *p)
{
    if (!ph_load_is_stream(l->proto))
        return put_datagram(l, p);
    if (l->state == PH_LOAD_LINK_CLOSED || !reserve(l, ph_pkt_wire_len(p)))
        return false;
    if (p->head_len)
        memcpy(l->out + l->out_n, p->head, p->head_len);
    memcpy(l->out + l->out_n + p->head_len, ph_buf_data(&p->b), p->b.len);
    l->out_n += ph_pkt_wire_len(p);
    return true;
}

/* Writes once: bytes written, 0 if nothing can be now, or an error. */
static int write_some(struct ph_load_link *l)
{
    uint32_t n = l->out_n - l->out_at;

    errno = 0;
    if (l->ssl) {
        int r = SSL_write(l->ssl, l->out + l->out_at, (int)(n < RECORD ? n : RECORD));
        return r > 0 ? r : verdict(l, r);
    }
    ssize_t r = send(l->fd, l->out + l->out_at, n, MSG_NOSIGNAL);
    if (r >= 0)
        return (int)r;
    l->want_out = errno == EAGAIN;
    return l->want_out ? 0 : -errno;
}

int ph_load_link_flush(struct ph_load_link *l)
{
    if (l->state != PH_LOAD_LINK_UP || !ph_load_is_stream(l->proto))
        return 0;
    while (l->out_at < l->out_n) {
        int n = write_some(l);
        if (n <= 0)
            return n;
        l->out_at += (uint32_t)n;
    }
    l->want_out = false;
    l->out_at = l->out_n = 0;
    if (l->out_cap > QUEUE_KEEP) {
        free(l->out);
        l->out = NULL;
        l->out_cap = 0;
    }
    return 0;
}

/* ---- in ------------------------------------------------------------------------------------------ */

/* Reads into n bytes at p: how many, 0 if there is nothing, or an error. */
static int read_some(struct ph_load_link *l, uint8_t *p, uint32_t n)
{
    bool waited = l->want_out;

    errno = 0;
    if (l->ssl) {
        int r = SSL_read(l->ssl, p, (int)n);
        if (r <= 0)
            r = verdict(l, r);
        l->want_out = waited;
        return r;
    }
    ssize_t r = recv(l->fd, p, n, 0);
    if (r > 0)
        return (int)r;
    if (r < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (l->proto == PH_UDP)
        return r == 0 || errno == ECONNREFUSED ? 0 : -errno;
    return r == 0 ? PH_E_STATE : -errno;
}

int ph_load_link_read(struct ph_load_link *l)
{
    bool stream = ph_load_is_stream(l->proto), pending;
    uint32_t n = l->kept_n;
    int r;

    if (l->bad)
        return PH_E_FORMAT;
    if (n)
        memcpy(room.b, l->kept, n);
    do {
        r = read_some(l, room.b + n, ROOM - n);
        n += r > 0 ? (uint32_t)r : 0;
        pending = l->ssl && r > 0 && SSL_has_pending(l->ssl);
    } while (stream && pending && ROOM - n >= RECORD);
    if (n == l->kept_n)
        return r;
    free(l->kept);
    l->kept = NULL;
    l->kept_n = 0;
    room.at = 0;
    room.n = n;
    return !stream || pending || r < 0 || n == ROOM ? 2 : 1; /* an error comes again */
}

/* Half a message stays with the link. */
static void keep_rest(struct ph_load_link *l)
{
    uint32_t n = room.n - room.at;

    if (n) {
        l->kept = malloc(n);
        l->bad |= !l->kept;
    }
    if (l->kept) {
        memcpy(l->kept, room.b + room.at, n);
        l->kept_n = n;
    }
    room.at = room.n = 0;
}

bool ph_load_link_next(struct ph_load_link *l, struct ph_pkt *p)
{
    uint32_t left = room.n - room.at, bare = left;
    int n = (int)left;

    if (ph_load_is_stream(l->proto)) {
        n = ph_stream_frame(room.b + room.at, left, &bare);
        l->bad |= n < 0;
        if (n <= 0 || (uint32_t)n > left) {
            keep_rest(l);
            return false;
        }
    }
    if (n == 0)
        return false;
    *p = (struct ph_pkt){.src = l->server};
    p->b = (struct ph_buf){room.b + room.at, (uint32_t)n, 0, bare};
    room.at += (uint32_t)n;
    return true;
}

bool ph_load_link_poll(struct ph_load_link *l, int timeout_ms)
{
    struct pollfd p = {.fd = l->fd, .events = POLLIN};

    if (room.at < room.n || (l->ssl && SSL_has_pending(l->ssl)))
        return true;
    ph_load_link_flush(l);
    if (l->want_out)
        p.events |= POLLOUT;
    return poll(&p, 1, timeout_ms < 0 ? 0 : timeout_ms) > 0;
}

struct ph_addr ph_load_link_local(const struct ph_load_link *l)
{
    union ph_sockaddr s = {0};
    socklen_t n = sizeof s;
    struct ph_addr a = {0};

    if (getsockname(l->fd, &s.sa, &n) == 0)
        ph_sockaddr_get(&a, &s, l->proto);
    return a;
}
