/*
 * DTLS sessions: datagrams in, messages out, and back.
 *
 * The way of a packet: OpenSSL reads the datagram into a buffer of its own (one copy), decrypts there, and copies the
 * message out; that copy goes where the datagram was, so that it is relayed in place as if it had come over UDP.  The
 * other way: it copies the message into its buffer, encrypts there, and the record is copied into the packet that leaves.
 * Nothing is allocated for a packet.
 */
#include "stun/uv/dtls_priv.h"

#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

enum {
    MAX_SESSIONS = 65536,
    MAX_PER_ADDR = 4096,
    MOST_SESSIONS = 1 << 20, /* leaves 2048 generations of a slot's number */
    MTU = 1200,
    MTU_LEAST = 256,          /* OpenSSL's own limit */
    RETRANSMIT_LEAST_MS = 20, /* OpenSSL takes the last 15 ms of a wait for nothing */
    APPLICATION_DATA = 23,    /* RFC 6347 4.1: content type; alerts and handshakes lie below */
    PLAIN_AT = 12 /* where a message is put: it is at least 13 bytes shorter than its datagram */
};

static ph_ns or_default(ph_ns v, ph_ns fallback)
{
    return v ? v : fallback;
}

static void set_defaults(struct ph_dtls_conf *c)
{
    c->max_sessions = c->max_sessions ? c->max_sessions : MAX_SESSIONS;
    c->max_sessions = c->max_sessions < MOST_SESSIONS ? c->max_sessions : MOST_SESSIONS;
    c->max_per_addr = c->max_per_addr ? c->max_per_addr : MAX_PER_ADDR;
    c->handshake_timeout = or_default(c->handshake_timeout, PH_SEC(15));
    c->idle_timeout = or_default(c->idle_timeout, PH_SEC(60));
    c->retransmit = or_default(c->retransmit, PH_SEC(1));
    c->retransmit =
        c->retransmit > PH_MS(RETRANSMIT_LEAST_MS) ? c->retransmit : PH_MS(RETRANSMIT_LEAST_MS);
    c->mtu = c->mtu ? c->mtu : MTU;
    c->mtu = c->mtu > MTU_LEAST ? c->mtu : MTU_LEAST;
}

struct ph_dtls *ph_dtls_new(const struct ph_dtls_conf *c)
{
    struct ph_dtls *d = calloc(1, sizeof *d);

    if (!d)
        return NULL;
    d->c = *c;
    set_defaults(&d->c);
    d->c.tls = ph_tls_ref(c->tls);
    while (d->slot_mask < d->c.max_sessions - 1)
        d->slot_mask = d->slot_mask * 2 + 1;
    c->env->rand(c->env->ctx, &d->key, sizeof d->key);
    ph_map_init(&d->by_client);
    ph_heap_init(&d->due);
    ph__sources_init(&d->sources, c->env);
    d->bio = ph__dtls_bio_method();
    d->nobody = BIO_ADDR_new();
    if (!d->bio || !d->nobody) {
        ph_dtls_free(d);
        return NULL;
    }
    return d;
}

void ph_dtls_free(struct ph_dtls *d)
{
    if (!d)
        return;
    ph__dtls_table_fini(d);
    SSL_free(d->spare);
    BIO_ADDR_free(d->nobody);
    BIO_meth_free(d->bio);
    ph_tls_unref(d->c.tls);
    free(d);
}

/* ---- the life of a session ------------------------------------------------------------------------- */

void ph__dtls_end(struct ph_dtls *d, struct ph__dtls_session *s, ph_ns now)
{
    struct ph_addr client = s->client;
    uint32_t conn = s->conn, sock = s->sock;
    bool known = s->open;

    ph__dtls_remove(d, s);
    if (known && d->c.ended)
        d->c.ended(d->c.ctx, conn, sock, &client, now);
}

/* Says goodbye first. */
static void close_and_end(struct ph_dtls *d, struct ph__dtls_session *s, ph_ns now)
{
    ph__dtls_aim(d, s);
    if (s->open && ph__dtls_warm(d, s))
        SSL_shutdown(s->ssl);
    ERR_clear_error();
    ph__dtls_end(d, s, now);
}

/* Until when this session needs nothing.  Always later than now. */
static ph_ns next_due(struct ph_dtls *d, struct ph__dtls_session *s, ph_ns now)
{
    struct timeval left;
    ph_ns wait;

    if (s->open && s->keep)
        return now + d->c.idle_timeout;
    if (s->open)
        return s->since_at + d->c.idle_timeout;
    ph_ns at = s->since_at + d->c.handshake_timeout;
    if (!DTLSv1_get_timeout(s->ssl, &left))
        return at;
    /* A clock of its own: it may not think so yet when ours says it is time. */
    wait = PH_SEC(left.tv_sec) + PH_US(left.tv_usec);
    return ph_min_ns(at, now + (wait > PH_MS(1) ? wait : PH_MS(1)));
}

static void rearm(struct ph_dtls *d, struct ph__dtls_session *s, ph_ns now)
{
    /* Cannot fail: every session has had its entry since it was added. */
    ph_heap_set(&d->due, s->conn & d->slot_mask, next_due(d, s, now));
}

void ph__dtls_handshake(struct ph_dtls *d, struct ph__dtls_session *s, ph_ns now)
{
    if (!ph__dtls_warm(d, s))
        return; /* as if the datagram had been lost */
    int r = SSL_do_handshake(s->ssl), err = r == 1 ? SSL_ERROR_NONE : SSL_get_error(s->ssl, r);

    if (r != 1 && err != SSL_ERROR_WANT_READ && err != SSL_ERROR_WANT_WRITE) {
        d->stats.failed++;
        ERR_clear_error();
        ph__dtls_end(d, s, now);
        return;
    }
    if (r == 1) {
        d->stats.handshakes++;
        s->open = true;
        s->since_at = now;
    }
    rearm(d, s, now);
}

/* ---- in ------------------------------------------------------------------------------------------- */

/* Nothing could be read from a session: it goes on, unless the other side or OpenSSL has ended it. */
static void no_message(struct ph_dtls *d, struct ph__dtls_session *s, int r)
{
    int err = SSL_get_error(s->ssl, r);

    if (err == SSL_ERROR_WANT_READ || err == SSL_ERROR_WANT_WRITE)
        return;
    ERR_clear_error();
    d->stats.closed++;
    if (err == SSL_ERROR_ZERO_RETURN)
        close_and_end(d, s, d->now);
    else
        ph__dtls_end(d, s, d->now);
}

/* Reads a message into the room that p->b has behind its offset, `room` bytes. */
static bool take(struct ph_dtls *d, struct ph__dtls_session *s, struct ph_pkt *p, uint32_t room)
{
    int n = SSL_read(s->ssl, ph_buf_data(&p->b), (int)room);

    if (n <= 0) {
        no_message(d, s, n);
        return false;
    }
    p->b.len = (uint32_t)n;
    p->src = s->client;
    p->sock = s->sock;
    p->conn = s->conn;
    p->head_len = 0;
    s->since_at = d->now;
    d->stats.rx_messages++;
    d->reading = d->late || SSL_has_pending(s->ssl) ? s->conn : 0;
    return true;
}

bool ph_dtls_next(struct ph_dtls *d, struct ph_pkt *p)
{
    struct ph__dtls_session *s = ph__dtls_by_conn(d, d->reading);

    d->reading = 0;
    if (!s || !ph__dtls_warm(d, s))
        return false;
    ph__dtls_aim(d, s);
    p->b = (struct ph_buf){.base = d->room, .cap = sizeof d->room, .off = PH_HEADROOM};
    p->head = NULL;
    p->dst = s->local;
    p->dont_fragment = false;
    return take(d, s, p, PH__DTLS_PLAIN_MAX);
}

/* A datagram for a session with its handshake done. */
static int on_record(struct ph_dtls *d, struct ph__dtls_session *s, struct ph_pkt *p)
{
    uint8_t type = *ph_buf_data(&p->b);
    uint32_t conn = s->conn;

    if (p->b.len <= PH__DTLS_RECORD || !ph__dtls_warm(d, s)) {
        d->stats.bad_record++;
        return PH_DROP;
    }
    ph_buf_pull(&p->b, PLAIN_AT);
    if (take(d, s, p, p->b.len))
        return PH_DATA;
    if (type < APPLICATION_DATA)
        return PH_CONSUMED; /* a late flight of the handshake, an alert */
    if (ph__dtls_by_conn(d, conn))
        d->stats.bad_record++;
    return PH_DROP;
}

int ph_dtls_input(struct ph_dtls *d, struct ph_pkt *p, ph_ns now)
{
    struct ph_addr client = p->src;
    struct ph_pkt rest;

    while (d->reading) /* or it would come out of the next datagram */
        ph_dtls_next(d, &rest);
    d->now = now;
    d->late = false;
    client.proto = PH_DTLS;
    struct ph__dtls_session *s = ph__dtls_find(d, p->sock, &client);
    if (ph__dtls_is_hello(s, p))
        return ph__dtls_hello(d, s, p, now);
    if (!s || p->b.len == 0) {
        d->stats.bad_record++;
        return PH_DROP;
    }
    ph__dtls_feed(d, p);
    if (s->open)
        return on_record(d, s, p);
    uint32_t conn = s->conn;
    ph__dtls_handshake(d, s, now);
    s = ph__dtls_by_conn(d, conn);
    if (!s || !s->open)
        return PH_CONSUMED;
    /* Messages may have come with the last flight, or before it. */
    d->reading = conn;
    d->late = true;
    return ph_dtls_next(d, p) ? PH_DATA : PH_CONSUMED;
}

/* ---- out ------------------------------------------------------------------------------------------ */

/* The message of p in one piece. */
static const uint8_t *whole(struct ph_dtls *d, const struct ph_pkt *p)
{
    if (!p->head_len)
        return ph_buf_data(&p->b);
    memcpy(d->joined, p->head, p->head_len);
    memcpy(d->joined + p->head_len, ph_buf_data(&p->b), p->b.len);
    return d->joined;
}

int ph_dtls_seal(struct ph_dtls *d, const struct ph_pkt *p, struct ph_pkt *out)
{
    struct ph__dtls_session *s = ph__dtls_by_conn(d, p->conn);
    uint32_t len = ph_pkt_wire_len(p);

    if (!s || !s->open || len == 0 || len > PH__DTLS_PLAIN_MAX || !ph__dtls_warm(d, s))
        return PH_DROP;
    out->b.len = 0;
    d->out = out;
    d->out_full = false;
    int n = SSL_write(s->ssl, whole(d, p), (int)len);
    d->out = NULL;
    if (n <= 0)
        ERR_clear_error();
    if (n <= 0 || d->out_full || out->b.len == 0)
        return PH_DROP;
    out->src = s->local;
    out->dst = s->client;
    out->dst.proto = PH_UDP;
    out->sock = s->sock;
    out->conn = 0;
    out->head_len = 0;
    out->dont_fragment = p->dont_fragment;
    d->stats.tx_messages++;
    return PH_SEND;
}

/* ---- time ----------------------------------------------------------------------------------------- */

static void on_due(struct ph_dtls *d, struct ph__dtls_session *s, ph_ns now)
{
    ph_ns limit = s->open ? d->c.idle_timeout : d->c.handshake_timeout;

    if (!s->keep && now - s->since_at >= limit) {
        d->stats.timed_out++;
        close_and_end(d, s, now);
        return;
    }
    ph__dtls_aim(d, s);
    if (s->open) {
        if (now - s->since_at >= limit)
            ph__dtls_cool(d, s);
    } else if (ph__dtls_warm(d, s) && DTLSv1_handle_timeout(s->ssl) < 0) {
        d->stats.failed++; /* sent again too often */
        ERR_clear_error();
        ph__dtls_end(d, s, now);
        return;
    }
    rearm(d, s, now);
}

void ph_dtls_tick(struct ph_dtls *d, ph_ns now)
{
    d->now = now;
    for (uint32_t slot; (slot = ph_heap_pop_due(&d->due, now)) != UINT32_MAX;)
        on_due(d, &d->s[slot], now);
}

ph_ns ph_dtls_deadline(const struct ph_dtls *d)
{
    return ph_heap_next(&d->due);
}

/* ---- the owner's ---------------------------------------------------------------------------------- */

void ph_dtls_keep(struct ph_dtls *d, uint32_t conn, bool keep)
{
    struct ph__dtls_session *s = ph__dtls_by_conn(d, conn);

    if (s)
        s->keep = keep;
}

void ph_dtls_close(struct ph_dtls *d, uint32_t conn)
{
    struct ph__dtls_session *s = ph__dtls_by_conn(d, conn);

    if (!s)
        return;
    ph__dtls_aim(d, s);
    if (s->open && ph__dtls_warm(d, s))
        SSL_shutdown(s->ssl);
    ERR_clear_error();
    ph__dtls_remove(d, s);
}

void ph_dtls_set_tls(struct ph_dtls *d, struct ph_tls *tls)
{
    struct ph_tls *old = d->c.tls;

    d->c.tls = ph_tls_ref(tls);
    ph_tls_unref(old);
    SSL_free(d->spare);
    d->spare = NULL;
}

SSL *ph_dtls_ssl(const struct ph_dtls *d, uint32_t conn)
{
    struct ph__dtls_session *s = ph__dtls_by_conn(d, conn);

    return s && s->open ? s->ssl : NULL;
}

const struct ph_dtls_stats *ph_dtls_stats(const struct ph_dtls *d)
{
    return &d->stats;
}
