/*
 * The option engine's third source: the environment, which is how containers are configured.
 *
 *     TURND_LISTENING_PORT=3478               listening-port=3478
 *     TURND_STATIC_AUTH_SECRET_FILE=/run/s    static-auth-secret= each line of that file
 *     TURND_STATIC_AUTH_SECRET_1=... _2=...   two of them
 *
 * An option whose own name ends in -file or in a number goes before these endings.  The order of an environment means
 * nothing, so variables are taken in the order of the table and of their numbers.
 */
#include "cmd/common/options_priv.h"
#include "stun/base/error.h"
#include "stun/codec/integrity.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAME = 128, FILE_MAX_LEN = 64 << 10, NUMBER_MAX_LEN = 4 };

/* A variable that is an option. */
struct var {
    const struct ph_opt *opt;
    const char *name, *value;
    unsigned number;
    bool alias, file;
};

struct vars {
    struct var *v;
    size_t n, cap;
};

/* ---- names ---- */

static char as_variable(char c)
{
    return c == '-' ? '_' : (char)toupper((unsigned char)c);
}

static const struct ph_opt *find(const struct ph_opts *o, const char *name, size_t n)
{
    for (size_t i = 0; i < o->n_table; i++) {
        const char *key = o->table[i].name;
        if (!key || strlen(key) != n)
            continue;
        size_t at = 0;
        while (at < n && as_variable(key[at]) == name[at])
            at++;
        if (at == n)
            return &o->table[i];
    }
    return NULL;
}

/* Cuts an ending off a name of *n bytes. */
static bool cut(const char *name, size_t *n, const char *ending)
{
    size_t k = strlen(ending);
    if (*n <= k || memcmp(name + *n - k, ending, k) != 0)
        return false;
    *n -= k;
    return true;
}

static bool cut_file(const char *name, size_t *n)
{
    return cut(name, n, "__FILE") || cut(name, n, "_FILE");
}

/* Cuts "_12". */
static bool cut_number(const char *name, size_t *n, unsigned *number)
{
    size_t at = *n;
    while (at && isdigit((unsigned char)name[at - 1]))
        at--;
    if (at < 2 || at == *n || *n - at > NUMBER_MAX_LEN || name[at - 1] != '_')
        return false;
    *number = (unsigned)strtoul(name + at, NULL, 10);
    *n = at - 1;
    return true;
}

/* Finds the option of a name of n bytes without its prefix. */
static bool resolve(const struct ph_opts *o, struct var *v, const char *name, size_t n)
{
    v->opt = find(o, name, n);
    if (v->opt)
        return true;
    v->file = cut_file(name, &n);
    v->opt = v->file ? find(o, name, n) : NULL;
    if (!v->opt && cut_number(name, &n, &v->number))
        v->opt = find(o, name, n);
    return v->opt && (v->number == 0 || v->opt->flags & PH_OPT_REPEAT);
}

static bool resolve_alias(const struct ph_opts *o, const struct ph_opt_env *names, struct var *v,
                          const char *name, size_t n)
{
    size_t stem = n;
    bool file = cut_file(name, &stem);
    for (size_t i = 0; i < names->n_aliases; i++) {
        const struct ph_opt_alias *a = &names->alias[i];
        size_t k = strlen(a->variable);
        if ((k != n && (!file || k != stem)) || memcmp(a->variable, name, k) != 0)
            continue;
        v->opt = ph_opts_find(o, a->name);
        v->alias = true;
        v->file = k != n;
        return v->opt != NULL;
    }
    return false;
}

/* What Kubernetes and old Docker put there for a service or container that happens to have our name:
 * TURND_SERVICE_HOST=, TURND_PORT=udp://10.0.0.1:3478, TURND_PORT_3478_UDP_ADDR= and so on. */
static bool is_link(const char *name, const char *value)
{
    static const char *const SCHEMES[] = {"tcp://", "udp://", "sctp://"};
    if (strstr(name, "_SERVICE_HOST") || strstr(name, "_SERVICE_PORT") || strstr(name, "_ENV_"))
        return true;
    for (size_t i = 0; i < sizeof SCHEMES / sizeof *SCHEMES; i++)
        if (strncmp(value, SCHEMES[i], strlen(SCHEMES[i])) == 0 && strstr(name, "_PORT"))
            return true;
    const char *port = strstr(name, "_PORT_");
    size_t digits = port ? strspn(port + 6, "0123456789") : 0;
    return digits && (strncmp(port + 6 + digits, "_TCP", 4) == 0 ||
                      strncmp(port + 6 + digits, "_UDP", 4) == 0);
}

/* ---- finding them ---- */

/* The option whose name is nearest to that of a variable of n bytes, with what may follow it or without. */
static const char *nearest(const struct ph_opts *o, const char *name, size_t n)
{
    char key[NAME];
    if (n >= sizeof key)
        return NULL;
    for (size_t i = 0; i < n; i++)
        key[i] = name[i] == '_' ? '-' : (char)tolower((unsigned char)name[i]);
    key[n] = '\0';
    const char *near = ph_opts_nearest(o, key);
    if (near || !cut_file(name, &n))
        return near;
    key[n] = '\0';
    return ph_opts_nearest(o, key);
}

static void unknown(struct ph_opts *o, const struct ph_opt_env *names, const char *name)
{
    char shown[NAME], want[NAME] = "";
    size_t prefix = strlen(names->prefix), n = strlen(name);
    const char *near = nearest(o, name + prefix, n - prefix);
    for (size_t i = 0; near && near[i] && i + 1 < sizeof want; i++) {
        want[i] = as_variable(near[i]);
        want[i + 1] = '\0';
    }
    ph_opts_say(o, PH_LOG_WARN, NULL, "%s: unknown variable is ignored%s%s%s%s",
                ph__opts_escape(shown, sizeof shown, name, n), near ? ": did you mean " : "",
                near ? names->prefix : "", want, near ? "?" : "");
}

static void keep(struct vars *vars, const struct var *v)
{
    if (vars->n == vars->cap) {
        vars->cap = vars->cap ? vars->cap * 2 : 16;
        vars->v = ph__opts_alloc(vars->v, vars->cap, sizeof *vars->v);
    }
    vars->v[vars->n++] = *v;
}

/* One "NAME=VALUE". */
static void look_at(struct ph_opts *o, const struct ph_opt_env *names, const char *entry,
                    struct vars *vars)
{
    size_t n = strcspn(entry, "="), prefix = strlen(names->prefix);
    struct var v = {.value = entry + n + 1};
    bool ours = n > prefix && memcmp(entry, names->prefix, prefix) == 0;
    if (entry[n] == '\0' || *v.value == '\0')
        return;
    char *name = ph__opts_copy(entry, n);
    bool found =
        resolve_alias(o, names, &v, name, n) || (ours && resolve(o, &v, name + prefix, n - prefix));
    if (found && v.opt->flags & PH_OPT_ARGV) {
        ph_opts_say(o, PH_LOG_WARN, NULL, "%s: belongs on the command line: ignored", name);
    } else if (found) {
        v.name = ph__opts_keep(o, name);
        keep(vars, &v);
    } else if (ours && !is_link(name + prefix - 1, v.value)) {
        unknown(o, names, name);
    }
    free(name);
}

/* In the order of the table; names that are not our own first, so that ours win. */
static int by_order(const void *a, const void *b)
{
    const struct var *x = a, *y = b;
    if (x->opt != y->opt)
        return x->opt < y->opt ? -1 : 1;
    if (x->alias != y->alias)
        return x->alias ? -1 : 1;
    if (x->number != y->number)
        return x->number < y->number ? -1 : 1;
    return x->file != y->file ? (x->file ? 1 : -1) : strcmp(x->name, y->name);
}

/* ---- taking their values ---- */

/* Fills text (of FILE_MAX_LEN + 1 bytes) from an ordinary file, whatever the name stands for.  Returns the bytes,
 * terminated, or -errno. */
static ssize_t slurp(const char *path, char *text)
{
    struct stat st;
    size_t n = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    int err = fstat(fd, &st) != 0 ? errno : S_ISREG(st.st_mode) ? 0 : EINVAL;
    while (!err && n <= FILE_MAX_LEN) {
        ssize_t got = read(fd, text + n, FILE_MAX_LEN + 1 - n);
        if (got == 0)
            break;
        if (got < 0 && errno != EINTR)
            err = errno;
        n += got > 0 ? (size_t)got : 0;
    }
    close(fd);
    if (n > FILE_MAX_LEN)
        err = EFBIG;
    else
        text[n] = '\0';
    return err ? -err : (ssize_t)n;
}

/* The lines of n bytes, as values. */
static void take_lines(struct ph_opts *o, const struct var *v, const char *text, size_t n)
{
    unsigned lines = 0;
    for (const char *end = text + n; text < end;) {
        const char *eol = memchr(text, '\n', (size_t)(end - text));
        size_t len = (size_t)((eol ? eol : end) - text);
        size_t stop = len && text[len - 1] == '\r' ? len - 1 : len;
        if (stop && lines++ && !(v->opt->flags & PH_OPT_REPEAT)) {
            ph_opts_say(o, PH_LOG_ERROR, NULL, "%s: has several lines: %s takes one value", v->name,
                        v->opt->name);
            return;
        }
        if (stop)
            ph__opts_add(o, v->opt, v->name, 0, text, stop);
        text += len + 1;
    }
}

/* The name of the file is not told: it may be a secret, where somebody put that instead. */
static void take_file(struct ph_opts *o, const struct var *v)
{
    char *text = ph__opts_alloc(NULL, FILE_MAX_LEN + 1, 1);
    ssize_t n = slurp(v->value, text);
    const char *wrong = n == -EINVAL                        ? "is no ordinary file"
                        : n == -EFBIG                       ? "is larger than 64 kB"
                        : n < 0                             ? ph_strerror((int)n)
                        : memchr(text, '\0', (size_t)n)     ? "is no text"
                        : strspn(text, "\r\n") == (size_t)n ? "is empty"
                                                            : NULL;
    if (wrong)
        ph_opts_say(o, PH_LOG_ERROR, NULL, "%s: the file that it names %s%s", v->name,
                    n < 0 && n != -EINVAL && n != -EFBIG ? "cannot be read: " : "", wrong);
    else
        take_lines(o, v, text, (size_t)n);
    ph_wipe(text, FILE_MAX_LEN + 1);
    free(text);
}

static void take(struct ph_opts *o, const struct var *v, const struct var *prev)
{
    if (prev && prev->opt == v->opt && prev->alias == v->alias && !(v->opt->flags & PH_OPT_REPEAT))
        ph_opts_say(o, PH_LOG_ERROR, NULL, "%s: %s is set as well: keep one", v->name, prev->name);
    else if (v->file)
        take_file(o, v);
    else
        take_lines(o, v, v->value, strlen(v->value));
}

void ph_opts_read_env(struct ph_opts *o, const struct ph_opt_env *names, char *const *env)
{
    struct vars vars = {0};
    for (; env && *env; env++)
        look_at(o, names, *env, &vars);
    if (vars.n)
        qsort(vars.v, vars.n, sizeof *vars.v, by_order);
    for (size_t i = 0; i < vars.n; i++)
        take(o, &vars.v[i], i ? &vars.v[i - 1] : NULL);
    free(vars.v);
}
