@echo off
rem What the other scripts share: "call common.bat VERB [SERVER] [ARGUMENTS]". The verbs are below.
rem
rem Settings, all optional, the same as in common.sh:
rem   SYNCNET_CONFIG         configuration file of the servers   [none: three servers on localhost]
rem   SYNCNET_DATA_DIR       databases and the cluster secret    [data]
rem   SYNCNET_LOG_DIR        logs                                [logs]
rem   SYNCNET_RUN_DIR        PID files                           [run]
rem   SYNCNET_BIN_DIR        programs to use as they are         [none: they are built]
rem   SYNCNET_PROFILE        cargo profile to build              [release]
rem   SYNCNET_LOG_LEVEL      error, warn, info, debug or trace   [that of the configuration, else info]
rem   SYNCNET_READY_TIMEOUT  seconds to wait for a leader        [30]
rem   SYNCNET_STOP_TIMEOUT   seconds before a server is killed   [15]

for %%I in ("%~dp0..") do set "SYNCNET_ROOT=%%~fI"
cd /d "%SYNCNET_ROOT%"
if not defined SYNCNET_DATA_DIR set "SYNCNET_DATA_DIR=data"
if not defined SYNCNET_LOG_DIR set "SYNCNET_LOG_DIR=logs"
if not defined SYNCNET_RUN_DIR set "SYNCNET_RUN_DIR=run"
if not defined SYNCNET_PROFILE set "SYNCNET_PROFILE=release"
if not defined SYNCNET_READY_TIMEOUT set "SYNCNET_READY_TIMEOUT=30"
if not defined SYNCNET_STOP_TIMEOUT set "SYNCNET_STOP_TIMEOUT=15"
set "ADMIN_CONFIG="
if defined SYNCNET_CONFIG set "ADMIN_CONFIG=--config "%SYNCNET_CONFIG%""

if "%~1"=="build" goto build
if "%~1"=="find" goto find
if "%~1"=="prepare" goto prepare
if "%~1"=="strangers" goto strangers
if "%~1"=="running" goto running
if "%~1"=="second" goto second
if "%~1"=="background" goto background
if "%~1"=="foreground" goto foreground
if "%~1"=="stop" goto stop
if "%~1"=="healthy" goto healthy
echo common.bat: there is no verb "%~1" 1>&2
exit /b 2

rem --- find: sets BIN to the folder with the programs, and builds them only if there are none.
:find
call :folder
if exist "%BIN%\syncnet-server.exe" if exist "%BIN%\syncnet-admin.exe" exit /b 0
goto build

rem --- build: sets BIN and brings the programs up to date.
:build
call :folder
if defined SYNCNET_BIN_DIR (
    if exist "%BIN%\syncnet-server.exe" exit /b 0
    echo SYNCNET_BIN_DIR is %BIN%, and there is no syncnet-server.exe in it 1>&2
    exit /b 1
)
where cargo >nul 2>nul
if errorlevel 1 (
    echo cargo is missing: install Rust from https://rustup.rs, or point SYNCNET_BIN_DIR to built programs 1>&2
    exit /b 1
)
if not exist "%BIN%\syncnet-server.exe" echo Building SyncNet; the first time takes a few minutes.
cargo build --locked --quiet --profile %SYNCNET_PROFILE% --bins
if errorlevel 1 (
    echo The build failed; see cargo's output above. 1>&2
    exit /b 1
)
exit /b 0

:folder
if defined SYNCNET_BIN_DIR (
    set "BIN=%SYNCNET_BIN_DIR%"
    exit /b 0
)
set "BIN=target"
if defined CARGO_TARGET_DIR set "BIN=%CARGO_TARGET_DIR%"
rem Cargo calls the folder of its "dev" profile "debug".
if "%SYNCNET_PROFILE%"=="dev" (set "BIN=%BIN%\debug") else (set "BIN=%BIN%\%SYNCNET_PROFILE%")
exit /b 0

rem --- prepare: makes the folders, and the secret by which the servers of a cluster know each other.
rem The secret can be read by the current user only.
:prepare
for %%D in ("%SYNCNET_DATA_DIR%" "%SYNCNET_LOG_DIR%" "%SYNCNET_RUN_DIR%") do if not exist "%%~D" mkdir "%%~D"
if exist "%SYNCNET_DATA_DIR%\cluster.secret" exit /b 0
powershell -NoProfile -Command "$bytes = New-Object byte[] 32; $chance = [Security.Cryptography.RandomNumberGenerator]::Create(); $chance.GetBytes($bytes); $file = [IO.Path]::Combine((Get-Location).Path, $env:SYNCNET_DATA_DIR, 'cluster.secret'); [IO.File]::WriteAllText($file, [BitConverter]::ToString($bytes).Replace('-', '').ToLower())"
if not exist "%SYNCNET_DATA_DIR%\cluster.secret" (
    echo %SYNCNET_DATA_DIR%\cluster.secret cannot be made 1>&2
    exit /b 1
)
icacls "%SYNCNET_DATA_DIR%\cluster.secret" /inheritance:r /grant:r "%USERNAME%:F" >nul
exit /b 0

rem --- strangers: refuses to start a cluster if another one answers already: its answers would be taken for
rem those of the servers that could not get their ports.
:strangers
set "SAID=%TEMP%\syncnet-status-%RANDOM%.txt"
"%BIN%\syncnet-admin.exe" status --simple %ADMIN_CONFIG% >"%SAID%" 2>&1
set "STATUS=%errorlevel%"
set "STRANGERS="
rem Healthy, degraded and down are answers; anything else is an error of the tool.
if "%STATUS%"=="0" goto answered
if "%STATUS%"=="1" goto answered
if "%STATUS%"=="3" goto answered
type "%SAID%" 1>&2
del "%SAID%" 2>nul
exit /b 1
:answered
find "servers=0/" "%SAID%" >nul
if errorlevel 1 set "STRANGERS=yes"
del "%SAID%" 2>nul
if not defined STRANGERS exit /b 0
echo Another cluster answers on these ports already, and was not started from %SYNCNET_RUN_DIR%. 1>&2
exit /b 1

rem --- running SERVER: sets PID to its process and succeeds if it runs, else fails. A PID file may have
rem outlived its server, so the process must be the program, started for this server.
:running
set "PID="
if exist "%SYNCNET_RUN_DIR%\%~2.pid" set /p PID=<"%SYNCNET_RUN_DIR%\%~2.pid"
if not defined PID exit /b 1
powershell -NoProfile -Command "$found = Get-CimInstance Win32_Process -Filter 'ProcessId = %PID%'; if ($found -and $found.Name -eq 'syncnet-server.exe' -and $found.CommandLine -match '--server-id %~2( |$)') { exit 0 } else { exit 1 }" >nul 2>nul
exit /b %errorlevel%

rem --- second SERVER: refuses to start it if it runs already.
:second
call :running running %2
if errorlevel 1 exit /b 0
echo %~2 runs already as process %PID%; scripts\stop_all_servers.bat stops it 1>&2
exit /b 1

rem --- background SERVER [ARGUMENTS]: starts it in a minimised window of its own.
:background
set "BEHIND=yes"
goto start

rem --- foreground SERVER [ARGUMENTS]: runs it in this window until Ctrl-C.
:foreground
set "BEHIND="
goto start

rem Starts a server and writes its PID file. Other arguments go to the server, but for a --background in front.
:start
call :second second %2
if errorlevel 1 exit /b 1
set "SERVER=%~2"
set "ARGUMENTS="
shift
shift
if "%~1"=="--background" shift
:next
if "%~1"=="" goto launch
set "ARGUMENTS=%ARGUMENTS% %1"
shift
goto next
:launch
powershell -NoProfile -Command "$q = [char]34; $line = '--server-id ' + $env:SERVER + ' --data-dir ' + $q + $env:SYNCNET_DATA_DIR + $q + ' --log-dir ' + $q + $env:SYNCNET_LOG_DIR + $q; if ($env:SYNCNET_CONFIG) { $line += ' --config ' + $q + $env:SYNCNET_CONFIG + $q }; $line += $env:ARGUMENTS; $how = @{ FilePath = $env:BIN + '\syncnet-server.exe'; ArgumentList = $line; PassThru = $true }; if ($env:BEHIND) { $how.WindowStyle = 'Minimized' } else { $how.NoNewWindow = $true }; $server = Start-Process @how; if (-not $server) { exit 1 }; $null = $server.Handle; Set-Content -Encoding ascii -Path ($env:SYNCNET_RUN_DIR + '\' + $env:SERVER + '.pid') -Value $server.Id; if ($env:BEHIND) { exit 0 }; $server.WaitForExit(); exit $server.ExitCode"
exit /b %errorlevel%

rem --- stop SERVER: closes its window, waits, and kills it if it does not stop. Fails if it had to be killed.
:stop
call :running running %2
if errorlevel 1 (
    if not exist "%SYNCNET_RUN_DIR%\%~2.pid" exit /b 0
    echo %~2 does not run, though it has a PID file; that is removed.
    del "%SYNCNET_RUN_DIR%\%~2.pid"
    exit /b 0
)
taskkill /PID %PID% >nul 2>nul
for /l %%S in (1,1,%SYNCNET_STOP_TIMEOUT%) do (
    call :running running %2
    if errorlevel 1 goto stopped
    ping -n 2 127.0.0.1 >nul
)
echo %~2 did not stop within %SYNCNET_STOP_TIMEOUT% s and is killed.
taskkill /F /PID %PID% >nul 2>nul
del "%SYNCNET_RUN_DIR%\%~2.pid" 2>nul
exit /b 1
:stopped
del "%SYNCNET_RUN_DIR%\%~2.pid" 2>nul
echo %~2 has stopped.
exit /b 0

rem --- healthy: waits until exactly one server leads and all others follow it.
:healthy
for /l %%S in (1,1,%SYNCNET_READY_TIMEOUT%) do (
    "%BIN%\syncnet-admin.exe" status --simple %ADMIN_CONFIG% >nul 2>nul
    if not errorlevel 1 exit /b 0
    ping -n 2 127.0.0.1 >nul
)
echo The cluster was not ready within %SYNCNET_READY_TIMEOUT% s: 1>&2
"%BIN%\syncnet-admin.exe" status %ADMIN_CONFIG%
echo See the logs in %SYNCNET_LOG_DIR%. 1>&2
exit /b 1
