#!/bin/bash
# detect-external-ip [--ipv4|--ipv6] [--local]: prints the address that others reach this machine or container at.
#
#   1. REAL_EXTERNAL_IP, if it is set (and of the family that is asked for)
#   2. what the STUN server of STUN_SERVICE ("HOST PORT" or "HOST:PORT"; empty or false: none) sees us as
#   3. the address that packets to the outside leave from: right on a machine with a public address and in its own
#      network (--network=host), not behind a NAT. That is all that --local gives.
#
# Nobody outside is asked unless STUN_SERVICE says so. Needs nothing but bash and coreutils.
set -euo pipefail

family=4 local_only=
for argument; do
    case $argument in
    --ipv4) family=4 ;;
    --ipv6) family=6 ;;
    --local) local_only=1 ;;
    *)
        echo "usage: detect-external-ip [--ipv4|--ipv6] [--local]" >&2
        exit 2
        ;;
    esac
done

is_family() { if [ $family = 6 ]; then [[ $1 == *:* ]]; else [[ $1 != *:* ]]; fi; }

# ---- the address of the route ----

# $1, as the kernel writes addresses in /proc: words of 32 bits in its own byte order.
print_kernel_address() {
    local hex=$1 i out=()
    for ((i = 0; i < ${#hex}; i += 8)); do
        out+=("${hex:i+6:2}" "${hex:i+4:2}" "${hex:i+2:2}" "${hex:i:2}")
    done
    print_address "${out[@]}"
}

# The bytes of an address, in hex.
print_address() {
    if [ $# = 4 ]; then
        printf '%d.%d.%d.%d\n' "0x$1" "0x$2" "0x$3" "0x$4"
    else
        printf '%x:%x:%x:%x:%x:%x:%x:%x\n' "0x$1$2" "0x$3$4" "0x$5$6" "0x$7$8" "0x$9${10}" "0x${11}${12}" \
            "0x${13}${14}" "0x${15}${16}"
    fi
}

# Connecting a UDP socket to an address (of the ranges for documentation) sends nothing, and chooses our own.
local_address() {
    local fd inode table=/proc/net/udp to=192.0.2.1 line
    if [ $family = 6 ]; then table=/proc/net/udp6 to=2001:db8::1; fi
    { exec {fd}<>"/dev/udp/$to/9"; } 2>/dev/null || return 1
    inode=$(readlink "/proc/$BASHPID/fd/$fd")
    inode=${inode#socket:[} inode=${inode%]}
    while read -r -a line; do
        if [ "${line[9]-}" = "$inode" ]; then
            print_kernel_address "${line[1]%:*}"
            return 0
        fi
    done <$table
    return 1
}

# ---- the address that a STUN server sees ----

# numeric_address HOST
numeric_address() {
    getent "ahostsv$family" "$1" | while read -r address _; do
        echo "$address"
        break
    done
}

# read_mapped_address BYTE...: of a Binding success response whose transaction ID is in $transaction.
read_mapped_address() {
    local message=("$@") at=20 kind size i key out=()
    [ $# -ge 20 ] && [ "$1$2" = 0101 ] && [ "${*:5:16}" = "21 12 a4 42 $transaction" ] || return 1
    while [ $((at + 4)) -le $# ]; do
        kind=${message[at]}${message[at + 1]}
        size=$((16#${message[at + 2]}${message[at + 3]}))
        if [ "$kind" = 0020 ] && [ $((at + 4 + size)) -le $# ] && { [ $size = 8 ] || [ $size = 20 ]; }; then
            for ((i = 0; i < size - 4; i++)); do
                key=${message[4 + i]} # the cookie and the transaction ID
                printf -v key '%02x' $((16#${message[at + 8 + i]} ^ 16#$key))
                out+=("$key")
            done
            print_address "${out[@]}"
            return 0
        fi
        at=$((at + 4 + (size + 3) / 4 * 4))
    done
    return 1
}

# ask_stun HOST PORT
ask_stun() {
    local address fd wait request answer
    address=$(numeric_address "$1")
    [ -n "$address" ] || return 1
    # bash writes lines, so no byte may be a newline: the datagram would be two.
    transaction=$(od -An -v -tx1 -N12 /dev/urandom)
    transaction=${transaction//0a/0b} transaction=${transaction# }
    request="00 01 00 00 21 12 a4 42 $transaction"
    { exec {fd}<>"/dev/udp/$address/$2"; } 2>/dev/null || return 1
    for wait in 0.5 1 2; do
        printf '%b' "\\x${request// /\\x}" >&"$fd" || return 1
        answer=$(timeout $wait dd bs=2048 count=1 status=none <&"$fd" 2>/dev/null | od -An -v -tx1 | tr '\n' ' ') || true
        # shellcheck disable=SC2086 # one argument for each byte
        if read_mapped_address $answer; then
            return 0
        fi
    done
    return 1
}

# Whether an IPv4 address is private or of a carrier's NAT, so that the Internet cannot reach it.
is_private() {
    [[ $1 =~ ^(10\.|127\.|169\.254\.|192\.168\.|172\.(1[6-9]|2[0-9]|3[01])\.|100\.(6[4-9]|[7-9][0-9]|1[01][0-9]|12[0-7])\.) ]]
}

if [ -z "$local_only" ] && [ -n "${REAL_EXTERNAL_IP-}" ] && is_family "$REAL_EXTERNAL_IP"; then
    echo "$REAL_EXTERNAL_IP"
    exit 0
fi
service=${STUN_SERVICE-}
if [ -z "$local_only" ] && [ -n "$service" ] && [ "$service" != false ]; then
    if [[ $service == *' '* ]]; then
        host=${service%% *} port=${service##* }
    elif [[ $service =~ ^(.*[^:]):([0-9]+)$ ]]; then
        host=${BASH_REMATCH[1]} port=${BASH_REMATCH[2]}
    else
        host=$service port=3478
    fi
    host=${host#[} host=${host%]}
    if ask_stun "$host" "$port"; then
        exit 0
    fi
    echo "detect-external-ip: no answer from the STUN server $host, port $port" >&2
fi
if ! address=$(local_address); then
    echo "detect-external-ip: there is no route to the outside for IPv$family" >&2
    exit 1
fi
if [ -z "$local_only" ] && is_private "$address"; then
    echo "detect-external-ip: $address is private, so clients elsewhere cannot reach relays there: set REAL_EXTERNAL_IP" \
        "to the public address, or STUN_SERVICE=HOST:PORT to ask a STUN server" >&2
fi
echo "$address"
