#!/usr/bin/env bash
# Puts known bugs into the product, one at a time, and sees that the tests notice each.
#
#   scripts/mutants.sh NAME...           these: tests/mutants/NAME.patch
#   scripts/mutants.sh --all             each of them; takes about an hour
#   scripts/mutants.sh --chosen COMMIT N   N of them; the commit decides which
#   scripts/mutants.sh --check           whether every patch still applies and names tests that are there; builds nothing
#   scripts/mutants.sh --hunt NAME [N]   which promises the first N seeds of each kind find broken   [40]
#
# A patch begins with words that say what goes wrong, and with a line for each way in which it is noticed:
#
#   Caught-by: simulation seed 4 breaks OneOrder
#   Caught-by: cargo test --lib chat::tests::model::random_commands_do_what_the_model_says
#
# Seeds and tests are some that pass without the bug, so a failure is the bug's. Bugs are built in a worktree of
# their own, target/mutants/tree, from the files that git knows here, uncommitted changes included; the build
# is kept. Exit status 0: each was caught.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

root=$PWD
tree=$root/target/mutants/tree
output=$root/target/mutants/output.txt
# Never a folder of other builds, not even for the dependencies: cargo gives builds of both trees the same
# names, and would take a build with a bug for one without.
export CARGO_TARGET_DIR=$root/target/mutants/build
# How long one test may take, its build included.
seconds_max=1800

usage() {
    sed -n 's/^#   scripts/  scripts/p' "${BASH_SOURCE[0]}" >&2
    exit 2
}

fail() {
    printf 'mutants.sh: %s\n' "$1" >&2
    exit 1
}

is_number() { [[ $1 =~ ^[0-9]+$ ]]; }

patch_of() { printf '%s/tests/mutants/%s.patch' "$root" "$1"; }

all() {
    local path
    for path in tests/mutants/*.patch; do basename "$path" .patch; done
}

# N names of all, in an order that follows from the commit's hash.
chosen() {
    local commit name
    commit=$(git rev-parse --verify "$1^{commit}")
    for name in $(all); do
        printf '%s %s\n' "$(printf '%s %s' "$commit" "$name" | git hash-object --stdin)" "$name"
    done | sort | head -n "$2" | cut -d ' ' -f 2
}

# Code next to a change may move; one line of it on each side must still be there.
apply() { git -C "$1" apply -C1 "${@:3}" "$(patch_of "$2")"; }

check() {
    local name broken=0
    for name in $(all); do
        if ! apply "$root" "$name" --check; then
            printf 'mutants.sh: %s does not apply\n' "$name" >&2
            broken=1
        fi
        if ! names_tests "$name"; then broken=1; fi
    done
    return "$broken"
}

# Whether the tests that should catch a bug are where it says: a test that moved would be no test.
names_tests() {
    local path test module missing=0
    while IFS= read -r path; do
        test=${path##*::} module=${path%::*}
        module=${module%::tests}
        module=${module##*::}
        # One that stands in no module may be in any file.
        [ "$module" != "$test" ] || module=
        if ! grep -rl --include='*.rs' "fn $test()" src tests | grep -qE "/${module:-.*}(\.rs|/)"; then
            printf 'mutants.sh: %s: there is no test %s\n' "$1" "$path" >&2
            missing=1
        fi
    done < <(sed -nE 's/^Caught-by: cargo test (--lib|--test [a-z_]+) //p' "$(patch_of "$1")")
    return "$missing"
}

make_tree() {
    local commit
    mkdir -p "$root/target/mutants"
    git worktree prune
    [ ! -e "$tree" ] || fail "$tree is there: another run goes on, or was killed; git worktree remove --force $tree"
    # A commit of the files as they are, without a branch; nothing if they are as committed.
    commit=$(git stash create)
    git worktree add --quiet --detach "$tree" "${commit:-HEAD}"
    trap remove_tree EXIT
}

remove_tree() { git worktree remove --force "$tree"; }

# Runs `cargo test` in the tree; its output is in $output.
in_tree() { (cd "$tree" && timeout --foreground "$seconds_max" cargo test --locked --quiet "$@") >"$output" 2>&1; }

simulate() {
    in_tree --test simulation -- --nocapture --exact "$@"
}

# Runs what should catch the bug; prints "caught", or what happened instead.
verdict() {
    local status=0 promise
    if [[ $1 =~ ^simulation\ seed\ ([a-z:0-9]+)\ breaks\ ([A-Za-z]+)$ ]]; then
        promise=${BASH_REMATCH[2]}
        SYNCNET_SIM_SEED=${BASH_REMATCH[1]} simulate one_seed --ignored || status=$?
        if grep -q "at [0-9]* ms, $promise: " "$output"; then printf 'caught'; return; fi
        if grep -q "at [0-9]* ms, " "$output"; then
            printf 'not as said, but as %s' "$(sed -n 's/.*at [0-9]* ms, \([A-Za-z]*\): .*/\1/p' "$output" | head -n 1)"
            return
        fi
    elif [[ $1 =~ ^cargo\ test\ (--lib|--test\ [a-z_]+)\ ([A-Za-z0-9_:]+)$ ]]; then
        # shellcheck disable=SC2086  # Two words.
        in_tree ${BASH_REMATCH[1]} -- --exact "${BASH_REMATCH[2]}" || status=$?
        if grep -q "^test result: FAILED. 0 passed; 1 failed" "$output"; then printf 'caught'; return; fi
    else
        printf 'nothing that can be run: %s' "$1"
        return
    fi
    if [ "$status" = 0 ] && grep -q "^test result: ok. 1 passed" "$output"; then printf 'MISSED'; return; fi
    printf 'no test was run, or it did not end:\n%s' "$(tail -n 20 "$output")"
}

# Puts the bug in, runs what should catch it, takes it out again.
try() {
    local name=$1 began=$SECONDS how said caught=0
    apply "$tree" "$name" || { printf '%s: the patch does not apply\n' "$name"; return 1; }
    while IFS= read -r how; do
        said=$(verdict "$how")
        printf '%s: %s: %s (%d s)\n' "$name" "$how" "$said" "$((SECONDS - began))"
        [ "$said" = caught ] || caught=1
    done < <(sed -n 's/^Caught-by: //p' "$(patch_of "$name")")
    git -C "$tree" reset --quiet --hard
    return "$caught"
}

try_all() {
    local name failed=()
    [ $# -gt 0 ] || usage
    for name in "$@"; do
        [ -e "$(patch_of "$name")" ] || fail "there is no $(patch_of "$name")"
    done
    make_tree
    for name in "$@"; do try "$name" || failed+=("$name"); done
    [ ${#failed[@]} = 0 ] || fail "not caught: ${failed[*]}; another seed? scripts/mutants.sh --hunt NAME"
    printf '%d caught\n' $#
}

# Plays the first seeds with the bug in, and says what each finds broken.
hunt() {
    make_tree
    apply "$tree" "$1"
    SYNCNET_SIM_SEEDS=$2 SYNCNET_SIM_MEMBERS=$2 simulate many_seeds members::seeds_whose_servers_change || true
    sed -n 's/^seed \([a-z:0-9]*\) failed at \([0-9]*\) ms, \([A-Za-z]*\): .*/simulation seed \1 breaks \3 (at \2 ms)/p' \
        "$output" | sort -n -k 3
    grep "^test result" "$output" || tail -n 20 "$output"
}

case ${1:-} in
--all) mapfile -t names < <(all); try_all "${names[@]}" ;;
--chosen)
    is_number "${3:-}" || usage
    mapfile -t names < <(chosen "$2" "$3")
    try_all "${names[@]}"
    ;;
--check) check ;;
--hunt)
    [ -e "$(patch_of "${2:-}")" ] && is_number "${3:-40}" || usage
    hunt "$2" "${3:-40}"
    ;;
"" | -*) usage ;;
*) try_all "$@" ;;
esac
