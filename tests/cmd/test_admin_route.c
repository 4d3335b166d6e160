/* What turnd's HTTP makes of targets, headers and bodies. */
#ifdef PH_HAVE_HTTP
#include "cmd/turnd/admin_route.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

static struct ph_tadmin_command c;
static struct ph_tadmin_problem p;

static unsigned ask(enum ph_tadmin_door door, const char *method, const char *target)
{
    return ph_tadmin_route(&(struct ph_tadmin_request){.door = door,
                                                       .method = method,
                                                       .target = target,
                                                       .host = "localhost:8080",
                                                       .type = "application/json"},
                           &c, &p);
}

static unsigned body(const char *text)
{
    return ph_tadmin_body(&c, ph_str(text), &p);
}

Test(admin_route, knows_every_path_of_the_api)
{
    static const struct {
        const char *method, *target;
        enum ph_tadmin_what what;
        bool changes;
    } rows[] = {
        {"GET", "/healthz", PH_DO_HEALTH, false},
        {"GET", "/readyz", PH_DO_READY, false},
        {"GET", "/metrics", PH_DO_METRICS, false},
        {"HEAD", "/metrics?name[]=x", PH_DO_METRICS, false},
        {"GET", "/v1/status", PH_DO_STATUS, false},
        {"GET", "/v1/sessions", PH_DO_SESSIONS, false},
        {"GET", "/v1/sessions/000000000000000007", PH_DO_SESSION, false},
        {"DELETE", "/v1/sessions/7", PH_DO_END, true},
        {"DELETE", "/v1/users/alice", PH_DO_REVOKE, true},
        {"GET", "/v1/counters", PH_DO_COUNTERS, false},
        {"POST", "/v1/drain", PH_DO_DRAIN, true},
        {"DELETE", "/v1/drain", PH_DO_UNDRAIN, true},
        {"POST", "/v1/reload", PH_DO_RELOAD, true},
        {"POST", "/v1/stop", PH_DO_STOP, true},
        {"GET", "/v1/log", PH_DO_LOG, false},
        {"PUT", "/v1/log", PH_DO_SET_LOG, true},
        {"GET", "/v1/credentials?ttl=60", PH_DO_CREDENTIALS, false},
        {"GET", "/v1/nodes", PH_DO_NODES, false},
        {"POST", "/v1/adopt", PH_DO_ADOPT, true},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        for (int door = PH_DOOR_SOCKET; door <= PH_DOOR_WEB; door += PH_DOOR_WEB - PH_DOOR_SOCKET) {
            cr_assert_eq(ask((enum ph_tadmin_door)door, rows[i].method, rows[i].target), 0,
                         "%s %s: %s", rows[i].method, rows[i].target, p.text);
            cr_assert_eq(c.what, rows[i].what, "%s", rows[i].target);
            cr_assert_eq(c.changes, rows[i].changes, "%s", rows[i].target);
        }
}

Test(admin_route, gives_the_http_door_health_and_metrics_alone)
{
    static const char *const ours[] = {"/", "/healthz", "/readyz"};
    for (size_t i = 0; i < COUNT(ours); i++)
        cr_assert_eq(ask(PH_DOOR_HTTP, "GET", ours[i]), 0, "%s", ours[i]);
    static const char *const others[] = {"/v1/status", "/v1/sessions", "/v1/credentials",
                                         "/index.html", "/v1/users/x"};
    for (size_t i = 0; i < COUNT(others); i++)
        cr_assert_eq(ask(PH_DOOR_HTTP, "GET", others[i]), 404, "%s", others[i]);

    struct ph_tadmin_request r = {
        .door = PH_DOOR_HTTP, .method = "GET", .target = "/m", .metrics_path = "/m"};
    cr_assert_eq(ph_tadmin_route(&r, &c, &p), 0);
    cr_assert_eq(c.what, PH_DO_METRICS);
    r.target = "/metrics";
    cr_assert_eq(ph_tadmin_route(&r, &c, &p), 404, "only where it was put");
}

/* It names a program that is to be executed: only for who may write to a file of ours, whatever token he has. */
Test(admin_route, upgrades_are_for_the_socket_alone)
{
    static const enum ph_tadmin_door others[] = {PH_DOOR_HTTP, PH_DOOR_API, PH_DOOR_WEB};
    for (size_t i = 0; i < COUNT(others); i++)
        cr_expect_eq(ask(others[i], "POST", "/v1/upgrade"), 404, "door %d: %s", others[i], p.text);
    cr_assert_eq(ask(PH_DOOR_SOCKET, "POST", "/v1/upgrade"), 0);
    cr_expect_eq(c.what, PH_DO_UPGRADE);
    cr_expect(c.changes);
    cr_expect_eq(body("{\"program\": \"/usr/bin/turnd\"}"), 0);
    cr_expect_str_eq(c.program.b, "/usr/bin/turnd");
    cr_expect_eq(body("{\"program\": \"turnd\"}"), 400, "not an absolute path");
}

Test(admin_route, says_what_is_wrong_with_a_target)
{
    static const struct {
        const char *method, *target;
        unsigned status;
        const char *allow;
    } rows[] = {
        {"GET", "/", 404, NULL},
        {"GET", "/v1", 404, NULL},
        {"GET", "/v1/", 404, NULL},
        {"GET", "/v1/status/", 404, NULL},
        {"GET", "//v1/status", 404, NULL},
        {"GET", "/v1/sessions/7/x", 404, NULL},
        {"GET", "/v1/../v1/status", 404, NULL},
        {"GET", "/v1%2Fstatus", 404, NULL},
        {"GET", "*", 400, NULL},
        {"GET", "http://x/v1/status", 400, NULL},
        {"POST", "/v1/status", 405, "GET, HEAD"},
        {"PUT", "/v1/drain", 405, "POST, DELETE"},
        {"DELETE", "/v1/log", 405, "GET, HEAD, PUT"},
        {"POST", "/v1/sessions/7", 405, "GET, HEAD, DELETE"},
        {"GET", "/v1/users/alice", 405, "DELETE"},
        {"GET", "/v1/stop", 405, "POST"},
        {"POST", "/metrics", 405, "GET, HEAD"},
        {"OPTIONS", "/v1/reload", 405, "POST"},
        {"GET", "/v1/sessions/x", 400, NULL},
        {"GET", "/v1/sessions/-1", 400, NULL},
        {"GET", "/v1/sessions/18446744073709551616", 400, NULL},
        {"DELETE", "/v1/users/", 400, NULL},
        {"DELETE", "/v1/users/%", 400, NULL},
        {"DELETE", "/v1/users/%4", 400, NULL},
        {"DELETE", "/v1/users/%zz", 400, NULL},
        {"DELETE", "/v1/users/a%00b", 400, NULL},
        {"GET", "/v1/sessions?limit=0", 400, NULL},
        {"GET", "/v1/sessions?limit=1001", 400, NULL},
        {"GET", "/v1/sessions?limit=+1", 400, NULL},
        {"GET", "/v1/sessions?limit=1&limit=2", 400, NULL},
        {"GET", "/v1/sessions?colour=red", 400, NULL},
        {"GET", "/v1/sessions?user", 400, NULL},
        {"GET", "/v1/sessions?user=", 400, NULL},
        {"GET", "/v1/sessions?client=example.org", 400, NULL},
        {"GET", "/v1/sessions?peer=1.2.3", 400, NULL},
        {"GET", "/v1/sessions?transport=sctp", 400, NULL},
        {"GET", "/v1/sessions?after=abc", 400, NULL},
        {"GET", "/v1/status?user=alice", 400, NULL},
        {"GET", "/v1/credentials?ttl=86401", 400, NULL},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        unsigned status = ask(PH_DOOR_SOCKET, rows[i].method, rows[i].target);
        cr_assert_eq(status, rows[i].status, "%s %s: %u", rows[i].method, rows[i].target, status);
        cr_assert_neq(*p.text, '\0');
        if (rows[i].allow)
            cr_assert_str_eq(p.allow, rows[i].allow, "%s %s", rows[i].method, rows[i].target);
        else
            cr_assert_null(p.allow);
    }
}

Test(admin_route, takes_filters)
{
    cr_assert_eq(ask(PH_DOOR_SOCKET, "GET",
                     "/v1/sessions?user=a%20b+c%2Fd%FF&realm=example.org&client=192.0.2.1&"
                     "peer=%5B2001:db8::1%5D:7&&transport=dtls&limit=7&after=000000000000000009"),
                 0, "%s", p.text);
    cr_assert_str_eq(c.user.b, "a b c/d\xFF");
    cr_assert_eq(c.user.n, 8);
    cr_assert_str_eq(c.realm.b, "example.org");
    cr_assert_eq(c.client.family, PH_AF_INET);
    cr_assert_eq(c.client.port, 0, "any port");
    cr_assert_eq(c.peer.family, PH_AF_INET6);
    cr_assert_eq(c.peer.port, 7);
    cr_assert_eq(c.transport, PH_DTLS);
    cr_assert_eq(c.limit, 7);
    cr_assert_eq(c.after, 9);
    cr_assert_eq(ask(PH_DOOR_SOCKET, "GET", "/v1/sessions"), 0);
    cr_assert(c.limit == PH_TADMIN_LIST && !c.user.given && !c.client.family && !c.after);
}

/* '+' is a plus in a path; what decodes to a slash stays part of the name. */
Test(admin_route, takes_names_of_any_bytes)
{
    cr_assert_eq(ask(PH_DOOR_SOCKET, "DELETE", "/v1/users/a+b%2f..%2F%0A%25s%3F?realm=x%2By"), 0);
    cr_assert_str_eq(c.user.b, "a+b/../\n%s?");
    cr_assert_str_eq(c.realm.b, "x+y");
}

Test(admin_route, bounds_names_and_targets)
{
    char target[2 * PH_TADMIN_TARGET] = "/v1/users/";
    size_t head = strlen(target);
    memset(target + head, 'a', PH_TADMIN_TEXT - 1);
    cr_assert_eq(ask(PH_DOOR_SOCKET, "DELETE", target), 0);
    cr_assert_eq(c.user.n, PH_TADMIN_TEXT - 1);
    target[head + PH_TADMIN_TEXT - 1] = 'a';
    cr_assert_eq(ask(PH_DOOR_SOCKET, "DELETE", target), 400);
    memset(target + head, 'a', PH_TADMIN_TARGET);
    cr_assert_eq(ask(PH_DOOR_SOCKET, "DELETE", target), 414);
}

/* ---- who may ---- */

static unsigned guard(enum ph_tadmin_door door, const char *token, const char *authorization)
{
    return ph_tadmin_route(&(struct ph_tadmin_request){.door = door,
                                                       .token = token,
                                                       .authorization = authorization,
                                                       .method = "DELETE",
                                                       .target = "/v1/users/alice",
                                                       .host = "turn.example.org"},
                           &c, &p);
}

Test(admin_guard, wants_the_token)
{
    static const struct {
        const char *authorization;
        unsigned status;
    } rows[] = {
        {NULL, 401},
        {"", 401},
        {"Bearer", 401},
        {"Bearer ", 401},
        {"Bearer sesam", 401},
        {"Bearer sesame2", 401},
        {"Bearer Sesame", 401},
        {"Basic sesame", 401},
        {"sesame", 401},
        {"Bearer sesame", 0},
        {"bearer  sesame", 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        cr_assert_eq(guard(PH_DOOR_API, "sesame", rows[i].authorization), rows[i].status, "%zu", i);
        cr_assert_eq(guard(PH_DOOR_WEB, "sesame", rows[i].authorization), rows[i].status, "%zu", i);
    }
    cr_assert_eq(guard(PH_DOOR_API, NULL, "Bearer "), 401, "without a token nobody comes in");
    cr_assert_eq(guard(PH_DOOR_SOCKET, NULL, NULL), 0, "the mode of the file says who may");
}

Test(admin_guard, shows_the_page_to_those_who_have_yet_to_give_the_token)
{
    struct ph_tadmin_request r = {
        .door = PH_DOOR_WEB, .token = "sesame", .method = "GET", .target = "/", .host = "x"};
    cr_assert_eq(ph_tadmin_route(&r, &c, &p), 0);
    cr_assert(c.what == PH_DO_PAGE && strcmp(c.page, "/") == 0);
    r.target = "/v1/status";
    cr_assert_eq(ph_tadmin_route(&r, &c, &p), 401);
    r.target = "/metrics";
    cr_assert_eq(ph_tadmin_route(&r, &c, &p), 401);
}

/* The page on loopback, without a token: headers that a browser sends, and what comes of them. */
Test(admin_guard, keeps_other_sites_from_using_a_browser)
{
    static const struct {
        const char *method, *target, *host, *origin, *site, *type;
        unsigned status;
    } rows[] = {
        {"GET", "/", "localhost:8080", NULL, NULL, NULL, 0},
        {"GET", "/", "127.0.0.1:8080", NULL, "cross-site", NULL, 0}, /* a link leads here */
        {"GET", "/", "[::1]:8080", NULL, NULL, NULL, 0},
        {"GET", "/", "LOCALHOST", NULL, NULL, NULL, 0},
        /* DNS rebinding: the name of the attacker leads to 127.0.0.1. */
        {"GET", "/", "evil.example:8080", NULL, NULL, NULL, 403},
        {"GET", "/", "localhost.evil.example", NULL, NULL, NULL, 403},
        {"GET", "/", "127.0.0.1.evil.example", NULL, NULL, NULL, 403},
        {"GET", "/", "192.0.2.1:8080", NULL, NULL, NULL, 403},
        {"GET", "/", NULL, NULL, NULL, NULL, 403},
        {"GET", "/v1/status", "evil.example:8080", "http://evil.example:8080", "same-origin", NULL,
         403},
        /* Requests of other sites. */
        {"GET", "/v1/status", "localhost:8080", "http://localhost:8080", "same-origin", NULL, 0},
        {"GET", "/v1/status", "localhost:8080", NULL, "none", NULL, 0},
        {"GET", "/v1/status", "localhost:8080", "http://evil.example", NULL, NULL, 403},
        {"GET", "/v1/status", "localhost:8080", "http://localhost:9090", NULL, NULL, 403},
        {"GET", "/v1/status", "localhost:8080", "null", NULL, NULL, 403},
        {"GET", "/v1/status", "localhost:8080", NULL, "cross-site", NULL, 403},
        {"GET", "/v1/status", "localhost:8080", NULL, "same-site", NULL, 403},
        {"DELETE", "/v1/drain", "localhost:8080", "http://evil.example", NULL, NULL, 403},
        {"DELETE", "/v1/drain", "localhost:8080", "http://localhost:8080", NULL, NULL, 0},
        /* What a form can send, and what only a script of ours can. */
        {"POST", "/v1/drain", "localhost:8080", NULL, NULL, NULL, 415},
        {"POST", "/v1/drain", "localhost:8080", NULL, NULL, "text/plain", 415},
        {"POST", "/v1/drain", "localhost:8080", NULL, NULL, "application/jsonp", 415},
        {"POST", "/v1/drain", "localhost:8080", NULL, NULL, "application/json", 0},
        {"PUT", "/v1/log", "localhost:8080", NULL, NULL, "Application/JSON; charset=utf-8", 0},
        {"PUT", "/v1/log", "localhost:8080", NULL, NULL, "multipart/form-data", 415},
        {"POST", "/v1/drain", "localhost:8080", "https://localhost:8080", "same-origin",
         "application/json", 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        unsigned status = ph_tadmin_route(&(struct ph_tadmin_request){.door = PH_DOOR_WEB,
                                                                      .method = rows[i].method,
                                                                      .target = rows[i].target,
                                                                      .host = rows[i].host,
                                                                      .origin = rows[i].origin,
                                                                      .site = rows[i].site,
                                                                      .type = rows[i].type},
                                          &c, &p);
        cr_assert_eq(status, rows[i].status, "row %zu: %u %s", i, status, p.text);
    }
}

/* ---- bodies ---- */

Test(admin_route, takes_bodies)
{
    cr_assert_eq(ask(PH_DOOR_SOCKET, "POST", "/v1/drain"), 0);
    cr_assert_eq(body(""), 0);
    cr_assert_eq(c.seconds, 0);
    cr_assert_eq(body("{}"), 0);
    cr_assert_eq(body(" {\"deadline\": 3600} "), 0);
    cr_assert_eq(c.seconds, 3600);
    cr_assert_eq(ask(PH_DOOR_SOCKET, "POST", "/v1/stop"), 0);
    cr_assert_eq(body("{\"grace\": 5}"), 0);
    cr_assert_eq(c.seconds, 5);
    cr_assert_eq(ask(PH_DOOR_SOCKET, "PUT", "/v1/log"), 0);
    cr_assert_eq(body("{\"level\": \"debug\"}"), 0);
    cr_assert_eq(c.level, PH_LOG_DEBUG);
}

Test(admin_route, refuses_bodies)
{
    static const struct {
        const char *method, *target, *body;
    } rows[] = {
        {"POST", "/v1/drain", "x"},
        {"POST", "/v1/drain", "[]"},
        {"POST", "/v1/drain", "null"},
        {"POST", "/v1/drain", "{\"deadline\":1}x"},
        {"POST", "/v1/drain", "{\"deadline\":-1}"},
        {"POST", "/v1/drain", "{\"deadline\":31536001}"},
        {"POST", "/v1/drain", "{\"deadline\":1.5}"},
        {"POST", "/v1/drain", "{\"deadline\":\"1\"}"},
        {"POST", "/v1/drain", "{\"deadline\":1,\"deadline\":2}"},
        {"POST", "/v1/drain", "{\"grace\":1}"},
        {"POST", "/v1/drain", "{\"deadline\":99999999999999999999}"},
        {"POST", "/v1/stop", "{\"deadline\":1}"},
        {"POST", "/v1/reload", "{\"x\":1}"},
        {"POST", "/v1/adopt", "{}"},
        {"POST", "/v1/adopt", "{\"node\":\"a/b\"}"},
        {"POST", "/v1/upgrade", "{\"program\":\"/bin/x\\u0000y\"}"},
        {"PUT", "/v1/log", ""},
        {"PUT", "/v1/log", "{}"},
        {"PUT", "/v1/log", "{\"level\":\"loud\"}"},
        {"PUT", "/v1/log", "{\"level\":3}"},
        {"PUT", "/v1/log", "{\"level\":\"debug\\u0000\"}"},
        {"DELETE", "/v1/drain", "{}"},
        {"GET", "/v1/status", "x"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        cr_assert_eq(ask(PH_DOOR_SOCKET, rows[i].method, rows[i].target), 0);
        cr_assert_eq(body(rows[i].body), 400, "row %zu: %s", i, p.text);
        cr_assert_neq(*p.text, '\0');
    }
}

Test(admin_route, bounds_bodies)
{
    char *text = malloc(PH_TADMIN_BODY + 1);
    memset(text, ' ', PH_TADMIN_BODY + 1);
    memcpy(text, "{}", 2);
    cr_assert_eq(ask(PH_DOOR_SOCKET, "POST", "/v1/drain"), 0);
    struct ph_slice s = {(const uint8_t *)text, PH_TADMIN_BODY};
    cr_assert_eq(ph_tadmin_body(&c, s, &p), 0);
    s.n++;
    cr_assert_eq(ph_tadmin_body(&c, s, &p), 413);
    memset(text, '[', PH_TADMIN_BODY); /* as deep as it gets */
    s.n--;
    cr_assert_eq(ph_tadmin_body(&c, s, &p), 400);
    free(text);
}
#else
#include <criterion/criterion.h>

Test(admin_route, is_left_out_of_this_build)
{
    cr_skip_test("built without libmicrohttpd or jansson");
}
#endif
