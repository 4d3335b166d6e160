#!/usr/bin/env python3
"""Checks that each header compiles alone, warning-free.

    headers.py ROOT CC...

As plain C17 with each compiler that is installed; headers of the shells (uv/ and whatever else is
not pure) see the GNU extensions, which libuv's own header needs. Not as C++: array parameters with
a minimum size (uint8_t id[static 12]) are C only.
"""

import concurrent.futures
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
from includes import PURE, sources  # noqa: E402

FLAGS = ["-std=c17", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"]


def compile_alone(root, cc, header):
    flags = FLAGS + ["-I", root]
    if os.path.dirname(header) not in PURE:
        flags.append("-D_GNU_SOURCE")
    # The typedef is for headers of macros alone: ISO C wants at least one declaration.
    unit = f'#include "{header}"\ntypedef int ph_unit;\n'
    run = subprocess.run([cc, *flags, "-x", "c", "-"], input=unit, text=True,
                         capture_output=True)
    return [] if run.returncode == 0 else [f"{header} does not compile alone with {cc}:",
                                           run.stderr.rstrip()]


def main():
    root = os.path.abspath(sys.argv[1])
    compilers = [cc for cc in sys.argv[2:] if shutil.which(cc)]
    headers = [f for f in sources(root) if f.endswith(".h") and not f.startswith("tests/")]
    jobs = [(root, cc, header) for header in headers for cc in compilers]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(lambda job: compile_alone(*job), jobs))
    failed = [r for r in results if r]
    for r in failed:
        print("\n".join(r))
    print(f"{len(headers)} headers, compiled with {' and '.join(compilers)}: {len(failed)} failed")
    return 1 if failed or not jobs else 0


if __name__ == "__main__":
    sys.exit(main())
