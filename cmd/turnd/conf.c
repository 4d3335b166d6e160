/*
 * From what was given to struct ph_tconf: the defaults, the file, and the order of the steps.
 */
#include "cmd/turnd/conf_priv.h"

#include "cmd/common/log.h"
#include "stun/base/error.h"
#include "stun/codec/integrity.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SHOWN = 160 };

void ph_tconf_init(struct ph_tconf *c)
{
    *c = (struct ph_tconf){
        .opts = ph_opts_new(ph_tconf_table, ph_tconf_table_n),
        .port = 3478,
        .tls_port = 5349,
        .min_port = 49152,
        .max_port = 65535,
        .threads = PH_TCONF_UNSET,
        .max_lifetime_s = 3600,
        .channel_lifetime_s = 600,
        .permission_lifetime_s = 300,
        .stale_nonce_s = 600,
        .channels_5766 = true, /* Debian's clients still pick from all of RFC 5766's range */
        .separator = ":",
        /* A call has tens of candidates at once and few later; a scan has thousands. */
        .peer_rate = "10/128",
        .prom_port = 9641,
        .prom_path = "/metrics",
        .api_socket_mode = "660",
        .web_port = 8080,
        .state_wait_ms = 1000,
        .fleet_redirect = PH_TCONF_REDIRECT_DRAIN,
        .log_level = PH_LOG_INFO,
    };
    if (!getcwd(c->dir, sizeof c->dir))
        c->dir[0] = '\0';
}

void ph_tconf_fini(struct ph_tconf *c)
{
    ph_opts_free(c->opts);
    c->opts = NULL;
    ph_wipe(&c->redis, sizeof c->redis);
    ph_wipe(&c->stats_redis, sizeof c->stats_redis);
    ph_wipe(&c->state_redis, sizeof c->state_redis);
    ph_wipe(&c->fleet, sizeof c->fleet);
    ph_wipe(c->token, sizeof c->token);
    ph_wipe(c->test_secret, sizeof c->test_secret);
}

/* ---- what the parts share ---- */

void ph__tconf_bad(struct ph_tconf *c, const struct ph_opt_set *s, const char *what)
{
    char shown[SHOWN];
    ph_opts_say(c->opts, PH_LOG_ERROR, s, "\"%s\" %s", ph_opts_shown(s, shown, sizeof shown), what);
}

bool ph__tconf_read_ip(struct ph_addr *a, const char *text, size_t n)
{
    return n && *text != '[' && ph_addr_parse(a, text, n, 0) == 0 &&
           (a->family == PH_AF_INET6 || !memchr(text, ':', n));
}

bool ph__tconf_read_number(const char *text, size_t n, uint64_t max, uint64_t *out)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9' || v > (UINT64_MAX - 9) / 10)
            return false;
        v = v * 10 + (uint64_t)(text[i] - '0');
    }
    *out = v;
    return n > 0 && v <= max;
}

/* ---- files ---- */

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

const char *ph_tconf_path(const struct ph_tconf *c, const char *name,
                          char dst[static PH_TCONF_PATH])
{
    size_t at = 0, n = strlen(name);
    if (*name != '/' && *c->dir && strlen(c->dir) + 1 + n < PH_TCONF_PATH)
        at = (size_t)snprintf(dst, PH_TCONF_PATH, "%s/", c->dir);
    snprintf(dst + at, PH_TCONF_PATH - at, "%s", name);
    return dst;
}

/* Never waits, whatever the name stands for. */
FILE *ph__tconf_open(const struct ph_tconf *c, const char *name)
{
    char path[PH_TCONF_PATH];
    struct stat st;
    int fd = open(ph_tconf_path(c, name, path), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return NULL;
    FILE *f = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? fdopen(fd, "r") : NULL;
    if (f)
        return f;
    close(fd);
    errno = EINVAL;
    return NULL;
}

static void read_file(struct ph_tconf *c)
{
    int err = ph_opts_read_file(c->opts, c->file);
    if (err)
        ph_opts_say(c->opts, PH_LOG_ERROR, NULL, "%s: cannot be read: %s", c->file,
                    ph_strerror(err));
}

/* A file that was asked for must be there; the default one may be missing. */
static void find_file(struct ph_tconf *c)
{
    const struct ph_opt_set *wanted = ph_opts_last(c->opts, "config");
    const char *name = wanted ? wanted->value : "turnserver.conf";
    if (ph_tconf_find_file(name, c->file, sizeof c->file)) {
        read_file(c);
        return;
    }
    c->file[0] = '\0';
    if (wanted)
        ph_opts_say(c->opts, PH_LOG_ERROR, NULL, "%s: no such file", name);
}

/* ---- the steps ---- */

void ph_tconf_apply(struct ph_tconf *c)
{
    ph_opts_apply(c->opts, c);
    if (c->very_verbose)
        c->log_level = PH_LOG_DEBUG;
    if (c->keep_family && !ph__tconf_is_set(c, "allocation-default-address-family"))
        c->family = PH_TCONF_KEEP;
    ph__tconf_take_lists(c);
    ph__tconf_find_certs(c);
    ph__tconf_take_operation(c);
    ph__tconf_take_state(c);
    ph__tconf_check(c);
    ph__tconf_take_realms(c);
}

static bool is_on(const struct ph_tconf *c, const char *name)
{
    const struct ph_opt_set *s = ph_opts_last(c->opts, name);
    return s && !ph_opts_is_off(s);
}

void ph_tconf_read(struct ph_tconf *c, int argc, char **argv)
{
    ph_opts_read_argv(c->opts, argc, argv);
    c->help = is_on(c, "help");
    c->version = is_on(c, "version");
    c->print = is_on(c, "print-config");
    c->state_version = is_on(c, "state-version");
    if (c->help || c->version || c->print || c->state_version)
        return;
    ph__tconf_read_env(c);
    if (!is_on(c, "no-config"))
        find_file(c);
    ph_tconf_apply(c);
}

void ph_tconf_reread(struct ph_tconf *c, const struct ph_tconf *was)
{
    ph_tconf_init(c);
    memcpy(c->dir, was->dir, sizeof c->dir);
    memcpy(c->default_cert, was->default_cert, sizeof c->default_cert);
    memcpy(c->default_key, was->default_key, sizeof c->default_key);
    memcpy(c->test_secret, was->test_secret, sizeof c->test_secret);
    ph_opts_copy_argv(c->opts, was->opts);
    ph__tconf_read_env(c);
    if (*was->file) {
        ph_tconf_path(was, was->file, c->file);
        read_file(c);
    }
    ph_tconf_apply(c);
}
