/*
 * stund's options, and which servers come of them.
 */
#include "cmd/stund/conf.h"

#include "cmd/common/log.h"

#include <string.h>

#define AT(member) .offset = (uint32_t)offsetof(struct ph_sconf, member)
#define GROUP(text)                                                                                \
    {                                                                                              \
        .help = (text)                                                                             \
    }
#define SWITCH(key, ch, member, ...)                                                               \
    {                                                                                              \
        .name = (key), .letter = (ch), .kind = PH_OPT_BOOL, AT(member), __VA_ARGS__                \
    }
#define NUMBER(key, ch, member, lo, hi, ...)                                                       \
    {                                                                                              \
        .name = (key), .letter = (ch), .kind = PH_OPT_UINT, AT(member), .min = (lo), .max = (hi),  \
        __VA_ARGS__                                                                                \
    }
#define WORD(key, member, ...)                                                                     \
    {                                                                                              \
        .name = (key), .kind = PH_OPT_CHOICE, AT(member), __VA_ARGS__                              \
    }
#define TEXT(key, ch, member, ...)                                                                 \
    {                                                                                              \
        .name = (key), .letter = (ch), .kind = PH_OPT_TEXT, AT(member), __VA_ARGS__                \
    }
#define LIST(key, ch, ...)                                                                         \
    {                                                                                              \
        .name = (key), .letter = (ch), .kind = PH_OPT_OTHER, .offset = PH_OPT_NOWHERE,             \
        .flags = PH_OPT_REPEAT, __VA_ARGS__                                                        \
    }

const struct ph_opt ph_sconf_table[] = {
    GROUP("Listening:"),
    LIST("listening-ip", 'L', .words = "IP",
         .help = "Address to listen on, repeatable; all of the machine if not given.  Two of a "
                 "family serve RFC 5780"),
    NUMBER("port", 'p', port, 0, 65535, .words = "PORT", .help = "Port, 3478"),
    NUMBER("alt-port", 0, alt_port, 1, 65535, .words = "PORT",
           .help = "Second port for RFC 5780, --port plus one"),
    LIST("external-ip", 'X', .words = "PUBLIC[/PRIVATE]",
         .help = "Public address that clients are told instead of PRIVATE, the listening-ip behind "
                 "a 1:1 NAT; repeatable"),
    TEXT("listening-device", 'd', device, .words = "NIC", .help = "Bind to this device"),
    NUMBER("workers", 'w', workers, 1, 128, .words = "N", .help = "Threads, 1"),

    GROUP("Answers:"),
    SWITCH("rfc5780", 0, rfc5780,
           .help = "NAT behaviour discovery: on by itself with two listening-ip of a family, and "
                   "with this option an error without"),
    SWITCH("no-rfc5780", 0, rfc5780, .flags = PH_OPT_INVERT, .help = "Plain Binding only"),
    SWITCH("stun-backward-compatibility", 0, always_mapped,
           .help = "Add MAPPED-ADDRESS for clients of RFC 3489"),
    SWITCH("fingerprint", 'f', fingerprint, .help = "Add FINGERPRINT to every answer"),
    TEXT("software", 0, software, .words = "TEXT",
         .help = "SOFTWARE in answers that it makes no longer than 1.6 times the request"),

    GROUP("Budget of bytes that sources may draw (each worker has its own):"),
    SWITCH("no-budget", 0, no_budget, .help = "Answer everything.  Floods will be reflected"),
    NUMBER("budget-addr-rate", 0, addr_rate, 1, 1000000000, .words = "BYTES",
           .help = "Of an address (IPv6: /64) a second, 2048"),
    NUMBER("budget-addr-burst", 0, addr_burst, 100, 0, .words = "BYTES",
           .help = "Of an address at once, 4096"),
    NUMBER("budget-prefix-rate", 0, prefix_rate, 1, 1000000000, .words = "BYTES",
           .help = "Of a prefix a second, 16384"),
    NUMBER("budget-prefix-burst", 0, prefix_burst, 100, 0, .words = "BYTES",
           .help = "Of a prefix at once, 32768"),
    NUMBER("budget-prefix4", 0, prefix4, 1, 32, .words = "BITS", .help = "IPv4 prefix, 24"),
    NUMBER("budget-prefix6", 0, prefix6, 1, 64, .words = "BITS", .help = "IPv6 prefix, 48"),

    GROUP("Log (SIGHUP opens the file anew, SIGUSR1 writes the counters):"),
    TEXT("log-file", 0, log_file, .words = "FILE",
         .help = "File, stdout, stderr or syslog; stderr, or with --daemon syslog, if not given"),
    WORD("log-format", log_format, .words = "text|json", .help = "text if not given"),
    WORD("log-level", log_level, .words = PH_LOGGER_LEVELS, .help = "info if not given"),
    TEXT("syslog-facility", 0, log_facility, .words = "NAME", .help = "daemon if not given"),

    GROUP("Process:"),
    SWITCH("daemon", 'o', daemon, .help = "Go into the background"),
    TEXT("pidfile", 0, pidfile, .words = "FILE", .help = "Write the process id here"),
    TEXT("proc-user", 0, user, .words = "USER", .help = "Become this user once the ports are open"),
    TEXT("proc-group", 0, group, .words = "GROUP", .help = "Become this group"),
    SWITCH("version", 0, version, .help = "Print the version and end"),
    SWITCH("help", 'h', help, .help = "Print this text and end"),
};
const size_t ph_sconf_table_n = sizeof ph_sconf_table / sizeof *ph_sconf_table;

#define SAY(c, set, ...) ph_opts_say((c)->opts, PH_LOG_ERROR, (set), __VA_ARGS__)

enum { SHOWN = 160 };

/* ---- reading ---- */

static bool read_ip(struct ph_addr *a, const char *text, size_t n)
{
    struct ph_addr v;
    /* The other port tells whether the text has one. */
    if (ph_addr_parse(a, text, n, 0) != 0 || ph_addr_parse(&v, text, n, 1) != 0)
        return false;
    return a->port != v.port && text[0] != '[';
}

static void bad(struct ph_sconf *c, const struct ph_opt_set *s, const char *what)
{
    char shown[SHOWN];
    SAY(c, s, "\"%s\" %s", ph_opts_shown(s, shown, sizeof shown), what);
}

static bool listens(const struct ph_sconf *c, const struct ph_addr *ip)
{
    for (unsigned i = 0; i < c->n_listen; i++)
        if (ph_addr_eq_ip(&c->listen[i], ip))
            return true;
    return false;
}

static void read_listen(struct ph_sconf *c)
{
    for (const struct ph_opt_set *s = NULL; (s = ph_opts_each(c->opts, "listening-ip", s));) {
        struct ph_addr a;
        if (!read_ip(&a, s->value, strlen(s->value)))
            bad(c, s, "is not an address: give a numeric one without port, as 192.0.2.1");
        else if (listens(c, &a))
            bad(c, s, "is given twice: give each address once");
        else if (c->n_listen == PH_SCONF_LISTEN)
            bad(c, s, "is one too many: 16 addresses are the most");
        else
            c->listen[c->n_listen++] = a;
    }
}

static unsigned count_family(const struct ph_sconf *c, uint8_t family)
{
    unsigned n = 0;
    for (unsigned i = 0; i < c->n_listen; i++)
        n += c->listen[i].family == family;
    return n;
}

static void read_external(struct ph_sconf *c)
{
    for (const struct ph_opt_set *s = NULL; (s = ph_opts_each(c->opts, "external-ip", s));) {
        struct ph_sconf_external e = {0};
        const char *slash = strchr(s->value, '/');
        size_t n = slash ? (size_t)(slash - s->value) : strlen(s->value);
        if (!read_ip(&e.pub, s->value, n) ||
            (slash &&
             (!read_ip(&e.priv, slash + 1, strlen(slash + 1)) || e.pub.family != e.priv.family)))
            bad(c, s, "is not PUBLIC or PUBLIC/PRIVATE: give addresses of one family without port");
        else if (slash && !listens(c, &e.priv))
            bad(c, s, "has a private address that is no listening-ip");
        else if (!slash && count_family(c, e.pub.family) > 1)
            bad(c, s, "does not say for which listening-ip: give it as PUBLIC/PRIVATE");
        else if (c->n_external == PH_SCONF_LISTEN)
            bad(c, s, "is one too many");
        else
            c->external[c->n_external++] = e;
    }
}

void ph_sconf_read(struct ph_sconf *c, int argc, char **argv)
{
    *c = (struct ph_sconf){.port = 3478, .workers = 1, .log_level = PH_LOG_INFO};
    c->opts = ph_opts_new(ph_sconf_table, ph_sconf_table_n);
    ph_opts_read_argv(c->opts, argc, argv);
    ph_opts_apply(c->opts, c);
    read_listen(c);
    read_external(c);
    if (c->software && strlen(c->software) > 127)
        SAY(c, ph_opts_last(c->opts, "software"), "is too long: 127 bytes are the most");
    if (c->log_facility && !ph_logger_is_facility(c->log_facility))
        bad(c, ph_opts_last(c->opts, "syslog-facility"),
            "is no facility: give user, daemon, local0 to local7 ...");
}

void ph_sconf_fini(struct ph_sconf *c)
{
    ph_opts_free(c->opts);
}

/* ---- planning ---- */

/* What clients are told for an address of ours. */
static struct ph_addr outside(const struct ph_sconf *c, const struct ph_addr *ip)
{
    for (unsigned i = 0; i < c->n_external; i++) {
        const struct ph_sconf_external *e = &c->external[i];
        bool fits = e->priv.family ? ph_addr_eq_ip(&e->priv, ip) : e->pub.family == ip->family;
        if (!fits)
            continue;
        struct ph_addr a = e->pub;
        a.port = ip->port;
        return a;
    }
    return *ip;
}

static void set_socket(const struct ph_sconf *c, struct ph_stun_uv_one *one, unsigned which,
                       struct ph_addr ip, uint32_t port)
{
    ip.port = (uint16_t)port;
    ip.proto = PH_UDP;
    struct ph_addr at = outside(c, &ip);
    at.proto = PH_UDP;
    one->stund.at[which] = at;
    if (!ph_addr_eq(&at, &ip))
        one->bind[which] = ip;
}

/* The next server, with what all have in common. */
static struct ph_stun_uv_one *add_server(const struct ph_sconf *c, struct ph_stun_uv_conf *out)
{
    struct ph_stun_uv_one *one = &out->server[out->n_servers++];
    one->stund.always_mapped = c->always_mapped;
    one->stund.always_fingerprint = c->fingerprint;
    one->stund.software = c->software && *c->software ? c->software : NULL;
    return one;
}

static void add_plain(const struct ph_sconf *c, struct ph_stun_uv_conf *out, struct ph_addr ip)
{
    set_socket(c, add_server(c, out), 0, ip, c->port);
}

static void add_discovery(struct ph_sconf *c, struct ph_stun_uv_conf *out, uint8_t family)
{
    struct ph_stun_uv_one *one = add_server(c, out);
    uint32_t alt = c->alt_port ? c->alt_port : c->port + 1;
    unsigned which = 0;
    one->stund.rfc5780 = true;
    for (unsigned i = 0; i < c->n_listen; i++) {
        if (c->listen[i].family != family)
            continue;
        if (ph_addr_is_any(&c->listen[i]))
            SAY(c, NULL, "listening-ip: RFC 5780 needs two addresses, not a wildcard: give both");
        set_socket(c, one, which, c->listen[i], c->port);
        set_socket(c, one, which | PH_STUND_ALT_PORT, c->listen[i], alt);
        which = PH_STUND_ALT_IP;
    }
    if (c->port == 0)
        SAY(c, NULL,
            "port: 0 leaves the choice to the system, but RFC 5780 needs the same two "
            "ports on both addresses: give one from 1 to 65535");
    else if (alt == c->port || alt > 65535)
        SAY(c, NULL,
            "alt-port: RFC 5780 needs a second port: give one from 1 to 65535 that is "
            "not %u",
            c->port);
    else if (ph_addr_eq_ip(&one->stund.at[0], &one->stund.at[PH_STUND_ALT_IP]))
        SAY(c, NULL,
            "external-ip: RFC 5780 needs two public addresses: give one for each "
            "listening-ip");
}

/* Returns whether the family serves RFC 5780. */
static bool plan_family(struct ph_sconf *c, struct ph_stun_uv_conf *out, uint8_t family,
                        bool wanted)
{
    unsigned n = count_family(c, family);
    if (wanted && n == 2) {
        add_discovery(c, out, family);
        return true;
    }
    if (wanted && n > 2)
        SAY(c, NULL,
            "listening-ip: RFC 5780 takes two addresses of a family: give two, or add "
            "--no-rfc5780 to serve plain Binding on all");
    for (unsigned i = 0; i < c->n_listen; i++)
        if (c->listen[i].family == family)
            add_plain(c, out, c->listen[i]);
    return false;
}

void ph_sconf_plan(struct ph_sconf *c, struct ph_stun_uv_conf *out)
{
    const struct ph_opt_set *asked = ph_opts_last(c->opts, "rfc5780");
    bool decided = asked || ph_opts_last(c->opts, "no-rfc5780");
    *out = (struct ph_stun_uv_conf){
        .workers = c->workers > 1 ? c->workers : 0,
        .device = c->device,
        .budget = {.addr_burst = c->addr_burst,
                   .addr_rate = c->addr_rate,
                   .prefix_burst = c->prefix_burst,
                   .prefix_rate = c->prefix_rate,
                   .prefix4 = (uint8_t)c->prefix4,
                   .prefix6 = (uint8_t)c->prefix6,
                   .unlimited = c->no_budget},
    };
    if (c->n_listen == 0) {
        add_plain(c, out, (struct ph_addr){.family = PH_AF_INET});
        add_plain(c, out, (struct ph_addr){.family = PH_AF_INET6});
    }
    bool wanted = c->rfc5780 || !decided;
    bool v4 = plan_family(c, out, PH_AF_INET, wanted);
    bool v6 = plan_family(c, out, PH_AF_INET6, wanted);
    if (c->rfc5780 && !v4 && !v6 && !ph_opts_failed(c->opts))
        SAY(c, asked, "needs two addresses: give --listening-ip twice, both of one family");
}
