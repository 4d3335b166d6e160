/*
 * Names and texts of the error numbers, from the one list in error.h.
 */
#include "stun/base/error.h"

#include <string.h>

const char *ph_strerror(int err)
{
    switch (err) {
    case 0:
        return "success";
#define PH_X(name, value, text)                                                                    \
    case name:                                                                                     \
        return text;
        PH_ERRORS(PH_X)
#undef PH_X
    default:
        return err < 0 && err > -1000 ? strerror(-err) : "unknown error";
    }
}

const char *ph_errname(int err)
{
    switch (err) {
    case 0:
        return "PH_OK";
#define PH_X(name, value, text)                                                                    \
    case name:                                                                                     \
        return #name;
        PH_ERRORS(PH_X)
#undef PH_X
    default:
        return err < 0 && err > -1000 ? "errno" : "unknown";
    }
}
