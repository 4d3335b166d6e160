/*
 * Which words of other nodes are news (cmd/turnd/fresh.h).
 */
#include "cmd/turnd/fresh.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define NOW 1763769600000

static enum ph_tfresh_verdict note(struct ph_tfresh *t, const char *node, int64_t at)
{
    return ph_tfresh(t, ph_str(node), PH_TFRESH_NOTE, at, NOW);
}

Test(turnd_fresh, what_is_shown_again_is_no_news)
{
    struct ph_tfresh t = {0};
    cr_expect_eq(note(&t, "a", NOW), PH_TFRESH_NEWS);
    cr_expect_eq(note(&t, "a", NOW), PH_TFRESH_KNOWN);
    cr_expect_eq(note(&t, "a", NOW - 1), PH_TFRESH_OLD, "held back, and shown later");
    cr_expect_eq(note(&t, "a", NOW + 1), PH_TFRESH_NEWS);
}

Test(turnd_fresh, nodes_have_clocks_of_their_own)
{
    struct ph_tfresh t = {0};
    cr_expect_eq(note(&t, "a", NOW + 5000), PH_TFRESH_NEWS);
    cr_expect_eq(note(&t, "b", NOW - 5000), PH_TFRESH_NEWS);
    cr_expect_eq(note(&t, "a", NOW), PH_TFRESH_OLD);
    cr_expect_eq(note(&t, "b", NOW), PH_TFRESH_NEWS);
}

Test(turnd_fresh, entries_and_notes_are_stamped_apart)
{
    struct ph_tfresh t = {0};
    cr_expect_eq(note(&t, "a", NOW), PH_TFRESH_NEWS);
    cr_expect_eq(ph_tfresh(&t, ph_str("a"), PH_TFRESH_ENTRY, NOW - 1, NOW), PH_TFRESH_NEWS);
    cr_expect_eq(ph_tfresh(&t, ph_str("a"), PH_TFRESH_ENTRY, NOW - 1, NOW), PH_TFRESH_KNOWN);
}

Test(turnd_fresh, clocks_may_differ_by_two_minutes)
{
    struct ph_tfresh t = {0};
    cr_expect_eq(note(&t, "a", NOW - 120001), PH_TFRESH_CLOCK);
    cr_expect_eq(note(&t, "a", NOW - 120000), PH_TFRESH_NEWS);
    cr_expect_eq(note(&t, "a", NOW + 120001), PH_TFRESH_CLOCK);
    cr_expect_eq(note(&t, "a", NOW), PH_TFRESH_NEWS, "nothing was remembered of it");
}

Test(turnd_fresh, the_longest_silent_node_is_forgotten_first)
{
    struct ph_tfresh t = {0};
    char name[PH_FLEET_NAME];
    for (int i = 0; i < PH_TFRESH_NODES; i++) {
        snprintf(name, sizeof name, "node-%d", i);
        cr_assert_eq(note(&t, name, NOW + i), PH_TFRESH_NEWS);
    }
    cr_expect_eq(note(&t, "node-0", NOW + 1000), PH_TFRESH_NEWS);
    cr_expect_eq(note(&t, "one more", NOW), PH_TFRESH_NEWS);
    cr_expect_eq(note(&t, "node-0", NOW + 1000), PH_TFRESH_KNOWN);
    cr_expect_eq(note(&t, "node-2", NOW + 2), PH_TFRESH_KNOWN);
    cr_expect_eq(note(&t, "node-1", NOW + 1), PH_TFRESH_NEWS, "it gave way");
}

Test(turnd_fresh, our_own_stamps_only_grow)
{
    int64_t last = 0;
    cr_expect_eq(ph_tfresh_stamp(&last, NOW), NOW);
    cr_expect_eq(ph_tfresh_stamp(&last, NOW), NOW + 1);
    cr_expect_eq(ph_tfresh_stamp(&last, NOW - 60000), NOW + 2, "the clock was set back");
    cr_expect_eq(ph_tfresh_stamp(&last, NOW + 10), NOW + 10);
}
