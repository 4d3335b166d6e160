#!/bin/bash
# CPU per relayed packet over TCP, TLS and DTLS: turnd against Debian's coturn, in turns on one
# machine. Each server starts afresh for each run, on its own CPU, with the generator on another;
# what counts is the ratio of the medians. By default more is offered than either can take: below that a
# server is woken for nearly every packet, and most of what is measured is the kernel's waking.
#
#     stream.sh [ROUNDS [SECONDS [TRANSPORT...]]]
#
# Environment: PINHOLE_BUILD (a release build), RATE (packets a second of a flow), FLOWS, BURST,
# PAYLOAD.
. "$(dirname "$0")/../interop/lib.sh"
isolate 900 "$@"
need turnserver openssl taskset

readonly ROUNDS=${1:-5} SECONDS_EACH=${2:-2}
shift $(($# < 2 ? $# : 2))
[ $# -gt 0 ] || set -- tcp tls dtls
: "${RATE:=40000}" "${FLOWS:=10}" "${BURST:=1}" "${PAYLOAD:=160}"
readonly ARGS=(-L 127.0.0.1 -E 127.0.0.1 -p 3478 --tls-listening-port 5349 -a -u user:pass -r test
    --cert "$T/cert.pem" --pkey "$T/key.pem" --allow-loopback-peers -m 1)

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
    -keyout "$T/key.pem" -out "$T/cert.pem" 2>/dev/null

# one SERVER TRANSPORT: a line of JSON in $T/load.json.
one() {
    local server=$1 transport=$2 port=3478 program=$TURND options=(-n)
    case $transport in tls | dtls) port=5349 ;; esac
    if [ "$server" = coturn ]; then
        program=turnserver
        options=(-n --no-cli --log-file "$T/coturn.out" --no-stdout-log)
    fi
    start "$server" taskset -c 1 "$program" "${options[@]}" "${ARGS[@]}"
    wait_for 10 "$server" udp_bound_here 127.0.0.1 3478
    sleep 0.3
    taskset -c 0 "$PINHOLE_BUILD/bin/turnload" -n "$FLOWS" -r "$RATE" -l "$PAYLOAD" --burst "$BURST" --spin \
        -t "$SECONDS_EACH" --transport "$transport" --user user --pass pass --json --max-loss 100 \
        --server-pid "${PID[$server]}" "127.0.0.1:$port" >"$T/load.json" 2>"$T/load.err" ||
        { cat "$T/load.json" "$T/load.err"; fail "$server over $transport"; }
    stop "$server"
}

udp_bound_here() { ss -Hnul | awk -v want="$1:$2" '$4 == want { found = 1 } END { exit !found }'; }

for transport; do
    for ((round = 0; round < ROUNDS; round++)); do
        for server in coturn turnd; do
            one "$server" "$transport"
            printf '%s %s ' "$transport" "$server" >>"$T/results"
            tr -d '\n' <"$T/load.json" >>"$T/results"
            echo >>"$T/results"
        done
    done
done
python3 - "$T/results" <<'PY'
import json, statistics, sys
runs = {}
for line in open(sys.argv[1]):
    transport, server, text = line.split(" ", 2)
    runs.setdefault(transport, {}).setdefault(server, []).append(json.loads(text))
print("| transport | coturn us/packet | turnd us/packet | ratio | lost % (coturn, turnd) |\n|---|---|---|---|---|")
for transport, by in runs.items():
    cpu = {s: [r["cost"]["cpu_us_per_packet"] for r in v] for s, v in by.items()}
    lost = [statistics.mean(r["packets"]["loss_percent"] for r in by[s]) for s in ("coturn", "turnd")]
    mid = {s: statistics.median(v) for s, v in cpu.items()}
    show = lambda s: f"{mid[s]:.2f} ({min(cpu[s]):.2f}-{max(cpu[s]):.2f})"
    print(f"| {transport} | {show('coturn')} | {show('turnd')} | {mid['turnd'] / mid['coturn']:.2f} | "
          f"{lost[0]:.2f}, {lost[1]:.2f} |")
PY
