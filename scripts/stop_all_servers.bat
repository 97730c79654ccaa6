@echo off
rem Stops the servers whose PID files are in the run folder, and nothing else: never by a program's name.
rem The window of each is closed, and it is killed if it has not ended within SYNCNET_STOP_TIMEOUT seconds.
rem Exit status: 0 all have stopped, 1 one had to be killed. Settings: see common.bat.
setlocal
set "FAILED=0"
for %%N in (server1 server2 server3) do call "%~dp0common.bat" stop %%N || set "FAILED=1"
exit /b %FAILED%
