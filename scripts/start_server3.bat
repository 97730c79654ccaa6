@echo off
rem Builds SyncNet and runs server3 in this window; with --background as first argument, in one of its own.
rem Other arguments go to the server, such as --log-level debug. Settings: see common.bat.
setlocal
call "%~dp0common.bat" build || exit /b 1
call "%~dp0common.bat" prepare || exit /b 1
if "%~1"=="--background" (
    call "%~dp0common.bat" background server3 %*
) else (
    call "%~dp0common.bat" foreground server3 %*
)
exit /b %errorlevel%
