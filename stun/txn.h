/*
 * One client transaction: when to send a request again and when to give up (RFC 8489 6.2.1, 6.2.2).
 *
 * Over UDP the k-th wait doubles from the RTO on; after Rc sends it waits Rm times the RTO and fails.  With the
 * defaults (500 ms, 7, 16) that is at 0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5 s and failure at 39.5 s.  Over
 * a reliable transport a request is sent once and fails after Ti.
 *
 * Embeddable, owns nothing, builds no bytes: the owner builds the request whenever ph_txn_tick says so.
 */
#ifndef PH_STUN_TXN_H
#define PH_STUN_TXN_H

#include "stun/base/time.h"
#include "stun/codec/msg.h"

#include <stdbool.h>
#include <stdint.h>

/* Zero means the RFC's default. */
struct ph_txn_conf {
    ph_ns rto;     /* first wait, 500 ms */
    uint8_t rc;    /* sends, 7 */
    uint8_t rm;    /* last wait in RTOs, 16 */
    bool reliable; /* TCP, TLS: one send */
    ph_ns ti;      /* with reliable: when to give up, 39.5 s */
};

enum ph_txn_state { PH_TXN_IDLE, PH_TXN_RUNNING, PH_TXN_DONE, PH_TXN_FAILED };

struct ph_txn {
    uint8_t id[PH_TXID_LEN];
    uint8_t state; /* enum ph_txn_state */
    uint8_t sends; /* so far; TRANSACTION-TRANSMIT-COUNTER's Req (RFC 7982) */
    uint8_t rc, rm;
    bool reliable;
    ph_ns started_at; /* PH_NEVER until the first send */
    ph_ns sent_at;    /* last send */
    ph_ns next_at;    /* next send, or failure */
    ph_ns rto, wait;
};

/* Starts a transaction: the first send is due at once.  c may be NULL for all defaults. */
void ph_txn_start(struct ph_txn *t, const struct ph_txn_conf *c,
                  const uint8_t id[static PH_TXID_LEN], ph_ns now);

/* When ph_txn_tick is due; PH_NEVER unless running. */
ph_ns ph_txn_deadline(const struct ph_txn *t);

/* Returns true when the owner must (re)send the request now.  May end in PH_TXN_FAILED: then false. */
bool ph_txn_tick(struct ph_txn *t, ph_ns now);

/* Takes a message: true if it is the response of this running transaction (class and id fit); the
 * transaction is then done, and *rtt (unless NULL) is the round-trip time, or -1 if the request was sent more
 * than once and the answer does not say which send it answers (Karn; RFC 7982 tells when both sides use it). */
bool ph_txn_done(struct ph_txn *t, const struct ph_msg *m, ph_ns now, ph_ns *rtt);

/* Stops without a result: back to PH_TXN_IDLE. */
void ph_txn_cancel(struct ph_txn *t);

#endif
