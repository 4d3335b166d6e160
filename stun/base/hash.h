/*
 * SipHash-1-3 with a 128-bit key: the keyed hash of every table whose keys come from the network.
 *
 * Addresses and transaction ids are chosen by whoever sends packets; with an unkeyed hash a flood
 * could aim all its entries at one bucket.
 */
#ifndef PH_BASE_HASH_H
#define PH_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

struct ph_hash_key {
    uint64_t k0, k1; /* random, from ph_env.rand */
};

/* The hash of n bytes. */
uint64_t ph_hash(const struct ph_hash_key *k, const void *p, size_t n);

#endif
