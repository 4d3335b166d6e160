/*
 * Peer rules with ports: at their boundaries, for one address and for every address, and for permissions.
 */
#include "turn/acl_kit.h"

#include <stdlib.h>

static const char *check_port(const struct ph_acl *acl, const char *text, uint16_t port)
{
    struct ph_addr a;
    cr_assert_eq(ph_addr_parse(&a, text, strlen(text), 0), 0, "%s", text);
    a.port = port;
    return ph_acl_check(acl, &a);
}

static void expect_ports(const struct ph_acl *acl, const char *text, const char *allowed,
                         const char *denied)
{
    char *end;
    for (; *allowed; allowed = *end ? end + 1 : end)
        cr_expect_null(check_port(acl, text, (uint16_t)strtoul(allowed, &end, 10)), "%s %s", text,
                       allowed);
    for (; *denied; denied = *end ? end + 1 : end)
        cr_expect_not_null(check_port(acl, text, (uint16_t)strtoul(denied, &end, 10)), "%s %s",
                           text, denied);
}

Test(turn_acl, applies_port_rules_at_their_boundaries)
{
    struct ph_acl *acl = acl_new();
    cr_expect_not(ph_acl_has_ports(acl));
    add(acl, false, "198.51.100.0/24");
    cr_expect_not(ph_acl_has_ports(acl));
    add(acl, false, "203.0.113.7:25");
    cr_expect(ph_acl_has_ports(acl));
    add(acl, false, " 203.0.113.64/26:5000-5999 ");
    add(acl, false, "192.0.2.1-192.0.2.9:1-1023");
    add(acl, false, "[2001:db8:1::/48]:443");
    add(acl, false, "[2001:db8:2::1-2001:db8:2::9]:65535");
    expect_ports(acl, "203.0.113.7", "0,1,24,26,65535", "25");
    expect_ports(acl, "203.0.113.8", "0,25", "");
    expect_ports(acl, "203.0.113.64", "0,4999,6000", "5000,5999");
    expect_ports(acl, "203.0.113.128", "5000", "");
    expect_ports(acl, "192.0.2.9", "0,1024", "1,1023");
    expect_ports(acl, "192.0.2.10", "1", "");
    expect_ports(acl, "2001:db8:1::7", "0,442,444", "443");
    expect_ports(acl, "2001:db8:2::5", "0,65534", "65535");
    expect_ports(acl, "::ffff:203.0.113.7", "24", "25"); /* no spelling gets around them */
    expect_ports(acl, "2002:cb00:7107::1", "24", "25");
    expect_ports(acl, "64:ff9b::203.0.113.7", "24", "25");
    ph_acl_free(acl);
}

Test(turn_acl, allows_ports_of_what_is_denied)
{
    struct ph_acl *acl = acl_new();
    add(acl, true, "10.0.0.5:443");
    add(acl, true, "[fc00::5]:8000-8001");
    add(acl, false, "203.0.113.0/24");
    add(acl, true, "203.0.113.9:53");
    expect_ports(acl, "10.0.0.5", "0,443", "442,444");
    expect_ports(acl, "10.0.0.6", "", "0,443");
    expect_ports(acl, "fc00::5", "0,8000,8001", "7999,8002");
    expect_ports(acl, "203.0.113.9", "0,53", "54");
    expect_ports(acl, "203.0.113.8", "", "0,53");
    ph_acl_free(acl);
}

Test(turn_acl, applies_ports_of_every_address)
{
    struct ph_acl *acl = acl_new();
    add(acl, false, "*:1-1023");
    add(acl, true, "*:443");
    add(acl, true, "192.0.2.5:25");
    expect_ports(acl, "8.8.8.8", "0,443,1024", "1,53,1023");
    expect_ports(acl, "2606:4700::1", "0,443,1024", "1,53,1023");
    expect_ports(acl, "192.0.2.5", "25,443", "26");
    expect_ports(acl, "127.0.0.1", "", "0,443"); /* ports of all do not open what is closed */
    expect_ports(acl, "fe80::1", "", "0,443");
    add(acl, false, "198.51.100.0/24");
    expect_ports(acl, "198.51.100.1", "0,443", "1024"); /* but they are exceptions to rules */
    ph_acl_free(acl);
}
