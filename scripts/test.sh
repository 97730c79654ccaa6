#!/usr/bin/env bash
# The one check, the same everywhere: format, lints, documentation, advisories, and all tests.
#
# Exit status 0 means that everything here was seen to hold. A missing tool is a failure where CI=true is
# set; elsewhere it is said and passed over.
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

ci=${CI:-false}
began=$SECONDS

step() { printf '\n=== %s (at %d s)\n' "$1" "$((SECONDS - began))"; }

# Ends the run under CI, warns elsewhere.
missing() {
    if [ "$ci" = true ]; then
        printf 'test.sh: %s\n' "$1" >&2
        exit 1
    fi
    printf '!!! PASSED OVER: %s\n' "$1" >&2
}

# Checks the dependencies against the advisory database. The exceptions and their reasons are in
# .cargo/audit.toml.
audit() {
    local database=https://github.com/RustSec/advisory-db
    if ! GIT_TERMINAL_PROMPT=0 timeout 30 git ls-remote --quiet "$database" HEAD >/dev/null 2>&1; then
        # A machine without the internet cannot ask; this is no fault of the tree, so it does not fail it.
        printf '!!! NOT CHECKED: the advisory database %s cannot be reached from here;\n' "$database" >&2
        printf '!!! run "cargo audit" on a machine that reaches it.\n' >&2
        return
    fi
    if ! cargo audit --version >/dev/null 2>&1; then
        if [ "$ci" = true ]; then timeout 600 cargo install --quiet --locked cargo-audit || true; fi
        if ! cargo audit --version >/dev/null 2>&1; then
            missing "cargo-audit is not installed: cargo install --locked cargo-audit"
            return
        fi
    fi
    cargo audit --deny warnings
}

# Every integration test that is not run in a step of its own below.
other_tests() {
    local path name
    for path in tests/*.rs tests/*/main.rs; do
        [ -e "$path" ] || continue
        name=${path#tests/}
        name=${name%/main.rs}
        name=${name%.rs}
        case $name in
        simulation | cluster) ;;
        *) printf -- '--test\n%s\n' "$name" ;;
        esac
    done
}

command -v cargo >/dev/null || { printf 'test.sh: cargo is missing: install Rust from https://rustup.rs\n' >&2; exit 1; }

step "Format"
if cargo fmt --version >/dev/null 2>&1; then cargo fmt --check; else missing "rustfmt is not installed"; fi

step "Lints"
if cargo clippy --version >/dev/null 2>&1; then
    cargo clippy --locked --quiet --all-targets --all-features -- -D warnings
    # Without the planted bugs too: that is the code that is shipped.
    cargo clippy --locked --quiet --lib --bins -- -D warnings
else
    missing "clippy is not installed"
fi

step "Documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --locked --quiet --no-deps --lib --document-private-items

step "Advisories"
audit

step "Scripts"
for script in scripts/*.sh .ci/run; do bash -n "$script"; done
if command -v shellcheck >/dev/null; then shellcheck -x -P SCRIPTDIR scripts/*.sh .ci/run; fi

step "Unit and integration tests"
mapfile -t others < <(other_tests)
cargo test --locked --all-features --lib --bins "${others[@]}"
cargo test --locked --all-features --doc

if [ -e tests/simulation/main.rs ]; then
    step "Simulation"
    cargo test --locked --profile sim --features planted-bugs --test simulation
fi

if [ -e tests/cluster/main.rs ]; then
    step "Real processes"
    # The programs that are shipped: no planted bugs in them.
    cargo test --locked --profile sim --test cluster
fi
