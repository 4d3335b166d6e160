/*
 * Mobility tickets (RFC 8016): how a client that has moved to another address finds its allocation again.
 *
 *     version(1) worker(1) node(4) slot(4) serial(8) mac(12)  =  30 bytes, as 40 characters of base64
 *
 * As text, since there are clients that keep it as a string (coturn's).
 * The MAC is HMAC-SHA256(key, the fields before it | user name | realm), cut to 96 bits: nobody can make one up, and
 * another user's ticket is worth nothing.  A ticket is only an address: whether it is the last one given out for the
 * allocation is told by the serial, which the allocation knows.
 */
#ifndef PH_TURN_TICKET_H
#define PH_TURN_TICKET_H

#include "stun/base/slice.h"

#include <stdint.h>

enum { PH_TICKET_KEY_LEN = 32, PH_TICKET_LEN = 40 };

struct ph_ticket {
    uint8_t worker;
    uint32_t node; /* number of the server that made it (ph_fleet_node), 0: it is alone */
    uint32_t slot;
    uint64_t serial; /* random, of one ticket */
};

/* Writes a ticket for a user. */
void ph_ticket_make(uint8_t dst[static PH_TICKET_LEN], const uint8_t key[static PH_TICKET_KEY_LEN],
                    const struct ph_ticket *t, struct ph_slice user, struct ph_slice realm);

/* Reads one, trying n keys that lie one behind the other.  0, or PH_E_AUTH: made with none of them, or not for this user. */
int ph_ticket_read(struct ph_ticket *t, const uint8_t *keys, unsigned n, struct ph_slice ticket,
                   struct ph_slice user, struct ph_slice realm);

#endif
