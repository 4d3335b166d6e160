/*
 * The bytes on a link, encrypted or not.
 *
 * What waits to be sent is kept as it was given, and encrypted in large pieces when the socket is ready for them.
 */
#include "stun/base/error.h"
#include "turn/store/redis_link.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

enum {
    READ = 16384,
    READS = 16,
    OUT_MIN = 4096,
    OUT_KEEP = 256 << 10, /* room that stays when all is sent */
    CHUNK = 64 << 10,     /* encrypted at once */
};

/* --- bytes from the server ------------------------------------------------------------------------- */

static bool would_block(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

/* The session is over.  The server may be told so, if it still listens. */
static bool fail_tls(struct ph__link *l, const char *why)
{
    const char *p;
    const size_t n = ph__rtls_out(l->tls, &p);
    const ssize_t k = n ? send(l->w->fd, p, n, MSG_NOSIGNAL) : 0;

    (void)k;
    ph__link_end(l, why, true);
    return false;
}

static bool shake(struct ph__link *l)
{
    char why[PH__REDIS_WHY];
    const int done = ph__rtls_shake(l->tls, why);

    if (done < 0)
        return fail_tls(l, why);
    if (done) {
        l->up = true;
        l->c.up(l->c.ctx);
    }
    return !l->closed;
}

/* Takes bytes of the server.  False: the connection is over, and down has been told, or it was closed meanwhile. */
static bool take(struct ph__link *l, const char *p, size_t n)
{
    char plain[READ], why[PH__REDIS_WHY];
    int k = 0;

    if (!l->tls) {
        l->c.data(l->c.ctx, p, n);
        return !l->closed;
    }
    if (n && !ph__rtls_feed(l->tls, p, n)) {
        ph__link_fail(l, PH_E_NOMEM);
        return false;
    }
    if (!l->up && !shake(l))
        return false;
    while (l->up && (k = ph__rtls_read(l->tls, plain, sizeof plain, why)) > 0) {
        l->c.data(l->c.ctx, plain, (size_t)k);
        if (l->closed)
            return false;
    }
    if (k < 0)
        return fail_tls(l, why);
    if (ph__rtls_out(l->tls, &p))
        ph__link_soon(l);
    return true;
}

/* Unless it is to be encrypted that is all. */
void ph__wire_begin(struct ph__link *l)
{
    if (!l->c.tls) {
        l->up = true;
        l->c.up(l->c.ctx);
        return;
    }
    l->tls = ph__rtls_new(l->c.tls, l->c.to);
    if (!l->tls)
        ph__link_fail(l, PH_E_NOMEM);
    else
        take(l, "", 0);
}

/* Reads what is there.  False: as for take. */
bool ph__wire_receive(struct ph__link *l)
{
    char buf[READ];

    for (unsigned i = 0; i < READS; i++) {
        const ssize_t n = recv(l->w->fd, buf, sizeof buf, 0);
        if (n < 0 && would_block())
            return true;
        if (n == 0 && ph__link_shaking(l)) {
            ph__link_end(l, "the server ended the TLS handshake", true);
            return false;
        }
        if (n <= 0) {
            ph__link_fail(l, n ? -errno : 0);
            return false;
        }
        if (!take(l, buf, (size_t)n))
            return false;
    }
    return true;
}

/* --- bytes to the server --------------------------------------------------------------------------- */

/* All of it is on its way.  A buffer that was needed once, for a lot, is not kept. */
static void emptied(struct ph__link *l)
{
    l->out_at = l->out_n = 0;
    if (l->out_cap > OUT_KEEP) {
        free(l->out);
        l->out = NULL;
        l->out_cap = 0;
    }
}

/* Encrypts more, once all that is encrypted has left.  False: the session is over. */
static bool encrypt(struct ph__link *l)
{
    char why[PH__REDIS_WHY];
    const char *p;
    const size_t left = l->out_n - l->out_at, n = left < CHUNK ? left : CHUNK;

    if (!l->up || !n || ph__rtls_out(l->tls, &p))
        return true;
    if (!ph__rtls_write(l->tls, l->out + l->out_at, n, why))
        return fail_tls(l, why);
    l->out_at += n;
    if (l->out_at == l->out_n)
        emptied(l);
    return true;
}

/* What the socket is to take next. */
static size_t next_bytes(struct ph__link *l, const char **p)
{
    if (l->tls)
        return encrypt(l) ? ph__rtls_out(l->tls, p) : 0;
    *p = l->out + l->out_at;
    return l->out_n - l->out_at;
}

static void sent(struct ph__link *l, size_t n)
{
    if (l->tls) {
        ph__rtls_sent(l->tls, n);
        return;
    }
    l->out_at += n;
    if (l->out_at == l->out_n)
        emptied(l);
}

void ph__wire_transmit(struct ph__link *l)
{
    const char *p;
    size_t n;

    while ((n = next_bytes(l, &p)) > 0) {
        const ssize_t k = send(l->w->fd, p, n, MSG_NOSIGNAL);
        if (k < 0 && would_block()) {
            l->blocked = ph__link_watch(l, UV_READABLE | UV_WRITABLE) == 0;
            return;
        }
        if (k < 0) {
            ph__link_fail(l, -errno);
            return;
        }
        sent(l, (size_t)k);
    }
    if (l->blocked && !l->over)
        ph__link_watch(l, UV_READABLE);
    l->blocked = false;
}

/* Room for n more bytes.  What is left is only moved when that gains enough. */
static int grow(struct ph__link *l, size_t n)
{
    if (l->out_at > l->out_cap / 4) {
        memmove(l->out, l->out + l->out_at, l->out_n - l->out_at);
        l->out_n -= l->out_at;
        l->out_at = 0;
    }
    if (n > PH_REDIS_OUT || l->out_n + n > PH_REDIS_OUT)
        return PH_E_LIMIT;
    size_t cap = l->out_cap ? l->out_cap : OUT_MIN;
    while (cap < l->out_n + n)
        cap *= 2;
    if (cap == l->out_cap)
        return 0;
    char *out = realloc(l->out, cap);
    if (!out)
        return PH_E_NOMEM;
    l->out = out;
    l->out_cap = cap;
    return 0;
}

int ph__link_send(struct ph__link *l, const void *bytes, size_t n)
{
    if (!l->up || l->over || l->closed)
        return PH_E_STATE;
    const int err = n > l->out_cap - l->out_n ? grow(l, n) : 0;
    if (err)
        return err;
    memcpy(l->out + l->out_n, bytes, n);
    l->out_n += n;
    if (!l->blocked)
        ph__link_soon(l);
    return 0;
}
