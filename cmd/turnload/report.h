/*
 * The result of a run, for people and for machines: two prints of the same struct.
 */
#ifndef PH_CMD_TURNLOAD_REPORT_H
#define PH_CMD_TURNLOAD_REPORT_H

#include "cmd/turnload/args.h"
#include "cmd/turnload/stats.h"

#include <stdio.h>

/* What the server process has used while packets were sent (--server-pid). */
struct ph_load_cost {
    bool known;
    ph_ns cpu, user;              /* in all, and of it in user mode */
    uint64_t packets;             /* that came out of it meanwhile */
    uint64_t bytes_before, bytes; /* resident: before the first allocation, with all of them */
};

struct ph_load_report {
    const struct ph_load_args *args;
    struct ph_addr server;
    const struct ph_load_stats *stats;
    struct ph_load_cost cost;
    bool stopped; /* by Ctrl-C */
};

/* Why the run failed, or NULL if it passed. */
const char *ph_load_report_verdict(const struct ph_load_report *r);

void ph_load_report_text(const struct ph_load_report *r, FILE *f);
void ph_load_report_json(const struct ph_load_report *r, FILE *f);

#endif
