/*
 * State that outlives the process: where it is kept, the secret of the fleet, and the name of this node.
 */
#include "cmd/turnd/conf_priv.h"

#include "stun/base/error.h"
#include "stun/codec/integrity.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { SECRET = 1024 /* bytes of a secret, terminator included */ };

/* ---- names of nodes ---- */

bool ph_tconf_is_node(const char *name)
{
    static const char CHARS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t n = strlen(name);
    return n > 0 && n < PH_STORE_NAME && strspn(name, CHARS) == n;
}

static void bad_node(struct ph_tconf *c, const struct ph_opt_set *s)
{
    ph__tconf_bad(c, s, "is no name of a node: give letters, digits, '.', '-' and '_', at most 63");
}

/* This one's: the host's, unless configured. */
static void take_node(struct ph_tconf *c)
{
    const struct ph_opt_set *s = ph_opts_last(c->opts, "node-id");
    char host[256] = "";
    if (s && !ph_tconf_is_node(s->value)) {
        bad_node(c, s);
        return;
    }
    if (!s && gethostname(host, sizeof host - 1) != 0)
        host[0] = '\0';
    if (s || ph_tconf_is_node(host))
        snprintf(c->node, sizeof c->node, "%.63s", s ? s->value : host);
    else if (c->statedb)
        ph_opts_say(c->opts, PH_LOG_ERROR, ph_opts_last(c->opts, "redis-statedb"),
                    "the name of this host is no name of a node: give node-id");
}

static void take_adoptable(struct ph_tconf *c)
{
    for (const struct ph_opt_set *s = NULL; (s = ph_opts_each(c->opts, "adopt-from", s));) {
        if (!ph_tconf_is_node(s->value))
            bad_node(c, s);
        else if (strcmp(s->value, c->node) == 0)
            ph__tconf_bad(c, s, "is this node itself: name others");
        else if (c->n_adopt == PH_TCONF_ADOPT)
            ph_opts_say(c->opts, PH_LOG_ERROR, s, "too many: %d are the most", PH_TCONF_ADOPT);
        else
            snprintf(c->adopt[c->n_adopt++], PH_STORE_NAME, "%s", s->value);
    }
    if (c->n_adopt && !c->statedb)
        ph_opts_say(c->opts, PH_LOG_WARN, ph_opts_last(c->opts, "adopt-from"),
                    "without effect: there is no redis-statedb");
}

/* ---- the secret of the fleet ---- */

/* The first line of a file.  The name may be the beginning of a secret that was meant as text, so it is not told. */
static bool read_secret(struct ph_tconf *c, const struct ph_opt_set *s, const char *path,
                        char text[static SECRET])
{
    FILE *f = ph__tconf_open(c, path);
    bool got = f && fgets(text, SECRET, f);
    if (!got)
        ph_opts_say(c->opts, PH_LOG_ERROR, s,
                    "names a file, since it begins with \"%c\", but that cannot be read: %s",
                    *s->value,
                    f                 ? "it is empty"
                    : errno == EINVAL ? "it is no ordinary file"
                                      : strerror(errno));
    if (f)
        fclose(f);
    text[got ? strcspn(text, "\r\n") : 0] = '\0';
    return got;
}

static void take_secret(struct ph_tconf *c, const struct ph_opt_set *s)
{
    char text[SECRET];
    const char *secret = s->value;
    const bool file = *secret == '/' || *secret == '@';
    if (file) {
        if (!read_secret(c, s, *secret == '@' ? secret + 1 : secret, text))
            return;
        secret = text;
    }
    if (c->fleet.n == PH_FLEET_SECRETS)
        ph_opts_say(c->opts, PH_LOG_ERROR, s, "too many: %d are the most", PH_FLEET_SECRETS);
    else if (ph_fleet_secret(c->fleet.secret[c->fleet.n], ph_str(secret)) == 0)
        c->fleet.n++;
    else
        ph_opts_say(c->opts, PH_LOG_ERROR, s,
                    "%s too short: give 64 hex digits, or a text of at least 16 bytes",
                    file ? "the first line of its file is" : "is");
    ph_wipe(text, sizeof text);
}

static void take_secrets(struct ph_tconf *c)
{
    for (const struct ph_opt_set *s = NULL; (s = ph_opts_each(c->opts, "fleet-key", s));)
        take_secret(c, s);
    if (c->fleet.n && c->nonce_secret && *c->nonce_secret)
        ph_opts_say(c->opts, PH_LOG_WARN, ph_opts_last(c->opts, "stateless-nonce-secret"),
                    "without effect: nonces are made with fleet-key");
}

/* ---- where clients of other nodes are sent ---- */

static void take_fleet_address(struct ph_tconf *c, const struct ph_opt_set *s)
{
    static const struct {
        const char *name;
        uint8_t proto;
    } PROTO[] = {{"udp:", PH_UDP}, {"tcp:", PH_TCP}, {"tls:", PH_TLS}, {"dtls:", PH_DTLS}};
    struct ph_addr at;
    for (unsigned i = 0; i < sizeof PROTO / sizeof *PROTO; i++) {
        const size_t n = strlen(PROTO[i].name);
        if (strncmp(s->value, PROTO[i].name, n) != 0 ||
            ph_addr_parse(&at, s->value + n, strlen(s->value + n), 0) != 0 || at.port == 0)
            continue;
        at.proto = PROTO[i].proto;
        if (c->n_fleet_address == PH_FLEET_AT)
            ph_opts_say(c->opts, PH_LOG_ERROR, s, "too many: %d are the most", PH_FLEET_AT);
        else
            c->fleet_address[c->n_fleet_address++] = at;
        return;
    }
    ph__tconf_bad(c, s, "is no address of a server: give udp:, tcp:, tls: or dtls: and IP:PORT");
}

/* ---- all ---- */

static void take_store(struct ph_tconf *c)
{
    const struct ph_opt_set *s = ph_opts_last(c->opts, "redis-statedb");
    if (!s)
        return;
#ifdef PH_HAVE_REDIS
    char why[PH_REDIS_WHY];
    if (ph_redis_parse(&c->state_redis, s->value, why) != 0)
        ph_opts_say(c->opts, PH_LOG_ERROR, s, "%s", why);
#else
    ph_opts_say(c->opts, PH_LOG_ERROR, s,
                "this turnd was built without Redis (hiredis): remove the key, or build it anew");
#endif
    if (!ph_opts_last(c->opts, "fleet-key"))
        ph_opts_say(c->opts, PH_LOG_ERROR, s,
                    "needs fleet-key, with which what is kept there is sealed: it has the keys of "
                    "users");
}

void ph__tconf_take_state(struct ph_tconf *c)
{
    take_store(c);
    take_secrets(c);
    take_node(c);
    take_adoptable(c);
    for (const struct ph_opt_set *s = NULL; (s = ph_opts_each(c->opts, "fleet-address", s));)
        take_fleet_address(c, s);
    if (c->free_bind && !c->n_listen)
        ph_opts_say(c->opts, PH_LOG_WARN, ph_opts_last(c->opts, "free-bind"),
                    "without effect on addresses that are not named: give listening-ip for those "
                    "that this machine may get later");
}
