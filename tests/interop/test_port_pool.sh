#!/bin/bash
# relay-port-pool where it is meant for: the server is in a private network, as in a container, and a router publishes its
# listening port and two relay ports, no more. Clients and peers are outside.
. "$(dirname "$0")/lib.sh"
isolate 60 "$@"
need python3 iptables ss

readonly PUBLIC=198.51.100.1 PRIVATE=172.20.0.2 PEER=203.0.113.9

set_up() {
    step "a server behind three published ports"
    wire cli "198.51.100.2/24 $PEER/32" gw "$PUBLIC/24"
    new_ns srv
    veth gw inside srv eth0
    address gw inside 172.20.0.1/24
    address srv eth0 $PRIVATE/24
    in_ns srv ip route add default via 172.20.0.1
    in_ns gw ip route add $PEER dev to-cli
    in_ns gw sysctl -qw net.ipv4.ip_forward=1
    in_ns gw iptables -P FORWARD DROP
    in_ns gw iptables -A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
    in_ns gw iptables -A FORWARD -i inside -j ACCEPT
    for port in 3478 50000:50001; do
        in_ns gw iptables -t nat -A PREROUTING -i to-cli -p udp --dport $port \
            -j DNAT --to-destination $PRIVATE
        in_ns gw iptables -A FORWARD -i to-cli -p udp --dport $port -j ACCEPT
    done
    in_ns gw iptables -t nat -A POSTROUTING -s $PRIVATE -o to-cli -j MASQUERADE
    serve turnd srv <<CONF
listening-ip=$PRIVATE
external-ip=$PUBLIC/$PRIVATE
min-port=50000
max-port=50001
relay-port-pool=2
relay-threads=1
user=alice:secret
prometheus
prometheus-address=$PRIVATE
CONF
    ok
}

set_up

step "only these ports are open"
[ "$(in_ns srv ss -Hnul | awk '{ print $4 }' | sort | xargs)" = \
    "$PRIVATE:3478 $PRIVATE:50000 $PRIVATE:50001" ] || { in_ns srv ss -nul; fail "others are"; }
ok

step "clients share them"
said=$(in_ns cli timeout 50 python3 "$INTEROP/port_pool.py" $PUBLIC $PEER) || fail "$said"
ok "$said"

step "what was refused is counted"
in_ns srv python3 "$INTEROP/get.py" "http://$PRIVATE:9641/metrics" >"$T/metrics"
count() { sed -n "s/^turnd_$1_total\(.*\)\? \([0-9]*\)$/\2/p" "$T/metrics" | awk '{ n += $1 } END { print n + 0 }'; }
# Two channels, and two packets to the same peer; one packet that could be for either of two.
[ "$(count pool_conflicts)" = 4 ] || fail "$(grep pool "$T/metrics")"
[ "$(count pool_ambiguous)" = 1 ] || fail "$(grep pool "$T/metrics")"
ok

step "a relay port in use is named at the start"
! in_ns srv "$TURND" -n -L $PRIVATE -p 3500 --min-port=50001 --max-port=50009 --relay-port-pool=3 \
    --no-tls --no-dtls --user=alice:secret --realm=test >"$T/second.log" 2>&1 || fail "it started"
grep -q "cannot relay from udp $PRIVATE:50001: Address already in use" "$T/second.log" ||
    { cat "$T/second.log"; fail "it is not"; }
ok

step "server stops cleanly"
stop_cleanly turnd
ok
