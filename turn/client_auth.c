/* The long-term credentials of a TURN client (RFC 8489 9.2).
 *
 * The first request goes out bare; the 401 brings realm, nonce and perhaps PASSWORD-ALGORITHMS,
 * from then on every request carries user (or its hash), realm, nonce and integrity.  SHA-256 is
 * taken when offered.  A nonce that says the server speaks PASSWORD-ALGORITHMS while the list is
 * missing is an attempt to bid us down.
 */
#include "stun/base/error.h"
#include "stun/codec/algs.h"
#include "turn/client_priv.h"

#include <stdlib.h>
#include <string.h>

/* A 438 brings a new nonce; a server that never likes its own is given up.  RFC 8489 sets no
 * bound. */
enum { MAX_438 = 4, MAX_401 = 2 };

/* The list is sent back with every request; one longer than this is nothing we could use. */
enum { MAX_ALGORITHMS = 256 };

static void blob_fini(struct ph__tc_blob *b)
{
    if (b->p)
        ph_wipe(b->p, b->cap);
    free(b->p);
    *b = (struct ph__tc_blob){0};
}

static bool same(const struct ph__tc_blob *b, struct ph_slice s)
{
    return ph_slice_eq(ph__tc_blob_slice(b), s);
}

/* Makes the key for a realm.  alg is PH_ALG_MD5 or PH_ALG_SHA256. */
static int make_key(struct ph_turnc *t, uint16_t alg, bool hash_user)
{
    struct ph_slice user = ph__tc_blob_slice(&t->user), realm = ph__tc_blob_slice(&t->realm);
    int err = ph_key_long_term(&t->key, alg, user, realm, ph__tc_blob_slice(&t->password));
    if (err < 0)
        return err;
    if (hash_user)
        ph_userhash(t->userhash, user, realm);
    t->info.userhash = hash_user;
    t->info.algorithm = alg;
    t->login = true;
    return 0;
}

/* Takes realm, nonce and algorithms over.  *changed: the key is another one than before. */
static int learn(struct ph_turnc *t, const struct ph_turnc_login *l, bool *changed)
{
    unsigned features = 0;
    ph_nonce_cookie_read(l->nonce, &features);
    if (features & PH_FEATURE_PASSWORD_ALGORITHMS && l->algorithms.n == 0)
        return PH_E_AUTH;
    if (l->algorithms.n > MAX_ALGORITHMS)
        return PH_E_UNSUPPORTED;
    uint16_t alg = l->algorithms.n ? ph_algs_choose(l->algorithms) : PH_ALG_MD5;
    if (alg == PH_ALG_NONE)
        return PH_E_UNSUPPORTED;
    bool hash_user = features & PH_FEATURE_USERNAME_ANONYMITY;

    *changed = !t->login || !same(&t->realm, l->realm) || alg != t->key.alg;
    int err = 0;
    if ((err = ph__tc_blob_set(&t->realm, l->realm)) < 0 ||
        (err = ph__tc_blob_set(&t->nonce, l->nonce)) < 0 ||
        (err = ph__tc_blob_set(&t->algs, l->algorithms)) < 0)
        return err;
    if (!*changed && hash_user == t->info.userhash)
        return 0;
    if (*changed)
        t->proven = false;
    return make_key(t, alg, hash_user);
}

int ph__tc_auth_init(struct ph_turnc *t, const struct ph_turnc_conf *c)
{
    bool changed;
    if (ph__tc_blob_set(&t->user, c->user) < 0 || ph__tc_blob_set(&t->password, c->password) < 0)
        return PH_E_NOMEM;
    if (c->user.n && c->login.nonce.n && learn(t, &c->login, &changed) == PH_E_NOMEM)
        return PH_E_NOMEM;
    /* A login that cannot be used is no failure: the server will send a better one. */
    return 0;
}

void ph__tc_auth_fini(struct ph_turnc *t)
{
    blob_fini(&t->user);
    blob_fini(&t->password);
    blob_fini(&t->realm);
    blob_fini(&t->nonce);
    blob_fini(&t->algs);
    ph_wipe(&t->key, sizeof t->key);
    ph_wipe(t->userhash, sizeof t->userhash);
}

void ph__tc_auth_reset(struct ph_turnc *t)
{
    t->login = t->proven = false;
    t->info.algorithm = PH_ALG_NONE;
    t->info.userhash = false;
}

int ph__tc_auth_challenged(struct ph_turnc *t, struct ph__tc_op *op, const struct ph_msg *m,
                           uint16_t code)
{
    struct ph_turnc_login l = {ph__tc_blob_slice(&t->realm), {0}, {0}};
    if (t->user.n == 0)
        return PH_E_REFUSED;
    if (code == 401 ? op->n401++ >= MAX_401 : op->n438++ >= MAX_438)
        return PH_E_REFUSED;
    if (ph_msg_bytes(m, PH_IX_NONCE, &l.nonce) < 0)
        return PH_E_FORMAT;
    if (ph_msg_bytes(m, PH_IX_REALM, &l.realm) < 0 && (code == 401 || !t->login))
        return PH_E_FORMAT;
    ph_msg_bytes(m, PH_IX_PASSWORD_ALGORITHMS, &l.algorithms);

    /* A login from another client may be out of date in every way: that does not condemn the
     * password. */
    bool first_try = !op->authed || (!t->proven && t->c.login.nonce.n && op->n401 == 1);
    bool changed = false;
    int err = learn(t, &l, &changed);
    if (err < 0)
        return err;
    return code == 438 || first_try || changed ? 0 : PH_E_REFUSED;
}

bool ph__tc_auth_append(const struct ph_turnc *t, struct ph_msgw *w)
{
    if (!t->login)
        return false;
    if (t->info.userhash)
        ph_msgw_bytes(w, PH_ATTR_USERHASH, (struct ph_slice){t->userhash, PH_SHA256_LEN});
    else
        ph_msgw_bytes(w, PH_ATTR_USERNAME, ph__tc_blob_slice(&t->user));
    ph_msgw_bytes(w, PH_ATTR_REALM, ph__tc_blob_slice(&t->realm));
    ph_msgw_bytes(w, PH_ATTR_NONCE, ph__tc_blob_slice(&t->nonce));
    if (t->algs.n) {
        struct ph_attr_value v = {.alg = {.number = t->key.alg}};
        ph_msgw_bytes(w, PH_ATTR_PASSWORD_ALGORITHMS, ph__tc_blob_slice(&t->algs));
        ph_msgw_attr(w, PH_ATTR_PASSWORD_ALGORITHM, &v);
    }
    if (t->key.alg == PH_ALG_SHA256)
        ph_msgw_integrity_sha256(w, ph_key_slice(&t->key), PH_SHA256_LEN);
    else
        ph_msgw_integrity(w, ph_key_slice(&t->key));
    return true;
}

int ph__tc_auth_check(struct ph_turnc *t, const struct ph_msg *m)
{
    int err = t->key.alg == PH_ALG_SHA256 ? ph_msg_check_integrity_sha256(m, ph_key_slice(&t->key))
                                          : ph_msg_check_integrity(m, ph_key_slice(&t->key));
    if (err < 0)
        return PH_E_AUTH;
    t->proven = true;
    return 0;
}
