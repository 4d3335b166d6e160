/*
 * The option engine's texts: the help, and the account of a configuration.
 */
#include "cmd/common/options_priv.h"

#include <string.h>

enum { SHOWN = 200, HELP_COLUMN = 38, WIDTH = 100 };

/* Writes words from column `at` on, starting at column `indent` and broken before WIDTH. */
static void wrap(FILE *f, const char *text, int at, int indent)
{
    bool first = true;
    if (at > indent - 2) {
        fputc('\n', f);
        at = 0;
    }
    fprintf(f, "%*s", indent - at, "");
    at = indent;
    while (*text) {
        int n = (int)strcspn(text, " ");
        if (!first && at + 1 + n > WIDTH) {
            fprintf(f, "\n%*s", indent, "");
            at = indent;
            first = true;
        }
        at += fprintf(f, first ? "%.*s" : " %.*s", n, text);
        first = false;
        text += n + (text[n] == ' ');
    }
    fputc('\n', f);
}

static const char *value_name(const struct ph_opt *opt)
{
    if (opt->kind == PH_OPT_BOOL)
        return NULL;
    return opt->words ? opt->words : "VALUE";
}

static void help_one(const struct ph_opt *opt, FILE *f)
{
    char head[SHOWN];
    const char *value = value_name(opt);
    bool bare = opt->flags & PH_OPT_BARE;
    int n = opt->letter ? snprintf(head, sizeof head, "  -%c, --%s", opt->letter, opt->name)
                        : snprintf(head, sizeof head, "      --%s", opt->name);
    if (value)
        n += snprintf(head + n, sizeof head - (size_t)n, bare ? "[=%s]" : " %s", value);
    fputs(head, f);
    wrap(f, opt->help, n, HELP_COLUMN);
}

void ph_opts_help(const struct ph_opts *o, FILE *f)
{
    for (size_t i = 0; i < o->n_table; i++) {
        const struct ph_opt *opt = &o->table[i];
        if (!opt->name && opt->help)
            fprintf(f, "\n%s\n", opt->help);
        else if (opt->name && opt->status == PH_OPT_HONOURED)
            help_one(opt, f);
    }
}

bool ph_opts_is_standard(const struct ph_opt_set *s)
{
    const char *standard = s->opt->standard;
    bool given, usual;
    if (!standard)
        return false;
    if (s->opt->kind == PH_OPT_BOOL && ph_opts_bool(s->value, &given) &&
        ph_opts_bool(standard, &usual))
        return given == usual;
    return strcmp(s->value, standard) == 0;
}

static bool is_overridden(const struct ph_opts *o, const struct ph_opt_set *s)
{
    return !(s->opt->flags & PH_OPT_REPEAT) && ph_opts_last(o, s->opt->name) != s;
}

static const char *status_of(const struct ph_opts *o, const struct ph_opt_set *s)
{
    if (s->opt->status == PH_OPT_REFUSED && !ph_opts_is_off(s))
        return "refused";
    if (s->opt->status == PH_OPT_HONOURED)
        return is_overridden(o, s) ? "overridden" : "honoured";
    return "ignored";
}

static void report_one(const struct ph_opts *o, const struct ph_opt_set *s, FILE *f)
{
    char place[SHOWN], shown[SHOWN];
    const struct ph_opt *opt = s->opt;
    ph_opts_place(s, place, sizeof place);
    ph_opts_shown(s, shown, sizeof shown);
    fprintf(f, "%-10s  %s: %s", status_of(o, s), place, opt->name);
    if (*s->value)
        fprintf(f, "=%s", shown);
    if (opt->note)
        fprintf(f, "  (%s)", opt->note);
    if (opt->status == PH_OPT_HONOURED && opt->standard && !ph_opts_is_standard(s))
        fprintf(f, "  [coturn's default: %s]", *opt->standard ? opt->standard : "none");
    fputc('\n', f);
}

void ph_opts_report(const struct ph_opts *o, FILE *f)
{
    for (const struct ph_opt_set *s = NULL; (s = ph_opts_each(o, NULL, s));)
        if (!(s->opt->flags & PH_OPT_ARGV))
            report_one(o, s, f);
}
