/*
 * Peer policy: the whole table of addresses a relay must not reach, rules at their boundaries, and the
 * spellings that must not get around a rule.
 */
#include "stun/base/error.h"
#include "support/oom.h"
#include "turn/acl_kit.h"

#include <stdio.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

static struct ph_addr addr(const char *text)
{
    struct ph_addr a;
    cr_assert_eq(ph_addr_parse(&a, text, strlen(text), 3478), 0, "bad address %s", text);
    return a;
}

static const char *check(const struct ph_acl *acl, const char *text)
{
    struct ph_addr a = addr(text);
    return ph_acl_check(acl, &a);
}

static void expect_denied(const struct ph_acl *acl, const char *text)
{
    cr_expect_not_null(check(acl, text), "%s must be denied", text);
}

static void expect_allowed(const struct ph_acl *acl, const char *text)
{
    const char *why = check(acl, text);
    cr_expect_null(why, "%s must be allowed, got: %s", text, why ? why : "");
}

/* What the defaults deny, with the reason: each range by its first and its last address. */
static const struct {
    const char *text, *why;
} DENIED[] = {
    {"0.0.0.0", "unspecified address"},
    {"0.0.0.1", "unspecified address"},
    {"0.255.255.255", "unspecified address"},
    {"127.0.0.0", "loopback address"},
    {"127.0.0.1", "loopback address"},
    {"127.0.0.8", "loopback address"},
    {"127.255.255.254", "loopback address"},
    {"127.255.255.255", "loopback address"},
    {"10.0.0.0", "private address"},
    {"10.255.255.255", "private address"},
    {"172.16.0.0", "private address"},
    {"172.31.255.255", "private address"},
    {"192.168.0.0", "private address"},
    {"192.168.255.255", "private address"},
    {"100.64.0.0", "carrier NAT address"},
    {"100.127.255.255", "carrier NAT address"},
    {"169.254.0.0", "link-local address"},
    {"169.254.255.255", "link-local address"},
    {"169.254.169.254", "cloud metadata address"},
    {"168.63.129.16", "cloud metadata address"},
    {"100.100.100.200", "cloud metadata address"},
    {"192.0.0.192", "cloud metadata address"},
    {"192.0.0.0", "reserved address"},
    {"192.0.0.255", "reserved address"},
    {"198.18.0.0", "benchmarking address"},
    {"198.19.255.255", "benchmarking address"},
    {"224.0.0.0", "multicast address"},
    {"224.0.0.251", "multicast address"},
    {"239.255.255.255", "multicast address"},
    {"240.0.0.0", "reserved address"},
    {"255.255.255.254", "reserved address"},
    {"255.255.255.255", "broadcast address"},
    {"::", "unspecified address"},
    {"::1", "loopback address"},
    {"fe80::", "link-local address"},
    {"fe80::1", "link-local address"},
    {"febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "link-local address"},
    {"fc00::1", "private address"},
    {"fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "private address"},
    {"fd00:ec2::254", "cloud metadata address"},
    {"fd20:ce::254", "cloud metadata address"},
    {"fec0::1", "private address"},
    {"feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "private address"},
    {"ff00::", "multicast address"},
    {"ff02::1", "multicast address"},
    {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "multicast address"},
    {"100::1", "reserved address"},
    {"2001:2::1", "benchmarking address"},
    {"64:ff9b:1::1", "local NAT64 address"},
    {"64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "local NAT64 address"},
    {"64:ff9b:1::808:808", "local NAT64 address"},
    {"5f00::1", "reserved address"},
    {"5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "reserved address"},
    /* The forms of IPv4 inside IPv6. */
    {"::ffff:127.0.0.1", "loopback address"},
    {"::ffff:0.0.0.0", "unspecified address"},
    {"::ffff:169.254.169.254", "cloud metadata address"},
    {"::ffff:0:127.0.0.1", "loopback address"},
    {"::127.0.0.1", "loopback address"},
    {"::0.0.0.2", "unspecified address"},
    {"2002:7f00:1::", "loopback address"},
    {"2002:a00:1::1", "private address"},
    {"64:ff9b::7f00:1", "loopback address"},
    {"64:ff9b::a9fe:a9fe", "cloud metadata address"},
    {"2001:0:4136:e378:8000:63bf:80ff:fffe", "loopback address"},
    {"2001:0:7f00:1:8000:63bf:3fff:fdd2", "loopback address"},
    {"2001:db8::5efe:7f00:1", "loopback address"},
    {"2001:db8::200:5efe:a00:1", "private address"},
    {"fe80::5efe:808:808", "link-local address"},
};

Test(turn_acl, denies_the_table_by_default)
{
    struct ph_acl *acl = acl_new();
    for (size_t i = 0; i < COUNT(DENIED); i++) {
        const char *why = check(acl, DENIED[i].text);
        cr_expect_not_null(why, "%s must be denied", DENIED[i].text);
        if (why)
            cr_expect_str_eq(why, DENIED[i].why, "%s: %s", DENIED[i].text, why);
    }
    ph_acl_free(acl);
}

Test(turn_acl, allows_the_neighbours_of_what_it_denies)
{
    static const char *const ALLOWED[] = {
        "1.0.0.0",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "191.255.255.255",
        "192.0.1.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "8.8.8.8",
        "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "fe00::1",
        "100:0:0:1::",
        "2001:3::1",
        "2001:1:ffff::1",
        "2606:4700:4700::1111",
        "64:ff9b:2::1",
        "64:ff9a:ffff::1",
        "5eff::1",
        "5f01::1",
        "2001:db8::5efe:808:808",
        "2001:db8::5efd:7f00:1",
        "2001:db8::100:5efe:7f00:1",
    };
    struct ph_acl *acl = acl_new();
    for (size_t i = 0; i < COUNT(ALLOWED); i++)
        expect_allowed(acl, ALLOWED[i]);
    ph_acl_free(acl);
}

Test(turn_acl, leaves_documentation_ranges_alone)
{
    static const char *const DOC[] = {
        "192.0.2.0",     "192.0.2.255", "198.51.100.0",     "198.51.100.255",   "203.0.113.0",
        "203.0.113.255", "2001:db8::",  "2001:db8:ffff::1", "::ffff:192.0.2.1",
    };
    struct ph_acl *acl = acl_new();
    for (size_t i = 0; i < COUNT(DOC); i++)
        expect_allowed(acl, DOC[i]);
    ph_acl_free(acl);
}

/* Teredo with a public server (65.54.227.120) and the client 192.0.2.45: ports and flags are free. */
#define TEREDO_OF_PUBLIC "2001:0:4136:e378:8000:63bf:3fff:fdd2"

Test(turn_acl, canonicalises_every_form)
{
    static const char *const FORMS[][2] = {
        {"::ffff:127.0.0.1", "127.0.0.1"},
        {"::ffff:0.0.0.0", "0.0.0.0"},
        {"::ffff:255.255.255.255", "255.255.255.255"},
        {"::ffff:0:127.0.0.1", "127.0.0.1"},
        {"::127.0.0.1", "127.0.0.1"},
        {"::0.0.0.2", "0.0.0.2"},
        {"2002:7f00:1::", "127.0.0.1"},
        {"2002:7f00:1:ffff:1:2:3:4", "127.0.0.1"},
        {"2002:c0a8:101::1", "192.168.1.1"},
        {"64:ff9b::7f00:1", "127.0.0.1"},
        {"64:ff9b::169.254.169.254", "169.254.169.254"},
        {TEREDO_OF_PUBLIC, "192.0.2.45"},
        {"2001::80ff:fffe", "127.0.0.1"},
        {"192.0.2.1", "192.0.2.1"},
        {"::", "::"},
        {"::1", "::1"},
        {"2001:db8::1", "2001:db8::1"},
        {"64:ff9b:1::7f00:1", "64:ff9b:1::7f00:1"},
        {"64:ff9b::1:0:0", "64:ff9b::1:0:0"},
        {"2001:1::1", "2001:1::1"},
        {"2003:7f00:1::", "2003:7f00:1::"},
    };
    for (size_t i = 0; i < COUNT(FORMS); i++) {
        struct ph_addr in = addr(FORMS[i][0]), want = addr(FORMS[i][1]);
        in.proto = want.proto = PH_UDP;
        struct ph_addr got = ph_acl_canonical(&in);
        char text[PH_ADDR_TEXT];
        cr_expect(ph_addr_eq(&got, &want), "%s became %s, not %s", FORMS[i][0],
                  ph_addr_text(&got, text), FORMS[i][1]);
    }
}

/* Writes one IPv4 address in each of the forms. */
static unsigned spell(const uint8_t v4[4], struct ph_addr out[6])
{
    uint8_t ip[6][16] = {
        {[10] = 0xFF, [11] = 0xFF},
        {[8] = 0xFF, [9] = 0xFF},
        {0x20, 0x02, v4[0], v4[1], v4[2], v4[3]},
        {0x20, 0x01, 0, 0, 65, 54, 227, 120},
        {0, 0x64, 0xFF, 0x9B},
        {0},
    };
    for (unsigned f = 0; f < 6; f++) {
        for (unsigned i = 0; i < 4 && f != 2; i++)
            ip[f][12 + i] = f == 3 ? (uint8_t)~v4[i] : v4[i];
        out[f] = ph_addr_v6(ip[f], 9, PH_UDP);
    }
    return 6;
}

/* No spelling gets around a rule: every form of every IPv4 address has the verdict of the address. */
Test(turn_acl, judges_every_form_like_the_address_inside)
{
    struct ph_acl *acl = acl_new();
    add(acl, false, "8.8.8.0/24");
    add(acl, true, "10.1.2.3");
    uint32_t x = 1;
    for (int i = 0; i < 200000; i++) {
        x = x * 1664525 + 1013904223;
        uint8_t v4[4] = {(uint8_t)(x >> 24), (uint8_t)(x >> 16), (uint8_t)(x >> 8), (uint8_t)x};
        if (i % 8 == 0)
            memcpy(v4, (uint8_t[]){8, 8, 8, (uint8_t)x}, 4);
        if (i == 4)
            memcpy(v4, (uint8_t[]){10, 1, 2, 3}, 4);
        struct ph_addr plain = ph_addr_v4(v4, 9, PH_UDP), form[6];
        const char *why = ph_acl_check(acl, &plain);
        unsigned n = spell(v4, form);
        for (unsigned f = 0; f < n; f++) {
            if (f == 5 && v4[0] == 0 && v4[1] == 0 && v4[2] == 0)
                continue; /* "::1" is itself */
            const char *got = ph_acl_check(acl, &form[f]);
            char text[PH_ADDR_TEXT];
            cr_assert((got == NULL) == (why == NULL), "%s: %s", ph_addr_text(&form[f], text),
                      got ? got : "allowed");
        }
    }
    ph_acl_free(acl);
}

Test(turn_acl, denies_teredo_for_either_address)
{
    struct ph_acl *acl = acl_new();
    expect_allowed(acl, TEREDO_OF_PUBLIC);
    expect_denied(acl, "2001:0:7f00:1:8000:63bf:3fff:fdd2");    /* server 127.0.0.1 */
    expect_denied(acl, "2001:0:4136:e378:8000:63bf:80ff:fffe"); /* client 127.0.0.1 */
    expect_denied(acl, "2001::1");                              /* server 0.0.0.0 */
    add(acl, false, "65.54.227.120");
    expect_denied(acl, TEREDO_OF_PUBLIC);
    add(acl, true, "192.0.2.45"); /* allows the client, not the server */
    expect_denied(acl, TEREDO_OF_PUBLIC);
    add(acl, true, "65.54.227.120");
    expect_allowed(acl, TEREDO_OF_PUBLIC);
    ph_acl_free(acl);
}

Test(turn_acl, applies_a_single_address)
{
    struct ph_acl *acl = acl_new();
    add(acl, false, "203.0.113.7");
    add(acl, false, "2001:db8::7");
    expect_allowed(acl, "203.0.113.6");
    expect_denied(acl, "203.0.113.7");
    expect_allowed(acl, "203.0.113.8");
    expect_allowed(acl, "2001:db8::6");
    expect_denied(acl, "2001:db8::7");
    expect_allowed(acl, "2001:db8::8");
    cr_expect_str_eq(check(acl, "203.0.113.7"), "denied by configuration");
    ph_acl_free(acl);
}

Test(turn_acl, applies_ranges_that_are_no_prefix)
{
    struct ph_acl *acl = acl_new();
    add(acl, false, "203.0.112.250-203.0.113.5");
    expect_allowed(acl, "203.0.112.249");
    expect_denied(acl, "203.0.112.250");
    expect_denied(acl, "203.0.112.255");
    expect_denied(acl, "203.0.113.0");
    expect_denied(acl, "203.0.113.5");
    expect_allowed(acl, "203.0.113.6");
    ph_acl_free(acl);
}

/* Byte for byte the last address is below the first in its lower half: only the order from the left counts. */
Test(turn_acl, compares_ipv6_ranges_from_the_left)
{
    struct ph_acl *acl = acl_new();
    add(acl, false, "2001:db8:1::ffff - 2001:db8:2::10");
    expect_allowed(acl, "2001:db8:1::fffe");
    expect_denied(acl, "2001:db8:1::ffff");
    expect_denied(acl, "2001:db8:1::1:0");
    expect_denied(acl, "2001:db8:1:8000::5555");
    expect_denied(acl, "2001:db8:1:ffff:ffff:ffff:ffff:ffff");
    expect_denied(acl, "2001:db8:2::");
    expect_denied(acl, "2001:db8:2::10");
    expect_allowed(acl, "2001:db8:2::11");
    ph_acl_free(acl);
}

Test(turn_acl, applies_cidr_at_its_boundaries)
{
    struct ph_acl *acl = acl_new();
    add(acl, false, "203.0.113.64/26");
    expect_allowed(acl, "203.0.113.63");
    expect_denied(acl, "203.0.113.64");
    expect_denied(acl, "203.0.113.127");
    expect_allowed(acl, "203.0.113.128");
    add(acl, false, "198.51.100.77/29"); /* host bits do not matter */
    expect_allowed(acl, "198.51.100.71");
    expect_denied(acl, "198.51.100.72");
    expect_denied(acl, "198.51.100.79");
    expect_allowed(acl, "198.51.100.80");
    add(acl, false, "2001:db8:8000::/33");
    expect_allowed(acl, "2001:db8:7fff:ffff:ffff:ffff:ffff:ffff");
    expect_denied(acl, "2001:db8:8000::");
    expect_denied(acl, "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff");
    expect_allowed(acl, "2001:db9::");
    add(acl, false, "192.0.2.1/32");
    expect_denied(acl, "192.0.2.1");
    expect_allowed(acl, "192.0.2.2");
    ph_acl_free(acl);
}

Test(turn_acl, applies_the_zero_prefix)
{
    struct ph_acl *acl = acl_new();
    add(acl, false, "0.0.0.0/0");
    expect_denied(acl, "8.8.8.8");
    expect_allowed(acl, "2606:4700::1");
    add(acl, false, "::/0");
    expect_denied(acl, "2606:4700::1");
    add(acl, true, "8.8.8.8");
    expect_allowed(acl, "8.8.8.8");
    ph_acl_free(acl);
}

Test(turn_acl, lets_an_allow_win)
{
    struct ph_acl *acl = acl_new();
    add(acl, true, "203.0.113.7");
    add(acl, false, "203.0.113.0/24");
    add(acl, true, "10.1.0.0/16");
    add(acl, true, "127.0.0.1");
    add(acl, true, "169.254.169.254");
    expect_allowed(acl, "203.0.113.7");
    expect_denied(acl, "203.0.113.8");
    expect_allowed(acl, "10.1.255.255");
    expect_denied(acl, "10.2.0.0");
    expect_allowed(acl, "127.0.0.1");
    expect_allowed(acl, "::ffff:127.0.0.1");
    expect_denied(acl, "127.0.0.2");
    expect_allowed(acl, "169.254.169.254");
    ph_acl_free(acl);
}

/* An allow of all IPv6 must not let an IPv4 address in by its IPv6 spelling. */
Test(turn_acl, does_not_let_a_spelling_in_by_an_allow)
{
    struct ph_acl *acl = acl_new();
    add(acl, true, "::2-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
    add(acl, true, "2002::/16");
    add(acl, true, "::ffff:0:0/96");
    expect_denied(acl, "::ffff:127.0.0.1");
    expect_denied(acl, "::127.0.0.1");
    expect_denied(acl, "2002:7f00:1::");
    expect_denied(acl, "64:ff9b::10.0.0.1");
    expect_denied(acl, "::1");
    expect_allowed(acl, "fe80::1");
    ph_acl_free(acl);
}

Test(turn_acl, takes_rules_in_an_embedding_form)
{
    struct ph_acl *acl = acl_new();
    add(acl, true, "::ffff:10.0.0.5");
    add(acl, true, "64:ff9b::10.1.0.0/112");
    add(acl, false, "::ffff:203.0.113.0-::ffff:203.0.113.9");
    add(acl, false, "2002:c633:6400::/40"); /* 198.51.100.0/24 */
    expect_allowed(acl, "10.0.0.5");
    expect_allowed(acl, "::10.0.0.5");
    expect_denied(acl, "10.0.0.6");
    expect_allowed(acl, "10.1.255.255");
    expect_denied(acl, "10.2.0.0");
    expect_denied(acl, "203.0.113.9");
    expect_allowed(acl, "203.0.113.10");
    expect_denied(acl, "198.51.100.255");
    expect_allowed(acl, "198.51.101.0");
    ph_acl_free(acl);
}

/* Rules that circulate for coturn deny whole forms: the spelling goes, IPv4 stays. */
Test(turn_acl, denies_a_whole_form_as_a_spelling)
{
    struct ph_acl *acl = acl_new();
    add(acl, false, "::ffff:0.0.0.0-::ffff:255.255.255.255");
    add(acl, false, "64:ff9b::-64:ff9b::ffff:ffff");
    add(acl, false, "2002::-2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
    add(acl, false, "2001::-2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff");
    expect_allowed(acl, "8.8.8.8");
    expect_denied(acl, "::ffff:8.8.8.8");
    expect_denied(acl, "64:ff9b::8.8.8.8");
    expect_denied(acl, "2002:808:808::1");
    expect_denied(acl, TEREDO_OF_PUBLIC);
    expect_allowed(acl, "192.0.2.45");
    ph_acl_free(acl);
}

Test(turn_acl, opens_loopback_on_request)
{
    struct ph_acl *acl = acl_new();
    ph_acl_allow_loopback(acl);
    expect_allowed(acl, "127.0.0.1");
    expect_allowed(acl, "127.255.255.255");
    expect_allowed(acl, "::1");
    expect_allowed(acl, "::ffff:127.0.0.1");
    expect_denied(acl, "0.0.0.0");
    expect_denied(acl, "::");
    expect_denied(acl, "10.0.0.1");
    add(acl, false, "127.0.0.1");
    expect_denied(acl, "127.0.0.1");
    ph_acl_free(acl);
}

Test(turn_acl, opens_private_ranges_on_request)
{
    static const char *const STILL[] = {
        "127.0.0.1",    "0.0.0.0",         "169.254.1.1",   "169.254.169.254",
        "224.0.0.1",    "fe80::1",         "ff02::1",       "::1",
        "::",           "255.255.255.255", "fd00:ec2::254", "100.100.100.200",
        "64:ff9b:1::1",
    };
    static const char *const OPEN[] = {
        "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1",      "198.18.0.1",    "240.0.0.1",
        "fc00::1",  "fec0::1",    "192.0.0.9",   "::ffff:10.0.0.1", "fd00:ec2::253",
    };
    struct ph_acl *acl = acl_new();
    ph_acl_allow_private(acl);
    for (size_t i = 0; i < COUNT(STILL); i++)
        expect_denied(acl, STILL[i]);
    for (size_t i = 0; i < COUNT(OPEN); i++)
        expect_allowed(acl, OPEN[i]);
    add(acl, false, "10.0.0.0/8");
    expect_denied(acl, "10.0.0.1");
    ph_acl_free(acl);
}

Test(turn_acl, refuses_bad_rules)
{
    static const char *const BAD[] = {
        "",
        " ",
        "-",
        "/",
        "example.org",
        "localhost",
        "192.0.2",
        "192.0.2.1.5",
        "192.0.2.256",
        "[2001:db8::1]",
        "[2001:db8::1]:",
        "[2001:db8::1]80",
        "[2001:db8::1]:0",
        "[2001:db8::1:80",
        "[]:80",
        "192.0.2.1:",
        "192.0.2.1:0",
        "192.0.2.1:0-5",
        "192.0.2.1:65536",
        "192.0.2.1:000080",
        "192.0.2.1:80-79",
        "192.0.2.1:80-",
        "192.0.2.1:-80",
        "192.0.2.1:80:81",
        "192.0.2.1:http",
        "192.0.2.1: 80",
        "192.0.2.1:80/8",
        ":80",
        "*",
        "*:",
        "*:0",
        "**:80",
        "*/8:80",
        "[*]:80",
        "[192.0.2.1]:80",
        "fe80::1%eth0",
        "192.0.2.1-",
        "-192.0.2.1",
        "192.0.2.9-192.0.2.1",
        "192.0.2.1-2001:db8::1",
        "2001:db8::2-2001:db8::1",
        "192.0.2.1-192.0.2.3-192.0.2.5",
        "192.0.2.0/33",
        "192.0.2.0/",
        "192.0.2.0/-1",
        "192.0.2.0/+8",
        "192.0.2.0/8x",
        "192.0.2.0/0008",
        "192.0.2.0/24-192.0.3.0/24",
        "2001:db8::/129",
        "192.0.2.1 # comment",
        "192.0.2.1,192.0.2.2",
        "0x7f.0.0.1",
        "2130706433",
    };
    struct ph_acl *acl = acl_new();
    for (size_t i = 0; i < COUNT(BAD); i++)
        cr_expect_eq(ph_acl_add(acl, false, BAD[i], strlen(BAD[i])), PH_E_FORMAT, "\"%s\"", BAD[i]);
    cr_expect_eq(ph_acl_add(acl, false, "192.0.2.1\0x", 11), PH_E_FORMAT);
    expect_allowed(acl, "192.0.2.1");
    ph_acl_free(acl);
}

Test(turn_acl, takes_many_rules)
{
    struct ph_acl *acl = acl_new();
    for (unsigned i = 0; i < 1000; i++) {
        char text[32];
        snprintf(text, sizeof text, "198.51.%u.%u", i / 256, i % 256);
        add(acl, false, text);
    }
    expect_denied(acl, "198.51.0.0");
    expect_denied(acl, "198.51.3.231");
    expect_allowed(acl, "198.51.3.232");
    ph_acl_free(acl);
}

Test(turn_acl, denies_what_is_no_address)
{
    struct ph_acl *acl = acl_new();
    add(acl, true, "0.0.0.0/0");
    add(acl, true, "::/0");
    cr_expect_not_null(ph_acl_check(acl, &(struct ph_addr){0}));
    ph_acl_free(acl);
    ph_acl_free(NULL);
}

Test(turn_acl, survives_want_of_memory)
{
    for (unsigned n = 1;; n++) {
        oom_fail_at(n);
        struct ph_acl *acl = ph_acl_new();
        int err = acl ? 0 : PH_E_NOMEM;
        for (unsigned i = 0; i < 40 && !err; i++)
            err = ph_acl_add(acl, i % 2, "192.0.2.0/24", 12);
        bool failed = oom_disarm();
        cr_assert_eq(err, failed ? PH_E_NOMEM : 0);
        ph_acl_free(acl);
        if (!failed)
            break;
    }
}
