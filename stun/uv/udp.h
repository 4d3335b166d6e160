/*
 * UDP sockets: opening them, or taking them over, with what a server wants set, and reading their ICMP errors.
 *
 * Sockets are raw file descriptors, non-blocking and close-on-exec.  A relay socket lives for one
 * allocation, so opening one is kept to the fewest system calls: only what is asked for is set.
 */
#ifndef PH_UV_UDP_H
#define PH_UV_UDP_H

#include "stun/base/addr.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    PH_UDP_DF = 1,      /* the DF bit is on at the moment */
    PH_UDP_PKTINFO = 2, /* packets carry their local address */
    PH_UDP_GRO = 4,     /* may hand over several datagrams as one */
    PH_UDP_NO_GSO = 8   /* its device cannot take several datagrams as one */
};

/* A socket in 8 bytes, as tables of thousands hold it. */
struct ph_udp {
    int fd;         /* -1: closed */
    uint8_t family; /* PH_AF_... */
    uint8_t flags;  /* PH_UDP_... */
};

/* How to open.  Zero: a plain socket with the system's buffer sizes and DF off. */
struct ph_udp_opts {
    uint32_t rcvbuf, sndbuf; /* bytes; 0: leave the system's default */
    const char *device;      /* SO_BINDTODEVICE, NULL: any */
    bool reuseport;          /* share the address among workers */
    bool gro;                /* UDP_GRO, where the kernel has it */
    bool recverr;            /* collect ICMP errors for ph_udp_error */
    bool pktinfo;            /* on a wildcard address: tell local addresses, and send from them */
    bool free_bind;          /* to an address that is not ours (yet), too */
};

/* Opens a socket bound to `at` (port 0: the system picks).  IPv4 packets are sent without DF unless
 * ph_udp_set_df says otherwise.  Returns 0 and *s, or -errno (-EADDRINUSE, -EADDRNOTAVAIL, -EMFILE,
 * -EACCES, -ENODEV ...), then *s is untouched. */
int ph_udp_open(struct ph_udp *s, const struct ph_addr *at, const struct ph_udp_opts *o);

/* Takes a socket over that another ph_udp_open has opened, maybe of another process: its address and what waits in it
 * stay, all else is set as o says; close-on-exec again.  Returns 0 and *s, or -errno (-EINVAL: it is none of these): it is
 * still the caller's, and *s is untouched. */
int ph_udp_adopt(struct ph_udp *s, int fd, const struct ph_udp_opts *o);

/* Whether a socket, of whatever kind, is bound to this device (NULL: to none). */
bool ph_udp_is_on(int fd, const char *device);

/* Closes a socket; a closed one is left alone. */
void ph_udp_close(struct ph_udp *s);

/* The address the socket is bound to (which port the system picked).  0 or -errno. */
int ph_udp_local(const struct ph_udp *s, struct ph_addr *at);

/* Turns DF (IPv6: "do not fragment here") on or off; remembered, so a repeated call costs nothing.
 * 0 or -errno. */
int ph_udp_set_df(struct ph_udp *s, bool on);

/* An ICMP error for a packet that was sent, or a local one of the same kind (EMSGSIZE with DF on). */
struct ph_udp_error {
    struct ph_addr peer; /* where the packet was going */
    struct ph_addr from; /* who sent the ICMP message; PH_AF_NONE for a local error */
    uint8_t type, code;  /* of ICMP or, for an IPv6 peer, ICMPv6 */
    uint32_t mtu;        /* for "fragmentation needed" and "packet too big", else 0 */
    int err;             /* as errno */
};

/* Takes the next error of a socket opened with recverr; also clears the socket's pending error.
 * Returns true and *e, or false when there is none. */
bool ph_udp_error(const struct ph_udp *s, struct ph_udp_error *e);

#endif
