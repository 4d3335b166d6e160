/*
 * The hand-over when there is no memory: each allocation fails once.  Whoever cannot leave serves on, and whoever cannot take
 * over has touched nothing.  All of it runs on the test's own loop, so that the nth allocation is always the same.
 */
#include "support/oom.h"
#include "uv/turn_kit.h"

#include <fcntl.h>

enum { CHANNEL = 0x4000, TURNS = 20 };

static struct turn_kit kit;
static uv_loop_t loop;
static struct client a;

static void setup(void)
{
    turn_kit_init(&kit);
    uv_loop_init(&loop);
    kit.conf.workers = 0;
    kit.conf.loop = &loop;
    a.fd = -1;
}

static void turn(void)
{
    for (int i = 0; i < TURNS; i++) {
        uv_run(&loop, UV_RUN_NOWAIT);
        usleep(200);
    }
}

static void end_server(void)
{
    ph_turn_uv_free(kit.server);
    kit.server = NULL;
    uv_run(&loop, UV_RUN_DEFAULT);
}

static void teardown(void)
{
    end_server();
    cr_expect_eq(uv_loop_close(&loop), 0);
    client_close(&a);
    turn_kit_fini(&kit);
}

TestSuite(uv_turn_handover_oom, .init = setup, .fini = teardown);

/* Asks, and hears the answer, while the server is on our own thread. */
static void ask(void (*write)(struct client *c, void *arg), void *arg)
{
    write(&a, arg);
    client_end(&a);
    client_put(&a, a.req, (size_t)a.req_n);
    turn();
    cr_assert_eq(client_hear(&a).cls, PH_SUCCESS);
}

static void open_client(void)
{
    client_open(&a, &kit, PH_UDP);
    ask(write_allocate, &(struct allocate){PH_UDP, true});
    ask(write_bind, &(struct bind_channel){CHANNEL, &kit.peer_at});
}

/* What the client sends arrives. */
static bool relays(void)
{
    char b[8];

    client_send_data(&a, CHANNEL, "data", 4);
    turn();
    return kit_readable(&kit.peer, 0) && kit_recv(&kit.peer, b, sizeof b, NULL) == 4;
}

static void stay_where_you_are(void)
{
    for (unsigned i = 0; i < KIT_LISTENERS; i++)
        kit.conf.core.listener[i].at = kit.at[i];
}

Test(uv_turn_handover_oom, a_server_that_cannot_leave_serves_on)
{
    struct ph_turn_uv_handover h = {0};
    unsigned failed = 0;

    turn_kit_open(&kit);
    open_client();
    for (unsigned n = 1; n < 100; n++) {
        oom_fail_at(n);
        const int err = ph_turn_uv_leave(kit.server, &h);
        if (!oom_disarm()) {
            cr_assert_eq(err, 0);
            break;
        }
        failed++;
        cr_assert_eq(err, PH_E_NOMEM);
        cr_assert_null(h.socket, "untouched");
        cr_assert(relays(), "after the %uth", n);
    }
    cr_expect_gt(failed, 5);
    cr_expect_eq(h.n_records, 1);
    end_server();
    stay_where_you_are();
    kit.conf.inherit = &h;
    turn_kit_open(&kit);
    kit.conf.inherit = NULL;
    ph_turn_uv_handover_free(&h, false);
    cr_expect(relays());
}

Test(uv_turn_handover_oom, a_server_that_cannot_take_over_touches_nothing)
{
    struct ph_turn_uv_handover h;
    struct ph_addr failed_at;
    unsigned failed = 0;
    int err = PH_E_NOMEM;

    turn_kit_open(&kit);
    open_client();
    cr_assert_eq(ph_turn_uv_leave(kit.server, &h), 0);
    end_server();
    stay_where_you_are();
    kit.conf.inherit = &h;
    for (unsigned n = 1; n < 400 && err; n++) {
        oom_fail_at(n);
        err = ph_turn_uv_new(&kit.server, &kit.conf, &failed_at);
        oom_disarm();
        if (!err)
            break;
        failed++;
        kit.server = NULL;
        uv_run(&loop, UV_RUN_DEFAULT);
        for (unsigned i = 0; i < h.n_sockets; i++)
            cr_assert_eq(fcntl(h.socket[i].fd, F_GETFD), 0, "after the %uth", n);
    }
    kit.conf.inherit = NULL;
    cr_expect_gt(failed, 10);
    /* The first failure that does not keep it from starting is that of a record: then it is lost. */
    cr_expect_leq(turn_kit_sum(&kit).allocations_now, 1);
    ph_turn_uv_handover_free(&h, false);
}
