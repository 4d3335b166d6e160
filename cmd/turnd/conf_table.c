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
#define LIVE       PH_OPT_LIVE

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
#define WORD(key, member, ...)                                                                     \
    {                                                                                              \
        .name = (key), .kind = PH_OPT_CHOICE, AT(member), __VA_ARGS__                              \
    }
#define AT_IP(key, member, ...)                                                                    \
    {                                                                                              \
        .name = (key), .kind = PH_OPT_IP, AT(member), __VA_ARGS__                                  \
    }
#define AT_PORT(key, member, port, ...)                                                            \
    {                                                                                              \
        .name = (key), .kind = PH_OPT_ENDPOINT, AT(member), .min = (port), __VA_ARGS__             \
    }
/* Text that the program takes itself. */
#define OTHER(key, ch, how, ...)                                                                   \
    {                                                                                              \
        .name = (key), .letter = (ch), .kind = PH_OPT_OTHER, NOWHERE, .flags = (how), __VA_ARGS__  \
    }
#define LIST(key, ch, how, ...) OTHER(key, ch, PH_OPT_REPEAT | (how), __VA_ARGS__)
#define ARGUMENT(key, ch, what, member, ...)                                                       \
    {                                                                                              \
        .name = (key), .letter = (ch), .kind = (what), AT(member), .flags = PH_OPT_ARGV,           \
        __VA_ARGS__                                                                                \
    }

/* What is not honoured: IGNORE says nothing at the start, TELL does; ..._IF: a switch. */
#define OUT(key, ch, what, st, how, why)                                                           \
    {                                                                                              \
        .name = (key), .letter = (ch), .kind = (what), NOWHERE, .status = (st), .flags = (how),    \
        .note = (why)                                                                              \
    }
#define IGNORE_IF(key, why)         OUT(key, 0, PH_OPT_BOOL, PH_OPT_IGNORED, 0, why)
#define IGNORE(key, ch, why)        OUT(key, ch, PH_OPT_OTHER, PH_OPT_IGNORED, 0, why)
#define IGNORE_SECRET(key, why)     OUT(key, 0, PH_OPT_OTHER, PH_OPT_IGNORED, PH_OPT_SECRET, why)
#define TELL_IF(key, why)           OUT(key, 0, PH_OPT_BOOL, PH_OPT_IGNORED, PH_OPT_TELL, why)
#define TELL(key, ch, why)          OUT(key, ch, PH_OPT_OTHER, PH_OPT_IGNORED, PH_OPT_TELL, why)
#define REFUSE_SECRET(key, ch, why) OUT(key, ch, PH_OPT_OTHER, PH_OPT_REFUSED, PH_OPT_SECRET, why)

#define NO_SQL                                                                                     \
    "no SQL databases here: put users into user= lines or a users-file, or use "                   \
    "static-auth-secret or redis-userdb"
#define NO_SQLITE                                                                                  \
    "no SQLite database here: users come from user=, users-file, static-auth-secret and "          \
    "redis-userdb"
#define USE_TURNCTL    "there is no telnet console: use turnctl (api-socket)"
#define ALWAYS_BATCHED "packets are always received and sent in batches, with GSO and GRO"
#define NO_MULTIPLEX   "give relay-port-pool: it shares ports also between clients of one peer"
#define OBSOLETE       "obsolete, also in coturn"
#define OPENSSL_DH     "OpenSSL picks parameters that fit the key; dh-file gives others"

const struct ph_opt ph_tconf_table[] = {
    GROUP("Program:"),
    ARGUMENT("config", 'c', PH_OPT_TEXT, file_wanted, .words = "FILE",
             .help = "Configuration file; looked for as turnserver.conf in ., ./etc, /etc, "
                     "/etc/turnserver, /etc/coturn, /usr/local/etc and so on"),
    ARGUMENT("no-config", 'n', PH_OPT_BOOL, no_file, .help = "Read no configuration file"),
    ARGUMENT("check-config", 0, PH_OPT_BOOL, check,
             .help = "Say what would be done with every key, which values would be in force, and "
                     "end: status 0, or 2 if it cannot work"),
    ARGUMENT("print-config", 0, PH_OPT_BOOL, print,
             .help = "Print a sample file with every key and its default, and end"),
    ARGUMENT("version", 0, PH_OPT_BOOL, version, .help = "Print the version and end"),
    ARGUMENT("state-version", 0, PH_OPT_BOOL, state_version,
             .help = "Print which state this program takes over from a running one (turnctl "
                     "upgrade), and end"),
    ARGUMENT("help", 'h', PH_OPT_BOOL, help, .help = "Print this text and end"),

    GROUP("Listening:"),
    LIST("listening-ip", 'L', 0, .words = "IP", .example = "192.0.2.1",
         .help = "Address to listen on, repeatable; every address of the machine if not given"),
    NUMBER("listening-port", 'p', port, 0, 65535, "3478", .words = "PORT",
           .help = "Port for UDP and TCP, 3478; where there is a certificate, also for DTLS and "
                   "TLS, told apart by the first bytes"),
    NUMBER("tls-listening-port", 0, tls_port, 0, 65535, "5349", .words = "PORT",
           .help = "Port for TLS and DTLS, 5349; it takes plain TCP and UDP as well, unless "
                   "no-tcp or no-udp is given"),
    NUMBER("alt-listening-port", 0, alt_port, 0, 65535, "0", .words = "PORT",
           .help = "Second port for RFC 5780, listening-port plus one"),
    NUMBER("alt-tls-listening-port", 0, alt_tls_port, 0, 65535, "0", .words = "PORT",
           .help = "Second port for RFC 5780 over DTLS, tls-listening-port plus one"),
    LIST("aux-server", 0, 0, .words = "IP:PORT", .example = "192.0.2.1:443",
         .help = "One more address and port for UDP and TCP, without RFC 5780; repeatable"),
    NUMBER("tcp-proxy-port", 0, proxy_port, 1, 65535, NULL, .words = "PORT", .example = "3488",
           .help = "One more TCP port, where a PROXY protocol header (version 1 or 2) of a load "
                   "balancer must come first.  Only the balancer may be able to reach it"),
    LIST("proxy-protocol", 0, 0, .words = "IP:PORT", .example = "10.0.0.1:3488",
         .help = "The same at one address and port; repeatable"),
    SWITCH("no-udp", 0, no_udp, "no", .help = "No plain UDP; DTLS goes on"),
    SWITCH("no-tcp", 0, no_tcp, "no", .help = "No plain TCP; TLS goes on"),
    SWITCH("no-tls", 0, no_tls, "no", .help = "No TLS"),
    SWITCH("dtls", 0, no_dtls, "no", .flags = PH_OPT_INVERT,
           .help = "DTLS; on wherever there is a certificate",
           .note = "on by default where there is a certificate"),
    SWITCH("no-dtls", 0, no_dtls, NULL, .help = "No DTLS"),
    TEXT("listening-device", 'd', device, .words = "NIC", .example = "lo",
         .help = "Bind listeners to this device"),
    NUMBER("sock-buf-size", 0, sock_buf, 1, 1U << 30, "2097152", .words = "BYTES",
           .example = "4194304",
           .help = "Buffers of a listener's socket, 4 MB cut to what the system allows"),
    SWITCH("respond-http-unsupported", 0, http_400, "no",
           .help = "Answer HTTP on the TCP listeners with status 400 before hanging up"),

    GROUP("Certificates (TLS and DTLS):"),
    LIST("cert", 0, LIVE, .words = "FILE", .example = "/etc/turnd/cert.pem",
         .help = "Certificate chain (PEM), repeatable: the name the client asks for (SNI) chooses. "
                 "turn_server_cert.pem is looked for where the configuration is if not given; "
                 "without one there is no TLS and DTLS"),
    LIST("pkey", 0, LIVE, .words = "FILE", .example = "/etc/turnd/key.pem",
         .help = "Private key (PEM) of the certificate at the same place in the list; in the "
                 "certificate's file if not given"),
    TEXT("pkey-pwd", 0, key_password, .words = "PASSWORD", .flags = PH_OPT_SECRET | LIVE,
         .example = "secret", .help = "Password of the private keys"),
    TEXT("CA-file", 0, ca_file, .words = "FILE", .flags = LIVE, .example = "/etc/turnd/ca.pem",
         .help = "Clients must show a certificate signed by one of these (PEM)"),
    TEXT("cipher-list", 0, ciphers, .words = "LIST", .flags = LIVE, .example = "ECDHE+AESGCM",
         .help = "Ciphers of TLS 1.2 and below, in OpenSSL's words; ECDHE with AEAD if not given",
         .standard = "DEFAULT"),
    TEXT("ec-curve-name", 0, curves, .words = "LIST", .flags = LIVE, .example = "X25519:P-256",
         .help = "Groups for the key exchange, in OpenSSL's words"),
    TEXT("dh-file", 0, dh_file, .words = "FILE", .flags = LIVE, .example = "/etc/turnd/dh.pem",
         .help = "Parameters (PEM) for DHE ciphers"),
    SWITCH("tlsv1", 0, tls1_0, "no", .flags = LIVE, .help = "Allow TLS 1.0 and DTLS 1.0"),
    SWITCH("tlsv1_1", 0, tls1_1, "no", .flags = LIVE, .help = "Allow TLS 1.1"),
    SWITCH("no-tlsv1", 0, tls1_0, NULL, .flags = PH_OPT_INVERT | LIVE, .help = "The opposite"),
    SWITCH("no-tlsv1_1", 0, tls1_1, NULL, .flags = PH_OPT_INVERT | LIVE, .help = "The opposite"),
    SWITCH("no-tlsv1_2", 0, no_tls1_2, "no", .flags = LIVE, .help = "No TLS 1.2 and DTLS 1.2"),

    GROUP("Relaying:"),
    LIST("relay-ip", 'E', 0, .words = "IP", .example = "192.0.2.1",
         .help = "Address for relays, repeatable; the listening addresses if not given"),
    LIST(
        "external-ip", 'X', 0, .words = "PUBLIC[/PRIVATE]", .example = "203.0.113.1/10.0.0.1",
        .help = "Public address that clients are told instead of the one bound (behind a 1:1 NAT): "
                "of all addresses of its family, or of PRIVATE alone; repeatable",
        .note = "PRIVATE is not added to the allowed peers: our own live relay ports are reachable "
                "anyway"),
    TEXT("relay-device", 'i', relay_device, .words = "NIC", .example = "lo",
         .help = "Bind relays to this device"),
    NUMBER("min-port", 0, min_port, 1, 65535, "49152", .words = "PORT",
           .help = "First port for relays, 49152"),
    NUMBER("max-port", 0, max_port, 1, 65535, "65535", .words = "PORT",
           .help = "Last port for relays, 65535"),
    NUMBER("relay-port-pool", 0, port_pool, 1, PH_POOL_PORTS_MAX, NULL, .words = "N",
           .example = "20",
           .help = "Let UDP relays share so many ports, from min-port on, instead of having one "
                   "each: for containers, where every port has to be published.  So many clients "
                   "can talk to the same peer (IP and port) at a time; one more gets 508.  Runs "
                   "one worker thread"),
    NUMBER("relay-threads", 'm', threads, 0, 128, NULL, .words = "N", .example = "2",
           .help = "Worker threads, one for each CPU (one in all with relay-port-pool); 0: all in "
                   "the main thread"),
    NUMBER("cpus", 0, cpus, 1, 128, NULL, .words = "N", .example = "2",
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
    SWITCH("no-tcp-relay", 0, no_tcp_relay, "no", .help = "Refuse TCP relays (RFC 6062)"),
    SWITCH("mobility", 0, mobility, "no",
           .help = "Let clients take their allocation to another address (RFC 8016)"),

    GROUP("Other servers:"),
    LIST("alternate-server", 0, LIVE, .words = "IP[:PORT]", .example = "192.0.2.2:3478",
         .help = "Send clients over UDP and TCP to this server (300 Try Alternate); several are "
                 "named in turn"),
    LIST("tls-alternate-server", 0, LIVE, .words = "IP[:PORT]", .example = "192.0.2.2:5349",
         .help = "The same for clients over TLS and DTLS"),
    LIST("udp-alternate-server", 0, LIVE, .words = "IP[:PORT]", .example = "192.0.2.2:3478",
         .help = "The same for clients over UDP, instead of alternate-server"),
    LIST("tcp-alternate-server", 0, LIVE, .words = "IP[:PORT]", .example = "192.0.2.2:3478",
         .help = "The same for clients over TCP, instead of alternate-server"),
    LIST("drain-alternate-server", 0, LIVE, .words = "IP[:PORT]", .example = "192.0.2.2:3478",
         .help = "Send new clients there while this server drains; repeatable"),

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
    TEXT("realm", 'r', realm, .words = "REALM", .example = "turn.example.org",
         .help = "Realm; the domain or host name if not given"),
    LIST("user", 'u', PH_OPT_SECRET_TAIL | LIVE, .words = "NAME:PASSWORD",
         .example = "example:password",
         .help = "A user, or NAME:0xKEY with MD5(name:realm:password) in hex; repeatable"),
    TEXT("users-file", 0, users_file, .words = "FILE", .flags = LIVE, .example = "/etc/turnd/users",
         .help = "More users, one a line: NAME:PASSWORD or NAME:0xKEY, then if wanted max-bps=N, "
                 "user-quota=N and expires=UNIXTIME; # begins a comment line.  A reload reads it "
                 "again"),
    SWITCH("use-auth-secret", 0, use_auth_secret, "no", .flags = LIVE,
           .help = "Time-limited users (TURN REST API); static-auth-secret does it too"),
    LIST("static-auth-secret", 0, PH_OPT_SECRET | LIVE, .words = "SECRET", .example = "secret",
         .help = "Secret of the TURN REST API; repeatable, for roll-over",
         .note = "may be used together with user="),
    {.name = "rest-api-separator",
     .letter = 'C',
     .kind = PH_OPT_TEXT,
     AT(separator),
     .flags = LIVE,
     .words = "CHAR",
     .standard = ":",
     .help = "Between time and name of a REST user, ':'"},
    SWITCH("strict-expiry", 0, strict_expiry, NULL, .flags = LIVE,
           .help = "End a session when its credential ends, not only refuse new ones"),
    NUMBER("stale-nonce", 0, stale_nonce_s, 0, 0, "600", .words = "SECONDS", .flags = PH_OPT_BARE,
           .dflt = 600, .help = "Lifetime of a nonce, 600; 0: for ever"),
    TEXT("stateless-nonce-secret", 0, nonce_secret, .words = "SECRET", .flags = PH_OPT_SECRET,
         .example = "secret",
         .help = "Makes the nonces of servers with the same secret and realm good for each other"),
    SWITCH("oauth", 0, oauth, "no", .help = "Accept OAuth tokens (RFC 7635)"),
    TEXT("server-name", 0, server_name, .words = "NAME", .example = "turn.example.org",
         .help = "Our name in OAuth tokens; the realm if not given"),
    LIST("oauth-key", 0, PH_OPT_SECRET_TAIL | LIVE, .words = "KID:BASE64[:ALGORITHM]",
         .example = "north:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=:A256GCM",
         .help = "A key shared with the authorization server: its name, its 32 (A256GCM) or 16 "
                 "(A128GCM) bytes in base64, its algorithm; repeatable"),
    TEXT("redis-userdb", 'N', redis_userdb, .words = "ADDRESS", .flags = PH_OPT_SECRET,
         .example = "ip=127.0.0.1 dbname=0 port=6379 connect_timeout=3",
         .help = "Users, secrets and limits from Redis, with coturn's keys: redis://HOST:PORT/DB, "
                 "unix:PATH, or coturn's words"),
    SWITCH("no-dynamic-ip-list", 0, no_db_peers, "no", .flags = LIVE,
           .help = "Take no peer rules from the database"),
    SWITCH("no-dynamic-realms", 0, no_db_realms, "no", .flags = LIVE,
           .help = "Take no limits and origins of realms from the database"),

    GROUP("More realms:"),
    LIST("realm-user", 0, PH_OPT_SECRET_TAIL | LIVE, .words = "REALM NAME:PASSWORD",
         .example = "north.example.org example:password",
         .help = "A user of another realm; all of these are repeatable"),
    LIST("realm-secret", 0, PH_OPT_SECRET_WORD | LIVE, .words = "REALM SECRET",
         .example = "north.example.org secret", .help = "Its secret of the TURN REST API"),
    LIST("realm-origin", 0, LIVE, .words = "REALM ORIGIN",
         .example = "north.example.org https://north.example.org",
         .help = "Clients that come with this ORIGIN are asked for this realm"),
    LIST("realm-allowed-peer-ip", 0, LIVE, .words = "REALM RANGE",
         .example = "north.example.org 10.1.0.0/16",
         .help = "Peers to allow there, beside allowed-peer-ip"),
    LIST("realm-denied-peer-ip", 0, LIVE, .words = "REALM RANGE",
         .example = "north.example.org 198.51.100.0/24",
         .help = "Peers to deny there, beside denied-peer-ip"),
    LIST("realm-max-bps", 0, LIVE, .words = "REALM BYTES", .example = "north.example.org 125000",
         .help = "Its max-bps, where that is less"),
    LIST("realm-user-quota", 0, LIVE, .words = "REALM N", .example = "north.example.org 4",
         .help = "Its user-quota"),
    LIST("realm-total-quota", 0, LIVE, .words = "REALM N", .example = "north.example.org 100",
         .help = "Its total-quota, counted on its own"),

    GROUP("Limits:"),
    NUMBER("user-quota", 'q', user_quota, 0, 0, "0", .words = "N", .flags = LIVE,
           .help = "Allocations of a user at a time; 0: no limit"),
    NUMBER("total-quota", 'Q', total_quota, 0, 0, "0", .words = "N", .flags = LIVE,
           .help = "Allocations at a time; 0: no limit"),
    NUMBER("max-bps", 's', max_bps, 0, 0, "0", .words = "BYTES", .flags = PH_OPT_WIDE | LIVE,
           .help = "Bytes a second that a session may relay in each direction; 0: no limit"),
    NUMBER("user-max-bps", 0, user_max_bps, 0, 0, NULL, .words = "BYTES",
           .flags = PH_OPT_WIDE | LIVE, .example = "1250000",
           .help = "The same for all sessions of a user together, 0; 0: no limit"),
    NUMBER("bps-capacity", 'B', bps_capacity, 0, 0, "0", .words = "BYTES",
           .flags = PH_OPT_WIDE | LIVE,
           .help = "Bytes a second that all sessions share fairly in each direction; 0: no limit",
           .note = "shared when it gets scarce, where coturn refuses allocations"),
    TEXT("new-peer-rate", 0, peer_rate, .words = "N[/BURST]", .flags = LIVE,
         .help = "New peers a second that an allocation may ask permission for, and how many at "
                 "once, 10/128; 0: no limit"),
    NUMBER("max-connections", 0, max_conns, 1, 16777216, NULL, .words = "N", .example = "65536",
           .help = "TCP, TLS and DTLS clients at a time of each worker thread, 65536"),
    NUMBER("max-connections-per-ip", 0, max_conns_per_ip, 1, 16777216, NULL, .words = "N",
           .example = "4096", .help = "Of these, from one address (IPv6: a /64), 4096"),
    SWITCH("unauthorized-ratelimit", 0, no_budget, "no", .flags = PH_OPT_INVERT,
           .help = "Limit answers to clients that have not authenticated; on unless set to no",
           .note = "on by default, in bytes a second for an address and its prefix"),
    NUMBER("unauthorized-ratelimit-rps", 0, ratelimit_rps, 1, 1000000, "10", .words = "N",
           .flags = PH_OPT_BARE, .dflt = 10, .example = "10",
           .help = "Such answers a second for an address; counted as 128 bytes each"),
    NUMBER("budget-rate", 0, budget_rate, 1, 0, NULL, .words = "BYTES", .example = "2048",
           .help = "Bytes a second of such answers for an address (IPv6: a /64), 2048"),
    NUMBER("budget-burst", 0, budget_burst, 1, 0, NULL, .words = "BYTES", .example = "4096",
           .help = "Bytes of such answers at once, 4096"),
    NUMBER("budget-prefix-rate", 0, budget_prefix_rate, 1, 0, NULL, .words = "BYTES",
           .example = "16384", .help = "The same for its prefix (IPv4: a /24, IPv6: a /48), 16384"),
    NUMBER("budget-prefix-burst", 0, budget_prefix_burst, 1, 0, NULL, .words = "BYTES",
           .example = "32768", .help = "Bytes at once for a prefix, 32768"),

    GROUP("Peers:"),
    LIST("allowed-peer-ip", 0, LIVE, .words = "RANGE", .example = "10.20.0.0/16",
         .help = "Peers to allow whatever else is said: an address, A-B or A/BITS, with :PORT or "
                 ":LO-HI if wanted ([...] around IPv6 then, * for every address); repeatable"),
    LIST("denied-peer-ip", 0, LIVE, .words = "RANGE", .example = "198.51.100.0-198.51.100.255",
         .help =
             "Peers to deny; repeatable.  Loopback, unspecified, link-local, multicast, private, "
             "carrier NAT, benchmarking and reserved addresses are denied anyway"),
    SWITCH("allow-loopback-peers", 0, allow_loopback, "no", .flags = LIVE,
           .help = "Allow 127.0.0.0/8 and ::1"),
    SWITCH("allow-private-peers", 0, allow_private, NULL, .flags = LIVE,
           .help =
               "Allow private, carrier NAT, benchmarking and reserved addresses, as coturn does"),
    SWITCH("no-multicast-peers", 0, no_multicast, "no", .help = "Deny multicast: always so",
           .note = "multicast peers are always denied unless allowed-peer-ip names them"),

    GROUP("Operation:"),
    AT_PORT("http-listen", http, 0, .words = "IP:PORT", .example = "127.0.0.1:9641",
            .help = "Serve /healthz, /readyz and /metrics over HTTP there"),
    SWITCH("prometheus", 0, prometheus, "no",
           .help = "Serve metrics with coturn's names as well; at prometheus-address and "
                   "prometheus-port unless http-listen says where"),
    AT_IP("prometheus-address", prom_ip, .words = "IP", .example = "127.0.0.1",
          .help = "Address for metrics, 0.0.0.0"),
    NUMBER("prometheus-port", 0, prom_port, 1, 65535, "9641", .words = "PORT",
           .help = "Port for metrics, 9641"),
    TEXT("prometheus-path", 0, prom_path, .words = "PATH", .standard = "/metrics",
         .help = "Where metrics are, /metrics"),
    SWITCH("prometheus-username-labels", 0, prom_users, "no",
           .help = "Count traffic by user, for at most 1000 of them"),
    SWITCH("prometheus-tls", 0, prom_tls, "no", .help = "Serve metrics and health over TLS"),
    TEXT("prometheus-cert", 0, prom_cert, .words = "FILE", .example = "/etc/turnd/cert.pem",
         .help = "Certificate for that; the first cert if not given"),
    TEXT("prometheus-key", 0, prom_key, .words = "FILE", .example = "/etc/turnd/key.pem",
         .help = "Its private key; the first pkey if not given"),
    TEXT("api-socket", 0, api_socket, .words = "PATH", .example = "/run/turnd/turnd.sock",
         .help =
             "UNIX socket of the JSON API, for turnctl: /run/turnd/turnd.sock where that folder "
             "is ours; none: no socket"),
    TEXT("api-socket-mode", 0, api_socket_mode, .words = "MODE",
         .help = "Its permissions in octal, 660: who may connect may do everything"),
    AT_PORT("api-listen", api, 0, .words = "IP:PORT", .example = "127.0.0.1:8081",
            .help = "The JSON API over HTTP; needs a token"),
    TEXT("api-token", 0, api_token, .words = "TOKEN", .flags = PH_OPT_SECRET, .example = "secret",
         .help = "What callers of api-listen must know, and users of a web page that is not on "
                 "loopback"),
    TEXT("api-token-file", 0, api_token_file, .words = "FILE", .example = "/etc/turnd/token",
         .help = "The token is the first line of this file"),
    OTHER("web", 0, PH_OPT_BARE, .words = "IP:PORT", .example = "127.0.0.1:8080",
          .help =
              "Serve a web page with the live sessions and a test; 127.0.0.1:8080 unless given"),
    SWITCH("web-admin", 0, web_admin, "no", .help = "coturn's name of web"),
    AT_IP("web-admin-ip", web_ip, .words = "IP", .example = "127.0.0.1",
          .help = "Its address, 127.0.0.1"),
    NUMBER("web-admin-port", 0, web_port, 1, 65535, "8080", .words = "PORT",
           .help = "Its port, 8080"),
    TEXT("redis-statsdb", 'O', redis_statsdb, .words = "ADDRESS", .flags = PH_OPT_SECRET,
         .example = "ip=127.0.0.1 dbname=1 port=6379 connect_timeout=3",
         .help = "Tell of sessions and their traffic in Redis, with coturn's keys and messages; "
                 "addresses as for redis-userdb",
         .note = "status keys end with the allocation, and those of other servers are left alone"),
    NUMBER("drain-timeout", 0, drain_timeout_s, 0, 0, NULL, .words = "SECONDS", .flags = LIVE,
           .help = "How long draining (SIGUSR1) waits for allocations to end; 0: for ever"),
    NUMBER("drain-min-allocations", 0, drain_min, 0, 0, "0", .words = "N", .flags = LIVE,
           .help = "Draining ends the program when no more allocations than these are left"),
    NUMBER("grace", 0, grace_s, 0, 0, NULL, .words = "SECONDS", .flags = LIVE,
           .help = "How long SIGTERM waits for allocations to end, 0; a second one ends at once"),

    GROUP("State that outlives the process:"),
    TEXT("redis-statedb", 0, statedb, .words = "ADDRESS", .flags = PH_OPT_SECRET,
         .example = "redis://127.0.0.1:6379/0",
         .help =
             "Keep allocations in Redis, so that they go on after a restart or a crash, here or "
             "on the node that gets the address; addresses as for redis-userdb.  Needs "
             "fleet-key"),
    LIST("fleet-key", 0, PH_OPT_SECRET | LIVE, .words = "SECRET", .example = "/etc/turnd/fleet.key",
         .help = "Secret of all nodes of a fleet: what they keep in Redis is sealed with it, and "
                 "each takes the nonces and mobility tickets of the others.  64 hex digits, a text "
                 "of at least 16 bytes, or a file (/PATH or @PATH) whose first line it is.  To "
                 "change it give the new one first and the old one as well, until all nodes have "
                 "both"),
    TEXT("node-id", 0, node_id, .words = "NAME", .example = "turn-1",
         .help = "Name of this node among those that share a Redis, the same after a restart; the "
                 "host's name if not given"),
    NUMBER("state-wait", 0, state_wait_ms, 0, 600000, NULL, .words = "MS", .example = "1000",
           .help = "How long a start waits for Redis, 1000; after that clients are served, and "
                   "allocations that still fit are restored when it answers"),
    SWITCH("free-bind", 0, free_bind, NULL,
           .help = "Bind addresses that this machine does not have (yet): those that move between "
                   "nodes"),
    LIST("adopt-from", 0, 0, .words = "NODE", .example = "turn-2",
         .help = "When an address comes to this machine, take over the allocations that this node "
                 "has there; repeatable"),
    WORD("fleet-redirect", fleet_redirect, .words = "never|drain|load", .standard = "drain",
         .flags = LIVE,
         .help = "When new clients are sent to the least busy other node of the fleet: while this "
                 "one drains, or also while it is much busier (by a fifth of what it can do)"),
    LIST("fleet-address", 0, 0, .words = "PROTO:IP:PORT", .example = "udp:192.0.2.1:3478",
         .help = "Where clients that other nodes send here reach this one over udp, tcp, tls or "
                 "dtls, instead of the listeners (or their external-ip); repeatable"),

    GROUP("Logging:"),
    SWITCH("verbose", 'v', verbose, "no", .help = "Log every allocation: always so at level info"),
    SWITCH("Verbose", 'V', very_verbose, "no", .flags = LIVE,
           .help = "The same as log-min-level=debug"),
    WORD("log-min-level", log_level, .standard = "debug", .words = PH_LOGGER_LEVELS, .flags = LIVE,
         .help = "Least important lines to log, info"),
    WORD("log-level", log_level, .words = PH_LOGGER_LEVELS, .flags = LIVE,
         .help = "The same as log-min-level"),
    WORD("log-format", log_format, .words = "text|json",
         .help = "Lines for people or for programs"),
    TEXT("log-file", 'l', log_file, .words = "FILE", .standard = "",
         .example = "/var/log/turnd/turnd.log",
         .help = "Where to log: a file, stdout, - or syslog; standard error if not given"),
    SWITCH("no-stdout-log", 0, no_stdout_log, "no",
           .help = "With a log file: do not log to standard error as well"),
    SWITCH("simple-log", 0, simple_log, "no", .help = "Use log-file's name as it is: always so",
           .note = "no date or process id is ever added to the name"),
    SWITCH("syslog", 0, syslog, "no", .help = "Log to syslog"),
    TEXT("syslog-facility", 0, syslog_facility, .words = "NAME", .standard = "",
         .example = "daemon", .help = "Facility for syslog, daemon"),
    SWITCH("new-log-timestamp", 0, new_timestamp, "yes", .help = "ISO 8601 times: always so"),
    TEXT("new-log-timestamp-format", 0, timestamp_format, .words = "FORMAT",
         .example = "%FT%T.%f%z",
         .help = "Format of times in the log, as for strftime(3), with %f for milliseconds"),
    SWITCH("log-binding", 0, log_binding, "no", .help = "Log how many Binding requests there were",
           .note = "once a minute, not a line for each"),

    GROUP("Process:"),
    SWITCH("daemon", 'o', daemon, "no", .help = "Run in the background"),
    TEXT("pidfile", 0, pidfile, .words = "FILE", .standard = "/var/run/turnserver.pid",
         .example = "/run/turnd/turnd.pid",
         .help = "Write the process id there; not written if not given"),
    TEXT("proc-user", 0, user, .words = "NAME", .example = "nobody",
         .help = "User to become once sockets are open"),
    TEXT("proc-group", 0, group, .words = "NAME", .example = "nogroup", .help = "Group to become"),

    GROUP(NULL),
    /* Listening. */
    TELL_IF("udp-self-balance", "workers share every listener by themselves"),
    TELL("acme-redirect", 0,
         "no redirects on TURN ports: let a web server on port 80 answer ACME challenges"),

    /* TLS. */
    IGNORE_IF("dh566", OPENSSL_DH),
    IGNORE_IF("dh1066", OPENSSL_DH),
    TELL_IF("raw-public-keys", "clients are shown certificates, no raw public keys (RFC 7250)"),
    IGNORE_IF("no-sslv2", "always so"),
    IGNORE_IF("no-sslv3", "always so"),

    /* Relaying and the network. */
    IGNORE("max-allocate-timeout", 0, "nothing is kept for a client before it has an allocation"),
    TELL_IF("server-relay", "peers without permission are never let through"),
    TELL_IF("multiplex-peer", NO_MULTIPLEX),
    TELL("multiplex-peer-port", 0, NO_MULTIPLEX),
    IGNORE("multiplex-peer-max-peers", 0, NO_MULTIPLEX),
    IGNORE_IF("udp-recvmmsg", ALWAYS_BATCHED),
    IGNORE_IF("udp-recvmmsg-log", ALWAYS_BATCHED),
    IGNORE_IF("udp-sendmmsg-log", ALWAYS_BATCHED),
    IGNORE_IF("udp-gso", ALWAYS_BATCHED),
    IGNORE("ne", 0, OBSOLETE),

    /* STUN. */
    TELL_IF("secure-stun", "Binding requests are answered without credentials, within the budget"),
    TELL_IF("rfc3489-compatibility", "requests without magic cookie (RFC 3489) are dropped"),
    IGNORE_IF("response-origin-only-with-rfc5780", "always so"),
    IGNORE_IF("drop-invalid-packets", "always so"),
    IGNORE_IF("drop-invalid-packets-log", "they are counted, not logged"),
    IGNORE_IF("no-loopback-peers", "loopback peers are denied unless allow-loopback-peers is set"),

    /* Credentials. */
    IGNORE("secret-ts-exp-time", 0, OBSOLETE),
    IGNORE_IF("stateless-nonce", "nonces are always stateless"),
    IGNORE_IF("no-auth-pings", "Redis is watched, and asked again when it is back"),
    IGNORE_IF("check-origin-consistency", "a session keeps the realm it has begun in"),

    /* Databases. */
    TELL("userdb", 'b', NO_SQLITE),
    TELL("db", 0, NO_SQLITE),
    REFUSE_SECRET("psql-userdb", 'e', NO_SQL),
    REFUSE_SECRET("sql-userdb", 0, NO_SQL),
    REFUSE_SECRET("mysql-userdb", 'M', NO_SQL),
    REFUSE_SECRET("mongo-userdb", 'J',
                  "no MongoDB here: put users into user= lines or a users-file, or use "
                  "static-auth-secret or redis-userdb"),
    IGNORE("secret-key-file", 0, "for MySQL passwords, and there is no MySQL here"),

    /* Consoles. */
    TELL_IF("cli", USE_TURNCTL),
    IGNORE_IF("no-cli", USE_TURNCTL),
    IGNORE("cli-ip", 0, USE_TURNCTL),
    IGNORE("cli-port", 0, USE_TURNCTL),
    IGNORE_SECRET("cli-password", USE_TURNCTL),
    IGNORE("cli-max-output-sessions", 0, USE_TURNCTL),
    IGNORE_IF("web-admin-listen-on-workers", "the web page has an address of its own"),
};

const size_t ph_tconf_table_n = sizeof ph_tconf_table / sizeof ph_tconf_table[0];
