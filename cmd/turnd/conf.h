/*
 * turnd's configuration: coturn's keys and ours as a plain struct.
 *
 * Steps, none of which opens a socket:
 *
 *     ph_tconf_read                  file, environment, command line -> struct ph_tconf, every value checked
 *     ph_tconf_acl, ph_tconf_auth    peer policy and credentials of each realm (reads users-file)
 *     ph_tconf_tls                   certificates (reads their files)
 *     ph_tplan_make (plan.h)         which listeners and relays there will be
 *
 * Mistakes become messages in `opts` that name file, line and key; then nothing may be started.
 */
#ifndef PH_TURND_CONF_H
#define PH_TURND_CONF_H

#include "cmd/common/options.h"
#include "stun/base/addr.h"
#include "stun/uv/tls.h"
#include "turn/acl.h"
#include "turn/auth.h"
#include "turn/fleet.h"
#include "turn/fleetkey.h"
#include "turn/server.h"
#include "turn/store/redis.h"
#include "turn/store/store.h"

#include <stdbool.h>
#include <stdint.h>

#define PH_TCONF_UNSET UINT32_MAX

/* The socket of the API, in the folder that the systemd unit makes. */
#define PH_TCONF_API_SOCKET "/run/turnd/turnd.sock"

enum {
    PH_TCONF_EXTERNALS = 2 * PH_TURND_RELAYS,
    PH_TCONF_REALM = 128, /* RFC 8489 14.9: fewer than 128 characters; and the terminator */
    PH_TCONF_PATH = 1024,
    PH_TCONF_TOKEN = 256,
    PH_TCONF_ADOPT = 32,
    PH_TCONF_DEFAULT = -1 /* the default realm, where the number of a realm is asked for */
};

/* external-ip: what clients are told instead of an address of ours. */
struct ph_tconf_external {
    struct ph_addr pub;
    struct ph_addr priv; /* PH_AF_NONE: every address of the family */
};

/* A realm besides the default one. */
struct ph_tconf_realm {
    char name[PH_TCONF_REALM];
    uint64_t max_bps;                     /* 0: the default realm's */
    bool own_user_quota, own_total_quota; /* given; then: */
    uint32_t user_quota, total_quota;     /* 0: no limit */
};

/* The words of log-format and allocation-default-address-family, in their order. */
enum { PH_TCONF_LOG_TEXT, PH_TCONF_LOG_JSON };
enum { PH_TCONF_IPV4, PH_TCONF_IPV6, PH_TCONF_KEEP };
enum { PH_TCONF_REDIRECT_NEVER, PH_TCONF_REDIRECT_DRAIN, PH_TCONF_REDIRECT_LOAD };

struct ph_tconf {
    struct ph_opts *opts;     /* owns all text */
    char file[PH_TCONF_PATH]; /* the file that was read, "" when none */
    char dir
        [PH_TCONF_PATH]; /* where relative names of files begin: the folder the program was started in */

    /* For the command line alone. */
    bool help, version, check, print, no_file, state_version;
    const char *file_wanted;

    /* Listening. */
    struct ph_addr listen[PH_TURND_LISTENERS], aux[PH_TURND_LISTENERS], proxy[PH_TURND_LISTENERS];
    unsigned n_listen, n_aux, n_proxy;
    uint32_t port, alt_port;         /* alt_port 0: port + 1 */
    uint32_t tls_port, alt_tls_port; /* the same */
    uint32_t proxy_port;             /* 0: none */
    bool no_udp, no_tcp, no_tls, no_dtls, http_400;
    const char *device, *relay_device;
    uint32_t sock_buf; /* bytes, 0: the shell's default */

    /* Certificates. */
    const char *key_password, *ca_file, *ciphers, *curves, *dh_file;
    bool tls1_0, tls1_1, no_tls1_2;
    char default_cert[PH_TCONF_PATH],
        default_key[PH_TCONF_PATH]; /* found without cert=; "": none */

    /* Relays. */
    struct ph_addr relay[PH_TURND_RELAYS];
    unsigned n_relay;
    struct ph_tconf_external external[PH_TCONF_EXTERNALS];
    unsigned n_external;
    uint32_t min_port, max_port;
    uint32_t port_pool; /* ports from min_port on that relays share, 0: none */
    uint32_t threads;   /* PH_TCONF_UNSET: as many as CPUs, or one with a pool */
    uint32_t cpus;      /* 0: ask the system */
    uint32_t family;    /* PH_TCONF_IPV4 ... */
    bool keep_family;
    uint32_t max_lifetime_s, channel_lifetime_s, permission_lifetime_s;
    bool no_udp_relay, no_tcp_relay, mobility;

    /* Other servers; proto says for which clients, PH_PROTO_NONE: all. */
    struct ph_addr alternate[PH_TURND_ALTERNATES], drain_alternate[PH_TURND_ALTERNATES];
    unsigned n_alternates, n_drain_alternates;

    /* STUN. */
    bool stun_only, no_stun, rfc5780, always_mapped, fingerprint, software, long_reasons;
    bool channels_5766;

    /* Credentials. */
    bool lt_cred_mech, no_auth, use_auth_secret, strict_expiry, oauth;
    const char *realm; /* NULL until ph_tconf_read has chosen one */
    char realm_buf[256];
    const char *separator, *nonce_secret, *users_file, *server_name;
    uint32_t stale_nonce_s;
    struct ph_tconf_realm more_realm[PH_TURND_REALMS];
    unsigned n_more_realms;
    const char *redis_userdb;
    struct ph_redis_conf redis; /* read from it */
    const char *redis_statsdb;
    struct ph_redis_conf stats_redis; /* read from it */
    bool no_db_peers, no_db_realms;

    /* Limits. */
    uint32_t user_quota, total_quota;
    uint64_t max_bps, user_max_bps, bps_capacity; /* bytes a second, 0: none */
    const char *peer_rate;
    uint32_t new_peers_rate, new_peers_burst; /* read from it */
    uint32_t max_conns, max_conns_per_ip;     /* 0: the shell's default */
    bool no_budget;
    uint32_t budget_burst, budget_rate, budget_prefix_burst, budget_prefix_rate;
    uint32_t ratelimit_rps;

    /* Peers. */
    bool allow_loopback, allow_private, no_multicast;

    /* Operation. */
    struct ph_addr http, api, web; /* PH_AF_NONE: none */
    bool prometheus, prom_users, prom_tls;
    struct ph_addr prom_ip;
    uint32_t prom_port;
    const char *prom_path, *prom_cert, *prom_key;
    const char *api_socket; /* NULL: PH_TCONF_API_SOCKET if that is possible; "": none */
    const char *api_socket_mode;
    uint32_t api_mode; /* read from it */
    const char *api_token, *api_token_file;
    char token[PH_TCONF_TOKEN]; /* "": none */
    char test_secret[65];       /* made up for the users of the web page's test; "": none */
    bool web_admin;
    struct ph_addr web_ip;
    uint32_t web_port;
    uint32_t drain_timeout_s, drain_min, grace_s;

    /* State that outlives the process. */
    const char *statedb;              /* NULL: none */
    struct ph_redis_conf state_redis; /* read from it */
    struct ph_fleet_keys fleet;       /* n = 0: none */
    const char *node_id;
    char node[PH_STORE_NAME]; /* what this one is called; "" when it has no name and needs none */
    uint32_t state_wait_ms;
    bool free_bind;
    char adopt[PH_TCONF_ADOPT][PH_STORE_NAME]; /* nodes whose allocations may be taken over */
    unsigned n_adopt;
    uint32_t fleet_redirect; /* PH_TCONF_REDIRECT_... */
    struct ph_addr fleet_address[PH_FLEET_AT];
    unsigned n_fleet_address;

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

/* The variables that are keys: TURND_ and the name. */
extern const struct ph_opt_env ph_tconf_env;

/* The defaults. */
void ph_tconf_init(struct ph_tconf *c);

/* Reads argv and the file it names (or the one that is found where coturn looks), then checks it all.  Overwrites
 * secrets in argv.  ph_opts_failed(c->opts) tells whether it may be used; with c->help, c->version and c->print no
 * file is read.  Call ph_tconf_fini in any case. */
void ph_tconf_read(struct ph_tconf *c, int argc, char **argv);

/* The same again for a running program: the command line of `was`, and what its file says now.  c is initialised here. */
void ph_tconf_reread(struct ph_tconf *c, const struct ph_tconf *was);

/* The second half of ph_tconf_read, for what is already in c->opts: stores and checks. */
void ph_tconf_apply(struct ph_tconf *c);

/* Wipes and frees. */
void ph_tconf_fini(struct ph_tconf *c);

/* The peer policy of a realm.  NULL when out of memory; bad rules become errors, so call it once. */
struct ph_acl *ph_tconf_acl(struct ph_tconf *c, int realm);

/* Whether a realm has rules of its own. */
bool ph_tconf_has_acl(const struct ph_tconf *c, int realm);

/* The users and secrets of a realm, in memory of their own.  The same. */
struct ph_auth *ph_tconf_auth(struct ph_tconf *c, int realm, const struct ph_env *env);

/* Calls fn for the value behind the realm's name of every `key` (realm-origin ...) that is given for it. */
void ph_tconf_each_of_realm(const struct ph_tconf *c, const char *key, int realm,
                            void (*fn)(void *ctx, const char *value), void *ctx);

/* The OAuth keys.  Bad ones become errors.  Returns how many. */
unsigned ph_tconf_oauth(struct ph_tconf *c, struct ph_oauth_key v[static PH_TURND_OAUTH_KEYS]);

/* The nonces: with the key of a fleet (stateless-nonce-secret), or one made up now. */
void ph_tconf_nonce(const struct ph_tconf *c, const struct ph_env *env, struct ph_nonce_conf *out);

/* Whether clients must authenticate: everything but no-auth. */
bool ph_tconf_wants_auth(const struct ph_tconf *c);

/* Whether a text can be the name of a node. */
bool ph_tconf_is_node(const char *name);

/* The budget of a worker. */
struct ph_budget_conf ph_tconf_budget(const struct ph_tconf *c);

/* Whether there is a certificate that TLS or DTLS is to use; the files are not opened. */
bool ph_tconf_has_tls(const struct ph_tconf *c);

/* Loads the certificates.  NULL when there are none or they cannot be used; the latter becomes an error, what is
 * merely odd a warning.  The caller gets a reference. */
struct ph_tls *ph_tconf_tls(struct ph_tconf *c);

/* The files of a certificate and key for HTTP (prometheus-tls), into paths of PH_TCONF_PATH bytes.  False: none. */
bool ph_tconf_http_cert(const struct ph_tconf *c, char *cert, char *key);

/* Looks for a file as coturn does: as given if it begins with "/" or "~", else in a list of folders.  True and
 * its path if it is there (whether or not it may be read). */
bool ph_tconf_find_file(const char *name, char *path, size_t n);

/* A file's name for opening it at any time: relative ones begin at c->dir.  Returns dst. */
const char *ph_tconf_path(const struct ph_tconf *c, const char *name,
                          char dst[static PH_TCONF_PATH]);

#endif
