/*
 * An allocation as a record: what of it outlives the process.
 *
 * Plain bytes with a version, made by ph_turnd_save and read by ph_turnd_restore; what lies between them (a file, Redis, a
 * pipe to the next process) is none of its business, and neither is secrecy: a record holds the key of a user, so seal it
 * (fleetkey.h) before it leaves the process.  Times are of the wall clock: the monotonic one ends with the machine.
 *
 * Reading trusts nothing: every length is checked, every number has a range, every list a bound.
 */
#ifndef PH_TURN_RECORD_H
#define PH_TURN_RECORD_H

#include "stun/base/addr.h"
#include "stun/base/slice.h"
#include "stun/codec/integrity.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    PH_RECORD_VERSION = 1,
    PH_RECORD_LIST = 1024,     /* permissions, and channels, at most */
    PH_RECORD_NAME = 508,      /* bytes of a user name (RFC 8489 14.3) */
    PH_RECORD_REALM = 763,     /* bytes of a realm (RFC 8489 14.9) */
    PH_RECORD_MAX = 128 * 1024 /* bytes of a record */
};

struct ph_record_perm {
    uint8_t ip[16];
    uint8_t family;
    int64_t expires_ms; /* unix time */
};

struct ph_record_chan {
    struct ph_addr peer;
    uint16_t number;
    int64_t expires_ms;
};

/* Slices and lists are borrowed: from the allocation when writing, from the reader's scratch when reading. */
struct ph_record {
    uint64_t session;
    struct ph_addr client;   /* proto: its transport */
    struct ph_addr listener; /* address (and transport) of ours that it is a client of */
    bool away;               /* its client's connection is lost, it waits for a ticket */
    struct ph_addr relay[2]; /* [0] IPv4, [1] IPv6, as bound; PH_AF_NONE: absent */
    uint16_t code[2];        /* with `both`: why one could not be had (440, 508); else 0 */
    bool tcp;                /* a TCP relay (RFC 6062): its connections are not kept */
    bool sha256, fingerprint, draft, both, counted;
    uint8_t txid[12]; /* of its Allocate, for a retransmission */
    uint32_t lifetime_s;
    int64_t created_ms, expires_ms;
    uint64_t to_peer_packets, to_peer_bytes, to_client_packets, to_client_bytes, dropped;
    uint64_t in_packets, in_bytes, out_packets, out_bytes, peer_packets,
        peer_bytes; /* what struct ph_turnd_usage has beyond these; bytes modulo 2^64 */
    uint64_t serial, serial_before; /* mobility tickets; serial 0: it has none */

    bool has_user, oauth; /* what follows is of its user */
    struct ph_slice name, realm,
        id; /* id: the part of the name that quotas count; empty with oauth */
    struct ph_key key;
    uint32_t max_allocations;
    uint64_t max_bps;
    int64_t cred_expires_s; /* INT64_MAX: never */

    const struct ph_record_perm *perm;
    const struct ph_record_chan *chan;
    uint16_t n_perm, n_chan;
};

/* Room for the lists of a record that is read. */
struct ph_record_room {
    struct ph_record_perm perm[PH_RECORD_LIST];
    struct ph_record_chan chan[PH_RECORD_LIST];
};

/* Writes a record.  Returns its length, or PH_E_NOSPACE: also for what no reader would take (a longer name or list). */
int ph_record_write(const struct ph_record *r, uint8_t *dst, size_t cap);

/* Reads one; slices of *r point into bytes, lists into *room.  0; PH_E_UNSUPPORTED: of another version; PH_E_SHORT or
 * PH_E_FORMAT: broken. */
int ph_record_read(struct ph_record *r, struct ph_record_room *room, struct ph_slice bytes);

#endif
