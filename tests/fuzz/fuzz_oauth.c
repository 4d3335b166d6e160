/*
 * OAuth tokens, in two ways: bytes as they come from anybody, and clear text that somebody who has the key has sealed, so
 * that what is behind the tag is reached too.  What opens is within its time and has a key of the right size; what does
 * not leaves the caller's memory alone.
 *
 *     flags(1) seconds(1) token...        flags: 1 sealed, 2 AES-128, 4 a byte of the sealed token is changed
 */
#include "fuzz/check.h"
#include "stun/base/bytes.h"
#include "stun/base/error.h"
#include "stun/codec/aead.h"
#include "turn/oauth.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SEALED = 1, SHORT_KEY = 2, CHANGED = 4, NOW = 1700000000 };

static const struct ph_slice SERVER = {(const uint8_t *)"turn.example.org", 16};

static size_t seal(uint8_t *token, const struct ph_oauth_key *key, const uint8_t *p, size_t n)
{
    ph_put16(token, PH_AEAD_NONCE_LEN);
    memset(token + 2, 5, PH_AEAD_NONCE_LEN);
    int sealed =
        ph_aead_seal(token + 2 + PH_AEAD_NONCE_LEN, (struct ph_slice){key->key, key->key_len},
                     token + 2, SERVER, (struct ph_slice){p, n});
    CHECK(sealed == (int)n + PH_AEAD_TAG_LEN);
    return 2 + PH_AEAD_NONCE_LEN + (size_t)sealed;
}

static void check_open(const struct ph_oauth_key *key, const uint8_t *p, size_t n, int64_t now,
                       bool good_tag)
{
    static const struct ph_oauth_token untouched = {.issued_s = -77};
    struct ph_oauth_token t = untouched;
    uint8_t *copy = malloc(n ? n : 1); /* it ends where its bytes do: for the sanitizer */
    CHECK(copy);
    if (n)
        memcpy(copy, p, n);
    int r = ph_oauth_open(&t, key, SERVER, (struct ph_slice){copy, n}, now);
    free(copy);
    CHECK(r == 0 || r == PH_E_FORMAT || r == PH_E_AUTH || r == PH_E_TIMEOUT);
    CHECK(good_tag || r != 0);
    CHECK(r == 0 || memcmp(&t, &untouched, sizeof t) == 0);
    if (r)
        return;
    CHECK(t.mac_key.n == 20 || t.mac_key.n == 32);
    CHECK(t.issued_s >= 0 && t.issued_s <= now + 5 && t.expires_s > now);
    CHECK(t.expires_s - t.issued_s <= UINT32_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ph_oauth_key key = {.kid = "k", .key = "0123456789abcdef0123456789abcde"};
    uint8_t token[2048 + 64];

    if (size < 2 || size > 2048)
        return 0;
    uint8_t flags = data[0];
    int64_t now = NOW + data[1];
    key.key_len = flags & SHORT_KEY ? 16 : 32;
    if (!(flags & SEALED)) {
        check_open(&key, data + 2, size - 2, now, false);
        return 0;
    }
    size_t n = seal(token, &key, data + 2, size - 2);
    if (flags & CHANGED)
        token[data[1] % n] ^= 0x40;
    check_open(&key, token, n, now, !(flags & CHANGED));
    return 0;
}
