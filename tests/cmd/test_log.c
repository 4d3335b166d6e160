/* Log lines: escaping, formats, targets, and opening a file anew. */
#include "cmd/common/log.h"

#include "stun/base/error.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

static char path[64];

static void make_path(void)
{
    strcpy(path, "/tmp/pinhole-log-XXXXXX");
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
}

static void remove_path(void)
{
    unlink(path);
}

TestSuite(cmd_log, .init = make_path, .fini = remove_path);

/* All that the file holds. */
static const char *content(const char *file)
{
    static char text[65536];
    int fd = open(file, O_RDONLY);
    cr_assert_geq(fd, 0, "%s", file);
    ssize_t n = read(fd, text, sizeof text - 1);
    cr_assert_geq(n, 0);
    text[n] = '\0';
    close(fd);
    return text;
}

static struct ph_logger *open_log(struct ph_logger_conf c)
{
    static struct ph_logger l;
    char why[256];
    c.file = c.file ? c.file : path;
    c.program = "test";
    cr_assert_eq(ph_logger_open(&l, &c, why, sizeof why), 0, "%s", why);
    return &l;
}

static void expect_match(const char *text, const char *pattern)
{
    regex_t re;
    cr_assert_eq(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0, "%s", pattern);
    cr_assert_eq(regexec(&re, text, 0, NULL, 0), 0, "\"%s\" is not like \"%s\"", text, pattern);
    regfree(&re);
}

static void say(struct ph_logger *l, enum ph_log_level level, const char *text)
{
    struct ph_env env = {.log = &l->log};
    ph_logf(&env, level, "%s", text);
}

#define TIME "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z "

Test(cmd_log, writes_time_level_and_text)
{
    struct ph_logger *l = open_log((struct ph_logger_conf){.level = PH_LOG_INFO});
    say(l, PH_LOG_WARN, "some text");
    say(l, PH_LOG_DEBUG, "not wanted");
    expect_match(content(path), TIME "WARN  some text\n$");
    ph_logger_close(l);
}

/* What each text becomes in a line and in JSON. */
Test(cmd_log, escapes_what_could_fake_a_line_or_steer_a_terminal)
{
    static const struct {
        const char *in, *text, *json;
    } rows[] = {
        {"plain", "plain", "plain"},
        {"two\nlines", "two\\x0alines", "two\\u000alines"},
        {"\x1B[2J", "\\x1b[2J", "\\u001b[2J"},
        {"\x7F", "\\x7f", "\\u007f"},
        {"\"q\" \\", "\"q\" \\", "\\\"q\\\" \\\\"},
        {"gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x98\x80",
         "gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x98\x80",
         "gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x98\x80"},
        {"\xC2\x9B"
         "2J",
         "\\x9b2J", "\\u009b2J"}, /* CSI as one character */
        {"\xE2\x80\xAE"
         "gpj",
         "\\u202egpj", "\\u202egpj"}, /* turns what follows round */
        {"\xE2\x80\x90 \xEF\xBB\xBF", "\xE2\x80\x90 \\ufeff", "\xE2\x80\x90 \\ufeff"},
        {"\xFF\xFE", "\\xff\\xfe", "\\ufffd\\ufffd"},
        {"\xC0\xAF", "\\xc0\\xaf", "\\ufffd\\ufffd"}, /* overlong */
        {"\xE0\x80\xAF", "\\xe0\\x80\\xaf", "\\ufffd\\ufffd\\ufffd"},
        {"\xED\xA0\x80", "\\xed\\xa0\\x80", "\\ufffd\\ufffd\\ufffd"}, /* a surrogate */
        {"\xF4\x90\x80\x80", "\\xf4\\x90\\x80\\x80", "\\ufffd\\ufffd\\ufffd\\ufffd"},
        {"cut \xE2\x82", "cut \\xe2\\x82", "cut \\ufffd\\ufffd"},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        for (int json = 0; json < 2; json++) {
            char want[256];
            cr_assert_eq(truncate(path, 0), 0);
            struct ph_logger *l = open_log((struct ph_logger_conf){.json = json});
            say(l, PH_LOG_ERROR, rows[i].in);
            if (json)
                snprintf(want, sizeof want, "\"message\":\"%s\"}\n", rows[i].json);
            else
                snprintf(want, sizeof want, "Z ERROR %s\n", rows[i].text);
            const char *got = content(path);
            size_t n = strlen(got), k = strlen(want);
            cr_assert(n >= k && strcmp(got + n - k, want) == 0, "row %zu: %s", i, got);
            cr_assert_eq(strchr(got, '\n'), got + n - 1, "one line");
            ph_logger_close(l);
        }
}

Test(cmd_log, writes_long_hostile_lines_whole)
{
    char text[1024];
    memset(text, 1, sizeof text - 1);
    text[sizeof text - 1] = '\0';
    struct ph_logger *l = open_log((struct ph_logger_conf){.json = true});
    say(l, PH_LOG_ERROR, text);
    const char *got = content(path);
    cr_assert_gt(strlen(got), 6 * 1023);
    cr_assert_str_eq(got + strlen(got) - 3, "\"}\n");
    ph_logger_close(l);
}

Test(cmd_log, writes_json)
{
    struct ph_logger *l = open_log((struct ph_logger_conf){.json = true});
    say(l, PH_LOG_ERROR, "x");
    expect_match(content(path), "^\\{\"time\":\"[-0-9T:.]+Z\",\"level\":\"error\","
                                "\"program\":\"test\",\"message\":\"x\"\\}\n$");
    ph_logger_close(l);
}

Test(cmd_log, takes_a_time_format_with_milliseconds)
{
    struct ph_logger *l = open_log((struct ph_logger_conf){.time_format = "%H:%M:%S,%f%% %z"});
    say(l, PH_LOG_ERROR, "x");
    expect_match(content(path), "^[0-9:]{8},[0-9]{3}% [-+][0-9]{4} ERROR x\n$");
    ph_logger_close(l);
}

Test(cmd_log, survives_absurd_time_formats)
{
    static const char *const formats[] = {"%", "%%%",
                                          "%f%f%f%f%f%f%f%f%f%f%f%f%f%f%f%f%f%f%f%f%f%f%f",
                                          "%c%c%c%c%c%c%c%c%c%c%c%c%c%c%c%c%c%c%c%c%c%c", "\n%n"};
    for (size_t i = 0; i < COUNT(formats); i++) {
        struct ph_logger *l = open_log((struct ph_logger_conf){.time_format = formats[i]});
        say(l, PH_LOG_ERROR, "x");
        const char *got = content(path);
        cr_assert_str_eq(got + strlen(got) - 3, " x\n");
        ph_logger_close(l);
    }
}

Test(cmd_log, opens_the_file_anew)
{
    char moved[80];
    snprintf(moved, sizeof moved, "%s.1", path);
    struct ph_logger *l = open_log((struct ph_logger_conf){0});
    say(l, PH_LOG_ERROR, "first");
    cr_assert_eq(rename(path, moved), 0);
    say(l, PH_LOG_ERROR, "second");
    cr_assert_eq(ph_logger_reopen(l), 0);
    say(l, PH_LOG_ERROR, "third");
    expect_match(content(moved), "first\n.*second\n$");
    expect_match(content(path), "ERROR third\n$");
    ph_logger_close(l);
    unlink(moved);
}

Test(cmd_log, goes_on_with_the_old_file_when_it_cannot_be_opened_anew)
{
    char dir[] = "/tmp/pinhole-log-XXXXXX", file[96], moved[64];
    cr_assert_not_null(mkdtemp(dir));
    snprintf(file, sizeof file, "%s/log", dir);
    snprintf(moved, sizeof moved, "%s.away", dir);
    struct ph_logger *l = open_log((struct ph_logger_conf){.file = file});
    cr_assert_eq(rename(dir, moved), 0);
    cr_assert_eq(ph_logger_reopen(l), -ENOENT);
    say(l, PH_LOG_ERROR, "still here");
    snprintf(file, sizeof file, "%s/log", moved);
    expect_match(content(file), "still here\n$");
    ph_logger_close(l);
    unlink(file);
    rmdir(moved);
}

Test(cmd_log, keeps_a_relative_name_when_the_directory_changes)
{
    char dir[] = "/tmp/pinhole-log-XXXXXX", file[64];
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_eq(chdir(dir), 0);
    struct ph_logger *l = open_log((struct ph_logger_conf){.file = "log"});
    cr_assert_eq(chdir("/"), 0);
    cr_assert_eq(ph_logger_reopen(l), 0);
    say(l, PH_LOG_ERROR, "x");
    snprintf(file, sizeof file, "%s/log", dir);
    expect_match(content(file), "x\n$");
    ph_logger_close(l);
    unlink(file);
    rmdir(dir);
}

Test(cmd_log, says_why_it_cannot_be_opened)
{
    struct ph_logger l;
    char why[256];
    cr_assert_eq(
        ph_logger_open(&l, &(struct ph_logger_conf){.file = "/nowhere/log"}, why, sizeof why),
        -ENOENT);
    cr_assert_str_eq(why, "cannot open /nowhere/log: No such file or directory");
    cr_assert_eq(ph_logger_open(&l, &(struct ph_logger_conf){.file = "/tmp"}, why, sizeof why),
                 -EISDIR);
    cr_assert_eq(ph_logger_open(&l, &(struct ph_logger_conf){.file = "syslog", .facility = "mars"},
                                why, sizeof why),
                 PH_E_ARG);
}

Test(cmd_log, knows_facilities_as_people_and_coturn_write_them)
{
    cr_assert(ph_logger_is_facility("daemon"));
    cr_assert(ph_logger_is_facility("LOG_LOCAL7"));
    cr_assert(ph_logger_is_facility("Local0"));
    cr_assert_not(ph_logger_is_facility("local8"));
    cr_assert_not(ph_logger_is_facility("LOG_"));
    cr_assert_not(ph_logger_is_facility(""));
}

/* Standard error goes to the file; $JOURNAL_STREAM says that this is the journal. */
Test(cmd_log, leaves_time_and_level_to_the_journal)
{
    struct stat st;
    char stream[64], why[256];
    struct ph_logger l;
    int fd = open(path, O_WRONLY), saved = dup(STDERR_FILENO);
    cr_assert_eq(fstat(fd, &st), 0);
    snprintf(stream, sizeof stream, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    dup2(fd, STDERR_FILENO);
    int err = ph_logger_open(&l, &(struct ph_logger_conf){.level = PH_LOG_INFO}, why, sizeof why);
    say(&l, PH_LOG_INFO, "x");
    dup2(saved, STDERR_FILENO);
    cr_assert_eq(err, 0);
    cr_assert_str_eq(content(path), "<6>x\n");
    close(fd);
    close(saved);
}

Test(cmd_log, copies_to_standard_error)
{
    char copy[] = "/tmp/pinhole-log-XXXXXX";
    int fd = mkstemp(copy), saved = dup(STDERR_FILENO);
    struct ph_logger *l = open_log((struct ph_logger_conf){.also_stderr = true});
    dup2(fd, STDERR_FILENO);
    say(l, PH_LOG_ERROR, "x");
    dup2(saved, STDERR_FILENO);
    expect_match(content(path), "ERROR x\n$");
    expect_match(content(copy), "ERROR x\n$");
    ph_logger_close(l);
    unlink(copy);
    close(fd);
    close(saved);
}

/* ---- fields ---- */

static struct ph_log_field text_field(const char *key, const void *p, size_t n)
{
    return (struct ph_log_field){
        .key = key, .kind = PH_LOG_TEXT, .text = {.p = (const uint8_t *)p, .n = n}};
}

/* The line that a message with fields becomes, from behind the level (text) or the message (JSON). */
static const char *line_of(bool json, const struct ph_log_field *f, size_t n)
{
    cr_assert_eq(truncate(path, 0), 0);
    struct ph_logger *l = open_log((struct ph_logger_conf){.json = json, .level = PH_LOG_INFO});
    struct ph_env env = {.log = &l->log};
    ph_log_fields(&env, PH_LOG_INFO, "done", f, n);
    ph_logger_close(l);
    const char *got = content(path), *end = strchr(got, '\n');
    cr_assert(end && end[1] == '\0', "one line: %s", got);
    const char *from = strstr(got, json ? "\"message\"" : " INFO  ");
    cr_assert_not_null(from, "%s", got);
    return from + (json ? 0 : 7);
}

Test(cmd_log, writes_fields_as_words_and_as_members)
{
    const struct ph_addr addr[] = {
        {.ip = {192, 0, 2, 1}, .port = 3478, .family = PH_AF_INET},
        {.ip = {0x20, 0x01, 0x0D, 0xB8, [15] = 1}, .family = PH_AF_INET6},
    };
    const struct ph_log_field f[] = {
        {.key = "session", .kind = PH_LOG_WORD, .text = ph_str("000000000000000007")},
        {.key = "bytes", .kind = PH_LOG_UINT, .uint = UINT64_MAX},
        {.key = "duration", .kind = PH_LOG_REAL, .real = 1.5},
        {.key = "client", .kind = PH_LOG_ADDRS, .addr = addr, .n = 1},
        {.key = "peers", .kind = PH_LOG_ADDRS, .addr = addr, .n = 2, .more = 3, .list = true},
        {.key = "none", .kind = PH_LOG_ADDRS, .list = true},
        {.key = "many", .kind = PH_LOG_ADDRS, .more = 9, .list = true},
    };
    cr_assert_str_eq(line_of(false, f, COUNT(f)),
                     "done session=000000000000000007 bytes=18446744073709551615 duration=1.500 "
                     "client=192.0.2.1:3478 peers=192.0.2.1:3478,2001:db8::1,+3 none=- many=+9\n");
    cr_assert_str_eq(line_of(true, f, COUNT(f)),
                     "\"message\":\"done\",\"session\":\"000000000000000007\","
                     "\"bytes\":18446744073709551615,\"duration\":1.500,"
                     "\"client\":\"192.0.2.1:3478\","
                     "\"peers\":[\"192.0.2.1:3478\",\"2001:db8::1\",\"+3\"],\"none\":[],"
                     "\"many\":[\"+9\"]}\n");
}

/* What a client can put into a name; it must not end its quotes, fake a field or a line, or be a format. */
Test(cmd_log, escapes_text_of_clients_in_fields)
{
    static const struct {
        const char *in;
        size_t n;
        const char *text, *json;
    } rows[] = {
        {"%s%n", 4, "%s%n", "%s%n"},
        {"a\nb", 3, "a\\x0ab", "a\\u000ab"},
        {"x\" reason=\"y", 12, "x\\\" reason=\\\"y", "x\\\" reason=\\\"y"},
        {"\\", 1, "\\\\", "\\\\"},
        {"nul\0nul", 7, "nul\\x00nul", "nul\\u0000nul"},
        {"\xFF\x1B", 2, "\\xff\\x1b", "\\ufffd\\u001b"},
        {"../*?[", 6, "../*?[", "../*?["},
        {"", 0, "", ""},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char want[128];
        struct ph_log_field f = text_field("user", rows[i].in, rows[i].n);
        snprintf(want, sizeof want, "done user=\"%s\"\n", rows[i].text);
        cr_assert_str_eq(line_of(false, &f, 1), want);
        snprintf(want, sizeof want, "\"message\":\"done\",\"user\":\"%s\"}\n", rows[i].json);
        cr_assert_str_eq(line_of(true, &f, 1), want);
    }
}

Test(cmd_log, keeps_lines_bounded_and_json_whole)
{
    static char name[4096];
    struct ph_log_field f[8];
    memset(name, 1, sizeof name);
    f[0] = text_field("user", name, sizeof name);
    char want[PH_LOG_TEXT_MAX * 6 + 64],
        *w = want + sprintf(want, "\"message\":\"done\",\"user\":\"");
    for (int i = 0; i < PH_LOG_TEXT_MAX; i++)
        w += sprintf(w, "\\u0001");
    strcpy(w, "...\"}\n");
    cr_assert_str_eq(line_of(true, f, 1), want, "a name of 4 kB is cut");

    for (size_t i = 1; i < COUNT(f); i++)
        f[i] = f[0];
    for (int json = 0; json < 2; json++) {
        const char *got = line_of(json, f, COUNT(f));
        const char *end = json ? "\",\"truncated\":true}\n" : "\" truncated=true\n";
        cr_assert_leq(strlen(got), 16 * 1024);
        cr_assert_gt(strlen(got), 8 * 1024);
        cr_assert_str_eq(got + strlen(got) - strlen(end), end);
    }
}

struct kept {
    char line[256];
    int n;
};

static void keep(void *ctx, enum ph_log_level level, const char *line)
{
    struct kept *k = ctx;
    snprintf(k->line, sizeof k->line, "%d %s", (int)level, line);
    k->n++;
}

Test(cmd_log, gives_fields_as_text_to_a_log_of_somebody_else)
{
    struct kept k = {0};
    struct ph_log log = {.fn = keep, .ctx = &k, .level = PH_LOG_WARN};
    const struct ph_env env = {.log = &log}, none = {0};
    const struct ph_log_field f = {.key = "n", .kind = PH_LOG_UINT, .uint = 7};
    ph_log_fields(&env, PH_LOG_WARN, "done", &f, 1);
    cr_assert_str_eq(k.line, "1 done n=7");
    ph_log_fields(&env, PH_LOG_INFO, "not wanted", &f, 1);
    ph_log_fields(&none, PH_LOG_ERROR, "nowhere", &f, 1);
    cr_assert_eq(k.n, 1);
}
