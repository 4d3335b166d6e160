/*
 * A network in an integer: deterministic simulation for testing sans-I/O cores.
 *
 *      host --link-- net "lan-a" --link-- NAT --link-- net "internet" --link-- host
 *                                                          |
 *                                            NAT --link-- net "lan-b" ...
 *
 * A world (struct sim) has one virtual clock and one queue of what happens next.  Hosts have sockets and
 * run programs: a core with a small adapter (struct sim_node).  Hosts and NAT boxes are attached to nets;
 * each attachment has a link towards the net and one back.  A NAT behaves as RFC 4787 describes, every
 * trait chosen on its own.  ICMP errors travel back through the NATs to the socket that caused them.
 *
 * No sleep, no real socket, no clock, no thread.  The same seed and the same calls give the same run,
 * byte for byte.  Misuse by a test (a bad address text, an unknown socket) aborts with a message.
 * Everything is owned by the world and freed by sim_free; memory is bounded by the limits below.
 *
 * With SIM_TRACE=1 in the environment each world prints its packets to stderr as they travel.
 */
#ifndef PH_TESTS_SIM_H
#define PH_TESTS_SIM_H

#include "stun/base/addr.h"
#include "stun/base/buf.h"
#include "stun/base/env.h"
#include "stun/base/time.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct sim;
struct sim_net;
struct sim_host;
struct sim_iface;
struct sim_link;
struct sim_nat;

/* ---- What can happen to a packet: counters and trace lines -------------------------------------- */

#define SIM_HOWS(X)                                                                                \
    X(SIM_SENT, "sent")             /* left a socket */                                            \
    X(SIM_DELIVERED, "delivered")   /* reached a socket */                                         \
    X(SIM_NAT_OUT, "nat-out")       /* translated on its way out */                                \
    X(SIM_NAT_IN, "nat-in")         /* translated on its way in */                                 \
    X(SIM_HAIRPIN, "hairpin")       /* turned around by a NAT */                                   \
    X(SIM_ROUTED, "routed")         /* passed a NAT box untranslated */                            \
    X(SIM_DUPLICATED, "duplicated") /* a link made a copy */                                       \
    X(SIM_REORDERED, "reordered")   /* a link held it back */                                      \
    X(SIM_FRAGMENTED, "fragmented") /* larger than the link's MTU, DF not set */                   \
    X(SIM_ICMP_SENT, "icmp-sent")   /* an error started its way back */                            \
    X(SIM_ICMP_DELIVERED, "icmp")   /* an error reached its socket */                              \
    X(SIM_NOTE, "note")             /* a line from sim_note or a core's log */                     \
    X(SIM_LOST, "LOST")             /* dice of a link; from here on all are drops */               \
    X(SIM_DOWN, "DOWN")             /* link or interface is down */                                \
    X(SIM_QUEUE_FULL, "QUEUE-FULL") /* a rate-limited link */                                      \
    X(SIM_TOO_BIG, "TOO-BIG")       /* larger than the MTU and not to be fragmented */             \
    X(SIM_NO_ROUTE, "NO-ROUTE")     /* no such address and no gateway */                           \
    X(SIM_NO_HOST, "NO-HOST")       /* inside the net's prefix, but nobody has it */               \
    X(SIM_NO_SOCKET, "NO-SOCKET")   /* the host has no such port */                                \
    X(SIM_FILTERED, "FILTERED")     /* NAT: mapping exists, the source may not use it */           \
    X(SIM_NO_MAPPING, "NO-MAPPING") /* NAT: nobody behind it has this endpoint */                  \
    X(SIM_NO_HAIRPIN, "NO-HAIRPIN") /* NAT: to itself from inside */                               \
    X(SIM_TABLE_FULL, "TABLE-FULL") /* NAT: limit of mappings or no port left */                   \
    X(SIM_BLOCKED, "BLOCKED")       /* NAT: refused by rule (UDP, fragments, ICMP, family) */      \
    X(SIM_HOPS, "HOPS")             /* routing loop */                                             \
    X(SIM_TAPPED, "TAPPED")         /* a tap said no */                                            \
    X(SIM_PAUSED, "PAUSED")         /* the host sleeps */                                          \
    X(SIM_OVERFLOW, "OVERFLOW")     /* receive queue or world limit */                             \
    X(SIM_BAD_SOCK, "BAD-SOCK")     /* a program sent on a socket it does not have */

#define SIM_HOW_ENUM(name, text) name,
enum sim_how { SIM_HOWS(SIM_HOW_ENUM) SIM_HOW_COUNT };
#undef SIM_HOW_ENUM

/* ---- World and clock ---------------------------------------------------------------------------- */

/* Why a run ended. */
enum sim_end {
    SIM_IDLE,    /* no packet under way and no deadline set */
    SIM_TIMEOUT, /* the given span is over; the clock stands at its end */
    SIM_DONE,    /* the condition of sim_run_until came true */
    SIM_LIVELOCK /* too much happened without the clock moving: a bug in a core or adapter */
};

/* A new, empty world.  Its clock starts at 1000 s, so that no core can mistake 0 for "unset". */
struct sim *sim_new(uint64_t seed);

/* Frees the world and all that was made in it.  NULL is allowed.  The contexts of nodes are the caller's. */
void sim_free(struct sim *s);

/* The virtual time. */
ph_ns sim_now(const struct sim *s);

/* Randomness for cores from the world's seed, and a log that writes into the trace.  Valid until sim_free.
 * Prefer sim_host_env: a stream per host does not shift when another host draws. */
const struct ph_env *sim_env(struct sim *s);

/* Runs until nothing is under way and no node has a deadline, at most `span` from now.
 * Returns SIM_IDLE, SIM_TIMEOUT or SIM_LIVELOCK. */
enum sim_end sim_run_until_idle(struct sim *s, ph_ns span);

/* Runs for exactly `span`; the clock then stands at its end.  Returns SIM_TIMEOUT or SIM_LIVELOCK. */
enum sim_end sim_run(struct sim *s, ph_ns span);

/* Runs until cond(ctx) is true (asked after each instant in which something happened), at most `span`.
 * Returns SIM_DONE, SIM_IDLE (it can never come true by itself), SIM_TIMEOUT or SIM_LIVELOCK. */
enum sim_end sim_run_until(struct sim *s, bool (*cond)(void *ctx), void *ctx, ph_ns span);

/* Moves the clock without letting anything happen: everybody overslept.  What was due comes late. */
void sim_skip(struct sim *s, ph_ns span);

/* Calls fn(ctx, now) at the instant `at` (now, if that is over), between packets. */
void sim_at(struct sim *s, ph_ns at, void (*fn)(void *ctx, ph_ns now), void *ctx);

/* How often something happened in the whole world. */
uint64_t sim_count(const struct sim *s, enum sim_how how);

/* Packets under way. */
size_t sim_in_flight(const struct sim *s);

/* An address from text such as "192.0.2.1:3478", "[2001:db8::1]:5000" or without port; transport UDP. */
struct ph_addr sim_addr(const char *text);

/* ---- Nets and links ----------------------------------------------------------------------------- */

/* One direction of an attachment.  All zero: an ideal wire. */
struct sim_link_conf {
    ph_ns delay;  /* propagation */
    ph_ns jitter; /* plus a uniform draw from [0, jitter]; does not reorder */
    double loss;  /* share of packets lost, 0 to 1 */
    double burst; /* mean length of a loss burst in packets (Gilbert); 0 or 1: independent losses */
    double duplicate; /* share of packets that arrive twice */
    double reorder;   /* share of packets held back by reorder_by and overtaken */
    ph_ns reorder_by; /* default: 20 ms */
    uint64_t rate;    /* bits per second, IP and UDP headers counted; 0: unlimited */
    ph_ns queue;  /* longest wait for the rate; beyond it packets are dropped; default: 200 ms */
    uint32_t mtu; /* largest IP packet in bytes; 0: no limit */
    bool no_icmp; /* a path MTU black hole: too big packets vanish without an error */
    bool down;    /* drops everything */
};

/* Links of attachments made from now on whose conf is NULL; ideal wires until this is called. */
void sim_default_link(struct sim *s, const struct sim_link_conf *c);

/* A net: whoever is attached to it reaches the others directly.  prefix ("192.168.1.0/24") may be NULL; with
 * a prefix, addresses in it that nobody has are never sent to the gateway. */
struct sim_net *sim_net_new(struct sim *s, const char *name, const char *prefix);

/* Whether the net answers NO-ROUTE and NO-HOST with ICMP host unreachable; off at first. */
void sim_net_unreachables(struct sim_net *n, bool on);

/* Puts a forged packet into a net, as an off-path attacker would. */
void sim_net_inject(struct sim_net *n, struct ph_addr src, struct ph_addr dst, const void *data,
                    size_t len);

/* The two links of an attachment, to change or count them. */
struct sim_link *sim_iface_up(struct sim_iface *i);   /* towards the net */
struct sim_link *sim_iface_down(struct sim_iface *i); /* from the net */

/* Changes a link.  Packets already under way are not touched. */
void sim_link_set(struct sim_link *l, const struct sim_link_conf *c);
struct sim_link_conf sim_link_get(const struct sim_link *l);
uint64_t sim_link_count(const struct sim_link *l, enum sim_how how);

/* ---- Hosts and sockets -------------------------------------------------------------------------- */

enum { SIM_IFACE_IPS = 8 }; /* addresses of one attachment */

/* A host without attachment.  The name appears in traces; it is copied. */
struct sim_host *sim_host_new(struct sim *s, const char *name);

/* Attaches a host to a net with one address.  Links in both directions get conf (NULL: the default).  A host
 * may have many attachments; the first that fits is its default route. */
struct sim_iface *sim_attach(struct sim_host *h, struct sim_net *n, const char *ip,
                             const struct sim_link_conf *conf);

/* Gives an attachment a further address (a second IP, or IPv6 beside IPv4), or takes one away. */
void sim_iface_add_ip(struct sim_iface *i, const char *ip);
void sim_iface_del_ip(struct sim_iface *i, const char *ip);

/* Pulls the cable (false) or plugs it in again (true). */
void sim_iface_set(struct sim_iface *i, bool up);

/* A paused host sleeps: packets to it are lost and its programs get no time. */
void sim_host_pause(struct sim_host *h, bool paused);

/* A silent host sends no ICMP port unreachable (a host firewall that drops). */
void sim_host_silent(struct sim_host *h, bool silent);

/* Hands packets to programs without headroom but with p->head scratch, as after UDP GRO (see buf.h). */
void sim_host_coalesced(struct sim_host *h, bool on);

/* Seeded randomness of this host, with the world's log. */
const struct ph_env *sim_host_env(struct sim_host *h);

const char *sim_host_name(const struct sim_host *h);
uint64_t sim_host_count(const struct sim_host *h, enum sim_how how);

/* Opens a socket at an address of the host or at the unspecified one; port 0 picks a free port from 49152
 * up.  Returns its id, unique in the world and never 0; 0 when the address is not the host's or is in use. */
uint32_t sim_bind(struct sim_host *h, struct ph_addr at);

/* Closes a socket; its unread packets are dropped.  Unknown ids are ignored. */
void sim_close(struct sim *s, uint32_t sock);

/* Where a socket is bound (PH_AF_NONE when it is unknown or closed). */
struct ph_addr sim_sock_addr(const struct sim *s, uint32_t sock);

/* Sends from a socket, at once.  Returns 0, PH_E_STATE (no such socket) or PH_E_LIMIT. */
int sim_send(struct sim *s, uint32_t sock, struct ph_addr to, const void *data, size_t len);

/* The same with all choices of a packet: p->sock, p->dst, p->head, p->dont_fragment, and for sockets at the
 * unspecified address p->src: an address of the host to send from; any other is ignored, so that a core may
 * answer in place without touching it.  What a node returns is sent in the same way. */
int sim_send_pkt(struct sim *s, const struct ph_pkt *p);

/* A packet in the queue of a socket that belongs to no node. */
struct sim_msg {
    struct ph_addr src, dst; /* remote and local */
    ph_ns at;                /* when it arrived */
    const uint8_t *data;     /* valid until the next sim_recv on the socket, or its end */
    size_t len;
};

/* Takes the oldest packet.  Returns false when there is none. */
bool sim_recv(struct sim *s, uint32_t sock, struct sim_msg *m);

/* An ICMP error that came back for a packet sent on a socket. */
struct sim_icmp {
    uint32_t sock;
    uint8_t type, code;    /* ICMP or ICMPv6 numbers, as the family of `remote` has it */
    uint32_t mtu;          /* of the next hop, for "too big"; else 0 */
    struct ph_addr local;  /* source of the packet in question */
    struct ph_addr remote; /* where it was to go */
    struct ph_addr from;   /* who reports it */
};

/* Takes the oldest ICMP error of a socket that belongs to no node (the last 16 are kept). */
bool sim_recv_icmp(struct sim *s, uint32_t sock, struct sim_icmp *e);

/* ---- Programs: a core in its adapter ------------------------------------------------------------ */

/* The five verbs of a core.  Any function may be NULL.  After each call the world drains `output` until it
 * returns false, then calls `event`, then asks for `deadline`.  Adapters may call anything in this header
 * except the run functions and sim_free. */
struct sim_node {
    void *ctx;
    /* A packet for one of the host's sockets, with PH_HEADROOM.  PH_SEND: p holds what to send. */
    int (*input)(void *ctx, struct ph_pkt *p, ph_ns now);
    void (*tick)(void *ctx, ph_ns now);
    ph_ns (*deadline)(void *ctx);
    /* Fills in what to send (out->b has room for 65535 bytes behind PH_HEADROOM), or returns false. */
    bool (*output)(void *ctx, struct ph_pkt *out, ph_ns now);
    /* Drain the core's events here, and answer them.  Returns whether there were any. */
    bool (*event)(void *ctx, ph_ns now);
    void (*icmp)(void *ctx, const struct sim_icmp *e, ph_ns now);
};

/* Starts a program on a host and returns its number (from 1).  Sockets of the host belong to its first
 * program unless sim_sock_owner says otherwise; a host without program queues packets for sim_recv. */
uint32_t sim_host_run(struct sim_host *h, const struct sim_node *node);

/* Gives a socket to another program of its host; 0: to nobody (sim_recv). */
void sim_sock_owner(struct sim *s, uint32_t sock, uint32_t node);

/* Ends a program: it is never called again.  Its sockets stay open and belong to nobody. */
void sim_node_stop(struct sim *s, uint32_t node);

/* ---- NAT boxes ---------------------------------------------------------------------------------- */

/* What a mapping or a filter depends on (RFC 4787 4.1 and 5). */
enum sim_scope {
    SIM_EI,
    SIM_AD,
    SIM_APD
}; /* endpoint-independent, address-, address-and-port-dependent */

/* How an external port is chosen (RFC 4787 4.2). */
enum sim_ports {
    SIM_PORT_PRESERVE, /* the internal port if it is free, else the next free one */
    SIM_PORT_OVERLOAD, /* the internal port even if another mapping has it, told apart by the remote
                            endpoint; only a full clash takes another port (Linux conntrack) */
    SIM_PORT_SEQUENTIAL, /* port_lo, port_lo + 1, ... */
    SIM_PORT_RANDOM
};

/* Which external IP a new mapping gets (RFC 4787 4.1): one per internal IP, or any. */
enum sim_pool { SIM_POOL_PAIRED, SIM_POOL_ARBITRARY };

/* What the box makes of packets from inside to its own external address (RFC 4787 6, REQ-9). */
enum sim_hairpin {
    SIM_HAIRPIN_NONE,
    SIM_HAIRPIN_INTERNAL, /* delivered with the internal source address */
    SIM_HAIRPIN_EXTERNAL  /* delivered with the external one: what REQ-9 asks for */
};

/* What the box does with one family. */
enum sim_mode {
    SIM_MODE_DEFAULT,   /* translate IPv4, route IPv6 */
    SIM_MODE_TRANSLATE, /* NAT */
    SIM_MODE_FIREWALL,  /* addresses stay, packets from outside pass the filter */
    SIM_MODE_ROUTE,     /* everything passes */
    SIM_MODE_BLOCK      /* nothing passes */
};

enum { SIM_NAT_IPS = 8 };

/* A NAT box.  Zero values: endpoint-independent mapping and filtering, port preservation, paired pooling, no
 * hairpinning, 120 s. */
struct sim_nat_conf {
    const char
        *external[SIM_NAT_IPS]; /* external addresses; at least one of each translated family */
    enum sim_scope mapping, filtering;
    enum sim_ports ports;
    bool parity;               /* external port odd or even as the internal one */
    uint16_t port_lo, port_hi; /* range of chosen ports; default 1024 to 65535 */
    enum sim_pool pool;
    enum sim_hairpin hairpin;
    ph_ns ttl; /* of a session without traffic; a mapping lives as long as its last session */
    bool refresh_inbound;  /* inbound packets refresh too (RFC 4787 REQ-6) */
    uint32_t max_mappings; /* default 4096; at the limit new flows are dropped */
    enum sim_mode v4, v6;
    const char
        *nat64;     /* a /96 prefix such as "64:ff9b::": IPv6 inside to IPv4 outside (RFC 6146) */
    bool block_udp; /* a firewall that lets no UDP through */
    bool drop_fragments;
    bool drop_icmp; /* ICMP errors do not pass (against RFC 5508) */
    bool reject;    /* answer packets nobody wants with ICMP port unreachable */
    bool conntrack; /* an unwanted inbound packet occupies its 5-tuple for 30 s, as with Linux
                                   when INPUT accepts: an outbound flow to its sender gets another port */
    const struct sim_link_conf *inside, *outside; /* links of both attachments; NULL: the default */
};

/* A box between two nets; it becomes the gateway of `inside`.  outside may be the inside net of another NAT.
 * conf is copied. */
struct sim_nat *sim_nat_new(struct sim *s, const char *name, struct sim_net *inside,
                            struct sim_net *outside, const struct sim_nat_conf *conf);

/* Forgets all mappings (static ones stay), as after a power cut. */
void sim_nat_reboot(struct sim_nat *t);

/* Forgets all mappings and gets a new external address in place of all old ones of its family. */
void sim_nat_readdress(struct sim_nat *t, const char *external);

/* A static mapping that lets everybody in: a port forward, a PCP mapping, or with both ports 0 a 1:1 NAT.  Ends
 * after ttl (PH_NEVER: never).  A ttl of 0 removes it. */
void sim_nat_forward(struct sim_nat *t, struct ph_addr external, struct ph_addr internal,
                     ph_ns ttl);

/* Live dynamic mappings now. */
size_t sim_nat_mappings(const struct sim_nat *t);

/* The external endpoint that a packet from `internal` to `remote` would leave from, PH_AF_NONE if there is no
 * mapping for it yet.  Changes nothing. */
struct ph_addr sim_nat_lookup(const struct sim_nat *t, struct ph_addr internal,
                              struct ph_addr remote);

uint64_t sim_nat_count(const struct sim_nat *t, enum sim_how how);
struct sim_iface *sim_nat_inside(struct sim_nat *t);
struct sim_iface *sim_nat_outside(struct sim_nat *t);

/* Well-known kinds, for matrices of tests. */
#define SIM_KINDS(X)                                                                               \
    X(SIM_FULL_CONE, "full-cone")             /* EI mapping, EI filtering */                       \
    X(SIM_RESTRICTED, "restricted")           /* EI mapping, AD filtering */                       \
    X(SIM_PORT_RESTRICTED, "port-restricted") /* EI mapping, APD filtering */                      \
    X(SIM_SYMMETRIC, "symmetric")             /* APD mapping on random ports, APD filtering */     \
    X(SIM_LINUX, "linux")                     /* APD/APD, ports kept and overloaded, conntrack */  \
    X(SIM_CGNAT, "cgnat")                     /* RFC 6888: EI/EI, random ports, hairpin, parity */ \
    X(SIM_UDP_BLOCKED, "udp-blocked")         /* full cone that lets no UDP through */

#define SIM_KIND_ENUM(name, text) name,
enum sim_kind { SIM_KINDS(SIM_KIND_ENUM) SIM_KIND_COUNT };
#undef SIM_KIND_ENUM

/* The configuration of a kind with one external address (the text is kept, not copied). */
struct sim_nat_conf sim_nat_kind(enum sim_kind k, const char *external);
const char *sim_kind_name(enum sim_kind k);

/* A net, a NAT and a host behind it, in one call.  The net is called after the host. */
struct sim_home {
    struct sim_net *lan;
    struct sim_nat *nat;
    struct sim_host *host;
    struct sim_iface *iface;
};
struct sim_home sim_home_new(struct sim *s, const char *name, struct sim_net *outside,
                             const struct sim_nat_conf *nat, const char *ip);

/* ---- Looking, changing, dropping ---------------------------------------------------------------- */

enum sim_point { SIM_AT_SEND, SIM_AT_NAT_OUT, SIM_AT_NAT_IN, SIM_AT_DELIVER };

/* A packet at a point of its way.  p's data and addresses may be changed; the data may grow within its cap. */
struct sim_hop {
    enum sim_point at;
    const char *where; /* name of the host or NAT (before it translates) */
    uint64_t id;       /* counts sent packets from 1; copies keep it */
    ph_ns now;
    struct ph_pkt *p;
};

/* Has fn called for each data packet (not for ICMP) at each point.  It returns false to drop the packet.
 * Returns a number for sim_untap.  Up to 8 taps. */
unsigned sim_tap(struct sim *s, bool (*fn)(void *ctx, struct sim_hop *h), void *ctx);
void sim_untap(struct sim *s, unsigned tap);

/* Prints each step of each packet as it happens; NULL stops it. */
void sim_trace(struct sim *s, FILE *to);

/* Prints the last steps (up to 2048), for a test that failed. */
void sim_dump(const struct sim *s, FILE *to);

/* Adds a line to the trace. */
void sim_note(struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* How payloads are described in traces: writes a line about n bytes (in sim_dump only the first 64) to dst. */
void sim_describe(struct sim *s, void (*fn)(const uint8_t *p, size_t n, char *dst, size_t cap));

const char *sim_how_name(enum sim_how how);

#endif
