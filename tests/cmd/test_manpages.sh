#!/bin/bash
# Manual pages and completions, as the build has made them: every option is there and is one, pages are what groff
# takes without a complaint, and bash completes options, values and commands.
. "$(dirname "$0")/../interop/lib.sh"
SHARE=$PINHOLE_BUILD/share
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
[ -d "$SHARE/man" ] || skip "there are no pages (cross-compiled?)"

# The page of a program.
page() { ls "$SHARE"/man/man?/"$1".?; }

# The long options that a program tells of itself.
options() {
    "$PINHOLE_BUILD/bin/$1" --help >"$WORK/help" 2>&1
    sed -nE 's/^ +(-., )?(--[a-z0-9][a-zA-Z0-9_-]*).*/\2/p' "$WORK/help" | sort -u
}

# complete PROGRAM WORD...: what bash offers for the last word.
complete_words() {
    local program=$1
    bash -c '. "$1"; COMP_WORDS=("${@:2}"); COMP_CWORD=$(($# - 2)); "_$2"; printf "%s\n" "${COMPREPLY[@]}"' \
        bash "$SHARE/bash-completion/completions/$program" "$@"
}

# offers WORD: is it among what was offered?
offers() { grep -qxF -- "$1" "$WORK/offered" || { cat "$WORK/offered"; fail "does not offer $1"; }; }

# knows PROGRAM OPTION: does it take the option? What else it may say of it (a value is missing) does not matter here.
knows() {
    local status=0
    timeout 10 "$PINHOLE_BUILD/bin/$1" "$2" </dev/null >"$WORK/out" 2>&1 || status=$?
    [ $status -ne 124 ] || fail "$1 $2 does not end"
    ! grep -qE '(unknown|unrecognized) option' "$WORK/out"
}

for program in turnd stund turnload turnctl; do
    step "$program"
    [ -x "$PINHOLE_BUILD/bin/$program" ] || continue
    n=0
    sed 's/\\-/-/g; s/\\f[BIR]//g; s/\\e/\\/g' "$(page "$program")" >"$WORK/page"
    for section in NAME SYNOPSIS DESCRIPTION OPTIONS "EXIT STATUS" "SEE ALSO"; do
        [ "$section" = "SEE ALSO" ] && [ $program = turnload ] && continue
        grep -qx ".SH $section" "$WORK/page" || fail "no section $section"
    done
    grep -q "^$program - " "$WORK/page" || fail "no line for whatis"
    complete_words "$program" "$program" -- >"$WORK/offered"
    for option in $(options "$program"); do
        grep -qE -- "^(-., )?$option( |\[|$)" "$WORK/page" || fail "$option is not in the page"
        offers "$option"
        n=$((n + 1))
    done
    [ $n -ge 10 ] || fail "only $n options"
    # turnd and stund make their help of the very table they read options by; these two have a text and getopt.
    if [[ $program = turnload || $program = turnctl ]]; then
        ! knows "$program" --no-such-option || fail "what the program does not know is not noticed"
        while read -r option; do
            knows "$program" "$option" || fail "$option is none"
        done <"$WORK/offered"
    fi
    if command -v groff >/dev/null; then
        groff -man -Tutf8 -ww "$(page "$program")" >"$WORK/shown" 2>"$WORK/complaints"
        [ ! -s "$WORK/complaints" ] || { cat "$WORK/complaints"; fail "groff complains"; }
    fi
    ok "$n options"
done

step "completion of values and commands"
complete_words turnd turnd --check >"$WORK/offered"
offers --check-config
[ "$(wc -l <"$WORK/offered")" -eq 1 ] || fail "offers more than begins with --check"
complete_words turnd turnd --log-format "" >"$WORK/offered"
offers text
offers json
touch "$WORK/some.conf"
(cd "$WORK" && complete_words turnd turnd -c some) >"$WORK/offered"
offers some.conf
complete_words turnd turnd --realm "" >"$WORK/offered"
! grep -q . "$WORK/offered" || fail "offers something for a realm"
if [ -x "$PINHOLE_BUILD/bin/turnctl" ]; then
    complete_words turnctl turnctl dr >"$WORK/offered"
    offers drain
    complete_words turnctl turnctl --json se >"$WORK/offered"
    offers sessions
    offers session
fi
ok

step "turnd's page tells of keys that are not honoured, and why"
sed 's/\\-/-/g; s/\\f[BIR]//g' "$(page turnd)" >"$WORK/page"
grep -qx "psql-userdb (refused)" "$WORK/page" || fail "psql-userdb"
for text in "/v1/sessions" "SIGUSR1" "/run/turnd/turnd.sock" "_hex"; do
    grep -qF -- "$text" "$WORK/page" || fail "nothing about $text"
done
ok
