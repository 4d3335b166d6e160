/*
 * Which words of other nodes are news.
 */
#include "cmd/turnd/fresh.h"

#include <stdbool.h>
#include <string.h>

static int64_t latest(const struct ph_tfresh *t, unsigned i)
{
    const int64_t *at = t->seen[i].at_ms;
    return at[0] > at[1] ? at[0] : at[1];
}

/* The place of a node; of nobody it knows, the one that is to be given to it. */
static unsigned place_of(const struct ph_tfresh *t, struct ph_slice node, bool *known)
{
    unsigned oldest = 0;

    for (unsigned i = 0; i < PH_TFRESH_NODES; i++) {
        *known = ph_slice_eq(ph_str(t->seen[i].node), node);
        if (*known)
            return i;
        if (latest(t, i) < latest(t, oldest))
            oldest = i;
    }
    return oldest;
}

enum ph_tfresh_verdict ph_tfresh(struct ph_tfresh *t, struct ph_slice node,
                                 enum ph_tfresh_what what, int64_t at_ms, int64_t now_ms)
{
    const int64_t most = (int64_t)PH_TFRESH_S * 1000;
    bool known;
    const unsigned i = place_of(t, node, &known);

    if (at_ms < now_ms - most || at_ms > now_ms + most)
        return PH_TFRESH_CLOCK;
    if (!known) {
        memset(&t->seen[i], 0, sizeof t->seen[i]);
        memcpy(t->seen[i].node, node.p, node.n);
    }
    int64_t *last = &t->seen[i].at_ms[what];
    if (at_ms <= *last)
        return at_ms == *last ? PH_TFRESH_KNOWN : PH_TFRESH_OLD;
    *last = at_ms;
    return PH_TFRESH_NEWS;
}

int64_t ph_tfresh_stamp(int64_t *last, int64_t now_ms)
{
    *last = now_ms > *last ? now_ms : *last + 1;
    return *last;
}
