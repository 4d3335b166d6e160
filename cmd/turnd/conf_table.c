/*
 * Every key of turnserver.conf, of coturn 4.6.1 and 4.17, and our own: what turnd does with it.
 *
 * A key is honoured, ignored (the note says why; PH_OPT_TELL: it is worth a line at the start, since somebody
 * counts on it) or refused (running without it would be wrong; the note says what to do).  `standard` is the
 * default of coturn 4.17.
 */
#include "cmd/turnd/conf.h"

#include "cmd/common/log.h"

#define AT(member) .offset = (uint32_t)offsetof(struct ph_tconf, member)
#define NOWHERE    .offset = PH_OPT_NOWHERE

/* Headings and the shapes of rows. */
#define GROUP(text)                                                                                \
    {                                                                                              \
        .help = (text)                                                                             \
    }
#define SWITCH(key, ch, member, std, ...)                                                          \
    {                                                                                              \
        .name = (key), .letter = (ch), .kind = PH_OPT_BOOL, AT(member), .standard = (std),         \
        __VA_ARGS__                                                                                \
    }
#define NUMBER(key, ch, member, lo, hi, std, ...)                                                  \
    {                                                                                              \
        .name = (key), .letter = (ch), .kind = PH_OPT_UINT, AT(member), .min = (lo), .max = (hi),  \
        .standard = (std), __VA_ARGS__                                                             \
    }
#define TEXT(key, ch, member, ...)                                                                 \
    {                                                                                              \
        .name = (key), .letter = (ch), .kind = PH_OPT_TEXT, AT(member), __VA_ARGS__                \
    }
#define LIST(key, ch, ...)                                                                         \
    {                                                                                              \
        .name = (key), .letter = (ch), .kind = PH_OPT_OTHER, NOWHERE, .flags = PH_OPT_REPEAT,      \
        __VA_ARGS__                                                                                \
    }
#define SECRETS(key, ch, how, ...)                                                                 \
    {                                                                                              \
        .name = (key), .letter = (ch), .kind = PH_OPT_OTHER, NOWHERE,                              \
        .flags = PH_OPT_REPEAT | (how), __VA_ARGS__                                                \
    }
#define IGNORE_IF(key, why)                                                                        \
    {                                                                                              \
        .name = (key), .kind = PH_OPT_BOOL, NOWHERE, .status = PH_OPT_IGNORED, .note = (why)       \
    }
#define IGNORE(key, ch, why)                                                                       \
    {                                                                                              \
        .name = (key), .letter = (ch), .kind = PH_OPT_OTHER, NOWHERE, .status = PH_OPT_IGNORED,    \
        .note = (why)                                                                              \
    }
#define TELL_IF(key, why)                                                                          \
    {                                                                                              \
        .name = (key), .kind = PH_OPT_BOOL, NOWHERE, .status = PH_OPT_IGNORED,                     \
        .flags = PH_OPT_TELL, .note = (why)                                                        \
    }
#define TELL(key, ch, why)                                                                         \
    {                                                                                              \
        .name = (key), .letter = (ch), .kind = PH_OPT_OTHER, NOWHERE, .status = PH_OPT_IGNORED,    \
        .flags = PH_OPT_TELL, .note = (why)                                                        \
    }
#define TELL_SECRET(key, why)                                                                      \
    {                                                                                              \
        .name = (key), .kind = PH_OPT_OTHER, NOWHERE, .status = PH_OPT_IGNORED,                    \
        .flags = PH_OPT_TELL | PH_OPT_SECRET, .note = (why)                                        \
    }
#define REFUSE_IF(key, why)                                                                        \
    {                                                                                              \
        .name = (key), .kind = PH_OPT_BOOL, NOWHERE, .status = PH_OPT_REFUSED, .note = (why)       \
    }
#define REFUSE_SECRET(key, ch, why)                                                                \
    {                                                                                              \
        .name = (key), .letter = (ch), .kind = PH_OPT_OTHER, NOWHERE, .status = PH_OPT_REFUSED,    \
        .flags = PH_OPT_SECRET, .note = (why)                                                      \
    }

#define UDP_ONLY "this version serves UDP only"
#define NO_TLS   "for TLS and DTLS: this version serves UDP only"
#define NO_HTTP  "for HTTP on TCP listeners: this version serves UDP only"
#define NO_SQL   "no SQL databases here: put users into user= lines, or use static-auth-secret"
#define NO_REDIS                                                                                   \
    "this version does not speak to Redis: remove the key, and put users into user= lines or "     \
    "use static-auth-secret"
#define NO_DB          "there is no user database to ask"
#define NO_CONSOLE     "there is no telnet console"
#define NO_WEB         "there is no web console"
#define NO_METRICS     "this version has no metrics endpoint"
#define ALWAYS_BATCHED "packets are always received and sent in batches, with GSO and GRO"
#define NO_MULTIPLEX   "every allocation has a relay socket of its own"
#define OBSOLETE       "obsolete, also in coturn"

const struct ph_opt ph_tconf_table[] = {
    GROUP("Program:"),
    {.name = "config",
     .letter = 'c',
     .kind = PH_OPT_TEXT,
     AT(file_wanted),
     .words = "FILE",
     .flags = PH_OPT_ARGV,
     .help =
         "Configuration file; looked for as turnserver.conf in ., ./etc, /etc, /etc/turnserver, "
         "/etc/coturn, /usr/local/etc and so on"},
    {.name = "no-config",
     .letter = 'n',
     .kind = PH_OPT_BOOL,
     AT(no_file),
     .flags = PH_OPT_ARGV,
     .help = "Read no configuration file"},
    {.name = "check-config",
     .kind = PH_OPT_BOOL,
     AT(check),
     .flags = PH_OPT_ARGV,
     .help = "Say what would be done with every key and end: status 0, or 2 if it cannot work"},
    {.name = "version",
     .kind = PH_OPT_BOOL,
     AT(version),
     .flags = PH_OPT_ARGV,
     .help = "Print the version and end"},
    {.name = "help",
     .letter = 'h',
     .kind = PH_OPT_BOOL,
     AT(help),
     .flags = PH_OPT_ARGV,
     .help = "Print this text and end"},

    GROUP("Listening:"),
    LIST("listening-ip", 'L', .words = "IP",
         .help = "Address to listen on, repeatable; every address of the machine if not given"),
    NUMBER("listening-port", 'p', port, 0, 65535, "3478", .words = "PORT",
           .help = "Port to listen on, 3478"),
    NUMBER("alt-listening-port", 0, alt_port, 0, 65535, "0", .words = "PORT",
           .help = "Second port for RFC 5780, listening-port plus one"),
    LIST("aux-server", 0, .words = "IP:PORT",
         .help = "One more listener, without RFC 5780; repeatable"),
    TEXT("listening-device", 'd', device, .words = "NIC", .help = "Bind listeners to this device"),
    NUMBER("sock-buf-size", 0, sock_buf, 1, 1U << 30, "2097152", .words = "BYTES",
           .help = "Buffers of a listener's socket, 4 MB cut to what the system allows"),

    GROUP("Relaying:"),
    LIST("relay-ip", 'E', .words = "IP",
         .help = "Address for relays, repeatable; the listening addresses if not given"),
    LIST(
        "external-ip", 'X', .words = "PUBLIC[/PRIVATE]",
        .help = "Public address that clients are told instead of the one bound (behind a 1:1 NAT): "
                "of all addresses of its family, or of PRIVATE alone; repeatable",
        .note = "PRIVATE is not added to the allowed peers: our own live relay ports are reachable "
                "anyway"),
    TEXT("relay-device", 'i', relay_device, .words = "NIC", .help = "Bind relays to this device"),
    NUMBER("min-port", 0, min_port, 1, 65535, "49152", .words = "PORT",
           .help = "First port for relays, 49152"),
    NUMBER("max-port", 0, max_port, 1, 65535, "65535", .words = "PORT",
           .help = "Last port for relays, 65535"),
    NUMBER("relay-threads", 'm', threads, 0, 128, NULL, .words = "N",
           .help = "Worker threads, one for each CPU; 0: all in the main thread"),
    NUMBER("cpus", 0, cpus, 1, 128, NULL, .words = "N",
           .help = "How many CPUs to count on for relay-threads"),
    {.name = "allocation-default-address-family",
     .letter = 'A',
     .kind = PH_OPT_CHOICE,
     AT(family),
     .words = "ipv4|ipv6|keep",
     .standard = "ipv4",
     .help = "Family of a relay if the client does not ask for one; keep: the client's"},
    SWITCH("keep-address-family", 'K', keep_family, "no",
           .help = "The same as allocation-default-address-family=keep"),
    NUMBER("max-allocate-lifetime", 0, max_lifetime_s, 1, 0, "3600", .words = "SECONDS",
           .flags = PH_OPT_BARE, .dflt = 3600, .help = "Longest lifetime of an allocation, 3600"),
    NUMBER("channel-lifetime", 0, channel_lifetime_s, 1, 0, "600", .words = "SECONDS",
           .flags = PH_OPT_BARE, .dflt = 600, .help = "Lifetime of a channel binding, 600"),
    NUMBER("permission-lifetime", 0, permission_lifetime_s, 1, 0, "300", .words = "SECONDS",
           .flags = PH_OPT_BARE, .dflt = 300, .help = "Lifetime of a permission, 300"),
    SWITCH("no-udp-relay", 0, no_udp_relay, "no", .help = "Refuse UDP relays"),
    {.name = "alternate-server",
     .kind = PH_OPT_ENDPOINT,
     AT(alternate),
     .min = 3478,
     .words = "IP[:PORT]",
     .help = "Send every client to this server (300 Try Alternate)",
     .note = "only one, the last given"},

    GROUP("STUN:"),
    SWITCH("stun-only", 'S', stun_only, "no", .help = "Do not relay"),
    SWITCH("no-stun", 0, no_stun, "no", .help = "Do not answer Binding requests"),
    SWITCH("rfc5780", 0, rfc5780, "no",
           .help = "NAT behaviour discovery; needs two listening-ip of one family"),
    SWITCH("no-rfc5780", 0, rfc5780, NULL, .flags = PH_OPT_INVERT, .help = "The opposite"),
    SWITCH("stun-backward-compatibility", 0, always_mapped, "no",
           .help = "Add MAPPED-ADDRESS for clients of RFC 3489"),
    SWITCH("no-stun-backward-compatibility", 0, always_mapped, NULL, .flags = PH_OPT_INVERT,
           .help = "The opposite"),
    SWITCH("fingerprint", 'f', fingerprint, "no", .help = "Add FINGERPRINT to every message"),
    SWITCH("software-attribute", 0, software, "no", .help = "Tell clients our name and version"),
    SWITCH("no-software-attribute", 0, software, NULL, .flags = PH_OPT_INVERT,
           .help = "The opposite"),
    SWITCH("prod", 0, software, NULL, .flags = PH_OPT_INVERT,
           .help = "Old name of no-software-attribute"),
    SWITCH("include-reason-string", 0, long_reasons, "no",
           .help = "Send reason phrases in 401 and 438 answers too"),
    SWITCH("rfc5766-channel-numbers", 0, channels_5766, "no",
           .help =
               "Accept channel numbers from 0x5000 to 0x7FFF of old clients; on unless set to no",
           .note = "on by default: Debian's own clients still use them"),

    GROUP("Credentials:"),
    SWITCH("lt-cred-mech", 'a', lt_cred_mech, "no",
           .help = "Long-term credentials: what turnd does anyway unless no-auth is set"),
    SWITCH("no-auth", 'z', no_auth, "no",
           .help = "Let anybody relay.  An open relay will be abused"),
    SECRETS("user", 'u', PH_OPT_SECRET_TAIL, .words = "NAME:PASSWORD",
            .help = "A user, or NAME:0xKEY with MD5(name:realm:password) in hex; repeatable"),
    TEXT("realm", 'r', realm, .words = "REALM",
         .help = "Realm; the domain or host name if not given"),
    SWITCH("use-auth-secret", 0, use_auth_secret, "no",
           .help = "Time-limited users (TURN REST API); static-auth-secret does it too"),
    SECRETS("static-auth-secret", 0, PH_OPT_SECRET, .words = "SECRET",
            .help = "Secret of the TURN REST API; repeatable, for roll-over",
            .note = "may be used together with user="),
    TEXT("rest-api-separator", 'C', separator, .words = "CHAR", .standard = ":",
         .help = "Between time and name of a REST user, ':'"),
    NUMBER("stale-nonce", 0, stale_nonce_s, 0, 0, "600", .words = "SECONDS", .flags = PH_OPT_BARE,
           .dflt = 600, .help = "Lifetime of a nonce, 600; 0: for ever"),
    TEXT("stateless-nonce-secret", 0, nonce_secret, .words = "SECRET", .flags = PH_OPT_SECRET,
         .help = "Makes the nonces of servers with the same secret and realm good for each other"),

    GROUP("Limits:"),
    NUMBER("user-quota", 'q', user_quota, 0, 0, "0", .words = "N",
           .help = "Allocations of a user at a time; 0: no limit"),
    NUMBER("total-quota", 'Q', total_quota, 0, 0, "0", .words = "N",
           .help = "Allocations at a time; 0: no limit"),
    SWITCH("unauthorized-ratelimit", 0, no_budget, "no", .flags = PH_OPT_INVERT,
           .help = "Limit answers to clients that have not authenticated; on unless set to no",
           .note = "on by default, in bytes a second for an address and its prefix"),
    NUMBER("unauthorized-ratelimit-rps", 0, ratelimit_rps, 1, 1000000, "10", .words = "N",
           .flags = PH_OPT_BARE, .dflt = 10,
           .help = "Such answers a second for an address; counted as 128 bytes each"),
    NUMBER("budget-rate", 0, budget_rate, 1, 0, NULL, .words = "BYTES",
           .help = "Bytes a second of such answers for an address (IPv6: a /64), 2048"),
    NUMBER("budget-burst", 0, budget_burst, 1, 0, NULL, .words = "BYTES",
           .help = "Bytes of such answers at once, 4096"),
    NUMBER("budget-prefix-rate", 0, budget_prefix_rate, 1, 0, NULL, .words = "BYTES",
           .help = "The same for its prefix (IPv4: a /24, IPv6: a /48), 16384"),
    NUMBER("budget-prefix-burst", 0, budget_prefix_burst, 1, 0, NULL, .words = "BYTES",
           .help = "Bytes at once for a prefix, 32768"),

    GROUP("Peers:"),
    LIST("allowed-peer-ip", 0, .words = "RANGE",
         .help = "Peers to allow whatever else is said: an address, A-B or A/BITS; repeatable"),
    LIST("denied-peer-ip", 0, .words = "RANGE",
         .help =
             "Peers to deny; repeatable.  Loopback, unspecified, link-local, multicast, private, "
             "carrier NAT, benchmarking and reserved addresses are denied anyway"),
    SWITCH("allow-loopback-peers", 0, allow_loopback, "no", .help = "Allow 127.0.0.0/8 and ::1"),
    SWITCH("allow-private-peers", 0, allow_private, NULL,
           .help =
               "Allow private, carrier NAT, benchmarking and reserved addresses, as coturn does"),
    SWITCH("no-multicast-peers", 0, no_multicast, "no", .help = "Deny multicast: always so",
           .note = "multicast peers are always denied unless allowed-peer-ip names them"),

    GROUP("Logging:"),
    SWITCH("verbose", 'v', verbose, "no", .help = "Log every allocation: always so at level info"),
    SWITCH("Verbose", 'V', very_verbose, "no", .help = "The same as log-min-level=debug"),
    {.name = "log-min-level",
     .kind = PH_OPT_CHOICE,
     AT(log_level),
     .standard = "debug",
     .words = PH_LOGGER_LEVELS,
     .help = "Least important lines to log, info"},
    {.name = "log-format",
     .kind = PH_OPT_CHOICE,
     AT(log_format),
     .words = "text|json",
     .help = "Lines for people or for programs"},
    TEXT("log-file", 'l', log_file, .words = "FILE", .standard = "",
         .help = "Where to log: a file, stdout, - or syslog; standard error if not given"),
    SWITCH("no-stdout-log", 0, no_stdout_log, "no",
           .help = "With a log file: do not log to standard error as well"),
    SWITCH("simple-log", 0, simple_log, "no", .help = "Use log-file's name as it is: always so",
           .note = "no date or process id is ever added to the name"),
    SWITCH("syslog", 0, syslog, "no", .help = "Log to syslog"),
    TEXT("syslog-facility", 0, syslog_facility, .words = "NAME", .standard = "",
         .help = "Facility for syslog, daemon"),
    SWITCH("new-log-timestamp", 0, new_timestamp, "yes", .help = "ISO 8601 times: always so"),
    TEXT("new-log-timestamp-format", 0, timestamp_format, .words = "FORMAT",
         .help = "Format of times in the log, as for strftime(3), with %f for milliseconds"),
    SWITCH("log-binding", 0, log_binding, "no", .help = "Log how many Binding requests there were",
           .note = "once a minute, not a line for each"),

    GROUP("Process:"),
    SWITCH("daemon", 'o', daemon, "no", .help = "Run in the background"),
    TEXT("pidfile", 0, pidfile, .words = "FILE", .standard = "/var/run/turnserver.pid",
         .help = "Write the process id there; not written if not given"),
    TEXT("proc-user", 0, user, .words = "NAME", .help = "User to become once sockets are open"),
    TEXT("proc-group", 0, group, .words = "NAME", .help = "Group to become"),

    GROUP(NULL),
    /* Client transports. */
    TELL("tls-listening-port", 0, NO_TLS),
    TELL("alt-tls-listening-port", 0, NO_TLS),
    TELL("tcp-proxy-port", 0, UDP_ONLY),
    TELL_IF("dtls", NO_TLS),
    REFUSE_IF("no-udp", "this version serves UDP only, so nothing would be left to do"),
    IGNORE_IF("no-tcp", UDP_ONLY),
    IGNORE_IF("no-tls", UDP_ONLY),
    IGNORE_IF("no-dtls", UDP_ONLY),
    IGNORE_IF("no-tcp-relay", "there are no TCP relays in this version"),
    TELL_IF("udp-self-balance", "workers share every listener by themselves"),
    TELL("tls-alternate-server", 0, NO_TLS),
    TELL("tcp-alternate-server", 0, UDP_ONLY),
    TELL("udp-alternate-server", 0, "use alternate-server"),
    IGNORE_IF("respond-http-unsupported", NO_HTTP),
    TELL("acme-redirect", 0, NO_HTTP),

    /* TLS. */
    TELL("cert", 0, NO_TLS),
    TELL("pkey", 0, NO_TLS),
    TELL_SECRET("pkey-pwd", NO_TLS),
    TELL("CA-file", 0, NO_TLS),
    IGNORE("cipher-list", 0, NO_TLS),
    IGNORE("ec-curve-name", 0, NO_TLS),
    IGNORE("dh-file", 0, NO_TLS),
    IGNORE_IF("dh566", NO_TLS),
    IGNORE_IF("dh1066", NO_TLS),
    IGNORE_IF("raw-public-keys", NO_TLS),
    IGNORE_IF("tlsv1", NO_TLS),
    IGNORE_IF("tlsv1_1", NO_TLS),
    IGNORE_IF("no-tlsv1", NO_TLS),
    IGNORE_IF("no-tlsv1_1", NO_TLS),
    IGNORE_IF("no-tlsv1_2", NO_TLS),
    IGNORE_IF("no-sslv2", NO_TLS),
    IGNORE_IF("no-sslv3", NO_TLS),

    /* Relaying and the network. */
    IGNORE("max-allocate-timeout", 0, "nothing is kept for a client before it has an allocation"),
    TELL_IF("server-relay", "peers without permission are never let through"),
    TELL_IF("mobility", "no mobility (RFC 8016) in this version"),
    IGNORE_IF("multiplex-peer", NO_MULTIPLEX),
    IGNORE("multiplex-peer-port", 0, NO_MULTIPLEX),
    IGNORE("multiplex-peer-max-peers", 0, NO_MULTIPLEX),
    IGNORE_IF("udp-recvmmsg", ALWAYS_BATCHED),
    IGNORE_IF("udp-recvmmsg-log", ALWAYS_BATCHED),
    IGNORE_IF("udp-sendmmsg-log", ALWAYS_BATCHED),
    IGNORE_IF("udp-gso", ALWAYS_BATCHED),
    IGNORE("ne", 0, OBSOLETE),
    TELL("max-bps", 's', "no bandwidth limits in this version"),
    TELL("bps-capacity", 'B', "no bandwidth limits in this version"),
    IGNORE("drain-min-allocations", 0, "no draining in this version"),

    /* STUN. */
    TELL_IF("secure-stun", "Binding requests are answered without credentials, within the budget"),
    TELL_IF("rfc3489-compatibility", "requests without magic cookie (RFC 3489) are dropped"),
    IGNORE_IF("response-origin-only-with-rfc5780", "always so"),
    IGNORE_IF("drop-invalid-packets", "always so"),
    IGNORE_IF("drop-invalid-packets-log", "they are counted, not logged"),
    IGNORE_IF("no-loopback-peers", "loopback peers are denied unless allow-loopback-peers is set"),

    /* Credentials. */
    IGNORE("server-name", 0, "for OAuth, which this version does not have"),
    TELL_IF("oauth", "no OAuth (RFC 7635) in this version"),
    IGNORE("secret-ts-exp-time", 0, OBSOLETE),
    IGNORE_IF("stateless-nonce", "nonces are always stateless"),
    IGNORE_IF("no-auth-pings", NO_DB),
    IGNORE_IF("no-dynamic-ip-list", NO_DB),
    IGNORE_IF("no-dynamic-realms", NO_DB),
    IGNORE_IF("check-origin-consistency", "ORIGIN does not choose a realm here"),

    /* Databases. */
    TELL("userdb", 'b', "no SQLite database here: users come from user= and static-auth-secret"),
    TELL("db", 0, "no SQLite database here: users come from user= and static-auth-secret"),
    REFUSE_SECRET("psql-userdb", 'e', NO_SQL),
    REFUSE_SECRET("sql-userdb", 0, NO_SQL),
    REFUSE_SECRET("mysql-userdb", 'M', NO_SQL),
    REFUSE_SECRET("mongo-userdb", 'J',
                  "no MongoDB here: put users into user= lines, or use static-auth-secret"),
    REFUSE_SECRET("redis-userdb", 'N', NO_REDIS),
    REFUSE_SECRET("redis-statsdb", 'O', "this version does not speak to Redis: remove the key"),
    IGNORE("secret-key-file", 0, "for MySQL passwords, and there is no MySQL here"),

    /* Consoles and metrics. */
    TELL_IF("cli", NO_CONSOLE),
    IGNORE_IF("no-cli", NO_CONSOLE),
    IGNORE("cli-ip", 0, NO_CONSOLE),
    IGNORE("cli-port", 0, NO_CONSOLE),
    {.name = "cli-password",
     .kind = PH_OPT_OTHER,
     NOWHERE,
     .status = PH_OPT_IGNORED,
     .flags = PH_OPT_SECRET,
     .note = NO_CONSOLE},
    IGNORE("cli-max-output-sessions", 0, NO_CONSOLE),
    TELL_IF("web-admin", NO_WEB),
    IGNORE("web-admin-ip", 0, NO_WEB),
    IGNORE("web-admin-port", 0, NO_WEB),
    IGNORE_IF("web-admin-listen-on-workers", NO_WEB),
    TELL_IF("prometheus", NO_METRICS),
    IGNORE("prometheus-port", 0, NO_METRICS),
    IGNORE("prometheus-address", 0, NO_METRICS),
    IGNORE("prometheus-path", 0, NO_METRICS),
    IGNORE_IF("prometheus-username-labels", NO_METRICS),
    IGNORE_IF("prometheus-tls", NO_METRICS),
    IGNORE("prometheus-cert", 0, NO_METRICS),
    IGNORE("prometheus-key", 0, NO_METRICS),
};

const size_t ph_tconf_table_n = sizeof ph_tconf_table / sizeof ph_tconf_table[0];
