#!/usr/bin/env bash
# Every source file is formatted as .clang-format says; with --fix, they are made so. Versions of
# clang-format differ in taste, so only the one that the project uses has a say.
set -euo pipefail

cd "$PINHOLE_ROOT"
how=(--dry-run -Werror)
[ "${1:-}" != --fix ] || how=(-i)

for tool in clang-format-14 clang-format; do
    "$tool" --version 2>/dev/null | grep -q 'version 14\.' || continue
    # Not by find -exec, whose exit status would not tell.
    mapfile -t files < <(find stun turn ice sipalg cmd tests -name node_modules -prune \
        -o -name '*.[ch]' -print 2>/dev/null)
    "$tool" "${how[@]}" "${files[@]}"
    echo "${#files[@]} files are formatted"
    exit 0
done
echo "SKIP: clang-format 14 is not installed"
exit 77
