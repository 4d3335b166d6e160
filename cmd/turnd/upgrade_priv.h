/*
 * What the files of the upgrade share; for nobody else.
 *
 *   upgrade.c         leaving, and arriving
 *   upgrade_check.c   running the new program beside us
 */
#ifndef PH_TURND_UPGRADE_PRIV_H
#define PH_TURND_UPGRADE_PRIV_H

#include "cmd/turnd/upgrade.h"

enum {
    PH__TUPGRADE_OUTPUT = 16384 /* bytes of a check's output that are looked at: the last ones */
};

enum ph__tupgrade_check { PH__CHECK_STATE, PH__CHECK_CONFIG };

struct ph_tupgrade {
    uv_loop_t *loop;
    struct ph_tops *ops;
    const struct ph_tself *self;
    struct ph_tupgrade_view view;
    bool due;

    enum ph__tupgrade_check check;
    uv_process_t child;
    int fd; /* where its output comes from */
    uv_poll_t output_poll;
    uv_timer_t limit;
    bool ended, silent, late; /* the child has; its output has; they have not within the time */
    unsigned closing;         /* handles */
    int64_t status;
    int signal;
    char output[PH__TUPGRADE_OUTPUT + 1];
    size_t n;
};

/* Begins a check of view.program.  0 or -errno. */
int ph__tupgrade_run(struct ph_tupgrade *u, enum ph__tupgrade_check check);

/* Both checks have passed; or not, for this reason. */
void ph__tupgrade_passed(struct ph_tupgrade *u);
void ph__tupgrade_failed(struct ph_tupgrade *u, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
