#!/bin/bash
# What it costs to keep allocations in Redis, and what it brings: with ALLOCATIONS (5000) relaying allocations
#
#   cpu       CPU per relayed packet with redis-statedb against without, in turns (ROUNDS, 5); the ratio of the medians
#   memory    what Redis needs for an idle allocation
#   kill      kill -9 and restart: from the start of the process until all are restored, and all relay again
#   upgrade   turnctl upgrade under load: packets lost
#   away      Redis stopped for AWAY (60) seconds under load: packets and allocations lost
#
#     state.sh [PART...]
#
# Environment: PINHOLE_BUILD (a release build), ALLOCATIONS, RATE (packets a second of each, 2), ROUNDS, AWAY.
. "$(dirname "$0")/../interop/lib.sh"
isolate 900 "$@"
need redis-server redis-cli taskset python3

: "${ALLOCATIONS:=5000}" "${RATE:=2}" "${ROUNDS:=5}" "${AWAY:=60}"
[ $# -gt 0 ] || set -- cpu memory kill upgrade away
TURNLOAD=$PINHOLE_BUILD/bin/turnload TURNCTL=$PINHOLE_BUILD/bin/turnctl
readonly REDIS=$T/redis.sock
STATE=(--redis-statedb "unix:$REDIS" --fleet-key "a key for the bench" --node-id bench)

redis() { redis-cli -s "$REDIS" "$@"; }
redis_up() {
    start redis redis-server --port 0 --unixsocket "$REDIS" --save '' --appendonly no --dir "$T"
    wait_for 10 "Redis" redis ping
}

# up OPTION...: turnd on its own CPU.
up() {
    start turnd taskset -c 1 "$TURND" -n -L 127.0.0.1 -E 127.0.0.1 -a -u user:pass -r test --no-tls --no-dtls \
        --allow-loopback-peers -m 1 --min-port 20000 --max-port 60000 --api-socket "$T/api.sock" \
        --log-level info "$@"
    wait_for 20 "turnd" grep -q 'is ready' "$T/turnd.log"
}

# load NAME SECONDS [OPTION...]: in the background, on the other CPU.
load() {
    local name=$1 seconds=$2
    shift 2
    start "$name" taskset -c 0 "$TURNLOAD" -n "$ALLOCATIONS" -r "$RATE" --setup-rate 2500 -t "$seconds" --user user \
        --pass pass --json --max-loss 100 "$@" 127.0.0.1:3478
}
# finish NAME: a load must come to its end with all its allocations.
finish() {
    wait "${PID[$1]}" || { tail -n 5 "$T/$1.log"; fail "the load $1"; }
}
value() { # LOG EXPRESSION of r
    python3 -c 'import json, sys
text = open(sys.argv[1]).read()
r = json.loads(text[text.index("{"):text.rindex("}") + 1])
print(eval(sys.argv[2]))' "$T/$1.log" "$2"
}
sessions() { "$TURNCTL" -s "$T/api.sock" --json status | python3 -c 'import json, sys; print(int(json.load(sys.stdin)["allocations"]["total"]))'; }
all_up() { [ "$(sessions)" = "$ALLOCATIONS" ]; }
# The hash has a field of its own beside the records.
stored() { [ "$(redis hlen '{pinhole:bench}:alloc')" = $((${1:-$ALLOCATIONS} + 1)) ]; }

cpu() {
    local round way
    for ((round = 0; round < ROUNDS; round++)); do
        for way in memory redis; do
            if [ $way = redis ]; then up "${STATE[@]}"; else up; fi
            load "$way" 8 --server-pid "${PID[turnd]}"
            finish "$way"
            value "$way" 'r["cost"]["cpu_us_per_packet"]' >>"$T/cpu.$way"
            stop turnd
            redis flushall >/dev/null
        done
    done
    python3 - "$T/cpu.memory" "$T/cpu.redis" <<'PY'
import statistics, sys
v = [sorted(float(x) for x in open(f)) for f in sys.argv[1:]]
m = [statistics.median(x) for x in v]
print(f"cpu      memory {m[0]:.3f} us/packet ({v[0][0]:.3f}-{v[0][-1]:.3f}), Redis {m[1]:.3f} ({v[1][0]:.3f}-{v[1][-1]:.3f}): ratio {m[1] / m[0]:.3f}")
PY
}

memory() {
    local before after
    before=$(redis info memory | tr -d '\r' | sed -n 's/^used_memory://p')
    up "${STATE[@]}"
    start idle taskset -c 0 "$TURNLOAD" --idle "$ALLOCATIONS" --setup-rate 2500 --hold 8 --user user --pass pass --json 127.0.0.1:3478
    wait_for 20 "all allocations" all_up
    wait_for 20 "all records" stored
    after=$(redis info memory | tr -d '\r' | sed -n 's/^used_memory://p')
    echo "memory   $(((after - before) / ALLOCATIONS)) bytes of Redis for each of $ALLOCATIONS idle allocations"
    finish idle
    wait_for 20 "no record" stored 0
    stop turnd
}

kill_it() {
    local at first
    up "${STATE[@]}"
    load kill 16
    wait_for 20 "all allocations" all_up
    wait_for 20 "all records" stored
    sleep 3
    kill -KILL "${PID[turnd]}"
    ! wait "${PID[turnd]}" 2>/dev/null || fail "turnd ended well, though it was killed"
    at=${EPOCHREALTIME/[.,]/}
    up "${STATE[@]}"
    first=$(((${EPOCHREALTIME/[.,]/} - at) / 1000))
    grep 'restored' "$T/turnd.log" | tail -1
    python3 - "$TURNCTL" "$T/api.sock" "$ALLOCATIONS" "$at" <<'PY'
import json, subprocess, sys, time
# An allocation relays once it has counted a packet from its client since the restart; they send RATE a second.
turnctl, sock, n, at = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]) / 1e6
first = None
while time.time() < at + 10:
    s = json.loads(subprocess.run([turnctl, "-s", sock, "--json", "status"], capture_output=True).stdout)
    if s["allocations"]["total"] >= n:
        print(f"kill     {int(s['allocations']['total'])} restored, told {1000 * (time.time() - at):.0f} ms after the start of the process")
        break
PY
    finish kill
    echo "         ready after $first ms; the load: $(value kill 'r["packets"]') $(value kill 'r["allocations"]')"
    stop turnd
    redis flushall >/dev/null
}

upgrade() {
    up "${STATE[@]}"
    load upgrade 14
    wait_for 20 "all allocations" all_up
    sleep 2
    echo "upgrade  $("$TURNCTL" -s "$T/api.sock" upgrade | tail -1)"
    finish upgrade
    echo "         the load: $(value upgrade 'r["packets"]') $(value upgrade 'r["allocations"]')"
    stop turnd
    redis flushall >/dev/null
}

away() {
    up "${STATE[@]}"
    load away $((AWAY + 15))
    wait_for 20 "all allocations" all_up
    sleep 3
    kill "${PID[redis]}"
    wait "${PID[redis]}" || fail "Redis did not end cleanly"
    sleep "$AWAY"
    redis_up
    wait_for 15 "everything to be written again" stored
    finish away
    echo "away     Redis was gone for $AWAY s: $(value away 'r["packets"]') $(value away 'r["allocations"]')"
    stop turnd
    redis flushall >/dev/null
}

redis_up
for part; do
    if [ "$part" = kill ]; then kill_it; else "$part"; fi
done
