/*
 * Realms besides the default one: whoever is named by a realm-... key.
 */
#include "cmd/turnd/conf_priv.h"

#include <string.h>

enum { UNKNOWN = -2 };

int ph__tconf_realm_of(const struct ph_tconf *c, const char *name, size_t n)
{
    for (unsigned i = 0; i < c->n_more_realms; i++)
        if (strlen(c->more_realm[i].name) == n && memcmp(c->more_realm[i].name, name, n) == 0)
            return (int)i;
    return c->realm && strlen(c->realm) == n && memcmp(c->realm, name, n) == 0 ? PH_TCONF_DEFAULT
                                                                               : UNKNOWN;
}

/* The realm a set speaks of, made if it is new; its value goes to *rest.  NULL after a message. */
static struct ph_tconf_realm *realm_for(struct ph_tconf *c, const struct ph_opt_set *s,
                                        const char **rest)
{
    size_t n = strcspn(s->value, " \t");
    *rest = s->value + n + strspn(s->value + n, " \t");
    if (n == 0 || !**rest) {
        ph_opts_say(c->opts, PH_LOG_ERROR, s, "is incomplete: give %s", s->opt->words);
        return NULL;
    }
    if (n >= PH_TCONF_REALM) {
        ph_opts_say(c->opts, PH_LOG_ERROR, s,
                    "has a realm that is too long: 127 bytes are the most");
        return NULL;
    }
    int i = ph__tconf_realm_of(c, s->value, n);
    if (i == PH_TCONF_DEFAULT) {
        ph_opts_say(c->opts, PH_LOG_ERROR, s,
                    "%s is the default realm: give the key without \"realm-\"", c->realm);
        return NULL;
    }
    if (i == UNKNOWN && c->n_more_realms == PH_TURND_REALMS) {
        ph_opts_say(c->opts, PH_LOG_ERROR, s, "too many realms: %d are the most", PH_TURND_REALMS);
        return NULL;
    }
    if (i == UNKNOWN) {
        i = (int)c->n_more_realms++;
        memcpy(c->more_realm[i].name, s->value, n);
    }
    return &c->more_realm[i];
}

/* Names the realms of a key whose values are looked at when they are used. */
static void take_names(struct ph_tconf *c, const char *key)
{
    const char *rest;
    for (const struct ph_opt_set *s = NULL; (s = ph_opts_each(c->opts, key, s));)
        realm_for(c, s, &rest);
}

static void take_number(struct ph_tconf *c, const char *key, uint64_t max,
                        void (*put)(struct ph_tconf_realm *r, uint64_t v))
{
    for (const struct ph_opt_set *s = NULL; (s = ph_opts_each(c->opts, key, s));) {
        const char *rest;
        uint64_t v;
        struct ph_tconf_realm *r = realm_for(c, s, &rest);
        if (r && ph__tconf_read_number(rest, strlen(rest), max, &v))
            put(r, v);
        else if (r)
            ph__tconf_bad(c, s, "has no number behind the realm: give REALM N");
    }
}

static void put_max_bps(struct ph_tconf_realm *r, uint64_t v)
{
    r->max_bps = v;
}

static void put_user_quota(struct ph_tconf_realm *r, uint64_t v)
{
    r->own_user_quota = true;
    r->user_quota = (uint32_t)v;
}

static void put_total_quota(struct ph_tconf_realm *r, uint64_t v)
{
    r->own_total_quota = true;
    r->total_quota = (uint32_t)v;
}

/* Of two realms with one origin the first would win silently. */
static void check_origins(struct ph_tconf *c)
{
    unsigned n = 0;
    for (const struct ph_opt_set *s = NULL; (s = ph_opts_each(c->opts, "realm-origin", s));) {
        size_t at = strcspn(s->value, " \t");
        const char *origin = s->value + at + strspn(s->value + at, " \t");
        for (const struct ph_opt_set *t = NULL;
             (t = ph_opts_each(c->opts, "realm-origin", t)) && t != s;) {
            size_t len = strcspn(t->value, " \t");
            const char *other = t->value + len + strspn(t->value + len, " \t");
            if (*origin && strcmp(origin, other) == 0 &&
                (len != at || memcmp(s->value, t->value, at)))
                ph__tconf_bad(c, s, "names an origin that leads to another realm already");
        }
        if (++n > PH_TURND_REALMS)
            ph_opts_say(c->opts, PH_LOG_ERROR, s, "too many: %d are the most", PH_TURND_REALMS);
    }
}

void ph__tconf_take_realms(struct ph_tconf *c)
{
    take_names(c, "realm-user");
    take_names(c, "realm-secret");
    take_names(c, "realm-origin");
    take_names(c, "realm-allowed-peer-ip");
    take_names(c, "realm-denied-peer-ip");
    take_number(c, "realm-max-bps", PH_OPT_WIDE_MAX, put_max_bps);
    take_number(c, "realm-user-quota", UINT32_MAX, put_user_quota);
    take_number(c, "realm-total-quota", UINT32_MAX, put_total_quota);
    check_origins(c);
    if (c->no_auth && c->n_more_realms)
        ph_opts_say(c->opts, PH_LOG_WARN, ph_opts_last(c->opts, "no-auth"),
                    "anybody may relay: realms are without effect");
}

void ph_tconf_each_of_realm(const struct ph_tconf *c, const char *key, int realm,
                            void (*fn)(void *ctx, const char *value), void *ctx)
{
    for (const struct ph_opt_set *s = NULL; (s = ph_opts_each(c->opts, key, s));) {
        size_t n = strcspn(s->value, " \t");
        if (ph__tconf_realm_of(c, s->value, n) == realm)
            fn(ctx, s->value + n + strspn(s->value + n, " \t"));
    }
}
