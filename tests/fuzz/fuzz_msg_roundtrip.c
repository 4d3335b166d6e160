/*
 * The input as a recipe: a message is written from it, parsed, and must hold what was written.
 *
 * Bytes: capacity (2), method (2), class, id (12), then attributes until one begins with 0xFF:
 * index in the table, size of a byte value (2), value; at last a byte that says which integrity
 * attributes follow and whether something is put behind them, which must not be seen.
 */
#include "fuzz/check.h"
#include "stun/base/error.h"
#include "stun/codec/fingerprint.h"
#include "stun/codec/integrity.h"
#include "stun/codec/msg.h"
#include "stun/codec/msgw.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CAP = 4096, ATTRS = 32, STORE = 8192 };

enum { TAIL_MI = 1, TAIL_MI256 = 2, TAIL_FINGERPRINT = 4, TAIL_HIDDEN = 8 };

static const char KEY[] = "a key";

struct recipe {
    uint16_t type[ATTRS];
    struct ph_attr_value value[ATTRS];
    unsigned n;
    uint8_t store[STORE]; /* bytes of values */
    size_t used;
    uint8_t tail;
};

/* n bytes of input (zeros when it is used up), kept until the end. */
static struct ph_slice keep(struct recipe *r, struct fuzz_in *in, size_t n)
{
    if (n > STORE - r->used)
        n = STORE - r->used;
    uint8_t *p = r->store + r->used;
    fuzz_bytes(in, p, n);
    r->used += n;
    return (struct ph_slice){p, n};
}

static struct ph_addr read_addr(struct fuzz_in *in)
{
    uint8_t ip[16], family = fuzz_u8(in);
    uint16_t port = fuzz_u16(in);
    fuzz_bytes(in, ip, sizeof ip);
    struct ph_addr none = {.family = family};
    return family == PH_AF_INET    ? ph_addr_v4(ip, port, 0)
           : family == PH_AF_INET6 ? ph_addr_v6(ip, port, 0)
                                   : none;
}

static struct ph_attr_value read_value(struct recipe *r, struct fuzz_in *in, uint8_t kind)
{
    uint16_t n = fuzz_u16(in);
    struct ph_attr_value v = {.u = 0};
    switch (kind) {
    case PH_KIND_ADDR:
    case PH_KIND_XADDR:
        v.addr = read_addr(in);
        break;
    case PH_KIND_U8:
    case PH_KIND_U8_PAD:
    case PH_KIND_U16_PAD:
    case PH_KIND_U32:
    case PH_KIND_U64:
        v.u = fuzz_u64(in);
        break;
    case PH_KIND_FLAG:
        break;
    case PH_KIND_ERRCODE:
    case PH_KIND_ADDR_ERRCODE:
        v.error.code = fuzz_u16(in);
        v.error.family = fuzz_u8(in);
        v.error.reason = keep(r, in, n);
        break;
    case PH_KIND_ALGORITHM:
        v.alg.number = fuzz_u16(in);
        v.alg.params = keep(r, in, n);
        break;
    case PH_KIND_ICMP:
        v.icmp.type = fuzz_u8(in);
        v.icmp.code = fuzz_u16(in);
        v.icmp.data = (uint32_t)fuzz_u64(in);
        break;
    case PH_KIND_COUNTER:
        v.counter.req = fuzz_u8(in);
        v.counter.resp = fuzz_u8(in);
        break;
    default:
        v.bytes = keep(r, in, n);
    }
    return v;
}

static bool is_mac(uint16_t type)
{
    return type == PH_ATTR_MESSAGE_INTEGRITY || type == PH_ATTR_MESSAGE_INTEGRITY_SHA256 ||
           type == PH_ATTR_FINGERPRINT;
}

static void read_recipe(struct recipe *r, struct fuzz_in *in)
{
    while (r->n < ATTRS && in->n) {
        uint8_t ix = fuzz_u8(in);
        if (ix == 0xFF)
            break;
        const struct ph_attr_desc *d = &ph_attr_table[ix % PH_ATTR_COUNT];
        if (is_mac(d->type))
            continue;
        r->type[r->n] = d->type;
        r->value[r->n] = read_value(r, in, d->kind);
        r->n++;
    }
    r->tail = fuzz_u8(in);
}

static void write_tail(struct ph_msgw *w, uint8_t tail)
{
    if (tail & TAIL_MI)
        ph_msgw_integrity(w, ph_str(KEY));
    if (tail & TAIL_HIDDEN && tail & (TAIL_MI | TAIL_MI256))
        ph_msgw_bytes(w, PH_ATTR_SOFTWARE, ph_str("hidden"));
    if (tail & TAIL_MI256)
        ph_msgw_integrity_sha256(w, ph_str(KEY), 16 + (tail >> 4 & 3) * 4u);
    if (tail & TAIL_FINGERPRINT)
        ph_msgw_fingerprint(w);
}

/* The attribute that `it` shows must be `want`, encoded the same and decodable. */
static void compare(const struct ph_msg *m, const struct ph_msg_it *it, uint16_t type,
                    const struct ph_attr_value *want)
{
    static uint8_t a[65536], b[65536];
    const struct ph_attr_desc *d = ph_attr_find(type);
    struct ph_attr_value got;
    CHECK(it->type == type);
    int n = ph_attr_encode(d, want, ph_msg_txid(m), a, sizeof a);
    CHECK(n >= 0 && it->value.n == (size_t)n && memcmp(it->value.p, a, (size_t)n) == 0);
    CHECK(ph_attr_decode(d, it->value.p, it->value.n, ph_msg_txid(m), &got) == 0);
    n = ph_attr_encode(d, &got, ph_msg_txid(m), b, sizeof b);
    /* A phrase that ends in zeros loses them: coturn's habit, see attr.c. */
    CHECK(n >= 0 && (size_t)n <= it->value.n && memcmp(a, b, (size_t)n) == 0);
    CHECK((size_t)n == it->value.n || d->kind == PH_KIND_ERRCODE ||
          d->kind == PH_KIND_ADDR_ERRCODE);
}

static void check_message(const struct recipe *r, const uint8_t *p, size_t n)
{
    struct ph_slice key = ph_str(KEY);
    struct ph_msg m;
    struct ph_msg_it it = {0};
    CHECK(ph_msg_parse(&m, p, n) == 0);
    for (unsigned i = 0; i < r->n; i++) {
        CHECK(ph_msg_next(&m, &it));
        compare(&m, &it, r->type[i], &r->value[i]);
    }
    if (r->tail & TAIL_MI)
        CHECK(ph_msg_next(&m, &it) && it.type == PH_ATTR_MESSAGE_INTEGRITY);
    if (r->tail & TAIL_HIDDEN && !(r->tail & TAIL_MI) && r->tail & TAIL_MI256)
        CHECK(ph_msg_next(&m, &it) && it.type == PH_ATTR_SOFTWARE); /* stands in front: visible */
    if (r->tail & TAIL_MI256)
        CHECK(ph_msg_next(&m, &it) && it.type == PH_ATTR_MESSAGE_INTEGRITY_SHA256);
    if (r->tail & TAIL_FINGERPRINT)
        CHECK(ph_msg_next(&m, &it) && it.type == PH_ATTR_FINGERPRINT);
    CHECK(!ph_msg_next(&m, &it));
    CHECK(ph_msg_check_integrity(&m, key) == (r->tail & TAIL_MI ? 0 : PH_E_MISSING));
    CHECK(ph_msg_check_integrity_sha256(&m, key) == (r->tail & TAIL_MI256 ? 0 : PH_E_MISSING));
    CHECK(ph_msg_check_fingerprint(&m) == (r->tail & TAIL_FINGERPRINT ? 0 : PH_E_MISSING));
    if (r->tail & TAIL_MI)
        CHECK(ph_msg_check_integrity(&m, ph_str("no key")) == PH_E_AUTH);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct recipe r;
    struct fuzz_in in = {data, size};
    size_t cap = fuzz_u16(&in) % (CAP + 1);
    uint16_t method = fuzz_u16(&in) & 0xFFF;
    enum ph_class cls = (enum ph_class)(fuzz_u8(&in) & 3);
    uint8_t txid[PH_TXID_LEN], *p = malloc(cap ? cap : 1);
    struct ph_msgw w;
    CHECK(p);
    r.n = 0;
    r.used = 0;
    fuzz_bytes(&in, txid, sizeof txid);
    read_recipe(&r, &in);
    ph_msgw_begin(&w, p, cap, method, cls, txid);
    for (unsigned i = 0; i < r.n; i++)
        ph_msgw_attr(&w, r.type[i], &r.value[i]);
    write_tail(&w, r.tail);
    int n = ph_msgw_end(&w);
    CHECK(n > 0 || n == PH_E_NOSPACE || n == PH_E_ARG);
    if (n > 0)
        check_message(&r, p, (size_t)n);
    free(p);
    return 0;
}
