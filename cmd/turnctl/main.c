/* turnctl: asks a running turnd, and tells it what to do. */
#include "cmd/turnctl/args.h"
#include "cmd/turnctl/order.h"
#include "cmd/turnctl/show.h"
#include "cmd/turnctl/table.h"

#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { DONE = PH_CTL_DONE, REFUSED = PH_CTL_REFUSED, WRONG = PH_CTL_WRONG };
enum { UNREACHABLE = PH_CTL_UNREACHABLE };
enum { TARGET = 8192, PAGE = 1000, POLL_MS = 500 };

/* ---- talking ---- */

static void say_unreachable(const struct ph_ctl_server *s, int err, const char *why)
{
    char text[PH_ADDR_TEXT];
    const char *advice =
        err == -EACCES || err == -EPERM ? "you may not open it: run this as root, or as the user "
                                          "or group that the file belongs to"
        : s->socket ? "is turnd running, and is this its api-socket? (-s PATH names another)"
                    : "is turnd running, and is this its api-listen? (--url names another)";
    fprintf(stderr, "turnctl: cannot reach turnd at %s: %s\n         %s\n",
            s->socket ? s->socket : ph_addr_text(&s->at, text), why, advice);
}

/* Prints what the server has against it. */
static void say_refused(const struct ph_ctl_answer *a, const json_t *o)
{
    char *text = ph_ctl_plain(json_string_value(json_object_get(o, "error")), true);
    if (json_is_string(json_object_get(o, "error")))
        fprintf(stderr, "turnctl: %s\n", text);
    else
        fprintf(stderr, "turnctl: the server answers with status %u\n", a->status);
    free(text);
}

int ph_ctl_ask(const struct ph_ctl_args *a, const char *method, const char *target,
               const char *body, json_t **o)
{
    struct ph_ctl_answer answer;
    char why[PH_CTL_WHY];
    *o = NULL;
    int err = ph_ctl_request(&a->server, method, target, body, &answer, why);
    if (err) {
        say_unreachable(&a->server, err, why);
        return UNREACHABLE;
    }
    *o = json_loadb(answer.body, answer.n, 0, NULL);
    int status = answer.status / 100 == 2 && json_is_object(*o) ? DONE : REFUSED;
    if (status == REFUSED)
        say_refused(&answer, *o);
    free(answer.body);
    return status;
}

/* Asks, and shows the answer with fn, or as JSON. */
static int ask_and_show(const struct ph_ctl_args *a, const char *method, const char *target,
                        const char *body, void (*fn)(const json_t *o, FILE *f))
{
    json_t *o;
    int status = ph_ctl_ask(a, method, target, body, &o);
    if (status == DONE) {
        if (a->json)
            ph_ctl_show_json(o, stdout);
        else
            fn(o, stdout);
    }
    json_decref(o);
    return status;
}

/* ---- sessions ---- */

/* Adds "&key=value"; false when it gets too long. */
static bool add_query(char target[static TARGET], const char *key, const char *value)
{
    size_t n = strlen(target);
    if (!value)
        return true;
    if (n + strlen(key) + 3 * strlen(value) + 3 > TARGET)
        return false;
    n += (size_t)snprintf(target + n, TARGET - n, "%c%s=", strchr(target, '?') ? '&' : '?', key);
    ph_ctl_encode(target + n, value);
    return true;
}

static int too_long(void)
{
    fputs("turnctl: that name is too long to be one\n", stderr);
    return WRONG;
}

/* One page behind the session `after` (NULL: the first). */
static int ask_page(const struct ph_ctl_args *a, uint32_t limit, const char *after, json_t **o)
{
    char target[TARGET] = "/v1/sessions", number[16];
    snprintf(number, sizeof number, "%u", limit);
    if (!add_query(target, "user", a->user) || !add_query(target, "realm", a->realm) ||
        !add_query(target, "client", a->client) || !add_query(target, "peer", a->peer) ||
        !add_query(target, "transport", a->transport) || !add_query(target, "after", after) ||
        !add_query(target, "fleet", a->all ? "1" : NULL) || !add_query(target, "limit", number))
        return too_long();
    return ph_ctl_ask(a, "GET", target, NULL, o);
}

/* Puts the sessions of page behind those of all (page is released), and what is left of it in its place. */
static json_t *append(json_t *all, json_t *page)
{
    if (!all)
        return page;
    json_array_extend(json_object_get(all, "sessions"), json_object_get(page, "sessions"));
    json_object_set(all, "next", json_object_get(page, "next"));
    json_decref(page);
    return all;
}

static int list_sessions(const struct ph_ctl_args *a)
{
    uint32_t left = a->limit ? a->limit : UINT32_MAX;
    json_t *all = NULL;
    int status;
    do {
        json_t *page;
        const char *after = json_string_value(json_object_get(all, "next"));
        status = ask_page(a, left < PAGE ? left : PAGE, after, &page);
        if (status != DONE) {
            json_decref(page);
            break;
        }
        size_t n = json_array_size(json_object_get(page, "sessions"));
        all = append(all, page);
        if (n == 0)
            break;
        left -= n < left ? (uint32_t)n : left;
    } while (left && json_is_string(json_object_get(all, "next")));
    if (status == DONE && a->json)
        ph_ctl_show_json(all, stdout);
    else if (status == DONE)
        ph_ctl_show_sessions(all, stdout);
    json_decref(all);
    return status;
}

/* "/v1/what/NAME" of the operand. */
static bool name_target(char target[static TARGET], const char *what, const char *name)
{
    int n = snprintf(target, TARGET, "/v1/%s/", what);
    if ((size_t)n + 3 * strlen(name) + 1 > TARGET)
        return false;
    ph_ctl_encode(target + n, name);
    return true;
}

static void show_ended(const json_t *o, FILE *f)
{
    if (json_is_string(json_object_get(o, "asked"))) {
        char *node = ph_ctl_text_of(o, "asked");
        fprintf(f, "asked node %s to end it: it does so within a second\n", node);
        free(node);
        return;
    }
    char *user = ph_ctl_text_of(o, "user"), *session = ph_ctl_text_of(o, "session");
    fprintf(f, "ended session %s of user %s\n", session, user);
    free(user);
    free(session);
}

static int one_session(const struct ph_ctl_args *a, bool end)
{
    char target[TARGET];
    if (!name_target(target, "sessions", a->operand))
        return too_long();
    return ask_and_show(a, end ? "DELETE" : "GET", target, NULL,
                        end ? show_ended : ph_ctl_show_session);
}

static void show_revoked(const json_t *o, FILE *f)
{
    if (json_is_string(json_object_get(o, "asked"))) {
        fputs("asked all nodes to end the sessions of this user: they do so within a second\n", f);
        return;
    }
    fprintf(f, "ended %" JSON_INTEGER_FORMAT " sessions\n",
            json_integer_value(json_object_get(o, "ended")));
}

static int revoke_user(const struct ph_ctl_args *a)
{
    char target[TARGET];
    if (!name_target(target, "users", a->operand) || !add_query(target, "realm", a->realm) ||
        !add_query(target, "fleet", a->all ? "1" : NULL))
        return too_long();
    return ask_and_show(a, "DELETE", target, NULL, show_revoked);
}

/* ---- numbers ---- */

static void show_all_counters(const json_t *o, FILE *f)
{
    ph_ctl_show_counters(o, true, f);
}

static void show_some_counters(const json_t *o, FILE *f)
{
    ph_ctl_show_counters(o, false, f);
}

static int metrics(const struct ph_ctl_args *a)
{
    struct ph_ctl_answer answer;
    char why[PH_CTL_WHY];
    int err = ph_ctl_request(&a->server, "GET", "/metrics", NULL, &answer, why);
    if (err) {
        say_unreachable(&a->server, err, why);
        return UNREACHABLE;
    }
    if (answer.status == 200) {
        char *text = ph_ctl_plain(answer.body, true);
        fputs(text, stdout);
        free(text);
    } else {
        json_t *o = json_loadb(answer.body, answer.n, 0, NULL);
        say_refused(&answer, o);
        json_decref(o);
    }
    free(answer.body);
    return answer.status == 200 ? DONE : REFUSED;
}

/* ---- changes ---- */

static void show_state(const json_t *o, FILE *f)
{
    char *state = ph_ctl_text_of(o, "state");
    fprintf(f, "turnd is %s\n", state);
    free(state);
}

static void show_reload(const json_t *o, FILE *f)
{
    char *text = ph_ctl_plain(json_string_value(json_object_get(o, "text")), true);
    fprintf(f, "%s%s", text, *text && text[strlen(text) - 1] == '\n' ? "" : "\n");
    free(text);
}

static void show_level(const json_t *o, FILE *f)
{
    char *level = ph_ctl_text_of(o, "level");
    fprintf(f, "%s\n", level);
    free(level);
}

/* Waits until nobody answers any more; refused when the server goes on after all. */
static int wait_for_end(const struct ph_ctl_args *a)
{
    double before = -1;
    for (;;) {
        struct ph_ctl_answer answer;
        char why[PH_CTL_WHY];
        int err = ph_ctl_request(&a->server, "GET", "/v1/status", NULL, &answer, why);
        if (err == -ECONNREFUSED || err == -ENOENT)
            return DONE;
        json_t *o = err ? NULL : json_loadb(answer.body, answer.n, 0, NULL);
        if (!err)
            free(answer.body);
        const char *state = json_string_value(json_object_get(o, "state"));
        double n = json_number_value(json_object_get(json_object_get(o, "allocations"), "total"));
        bool serves = state && strcmp(state, "serving") == 0;
        if (state && n != before && !a->json)
            fprintf(stderr, "%.0f allocations\n", n);
        before = n;
        json_decref(o);
        if (serves) {
            fputs("turnctl: somebody has told the server to go on\n", stderr);
            return REFUSED;
        }
        nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL);
    }
}

static int wind_down(const struct ph_ctl_args *a, const char *target, const char *key, bool given,
                     uint32_t seconds)
{
    char body[64] = "{}";
    if (given)
        snprintf(body, sizeof body, "{\"%s\":%u}", key, seconds);
    int status = ask_and_show(a, "POST", target, body, show_state);
    return status == DONE && a->wait ? wait_for_end(a) : status;
}

static int log_level(const struct ph_ctl_args *a)
{
    if (!a->operand)
        return ask_and_show(a, "GET", "/v1/log", NULL, show_level);
    json_t *o = json_pack("{s:s?}", "level", a->operand);
    char *body = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    if (!body) {
        fputs("turnctl: that is no level: error, warning, info or debug\n", stderr);
        return WRONG;
    }
    int status = ask_and_show(a, "PUT", "/v1/log", body, show_level);
    free(body);
    return status;
}

static int run(const struct ph_ctl_args *a)
{
    switch (a->verb) {
    case PH_CTL_STATUS:
        return ask_and_show(a, "GET", "/v1/status", NULL, ph_ctl_show_status);
    case PH_CTL_SESSIONS:
        return list_sessions(a);
    case PH_CTL_SESSION:
        return one_session(a, false);
    case PH_CTL_END:
        return one_session(a, true);
    case PH_CTL_REVOKE:
        return revoke_user(a);
    case PH_CTL_NODES:
        return ask_and_show(a, "GET", "/v1/nodes", NULL, ph_ctl_show_nodes);
    case PH_CTL_COUNTERS:
        return ask_and_show(a, "GET", "/v1/counters", NULL,
                            a->all ? show_all_counters : show_some_counters);
    case PH_CTL_METRICS:
        return metrics(a);
    case PH_CTL_DRAIN:
        return wind_down(a, "/v1/drain", "deadline", a->has_deadline, a->deadline_s);
    case PH_CTL_UNDRAIN:
        return ask_and_show(a, "DELETE", "/v1/drain", NULL, show_state);
    case PH_CTL_RELOAD:
        return ask_and_show(a, "POST", "/v1/reload", "{}", show_reload);
    case PH_CTL_STOP:
        return wind_down(a, "/v1/stop", "grace", a->has_grace, a->grace_s);
    case PH_CTL_LOG_LEVEL:
        return log_level(a);
    case PH_CTL_UPGRADE:
        return ph_ctl_upgrade(a);
    case PH_CTL_ADOPT:
        return ph_ctl_adopt(a);
    }
    return WRONG;
}

int main(int argc, char **argv)
{
    struct ph_ctl_args a;
    signal(SIGPIPE, SIG_IGN);
    enum ph_ctl_args_result result = ph_ctl_args_read(&a, argc, argv);
    if (result != PH_CTL_ARGS_RUN)
        return result == PH_CTL_ARGS_DONE ? DONE : WRONG;
    int status = run(&a);
    explicit_bzero(a.server.token, sizeof a.server.token);
    return fflush(stdout) == 0 ? status : REFUSED;
}
