/*
 * The plan: which sockets a configuration asks for on this machine.
 *
 * Without listening-ip every address of the machine is listened on, with a wildcard every one of its family; UDP
 * listeners are numbered before TCP ones.  Without relay-ip the listening addresses are relayed from (coturn's rules).  Loopback addresses are then relayed from only when there is
 * no other of the family.  Nothing is opened here.
 */
#ifndef PH_TURND_PLAN_H
#define PH_TURND_PLAN_H

#include "cmd/turnd/conf.h"
#include "turn/uv/server.h"

struct ph_tplan {
    struct ph_addr listener[PH_TURND_LISTENERS];
    struct ph_addr listener_external[PH_TURND_LISTENERS]; /* PH_AF_NONE: as bound */
    uint8_t accept[PH_TURND_LISTENERS];                   /* PH_ACCEPT_... */
    unsigned n_listeners;
    struct ph_turn_uv_quad quad[PH_TURN_UV_QUADS]; /* of RFC 5780 */
    unsigned n_quads;
    struct ph_addr relay[PH_TURND_RELAYS];
    struct ph_addr relay_external[PH_TURND_RELAYS];
    unsigned n_relays;
    uint16_t pool_ports; /* ports from min-port on that relays share, 0: none */
    unsigned workers;    /* threads, 0: the main thread */
};

/* Makes the plan; `machine` are the n addresses of this machine.  What is wrong becomes errors in c->opts. */
void ph_tplan_make(struct ph_tplan *p, struct ph_tconf *c, const struct ph_addr *machine,
                   unsigned n);

/* The addresses of this machine's interfaces that are up and can be bound, at most max, link-local ones excepted and
 * loopback last.  Returns how many, or -errno. */
int ph_tplan_machine(struct ph_addr *v, unsigned max);

/* Whether an address of this machine (free_bind: any address) can be bound, at its port if it has one, by its proto: 0
 * or -errno. */
int ph_tplan_try(const struct ph_addr *ip, bool free_bind);

/* Whether this machine has an address now. */
bool ph_tplan_is_local(const struct ph_addr *ip);

/* What a listener speaks: "udp", "udp and dtls", "tcp and tls behind a PROXY header" ... */
const char *ph_tplan_speaks(const struct ph_tplan *p, unsigned listener);

/* CPUs that this process may use. */
unsigned ph_tplan_cpus(void);

#endif
