@echo off
rem The one check: format, lints, documentation and all tests. What cannot run on Windows is left out
rem by the tests themselves. test.sh is the fuller twin; it also asks the advisory database.
setlocal
cd /d "%~dp0.."
where cargo >nul 2>nul
if errorlevel 1 (
    echo test.bat: cargo is missing: install Rust from https://rustup.rs 1>&2
    exit /b 1
)
cargo fmt --check || exit /b 1
cargo clippy --locked --quiet --all-targets --all-features -- -D warnings || exit /b 1
set "RUSTDOCFLAGS=-D warnings"
cargo doc --locked --quiet --no-deps --lib --document-private-items || exit /b 1
set "RUSTDOCFLAGS="
cargo test --locked --all-features --lib --bins --test tidy || exit /b 1
if exist tests\simulation\main.rs (
    cargo test --locked --profile sim --features planted-bugs --test simulation || exit /b 1
)
if exist tests\cluster\main.rs (
    cargo test --locked --profile sim --test cluster || exit /b 1
)
cargo audit --version >nul 2>nul
if errorlevel 1 (
    echo NOT CHECKED: cargo-audit is not installed: cargo install --locked cargo-audit
) else (
    cargo audit --deny warnings || exit /b 1
)
