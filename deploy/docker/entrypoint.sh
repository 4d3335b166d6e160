#!/bin/bash
# What a container runs: turnd, unless the first argument is the name of another program.
#
# As in coturn's image, arguments alone are turnd's, and the text $(detect-external-ip) in one of them is replaced by our
# address. That is the only text that is replaced, as a text: nothing in an argument is ever evaluated. All other
# configuration by the environment (TURND_...) is done by turnd itself, so that no secret is on a command line.
set -euo pipefail

case ${1-} in
'' | -*) ;;
turnd | turnserver) shift ;;
*) exec "$@" ;;
esac

# is_yes VALUE
is_yes() { [[ ${1,,} =~ ^(1|y|yes|true|on)$ ]]; }

# given OPTION LETTER VARIABLE ARGUMENT...: is the option among the arguments, or its variable set?
given() {
    local option=$1 letter=$2 variable=$3 argument name
    shift 3
    for argument; do
        case $argument in "--$option" | "--$option="* | "-$letter"*) return 0 ;; esac
    done
    for name in $(compgen -v "TURND_$variable"); do
        [ -z "${!name}" ] || return 0 # an empty one is as good as none
    done
    return 1
}

# substitute ARGUMENT: sets $substituted. Each address is asked for once.
declare -A address=()
substitute() {
    local option text
    substituted=$1
    for option in '' --ipv4 --ipv6; do
        text="\$(detect-external-ip${option:+ $option})"
        [[ $substituted == *"$text"* ]] || continue
        option=${option:---ipv4}
        [ -n "${address[$option]-}" ] || address[$option]=$(detect-external-ip "$option")
        substituted=${substituted//"$text"/"${address[$option]}"}
    done
}

arguments=()
for argument; do
    substitute "$argument"
    arguments+=("$substituted")
done

# Which of our addresses clients are to be told, and which relays are bound to.
external=() relay=()
if [ -n "${REAL_EXTERNAL_IP-}" ]; then
    external+=("$REAL_EXTERNAL_IP")
elif is_yes "${DETECT_EXTERNAL_IP-}"; then
    external+=("$(detect-external-ip --ipv4)")
fi
if is_yes "${DETECT_EXTERNAL_IPV6-}" && [[ ${REAL_EXTERNAL_IP-} != *:* ]]; then
    external+=("$(detect-external-ip --ipv6)")
fi
if is_yes "${DETECT_RELAY_IP-}"; then relay+=("$(detect-external-ip --local --ipv4)"); fi
if is_yes "${DETECT_RELAY_IPV6-}"; then relay+=("$(detect-external-ip --local --ipv6)"); fi
newline=$'\n'
if [ ${#external[@]} -gt 0 ] && ! given external-ip X EXTERNAL_IP "$@"; then
    printf -v TURND_EXTERNAL_IP '%s\n' "${external[@]}"
    export TURND_EXTERNAL_IP=${TURND_EXTERNAL_IP%"$newline"}
    echo "entrypoint: external-ip is ${TURND_EXTERNAL_IP//"$newline"/, }" >&2
fi
if [ ${#relay[@]} -gt 0 ] && ! given relay-ip E RELAY_IP "$@"; then
    printf -v TURND_RELAY_IP '%s\n' "${relay[@]}"
    export TURND_RELAY_IP=${TURND_RELAY_IP%"$newline"}
    echo "entrypoint: relay-ip is ${TURND_RELAY_IP//"$newline"/, }" >&2
fi

# Those that are there stay.
if [ -n "${MAKE_SECRETS-}" ]; then
    read -r -a secrets <<<"$MAKE_SECRETS"
    make-secrets "${secrets[@]}"
fi

# turnd opens its API by itself where the folder belongs to it; not so for a user that the platform has made up.
if [ -w /run/turnd ] && [ ! -O /run/turnd ]; then
    export TURND_API_SOCKET=${TURND_API_SOCKET-/run/turnd/turnd.sock}
fi

exec turnd "${arguments[@]}"
