/*
 * Keys of operation (HTTP, API, web page, database, draining), the sample file, the values in force, and what a reload
 * says has changed.
 */
#include "cmd/support.h"

#include "cmd/turnd/print_config.h"

#include <stdio.h>
#include <unistd.h>

static void expect_at(const struct ph_addr *a, const char *want)
{
    char text[PH_ADDR_TEXT];
    cr_expect_str_eq(ph_addr_text(a, text), want, "%s, not %s", text, want);
}

/* ---- HTTP ---- */

Test(turnd_http, is_off_by_default)
{
    struct ph_tconf c;
    conf_load(&c, "");
    cr_expect(!c.http.family && !c.api.family && !c.web.family);
    cr_expect_null(c.api_socket, "where its folder is ours");
    cr_expect_eq(c.api_mode, 0660);
    cr_expect_str_eq(c.prom_path, "/metrics");
    ph_tconf_fini(&c);
}

Test(turnd_http, listens_where_it_is_told)
{
    struct ph_tconf c;
    conf_load(&c, "http-listen=[::1]:9000\napi-listen=192.0.2.1:9001\napi-token=hunter2\n"
                  "api-socket=/run/x.sock\napi-socket-mode=600\nweb=0.0.0.0:9002\n");
    cr_expect_null(conf_first_error(&c), "%s", conf_first_error(&c));
    expect_at(&c.http, "[::1]:9000");
    expect_at(&c.api, "192.0.2.1:9001");
    expect_at(&c.web, "0.0.0.0:9002");
    cr_expect_str_eq(c.api_socket, "/run/x.sock");
    cr_expect_str_eq(c.token, "hunter2");
    cr_expect_eq(c.api_mode, 0600);
    ph_tconf_fini(&c);
    conf_load(&c, "api-socket=none");
    cr_expect_str_eq(c.api_socket, "");
    ph_tconf_fini(&c);
}

Test(turnd_http, knows_the_words_of_coturn)
{
    struct ph_tconf c;
    conf_load(&c, "prometheus\n");
    expect_at(&c.http, "0.0.0.0:9641");
    ph_tconf_fini(&c);
    conf_load(&c, "prometheus\nprometheus-address=192.0.2.1\nprometheus-port=99\n"
                  "prometheus-path=/m\nprometheus-username-labels\n");
    expect_at(&c.http, "192.0.2.1:99");
    cr_expect_str_eq(c.prom_path, "/m");
    cr_expect(c.prom_users);
    ph_tconf_fini(&c);
    conf_load(&c, "prometheus-port=99");
    cr_expect_not(c.http.family, "not without prometheus");
    ph_tconf_fini(&c);
    conf_load(&c, "prometheus\nprometheus-port=99\nhttp-listen=127.0.0.1:9000");
    expect_at(&c.http, "127.0.0.1:9000");
    cr_expect(c.prometheus);
    cr_expect(conf_has_message(&c, "t.conf:3: http-listen: goes before prometheus-address"));
    ph_tconf_fini(&c);
    conf_load(&c, "web-admin\n");
    expect_at(&c.web, "127.0.0.1:8080");
    ph_tconf_fini(&c);
    conf_load(&c, "web-admin\nweb-admin-ip=::1\nweb-admin-port=99");
    expect_at(&c.web, "[::1]:99");
    ph_tconf_fini(&c);
}

Test(turnd_http, shows_the_page_where_it_is_asked_to)
{
    static const char *const CASES[][2] = {
        {"web", "127.0.0.1:8080"},
        {"web=yes", "127.0.0.1:8080"},
        {"web=1", "127.0.0.1:8080"},
        {"web=9000", "127.0.0.1:9000"},
        {"web=127.0.0.2", "127.0.0.2:8080"},
        {"web=[::1]:9000", "[::1]:9000"},
        {"web=no", "-"},
        {"web=no\nweb-admin", "-"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        struct ph_tconf c;
        conf_load(&c, CASES[i][0]);
        cr_expect_null(conf_first_error(&c), "%s", conf_first_error(&c));
        expect_at(&c.web, CASES[i][1]);
        ph_tconf_fini(&c);
    }
}

Test(turnd_http, names_bad_values)
{
    conf_expect_error("api-listen=127.0.0.1:80", "t.conf:1: api-listen: needs a token: give "
                                                 "api-token-file or api-token");
    conf_expect_error("web=192.0.2.1:80", "t.conf:1: web: needs a token where it is not on "
                                          "loopback: give api-token-file or api-token");
    conf_expect_error("web-admin\nweb-admin-ip=0.0.0.0",
                      "t.conf:1: web-admin: needs a token where it is not on loopback: give "
                      "api-token-file or api-token");
    conf_expect_error("http-listen=127.0.0.1:80\nweb=127.0.0.1:80",
                      "http-listen and web are both to be at 127.0.0.1:80: give each a port of its "
                      "own");
    conf_expect_error("http-listen=127.0.0.1",
                      "t.conf:1: http-listen: \"127.0.0.1\" has no port: give it as "
                      "192.0.2.1:3478 or [2001:db8::1]:3478");
    conf_expect_error("web=localhost:80", "t.conf:1: web: \"localhost:80\" is not an address: give "
                                          "IP:PORT, as 127.0.0.1:8080");
    conf_expect_error("api-socket-mode=888", "t.conf:1: api-socket-mode: \"888\" is no file mode: "
                                             "give octal digits, as 660");
    conf_expect_error("prometheus-path=metrics",
                      "t.conf:1: prometheus-path: \"metrics\" is not a path: give one that begins "
                      "with \"/\"");
    conf_expect_error("prometheus\nprometheus-tls",
                      "t.conf:2: prometheus-tls: needs a certificate: give prometheus-cert and "
                      "prometheus-key");
    conf_expect_error("api-token=", "t.conf:1: api-token: is empty: give a token, or remove the "
                                    "key");
    conf_expect_error("api-token-file=/nonexistent/token",
                      "t.conf:1: api-token-file: cannot read /nonexistent/token: No such file or "
                      "directory");
    char line[256] = "api-socket=/";
    memset(line + strlen(line), 'x', 110);
    struct ph_tconf c;
    conf_load(&c, line);
    cr_expect(conf_has_message(&c, "is too long: 107 bytes are the most for a socket"));
    ph_tconf_fini(&c);
}

Test(turnd_http, reads_its_token_from_a_file)
{
    char path[] = "/tmp/pinhole-token-XXXXXX", text[128];
    int fd = mkstemp(path);
    struct ph_tconf c;
    cr_assert_eq(write(fd, "hunter2\nmore\n", 13), 13);
    close(fd);
    snprintf(text, sizeof text, "api-listen=127.0.0.1:80\napi-token-file=%s\n", path);
    conf_load(&c, text);
    cr_expect_null(conf_first_error(&c));
    cr_expect_str_eq(c.token, "hunter2");
    ph_tconf_fini(&c);
    unlink(path);
}

/* ---- the database ---- */

#ifdef PH_HAVE_REDIS
Test(turnd_database, has_coturns_address)
{
    struct ph_tconf c;
    conf_load(&c, "realm=r\nredis-userdb=\"ip=192.0.2.1 dbname=2 password=hunter2 port=6380 "
                  "connect_timeout=5\"\n");
    cr_expect_null(conf_first_error(&c), "%s", conf_first_error(&c));
    cr_expect_str_eq(c.redis.host, "192.0.2.1");
    cr_expect_str_eq(c.redis.password, "hunter2");
    cr_expect(c.redis.port == 6380 && c.redis.db == 2);
    cr_expect_not(conf_has_message(&c, "no credentials are configured"));
    ph_tconf_fini(&c);
    conf_load(&c, "redis-userdb=hunter2 hunter3");
    cr_expect(ph_opts_failed(c.opts));
    cr_expect(conf_has_message(&c, "t.conf:1: redis-userdb: "));
    cr_expect_not(conf_has_message(&c, "hunter"), "no secret is shown");
    ph_tconf_fini(&c);
}

Test(turnd_database, statistics_have_one_of_their_own)
{
    struct ph_tconf c;
    conf_load(&c, "realm=r\nuser=a:b\nredis-statsdb=\"ip=192.0.2.1 dbname=3 port=6380\"\n");
    cr_expect_null(conf_first_error(&c), "%s", conf_first_error(&c));
    cr_expect_str_eq(c.stats_redis.host, "192.0.2.1");
    cr_expect(c.stats_redis.port == 6380 && c.stats_redis.db == 3);
    cr_expect_null(c.redis_userdb);
    ph_tconf_fini(&c);
    conf_load(&c, "redis-statsdb=hunter2 hunter3");
    cr_expect(ph_opts_failed(c.opts));
    cr_expect(conf_has_message(&c, "t.conf:1: redis-statsdb: "));
    cr_expect_not(conf_has_message(&c, "hunter"), "no secret is shown");
    ph_tconf_fini(&c);
    conf_load(&c, "realm=r\nuser=a:b\n");
    cr_expect_null(c.redis_statsdb);
    ph_tconf_fini(&c);
}

Test(turnd_database, may_have_the_secrets)
{
    conf_expect_fine("realm=r\nuse-auth-secret\nredis-userdb=redis://127.0.0.1/0\n");
}
#endif

/* ---- draining ---- */

Test(turnd_draining, has_its_times)
{
    struct ph_tconf c;
    conf_load(&c, "drain-timeout=60\ndrain-min-allocations=3\ngrace=9\n");
    cr_expect(c.drain_timeout_s == 60 && c.drain_min == 3 && c.grace_s == 9);
    ph_tconf_fini(&c);
    conf_load(&c, "");
    cr_expect(c.drain_timeout_s == 0 && c.drain_min == 0 && c.grace_s == 0);
    ph_tconf_fini(&c);
    conf_expect_error("grace=soon",
                      "t.conf:1: grace: \"soon\" is not a number: give a whole number "
                      "from 0 to 4294967295");
}

/* ---- the log ---- */

Test(turnd_log, has_two_names_for_its_level)
{
    struct ph_tconf c;
    conf_load(&c, "log-level=error\n");
    cr_expect_eq(c.log_level, PH_LOG_ERROR);
    ph_tconf_fini(&c);
    conf_expect_error("log-level=loud", "t.conf:1: log-level: \"loud\" is not known: give one of "
                                        "error|warning|info|debug");
}

/* ---- the sample file ---- */

static char *printed(void)
{
    char *text = NULL;
    size_t n;
    FILE *f = open_memstream(&text, &n);
    ph_tconf_print(f);
    fclose(f);
    return text;
}

Test(turnd_sample, parses_back_without_a_complaint)
{
    char *text = printed();
    struct ph_tconf c, none;
    conf_load(&c, text);
    conf_load(&none, "");
    for (size_t i = 0; ph_opts_message(c.opts, i); i++) /* of having no user at all */
        cr_expect_not_null(ph_opts_message(none.opts, i), "%s", ph_opts_message(c.opts, i)->text);
    cr_expect_null(ph_opts_each(c.opts, NULL, NULL), "all of it is commented out");
    ph_tconf_fini(&c);
    ph_tconf_fini(&none);
    free(text);
}

/* Keys whose examples need what is not here: files, or a library that this build is without. */
static bool is_elsewhere(const char *key)
{
#ifndef PH_HAVE_REDIS
    if (strcmp(key, "redis-userdb") == 0 || strcmp(key, "redis-statsdb") == 0 ||
        strcmp(key, "redis-statedb") == 0)
        return true;
#endif
    return strcmp(key, "api-token-file") == 0 || strcmp(key, "users-file") == 0 ||
           strcmp(key, "fleet-key") == 0;
}

/* What a key needs beside it. */
static const char *company(const char *key)
{
    if (strcmp(key, "no-auth") == 0)
        return "realm=r\n";
    if (strcmp(key, "realm") == 0)
        return "user=a:b\n";
    if (strcmp(key, "redis-statedb") == 0)
        return "realm=r\nuser=a:b\nfleet-key=a secret of the fleet\nnode-id=n\n";
    return "realm=r\nuser=a:b\nstatic-auth-secret=s\n";
}

Test(turnd_sample, has_every_key_with_a_value_that_works)
{
    char *text = printed(), *save = NULL;
    unsigned n = 0, honoured = 0;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char conf[512], key[64];
        struct ph_tconf c;
        if (line[0] != '#' || line[1] == ' ' || line[1] == '\0')
            continue;
        snprintf(key, sizeof key, "%.*s", (int)strcspn(line + 1, "="), line + 1);
        n++;
        if (is_elsewhere(key))
            continue;
        snprintf(conf, sizeof conf, "%sapi-token=t\n%s\n", company(key), line + 1);
        struct ph_tlive *l = conf_build(&c, conf);
        const char *why = conf_first_error(&c);
        cr_expect_null(why, "%s: %s", line, why ? why : "");
        cr_expect_not_null(ph_opts_last(c.opts, key), "%s is not a key", key);
        cr_expect_not(conf_has_message(&c, "unknown key"), "%s", line);
        ph_tlive_free(l);
        ph_tconf_fini(&c);
    }
    for (size_t i = 0; i < ph_tconf_table_n; i++)
        honoured += ph_tconf_table[i].name && ph_tconf_table[i].status == PH_OPT_HONOURED &&
                    !(ph_tconf_table[i].flags & PH_OPT_ARGV);
    cr_expect_eq(n, honoured, "%u of %u keys", n, honoured);
    free(text);
}

/* ---- the values in force ---- */

static char *effective(const struct ph_tconf *c)
{
    char *text = NULL;
    size_t n;
    FILE *f = open_memstream(&text, &n);
    ph_opts_effective(c->opts, c, f);
    fclose(f);
    return text;
}

/* The rest of the line that begins with a key; blanks squeezed. */
static void expect_value(const char *text, const char *key, const char *want)
{
    char line[256] = "", begin[80];
    size_t n = 0;
    snprintf(begin, sizeof begin, "\n  %s=", key);
    const char *at = strstr(text, begin);
    cr_assert_not_null(at, "%s", key);
    for (at += strlen(begin); *at && *at != '\n' && n + 1 < sizeof line; at++)
        if (*at != ' ' || at[1] != ' ')
            line[n++] = *at;
    cr_expect_str_eq(line, want, "%s: %s, not %s", key, line, want);
}

Test(turnd_effective, shows_values_and_where_they_come_from)
{
    struct ph_tconf c;
    conf_load(
        &c,
        "realm=r\nuser=alice:hunter2\nno-rfc5780\nrealm-secret=north hunter3\n"
        "max-bps=5\nlog-level=debug\nstatic-auth-secret=hunter4\n"
        "stateless-nonce-secret=hunter5\nhttp-listen=127.0.0.1:99\nalternate-server=192.0.2.1\n");
    char *text = effective(&c);
    cr_expect_null(strstr(text, "hunter"), "no secret is shown");
    expect_value(text, "realm", "r (t.conf:1)");
    expect_value(text, "user", "alice:*** (t.conf:2)");
    expect_value(text, "rfc5780", "no (t.conf:3, as no-rfc5780)");
    expect_value(text, "realm-secret", "north *** (t.conf:4)");
    expect_value(text, "max-bps", "5 (t.conf:5)");
    expect_value(text, "log-min-level", "debug (t.conf:6, as log-level)");
    expect_value(text, "stateless-nonce-secret", "*** (t.conf:8)");
    expect_value(text, "http-listen", "127.0.0.1:99 (t.conf:9)");
    expect_value(text, "listening-port", "3478 (default)");
    expect_value(text, "new-peer-rate", "10/128 (default)");
    expect_value(text, "budget-rate", " (default)");
    expect_value(text, "dtls", "yes (default)");
    cr_expect_null(strstr(text, "  no-dtls="), "one line for one member");
    cr_expect_null(strstr(text, "  check-config="), "what is for the command line is not shown");
    free(text);
    ph_tconf_fini(&c);
}

/* ---- what a reload says ---- */

Test(turnd_changes, are_told_apart)
{
    struct ph_tconf was, now;
    char names[128];
    conf_load(&was, "realm=r\nuser=a:b\nlistening-port=1\nmax-bps=1\n");
    conf_load(&now, "realm=r\nuser=a:c\nlistening-port=2\nmax-bps=1\nuser-quota=2\nno-tcp\n");
    cr_expect_eq(ph_opts_changes(was.opts, now.opts, true, names, sizeof names), 2);
    cr_expect_str_eq(names, "user, user-quota");
    cr_expect_eq(ph_opts_changes(was.opts, now.opts, false, names, sizeof names), 2);
    cr_expect_str_eq(names, "listening-port, no-tcp");
    cr_expect_eq(ph_opts_changes(now.opts, now.opts, false, names, sizeof names), 0);
    cr_expect_str_eq(names, "");
    ph_opts_changes(was.opts, now.opts, false, names, 10);
    cr_expect_str_eq(names, "listening", "cut");
    ph_tconf_fini(&was);
    ph_tconf_fini(&now);
}

Test(turnd_changes, are_seen_when_the_file_is_read_again)
{
    char path[] = "/tmp/pinhole-conf-XXXXXX", *secret = strdup("alice:hunter2");
    int fd = mkstemp(path);
    char *argv[] = {"turnd", "-c", path, "-u", secret, NULL};
    struct ph_tconf was, now;
    FILE *f = fdopen(fd, "w");
    fputs("realm=r\nuser-quota=1\n", f);
    fclose(f);
    ph_tconf_init(&was);
    ph_tconf_read(&was, 5, argv);
    cr_expect_eq(was.user_quota, 1);
    cr_expect_str_eq(secret, "*", "gone from the command line");
    f = fopen(path, "w");
    fputs("realm=r\nuser-quota=2\n", f);
    fclose(f);
    ph_tconf_reread(&now, &was);
    cr_expect_eq(now.user_quota, 2);
    cr_expect_str_eq(ph_opts_last(now.opts, "user")->value, "alice:hunter2", "but not forgotten");
    cr_expect_str_eq(now.file, path);
    unlink(path);
    struct ph_tconf gone;
    ph_tconf_reread(&gone, &now);
    cr_expect(ph_opts_failed(gone.opts), "a file that is not there any more");
    ph_tconf_fini(&gone);
    ph_tconf_fini(&now);
    ph_tconf_fini(&was);
    free(secret);
}
