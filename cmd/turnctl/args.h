/*
 * What turnctl was asked to do.
 */
#ifndef PH_CMD_TURNCTL_ARGS_H
#define PH_CMD_TURNCTL_ARGS_H

#include "cmd/turnctl/http.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define PH_CTL_SOCKET "/run/turnd/turnd.sock"

enum ph_ctl_verb {
    PH_CTL_STATUS,
    PH_CTL_SESSIONS,
    PH_CTL_SESSION,
    PH_CTL_END,
    PH_CTL_REVOKE,
    PH_CTL_NODES,
    PH_CTL_COUNTERS,
    PH_CTL_METRICS,
    PH_CTL_DRAIN,
    PH_CTL_UNDRAIN,
    PH_CTL_RELOAD,
    PH_CTL_STOP,
    PH_CTL_LOG_LEVEL,
    PH_CTL_UPGRADE,
    PH_CTL_ADOPT
};

struct ph_ctl_args {
    struct ph_ctl_server server;
    enum ph_ctl_verb verb;
    const char *operand; /* session number, user or level; NULL: none */
    bool json, wait, all;
    const char *user, *realm, *client, *peer, *transport; /* filters; NULL: any */
    uint32_t limit;                                       /* sessions, 0: all */
    bool has_deadline, has_grace;
    uint32_t deadline_s, grace_s;
};

enum ph_ctl_args_result { PH_CTL_ARGS_RUN, PH_CTL_ARGS_DONE, PH_CTL_ARGS_WRONG };

/* Reads the command line and the environment (TURNCTL_SOCKET, TURNCTL_TOKEN).  DONE: help or version was printed; WRONG: a line
 * on stderr says what is wrong and what would be right. */
enum ph_ctl_args_result ph_ctl_args_read(struct ph_ctl_args *a, int argc, char **argv);

/* The text that --help prints. */
void ph_ctl_help(FILE *f);

#endif
