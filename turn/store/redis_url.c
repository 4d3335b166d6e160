/*
 * The spellings of a Redis address:
 *
 *     redis://[[user]:password@]host[:port][/db][?name=value&...]
 *     redis+sentinel://[[user]:password@]host[:port][,host[:port]...]/master[/db][?...]
 *     redis+cluster://[[user]:password@]host[:port][,host[:port]...][?...]
 *     rediss://, rediss+sentinel://, rediss+cluster://                        over TLS
 *     unix:/path[?name=value&...]
 *     name=value name=value ...                    coturn's connection string, with all its names
 *
 * The names are the same everywhere, '%' stands for a byte in all but the last.
 */
#include "stun/base/error.h"
#include "turn/store/redis_priv.h"
#include "turn/store/redis_spec.h"

#include <string.h>
#include <strings.h>

enum { PART = 512 };

/* --- coturn's string ------------------------------------------------------------------------------- */

static int parse_pairs(struct ph__spec *s, const char *text)
{
    unsigned at = 0;

    for (const char *p = text + strspn(text, " \t"); *p; p += strspn(p, " \t")) {
        char pair[PART];
        const size_t n = strcspn(p, " \t");

        at++;
        if (n >= sizeof pair)
            return ph__spec_bad(s, "pair %u is too long", at);
        memcpy(pair, p, n);
        pair[n] = '\0';
        p += n;

        char *value = strchr(pair, '=');
        if (!value)
            return ph__spec_bad(s,
                                "pair %u is not name=value; a value cannot have a blank in it "
                                "here, redis://:pass%%20word@host can",
                                at);
        *value++ = '\0';
        const int err = ph__spec_named(s, at, pair, value);
        if (err)
            return err;
    }
    return 0;
}

/* --- URLs ------------------------------------------------------------------------------------------ */

/* Takes n bytes with their %XX decoded. */
static int decode(struct ph__spec *s, char dst[static PART], const char *p, size_t n)
{
    size_t at = 0;

    for (size_t i = 0; i < n; i++) {
        int c = (unsigned char)p[i];
        if (c == '%') {
            const int high = i + 2 < n ? ph__hex(p[i + 1]) : -1,
                      low = i + 2 < n ? ph__hex(p[i + 2]) : -1;
            if (high < 0 || low < 0 || (c = high * 16 + low) == 0)
                return ph__spec_bad(s, "'%%' must be followed by two hexadecimal digits (%%25 is "
                                       "'%%' itself), and not by 00");
            i += 2;
        }
        if (at == PART - 1)
            return ph__spec_bad(s, "a part of the address is too long");
        dst[at++] = (char)c;
    }
    dst[at] = '\0';
    return 0;
}

static int parse_query(struct ph__spec *s, const char *p)
{
    unsigned at = 0;

    for (const char *end; *p; p = *end ? end + 1 : end) {
        char name[PART], value[PART];
        const char *eq;

        end = p + strcspn(p, "&");
        eq = memchr(p, '=', (size_t)(end - p));
        at++;
        if (!eq)
            return ph__spec_bad(s, "parameter %u after the '?' is not name=value", at);
        int err = decode(s, name, p, (size_t)(eq - p));
        if (!err)
            err = decode(s, value, eq + 1, (size_t)(end - eq - 1));
        if (!err)
            err = ph__spec_named(s, at, name, value);
        if (err)
            return err;
    }
    return 0;
}

/* [user][:password], before the '@'. */
static int parse_userinfo(struct ph__spec *s, const char *p, size_t n)
{
    char part[PART] = "";
    const char *colon = memchr(p, ':', n);
    const size_t user = colon ? (size_t)(colon - p) : n;
    int err = decode(s, part, p, user);

    if (!err)
        err = ph__spec_set(s, PH__USER, part);
    if (err || !colon)
        return err;
    err = decode(s, part, colon + 1, n - user - 1);
    return err ? err : ph__spec_set(s, PH__PASSWORD, part);
}

static int parse_hostport(struct ph__spec *s, unsigned i, const char *p, size_t n)
{
    char part[PART] = "", *host = part, *port = NULL;
    const int err = decode(s, part, p, n);

    if (err)
        return err;
    if (*part == '[') {
        char *end = strchr(part, ']');
        if (!end || (end[1] && end[1] != ':'))
            return ph__spec_bad(s, "an IPv6 address is written [::1] or [::1]:6379");
        host = part + 1;
        port = end[1] ? end + 2 : NULL;
        *end = '\0';
    } else if ((port = strchr(part, ':')) != NULL) {
        *port++ = '\0';
        if (strchr(port, ':'))
            return ph__spec_bad(s, "an IPv6 address is written in brackets: redis://[::1]:6379");
    }
    if (*host == '/')
        return ph__spec_bad(s, "a UNIX socket is written unix:/path");
    return ph__spec_host(s, i, host, port);
}

static int parse_hosts(struct ph__spec *s, const char *p, size_t n)
{
    unsigned i = 0;

    for (const char *const end = p + n;; i++) {
        const char *comma = memchr(p, ',', (size_t)(end - p));
        const int err = parse_hostport(s, i, p, (size_t)((comma ? comma : end) - p));
        if (err || !comma)
            return err;
        p = comma + 1;
    }
}

/* /db, or of sentinels /master[/db]. */
static int parse_path(struct ph__spec *s, const char *p, size_t n)
{
    const bool sentinel = s->c.mode == PH_REDIS_SENTINEL;
    const char *slash = sentinel ? memchr(p, '/', n) : NULL;
    char part[PART] = "";
    int err = 0;

    if (sentinel) {
        const size_t name = slash ? (size_t)(slash - p) : n;
        err = decode(s, part, p, name);
        if (!err)
            err = ph__spec_master(s, part);
        n -= slash ? name + 1 : name;
        p += slash ? name + 1 : name;
    }
    if (!err)
        err = decode(s, part, p, n);
    return err || !*part ? err : ph__spec_set(s, PH__DB, part);
}

static int parse_url(struct ph__spec *s, const char *p)
{
    const size_t authority = strcspn(p, "/?#");
    const char *at = NULL, *rest = p + authority;
    int err = 0;

    if (strchr(rest, '#'))
        return ph__spec_bad(s, "'#' is written %%23");
    for (const char *q = p; q < rest; q++)
        at = *q == '@' ? q : at; /* the last: people forget to write %40 */
    if (at)
        err = parse_userinfo(s, p, (size_t)(at - p));
    if (!err)
        err = parse_hosts(s, at ? at + 1 : p, (size_t)(rest - (at ? at + 1 : p)));
    rest += *rest == '/';
    const size_t n = strcspn(rest, "?");
    if (!err)
        err = parse_path(s, rest, n);
    return err || !rest[n] ? err : parse_query(s, rest + n + 1);
}

static int parse_unix(struct ph__spec *s, const char *p)
{
    char path[PART];

    if (strncmp(p, "//", 2) == 0)
        p += 2;
    const size_t n = strcspn(p, "?");
    int err = decode(s, path, p, n);
    if (!err)
        err = ph__spec_set(s, PH__PATH, path);
    return err || !p[n] ? err : parse_query(s, p + n + 1);
}

/* The text after "scheme:", or NULL. */
static const char *after(const char *text, const char *scheme)
{
    const size_t n = strlen(scheme);

    return strncasecmp(text, scheme, n) == 0 ? text + n : NULL;
}

int ph__spec_parse(struct ph__spec *s, const char *text)
{
    static const struct {
        const char *scheme;
        enum ph_redis_mode mode;
        bool tls;
    } schemes[] = {
        {"redis://", PH_REDIS_ONE, false},
        {"rediss://", PH_REDIS_ONE, true},
        {"valkey://", PH_REDIS_ONE, false},
        {"valkeys://", PH_REDIS_ONE, true},
        {"redis+sentinel://", PH_REDIS_SENTINEL, false},
        {"rediss+sentinel://", PH_REDIS_SENTINEL, true},
        {"redis+cluster://", PH_REDIS_CLUSTER, false},
        {"rediss+cluster://", PH_REDIS_CLUSTER, true},
    };
    const char *rest;

    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
        if ((rest = after(text, schemes[i].scheme)) != NULL) {
            s->c.mode = schemes[i].mode;
            s->c.tls = s->scheme_tls = schemes[i].tls;
            return parse_url(s, rest);
        }
    if ((rest = after(text, "unix:")) != NULL)
        return parse_unix(s, rest);
    if (!strchr(text, '=') && text[strspn(text, " \t")])
        return ph__spec_bad(s, "an address of a Redis server is redis://host:port/db, "
                               "redis+sentinel://host/master, redis+cluster://host, unix:/path, "
                               "or \"ip=... port=... dbname=... password=...\"");
    return parse_pairs(s, text);
}
