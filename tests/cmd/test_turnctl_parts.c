/* turnctl's HTTP answers, names in targets, and what it puts on a terminal. */
#ifdef PH_HAVE_TURNCTL
#include "cmd/turnctl/http.h"
#include "cmd/turnctl/table.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* ---- HTTP ---- */

#define HEAD "HTTP/1.1 200 OK\r\n"

Test(turnctl_http, takes_answers_apart)
{
    static const struct {
        const char *in;
        unsigned status;
        const char *body;
    } rows[] = {
        {HEAD "Content-Length: 5\r\n\r\nhello", 200, "hello"},
        {HEAD "content-length:5\r\n\r\nhello, more", 200, "hello"},
        {HEAD "\r\nto the end", 200, "to the end"},
        {"HTTP/1.0 404 Not Found\nContent-Length: 0\n\n", 404, ""},
        {"HTTP/1.1 503\r\n\r\n", 503, ""},
        {"HTTP/1.1 100 Continue\r\n\r\n" HEAD "Content-Length: 2\r\n\r\n{}", 200, "{}"},
        {HEAD "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n7;x=y\r\n, world\r\n0\r\n\r\n", 200,
         "hello, world"},
        {HEAD "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\nA\r\n0123456789\r\n0\r\n"
              "Trailer: x\r\n\r\n",
         200, "0123456789"},
        {HEAD "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200, ""},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct ph_ctl_answer a;
        cr_assert_eq(ph_ctl_parse(rows[i].in, strlen(rows[i].in), &a), 0, "row %zu", i);
        cr_assert_eq(a.status, rows[i].status, "row %zu", i);
        cr_assert_str_eq(a.body, rows[i].body, "row %zu", i);
        cr_assert_eq(a.n, strlen(rows[i].body));
        free(a.body);
    }
}

Test(turnctl_http, refuses_half_answers_and_what_is_none)
{
    static const char *const rows[] = {
        "",
        "HTTP/1.1 200 OK",
        HEAD "Content-Length: 5\r\n",
        HEAD "Content-Length: 5\r\n\r\nhell",
        HEAD "Content-Length: x\r\n\r\nhello",
        HEAD "Content-Length: 99999999999999999999\r\n\r\n",
        HEAD "Transfer-Encoding: gzip\r\n\r\nhello",
        HEAD "Transfer-Encoding: chunked\r\n\r\n5\r\nhell",
        HEAD "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        HEAD "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n",
        HEAD "Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n0\r\n\r\n",
        HEAD "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        "HTTP/2 200\r\n\r\n",
        "HTTP/1.1 20\r\n\r\n",
        "HTTP/1.1 999 x\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2p1\r\n",
        "\r\n\r\n",
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct ph_ctl_answer a;
        size_t n = strlen(rows[i]);
        char *exact = malloc(n + 1); /* for the sanitizer: not a byte more */
        exact = realloc(exact, n ? n : 1);
        memcpy(exact, rows[i], n);
        cr_assert_eq(ph_ctl_parse(exact, n, &a), -EPROTO, "row %zu", i);
        free(exact);
    }
}

Test(turnctl_http, encodes_names)
{
    char dst[64];
    cr_assert_str_eq(ph_ctl_encode(dst, "1735689600:al/ice ?#%\xFF~"),
                     "1735689600%3Aal%2Fice%20%3F%23%25%FF~");
}

/* ---- text ---- */

Test(turnctl_table, makes_text_harmless)
{
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"plain", "plain"},
        {"gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x98\x80",
         "gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x98\x80"},
        {"\x1B]0;title\x07", "\\x1b]0;title\\x07"},
        {"a\nb\r", "a\\x0ab\\x0d"},
        {"\x7F", "\\x7f"},
        {"\xC2\x9B"
         "2J",
         "\\u{9b}2J"},
        {"\xE2\x80\xAE"
         "txt.exe",
         "\\u{202e}txt.exe"},
        {"\xE2\x81\xA6x\xEF\xBB\xBF", "\\u{2066}x\\u{feff}"},
        {"\xFF\xC0\xAF\xED\xA0\x80", "\\xff\\xc0\\xaf\\xed\\xa0\\x80"},
        {"cut \xE2\x82", "cut \\xe2\\x82"},
        {"", ""},
        {NULL, "-"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char *out = ph_ctl_plain(rows[i].in, false);
        cr_assert_str_eq(out, rows[i].out, "row %zu: %s", i, out);
        free(out);
    }
    char *out = ph_ctl_plain("a\nb\x1B\n", true);
    cr_assert_str_eq(out, "a\nb\\x1b\n");
    free(out);
}

Test(turnctl_table, tells_numbers_and_spans_shortly)
{
    char n[16], s[24];
    cr_assert_str_eq(ph_ctl_short(n, 0), "0");
    cr_assert_str_eq(ph_ctl_short(n, 999), "999");
    cr_assert_str_eq(ph_ctl_short(n, 1000), "1.0k");
    cr_assert_str_eq(ph_ctl_short(n, 123456), "123k");
    cr_assert_str_eq(ph_ctl_short(n, 1.5e19), "15.0E");
    cr_assert_str_eq(ph_ctl_span(s, -5), "0s");
    cr_assert_str_eq(ph_ctl_span(s, 59.9), "59s");
    cr_assert_str_eq(ph_ctl_span(s, 3599), "59m59s");
    cr_assert_str_eq(ph_ctl_span(s, 3600), "1h00m");
    cr_assert_str_eq(ph_ctl_span(s, 90061), "1d01h");
}

/* The table as it is printed. */
static const char *printed(const struct ph_ctl_table *t, unsigned width)
{
    static char text[4096];
    FILE *f = fmemopen(text, sizeof text, "w");
    ph_ctl_print(t, width, f);
    fclose(f);
    return text;
}

Test(turnctl_table, fits_the_terminal)
{
    struct ph_ctl_table t = {.columns = 3,
                             .head = {"ID", "USER", "BYTES"},
                             .right = {[2] = true},
                             .shrink = {[1] = true}};
    ph_ctl_row(&t, (const char *[]){"1",
                                    "al\xC3\xAD"
                                    "ce of a long name",
                                    "5"});
    ph_ctl_row(&t, (const char *[]){"22", NULL, "12345"});
    cr_assert_str_eq(printed(&t, 0), "ID  USER                  BYTES\n"
                                     "1   al\xC3\xAD"
                                     "ce of a long name      5\n"
                                     "22  -                     12345\n");
    cr_assert_str_eq(printed(&t, 24), "ID  USER           BYTES\n"
                                      "1   al\xC3\xAD"
                                      "ce of a ..      5\n"
                                      "22  -              12345\n");
    const char *narrow = printed(&t, 5);
    cr_assert_not_null(strstr(narrow, "al\xC3\xAD"
                                      "ce ..  "),
                       "never less than eight: %s", narrow);
    ph_ctl_table_fini(&t);
    cr_assert_str_eq(printed(&t, 80), "ID  USER  BYTES\n");
}
#else
#include <criterion/criterion.h>

Test(turnctl_parts, are_left_out_of_this_build)
{
    cr_skip_test("built without jansson");
}
#endif
