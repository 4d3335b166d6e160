/*
 * From what was given to struct ph_tconf: the file, the lists, and the rules between keys.
 */
#include "cmd/turnd/conf.h"

#include "cmd/common/log.h"
#include "stun/base/error.h"

#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SHOWN = 160 };

void ph_tconf_init(struct ph_tconf *c)
{
    *c = (struct ph_tconf){
        .opts = ph_opts_new(ph_tconf_table, ph_tconf_table_n),
        .port = 3478,
        .min_port = 49152,
        .max_port = 65535,
        .threads = PH_TCONF_UNSET,
        .max_lifetime_s = 3600,
        .channel_lifetime_s = 600,
        .permission_lifetime_s = 300,
        .stale_nonce_s = 600,
        .channels_5766 = true, /* Debian's clients still pick from all of RFC 5766's range */
        .separator = ":",
        .log_level = PH_LOG_INFO,
    };
}

void ph_tconf_fini(struct ph_tconf *c)
{
    ph_opts_free(c->opts);
    c->opts = NULL;
}

/* ---- the file ---- */

static bool exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && !S_ISDIR(st.st_mode);
}

bool ph_tconf_find_file(const char *name, char *path, size_t n)
{
    static const char *const DIRS[] = {
        "./",
        "./turnserver/",
        "./coturn/",
        "./etc/",
        "./etc/turnserver/",
        "./etc/coturn/",
        "../etc/",
        "../etc/turnserver/",
        "../etc/coturn/",
        "/etc/",
        "/etc/turnserver/",
        "/etc/coturn/",
        "/usr/local/etc/",
        "/usr/local/etc/turnserver/",
        "/usr/local/etc/coturn/",
    };
    if (*name == '/' || *name == '~') {
        snprintf(path, n, "%s", name);
        return exists(path);
    }
    for (size_t i = 0; i < sizeof DIRS / sizeof DIRS[0]; i++) {
        snprintf(path, n, "%s%s", DIRS[i], name);
        if (exists(path))
            return true;
    }
    return false;
}

/* A file that was asked for must be there; the default one may be missing. */
static void read_file(struct ph_tconf *c)
{
    const struct ph_opt_set *wanted = ph_opts_last(c->opts, "config");
    const char *name = wanted ? wanted->value : "turnserver.conf";
    if (!ph_tconf_find_file(name, c->file, sizeof c->file)) {
        c->file[0] = '\0';
        if (wanted)
            ph_opts_say(c->opts, PH_LOG_ERROR, NULL, "%s: no such file", name);
        return;
    }
    int err = ph_opts_read_file(c->opts, c->file);
    if (err)
        ph_opts_say(c->opts, PH_LOG_ERROR, NULL, "%s: cannot be read: %s", c->file,
                    ph_strerror(err));
}

/* ---- lists ---- */

static bool read_ip(struct ph_addr *a, const char *text, size_t n)
{
    return n && *text != '[' && ph_addr_parse(a, text, n, 0) == 0 &&
           (a->family == PH_AF_INET6 || !memchr(text, ':', n));
}

static bool has_ip(const struct ph_addr *v, unsigned n, const struct ph_addr *a)
{
    for (unsigned i = 0; i < n; i++)
        if (ph_addr_eq_endpoint(&v[i], a))
            return true;
    return false;
}

static void bad(struct ph_tconf *c, const struct ph_opt_set *s, const char *what)
{
    char shown[SHOWN];
    ph_opts_say(c->opts, PH_LOG_ERROR, s, "\"%s\" %s", ph_opts_shown(s, shown, sizeof shown), what);
}

/* The addresses of a repeatable key; with_port: each has one. */
static void take_addrs(struct ph_tconf *c, const char *name, bool with_port, struct ph_addr *v,
                       unsigned max, unsigned *n)
{
    for (const struct ph_opt_set *s = NULL; (s = ph_opts_each(c->opts, name, s));) {
        struct ph_addr a;
        bool ok = with_port ? ph_addr_parse(&a, s->value, strlen(s->value), 0) == 0 && a.port
                            : read_ip(&a, s->value, strlen(s->value));
        if (!ok)
            bad(c, s,
                with_port ? "is not an address with port: give it as 192.0.2.1:3478 or "
                            "[2001:db8::1]:3478"
                          : "is not an address: give a numeric IP address without port, as "
                            "192.0.2.1 or 2001:db8::1");
        else if (has_ip(v, *n, &a))
            continue;
        else if (*n == max)
            ph_opts_say(c->opts, PH_LOG_ERROR, s, "too many: %u are the most", max);
        else
            v[(*n)++] = a;
    }
}

static bool read_external(struct ph_tconf_external *x, const char *text)
{
    size_t n = strcspn(text, "/");
    *x = (struct ph_tconf_external){0};
    if (!read_ip(&x->pub, text, n) || ph_addr_is_any(&x->pub))
        return false;
    return text[n] == '\0' || read_ip(&x->priv, text + n + 1, strlen(text + n + 1));
}

/* The mapping that an external-ip would contradict, or NULL. */
static const struct ph_tconf_external *same_target(const struct ph_tconf *c,
                                                   const struct ph_tconf_external *x)
{
    for (unsigned i = 0; i < c->n_external; i++) {
        const struct ph_tconf_external *e = &c->external[i];
        if (e->pub.family == x->pub.family && ph_addr_eq_ip(&e->priv, &x->priv))
            return e;
    }
    return NULL;
}

static void take_externals(struct ph_tconf *c)
{
    for (const struct ph_opt_set *s = NULL; (s = ph_opts_each(c->opts, "external-ip", s));) {
        struct ph_tconf_external x;
        const struct ph_tconf_external *same;
        if (!read_external(&x, s->value))
            bad(c, s, "is not a mapping: give PUBLIC or PUBLIC/PRIVATE with numeric IP addresses");
        else if (x.priv.family && x.priv.family != x.pub.family)
            bad(c, s, "mixes IPv4 and IPv6: give two addresses of one family");
        else if ((same = same_target(c, &x)) != NULL && ph_addr_eq_ip(&same->pub, &x.pub))
            continue;
        else if (same)
            bad(c, s,
                x.priv.family ? "maps this private address a second time: keep one"
                              : "is a second address for this family: write PUBLIC/PRIVATE "
                                "to map several");
        else if (c->n_external == PH_TCONF_EXTERNALS)
            ph_opts_say(c->opts, PH_LOG_ERROR, s, "too many: %d are the most", PH_TCONF_EXTERNALS);
        else
            c->external[c->n_external++] = x;
    }
}

/* ---- rules between keys ---- */

static bool is_set(const struct ph_tconf *c, const char *name)
{
    return ph_opts_last(c->opts, name) != NULL;
}

static void check_ports(struct ph_tconf *c)
{
    if (c->min_port > c->max_port) {
        const struct ph_opt_set *s = ph_opts_last(c->opts, "max-port");
        ph_opts_say(c->opts, PH_LOG_ERROR, s ? s : ph_opts_last(c->opts, "min-port"),
                    "min-port %u is above max-port %u: no port is left for relays", c->min_port,
                    c->max_port);
    }
    if (c->rfc5780 && !c->port)
        ph_opts_say(c->opts, PH_LOG_ERROR, ph_opts_last(c->opts, "listening-port"),
                    "0 does not go with rfc5780, which needs ports that are known: give one");
    if (c->rfc5780 && c->port == 65535 && !c->alt_port)
        ph_opts_say(c->opts, PH_LOG_ERROR, ph_opts_last(c->opts, "listening-port"),
                    "no port above 65535 for rfc5780: give alt-listening-port");
    if (c->rfc5780 && c->port == c->alt_port)
        ph_opts_say(c->opts, PH_LOG_ERROR, ph_opts_last(c->opts, "alt-listening-port"),
                    "the same as listening-port: rfc5780 needs two");
}

static void check_credentials(struct ph_tconf *c)
{
    const struct ph_opt_set *no_auth = ph_opts_last(c->opts, "no-auth");
    bool users = is_set(c, "user"), secrets = is_set(c, "static-auth-secret");
    if (c->no_auth && (c->lt_cred_mech || c->use_auth_secret || secrets))
        ph_opts_say(c->opts, PH_LOG_ERROR, no_auth, "does not go with %s: keep one of them",
                    c->lt_cred_mech ? "lt-cred-mech"
                    : secrets       ? "static-auth-secret"
                                    : "use-auth-secret");
    else if (c->no_auth && users)
        ph_opts_say(c->opts, PH_LOG_WARN, no_auth, "anybody may relay: user= is without effect");
    else if (c->no_auth && !c->stun_only)
        ph_opts_say(c->opts, PH_LOG_WARN, no_auth, "this is an open relay: anybody may use it");
    else if (c->use_auth_secret && !secrets)
        ph_opts_say(c->opts, PH_LOG_ERROR, ph_opts_last(c->opts, "use-auth-secret"),
                    "there is no secret: give static-auth-secret");
    else if (!c->no_auth && !users && !secrets && !c->stun_only)
        ph_opts_say(c->opts, PH_LOG_WARN, NULL,
                    "no credentials are configured: STUN is served, but nobody can relay; give "
                    "user= or static-auth-secret= (or no-auth, for an open relay)");
    if (strlen(c->separator) != 1)
        bad(c, ph_opts_last(c->opts, "rest-api-separator"), "is not one character");
}

/* coturn takes the domain name; a machine without one has a host name. */
static void choose_realm(struct ph_tconf *c)
{
    const struct ph_opt_set *s = ph_opts_last(c->opts, "realm");
    if (s && strlen(s->value) > 127) /* RFC 8489 14.9: fewer than 128 characters */
        ph_opts_say(c->opts, PH_LOG_ERROR, s, "too long: 127 bytes are the most");
    if (c->realm && *c->realm)
        return;
    if (getdomainname(c->realm_buf, sizeof c->realm_buf) != 0 || !*c->realm_buf ||
        strcmp(c->realm_buf, "(none)") == 0)
        gethostname(c->realm_buf, sizeof c->realm_buf);
    c->realm_buf[127] = '\0';
    c->realm = *c->realm_buf ? c->realm_buf : "pinhole";
    if (is_set(c, "user") || is_set(c, "static-auth-secret"))
        ph_opts_say(
            c->opts, PH_LOG_WARN, NULL,
            "no realm is configured: \"%s\" is used, after this machine; give realm=", c->realm);
}

static void check_others(struct ph_tconf *c)
{
    const struct ph_opt_set *secret = ph_opts_last(c->opts, "stateless-nonce-secret");
    for (unsigned i = 0; i < c->n_relay; i++)
        if (ph_addr_is_any(&c->relay[i]) && !c->n_external)
            ph_opts_say(c->opts, PH_LOG_ERROR, ph_opts_last(c->opts, "relay-ip"),
                        "clients cannot be told a wildcard: give an address, or external-ip too");
    if (c->stun_only && c->no_stun)
        ph_opts_say(c->opts, PH_LOG_ERROR, ph_opts_last(c->opts, "no-stun"),
                    "does not go with stun-only: nothing is left to do");
    if (secret && *secret->value == '\0')
        ph_opts_say(c->opts, PH_LOG_ERROR, secret,
                    "has no value: give a secret, or remove the key");
    if (c->syslog_facility && *c->syslog_facility && !ph_logger_is_facility(c->syslog_facility))
        bad(c, ph_opts_last(c->opts, "syslog-facility"),
            "is no syslog facility: give daemon, user, local0 to local7 ...");
    if (c->alternate.family && ph_addr_is_any(&c->alternate))
        bad(c, ph_opts_last(c->opts, "alternate-server"), "is a wildcard: give an address");
}

void ph_tconf_apply(struct ph_tconf *c)
{
    ph_opts_apply(c->opts, c);
    if (c->very_verbose)
        c->log_level = PH_LOG_DEBUG;
    if (c->keep_family && !is_set(c, "allocation-default-address-family"))
        c->family = PH_TCONF_KEEP;
    take_addrs(c, "listening-ip", false, c->listen, PH_TURND_LISTENERS, &c->n_listen);
    take_addrs(c, "aux-server", true, c->aux, PH_TURND_LISTENERS, &c->n_aux);
    take_addrs(c, "relay-ip", false, c->relay, PH_TURND_RELAYS, &c->n_relay);
    take_externals(c);
    check_ports(c);
    check_credentials(c);
    choose_realm(c);
    check_others(c);
}

void ph_tconf_read(struct ph_tconf *c, int argc, char **argv)
{
    ph_opts_read_argv(c->opts, argc, argv);
    const struct ph_opt_set *help = ph_opts_last(c->opts, "help");
    const struct ph_opt_set *version = ph_opts_last(c->opts, "version");
    c->help = help && !ph_opts_is_off(help);
    c->version = version && !ph_opts_is_off(version);
    if (c->help || c->version)
        return;
    if (!is_set(c, "no-config"))
        read_file(c);
    ph_tconf_apply(c);
}
