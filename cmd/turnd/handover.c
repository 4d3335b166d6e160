/*
 * The bytes of a hand-over.
 */
#include "cmd/turnd/handover.h"

#include "stun/base/bytes.h"
#include "stun/base/error.h"
#include "stun/codec/integrity.h"

#include <stdlib.h>
#include <string.h>

enum { HEAD = PH_THANDOVER_HEAD, CRC_AT = 12, BODY_AT = 16, ADDR = 20 };

static const char MAGIC[8] = "PHLEAVES";

/* By nibbles: it runs once in the life of a program, over some megabytes. */
static uint32_t crc32_of(const uint8_t *p, size_t n)
{
    uint32_t table[16], crc = 0xFFFFFFFFu;
    for (uint32_t i = 0; i < 16; i++) {
        table[i] = i;
        for (int bit = 0; bit < 4; bit++)
            table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xEDB88320u : 0);
    }
    for (size_t i = 0; i < n; i++) {
        crc = table[(crc ^ p[i]) & 15] ^ crc >> 4;
        crc = table[(crc ^ p[i] >> 4) & 15] ^ crc >> 4;
    }
    return ~crc;
}

/* ---- one field after the other ---- */

/* Writes, or with p = NULL only counts; reads, and after a mistake nothing more. */
struct out {
    uint8_t *p;
    size_t n;
};

struct in {
    const uint8_t *p;
    size_t n;
    int err;
};

static void put(struct out *o, const void *bytes, size_t n)
{
    if (o->p && n)
        memcpy(o->p + o->n, bytes, n);
    o->n += n;
}

static void put_u32(struct out *o, uint32_t v)
{
    uint8_t b[4];
    ph_put32(b, v);
    put(o, b, sizeof b);
}

static void put_u64(struct out *o, uint64_t v)
{
    uint8_t b[8];
    ph_put64(b, v);
    put(o, b, sizeof b);
}

static void put_bytes(struct out *o, const void *bytes, size_t n)
{
    put_u32(o, (uint32_t)n);
    put(o, bytes, n);
}

static void put_text(struct out *o, const char *text)
{
    put_bytes(o, text, strlen(text));
}

static void put_addr(struct out *o, const struct ph_addr *a)
{
    uint8_t b[ADDR];
    memcpy(b, a->ip, 16);
    ph_put16(b + 16, a->port);
    b[18] = a->family;
    b[19] = a->proto;
    put(o, b, sizeof b);
}

static const uint8_t *get(struct in *i, size_t n)
{
    const uint8_t *p = i->p;
    if (i->err || i->n < n) {
        i->err = i->err ? i->err : PH_E_SHORT;
        return NULL;
    }
    i->p += n;
    i->n -= n;
    return p;
}

static uint32_t get_u32(struct in *i)
{
    const uint8_t *p = get(i, 4);
    return p ? ph_get32(p) : 0;
}

static uint64_t get_u64(struct in *i)
{
    const uint8_t *p = get(i, 8);
    return p ? ph_get64(p) : 0;
}

static struct ph_slice get_bytes(struct in *i)
{
    size_t n = get_u32(i);
    const uint8_t *p = get(i, n);
    return (struct ph_slice){p, p ? n : 0};
}

static void get_copy(struct in *i, void *dst, size_t n)
{
    const uint8_t *p = get(i, n);
    if (p)
        memcpy(dst, p, n);
}

static void get_text(struct in *i, char *dst, size_t room)
{
    struct ph_slice s = get_bytes(i);
    if (s.n >= room || (s.n && memchr(s.p, '\0', s.n)))
        i->err = i->err ? i->err : PH_E_FORMAT;
    else if (s.n)
        memcpy(dst, s.p, s.n);
}

static void get_addr(struct in *i, struct ph_addr *a)
{
    const uint8_t *p = get(i, ADDR);
    if (!p)
        return;
    struct ph_addr x = {.port = ph_get16(p + 16), .family = p[18], .proto = p[19]};
    if (x.family > PH_AF_INET6)
        i->err = PH_E_FORMAT;
    else
        memcpy(x.ip, p, ph_addr_ip_len(&x));
    *a = x;
}

/* A descriptor that is ours to use: not one of the first three. */
static int get_fd(struct in *i, bool may_miss)
{
    int32_t fd = (int32_t)get_u32(i);
    if (!i->err && (fd < (may_miss ? -1 : 3) || (fd >= 0 && fd < 3)))
        i->err = PH_E_FORMAT;
    return fd;
}

/* A number of things, each of at least so many bytes. */
static uint32_t get_count(struct in *i, uint32_t max, size_t each)
{
    uint32_t n = get_u32(i);
    if (!i->err && (n > max || n * each > i->n))
        i->err = PH_E_FORMAT;
    return i->err ? 0 : n;
}

/* ---- writing ---- */

void ph_thandover_stamp(uint8_t *p, size_t n)
{
    memcpy(p, MAGIC, sizeof MAGIC);
    ph_put16(p + 8, PH_THANDOVER_VERSION);
    ph_put16(p + 10, 0);
    ph_put64(p + BODY_AT, n);
    ph_put32(p + CRC_AT, crc32_of(p + BODY_AT, n - BODY_AT));
}

static void put_server(struct out *o, const struct ph_turn_uv_handover *s)
{
    put_u32(o, s->workers);
    put_u32(o, s->lost);
    put(o, s->keys.nonce, sizeof s->keys.nonce);
    put(o, s->keys.old_nonce, sizeof s->keys.old_nonce);
    put_u32(o, s->keys.has_old_nonce);
    put_u32(o, s->keys.n_tickets);
    for (unsigned i = 0; i < s->keys.n_tickets; i++)
        put(o, s->keys.ticket[i], sizeof s->keys.ticket[i]);
    put_u32(o, s->n_sockets);
    for (unsigned i = 0; i < s->n_sockets; i++) {
        put_addr(o, &s->socket[i].at);
        put_u32(o, s->socket[i].worker);
        put_u32(o, s->socket[i].relay);
        put_u32(o, (uint32_t)s->socket[i].fd);
    }
    put_u32(o, s->n_records);
    for (unsigned i = 0; i < s->n_records; i++)
        put_bytes(o, s->record[i].p, s->record[i].n);
}

static void put_list(struct out *o, char *const *v)
{
    uint32_t n = 0;
    while (v && v[n])
        n++;
    put_u32(o, n);
    for (uint32_t i = 0; i < n; i++)
        put_text(o, v[i]);
}

static void put_all(struct out *o, const struct ph_thandover *h)
{
    put_u64(o, h->id);
    put_text(o, h->version);
    put_text(o, h->program);
    put_list(o, h->argv);
    put_list(o, h->env);
    put_u64(o, (uint64_t)h->started_s);
    put_u64(o, (uint64_t)h->left_ns);
    put_u32(o, (uint32_t)h->exe_fd);
    put_u32(o, (uint32_t)h->log_fd);
    put_u32(o, (uint32_t)h->pid_fd);
    put_text(o, h->pid_path);
    put_text(o, h->token);
    put_u32(o, h->n_doors);
    for (unsigned i = 0; i < h->n_doors; i++) {
        put_u32(o, h->door[i].kind);
        put_addr(o, &h->door[i].at);
        put_text(o, h->door[i].path);
        put_u32(o, (uint32_t)h->door[i].fd);
    }
    put_server(o, &h->server);
}

size_t ph_thandover_size(const struct ph_thandover *h)
{
    struct out o = {NULL, HEAD};
    put_all(&o, h);
    return o.n;
}

void ph_thandover_write(const struct ph_thandover *h, uint8_t *dst)
{
    struct out o = {dst, HEAD};
    put_all(&o, h);
    ph_thandover_stamp(dst, o.n);
}

/* ---- reading ---- */

static void get_keys(struct in *i, struct ph_turnd_keys *k)
{
    get_copy(i, k->nonce, sizeof k->nonce);
    get_copy(i, k->old_nonce, sizeof k->old_nonce);
    k->has_old_nonce = get_u32(i) != 0;
    k->n_tickets = get_count(i, PH_TURND_TICKET_KEYS, sizeof k->ticket[0]);
    for (unsigned n = 0; n < k->n_tickets; n++)
        get_copy(i, k->ticket[n], sizeof k->ticket[n]);
}

static void get_sockets(struct in *i, struct ph_turn_uv_handover *s)
{
    uint32_t n = get_count(i, PH_THANDOVER_MAX, ADDR + 12);
    s->socket = calloc(n ? n : 1, sizeof *s->socket);
    if (!s->socket)
        i->err = PH_E_NOMEM;
    for (; !i->err && s->n_sockets < n; s->n_sockets++) {
        struct ph_turn_uv_socket *x = &s->socket[s->n_sockets];
        get_addr(i, &x->at);
        uint32_t worker = get_u32(i), relay = get_u32(i);
        x->worker = (uint8_t)worker;
        x->relay = relay != 0;
        x->fd = get_fd(i, false);
        if (!i->err &&
            (worker > UINT8_MAX || relay > 1 || (x->at.proto != PH_UDP && x->at.proto != PH_TCP)))
            i->err = PH_E_FORMAT;
    }
}

static void get_records(struct in *i, struct ph_turn_uv_handover *s)
{
    size_t sum = 0;
    uint32_t n = get_count(i, PH_THANDOVER_MAX, 4);
    s->record = calloc(n ? n : 1, sizeof *s->record);
    if (!s->record)
        i->err = PH_E_NOMEM;
    while (!i->err && s->n_records < n) {
        struct ph_slice bytes = get_bytes(i);
        sum += bytes.n;
        if (!i->err && (!bytes.n || bytes.n > PH_RECORD_MAX || sum > PH_THANDOVER_BYTES))
            i->err = PH_E_FORMAT;
        uint8_t *p = i->err ? NULL : malloc(bytes.n);
        if (!p) {
            i->err = i->err ? i->err : PH_E_NOMEM;
            return;
        }
        memcpy(p, bytes.p, bytes.n);
        s->record[s->n_records++] = (struct ph_turn_uv_record){p, bytes.n};
    }
}

static void get_doors(struct in *i, struct ph_thandover *h)
{
    h->n_doors = get_count(i, PH_THANDOVER_DOORS, ADDR + 12);
    for (unsigned n = 0; n < h->n_doors; n++) {
        h->door[n].kind = (uint8_t)get_u32(i);
        get_addr(i, &h->door[n].at);
        get_text(i, h->door[n].path, sizeof h->door[n].path);
        h->door[n].fd = get_fd(i, false);
    }
}

/* With room for two more: see ph_tself_exec. */
static char **get_list(struct in *i)
{
    uint32_t n = get_count(i, PH_THANDOVER_STRINGS, 4);
    char **v = calloc(n + 3, sizeof *v);
    for (uint32_t k = 0; v && k < n && !i->err; k++) {
        struct ph_slice s = get_bytes(i);
        if (s.n && memchr(s.p, '\0', s.n))
            i->err = PH_E_FORMAT;
        v[k] = i->err ? NULL : calloc(s.n + 1, 1);
        if (v[k] && s.n)
            memcpy(v[k], s.p, s.n);
        else if (!i->err && !v[k])
            i->err = PH_E_NOMEM;
    }
    i->err = v ? i->err : PH_E_NOMEM;
    return v;
}

static void free_list(char **v)
{
    for (size_t i = 0; v && v[i]; i++) {
        ph_wipe(v[i], strlen(v[i]));
        free(v[i]);
    }
    free(v);
}

static void get_all(struct in *i, struct ph_thandover *h)
{
    h->id = get_u64(i);
    get_text(i, h->version, sizeof h->version);
    get_text(i, h->program, sizeof h->program);
    h->argv = get_list(i);
    h->env = get_list(i);
    h->started_s = (int64_t)get_u64(i);
    h->left_ns = (int64_t)get_u64(i);
    h->exe_fd = get_fd(i, true);
    h->log_fd = get_fd(i, true);
    h->pid_fd = get_fd(i, true);
    get_text(i, h->pid_path, sizeof h->pid_path);
    get_text(i, h->token, sizeof h->token);
    get_doors(i, h);
    h->server.workers = get_u32(i);
    h->server.lost = get_u32(i);
    get_keys(i, &h->server.keys);
    get_sockets(i, &h->server);
    get_records(i, &h->server);
    if (!i->err && i->n)
        i->err = PH_E_FORMAT;
}

int ph_thandover_read(struct ph_thandover *h, struct ph_slice bytes)
{
    *h = (struct ph_thandover){.exe_fd = -1, .log_fd = -1, .pid_fd = -1};
    if (bytes.n < HEAD)
        return PH_E_SHORT;
    if (memcmp(bytes.p, MAGIC, sizeof MAGIC) != 0)
        return PH_E_FORMAT;
    if (ph_get16(bytes.p + 8) != PH_THANDOVER_VERSION)
        return PH_E_UNSUPPORTED;
    if (ph_get64(bytes.p + BODY_AT) != bytes.n ||
        ph_get32(bytes.p + CRC_AT) != crc32_of(bytes.p + BODY_AT, bytes.n - BODY_AT))
        return PH_E_FORMAT;
    struct in i = {bytes.p + HEAD, bytes.n - HEAD, 0};
    get_all(&i, h);
    if (i.err)
        ph_thandover_free(h);
    return i.err;
}

void ph_thandover_free(struct ph_thandover *h)
{
    ph_turn_uv_handover_free(&h->server, false);
    free_list(h->argv);
    free_list(h->env);
    ph_wipe(h, sizeof *h);
    *h = (struct ph_thandover){.exe_fd = -1, .log_fd = -1, .pid_fd = -1};
}
