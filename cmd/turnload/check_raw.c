/* Requests made by hand, for what the TURN client would not do. */
#include "cmd/turnload/check_priv.h"
#include "stun/codec/algs.h"
#include "stun/uv/loop.h"

#include <stdio.h>
#include <string.h>

enum { TRIES = 4, WAIT_MS = 600 };

static void copy(char *dst, size_t cap, struct ph_slice s)
{
    size_t n = s.n < cap - 1 ? s.n : cap - 1;
    memcpy(dst, s.p, n);
    dst[n] = '\0';
}

bool ph_load_raw_learn(struct ph_load_raw *r)
{
    struct ph_slice realm, nonce, algs = {0};
    if (ph_msg_bytes(&r->m, PH_IX_REALM, &realm) < 0 ||
        ph_msg_bytes(&r->m, PH_IX_NONCE, &nonce) < 0)
        return false;
    copy(r->realm, sizeof r->realm, realm);
    copy(r->nonce, sizeof r->nonce, nonce);
    ph_msg_bytes(&r->m, PH_IX_PASSWORD_ALGORITHMS, &algs);
    r->algs_n = algs.n <= sizeof r->algs ? algs.n : 0;
    if (r->algs_n)
        memcpy(r->algs, algs.p, algs.n);
    uint16_t alg = r->algs_n ? ph_algs_choose((struct ph_slice){r->algs, r->algs_n}) : PH_ALG_MD5;
    r->login = ph_key_long_term(&r->key, alg, ph_str(r->k->args->user), ph_str(r->realm),
                                ph_str(r->k->args->pass)) == 0;
    return true;
}

bool ph_load_raw_open(struct ph_load_check *k, struct ph_load_raw *r)
{
    char text[160];
    *r = (struct ph_load_raw){.k = k, .link = {.fd = -1}};
    if (!ph_load_check_connect(k, &r->link))
        return false;
    if (k->open)
        return true;
    ph_load_raw_begin_allocate(r);
    int code = ph_load_raw_exchange(r);
    if (code == 401 && ph_load_raw_learn(r))
        return true;
    return ph_load_check_fail(k, "bare Allocate: %s", ph_load_raw_text(r, code, text));
}

void ph_load_raw_close(struct ph_load_raw *r)
{
    if (r->link.state == PH_LOAD_LINK_UP) {
        ph_load_raw_begin(r, PH_REFRESH);
        ph_msgw_uint(&r->w, PH_ATTR_LIFETIME, 0);
        ph_load_raw_sign(r);
        if (ph_load_raw_exchange(r) == 438 && ph_load_raw_learn(r)) {
            ph_load_raw_begin(r, PH_REFRESH);
            ph_msgw_uint(&r->w, PH_ATTR_LIFETIME, 0);
            ph_load_raw_sign(r);
            ph_load_raw_exchange(r);
        }
    }
    ph_load_link_close(&r->link);
    ph_wipe(&r->key, sizeof r->key);
}

void ph_load_raw_begin(struct ph_load_raw *r, uint16_t method)
{
    uint8_t id[PH_TXID_LEN];
    r->k->env.rand(r->k->env.ctx, id, sizeof id);
    ph_msgw_begin(&r->w, r->req, sizeof r->req, method, PH_REQUEST, id);
}

void ph_load_raw_begin_allocate(struct ph_load_raw *r)
{
    ph_load_raw_begin(r, PH_ALLOCATE);
    ph_msgw_uint(&r->w, PH_ATTR_REQUESTED_TRANSPORT, PH_UDP);
}

void ph_load_raw_sign(struct ph_load_raw *r)
{
    if (!r->login)
        return;
    unsigned features = 0;
    ph_nonce_cookie_read(ph_str(r->nonce), &features);
    if (features & PH_FEATURE_USERNAME_ANONYMITY) {
        uint8_t hash[PH_SHA256_LEN];
        ph_userhash(hash, ph_str(r->k->args->user), ph_str(r->realm));
        ph_msgw_bytes(&r->w, PH_ATTR_USERHASH, (struct ph_slice){hash, sizeof hash});
    } else {
        ph_msgw_bytes(&r->w, PH_ATTR_USERNAME, ph_str(r->k->args->user));
    }
    ph_msgw_bytes(&r->w, PH_ATTR_REALM, ph_str(r->realm));
    ph_msgw_bytes(&r->w, PH_ATTR_NONCE, ph_str(r->nonce));
    if (r->algs_n) {
        struct ph_attr_value v = {.alg = {.number = r->key.alg}};
        ph_msgw_bytes(&r->w, PH_ATTR_PASSWORD_ALGORITHMS, (struct ph_slice){r->algs, r->algs_n});
        ph_msgw_attr(&r->w, PH_ATTR_PASSWORD_ALGORITHM, &v);
    }
    if (r->key.alg == PH_ALG_SHA256)
        ph_msgw_integrity_sha256(&r->w, ph_key_slice(&r->key), PH_SHA256_LEN);
    else
        ph_msgw_integrity(&r->w, ph_key_slice(&r->key));
}

/* Waits for the answer to the request.  Returns its code, 0 or -1. */
/* Whether a message is the answer; 0 success, an error code, -1 no. */
static int answer(struct ph_load_raw *r, const struct ph_pkt *p)
{
    struct ph_slice reason = {0};
    uint16_t code = 0;
    if (p->b.len > sizeof r->ans)
        return -1;
    memcpy(r->ans, ph_buf_data(&p->b), p->b.len);
    if (ph_msg_parse(&r->m, r->ans, p->b.len) < 0 ||
        memcmp(ph_msg_txid(&r->m), r->req + 8, PH_TXID_LEN) != 0)
        return -1;
    if (r->m.cls == PH_SUCCESS)
        return 0;
    if (r->m.cls != PH_ERROR || ph_msg_error(&r->m, &code, &reason) != 0)
        return -1;
    copy(r->reason, sizeof r->reason, reason);
    return code;
}

static int receive(struct ph_load_raw *r, ph_ns end)
{
    struct ph_pkt p;
    for (ph_ns now; (now = ph_now()) < end;) {
        if (!ph_load_link_poll(&r->link, (int)((end - now) / PH_MS(1)) + 1))
            return -1;
        if (ph_load_link_read(&r->link) < 0)
            return -1;
        while (ph_load_link_next(&r->link, &p)) {
            int code = answer(r, &p);
            if (code >= 0)
                return code;
        }
    }
    return -1;
}

int ph_load_raw_repeat(struct ph_load_raw *r)
{
    struct ph_pkt p = {.b = {r->req, sizeof r->req, 0, r->req_n}};
    bool stream = ph_load_is_stream(r->link.proto);
    r->reason[0] = '\0';
    for (int i = 0; i < (stream ? 1 : TRIES); i++) {
        ph_load_link_put(&r->link, &p);
        int code = receive(r, ph_now() + PH_MS(WAIT_MS) * (stream ? TRIES : 1));
        if (code >= 0)
            return code;
    }
    return -1;
}

int ph_load_raw_exchange(struct ph_load_raw *r)
{
    int n = ph_msgw_end(&r->w);
    if (n < 0)
        return -1;
    r->req_n = (uint32_t)n;
    return ph_load_raw_repeat(r);
}

bool ph_load_raw_allocate(struct ph_load_raw *r)
{
    char text[160];
    ph_load_raw_begin_allocate(r);
    ph_load_raw_sign(r);
    int code = ph_load_raw_exchange(r);
    return code == 0 || ph_load_check_fail(r->k, "Allocate: %s", ph_load_raw_text(r, code, text));
}

const char *ph_load_raw_text(const struct ph_load_raw *r, int code, char dst[static 160])
{
    if (code < 0)
        snprintf(dst, 160, "no answer");
    else if (code == 0)
        snprintf(dst, 160, "success");
    else
        snprintf(dst, 160, "%d %s", code,
                 r->reason[0] ? r->reason : ph_stun_reason((uint16_t)code));
    return dst;
}
