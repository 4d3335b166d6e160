/*
 * TLS between the messages and the socket.
 *
 * OpenSSL reads and writes through a BIO of ours, which is memory: a read of the socket brings many records at once
 * into a buffer of the worker, and the records of many messages leave with one write.  What the socket does not take
 * is kept encrypted with its connection (`wire`); nothing else is encrypted before it is out, so that what waits
 * can still be dropped.
 *
 * A session's own buffers (twice 17 kB) are freed when 256 other sessions have been busy since: a busy one keeps them, and
 * ten thousand idle ones have none.
 */
#include "stun/uv/stream_priv.h"

#include <errno.h>
#include <openssl/err.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>

enum {
    RECORD_ROOM = PH__STREAM_RECORD + 1024
}; /* a record with all that TLS puts around it, or several small */

/* SSL_get_error() wants the thread's error queue empty; emptying one that is costs more than asking. */
static void clear_errors(void)
{
    if (ERR_peek_error())
        ERR_clear_error();
}

/* --- the BIO --------------------------------------------------------------------------------------- */

/* Reads the socket of the connection whose turn it is. */
static void refill(struct ph_streams *s)
{
    struct ph__stream_cur *cur = &s->cur;

    if (!cur->c || !cur->reads || cur->eof || cur->err)
        return;
    const ssize_t n = recv(cur->c->fd, s->cipher, PH__STREAM_READ, 0);
    s->st.rx_calls++;
    cur->reads = n == PH__STREAM_READ ? cur->reads - 1 : 0;
    if (n > 0) {
        cur->feed = s->cipher;
        cur->feed_n = (uint32_t)n;
    } else if (n == 0) {
        cur->eof = true;
    } else if (errno != EAGAIN && errno != EINTR) {
        cur->err = errno;
    }
}

static int on_read(BIO *b, char *to, int n)
{
    struct ph_streams *s = BIO_get_data(b);
    struct ph__stream_cur *cur = &s->cur;

    BIO_clear_retry_flags(b);
    if (!cur->feed_n)
        refill(s);
    if (!cur->feed_n) {
        if (!cur->eof && !cur->err)
            BIO_set_retry_read(b);
        return cur->eof ? 0 : -1;
    }
    const uint32_t k = cur->feed_n < (uint32_t)n ? cur->feed_n : (uint32_t)n;
    memcpy(to, cur->feed, k);
    cur->feed += k;
    cur->feed_n -= k;
    return (int)k;
}

static int on_write(BIO *b, const char *from, int n)
{
    struct ph_streams *s = BIO_get_data(b);
    const uint32_t room = PH__STREAM_OUT - s->out_n;
    const uint32_t k = room < (uint32_t)n ? room : (uint32_t)n;

    BIO_clear_retry_flags(b);
    if (!k) { /* a handshake of enormous certificates: when this is out, it goes on */
        BIO_set_retry_write(b);
        return -1;
    }
    memcpy(s->out + s->out_n, from, k);
    s->out_n += k;
    return (int)k;
}

static long on_ctrl(BIO *b, int cmd, long num, void *ptr)
{
    const struct ph_streams *s = BIO_get_data(b);

    (void)num, (void)ptr;
    if (cmd == BIO_CTRL_EOF)
        return s->cur.eof;
    return cmd == BIO_CTRL_FLUSH || cmd == BIO_CTRL_DUP;
}

static int on_create(BIO *b)
{
    BIO_set_init(b, 1);
    return 1;
}

static BIO_METHOD *method;

static void make_method(void)
{
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "pinhole stream");
    if (!method)
        return;
    BIO_meth_set_create(method, on_create);
    BIO_meth_set_read(method, on_read);
    BIO_meth_set_write(method, on_write);
    BIO_meth_set_ctrl(method, on_ctrl);
}

void ph__tls_bind(struct ph_streams *s, struct ph__conn *c)
{
    BIO_set_data(SSL_get_rbio(c->ssl), s);
}

bool ph__tls_begin(struct ph_streams *s, struct ph__conn *c)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, make_method);
    BIO *b = method ? BIO_new(method) : NULL;
    SSL *ssl = b ? ph_tls_session(s->tls, false) : NULL;
    if (!ssl) {
        BIO_free(b);
        clear_errors();
        return false;
    }
    SSL_set_bio(ssl, b, b);
    c->ssl = ssl;
    c->src.proto = c->dst.proto = PH_TLS;
    s->st.tls_now++;
    ph__tls_bind(s, c);
    return true;
}

/* --- buffers --------------------------------------------------------------------------------------- */

void ph__tls_cool(struct ph_streams *s, struct ph__conn *c)
{
    ph__list_del(&c->warm);
    s->n_warm--;
    SSL_free_buffers(c->ssl);
}

/* The session is busy: its buffers stay, those of the one that was busy the longest ago go. */
static void warm(struct ph_streams *s, struct ph__conn *c)
{
    if (c->warm.next)
        ph__list_del(&c->warm);
    else
        s->n_warm++;
    ph__list_add(&s->warm, &c->warm);
    if (s->n_warm > PH__STREAM_WARM)
        ph__tls_cool(s, ph__conn_of(s->warm.next, offsetof(struct ph__conn, warm)));
}

/* --- what is encrypted ----------------------------------------------------------------------------- */

/* Keeps what the socket did not take. */
static void keep_wire(struct ph_streams *s, struct ph__conn *c, const uint8_t *p, uint32_t n)
{
    struct ph__bytes *w = &c->wire;
    /* More than one batch only comes of alerts and keys that somebody asks for and does not read. */
    uint8_t *q = w->n + n <= 2 * PH__STREAM_OUT ? realloc(w->p, (size_t)w->n + n) : NULL;

    if (!q) {
        ph__stream_broken(s, c, ENOBUFS);
        return;
    }
    memcpy(q + w->n, p, n);
    w->p = q;
    w->n += n;
    c->blocked = true;
    ph__stream_watch(s, c);
}

/* Bytes the socket took, 0 if none, also when it is broken. */
static uint32_t put(struct ph_streams *s, struct ph__conn *c, const uint8_t *p, uint32_t n)
{
    const ssize_t r = send(c->fd, p, n, MSG_NOSIGNAL);

    s->st.tx_calls++;
    if (r >= 0)
        return (uint32_t)r;
    if (errno != EAGAIN && errno != EINTR)
        ph__stream_broken(s, c, errno);
    return 0;
}

/* Writes what OpenSSL has left in the buffer. */
static void put_out(struct ph_streams *s, struct ph__conn *c)
{
    const uint32_t n = s->out_n;
    uint32_t done = 0;

    s->out_n = 0;
    if (!n || c->broken)
        return;
    if (!c->wire.n)
        done = put(s, c, s->out, n);
    if (done < n && !c->broken)
        keep_wire(s, c, s->out + done, n - done);
}

/* Writes what was kept.  True when nothing is left. */
static bool put_wire(struct ph_streams *s, struct ph__conn *c)
{
    struct ph__bytes *w = &c->wire;

    if (!w->n)
        return true;
    c->wire_off += put(s, c, w->p + c->wire_off, w->n - c->wire_off);
    if (c->wire_off < w->n)
        return false;
    free(w->p);
    *w = (struct ph__bytes){0};
    c->wire_off = 0;
    return true;
}

/* --- reading --------------------------------------------------------------------------------------- */

/* Why OpenSSL gave nothing. */
static int verdict(const struct ph_streams *s, const struct ph__conn *c, int r)
{
    const int err = SSL_get_error(c->ssl, r);

    clear_errors();
    if (err == SSL_ERROR_ZERO_RETURN)
        return PH__GOT_EOF;
    if (s->cur.err)
        return PH__GOT_RESET;
    if (s->cur.eof)
        return PH__GOT_EOF;
    return err == SSL_ERROR_WANT_READ || err == SSL_ERROR_WANT_WRITE ? PH__GOT_NOTHING
                                                                     : PH__GOT_BAD;
}

/* Goes on with the handshake.  1: done, or PH__GOT_.... */
static int shake(struct ph_streams *s, struct ph__conn *c, ph_ns now)
{
    int r;

    for (;;) {
        clear_errors();
        r = SSL_do_handshake(c->ssl);
        const bool more = r != 1 && SSL_want_write(c->ssl) && s->out_n && !c->wire.n;
        put_out(s, c);
        if (!more || c->wire.n || c->broken)
            break;
    }
    if (c->broken)
        return PH__GOT_RESET;
    if (r != 1)
        return verdict(s, c, r);
    s->st.tls_handshakes++;
    c->phase = PH__STREAM_SNIFF;
    c->last_at = now;
    return 1;
}

int ph__tls_get(struct ph_streams *s, struct ph__conn *c, uint8_t *to, uint32_t n, ph_ns now)
{
    const struct ph__stream_cur *cur = &s->cur;

    warm(s, c);
    if (c->phase == PH__STREAM_HANDSHAKE) {
        const int r = shake(s, c, now);
        if (r != 1)
            return r;
    }
    /* OpenSSL would find out as well, but take its time. */
    if (!cur->feed_n && !cur->reads && !cur->eof && !cur->err && !SSL_has_pending(c->ssl))
        return PH__GOT_NOTHING;
    clear_errors();
    const int r = SSL_read(c->ssl, to, (int)n);
    if (s->out_n) /* a new key, an alert */
        put_out(s, c);
    return r > 0 ? r : verdict(s, c, r);
}

/* --- writing --------------------------------------------------------------------------------------- */

/* A piece of the queue that makes a record: in place if one message does. */
static const uint8_t *gather(struct ph_streams *s, const struct ph__conn *c, int *n)
{
    const struct ph__msg *m = c->first;
    uint32_t off = c->head_off, used = 0;

    if (!m->next || m->len - off >= PH__STREAM_RECORD) {
        const uint32_t left = m->len - off;
        *n = (int)(left < PH__STREAM_RECORD ? left : PH__STREAM_RECORD);
        return m->data + off;
    }
    for (; m && used < PH__STREAM_RECORD; m = m->next, off = 0) {
        uint32_t k = m->len - off;
        if (k > PH__STREAM_RECORD - used)
            k = PH__STREAM_RECORD - used;
        memcpy(s->gather + used, m->data + off, k);
        used += k;
    }
    *n = (int)used;
    return s->gather;
}

void ph__tls_write(struct ph_streams *s, struct ph__conn *c)
{
    if (!put_wire(s, c))
        return;
    if (c->first && c->phase != PH__STREAM_LINGERING)
        warm(s, c);
    while (c->first && !c->wire.n && !c->broken) {
        int n;
        const uint8_t *p = gather(s, c, &n);
        clear_errors();
        const int r = SSL_write(c->ssl, p, n);
        if (r <= 0) {
            clear_errors();
            ph__stream_broken(s, c, EPROTO);
            break;
        }
        ph__stream_sent(s, c, (size_t)r);
        if (PH__STREAM_OUT - s->out_n < RECORD_ROOM)
            put_out(s, c);
    }
    put_out(s, c);
}

void ph__tls_shut(struct ph_streams *s, struct ph__conn *c)
{
    clear_errors();
    SSL_shutdown(c->ssl);
    clear_errors();
    put_out(s, c);
}
