#include "stun/base/error.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

Test(base_error, gives_text_and_name_of_every_number)
{
#define PH_X(name, value, text)                                                                    \
    cr_assert_eq(name, value);                                                                     \
    cr_assert_str_eq(ph_strerror(name), text);                                                     \
    cr_assert_str_eq(ph_errname(name), #name);
    PH_ERRORS(PH_X)
#undef PH_X
}

Test(base_error, keeps_system_errors)
{
    cr_assert_str_eq(ph_strerror(-ENOENT), strerror(ENOENT));
    cr_assert_str_eq(ph_errname(-ENOENT), "errno");
}

Test(base_error, never_returns_null)
{
    static const int ODD[] = {0, 1, 1000, -999, -1999, -2000, 0x7FFFFFFF, -0x7FFFFFFF - 1};
    for (size_t i = 0; i < sizeof ODD / sizeof *ODD; i++) {
        cr_assert_not_null(ph_strerror(ODD[i]));
        cr_assert_not_null(ph_errname(ODD[i]));
    }
    cr_assert_str_eq(ph_strerror(0), "success");
    cr_assert_str_eq(ph_errname(-1999), "unknown");
}
