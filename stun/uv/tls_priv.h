/*
 * What the files of the TLS settings share.  Not installed.
 *
 *   tls.c        sets and their counting, sessions, what a handshake asks (SNI, ALPN, cookies)
 *   tls_load.c   files to certificates and settings to contexts
 */
#ifndef PH_UV_TLS_PRIV_H
#define PH_UV_TLS_PRIV_H

#include "stun/uv/tls.h"

#include <stdatomic.h>

/* A certificate as it is in its files. */
struct ph__tls_chain {
    X509 *leaf;
    STACK_OF(X509) * more; /* its issuers, as far as they are in the file */
    EVP_PKEY *key;
};

struct ph__tls_entry {
    X509 *leaf;
    struct ph_tls_info info;
    SSL_CTX *ctx[2]; /* TLS, DTLS */
};

struct ph_tls {
    atomic_uint refs;
    unsigned n;
    struct ph__tls_entry v[PH_TLS_CERTS];
};

/* Reads a chain and its key.  False and a message on failure; then there is nothing to free. */
bool ph__tls_read(struct ph__tls_chain *out, const struct ph_tls_cert *c,
                  char why[static PH_TLS_WHY]);
void ph__tls_chain_free(struct ph__tls_chain *chain);

/* A context with these settings and this certificate.  NULL and a message on failure. */
SSL_CTX *ph__tls_context(const struct ph_tls_conf *c, const struct ph__tls_chain *chain, bool dtls,
                         char why[static PH_TLS_WHY]);

/* What a certificate says. */
void ph__tls_inspect(struct ph_tls_info *out, X509 *x);

#endif
