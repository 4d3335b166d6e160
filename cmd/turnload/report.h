/*
 * The result of a run, for people and for machines: two prints of the same struct.
 */
#ifndef PH_CMD_TURNLOAD_REPORT_H
#define PH_CMD_TURNLOAD_REPORT_H

#include "cmd/turnload/args.h"
#include "cmd/turnload/stats.h"

#include <stdio.h>

struct ph_load_report {
    const struct ph_load_args *args;
    struct ph_addr server;
    const struct ph_load_stats *stats;
    bool stopped; /* by Ctrl-C */
};

/* Why the run failed, or NULL if it passed. */
const char *ph_load_report_verdict(const struct ph_load_report *r);

void ph_load_report_text(const struct ph_load_report *r, FILE *f);
void ph_load_report_json(const struct ph_load_report *r, FILE *f);

#endif
