/*
 * TLS to a Redis server, over memory: the link feeds in what it reads and sends what comes out.  (hiredis 0.14 has
 * none.)
 *
 * Certificates are verified against the authorities that were named, or the system's, and for the name or address
 * that was configured.  What fails is said in a line that names the cause, as far as OpenSSL lets it be known.
 */
#include "turn/store/redis_conn.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

enum { TLS_ALERT = 0x15, TLS_HANDSHAKE = 0x16 };

struct ph__rtls {
    SSL *ssl;
    BIO *in, *out;   /* belong to ssl */
    size_t sent;     /* of what is in out */
    bool fed, alien; /* something came; it began like nothing of TLS */
    char name[256];  /* whom the certificate must be for */
};

/* --- what is loaded -------------------------------------------------------------------------------- */

static const char *reason(void)
{
    const char *text = ERR_reason_error_string(ERR_peek_last_error());

    return text ? text : "no reason given";
}

static bool bad_file(char *why, const char *file, const char *what)
{
    const unsigned long e = ERR_peek_error();

    if (ERR_SYSTEM_ERROR(e))
        snprintf(why, PH__REDIS_WHY, "%.120s: %s", file, strerror(ERR_GET_REASON(e)));
    else
        snprintf(why, PH__REDIS_WHY, "%.120s: %s (%.30s)", file, what, reason());
    return false;
}

/* OpenSSL would ask at the terminal. */
static int no_password(char *buf, int size, int for_writing, void *ctx)
{
    (void)buf, (void)size, (void)for_writing, (void)ctx;
    return -1;
}

static bool load_authorities(SSL_CTX *ctx, const struct ph_redis_conf *c, char *why)
{
    if (c->no_verify)
        return true;
    if (c->ca[0] && !SSL_CTX_load_verify_file(ctx, c->ca))
        return bad_file(why, c->ca, "no certificates of authorities");
    if (c->capath[0]) { /* OpenSSL looks only when it wants one */
        DIR *d = opendir(c->capath);
        if (!d || !SSL_CTX_load_verify_dir(ctx, c->capath))
            snprintf(why, PH__REDIS_WHY, "%.120s: %s", c->capath, strerror(errno));
        if (!d)
            return false;
        closedir(d);
    }
    if (!c->ca[0] && !c->capath[0])
        SSL_CTX_set_default_verify_paths(ctx);
    return true;
}

static bool load_own(SSL_CTX *ctx, const struct ph_redis_conf *c, char *why)
{
    const char *key = c->key[0] ? c->key : c->cert;

    if (!c->cert[0])
        return true;
    if (SSL_CTX_use_certificate_chain_file(ctx, c->cert) != 1)
        return bad_file(why, c->cert, "no certificate");
    if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
        return bad_file(why, key, "no private key for the certificate");
    return true;
}

SSL_CTX *ph__rtls_load(const struct ph_redis_conf *c, char why[static PH__REDIS_WHY])
{
    ERR_clear_error();
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

    if (!ctx) {
        snprintf(why, PH__REDIS_WHY, "out of memory");
        return NULL;
    }
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    /* Whatever certificate is named as an authority is one, also a server's own. */
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), X509_V_FLAG_PARTIAL_CHAIN);
    SSL_CTX_set_default_passwd_cb(ctx, no_password);
    if (!load_authorities(ctx, c, why) || !load_own(ctx, c, why)) {
        SSL_CTX_free(ctx);
        ctx = NULL;
    }
    ERR_clear_error();
    return ctx;
}

/* --- a session ------------------------------------------------------------------------------------- */

static bool is_address(const char *text)
{
    uint8_t ip[16];

    return inet_pton(AF_INET, text, ip) == 1 || inet_pton(AF_INET6, text, ip) == 1;
}

/* Whom we expect; and SNI, which is for names only (RFC 6066 3). */
static bool expect(struct ph__rtls *t, bool verify)
{
    X509_VERIFY_PARAM *const param = SSL_get0_param(t->ssl);
    const bool ip = is_address(t->name);
    bool ok = ip || SSL_set_tlsext_host_name(t->ssl, t->name);

    SSL_set_verify(t->ssl, verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    if (!verify || !ok)
        return ok;
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return ip ? X509_VERIFY_PARAM_set1_ip_asc(param, t->name)
              : X509_VERIFY_PARAM_set1_host(param, t->name, 0);
}

struct ph__rtls *ph__rtls_new(SSL_CTX *ctx, const struct ph_redis_conf *to)
{
    struct ph__rtls *t = calloc(1, sizeof *t);

    if (!t)
        return NULL;
    t->ssl = SSL_new(ctx);
    t->in = BIO_new(BIO_s_mem());
    t->out = BIO_new(BIO_s_mem());
    if (!t->ssl || !t->in || !t->out) {
        BIO_free(t->in);
        BIO_free(t->out);
        SSL_free(t->ssl);
        free(t);
        return NULL;
    }
    SSL_set_bio(t->ssl, t->in, t->out);
    SSL_set_connect_state(t->ssl);
    snprintf(t->name, sizeof t->name, "%s", to->sni[0] ? to->sni : to->host);
    if (!expect(t, !to->no_verify)) {
        ph__rtls_free(t);
        return NULL;
    }
    return t;
}

void ph__rtls_free(struct ph__rtls *t)
{
    if (t)
        SSL_free(t->ssl);
    free(t);
}

bool ph__rtls_feed(struct ph__rtls *t, const char *p, size_t n)
{
    if (!t->fed && n)
        t->alien = *p != TLS_ALERT && *p != TLS_HANDSHAKE;
    t->fed = true;
    return BIO_write(t->in, p, (int)n) == (int)n;
}

size_t ph__rtls_out(const struct ph__rtls *t, const char **p)
{
    char *all = NULL;
    const long n = BIO_get_mem_data(t->out, &all);

    *p = all + t->sent;
    return (size_t)n - t->sent;
}

void ph__rtls_sent(struct ph__rtls *t, size_t n)
{
    const char *rest;

    t->sent += n;
    if (ph__rtls_out(t, &rest) == 0) {
        BIO_reset(t->out);
        t->sent = 0;
    }
}

/* --- what goes wrong ------------------------------------------------------------------------------- */

/* The server's certificate does not satisfy us. */
static void explain_certificate(const struct ph__rtls *t, long result, char *why)
{
    switch (result) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        snprintf(why, PH__REDIS_WHY, "the server's certificate has expired");
        break;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        snprintf(why, PH__REDIS_WHY, "the server's certificate is not valid yet");
        break;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        snprintf(why, PH__REDIS_WHY,
                 "the server's certificate is not for %.100s (sni=NAME says whom it is for)",
                 t->name);
        break;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        snprintf(why, PH__REDIS_WHY,
                 "the server's certificate is not trusted: no authority known here has signed it "
                 "(ca=FILE names one)");
        break;
    default:
        snprintf(why, PH__REDIS_WHY, "the server's certificate is refused (%.100s)",
                 X509_verify_cert_error_string(result));
    }
}

/* The server said no, by an alert (RFC 8446 6). */
static void explain_alert(int alert, char *why)
{
    const char *text;

    switch (alert) {
    case SSL_AD_CERTIFICATE_REQUIRED:
        text = "the server wants a certificate of ours (cert=FILE and clientkey=FILE)";
        break;
    case SSL_AD_UNKNOWN_CA:
        text = "the server does not trust our certificate";
        break;
    case SSL_AD_CERTIFICATE_EXPIRED:
        text = "our certificate has expired";
        break;
    case SSL_AD_PROTOCOL_VERSION:
        text = "the server speaks neither TLS 1.2 nor 1.3";
        break;
    default:
        snprintf(why, PH__REDIS_WHY, "the server refuses TLS (%.80s)", reason());
        return;
    }
    snprintf(why, PH__REDIS_WHY, "%s", text);
}

static void explain(const struct ph__rtls *t, char *why)
{
    const long verified = SSL_get_verify_result(t->ssl);
    const int code = ERR_GET_REASON(ERR_peek_last_error());

    if (t->alien)
        snprintf(why, PH__REDIS_WHY, "the server speaks no TLS on this port");
    else if (code == SSL_R_CERTIFICATE_VERIFY_FAILED && verified != X509_V_OK)
        explain_certificate(t, verified, why);
    else if (code > SSL_AD_REASON_OFFSET)
        explain_alert(code - SSL_AD_REASON_OFFSET, why);
    else if (code == SSL_R_UNSUPPORTED_PROTOCOL)
        explain_alert(SSL_AD_PROTOCOL_VERSION, why);
    else
        snprintf(why, PH__REDIS_WHY, "TLS failed (%.80s)", reason());
    ERR_clear_error();
}

/* --- bytes ----------------------------------------------------------------------------------------- */

int ph__rtls_shake(struct ph__rtls *t, char why[static PH__REDIS_WHY])
{
    ERR_clear_error();
    const int n = SSL_do_handshake(t->ssl);

    if (n == 1)
        return 1;
    if (!t->alien && SSL_get_error(t->ssl, n) == SSL_ERROR_WANT_READ)
        return 0;
    explain(t, why);
    return -1;
}

int ph__rtls_read(struct ph__rtls *t, char *to, size_t cap, char why[static PH__REDIS_WHY])
{
    ERR_clear_error();
    const int n = SSL_read(t->ssl, to, cap > INT_MAX ? INT_MAX : (int)cap);

    if (n > 0)
        return n;
    switch (SSL_get_error(t->ssl, n)) {
    case SSL_ERROR_WANT_READ:
        return 0;
    case SSL_ERROR_ZERO_RETURN:
        snprintf(why, PH__REDIS_WHY, "closed by the server");
        break;
    default:
        explain(t, why);
    }
    return -1;
}

bool ph__rtls_write(struct ph__rtls *t, const char *p, size_t n, char why[static PH__REDIS_WHY])
{
    ERR_clear_error();
    if (SSL_write(t->ssl, p, (int)n) == (int)n)
        return true;
    explain(t, why);
    return false;
}
