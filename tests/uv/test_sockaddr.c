/*
 * ph_addr to socket address and back.
 */
#include "uv/kit.h"

#include <arpa/inet.h>

Test(uv_sockaddr, ipv4_there_and_back)
{
    const struct ph_addr a = kit_addr("192.0.2.7:3478");
    union ph_sockaddr s;
    struct ph_addr b;

    cr_assert_eq(ph_sockaddr_set(&s, &a), sizeof s.in);
    cr_expect_eq(s.in.sin_family, AF_INET);
    cr_expect_eq(ntohs(s.in.sin_port), 3478);
    cr_expect_eq(ntohl(s.in.sin_addr.s_addr), 0xC0000207u);
    ph_sockaddr_get(&b, &s, PH_UDP);
    cr_expect(ph_addr_eq(&a, &b));
}

Test(uv_sockaddr, ipv6_there_and_back)
{
    const struct ph_addr a = kit_addr("[2001:db8::5]:65535");
    union ph_sockaddr s;
    struct ph_addr b;
    struct in6_addr ip;

    cr_assert_eq(ph_sockaddr_set(&s, &a), sizeof s.in6);
    inet_pton(AF_INET6, "2001:db8::5", &ip);
    cr_expect_eq(memcmp(&s.in6.sin6_addr, &ip, sizeof ip), 0);
    cr_expect_eq(ntohs(s.in6.sin6_port), 65535);
    cr_expect_eq(s.in6.sin6_scope_id, 0);
    ph_sockaddr_get(&b, &s, PH_UDP);
    cr_expect(ph_addr_eq(&a, &b));
}

Test(uv_sockaddr, unused_bytes_are_zero)
{
    union ph_sockaddr s;
    struct ph_addr a;

    memset(&s, 0xFF, sizeof s);
    memset(&a, 0xFF, sizeof a);
    const struct ph_addr v4 = kit_addr("127.0.0.1:1");
    ph_sockaddr_set(&s, &v4);
    for (size_t i = 0; i < sizeof s.in.sin_zero; i++)
        cr_expect_eq(s.in.sin_zero[i], 0);
    ph_sockaddr_get(&a, &s, PH_UDP);
    for (size_t i = 4; i < sizeof a.ip; i++)
        cr_expect_eq(a.ip[i], 0);
}

Test(uv_sockaddr, unknown_families)
{
    const struct ph_addr none = {0};
    union ph_sockaddr s;
    struct ph_addr a;

    cr_expect_eq(ph_sockaddr_set(&s, &none), 0);
    memset(&s, 0, sizeof s);
    s.sa.sa_family = AF_UNIX;
    ph_sockaddr_get(&a, &s, PH_TCP);
    cr_expect_eq(a.family, PH_AF_NONE);
    cr_expect_eq(a.port, 0);
}

Test(uv_sockaddr, reads_what_libuv_hands_out)
{
    struct sockaddr_storage big = {0};
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(80)};
    const struct ph_addr want = kit_addr("127.0.0.1:80");

    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    memcpy(&big, &in, sizeof in);
    struct ph_addr a = ph_sockaddr_read((const struct sockaddr *)&big, PH_UDP);
    cr_expect(ph_addr_eq(&a, &want));
}
