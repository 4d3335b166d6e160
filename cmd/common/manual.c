/*
 * Manual pages: help text and option tables as man(7) macros.
 */
#include "cmd/common/manual.h"
#include "cmd/common/manual_text.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- roff ---- */

/* Text of n bytes within a line: what roff would take for its own is escaped. */
static void put(FILE *f, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '\\')
            fputs("\\e", f);
        else if (s[i] == '-')
            fputs("\\-", f);
        else
            fputc(s[i], f);
    }
}

/* A line of text: one that begins like a request is none. */
static void put_line(FILE *f, const char *s, size_t n)
{
    if (n && (*s == '.' || *s == '\''))
        fputs("\\&", f);
    put(f, s, n);
    fputc('\n', f);
}

static void put_text(FILE *f, const char *s)
{
    put_line(f, s, strlen(s));
}

static void put_word(FILE *f, char font, const char *s, size_t n)
{
    fprintf(f, "\\f%c", font);
    put(f, s, n);
    fputs("\\fR", f);
}

/* ---- help text ---- */

/* Sections whose lines are kept as they are. */
static bool is_verbatim(const char *heading, size_t n)
{
    static const char *const NAMES[] = {"SYNOPSIS", "EXAMPLES"};
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
        if (strlen(NAMES[i]) == n && memcmp(NAMES[i], heading, n) == 0)
            return true;
    return false;
}

static void term(FILE *f, struct ph_help_line *line)
{
    const char *word, *between = "";
    size_t n;
    fputs(".TP\n", f);
    while (ph_help_word(line, &word, &n)) {
        fputs(between, f);
        put_word(f, *word == '-' || !*between ? 'B' : 'I', word, n);
        between = word[n] == ',' ? ", " : " ";
    }
    fputc('\n', f);
    if (line->n)
        put_line(f, line->text, line->n);
}

/* A line of a paragraph, or of what a term means when it stands far to the right. */
static void text_line(FILE *f, const struct ph_help_line *line, bool break_before)
{
    const char *p = line->kind == PH_HELP_TERM ? line->term : line->text;
    fputs(break_before ? ".PP\n" : "", f);
    put_line(f, p, (size_t)(line->text + line->n - p));
}

static void help_page(FILE *f, const char *text)
{
    struct ph_help_line line;
    bool verbatim = false, in_term = false, gap = false, begun = false;
    for (; ph_help_next(&text, &line); begun = begun || line.kind != PH_HELP_BLANK) {
        if (line.kind == PH_HELP_BLANK) {
            gap = begun;
        } else if (line.kind == PH_HELP_HEADING) {
            fputs(verbatim ? ".fi\n.SH " : ".SH ", f);
            put_line(f, line.text, line.n);
            verbatim = is_verbatim(line.text, line.n);
            fputs(verbatim ? ".nf\n" : "", f);
            gap = in_term = begun = false;
            continue;
        } else if (line.kind == PH_HELP_SUBHEADING) {
            fputs(".SS ", f);
            put_line(f, line.text, line.n);
            gap = in_term = false;
        } else if (line.kind == PH_HELP_TERM && !verbatim) {
            term(f, &line);
            gap = false;
            in_term = true;
        } else {
            bool leaves = in_term && !line.far;
            text_line(f, &line, (gap || leaves) && !verbatim);
            in_term = in_term && line.far;
            gap = false;
        }
    }
    fputs(verbatim ? ".fi\n" : "", f);
}

/* ---- tables ---- */

static void option(FILE *f, const struct ph_opt *opt)
{
    char letter[3] = {'-', opt->letter, '\0'};
    const char *value = opt->kind == PH_OPT_BOOL ? NULL : opt->words ? opt->words : "VALUE";
    fputs(".TP\n", f);
    if (opt->letter) {
        put_word(f, 'B', letter, 2);
        fputs(", ", f);
    }
    fputs("\\fB\\-\\-", f);
    put(f, opt->name, strlen(opt->name));
    fputs("\\fR", f);
    if (value) {
        fputs(opt->flags & PH_OPT_BARE ? "[=" : " ", f);
        put_word(f, 'I', value, strlen(value));
        fputs(opt->flags & PH_OPT_BARE ? "]" : "", f);
    }
    fputc('\n', f);
    put_text(f, opt->help ? opt->help : "");
    if (opt->note) {
        fputs(".br\n", f);
        put_text(f, opt->note);
    }
}

static void table_options(FILE *f, const struct ph_manual *m)
{
    fputs(".SH OPTIONS\n", f);
    for (size_t i = 0; i < m->n_table; i++) {
        const struct ph_opt *opt = &m->table[i];
        if (!opt->name && opt->help) {
            fputs(".SS ", f);
            put_text(f, opt->help);
        } else if (opt->name && opt->status == PH_OPT_HONOURED) {
            option(f, opt);
        }
    }
}

/* Those that are known but not honoured, and why. */
static void table_others(FILE *f, const struct ph_manual *m)
{
    static const char *const WORD[] = {[PH_OPT_IGNORED] = "ignored", [PH_OPT_REFUSED] = "refused"};
    bool begun = false;
    for (size_t i = 0; i < m->n_table; i++) {
        const struct ph_opt *opt = &m->table[i];
        if (!opt->name || opt->status == PH_OPT_HONOURED)
            continue;
        fputs(begun ? "" : ".SH KEYS THAT ARE NOT HONOURED\n", f);
        begun = true;
        fputs(".TP\n", f);
        put_word(f, 'B', opt->name, strlen(opt->name));
        fprintf(f, " (%s)\n", WORD[opt->status]);
        put_text(f, opt->note ? opt->note : "");
    }
}

void ph_manual_page(const struct ph_manual *m, FILE *f)
{
    fputs(".\\\" Made by the build from the program's own tables.\n.TH ", f);
    for (const char *p = m->name; *p; p++)
        fputc(toupper((unsigned char)*p), f);
    fprintf(f, " %d \"\" \"Pinhole " PH_VERSION "\"\n", m->section);
    if (m->help) {
        char *text = NULL;
        size_t n = 0;
        FILE *t = open_memstream(&text, &n);
        if (!t)
            abort();
        m->help(t);
        fclose(t);
        help_page(f, text);
        free(text);
        return;
    }
    help_page(f, m->head);
    table_options(f, m);
    table_others(f, m);
    if (m->tail)
        help_page(f, m->tail);
}

int ph_manual_main(int argc, char **argv, const struct ph_manual *m)
{
    FILE *f = NULL;
    if (argc == 3 && (strcmp(argv[1], "man") == 0 || strcmp(argv[1], "completion") == 0))
        f = fopen(argv[2], "we");
    if (!f) {
        fprintf(stderr, "usage: %s_man man|completion FILE (%s)\n", m->name, strerror(errno));
        return 1;
    }
    if (strcmp(argv[1], "man") == 0)
        ph_manual_page(m, f);
    else
        ph_manual_completion(m, f);
    bool ok = !ferror(f);
    return fclose(f) == 0 && ok ? 0 : 1;
}
