/*
 * What the files of the simulator share.  Not for tests.
 *
 * A packet is in one place at a time and is owned by whoever was handed it: every function that takes a
 * struct sim_pkt * passes it on or drops it.
 */
#ifndef PH_TESTS_SIM_PRIV_H
#define PH_TESTS_SIM_PRIV_H

#include "tests/sim/sim.h"

enum {
    SIM_HOP_LIMIT = 32,
    SIM_BUCKETS = 256, /* of each hash table; a power of two */
    SIM_TAPS = 8,
    SIM_RING = 2048, /* steps kept for sim_dump */
    SIM_SNIP = 64,   /* bytes of payload kept with a step */
    SIM_NAME = 32,
    SIM_MAX_DATA = 65535,
    SIM_RXQ = 4096, /* packets waiting in a socket without owner */
    SIM_ICMPQ = 16,
    SIM_MAX_FLIGHT = 1 << 18 /* packets under way */
};

/* A stream of random numbers (splitmix64); each object has its own. */
struct sim_rng {
    uint64_t s;
};

enum sim_error { SIM_ERR_NONE, SIM_ERR_PORT, SIM_ERR_HOST, SIM_ERR_TOO_BIG, SIM_ERR_ADMIN };

struct sim_pkt {
    struct sim_pkt *next; /* in a socket's queue */
    uint64_t id;
    struct ph_addr src, dst;
    ph_ns at;      /* arrival, once delivered */
    uint32_t size; /* bytes of the largest IP packet it travels as */
    uint8_t hops;
    bool df, fragmented;
    bool forwarded; /* a router has had it: IPv6 is no longer fragmented */
    uint8_t
        error; /* enum sim_error: an ICMP error, dst being the source of the packet in question */
    uint32_t mtu;         /* for SIM_ERR_TOO_BIG */
    struct ph_addr about; /* for errors: where the packet in question was to go */
    uint32_t len, cap;
    uint8_t data[];
};

/* Something with a name and counters. */
struct sim_place {
    char name[SIM_NAME];
    uint64_t n[SIM_HOW_COUNT];
};

struct sim_link {
    struct sim *sim;
    struct sim_iface *iface;
    bool up; /* from the owner to the net */
    struct sim_link_conf conf;
    struct sim_rng rng;
    struct sim_place place;
    ph_ns busy_until, last_at;
    bool bad; /* state of the Gilbert model */
};

enum sim_role { SIM_ROLE_HOST, SIM_ROLE_INSIDE, SIM_ROLE_OUTSIDE };

struct sim_ip {
    struct ph_addr a; /* port 0, no transport */
    struct sim_iface *iface;
    struct sim_ip *next; /* in the bucket of the net */
    bool used;
};

struct sim_iface {
    struct sim_iface *next; /* in the list of all */
    struct sim_iface *peer; /* the next one of the same host */
    struct sim_net *net;
    struct sim_host *host; /* or */
    struct sim_nat *nat;
    enum sim_role role;
    bool is_up;
    struct sim_link up, down;
    struct sim_ip ip[SIM_IFACE_IPS];
};

struct sim_net {
    struct sim_net *next;
    struct sim *sim;
    struct sim_place place;
    struct ph_addr prefix;
    unsigned prefix_len;
    bool unreachables;
    struct sim_nat *gateway;
    struct sim_ip *ips[SIM_BUCKETS];
};

struct sim_prog {
    struct sim_node node;
    struct sim_host *host;
    bool live;
};

struct sim_sock {
    uint32_t id; /* 0: free */
    uint16_t gen;
    uint32_t next; /* index of the next one in the host's bucket, or in the free list */
    struct sim_host *host;
    struct ph_addr addr;
    uint32_t owner; /* program number, 0: nobody */
    bool chosen;    /* owner was set by sim_sock_owner */
    struct sim_pkt *head, *tail, *last;
    unsigned queued;
    struct sim_icmp icmp[SIM_ICMPQ];
    unsigned icmp_first, icmp_n;
};

struct sim_host {
    struct sim_host *next;
    struct sim *sim;
    struct sim_place place;
    struct sim_iface *ifaces;
    struct sim_rng rng;
    struct ph_env env;
    uint32_t first_prog;
    uint16_t next_port;
    bool paused, silent, coalesced;
    uint32_t socks[SIM_BUCKETS]; /* index in sim->sock, 0: none */
};

/* A session of a mapping: a remote endpoint that the inside has sent to. */
struct sim_sess {
    struct sim_sess *next;
    struct ph_addr remote;
    ph_ns ends_at;
};

struct sim_map {
    struct sim_map *next_in, *next_ext, *next;
    struct ph_addr in, ext, remote; /* in: PH_AF_NONE when the box itself holds it (conntrack) */
    enum sim_scope scope;
    struct sim_sess *sess;
    uint64_t used; /* grows with each use */
};

struct sim_fwd {
    struct sim_fwd *next;
    struct ph_addr ext, in;
    ph_ns ends_at;
};

struct sim_nat {
    struct sim_nat *next;
    struct sim *sim;
    struct sim_place place;
    struct sim_nat_conf conf;
    struct sim_rng rng;
    struct ph_addr ext[SIM_NAT_IPS], prefix64;
    unsigned n_ext;
    struct sim_iface *inside, *outside;
    struct sim_map *all, *by_in[SIM_BUCKETS], *by_ext[SIM_BUCKETS];
    struct sim_fwd *fwd;
    uint32_t n_map, n_sess;
    uint32_t next_port;
    uint64_t uses;
    struct {
        struct ph_addr in, ext;
    } pair[SIM_BUCKETS]; /* paired pooling: which internal IP has which external one */
    unsigned n_pair;
};

struct sim_event {
    ph_ns at;
    uint64_t seq;
    struct sim_pkt *pkt; /* arrives at the end of link or at host */
    struct sim_link *link;
    struct sim_host *host;
    void (*fn)(void *ctx, ph_ns now); /* or a call */
    void *ctx;
};

struct sim_step {
    ph_ns at;
    uint64_t id;
    enum sim_how how;
    uint8_t error;
    char where[SIM_NAME];
    struct ph_addr src, dst;
    uint32_t len;
    uint8_t snip[SIM_SNIP]; /* or the text of a note */
};

struct sim {
    ph_ns now, started_at;
    uint64_t seed, streams, seq, ids;
    bool stuck; /* a node that never stops sending was seen */
    size_t flight;
    struct sim_event *heap;
    size_t n_event, cap_event;
    struct sim_rng rng;
    struct ph_env env;
    struct ph_log log;
    struct sim_link_conf link;
    struct sim_place place;
    struct sim_net *nets;
    struct sim_host *hosts;
    struct sim_iface *ifaces;
    struct sim_nat *nats;
    struct sim_prog **prog;
    uint32_t n_prog;
    struct sim_sock *sock; /* sock[0] is not used */
    uint32_t n_sock, cap_sock, free_sock;
    uint8_t *slot; /* for `output` */
    struct {
        bool (*fn)(void *ctx, struct sim_hop *h);
        void *ctx;
    } tap[SIM_TAPS];
    FILE *trace;
    void (*describe)(const uint8_t *p, size_t n, char *dst, size_t cap);
    struct sim_step *ring;
    uint64_t n_step;
};

/* sim.c */
_Noreturn void sim__die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void *sim__zalloc(size_t n);
void sim__name(struct sim_place *pl, const char *name);

/* rng.c */
void sim__rng_init(struct sim_rng *r, struct sim *s);
uint64_t sim__rng_next(struct sim_rng *r);
uint64_t sim__rng_below(struct sim_rng *r, uint64_t bound);
bool sim__rng_chance(struct sim_rng *r, double share);
void sim__rng_fill(void *rng, void *dst, size_t n);

/* queue.c: the event queue, ordered by time, then by order of posting */
void sim__post(struct sim *s, struct sim_event e);
bool sim__pop_due(struct sim *s, struct sim_event *e);
ph_ns sim__next_event(const struct sim *s);

/* pkt.c */
/* A packet with a new id; its data is zero. */
struct sim_pkt *sim__pkt_new(struct sim *s, const struct ph_addr *src, const struct ph_addr *dst,
                             uint32_t len);
struct sim_pkt *sim__pkt_copy(struct sim *s, const struct sim_pkt *p);
void sim__pkt_free(struct sim *s, struct sim_pkt *p);
/* The ICMP error about p, reported by an address of p's family; NULL if p is an error itself. */
struct sim_pkt *sim__pkt_error(struct sim *s, const struct sim_pkt *p, enum sim_error e,
                               const struct ph_addr *from);
void sim__icmp_fill(const struct sim_pkt *p, struct sim_icmp *e);
uint32_t sim__hash_ip(const struct ph_addr *a);
uint32_t sim__hash_endpoint(const struct ph_addr *a);

/* trace.c */
void sim__step(struct sim *s, enum sim_how how, struct sim_place *pl, const struct sim_pkt *p);
/* The same for a drop; frees p. */
void sim__drop(struct sim *s, enum sim_how how, struct sim_place *pl, struct sim_pkt *p);
/* Asks the taps.  May replace *p by a larger packet; drops it and returns false if a tap says so. */
bool sim__tapped(struct sim *s, enum sim_point at, struct sim_place *pl, struct sim_pkt **p);
void sim__log(void *ctx, enum ph_log_level level, const char *line);

/* link.c */
void sim__link_init(struct sim_link *l, struct sim_iface *i, bool up,
                    const struct sim_link_conf *c);
void sim__link_push(struct sim_link *l, struct sim_pkt *p);
void sim__link_arrive(struct sim_link *l, struct sim_pkt *p);

/* net.c */
struct sim_iface *sim__iface_new(struct sim *s, struct sim_net *n, enum sim_role role,
                                 const char *name, const struct sim_link_conf *c);
void sim__iface_add(struct sim_iface *i, const struct ph_addr *ip);
void sim__iface_del(struct sim_iface *i, const struct ph_addr *ip);
bool sim__iface_has(const struct sim_iface *i, const struct ph_addr *a);
/* The first address of a family, or NULL. */
const struct ph_addr *sim__iface_ip(const struct sim_iface *i, uint8_t family);
void sim__iface_receive(struct sim_iface *i, struct sim_pkt *p);
struct sim_ip *sim__net_find(const struct sim_net *n, const struct ph_addr *a);
void sim__net_route(struct sim_net *n, const struct sim_iface *from, struct sim_pkt *p);
struct ph_addr sim__ip(const char *text);

/* host.c */
bool sim__host_has(const struct sim_host *h, const struct ph_addr *a);
void sim__host_input(struct sim_host *h, struct sim_pkt *p);
int sim__host_send(struct sim_host *h, const struct ph_pkt *p);

/* sock.c */
struct sim_sock *sim__sock(const struct sim *s, uint32_t id);
/* The socket that gets packets for a local address: one bound to it before one bound to any. */
struct sim_sock *sim__sock_at(struct sim_host *h, const struct ph_addr *local);
void sim__socks_free(struct sim *s);

/* node.c */
void sim__node_input(struct sim *s, uint32_t prog, uint32_t sock, struct sim_pkt *p);
void sim__node_icmp(struct sim *s, uint32_t prog, const struct sim_icmp *e);
/* Ticks what is due and drains everybody.  Returns whether anything happened. */
bool sim__nodes_poll(struct sim *s);
ph_ns sim__nodes_deadline(const struct sim *s);

/* nat.c */
void sim__nat_out(struct sim_nat *t, struct sim_pkt *p);
void sim__nat_in(struct sim_nat *t, struct sim_pkt *p);
enum sim_mode sim__nat_mode(const struct sim_nat *t, uint8_t family);

/* natmap.c */
bool sim__scope_match(enum sim_scope scope, const struct ph_addr *a, const struct ph_addr *b);
struct sim_map *sim__map_out(const struct sim_nat *t, const struct ph_addr *in,
                             const struct ph_addr *remote);
struct sim_map *sim__map_in(const struct sim_nat *t, const struct ph_addr *ext,
                            const struct ph_addr *remote, bool *admitted);
struct sim_map *sim__map_new(struct sim_nat *t, const struct ph_addr *in, const struct ph_addr *ext,
                             const struct ph_addr *remote, enum sim_scope scope);
bool sim__map_touch(struct sim_nat *t, struct sim_map *m, const struct ph_addr *remote, ph_ns ttl);
void sim__map_refresh(struct sim_nat *t, struct sim_map *m, const struct ph_addr *remote);
bool sim__map_live(const struct sim_nat *t, const struct sim_map *m);
void sim__maps_purge(struct sim_nat *t, bool all);

/* natport.c: chooses an external endpoint for a new mapping; false when there is none */
bool sim__nat_choose(struct sim_nat *t, const struct ph_addr *in, const struct ph_addr *remote,
                     struct ph_addr *ext);

#endif
