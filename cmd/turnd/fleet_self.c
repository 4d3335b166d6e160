/*
 * What this node says of itself: where clients reach it, and how busy it is.
 *
 * Busy is whatever is scarcest: relay ports, the total-quota, or the processors that the workers have.
 */
#include "cmd/turnd/fleet_priv.h"

#ifdef PH_HAVE_REDIS

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static uint32_t thousandths(uint64_t part, uint64_t whole)
{
    return whole == 0      ? 0
           : part >= whole ? PH_FLEET_LOAD
                           : (uint32_t)(part * PH_FLEET_LOAD / whole);
}

static uint32_t larger(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* ---- load ---- */

static int64_t micros(const struct timeval *t)
{
    return (int64_t)t->tv_sec * 1000000 + t->tv_usec;
}

static uint32_t cpu_load(struct ph__tfleet_cpu *cpu, unsigned workers)
{
    struct rusage u;
    const int64_t at = ph_now() / PH_US(1);

    if (getrusage(RUSAGE_SELF, &u) != 0)
        return 0;
    const int64_t used = micros(&u.ru_utime) + micros(&u.ru_stime);
    const int64_t span = at - cpu->at_us, spent = used - cpu->used_us;
    const bool first = cpu->at_us == 0;
    *cpu = (struct ph__tfleet_cpu){used, at};
    if (first || span <= 0 || spent <= 0)
        return 0;
    return thousandths((uint64_t)spent, (uint64_t)span * (workers ? workers : 1));
}

/* Of the ports that relays do not share: those are taken all the time, and never used up. */
static uint32_t ports_load(const struct ph_trun *r, const struct ph_ports *ports)
{
    const uint32_t used = ph_ports_used(ports), pool = r->plan.pool_ports;

    return used > pool ? thousandths(used - pool, ph_ports_total(ports) - pool) : 0;
}

static uint32_t load_of(struct ph_tfleet *f)
{
    const struct ph_trun *r = f->run;
    uint32_t load = cpu_load(&f->cpu, r->plan.workers);

    for (unsigned i = 0; i < r->plan.n_relays; i++)
        load = larger(load, ports_load(r, r->ports[i]));
    return larger(load, thousandths(ph_quota_used(r->quota), r->live->total_quota));
}

/* ---- addresses ---- */

static void add(struct ph_fleet_node_info *n, unsigned *count, const struct ph_addr *at,
                uint8_t proto)
{
    for (unsigned i = 0; i < *count; i++) /* the first listener of a kind is the one to be named */
        if (n->at[i].proto == proto && n->at[i].family == at->family)
            return;
    if (*count == PH_FLEET_AT)
        return;
    n->at[*count] = *at;
    n->at[(*count)++].proto = proto;
}

static void take_addresses(struct ph_tfleet *f, bool loopback)
{
    const struct ph_tplan *p = &f->run->plan;
    unsigned count = 0;

    for (unsigned i = 0; i < f->run->conf->n_fleet_address; i++)
        add(&f->self, &count, &f->run->conf->fleet_address[i],
            f->run->conf->fleet_address[i].proto);
    for (unsigned i = 0; i < p->n_listeners && f->run->conf->n_fleet_address == 0; i++) {
        const struct ph_addr *at =
            p->listener_external[i].family ? &p->listener_external[i] : &p->listener[i];
        const bool udp = p->listener[i].proto == PH_UDP;
        if (ph_addr_is_any(at) || ph_addr_is_loopback(at) != loopback ||
            p->accept[i] & PH_ACCEPT_PROXY)
            continue;
        if (p->accept[i] & PH_ACCEPT_PLAIN)
            add(&f->self, &count, at, udp ? PH_UDP : PH_TCP);
        if (p->accept[i] & PH_ACCEPT_TLS)
            add(&f->self, &count, at, udp ? PH_DTLS : PH_TLS);
    }
    if (count == 0 && !loopback) /* a machine without any other, as in tests */
        take_addresses(f, true);
}

void ph__tfleet_look(struct ph_tfleet *f)
{
    struct ph_fleet_node_info *n = &f->self;
    const int64_t sessions = atomic_load(&f->run->allocations);

    if (!n->up_s) {
        n->up_s = (int64_t)time(NULL);
        memcpy(n->name, f->run->conf->node, sizeof n->name);
        snprintf(n->version, sizeof n->version, "%s", PH_VERSION);
        take_addresses(f, false);
    }
    n->state = f->run->draining || f->ended ? PH_FLEET_DRAINING : PH_FLEET_SERVING;
    n->sessions = sessions > 0 ? (uint32_t)sessions : 0;
    n->load = load_of(f);
}

#endif
