#include "stun/base/addr.h"
#include "stun/base/error.h"
#include "support/vectors.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>

/* Text, and what printing gives back (NULL: the same). */
static const struct {
    const char *text, *printed;
} GOOD[] = {
    {"0.0.0.0", NULL},
    {"255.255.255.255:65535", NULL},
    {"192.0.2.1", NULL},
    {"192.0.2.1:3478", NULL},
    {"192.0.2.1:0", "192.0.2.1"},
    {"::", NULL},
    {"::1", NULL},
    {"[::1]", "::1"},
    {"[::1]:3478", NULL},
    {"[::]:1", NULL},
    {"2001:DB8::A:b", "2001:db8::a:b"},
    {"2001:0db8:0000:0000:0000:0000:0002:0001", "2001:db8::2:1"}, /* RFC 5952 2.1, 4.1 */
    {"2001:db8:0:1:1:1:1:1", NULL},                               /* 4.2.2: no "::" for one */
    {"2001:db8::1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
    {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},       /* 4.2.3: the longest run */
    {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"}, /* 4.2.3: the first of equals */
    {"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"},
    {"::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"},
    {"1::", NULL},
    {"1:0:0:0:0:0:0:0", "1::"},
    {"0:0:0:0:0:0:0:1", "::1"},
    {"fe80::1:2:3:4", NULL},
    {"::ffff:192.0.2.1", NULL},
    {"::FFFF:c000:201", "::ffff:192.0.2.1"},
    {"[::ffff:192.0.2.1]:80", NULL},
    {"::192.0.2.1", NULL},
    {"::c000:201", "::192.0.2.1"},
    {"::ffff:0:0", "::ffff:0.0.0.0"},
    {"::1:0", "::0.1.0.0"},
    {"64:ff9b::192.0.2.33", "64:ff9b::c000:221"},
    {"1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"},
    {"1::1.2.3.4", "1::102:304"},
    {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", NULL},
    {"[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", NULL},
};

static const char *const BAD[] = {
    "",
    " ",
    "-",
    ".",
    ":",
    ":::",
    "[",
    "]",
    "[]",
    "1",
    "1.2.3",
    "1.2.3.",
    "1.2.3.4.",
    "1.2.3.4.5",
    ".1.2.3.4",
    "1..2.3",
    "256.0.0.1",
    "1.2.3.999",
    "1.2.3.4294967297",
    "01.2.3.4",
    "1.2.3.00",
    "0x1.2.3.4",
    "1.2.3.4 ",
    " 1.2.3.4",
    "1.2.3.4x",
    "+1.2.3.4",
    "-1.2.3.4",
    "1.2.3.4:",
    "1.2.3.4:x",
    "1.2.3.4:65536",
    "1.2.3.4:99999999999999999999",
    "1.2.3.4:-1",
    "1.2.3.4:+1",
    "1.2.3.4:080",
    "1.2.3.4:80 ",
    "1.2.3.4:80:80",
    "1.2.3.4/24",
    "[1.2.3.4]",
    "[1.2.3.4]:80",
    "localhost",
    "example.org:80",
    "::1%lo",
    "fe80::1%1",
    "[fe80::1%eth0]:80",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "1:2:3:4:5:6:7:8:",
    ":1:2:3:4:5:6:7:8",
    "1:2:3:4::5:6:7:8",
    "::1:2:3:4:5:6:7:8",
    "1:2:3:4:5:6:7:8::",
    "1::2::3",
    "1:::2",
    ":::1",
    "::1::",
    "::12345",
    "::00001",
    "::g",
    "1:",
    ":1",
    "::1.2.3",
    "::1.2.3.4.5",
    "::256.1.1.1",
    "::01.1.1.1",
    "::1.2.3.4:5",
    "1.2.3.4::",
    "::1.2.3.4::",
    "1:2:3:4:5:6:7:1.2.3.4",
    "1:2:3:4:5:1.2.3.4",
    "::a.2.3.4",
    "::1a.2.3.4",
    "[::1",
    "::1]",
    "[::1]x",
    "[::1]:",
    "[::1]:x",
    "[::1]:65536",
    "[::1]:00",
    "[::1]80",
    "[[::1]]",
    "::1/64",
    "1::2 ",
    "::ffff:",
};

Test(base_addr, reads_and_writes)
{
    for (size_t i = 0; i < sizeof GOOD / sizeof *GOOD; i++) {
        const char *text = GOOD[i].text, *want = GOOD[i].printed ? GOOD[i].printed : text;
        uint8_t *exact = exact_copy(text, strlen(text));
        char printed[PH_ADDR_TEXT];
        struct ph_addr a;
        cr_assert_eq(ph_addr_parse(&a, (const char *)exact, strlen(text), 0), 0, "%s", text);
        cr_assert_str_eq(ph_addr_text(&a, printed), want, "%s gives %s", text, printed);
        free(exact);
    }
}

Test(base_addr, refuses_what_is_no_address)
{
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        uint8_t *exact = exact_copy(BAD[i], strlen(BAD[i]));
        struct ph_addr a = {.port = 77};
        cr_assert_eq(ph_addr_parse(&a, (const char *)exact, strlen(BAD[i]), 1), PH_E_FORMAT, "%s",
                     BAD[i]);
        cr_assert_eq(a.port, 77, "%s is bad, but was written", BAD[i]);
        free(exact);
    }
    struct ph_addr a;
    cr_assert_eq(ph_addr_parse(&a, "1.2.3.4\0", 8, 1), PH_E_FORMAT);
}

Test(base_addr, takes_the_default_port)
{
    struct ph_addr a;
    cr_assert_eq(ph_addr_parse(&a, "192.0.2.1", 9, 3478), 0);
    cr_assert_eq(a.port, 3478);
    cr_assert_eq(a.proto, PH_PROTO_NONE);
    cr_assert_eq(ph_addr_parse(&a, "192.0.2.1:5", 11, 3478), 0);
    cr_assert_eq(a.port, 5);
    cr_assert_eq(ph_addr_parse(&a, "2001:db8::1", 11, 3478), 0);
    cr_assert_eq(a.port, 3478);
}

/* Random addresses with many zeros, against the C library. */
Test(base_addr, agrees_with_inet_pton_and_inet_ntop)
{
    uint64_t state = 5;
    for (unsigned i = 0; i < 50000; i++) {
        uint8_t ip[16], back[16];
        char theirs[INET6_ADDRSTRLEN], ours[PH_ADDR_TEXT];
        for (unsigned k = 0; k < 16; k++)
            ip[k] = test_random(&state) % 3 ? 0 : (uint8_t)test_random(&state);
        if (i % 5 == 0)
            memset(ip, 0, 10), ip[10] = ip[11] = 0xFF;
        struct ph_addr a = ph_addr_v6(ip, 0, PH_UDP), b;
        inet_ntop(AF_INET6, ip, theirs, sizeof theirs);
        cr_assert_str_eq(ph_addr_ip_text(&a, ours), theirs);
        cr_assert_eq(ph_addr_parse(&b, theirs, strlen(theirs), 0), 0, "%s", theirs);
        cr_assert(ph_addr_eq_endpoint(&a, &b));
        cr_assert_eq(inet_pton(AF_INET6, ours, back), 1);
    }
}

/* Random text in the letters of addresses: both accept the same. */
Test(base_addr, accepts_what_inet_pton_accepts)
{
    static const char LETTERS[] = "012f::::..";
    uint64_t state = 6;
    unsigned accepted = 0;
    for (unsigned i = 0; i < 2000000; i++) {
        char text[24];
        uint8_t ip[16];
        struct ph_addr a;
        unsigned n = 2 + test_random(&state) % 16, colons = 0;
        for (unsigned k = 0; k < n; k++) {
            text[k] = LETTERS[test_random(&state) % (sizeof LETTERS - 1)];
            colons += text[k] == ':';
        }
        text[n] = '\0';
        if (colons == 1)
            continue; /* could be IPv4 with a port */
        bool theirs = inet_pton(colons ? AF_INET6 : AF_INET, text, ip) == 1;
        bool ours = ph_addr_parse(&a, text, n, 0) == 0;
        cr_assert_eq(ours, theirs, "%s: ours %d, theirs %d", text, ours, theirs);
        cr_assert(!ours || memcmp(a.ip, ip, colons ? 16 : 4) == 0, "%s", text);
        accepted += ours;
    }
    cr_assert_gt(accepted, 1000);
}

Test(base_addr, writes_the_ip_alone)
{
    struct ph_addr none = {.port = 9};
    char text[PH_ADDR_TEXT];
    struct ph_addr a = ph_addr_v6((const uint8_t[16]){[15] = 1}, 80, PH_TCP);
    cr_assert_str_eq(ph_addr_ip_text(&a, text), "::1");
    cr_assert_str_eq(ph_addr_text(&a, text), "[::1]:80");
    cr_assert_str_eq(ph_addr_ip_text(&none, text), "-");
    cr_assert_str_eq(ph_addr_text(&none, text), "-");
}

Test(base_addr, compares_parts)
{
    const uint8_t ip[4] = {192, 0, 2, 1}, ip2[4] = {192, 0, 2, 2};
    struct ph_addr a = ph_addr_v4(ip, 80, PH_UDP), b = ph_addr_v4(ip, 80, PH_TCP);
    struct ph_addr c = ph_addr_v4(ip, 81, PH_UDP), d = ph_addr_v4(ip2, 80, PH_UDP);
    cr_assert_eq(sizeof a, 20);
    cr_assert(ph_addr_eq(&a, &a) && !ph_addr_eq(&a, &b));
    cr_assert(ph_addr_eq_endpoint(&a, &b) && !ph_addr_eq_endpoint(&a, &c));
    cr_assert(ph_addr_eq_ip(&a, &c) && !ph_addr_eq_ip(&a, &d));
    struct ph_addr six = ph_addr_v6((const uint8_t[16]){192, 0, 2, 1}, 80, PH_UDP);
    cr_assert(!ph_addr_eq_ip(&a, &six));
    cr_assert_eq(ph_addr_ip_len(&a), 4);
    cr_assert_eq(ph_addr_ip_len(&six), 16);
}

Test(base_addr, knows_loopback_and_any)
{
    static const struct {
        const char *text;
        bool loopback, any;
    } CASES[] = {
        {"127.0.0.1", true, false},
        {"127.255.1.2", true, false},
        {"126.0.0.1", false, false},
        {"0.0.0.0", false, true},
        {"::", false, true},
        {"::1", true, false},
        {"::2", false, false},
        {"::ffff:127.0.0.1", true, false},
        {"::ffff:126.0.0.1", false, false},
        {"::127.0.0.1", false, false},
        {"7f00::1", false, false},
        {"::ffff:0.0.0.0", false, false},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        struct ph_addr a;
        cr_assert_eq(ph_addr_parse(&a, CASES[i].text, strlen(CASES[i].text), 0), 0);
        cr_assert_eq(ph_addr_is_loopback(&a), CASES[i].loopback, "%s", CASES[i].text);
        cr_assert_eq(ph_addr_is_any(&a), CASES[i].any, "%s", CASES[i].text);
    }
    struct ph_addr none = {0};
    cr_assert(!ph_addr_is_any(&none) && !ph_addr_is_loopback(&none));
}
