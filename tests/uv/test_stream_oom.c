/*
 * Streams when there is no memory: each allocation fails once; nothing crashes, nothing leaks.
 */
#include "support/oom.h"
#include "uv/stream_kit.h"

static struct rig r;

Test(uv_stream_oom, new_fails_cleanly)
{
    rig_open(&r, NULL);
    for (unsigned n = 1;; n++) {
        const struct ph_streams_conf c = {
            .worker = r.w, .env = &r.env, .calls = rig_calls, .ctx = &r};
        oom_fail_at(n);
        struct ph_streams *s = ph_streams_new(&c);
        if (!oom_disarm()) {
            cr_assert_gt(n, 4);
            ph_streams_free(s);
            break;
        }
        cr_assert_null(s);
    }
    rig_close(&r);
}

/* Half a message, then the rest, then an answer nobody reads and a goodbye. */
static void live(void)
{
    uint8_t b[1204];
    const int fd = rig_dial(&r);
    const size_t n = rig_stun(b, 0x0001, 0, 1);

    send(fd, b, 7, MSG_NOSIGNAL);
    for (int i = 0; i < 3; i++)
        rig_turn(&r);
    send(fd, b + 7, n - 7, MSG_NOSIGNAL);
    for (int i = 0; i < 3; i++)
        rig_turn(&r);
    const uint32_t conn = r.n_msg ? r.msg[(r.n_msg - 1) % RIG_LOG].conn : 0;
    ph_streams_keep(r.s, conn, true);
    for (uint32_t i = 0; i < 5000; i++) {
        rig_send(&r, conn, b, rig_data(b, 1200, i));
        if (i % 500 == 0)
            ph_streams_flush(r.s, rig_now(&r));
    }
    struct ph_stream_moved *m = ph_streams_detach(r.s, conn, b, 6);
    if (m)
        ph_streams_attach(r.s, m, rig_now(&r));
    rig_turn(&r);
    close(fd);
    for (int i = 0; i < 3; i++)
        rig_turn(&r);
}

Test(uv_stream_oom, a_connections_life)
{
    unsigned n;

    for (n = 1; n < 2000; n += n < 30 ? 1 : 37) { /* many are alike */
        rig_open(&r, &(struct ph_streams_conf){.queue_bytes = 20000});
        rig_listen(&r, true, false, false);
        oom_fail_at(n);
        live();
        const bool failed = oom_disarm();
        rig_close(&r);
        if (!failed)
            break;
    }
    cr_expect_gt(n, 8, "there are some");
}
