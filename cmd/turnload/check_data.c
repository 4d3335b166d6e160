/* Checks of permissions, channels, and payloads both ways. */
#include "cmd/turnload/check_priv.h"
#include "stun/uv/loop.h"
#include "turn/chandata.h"

#include <string.h>

static const uint32_t sizes[] = {1, 2, 3, 101, 1200};

enum { SIZES = sizeof sizes / sizeof *sizes };

/* The family of the usual allocation's relay address. */
static uint8_t relay_family(const struct ph_load_client *c)
{
    return ph_turnc_info(c->t)->relay[0].family ? PH_AF_INET : PH_AF_INET6;
}

/* An allocation and a peer of its family. */
static bool set_up(struct ph_load_check *k, struct ph_load_client *c, struct ph_load_peer_end *p)
{
    *p = (struct ph_load_peer_end){.sock = {.fd = -1}};
    if (!ph_load_client_up(k, c, NULL))
        return false;
    return ph_load_peer_end_open(k, p, relay_family(c)) ||
           ph_load_check_fail(k, "this machine has no address of the relay's family");
}

static void tear_down(struct ph_load_client *c, struct ph_load_peer_end *p)
{
    ph_load_client_close(c);
    ph_load_peer_end_close(p);
}

void ph_load_check_permission(struct ph_load_check *k)
{
    struct ph_load_client c;
    struct ph_load_peer_end p;
    char text[PH_ADDR_TEXT];
    if (set_up(k, &c, &p) && ph_load_client_permit(&c, &p.at))
        ph_load_check_ok(k, "peer %s", ph_addr_ip_text(&p.at, text));
    else if (c.ev.code == 403 && ph_addr_is_loopback(&p.at))
        strncat(k->text, " (a server on this machine must allow loopback peers to be tested)",
                sizeof k->text - strlen(k->text) - 1);
    k->no_peer = k->result == PH_LOAD_CHECK_FAILED;
    tear_down(&c, &p);
}

void ph_load_check_indication(struct ph_load_check *k)
{
    struct ph_load_client c;
    struct ph_load_peer_end p;
    if (set_up(k, &c, &p) && ph_load_client_permit(&c, &p.at)) {
        for (unsigned i = 0; i < SIZES; i++) {
            if (!ph_load_exchange(&c, &p, sizes[i]))
                break;
            if (c.by_channel)
                ph_load_check_fail(k, "the answer came as ChannelData though no channel is bound");
        }
        ph_load_check_ok(k, "1 to 1200 bytes, both ways");
    }
    tear_down(&c, &p);
}

void ph_load_check_channel(struct ph_load_check *k)
{
    struct ph_load_client c;
    struct ph_load_peer_end p;
    if (set_up(k, &c, &p) && ph_load_client_bind(&c, &p.at)) {
        uint16_t number = ph_turnc_channel(c.t, &p.at);
        for (unsigned i = 0; i < SIZES; i++) {
            if (!ph_load_exchange(&c, &p, sizes[i]))
                break;
            if (!c.by_channel)
                ph_load_check_fail(k,
                                   "the answer came as Data indication though a channel is bound");
        }
        ph_load_check_ok(k, "channel 0x%04X, 1 to 1200 bytes, both ways", number);
    }
    tear_down(&c, &p);
}

static int bind_raw(struct ph_load_raw *r, uint16_t number, const struct ph_addr *peer)
{
    ph_load_raw_begin(r, PH_CHANNEL_BIND);
    ph_msgw_uint(&r->w, PH_ATTR_CHANNEL_NUMBER, number);
    ph_msgw_addr(&r->w, PH_ATTR_XOR_PEER_ADDRESS, peer);
    ph_load_raw_sign(r);
    return ph_load_raw_exchange(r);
}

static void rebind(struct ph_load_check *k, struct ph_load_raw *r, const struct ph_addr *peer)
{
    char text[160];
    struct ph_addr other = *peer;
    int code = bind_raw(r, PH_CHANNEL_MIN, peer);
    other.port ^= 1;
    if (code != 0)
        ph_load_check_fail(k, "ChannelBind: %s", ph_load_raw_text(r, code, text));
    else if ((code = bind_raw(r, PH_CHANNEL_MIN, peer)) != 0)
        ph_load_check_fail(k, "the same binding once more: %s", ph_load_raw_text(r, code, text));
    else if ((code = bind_raw(r, PH_CHANNEL_MIN, &other)) != 400)
        ph_load_check_fail(k, "its number for another peer: %s instead of 400",
                           ph_load_raw_text(r, code, text));
    else if ((code = bind_raw(r, PH_CHANNEL_MIN + 1, peer)) != 400)
        ph_load_check_fail(k, "another number for its peer: %s instead of 400",
                           ph_load_raw_text(r, code, text));
    else if ((code = bind_raw(r, 0x3FFF, &other)) != 400)
        ph_load_check_fail(k, "number 0x3FFF: %s instead of 400", ph_load_raw_text(r, code, text));
    else
        ph_load_check_ok(k, "refreshed; conflicts are answered 400");
}

void ph_load_check_channel_refresh(struct ph_load_check *k)
{
    struct ph_load_raw r;
    struct ph_load_peer_end p = {.sock = {.fd = -1}};
    if (ph_load_raw_open(k, &r) && ph_load_raw_allocate(&r)) {
        struct ph_addr relay = {.family = k->server.family};
        ph_msg_addr(&r.m, PH_IX_XOR_RELAYED_ADDRESS, &relay);
        if (ph_load_peer_end_open(k, &p, relay.family))
            rebind(k, &r, &p.at);
    }
    ph_load_peer_end_close(&p);
    ph_load_raw_close(&r);
}

void ph_load_check_no_permission(struct ph_load_check *k)
{
    static const uint8_t note[] = "this should not arrive";
    struct ph_load_client c;
    struct ph_load_peer_end p;
    if (set_up(k, &c, &p)) {
        /* A permission for somebody else, so that there is one. */
        struct ph_addr other = p.at;
        const struct ph_addr *relay = &ph_turnc_info(c.t)->relay[p.at.family == PH_AF_INET6];
        other.ip[3] ^= 2;
        if (ph_turnc_permit(c.t, &other, ph_now()) == 0)
            ph_load_client_wait(&c, PH_TURNC_PERMITTED, PH_TURNC_PERMIT_FAILED, 3000);
        for (int i = 0; i < 3; i++)
            ph_load_peer_end_send(&p, relay, note, sizeof note);
        /* The client core drops such payloads, too, and counts them. */
        if (ph_load_client_wait(&c, PH_LOAD_CLIENT_DATA, -1, 300) == PH_LOAD_CLIENT_DATA ||
            ph_turnc_stats(c.t)->no_permission)
            ph_load_check_fail(k, "a payload of a peer without permission was relayed");
        ph_load_check_ok(k, "%s", "");
    }
    tear_down(&c, &p);
}

/* Sends from one allocation to the other's relay address.  False: the check has failed. */
static bool relay_once(struct ph_load_client *from, struct ph_load_client *to, const uint8_t *data,
                       uint32_t n)
{
    const struct ph_addr *relay = ph_turnc_info(to->t)->relay;
    const struct ph_addr *at = &relay[relay[0].family == PH_AF_NONE];
    for (int i = 0; i < 3; i++) {
        if (!ph_load_client_send(from, at, data, n))
            return false;
        if (ph_load_client_wait(to, PH_LOAD_CLIENT_DATA, -1, 700) == PH_LOAD_CLIENT_DATA &&
            to->in.b.len == n && memcmp(ph_buf_data(&to->in.b), data, n) == 0)
            return true;
    }
    return ph_load_check_fail(to->k, "the payload did not arrive");
}

static bool permit_each_other(struct ph_load_client *a, struct ph_load_client *b)
{
    const struct ph_addr *ra = ph_turnc_info(a->t)->relay, *rb = ph_turnc_info(b->t)->relay;
    return ph_load_client_permit(a, &rb[rb[0].family == PH_AF_NONE]) &&
           ph_load_client_permit(b, &ra[ra[0].family == PH_AF_NONE]);
}

void ph_load_check_relay_to_relay(struct ph_load_check *k)
{
    static const uint8_t data[] = "from one allocation to the other";
    struct ph_load_client a, b = {.link = {.fd = -1}};
    if (ph_load_client_up(k, &a, NULL) && ph_load_client_up(k, &b, NULL)) {
        if (!permit_each_other(&a, &b)) {
            if (a.ev.code == 403) {
                ph_load_check_excuse(k, "403: the server refuses its own relay addresses as peers");
            }
        } else if (relay_once(&a, &b, data, sizeof data) && relay_once(&b, &a, data, sizeof data)) {
            ph_load_check_ok(k, "both ways");
        }
    }
    ph_load_client_close(&a);
    ph_load_client_close(&b);
}
