/*
 * Certificates from files, and contexts from settings.
 *
 * Each failure names its file and what is wrong with it; OpenSSL's own words come last, in brackets.
 */
#include "stun/uv/tls_priv.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* AES-128 first: what it protects is encrypted end to end as a rule, and it costs a third less than AES-256. */
static const char tls13_suites[] =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
static const char tls12_ciphers[] = "ECDHE+AESGCM+AES128:ECDHE+AESGCM:ECDHE+CHACHA20";
static const char dhe_ciphers[] = ":DHE+AESGCM:DHE+CHACHA20";
/* TLS 1.0 and 1.1 sign with SHA-1, which OpenSSL only does at its lowest security level. */
static const char old_ciphers[] = ":ECDHE+AES:RSA+AES:@SECLEVEL=0";

static const char *reason(void)
{
    const char *text = ERR_reason_error_string(ERR_peek_last_error());

    return text ? text : "no reason given";
}

static bool fail(char *why, const char *file, const char *what)
{
    snprintf(why, PH_TLS_WHY, "%.140s: %.50s (%.40s)", file, what, reason());
    ERR_clear_error();
    return false;
}

static BIO *open_file(const char *path, char *why)
{
    errno = 0;
    BIO *b = BIO_new_file(path, "r");

    if (!b) {
        snprintf(why, PH_TLS_WHY, "%.180s: %.60s", path, errno ? strerror(errno) : "cannot open");
        ERR_clear_error();
    }
    return b;
}

/* --- certificates and keys ------------------------------------------------------------------------- */

struct password {
    const char *text;
    bool asked;
};

static int give_password(char *buf, int size, int for_writing, void *ctx)
{
    struct password *p = ctx;
    const size_t n = p->text ? strlen(p->text) : 0;

    (void)for_writing;
    p->asked = true;
    if (n == 0 || n > (size_t)size)
        return -1;
    memcpy(buf, p->text, n);
    return (int)n;
}

static bool read_certs(struct ph__tls_chain *out, const char *path, char *why)
{
    BIO *b = open_file(path, why);

    if (!b)
        return false;
    out->leaf = PEM_read_bio_X509_AUX(b, NULL, NULL, NULL);
    if (!out->leaf)
        fail(why, path, "no certificate in it");
    out->more = sk_X509_new_null();
    for (X509 *x; out->leaf && out->more && (x = PEM_read_bio_X509(b, NULL, NULL, NULL));)
        if (!sk_X509_push(out->more, x))
            X509_free(x);
    ERR_clear_error(); /* the end of the file is one */
    BIO_free(b);
    return out->leaf && out->more;
}

static bool read_key(struct ph__tls_chain *out, const struct ph_tls_cert *c, char *why)
{
    const char *path = c->key ? c->key : c->cert;
    struct password p = {.text = c->password};
    BIO *b = open_file(path, why);

    if (!b)
        return false;
    out->key = PEM_read_bio_PrivateKey(b, NULL, give_password, &p);
    BIO_free(b);
    if (out->key)
        return true;
    return fail(why, path,
                !p.asked ? "no private key in it"
                : p.text ? "wrong password for the private key"
                         : "the private key needs a password");
}

void ph__tls_chain_free(struct ph__tls_chain *chain)
{
    X509_free(chain->leaf);
    sk_X509_pop_free(chain->more, X509_free);
    EVP_PKEY_free(chain->key);
    *chain = (struct ph__tls_chain){0};
}

bool ph__tls_read(struct ph__tls_chain *out, const struct ph_tls_cert *c,
                  char why[static PH_TLS_WHY])
{
    *out = (struct ph__tls_chain){0};
    bool ok = read_certs(out, c->cert, why) && read_key(out, c, why);

    if (ok && !X509_check_private_key(out->leaf, out->key))
        ok = fail(why, c->key ? c->key : c->cert, "the key does not fit the certificate");
    if (!ok)
        ph__tls_chain_free(out);
    return ok;
}

/* --- contexts -------------------------------------------------------------------------------------- */

static bool set_versions(SSL_CTX *ctx, const struct ph_tls_conf *c, bool dtls)
{
    if (dtls)
        return SSL_CTX_set_min_proto_version(ctx, DTLS1_2_VERSION);
    if (c->no_tls1_2 && !c->tls1_0 && !c->tls1_1)
        return SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
    if (c->no_tls1_2)
        SSL_CTX_set_options(ctx, SSL_OP_NO_TLSv1_2);
    if (c->tls1_0 && !c->tls1_1)
        SSL_CTX_set_options(ctx, SSL_OP_NO_TLSv1_1);
    return SSL_CTX_set_min_proto_version(ctx, c->tls1_0   ? TLS1_VERSION
                                              : c->tls1_1 ? TLS1_1_VERSION
                                                          : TLS1_2_VERSION);
}

static bool set_ciphers(SSL_CTX *ctx, const struct ph_tls_conf *c)
{
    char list[256];
    const bool old = c->tls1_0 || c->tls1_1;

    if (c->ciphers)
        return SSL_CTX_set_cipher_list(ctx, c->ciphers);
    snprintf(list, sizeof list, "%s%s%s", tls12_ciphers, c->dh_file ? dhe_ciphers : "",
             old ? old_ciphers : "");
    return SSL_CTX_set_cipher_list(ctx, list);
}

static bool set_dh(SSL_CTX *ctx, const char *path, char *why)
{
    if (!path)
        return SSL_CTX_set_dh_auto(ctx, 1) || fail(why, "DHE", "no automatic parameters");
    BIO *b = open_file(path, why);
    if (!b)
        return false;
    EVP_PKEY *dh = PEM_read_bio_Parameters(b, NULL);
    BIO_free(b);
    if (dh && SSL_CTX_set0_tmp_dh_pkey(ctx, dh))
        return true;
    EVP_PKEY_free(dh);
    return fail(why, path, "no usable DH parameters in it");
}

static bool set_client_ca(SSL_CTX *ctx, const char *path, char *why)
{
    if (!path)
        return true;
    BIO *b = open_file(path, why); /* for its plain words when it cannot be read */
    if (!b)
        return false;
    BIO_free(b);
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(path);
    if (!names || !SSL_CTX_load_verify_locations(ctx, path, NULL)) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return fail(why, path, "no certificate in it");
    }
    SSL_CTX_set_client_CA_list(ctx, names);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return true;
}

/* What does not depend on the configuration. */
static void set_habits(SSL_CTX *ctx, bool dtls)
{
    static const unsigned char name[] = "pinhole";

    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
                                 SSL_OP_SINGLE_ECDH_USE);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (dtls) { /* streams free their buffers themselves, once a turn and not once a record */
        SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
        SSL_CTX_set_options(ctx, SSL_OP_COOKIE_EXCHANGE | SSL_OP_NO_QUERY_MTU);
    }
    /* Resumption is by tickets only: nothing is kept for a client that has gone. */
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_session_id_context(ctx, name, sizeof name - 1);
    SSL_CTX_set_num_tickets(ctx, 1);
}

SSL_CTX *ph__tls_context(const struct ph_tls_conf *c, const struct ph__tls_chain *chain, bool dtls,
                         char why[static PH_TLS_WHY])
{
    SSL_CTX *ctx = SSL_CTX_new(dtls ? DTLS_server_method() : TLS_server_method());

    if (!ctx) {
        fail(why, "TLS", "out of memory");
        return NULL;
    }
    set_habits(ctx, dtls);
    bool ok = set_versions(ctx, c, dtls) || fail(why, "TLS versions", "not supported");
    if (ok && !(set_ciphers(ctx, c) && SSL_CTX_set_ciphersuites(ctx, tls13_suites)))
        ok = fail(why, c->ciphers ? c->ciphers : "ciphers", "no cipher in this list");
    if (ok && c->curves && !SSL_CTX_set1_groups_list(ctx, c->curves))
        ok = fail(why, c->curves, "not a list of known curves");
    ok = ok && set_dh(ctx, c->dh_file, why) && set_client_ca(ctx, c->client_ca, why);
    if (ok && !SSL_CTX_use_cert_and_key(ctx, chain->leaf, chain->key, chain->more, 1))
        ok = fail(why, "certificate", "refused");
    if (ok)
        return ctx;
    SSL_CTX_free(ctx);
    return NULL;
}

/* --- what a certificate says ----------------------------------------------------------------------- */

static int64_t seconds(const ASN1_TIME *t)
{
    struct tm tm;

    return ASN1_TIME_to_tm(t, &tm) ? (int64_t)timegm(&tm) : 0;
}

/* Adds a name, unless it does not fit or has bytes that no name has. */
static void add_name(char *names, size_t cap, const ASN1_STRING *s)
{
    const unsigned char *p = ASN1_STRING_get0_data(s);
    const size_t n = (size_t)ASN1_STRING_length(s), used = strlen(names), comma = used > 0;

    for (size_t i = 0; i < n; i++)
        if (p[i] <= ' ' || p[i] >= 0x7F || p[i] == ',')
            return;
    if (n == 0 || used + comma + n >= cap)
        return;
    if (comma)
        names[used] = ',';
    memcpy(names + used + comma, p, n);
    names[used + comma + n] = 0;
}

static void add_ip(char *names, size_t cap, const ASN1_OCTET_STRING *ip)
{
    const uint8_t *p = ASN1_STRING_get0_data(ip);
    const int n = ASN1_STRING_length(ip);
    char text[PH_ADDR_TEXT];
    ASN1_STRING *s = ASN1_STRING_new();

    if (s && (n == 4 || n == 16)) {
        const struct ph_addr a = n == 4 ? ph_addr_v4(p, 0, 0) : ph_addr_v6(p, 0, 0);
        ASN1_STRING_set(s, ph_addr_ip_text(&a, text), -1);
        add_name(names, cap, s);
    }
    ASN1_STRING_free(s);
}

static void read_names(struct ph_tls_info *out, X509 *x)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);

    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);
        if (g->type == GEN_DNS)
            add_name(out->names, sizeof out->names, g->d.dNSName);
        else if (g->type == GEN_IPADD)
            add_ip(out->names, sizeof out->names, g->d.iPAddress);
    }
    if (!names) { /* before RFC 2818 */
        X509_NAME *subject = X509_get_subject_name(x);
        const int i = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
        if (i >= 0)
            add_name(out->names, sizeof out->names,
                     X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, i)));
    }
    GENERAL_NAMES_free(names);
}

void ph__tls_inspect(struct ph_tls_info *out, X509 *x)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    char *to = out->fingerprint;

    *out = (struct ph_tls_info){.not_before_s = seconds(X509_get0_notBefore(x)),
                                .not_after_s = seconds(X509_get0_notAfter(x))};
    read_names(out, x);
    if (!X509_digest(x, EVP_sha256(), hash, &n))
        n = 0;
    for (unsigned i = 0; i < n && i < 32; i++, to += 3)
        snprintf(to, 4, "%02X%s", hash[i], i + 1 < n ? ":" : "");
}
