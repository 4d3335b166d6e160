/*
 * turnd's configuration: coturn's keys and ours as a plain struct.
 *
 * Three steps, none of which opens a socket:
 *
 *     ph_tconf_read                  file and command line -> struct ph_tconf, every value checked
 *     ph_tconf_acl, ph_tconf_auth    peer policy and credentials
 *     ph_tplan_make (plan.h)         which listeners and relays there will be
 *
 * Mistakes become messages in `opts` that name file, line and key; then nothing may be started.
 */
#ifndef PH_TURND_CONF_H
#define PH_TURND_CONF_H

#include "cmd/common/options.h"
#include "stun/base/addr.h"
#include "turn/acl.h"
#include "turn/auth.h"
#include "turn/server.h"

#include <stdbool.h>
#include <stdint.h>

#define PH_TCONF_UNSET UINT32_MAX

enum { PH_TCONF_EXTERNALS = 2 * PH_TURND_RELAYS };

/* external-ip: what clients are told instead of an address of ours. */
struct ph_tconf_external {
    struct ph_addr pub;
    struct ph_addr priv; /* PH_AF_NONE: every address of the family */
};

/* The words of log-format and allocation-default-address-family, in their order. */
enum { PH_TCONF_LOG_TEXT, PH_TCONF_LOG_JSON };
enum { PH_TCONF_IPV4, PH_TCONF_IPV6, PH_TCONF_KEEP };

struct ph_tconf {
    struct ph_opts *opts; /* owns all text */
    char file[1024];      /* the file that was read, "" when none */

    /* For the command line alone. */
    bool help, version, check, no_file;
    const char *file_wanted;

    /* Listening. */
    struct ph_addr listen[PH_TURND_LISTENERS], aux[PH_TURND_LISTENERS];
    unsigned n_listen, n_aux;
    uint32_t port, alt_port; /* alt_port 0: port + 1 */
    const char *device, *relay_device;
    uint32_t sock_buf; /* bytes, 0: the shell's default */

    /* Relays. */
    struct ph_addr relay[PH_TURND_RELAYS];
    unsigned n_relay;
    struct ph_tconf_external external[PH_TCONF_EXTERNALS];
    unsigned n_external;
    uint32_t min_port, max_port;
    uint32_t threads; /* PH_TCONF_UNSET: as many as CPUs */
    uint32_t cpus;    /* 0: ask the system */
    uint32_t family;  /* PH_TCONF_IPV4 ... */
    bool keep_family;
    uint32_t max_lifetime_s, channel_lifetime_s, permission_lifetime_s;
    bool no_udp_relay;
    struct ph_addr alternate;

    /* STUN. */
    bool stun_only, no_stun, rfc5780, always_mapped, fingerprint, software, long_reasons;
    bool channels_5766;

    /* Credentials. */
    bool lt_cred_mech, no_auth, use_auth_secret;
    const char *realm; /* NULL until ph_tconf_read has chosen one */
    char realm_buf[256];
    const char *separator, *nonce_secret;
    uint32_t stale_nonce_s;

    /* Limits. */
    uint32_t user_quota, total_quota;
    bool no_budget;
    uint32_t budget_burst, budget_rate, budget_prefix_burst, budget_prefix_rate;
    uint32_t ratelimit_rps;

    /* Peers. */
    bool allow_loopback, allow_private, no_multicast;

    /* Logging. */
    bool verbose, very_verbose, no_stdout_log, simple_log, syslog, new_timestamp, log_binding;
    const char *log_file, *syslog_facility, *timestamp_format;
    uint32_t log_level; /* enum ph_log_level */
    uint32_t log_format;

    /* Process. */
    bool daemon;
    const char *pidfile, *user, *group;
};

/* Every key: coturn's and ours. */
extern const struct ph_opt ph_tconf_table[];
extern const size_t ph_tconf_table_n;

/* The defaults. */
void ph_tconf_init(struct ph_tconf *c);

/* Reads argv and the file it names (or the one that is found where coturn looks), then checks it all.  Overwrites
 * secrets in argv.  ph_opts_failed(c->opts) tells whether it may be used; with c->help and c->version no file is
 * read.  Call ph_tconf_fini in any case. */
void ph_tconf_read(struct ph_tconf *c, int argc, char **argv);

/* The second half of ph_tconf_read, for what is already in c->opts: stores and checks. */
void ph_tconf_apply(struct ph_tconf *c);

/* Wipes and frees. */
void ph_tconf_fini(struct ph_tconf *c);

/* The peer policy.  NULL when out of memory; bad rules become errors, so call it once. */
struct ph_acl *ph_tconf_acl(struct ph_tconf *c);

/* The users and secrets, in memory of their own.  The same. */
struct ph_auth *ph_tconf_auth(struct ph_tconf *c, const struct ph_env *env);

/* The nonces: with the key of a fleet (stateless-nonce-secret), or one made up now. */
void ph_tconf_nonce(const struct ph_tconf *c, const struct ph_env *env, struct ph_nonce_conf *out);

/* Whether clients must authenticate: everything but no-auth. */
bool ph_tconf_wants_auth(const struct ph_tconf *c);

/* The budget of a worker. */
struct ph_budget_conf ph_tconf_budget(const struct ph_tconf *c);

/* Looks for a file as coturn does: as given if it begins with "/" or "~", else in a list of folders.  True and
 * its path if it is there (whether or not it may be read). */
bool ph_tconf_find_file(const char *name, char *path, size_t n);

#endif
