#!/usr/bin/env bash
# Builds the programs for others: the same source gives the same bytes, whatever the folder and the user. They
# are in target/release, or in $CARGO_TARGET_DIR/release.
#
# With --check it builds twice, from two copies of the last commit in folders of different names, and fails if
# the programs differ.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

programs=(syncnet-server syncnet-client syncnet-admin)

# Builds the source in folder $1 into the folder $2. No path of this machine gets into the programs, neither
# from Rust nor from C, and no time.
build() {
    local source=$1 target=$2 home=${CARGO_HOME:-$HOME/.cargo} sysroot
    sysroot=$(rustc --print sysroot)
    (
        cd -- "$source"
        export RUSTFLAGS="--remap-path-prefix=$source=/syncnet --remap-path-prefix=$target=/target --remap-path-prefix=$home=/cargo --remap-path-prefix=$sysroot=/rust"
        export CFLAGS="-ffile-prefix-map=$source=/syncnet -ffile-prefix-map=$target=/target -ffile-prefix-map=$home=/cargo"
        SOURCE_DATE_EPOCH=$(git -C "$root" log -1 --format=%ct)
        export SOURCE_DATE_EPOCH
        CARGO_INCREMENTAL=0 cargo build --locked --quiet --release --bins --target-dir "$target"
    )
}

hashes() { (cd -- "$1/release" && sha256sum "${programs[@]}"); }

root=$PWD
if [ "${1:-}" != --check ]; then
    target=$(realpath -m -- "${CARGO_TARGET_DIR:-target}")
    build "$root" "$target"
    hashes "$target"
    exit
fi

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
for name in one another-folder; do
    mkdir -p "$work/$name/source"
    git archive HEAD | tar -x -C "$work/$name/source"
    build "$work/$name/source" "$work/$name/target"
    hashes "$work/$name/target" >"$work/$name.sha256"
done
if ! diff "$work/one.sha256" "$work/another-folder.sha256"; then
    printf 'build_release.sh: two builds of the same commit differ\n' >&2
    exit 1
fi
cat "$work/one.sha256"
printf 'Two builds of this commit are the same to the byte.\n'
