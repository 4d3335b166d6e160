/*
 * Opening sockets on loopback, and what their error queues tell.
 */
#include "uv/kit.h"

#include <fcntl.h>
#include <sys/ioctl.h>

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

static int option(const struct ph_udp *s, int level, int name)
{
    int v = -1;
    socklen_t len = sizeof v;

    cr_assert_eq(getsockopt(s->fd, level, name, &v, &len), 0);
    return v;
}

Test(uv_udp, the_system_picks_a_port)
{
    struct ph_udp s = kit_open("127.0.0.1:0", NULL);
    struct ph_addr at = kit_local(&s), want = kit_addr("127.0.0.1");

    cr_expect(ph_addr_eq_ip(&at, &want));
    cr_expect_neq(at.port, 0);
    cr_expect_eq(at.proto, PH_UDP);
    ph_udp_close(&s);
    cr_expect_eq(s.fd, -1);
    ph_udp_close(&s);
}

Test(uv_udp, an_occupied_port_is_reported)
{
    struct ph_udp s = kit_open("127.0.0.1:0", NULL), t = {.fd = -7};
    const struct ph_addr at = kit_local(&s);

    cr_expect_eq(ph_udp_open(&t, &at, &(struct ph_udp_opts){0}), -EADDRINUSE);
    cr_expect_eq(t.fd, -7, "untouched on failure");
}

Test(uv_udp, a_foreign_address_is_reported)
{
    const struct ph_addr at = kit_addr("192.0.2.1:0");
    struct ph_udp t;

    cr_expect_eq(ph_udp_open(&t, &at, &(struct ph_udp_opts){0}), -EADDRNOTAVAIL);
    cr_expect_eq(ph_udp_open(&t, &(struct ph_addr){0}, &(struct ph_udp_opts){0}), -EAFNOSUPPORT);
}

Test(uv_udp, workers_share_an_address_only_if_asked)
{
    const struct ph_udp_opts o = {.reuseport = true};
    struct ph_udp s = kit_open("127.0.0.1:0", &o), t;
    const struct ph_addr at = kit_local(&s);

    cr_assert_eq(ph_udp_open(&t, &at, &o), 0);
    ph_udp_close(&t);
    cr_expect_eq(ph_udp_open(&t, &at, &(struct ph_udp_opts){0}), -EADDRINUSE);
}

Test(uv_udp, buffers_and_flags)
{
    const struct ph_udp_opts o = {.rcvbuf = 100000, .sndbuf = 50000, .gro = true};
    struct ph_udp s = kit_open("127.0.0.1:0", &o);

    cr_expect_eq(option(&s, SOL_SOCKET, SO_RCVBUF),
                 200000); /* the kernel doubles it for its own needs */
    cr_expect_eq(option(&s, SOL_SOCKET, SO_SNDBUF), 100000);
    cr_expect_eq(s.flags, PH_UDP_GRO);
    cr_expect_eq(s.family, PH_AF_INET);
}

Test(uv_udp, df_is_off_and_can_be_turned_on)
{
    struct ph_udp s = kit_open("127.0.0.1:0", NULL);

    cr_expect_eq(option(&s, IPPROTO_IP, IP_MTU_DISCOVER), IP_PMTUDISC_DONT);
    cr_assert_eq(ph_udp_set_df(&s, true), 0);
    cr_expect_eq(option(&s, IPPROTO_IP, IP_MTU_DISCOVER), IP_PMTUDISC_DO);
    cr_expect(s.flags & PH_UDP_DF);
    cr_assert_eq(ph_udp_set_df(&s, true), 0);
    cr_assert_eq(ph_udp_set_df(&s, false), 0);
    cr_expect_eq(option(&s, IPPROTO_IP, IP_MTU_DISCOVER), IP_PMTUDISC_DONT);
    cr_expect_not(s.flags & PH_UDP_DF);
}

Test(uv_udp, ipv6_sockets_are_ipv6_only)
{
    const struct ph_addr at = kit_addr("[::1]:0");
    struct ph_udp s, t;

    if (ph_udp_open(&s, &at, &(struct ph_udp_opts){.gro = true, .recverr = true}))
        cr_skip("no IPv6 here");
    cr_expect_eq(option(&s, IPPROTO_IPV6, IPV6_V6ONLY), 1);
    cr_assert_eq(ph_udp_set_df(&s, true), 0);
    cr_expect_eq(option(&s, IPPROTO_IPV6, IPV6_DONTFRAG), 1);
    struct ph_addr any = kit_addr("0.0.0.0");
    any.port = kit_local(&s).port;
    cr_expect_eq(ph_udp_open(&t, &any, &(struct ph_udp_opts){0}), 0,
                 "the same port in IPv4 is free");
}

Test(uv_udp, device_that_does_not_exist)
{
    const struct ph_addr at = kit_addr("127.0.0.1:0");
    struct ph_udp t;

    cr_expect_lt(ph_udp_open(&t, &at, &(struct ph_udp_opts){.device = "no-such-if"}), 0);
}

Test(uv_udp, an_address_that_is_not_ours_yet)
{
    struct ph_udp s = kit_open("192.0.2.1:0", &(struct ph_udp_opts){.free_bind = true}), t;
    const struct ph_addr at = kit_addr("[2001:db8::1]:0");

    ph_udp_close(&s);
    const int err = ph_udp_open(&t, &at, &(struct ph_udp_opts){.free_bind = true});
    cr_expect(err == 0 || err == -EAFNOSUPPORT, "%s", strerror(-err));
}

/* --- taking over ----------------------------------------------------------------------------------- */

Test(uv_udp, a_socket_is_taken_over_with_what_waits_in_it)
{
    struct ph_udp s = kit_open("127.0.0.1:0", NULL), client = kit_open("127.0.0.1:0", NULL), t;
    const struct ph_udp_opts o = {.rcvbuf = 100000, .gro = true, .recverr = true};
    const struct ph_addr at = kit_local(&s);
    char b[8];

    kit_send(&client, "waits", 5, &at);
    fcntl(s.fd, F_SETFD, 0); /* as after an exec */
    fcntl(s.fd, F_SETFL, 0);
    cr_assert_eq(ph_udp_set_df(&s, true), 0);
    cr_assert_eq(ph_udp_adopt(&t, s.fd, &o), 0);
    cr_expect_eq(t.fd, s.fd);
    cr_expect_eq(t.family, PH_AF_INET);
    cr_expect_eq(t.flags, PH_UDP_GRO, "DF is off");
    cr_expect_eq(option(&t, IPPROTO_IP, IP_MTU_DISCOVER), IP_PMTUDISC_DONT);
    cr_expect_eq(option(&t, IPPROTO_IP, IP_RECVERR), 1);
    cr_expect_eq(option(&t, SOL_SOCKET, SO_RCVBUF), 200000);
    cr_expect_eq(fcntl(t.fd, F_GETFD), FD_CLOEXEC);
    cr_expect(fcntl(t.fd, F_GETFL) & O_NONBLOCK);
    cr_expect_eq(kit_recv(&t, b, sizeof b, NULL), 5);
    ph_udp_close(&t);
    ph_udp_close(&client);
}

Test(uv_udp, what_the_one_before_wanted_is_undone)
{
    const struct ph_udp_opts all = {.gro = true, .recverr = true, .pktinfo = true};
    struct ph_udp s = kit_open("0.0.0.0:0", &all), t;

    cr_assert_eq(s.flags, PH_UDP_GRO | PH_UDP_PKTINFO);
    cr_assert_eq(ph_udp_adopt(&t, s.fd, &(struct ph_udp_opts){0}), 0);
    cr_expect_eq(t.flags, 0);
    cr_expect_eq(option(&t, IPPROTO_IP, IP_PKTINFO), 0);
    cr_expect_eq(option(&t, IPPROTO_IP, IP_RECVERR), 0);
    cr_expect_eq(option(&t, IPPROTO_UDP, UDP_GRO), 0);
    cr_assert_eq(ph_udp_adopt(&t, s.fd, &all), 0);
    cr_expect_eq(t.flags, PH_UDP_GRO | PH_UDP_PKTINFO);
    ph_udp_close(&t);
}

Test(uv_udp, an_ipv6_socket_is_taken_over)
{
    const struct ph_addr at = kit_addr("[::]:0");
    const struct ph_udp_opts o = {.pktinfo = true, .recverr = true};
    struct ph_udp s, t;

    if (ph_udp_open(&s, &at, &o))
        cr_skip("no IPv6 here");
    cr_assert_eq(ph_udp_set_df(&s, true), 0);
    cr_assert_eq(ph_udp_adopt(&t, s.fd, &o), 0);
    cr_expect_eq(t.family, PH_AF_INET6);
    cr_expect_eq(t.flags, PH_UDP_PKTINFO);
    cr_expect_eq(option(&t, IPPROTO_IPV6, IPV6_DONTFRAG), 0);
    cr_assert_eq(ph_udp_adopt(&t, s.fd, &(struct ph_udp_opts){0}), 0);
    cr_expect_eq(option(&t, IPPROTO_IPV6, IPV6_RECVPKTINFO), 0);
    cr_expect_eq(option(&t, IPPROTO_IPV6, IPV6_RECVERR), 0);
    ph_udp_close(&t);
}

Test(uv_udp, one_that_was_alone_may_share_its_address)
{
    const struct ph_udp_opts o = {.reuseport = true};
    struct ph_udp s = kit_open("127.0.0.1:0", NULL), t, second;
    const struct ph_addr at = kit_local(&s);

    cr_expect_eq(ph_udp_open(&second, &at, &o), -EADDRINUSE);
    cr_assert_eq(ph_udp_adopt(&t, s.fd, &o), 0);
    cr_expect_eq(ph_udp_open(&second, &at, &o), 0);
    ph_udp_close(&second);
    ph_udp_close(&t);
}

Test(uv_udp, only_a_bound_udp_socket_is_taken_over)
{
    const struct ph_udp_opts none = {0}, device = {.device = "no-such-if"};
    struct ph_udp s = kit_open("127.0.0.1:0", NULL), t = {.fd = -7};
    const int tcp = socket(AF_INET, SOCK_STREAM, 0), fresh = socket(AF_INET, SOCK_DGRAM, 0),
              dual = socket(AF_INET6, SOCK_DGRAM, 0), local = socket(AF_UNIX, SOCK_DGRAM, 0);
    const struct ph_addr any = kit_addr("[::]:0");
    union ph_sockaddr sa;

    if (dual >= 0)
        cr_assert_eq(bind(dual, &sa.sa, ph_sockaddr_set(&sa, &any)), 0);
    const int wrong[] = {tcp, fresh, dual, local, -1, 0x7FFFFFFF};
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++)
        cr_expect_eq(ph_udp_adopt(&t, wrong[i], &none), -EINVAL, "%u", i);
    cr_expect_eq(ph_udp_adopt(&t, s.fd, &device), -EINVAL);
    cr_expect_eq(t.fd, -7, "untouched on failure");
    close(tcp);
    close(fresh);
    close(dual);
    close(local);
    ph_udp_close(&s);
}

/* A port on loopback where nobody listens. */
static struct ph_addr closed_port(const char *ip)
{
    struct ph_udp s = kit_open(ip, NULL);
    struct ph_addr at = kit_local(&s);

    ph_udp_close(&s);
    return at;
}

/* Whether the socket becomes readable or faulty in time. */
static bool has_error(const struct ph_udp *s)
{
    struct pollfd p = {.fd = s->fd, .events = POLLIN};

    return poll(&p, 1, KIT_WAIT_MS) == 1 && p.revents & POLLERR;
}

Test(uv_udp, port_unreachable_names_the_peer)
{
    struct ph_udp s = kit_open("127.0.0.1:0", &(struct ph_udp_opts){.recverr = true});
    const struct ph_addr dead = closed_port("127.0.0.1:0"), router = kit_addr("127.0.0.1");
    struct ph_udp_error e;

    cr_expect_not(ph_udp_error(&s, &e));
    kit_send(&s, "x", 1, &dead);
    cr_assert(has_error(&s));
    cr_assert(ph_udp_error(&s, &e));
    cr_expect_eq(e.type, 3);
    cr_expect_eq(e.code, 3);
    cr_expect_eq(e.err, ECONNREFUSED);
    cr_expect_eq(e.mtu, 0);
    cr_expect(ph_addr_eq(&e.peer, &dead));
    cr_expect(ph_addr_eq_ip(&e.from, &router));
    cr_expect_not(ph_udp_error(&s, &e));
    kit_send(&s, "x", 1, &dead); /* the pending error went with the queue */
}

Test(uv_udp, port_unreachable_ipv6)
{
    const struct ph_addr at = kit_addr("[::1]:0");
    struct ph_udp s;
    struct ph_udp_error e;

    if (ph_udp_open(&s, &at, &(struct ph_udp_opts){.recverr = true}))
        cr_skip("no IPv6 here");
    const struct ph_addr dead = closed_port("[::1]:0");
    kit_send(&s, "x", 1, &dead);
    cr_assert(has_error(&s));
    cr_assert(ph_udp_error(&s, &e));
    cr_expect_eq(e.type, 1);
    cr_expect_eq(e.code, 4);
    cr_expect(ph_addr_eq(&e.peer, &dead));
}

Test(uv_udp, several_errors_keep_their_peers)
{
    struct ph_udp s = kit_open("127.0.0.1:0", &(struct ph_udp_opts){.recverr = true});
    struct ph_addr dead[3];
    struct ph_udp_error e;

    for (int i = 0; i < 3; i++) {
        dead[i] = closed_port("127.0.0.1:0");
        union ph_sockaddr sa;
        const socklen_t len = ph_sockaddr_set(&sa, &dead[i]);
        while (sendto(s.fd, "x", 1, 0, &sa.sa, len) <
               0) /* the error of the one before is told first */
            cr_assert_eq(errno, ECONNREFUSED);
    }
    cr_assert(has_error(&s));
    for (int i = 0; i < 3; i++) {
        cr_assert(ph_udp_error(&s, &e));
        cr_expect(ph_addr_eq(&e.peer, &dead[i]));
    }
    cr_expect_not(ph_udp_error(&s, &e));
}

Test(uv_udp, too_big_for_the_interface_with_df)
{
    static uint8_t big[65507];
    struct ph_udp s = kit_open("127.0.0.1:0", &(struct ph_udp_opts){.recverr = true});
    struct ph_udp_error e;
    union ph_sockaddr sa;

    cr_assert_eq(ph_udp_set_df(&s, true), 0);
    const struct ph_addr to = kit_addr("127.0.0.1:9");
    const socklen_t len = ph_sockaddr_set(&sa, &to);
    if (sendto(s.fd, big, sizeof big, 0, &sa.sa, len) >= 0)
        cr_skip("loopback takes any size here");
    cr_expect_eq(errno, EMSGSIZE);
    if (!ph_udp_error(&s, &e))
        cr_skip("this kernel does not queue it");
    cr_expect_eq(e.type, 3);
    cr_expect_eq(e.code, 4);
    cr_expect_gt(e.mtu, 0);
    cr_expect_eq(e.from.family, PH_AF_NONE);
}
