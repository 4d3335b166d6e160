/* A JSON writer. */
#include "cmd/turnload/json.h"

#include <inttypes.h>
#include <math.h>

/* Bytes beyond ASCII are written as \u00xx: what they mean is not known here, and broken UTF-8 is
 * not JSON. */
static void quote(struct ph_load_json *j, const char *s)
{
    fputc('"', j->f);
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\')
            fprintf(j->f, "\\%c", c);
        else if (c < 0x20 || c >= 0x7F)
            fprintf(j->f, "\\u%04x", c);
        else
            fputc(c, j->f);
    }
    fputc('"', j->f);
}

static void begin(struct ph_load_json *j, const char *key)
{
    if (j->more)
        fputc(',', j->f);
    if (j->depth)
        fprintf(j->f, "\n%*s", (int)(2 * j->depth), "");
    if (key) {
        quote(j, key);
        fputs(": ", j->f);
    }
    j->more = true;
}

void ph_load_json_open(struct ph_load_json *j, const char *key, char bracket)
{
    begin(j, key);
    fputc(bracket, j->f);
    j->depth++;
    j->more = false;
}

void ph_load_json_close(struct ph_load_json *j, char bracket)
{
    j->depth--;
    if (j->more)
        fprintf(j->f, "\n%*s", (int)(2 * j->depth), "");
    fputc(bracket, j->f);
    j->more = true;
    if (j->depth == 0)
        fputc('\n', j->f);
}

void ph_load_json_text(struct ph_load_json *j, const char *key, const char *value)
{
    begin(j, key);
    quote(j, value);
}

void ph_load_json_uint(struct ph_load_json *j, const char *key, uint64_t value)
{
    begin(j, key);
    fprintf(j->f, "%" PRIu64, value);
}

void ph_load_json_real(struct ph_load_json *j, const char *key, double value)
{
    begin(j, key);
    if (isfinite(value))
        fprintf(j->f, "%.6g", value);
    else
        fputs("null", j->f);
}

void ph_load_json_bool(struct ph_load_json *j, const char *key, bool value)
{
    begin(j, key);
    fputs(value ? "true" : "false", j->f);
}
