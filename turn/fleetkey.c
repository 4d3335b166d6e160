/*
 * Every key is HMAC-SHA256(secret, label 0 parts), each part with its length before it, so that no two uses have one key.
 *
 * Sealed text: version(1) hint(1) nonce(12) ciphertext tag(16).  The hint is one byte of a hash of the secret: of several the
 * right one is tried, and a wrong fleet key is seen without decrypting.  Each name has a key of its own: a random nonce of 96
 * bits must never come twice with one key, and no name is sealed so often.
 */
#include "turn/fleetkey.h"

#include "stun/base/bytes.h"
#include "stun/base/error.h"
#include "stun/codec/aead.h"
#include "stun/codec/integrity.h"

enum {
    VERSION = 1,
    AAD_LEN = 2, /* version and hint */
    HEAD_LEN = AAD_LEN + PH_AEAD_NONCE_LEN,
    SECRET_MIN = 16,
    DAY_S = 86400
};

_Static_assert(HEAD_LEN + PH_AEAD_TAG_LEN <= PH_FLEET_SEAL_ROOM, "sealing adds no more");

static void derive(uint8_t out[static PH_SHA256_LEN], const uint8_t *secret, const char *label,
                   struct ph_slice a, struct ph_slice b)
{
    uint8_t n[8];
    const struct ph_slice parts[] = {
        {(const uint8_t *)label, strlen(label) + 1}, {n, sizeof n}, a, b};

    ph_put32(n, (uint32_t)a.n);
    ph_put32(n + 4, (uint32_t)b.n);
    ph_hmac_sha256(out, (struct ph_slice){secret, PH_FLEET_KEY_LEN}, parts, 4);
}

static const struct ph_slice nothing = {NULL, 0};

/* --- secrets --------------------------------------------------------------------------------------- */

static int digit(uint8_t c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static bool from_hex(uint8_t dst[static PH_FLEET_KEY_LEN], struct ph_slice text)
{
    for (size_t i = 0; i < text.n; i++)
        if (digit(text.p[i]) < 0)
            return false;
    if (text.n != 2 * PH_FLEET_KEY_LEN)
        return false;
    for (size_t i = 0; i < PH_FLEET_KEY_LEN; i++)
        dst[i] = (uint8_t)(digit(text.p[2 * i]) << 4 | digit(text.p[2 * i + 1]));
    return true;
}

int ph_fleet_secret(uint8_t dst[static PH_FLEET_KEY_LEN], struct ph_slice text)
{
    const struct ph_slice parts[] = {ph_str("pinhole fleet secret "), text};

    if (text.n < SECRET_MIN)
        return PH_E_SHORT;
    if (!from_hex(dst, text))
        ph_sha256(dst, parts, 2);
    return 0;
}

/* --- sealing --------------------------------------------------------------------------------------- */

static uint8_t hint(const uint8_t *secret)
{
    uint8_t h[PH_SHA256_LEN];
    derive(h, secret, "hint", nothing, nothing);
    return h[0];
}

int ph_fleet_seal(const struct ph_fleet_keys *k, uint8_t *dst, struct ph_slice name,
                  struct ph_slice plain, const struct ph_env *env)
{
    uint8_t key[PH_SHA256_LEN];

    if (!k->n || plain.n > INT32_MAX - PH_FLEET_SEAL_ROOM)
        return PH_E_ARG;
    dst[0] = VERSION;
    dst[1] = hint(k->secret[0]);
    env->rand(env->ctx, dst + AAD_LEN, PH_AEAD_NONCE_LEN);
    derive(key, k->secret[0], "seal", name, nothing);
    int n = ph_aead_seal(dst + HEAD_LEN, (struct ph_slice){key, sizeof key}, dst + AAD_LEN,
                         (struct ph_slice){dst, AAD_LEN}, plain);
    ph_wipe(key, sizeof key);
    return n < 0 ? n : n + HEAD_LEN;
}

/* Tries one secret. */
static int open_with(const uint8_t *secret, uint8_t *dst, struct ph_slice name,
                     struct ph_slice sealed)
{
    uint8_t key[PH_SHA256_LEN];

    derive(key, secret, "seal", name, nothing);
    int n = ph_aead_open(dst, (struct ph_slice){key, sizeof key}, sealed.p + AAD_LEN,
                         (struct ph_slice){sealed.p, AAD_LEN},
                         (struct ph_slice){sealed.p + HEAD_LEN, sealed.n - HEAD_LEN});
    ph_wipe(key, sizeof key);
    return n;
}

int ph_fleet_open(const struct ph_fleet_keys *k, uint8_t *dst, struct ph_slice name,
                  struct ph_slice sealed)
{
    int n = PH_E_AUTH;

    if (sealed.n < HEAD_LEN + PH_AEAD_TAG_LEN)
        return PH_E_SHORT;
    if (sealed.p[0] != VERSION)
        return PH_E_UNSUPPORTED;
    for (unsigned i = 0; i < k->n && n == PH_E_AUTH; i++)
        if (sealed.p[1] == hint(k->secret[i]))
            n = open_with(k->secret[i], dst, name, sealed);
    return n;
}

/* --- keys of a day --------------------------------------------------------------------------------- */

uint32_t ph_fleet_day(int64_t unix_s)
{
    return unix_s < 0 ? 0 : (uint32_t)(unix_s / DAY_S);
}

void ph_fleet_day_key(const struct ph_fleet_keys *k, unsigned i, const char *label, uint32_t day,
                      uint8_t dst[static PH_FLEET_KEY_LEN])
{
    uint8_t d[4];

    ph_put32(d, day);
    derive(dst, k->secret[i], "day", ph_str(label), (struct ph_slice){d, sizeof d});
}

/* --- notes and names ------------------------------------------------------------------------------- */

static void note_mac(const uint8_t *secret, uint8_t mac[static PH_FLEET_MAC_LEN],
                     struct ph_slice name, struct ph_slice note)
{
    uint8_t full[PH_SHA256_LEN];

    derive(full, secret, "note", name, note);
    memcpy(mac, full, PH_FLEET_MAC_LEN);
}

void ph_fleet_sign(const struct ph_fleet_keys *k, uint8_t mac[static PH_FLEET_MAC_LEN],
                   struct ph_slice name, struct ph_slice note)
{
    note_mac(k->secret[0], mac, name, note);
}

bool ph_fleet_signed(const struct ph_fleet_keys *k, const uint8_t mac[static PH_FLEET_MAC_LEN],
                     struct ph_slice name, struct ph_slice note)
{
    bool good = false;

    for (unsigned i = 0; i < k->n; i++) {
        uint8_t want[PH_FLEET_MAC_LEN];
        note_mac(k->secret[i], want, name, note);
        good |= ph_equal_ct(want, mac, PH_FLEET_MAC_LEN);
    }
    return good;
}

uint64_t ph_fleet_user(const struct ph_fleet_keys *k, struct ph_slice realm, struct ph_slice user)
{
    uint8_t h[PH_SHA256_LEN];

    derive(h, k->secret[0], "user", realm, user);
    return ph_get64(h);
}

uint32_t ph_fleet_node(struct ph_slice name)
{
    const struct ph_slice parts[] = {ph_str("pinhole fleet node "), name};
    uint8_t h[PH_SHA256_LEN];

    ph_sha256(h, parts, 2);
    const uint32_t n = ph_get32(h);
    return n ? n : 1;
}
