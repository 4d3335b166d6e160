/*
 * Certificates for tests, made on the spot: EC keys, so that it takes a millisecond, in a directory of the test's.
 *
 *     char dir[KIT_PATH];
 *     kit_tmpdir(dir);
 *     struct kit_cert c = kit_cert(dir, "one", "DNS:turn.example", NULL);    // one.crt, one.key
 *     ...
 *     kit_cert_free(&c);
 *     kit_rmdir(dir);
 */
#ifndef PH_TESTS_TLS_KIT_H
#define PH_TESTS_TLS_KIT_H

#include "stun/uv/env.h"
#include "stun/uv/tls.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <limits.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { KIT_PATH = 256, KIT_DAY = 86400 };

struct kit_cert {
    char cert[KIT_PATH], key[KIT_PATH]; /* PEM files */
    X509 *x;
    EVP_PKEY *pkey;
};

/* How to make one; zero: valid from yesterday till tomorrow, signed by itself, key without a password. */
struct kit_cert_opts {
    long from_s, until_s; /* seconds from now */
    const struct kit_cert *issuer;
    const char *password;
    bool ca;
};

/* A fresh directory, its path in dir. */
static inline void kit_tmpdir(char dir[static KIT_PATH])
{
    const char *base = getenv("TMPDIR");

    snprintf(dir, KIT_PATH, "%s/pinhole-test-XXXXXX", base ? base : "/tmp");
    cr_assert_not_null(mkdtemp(dir), "cannot make %s", dir);
}

/* Removes a directory and the files in it. */
static inline void kit_rmdir(const char *dir)
{
    DIR *d = opendir(dir);
    char path[PATH_MAX];

    for (const struct dirent *e; d && (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        unlink(path);
    }
    if (d)
        closedir(d);
    rmdir(dir);
}

static inline void kit_extension(X509 *x, int nid, const char *value)
{
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

    cr_assert_not_null(e, "bad extension %s", value);
    X509_add_ext(x, e, -1);
    X509_EXTENSION_free(e);
}

static inline FILE *kit_create(const char *path)
{
    FILE *f = fopen(path, "w");

    cr_assert_not_null(f, "cannot write %s", path);
    return f;
}

/* A text file in a directory; its path in `path`. */
static inline void kit_file(char path[static KIT_PATH], const char *dir, const char *name,
                            const char *text)
{
    snprintf(path, KIT_PATH, "%.180s/%.60s", dir, name);
    FILE *f = kit_create(path);
    fputs(text, f);
    fclose(f);
}

static inline void kit_cert_write(const struct kit_cert *c, const char *password)
{
    FILE *f = kit_create(c->cert);

    PEM_write_X509(f, c->x);
    fclose(f);
    f = kit_create(c->key);
    PEM_write_PrivateKey(f, c->pkey, password ? EVP_aes_128_cbc() : NULL, NULL, 0, NULL,
                         (void *)(uintptr_t)password);
    fclose(f);
}

/* A certificate for `names` ("DNS:a.example,DNS:*.b.example"), in dir/file.crt and dir/file.key.  Its common name is
 * `file`. */
static inline struct kit_cert kit_cert(const char *dir, const char *file, const char *names,
                                       const struct kit_cert_opts *opts)
{
    const struct kit_cert_opts o = opts ? *opts : (struct kit_cert_opts){0};
    struct kit_cert c = {.x = X509_new(), .pkey = EVP_EC_gen("P-256")};
    static long serial = 1;

    snprintf(c.cert, sizeof c.cert, "%.180s/%.60s.crt", dir, file);
    snprintf(c.key, sizeof c.key, "%.180s/%.60s.key", dir, file);
    X509_set_version(c.x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(c.x), serial++);
    X509_gmtime_adj(X509_getm_notBefore(c.x), o.from_s ? o.from_s : -KIT_DAY);
    X509_gmtime_adj(X509_getm_notAfter(c.x), o.until_s ? o.until_s : KIT_DAY);
    X509_set_pubkey(c.x, c.pkey);
    X509_NAME *name = X509_get_subject_name(c.x);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)file, -1, -1, 0);
    X509_set_issuer_name(c.x, o.issuer ? X509_get_subject_name(o.issuer->x) : name);
    if (o.ca)
        kit_extension(c.x, NID_basic_constraints, "critical,CA:TRUE");
    if (names)
        kit_extension(c.x, NID_subject_alt_name, names);
    cr_assert(X509_sign(c.x, o.issuer ? o.issuer->pkey : c.pkey, EVP_sha256()));
    kit_cert_write(&c, o.password);
    return c;
}

static inline void kit_cert_free(struct kit_cert *c)
{
    X509_free(c->x);
    EVP_PKEY_free(c->pkey);
    *c = (struct kit_cert){0};
}

/* A set of one certificate for "turn.example", made and loaded. */
static inline struct ph_tls *kit_tls(const char *dir)
{
    static struct ph_env env;
    char why[PH_TLS_WHY];

    env = ph_env_system(NULL);
    struct kit_cert c = kit_cert(dir, "turn.example", "DNS:turn.example", NULL);
    const struct ph_tls_conf conf = {.cert = {{.cert = c.cert, .key = c.key}}, .n_certs = 1};
    struct ph_tls *t = ph_tls_new(&conf, &env, why);
    cr_assert_not_null(t, "%s", why);
    kit_cert_free(&c);
    return t;
}

/* A client's context that believes whoever it meets; alpn is in wire form ("\x9stun.turn"), or NULL. */
static inline SSL_CTX *kit_client(bool dtls, const char *alpn)
{
    SSL_CTX *ctx = SSL_CTX_new(dtls ? DTLS_client_method() : TLS_client_method());

    cr_assert_not_null(ctx);
    if (alpn)
        SSL_CTX_set_alpn_protos(ctx, (const unsigned char *)alpn, (unsigned)strlen(alpn));
    return ctx;
}

/* The common name of the certificate that a client was shown. */
static inline void kit_peer_name(const SSL *ssl, char *out, size_t n)
{
    X509 *x = SSL_get1_peer_certificate(ssl);

    out[0] = 0;
    if (x)
        X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, out, (int)n);
    X509_free(x);
}

#endif
