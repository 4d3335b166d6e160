/*
 * What may change while the server runs: users, secrets, realms, peer policy, limits; made from a configuration and
 * from what a user database says of realms.
 *
 * A set owns all that its struct ph_turnd_live points to, except quotas: these count allocations that outlive a set, so
 * they are kept apart (struct ph_tquotas), by the name of their realm.
 */
#ifndef PH_TURND_LIVE_H
#define PH_TURND_LIVE_H

#include "cmd/turnd/conf.h"
#include "turn/server.h"
#include "turn/store/users.h"

/* Quotas of realms that have limits of their own. */
struct ph_tquotas {
    struct {
        char realm[PH_TCONF_REALM];
        struct ph_quota *quota;
    } v[PH_TURND_REALMS];
    unsigned n;
};

/* What a database says; parallel to the realms of the configuration, the default one first. */
struct ph_tdb_data {
    struct ph_redis_realm realm[PH_TURND_REALMS + 1];
    bool known[PH_TURND_REALMS + 1];
    unsigned n_realms;
    struct ph_oauth_key *oauth;
    unsigned n_oauth;
};

struct ph_tlive {
    struct ph_turnd_live live;
    struct ph_acl *acl;
    struct ph_auth *auth;
    struct ph_auth *realm_auth[PH_TURND_REALMS];
    struct ph_acl *realm_acl[PH_TURND_REALMS]; /* NULL: the default realm's */
    char *origin[PH_TURND_REALMS];
    struct ph_oauth_key oauth[PH_TURND_OAUTH_KEYS];
    uint32_t user_quota, total_quota; /* of the default realm */
};

/* Makes a set.  Mistakes in the configuration become errors in c->opts (then what it returns is good for nothing but
 * to be freed); what a database says wrong is left out, with a warning through env's log.  data may be NULL.  NULL: out of memory. */
struct ph_tlive *ph_tlive_new(struct ph_tconf *c, const struct ph_env *env,
                              const struct ph_tdb_data *data);
void ph_tlive_free(struct ph_tlive *l); /* wipes; NULL: nothing */

/* Gives each realm with limits of its own its quota, with these limits from now on.  0 or PH_E_NOMEM. */
int ph_tlive_quotas(struct ph_tlive *l, const struct ph_tconf *c, const struct ph_tdb_data *data,
                    struct ph_tquotas *q, const struct ph_env *env);

/* Frees quotas that no realm of the set uses and that count nothing; all of them with l = NULL. */
void ph_tquotas_sweep(struct ph_tquotas *q, const struct ph_tlive *l);

#endif
