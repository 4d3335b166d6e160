/*
 * The keys and messages of coturn's statistics: byte for byte what Debian's turnserver 4.6.1 was seen to send, and names that
 * try to be more than names.
 */
#ifdef PH_HAVE_REDIS
#include "turn/store/stats_text.h"

#include <criterion/criterion.h>
#include <string.h>

static const char *key_of(const char *realm, struct ph_slice user, const char *what)
{
    static char key[2048];
    const size_t n =
        ph_stats_key(key, sizeof key, "turn", ph_str(realm), user, 7000000000000042u, what);

    cr_assert_lt(n, sizeof key);
    cr_assert_eq(strlen(key), n);
    return key;
}

static void expect_key(const char *realm, const char *user, const char *what, const char *key)
{
    cr_expect_str_eq(key_of(realm, ph_str(user), what), key);
}

Test(turn_store_stats, keys_are_coturns)
{
    expect_key("example.org", "alice", "status",
               "turn/realm/example.org/user/alice/allocation/007000000000000042/status");
    expect_key("example.org", "1795396477:bob", "total_traffic/peer",
               "turn/realm/example.org/user/1795396477:bob/allocation/007000000000000042/"
               "total_traffic/peer");
    expect_key("", "alice", "traffic", "turn/user/alice/allocation/007000000000000042/traffic");
    expect_key("example.org", "", "traffic/peer",
               "turn/realm/example.org/user//allocation/007000000000000042/traffic/peer");
    expect_key("", "", "status", "turn/user//allocation/007000000000000042/status");
}

Test(turn_store_stats, names_cannot_be_taken_for_other_keys_or_patterns)
{
    expect_key("north", "a/b", "status",
               "turn/realm/north/user/a%2Fb/allocation/007000000000000042/status");
    expect_key("a/user/b", "x/allocation/1/status", "status",
               "turn/realm/a%2Fuser%2Fb/user/x%2Fallocation%2F1%2Fstatus/allocation/"
               "007000000000000042/status");
    expect_key("r", "*?[a]\\", "status",
               "turn/realm/r/user/%2A%3F%5Ba%5D%5C/allocation/007000000000000042/status");
    expect_key("r", "a b\r\n\t\x7F", "status",
               "turn/realm/r/user/a%20b%0D%0A%09%7F/allocation/007000000000000042/status");
    expect_key("r", "a%2Fb", "status",
               "turn/realm/r/user/a%252Fb/allocation/007000000000000042/status");
    cr_expect_str_eq(key_of("r", (struct ph_slice){(const uint8_t *)"a\0b", 3}, "status"),
                     "turn/realm/r/user/a%00b/allocation/007000000000000042/status");
}

Test(turn_store_stats, names_in_any_language_are_as_they_came)
{
    expect_key("b\xC3\xBC"
               "ro",
               "\xE5\xB1\xB1-{x}:~!\"'^", "status",
               "turn/realm/b\xC3\xBC"
               "ro/user/\xE5\xB1\xB1-{x}:~!\"'^/allocation/"
               "007000000000000042/status");
}

Test(turn_store_stats, every_byte_of_a_name_leads_to_a_key_of_its_own)
{
    char keys[256][128];

    for (unsigned i = 0; i < 256; i++) {
        const uint8_t name = (uint8_t)i;
        snprintf(keys[i], sizeof keys[i], "%s", key_of("r", (struct ph_slice){&name, 1}, "status"));
        for (unsigned k = 0; k < i; k++)
            cr_expect_str_neq(keys[i], keys[k], "%u and %u", i, k);
        cr_expect_null(strpbrk(keys[i], " *?[]\\\r\n\t"), "%u", i);
    }
}

Test(turn_store_stats, a_key_that_does_not_fit_is_cut_and_its_length_told)
{
    uint8_t name[508];
    char key[64], whole[2048];

    memset(name, '*', sizeof name);
    const struct ph_slice user = {name, sizeof name};
    const size_t n = ph_stats_key(NULL, 0, "turn", ph_str("r"), user, 1, "status");
    cr_expect_eq(n, strlen("turn/realm/r/user//allocation/000000000000000001/status") + 508 * 3);
    cr_expect_eq(ph_stats_key(whole, n + 1, "turn", ph_str("r"), user, 1, "status"), n);
    cr_expect_eq(strlen(whole), n);
    cr_expect_eq(ph_stats_key(key, sizeof key, "turn", ph_str("r"), user, 1, "status"), n);
    cr_expect_eq(strlen(key), sizeof key - 1);
    cr_expect_eq(strncmp(key, whole, sizeof key - 1), 0);
}

static struct ph_addr address(const char *text, uint8_t proto)
{
    struct ph_addr a;

    cr_assert_eq(ph_addr_parse(&a, text, strlen(text), 0), 0);
    a.proto = proto;
    return a;
}

Test(turn_store_stats, status_messages_are_coturns)
{
    char text[PH_STATS_STATUS];
    struct ph_statsdb_session s = {.info.client = address("127.0.0.1:40716", PH_UDP),
                                   .local = address("127.0.0.1:13478", PH_UDP)};

    cr_expect_str_eq(ph_stats_status(text, "new", 600, &s),
                     "new lifetime=600, type=UDP, local=127.0.0.1:13478, remote=127.0.0.1:40716, "
                     "ssl=NONE, cipher=NONE");
    s.info.client = address("[::1]:49206", PH_TCP);
    s.local = address("[::1]:13478", PH_TCP);
    cr_expect_str_eq(ph_stats_status(text, "refreshed", 0, &s),
                     "refreshed lifetime=0, type=TCP, local=[::1]:13478, remote=[::1]:49206, "
                     "ssl=NONE, cipher=NONE");
    s.info.client = address("127.0.0.1:54234", PH_TLS);
    s.local = address("127.0.0.1:15349", PH_TCP);
    s.tls = "TLSv1.2";
    s.cipher = "ECDHE-RSA-AES256-GCM-SHA384";
    cr_expect_str_eq(ph_stats_status(text, "new", 4294967295u, &s),
                     "new lifetime=4294967295, type=TLS/TCP, local=127.0.0.1:15349, "
                     "remote=127.0.0.1:54234, ssl=TLSv1.2, cipher=ECDHE-RSA-AES256-GCM-SHA384");
    s.info.client.proto = PH_DTLS;
    s.tls = "DTLSv1.2";
    cr_expect(strstr(ph_stats_status(text, "new", 600, &s), "type=DTLS, local="), "%s", text);
    s.tls = s.cipher = NULL;
    cr_expect(strstr(ph_stats_status(text, "new", 600, &s), "ssl=UNKNOWN, cipher=UNKNOWN"), "%s",
              text);
}

Test(turn_store_stats, traffic_messages_are_coturns)
{
    const struct ph_turnd_usage u = {14, 949, 13, 1173, 7, 253, 6, 242};
    const struct ph_turnd_usage most = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX,
                                        UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};
    char text[PH_STATS_TRAFFIC];

    cr_expect_str_eq(ph_stats_traffic(text, &u, false), "rcvp=14, rcvb=949, sentp=13, sentb=1173");
    cr_expect_str_eq(ph_stats_traffic(text, &u, true), "rcvp=7, rcvb=253, sentp=6, sentb=242");
    cr_expect(strstr(ph_stats_traffic(text, &most, true), "sentb=18446744073709551615"));
}
#endif
