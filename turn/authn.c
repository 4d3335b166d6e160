/*
 * Is this request authenticated, and as whom?  RFC 8489 9.2.4, in an order that costs a stranger most and us
 * least: nothing is hashed over the message before the nonce has proved that the source address is real.
 *
 * Who vouches, in this order: the key that the allocation was made with (no look-up on the requests that keep it
 * alive), a token (RFC 7635), the users and secrets of the realm, the user database.  After a reload a standing key
 * is looked up once more.  An end of its credential does not end a session then, unless strict_expiry says so:
 * users of coturn count on that.
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
static int password_algorithm(const struct ph__req *r, unsigned features, uint16_t *alg)
{
    static const uint8_t ours[] = {0, PH_ALG_SHA256, 0, 0, 0, PH_ALG_MD5, 0, 0};
    struct ph_attr_value v;
    struct ph_slice list;
    bool has_one = ph_msg_has(&r->m, PH_IX_PASSWORD_ALGORITHM);
    bool has_list = ph_msg_has(&r->m, PH_IX_PASSWORD_ALGORITHMS);

    *alg = PH_ALG_MD5;
    if (!(features & PH_FEATURE_PASSWORD_ALGORITHMS) || (!has_one && !has_list))
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
    return ph_auth_unhash(ph__realm_auth(r->d, r->realm), hash.p, &r->name) ? PH_E_AUTH : 0;
}

/* ---- the standing key ---- */

/* The allocation that a request is about.  A ConnectionBind comes on a connection of its own; with OAuth it may bring no
 * token, which RFC 7635 wants with Allocate and Refresh alone, so the key that stands must do. */
static const struct ph__alloc *meant(const struct ph__req *r)
{
    uint64_t id;

    if (r->a || r->m.method != PH_CONNECTION_BIND || ph_msg_uint(&r->m, PH_IX_CONNECTION_ID, &id))
        return r->a;
    uint32_t slot = ph__conn_slot(r->d, (uint32_t)id);
    uint32_t alloc = slot == PH__NONE ? PH__NONE : r->d->conn[slot].alloc;
    return alloc == PH__NONE ? NULL : ph__alloc_at(r->d, alloc);
}

/* The same, if the request speaks in the name of its user. */
static const struct ph__alloc *standing(const struct ph__req *r)
{
    const struct ph__alloc *a = meant(r);
    return a && a->user && a->realm == r->realm && ph_slice_eq(ph__user_name(a->user), r->name)
               ? a
               : NULL;
}

static bool fits_standing(struct ph__req *r, uint16_t alg)
{
    const struct ph__alloc *a = standing(r);
    const struct ph__user *u = a ? a->user : NULL;

    if (!u || (!u->oauth && u->key.alg != alg) || !integrity_fits(r, &u->key))
        return false;
    r->key = u->key;
    r->id = ph__user_id(u);
    r->oauth = u->oauth;
    r->max_allocations = u->max_allocations;
    r->max_bps = u->max_bps;
    r->expires_s = u->expires_s;
    return true;
}

/* A token's key cannot be looked up again; the others are, once after each reload. */
static bool standing_is_enough(const struct ph__req *r)
{
    const struct ph__alloc *a = standing(r);
    return a->user->oauth || a->auth_epoch == r->d->auth_epoch;
}

/* The time that a look-up is made for.  A session may outlive its credential: then it is the credential's end. */
static int64_t lookup_time(const struct ph__req *r)
{
    const struct ph__alloc *a = standing(r);
    int64_t wall = ph__wall(r->d, r->now), ends = a ? a->user->expires_s : INT64_MAX;

    return !r->d->c.live.strict_expiry && ends < wall ? ends : wall;
}

/* Counts an allocation for its new user and realm instead of the old ones. */
static void move_quota(struct ph__req *r, const struct ph__user *to)
{
    struct ph__alloc *a = r->a;
    struct ph_quota *was = ph__realm_quota(r->d, a->realm), *is = ph__realm_quota(r->d, r->realm);

    if (!a->counted || (was == is && ph_slice_eq(ph__user_id(a->user), ph__user_id(to))))
        return;
    ph_quota_release(was, ph__user_id(a->user));
    if (is)
        ph_quota_carry(is, ph__user_id(to));
    a->counted = is != NULL;
}

/* Gives a standing allocation the key and the limits that its user has by now.  False when out of memory. */
static bool adopt(struct ph__req *r)
{
    struct ph__alloc *a = r->a;
    struct ph__user *u = ph__user_get(r->d, r), *old = a->user;

    if (!u)
        return false;
    move_quota(r, u);
    a->user = u;
    a->realm = r->realm;
    a->auth_epoch = r->d->auth_epoch;
    ph__user_put(r->d, old);
    ph__live_take_over(r->d, r->slot, r->now);
    return true;
}

/* RFC 8656 5: an allocation belongs to the user who made it.  Who asks for one where there is one already is told just
 * that (437).  A token is good for whoever has it: its kid is no user's name. */
static bool is_owner(const struct ph__req *r)
{
    const struct ph__user *u = r->a ? r->a->user : NULL;
    return u && r->a->realm == r->realm &&
           (u->oauth ? r->oauth : !r->oauth && ph_slice_eq(ph__user_name(u), r->name));
}

/* ---- looking up ---- */

/* Whether there is such a user must not be told by how long it takes to refuse him. */
static void hash_anyway(const struct ph__req *r, bool tried)
{
    static const struct ph_key none = {.n = PH_MD5_LEN, .alg = PH_ALG_MD5};
    if (!tried)
        (void)integrity_fits(r, &none);
}

/* Tries the keys of the realm's users and secrets, first the one that was right the last time: with several secrets the
 * rest of them is for the few.  0, PH_E_MISSING or PH_E_AUTH (expired). */
static int look_up_here(struct ph__req *r, uint16_t alg)
{
    struct ph_auth_match m;
    const struct ph_auth *auth = ph__realm_auth(r->d, r->realm);
    unsigned *last = &r->d->auth_nth[r->realm], first = *last;
    int64_t at = lookup_time(r);
    bool tried = false;

    for (unsigned i = 0;; i++) {
        unsigned nth = i == 0 ? first : i <= first ? i - 1 : i;
        int err = ph_auth_find(auth, r->name, alg, at, nth, &m);
        tried |= err == 0;
        if (err && (i || !first || err == PH_E_AUTH)) {
            hash_anyway(r, tried);
            return err;
        }
        if (err || !integrity_fits(r, &m.key))
            continue;
        r->key = m.key;
        r->id = m.id;
        r->max_allocations = m.max_allocations;
        r->max_bps = m.max_bps;
        r->expires_s = m.expires_unix_s;
        ph_wipe(&m.key, sizeof m.key);
        *last = nth;
        return 0;
    }
}

/* Asks the user database, which knows MD5 keys alone.  As above, or PH_LATER, or PH_E_LIMIT: it cannot be had now. */
static int look_up_there(struct ph__req *r, uint16_t alg)
{
    struct ph_turnd *d = r->d;
    struct ph_userdb_user u;
    struct ph_slice realm = ph_auth_realm(ph__realm_auth(d, r->realm));

    if (!d->c.userdb || alg != PH_ALG_MD5)
        return PH_E_MISSING;
    int err = ph_userdb_find(d->c.userdb, realm, r->name, &r->p->src, &u, r->now);
    hash_anyway(r, err == 0);
    if (err)
        return err == PH_LATER && r->final ? PH_E_LIMIT : err;
    struct ph_key key = {.n = PH_MD5_LEN, .alg = PH_ALG_MD5};
    memcpy(key.b, u.key, PH_MD5_LEN);
    ph_wipe(u.key, sizeof u.key);
    if (!integrity_fits(r, &key))
        return PH_E_MISSING;
    if (u.expires_s < lookup_time(r))
        return PH_E_AUTH;
    r->key = key;
    r->id = r->name;
    r->max_allocations = u.max_allocations;
    r->max_bps = u.max_bps;
    r->expires_s = u.expires_s;
    return 0;
}

/* Deviation: RFC 7635 signs with all 160 bits of a token's key; coturn and its clients take the first 128.  Either will do,
 * and is answered in kind. */
static bool token_key_fits(const struct ph__req *r, struct ph_key *key)
{
    if (integrity_fits(r, key))
        return true;
    if (key->n != PH_SHA1_LEN || r->sha256)
        return false;
    key->n = PH_MD5_LEN;
    return integrity_fits(r, key);
}

/* Opens the token of a request.  0, or PH_E_AUTH. */
static int look_up_token(struct ph__req *r, struct ph_slice text)
{
    const struct ph_turnd *d = r->d;
    int64_t wall = ph__wall(d, r->now);
    struct ph_oauth_token t;

    for (unsigned i = 0; i < d->c.live.n_oauth; i++) {
        const struct ph_oauth_key *k = &d->c.live.oauth[i];
        if (!ph_slice_eq(ph_str(k->kid), r->name) ||
            ph_oauth_open(&t, k, ph_str(d->c.oauth_server), text, wall) ||
            !token_key_fits(r, &t.mac_key))
            continue;
        r->key = t.mac_key;
        r->oauth = true;
        r->id = ph__key_id(&r->key); /* what tells this client from the others with its kid */
        r->max_allocations = 0;
        r->max_bps = 0;
        r->expires_s = t.expires_s;
        ph_wipe(&t, sizeof t);
        return 0;
    }
    return PH_E_AUTH;
}

/* ---- refusing ---- */

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

/* There is no such user.  Or the client did what its nonce offered, and a reload has taken that back: then it must ask
 * anew, not give up. */
static int refuse_user(struct ph__req *r, unsigned features, const char *why)
{
    return features == r->d->c.nonce.features ? refuse(r, why) : ph__reply_challenge(r, 438);
}

/* What a failed look-up comes to. */
static int refuse_for(struct ph__req *r, unsigned features, int err)
{
    switch (err) {
    case PH_LATER:
        return PH_LATER;
    case PH_E_LIMIT:
        return ph__reply_error(r, 500);
    case PH_E_AUTH:
        return refuse(r, "the credential has expired");
    default:
        return refuse_user(r, features, "unknown user or wrong password");
    }
}

/* ---- the whole ---- */

static int look_up(struct ph__req *r, uint16_t alg)
{
    int err = look_up_here(r, alg);
    return err == PH_E_MISSING ? look_up_there(r, alg) : err;
}

/* The key is right: is it the right user's?  A standing allocation gets what was looked up. */
static int check_owner(struct ph__req *r)
{
    if (!r->a || r->m.method == PH_ALLOCATE)
        return PH_CONSUMED;
    if (r->a->user && !is_owner(r))
        return ph__reply_error(r, 441);
    return adopt(r) ? PH_CONSUMED : ph__reply_error(r, 500);
}

/* A ConnectionBind for another worker's connection: it is that one that knows the key.  Its handler does nothing but say so. */
static bool is_for_another(const struct ph__req *r)
{
    uint64_t id;
    return r->m.method == PH_CONNECTION_BIND && !r->final && !r->a &&
           ph_msg_uint(&r->m, PH_IX_CONNECTION_ID, &id) == 0 && id >> 24 != r->d->c.worker;
}

/* The part behind the nonce: the name, then the key, then the message's integrity. */
static int check_credentials(struct ph__req *r, unsigned features)
{
    uint16_t alg;
    struct ph_slice token;
    bool has_token = r->d->c.oauth_server && r->d->c.live.n_oauth &&
                     ph_msg_bytes(&r->m, PH_IX_ACCESS_TOKEN, &token) == 0;

    r->sha256 = ph_msg_has(&r->m, PH_IX_MESSAGE_INTEGRITY_SHA256);
    if (password_algorithm(r, features, &alg))
        return ph__reply_error(r, 400);
    if (user_name(r)) {
        hash_anyway(r, false);
        return refuse_user(r, features, "unknown user hash");
    }
    if (is_for_another(r))
        return PH_CONSUMED;
    bool stands = fits_standing(r, alg);
    if (stands && !has_token && standing_is_enough(r))
        return PH_CONSUMED;
    /* A new token may come with any request; one that has ended meanwhile does no harm beside a key that stands. */
    int err = has_token ? look_up_token(r, token) : look_up(r, alg);
    if (err && stands && (has_token || err == PH_E_LIMIT)) {
        /* Nor must a database that cannot be had end sessions that it has let in before. */
        (void)fits_standing(r, alg);
        return PH_CONSUMED;
    }
    if (err)
        return has_token ? refuse(r, "the token is not good") : refuse_for(r, features, err);
    return check_owner(r);
}

int ph__authenticate(struct ph__req *r)
{
    struct ph_turnd *d = r->d;
    struct ph_slice nonce, realm;
    const struct ph_msg *m = &r->m;

    r->expires_s = INT64_MAX;
    if (!d->c.live.auth)
        return PH_CONSUMED;
    r->realm = r->a && r->a->user ? r->a->realm : ph__realm_of_origin(d, m);
    if (!ph_msg_has(m, PH_IX_MESSAGE_INTEGRITY) && !ph_msg_has(m, PH_IX_MESSAGE_INTEGRITY_SHA256))
        return ph__reply_challenge(r, 401);
    if (!(ph_msg_has(m, PH_IX_USERNAME) || ph_msg_has(m, PH_IX_USERHASH)) ||
        ph_msg_bytes(m, PH_IX_REALM, &realm) || ph_msg_bytes(m, PH_IX_NONCE, &nonce))
        return ph__reply_error(r, 400);
    if (ph__realm_named(d, realm, &r->realm))
        return ph__reply_challenge(r, 401);
    if (!ph_nonce_check(&d->c.nonce, nonce, &r->p->src, realm, ph__wall(d, r->now)))
        return ph__reply_challenge(r, 438);
    return check_credentials(r, ph_nonce_features(nonce));
}
