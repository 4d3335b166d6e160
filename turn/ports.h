/*
 * The relay ports of one IP address, as a bitmap that all workers share.
 *
 * A port is picked at random among the free ones, so that it cannot be guessed (RFC 8656 7.2, RFC 6056); even
 * ports and pairs for EVEN-PORT.  The bitmap is atomic words: no lock, no queue, and "is this port a live relay of
 * ours" is one load, which is how relay-to-relay traffic is let through where the own address is otherwise
 * denied.  A port is live while a UDP socket of ours is bound to it: one that is only reserved, or a TCP relay's, may
 * be some other program's over UDP.  16 kB.
 */
#ifndef PH_TURN_PORTS_H
#define PH_TURN_PORTS_H

#include "stun/base/env.h"

#include <stdbool.h>
#include <stdint.h>

struct ph_ports;

enum ph_port_want {
    PH_PORT_ANY,
    PH_PORT_EVEN,     /* EVEN-PORT with R = 0 */
    PH_PORT_EVEN_PAIR /* EVEN-PORT with R = 1: the port and the one above, both taken */
};

/* The ports lo..hi, both included.  NULL when out of memory or lo > hi. */
struct ph_ports *ph_ports_new(uint16_t lo, uint16_t hi);
void ph_ports_free(struct ph_ports *p);

/* Takes a port.  after = 0: a random one; else the next free one above `after`, wrapping: for when the system
 * would not bind the one just given back.  Returns the port, or PH_E_LIMIT when none fits. */
int ph_ports_take(struct ph_ports *p, enum ph_port_want want, uint16_t after,
                  const struct ph_env *env);

/* Takes this very port.  False: it is out of range or taken. */
bool ph_ports_take_exact(struct ph_ports *p, uint16_t port);

/* Gives a port back. */
void ph_ports_release(struct ph_ports *p, uint16_t port);

/* True if the port is taken: a relay (or a reservation) of this server. */
bool ph_ports_taken(const struct ph_ports *p, uint16_t port);

/* Says that a taken port is live from now on, until it is given back. */
void ph_ports_set_live(struct ph_ports *p, uint16_t port);
bool ph_ports_live(const struct ph_ports *p, uint16_t port);

/* Ports taken at the moment, and in all. */
uint32_t ph_ports_used(const struct ph_ports *p);
uint32_t ph_ports_total(const struct ph_ports *p);

#endif
