/*
 * Plain text, widths, tables.
 */
#include "cmd/turnctl/table.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { GAP = 2, LEAST = 8 };

static void *must(void *p)
{
    if (!p)
        abort();
    return p;
}

/* ---- text ---- */

/* Reads a character of valid UTF-8; its bytes, 0: it is broken. */
static size_t character(const uint8_t *p, uint32_t *c)
{
    size_t k = p[0] < 0x80   ? 1
               : p[0] < 0xC2 ? 0
               : p[0] < 0xE0 ? 2
               : p[0] < 0xF0 ? 3
               : p[0] < 0xF5 ? 4
                             : 0;
    if (k < 2) {
        *c = p[0];
        return k;
    }
    *c = p[0] & (0xFFu >> (k + 1));
    for (size_t i = 1; i < k; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0;
        *c = *c << 6 | (p[i] & 0x3F);
    }
    static const uint32_t LEAST_OF[] = {0, 0, 0x80, 0x800, 0x10000};
    return *c < LEAST_OF[k] || *c > 0x10FFFF || (*c >= 0xD800 && *c < 0xE000) ? 0 : k;
}

/* Controls, and characters that are not seen but change what is: direction, joining, line ends. */
static bool is_harmful(uint32_t c)
{
    return c < 0x20 || (c >= 0x7F && c < 0xA0) || (c >= 0x200B && c <= 0x200F) ||
           (c >= 0x2028 && c <= 0x202E) || (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF ||
           (c >= 0xFFF9 && c <= 0xFFFB) || c >= 0xE0000;
}

char *ph_ctl_plain(const char *text, bool lines)
{
    const uint8_t *p = (const uint8_t *)(text ? text : "-");
    char *out = must(malloc(strlen((const char *)p) * 8 + 1)), *o = out;
    while (*p) {
        uint32_t c;
        size_t k = character(p, &c);
        if (k && lines && c == '\n') {
            *o++ = '\n';
        } else if (!k || (is_harmful(c) && c < 0x80)) {
            o += sprintf(o, "\\x%02x", *p);
        } else if (is_harmful(c)) {
            o +=
                sprintf(o, "\\u{%x}", c); /* ten characters for three or four bytes, nine for two */
        } else {
            memcpy(o, p, k);
            o += k;
        }
        p += k ? k : 1;
    }
    *o = '\0';
    return out;
}

size_t ph_ctl_width(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += (*text & 0xC0) != 0x80;
    return n;
}

const char *ph_ctl_short(char dst[static 16], double v)
{
    static const char UNITS[] = " kMGTPE";
    unsigned u = 0;
    while (v >= 1000 && u + 2 < sizeof UNITS) {
        v /= 1000;
        u++;
    }
    if (u == 0)
        snprintf(dst, 16, "%.0f", v);
    else
        snprintf(dst, 16, v < 100 ? "%.1f%c" : "%.0f%c", v, UNITS[u]);
    return dst;
}

const char *ph_ctl_span(char dst[static 24], double seconds)
{
    unsigned long s = seconds > 0 ? (unsigned long)seconds : 0;
    if (s < 60)
        snprintf(dst, 24, "%lus", s);
    else if (s < 3600)
        snprintf(dst, 24, "%lum%02lus", s / 60, s % 60);
    else if (s < 86400)
        snprintf(dst, 24, "%luh%02lum", s / 3600, s / 60 % 60);
    else
        snprintf(dst, 24, "%lud%02luh", s / 86400, s / 3600 % 24);
    return dst;
}

/* ---- tables ---- */

void ph_ctl_row(struct ph_ctl_table *t, const char *const *text)
{
    if (t->rows == t->room) {
        t->room = t->room ? t->room * 2 : 32;
        t->cell = must(realloc(t->cell, t->room * t->columns * sizeof *t->cell));
    }
    for (unsigned i = 0; i < t->columns; i++)
        t->cell[t->rows * t->columns + i] = ph_ctl_plain(text[i], false);
    t->rows++;
}

/* Takes columns away, one at a time from the widest that may shrink, until it fits. */
static void fit(const struct ph_ctl_table *t, size_t *width, size_t total, size_t most)
{
    while (total > most) {
        unsigned widest = t->columns;
        for (unsigned i = 0; i < t->columns; i++)
            if (t->shrink[i] && width[i] > LEAST &&
                (widest == t->columns || width[i] > width[widest]))
                widest = i;
        if (widest == t->columns)
            return;
        width[widest]--;
        total--;
    }
}

/* One cell: cut or padded to the width of its column. */
static void print_cell(const char *text, size_t width, bool right, bool last, FILE *f)
{
    size_t w = ph_ctl_width(text);
    if (w > width) {
        size_t keep = width - 2, n = 0;
        const char *p = text;
        for (; *p && (n < keep || (*p & 0xC0) == 0x80); p++)
            n += (p[1] & 0xC0) != 0x80;
        fprintf(f, "%.*s..", (int)(p - text), text);
        w = width;
    } else {
        fprintf(f, "%*s%s", right ? (int)(width - w) : 0, "", text);
        w = right ? width : w;
    }
    if (!last)
        fprintf(f, "%*s", (int)(width - w + GAP), "");
}

void ph_ctl_print(const struct ph_ctl_table *t, unsigned width, FILE *f)
{
    size_t w[PH_CTL_COLUMNS], total = GAP * (t->columns - 1);
    for (unsigned i = 0; i < t->columns; i++) {
        w[i] = strlen(t->head[i]);
        for (size_t r = 0; r < t->rows; r++) {
            size_t n = ph_ctl_width(t->cell[r * t->columns + i]);
            w[i] = n > w[i] ? n : w[i];
        }
        total += w[i];
    }
    if (width)
        fit(t, w, total, width);
    for (size_t r = 0; r <= t->rows; r++) {
        for (unsigned i = 0; i < t->columns; i++)
            print_cell(r ? t->cell[(r - 1) * t->columns + i] : t->head[i], w[i], t->right[i],
                       i + 1 == t->columns, f);
        fputc('\n', f);
    }
}

void ph_ctl_table_fini(struct ph_ctl_table *t)
{
    for (size_t i = 0; i < t->rows * t->columns; i++)
        free(t->cell[i]);
    free(t->cell);
    t->cell = NULL;
    t->rows = t->room = 0;
}

unsigned ph_ctl_terminal(void)
{
    const char *columns = getenv("COLUMNS");
    struct winsize w;
    if (columns && atoi(columns) > 0)
        return (unsigned)atoi(columns);
    if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) != 0)
        return 0;
    return w.ws_col;
}
