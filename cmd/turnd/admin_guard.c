/*
 * Who may: the token, and what keeps a browser from being turned against us.
 *
 * On loopback the page needs no token.  Two things could then use a browser on this machine to reach it: a site
 * whose name is made to lead to 127.0.0.1 once its page is loaded (it would be same-origin: the Host header tells,
 * which holds its name), and a site that just sends requests (the Origin and Sec-Fetch-Site headers tell, and JSON as
 * content type cannot be sent without asking us first, which we never allow).
 */
#include "cmd/turnd/admin_route.h"
#include "stun/codec/integrity.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

unsigned ph_tadmin_wrong(struct ph_tadmin_problem *p, unsigned status, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(p->text, sizeof p->text, fmt, ap);
    va_end(ap);
    return status;
}

/* Compares digests, in a time that tells nothing of the token. */
static bool shows_token(const char *authorization, const char *token)
{
    static const char SCHEME[] = "Bearer ";
    uint8_t got[PH_SHA256_LEN], want[PH_SHA256_LEN];
    if (!authorization || strncasecmp(authorization, SCHEME, sizeof SCHEME - 1) != 0)
        return false;
    const char *shown = authorization + sizeof SCHEME - 1;
    shown += strspn(shown, " ");
    const struct ph_slice part[] = {ph_str(shown), ph_str(token)};
    ph_sha256(got, &part[0], 1);
    ph_sha256(want, &part[1], 1);
    return ph_equal_ct(got, want, sizeof got);
}

/* "127.0.0.1:8080", "[::1]", "localhost:8080": names that nobody else can hold. */
static bool is_our_host(const char *host)
{
    static const char NAME[] = "localhost";
    struct ph_addr a;
    if (ph_addr_parse(&a, host, strlen(host), 0) == 0)
        return ph_addr_is_loopback(&a);
    size_t n = strcspn(host, ":");
    return n == sizeof NAME - 1 && strncasecmp(host, NAME, n) == 0;
}

static bool is_same_origin(const char *origin, const char *host)
{
    static const char SCHEME[] = "http://", TLS[] = "https://";
    size_t n = strncasecmp(origin, SCHEME, sizeof SCHEME - 1) == 0 ? sizeof SCHEME - 1
               : strncasecmp(origin, TLS, sizeof TLS - 1) == 0     ? sizeof TLS - 1
                                                                   : 0;
    return n && strcasecmp(origin + n, host) == 0;
}

static bool is_json(const char *type)
{
    static const char JSON[] = "application/json";
    if (!type || strncasecmp(type, JSON, sizeof JSON - 1) != 0)
        return false;
    char next = type[sizeof JSON - 1];
    return next == '\0' || next == ';' || next == ' ';
}

static bool takes_body(const char *method)
{
    return strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0;
}

/* A door that a browser on this machine can reach, without a token. */
static unsigned guard_browser(const struct ph_tadmin_request *r, bool page, bool changes,
                              struct ph_tadmin_problem *p)
{
    if (!r->host || !is_our_host(r->host))
        return ph_tadmin_wrong(p, 403,
                               "the Host header must name this machine's loopback address "
                               "or localhost");
    if (page)
        return 0;
    if (r->origin && !is_same_origin(r->origin, r->host))
        return ph_tadmin_wrong(p, 403, "requests of other sites are refused (Origin)");
    if (r->site && strcasecmp(r->site, "same-origin") != 0 && strcasecmp(r->site, "none") != 0)
        return ph_tadmin_wrong(p, 403, "requests of other sites are refused (Sec-Fetch-Site)");
    if (changes && takes_body(r->method) && !is_json(r->type))
        return ph_tadmin_wrong(p, 415, "Content-Type must be application/json");
    return 0;
}

unsigned ph_tadmin_guard(const struct ph_tadmin_request *r, bool page, bool changes,
                         struct ph_tadmin_problem *p)
{
    if (r->door == PH_DOOR_HTTP || r->door == PH_DOOR_SOCKET)
        return 0;
    if (!r->token)
        return r->door == PH_DOOR_WEB ? guard_browser(r, page, changes, p)
                                      : ph_tadmin_wrong(p, 401, "there is no token to compare");
    if (page || shows_token(r->authorization, r->token))
        return 0;
    return ph_tadmin_wrong(p, 401,
                           "the token is missing or wrong: send \"Authorization: Bearer "
                           "TOKEN\"");
}
