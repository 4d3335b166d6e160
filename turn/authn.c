/*
 * Is this request authenticated, and as whom?  RFC 8489 9.2.4, in an order that costs a stranger most and us
 * least: nothing is hashed over the message before the nonce has proved that the source address is real.
 */
#include "turn/server_priv.h"

#include "stun/base/bytes.h"
#include "stun/base/error.h"
#include "stun/codec/algs.h"

int64_t ph__wall(const struct ph_turnd *d, ph_ns now)
{
    return d->wall_s + (now - d->wall_at) / PH_SEC(1);
}

/* RFC 8489 9.2.4: with the nonce cookie's bit set, either neither attribute is present (then MD5), or both
 * are, the list is the one we sent and the choice is in it.  0, or PH_E_FORMAT. */
static int password_algorithm(const struct ph__req *r, uint16_t *alg)
{
    static const uint8_t ours[] = {0, PH_ALG_SHA256, 0, 0, 0, PH_ALG_MD5, 0, 0};
    struct ph_attr_value v;
    struct ph_slice list;
    bool has_one = ph_msg_has(&r->m, PH_IX_PASSWORD_ALGORITHM);
    bool has_list = ph_msg_has(&r->m, PH_IX_PASSWORD_ALGORITHMS);

    *alg = PH_ALG_MD5;
    if (!(r->d->c.nonce.features & PH_FEATURE_PASSWORD_ALGORITHMS) || (!has_one && !has_list))
        return 0;
    if (ph_msg_get(&r->m, PH_IX_PASSWORD_ALGORITHM, &v) ||
        ph_msg_bytes(&r->m, PH_IX_PASSWORD_ALGORITHMS, &list) ||
        !ph_slice_eq(list, (struct ph_slice){ours, sizeof ours}))
        return PH_E_FORMAT;
    *alg = v.alg.number;
    return *alg == PH_ALG_MD5 || *alg == PH_ALG_SHA256 ? 0 : PH_E_FORMAT;
}

static bool integrity_fits(const struct ph__req *r, const struct ph_key *key)
{
    struct ph_slice k = ph_key_slice(key);
    return r->sha256 ? ph_msg_check_integrity_sha256(&r->m, k) == 0
                     : ph_msg_check_integrity(&r->m, k) == 0;
}

/* The user name as given, or the one behind USERHASH.  0, PH_E_MISSING (no attribute) or PH_E_AUTH. */
static int user_name(struct ph__req *r)
{
    struct ph_slice hash;

    if (ph_msg_bytes(&r->m, PH_IX_USERNAME, &r->name) == 0)
        return 0;
    if (ph_msg_bytes(&r->m, PH_IX_USERHASH, &hash))
        return PH_E_MISSING;
    return ph_auth_unhash(r->d->c.auth, hash.p, &r->name) ? PH_E_AUTH : 0;
}

/* Tries the key that the allocation was made with: no look-up on the requests that keep it alive. */
static bool fits_standing(struct ph__req *r, uint16_t alg)
{
    const struct ph__user *u = r->a ? r->a->user : NULL;

    if (!u || u->key.alg != alg || !ph_slice_eq(ph__user_name(u), r->name) ||
        !integrity_fits(r, &u->key))
        return false;
    r->key = u->key;
    r->id = ph__user_id(u);
    return true;
}

static int look_up(struct ph__req *r, uint16_t alg)
{
    struct ph_auth_match match;
    int64_t wall = ph__wall(r->d, r->now);
    int err;

    for (unsigned nth = 0; (err = ph_auth_find(r->d->c.auth, r->name, alg, wall, nth, &match)) == 0;
         nth++) {
        if (!integrity_fits(r, &match.key))
            continue;
        r->key = match.key;
        r->id = match.id;
        ph_wipe(&match.key, sizeof match.key);
        return 0;
    }
    return err;
}

bool ph__refusal_is_logged(struct ph_turnd *d, ph_ns now)
{
    enum { A_SECOND = 10 };

    if (now - d->refusals_at >= PH_SEC(1)) {
        if (d->refusals > A_SECOND)
            ph_logf(&d->env, PH_LOG_INFO, "%u more refusals were not logged",
                    (unsigned)d->refusals - A_SECOND);
        d->refusals_at = now;
        d->refusals = 0;
    }
    return d->refusals++ < A_SECOND;
}

static int refuse(struct ph__req *r, const char *why)
{
    char text[PH_ADDR_TEXT];
    if (ph__refusal_is_logged(r->d, r->now))
        ph_logf(&r->d->env, PH_LOG_INFO, "401 to %s user \"%.*s\": %s",
                ph_addr_text(&r->p->src, text), (int)r->name.n,
                r->name.p ? (const char *)r->name.p : "", why);
    return ph__reply_challenge(r, 401);
}

/* The part behind the nonce: the name, then the key, then the message's integrity. */
static int check_credentials(struct ph__req *r)
{
    uint16_t alg;

    r->sha256 = ph_msg_has(&r->m, PH_IX_MESSAGE_INTEGRITY_SHA256);
    if (password_algorithm(r, &alg))
        return ph__reply_error(r, 400);
    if (user_name(r))
        return refuse(r, "unknown user hash");
    if (fits_standing(r, alg))
        return PH_CONSUMED;
    int err = look_up(r, alg);
    if (err == PH_E_AUTH)
        return refuse(r, "the credential has expired");
    if (err)
        return refuse(r, "unknown user or wrong password");
    /* RFC 8656 5: an allocation belongs to the user who made it.  Who asks for one where there is one already
     * is told just that (437). */
    if (r->a && r->a->user && r->m.method != PH_ALLOCATE &&
        !ph_slice_eq(ph__user_name(r->a->user), r->name))
        return ph__reply_error(r, 441);
    return PH_CONSUMED;
}

int ph__authenticate(struct ph__req *r)
{
    struct ph_turnd *d = r->d;
    struct ph_slice nonce;
    const struct ph_msg *m = &r->m;

    if (!d->c.auth)
        return PH_CONSUMED;
    if (!ph_msg_has(m, PH_IX_MESSAGE_INTEGRITY) && !ph_msg_has(m, PH_IX_MESSAGE_INTEGRITY_SHA256))
        return ph__reply_challenge(r, 401);
    if (!(ph_msg_has(m, PH_IX_USERNAME) || ph_msg_has(m, PH_IX_USERHASH)) ||
        !ph_msg_has(m, PH_IX_REALM) || ph_msg_bytes(m, PH_IX_NONCE, &nonce))
        return ph__reply_error(r, 400);
    if (!ph_nonce_check(&d->c.nonce, nonce, &r->p->src, ph_auth_realm(d->c.auth),
                        ph__wall(d, r->now)))
        return ph__reply_challenge(r, 438);
    return check_credentials(r);
}
