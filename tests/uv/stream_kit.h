/*
 * A worker with streams on the test's own loop, a clock that can be put forward, and clients that never block: each
 * wait lets the loop turn.
 */
#ifndef PH_TESTS_STREAM_KIT_H
#define PH_TESTS_STREAM_KIT_H

#include "stun/base/bytes.h"
#include "stun/uv/stream.h"
#include "uv/kit.h"
#include "uv/tls_kit.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>

enum { RIG_LOG = 4096, RIG_TEXT = 64 };

/* A message that came. */
struct rig_msg {
    uint32_t conn, sock, n;
    struct ph_addr src, dst;
    uint8_t b[RIG_TEXT]; /* its beginning */
};

struct rig {
    uv_loop_t loop;
    struct ph_worker *w;
    struct ph_streams *s;
    struct ph_streams *second; /* another table on the same worker, or NULL */
    struct ph_env env;
    ph_ns skew; /* added to the clock */
    struct ph_addr at;

    unsigned n_msg;
    struct rig_msg msg[RIG_LOG];
    void (*on_message)(struct rig *r, struct ph_pkt *p);

    unsigned n_ended, n_connected, n_accepted, n_writable, n_flush;
    uint32_t ended_conn, ended_sock, conn; /* conn: the last connected or accepted */
    enum ph_stream_end why;
    int connect_err;
    bool refuse;

    size_t n_bytes, take; /* raw: bytes taken; how many may be taken, SIZE_MAX: all */
    uint8_t bytes[1 << 16];
    unsigned calls;
};

static inline ph_ns rig_now(const struct rig *r)
{
    return ph_now() + r->skew;
}

static inline void rig_on_message(void *ctx, struct ph_pkt *p, ph_ns now)
{
    struct rig *r = ctx;
    struct rig_msg *m = &r->msg[r->n_msg++ % RIG_LOG];

    (void)now;
    cr_assert_eq(p->b.off, 0);
    *m = (struct rig_msg){
        .conn = p->conn, .sock = p->sock, .n = p->b.len, .src = p->src, .dst = p->dst};
    memcpy(m->b, ph_buf_data(&p->b), p->b.len < RIG_TEXT ? p->b.len : RIG_TEXT);
    if (r->on_message)
        r->on_message(r, p);
}

static inline size_t rig_on_bytes(void *ctx, uint32_t conn, const uint8_t *p, size_t n, ph_ns now)
{
    struct rig *r = ctx;

    (void)now;
    r->conn = conn;
    r->calls++;
    if (n > r->take)
        n = r->take;
    if (r->take != SIZE_MAX)
        r->take -= n;
    for (size_t i = 0; i < n; i++)
        r->bytes[(r->n_bytes + i) % sizeof r->bytes] = p[i];
    r->n_bytes += n;
    return n;
}

static inline void rig_on_writable(void *ctx, uint32_t conn, ph_ns now)
{
    struct rig *r = ctx;

    (void)now, (void)conn;
    r->n_writable++;
}

static inline void rig_on_connected(void *ctx, uint32_t conn, int err, ph_ns now)
{
    struct rig *r = ctx;

    (void)now;
    r->n_connected++;
    r->conn = conn;
    r->connect_err = err;
}

static inline bool rig_on_accepted(void *ctx, uint32_t listener, uint32_t conn,
                                   const struct ph_addr *peer, ph_ns now)
{
    struct rig *r = ctx;

    (void)now, (void)listener, (void)peer;
    r->n_accepted++;
    r->conn = conn;
    return !r->refuse;
}

static inline void rig_on_ended(void *ctx, uint32_t conn, uint32_t sock, const struct ph_addr *peer,
                                enum ph_stream_end why, ph_ns now)
{
    struct rig *r = ctx;

    (void)now, (void)peer;
    r->n_ended++;
    r->ended_conn = conn;
    r->ended_sock = sock;
    r->why = why;
}

static inline void rig_on_flush(void *ctx)
{
    struct rig *r = ctx;

    r->n_flush++;
}

static const struct ph_stream_calls rig_calls = {.message = rig_on_message,
                                                 .bytes = rig_on_bytes,
                                                 .writable = rig_on_writable,
                                                 .connected = rig_on_connected,
                                                 .accepted = rig_on_accepted,
                                                 .ended = rig_on_ended,
                                                 .flush = rig_on_flush};

/* --- the loop -------------------------------------------------------------------------------------- */

static inline void rig_on_ready(struct ph_mux *m, const struct epoll_event *ev, unsigned n)
{
    struct rig *r = m->ctx;

    for (unsigned i = 0; i < n; i++)
        ph_streams_ready(r->s, ev[i].data.u32, ev[i].events, rig_now(r));
    ph_streams_flush(r->s, rig_now(r));
}

static inline int rig_on_start(struct ph_worker *w, void *ctx)
{
    (void)w, (void)ctx;
    return 0;
}

static inline void rig_on_stop(struct ph_worker *w, void *ctx)
{
    (void)w, (void)ctx;
}

/* One turn of the loop, and what is due. */
static inline void rig_turn(struct rig *r)
{
    uv_run(&r->loop, UV_RUN_NOWAIT);
    if (ph_streams_deadline(r->s) <= rig_now(r))
        ph_streams_tick(r->s, rig_now(r));
    ph_streams_flush(r->s, rig_now(r));
}

/* Turns until cond holds; the condition is checked by whoever called. */
#define RIG_UNTIL(r, cond)                                                                         \
    do {                                                                                           \
        const ph_ns end_ = ph_now() + PH_MS(KIT_WAIT_MS);                                          \
        bool holds_;                                                                               \
        while (!(holds_ = (cond)) && ph_now() < end_)                                              \
            rig_turn(r);                                                                           \
        cr_assert(holds_, "never: " #cond);                                                        \
    } while (0)

/* Lets everything happen that can without time passing. */
static inline void rig_settle(struct rig *r)
{
    for (int i = 0; i < 20; i++) {
        rig_turn(r);
        usleep(200);
    }
}

/* Puts the clock forward and lets happen what is due. */
static inline void rig_later(struct rig *r, ph_ns by)
{
    r->skew += by;
    rig_turn(r);
}

static inline void rig_open(struct rig *r, const struct ph_streams_conf *conf)
{
    struct ph_streams_conf c = conf ? *conf : (struct ph_streams_conf){0};

    memset(r, 0, sizeof *r);
    r->take = SIZE_MAX;
    r->env = ph_env_system(NULL);
    uv_loop_init(&r->loop);
    const struct ph_worker_conf wc = {.loop = &r->loop,
                                      .start = rig_on_start,
                                      .ready = rig_on_ready,
                                      .stop = rig_on_stop,
                                      .ctx = r};
    cr_assert_eq(ph_worker_new(&r->w, &wc), 0);
    c.worker = r->w;
    c.env = &r->env;
    c.calls = rig_calls;
    c.ctx = r;
    r->s = ph_streams_new(&c);
    cr_assert_not_null(r->s);
}

static inline struct ph_addr rig_tcp(const char *text)
{
    struct ph_addr a = kit_addr(text);

    a.proto = PH_TCP;
    return a;
}

/* A listener on the loopback; its address in r->at. */
static inline void rig_listen(struct rig *r, bool plain, bool tls, bool proxy)
{
    const struct ph_stream_listener l = {
        .at = rig_tcp("127.0.0.1:0"), .sock = 7, .plain = plain, .tls = tls, .proxy = proxy};

    cr_assert_eq(ph_streams_listen(r->s, &l, &r->at), 0);
    cr_assert_neq(r->at.port, 0);
}

static inline void rig_close(struct rig *r)
{
    ph_streams_free(r->s);
    ph_streams_free(r->second);
    ph_worker_free(r->w);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&r->loop), 0);
}

static inline const struct ph_stream_stats *rig_stats(const struct rig *r)
{
    return ph_streams_stats(r->s);
}

/* --- clients --------------------------------------------------------------------------------------- */

/* A client's socket from an address (NULL: any), connected to where the rig listens.  rcvbuf 0: as it is. */
static inline int rig_dial_from(const struct rig *r, const char *from, int rcvbuf)
{
    union ph_sockaddr sa;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert_geq(fd, 0);
    if (rcvbuf)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof rcvbuf);
    if (from) {
        const struct ph_addr a = rig_tcp(from);
        const socklen_t n = ph_sockaddr_set(&sa, &a);
        cr_assert_eq(bind(fd, &sa.sa, n), 0);
    }
    const socklen_t n = ph_sockaddr_set(&sa, &r->at);
    cr_assert_eq(connect(fd, &sa.sa, n), 0, "cannot connect: %s", strerror(errno));
    fcntl(fd, F_SETFL, O_NONBLOCK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    return fd;
}

static inline int rig_dial(const struct rig *r)
{
    return rig_dial_from(r, NULL, 0);
}

static inline void rig_put(struct rig *r, int fd, const void *p, size_t n)
{
    const uint8_t *b = p;
    const ph_ns end = ph_now() + PH_MS(KIT_WAIT_MS);

    while (n && ph_now() < end) {
        const ssize_t k = send(fd, b, n, MSG_NOSIGNAL);
        if (k > 0) {
            b += k;
            n -= (size_t)k;
        } else {
            cr_assert_eq(errno, EAGAIN, "cannot send: %s", strerror(errno));
        }
        rig_turn(r);
    }
    cr_assert_eq(n, 0);
}

/* Exactly n bytes, or fewer if the server closes before. */
static inline size_t rig_get(struct rig *r, int fd, void *p, size_t n)
{
    const ph_ns end = ph_now() + PH_MS(KIT_WAIT_MS);
    size_t got = 0;

    while (got < n && ph_now() < end) {
        const ssize_t k = recv(fd, (uint8_t *)p + got, n - got, 0);
        if (k == 0)
            break;
        if (k > 0)
            got += (size_t)k;
        rig_turn(r);
    }
    return got;
}

/* Whether the server closes (with FIN, not RST) without another byte. */
static inline bool rig_closed(struct rig *r, int fd)
{
    const ph_ns end = ph_now() + PH_MS(KIT_WAIT_MS);
    uint8_t b[256];

    while (ph_now() < end) {
        const ssize_t k = recv(fd, b, sizeof b, 0);
        if (k >= 0 || errno != EAGAIN)
            return k == 0;
        rig_turn(r);
    }
    return false;
}

/* --- messages -------------------------------------------------------------------------------------- */

/* A STUN message of a type with `body` bytes behind its header (a multiple of 4), numbered.  Its length. */
static inline size_t rig_stun(uint8_t *b, uint16_t type, uint16_t body, uint32_t number)
{
    memset(b, 0, 20u + body);
    ph_put16(b, type);
    ph_put16(b + 2, body);
    ph_put32(b + 4, 0x2112A442);
    ph_put32(b + 8, number);
    return 20u + body;
}

/* ChannelData with n bytes, numbered in the first four, padded.  Its length with padding. */
static inline size_t rig_data(uint8_t *b, uint16_t n, uint32_t number)
{
    const size_t padded = (4u + n + 3) & ~3u;

    memset(b, 0, padded);
    ph_put16(b, 0x4001);
    ph_put16(b + 2, n);
    ph_put32(b + 4, number);
    return padded;
}

/* Sends a message to a connection. */
static inline bool rig_send(struct rig *r, uint32_t conn, uint8_t *b, size_t n)
{
    const struct ph_pkt p = {.b = {.base = b, .cap = (uint32_t)n, .len = (uint32_t)n},
                             .conn = conn};

    return ph_streams_send(r->s, &p);
}

/* Opens a connection with a Binding request; its number. */
static inline uint32_t rig_hello(struct rig *r, int fd)
{
    uint8_t b[20];
    const unsigned before = r->n_msg;

    rig_stun(b, 0x0001, 0, 0);
    rig_put(r, fd, b, sizeof b);
    RIG_UNTIL(r, r->n_msg > before);
    return r->msg[(r->n_msg - 1) % RIG_LOG].conn;
}

/* --- TLS clients ----------------------------------------------------------------------------------- */

/* Goes on with a handshake.  1 when it is done, 0 when it failed. */
static inline int rig_shake(struct rig *r, SSL *ssl)
{
    const ph_ns end = ph_now() + PH_MS(KIT_WAIT_MS);

    while (ph_now() < end) {
        ERR_clear_error();
        const int k = SSL_connect(ssl);
        if (k == 1)
            return 1;
        const int err = SSL_get_error(ssl, k);
        if (err != SSL_ERROR_WANT_READ && err != SSL_ERROR_WANT_WRITE)
            return 0;
        rig_turn(r);
    }
    return 0;
}

/* A TLS client on a fresh connection; NULL when the handshake failed. */
static inline SSL *rig_tls(struct rig *r, SSL_CTX *ctx, const char *sni)
{
    SSL *ssl = SSL_new(ctx);

    SSL_set_fd(ssl, rig_dial(r));
    if (sni)
        SSL_set_tlsext_host_name(ssl, sni);
    if (rig_shake(r, ssl))
        return ssl;
    close(SSL_get_fd(ssl));
    SSL_free(ssl);
    return NULL;
}

static inline void rig_tls_free(SSL *ssl)
{
    close(SSL_get_fd(ssl));
    SSL_free(ssl);
}

static inline void rig_tls_put(struct rig *r, SSL *ssl, const void *p, int n)
{
    const ph_ns end = ph_now() + PH_MS(KIT_WAIT_MS);
    int k = -1;

    while (k <= 0 && ph_now() < end) {
        k = SSL_write(ssl, p, n);
        rig_turn(r);
    }
    cr_assert_eq(k, n);
}

/* Exactly n bytes, or fewer if the server closes before. */
static inline int rig_tls_get(struct rig *r, SSL *ssl, void *p, int n)
{
    const ph_ns end = ph_now() + PH_MS(KIT_WAIT_MS);
    int got = 0;

    while (got < n && ph_now() < end) {
        ERR_clear_error();
        const int k = SSL_read(ssl, (uint8_t *)p + got, n - got);
        if (k > 0)
            got += k;
        else if (SSL_get_error(ssl, k) != SSL_ERROR_WANT_READ)
            break;
        rig_turn(r);
    }
    return got;
}

static inline uint32_t rig_tls_hello(struct rig *r, SSL *ssl)
{
    uint8_t b[20];
    const unsigned before = r->n_msg;

    rig_stun(b, 0x0001, 0, 0);
    rig_tls_put(r, ssl, b, sizeof b);
    RIG_UNTIL(r, r->n_msg > before);
    return r->msg[(r->n_msg - 1) % RIG_LOG].conn;
}

#endif
