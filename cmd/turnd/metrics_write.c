/*
 * All of turnd's metrics as text for Prometheus.
 *
 * Counters are named turnd_<what>_total after the tables that define them; times are seconds, sizes bytes.  With
 * coturn's names on, what its dashboards ask for is there as well; unlike coturn's, these numbers move while sessions
 * last.  There a packet "received" is one from the client to its peers, and "sent" one to the client; payload only.
 * Its turn_ratelimit_... are about a table that we do not have, and are left out.
 */
#include "cmd/turnd/fleet.h"
#include "cmd/turnd/metrics_priv.h"
#include "cmd/turnd/ops.h"
#include "cmd/turnd/state.h"
#include "cmd/turnd/statsdb.h"
#include "cmd/turnd/words.h"
#include "stun/uv/tls.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- the server's counters ---- */

static void write_counters(FILE *f, const struct ph_turn_uv_stats *s)
{
#define PH_X(name, text)                                                                           \
    ph__tmetrics_one(f, PREFIX #name "_total", "counter", text ".", from->name);
    {
#define PREFIX "turnd_"
        const struct ph_turnd_stats *from = &s->turn;
        PH_TURND_COUNTERS(PH_X)
#undef PREFIX
    }
    {
#define PREFIX "turnd_stun_"
        const struct ph_stund_stats *from = &s->stun;
        PH_STUND_COUNTERS(PH_X)
#undef PREFIX
    }
    {
#define PREFIX "turnd_udp_"
        const struct ph_batch_stats *from = &s->io;
        PH_BATCH_COUNTERS(PH_X)
#undef PREFIX
    }
    {
#define PREFIX "turnd_stream_"
        const struct ph_stream_stats *from = &s->stream;
        PH_STREAM_COUNTERS(PH_X)
#undef PREFIX
    }
    {
#define PREFIX "turnd_dtls_"
        const struct ph_dtls_stats *from = &s->dtls;
        PH_DTLS_COUNTERS(PH_X)
#undef PREFIX
    }
    {
#define PREFIX "turnd_userdb_"
        const struct ph_userdb_stats *from = &s->userdb;
        PH_USERDB_COUNTERS(PH_X)
#undef PREFIX
    }
#undef PH_X
    ph__tmetrics_one(f, "turnd_relay_sockets_opened_total", "counter", "Relay sockets bound.",
                     s->relay_opened);
    ph__tmetrics_one(f, "turnd_relay_socket_failures_total", "counter",
                     "Attempts to bind a relay socket that failed.", s->relay_open_failed);
    ph__tmetrics_one(f, "turnd_icmp_errors_total", "counter",
                     "ICMP errors read from relay sockets.", s->icmp_errors);
    ph__tmetrics_one(f, "turnd_parked_dropped_total", "counter",
                     "Packets dropped because too many waited for a look-up or another worker.",
                     s->park_full);
    ph__tmetrics_one(f, "turnd_worker_moves_total", "counter",
                     "Allocations and connections that changed the worker.", s->moved_in);
}

/* coturn's statistics, which are told in Redis. */
static void write_statsdb(FILE *f, const struct ph_tstatsdb *s, unsigned workers)
{
    struct ph_tstatsdb_view v;
    if (!s)
        return;
    ph_tstatsdb_look(s, &v);
    ph__tmetrics_one(f, "turnd_redis_stats_sent_total", "counter",
                     "Messages about sessions that Redis was sent.", v.sent);
    ph__tmetrics_one(f, "turnd_redis_stats_dropped_total", "counter",
                     "Such messages dropped: too many waited.", v.dropped);
    ph__tmetrics_one(f, "turnd_redis_stats_failed_total", "counter",
                     "Such messages that Redis refused, or that were under way when it went.",
                     v.failed);
    ph__tmetrics_one(f, "turnd_redis_stats_queued", "gauge", "Such messages that wait now.",
                     v.queued);
    ph__tmetrics_one(f, "turnd_redis_stats_up", "gauge",
                     "1 when every worker is connected to this Redis.", v.connected == workers);
}

static const char *const TRANSPORT[] = {"udp", "tcp", "tls", "dtls"};
enum { TRANSPORTS = 4 };

static void write_gauges(FILE *f, const struct ph_turn_uv_stats *s, unsigned workers)
{
    const uint64_t connections[TRANSPORTS] = {0, s->stream.now - s->stream.tls_now,
                                              s->stream.tls_now, s->dtls.now};
    char label[32];
    ph__tmetrics_family(f, "turnd_active_allocations", "gauge",
                        "Allocations now, by the client's transport.");
    for (unsigned i = 0; i < TRANSPORTS; i++) {
        snprintf(label, sizeof label, "transport=\"%s\"", TRANSPORT[i]);
        ph__tmetrics_uint(f, "turnd_active_allocations", label, s->allocations_by[i]);
    }
    ph__tmetrics_one(f, "turnd_active_tcp_relay_allocations", "gauge",
                     "Allocations now with TCP relays.", s->allocations_by[TRANSPORTS]);
    ph__tmetrics_family(f, "turnd_connections", "gauge", "Connections of clients now.");
    for (unsigned i = 1; i < TRANSPORTS; i++) {
        snprintf(label, sizeof label, "transport=\"%s\"", TRANSPORT[i]);
        ph__tmetrics_uint(f, "turnd_connections", label, connections[i]);
    }
    ph__tmetrics_one(f, "turnd_parked_packets", "gauge",
                     "Packets that wait for a look-up or another worker now.", s->parked);
    ph__tmetrics_one(f, "turnd_workers", "gauge", "Worker threads.", workers);
}

/* ---- the store ---- */

struct store {
    struct ph_tops *ops;
    struct ph_tstate_view view;
};

/* On the main thread. */
static void read_store(void *ctx)
{
    struct store *x = ctx;
    ph_tstate_look(x->ops->run->state, &x->view);
}

/* What the workers write, and what the main thread reads. */
static void write_store(FILE *f, struct ph_tops *o, const struct ph_store_stats *s)
{
    struct store x = {.ops = o};
    if (!o->run->state || !ph_tops_call(o, read_store, &x))
        return;
    const struct ph_store_stats *m = &x.view.main;
#define PH_X(name, text)                                                                           \
    ph__tmetrics_one(f, "turnd_store_" #name "_total", "counter", "State store: " text ".",        \
                     s->name + m->name);
    PH_STORE_COUNTERS(PH_X)
#undef PH_X
    ph__tmetrics_one(f, "turnd_store_up", "gauge", "1 while records reach the state store.", s->up);
    ph__tmetrics_one(f, "turnd_store_behind", "gauge", "1 while changes wait to be stored.",
                     s->behind);
    ph__tmetrics_family(f, "turnd_store_lag_seconds", "gauge",
                        "How long the oldest change that is not stored has waited.");
    ph__tmetrics_real(f, "turnd_store_lag_seconds", "", (double)s->lag_ms / 1000);
    ph__tmetrics_one(f, "turnd_store_owned", "gauge",
                     "1 while our claim of the node is the last one.",
                     strcmp(x.view.word, "ours") == 0);
    ph__tmetrics_one(f, "turnd_store_adopted_total", "counter",
                     "Allocations taken over from other nodes.", x.view.adopted_total);
}

/* ---- the fleet ---- */

struct fleet {
    struct ph_tops *ops;
    struct ph_tfleet_view view;
};

/* On the main thread. */
static void read_fleet(void *ctx)
{
    struct fleet *x = ctx;
    ph_tfleet_look(x->ops->run->fleet, &x->view);
}

static void write_fleet(FILE *f, struct ph_tops *o)
{
    struct fleet x = {.ops = o};
    if (!o->run->fleet || !ph_tops_call(o, read_fleet, &x))
        return;
    const struct ph_fleet_stats *s = &x.view.stats;
    ph__tmetrics_one(f, "turnd_fleet_up", "gauge", "1 while other nodes can hear this one.",
                     x.view.up);
    ph__tmetrics_one(f, "turnd_fleet_nodes", "gauge", "Other nodes that are alive.", s->alive);
    ph__tmetrics_one(f, "turnd_fleet_users", "gauge", "Users of other nodes that are counted.",
                     s->users);
#define PH_X(name, text)                                                                           \
    ph__tmetrics_one(f, "turnd_fleet_" #name "_total", "counter", "Fleet: " text ".", s->name);
    PH_FLEET_COUNTERS(PH_X)
#undef PH_X
    ph__tmetrics_one(f, "turnd_fleet_unsealed_total", "counter",
                     "Fleet: entries and notes that are not signed with our key.", x.view.unsealed);
    ph__tmetrics_one(f, "turnd_fleet_replayed_total", "counter",
                     "Fleet: entries and notes shown again, or stamped by a clock far from ours.",
                     x.view.replayed);
}

/* ---- the program ---- */

struct certificates {
    const struct ph_trun *run;
    struct ph_tls_info info[PH_TLS_CERTS];
    unsigned n;
};

/* On the main thread. */
static void read_certificates(void *ctx)
{
    struct certificates *c = ctx;
    while (c->run->tls && c->n < PH_TLS_CERTS && ph_tls_info(c->run->tls, c->n, &c->info[c->n]))
        c->n++;
}

static void write_certificates(FILE *f, struct ph_tops *o)
{
    static const char NAME[] = "turnd_certificate_expiry_timestamp_seconds";
    struct certificates *c = calloc(1, sizeof *c);
    char label[32];
    if (!c)
        return;
    c->run = o->run;
    if (ph_tops_call(o, read_certificates, c) && c->n) {
        ph__tmetrics_family(f, NAME, "gauge",
                            "When a certificate ends, by its place in the configuration.");
        for (unsigned i = 0; i < c->n; i++) {
            snprintf(label, sizeof label, "index=\"%u\"", i);
            ph__tmetrics_real(f, NAME, label, (double)c->info[i].not_after_s);
        }
    }
    free(c);
}

static uint64_t positive(int64_t v)
{
    return v > 0 ? (uint64_t)v : 0;
}

static void write_program(FILE *f, struct ph_tops *o)
{
    char label[32];
    ph__tmetrics_family(f, "turnd_build_info", "gauge", "The version of the program.");
    ph__tmetrics_uint(f, "turnd_build_info", "version=\"" PH_VERSION "\"", 1);
    ph__tmetrics_one(f, "turnd_start_time_seconds", "gauge", "When the program started.",
                     positive(o->started_s));
    ph__tmetrics_family(f, "turnd_state", "gauge", "1 for the state that it is in.");
    for (int i = PH_TOPS_STARTING; i <= PH_TOPS_STOPPING; i++) {
        snprintf(label, sizeof label, "state=\"%s\"", ph_tword_state(i));
        ph__tmetrics_uint(f, "turnd_state", label, o->state == i);
    }
    ph__tmetrics_one(f, "turnd_drain_deadline_timestamp_seconds", "gauge",
                     "When draining ends by force, 0: never.", positive(o->drain_until_s));
    ph__tmetrics_one(f, "turnd_config_reloads_total", "counter",
                     "Configurations taken while running.", o->reloads);
    ph__tmetrics_one(f, "turnd_config_reload_failures_total", "counter",
                     "Configurations refused for a mistake while running.", o->reload_failures);
    ph__tmetrics_one(f, "turnd_config_last_reload_timestamp_seconds", "gauge",
                     "When a configuration was last taken while running, 0: never.",
                     positive(o->reloaded_s));
    write_certificates(f, o);
}

static void write_histograms(FILE *f, struct ph_tmetrics *m)
{
    char label[32];
    ph__tmetrics_family(f, "turnd_allocations_ended_total", "counter", "Allocations that ended.");
    for (unsigned i = 0; i < PH_TMETRICS_REASONS; i++) {
        snprintf(label, sizeof label, "reason=\"%s\"", ph_tword_reason((enum ph_turnd_reason)i));
        ph__tmetrics_uint(f, "turnd_allocations_ended_total", label, m->reason[i]);
    }
    ph__tmetrics_hist(f, "turnd_allocation_duration_seconds",
                      "How long allocations lasted that have ended.", &m->duration);
    ph__tmetrics_hist(f, "turnd_allocation_bytes",
                      "Payload bytes relayed, both ways, of allocations that have ended.",
                      &m->bytes);
    ph__tmetrics_hist(f, "turnd_allocation_lifetime_seconds",
                      "Lifetimes granted to new allocations.", &m->lifetime);
}

/* ---- users, and coturn's names ---- */

/* "realm=\"...\",user=\"...\"" of a row. */
static void row_labels(FILE *f, const struct ph_tmetrics *m, const struct ph__tuser *u)
{
    fputs("realm=\"", f);
    ph__tmetrics_label(f, u->realm);
    if (m->users) {
        fputs("\",user=\"", f);
        ph__tmetrics_label(f, u->user);
    }
    fputc('"', f);
}

/* One way of every row, as a family or a part of one. */
static void write_rows(FILE *f, struct ph_tmetrics *m, const char *name, const char *direction,
                       unsigned way)
{
    for (unsigned i = 0; i < m->n_told; i++) {
        fprintf(f, "%s{", name);
        row_labels(f, m, &m->user[i]);
        if (*direction)
            fprintf(f, ",direction=\"%s\"", direction);
        fprintf(f, "} %" PRIu64 "\n", m->user[i].told[way]);
    }
}

static void write_users(FILE *f, struct ph_tmetrics *m)
{
    ph__tmetrics_family(f, "turnd_user_packets_total", "counter", "Packets relayed, by user.");
    write_rows(f, m, "turnd_user_packets_total", "to_peer", 0);
    write_rows(f, m, "turnd_user_packets_total", "to_client", 2);
    ph__tmetrics_family(f, "turnd_user_bytes_total", "counter", "Payload bytes relayed, by user.");
    write_rows(f, m, "turnd_user_bytes_total", "to_peer", 1);
    write_rows(f, m, "turnd_user_bytes_total", "to_client", 3);
}

static void write_coturn_traffic(FILE *f, struct ph_tmetrics *m)
{
    static const struct {
        const char *name, *help;
        unsigned way;
    } rows[] = {
        {"turn_traffic_rcvp", "Packets received from clients, by realm.", 0},
        {"turn_traffic_rcvb", "Bytes received from clients, by realm.", 1},
        {"turn_traffic_sentp", "Packets sent to clients, by realm.", 2},
        {"turn_traffic_sentb", "Bytes sent to clients, by realm.", 3},
        {"turn_traffic_peer_rcvp", "Packets received from peers, by realm.", 2},
        {"turn_traffic_peer_rcvb", "Bytes received from peers, by realm.", 3},
        {"turn_traffic_peer_sentp", "Packets sent to peers, by realm.", 0},
        {"turn_traffic_peer_sentb", "Bytes sent to peers, by realm.", 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ph__tmetrics_family(f, rows[i].name, "counter", rows[i].help);
        write_rows(f, m, rows[i].name, "", rows[i].way);
    }
}

static void write_coturn_totals(FILE *f, const struct ph_turn_uv_stats *s)
{
    const struct ph_turnd_stats *t = &s->turn;
    const struct {
        const char *name, *help;
        uint64_t v;
    } rows[] = {
        {"turn_total_traffic_rcvp", "Packets received from clients.", t->to_peer_packets},
        {"turn_total_traffic_rcvb", "Bytes received from clients.", t->to_peer_bytes},
        {"turn_total_traffic_sentp", "Packets sent to clients.", t->to_client_packets},
        {"turn_total_traffic_sentb", "Bytes sent to clients.", t->to_client_bytes},
        {"turn_total_traffic_peer_rcvp", "Packets received from peers.", t->to_client_packets},
        {"turn_total_traffic_peer_rcvb", "Bytes received from peers.", t->to_client_bytes},
        {"turn_total_traffic_peer_sentp", "Packets sent to peers.", t->to_peer_packets},
        {"turn_total_traffic_peer_sentb", "Bytes sent to peers.", t->to_peer_bytes},
        {"stun_binding_request", "Binding requests.", s->stun.requests},
        {"stun_binding_response", "Binding responses.", s->stun.answers},
        {"stun_binding_error", "Binding errors.", s->stun.errors},
        {"turn_unauthenticated_401_requests", "Requests that were to be answered 401.",
         t->unauthenticated + t->over_budget},
        {"turn_unauthenticated_401_responses", "401 responses.", t->unauthenticated},
        {"turn_unauthenticated_401_dropped_responses", "401 responses not sent.", t->over_budget},
        {"turn_packet_processed", "Packets received.", s->io.rx_packets + s->stream.rx_messages},
        {"turn_packet_dropped", "Packets dropped.",
         t->malformed + t->unexpected + t->no_allocation + t->no_channel + t->no_permission +
             t->over_bps},
        {"turn_udp_recvmmsg_calls", "Receive calls.", s->io.rx_calls},
        {"turn_udp_recvmmsg_packets", "Datagrams received.", s->io.rx_packets},
        {"turn_udp_sendmmsg_flushes", "Send calls.", s->io.tx_calls},
        {"turn_udp_sendmmsg_datagrams", "Datagrams sent.", s->io.tx_packets},
        {"turn_udp_sendmmsg_gso_datagrams", "Messages of several datagrams sent.", s->io.tx_gso},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        ph__tmetrics_one(f, rows[i].name, "counter", rows[i].help, rows[i].v);
}

static void write_coturn_allocations(FILE *f, const struct ph_turn_uv_stats *s)
{
    static const char *const TYPE[TRANSPORTS] = {"UDP", "TCP", "TLS/TCP", "DTLS"};
    char label[32];
    ph__tmetrics_family(f, "turn_total_allocations", "gauge", "Allocations now.");
    for (unsigned i = 0; i < TRANSPORTS; i++) {
        snprintf(label, sizeof label, "type=\"%s\"", TYPE[i]);
        ph__tmetrics_uint(f, "turn_total_allocations", label, s->allocations_by[i]);
    }
}

void ph_tmetrics_write(struct ph_tmetrics *m, struct ph_tops *o, bool coturn, FILE *f)
{
    struct ph_turn_uv_stats s;
    struct ph_turn_uv *server = o->run->server;
    pthread_mutex_lock(&m->writing);
    ph_turn_uv_stats(server, UINT32_MAX, &s);
    if (m->users || coturn)
        ph__tmetrics_users(m, server);
    write_program(f, o);
    write_gauges(f, &s, ph_turn_uv_workers(server));
    write_counters(f, &s);
    write_statsdb(f, o->run->statsdb, ph_turn_uv_workers(server));
    write_store(f, o, &s.store);
    write_fleet(f, o);
    write_histograms(f, m);
    ph__tmetrics_process(f);
    if (m->users)
        write_users(f, m);
    if (coturn) {
        write_coturn_totals(f, &s);
        write_coturn_allocations(f, &s);
        write_coturn_traffic(f, m);
    }
    pthread_mutex_unlock(&m->writing);
}
