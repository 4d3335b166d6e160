/*
 * Certificates and TLS settings, shared by the TLS and DTLS connections of all workers.
 *
 * Several certificates may be given; the client's SNI picks one (exact name, then wildcard, else the first).  ALPN
 * (RFC 7443): stun.turn and stun.nat-discovery are accepted, a client that offers only others is turned away,
 * one that offers none is fine.  TLS 1.2 and 1.3, DTLS 1.2, unless told otherwise.
 *
 * A set never changes once made.  To change certificates make another and hand it to those who hold the old one: sets
 * are counted (atomically), sessions keep the one they began with.
 */
#ifndef PH_UV_TLS_H
#define PH_UV_TLS_H

#include "stun/base/addr.h"
#include "stun/base/env.h"

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PH_TLS_CERTS = 32, PH_TLS_WHY = 256 };

/* One certificate chain with its key: PEM files. */
struct ph_tls_cert {
    const char *cert, *key; /* key NULL: in the same file */
    const char *password;   /* of the key, or NULL */
};

/* Zero means the default. */
struct ph_tls_conf {
    struct ph_tls_cert cert[PH_TLS_CERTS];
    unsigned n_certs; /* at least one */
    const char
        *client_ca; /* PEM: clients must show a certificate that it signed; NULL: they need none */
    const char *ciphers; /* OpenSSL's cipher list for TLS 1.2; NULL: ECDHE with AEAD only */
    const char *curves;  /* OpenSSL's group list; NULL: its default */
    const char *dh_file; /* PEM parameters for DHE; NULL: OpenSSL's own */
    bool tls1_0, tls1_1; /* allow what is long broken (coturn's tlsv1, tlsv1_1) */
    bool no_tls1_2;
};

struct ph_tls;

/* Loads it all.  NULL and a message in why (which file, what is wrong: unreadable, no certificate in it, the key does not
 * fit, expired is only a warning through env's log) on failure.  The caller holds one reference. */
struct ph_tls *ph_tls_new(const struct ph_tls_conf *c, const struct ph_env *env,
                          char why[static PH_TLS_WHY]);
struct ph_tls *ph_tls_ref(struct ph_tls *t);
void ph_tls_unref(struct ph_tls *t); /* NULL: nothing */

/* A fresh server session: TLS over a stream, or DTLS (with cookie exchange).  It holds a reference to t until
 * SSL_free.  NULL when out of memory. */
SSL *ph_tls_session(struct ph_tls *t, bool dtls);

/* For DTLS: the cookie is a MAC over this address (RFC 6347 4.2.1); set before DTLSv1_listen. */
void ph_tls_cookie_for(SSL *ssl, const struct ph_addr *client);

/* What a certificate says, for lists, checks and metrics. */
struct ph_tls_info {
    char names[256];                   /* subject alternative names, comma separated, cut */
    int64_t not_before_s, not_after_s; /* seconds since 1970 */
    char fingerprint[96];              /* SHA-256 in hex with colons */
};
/* Certificate i of a set; false past the end. */
bool ph_tls_info(const struct ph_tls *t, unsigned i, struct ph_tls_info *out);

/* "TLSv1.3", "TLS_AES_256_GCM_SHA384" of a session and what SNI asked for ("" for none): valid while it lives. */
void ph_tls_describe(const SSL *ssl, const char **version, const char **cipher, const char **sni);

#endif
