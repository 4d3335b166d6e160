/*
 * New clients: the cookie exchange (RFC 6347 4.2.1).
 *
 *     ClientHello            ->      nothing is kept: one spare SSL object answers all of them
 *                            <-      HelloVerifyRequest, if the source's budget allows
 *     ClientHello, cookie    ->      the spare becomes the session, and the next hello makes another spare
 *
 * What is no good is dropped in silence by DTLSv1_listen.  Of a ClientHello in fragments it looks at the first alone, in
 * which the cookie must be: so they need no state either.
 */
#include "stun/uv/dtls_priv.h"

#include "stun/base/bytes.h"

#include <openssl/err.h>
#include <string.h>

enum {
    HANDSHAKE = 22,          /* RFC 6347 4.1: content type */
    CLIENT_HELLO = 1,        /* RFC 6347 4.3.2 */
    OFFSET_AT = 13 + 6,      /* of a fragment: behind record header, type, length and number */
    EPOCH_AT = 3,            /* in the record header */
    RANDOM_AT = 13 + 12 + 2, /* behind record header, handshake header and version */
    RANDOM = 32
};

bool ph__dtls_is_hello(const struct ph__dtls_session *s, const struct ph_pkt *p)
{
    const uint8_t *b = ph_buf_data(&p->b);
    uint8_t random[RANDOM];

    if (p->b.len < RANDOM_AT + RANDOM || b[0] != HANDSHAKE || ph_get16(b + EPOCH_AT) != 0 ||
        b[PH__DTLS_RECORD] != CLIENT_HELLO)
        return false;
    if (s && (b[OFFSET_AT] || ph_get16(b + OFFSET_AT + 1)))
        return false; /* the rest of a hello whose first fragment had the cookie */
    /* Without this anybody who has seen a hello with its cookie could end the session by sending it again. */
    return !s || SSL_get_client_random(s->ssl, random, RANDOM) != RANDOM ||
           memcmp(random, b + RANDOM_AT, RANDOM) != 0;
}

/* The client has returned the cookie: the spare is its session, in place of the one it may have had. */
static int welcome(struct ph_dtls *d, struct ph__dtls_session *old, const struct ph_pkt *p,
                   ph_ns now)
{
    ph_budget_refund(d->c.budget, &p->src, d->paid, now);
    if (!old && d->stats.now >= d->c.max_sessions) {
        d->stats.refused_full++;
        return PH_DROP;
    }
    SSL *ssl = d->spare;
    d->spare = NULL;
    if (old) {
        d->stats.closed++;
        ph__dtls_end(d, old, now);
    }
    uint32_t source = ph__sources_take(&d->sources, &p->src, d->c.max_per_addr);
    d->stats.refused_source += source == PH__SOURCE_NONE;
    struct ph__dtls_session *s =
        source == PH__SOURCE_NONE ? NULL : ph__dtls_add(d, ssl, source, p, now);
    if (!s) {
        ph__sources_release(&d->sources, source);
        SSL_free(ssl);
        return PH_DROP;
    }
    ph__dtls_feed(d, p); /* the owner may have sealed something when the old one ended */
    d->in_len = 0;       /* OpenSSL has kept the hello */
    ph__dtls_handshake(d, s, now);
    return PH_CONSUMED;
}

/* Sends the HelloVerifyRequest that DTLSv1_listen has written. */
static int verify(struct ph_dtls *d, struct ph_pkt *reply, uint32_t brought, ph_ns now)
{
    d->stats.hellos++;
    if (reply->b.len > brought)
        return PH_DROP; /* never more than it cost whoever may have forged it */
    if (!ph_budget_take(d->c.budget, &reply->dst, reply->b.len, now)) {
        d->stats.over_budget++;
        return PH_DROP;
    }
    d->paid = reply->b.len;
    d->c.send(d->c.ctx, reply);
    return PH_CONSUMED;
}

int ph__dtls_hello(struct ph_dtls *d, struct ph__dtls_session *s, const struct ph_pkt *p, ph_ns now)
{
    struct ph_addr client = p->src;

    if (!d->spare)
        d->spare = ph__dtls_ssl_new(d);
    if (!d->spare)
        return PH_DROP;
    client.proto = PH_DTLS;
    ph_tls_cookie_for(d->spare, &client);
    ph__dtls_feed(d, p);
    struct ph_pkt reply = d->to;
    reply.b = (struct ph_buf){.base = d->reply, .cap = sizeof d->reply};
    d->out = &reply;
    int r = DTLSv1_listen(d->spare, d->nobody);
    d->out = NULL;
    d->in_len = 0;
    ERR_clear_error();
    if (r == 1)
        return welcome(d, s, p, now);
    if (reply.b.len)
        return verify(d, &reply, p->b.len, now);
    d->stats.bad_record++;
    return PH_DROP;
}
