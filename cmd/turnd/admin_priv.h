/*
 * What the files of turnd's HTTP share.
 *
 *   admin.c           the doors: sockets, life, connections that take too long
 *   admin_http.c      requests and answers (libmicrohttpd)
 *   admin_route.c     what a request asks for, and whether it may (admin_guard.c): no I/O
 *   admin_api.c       the JSON API
 *   admin_sessions.c  ... its sessions
 *   admin_fleet.c     ... the nodes of the fleet, and what they have
 *   admin_state.c     ... the store, upgrades, adoption
 *   admin_creds.c     ... iceServers to test with
 *   admin_web.c       the files of the web page
 */
#ifndef PH_TURND_ADMIN_PRIV_H
#define PH_TURND_ADMIN_PRIV_H

#include "cmd/turnd/admin.h"
#include "cmd/turnd/admin_route.h"

#include <jansson.h>
#include <microhttpd.h>
#include <pthread.h>
#include <sys/types.h>

enum {
    PH_TADMIN_DOORS = 4,
    PH_TADMIN_CONNS = 64,          /* of a door at a time */
    PH_TADMIN_REQUEST_S = 10,      /* to send a request, or to take its answer */
    PH_TADMIN_CONN_MEMORY = 32768, /* bytes of a connection's headers and target */
    PH_TADMIN_ADDRS = 512          /* peers of a session in an answer */
};

/* A connection: closed when it takes longer than PH_TADMIN_REQUEST_S for anything. */
struct ph__tadmin_conn {
    struct ph__tadmin_conn *next, **link; /* guarded by the lock */
    int fd;
    int64_t since_s; /* monotonic; 0: we are at work for it */
};

struct ph__tadmin_place {
    struct ph_tadmin *a;
    enum ph_tadmin_door door;
    struct MHD_Daemon *mhd;
    struct ph_addr at; /* as bound; PH_AF_NONE: a UNIX socket */
    bool token;        /* must be shown */
    bool tls;
};

struct ph_tadmin {
    struct ph_tops *ops;
    struct ph_tmetrics *metrics;
    char *metrics_path, *token, *socket_path; /* NULL: none */
    char *cert, *key;                         /* PEM texts */
    bool coturn_names;
    struct ph__tadmin_place place[PH_TADMIN_DOORS];
    unsigned n;
    dev_t dev; /* the socket file that we made */
    ino_t ino;

    _Atomic bool ending;
    _Atomic int busy; /* requests whose answer is not with the client yet */

    pthread_t sweeper;
    bool sweeping;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct ph__tadmin_conn *conns;
    bool stop;               /* the sweeper is to end */
    int64_t complained_at_s; /* when a wrong token was last logged */
};

/* An answer under construction. */
struct ph__tadmin_reply {
    unsigned status;
    const char *type;  /* Content-Type */
    const char *allow; /* with 405 */
    const char *etag;  /* or NULL */
    void *body;        /* n bytes: malloc'ed, or constant with `is_static` */
    size_t n;
    bool is_static;
};

/* ---- admin.c ---- */

/* A connection has come, is waiting for us or we for it, has gone.  NULL: out of memory, it goes on unwatched. */
struct ph__tadmin_conn *ph__tadmin_conn_new(struct ph_tadmin *a, int fd);
void ph__tadmin_conn_mark(struct ph_tadmin *a, struct ph__tadmin_conn *c, bool at_work);
void ph__tadmin_conn_free(struct ph_tadmin *a, struct ph__tadmin_conn *c);

/* ---- admin_http.c ---- */

/* Starts serving a door on a listening socket, which is its own from then on.  0 or a negative error. */
int ph__tadmin_serve(struct ph__tadmin_place *p, int fd);

/* ---- admin_api.c ---- */

/* Does what was asked for. */
void ph__tadmin_do(struct ph_tadmin *a, const struct ph_tadmin_command *c,
                   struct ph__tadmin_reply *out);

/* Makes {"error": text} of it. */
void ph__tadmin_error(struct ph__tadmin_reply *out, unsigned status, const char *text);

/* Makes an answer of a JSON value, whose reference it takes (NULL: out of memory). */
void ph__tadmin_json(struct ph__tadmin_reply *out, unsigned status, json_t *v);

/* Text of clients as JSON.  Bytes that are no UTF-8, and NUL, are written \xHH (and a backslash then as \\), and
 * KEY_hex has the exact bytes. */
void ph__tadmin_set_text(json_t *o, const char *key, struct ph_slice s);

/* An address as JSON; null for PH_AF_NONE. */
json_t *ph__tadmin_addr(const struct ph_addr *a);

/* Numbers, constant words and times (null for 0) as members. */
void ph__tadmin_set_uint(json_t *o, const char *key, uint64_t v);
void ph__tadmin_set_word(json_t *o, const char *key, const char *word);
void ph__tadmin_set_time(json_t *o, const char *key, int64_t at);

/* ---- admin_state.c ---- */

/* Puts `store` and `upgrade` into the status.  Main thread: what is to be told is looked at ... */
struct ph__tadmin_state;
struct ph__tadmin_state *ph__tadmin_state_look(struct ph_tops *o); /* NULL: out of memory */

/* ... any thread: and told, with what the workers say; frees it. */
void ph__tadmin_state_tell(struct ph__tadmin_state *s, json_t *o, const struct ph_store_stats *sum);

/* UPGRADE, ADOPT. */
void ph__tadmin_upgrade(struct ph_tadmin *a, const struct ph_tadmin_command *c,
                        struct ph__tadmin_reply *out);
void ph__tadmin_adopt(struct ph_tadmin *a, const struct ph_tadmin_command *c,
                      struct ph__tadmin_reply *out);

/* ---- admin_sessions.c ---- */

void ph__tadmin_sessions(struct ph_tadmin *a, const struct ph_tadmin_command *c,
                         struct ph__tadmin_reply *out);
void ph__tadmin_session(struct ph_tadmin *a, const struct ph_tadmin_command *c,
                        struct ph__tadmin_reply *out);
void ph__tadmin_end(struct ph_tadmin *a, const struct ph_tadmin_command *c,
                    struct ph__tadmin_reply *out);

/* The sessions of this server alone, as ph__tadmin_sessions answers; NULL: out of memory. */
json_t *ph__tadmin_own_sessions(struct ph_tadmin *a, const struct ph_tadmin_command *c);

/* ---- admin_fleet.c ---- */

void ph__tadmin_nodes(struct ph_tadmin *a, struct ph__tadmin_reply *out);
/* The same for all nodes: what they have written down of their sessions. */
void ph__tadmin_fleet_sessions(struct ph_tadmin *a, const struct ph_tadmin_command *c,
                               struct ph__tadmin_reply *out);
/* Asks a node to end a session, or all of them to revoke a user. */
void ph__tadmin_fleet_order(struct ph_tadmin *a, const struct ph_tadmin_command *c,
                            struct ph__tadmin_reply *out);

/* ---- admin_creds.c ---- */

void ph__tadmin_credentials(struct ph_tadmin *a, const struct ph_tadmin_command *c,
                            struct ph__tadmin_reply *out);

/* A user that is valid for ttl_s seconds, for somebody to test this server with.  Main thread.  0 and both texts, or
 * PH_E_MISSING: there is no secret to make one with. */
int ph_trun_test_user(struct ph_trun *r, uint32_t ttl_s, char user[static PH_TADMIN_TEXT],
                      char pass[static PH_TADMIN_TEXT]);

/* ---- admin_web.c ---- */

/* A file of the page. */
void ph__tadmin_page(const struct ph_tadmin_command *c, struct ph__tadmin_reply *out);

#endif
