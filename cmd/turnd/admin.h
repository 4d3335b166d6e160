/*
 * HTTP beside the server (libmicrohttpd, threads of its own): health, metrics, the JSON API and the web page.
 *
 *     http   GET /healthz /readyz /metrics          for probes and Prometheus; no secrets, no sessions
 *     api    the JSON API, version 1, under /v1/     on a UNIX socket (its file mode is the access control), or on TCP
 *                                                    with "Authorization: Bearer TOKEN"
 *     web    the page, and the API it needs          on loopback; elsewhere only with the token
 *
 *     GET    /v1/status                      state, version, uptime, workers, counts, listeners, certificates
 *     GET    /v1/sessions?user=&realm=&client=&peer=&transport=&limit=&after=   also `matched` and `next` (for after=)
 *                                            with fleet=1 those of all nodes, each with its `node`
 *     GET    /v1/sessions/ID                 one, with its peers
 *     DELETE /v1/sessions/ID                 also NODE%2FID, of any node of the fleet
 *     DELETE /v1/users/NAME?realm=           revoke: ends all sessions of a user; with fleet=1 on all nodes
 *     GET    /v1/nodes                       the nodes of the fleet, this one first
 *     GET    /v1/counters
 *     POST   /v1/drain {"deadline": s}       DELETE /v1/drain: serve again
 *     POST   /v1/reload                      POST /v1/stop {"grace": s}
 *     POST   /v1/upgrade {"program": path}   another program goes on in our place; on the UNIX socket alone.  How it
 *                                            comes out is in `upgrade` of the status
 *     POST   /v1/adopt {"node": name}        take over what fits; how it comes out is in `store` of the status
 *     GET    /v1/log                         PUT /v1/log {"level": "debug"}
 *     GET    /v1/credentials?ttl=            iceServers with a short-lived user, to test with
 *
 * Errors are {"error": "what is wrong and what would be right"} with a fitting status.  Text of clients that is no
 * UTF-8 has each wrong byte as \xHH (and backslashes doubled), and its exact bytes in KEY_hex.  What a request may be
 * and who may send it is in admin_route.h.
 */
#ifndef PH_TURND_ADMIN_H
#define PH_TURND_ADMIN_H

#include "cmd/turnd/handover.h"
#include "cmd/turnd/metrics.h"
#include "cmd/turnd/ops.h"

enum { PH_TADMIN_WHY = 256 };

struct ph_tadmin_conf {
    struct ph_addr http;              /* PH_AF_NONE: none; so for the others */
    const char *metrics_path;         /* "/metrics" */
    bool coturn_names;                /* coturn's metric names too */
    const char *http_cert, *http_key; /* PEM files: serve `http` over TLS; NULL: plain */
    const char *api_socket;           /* path; NULL: none */
    uint32_t api_socket_mode;         /* 0660 */
    struct ph_addr api;
    struct ph_addr web;
    const struct ph_thandover_door *
        inherit; /* n_inherit sockets that listen already, to be used where they fit; those that are
                                                not used stay the caller's */
    unsigned n_inherit;
    const char *token; /* for api over TCP, and web elsewhere than on loopback; required there */
};

struct ph_tadmin;

/* Opens the sockets and starts.  0 and *a, or a negative error and a message in why.  Strings are copied.  To be called
 * before privileges are dropped; a stale socket file of a dead process is replaced, one in use is an error. */
int ph_tadmin_start(struct ph_tadmin **a, const struct ph_tadmin_conf *c, struct ph_tops *o,
                    struct ph_tmetrics *m, char why[static PH_TADMIN_WHY]);

/* Ends it, waiting for requests under way, and removes the socket file.  They may be waiting for the workers or for the
 * main thread: either has to go on meanwhile, so with workers = 0 or before ph_tops_end this is not for the main
 * thread.  NULL: nothing. */
void ph_tadmin_stop(struct ph_tadmin *a);

/* Accepts no more: its sockets go on listening, and are the caller's; what comes waits there.  Stop it then.  Returns how
 * many. */
unsigned ph_tadmin_leave(struct ph_tadmin *a,
                         struct ph_thandover_door v[static PH_THANDOVER_DOORS]);

/* The endpoints as bound, so that the peer policy can deny them. */
unsigned ph_tadmin_endpoints(const struct ph_tadmin *a, struct ph_addr *v, unsigned max);

#endif
