/*
 * Upgrade and adopt: asked for, then watched in the status, which nobody answers while programs change places.
 */
#include "cmd/turnctl/order.h"

#include "cmd/turnctl/show.h"
#include "cmd/turnctl/table.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { POLL_MS = 50, CHECK_MS = 25000 /* two checks of ten seconds */, OUTCOME_MS = 15000 };

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* The body {key: text}, to be freed; NULL: the text is no UTF-8. */
static char *body_of(const char *key, const char *text)
{
    json_t *o = json_object();
    if (text)
        json_object_set_new(o, key, json_string(text));
    char *body = !text || json_object_get(o, key) ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    return body;
}

/* The status as it is now; NULL: nobody has answered. */
static json_t *status_now(const struct ph_ctl_args *a)
{
    struct ph_ctl_answer answer;
    char why[PH_CTL_WHY];
    if (ph_ctl_request(&a->server, "GET", "/v1/status", NULL, &answer, why) != 0)
        return NULL;
    json_t *o = answer.status == 200 ? json_loadb(answer.body, answer.n, 0, NULL) : NULL;
    free(answer.body);
    return o;
}

static const char *word(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));
    return text ? text : "";
}

static double number(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

static void pause_a_little(void)
{
    nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL);
}

static void complain(const char *what, const json_t *o)
{
    char *error = ph_ctl_text_of(o, "error");
    fprintf(stderr, "turnctl: %s: %s\n", what, error);
    free(error);
}

/* ---- upgrade ---- */

static int show_upgrade(const struct ph_ctl_args *a, const json_t *status, const json_t *u)
{
    bool done = strcmp(word(u, "state"), "done") == 0;
    if (a->json)
        ph_ctl_show_json(u, stdout);
    else if (done)
        printf("upgraded: from %s to %s, %.0f sessions carried, %.0f lost, %.0f ms\n",
               word(u, "from"), word(status, "version"), number(u, "carried"), number(u, "lost"),
               number(u, "ms"));
    else
        complain("the upgrade has failed", u);
    return done ? PH_CTL_DONE : PH_CTL_REFUSED;
}

/* Waits for the outcome of upgrade `id`. */
static int watch_upgrade(const struct ph_ctl_args *a, double id)
{
    int64_t until = now_ms() + CHECK_MS;
    bool left = false;
    while (now_ms() < until) {
        json_t *status = status_now(a), *u = json_object_get(status, "upgrade");
        bool ours = number(u, "id") == id;
        const char *state = ours ? word(u, "state") : "";
        int result = -1;
        if (strcmp(state, "done") == 0 || strcmp(state, "failed") == 0)
            result = show_upgrade(a, status, u);
        else if (!left && strcmp(state, "checking") != 0) {
            left = true;
            until = now_ms() + OUTCOME_MS;
        }
        json_decref(status);
        if (result >= 0)
            return result;
        pause_a_little();
    }
    fputs("turnctl: the outcome of the upgrade cannot be told yet: see turnctl status, and the "
          "server's log\n",
          stderr);
    return PH_CTL_REFUSED;
}

int ph_ctl_upgrade(const struct ph_ctl_args *a)
{
    char *body = body_of("program", a->operand);
    json_t *o = NULL;
    if (!body) {
        fputs("turnctl: upgrade: that is no path\n", stderr);
        return PH_CTL_WRONG;
    }
    int status = ph_ctl_ask(a, "POST", "/v1/upgrade", body, &o);
    free(body);
    if (status == PH_CTL_DONE && !a->json) {
        char *program = ph_ctl_text_of(o, "program");
        printf("%s is to go on with %.0f sessions\n", program, number(o, "carried"));
        if (number(o, "lost") > 0)
            printf("%.0f sessions over TCP, TLS or DTLS have no mobility ticket: they end\n",
                   number(o, "lost"));
        fflush(stdout);
        free(program);
    }
    double id = number(o, "id");
    json_decref(o);
    return status == PH_CTL_DONE ? watch_upgrade(a, id) : status;
}

/* ---- adopt ---- */

static int show_adoption(const struct ph_ctl_args *a, const json_t *x)
{
    bool failed = json_is_string(json_object_get(x, "error"));
    if (a->json)
        ph_ctl_show_json(x, stdout);
    else if (failed)
        complain("the adoption has failed", x);
    else
        printf("took over %.0f sessions; %.0f do not fit here\n", number(x, "restored"),
               number(x, "left"));
    return failed ? PH_CTL_REFUSED : PH_CTL_DONE;
}

int ph_ctl_adopt(const struct ph_ctl_args *a)
{
    char *body = body_of("node", a->operand);
    json_t *o = NULL;
    if (!body) {
        fputs("turnctl: adopt: that is no name of a node\n", stderr);
        return PH_CTL_WRONG;
    }
    int result = ph_ctl_ask(a, "POST", "/v1/adopt", body, &o);
    free(body);
    json_decref(o);
    const int64_t until = now_ms() + OUTCOME_MS;
    for (bool busy = true; result == PH_CTL_DONE && busy && now_ms() < until;) {
        json_t *status = status_now(a);
        json_t *x = json_object_get(json_object_get(status, "store"), "adoption");
        busy = !json_is_object(x) || strcmp(word(x, "node"), a->operand) != 0 ||
               json_is_true(json_object_get(x, "busy"));
        if (!busy)
            result = show_adoption(a, x);
        json_decref(status);
        if (busy)
            pause_a_little();
        else
            return result;
    }
    if (result == PH_CTL_DONE)
        fputs("turnctl: the adoption goes on: see turnctl status\n", stderr);
    return result == PH_CTL_DONE ? PH_CTL_REFUSED : result;
}
