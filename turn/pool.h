/*
 * Relay ports that allocations share: which packet at such a port is whose.
 *
 * Where ports have to be published one by one (containers), there cannot be one for each allocation.  A pool has a few,
 * and a packet is told apart by the port it came to and the peer it came from:
 *
 *     flow (port, peer's IP and port) -> one member         made when the member's client sends there or binds a channel
 *     permission (port, peer's IP)    -> some members       the only one gets what comes from a peer without a flow
 *
 * A flow is exclusive: while its holder's permission lasts nobody else on this port can have it, or peers would speak to
 * the wrong client.  Two clients that talk to one peer (a media server) so need different ports, and a new member gets
 * the port that fewest have.  When several members permit the IP of a peer without a flow, what it sends is nobody's, but
 * for ICE: a check names its receiver (the user name fragment in front of the colon, RFC 8445 7.2.2), who is known by the
 * checks that he has sent himself.
 *
 * Between ports of the pool a packet never leaves the server, so its sender is known and the rule is a finer one: a flow
 * is from member to member, and any number of pairs may meet at the same two ports, or at one (ph_pool_across).
 *
 * Ports are numbers below `ports`, members are numbers of the caller's (small ones: they index an array).  No clock, no
 * addresses but those of peers.  Memory is bounded by the members, and of each by `permissions` and `flows`.
 */
#ifndef PH_TURN_POOL_H
#define PH_TURN_POOL_H

#include "stun/base/addr.h"
#include "stun/base/env.h"
#include "stun/base/slice.h"
#include "stun/base/time.h"

#include <stdbool.h>
#include <stdint.h>

enum { PH_POOL_PORTS_MAX = 1024 /* of one address */ };

/* Instead of a member. */
#define PH_POOL_NOBODY         UINT32_MAX       /* there is none with a permission */
#define PH_POOL_SEVERAL        (UINT32_MAX - 1) /* it cannot be told which of them */
#define PH_POOL_TAKEN          (UINT32_MAX - 2) /* those who are there are in another conversation */
#define PH_POOL_NO_ONE(member) ((member) >= PH_POOL_TAKEN)

struct ph_pool;

/* A pool of so many ports, without members.  `permissions` and `flows` are the most that a member may have.  env is copied.
 * NULL when out of memory. */
struct ph_pool *ph_pool_new(unsigned ports, unsigned permissions, unsigned flows,
                            const struct ph_env *env);
void ph_pool_free(struct ph_pool *p);

/* --- ports and their members ----------------------------------------------------------------------- */

/* Of the ports first, first + step ... below end the one with the fewest members, one of them at random.  PH_E_LIMIT when
 * there is none in this range. */
int ph_pool_pick(const struct ph_pool *p, unsigned first, unsigned end, unsigned step);

/* Lets a member that has no port have this one.  0 or PH_E_NOMEM. */
int ph_pool_join(struct ph_pool *p, uint32_t member, unsigned port);

/* Takes a member away, with all that it has.  Nothing happens to one that has not joined. */
void ph_pool_leave(struct ph_pool *p, uint32_t member);

unsigned ph_pool_members(const struct ph_pool *p, unsigned port);

/* --- permissions and flows ------------------------------------------------------------------------- */

/* The member permits an IP (the port does not matter) until then; also to renew or to end it.  0, PH_E_LIMIT or
 * PH_E_NOMEM: it is as it was. */
int ph_pool_permit(struct ph_pool *p, uint32_t member, const struct ph_addr *ip, ph_ns until,
                   ph_ns now);

/* Would claiming this flow be a conflict? */
bool ph_pool_is_taken(const struct ph_pool *p, uint32_t member, const struct ph_addr *peer,
                      ph_ns now);

/* The member's client sends to a peer, or binds a channel to it: from now on the flow is his.  If he has too many, the one
 * that he has not sent by for longest is given up.  0; PH_E_STATE: it is another member's, whose permission lasts;
 * PH_E_MISSING: he has no permission; PH_E_NOMEM. */
int ph_pool_claim(struct ph_pool *p, uint32_t member, const struct ph_addr *peer, ph_ns now);

/* Whose flow it is: a member, or PH_POOL_NOBODY. */
uint32_t ph_pool_holder(const struct ph_pool *p, unsigned port, const struct ph_addr *peer,
                        ph_ns now);

/* Who gets a packet that came to a port: the holder of the flow, else the only one who permits the peer's IP, and then it
 * is his flow.  Or PH_POOL_NOBODY, PH_POOL_SEVERAL. */
uint32_t ph_pool_receiver(struct ph_pool *p, unsigned port, const struct ph_addr *from, ph_ns now);

/* --- ICE ------------------------------------------------------------------------------------------- */

/* The member's client has sent a check, in which it names itself.  The last two names are remembered. */
void ph_pool_learn(struct ph_pool *p, uint32_t member, struct ph_slice ufrag);

/* After PH_POOL_SEVERAL, and if the packet is a check for who is called so: the one among them with this name, and then it
 * is his flow.  Or PH_POOL_NOBODY, PH_POOL_SEVERAL. */
uint32_t ph_pool_named(struct ph_pool *p, unsigned port, const struct ph_addr *from,
                       struct ph_slice ufrag, ph_ns now);

/* --- inside the pool ------------------------------------------------------------------------------- */

/* A packet from one port of the pool to another, or to itself. */
struct ph_pool_hop {
    uint32_t member;     /* its sender */
    unsigned to;         /* the port it is for */
    struct ph_addr peer; /* that port's address as the sender names it, who has permission for it */
    struct ph_addr from; /* the sender's address, as receivers name it */
    struct ph_slice name; /* whom it is for, if it is a check; else empty */
};

/* Who gets it: who is named; else whom the sender had last reached there; else the only one at that port who permits the
 * sender and is not in a conversation with another one from the same port; else, at his own port, the sender himself.  Two
 * who have sent to each other are in a conversation as long as both permissions last.  Or PH_POOL_NOBODY,
 * PH_POOL_SEVERAL, PH_POOL_TAKEN. */
uint32_t ph_pool_across(struct ph_pool *p, const struct ph_pool_hop *hop, ph_ns now);

#endif
