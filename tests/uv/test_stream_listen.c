/*
 * Listeners that go from one process to the next, that wait, and that stand on addresses we do not have (yet).
 */
#include "uv/stream_kit.h"

static struct rig r;

/* A second table on the same loop: the process after. */
static struct ph_streams *next_one(void)
{
    const struct ph_streams_conf c = {.worker = r.w, .env = &r.env, .calls = rig_calls, .ctx = &r};
    struct ph_streams *s = ph_streams_new(&c);

    cr_assert_not_null(s);
    return s;
}

/* From then on the rig is the process after. */
static void change_over(struct ph_streams *next)
{
    ph_streams_free(r.s);
    r.s = next;
}

static int option(int fd, int level, int name)
{
    int v = -1;
    socklen_t n = sizeof v;

    getsockopt(fd, level, name, &v, &n);
    return v;
}

Test(uv_stream_listen, a_listener_goes_to_the_next_process_with_what_waits_in_it)
{
    struct ph_addr at;

    rig_open(&r, NULL);
    rig_listen(&r, true, false, false);
    const int before = rig_dial(&r);
    rig_hello(&r, before);
    const int fd = ph_streams_unlisten(r.s, 7);
    cr_assert_geq(fd, 0);
    cr_expect_eq(ph_streams_unlisten(r.s, 7), -1, "it is gone");
    const int waits = rig_dial(&r); /* nobody listens, the kernel takes it */
    rig_settle(&r);
    cr_expect_eq(rig_stats(&r)->accepted, 1);
    fcntl(fd, F_SETFD, 0);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){0}, sizeof(int));

    struct ph_streams *next = next_one();
    const struct ph_stream_listener l = {
        .sock = 3, .plain = true, .reuseport = true, .inherited = true, .fd = fd};
    cr_assert_eq(ph_streams_listen(next, &l, &at), 0);
    cr_expect(ph_addr_eq(&at, &r.at));
    cr_expect_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
    cr_expect_eq(option(fd, SOL_SOCKET, SO_REUSEPORT), 1);
    cr_expect_eq(option(fd, IPPROTO_TCP, TCP_NODELAY), 1);
    change_over(next);
    cr_expect(rig_closed(&r, before), "what was open is not carried");
    rig_hello(&r, waits);
    cr_expect_eq(r.msg[1].sock, 3);
    const int after = rig_dial(&r);
    rig_hello(&r, after);
    close(before);
    close(waits);
    close(after);
    rig_close(&r);
}

Test(uv_stream_listen, only_a_listening_socket_is_inherited)
{
    struct ph_stream_listener l = {.sock = 3, .plain = true, .inherited = true};
    struct ph_addr at;
    uint32_t id;

    rig_open(&r, NULL);
    rig_listen(&r, true, false, false);
    struct ph_udp u = kit_open("127.0.0.1:0", NULL);
    const int plain = socket(AF_INET, SOCK_STREAM, 0), wrong[] = {u.fd, plain, -1, 0x7FFFFFFF};
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        l.fd = wrong[i];
        cr_expect_eq(ph_streams_listen(r.s, &l, &at), -EINVAL);
        cr_expect_eq(ph_streams_adopt_raw(r.s, wrong[i], NULL, &id), -EINVAL);
    }
    l.fd = ph_streams_unlisten(r.s, 7);
    l.device = "no-such-if";
    cr_expect_eq(ph_streams_listen(r.s, &l, &at), -EINVAL, "of another device");
    l.device = NULL;
    cr_expect_eq(ph_streams_listen(r.s, &l, &at), 0, "it was still ours");
    close(plain);
    ph_udp_close(&u);
    rig_close(&r);
}

Test(uv_stream_listen, a_relays_listener_goes_too)
{
    struct ph_addr relay = rig_tcp("127.0.0.1:0");
    union ph_sockaddr sa;
    socklen_t n = ph_sockaddr_set(&sa, &relay);
    uint32_t id;

    rig_open(&r, NULL);
    const int probe = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(probe, &sa.sa, n), 0);
    n = sizeof sa;
    getsockname(probe, &sa.sa, &n);
    ph_sockaddr_get(&relay, &sa, PH_TCP);
    close(probe);
    cr_assert_eq(ph_streams_listen_raw(r.s, &relay, NULL, &id), 0);
    const int fd = ph_streams_give_raw(r.s, id);
    cr_assert_geq(fd, 0);
    cr_expect_eq(ph_streams_give_raw(r.s, id), -1);
    cr_expect_eq(ph_streams_give_raw(r.s, 12345), -1);
    r.at = relay;
    const int peer = rig_dial(&r);
    struct ph_streams *next = next_one();
    cr_assert_eq(ph_streams_adopt_raw(next, fd, NULL, &id), 0);
    change_over(next);
    RIG_UNTIL(&r, r.n_accepted == 1);
    rig_put(&r, peer, "early", 5);
    RIG_UNTIL(&r, r.n_bytes == 5);
    close(peer);
    rig_close(&r);
}

Test(uv_stream_listen, who_calls_while_it_is_held_waits)
{
    struct ph_addr at = rig_tcp("127.0.0.1:0"), second;
    uint32_t id;

    rig_open(&r, NULL);
    ph_streams_hold(r.s, true);
    rig_listen(&r, true, false, false); /* opened while held */
    const int a = rig_dial(&r);
    rig_settle(&r);
    rig_later(&r, PH_SEC(1)); /* nothing to do with the pause after an error */
    cr_expect_eq(rig_stats(&r)->accepted, 0);
    ph_streams_hold(r.s, false);
    rig_hello(&r, a);

    cr_assert_eq(ph_streams_listen_raw(r.s, &at, NULL, &id), 0);
    ph_streams_hold(r.s, true); /* and those that are open */
    const int b = rig_dial(&r);
    rig_settle(&r);
    cr_expect_eq(rig_stats(&r)->accepted, 1);
    const struct ph_stream_listener l = {.at = rig_tcp("127.0.0.1:0"), .sock = 8, .plain = true};
    cr_assert_eq(ph_streams_listen(r.s, &l, &second), 0);
    ph_streams_hold(r.s, false);
    rig_hello(&r, b);
    cr_expect_eq(rig_stats(&r)->accepted, 2);
    close(a);
    close(b);
    rig_close(&r);
}

Test(uv_stream_listen, an_address_that_is_not_ours_yet)
{
    const struct ph_stream_listener l = {.at = rig_tcp("192.0.2.1:0"), .sock = 1, .plain = true};
    const struct ph_addr relay = rig_tcp("192.0.2.1:0");
    struct ph_addr at;
    uint32_t id;

    rig_open(&r, &(struct ph_streams_conf){.free_bind = true});
    cr_expect_eq(ph_streams_listen(r.s, &l, &at), 0);
    cr_expect_eq(ph_streams_listen_raw(r.s, &relay, NULL, &id), 0);
    rig_close(&r);
}
