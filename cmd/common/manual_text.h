/* How help text is taken apart; for manual*.c alone. */
#ifndef PH_CMD_MANUAL_TEXT_H
#define PH_CMD_MANUAL_TEXT_H

#include <stdbool.h>
#include <stddef.h>

enum ph_help_kind {
    PH_HELP_BLANK,
    PH_HELP_HEADING,
    PH_HELP_SUBHEADING,
    PH_HELP_TERM, /* with what it means */
    PH_HELP_TEXT
};

/* A line of help text.  Pieces point into it. */
struct ph_help_line {
    enum ph_help_kind kind;
    bool far; /* TEXT: it stands where meanings stand, so it belongs to the term before */
    const char *text;
    size_t n; /* of the heading, the text, or what a term means (0: on the next line) */
    const char *term;
    size_t term_n;
};

/* Takes the next line; false at the end. */
bool ph_help_next(const char **text, struct ph_help_line *line);

/* Takes the next word of a term ("-x,", "--name", "VALUE"); a comma at its end is not part of it.  False at the end. */
bool ph_help_word(struct ph_help_line *line, const char **word, size_t *n);

#endif
