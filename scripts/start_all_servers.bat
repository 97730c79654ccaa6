@echo off
rem Builds SyncNet and starts a cluster of three servers in the background, until it is ready to chat. Servers that
rem run already go on, and only the others are started, with the programs as they are.
rem Arguments go to each server that is started, such as --log-level debug. Settings: see common.bat. Stop it with
rem stop_all_servers.bat.
setlocal
set "RAN="
set "MISSING="
for %%N in (server1 server2 server3) do call :look %%N
if defined RAN (
    call "%~dp0common.bat" find || exit /b 1
) else (
    call "%~dp0common.bat" build || exit /b 1
    call "%~dp0common.bat" strangers || exit /b 1
)
call "%~dp0common.bat" prepare || exit /b 1
for %%N in (%MISSING%) do (
    call "%~dp0common.bat" background %%N %* || goto failed
)
call "%~dp0common.bat" healthy || goto failed
echo SyncNet is ready.
echo.
"%BIN%\syncnet-admin.exe" status %ADMIN_CONFIG%
echo.
if not defined SYNCNET_CONFIG (
    echo Chat, in two terminals:
    echo   %BIN%\syncnet-client.exe --server-host localhost --server-port 8000 --user alice --room lobby
    echo   %BIN%\syncnet-client.exe --server-host localhost --server-port 8001 --user bob --room lobby
)
echo Logs:    %SYNCNET_LOG_DIR%\server_server1.log and the others
echo Status:  scripts\status_check.bat
echo Stop:    scripts\stop_all_servers.bat
exit /b 0

:failed
echo The servers that this has started are stopped.
for %%N in (%MISSING%) do call "%~dp0common.bat" stop %%N
exit /b 1

:look
call "%~dp0common.bat" running %1
if errorlevel 1 (
    set "MISSING=%MISSING% %1"
) else (
    set "RAN=yes"
    call echo %1 runs already as process %%PID%%.
)
exit /b 0
