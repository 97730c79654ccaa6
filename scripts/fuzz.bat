@echo off
rem Fuzzes the parsers that meet bytes from outside or from the disk (tests\fuzz).
rem
rem   fuzz.bat [RUNS]      changed examples of each target      [1000000]
rem
rem Without libFuzzer, which this script's twin builds: here the examples are changed at random, and nothing
rem follows the program's branches.
setlocal
cd /d "%~dp0.."
set "SYNCNET_FUZZ_RUNS=1000000"
if not "%~1"=="" set "SYNCNET_FUZZ_RUNS=%~1"
cargo test --locked --quiet --profile sim --test fuzz -- --nocapture
exit /b %errorlevel%
