/*
 * Records as bytes: what is written is read again, and what nobody could have written is refused.
 */
#include "stun/base/error.h"
#include "turn/record_kit.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static const int64_t now_ms = INT64_C(1800000000000);
static uint8_t bytes[PH_RECORD_MAX];
static struct ph_record_room room;

static struct ph_addr addr(const char *text, uint8_t proto)
{
    struct ph_addr a;
    cr_assert_eq(ph_addr_parse(&a, text, strlen(text), 0), 0);
    a.proto = proto;
    return a;
}

/* The nth of a row of records made up at random. */
static struct ph_record made_up(struct record_kit *k, uint64_t n)
{
    const struct ph_addr listener[] = {addr("198.51.100.1:3478", PH_UDP),
                                       addr("198.51.100.1:3478", PH_TCP)},
                         relay[] = {addr("198.51.100.1", PH_UDP), addr("2001:db8::1", PH_UDP)};

    k->seed = n;
    return kit_record_at(k, listener, relay, n % 5 ? "example.org" : NULL, now_ms);
}

/* What most allocations are: a client on IPv4 with one permission and one channel. */
static struct ph_record typical(void)
{
    static const struct ph_record_perm perm = {
        .ip = {192, 0, 2, 7}, .family = PH_AF_INET, .expires_ms = 1800000300000};
    static struct ph_record_chan chan = {.number = 0x4000, .expires_ms = 1800000600000};

    chan.peer = addr("192.0.2.7:9000", PH_UDP);
    return (struct ph_record){
        .session = 1000180000000000042,
        .client = addr("203.0.113.9:40000", PH_UDP),
        .listener = addr("198.51.100.1:3478", PH_UDP),
        .relay = {addr("198.51.100.1:50123", PH_UDP)},
        .counted = true,
        .lifetime_s = 600,
        .created_ms = now_ms,
        .expires_ms = now_ms + 600000,
        .to_peer_packets = 150000,
        .to_peer_bytes = 180000000,
        .to_client_packets = 150000,
        .to_client_bytes = 180000000,
        .has_user = true,
        .name = ph_str("1800086400:carol.xyz"),
        .realm = ph_str("example.org"),
        .key = {.n = 16, .alg = PH_ALG_MD5, .b = "0123456789abcdef"},
        .cred_expires_s = 1800086400,
        .perm = &perm,
        .n_perm = 1,
        .chan = &chan,
        .n_chan = 1,
    };
}

static int write(const struct ph_record *r)
{
    int n = ph_record_write(r, bytes, sizeof bytes);
    cr_assert_gt(n, 0);
    return n;
}

static int read_n(struct ph_record *r, size_t n)
{
    /* An exact heap block: reading past the end is seen. */
    uint8_t *p = malloc(n ? n : 1);
    memcpy(p, bytes, n);
    int err = ph_record_read(r, &room, (struct ph_slice){p, n});
    r->name = r->realm = r->id = (struct ph_slice){NULL, 0};
    free(p);
    return err;
}

static bool same_lists(const struct ph_record *a, const struct ph_record *b)
{
    if (a->n_perm != b->n_perm || a->n_chan != b->n_chan)
        return false;
    for (unsigned i = 0; i < a->n_perm; i++)
        if (memcmp(a->perm[i].ip, b->perm[i].ip, 16) || a->perm[i].family != b->perm[i].family ||
            a->perm[i].expires_ms != b->perm[i].expires_ms)
            return false;
    for (unsigned i = 0; i < a->n_chan; i++)
        if (!ph_addr_eq(&a->chan[i].peer, &b->chan[i].peer) ||
            a->chan[i].number != b->chan[i].number ||
            a->chan[i].expires_ms != b->chan[i].expires_ms)
            return false;
    return true;
}

static bool same_user(const struct ph_record *a, const struct ph_record *b)
{
    return a->has_user == b->has_user && a->oauth == b->oauth && ph_slice_eq(a->name, b->name) &&
           ph_slice_eq(a->realm, b->realm) && ph_slice_eq(a->id, b->id) &&
           a->key.alg == b->key.alg && ph_slice_eq(ph_key_slice(&a->key), ph_key_slice(&b->key)) &&
           a->max_allocations == b->max_allocations && a->max_bps == b->max_bps &&
           a->cred_expires_s == b->cred_expires_s;
}

static bool same(const struct ph_record *a, const struct ph_record *b)
{
    return a->session == b->session && ph_addr_eq(&a->client, &b->client) &&
           ph_addr_eq(&a->listener, &b->listener) && a->away == b->away && a->tcp == b->tcp &&
           ph_addr_eq(&a->relay[0], &b->relay[0]) && ph_addr_eq(&a->relay[1], &b->relay[1]) &&
           a->code[0] == b->code[0] && a->code[1] == b->code[1] && a->sha256 == b->sha256 &&
           a->fingerprint == b->fingerprint && a->draft == b->draft && a->both == b->both &&
           a->counted == b->counted && memcmp(a->txid, b->txid, 12) == 0 &&
           a->lifetime_s == b->lifetime_s && a->created_ms == b->created_ms &&
           a->expires_ms == b->expires_ms && a->to_peer_packets == b->to_peer_packets &&
           a->to_peer_bytes == b->to_peer_bytes && a->to_client_packets == b->to_client_packets &&
           a->to_client_bytes == b->to_client_bytes && a->dropped == b->dropped &&
           a->in_packets == b->in_packets && a->in_bytes == b->in_bytes &&
           a->out_packets == b->out_packets && a->out_bytes == b->out_bytes &&
           a->peer_packets == b->peer_packets && a->peer_bytes == b->peer_bytes &&
           a->serial == b->serial && a->serial_before == b->serial_before && same_user(a, b) &&
           same_lists(a, b);
}

Test(turn_record, brings_back_what_was_written)
{
    static struct record_kit k;
    struct ph_record out;

    for (uint64_t i = 0; i < 3000; i++) {
        const struct ph_record r = made_up(&k, i);
        const int n = write(&r);
        cr_assert_eq(ph_record_read(&out, &room, (struct ph_slice){bytes, (size_t)n}), 0, "%d",
                     (int)i);
        cr_assert(same(&r, &out), "%d", (int)i);
    }
}

/* 5,000 of them shall cost little in a store, see the issue. */
Test(turn_record, typical_one_is_small)
{
    const struct ph_record r = typical();
    const int n = write(&r);

    cr_expect_leq(n, 200, "%d bytes", n);
}

Test(turn_record, never_more_than_there_is_room_for)
{
    const struct ph_record r = typical();
    const int n = write(&r);

    for (int cap = 0; cap <= n; cap++) {
        uint8_t *p = malloc((size_t)cap + 1);
        cr_assert_eq(ph_record_write(&r, p, (size_t)cap), cap < n ? PH_E_NOSPACE : n);
        free(p);
    }
}

Test(turn_record, largest_one)
{
    static struct record_kit k;
    struct ph_record r = made_up(&k, 1), out;

    for (unsigned i = 0; i < PH_RECORD_LIST; i++) {
        k.room.perm[i] = (struct ph_record_perm){.ip = {0x20, 0x40, (uint8_t)(i >> 8), (uint8_t)i},
                                                 .family = PH_AF_INET6,
                                                 .expires_ms = now_ms};
        k.room.chan[i] = (struct ph_record_chan){.peer = kit_addr(&k, true, PH_UDP),
                                                 .number = (uint16_t)(PH_CHANNEL_MAX_5766 - i),
                                                 .expires_ms = now_ms};
    }
    r.n_perm = r.n_chan = PH_RECORD_LIST;
    const int n = write(&r);
    cr_assert_eq(ph_record_read(&out, &room, (struct ph_slice){bytes, (size_t)n}), 0);
    cr_expect(same(&r, &out));
    r.n_perm = PH_RECORD_LIST + 1;
    cr_expect_eq(ph_record_write(&r, bytes, sizeof bytes), PH_E_NOSPACE);
    r.n_perm = 0;
    r.n_chan = PH_RECORD_LIST + 1;
    cr_expect_eq(ph_record_write(&r, bytes, sizeof bytes), PH_E_NOSPACE);
    r.n_chan = 0;
    static uint8_t long_name[PH_RECORD_NAME + 1];
    r.id = (struct ph_slice){NULL, 0};
    r.name = (struct ph_slice){long_name, PH_RECORD_NAME};
    cr_expect_gt(ph_record_write(&r, bytes, sizeof bytes), PH_RECORD_NAME);
    r.name.n++;
    cr_expect_eq(ph_record_write(&r, bytes, sizeof bytes), PH_E_NOSPACE);
}

Test(turn_record, cut_anywhere_it_is_short)
{
    static struct record_kit k;
    struct ph_record out = {.session = 99};

    for (uint64_t i = 0; i < 30; i++) {
        const struct ph_record r = made_up(&k, i);
        const int n = write(&r);
        for (int cut = 0; cut < n; cut++)
            cr_assert_eq(read_n(&out, (size_t)cut), PH_E_SHORT, "%d of %d", cut, n);
        bytes[n] = 0;
        cr_assert_eq(read_n(&out, (size_t)n + 1), PH_E_FORMAT, "and one too many");
    }
    cr_expect_eq(out.session, 99, "nothing is written on failure");
}

/* Any byte changed: refused, or a record that would be written just so.  There is one way to write a record. */
Test(turn_record, whatever_is_read_would_be_written_the_same_way)
{
    static struct record_kit k;
    static uint8_t again[PH_RECORD_MAX];
    unsigned good = 0, bad = 0;

    for (uint64_t i = 0; i < 40; i++) {
        const struct ph_record r = made_up(&k, i);
        const int n = write(&r);
        for (int at = 0; at < n; at++)
            for (unsigned bit = 0; bit < 8; bit++) {
                struct ph_record out;
                bytes[at] = (uint8_t)(bytes[at] ^ 1u << bit);
                if (ph_record_read(&out, &room, (struct ph_slice){bytes, (size_t)n}) == 0) {
                    cr_assert_eq(ph_record_write(&out, again, sizeof again), n);
                    cr_assert_eq(memcmp(again, bytes, (size_t)n), 0, "%d: byte %d", (int)i, at);
                    good++;
                } else {
                    bad++;
                }
                bytes[at] = (uint8_t)(bytes[at] ^ 1u << bit);
            }
    }
    cr_expect_gt(good, 1000);
    cr_expect_gt(bad, 1000);
}

Test(turn_record, other_versions_are_told_from_broken_ones)
{
    const struct ph_record r = typical();
    const int n = write(&r);
    struct ph_record out;

    for (unsigned v = 0; v < 256; v++) {
        bytes[0] = (uint8_t)v;
        cr_expect_eq(read_n(&out, (size_t)n), v == PH_RECORD_VERSION ? 0 : PH_E_UNSUPPORTED);
    }
    cr_expect_eq(read_n(&out, 0), PH_E_SHORT);
    bytes[0] = 77;
    cr_expect_eq(read_n(&out, 1), PH_E_UNSUPPORTED, "whatever else they hold");
}

/* Things that no allocation can be. */
Test(turn_record, what_makes_no_sense_is_refused)
{
    static struct ph_record_chan chan[2];
    struct ph_record out;

    for (unsigned i = 0;; i++) {
        struct ph_record r = typical();
        bool good = false;
        chan[0] = chan[1] = r.chan[0];
        chan[1].number++;
        r.chan = chan;
        r.n_chan = 2;
        switch (i) {
        case 0:
            good = true;
            break;
        case 1:
            r.relay[0].family = PH_AF_NONE; /* no relay at all */
            break;
        case 2:
            r.relay[0].port = 0;
            break;
        case 3:
            r.client.port = 0;
            break;
        case 4:
            r.client.proto = 3;
            break;
        case 5:
            r.client.proto = PH_TCP; /* and not away */
            break;
        case 6:
            r.away = true; /* and no ticket */
            break;
        case 7:
            r.tcp = true;
            break;
        case 8:
            r.session = 0;
            break;
        case 9:
            r.key.n = 15;
            break;
        case 10:
            r.key.alg = 7;
            break;
        case 11:
            r.key =
                (struct ph_key){.alg = PH_ALG_NONE, .n = 20}; /* of a token, but there is none */
            break;
        case 12:
            chan[1].number = chan[0].number;
            break;
        case 13:
            chan[0].number = PH_CHANNEL_MIN - 1;
            break;
        case 14:
            chan[0].number = PH_CHANNEL_MAX_5766 + 1;
            break;
        case 15:
            chan[0].peer.family = 3;
            break;
        case 16:
            chan[0].peer.proto = PH_TCP;
            break;
        case 17:
            r.draft = true; /* of an answer about both families */
            break;
        case 18:
            r.code[1] = 440; /* the same */
            break;
        case 19:
            r.both = true;
            r.code[1] = 200;
            break;
        case 20:
            r.listener.proto = PH_PROTO_NONE;
            break;
        case 21:
            r.listener.proto = PH_TLS; /* and the client is on UDP */
            break;
        case 22:
            r.listener = addr("[2001:db8::1]:3478", PH_UDP);
            break;
        case 23:
            r.serial = r.serial_before = 5;
            break;
        default:
            cr_expect_eq(i, 24);
            return;
        }
        const int n = write(&r);
        cr_expect_eq(read_n(&out, (size_t)n), good ? 0 : PH_E_FORMAT, "case %u", i);
    }
}

/* Bits of the flags that mean nothing without another one. */
Test(turn_record, ticket_before_none)
{
    struct ph_record r = typical(), out;

    r.serial = UINT64_C(0x1111111111111111);
    r.serial_before = UINT64_C(0x2222222222222222);
    int n = write(&r);
    uint8_t *at = memmem(bytes, (size_t)n, "\x11\x11\x11\x11\x11\x11\x11\x11", 8);
    cr_assert_not_null(at);
    memmove(at, at + 8, (size_t)(bytes + n - at - 8));
    bytes[1] = (uint8_t)(bytes[1] & ~2); /* the bit of the last ticket */
    cr_expect_eq(read_n(&out, (size_t)n - 8), PH_E_FORMAT);
}

/* Numbers written longer than they need be, or longer than 64 bits. */
Test(turn_record, numbers_have_one_form)
{
    struct ph_record r = typical(), out;

    r.dropped = 0x80;
    r.n_perm = r.n_chan = 0;
    const int n = write(&r);
    int at = 0; /* of `dropped`, two bytes: found by changing it */
    static uint8_t other[PH_RECORD_MAX];
    r.dropped = 0x81;
    cr_assert_eq(ph_record_write(&r, other, sizeof other), n);
    while (bytes[at] == other[at])
        at++;
    cr_assert_eq(bytes[at], 0x80);
    cr_assert_eq(bytes[at + 1], 1);
    bytes[at + 1] = 0;
    cr_expect_eq(read_n(&out, (size_t)n), PH_E_FORMAT, "a zero at the end");
    memmove(other, bytes + at + 2, (size_t)(n - at - 2));
    memset(bytes + at, 0xFF, 9);
    for (unsigned last = 1; last < 3; last++) {
        bytes[at + 9] = (uint8_t)last;
        memcpy(bytes + at + 10, other, (size_t)(n - at - 2));
        cr_expect_eq(read_n(&out, (size_t)n + 8), last == 1 ? 0 : PH_E_FORMAT);
    }
    memset(bytes + at, 0xFF, 64);
    cr_expect_eq(read_n(&out, (size_t)at + 64), PH_E_FORMAT);
}
