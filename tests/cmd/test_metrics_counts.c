/* What turnd counts beside its workers, and the text for Prometheus; the whole of it is read in test_metrics.sh. */
#include "cmd/turnd/metrics_priv.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static char *text;
static size_t text_n;

static FILE *begin(void)
{
    free(text);
    text = NULL;
    return open_memstream(&text, &text_n);
}

static void expect(FILE *f, const char *want)
{
    fclose(f);
    cr_assert_str_eq(text, want);
}

static struct ph_turnd_ev up(uint32_t lifetime_s)
{
    return (struct ph_turnd_ev){.type = PH_TURND_ALLOC_UP,
                                .info = {.expires_at = PH_SEC(lifetime_s)}};
}

static struct ph_turnd_ev down(const char *realm, const char *user, uint64_t bytes)
{
    return (struct ph_turnd_ev){.type = PH_TURND_ALLOC_DOWN,
                                .reason = PH_END_RELEASED,
                                .info = {.realm = ph_str(realm),
                                         .user = ph_str(user),
                                         .to_peer_bytes = bytes,
                                         .to_peer_packets = 1,
                                         .to_client_bytes = 2 * bytes,
                                         .to_client_packets = 3}};
}

Test(turnd_metrics, counts_lifetimes_durations_and_bytes)
{
    struct ph_tmetrics *m = ph_tmetrics_new(false);
    struct ph_turnd_ev ev = up(600);
    ph_tmetrics_event(m, &ev, 0);
    ev = up(601);
    ph_tmetrics_event(m, &ev, 0);
    ev = down("r", "u", 500);
    ph_tmetrics_event(m, &ev, PH_MS(1000));
    ph_tmetrics_event(m, &ev, PH_MS(1001));
    FILE *f = begin();
    ph__tmetrics_hist(f, "l", "help", &m->lifetime);
    expect(f, "# HELP l help\n# TYPE l histogram\n"
              "l_bucket{le=\"60\"} 0\nl_bucket{le=\"300\"} 0\nl_bucket{le=\"600\"} 1\n"
              "l_bucket{le=\"900\"} 2\nl_bucket{le=\"1200\"} 2\nl_bucket{le=\"1800\"} 2\n"
              "l_bucket{le=\"3600\"} 2\nl_bucket{le=\"7200\"} 2\nl_bucket{le=\"86400\"} 2\n"
              "l_bucket{le=\"+Inf\"} 2\nl_sum 1201\nl_count 2\n");
    f = begin();
    ph__tmetrics_hist(f, "d", "help", &m->duration);
    fclose(f);
    cr_assert_not_null(strstr(text, "d_bucket{le=\"1\"} 1\nd_bucket{le=\"5\"} 2\n"), "%s", text);
    cr_assert_not_null(strstr(text, "d_bucket{le=\"+Inf\"} 2\nd_sum 2.001\nd_count 2\n"));
    f = begin();
    ph__tmetrics_hist(f, "b", "help", &m->bytes);
    fclose(f);
    cr_assert_not_null(strstr(text, "b_bucket{le=\"1000\"} 0\nb_bucket{le=\"10000\"} 2\n"));
    cr_assert_not_null(strstr(text, "b_sum 3000\n"));
    cr_assert_eq(m->reason[PH_END_RELEASED], 2);
    ph_tmetrics_free(m);
}

static const struct ph__tuser *row(const struct ph_tmetrics *m, const char *realm, const char *user)
{
    for (unsigned i = 0; i < m->n; i++)
        if (strcmp(m->user[i].realm, realm) == 0 && strcmp(m->user[i].user, user) == 0)
            return &m->user[i];
    return NULL;
}

Test(turnd_metrics, adds_up_users_whatever_time_their_names_carry)
{
    static const char *const names[] = {"alice", "1735689600:alice", "alice:1735689601",
                                        "17:alice"};
    struct ph_tmetrics *m = ph_tmetrics_new(true);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct ph_turnd_ev ev = down("r", names[i], 10);
        ph_tmetrics_event(m, &ev, 1);
    }
    struct ph_turnd_ev other = down("r2", "alice", 5), digits = down("r", "12345", 7),
                       word = down("r", "a:b", 9);
    ph_tmetrics_event(m, &other, 1);
    ph_tmetrics_event(m, &digits, 1);
    ph_tmetrics_event(m, &word, 1);
    cr_assert_eq(m->n, 4);
    const struct ph__tuser *u = row(m, "r", "alice");
    cr_assert_not_null(u);
    cr_assert(u->ended[0] == 4 && u->ended[1] == 40 && u->ended[2] == 12 && u->ended[3] == 80);
    cr_assert_eq(row(m, "r2", "alice")->ended[1], 5);
    cr_assert_eq(row(m, "r", "12345")->ended[1], 7);
    cr_assert_eq(row(m, "r", "a:b")->ended[1], 9);
    ph_tmetrics_free(m);
}

Test(turnd_metrics, bounds_the_number_of_users)
{
    char name[32];
    struct ph_tmetrics *m = ph_tmetrics_new(true);
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < PH_TMETRICS_USERS + 500; i++) {
            snprintf(name, sizeof name, "user%d", i);
            struct ph_turnd_ev ev = down("r", name, 1);
            ph_tmetrics_event(m, &ev, 1);
        }
    cr_assert_eq(m->n, PH_TMETRICS_USERS + 1);
    cr_assert_eq(row(m, "r", "user7")->ended[1], 2);
    const struct ph__tuser *other = &m->user[PH_TMETRICS_USERS];
    cr_assert_str_eq(other->user, "other");
    cr_assert_eq(other->ended[1], 1000, "all others together");
    struct ph_turnd_ev ev = down("", "other", 1);
    ph_tmetrics_event(m, &ev, 1);
    cr_assert_eq(other->ended[1], 1001);
    ph_tmetrics_free(m);
}

Test(turnd_metrics, keeps_realms_alone_without_user_labels)
{
    struct ph_tmetrics *m = ph_tmetrics_new(false);
    struct ph_turnd_ev a = down("r", "alice", 1), b = down("r", "bob", 2), none = down("", "", 4);
    ph_tmetrics_event(m, &a, 1);
    ph_tmetrics_event(m, &b, 1);
    ph_tmetrics_event(m, &none, 1);
    cr_assert_eq(m->n, 2);
    cr_assert_eq(row(m, "r", "")->ended[1], 3);
    cr_assert_eq(row(m, "", "")->ended[1], 4);
    ph_tmetrics_free(m);
}

Test(turnd_metrics, cuts_long_names)
{
    char name[600];
    memset(name, 'a', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    struct ph_tmetrics *m = ph_tmetrics_new(true);
    struct ph_turnd_ev ev = down(name, name, 1);
    ph_tmetrics_event(m, &ev, 1);
    cr_assert_eq(strlen(m->user[0].user), PH_TMETRICS_USER - 1);
    cr_assert_eq(strlen(m->user[0].realm), PH_TMETRICS_REALM - 1);
    ph_tmetrics_free(m);
}

Test(turnd_metrics, escapes_labels)
{
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"plain", "plain"},
        {"q\"\\", "q\\\"\\\\"},
        {"a\nb\x1B", "a\\\\x0ab\\\\x1b"},
        {"gr\xC3\xBC\xC3\x9F \xF0\x9F\x98\x80", "gr\xC3\xBC\xC3\x9F \xF0\x9F\x98\x80"},
        {"\xFF\xC0\xAF\xC2\x9B", "\\\\xff\\\\xc0\\\\xaf\\\\xc2\\\\x9b"},
        {"\xED\xA0\x80", "\\\\xed\\\\xa0\\\\x80"},
        {"cut \xE2\x82", "cut \\\\xe2\\\\x82"},
        {"%s%n{}=,", "%s%n{}=,"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        FILE *f = begin();
        ph__tmetrics_label(f, rows[i].in);
        expect(f, rows[i].out);
    }
}

Test(turnd_metrics, reads_its_own_process)
{
    FILE *f = begin();
    ph__tmetrics_process(f);
    fclose(f);
    static const char *const names[] = {"\nprocess_cpu_seconds_total ", "\nprocess_open_fds ",
                                        "\nprocess_resident_memory_bytes ", "\nprocess_max_fds "};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        cr_assert_not_null(strstr(text, names[i]), "%s", names[i]);
    cr_assert_gt(atof(strstr(text, names[2]) + strlen(names[2])), 100000);
}
