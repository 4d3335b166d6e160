/* Which servers stund's options make. */
#include "cmd/stund/conf.h"

#include <criterion/criterion.h>
#include <string.h>

static struct ph_sconf conf;
static struct ph_stun_uv_conf plan;

static void forget(void)
{
    ph_sconf_fini(&conf);
}

TestSuite(cmd_stund_conf, .fini = forget);

/* Reads options separated by blanks and plans.  Returns the first mistake, or NULL. */
static const char *read_options(const char *options)
{
    static char text[512];
    char *argv[32] = {"stund"};
    int argc = 1;
    snprintf(text, sizeof text, "%s", options);
    for (char *p = strtok(text, " "); p; p = strtok(NULL, " "))
        argv[argc++] = p;
    ph_sconf_read(&conf, argc, argv);
    ph_sconf_plan(&conf, &plan);
    const struct ph_opt_message *m = ph_opts_message(conf.opts, 0);
    return m ? m->text : NULL;
}

static void good(const char *options, unsigned servers)
{
    const char *mistake = read_options(options);
    cr_assert_null(mistake, "%s: %s", options, mistake);
    cr_assert_eq(plan.n_servers, servers, "%s: %u servers", options, plan.n_servers);
}

static void expect_at(const struct ph_addr *a, const char *want)
{
    char got[PH_ADDR_TEXT];
    cr_assert_str_eq(ph_addr_text(a, got), want);
}

Test(cmd_stund_conf, serves_both_families_by_default)
{
    good("", 2);
    expect_at(&plan.server[0].stund.at[0], "0.0.0.0:3478");
    expect_at(&plan.server[1].stund.at[0], "[::]:3478");
    cr_assert_eq(plan.server[0].stund.at[1].family, PH_AF_NONE);
    cr_assert_eq(plan.workers, 0, "in the main thread");
    cr_assert_not(plan.server[0].stund.rfc5780);
    cr_assert_eq(plan.budget.addr_rate, 0, "the default");
}

Test(cmd_stund_conf, makes_one_discovery_server_of_two_addresses)
{
    good("-L 192.0.2.1 -L 2001:db8::1 -L 192.0.2.2 -L 2001:db8::2 -p 5000 --workers 4", 2);
    const struct ph_stund_conf *c = &plan.server[0].stund;
    cr_assert(c->rfc5780);
    expect_at(&c->at[0], "192.0.2.1:5000");
    expect_at(&c->at[1], "192.0.2.1:5001");
    expect_at(&c->at[2], "192.0.2.2:5000");
    expect_at(&c->at[3], "192.0.2.2:5001");
    c = &plan.server[1].stund;
    cr_assert(c->rfc5780);
    expect_at(&c->at[3], "[2001:db8::2]:5001");
    cr_assert_eq(plan.workers, 4);
}

Test(cmd_stund_conf, serves_plainly_what_is_not_a_pair)
{
    good("-L 192.0.2.1 -L 2001:db8::1 -L 2001:db8::2", 2);
    cr_assert_not(plan.server[0].stund.rfc5780);
    cr_assert(plan.server[1].stund.rfc5780);
}

Test(cmd_stund_conf, can_leave_discovery_out)
{
    good("-L 192.0.2.1 -L 192.0.2.2 -L 192.0.2.3 --no-rfc5780", 3);
    for (unsigned i = 0; i < 3; i++)
        cr_assert_not(plan.server[i].stund.rfc5780);
    expect_at(&plan.server[2].stund.at[0], "192.0.2.3:3478");
}

Test(cmd_stund_conf, binds_inside_and_tells_outside)
{
    good("-L 10.0.0.1 -L 10.0.0.2 -X 203.0.113.1/10.0.0.1 -X 203.0.113.2/10.0.0.2", 1);
    const struct ph_stun_uv_one *one = &plan.server[0];
    expect_at(&one->stund.at[0], "203.0.113.1:3478");
    expect_at(&one->bind[0], "10.0.0.1:3478");
    expect_at(&one->stund.at[3], "203.0.113.2:3479");
    expect_at(&one->bind[3], "10.0.0.2:3479");
}

Test(cmd_stund_conf, one_public_address_without_a_private_one_is_enough_for_one)
{
    good("-L 10.0.0.1 -L 2001:db8::1 -X 203.0.113.1", 2);
    expect_at(&plan.server[0].stund.at[0], "203.0.113.1:3478");
    expect_at(&plan.server[0].bind[0], "10.0.0.1:3478");
    expect_at(&plan.server[1].stund.at[0], "[2001:db8::1]:3478");
    cr_assert_eq(plan.server[1].bind[0].family, PH_AF_NONE);
}

Test(cmd_stund_conf, two_addresses_need_two_public_ones)
{
    const char *m = read_options("-L 10.0.0.1 -L 10.0.0.2 -X 203.0.113.1/10.0.0.1 "
                                 "-X 203.0.113.1/10.0.0.2");
    cr_assert_not_null(m);
    cr_assert_not_null(strstr(m, "external-ip: RFC 5780 needs two public addresses"), "%s", m);
}

Test(cmd_stund_conf, passes_answers_and_budget_on)
{
    good("-L 192.0.2.1 --software Pinhole -f --stun-backward-compatibility "
         "--budget-addr-rate 100 --budget-addr-burst 200 --budget-prefix-rate 300 "
         "--budget-prefix-burst 400 --budget-prefix4 20 --budget-prefix6 40 --no-budget",
         1);
    cr_assert_str_eq(plan.server[0].stund.software, "Pinhole");
    cr_assert(plan.server[0].stund.always_fingerprint);
    cr_assert(plan.server[0].stund.always_mapped);
    cr_assert_eq(plan.budget.addr_rate, 100);
    cr_assert_eq(plan.budget.addr_burst, 200);
    cr_assert_eq(plan.budget.prefix_rate, 300);
    cr_assert_eq(plan.budget.prefix_burst, 400);
    cr_assert_eq(plan.budget.prefix4, 20);
    cr_assert_eq(plan.budget.prefix6, 40);
    cr_assert(plan.budget.unlimited);
}
