/*
 * Words for what logs, the API and metrics all name: the same everywhere, and never changed.
 */
#ifndef PH_TURND_WORDS_H
#define PH_TURND_WORDS_H

#include "turn/server.h"

/* Why an allocation ended: "expired", "released", "ended", "closed", "revoked", "credential". */
const char *ph_tword_reason(enum ph_turnd_reason reason);

/* A transport (PH_UDP ...): "udp", "tcp", "tls", "dtls"; "?" for any other. */
const char *ph_tword_transport(uint8_t proto);

/* The transport of a word, PH_PROTO_NONE: there is none. */
uint8_t ph_tword_to_transport(const char *word);

/* A state (enum ph_tops_state): "starting", "serving", "draining", "stopping". */
const char *ph_tword_state(int state);

/* A level of the log: "error", "warning", "info", "debug". */
const char *ph_tword_level(enum ph_log_level level);

#endif
