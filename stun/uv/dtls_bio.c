/*
 * What OpenSSL sees of the network: a BIO that reads one datagram, already received, and hands on what is written.
 *
 * The memory BIO will not do (it forgets where datagrams end), nor the datagram BIO (it wants a socket for each).
 * One thread owns all sessions and works on one at a time, so what is read and where writes go is state of the
 * whole object.
 */
#include "stun/uv/dtls_priv.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <string.h>

static int bio_create(BIO *b)
{
    BIO_set_init(b, 1);
    return 1;
}

/* The datagram, or the part of it that there is room for: OpenSSL drops a record that is cut. */
static int bio_read(BIO *b, char *to, int room)
{
    struct ph_dtls *d = BIO_get_data(b);
    int n = (int)d->in_len < room ? (int)d->in_len : room;

    BIO_clear_retry_flags(b);
    if (n == 0) {
        BIO_set_retry_read(b);
        return -1;
    }
    memcpy(to, d->in, (size_t)n);
    d->in_len = 0;
    return n;
}

/* A datagram of a handshake, an alert: sent at once, from OpenSSL's memory. */
static void send_flight(struct ph_dtls *d, const char *from, uint32_t n)
{
    struct ph_pkt p = d->to;

    p.b = (struct ph_buf){.base = (uint8_t *)(uintptr_t)from, .cap = n, .len = n};
    d->c.send(d->c.ctx, &p);
}

/* Never fails: a record that cannot be sent is lost, as datagrams are.  An error would have OpenSSL wait to write it
 * again. */
static int bio_write(BIO *b, const char *from, int n)
{
    struct ph_dtls *d = BIO_get_data(b);
    uint32_t len = (uint32_t)n;

    BIO_clear_retry_flags(b);
    if (n <= 0)
        return 0;
    if (!d->out) {
        send_flight(d, from, len);
    } else if (d->out->b.len || len > d->out->b.cap - d->out->b.off) {
        d->out_full = true;
    } else {
        memcpy(ph_buf_data(&d->out->b), from, len);
        d->out->b.len = len;
    }
    return n;
}

static long bio_ctrl(BIO *b, int cmd, long num, void *ptr)
{
    const struct ph_dtls *d = BIO_get_data(b);

    (void)num;
    (void)ptr;
    switch (cmd) {
    case BIO_CTRL_FLUSH:
    case BIO_CTRL_DGRAM_SET_NEXT_TIMEOUT: /* we ask with DTLSv1_get_timeout */
        return 1;
    case BIO_CTRL_DGRAM_QUERY_MTU:
    case BIO_CTRL_DGRAM_GET_FALLBACK_MTU:
        return (long)d->c.mtu;
    default:
        return 0;
    }
}

BIO_METHOD *ph__dtls_bio_method(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "datagram at hand");

    if (m && BIO_meth_set_create(m, bio_create) && BIO_meth_set_read(m, bio_read) &&
        BIO_meth_set_write(m, bio_write) && BIO_meth_set_ctrl(m, bio_ctrl))
        return m;
    BIO_meth_free(m);
    return NULL;
}

/* How long to wait for an answer the first time (us is 0), and after having waited `us` in vain (RFC 6347 4.2.4.1). */
static unsigned next_wait(SSL *ssl, unsigned us)
{
    enum { LONGEST = 60000000 };
    const struct ph_dtls *d = BIO_get_data(SSL_get_rbio(ssl));

    if (us == 0)
        return (unsigned)(d->c.retransmit / PH_US(1));
    return us < LONGEST / 2 ? us * 2 : LONGEST;
}

SSL *ph__dtls_ssl_new(struct ph_dtls *d)
{
    SSL *ssl = ph_tls_session(d->c.tls, true);
    BIO *bio = ssl ? BIO_new(d->bio) : NULL;

    if (!bio) {
        SSL_free(ssl);
        return NULL;
    }
    BIO_set_data(bio, d);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_accept_state(ssl);
    SSL_set_options(ssl, SSL_OP_NO_QUERY_MTU | SSL_OP_NO_RENEGOTIATION);
    SSL_set_mtu(ssl, (long)d->c.mtu);
    DTLS_set_timer_cb(ssl, next_wait);
    return ssl;
}

static void aim_at(struct ph_dtls *d, const struct ph_addr *client, const struct ph_addr *local,
                   uint32_t sock)
{
    d->to = (struct ph_pkt){.src = *local, .dst = *client, .sock = sock};
    d->to.dst.proto = PH_UDP;
    if (ERR_peek_error())
        ERR_clear_error(); /* what others left behind would be taken for an error of this session */
}

void ph__dtls_feed(struct ph_dtls *d, const struct ph_pkt *p)
{
    d->in = ph_buf_data(&p->b);
    d->in_len = p->b.len;
    aim_at(d, &p->src, &p->dst, p->sock);
}

void ph__dtls_aim(struct ph_dtls *d, const struct ph__dtls_session *s)
{
    d->in_len = 0;
    aim_at(d, &s->client, &s->local, s->sock);
}
