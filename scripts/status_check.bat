@echo off
rem Shows the cluster: status_check.bat [once ^| watch ^| simple]. The default is once.
rem Exit status: 0 healthy, 1 degraded, 2 wrong usage, 3 no message can be taken. Settings: see common.bat.
setlocal
set "FORM="
if "%~1"=="" goto known
if "%~1"=="once" goto known
if "%~1"=="watch" set "FORM=--watch"
if "%~1"=="simple" set "FORM=--simple"
if not defined FORM (
    echo usage: status_check.bat [once ^| watch ^| simple] 1>&2
    exit /b 2
)
:known
call "%~dp0common.bat" find || exit /b 1
"%BIN%\syncnet-admin.exe" status %FORM% %ADMIN_CONFIG% %2 %3 %4 %5 %6 %7 %8 %9
exit /b %errorlevel%
