/*
 * Addresses of a Redis server, in three spellings:
 *
 *     redis://[[user]:password@]host[:port][/db][?name=value&...]
 *     unix:/path[?name=value&...]
 *     name=value name=value ...                    coturn's connection string, with all its names
 *
 * The names are the same everywhere, '%' stands for a byte in the first two only.  Messages never show a value,
 * nor anything that could be a part of one: a password with a blank in it would be among them.
 */
#include "stun/base/error.h"
#include "turn/store/redis_priv.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/un.h>

enum { PART = 512, DB_MAX = 1 << 20, TIMEOUT_MAX_S = 3600 };

enum field {
    HOST,
    PORT,
    DB,
    USER,
    PASSWORD,
    CONNECT_TIMEOUT,
    COMMAND_TIMEOUT,
    PATH,
    TLS,
    TLS_MORE
};

static const struct {
    const char *name;
    enum field field;
} names[] = {
    {"host", HOST},
    {"ip", HOST},
    {"addr", HOST},
    {"ipaddr", HOST},
    {"hostaddr", HOST},
    {"port", PORT},
    {"p", PORT},
    {"dbname", DB},
    {"db", DB},
    {"database", DB},
    {"user", USER},
    {"uname", USER},
    {"name", USER},
    {"username", USER},
    {"password", PASSWORD},
    {"pwd", PASSWORD},
    {"passwd", PASSWORD},
    {"secret", PASSWORD},
    {"connect_timeout", CONNECT_TIMEOUT},
    {"timeout", CONNECT_TIMEOUT},
    {"command_timeout", COMMAND_TIMEOUT}, /* ours, like the next */
    {"path", PATH},
    {"tls", TLS}, /* coturn's since 4.10, all for TLS */
    {"ssl", TLS},
    {"ca", TLS_MORE},
    {"cacert", TLS_MORE},
    {"tls-ca", TLS_MORE},
    {"capath", TLS_MORE},
    {"cert", TLS_MORE},
    {"clientkey", TLS_MORE},
    {"tls-cert", TLS_MORE},
    {"key", TLS_MORE},
    {"tls-key", TLS_MORE},
    {"sni", TLS_MORE},
    {"servername", TLS_MORE},
    {"tls-sni", TLS_MORE},
    {"verify", TLS_MORE},
};

#define NO_TLS                                                                                     \
    "the Redis client library (hiredis 0.14) has no TLS: use a UNIX socket (unix:/path), a "       \
    "private network, or a tunnel such as stunnel"

static int bad(char why[static PH_REDIS_WHY], const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static int bad(char why[static PH_REDIS_WHY], const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(why, PH_REDIS_WHY, fmt, ap);
    va_end(ap);
    return PH_E_FORMAT;
}

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

static int keep(char *dst, size_t cap, const char *value, const char *what, char *why)
{
    const size_t n = strlen(value);

    if (n >= cap)
        return bad(why, "the %s is too long: at most %zu bytes", what, cap - 1);
    memcpy(dst, value, n + 1);
    return 0;
}

static int set_path(struct ph_redis_conf *c, const char *value, char *why)
{
    if (*value != '/')
        return bad(why, "the path of a UNIX socket must begin with '/'");
    c->host[0] = '\0';
    return keep(c->path, sizeof((struct sockaddr_un *)0)->sun_path, value,
                "path of the UNIX socket", why);
}

static int set_host(struct ph_redis_conf *c, const char *value, char *why)
{
    if (*value == '/')
        return set_path(c, value, why);
    if (!*value)
        return bad(why, "the host is empty: a name or an address is wanted");
    for (const char *p = value; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr(".-_:%", *p))
            return bad(why, "the host has a character that no name or address has");
    c->path[0] = '\0';
    return keep(c->host, sizeof c->host, value, "host", why);
}

static int set_timeout(uint32_t *ms, const char *value, char *why)
{
    uint32_t s;

    if (!number(value, 0, TIMEOUT_MAX_S, &s))
        return bad(why, "a timeout must be a number of seconds up to %d", TIMEOUT_MAX_S);
    if (s)
        *ms = s * 1000; /* 0 keeps the default, as in coturn */
    return 0;
}

static bool is_off(const char *value)
{
    static const char *const off[] = {"", "0", "no", "off", "false"};

    for (size_t i = 0; i < sizeof off / sizeof *off; i++)
        if (strcasecmp(value, off[i]) == 0)
            return true;
    return false;
}

static int set(struct ph_redis_conf *c, enum field field, const char *value, char *why)
{
    uint32_t v;

    switch (field) {
    case HOST:
        return set_host(c, value, why);
    case PATH:
        return set_path(c, value, why);
    case PORT:
        if (!number(value, 1, 65535, &v))
            return bad(why, "the port must be a number from 1 to 65535");
        c->port = (uint16_t)v;
        return 0;
    case DB:
        if (!number(value, 0, DB_MAX, &c->db))
            return bad(why, "the database of a Redis server is a number, such as 0");
        return 0;
    case USER:
        return keep(c->user, sizeof c->user, value, "user", why);
    case PASSWORD:
        return keep(c->password, sizeof c->password, value, "password", why);
    case CONNECT_TIMEOUT:
        return set_timeout(&c->connect_timeout_ms, value, why);
    case COMMAND_TIMEOUT:
        return set_timeout(&c->command_timeout_ms, value, why);
    case TLS:
        return is_off(value) ? 0 : bad(why, NO_TLS);
    case TLS_MORE:
        return bad(why, NO_TLS);
    }
    return PH_E_ARG;
}

static int set_named(struct ph_redis_conf *c, unsigned at, const char *name, const char *value,
                     char *why)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i].name, name) == 0)
            return set(c, names[i].field, value, why);
    return bad(why,
               "pair %u has a name that is not known; known are host, port, dbname, user, "
               "password, connect_timeout, command_timeout and path",
               at);
}

/* --- coturn's string ------------------------------------------------------------------------------- */

static int parse_pairs(struct ph_redis_conf *c, const char *text, char *why)
{
    unsigned at = 0;

    for (const char *p = text + strspn(text, " \t"); *p; p += strspn(p, " \t")) {
        char pair[PART];
        const size_t n = strcspn(p, " \t");

        at++;
        if (n >= sizeof pair)
            return bad(why, "pair %u is too long", at);
        memcpy(pair, p, n);
        pair[n] = '\0';
        p += n;

        char *value = strchr(pair, '=');
        if (!value)
            return bad(why,
                       "pair %u is not name=value; a value cannot have a blank in it here, "
                       "redis://:pass%%20word@host can",
                       at);
        *value++ = '\0';
        const int err = set_named(c, at, pair, value, why);
        if (err)
            return err;
    }
    return 0;
}

/* --- URLs ------------------------------------------------------------------------------------------ */

/* Takes n bytes with their %XX decoded. */
static int decode(char dst[static PART], const char *p, size_t n, char *why)
{
    size_t at = 0;

    for (size_t i = 0; i < n; i++) {
        int c = (unsigned char)p[i];
        if (c == '%') {
            const int high = i + 2 < n ? ph__hex(p[i + 1]) : -1,
                      low = i + 2 < n ? ph__hex(p[i + 2]) : -1;
            if (high < 0 || low < 0 || (c = high * 16 + low) == 0)
                return bad(why, "'%%' must be followed by two hexadecimal digits (%%25 is '%%' "
                                "itself), and not by 00");
            i += 2;
        }
        if (at == PART - 1)
            return bad(why, "a part of the address is too long");
        dst[at++] = (char)c;
    }
    dst[at] = '\0';
    return 0;
}

static int parse_query(struct ph_redis_conf *c, const char *p, char *why)
{
    unsigned at = 0;

    for (const char *end; *p; p = *end ? end + 1 : end) {
        char name[PART], value[PART];
        const char *eq;

        end = p + strcspn(p, "&");
        eq = memchr(p, '=', (size_t)(end - p));
        at++;
        if (!eq)
            return bad(why, "parameter %u after the '?' is not name=value", at);
        int err = decode(name, p, (size_t)(eq - p), why);
        if (!err)
            err = decode(value, eq + 1, (size_t)(end - eq - 1), why);
        if (!err)
            err = set_named(c, at, name, value, why);
        if (err)
            return err;
    }
    return 0;
}

/* [user][:password], before the '@'. */
static int parse_userinfo(struct ph_redis_conf *c, const char *p, size_t n, char *why)
{
    char part[PART];
    const char *colon = memchr(p, ':', n);
    const size_t user = colon ? (size_t)(colon - p) : n;
    int err = decode(part, p, user, why);

    if (!err)
        err = set(c, USER, part, why);
    if (err || !colon)
        return err;
    err = decode(part, colon + 1, n - user - 1, why);
    return err ? err : set(c, PASSWORD, part, why);
}

static int parse_hostport(struct ph_redis_conf *c, const char *p, size_t n, char *why)
{
    char part[PART], *host = part, *port = NULL;
    int err = decode(part, p, n, why);

    if (err)
        return err;
    if (*part == '[') {
        char *end = strchr(part, ']');
        if (!end || (end[1] && end[1] != ':'))
            return bad(why, "an IPv6 address is written [::1] or [::1]:6379");
        host = part + 1;
        port = end[1] ? end + 2 : NULL;
        *end = '\0';
    } else if ((port = strchr(part, ':')) != NULL) {
        *port++ = '\0';
        if (strchr(port, ':'))
            return bad(why, "an IPv6 address is written in brackets: redis://[::1]:6379");
    }
    if (*host == '/')
        return bad(why, "a UNIX socket is written unix:/path");
    err = *host ? set(c, HOST, host, why) : 0;
    return err || !port ? err : set(c, PORT, port, why);
}

static int parse_url(struct ph_redis_conf *c, const char *p, char *why)
{
    const size_t authority = strcspn(p, "/?#");
    const char *at = NULL, *rest = p + authority;
    char db[PART];
    int err = 0;

    if (strchr(rest, '#'))
        return bad(why, "'#' is written %%23");
    for (const char *q = p; q < rest; q++)
        at = *q == '@' ? q : at; /* the last: people forget to write %40 */
    if (at)
        err = parse_userinfo(c, p, (size_t)(at - p), why);
    if (!err)
        err = parse_hostport(c, at ? at + 1 : p, (size_t)(rest - (at ? at + 1 : p)), why);
    if (err)
        return err;
    if (*rest == '/') {
        const size_t n = strcspn(++rest, "?");
        err = decode(db, rest, n, why);
        if (!err && *db)
            err = set(c, DB, db, why);
        rest += n;
    }
    return err || *rest != '?' ? err : parse_query(c, rest + 1, why);
}

static int parse_unix(struct ph_redis_conf *c, const char *p, char *why)
{
    char path[PART];

    if (strncmp(p, "//", 2) == 0)
        p += 2;
    const size_t n = strcspn(p, "?");
    int err = decode(path, p, n, why);
    if (!err)
        err = set(c, PATH, path, why);
    return err || !p[n] ? err : parse_query(c, p + n + 1, why);
}

/* The text after "scheme:", or NULL. */
static const char *after(const char *text, const char *scheme)
{
    const size_t n = strlen(scheme);

    return strncasecmp(text, scheme, n) == 0 ? text + n : NULL;
}

static int parse(struct ph_redis_conf *c, const char *text, char *why)
{
    const char *rest;

    if ((rest = after(text, "redis://")) != NULL)
        return parse_url(c, rest, why);
    if ((rest = after(text, "unix:")) != NULL)
        return parse_unix(c, rest, why);
    if (after(text, "rediss:") || after(text, "valkeys:"))
        return bad(why, NO_TLS);
    if (!strchr(text, '=') && text[strspn(text, " \t")])
        return bad(why, "an address of a Redis server is redis://host:port/db, unix:/path, or "
                        "\"ip=... port=... dbname=... password=...\"");
    return parse_pairs(c, text, why);
}

int ph_redis_parse(struct ph_redis_conf *c, const char *text, char why[static PH_REDIS_WHY])
{
    struct ph_redis_conf got = {
        .host = "127.0.0.1", .port = 6379, .connect_timeout_ms = 3000, .command_timeout_ms = 3000};

    why[0] = '\0';
    for (const char *p = text; *p; p++)
        if ((unsigned char)*p < 0x20 && *p != '\t')
            return bad(why, "the address has a control character in it");
    int err = parse(&got, text, why);
    if (!err && got.user[0] && !got.password[0])
        got.user[0] =
            '\0'; /* coturn took a user and did nothing with it: without a password nor do we */
    if (!err)
        *c = got;
    explicit_bzero(&got, sizeof got);
    return err;
}
