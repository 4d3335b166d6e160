/*
 * Sets of users, realms, policies and limits.
 */
#include "cmd/turnd/live.h"

#include "stun/base/error.h"
#include "stun/codec/integrity.h"

#include <stdlib.h>
#include <string.h>

/* What a set is made from. */
struct maker {
    struct ph_tlive *l;
    struct ph_tconf *c;
    const struct ph_env *env;
    const struct ph_tdb_data *data;
    bool nomem;
};

/* What the database says of a realm (PH_TCONF_DEFAULT ...); NULL: nothing. */
static const struct ph_redis_realm *data_of(const struct ph_tdb_data *data, int realm)
{
    unsigned i = (unsigned)(realm + 1);
    return data && i < data->n_realms && data->known[i] ? &data->realm[i] : NULL;
}

/* ---- peers ---- */

static void add_rules(struct maker *m, struct ph_acl *acl, bool allow, char *const *v, unsigned n)
{
    for (unsigned i = 0; acl && i < n; i++) {
        int err = ph_acl_add(acl, allow, v[i], strlen(v[i]));
        m->nomem = m->nomem || err == PH_E_NOMEM;
        if (err && err != PH_E_NOMEM)
            ph_logf(m->env, PH_LOG_WARN,
                    "redis-userdb: a peer rule is no address, range or network: left out: %s",
                    v[i]);
    }
}

static void add_db_rules(struct maker *m, struct ph_acl *acl, int realm)
{
    const struct ph_redis_realm *x = m->c->no_db_peers ? NULL : data_of(m->data, realm);
    if (!x)
        return;
    add_rules(m, acl, true, x->allowed, x->n_allowed);
    add_rules(m, acl, false, x->denied, x->n_denied);
}

static bool has_db_rules(const struct maker *m, int realm)
{
    const struct ph_redis_realm *x = m->c->no_db_peers ? NULL : data_of(m->data, realm);
    return x && (x->n_allowed || x->n_denied);
}

/* The policy of a realm; another one's only where it differs from the default's. */
static struct ph_acl *make_acl(struct maker *m, int realm)
{
    if (realm != PH_TCONF_DEFAULT && !ph_tconf_has_acl(m->c, realm) && !has_db_rules(m, realm))
        return NULL;
    struct ph_acl *acl = ph_tconf_acl(m->c, realm);
    m->nomem = m->nomem || !acl;
    add_db_rules(m, acl, PH_TCONF_DEFAULT);
    if (realm != PH_TCONF_DEFAULT)
        add_db_rules(m, acl, realm);
    return acl;
}

/* ---- credentials ---- */

static struct ph_auth *make_auth(struct maker *m, int realm)
{
    const struct ph_redis_realm *x = data_of(m->data, realm);
    struct ph_auth *auth = ph_tconf_auth(m->c, realm, m->env);
    m->nomem = m->nomem || !auth;
    for (unsigned i = 0; auth && x && i < x->n_secrets; i++)
        if (*x->secret[i])
            m->nomem |= ph_auth_add_secret(auth, ph_str(x->secret[i])) == PH_E_NOMEM;
    return auth;
}

static void take_oauth(struct maker *m)
{
    struct ph_tlive *l = m->l;
    unsigned n = ph_tconf_oauth(m->c, l->oauth);
    for (unsigned i = 0; m->data && i < m->data->n_oauth && n < PH_TURND_OAUTH_KEYS; i++)
        l->oauth[n++] = m->data->oauth[i];
    l->live.n_oauth = m->c->oauth ? n : 0;
    l->live.oauth = m->c->oauth && n ? l->oauth : NULL;
    if (m->c->oauth && !n && !m->c->redis_userdb)
        ph_opts_say(m->c->opts, PH_LOG_WARN, ph_opts_last(m->c->opts, "oauth"),
                    "there is no key for tokens: give oauth-key");
}

/* ---- realms ---- */

static struct ph_turnd_realm *slot_of(struct ph_tlive *l, unsigned i)
{
    for (unsigned k = 0; k < l->live.n_realms; k++)
        if (l->live.realm[k].auth == l->realm_auth[i])
            return &l->live.realm[k];
    return NULL;
}

struct origins {
    struct maker *m;
    unsigned realm;
};

/* A realm has one origin; for each further one it is listed again. */
static void add_origin(void *ctx, const char *origin)
{
    const struct origins *o = ctx;
    struct ph_turnd_live *live = &o->m->l->live;
    unsigned k = 0;
    while (k < PH_TURND_REALMS && o->m->l->origin[k])
        k++;
    if (k == PH_TURND_REALMS)
        return;
    o->m->l->origin[k] = strdup(origin);
    o->m->nomem = o->m->nomem || !o->m->l->origin[k];
    struct ph_turnd_realm *first = slot_of(o->m->l, o->realm);
    if (first && !first->origin) {
        first->origin = o->m->l->origin[k];
    } else if (first && live->n_realms < PH_TURND_REALMS) {
        live->realm[live->n_realms] = *first;
        live->realm[live->n_realms++].origin = o->m->l->origin[k];
    }
}

static void add_realm(struct maker *m, unsigned i)
{
    struct ph_tlive *l = m->l;
    const struct ph_tconf_realm *r = &m->c->more_realm[i];
    const struct ph_redis_realm *x = m->c->no_db_realms ? NULL : data_of(m->data, (int)i);
    l->realm_auth[i] = make_auth(m, (int)i);
    l->realm_acl[i] = make_acl(m, (int)i);
    l->live.realm[l->live.n_realms++] = (struct ph_turnd_realm){
        .auth = l->realm_auth[i],
        .acl = l->realm_acl[i],
        .max_bps = r->max_bps ? r->max_bps
                   : x        ? x->max_bps
                              : 0,
    };
}

static void add_origins(struct maker *m, unsigned i)
{
    const struct ph_redis_realm *x = m->c->no_db_realms ? NULL : data_of(m->data, (int)i);
    struct origins o = {m, i};
    ph_tconf_each_of_realm(m->c, "realm-origin", (int)i, add_origin, &o);
    for (unsigned k = 0; x && k < x->n_origins; k++)
        add_origin(&o, x->origin[k]);
}

/* ---- the set ---- */

static void take_limits(struct maker *m)
{
    const struct ph_tconf *c = m->c;
    const struct ph_redis_realm *x = c->no_db_realms ? NULL : data_of(m->data, PH_TCONF_DEFAULT);
    struct ph_turnd_live *live = &m->l->live;
    live->max_bps = c->max_bps ? c->max_bps : x ? x->max_bps : 0;
    live->new_peers_rate = c->new_peers_rate;
    live->new_peers_burst = c->new_peers_burst;
    live->strict_expiry = c->strict_expiry;
    m->l->user_quota = c->user_quota ? c->user_quota : x ? x->user_quota : 0;
    m->l->total_quota = c->total_quota ? c->total_quota : x ? x->total_quota : 0;
    live->n_alternates = c->n_alternates;
    memcpy(live->alternate, c->alternate, sizeof live->alternate);
}

struct ph_tlive *ph_tlive_new(struct ph_tconf *c, const struct ph_env *env,
                              const struct ph_tdb_data *data)
{
    struct ph_tlive *l = calloc(1, sizeof *l);
    struct maker m = {l, c, env, data, false};
    if (!l)
        return NULL;
    l->acl = make_acl(&m, PH_TCONF_DEFAULT);
    l->live.acl = l->acl;
    take_limits(&m);
    if (ph_tconf_wants_auth(c)) {
        l->auth = make_auth(&m, PH_TCONF_DEFAULT);
        l->live.auth = l->auth;
        for (unsigned i = 0; i < c->n_more_realms; i++)
            add_realm(&m, i);
        for (unsigned i = 0; i < c->n_more_realms; i++)
            add_origins(&m, i);
        take_oauth(&m);
    }
    if (!m.nomem)
        return l;
    ph_tlive_free(l);
    return NULL;
}

void ph_tlive_free(struct ph_tlive *l)
{
    if (!l)
        return;
    for (unsigned i = 0; i < PH_TURND_REALMS; i++) {
        ph_auth_free(l->realm_auth[i]);
        ph_acl_free(l->realm_acl[i]);
        free(l->origin[i]);
    }
    ph_auth_free(l->auth);
    ph_acl_free(l->acl);
    ph_wipe(l, sizeof *l);
    free(l);
}

/* ---- quotas ---- */

static struct ph_quota *quota_of(struct ph_tquotas *q, const char *realm, uint32_t total,
                                 uint32_t per_user, const struct ph_env *env)
{
    for (unsigned i = 0; i < q->n; i++) {
        if (strcmp(q->v[i].realm, realm) == 0) {
            ph_quota_set(q->v[i].quota, total, per_user);
            return q->v[i].quota;
        }
    }
    if (q->n == PH_TURND_REALMS)
        return NULL;
    struct ph_quota *quota = ph_quota_new(total, per_user, 0, env);
    if (!quota)
        return NULL;
    snprintf(q->v[q->n].realm, sizeof q->v[q->n].realm, "%s", realm);
    q->v[q->n++].quota = quota;
    return quota;
}

int ph_tlive_quotas(struct ph_tlive *l, const struct ph_tconf *c, const struct ph_tdb_data *data,
                    struct ph_tquotas *q, const struct ph_env *env)
{
    for (unsigned i = 0; i < c->n_more_realms && l->realm_auth[i]; i++) {
        const struct ph_tconf_realm *r = &c->more_realm[i];
        const struct ph_redis_realm *x = c->no_db_realms ? NULL : data_of(data, (int)i);
        bool db_user = !r->own_user_quota && x && x->user_quota;
        bool db_total = !r->own_total_quota && x && x->total_quota;
        if (!r->own_user_quota && !r->own_total_quota && !db_user && !db_total)
            continue;
        uint32_t per_user = r->own_user_quota ? r->user_quota
                            : db_user         ? x->user_quota
                                              : l->user_quota;
        uint32_t total = r->own_total_quota ? r->total_quota
                         : db_total         ? x->total_quota
                                            : l->total_quota;
        struct ph_quota *quota = quota_of(q, r->name, total, per_user, env);
        if (!quota)
            return PH_E_NOMEM;
        for (unsigned k = 0; k < l->live.n_realms; k++)
            if (l->live.realm[k].auth == l->realm_auth[i])
                l->live.realm[k].quota = quota;
    }
    return 0;
}

static bool is_used(const struct ph_tlive *l, const struct ph_quota *quota)
{
    for (unsigned i = 0; l && i < l->live.n_realms; i++)
        if (l->live.realm[i].quota == quota)
            return true;
    return l && ph_quota_used(quota) > 0;
}

void ph_tquotas_sweep(struct ph_tquotas *q, const struct ph_tlive *l)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < q->n; i++) {
        if (is_used(l, q->v[i].quota))
            q->v[kept++] = q->v[i];
        else
            ph_quota_free(q->v[i].quota);
    }
    q->n = kept;
}
