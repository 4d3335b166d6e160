/*
 * Records, as bytes:
 *
 *     version(1) flags(2) session(8)
 *     client listener                  addresses: family and transport(1) port(2) IP(4 or 16)
 *     relay relay                      each if flagged: port(2) IP(4 or 16); or, if flagged, the code(2) why not
 *     txid(12) created(6) expires(6) lifetime
 *     eleven counters
 *     ticket(8) ticket before(8)       each if flagged
 *     user                             if flagged: name, realm, place and length of id, key, bounds, end of credential
 *     permissions                      their number, then of each: family(1) IP(4 or 16) end(6)
 *     channels                         the same: address, number(2) end(6)
 *
 * Times are 48 bits of milliseconds.  What has no size here is a number of seven bits a byte, the lowest first, as short as it
 * can be (LEB128), so that there is one way to write a record.  Read in record_read.c.
 */
#include "turn/record.h"

#include "stun/base/bytes.h"
#include "stun/base/error.h"
#include "turn/record_priv.h"

static const int64_t time_max = (INT64_C(1) << 48) - 1;

/* Once something did not fit nothing more is written. */
struct writer {
    uint8_t *p;
    size_t n, cap;
    bool full;
};

static uint8_t *room(struct writer *w, size_t n)
{
    if (w->full || w->cap - w->n < n) {
        w->full = true;
        return NULL;
    }
    w->n += n;
    return w->p + w->n - n;
}

static void put_bytes(struct writer *w, const void *bytes, size_t n)
{
    uint8_t *p = n ? room(w, n) : NULL;
    if (p)
        memcpy(p, bytes, n);
}

/* The lowest n bytes of v, big-endian. */
static void put_int(struct writer *w, uint64_t v, size_t n)
{
    uint8_t b[8];
    ph_put64(b, v);
    put_bytes(w, b + 8 - n, n);
}

static void put_number(struct writer *w, uint64_t v)
{
    uint8_t b[PH__REC_NUMBER_MAX];
    size_t n = 0;

    for (; v > 0x7F; v >>= 7)
        b[n++] = (uint8_t)(v | 0x80);
    b[n++] = (uint8_t)v;
    put_bytes(w, b, n);
}

static void put_time(struct writer *w, int64_t ms)
{
    int64_t t = ms < 0 ? 0 : ms > time_max ? time_max : ms;
    put_int(w, (uint64_t)t, PH__REC_TIME_LEN);
}

static void put_text(struct writer *w, struct ph_slice s)
{
    put_number(w, s.n);
    put_bytes(w, s.p, s.n);
}

static void put_addr(struct writer *w, const struct ph_addr *a)
{
    put_int(w, (uint64_t)a->family << 6 | a->proto, 1);
    put_int(w, a->port, 2);
    put_bytes(w, a->ip, ph_addr_ip_len(a));
}

static unsigned flags_of(const struct ph_record *r)
{
    unsigned f = 0;

    f |= r->away ? PH__REC_AWAY : 0u;
    f |= r->tcp ? PH__REC_TCP : 0u;
    f |= r->sha256 ? PH__REC_SHA256 : 0u;
    f |= r->fingerprint ? PH__REC_FINGERPRINT : 0u;
    f |= r->draft ? PH__REC_DRAFT : 0u;
    f |= r->both ? PH__REC_BOTH : 0u;
    f |= r->counted ? PH__REC_COUNTED : 0u;
    f |= r->has_user ? PH__REC_USER : 0u;
    f |= r->has_user && r->oauth ? PH__REC_OAUTH : 0u;
    f |= r->serial ? PH__REC_TICKET : 0u;
    f |= r->serial && r->serial_before ? PH__REC_BEFORE : 0u;
    for (unsigned i = 0; i < 2; i++)
        f |= r->relay[i].family ? (unsigned)PH__REC_RELAY << i
             : r->code[i]       ? (unsigned)PH__REC_CODE << i
                                : 0u;
    f |= r->has_user && r->cred_expires_s == INT64_MAX ? PH__REC_FOREVER : 0u;
    return f;
}

static void put_head(struct writer *w, const struct ph_record *r, unsigned flags)
{
    const uint64_t counters[] = {r->to_peer_packets, r->to_peer_bytes, r->to_client_packets,
                                 r->to_client_bytes, r->dropped,       r->in_packets,
                                 r->in_bytes,        r->out_packets,   r->out_bytes,
                                 r->peer_packets,    r->peer_bytes};

    put_int(w, PH_RECORD_VERSION, 1);
    put_int(w, flags, 2);
    put_int(w, r->session, 8);
    put_addr(w, &r->client);
    put_addr(w, &r->listener);
    for (unsigned i = 0; i < 2; i++) {
        if (flags & (unsigned)PH__REC_RELAY << i) {
            put_int(w, r->relay[i].port, 2);
            put_bytes(w, r->relay[i].ip, ph_addr_ip_len(&r->relay[i]));
        } else if (flags & (unsigned)PH__REC_CODE << i) {
            put_int(w, r->code[i], 2);
        }
    }
    put_bytes(w, r->txid, PH__REC_TXID_LEN);
    put_time(w, r->created_ms);
    put_time(w, r->expires_ms);
    put_number(w, r->lifetime_s);
    for (unsigned i = 0; i < sizeof counters / sizeof *counters; i++)
        put_number(w, counters[i]);
    if (flags & PH__REC_TICKET)
        put_int(w, r->serial, 8);
    if (flags & PH__REC_BEFORE)
        put_int(w, r->serial_before, 8);
}

static void put_user(struct writer *w, const struct ph_record *r)
{
    bool has_id = r->id.n && !r->oauth;

    put_text(w, r->name);
    put_text(w, r->realm);
    put_number(w, has_id ? (size_t)(r->id.p - r->name.p) : 0);
    put_number(w, has_id ? r->id.n : 0);
    put_int(w, r->key.alg, 1);
    put_text(w, ph_key_slice(&r->key));
    put_number(w, r->max_allocations);
    put_number(w, r->max_bps);
    if (r->cred_expires_s != INT64_MAX)
        put_number(w, r->cred_expires_s < 0 ? 0 : (uint64_t)r->cred_expires_s);
}

static void put_lists(struct writer *w, const struct ph_record *r)
{
    put_number(w, r->n_perm);
    for (unsigned i = 0; i < r->n_perm; i++) {
        const struct ph_record_perm *p = &r->perm[i];
        put_int(w, p->family, 1);
        put_bytes(w, p->ip, p->family == PH_AF_INET6 ? 16 : 4);
        put_time(w, p->expires_ms);
    }
    put_number(w, r->n_chan);
    for (unsigned i = 0; i < r->n_chan; i++) {
        const struct ph_record_chan *c = &r->chan[i];
        put_addr(w, &c->peer);
        put_int(w, c->number, 2);
        put_time(w, c->expires_ms);
    }
}

int ph_record_write(const struct ph_record *r, uint8_t *dst, size_t cap)
{
    struct writer w = {.p = dst, .cap = cap < PH_RECORD_MAX ? cap : PH_RECORD_MAX};

    if (r->n_perm > PH_RECORD_LIST || r->n_chan > PH_RECORD_LIST ||
        (r->has_user && (r->name.n > PH_RECORD_NAME || r->realm.n > PH_RECORD_REALM)))
        return PH_E_NOSPACE;
    put_head(&w, r, flags_of(r));
    if (r->has_user)
        put_user(&w, r);
    put_lists(&w, r);
    return w.full ? PH_E_NOSPACE : (int)w.n;
}
