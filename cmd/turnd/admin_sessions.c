/*
 * Sessions in the JSON API: listing, one alone, ending one.
 *
 * A list is of the matching sessions with the smallest numbers above `after`, so that paging finds each session that
 * lasts exactly once, whatever begins and ends meanwhile.  The workers are asked piece by piece (ph_turn_uv_list); what
 * matches is kept in a heap of `limit` entries, the greatest number on top, and copied, since it may be gone a moment
 * later.
 */
#include "cmd/turnd/admin_priv.h"
#include "cmd/turnd/words.h"
#include "stun/base/error.h"
#include "stun/uv/loop.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    struct ph_turnd_info info; /* slices as below */
    unsigned worker;
    uint8_t user[PH_TADMIN_TEXT], realm[PH_TADMIN_TEXT];
};

struct listing {
    struct ph_tadmin *a;
    const struct ph_tadmin_command *c;
    struct entry **heap; /* n of room for c->limit */
    unsigned n;
    uint64_t matched; /* all, whether in the heap or not */
    bool no_memory;
};

/* ---- filters ---- */

static bool is_digits(struct ph_slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    return s.n > 0;
}

/* The user himself: the whole name, or what stands beside the time of a REST name. */
static bool is_user(struct ph_slice name, struct ph_slice want)
{
    if (ph_slice_eq(name, want))
        return true;
    if (name.n <= want.n + 1)
        return false;
    const struct ph_slice head = {name.p, name.n - want.n - 1},
                          tail = {name.p + want.n + 1, head.n};
    return (is_digits(head) && ph_slice_eq((struct ph_slice){name.p + head.n + 1, want.n}, want)) ||
           (is_digits(tail) && ph_slice_eq((struct ph_slice){name.p, want.n}, want));
}

static bool is_at(const struct ph_addr *a, const struct ph_addr *want)
{
    return ph_addr_eq_ip(a, want) && (want->port == 0 || want->port == a->port);
}

static bool has_peer(struct ph_turn_uv *server, unsigned worker, uint32_t id,
                     const struct ph_addr *want)
{
    struct ph_addr peer[PH_TADMIN_ADDRS];
    unsigned n = ph_turn_uv_peers(server, worker, id, peer, PH_TADMIN_ADDRS);
    for (unsigned i = 0; i < n; i++)
        if (is_at(&peer[i], want))
            return true;
    return false;
}

static struct ph_slice slice_of(const struct ph_tadmin_text *t)
{
    return (struct ph_slice){(const uint8_t *)t->b, t->n};
}

/* Cheap tests first. */
static bool matches(const struct listing *l, unsigned worker, const struct ph_turnd_info *i)
{
    const struct ph_tadmin_command *c = l->c;
    return i->session > c->after && (!c->transport || i->client.proto == c->transport) &&
           (!c->client.family || is_at(&i->client, &c->client)) &&
           (!c->user.given || is_user(i->user, slice_of(&c->user))) &&
           (!c->realm.given || ph_slice_eq(i->realm, slice_of(&c->realm))) &&
           (!c->peer.family || has_peer(l->a->ops->run->server, worker, i->id, &c->peer));
}

/* ---- the heap ---- */

static uint64_t number(const struct listing *l, unsigned i)
{
    return l->heap[i]->info.session;
}

static void swap(struct listing *l, unsigned i, unsigned k)
{
    struct entry *e = l->heap[i];
    l->heap[i] = l->heap[k];
    l->heap[k] = e;
}

static void sift_down(struct listing *l, unsigned i)
{
    for (unsigned child; (child = 2 * i + 1) < l->n; i = child) {
        if (child + 1 < l->n && number(l, child + 1) > number(l, child))
            child++;
        if (number(l, i) >= number(l, child))
            return;
        swap(l, i, child);
    }
}

static void sift_up(struct listing *l, unsigned i)
{
    for (; i && number(l, (i - 1) / 2) < number(l, i); i = (i - 1) / 2)
        swap(l, i, (i - 1) / 2);
}

static struct ph_slice keep_text(uint8_t room[static PH_TADMIN_TEXT], struct ph_slice s)
{
    s.n = s.n < PH_TADMIN_TEXT ? s.n : PH_TADMIN_TEXT;
    if (s.n)
        memcpy(room, s.p, s.n);
    return (struct ph_slice){room, s.n};
}

static void keep(struct entry *e, unsigned worker, const struct ph_turnd_info *i)
{
    e->info = *i;
    e->worker = worker;
    e->info.user = keep_text(e->user, i->user);
    e->info.realm = keep_text(e->realm, i->realm);
}

/* On a worker's thread. */
static bool on_session(void *ctx, unsigned worker, const struct ph_turnd_info *i)
{
    struct listing *l = ctx;
    if (!matches(l, worker, i))
        return true;
    l->matched++;
    if (l->n < l->c->limit) {
        struct entry *e = malloc(sizeof *e);
        if (!e) {
            l->no_memory = true;
            return false;
        }
        keep(e, worker, i);
        l->heap[l->n++] = e;
        sift_up(l, l->n - 1);
    } else if (i->session < number(l, 0)) {
        keep(l->heap[0], worker, i);
        sift_down(l, 0);
    }
    return true;
}

static int compare(const void *a, const void *b)
{
    const struct entry *x = *(struct entry *const *)a, *y = *(struct entry *const *)b;
    return (x->info.session > y->info.session) - (x->info.session < y->info.session);
}

/* ---- JSON ---- */

static json_t *number_text(uint64_t session)
{
    char text[24];
    snprintf(text, sizeof text, "%018" PRIu64, session);
    return json_string(text);
}

static json_t *session_json(const struct ph_trun *r, const struct entry *e)
{
    const struct ph_turnd_info *i = &e->info;
    const ph_ns now = ph_now();
    json_t *o = json_object(), *relay = json_array();
    for (int k = 0; k < 2; k++)
        if (i->relay[k].family)
            json_array_append_new(relay, ph__tadmin_addr(&i->relay[k]));
    json_object_set_new(o, "session", number_text(i->session));
    json_object_set_new(o, "worker", json_integer(e->worker));
    ph__tadmin_set_text(o, "user", i->user);
    ph__tadmin_set_text(o, "realm", i->realm);
    json_object_set_new(o, "transport", json_string(ph_tword_transport(i->client.proto)));
    json_object_set_new(o, "client", ph__tadmin_addr(&i->client));
    json_object_set_new(o, "server",
                        i->listener < r->plan.n_listeners
                            ? ph__tadmin_addr(&r->plan.listener[i->listener])
                            : json_null());
    json_object_set_new(o, "relay", relay);
    json_object_set_new(o, "relay_transport", json_string(i->tcp ? "tcp" : "udp"));
    json_object_set_new(o, "mobile", json_boolean(i->mobile));
    json_object_set_new(o, "age_s", json_real((double)((now - i->created_at) / PH_MS(1)) / 1e3));
    json_object_set_new(o, "expires_in_s",
                        json_real((double)((i->expires_at - now) / PH_MS(1)) / 1e3));
    json_object_set_new(o, "to_peer_packets", json_integer((json_int_t)i->to_peer_packets));
    json_object_set_new(o, "to_peer_bytes", json_integer((json_int_t)i->to_peer_bytes));
    json_object_set_new(o, "to_client_packets", json_integer((json_int_t)i->to_client_packets));
    json_object_set_new(o, "to_client_bytes", json_integer((json_int_t)i->to_client_bytes));
    json_object_set_new(o, "dropped", json_integer((json_int_t)i->dropped));
    json_object_set_new(o, "permissions", json_integer(i->permissions));
    json_object_set_new(o, "channels", json_integer(i->channels));
    return o;
}

static json_t *list_json(const struct listing *l)
{
    json_t *o = json_object(), *v = json_array();
    for (unsigned i = 0; i < l->n; i++)
        json_array_append_new(v, session_json(l->a->ops->run, l->heap[i]));
    json_object_set_new(o, "sessions", v);
    json_object_set_new(o, "matched", json_integer((json_int_t)l->matched));
    json_object_set_new(o, "next",
                        l->matched > l->n ? number_text(number(l, l->n - 1)) : json_null());
    return o;
}

json_t *ph__tadmin_own_sessions(struct ph_tadmin *a, const struct ph_tadmin_command *c)
{
    struct listing l = {.a = a, .c = c, .heap = calloc(c->limit, sizeof(struct entry *))};
    if (l.heap) {
        ph_turn_uv_list(a->ops->run->server, on_session, &l);
        qsort(l.heap, l.n, sizeof *l.heap, compare);
    }
    json_t *o = l.heap && !l.no_memory ? list_json(&l) : NULL;
    for (unsigned i = 0; i < l.n; i++)
        free(l.heap[i]);
    free(l.heap);
    return o;
}

void ph__tadmin_sessions(struct ph_tadmin *a, const struct ph_tadmin_command *c,
                         struct ph__tadmin_reply *out)
{
    ph__tadmin_json(out, 200, ph__tadmin_own_sessions(a, c));
}

/* ---- one ---- */

struct finding {
    struct ph_turn_uv *server;
    uint64_t session;
    bool end, found;
    struct entry e;
    struct ph_addr peer[PH_TADMIN_ADDRS];
    unsigned peers;
};

/* On the worker's thread, so that what is ended is what was found. */
static bool on_candidate(void *ctx, unsigned worker, const struct ph_turnd_info *i)
{
    struct finding *f = ctx;
    if (i->session != f->session)
        return true;
    f->found = true;
    keep(&f->e, worker, i);
    f->peers = ph_turn_uv_peers(f->server, worker, i->id, f->peer, PH_TADMIN_ADDRS);
    if (f->end)
        f->found = ph_turn_uv_end(f->server, worker, i->id);
    return false;
}

static void find(struct ph_tadmin *a, uint64_t session, bool end, struct ph__tadmin_reply *out)
{
    struct finding *f = calloc(1, sizeof *f);
    if (!f) {
        ph__tadmin_json(out, 200, NULL);
        return;
    }
    f->server = a->ops->run->server;
    f->session = session;
    f->end = end;
    ph_turn_uv_list(f->server, on_candidate, f);
    if (!f->found) {
        ph__tadmin_error(out, 404, "there is no session with this number");
    } else {
        json_t *o = session_json(a->ops->run, &f->e), *peers = json_array();
        for (unsigned i = 0; i < f->peers; i++)
            json_array_append_new(peers, ph__tadmin_addr(&f->peer[i]));
        json_object_set_new(o, "peers", peers);
        if (end)
            json_object_set_new(o, "ended", json_true());
        ph__tadmin_json(out, 200, o);
    }
    free(f);
}

void ph__tadmin_session(struct ph_tadmin *a, const struct ph_tadmin_command *c,
                        struct ph__tadmin_reply *out)
{
    find(a, c->session, false, out);
}

void ph__tadmin_end(struct ph_tadmin *a, const struct ph_tadmin_command *c,
                    struct ph__tadmin_reply *out)
{
    find(a, c->session, true, out);
}
