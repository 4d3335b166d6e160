/*
 * Reading: from bytes to messages.
 *
 * All connections are read into one buffer of the worker, one behind the other:
 *
 *     in        handed out before       cur.p              cur.p + cur.n
 *     |<- messages of others, ours ->|<- not yet taken ->|<- room for a read ->|
 *
 * Messages are handed out where they lie.  When the buffer is full, those who hold some are told (`flush`) and it
 * begins anew.  What is left of half a message when a turn ends goes to the heap, so that an idle connection
 * owns none of the buffer.
 */
#include "stun/uv/stream_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

static const char bad_request[] = "HTTP/1.1 400 Bad Request\r\n"
                                  "Content-Type: text/plain\r\n"
                                  "Content-Length: 31\r\n"
                                  "Connection: close\r\n"
                                  "\r\n"
                                  "This is a STUN or TURN server.\n";

/* --- the buffer ------------------------------------------------------------------------------------ */

/* Begins the turn of a connection with what it has in store. */
static void begin(struct ph_streams *s, struct ph__conn *c)
{
    if (PH__STREAM_IN - s->in_off < c->in.n + PH__STREAM_READ)
        ph__stream_handed(s);
    s->cur = (struct ph__stream_cur){
        .c = c, .p = s->in + s->in_off, .n = c->in.n, .reads = PH__STREAM_READS, .eof = c->eof};
    if (c->in.n) {
        memcpy(s->cur.p, c->in.p, c->in.n);
        s->stored -= c->in.n;
        free(c->in.p);
        c->in = (struct ph__bytes){0};
    }
    if (c->cipher.n) {
        memcpy(s->cipher, c->cipher.p, c->cipher.n);
        s->stored -= c->cipher.n;
        s->cur.feed = s->cipher;
        s->cur.feed_n = c->cipher.n;
        free(c->cipher.p);
        c->cipher = (struct ph__bytes){0};
    }
}

/* Makes room for a whole read behind what is not yet taken. */
static void make_room(struct ph_streams *s)
{
    struct ph__stream_cur *cur = &s->cur;

    if ((size_t)(s->in + PH__STREAM_IN - cur->p) >= cur->n + PH__STREAM_READ)
        return;
    ph__stream_handed(s);
    memmove(s->in, cur->p, cur->n);
    cur->p = s->in;
}

static bool store(struct ph_streams *s, struct ph__bytes *b, const uint8_t *p, uint32_t n)
{
    if (!n)
        return true;
    b->p = malloc(n);
    if (!b->p)
        return false;
    memcpy(b->p, p, n);
    b->n = n;
    s->stored += n;
    return true;
}

/* Ends the turn: keeps what is not yet taken.  Also for one that is being taken elsewhere. */
bool ph__stream_keep_rest(struct ph_streams *s, struct ph__conn *c)
{
    struct ph__stream_cur *cur = &s->cur;
    const bool too_much = !c->keep && s->stored + cur->n > PH__STREAM_HALVES;
    const bool ok = !too_much && store(s, &c->in, cur->p, cur->n) &&
                    store(s, &c->cipher, cur->feed, cur->feed_n);

    cur->c = NULL;
    cur->n = cur->feed_n = 0;
    return ok;
}

/* --- what the bytes are ---------------------------------------------------------------------------- */

static void answer_http(struct ph_streams *s, struct ph__conn *c, ph_ns now)
{
    const struct ph_pkt p = {.b = {.base = (uint8_t *)(uintptr_t)bad_request,
                                   .cap = sizeof bad_request - 1,
                                   .len = sizeof bad_request - 1}};

    if (s->c.http_400)
        ph__stream_queue(s, c, PH__MSG_BYTES, &p);
    ph__stream_end(s, c, PH_STREAM_IS_HTTP, now);
}

/* The PROXY header.  False: wait for more, or it is over. */
static bool take_proxy(struct ph_streams *s, struct ph__conn *c, ph_ns now)
{
    struct ph_proxy px;
    const int n = ph_proxy_parse(&px, s->cur.p, s->cur.n);

    if (n < 0)
        ph__stream_end(s, c, PH_STREAM_BAD_PROXY, now);
    if (n <= 0)
        return false;
    s->cur.p += n;
    s->cur.n -= (uint32_t)n;
    if (!px.local && px.src.family) {
        c->src = px.src;
        c->dst = px.dst.family ? px.dst : c->dst;
    }
    c->phase = PH__STREAM_SNIFF;
    c->source = ph__sources_take(&s->sources, &c->src, s->c.max_per_addr);
    if (c->source != PH__SOURCE_NONE)
        return true;
    s->st.refused_source++;
    ph__stream_destroy(s, c);
    return false;
}

/* TLS may begin: its bytes go to the decrypter instead.  False: it is over. */
static bool begin_tls(struct ph_streams *s, struct ph__conn *c, ph_ns now)
{
    struct ph__stream_cur *cur = &s->cur;

    if (!ph__tls_begin(s, c)) {
        ph__stream_end(s, c, PH_STREAM_RESET, now);
        return false;
    }
    memcpy(s->cipher, cur->p, cur->n);
    cur->feed = s->cipher;
    cur->feed_n = cur->n;
    s->st.rx_bytes -= cur->n; /* what is inside counts */
    cur->n = 0;
    c->phase = PH__STREAM_HANDSHAKE;
    return true;
}

/* The first bytes, outside of TLS or inside.  False: wait for more, or it is over. */
static bool take_first(struct ph_streams *s, struct ph__conn *c, ph_ns now)
{
    const enum ph_stream_kind kind = ph_stream_sniff(s->cur.p, s->cur.n);
    const bool inside = c->ssl;

    if (kind == PH_STREAM_UNKNOWN)
        return false;
    if (kind == PH_STREAM_PLAIN && (inside || c->may_plain)) {
        c->phase = PH__STREAM_OPEN;
        c->last_at = now;
        return true;
    }
    if (kind == PH_STREAM_TLS && !inside && c->may_tls && s->tls)
        return begin_tls(s, c, now);
    if (kind == PH_STREAM_HTTP)
        answer_http(s, c, now);
    else
        ph__stream_end(s, c, inside || c->may_plain ? PH_STREAM_BAD_FRAME : PH_STREAM_BAD_TLS, now);
    return false;
}

/* --- messages and bytes ---------------------------------------------------------------------------- */

/* The next whole message.  False: there is none. */
static bool take_frame(struct ph_streams *s, struct ph__conn *c, struct ph_pkt *p, ph_ns now)
{
    struct ph__stream_cur *cur = &s->cur;
    uint32_t bare;
    const int len = ph_stream_frame(cur->p, cur->n, &bare);

    if (len < 0) {
        ph__stream_end(s, c, PH_STREAM_BAD_FRAME, now);
        return false;
    }
    if (len == 0 || (uint32_t)len > cur->n)
        return false;
    p->b = (struct ph_buf){.base = cur->p, .cap = bare, .len = bare};
    cur->p += len;
    cur->n -= (uint32_t)len;
    return true;
}

static void take_frames(struct ph_streams *s, struct ph__conn *c, ph_ns now)
{
    const struct ph_pkt proto = {.src = c->src, .dst = c->dst, .sock = c->sock, .conn = c->num};
    struct ph_pkt p = proto;

    while (s->cur.c == c && !c->raw && !c->held && take_frame(s, c, &p, now)) {
        c->last_at = now;
        c->begun_at = 0;
        s->st.rx_messages++;
        s->handed = true;
        s->c.calls.message(s->c.ctx, &p, now);
        const struct ph_buf none = {0};
        p = proto;
        p.b = none;
    }
}

static void take_bytes(struct ph_streams *s, struct ph__conn *c, ph_ns now)
{
    struct ph__stream_cur *cur = &s->cur;
    const uint32_t n = cur->n;
    const size_t took = s->c.calls.bytes(s->c.ctx, c->num, cur->p, n, now);

    if (cur->c != c)
        return;
    cur->p += took;
    cur->n -= (uint32_t)took;
    if (took < n) {
        c->paused = true;
        ph__stream_watch(s, c);
    }
}

static void take(struct ph_streams *s, struct ph__conn *c, ph_ns now)
{
    struct ph__stream_cur *cur = &s->cur;

    if (c->phase == PH__STREAM_PROXY && !take_proxy(s, c, now))
        return;
    if (c->phase == PH__STREAM_SNIFF && cur->n && !take_first(s, c, now))
        return;
    if (c->phase != PH__STREAM_OPEN || !cur->n)
        return;
    if (!c->raw)
        take_frames(s, c, now);
    if (cur->c == c && c->raw && cur->n && !c->paused)
        take_bytes(s, c, now);
}

/* --- a turn ---------------------------------------------------------------------------------------- */

/* Bytes of the socket, or PH__GOT_....  A read that is not filled was the last: it saves the one that would
 * say so. */
static int get_plain(struct ph_streams *s, struct ph__conn *c, uint8_t *to)
{
    struct ph__stream_cur *cur = &s->cur;

    if (!cur->reads)
        return PH__GOT_NOTHING;
    const ssize_t n = recv(c->fd, to, PH__STREAM_READ, 0);
    s->st.rx_calls++;
    cur->reads = n == PH__STREAM_READ ? cur->reads - 1 : 0;
    if (n > 0)
        return (int)n;
    if (n == 0)
        return PH__GOT_EOF;
    return errno == EAGAIN || errno == EINTR ? PH__GOT_NOTHING : PH__GOT_RESET;
}

/* There will be no more of it. */
static void over(struct ph_streams *s, struct ph__conn *c, int got, ph_ns now)
{
    c->eof = got == PH__GOT_EOF;
    ph__stream_end(s, c,
                   got == PH__GOT_EOF   ? PH_STREAM_CLOSED
                   : got == PH__GOT_BAD ? PH_STREAM_BAD_TLS
                                        : PH_STREAM_RESET,
                   now);
}

/* Ends the turn of a connection that goes on. */
static void end(struct ph_streams *s, struct ph__conn *c, ph_ns now)
{
    if (s->cur.n && !c->begun_at && !c->raw)
        c->begun_at = now;
    s->in_off = (uint32_t)(s->cur.p - s->in);
    if (!ph__stream_keep_rest(s, c)) {
        ph__stream_end(s, c, PH_STREAM_RESET, now);
        return;
    }
    ph__stream_arm(s, c);
}

void ph__stream_read(struct ph_streams *s, struct ph__conn *c, ph_ns now)
{
    struct ph__stream_cur *cur = &s->cur;

    begin(s, c);
    if (cur->n)
        take(s, c, now);
    while (cur->c == c && !c->paused && !c->held) {
        make_room(s);
        uint8_t *to = cur->p + cur->n;
        const int n = c->ssl ? ph__tls_get(s, c, to, PH__STREAM_READ, now) : get_plain(s, c, to);
        if (n < 0)
            over(s, c, n, now);
        if (n <= 0)
            break;
        s->st.rx_bytes += (uint32_t)n;
        cur->n += (uint32_t)n;
        take(s, c, now);
    }
    if (cur->c == c)
        end(s, c, now);
    else /* it is gone: what was handed out stays, whatever is behind does not matter */
        s->in_off = (uint32_t)(cur->p - s->in);
    cur->c = NULL;
}

bool ph__stream_discard(struct ph_streams *s, struct ph__conn *c)
{
    for (unsigned i = 0; i < PH__STREAM_READS; i++) {
        const ssize_t n = recv(c->fd, s->cipher, PH__STREAM_CIPHER, MSG_TRUNC);
        if (n <= 0)
            return n < 0 && (errno == EAGAIN || errno == EINTR);
    }
    return true;
}
