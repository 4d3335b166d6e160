/* Checks of what an Allocate may ask for: families, ports, DF. */
#include "cmd/turnload/check_priv.h"

void ph_load_check_ipv6(struct ph_load_check *k)
{
    struct ph_load_client c;
    struct ph_load_peer_end p;
    struct ph_turnc_conf conf = ph_load_client_conf(k);
    char text[PH_ADDR_TEXT];
    conf.family = PH_TURNC_IPV6;
    if (!ph_load_client_up(k, &c, &conf)) {
        if (c.ev.code == 440) {
            ph_load_check_excuse(k, "440: the server has no IPv6 relay addresses");
        }
    } else if (!ph_load_peer_end_open(k, &p, PH_AF_INET6)) {
        ph_load_check_ok(k, "%s; no IPv6 here to send a payload to",
                         ph_addr_text(&ph_turnc_info(c.t)->relay[1], text));
    } else {
        if (k->no_peer)
            ph_load_check_ok(k, "%s, no peer", ph_addr_text(&ph_turnc_info(c.t)->relay[1], text));
        else if (ph_load_client_permit(&c, &p.at) && ph_load_exchange(&c, &p, 100) &&
                 ph_load_client_bind(&c, &p.at) && ph_load_exchange(&c, &p, 101))
            ph_load_check_ok(k, "%s, payloads both ways",
                             ph_addr_text(&ph_turnc_info(c.t)->relay[1], text));
        ph_load_peer_end_close(&p);
    }
    ph_load_client_close(&c);
}

void ph_load_check_dual(struct ph_load_check *k)
{
    struct ph_load_client c;
    struct ph_turnc_conf conf = ph_load_client_conf(k);
    char a[PH_ADDR_TEXT], b[PH_ADDR_TEXT];
    conf.family = PH_TURNC_BOTH;
    if (ph_load_client_up(k, &c, &conf)) {
        const struct ph_turnc_info *i = ph_turnc_info(c.t);
        if (i->relay[0].family && i->relay[1].family)
            ph_load_check_ok(k, "%s and %s", ph_addr_text(&i->relay[0], a),
                             ph_addr_text(&i->relay[1], b));
        else if (i->family_code)
            ph_load_check_skip(k, "%u for one family: the server has no relay address of it",
                               i->family_code);
        else
            ph_load_check_skip(
                k, "one family only: the server does not know ADDITIONAL-ADDRESS-FAMILY");
    } else if (c.ev.code == 440) {
        ph_load_check_excuse(k, "440: the server has no relay addresses of one family");
    }
    ph_load_client_close(&c);
}

static const struct ph_addr *relay_of(const struct ph_load_client *c)
{
    const struct ph_addr *relay = ph_turnc_info(c->t)->relay;
    return &relay[relay[0].family == PH_AF_NONE];
}

void ph_load_check_even_port(struct ph_load_check *k)
{
    struct ph_load_client c;
    struct ph_turnc_conf conf = ph_load_client_conf(k);
    conf.even = PH_TURNC_EVEN_PORT;
    if (ph_load_client_up(k, &c, &conf)) {
        if (relay_of(&c)->port % 2)
            ph_load_check_fail(k, "port %u", relay_of(&c)->port);
        else
            ph_load_check_ok(k, "port %u", relay_of(&c)->port);
    }
    ph_load_client_close(&c);
}

/* Redeems the token of c with a second client. */
static void redeem(struct ph_load_check *k, const struct ph_load_client *c)
{
    struct ph_load_client second;
    struct ph_turnc_conf conf = ph_load_client_conf(k);
    conf.has_token = true;
    conf.token = ph_turnc_info(c->t)->token;
    uint16_t first = relay_of(c)->port;
    if (ph_load_client_up(k, &second, &conf)) {
        uint16_t got = relay_of(&second)->port;
        if (got != first + 1)
            ph_load_check_fail(k, "the token gave port %u instead of %u", got, first + 1);
        else
            ph_load_check_ok(k, "ports %u and %u", first, got);
    }
    ph_load_client_close(&second);
}

void ph_load_check_reservation(struct ph_load_check *k)
{
    struct ph_load_client c;
    struct ph_turnc_conf conf = ph_load_client_conf(k);
    conf.even = PH_TURNC_RESERVE_NEXT;
    if (!ph_load_client_up(k, &c, &conf)) {
        if (c.ev.code == 508) {
            ph_load_check_excuse(k, "508: the server makes no reservations");
        }
    } else if (relay_of(&c)->port % 2) {
        ph_load_check_fail(k, "port %u is not even", relay_of(&c)->port);
    } else if (!ph_turnc_info(c.t)->has_token) {
        ph_load_check_fail(k, "no RESERVATION-TOKEN in the answer");
    } else {
        redeem(k, &c);
    }
    ph_load_client_close(&c);
}

void ph_load_check_dont_fragment(struct ph_load_check *k)
{
    struct ph_load_client c;
    struct ph_turnc_conf conf = ph_load_client_conf(k);
    conf.dont_fragment = true;
    if (ph_load_client_up(k, &c, &conf)) {
        ph_load_check_ok(k, "%s", "");
    } else if (c.ev.code == 420) {
        ph_load_check_excuse(k, "420: the server does not support it");
    }
    ph_load_client_close(&c);
}
