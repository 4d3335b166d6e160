/*
 * The end of a process and the start of the next one, around the rig: records are kept, the cores are freed, new ones
 * start on a monotonic clock that begins anew, and the records are restored.
 */
#ifndef PH_TESTS_TURN_RESTORE_KIT_H
#define PH_TESTS_TURN_RESTORE_KIT_H

#include "turn/rig.h"

enum { KIT_RECORDS = 32, KIT_RECORD = 16384 };

static const int64_t kit_epoch_s = 1800000000; /* what the rig's clock says when it starts */

struct kit_record {
    uint8_t p[KIT_RECORD];
    size_t n;
};

static struct {
    struct kit_record record[KIT_RECORDS];
    unsigned n;
    int64_t wall_ms; /* unix time at `at` of the rig's clock */
    ph_ns at;
} kit = {.wall_ms = 1800000000000, .at = 1000000000000};

/* As before the first core, for tests that go round. */
static inline void kit_reset(void)
{
    kit.n = 0;
    kit.wall_ms = kit_epoch_s * 1000;
    kit.at = PH_SEC(1000);
}

static inline struct ph_slice kit_slice(unsigned i)
{
    return (struct ph_slice){kit.record[i].p, kit.record[i].n};
}

/* Saves what the core has.  Returns how many records there are. */
static inline unsigned kit_keep(struct rig *r)
{
    struct ph_turnd_info info;

    for (uint32_t id = 0; ph_turnd_list(r->d, &id, &info);) {
        struct kit_record *k = &kit.record[kit.n];
        cr_assert_lt(kit.n, KIT_RECORDS);
        k->n = ph_turnd_save(r->d, info.id, k->p, sizeof k->p, r->now);
        kit.n += k->n > 0;
    }
    return kit.n;
}

/* The next process, `gap` after the last one: its monotonic clock says `now`. */
static inline void kit_boot(struct rig *r, ph_ns gap, ph_ns now)
{
    kit.wall_ms += (r->now - kit.at + gap) / PH_MS(1);
    ph_turnd_free(r->core[0]);
    ph_turnd_free(r->core[1]);
    r->core[0] = r->core[1] = NULL;
    r->now = kit.at = now;
    r->c.quota = r->quota;
    r->c.budget = r->budget;
    r->d = r->core[0] = ph_turnd_new(&r->c, &r->env, r->now);
    cr_assert_not_null(r->d);
    ph_turnd_wall_clock(r->d, kit.wall_ms / 1000, r->now);
}

/* Restores a record and takes what comes of it. */
static inline int kit_restore(struct rig *r, unsigned i)
{
    uint32_t id;
    int err = ph_turnd_restore(r->d, kit_slice(i), &id, r->now);
    rig_take(r);
    return err;
}

/* kill -9, three seconds of nothing, and a start. */
static inline void kit_restart(struct rig *r)
{
    kit.n = 0;
    kit_keep(r);
    kit_boot(r, PH_SEC(3), PH_SEC(20));
    for (unsigned i = 0; i < kit.n; i++)
        cr_assert_eq(kit_restore(r, i), 0, "record %u", i);
}

/* The first allocation there is. */
static inline struct ph_turnd_info kit_info(struct rig *r)
{
    struct ph_turnd_info info;
    uint32_t id = 0;
    cr_assert(ph_turnd_list(r->d, &id, &info));
    return info;
}

#endif
