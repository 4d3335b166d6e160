/* Sends STUN and TURN requests from forged IPv4 addresses: what a server on the open internet gets.
 *
 *     flood [-n COUNT] [-s SEED] [-p A.B.C.0] [-w SNMP] ADDRESS PORT
 *
 * Half of the packets are Binding requests, three eighths are Allocates without credentials, one
 * eighth Allocates whose credentials are noise. Sources are spread over the whole unicast space, or
 * over one /24 with -p; ports are random. With -w, the /proc/PID/net/snmp of the receiving network
 * namespace, it sends only as fast as the receiver takes packets in, so that all of them are worked
 * on rather than lost in a socket buffer.
 *
 * Prints one line: sent PACKETS bytes BYTES lost PACKETS ms TIME. Needs CAP_NET_RAW.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* sendmmsg */
#endif
#include <arpa/inet.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, WINDOW = 128, MAX_PACKET = 256 };

struct packet {
    struct iphdr ip;
    struct udphdr udp;
    uint8_t data[MAX_PACKET];
};

static uint64_t seed = 1;

static uint32_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 16);
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static size_t attr(uint8_t *at, uint16_t type, const void *value, uint16_t len)
{
    uint16_t head[2] = {htons(type), htons(len)};
    memcpy(at, head, 4);
    if (value)
        memcpy(at + 4, value, len);
    else
        for (uint16_t i = 0; i < len; i++)
            at[4 + i] = (uint8_t)rnd();
    return 4 + ((len + 3u) & ~3u);
}

/* Write a random request of the mix; returns its length. */
static size_t request(uint8_t *out)
{
    uint32_t kind = rnd() % 8;
    size_t len = 20;
    uint8_t udp[4] = {17};
    memset(out, 0, MAX_PACKET);
    if (kind >= 4)
        len += attr(out + len, 0x0019, udp, 4);
    if (kind == 7) {
        len += attr(out + len, 0x0006, "alice", 5);
        len += attr(out + len, 0x0014, "example.org", 11);
        len += attr(out + len, 0x0015, NULL, 24);
        len += attr(out + len, 0x0008, NULL, 20);
    }
    uint16_t head[2] = {htons(kind < 4 ? 0x0001 : 0x0003), htons((uint16_t)(len - 20))};
    uint32_t cookie_and_id[4] = {htonl(0x2112A442), rnd(), rnd(), rnd()};
    memcpy(out, head, 4);
    memcpy(out + 4, cookie_and_id, 16);
    return len;
}

/* A unicast address outside what the test's own networks and hosts use. */
static uint32_t source(uint32_t prefix)
{
    static const uint8_t taken[] = {0, 10, 100, 127, 169, 172, 192, 198, 203};
    if (prefix)
        return htonl(prefix | (1 + rnd() % 254));
    for (;;) {
        uint32_t ip = rnd();
        if (ip >> 24 < 224 && !memchr(taken, (int)(ip >> 24), sizeof taken))
            return htonl(ip);
    }
}

static size_t forge(struct packet *p, uint32_t prefix, const struct sockaddr_in *to)
{
    size_t len = request(p->data), udp_len = len + sizeof p->udp;
    p->ip = (struct iphdr){.version = 4,
                           .ihl = 5,
                           .ttl = 64,
                           .protocol = IPPROTO_UDP,
                           .saddr = source(prefix),
                           .daddr = to->sin_addr.s_addr};
    p->udp = (struct udphdr){.source = htons((uint16_t)(1024 + rnd() % 64000)),
                             .dest = to->sin_port,
                             .len = htons((uint16_t)udp_len)};
    return sizeof p->ip + udp_len; /* no UDP checksum: IPv4 allows that */
}

/* Datagrams that the namespace has finished with: given to a program, or dropped. */
static int64_t taken_in(const char *snmp)
{
    char line[512];
    long long in = 0, no_port = 0, errors = 0;
    FILE *f = fopen(snmp, "r");
    if (!f)
        die(snmp);
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "Udp: %lld %lld %lld", &in, &no_port, &errors) == 3)
            break;
    fclose(f);
    return in + no_port + errors;
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

/* Wait until at most WINDOW packets are under way; returns how many had to be given up, because
 * they never showed up in the counters. */
static int64_t pace(const char *snmp, int64_t *base, int64_t sent)
{
    int64_t since = now_ms(), last = -1;
    for (;;) {
        int64_t got = taken_in(snmp), under_way = sent - (got - *base);
        if (under_way <= WINDOW)
            return 0;
        if (got != last) {
            last = got;
            since = now_ms();
        } else if (now_ms() - since > 500) {
            *base -= under_way;
            return under_way;
        }
        usleep(20);
    }
}

int main(int argc, char **argv)
{
    static struct packet packets[BATCH];
    static struct iovec iov[BATCH];
    static struct mmsghdr msgs[BATCH];
    struct sockaddr_in to = {.sin_family = AF_INET};
    const char *snmp = NULL;
    int64_t count = 1000, bytes = 0, sent = 0, lost = 0, base;
    uint32_t prefix = 0;

    for (int o; (o = getopt(argc, argv, "n:s:p:w:")) != -1;) {
        if (o == 'n')
            count = atoll(optarg);
        else if (o == 's')
            seed = strtoull(optarg, NULL, 10) * 2654435761u + 1;
        else if (o == 'p')
            prefix = ntohl(inet_addr(optarg)) & 0xFFFFFF00u;
        else if (o == 'w')
            snmp = optarg;
        else
            return 2;
    }
    if (argc - optind != 2 || inet_pton(AF_INET, argv[optind], &to.sin_addr) != 1)
        return 2;
    to.sin_port = htons((uint16_t)atoi(argv[optind + 1]));
    int fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
    if (fd < 0)
        die("raw socket");
    for (int i = 0; i < BATCH; i++) {
        iov[i].iov_base = &packets[i];
        msgs[i].msg_hdr = (struct msghdr){
            .msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &iov[i], .msg_iovlen = 1};
    }

    int64_t started = now_ms();
    base = snmp ? taken_in(snmp) : 0;
    while (sent < count) {
        unsigned n = count - sent < BATCH ? (unsigned)(count - sent) : BATCH;
        for (unsigned i = 0; i < n; i++)
            bytes += (int64_t)(iov[i].iov_len = forge(&packets[i], prefix, &to));
        for (unsigned done = 0; done < n;) {
            int r = sendmmsg(fd, msgs + done, n - done, 0);
            if (r < 0)
                die("sendmmsg");
            done += (unsigned)r;
        }
        sent += n;
        if (snmp)
            lost += pace(snmp, &base, sent);
    }
    printf("sent %lld bytes %lld lost %lld ms %lld\n", (long long)sent, (long long)bytes,
           (long long)lost, (long long)(now_ms() - started));
    return 0;
}
