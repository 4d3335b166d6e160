/*
 * What a program leaves to the next, as bytes.
 */
#include "cmd/turnd/handover.h"

#include "stun/base/error.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { RECORDS = 3, SOCKETS = 4 };

static uint8_t record[RECORDS][40];

static struct ph_addr at(uint8_t last, uint16_t port, uint8_t proto)
{
    return ph_addr_v4((const uint8_t[]){192, 0, 2, last}, port, proto);
}

/* Everything in it is something else. */
static void fill(struct ph_thandover *h)
{
    static struct ph_turn_uv_socket socket[SOCKETS];
    static struct ph_turn_uv_record records[RECORDS];
    static char name[] = "turnd", option[] = "--user=a:b", empty[] = "", path[] = "PATH=/bin";
    static char *argv[] = {name, option, empty, NULL}, *env[] = {path, NULL};
    *h = (struct ph_thandover){
        .id = 0x123456789ABCD,
        .version = "1.2.3",
        .program = "/usr/bin/turnd",
        .argv = argv,
        .env = env,
        .started_s = 1700000000,
        .left_ns = 123456789012345,
        .exe_fd = 9,
        .log_fd = -1,
        .pid_fd = 11,
        .pid_path = "/run/turnd.pid",
        .token = "1700000000000-abc",
        .n_doors = 2,
        .door = {{.kind = 1, .path = "/run/turnd/turnd.sock", .fd = 12},
                 {.kind = 2, .at = at(9, 8081, PH_TCP), .fd = 13}},
        .server = {.socket = socket,
                   .n_sockets = SOCKETS,
                   .record = records,
                   .n_records = RECORDS,
                   .workers = 4,
                   .lost = 5},
    };
    for (unsigned i = 0; i < SOCKETS; i++)
        socket[i] = (struct ph_turn_uv_socket){
            .at = at((uint8_t)i, (uint16_t)(50000 + i), i == 1 ? PH_TCP : PH_UDP),
            .worker = (uint8_t)i,
            .relay = i > 1,
            .fd = (int)(20 + i)};
    for (unsigned i = 0; i < RECORDS; i++) {
        memset(record[i], (int)(i + 1), sizeof record[i]);
        records[i] = (struct ph_turn_uv_record){record[i], sizeof record[i] - i};
    }
    struct ph_turnd_keys *k = &h->server.keys;
    memset(k->nonce, 1, sizeof k->nonce);
    memset(k->old_nonce, 2, sizeof k->old_nonce);
    k->has_old_nonce = true;
    k->n_tickets = PH_TURND_TICKET_KEYS;
    for (unsigned i = 0; i < k->n_tickets; i++)
        memset(k->ticket[i], (int)(i + 3), sizeof k->ticket[i]);
}

/* Its bytes, to be freed. */
static struct ph_slice written(const struct ph_thandover *h)
{
    size_t n = ph_thandover_size(h);
    uint8_t *p = malloc(n);
    ph_thandover_write(h, p);
    return (struct ph_slice){p, n};
}

static uint8_t *bytes_of(struct ph_slice s)
{
    return (uint8_t *)(uintptr_t)s.p;
}

static void expect_same_server(const struct ph_turn_uv_handover *a,
                               const struct ph_turn_uv_handover *b)
{
    cr_assert_eq(a->n_sockets, b->n_sockets);
    cr_assert_eq(a->n_records, b->n_records);
    cr_expect_eq(a->workers, b->workers);
    cr_expect_eq(a->lost, b->lost);
    cr_expect_eq(memcmp(&a->keys, &b->keys, sizeof a->keys), 0);
    for (unsigned i = 0; i < a->n_sockets; i++) {
        cr_expect(ph_addr_eq(&a->socket[i].at, &b->socket[i].at));
        cr_expect_eq(a->socket[i].worker, b->socket[i].worker);
        cr_expect_eq(a->socket[i].relay, b->socket[i].relay);
        cr_expect_eq(a->socket[i].fd, b->socket[i].fd);
    }
    for (unsigned i = 0; i < a->n_records; i++) {
        cr_assert_eq(a->record[i].n, b->record[i].n);
        cr_expect_eq(memcmp(a->record[i].p, b->record[i].p, a->record[i].n), 0);
    }
}

Test(handover, comes_out_as_it_went_in)
{
    struct ph_thandover h, got;
    fill(&h);
    struct ph_slice s = written(&h);
    cr_assert_eq(ph_thandover_read(&got, s), 0);
    cr_expect_eq(got.id, h.id);
    cr_expect_str_eq(got.version, h.version);
    cr_expect_str_eq(got.program, h.program);
    cr_expect_str_eq(got.argv[0], "turnd");
    cr_expect_str_eq(got.argv[1], "--user=a:b");
    cr_expect_str_eq(got.argv[2], "");
    cr_expect_null(got.argv[3]);
    cr_expect_str_eq(got.env[0], "PATH=/bin");
    cr_expect_null(got.env[1]);
    cr_expect_eq(got.started_s, h.started_s);
    cr_expect_eq(got.left_ns, h.left_ns);
    cr_expect_eq(got.exe_fd, 9);
    cr_expect_eq(got.log_fd, -1);
    cr_expect_eq(got.pid_fd, 11);
    cr_expect_str_eq(got.pid_path, h.pid_path);
    cr_expect_str_eq(got.token, h.token);
    cr_assert_eq(got.n_doors, 2);
    for (unsigned i = 0; i < 2; i++) {
        cr_expect_eq(got.door[i].kind, h.door[i].kind);
        cr_expect_eq(got.door[i].fd, h.door[i].fd);
        cr_expect_str_eq(got.door[i].path, h.door[i].path);
        cr_expect(ph_addr_eq(&got.door[i].at, &h.door[i].at));
    }
    expect_same_server(&got.server, &h.server);
    ph_thandover_free(&got);
    free(bytes_of(s));
}

Test(handover, may_be_empty)
{
    struct ph_thandover h = {.exe_fd = -1, .log_fd = -1, .pid_fd = -1}, got;
    struct ph_slice s = written(&h);
    cr_assert_eq(ph_thandover_read(&got, s), 0);
    cr_expect_eq(got.server.n_sockets, 0);
    cr_expect_eq(got.server.n_records, 0);
    ph_thandover_free(&got);
    free(bytes_of(s));
}

Test(handover, refuses_every_cut)
{
    struct ph_thandover h, got;
    fill(&h);
    struct ph_slice s = written(&h);
    for (size_t n = 0; n < s.n; n++) {
        uint8_t *cut = malloc(n ? n : 1);
        memcpy(cut, s.p, n);
        cr_expect_neq(ph_thandover_read(&got, (struct ph_slice){cut, n}), 0, "%zu bytes", n);
        if (n >= PH_THANDOVER_HEAD) { /* also when it looks whole */
            ph_thandover_stamp(cut, n);
            cr_expect_neq(ph_thandover_read(&got, (struct ph_slice){cut, n}), 0, "%zu bytes", n);
        }
        free(cut);
    }
    free(bytes_of(s));
}

Test(handover, refuses_every_changed_byte)
{
    struct ph_thandover h, got;
    fill(&h);
    struct ph_slice s = written(&h);
    for (size_t i = 0; i < s.n; i++) {
        if (i == 10 || i == 11) /* reserved */
            continue;
        bytes_of(s)[i] ^= 0x40;
        cr_expect_neq(ph_thandover_read(&got, s), 0, "byte %zu", i);
        bytes_of(s)[i] ^= 0x40;
    }
    free(bytes_of(s));
}

Test(handover, knows_its_version)
{
    struct ph_thandover h, got;
    fill(&h);
    struct ph_slice s = written(&h);
    bytes_of(s)[9]++;
    cr_expect_eq(ph_thandover_read(&got, s), PH_E_UNSUPPORTED);
    free(bytes_of(s));
}

static int read_changed(void (*change)(struct ph_thandover *h))
{
    struct ph_thandover h, got;
    fill(&h);
    change(&h);
    struct ph_slice s = written(&h);
    int err = ph_thandover_read(&got, s);
    if (!err)
        ph_thandover_free(&got);
    free(bytes_of(s));
    return err;
}

static void use_standard_input(struct ph_thandover *h)
{
    h->server.socket[0].fd = 0;
}

static void use_no_descriptor(struct ph_thandover *h)
{
    h->door[1].fd = -1;
}

static void use_odd_protocol(struct ph_thandover *h)
{
    h->server.socket[2].at.proto = PH_TLS;
}

static void use_odd_family(struct ph_thandover *h)
{
    h->server.socket[2].at.family = 3;
}

static void use_empty_record(struct ph_thandover *h)
{
    h->server.record[1].n = 0;
}

Test(handover, refuses_what_makes_no_sense)
{
    cr_expect_eq(read_changed(use_standard_input), PH_E_FORMAT);
    cr_expect_eq(read_changed(use_no_descriptor), PH_E_FORMAT);
    cr_expect_eq(read_changed(use_odd_protocol), PH_E_FORMAT);
    cr_expect_eq(read_changed(use_odd_family), PH_E_FORMAT);
    cr_expect_eq(read_changed(use_empty_record), PH_E_FORMAT);
}

Test(handover, believes_no_count)
{
    struct ph_thandover h = {.exe_fd = -1, .log_fd = -1, .pid_fd = -1}, got;
    struct ph_slice s = written(&h);
    for (size_t i = PH_THANDOVER_HEAD; i + 4 <= s.n; i++) { /* wherever the counts are */
        uint8_t kept[4];
        memcpy(kept, s.p + i, 4);
        memset(bytes_of(s) + i, 0x7F, 4);
        ph_thandover_stamp(bytes_of(s), s.n);
        if (ph_thandover_read(&got, s) == 0)
            ph_thandover_free(&got);
        memcpy(bytes_of(s) + i, kept, 4);
    }
    free(bytes_of(s));
}
