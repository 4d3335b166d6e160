/*
 * The rules between keys: what does not go together, and what nobody may have meant.
 */
#include "cmd/turnd/conf_priv.h"

#include "cmd/common/log.h"

#include <string.h>
#include <unistd.h>

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

static void check_pool(struct ph_tconf *c)
{
    const struct ph_opt_set *s = ph_opts_last(c->opts, "relay-port-pool");
    if (!c->port_pool)
        return;
    if (c->stun_only || c->no_udp_relay)
        ph_opts_say(c->opts, PH_LOG_WARN, s, "without effect: there are no UDP relays");
    else if (c->threads != PH_TCONF_UNSET && c->threads > 1)
        ph_opts_say(c->opts, PH_LOG_ERROR, ph_opts_last(c->opts, "relay-threads"),
                    "%u does not go with relay-port-pool, which needs a single worker: give 1, or "
                    "remove the key",
                    c->threads);
    if (c->min_port <= c->max_port && c->port_pool > c->max_port - c->min_port + 1)
        ph_opts_say(c->opts, PH_LOG_ERROR, s,
                    "%u ports do not fit between min-port %u and max-port %u: give fewer, or more "
                    "room",
                    c->port_pool, c->min_port, c->max_port);
}

/* Whether anybody can have credentials at all. */
static bool has_credentials(const struct ph_tconf *c)
{
    static const char *const KEYS[] = {"user",       "users-file",   "static-auth-secret",
                                       "realm-user", "realm-secret", "redis-userdb"};
    for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++)
        if (ph__tconf_is_set(c, KEYS[i]))
            return true;
    return c->oauth;
}

static void check_credentials(struct ph_tconf *c)
{
    const struct ph_opt_set *no_auth = ph_opts_last(c->opts, "no-auth");
    bool users = ph__tconf_is_set(c, "user"), secrets = ph__tconf_is_set(c, "static-auth-secret");
    if (c->no_auth && (c->lt_cred_mech || c->use_auth_secret || secrets))
        ph_opts_say(c->opts, PH_LOG_ERROR, no_auth, "does not go with %s: keep one of them",
                    c->lt_cred_mech ? "lt-cred-mech"
                    : secrets       ? "static-auth-secret"
                                    : "use-auth-secret");
    else if (c->no_auth && users)
        ph_opts_say(c->opts, PH_LOG_WARN, no_auth, "anybody may relay: user= is without effect");
    else if (c->no_auth && !c->stun_only)
        ph_opts_say(c->opts, PH_LOG_WARN, no_auth, "this is an open relay: anybody may use it");
    else if (c->use_auth_secret && !secrets && !c->redis_userdb)
        ph_opts_say(c->opts, PH_LOG_ERROR, ph_opts_last(c->opts, "use-auth-secret"),
                    "there is no secret: give static-auth-secret");
    else if (!c->no_auth && !has_credentials(c) && !c->stun_only)
        ph_opts_say(c->opts, PH_LOG_WARN, NULL,
                    "no credentials are configured: STUN is served, but nobody can relay; give "
                    "user= or static-auth-secret= (or no-auth, for an open relay)");
    if (strlen(c->separator) != 1)
        ph__tconf_bad(c, ph_opts_last(c->opts, "rest-api-separator"), "is not one character");
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
    if (has_credentials(c))
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
    if (c->no_udp_relay && c->no_tcp_relay && !c->stun_only)
        ph_opts_say(c->opts, PH_LOG_ERROR, ph_opts_last(c->opts, "no-udp-relay"),
                    "does not go with no-tcp-relay: nothing is left to relay; give stun-only, or "
                    "remove one of them");
    if (c->stun_only && c->no_stun)
        ph_opts_say(c->opts, PH_LOG_ERROR, ph_opts_last(c->opts, "no-stun"),
                    "does not go with stun-only: nothing is left to do");
    if (secret && *secret->value == '\0')
        ph_opts_say(c->opts, PH_LOG_ERROR, secret,
                    "has no value: give a secret, or remove the key");
    if (c->syslog_facility && *c->syslog_facility && !ph_logger_is_facility(c->syslog_facility))
        ph__tconf_bad(c, ph_opts_last(c->opts, "syslog-facility"),
                      "is no syslog facility: give daemon, user, local0 to local7 ...");
}

/* ---- transports ---- */

static void check_transports(struct ph_tconf *c)
{
    bool tls = ph_tconf_has_tls(c);
    if (c->no_udp && c->no_tcp && !tls)
        ph_opts_say(c->opts, PH_LOG_ERROR, ph_opts_last(c->opts, "no-udp"),
                    "does not go with no-tcp where there is no TLS or DTLS: nothing is left to "
                    "listen on; give cert and pkey, or remove one of them");
    if (c->no_udp && (!tls || c->no_dtls) && c->rfc5780)
        ph_opts_say(c->opts, PH_LOG_WARN, ph_opts_last(c->opts, "rfc5780"),
                    "off: it needs UDP, which no-udp turns off");
    if (ph__tconf_is_set(c, "pkey") && !ph__tconf_is_set(c, "cert"))
        ph_opts_say(c->opts, PH_LOG_WARN, ph_opts_last(c->opts, "pkey"),
                    "without effect: there is no cert");
    if ((ph__tconf_is_set(c, "dtls") && !c->no_dtls && !tls))
        ph_opts_say(c->opts, PH_LOG_WARN, ph_opts_last(c->opts, "dtls"),
                    "without effect: it needs a certificate; give cert and pkey");
    if (c->ca_file && !*c->ca_file)
        ph_opts_say(c->opts, PH_LOG_ERROR, ph_opts_last(c->opts, "CA-file"),
                    "has no value: give a file, or remove the key");
}

/* ---- all ---- */

void ph__tconf_check(struct ph_tconf *c)
{
    check_ports(c);
    check_pool(c);
    check_transports(c);
    check_credentials(c);
    choose_realm(c);
    check_others(c);
}
