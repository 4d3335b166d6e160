/*
 * From configuration to what the server is given: peer policy, credentials, budget.
 */
#include "cmd/turnd/conf.h"

#include "stun/base/error.h"
#include "stun/codec/integrity.h"

#include <string.h>

enum { SHOWN = 160, ANSWER_BYTES = 128 /* of a 401 with realm and nonce */ };

static void bad(struct ph_tconf *c, const struct ph_opt_set *s, const char *what)
{
    char shown[SHOWN];
    ph_opts_say(c->opts, PH_LOG_ERROR, s, "\"%s\" %s", ph_opts_shown(s, shown, sizeof shown), what);
}

/* ---- peer policy ---- */

/* False when out of memory. */
static bool add_rules(struct ph_tconf *c, struct ph_acl *acl, const char *name, bool allow)
{
    for (const struct ph_opt_set *s = NULL; (s = ph_opts_each(c->opts, name, s));) {
        int err = ph_acl_add(acl, allow, s->value, strlen(s->value));
        if (err == PH_E_NOMEM)
            return false;
        if (err)
            bad(c, s, "is no address, range or network: give A, A-B (A not above B) or A/BITS");
    }
    return true;
}

struct ph_acl *ph_tconf_acl(struct ph_tconf *c)
{
    struct ph_acl *acl = ph_acl_new();
    if (!acl)
        return NULL;
    if (c->allow_loopback)
        ph_acl_allow_loopback(acl);
    if (c->allow_private)
        ph_acl_allow_private(acl);
    if (add_rules(c, acl, "allowed-peer-ip", true) && add_rules(c, acl, "denied-peer-ip", false))
        return acl;
    ph_acl_free(acl);
    return NULL;
}

/* ---- credentials ---- */

static int hex_value(char ch)
{
    if (ch >= '0' && ch <= '9')
        return ch - '0';
    ch = (char)(ch | 0x20);
    return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

/* Exactly 32 hex digits. */
static bool read_key(uint8_t key[static 16], const char *text)
{
    for (int i = 0; i < 16; i++) {
        int hi = hex_value(text[2 * i]);
        int lo = hi < 0 ? -1 : hex_value(text[2 * i + 1]);
        if (lo < 0)
            return false;
        key[i] = (uint8_t)(hi << 4 | lo);
    }
    return text[32] == '\0';
}

/* "name:password" or "name:0xKEY"; blanks before the password go, as in coturn.  Returns what ph_auth_add_user
 * does; mistakes become errors here. */
static int add_user(struct ph_tconf *c, struct ph_auth *auth, const struct ph_opt_set *s)
{
    const char *colon = strchr(s->value, ':');
    const char *password = colon ? colon + 1 + strspn(colon + 1, " \t") : "";
    uint8_t key[16];
    int err;
    if (!colon || colon == s->value || !*password) {
        ph_opts_say(c->opts, PH_LOG_ERROR, s,
                    "%s is missing: give NAME:PASSWORD, or NAME:0x and 32 hex digits",
                    !colon              ? "the \":\""
                    : colon == s->value ? "the name"
                                        : "the password");
        return 0;
    }
    struct ph_slice name = {(const uint8_t *)s->value, (size_t)(colon - s->value)};
    if (strncmp(password, "0x", 2) == 0) {
        if (!read_key(key, password + 2)) {
            bad(c, s,
                "has a malformed key: give 0x and 32 hex digits, the MD5 of "
                "\"name:realm:password\"");
            return 0;
        }
        err = ph_auth_add_user_key(auth, name, key);
        ph_wipe(key, sizeof key);
    } else {
        err = ph_auth_add_user(auth, name, ph_str(password));
    }
    if (err == PH_E_ARG)
        bad(c, s, "has a name that is too long: 508 bytes are the most");
    return err == PH_E_ARG ? 0 : err;
}

static int add_secret(struct ph_tconf *c, struct ph_auth *auth, const struct ph_opt_set *s)
{
    if (*s->value)
        return ph_auth_add_secret(auth, ph_str(s->value));
    ph_opts_say(c->opts, PH_LOG_ERROR, s, "is empty: give a secret, or remove the key");
    return 0;
}

struct ph_auth *ph_tconf_auth(struct ph_tconf *c, const struct ph_env *env)
{
    struct ph_auth *auth = ph_auth_new(c->realm, env);
    int err = auth ? 0 : PH_E_NOMEM;
    for (const struct ph_opt_set *s = NULL; !err && (s = ph_opts_each(c->opts, "user", s));)
        err = add_user(c, auth, s);
    for (const struct ph_opt_set *s = NULL;
         !err && (s = ph_opts_each(c->opts, "static-auth-secret", s));)
        err = add_secret(c, auth, s);
    if (!err) {
        ph_auth_rest_separator(auth, *c->separator);
        return auth;
    }
    ph_auth_free(auth);
    return NULL;
}

bool ph_tconf_wants_auth(const struct ph_tconf *c)
{
    return !c->no_auth;
}

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
