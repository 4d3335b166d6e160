/*
 * Help text, line by line.
 */
#include "cmd/common/manual_text.h"

#include <string.h>

enum { INDENT = 4, FAR = 12 };

/* Where a term ends: at two spaces, or at the end of the line. */
static size_t term_length(const char *p, size_t n)
{
    for (size_t i = 0; i + 1 < n; i++)
        if (p[i] == ' ' && p[i + 1] == ' ')
            return i;
    return n;
}

bool ph_help_next(const char **text, struct ph_help_line *line)
{
    const char *p = *text;
    if (!*p)
        return false;
    size_t n = strcspn(p, "\n"), indent = strspn(p, " ");
    *text = p + n + (p[n] == '\n');
    indent = indent < n ? indent : n;
    *line = (struct ph_help_line){.text = p + indent, .n = n - indent};
    size_t term = term_length(line->text, line->n);
    bool option = line->n && *line->text == '-';
    if (line->n == 0) {
        line->kind = PH_HELP_BLANK;
    } else if (indent == 0) {
        line->kind = PH_HELP_HEADING;
    } else if (indent < INDENT) {
        line->kind = PH_HELP_SUBHEADING;
    } else if (indent < FAR && (option || (indent == INDENT && term < line->n))) {
        line->kind = PH_HELP_TERM;
        line->term = line->text;
        line->term_n = term;
        line->text += term;
        line->n -= term;
        while (line->n && *line->text == ' ') {
            line->text++;
            line->n--;
        }
    } else {
        line->kind = PH_HELP_TEXT;
        line->far = indent >= FAR;
    }
    return true;
}

bool ph_help_word(struct ph_help_line *line, const char **word, size_t *n)
{
    while (line->term_n && *line->term == ' ') {
        line->term++;
        line->term_n--;
    }
    *word = line->term;
    *n = 0;
    while (*n < line->term_n && line->term[*n] != ' ')
        ++*n;
    line->term += *n;
    line->term_n -= *n;
    bool there = *n > 0;
    if (there && (*word)[*n - 1] == ',')
        --*n;
    return there;
}
