/*
 * What a worker tells on its own thread, to who has put something of his own on its loop (conf.on_loop).
 */
#include "turn/uv/priv.h"

static struct ph__turn_worker *worker_of(struct ph_turn_uv_here *here)
{
    return (struct ph__turn_worker *)here;
}

void ph__here_begin(struct ph__turn_worker *w)
{
    const struct ph_turn_uv_conf *c = &w->owner->c;

    w->told = true;
    if (c->on_loop)
        c->on_loop(c->ctx, w->index, ph_worker_loop(w->w), (struct ph_turn_uv_here *)w);
}

void ph__here_end(struct ph__turn_worker *w)
{
    const struct ph_turn_uv_conf *c = &w->owner->c;

    if (w->told && c->on_loop)
        c->on_loop(c->ctx, w->index, NULL, (struct ph_turn_uv_here *)w);
    w->told = false;
}

bool ph_turn_uv_here_next(struct ph_turn_uv_here *here, uint32_t *id, struct ph_turnd_info *out)
{
    return ph_turnd_list(worker_of(here)->core, id, out);
}

bool ph_turn_uv_here_tls(struct ph_turn_uv_here *here, uint32_t conn, const char **version,
                         const char **cipher)
{
    const struct ph__turn_worker *w = worker_of(here);
    const char *sni;
    SSL *ssl = NULL;

    if (conn & PH_DTLS_CONN)
        ssl = w->dtls ? ph_dtls_ssl(w->dtls, conn) : NULL;
    else if (conn && w->streams)
        ssl = ph_streams_ssl(w->streams, conn);
    if (!ssl)
        return false;
    ph_tls_describe(ssl, version, cipher, &sni);
    return true;
}
