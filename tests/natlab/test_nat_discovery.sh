#!/bin/bash
# What do foreign tools believe about real NATs when our servers answer their questions?
# turnutils_natdiscovery (RFC 5780) asks turnd and stund, with and without padding; Debian's `stun`
# (RFC 3489) asks a server that has a compatible mode. Four kinds of NAT must get four different, true
# verdicts, so a server that answers from the wrong address, or does not answer a CHANGE-REQUEST,
# cannot pass.
. "$(dirname "$0")/lib.sh"
isolate 60 "$@"
need turnutils_natdiscovery
! has rfc3489 || need stun

readonly KINDS=(none cone full-cone symmetric)
readonly FREE='Endpoint Independent' STRICT='Address and Port Dependent'
declare -A MAPPING=([none]=$FREE [cone]=$FREE [full-cone]=$FREE [symmetric]=$STRICT)
declare -A FILTERING=([none]=$FREE [cone]=$STRICT [full-cone]=$FREE [symmetric]=$STRICT)
declare -A CLASSIC=(
    [none]='Open'
    [cone]='Independent Mapping, Port Dependent Filter, preserves ports, no hairpin'
    [full-cone]='Independent Mapping, Independent Filter, preserves ports, no hairpin'
    [symmetric]='Dependent Mapping, random port, no hairpin')

# ask CLIENT KIND: every tool at once, since each spends some 6 s waiting for what a NAT keeps out.
ask() {
    local c=c$1 kind=$2 ip=192.168.$1.2
    [ "$kind" != none ] || ip=198.51.100.20$1
    tool "$c" "$kind.turnd" turnutils_natdiscovery -m -f -L "$ip" "$SERVER"
    tool "$c" "$kind.turnd-padded" turnutils_natdiscovery -m -f -P -L "$ip" "$SERVER"
    tool "$c" "$kind.stund" turnutils_natdiscovery -m -f -L "$ip" -p 3578 "$SERVER"
    tool "$c" "$kind.stund-padded" turnutils_natdiscovery -m -f -P -L "$ip" -p 3578 "$SERVER"
    tool "$c" "$kind.hairpin" turnutils_natdiscovery -H -L "$ip" "$SERVER"
    ! has rfc3489 || tool "$c" "$kind.classic" stun "$SERVER"
}

tool() {
    local out=$T/$2.out
    in_ns "$1" timeout 30 "${@:3}" >"$out" 2>&1 &
    PID[$2]=$!
}

expect() {
    local name=$1 want=$2
    grep -qF -- "$want" "$T/$name.out" && return
    cat "$T/$name.out"
    fail "$name: not told '$want'"
}

expect_not() { ! grep -qF -- "$2" "$T/$1.out" || fail "$1: told '$2'"; }

judge() {
    local kind=$1 server
    for server in turnd turnd-padded stund stund-padded; do
        expect "$kind.$server" "NAT with ${MAPPING[$kind]} Mapping!"
        expect "$kind.$server" "NAT with ${FILTERING[$kind]} Filtering!"
        if [ "$kind" = none ]; then
            expect "$kind.$server" "No NAT!"
        else
            expect_not "$kind.$server" "No NAT!"
        fi
    done
    if [ "$kind" = none ]; then
        expect "$kind.hairpin" "successful hairpinning"
    else
        expect "$kind.hairpin" "STUN receive timeout"
    fi
    ! has rfc3489 || expect "$kind.classic" "Primary: ${CLASSIC[$kind]}"
}

step "servers start"
lab_up
serve turnd srv <<CONF
listening-ip=$SERVER
listening-ip=$SERVER2
no-auth
rfc5780
$(! has rfc3489 || echo rfc3489-compatibility)
stun-backward-compatibility
CONF
serve_stun stund srv 3578 "$SERVER" "$SERVER2"
ok

step "tools run"
for i in "${!KINDS[@]}"; do
    lab_nat "$((i + 1))" "${KINDS[i]}"
    ask "$((i + 1))" "${KINDS[i]}"
done
for name in "${!PID[@]}"; do
    case $name in *.*) wait "${PID[$name]}" || true ;; esac
done
ok
for kind in "${KINDS[@]}"; do
    step "$kind NAT"
    judge "$kind"
    ok "${MAPPING[$kind]} mapping, ${FILTERING[$kind]} filtering"
done

step "servers stop cleanly"
stop_cleanly turnd
stop_cleanly stund
ok
