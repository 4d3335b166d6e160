/*
 * Prometheus' text format, version 0.0.4: families, samples, labels.
 */
#include "cmd/turnd/metrics_priv.h"

#include <dirent.h>
#include <inttypes.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

void ph__tmetrics_family(FILE *f, const char *name, const char *type, const char *help)
{
    fprintf(f, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void sample(FILE *f, const char *name, const char *labels)
{
    fprintf(f, *labels ? "%s{%s} " : "%s%s ", name, labels);
}

void ph__tmetrics_uint(FILE *f, const char *name, const char *labels, uint64_t v)
{
    sample(f, name, labels);
    fprintf(f, "%" PRIu64 "\n", v);
}

void ph__tmetrics_real(FILE *f, const char *name, const char *labels, double v)
{
    sample(f, name, labels);
    fprintf(f, "%.3f\n", v);
}

void ph__tmetrics_one(FILE *f, const char *name, const char *type, const char *help, uint64_t v)
{
    ph__tmetrics_family(f, name, type, help);
    ph__tmetrics_uint(f, name, "", v);
}

/* The count is the sum of what was read of the buckets, so that the two always agree. */
void ph__tmetrics_hist(FILE *f, const char *name, const char *help, struct ph__thist *h)
{
    uint64_t total = 0;
    ph__tmetrics_family(f, name, "histogram", help);
    for (unsigned i = 0; i <= h->n; i++) {
        total += h->count[i];
        if (i < h->n)
            fprintf(f, "%s_bucket{le=\"%" PRIu64 "\"} %" PRIu64 "\n", name, h->bound[i], total);
        else
            fprintf(f, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", name, total);
    }
    if (h->parts == 1)
        fprintf(f, "%s_sum %" PRIu64 "\n", name, h->sum);
    else
        fprintf(f, "%s_sum %.3f\n", name, (double)h->sum / (double)h->parts);
    fprintf(f, "%s_count %" PRIu64 "\n", name, total);
}

/* ---- labels ---- */

/* The bytes of the printable UTF-8 character at p, 0: none. */
static size_t character(const uint8_t *p)
{
    size_t k = p[0] < 0x80 ? 1 : p[0] < 0xC2 ? 0 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
    if (k == 0 || p[0] > 0xF4 || p[0] < 0x20 || p[0] == 0x7F)
        return 0;
    for (size_t i = 1; i < k; i++)
        if ((p[i] & 0xC0) != 0x80) /* the terminator is none either */
            return 0;
    if ((p[0] == 0xC2 && p[1] < 0xA0) || (p[0] == 0xE0 && p[1] < 0xA0) ||
        (p[0] == 0xED && p[1] > 0x9F) || (p[0] == 0xF0 && p[1] < 0x90) ||
        (p[0] == 0xF4 && p[1] > 0x8F))
        return 0;
    return k;
}

void ph__tmetrics_label(FILE *f, const char *text)
{
    const uint8_t *p = (const uint8_t *)text;
    for (size_t k; *p; p += k) {
        k = character(p);
        if (!k) {
            fprintf(f, "\\\\x%02x", *p);
            k = 1;
            continue;
        }
        if (*p == '"' || *p == '\\')
            fputc('\\', f);
        fwrite(p, 1, k, f);
    }
}

/* ---- the process ---- */

struct usage {
    double cpu_s;
    uint64_t rss, files;
};

static bool read_usage(struct usage *u)
{
    unsigned long user = 0, sys = 0;
    long rss = 0;
    char text[1024];
    FILE *f = fopen("/proc/self/stat", "re");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    if (f)
        fclose(f);
    text[n] = '\0';
    const char *rest = strrchr(text, ')'); /* behind the name, which may hold anything */
    if (!rest || sscanf(rest + 1,
                        " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %*d "
                        "%*d %*u %*u %ld",
                        &user, &sys, &rss) != 3)
        return false;
    u->cpu_s = (double)(user + sys) / (double)sysconf(_SC_CLK_TCK);
    u->rss = (uint64_t)(rss > 0 ? rss : 0) * (uint64_t)sysconf(_SC_PAGESIZE);
    DIR *d = opendir("/proc/self/fd");
    u->files = 0;
    for (const struct dirent *e; d && (e = readdir(d));)
        u->files += e->d_name[0] != '.';
    if (d)
        closedir(d);
    return d != NULL;
}

void ph__tmetrics_process(FILE *f)
{
    struct usage u;
    struct rlimit lim;
    if (!read_usage(&u))
        return;
    ph__tmetrics_family(f, "process_cpu_seconds_total", "counter", "CPU time used, in seconds.");
    ph__tmetrics_real(f, "process_cpu_seconds_total", "", u.cpu_s);
    ph__tmetrics_one(f, "process_resident_memory_bytes", "gauge", "Resident memory.", u.rss);
    ph__tmetrics_one(f, "process_open_fds", "gauge", "Open file descriptors.", u.files);
    if (getrlimit(RLIMIT_NOFILE, &lim) == 0)
        ph__tmetrics_one(f, "process_max_fds", "gauge", "File descriptors that may be open.",
                         (uint64_t)lim.rlim_cur);
}
