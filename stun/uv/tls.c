/*
 * Sets of certificates, and what a handshake asks of them.
 *
 * A session knows its set through its extra data, which also holds the reference: OpenSSL lets it go with the session.
 * Every session begins with the context of the first certificate, whose ticket keys serve them all; SNI only
 * changes which certificate is shown.
 */
#include "stun/uv/tls_priv.h"

#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    COOKIE = 32,       /* bytes: HMAC-SHA256 */
    COOKIE_TTL_S = 64, /* a cookie is good for this long, at least, and at most twice as long */
};

/* What belongs to a session. */
struct session {
    struct ph_tls *tls;
    struct ph_addr client; /* for the cookie */
};

static int session_index;

/* Of the process, not of a set: a client that was given a cookie must find it good after a change of certificates. */
static uint8_t cookie_key[32];

static void session_freed(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl,
                          void *argp)
{
    struct session *s = ptr;

    (void)parent, (void)ad, (void)idx, (void)argl, (void)argp;
    if (s)
        ph_tls_unref(s->tls);
    free(s);
}

static void start(void)
{
    session_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, session_freed);
    if (RAND_bytes(cookie_key, sizeof cookie_key) != 1)
        abort(); /* a key that can be guessed is worse than no service */
}

static struct session *session_of(const SSL *ssl)
{
    return SSL_get_ex_data(ssl, session_index);
}

/* --- SNI and ALPN ---------------------------------------------------------------------------------- */

/* The certificate for a name: the one that has it, else the one with a fitting wildcard, else none. */
static const struct ph__tls_entry *entry_for(const struct ph_tls *t, const char *name)
{
    static const unsigned flags[] = {X509_CHECK_FLAG_NO_WILDCARDS, 0};
    const size_t n = strlen(name);

    for (unsigned k = 0; k < 2; k++)
        for (unsigned i = 0; i < t->n; i++)
            if (X509_check_host(t->v[i].leaf, name, n, flags[k], NULL) == 1)
                return &t->v[i];
    return NULL;
}

static int on_sni(SSL *ssl, int *alert, void *arg)
{
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    const struct session *s = session_of(ssl);

    (void)alert, (void)arg;
    if (!name || !s)
        return SSL_TLSEXT_ERR_NOACK;
    if (s->tls->n > 1) {
        const struct ph__tls_entry *e = entry_for(s->tls, name);
        if (e)
            SSL_set_SSL_CTX(ssl, e->ctx[SSL_is_dtls(ssl)]);
    }
    return SSL_TLSEXT_ERR_OK;
}

/* RFC 7443 4.  What a client does not offer it does not get; but then it means another server. */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *outlen,
                   const unsigned char *in, unsigned inlen, void *arg)
{
    static const unsigned char ours[] = "\x09stun.turn\x12stun.nat-discovery";
    unsigned char *chosen;

    (void)ssl, (void)arg;
    if (SSL_select_next_proto(&chosen, outlen, ours, sizeof ours - 1, in, inlen) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* --- cookies of DTLS (RFC 6347 4.2.1) -------------------------------------------------------------- */

static int64_t cookie_epoch(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (int64_t)t.tv_sec / COOKIE_TTL_S;
}

/* The cookie of a session's client in an epoch. */
static bool make_cookie(const SSL *ssl, int64_t epoch, unsigned char out[static COOKIE])
{
    const struct session *s = session_of(ssl);
    uint8_t text[sizeof s->client + sizeof epoch];
    unsigned n = COOKIE;

    if (!s)
        return false;
    memcpy(text, &s->client, sizeof s->client);
    memcpy(text + sizeof s->client, &epoch, sizeof epoch);
    return HMAC(EVP_sha256(), cookie_key, sizeof cookie_key, text, sizeof text, out, &n) != NULL;
}

static int on_cookie_wanted(SSL *ssl, unsigned char *cookie, unsigned *n)
{
    *n = COOKIE;
    return make_cookie(ssl, cookie_epoch(), cookie);
}

static int on_cookie(SSL *ssl, const unsigned char *cookie, unsigned n)
{
    const int64_t epoch = cookie_epoch();
    unsigned char good[COOKIE];

    if (n != COOKIE)
        return 0;
    for (int64_t e = epoch; e >= epoch - 1; e--)
        if (make_cookie(ssl, e, good) && CRYPTO_memcmp(good, cookie, COOKIE) == 0)
            return 1;
    return 0;
}

void ph_tls_cookie_for(SSL *ssl, const struct ph_addr *client)
{
    struct session *s = session_of(ssl);

    if (s)
        s->client = *client;
}

/* --- sets ------------------------------------------------------------------------------------------ */

static void destroy(struct ph_tls *t)
{
    for (unsigned i = 0; i < t->n; i++) {
        X509_free(t->v[i].leaf);
        SSL_CTX_free(t->v[i].ctx[0]);
        SSL_CTX_free(t->v[i].ctx[1]);
    }
    free(t);
}

static void set_callbacks(SSL_CTX *ctx, bool dtls)
{
    SSL_CTX_set_tlsext_servername_callback(ctx, on_sni);
    SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
    if (dtls) {
        SSL_CTX_set_cookie_generate_cb(ctx, on_cookie_wanted);
        SSL_CTX_set_cookie_verify_cb(ctx, on_cookie);
    }
}

static void warn_of_dates(const struct ph_tls_cert *c, const X509 *x, const struct ph_env *env)
{
    if (X509_cmp_current_time(X509_get0_notAfter(x)) < 0)
        ph_logf(env, PH_LOG_WARN, "%s: the certificate has expired", c->cert);
    else if (X509_cmp_current_time(X509_get0_notBefore(x)) > 0)
        ph_logf(env, PH_LOG_WARN, "%s: the certificate is not yet valid", c->cert);
}

static bool add_entry(struct ph_tls *t, const struct ph_tls_conf *c, const struct ph_env *env,
                      char *why)
{
    const struct ph_tls_cert *cert = &c->cert[t->n];
    struct ph__tls_entry *e = &t->v[t->n];
    struct ph__tls_chain chain;

    if (!ph__tls_read(&chain, cert, why))
        return false;
    t->n++;
    e->leaf = chain.leaf;
    X509_up_ref(e->leaf);
    ph__tls_inspect(&e->info, e->leaf);
    warn_of_dates(cert, e->leaf, env);
    for (unsigned dtls = 0; dtls < 2; dtls++) {
        e->ctx[dtls] = ph__tls_context(c, &chain, dtls, why);
        if (!e->ctx[dtls])
            break;
        set_callbacks(e->ctx[dtls], dtls);
    }
    ph__tls_chain_free(&chain);
    return e->ctx[0] && e->ctx[1];
}

struct ph_tls *ph_tls_new(const struct ph_tls_conf *c, const struct ph_env *env,
                          char why[static PH_TLS_WHY])
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct ph_tls *t = calloc(1, sizeof *t);

    pthread_once(&once, start);
    snprintf(why, PH_TLS_WHY, "%s",
             !t                          ? "out of memory"
             : c->n_certs == 0           ? "no certificate given"
             : c->n_certs > PH_TLS_CERTS ? "too many certificates"
                                         : "");
    if (!t || *why) {
        free(t);
        return NULL;
    }
    atomic_init(&t->refs, 1);
    while (t->n < c->n_certs)
        if (!add_entry(t, c, env, why)) {
            destroy(t);
            return NULL;
        }
    return t;
}

struct ph_tls *ph_tls_ref(struct ph_tls *t)
{
    atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    return t;
}

void ph_tls_unref(struct ph_tls *t)
{
    if (t && atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) == 1)
        destroy(t);
}

SSL *ph_tls_session(struct ph_tls *t, bool dtls)
{
    struct session *s = calloc(1, sizeof *s);
    SSL *ssl = s ? SSL_new(t->v[0].ctx[dtls]) : NULL;

    if (!ssl || !SSL_set_ex_data(ssl, session_index, s)) {
        SSL_free(ssl);
        free(s);
        ERR_clear_error();
        return NULL;
    }
    s->tls = ph_tls_ref(t);
    SSL_set_accept_state(ssl);
    return ssl;
}

bool ph_tls_info(const struct ph_tls *t, unsigned i, struct ph_tls_info *out)
{
    if (i >= t->n)
        return false;
    *out = t->v[i].info;
    return true;
}

void ph_tls_describe(const SSL *ssl, const char **version, const char **cipher, const char **sni)
{
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

    *version = SSL_get_version(ssl);
    *cipher = SSL_get_cipher_name(ssl);
    *sni = name ? name : "";
}
