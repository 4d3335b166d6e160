/*
 * What writing and reading records share.  Not installed.
 */
#ifndef PH_TURN_RECORD_PRIV_H
#define PH_TURN_RECORD_PRIV_H

/* The bits of a record's flags. */
enum {
    PH__REC_AWAY = 1 << 0,
    PH__REC_TCP = 1 << 1,
    PH__REC_SHA256 = 1 << 2,
    PH__REC_FINGERPRINT = 1 << 3,
    PH__REC_DRAFT = 1 << 4,
    PH__REC_BOTH = 1 << 5,
    PH__REC_COUNTED = 1 << 6,
    PH__REC_USER = 1 << 7,
    PH__REC_OAUTH = 1 << 8,
    PH__REC_TICKET = 1 << 9,
    PH__REC_BEFORE = 1 << 10,
    PH__REC_RELAY = 1 << 11, /* << [0] IPv4, [1] IPv6 */
    PH__REC_CODE = 1 << 13,  /* the same */
    PH__REC_FOREVER = 1 << 15
};

enum {
    PH__REC_TIME_LEN = 6,    /* bytes of a time: milliseconds */
    PH__REC_NUMBER_MAX = 10, /* bytes of a number of 64 bits */
    PH__REC_TXID_LEN = 12
};

#endif
