/*
 * The JSON API: status, counters, and what an operator can do (ops.h does it, on the main thread).
 */
#include "cmd/turnd/admin_priv.h"
#include "cmd/turnd/words.h"
#include "stun/base/error.h"
#include "stun/uv/tls.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- values ---- */

static const char JSON_TYPE[] = "application/json";

void ph__tadmin_json(struct ph__tadmin_reply *out, unsigned status, json_t *v)
{
    static const char NO_MEMORY[] = "{\"error\":\"out of memory\"}\n";
    char *text = v ? json_dumps(v, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
    json_decref(v);
    *out = (struct ph__tadmin_reply){.status = 500,
                                     .type = JSON_TYPE,
                                     .body = (void *)(uintptr_t)NO_MEMORY,
                                     .n = sizeof NO_MEMORY - 1,
                                     .is_static = true};
    if (!text)
        return;
    size_t n = strlen(text);
    text[n] = '\n'; /* in place of the terminator: the length is told */
    out->status = status;
    out->body = text;
    out->n = n + 1;
    out->is_static = false;
}

void ph__tadmin_error(struct ph__tadmin_reply *out, unsigned status, const char *text)
{
    json_t *o = json_object();
    ph__tadmin_set_text(o, "error", ph_str(text));
    ph__tadmin_json(out, status, o);
}

/* How many bytes at p (n > 0 left) are one character that JSON can hold; 0: none. */
static size_t character(const uint8_t *p, size_t n)
{
    size_t k = p[0] == 0     ? 0
               : p[0] < 0x80 ? 1
               : p[0] < 0xC2 ? 0
               : p[0] < 0xE0 ? 2
               : p[0] < 0xF0 ? 3
                             : 4;
    if (k <= 1)
        return k;
    json_t *s = k <= n ? json_stringn((const char *)p, k) : NULL; /* which checks it */
    json_decref(s);
    return s ? k : 0;
}

void ph__tadmin_set_text(json_t *o, const char *key, struct ph_slice s)
{
    static const char HEX[] = "0123456789abcdef";
    json_t *plain =
        s.n == 0 || !memchr(s.p, 0, s.n) ? json_stringn(s.n ? (const char *)s.p : "", s.n) : NULL;
    if (plain) {
        json_object_set_new(o, key, plain);
        return;
    }
    char name[64], *text = malloc(s.n * 4 + 1), *hex = malloc(s.n * 2 + 1);
    size_t n = 0;
    for (size_t i = 0, k; text && hex && i < s.n; i += k) {
        k = character(s.p + i, s.n - i);
        if (!k || s.p[i] == '\\') {
            n += (size_t)sprintf(text + n, k ? "\\\\" : "\\x%02x", s.p[i]);
            k = 1;
        } else {
            memcpy(text + n, s.p + i, k);
            n += k;
        }
    }
    for (size_t i = 0; text && hex && i < s.n; i++) {
        hex[2 * i] = HEX[s.p[i] >> 4];
        hex[2 * i + 1] = HEX[s.p[i] & 15];
    }
    if (text && hex) {
        snprintf(name, sizeof name, "%s_hex", key);
        json_object_set_new(o, key, json_stringn(text, n));
        json_object_set_new(o, name, json_stringn(hex, s.n * 2));
    }
    free(text);
    free(hex);
}

json_t *ph__tadmin_addr(const struct ph_addr *a)
{
    char text[PH_ADDR_TEXT];
    return a->family == PH_AF_NONE ? json_null() : json_string(ph_addr_text(a, text));
}

void ph__tadmin_set_uint(json_t *o, const char *key, uint64_t v)
{
    json_object_set_new(o, key, json_integer((json_int_t)(v > INT64_MAX ? INT64_MAX : v)));
}

void ph__tadmin_set_word(json_t *o, const char *key, const char *word)
{
    json_object_set_new(o, key, json_string(word));
}

/* A time in seconds since 1970, null for none. */
void ph__tadmin_set_time(json_t *o, const char *key, int64_t at)
{
    json_object_set_new(o, key, at ? json_integer(at) : json_null());
}

/* ---- what the main thread alone may touch ---- */

enum { CERTS = PH_TLS_CERTS };

struct view {
    struct ph_tadmin *a;
    const struct ph_tadmin_command *c;
    char realm[PH_TADMIN_TEXT];
    struct ph_tls_info cert[CERTS];
    unsigned n_certs;
    struct ph__tadmin_state *state;
    unsigned count;
    bool ok;
    char text[PH_TOPS_TEXT];
};

static void look(void *ctx)
{
    struct view *v = ctx;
    const struct ph_trun *r = v->a->ops->run;
    snprintf(v->realm, sizeof v->realm, "%s", r->conf && r->conf->realm ? r->conf->realm : "");
    while (r->tls && v->n_certs < CERTS && ph_tls_info(r->tls, v->n_certs, &v->cert[v->n_certs]))
        v->n_certs++;
    v->state = ph__tadmin_state_look(v->a->ops);
    v->ok = true;
}

static void operate(void *ctx)
{
    struct view *v = ctx;
    const struct ph_tadmin_command *c = v->c;
    struct ph_tops *o = v->a->ops;
    v->ok = true;
    switch (c->what) {
    case PH_DO_DRAIN:
    case PH_DO_UNDRAIN:
        ph_tops_drain(o, c->what == PH_DO_DRAIN, c->seconds);
        break;
    case PH_DO_STOP:
        ph_tops_stop(o, c->seconds);
        break;
    case PH_DO_RELOAD:
        v->ok = ph_tops_reload(o, v->text);
        break;
    case PH_DO_SET_LOG:
        ph_tops_log_level(o, c->level);
        break;
    case PH_DO_REVOKE:
        v->count = ph_tops_revoke(o, c->realm.given ? c->realm.b : NULL, c->user.b);
        break;
    default:
        break;
    }
}

/* Has fn(v) run on the main thread.  False: the server is ending, and that is the answer. */
static bool on_main(struct view *v, void (*fn)(void *ctx), struct ph__tadmin_reply *out)
{
    if (ph_tops_call(v->a->ops, fn, v))
        return true;
    ph__tadmin_error(out, 503, "the server is ending");
    return false;
}

/* ---- status ---- */

static json_t *transports(const struct ph_turn_uv_stats *s)
{
    static const char *const NAMES[] = {"udp", "tcp", "tls", "dtls", "tcp_relay"};
    json_t *o = json_object();
    ph__tadmin_set_uint(o, "total", s->allocations_now);
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
        ph__tadmin_set_uint(o, NAMES[i], s->allocations_by[i]);
    return o;
}

static json_t *connections(const struct ph_turn_uv_stats *s)
{
    json_t *o = json_object();
    ph__tadmin_set_uint(o, "tcp", s->stream.now - s->stream.tls_now);
    ph__tadmin_set_uint(o, "tls", s->stream.tls_now);
    ph__tadmin_set_uint(o, "dtls", s->dtls.now);
    return o;
}

static json_t *listeners(const struct ph_trun *r)
{
    json_t *v = json_array();
    for (unsigned i = 0; i < r->plan.n_listeners; i++) {
        struct ph_addr at = r->plan.listener[i];
        json_t *o = json_object();
        ph_turn_uv_local(r->server, i, &at);
        ph__tadmin_set_word(o, "protocol", at.proto == PH_UDP ? "udp" : "tcp");
        ph__tadmin_set_word(o, "speaks", ph_tplan_speaks(&r->plan, i));
        json_object_set_new(o, "address", ph__tadmin_addr(&at));
        json_object_set_new(o, "external", ph__tadmin_addr(&r->plan.listener_external[i]));
        json_array_append_new(v, o);
    }
    return v;
}

static json_t *certificates(const struct view *v)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < v->n_certs; i++) {
        json_t *o = json_object();
        ph__tadmin_set_text(o, "names", ph_str(v->cert[i].names));
        ph__tadmin_set_time(o, "not_before", v->cert[i].not_before_s);
        ph__tadmin_set_time(o, "not_after", v->cert[i].not_after_s);
        ph__tadmin_set_text(o, "fingerprint", ph_str(v->cert[i].fingerprint));
        json_array_append_new(list, o);
    }
    return list;
}

static void give_status(struct view *v, struct ph__tadmin_reply *out)
{
    struct ph_tops *o = v->a->ops;
    struct ph_turn_uv_stats s;
    if (!on_main(v, look, out))
        return;
    ph_turn_uv_stats(o->run->server, UINT32_MAX, &s);
    json_t *j = json_object();
    ph__tadmin_set_word(j, "state", ph_tword_state(o->state));
    ph__tadmin_set_word(j, "version", PH_VERSION);
    ph__tadmin_set_uint(j, "pid", (uint64_t)getpid());
    ph__tadmin_set_time(j, "started", o->started_s);
    ph__tadmin_set_uint(j, "uptime_s",
                        (uint64_t)(time(NULL) > o->started_s ? time(NULL) - o->started_s : 0));
    ph__tadmin_set_text(j, "realm", ph_str(v->realm));
    ph__tadmin_set_uint(j, "workers", ph_turn_uv_workers(o->run->server));
    json_object_set_new(j, "allocations", transports(&s));
    json_object_set_new(j, "connections", connections(&s));
    ph__tadmin_set_uint(j, "to_peer_packets", s.turn.to_peer_packets);
    ph__tadmin_set_uint(j, "to_peer_bytes", s.turn.to_peer_bytes);
    ph__tadmin_set_uint(j, "to_client_packets", s.turn.to_client_packets);
    ph__tadmin_set_uint(j, "to_client_bytes", s.turn.to_client_bytes);
    ph__tadmin_set_time(j, "drain_until", o->drain_until_s);
    ph__tadmin_set_uint(j, "reloads", o->reloads);
    ph__tadmin_set_uint(j, "reload_failures", o->reload_failures);
    ph__tadmin_set_time(j, "reloaded", o->reloaded_s);
    json_object_set_new(j, "listeners", listeners(o->run));
    json_object_set_new(j, "certificates", certificates(v));
    ph__tadmin_state_tell(v->state, j, &s.store);
    ph__tadmin_json(out, 200, j);
}

/* ---- counters ---- */

static void give_counters(struct ph_tadmin *a, struct ph__tadmin_reply *out)
{
    struct ph_turn_uv_stats s;
    json_t *all = json_object(), *o;
    ph_turn_uv_stats(a->ops->run->server, UINT32_MAX, &s);
#define GROUP(key)       json_object_set_new(all, key, o = json_object())
#define PH_X(name, text) ph__tadmin_set_uint(o, #name, from->name);
    GROUP("turn");
    {
        const struct ph_turnd_stats *from = &s.turn;
        PH_TURND_COUNTERS(PH_X)
    }
    GROUP("stun");
    {
        const struct ph_stund_stats *from = &s.stun;
        PH_STUND_COUNTERS(PH_X)
    }
    GROUP("udp");
    {
        const struct ph_batch_stats *from = &s.io;
        PH_BATCH_COUNTERS(PH_X)
    }
    GROUP("stream");
    {
        const struct ph_stream_stats *from = &s.stream;
        PH_STREAM_COUNTERS(PH_X)
    }
    GROUP("dtls");
    {
        const struct ph_dtls_stats *from = &s.dtls;
        PH_DTLS_COUNTERS(PH_X)
    }
    GROUP("userdb");
    {
        const struct ph_userdb_stats *from = &s.userdb;
        PH_USERDB_COUNTERS(PH_X)
    }
    GROUP("store");
    {
        const struct ph_store_stats *from = &s.store;
        PH_STORE_COUNTERS(PH_X)
    }
#undef PH_X
    GROUP("shell");
#undef GROUP
    ph__tadmin_set_uint(o, "relay_opened", s.relay_opened);
    ph__tadmin_set_uint(o, "relay_open_failed", s.relay_open_failed);
    ph__tadmin_set_uint(o, "icmp_errors", s.icmp_errors);
    ph__tadmin_set_uint(o, "park_full", s.park_full);
    ph__tadmin_set_uint(o, "moved_in", s.moved_in);
    ph__tadmin_set_uint(o, "moved_out", s.moved_out);
    ph__tadmin_json(out, 200, all);
}

/* ---- changes ---- */

static void give_result(struct view *v, struct ph__tadmin_reply *out)
{
    if (!on_main(v, operate, out))
        return;
    if (!v->ok) {
        ph__tadmin_error(out, 422, v->text);
        return;
    }
    json_t *o = json_object();
    switch (v->c->what) {
    case PH_DO_RELOAD:
        ph__tadmin_set_text(o, "text", ph_str(v->text));
        break;
    case PH_DO_REVOKE:
        ph__tadmin_set_uint(o, "ended", v->count);
        break;
    case PH_DO_LOG:
    case PH_DO_SET_LOG:
        ph__tadmin_set_word(o, "level", ph_tword_level(v->a->ops->log->log.level));
        break;
    default:
        ph__tadmin_set_word(o, "state", ph_tword_state(v->a->ops->state));
        ph__tadmin_set_time(o, "drain_until", v->a->ops->drain_until_s);
        break;
    }
    ph__tadmin_json(out, v->c->what == PH_DO_STOP ? 202 : 200, o);
}

/* ---- the rest ---- */

static void give_text(struct ph__tadmin_reply *out, unsigned status, const char *text)
{
    *out = (struct ph__tadmin_reply){.status = status,
                                     .type = "text/plain; charset=utf-8",
                                     .body = (void *)(uintptr_t)text,
                                     .n = strlen(text),
                                     .is_static = true};
}

static void give_ready(struct ph_tadmin *a, struct ph__tadmin_reply *out)
{
    int state = a->ops->state;
    if (state == PH_TOPS_SERVING)
        give_text(out, 200, "ready\n");
    else
        give_text(out, 503,
                  state == PH_TOPS_DRAINING   ? "draining\n"
                  : state == PH_TOPS_STARTING ? "starting\n"
                                              : "stopping\n");
}

static void give_metrics(struct ph_tadmin *a, struct ph__tadmin_reply *out)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    if (f)
        ph_tmetrics_write(a->metrics, a->ops, a->coturn_names, f);
    if (!f || fclose(f) != 0) {
        free(text);
        ph__tadmin_json(out, 500, NULL);
        return;
    }
    *out = (struct ph__tadmin_reply){
        .status = 200, .type = "text/plain; version=0.0.4; charset=utf-8", .body = text, .n = n};
}

void ph__tadmin_do(struct ph_tadmin *a, const struct ph_tadmin_command *c,
                   struct ph__tadmin_reply *out)
{
    struct view *v;
    switch (c->what) {
    case PH_DO_HEALTH:
        give_text(out, 200, "ok\n");
        return;
    case PH_DO_READY:
        give_ready(a, out);
        return;
    case PH_DO_PAGE:
        ph__tadmin_page(c, out);
        return;
    default: /* needs a server to ask */
        if (a->ops->state != PH_TOPS_STARTING)
            break;
        ph__tadmin_error(out, 503, "the server is starting");
        return;
    }
    switch (c->what) {
    case PH_DO_METRICS:
        give_metrics(a, out);
        return;
    case PH_DO_SESSIONS:
        (c->fleet ? ph__tadmin_fleet_sessions : ph__tadmin_sessions)(a, c, out);
        return;
    case PH_DO_NODES:
        ph__tadmin_nodes(a, out);
        return;
    case PH_DO_SESSION:
        ph__tadmin_session(a, c, out);
        return;
    case PH_DO_END:
        (*c->node ? ph__tadmin_fleet_order : ph__tadmin_end)(a, c, out);
        return;
    case PH_DO_COUNTERS:
        give_counters(a, out);
        return;
    case PH_DO_CREDENTIALS:
        ph__tadmin_credentials(a, c, out);
        return;
    case PH_DO_UPGRADE:
        ph__tadmin_upgrade(a, c, out);
        return;
    case PH_DO_ADOPT:
        ph__tadmin_adopt(a, c, out);
        return;
    default:
        break;
    }
    if (c->what == PH_DO_REVOKE && c->fleet) {
        ph__tadmin_fleet_order(a, c, out);
        return;
    }
    v = calloc(1, sizeof *v);
    if (!v) {
        ph__tadmin_json(out, 500, NULL);
        return;
    }
    v->a = a;
    v->c = c;
    if (c->what == PH_DO_STATUS)
        give_status(v, out);
    else
        give_result(v, out);
    free(v);
}
