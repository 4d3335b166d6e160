/*
 * What the functional tests share: outcomes, a TURN client that waits, a peer, and requests made by
 * hand.
 */
#ifndef PH_CMD_TURNLOAD_CHECK_PRIV_H
#define PH_CMD_TURNLOAD_CHECK_PRIV_H

#include "cmd/turnload/args.h"
#include "cmd/turnload/link.h"
#include "stun/base/env.h"
#include "stun/base/time.h"
#include "stun/codec/integrity.h"
#include "stun/codec/msgw.h"
#include "stun/uv/udp.h"
#include "turn/client.h"

enum ph_load_check_result { PH_LOAD_CHECK_OK, PH_LOAD_CHECK_FAILED, PH_LOAD_CHECK_SKIPPED };

/* The state of all checks. */
struct ph_load_check {
    const struct ph_load_args *args;
    struct ph_addr server;
    struct ph_env env;
    struct ph_load_tls *tls; /* NULL: plain */
    /* what earlier checks have found out */
    bool silent;         /* the server answers nothing */
    bool open;           /* it wants no credentials */
    bool no_credentials; /* it wants some, and we have none */
    bool no_allocation;  /* we get none */
    bool no_peer;        /* it does not let us reach our peer */
    /* the outcome of the present one */
    enum ph_load_check_result result;
    char text[240];
};

/* Set the outcome: ok with a remark, failed with a reason, skipped with one.  The last call counts,
 * except that a failure stays. */
void ph_load_check_ok(struct ph_load_check *k, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void ph_load_check_skip(struct ph_load_check *k, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Turns a failure into a skip: what failed is optional. */
void ph_load_check_excuse(struct ph_load_check *k, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Always false, so that a helper can `return ph_load_check_fail(...)`. */
bool ph_load_check_fail(struct ph_load_check *k, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* --- check_io.c: a client and a peer ------------------------------------------------------ */

struct ph_load_client {
    struct ph_load_check *k;
    struct ph_load_link link;
    struct ph_turnc *t;
    struct ph_turnc_ev ev; /* the last event; its reason is in `reason` */
    char reason[128];
    uint8_t buf[2048];
    struct ph_pkt in; /* the last payload */
    bool by_channel;  /* it came as ChannelData */
};

/* A configuration with server and credentials. */
struct ph_turnc_conf ph_load_client_conf(const struct ph_load_check *k);

/* Connects to the server.  False: the check has failed. */
bool ph_load_check_connect(struct ph_load_check *k, struct ph_load_link *l);

/* Asks by Binding how the server sees a link.  Waits up to timeout_ms.  True and *mapped if it answered. */
bool ph_load_check_mapped_of(struct ph_load_check *k, struct ph_load_link *l, int timeout_ms,
                             struct ph_addr *mapped);

/* Opens a socket and makes an idle client.  False: the check has failed. */
bool ph_load_client_open(struct ph_load_check *k, struct ph_load_client *c,
                         const struct ph_turnc_conf *conf);

/* The same, then allocates; conf NULL: the usual one.  False: the check has failed. */
bool ph_load_client_up(struct ph_load_check *k, struct ph_load_client *c,
                       const struct ph_turnc_conf *conf);

/* Releases (and waits for the answer) if there is an allocation; frees and closes. */
void ph_load_client_close(struct ph_load_client *c);

#define PH_LOAD_CLIENT_DATA 64 /* besides enum ph_turnc_ev_type */

/* Lets time pass until one of two things happens (event types or PH_LOAD_CLIENT_DATA).  Returns
 * which, or -1 after timeout_ms. */
int ph_load_client_wait(struct ph_load_client *c, int what, int or_what, int timeout_ms);

/* Waits for the end of what was asked.  False: the check has failed, with what the server said. */
bool ph_load_client_permit(struct ph_load_client *c, const struct ph_addr *peer);
bool ph_load_client_bind(struct ph_load_client *c, const struct ph_addr *peer);

/* What the last event said: "403 Forbidden", "the peer did not answer in time". */
const char *ph_load_client_why(const struct ph_load_client *c, char dst[static 160]);

struct ph_load_peer_end {
    struct ph_udp sock;
    struct ph_addr at; /* as the server reaches it */
    bool behind_nat;
};

/* Opens a peer of a family.  False: there is no such address; nothing is set. */
bool ph_load_peer_end_open(struct ph_load_check *k, struct ph_load_peer_end *p, uint8_t family);
void ph_load_peer_end_close(struct ph_load_peer_end *p);

/* Sends n bytes through the allocation to the peer and back, and checks content and addresses.
 * False: the check has failed. */
bool ph_load_exchange(struct ph_load_client *c, struct ph_load_peer_end *p, uint32_t n);

/* Sends bytes from the client, or from the peer to the relay address. */
bool ph_load_client_send(struct ph_load_client *c, const struct ph_addr *to, const uint8_t *data,
                         uint32_t n);
void ph_load_peer_end_send(const struct ph_load_peer_end *p, const struct ph_addr *to,
                           const uint8_t *data, uint32_t n);

/* --- check_raw.c: requests made by hand --------------------------------------------------- */

struct ph_load_raw {
    struct ph_load_check *k;
    struct ph_load_link link;
    uint8_t req[2048], ans[2048];
    uint32_t req_n;
    struct ph_msgw w;
    struct ph_msg m; /* the answer */
    char realm[256], nonce[256];
    uint8_t algs[64];
    size_t algs_n;
    bool login;
    struct ph_key key;
    char reason[128];
};

/* Opens a socket and learns realm and nonce by a bare Allocate.  False: the check has failed. */
bool ph_load_raw_open(struct ph_load_check *k, struct ph_load_raw *r);

/* Gives a possible allocation back and closes. */
void ph_load_raw_close(struct ph_load_raw *r);

/* Starts a request in r->w. */
void ph_load_raw_begin(struct ph_load_raw *r, uint16_t method);

/* Starts an Allocate for UDP. */
void ph_load_raw_begin_allocate(struct ph_load_raw *r);

/* Appends credentials and integrity; no-op on a server without authentication. */
void ph_load_raw_sign(struct ph_load_raw *r);

/* Sends the request, again if needed, and takes the answer: 0 success, else the error code; -1: no
 * answer.  Stale nonces are the caller's. */
int ph_load_raw_exchange(struct ph_load_raw *r);

/* The request as sent, once more. */
int ph_load_raw_repeat(struct ph_load_raw *r);

/* ph_load_raw_begin_allocate, ph_load_raw_sign, ph_load_raw_exchange.  False unless it succeeded:
 * the check has failed. */
bool ph_load_raw_allocate(struct ph_load_raw *r);

/* Learns realm, nonce and key from the answer.  False when it has none. */
bool ph_load_raw_learn(struct ph_load_raw *r);

/* "401 Unauthenticated", "no answer", "success". */
const char *ph_load_raw_text(const struct ph_load_raw *r, int code, char dst[static 160]);

/* --- the checks --------------------------------------------------------------------------- */

void ph_load_check_binding(struct ph_load_check *k);
void ph_load_check_challenge(struct ph_load_check *k);
void ph_load_check_wrong_password(struct ph_load_check *k);
void ph_load_check_allocate(struct ph_load_check *k);
void ph_load_check_mapped(struct ph_load_check *k);
void ph_load_check_refresh(struct ph_load_check *k);
void ph_load_check_release(struct ph_load_check *k);

void ph_load_check_ipv6(struct ph_load_check *k);
void ph_load_check_dual(struct ph_load_check *k);
void ph_load_check_even_port(struct ph_load_check *k);
void ph_load_check_reservation(struct ph_load_check *k);
void ph_load_check_dont_fragment(struct ph_load_check *k);

void ph_load_check_permission(struct ph_load_check *k);
void ph_load_check_indication(struct ph_load_check *k);
void ph_load_check_channel(struct ph_load_check *k);
void ph_load_check_channel_refresh(struct ph_load_check *k);
void ph_load_check_no_permission(struct ph_load_check *k);
void ph_load_check_relay_to_relay(struct ph_load_check *k);

void ph_load_check_forbidden_peers(struct ph_load_check *k);
void ph_load_check_unknown_attribute(struct ph_load_check *k);
void ph_load_check_transport(struct ph_load_check *k);
void ph_load_check_retransmission(struct ph_load_check *k);
void ph_load_check_mismatch(struct ph_load_check *k);
void ph_load_check_stale_nonce(struct ph_load_check *k);
void ph_load_check_integrity(struct ph_load_check *k);

#endif
