/*
 * Reservations: the port above an EVEN-PORT relay, held for 30 s against a token (RFC 8656 7.2, 18.10).
 *
 * A client redeems the token from another port, so likely on another worker: the table is shared, fixed in
 * size and atomic.  The token is 64 random bits.
 */
#ifndef PH_TURN_RESERVE_H
#define PH_TURN_RESERVE_H

#include "stun/base/env.h"
#include "stun/base/time.h"
#include "turn/ports.h"

#include <stdint.h>

enum { PH_RESERVE_SLOTS = 1024 };

struct ph_reserve;

/* NULL when out of memory. */
struct ph_reserve *ph_reserve_new(void);
void ph_reserve_free(struct ph_reserve *r);

/* Holds a taken port of `ports` (known to all workers as relay number `relay`).  Returns 0 and the token, or
 * PH_E_LIMIT when the table is full (the port is still the caller's). */
int ph_reserve_hold(struct ph_reserve *r, struct ph_ports *ports, uint32_t relay, uint16_t port,
                    const struct ph_env *env, ph_ns now, uint64_t *token);

/* Redeems a token: the port becomes the caller's.  Returns 0, or PH_E_MISSING (unknown, used, expired). */
int ph_reserve_claim(struct ph_reserve *r, uint64_t token, ph_ns now, uint32_t *relay,
                     uint16_t *port);

/* Gives the ports of expired reservations back.  Call it at ph_reserve_deadline (any worker may). */
void ph_reserve_tick(struct ph_reserve *r, ph_ns now);

/* A time not after the next expiry, PH_NEVER when nothing is held. */
ph_ns ph_reserve_deadline(const struct ph_reserve *r);

#endif
