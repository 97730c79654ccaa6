#!/usr/bin/env bash
# Fuzzes the parsers that meet bytes from outside or from the disk (tests/fuzz), guided by coverage.
#
#   scripts/fuzz.sh [TARGET|all] [SECONDS]      [all 600]
#
# What it finds is written to run/fuzz/TARGET/, with the input that leads there. Needs a C++ compiler, for
# libFuzzer. scripts/test.sh runs a short pass of every target without it.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

targets=(line server_line http_head web_socket webhook datagram peer_frame stored_entry search)
target=${1:-all}
seconds=${2:-600}
[[ $seconds =~ ^[0-9]+$ ]] || { printf 'fuzz.sh: %s is no number of seconds\n' "$seconds" >&2; exit 2; }
command -v c++ >/dev/null || { printf 'fuzz.sh: a C++ compiler is missing (Debian: apt-get install g++)\n' >&2; exit 1; }

# Coverage by LLVM's own pass, which needs no other toolchain. Only with `--target` do the flags not apply to
# build scripts.
host=$(rustc -vV | sed -n 's/^host: //p')
flags="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
flags+=" -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
flags+=" -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing"
folder=$PWD/run/fuzz
RUSTFLAGS=$flags cargo build --quiet --release --target "$host" --target-dir "$folder/build" \
    --manifest-path tests/fuzz/libfuzzer/Cargo.toml

if [ "$target" != all ]; then targets=("$target"); fi
for target in "${targets[@]}"; do
    printf '=== %s for %s s\n' "$target" "$seconds"
    mkdir -p "$folder/$target/corpus"
    SYNCNET_FUZZ_TARGET=$target SYNCNET_FUZZ_EXAMPLES=$folder/$target/corpus \
        "$folder/build/$host/release/fuzz" "$folder/$target/corpus" -max_total_time="$seconds" -max_len=8192 \
        -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="$folder/$target/"
done
