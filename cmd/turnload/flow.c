/* Packets of a flow: made, recognised, counted. */
#include "cmd/turnload/flow.h"

#include "stun/base/bytes.h"

#include <string.h>

enum { PATTERN = 256 };

/* 256 different bytes, twice over and more, so that any start has enough behind it. */
static const uint8_t *pattern(uint32_t number)
{
    static _Thread_local uint8_t table[PATTERN + 2048];
    if (table[1] == 0)
        for (unsigned i = 0; i < sizeof table; i++)
            table[i] = (uint8_t)(i * 167 + (i >> 8) * 13);
    return table + number % PATTERN;
}

/* Mixes the header (not a CRC, but no single changed byte goes unnoticed). */
static uint32_t check_of(const uint8_t *p)
{
    uint32_t h = 2166136261u;
    for (unsigned i = 0; i < PH_LOAD_FLOW_HEADER - 4; i++)
        h = (h ^ p[i]) * 16777619u;
    return h;
}

void ph_load_flow_write(struct ph_load_flow *f, uint32_t run, uint8_t *p, uint32_t n, ph_ns now)
{
    ph_put32(p, run);
    ph_put32(p + 4, f->id);
    ph_put32(p + 8, f->next);
    ph_put64(p + 12, (uint64_t)now);
    ph_put32(p + 20, check_of(p));
    memcpy(p + PH_LOAD_FLOW_HEADER, pattern(f->next), n - PH_LOAD_FLOW_HEADER);
    f->next++;
}

bool ph_load_flow_is_ours(uint32_t run, const uint8_t *p, uint32_t n)
{
    return n >= PH_LOAD_FLOW_HEADER && ph_get32(p) == run;
}

uint32_t ph_load_flow_id(const uint8_t *p)
{
    return ph_get32(p + 4);
}

/* Notes a number.  False: it was there before. */
static bool note(struct ph_load_flow *f, uint32_t number, struct ph_load_stats *s)
{
    uint64_t bit = 1ULL << (number % 64);
    if (number >= f->top) {
        for (uint32_t i = f->top; i < number && i - f->top < PH_LOAD_FLOW_WINDOW; i++)
            f->seen[i % PH_LOAD_FLOW_WINDOW / 64] &= ~(1ULL << (i % 64));
        f->top = number + 1;
        f->seen[number % PH_LOAD_FLOW_WINDOW / 64] |= bit;
        return true;
    }
    if (f->top - number > PH_LOAD_FLOW_WINDOW || f->seen[number % PH_LOAD_FLOW_WINDOW / 64] & bit)
        return false;
    f->seen[number % PH_LOAD_FLOW_WINDOW / 64] |= bit;
    s->reordered++;
    return true;
}

/* RFC 3550 6.4.1. */
static void add_jitter(struct ph_load_flow *f, ph_ns transit)
{
    ph_ns d = transit - f->transit;
    if (f->late)
        f->jitter += ((double)(d < 0 ? -d : d) - f->jitter) / 16;
    f->transit = transit;
    f->late = true;
}

void ph_load_flow_read(struct ph_load_flow *f, const uint8_t *p, uint32_t n, uint32_t size,
                       struct ph_load_stats *s, ph_ns now)
{
    uint32_t number = ph_get32(p + 8);
    if (n != size || check_of(p) != ph_get32(p + 20) || number >= f->next ||
        memcmp(p + PH_LOAD_FLOW_HEADER, pattern(number), n - PH_LOAD_FLOW_HEADER) != 0) {
        s->corrupted++;
        return;
    }
    if (!note(f, number, s)) {
        s->duplicated++;
        return;
    }
    ph_ns delay = now - (ph_ns)ph_get64(p + 12);
    s->received++;
    s->received_bytes += n;
    ph_load_hist_add(&s->delay, delay);
    add_jitter(f, delay);
}

void ph_load_flow_finish(const struct ph_load_flow *f, struct ph_load_stats *s)
{
    if (!f->late)
        return;
    s->jitter_sum += f->jitter;
    s->jitter_n++;
    if ((ph_ns)f->jitter > s->jitter_max)
        s->jitter_max = (ph_ns)f->jitter;
}
