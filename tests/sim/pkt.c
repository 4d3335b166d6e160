/*
 * Packets under way: copies of what a socket sent, and the ICMP errors about them.
 */
#include "tests/sim/priv.h"

#include <stdlib.h>
#include <string.h>

enum { HEADERS_V4 = 20 + 8, HEADERS_V6 = 40 + 8 };

static struct sim_pkt *alloc(struct sim *s, uint32_t cap)
{
    struct sim_pkt *p = sim__zalloc(sizeof *p + cap);
    p->cap = cap;
    s->flight++;
    return p;
}

struct sim_pkt *sim__pkt_new(struct sim *s, const struct ph_addr *src, const struct ph_addr *dst,
                             uint32_t len)
{
    struct sim_pkt *p = alloc(s, len);
    p->id = ++s->ids;
    p->src = *src;
    p->dst = *dst;
    p->len = len;
    p->size = len + (dst->family == PH_AF_INET ? HEADERS_V4 : HEADERS_V6);
    return p;
}

struct sim_pkt *sim__pkt_copy(struct sim *s, const struct sim_pkt *p)
{
    struct sim_pkt *q = alloc(s, p->cap);
    memcpy(q, p, sizeof *p + p->cap);
    q->next = NULL;
    return q;
}

void sim__pkt_free(struct sim *s, struct sim_pkt *p)
{
    s->flight--;
    free(p);
}

struct sim_pkt *sim__pkt_error(struct sim *s, const struct sim_pkt *p, enum sim_error e,
                               const struct ph_addr *from)
{
    if (p->error)
        return NULL;
    struct sim_pkt *q = alloc(s, 0);
    q->id = p->id;
    q->error = (uint8_t)e;
    q->dst = p->src;
    q->about = p->dst;
    q->src.family = p->src.family;
    if (from)
        q->src = *from;
    q->src.port = 0;
    q->src.proto = PH_PROTO_NONE;
    q->size = p->src.family == PH_AF_INET ? HEADERS_V4 * 2 : HEADERS_V6 * 2;
    return q;
}

void sim__icmp_fill(const struct sim_pkt *p, struct sim_icmp *e)
{
    /* RFC 792, RFC 1812 5.2.7.1; RFC 4443 3.1, 3.2 */
    static const struct {
        uint8_t type4, code4, type6, code6;
    } numbers[] = {
        [SIM_ERR_PORT] = {3, 3, 1, 4},
        [SIM_ERR_HOST] = {3, 1, 1, 3},
        [SIM_ERR_TOO_BIG] = {3, 4, 2, 0},
        [SIM_ERR_ADMIN] = {3, 13, 1, 1},
    };
    bool v4 = p->about.family == PH_AF_INET;
    e->type = v4 ? numbers[p->error].type4 : numbers[p->error].type6;
    e->code = v4 ? numbers[p->error].code4 : numbers[p->error].code6;
    e->mtu = p->mtu;
    e->local = p->dst;
    e->remote = p->about;
    e->from = p->src;
}

/* FNV-1a over the bytes of the address; nobody attacks these tables. */
static uint32_t fnv(const void *bytes, size_t n)
{
    const uint8_t *p = bytes;
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 16777619u;
    return (h ^ h >> 16) & (SIM_BUCKETS - 1);
}

uint32_t sim__hash_ip(const struct ph_addr *a)
{
    return fnv(a->ip, sizeof a->ip);
}

uint32_t sim__hash_endpoint(const struct ph_addr *a)
{
    return fnv(a, offsetof(struct ph_addr, family));
}
