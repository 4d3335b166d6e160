#!/usr/bin/env python3
"""Checks who includes whom.

    includes.py ROOT

USES below is the architecture: each folder of sources and the folders it may build upon, which
carries over (turn uses stun, so it may include stun/codec as well). Anything else fails: an include
against the direction, a path that does not start at the root, a folder missing from the table, and
in the pure folders any system header that could do I/O, read a clock or hold a lock.
"""

import os
import re
import sys

USES = {
    "stun/base": [],
    "stun/codec": ["stun/base"],
    "stun": ["stun/codec"],
    "stun/uv": ["stun"],
    "turn": ["stun"],
    "turn/store": ["turn"],
    "turn/kernel": ["turn"],
    "turn/uv": ["turn", "turn/store", "turn/kernel", "stun/uv"],
    # The ICE core takes its candidates from outside; only its shell knows TURN.
    "ice": ["stun"],
    "ice/map": ["ice"],
    "ice/uv": ["ice", "ice/map", "turn/uv"],
    "sipalg": ["turn"],
    "sipalg/uv": ["sipalg", "turn/uv"],
}
LIBRARIES = list(USES)
USES["cmd/common"] = LIBRARIES

PURE = {"stun/base", "stun/codec", "stun", "turn", "ice", "sipalg"}
PURE_SYSTEM_HEADERS = {
    "assert.h", "ctype.h", "errno.h", "inttypes.h", "limits.h", "stdalign.h", "stdarg.h",
    "stdatomic.h",  # quotas are shared by the workers, without a lock
    "stdbool.h", "stddef.h", "stdint.h", "stdio.h", "stdlib.h", "string.h",
}
# HMAC, digests and AES-GCM are pure, and are in two places.
CRYPTO_FILES = {"stun/codec/integrity.c", "stun/codec/aead.c"}

INCLUDE = re.compile(r'^\s*#\s*include\b\s*(?:"([^"]+)"|<([^>]+)>)?')


def reachable(folder):
    """The folders that folder may include from, itself among them."""
    found, todo = set(), [folder]
    while todo:
        f = todo.pop()
        if f not in found:
            found.add(f)
            todo += USES.get(f, [])
    return found


def allowed_folders(folder):
    if folder in USES:
        return reachable(folder)
    if folder.startswith("cmd/"):
        return reachable("cmd/common") | {folder}
    return None


def check_quoted(root, path, folder, name):
    """What is wrong with #include "name" in path, or None."""
    in_tests = folder.split("/")[0] == "tests"
    places = [root, os.path.join(root, "tests")] if in_tests else [root]
    if not any(os.path.isfile(os.path.join(p, name)) for p in places):
        return f'"{name}" is not a file, seen from the root'
    if in_tests:
        return None
    target = os.path.dirname(name)
    if target.split("/")[0] == "tests":
        return f"nothing includes tests ({name})"
    if target not in allowed_folders(folder):
        return f"{folder} may not include {name}"
    return None


def check_system(path, folder, name):
    if folder not in PURE or name in PURE_SYSTEM_HEADERS:
        return None
    if name.startswith("openssl/") and path in CRYPTO_FILES:
        return None
    return f"{folder} is pure and may not include <{name}>"


def check_file(root, path):
    folder = os.path.dirname(path)
    if folder.split("/")[0] != "tests" and allowed_folders(folder) is None:
        return [f"{path}:1: folder {folder} is not in the table of tests/arch/includes.py"]
    problems = []
    with open(os.path.join(root, path), encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            m = INCLUDE.match(line)
            if not m:
                continue
            quoted, system = m.groups()
            if quoted:
                what = check_quoted(root, path, folder, quoted)
            elif system:
                what = check_system(path, folder, system)
            else:
                what = "an include of a macro cannot be checked"
            if what:
                problems.append(f"{path}:{number}: {what}")
    return problems


def sources(root):
    for top in ("stun", "turn", "ice", "sipalg", "cmd", "tests"):
        for folder, subs, files in os.walk(os.path.join(root, top)):
            rel = os.path.relpath(folder, root)
            # The planted violations, and what npm brings.
            subs[:] = sorted(s for s in subs
                             if s != "node_modules" and f"{rel}/{s}" != "tests/arch/bad")
            for name in sorted(files):
                if name.endswith((".c", ".h")):
                    yield f"{rel}/{name}"


def main():
    root = sys.argv[1]
    files = list(sources(root))
    problems = [p for path in files for p in check_file(root, path)]
    print("\n".join(problems))
    print(f"{len(files)} files, {len(problems)} against the direction")
    return 1 if problems or not files else 0


if __name__ == "__main__":
    sys.exit(main())
