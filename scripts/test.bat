@echo off
rem The one check: format, lints, documentation and all tests. What cannot run on Windows is left out
rem by the tests themselves. test.sh is the fuller twin; it also asks the advisory database.
setlocal enabledelayedexpansion
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
rem Every integration test that is not run in a step of its own below.
set "OTHERS="
for %%F in (tests\*.rs) do set "OTHERS=!OTHERS! --test %%~nF"
for /d %%D in (tests\*) do (
    if exist "%%D\main.rs" if not "%%~nxD"=="simulation" if not "%%~nxD"=="cluster" set "OTHERS=!OTHERS! --test %%~nxD"
)
cargo test --locked --all-features --lib --bins %OTHERS% || exit /b 1
cargo test --locked --all-features --doc || exit /b 1
if exist tests\simulation\main.rs (
    call scripts\simulate.bat --all || exit /b 1
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
cargo deny --version >nul 2>nul
if errorlevel 1 (
    echo NOT CHECKED: cargo-deny is not installed: cargo install --locked cargo-deny
) else (
    cargo deny check bans licenses sources || exit /b 1
)
