/*
 * What users have: here, which is told to the others, and there, which they tell us.
 *
 * One record for each user of whom either is not nothing, found by hash; two lists run through the records, of those to be
 * told and those to be asked for.  A record that is in no list and says nothing is freed.
 */
#include "turn/fleet_priv.h"

#include "stun/base/error.h"

#include <stdlib.h>
#include <string.h>

#define NONE PH_MAP_NONE

/* A rate that has not been told again for so long is no more. */
static const ph_ns rate_ttl = PH_SEC(3);

/* ---- the table ---- */

static uint64_t hash_of(const struct ph_fleet *f, struct ph_slice realm, struct ph_slice user)
{
    uint8_t text[PH__FLEET_REALM_MAX + 1 + PH__FLEET_USER_MAX];

    memcpy(text, realm.p, realm.n);
    text[realm.n] = (uint8_t)realm.n;
    memcpy(text + realm.n + 1, user.p, user.n);
    return ph_hash(&f->key, text, realm.n + 1 + user.n);
}

static bool is_user(const struct ph__fleet_user *u, struct ph_slice realm, struct ph_slice user)
{
    return u->realm_n == realm.n && u->user_n == user.n && memcmp(u->text, realm.p, realm.n) == 0 &&
           memcmp(u->text + realm.n, user.p, user.n) == 0;
}

static bool fits(struct ph_slice realm, struct ph_slice user)
{
    return realm.p && user.p && realm.n <= PH__FLEET_REALM_MAX && user.n <= PH__FLEET_USER_MAX;
}

static uint32_t find(const struct ph_fleet *f, struct ph_slice realm, struct ph_slice user)
{
    struct ph_map_it it = ph_map_find(&f->by_user, hash_of(f, realm, user));
    while (it.slot != NONE && !is_user(f->user[it.slot], realm, user))
        it = ph_map_next(&f->by_user, it);
    return it.slot;
}

/* A place in the table; the array of free ones grows with it. */
static int place(struct ph_fleet *f, uint32_t *at)
{
    if (f->n_free > 0) {
        *at = f->free_place[--f->n_free];
        return 0;
    }
    if (f->users == f->cap) {
        const uint32_t cap = f->cap ? f->cap * 2 : 64;
        struct ph__fleet_user **v = realloc(f->user, cap * sizeof(struct ph__fleet_user *));
        if (v)
            f->user = v;
        uint32_t *free_place = v ? realloc(f->free_place, cap * sizeof *free_place) : NULL;
        if (!free_place)
            return PH_E_NOMEM;
        f->free_place = free_place;
        f->cap = cap;
    }
    *at = f->users++;
    return 0;
}

static int make(struct ph_fleet *f, struct ph_slice realm, struct ph_slice user, uint32_t *at)
{
    struct ph__fleet_user *u = malloc(sizeof *u + realm.n + user.n);

    if (!u)
        return PH_E_NOMEM;
    *u = (struct ph__fleet_user){
        .hash = hash_of(f, realm, user), .realm_n = (uint16_t)realm.n, .user_n = (uint16_t)user.n};
    memcpy(u->text, realm.p, realm.n);
    memcpy(u->text + realm.n, user.p, user.n);
    int err = place(f, at);
    if (!err && (err = ph_map_add(&f->by_user, u->hash, *at)) != 0)
        f->free_place[f->n_free++] = *at;
    if (err)
        free(u);
    else
        f->user[*at] = u;
    return err;
}

static int get(struct ph_fleet *f, struct ph_slice realm, struct ph_slice user, uint32_t *at)
{
    if (!fits(realm, user))
        return PH_E_LIMIT;
    *at = find(f, realm, user);
    return *at == NONE ? make(f, realm, user, at) : 0;
}

/* Frees a record that says nothing. */
static void tidy(struct ph_fleet *f, uint32_t at)
{
    struct ph__fleet_user *u = f->user[at];

    if (u->here || u->n_at || u->tell || u->event || at == f->spent)
        return;
    ph_map_del(&f->by_user, u->hash, at);
    free(u->at);
    free(u);
    f->user[at] = NULL;
    f->free_place[f->n_free++] = at;
}

void ph__fleet_users_fini(struct ph_fleet *f)
{
    for (uint32_t i = 0; i < f->users; i++) {
        if (f->user[i])
            free(f->user[i]->at);
        free(f->user[i]);
    }
    free(f->user);
    free(f->free_place);
    ph_map_fini(&f->by_user);
}

/* ---- lists ---- */

static void to_tell(struct ph_fleet *f, uint32_t at)
{
    struct ph__fleet_user *u = f->user[at];

    if (u->tell)
        return;
    u->tell = true;
    u->tell_next = NONE;
    if (f->tell.head == NONE)
        f->tell.head = at;
    else
        f->user[f->tell.tail]->tell_next = at;
    f->tell.tail = at;
}

static void to_ask(struct ph_fleet *f, uint32_t at)
{
    struct ph__fleet_user *u = f->user[at];

    if (u->event)
        return;
    u->event = true;
    u->event_next = NONE;
    if (f->events.head == NONE)
        f->events.head = at;
    else
        f->user[f->events.tail]->event_next = at;
    f->events.tail = at;
}

struct ph__fleet_user *ph__fleet_to_tell(struct ph_fleet *f)
{
    return f->tell.head == NONE ? NULL : f->user[f->tell.head];
}

struct ph__fleet_user *ph__fleet_next_to_tell(struct ph_fleet *f, const struct ph__fleet_user *u)
{
    return u->tell_next == NONE ? NULL : f->user[u->tell_next];
}

void ph__fleet_told(struct ph_fleet *f)
{
    const uint32_t at = f->tell.head;
    struct ph__fleet_user *u = f->user[at];

    f->tell.head = u->tell_next;
    u->tell = u->tell_n = u->tell_rate = false;
    tidy(f, at);
}

/* ---- here ---- */

int ph_fleet_count(struct ph_fleet *f, struct ph_slice realm, struct ph_slice user, int change)
{
    uint32_t at;
    int err = get(f, realm, user, &at);

    if (err)
        return err;
    struct ph__fleet_user *u = f->user[at];
    if (change > 0)
        u->here += (uint32_t)change;
    else /* what was there before we were is not known */
        u->here -= u->here < (uint32_t)-change ? u->here : (uint32_t)-change;
    u->tell_n = true;
    to_tell(f, at);
    return 0;
}

int ph_fleet_rate(struct ph_fleet *f, struct ph_slice realm, struct ph_slice user,
                  uint64_t from_client, uint64_t to_client)
{
    uint32_t at;
    int err = get(f, realm, user, &at);

    if (err)
        return err;
    f->user[at]->rate[0] = from_client;
    f->user[at]->rate[1] = to_client;
    f->user[at]->tell_rate = true;
    to_tell(f, at);
    return 0;
}

void ph_fleet_tell_all(struct ph_fleet *f)
{
    for (uint32_t i = 0; i < f->users; i++)
        if (f->user[i] && f->user[i]->here) {
            f->user[i]->tell_n = true;
            to_tell(f, i);
        }
}

/* ---- elsewhere ---- */

/* What a user has on a node, made if need be. */
static int get_at(struct ph_fleet *f, uint32_t user, uint8_t node, struct ph__fleet_at **out)
{
    struct ph__fleet_user *u = f->user[user];

    for (uint32_t i = 0; i < u->n_at; i++)
        if (u->at[i].node == node) {
            *out = &u->at[i];
            return 0;
        }
    if (u->n_at == 0 && f->stats.users >= f->c.users) {
        f->stats.uncounted++;
        return PH_E_LIMIT;
    }
    struct ph__fleet_at *v = realloc(u->at, (u->n_at + 1) * sizeof *v);
    if (!v)
        return PH_E_NOMEM;
    u->at = v;
    f->stats.users += u->n_at == 0;
    v[u->n_at] = (struct ph__fleet_at){.node = node};
    *out = &v[u->n_at++];
    return 0;
}

static void drop_at(struct ph_fleet *f, struct ph__fleet_user *u, struct ph__fleet_at *at)
{
    *at = u->at[--u->n_at];
    f->stats.users -= u->n_at == 0;
}

int ph__fleet_set_n(struct ph_fleet *f, uint8_t node, struct ph_slice realm, struct ph_slice user,
                    uint32_t n)
{
    struct ph__fleet_at *a;
    uint32_t at;

    if (!fits(realm, user))
        return PH_E_LIMIT;
    if (n == 0 && find(f, realm, user) == NONE)
        return 0;
    int err = get(f, realm, user, &at);
    if (err)
        return err;
    err = get_at(f, at, node, &a);
    if (!err) {
        a->n = n;
        if (n == 0) /* his rate, if there was one, goes too: he has nothing there to send by */
            drop_at(f, f->user[at], a);
        to_ask(f, at);
    }
    tidy(f, at);
    return err;
}

int ph__fleet_set_rate(struct ph_fleet *f, uint8_t node, struct ph_slice realm,
                       struct ph_slice user, const uint64_t rate[static 2], ph_ns now)
{
    struct ph__fleet_at *a;
    uint32_t at;

    if (!fits(realm, user))
        return PH_E_LIMIT;
    int err = get(f, realm, user, &at);
    if (err)
        return err;
    err = get_at(f, at, node, &a);
    if (!err) {
        a->rate[0] = rate[0];
        a->rate[1] = rate[1];
        a->rate_at = now;
        if (f->rates_at == PH_NEVER)
            f->rates_at = now + rate_ttl;
        f->user[at]->event_rate = true;
        to_ask(f, at);
    }
    tidy(f, at);
    return err;
}

void ph__fleet_forget_node(struct ph_fleet *f, uint8_t node)
{
    for (uint32_t i = 0; i < f->users; i++) {
        struct ph__fleet_user *u = f->user[i];
        for (uint32_t k = 0; u && k < u->n_at; k++)
            if (u->at[k].node == node) {
                u->event_rate = u->event_rate || u->at[k].rate[0] || u->at[k].rate[1];
                drop_at(f, u, &u->at[k]);
                to_ask(f, i);
                break;
            }
    }
}

void ph_fleet_forget(struct ph_fleet *f, struct ph_slice name)
{
    const uint8_t node = ph__fleet_find(f, name);
    if (node != PH__FLEET_NONE)
        ph__fleet_forget_node(f, node);
}

static void sum(const struct ph_fleet *f, const struct ph__fleet_user *u, struct ph_fleet_ev *ev)
{
    for (uint32_t i = 0; i < u->n_at; i++) {
        const struct ph__fleet_at *a = &u->at[i];
        ev->n += a->n;
        if (f->now - a->rate_at < rate_ttl) {
            ev->from_client += a->rate[0];
            ev->to_client += a->rate[1];
        }
    }
}

void ph_fleet_wanted(const struct ph_fleet *f, struct ph_slice realm, struct ph_slice user,
                     uint64_t rate[static 2], ph_ns now)
{
    const uint32_t at = fits(realm, user) ? find(f, realm, user) : NONE;

    rate[0] = rate[1] = 0;
    for (uint32_t i = 0; at != NONE && i < f->user[at]->n_at; i++) {
        const struct ph__fleet_at *a = &f->user[at]->at[i];
        if (now - a->rate_at < rate_ttl) {
            rate[0] += a->rate[0];
            rate[1] += a->rate[1];
        }
    }
}

/* False if nothing of it will have to be looked at again.  A rate that is old is forgotten, and with it whoever has nothing
 * else there. */
static bool lasts(struct ph_fleet *f, uint32_t user, struct ph__fleet_at *a, ph_ns now)
{
    const bool any = a->rate[0] || a->rate[1];

    if (any && now - a->rate_at < rate_ttl)
        return true;
    if (!any && a->n)
        return false;
    a->rate[0] = a->rate[1] = 0;
    f->user[user]->event_rate |= any;
    if (!a->n)
        drop_at(f, f->user[user], a);
    to_ask(f, user);
    return true;
}

void ph__fleet_rates_tick(struct ph_fleet *f, ph_ns now)
{
    static const ph_ns every = PH_SEC(1);
    bool any = false;

    if (now < f->rates_at)
        return;
    for (uint32_t i = 0; i < f->users; i++)
        for (uint32_t k = 0; f->user[i] && k < f->user[i]->n_at; k++)
            any |= lasts(f, i, &f->user[i]->at[k], now);
    f->rates_at = any ? now + every : PH_NEVER;
}

bool ph__fleet_user_event(struct ph_fleet *f, struct ph_fleet_ev *ev)
{
    if (f->spent != NONE) {
        const uint32_t at = f->spent;
        f->spent = NONE;
        tidy(f, at);
    }
    const uint32_t at = f->events.head;
    if (at == NONE)
        return false;
    struct ph__fleet_user *u = f->user[at];
    *ev = (struct ph_fleet_ev){.type = u->event_rate ? PH_FLEET_RATES : PH_FLEET_ELSEWHERE,
                               .realm = {u->text, u->realm_n},
                               .user = {u->text + u->realm_n, u->user_n}};
    sum(f, u, ev);
    if (u->event_rate) { /* then once more, for his allocations */
        u->event_rate = false;
        return true;
    }
    f->events.head = u->event_next;
    u->event = false;
    f->spent = at;
    return true;
}
