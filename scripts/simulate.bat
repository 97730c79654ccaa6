@echo off
rem Plays whole clusters from seeds (tests\simulation) and judges them.
rem
rem   simulate.bat [N] [FIRST]      N seeds from FIRST on                      [1000 1]
rem   simulate.bat --sqlite [N] [FIRST]   the same on the real SQLite storage   [40 1]
rem   simulate.bat --seed SEED      one seed, with everything that happens on standard error
rem   simulate.bat --seed SEED --bug NAME   the same with a planted bug
rem   simulate.bat --hunt NAME      looks for a seed that catches a planted bug; "all" for each
rem   simulate.bat --all            what CI runs: many seeds, the kept ones, all twice, planted bugs
setlocal
cd /d "%~dp0.."
set "simulate=cargo test --locked --quiet --profile sim --features planted-bugs --test simulation -- --nocapture"
if "%~1"=="--seed" goto seed
if "%~1"=="--hunt" goto hunt
if "%~1"=="--sqlite" goto sqlite
if "%~1"=="--all" goto all
set "SYNCNET_SIM_SEEDS=1000"
set "SYNCNET_SIM_FIRST=1"
if not "%~1"=="" set "SYNCNET_SIM_SEEDS=%~1"
if not "%~2"=="" set "SYNCNET_SIM_FIRST=%~2"
%simulate% --exact many_seeds
exit /b %errorlevel%

:seed
if "%~2"=="" (
    echo simulate.bat: --seed needs a number 1>&2
    exit /b 2
)
set "SYNCNET_SIM_SEED=%~2"
if not defined SYNCNET_SIM_TRACE set "SYNCNET_SIM_TRACE=1"
if "%~3"=="--bug" set "SYNCNET_SIM_BUG=%~4"
%simulate% --exact one_seed --ignored
exit /b %errorlevel%

:sqlite
rem Seed 1000042 is seed 42 on SQLite (SQLITE_SEEDS in tests\simulation\scenario.rs).
set "SYNCNET_SIM_SEEDS=40"
set /a SYNCNET_SIM_FIRST=1000001
if not "%~2"=="" set "SYNCNET_SIM_SEEDS=%~2"
if not "%~3"=="" set /a SYNCNET_SIM_FIRST=1000000+%~3
%simulate% --exact many_seeds
exit /b %errorlevel%

:hunt
set "SYNCNET_SIM_BUG=all"
if not "%~2"=="" set "SYNCNET_SIM_BUG=%~2"
%simulate% --exact bugs::hunt --ignored
exit /b %errorlevel%

:all
%simulate%
exit /b %errorlevel%
