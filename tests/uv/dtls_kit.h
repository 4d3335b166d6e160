/*
 * DTLS clients (OpenSSL's own) and a network of two queues between them and a ph_dtls: no sockets, and a clock that the
 * test turns.  Only OpenSSL's retransmission timers run on the real clock; tests that need them make them short.
 */
#ifndef PH_TESTS_DTLS_KIT_H
#define PH_TESTS_DTLS_KIT_H

#include "stun/uv/dtls.h"
#include "uv/tls_kit.h"

#include <openssl/err.h>

enum {
    RIG_CLIENTS = 4,
    RIG_QUEUE = 64,
    RIG_DATAGRAM = 17000,
    RIG_LISTENER = 3,
    RIG_SOON_MS = 20,  /* a short retransmission timer (OpenSSL takes the last 15 ms for nothing) */
    RIG_LATE_MS = 160, /* it is doubled up to this */
};

struct rig_datagram {
    uint32_t len;
    uint8_t b[RIG_DATAGRAM];
};

/* One way of the network, which loses `loss` of 100 datagrams: always the same ones for a seed. */
struct rig_wire {
    struct rig_datagram *q;
    unsigned head, n;
    unsigned loss;
    uint32_t seed;
};

struct rig_client {
    SSL *ssl;
    struct ph_addr at;
    struct rig_wire up, down;
};

struct rig {
    char dir[KIT_PATH];
    struct ph_env env;
    struct ph_tls *tls;
    struct ph_dtls *d;
    SSL_CTX *ctx;
    struct rig_client c[RIG_CLIENTS];
    ph_ns now;
    /* What the server saw. */
    char got[256]; /* its messages, each followed by '|' */
    uint32_t conn; /* of the last message */
    struct ph_pkt last;
    unsigned n_ended, n_flights;
    uint32_t ended_conn;
    struct ph_addr ended_client, stray; /* flights to nobody we know */
    uint32_t largest_flight;
};

static inline void wire_push(struct rig_wire *w, const void *p, size_t n)
{
    w->seed = w->seed * 1664525 + 1013904223;
    if ((w->seed >> 16) % 100 < w->loss)
        return;
    cr_assert_lt(w->n, RIG_QUEUE);
    cr_assert_leq(n, RIG_DATAGRAM);
    struct rig_datagram *g = &w->q[(w->head + w->n++) % RIG_QUEUE];
    g->len = (uint32_t)n;
    memcpy(g->b, p, n);
}

static inline bool wire_pop(struct rig_wire *w, struct rig_datagram *g)
{
    if (!w->n)
        return false;
    *g = w->q[w->head];
    w->head = (w->head + 1) % RIG_QUEUE;
    w->n--;
    return true;
}

/* ---- the client's BIO ------------------------------------------------------------------------------ */

static inline int rig_bio_create(BIO *b)
{
    BIO_set_init(b, 1);
    return 1;
}

static inline int rig_bio_read(BIO *b, char *to, int room)
{
    static struct rig_datagram g;
    struct rig_client *c = BIO_get_data(b);

    BIO_clear_retry_flags(b);
    if (!wire_pop(&c->down, &g)) {
        BIO_set_retry_read(b);
        return -1;
    }
    cr_assert_leq(g.len, (uint32_t)room);
    memcpy(to, g.b, g.len);
    return (int)g.len;
}

static inline int rig_bio_write(BIO *b, const char *from, int n)
{
    struct rig_client *c = BIO_get_data(b);

    wire_push(&c->up, from, (size_t)n);
    return n;
}

static inline long rig_bio_ctrl(BIO *b, int cmd, long num, void *ptr)
{
    (void)b;
    (void)num;
    (void)ptr;
    return cmd == BIO_CTRL_FLUSH ? 1 : 0;
}

static unsigned rig_client_ms = 1000; /* until a client sends a flight again */

static inline unsigned rig_wait(SSL *ssl, unsigned us)
{
    (void)ssl;
    if (us == 0)
        return rig_client_ms * 1000;
    return us < RIG_LATE_MS * 1000 / 2 ? us * 2 : RIG_LATE_MS * 1000;
}

/* A client at 192.0.2.<i+1>:5000.  One that is there already is replaced: it forgets everything. */
static inline struct rig_client *rig_client(struct rig *r, unsigned i)
{
    static BIO_METHOD *m;
    struct rig_client *c = &r->c[i];
    uint8_t ip[4] = {192, 0, 2, (uint8_t)(i + 1)};

    if (!m) {
        m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "rig");
        BIO_meth_set_create(m, rig_bio_create);
        BIO_meth_set_read(m, rig_bio_read);
        BIO_meth_set_write(m, rig_bio_write);
        BIO_meth_set_ctrl(m, rig_bio_ctrl);
    }
    SSL_free(c->ssl);
    if (!c->up.q) {
        c->up.q = calloc(RIG_QUEUE, sizeof *c->up.q);
        c->down.q = calloc(RIG_QUEUE, sizeof *c->down.q);
    }
    c->up.n = c->down.n = 0;
    c->at = ph_addr_v4(ip, 5000, PH_UDP);
    c->ssl = SSL_new(r->ctx);
    BIO *b = BIO_new(m);
    BIO_set_data(b, c);
    SSL_set_bio(c->ssl, b, b);
    SSL_set_connect_state(c->ssl);
    SSL_set_options(c->ssl, SSL_OP_NO_QUERY_MTU);
    SSL_set_mtu(c->ssl, 1200);
    DTLS_set_timer_cb(c->ssl, rig_wait);
    return c;
}

/* ---- the server's side ----------------------------------------------------------------------------- */

static inline void rig_send(void *ctx, struct ph_pkt *p)
{
    struct rig *r = ctx;

    r->n_flights++;
    if (p->b.len > r->largest_flight)
        r->largest_flight = p->b.len;
    cr_assert_eq(p->sock, RIG_LISTENER);
    cr_assert_eq(p->dst.proto, PH_UDP);
    cr_assert_eq(p->src.port, 3478, "it leaves by the address it came to");
    for (unsigned i = 0; i < RIG_CLIENTS; i++)
        if (r->c[i].ssl && ph_addr_eq_endpoint(&r->c[i].at, &p->dst)) {
            wire_push(&r->c[i].down, ph_buf_data(&p->b), p->b.len);
            return;
        }
    r->stray = p->dst;
}

static inline void rig_ended(void *ctx, uint32_t conn, uint32_t sock, const struct ph_addr *client,
                             ph_ns now)
{
    struct rig *r = ctx;

    cr_assert_eq(sock, RIG_LISTENER);
    cr_assert_eq(now, r->now);
    r->n_ended++;
    r->ended_conn = conn;
    r->ended_client = *client;
}

static inline void rig_message(struct rig *r, const struct ph_pkt *p)
{
    size_t at = strlen(r->got);

    cr_assert_eq(p->src.proto, PH_DTLS);
    cr_assert_eq(p->sock, RIG_LISTENER);
    cr_assert_neq(p->conn & PH_DTLS_CONN, 0);
    if (p->b.len < 64)
        snprintf(r->got + at, sizeof r->got - at, "%.*s|", (int)p->b.len,
                 (const char *)ph_buf_data(&p->b));
    r->conn = p->conn;
    r->last = *p;
}

/* Hands a datagram to the server in memory that ends where it must; returns its verdict. */
static inline int rig_input(struct rig *r, const struct ph_addr *from, const void *p, size_t n)
{
    uint8_t *slot = malloc(PH_HEADROOM + n + PH_TAILROOM);
    struct ph_pkt k = {.src = *from, .sock = RIG_LISTENER};

    if (!slot) /* a test lets one allocation fail: not this one */
        slot = malloc(PH_HEADROOM + n + PH_TAILROOM);
    k.b = (struct ph_buf){.base = slot,
                          .cap = (uint32_t)(PH_HEADROOM + n + PH_TAILROOM),
                          .off = PH_HEADROOM,
                          .len = (uint32_t)n};
    k.dst = ph_addr_v4((uint8_t[]){198, 51, 100, 1}, 3478, PH_UDP);
    if (n)
        memcpy(slot + PH_HEADROOM, p, n);
    int verdict = ph_dtls_input(r->d, &k, r->now);
    if (verdict == PH_DATA) {
        rig_message(r, &k);
        while (ph_dtls_next(r->d, &k))
            rig_message(r, &k);
    }
    free(slot);
    return verdict;
}

static inline void rig_init(struct rig *r, const struct ph_dtls_conf *conf)
{
    struct ph_dtls_conf c = conf ? *conf : (struct ph_dtls_conf){0};

    *r = (struct rig){.now = PH_SEC(1000)};
    kit_tmpdir(r->dir);
    r->tls = kit_tls(r->dir);
    r->env = ph_env_system(NULL);
    r->ctx = kit_client(true, NULL);
    c.env = &r->env;
    c.tls = r->tls;
    c.send = rig_send;
    c.ended = rig_ended;
    c.ctx = r;
    r->d = ph_dtls_new(&c);
    cr_assert_not_null(r->d);
}

static inline void rig_fini(struct rig *r)
{
    for (unsigned i = 0; i < RIG_CLIENTS; i++) {
        SSL_free(r->c[i].ssl);
        free(r->c[i].up.q);
        free(r->c[i].down.q);
    }
    SSL_CTX_free(r->ctx);
    ph_dtls_free(r->d);
    ph_tls_unref(r->tls);
    kit_rmdir(r->dir);
}

/* ---- both ------------------------------------------------------------------------------------------ */

/* Gives the server what a client has sent; false: nothing. */
static inline bool rig_up(struct rig *r, struct rig_client *c)
{
    static struct rig_datagram g;
    bool any = false;

    for (unsigned i = 0; i < RIG_QUEUE && wire_pop(&c->up, &g); i++) {
        rig_input(r, &c->at, g.b, g.len);
        any = true;
    }
    return any;
}

/* Shakes hands as far as it goes without waiting; true: the client is through. */
static inline bool rig_shake(struct rig *r, struct rig_client *c)
{
    for (unsigned i = 0; i < 20; i++) {
        int done = SSL_do_handshake(c->ssl);
        ERR_clear_error();
        if (!rig_up(r, c) && !c->down.n)
            return done == 1;
    }
    return false;
}

/* Client i, connected. */
static inline struct rig_client *rig_connect(struct rig *r, unsigned i)
{
    struct rig_client *c = rig_client(r, i);

    cr_assert(rig_shake(r, c), "client %u cannot connect", i);
    return c;
}

/* The client sends a text; the server has it now if nothing is lost. */
static inline void rig_say(struct rig *r, struct rig_client *c, const char *text)
{
    cr_assert_eq(SSL_write(c->ssl, text, (int)strlen(text)), (int)strlen(text));
    rig_up(r, c);
}

/* The server sends a text to a session. */
static inline int rig_tell(struct rig *r, uint32_t conn, const char *text, struct rig_client *c)
{
    uint8_t room[512];
    struct ph_pkt in = {.conn = conn}, out = {.b = {.base = room, .cap = sizeof room, .off = 64}};

    in.b = (struct ph_buf){.base = (uint8_t *)(uintptr_t)text,
                           .cap = (uint32_t)strlen(text),
                           .len = (uint32_t)strlen(text)};
    int verdict = ph_dtls_seal(r->d, &in, &out);
    if (verdict == PH_SEND) {
        cr_assert_eq(out.sock, RIG_LISTENER);
        cr_assert_eq(out.src.port, 3478);
        cr_assert(ph_addr_eq(&out.dst, &c->at));
        cr_assert_leq(out.b.len, strlen(text) + PH_DTLS_OVERHEAD);
        wire_push(&c->down, ph_buf_data(&out.b), out.b.len);
    }
    return verdict;
}

/* What the client reads next; "" for nothing. */
static inline const char *rig_hear(struct rig_client *c)
{
    static char text[256];
    int n = SSL_read(c->ssl, text, sizeof text - 1);

    text[n > 0 ? n : 0] = 0;
    return text;
}

#endif
