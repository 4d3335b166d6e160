/* Counters and histograms. */
#include "cmd/turnload/stats.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Values below 32 have a bucket each; above, the five bits behind the leading one count. */
static unsigned bucket_of(uint64_t v)
{
    if (v < 1U << PH_LOAD_HIST_STEP_BITS)
        return (unsigned)v;
    unsigned shift = 63U - (unsigned)__builtin_clzll(v) - PH_LOAD_HIST_STEP_BITS;
    return ((shift + 1) << PH_LOAD_HIST_STEP_BITS) +
           (unsigned)(v >> shift & ((1U << PH_LOAD_HIST_STEP_BITS) - 1));
}

/* The middle of a bucket. */
static ph_ns value_of(unsigned bucket)
{
    unsigned shift = bucket >> PH_LOAD_HIST_STEP_BITS;
    uint64_t low = bucket & ((1U << PH_LOAD_HIST_STEP_BITS) - 1);
    if (shift == 0)
        return (ph_ns)low;
    low |= 1U << PH_LOAD_HIST_STEP_BITS;
    return (ph_ns)((low << (shift - 1)) + (1ULL << (shift - 1)) / 2);
}

void ph_load_hist_add(struct ph_load_hist *h, ph_ns v)
{
    if (v < 0)
        v = 0;
    if (h->n == 0 || v < h->min)
        h->min = v;
    if (h->n == 0 || v > h->max)
        h->max = v;
    h->n++;
    h->sum += (double)v;
    h->bucket[bucket_of((uint64_t)v)]++;
}

void ph_load_hist_merge(struct ph_load_hist *sum, const struct ph_load_hist *one)
{
    if (one->n == 0)
        return;
    if (sum->n == 0 || one->min < sum->min)
        sum->min = one->min;
    if (sum->n == 0 || one->max > sum->max)
        sum->max = one->max;
    sum->n += one->n;
    sum->sum += one->sum;
    for (unsigned i = 0; i < PH_LOAD_HIST_BUCKETS; i++)
        sum->bucket[i] += one->bucket[i];
}

ph_ns ph_load_hist_at(const struct ph_load_hist *h, double p)
{
    uint64_t want = (uint64_t)((double)h->n * p), seen = 0;
    if (h->n == 0)
        return 0;
    if (want >= h->n)
        return h->max;
    for (unsigned i = 0; i < PH_LOAD_HIST_BUCKETS; i++) {
        seen += h->bucket[i];
        if (seen > want) {
            ph_ns v = value_of(i);
            return v < h->min ? h->min : v > h->max ? h->max : v;
        }
    }
    return h->max;
}

ph_ns ph_load_hist_mean(const struct ph_load_hist *h)
{
    return h->n ? (ph_ns)(h->sum / (double)h->n) : 0;
}

static void add_error(struct ph_load_stats *s, const char *text, uint64_t n)
{
    struct ph_load_stats_error *e = s->error;
    while (e < s->error + PH_LOAD_STATS_ERRORS - 1 && e->n && strcmp(e->text, text) != 0)
        e++;
    if (e->n == 0)
        snprintf(e->text, sizeof e->text, "%s",
                 e == s->error + PH_LOAD_STATS_ERRORS - 1 ? "other failures" : text);
    e->n += n;
}

void ph_load_stats_error(struct ph_load_stats *s, uint64_t n, const char *fmt, ...)
{
    char text[PH_LOAD_STATS_ERROR_LEN];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    add_error(s, text, n);
}

void ph_load_stats_merge(struct ph_load_stats *sum, const struct ph_load_stats *one)
{
    sum->up += one->up;
    sum->failed += one->failed;
    sum->lost += one->lost;
    sum->release_failed += one->release_failed;
    sum->sent += one->sent;
    sum->sent_bytes += one->sent_bytes;
    sum->received += one->received;
    sum->received_bytes += one->received_bytes;
    sum->duplicated += one->duplicated;
    sum->reordered += one->reordered;
    sum->corrupted += one->corrupted;
    sum->strange += one->strange;
    sum->behind += one->behind;
    sum->echoed += one->echoed;
    sum->unqueued += one->unqueued;
    if (!sum->tls[0])
        memcpy(sum->tls, one->tls, sizeof sum->tls);
    ph_load_hist_merge(&sum->delay, &one->delay);
    ph_load_hist_merge(&sum->allocate, &one->allocate);
    ph_load_hist_merge(&sum->ready, &one->ready);
    sum->jitter_sum += one->jitter_sum;
    sum->jitter_n += one->jitter_n;
    if (one->jitter_max > sum->jitter_max)
        sum->jitter_max = one->jitter_max;
    if (one->run > sum->run)
        sum->run = one->run;
    for (unsigned i = 0; i < PH_LOAD_STATS_ERRORS && one->error[i].n; i++)
        add_error(sum, one->error[i].text, one->error[i].n);
    ph_batch_stats_add(&sum->io, &one->io);
#define PH_X(name, text) sum->turn.name += one->turn.name;
    PH_TURNC_COUNTERS(PH_X)
#undef PH_X
}

uint64_t ph_load_stats_not_sent(const struct ph_load_stats *s)
{
    return s->io.drop_full + s->io.drop_too_big + s->io.drop_unreachable + s->io.drop_denied +
           s->io.drop_other + s->unqueued;
}

uint64_t ph_load_stats_lost(const struct ph_load_stats *s)
{
    return s->sent > s->received ? s->sent - s->received : 0;
}

double ph_load_stats_loss(const struct ph_load_stats *s)
{
    return s->sent ? 100.0 * (double)ph_load_stats_lost(s) / (double)s->sent : 0;
}
