/*
 * The environment of programs: randomness from the system's CSPRNG.
 *
 * getrandom() is a system call; a transaction id or a port needs a few bytes.  So each thread keeps a
 * pool of random bytes, takes from it, and wipes what it has given out.  The pool does not survive a fork.
 */
#ifndef PH_UV_ENV_H
#define PH_UV_ENV_H

#include "stun/base/env.h"

/* Fills dst with n random bytes; ctx is ignored.  Any thread.  Never fails: aborts if the system has no
 * randomness, which Linux only says of a broken sandbox. */
void ph_env_rand(void *ctx, void *dst, size_t n);

/* An environment with ph_env_rand and a log (may be NULL; must outlive its users). */
struct ph_env ph_env_system(struct ph_log *log);

#endif
