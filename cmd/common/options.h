/*
 * Options from a configuration file, the environment and the command line, described by one table.
 *
 * The file has coturn's syntax: one option a line of at most 1024 bytes; "#" starts a comment only as the
 * first character that is not blank; the name ends at the first blank or "="; the rest is the value, whose
 * quotes ("...") go.  The command line has the same names ("--name value", "--name=value"), their letters
 * ("-x value", bundles of switches) and unambiguous beginnings of names; it wins over the environment
 * (PREFIX_NAME, ph_opts_read_env), which wins over the file.
 *
 *     o = ph_opts_new(table, n);
 *     ph_opts_read_argv(o, argc, argv);   ph_opts_read_env(o, &names, environ);   ph_opts_read_file(o, path);
 *     ph_opts_apply(o, &plain_struct);    ph_opts_failed(o) ? print messages : go on
 *
 * What was given is kept with the place where it stands, so that whoever finds a value wrong later can name
 * the file, the line and the key (ph_opts_error).  Secrets are never put into messages, and are wiped from
 * argv, so that ps does not show them.  Out of memory aborts: there is no program yet to save.
 */
#ifndef PH_CMD_OPTIONS_H
#define PH_CMD_OPTIONS_H

#include "stun/base/env.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum ph_opt_kind {
    PH_OPT_BOOL, /* bool; without a value: true */
    PH_OPT_UINT, /* uint32_t (uint64_t if PH_OPT_WIDE) from min to max; all there are if max is 0 */
    PH_OPT_CHOICE,   /* uint32_t: the place of the word in `words`, "a|b|c" */
    PH_OPT_TEXT,     /* const char *; lives as long as the ph_opts */
    PH_OPT_IP,       /* struct ph_addr: a numeric IP address without port */
    PH_OPT_ENDPOINT, /* struct ph_addr: IP:port, [IPv6]:port, or without port: min */
    PH_OPT_OTHER     /* text that the program takes itself (ph_opts_each); nothing is stored */
};

/* What this program does with an option. */
enum ph_opt_status { PH_OPT_HONOURED, PH_OPT_IGNORED, PH_OPT_REFUSED };

enum {
    PH_OPT_SECRET = 1,        /* the value is never shown */
    PH_OPT_SECRET_TAIL = 2,   /* what follows the first ':' is never shown */
    PH_OPT_BARE = 4,          /* the value may be left out: then it is dflt */
    PH_OPT_ARGV = 8,          /* for the command line alone */
    PH_OPT_INVERT = 16,       /* BOOL: stores the opposite */
    PH_OPT_REPEAT = 32,       /* may be given several times; else the last one counts */
    PH_OPT_TELL = 64,         /* IGNORED: worth a line when the program starts */
    PH_OPT_WIDE = 128,        /* UINT: the member is a uint64_t, up to PH_OPT_WIDE_MAX */
    PH_OPT_LIVE = 256,        /* may change while the program runs (ph_opts_changes) */
    PH_OPT_SECRET_WORD = 512, /* what follows the first blank is never shown */
    PH_OPT_SECRETS = PH_OPT_SECRET | PH_OPT_SECRET_TAIL | PH_OPT_SECRET_WORD
};

#define PH_OPT_WIDE_MAX 1000000000000000 /* 10^15 */

#define PH_OPT_NOWHERE UINT32_MAX

/* One option.  A row without name is a heading of the help text (help NULL: of the source alone). */
struct ph_opt {
    const char *name;
    char letter;    /* 0: none */
    uint8_t kind;   /* enum ph_opt_kind */
    uint8_t status; /* enum ph_opt_status */
    uint16_t flags; /* PH_OPT_... */
    uint32_t min, max, dflt;
    uint32_t offset;      /* of the member in the plain struct; PH_OPT_NOWHERE: not stored */
    const char *words;    /* CHOICE: the words; other kinds: what the help calls the value */
    const char *standard; /* the default of the program that set the standard (coturn), or NULL */
    const char *help;     /* a sentence */
    const char *note; /* not honoured: why, and what to do instead.  Honoured: what is different */
    const char *example; /* a value for the sample file; NULL: the default will do */
};

/* An option that was given. */
struct ph_opt_set {
    const struct ph_opt *opt;
    char *value;      /* never NULL; "" when left out */
    const char *file; /* NULL: on the command line; with line 0 the name of a variable */
    unsigned line;
};

/* A message about the configuration: a complete line without newline. */
struct ph_opt_message {
    enum ph_log_level level;
    char *text;
};

struct ph_opts;

/* An empty set for a table of n options, which must live on. */
struct ph_opts *ph_opts_new(const struct ph_opt *table, size_t n);

/* Frees it with all values, wiping secrets. */
void ph_opts_free(struct ph_opts *o);

/* Reads a file.  Returns 0 (mistakes in it become messages), or -errno when it cannot be read. */
int ph_opts_read_file(struct ph_opts *o, const char *path);

/* The same for n bytes of text; `name` stands for the file in messages and is copied. */
void ph_opts_read_text(struct ph_opts *o, const char *name, const char *text, size_t n);

/* Reads a command line, argv[0] excepted.  Overwrites secrets in argv. */
void ph_opts_read_argv(struct ph_opts *o, int argc, char **argv);

/* A variable with a name of its own for an option. */
struct ph_opt_alias {
    const char *variable; /* "ETURNAL_SECRET" */
    const char *name;     /* "static-auth-secret" */
};

/* Which variables are options. */
struct ph_opt_env {
    const char *prefix;               /* "TURND_" */
    const struct ph_opt_alias *alias; /* n_aliases */
    size_t n_aliases;
};

/* Reads the environment (strings "NAME=VALUE", NULL at the end).  PREFIX + the name in capitals with "_" for "-" is
 * an option; so are the aliases.  With _FILE (or __FILE) behind it the value is the name of a file of at most 64 kB
 * that holds it: how containers are handed secrets.  Options that may be given several times take a line each, and
 * also _1, _2 ... behind the name.  "" is as good as not set.  A variable with the prefix that is no option becomes
 * a warning, except those that container managers make for links to other services. */
void ph_opts_read_env(struct ph_opts *o, const struct ph_opt_env *names, char *const *env);

/* Takes over the command line that another set was given, since argv is read only once (its secrets go). */
void ph_opts_copy_argv(struct ph_opts *o, const struct ph_opts *from);

/* Converts what was given and stores it in the plain struct dst: file first, then environment and command line,
 * each in order.  What is not given leaves its member alone.  Refused options and bad values become errors. */
void ph_opts_apply(struct ph_opts *o, void *dst);

/* Steps through what was given for a name, or for all with NULL, in the same order.  prev is NULL at
 * first; returns NULL at the end.  Sets move when more is read. */
const struct ph_opt_set *ph_opts_each(const struct ph_opts *o, const char *name,
                                      const struct ph_opt_set *prev);

/* The one that counts for a name: the last.  NULL when it was not given. */
const struct ph_opt_set *ph_opts_last(const struct ph_opts *o, const char *name);

/* Reads a boolean as coturn does: by its first letter, or on and off; "" is true.  False: it is none. */
bool ph_opts_bool(const char *text, bool *out);

/* True when a set is a switch that is turned off ("oauth=no"). */
bool ph_opts_is_off(const struct ph_opt_set *s);

/* Adds a message; with a set (may be NULL) it begins with "file:line: name: ", or with "VARIABLE: ".  An error makes ph_opts_failed
 * true. */
void ph_opts_say(struct ph_opts *o, enum ph_log_level level, const struct ph_opt_set *s,
                 const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* True once there is an error. */
bool ph_opts_failed(const struct ph_opts *o);

/* Forgets all messages, and that there was an error. */
void ph_opts_clear(struct ph_opts *o);

/* Message i, in the order they were made; NULL when there are no more. */
const struct ph_opt_message *ph_opts_message(const struct ph_opts *o, size_t i);

/* Where a set stands: "turnserver.conf:12", the name of a variable, or "command line".  Cut to n bytes, terminated.  Returns dst. */
const char *ph_opts_place(const struct ph_opt_set *s, char *dst, size_t n);

/* The value of a set as it may be shown: quoted and escaped, with secrets as "***".  Returns dst. */
const char *ph_opts_shown(const struct ph_opt_set *s, char *dst, size_t n);

/* The option of a name, or NULL. */
const struct ph_opt *ph_opts_find(const struct ph_opts *o, const char *name);

/* The known name nearest to a wrong one, or NULL when none is near. */
const char *ph_opts_nearest(const struct ph_opts *o, const char *name);

/* Writes the help text: every honoured option. */
void ph_opts_help(const struct ph_opts *o, FILE *f);

/* Writes a line for each option that was given: honoured, ignored or refused, where, and why. */
void ph_opts_report(const struct ph_opts *o, FILE *f);

/* Writes every honoured option with the value in force, taken from the plain struct src, and where it comes from. */
void ph_opts_effective(const struct ph_opts *o, const void *src, FILE *f);

/* Writes a sample file: every honoured option, commented out, under its heading and with its help; values are the
 * examples of the table, else those of the plain struct `defaults`. */
void ph_opts_sample(const struct ph_opts *o, const void *defaults, FILE *f);

/* Writes the names of the options that were given differently in `now`, as "a, b": those that may change while the
 * program runs, or those that may not.  Cut to n bytes.  Returns how many there are. */
unsigned ph_opts_changes(const struct ph_opts *was, const struct ph_opts *now, bool live, char *dst,
                         size_t n);

/* Whether a set gives the value that is the standard's default anyway. */
bool ph_opts_is_standard(const struct ph_opt_set *s);

#endif
