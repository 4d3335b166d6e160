# shellcheck shell=bash
# Real kernel NATs in network namespaces, for the tests of this folder.
#
#          c1 ---- nat1 --+
#   192.168.1.2           |              The public segment, 198.51.100.0/24, is a bridge in `net`.
#                         +-- net -- srv srv is 198.51.100.1 and .2, natN is 198.51.100.10N.
#   192.168.2.2           |
#          c2 ---- nat2 --+
. "$(dirname "${BASH_SOURCE[0]}")/../interop/lib.sh"
need iptables

readonly SERVER=198.51.100.1 SERVER2=198.51.100.2

# plug NAMESPACE CIDR...: connect it to the public segment by a device called wan.
plug() {
    local ns=$1
    shift
    veth "$ns" wan net "to-$ns"
    in_ns net ip link set "to-$ns" master segment up
    address "$ns" wan "$@"
}

lab_up() {
    new_ns net srv
    in_ns net ip link add segment type bridge || skip "no bridge devices in this kernel"
    in_ns net ip link set segment up
    plug srv "$SERVER/24" "$SERVER2/24"
}

# lab_nat N KIND: a client cN behind a router natN. KIND, in RFC 4787's words (filtering is always
# by address and port but for full-cone):
#   none        no NAT: the client is on the public segment itself, as 198.51.100.20N
#   cone        endpoint-independent mapping that preserves ports
#   full-cone   the same, and lets anyone in
#   symmetric   address- and port-dependent mapping to random ports
lab_nat() {
    local n=$1 kind=$2 nat=nat$1 client=c$1
    new_ns "$client"
    if [ "$kind" = none ]; then
        plug "$client" "198.51.100.20$n/24"
        return
    fi
    new_ns "$nat"
    plug "$nat" "198.51.100.10$n/24"
    veth "$client" eth0 "$nat" lan
    address "$nat" lan "192.168.$n.1/24"
    address "$client" eth0 "192.168.$n.2/24"
    in_ns "$client" ip route add default via "192.168.$n.1"
    in_ns "$nat" sysctl -qw net.ipv4.ip_forward=1
    case $kind in
    cone) masquerade "$nat" ;;
    full-cone)
        masquerade "$nat"
        in_ns "$nat" iptables -t nat -A PREROUTING -i wan -p udp \
            -j DNAT --to-destination "192.168.$n.2"
        ;;
    symmetric) masquerade "$nat" --random-fully ;;
    *) fail "no such kind of NAT: $kind" ;;
    esac
}

masquerade() {
    local nat=$1
    shift
    in_ns "$nat" iptables -t nat -A POSTROUTING -o wan -j MASQUERADE "$@" ||
        skip "this kernel has no NAT for iptables"
}

# lab_down N...: remove clients and their routers, so that their numbers can be used again.
lab_down() {
    local n ns
    for n; do
        for ns in "c$n" "nat$n"; do
            [ -e "/run/netns/$ns" ] || continue
            # Its cable goes at once, the namespace whenever the kernel finds time.
            in_ns net ip link del "to-$ns" 2>/dev/null || true
            ip netns del "$ns"
        done
    done
}

# check_nat N KIND: is the NAT what it was asked to be? Two servers tell one socket where they see
# it.
check_nat() {
    local seen mapping want_ip=198.51.100.10$1
    seen=$(in_ns "c$1" timeout 20 python3 "$INTEROP/relay_pair.py" mapped "$SERVER" "$SERVER2") ||
        fail "c$1 gets no answers through nat$1"
    [ "$(echo "$seen" | cut -d: -f1 | sort -u)" = "$want_ip" ] ||
        fail "c$1 is seen as $seen, not as $want_ip"
    case $(echo "$seen" | sort -u | wc -l) in
    1) mapping=cone ;;
    *) mapping=symmetric ;;
    esac
    [ "$mapping" = "$2" ] || fail "nat$1 is $mapping, expected $2: c$1 is seen as $seen"
}
