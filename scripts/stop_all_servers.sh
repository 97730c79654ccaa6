#!/usr/bin/env bash
# Stops the servers whose PID files are in the run folder, and nothing else: never by a program's name.
# Each is asked to stop (SIGTERM), and killed only if it does not within SYNCNET_STOP_TIMEOUT seconds.
# Exit status: 0 all have stopped, 1 one had to be killed. Settings: see common.sh.
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

found=
for name in "${servers[@]}"; do
    if running "$name" >/dev/null; then
        found=yes
    elif [ -n "$(pid_of "$name")" ]; then
        say "$name does not run (process $(pid_of "$name") is not it); its PID file is removed."
    fi
done
if [ -z "$found" ]; then say "No server runs here."; fi
stop "${servers[@]}"
