/*
 * Targets and bodies of the JSON API: tables of paths, parameters and members.
 */
#include "cmd/turnd/admin_route.h"
#include "cmd/turnd/conf.h"
#include "cmd/turnd/words.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define WRONG(p, status, ...) ph_tadmin_wrong((p), (status), __VA_ARGS__)

/* Parameters of a target. */
enum {
    Q_USER = 1,
    Q_REALM = 2,
    Q_CLIENT = 4,
    Q_PEER = 8,
    Q_TRANSPORT = 16,
    Q_LIMIT = 32,
    Q_AFTER = 64,
    Q_TTL = 128,
    Q_FLEET = 256,
    Q_LIST = Q_USER | Q_REALM | Q_CLIENT | Q_PEER | Q_TRANSPORT | Q_LIMIT | Q_AFTER
};

enum { SEGMENTS = 3, ANY = 0xF, API = 1 << PH_DOOR_SOCKET | 1 << PH_DOOR_API | 1 << PH_DOOR_WEB };

/* "*" stands for a name or number.  Rows of one path are together. */
static const struct route {
    const char *segment[SEGMENTS]; /* {""}: the root */
    const char *method;
    uint8_t what, doors;
    uint16_t query;
    bool changes, body;
} routes[] = {
    {{""},
     "GET",
     PH_DO_HEALTH,
     1 << PH_DOOR_HTTP,
     0,
     false,
     false}, /* as coturn's port for metrics */
    {{"healthz"}, "GET", PH_DO_HEALTH, ANY, 0, false, false},
    {{"readyz"}, "GET", PH_DO_READY, ANY, 0, false, false},
    {{"v1", "status"}, "GET", PH_DO_STATUS, API, 0, false, false},
    {{"v1", "sessions"}, "GET", PH_DO_SESSIONS, API, Q_LIST | Q_FLEET, false, false},
    {{"v1", "sessions", "*"}, "GET", PH_DO_SESSION, API, 0, false, false},
    {{"v1", "sessions", "*"}, "DELETE", PH_DO_END, API, 0, true, false},
    {{"v1", "users", "*"}, "DELETE", PH_DO_REVOKE, API, Q_REALM | Q_FLEET, true, false},
    {{"v1", "nodes"}, "GET", PH_DO_NODES, API, 0, false, false},
    {{"v1", "counters"}, "GET", PH_DO_COUNTERS, API, 0, false, false},
    {{"v1", "drain"}, "POST", PH_DO_DRAIN, API, 0, true, true},
    {{"v1", "drain"}, "DELETE", PH_DO_UNDRAIN, API, 0, true, false},
    {{"v1", "reload"}, "POST", PH_DO_RELOAD, API, 0, true, true},
    {{"v1", "stop"}, "POST", PH_DO_STOP, API, 0, true, true},
    {{"v1", "upgrade"}, "POST", PH_DO_UPGRADE, 1 << PH_DOOR_SOCKET, 0, true, true},
    {{"v1", "adopt"}, "POST", PH_DO_ADOPT, API, 0, true, true},
    {{"v1", "log"}, "GET", PH_DO_LOG, API, 0, false, false},
    {{"v1", "log"}, "PUT", PH_DO_SET_LOG, API, 0, true, true},
    {{"v1", "credentials"}, "GET", PH_DO_CREDENTIALS, API, Q_TTL, false, false},
};

enum { ROUTES = sizeof routes / sizeof *routes };

/* ---- texts ---- */

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Percent-decodes.  False: a broken escape, a NUL, or too long. */
static bool decode(struct ph_tadmin_text *t, struct ph_slice s, bool plus)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = (char)s.p[i];
        if (c == '%') {
            int hi = i + 2 < s.n ? hex((char)s.p[i + 1]) : -1;
            int lo = hi >= 0 ? hex((char)s.p[i + 2]) : -1;
            if (lo < 0)
                return false;
            c = (char)(hi << 4 | lo);
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        if (!c || n + 1 >= sizeof t->b)
            return false;
        t->b[n++] = c;
    }
    t->b[n] = '\0';
    t->n = (uint16_t)n;
    t->given = true;
    return true;
}

/* A whole number of digits alone, at most hi. */
static bool read_number(const char *s, uint64_t lo, uint64_t hi, uint64_t *out)
{
    uint64_t v = 0;
    if (!*s)
        return false;
    for (; *s; s++) {
        unsigned digit = (unsigned)(*s - '0');
        if (digit > 9 || v > (UINT64_MAX - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    *out = v;
    return v >= lo && v <= hi;
}

/* ---- parameters ---- */

static unsigned take_addr(struct ph_addr *a, const char *key, const char *text,
                          struct ph_tadmin_problem *p)
{
    if (ph_addr_parse(a, text, strlen(text), 0) != 0)
        return WRONG(p, 400, "%s: give an IP address, with or without a port", key);
    return 0;
}

static unsigned take_transport(uint8_t *proto, const char *text, struct ph_tadmin_problem *p)
{
    *proto = ph_tword_to_transport(text);
    if (*proto != PH_PROTO_NONE)
        return 0;
    return WRONG(p, 400, "transport: give udp, tcp, tls or dtls");
}

static unsigned take_uint32(uint32_t *out, const char *key, const char *text, uint32_t lo,
                            uint32_t hi, struct ph_tadmin_problem *p)
{
    uint64_t v;
    if (!read_number(text, lo, hi, &v))
        return WRONG(p, 400, "%s: give a whole number from %u to %u", key, lo, hi);
    *out = (uint32_t)v;
    return 0;
}

static unsigned take_parameter(struct ph_tadmin_command *c, unsigned which,
                               const struct ph_tadmin_text *v, struct ph_tadmin_problem *p)
{
    switch (which) {
    case Q_USER:
        c->user = *v;
        return 0;
    case Q_REALM:
        c->realm = *v;
        return 0;
    case Q_CLIENT:
        return take_addr(&c->client, "client", v->b, p);
    case Q_PEER:
        return take_addr(&c->peer, "peer", v->b, p);
    case Q_FLEET:
        c->fleet = v->n == 1 && *v->b == '1';
        return c->fleet || (v->n == 1 && *v->b == '0') ? 0 : WRONG(p, 400, "fleet: give 0 or 1");
    case Q_TRANSPORT:
        return take_transport(&c->transport, v->b, p);
    case Q_LIMIT:
        return take_uint32(&c->limit, "limit", v->b, 1, PH_TADMIN_LIST_MAX, p);
    case Q_AFTER:
        return read_number(v->b, 0, UINT64_MAX, &c->after)
                   ? 0
                   : WRONG(p, 400, "after: give the number of a session");
    default:
        return take_uint32(&c->seconds, "ttl", v->b, 1, 86400, p);
    }
}

static const struct {
    const char *name;
    unsigned which;
} parameters[] = {{"user", Q_USER},           {"realm", Q_REALM}, {"client", Q_CLIENT},
                  {"peer", Q_PEER},           {"limit", Q_LIMIT}, {"after", Q_AFTER},
                  {"transport", Q_TRANSPORT}, {"ttl", Q_TTL},     {"fleet", Q_FLEET}};

enum { PARAMETERS = sizeof parameters / sizeof *parameters };

/* One "key=value". */
static unsigned read_parameter(struct ph_tadmin_command *c, const struct route *route,
                               struct ph_slice s, unsigned *seen, struct ph_tadmin_problem *p)
{
    const uint8_t *eq = s.n ? memchr(s.p, '=', s.n) : NULL;
    size_t key = eq ? (size_t)(eq - s.p) : s.n;
    struct ph_tadmin_text value;
    unsigned i = 0;
    while (i < PARAMETERS && !ph_slice_eq(ph_str(parameters[i].name), (struct ph_slice){s.p, key}))
        i++;
    if (i == PARAMETERS || !(route->query & parameters[i].which))
        return WRONG(p, 400, "a parameter that is not known here");
    if (*seen & parameters[i].which)
        return WRONG(p, 400, "%s: given twice", parameters[i].name);
    *seen |= parameters[i].which;
    if (!eq || !decode(&value, (struct ph_slice){eq + 1, s.n - key - 1}, true) || !value.n)
        return WRONG(p, 400, "%s: the value is missing, too long or badly encoded",
                     parameters[i].name);
    return take_parameter(c, parameters[i].which, &value, p);
}

static unsigned read_query(struct ph_tadmin_command *c, const struct route *route,
                           struct ph_slice query, struct ph_tadmin_problem *p)
{
    unsigned seen = 0, status = 0;
    while (query.n && !status) {
        const uint8_t *amp = memchr(query.p, '&', query.n);
        size_t n = amp ? (size_t)(amp - query.p) : query.n;
        if (n)
            status = read_parameter(c, route, (struct ph_slice){query.p, n}, &seen, p);
        n += amp != NULL;
        query = (struct ph_slice){query.p + n, query.n - n};
    }
    return status;
}

/* ---- paths ---- */

/* Takes a path apart at its slashes.  Returns how many segments, SEGMENTS + 1 for more than that. */
static unsigned split(struct ph_slice path, struct ph_slice segment[static SEGMENTS])
{
    unsigned n = 0;
    size_t at = 1; /* the first byte is a slash */
    while (at <= path.n) {
        const uint8_t *slash = at < path.n ? memchr(path.p + at, '/', path.n - at) : NULL;
        size_t end = slash ? (size_t)(slash - path.p) : path.n;
        if (n == SEGMENTS)
            return SEGMENTS + 1;
        segment[n++] = (struct ph_slice){path.p + at, end - at};
        at = end + 1;
    }
    return n;
}

static bool is_path(const struct route *r, const struct ph_slice *segment, unsigned n)
{
    for (unsigned i = 0; i < SEGMENTS; i++) {
        if (!r->segment[i])
            return i == n;
        if (i >= n || (*r->segment[i] != '*' && !ph_slice_eq(ph_str(r->segment[i]), segment[i])))
            return false;
    }
    return n == SEGMENTS;
}

static const char *methods(const struct route *first, const struct ph_slice *segment, unsigned n)
{
    static const char *const TEXT[] = {"GET, HEAD", "GET, HEAD, DELETE", "GET, HEAD, PUT",
                                       "DELETE",    "POST, DELETE",      "POST"};
    bool get = false, del = false, put = false, post = false;
    for (const struct route *r = first; r < routes + ROUTES && is_path(r, segment, n); r++) {
        get = get || r->method[0] == 'G';
        del = del || r->method[0] == 'D';
        post = post || strcmp(r->method, "POST") == 0;
        put = put || strcmp(r->method, "PUT") == 0;
    }
    return TEXT[get ? (del ? 1 : put ? 2 : 0) : post ? (del ? 4 : 5) : 3];
}

/* The number of a session, or "NODE/NUMBER". */
static bool read_session(struct ph_tadmin_command *c, const char *text)
{
    const char *slash = strchr(text, '/');
    const size_t n = slash ? (size_t)(slash - text) : 0;
    if (slash && (c->what != PH_DO_END || n == 0 || n >= sizeof c->node))
        return false;
    memcpy(c->node, text, n);
    c->node[n] = '\0';
    return read_number(slash ? slash + 1 : text, 0, UINT64_MAX, &c->session);
}

/* The "*" of a path. */
static unsigned read_name(struct ph_tadmin_command *c, struct ph_slice s,
                          struct ph_tadmin_problem *p)
{
    struct ph_tadmin_text text;
    if (!decode(&text, s, false) || !text.n)
        return WRONG(p, 400, "the last part of the path is missing, too long or badly encoded");
    if (c->what == PH_DO_REVOKE)
        c->user = text;
    else if (!read_session(c, text.b))
        return WRONG(p, 400, "the number of a session has digits alone");
    return 0;
}

static unsigned route_api(const struct ph_tadmin_request *r, const char *method,
                          struct ph_slice path, struct ph_slice query, struct ph_tadmin_command *c,
                          struct ph_tadmin_problem *p)
{
    struct ph_slice segment[SEGMENTS];
    unsigned n = split(path, segment), i = 0;
    while (i < ROUTES &&
           !(n <= SEGMENTS && is_path(&routes[i], segment, n) && routes[i].doors & 1 << r->door))
        i++;
    if (i == ROUTES)
        return WRONG(p, 404, "there is nothing here");
    const struct route *first = &routes[i], *found = first;
    while (found < routes + ROUTES && is_path(found, segment, n) &&
           strcmp(found->method, method) != 0)
        found++;
    bool known = found < routes + ROUTES && is_path(found, segment, n);
    unsigned status = ph_tadmin_guard(r, false, !known || found->changes, p);
    if (status)
        return status;
    if (!known) {
        p->allow = methods(first, segment, n);
        return WRONG(p, 405, "the method does not go with this path");
    }
    c->what = found->what;
    c->changes = found->changes;
    c->body = found->body;
    if (n == SEGMENTS)
        status = read_name(c, segment[SEGMENTS - 1], p);
    return status ? status : read_query(c, found, query, p);
}

static unsigned route_page(const struct ph_tadmin_request *r, const char *method,
                           struct ph_slice path, struct ph_tadmin_command *c,
                           struct ph_tadmin_problem *p)
{
    unsigned status = ph_tadmin_guard(r, true, false, p);
    if (status)
        return status;
    if (path.n >= sizeof c->page)
        return WRONG(p, 404, "there is nothing here");
    if (strcmp(method, "GET") != 0) {
        p->allow = "GET, HEAD";
        return WRONG(p, 405, "the method does not go with this path");
    }
    memcpy(c->page, path.p, path.n);
    c->page[path.n] = '\0';
    c->what = PH_DO_PAGE;
    return 0;
}

static bool begins(struct ph_slice s, const char *with)
{
    size_t n = strlen(with);
    return s.n >= n && memcmp(s.p, with, n) == 0;
}

unsigned ph_tadmin_route(const struct ph_tadmin_request *r, struct ph_tadmin_command *c,
                         struct ph_tadmin_problem *p)
{
    const char *method = strcmp(r->method, "HEAD") == 0 ? "GET" : r->method;
    const char *metrics = r->door == PH_DOOR_HTTP && r->metrics_path ? r->metrics_path : "/metrics";
    size_t n = strlen(r->target), path_n = strcspn(r->target, "?");
    *p = (struct ph_tadmin_problem){0};
    *c = (struct ph_tadmin_command){.limit = PH_TADMIN_LIST};
    if (n > PH_TADMIN_TARGET)
        return WRONG(p, 414, "the target is longer than %d bytes", PH_TADMIN_TARGET);
    if (*r->target != '/')
        return WRONG(p, 400, "the target must be a path");
    const struct ph_slice path = {(const uint8_t *)r->target, path_n};
    const struct ph_slice query = {path.p + path_n + (path_n < n), n - path_n - (path_n < n)};

    if (ph_slice_eq(path, ph_str(metrics))) { /* its parameters, if any, are for others */
        c->what = PH_DO_METRICS;
        if (strcmp(method, "GET") == 0)
            return ph_tadmin_guard(r, false, false, p);
        p->allow = "GET, HEAD";
        return WRONG(p, 405, "the method does not go with this path");
    }
    if (r->door == PH_DOOR_WEB && !begins(path, "/v1/") && !begins(path, "/healthz") &&
        !begins(path, "/readyz"))
        return route_page(r, method, path, c, p);
    unsigned status = route_api(r, method, path, query, c, p);
    if (!status && c->what == PH_DO_CREDENTIALS && !c->seconds)
        c->seconds = PH_TADMIN_TTL_S;
    return status;
}

/* ---- bodies ---- */

static unsigned read_seconds(uint32_t *out, const char *key, const json_t *v,
                             struct ph_tadmin_problem *p)
{
    if (!json_is_integer(v) || json_integer_value(v) < 0 ||
        json_integer_value(v) > PH_TADMIN_SPAN_S)
        return WRONG(p, 400, "%s: give a whole number of seconds from 0 to %d", key,
                     PH_TADMIN_SPAN_S);
    *out = (uint32_t)json_integer_value(v);
    return 0;
}

static unsigned read_program(struct ph_tadmin_text *t, const json_t *v, struct ph_tadmin_problem *p)
{
    const char *text = json_string_value(v);
    if (!text || *text != '/' || strlen(text) != json_string_length(v) ||
        strlen(text) >= sizeof t->b)
        return WRONG(p, 400, "program: give the whole path of a program");
    t->given = true;
    t->n = (uint16_t)strlen(text);
    memcpy(t->b, text, t->n + 1u);
    return 0;
}

static unsigned read_node(char node[static PH_TADMIN_NODE], const json_t *v,
                          struct ph_tadmin_problem *p)
{
    const char *text = json_string_value(v);
    if (!text || strlen(text) != json_string_length(v) || !ph_tconf_is_node(text))
        return WRONG(p, 400, "node: give the name of a node");
    memcpy(node, text, strlen(text) + 1);
    return 0;
}

static unsigned read_level(enum ph_log_level *out, const json_t *v, struct ph_tadmin_problem *p)
{
    for (unsigned i = PH_LOG_ERROR; json_is_string(v) && i <= PH_LOG_DEBUG; i++)
        if (strcmp(json_string_value(v), ph_tword_level((enum ph_log_level)i)) == 0) {
            *out = (enum ph_log_level)i;
            return 0;
        }
    return WRONG(p, 400, "level: give error, warning, info or debug");
}

static unsigned read_object(struct ph_tadmin_command *c, json_t *o, struct ph_tadmin_problem *p)
{
    const char *key;
    json_t *v;
    unsigned status = 0;
    json_object_foreach(o, key, v)
    {
        if (c->what == PH_DO_DRAIN && strcmp(key, "deadline") == 0)
            status = read_seconds(&c->seconds, "deadline", v, p);
        else if (c->what == PH_DO_STOP && strcmp(key, "grace") == 0)
            status = read_seconds(&c->seconds, "grace", v, p);
        else if (c->what == PH_DO_UPGRADE && strcmp(key, "program") == 0)
            status = read_program(&c->program, v, p);
        else if (c->what == PH_DO_ADOPT && strcmp(key, "node") == 0)
            status = read_node(c->node, v, p);
        else if (c->what == PH_DO_SET_LOG && strcmp(key, "level") == 0)
            status = read_level(&c->level, v, p);
        else
            status = WRONG(p, 400, "the body has a member that is not known here");
        if (status)
            return status;
    }
    if (c->what == PH_DO_SET_LOG && json_object_size(o) == 0)
        return WRONG(p, 400, "level: give error, warning, info or debug");
    if (c->what == PH_DO_ADOPT && !*c->node)
        return WRONG(p, 400, "node: give the name of a node");
    return 0;
}

unsigned ph_tadmin_body(struct ph_tadmin_command *c, struct ph_slice body,
                        struct ph_tadmin_problem *p)
{
    if (body.n > PH_TADMIN_BODY)
        return WRONG(p, 413, "the body is longer than %d bytes", PH_TADMIN_BODY);
    if (!c->body && body.n)
        return WRONG(p, 400, "a body is not wanted here");
    if (body.n == 0 && c->what != PH_DO_SET_LOG && c->what != PH_DO_ADOPT)
        return 0;
    json_t *o = body.n ? json_loadb((const char *)body.p, body.n, JSON_REJECT_DUPLICATES, NULL)
                       : json_object();
    unsigned status =
        json_is_object(o) ? read_object(c, o, p) : WRONG(p, 400, "the body must be a JSON object");
    json_decref(o);
    return status;
}
