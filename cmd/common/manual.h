/*
 * Manual pages and bash completion, made from what the programs read their options by, so that neither can drift.
 *
 * A program has a file man.c, which the build makes a little generator of (NAME_man, not installed):
 *
 *     int main(int argc, char **argv) { return ph_manual_main(argc, argv, &(struct ph_manual){...}); }
 *     turnd_man man FILE          turnd_man completion FILE
 *
 * Text is in the shape of our --help: headings in capitals at the margin, paragraphs indented by four, terms ("-x, --name VALUE",
 * or anything followed by two spaces) with what they mean to the right, sub-headings indented by two.
 */
#ifndef PH_CMD_MANUAL_H
#define PH_CMD_MANUAL_H

#include "cmd/common/options.h"

#include <stdio.h>

struct ph_manual {
    const char *name;
    int section;
    const char *head;           /* text: NAME, SYNOPSIS, DESCRIPTION ... */
    const struct ph_opt *table; /* the options (n_table), as OPTIONS; NULL: they are in the text */
    size_t n_table;
    const char *tail;      /* more text, or NULL */
    void (*help)(FILE *f); /* all of it is this text; then the others are NULL */
};

/* Writes a page in man(7)'s macros. */
void ph_manual_page(const struct ph_manual *m, FILE *f);

/* Writes a bash completion script. */
void ph_manual_completion(const struct ph_manual *m, FILE *f);

/* The generator's main: 0, or 1 with a line on stderr. */
int ph_manual_main(int argc, char **argv, const struct ph_manual *m);

#endif
