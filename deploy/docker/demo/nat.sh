#!/bin/sh
# A home router of the worst kind: every connection leaves from another random port (RFC 4787: address- and
# port-dependent mapping), and nothing comes in that has not gone out. $INSIDE is the network it stands for.
set -eu

[ "$(cat /proc/sys/net/ipv4/ip_forward)" = 1 ]
nft -f - <<RULES
table ip demo {
    chain forward {
        type filter hook forward priority 0; policy drop;
        ct state established,related accept
        ip saddr $INSIDE accept
    }
    chain postrouting {
        type nat hook postrouting priority 100;
        ip saddr $INSIDE ip daddr != $INSIDE masquerade fully-random
    }
}
RULES
echo "NAT for $INSIDE is up"
# As PID 1 of a container, to end when told.
trap 'exit 0' TERM INT
while :; do
    sleep 3600 &
    wait $!
done
