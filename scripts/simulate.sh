#!/usr/bin/env bash
# Plays whole clusters from seeds (tests/simulation) and judges them.
#
#   scripts/simulate.sh [N] [FIRST]      N seeds from FIRST on                      [1000 1]
#   scripts/simulate.sh --sqlite [N] [FIRST]   the same on the real SQLite storage          [40 1]
#   scripts/simulate.sh --members [N] [FIRST]   N seeds in which an operator changes the servers   [40 1]
#   scripts/simulate.sh --seed SEED      one seed, with everything that happens on standard error;
#                                     sqlite:42 is seed 42 on SQLite, members:42 one whose servers change
#   scripts/simulate.sh --traces      whether the seeds of tests/simulation/traces.txt are the same runs as ever;
#                                     with GOLDEN=write in the environment they are recorded anew
#   scripts/simulate.sh --all            what CI runs: many seeds, the kept ones, and some twice
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
    exec cargo test --locked --quiet --profile sim --test simulation -- --nocapture "$@"
}

case ${1:-} in
--seed)
    [[ ${2:-} =~ ^((sqlite|members):)?[0-9]+$ ]] || usage
    export SYNCNET_SIM_SEED=$2 SYNCNET_SIM_TRACE=${SYNCNET_SIM_TRACE:-1}
    simulate --exact one_seed --ignored
    ;;
--sqlite)
    if ! is_number "${2:-40}" || ! is_number "${3:-1}"; then usage; fi
    export SYNCNET_SIM_SEEDS=${2:-40} SYNCNET_SIM_FIRST=${3:-1} SYNCNET_SIM_ON_SQLITE=1
    simulate --exact many_seeds
    ;;
--members)
    if ! is_number "${2:-40}" || ! is_number "${3:-1}"; then usage; fi
    export SYNCNET_SIM_MEMBERS=${2:-40} SYNCNET_SIM_FIRST=${3:-1}
    simulate --exact members::seeds_whose_servers_change
    ;;
--traces) simulate --exact traces_are_as_recorded --ignored ;;
--all)
    export SYNCNET_SIM_SEEDS=1000 SYNCNET_SIM_TWICE=100 SYNCNET_SIM_SQLITE=40 SYNCNET_SIM_MEMBERS=40
    simulate
    ;;
*)
    if ! is_number "${1:-1000}" || ! is_number "${2:-1}"; then usage; fi
    export SYNCNET_SIM_SEEDS=${1:-1000} SYNCNET_SIM_FIRST=${2:-1}
    simulate --exact many_seeds
    ;;
esac
