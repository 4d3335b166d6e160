/*
 * Strays: allocations that were put on one worker while the kernel hands their client's packets to another one.
 *
 * After a restart or an adoption an allocation stands on the worker its record names, or on any.  Which worker its client's
 * packets come to is up to the kernel (SO_REUSEPORT).  A worker that gets a packet of a five-tuple it does not know looks here,
 * and has the allocation brought over (PH_ELSEWHERE); from then on nobody looks.  Asked only on a miss, and costs one load
 * while there are none.
 *
 * A mobility ticket names the worker that made it, which may be none of these; so it is found here too, as if it were a client
 * (ph_stray_ticket).
 *
 * Shared by the workers: fixed memory, atomic words, no lock.
 */
#ifndef PH_TURN_STRAYS_H
#define PH_TURN_STRAYS_H

#include "stun/base/addr.h"
#include "stun/base/env.h"
#include "stun/base/time.h"

#include <stdbool.h>
#include <stdint.h>

struct ph_strays;

struct ph_stray {
    uint8_t worker;
    uint32_t slot;
    uint64_t session;
};

/* Room for about so many at a time (36 bytes each); an allocation with tickets needs up to three.  NULL when out of memory. */
struct ph_strays *ph_strays_new(uint32_t room, const struct ph_env *env);
void ph_strays_free(struct ph_strays *s);

/* A ticket in place of a client, with listener 0. */
static inline struct ph_addr ph_stray_ticket(uint64_t serial)
{
    struct ph_addr a = {.family = PH_AF_NONE};
    memcpy(a.ip, &serial, sizeof serial);
    return a;
}

/* An allocation stands on a worker; its slot is below 2^24.  0, or PH_E_LIMIT: no room, its client will have to allocate
 * anew.  It is forgotten at `until` (its expiry) at the latest. */
int ph_strays_add(struct ph_strays *s, const struct ph_addr *client, uint32_t listener,
                  const struct ph_stray *at, ph_ns until);

/* Finds one.  False: none. */
bool ph_strays_find(const struct ph_strays *s, const struct ph_addr *client, uint32_t listener,
                    struct ph_stray *at, ph_ns now);

/* It is where its client is, or it has ended. */
void ph_strays_del(struct ph_strays *s, const struct ph_addr *client, uint32_t listener);

/* How many there are. */
uint32_t ph_strays_count(const struct ph_strays *s);

#endif
