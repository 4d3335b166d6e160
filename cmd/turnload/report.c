/* The result of a run. */
#include "cmd/turnload/report.h"

#include "cmd/turnload/json.h"

#include <inttypes.h>

#ifndef PH_VERSION
#define PH_VERSION "unknown"
#endif

static double ms(ph_ns v)
{
    return (double)v / 1e6;
}

const char *ph_load_report_verdict(const struct ph_load_report *r)
{
    const struct ph_load_stats *s = r->stats;
    if (s->failed)
        return "allocations failed";
    if (s->lost)
        return "allocations were lost";
    if (s->corrupted)
        return "packets were corrupted";
    if (s->sent == 0 && !r->args->idle)
        return "nothing was sent";
    if (ph_load_stats_loss(s) > r->args->max_loss)
        return "more loss than allowed";
    return NULL;
}

static const char *mode(const struct ph_load_args *a)
{
    return a->channels ? "channels" : "indications";
}

static const char *delay_kind(const struct ph_load_args *a)
{
    return a->pairs ? "one way" : "round trip";
}

/* Per second of sending. */
static double rate(const struct ph_load_stats *s, uint64_t n)
{
    return s->run > 0 ? (double)n / ((double)s->run / 1e9) : 0;
}

static void text_hist(FILE *f, const char *name, const struct ph_load_hist *h)
{
    fprintf(f, "%-14s min %.3f  p50 %.3f  p90 %.3f  p99 %.3f  p99.9 %.3f  max %.3f  mean %.3f ms\n",
            name, ms(h->min), ms(ph_load_hist_at(h, .5)), ms(ph_load_hist_at(h, .9)),
            ms(ph_load_hist_at(h, .99)), ms(ph_load_hist_at(h, .999)), ms(h->max),
            ms(ph_load_hist_mean(h)));
}

static void text_packets(const struct ph_load_stats *s, FILE *f)
{
    fprintf(f, "%-14s %" PRIu64 " packets, %.0f/s, %.2f Mbit/s of payload\n", "sent", s->sent,
            rate(s, s->sent), rate(s, s->sent_bytes) * 8e-6);
    fprintf(f, "%-14s %" PRIu64 " packets, %.0f/s, %.2f Mbit/s\n", "received", s->received,
            rate(s, s->received), rate(s, s->received_bytes) * 8e-6);
    fprintf(f, "%-14s %" PRIu64 " (%.3f %%)\n", "lost", ph_load_stats_lost(s),
            ph_load_stats_loss(s));
    fprintf(f, "%-14s %" PRIu64 " duplicated, %" PRIu64 " reordered, %" PRIu64 " corrupted\n",
            "damage", s->duplicated, s->reordered, s->corrupted);
    if (s->strange)
        fprintf(f, "%-14s %" PRIu64 " packets that were not ours\n", "strange", s->strange);
    if (s->behind)
        fprintf(f, "%-14s %" PRIu64 " packets were not sent: turnload could not keep up\n",
                "behind", s->behind);
    if (ph_load_stats_not_sent(s))
        fprintf(f,
                "%-14s %" PRIu64 " packets did not leave this machine (socket buffers, errors)\n",
                "not sent", ph_load_stats_not_sent(s));
}

static const char *transport(const struct ph_load_args *a)
{
    return a->proto == PH_TCP    ? "tcp"
           : a->proto == PH_TLS  ? "tls"
           : a->proto == PH_DTLS ? "dtls"
                                 : "udp";
}

/* us of processor time for each packet out of the server. */
static double each(const struct ph_load_cost *c, ph_ns v)
{
    return c->packets ? (double)v / 1e3 / (double)c->packets : 0;
}

/* Bytes of memory for each allocation. */
static double grown(const struct ph_load_report *r)
{
    uint64_t n = r->stats->up + r->stats->lost;
    return n ? ((double)r->cost.bytes - (double)r->cost.bytes_before) / (double)n : 0;
}

static void text_cost(const struct ph_load_report *r, FILE *f)
{
    const struct ph_load_cost *c = &r->cost;
    if (c->packets)
        fprintf(f, "%-14s %.3f us a packet (%.3f user, %.3f system) of %" PRIu64 " out of it\n",
                "server CPU", each(c, c->cpu), each(c, c->user), each(c, c->cpu - c->user),
                c->packets);
    fprintf(f, "%-14s %.3f s in %.1f s\n", "server busy", (double)c->cpu / 1e9,
            (double)r->stats->run / 1e9);
    fprintf(f, "%-14s %.1f MB, %.1f kB more for each allocation\n", "server memory",
            (double)c->bytes / 1e6, grown(r) / 1e3);
}

void ph_load_report_text(const struct ph_load_report *r, FILE *f)
{
    const struct ph_load_args *a = r->args;
    const struct ph_load_stats *s = r->stats;
    const char *why = ph_load_report_verdict(r);
    char server[PH_ADDR_TEXT];
    ph_addr_text(&r->server, server);
    fprintf(f, "%-14s %s over %s%s%s\n", "server", server, transport(a), s->tls[0] ? ", " : "",
            s->tls);
    if (a->idle)
        fprintf(f, "%-14s %u idle allocations for %.1f s%s\n", "load", a->allocations,
                (double)s->run / 1e9, r->stopped ? " (stopped)" : "");
    else
        fprintf(f, "%-14s %u x %g packets/s of %u bytes by %s%s, %.1f s%s\n", "load",
                a->allocations, a->rate, a->payload, mode(a), a->pairs ? " in pairs" : "",
                (double)s->run / 1e9, r->stopped ? " (stopped)" : "");
    fprintf(f, "%-14s %" PRIu64 " ready, %" PRIu64 " failed, %" PRIu64 " lost", "allocations",
            s->up + s->lost, s->failed, s->lost);
    if (s->release_failed)
        fprintf(f, ", %" PRIu64 " releases unconfirmed", s->release_failed);
    fputc('\n', f);
    if (s->allocate.n)
        text_hist(f, "allocate", &s->allocate);
    if (s->ready.n)
        text_hist(f, "ready to send", &s->ready);
    if (s->sent)
        text_packets(s, f);
    if (s->delay.n) {
        text_hist(f, delay_kind(a), &s->delay);
        fprintf(f, "%-14s mean %.3f  max %.3f ms\n", "jitter",
                s->jitter_n ? s->jitter_sum / (double)s->jitter_n / 1e6 : 0, ms(s->jitter_max));
    }
    if (r->cost.known)
        text_cost(r, f);
    for (unsigned i = 0; i < PH_LOAD_STATS_ERRORS && s->error[i].n; i++)
        fprintf(f, "%-14s %" PRIu64 " x %s\n", "failure", s->error[i].n, s->error[i].text);
    if (why)
        fprintf(f, "%-14s %s\n", "FAILED", why);
    else if (a->idle)
        fprintf(f, "%-14s all of them stayed\n", "passed");
    else
        fprintf(f, "%-14s loss %.3f %% is within %g %%\n", "passed", ph_load_stats_loss(s),
                a->max_loss);
}

static void json_hist(struct ph_load_json *j, const char *key, const struct ph_load_hist *h)
{
    ph_load_json_open(j, key, '{');
    ph_load_json_uint(j, "count", h->n);
    ph_load_json_real(j, "min", ms(h->min));
    ph_load_json_real(j, "p50", ms(ph_load_hist_at(h, .5)));
    ph_load_json_real(j, "p90", ms(ph_load_hist_at(h, .9)));
    ph_load_json_real(j, "p99", ms(ph_load_hist_at(h, .99)));
    ph_load_json_real(j, "p999", ms(ph_load_hist_at(h, .999)));
    ph_load_json_real(j, "max", ms(h->max));
    ph_load_json_real(j, "mean", ms(ph_load_hist_mean(h)));
    ph_load_json_close(j, '}');
}

static void json_load(struct ph_load_json *j, const struct ph_load_report *r)
{
    const struct ph_load_args *a = r->args;
    ph_load_json_open(j, "load", '{');
    ph_load_json_text(j, "transport", transport(a));
    ph_load_json_text(j, "tls", r->stats->tls);
    ph_load_json_bool(j, "idle", a->idle);
    ph_load_json_uint(j, "burst", a->burst);
    ph_load_json_uint(j, "allocations", a->allocations);
    ph_load_json_real(j, "rate", a->rate);
    ph_load_json_uint(j, "payload", a->payload);
    ph_load_json_text(j, "mode", mode(a));
    ph_load_json_bool(j, "pairs", a->pairs);
    ph_load_json_uint(j, "threads", a->threads);
    ph_load_json_real(j, "seconds", (double)r->stats->run / 1e9);
    ph_load_json_bool(j, "stopped", r->stopped);
    ph_load_json_close(j, '}');
}

static void json_allocations(struct ph_load_json *j, const struct ph_load_stats *s)
{
    ph_load_json_open(j, "allocations", '{');
    ph_load_json_uint(j, "ready", s->up + s->lost);
    ph_load_json_uint(j, "failed", s->failed);
    ph_load_json_uint(j, "lost", s->lost);
    ph_load_json_uint(j, "releases_unconfirmed", s->release_failed);
    json_hist(j, "allocate_ms", &s->allocate);
    json_hist(j, "ready_ms", &s->ready);
    ph_load_json_close(j, '}');
}

static void json_packets(struct ph_load_json *j, const struct ph_load_stats *s)
{
    ph_load_json_open(j, "packets", '{');
    ph_load_json_uint(j, "sent", s->sent);
    ph_load_json_uint(j, "received", s->received);
    ph_load_json_uint(j, "lost", ph_load_stats_lost(s));
    ph_load_json_real(j, "loss_percent", ph_load_stats_loss(s));
    ph_load_json_uint(j, "duplicated", s->duplicated);
    ph_load_json_uint(j, "reordered", s->reordered);
    ph_load_json_uint(j, "corrupted", s->corrupted);
    ph_load_json_uint(j, "strange", s->strange);
    ph_load_json_uint(j, "behind", s->behind);
    ph_load_json_uint(j, "not_sent", ph_load_stats_not_sent(s));
    ph_load_json_real(j, "sent_per_second", rate(s, s->sent));
    ph_load_json_real(j, "received_per_second", rate(s, s->received));
    ph_load_json_real(j, "sent_mbit_per_second", rate(s, s->sent_bytes) * 8e-6);
    ph_load_json_real(j, "received_mbit_per_second", rate(s, s->received_bytes) * 8e-6);
    ph_load_json_close(j, '}');
}

static void json_cost(struct ph_load_json *j, const struct ph_load_report *r)
{
    const struct ph_load_cost *c = &r->cost;
    ph_load_json_open(j, "cost", '{');
    ph_load_json_real(j, "cpu_seconds", (double)c->cpu / 1e9);
    ph_load_json_uint(j, "packets", c->packets);
    ph_load_json_real(j, "cpu_us_per_packet", each(c, c->cpu));
    ph_load_json_real(j, "user_us_per_packet", each(c, c->user));
    ph_load_json_real(j, "system_us_per_packet", each(c, c->cpu - c->user));
    ph_load_json_uint(j, "memory_before", c->bytes_before);
    ph_load_json_uint(j, "memory", c->bytes);
    ph_load_json_real(j, "memory_per_allocation", grown(r));
    ph_load_json_close(j, '}');
}

void ph_load_report_json(const struct ph_load_report *r, FILE *f)
{
    const struct ph_load_stats *s = r->stats;
    struct ph_load_json j = {.f = f};
    char server[PH_ADDR_TEXT];
    const char *why = ph_load_report_verdict(r);
    ph_load_json_open(&j, NULL, '{');
    ph_load_json_text(&j, "program", "turnload");
    ph_load_json_text(&j, "version", PH_VERSION);
    ph_load_json_text(&j, "target", r->args->target);
    ph_load_json_text(&j, "server", ph_addr_text(&r->server, server));
    json_load(&j, r);
    json_allocations(&j, s);
    json_packets(&j, s);
    ph_load_json_text(&j, "delay_kind", delay_kind(r->args));
    json_hist(&j, "delay_ms", &s->delay);
    ph_load_json_open(&j, "jitter_ms", '{');
    ph_load_json_real(&j, "mean", s->jitter_n ? s->jitter_sum / (double)s->jitter_n / 1e6 : 0);
    ph_load_json_real(&j, "max", ms(s->jitter_max));
    ph_load_json_close(&j, '}');
    if (r->cost.known)
        json_cost(&j, r);
    ph_load_json_open(&j, "failures", '[');
    for (unsigned i = 0; i < PH_LOAD_STATS_ERRORS && s->error[i].n; i++) {
        ph_load_json_open(&j, NULL, '{');
        ph_load_json_text(&j, "what", s->error[i].text);
        ph_load_json_uint(&j, "count", s->error[i].n);
        ph_load_json_close(&j, '}');
    }
    ph_load_json_close(&j, ']');
    ph_load_json_bool(&j, "passed", !why);
    ph_load_json_text(&j, "why", why ? why : "");
    ph_load_json_close(&j, '}');
}
