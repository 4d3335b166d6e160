/* The command line of turnctl. */
#include "cmd/turnctl/args.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { LIMIT = 100, YEAR_S = 31536000 };

enum opt {
    OPT_URL = 256,
    OPT_TOKEN_FILE,
    OPT_USER,
    OPT_REALM,
    OPT_CLIENT,
    OPT_PEER,
    OPT_TRANSPORT,
    OPT_LIMIT,
    OPT_ALL,
    OPT_DEADLINE,
    OPT_GRACE,
    OPT_WAIT,
    OPT_JSON
};

static const struct option options[] = {
    {"socket", required_argument, NULL, 's'},
    {"url", required_argument, NULL, OPT_URL},
    {"token-file", required_argument, NULL, OPT_TOKEN_FILE},
    {"user", required_argument, NULL, OPT_USER},
    {"realm", required_argument, NULL, OPT_REALM},
    {"client", required_argument, NULL, OPT_CLIENT},
    {"peer", required_argument, NULL, OPT_PEER},
    {"transport", required_argument, NULL, OPT_TRANSPORT},
    {"limit", required_argument, NULL, OPT_LIMIT},
    {"all", no_argument, NULL, OPT_ALL},
    {"deadline", required_argument, NULL, OPT_DEADLINE},
    {"grace", required_argument, NULL, OPT_GRACE},
    {"wait", no_argument, NULL, OPT_WAIT},
    {"json", no_argument, NULL, OPT_JSON},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {NULL, 0, NULL, 0},
};

/* Which options a command takes beside those of all. */
enum { F_FILTER = 1, F_REALM = 2, F_ALL = 4, F_DEADLINE = 8, F_GRACE = 16, F_WAIT = 32 };

static const struct verb {
    const char *name;
    enum ph_ctl_verb verb;
    const char *operand; /* what it is called, NULL: none */
    bool optional;
    unsigned takes;
} verbs[] = {
    {"status", PH_CTL_STATUS, NULL, false, 0},
    {"sessions", PH_CTL_SESSIONS, NULL, false, F_FILTER | F_REALM | F_ALL},
    {"session", PH_CTL_SESSION, "the number of a session", false, 0},
    {"end", PH_CTL_END, "the number of a session, or NODE/NUMBER", false, 0},
    {"nodes", PH_CTL_NODES, NULL, false, 0},
    {"revoke", PH_CTL_REVOKE, "a user name", false, F_REALM | F_ALL},
    {"counters", PH_CTL_COUNTERS, NULL, false, F_ALL},
    {"metrics", PH_CTL_METRICS, NULL, false, 0},
    {"drain", PH_CTL_DRAIN, NULL, false, F_DEADLINE | F_WAIT},
    {"undrain", PH_CTL_UNDRAIN, NULL, false, 0},
    {"reload", PH_CTL_RELOAD, NULL, false, 0},
    {"stop", PH_CTL_STOP, NULL, false, F_GRACE | F_WAIT},
    {"log-level", PH_CTL_LOG_LEVEL, "a level", true, 0},
    {"upgrade", PH_CTL_UPGRADE, "a program", true, 0},
    {"adopt", PH_CTL_ADOPT, "the name of a node", false, 0},
};

static bool wrong(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Says what is wrong; always false. */
static bool wrong(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("turnctl: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    return false;
}

static bool take_uint(const char *name, const char *s, uint32_t hi, uint32_t *out)
{
    char *end;
    errno = 0;
    unsigned long v = strtoul(s, &end, 10);
    if (errno || *end || *s < '0' || *s > '9' || v > hi)
        return wrong("--%s: \"%s\" is not a whole number from 0 to %u", name, s, hi);
    *out = (uint32_t)v;
    return true;
}

static bool take_url(struct ph_ctl_args *a, const char *s)
{
    static const char SCHEME[] = "http://";
    char text[PH_ADDR_TEXT + 1];
    size_t n = strlen(s);
    if (strncmp(s, SCHEME, sizeof SCHEME - 1) != 0)
        return wrong("--url: \"%s\" is not http://IP:PORT", s);
    s += sizeof SCHEME - 1;
    n -= sizeof SCHEME - 1;
    n -= n && s[n - 1] == '/';
    if (n >= sizeof text)
        return wrong("--url: \"%s\" is not IP:PORT", s);
    if (strncmp(s, "localhost:", 10) == 0)
        snprintf(text, sizeof text, "127.0.0.1%.*s", (int)(n - 9), s + 9);
    else
        snprintf(text, sizeof text, "%.*s", (int)n, s);
    if (ph_addr_parse(&a->server.at, text, strlen(text), 0) != 0 || !a->server.at.port)
        return wrong("--url: \"%s\" is not IP:PORT, such as 127.0.0.1:8081", s);
    a->server.socket = NULL;
    return true;
}

static bool take_token(struct ph_ctl_args *a, const char *path)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return wrong("--token-file: cannot read %s: %s", path, strerror(errno));
    bool got = fgets(a->server.token, sizeof a->server.token, f) != NULL;
    fclose(f);
    a->server.token[got ? strcspn(a->server.token, "\r\n") : 0] = '\0';
    return *a->server.token ? true : wrong("--token-file: %s is empty", path);
}

/* One option; which[] remembers what was given that not every command takes. */
static bool take_option(struct ph_ctl_args *a, int opt, const char *value, unsigned *given)
{
    switch (opt) {
    case 's':
        a->server.socket = value;
        return true;
    case OPT_URL:
        return take_url(a, value);
    case OPT_TOKEN_FILE:
        return take_token(a, value);
    case OPT_USER:
        *given |= F_FILTER;
        a->user = value;
        return true;
    case OPT_REALM:
        *given |= F_REALM;
        a->realm = value;
        return true;
    case OPT_CLIENT:
        *given |= F_FILTER;
        a->client = value;
        return true;
    case OPT_PEER:
        *given |= F_FILTER;
        a->peer = value;
        return true;
    case OPT_TRANSPORT:
        *given |= F_FILTER;
        a->transport = value;
        return true;
    case OPT_LIMIT:
        *given |= F_FILTER;
        return take_uint("limit", value, UINT32_MAX, &a->limit);
    case OPT_ALL:
        *given |= F_ALL;
        a->all = true;
        return true;
    case OPT_DEADLINE:
        *given |= F_DEADLINE;
        a->has_deadline = true;
        return take_uint("deadline", value, YEAR_S, &a->deadline_s);
    case OPT_GRACE:
        *given |= F_GRACE;
        a->has_grace = true;
        return take_uint("grace", value, YEAR_S, &a->grace_s);
    case OPT_WAIT:
        *given |= F_WAIT;
        a->wait = true;
        return true;
    case OPT_JSON:
        a->json = true;
        return true;
    default:
        return wrong("see turnctl --help");
    }
}

static bool take_command(struct ph_ctl_args *a, int n, char **word, unsigned given)
{
    static const char *const OPTION[] = {"filters",    "--realm", "--all",
                                         "--deadline", "--grace", "--wait"};
    const struct verb *v = verbs;
    if (n == 0)
        return wrong("which command? status, sessions, drain ...: see turnctl --help");
    while (v < verbs + sizeof verbs / sizeof *verbs && strcmp(v->name, word[0]) != 0)
        v++;
    if (v == verbs + sizeof verbs / sizeof *verbs)
        return wrong("\"%s\" is no command: status, sessions, drain ...: see turnctl --help",
                     word[0]);
    if (n > (v->operand ? 2 : 1))
        return wrong("%s: \"%s\" is one word too many", v->name, word[v->operand ? 2 : 1]);
    if (n == 1 && v->operand && !v->optional)
        return wrong("%s: give %s", v->name, v->operand);
    for (unsigned i = 0; i < sizeof OPTION / sizeof *OPTION; i++)
        if (given & ~v->takes & 1u << i)
            return wrong("%s: %s do%s not go with it", v->name, OPTION[i], i ? "es" : "");
    a->verb = v->verb;
    a->operand = n == 2 ? word[1] : NULL;
    return true;
}

enum ph_ctl_args_result ph_ctl_args_read(struct ph_ctl_args *a, int argc, char **argv)
{
    const char *socket = getenv("TURNCTL_SOCKET"), *token = getenv("TURNCTL_TOKEN");
    unsigned given = 0;
    *a = (struct ph_ctl_args){.limit = LIMIT};
    a->server.socket = socket && *socket ? socket : PH_CTL_SOCKET;
    snprintf(a->server.token, sizeof a->server.token, "%s", token ? token : "");
    for (int opt; (opt = getopt_long(argc, argv, "s:hV", options, NULL)) != -1;) {
        if (opt == 'h') {
            ph_ctl_help(stdout);
            return PH_CTL_ARGS_DONE;
        }
        if (opt == 'V') {
            puts("turnctl (Pinhole) " PH_VERSION);
            return PH_CTL_ARGS_DONE;
        }
        if (!take_option(a, opt, optarg, &given))
            return PH_CTL_ARGS_WRONG;
    }
    return take_command(a, argc - optind, argv + optind, given) ? PH_CTL_ARGS_RUN
                                                                : PH_CTL_ARGS_WRONG;
}
