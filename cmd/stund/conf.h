/*
 * stund's command line: as a plain struct, and as what the server is given.
 *
 * Mistakes become messages in `opts`, each a line that names the option and what would be right; then
 * nothing may be started.
 */
#ifndef PH_STUND_CONF_H
#define PH_STUND_CONF_H

#include "cmd/common/options.h"
#include "stun/base/addr.h"
#include "stun/uv/server.h"

#include <stdbool.h>
#include <stdint.h>

enum { PH_SCONF_LISTEN = PH_STUN_UV_SERVERS };

/* external-ip: what clients are told instead of an address of ours. */
struct ph_sconf_external {
    struct ph_addr pub;
    struct ph_addr priv; /* PH_AF_NONE: the only address of the family */
};

struct ph_sconf {
    struct ph_opts *opts; /* owns all text */
    bool help, version;

    struct ph_addr listen[PH_SCONF_LISTEN]; /* without port */
    unsigned n_listen;                      /* 0: wildcards of both families */
    struct ph_sconf_external external[PH_SCONF_LISTEN];
    unsigned n_external;
    uint32_t port, alt_port; /* alt_port 0: port + 1 */
    uint32_t workers;
    const char *device;

    bool rfc5780, always_mapped, fingerprint;
    const char *software; /* "": none */

    bool no_budget;
    uint32_t addr_burst, addr_rate, prefix_burst, prefix_rate, prefix4, prefix6;

    uint32_t log_level, log_format; /* places in their lists of words */
    const char *log_file, *log_facility;

    bool daemon;
    const char *pidfile, *user, *group;
};

extern const struct ph_opt ph_sconf_table[];
extern const size_t ph_sconf_table_n;

/* Reads the command line.  ph_opts_failed(c->opts) tells whether it was all right; ph_sconf_fini in any case. */
void ph_sconf_read(struct ph_sconf *c, int argc, char **argv);
void ph_sconf_fini(struct ph_sconf *c);

/* Decides what is served where: two addresses of a family make one RFC 5780 server, unless no-rfc5780 says
 * otherwise; any other address is a plain one.  Mistakes become messages.  Borrows the text of c. */
void ph_sconf_plan(struct ph_sconf *c, struct ph_stun_uv_conf *out);

#endif
