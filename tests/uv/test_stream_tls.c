/*
 * TLS connections: handshakes, certificates by name, ALPN, records and messages, bounds, memory.
 */
#include "uv/stream_kit.h"

#include <malloc.h>
#include <sys/resource.h>

static struct rig r;
static char dir[KIT_PATH];

static void set_up(void)
{
    kit_tmpdir(dir);
}

static void tear_down(void)
{
    kit_rmdir(dir);
}

TestSuite(uv_stream_tls, .init = set_up, .fini = tear_down);

/* A rig with a certificate for turn.example. */
static void open_tls(const struct ph_streams_conf *conf, bool plain)
{
    struct ph_streams_conf c = conf ? *conf : (struct ph_streams_conf){0};
    struct ph_tls *own = c.tls ? NULL : kit_tls(dir);

    c.tls = c.tls ? c.tls : own;
    rig_open(&r, &c);
    rig_listen(&r, plain, true, false);
    ph_tls_unref(own);
}

static void echo(struct rig *rig, struct ph_pkt *p)
{
    ph_streams_keep(rig->s, p->conn, true);
    cr_assert(ph_streams_send(rig->s, p));
}

/* --- messages -------------------------------------------------------------------------------------- */

static void talks(int version)
{
    uint8_t b[64], got[64];
    const char *name, *cipher, *sni;
    SSL_CTX *ctx = kit_client(false, NULL);

    open_tls(NULL, false);
    r.on_message = echo;
    SSL_CTX_set_max_proto_version(ctx, version);
    SSL *ssl = rig_tls(&r, ctx, "turn.example");
    cr_assert_not_null(ssl);
    const size_t n = rig_stun(b, 0x0001, 4, 99);
    rig_tls_put(&r, ssl, b, (int)n);
    cr_assert_eq(rig_tls_get(&r, ssl, got, (int)n), (int)n);
    cr_expect_arr_eq(got, b, n);
    cr_expect_eq(r.msg[0].src.proto, PH_TLS);
    cr_expect_eq(r.msg[0].sock, 7);
    cr_expect_eq(rig_stats(&r)->tls_handshakes, 1);
    cr_expect_eq(rig_stats(&r)->tls_now, 1);
    cr_expect_eq(rig_stats(&r)->rx_bytes, n, "as they were in TLS");
    ph_tls_describe(ph_streams_ssl(r.s, r.msg[0].conn), &name, &cipher, &sni);
    cr_expect_str_eq(name, version == TLS1_2_VERSION ? "TLSv1.2" : "TLSv1.3");
    cr_expect_str_eq(sni, "turn.example");
    cr_expect_not_null(strstr(cipher, "GCM"), "%s", cipher);
    SSL_shutdown(ssl);
    RIG_UNTIL(&r, r.n_ended == 1);
    cr_expect_eq(r.why, PH_STREAM_CLOSED);
    cr_expect_eq(SSL_read(ssl, got, 1), 0);
    cr_expect_eq(SSL_get_error(ssl, 0), SSL_ERROR_ZERO_RETURN, "a close_notify");
    cr_expect_eq(rig_stats(&r)->tls_now, 0);
    rig_tls_free(ssl);
    SSL_CTX_free(ctx);
    rig_close(&r);
}

Test(uv_stream_tls, talks_1_3)
{
    talks(TLS1_3_VERSION);
}

Test(uv_stream_tls, talks_1_2)
{
    talks(TLS1_2_VERSION);
}

Test(uv_stream_tls, records_and_messages_have_nothing_to_do_with_each_other)
{
    enum { MESSAGES = 400, EACH = 1001 };
    static uint8_t b[MESSAGES * (EACH + 8)], got[sizeof b];
    size_t n = rig_stun(b, 0x0001, 0, 0);
    SSL_CTX *ctx = kit_client(false, NULL);

    for (uint32_t i = 1; i < MESSAGES; i++)
        n += rig_data(b + n, EACH, i);
    open_tls(NULL, false);
    r.on_message = echo;
    SSL *ssl = rig_tls(&r, ctx, NULL);
    cr_assert_not_null(ssl);
    for (size_t at = 0, k; at < n; at += k) {
        k = at % 3 ? 16000 : 333;
        k = k < n - at ? k : n - at;
        rig_tls_put(&r, ssl, b + at, (int)k);
    }
    RIG_UNTIL(&r, r.n_msg == MESSAGES);
    for (uint32_t i = 1; i < MESSAGES; i++)
        cr_assert_eq(ph_get32(r.msg[i].b + 4), i);
    cr_assert_eq(rig_tls_get(&r, ssl, got, (int)n), (int)n);
    cr_expect_eq(memcmp(b, got, n), 0);
    rig_tls_free(ssl);
    SSL_CTX_free(ctx);
    rig_close(&r);
}

Test(uv_stream_tls, messages_of_a_flush_share_a_record_and_a_write)
{
    uint8_t b[124];
    SSL_CTX *ctx = kit_client(false, NULL);

    open_tls(NULL, false);
    SSL *ssl = rig_tls(&r, ctx, NULL);
    const uint32_t conn = rig_tls_hello(&r, ssl);
    rig_settle(&r);
    const uint64_t calls = rig_stats(&r)->tx_calls;
    for (uint32_t i = 0; i < 100; i++)
        cr_assert(rig_send(&r, conn, b, rig_data(b, 120, i)));
    ph_streams_flush(r.s, rig_now(&r));
    cr_expect_eq(rig_stats(&r)->tx_calls, calls + 1);
    uint8_t got[12400];
    cr_expect_eq(rig_tls_get(&r, ssl, got, sizeof got), (int)sizeof got);
    cr_expect_eq(ph_get32(got + 99 * 124 + 4), 99);
    rig_tls_free(ssl);
    SSL_CTX_free(ctx);
    rig_close(&r);
}

Test(uv_stream_tls, plain_and_tls_on_one_port)
{
    SSL_CTX *ctx = kit_client(false, NULL);

    open_tls(NULL, true);
    const int fd = rig_dial(&r);
    rig_hello(&r, fd);
    SSL *ssl = rig_tls(&r, ctx, NULL);
    rig_tls_hello(&r, ssl);
    cr_expect_eq(r.msg[0].src.proto, PH_TCP);
    cr_expect_eq(r.msg[1].src.proto, PH_TLS);
    cr_expect_eq(rig_stats(&r)->tls_now, 1);
    cr_expect_eq(rig_stats(&r)->now, 2);
    close(fd);
    rig_tls_free(ssl);
    SSL_CTX_free(ctx);
    rig_close(&r);
}

Test(uv_stream_tls, behind_a_proxy_header)
{
    static const char head[] = "PROXY TCP4 192.0.2.7 198.51.100.1 4711 5349\r\n";
    SSL_CTX *ctx = kit_client(false, NULL);
    struct ph_tls *t = kit_tls(dir);

    rig_open(&r, &(struct ph_streams_conf){.tls = t});
    rig_listen(&r, false, true, true);
    SSL *ssl = SSL_new(ctx);
    const int fd = rig_dial(&r);
    cr_assert_eq(send(fd, head, sizeof head - 1, 0), (ssize_t)sizeof head - 1);
    SSL_set_fd(ssl, fd);
    cr_assert_eq(rig_shake(&r, ssl), 1);
    rig_tls_hello(&r, ssl);
    const struct ph_addr src = rig_tcp("192.0.2.7:4711");
    cr_expect(ph_addr_eq_endpoint(&r.msg[0].src, &src));
    cr_expect_eq(r.msg[0].src.proto, PH_TLS);
    rig_tls_free(ssl);
    SSL_CTX_free(ctx);
    rig_close(&r);
    ph_tls_unref(t);
}

Test(uv_stream_tls, a_handshake_byte_by_byte)
{
    SSL_CTX *ctx = kit_client(false, NULL);
    uint8_t b[1024];

    open_tls(NULL, true);
    SSL *ssl = SSL_new(ctx);
    BIO *out = BIO_new(BIO_s_mem());
    const int fd = rig_dial(&r);
    SSL_set_fd(ssl, fd);
    BIO_up_ref(out);
    SSL_set0_wbio(ssl, out);
    while (SSL_connect(ssl) != 1) {
        const int n = BIO_read(out, b, sizeof b);
        for (int i = 0; i < n; i++)
            rig_put(&r, fd, b + i, 1);
        rig_turn(&r);
    }
    const int n = BIO_read(out, b, sizeof b);
    for (int i = 0; i < n; i++)
        rig_put(&r, fd, b + i, 1);
    RIG_UNTIL(&r, rig_stats(&r)->tls_handshakes == 1);
    BIO_free(out);
    rig_tls_free(ssl);
    SSL_CTX_free(ctx);
    rig_close(&r);
}

Test(uv_stream_tls, new_keys)
{
    SSL_CTX *ctx = kit_client(false, NULL);
    uint8_t b[20], got[20];

    open_tls(NULL, false);
    r.on_message = echo;
    SSL *ssl = rig_tls(&r, ctx, NULL);
    rig_stun(b, 0x0001, 0, 1);
    for (int i = 0; i < 10; i++) {
        cr_assert_eq(
            SSL_key_update(ssl, i % 2 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED),
            1);
        rig_tls_put(&r, ssl, b, 20);
        cr_assert_eq(rig_tls_get(&r, ssl, got, 20), 20);
    }
    cr_expect_eq(r.n_ended, 0);
    rig_tls_free(ssl);
    SSL_CTX_free(ctx);
    rig_close(&r);
}

Test(uv_stream_tls, no_renegotiation)
{
    SSL_CTX *ctx = kit_client(false, NULL);

    open_tls(NULL, false);
    SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION);
    SSL *ssl = rig_tls(&r, ctx, NULL);
    rig_tls_hello(&r, ssl);
    cr_assert_eq(SSL_renegotiate(ssl), 1);
    cr_expect_eq(rig_shake(&r, ssl), 0);
    cr_expect_eq(rig_stats(&r)->tls_handshakes, 1);
    rig_tls_free(ssl);
    SSL_CTX_free(ctx);
    rig_close(&r);
}

/* --- certificates ---------------------------------------------------------------------------------- */

static void expect_name(SSL_CTX *ctx, const char *sni, const char *want)
{
    char name[64];
    SSL *ssl = rig_tls(&r, ctx, sni);

    cr_assert_not_null(ssl);
    kit_peer_name(ssl, name, sizeof name);
    cr_expect_str_eq(name, want, "%s gets %s", sni ? sni : "no name", name);
    rig_tls_free(ssl);
}

Test(uv_stream_tls, the_name_picks_the_certificate)
{
    struct kit_cert first = kit_cert(dir, "first", "DNS:first.example", NULL);
    struct kit_cert wild = kit_cert(dir, "wild", "DNS:*.turn.example", NULL);
    struct kit_cert exact = kit_cert(dir, "exact", "DNS:eu.turn.example", NULL);
    const struct ph_tls_conf c = {.cert = {{first.cert, first.key, NULL},
                                           {wild.cert, wild.key, NULL},
                                           {exact.cert, exact.key, NULL}},
                                  .n_certs = 3};
    const struct ph_env env = ph_env_system(NULL);
    SSL_CTX *ctx = kit_client(false, NULL);
    char why[PH_TLS_WHY];
    struct ph_tls *t = ph_tls_new(&c, &env, why);

    cr_assert_not_null(t, "%s", why);
    open_tls(&(struct ph_streams_conf){.tls = t}, false);
    expect_name(ctx, "first.example", "first");
    expect_name(ctx, "us.turn.example", "wild");
    expect_name(ctx, "eu.turn.example", "exact");
    expect_name(ctx, "EU.Turn.Example", "exact");
    expect_name(ctx, "elsewhere.example", "first");
    expect_name(ctx, NULL, "first");
    SSL_CTX_free(ctx);
    rig_close(&r);
    ph_tls_unref(t);
    kit_cert_free(&first);
    kit_cert_free(&wild);
    kit_cert_free(&exact);
}

Test(uv_stream_tls, other_certificates_for_new_connections)
{
    struct kit_cert next = kit_cert(dir, "next", "DNS:turn.example", NULL);
    const struct ph_env env = ph_env_system(NULL);
    SSL_CTX *ctx = kit_client(false, NULL);
    uint8_t b[20], got[20];
    char why[PH_TLS_WHY];

    open_tls(NULL, false);
    r.on_message = echo;
    SSL *live = rig_tls(&r, ctx, NULL);
    rig_tls_hello(&r, live);
    rig_tls_get(&r, live, got, 20);
    struct ph_tls *t = ph_tls_new(
        &(struct ph_tls_conf){.cert = {{next.cert, next.key, NULL}}, .n_certs = 1}, &env, why);
    ph_streams_set_tls(r.s, t);
    ph_tls_unref(t);
    expect_name(ctx, "turn.example", "next");
    rig_stun(b, 0x0001, 0, 5);
    rig_tls_put(&r, live, b, 20);
    cr_expect_eq(rig_tls_get(&r, live, got, 20), 20, "the old one lives on");
    ph_streams_set_tls(r.s, NULL);
    const int fd = rig_dial(&r);
    rig_put(&r, fd, "\x16\3\1\0\xC8\1\0\0\xC4\3\3\1\2\3\4\5\6", 17);
    cr_expect(rig_closed(&r, fd));
    close(fd);
    rig_tls_free(live);
    SSL_CTX_free(ctx);
    rig_close(&r);
    kit_cert_free(&next);
}

static void expect_alpn(const char *offer, const char *want)
{
    SSL_CTX *ctx = kit_client(false, offer);
    const unsigned char *p = NULL;
    unsigned n = 0;
    SSL *ssl = rig_tls(&r, ctx, NULL);

    if (want) {
        cr_assert_not_null(ssl, "%s was refused", offer);
        SSL_get0_alpn_selected(ssl, &p, &n);
        cr_expect_eq(n, strlen(want));
        cr_expect_eq(memcmp(p ? (const char *)p : "", want, n), 0);
        rig_tls_free(ssl);
    } else {
        cr_expect_null(ssl, "%s was taken", offer);
        cr_expect_eq(ERR_GET_REASON(ERR_peek_last_error()),
                     SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL);
    }
    SSL_CTX_free(ctx);
}

Test(uv_stream_tls, alpn)
{
    open_tls(NULL, false);
    expect_alpn("\x09stun.turn", "stun.turn");
    expect_alpn("\x12stun.nat-discovery", "stun.nat-discovery");
    expect_alpn("\x02h2\x09stun.turn", "stun.turn");
    expect_alpn(NULL, "");
    expect_alpn("\x02h2\x08http/1.1", NULL);
    cr_expect_eq(rig_stats(&r)->tls_failed, 1);
    cr_expect_eq(r.why, PH_STREAM_BAD_TLS);
    rig_close(&r);
}

Test(uv_stream_tls, clients_with_certificates_only)
{
    struct kit_cert ca = kit_cert(dir, "ca", NULL, &(struct kit_cert_opts){.ca = true});
    struct kit_cert good = kit_cert(dir, "good", NULL, &(struct kit_cert_opts){.issuer = &ca});
    struct kit_cert bad = kit_cert(dir, "bad", NULL, NULL);
    struct kit_cert own = kit_cert(dir, "own", "DNS:turn.example", NULL);
    const struct ph_env env = ph_env_system(NULL);
    char why[PH_TLS_WHY];
    struct ph_tls *t = ph_tls_new(&(struct ph_tls_conf){.cert = {{own.cert, own.key, NULL}},
                                                        .n_certs = 1,
                                                        .client_ca = ca.cert},
                                  &env, why);
    SSL_CTX *ctx = kit_client(false, NULL);

    cr_assert_not_null(t, "%s", why);
    open_tls(&(struct ph_streams_conf){.tls = t}, false);
    SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION); /* 1.3 tells the client only later */
    cr_expect_null(rig_tls(&r, ctx, NULL), "none shown");
    SSL_CTX_use_certificate(ctx, bad.x);
    SSL_CTX_use_PrivateKey(ctx, bad.pkey);
    cr_expect_null(rig_tls(&r, ctx, NULL), "nobody signed it");
    SSL_CTX_use_certificate(ctx, good.x);
    SSL_CTX_use_PrivateKey(ctx, good.pkey);
    SSL *ssl = rig_tls(&r, ctx, NULL);
    cr_assert_not_null(ssl);
    rig_tls_hello(&r, ssl);
    RIG_UNTIL(&r, rig_stats(&r)->tls_failed == 2);
    rig_tls_free(ssl);
    SSL_CTX_free(ctx);
    rig_close(&r);
    ph_tls_unref(t);
    kit_cert_free(&ca);
    kit_cert_free(&good);
    kit_cert_free(&bad);
    kit_cert_free(&own);
}

static SSL_SESSION *ticket;

static int on_ticket(SSL *ssl, SSL_SESSION *s)
{
    (void)ssl;
    SSL_SESSION_free(ticket);
    ticket = s;
    return 1;
}

static void resumes(int version)
{
    SSL_CTX *ctx = kit_client(false, NULL);
    uint8_t got[20];

    open_tls(NULL, false);
    r.on_message = echo;
    SSL_CTX_set_max_proto_version(ctx, version);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT);
    SSL_CTX_sess_set_new_cb(ctx, on_ticket);
    SSL *ssl = rig_tls(&r, ctx, NULL);
    rig_tls_hello(&r, ssl);
    rig_tls_get(&r, ssl, got, 20);
    cr_expect_not(SSL_session_reused(ssl));
    cr_assert_not_null(ticket);
    SSL_shutdown(ssl); /* or the client's OpenSSL forgets the session */
    rig_tls_free(ssl);
    ssl = SSL_new(ctx);
    SSL_set_session(ssl, ticket);
    SSL_set_fd(ssl, rig_dial(&r));
    cr_assert_eq(rig_shake(&r, ssl), 1);
    cr_expect(SSL_session_reused(ssl));
    rig_tls_free(ssl);
    SSL_SESSION_free(ticket);
    SSL_CTX_free(ctx);
    rig_close(&r);
}

Test(uv_stream_tls, resumes_1_3)
{
    resumes(TLS1_3_VERSION);
}

Test(uv_stream_tls, resumes_1_2)
{
    resumes(TLS1_2_VERSION);
}

/* --- bad input ------------------------------------------------------------------------------------- */

static void expect_end(enum ph_stream_end why)
{
    RIG_UNTIL(&r, r.n_ended == 1);
    cr_expect_eq(r.why, why, "ended for %d", r.why);
}

Test(uv_stream_tls, plain_to_a_tls_port)
{
    uint8_t b[20];

    open_tls(NULL, false);
    const int fd = rig_dial(&r);
    rig_put(&r, fd, b, rig_stun(b, 0x0001, 0, 0));
    cr_expect(rig_closed(&r, fd));
    expect_end(PH_STREAM_BAD_TLS);
    cr_expect_eq(rig_stats(&r)->tls_failed, 1);
    cr_expect_eq(r.n_msg, 0);
    close(fd);
    rig_close(&r);
}

Test(uv_stream_tls, a_handshake_of_garbage)
{
    uint8_t b[512] = {0x16, 3, 1, 1, 0xF0, 1, 0, 1, 0xEC, 3, 3};

    open_tls(NULL, false);
    memset(b + 43, 0xEE, sizeof b - 43);
    const int fd = rig_dial(&r);
    rig_put(&r, fd, b, sizeof b);
    expect_end(PH_STREAM_BAD_TLS);
    uint8_t alert[7];
    cr_expect_eq(rig_get(&r, fd, alert, 7), 7, "politely");
    cr_expect_eq(alert[0], 21);
    cr_expect(rig_closed(&r, fd));
    close(fd);
    rig_close(&r);
}

Test(uv_stream_tls, a_record_that_was_tampered_with)
{
    SSL_CTX *ctx = kit_client(false, NULL);
    uint8_t b[37] = {0x17, 3, 3, 0, 32};

    open_tls(NULL, false);
    SSL *ssl = rig_tls(&r, ctx, NULL);
    rig_tls_hello(&r, ssl);
    rig_put(&r, SSL_get_fd(ssl), b, sizeof b);
    expect_end(PH_STREAM_BAD_TLS);
    cr_expect_eq(rig_stats(&r)->tls_failed, 1);
    rig_tls_free(ssl);
    SSL_CTX_free(ctx);
    rig_close(&r);
}

Test(uv_stream_tls, garbage_and_http_inside)
{
    static const char get[] = "GET / HTTP/1.1\r\n\r\n";
    SSL_CTX *ctx = kit_client(false, NULL);
    char got[512];

    open_tls(&(struct ph_streams_conf){.http_400 = true}, false);
    SSL *ssl = rig_tls(&r, ctx, NULL);
    rig_tls_put(&r, ssl, get, sizeof get - 1);
    const int n = rig_tls_get(&r, ssl, got, sizeof got);
    cr_expect_gt(n, 13);
    cr_expect_eq(memcmp(got, "HTTP/1.1 400 ", 13), 0);
    expect_end(PH_STREAM_IS_HTTP);
    rig_tls_free(ssl);
    ssl = rig_tls(&r, ctx, NULL);
    rig_tls_put(&r, ssl, "\xFFgarbage, garbage, garbage", 26);
    RIG_UNTIL(&r, r.n_ended == 2);
    cr_expect_eq(r.why, PH_STREAM_BAD_FRAME);
    rig_tls_free(ssl);
    SSL_CTX_free(ctx);
    rig_close(&r);
}

Test(uv_stream_tls, a_handshake_that_stalls)
{
    SSL_CTX *ctx = kit_client(false, NULL);

    open_tls(NULL, false);
    SSL *ssl = SSL_new(ctx);
    SSL_set_fd(ssl, rig_dial(&r));
    SSL_connect(ssl); /* the hello, and nothing more */
    RIG_UNTIL(&r, rig_stats(&r)->tls_now == 1);
    rig_later(&r, PH_SEC(9));
    cr_expect_eq(r.n_ended, 0);
    rig_later(&r, PH_MS(1001));
    expect_end(PH_STREAM_TIMEOUT);
    cr_expect_eq(rig_stats(&r)->tls_now, 0);
    rig_tls_free(ssl);
    SSL_CTX_free(ctx);
    rig_close(&r);
}

Test(uv_stream_tls, after_the_handshake_the_first_message_has_the_idle_timeout)
{
    SSL_CTX *ctx = kit_client(false, NULL);

    open_tls(NULL, false);
    SSL *ssl = rig_tls(&r, ctx, NULL);
    RIG_UNTIL(&r, rig_stats(&r)->tls_handshakes == 1);
    rig_later(&r, PH_SEC(59));
    cr_expect_eq(r.n_ended, 0);
    rig_later(&r, PH_MS(1500));
    expect_end(PH_STREAM_TIMEOUT);
    rig_tls_free(ssl);
    SSL_CTX_free(ctx);
    rig_close(&r);
}

/* --- slow readers, raw, moving --------------------------------------------------------------------- */

Test(uv_stream_tls, a_slow_reader_loses_the_oldest_but_no_answer)
{
    enum { MESSAGES = 4000 };
    static uint8_t got[MESSAGES * 1204];
    SSL_CTX *ctx = kit_client(false, NULL);
    uint8_t b[1204];
    uint32_t answers = 0, seen = 0, n_data = 0, last = 0;
    int n = 0;

    open_tls(&(struct ph_streams_conf){.queue_bytes = 64 << 10}, false);
    SSL *ssl = SSL_new(ctx);
    SSL_set_fd(ssl, rig_dial_from(&r, NULL, 4096));
    cr_assert_eq(rig_shake(&r, ssl), 1);
    const uint32_t conn = rig_tls_hello(&r, ssl);
    ph_streams_keep(r.s, conn, true);
    for (uint32_t i = 1; i <= MESSAGES; i++) {
        rig_send(&r, conn, b, rig_data(b, 1200, i));
        if (i % 100 == 0)
            cr_assert(rig_send(&r, conn, b, rig_stun(b, 0x0101, 0, ++answers)));
        if (i % 10 == 0)
            ph_streams_flush(r.s, rig_now(&r));
    }
    const unsigned dropped = (unsigned)rig_stats(&r)->dropped_slow;
    cr_assert_gt(dropped, 0);
    const int want = (int)((MESSAGES - dropped) * 1204 + answers * 20);
    n = rig_tls_get(&r, ssl, got, want);
    cr_assert_eq(n, want);
    for (int at = 0; at < n;) {
        if (got[at] & 0x40) {
            cr_assert_gt(ph_get32(got + at + 4), last);
            last = ph_get32(got + at + 4);
            n_data++;
            at += 1204;
        } else {
            cr_assert_eq(ph_get32(got + at + 8), ++seen);
            at += 20;
        }
    }
    cr_expect_eq(seen, answers);
    cr_expect_eq(n_data + dropped, MESSAGES);
    cr_expect_eq(last, MESSAGES);
    rig_tls_free(ssl);
    SSL_CTX_free(ctx);
    rig_close(&r);
}

Test(uv_stream_tls, raw_with_back_pressure)
{
    enum { ALL = 4 << 20 };
    static uint8_t b[ALL];
    SSL_CTX *ctx = kit_client(false, NULL);
    size_t sent = 0;

    open_tls(NULL, false);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE);
    for (size_t i = 0; i < ALL; i++)
        b[i] = (uint8_t)(i % 251);
    SSL *ssl = rig_tls(&r, ctx, NULL);
    const uint32_t conn = rig_tls_hello(&r, ssl);
    ph_streams_make_raw(r.s, conn);
    r.take = 1000;
    for (int i = 0; i < 30000 && sent < ALL; i++) {
        const int k = SSL_write(ssl, b + sent, (int)(ALL - sent));
        sent += k > 0 ? (size_t)k : 0;
        if (i == 1000) {
            cr_expect_eq(r.n_bytes, 1000);
            cr_expect_eq(r.calls, 1, "paused");
        }
        if (i > 1000 && i % 3 == 0) {
            r.take = i < 2000 ? 3000 : SIZE_MAX;
            ph_streams_resume(r.s, conn);
        }
        rig_turn(&r);
    }
    cr_assert_eq(sent, ALL);
    r.take = SIZE_MAX;
    ph_streams_resume(r.s, conn);
    RIG_UNTIL(&r, r.n_bytes == ALL);
    for (size_t i = 0; i < sizeof r.bytes; i++)
        cr_assert_eq(r.bytes[i], b[ALL - sizeof r.bytes + i]);
    cr_expect_eq(ph_streams_write(r.s, conn, b, 100000), 100000);
    static uint8_t got[100000];
    cr_expect_eq(rig_tls_get(&r, ssl, got, sizeof got), (int)sizeof got);
    cr_expect_eq(memcmp(got, b, sizeof got), 0);
    rig_tls_free(ssl);
    SSL_CTX_free(ctx);
    rig_close(&r);
}

static struct ph_stream_moved *moved;

static void take_away(struct rig *rig, struct ph_pkt *p)
{
    moved = ph_streams_detach(rig->s, p->conn, ph_buf_data(&p->b), p->b.len);
    cr_assert_not_null(moved);
    rig->on_message = NULL;
}

Test(uv_stream_tls, moves_with_records_that_were_read_but_not_opened)
{
    enum { MESSAGES = 20 };
    SSL_CTX *ctx = kit_client(false, NULL);
    uint8_t b[1204], got[20];

    open_tls(NULL, false);
    const struct ph_streams_conf c = {.worker = r.w, .env = &r.env, .calls = rig_calls, .ctx = &r};
    r.second = ph_streams_new(&c);
    SSL *ssl = rig_tls(&r, ctx, NULL);
    rig_tls_hello(&r, ssl);
    r.on_message = take_away;
    for (uint32_t i = 1; i <= MESSAGES; i++) /* all are read at once */
        cr_assert_eq(SSL_write(ssl, b, (int)rig_data(b, 1200, i)), 1204);
    RIG_UNTIL(&r, moved != NULL);
    cr_expect_eq(rig_stats(&r)->tls_now, 0);
    struct ph_streams *s = r.s;
    r.s = r.second;
    r.second = s;
    const uint32_t conn = ph_streams_attach(r.s, moved, rig_now(&r));
    cr_assert_neq(conn, 0);
    RIG_UNTIL(&r, r.n_msg == 2 + MESSAGES);
    for (uint32_t i = 1; i <= MESSAGES; i++)
        cr_assert_eq(ph_get32(r.msg[1 + i].b + 4), i);
    cr_expect_eq(rig_stats(&r)->tls_now, 1);
    cr_assert(rig_send(&r, conn, b, rig_stun(b, 0x0101, 0, 1)));
    cr_expect_eq(rig_tls_get(&r, ssl, got, 20), 20);
    rig_tls_free(ssl);
    SSL_CTX_free(ctx);
    rig_close(&r);
}

/* --- memory ---------------------------------------------------------------------------------------- */

/* Bytes on the heap that each idle connection of `n` takes on the server's side. */
static size_t memory(int version, int n)
{
    SSL_CTX *ctx = kit_client(false, NULL);
    uint8_t got[20];
    size_t server = 0;

    open_tls(NULL, false);
    r.on_message = echo;
    SSL_CTX_set_max_proto_version(ctx, version);
    SSL **ssl = calloc((size_t)n, sizeof *ssl);
    for (int i = 0; i < n; i++) {
        ssl[i] = rig_tls(&r, ctx, NULL);
        cr_assert_not_null(ssl[i]);
        rig_tls_hello(&r, ssl[i]);
        cr_assert_eq(rig_tls_get(&r, ssl[i], got, 20), 20);
    }
    cr_expect_eq(rig_stats(&r)->tls_now, (uint64_t)n);
    const size_t before = mallinfo2().uordblks;
    ph_streams_free(r.s); /* what it gives back was the server's */
    r.s = NULL;
    server = before - mallinfo2().uordblks;
    for (int i = 0; i < n; i++)
        rig_tls_free(ssl[i]);
    free(ssl);
    SSL_CTX_free(ctx);
    rig_close(&r);
    return server / (size_t)n;
}

static void is_small(int version, const char *name)
{
    enum { CONNS = 1000 };
    struct rlimit l;
    const bool tells = mallinfo2().uordblks > 0; /* a sanitizer's allocator does not */

    getrlimit(RLIMIT_NOFILE, &l);
    l.rlim_cur = l.rlim_max;
    setrlimit(RLIMIT_NOFILE, &l);
    if (!tells || l.rlim_cur < 2 * CONNS + 100) {
        tear_down(); /* a test that is skipped is not torn down */
        cr_skip("cannot measure here");
    }
    const size_t each = memory(version, CONNS);
    fprintf(stderr, "%d idle %s connections: %zu bytes each on the server's heap\n", CONNS, name,
            each);
    cr_expect_lt(each, 30000);
}

Test(uv_stream_tls, a_thousand_idle_1_3)
{
    is_small(TLS1_3_VERSION, "TLS 1.3");
}

Test(uv_stream_tls, a_thousand_idle_1_2)
{
    is_small(TLS1_2_VERSION, "TLS 1.2");
}
