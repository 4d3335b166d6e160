/* The cost of a process, from its processor clock and /proc. */
#include "cmd/turnload/meter.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Fields 14 and 15 of /proc/PID/stat: clock ticks in user and in system mode.  The name before them may hold anything
 * but ends with the last parenthesis. */
static bool read_ticks(int pid, uint64_t *user, uint64_t *system)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = '\0';
    const char *at = strrchr(text, ')');
    return at && sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64,
                        user, system) == 2;
}

/* The second field of /proc/PID/statm: resident pages. */
static bool read_resident(int pid, uint64_t *bytes)
{
    char path[64];
    uint64_t pages = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", pid);
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    bool ok = fscanf(f, "%*u %" SCNu64, &pages) == 1;
    fclose(f);
    *bytes = pages * (uint64_t)sysconf(_SC_PAGESIZE);
    return ok;
}

bool ph_load_meter_read(struct ph_load_meter *m, int pid)
{
    clockid_t clock;
    struct timespec t;
    uint64_t user = 0, system = 0;
    *m = (struct ph_load_meter){0};
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) < 0 ||
        !read_ticks(pid, &user, &system) || !read_resident(pid, &m->bytes))
        return false;
    m->cpu = PH_SEC(t.tv_sec) + t.tv_nsec;
    if (user + system > 0)
        m->user = (ph_ns)((double)m->cpu * (double)user / (double)(user + system));
    return true;
}
