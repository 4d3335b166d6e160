/*
 * Sets of certificates: loading, errors, what they say.  Handshakes are in test_stream_tls.c.
 */
#include "uv/tls_kit.h"

static char dir[KIT_PATH], why[PH_TLS_WHY], logged[1024];
static struct ph_log log_ = {.level = PH_LOG_INFO};
static struct ph_env env;

static void on_log(void *ctx, enum ph_log_level level, const char *line)
{
    (void)ctx;
    cr_expect_eq(level, PH_LOG_WARN);
    snprintf(logged, sizeof logged, "%s", line);
}

static void set_up(void)
{
    kit_tmpdir(dir);
    log_.fn = on_log;
    env = ph_env_system(&log_);
}

static void tear_down(void)
{
    kit_rmdir(dir);
}

TestSuite(uv_tls, .init = set_up, .fini = tear_down);

static struct ph_tls *load(const struct ph_tls_conf *c)
{
    return ph_tls_new(c, &env, why);
}

Test(uv_tls, loads_and_tells_what_it_loaded)
{
    struct kit_cert a = kit_cert(dir, "a", "DNS:turn.example,DNS:*.b.example,IP:192.0.2.1", NULL);
    struct kit_cert b = kit_cert(dir, "only.common.name", NULL, NULL);
    const struct ph_tls_conf c = {.cert = {{a.cert, a.key, NULL}, {b.cert, b.key, NULL}},
                                  .n_certs = 2};
    struct ph_tls_info info;
    struct ph_tls *t = load(&c);

    cr_assert_not_null(t, "%s", why);
    cr_assert(ph_tls_info(t, 0, &info));
    cr_expect_str_eq(info.names, "turn.example,*.b.example,192.0.2.1");
    cr_expect_lt(info.not_before_s, (int64_t)time(NULL));
    cr_expect_eq(info.not_after_s - info.not_before_s, 2 * KIT_DAY);
    cr_expect_eq(strlen(info.fingerprint), 32 * 3 - 1);
    cr_assert(ph_tls_info(t, 1, &info));
    cr_expect_str_eq(info.names, "only.common.name");
    cr_expect_not(ph_tls_info(t, 2, &info));
    cr_expect_str_empty(logged);
    ph_tls_unref(t);
    kit_cert_free(&a);
    kit_cert_free(&b);
}

Test(uv_tls, the_fingerprint_is_openssls)
{
    struct kit_cert a = kit_cert(dir, "a", "DNS:a.example", NULL);
    struct ph_tls *t = load(&(struct ph_tls_conf){.cert = {{a.cert, a.key, NULL}}, .n_certs = 1});
    struct ph_tls_info info;
    unsigned char md[32];
    unsigned n;

    cr_assert_not_null(t);
    cr_assert(ph_tls_info(t, 0, &info));
    cr_assert(X509_digest(a.x, EVP_sha256(), md, &n));
    for (unsigned i = 0; i < 32; i++) {
        char two[4];
        snprintf(two, sizeof two, "%02X", md[i]);
        cr_assert_eq(memcmp(info.fingerprint + 3 * i, two, 2), 0);
    }
    ph_tls_unref(t);
    kit_cert_free(&a);
}

Test(uv_tls, a_chain_and_a_key_in_one_file)
{
    struct kit_cert ca = kit_cert(dir, "ca", NULL, &(struct kit_cert_opts){.ca = true});
    struct kit_cert a = kit_cert(dir, "a", "DNS:a.example", &(struct kit_cert_opts){.issuer = &ca});
    char all[KIT_PATH];

    snprintf(all, sizeof all, "%.200s/all.pem", dir);
    FILE *f = kit_create(all);
    PEM_write_X509(f, a.x);
    PEM_write_X509(f, ca.x);
    PEM_write_PrivateKey(f, a.pkey, NULL, NULL, 0, NULL, NULL);
    fclose(f);
    struct ph_tls *t = load(&(struct ph_tls_conf){.cert = {{.cert = all}}, .n_certs = 1});
    cr_assert_not_null(t, "%s", why);
    SSL *ssl = ph_tls_session(t, false);
    STACK_OF(X509) *more = NULL;
    cr_assert(SSL_get0_chain_certs(ssl, &more));
    cr_expect_eq(sk_X509_num(more), 1, "the issuer is sent too");
    SSL_free(ssl);
    ph_tls_unref(t);
    kit_cert_free(&a);
    kit_cert_free(&ca);
}

Test(uv_tls, a_key_with_a_password)
{
    struct kit_cert a =
        kit_cert(dir, "a", "DNS:a.example", &(struct kit_cert_opts){.password = "sesame"});
    struct ph_tls_conf c = {.cert = {{a.cert, a.key, "sesame"}}, .n_certs = 1};
    struct ph_tls *t = load(&c);

    cr_assert_not_null(t, "%s", why);
    ph_tls_unref(t);
    c.cert[0].password = "simsim";
    cr_expect_null(load(&c));
    cr_expect_not_null(strstr(why, "wrong password"), "%s", why);
    cr_expect_null(strstr(why, "simsim"), "no secret in a message");
    c.cert[0].password = NULL;
    cr_expect_null(load(&c));
    cr_expect_not_null(strstr(why, "needs a password"), "%s", why);
    kit_cert_free(&a);
}

/* Loading fails with a message that has all of these. */
static void expect_failure(const struct ph_tls_conf *c, const char *file, const char *what)
{
    struct ph_tls *t = load(c);

    cr_expect_null(t);
    cr_expect_not_null(strstr(why, file), "\"%s\" does not name %s", why, file);
    cr_expect_not_null(strstr(why, what), "\"%s\" does not say %s", why, what);
    ph_tls_unref(t);
}

Test(uv_tls, says_which_file_is_wrong_and_how)
{
    struct kit_cert a = kit_cert(dir, "a", "DNS:a.example", NULL);
    struct kit_cert b = kit_cert(dir, "b", "DNS:b.example", NULL);
    struct ph_tls_conf c = {.cert = {{a.cert, a.key, NULL}}, .n_certs = 1};
    char empty[KIT_PATH];

    kit_file(empty, dir, "empty.pem", "nothing of use\n");
    c.cert[0].cert = "/nonexistent/a.crt";
    expect_failure(&c, "/nonexistent/a.crt", "No such file");
    c.cert[0].cert = empty;
    expect_failure(&c, "empty.pem", "no certificate in it");
    c.cert[0] = (struct ph_tls_cert){.cert = a.cert, .key = empty};
    expect_failure(&c, "empty.pem", "no private key in it");
    c.cert[0].key = NULL;
    expect_failure(&c, "a.crt", "no private key in it");
    c.cert[0].key = b.key;
    expect_failure(&c, "b.key", "does not fit");
    c.cert[0].key = a.key;
    c.client_ca = empty;
    expect_failure(&c, "empty.pem", "no certificate in it");
    c.client_ca = NULL;
    c.dh_file = empty;
    expect_failure(&c, "empty.pem", "DH parameters");
    c.dh_file = NULL;
    c.ciphers = "NO-SUCH-CIPHER";
    expect_failure(&c, "NO-SUCH-CIPHER", "no cipher");
    c.ciphers = NULL;
    c.curves = "P-12345";
    expect_failure(&c, "P-12345", "curves");
    c.n_certs = 0;
    expect_failure(&c, "", "no certificate given");
    kit_cert_free(&a);
    kit_cert_free(&b);
}

Test(uv_tls, dates_are_only_a_warning)
{
    struct kit_cert old = kit_cert(
        dir, "old", NULL, &(struct kit_cert_opts){.from_s = -10 * KIT_DAY, .until_s = -KIT_DAY});
    struct kit_cert new = kit_cert(
        dir, "new", NULL, &(struct kit_cert_opts){.from_s = KIT_DAY, .until_s = 2 * KIT_DAY});
    struct ph_tls *t =
        load(&(struct ph_tls_conf){.cert = {{old.cert, old.key, NULL}}, .n_certs = 1});

    cr_assert_not_null(t, "%s", why);
    cr_expect_not_null(strstr(logged, "expired"), "%s", logged);
    ph_tls_unref(t);
    t = load(&(struct ph_tls_conf){.cert = {{new.cert, new.key, NULL}}, .n_certs = 1});
    cr_assert_not_null(t, "%s", why);
    cr_expect_not_null(strstr(logged, "not yet valid"), "%s", logged);
    ph_tls_unref(t);
    kit_cert_free(&old);
    kit_cert_free(&new);
}

Test(uv_tls, versions)
{
    struct kit_cert a = kit_cert(dir, "a", "DNS:a.example", NULL);
    struct ph_tls_conf c = {.cert = {{a.cert, a.key, NULL}}, .n_certs = 1};
    static const struct {
        bool v1_0, v1_1, no_1_2;
        long min;
    } v[] = {{false, false, false, TLS1_2_VERSION},
             {false, false, true, TLS1_3_VERSION},
             {false, true, false, TLS1_1_VERSION},
             {true, true, false, TLS1_VERSION}};

    for (unsigned i = 0; i < sizeof v / sizeof *v; i++) {
        c.tls1_0 = v[i].v1_0;
        c.tls1_1 = v[i].v1_1;
        c.no_tls1_2 = v[i].no_1_2;
        struct ph_tls *t = load(&c);
        cr_assert_not_null(t, "%s", why);
        SSL *ssl = ph_tls_session(t, false), *d = ph_tls_session(t, true);
        cr_expect_eq(SSL_get_min_proto_version(ssl), v[i].min);
        cr_expect_eq(SSL_get_min_proto_version(d), DTLS1_2_VERSION);
        cr_expect(SSL_get_options(ssl) & SSL_OP_NO_RENEGOTIATION);
        cr_expect(SSL_get_options(ssl) & SSL_OP_NO_COMPRESSION);
        SSL_free(ssl);
        SSL_free(d);
        ph_tls_unref(t);
    }
    kit_cert_free(&a);
}

Test(uv_tls, a_session_outlives_its_set)
{
    struct ph_tls *t = kit_tls(dir);
    SSL *ssl = ph_tls_session(t, false), *dtls = ph_tls_session(t, true);

    cr_assert_not_null(ssl);
    cr_expect(SSL_is_dtls(dtls));
    cr_expect_not(SSL_is_dtls(ssl));
    ph_tls_ref(t);
    ph_tls_unref(t);
    ph_tls_unref(t);
    cr_expect_not_null(SSL_get_certificate(ssl));
    SSL_free(ssl);
    cr_expect_not_null(SSL_get_certificate(dtls));
    SSL_free(dtls); /* the last one: LeakSanitizer and AddressSanitizer see to the rest */
    ph_tls_unref(NULL);
}

/* --- cookies --------------------------------------------------------------------------------------- */

/* What DTLSv1_listen says to a hello for this client, and its answer. */
static int listen_once(struct ph_tls *t, const char *client, const uint8_t *hello, int n,
                       uint8_t *answer, int *n_answer)
{
    SSL *ssl = ph_tls_session(t, true);
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    BIO_ADDR *peer = BIO_ADDR_new();
    struct ph_addr a;

    cr_assert_eq(ph_addr_parse(&a, client, strlen(client), 0), 0);
    BIO_set_mem_eof_return(in, -1);
    BIO_write(in, hello, n);
    SSL_set_bio(ssl, in, out);
    ph_tls_cookie_for(ssl, &a);
    const int r = DTLSv1_listen(ssl, peer);
    if (answer)
        *n_answer = BIO_read(out, answer, 2048);
    BIO_ADDR_free(peer);
    SSL_free(ssl);
    return r;
}

/* The client's next flight. */
static int client_says(SSL *c, const uint8_t *heard, int n, uint8_t *to)
{
    if (n > 0)
        BIO_write(SSL_get_rbio(c), heard, n);
    SSL_connect(c);
    return BIO_read(SSL_get_wbio(c), to, 2048);
}

Test(uv_tls, a_cookie_is_for_one_address)
{
    struct ph_tls *t = kit_tls(dir), *other = kit_tls(dir);
    SSL_CTX *ctx = kit_client(true, NULL);
    SSL *c = SSL_new(ctx);
    uint8_t hello[2048], retry[2048];
    int n, m = 0;

    SSL_set_options(c, SSL_OP_NO_QUERY_MTU);
    SSL_set_mtu(c, 1200);
    BIO *in = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(in, -1);
    SSL_set_bio(c, in, BIO_new(BIO_s_mem()));
    n = client_says(c, NULL, 0, hello);
    cr_assert_gt(n, 0);
    cr_expect_leq(listen_once(t, "192.0.2.1:5000", hello, n, retry, &m), 0);
    cr_assert_gt(m, 0, "a HelloVerifyRequest");
    cr_expect_leq(m, n, "no amplification");
    n = client_says(c, retry, m, hello);
    cr_assert_gt(n, 0);
    cr_expect_eq(listen_once(t, "192.0.2.1:5000", hello, n, NULL, NULL), 1);
    cr_expect_leq(listen_once(t, "192.0.2.1:5001", hello, n, NULL, NULL), 0, "another port");
    cr_expect_leq(listen_once(t, "192.0.2.2:5000", hello, n, NULL, NULL), 0, "another address");
    cr_expect_eq(listen_once(other, "192.0.2.1:5000", hello, n, NULL, NULL), 1,
                 "a change of certificates meanwhile");
    SSL_free(c);
    SSL_CTX_free(ctx);
    ph_tls_unref(t);
    ph_tls_unref(other);
}
