/*
 * TLS to Redis: the real server with certificates made on the spot, good ones and bad ones, and servers that speak
 * none.
 */
#ifdef PH_HAVE_REDIS
#include "uv/redis_kit.h"
#include "uv/tls_kit.h"

static char dir[KIT_PATH];
static struct kit_cert ca, stranger;
static uint16_t port;

static void setup(void)
{
    const struct kit_cert_opts authority = {.ca = true};

    rkit_setup();
    kit_tmpdir(dir);
    ca = kit_cert(dir, "authority", NULL, &authority);
    stranger = kit_cert(dir, "stranger", NULL, &authority);
    port = rkit_port();
}

static void teardown(void)
{
    kit_cert_free(&ca);
    kit_cert_free(&stranger);
    kit_rmdir(dir);
    rkit_teardown();
}

TestSuite(uv_redis_tls, .init = setup, .fini = teardown, .timeout = 60);

/* A certificate of our authority's. */
static void make(const char *file, const char *names, long from_s, long until_s)
{
    struct kit_cert c =
        kit_cert(dir, file, names,
                 &(struct kit_cert_opts){.issuer = &ca, .from_s = from_s, .until_s = until_s});

    kit_cert_free(&c);
}

/* Starts Redis with the certificate `file`. */
static void serve(const char *file, const char *more)
{
    char words[1500];

    snprintf(words, sizeof words,
             "--bind 127.0.0.1 --port 0 --tls-port %u --save  --dir %s --tls-cert-file %s/%s.crt "
             "--tls-key-file %s/%s.key --tls-ca-cert-file %s %s",
             port, rkit_dir, dir, file, dir, file, ca.cert, more);
    rkit_start(0, port, words);
}

static void serve_good(const char *more)
{
    make("good", "DNS:localhost,IP:127.0.0.1", 0, 0);
    serve("good", more);
}

/* One that cannot be connected to, and the one line that says why. */
static void expect_refusal(const struct ph_redis_conf *c, const char *says)
{
    rkit_log[0] = '\0';
    struct ph_redis *r = rkit_open(c);
    RUN_UNTIL(ph_redis_stats(r)->failures > 0);
    cr_expect(strstr(rkit_log, says), "not \"%s\" but\n%s", says, rkit_log);
    cr_expect(!ph_redis_stats(r)->up);
    rkit_close(r);
}

static void expect_service(const struct ph_redis_conf *c)
{
    rkit_log[0] = '\0';
    struct ph_redis *r = rkit_connect(c);
    cr_expect_str_eq(rkit_ask(r, "ECHO safe"), "safe");
    cr_expect_eq(ph_redis_stats(r)->failures, 0, "%s", rkit_log);
    rkit_close(r);
}

static struct ph_redis_conf at(const char *host, const char *more)
{
    return rkit_parse("rediss://%s:%u?ca=%s%s", host, port, ca.cert, more);
}

Test(uv_redis_tls, a_good_certificate)
{
    struct ph_redis_conf c = at("localhost", "");

    serve_good("--tls-auth-clients no");
    expect_service(&c);
    c = at("127.0.0.1", "");
    expect_service(&c);
    c = at("127.0.0.1", "&sni=localhost");
    expect_service(&c);
    c = rkit_parse("ip=127.0.0.1 port=%u tls=yes cacert=%s verify=peer", port, ca.cert);
    expect_service(&c);
    c = rkit_parse("rediss://127.0.0.1:%u/2?verify=none", port);
    expect_service(&c);
}

static unsigned done, wrong;

static void on_length(void *ctx, const redisReply *reply)
{
    done++;
    wrong += !reply || reply->type != REDIS_REPLY_STRING || reply->len != *(size_t *)ctx;
}

/* Replies and commands of many TLS records, many at once. */
Test(uv_redis_tls, much_at_once)
{
    static char value[300000];
    static size_t size[40];
    const struct ph_redis_conf c = at("127.0.0.1", "");

    memset(value, 'v', sizeof value);
    serve_good("--tls-auth-clients no");
    struct ph_redis *r = rkit_connect(&c);
    for (unsigned round = 0; round < 4; round++) {
        for (unsigned i = 0; i < 40; i++) {
            size[i] = i % 4 ? i * 17 : sizeof value - i;
            const struct ph_slice echo[] = {ph_str("ECHO"), {(const uint8_t *)value, size[i]}};
            cr_assert_eq(ph_redis_command(r, echo, 2, on_length, &size[i]), 0);
        }
        RUN_UNTIL(done == 40 * (round + 1));
    }
    cr_expect_eq(wrong, 0);
    rkit_close(r);
}

Test(uv_redis_tls, passwords_and_reconnecting)
{
    struct ph_redis_conf c = at("127.0.0.1", "&password=secret");

    serve_good("--tls-auth-clients no --requirepass secret");
    struct ph_redis *r = rkit_connect(&c);
    cr_expect_str_eq(rkit_ask(r, "SET k v"), "OK");
    serve("good", "--tls-auth-clients no --requirepass secret");
    RUN_UNTIL(ph_redis_stats(r)->connects == 2);
    cr_expect_str_eq(rkit_ask(r, "GET k"), "nil");
    rkit_close(r);
    snprintf(c.password, sizeof c.password, "hunter2");
    expect_refusal(&c, "refused (WRONGPASS)");
    cr_expect(!strstr(rkit_log, "hunter2"), "%s", rkit_log);
}

/* --- certificates ---------------------------------------------------------------------------------- */

Test(uv_redis_tls, a_certificate_for_another_name)
{
    struct ph_redis_conf c = at("localhost", "");

    make("other", "DNS:db.example", 0, 0);
    serve("other", "--tls-auth-clients no");
    expect_refusal(&c, "cannot connect: the server's certificate is not for localhost");
    c = at("127.0.0.1", "");
    expect_refusal(&c, "is not for 127.0.0.1");
    c = at("127.0.0.1", "&sni=db.example");
    expect_service(&c);
}

Test(uv_redis_tls, a_certificate_that_is_out_of_date)
{
    const struct ph_redis_conf c = at("127.0.0.1", "");

    make("old", "IP:127.0.0.1", -2 * KIT_DAY, -60);
    serve("old", "--tls-auth-clients no");
    expect_refusal(&c, "certificate has expired");
    make("early", "IP:127.0.0.1", 3600, KIT_DAY);
    serve("early", "--tls-auth-clients no");
    expect_refusal(&c, "certificate is not valid yet");
}

Test(uv_redis_tls, a_certificate_of_nobody_we_know)
{
    struct ph_redis_conf c = rkit_parse("rediss://127.0.0.1:%u?ca=%s", port, stranger.cert);

    serve_good("--tls-auth-clients no");
    expect_refusal(&c, "not trusted: no authority known here has signed it (ca=FILE names one)");
    c = rkit_parse("rediss://127.0.0.1:%u?capath=%s", port, dir);
    expect_refusal(&c, "not trusted");
    c = rkit_parse("rediss://127.0.0.1:%u", port);
    expect_refusal(&c, "not trusted");
}

Test(uv_redis_tls, a_servers_own_certificate_as_the_authority)
{
    struct kit_cert alone = kit_cert(dir, "alone", "IP:127.0.0.1", NULL);
    const struct ph_redis_conf c = rkit_parse("rediss://127.0.0.1:%u?ca=%s", port, alone.cert),
                               leaf = rkit_parse("rediss://127.0.0.1:%u?ca=%s/good.crt", port, dir);

    serve("alone", "--tls-auth-clients no");
    expect_service(&c);
    serve_good("--tls-auth-clients no");
    expect_service(&leaf);
    kit_cert_free(&alone);
}

/* Certificates that are renewed while we run: read again after a failure. */
Test(uv_redis_tls, files_are_read_again)
{
    const struct ph_redis_conf c = rkit_parse("rediss://127.0.0.1:%u?ca=%s/trusted.pem", port, dir);
    char trusted[KIT_PATH];

    serve_good("--tls-auth-clients no");
    struct ph_redis *r = rkit_open(&c);
    RUN_UNTIL(ph_redis_stats(r)->failures > 0);
    cr_expect(strstr(rkit_log, "/trusted.pem: No such file or directory"), "%s", rkit_log);
    kit_file(trusted, dir, "trusted.pem", "nothing of use\n");
    RUN_UNTIL(strstr(rkit_log, "/trusted.pem: no certificates of authorities"));
    cr_assert_eq(rename(stranger.cert, trusted), 0);
    RUN_UNTIL(strstr(rkit_log, "not trusted"));
    cr_assert_eq(rename(ca.cert, trusted), 0);
    RUN_UNTIL(ph_redis_stats(r)->up);
    rkit_close(r);
}

/* --- ours ------------------------------------------------------------------------------------------ */

Test(uv_redis_tls, a_certificate_of_our_own)
{
    struct kit_cert theirs =
        kit_cert(dir, "wrong", NULL, &(struct kit_cert_opts){.issuer = &stranger});
    char more[3 * KIT_PATH];

    make("client", NULL, 0, 0);
    serve_good("--tls-auth-clients yes");
    snprintf(more, sizeof more, "&cert=%s/client.crt&clientkey=%s/client.key", dir, dir);
    struct ph_redis_conf c = at("127.0.0.1", more);
    expect_service(&c);
    c = at("127.0.0.1", "");
    expect_refusal(&c,
                   " a certificate of ours"); /* "it wants ...", if that is not lost in a reset */
    snprintf(more, sizeof more, "&cert=%s&key=%s", theirs.cert, theirs.key);
    c = at("127.0.0.1", more);
    expect_refusal(&c, " our certificate"); /* "it does not trust ..." */
    kit_cert_free(&theirs);
}

Test(uv_redis_tls, files_of_ours_that_do_not_do)
{
    struct kit_cert locked =
        kit_cert(dir, "locked", NULL, &(struct kit_cert_opts){.password = "hunter2"});
    char more[3 * KIT_PATH];

    make("one", NULL, 0, 0);
    make("two", NULL, 0, 0);
    snprintf(more, sizeof more, "&cert=%s/one.crt&key=%s/two.key", dir, dir);
    struct ph_redis_conf c = at("127.0.0.1", more);
    expect_refusal(&c, "/two.key: no private key for the certificate");
    snprintf(more, sizeof more, "&cert=%s/one.crt", dir);
    c = at("127.0.0.1", more);
    expect_refusal(&c, "/one.crt: no private key");
    snprintf(more, sizeof more, "&cert=%s&key=%s", locked.cert, locked.key);
    c = at("127.0.0.1", more);
    expect_refusal(&c, "/locked.key: no private key"); /* and nobody is asked for a password */
    snprintf(more, sizeof more, "&cert=%s/none.crt", dir);
    c = at("127.0.0.1", more);
    expect_refusal(&c, "/none.crt: No such file");
    c = rkit_parse("rediss://127.0.0.1:%u?capath=%s/none", port, dir);
    expect_refusal(&c, "/none: No such file");
    kit_cert_free(&locked);
}

/* --- no TLS ---------------------------------------------------------------------------------------- */

Test(uv_redis_tls, a_server_without_tls)
{
    char words[200];
    struct ph_redis_conf c = at("127.0.0.1", "");

    snprintf(words, sizeof words, "--bind 127.0.0.1 --port %u --save  --dir %s", port, rkit_dir);
    rkit_start(0, port, words);
    c.connect_timeout_ms = 150;
    expect_refusal(&c, "TLS on this port"); /* Redis waits for the end of the line */
}

static const char *greeting;

static void talks(struct fake *f, char **arg, unsigned n)
{
    (void)f, (void)arg, (void)n;
}

static void keep_saying(const char *text, const char *says)
{
    struct ph_redis_conf c;
    unsigned before = fake.connections;

    greeting = text;
    c = at("127.0.0.1", "");
    c.connect_timeout_ms = 1000;
    rkit_log[0] = '\0';
    struct ph_redis *r = rkit_open(&c);
    RUN_UNTIL(fake.connections > before && fake.conn[0].n > 100);
    fake_say(&fake, greeting);
    fake_hang_up(&fake);
    RUN_UNTIL(ph_redis_stats(r)->failures > 0);
    cr_expect(strstr(rkit_log, says), "not \"%s\" but\n%s", says, rkit_log);
    rkit_close(r);
}

Test(uv_redis_tls, servers_that_say_other_things)
{
    fake.port = port;
    fake_listen_ith(0, talks);
    keep_saying("-ERR unknown command\r\n", "the server speaks no TLS on this port");
    keep_saying("HTTP/1.1 400 Bad Request\r\n\r\n", "the server speaks no TLS on this port");
    keep_saying("", "the server ended the TLS handshake");
    keep_saying("\x16\x03\x03\x12", "the server ended the TLS handshake");
    keep_saying("\x16\x03\x03\x01\x01\x02\x03\x04", "the server ended the TLS handshake");
    keep_saying("\x15\x03\x03\x7f\x7fxxxxxxxx", "TLS failed");
    keep_saying("\x16garbage garbage garbage garbage", "TLS failed");
}

static void alerts(struct fake *f, char **arg, unsigned n)
{
    (void)arg, (void)n;
    fake_say(f, "\x15\x03\x01\x02\x02\x46");
}

Test(uv_redis_tls, plain_to_a_server_with_tls)
{
    const struct ph_redis_conf c = rkit_parse("redis://127.0.0.1:%u", port);

    serve_good("--tls-auth-clients no");
    expect_refusal(&c, ", at once (it may want TLS: rediss://)"); /* Redis just hangs up */
    rkit_end(&rkit_pids[0]);
    fake.port = port;
    fake_listen_ith(0, alerts);
    expect_refusal(&c, "the server speaks TLS (rediss:// or tls=yes)");
}
#else
#include <criterion/criterion.h>

Test(uv_redis_tls, needs_hiredis)
{
    cr_skip_test("built without hiredis");
}
#endif
