/*
 * Allocations from records: of the store, or of the process before.
 *
 * Records are handed to the workers in pieces, so that packets get their turn between them.  Each is restored and its relay
 * opened at once; where its client's packets will come to is the kernel's choice, and if that is another worker the
 * first of them has the allocation fetched (struct ph_strays, move.c).
 */
#include "turn/uv/server.h"

#include "stun/codec/integrity.h"
#include "turn/uv/priv.h"

enum { AT_A_TIME = 256 };

struct piece {
    struct ph__turn_worker *w;
    const struct ph_slice *record; /* AT_A_TIME of them, of which those for this worker ... */
    const uint8_t *to;             /* ... have its number here */
    unsigned n, restored;
    int *err; /* NULL: nobody asks */
};

static int restore_one(struct ph__turn_worker *w, struct ph_slice record, ph_ns now)
{
    uint32_t id;

    w->relay_error = 0;
    int err = ph_turnd_restore(w->core, record, &id, now);
    ph__turn_worker_drain(w, now);
    return err ? err : w->relay_error;
}

static void restore_piece(void *ctx)
{
    struct piece *p = ctx;
    const ph_ns now = ph_now();

    ph__turn_worker_clock(p->w, now);
    for (unsigned i = 0; i < p->n; i++) {
        if (p->to[i] != p->w->index)
            continue;
        const int err = restore_one(p->w, p->record[i], now);
        p->restored += !err;
        if (p->err)
            p->err[i] = err;
    }
    ph__turn_worker_done(p->w, now);
}

/* The worker that had the allocation's socket, or else the one that its session names. */
static uint8_t worker_for(const struct ph_turn_uv *t, const struct ph_record *r)
{
    static const uint64_t of_a_worker = 1000000000000000u;

    for (unsigned i = 0; i < 2; i++) {
        struct ph_addr at = r->relay[i];
        at.proto = r->tcp ? PH_TCP : PH_UDP;
        const struct ph_turn_uv_socket *s =
            at.family ? ph__inherit_find(&t->inherit, &at, true, 0) : NULL;
        if (s && s->worker < t->n)
            return s->worker;
    }
    const uint64_t named = r->session / of_a_worker;
    return (uint8_t)(named < t->n ? named : r->session % t->n);
}

/* Restores up to AT_A_TIME of them. */
static unsigned restore_some(struct ph_turn_uv *t, const struct ph_slice *record, unsigned n,
                             int *err)
{
    struct ph_record_room room;
    uint8_t to[AT_A_TIME];
    struct ph_record r;
    unsigned restored = 0;

    for (unsigned i = 0; i < n; i++) /* what is no record is counted by the first worker's core */
        to[i] = ph_record_read(&r, &room, record[i]) ? 0 : worker_for(t, &r);
    ph_wipe(&r, sizeof r); /* it has a key */
    for (unsigned i = 0; i < t->n; i++) {
        struct piece p = {.w = t->v[i], .record = record, .to = to, .n = n, .err = err};
        ph_worker_call(p.w->w, restore_piece, &p);
        restored += p.restored;
    }
    return restored;
}

unsigned ph_turn_uv_restore(struct ph_turn_uv *t, const struct ph_slice *record, unsigned n,
                            int *err)
{
    unsigned restored = 0;

    for (unsigned i = 0, k; i < n; i += k) {
        k = n - i < AT_A_TIME ? n - i : AT_A_TIME;
        restored += restore_some(t, record + i, k, err ? err + i : NULL);
    }
    return restored;
}

void ph__restore_inherited(struct ph_turn_uv *t, const struct ph_turn_uv_handover *from)
{
    struct ph_slice record[AT_A_TIME];

    for (unsigned i = 0, k; i < from->n_records; i += k) {
        for (k = 0; k < AT_A_TIME && i + k < from->n_records; k++)
            record[k] = (struct ph_slice){from->record[i + k].p, from->record[i + k].n};
        ph_turn_uv_restore(t, record, k, NULL);
    }
}
