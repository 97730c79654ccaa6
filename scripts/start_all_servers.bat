@echo off
rem Builds SyncNet and starts a cluster of three servers in the background, until it is ready to chat.
rem Settings: see common.bat. Stop it with stop_all_servers.bat.
setlocal
call "%~dp0common.bat" build || exit /b 1
rem A cluster that answers already would be taken for this one.
"%BIN%\syncnet-admin.exe" status --simple %ADMIN_CONFIG% | find "servers=0/" >nul
if errorlevel 1 (
    echo Somebody answers on these ports already; scripts\stop_all_servers.bat stops what was started here. 1>&2
    exit /b 1
)
call "%~dp0common.bat" prepare || exit /b 1
for %%N in (server1 server2 server3) do (
    call "%~dp0common.bat" background %%N || exit /b 1
)
call "%~dp0common.bat" healthy || exit /b 1
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
