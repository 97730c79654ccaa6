#!/usr/bin/env bash
# Upgrades a cluster of real processes from one version of the program to another, one server at a time, under load.
#
#   scripts/test_upgrade.sh            from these files to a version made up for the test (tests/upgrade/next.patch)
#   scripts/test_upgrade.sh COMMIT     from the program of an earlier commit to these files
#
# The other program is built in a worktree, target/upgrade/tree; its build is kept.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

root=$PWD
tree=$root/target/upgrade/tree
build=$root/target/upgrade/build

fail() {
    printf 'test_upgrade.sh: %s\n' "$1" >&2
    exit 1
}

# A worktree of a commit.
make_tree() {
    mkdir -p "$root/target/upgrade"
    git worktree prune
    [ ! -e "$tree" ] || fail "$tree is there: another run goes on, or was killed; git worktree remove --force $tree"
    git worktree add --quiet --detach "$tree" "$1"
    trap 'git worktree remove --force "$tree"' EXIT
}

case $# in
0)
    # The files as they are; nothing if they are as committed.
    commit=$(git stash create)
    make_tree "${commit:-HEAD}"
    git -C "$tree" apply -C1 "$root/tests/upgrade/next.patch" || fail "tests/upgrade/next.patch does not apply any more"
    ;;
1) make_tree "$(git rev-parse --verify --quiet "$1^{commit}" || fail "there is no commit $1")" ;;
*)
    sed -n 's/^#   scripts/  scripts/p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac

printf 'Building the other program in %s.\n' "$tree"
(cd "$tree" && CARGO_TARGET_DIR=$build cargo build --locked --quiet --profile sim --bin syncnet-server)
cargo build --locked --quiet --profile sim --bin syncnet-server
this=$root/target/sim/syncnet-server other=$build/sim/syncnet-server
if [ $# = 0 ]; then
    export SYNCNET_EARLIER_SERVER=$this SYNCNET_LATER_SERVER=$other
else
    export SYNCNET_EARLIER_SERVER=$other SYNCNET_LATER_SERVER=$this
fi
cargo test --locked --quiet --profile sim --test cluster -- --ignored upgrade::
