/*
 * Bash completion: a script with the options of a program, what their values may be, and its commands.
 */
#include "cmd/common/manual.h"
#include "cmd/common/manual_text.h"

#include <stdlib.h>
#include <string.h>

enum { NAMES = 16384 };

/* What completes a value. */
enum value { VALUE_NONE, VALUE_FREE, VALUE_FILE, VALUE_WORDS };

/* A script under construction: the names, and the cases of options that take a value. */
struct script {
    char names[NAMES], commands[NAMES];
    char *cases;
    size_t n;
    FILE *f; /* writes cases */
};

static void add_name(char list[static NAMES], const char *dashes, const char *s, size_t n)
{
    size_t k = strlen(list);
    snprintf(list + k, NAMES - k, "%s%s%.*s", k ? " " : "", dashes, (int)n, s);
}

static bool is_file(const char *what, size_t n)
{
    return (n == 4 && (memcmp(what, "FILE", 4) == 0 || memcmp(what, "PATH", 4) == 0)) ||
           (n == 3 && memcmp(what, "DIR", 3) == 0);
}

/* A case: "-c|--config) ..." */
static void add_case(struct script *s, const char *options, enum value kind, const char *words)
{
    fprintf(s->f, "    %s)\n", options);
    if (kind == VALUE_FILE)
        fputs("        COMPREPLY=($(compgen -f -- \"$cur\"))\n", s->f);
    else if (kind == VALUE_WORDS) {
        fputs("        COMPREPLY=($(compgen -W \"", s->f);
        for (const char *p = words; *p; p++)
            fputc(*p == '|' ? ' ' : *p, s->f);
        fputs("\" -- \"$cur\"))\n", s->f);
    }
    fputs("        return ;;\n", s->f);
}

/* ---- tables ---- */

static void take_table(struct script *s, const struct ph_manual *m)
{
    for (size_t i = 0; i < m->n_table; i++) {
        const struct ph_opt *opt = &m->table[i];
        char options[128];
        if (!opt->name || opt->status != PH_OPT_HONOURED)
            continue;
        add_name(s->names, "--", opt->name, strlen(opt->name));
        if (opt->kind == PH_OPT_BOOL || opt->flags & PH_OPT_BARE)
            continue;
        if (opt->letter)
            snprintf(options, sizeof options, "-%c | --%s", opt->letter, opt->name);
        else
            snprintf(options, sizeof options, "--%s", opt->name);
        bool file = opt->words && is_file(opt->words, strlen(opt->words));
        add_case(s, options,
                 opt->kind == PH_OPT_CHOICE ? VALUE_WORDS
                 : file                     ? VALUE_FILE
                                            : VALUE_FREE,
                 opt->words);
    }
}

/* ---- help text ---- */

/* The options of one line, and what they take. */
static void take_option(struct script *s, struct ph_help_line line)
{
    char options[128] = "";
    const char *word, *value = NULL;
    size_t n, value_n = 0;
    while (ph_help_word(&line, &word, &n)) {
        size_t k = strlen(options);
        if (*word != '-') {
            value = value ? value : word;
            value_n = value_n ? value_n : n;
            continue;
        }
        if (n > 2)
            add_name(s->names, "", word, n);
        snprintf(options + k, sizeof options - k, "%s%.*s", k ? " | " : "", (int)n, word);
    }
    if (value)
        add_case(s, options, is_file(value, value_n) ? VALUE_FILE : VALUE_FREE, NULL);
}

static void take_help(struct script *s, const char *text)
{
    struct ph_help_line line;
    const char *word;
    size_t n;
    bool commands = false;
    while (ph_help_next(&text, &line)) {
        if (line.kind == PH_HELP_HEADING)
            commands = line.n == 8 && memcmp(line.text, "COMMANDS", 8) == 0;
        if (line.kind != PH_HELP_TERM)
            continue;
        if (*line.term == '-')
            take_option(s, line);
        else if (commands && ph_help_word(&line, &word, &n))
            add_name(s->commands, "", word, n);
    }
}

static void take_help_of(struct script *s, const struct ph_manual *m)
{
    char *text = NULL;
    size_t n = 0;
    FILE *t = open_memstream(&text, &n);
    if (!t)
        abort();
    m->help(t);
    fclose(t);
    take_help(s, text);
    free(text);
}

void ph_manual_completion(const struct ph_manual *m, FILE *f)
{
    struct script *s = calloc(1, sizeof *s);
    if (!s || !(s->f = open_memstream(&s->cases, &s->n)))
        abort();
    if (m->help)
        take_help_of(s, m);
    else
        take_table(s, m);
    fclose(s->f);
    fprintf(f,
            "# bash completion for %s; made by the build from the program's own tables\n"
            "_%s() {\n"
            "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}\n"
            "    COMPREPLY=()\n"
            "    case $prev in\n%s"
            "    esac\n"
            "    if [[ $cur == -* ]]; then\n"
            "        COMPREPLY=($(compgen -W \"%s\" -- \"$cur\"))\n",
            m->name, m->name, s->cases, s->names);
    if (*s->commands)
        fprintf(f, "    else\n        COMPREPLY=($(compgen -W \"%s\" -- \"$cur\"))\n", s->commands);
    fprintf(f, "    fi\n}\ncomplete -F _%s %s\n", m->name, m->name);
    free(s->cases);
    free(s);
}
