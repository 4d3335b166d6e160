/*
 * What is told on a worker's own thread: its loop, its allocations, the events of statistics and the TLS of clients.
 */
#include "uv/turn_kit.h"

#include <pthread.h>

enum { WORKERS = 2 };

static struct turn_kit kit;

/* Written on the workers' threads. */
static struct place {
    pthread_t thread;
    struct ph_turn_uv_here *here;
    uv_timer_t timer;
    atomic_int begun, fired, ended, closed, left, strange;
} place[WORKERS];

static atomic_int refreshes, traffics, lifetime;
static char tls[64];

static void on_timer(uv_timer_t *t)
{
    struct place *p = t->data;

    p->strange += !pthread_equal(p->thread, pthread_self());
    p->fired++;
}

static void on_closed(uv_handle_t *h)
{
    struct place *p = h->data;
    p->closed++;
}

static void on_loop(void *ctx, unsigned worker, uv_loop_t *loop, struct ph_turn_uv_here *here)
{
    struct place *p = &place[worker];
    struct ph_turnd_info info;

    cr_assert_eq(ctx, &kit);
    if (loop) {
        p->thread = pthread_self();
        p->here = here;
        p->begun++;
        uv_timer_init(loop, &p->timer);
        p->timer.data = p;
        uv_timer_start(&p->timer, on_timer, 1, 1);
        return;
    }
    p->strange += here != p->here || !pthread_equal(p->thread, pthread_self());
    for (uint32_t id = 0; ph_turn_uv_here_next(here, &id, &info);)
        p->left++;
    p->ended++;
    uv_close((uv_handle_t *)&p->timer, on_closed);
}

static void on_event(void *ctx, unsigned worker, const struct ph_turnd_ev *ev)
{
    struct place *p = &place[worker];
    const char *version, *cipher;

    turn_kit_event(ctx, worker, ev);
    p->strange += !p->begun || p->ended || !pthread_equal(p->thread, pthread_self());
    if (ev->type == PH_TURND_ALLOC_REFRESHED) {
        lifetime = (int)ev->lifetime_s;
        refreshes++;
    }
    traffics += ev->type == PH_TURND_ALLOC_TRAFFIC;
    if (ev->type == PH_TURND_ALLOC_UP) {
        if (ph_turn_uv_here_tls(p->here, ev->info.conn, &version, &cipher))
            snprintf(tls, sizeof tls, "%s %s", version, cipher);
        else
            strcpy(tls, "none");
    }
}

static void setup(void)
{
    turn_kit_init(&kit);
    kit.conf.workers = WORKERS;
    kit.conf.core.stats = true;
    kit.conf.on_event = on_event;
    kit.conf.on_loop = on_loop;
}

TestSuite(uv_turn_here, .init = setup);

Test(uv_turn_here, loops_are_told_as_they_start_and_stop)
{
    struct client c;

    turn_kit_open(&kit);
    for (unsigned i = 0; i < WORKERS; i++) {
        cr_expect_eq(place[i].begun, 1);
        KIT_UNTIL(place[i].fired > 0);
    }
    client_open(&c, &kit, PH_UDP);
    client_allocate(&c);
    cr_expect_eq(client_refresh(&c, 700), 0);
    KIT_UNTIL(refreshes == 1);
    cr_expect_eq(lifetime, 700);
    turn_kit_fini(&kit);
    for (unsigned i = 0; i < WORKERS; i++) {
        cr_expect_eq(place[i].begun, 1);
        cr_expect_eq(place[i].ended, 1);
        cr_expect_eq(place[i].closed, 1, "the loop ran until the handle was closed");
        cr_expect_eq(place[i].strange, 0, "always on the worker's thread");
    }
    cr_expect_eq(place[0].left + place[1].left, 1, "its allocations are still there");
    client_close(&c);
}

Test(uv_turn_here, tls_of_clients_is_described)
{
    static const struct {
        uint8_t proto;
        const char *begins;
    } cases[] = {
        {PH_UDP, "none"}, {PH_TCP, "none"}, {PH_TLS, "TLSv1."}, {PH_DTLS, "DTLSv1.2 ECDHE-"}};
    struct client c;

    turn_kit_open(&kit);
    for (int i = 0; i < 4; i++) {
        client_open(&c, &kit, cases[i].proto);
        client_allocate(&c);
        KIT_UNTIL(kit.ups == i + 1);
        cr_expect_eq(strncmp(tls, cases[i].begins, strlen(cases[i].begins)), 0, "%d: %s", i, tls);
        client_close(&c);
    }
    turn_kit_fini(&kit);
}

Test(uv_turn_here, traffic_is_told_when_asked_for)
{
    struct client c;

    turn_kit_open(&kit);
    ph_turn_uv_tell_traffic(kit.server);
    cr_expect_eq(traffics, 0);
    client_open(&c, &kit, PH_UDP);
    client_allocate(&c);
    ph_turn_uv_tell_traffic(kit.server);
    cr_expect_eq(traffics, 1, "before it returns");
    ph_turn_uv_tell_traffic(kit.server);
    cr_expect_eq(traffics, 1);
    client_close(&c);
    turn_kit_fini(&kit);
}

/* A server that cannot start tells of no end that had no beginning. */
Test(uv_turn_here, a_start_that_fails)
{
    struct ph_turn_uv *t = NULL;

    kit.conf.tls = NULL;
    cr_assert_eq(ph_turn_uv_new(&t, &kit.conf, NULL), PH_E_UNSUPPORTED);
    for (unsigned i = 0; i < WORKERS; i++)
        cr_expect_eq(place[i].begun + place[i].ended, 0);
    turn_kit_fini(&kit);
}
