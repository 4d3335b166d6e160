/*
 * Sets of records.
 */
#include "cmd/turnd/records.h"

#include "stun/base/error.h"
#include "stun/codec/integrity.h"

#include <stdlib.h>
#include <string.h>

/* ---- sets ---- */

static bool grow(struct ph_trecords *r)
{
    unsigned room = r->room ? r->room * 2 : 256;
    struct ph_trecord *v = r->n < r->room ? r->v : realloc(r->v, room * sizeof *v);
    if (!v)
        return false;
    r->room = r->n < r->room ? r->room : room;
    r->v = v;
    return true;
}

int ph_trecords_add(struct ph_trecords *r, uint64_t id, struct ph_slice bytes)
{
    if (r->n == PH_TRECORDS_MAX || bytes.n > PH_TRECORDS_BYTES - r->bytes)
        return PH_E_LIMIT;
    uint8_t *p = malloc(bytes.n ? bytes.n : 1);
    if (!p || !grow(r)) {
        free(p);
        return PH_E_NOMEM;
    }
    if (bytes.n)
        memcpy(p, bytes.p, bytes.n);
    r->v[r->n] = (struct ph_trecord){id, {p, bytes.n}, r->n, PH_TRECORD_BROKEN};
    r->n++;
    r->bytes += bytes.n;
    return 0;
}

static void wipe(struct ph_trecord *t)
{
    uint8_t *p = (uint8_t *)(uintptr_t)t->bytes.p;
    ph_wipe(p, t->bytes.n); /* it has the key of a user */
    free(p);
}

static int by_id(const void *a, const void *b)
{
    const struct ph_trecord *x = a, *y = b;
    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    return x->place < y->place ? -1 : x->place > y->place;
}

void ph_trecords_unique(struct ph_trecords *r)
{
    unsigned kept = 0;
    if (r->n)
        qsort(r->v, r->n, sizeof *r->v, by_id);
    for (unsigned i = 0; i < r->n; i++) {
        if (i + 1 < r->n && r->v[i + 1].id == r->v[i].id) {
            r->bytes -= r->v[i].bytes.n;
            wipe(&r->v[i]);
        } else {
            r->v[kept++] = r->v[i];
        }
    }
    r->n = kept;
}

void ph_trecords_free(struct ph_trecords *r)
{
    for (unsigned i = 0; i < r->n; i++)
        wipe(&r->v[i]);
    free(r->v);
    *r = (struct ph_trecords){0};
}

/* ---- what fits ---- */

static bool is_local(const struct ph_tplace *p, const struct ph_addr *ip)
{
    return ph_addr_is_any(ip) || !p->local || p->local(p->ctx, ip);
}

static bool is_listener(const struct ph_tplace *p, const struct ph_addr *at)
{
    for (unsigned i = 0; i < p->plan->n_listeners; i++) {
        const struct ph_addr *l = &p->plan->listener[i];
        if (ph_addr_eq_endpoint(l, at) && (l->proto == PH_UDP) == (at->proto == PH_UDP))
            return is_local(p, l);
    }
    return false;
}

static bool is_relay(const struct ph_tplace *p, const struct ph_addr *at)
{
    for (unsigned i = 0; i < p->plan->n_relays; i++)
        if (ph_addr_eq_ip(&p->plan->relay[i], at))
            return is_local(p, at);
    return false;
}

enum ph_trecord_fit ph_trecord_look(struct ph_slice bytes, const struct ph_tplace *place,
                                    int64_t unix_ms)
{
    struct ph_record_room room; /* 64 kB, which main's stack has */
    struct ph_record r;
    if (ph_record_read(&r, &room, bytes) != 0)
        return PH_TRECORD_BROKEN;
    if (r.expires_ms <= unix_ms)
        return PH_TRECORD_EXPIRED;
    bool ours = is_listener(place, &r.listener);
    for (int i = 0; i < 2; i++)
        ours = ours && (!r.relay[i].family || is_relay(place, &r.relay[i]));
    return ours ? PH_TRECORD_FITS : PH_TRECORD_ELSEWHERE;
}

void ph_trecords_sort(struct ph_trecords *r, const struct ph_tplace *place, int64_t unix_ms,
                      unsigned count[static PH_TRECORD_FITS_N])
{
    unsigned fits = 0;
    memset(count, 0, PH_TRECORD_FITS_N * sizeof *count);
    for (unsigned i = 0; i < r->n; i++) {
        struct ph_trecord record = r->v[i];
        record.fit = ph_trecord_look(record.bytes, place, unix_ms);
        count[record.fit]++;
        r->v[i].fit = record.fit;
        if (record.fit == PH_TRECORD_FITS) {
            r->v[i] = r->v[fits];
            r->v[fits++] = record;
        }
    }
}
