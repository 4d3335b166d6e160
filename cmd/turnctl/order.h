/*
 * Orders whose outcome is in the status later on: upgrade and adopt.
 */
#ifndef PH_CMD_TURNCTL_ORDER_H
#define PH_CMD_TURNCTL_ORDER_H

#include "cmd/turnctl/args.h"

#include <jansson.h>

/* What turnctl ends with. */
enum { PH_CTL_DONE, PH_CTL_REFUSED, PH_CTL_WRONG, PH_CTL_UNREACHABLE };

/* Asks, and reads the answer as JSON: *o, to be released (also then NULL).  Says what is wrong.  One of the above. */
int ph_ctl_ask(const struct ph_ctl_args *a, const char *method, const char *target,
               const char *body, json_t **o);

/* Each begins it, waits for the outcome (a bounded time) and shows it. */
int ph_ctl_upgrade(const struct ph_ctl_args *a);
int ph_ctl_adopt(const struct ph_ctl_args *a);

#endif
