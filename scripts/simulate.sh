#!/usr/bin/env bash
# Plays whole clusters from seeds (tests/simulation) and judges them.
#
#   scripts/simulate.sh [N] [FIRST]      N seeds from FIRST on                      [1000 1]
#   scripts/simulate.sh --sqlite [N] [FIRST]   the same on the real SQLite storage          [40 1]
#   scripts/simulate.sh --seed SEED      one seed, with everything that happens on standard error
#   scripts/simulate.sh --seed SEED --bug NAME   the same with a planted bug
#   scripts/simulate.sh --hunt NAME      looks for a seed that catches a planted bug; "all" for each
#   scripts/simulate.sh --all            what CI runs: many seeds, the kept ones, all twice, planted bugs
#
# SYNCNET_SIM_THREADS sets how many runs go on at a time [2]. SYNCNET_SIM_HASHES=1 shows the hash of each run, to
# compare two versions of the product. Exit status 0: all went well.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

usage() {
    sed -n 's/^#   //p' "${BASH_SOURCE[0]}" >&2
    exit 2
}

is_number() { [[ $1 =~ ^[0-9]+$ ]]; }

# Runs the simulation's tests of these names.
simulate() {
    exec cargo test --locked --quiet --profile sim --features planted-bugs --test simulation -- --nocapture "$@"
}

case ${1:-} in
--seed)
    is_number "${2:-}" || usage
    export SYNCNET_SIM_SEED=$2 SYNCNET_SIM_TRACE=${SYNCNET_SIM_TRACE:-1}
    if [ "${3:-}" = --bug ]; then export SYNCNET_SIM_BUG=${4:?a bug is missing}; fi
    simulate --exact one_seed --ignored
    ;;
--hunt)
    export SYNCNET_SIM_BUG=${2:-all}
    simulate --exact bugs::hunt --ignored
    ;;
--sqlite)
    if ! is_number "${2:-40}" || ! is_number "${3:-1}"; then usage; fi
    # Seed 1000042 is seed 42 on SQLite (SQLITE_SEEDS in tests/simulation/scenario.rs).
    export SYNCNET_SIM_SEEDS=${2:-40} SYNCNET_SIM_FIRST=$((1000000 + 10#${3:-1}))
    simulate --exact many_seeds
    ;;
--all) simulate ;;
*)
    if ! is_number "${1:-1000}" || ! is_number "${2:-1}"; then usage; fi
    export SYNCNET_SIM_SEEDS=${1:-1000} SYNCNET_SIM_FIRST=${2:-1}
    simulate --exact many_seeds
    ;;
esac
