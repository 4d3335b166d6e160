#!/usr/bin/env python3
"""Print what a URL gives, as the tests need nothing more of an HTTP client."""
import sys
import urllib.request

sys.stdout.write(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())
