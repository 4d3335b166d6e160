/*
 * Text for a terminal: what a server says, made harmless, and tables that fit the width.
 */
#ifndef PH_CMD_TURNCTL_TABLE_H
#define PH_CMD_TURNCTL_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { PH_CTL_COLUMNS = 12 };

/* Copies UTF-8 text; what could steer a terminal or turn the writing round (controls, invisible direction marks, broken
 * UTF-8) is written \xHH or \u{HHHH}; newlines too, unless `lines`.  NULL text gives "-".  To be freed; aborts when there
 * is no memory. */
char *ph_ctl_plain(const char *text, bool lines);

/* Characters of UTF-8 text, as columns of a terminal. */
size_t ph_ctl_width(const char *text);

struct ph_ctl_table {
    unsigned columns;
    const char *head[PH_CTL_COLUMNS];
    bool right[PH_CTL_COLUMNS];  /* aligned, for numbers */
    bool shrink[PH_CTL_COLUMNS]; /* may be cut when the table is too wide; cut ends in ".." */
    char **cell;                 /* rows * columns, plain text; owned */
    size_t rows, room;
};

/* Adds a row of `columns` texts, which are made plain. */
void ph_ctl_row(struct ph_ctl_table *t, const char *const *text);

/* Prints it.  width: of the terminal, 0: whatever it takes. */
void ph_ctl_print(const struct ph_ctl_table *t, unsigned width, FILE *f);
void ph_ctl_table_fini(struct ph_ctl_table *t);

/* The columns of standard output: $COLUMNS, the terminal's, or 0 when it is no terminal. */
unsigned ph_ctl_terminal(void);

/* "1.2k", "34.5M": a number in at most five characters. */
const char *ph_ctl_short(char dst[static 16], double v);

/* "59s", "12m05s", "3h20m", "5d04h". */
const char *ph_ctl_span(char dst[static 24], double seconds);

#endif
