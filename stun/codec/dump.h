/*
 * A message as a person reads it, for logs, failing tests and `stunclient -v`.
 *
 *     Binding request, 108 bytes, id b7e7a701bc34d686fa87dfae
 *       SOFTWARE                 "STUN test client"
 *       USERNAME                 "evtj:h6vY"
 *       MESSAGE-INTEGRITY        9aeaa70c...
 *       FINGERPRINT              0xe57a3bcf (good)
 */
#ifndef PH_CODEC_DUMP_H
#define PH_CODEC_DUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Writes the dump of a frame of n bytes; lines end in '\n', the text in '\0'; cut at cap.  What
 * cannot be parsed is described and shown as hex.  Attributes that a receiver ignores are shown as
 * "(ignored)". With mask, credentials (USERNAME, USERHASH, NONCE, ACCESS-TOKEN, MOBILITY-TICKET,
 * RESERVATION-TOKEN, integrity values) and what cannot be told apart show their length only.
 * Returns the length that was wanted, like snprintf. */
int ph_msg_dump(const uint8_t *p, size_t n, bool mask, char *dst, size_t cap);

#endif
