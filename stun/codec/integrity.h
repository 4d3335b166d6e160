/*
 * Integrity and keys: with aead.c the only file of the pure libraries that knows OpenSSL.
 *
 * HMAC is built here on EVP digests that are fetched once per process, since a fetch per message
 * costs more than the hash.  All compares of secrets are constant-time.  Everything may be called
 * from any thread. A digest that fails for another reason (libcrypto out of memory) ends the
 * process: a wrong MAC must never pass for a right one.
 *
 * Usernames, realms and passwords are taken as the bytes they are: a caller with non-ASCII input
 * applies OpaqueString (RFC 8265) first, as RFC 8489 9.2 asks.
 */
#ifndef PH_CODEC_INTEGRITY_H
#define PH_CODEC_INTEGRITY_H

#include "stun/base/slice.h"
#include "stun/codec/msg.h"

#include <stdbool.h>
#include <stdint.h>

/* Password algorithms (RFC 8489 18.5). */
enum { PH_ALG_NONE = 0, PH_ALG_MD5 = 1, PH_ALG_SHA256 = 2 };

enum { PH_SHA1_LEN = 20, PH_SHA256_LEN = 32, PH_MD5_LEN = 16, PH_KEY_MAX = 32 };

/* A long-term key: 16 bytes for MD5, 32 for SHA-256. */
struct ph_key {
    uint8_t b[PH_KEY_MAX];
    uint8_t n;   /* 0: no key */
    uint8_t alg; /* PH_ALG_... */
};

/* The bytes of a key.  Borrows. */
static inline struct ph_slice ph_key_slice(const struct ph_key *k)
{
    return (struct ph_slice){k->b, k->n};
}

/* The long-term key: MD5 or SHA-256 of "user:realm:password" (RFC 8489 9.2.2).  Returns 0, or
 * PH_E_ARG for an algorithm that is not MD5 or SHA-256, or PH_E_UNSUPPORTED if the crypto provider
 * lacks it (MD5 in FIPS mode). */
int ph_key_long_term(struct ph_key *out, uint16_t alg, struct ph_slice user, struct ph_slice realm,
                     struct ph_slice password);

/* USERHASH: SHA-256 of "user:realm" (RFC 8489 14.4). */
void ph_userhash(uint8_t out[static PH_SHA256_LEN], struct ph_slice user, struct ph_slice realm);

/* HMAC over up to several parts, as if they were one. */
void ph_hmac_sha1(uint8_t out[static PH_SHA1_LEN], struct ph_slice key,
                  const struct ph_slice *parts, unsigned n);
void ph_hmac_sha256(uint8_t out[static PH_SHA256_LEN], struct ph_slice key,
                    const struct ph_slice *parts, unsigned n);

/* Plain digests over several parts. */
void ph_sha256(uint8_t out[static PH_SHA256_LEN], const struct ph_slice *parts, unsigned n);
void ph_md5(uint8_t out[static PH_MD5_LEN], const struct ph_slice *parts, unsigned n);

/* Compares n bytes in a time that depends on n only. */
bool ph_equal_ct(const void *a, const void *b, size_t n);

/* Overwrites a secret so that the compiler cannot drop it. */
void ph_wipe(void *p, size_t n);

/* Checks MESSAGE-INTEGRITY of a parsed message.  Returns 0, PH_E_MISSING or PH_E_AUTH. */
int ph_msg_check_integrity(const struct ph_msg *m, struct ph_slice key);

/* Checks MESSAGE-INTEGRITY-SHA256, truncated to no less than 16 bytes (RFC 8489 14.6).  Returns 0,
 * PH_E_MISSING or PH_E_AUTH. */
int ph_msg_check_integrity_sha256(const struct ph_msg *m, struct ph_slice key);

#endif
