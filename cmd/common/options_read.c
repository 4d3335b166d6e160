/*
 * The option engine's sources: lines of a file and arguments of a command line.
 *
 * The file's rules are those of coturn's parser, with one difference: what coturn would cut silently (lines
 * longer than its buffer) is an error here.
 */
#include "cmd/common/options_priv.h"
#include "stun/codec/integrity.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE_MAX_LEN = 1024, FILE_MAX_LEN = 4 << 20, SHOWN = 80 };

/* ---- files ---- */

struct line {
    struct ph_opts *o;
    const char *file;
    unsigned number;
};

static bool is_blank(char c)
{
    return isspace((unsigned char)c);
}

static bool ends_name(char c)
{
    return c == ' ' || c == '\t' || c == '=';
}

static void say_line(const struct line *l, enum ph_log_level level, const char *what)
{
    ph_opts_say(l->o, level, NULL, "%s:%u: %s", l->file, l->number, what);
}

static void unknown_key(const struct line *l, const char *name)
{
    char shown[SHOWN];
    const char *near = ph_opts_nearest(l->o, name);
    ph__opts_escape(shown, sizeof shown, name, strlen(name));
    ph_opts_say(l->o, PH_LOG_WARN, NULL, "%s:%u: unknown key \"%s\" is ignored%s%s%s", l->file,
                l->number, shown, near ? ": did you mean \"" : "", near ? near : "",
                near ? "\"?" : "");
}

/* Values are all that follows: people who mean a comment should know. */
static void warn_of_tails(const struct line *l, const struct ph_opt *opt, const char *value,
                          size_t n)
{
    const char *hash = memmem(value, n, " #", 2);
    if (hash && !(opt->flags & PH_OPT_SECRETS))
        say_line(l, PH_LOG_WARN, "\"#\" is part of the value: a comment needs a line of its own");
    if (n && value[n - 1] == ';')
        say_line(l, PH_LOG_WARN, "\";\" at the end is part of the value");
}

/* A line without leading and trailing blanks. */
static void read_line(const struct line *l, const char *s, size_t n)
{
    char name[LINE_MAX_LEN + 1];
    size_t at = 0;
    while (at < n && !ends_name(s[at]))
        at++;
    memcpy(name, s, at);
    name[at] = '\0';
    while (at < n && ends_name(s[at]))
        at++;
    const char *value = s + at;
    n -= at;
    const struct ph_opt *opt = ph_opts_find(l->o, name);
    if (!opt) {
        unknown_key(l, name);
        return;
    }
    if (opt->flags & PH_OPT_ARGV) {
        ph_opts_say(l->o, PH_LOG_WARN, NULL, "%s:%u: %s belongs on the command line: ignored",
                    l->file, l->number, name);
        return;
    }
    warn_of_tails(l, opt, value, n);
    if (n && *value == '"') {
        value++;
        n--;
        while (n && is_blank(value[n - 1]))
            n--;
        if (n && value[n - 1] == '"')
            n--;
    }
    ph__opts_add(l->o, opt, l->file, l->number, value, n);
}

static void read_raw_line(const struct line *l, const char *s, size_t n)
{
    while (n && is_blank(*s)) {
        s++;
        n--;
    }
    if (n == 0 || *s == '#')
        return;
    while (n && is_blank(s[n - 1]))
        n--;
    if (n > LINE_MAX_LEN)
        say_line(l, PH_LOG_ERROR, "the line is too long: 1024 bytes are the most");
    else if (memchr(s, '\0', n))
        say_line(l, PH_LOG_ERROR, "the line has a NUL byte: this is no text");
    else
        read_line(l, s, n);
}

void ph_opts_read_text(struct ph_opts *o, const char *name, const char *text, size_t n)
{
    struct line l = {o, ph__opts_keep(o, name), 0};
    const char *end = n ? text + n : text;
    if (n >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
        text += 3; /* a byte order mark */
    while (text < end) {
        const char *eol = memchr(text, '\n', (size_t)(end - text));
        const char *stop = eol ? eol : end;
        l.number++;
        read_raw_line(&l, text, (size_t)(stop - text));
        text = eol ? eol + 1 : end;
    }
}

/* Reads all of a file.  Returns the bytes, or -errno; -EFBIG beyond FILE_MAX_LEN. */
static ssize_t slurp(int fd, char **text)
{
    size_t n = 0;
    for (;;) {
        *text = ph__opts_alloc(*text, n + 65536, 1);
        ssize_t got = read(fd, *text + n, 65536);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        n += (size_t)got;
        if (got == 0)
            return (ssize_t)n;
        if (n > FILE_MAX_LEN)
            return -EFBIG;
    }
}

int ph_opts_read_file(struct ph_opts *o, const char *path)
{
    char *text = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return -errno;
    ssize_t n = slurp(fd, &text);
    close(fd);
    if (n >= 0) {
        ph_opts_read_text(o, path, text, (size_t)n);
        ph_wipe(text, (size_t)n);
    }
    free(text);
    return n < 0 ? (int)n : 0;
}

/* ---- command line ---- */

struct args {
    struct ph_opts *o;
    int argc, at;
    char **argv;
};

/* Hides a secret from those who list processes. */
static void hide(char *s)
{
    size_t n = strlen(s);
    if (n == 0)
        return;
    ph_wipe(s, n);
    *s = '*';
}

static void take_value(struct args *a, const struct ph_opt *opt, char *value)
{
    ph__opts_add(a->o, opt, NULL, 0, value, strlen(value));
    if (opt->flags & PH_OPT_SECRETS)
        hide(value);
}

/* Takes the next argument as the value. */
static void take_next(struct args *a, const struct ph_opt *opt)
{
    if (a->at + 1 < a->argc)
        take_value(a, opt, a->argv[++a->at]);
    else
        ph_opts_say(a->o, PH_LOG_ERROR, NULL, "command line: --%s: needs a value: --%s=%s",
                    opt->name, opt->name, opt->words ? opt->words : "VALUE");
}

/* An option by its name, or by the beginning of one name alone. */
static const struct ph_opt *find_long(const struct ph_opts *o, const char *name, size_t n,
                                      bool *ambiguous)
{
    const struct ph_opt *found = NULL;
    *ambiguous = false;
    for (size_t i = 0; i < o->n_table; i++) {
        const struct ph_opt *opt = &o->table[i];
        if (!opt->name || strncmp(opt->name, name, n) != 0)
            continue;
        if (opt->name[n] == '\0') {
            *ambiguous = false;
            return opt;
        }
        *ambiguous = found != NULL;
        found = opt;
    }
    return *ambiguous || n == 0 ? NULL : found;
}

static void unknown_option(struct ph_opts *o, const char *name, size_t n, bool ambiguous)
{
    char shown[SHOWN];
    ph__opts_escape(shown, sizeof shown, name, n);
    const char *near = ph_opts_nearest(o, shown);
    if (ambiguous)
        ph_opts_say(o, PH_LOG_ERROR, NULL, "command line: --%s: several options begin like this",
                    shown);
    else
        ph_opts_say(o, PH_LOG_ERROR, NULL, "command line: --%s: unknown option%s%s%s", shown,
                    near ? ": did you mean --" : " (--help lists them)", near ? near : "",
                    near ? "?" : "");
}

static void read_long(struct args *a, char *arg)
{
    size_t n = strcspn(arg, "=");
    bool ambiguous;
    const struct ph_opt *opt = find_long(a->o, arg, n, &ambiguous);
    if (!opt)
        unknown_option(a->o, arg, n, ambiguous);
    else if (arg[n] == '=')
        take_value(a, opt, arg + n + 1);
    else if (ph__opts_wants_value(opt))
        take_next(a, opt);
    else
        ph__opts_add(a->o, opt, NULL, 0, "", 0);
}

static const struct ph_opt *find_letter(const struct ph_opts *o, char letter)
{
    for (size_t i = 0; i < o->n_table; i++)
        if (o->table[i].name && o->table[i].letter == letter)
            return &o->table[i];
    return NULL;
}

/* "-vf" is "-v -f"; "-p3478" is "-p 3478". */
static void read_short(struct args *a, char *arg)
{
    for (; *arg; arg++) {
        const struct ph_opt *opt = find_letter(a->o, *arg);
        if (!opt) {
            char shown[SHOWN];
            ph_opts_say(a->o, PH_LOG_ERROR, NULL,
                        "command line: -%s: unknown option (--help lists them)",
                        ph__opts_escape(shown, sizeof shown, arg, 1));
            return;
        }
        if (!ph__opts_wants_value(opt)) {
            ph__opts_add(a->o, opt, NULL, 0, "", 0);
            continue;
        }
        if (arg[1] == '=')
            ph_opts_say(a->o, PH_LOG_WARN, NULL,
                        "command line: -%c: \"=\" is part of the value: write -%c VALUE", *arg,
                        *arg);
        if (arg[1])
            take_value(a, opt, arg + 1);
        else
            take_next(a, opt);
        return;
    }
}

/* An argument that belongs to nothing; often the value of an option that takes one only with "=". */
static void stray(struct args *a, const char *arg)
{
    char shown[SHOWN];
    const struct ph_opt_sets *s = &a->o->argv;
    const struct ph_opt *last = s->n ? s->v[s->n - 1].opt : NULL;
    ph__opts_escape(shown, sizeof shown, arg, strlen(arg));
    if (last && !ph__opts_wants_value(last) && *s->v[s->n - 1].value == '\0')
        ph_opts_say(a->o, PH_LOG_ERROR, NULL,
                    "command line: \"%s\" belongs to no option: write --%s=%s", shown, last->name,
                    shown);
    else
        ph_opts_say(a->o, PH_LOG_ERROR, NULL, "command line: \"%s\" belongs to no option", shown);
}

void ph_opts_read_argv(struct ph_opts *o, int argc, char **argv)
{
    struct args a = {o, argc, 1, argv};
    bool rest = false;
    for (; a.at < argc; a.at++) {
        char *arg = argv[a.at];
        if (rest || arg[0] != '-' || arg[1] == '\0')
            stray(&a, arg);
        else if (arg[1] != '-')
            read_short(&a, arg + 1);
        else if (arg[2])
            read_long(&a, arg + 2);
        else
            rest = true;
    }
}
