/*
 * Reading records (record.c has the form).  Every length is checked before what it counts, every number has a range, every list
 * a bound, and what no allocation can be is refused: what is read would be written just so.
 */
#include "turn/record.h"

#include "stun/base/error.h"
#include "turn/chandata.h"
#include "turn/record_priv.h"

/* The first thing that is wrong is what counts; behind it everything reads as zero. */
struct reader {
    struct ph_slice left;
    int err;
};

static void fail(struct reader *r, int err)
{
    r->err = r->err ? r->err : err;
}

static void must(struct reader *r, bool fits)
{
    if (!fits)
        fail(r, PH_E_FORMAT);
}

static const uint8_t *take(struct reader *r, size_t n)
{
    static const uint8_t zeros[PH_RECORD_REALM];

    if (r->left.n < n)
        fail(r, PH_E_SHORT);
    if (r->err)
        return zeros;
    r->left.p += n;
    r->left.n -= n;
    return r->left.p - n;
}

static uint64_t get_int(struct reader *r, size_t n)
{
    const uint8_t *p = take(r, n);
    uint64_t v = 0;

    for (size_t i = 0; i < n; i++)
        v = v << 8 | p[i];
    return v;
}

static uint64_t get_number(struct reader *r, uint64_t max)
{
    uint64_t v = 0;
    uint8_t b = 0x80;

    for (unsigned i = 0; b & 0x80 && !r->err; i++) {
        b = *take(r, 1);
        must(r,
             i < PH__REC_NUMBER_MAX - 1 || (i == PH__REC_NUMBER_MAX - 1 && b <= 1)); /* 64 bits */
        must(r, i == 0 || b != 0); /* a shorter way to write it */
        v |= i < PH__REC_NUMBER_MAX ? (uint64_t)(b & 0x7F) << 7 * i : 0;
    }
    must(r, v <= max);
    return r->err ? 0 : v;
}

static int64_t get_time(struct reader *r)
{
    return (int64_t)get_int(r, PH__REC_TIME_LEN);
}

static struct ph_slice get_text(struct reader *r, size_t max)
{
    size_t n = (size_t)get_number(r, max);
    const uint8_t *p = take(r, n);
    return (struct ph_slice){p, r->err ? 0 : n};
}

static void get_ip(struct reader *r, uint8_t family, uint8_t ip[static 16])
{
    const size_t n = family == PH_AF_INET6 ? 16 : 4;

    must(r, family == PH_AF_INET || family == PH_AF_INET6);
    memset(ip, 0, 16);
    memcpy(ip, take(r, n), n);
}

static struct ph_addr get_addr(struct reader *r)
{
    struct ph_addr a = {0};
    const unsigned head = (unsigned)get_int(r, 1);

    a.family = (uint8_t)(head >> 6);
    a.proto = (uint8_t)(head & 0x3F);
    a.port = (uint16_t)get_int(r, 2);
    get_ip(r, a.family, a.ip);
    return a;
}

static bool is_transport(uint8_t proto)
{
    return proto == PH_UDP || proto == PH_TCP || proto == PH_TLS || proto == PH_DTLS;
}

static void get_relay(struct reader *r, struct ph_record *out, unsigned flags, unsigned i)
{
    struct ph_addr *at = &out->relay[i];

    *at = (struct ph_addr){.family = PH_AF_NONE};
    if (flags & (unsigned)PH__REC_RELAY << i) {
        at->family = i ? PH_AF_INET6 : PH_AF_INET;
        at->proto = flags & PH__REC_TCP ? PH_TCP : PH_UDP;
        at->port = (uint16_t)get_int(r, 2);
        get_ip(r, at->family, at->ip);
        must(r, at->port && !(flags & (unsigned)PH__REC_CODE << i));
    } else if (flags & (unsigned)PH__REC_CODE << i) {
        out->code[i] = (uint16_t)get_int(r, 2);
        must(r, flags & PH__REC_BOTH && out->code[i] >= 300 && out->code[i] < 700);
    }
}

static void get_flags(struct ph_record *out, unsigned flags)
{
    out->away = flags & PH__REC_AWAY;
    out->tcp = flags & PH__REC_TCP;
    out->sha256 = flags & PH__REC_SHA256;
    out->fingerprint = flags & PH__REC_FINGERPRINT;
    out->draft = flags & PH__REC_DRAFT;
    out->both = flags & PH__REC_BOTH;
    out->counted = flags & PH__REC_COUNTED;
    out->has_user = flags & PH__REC_USER;
    out->oauth = flags & PH__REC_OAUTH;
}

static bool is_stream(uint8_t proto)
{
    return proto == PH_TCP || proto == PH_TLS;
}

/* What must not be together: who is on a connection, or has a PH__REC_TCP relay, waits for his ticket. */
static void check_flags(struct reader *r, const struct ph_record *out, unsigned flags)
{
    must(r, flags & ((unsigned)PH__REC_RELAY << 0 | (unsigned)PH__REC_RELAY << 1));
    must(r, !(flags & PH__REC_BEFORE) || flags & PH__REC_TICKET);
    must(r, !(flags & (PH__REC_OAUTH | PH__REC_FOREVER)) || flags & PH__REC_USER);
    must(r, !(flags & PH__REC_DRAFT) || flags & PH__REC_BOTH);
    must(r, !(flags & PH__REC_AWAY) || flags & PH__REC_TICKET);
    must(r, flags & PH__REC_AWAY || (out->client.proto == PH_UDP && !(flags & PH__REC_TCP)));
    must(r, is_transport(out->client.proto) && out->client.port);
    must(r, is_transport(out->listener.proto) && out->listener.port);
    must(r, is_stream(out->client.proto) == is_stream(out->listener.proto) &&
                out->client.family == out->listener.family);
}

static unsigned get_head(struct reader *r, struct ph_record *out)
{
    const unsigned flags = (unsigned)get_int(r, 2);
    uint64_t *const counters[] = {
        &out->to_peer_packets, &out->to_peer_bytes, &out->to_client_packets, &out->to_client_bytes,
        &out->dropped,         &out->in_packets,    &out->in_bytes,          &out->out_packets,
        &out->out_bytes,       &out->peer_packets,  &out->peer_bytes};

    get_flags(out, flags);
    out->session = get_int(r, 8);
    out->client = get_addr(r);
    out->listener = get_addr(r);
    check_flags(r, out, flags);
    must(r, out->session != 0);
    for (unsigned i = 0; i < 2; i++)
        get_relay(r, out, flags, i);
    memcpy(out->txid, take(r, PH__REC_TXID_LEN), PH__REC_TXID_LEN);
    out->created_ms = get_time(r);
    out->expires_ms = get_time(r);
    out->lifetime_s = (uint32_t)get_number(r, UINT32_MAX);
    for (unsigned i = 0; i < sizeof counters / sizeof *counters; i++)
        *counters[i] = get_number(r, UINT64_MAX);
    if (flags & PH__REC_TICKET)
        must(r, (out->serial = get_int(r, 8)) != 0);
    if (flags & PH__REC_BEFORE)
        must(r, (out->serial_before = get_int(r, 8)) != 0 && out->serial_before != out->serial);
    return flags;
}

/* A key of the size that its algorithm gives; that of a token has none. */
static void get_key(struct reader *r, struct ph_record *out)
{
    out->key.alg = (uint8_t)get_int(r, 1);
    const struct ph_slice key = get_text(r, PH_KEY_MAX);

    out->key.n = (uint8_t)key.n;
    if (key.n)
        memcpy(out->key.b, key.p, key.n);
    if (out->oauth)
        must(r, out->key.alg == PH_ALG_NONE &&
                    (key.n == PH_MD5_LEN || key.n == PH_SHA1_LEN || key.n == PH_SHA256_LEN));
    else
        must(r, (out->key.alg == PH_ALG_MD5 && key.n == PH_MD5_LEN) ||
                    (out->key.alg == PH_ALG_SHA256 && key.n == PH_SHA256_LEN));
}

static void get_user(struct reader *r, struct ph_record *out, unsigned flags)
{
    out->name = get_text(r, PH_RECORD_NAME);
    out->realm = get_text(r, PH_RECORD_REALM);
    const size_t at = (size_t)get_number(r, out->name.n);
    const size_t n = (size_t)get_number(r, out->name.n - at);
    must(r, n || !at);
    must(r, !(n && out->oauth));
    out->id = n ? (struct ph_slice){out->name.p + at, n} : (struct ph_slice){NULL, 0};
    get_key(r, out);
    out->max_allocations = (uint32_t)get_number(r, UINT32_MAX);
    out->max_bps = get_number(r, UINT64_MAX);
    out->cred_expires_s =
        flags & PH__REC_FOREVER ? INT64_MAX : (int64_t)get_number(r, INT64_MAX - 1);
}

static void get_perms(struct reader *r, struct ph_record *out, struct ph_record_perm *v)
{
    out->n_perm = (uint16_t)get_number(r, PH_RECORD_LIST);
    for (unsigned i = 0; i < out->n_perm && !r->err; i++) {
        v[i].family = (uint8_t)get_int(r, 1);
        get_ip(r, v[i].family, v[i].ip);
        v[i].expires_ms = get_time(r);
    }
    out->perm = v;
}

static void get_chans(struct reader *r, struct ph_record *out, struct ph_record_chan *v)
{
    uint8_t seen[(PH_CHANNEL_MAX_5766 - PH_CHANNEL_MIN) / 8 + 1] = {0};

    out->n_chan = (uint16_t)get_number(r, PH_RECORD_LIST);
    for (unsigned i = 0; i < out->n_chan && !r->err; i++) {
        v[i].peer = get_addr(r);
        v[i].number = (uint16_t)get_int(r, 2);
        v[i].expires_ms = get_time(r);
        must(r, v[i].peer.proto == PH_UDP && v[i].number >= PH_CHANNEL_MIN &&
                    v[i].number <= PH_CHANNEL_MAX_5766);
        if (r->err)
            return;
        const unsigned bit = v[i].number - (unsigned)PH_CHANNEL_MIN;
        must(r, !(seen[bit / 8] >> bit % 8 & 1));
        seen[bit / 8] |= (uint8_t)(1u << bit % 8);
    }
    out->chan = v;
}

int ph_record_read(struct ph_record *r, struct ph_record_room *room, struct ph_slice bytes)
{
    struct reader in = {.left = bytes};
    struct ph_record out = {.cred_expires_s = INT64_MAX};

    if (get_int(&in, 1) != PH_RECORD_VERSION)
        return in.err ? in.err : PH_E_UNSUPPORTED;
    if (bytes.n > PH_RECORD_MAX)
        return PH_E_FORMAT;
    const unsigned flags = get_head(&in, &out);
    if (out.has_user)
        get_user(&in, &out, flags);
    get_perms(&in, &out, room->perm);
    get_chans(&in, &out, room->chan);
    must(&in, in.left.n == 0);
    if (!in.err)
        *r = out;
    ph_wipe(&out.key, sizeof out.key);
    return in.err;
}
