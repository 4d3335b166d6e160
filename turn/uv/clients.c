/*
 * Clients over TCP, TLS and DTLS: from connections to the core and back.
 *
 *     stream --message--> core --> relay socket (the batch; it points into the stream's read buffer)
 *     datagram -> ph_dtls_input -> core --> relay socket (decrypted in place)
 *
 * Streams hold their buffers until `flush` has been called, so a read's messages leave in one batch.  What goes to a
 * client is copied once, into its stream's queue, or sealed into a scratch buffer of the batch.
 */
#include "turn/uv/priv.h"

#include "stun/base/bytes.h"
#include "stun/base/error.h"
#include "stun/codec/proto.h"

#include <string.h>

/* --- to clients ------------------------------------------------------------------------------------ */

void ph__client_send(struct ph__turn_worker *w, struct ph_pkt *p)
{
    struct ph_pkt out;

    if (!(p->conn & PH_DTLS_CONN)) {
        if (w->streams)
            ph_streams_send(w->streams, p);
        return;
    }
    if (!w->dtls)
        return;
    ph_batch_scratch(w->batch, &out); /* where p may lie too, if the core has built it */
    if (ph_dtls_seal(w->dtls, p, &out) == PH_SEND)
        ph_batch_send(w->batch, &w->listener[out.sock], &out);
}

void ph__client_keep(struct ph__turn_worker *w, uint32_t conn, bool keep)
{
    if (conn & PH_DTLS_CONN) {
        if (w->dtls)
            ph_dtls_keep(w->dtls, conn, keep);
    } else if (conn && w->streams) {
        ph_streams_keep(w->streams, conn, keep);
    }
}

/* --- from clients ---------------------------------------------------------------------------------- */

/* The method of a request, 0 for anything else. */
static uint16_t method_of(const struct ph_buf *b)
{
    const uint8_t *p = ph_buf_data(b);

    if (b->len < 2 || ph_stun_class(ph_get16(p)) != PH_REQUEST || p[0] & 0xC0)
        return 0;
    return ph_stun_method(ph_get16(p));
}

void ph__client_input(struct ph__turn_worker *w, struct ph_pkt *p, bool final, ph_ns now)
{
    const uint32_t conn = p->conn, sock = p->sock;
    const struct ph_addr client = p->src;
    const uint16_t method = method_of(&p->b);
    const int verdict = final ? ph__turn_input_final(w, p, now) : ph__turn_input(w, p, now);

    if (verdict != PH_SEND) {
        ph__turn_act(w, p, verdict, now);
        return;
    }
    ph__turn_send(w, p);
    if (!method)
        return;
    /* Before the next message: after a ConnectionBind there is none. */
    ph__turn_worker_drain(w, now);
    if (method == PH_REFRESH) { /* it may have brought an allocation along */
        ph__client_keep(w, ph_turnd_left(w->core), false);
        ph__client_keep(w, conn, ph_turnd_conn_needed(w->core, sock, &client));
    }
}

static void client_gone(struct ph__turn_worker *w, uint32_t conn, uint32_t sock,
                        const struct ph_addr *client, ph_ns now)
{
    ph__park_forget(w, conn);
    if (sock < PH_TURND_LISTENERS)
        ph_turnd_conn_closed(w->core, sock, client, now);
}

/* --- streams --------------------------------------------------------------------------------------- */

static void on_message(void *ctx, struct ph_pkt *p, ph_ns now)
{
    struct ph__turn_worker *w = ctx;

    w->called = true;
    ph__client_input(w, p, false, now);
}

static size_t on_bytes(void *ctx, uint32_t conn, const uint8_t *p, size_t n, ph_ns now)
{
    struct ph__turn_worker *w = ctx;

    w->called = true;
    return ph__tcprelay_bytes(w, conn, p, n, now);
}

static void on_writable(void *ctx, uint32_t conn, ph_ns now)
{
    struct ph__turn_worker *w = ctx;

    (void)now;
    w->called = true;
    ph__tcprelay_writable(w, conn);
}

static void on_connected(void *ctx, uint32_t conn, int err, ph_ns now)
{
    struct ph__turn_worker *w = ctx;

    w->called = true;
    ph__tcprelay_connected(w, conn, err, now);
}

static bool on_accepted(void *ctx, uint32_t listener, uint32_t conn, const struct ph_addr *peer,
                        ph_ns now)
{
    struct ph__turn_worker *w = ctx;

    w->called = true;
    return ph__tcprelay_accepted(w, listener, conn, peer, now);
}

static void on_ended(void *ctx, uint32_t conn, uint32_t sock, const struct ph_addr *peer,
                     enum ph_stream_end why, ph_ns now)
{
    struct ph__turn_worker *w = ctx;

    (void)why; /* the streams have counted it */
    w->called = true;
    if (!ph__tcprelay_ended(w, conn, now))
        client_gone(w, conn, sock, peer, now);
}

static void on_flush(void *ctx)
{
    struct ph__turn_worker *w = ctx;

    ph_batch_flush(w->batch);
}

/* --- DTLS ------------------------------------------------------------------------------------------ */

void ph__client_dtls(struct ph__turn_worker *w, struct ph_pkt *p, ph_ns now)
{
    const uint8_t *base = p->b.base;

    if (ph_dtls_input(w->dtls, p, now) != PH_DATA)
        return;
    do {
        const bool borrowed = p->b.base != base;
        ph__client_input(w, p, false, now);
        if (borrowed) /* it may be queued where the next one will be */
            ph_batch_flush(w->batch);
    } while (ph_dtls_next(w->dtls, p));
}

static void on_flight(void *ctx, struct ph_pkt *p)
{
    struct ph__turn_worker *w = ctx;
    struct ph_pkt out;

    if (p->b.len > PH_BATCH_SCRATCH_ROOM)
        return;
    ph_batch_scratch(w->batch, &out);
    memcpy(ph_buf_data(&out.b), ph_buf_data(&p->b), p->b.len);
    out.b.len = p->b.len;
    out.dst = p->dst;
    out.src = p->src;
    ph_batch_send(w->batch, &w->listener[p->sock], &out);
}

static void on_session_ended(void *ctx, uint32_t conn, uint32_t sock, const struct ph_addr *client,
                             ph_ns now)
{
    client_gone(ctx, conn, sock, client, now);
}

/* --- life ------------------------------------------------------------------------------------------ */

static struct ph_streams *make_streams(struct ph__turn_worker *w)
{
    const struct ph_turn_uv_conf *c = &w->owner->c;
    const struct ph_streams_conf s = {.worker = w->w,
                                      .env = &w->owner->env,
                                      .calls = {.message = on_message,
                                                .bytes = on_bytes,
                                                .writable = on_writable,
                                                .connected = on_connected,
                                                .accepted = on_accepted,
                                                .ended = on_ended,
                                                .flush = on_flush},
                                      .ctx = w,
                                      .tls = c->tls,
                                      .max_conns = c->max_conns,
                                      .max_per_addr = c->max_conns_per_addr,
                                      .handshake_timeout = c->handshake_timeout,
                                      .idle_timeout = c->idle_timeout,
                                      .queue_bytes = c->stream_queue,
                                      .http_400 = c->http_400,
                                      .free_bind = c->free_bind};

    return ph_streams_new(&s);
}

static struct ph_dtls *make_dtls(struct ph__turn_worker *w)
{
    const struct ph_turn_uv_conf *c = &w->owner->c;
    const struct ph_dtls_conf d = {.env = &w->owner->env,
                                   .tls = c->tls,
                                   .budget = w->budget,
                                   .max_sessions = c->max_conns,
                                   .max_per_addr = c->max_conns_per_addr,
                                   .handshake_timeout = c->handshake_timeout,
                                   .idle_timeout = c->idle_timeout,
                                   .send = on_flight,
                                   .ended = on_session_ended,
                                   .ctx = w};

    return ph_dtls_new(&d);
}

int ph__clients_init(struct ph__turn_worker *w)
{
    const struct ph_turn_uv_conf *c = &w->owner->c;
    bool streams = false, dtls = false;

    for (unsigned i = 0; i < c->core.n_listeners; i++) {
        if (c->core.listener[i].at.proto != PH_UDP)
            streams = true;
        else if (ph__turn_accept(c, i) & PH_ACCEPT_TLS)
            dtls = c->tls;
    }
    if (streams && !(w->streams = make_streams(w)))
        return PH_E_NOMEM;
    if (dtls && !(w->dtls = make_dtls(w)))
        return PH_E_NOMEM;
    return 0;
}

void ph__clients_fini(struct ph__turn_worker *w)
{
    if (w->dtls)
        ph_dtls_free(w->dtls);
    if (w->streams)
        ph_streams_free(w->streams);
    w->dtls = NULL;
    w->streams = NULL;
}
