#!/bin/sh
# Measures how many events a second the gateway takes, beside what can be compared with it.
#
#   benches/throughput/run.sh [path of a binary built with --release --features bench]
#
# Without a path it builds one. Prints a Markdown table on stdout and its progress on stderr.
# Environment: DURATION (seconds a run, 6), ROUNDS (5), CONNECTIONS (64), THREADS (of wrk, 2),
# KEYS (1000), BENCH_DIR (where the databases live while it runs; target/bench).
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH='' cd -- "$here/../.." && pwd)
ensure=$root/tests/clients/ensure_package.sh

"$ensure" wrk command -v wrk >&2
"$ensure" prometheus-alertmanager command -v prometheus-alertmanager >&2
"$ensure" python3 command -v python3 >&2

if [ $# -ge 1 ]; then
    binary=$1
else
    echo "building the gateway with the feature bench" >&2
    (cd "$root" && cargo build --release --locked --features bench) >&2
    binary=${CARGO_TARGET_DIR:-$root/target}/release/dutygate
fi

# Not /tmp: where that is memory, a commit costs nothing and the figures mean nothing.
BENCH_DIR=${BENCH_DIR:-$root/target/bench}
export BENCH_DIR
exec python3 "$here/bench.py" "$(realpath "$binary")"
