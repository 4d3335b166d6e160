/*
 * turnd's environment: every key has a variable, files hold secrets, the command line wins, and mistakes name the
 * variable and never a secret.
 */
#include "cmd/common/options.h"
#include "cmd/support.h"

#include <ctype.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENV(...)                                                                                   \
    (char *[])                                                                                     \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }

/* Reads an environment, and text as the file t.conf. */
static void read_both(struct ph_tconf *c, char *const *env, const char *text)
{
    ph_tconf_init(c);
    ph_opts_read_env(c->opts, &ph_tconf_env, env);
    ph_opts_read_text(c->opts, "t.conf", text, strlen(text));
    ph_tconf_apply(c);
}

static void read_env(struct ph_tconf *c, char *const *env)
{
    read_both(c, env, "");
}

/* Messages that begin with the name of a variable. */
static unsigned warnings(const struct ph_tconf *c)
{
    const struct ph_opt_message *m;
    unsigned n = 0;
    for (size_t i = 0; (m = ph_opts_message(c->opts, i)) != NULL; i++)
        n += strncmp(m->text, "TURND", 5) == 0 || strncmp(m->text, "ETURNAL", 7) == 0;
    return n;
}

static void expect_fine(const struct ph_tconf *c)
{
    const char *why = conf_first_error(c);
    cr_expect_null(why, "%s", why ? why : "");
}

static void expect_error(char *entry, const char *message)
{
    struct ph_tconf c;
    read_env(&c, ENV(entry));
    const char *got = conf_first_error(&c);
    cr_expect_str_eq(got ? got : "(none)", message, "%s\n   not\n%s", got ? got : "(none)",
                     message);
    ph_tconf_fini(&c);
}

static void expect_warning(char *entry, const char *message)
{
    struct ph_tconf c;
    read_env(&c, ENV(entry));
    expect_fine(&c);
    cr_expect(conf_has_message(&c, message), "%s: no message has \"%s\"", entry, message);
    ph_tconf_fini(&c);
}

/* The values of a key, as "a|b". */
static const char *values(const struct ph_tconf *c, const char *name)
{
    static char text[512];
    size_t at = 0;
    text[0] = '\0';
    for (const struct ph_opt_set *s = NULL; (s = ph_opts_each(c->opts, name, s));)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%s", at ? "|" : "", s->value);
    return text;
}

/* A file with n bytes, and "NAME=" its path. */
struct file {
    char path[32], entry[128];
};

static void make_file(struct file *f, const char *variable, const void *text, size_t n)
{
    snprintf(f->path, sizeof f->path, "/tmp/pinhole-env-XXXXXX");
    int fd = mkstemp(f->path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, n), (ssize_t)n);
    close(fd);
    snprintf(f->entry, sizeof f->entry, "%s=%s", variable, f->path);
}

static void make_text(struct file *f, const char *variable, const char *text)
{
    make_file(f, variable, text, strlen(text));
}

/* ---- names ---- */

Test(conf_env, every_key_has_a_variable)
{
    struct ph_tconf c;
    for (size_t i = 0; i < ph_tconf_table_n; i++) {
        const struct ph_opt *opt = &ph_tconf_table[i];
        char entry[128] = "TURND_";
        if (!opt->name || opt->flags & PH_OPT_ARGV)
            continue;
        for (size_t k = 0; opt->name[k]; k++)
            entry[6 + k] = opt->name[k] == '-' ? '_' : (char)toupper((unsigned char)opt->name[k]);
        strcat(entry, "=1");
        ph_tconf_init(&c);
        ph_opts_read_env(c.opts, &ph_tconf_env, ENV(entry));
        const struct ph_opt_set *s = ph_opts_each(c.opts, NULL, NULL);
        cr_assert_not_null(s, "%s", entry);
        /* "Verbose" is the only key that differs from another by its case. */
        cr_expect(strcmp(s->opt->name, opt->name) == 0 || strcmp(opt->name, "Verbose") == 0, "%s",
                  entry);
        cr_expect_str_eq(s->value, "1");
        ph_tconf_fini(&c);
    }
}

Test(conf_env, takes_values_of_every_kind)
{
    struct ph_tconf c;
    read_env(&c, ENV("PATH=/bin", "TURND_LISTENING_PORT=3479", "TURND_NO_TCP=1", "TURND_NO_UDP=no",
                     "TURND_REALM=turn.example.org", "TURND_LISTENING_IP=192.0.2.1",
                     "TURND_CA_FILE=/etc/ca.pem", "TURND_LOG_FORMAT=json",
                     "TURND_HTTP_LISTEN=127.0.0.1:9641"));
    expect_fine(&c);
    cr_expect_eq(warnings(&c), 0);
    cr_expect_eq(c.port, 3479);
    cr_expect(c.no_tcp);
    cr_expect_not(c.no_udp);
    cr_expect_str_eq(c.realm, "turn.example.org");
    cr_expect_eq(c.n_listen, 1);
    cr_expect_str_eq(c.ca_file, "/etc/ca.pem", "a key that ends in -file is no file with a value");
    cr_expect_eq(c.log_format, PH_TCONF_LOG_JSON);
    cr_expect_eq(c.http.port, 9641);
    ph_tconf_fini(&c);
}

Test(conf_env, empty_is_not_set)
{
    struct ph_tconf c;
    read_both(&c, ENV("TURND_REALM=", "TURND_LISTENING_PORT=", "TURND_STATIC_AUTH_SECRET_FILE="),
              "realm=file.example.org\n");
    expect_fine(&c);
    cr_expect_str_eq(c.realm, "file.example.org");
    cr_expect_eq(c.port, 3478);
    ph_tconf_fini(&c);
}

Test(conf_env, names_the_nearest)
{
    expect_warning("TURND_LISTNING_PORT=1", "TURND_LISTNING_PORT: unknown variable is ignored: did "
                                            "you mean TURND_LISTENING_PORT?");
    expect_warning("TURND_STATIC_AUTH_SECRT_FILE=/x",
                   "TURND_STATIC_AUTH_SECRT_FILE: unknown variable is ignored: did you mean "
                   "TURND_STATIC_AUTH_SECRET?");
    expect_warning("TURND_FROBNICATE_EVERYTHING=1",
                   "TURND_FROBNICATE_EVERYTHING: unknown variable is ignored");
    expect_warning("TURND_REALM_2=a", "TURND_REALM_2: unknown variable is ignored");
    expect_warning("TURND_listening_port=1", "unknown variable is ignored");
    expect_warning("TURND_VERSION=1.2", "TURND_VERSION: belongs on the command line: ignored");
}

Test(conf_env, bears_with_long_and_odd_names)
{
    char name[4096];
    memset(name, 'A', sizeof name);
    memcpy(name, "TURND_", 6);
    memcpy(name + sizeof name - 3, "=1", 3);
    expect_warning(name, "unknown variable is ignored");
    expect_warning("TURND_\x1b[31m_PORT=1", "\\x1B[31m_PORT: unknown variable is ignored");
    expect_warning("TURND__FILE=1", "unknown variable is ignored");
    expect_warning("TURND__1=1", "unknown variable is ignored");
    struct ph_tconf c;
    read_env(&c, ENV("TURND_=1", "TURND_REALM", "=", "", "TURND"));
    expect_fine(&c);
    cr_expect_eq(warnings(&c), 0);
    ph_tconf_fini(&c);
}

Test(conf_env, is_silent_about_links_to_other_services)
{
    struct ph_tconf c;
    read_env(&c, ENV("TURND_SERVICE_HOST=10.0.0.1", "TURND_SERVICE_PORT=3478",
                     "TURND_SERVICE_PORT_STUN=3478", "TURND_PORT=udp://10.0.0.1:3478",
                     "TURND_PORT_3478_UDP=udp://10.0.0.1:3478", "TURND_PORT_3478_UDP_PROTO=udp",
                     "TURND_PORT_3478_UDP_PORT=3478", "TURND_PORT_3478_UDP_ADDR=10.0.0.1",
                     "TURND_WEB_SERVICE_HOST=10.0.0.1", "TURND_WEB_PORT=tcp://10.0.0.1:80"));
    expect_fine(&c);
    cr_expect_eq(warnings(&c), 0);
    cr_expect_null(ph_opts_each(c.opts, NULL, NULL));
    ph_tconf_fini(&c);
}

/* ---- which source wins ---- */

Test(conf_env, wins_over_the_file_and_loses_to_the_command_line)
{
    struct ph_tconf c;
    char a0[] = "turnd", a1[] = "--realm=argv.example.org";
    ph_tconf_init(&c);
    ph_opts_read_argv(c.opts, 2, ENV(a0, a1));
    ph_opts_read_env(c.opts, &ph_tconf_env,
                     ENV("TURND_REALM=env.example.org", "TURND_MIN_PORT=50000"));
    static const char text[] = "realm=file.example.org\nmin-port=40000\nmax-port=60000\n";
    ph_opts_read_text(c.opts, "t.conf", text, sizeof text - 1);
    ph_tconf_apply(&c);
    expect_fine(&c);
    cr_expect_str_eq(c.realm, "argv.example.org");
    cr_expect_eq(c.min_port, 50000);
    cr_expect_eq(c.max_port, 60000);
    cr_expect_str_eq(values(&c, "realm"), "file.example.org|env.example.org|argv.example.org");
    cr_expect_str_eq(values(&c, NULL), "file.example.org|40000|60000|50000|env.example.org|"
                                       "argv.example.org");
    ph_tconf_fini(&c);
}

Test(conf_env, adds_to_lists)
{
    struct ph_tconf c;
    read_both(&c,
              ENV("TURND_USER_10=j:j", "TURND_USER_2=b:b", "TURND_USER=a:a\nc:c\r\n\n",
                  "TURND_USER_1=d:d"),
              "user=f:f\n");
    expect_fine(&c);
    cr_expect_str_eq(values(&c, "user"), "f:f|a:a|c:c|d:d|b:b|j:j");
    ph_tconf_fini(&c);
}

Test(conf_env, reports_where_values_come_from)
{
    struct ph_tconf c;
    char *text = NULL;
    size_t n;
    read_both(&c, ENV("TURND_REALM=env.example.org", "TURND_STATIC_AUTH_SECRET=topsecret"),
              "realm=file.example.org\n");
    FILE *f = open_memstream(&text, &n);
    ph_opts_report(c.opts, f);
    fclose(f);
    cr_expect_str_eq(text,
                     "overridden  t.conf:1: realm=file.example.org\n"
                     "honoured    TURND_REALM: realm=env.example.org\n"
                     "honoured    TURND_STATIC_AUTH_SECRET: static-auth-secret=***  (may be "
                     "used together with user=)\n",
                     "%s", text);
    free(text);
    ph_tconf_fini(&c);
}

/* ---- mistakes ---- */

Test(conf_env, mistakes_name_the_variable)
{
    expect_error("TURND_LISTENING_PORT=x", "TURND_LISTENING_PORT: \"x\" is not a number: give a "
                                           "whole number from 0 to 65535");
    expect_error("TURND_EXTERNAL_IP=here",
                 "TURND_EXTERNAL_IP: \"here\" is not a mapping: give PUBLIC or PUBLIC/PRIVATE with "
                 "numeric IP addresses");
    expect_error("TURND_REALM=a\nb", "TURND_REALM: has several lines: realm takes one value");
    expect_error("ETURNAL_RELAY_MIN_PORT=low",
                 "ETURNAL_RELAY_MIN_PORT: \"low\" is not a number: give a whole number from 1 to "
                 "65535");
    struct ph_tconf c;
    read_env(&c, ENV("TURND_PSQL_USERDB=host=db password=topsecret"));
    cr_expect(ph_opts_failed(c.opts));
    cr_expect_not(conf_has_message(&c, "topsecret"));
    cr_expect(conf_has_message(&c, "TURND_PSQL_USERDB: "));
    ph_tconf_fini(&c);
}

/* ---- files ---- */

Test(conf_env, reads_files)
{
    struct ph_tconf c;
    struct file one, two, three;
    make_text(&one, "TURND_STATIC_AUTH_SECRET_FILE", "first\nsecond");
    make_text(&two, "TURND_REALM__FILE", "file.example.org\r\n");
    make_text(&three, "TURND_STATIC_AUTH_SECRET_2_FILE", "third\n");
    read_env(&c, ENV(three.entry, two.entry, one.entry));
    expect_fine(&c);
    cr_expect_str_eq(values(&c, "static-auth-secret"), "first|second|third");
    cr_expect_str_eq(c.realm, "file.example.org");
    cr_expect_str_eq(ph_opts_last(c.opts, "realm")->file, "TURND_REALM__FILE");
    ph_tconf_fini(&c);
    unlink(one.path);
    unlink(two.path);
    unlink(three.path);
}

Test(conf_env, says_what_is_wrong_with_a_file)
{
    static char large[70000];
    struct file f;
    expect_error("TURND_REALM_FILE=/nonexistent/topsecret",
                 "TURND_REALM_FILE: the file that it names cannot be read: No such file or "
                 "directory");
    expect_error("TURND_REALM_FILE=/",
                 "TURND_REALM_FILE: the file that it names is no ordinary file");
    expect_error("TURND_REALM_FILE=/dev/zero",
                 "TURND_REALM_FILE: the file that it names is no ordinary file");
    make_text(&f, "TURND_REALM_FILE", "\n\r\n");
    expect_error(f.entry, "TURND_REALM_FILE: the file that it names is empty");
    unlink(f.path);
    make_text(&f, "TURND_REALM_FILE", "");
    expect_error(f.entry, "TURND_REALM_FILE: the file that it names is empty");
    unlink(f.path);
    make_text(&f, "TURND_REALM_FILE", "a\nb\n");
    expect_error(f.entry, "TURND_REALM_FILE: has several lines: realm takes one value");
    unlink(f.path);
    make_file(&f, "TURND_REALM_FILE", "a\0b", 3);
    expect_error(f.entry, "TURND_REALM_FILE: the file that it names is no text");
    unlink(f.path);
    memset(large, 'a', sizeof large);
    make_file(&f, "TURND_REALM_FILE", large, sizeof large);
    expect_error(f.entry, "TURND_REALM_FILE: the file that it names is larger than 64 kB");
    unlink(f.path);
    char dir[] = "/tmp/pinhole-env-XXXXXX", fifo[64], entry[128];
    cr_assert_not_null(mkdtemp(dir));
    snprintf(fifo, sizeof fifo, "%s/fifo", dir);
    cr_assert_eq(mkfifo(fifo, 0600), 0);
    snprintf(entry, sizeof entry, "TURND_REALM_FILE=%s", fifo);
    expect_error(entry, "TURND_REALM_FILE: the file that it names is no ordinary file");
    unlink(fifo);
    rmdir(dir);
}

Test(conf_env, refuses_a_value_and_a_file)
{
    struct ph_tconf c;
    read_env(&c, ENV("TURND_REALM_FILE=/dev/null", "TURND_REALM=a"));
    cr_expect_str_eq(conf_first_error(&c),
                     "TURND_REALM_FILE: TURND_REALM is set as well: keep one");
    ph_tconf_fini(&c);
}

/* ---- eturnal ---- */

Test(conf_env, takes_eturnals_names)
{
    struct ph_tconf c;
    struct file f;
    make_text(&f, "ETURNAL_SECRET__FILE", "from-file\n");
    read_env(&c,
             ENV("ETURNAL_SECRET=plain", f.entry, "ETURNAL_RELAY_IPV4_ADDR=203.0.113.1",
                 "ETURNAL_RELAY_IPV6_ADDR=2001:db8::1", "ETURNAL_RELAY_MIN_PORT=50000",
                 "ETURNAL_RELAY_MAX_PORT=50500", "ETURNAL_ETC_DIR=/etc", "TURND_MAX_PORT=50400"));
    expect_fine(&c);
    cr_expect_eq(warnings(&c), 0);
    cr_expect_str_eq(values(&c, "static-auth-secret"), "plain|from-file");
    cr_expect_eq(c.n_external, 2);
    cr_expect_eq(c.min_port, 50000);
    cr_expect_eq(c.max_port, 50400, "our own name wins");
    ph_tconf_fini(&c);
    unlink(f.path);
}

/* ---- the program's own environment ---- */

/* Secrets are rolled over by writing their files anew, so a reload must see that. */
Test(conf_env, a_reload_reads_files_again)
{
    struct ph_tconf was, now;
    struct file f;
    char names[256], a0[] = "turnd", a1[] = "-n";
    make_text(&f, "TURND_STATIC_AUTH_SECRET_FILE", "old\n");
    setenv("TURND_STATIC_AUTH_SECRET_FILE", f.path, 1);
    setenv("TURND_REALM", "env.example.org", 1);
    ph_tconf_init(&was);
    ph_tconf_read(&was, 2, ENV(a0, a1));
    cr_expect_str_eq(values(&was, "static-auth-secret"), "old");
    cr_expect_str_eq(was.realm, "env.example.org");
    FILE *again = fopen(f.path, "w");
    fputs("new\nold\n", again);
    fclose(again);
    ph_tconf_reread(&now, &was);
    cr_expect_str_eq(values(&now, "static-auth-secret"), "new|old");
    cr_expect_eq(ph_opts_changes(was.opts, now.opts, true, names, sizeof names), 1);
    cr_expect_str_eq(names, "static-auth-secret");
    ph_tconf_fini(&now);
    ph_tconf_fini(&was);
    unlink(f.path);
}
