@echo off
rem Shows what SyncNet does when things go wrong, told step by step:
rem
rem   demo_scenarios.bat [all ^| leader ^| rolling ^| client]
rem
rem It plays on the cluster of this folder: it starts one, opens two clients in windows of their own, and waits for
rem a key before each step, so that you can write in them. demo_scenarios.sh also checks what it shows.
setlocal
set "WHAT=%~1"
if not defined WHAT set "WHAT=all"
set "KNOWN="
for %%W in (all leader rolling client) do if "%WHAT%"=="%%W" set "KNOWN=yes"
if not defined KNOWN (
    echo usage: demo_scenarios.bat [all ^| leader ^| rolling ^| client] 1>&2
    exit /b 2
)
if defined SYNCNET_CONFIG (
    echo demo_scenarios.bat plays on the default ports; unset SYNCNET_CONFIG first 1>&2
    exit /b 2
)
call "%~dp0start_all_servers.bat" || exit /b 1
call "%~dp0common.bat" find || exit /b 1
start "alice" "%BIN%\syncnet-client.exe" --server-host localhost --server-port 8000 --user alice --room demo
start "bob" "%BIN%\syncnet-client.exe" --server-host localhost --server-port 8001 --user bob --room demo
echo.
echo alice and bob sit in windows of their own. Write something in each.
pause

if "%WHAT%"=="leader" call :leader
if "%WHAT%"=="rolling" call :rolling
if "%WHAT%"=="client" call :client
if "%WHAT%"=="all" (
    call :leader
    call :rolling
    call :client
)
echo.
echo The end. The servers stop when you press a key.
pause
call "%~dp0stop_all_servers.bat"
exit /b 0

:leader
set "VICTIM="
for /f "tokens=*" %%L in ('call "%BIN%\syncnet-admin.exe" status --simple') do call :find_leader %%L
if not defined VICTIM (
    echo There is no leader; see scripts\status_check.bat.
    exit /b 1
)
echo.
echo === %VICTIM% leads. It is killed when you press a key; write on in both windows.
pause
call :crash %VICTIM%
echo Another server leads now:
ping -n 3 127.0.0.1 >nul
"%BIN%\syncnet-admin.exe" status
echo %VICTIM% comes back when you press a key.
pause
call "%~dp0common.bat" background %VICTIM%
call "%~dp0common.bat" healthy
"%BIN%\syncnet-admin.exe" status
exit /b 0

rem Of "VERDICT servers=3/3 leader=server3 ...": cmd takes = for a space, so the leader follows its name.
:find_leader
if "%~1"=="" exit /b 0
if "%~1"=="leader" set "VICTIM=%~2"
shift
goto find_leader

:rolling
echo.
echo === Every server is stopped and started again, one after the other; write on in both windows.
pause
for %%N in (server1 server2 server3) do (
    echo %%N is restarted.
    call "%~dp0common.bat" stop %%N
    call "%~dp0common.bat" background %%N
    call "%~dp0common.bat" healthy
)
"%BIN%\syncnet-admin.exe" status
exit /b 0

:client
echo.
echo === alice is connected to server1, if it was not restarted. It is killed when you press a key.
pause
call :crash server1
echo Write on. server1 comes back when you press a key.
pause
call "%~dp0common.bat" background server1
call "%~dp0common.bat" healthy
exit /b 0

:crash
call "%~dp0common.bat" running %1
if not errorlevel 1 taskkill /F /PID %PID% >nul
exit /b 0
