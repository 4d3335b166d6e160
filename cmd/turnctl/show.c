/*
 * Answers as lines and tables.  Whatever is missing or of another type is shown as "-".
 */
#include "cmd/turnctl/show.h"

#include "cmd/turnctl/table.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { NAME = 14 };

static double number(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

char *ph_ctl_text_of(const json_t *o, const char *key)
{
    return ph_ctl_plain(json_string_value(json_object_get(o, key)), false);
}

/* "name          value" */
static void line(FILE *f, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void line(FILE *f, const char *name, const char *fmt, ...)
{
    va_list ap;
    fprintf(f, "%-*s", NAME, name);
    va_start(ap, fmt);
    vfprintf(f, fmt, ap);
    va_end(ap);
    fputc('\n', f);
}

static void text_line(FILE *f, const char *name, const json_t *o, const char *key)
{
    char *text = ph_ctl_text_of(o, key);
    line(f, name, "%s", text);
    free(text);
}

static const char *when(char dst[static 32], double unix_s)
{
    time_t t = (time_t)unix_s;
    struct tm tm;
    if (unix_s <= 0 || !localtime_r(&t, &tm) || !strftime(dst, 32, "%Y-%m-%d %H:%M:%S", &tm))
        strcpy(dst, "never");
    return dst;
}

/* "12.3k packets, 1.9M bytes" */
static void traffic_line(FILE *f, const char *name, const json_t *o, const char *packets,
                         const char *bytes)
{
    char p[16], b[16];
    line(f, name, "%s packets, %s bytes", ph_ctl_short(p, number(o, packets)),
         ph_ctl_short(b, number(o, bytes)));
}

/* ---- status ---- */

static void show_listeners(const json_t *list, FILE *f)
{
    size_t i;
    json_t *o;
    json_array_foreach(list, i, o)
    {
        char *protocol = ph_ctl_text_of(o, "protocol"), *address = ph_ctl_text_of(o, "address"),
             *external = ph_ctl_text_of(o, "external");
        bool known = json_is_string(json_object_get(o, "external"));
        line(f, "listening", "%s %s%s%s", protocol, address, known ? ", known as " : "",
             known ? external : "");
        free(protocol);
        free(address);
        free(external);
    }
}

static void show_certificates(const json_t *list, FILE *f)
{
    size_t i;
    json_t *o;
    char at[32];
    json_array_foreach(list, i, o)
    {
        char *names = ph_ctl_text_of(o, "names");
        double days = (number(o, "not_after") - (double)time(NULL)) / 86400;
        line(f, "certificate", "%s, %s %s (%.0f days)", names, days < 0 ? "ENDED" : "ends",
             when(at, number(o, "not_after")), days);
        free(names);
    }
}

static void show_adoption(const json_t *o, FILE *f)
{
    char at[32];
    char *node = ph_ctl_text_of(o, "node"), *error = ph_ctl_text_of(o, "error");
    if (json_is_true(json_object_get(o, "busy")))
        line(f, "adopting", "from node %s", node);
    else if (json_is_string(json_object_get(o, "error")))
        line(f, "adopted", "nothing from node %s: %s", node, error);
    else if (json_is_object(o))
        line(f, "adopted", "%.0f from node %s, %s (%.0f ms)", number(o, "restored"), node,
             when(at, number(o, "at")), number(o, "ms"));
    free(node);
    free(error);
}

static void show_store(const json_t *o, FILE *f)
{
    if (!json_is_object(o))
        return;
    char *node = ph_ctl_text_of(o, "node"), *claim = ph_ctl_text_of(o, "claim");
    bool up = json_is_true(json_object_get(o, "up"));
    line(f, "store", "node %s, %s, %s%s", node, claim, up ? "up" : "DOWN",
         json_is_true(json_object_get(o, "behind")) ? ", behind" : "");
    line(f, "restored",
         "%.0f at the start, in %.0f ms (%.0f expired, %.0f elsewhere, %.0f not had)",
         number(o, "restored"), number(o, "restored_ms"), number(o, "expired"),
         number(o, "elsewhere"), number(o, "not_restored"));
    if (number(o, "unsealed") > 0 || number(o, "foreign") > 0)
        line(f, "unreadable", "%.0f records of another fleet-key, %.0f of another version",
             number(o, "unsealed"), number(o, "foreign"));
    show_adoption(json_object_get(o, "adoption"), f);
    free(node);
    free(claim);
}

static void show_upgrade(const json_t *o, FILE *f)
{
    if (!json_is_object(o))
        return;
    const char *state = json_string_value(json_object_get(o, "state"));
    char at[32], *from = ph_ctl_text_of(o, "from"), *error = ph_ctl_text_of(o, "error");
    char *plain = ph_ctl_text_of(o, "state");
    if (state && strcmp(state, "done") == 0)
        line(f, "upgraded", "from %s, %s: %.0f sessions carried, %.0f lost, %.0f ms", from,
             when(at, number(o, "at")), number(o, "carried"), number(o, "lost"), number(o, "ms"));
    else if (state && strcmp(state, "failed") == 0)
        line(f, "upgrade", "failed, %s: %s", when(at, number(o, "at")), error);
    else
        line(f, "upgrade", "%s", plain);
    free(from);
    free(error);
    free(plain);
}

void ph_ctl_show_status(const json_t *o, FILE *f)
{
    const json_t *a = json_object_get(o, "allocations"), *c = json_object_get(o, "connections");
    char span[24], at[32];
    text_line(f, "state", o, "state");
    if (number(o, "drain_until") > 0)
        line(f, "drained by", "%s", when(at, number(o, "drain_until")));
    text_line(f, "version", o, "version");
    line(f, "process", "%.0f, up %s, %.0f workers", number(o, "pid"),
         ph_ctl_span(span, number(o, "uptime_s")), number(o, "workers"));
    text_line(f, "realm", o, "realm");
    line(f, "allocations", "%.0f (udp %.0f, tcp %.0f, tls %.0f, dtls %.0f; tcp relays %.0f)",
         number(a, "total"), number(a, "udp"), number(a, "tcp"), number(a, "tls"),
         number(a, "dtls"), number(a, "tcp_relay"));
    line(f, "connections", "tcp %.0f, tls %.0f, dtls %.0f", number(c, "tcp"), number(c, "tls"),
         number(c, "dtls"));
    traffic_line(f, "to peers", o, "to_peer_packets", "to_peer_bytes");
    traffic_line(f, "to clients", o, "to_client_packets", "to_client_bytes");
    line(f, "reloads", "%.0f, %.0f refused, the last one %s", number(o, "reloads"),
         number(o, "reload_failures"), when(at, number(o, "reloaded")));
    show_store(json_object_get(o, "store"), f);
    show_upgrade(json_object_get(o, "upgrade"), f);
    show_listeners(json_object_get(o, "listeners"), f);
    show_certificates(json_object_get(o, "certificates"), f);
}

/* ---- sessions ---- */

/* The elements of a list of texts, joined. */
static char *joined(const json_t *list)
{
    size_t i, n = 1;
    json_t *v;
    json_array_foreach(list, i, v) n += json_string_length(v) + 1;
    char *text = calloc(1, n);
    if (!text)
        abort();
    json_array_foreach(list, i, v)
    {
        if (*text)
            strcat(text, ",");
        strcat(text, json_is_string(v) ? json_string_value(v) : "");
    }
    return text;
}

static const char *text_or_dash(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));
    return text ? text : "-";
}

enum { WIDE = 110 }; /* columns that all of a session needs */

void ph_ctl_show_sessions(const json_t *o, FILE *f)
{
    const unsigned width = ph_ctl_terminal();
    const json_t *list = json_object_get(o, "sessions");
    const bool fleet = json_is_string(json_object_get(json_array_get(list, 0), "node"));
    struct ph_ctl_table t = {
        .columns = width && width < WIDE ? 7 : 9,
        .head = {"SESSION", "USER", "VIA", "CLIENT", "AGE", "UP", "DOWN", "LEFT", "RELAY"},
        .right = {[4] = true, [5] = true, [6] = true, [7] = true},
        .shrink = {[1] = true, [3] = true, [8] = true},
    };
    size_t i;
    json_t *s;
    json_array_foreach(list, i, s)
    {
        char id[128];
        snprintf(id, sizeof id, "%s%s%s", fleet ? text_or_dash(s, "node") : "", fleet ? "/" : "",
                 text_or_dash(s, "session"));
        char age[24], left[24], up[16], down[16], *relay = joined(json_object_get(s, "relay"));
        const char *const row[] = {
            id,
            json_string_value(json_object_get(s, "user")),
            json_string_value(json_object_get(s, "transport")),
            json_string_value(json_object_get(s, "client")),
            ph_ctl_span(age, number(s, "age_s")),
            ph_ctl_short(up, number(s, "to_peer_bytes")),
            ph_ctl_short(down, number(s, "to_client_bytes")),
            ph_ctl_span(left, number(s, "expires_in_s")),
            relay,
        };
        ph_ctl_row(&t, row);
        free(relay);
    }
    ph_ctl_print(&t, width, f);
    ph_ctl_table_fini(&t);
    double more = number(o, "matched") - (double)json_array_size(list);
    if (more > 0)
        fprintf(f, "and %.0f more: --limit 0 shows all\n", more);
}

/* ---- nodes ---- */

void ph_ctl_show_nodes(const json_t *o, FILE *f)
{
    struct ph_ctl_table t = {
        .columns = 7,
        .head = {"NODE", "STATE", "LOAD", "SESSIONS", "UP", "VERSION", "AT"},
        .right = {[2] = true, [3] = true, [4] = true},
        .shrink = {[6] = true},
    };
    size_t i;
    json_t *n;
    json_array_foreach(json_object_get(o, "nodes"), i, n)
    {
        char load[24], sessions[24], up[24], *at = joined(json_object_get(n, "at"));
        snprintf(load, sizeof load, "%.1f%%", number(n, "load") / 10);
        snprintf(sessions, sizeof sessions, "%.0f", number(n, "sessions"));
        const char *const row[] = {text_or_dash(n, "node"),
                                   text_or_dash(n, "state"),
                                   load,
                                   sessions,
                                   ph_ctl_span(up, number(n, "up_s")),
                                   text_or_dash(n, "version"),
                                   at};
        ph_ctl_row(&t, row);
        free(at);
    }
    ph_ctl_print(&t, ph_ctl_terminal(), f);
    ph_ctl_table_fini(&t);
    if (!json_is_true(json_object_get(o, "connected")))
        fputs("Redis does not answer: the others cannot be heard\n", f);
}

void ph_ctl_show_session(const json_t *o, FILE *f)
{
    char span[24], left[24];
    char *relay = joined(json_object_get(o, "relay")), *peers = joined(json_object_get(o, "peers"));
    char *plain_relay = ph_ctl_plain(relay, false), *plain_peers = ph_ctl_plain(peers, false);
    text_line(f, "session", o, "session");
    text_line(f, "user", o, "user");
    text_line(f, "realm", o, "realm");
    text_line(f, "transport", o, "transport");
    text_line(f, "client", o, "client");
    text_line(f, "server", o, "server");
    line(f, "relay", "%s", plain_relay);
    text_line(f, "relay is", o, "relay_transport");
    line(f, "mobile", "%s", json_is_true(json_object_get(o, "mobile")) ? "yes" : "no");
    line(f, "age", "%s, expires in %s unless refreshed", ph_ctl_span(span, number(o, "age_s")),
         ph_ctl_span(left, number(o, "expires_in_s")));
    traffic_line(f, "to peers", o, "to_peer_packets", "to_peer_bytes");
    traffic_line(f, "to client", o, "to_client_packets", "to_client_bytes");
    line(f, "dropped", "%.0f packets", number(o, "dropped"));
    line(f, "permissions", "%.0f, channels %.0f", number(o, "permissions"), number(o, "channels"));
    line(f, "peers", "%s", *plain_peers ? plain_peers : "none");
    free(relay);
    free(peers);
    free(plain_relay);
    free(plain_peers);
}

/* ---- the rest ---- */

void ph_ctl_show_counters(const json_t *o, bool all, FILE *f)
{
    const char *group, *name;
    json_t *members, *v;
    json_object_foreach((json_t *)(uintptr_t)o, group, members)
    {
        char *plain_group = ph_ctl_plain(group, false);
        json_object_foreach(members, name, v)
        {
            char *plain = ph_ctl_plain(name, false);
            if (all || json_integer_value(v))
                fprintf(f, "%20" JSON_INTEGER_FORMAT "  %s.%s\n", json_integer_value(v),
                        plain_group, plain);
            free(plain);
        }
        free(plain_group);
    }
}

void ph_ctl_show_json(const json_t *o, FILE *f)
{
    char *text = json_dumps(o, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_ENCODE_ANY);
    for (const char *p = text; p && *p; p++) {
        if (*p == 0x7F) /* the one control that JSON does not mind */
            fputs("\\u007f", f);
        else
            fputc(*p, f);
    }
    fputc('\n', f);
    free(text);
}
