/*
 * What an HTTP request asks of turnd, and whether it may: everything about a request that needs neither a socket nor
 * the server.  What comes in is anybody's bytes, what goes out is checked and bounded.
 *
 *     ph_tadmin_route   method, target, headers  -> a command, or a status and what is wrong
 *     ph_tadmin_body    the body, if the command takes one
 *
 * Doors are the places where requests come in, see admin.h; each has its own rules:
 *
 *     HTTP     health and metrics for anybody
 *     SOCKET   everything: the mode of the file has said who may
 *     API      everything, with the token
 *     WEB      the page, and everything that it needs; with the token, or on loopback without.  There a name that
 *              leads to us from outside (DNS rebinding) and requests that other sites make (CSRF) are refused
 *
 * Texts in targets are percent-encoded bytes: user names need not be UTF-8.
 */
#ifndef PH_TURND_ADMIN_ROUTE_H
#define PH_TURND_ADMIN_ROUTE_H

#include "stun/base/addr.h"
#include "stun/base/env.h"
#include "stun/base/slice.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    PH_TADMIN_TARGET = 8192,     /* bytes of a target */
    PH_TADMIN_BODY = 65536,      /* of a body */
    PH_TADMIN_TEXT = 512,        /* of a user name or realm, decoded, terminator included */
    PH_TADMIN_LIST = 100,        /* sessions in an answer, unless asked for another number */
    PH_TADMIN_LIST_MAX = 1000,   /* the most */
    PH_TADMIN_TTL_S = 600,       /* of credentials to test with */
    PH_TADMIN_PAGE = 64,         /* bytes of the path of a page's file */
    PH_TADMIN_NODE = 64,         /* of the name of a node, terminator included */
    PH_TADMIN_SPAN_S = 31536000, /* the longest deadline: a year */
    PH_TADMIN_PROBLEM = 192
};

enum ph_tadmin_door { PH_DOOR_HTTP, PH_DOOR_SOCKET, PH_DOOR_API, PH_DOOR_WEB };

/* A request as it came.  Headers that are not there are NULL. */
struct ph_tadmin_request {
    enum ph_tadmin_door door;
    const char *token;        /* that must be shown; NULL: none */
    const char *metrics_path; /* of HTTP; NULL: "/metrics", as for the other doors */
    const char *method, *target;
    const char *host, *origin, *site /* Sec-Fetch-Site */, *type /* Content-Type */, *authorization;
};

enum ph_tadmin_what {
    PH_DO_HEALTH,
    PH_DO_READY,
    PH_DO_METRICS,
    PH_DO_PAGE,
    PH_DO_STATUS,
    PH_DO_SESSIONS,
    PH_DO_SESSION,
    PH_DO_END,
    PH_DO_REVOKE,
    PH_DO_COUNTERS,
    PH_DO_DRAIN,
    PH_DO_UNDRAIN,
    PH_DO_RELOAD,
    PH_DO_STOP,
    PH_DO_LOG,
    PH_DO_SET_LOG,
    PH_DO_CREDENTIALS,
    PH_DO_UPGRADE,
    PH_DO_ADOPT,
    PH_DO_NODES,
    PH_DO_COUNT
};

struct ph_tadmin_text {
    bool given;
    uint16_t n;
    char b[PH_TADMIN_TEXT]; /* terminated; holds no NUL */
};

struct ph_tadmin_command {
    enum ph_tadmin_what what;
    bool changes;              /* it is no mere question */
    bool body;                 /* it takes one */
    char page[PH_TADMIN_PAGE]; /* PAGE: the path, "/app.js" */
    uint64_t session;          /* SESSION, END */
    char node
        [PH_TADMIN_NODE]; /* END: on this node of the fleet, "": on this one; ADOPT: from this one */
    struct ph_tadmin_text
        program; /* UPGRADE: an absolute path; not given: the one we were started as */
    bool fleet;  /* SESSIONS, REVOKE: on all nodes */
    struct ph_tadmin_text user, realm;
    struct ph_addr client, peer; /* PH_AF_NONE: any; port 0: any port */
    uint8_t transport;           /* PH_PROTO_NONE: any */
    uint64_t after;              /* only sessions with greater numbers */
    uint32_t limit;
    uint32_t seconds; /* DRAIN: deadline, 0 none; STOP: grace; CREDENTIALS: time to live */
    enum ph_log_level level;
};

/* What is wrong with a request: ours, plain ASCII. */
struct ph_tadmin_problem {
    const char *allow; /* with 405: the methods that would do */
    char text[PH_TADMIN_PROBLEM];
};

/* Takes a request.  Returns 0 and *c, or an HTTP status and *p. */
unsigned ph_tadmin_route(const struct ph_tadmin_request *r, struct ph_tadmin_command *c,
                         struct ph_tadmin_problem *p);

/* Reads the body of a command that takes one; empty is fine.  0, or an HTTP status and *p. */
unsigned ph_tadmin_body(struct ph_tadmin_command *c, struct ph_slice body,
                        struct ph_tadmin_problem *p);

/* The half of ph_tadmin_route that says who may: 0, or a status.  Used by it; `page` is for the files of the web
 * page, which hold no secrets. */
unsigned ph_tadmin_guard(const struct ph_tadmin_request *r, bool page, bool changes,
                         struct ph_tadmin_problem *p);

/* Writes what is wrong.  Returns status. */
unsigned ph_tadmin_wrong(struct ph_tadmin_problem *p, unsigned status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
