#include "turn/ports.h"

#include "stun/base/error.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { WORDS = 65536 / 64 };

struct ph_ports {
    uint16_t lo, hi;
    _Atomic uint32_t used;
    _Atomic uint64_t taken[WORDS], live[WORDS];
};

struct ph_ports *ph_ports_new(uint16_t lo, uint16_t hi)
{
    struct ph_ports *p = lo && lo <= hi ? calloc(1, sizeof *p) : NULL;
    if (p) {
        p->lo = lo;
        p->hi = hi;
    }
    return p;
}

void ph_ports_free(struct ph_ports *p)
{
    free(p);
}

static bool take_bits(struct ph_ports *p, uint16_t port, uint64_t bits)
{
    _Atomic uint64_t *w = &p->taken[port / 64];
    uint64_t mask = bits << port % 64, old = atomic_load_explicit(w, memory_order_relaxed);

    do {
        if (old & mask)
            return false;
    } while (!atomic_compare_exchange_weak(w, &old, old | mask));
    atomic_fetch_add(&p->used, bits == 3 ? 2 : 1);
    return true;
}

/* Tries one port; an even port and the one above lie in one word, so a pair is one exchange. */
static bool try_port(struct ph_ports *p, enum ph_port_want want, uint16_t port)
{
    if (want == PH_PORT_ANY)
        return take_bits(p, port, 1);
    if (port % 2 != 0)
        return false;
    if (want == PH_PORT_EVEN)
        return take_bits(p, port, 1);
    return port < p->hi && take_bits(p, port, 3);
}

int ph_ports_take(struct ph_ports *p, enum ph_port_want want, uint16_t after,
                  const struct ph_env *env)
{
    uint32_t n = (uint32_t)(p->hi - p->lo) + 1, first;

    if (after >= p->lo && after <= p->hi)
        first = (uint32_t)(after - p->lo) + 1;
    else
        first = ph_env_below(env, n);
    /* From a random start the first free port: on a crowded range that favours ports behind long runs, which
     * still leaves an attacker with thousands of candidates; redraw a few times first to even it out. */
    for (int i = 0; !after && i < 8; i++) {
        uint16_t port = (uint16_t)(p->lo + ph_env_below(env, n));
        if (want != PH_PORT_ANY)
            port &= 0xFFFE;
        if (port >= p->lo && try_port(p, want, port))
            return port;
    }
    for (uint32_t i = 0; i < n; i++) {
        uint16_t port = (uint16_t)(p->lo + (first + i) % n);
        if (try_port(p, want, port))
            return port;
    }
    return PH_E_LIMIT;
}

bool ph_ports_take_exact(struct ph_ports *p, uint16_t port)
{
    return port >= p->lo && port <= p->hi && take_bits(p, port, 1);
}

void ph_ports_release(struct ph_ports *p, uint16_t port)
{
    uint64_t mask = UINT64_C(1) << port % 64;
    atomic_fetch_and(&p->live[port / 64], ~mask);
    if (atomic_fetch_and(&p->taken[port / 64], ~mask) & mask)
        atomic_fetch_sub(&p->used, 1);
}

bool ph_ports_taken(const struct ph_ports *p, uint16_t port)
{
    return atomic_load_explicit(&p->taken[port / 64], memory_order_relaxed) >> port % 64 & 1;
}

void ph_ports_set_live(struct ph_ports *p, uint16_t port)
{
    atomic_fetch_or(&p->live[port / 64], UINT64_C(1) << port % 64);
}

bool ph_ports_live(const struct ph_ports *p, uint16_t port)
{
    return atomic_load_explicit(&p->live[port / 64], memory_order_relaxed) >> port % 64 & 1;
}

uint32_t ph_ports_used(const struct ph_ports *p)
{
    return atomic_load_explicit(&p->used, memory_order_relaxed);
}

uint32_t ph_ports_total(const struct ph_ports *p)
{
    return (uint32_t)(p->hi - p->lo) + 1;
}
