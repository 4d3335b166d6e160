/*
 * The world: its clock, its run loop and its end.
 *
 * An instant is settled before the clock moves: packets that are due arrive (each followed by what its node
 * has to say), nodes whose deadline is reached are ticked, everybody is drained, until nothing is left.  Then
 * the clock jumps to the next packet or deadline.
 */
#include "tests/sim/priv.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS_PER_INSTANT = 1000, EVENTS_PER_INSTANT = 1000000 };

void sim__die(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("sim: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    abort();
}

void *sim__zalloc(size_t n)
{
    void *p = calloc(1, n);
    if (!p)
        sim__die("out of memory");
    return p;
}

/* Copies a name, cut to what fits. */
void sim__name(struct sim_place *pl, const char *name)
{
    size_t n = strlen(name);
    n = n < sizeof pl->name ? n : sizeof pl->name - 1;
    memcpy(pl->name, name, n);
    pl->name[n] = '\0';
}

struct ph_addr sim_addr(const char *text)
{
    struct ph_addr a;
    if (ph_addr_parse(&a, text, strlen(text), 0) < 0)
        sim__die("not an address: \"%s\"", text);
    a.proto = PH_UDP;
    return a;
}

struct sim *sim_new(uint64_t seed)
{
    struct sim *s = sim__zalloc(sizeof *s);
    s->seed = seed;
    s->now = s->started_at = PH_SEC(1000);
    sim__rng_init(&s->rng, s);
    s->log = (struct ph_log){.fn = sim__log, .ctx = s, .level = PH_LOG_INFO};
    s->env = (struct ph_env){.rand = sim__rng_fill, .ctx = &s->rng, .log = &s->log};
    s->ring = sim__zalloc(SIM_RING * sizeof *s->ring);
    s->slot = sim__zalloc(PH_HEADROOM + SIM_MAX_DATA + PH_TAILROOM);
    sim__name(&s->place, "-");
    const char *trace = getenv("SIM_TRACE");
    if (trace && *trace && *trace != '0')
        sim_trace(s, stderr);
    return s;
}

static void nat_free(struct sim_nat *t)
{
    sim__maps_purge(t, true);
    for (struct sim_fwd *f = t->fwd, *next; f; f = next) {
        next = f->next;
        free(f);
    }
    free(t);
}

/* Frees a list whose elements have a `next`, after doing `also` to each. */
#define FREE_LIST(type, list, also)                                                                \
    for (type *it = (list), *next; it; it = next) {                                                \
        next = it->next;                                                                           \
        also(it);                                                                                  \
    }

void sim_free(struct sim *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n_event; i++)
        if (s->heap[i].pkt)
            sim__pkt_free(s, s->heap[i].pkt);
    sim__socks_free(s);
    FREE_LIST(struct sim_nat, s->nats, nat_free)
    FREE_LIST(struct sim_iface, s->ifaces, free)
    FREE_LIST(struct sim_host, s->hosts, free)
    FREE_LIST(struct sim_net, s->nets, free)
    for (uint32_t i = 0; i < s->n_prog; i++)
        free(s->prog[i]);
    free(s->prog);
    free(s->heap);
    free(s->ring);
    free(s->slot);
    free(s);
}

ph_ns sim_now(const struct sim *s)
{
    return s->now;
}

const struct ph_env *sim_env(struct sim *s)
{
    return &s->env;
}

size_t sim_in_flight(const struct sim *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_event; i++)
        n += s->heap[i].pkt != NULL;
    return n;
}

uint64_t sim_count(const struct sim *s, enum sim_how how)
{
    return s->place.n[how];
}

void sim_default_link(struct sim *s, const struct sim_link_conf *c)
{
    s->link = *c;
}

void sim_skip(struct sim *s, ph_ns span)
{
    s->now += span;
}

void sim_at(struct sim *s, ph_ns at, void (*fn)(void *ctx, ph_ns now), void *ctx)
{
    sim__post(s, (struct sim_event){.at = at, .fn = fn, .ctx = ctx});
}

static void dispatch(struct sim *s, const struct sim_event *e)
{
    if (e->fn)
        e->fn(e->ctx, s->now);
    else if (e->link)
        sim__link_arrive(e->link, e->pkt);
    else
        sim__host_input(e->host, e->pkt);
}

/* Lets happen what is due now.  Returns false if it does not come to an end. */
static bool settle(struct sim *s)
{
    size_t events = 0;
    for (int round = 0; round < ROUNDS_PER_INSTANT; round++) {
        bool busy = false;
        for (struct sim_event e; sim__pop_due(s, &e); busy = true) {
            dispatch(s, &e);
            if (++events > EVENTS_PER_INSTANT)
                return false;
        }
        if (sim__nodes_poll(s))
            busy = true;
        if (!busy)
            return true;
        if (s->stuck)
            return false;
    }
    return false;
}

enum sim_end sim_run_until(struct sim *s, bool (*cond)(void *ctx), void *ctx, ph_ns span)
{
    ph_ns end = span >= PH_NEVER - s->now ? PH_NEVER - 1 : s->now + span;
    for (;;) {
        if (!settle(s)) {
            sim_note(s, "livelock: the clock stands still");
            return SIM_LIVELOCK;
        }
        if (cond && cond(ctx))
            return SIM_DONE;
        ph_ns next = ph_min_ns(sim__next_event(s), sim__nodes_deadline(s));
        if (next == PH_NEVER)
            return SIM_IDLE;
        if (next > end) {
            s->now = end;
            return SIM_TIMEOUT;
        }
        s->now = next;
    }
}

enum sim_end sim_run_until_idle(struct sim *s, ph_ns span)
{
    return sim_run_until(s, NULL, NULL, span);
}

enum sim_end sim_run(struct sim *s, ph_ns span)
{
    ph_ns end = s->now + span;
    enum sim_end e = sim_run_until(s, NULL, NULL, span);
    if (e == SIM_LIVELOCK)
        return e;
    s->now = end;
    return SIM_TIMEOUT;
}
