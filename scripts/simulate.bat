@echo off
rem Plays whole clusters from seeds (tests\simulation) and judges them.
rem
rem   simulate.bat [N] [FIRST]      N seeds from FIRST on                      [1000 1]
rem   simulate.bat --sqlite [N] [FIRST]   the same on the real SQLite storage   [40 1]
rem   simulate.bat --seed SEED      one seed, with everything that happens on standard error;
rem                              sqlite:42 is seed 42 on SQLite
rem   simulate.bat --traces      whether the seeds of tests\simulation\traces.txt are the same runs as ever;
rem                              with GOLDEN=write in the environment they are recorded anew
rem   simulate.bat --all            what CI runs: many seeds, the kept ones, and some twice
setlocal
cd /d "%~dp0.."
set "simulate=cargo test --locked --quiet --profile sim --test simulation -- --nocapture"
if "%~1"=="--seed" goto seed
if "%~1"=="--sqlite" goto sqlite
if "%~1"=="--traces" goto traces
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
%simulate% --exact one_seed --ignored
exit /b %errorlevel%

:sqlite
set "SYNCNET_SIM_ON_SQLITE=1"
set "SYNCNET_SIM_SEEDS=40"
set "SYNCNET_SIM_FIRST=1"
if not "%~2"=="" set "SYNCNET_SIM_SEEDS=%~2"
if not "%~3"=="" set "SYNCNET_SIM_FIRST=%~3"
%simulate% --exact many_seeds
exit /b %errorlevel%

:traces
%simulate% --exact traces_are_as_recorded --ignored
exit /b %errorlevel%

:all
set "SYNCNET_SIM_SEEDS=1000"
set "SYNCNET_SIM_TWICE=100"
set "SYNCNET_SIM_SQLITE=40"
%simulate%
exit /b %errorlevel%
