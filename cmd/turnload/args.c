/* The command line of turnload. */
#include "cmd/turnload/args.h"

#include "stun/codec/base64.h"
#include "stun/codec/integrity.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#ifndef PH_VERSION
#define PH_VERSION "unknown"
#endif

enum { REST_TTL_S = 86400 };

enum opt {
    OPT_CHANNELS = 256,
    OPT_INDICATIONS,
    OPT_PAIRS,
    OPT_PEER,
    OPT_SETUP_RATE,
    OPT_THREADS,
    OPT_DUAL,
    OPT_BIND,
    OPT_CHECK,
    OPT_MAX_LOSS,
    OPT_JSON,
    OPT_TRANSPORT,
    OPT_CA,
    OPT_BURST,
    OPT_SPIN,
    OPT_IDLE,
    OPT_HOLD,
    OPT_SOURCES,
    OPT_SERVER_PID
};

static const struct option options[] = {
    {"user", required_argument, NULL, 'u'},
    {"pass", required_argument, NULL, 'w'},
    {"secret", required_argument, NULL, 's'},
    {"allocations", required_argument, NULL, 'n'},
    {"rate", required_argument, NULL, 'r'},
    {"payload", required_argument, NULL, 'l'},
    {"duration", required_argument, NULL, 't'},
    {"channels", no_argument, NULL, OPT_CHANNELS},
    {"indications", no_argument, NULL, OPT_INDICATIONS},
    {"pairs", no_argument, NULL, OPT_PAIRS},
    {"peer", required_argument, NULL, OPT_PEER},
    {"setup-rate", required_argument, NULL, OPT_SETUP_RATE},
    {"threads", required_argument, NULL, OPT_THREADS},
    {"ipv4", no_argument, NULL, '4'},
    {"ipv6", no_argument, NULL, '6'},
    {"dual", no_argument, NULL, OPT_DUAL},
    {"bind", required_argument, NULL, OPT_BIND},
    {"check", no_argument, NULL, OPT_CHECK},
    {"max-loss", required_argument, NULL, OPT_MAX_LOSS},
    {"json", no_argument, NULL, OPT_JSON},
    {"transport", required_argument, NULL, OPT_TRANSPORT},
    {"ca", required_argument, NULL, OPT_CA},
    {"burst", required_argument, NULL, OPT_BURST},
    {"spin", no_argument, NULL, OPT_SPIN},
    {"idle", required_argument, NULL, OPT_IDLE},
    {"hold", required_argument, NULL, OPT_HOLD},
    {"sources", required_argument, NULL, OPT_SOURCES},
    {"server-pid", required_argument, NULL, OPT_SERVER_PID},
    {"quiet", no_argument, NULL, 'q'},
    {"verbose", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {NULL, 0, NULL, 0},
};

static bool wrong(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Says what is wrong; always false. */
static bool wrong(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("turnload: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    return false;
}

static bool take_uint(const char *name, const char *s, unsigned lo, unsigned hi, unsigned *out)
{
    char *end;
    errno = 0;
    unsigned long v = strtoul(s, &end, 10);
    if (errno || *end || *s < '0' || *s > '9' || v < lo || v > hi)
        return wrong("--%s: \"%s\" is not a whole number from %u to %u", name, s, lo, hi);
    *out = (unsigned)v;
    return true;
}

static bool take_real(const char *name, const char *s, double lo, double hi, double *out)
{
    char *end;
    errno = 0;
    double v = strtod(s, &end);
    if (errno || end == s || *end || !isfinite(v) || v < lo || v > hi)
        return wrong("--%s: \"%s\" is not a number from %g to %g", name, s, lo, hi);
    *out = v;
    return true;
}

static bool take_addr(const char *name, const char *s, bool port, struct ph_addr *out)
{
    if (ph_addr_parse(out, s, strlen(s), 0) < 0)
        return wrong("--%s: \"%s\" is not an IP address%s", name, s,
                     port ? " with a port, such as 192.0.2.1:7" : "");
    if (port && out->port == 0)
        return wrong("--%s: \"%s\" has no port: write %s:PORT", name, s, s);
    if (!port && out->port)
        return wrong("--%s: \"%s\" has a port, and only the address is wanted", name, s);
    out->proto = PH_UDP;
    return true;
}

static bool take_text(const char *name, const char *s, char dst[static PH_LOAD_SECRET_LEN])
{
    if (strlen(s) >= PH_LOAD_SECRET_LEN)
        return wrong("--%s: longer than %d bytes", name, PH_LOAD_SECRET_LEN - 1);
    strcpy(dst, s);
    return true;
}

/* Copies a value; "@FILE" gives the first line of the file. */
static bool take_secret(const char *name, const char *s, char dst[static PH_LOAD_SECRET_LEN])
{
    if (*s != '@')
        return take_text(name, s, dst);
    FILE *f = fopen(s + 1, "re");
    if (!f)
        return wrong("--%s: cannot read %s: %s", name, s + 1, strerror(errno));
    bool got = fgets(dst, PH_LOAD_SECRET_LEN, f) != NULL;
    fclose(f);
    if (got)
        dst[strcspn(dst, "\r\n")] = '\0';
    return got && *dst ? true : wrong("--%s: %s is empty", name, s + 1);
}

/* The same from the command line, where others can see it. */
static bool take_argv_secret(const char *name, char *s, char dst[static PH_LOAD_SECRET_LEN])
{
    bool ok = take_secret(name, s, dst);
    if (*s != '@')
        ph_wipe(s, strlen(s));
    return ok;
}

static bool take_transport(const char *s, uint8_t *out)
{
    static const struct {
        const char *name;
        uint8_t proto;
    } known[] = {{"udp", PH_UDP}, {"tcp", PH_TCP}, {"tls", PH_TLS}, {"dtls", PH_DTLS}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(s, known[i].name) == 0) {
            *out = known[i].proto;
            return true;
        }
    return wrong("--transport: \"%s\" is none of udp, tcp, tls, dtls", s);
}

/* The transport that a URI asks for (RFC 7065 3), unless --transport has said it. */
static bool take_query(struct ph_load_args *a, const char *s, const char *query, bool secure)
{
    bool tcp = strcmp(query, "?transport=tcp") == 0, udp = strcmp(query, "?transport=udp") == 0;
    if (*query && !tcp && !udp)
        return wrong("%s: not \"?transport=udp\" or \"?transport=tcp\"", s);
    uint8_t proto = secure ? (udp ? PH_DTLS : PH_TLS) : (tcp ? PH_TCP : PH_UDP);
    if (a->proto != PH_PROTO_NONE && a->proto != proto && (secure || *query))
        return wrong("%s: says another transport than --transport", s);
    if (a->proto == PH_PROTO_NONE)
        a->proto = proto;
    return true;
}

static bool take_target(struct ph_load_args *a, const char *s)
{
    const char *host = s;
    bool secure = strncmp(host, "turns:", 6) == 0;
    a->target = s;
    if (secure || strncmp(host, "turn:", 5) == 0)
        host += secure ? 6 : 5;
    size_t n = strcspn(host, "?");
    if (!take_query(a, s, host + n, secure))
        return false;
    const char *port = NULL;
    size_t host_n = n;
    if (*host == '[') {
        const char *close = memchr(host, ']', n);
        if (!close || (close + 1 < host + n && close[1] != ':'))
            return wrong("%s: not HOST[:PORT]", s);
        port = close + 1 < host + n ? close + 2 : NULL;
        host_n = (size_t)(close - ++host);
    } else if ((port = memchr(host, ':', n))) {
        host_n = (size_t)(port++ - host);
    }
    if (host_n == 0 || host_n >= sizeof a->host)
        return wrong("%s: not HOST[:PORT]", s);
    memcpy(a->host, host, host_n);
    a->host[host_n] = '\0';
    unsigned v = a->proto == PH_TLS || a->proto == PH_DTLS ? 5349 : 3478;
    char *end;
    if (port) {
        v = (unsigned)strtoul(port, &end, 10);
        if (*port < '0' || *port > '9' || (*end && *end != '?') || v < 1 || v > UINT16_MAX)
            return wrong("%s: the port is not a number from 1 to 65535", s);
    }
    a->port = (uint16_t)v;
    return true;
}

static bool take_idle(struct ph_load_args *a, const char *s)
{
    a->idle = true;
    return take_uint("idle", s, 1, 1000000, &a->allocations);
}

static bool take(struct ph_load_args *a, int opt, char *s)
{
    switch (opt) {
    case 'u':
        return take_text("user", s, a->user);
    case 'w':
        return take_argv_secret("pass", s, a->pass);
    case 's':
        return take_argv_secret("secret", s, a->secret);
    case 'n':
        return take_uint("allocations", s, 1, 1000000, &a->allocations);
    case 'r':
        return take_real("rate", s, 0.001, 1e6, &a->rate);
    case 'l':
        return take_uint("payload", s, PH_LOAD_PAYLOAD_MIN, PH_LOAD_PAYLOAD_MAX, &a->payload);
    case 't':
        return take_real("duration", s, 0.1, 1e7, &a->duration_s);
    case OPT_PEER:
        return take_addr("peer", s, true, &a->peer);
    case OPT_SETUP_RATE:
        return take_uint("setup-rate", s, 1, 1000000, &a->setup_rate);
    case OPT_THREADS:
        return take_uint("threads", s, 1, 256, &a->threads);
    case OPT_BIND:
        return take_addr("bind", s, false, &a->bind);
    case OPT_TRANSPORT:
        return take_transport(s, &a->proto);
    case OPT_CA:
        a->ca = s;
        return true;
    case OPT_BURST:
        return take_uint("burst", s, 1, 64, &a->burst);
    case OPT_IDLE:
        return take_idle(a, s);
    case OPT_HOLD:
        return take_real("hold", s, 0.1, 1e7, &a->duration_s);
    case OPT_SOURCES:
        return take_uint("sources", s, 1, 65536, &a->sources);
    case OPT_SERVER_PID:
        return take_uint("server-pid", s, 1, INT_MAX, &a->server_pid);
    case OPT_MAX_LOSS:
        return take_real("max-loss", s, 0, 100, &a->max_loss);
    default:
        return false;
    }
}

static bool take_switch(struct ph_load_args *a, int opt)
{
    switch (opt) {
    case OPT_CHANNELS:
        a->channels = true;
        return true;
    case OPT_INDICATIONS:
        a->channels = false;
        return true;
    case OPT_PAIRS:
        return a->pairs = true;
    case '4':
        a->family = PH_TURNC_IPV4;
        return true;
    case '6':
        a->family = PH_TURNC_IPV6;
        return true;
    case OPT_DUAL:
        a->family = PH_TURNC_BOTH;
        return true;
    case OPT_SPIN:
        return a->spin = true;
    case OPT_CHECK:
        return a->check = true;
    case OPT_JSON:
        return a->json = true;
    case 'q':
        return a->quiet = true;
    case 'v':
        a->verbose++;
        return true;
    default:
        return false;
    }
}

static bool unknown(int argc, char **argv, bool missing_value)
{
    const char *arg = optind > 0 && optind <= argc ? argv[optind - 1] : "";
    if (optopt > 0 && optopt < 256 && strncmp(arg, "--", 2) != 0)
        return wrong("-%c: %s", optopt,
                     missing_value ? "needs a value" : "unknown option (--help lists them)");
    return wrong("%.*s: %s", (int)strcspn(arg, "="), arg,
                 missing_value                ? "needs a value"
                 : strchr(arg, '=') && optopt ? "takes no value"
                                              : "unknown option (--help lists them)");
}

/* What only the whole can show. */
static bool consistent(struct ph_load_args *a)
{
    if (a->pairs && a->allocations % 2)
        return wrong("--pairs: needs an even number of allocations, not %u: try -n %u",
                     a->allocations, a->allocations + 1);
    if (a->pairs && a->peer.family)
        return wrong("--pairs: the allocations are each other's peers: leave --peer away");
    if (a->idle && (a->pairs || a->peer.family || a->check))
        return wrong("--idle: nothing is sent: leave --pairs, --peer and --check away");
    if (a->sources > 1 && a->bind.family == PH_AF_NONE)
        return wrong("--sources: needs --bind, the first of the addresses");
    if (a->ca && a->proto != PH_TLS && a->proto != PH_DTLS)
        return wrong("--ca: there are no certificates without TLS or DTLS");
    if (a->check && a->peer.family)
        return wrong("--peer: the checks need a peer of their own: leave it away with --check");
    if (a->peer.family == PH_AF_INET && a->family == PH_TURNC_IPV6)
        return wrong("--peer: an IPv4 peer cannot be reached from an IPv6 relay address");
    if (a->peer.family == PH_AF_INET6 && a->family != PH_TURNC_IPV6)
        return wrong("--peer: an IPv6 peer needs an IPv6 relay address: add -6");
    if (a->threads > a->allocations / (a->pairs ? 2 : 1))
        a->threads = a->allocations / (a->pairs ? 2 : 1);
    if (a->user[0] && !a->pass[0] && !a->secret[0])
        return wrong("--user: needs --pass or --secret (or TURNLOAD_PASS, TURNLOAD_SECRET)");
    if (a->pass[0] && !a->user[0])
        return wrong("--pass: needs --user");
    return true;
}

static bool read_environment(struct ph_load_args *a)
{
    const char *pass = getenv("TURNLOAD_PASS"), *secret = getenv("TURNLOAD_SECRET");
    if (pass && *pass && a->user[0] && !a->pass[0] && !a->secret[0] &&
        !take_secret("pass", pass, a->pass))
        return false;
    return !secret || !*secret || a->pass[0] || a->secret[0] ||
           take_secret("secret", secret, a->secret);
}

enum ph_load_args_result ph_load_args_read(struct ph_load_args *a, int argc, char **argv)
{
    int opt;
    *a = (struct ph_load_args){.allocations = 1,
                               .threads = 1,
                               .payload = 160,
                               .setup_rate = 500,
                               .burst = 1,
                               .sources = 1,
                               .rate = 50,
                               .duration_s = 10,
                               .max_loss = 1,
                               .channels = true};
    opterr = 0;
    while ((opt = getopt_long(argc, argv, ":u:w:s:n:r:l:t:46qvhV", options, NULL)) != -1) {
        if (opt == 'h') {
            ph_load_args_help(stdout);
            return PH_LOAD_ARGS_DONE;
        }
        if (opt == 'V') {
            puts("turnload " PH_VERSION);
            return PH_LOAD_ARGS_DONE;
        }
        if (opt == '?' || opt == ':')
            return unknown(argc, argv, opt == ':') ? PH_LOAD_ARGS_RUN : PH_LOAD_ARGS_WRONG;
        if (!(optarg ? take(a, opt, optarg) : take_switch(a, opt)))
            return PH_LOAD_ARGS_WRONG;
    }
    if (optind == argc)
        wrong("no TARGET: write turnload [options] turn:HOST[:PORT] (--help tells more)");
    else if (optind + 1 < argc)
        wrong("\"%s\": only one TARGET can be tested at a time", argv[optind + 1]);
    else if (take_target(a, argv[optind]) && read_environment(a) && consistent(a))
        return PH_LOAD_ARGS_RUN;
    return PH_LOAD_ARGS_WRONG;
}

void ph_load_args_make_credentials(struct ph_load_args *a, int64_t unix_s)
{
    uint8_t mac[PH_SHA1_LEN];
    char name[PH_LOAD_SECRET_LEN];
    if (!a->secret[0])
        return;
    const char *id = a->user[0] ? a->user : "turnload";
    int n = snprintf(name, sizeof name, "%" PRId64 ":%.*s", unix_s + REST_TTL_S,
                     PH_LOAD_SECRET_LEN - 32, id);
    memcpy(a->user, name, (size_t)n + 1);
    struct ph_slice part = ph_str(a->user);
    ph_hmac_sha1(mac, ph_str(a->secret), &part, 1);
    ph_base64(a->pass, sizeof a->pass, mac, sizeof mac);
    ph_wipe(a->secret, sizeof a->secret);
}
