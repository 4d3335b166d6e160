/*
 * Answers.  Each is built over its request, in the same buffer: whatever of the request is still needed
 * has been copied before ph__reply_begin.
 */
#include "turn/server_priv.h"

#include "stun/base/bytes.h"
#include "stun/codec/algs.h"

static void begin(struct ph__req *r, struct ph_msgw *w, enum ph_class cls)
{
    struct ph_buf *b = &r->p->b;
    ph_msgw_begin(w, ph_buf_data(b), b->cap - b->off, r->m.method, cls, ph_msg_txid(&r->m));
}

void ph__reply_begin(struct ph__req *r, struct ph_msgw *w)
{
    begin(r, w, PH_SUCCESS);
}

int ph__reply_seal(const struct ph_turnd *d, struct ph_msgw *w, const struct ph_key *key,
                   bool sha256, bool fingerprint)
{
    if (d->c.software && key->n)
        ph_msgw_bytes(w, PH_ATTR_SOFTWARE, ph_str(d->c.software));
    if (key->n && sha256)
        ph_msgw_integrity_sha256(w, ph_key_slice(key), PH_SHA256_LEN);
    else if (key->n)
        ph_msgw_integrity(w, ph_key_slice(key));
    if (fingerprint || d->c.always_fingerprint)
        ph_msgw_fingerprint(w);
    return ph_msgw_end(w);
}

int ph__reply_end(struct ph__req *r, struct ph_msgw *w)
{
    struct ph_turnd *d = r->d;
    bool ok = ph_stun_class(ph_get16(w->p)) == PH_SUCCESS;
    int n = ph__reply_seal(d, w, &r->key, r->sha256, r->fingerprint);

    if (n < 0) /* cannot be: the room was checked before; but never send half an answer */
        return PH_DROP;
    d->stats.responses += ok;
    struct ph_addr to = r->p->src;
    r->p->src = r->p->dst;
    r->p->dst = to;
    r->p->b.len = (uint32_t)n;
    return PH_SEND;
}

/* An answer that nobody has authenticated for is paid from the budget of its source, unless the source has proved that
 * it is where it says: by a connection. */
static bool paid(struct ph__req *r, uint32_t bytes)
{
    if (!r->d->c.live.auth || r->key.n || r->p->conn ||
        ph_budget_take(r->d->c.budget, &r->p->src, bytes, r->now))
        return true;
    r->d->stats.over_budget++;
    return false;
}

int ph__reply_error(struct ph__req *r, uint16_t code)
{
    return ph__reply_why(r, code, NULL);
}

int ph__reply_why(struct ph__req *r, uint16_t code, const char *why)
{
    struct ph_msgw w;

    if (!paid(r, 64))
        return PH_DROP;
    begin(r, &w, PH_ERROR);
    ph_msgw_error(&w, code, r->d->c.long_reasons ? why : NULL);
    r->d->stats.errors++;
    return ph__reply_end(r, &w);
}

/* PASSWORD-ALGORITHMS as we always offer it: SHA-256 first. */
static void offer_algorithms(struct ph_msgw *w)
{
    static const uint16_t ours[] = {PH_ALG_SHA256, PH_ALG_MD5};
    uint8_t list[8];
    int n = ph_algs_write(list, sizeof list, ours, 2);
    ph_msgw_bytes(w, PH_ATTR_PASSWORD_ALGORITHMS, (struct ph_slice){list, (size_t)n});
}

int ph__reply_challenge(struct ph__req *r, uint16_t code)
{
    struct ph_turnd *d = r->d;
    struct ph_slice realm = ph_auth_realm(ph__realm_auth(d, r->realm));
    struct ph_slice third = ph_str(d->c.live.n_oauth ? d->c.oauth_server : NULL);
    char nonce[PH_NONCE_MAX];
    struct ph_msgw w;

    r->key.n = 0; /* a challenge is never signed: its sender may be anybody */
    /* Header, ERROR-CODE, REALM, NONCE, PASSWORD-ALGORITHMS, THIRD-PARTY-AUTHORIZATION, with padding. */
    d->cost_401 = (uint32_t)(20 + 8 + 4 + realm.n + 3 + 4 + PH_NONCE_MAX + 12);
    d->cost_401 += third.n ? (uint32_t)third.n + 7 : 0;
    if (!paid(r, d->cost_401))
        return PH_DROP;
    size_t n = ph_nonce_make(&d->c.nonce, nonce, &r->p->src, realm, ph__wall(d, r->now));
    begin(r, &w, PH_ERROR);
    ph_msgw_error(&w, code, d->c.long_reasons ? NULL : "");
    ph_msgw_bytes(&w, PH_ATTR_REALM, realm);
    ph_msgw_bytes(&w, PH_ATTR_NONCE, (struct ph_slice){(const uint8_t *)nonce, n});
    if (d->c.nonce.features & PH_FEATURE_PASSWORD_ALGORITHMS)
        offer_algorithms(&w);
    if (third
            .n) /* RFC 7635 6.1; in a 438 too, or clients take it that tokens are no longer wanted */
        ph_msgw_bytes(&w, PH_ATTR_THIRD_PARTY_AUTHORIZATION, third);
    if (code == 401)
        d->stats.unauthenticated++;
    else
        d->stats.stale_nonce++;
    return ph__reply_end(r, &w);
}

int ph__reply_unknown(struct ph__req *r)
{
    uint16_t type[32];
    uint8_t list[64];
    struct ph_msgw w;
    unsigned n = ph_msg_unknown(&r->m, type, 32);

    for (unsigned i = 0; i < n; i++)
        ph_put16(list + 2 * i, type[i]);
    begin(r, &w, PH_ERROR);
    ph_msgw_error(&w, 420, NULL);
    ph_msgw_bytes(&w, PH_ATTR_UNKNOWN_ATTRIBUTES, (struct ph_slice){list, 2 * (size_t)n});
    r->d->stats.errors++;
    return ph__reply_end(r, &w);
}
