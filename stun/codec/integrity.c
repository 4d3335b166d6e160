/*
 * HMAC, digests and keys on OpenSSL's EVP, with the costs taken out of the path of a message.
 *
 * Fetching a digest takes longer than hashing a STUN message, so each is fetched once per process.
 * A digest context is taken from a small shelf of idle ones and put back afterwards; it stays set
 * up for its digest, so starting over neither allocates nor looks anything up.  Both are atomic
 * pointers: no thread library is needed, and no thread can see another one's context.
 *
 * A digest that fails means that libcrypto is broken or out of memory.  A wrong MAC must never pass
 * for a right one, so the process ends then; only MD5, which a FIPS provider may lack, is a return
 * value.
 */
#include "stun/codec/integrity.h"

#include "stun/base/bytes.h"
#include "stun/base/error.h"
#include "stun/codec/priv.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 64, SHELF = 8 }; /* block bytes of MD5, SHA-1 and SHA-256 */

/* A digest of the process: what was fetched, and idle contexts set up for it. */
struct digest {
    const char *name;
    size_t n; /* bytes of its value */
    _Atomic(EVP_MD *) md;
    _Atomic(EVP_MD_CTX *) idle[SHELF];
};

static struct digest SHA1 = {.name = "SHA1", .n = PH_SHA1_LEN};
static struct digest SHA256 = {.name = "SHA256", .n = PH_SHA256_LEN};
static struct digest MD5 = {.name = "MD5", .n = PH_MD5_LEN};

/* The fetched digest, or NULL if the provider has none. */
static EVP_MD *fetched(struct digest *d)
{
    EVP_MD *md = atomic_load_explicit(&d->md, memory_order_acquire);
    if (md)
        return md;
    md = EVP_MD_fetch(NULL, d->name, NULL);
    EVP_MD *other = NULL;
    if (md && !atomic_compare_exchange_strong(&d->md, &other, md)) {
        EVP_MD_free(md); /* another thread was first */
        md = other;
    }
    return md;
}

static EVP_MD_CTX *take_ctx(struct digest *d)
{
    for (unsigned i = 0; i < SHELF; i++) {
        if (!atomic_load_explicit(&d->idle[i], memory_order_relaxed))
            continue;
        EVP_MD_CTX *c = atomic_exchange_explicit(&d->idle[i], NULL, memory_order_acquire);
        if (c)
            return c;
    }
    return EVP_MD_CTX_new();
}

static void put_ctx(struct digest *d, EVP_MD_CTX *c)
{
    for (unsigned i = 0; i < SHELF; i++) {
        EVP_MD_CTX *none = NULL;
        if (atomic_compare_exchange_strong_explicit(&d->idle[i], &none, c, memory_order_release,
                                                    memory_order_relaxed))
            return;
    }
    EVP_MD_CTX_free(c);
}

static void must(int ok)
{
    if (!ok)
        abort();
}

static void start(struct digest *d, EVP_MD_CTX *c)
{
    must(c && EVP_DigestInit_ex2(c, fetched(d), NULL));
}

static void add(EVP_MD_CTX *c, const struct ph_slice *parts, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        must(parts[i].n == 0 || EVP_DigestUpdate(c, parts[i].p, parts[i].n));
}

static void finish(EVP_MD_CTX *c, uint8_t *out)
{
    unsigned n;
    must(EVP_DigestFinal_ex(c, out, &n));
}

static void digest(struct digest *d, uint8_t *out, const struct ph_slice *parts, unsigned n)
{
    EVP_MD_CTX *c = take_ctx(d);
    start(d, c);
    add(c, parts, n);
    finish(c, out);
    put_ctx(d, c);
}

/* RFC 2104: H(key ^ opad, H(key ^ ipad, parts)). */
static void hmac(struct digest *d, uint8_t *out, struct ph_slice key, const struct ph_slice *parts,
                 unsigned n)
{
    uint8_t pad[BLOCK + PH_SHA256_LEN] = {0}, inner[PH_SHA256_LEN];
    if (key.n > BLOCK)
        digest(d, pad, &key, 1);
    else if (key.n)
        memcpy(pad, key.p, key.n);
    for (unsigned i = 0; i < BLOCK; i++)
        pad[i] ^= 0x36;
    EVP_MD_CTX *c = take_ctx(d);
    start(d, c);
    add(c, &(struct ph_slice){pad, BLOCK}, 1);
    add(c, parts, n);
    finish(c, inner);
    for (unsigned i = 0; i < BLOCK; i++)
        pad[i] ^= 0x36 ^ 0x5C;
    memcpy(pad + BLOCK, inner, d->n);
    start(d, c);
    add(c, &(struct ph_slice){pad, BLOCK + d->n}, 1);
    finish(c, out);
    put_ctx(d, c);
    ph_wipe(pad, sizeof pad);
}

void ph_hmac_sha1(uint8_t out[static PH_SHA1_LEN], struct ph_slice key,
                  const struct ph_slice *parts, unsigned n)
{
    hmac(&SHA1, out, key, parts, n);
}

void ph_hmac_sha256(uint8_t out[static PH_SHA256_LEN], struct ph_slice key,
                    const struct ph_slice *parts, unsigned n)
{
    hmac(&SHA256, out, key, parts, n);
}

void ph_sha256(uint8_t out[static PH_SHA256_LEN], const struct ph_slice *parts, unsigned n)
{
    digest(&SHA256, out, parts, n);
}

void ph_md5(uint8_t out[static PH_MD5_LEN], const struct ph_slice *parts, unsigned n)
{
    digest(&MD5, out, parts, n);
}

int ph_key_long_term(struct ph_key *out, uint16_t alg, struct ph_slice user, struct ph_slice realm,
                     struct ph_slice password)
{
    struct digest *d = alg == PH_ALG_MD5 ? &MD5 : &SHA256;
    struct ph_slice parts[] = {user, ph_str(":"), realm, ph_str(":"), password};
    if (alg != PH_ALG_MD5 && alg != PH_ALG_SHA256)
        return PH_E_ARG;
    if (!fetched(d))
        return PH_E_UNSUPPORTED;
    struct ph_key k = {.n = (uint8_t)d->n, .alg = (uint8_t)alg};
    digest(d, k.b, parts, sizeof parts / sizeof *parts);
    *out = k;
    ph_wipe(&k, sizeof k);
    return 0;
}

void ph_userhash(uint8_t out[static PH_SHA256_LEN], struct ph_slice user, struct ph_slice realm)
{
    ph_sha256(out, (struct ph_slice[]){user, ph_str(":"), realm}, 3);
}

bool ph_equal_ct(const void *a, const void *b, size_t n)
{
    return CRYPTO_memcmp(a, b, n) == 0;
}

void ph_wipe(void *p, size_t n)
{
    OPENSSL_cleanse(p, n);
}

/* Checks the first MAC bytes at attribute ix against the HMAC of all in front of it, computed with
 * a header length that ends with the attribute (RFC 8489 14.5, 14.6), whatever follows it. */
static int check(const struct ph_msg *m, enum ph_attr_index ix, struct digest *d,
                 struct ph_slice key)
{
    uint32_t at = ph__msg_at(m, ix);
    uint8_t head[PH_STUN_HEADER], mac[PH_SHA256_LEN];
    if (!at)
        return PH_E_MISSING;
    uint32_t n = ph_get16(m->p + at + 2);
    memcpy(head, m->p, sizeof head);
    ph_put16(head + 2, (uint16_t)(at + PH__ATTR_HEADER + n - PH_STUN_HEADER));
    struct ph_slice parts[] = {{head, sizeof head}, {m->p + sizeof head, at - sizeof head}};
    hmac(d, mac, key, parts, 2);
    return ph_equal_ct(mac, m->p + at + PH__ATTR_HEADER, n) ? 0 : PH_E_AUTH;
}

int ph_msg_check_integrity(const struct ph_msg *m, struct ph_slice key)
{
    return check(m, PH_IX_MESSAGE_INTEGRITY, &SHA1, key);
}

int ph_msg_check_integrity_sha256(const struct ph_msg *m, struct ph_slice key)
{
    return check(m, PH_IX_MESSAGE_INTEGRITY_SHA256, &SHA256, key);
}
