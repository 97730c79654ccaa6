@echo off
rem Stops the servers whose PID files are in the run folder, and nothing else: never by a program's name.
rem Settings: see common.bat.
setlocal
for %%N in (server1 server2 server3) do call "%~dp0common.bat" stop %%N
