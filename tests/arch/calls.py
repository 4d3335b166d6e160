#!/usr/bin/env python3
"""Checks that nothing calls what has opened other servers to attacks.

    calls.py ROOT

Random numbers that can be foretold (nonces, ports, tickets and keys come from getrandom() by way of ph_env), Redis
commands made of a format (what a client sends would be read as one), and shells. Comments and strings don't count, nor do
members of that name (env->rand).
"""

import os
import re
import sys

CALLS = {
    "is no randomness: take ph_env's":
        "rand srand rand_r random srandom random_r srandom_r initstate setstate "
        "drand48 erand48 lrand48 nrand48 mrand48 jrand48 srand48 seed48 lcong48",
    "makes a command of a format: send counted arguments":
        "redisCommand redisvCommand redisAppendCommand redisvAppendCommand redisAsyncCommand "
        "redisvAsyncCommand redisFormatCommand redisvFormatCommand",
    "starts a shell": "system popen",
    "knows no bound": "gets",
}
WHY = {name: why for why, names in CALLS.items() for name in names.split()}
CALL = re.compile(r"(?<![\w.>])(" + "|".join(sorted(WHY)) + r")\s*\(")
# What is left out, lines and all: strings first, as they may look like comments.
NOISE = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'|/\*.*?\*/|//[^\n]*', re.DOTALL)


def sources(root):
    for top in ("stun", "turn", "ice", "sipalg", "cmd"):
        for folder, _, files in os.walk(os.path.join(root, top)):
            for name in sorted(files):
                if name.endswith((".c", ".h")):
                    yield os.path.relpath(os.path.join(folder, name), root)


def check_file(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as f:
        text = NOISE.sub(lambda m: "\n" * m[0].count("\n"), f.read())
    return [f"{path}:{text.count(chr(10), 0, m.start()) + 1}: {m[1]} {WHY[m[1]]}"
            for m in CALL.finditer(text)]


def main():
    root = sys.argv[1]
    files = list(sources(root))
    problems = [p for path in files for p in check_file(root, path)]
    print("\n".join(problems))
    print(f"{len(files)} files, {len(problems)} calls of what must not be called")
    return 1 if problems or not files else 0


if __name__ == "__main__":
    sys.exit(main())
