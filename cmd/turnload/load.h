/*
 * A load run: threads, progress lines, Ctrl-C, report.
 */
#ifndef PH_CMD_TURNLOAD_LOAD_H
#define PH_CMD_TURNLOAD_LOAD_H

#include "cmd/turnload/args.h"

/* Runs the load against a resolved server and prints the report.  Returns the exit status. */
int ph_load_run(const struct ph_load_args *a, const struct ph_addr *server);

#endif
