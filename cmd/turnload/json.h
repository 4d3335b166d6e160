/*
 * A JSON writer: commas, quotes and escapes are its business.
 *
 *     struct ph_load_json j = {.f = stdout};
 *     ph_load_json_open(&j, NULL, '{');
 *     ph_load_json_text(&j, "name", "value");
 *     ph_load_json_close(&j, '}');
 */
#ifndef PH_CMD_TURNLOAD_JSON_H
#define PH_CMD_TURNLOAD_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct ph_load_json {
    FILE *f;
    unsigned depth;
    bool more; /* something stands before at this level */
};

/* Opens an object ('{') or array ('['); key NULL inside arrays and at the top. */
void ph_load_json_open(struct ph_load_json *j, const char *key, char bracket);

/* Closes it; the outermost one ends the line. */
void ph_load_json_close(struct ph_load_json *j, char bracket);

void ph_load_json_text(struct ph_load_json *j, const char *key, const char *value);
void ph_load_json_uint(struct ph_load_json *j, const char *key, uint64_t value);
void ph_load_json_real(struct ph_load_json *j, const char *key, double value);
void ph_load_json_bool(struct ph_load_json *j, const char *key, bool value);

#endif
