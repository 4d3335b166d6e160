/*
 * What the parts of a Redis address mean, and whether they go together.
 *
 * Messages never show a value, nor anything that could be a part of one: a password with a blank in it would be among
 * them.
 */
#include "stun/base/error.h"
#include "turn/store/redis_spec.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

enum { DB_MAX = 1 << 20, TIMEOUT_MAX_S = 3600, REDIS_PORT = 6379, SENTINEL_PORT = 26379 };

static const struct {
    const char *name;
    enum ph__spec_field field;
} names[] = {
    {"host", PH__HOST},
    {"ip", PH__HOST},
    {"addr", PH__HOST},
    {"ipaddr", PH__HOST},
    {"hostaddr", PH__HOST},
    {"port", PH__PORT},
    {"p", PH__PORT},
    {"dbname", PH__DB},
    {"db", PH__DB},
    {"database", PH__DB},
    {"user", PH__USER},
    {"uname", PH__USER},
    {"name", PH__USER},
    {"username", PH__USER},
    {"password", PH__PASSWORD},
    {"pwd", PH__PASSWORD},
    {"passwd", PH__PASSWORD},
    {"secret", PH__PASSWORD},
    {"connect_timeout", PH__CONNECT_TIMEOUT},
    {"timeout", PH__CONNECT_TIMEOUT},
    {"command_timeout", PH__COMMAND_TIMEOUT}, /* ours, like the next three */
    {"path", PH__PATH},
    {"sentinel-user", PH__SENTINEL_USER},
    {"sentinel-password", PH__SENTINEL_PASSWORD},
    {"tls", PH__TLS}, /* coturn's since 4.10, all for TLS */
    {"ssl", PH__TLS},
    {"ca", PH__CA},
    {"cacert", PH__CA},
    {"tls-ca", PH__CA},
    {"capath", PH__CAPATH},
    {"cert", PH__CERT},
    {"tls-cert", PH__CERT},
    {"clientkey", PH__KEY},
    {"key", PH__KEY},
    {"tls-key", PH__KEY},
    {"sni", PH__SNI},
    {"servername", PH__SNI},
    {"tls-sni", PH__SNI},
    {"verify", PH__VERIFY},
};

int ph__spec_bad(struct ph__spec *s, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(s->why, PH_REDIS_WHY, fmt, ap);
    va_end(ap);
    return PH_E_FORMAT;
}

/* --- values ---------------------------------------------------------------------------------------- */

/* A number in [lo, hi]; false for anything else. */
static bool number(const char *text, uint32_t lo, uint32_t hi, uint32_t *out)
{
    uint64_t v = 0;

    if (!*text)
        return false;
    for (const char *p = text; *p; p++) {
        if (!isdigit((unsigned char)*p) || v > UINT32_MAX)
            return false;
        v = v * 10 + (uint64_t)(*p - '0');
    }
    if (v < lo || v > hi)
        return false;
    *out = (uint32_t)v;
    return true;
}

static bool is_one_of(const char *value, const char *const *words)
{
    for (; *words; words++)
        if (strcasecmp(value, *words) == 0)
            return true;
    return false;
}

static int keep(struct ph__spec *s, char *dst, size_t cap, const char *value, const char *what)
{
    const size_t n = strlen(value);

    if (n >= cap)
        return ph__spec_bad(s, "the %s is too long: at most %zu bytes", what, cap - 1);
    memcpy(dst, value, n + 1);
    return 0;
}

static int set_path(struct ph__spec *s, const char *value)
{
    if (*value != '/')
        return ph__spec_bad(s, "the path of a UNIX socket must begin with '/'");
    s->c.host[0] = '\0';
    return keep(s, s->c.path, sizeof((struct sockaddr_un *)0)->sun_path, value,
                "path of the UNIX socket");
}

static int check_host(struct ph__spec *s, const char *value)
{
    if (!*value)
        return ph__spec_bad(s, "the host is empty: a name or an address is wanted");
    for (const char *p = value; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr(".-_:%", *p))
            return ph__spec_bad(s, "the host has a character that no name or address has");
    return 0;
}

static int set_host(struct ph__spec *s, const char *value)
{
    if (*value == '/')
        return set_path(s, value);
    const int err = check_host(s, value);
    if (!err)
        s->c.path[0] = '\0';
    return err ? err : keep(s, s->c.host, sizeof s->c.host, value, "host");
}

static int set_port(struct ph__spec *s, uint16_t *port, const char *value)
{
    uint32_t v;

    if (!number(value, 1, 65535, &v))
        return ph__spec_bad(s, "the port must be a number from 1 to 65535");
    *port = (uint16_t)v;
    return 0;
}

static int set_timeout(struct ph__spec *s, uint32_t *ms, const char *value)
{
    uint32_t v;

    if (!number(value, 0, TIMEOUT_MAX_S, &v))
        return ph__spec_bad(s, "a timeout must be a number of seconds up to %d", TIMEOUT_MAX_S);
    if (v)
        *ms = v * 1000; /* 0 keeps the default, as in coturn */
    return 0;
}

static int set_tls(struct ph__spec *s, const char *value)
{
    static const char *const off[] = {"", "0", "no", "off", "false", NULL}, *const on[] = {
                                                                                "1", "yes", "on",
                                                                                "true", NULL};

    if (!is_one_of(value, off) && !is_one_of(value, on))
        return ph__spec_bad(s, "tls is yes or no");
    s->tls_said = true;
    s->c.tls = is_one_of(value, on);
    return 0;
}

static int set_verify(struct ph__spec *s, const char *value)
{
    if (strcasecmp(value, "peer") != 0 && strcasecmp(value, "none") != 0)
        return ph__spec_bad(s, "verify is peer (the server's certificate must be good) or none");
    s->c.no_verify = strcasecmp(value, "none") == 0;
    return 0;
}

static int set_tls_more(struct ph__spec *s, enum ph__spec_field field, const char *value)
{
    struct ph_redis_conf *const c = &s->c;

    s->tls_needed = true;
    switch (field) {
    case PH__CA:
        return keep(s, c->ca, sizeof c->ca, value, "path of the authorities' file");
    case PH__CAPATH:
        return keep(s, c->capath, sizeof c->capath, value, "path of the authorities");
    case PH__CERT:
        return keep(s, c->cert, sizeof c->cert, value, "path of the certificate");
    case PH__KEY:
        return keep(s, c->key, sizeof c->key, value, "path of the key");
    case PH__SNI: {
        const int err = check_host(s, value);
        return err ? err : keep(s, c->sni, sizeof c->sni, value, "name for sni");
    }
    default:
        return set_verify(s, value);
    }
}

int ph__spec_set(struct ph__spec *s, enum ph__spec_field field, const char *value)
{
    struct ph_redis_conf *const c = &s->c;

    switch (field) {
    case PH__HOST:
        return set_host(s, value);
    case PH__PATH:
        return set_path(s, value);
    case PH__PORT:
        return set_port(s, &c->port, value);
    case PH__DB:
        if (!number(value, 0, DB_MAX, &c->db))
            return ph__spec_bad(s, "the database of a Redis server is a number, such as 0");
        return 0;
    case PH__USER:
        return keep(s, c->user, sizeof c->user, value, "user");
    case PH__PASSWORD:
        return keep(s, c->password, sizeof c->password, value, "password");
    case PH__SENTINEL_USER:
        return keep(s, c->sentinel_user, sizeof c->sentinel_user, value, "sentinels' user");
    case PH__SENTINEL_PASSWORD:
        return keep(s, c->sentinel_password, sizeof c->sentinel_password, value,
                    "sentinels' password");
    case PH__CONNECT_TIMEOUT:
        return set_timeout(s, &c->connect_timeout_ms, value);
    case PH__COMMAND_TIMEOUT:
        return set_timeout(s, &c->command_timeout_ms, value);
    case PH__TLS:
        return set_tls(s, value);
    default:
        return set_tls_more(s, field, value);
    }
}

int ph__spec_named(struct ph__spec *s, unsigned at, const char *name, const char *value)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i].name, name) == 0)
            return ph__spec_set(s, names[i].field, value);
    return ph__spec_bad(s,
                        "pair %u has a name that is not known; known are host, port, dbname, user, "
                        "password, connect_timeout, command_timeout, path, sentinel-user, "
                        "sentinel-password, tls, ca, capath, cert, clientkey, sni and verify",
                        at);
}

int ph__spec_host(struct ph__spec *s, unsigned i, const char *host, const char *port)
{
    if (i == 0) {
        const int err = *host ? set_host(s, host) : 0;
        return err || !port ? err : set_port(s, &s->c.port, port);
    }
    if (s->c.mode == PH_REDIS_ONE)
        return ph__spec_bad(s,
                            "several hosts are for redis+sentinel:// and redis+cluster:// alone");
    if (i == PH_REDIS_HOSTS)
        return ph__spec_bad(s, "there are too many hosts: at most %d", PH_REDIS_HOSTS);

    struct ph_redis_host *h = &s->c.more[i - 1];
    int err = check_host(s, host);
    if (!err)
        err = keep(s, h->host, sizeof h->host, host, "host");
    if (!err && port)
        err = set_port(s, &h->port, port);
    s->c.n_more = i;
    return err;
}

int ph__spec_master(struct ph__spec *s, const char *name)
{
    if (!*name)
        return ph__spec_bad(s, "the name that the sentinels have for the master is missing: "
                               "redis+sentinel://host:port/NAME");
    for (const char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr(".-_", *p))
            return ph__spec_bad(
                s, "the master's name has a character other than letters, digits, '.', '-', '_'");
    return keep(s, s->c.master, sizeof s->c.master, name, "master's name");
}

/* --- the whole ------------------------------------------------------------------------------------- */

static int check(struct ph__spec *s)
{
    const struct ph_redis_conf *const c = &s->c;

    if (s->scheme_tls && !c->tls)
        return ph__spec_bad(s, "rediss:// and tls=no contradict each other");
    if (c->tls && c->path[0])
        return ph__spec_bad(s, "TLS is for hosts: a UNIX socket goes without");
    if (s->tls_needed && !c->tls && !s->tls_said)
        return ph__spec_bad(s, "ca, capath, cert, clientkey, sni and verify are for TLS, which "
                               "rediss:// or tls=yes switches on");
    if (c->key[0] && !c->cert[0])
        return ph__spec_bad(s, "a clientkey goes with a cert");
    if (c->mode != PH_REDIS_ONE && c->path[0])
        return ph__spec_bad(s, "sentinels and clusters are not reached by a UNIX socket");
    if (c->mode == PH_REDIS_CLUSTER && c->db)
        return ph__spec_bad(s, "a cluster has no database but 0");
    if (c->mode != PH_REDIS_SENTINEL && (c->sentinel_user[0] || c->sentinel_password[0]))
        return ph__spec_bad(s, "sentinel-user and sentinel-password are for redis+sentinel://");
    return 0;
}

/* What was left to us. */
static void complete(struct ph_redis_conf *c)
{
    const uint16_t port = c->mode == PH_REDIS_SENTINEL ? SENTINEL_PORT : REDIS_PORT;

    if (!c->port)
        c->port = port;
    for (unsigned i = 0; i < c->n_more; i++)
        if (!c->more[i].port)
            c->more[i].port = port;
    /* coturn took a user and did nothing with it: without a password nor do we. */
    if (!c->password[0])
        c->user[0] = '\0';
    if (!c->sentinel_password[0])
        c->sentinel_user[0] = '\0';
}

int ph_redis_parse(struct ph_redis_conf *c, const char *text, char why[static PH_REDIS_WHY])
{
    struct ph__spec s = {
        .c = {.host = "127.0.0.1", .connect_timeout_ms = 3000, .command_timeout_ms = 3000},
        .why = why};

    why[0] = '\0';
    for (const char *p = text; *p; p++)
        if ((unsigned char)*p < 0x20 && *p != '\t')
            return ph__spec_bad(&s, "the address has a control character in it");
    int err = ph__spec_parse(&s, text);
    if (!err)
        err = check(&s);
    if (!err) {
        complete(&s.c);
        *c = s.c;
    }
    explicit_bzero(&s, sizeof s);
    return err;
}
