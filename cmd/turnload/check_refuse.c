/* Checks of what a server must refuse, or answer as the RFC says. */
#include "cmd/turnload/check_priv.h"

#include <stdio.h>
#include <string.h>

/* Addresses that lead to the server itself or to what only it can reach, in spellings that have
 * fooled servers. */
static const struct {
    const char *text;
    bool loopback;
} forbidden[] = {
    {"127.0.0.1", true},
    {"127.255.255.254", true},
    {"0.0.0.0", false},
    {"0.0.0.1", false},
    {"255.255.255.255", false},
    {"224.0.0.1", false},
    {"169.254.169.254", false},
    {"::1", true},
    {"::", false},
    {"::ffff:127.0.0.1", true},
    {"::ffff:0.0.0.0", false},
    {"::127.0.0.1", true},
    {"64:ff9b::7f00:1", true},
    {"2002:7f00:1::", true},
    {"fe80::1", false},
    {"ff02::1", false},
};

enum { FORBIDDEN = sizeof forbidden / sizeof *forbidden };

static int permit_raw(struct ph_load_raw *r, const struct ph_addr *peer)
{
    ph_load_raw_begin(r, PH_CREATE_PERMISSION);
    ph_msgw_addr(&r->w, PH_ATTR_XOR_PEER_ADDRESS, peer);
    ph_load_raw_sign(r);
    return ph_load_raw_exchange(r);
}

/* True if the server refuses the peer.  An IPv6 peer of an IPv4 allocation may be refused for that
 * first. */
static bool refuses(struct ph_load_raw *r, const char *peer)
{
    struct ph_addr a;
    ph_addr_parse(&a, peer, strlen(peer), 9);
    int code = permit_raw(r, &a);
    return code == 403 || code == 400 || (code == 443 && a.family == PH_AF_INET6);
}

void ph_load_check_forbidden_peers(struct ph_load_check *k)
{
    struct ph_load_raw r;
    char accepted[200] = "";
    bool here = ph_addr_is_loopback(&k->server);
    unsigned refused = 0, left_out = 0;
    if (ph_load_raw_open(k, &r) && ph_load_raw_allocate(&r)) {
        for (unsigned i = 0; i < FORBIDDEN; i++) {
            /* A server under test on loopback was told to allow it. */
            if (here && forbidden[i].loopback) {
                left_out++;
            } else if (refuses(&r, forbidden[i].text)) {
                refused++;
            } else {
                size_t n = strlen(accepted);
                snprintf(accepted + n, sizeof accepted - n, "%s%s", n ? ", " : "",
                         forbidden[i].text);
            }
        }
        if (*accepted)
            ph_load_check_fail(k, "not refused: %s", accepted);
        ph_load_check_ok(k, "%u refused%s", refused,
                         left_out ? ", loopback left out: the server is on loopback" : "");
    }
    ph_load_raw_close(&r);
}

void ph_load_check_unknown_attribute(struct ph_load_check *k)
{
    enum { UNKNOWN = 0x7F17 };
    struct ph_load_raw r;
    struct ph_slice types = {0};
    char text[160];
    if (ph_load_raw_open(k, &r)) {
        ph_load_raw_begin_allocate(&r);
        ph_msgw_raw(&r.w, UNKNOWN, ph_str("what"));
        ph_load_raw_sign(&r);
        int code = ph_load_raw_exchange(&r);
        if (code != 420)
            ph_load_check_fail(k, "%s instead of 420", ph_load_raw_text(&r, code, text));
        else if (ph_msg_bytes(&r.m, PH_IX_UNKNOWN_ATTRIBUTES, &types) < 0)
            ph_load_check_fail(k, "420 without UNKNOWN-ATTRIBUTES");
        else if (types.n < 2 || (types.p[0] << 8 | types.p[1]) != UNKNOWN)
            ph_load_check_fail(k, "420, but UNKNOWN-ATTRIBUTES does not name 0x%04X", UNKNOWN);
        else
            ph_load_check_ok(k, "420 names it");
    }
    ph_load_raw_close(&r);
}

void ph_load_check_transport(struct ph_load_check *k)
{
    struct ph_load_raw r;
    char text[160];
    if (ph_load_raw_open(k, &r)) {
        ph_load_raw_begin(&r, PH_ALLOCATE);
        ph_msgw_uint(&r.w, PH_ATTR_REQUESTED_TRANSPORT, 99);
        ph_load_raw_sign(&r);
        int code = ph_load_raw_exchange(&r);
        if (code != 442) {
            ph_load_check_fail(k, "number 99: %s instead of 442", ph_load_raw_text(&r, code, text));
        } else {
            ph_load_raw_begin(&r, PH_ALLOCATE);
            ph_load_raw_sign(&r);
            code = ph_load_raw_exchange(&r);
            if (code != 400)
                ph_load_check_fail(k, "none: %s instead of 400", ph_load_raw_text(&r, code, text));
        }
        ph_load_check_ok(k, "%s", "");
    }
    ph_load_raw_close(&r);
}

void ph_load_check_integrity(struct ph_load_check *k)
{
    struct ph_load_raw r;
    char text[160];
    if (k->open) {
        ph_load_check_skip(k, "the server wants no credentials");
        return;
    }
    if (ph_load_raw_open(k, &r)) {
        ph_load_raw_begin_allocate(&r);
        ph_msgw_uint(&r.w, PH_ATTR_LIFETIME, 700);
        ph_load_raw_sign(&r);
        r.req[PH_STUN_HEADER + 8 + 4 + 3] ^= 1; /* the lifetime's last byte */
        int code = ph_load_raw_exchange(&r);
        if (code != 401)
            ph_load_check_fail(k, "%s instead of 401", ph_load_raw_text(&r, code, text));
        else
            ph_load_check_ok(k, "401");
    }
    ph_load_raw_close(&r);
}

void ph_load_check_retransmission(struct ph_load_check *k)
{
    struct ph_load_raw r;
    struct ph_addr first, again;
    char a[PH_ADDR_TEXT], b[PH_ADDR_TEXT], text[160];
    if (ph_load_is_stream(k->args->proto)) {
        ph_load_check_skip(k, "nothing is sent twice on a stream");
        return;
    }
    if (ph_load_raw_open(k, &r) && ph_load_raw_allocate(&r)) {
        int err = ph_msg_addr(&r.m, PH_IX_XOR_RELAYED_ADDRESS, &first);
        int code = ph_load_raw_repeat(&r);
        if (err < 0)
            ph_load_check_fail(k, "no relay address in the answer");
        else if (code != 0)
            ph_load_check_fail(k, "the second answer is %s", ph_load_raw_text(&r, code, text));
        else if (ph_msg_addr(&r.m, PH_IX_XOR_RELAYED_ADDRESS, &again) < 0 ||
                 !ph_addr_eq_endpoint(&first, &again))
            ph_load_check_fail(k, "relay %s, then %s", ph_addr_text(&first, a),
                               ph_addr_text(&again, b));
        else
            ph_load_check_ok(k, "%s twice", ph_addr_text(&first, a));
    }
    ph_load_raw_close(&r);
}

void ph_load_check_mismatch(struct ph_load_check *k)
{
    struct ph_load_raw r;
    char text[160];
    if (ph_load_raw_open(k, &r) && ph_load_raw_allocate(&r)) {
        ph_load_raw_begin_allocate(&r);
        ph_load_raw_sign(&r);
        int code = ph_load_raw_exchange(&r);
        if (code != 437)
            ph_load_check_fail(k, "%s instead of 437", ph_load_raw_text(&r, code, text));
        else
            ph_load_check_ok(k, "437");
    }
    ph_load_raw_close(&r);
}

void ph_load_check_stale_nonce(struct ph_load_check *k)
{
    struct ph_load_raw r;
    char text[160], real[sizeof r.nonce];
    if (k->open) {
        ph_load_check_skip(k, "the server wants no credentials");
        return;
    }
    if (ph_load_raw_open(k, &r)) {
        memcpy(real, r.nonce, sizeof real);
        size_t n = strlen(r.nonce);
        if (n)
            r.nonce[n - 1] ^= 1;
        ph_load_raw_begin_allocate(&r);
        ph_load_raw_sign(&r);
        int code = ph_load_raw_exchange(&r);
        if (code != 438)
            ph_load_check_fail(k, "%s instead of 438", ph_load_raw_text(&r, code, text));
        else if (!ph_load_raw_learn(&r))
            ph_load_check_fail(k, "438 without realm or nonce");
        else if (ph_load_raw_allocate(&r))
            ph_load_check_ok(k, "438, and its new nonce works");
    }
    ph_load_raw_close(&r);
}
