#!/bin/bash
# turnd's web page as files: small, self-contained, nothing of it makes markup of text; and what it concludes from what it
# sees. tests/interop/test_web.sh has a browser look at it.
set -euo pipefail
: "${PINHOLE_ROOT:=$(cd "$(dirname "$0")/../.." && pwd)}"
cd "$PINHOLE_ROOT/cmd/turnd/web"

fail() { echo "FAIL: $*"; exit 1; }

size=$(cat -- * | wc -c)
[ "$size" -lt 60000 ] || fail "the page has $size bytes, 60000 are enough"

# Another host, except as the name of a namespace.
! grep -nE "https?://|[\"'(]//" -- * | grep -v 'http://www\.w3\.org/2000/svg' ||
    fail "the page names another host"

# Ways to make markup or code of text, and what the server's Content-Security-Policy would refuse.
! grep -nE '(inner|outer)HTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|setHTML|srcdoc' -- *.js ||
    fail "the page makes markup of text"
! grep -nE '\beval\(|new Function|javascript:|localStorage' -- *.js *.html || fail "the page evaluates or keeps too much"
! grep -nE '<script[^>]*>[^<]|<style|[[:space:]](style|on[a-z]+)=' -- *.html || fail "the page has code or style inline"

# Every file that is named is there, and the other way round.
for f in *; do
    [ "$f" = index.html ] || grep -qF -- "$f" index.html ./*.js || fail "$f is not used"
done
# shellcheck disable=SC2013 # names without blanks
for f in $(grep -ohE "(src|href)=\"[^\"#]+\"|from '[^']+'" -- *.html *.js | sed -E "s/.*[\"'](\.\/)?([^\"']+)[\"']/\2/"); do
    [ -f "$f" ] || fail "$f is named but not there"
done

command -v node >/dev/null || { echo "SKIP: node is not installed, the rest needs it"; exit 77; }
for f in *.js; do
    node --check --input-type=module <"$f" || fail "$f does not parse"
done
# Outside a package, node takes a .js file for a script unless its name says module.
copy=$(mktemp --suffix=.mjs)
trap 'rm -f -- "$copy"' EXIT
cat diagnose.js >"$copy"
node "$PINHOLE_ROOT/tests/cmd/web_diagnose.mjs" "$copy" || fail "the page concludes something else"
