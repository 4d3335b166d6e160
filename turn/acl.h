/*
 * Peer policy: where a relay may send to, and whom it listens to.
 *
 * A TURN server sends packets to where its clients say, so it must not reach what its clients cannot:
 * the server's own loopback, its private network, cloud metadata.  One rule set decides for
 * CreatePermission, ChannelBind, Send, Connect and inbound packets.
 *
 * An address is canonicalised first (IPv4-mapped, IPv4-compatible, 6to4, Teredo and NAT64 forms count as the
 * IPv4 address inside), so no spelling gets around a rule.  Then: an explicit allow wins, else an explicit
 * deny, else the defaults, which deny unspecified, loopback, link-local, multicast, private, CGNAT, ULA,
 * benchmarking, reserved and broadcast addresses.
 */
#ifndef PH_TURN_ACL_H
#define PH_TURN_ACL_H

#include "stun/base/addr.h"

#include <stdbool.h>
#include <stddef.h>

struct ph_acl;

/* A rule set with the defaults alone.  NULL when out of memory. */
struct ph_acl *ph_acl_new(void);
void ph_acl_free(struct ph_acl *a);

/* Adds a rule: "192.0.2.1", "192.0.2.1-192.0.2.9" or "192.0.2.0/24", IPv4 or IPv6, with ports or without:
 * "192.0.2.0/24:5000-5999", "[2001:db8::/32]:443"; "*:25" and "*:1-1023" are ports of every address.  n bytes of text.  A
 * rule with ports speaks of these alone.  To allow ports of every address makes an exception from what is denied by rules,
 * not from the defaults.  Returns 0, PH_E_FORMAT (also for a range that is empty or mixes families, and for port 0) or
 * PH_E_NOMEM. */
int ph_acl_add(struct ph_acl *a, bool allow, const char *text, size_t n);

/* coturn's allow-loopback-peers: loopback is no longer denied by default. */
void ph_acl_allow_loopback(struct ph_acl *a);

/* Drops the default denials of private, CGNAT, ULA, benchmarking and reserved ranges (coturn's policy);
 * loopback, unspecified, link-local and multicast stay denied. */
void ph_acl_allow_private(struct ph_acl *a);

/* Why an address was refused: NULL when it is allowed, else a short constant text ("private address").  With port 0 (a
 * permission, which is for all ports) rules with ports deny nothing, and allow it if they allow any port. */
const char *ph_acl_check(const struct ph_acl *a, const struct ph_addr *peer);

/* True if there are rules with ports, so that packets have to be checked one by one. */
bool ph_acl_has_ports(const struct ph_acl *a);

/* The address as the rules see it: the IPv4 address inside an IPv6 form, or the same. */
struct ph_addr ph_acl_canonical(const struct ph_addr *a);

#endif
