/*
 * Mobility tickets: 18 bytes of address and a MAC over them, the user and the realm.
 */
#include "turn/ticket.h"

#include "stun/base/bytes.h"
#include "stun/base/error.h"
#include "stun/codec/base64.h"
#include "stun/codec/integrity.h"

#include <string.h>

enum { VERSION = 2, FIELDS = 18, MAC_LEN = 12, RAW_LEN = FIELDS + MAC_LEN };

_Static_assert(RAW_LEN % 3 == 0 && RAW_LEN / 3 * 4 == PH_TICKET_LEN, "no padding, no spare bits");

static void make_mac(uint8_t mac[static PH_SHA256_LEN], const uint8_t *key, const uint8_t *fields,
                     struct ph_slice user, struct ph_slice realm)
{
    uint8_t user_n[4]; /* where the name ends, or "ab" of "c" would be "a" of "bc" */
    const struct ph_slice parts[] = {{fields, FIELDS}, {user_n, sizeof user_n}, user, realm};

    ph_put32(user_n, (uint32_t)user.n);
    ph_hmac_sha256(mac, (struct ph_slice){key, PH_TICKET_KEY_LEN}, parts, 4);
}

void ph_ticket_make(uint8_t dst[static PH_TICKET_LEN], const uint8_t key[static PH_TICKET_KEY_LEN],
                    const struct ph_ticket *t, struct ph_slice user, struct ph_slice realm)
{
    uint8_t raw[RAW_LEN] = {VERSION, t->worker}, mac[PH_SHA256_LEN];
    char text[PH_TICKET_LEN + 1];

    ph_put32(raw + 2, t->node);
    ph_put32(raw + 6, t->slot);
    ph_put64(raw + 10, t->serial);
    make_mac(mac, key, raw, user, realm);
    memcpy(raw + FIELDS, mac, MAC_LEN);
    ph_base64(text, sizeof text, raw, sizeof raw);
    memcpy(dst, text, PH_TICKET_LEN);
}

static bool mac_fits(const uint8_t raw[static RAW_LEN], const uint8_t *key, struct ph_slice user,
                     struct ph_slice realm)
{
    uint8_t mac[PH_SHA256_LEN];

    make_mac(mac, key, raw, user, realm);
    return ph_equal_ct(mac, raw + FIELDS, MAC_LEN);
}

int ph_ticket_read(struct ph_ticket *t, const uint8_t *keys, unsigned n, struct ph_slice ticket,
                   struct ph_slice user, struct ph_slice realm)
{
    uint8_t raw[RAW_LEN];
    unsigned i = 0;

    if (ticket.n != PH_TICKET_LEN || ph_base64_read(raw, sizeof raw, ticket) != RAW_LEN ||
        raw[0] != VERSION)
        return PH_E_AUTH;
    while (i < n && !mac_fits(raw, keys + (size_t)i * PH_TICKET_KEY_LEN, user, realm))
        i++;
    if (i == n)
        return PH_E_AUTH;
    t->worker = raw[1];
    t->node = ph_get32(raw + 2);
    t->slot = ph_get32(raw + 6);
    t->serial = ph_get64(raw + 10);
    return 0;
}
