/*
 * Error numbers shared by all of Pinhole.
 *
 * Functions return 0 or a count on success and a negative PH_E... on failure.  A system error keeps
 * its errno as -errno; our numbers start at -1000, so the two never meet.  STUN's own codes (401,
 * 437 ...) are protocol data: they travel as `uint16_t code` and are never mixed with these.
 *
 * The classes: -1000 misuse by the caller, -1100 bad input from the peer, -1200 a resource is
 * exhausted, -1300 refused by policy or credentials.
 */
#ifndef PH_BASE_ERROR_H
#define PH_BASE_ERROR_H

#define PH_ERRORS(X)                                                                               \
    X(PH_E_ARG, -1000, "argument out of range")                                                    \
    X(PH_E_STATE, -1001, "not possible in this state")                                             \
    X(PH_E_UNSUPPORTED, -1002, "not supported by this build")                                      \
    X(PH_E_SHORT, -1100, "message is truncated")                                                   \
    X(PH_E_FORMAT, -1101, "message is malformed")                                                  \
    X(PH_E_MISSING, -1102, "attribute is missing")                                                 \
    X(PH_E_LENGTH, -1103, "attribute has a wrong length")                                          \
    X(PH_E_FAMILY, -1104, "address family is unknown")                                             \
    X(PH_E_TIMEOUT, -1105, "the peer did not answer in time")                                      \
    X(PH_E_NOMEM, -1200, "out of memory")                                                          \
    X(PH_E_NOSPACE, -1201, "buffer is too small")                                                  \
    X(PH_E_LIMIT, -1202, "a configured limit is reached")                                          \
    X(PH_E_AUTH, -1300, "credentials or integrity are wrong")                                      \
    X(PH_E_FORBIDDEN, -1301, "forbidden by policy")                                                \
    X(PH_E_REDIRECT, -1302, "the server names another server")                                     \
    X(PH_E_REFUSED, -1303, "the server refused the request")

#define PH_ERROR_ENUM(name, value, text) name = value,
enum ph_error { PH_ERRORS(PH_ERROR_ENUM) };
#undef PH_ERROR_ENUM

/* The text of an error: one of the list above, or strerror() of a kept errno.  Never NULL. */
const char *ph_strerror(int err);

/* The name of an error ("PH_E_SHORT"), "EAGAIN"-like names excepted: those give "errno".  Never
 * NULL. */
const char *ph_errname(int err);

#endif
