/*
 * The next command: records, sealed one after the other, and the numbers of those that have ended.
 */
#include "stun/base/error.h"
#include "stun/codec/integrity.h"
#include "turn/store/store_priv.h"

#include <stdlib.h>

void ph__store_batch_empty(struct ph__store_batch *b)
{
    b->n_set = b->n_del = 0;
    b->len = 0;
}

void ph__store_batch_fini(struct ph__store_batch *b)
{
    if (b->bytes)
        ph_wipe(b->bytes, b->cap);
    free(b->bytes);
    b->bytes = NULL;
    b->cap = 0;
}

bool ph__store_batch_full(const struct ph_store *s)
{
    const struct ph__store_batch *b = &s->w.batch;

    return b->n_set + b->n_del >= s->c.batch || b->len >= PH__STORE_SOFT;
}

static int make_room(struct ph__store_batch *b, size_t n)
{
    size_t cap = b->cap ? b->cap : 4096;

    while (cap < b->len + n)
        cap *= 2;
    uint8_t *bytes = cap == b->cap ? b->bytes : realloc(b->bytes, cap);
    if (!bytes)
        return PH_E_NOMEM;
    b->bytes = bytes;
    b->cap = cap;
    return 0;
}

/* Seals a record into the batch.  Its length or a negative error. */
static int put(struct ph_store *s, const struct ph_store_change *c)
{
    struct ph__store_batch *b = &s->w.batch;
    char place[PH__STORE_KEY];

    if (make_room(b, c->value.n + PH_FLEET_SEAL_ROOM))
        return PH_E_NOMEM;
    if (!s->sealed) {
        memcpy(b->bytes + b->len, c->value.p, c->value.n);
        return (int)c->value.n;
    }
    const size_t n = ph__store_place(place, s->c.node, s->w.kind, c->id);
    return ph_fleet_seal(&s->c.keys, b->bytes + b->len,
                         (struct ph_slice){(const uint8_t *)place, n}, c->value, &s->env);
}

int ph__store_batch_add(struct ph_store *s, const struct ph_store_change *c)
{
    struct ph__store_batch *b = &s->w.batch;

    if (c->value.n == 0) {
        b->del[b->n_del++] = c->id;
        return 0;
    }
    if (c->value.n > PH_STORE_VALUE - PH_FLEET_SEAL_ROOM) {
        s->stats.too_long++;
        if (!s->w.said_long)
            ph__store_say(s, PH_LOG_WARN, "a record is too long to be stored", NULL);
        s->w.said_long = true;
        return 0;
    }
    const int n = put(s, c);
    if (n < 0)
        return n;
    b->set[b->n_set].id = c->id;
    b->set[b->n_set].at = b->len;
    b->set[b->n_set].n = (size_t)n;
    b->n_set++;
    b->len += (size_t)n;
    return 0;
}
