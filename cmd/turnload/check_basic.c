/* Checks of Binding, authentication, and the life of an allocation. */
#include "cmd/turnload/check_priv.h"
#include "stun/codec/algs.h"
#include "stun/uv/loop.h"

#include <string.h>

void ph_load_check_binding(struct ph_load_check *k)
{
    struct ph_load_client c;
    struct ph_turnc_conf conf = ph_load_client_conf(k);
    struct ph_addr mapped, local;
    char text[PH_ADDR_TEXT];
    if (!ph_load_client_open(k, &c, &conf))
        return;
    if (!ph_load_check_mapped_of(k, &c.link, 3000, &mapped)) {
        ph_load_check_skip(k, "no answer: the server may be silent about Binding");
    } else {
        local = ph_load_link_local(&c.link);
        bool nat = !ph_addr_eq_endpoint(&local, &mapped);
        ph_load_check_ok(k, "%s, %s", ph_addr_text(&mapped, text), nat ? "behind a NAT" : "no NAT");
    }
    ph_load_client_close(&c);
}

/* Sends a bare Allocate and says what came. */
static void bare_allocate(struct ph_load_check *k, struct ph_load_raw *r)
{
    char text[160];
    ph_load_raw_begin_allocate(r);
    int code = ph_load_raw_exchange(r);
    if (code < 0) {
        k->silent = true;
        ph_load_check_fail(k, "no answer from the server");
    } else if (code == 0) {
        k->open = true;
        ph_load_check_skip(k, "the server lets anybody allocate");
    } else if (code != 401) {
        ph_load_check_fail(k, "%s", ph_load_raw_text(r, code, text));
    } else if (!ph_load_raw_learn(r)) {
        ph_load_check_fail(k, "401 without realm or nonce");
    } else {
        unsigned features = 0;
        bool cookie = ph_nonce_cookie_read(ph_str(r->nonce), &features);
        ph_load_check_ok(k, "realm \"%s\"%s%s", r->realm, r->algs_n ? ", SHA-256 offered" : "",
                         cookie && features & PH_FEATURE_USERNAME_ANONYMITY ? ", user names hashed"
                                                                            : "");
        k->no_credentials = !k->args->user[0];
    }
}

void ph_load_check_challenge(struct ph_load_check *k)
{
    struct ph_load_raw r;
    k->open = true; /* lets ph_load_raw_open do no more than open */
    bool opened = ph_load_raw_open(k, &r);
    k->open = false;
    if (opened)
        bare_allocate(k, &r);
    if (k->open)
        ph_load_raw_close(&r);
    ph_load_link_close(&r.link);
}

void ph_load_check_wrong_password(struct ph_load_check *k)
{
    struct ph_load_client c;
    struct ph_turnc_conf conf = ph_load_client_conf(k);
    char why[160];
    if (k->open) {
        ph_load_check_skip(k, "the server wants no credentials");
        return;
    }
    conf.password = ph_str("certainly not the password");
    if (ph_load_client_open(k, &c, &conf)) {
        ph_turnc_allocate(c.t, ph_now());
        int got = ph_load_client_wait(&c, PH_TURNC_ALLOCATED, PH_TURNC_FAILED, 6000);
        if (got == PH_TURNC_ALLOCATED)
            ph_load_check_fail(k, "it was accepted");
        else if (got < 0 || c.ev.code != 401)
            ph_load_check_fail(k, "%s instead of 401",
                               got < 0 ? "no answer" : ph_load_client_why(&c, why));
        else
            ph_load_check_ok(k, "%s", ph_load_client_why(&c, why));
    }
    ph_load_client_close(&c);
}

void ph_load_check_allocate(struct ph_load_check *k)
{
    struct ph_load_client c;
    char text[PH_ADDR_TEXT];
    if (ph_load_client_up(k, &c, NULL)) {
        const struct ph_turnc_info *i = ph_turnc_info(c.t);
        const struct ph_addr *relay = &i->relay[i->relay[0].family == PH_AF_NONE];
        ph_load_check_ok(k, "relay %s for %u s%s", ph_addr_text(relay, text), i->lifetime_s,
                         i->algorithm == PH_ALG_SHA256 ? ", authenticated by SHA-256"
                         : i->algorithm == PH_ALG_MD5  ? ", authenticated by MD5"
                                                       : "");
        if (ph_addr_is_any(relay) || relay->port == 0)
            ph_load_check_fail(k, "the relay address %s is no address", text);
    }
    k->no_allocation = k->result == PH_LOAD_CHECK_FAILED;
    ph_load_client_close(&c);
}

void ph_load_check_mapped(struct ph_load_check *k)
{
    struct ph_load_client c;
    struct ph_addr mapped;
    char a[PH_ADDR_TEXT], b[PH_ADDR_TEXT];
    if (ph_load_client_up(k, &c, NULL)) {
        const struct ph_addr *told = &ph_turnc_info(c.t)->mapped;
        bool asked = ph_load_check_mapped_of(k, &c.link, 1500, &mapped);
        if (told->family == PH_AF_NONE)
            ph_load_check_fail(k, "Allocate told none");
        else if (!asked)
            ph_load_check_skip(k, "Binding is not answered; Allocate says %s",
                               ph_addr_text(told, a));
        else if (!ph_addr_eq_endpoint(told, &mapped))
            ph_load_check_fail(k, "Binding says %s, Allocate %s", ph_addr_text(&mapped, a),
                               ph_addr_text(told, b));
        else
            ph_load_check_ok(k, "%s", ph_addr_text(told, a));
    }
    ph_load_client_close(&c);
}

void ph_load_check_refresh(struct ph_load_check *k)
{
    struct ph_load_client c;
    char why[160];
    if (ph_load_client_up(k, &c, NULL)) {
        ph_turnc_refresh(c.t, 777, ph_now());
        int got = ph_load_client_wait(&c, PH_TURNC_REFRESHED, PH_TURNC_REFRESH_FAILED, 6000);
        uint32_t s = ph_turnc_info(c.t)->lifetime_s;
        if (got != PH_TURNC_REFRESHED)
            ph_load_check_fail(k, "%s", got < 0 ? "no answer" : ph_load_client_why(&c, why));
        else
            ph_load_check_ok(k, "777 s asked, %u s given", s);
    }
    ph_load_client_close(&c);
}

void ph_load_check_release(struct ph_load_check *k)
{
    struct ph_load_raw r;
    uint64_t s = UINT64_MAX;
    char text[160];
    if (ph_load_raw_open(k, &r) && ph_load_raw_allocate(&r)) {
        ph_load_raw_begin(&r, PH_REFRESH);
        ph_msgw_uint(&r.w, PH_ATTR_LIFETIME, 0);
        ph_load_raw_sign(&r);
        int code = ph_load_raw_exchange(&r);
        ph_msg_uint(&r.m, PH_IX_LIFETIME, &s);
        if (code != 0) {
            ph_load_check_fail(k, "%s", ph_load_raw_text(&r, code, text));
        } else {
            ph_load_raw_begin(&r, PH_REFRESH);
            ph_msgw_uint(&r.w, PH_ATTR_LIFETIME, 600);
            ph_load_raw_sign(&r);
            code = ph_load_raw_exchange(&r);
            ph_load_check_ok(k, "a later Refresh is answered %s", ph_load_raw_text(&r, code, text));
            if (code != 437)
                ph_load_check_fail(k, "a Refresh after it is answered %s instead of 437", text);
        }
    }
    ph_load_raw_close(&r);
}
