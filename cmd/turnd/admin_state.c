/*
 * State that outlives the process, in the API: the store, upgrades in place, adoption.
 */
#include "cmd/turnd/admin_priv.h"
#include "cmd/turnd/state.h"
#include "cmd/turnd/upgrade.h"

#include <stdlib.h>
#include <string.h>

struct ph__tadmin_state {
    bool has_store;
    char node[PH_STORE_NAME];
    struct ph_tstate_view store;
    struct ph_tupgrade_view upgrade;
};

struct ph__tadmin_state *ph__tadmin_state_look(struct ph_tops *o)
{
    struct ph__tadmin_state *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->has_store = o->run->state != NULL;
    snprintf(s->node, sizeof s->node, "%s", o->run->conf->node);
    if (s->has_store)
        ph_tstate_look(o->run->state, &s->store);
    if (o->upgrade)
        ph_tupgrade_look(o->upgrade, &s->upgrade);
    return s;
}

/* ---- status ---- */

static json_t *adoption(const struct ph_tstate_view *v)
{
    json_t *o = json_object();
    ph__tadmin_set_word(o, "node", v->adoption.node);
    json_object_set_new(o, "busy", json_boolean(v->adoption.busy));
    ph__tadmin_set_uint(o, "restored", v->adoption.restored);
    ph__tadmin_set_uint(o, "left", v->adoption.left);
    ph__tadmin_set_uint(o, "ms", (uint64_t)v->adoption.ms);
    ph__tadmin_set_time(o, "at", v->adoption.at_s);
    json_object_set_new(o, "error",
                        *v->adoption.error ? json_string(v->adoption.error) : json_null());
    return o;
}

static json_t *store(const struct ph__tadmin_state *s, const struct ph_store_stats *sum)
{
    const struct ph_tstate_view *v = &s->store;
    json_t *o = json_object();
    ph__tadmin_set_word(o, "node", s->node);
    ph__tadmin_set_word(o, "claim", v->word);
    json_object_set_new(o, "up", json_boolean(sum->up));
    json_object_set_new(o, "behind", json_boolean(sum->behind));
    ph__tadmin_set_uint(o, "lag_ms", (uint64_t)sum->lag_ms);
    ph__tadmin_set_uint(o, "restored", v->restored);
    ph__tadmin_set_uint(o, "restored_ms", (uint64_t)v->restored_ms);
    ph__tadmin_set_uint(o, "expired", v->expired);
    ph__tadmin_set_uint(o, "elsewhere", v->elsewhere);
    ph__tadmin_set_uint(o, "not_restored", v->failed);
    ph__tadmin_set_uint(o, "adopted", v->adopted_total);
    ph__tadmin_set_uint(o, "written", sum->written);
    ph__tadmin_set_uint(o, "removed", sum->removed + v->main.removed);
    ph__tadmin_set_uint(o, "failed", sum->failed + v->main.failed);
    ph__tadmin_set_uint(o, "resyncs", sum->resyncs);
    ph__tadmin_set_uint(o, "fenced", sum->fenced);
    ph__tadmin_set_uint(o, "loaded", v->main.loaded);
    ph__tadmin_set_uint(o, "unsealed", v->main.unsealed);
    ph__tadmin_set_uint(o, "foreign", v->main.foreign);
    json_object_set_new(o, "adoption", *v->adoption.node ? adoption(v) : json_null());
    return o;
}

static json_t *upgrade(const struct ph_tupgrade_view *v)
{
    json_t *o = json_object();
    ph__tadmin_set_uint(o, "id", v->id);
    ph__tadmin_set_word(o, "state", v->word);
    ph__tadmin_set_text(o, "program", ph_str(v->program));
    ph__tadmin_set_word(o, "from", v->from);
    ph__tadmin_set_uint(o, "carried", v->carried);
    ph__tadmin_set_uint(o, "lost", v->lost);
    ph__tadmin_set_uint(o, "ms", (uint64_t)v->ms);
    ph__tadmin_set_time(o, "at", v->at_s);
    if (*v->error)
        ph__tadmin_set_text(o, "error", ph_str(v->error));
    else
        json_object_set_new(o, "error", json_null());
    return o;
}

void ph__tadmin_state_tell(struct ph__tadmin_state *s, json_t *o, const struct ph_store_stats *sum)
{
    if (!s)
        return;
    json_object_set_new(o, "store", s->has_store ? store(s, sum) : json_null());
    json_object_set_new(o, "upgrade", s->upgrade.id ? upgrade(&s->upgrade) : json_null());
    free(s);
}

/* ---- what is asked for ---- */

struct order {
    struct ph_tops *ops;
    const struct ph_tadmin_command *c;
    bool ok;
    struct ph_tupgrade_view upgrade;
    char text[PH_TOPS_TEXT];
};

static void begin_upgrade(void *ctx)
{
    struct order *x = ctx;
    struct ph_tupgrade *u = x->ops->upgrade;
    snprintf(x->text, sizeof x->text, "out of memory");
    x->ok = u && ph_tupgrade_begin(u, x->c->program.given ? x->c->program.b : NULL, x->text);
    if (x->ok)
        ph_tupgrade_look(u, &x->upgrade);
}

static void begin_adoption(void *ctx)
{
    struct order *x = ctx;
    struct ph_tstate *s = x->ops->run->state;
    if (!s)
        snprintf(x->text, sizeof x->text, "there is no redis-statedb to adopt from");
    else if (strcmp(x->c->node, x->ops->run->conf->node) == 0)
        snprintf(x->text, sizeof x->text, "that is this node itself");
    else if (!(x->ok = ph_tstate_adopt(s, x->c->node)))
        snprintf(x->text, sizeof x->text,
                 "not now: another adoption is under way, or Redis does not answer");
}

/* False: out has the answer. */
static bool carry_out(struct order *x, void (*fn)(void *ctx), struct ph__tadmin_reply *out)
{
    if (!ph_tops_call(x->ops, fn, x))
        ph__tadmin_error(out, 503, "the server is ending");
    else if (!x->ok)
        ph__tadmin_error(out, 409, x->text);
    else
        return true;
    return false;
}

void ph__tadmin_upgrade(struct ph_tadmin *a, const struct ph_tadmin_command *c,
                        struct ph__tadmin_reply *out)
{
    struct order x = {.ops = a->ops, .c = c};
    if (carry_out(&x, begin_upgrade, out))
        ph__tadmin_json(out, 202, upgrade(&x.upgrade));
}

void ph__tadmin_adopt(struct ph_tadmin *a, const struct ph_tadmin_command *c,
                      struct ph__tadmin_reply *out)
{
    struct order x = {.ops = a->ops, .c = c};
    if (!carry_out(&x, begin_adoption, out))
        return;
    json_t *o = json_object();
    ph__tadmin_set_word(o, "node", c->node);
    ph__tadmin_json(out, 202, o);
}
