/*
 * The keys of a fleet: one secret that all nodes are configured with, and all that is made of it.
 *
 *     sealing   records in a store that others can read and write (AES-256-GCM), bound to their name in it
 *     nonces    every node checks what any node gave out; another key every day
 *     tickets   the same (RFC 8016)
 *     notes     what nodes tell each other through Redis is signed
 *
 * Keys are derived with HMAC-SHA256 from the secret, a label and, where they change by themselves, the day: nodes whose
 * clocks agree to some hours need not talk about it.  To change the secret, give the new one first and keep the old one second
 * until everybody has the new one: the first one seals, any of them opens.  No I/O; may be used from any thread.
 */
#ifndef PH_TURN_FLEETKEY_H
#define PH_TURN_FLEETKEY_H

#include "stun/base/env.h"
#include "stun/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    PH_FLEET_KEY_LEN = 32,
    PH_FLEET_SECRETS = 4,    /* of which the first one is in use */
    PH_FLEET_DAYS = 8,       /* a ticket is good for the day it was made and seven more */
    PH_FLEET_SEAL_ROOM = 32, /* bytes that sealing adds, at most */
    PH_FLEET_MAC_LEN = 16
};

struct ph_fleet_keys {
    uint8_t secret[PH_FLEET_SECRETS][PH_FLEET_KEY_LEN];
    unsigned n; /* 0: no fleet */
};

/* Makes a secret of text: 64 hex digits are taken as they are, anything else of at least 16 bytes is hashed.  0, or
 * PH_E_SHORT. */
int ph_fleet_secret(uint8_t dst[static PH_FLEET_KEY_LEN], struct ph_slice text);

/* Seals plain under a name (where it will be found: what is moved elsewhere does not open).  dst has room for plain.n +
 * PH_FLEET_SEAL_ROOM.  Returns the length, or a negative error. */
int ph_fleet_seal(const struct ph_fleet_keys *k, uint8_t *dst, struct ph_slice name,
                  struct ph_slice plain, const struct ph_env *env);

/* Opens it into dst, which has room for sealed.n bytes.  Returns the length; PH_E_SHORT: not a sealed text; PH_E_UNSUPPORTED: of
 * another version; PH_E_AUTH: another secret, another name, or changed. */
int ph_fleet_open(const struct ph_fleet_keys *k, uint8_t *dst, struct ph_slice name,
                  struct ph_slice sealed);

/* The day that keys of now are of. */
uint32_t ph_fleet_day(int64_t unix_s);

/* The key for a label ("nonce", "ticket") and day, of secret i. */
void ph_fleet_day_key(const struct ph_fleet_keys *k, unsigned i, const char *label, uint32_t day,
                      uint8_t dst[static PH_FLEET_KEY_LEN]);

/* Signs a note under a name; checks one (any secret). */
void ph_fleet_sign(const struct ph_fleet_keys *k, uint8_t mac[static PH_FLEET_MAC_LEN],
                   struct ph_slice name, struct ph_slice note);
bool ph_fleet_signed(const struct ph_fleet_keys *k, const uint8_t mac[static PH_FLEET_MAC_LEN],
                     struct ph_slice name, struct ph_slice note);

/* A user as notes name him: not by his name.  64 bits of HMAC(secret 0, realm, user). */
uint64_t ph_fleet_user(const struct ph_fleet_keys *k, struct ph_slice realm, struct ph_slice user);

/* The number of a node in tickets: 32 bits of a hash of its name, never 0. */
uint32_t ph_fleet_node(struct ph_slice name);

#endif
