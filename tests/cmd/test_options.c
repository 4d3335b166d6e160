/*
 * The option engine: coturn's rules for files and command lines, values of every kind, and messages that
 * name the place and never a secret.
 */
#include "cmd/common/options.h"
#include "stun/base/addr.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct plain {
    bool flag, shown, quiet;
    uint32_t number, bare, choice;
    const char *text;
    struct ph_addr ip, endpoint;
};

#define AT(m) .offset = (uint32_t)offsetof(struct plain, m)

static const struct ph_opt TABLE[] = {
    {.help = "Heading:"},
    {.name = "flag",
     .letter = 'f',
     .kind = PH_OPT_BOOL,
     AT(flag),
     .standard = "no",
     .help = "A flag"},
    {.name = "no-show", .kind = PH_OPT_BOOL, AT(shown), .flags = PH_OPT_INVERT, .help = "Hide"},
    {.name = "quiet", .letter = 'q', .kind = PH_OPT_BOOL, AT(quiet), .help = "Quiet"},
    {.name = "number",
     .letter = 'n',
     .kind = PH_OPT_UINT,
     .min = 2,
     .max = 65535,
     AT(number),
     .words = "N",
     .standard = "7",
     .help = "A number"},
    {.name = "bare",
     .kind = PH_OPT_UINT,
     .dflt = 600,
     .flags = PH_OPT_BARE,
     AT(bare),
     .words = "S",
     .help = "A number that may be left out"},
    {.name = "choice",
     .kind = PH_OPT_CHOICE,
     .words = "one|two|three",
     AT(choice),
     .help = "A word"},
    {.name = "text", .letter = 't', .kind = PH_OPT_TEXT, AT(text), .words = "TEXT", .help = "Text"},
    {.name = "ip", .kind = PH_OPT_IP, AT(ip), .words = "IP", .help = "An address"},
    {.name = "endpoint", .kind = PH_OPT_ENDPOINT, .min = 3478, AT(endpoint), .help = "With port"},
    {.name = "many",
     .letter = 'm',
     .kind = PH_OPT_OTHER,
     .flags = PH_OPT_REPEAT,
     .offset = PH_OPT_NOWHERE,
     .help = "Several"},
    {.name = "secret",
     .letter = 's',
     .kind = PH_OPT_TEXT,
     .flags = PH_OPT_SECRET,
     AT(text),
     .help = "Hidden"},
    {.name = "pin",
     .kind = PH_OPT_UINT,
     .max = 9999,
     .flags = PH_OPT_SECRET,
     AT(number),
     .help = "A hidden number"},
    {.name = "user",
     .letter = 'u',
     .kind = PH_OPT_OTHER,
     .flags = PH_OPT_SECRET_TAIL | PH_OPT_REPEAT,
     .offset = PH_OPT_NOWHERE,
     .help = "NAME:PASSWORD"},
    {.name = "here", .kind = PH_OPT_BOOL, .flags = PH_OPT_ARGV, AT(quiet), .help = "Not in files"},
    {.name = "gone",
     .kind = PH_OPT_OTHER,
     .status = PH_OPT_IGNORED,
     .offset = PH_OPT_NOWHERE,
     .note = "no such thing here"},
    {.name = "missed",
     .kind = PH_OPT_BOOL,
     .status = PH_OPT_IGNORED,
     .flags = PH_OPT_TELL,
     .offset = PH_OPT_NOWHERE,
     .note = "not in this version"},
    {.name = "never",
     .kind = PH_OPT_BOOL,
     .status = PH_OPT_REFUSED,
     .offset = PH_OPT_NOWHERE,
     .note = "do that instead"},
};

static struct ph_opts *opts_new(void)
{
    return ph_opts_new(TABLE, sizeof TABLE / sizeof *TABLE);
}

static struct ph_opts *from_text(const char *text)
{
    struct ph_opts *o = opts_new();
    ph_opts_read_text(o, "t.conf", text, strlen(text));
    return o;
}

/* Reads words separated by '|' as a command line; they live until the next call. */
static struct ph_opts *from_args(const char *words)
{
    static char copy[512];
    char *argv[32] = {"program"};
    int argc = 1;
    struct ph_opts *o = opts_new();
    strcpy(copy, words);
    for (char *w = strtok(copy, "|"); w; w = strtok(NULL, "|"))
        argv[argc++] = w;
    ph_opts_read_argv(o, argc, argv);
    return o;
}

static struct plain apply(struct ph_opts *o)
{
    struct plain p = {.shown = true, .number = 7, .text = "default"};
    ph_opts_apply(o, &p);
    return p;
}

static void expect_message(const struct ph_opts *o, size_t i, enum ph_log_level level,
                           const char *text)
{
    const struct ph_opt_message *m = ph_opts_message(o, i);
    cr_assert_not_null(m, "no message %zu, wanted: %s", i, text);
    cr_expect_eq(m->level, level, "%s", m->text);
    cr_expect_str_eq(m->text, text);
}

/* The only message of a file with one line. */
static void expect_bad(const char *line, const char *message)
{
    struct ph_opts *o = from_text(line);
    apply(o);
    expect_message(o, 0, PH_LOG_ERROR, message);
    cr_expect_null(ph_opts_message(o, 1), "%s", line);
    cr_expect(ph_opts_failed(o));
    ph_opts_free(o);
}

static void expect_text(const char *file, const char *value)
{
    struct ph_opts *o = from_text(file);
    struct plain p = apply(o);
    cr_expect_str_eq(p.text, value, "%s gave \"%s\"", file, p.text);
    cr_expect_not(ph_opts_failed(o));
    ph_opts_free(o);
}

/* ---- lines ---- */

Test(options, ends_the_name_at_blank_tab_or_equals)
{
    expect_text("text=x", "x");
    expect_text("text x", "x");
    expect_text("text\tx", "x");
    expect_text("text = x", "x");
    expect_text("text \t== =x", "x");
    expect_text("   text=x", "x");
    expect_text("\ttext=x", "x");
}

Test(options, takes_the_rest_as_value)
{
    expect_text("text=a=b", "a=b");
    expect_text("text=a b  c", "a b  c");
    expect_text("text=x   \t", "x");
    expect_text("text=x\r\n", "x");
    expect_text("text=", "");
    expect_text("text", "");
    expect_text("text=user=a password=b", "user=a password=b");
}

Test(options, drops_quotes)
{
    expect_text("text=\"x y\"", "x y");
    expect_text("text=\"x\"  ", "x");
    expect_text("text=\"x  \"", "x  ");
    expect_text("text=\"x", "x");
    expect_text("text=\"", "");
    expect_text("text=\"\"", "");
    expect_text("text=x\"", "x\"");
    expect_text("text=\"a\"b\"", "a\"b");
}

Test(options, knows_comments_at_the_start_of_a_line_alone)
{
    struct ph_opts *o = from_text("# text=1\n   #text=2\n\t# text=3\n\n   \n#");
    cr_expect_null(ph_opts_each(o, NULL, NULL));
    cr_expect_null(ph_opts_message(o, 0));
    ph_opts_free(o);
    o = from_text("text=x # note");
    cr_expect_str_eq(apply(o).text, "x # note");
    expect_message(o, 0, PH_LOG_WARN,
                   "t.conf:1: \"#\" is part of the value: a comment needs a line of its own");
    cr_expect_not(ph_opts_failed(o));
    ph_opts_free(o);
    expect_text("text=x#y", "x#y");
}

Test(options, warns_of_a_semicolon)
{
    struct ph_opts *o = from_text("\ntext=x;");
    cr_expect_str_eq(apply(o).text, "x;");
    expect_message(o, 0, PH_LOG_WARN, "t.conf:2: \";\" at the end is part of the value");
    ph_opts_free(o);
}

Test(options, bounds_lines_to_1024_bytes)
{
    char line[1200];
    struct ph_opts *o = opts_new();
    memset(line, 'x', sizeof line);
    memcpy(line, "text=", 5);
    ph_opts_read_text(o, "t.conf", line, 1024);
    cr_expect_not(ph_opts_failed(o));
    cr_expect_eq(strlen(apply(o).text), 1019);
    ph_opts_read_text(o, "t.conf", line, 1025);
    expect_message(o, 0, PH_LOG_ERROR, "t.conf:1: the line is too long: 1024 bytes are the most");
    line[0] = '#';
    ph_opts_read_text(o, "u.conf", line, sizeof line);
    cr_expect_null(ph_opts_message(o, 1), "comments may be of any length");
    memset(line, ' ', sizeof line);
    memcpy(line + 1100, "flag", 4);
    ph_opts_read_text(o, "v.conf", line, sizeof line);
    cr_expect_null(ph_opts_message(o, 1), "blanks around do not count");
    cr_expect(apply(o).flag);
    ph_opts_free(o);
}

Test(options, refuses_nul_bytes)
{
    struct ph_opts *o = opts_new();
    ph_opts_read_text(o, "t.conf", "text=a\0b\nflag", 13);
    expect_message(o, 0, PH_LOG_ERROR, "t.conf:1: the line has a NUL byte: this is no text");
    cr_expect(apply(o).flag, "the next line counts");
    ph_opts_free(o);
}

Test(options, takes_files_from_elsewhere)
{
    expect_text("\xEF\xBB\xBFtext=bom", "bom");
    expect_text("flag\r\ntext=crlf\r\n", "crlf");
    expect_text("\n\n\ntext=last line without end", "last line without end");
}

Test(options, warns_of_unknown_keys_and_names_the_nearest)
{
    struct ph_opts *o = from_text("nubmer=5\nzzzzzz=1\nFlag\n--flag\n=x\n");
    apply(o);
    expect_message(o, 0, PH_LOG_WARN,
                   "t.conf:1: unknown key \"nubmer\" is ignored: did you mean \"number\"?");
    expect_message(o, 1, PH_LOG_WARN, "t.conf:2: unknown key \"zzzzzz\" is ignored");
    expect_message(o, 2, PH_LOG_WARN,
                   "t.conf:3: unknown key \"Flag\" is ignored: did you mean \"flag\"?");
    expect_message(o, 3, PH_LOG_WARN,
                   "t.conf:4: unknown key \"--flag\" is ignored: did you mean \"flag\"?");
    expect_message(o, 4, PH_LOG_WARN, "t.conf:5: unknown key \"\" is ignored");
    cr_expect_not(ph_opts_failed(o));
    ph_opts_free(o);
}

Test(options, keeps_command_line_options_out_of_files)
{
    struct ph_opts *o = from_text("here");
    cr_expect_not(apply(o).quiet);
    expect_message(o, 0, PH_LOG_WARN, "t.conf:1: here belongs on the command line: ignored");
    ph_opts_free(o);
}

/* ---- values ---- */

Test(options, reads_booleans_by_their_first_letter)
{
    static const char *const ON[] = {"",    "1", "9",    "y",  "Y",  "yes",
                                     "yup", "t", "True", "on", "On", "ON"};
    static const char *const OFF[] = {"0", "0x",    "n",   "No",  "nothing",
                                      "f", "FALSE", "off", "Off", "OFF"};
    static const char *const NEITHER[] = {"oN", "oFF", "of", "x", "-1", "+", "enabled", "\"yes\""};
    bool v = false;
    for (size_t i = 0; i < sizeof ON / sizeof *ON; i++)
        cr_expect(ph_opts_bool(ON[i], &v) && v, "\"%s\"", ON[i]);
    for (size_t i = 0; i < sizeof OFF / sizeof *OFF; i++)
        cr_expect(ph_opts_bool(OFF[i], &v) && !v, "\"%s\"", OFF[i]);
    for (size_t i = 0; i < sizeof NEITHER / sizeof *NEITHER; i++)
        cr_expect_not(ph_opts_bool(NEITHER[i], &v), "\"%s\"", NEITHER[i]);
}

Test(options, stores_values)
{
    struct ph_opts *o = from_text("flag=yes\nno-show\nnumber=65535\nbare\nchoice=three\n"
                                  "ip=2001:db8::1\nendpoint=192.0.2.1\n");
    struct plain p = apply(o);
    char text[PH_ADDR_TEXT];
    cr_expect_not(ph_opts_failed(o));
    cr_expect(p.flag);
    cr_expect_not(p.shown);
    cr_expect_eq(p.number, 65535);
    cr_expect_eq(p.bare, 600);
    cr_expect_eq(p.choice, 2);
    cr_expect_str_eq(ph_addr_text(&p.ip, text), "2001:db8::1");
    cr_expect_str_eq(ph_addr_text(&p.endpoint, text), "192.0.2.1:3478");
    ph_opts_free(o);
    o = from_text("bare=5\nendpoint=[2001:db8::1]:99\nno-show=no\n");
    p = apply(o);
    cr_expect_eq(p.bare, 5);
    cr_expect(p.shown);
    cr_expect_str_eq(ph_addr_text(&p.endpoint, text), "[2001:db8::1]:99");
    cr_expect_str_eq(p.text, "default", "what is not given is left alone");
    ph_opts_free(o);
}

Test(options, says_what_is_wrong_and_what_would_be_right)
{
    expect_bad("flag=maybe", "t.conf:1: flag: \"maybe\" is neither true nor false: give yes or no, "
                             "true or false, 1 or 0, on or off");
    expect_bad("\nnumber=70000",
               "t.conf:2: number: \"70000\" is out of range: give a whole number from 2 to 65535");
    expect_bad("number=1",
               "t.conf:1: number: \"1\" is out of range: give a whole number from 2 to 65535");
    expect_bad("number=99999999999999999999999999",
               "t.conf:1: number: \"99999999999999999999999999\" is out of range: give a whole "
               "number from 2 to 65535");
    expect_bad("number=-5",
               "t.conf:1: number: \"-5\" is not a number: give a whole number from 2 to 65535");
    expect_bad("number=12k",
               "t.conf:1: number: \"12k\" is not a number: give a whole number from 2 to 65535");
    expect_bad("number",
               "t.conf:1: number: \"\" is not a number: give a whole number from 2 to 65535");
    expect_bad("choice=four", "t.conf:1: choice: \"four\" is not known: give one of one|two|three");
    expect_bad("choice=", "t.conf:1: choice: \"\" is not known: give one of one|two|three");
    expect_bad("choice=on", "t.conf:1: choice: \"on\" is not known: give one of one|two|three");
    expect_bad("ip=example.org", "t.conf:1: ip: \"example.org\" is not an address: give a numeric "
                                 "IP address without port, as 192.0.2.1 or 2001:db8::1");
    expect_bad("ip=192.0.2.1:80",
               "t.conf:1: ip: \"192.0.2.1:80\" is not an address: give a numeric "
               "IP address without port, as 192.0.2.1 or 2001:db8::1");
    expect_bad("endpoint=x", "t.conf:1: endpoint: \"x\" is not an address: give a numeric one, as "
                             "192.0.2.1:3478 or [2001:db8::1]:3478");
    expect_bad("endpoint=192.0.2.1:0",
               "t.conf:1: endpoint: \"192.0.2.1:0\" has no port: give it as "
               "192.0.2.1:3478 or [2001:db8::1]:3478");
    expect_bad("choice=a\tb\x01", "t.conf:1: choice: \"a\\x09b\\x01\" is not known: give one of "
                                  "one|two|three");
}

Test(options, explains_a_comment_behind_a_number)
{
    struct ph_opts *o = from_text("number=12 # a dozen");
    apply(o);
    expect_message(o, 1, PH_LOG_ERROR,
                   "t.conf:1: number: \"12 # a dozen\" is not a number (a comment needs a line of "
                   "its own): give a whole number from 2 to 65535");
    ph_opts_free(o);
}

Test(options, refuses_and_ignores_with_the_reason)
{
    struct ph_opts *o = from_text("gone=1\nmissed\nnever\nmissed=no\nnever=off\n");
    apply(o);
    expect_message(o, 0, PH_LOG_WARN, "t.conf:2: missed: ignored: not in this version");
    expect_message(o, 1, PH_LOG_ERROR, "t.conf:3: never: refused: do that instead");
    cr_expect_null(ph_opts_message(o, 2), "what is turned off anyway is no matter");
    ph_opts_free(o);
}

/* ---- command line ---- */

Test(options, reads_long_and_short_options)
{
    struct ph_opts *o = from_args("--text=a b|--number|9|-f|--bare|--choice=two");
    struct plain p = apply(o);
    cr_expect_not(ph_opts_failed(o));
    cr_expect_str_eq(p.text, "a b");
    cr_expect_eq(p.number, 9);
    cr_expect(p.flag);
    cr_expect_eq(p.bare, 600);
    cr_expect_eq(p.choice, 1);
    ph_opts_free(o);
    o = from_args("-fqn9|-tx y|--bare=4|--flag=no");
    p = apply(o);
    cr_expect_not(ph_opts_failed(o));
    cr_expect(p.quiet);
    cr_expect_eq(p.number, 9);
    cr_expect_str_eq(p.text, "x y");
    cr_expect_eq(p.bare, 4);
    cr_expect_not(p.flag, "the last one counts");
    ph_opts_free(o);
}

Test(options, takes_values_that_look_like_options)
{
    struct ph_opts *o = from_args("--text|--flag|-n|3");
    struct plain p = apply(o);
    cr_expect_str_eq(p.text, "--flag");
    cr_expect_not(p.flag);
    cr_expect_eq(p.number, 3);
    ph_opts_free(o);
    o = from_args("--text=");
    cr_expect_str_eq(apply(o).text, "", "as in --pidfile=");
    cr_expect_not(ph_opts_failed(o));
    ph_opts_free(o);
}

Test(options, takes_unambiguous_beginnings_of_names)
{
    struct ph_opts *o = from_args("--numb|9|--fl");
    struct plain p = apply(o);
    cr_expect_not(ph_opts_failed(o));
    cr_expect_eq(p.number, 9);
    cr_expect(p.flag);
    ph_opts_free(o);
    o = from_args("--n|9");
    expect_message(o, 0, PH_LOG_ERROR, "command line: --n: several options begin like this");
    ph_opts_free(o);
}

Test(options, says_what_is_wrong_with_a_command_line)
{
    static const char *const BAD[][2] = {
        {"--nubmer=5", "command line: --nubmer: unknown option: did you mean --number?"},
        {"--zzzzzzz", "command line: --zzzzzzz: unknown option (--help lists them)"},
        {"-z", "command line: -z: unknown option (--help lists them)"},
        {"-fz", "command line: -z: unknown option (--help lists them)"},
        {"--number", "command line: --number: needs a value: --number=N"},
        {"-n", "command line: --number: needs a value: --number=N"},
        {"--number=x",
         "command line: --number: \"x\" is not a number: give a whole number from 2 to 65535"},
        {"stray", "command line: \"stray\" belongs to no option"},
        {"--|-f", "command line: \"-f\" belongs to no option"},
        {"-", "command line: \"-\" belongs to no option"},
        {"--bare|600", "command line: \"600\" belongs to no option: write --bare=600"},
        {"--never", "command line: --never: refused: do that instead"},
    };
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        struct ph_opts *o = from_args(BAD[i][0]);
        apply(o);
        expect_message(o, 0, PH_LOG_ERROR, BAD[i][1]);
        ph_opts_free(o);
    }
}

Test(options, lets_the_command_line_win_over_the_file)
{
    struct ph_opts *o = from_args("--number=3|--many=c|--many=d");
    const char *text = "number=4\nflag\nmany=a\nmany=b\n";
    ph_opts_read_text(o, "t.conf", text, strlen(text));
    struct plain p = apply(o);
    char all[8] = "";
    cr_expect_eq(p.number, 3);
    cr_expect(p.flag);
    for (const struct ph_opt_set *s = NULL; (s = ph_opts_each(o, "many", s));)
        strcat(all, s->value);
    cr_expect_str_eq(all, "abcd", "the file's come first");
    cr_expect_str_eq(ph_opts_last(o, "many")->value, "d");
    cr_expect_null(ph_opts_last(o, "text"));
    ph_opts_free(o);
}

/* ---- secrets ---- */

Test(options, never_shows_secrets)
{
    struct ph_opts *o = from_text("secret=topsecret;\nuser=alice:topsecret # x\npin=topsecret\n"
                                  "user=topsecret\n");
    char shown[64];
    apply(o);
    FILE *f = tmpfile();
    ph_opts_report(o, f);
    for (size_t i = 0; ph_opts_message(o, i); i++)
        cr_expect_null(strstr(ph_opts_message(o, i)->text, "topsecret"), "%s",
                       ph_opts_message(o, i)->text);
    rewind(f);
    for (char line[256]; fgets(line, sizeof line, f);)
        cr_expect_null(strstr(line, "topsecret"), "%s", line);
    fclose(f);
    const struct ph_opt_set *s = ph_opts_each(o, "user", NULL);
    cr_expect_str_eq(ph_opts_shown(s, shown, sizeof shown), "alice:***");
    s = ph_opts_each(o, "user", s);
    cr_expect_str_eq(ph_opts_shown(s, shown, sizeof shown), "***", "may be a lone password");
    ph_opts_free(o);
}

Test(options, wipes_secrets_from_the_command_line)
{
    char a[] = "--secret=topsecret", b[] = "-s", c[] = "topsecret", d[] = "-utopsecret:x",
         e[] = "--user", f[] = "bob:topsecret", g[] = "--text=kept", h[] = "--sec=topsecret";
    char *argv[] = {"program", a, b, c, d, e, f, g, h, NULL};
    struct ph_opts *o = opts_new();
    ph_opts_read_argv(o, 9, argv);
    cr_expect_str_eq(a, "--secret=*");
    cr_expect_str_eq(c, "*");
    cr_expect_str_eq(d, "-u*");
    cr_expect_str_eq(f, "*");
    cr_expect_str_eq(g, "--text=kept");
    cr_expect_str_eq(h, "--sec=*");
    cr_expect_null(memmem(a, sizeof a, "topsecret", 9), "all of it is overwritten");
    cr_expect_null(memmem(c, sizeof c, "secret", 6), "all of it is overwritten");
    cr_expect_str_eq(ph_opts_last(o, "user")->value, "bob:topsecret", "we still know it");
    ph_opts_free(o);
}

/* ---- files and texts ---- */

Test(options, reads_files)
{
    char path[] = "/tmp/pinhole-options-XXXXXX", place[64];
    int fd = mkstemp(path);
    struct ph_opts *o = opts_new();
    cr_assert_eq(write(fd, "\nnumber=5\n", 10), 10);
    close(fd);
    cr_expect_eq(ph_opts_read_file(o, path), 0);
    cr_expect_eq(apply(o).number, 5);
    ph_opts_place(ph_opts_last(o, "number"), place, sizeof place);
    cr_expect(strncmp(place, path, strlen(path)) == 0 && strcmp(place + strlen(path), ":2") == 0);
    unlink(path);
    cr_expect_lt(ph_opts_read_file(o, path), 0);
    cr_expect_lt(ph_opts_read_file(o, "/"), 0);
    cr_expect_lt(ph_opts_read_file(o, "/dev/zero"), 0, "must end");
    ph_opts_free(o);
}

static char *printed(void (*print)(const struct ph_opts *, FILE *), const struct ph_opts *o)
{
    char *text = NULL;
    size_t n;
    FILE *f = open_memstream(&text, &n);
    print(o, f);
    fclose(f);
    return text;
}

Test(options, reports_what_becomes_of_each)
{
    struct ph_opts *o = from_text("number=5\nnumber=7\ngone=1\nnever\nnever=no\nflag\nuser=a:b\n");
    char *text = printed(ph_opts_report, o);
    cr_expect_str_eq(text, "overridden  t.conf:1: number=5  [coturn's default: 7]\n"
                           "honoured    t.conf:2: number=7\n"
                           "ignored     t.conf:3: gone=1  (no such thing here)\n"
                           "refused     t.conf:4: never  (do that instead)\n"
                           "ignored     t.conf:5: never=no  (do that instead)\n"
                           "honoured    t.conf:6: flag  [coturn's default: no]\n"
                           "honoured    t.conf:7: user=a:***\n");
    free(text);
    ph_opts_free(o);
}

Test(options, helps)
{
    struct ph_opts *o = opts_new();
    char *text = printed(ph_opts_help, o);
    cr_expect_not_null(strstr(text, "\nHeading:\n"));
    cr_expect_not_null(strstr(text, "  -n, --number N                      A number\n"));
    cr_expect_not_null(strstr(text, "      --bare[=S]                      A number that may"));
    cr_expect_not_null(strstr(text, "      --choice one|two|three          A word\n"));
    cr_expect_null(strstr(text, "never"), "only what works");
    free(text);
    ph_opts_free(o);
}
