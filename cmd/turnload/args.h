/*
 * What turnload was asked to do.
 */
#ifndef PH_CMD_TURNLOAD_ARGS_H
#define PH_CMD_TURNLOAD_ARGS_H

#include "stun/base/addr.h"
#include "turn/client.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Payloads carry a header (flow.h); what a scratch buffer of a batch holds is the most. */
enum {
    PH_LOAD_PAYLOAD_MIN = 24,
    PH_LOAD_PAYLOAD_MAX = 1900,
    PH_LOAD_HOST_LEN = 256,
    PH_LOAD_SECRET_LEN = 512
};

struct ph_load_args {
    const char *target; /* as given */
    char host[PH_LOAD_HOST_LEN];
    uint16_t port;
    uint8_t proto; /* to the server: PH_UDP, PH_TCP, PH_TLS, PH_DTLS */
    char user[PH_LOAD_SECRET_LEN], pass[PH_LOAD_SECRET_LEN],
        secret[PH_LOAD_SECRET_LEN]; /* "": not given */

    unsigned allocations, threads, payload, setup_rate;
    unsigned burst;   /* packets of a flow that are sent together */
    bool spin;        /* never sleep */
    unsigned sources; /* local addresses, from `bind` on */
    double rate;      /* packets a second of each flow */
    double duration_s, max_loss;
    bool channels; /* else indications */
    bool pairs;    /* allocations relay to each other */
    enum ph_turnc_family family;
    struct ph_addr peer; /* external echo peer; PH_AF_NONE: our own */
    struct ph_addr bind; /* local IP; PH_AF_NONE: any */
    const char *ca;      /* PEM file; NULL: the server's certificate is not verified */
    bool idle;           /* allocations that nothing is sent through, for duration_s */
    unsigned server_pid; /* whose cost is measured; 0: nobody's */

    bool check, json, quiet;
    int verbose;
};

enum ph_load_args_result { PH_LOAD_ARGS_RUN, PH_LOAD_ARGS_DONE, PH_LOAD_ARGS_WRONG };

/* Reads the command line and the environment (TURNLOAD_PASS, TURNLOAD_SECRET); secrets are wiped
 * from argv. PH_LOAD_ARGS_DONE: help or version was printed; PH_LOAD_ARGS_WRONG: a line on stderr
 * says what is wrong and what would be right. */
enum ph_load_args_result ph_load_args_read(struct ph_load_args *a, int argc, char **argv);

/* With a secret: makes user and pass of it (REST credentials: "unix-time:user", valid for a
 * day). */
void ph_load_args_make_credentials(struct ph_load_args *a, int64_t unix_s);

/* The text that --help prints. */
void ph_load_args_help(FILE *f);

#endif
