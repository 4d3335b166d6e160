/*
 * Counting, tracing, tapping.
 *
 * A line of the trace: milliseconds since the start, packet number, place, what happened, addresses as
 * seen there, bytes, and what the payload is:
 *
 *     12.500 #7     nat-a                   nat-out     203.0.113.1:5000 > 198.51.100.9:3478  20 B  stun 0001 ..
 */
#include "tests/sim/priv.h"

#include "stun/base/bytes.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

const char *sim_how_name(enum sim_how how)
{
#define NAME(name, text) [name] = (text),
    static const char *const names[] = {SIM_HOWS(NAME)};
#undef NAME
    return names[how];
}

/* STUN by type and transaction id, else the first bytes as text. */
static void describe(const uint8_t *p, size_t n, char *dst, size_t cap)
{
    if (n >= 20 && ph_get32(p + 4) == 0x2112a442) {
        snprintf(dst, cap, "stun %04x %02x%02x%02x%02x", ph_get16(p), p[8], p[9], p[10], p[11]);
        return;
    }
    size_t i = 0;
    for (; i < n && i < 24 && i + 1 < cap; i++)
        dst[i] = isprint(p[i]) ? (char)p[i] : '.';
    dst[i] = '\0';
}

static void print_step(const struct sim *s, const struct sim_step *t, const uint8_t *data, size_t n,
                       FILE *to)
{
    ph_ns since = t->at - s->started_at;
    fprintf(to, "%6lld.%03lld ", (long long)(since / 1000000), (long long)(since % 1000000 / 1000));
    if (t->how == SIM_NOTE) {
        fprintf(to, "%-30s note        %.*s\n", "", (int)n, (const char *)data);
        return;
    }
    char src[PH_ADDR_TEXT], dst[PH_ADDR_TEXT], what[96];
    if (t->error)
        snprintf(what, sizeof what, "icmp error %d", t->error);
    else
        (s->describe ? s->describe : describe)(data, n, what, sizeof what);
    fprintf(to, "#%-5llu %-22s  %-11s %s > %s  %u B  %s\n", (unsigned long long)t->id, t->where,
            sim_how_name(t->how), ph_addr_text(&t->src, src), ph_addr_text(&t->dst, dst), t->len,
            what);
}

static struct sim_step *next_step(struct sim *s, enum sim_how how, const struct sim_place *pl)
{
    struct sim_step *t = &s->ring[s->n_step++ % SIM_RING];
    *t = (struct sim_step){.at = s->now, .how = how};
    memcpy(t->where, pl->name, sizeof t->where);
    return t;
}

void sim__step(struct sim *s, enum sim_how how, struct sim_place *pl, const struct sim_pkt *p)
{
    pl->n[how]++;
    s->place.n[how]++;
    struct sim_step *t = next_step(s, how, pl);
    t->id = p->id;
    t->error = p->error;
    t->src = p->src;
    t->dst = p->dst;
    t->len = p->len;
    memcpy(t->snip, p->data, p->len < SIM_SNIP ? p->len : SIM_SNIP);
    if (s->trace)
        print_step(s, t, p->data, p->len, s->trace);
}

void sim__drop(struct sim *s, enum sim_how how, struct sim_place *pl, struct sim_pkt *p)
{
    sim__step(s, how, pl, p);
    sim__pkt_free(s, p);
}

static void add_note(struct sim *s, const char *text)
{
    struct sim_step *t = next_step(s, SIM_NOTE, &s->place);
    size_t n = strlen(text);
    t->len = (uint32_t)(n < SIM_SNIP ? n : SIM_SNIP);
    memcpy(t->snip, text, t->len);
    if (s->trace)
        print_step(s, t, (const uint8_t *)text, n, s->trace);
}

void sim_note(struct sim *s, const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    add_note(s, text);
}

void sim__log(void *ctx, enum ph_log_level level, const char *line)
{
    (void)level;
    add_note(ctx, line);
}

void sim_trace(struct sim *s, FILE *to)
{
    s->trace = to;
}

void sim_dump(const struct sim *s, FILE *to)
{
    uint64_t first = s->n_step > SIM_RING ? s->n_step - SIM_RING : 0;
    for (uint64_t i = first; i < s->n_step; i++) {
        const struct sim_step *t = &s->ring[i % SIM_RING];
        print_step(s, t, t->snip, t->len < SIM_SNIP ? t->len : SIM_SNIP, to);
    }
}

void sim_describe(struct sim *s, void (*fn)(const uint8_t *p, size_t n, char *dst, size_t cap))
{
    s->describe = fn;
}

unsigned sim_tap(struct sim *s, bool (*fn)(void *ctx, struct sim_hop *h), void *ctx)
{
    unsigned i = 0;
    while (i < SIM_TAPS && s->tap[i].fn)
        i++;
    if (i == SIM_TAPS)
        sim__die("more than %d taps", SIM_TAPS);
    s->tap[i].fn = fn;
    s->tap[i].ctx = ctx;
    return i;
}

void sim_untap(struct sim *s, unsigned tap)
{
    if (tap < SIM_TAPS)
        s->tap[tap].fn = NULL;
}

/* Shows the packet to the taps as a ph_pkt with 256 bytes to grow. */
static bool ask(struct sim *s, struct sim_hop *h)
{
    for (unsigned i = 0; i < SIM_TAPS; i++)
        if (s->tap[i].fn && !s->tap[i].fn(s->tap[i].ctx, h))
            return false;
    return true;
}

static bool any_tap(const struct sim *s)
{
    for (unsigned i = 0; i < SIM_TAPS; i++)
        if (s->tap[i].fn)
            return true;
    return false;
}

/* Replaces p by what the taps made of it.  It is still the same packet. */
static struct sim_pkt *changed(struct sim *s, struct sim_pkt *p, const struct ph_pkt *v)
{
    struct sim_pkt *q = sim__pkt_new(s, &v->src, &v->dst, v->b.len);
    uint32_t cap = q->cap, size = q->size;
    s->ids--;
    *q = *p;
    q->src = v->src;
    q->dst = v->dst;
    q->df = v->dont_fragment;
    q->cap = cap;
    q->len = v->b.len;
    q->size = p->fragmented && p->size < size ? p->size : size;
    memcpy(q->data, ph_buf_data(&v->b), v->b.len);
    sim__pkt_free(s, p);
    return q;
}

bool sim__tapped(struct sim *s, enum sim_point at, struct sim_place *pl, struct sim_pkt **pp)
{
    struct sim_pkt *p = *pp;
    if (p->error || !any_tap(s))
        return true;
    uint32_t cap = PH_HEADROOM + p->len + 256;
    uint8_t *base = sim__zalloc(cap);
    memcpy(base + PH_HEADROOM, p->data, p->len);
    struct ph_pkt v = {.b = {.base = base, .cap = cap, .off = PH_HEADROOM, .len = p->len},
                       .src = p->src,
                       .dst = p->dst,
                       .dont_fragment = p->df};
    struct sim_hop h = {.at = at, .where = pl->name, .id = p->id, .now = s->now, .p = &v};
    bool pass = ask(s, &h);
    struct sim_pkt *q = *pp = changed(s, p, &v);
    free(base);
    if (!pass)
        sim__drop(s, SIM_TAPPED, pl, q);
    return pass;
}
