/*
 * What the server said, for people.
 */
#ifndef PH_CMD_TURNCTL_SHOW_H
#define PH_CMD_TURNCTL_SHOW_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* The answers of GET /v1/status, /v1/sessions, /v1/sessions/ID and /v1/counters (all: those that are zero as well), as
 * tables that fit the terminal. */
void ph_ctl_show_status(const json_t *o, FILE *f);
void ph_ctl_show_sessions(const json_t *o, FILE *f);
void ph_ctl_show_session(const json_t *o, FILE *f);
void ph_ctl_show_nodes(const json_t *o, FILE *f);
void ph_ctl_show_counters(const json_t *o, bool all, FILE *f);

/* A text member made plain, "-" when it is not there; to be freed. */
char *ph_ctl_text_of(const json_t *o, const char *key);

/* JSON in one line that a terminal can take. */
void ph_ctl_show_json(const json_t *o, FILE *f);

#endif
