/*
 * Records made up at random: everything a record can say, of allocations that the rig's server could have.
 */
#ifndef PH_TESTS_TURN_RECORD_KIT_H
#define PH_TESTS_TURN_RECORD_KIT_H

#include "stun/base/addr.h"
#include "turn/chandata.h"
#include "turn/record.h"

#include <string.h>

/* What slices and lists of a record point to. */
struct record_kit {
    uint64_t seed;
    uint8_t name[PH_RECORD_NAME];
    struct ph_record_room room;
};

static inline uint64_t kit_random(struct record_kit *k, uint64_t below)
{
    k->seed = k->seed * 6364136223846793005u + 1442695040888963407u;
    return (k->seed >> 20) % below;
}

static inline void kit_bytes(struct record_kit *k, void *dst, size_t n)
{
    uint8_t *p = dst;
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)kit_random(k, 256);
}

static inline struct ph_addr kit_addr(struct record_kit *k, bool six, uint8_t proto)
{
    uint8_t ip[16];

    kit_bytes(k, ip, sizeof ip);
    ip[0] = six ? 0x20 : 20; /* public, whatever follows */
    ip[1] = six ? 0x40 : ip[1];
    const uint16_t port = (uint16_t)(1 + kit_random(k, 65535));
    return six ? ph_addr_v6(ip, port, proto) : ph_addr_v4(ip, port, proto);
}

/* A number of any length. */
static inline uint64_t kit_number(struct record_kit *k)
{
    uint64_t v;
    kit_bytes(k, &v, sizeof v);
    return v >> kit_random(k, 64);
}

static inline void kit_user(struct record_kit *k, struct ph_record *r, const char *realm)
{
    r->has_user = true;
    r->oauth = kit_random(k, 4) == 0;
    kit_bytes(k, k->name, sizeof k->name);
    r->name = (struct ph_slice){k->name, 1 + kit_random(k, kit_random(k, 8) ? 30 : PH_RECORD_NAME)};
    r->realm = ph_str(realm);
    const size_t at = kit_random(k, r->name.n);
    r->id = r->oauth ? (struct ph_slice){NULL, 0}
                     : (struct ph_slice){r->name.p + at, 1 + kit_random(k, r->name.n - at)};
    r->key.alg = r->oauth ? PH_ALG_NONE : kit_random(k, 2) ? PH_ALG_MD5 : PH_ALG_SHA256;
    r->key.n = r->key.alg == PH_ALG_MD5      ? 16
               : r->key.alg == PH_ALG_SHA256 ? 32
                                             : (const uint8_t[]){16, 20, 32}[kit_random(k, 3)];
    kit_bytes(k, r->key.b, r->key.n);
    r->max_allocations = (uint32_t)kit_number(k);
    r->max_bps = kit_number(k);
}

static inline void kit_lists(struct record_kit *k, struct ph_record *r, int64_t now_ms)
{
    r->n_perm = (uint16_t)kit_random(k, kit_random(k, 8) ? 4 : 128);
    for (unsigned i = 0; i < r->n_perm; i++) {
        const struct ph_addr a = kit_addr(k, kit_random(k, 2), PH_UDP);
        memcpy(k->room.perm[i].ip, a.ip, 16);
        k->room.perm[i].family = a.family;
        k->room.perm[i].expires_ms = now_ms + 1 + (int64_t)kit_random(k, 300000);
    }
    r->n_chan = r->tcp ? 0 : (uint16_t)kit_random(k, kit_random(k, 8) ? 4 : 128);
    for (unsigned i = 0; i < r->n_chan; i++)
        k->room.chan[i] = (struct ph_record_chan){
            .peer = kit_addr(k, kit_random(k, 2), PH_UDP),
            .number = (uint16_t)(PH_CHANNEL_MIN + i * 16 + kit_random(k, 16)),
            .expires_ms = now_ms + 1 + (int64_t)kit_random(k, 600000),
        };
    r->perm = k->room.perm;
    r->chan = k->room.chan;
}

/* One that can be restored at now_ms.  listener: that of clients on UDP, and on TCP; relay: the IPs, by family. */
static inline struct ph_record kit_record_at(struct record_kit *k, const struct ph_addr *listener,
                                             const struct ph_addr *relay, const char *realm,
                                             int64_t now_ms)
{
    const bool on_tcp = kit_random(k, 3) == 0;
    const unsigned legs = 1 + (unsigned)kit_random(k, 3);
    struct ph_record r = {
        .session = 1 + kit_number(k) % 255000000000000000u,
        .client = kit_addr(k, false, on_tcp ? PH_TCP : PH_UDP),
        .listener = listener[on_tcp],
        .away = on_tcp || kit_random(k, 8) == 0,
        .sha256 = kit_random(k, 2),
        .fingerprint = kit_random(k, 2),
        .both = kit_random(k, 2),
        .counted = true,
        .lifetime_s = (uint32_t)kit_number(k),
        .created_ms = now_ms - (int64_t)kit_random(k, 1000000000),
        .expires_ms = now_ms + 1 + (int64_t)kit_random(k, 3600000),
        .to_peer_packets = kit_number(k),
        .to_peer_bytes = kit_number(k),
        .to_client_packets = kit_number(k),
        .to_client_bytes = kit_number(k),
        .dropped = kit_number(k),
        .in_packets = kit_number(k),
        .in_bytes = kit_number(k),
        .out_packets = kit_number(k),
        .out_bytes = kit_number(k),
        .peer_packets = kit_number(k),
        .peer_bytes = kit_number(k),
        .cred_expires_s = INT64_MAX,
    };

    kit_bytes(k, r.txid, sizeof r.txid);
    r.draft = r.both && kit_random(k, 2);
    r.tcp = r.away && kit_random(k, 3) == 0;
    for (unsigned i = 0; i < 2; i++) {
        if (legs >> i & 1) {
            r.relay[i] = relay[i];
            r.relay[i].port = (uint16_t)(50000 + kit_random(k, 1000));
            r.relay[i].proto = r.tcp ? PH_TCP : PH_UDP;
        } else if (r.both) {
            r.code[i] = kit_random(k, 2) ? 440 : 508;
        }
    }
    if (r.away || kit_random(k, 2)) {
        kit_bytes(k, &r.serial, sizeof r.serial);
        r.serial |= 1;
        r.serial_before = kit_random(k, 2) ? r.serial ^ 2 : 0;
    }
    if (realm)
        kit_user(k, &r, realm);
    if (realm && kit_random(k, 2))
        r.cred_expires_s = now_ms / 1000 + 7200;
    kit_lists(k, &r, now_ms);
    return r;
}

#endif
