#!/bin/sh
# A peer behind the NAT at $GATEWAY: everything goes by it, then the call begins.
set -eu

ip route replace default via "$GATEWAY"
exec python3 /demo/call.py
