/*
 * The functional tests of --check.
 */
#ifndef PH_CMD_TURNLOAD_CHECK_H
#define PH_CMD_TURNLOAD_CHECK_H

#include "cmd/turnload/args.h"

/* Runs all checks against a resolved server and prints what came of each.  Returns the exit status:
 * 0 if none failed, else 1. */
int ph_load_check_run(const struct ph_load_args *a, const struct ph_addr *server);

#endif
