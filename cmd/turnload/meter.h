/*
 * What the server process costs while it is under load: processor time and memory, by its process id.
 */
#ifndef PH_CMD_TURNLOAD_METER_H
#define PH_CMD_TURNLOAD_METER_H

#include "stun/base/time.h"

#include <stdbool.h>
#include <stdint.h>

/* All of a process, with its threads but not its children, up to now. */
struct ph_load_meter {
    ph_ns cpu;      /* user and system, to the nanosecond */
    ph_ns user;     /* the part of it that was spent in user mode, by the kernel's ticks */
    uint64_t bytes; /* resident in memory */
};

/* Reads process `pid`.  False: there is none, or it is not for us to see. */
bool ph_load_meter_read(struct ph_load_meter *m, int pid);

#endif
