#include "stun/codec/aead.h"

#include "stun/base/error.h"
#include "stun/codec/integrity.h"

#include <openssl/evp.h>
#include <stdbool.h>

/* A token is a few hundred bytes: nothing near what OpenSSL's int can count. */
enum { MOST = 1 << 20 };

/* Nonces of 12 bytes are what OpenSSL's GCM takes unless told otherwise.  0, PH_E_ARG or PH_E_NOMEM. */
static int start(EVP_CIPHER_CTX **ctx, struct ph_slice key, const uint8_t *nonce, int sealing)
{
    const EVP_CIPHER *cipher = key.n == 16   ? EVP_aes_128_gcm()
                               : key.n == 32 ? EVP_aes_256_gcm()
                                             : NULL;
    if (!cipher)
        return PH_E_ARG;
    *ctx = EVP_CIPHER_CTX_new();
    if (*ctx && EVP_CipherInit_ex(*ctx, cipher, NULL, key.p, nonce, sealing) == 1)
        return 0;
    EVP_CIPHER_CTX_free(*ctx);
    return PH_E_NOMEM;
}

/* Feeds bytes; with dst NULL they are associated data. */
static int feed(EVP_CIPHER_CTX *ctx, uint8_t *dst, struct ph_slice s)
{
    int n;
    return s.n == 0 || EVP_CipherUpdate(ctx, dst, &n, s.p, (int)s.n) == 1;
}

int ph_aead_seal(uint8_t *dst, struct ph_slice key, const uint8_t nonce[static PH_AEAD_NONCE_LEN],
                 struct ph_slice aad, struct ph_slice plain)
{
    EVP_CIPHER_CTX *ctx;
    int n, err = plain.n > MOST || aad.n > MOST ? PH_E_ARG : start(&ctx, key, nonce, 1);

    if (err)
        return err;
    bool ok = feed(ctx, NULL, aad) && feed(ctx, dst, plain) &&
              EVP_CipherFinal_ex(ctx, dst + plain.n, &n) == 1 &&
              EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, PH_AEAD_TAG_LEN, dst + plain.n) == 1;
    EVP_CIPHER_CTX_free(ctx);
    return ok ? (int)plain.n + PH_AEAD_TAG_LEN : PH_E_NOMEM;
}

int ph_aead_open(uint8_t *dst, struct ph_slice key, const uint8_t nonce[static PH_AEAD_NONCE_LEN],
                 struct ph_slice aad, struct ph_slice sealed)
{
    EVP_CIPHER_CTX *ctx;
    uint8_t tag[PH_AEAD_TAG_LEN], end[PH_AEAD_TAG_LEN];
    int n;

    if (sealed.n < PH_AEAD_TAG_LEN)
        return PH_E_SHORT;
    sealed.n -= PH_AEAD_TAG_LEN;
    memcpy(tag, sealed.p + sealed.n, sizeof tag);
    int err = sealed.n > MOST || aad.n > MOST ? PH_E_ARG : start(&ctx, key, nonce, 0);
    if (err)
        return err;
    bool ok = feed(ctx, NULL, aad) && feed(ctx, dst, sealed) &&
              EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, PH_AEAD_TAG_LEN, tag) == 1 &&
              EVP_CipherFinal_ex(ctx, end, &n) == 1;
    EVP_CIPHER_CTX_free(ctx);
    if (ok)
        return (int)sealed.n;
    if (sealed.n)
        ph_wipe(dst, sealed.n);
    return PH_E_AUTH;
}
