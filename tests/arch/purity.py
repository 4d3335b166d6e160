#!/usr/bin/env python3
"""Checks that the pure libraries do no I/O.

    purity.py NM LIBRARY...

Reads with nm what each object of a static library calls from outside. Only what is listed here is
allowed; that a ph_ symbol belongs to a lower box is what the closed_* link checks see to. Also
checks that whatever a library defines for others begins with ph_.
"""

import os
import re
import subprocess
import sys

ALLOWED = re.compile(r"""^(
    ph_\w+
  # memory and strings
  | (__)?(mem(cpy|move|set|cmp|chr)|str(cpy|cat|ncpy|ncat))(_chk)?
  | bcmp | memrchr | memmem | strn?(len|cmp) | str(r?chr|str|spn|cspn|pbrk) | strn?casecmp | strerror
  | malloc | calloc | realloc | free | aligned_alloc
  # numbers and text; strtol and its kin report range errors in errno
  | (__)?v?s?nprintf(_chk)? | (__isoc(99|23)_)?sscanf
  | (__isoc23_)?strto(l|ul|ll|ull|imax|umax) | __errno_location
  | __ctype_(b|tolower|toupper)_loc | is(alnum|alpha|digit|xdigit|space|print|upper|lower)
  | tolower | toupper
  | qsort | bsearch | l?labs | abs
  # our own bugs
  | __assert_fail | abort
  # what the compiler adds: position independence, stack protector, sanitizers, coverage
  | _GLOBAL_OFFSET_TABLE_ | __stack_chk_fail | __muloti4
  | _*(asan|ubsan|tsan|sanitizer|sancov|gcov|llvm)_\w+ | __start___\w+ | __stop___\w+
)$""", re.VERBOSE)

# Digests, HMAC and AES-GCM, which only the codec computes.
CRYPTO = re.compile(r"^(EVP_(MD|MAC|DigestInit|DigestUpdate|DigestFinal|Digest|Q_|md5|sha)\w*"
                    r"|EVP_(CIPHER_CTX_(new|free|ctrl)|Cipher(Init|Update|Final)(_ex)?|aes_\d+_gcm)"
                    r"|OSSL_PARAM_\w+|HMAC\w*|CRYPTO_memcmp|OPENSSL_cleanse)$")
CRYPTO_LIBRARY = "libph_codec.a"

DEFINED_BY_TOOLS = re.compile(r"^(__|_*(asan|ubsan|tsan|sanitizer|sancov|gcov|llvm)_|DW\.ref\.)")


def symbols(nm, library, *options):
    """(object, type, name) for each symbol that nm lists."""
    out = subprocess.run([nm, "-A", *options, library], check=True, capture_output=True, text=True)
    for line in out.stdout.splitlines():
        where, rest = line.rsplit(":", 1)
        fields = rest.split()
        yield where.rsplit(":", 1)[-1], fields[-2], fields[-1]


def check(nm, library):
    name = os.path.basename(library)
    problems = []
    for obj, _, symbol in symbols(nm, library, "--undefined-only"):
        if ALLOWED.match(symbol) or (name == CRYPTO_LIBRARY and CRYPTO.match(symbol)):
            continue
        problems.append(f"{name}({obj}): calls {symbol}, which a pure library may not")
    for obj, _, symbol in symbols(nm, library, "--defined-only", "--extern-only"):
        if not symbol.startswith("ph_") and not DEFINED_BY_TOOLS.match(symbol):
            problems.append(f"{name}({obj}): defines {symbol}, which does not begin with ph_")
    return problems


def main():
    nm, libraries = sys.argv[1], sys.argv[2:]
    problems = [p for library in libraries for p in check(nm, library)]
    print("\n".join(problems))
    print(f"{len(libraries)} pure libraries, {len(problems)} symbols that don't belong there")
    return 1 if problems or not libraries else 0


if __name__ == "__main__":
    sys.exit(main())
