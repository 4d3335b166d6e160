/*
 * Entries, notes and orders as lines of text.
 */
#include "turn/fleet_priv.h"

#include "stun/base/error.h"

#include <string.h>

enum { VERSION = 1, COUNT_MAX = UINT16_MAX /* allocations of a user on a node */ };

static const struct {
    uint8_t proto;
    const char *name;
} PROTOS[] = {{PH_UDP, "udp"}, {PH_TCP, "tcp"}, {PH_TLS, "tls"}, {PH_DTLS, "dtls"}};

enum { N_PROTOS = sizeof PROTOS / sizeof *PROTOS };

/* ---- entries ---- */

static void put_pair(struct ph__line *l, const char *key, uint64_t v)
{
    ph__line_text(l, key);
    ph__line_u64(l, v);
}

size_t ph_fleet_entry(const struct ph_fleet_node_info *n, char dst[static PH_FLEET_TEXT])
{
    struct ph__line l = {dst, 0, PH_FLEET_TEXT - 1};
    char text[PH_ADDR_TEXT];

    ph__line_u64(&l, VERSION);
    ph__line_text(&l, n->state == PH_FLEET_DRAINING ? " state=draining" : " state=serving");
    put_pair(&l, " load=", n->load);
    put_pair(&l, " sessions=", n->sessions);
    put_pair(&l, " up=", n->up_s > 0 ? (uint64_t)n->up_s : 0);
    ph__line_text(&l, " version=");
    ph__line_word(&l, ph_str(n->version));
    for (unsigned i = 0; i < PH_FLEET_AT && n->at[i].family; i++)
        for (unsigned k = 0; k < N_PROTOS; k++)
            if (PROTOS[k].proto == n->at[i].proto) {
                ph__line_text(&l, " ");
                ph__line_text(&l, PROTOS[k].name);
                ph__line_text(&l, "=");
                ph__line_text(&l, ph_addr_text(&n->at[i], text));
            }
    dst[l.n] = '\0'; /* it always fits: all parts are bounded */
    return l.n;
}

/* One KEY=VALUE.  Unknown keys are of a later version, and passed over. */
static bool read_pair(struct ph_fleet_node_info *n, unsigned *n_at, struct ph_slice key,
                      struct ph_slice value)
{
    uint64_t v;
    size_t len;

    if (ph_slice_eq(key, ph_str("state"))) {
        n->state = ph_slice_eq(value, ph_str("serving")) ? PH_FLEET_SERVING : PH_FLEET_DRAINING;
    } else if (ph_slice_eq(key, ph_str("load"))) {
        if (!ph__word_u64(value, PH_FLEET_LOAD, &v))
            return false;
        n->load = (uint32_t)v;
    } else if (ph_slice_eq(key, ph_str("sessions"))) {
        if (!ph__word_u64(value, UINT32_MAX, &v))
            return false;
        n->sessions = (uint32_t)v;
    } else if (ph_slice_eq(key, ph_str("up"))) {
        if (!ph__word_u64(value, INT64_MAX, &v))
            return false;
        n->up_s = (int64_t)v;
    } else if (ph_slice_eq(key, ph_str("version"))) {
        if (!ph__word_bytes(value, (uint8_t *)n->version, sizeof n->version - 1, &len))
            return false;
        n->version[len] = '\0';
    }
    for (unsigned k = 0; k < N_PROTOS; k++) {
        if (!ph_slice_eq(key, ph_str(PROTOS[k].name)) || *n_at == PH_FLEET_AT)
            continue;
        struct ph_addr at;
        if (ph_addr_parse(&at, (const char *)value.p, value.n, 0) || !at.port)
            return false;
        at.proto = PROTOS[k].proto;
        n->at[(*n_at)++] = at;
    }
    return true;
}

int ph__fleet_entry_read(struct ph_fleet_node_info *n, struct ph_slice text)
{
    struct ph_slice word;
    uint64_t version;
    unsigned n_at = 0;

    *n = (struct ph_fleet_node_info){.load = PH_FLEET_LOAD, .state = PH_FLEET_DRAINING};
    if (!ph__word(&text, &word) || !ph__word_u64(word, UINT32_MAX, &version) || version < VERSION)
        return PH_E_FORMAT;
    while (ph__word(&text, &word)) {
        const uint8_t *eq = memchr(word.p, '=', word.n);
        if (!eq)
            return PH_E_FORMAT;
        const struct ph_slice key = {word.p, (size_t)(eq - word.p)};
        const struct ph_slice value = {eq + 1, word.n - key.n - 1};
        if (!read_pair(n, &n_at, key, value))
            return PH_E_FORMAT;
    }
    return 0;
}

/* ---- notes ---- */

static void put_user(struct ph__line *l, const struct ph__fleet_user *u)
{
    ph__line_text(l, " ");
    ph__line_word(l, (struct ph_slice){u->text, u->realm_n});
    ph__line_text(l, " ");
    ph__line_word(l, (struct ph_slice){u->text + u->realm_n, u->user_n});
}

/* One statement about a user.  A rate goes with its number of allocations, in a note of its own kind. */
static void put_statement(struct ph__line *l, const struct ph__fleet_user *u, bool rate)
{
    put_user(l, u);
    if (rate) {
        put_pair(l, " ", u->rate[0]);
        put_pair(l, " ", u->rate[1]);
    } else {
        put_pair(l, " ", u->here < COUNT_MAX ? u->here : COUNT_MAX);
    }
}

/* Appends it, unless the note is full. */
static bool add_statement(struct ph__line *l, const struct ph__fleet_user *u, bool rate)
{
    const size_t before = l->n;

    put_statement(l, u, rate);
    if (l->n <= l->cap)
        return true;
    l->n = before;
    return false;
}

size_t ph_fleet_note(struct ph_fleet *f, char dst[static PH_FLEET_TEXT])
{
    struct ph__line l = {dst, 0, PH_FLEET_TEXT - 1};
    struct ph__fleet_user *u = ph__fleet_to_tell(f);

    for (; u && !u->tell_n && !u->tell_rate; u = ph__fleet_to_tell(f))
        ph__fleet_told(f); /* of whom there was but a rate */
    if (!u)
        return 0;
    /* A note is of one kind; who has both to tell is told twice, his rate first. */
    if (u->tell_rate) {
        ph__line_text(&l, "rate");
        for (; u && u->tell_rate && add_statement(&l, u, true); u = ph__fleet_next_to_tell(f, u))
            u->tell_rate = false;
    } else {
        ph__line_text(&l, "use");
        for (; u && u->tell_n && !u->tell_rate && add_statement(&l, u, false);
             u = ph__fleet_to_tell(f))
            ph__fleet_told(f);
    }
    dst[l.n] = '\0';
    return l.n;
}

static bool read_names(struct ph_slice *rest, uint8_t *realm, size_t *realm_n, uint8_t *user,
                       size_t *user_n)
{
    struct ph_slice word;

    return ph__word(rest, &word) && ph__word_bytes(word, realm, PH__FLEET_REALM_MAX, realm_n) &&
           ph__word(rest, &word) && ph__word_bytes(word, user, PH__FLEET_USER_MAX, user_n);
}

static bool read_number(struct ph_slice *rest, uint64_t max, uint64_t *v)
{
    struct ph_slice word;
    return ph__word(rest, &word) && ph__word_u64(word, max, v);
}

static int take_users(struct ph_fleet *f, uint8_t node, struct ph_slice rest, bool rate, ph_ns now)
{
    uint8_t realm[PH__FLEET_REALM_MAX], user[PH__FLEET_USER_MAX];
    size_t realm_n, user_n;
    uint64_t v[2];
    int err = 0;

    while (rest.n > 0) {
        if (!read_names(&rest, realm, &realm_n, user, &user_n) ||
            !read_number(&rest, rate ? UINT64_MAX / 2 : COUNT_MAX, &v[0]) ||
            (rate && !read_number(&rest, UINT64_MAX / 2, &v[1])))
            return PH_E_FORMAT;
        const struct ph_slice r = {realm, realm_n}, u = {user, user_n};
        const int e = rate ? ph__fleet_set_rate(f, node, r, u, v, now)
                           : ph__fleet_set_n(f, node, r, u, (uint32_t)v[0]);
        err = e ? e : err;
    }
    return err;
}

/* ---- orders ---- */

size_t ph_fleet_order(const struct ph_fleet_order *o, char dst[static PH_FLEET_TEXT])
{
    struct ph__line l = {dst, 0, PH_FLEET_TEXT - 1};

    if (o->realm.n > PH__FLEET_REALM_MAX || o->user.n > PH__FLEET_USER_MAX)
        return 0;
    if (o->type == PH_FLEET_END) {
        put_pair(&l, "end ", o->session);
    } else {
        ph__line_text(&l, "revoke ");
        ph__line_word(&l, o->realm);
        ph__line_text(&l, " ");
        ph__line_word(&l, o->user);
    }
    dst[l.n] = '\0';
    return l.n;
}

static int take_order(struct ph_fleet *f, enum ph_fleet_order_type type, struct ph_slice rest)
{
    if (f->n_orders == PH__FLEET_ORDERS)
        return PH_E_LIMIT;
    const unsigned i = (f->first_order + f->n_orders) % PH__FLEET_ORDERS;
    uint8_t realm[PH__FLEET_REALM_MAX], user[PH__FLEET_USER_MAX];

    f->order[i].type = type;
    f->order[i].realm_n = f->order[i].user_n = 0;
    if (type == PH_FLEET_END) {
        if (!read_number(&rest, UINT64_MAX, &f->order[i].session))
            return PH_E_FORMAT;
    } else {
        size_t realm_n, user_n;
        if (!read_names(&rest, realm, &realm_n, user, &user_n) || user_n == 0)
            return PH_E_FORMAT;
        memcpy(f->order[i].text, realm, realm_n);
        memcpy(f->order[i].text + realm_n, user, user_n);
        f->order[i].realm_n = realm_n;
        f->order[i].user_n = user_n;
    }
    f->n_orders++;
    return 0;
}

/* A node that knows nothing of us. */
static int take_hello(struct ph_fleet *f, struct ph_slice name)
{
    if (!ph_slice_eq(name, ph_str(f->c.node)))
        f->greeted = true;
    return 0;
}

static int take(struct ph_fleet *f, struct ph_slice name, struct ph_slice note, ph_ns now)
{
    struct ph_slice word;

    if (!ph__word(&note, &word))
        return PH_E_FORMAT;
    if (ph_slice_eq(word, ph_str("end")))
        return take_order(f, PH_FLEET_END, note);
    if (ph_slice_eq(word, ph_str("revoke")))
        return take_order(f, PH_FLEET_REVOKE, note);
    if (ph_slice_eq(word, ph_str("hello")))
        return take_hello(f, name);
    if (ph_slice_eq(word, ph_str("anew"))) {
        ph_fleet_forget(f, name);
        return 0;
    }
    const bool rate = ph_slice_eq(word, ph_str("rate"));
    if (!rate && !ph_slice_eq(word, ph_str("use")))
        return 0; /* of a later version */
    if (ph_slice_eq(name, ph_str(f->c.node)))
        return 0;
    const uint8_t node = ph__fleet_find(f, name);
    if (node == PH__FLEET_NONE || !f->node[node].alive)
        return 0; /* when it is heard of, all is read anew */
    return take_users(f, node, note, rate, now);
}

int ph_fleet_take(struct ph_fleet *f, struct ph_slice name, struct ph_slice note, ph_ns now)
{
    const int err = take(f, name, note, now);

    f->now = now;
    f->stats.notes++;
    f->stats.bad += err == PH_E_FORMAT;
    return err;
}

/* ---- what came of them ---- */

static bool node_event(struct ph_fleet *f, struct ph_fleet_ev *ev)
{
    if (f->greeted) {
        f->greeted = false;
        *ev = (struct ph_fleet_ev){.type = PH_FLEET_GREETED};
        return true;
    }
    for (unsigned i = 0; i < PH_FLEET_NODES; i++) {
        if (!f->node[i].joined)
            continue;
        f->node[i].joined = false;
        *ev = (struct ph_fleet_ev){.type = PH_FLEET_JOINED, .name = f->node[i].info.name};
        return true;
    }
    return false;
}

bool ph_fleet_event(struct ph_fleet *f, struct ph_fleet_ev *ev)
{
    if (node_event(f, ev) || ph__fleet_user_event(f, ev))
        return true;
    if (f->n_orders == 0)
        return false;
    const unsigned i = f->first_order;
    f->first_order = (i + 1) % PH__FLEET_ORDERS;
    f->n_orders--;
    *ev = (struct ph_fleet_ev){.type = PH_FLEET_ORDERED};
    ev->order.type = f->order[i].type;
    ev->order.session = f->order[i].session;
    ev->order.realm = (struct ph_slice){f->order[i].text, f->order[i].realm_n};
    ev->order.user = (struct ph_slice){f->order[i].text + f->order[i].realm_n, f->order[i].user_n};
    return true;
}
