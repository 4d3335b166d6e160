/* TLS of turnload's links: who is believed, what is offered. */
#include "cmd/turnload/link.h"

#include "stun/uv/sockaddr.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MTU = 1200 }; /* bytes of a datagram in a handshake */

/* RFC 7443: what we are going to speak. */
static const unsigned char alpn[] = "\x09stun.turn";

struct ph_load_tls {
    SSL_CTX *ctx;
    bool dtls, verify;
    bool numeric; /* the host is an address */
    char host[256];
};

static void *fail(struct ph_load_tls *t, char why[static PH_LOAD_LINK_WHY], const char *what)
{
    unsigned long e = ERR_peek_last_error();
    const char *reason = e ? ERR_reason_error_string(e) : NULL;

    snprintf(why, PH_LOAD_LINK_WHY, "%.80s: %.60s", what, reason ? reason : "out of memory");
    ERR_clear_error();
    ph_load_tls_free(t);
    return NULL;
}

struct ph_load_tls *ph_load_tls_new(uint8_t proto, const char *host, const char *ca,
                                    char why[static PH_LOAD_LINK_WHY])
{
    struct ph_load_tls *t = calloc(1, sizeof *t);
    struct ph_addr a;

    if (!t)
        return fail(t, why, "TLS");
    t->dtls = proto == PH_DTLS;
    t->verify = ca != NULL;
    t->numeric = ph_addr_parse(&a, host, strlen(host), 0) == 0;
    snprintf(t->host, sizeof t->host, "%s", host);
    t->ctx = SSL_CTX_new(t->dtls ? DTLS_client_method() : TLS_client_method());
    if (!t->ctx || SSL_CTX_set_alpn_protos(t->ctx, alpn, sizeof alpn - 1) != 0)
        return fail(t, why, "TLS");
    if (ca && SSL_CTX_load_verify_file(t->ctx, ca) != 1)
        return fail(t, why, ca);
    SSL_CTX_set_verify(t->ctx, t->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_session_cache_mode(t->ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(t->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                 SSL_MODE_RELEASE_BUFFERS);
    if (!t->dtls)
        SSL_CTX_set_read_ahead(t->ctx, 1); /* several records with one read */
    return t;
}

void ph_load_tls_free(struct ph_load_tls *t)
{
    if (!t)
        return;
    SSL_CTX_free(t->ctx);
    free(t);
}

/* Whose certificate it must be. */
static bool expect_host(const struct ph_load_tls *t, SSL *ssl)
{
    if (!t->numeric && SSL_set_tlsext_host_name(ssl, t->host) != 1)
        return false;
    if (!t->verify)
        return true;
    return t->numeric ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), t->host) == 1
                      : SSL_set1_host(ssl, t->host) == 1;
}

/* Tells the BIO that its socket is connected, or it would send to nobody. */
static void set_peer(BIO *bio, int fd)
{
    union ph_sockaddr s = {0};
    socklen_t n = sizeof s;
    BIO_ADDR *peer = BIO_ADDR_new();

    if (peer && getpeername(fd, &s.sa, &n) == 0 &&
        (s.sa.sa_family == AF_INET6
             ? BIO_ADDR_rawmake(peer, AF_INET6, &s.in6.sin6_addr, 16, s.in6.sin6_port)
             : BIO_ADDR_rawmake(peer, AF_INET, &s.in.sin_addr, 4, s.in.sin_port)))
        BIO_ctrl(bio, BIO_CTRL_DGRAM_SET_CONNECTED, 0, peer);
    BIO_ADDR_free(peer);
}

SSL *ph_load_tls_session(struct ph_load_tls *t, int fd)
{
    SSL *ssl = SSL_new(t->ctx);
    BIO *bio = t->dtls ? BIO_new_dgram(fd, BIO_NOCLOSE) : BIO_new_socket(fd, BIO_NOCLOSE);

    if (!ssl || !bio || !expect_host(t, ssl)) {
        SSL_free(ssl);
        BIO_free(bio);
        return NULL;
    }
    if (t->dtls) {
        set_peer(bio, fd);
        SSL_set_options(ssl, SSL_OP_NO_QUERY_MTU);
        SSL_set_mtu(ssl, MTU);
    }
    SSL_set_bio(ssl, bio, bio);
    SSL_set_connect_state(ssl);
    return ssl;
}
