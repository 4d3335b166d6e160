/*
 * From configuration to what the server is given: peer policy, OAuth keys, nonces, budget.
 */
#include "cmd/turnd/conf_priv.h"

#include "stun/base/error.h"
#include "stun/codec/base64.h"
#include "stun/codec/integrity.h"

#include <string.h>

enum { ANSWER_BYTES = 128 /* of a 401 with realm and nonce */ };

/* ---- peer policy ---- */

struct rules {
    struct ph_tconf *c;
    struct ph_acl *acl;
    bool allow, quiet; /* quiet: mistakes have been told of already */
    int realm;         /* PH_TCONF_DEFAULT: a key without realm */
    bool nomem;
};

static void add_rules(struct rules *r, const char *key)
{
    for (const struct ph_opt_set *s = NULL; (s = ph_opts_each(r->c->opts, key, s));) {
        const char *text = s->value;
        if (r->realm != PH_TCONF_DEFAULT) {
            size_t n = strcspn(text, " \t");
            if (ph__tconf_realm_of(r->c, text, n) != r->realm)
                continue;
            text += n + strspn(text + n, " \t");
        }
        int err = ph_acl_add(r->acl, r->allow, text, strlen(text));
        r->nomem = r->nomem || err == PH_E_NOMEM;
        if (err && err != PH_E_NOMEM && !r->quiet)
            ph__tconf_bad(r->c, s,
                          "is no address, range or network: give A, A-B (A not above B) or A/BITS, "
                          "with :PORT or :LO-HI if wanted");
    }
}

bool ph_tconf_has_acl(const struct ph_tconf *c, int realm)
{
    static const char *const KEYS[] = {"realm-allowed-peer-ip", "realm-denied-peer-ip"};
    for (int k = 0; k < 2 && realm != PH_TCONF_DEFAULT; k++)
        for (const struct ph_opt_set *s = NULL; (s = ph_opts_each(c->opts, KEYS[k], s));)
            if (ph__tconf_realm_of(c, s->value, strcspn(s->value, " \t")) == realm)
                return true;
    return realm == PH_TCONF_DEFAULT;
}

struct ph_acl *ph_tconf_acl(struct ph_tconf *c, int realm)
{
    struct ph_acl *acl = ph_acl_new();
    if (!acl)
        return NULL;
    if (c->allow_loopback)
        ph_acl_allow_loopback(acl);
    if (c->allow_private)
        ph_acl_allow_private(acl);
    struct rules r = {c, acl, true, realm != PH_TCONF_DEFAULT, PH_TCONF_DEFAULT, false};
    add_rules(&r, "allowed-peer-ip");
    r.allow = false;
    add_rules(&r, "denied-peer-ip");
    if (realm != PH_TCONF_DEFAULT) {
        r = (struct rules){c, acl, true, false, realm, r.nomem};
        add_rules(&r, "realm-allowed-peer-ip");
        r.allow = false;
        add_rules(&r, "realm-denied-peer-ip");
    }
    if (!r.nomem)
        return acl;
    ph_acl_free(acl);
    return NULL;
}

/* ---- OAuth ---- */

/* "KID:BASE64[:ALGORITHM]".  NULL, or what is wrong with it. */
static const char *read_oauth(struct ph_oauth_key *k, const char *text)
{
    size_t kid = strcspn(text, ":");
    if (kid == 0 || kid >= sizeof k->kid || !text[kid])
        return "is no key: give KID:BASE64, or KID:BASE64:A256GCM or :A128GCM";
    const char *key = text + kid + 1;
    size_t n = strcspn(key, ":");
    const char *alg = key[n] ? key + n + 1 : "";
    *k = (struct ph_oauth_key){0};
    memcpy(k->kid, text, kid);
    int len = ph_base64_read(k->key, sizeof k->key, (struct ph_slice){(const uint8_t *)key, n});
    k->key_len = len > 0 ? (uint8_t)len : 0;
    if (strcmp(alg, "A128GCM") == 0 || (!*alg && k->key_len == 16))
        return k->key_len == 16 ? NULL : "has a key that is not 16 bytes in base64, for A128GCM";
    if (strcmp(alg, "A256GCM") == 0 || !*alg)
        return k->key_len == 32 ? NULL : "has a key that is not 32 bytes in base64, for A256GCM";
    return "names an unknown algorithm: give A256GCM or A128GCM";
}

unsigned ph_tconf_oauth(struct ph_tconf *c, struct ph_oauth_key v[static PH_TURND_OAUTH_KEYS])
{
    unsigned n = 0;
    for (const struct ph_opt_set *s = NULL; (s = ph_opts_each(c->opts, "oauth-key", s));) {
        struct ph_oauth_key k;
        const char *what = read_oauth(&k, s->value);
        if (what)
            ph__tconf_bad(c, s, what);
        else if (n == PH_TURND_OAUTH_KEYS)
            ph_opts_say(c->opts, PH_LOG_ERROR, s, "too many: %d are the most", PH_TURND_OAUTH_KEYS);
        else
            v[n++] = k;
        ph_wipe(&k, sizeof k);
    }
    return n;
}

/* ---- nonces ---- */

void ph_tconf_nonce(const struct ph_tconf *c, const struct ph_env *env, struct ph_nonce_conf *out)
{
    static const char LABEL[] = "pinhole nonce key";
    *out = (struct ph_nonce_conf){.ttl_s = c->stale_nonce_s};
    _Static_assert(sizeof out->key == PH_SHA256_LEN, "the key is a SHA-256");
    if (c->nonce_secret && *c->nonce_secret) {
        struct ph_slice label = {(const uint8_t *)LABEL, sizeof LABEL - 1};
        ph_hmac_sha256(out->key, ph_str(c->nonce_secret), &label, 1);
    } else {
        env->rand(env->ctx, out->key, sizeof out->key);
    }
}

/* ---- limits ---- */

struct ph_budget_conf ph_tconf_budget(const struct ph_tconf *c)
{
    struct ph_budget_conf b = {
        .addr_burst = c->budget_burst,
        .addr_rate = c->budget_rate,
        .prefix_burst = c->budget_prefix_burst,
        .prefix_rate = c->budget_prefix_rate,
        .unlimited = c->no_budget,
    };
    if (c->ratelimit_rps && !b.addr_rate) {
        b.addr_rate = c->ratelimit_rps * ANSWER_BYTES;
        if (!b.addr_burst)
            b.addr_burst = 2 * b.addr_rate;
    }
    /* A prefix must not be held to less than one of its addresses. */
    if (!b.prefix_rate && b.addr_rate > 16384)
        b.prefix_rate = b.addr_rate;
    if (!b.prefix_burst && b.addr_burst > 32768)
        b.prefix_burst = b.addr_burst;
    return b;
}
