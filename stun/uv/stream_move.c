/*
 * Connections that go to another worker: what ConnectionBind and mobility ask for.
 *
 * What moves is the connection itself, out of one table and into another; between the two it belongs to nobody, and
 * nothing in it points to a worker.
 */
#include "stun/uv/stream_priv.h"

#include <stdlib.h>

/* Puts what the caller has not taken in front of what is not yet taken anyway. */
static bool put_back(struct ph_streams *s, struct ph__conn *c, const uint8_t *p, size_t n)
{
    /* A message was handed out without its padding. */
    const size_t padded = c->raw ? n : (n + 3) & ~(size_t)3;

    if (!n)
        return true;
    uint8_t *all = malloc(padded + c->in.n);
    if (!all)
        return false;
    memcpy(all, p, n);
    memset(all + n, 0, padded - n);
    if (c->in.n)
        memcpy(all + padded, c->in.p, c->in.n);
    free(c->in.p);
    s->stored += padded;
    c->in = (struct ph__bytes){all, (uint32_t)padded + c->in.n};
    return true;
}

struct ph_stream_moved *ph_streams_detach(struct ph_streams *s, uint32_t conn,
                                          const uint8_t *unread, size_t n)
{
    struct ph__conn *c = ph__stream_open(s, conn);

    if (!c)
        return NULL;
    /* Out with what the arena has, or into the heap. */
    ph__stream_write(s, c);
    bool ok =
        !c->broken && (s->cur.c != c || ph__stream_keep_rest(s, c)) && put_back(s, c, unread, n);
    if (!ok) {
        ph__stream_broken(s, c, ENOMEM);
        return NULL;
    }
    const bool counted = c->source != PH__SOURCE_NONE;
    ph_worker_unwatch(s->c.worker, c->fd);
    ph__stream_forget(s, c);
    if (c->ssl)
        BIO_set_data(SSL_get_rbio(c->ssl), NULL);
    c->counted = counted;
    c->phase = PH__STREAM_OPEN;
    return (struct ph_stream_moved *)(void *)c;
}

uint32_t ph_streams_attach(struct ph_streams *s, struct ph_stream_moved *m, ph_ns now)
{
    struct ph__conn *c = (struct ph__conn *)(void *)m;

    s->now = now;
    if (!ph__stream_insert(s, c, now)) {
        ph__stream_release(c);
        return 0;
    }
    if (ph_worker_watch(s->c.worker, c->fd, PH_STREAM_ID_CONN | c->num)) {
        ph__stream_destroy(s, c);
        return 0;
    }
    c->watching = EPOLLIN;
    if (c->ssl)
        ph__tls_bind(s, c);
    if (c->counted) /* it was let in already */
        c->source = ph__sources_take(&s->sources, &c->src, UINT32_MAX);
    ph__stream_watch(s, c);
    ph__stream_arm(s, c);
    ph__list_add(&s->dirty, &c->dirty);
    if (c->in.n || c->cipher.n)
        ph__list_add(&s->again, &c->again);
    return c->num;
}

void ph_stream_moved_free(struct ph_stream_moved *m)
{
    if (m)
        ph__stream_release((struct ph__conn *)(void *)m);
}
