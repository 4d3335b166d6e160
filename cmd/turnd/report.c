/*
 * The account that --check-config gives.
 */
#include "cmd/turnd/run.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

/* ---- what differs from coturn ---- */

static bool is_on(const struct ph_tconf *c, const char *key)
{
    const struct ph_opt_set *s = ph_opts_last(c->opts, key);
    return s && !ph_opts_is_off(s);
}

static bool is_given(const struct ph_tconf *c, const char *key)
{
    return ph_opts_last(c->opts, key) != NULL;
}

static void item(FILE *f, bool applies, const char *text)
{
    if (applies)
        fprintf(f, "  - %s\n", text);
}

static void print_differences(const struct ph_tconf *c, FILE *f)
{
    bool secrets = is_given(c, "static-auth-secret"), users = is_given(c, "user");
    fprintf(f, "\nDiffers from coturn 4.17 with the same file:\n");
    item(f, !c->allow_private,
         "private, carrier NAT, benchmarking and reserved peers are denied (allowed-peer-ip= opens "
         "some of them, allow-private-peers all)");
    item(f, !c->no_multicast, "multicast peers are denied");
    item(f, true,
         "allowed-peer-ip and denied-peer-ip also take networks (192.0.2.0/24); an address is "
         "matched in whatever IPv6 form it comes");
    item(f, ph_tconf_has_tls(c) && !c->no_dtls && !is_on(c, "dtls"),
         "DTLS is on, since there is a certificate (no-dtls turns it off)");
    item(f, c->bps_capacity > 0,
         "bps-capacity is shared fairly when it gets scarce; coturn refuses allocations");
    item(f, c->new_peers_rate > 0 && !is_given(c, "new-peer-rate"),
         "an allocation may ask for 128 peers at once and 10 a second (new-peer-rate)");
    item(f, is_given(c, "redis-userdb"),
         "users from Redis are kept for a minute, and used on while it is silent");
    item(f, c->redis_statsdb,
         "status keys in Redis end with their allocations, and those of others are left alone; "
         "clients that never had an allocation are not told of; bytes of names that keys or "
         "patterns are made of are written %XX");
    item(f, c->prometheus, "metrics move while allocations last, not when they end");
    item(f, is_on(c, "allowed-peer-ip"),
         "allowed-peer-ip also opens link-local and unique local addresses, if it names them");
    item(f,
         !c->no_auth && !users && !secrets && !c->redis_userdb && !c->users_file && !c->stun_only,
         "without credentials nobody can relay; coturn is an open relay then");
    item(f, secrets && users, "user= goes on working beside static-auth-secret=");
    item(f, !c->no_budget && !is_on(c, "unauthorized-ratelimit"),
         "answers to unauthenticated clients are limited for each address and prefix");
    item(f, !is_given(c, "log-file") && !c->syslog,
         "the log goes to standard error, not to a file under /var/log");
    item(f, !c->daemon && !is_given(c, "pidfile"), "no pidfile is written");
    item(f, c->channels_5766,
         "channel numbers from 0x5000 to 0x7FFF are accepted: Debian's clients use them");
    fprintf(f, "\nDiffers from coturn 4.6.1 (Debian 12), as 4.17 does:\n");
    item(f, !c->rfc5780, "RFC 5780 is off without rfc5780");
    item(f, !c->always_mapped, "no MAPPED-ADDRESS without stun-backward-compatibility");
    item(f, !c->software, "SOFTWARE is not sent without software-attribute");
    item(f, !is_given(c, "no-cli"), "there is no telnet console on port 5766: use turnctl");
}

/* ---- what would run ---- */

static void print_listeners(const struct ph_trun *r, FILE *f)
{
    char text[PH_ADDR_TEXT], told[PH_ADDR_TEXT];
    for (unsigned i = 0; i < r->plan.n_listeners; i++) {
        const struct ph_addr *x = &r->plan.listener_external[i];
        fprintf(f, "  listen       %s %s%s%s\n", ph_tplan_speaks(&r->plan, i),
                ph_addr_text(&r->plan.listener[i], text), x->family ? ", known as " : "",
                x->family ? ph_addr_ip_text(x, told) : "");
    }
    for (unsigned q = 0; q < r->plan.n_quads; q++) {
        const uint8_t *k = r->plan.quad[q].listener;
        fprintf(f, "  rfc5780      %s", ph_addr_text(&r->plan.listener[k[0]], text));
        fprintf(f, " and %s\n",
                ph_addr_text(&r->plan.listener[k[PH_STUND_ALT_IP | PH_STUND_ALT_PORT]], text));
    }
    for (unsigned i = 0; i < r->plan.n_relays; i++) {
        const struct ph_addr *x = &r->plan.relay_external[i];
        fprintf(f, "  relay        %s%s%s, ports %" PRIu32 " to %" PRIu32 "\n",
                ph_addr_ip_text(&r->plan.relay[i], text), x->family ? ", known as " : "",
                x->family ? ph_addr_ip_text(x, told) : "", r->conf->min_port, r->conf->max_port);
    }
    if (r->plan.pool_ports)
        fprintf(f, "  pool         %u port%s from %" PRIu32 " on, which UDP relays share\n",
                r->plan.pool_ports, r->plan.pool_ports == 1 ? "" : "s", r->conf->min_port);
}

static void print_certificates(const struct ph_trun *r, FILE *f)
{
    struct ph_tls_info info;
    char until[32];
    struct tm tm;
    for (unsigned i = 0; r->tls && ph_tls_info(r->tls, i, &info); i++) {
        time_t end = (time_t)info.not_after_s;
        gmtime_r(&end, &tm);
        strftime(until, sizeof until, "%F", &tm);
        fprintf(f, "  certificate  %s, good until %s\n", *info.names ? info.names : "(no name)",
                until);
    }
    if (!r->tls)
        fprintf(f, "  certificate  none: no TLS and DTLS\n");
}

static void print_servers(const struct ph_addr *v, unsigned n, const char *what, FILE *f)
{
    char text[PH_ADDR_TEXT];
    for (unsigned i = 0; i < n; i++)
        fprintf(f, "  %-12s %s%s\n", what, ph_addr_text(&v[i], text),
                v[i].proto == PH_UDP    ? " for udp"
                : v[i].proto == PH_TCP  ? " for tcp"
                : v[i].proto == PH_TLS  ? " for tls"
                : v[i].proto == PH_DTLS ? " for dtls"
                                        : "");
}

static void print_endpoint(const char *what, const struct ph_addr *at, FILE *f)
{
    char text[PH_ADDR_TEXT];
    if (at->family)
        fprintf(f, "  %-12s http://%s\n", what, ph_addr_text(at, text));
}

static void print_operation(const struct ph_tconf *c, FILE *f)
{
    print_servers(c->alternate, c->n_alternates, "redirect", f);
    print_servers(c->drain_alternate, c->n_drain_alternates, "drain to", f);
    print_endpoint("metrics", &c->http, f);
    print_endpoint("API", &c->api, f);
    print_endpoint("web page", &c->web, f);
    if (!c->api_socket)
        fprintf(f, "  API          " PH_TCONF_API_SOCKET ", if its folder is there and ours\n");
    else if (*c->api_socket)
        fprintf(f, "  API          %s, mode %03" PRIo32 "\n", c->api_socket, c->api_mode);
}

static void print_credentials(const struct ph_trun *r, FILE *f)
{
    const struct ph_tconf *c = r->conf;
    const struct ph_auth *auth = r->live->auth;
    fprintf(f, "  realm        %s\n", c->realm);
    if (c->no_auth || !auth)
        fprintf(f, "  credentials  none: anybody may relay\n");
    else
        fprintf(f, "  credentials  %u users, %u secrets%s%s\n", ph_auth_users(auth),
                ph_auth_secrets(auth), c->redis_userdb ? ", Redis" : "",
                c->oauth ? ", OAuth tokens" : "");
    for (unsigned i = 0; i < c->n_more_realms && r->live->realm_auth[i]; i++)
        fprintf(f, "  realm        %s: %u users, %u secrets\n", c->more_realm[i].name,
                ph_auth_users(r->live->realm_auth[i]), ph_auth_secrets(r->live->realm_auth[i]));
    fprintf(f, "  nonce        %s%" PRIu32 " s, key %s\n",
            c->stale_nonce_s ? "" : "for ever: ", c->stale_nonce_s,
            c->fleet.n        ? "of the fleet, another one each day"
            : c->nonce_secret ? "of the fleet"
                              : "made at the start");
}

static void print_limits(const struct ph_trun *r, FILE *f)
{
    static const char *const FAMILY[] = {"IPv4", "IPv6", "the client's"};
    const struct ph_tconf *c = r->conf;
    struct ph_budget_conf b = ph_tconf_budget(c);
    fprintf(f, "  workers      %u%s\n", r->plan.workers, r->plan.workers ? "" : ": main thread");
    fprintf(f,
            "  lifetimes    allocation up to %" PRIu32 " s, channel %" PRIu32
            " s, permission %" PRIu32 " s\n",
            c->max_lifetime_s, c->channel_lifetime_s, c->permission_lifetime_s);
    fprintf(f, "  family       %s unless the client asks\n", FAMILY[c->family]);
    fprintf(f, "  quota        %" PRIu32 " for a user, %" PRIu32 " in all (0: no limit)\n",
            c->user_quota, c->total_quota);
    fprintf(f,
            "  bandwidth    %" PRIu64 " B/s for a session, %" PRIu64 " B/s for a user, %" PRIu64
            " B/s in all (0: no limit)\n",
            c->max_bps, c->user_max_bps, c->bps_capacity);
    fprintf(f,
            "  new peers    %" PRIu32 " a second for an allocation, %" PRIu32
            " at once (0: no limit)\n",
            c->new_peers_rate, c->new_peers_burst);
    if (b.unlimited)
        fprintf(f, "  budget       none\n");
    else
        fprintf(f,
                "  budget       address %" PRIu32 " B/s, burst %" PRIu32 " B; prefix %" PRIu32
                " B/s, burst %" PRIu32 " B\n",
                b.addr_rate ? b.addr_rate : 2048, b.addr_burst ? b.addr_burst : 4096,
                b.prefix_rate ? b.prefix_rate : 16384, b.prefix_burst ? b.prefix_burst : 32768);
    fprintf(f, "  files        up to %" PRIu64 " open\n", ph_trun_files(r));
}

static void print_state(const struct ph_tconf *c, FILE *f)
{
    if (c->fleet.n)
        fprintf(f, "  fleet        node %s, %u secret%s\n", c->node, c->fleet.n,
                c->fleet.n == 1 ? "" : "s, of which the first is in use");
    if (!c->statedb)
        fprintf(f, "  state        in memory: allocations end with the process, but for an upgrade "
                   "in place\n");
    else
        fprintf(f, "  state        in Redis, as node %s; a start waits %" PRIu32 " ms for it\n",
                c->node, c->state_wait_ms);
    for (unsigned i = 0; i < c->n_adopt; i++)
        fprintf(f, "  adopts from  %s\n", c->adopt[i]);
    if (c->free_bind)
        fprintf(f, "  addresses    may come to this machine later\n");
}

static void print_peers(const struct ph_tconf *c, FILE *f)
{
    static const char *const KEYS[] = {"allowed-peer-ip", "denied-peer-ip"};
    fprintf(f, "  peers        denied by default: unspecified, %slink-local, multicast%s\n",
            c->allow_loopback ? "" : "loopback, ",
            c->allow_private ? "" : ", private, carrier NAT, benchmarking, reserved");
    for (int k = 0; k < 2; k++) {
        char shown[256];
        for (const struct ph_opt_set *s = NULL; (s = ph_opts_each(c->opts, KEYS[k], s));)
            fprintf(f, "               %s %s\n", k ? "deny" : "allow",
                    ph_opts_shown(s, shown, sizeof shown));
    }
}

static void print_effective(const struct ph_trun *r, FILE *f)
{
    static const char *const LEVELS[] = {"error", "warning", "info", "debug"};
    const struct ph_tconf *c = r->conf;
    fprintf(f, "\nWould run with:\n");
    print_listeners(r, f);
    print_certificates(r, f);
    if (!c->stun_only)
        print_credentials(r, f);
    print_limits(r, f);
    print_peers(c, f);
    print_operation(c, f);
    print_state(c, f);
    fprintf(f, "  log          %s, level %s, %s\n",
            c->syslog                     ? "syslog"
            : c->log_file && *c->log_file ? c->log_file
            : c->daemon                   ? "syslog"
                                          : "standard error",
            LEVELS[c->log_level], c->log_format == PH_TCONF_LOG_JSON ? "json" : "text");
    fprintf(f, "  process      %s%s%s\n", c->daemon ? "background" : "foreground",
            c->user ? ", as " : "", c->user ? c->user : "");
}

/* ---- the account ---- */

static void print_messages(const struct ph_opts *o, FILE *f)
{
    const struct ph_opt_message *m;
    if (ph_opts_message(o, 0))
        fprintf(f, "\nTo look at:\n");
    for (size_t i = 0; (m = ph_opts_message(o, i)) != NULL; i++)
        fprintf(f, "  %s: %s\n", m->level == PH_LOG_ERROR ? "error" : "warning", m->text);
}

void ph_trun_report(const struct ph_trun *r, FILE *f)
{
    const struct ph_tconf *c = r->conf;
    fprintf(f, "Configuration file: %s\n\n", *c->file ? c->file : "none");
    ph_opts_report(c->opts, f);
    print_differences(c, f);
    if (!ph_opts_failed(c->opts) && r->live) {
        print_effective(r, f);
        fprintf(f, "\nValues in force:\n");
        ph_opts_effective(c->opts, c, f);
    }
    print_messages(c->opts, f);
    fprintf(f, "\n%s\n",
            ph_opts_failed(c->opts) ? "This cannot work: see the errors above."
                                    : "No errors: this can be run.");
}
