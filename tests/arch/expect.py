#!/usr/bin/env python3
"""Runs a check on planted violations: it must fail, and must name every one of them.

    expect.py FILE COMMAND...

Each line of FILE must be part of some line of the output, and every line of the output that names a
violation (the last line, a summary, does not) must be asked for by a line of FILE. A line starting
with "+" asks for more output, without which the check has not run to its end; "#" is a comment.
"""

import subprocess
import sys


def main():
    with open(sys.argv[1], encoding="utf-8") as f:
        lines = [line.rstrip("\n") for line in f if line.strip() and not line.startswith("#")]
    run = subprocess.run(sys.argv[2:], capture_output=True, text=True)
    output = [line for line in (run.stdout + run.stderr).splitlines() if line.strip()]
    print("\n".join(output))

    loose = any(line.startswith("+") for line in lines)
    wanted = [line.removeprefix("+") for line in lines]
    missing = [w for w in wanted if not any(w in line for line in output)]
    surplus = [] if loose else [o for o in output[:-1] if not any(w in o for w in wanted)]
    for w in missing:
        print(f"not found: {w}")
    for o in surplus:
        print(f"not planted: {o}")
    if run.returncode == 0:
        print("the check passed, which it must not")
    return 1 if missing or surplus or run.returncode == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
