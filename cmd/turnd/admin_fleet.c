/*
 * The fleet in the JSON API: its nodes, the sessions of all of them, and orders to them.
 *
 * The fleet belongs to the main thread and Redis takes its time, so a list is made by a job that this thread waits for; whoever
 * is last, the job or the one who gave up waiting, frees it.
 */
#include "cmd/turnd/admin_priv.h"
#include "cmd/turnd/fleet.h"
#include "cmd/turnd/words.h"
#include "stun/base/error.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WAIT_S = 5, SESSIONS_MAX = 100000 /* in one answer */ };

static const char NO_FLEET[] = "this server is in no fleet: give it redis-statedb and fleet-key";

/* ---- nodes ---- */

struct nodes {
    struct ph_tfleet *f;
    struct ph_fleet_node_info v[1 + PH_FLEET_NODES];
    unsigned n;
    bool up;
};

/* On the main thread. */
static void get_nodes(void *ctx)
{
    struct nodes *x = ctx;

    ph_tfleet_self(x->f, &x->v[0]);
    x->n = 1 + ph_tfleet_nodes(x->f, x->v + 1, PH_FLEET_NODES);
    x->up = ph_tfleet_up(x->f);
}

static json_t *node_json(const struct ph_fleet_node_info *n, bool self)
{
    json_t *o = json_object(), *at = json_array();
    const int64_t up_s = (int64_t)time(NULL) - n->up_s;

    for (unsigned i = 0; i < PH_FLEET_AT && n->at[i].family; i++) {
        char text[PH_ADDR_TEXT], whole[PH_ADDR_TEXT + 8];
        snprintf(whole, sizeof whole, "%s:%s", ph_tword_transport(n->at[i].proto),
                 ph_addr_text(&n->at[i], text));
        json_array_append_new(at, json_string(whole));
    }
    ph__tadmin_set_text(o, "node", ph_str(n->name));
    json_object_set_new(o, "self", json_boolean(self));
    json_object_set_new(o, "state",
                        json_string(n->state == PH_FLEET_SERVING ? "serving" : "draining"));
    json_object_set_new(o, "load", json_integer(n->load));
    json_object_set_new(o, "sessions", json_integer(n->sessions));
    json_object_set_new(o, "up_s", json_integer(up_s > 0 ? up_s : 0));
    ph__tadmin_set_text(o, "version", ph_str(n->version));
    json_object_set_new(o, "at", at);
    return o;
}

void ph__tadmin_nodes(struct ph_tadmin *a, struct ph__tadmin_reply *out)
{
    struct nodes *x = a->ops->run->fleet ? calloc(1, sizeof *x) : NULL;

    if (!a->ops->run->fleet) {
        ph__tadmin_error(out, 404, NO_FLEET);
        return;
    }
    if (x)
        x->f = a->ops->run->fleet;
    if (!x || !ph_tops_call(a->ops, get_nodes, x)) {
        ph__tadmin_error(out, 503, "the server is ending");
        free(x);
        return;
    }
    json_t *o = json_object(), *v = json_array();
    for (unsigned i = 0; i < x->n; i++)
        json_array_append_new(v, node_json(&x->v[i], i == 0));
    json_object_set_new(o, "nodes", v);
    json_object_set_new(o, "connected", json_boolean(x->up));
    ph__tadmin_json(out, 200, o);
    free(x);
}

/* ---- sessions ---- */

struct job {
    struct ph_tfleet *f;
    struct ph_tadmin_text user, realm; /* that are wanted */
    pthread_mutex_t lock;
    pthread_cond_t finished;
    bool done, abandoned; /* guarded by the lock */
    int err;
    int64_t now_ms;
    size_t limit, matched;
    json_t *list;
};

static void job_free(struct job *j)
{
    json_decref(j->list);
    pthread_mutex_destroy(&j->lock);
    pthread_cond_destroy(&j->finished);
    free(j);
}

static bool is_text(const struct ph_tadmin_text *want, struct ph_slice is)
{
    return !want->given || ph_slice_eq((struct ph_slice){(const uint8_t *)want->b, want->n}, is);
}

static json_t *record_json(const struct job *j, const char *node, const struct ph_record *r)
{
    char number[24];
    json_t *o = json_object(), *relay = json_array();

    for (unsigned i = 0; i < 2; i++)
        if (r->relay[i].family)
            json_array_append_new(relay, ph__tadmin_addr(&r->relay[i]));
    snprintf(number, sizeof number, "%018" PRIu64, r->session);
    ph__tadmin_set_text(o, "node", ph_str(node));
    json_object_set_new(o, "session", json_string(number));
    ph__tadmin_set_text(o, "user", r->name);
    ph__tadmin_set_text(o, "realm", r->realm);
    json_object_set_new(o, "transport", json_string(ph_tword_transport(r->client.proto)));
    json_object_set_new(o, "client", ph__tadmin_addr(&r->client));
    json_object_set_new(o, "server", ph__tadmin_addr(&r->listener));
    json_object_set_new(o, "relay", relay);
    json_object_set_new(o, "mobile", json_boolean(r->serial != 0));
    json_object_set_new(o, "age_s", json_real((double)(j->now_ms - r->created_ms) / 1e3));
    json_object_set_new(o, "expires_in_s", json_real((double)(r->expires_ms - j->now_ms) / 1e3));
    json_object_set_new(o, "to_peer_packets", json_integer((json_int_t)r->to_peer_packets));
    json_object_set_new(o, "to_peer_bytes", json_integer((json_int_t)r->to_peer_bytes));
    json_object_set_new(o, "to_client_packets", json_integer((json_int_t)r->to_client_packets));
    json_object_set_new(o, "to_client_bytes", json_integer((json_int_t)r->to_client_bytes));
    json_object_set_new(o, "permissions", json_integer(r->n_perm));
    json_object_set_new(o, "channels", json_integer(r->n_chan));
    return o;
}

/* On the main thread. */
static void on_record(void *ctx, const char *node, const struct ph_record *r)
{
    struct job *j = ctx;

    if (r->expires_ms <= j->now_ms || !is_text(&j->realm, r->realm) ||
        !(is_text(&j->user, r->name) || is_text(&j->user, r->id)))
        return;
    j->matched++;
    if (json_array_size(j->list) < j->limit)
        json_array_append_new(j->list, record_json(j, node, r));
}

static void on_done(void *ctx, int err)
{
    struct job *j = ctx;

    pthread_mutex_lock(&j->lock);
    const bool abandoned = j->abandoned;
    j->err = err;
    j->done = true;
    pthread_cond_signal(&j->finished);
    pthread_mutex_unlock(&j->lock);
    if (abandoned)
        job_free(j);
}

static void begin(void *ctx)
{
    struct job *j = ctx;
    const int err = ph_tfleet_list(j->f, on_record, on_done, j);

    if (err)
        on_done(j, err);
}

/* Waits for a job that was begun.  False: it takes too long, and is not ours any more. */
static bool wait_for(struct job *j)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_S;
    pthread_mutex_lock(&j->lock);
    while (!j->done && pthread_cond_timedwait(&j->finished, &j->lock, &until) != ETIMEDOUT)
        ;
    const bool done = j->done;
    j->abandoned = !done;
    pthread_mutex_unlock(&j->lock);
    return done;
}

static struct job *job_new(struct ph_tadmin *a, const struct ph_tadmin_command *c)
{
    struct timespec t;
    struct job *j = calloc(1, sizeof *j);

    if (!j)
        return NULL;
    clock_gettime(CLOCK_REALTIME, &t);
    j->f = a->ops->run->fleet;
    j->user = c->user;
    j->realm = c->realm;
    j->now_ms = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
    j->limit = c->limit < SESSIONS_MAX ? c->limit : SESSIONS_MAX;
    j->list = json_array();
    pthread_mutex_init(&j->lock, NULL);
    pthread_cond_init(&j->finished, NULL);
    return j;
}

/* Our own, which we know ourselves, before those of the others. */
static json_t *with_own(struct ph_tadmin *a, const struct ph_tadmin_command *c, struct job *j)
{
    json_t *all = ph__tadmin_own_sessions(a, c), *own = json_object_get(all, "sessions"), *s;
    size_t i;

    if (!all)
        return NULL;
    json_array_foreach(own, i, s) ph__tadmin_set_text(s, "node", ph_str(a->ops->run->conf->node));
    json_array_foreach(j->list, i, s)
    {
        if (json_array_size(own) < j->limit)
            json_array_append(own, s);
    }
    const json_int_t matched = json_integer_value(json_object_get(all, "matched"));
    json_object_set_new(all, "matched", json_integer(matched + (json_int_t)j->matched));
    json_object_set_new(all, "next", json_null()); /* others' numbers have no order with ours */
    json_object_set_new(all, "complete", json_boolean(j->err == 0));
    return all;
}

void ph__tadmin_fleet_sessions(struct ph_tadmin *a, const struct ph_tadmin_command *c,
                               struct ph__tadmin_reply *out)
{
    struct job *j = a->ops->run->fleet ? job_new(a, c) : NULL;

    if (!a->ops->run->fleet) {
        ph__tadmin_error(out, 404, NO_FLEET);
    } else if (c->client.family || c->peer.family || c->transport || c->after) {
        ph__tadmin_error(out, 400, "with fleet=1 only user, realm and limit may be given");
        job_free(j);
    } else if (!j || !ph_tops_call(a->ops, begin, j)) {
        ph__tadmin_error(out, 503, "the server is ending");
        if (j)
            job_free(j);
    } else if (!wait_for(j)) {
        ph__tadmin_error(out, 504, "Redis does not answer in time");
    } else {
        ph__tadmin_json(out, 200, with_own(a, c, j));
        job_free(j);
    }
}

/* ---- orders ---- */

struct order {
    struct ph_tfleet *f;
    const char *node;
    struct ph_fleet_order o;
    bool sent;
};

static void send_order(void *ctx)
{
    struct order *x = ctx;
    x->sent = ph_tfleet_send(x->f, x->node, &x->o);
}

static struct ph_slice slice_of(const struct ph_tadmin_text *t)
{
    return (struct ph_slice){(const uint8_t *)t->b, t->n};
}

void ph__tadmin_fleet_order(struct ph_tadmin *a, const struct ph_tadmin_command *c,
                            struct ph__tadmin_reply *out)
{
    const bool revoke = c->what == PH_DO_REVOKE;
    struct order x = {.f = a->ops->run->fleet,
                      .node = revoke ? "*" : c->node,
                      .o = {.type = revoke ? PH_FLEET_REVOKE : PH_FLEET_END,
                            .session = c->session,
                            .realm = slice_of(&c->realm),
                            .user = slice_of(&c->user)}};

    if (!x.f) {
        ph__tadmin_error(out, 404, NO_FLEET);
    } else if (!ph_tops_call(a->ops, send_order, &x)) {
        ph__tadmin_error(out, 503, "the server is ending");
    } else if (!x.sent) {
        ph__tadmin_error(out, 503, "the order could not be sent: Redis does not answer");
    } else {
        json_t *o = json_object();
        json_object_set_new(o, "asked", json_string(x.node));
        ph__tadmin_json(out, 202, o);
    }
}
