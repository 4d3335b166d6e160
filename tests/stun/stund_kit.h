/*
 * One request to a Binding server and a look at what came of it, for test_server*.c.
 */
#ifndef PH_TESTS_STUN_STUND_KIT_H
#define PH_TESTS_STUN_STUND_KIT_H

#include "stun/base/error.h"
#include "stun/codec/fingerprint.h"
#include "stun/codec/msgw.h"
#include "stun/server.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

enum { ROOM = 4096 };
static const ph_ns NOW = PH_SEC(1000);
static const uint8_t ID[PH_TXID_LEN] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};

static inline struct ph_addr addr(const char *text)
{
    struct ph_addr a;
    cr_assert_eq(ph_addr_parse(&a, text, strlen(text), 0), 0, "%s", text);
    a.proto = PH_UDP;
    return a;
}

#define CLIENT  "192.0.2.77:5004"
#define CLIENT6 "[2001:db8::77]:5004"

/* A1:P1, A1:P2, A2:P1, A2:P2 on sockets 10 to 13. */
static const char *const FOUR[] = {"198.51.100.1:3478", "198.51.100.1:3479", "198.51.100.2:3478",
                                   "198.51.100.2:3479"};

static inline struct ph_stund_conf discovery_conf(void)
{
    struct ph_stund_conf c = {.rfc5780 = true, .sock = {10, 11, 12, 13}};
    for (unsigned i = 0; i < 4; i++)
        c.at[i] = addr(FOUR[i]);
    return c;
}

/* One request and what came of it. */
struct trial {
    struct ph_stund s;
    struct ph_msgw w;
    uint8_t room[ROOM + PH_TAILROOM];
    struct ph_pkt p;
    uint32_t asked; /* bytes of the request */
    struct ph_msg m;
};

static inline struct trial *trial(const struct ph_stund_conf *c)
{
    struct trial *t = calloc(1, sizeof *t);
    static const struct ph_stund_conf plain;
    cr_assert_not_null(t);
    cr_assert_eq(ph_stund_init(&t->s, c ? c : &plain), 0);
    ph_msgw_begin(&t->w, t->room + PH_HEADROOM, ROOM - PH_HEADROOM, PH_BINDING, PH_REQUEST, ID);
    t->p.src = addr(CLIENT);
    t->p.dst = addr(FOUR[0]);
    t->p.sock = 10;
    return t;
}

/* Hands in what the writer holds. */
static inline int ask(struct trial *t)
{
    int n = ph_msgw_end(&t->w);
    cr_assert_gt(n, 0);
    t->p.b = (struct ph_buf){t->room, sizeof t->room, PH_HEADROOM, (uint32_t)n};
    t->asked = (uint32_t)n;
    return ph_stund_input(&t->s, &t->p, NOW);
}

/* The same; expects an answer of a class to the client and parses it. */
static inline void expect(struct trial *t, enum ph_class cls)
{
    struct ph_addr client = t->p.src;
    cr_assert_eq(ask(t), PH_SEND);
    cr_assert_eq(ph_msg_parse(&t->m, ph_buf_data(&t->p.b), t->p.b.len), 0);
    cr_assert_eq(t->m.method, PH_BINDING);
    cr_assert_eq(t->m.cls, cls);
    cr_assert_arr_eq(ph_msg_txid(&t->m), ID, sizeof ID);
    cr_assert(ph_addr_eq_ip(&t->p.dst, &client), "answers go to the source's IP");
    cr_assert_neq(ph_msg_check_fingerprint(&t->m), PH_E_FORMAT);
}

static inline void expect_error(struct trial *t, uint16_t want)
{
    uint16_t code = 0;
    struct ph_addr client = t->p.src;
    uint32_t sock = t->p.sock;
    expect(t, PH_ERROR);
    cr_assert_eq(ph_msg_error(&t->m, &code, NULL), 0);
    cr_assert_eq(code, want, "code %u, not %u", code, want);
    cr_assert(ph_addr_eq(&t->p.dst, &client), "errors go to the source alone");
    cr_assert_eq(t->p.sock, sock, "and by the socket of the request");
}

static inline void expect_addr(const struct trial *t, enum ph_attr_index ix, const char *want)
{
    struct ph_addr a;
    char text[PH_ADDR_TEXT];
    cr_assert_eq(ph_msg_addr(&t->m, ix, &a), 0, "%s is missing", ph_attr_table[ix].name);
    cr_assert_str_eq(ph_addr_text(&a, text), want, "%s", ph_attr_table[ix].name);
}

static inline unsigned attributes(const struct trial *t)
{
    struct ph_msg_it it = {0};
    unsigned n = 0;
    while (ph_msg_next(&t->m, &it))
        n++;
    return n;
}

#endif
