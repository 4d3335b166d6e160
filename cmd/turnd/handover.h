/*
 * What one program leaves to the next (turnctl upgrade), as bytes: sockets and other descriptors by their numbers, records of
 * allocations, keys.
 *
 *     magic(8) version(2) reserved(2) crc32(4) length(8) | fields in the order of the struct
 *
 * Numbers are big-endian, texts and records have their length before them.  The CRC is of all behind it.  Reading trusts nothing:
 * it is written by another version of this program, which is a good reason for doubt.  No I/O.
 */
#ifndef PH_TURND_HANDOVER_H
#define PH_TURND_HANDOVER_H

#include "stun/base/slice.h"
#include "turn/uv/server.h"

enum {
    PH_THANDOVER_VERSION = 1,
    PH_THANDOVER_HEAD = 24,
    PH_THANDOVER_MAX = 1 << 20,   /* sockets, and records, at most */
    PH_THANDOVER_BYTES = 1 << 30, /* of records together */
    PH_THANDOVER_DOORS = 4,
    PH_THANDOVER_TEXT = 512,
    PH_THANDOVER_STRINGS = 65536 /* arguments, and variables, at most */
};

/* Where HTTP listens: an address, or a path. */
struct ph_thandover_door {
    uint8_t kind; /* enum ph_tadmin_door */
    struct ph_addr at;
    char path[108];
    int fd;
};

struct ph_thandover {
    uint64_t id;                     /* of this upgrade */
    char version[32];                /* of the program that leaves ... */
    char program[PH_THANDOVER_TEXT]; /* ... and its path */
    char **argv,
        **env; /* what it was started with, NULL at the end; each is owned if it was read */
    int64_t started_s;
    int64_t left_ns;                /* CLOCK_MONOTONIC, when it stopped relaying */
    int32_t exe_fd, log_fd, pid_fd; /* its program, log file and pidfile; -1: none */
    char pid_path[PH_THANDOVER_TEXT];
    char token[PH_STORE_TOKEN]; /* of its claim in the store, "" without */
    struct ph_thandover_door door[PH_THANDOVER_DOORS];
    unsigned n_doors;
    struct ph_turn_uv_handover server; /* owned by whoever owns this */
};

/* Bytes that it takes. */
size_t ph_thandover_size(const struct ph_thandover *h);

/* Writes it; dst has room for ph_thandover_size bytes. */
void ph_thandover_write(const struct ph_thandover *h, uint8_t *dst);

/* Writes the head of n bytes (PH_THANDOVER_HEAD at least) over the first of them: what ph_thandover_write ends with, for
 * tests. */
void ph_thandover_stamp(uint8_t *p, size_t n);

/* Reads one; 0, and ph_thandover_free is to follow; PH_E_UNSUPPORTED: of another version; PH_E_SHORT, PH_E_FORMAT: broken;
 * PH_E_NOMEM. */
int ph_thandover_read(struct ph_thandover *h, struct ph_slice bytes);

/* Wipes and frees; descriptors stay open. */
void ph_thandover_free(struct ph_thandover *h);

#endif
