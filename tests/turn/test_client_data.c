/* Payloads of the client, wrapped and unwrapped in place. */
#include "tests/turn/client_rig.h"
#include "turn/chandata.h"

static const char text[] = "the quick brown fox";

/* A packet with n bytes of `text` in the usual place. */
static struct ph_pkt packet(struct crig *r, uint32_t n)
{
    memset(r->obuf, 0xEE, sizeof r->obuf);
    memcpy(r->obuf + PH_HEADROOM, text, n);
    return (struct ph_pkt){.b = {r->obuf, PH_HEADROOM + n + PH_TAILROOM, PH_HEADROOM, n}};
}

static struct crig *up_with_peer(struct crig *r, const char *peer, bool channel)
{
    struct ph_addr p = crig_addr(peer);
    crig_up_with(r);
    cr_assert_eq(channel ? ph_turnc_bind(r->t, &p, r->now) : ph_turnc_permit(r->t, &p, r->now), 0);
    crig_serve(r);
    crig_want_event(r, channel ? PH_TURNC_BOUND : PH_TURNC_PERMITTED);
    return r;
}

static void check_send(struct crig *r, const struct ph_pkt *p, const struct ph_addr *peer,
                       uint32_t n)
{
    struct ph_msg m;
    struct ph_addr to;
    struct ph_slice data;
    (void)r;
    cr_assert_eq(ph_msg_parse(&m, ph_buf_data(&p->b), p->b.len), 0);
    cr_assert_eq(m.method, PH_SEND_METHOD);
    cr_assert_eq(m.cls, PH_INDICATION);
    cr_assert_eq(ph_msg_addr(&m, PH_IX_XOR_PEER_ADDRESS, &to), 0);
    cr_assert(ph_addr_eq_endpoint(&to, peer));
    cr_assert_eq(ph_msg_bytes(&m, PH_IX_DATA, &data), 0);
    cr_assert_eq(data.n, n);
    cr_assert_eq(data.p, p->b.base + PH_HEADROOM, "not moved");
    cr_assert_arr_eq(data.p, text, n);
    for (uint32_t i = PH_HEADROOM + n; i < p->b.off + p->b.len; i++)
        cr_assert_eq(p->b.base[i], 0, "padding is zero");
}

Test(turn_client_data, send_indication_is_built_around_the_payload)
{
    static const char *const peers[] = {"192.0.2.9:1000", "[2001:db8::9]:1000"};
    for (unsigned i = 0; i < 2; i++) {
        struct crig *r = up_with_peer(crig_new(), peers[i], false);
        struct ph_addr p = crig_addr(peers[i]);
        for (uint32_t n = 0; n < sizeof text; n++) {
            struct ph_pkt pkt = packet(r, n);
            cr_assert_eq(ph_turnc_wrap(r->t, &pkt, &p), PH_SEND);
            cr_assert_eq(pkt.sock, 5);
            cr_assert(ph_addr_eq(&pkt.dst, &r->c.server));
            check_send(r, &pkt, &p, n);
        }
        crig_free(r);
    }
}

Test(turn_client_data, ids_of_indications_differ)
{
    struct crig *r = up_with_peer(crig_new(), "192.0.2.9:1000", false);
    struct ph_addr p = crig_addr("192.0.2.9:1000");
    struct ph_pkt a = packet(r, 4);
    uint8_t id[PH_TXID_LEN];
    ph_turnc_wrap(r->t, &a, &p);
    memcpy(id, ph_buf_data(&a.b) + 8, sizeof id);
    struct ph_pkt b = packet(r, 4);
    ph_turnc_wrap(r->t, &b, &p);
    cr_assert_neq(memcmp(id, ph_buf_data(&b.b) + 8, sizeof id), 0);
    crig_free(r);
}

Test(turn_client_data, payload_goes_before_the_permission_is_answered)
{
    struct crig *r = crig_up();
    struct ph_addr p = crig_addr("192.0.2.9:1000"), q = crig_addr("192.0.2.10:1000");
    struct ph_pkt pkt = packet(r, 5);
    cr_assert_eq(ph_turnc_wrap(r->t, &pkt, &p), PH_E_FORBIDDEN, "but not unasked");
    cr_assert_eq(ph_turnc_permit(r->t, &p, r->now), 0);
    cr_assert_eq(ph_turnc_wrap(r->t, &pkt, &p), PH_SEND);
    check_send(r, &pkt, &p, 5);
    cr_assert_eq(ph_turnc_bind(r->t, &q, r->now), 0);
    pkt = packet(r, 5);
    cr_assert_eq(ph_turnc_wrap(r->t, &pkt, &q), PH_SEND);
    check_send(r, &pkt, &q, 5);
    crig_free(r);
}

Test(turn_client_data, channel_data_once_bound)
{
    struct crig *r = up_with_peer(crig_new(), "192.0.2.9:1000", true);
    struct ph_addr p = crig_addr("192.0.2.9:1000");
    struct ph_pkt pkt = packet(r, 7);
    uint16_t len;
    cr_assert_eq(ph_turnc_wrap(r->t, &pkt, &p), PH_SEND);
    cr_assert_eq(pkt.b.len, 11, "no padding on UDP");
    cr_assert_eq(ph_chandata_parse(ph_buf_data(&pkt.b), pkt.b.len, &len),
                 ph_turnc_channel(r->t, &p));
    cr_assert_eq(len, 7);
    cr_assert_eq(ph_turnc_stats(r->t)->to_peer_packets, 1);
    cr_assert_eq(ph_turnc_stats(r->t)->to_peer_bytes, 7);
    struct ph_addr other_port = crig_addr("192.0.2.9:1001");
    pkt = packet(r, 7);
    cr_assert_eq(ph_turnc_wrap(r->t, &pkt, &other_port), PH_SEND);
    check_send(r, &pkt, &other_port, 7);
    crig_free(r);
}

Test(turn_client_data, channel_data_is_padded_on_a_stream)
{
    struct crig *r = crig_new();
    r->c.reliable = true;
    up_with_peer(r, "192.0.2.9:1000", true);
    struct ph_addr p = crig_addr("192.0.2.9:1000");
    for (uint32_t n = 0; n < 9; n++) {
        struct ph_pkt pkt = packet(r, n);
        cr_assert_eq(ph_turnc_wrap(r->t, &pkt, &p), PH_SEND);
        cr_assert_eq(pkt.b.len, 4 + (n + 3) / 4 * 4);
        cr_assert_eq(ph_get16(ph_buf_data(&pkt.b) + 2), n);
    }
    crig_free(r);
}

Test(turn_client_data, scratch_in_place_of_headroom)
{
    struct crig *r = up_with_peer(crig_new(), "192.0.2.9:1000", true);
    struct ph_addr p = crig_addr("192.0.2.9:1000"), q = crig_addr("192.0.2.9:1001");
    uint8_t head[PH_HEADROOM];
    struct ph_pkt pkt = packet(r, 8);
    pkt.b = (struct ph_buf){r->obuf + PH_HEADROOM, 8, 0, 8};
    pkt.head = head;
    cr_assert_eq(ph_turnc_wrap(r->t, &pkt, &p), PH_SEND);
    cr_assert_eq(pkt.head_len, 4);
    cr_assert_eq(pkt.b.len, 8);
    cr_assert_eq(ph_get16(head), ph_turnc_channel(r->t, &p));
    pkt.head_len = 0;
    cr_assert_eq(ph_turnc_wrap(r->t, &pkt, &q), PH_SEND);
    cr_assert_eq(pkt.head_len, 36);
    crig_free(r);
}

Test(turn_client_data, without_room_nothing_changes)
{
    struct crig *r = up_with_peer(crig_new(), "192.0.2.9:1000", true);
    struct ph_addr p = crig_addr("192.0.2.9:1000"), q = crig_addr("192.0.2.9:1001");
    struct ph_pkt pkt = packet(r, 7);
    pkt.b.base += PH_HEADROOM - 3;
    pkt.b.off = 3;
    pkt.b.cap -= PH_HEADROOM - 3;
    cr_assert_eq(ph_turnc_wrap(r->t, &pkt, &p), PH_E_NOSPACE, "three bytes in front");
    cr_assert_eq(pkt.b.off, 3);
    cr_assert_eq(pkt.b.len, 7);
    cr_assert_eq(ph_turnc_wrap(r->t, &pkt, &q), PH_E_NOSPACE);
    pkt = packet(r, 7);
    pkt.b.cap = pkt.b.off + 7;
    cr_assert_eq(ph_turnc_wrap(r->t, &pkt, &q), PH_E_NOSPACE, "none for padding");
    cr_assert_eq(pkt.b.len, 7);
    cr_assert_eq(ph_turnc_stats(r->t)->to_peer_packets, 0);
    crig_free(r);
}

Test(turn_client_data, too_long_for_a_message)
{
    struct crig *r = up_with_peer(crig_new(), "192.0.2.9:1000", true);
    struct ph_addr p = crig_addr("192.0.2.9:1000"), q = crig_addr("192.0.2.9:1001");
    struct ph_pkt pkt = {.b = {r->obuf, sizeof r->obuf, PH_HEADROOM, 65536}};
    cr_assert_eq(ph_turnc_wrap(r->t, &pkt, &p), PH_E_ARG);
    pkt.b.len = 65520;
    cr_assert_eq(ph_turnc_wrap(r->t, &pkt, &q), PH_E_ARG);
    pkt.b.len = 65480;
    cr_assert_eq(ph_turnc_wrap(r->t, &pkt, &q), PH_SEND);
    crig_free(r);
}

Test(turn_client_data, dont_fragment_needs_an_indication)
{
    struct crig *r = up_with_peer(crig_new(), "192.0.2.9:1000", true);
    struct ph_addr p = crig_addr("192.0.2.9:1000");
    struct ph_pkt pkt = packet(r, 7);
    struct ph_msg m;
    pkt.dont_fragment = true;
    cr_assert_eq(ph_turnc_wrap(r->t, &pkt, &p), PH_SEND);
    cr_assert_not(pkt.dont_fragment);
    check_send(r, &pkt, &p, 7);
    cr_assert_eq(ph_msg_parse(&m, ph_buf_data(&pkt.b), pkt.b.len), 0);
    cr_assert(ph_msg_has(&m, PH_IX_DONT_FRAGMENT));
    crig_free(r);
}

/* --- from the server ---------------------------------------------------------------------- */

static void begin_data(struct crig *r, const char *peer)
{
    static const uint8_t id[PH_TXID_LEN] = {9};
    struct ph_addr p = crig_addr(peer);
    ph_msgw_begin(&r->w, r->ibuf + PH_HEADROOM, CRIG_ROOM, PH_DATA_METHOD, PH_INDICATION, id);
    ph_msgw_addr(&r->w, PH_ATTR_XOR_PEER_ADDRESS, &p);
}

Test(turn_client_data, data_indication_becomes_the_payload)
{
    struct crig *r = up_with_peer(crig_new(), "192.0.2.9:1000", false);
    for (size_t n = 0; n < sizeof text; n++) {
        begin_data(r, "192.0.2.9:7777");
        ph_msgw_bytes(&r->w, PH_ATTR_DATA, (struct ph_slice){(const uint8_t *)text, n});
        cr_assert_eq(crig_send(r), PH_DATA);
        struct ph_addr p = crig_addr("192.0.2.9:7777");
        cr_assert(ph_addr_eq(&r->in.src, &p));
        cr_assert_eq(r->in.b.len, n);
        cr_assert_arr_eq(ph_buf_data(&r->in.b), text, n);
    }
    cr_assert_eq(ph_turnc_stats(r->t)->from_peer_packets, sizeof text);
    crig_free(r);
}

Test(turn_client_data, data_indication_from_a_stranger_is_dropped)
{
    struct crig *r = up_with_peer(crig_new(), "192.0.2.9:1000", false);
    begin_data(r, "192.0.2.10:1000");
    ph_msgw_bytes(&r->w, PH_ATTR_DATA, ph_str(text));
    cr_assert_eq(crig_send(r), PH_DROP);
    cr_assert_eq(ph_turnc_stats(r->t)->no_permission, 1);
    begin_data(r, "192.0.2.9:1000");
    ph_msgw_raw(&r->w, 0x7123, ph_str("x"));
    ph_msgw_bytes(&r->w, PH_ATTR_DATA, ph_str(text));
    cr_assert_eq(crig_send(r), PH_DROP, "with something it must understand but does not");
    begin_data(r, "192.0.2.9:1000");
    cr_assert_eq(crig_send(r), PH_DROP, "neither data nor ICMP");
    crig_free(r);
}

Test(turn_client_data, channel_data_becomes_the_payload)
{
    struct crig *r = up_with_peer(crig_new(), "192.0.2.9:1000", true);
    struct ph_addr p = crig_addr("192.0.2.9:1000");
    uint16_t number = ph_turnc_channel(r->t, &p);
    ph_chandata_write(r->ibuf + PH_HEADROOM, number, 5);
    memcpy(r->ibuf + PH_HEADROOM + 4, text, 8);
    cr_assert_eq(crig_input(r, &r->c.server, 12), PH_DATA);
    cr_assert(ph_addr_eq(&r->in.src, &p));
    cr_assert_eq(r->in.b.len, 5);
    cr_assert_arr_eq(ph_buf_data(&r->in.b), text, 5);
    cr_assert_eq(crig_input(r, &r->c.server, 8), PH_DROP, "shorter than it says");
    ph_chandata_write(r->ibuf + PH_HEADROOM, (uint16_t)(number + 1), 5);
    cr_assert_eq(crig_input(r, &r->c.server, 12), PH_DROP);
    ph_chandata_write(r->ibuf + PH_HEADROOM, 0x4FFF, 5);
    cr_assert_eq(crig_input(r, &r->c.server, 12), PH_DROP);
    cr_assert_eq(ph_turnc_stats(r->t)->no_channel, 2);
    ph_chandata_write(r->ibuf + PH_HEADROOM, number, 5);
    struct ph_addr other = crig_addr("198.51.100.66:3478");
    cr_assert_eq(crig_input(r, &other, 12), PH_DROP, "not from the server");
    crig_free(r);
}

Test(turn_client_data, data_may_overtake_the_answer_to_bind)
{
    struct crig *r = crig_up();
    struct ph_addr p = crig_addr("192.0.2.9:1000");
    uint64_t number;
    cr_assert_eq(ph_turnc_bind(r->t, &p, r->now), 0);
    crig_want(r, PH_CHANNEL_BIND);
    cr_assert_eq(ph_msg_uint(&r->req, PH_IX_CHANNEL_NUMBER, &number), 0);
    ph_chandata_write(r->ibuf + PH_HEADROOM, (uint16_t)number, 3);
    cr_assert_eq(crig_input(r, &r->c.server, 7), PH_DATA);
    crig_free(r);
}

Test(turn_client_data, other_protocols_are_left_alone)
{
    struct crig *r = up_with_peer(crig_new(), "192.0.2.9:1000", true);
    static const uint8_t first[] = {0x80, 22, 16, 0xFF, 0x50};
    for (unsigned i = 0; i < sizeof first; i++) {
        r->ibuf[PH_HEADROOM] = first[i];
        cr_assert_eq(crig_input(r, &r->c.server, 30), PH_DROP);
        cr_assert_eq(r->in.b.off, PH_HEADROOM);
        cr_assert_eq(r->in.b.len, 30);
    }
    cr_assert_eq(crig_input(r, &r->c.server, 0), PH_DROP);
    r->req.method = PH_BINDING;
    crig_begin(r, PH_SUCCESS);
    cr_assert_eq(crig_send(r), PH_DROP, "somebody else's Binding answer from the same server");
    cr_assert_eq(r->in.b.off, PH_HEADROOM);
    crig_free(r);
}

Test(turn_client_data, icmp_errors_are_told)
{
    struct crig *r = up_with_peer(crig_new(), "192.0.2.9:1000", false);
    struct ph_attr_value v = {.icmp = {.type = 3, .code = 4, .data = 1280}};
    struct ph_addr p = crig_addr("192.0.2.9:1000");
    begin_data(r, "192.0.2.9:1000");
    ph_msgw_attr(&r->w, PH_ATTR_ICMP, &v);
    cr_assert_eq(crig_send(r), PH_CONSUMED);
    crig_want_event(r, PH_TURNC_ICMP);
    cr_assert(ph_addr_eq(&r->ev.peer, &p));
    cr_assert_eq(r->ev.icmp_type, 3);
    cr_assert_eq(r->ev.icmp_code, 4);
    cr_assert_eq(r->ev.icmp_data, 1280);
    for (int i = 0; i < 100; i++) {
        begin_data(r, "192.0.2.9:1000");
        ph_msgw_attr(&r->w, PH_ATTR_ICMP, &v);
        crig_send(r);
    }
    unsigned n = 0;
    while (crig_event(r))
        n++;
    cr_assert_lt(n, 20, "bounded");
    cr_assert_eq(ph_turnc_stats(r->t)->icmp, 101);
    crig_free(r);
}

Test(turn_client_data, nothing_goes_without_an_allocation)
{
    struct crig *r = crig_new();
    crig_start(r);
    struct ph_addr p = crig_addr("192.0.2.9:1000");
    struct ph_pkt pkt = packet(r, 4);
    cr_assert_eq(ph_turnc_wrap(r->t, &pkt, &p), PH_E_STATE);
    crig_free(r);
}
