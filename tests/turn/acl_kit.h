/*
 * Rule sets for tests: made, and filled with rules that must be good.
 */
#ifndef PH_TESTS_TURN_ACL_KIT_H
#define PH_TESTS_TURN_ACL_KIT_H

#include "turn/acl.h"

#include <criterion/criterion.h>
#include <string.h>

static inline struct ph_acl *acl_new(void)
{
    struct ph_acl *acl = ph_acl_new();
    cr_assert_not_null(acl);
    return acl;
}

static inline void add(struct ph_acl *acl, bool allow, const char *text)
{
    cr_assert_eq(ph_acl_add(acl, allow, text, strlen(text)), 0, "rule %s", text);
}

#endif
