/*
 * A TURN server on loopback and clients of it over any transport, for the tests of turn/uv.
 *
 * The server runs on threads of its own, so clients block, with a limit.  A client signs its requests when it has a
 * password, and asks again by itself when it is told a nonce.
 */
#ifndef PH_TESTS_TURN_KIT_H
#define PH_TESTS_TURN_KIT_H

#include "stun/base/bytes.h"
#include "stun/base/error.h"
#include "stun/codec/integrity.h"
#include "stun/codec/msg.h"
#include "stun/codec/msgw.h"
#include "stun/codec/stream.h"
#include "stun/uv/env.h"
#include "turn/uv/server.h"
#include "uv/kit.h"
#include "uv/tls_kit.h"

#include <netinet/tcp.h>
#include <openssl/err.h>
#include <signal.h>
#include <stdatomic.h>

/* --- the server ------------------------------------------------------------------------------------ */

enum { KIT_UDP, KIT_TCP, KIT_TLS_ONLY, KIT_LISTENERS };

struct turn_kit {
    struct ph_turn_uv *server;
    struct ph_turn_uv_conf conf;
    struct ph_acl *acl;
    struct ph_auth *auth;
    struct ph_stund_conf stund;
    struct ph_tls *tls;
    char dir[KIT_PATH];
    struct ph_addr at[KIT_LISTENERS];
    struct ph_udp peer;
    struct ph_addr peer_at;
    atomic_int ups, downs;
    atomic_int reason; /* of the last end */
};

static inline void turn_kit_event(void *ctx, unsigned worker, const struct ph_turnd_ev *ev)
{
    struct turn_kit *k = ctx;

    (void)worker;
    if (ev->type == PH_TURND_ALLOC_DOWN)
        k->reason = (int)ev->reason;
    *(ev->type == PH_TURND_ALLOC_UP ? &k->ups : &k->downs) += 1;
}

/* UDP with DTLS, TCP with TLS, and TLS alone, without users; conf may be changed before turn_kit_open. */
static inline void turn_kit_init(struct turn_kit *k)
{
    const struct ph_env e = ph_env_system(NULL);

    signal(SIGPIPE, SIG_IGN);
    memset(k, 0, sizeof *k);
    kit_tmpdir(k->dir);
    k->tls = kit_tls(k->dir);
    k->acl = ph_acl_new();
    ph_acl_allow_loopback(k->acl);
    k->conf = (struct ph_turn_uv_conf){
        .workers = 1, .stun = &k->stund, .tls = k->tls, .on_event = turn_kit_event, .ctx = k};
    k->conf.core.n_listeners = KIT_LISTENERS;
    k->conf.core.n_relays = 1;
    for (unsigned i = 0; i < KIT_LISTENERS; i++)
        k->conf.core.listener[i].at = kit_addr("127.0.0.1:0");
    k->conf.core.listener[KIT_TCP].at.proto = PH_TCP;
    k->conf.core.listener[KIT_TLS_ONLY].at.proto = PH_TLS;
    k->conf.accept[KIT_UDP] = k->conf.accept[KIT_TCP] = PH_ACCEPT_PLAIN | PH_ACCEPT_TLS;
    k->conf.core.relay[0].at = kit_addr("127.0.0.1");
    k->conf.core.relay[0].ports = ph_ports_new(41000, 49999);
    k->conf.core.live.acl = k->acl;
    k->conf.core.mobility = true;
    e.rand(e.ctx, k->conf.core.nonce.key, sizeof k->conf.core.nonce.key);
    e.rand(e.ctx, k->conf.core.ticket_key, sizeof k->conf.core.ticket_key);
    k->peer = kit_open("127.0.0.3:0", NULL);
    k->peer_at = kit_local(&k->peer);
}

/* From then on clients must sign.  The realm is "example.org"; nobody is known yet. */
static inline void turn_kit_realm(struct turn_kit *k)
{
    const struct ph_env e = ph_env_system(NULL);

    k->auth = ph_auth_new("example.org", &e);
    k->conf.core.live.auth = k->auth;
}

static inline void turn_kit_open(struct turn_kit *k)
{
    struct ph_addr failed = {0};
    char text[PH_ADDR_TEXT];
    const int err = ph_turn_uv_new(&k->server, &k->conf, &failed);

    cr_assert_eq(err, 0, "%s: %s", ph_addr_text(&failed, text), ph_strerror(err));
    for (unsigned i = 0; i < KIT_LISTENERS; i++)
        cr_assert_eq(ph_turn_uv_local(k->server, i, &k->at[i]), 0);
}

static inline void turn_kit_fini(struct turn_kit *k)
{
    ph_turn_uv_free(k->server);
    ph_ports_free(k->conf.core.relay[0].ports);
    ph_acl_free(k->acl);
    ph_auth_free(k->auth);
    ph_tls_unref(k->tls);
    ph_udp_close(&k->peer);
    kit_rmdir(k->dir);
}

static inline struct ph_turn_uv_stats turn_kit_stats(struct turn_kit *k, uint32_t worker)
{
    struct ph_turn_uv_stats st;

    ph_turn_uv_stats(k->server, worker, &st);
    return st;
}

static inline struct ph_turn_uv_stats turn_kit_sum(struct turn_kit *k)
{
    return turn_kit_stats(k, UINT32_MAX);
}

/* An address of loopback whose ports no other test is using. */
static inline struct ph_addr turn_kit_alone(void)
{
    const unsigned pid = (unsigned)getpid();
    char text[PH_ADDR_TEXT];

    snprintf(text, sizeof text, "127.%u.%u.%u", 1 + (pid >> 16 & 127), pid >> 8 & 255, pid & 255);
    return kit_addr(text);
}

/* Waits until cond holds; fails when it does not in five seconds. */
#define KIT_UNTIL(cond)                                                                            \
    do {                                                                                           \
        for (int ms_ = 0; ms_ < KIT_WAIT_MS && !(cond); ms_++)                                     \
            usleep(1000);                                                                          \
        cr_assert(cond, "never: " #cond);                                                          \
    } while (0)

/* --- clients --------------------------------------------------------------------------------------- */

enum { CLIENT_ROOM = 1 << 17 };

struct client {
    uint8_t proto; /* PH_UDP, PH_TCP, PH_TLS, PH_DTLS */
    int fd;
    SSL_CTX *ctx;
    SSL *ssl;
    const char *user, *pass; /* NULL: unsigned */
    char realm[128], nonce[256];
    struct ph_msgw w; /* the request being written */
    uint8_t req[2048];
    int req_n;
    uint8_t *in; /* what was read: a message, and on streams the beginning of the next */
    size_t n, taken;
    uint8_t ticket[64]; /* the last one */
    size_t ticket_n;
};

static inline bool client_is_stream(const struct client *c)
{
    return c->proto == PH_TCP || c->proto == PH_TLS;
}

/* A socket from an address of loopback, connected. */
static inline int client_socket(uint8_t proto, const char *from, const struct ph_addr *to)
{
    const bool stream = proto == PH_TCP || proto == PH_TLS;
    const struct ph_addr a = kit_addr(from);
    const struct timeval limit = {KIT_WAIT_MS / 1000, 0};
    union ph_sockaddr sa;
    const int fd = socket(AF_INET, (stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0);

    cr_assert_geq(fd, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (stream)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    cr_assert_eq(bind(fd, &sa.sa, ph_sockaddr_set(&sa, &a)), 0);
    cr_assert_eq(connect(fd, &sa.sa, ph_sockaddr_set(&sa, to)), 0, "%s", strerror(errno));
    return fd;
}

/* Connects from 127.0.0.2 (or `from`), with the handshake. */
static inline void client_open_from(struct client *c, struct turn_kit *k, uint8_t proto,
                                    const char *from)
{
    const bool dgram = proto == PH_UDP || proto == PH_DTLS;

    memset(c, 0, sizeof *c);
    c->proto = proto;
    c->in = malloc(CLIENT_ROOM);
    c->fd = client_socket(proto, from, &k->at[dgram ? KIT_UDP : KIT_TCP]);
    if (proto != PH_TLS && proto != PH_DTLS)
        return;
    c->ctx = kit_client(proto == PH_DTLS, NULL);
    c->ssl = SSL_new(c->ctx);
    if (proto == PH_TLS) {
        SSL_set_fd(c->ssl, c->fd);
    } else {
        BIO *b = BIO_new_dgram(c->fd, BIO_NOCLOSE);
        union ph_sockaddr sa;
        const struct timeval limit = {KIT_WAIT_MS / 1000, 0};
        ph_sockaddr_set(&sa, &k->at[KIT_UDP]);
        BIO_ctrl(b, BIO_CTRL_DGRAM_SET_CONNECTED, 0, &sa);
        BIO_ctrl(b, BIO_CTRL_DGRAM_SET_RECV_TIMEOUT, 0, (void *)(uintptr_t)&limit);
        SSL_set_bio(c->ssl, b, b);
    }
    cr_assert_eq(SSL_connect(c->ssl), 1, "no handshake");
}

static inline void client_open(struct client *c, struct turn_kit *k, uint8_t proto)
{
    client_open_from(c, k, proto, "127.0.0.2:0");
}

static inline void client_close(struct client *c)
{
    if (c->ssl && c->fd >= 0)
        SSL_shutdown(c->ssl);
    SSL_free(c->ssl);
    SSL_CTX_free(c->ctx);
    if (c->fd >= 0)
        close(c->fd);
    free(c->in);
    *c = (struct client){.fd = -1};
}

static inline void client_put(struct client *c, const void *p, size_t n)
{
    const uint8_t *b = p;

    while (n) {
        const ssize_t k = c->ssl ? SSL_write(c->ssl, b, (int)n) : send(c->fd, b, n, MSG_NOSIGNAL);
        cr_assert_gt(k, 0, "cannot send: %s", strerror(errno));
        b += k;
        n -= (size_t)k;
    }
}

static inline ssize_t client_read(struct client *c, void *p, size_t n)
{
    return c->ssl ? SSL_read(c->ssl, p, (int)n) : recv(c->fd, p, n, 0);
}

/* The next message (without padding): its length, or 0 when none comes in five seconds or the server has closed. */
static inline size_t client_get(struct client *c, const uint8_t **p)
{
    uint32_t bare = 0;

    memmove(c->in, c->in + c->taken, c->n - c->taken);
    c->n -= c->taken;
    c->taken = 0;
    for (;;) {
        const int len = client_is_stream(c) ? ph_stream_frame(c->in, c->n, &bare) : (int)c->n;
        cr_assert_geq(len, 0, "not a message");
        if (len > 0 && (size_t)len <= c->n) {
            c->taken = (size_t)len;
            *p = c->in;
            return client_is_stream(c) ? bare : c->n;
        }
        const ssize_t k = client_read(c, c->in + c->n, CLIENT_ROOM - c->n);
        if (k <= 0)
            return 0;
        c->n += (size_t)k;
    }
}

/* Bytes behind the last message, of a data connection. */
static inline ssize_t client_bytes(struct client *c, void *p, size_t n)
{
    const size_t left = c->n - c->taken, k = left < n ? left : n;

    if (!k)
        return client_read(c, p, n);
    memcpy(p, c->in + c->taken, k);
    c->taken += k;
    return (ssize_t)k;
}

/* Nothing comes for a moment. */
static inline bool client_is_quiet(struct client *c)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};

    return c->n == c->taken && !(c->ssl && SSL_pending(c->ssl)) && poll(&p, 1, KIT_QUIET_MS) == 0;
}

/* The server has closed the connection. */
static inline bool client_is_closed(struct client *c)
{
    uint8_t b[256];

    return client_read(c, b, sizeof b) <= 0 && errno != EAGAIN;
}

/* --- requests -------------------------------------------------------------------------------------- */

static inline void client_begin(struct client *c, uint16_t method, enum ph_class cls)
{
    static atomic_uint number;
    uint8_t txid[PH_TXID_LEN] = {0};

    ph_put32(txid, ++number);
    ph_msgw_begin(&c->w, c->req, sizeof c->req, method, cls, txid);
}

/* Signs with what is known and ends the message. */
static inline void client_end(struct client *c)
{
    struct ph_key key;

    if (c->user && *c->nonce) {
        ph_msgw_bytes(&c->w, PH_ATTR_USERNAME, ph_str(c->user));
        ph_msgw_bytes(&c->w, PH_ATTR_REALM, ph_str(c->realm));
        ph_msgw_bytes(&c->w, PH_ATTR_NONCE, ph_str(c->nonce));
        ph_key_long_term(&key, PH_ALG_MD5, ph_str(c->user), ph_str(c->realm), ph_str(c->pass));
        ph_msgw_integrity(&c->w, ph_key_slice(&key));
    }
    c->req_n = ph_msgw_end(&c->w);
    cr_assert_gt(c->req_n, 0);
}

static inline void client_learn(char *to, size_t room, const struct ph_msg *m,
                                enum ph_attr_index ix)
{
    struct ph_slice s;

    if (ph_msg_bytes(m, ix, &s) == 0 && s.n < room) {
        memcpy(to, s.p, s.n);
        to[s.n] = 0;
    }
}

/* The next message, which must be STUN. */
static inline struct ph_msg client_hear(struct client *c)
{
    const uint8_t *p = NULL;
    struct ph_slice s;
    struct ph_msg m;
    const size_t n = client_get(c, &p);

    cr_assert_gt(n, 0, "no answer");
    cr_assert_eq(ph_msg_parse(&m, p, n), 0, "not STUN");
    client_learn(c->realm, sizeof c->realm, &m, PH_IX_REALM);
    client_learn(c->nonce, sizeof c->nonce, &m, PH_IX_NONCE);
    if (ph_msg_bytes(&m, PH_IX_MOBILITY_TICKET, &s) == 0 && s.n <= sizeof c->ticket) {
        memcpy(c->ticket, s.p, s.n);
        c->ticket_n = s.n;
    }
    return m;
}

static inline uint16_t client_code(const struct ph_msg *m)
{
    uint16_t code = 0;

    return m->cls == PH_ERROR && ph_msg_error(m, &code, NULL) == 0 ? code : 0;
}

/* Sends what was written and takes the answer; asked for credentials, `again` is called to write it once more. */
static inline struct ph_msg client_ask(struct client *c, void (*again)(struct client *c, void *arg),
                                       void *arg)
{
    for (int i = 0;; i++) {
        again(c, arg);
        client_end(c);
        client_put(c, c->req, (size_t)c->req_n);
        const struct ph_msg m = client_hear(c);
        cr_assert_eq(memcmp(ph_msg_txid(&m), c->req + 8, PH_TXID_LEN), 0);
        const uint16_t code = client_code(&m);
        if (!c->user || i == 2 || (code != 401 && code != 438))
            return m;
    }
}

struct allocate {
    uint8_t transport;
    bool mobile;
};

static inline void write_allocate(struct client *c, void *arg)
{
    const struct allocate *a = arg;

    client_begin(c, PH_ALLOCATE, PH_REQUEST);
    ph_msgw_uint(&c->w, PH_ATTR_REQUESTED_TRANSPORT, a->transport);
    if (a->mobile)
        ph_msgw_bytes(&c->w, PH_ATTR_MOBILITY_TICKET, (struct ph_slice){0});
}

static inline struct ph_addr client_relay(const struct ph_msg *m, uint8_t proto)
{
    struct ph_addr relay;

    cr_assert_eq(m->cls, PH_SUCCESS, "error %u", client_code(m));
    cr_assert_eq(ph_msg_addr(m, PH_IX_XOR_RELAYED_ADDRESS, &relay), 0);
    relay.proto = proto;
    return relay;
}

/* Makes an allocation and returns its relayed address. */
static inline struct ph_addr client_allocate(struct client *c)
{
    const struct ph_msg m = client_ask(c, write_allocate, &(struct allocate){PH_UDP, false});

    return client_relay(&m, PH_UDP);
}

static inline struct ph_addr client_allocate_mobile(struct client *c)
{
    const struct ph_msg m = client_ask(c, write_allocate, &(struct allocate){PH_UDP, true});

    cr_assert_gt(c->ticket_n, 0);
    return client_relay(&m, PH_UDP);
}

static inline struct ph_addr client_allocate_tcp(struct client *c)
{
    const struct ph_msg m = client_ask(c, write_allocate, &(struct allocate){PH_TCP, false});

    return client_relay(&m, PH_TCP);
}

struct bind_channel {
    uint16_t number;
    const struct ph_addr *to;
};

static inline void write_bind(struct client *c, void *arg)
{
    const struct bind_channel *a = arg;

    client_begin(c, PH_CHANNEL_BIND, PH_REQUEST);
    ph_msgw_uint(&c->w, PH_ATTR_CHANNEL_NUMBER, a->number);
    ph_msgw_addr(&c->w, PH_ATTR_XOR_PEER_ADDRESS, a->to);
}

static inline void client_bind(struct client *c, uint16_t number, const struct ph_addr *to)
{
    struct bind_channel a = {number, to};

    cr_assert_eq(client_ask(c, write_bind, &a).cls, PH_SUCCESS);
}

static inline void write_permit(struct client *c, void *arg)
{
    client_begin(c, PH_CREATE_PERMISSION, PH_REQUEST);
    ph_msgw_addr(&c->w, PH_ATTR_XOR_PEER_ADDRESS, arg);
}

static inline void client_permit(struct client *c, struct ph_addr to)
{
    cr_assert_eq(client_ask(c, write_permit, &to).cls, PH_SUCCESS);
}

struct refresh {
    int lifetime; /* -1: none */
    const struct client *ticket_of;
};

static inline void write_refresh(struct client *c, void *arg)
{
    const struct refresh *a = arg;

    client_begin(c, PH_REFRESH, PH_REQUEST);
    if (a->lifetime >= 0)
        ph_msgw_uint(&c->w, PH_ATTR_LIFETIME, (uint64_t)a->lifetime);
    if (a->ticket_of)
        ph_msgw_bytes(&c->w, PH_ATTR_MOBILITY_TICKET,
                      (struct ph_slice){a->ticket_of->ticket, a->ticket_of->ticket_n});
}

/* 0, or the error code. */
static inline uint16_t client_refresh(struct client *c, int lifetime)
{
    const struct ph_msg m = client_ask(c, write_refresh, &(struct refresh){lifetime, NULL});

    return client_code(&m);
}

/* Takes over the allocation of another client by its ticket. */
static inline uint16_t client_take_over(struct client *c, const struct client *from)
{
    const struct ph_msg m = client_ask(c, write_refresh, &(struct refresh){-1, from});

    return client_code(&m);
}

static inline void write_binding(struct client *c, void *arg)
{
    (void)arg;
    client_begin(c, PH_BINDING, PH_REQUEST);
}

/* ChannelData with n bytes, padded on streams. */
static inline void client_send_data(struct client *c, uint16_t channel, const void *p, uint16_t n)
{
    static _Thread_local uint8_t b[65536 + 8];
    const size_t len = 4u + n;

    memset(b, 0, sizeof b);
    ph_put16(b, channel);
    ph_put16(b + 2, n);
    memcpy(b + 4, p, n);
    client_put(c, b, client_is_stream(c) ? (len + 3) & ~(size_t)3 : len);
}

/* Sends a text to the peer and gets one back on a channel. */
static inline void client_echo(struct client *c, struct turn_kit *k, uint16_t channel,
                               const struct ph_addr *relay, const char *text)
{
    const size_t n = strlen(text);
    struct ph_addr from;
    const uint8_t *p = NULL;
    uint8_t b[2048];

    client_send_data(c, channel, text, (uint16_t)n);
    cr_assert_eq(kit_recv(&k->peer, b, sizeof b, &from), (int)n, "nothing at the peer");
    cr_assert_eq(memcmp(b, text, n), 0);
    cr_assert(ph_addr_eq(&from, relay));
    kit_send(&k->peer, text, n, relay);
    cr_assert_eq(client_get(c, &p), n + 4, "nothing from the peer");
    cr_assert_eq(ph_get16(p), channel);
    cr_assert_eq(ph_get16(p + 2), n);
    cr_assert_eq(memcmp(p + 4, text, n), 0);
}

#endif
