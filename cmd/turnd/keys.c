/*
 * Keys from secrets and days.
 */
#include "cmd/turnd/keys.h"

#include "stun/codec/integrity.h"

#include <string.h>

_Static_assert((int)PH_FLEET_KEY_LEN == (int)PH_NONCE_KEY_LEN &&
                   (int)PH_FLEET_KEY_LEN == (int)PH_TICKET_KEY_LEN,
               "derived keys are as long as those of nonces and tickets");
_Static_assert((int)PH_FLEET_SECRETS *(int)PH_FLEET_DAYS <= (int)PH_TURND_TICKET_KEYS,
               "there is room for all");

enum { DAY_S = 86400, NONCE_S = 600 /* a nonce's life where it has no end */ };

/* One key besides today's is accepted.  Right after midnight nonces of yesterday are still about; at any other time those
 * that nodes with the other secret make, if there are two. */
static void make_nonces(struct ph_turnd_keys *k, const struct ph_tconf *c, int64_t unix_s)
{
    const uint32_t today = ph_fleet_day(unix_s);
    const int64_t since = unix_s % DAY_S, ttl = c->stale_nonce_s ? c->stale_nonce_s : NONCE_S;
    ph_fleet_day_key(&c->fleet, 0, "nonce", today, k->nonce);
    if (c->fleet.n > 1 && since > ttl)
        ph_fleet_day_key(&c->fleet, 1, "nonce", today, k->old_nonce);
    else
        ph_fleet_day_key(&c->fleet, 0, "nonce", today - 1, k->old_nonce);
    k->has_old_nonce = true;
}

static void add_ticket(struct ph_turnd_keys *k, const struct ph_tconf *c, unsigned secret,
                       uint32_t day)
{
    if (k->n_tickets < PH_TURND_TICKET_KEYS)
        ph_fleet_day_key(&c->fleet, secret, "ticket", day, k->ticket[k->n_tickets++]);
}

/* Today's of the first secret makes them.  Tomorrow's, where there is room, are for nodes whose clock is ahead. */
static void make_tickets(struct ph_turnd_keys *k, const struct ph_tconf *c, int64_t unix_s)
{
    const uint32_t today = ph_fleet_day(unix_s);
    k->n_tickets = 0;
    for (uint32_t back = 0; back < PH_FLEET_DAYS; back++)
        for (unsigned i = 0; i < c->fleet.n; i++)
            add_ticket(k, c, i, today - back);
    for (unsigned i = 0; i < c->fleet.n; i++)
        add_ticket(k, c, i, today + 1);
}

/* Keys of one server alone last as long as it does, upgrades included. */
static void make_own(struct ph_turnd_keys *k, const struct ph_tconf *c,
                     const struct ph_turnd_keys *was, const struct ph_env *env)
{
    struct ph_nonce_conf nonce;
    const bool made_up = !c->nonce_secret || !*c->nonce_secret;
    ph_tconf_nonce(c, env, &nonce);
    memcpy(k->nonce, nonce.key, sizeof k->nonce);
    if (was->n_tickets) {
        if (made_up || memcmp(k->nonce, was->nonce, sizeof k->nonce) == 0) {
            memcpy(k->nonce, was->nonce, sizeof k->nonce);
            memcpy(k->old_nonce, was->old_nonce, sizeof k->old_nonce);
            k->has_old_nonce = was->has_old_nonce;
        } else {
            memcpy(k->old_nonce, was->nonce, sizeof k->old_nonce);
            k->has_old_nonce = true;
        }
        memcpy(k->ticket, was->ticket, sizeof k->ticket);
        k->n_tickets = was->n_tickets;
    } else {
        env->rand(env->ctx, k->ticket[0], sizeof k->ticket[0]);
        k->n_tickets = 1;
    }
    ph_wipe(&nonce, sizeof nonce);
}

void ph_tkeys_make(struct ph_turnd_keys *k, const struct ph_tconf *c,
                   const struct ph_turnd_keys *was, const struct ph_env *env, int64_t unix_s)
{
    struct ph_turnd_keys fresh = {0};
    if (c->fleet.n) {
        make_nonces(&fresh, c, unix_s);
        make_tickets(&fresh, c, unix_s);
    } else {
        make_own(&fresh, c, was, env);
    }
    *k = fresh;
    ph_wipe(&fresh, sizeof fresh);
}
