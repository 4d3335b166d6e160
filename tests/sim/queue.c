/*
 * The event queue: a binary heap ordered by time and, within an instant, by order of posting.  That order is
 * what makes runs repeatable.
 */
#include "tests/sim/priv.h"

#include <stdlib.h>

static bool before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at != b->at ? a->at < b->at : a->seq < b->seq;
}

static void grow(struct sim *s)
{
    size_t cap = s->cap_event ? s->cap_event * 2 : 64;
    struct sim_event *v = realloc(s->heap, cap * sizeof *v);
    if (!v)
        sim__die("out of memory");
    s->heap = v;
    s->cap_event = cap;
}

void sim__post(struct sim *s, struct sim_event e)
{
    if (s->n_event == s->cap_event)
        grow(s);
    e.seq = ++s->seq;
    if (e.at < s->now)
        e.at = s->now;
    size_t i = s->n_event++;
    while (i > 0 && before(&e, &s->heap[(i - 1) / 2])) {
        s->heap[i] = s->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    s->heap[i] = e;
}

bool sim__pop_due(struct sim *s, struct sim_event *e)
{
    if (s->n_event == 0 || s->heap[0].at > s->now)
        return false;
    *e = s->heap[0];
    struct sim_event last = s->heap[--s->n_event];
    size_t i = 0;
    for (size_t c; (c = 2 * i + 1) < s->n_event; i = c) {
        if (c + 1 < s->n_event && before(&s->heap[c + 1], &s->heap[c]))
            c++;
        if (!before(&s->heap[c], &last))
            break;
        s->heap[i] = s->heap[c];
    }
    s->heap[i] = last;
    return true;
}

ph_ns sim__next_event(const struct sim *s)
{
    return s->n_event ? s->heap[0].at : PH_NEVER;
}
