#!/bin/bash
# make-secrets NAME...: writes a random secret of 64 hex digits into each file of $SECRETS (/var/lib/turnd) that is not
# there yet, for nobody but its owner to read. compose.yaml runs it before turnd, so that no password is shipped and a
# restart keeps those that there are.
set -euo pipefail

cd "${SECRETS:-/var/lib/turnd}"
umask 077
for name; do
    [ ! -s "$name" ] || continue
    # Several containers may start at once: one of them wins, and the others take what it has made.
    od -An -v -tx1 -N32 /dev/urandom | tr -d ' \n' >"$name.$HOSTNAME"
    if ln "$name.$HOSTNAME" "$name" 2>/dev/null; then
        echo "make-secrets: made $name" >&2
    fi
    rm -f "$name.$HOSTNAME"
    [ -s "$name" ] # or there is no secret, and no start
done
